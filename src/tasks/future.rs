//! Future: a result to come. The state and its transitions; the Python face is in `future_type`.
//!
//! Mirrors `_asyncio.Future` step by step (what raises, in which order callbacks are scheduled),
//! with two differences that only speed can show: on a loop of ours a finished Future puts its
//! waiting Task into the ready queue directly, and the collector is told of a Future only when it
//! could be part of a cycle (`track` at the first callback, exception, container result or
//! instance attribute).

use std::cell::{Cell, OnceCell};

use super::callbacks::{Callbacks, Waiter, Wake};
use super::gather::{Gathering, GatheringState};
use super::task::{Task, TaskState};
use super::watch;
use crate::engine::asyncio::{asyncio, invalid_state};
use crate::engine::event_loop::{EventLoop, LoopState};
use crate::engine::handle::Handle;
use crate::py::error::{raise_instance, take};
use crate::py::{
    Any, AsObject, Builtin, Class, Managed, Object, Own, Pool, Raised, Res, Sent, Slot, Stop,
    TypeCell, Visitor, context, create, error, names, raise, runtime_error, track, type_error,
    value,
};

/// How a Future stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Pending,
    Cancelled,
    Result,
    Exception,
}

pub(crate) type Future = Object<FutureState>;

/// A Future's fields. A Task's state begins with one, so a `&Task` is a `&Future` too.
#[repr(C)]
pub(crate) struct FutureState {
    outcome: Cell<Outcome>,
    /// `_asyncio_future_blocking`: set by `await`, taken back by the Task that sees it.
    pub(crate) blocking: Cell<bool>,
    /// Whether an exception is held that nobody has asked for.
    pub(crate) log_traceback: Cell<bool>,
    tracked: Cell<bool>,
    finalized: Cell<bool>,
    /// Whether `awaited_by` is a set.
    pub(super) awaited_by_many: Cell<bool>,
    /// Whether the loop is ours, with its own `call_soon`.
    native: Cell<bool>,
    loop_: Slot,
    /// The result, or the exception.
    value: Slot,
    pub(super) callbacks: Callbacks,
    /// Filled by `future_add_to_awaited_by` (3.14): one awaiter as itself, several as a set.
    pub(super) awaited_by: Slot,
    extra: OnceCell<Box<Extra>>,
    /// The instance dict; the interpreter finds it by its offset.
    dict: Slot,
    weakrefs: Managed,
}

/// What few Futures have.
pub(crate) struct Extra {
    pub(crate) cancel_message: Slot,
    pub(crate) cancelled_error: Slot,
    pub(crate) exception_traceback: Slot,
    pub(crate) source_traceback: Slot,
}

pub(super) static FUTURE: TypeCell = TypeCell::new();
static POOL: Pool = Pool::new(1024);

impl FutureState {
    pub(crate) const DICT: usize = std::mem::offset_of!(FutureState, dict);
    pub(crate) const WEAKREFS: usize = std::mem::offset_of!(FutureState, weakrefs);

    /// Before `__init__`: no loop.
    pub(crate) fn blank() -> FutureState {
        FutureState {
            outcome: Cell::new(Outcome::Pending),
            blocking: Cell::new(false),
            log_traceback: Cell::new(false),
            tracked: Cell::new(false),
            finalized: Cell::new(false),
            awaited_by_many: Cell::new(false),
            native: Cell::new(false),
            loop_: Slot::empty(),
            value: Slot::empty(),
            callbacks: Callbacks::new(),
            awaited_by: Slot::empty(),
            extra: OnceCell::new(),
            dict: Slot::empty(),
            weakrefs: Managed::new(),
        }
    }

    /// Pending on a loop of ours.
    #[inline(always)]
    pub(crate) fn on(event_loop: &EventLoop) -> FutureState {
        FutureState {
            native: Cell::new(event_loop.is_plain()),
            loop_: Slot::new(event_loop.own().into_any()),
            ..FutureState::blank()
        }
    }

    pub(super) fn extra(&self) -> &Extra {
        self.extra.get_or_init(|| {
            Box::new(Extra {
                cancel_message: Slot::empty(),
                cancelled_error: Slot::empty(),
                exception_traceback: Slot::empty(),
                source_traceback: Slot::empty(),
            })
        })
    }

