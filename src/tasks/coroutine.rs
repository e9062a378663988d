//! Coroutines written in Rust: what `Lock.acquire()`, `Queue.get()` or `wait_for()` return.
//!
//! One object is the coroutine, the place in a list of waiters and the thing that the Task waits
//! for; asyncio needs a coroutine with its frame and a Future for that. What the coroutine does is
//! a `Behaviour`: a function that is called with each resumption and keeps its place in a number.
//!
//! A coroutine that must wait yields itself. A Task of ours parks on it, and `wake` puts the Task
//! into the ready queue, at the place where a Future's callback would have stood. To anybody else
//! (a Task of the standard library, a coroutine driven by hand) it turns into a real Future at the
//! first question that only a Future can answer.

use std::cell::Cell;

use super::future::{as_native, raisable};
use super::future_iter::thrown;
use super::sleep::SleepState;
use super::task::Task;
use crate::engine::asyncio::asyncio;
use crate::py::{
    Any, Args, AsObject, Builder, Builtin, Class, Managed, Object, Own, Pool, Raised, Res, Sent,
    Slot, Stop, TypeCell, Visitor, create, error, names, raise, runtime_error, stop, track,
    type_error, value,
};

pub(crate) type Coroutine = Object<CoroutineState>;

/// What a coroutine does.
pub(crate) struct Behaviour {
    /// `Lock.acquire`.
    pub(crate) qualname: &'static str,
    /// Resumes the coroutine with None or with an exception, as `send` and `throw` do. It stands
    /// at `place`, which is 0 the first time, when there is no exception.
    pub(crate) resume: fn(&Coroutine, Option<Own<Any>>) -> Res<Sent>,
}

/// A coroutine's fields.
pub(crate) struct CoroutineState {
    behaviour: &'static Behaviour,
    life: Cell<Life>,
    wait: Cell<Wait>,
    shown: Cell<Shown>,
    tracked: Cell<bool>,
    finalized: Cell<bool>,
    /// Where the behaviour stands; its own to use.
    pub(crate) place: Cell<u8>,
    /// The object whose method this is, and what else the behaviour needs.
    pub(crate) owner: Slot,
    pub(crate) item: Slot,
    /// What is awaited inside: an iterator that gets what is sent and thrown.
    inner: Slot,
    pub(crate) links: Links,
    /// The Task to wake.
    task: Slot<Task>,
    /// What `cancel` was told, the exception that ended the wait, or the Future that it became.
    other: Slot,
    weakrefs: Managed,
}

/// A coroutine's place in a list of waiters (`sync::waiters`).
pub(crate) struct Links {
    pub(crate) list: Cell<*const ()>,
    pub(crate) previous: Cell<*const Coroutine>,
    pub(crate) next: Cell<*const Coroutine>,
}

/// Where a coroutine is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    Fresh,
    Running,
    Suspended,
    Over,
}

/// How the wait stands that the coroutine is in, or was in last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wait {
    /// None yet, or what is awaited is somebody else.
    None,
    /// Has yielded itself.
    Asked,
    /// A Task of ours waits.
    Parked,
    /// Over.
    Woken,
    /// Over, cancelled.
    Cancelled,
    /// Over, with an exception.
    Failed,
    /// Turned into a Future.
    Future,
}

/// What asyncio gives the Future that stands in a wait's place: only a repr can tell.
#[derive(Clone, Copy)]
pub(crate) enum Shown {
    None,
    True,
    False,
}

impl Shown {
    fn text(self) -> &'static str {
        match self {
            Shown::None => "None",
            Shown::True => "True",
            Shown::False => "False",
        }
    }
}

static TYPE: TypeCell = TypeCell::new();
static POOL: Pool = Pool::new(256);

impl Class for CoroutineState {
    const NAME: &'static std::ffi::CStr = c"aioxide.coroutine";
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
    fn traverse(object: &Coroutine, visitor: &Visitor) -> Result<(), Stop> {
        visitor.slot(&object.owner)?;
        visitor.slot(&object.item)?;
        visitor.slot(&object.inner)?;
        visitor.slot(&object.task)?;
        visitor.slot(&object.other)
    }
    fn clear(object: &Coroutine) {
        object.forget();
    }
    fn mark_finalized(&self) {
        self.finalized.set(true);
    }
    fn was_finalized(&self) -> bool {
        self.finalized.get()
    }
    fn wants_finalizer(object: &Coroutine) -> bool {
        matches!(object.life.get(), Life::Fresh | Life::Suspended)
    }
    fn finalize(object: &Coroutine) {
        let done = match object.life.get() {
            Life::Fresh => {
                object.life.set(Life::Over);
                let text = format!("coroutine '{}' was never awaited", object.behaviour.qualname);
                error::warn_never_awaited(&text)
            }
            _ => object.close(),
        };
        if let Err(raised) = done {
            error::unraisable(raised, object.as_any());
        }
    }
}

