//! Handle and TimerHandle: a callback that waits for its turn.
//!
//! They are not tracked by the collector: a burst of `call_soon` would otherwise count towards
//! collections, and that alone halves its speed. What keeps this sound for cycles is that a Handle
//! lets go of everything when it has run or is cancelled, that the loop visits the content of
//! Handles that only it holds, and that closing or dropping the loop clears them. Up to three
//! arguments lie in the Handle itself, more in a tuple.

use std::cell::{Cell, OnceCell};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use super::asyncio::asyncio;
use super::event_loop::EventLoop;
use crate::py::class::adopt_methods;
use crate::py::{
    Any, AsObject, Builder, Class, Managed, Object, Own, Pool, Ptr, Raised, Res, Slot, Stop,
    TypeCell, Visitor, context, create, names, thread_ident, value, without_gil,
};

pub(crate) type Handle = Object<HandleState>;
pub(crate) type TimerHandle = Object<TimerState>;

/// Arguments that fit into the Handle.
const INLINE: usize = 3;

/// A Handle's fields.
#[repr(C)]
pub(crate) struct HandleState {
    callback: Slot,
    context: Slot,
    args: [Slot; INLINE],
    /// How many of `args` are used, or `PACKED`: the first is a tuple of all.
    count: Cell<u8>,
    cancelled: Cell<bool>,
    /// A reader's or writer's Handle runs again and again, so running does not clear it.
    keep: Cell<bool>,
    kind: Cell<Kind>,
    /// For a thread-safe Handle: the thread that runs it now, 0 when none does.
    runner: Cell<u64>,
    /// For `_loop`: compared with the living loops before it is followed.
    event_loop: *const EventLoop,
    debug: OnceCell<Box<DebugInfo>>,
    weakrefs: Managed,
}

/// What debug mode adds.
struct DebugInfo {
    source_traceback: Slot,
    /// The repr it had before it was cancelled.
    repr: Slot,
}

/// Which of asyncio's classes it answers as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Timer,
    /// From `call_soon_threadsafe` of 3.14: while it runs, other threads' `cancel` waits.
    ThreadSafe,
}

/// A TimerHandle's fields, a Handle's first.
#[repr(C)]
pub(crate) struct TimerState {
    handle: HandleState,
    when: f64,
    position: Cell<u32>,
}

const PACKED: u8 = u8::MAX;

/// Lives while a thread-safe Handle's callback runs.
pub(crate) struct Running<'a>(&'a Handle);

impl<'a> Running<'a> {
    fn enter(handle: &'a Handle) -> Running<'a> {
        handle.runner.set(thread_ident());
        Running(handle)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.runner.set(0);
        FINISHED.announce();
    }
}

/// Where threads wait for the end of a callback that they want to cancel.
struct Finished {
    count: Mutex<u64>,
    changed: Condvar,
    /// Announcing costs nothing while nobody waits.
    waiting: AtomicUsize,
}

static FINISHED: Finished =
    Finished { count: Mutex::new(0), changed: Condvar::new(), waiting: AtomicUsize::new(0) };

impl Finished {
    /// Waits, without the GIL, for the next announcement. The count is read while the GIL is still
    /// held, so an announcement (which needs the GIL) cannot fall in between.
    fn wait(&self) {
        let lock = || self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = *lock();
        self.waiting.fetch_add(1, Ordering::Relaxed);
        without_gil(|| {
            let count = self.changed.wait_while(lock(), |count| *count == seen);
            drop(count);
        });
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    fn announce(&self) {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            *self.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            self.changed.notify_all();
        }
    }
}

static HANDLE: TypeCell = TypeCell::new();
static TIMER_HANDLE: TypeCell = TypeCell::new();
static HANDLES: Pool = Pool::new(1024);
static TIMER_HANDLES: Pool = Pool::new(1024);

impl Class for HandleState {
    const NAME: &'static std::ffi::CStr = c"aioxide.Handle";
    const GC: bool = false;

    fn cell() -> &'static TypeCell {
        &HANDLE
    }
    fn pool() -> Option<&'static Pool> {
        Some(&HANDLES)
    }
    fn weakrefs(&self) -> Option<&Managed> {
        Some(&self.weakrefs)
    }
}

