//! Task: a Future that runs a coroutine. State, birth and cancellation; the running is in `step`.

use std::cell::Cell;

use super::coroutine::{as_wait, is_known_coroutine};
use super::future::{Future, FutureState, Outcome, as_native, call_soon};
use super::gather::GatheringState;
use super::list::Links;
use super::sleep::SleepState;
use super::step;
use crate::engine::asyncio::asyncio;
use crate::engine::event_loop::{EventLoop, LoopState};
use crate::py::{
    Any, AsObject, BoundMethod, Class, Managed, Object, Own, Pool, Res, Slot, Stop, TypeCell,
    Visitor, bound, context, create, error, names, type_error, value,
};

pub(crate) type Task = Object<TaskState>;

/// A Task's fields, a Future's first.
#[repr(C)]
pub(crate) struct TaskState {
    future: FutureState,
    /// The next step throws CancelledError.
    pub(super) must_cancel: Cell<bool>,
    pub(super) log_destroy_pending: Cell<bool>,
    pub(super) cancel_requests: Cell<u32>,
    /// Where the TaskGroup that made it keeps it.
    pub(super) group_place: Cell<u32>,
    pub(super) coro: Slot,
    pub(super) context: Slot,
    /// What the coroutine awaits.
    pub(super) waiter: Slot,
    name: Slot,
    /// The N of `Task-N`, until somebody asks for the name.
    number: Cell<u64>,
    links: Links,
}

pub(super) static TASK: TypeCell = TypeCell::new();
static POOL: Pool = Pool::new(1024);
static STEP: BoundMethod = BoundMethod::new(c"task_step");
static WAKEUP: BoundMethod = BoundMethod::new(c"task_wakeup");

/// The next default name's number. One counter for the process, counted under the GIL: a locked
/// addition would cost as much as the rest of the bookkeeping.
#[inline(always)]
fn next_number() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let next = NUMBER.load(Ordering::Relaxed) + 1;
    NUMBER.store(next, Ordering::Relaxed);
    next
}

impl TaskState {
    /// Before `__init__`.
    pub(super) fn blank() -> TaskState {
        TaskState {
            future: FutureState::blank(),
            must_cancel: Cell::new(false),
            log_destroy_pending: Cell::new(false),
            cancel_requests: Cell::new(0),
            group_place: Cell::new(u32::MAX),
            coro: Slot::empty(),
            context: Slot::empty(),
            waiter: Slot::empty(),
            name: Slot::empty(),
            number: Cell::new(0),
            links: Links::new(),
        }
    }

    fn forget(&self) {
        self.links.unlink();
        self.future.forget();
        self.coro.clear();
        self.context.clear();
        self.waiter.clear();
        self.name.clear();
    }
}

impl Class for TaskState {
    const NAME: &'static std::ffi::CStr = c"aioxide.Task";
    const FINALIZES: bool = true;

    fn cell() -> &'static TypeCell {
        &TASK
    }
    fn pool() -> Option<&'static Pool> {
        Some(&POOL)
    }
    fn tracked(&self) -> Option<&Cell<bool>> {
        Some(self.future.tracked_flag())
    }
    fn weakrefs(&self) -> Option<&Managed> {
        Some(self.future.weakref_list())
    }
    fn mark_finalized(&self) {
        self.future.mark_finalized();
    }
    fn was_finalized(&self) -> bool {
        self.future.was_finalized()
    }
    fn traverse(object: &Task, visitor: &Visitor) -> Result<(), Stop> {
        object.future.visit(visitor)?;
        visitor.slot(&object.coro)?;
        visitor.slot(&object.context)?;
        visitor.slot(&object.waiter)?;
        visitor.slot(&object.name)
    }
    fn clear(object: &Task) {
        object.forget();
    }
    fn leave(object: &Task) {
        object.links.unlink();
    }
    fn wants_finalizer(object: &Task) -> bool {
        object.log_destroy_pending.get() && !object.as_future().is_done()
            || object.as_future().log_traceback.get()
    }
    fn finalize(object: &Task) {
        object.report_destroyed_pending();
        object.as_future().report_unretrieved();
    }
}

/// What `create_task` and `Task(...)` may be told.
#[derive(Default, Clone, Copy)]
pub(crate) struct Options<'a> {
    pub(crate) name: Option<&'a Any>,
    pub(crate) context: Option<&'a Any>,
    pub(crate) eager: bool,
}

