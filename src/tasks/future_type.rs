//! `aioxide.Future` as Python sees it: methods, attributes, and how `await` reaches it.
//!
//! `await future` makes no iterator object. The interpreter asks the type's `am_await` slot, which
//! answers with the Future itself, and drives it by `tp_iternext`. Whoever calls `__await__` or
//! `iter` by hand gets a real iterator with `send`, `throw` and `close` (`future_iter`), and the
//! Future's own `__next__` is hidden, so that no one takes a Future for an iterator or, because of
//! `send` and `throw`, for a coroutine.

use super::future::{Extra, FUTURE, Future, FutureState, Outcome};
use super::future_iter;
use crate::engine::asyncio::asyncio;
use crate::py::{
    Any, Args, AsObject, Builder, Builtin, Own, Res, Sent, Signature, TypeCell, error, names,
    raise, stop, value,
};

static INIT: Signature<1> =
    Signature { method: "Future", names: [&names::LOOP], positional: 0, required: 0 };
static CANCEL: Signature<1> =
    Signature { method: "cancel", names: [&names::MSG], positional: 1, required: 0 };
static ADD_DONE_CALLBACK: Signature<2> = Signature {
    method: "add_done_callback",
    names: [&names::FN, &names::CONTEXT],
    positional: 1,
    required: 1,
};

fn init(this: &Future, args: Args<'_>) -> Res<()> {
    let [event_loop] = args.bind(&INIT)?;
    this.start(event_loop)
}

/// The `__class__` of our exact types is asyncio's, so that `isinstance(x, asyncio.Future)` holds;
/// a subclass answers for itself.
pub(super) fn class_of(this: &impl AsObject, cell: &'static TypeCell, asyncio: &Any) -> Own<Any> {
    if this.type_ptr() == cell.get() { asyncio.own() } else { type_object(this) }
}

fn type_object(this: &impl AsObject) -> Own<Any> {
    value::type_of(this.as_any())
}

fn class(this: &Future) -> Own<Any> {
    class_of(this, &FUTURE, &asyncio().future_class)
}

/// The `tp_iternext` behind `await`.
pub(super) fn next(this: &Future) -> Res<Option<Own<Any>>> {
    match this.poll()? {
        Sent::Yielded(future) => Ok(Some(future)),
        Sent::Returned(result) => stop::finish(result),
    }
}

pub(super) fn send(this: &Future) -> Res<Sent> {
    this.poll()
}

fn cancel(this: &Future, args: Args<'_>) -> Res<bool> {
    let [message] = args.bind(&CANCEL)?;
    this.event_loop()?;
    this.cancel_self(message)
}

pub(super) fn cancel_argument<'a>(args: &Args<'a>) -> Res<Option<&'a Any>> {
    let [message] = args.bind(&CANCEL)?;
    Ok(message)
}

fn add_done_callback(this: &Future, args: Args<'_>) -> Res<()> {
    let [callback, context] = args.bind(&ADD_DONE_CALLBACK)?;
    // `required` in the signature promises the first.
    callback.map_or(Ok(()), |callback| this.add_done_callback(callback, context))
}

fn remove_done_callback(this: &Future, callback: &Any) -> Res<i64> {
    this.event_loop()?;
    // What a Future that is done still has are notices on their way.
    if this.callbacks.is_empty() || this.is_done() {
        return Ok(0);
    }
    let before = this.callbacks.snapshot();
    let mut removed = Vec::new();
    // Comparing may run any code, also code that changes the list: so decide on a copy first, then
    // take out by identity what was found equal.
    for (index, waiter) in before.iter().enumerate() {
        if callable_of(this, waiter)?.equals(callback)? {
            removed.push(index);
        }
    }
    if removed.is_empty() {
        return Ok(0);
    }
    let mut doomed: Vec<_> = removed.iter().map(|&index| &before[index]).collect();
    let (first, rest) = this.callbacks.take();
    let mut kept = Vec::new();
    let mut count = 0;
    for waiter in first.into_iter().chain(rest) {
        match doomed.iter().position(|doomed| doomed.same(&waiter)) {
            Some(index) => {
                doomed.swap_remove(index);
                count += 1;
            }
            None => kept.push(waiter),
        }
    }
    this.callbacks.restore(kept);
    Ok(count)
}

