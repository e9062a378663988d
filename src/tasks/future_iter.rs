//! The iterator that `iter(future)` and an explicit `future.__await__()` return.
//!
//! `await` itself does without (see `future_type`); this exists for code that drives an awaitable
//! by hand: generator-based coroutines, `send`, `throw` and `close`.

use super::future::Future;
use crate::py::error::warn_deprecated;
use crate::py::{
    Any, Args, AsObject, Builder, Class, Object, Own, Res, Sent, Slot, Stop, TypeCell, Visitor,
    class, create, stop, track, type_error, value,
};

type FutureIter = Object<FutureIterState>;

/// Which Future; nothing once it gave its result.
pub(crate) struct FutureIterState {
    future: Slot<Future>,
    tracked: std::cell::Cell<bool>,
}

static TYPE: TypeCell = TypeCell::new();

impl Class for FutureIterState {
    const NAME: &'static std::ffi::CStr = c"aioxide.FutureIter";

    fn cell() -> &'static TypeCell {
        &TYPE
    }
    fn tracked(&self) -> Option<&std::cell::Cell<bool>> {
        Some(&self.tracked)
    }
    fn traverse(object: &FutureIter, visitor: &Visitor) -> Result<(), Stop> {
        visitor.slot(&object.future)
    }
    fn clear(object: &FutureIter) {
        object.future.clear();
    }
}

/// `iter(future)`.
pub(super) fn make(future: &Future) -> Res<Own<FutureIter>> {
    future.event_loop()?;
    let iterator = create(|| FutureIterState {
        future: Slot::new(future.own()),
        tracked: std::cell::Cell::new(false),
    })?;
    track(&iterator);
    Ok(iterator)
}

/// One step; `None` when it is used up.
fn step(this: &FutureIter) -> Res<Option<Sent>> {
    let Some(future) = this.future.get() else { return Ok(None) };
    if future.is_done() {
        this.future.clear();
    }
    future.poll().map(Some)
}

fn next(this: &FutureIter) -> Res<Option<Own<Any>>> {
    match step(this)? {
        Some(Sent::Yielded(future)) => Ok(Some(future)),
        Some(Sent::Returned(result)) => stop::finish(result),
        None => Ok(None),
    }
}

fn send(this: &FutureIter, _value: &Any) -> Res {
    match step(this)? {
        Some(Sent::Yielded(future)) => Ok(future),
        Some(Sent::Returned(result)) => Err(stop::finish_plain(result)),
        None => Err(stop::finish_plain(value::none())),
    }
}

/// The exception of `throw(exception)`, or of the older `throw(type, value, traceback)`.
pub(super) fn thrown(args: &Args<'_>) -> Res {
    let (kind, instance, traceback) = match args.positional {
        [kind] => (*kind, None, None),
        [kind, instance] => (*kind, Some(*instance), None),
        [kind, instance, traceback] => (*kind, Some(*instance), Some(*traceback)),
        given => {
            return Err(type_error(&format!(
                "throw() takes from 1 to 3 positional arguments ({} given)",
                given.len()
            )));
        }
    };
    if instance.is_some() && cfg!(Py_3_12) {
        warn_deprecated(
            c"the (type, exc, tb) signature of throw() is deprecated, use the single-arg signature instead.",
        )?;
    }
    let traceback = traceback.filter(|traceback| !traceback.is_none());
    if let Some(traceback) = traceback
        && !value::is_traceback(traceback)
    {
        return Err(type_error("throw() third argument must be a traceback"));
    }
    let instance = instance.filter(|instance| !instance.is_none());
    let exception = match (value::is_exception_class(kind), instance) {
        (true, Some(given)) if value::is_exception(given) => given.own(),
        (true, Some(given)) => kind.call(&[given])?,
        (true, None) => kind.call(&[])?,
        (false, Some(_)) if value::is_exception(kind) => {
            return Err(type_error("instance exception may not have a separate value"));
        }
        (false, None) if value::is_exception(kind) => kind.own(),
        _ => {
            return Err(type_error(
                "exceptions must be classes deriving BaseException or instances of such a class",
            ));
        }
    };
    if let Some(traceback) = traceback {
        value::set_traceback(&exception, traceback)?;
    }
    Ok(exception)
}

fn throw(this: &FutureIter, args: Args<'_>) -> Res {
    let exception = thrown(&args)?;
    this.future.clear();
    Err(class::raise_object(&exception))
}

/// Makes the type.
pub(super) fn build() -> Res<&'static Any> {
    Builder::<FutureIterState>::new(c"Drives a Future by hand.")
        .not_constructible()
        .iter(|this: &FutureIter| this.own())
        .next(next)
        .sends(|this: &FutureIter| Ok(step(this)?.unwrap_or_else(|| Sent::Returned(value::none()))))
        .one(c"send", c"send($self, value, /)\n--\n\nResume the iterator.", send)
        .args(c"throw", c"Raise an exception where the iterator stands.", throw)
        .noargs(c"close", c"close($self, /)\n--\n\nForget the future.", |this: &FutureIter| {
            this.future.clear()
        })
        .build()
}
