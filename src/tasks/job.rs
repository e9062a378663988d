//! A function on its way through a thread, and the Future that will hear of its end.
//!
//! asyncio sends a `concurrent.futures.Future` along (three locks), chains it to its own Future by
//! two closures, and brings the result back by a Handle. Here one object makes the whole way: from
//! the queue that a worker serves (`job_queue`) back into the loop's ready queue, where its turn
//! settles the Future, just as asyncio's callback would in its place. All of it happens with the
//! GIL held, so there is nothing to lock.

use std::cell::Cell;

use super::any_future;
use super::future::as_native;
use crate::engine::asyncio::asyncio;
use crate::engine::bell::Bell;
use crate::engine::event_loop::EventLoop;
use crate::py::error::{discard, fetch};
use crate::py::{
    Any, AsObject, Builder, Builtin, Class, Object, Own, Res, Slot, Stop, TypeCell, Visitor,
    create, names, raise, track, value,
};

pub(crate) type Job = Object<JobState>;

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Returned,
    Raised,
    /// The queue was emptied before its turn.
    Cancelled,
}

/// A job's fields.
pub(crate) struct JobState {
    event_loop: Slot<EventLoop>,
    future: Slot,
    function: Slot,
    /// A tuple.
    args: Slot,
    /// The result or the exception.
    outcome: Slot,
    end: Cell<End>,
    tracked: Cell<bool>,
}

static TYPE: TypeCell = TypeCell::new();

impl Class for JobState {
    const NAME: &'static std::ffi::CStr = c"aioxide.job";

    fn cell() -> &'static TypeCell {
        &TYPE
    }
    fn tracked(&self) -> Option<&Cell<bool>> {
        Some(&self.tracked)
    }
    fn traverse(object: &Job, visitor: &Visitor) -> Result<(), Stop> {
        visitor.slot(&object.event_loop)?;
        visitor.slot(&object.future)?;
        visitor.slot(&object.function)?;
        visitor.slot(&object.args)?;
        visitor.slot(&object.outcome)
    }
    fn clear(object: &Job) {
        object.event_loop.clear();
        object.future.clear();
        object.forget_call();
        object.outcome.clear();
    }
}

/// A job that calls `function(*args)` and tells `future`, which is of this loop.
pub(super) fn make(
    event_loop: &EventLoop,
    future: &Any,
    function: &Any,
    args: &Any,
) -> Res<Own<Job>> {
    let job = create(|| JobState {
        event_loop: Slot::new(event_loop.own()),
        future: Slot::new(future.own()),
        function: Slot::new(function.own()),
        args: Slot::new(args.own()),
        outcome: Slot::empty(),
        end: Cell::new(End::Open),
        tracked: Cell::new(false),
    })?;
    track(&*job);
    Ok(job)
}

impl Job {
    fn forget_call(&self) {
        self.function.clear();
        self.args.clear();
    }

    /// In a worker: calls the function, unless the Future was cancelled meanwhile, and sends the
    /// job home. Whoever gets a bell has to ring it.
    pub(super) fn run(&self) -> Option<Bell> {
        let (Some(function), Some(args)) = (self.function.take(), self.args.take()) else {
            return None;
        };
        let future = self.future.get()?;
        if any_future::is_cancelled(&future).map_err(discard).unwrap_or(false) {
            return None;
        }
        // The collector may pass while the function runs; the job keeps no reference to it, so
        // that what the call holds goes with the call.
        match function.call(value::tuple_items(&args)) {
            Ok(result) => self.close(End::Returned, Some(result)),
            Err(raised) => self.close(End::Raised, Some(fetch(raised))),
        }
        drop((function, args));
        self.send_home()
    }

    fn close(&self, end: End, outcome: Option<Own<Any>>) {
        self.end.set(end);
        self.outcome.put(outcome);
    }

    /// Puts the job into its loop's queue. A loop that is closed is not told, as in asyncio.
    fn send_home(&self) -> Option<Bell> {
        let event_loop = self.event_loop.take()?;
        if event_loop.is_closed() {
            self.outcome.clear();
            self.future.clear();
            return None;
        }
        event_loop.ready().push_job(self.own());
        event_loop.take_bell()
    }

    /// `cancel()`, which an executor calls that is shut down with `cancel_futures=True`.
    fn cancel(&self) -> bool {
        if self.end.get() != End::Open || !self.function.is_some() {
            return false;
        }
        self.forget_call();
        self.close(End::Cancelled, None);
        if let Some(bell) = self.send_home() {
            bell.ring();
        }
        true
    }

    /// Back in the loop, in its turn: settles the Future.
    pub(crate) fn settle(&self) -> Res<()> {
        let (Some(future), outcome) = (self.future.take(), self.outcome.take()) else {
            return Ok(());
        };
        if any_future::is_cancelled(&future)? {
            return Ok(());
        }
        if any_future::is_done(&future)? {
            return Err(raise(Builtin::AssertionError.get(), ""));
        }
        let native = as_native(&future);
        match (self.end.get(), outcome) {
            (End::Returned, Some(result)) => match native {
                Some(native) => native.set_result(result),
                None => future.call_method(&names::SET_RESULT, &[&result]).map(drop),
            },
            (End::Raised, Some(exception)) => {
                let exception = asyncio().convert_future_exception.call(&[&exception])?;
                match native {
                    Some(native) => native.set_exception(&exception),
                    None => future.call_method(&names::SET_EXCEPTION, &[&exception]).map(drop),
                }
            }
            _ => any_future::cancel(&future, None).map(drop),
        }
    }
}

/// Makes the type.
pub(super) fn build() -> Res<&'static Any> {
    Builder::<JobState>::new(c"A function on its way through a thread.")
        .not_constructible()
        .noargs(
            c"cancel",
            c"cancel($self, /)\n--\n\nDo not call the function if no thread has begun to.",
            |this: &Job| this.cancel(),
        )
        // What `ThreadPoolExecutor.shutdown(cancel_futures=True)` asks of what it finds queued.
        .getter(c"future", |this: &Job| this.own())
        .build()
}
