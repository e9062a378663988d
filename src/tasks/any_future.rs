//! Questions to any Future: ours, asyncio's, or somebody's own.
//!
//! What gathers, waits and shields deal with may be of any make. Ours are asked directly, all
//! others by their methods, subclasses of ours too, which may have overridden them.

use super::coroutine::is_known_coroutine;
use super::future::{Outcome, as_native};
use super::task::Options;
use super::{spawn, task};
use crate::engine::asyncio::asyncio;
use crate::engine::current;
use crate::engine::event_loop::EventLoop;
use crate::py::{Any, AsObject, Builtin, Own, Res, names, raise, type_error, value};

#[inline]
pub(super) fn is_done(future: &Any) -> Res<bool> {
    match as_native(future) {
        Some(native) => Ok(native.is_done()),
        None => value::is_true(&*future.call_method(&names::DONE, &[])?),
    }
}

#[inline]
pub(super) fn is_cancelled(future: &Any) -> Res<bool> {
    match as_native(future) {
        Some(native) => Ok(native.outcome() == Outcome::Cancelled),
        None => value::is_true(&*future.call_method(&names::CANCELLED, &[])?),
    }
}

/// `exception()`: None or the exception; marks it as seen.
#[inline]
pub(super) fn exception(future: &Any) -> Res<Option<Own<Any>>> {
    let exception = match as_native(future) {
        Some(native) => native.exception()?,
        None => future.call_method(&names::EXCEPTION, &[])?,
    };
    Ok(Some(exception).filter(|exception| !exception.is_none()))
}

#[inline]
pub(super) fn result(future: &Any) -> Res {
    match as_native(future) {
        Some(native) => native.result(),
        None => future.call_method(&names::RESULT, &[]),
    }
}

pub(super) fn make_cancelled_error(future: &Any) -> Res {
    match as_native(future) {
        Some(native) => native.make_cancelled_error(),
        None => future.call_method(&names::MAKE_CANCELLED_ERROR, &[]),
    }
}

/// `cancel(msg=message)`, or `cancel()`.
pub(super) fn cancel(future: &Any, message: Option<&Any>) -> Res<bool> {
    if message.is_none() && as_native(future).is_none() {
        return value::is_true(&*future.call_method(&names::CANCEL, &[])?);
    }
    task::cancel_any(future, message)
}

/// Whether this is a Future for asyncio.
#[inline]
pub(super) fn is_future(object: &Any) -> Res<bool> {
    if as_native(object).is_some() {
        return Ok(true);
    }
    if is_known_coroutine(object) {
        return Ok(false);
    }
    value::is_true(&*asyncio().isfuture.call(&[object])?)
}

/// The loop of a Future of any make.
pub(super) fn loop_of(future: &Any) -> Res {
    match as_native(future) {
        Some(native) => native.event_loop(),
        None => super::step::loop_of(future),
    }
}

/// The Task that is current, for asyncio's call graph, which exists from 3.14 on.
#[inline]
pub(super) fn awaiter() -> Res<Option<Own<Any>>> {
    if cfg!(not(Py_3_14)) {
        return Ok(None);
    }
    let running = current::running();
    if running.is_none() && asyncio().get_running_loop_or_none.call(&[])?.is_none() {
        return Ok(None);
    }
    current::task(running)
}

/// Records, or takes back, that `awaiter` waits for `future`.
#[inline]
pub(super) fn note_awaiter(future: &Any, awaiter: Option<&Any>) -> Res<()> {
    match awaiter {
        Some(awaiter) if cfg!(Py_3_14) => super::note_awaited_by(future, awaiter),
        _ => Ok(()),
    }
}

#[inline]
pub(super) fn forget_awaiter(future: &Any, awaiter: Option<&Any>) -> Res<()> {
    match awaiter {
        Some(awaiter) if cfg!(Py_3_14) => super::forget_awaited_by(future, awaiter),
        _ => Ok(()),
    }
}

/// `ensure_future(object, loop=event_loop)`.
#[inline]
pub(super) fn ensure_future(object: &Any, event_loop: Option<&Any>) -> Res {
    if is_known_coroutine(object)
        && let Some(running) = current::running()
        && event_loop.is_none_or(|given| given.is(running))
        && running.makes_plain_tasks()
    {
        return Ok(spawn_on(running, object)?.into_any());
    }
    ensure_any_future(object, event_loop)
}

#[inline]
pub(super) fn spawn_on(event_loop: &EventLoop, coro: &Any) -> Res<Own<task::Task>> {
    event_loop.check_closed()?;
    task::spawn(event_loop, coro, Options::default())
}

fn ensure_any_future(object: &Any, event_loop: Option<&Any>) -> Res {
    if is_future(object)? {
        if let Some(event_loop) = event_loop
            && !loop_of(object)?.is(event_loop)
        {
            return Err(raise(
                Builtin::ValueError.get(),
                "The future belongs to a different loop than the one specified as the loop argument",
            ));
        }
        return Ok(object.own());
    }
    let is_coroutine =
        is_known_coroutine(object) || value::is_true(&*asyncio().iscoroutine.call(&[object])?)?;
    let coro = if is_coroutine {
        object.own()
    } else if value::is_true(&*asyncio().isawaitable.call(&[object])?)? {
        spawn::wrap_awaitable(object)?
    } else {
        return Err(type_error("An asyncio.Future, a coroutine or an awaitable is required"));
    };
    let event_loop = match event_loop {
        Some(given) => given.own(),
        None => asyncio().get_event_loop.call(&[])?,
    };
    spawn::create_task(&event_loop, &coro).inspect_err(|_| {
        // asyncio closes what it could not run, after RuntimeError alone.
        if is_coroutine && crate::py::error::pending_is_any(&[Builtin::RuntimeError]) {
            crate::py::error::preserving(|| {
                if let Err(raised) = coro.call_method(&names::CLOSE, &[]) {
                    crate::py::error::unraisable(raised, &coro);
                }
            });
        }
    })
}