impl Class for TimerState {
    const NAME: &'static std::ffi::CStr = c"aioxide.TimerHandle";
    const GC: bool = false;

    fn cell() -> &'static TypeCell {
        &TIMER_HANDLE
    }
    fn pool() -> Option<&'static Pool> {
        Some(&TIMER_HANDLES)
    }
    fn weakrefs(&self) -> Option<&Managed> {
        Some(&self.handle.weakrefs)
    }
}

/// What a Handle calls, taken out of it or copied: safe from whatever the call does to the Handle.
pub(crate) struct Call {
    callback: Own<Any>,
    context: Own<Any>,
    args: [Option<Own<Any>>; INLINE],
    count: u8,
}

impl Call {
    /// Enters the context and calls.
    #[inline(always)]
    pub(crate) fn run(&self) -> Res<()> {
        context::enter(&self.context)?;
        let called = if self.count == PACKED {
            match &self.args[0] {
                Some(packed) => self.callback.call(value::tuple_items(packed)),
                None => self.callback.call(&[]),
            }
        } else {
            let mut frame: [Ptr; INLINE + 1] = [std::ptr::null_mut(); INLINE + 1];
            for (place, arg) in frame[1..].iter_mut().zip(&self.args) {
                *place = arg.as_ref().map_or(std::ptr::null_mut(), |arg| arg.as_ptr());
            }
            // SAFETY: the first `count` arguments are present, and `self` holds them.
            unsafe { self.callback.call_frame(&mut frame, self.count as usize) }
        };
        context::exit(&self.context);
        called.map(|_| ())
    }
}

/// Arguments on their way into a Handle.
enum Packed<'a> {
    Inline(&'a [&'a Any]),
    Tuple(Own<Any>),
}

impl<'a> Packed<'a> {
    #[inline(always)]
    fn new(args: &'a [&'a Any]) -> Res<Packed<'a>> {
        if args.len() <= INLINE {
            Ok(Packed::Inline(args))
        } else {
            value::tuple(args).map(Packed::Tuple)
        }
    }
}

impl HandleState {
    #[inline(always)]
    fn new(
        event_loop: &EventLoop,
        callback: Own<Any>,
        args: Packed<'_>,
        context: Own<Any>,
        kind: Kind,
    ) -> HandleState {
        let (args, count) = match args {
            Packed::Inline(args) => {
                let place = |index: usize| Slot::some(args.get(index).map(|arg| arg.own()));
                ([place(0), place(1), place(2)], args.len() as u8)
            }
            Packed::Tuple(tuple) => ([Slot::new(tuple), Slot::empty(), Slot::empty()], PACKED),
        };
        HandleState {
            callback: Slot::new(callback),
            context: Slot::new(context),
            args,
            count: Cell::new(count),
            cancelled: Cell::new(false),
            keep: Cell::new(false),
            kind: Cell::new(kind),
            runner: Cell::new(0),
            event_loop,
            debug: OnceCell::new(),
            weakrefs: Managed::new(),
        }
    }

    fn clear_call(&self) {
        self.callback.clear();
        for arg in &self.args {
            arg.clear();
        }
        self.count.set(0);
    }

    /// Drops callback, arguments and context. The Handle is spent.
    #[inline(always)]
    fn clear_all(&self) {
        self.clear_call();
        self.context.clear();
    }

    fn debug_info(&self) -> &DebugInfo {
        self.debug.get_or_init(|| {
            Box::new(DebugInfo { source_traceback: Slot::empty(), repr: Slot::empty() })
        })
    }
}

impl Handle {
    /// A Handle for `callback(*args)` in this context.
    #[inline(always)]
    pub(crate) fn make(
        event_loop: &EventLoop,
        callback: &Any,
        args: &[&Any],
        given: Option<&Any>,
    ) -> Res<Own<Handle>> {
        let context = match given {
            Some(given) => given.own(),
            None => context::copy_current()?,
        };
        let args = Packed::new(args)?;
        let handle =
            create(|| HandleState::new(event_loop, callback.own(), args, context, Kind::Plain))?;
        if event_loop.debug() {
            handle.remember_source()?;
        }
        Ok(handle)
    }

