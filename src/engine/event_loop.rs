//! The loop's state and the methods that schedule: what a program calls many times.
//!
//! Running is in `turn`, descriptors are in `io`. What happens once a loop (executors, signal
//! handlers, exception handlers, asynchronous generators) is Python, in `aioxide.EventLoop`, which
//! inherits from this type.

use std::cell::{Cell, OnceCell, RefCell, UnsafeCell};
use std::mem::ManuallyDrop;
use std::num::NonZeroUsize;

use reactor::Timers;

use super::handle::{Handle, TimerHandle};
use super::io::Io;
use super::outbox::Outbox;
use super::ready::ReadyQueue;
use super::registry;
use crate::engine::asyncio::asyncio;
use crate::py::class::is_same_method;
use crate::py::{
    Any, Args, AsObject, Class, Leading, Object, Own, Res, Signature, Slot, Stop, TypeCell,
    Visitor, error, names, runtime_error, thread_ident, type_error, value,
};
use crate::tasks::future::{FutureState, create_future};
use crate::tasks::list::TaskList;
use crate::tasks::sleep::Sleep;
use crate::tasks::spawn::is_eager_factory;
use crate::tasks::task::{Options, Task, TaskState, spawn};
use crate::tasks::timeout::Timeout;

pub(crate) type EventLoop = Object<LoopState>;

/// A timer in the heap: a TimerHandle, a sleep or a timeout, each of which knows its own place
/// there. One word, with tag bits, because a heap is moved about.
pub(crate) struct TimerEntry(NonZeroUsize);

/// A timer, taken out.
pub(crate) enum Timer {
    Handle(Own<TimerHandle>),
    Sleep(Own<Sleep>),
    Timeout(Own<Timeout>),
}

impl TimerEntry {
    const SLEEP: usize = 1;
    const TIMEOUT: usize = 2;
    const TAGS: usize = 3;

    #[inline(always)]
    pub(crate) fn handle(timer: Own<TimerHandle>) -> TimerEntry {
        TimerEntry::tagged(timer.into_word())
    }

    #[inline(always)]
    pub(crate) fn sleep(sleep: Own<Sleep>) -> TimerEntry {
        TimerEntry::tagged(sleep.into_word() | TimerEntry::SLEEP)
    }

    #[inline(always)]
    pub(crate) fn timeout(timeout: Own<Timeout>) -> TimerEntry {
        TimerEntry::tagged(timeout.into_word() | TimerEntry::TIMEOUT)
    }

    #[inline(always)]
    fn tagged(word: usize) -> TimerEntry {
        // A reference is never null.
        TimerEntry(NonZeroUsize::new(word).unwrap_or(NonZeroUsize::MIN))
    }

    /// # Safety
    /// Of the results for one entry only one may be dropped.
    #[inline(always)]
    unsafe fn unfold(&self) -> Timer {
        let word = self.0.get();
        // SAFETY: the word was folded by `handle`, `sleep` or `timeout`, whose tags tell them
        // apart; objects are aligned to 8.
        unsafe {
            match word & TimerEntry::TAGS {
                0 => Timer::Handle(Own::from_word(word)),
                TimerEntry::SLEEP => Timer::Sleep(Own::from_word(word & !TimerEntry::TAGS)),
                _ => Timer::Timeout(Own::from_word(word & !TimerEntry::TAGS)),
            }
        }
    }

    #[inline(always)]
    pub(super) fn open(self) -> Timer {
        let entry = ManuallyDrop::new(self);
        // SAFETY: the entry itself is not dropped.
        unsafe { entry.unfold() }
    }

    #[inline(always)]
    fn look<R>(&self, f: impl FnOnce(&Timer) -> R) -> R {
        // SAFETY: this one is not dropped.
        f(&ManuallyDrop::new(unsafe { self.unfold() }))
    }
}

impl Drop for TimerEntry {
    fn drop(&mut self) {
        // SAFETY: the entry ends here.
        drop(unsafe { self.unfold() });
    }
}

