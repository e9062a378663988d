//! `shield`: an outer Future that follows an inner one and can be cancelled without it.

use super::any_future::{self, ensure_future, forget_awaiter, note_awaiter};
use super::future::as_native;
use super::watch::{Watcher, unwatch, watch};
use crate::py::{
    Any, Args, AsObject, BoundMethod, Builder, Class, Object, Own, Res, Signature, Slot, Stop,
    TypeCell, Visitor, bound, create, names, track, value,
};

type Shield = Object<ShieldState>;

/// What watches both Futures.
pub(super) struct ShieldState {
    inner: Slot,
    outer: Slot,
    awaiter: Slot,
    tracked: std::cell::Cell<bool>,
}

static TYPE: TypeCell = TypeCell::new();
static DONE_CALLBACK: BoundMethod = BoundMethod::new(c"_inner_done_callback");
static OUTER_DONE_CALLBACK: BoundMethod = BoundMethod::new(c"_outer_done_callback");
static CLEAR_AWAITED_BY: BoundMethod = BoundMethod::new(c"_clear_awaited_by_callback");

impl Class for ShieldState {
    const NAME: &'static std::ffi::CStr = c"aioxide.shield";

    fn cell() -> &'static TypeCell {
        &TYPE
    }
    fn tracked(&self) -> Option<&std::cell::Cell<bool>> {
        Some(&self.tracked)
    }
    fn traverse(object: &Shield, visitor: &Visitor) -> Result<(), Stop> {
        visitor.slot(&object.inner)?;
        visitor.slot(&object.outer)?;
        visitor.slot(&object.awaiter)
    }
    fn clear(object: &Shield) {
        object.inner.clear();
        object.outer.clear();
        object.awaiter.clear();
    }
}

impl Watcher for ShieldState {
    fn method() -> &'static BoundMethod {
        &DONE_CALLBACK
    }
    fn finished(this: &Shield, future: &Any) -> Res<()> {
        let (Some(inner), Some(outer)) = (this.inner.get(), this.outer.get()) else {
            return Ok(());
        };
        if future.is(&*outer) { this.outer_done(&inner) } else { this.inner_done(&inner, &outer) }
    }
}

impl Shield {
    /// What asyncio has in the list of callbacks of one of the two. Since 3.14 the inner one has a
    /// second, for the call graph.
    pub(super) fn callbacks_of(&self, future: &Any) -> Res<Vec<Own<Any>>> {
        let make = |method| bound(method, self, ShieldState::finished);
        if self.outer.holds(future) {
            return Ok(vec![make(&OUTER_DONE_CALLBACK)?]);
        }
        if self.awaiter.is_some() {
            return Ok(vec![make(&CLEAR_AWAITED_BY)?, make(&DONE_CALLBACK)?]);
        }
        Ok(vec![make(&DONE_CALLBACK)?])
    }

    fn inner_done(&self, inner: &Any, outer: &Any) -> Res<()> {
        forget_awaiter(inner, self.awaiter.get().as_deref())?;
        if any_future::is_cancelled(outer)? {
            // Up to 3.13 what happened inside counts as seen; later it is reported (below).
            if cfg!(not(Py_3_14)) && !any_future::is_cancelled(inner)? {
                any_future::exception(inner)?;
            }
            return Ok(());
        }
        if any_future::is_cancelled(inner)? {
            return any_future::cancel(outer, None).map(drop);
        }
        match any_future::exception(inner)? {
            Some(exception) => match as_native(outer) {
                Some(native) => native.set_exception(&exception),
                None => outer.call_method(&names::SET_EXCEPTION, &[&exception]).map(drop),
            },
            None => {
                let result = any_future::result(inner)?;
                match as_native(outer) {
                    Some(native) => native.set_result(result),
                    None => outer.call_method(&names::SET_RESULT, &[&result]).map(drop),
                }
            }
        }
    }

    fn outer_done(&self, inner: &Any) -> Res<()> {
        if any_future::is_done(inner)? {
            return Ok(());
        }
        unwatch(inner, self)?;
        forget_awaiter(inner, self.awaiter.get().as_deref())
    }
}

static SIGNATURE: Signature<1> =
    Signature { method: "shield", names: [&names::ARG], positional: 1, required: 1 };

/// `shield(arg)`.
pub(super) fn shield(args: Args<'_>) -> Res {
    let [arg] = args.bind(&SIGNATURE)?;
    let inner = ensure_future(arg.unwrap_or(value::none_ref()), None)?;
    if any_future::is_done(&inner)? {
        return Ok(inner);
    }
    let event_loop = any_future::loop_of(&inner)?;
    let outer = event_loop.call_method(&names::CREATE_FUTURE, &[])?;
    let shield = create(|| ShieldState {
        inner: Slot::new(inner.clone()),
        outer: Slot::new(outer.clone()),
        awaiter: Slot::empty(),
        tracked: std::cell::Cell::new(false),
    })?;
    track(&*shield);
    shield.awaiter.put(any_future::awaiter()?);
    note_awaiter(&inner, shield.awaiter.get().as_deref())?;
    watch(&inner, &*shield)?;
    watch(&outer, &*shield)?;
    Ok(outer)
}

/// Makes the type.
pub(super) fn build() -> Res<Own<Any>> {
    Builder::<ShieldState>::new(c"What watches over a shield().")
        .not_constructible()
        .build()
        .map(AsObject::own)
}
