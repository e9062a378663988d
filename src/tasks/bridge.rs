//! `run_coroutine_threadsafe`: a coroutine sent to a loop by another thread, which gets a
//! `concurrent.futures.Future` to wait with.
//!
//! asyncio ties the Task and that Future together by closures. Here one object does it: it carries
//! the coroutine into the loop, brings the result of the Task back, and passes a cancellation of the
//! concurrent Future on. The concurrent Future is the real one, with its locks: threads wait
//! in it, by code that is not ours.

use std::cell::Cell;

use super::any_future::{self, ensure_future};
use crate::engine::asyncio::asyncio;
use crate::engine::bell::call_soon_and_give_way;
use crate::py::error::{fetch, is_fatal, restore};
use crate::py::{
    Any, Args, AsObject, BoundMethod, Builder, Class, Object, Res, Signature, Slot, Stop, TypeCell,
    Visitor, bound, create, names, track, type_error, value,
};

type Bridge = Object<BridgeState>;

/// A bridge's fields.
pub(super) struct BridgeState {
    event_loop: Slot,
    concurrent: Slot,
    task: Slot,
    tracked: Cell<bool>,
}

static TYPE: TypeCell = TypeCell::new();
static BEGIN: BoundMethod = BoundMethod::new(c"_begin");
static SET_STATE: BoundMethod = BoundMethod::new(c"_call_set_state");
static CHECK_CANCEL: BoundMethod = BoundMethod::new(c"_call_check_cancel");

impl Class for BridgeState {
    const NAME: &'static std::ffi::CStr = c"aioxide.bridge";

    fn cell() -> &'static TypeCell {
        &TYPE
    }
    fn tracked(&self) -> Option<&Cell<bool>> {
        Some(&self.tracked)
    }
    fn traverse(object: &Bridge, visitor: &Visitor) -> Result<(), Stop> {
        visitor.slot(&object.event_loop)?;
        visitor.slot(&object.concurrent)?;
        visitor.slot(&object.task)
    }
    fn clear(object: &Bridge) {
        object.event_loop.clear();
        object.concurrent.clear();
        object.task.clear();
    }
}

static SIGNATURE: Signature<2> = Signature {
    method: "run_coroutine_threadsafe",
    names: [&names::CORO, &names::LOOP],
    positional: 2,
    required: 2,
};

/// `run_coroutine_threadsafe(coro, loop)`.
pub(super) fn run_coroutine_threadsafe(args: Args<'_>) -> Res {
    let [coro, event_loop] = args.bind(&SIGNATURE)?;
    let none = value::none_ref();
    let (coro, event_loop) = (coro.unwrap_or(none), event_loop.unwrap_or(none));
    if !value::is_coroutine(coro) && !value::is_true(&*asyncio().iscoroutine.call(&[coro])?)? {
        return Err(type_error("A coroutine object is required"));
    }
    let concurrent = asyncio().concurrent_future_class.call(&[])?;
    let bridge = create(|| BridgeState {
        event_loop: Slot::new(event_loop.own()),
        concurrent: Slot::new(concurrent.clone()),
        task: Slot::empty(),
        tracked: Cell::new(false),
    })?;
    track(&*bridge);
    let begin = bound(&BEGIN, &*bridge, Bridge::begin)?;
    call_soon_and_give_way(event_loop, &begin, coro)?;
    Ok(concurrent)
}

impl Bridge {
    /// In the loop: makes the Task.
    fn begin(&self, coro: &Any) -> Res<()> {
        let (Some(event_loop), Some(concurrent)) = (self.event_loop.take(), self.concurrent.get())
        else {
            return Ok(());
        };
        let begun =
            ensure_future(coro, Some(&event_loop)).and_then(|task| self.tie(&task, &concurrent));
        begun.or_else(|raised| {
            let exception = fetch(raised);
            if !is_fatal(&exception) && is_running_now(&concurrent)? {
                concurrent.call_method(&names::SET_EXCEPTION, &[&exception])?;
            }
            Err(restore(exception))
        })
    }

    fn tie(&self, task: &Any, concurrent: &Any) -> Res<()> {
        self.task.set(task.own());
        let check_cancel = bound(&CHECK_CANCEL, self, Bridge::check_cancel)?;
        concurrent.call_method(&names::ADD_DONE_CALLBACK, &[&check_cancel])?;
        // A callback and no watcher: what the concurrent Future calls back runs in this context.
        let set_state = bound(&SET_STATE, self, Bridge::set_state)?;
        task.call_method(&names::ADD_DONE_CALLBACK, &[&set_state]).map(drop)
    }

    /// In the loop, when the Task is done.
    fn set_state(&self, task: &Any) -> Res<()> {
        // Taken out: the concurrent Future keeps its callbacks, and through them this object.
        drop(self.task.take());
        self.concurrent.take().map_or(Ok(()), |concurrent| copy_state(task, &concurrent))
    }

    /// In whatever thread ends the concurrent Future: a cancellation goes on to the Task.
    fn check_cancel(&self, concurrent: &Any) -> Res<()> {
        let Some(task) = self.task.get() else { return Ok(()) };
        if !value::is_true(&*concurrent.call_method(&names::CANCELLED, &[])?)? {
            return Ok(());
        }
        let event_loop = any_future::loop_of(&task)?;
        if asyncio().cancels_at_once
            && asyncio().get_running_loop_or_none.call(&[])?.is(&*event_loop)
        {
            return any_future::cancel(&task, None).map(drop);
        }
        let cancel = task.attr(&names::CANCEL)?;
        event_loop.call_method(&names::CALL_SOON_THREADSAFE, &[&cancel]).map(drop)
    }
}

/// `set_running_or_notify_cancel()`.
fn is_running_now(concurrent: &Any) -> Res<bool> {
    value::is_true(&*concurrent.call_method(&names::SET_RUNNING_OR_NOTIFY_CANCEL, &[])?)
}

/// Gives a concurrent Future the result, the exception or the cancellation of one that is done.
fn copy_state(source: &Any, concurrent: &Any) -> Res<()> {
    if any_future::is_cancelled(source)? {
        concurrent.call_method(&names::CANCEL, &[])?;
    }
    if !is_running_now(concurrent)? {
        return Ok(());
    }
    match any_future::exception(source)? {
        Some(exception) => {
            let exception = asyncio().convert_future_exception.call(&[&exception])?;
            concurrent.call_method(&names::SET_EXCEPTION, &[&exception])?;
        }
        None => {
            concurrent.call_method(&names::SET_RESULT, &[&*any_future::result(source)?])?;
        }
    }
    Ok(())
}

/// Makes the type.
pub(super) fn build() -> Res<&'static Any> {
    Builder::<BridgeState>::new(c"What ties a task to a concurrent future.")
        .not_constructible()
        .build()
}