/// Makes a coroutine of `owner`, which is what its behaviour works on.
#[inline(always)]
pub(crate) fn coroutine(
    behaviour: &'static Behaviour,
    owner: Option<Own<Any>>,
    item: Option<Own<Any>>,
) -> Res<Own<Coroutine>> {
    create(|| CoroutineState {
        behaviour,
        life: Cell::new(Life::Fresh),
        wait: Cell::new(Wait::None),
        shown: Cell::new(Shown::None),
        tracked: Cell::new(false),
        finalized: Cell::new(false),
        place: Cell::new(0),
        owner: Slot::some(owner),
        item: Slot::some(item),
        inner: Slot::empty(),
        links: Links {
            list: Cell::new(std::ptr::null()),
            previous: Cell::new(std::ptr::null()),
            next: Cell::new(std::ptr::null()),
        },
        task: Slot::empty(),
        other: Slot::empty(),
        weakrefs: Managed::new(),
    })
}

/// The exception in the arguments of `__aexit__(exc_type, exc, traceback)`; its class where only
/// that was given.
#[inline]
pub(crate) fn exit_exception(args: &Args<'_>, method: &str) -> Res<Option<Own<Any>>> {
    match args.positional {
        [class, exception, _] if args.has_no_keywords() => {
            Ok([exception, class].into_iter().find(|given| !given.is_none()).map(|e| e.own()))
        }
        given => Err(type_error(&format!(
            "{method}() takes 4 positional arguments but {} were given",
            given.len() + 1
        ))),
    }
}

/// The way of a behaviour to say that it returned nothing.
#[inline(always)]
pub(crate) fn returned_none() -> Res<Sent> {
    Ok(Sent::Returned(value::none()))
}

impl Coroutine {
    /// The owner, known to be an `S`.
    #[inline(always)]
    pub(crate) fn owner_as<S: Class>(&self) -> Res<Own<Object<S>>> {
        match self.owner.get() {
            // SAFETY: behaviours are made together with an owner of their type.
            Some(owner) => Ok(unsafe { owner.assume_own::<S>() }),
            None => Err(used_up()),
        }
    }

    /// Begins a wait, which `wake` or the Task's cancellation will end.
    #[inline(always)]
    pub(crate) fn wait(&self) -> Res<Sent> {
        self.wait_for(Shown::None)
    }

    /// As `wait`, when asyncio's Future would get this result.
    #[inline(always)]
    pub(crate) fn wait_for(&self, shown: Shown) -> Res<Sent> {
        self.shown.set(shown);
        self.wait.set(Wait::Asked);
        self.other.clear();
        Ok(Sent::Yielded(self.own().into_any()))
    }

    /// Whether a Task may park here.
    #[inline(always)]
    pub(super) fn is_asked(&self) -> bool {
        self.wait.get() == Wait::Asked
    }

    /// Whether a Task of ours is parked here, so that waking it runs no Python code.
    #[inline(always)]
    pub(crate) fn is_parked(&self) -> bool {
        self.wait.get() == Wait::Parked
    }

    /// Whether the Task that waits may be parked elsewhere because this is not a wait of ours.
    #[inline(always)]
    pub(super) fn park(&self, task: Own<Task>) {
        track(self);
        self.task.set(task);
        self.wait.set(Wait::Parked);
    }

    /// Ends the wait, if it is not over: what `future.set_result()` does for asyncio.
    #[inline]
    pub(crate) fn wake(&self) -> Res<()> {
        match self.wait.get() {
            Wait::Asked => self.wait.set(Wait::Woken),
            Wait::Parked => {
                self.wait.set(Wait::Woken);
                return self.push_task();
            }
            Wait::Future => {
                if !self.is_done()?
                    && let Some(future) = self.other.get()
                {
                    let result = match self.shown.get() {
                        Shown::None => value::none(),
                        Shown::True => value::boolean(true),
                        Shown::False => value::boolean(false),
                    };
                    future.call_method(&names::SET_RESULT, &[&result])?;
                }
            }
            Wait::None | Wait::Woken | Wait::Cancelled | Wait::Failed => {}
        }
        Ok(())
    }

