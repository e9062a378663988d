//! `sleep`: a Task that waits for nothing but time.
//!
//! asyncio's is a coroutine that makes a Future, a TimerHandle and a second context. This one is a
//! single object: what `await` iterates, what the Task waits for and what lies in the timer heap.
//! A sleeping Task costs 40 % less memory for it.
//!
//! It does not ask who drives it. It yields itself; a Task of ours knows what to do with it, and to
//! anybody else (a Task of the standard library, a coroutine driven by hand) it turns into a real
//! Future at the first question that only a Future can answer. Order is asyncio's: when the time
//! has come, the timer takes a place in the queue, and the Task the next.

use std::cell::Cell;

use super::coroutine::{awaited_already, used_up};
use super::task::Task;
use crate::engine::asyncio::asyncio;
use crate::engine::event_loop::{EventLoop, TimerEntry};
use crate::py::{
    Any, Args, AsObject, Builder, Builtin, Class, Managed, Object, Own, Pool, Res, Sent, Signature,
    Slot, Stop, TypeCell, Visitor, class, create, error, names, raise, runtime_error, stop, track,
    type_error, value,
};

pub(crate) type Sleep = Object<SleepState>;

/// A sleep's fields.
pub(crate) struct SleepState {
    delay: f64,
    result: Slot,
    stage: Cell<Stage>,
    tracked: Cell<bool>,
    finalized: Cell<bool>,
    position: Cell<u32>,
    /// The Task to wake.
    task: Slot<Task>,
    /// What `cancel` was told, or the Future that it became.
    other: Slot,
    weakrefs: Managed,
}

/// Where a sleep is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Nobody awaited it.
    Fresh,
    /// `sleep(0)`: has yielded once.
    Yielded,
    /// Has yielded itself.
    Asked,
    /// In the timer heap, or in the queue as due, for the Task.
    Parked,
    /// The Task is on its way.
    Due,
    /// The Task is on its way, to be cancelled.
    Cancelled,
    /// Turned into a Future.
    Future,
    /// Over.
    Done,
}

static TYPE: TypeCell = TypeCell::new();
static POOL: Pool = Pool::new(256);

impl Class for SleepState {
    const NAME: &'static std::ffi::CStr = c"aioxide.Sleep";
    const FINALIZES: bool = true;

    fn cell() -> &'static TypeCell {
        &TYPE
    }
    fn pool() -> Option<&'static Pool> {
        Some(&POOL)
    }
    fn tracked(&self) -> Option<&Cell<bool>> {
        Some(&self.tracked)
    }
    fn weakrefs(&self) -> Option<&Managed> {
        Some(&self.weakrefs)
    }
    fn traverse(object: &Sleep, visitor: &Visitor) -> Result<(), Stop> {
        visitor.slot(&object.result)?;
        visitor.slot(&object.task)?;
        visitor.slot(&object.other)
    }
    fn clear(object: &Sleep) {
        object.result.clear();
        object.task.clear();
        object.other.clear();
    }
    fn mark_finalized(&self) {
        self.finalized.set(true);
    }
    fn was_finalized(&self) -> bool {
        self.finalized.get()
    }
    fn wants_finalizer(object: &Sleep) -> bool {
        object.stage.get() == Stage::Fresh
    }
    fn finalize(object: &Sleep) {
        if object.stage.replace(Stage::Done) == Stage::Fresh
            && let Err(raised) = error::warn_runtime(c"coroutine 'sleep' was never awaited")
        {
            error::unraisable(raised, value::none_ref());
        }
    }
}

static SIGNATURE: Signature<2> = Signature {
    method: "sleep",
    names: [&names::DELAY, &names::RESULT],
    positional: 2,
    required: 1,
};

/// `sleep(delay, result=None)`.
pub(super) fn sleep(args: &Args<'_>) -> Res<Own<Sleep>> {
    let [delay, result] = args.bind(&SIGNATURE)?;
    let delay = value::as_float(delay.unwrap_or(value::none_ref()))?;
    let result = result.filter(|result| !result.is_none());
    let sleep = create(|| SleepState {
        delay,
        result: Slot::some(result.map(AsObject::own)),
        stage: Cell::new(Stage::Fresh),
        tracked: Cell::new(false),
        finalized: Cell::new(false),
        position: Cell::new(reactor::NOWHERE),
        task: Slot::empty(),
        other: Slot::empty(),
        weakrefs: Managed::new(),
    })?;
    if result.is_some_and(value::can_hold_cycle) {
        track(&sleep);
    }
    Ok(sleep)
}