impl reactor::Slot for TimerEntry {
    #[inline(always)]
    fn set_position(&self, position: u32) {
        self.look(|timer| match timer {
            Timer::Handle(timer) => timer.set_position(position),
            Timer::Sleep(sleep) => sleep.set_position(position),
            Timer::Timeout(timeout) => timeout.set_position(position),
        });
    }
    #[inline(always)]
    fn position(&self) -> u32 {
        self.look(|timer| match timer {
            Timer::Handle(timer) => timer.position(),
            Timer::Sleep(sleep) => sleep.position(),
            Timer::Timeout(timeout) => timeout.position(),
        })
    }
}

/// A loop's fields.
pub(crate) struct LoopState {
    ready: ReadyQueue,
    timers: UnsafeCell<Timers<TimerEntry>>,
    tasks: TaskList,
    io: OnceCell<Io>,
    outbox: Outbox,
    /// How many entries of the ready queue are Tasks that endpoints have woken in this turn.
    pub(super) woken: Cell<usize>,
    /// How often the kernel has been asked what is ready.
    pub(super) looks: Cell<usize>,
    /// Listeners that wait for the process to have a descriptor for them.
    starved: RefCell<Vec<Own<Any>>>,
    /// The Task that is being stepped.
    current: Cell<*const Task>,
    /// The Task that asyncio believes to be current.
    published: Cell<*const Task>,
    task_factory: Slot,
    /// Whether that is our own `eager_task_factory`, which needs no call.
    eager: Cell<bool>,
    /// `asyncio.tasks.Task` and `asyncio.futures.Future` if somebody put other classes there:
    /// asyncio's loop would use them, so ours does.
    task_class: Slot,
    future_class: Slot,
    /// The thread in `_run`, 0 when none is.
    thread: Cell<u64>,
    pub(super) stopping: Cell<bool>,
    closed: Cell<bool>,
    debug: Cell<bool>,
    /// Whether `call_soon` is our own: a subclass that overrides it must see every callback.
    plain: Cell<bool>,
    /// Whether time, timers and the making of tasks and futures are our own, too.
    standard: Cell<bool>,
    /// Whether the loop waits without the GIL, so that another thread must ring.
    pub(super) parked: Cell<bool>,
    /// Whether the loop has had transports of asyncio's, whose descriptors programs may not watch.
    pub(super) guarded: Cell<bool>,
}

static LOOP: TypeCell = TypeCell::new();

impl LoopState {
    pub(super) fn blank() -> LoopState {
        LoopState {
            ready: ReadyQueue::new(),
            timers: UnsafeCell::new(Timers::new()),
            tasks: TaskList::new(),
            io: OnceCell::new(),
            outbox: Outbox::new(),
            woken: Cell::new(0),
            looks: Cell::new(0),
            starved: RefCell::new(Vec::new()),
            current: Cell::new(std::ptr::null()),
            published: Cell::new(std::ptr::null()),
            task_factory: Slot::empty(),
            eager: Cell::new(false),
            task_class: Slot::empty(),
            future_class: Slot::empty(),
            thread: Cell::new(0),
            stopping: Cell::new(false),
            closed: Cell::new(false),
            debug: Cell::new(false),
            plain: Cell::new(false),
            standard: Cell::new(false),
            parked: Cell::new(false),
            guarded: Cell::new(false),
        }
    }

    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    pub(super) fn timers(&self) -> &mut Timers<TimerEntry> {
        // SAFETY: visible in the engine only, where every use is one heap operation that runs no
        // Python code (entries that come out are dropped after the borrow), with the GIL held.
        unsafe { &mut *self.timers.get() }
    }

    fn drop_timers(&self) {
        let entries: Vec<TimerEntry> = self.timers().drain().collect();
        for entry in entries {
            if let Timer::Handle(timer) = entry.open() {
                timer.as_handle().abandon();
            }
        }
    }
}

impl Drop for LoopState {
    /// The ready queue sees to itself. Here and not in `leave`: it may run code, which must not
    /// meet a dying loop that the collector still knows.
    fn drop(&mut self) {
        self.drop_timers();
    }
}

impl Class for LoopState {
    const NAME: &'static std::ffi::CStr = c"aioxide._core.Loop";