    /// A field of `Extra`, if there is one.
    pub(super) fn rare(&self, field: impl Fn(&Extra) -> &Slot) -> Option<Own<Any>> {
        self.extra.get().and_then(|extra| field(extra).get())
    }

    pub(super) fn visit(&self, visitor: &Visitor) -> Result<(), Stop> {
        visitor.slot(&self.loop_)?;
        visitor.slot(&self.value)?;
        self.callbacks.visit(visitor)?;
        visitor.slot(&self.awaited_by)?;
        if let Some(extra) = self.extra.get() {
            visitor.slot(&extra.cancel_message)?;
            visitor.slot(&extra.cancelled_error)?;
            visitor.slot(&extra.exception_traceback)?;
            visitor.slot(&extra.source_traceback)?;
        }
        visitor.slot(&self.dict)
    }

    pub(super) fn forget(&self) {
        self.loop_.clear();
        self.native.set(false);
        self.value.clear();
        drop(self.callbacks.take());
        if let Some(extra) = self.extra.get() {
            extra.cancel_message.clear();
            extra.cancelled_error.clear();
            extra.exception_traceback.clear();
            extra.source_traceback.clear();
        }
        self.awaited_by.clear();
        self.dict.clear();
    }

    #[inline(always)]
    pub(super) fn tracked_flag(&self) -> &Cell<bool> {
        &self.tracked
    }

    pub(super) fn weakref_list(&self) -> &Managed {
        &self.weakrefs
    }
}

impl Class for FutureState {
    const NAME: &'static std::ffi::CStr = c"aioxide.Future";
    const FINALIZES: bool = true;

    fn cell() -> &'static TypeCell {
        &FUTURE
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
    fn mark_finalized(&self) {
        self.finalized.set(true);
    }
    fn was_finalized(&self) -> bool {
        self.finalized.get()
    }
    fn traverse(object: &Future, visitor: &Visitor) -> Result<(), Stop> {
        object.visit(visitor)
    }
    fn clear(object: &Future) {
        object.forget();
    }
    fn wants_finalizer(object: &Future) -> bool {
        object.log_traceback.get()
    }
    fn finalize(object: &Future) {
        object.report_unretrieved();
    }
}

/// A pending Future on a loop of ours.
#[inline(always)]
pub(crate) fn create_future(event_loop: &EventLoop) -> Res<Own<Future>> {
    let future = create(|| FutureState::on(event_loop))?;
    if event_loop.debug() {
        future.remember_source()?;
    }
    Ok(future)
}

/// The object as one of our Futures or Tasks, exactly: subclasses may have overridden anything.
#[inline(always)]
pub(crate) fn as_native(object: &Any) -> Option<&Future> {
    object
        .cast_exact::<FutureState>()
        .or_else(|| object.cast_exact::<TaskState>().map(Task::as_future))
        .or_else(|| object.cast_exact::<GatheringState>().map(Gathering::as_future))
}

impl Future {
    #[inline(always)]
    pub(crate) fn outcome(&self) -> Outcome {
        self.outcome.get()
    }

    #[inline(always)]
    pub(crate) fn is_done(&self) -> bool {
        self.outcome.get() != Outcome::Pending
    }

    /// `__init__`: takes the loop, or asks asyncio for it.
    pub(super) fn start(&self, event_loop: Option<&Any>) -> Res<()> {
        self.forget_for_restart();
        let event_loop = match event_loop.filter(|given| !given.is_none()) {
            Some(given) => given.own(),
            None => asyncio().get_event_loop.call(&[])?,
        };
        let debug = match event_loop.cast::<LoopState>() {
            Some(ours) => {
                self.native.set(ours.is_plain());
                ours.debug()
            }
            None => value::is_true(&*event_loop.call_method(&names::GET_DEBUG, &[])?)?,
        };
        self.loop_.set(event_loop);
        if debug && !value::is_finalizing() {
            self.remember_source()?;
        }
        Ok(())
    }

    fn forget_for_restart(&self) {
        self.loop_.clear();
        self.native.set(false);
        self.value.clear();
        drop(self.callbacks.take());
        self.outcome.set(Outcome::Pending);
        self.log_traceback.set(false);
        self.blocking.set(false);
    }