    /// Ends the wait with an exception, if it is not over: `future.set_exception(exception)`.
    #[cold]
    pub(crate) fn fail(&self, exception: &Any) -> Res<()> {
        let parked = match self.wait.get() {
            Wait::Asked => false,
            Wait::Parked => true,
            Wait::Future => {
                if !self.is_done()?
                    && let Some(future) = self.other.get()
                {
                    future.call_method(&names::SET_EXCEPTION, &[exception])?;
                }
                return Ok(());
            }
            Wait::None | Wait::Woken | Wait::Cancelled | Wait::Failed => return Ok(()),
        };
        self.other.set(raisable(exception)?);
        self.wait.set(Wait::Failed);
        if parked { self.push_task() } else { Ok(()) }
    }

    #[inline(always)]
    fn push_task(&self) -> Res<()> {
        let Some(task) = self.task.take() else { return Ok(()) };
        let Some(event_loop) = task.as_future().native_loop() else { return Ok(()) };
        event_loop.check_can_schedule()?;
        event_loop.ready().push_task(task.clone());
        Ok(())
    }

    /// Whether the wait is over: woken or cancelled.
    #[inline]
    pub(crate) fn is_done(&self) -> Res<bool> {
        match self.wait.get() {
            Wait::Woken | Wait::Cancelled | Wait::Failed => Ok(true),
            Wait::Future => self.ask_future(&names::DONE),
            Wait::None | Wait::Asked | Wait::Parked => Ok(false),
        }
    }

    /// Whether the wait was cancelled.
    #[inline]
    pub(crate) fn is_cancelled(&self) -> Res<bool> {
        match self.wait.get() {
            Wait::Cancelled => Ok(true),
            Wait::Future => self.ask_future(&names::CANCELLED),
            _ => Ok(false),
        }
    }

    #[cold]
    fn ask_future(&self, question: &'static names::Name) -> Res<bool> {
        match self.other.get() {
            Some(future) => value::is_true(&*future.call_method(question, &[])?),
            None => Ok(true),
        }
    }

    /// Cancels the wait, if it is not over: what `future.cancel()` does for asyncio.
    pub(crate) fn abandon(&self) -> Res<()> {
        if self.wait.get() == Wait::Asked {
            self.wait.set(Wait::Cancelled);
            return Ok(());
        }
        self.cancel(None).map(drop)
    }

    /// `cancel(msg)` of the Task that waits.
    pub(crate) fn cancel(&self, message: Option<&Any>) -> Res<bool> {
        match self.wait.get() {
            Wait::Parked => {
                self.wait.set(Wait::Cancelled);
                self.other.put(message.filter(|given| !given.is_none()).map(AsObject::own));
                self.push_task()?;
                Ok(true)
            }
            Wait::Future => match self.other.get() {
                Some(future) => super::task::cancel_any(&future, message),
                None => Ok(false),
            },
            _ => Ok(false),
        }
    }

    /// What the Task that waited is to be resumed with.
    #[inline(always)]
    pub(super) fn wake_reason(&self) -> Res<Option<Own<Any>>> {
        match self.wait.get() {
            Wait::Cancelled => self.cancelled_error().map(Some),
            Wait::Failed => Ok(self.other.take()),
            _ => Ok(None),
        }
    }

    #[cold]
    fn cancelled_error(&self) -> Res {
        match self.other.take() {
            Some(message) => asyncio().cancelled_error.call(&[&message]),
            None => asyncio().cancelled_error.call(&[]),
        }
    }

    /// Awaits somebody else from now on; the caller drives it with `drive`.
    pub(crate) fn await_inner(&self, awaitable: &Any) -> Res<()> {
        self.wait.set(Wait::None);
        let iterator = value::await_iterator(awaitable)?;
        track(self);
        self.inner.set(iterator);
        Ok(())
    }

    /// Resumes what is awaited inside. Its return and its exception end the awaiting.
    #[inline]
    pub(crate) fn drive(&self, exception: Option<Own<Any>>) -> Res<Sent> {
        let Some(inner) = self.inner.get() else { return Err(used_up()) };
        let sent = match exception {
            None => inner.send_none(),
            Some(exception) => inner.throw_if_able(&exception),
        };
        if !matches!(sent, Ok(Sent::Yielded(_))) {
            self.inner.clear();
        }
        sent
    }

    /// Lets go of everything, for the collector.
    fn forget(&self) {
        self.retire();
        self.task.clear();
        self.other.clear();
    }