    fn cell() -> &'static TypeCell {
        &LOOP
    }
    fn traverse(object: &EventLoop, visitor: &Visitor) -> Result<(), Stop> {
        visitor.slot(&object.task_factory)?;
        visitor.slot(&object.task_class)?;
        visitor.slot(&object.future_class)?;
        object.ready.visit(visitor)?;
        object.outbox.visit(visitor)?;
        for listener in object.starved.borrow().iter() {
            visitor.object(&**listener)?;
        }
        for (_, entry) in object.timers().iter() {
            entry.look(|timer| match timer {
                Timer::Handle(timer) => timer.as_handle().visit(visitor),
                Timer::Sleep(sleep) => visitor.object(&**sleep),
                Timer::Timeout(timeout) => visitor.object(&**timeout),
            })?;
        }
        object.io.get().map_or(Ok(()), |io| io.visit(visitor))
    }
    fn clear(object: &EventLoop) {
        object.task_factory.clear();
        object.task_class.clear();
        object.future_class.clear();
        object.ready.clear();
        object.outbox.clear();
        drop(object.starved.take());
        object.drop_timers();
        if let Some(io) = object.io.get() {
            io.forget_watches();
        }
    }
    fn leave(object: &EventLoop) {
        registry::remove(object);
        object.tasks.disband();
    }
}

impl EventLoop {
    #[inline(always)]
    pub(crate) fn ready(&self) -> &ReadyQueue {
        &self.ready
    }

    #[inline(always)]
    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Runs what wakes Tasks by what the kernel said, and runs no Python code.
    #[inline(always)]
    pub(crate) fn waking<R>(&self, wake: impl FnOnce() -> R) -> R {
        let before = self.ready.len();
        let result = wake();
        self.woken.set(self.woken.get() + self.ready.len() - before);
        result
    }

    /// A number that changes whenever the kernel is asked what is ready: whoever has tried a
    /// descriptor since knows more than an event that is still in the queue.
    #[inline(always)]
    pub(crate) fn looks(&self) -> usize {
        self.looks.get()
    }

    /// Borrowed for one operation at a time, none of which runs Python code.
    pub(crate) fn starved_listeners(&self) -> &RefCell<Vec<Own<Any>>> {
        &self.starved
    }

    #[inline(always)]
    pub(crate) fn tasks(&self) -> &TaskList {
        &self.tasks
    }

    #[inline(always)]
    pub(super) fn is_watching(&self) -> bool {
        self.io.get().is_some_and(Io::is_watching)
    }

    /// Descriptors and waker; an error when `__init__` did not run.
    #[inline(always)]
    pub(crate) fn io(&self) -> Res<&Io> {
        self.io.get().ok_or_else(|| runtime_error("the event loop's __init__ was not called"))
    }

