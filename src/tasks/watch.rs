//! Watching: how a gather, a TaskGroup or a `wait()` hears that a Future is done.
//!
//! asyncio gives the Future a callback, which the loop runs in a turn of its own; programs can tell
//! the order, so that stays. But for a Future of ours on a loop of ours no callable, context and
//! Handle are needed: the watcher lies in the Future's list as itself, and the ready queue carries
//! the Future. With any other Future the watcher is a bound method like everybody's.

use super::as_completed::AsCompletedState;
use super::coroutine::CoroutineState;
use super::future::as_native;
use super::gather::GatheringState;
use super::group::GroupState;
use super::shield::ShieldState;
use super::wait::WaitState;
use crate::py::{Any, AsObject, BoundMethod, Class, Object, Own, Res, bound, names, type_error};

/// A native object that can watch Futures.
pub(super) trait Watcher: Class {
    /// The method that Futures which are not ours call.
    fn method() -> &'static BoundMethod;
    /// A Future that it watches is done, and had its turn.
    fn finished(this: &Object<Self>, future: &Any) -> Res<()>;
}

/// Has `watcher` told when `future` is done.
#[inline]
pub(super) fn watch<S: Watcher>(future: &Any, watcher: &Object<S>) -> Res<()> {
    if let Some(native) = as_native(future)
        && !native.is_done()
        && native.native_loop().is_some()
    {
        native.add_watcher(watcher.own().into_any());
        return Ok(());
    }
    future.call_method(&names::ADD_DONE_CALLBACK, &[&*method_of(watcher)?]).map(|_| ())
}

/// Ends the watching, unless the notice is on its way already.
#[inline]
pub(super) fn unwatch<S: Watcher>(future: &Any, watcher: &Object<S>) -> Res<()> {
    if let Some(native) = as_native(future)
        && native.native_loop().is_some()
    {
        if !native.is_done() {
            drop(native.callbacks.remove_watcher(watcher.as_any()));
        }
        return Ok(());
    }
    future.call_method(&names::REMOVE_DONE_CALLBACK, &[&*method_of(watcher)?]).map(|_| ())
}

fn method_of<S: Watcher>(watcher: &Object<S>) -> Res {
    bound(S::method(), watcher, S::finished)
}

/// Runs `$use` with the watcher as what it is.
macro_rules! as_what_it_is {
    ($watcher:expr, $name:ident => $use:expr) => {
        if let Some($name) = $watcher.cast_exact::<GatheringState>() {
            $use
        } else if let Some($name) = $watcher.cast::<GroupState>() {
            $use
        } else if let Some($name) = $watcher.cast_exact::<CoroutineState>() {
            $use
        } else if let Some($name) = $watcher.cast_exact::<AsCompletedState>() {
            $use
        } else if let Some($name) = $watcher.cast_exact::<ShieldState>() {
            $use
        } else if let Some($name) = $watcher.cast_exact::<WaitState>() {
            $use
        } else {
            Err(type_error("not a watcher"))
        }
    };
}

#[inline(always)]
fn tell<S: Watcher>(watcher: &Object<S>, future: &Any) -> Res<()> {
    S::finished(watcher, future)
}

/// Tells a watcher that a Future of ours is done.
#[inline]
pub(super) fn notify(watcher: &Any, future: &Any) -> Res<()> {
    as_what_it_is!(watcher, watcher => tell(watcher, future))
}

/// A watcher as the callback that it would be in asyncio.
pub(super) fn callable(watcher: &Any) -> Res {
    as_what_it_is!(watcher, watcher => method_of(watcher))
}

/// A watcher as the callbacks of `future` that it would be in asyncio, for a look at the list.
pub(super) fn callables(watcher: &Any, future: &Any) -> Res<Vec<Own<Any>>> {
    match watcher.cast_exact::<ShieldState>() {
        Some(shield) => shield.callbacks_of(future),
        None => Ok(vec![callable(watcher)?]),
    }
}