impl Sleep {
    #[inline(always)]
    pub(crate) fn position(&self) -> u32 {
        self.position.get()
    }

    #[inline(always)]
    pub(crate) fn set_position(&self, position: u32) {
        self.position.set(position);
    }

    /// Whether a Task may park here.
    #[inline(always)]
    pub(super) fn is_asked(&self) -> bool {
        self.stage.get() == Stage::Asked
    }

    /// Parks the Task until the time has come.
    #[inline(always)]
    pub(super) fn park(&self, event_loop: &EventLoop, task: Own<Task>) {
        track(self);
        self.task.set(task);
        self.stage.set(Stage::Parked);
        event_loop.add_timer(reactor::monotonic() + self.delay, TimerEntry::sleep(self.own()));
    }

    /// The time has come: the Task gets the next place in the queue.
    pub(crate) fn wake(&self, event_loop: &EventLoop) {
        if self.stage.get() != Stage::Parked {
            return;
        }
        self.stage.set(Stage::Due);
        if let Some(task) = self.task.take() {
            event_loop.ready().push_task(task);
        }
    }

    /// `cancel(msg)` of the Task that sleeps.
    pub(super) fn cancel(&self, message: Option<&Any>) -> Res<bool> {
        match self.stage.get() {
            Stage::Parked => {}
            Stage::Future => {
                let Some(future) = self.other.get() else { return Ok(false) };
                return super::task::cancel_any(&future, message);
            }
            _ => return Ok(false),
        }
        let Some(task) = self.task.take() else { return Ok(false) };
        self.stage.set(Stage::Cancelled);
        self.other.put(message.filter(|message| !message.is_none()).map(AsObject::own));
        if let Some(event_loop) = task.as_future().native_loop() {
            drop(event_loop.remove_timer(self.position()));
            event_loop.check_can_schedule()?;
            event_loop.ready().push_task(task.clone());
        }
        Ok(true)
    }

    /// What the Task that slept is to be resumed with.
    pub(super) fn wake_reason(&self) -> Res<Option<Own<Any>>> {
        if self.stage.get() != Stage::Cancelled {
            return Ok(None);
        }
        match self.other.take() {
            Some(message) => asyncio().cancelled_error.call(&[&message]).map(Some),
            None => asyncio().cancelled_error.call(&[]).map(Some),
        }
    }

    /// Ends the sleep, whatever it is doing: something was thrown into it, or it was closed.
    fn end(&self) {
        let stage = self.stage.replace(Stage::Done);
        if stage == Stage::Parked
            && let Some(task) = self.task.take()
            && let Some(event_loop) = task.as_future().native_loop()
        {
            drop(event_loop.remove_timer(self.position()));
        }
        if stage == Stage::Future
            && let Some(timer) = self.result.take()
        {
            error::preserving(|| {
                if let Err(raised) = timer.call_method(&names::CANCEL, &[]) {
                    error::unraisable(raised, self.as_any());
                }
            });
        }
        self.other.clear();
    }

    fn step(&self) -> Res<Sent> {
        match self.stage.get() {
            Stage::Fresh if self.delay.is_nan() && cfg!(Py_3_13) => {
                self.stage.set(Stage::Done);
                Err(raise(Builtin::ValueError.get(), "Invalid delay: NaN (not a number)"))
            }
            Stage::Fresh if self.delay <= 0.0 => {
                self.stage.set(Stage::Yielded);
                Ok(Sent::Yielded(value::none()))
            }
            Stage::Fresh => {
                // asyncio asks for the running loop here, and fails here without one.
                self.stage.set(Stage::Done);
                asyncio().get_running_loop.call(&[])?;
                self.stage.set(Stage::Asked);
                Ok(Sent::Yielded(self.own().into_any()))
            }
            Stage::Yielded | Stage::Due => {
                self.stage.set(Stage::Done);
                Ok(Sent::Returned(self.result.take().unwrap_or_else(value::none)))
            }
            Stage::Future => {
                let Some(future) = self.other.get() else { return Err(used_up()) };
                if !value::is_true(&*future.call_method(&names::DONE, &[])?)? {
                    return Err(runtime_error("await wasn't used with future"));
                }
                let result = future.call_method(&names::RESULT, &[]);
                self.end();
                result.map(Sent::Returned)
            }
            Stage::Asked | Stage::Parked => Err(runtime_error("await wasn't used with future")),
            Stage::Cancelled | Stage::Done => Err(used_up()),
        }
    }