fn callable_of(_: &Future, waiter: &super::callbacks::Waiter) -> Res {
    match waiter.clone().open() {
        super::callbacks::Wake::Task(task) => task.wakeup_callable(),
        super::callbacks::Wake::Callback(callback, _) => Ok(callback),
        super::callbacks::Wake::Watcher(watcher) => super::watch::callable(&watcher),
    }
}

/// `_callbacks`: None, or a list of (callable, context).
fn callbacks(this: &Future) -> Res<Option<Own<Any>>> {
    let waiters = this.callbacks.snapshot();
    if waiters.is_empty() || this.is_done() {
        return Ok(None);
    }
    let list = value::list()?;
    for waiter in waiters {
        let (callable, context) = match waiter.open() {
            super::callbacks::Wake::Task(task) => (task.wakeup_callable()?, task.context_object()?),
            super::callbacks::Wake::Callback(callback, context) => (callback, context),
            super::callbacks::Wake::Watcher(watcher) => {
                for callable in super::watch::callables(&watcher, this.as_any())? {
                    value::append(&list, &*value::tuple(&[&callable, &value::none()])?)?;
                }
                continue;
            }
        };
        value::append(&list, &*value::tuple(&[&callable, &context])?)?;
    }
    Ok(Some(list))
}

/// Who waits for this: explicit additions, and the Tasks in the list of waiters.
fn awaited_by(this: &Future) -> Res<Option<Own<Any>>> {
    let explicit = this.awaited_by.get();
    let tasks = this.callbacks.tasks();
    if explicit.is_none() && tasks.is_empty() {
        return Ok(None);
    }
    let all = value::set_of(tasks.into_iter())?;
    match explicit {
        Some(many) if this.awaited_by_many.get() => value::set_update(&all, &many)?,
        Some(one) => value::set_add(&all, &one)?,
        None => {}
    }
    Ok(Some(all))
}

#[inline]
pub(super) fn add_awaited_by(this: &Future, waiter: &Any) -> Res<()> {
    this.track_self();
    let Some(held) = this.awaited_by.get() else {
        this.awaited_by.set(waiter.own());
        return Ok(());
    };
    if this.awaited_by_many.get() {
        return value::set_add(&held, waiter);
    }
    if !held.is(waiter) {
        this.awaited_by.set(value::set_of([held, waiter.own()].into_iter())?);
        this.awaited_by_many.set(true);
    }
    Ok(())
}

#[inline]
pub(super) fn discard_awaited_by(this: &Future, waiter: &Any) -> Res<()> {
    if this.awaited_by_many.get() {
        return this.awaited_by.get().map_or(Ok(()), |many| value::set_discard(&many, waiter));
    }
    if this.awaited_by.holds(waiter) {
        this.awaited_by.clear();
    }
    Ok(())
}

fn state(this: &Future) -> Res {
    value::string(match this.outcome() {
        Outcome::Pending => "PENDING",
        Outcome::Cancelled => "CANCELLED",
        Outcome::Result | Outcome::Exception => "FINISHED",
    })
}

fn set_log_traceback(this: &Future, flag: &Any) -> Res<()> {
    if value::is_true(flag)? {
        return Err(raise(Builtin::ValueError.get(), "_log_traceback can only be set to False"));
    }
    this.log_traceback.set(false);
    Ok(())
}

fn set_blocking(this: &Future, flag: &Any) -> Res<()> {
    this.event_loop()?;
    this.blocking.set(value::is_true(flag)?);
    Ok(())
}

fn rare(field: impl Fn(&Extra) -> &crate::py::Slot, this: &Future) -> Option<Own<Any>> {
    this.rare(field)
}