    pub(super) fn remember_source(&self) -> Res<()> {
        track(self);
        self.extra().source_traceback.set(asyncio().extract_stack.call(&[])?);
        Ok(())
    }

    /// The loop, or asyncio's error for an object whose `__init__` did not run.
    pub(crate) fn event_loop(&self) -> Res {
        self.loop_.get().ok_or_else(|| runtime_error("Future object is not initialized."))
    }

    /// The loop if it is ours.
    ///
    /// Borrowed from the field that holds it: nothing replaces a living Future's loop but a second
    /// `__init__` and the collector, and neither can run while native code uses the loop between
    /// two calls into Python.
    #[inline(always)]
    pub(crate) fn native_loop(&self) -> Option<&EventLoop> {
        if !self.native.get() {
            return None;
        }
        // SAFETY: see above; callers do not hold the borrow over calls into Python code that
        // could free it, because the object itself (and so the field) is alive.
        // `native` is set with the loop, and only for ours.
        unsafe { self.loop_.peek().map(|event_loop| event_loop.assume::<LoopState>()) }
    }

    #[inline(always)]
    pub(crate) fn runs_on(&self, event_loop: &impl AsObject) -> bool {
        self.loop_.holds(event_loop)
    }

    fn check_pending(&self) -> Res<()> {
        if self.is_done() { Err(invalid_state("invalid state")) } else { Ok(()) }
    }

    #[inline]
    pub(crate) fn set_result(&self, result: Own<Any>) -> Res<()> {
        if !self.loop_.is_some() {
            return Err(runtime_error("Future object is not initialized."));
        }
        self.check_pending()?;
        if value::can_hold_cycle(&result) {
            self.track_self();
        }
        self.value.set(result);
        self.outcome.set(Outcome::Result);
        self.schedule_callbacks()
    }

    /// `set_exception(exception)` with a class or an instance.
    pub(crate) fn set_exception(&self, exception: &Any) -> Res<()> {
        self.check_pending()?;
        let instance = raisable(exception)?;
        self.check_pending()?;
        self.track_self();
        let traceback = value::traceback_of(&instance);
        if let Some(traceback) = traceback {
            self.extra().exception_traceback.set(traceback);
        }
        self.value.set(instance);
        self.outcome.set(Outcome::Exception);
        self.log_traceback.set(true);
        self.schedule_callbacks()
    }

    /// Future's own `cancel`, also for a Task that ends cancelled.
    pub(crate) fn cancel_self(&self, message: Option<&Any>) -> Res<bool> {
        self.log_traceback.set(false);
        if self.is_done() {
            return Ok(false);
        }
        self.outcome.set(Outcome::Cancelled);
        self.set_cancel_message(message);
        self.schedule_callbacks()?;
        Ok(true)
    }

    pub(super) fn set_cancel_message(&self, message: Option<&Any>) {
        match message.filter(|message| !message.is_none()) {
            Some(message) => {
                self.track_self();
                self.extra().cancel_message.set(message.own());
            }
            None => {
                if let Some(extra) = self.extra.get() {
                    extra.cancel_message.clear();
                }
            }
        }
    }

    #[inline(always)]
    pub(crate) fn track_self(&self) {
        track(self);
    }

    /// The CancelledError to raise: the one that ended the Task, or a new one with the message.
    pub(crate) fn make_cancelled_error(&self) -> Res {
        if let Some(error) = self.extra.get().and_then(|extra| extra.cancelled_error.take()) {
            return Ok(error);
        }
        match self.rare(|extra| &extra.cancel_message) {
            Some(message) => asyncio().cancelled_error.call(&[&message]),
            None => asyncio().cancelled_error.call(&[]),
        }
    }

    fn raise_cancelled(&self) -> Raised {
        match self.make_cancelled_error() {
            Ok(error) => raise_instance(&error),
            Err(raised) => raised,
        }
    }

    /// The exception held, with the traceback it had when it was set.
    fn exception_to_raise(&self) -> Res {
        self.log_traceback.set(false);
        let exception = self.value.get().ok_or_else(|| invalid_state("Exception is not set."))?;
        let traceback = self.extra.get().and_then(|extra| extra.exception_traceback.take());
        let traceback = traceback.unwrap_or_else(value::none);
        value::set_traceback(&exception, &traceback)?;
        Ok(exception)
    }