    /// Turns into a Future, for a driver that is not a Task of ours.
    fn as_future(&self) -> Res {
        if self.stage.get() == Stage::Future
            && let Some(future) = self.other.get()
        {
            return Ok(future);
        }
        let event_loop = asyncio().get_running_loop.call(&[])?;
        let future = event_loop.call_method(&names::CREATE_FUTURE, &[])?;
        let delay = value::float(self.delay)?;
        let none = value::none();
        let result = self.result.take().unwrap_or(none);
        let setter = &asyncio().set_result_unless_cancelled;
        let timer =
            event_loop.call_method(&names::CALL_LATER, &[&delay, setter, &future, &result])?;
        // Its place is free, and whoever ends the sleep early must take the timer back.
        self.result.set(timer);
        future.set_attr(&names::BLOCKING, &value::boolean(true))?;
        track(self);
        self.other.set(future.clone());
        self.stage.set(Stage::Future);
        Ok(future)
    }
}

fn next(this: &Sleep) -> Res<Option<Own<Any>>> {
    match this.step()? {
        Sent::Yielded(yielded) => Ok(Some(yielded)),
        Sent::Returned(result) => stop::finish(result),
    }
}

fn send(this: &Sleep, given: &Any) -> Res {
    if this.stage.get() == Stage::Fresh && !given.is_none() {
        return Err(type_error("can't send non-None value to a just-started coroutine"));
    }
    match this.step()? {
        Sent::Yielded(yielded) => Ok(yielded),
        Sent::Returned(result) => Err(stop::finish_plain(result)),
    }
}

fn throw(this: &Sleep, args: Args<'_>) -> Res {
    let exception = super::future_iter::thrown(&args)?;
    if this.stage.get() == Stage::Done {
        return Err(used_up());
    }
    this.end();
    Err(class::raise_object(&exception))
}

/// What a Future has and a coroutine has not is asked of the Future that this can be.
fn missing_attribute(this: &Sleep, name: &Any) -> Res<Option<Own<Any>>> {
    if !matches!(this.stage.get(), Stage::Asked | Stage::Future) {
        return Ok(None);
    }
    this.as_future()?.attr_named(name).map(Some)
}

fn set_attribute(this: &Sleep, name: &Any, value: &Any) -> Res<bool> {
    if !matches!(this.stage.get(), Stage::Asked | Stage::Future) {
        return Ok(false);
    }
    this.as_future()?.set_attr_named(name, value).map(|()| true)
}

/// What stands in its place in asyncio: the Future that a sleeping Task waits for, a coroutine
/// otherwise.
fn repr(this: &Sleep) -> Res<String> {
    Ok(match this.stage.get() {
        Stage::Parked => "<Future pending cb=[Task.task_wakeup()]>".to_owned(),
        Stage::Cancelled => "<Future cancelled>".to_owned(),
        Stage::Due => {
            let result = this.result.get().unwrap_or_else(value::none);
            format!("<Future finished result={}>", value::repr_text(&result))
        }
        Stage::Future => match this.other.get() {
            Some(future) => value::repr_text(&future),
            None => format!("<coroutine object sleep at {:p}>", this.as_ptr()),
        },
        _ => format!("<coroutine object sleep at {:p}>", this.as_ptr()),
    })
}

/// Makes the type.
pub(super) fn build() -> Res<&'static Any> {
    Builder::<SleepState>::new(
        c"What aioxide.sleep() returns: an awaitable that is a coroutine to all who ask.",
    )
    .not_constructible()
    .weakrefs(std::mem::offset_of!(SleepState, weakrefs))
    .repr(repr)
    .awaits(|this: &Sleep| match this.stage.get() {
        Stage::Fresh | Stage::Done => Ok(this.own()),
        _ => Err(awaited_already()),
    })
    .next(next)
    .sends(|this: &Sleep| this.step())
    .hide(c"__next__")
    .noargs_over_slot(
        c"__await__",
        c"__await__($self, /)\n--\n\nReturn an iterator to be used in await expression.",
        super::await_iter::make,
    )
    .getter(c"__class__", |_: &Sleep| asyncio().coroutine_class.clone())
    .forwarding(missing_attribute, set_attribute)
    .one(c"send", c"send($self, value, /)\n--\n\nResume the sleep.", send)
    .args(c"throw", c"Raise an exception in the sleep.", throw)
    .noargs(c"close", c"close($self, /)\n--\n\nEnd the sleep.", |this: &Sleep| this.end())
    .getter(c"__name__", |_: &Sleep| "sleep".to_owned())
    .getter(c"__qualname__", |_: &Sleep| "sleep".to_owned())
    .build()
}