/// Makes a Task on a loop of ours and schedules its first step (or runs it, if eager).
#[inline]
pub(crate) fn spawn(event_loop: &EventLoop, coro: &Any, options: Options<'_>) -> Res<Own<Task>> {
    check_coroutine(coro)?;
    let context = match options.context {
        Some(context) => context.own(),
        None => context::copy_current()?,
    };
    let task = create(|| TaskState {
        future: FutureState::on(event_loop),
        must_cancel: Cell::new(false),
        log_destroy_pending: Cell::new(true),
        cancel_requests: Cell::new(0),
        group_place: Cell::new(u32::MAX),
        coro: Slot::new(coro.own()),
        context: Slot::new(context),
        waiter: Slot::empty(),
        name: Slot::empty(),
        number: Cell::new(0),
        links: Links::new(),
    })?;
    match options.name {
        Some(name) => task.set_name(name)?,
        None => task.number.set(next_number()),
    }
    if event_loop.debug() {
        task.as_future().remember_source()?;
    }
    task.launch(options.eager)?;
    Ok(task)
}

/// Makes a Task on any loop, as `Task(coro, loop=event_loop)` does.
pub(super) fn spawn_elsewhere(
    event_loop: &Any,
    coro: &Any,
    options: Options<'_>,
) -> Res<Own<Task>> {
    let task = create(TaskState::blank)?;
    crate::py::track(&*task);
    task.start(coro, Some(event_loop), options)?;
    Ok(task)
}

#[inline(always)]
fn check_coroutine(coro: &Any) -> Res<()> {
    if is_known_coroutine(coro) { Ok(()) } else { check_other_coroutine(coro) }
}

#[cold]
fn check_other_coroutine(coro: &Any) -> Res<()> {
    if value::is_true(&*asyncio().iscoroutine.call(&[coro])?)? {
        return Ok(());
    }
    Err(type_error(&format!("a coroutine was expected, got {}", value::repr_text(coro))))
}

impl Task {
    /// The Task as the Future that it begins with.
    #[inline(always)]
    pub(crate) fn as_future(&self) -> &Future {
        // SAFETY: `TaskState` is `repr(C)` with a `FutureState` first, so the object is laid out
        // as an `Object<FutureState>` with more behind it; the type inherits from Future's.
        unsafe { &*(self as *const Task).cast::<Future>() }
    }

    pub(super) fn links(&self) -> &Links {
        &self.links
    }

    /// `__init__`.
    pub(super) fn start(
        &self,
        coro: &Any,
        event_loop: Option<&Any>,
        options: Options<'_>,
    ) -> Res<()> {
        self.links.unlink();
        self.as_future().start(event_loop)?;
        // Until the coroutine is known to be one there is nothing whose loss would be an error.
        self.log_destroy_pending.set(false);
        check_coroutine(coro)?;
        self.context.set(match options.context {
            Some(context) => context.own(),
            None => context::copy_current()?,
        });
        self.waiter.clear();
        self.must_cancel.set(false);
        self.cancel_requests.set(0);
        self.log_destroy_pending.set(true);
        self.coro.set(coro.own());
        match options.name {
            Some(name) => self.set_name(name)?,
            None => self.number.set(next_number()),
        }
        self.launch(options.eager)
    }

    /// Schedules the first step, or runs it at once.
    #[inline(always)]
    fn launch(&self, eager: bool) -> Res<()> {
        if eager && self.loop_is_running()? {
            return step::start_eagerly(self);
        }
        match self.as_future().native_loop() {
            Some(event_loop) => {
                event_loop.check_can_schedule()?;
                event_loop.tasks().link(self);
                event_loop.ready().push_task(self.own());
                Ok(())
            }
            None => {
                self.call_step_soon(None)?;
                self.register()
            }
        }
    }

    fn loop_is_running(&self) -> Res<bool> {
        if let Some(event_loop) = self.as_future().native_loop() {
            return Ok(event_loop.is_running());
        }
        let event_loop = self.as_future().event_loop()?;
        value::is_true(&*event_loop.call_method(&names::IS_RUNNING, &[])?)
    }

    /// Makes `all_tasks` find the Task: by the loop's list, or asyncio's own register.
    pub(super) fn register(&self) -> Res<()> {
        let event_loop = self.as_future().event_loop()?;
        match event_loop.cast::<LoopState>() {
            Some(ours) => ours.tasks().link(self),
            None => {
                asyncio().register_task.call(&[self.as_any()])?;
            }
        }
        Ok(())
    }