/// Makes the type.
pub(super) fn build() -> Res<&'static Any> {
    Builder::<FutureState>::new(
        c"Future(*, loop=None)\n--\n\nA result to come, on aioxide's engine; asyncio.Future's equal.",
    )
    .subclassable()
    .generic()
    .dict(FutureState::DICT)
    .weakrefs(FutureState::WEAKREFS)
    .blank(FutureState::blank)
    .init(init)
    .repr(|this: &Future| asyncio().future_repr.call(&[this.as_any()]))
    .iter(future_iter::make)
    .awaits(|this: &Future| this.own())
    .next(next)
    .sends(send)
    .hide(c"__next__")
    .noargs_over_slot(
        c"__await__",
        c"__await__($self, /)\n--\n\nReturn an iterator to be used in await expression.",
        future_iter::make,
    )
    .noargs(
        c"result",
        c"result($self, /)\n--\n\nReturn the result this future represents.\n\nIf the future has been cancelled, raises CancelledError.  If the\nfuture's result isn't yet available, raises InvalidStateError.  If\nthe future is done and has an exception set, this exception is raised.",
        |this: &Future| this.result(),
    )
    .noargs(
        c"exception",
        c"exception($self, /)\n--\n\nReturn the exception that was set on this future.\n\nThe exception (or None if no exception was set) is returned only if\nthe future is done.  If the future has been cancelled, raises\nCancelledError.  If the future isn't done yet, raises\nInvalidStateError.",
        |this: &Future| this.exception(),
    )
    .one(
        c"set_result",
        c"set_result($self, result, /)\n--\n\nMark the future done and set its result.\n\nIf the future is already done when this method is called, raises\nInvalidStateError.",
        |this: &Future, result: &Any| this.set_result(result.own()),
    )
    .one(
        c"set_exception",
        c"set_exception($self, exception, /)\n--\n\nMark the future done and set an exception.\n\nIf the future is already done when this method is called, raises\nInvalidStateError.",
        |this: &Future, exception: &Any| {
            this.event_loop()?;
            this.set_exception(exception)
        },
    )
    .args(
        c"add_done_callback",
        c"add_done_callback($self, fn, /, *, context=<unrepresentable>)\n--\n\nAdd a callback to be run when the future becomes done.\n\nThe callback is called with a single argument - the future object. If\nthe future is already done when this is called, the callback is\nscheduled with call_soon.",
        add_done_callback,
    )
    .one(
        c"remove_done_callback",
        c"remove_done_callback($self, fn, /)\n--\n\nRemove all instances of a callback from the \"call when done\" list.\n\nReturns the number of callbacks removed.",
        remove_done_callback,
    )
    .args(
        c"cancel",
        c"cancel($self, /, msg=None)\n--\n\nCancel the future and schedule callbacks.\n\nIf the future is already done or cancelled, return False.  Otherwise,\nchange the future's state to cancelled, schedule the callbacks and\nreturn True.",
        cancel,
    )
    .noargs(
        c"cancelled",
        c"cancelled($self, /)\n--\n\nReturn True if the future was cancelled.",
        |this: &Future| this.outcome() == Outcome::Cancelled,
    )
    .noargs(
        c"done",
        c"done($self, /)\n--\n\nReturn True if the future is done.\n\nDone means either that a result / exception are available, or that the\nfuture was cancelled.",
        |this: &Future| this.is_done(),
    )
    .noargs(
        c"get_loop",
        c"get_loop($self, /)\n--\n\nReturn the event loop the Future is bound to.",
        |this: &Future| this.event_loop(),
    )
    .noargs(
        c"_make_cancelled_error",
        c"_make_cancelled_error($self, /)\n--\n\nCreate the CancelledError to raise if the Future is cancelled.\n\nThis should only be called once when handling a cancellation since\nit erases the context exception value.",
        |this: &Future| this.make_cancelled_error(),
    )
    .getter(c"__class__", class)
    .getter(c"_state", state)
    .getter(c"_callbacks", callbacks)
    .getter(c"_result", |this: &Future| this.held(Outcome::Result))
    .getter(c"_exception", |this: &Future| this.held(Outcome::Exception))
    .getter(c"_loop", |this: &Future| this.event_loop().map_err(error::discard).ok())
    .getter(c"_source_traceback", |this: &Future| rare(|extra| &extra.source_traceback, this))
    .getter(c"_asyncio_awaited_by", awaited_by)
    .property(c"_asyncio_future_blocking", |this: &Future| this.blocking.get(), set_blocking)
    .property(c"_log_traceback", |this: &Future| this.log_traceback.get(), set_log_traceback)
    .property(
        c"_cancel_message",
        |this: &Future| rare(|extra| &extra.cancel_message, this),
        |this: &Future, message: &Any| {
            this.set_cancel_message(Some(message));
            Ok(())
        },
    )
    .build()
}