    /// A Handle for a Future's done-callback.
    #[inline(always)]
    pub(crate) fn for_callback(
        event_loop: &EventLoop,
        callback: Own<Any>,
        future: &impl AsObject,
        context: Own<Any>,
    ) -> Res<Own<Handle>> {
        let args = [future.as_any()];
        let args = Packed::Inline(&args);
        let handle = create(|| HandleState::new(event_loop, callback, args, context, Kind::Plain))?;
        if event_loop.debug() {
            handle.remember_source()?;
        }
        Ok(handle)
    }

    #[cold]
    fn remember_source(&self) -> Res<()> {
        let stack = asyncio().extract_call_stack.call(&[])?;
        self.debug_info().source_traceback.set(stack);
        Ok(())
    }

    /// Keeps the callback when run.
    pub(crate) fn keep(&self) {
        self.keep.set(true);
    }

    /// What to call now; `None` when cancelled or spent.
    #[inline(always)]
    pub(crate) fn open(&self) -> Option<Call> {
        if self.cancelled.get() {
            return None;
        }
        let count = self.count.get();
        if self.keep.get() {
            return Some(Call {
                callback: self.callback.get()?,
                context: self.context.get()?,
                args: [self.args[0].get(), self.args[1].get(), self.args[2].get()],
                count,
            });
        }
        Some(Call {
            callback: self.callback.take()?,
            context: self.context.take()?,
            args: [self.args[0].take(), self.args[1].take(), self.args[2].take()],
            count,
        })
    }

    /// Puts a call back that `open` took, so that a report can show it.
    pub(crate) fn restore(&self, call: Call) {
        if self.keep.get() {
            return;
        }
        if self.cancelled.get() {
            // What the callback cancelled itself is gone, but its report still runs in its context.
            self.context.set(call.context);
            return;
        }
        let [first, second, third] = call.args;
        self.args[0].put(first);
        self.args[1].put(second);
        self.args[2].put(third);
        self.callback.set(call.callback);
        self.context.set(call.context);
    }

    /// Callback and arguments, for a report.
    pub(crate) fn shown(&self) -> Res<[Own<Any>; 2]> {
        let none = value::none;
        Ok([self.callback.get().unwrap_or_else(none), self.args_tuple()?.unwrap_or_else(none)])
    }

    /// Drops what the Handle holds after it was reported.
    pub(crate) fn spend(&self) {
        if !self.keep.get() {
            self.clear_all();
        }
    }

    /// From now on, other threads' `cancel` and `cancelled` wait while the callback runs.
    pub(crate) fn guard_threads(&self) {
        if asyncio().thread_safe_handle_class.is_some() {
            self.kind.set(Kind::ThreadSafe);
        }
    }