    /// `result()`.
    #[inline]
    pub(crate) fn result(&self) -> Res {
        match self.outcome.get() {
            Outcome::Result => {
                self.log_traceback.set(false);
                self.value.get().ok_or_else(|| invalid_state("Result is not set."))
            }
            Outcome::Pending => Err(invalid_state("Result is not set.")),
            Outcome::Cancelled => Err(self.raise_cancelled()),
            Outcome::Exception => Err(raise_instance(&*self.exception_to_raise()?)),
        }
    }

    /// `exception()`.
    pub(crate) fn exception(&self) -> Res {
        match self.outcome.get() {
            Outcome::Pending => Err(invalid_state("Exception is not set.")),
            Outcome::Cancelled => Err(self.raise_cancelled()),
            Outcome::Result => Ok(value::none()),
            Outcome::Exception => {
                self.log_traceback.set(false);
                self.value.get().ok_or_else(|| invalid_state("Exception is not set."))
            }
        }
    }

    /// What a Task that waited here is to be resumed with: None, or the exception to throw.
    #[inline(always)]
    pub(super) fn wake_reason(&self) -> Res<Option<Own<Any>>> {
        match self.outcome.get() {
            Outcome::Result | Outcome::Pending => Ok(None),
            Outcome::Exception => self.exception_to_raise().map(Some),
            Outcome::Cancelled => {
                let raised = self.raise_cancelled();
                Ok(Some(error::fetch(raised)))
            }
        }
    }

    /// Whether the result or exception may have more hanging on it, whose end may run code.
    #[inline(always)]
    pub(super) fn holds_container(&self) -> bool {
        // SAFETY: a look at the type; nothing runs.
        unsafe { self.value.peek() }.is_some_and(value::can_hold_cycle)
    }

    #[inline(always)]
    pub(crate) fn has_plain_result(&self) -> bool {
        self.outcome.get() == Outcome::Result
    }

    /// The result, if that is what there is.
    #[inline(always)]
    pub(super) fn plain_result(&self) -> Option<Own<Any>> {
        self.held(Outcome::Result)
    }

    /// The value without any of the above, for `_result` and `_exception`.
    pub(super) fn held(&self, wanted: Outcome) -> Option<Own<Any>> {
        (self.outcome.get() == wanted).then(|| self.value.get()).flatten()
    }

    /// A step of the await protocol: asks to be waited for, or gives the result.
    #[inline(always)]
    pub(super) fn poll(&self) -> Res<Sent> {
        if self.is_done() {
            return self.result().map(Sent::Returned);
        }
        if self.blocking.replace(true) {
            return Err(runtime_error("await wasn't used with future"));
        }
        Ok(Sent::Yielded(self.own().into_any()))
    }

    pub(crate) fn add_done_callback(&self, callback: &Any, given: Option<&Any>) -> Res<()> {
        let event_loop = self.event_loop()?;
        let context = match given.filter(|given| !given.is_none()) {
            Some(given) => given.own(),
            None => context::copy_current()?,
        };
        if self.is_done() {
            return call_soon(&event_loop, callback, Some(self.as_any()), &context);
        }
        self.track_self();
        self.callbacks.push(Waiter::callback(callback.own(), context));
        Ok(())
    }

    /// Puts a watcher here. `watch::watch` is the way in.
    #[inline(always)]
    pub(super) fn add_watcher(&self, watcher: Own<Any>) {
        self.track_self();
        self.callbacks.push(Waiter::watcher(watcher));
    }

    /// Puts a Task to wait here. Both are tracked: together they may be a cycle.
    #[inline(always)]
    pub(super) fn add_waiting_task(&self, task: Own<Task>) {
        self.track_self();
        self.callbacks.push(Waiter::task(task));
    }

    /// Schedules every callback and wakes every waiting Task, in the order in which they came.
    #[inline(always)]
    fn schedule_callbacks(&self) -> Res<()> {
        let (first, more) = self.callbacks.take_first();
        let Some(first) = first else { return Ok(()) };
        if more {
            return self.schedule_many(first);
        }
        self.schedule(first)
    }