    pub(crate) fn living_io(&self) -> Option<&Io> {
        self.io.get()
    }

    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        self.plain.get()
    }

    /// Whether native code may set timers without asking the loop's methods.
    #[inline(always)]
    pub(crate) fn is_standard(&self) -> bool {
        self.standard.get()
    }

    /// Whether native code may make Tasks without asking the loop's methods.
    #[inline(always)]
    pub(crate) fn makes_plain_tasks(&self) -> bool {
        self.standard.get() && !self.task_factory.is_some() && !self.task_class.is_some()
    }

    #[inline(always)]
    pub(crate) fn debug(&self) -> bool {
        self.debug.get()
    }

    #[inline(always)]
    pub(crate) fn is_running(&self) -> bool {
        self.thread.get() != 0
    }

    /// The thread that runs the loop, 0 when none does.
    pub(super) fn thread(&self) -> u64 {
        self.thread.get()
    }

    pub(super) fn task_factory(&self) -> Option<Own<Any>> {
        self.task_factory.get()
    }

    pub(super) fn set_thread(&self, thread: u64) {
        self.thread.set(thread);
    }

    #[inline(always)]
    pub(super) fn set_current(&self, task: *const Task) {
        self.current.set(task);
    }

    #[inline(always)]
    pub(super) fn current_ptr(&self) -> *const Task {
        self.current.get()
    }

    #[inline(always)]
    pub(super) fn published(&self) -> *const Task {
        self.published.get()
    }

    /// Whether asyncio believes this Task to be current, and so holds a reference.
    #[inline(always)]
    pub(crate) fn has_published(&self, task: &Task) -> bool {
        std::ptr::eq(self.published.get(), task)
    }

    #[inline(always)]
    pub(super) fn set_published(&self, task: *const Task) {
        self.published.set(task);
    }

    /// The Task that is being stepped.
    pub(crate) fn current_task(&self) -> Option<Own<Task>> {
        // SAFETY: set while a step runs, whose caller owns the Task; unset before it lets go.
        unsafe { self.current.get().as_ref() }.map(AsObject::own)
    }

    #[inline(always)]
    pub(crate) fn check_closed(&self) -> Res<()> {
        if self.closed.get() { Err(runtime_error("Event loop is closed")) } else { Ok(()) }
    }

    /// Whether `check_can_schedule` has anything to say.
    #[inline(always)]
    pub(crate) fn must_check_schedule(&self) -> bool {
        self.closed.get() || self.debug.get()
    }

    /// What `call_soon` checks: not closed, and in debug mode the right thread.
    #[inline(always)]
    pub(crate) fn check_can_schedule(&self) -> Res<()> {
        self.check_closed()?;
        if self.debug.get() { self.check_thread() } else { Ok(()) }
    }

    #[cold]
    fn check_thread(&self) -> Res<()> {
        if self.thread.get() == 0 || self.thread.get() == thread_ident() {
            return Ok(());
        }
        Err(runtime_error(
            "Non-thread-safe operation invoked on an event loop other than the current one",
        ))
    }

    #[cold]
    fn check_callback(&self, callback: &Any, method: &str) -> Res<()> {
        let method = value::string(method)?;
        self.as_any().call_method(&names::CHECK_CALLBACK, &[callback, &method]).map(|_| ())
    }

    /// Looks whether somebody replaced asyncio's classes: once a run, and at each use outside one.
    pub(super) fn learn_classes(&self) -> Res<()> {
        let replaced = |class: Own<Any>, stock: &Any, ours: &Any| {
            Some(class).filter(|class| !class.is(stock) && !class.is(ours))
        };
        let stock = asyncio();
        let task = stock.tasks.attr(&names::TASK_CLASS)?;
        self.task_class.put(replaced(task, &stock.task_class, TaskState::cell().object()));
        let future = stock.futures.attr(&names::FUTURE_CLASS)?;
        self.future_class.put(replaced(future, &stock.future_class, FutureState::cell().object()));
        Ok(())
    }

    pub(crate) fn add_timer(&self, when: f64, entry: TimerEntry) {
        self.timers().push(when, entry);
    }

    /// Takes a timer out of the heap by its place, if it has one.
    #[inline(always)]
    pub(crate) fn remove_timer(&self, position: u32) -> Option<TimerEntry> {
        if position == reactor::NOWHERE { None } else { self.timers().remove(position) }
    }

    #[inline(always)]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Rings the loop if it waits in another thread.
    #[inline(always)]
    pub(super) fn wake(&self) {
        if self.parked.get()
            && let Some(io) = self.io.get()
        {
            io.wake();
        }
    }
}

pub(super) fn init(this: &EventLoop, args: Args<'_>) -> Res<()> {
    static NONE: Signature<0> = Signature { method: "Loop", names: [], positional: 0, required: 0 };
    args.bind(&NONE)?;
    let class = value::type_of(this.as_any());
    let inherits = |name: &'static names::Name| -> Res<bool> {
        Ok(is_same_method(&*class.attr(name)?, &*LOOP.object().attr(name)?))
    };
    let mut standard = inherits(&names::CALL_SOON)?;
    this.plain.set(standard);
    for name in [
        &names::CALL_LATER,
        &names::CALL_AT,
        &names::TIME,
        &names::CREATE_FUTURE,
        &names::CREATE_TASK,
    ] {
        standard = standard && inherits(name)?;
    }
    this.standard.set(standard);
    if this.io.get().is_none() {
        let io = Io::new().map_err(|failure| error::os_error(&failure))?;
        let _ = this.io.set(io);
        registry::add(this);
    }
    Ok(())
}

#[cold]
fn missing(method: &str, what: &str) -> crate::py::Raised {
    type_error(&format!("{method}() missing required argument '{what}'"))
}