    /// Marks the Handle as running in this thread while the result lives.
    #[inline(always)]
    pub(crate) fn running(&self) -> Option<Running<'_>> {
        (self.kind.get() == Kind::ThreadSafe).then(|| Running::enter(self))
    }

    #[inline(always)]
    fn wait_for_other_thread(&self) {
        if self.runner.get() != 0 {
            self.wait_for_runner();
        }
    }

    #[cold]
    fn wait_for_runner(&self) {
        while self.runner.get() != 0 && self.runner.get() != thread_ident() {
            FINISHED.wait();
        }
    }

    fn cancelled(&self) -> bool {
        self.wait_for_other_thread();
        self.cancelled.get()
    }

    /// `cancel()`.
    pub(crate) fn cancel(&self) -> Res<()> {
        self.wait_for_other_thread();
        if self.cancelled.get() {
            return Ok(());
        }
        self.cancelled.set(true);
        let Some(event_loop) = self.living_loop() else {
            self.clear_call();
            return Ok(());
        };
        if event_loop.debug() {
            let text = repr(self)?;
            self.debug_info().repr.set(text);
        }
        if let Some(timer) = self.as_timer() {
            drop(event_loop.remove_timer(timer.position()));
        }
        self.clear_call();
        Ok(())
    }

    /// As a TimerHandle, if it is one.
    #[inline(always)]
    fn as_timer(&self) -> Option<&TimerHandle> {
        if self.kind.get() != Kind::Timer {
            return None;
        }
        // SAFETY: this kind is set exactly for the state inside a TimerHandle, whose layout begins
        // with a Handle's.
        Some(unsafe { &*(self as *const Handle).cast::<TimerHandle>() })
    }

    /// The loop, if it still lives. A timer in the heap needs no look: its loop owns the heap.
    fn living_loop(&self) -> Option<Own<EventLoop>> {
        super::registry::find(self.event_loop)
    }

    fn args_tuple(&self) -> Res<Option<Own<Any>>> {
        if !self.callback.is_some() {
            return Ok(None);
        }
        if self.count.get() == PACKED {
            return Ok(self.args[0].get());
        }
        let held: Vec<Own<Any>> = self.args.iter().filter_map(Slot::get).collect();
        let items: Vec<&Any> = held.iter().map(|arg| &**arg).collect();
        value::tuple(&items).map(Some)
    }

    /// Visits what the Handle holds, on behalf of a loop that alone holds the Handle.
    pub(crate) fn visit(&self, visitor: &Visitor) -> Result<(), Stop> {
        if self.refcount() != 1 {
            return Ok(());
        }
        visitor.slot(&self.callback)?;
        visitor.slot(&self.context)?;
        self.args.iter().try_for_each(|arg| visitor.slot(arg))
    }

    /// Lets go of everything, whoever still holds the Handle: its loop is closed or gone.
    pub(crate) fn abandon(&self) {
        self.cancelled.set(true);
        self.clear_all();
    }
}

impl TimerHandle {
    /// A TimerHandle for `callback(*args)` at `when`; not in the heap yet.
    #[inline(always)]
    pub(crate) fn make(
        event_loop: &EventLoop,
        when: f64,
        callback: &Any,
        args: &[&Any],
        given: Option<&Any>,
    ) -> Res<Own<TimerHandle>> {
        let context = match given {
            Some(given) => given.own(),
            None => context::copy_current()?,
        };
        let args = Packed::new(args)?;
        let timer = create(|| TimerState {
            handle: HandleState::new(event_loop, callback.own(), args, context, Kind::Timer),
            when,
            position: Cell::new(reactor::NOWHERE),
        })?;
        if event_loop.debug() {
            timer.as_handle().remember_source()?;
        }
        Ok(timer)
    }

    /// The TimerHandle as the Handle that it begins with.
    #[inline(always)]
    pub(crate) fn as_handle(&self) -> &Handle {
        // SAFETY: `TimerState` is `repr(C)` with a `HandleState` first, and the type inherits.
        unsafe { &*(self as *const TimerHandle).cast::<Handle>() }
    }

    pub(crate) fn when(&self) -> f64 {
        self.when
    }

    #[inline(always)]
    pub(crate) fn position(&self) -> u32 {
        self.position.get()
    }

    #[inline(always)]
    pub(crate) fn set_position(&self, position: u32) {
        self.position.set(position);
    }
}

/// asyncio's own text for it, from `_callback`, `_args` and the rest.
fn repr(this: &Handle) -> Res {
    if let Some(text) = this.debug.get().and_then(|debug| debug.repr.get()) {
        return Ok(text);
    }
    stock_class(this).attr(&names::REPR)?.call(&[this.as_any()])
}

/// `_repr_info()`, which asyncio's `__repr__` builds on.
fn repr_info(this: &Handle) -> Res {
    stock_class(this).attr(&names::REPR_INFO)?.call(&[this.as_any()])
}

fn class(this: &Handle) -> Own<Any> {
    stock_class(this).own()
}

fn stock_class(this: &Handle) -> &'static Any {
    match (this.kind.get(), &asyncio().thread_safe_handle_class) {
        (Kind::Timer, _) => &asyncio().timer_handle_class,
        (Kind::ThreadSafe, Some(class)) => class,
        _ => &asyncio().handle_class,
    }
}