    /// Lets go of what a coroutine that is over does not need. A Task that is parked on it stays
    /// so: it was closed behind the Task's back, which can still be cancelled.
    #[inline(always)]
    fn retire(&self) {
        self.owner.clear();
        self.item.clear();
        self.inner.clear();
        if self.wait.get() != Wait::Parked && self.wait.get() != Wait::Future {
            self.task.clear();
            self.other.clear();
        }
    }

    /// One resumption.
    #[inline]
    fn step(&self, exception: Option<Own<Any>>) -> Res<Sent> {
        let exception = match self.life.get() {
            Life::Suspended => self.at_wait(exception),
            Life::Fresh => match exception {
                None => None,
                Some(exception) => {
                    self.life.set(Life::Over);
                    self.forget();
                    return Err(error::restore(exception));
                }
            },
            Life::Running => {
                return Err(raise(Builtin::ValueError.get(), "coroutine already executing"));
            }
            Life::Over => return Err(used_up()),
        };
        self.life.set(Life::Running);
        let sent = (self.behaviour.resume)(self, exception);
        if let Ok(Sent::Yielded(_)) = sent {
            self.life.set(Life::Suspended);
            return sent;
        }
        self.life.set(Life::Over);
        if sent.is_err() {
            // What dies with the coroutine must not meet the exception.
            error::preserving(|| self.retire());
        } else {
            self.retire();
        }
        sent
    }

    /// What the wait gives to a coroutine that is resumed: as `await future` would.
    #[inline(always)]
    fn at_wait(&self, exception: Option<Own<Any>>) -> Option<Own<Any>> {
        if exception.is_some() || matches!(self.wait.get(), Wait::None | Wait::Woken) {
            return exception;
        }
        self.unusual_wait().err().map(error::fetch)
    }

    #[cold]
    fn unusual_wait(&self) -> Res<()> {
        if !self.is_done()? {
            return Err(runtime_error("await wasn't used with future"));
        }
        if self.wait.get() == Wait::Cancelled {
            return Err(error::restore(self.cancelled_error()?));
        }
        if self.wait.get() == Wait::Failed {
            return self.other.take().map_or(Ok(()), |exception| Err(error::restore(exception)));
        }
        match self.other.get() {
            Some(future) => future.call_method(&names::RESULT, &[]).map(|_| ()),
            None => Ok(()),
        }
    }

    fn close(&self) -> Res<()> {
        match self.life.get() {
            Life::Fresh => {
                self.life.set(Life::Over);
                self.forget();
                return Ok(());
            }
            Life::Over => return Ok(()),
            Life::Running | Life::Suspended => {}
        }
        let exit = Builtin::GeneratorExit.get().call(&[])?;
        match self.step(Some(exit)) {
            Ok(Sent::Yielded(_)) => Err(runtime_error("coroutine ignored GeneratorExit")),
            Ok(Sent::Returned(_)) => Ok(()),
            Err(raised) => {
                let closing = [Builtin::GeneratorExit, Builtin::StopIteration];
                if error::pending_is_any(&closing) {
                    error::discard(raised);
                    return Ok(());
                }
                Err(raised)
            }
        }
    }

    /// Turns the wait into a Future, for a driver that is not a Task of ours.
    fn as_future(&self) -> Res {
        if self.wait.get() == Wait::Future
            && let Some(future) = self.other.get()
        {
            return Ok(future);
        }
        let event_loop = asyncio().get_running_loop.call(&[])?;
        let future = event_loop.call_method(&names::CREATE_FUTURE, &[])?;
        future.set_attr(&names::BLOCKING, &value::boolean(true))?;
        track(self);
        self.other.set(future.clone());
        self.wait.set(Wait::Future);
        Ok(future)
    }

    /// The Future that stands in for a wait, if the wait became one.
    fn is_future_like(&self) -> bool {
        matches!(self.wait.get(), Wait::Asked | Wait::Future) && self.life.get() == Life::Suspended
    }
}

/// `await coroutine`: by one at a time.
fn awaited(this: &Coroutine) -> Res<Own<Coroutine>> {
    match this.life.get() {
        Life::Suspended | Life::Running => Err(awaited_already()),
        Life::Fresh | Life::Over => Ok(this.own()),
    }
}

#[cold]
pub(super) fn awaited_already() -> Raised {
    runtime_error("coroutine is being awaited already")
}

pub(super) fn used_up() -> Raised {
    runtime_error("cannot reuse already awaited coroutine")
}

fn next(this: &Coroutine) -> Res<Option<Own<Any>>> {
    match this.step(None)? {
        Sent::Yielded(yielded) => Ok(Some(yielded)),
        Sent::Returned(result) => stop::finish(result),
    }
}