    #[cold]
    fn schedule_many(&self, first: Waiter) -> Res<()> {
        let (_, rest) = self.callbacks.take();
        self.schedule(first)?;
        rest.into_iter().try_for_each(|waiter| self.schedule(waiter))
    }

    #[inline(always)]
    fn schedule(&self, waiter: Waiter) -> Res<()> {
        if let Some(event_loop) = self.native_loop() {
            event_loop.check_can_schedule()?;
            match waiter.open() {
                Wake::Task(task) => event_loop.ready().push_task(task),
                Wake::Callback(callback, context) => {
                    let handle = Handle::for_callback(event_loop, callback, self, context)?;
                    event_loop.ready().push_handle(handle);
                }
                // It stays until its turn, which finds it by this Future.
                Wake::Watcher(watcher) => {
                    self.callbacks.push(Waiter::watcher(watcher));
                    event_loop.ready().push_notice(self.own());
                }
            }
            return Ok(());
        }
        let event_loop = self.event_loop()?;
        match waiter.open() {
            Wake::Task(task) => {
                let wakeup = task.wakeup_callable()?;
                let context = task.context_object()?;
                call_soon(&event_loop, &wakeup, Some(self.as_any()), &context)
            }
            Wake::Callback(callback, context) => {
                call_soon(&event_loop, &callback, Some(self.as_any()), &context)
            }
            Wake::Watcher(watcher) => {
                let callback = watch::callable(&watcher)?;
                let context = context::copy_current()?;
                call_soon(&event_loop, &callback, Some(self.as_any()), &context)
            }
        }
    }

    /// A notice of this Future had its turn: tells the first watcher that was left.
    pub(crate) fn notify(&self) -> Res<()> {
        match self.callbacks.pop().map(Waiter::open) {
            Some(Wake::Watcher(watcher)) => watch::notify(&watcher, self.as_any()),
            _ => Ok(()),
        }
    }

    /// "… exception was never retrieved", through the loop's exception handler.
    pub(super) fn report_unretrieved(&self) {
        if !self.log_traceback.replace(false) {
            return;
        }
        let (Some(event_loop), Some(exception)) = (self.loop_.get(), self.value.get()) else {
            return;
        };
        let report = || -> Res {
            let text = format!("{} exception was never retrieved", value::type_name(self.as_any()));
            let message = value::string(&text)?;
            let source = self.rare(|extra| &extra.source_traceback);
            let mut items: Vec<(&'static names::Name, &Any)> = vec![
                (&names::MESSAGE, &message),
                (&names::EXCEPTION, &exception),
                (&names::FUTURE, self.as_any()),
            ];
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

/// `loop.call_soon(callback, argument, context=context)` on any loop.
pub(crate) fn call_soon(
    event_loop: &Any,
    callback: &Any,
    argument: Option<&Any>,
    context: &Any,
) -> Res<()> {
    match argument {
        Some(argument) => event_loop.call_method_named(
            &names::CALL_SOON,
            &[callback, argument],
            &names::CONTEXT,
            context,
        )?,
        None => event_loop.call_method_named(
            &names::CALL_SOON,
            &[callback],
            &names::CONTEXT,
            context,
        )?,
    };
    Ok(())
}

/// The exception object that `set_exception(exception)` stands for.
pub(super) fn raisable(exception: &Any) -> Res {
    let instance =
        if value::is_exception_class(exception) { exception.call(&[])? } else { exception.own() };
    if !value::is_exception(&instance) {
        return Err(type_error("invalid exception object"));
    }
    guard_stop_iteration(instance)
}

/// StopIteration cannot be thrown into a coroutine: it is wrapped or refused, as the version does.
fn guard_stop_iteration(exception: Own<Any>) -> Res {
    const TEXT: &str =
        "StopIteration interacts badly with generators and cannot be raised into a Future";
    if !error::is_kind(&exception, Builtin::StopIteration.get()) {
        return Ok(exception);
    }
    if asyncio().wraps_stop_iteration {
        let raised = raise(Builtin::RuntimeError.get(), TEXT);
        let wrapper = take().ok_or(raised)?;
        value::set_cause(&wrapper, &exception);
        Ok(wrapper)
    } else {
        Err(type_error(TEXT))
    }
}