#[inline(always)]
fn schedule(
    this: &EventLoop,
    args: &Args<'_>,
    method: &'static str,
    any_thread: bool,
) -> Res<Own<Handle>> {
    let Leading { first: [callback], rest, context } = args.leading(method, [&names::CALLBACK])?;
    this.check_closed()?;
    if this.debug.get() {
        if !any_thread {
            this.check_thread()?;
        }
        this.check_callback(callback, method)?;
    }
    let handle = Handle::make(this, callback, rest, context)?;
    this.ready.push_handle(handle.clone());
    Ok(handle)
}

pub(super) fn call_soon(this: &EventLoop, args: Args<'_>) -> Res<Own<Handle>> {
    schedule(this, &args, "call_soon", false)
}

pub(super) fn call_soon_threadsafe(this: &EventLoop, args: Args<'_>) -> Res<Own<Handle>> {
    let handle = schedule(this, &args, "call_soon_threadsafe", true)?;
    handle.guard_threads();
    this.wake();
    Ok(handle)
}

#[inline(always)]
fn schedule_at(
    this: &EventLoop,
    when: f64,
    callback: &Any,
    rest: &[&Any],
    context: Option<&Any>,
) -> Res<Own<TimerHandle>> {
    this.check_closed()?;
    if this.debug.get() {
        this.check_thread()?;
        // asyncio's call_later is a call_at, and says so.
        this.check_callback(callback, "call_at")?;
    }
    let timer = TimerHandle::make(this, when, callback, rest, context)?;
    this.timers().push(when, TimerEntry::handle(timer.clone()));
    Ok(timer)
}

pub(super) fn call_later(this: &EventLoop, args: Args<'_>) -> Res<Own<TimerHandle>> {
    let Leading { first: [delay, callback], rest, context } =
        args.leading("call_later", [&names::DELAY, &names::CALLBACK])?;
    if delay.is_none() {
        return Err(type_error("delay must not be None"));
    }
    let when = reactor::monotonic() + value::as_float(delay)?;
    schedule_at(this, when, callback, rest, context)
}

pub(super) fn call_at(this: &EventLoop, args: Args<'_>) -> Res<Own<TimerHandle>> {
    let Leading { first: [when, callback], rest, context } =
        args.leading("call_at", [&names::WHEN, &names::CALLBACK])?;
    if when.is_none() {
        return Err(type_error("when cannot be None"));
    }
    schedule_at(this, value::as_float(when)?, callback, rest, context)
}

static CREATE_TASK: Signature<4> = Signature {
    method: "create_task",
    names: [&names::CORO, &names::NAME, &names::CONTEXT, &names::EAGER_START],
    positional: 1,
    required: 1,
};

#[inline]
pub(super) fn create_task(this: &EventLoop, args: Args<'_>) -> Res {
    if !this.is_running() {
        this.learn_classes()?;
    }
    let eagerly = this.eager.get() && !this.task_class.is_some();
    if !eagerly && (this.task_factory.is_some() || this.task_class.is_some()) {
        return create_other_task(this, &args);
    }
    if let (false, true, [coro]) = (eagerly, args.has_no_keywords(), args.positional) {
        this.check_closed()?;
        return Ok(spawn(this, coro, Options::default())?.into_any());
    }
    let [coro, name, context, eager] = args.bind(&CREATE_TASK)?;
    this.check_closed()?;
    let options = Options {
        name: name.filter(|name| !name.is_none()),
        context: context.filter(|context| !context.is_none()),
        eager: eager.map_or(Ok(eagerly), value::is_true)?,
    };
    let Some(coro) = coro else { return Err(missing("create_task", "coro")) };
    Ok(spawn(this, coro, options)?.into_any())
}

#[cold]
fn create_other_task(this: &EventLoop, args: &Args<'_>) -> Res {
    if let Some(factory) = this.task_factory.get() {
        return create_task_by_factory(this, &factory, args);
    }
    match this.task_class.get() {
        Some(class) => create_task_of_class(this, &class, args),
        None => Err(missing("create_task", "class")),
    }
}