/// Order and equality as asyncio's TimerHandle: by deadline; equal are equal in all they do.
fn compare(this: &TimerHandle, other: &Any, operation: std::ffi::c_int) -> Res<Option<bool>> {
    let Some(other) = other.cast_exact::<TimerState>() else {
        return Ok(None);
    };
    let (ours, theirs) = (this.when, other.when);
    let equal = || -> Res<bool> {
        let (left, right) = (this.as_handle(), other.as_handle());
        if ours != theirs || left.cancelled.get() != right.cancelled.get() {
            return Ok(false);
        }
        let none = || value::none();
        let callbacks =
            (left.callback.get().unwrap_or_else(none), right.callback.get().unwrap_or_else(none));
        let args =
            (left.args_tuple()?.unwrap_or_else(none), right.args_tuple()?.unwrap_or_else(none));
        Ok(callbacks.0.equals(&callbacks.1)? && args.0.equals(&args.1)?)
    };
    Ok(Some(match operation {
        pyo3_ffi::Py_LT => ours < theirs,
        pyo3_ffi::Py_LE => ours < theirs || equal()?,
        pyo3_ffi::Py_GT => ours > theirs,
        pyo3_ffi::Py_GE => ours > theirs || equal()?,
        pyo3_ffi::Py_EQ => equal()?,
        pyo3_ffi::Py_NE => !equal()?,
        _ => return Ok(None),
    }))
}

fn hash(this: &TimerHandle) -> isize {
    value::float(this.when).map_or(0, |when| value::hash(&when))
}

/// Makes the types.
pub(super) fn build() -> Res<[&'static Any; 2]> {
    const WEAKREFS: usize = std::mem::offset_of!(HandleState, weakrefs);
    let handle = Builder::<HandleState>::new(c"What call_soon returns; answers as asyncio.Handle.")
        .not_constructible()
        .subclassable()
        .weakrefs(WEAKREFS)
        .repr(repr)
        .noargs(c"cancel", c"cancel($self, /)\n--\n\nDo not run the callback.", |this: &Handle| {
            this.cancel()
        })
        .noargs(
            c"cancelled",
            c"cancelled($self, /)\n--\n\nWhether cancel() was called.",
            |this: &Handle| this.cancelled(),
        )
        .noargs(
            c"get_context",
            c"get_context($self, /)\n--\n\nThe context in which the callback runs.",
            |this: &Handle| this.context.get(),
        )
        .noargs(c"_run", c"_run($self, /)\n--\n\nRun the callback now.", |this: &Handle| match this
            .living_loop()
        {
            Some(event_loop) => super::turn::run_handle(&event_loop, this),
            None => Ok::<(), Raised>(()),
        })
        .noargs(c"_repr_info", c"_repr_info($self, /)\n--\n\n", repr_info)
        .getter(c"__class__", class)
        .getter(c"_callback", |this: &Handle| this.callback.get())
        .getter(c"_args", |this: &Handle| this.args_tuple())
        .getter(c"_context", |this: &Handle| this.context.get())
        .getter(c"_cancelled", |this: &Handle| this.cancelled.get())
        .getter(c"_loop", |this: &Handle| this.living_loop())
        .getter(c"_repr", |this: &Handle| this.debug.get().and_then(|debug| debug.repr.get()))
        .property(
            c"_source_traceback",
            |this: &Handle| this.debug.get().and_then(|debug| debug.source_traceback.get()),
            |this: &Handle, stack: &Any| {
                this.debug_info().source_traceback.put((!stack.is_none()).then(|| stack.own()));
                Ok(())
            },
        )
        .build()?;
    let timer = Builder::<TimerState>::new(
        c"What call_later and call_at return; answers as asyncio.TimerHandle.",
    )
    .not_constructible()
    .base(handle)
    .compare(compare)
    .hash(hash)
    .noargs(
        c"when",
        c"when($self, /)\n--\n\nThe scheduled time, in seconds of loop.time().",
        |this: &TimerHandle| this.when(),
    )
    .getter(c"_when", |this: &TimerHandle| this.when())
    .getter(c"_scheduled", |this: &TimerHandle| this.position() != reactor::NOWHERE)
    .build()?;
    adopt_methods(timer, handle)?;
    Ok([handle, timer])
}