    /// Leaves the loop's list when done. asyncio's register is weak and filters by itself.
    #[inline(always)]
    pub(super) fn unregister(&self) {
        self.links.unlink();
    }

    /// `call_soon` of a step, with an exception to throw or without.
    pub(super) fn call_step_soon(&self, exception: Option<&Any>) -> Res<()> {
        if exception.is_none()
            && let Some(event_loop) = self.as_future().native_loop()
        {
            event_loop.check_can_schedule()?;
            event_loop.ready().push_task(self.own());
            return Ok(());
        }
        let event_loop = self.as_future().event_loop()?;
        let step = bound(&STEP, self, step::step_callback)?;
        let exception = exception.map_or_else(value::none, AsObject::own);
        call_soon(&event_loop, &step, Some(&exception), &*self.context_object()?)
    }

    /// What a Future that is not ours, or whose loop is not, calls to wake the Task.
    pub(crate) fn wakeup_callable(&self) -> Res {
        bound(&WAKEUP, self, step::wakeup_callback)
    }

    pub(crate) fn context_object(&self) -> Res {
        match self.context.get() {
            Some(context) => Ok(context),
            None => context::copy_current(),
        }
    }

    /// `get_name()`; a default name is made when it is first asked for.
    pub(super) fn name(&self) -> Res {
        if let Some(name) = self.name.get() {
            return Ok(name);
        }
        if self.number.get() == 0 {
            return Ok(value::none());
        }
        let name = value::string(&format!("Task-{}", self.number.get()))?;
        self.name.set(name.clone());
        Ok(name)
    }

    pub(super) fn set_name(&self, name: &Any) -> Res<()> {
        let name = if value::is_exact_string(name) { name.own() } else { value::str_of(name)? };
        self.name.set(name);
        Ok(())
    }

    /// `cancel(msg)`: asks what the coroutine awaits to be cancelled, or marks the next step.
    pub(crate) fn cancel(&self, message: Option<&Any>) -> Res<bool> {
        self.as_future().log_traceback.set(false);
        if self.as_future().is_done() {
            return Ok(false);
        }
        self.cancel_requests.set(self.cancel_requests.get().saturating_add(1));
        if let Some(waiter) = self.waiter.get()
            && cancel_any(&waiter, message)?
        {
            return Ok(true);
        }
        self.must_cancel.set(true);
        self.as_future().set_cancel_message(message);
        Ok(true)
    }

    pub(super) fn uncancel(&self) -> i64 {
        let left = self.cancel_requests.get().saturating_sub(1);
        if self.cancel_requests.replace(left) > 0 && left == 0 && cfg!(Py_3_13) {
            self.must_cancel.set(false);
        }
        i64::from(left)
    }

    fn report_destroyed_pending(&self) {
        if !self.log_destroy_pending.get() || self.as_future().outcome() != Outcome::Pending {
            return;
        }
        let Ok(event_loop) = self.as_future().event_loop().map_err(error::discard) else { return };
        let report = || -> Res {
            let message = value::string("Task was destroyed but it is pending!")?;
            let source = self.as_future().rare(|extra| &extra.source_traceback);
            let mut items: Vec<(&'static names::Name, &Any)> =
                vec![(&names::TASK, self.as_any()), (&names::MESSAGE, &message)];
            if let Some(source) = &source {
                items.push((&names::SOURCE_TRACEBACK, source));
            }
            let details = value::dict_of(&items)?;
            event_loop.call_method(&names::CALL_EXCEPTION_HANDLER, &[&details])
        };
        if let Err(raised) = report() {
            error::unraisable(raised, &event_loop);
        }
    }
}

/// Cancels whatever a Task waits for.
pub(super) fn cancel_any(waiter: &Any, message: Option<&Any>) -> Res<bool> {
    if let Some(task) = waiter.cast_exact::<TaskState>() {
        return task.cancel(message);
    }
    if let Some(gathering) = waiter.cast_exact::<GatheringState>() {
        return gathering.cancel(message);
    }
    if let Some(future) = as_native(waiter) {
        return future.cancel_self(message);
    }
    if let Some(coroutine) = as_wait(waiter) {
        return coroutine.cancel(message);
    }
    if let Some(sleep) = waiter.cast_exact::<SleepState>() {
        return sleep.cancel(message);
    }
    let message = message.map_or_else(value::none, AsObject::own);
    let answer = waiter.call_method_named(&names::CANCEL, &[], &names::MSG, &message)?;
    value::is_true(&answer)
}