/// 3.14 hands the factory what the caller gave, and nothing else.
#[cfg(Py_3_14)]
fn create_task_by_factory(this: &EventLoop, factory: &Any, args: &Args<'_>) -> Res {
    this.check_closed()?;
    let mut values = vec![this.as_any()];
    values.extend_from_slice(args.positional);
    if args.has_no_keywords() {
        return factory.call(&values);
    }
    let mut keywords = Vec::new();
    args.each_keyword(|name, value| {
        keywords.push(name);
        values.push(value);
        Ok(())
    })?;
    factory.call_with_names(&values, &*value::tuple(&keywords)?)
}

/// Before 3.14 name and context are the loop's business, differently in each version: Python's.
#[cfg(not(Py_3_14))]
fn create_task_by_factory(this: &EventLoop, factory: &Any, args: &Args<'_>) -> Res {
    static FACTORY: Signature<3> = Signature {
        method: "create_task",
        names: [&names::CORO, &names::NAME, &names::CONTEXT],
        positional: 1,
        required: 1,
    };
    this.check_closed()?;
    let keywords = value::dict_of(&[])?;
    let [coro, name, context] = args.bind_extra(&FACTORY, |extra, value| {
        // Other keywords are known since 3.13 only.
        if !cfg!(Py_3_13) {
            return Err(crate::py::unexpected(FACTORY.method, extra));
        }
        crate::py::dict_set(&keywords, extra, value)
    })?;
    let none = value::none_ref();
    this.as_any().call_method(
        &names::CREATE_TASK_BY_FACTORY,
        &[factory, coro.unwrap_or(none), name.unwrap_or(none), context.unwrap_or(none), &keywords],
    )
}

/// `class(coro, loop=self, ...)`, for a class that replaced `asyncio.tasks.Task`.
#[cold]
fn create_task_of_class(this: &EventLoop, class: &Any, args: &Args<'_>) -> Res {
    this.check_closed()?;
    let mut values = args.positional.to_vec();
    let mut keywords = vec![names::LOOP.get()];
    values.push(this.as_any());
    args.each_keyword(|name, value| {
        keywords.push(name);
        values.push(value);
        Ok(())
    })?;
    class.call_with_names(&values, &*value::tuple(&keywords)?)
}

pub(super) fn set_task_factory(this: &EventLoop, args: Args<'_>) -> Res<()> {
    static FACTORY: Signature<1> = Signature {
        method: "set_task_factory",
        names: [&names::FACTORY],
        positional: 1,
        required: 1,
    };
    let [factory] = args.bind(&FACTORY)?;
    let factory = factory.unwrap_or(value::none_ref());
    this.eager.set(is_eager_factory(factory));
    if factory.is_none() {
        this.task_factory.clear();
        return Ok(());
    }
    if !value::is_callable(factory) {
        return Err(type_error("task factory must be a callable or None"));
    }
    this.task_factory.set(factory.own());
    Ok(())
}

pub(super) fn set_debug(this: &EventLoop, args: Args<'_>) -> Res<()> {
    static ENABLED: Signature<1> =
        Signature { method: "set_debug", names: [&names::ENABLED], positional: 1, required: 1 };
    let [enabled] = args.bind(&ENABLED)?;
    this.debug.set(enabled.map_or(Ok(false), value::is_true)?);
    Ok(())
}

pub(super) fn dispose(this: &EventLoop) {
    this.closed.set(true);
    this.ready.clear();
    this.outbox.clear();
    drop(this.starved.take());
    this.drop_timers();
    if let Some(io) = this.io.get() {
        io.close();
    }
}

pub(super) fn tasks(this: &EventLoop) -> Res {
    let list = value::list()?;
    for task in this.tasks.all() {
        if !task.as_future().is_done() {
            value::append(&list, task.as_any())?;
        }
    }
    Ok(list)
}

#[inline]
pub(super) fn future(this: &EventLoop) -> Res {
    if !this.is_running() {
        this.learn_classes()?;
    }
    if this.future_class.is_some()
        && let Some(class) = this.future_class.get()
    {
        let names = value::tuple(&[names::LOOP.get()])?;
        return class.call_with_names(&[this.as_any()], &names);
    }
    Ok(create_future(this)?.into_any())
}