fn send(this: &Coroutine, given: &Any) -> Res {
    if this.life.get() == Life::Fresh && !given.is_none() {
        return Err(raise(
            Builtin::TypeError.get(),
            "can't send non-None value to a just-started coroutine",
        ));
    }
    match this.step(None)? {
        Sent::Yielded(yielded) => Ok(yielded),
        Sent::Returned(result) => Err(stop::finish_plain(result)),
    }
}

fn throw(this: &Coroutine, args: Args<'_>) -> Res {
    let exception = thrown(&args)?;
    match this.step(Some(exception))? {
        Sent::Yielded(yielded) => Ok(yielded),
        Sent::Returned(result) => Err(stop::finish_plain(result)),
    }
}

/// What a Future has and a coroutine has not is asked of the Future that a wait can be.
fn missing_attribute(this: &Coroutine, name: &Any) -> Res<Option<Own<Any>>> {
    if !this.is_future_like() {
        return Ok(None);
    }
    this.as_future()?.attr_named(name).map(Some)
}

fn set_attribute(this: &Coroutine, name: &Any, value: &Any) -> Res<bool> {
    if !this.is_future_like() {
        return Ok(false);
    }
    this.as_future()?.set_attr_named(name, value).map(|()| true)
}

/// What stands in its place in asyncio: the Future that a waiting Task waits for, a coroutine
/// otherwise.
fn repr(this: &Coroutine) -> String {
    match this.wait.get() {
        Wait::Parked => "<Future pending cb=[Task.task_wakeup()]>".to_owned(),
        Wait::Cancelled if this.life.get() == Life::Suspended => "<Future cancelled>".to_owned(),
        Wait::Woken if this.life.get() == Life::Suspended => {
            format!("<Future finished result={}>", this.shown.get().text())
        }
        Wait::Future => match this.other.get() {
            Some(future) => value::repr_text(&future),
            None => "<Future>".to_owned(),
        },
        _ => format!("<coroutine object {} at {:p}>", this.behaviour.qualname, this.as_ptr()),
    }
}

/// Makes the type.
pub(super) fn build() -> Res<&'static Any> {
    Builder::<CoroutineState>::new(c"A native coroutine.")
        .not_constructible()
        .weakrefs(std::mem::offset_of!(CoroutineState, weakrefs))
        .repr(repr)
        .awaits(awaited)
        .next(next)
        .sends(|this: &Coroutine| this.step(None))
        .hide(c"__next__")
        .noargs_over_slot(
            c"__await__",
            c"__await__($self, /)\n--\n\nReturn an iterator to be used in await expression.",
            super::await_iter::make,
        )
        .forwarding(missing_attribute, set_attribute)
        .one(c"send", c"send($self, value, /)\n--\n\nResume the coroutine.", send)
        .args(c"throw", c"Raise an exception in the coroutine.", throw)
        .noargs(c"close", c"close($self, /)\n--\n\nEnd the coroutine.", |this: &Coroutine| {
            this.close()
        })
        .getter(c"__class__", |_: &Coroutine| asyncio().coroutine_class.clone())
        .getter(c"__name__", |this: &Coroutine| {
            let name = this.behaviour.qualname;
            name.rsplit('.').next().unwrap_or(name).to_owned()
        })
        .getter(c"__qualname__", |this: &Coroutine| this.behaviour.qualname.to_owned())
        .getter(c"cr_await", |this: &Coroutine| this.inner.get())
        .getter(c"cr_frame", |_: &Coroutine| value::none())
        .getter(c"cr_code", |_: &Coroutine| value::none())
        .getter(c"cr_origin", |_: &Coroutine| value::none())
        .getter(c"cr_running", |this: &Coroutine| this.life.get() == Life::Running)
        .getter(c"cr_suspended", |this: &Coroutine| this.life.get() == Life::Suspended)
        .build()
}

/// Whether this is a coroutine whose type says so at a glance: the interpreter's, or one of ours.
#[inline(always)]
pub(super) fn is_known_coroutine(object: &Any) -> bool {
    value::is_coroutine(object)
        || object.cast_exact::<SleepState>().is_some()
        || object.cast_exact::<CoroutineState>().is_some()
}

/// Whether this is a wait of a native coroutine, seen from a Task.
#[inline(always)]
pub(super) fn as_wait(object: &Any) -> Option<&Coroutine> {
    debug_assert!(as_native(object).is_none() || object.cast_exact::<CoroutineState>().is_none());
    object.cast_exact::<CoroutineState>()
}
