//! The iterator that an explicit `coroutine.__await__()` returns.
//!
//! `await` itself does without: the interpreter drives our coroutines by their slots. This one is
//! for code that drives them by hand, with `for`, `send` or `yield from`, as the standard
//! library's coroutine wrapper is.

use std::cell::Cell;

use crate::py::{
    Any, Args, AsObject, Builder, Class, Object, Own, Res, Sent, Slot, Stop, TypeCell, Visitor,
    create, names, stop, track, value,
};

type AwaitIter = Object<AwaitIterState>;

/// Whom to drive.
pub(crate) struct AwaitIterState {
    coroutine: Slot,
    tracked: Cell<bool>,
}

static TYPE: TypeCell = TypeCell::new();

impl Class for AwaitIterState {
    const NAME: &'static std::ffi::CStr = c"aioxide.coroutine_wrapper";

    fn cell() -> &'static TypeCell {
        &TYPE
    }
    fn tracked(&self) -> Option<&Cell<bool>> {
        Some(&self.tracked)
    }
    fn traverse(object: &AwaitIter, visitor: &Visitor) -> Result<(), Stop> {
        visitor.slot(&object.coroutine)
    }
    fn clear(object: &AwaitIter) {
        object.coroutine.clear();
    }
}

/// `coroutine.__await__()`.
pub(super) fn make<S: Class>(coroutine: &Object<S>) -> Res<Own<AwaitIter>> {
    let iterator = create(|| AwaitIterState {
        coroutine: Slot::new(coroutine.own().into_any()),
        tracked: Cell::new(false),
    })?;
    track(&*iterator);
    Ok(iterator)
}

impl AwaitIter {
    fn coroutine(&self) -> Own<Any> {
        self.coroutine.get().unwrap_or_else(value::none)
    }
}

fn next(this: &AwaitIter) -> Res<Option<Own<Any>>> {
    match this.coroutine().send_none()? {
        Sent::Yielded(yielded) => Ok(Some(yielded)),
        Sent::Returned(result) => stop::finish(result),
    }
}

/// Makes the type.
pub(super) fn build() -> Res<()> {
    Builder::<AwaitIterState>::new(c"Drives a native coroutine by hand.")
        .not_constructible()
        .iter(|this: &AwaitIter| this.own())
        .next(next)
        .one(c"send", c"send($self, value, /)\n--\n\nResume.", |this: &AwaitIter, given: &Any| {
            this.coroutine().call_method(&names::SEND, &[given])
        })
        .args(c"throw", c"Raise an exception inside.", |this: &AwaitIter, args: Args<'_>| {
            this.coroutine().call_method(&names::THROW, args.positional)
        })
        .noargs(c"close", c"close($self, /)\n--\n\nEnd it.", |this: &AwaitIter| {
            this.coroutine().call_method(&names::CLOSE, &[]).map(drop)
        })
        .build()
        .map(drop)
}
