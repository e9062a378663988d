//! Condition: wait, with a lock given back meanwhile, until another Task notifies.
//!
//! Over a native Lock everything happens in one coroutine object: it stands in the Condition's list
//! until it is notified, then in the Lock's. Any other lock is used as asyncio uses it, by the
//! three methods that the Condition took over from it when it was made; those are then attributes
//! of the instance, as in asyncio, and an instance that has attributes takes no short cuts.

use super::bound::LoopBound;
use super::lock::{self, Lock, LockState};
use super::methods::{add_async_methods, add_context_manager, follow, follow_result};
use super::waiters::{Waiters, repr_with_state, waiters_text};
use crate::engine::asyncio::{asyncio, is_cancelled_error};
use crate::py::error::{fetch, restore};
use crate::py::function::{add_to_class, method, model_of};
use crate::py::{
    Any, Args, AsObject, Builder, Builtin, Class, Managed, Object, Own, Raised, Res, Sent,
    Signature, Slot, Stop, TypeCell, Visitor, import, names, raise, runtime_error, value,
};
use crate::tasks::coroutine::{Behaviour, Coroutine, Shown, coroutine, returned_none};

pub(crate) type Condition = Object<ConditionState>;

/// A Condition's fields.
pub(crate) struct ConditionState {
    lock: Slot,
    /// The lock again, if it was a plain native one when the Condition was made.
    native: Slot<Lock>,
    waiters: Waiters,
    bound: LoopBound,
    dict: Slot,
    weakrefs: Managed,
}

static TYPE: TypeCell = TypeCell::new();

impl Class for ConditionState {
    const NAME: &'static std::ffi::CStr = c"aioxide.Condition";

    fn cell() -> &'static TypeCell {
        &TYPE
    }
    fn weakrefs(&self) -> Option<&Managed> {
        Some(&self.weakrefs)
    }
    fn traverse(object: &Condition, visitor: &Visitor) -> Result<(), Stop> {
        visitor.slot(&object.lock)?;
        visitor.slot(&object.native)?;
        object.waiters.visit(visitor)?;
        object.bound.visit(visitor)?;
        visitor.slot(&object.dict)
    }
    fn clear(object: &Condition) {
        object.waiters.clear();
        object.lock.clear();
        object.native.clear();
        object.bound.clear();
        object.dict.clear();
    }
}

impl ConditionState {
    fn blank() -> ConditionState {
        ConditionState {
            lock: Slot::empty(),
            native: Slot::empty(),
            waiters: Waiters::new(),
            bound: LoopBound::new(),
            dict: Slot::empty(),
            weakrefs: Managed::new(),
        }
    }
}

static INIT: Signature<1> =
    Signature { method: "Condition.__init__", names: [&names::LOCK], positional: 1, required: 0 };
static NO_ARGUMENTS: Signature<0> =
    Signature { method: "Condition.wait", names: [], positional: 0, required: 0 };
static WAIT_FOR_ARGUMENTS: Signature<1> = Signature {
    method: "Condition.wait_for",
    names: [&names::PREDICATE],
    positional: 1,
    required: 1,
};
static NOTIFY: Signature<1> =
    Signature { method: "Condition.notify", names: [&names::N], positional: 1, required: 0 };

static WAIT: Behaviour = Behaviour { qualname: "Condition.wait", resume: resume_wait };
static WAIT_FOR: Behaviour = Behaviour { qualname: "Condition.wait_for", resume: resume_wait_for };
static ENTER: Behaviour =
    Behaviour { qualname: "_ContextManagerMixin.__aenter__", resume: resume_enter };
static EXIT: Behaviour =
    Behaviour { qualname: "_ContextManagerMixin.__aexit__", resume: resume_exit };

// Where a coroutine stands within `wait`, in the lower bits of its place; the upper three belong to
// the behaviour that waits. Stage 0 is outside.
const STAGE: u8 = 0x07;
/// In the Condition's list.
const WAITING: u8 = 1;
/// About to take the lock again.
const RETAKING: u8 = 2;
/// In the Lock's list.
const LINED_UP: u8 = 3;
/// Awaiting `self.acquire()`.
const FOLLOWING: u8 = 4;
/// An exception is to be raised once the lock is taken; `item` holds it.
const FAILED: u8 = 0x08;
/// That exception is a cancellation that came while the lock was being taken.
const FAILED_AGAIN: u8 = 0x10;
/// The place of a coroutine that awaits `self.wait()` or, to enter, `self.acquire()`.
const CALLING: u8 = 0x80;

/// The stage of `wait` at which a coroutine stands.
#[inline(always)]
fn stage(this: &Coroutine) -> u8 {
    this.place.get() & STAGE
}

#[inline(always)]
fn set_stage(this: &Coroutine, stage: u8) {
    this.place.set(this.place.get() & !STAGE | stage);
}

/// Whether a coroutine is anywhere within `wait`.
#[inline(always)]
pub(super) fn is_in_wait(this: &Coroutine) -> bool {
    stage(this) != 0
}

impl Condition {
    /// Whether nothing of this object, or of its lock, can have been overridden.
    #[inline(always)]
    fn is_plain(&self) -> bool {
        self.type_ptr() == TYPE.get() && !self.dict.is_some() && self.native.is_some()
    }

    /// The lock, if it can be used without calling methods.
    #[inline(always)]
    fn plain_lock(&self) -> Option<Own<Lock>> {
        if self.is_plain() { self.native.get() } else { None }
    }

    /// The native lock of a Condition that was made without one.
    #[inline(always)]
    pub(super) fn own_lock(&self) -> Res<Own<Lock>> {
        self.native.get().ok_or_else(not_initialized)
    }

    /// The lock, whatever it is.
    fn any_lock(&self) -> Res {
        self.lock.get().ok_or_else(not_initialized)
    }

    /// `self.locked()`.
    #[inline]
    fn is_locked(&self) -> Res<bool> {
        match self.plain_lock() {
            Some(lock) => Ok(lock.is_locked()),
            None => value::is_true(&*self.as_any().call_method(&names::LOCKED, &[])?),
        }
    }

    /// `self.release()`.
    #[inline]
    fn release(&self) -> Res<()> {
        match self.plain_lock() {
            Some(lock) => lock.release(),
            None => self.as_any().call_method(&names::RELEASE, &[]).map(|_| ()),
        }
    }

    /// Wakes who waits; the caller holds the lock.
    #[inline]
    pub(super) fn wake_all(&self) -> Res<()> {
        self.waiters.wake_pending(usize::MAX)
    }

    /// A wait that failed may have been notified: that goes to somebody else (from 3.13 on).
    #[cold]
    fn pass_on(&self) -> Res<()> {
        if !cfg!(Py_3_13) {
            return Ok(());
        }
        if self.is_plain() {
            return self.waiters.wake_pending(1);
        }
        self.as_any().call_method(&names::NOTIFY_QUIETLY, &[&*value::int(1)?]).map(|_| ())
    }
}

#[cold]
fn not_initialized() -> Raised {
    raise(Builtin::AttributeError.get(), "'Condition' object has no attribute '_lock'")
}

/// One step of `wait`; None when it is over and the lock is held again.
#[inline]
pub(super) fn step_wait(
    condition: &Condition,
    this: &Coroutine,
    exception: Option<Own<Any>>,
) -> Res<Option<Sent>> {
    match stage(this) {
        0 => begin_wait(condition, this),
        WAITING => {
            let _left = condition.waiters.remove(this);
            if let Some(exception) = exception {
                keep(this, exception);
            }
            set_stage(this, RETAKING);
            retake(condition, this, None)
        }
        _ => retake(condition, this, exception),
    }
}

#[inline]
fn begin_wait(condition: &Condition, this: &Coroutine) -> Res<Option<Sent>> {
    if !condition.is_locked()? {
        return Err(runtime_error("cannot wait on un-acquired lock"));
    }
    // The loop is asked for before the lock is let go, from 3.13 on.
    if cfg!(Py_3_13) {
        condition.bound.check(condition.as_any())?;
        condition.release()?;
    } else {
        condition.release()?;
        if let Err(raised) = condition.bound.check(condition.as_any()) {
            keep(this, fetch(raised));
            set_stage(this, RETAKING);
            return retake(condition, this, None);
        }
    }
    condition.waiters.push(this);
    set_stage(this, WAITING);
    this.wait_for(Shown::False).map(Some)
}

/// Takes the lock again, however often that is cancelled; then the wait is over, or fails.
fn retake(
    condition: &Condition,
    this: &Coroutine,
    mut exception: Option<Own<Any>>,
) -> Res<Option<Sent>> {
    loop {
        match try_retake(condition, this, exception.take()) {
            Ok(Some(waits)) => return Ok(Some(waits)),
            Ok(None) => break,
            Err(raised) => {
                let error = fetch(raised);
                if !is_cancelled_error(&error) {
                    set_stage(this, 0);
                    chain(&error, kept(this).as_deref())?;
                    condition.pass_on()?;
                    return Err(restore(error));
                }
                cancelled_again(this, error)?;
                set_stage(this, RETAKING);
            }
        }
    }
    set_stage(this, 0);
    match kept(this) {
        None => Ok(None),
        Some(error) => {
            condition.pass_on()?;
            Err(restore(error))
        }
    }
}

#[inline]
fn try_retake(
    condition: &Condition,
    this: &Coroutine,
    exception: Option<Own<Any>>,
) -> Res<Option<Sent>> {
    match stage(this) {
        LINED_UP => condition.own_lock()?.take_turn(this, exception).map(|()| None),
        FOLLOWING => driven(this, exception),
        _ => {
            if let Some(lock) = condition.plain_lock() {
                if lock.try_acquire()? {
                    return Ok(None);
                }
                set_stage(this, LINED_UP);
                return lock.line_up(this).map(Some);
            }
            this.await_inner(&*condition.as_any().call_method(&names::ACQUIRE, &[])?)?;
            set_stage(this, FOLLOWING);
            driven(this, None)
        }
    }
}

fn driven(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Option<Sent>> {
    match this.drive(exception)? {
        Sent::Yielded(yielded) => Ok(Some(Sent::Yielded(yielded))),
        Sent::Returned(_) => Ok(None),
    }
}

/// Keeps an exception until the lock is taken. It takes the place of what the behaviour keeps,
/// which is of no use any more: the exception will end it.
fn keep(this: &Coroutine, exception: Own<Any>) {
    crate::py::track(this);
    this.item.set(exception);
    this.place.set(this.place.get() | FAILED);
}

fn kept(this: &Coroutine) -> Option<Own<Any>> {
    if this.place.get() & FAILED == 0 {
        return None;
    }
    this.place.set(this.place.get() & !(FAILED | FAILED_AGAIN));
    this.item.take()
}

/// Cancelled while taking the lock again: that is what will be raised, as it is from 3.13 on. Its
/// context is what ended the wait, not what was cancelled before it.
#[cold]
fn cancelled_again(this: &Coroutine, error: Own<Any>) -> Res<()> {
    let error = if cfg!(Py_3_13) { error } else { asyncio().cancelled_error.call(&[])? };
    let again = this.place.get() & FAILED_AGAIN != 0;
    match kept(this) {
        Some(before) if again => {
            let handled = before.attr(&names::DUNDER_CONTEXT)?;
            chain(&error, Some(&*handled).filter(|handled| !handled.is_none()))?;
        }
        before => chain(&error, before.as_deref())?,
    }
    keep(this, error);
    this.place.set(this.place.get() | FAILED_AGAIN);
    Ok(())
}

/// What was being handled when an exception was raised becomes its context.
fn chain(error: &Any, handled: Option<&Any>) -> Res<()> {
    match handled {
        Some(handled) if !handled.is(error) => error.set_attr(&names::DUNDER_CONTEXT, handled),
        _ => Ok(()),
    }
}

fn resume_wait(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    let condition = this.owner_as::<ConditionState>()?;
    match step_wait(&condition, this, exception)? {
        Some(waits) => Ok(waits),
        None => Ok(Sent::Returned(value::boolean(true))),
    }
}

fn resume_wait_for(this: &Coroutine, mut exception: Option<Own<Any>>) -> Res<Sent> {
    let condition = this.owner_as::<ConditionState>()?;
    let mut resumed = this.place.get() != 0;
    loop {
        if !resumed {
            let Some(predicate) = this.item.get() else { return returned_none() };
            let result = predicate.call(&[])?;
            if value::is_true(&result)? {
                return Ok(Sent::Returned(result));
            }
        }
        resumed = false;
        let follows = this.place.get() == CALLING;
        if follows || this.place.get() == 0 && !condition.is_plain() {
            let call_wait = || condition.as_any().call_method(&names::WAIT, &[]);
            match follow_result(this, exception.take(), CALLING, call_wait)? {
                Sent::Yielded(yielded) => return Ok(Sent::Yielded(yielded)),
                Sent::Returned(_) => this.place.set(0),
            }
        } else if let Some(waits) = step_wait(&condition, this, exception.take())? {
            return Ok(waits);
        }
    }
}

fn resume_enter(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    let condition = this.owner_as::<ConditionState>()?;
    if this.place.get() == CALLING || this.place.get() == 0 && !condition.is_plain() {
        return follow(this, exception, CALLING, || {
            condition.as_any().call_method(&names::ACQUIRE, &[])
        });
    }
    match lock::step_acquire(&*condition.own_lock()?, this, exception)? {
        Some(waits) => Ok(waits),
        None => returned_none(),
    }
}

fn resume_exit(this: &Coroutine, _: Option<Own<Any>>) -> Res<Sent> {
    this.owner_as::<ConditionState>()?.release()?;
    returned_none()
}

fn init(this: &Condition, args: Args<'_>) -> Res<()> {
    let [given] = args.bind(&INIT)?;
    let lock = match given.filter(|given| !given.is_none()) {
        Some(given) => given.own(),
        None => LockState::cell().object().call(&[])?,
    };
    this.lock.set(lock.clone());
    this.native.put(lock.cast_exact::<LockState>().filter(|lock| lock.is_plain()).map(Lock::own));
    if this.is_plain() {
        return Ok(());
    }
    for name in [&names::LOCKED, &names::ACQUIRE, &names::RELEASE] {
        this.as_any().set_attr(name, &*lock.attr(name)?)?;
    }
    Ok(())
}

/// `acquire`, where it is not an attribute of the instance.
fn acquire(this: &Condition, args: Args<'_>) -> Res {
    args.bind(&NO_ARGUMENTS)?;
    match this.native.get() {
        Some(lock) => {
            coroutine(&lock::ACQUIRE, Some(lock.into_any()), None).map(|made| made.into_any())
        }
        None => this.any_lock()?.call_method(&names::ACQUIRE, &[]),
    }
}

fn check_locked_to_notify(this: &Condition) -> Res<()> {
    if this.is_locked()? {
        return Ok(());
    }
    Err(runtime_error("cannot notify on un-acquired lock"))
}

/// How many `n` are, for who counts up to it; any number will do.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // What is beyond an end is there.
fn limit(n: &Any) -> Res<usize> {
    if value::is_int(n)
        && let Ok(limit) = value::as_int(n).map_err(crate::py::error::discard)
    {
        return Ok(usize::try_from(limit).unwrap_or(0));
    }
    value::as_float(n).map(|limit| limit.ceil() as usize)
}

fn wake(this: &Condition, n: Option<&Any>) -> Res<()> {
    match n {
        None => this.waiters.wake_pending(1),
        Some(_) if this.waiters.is_empty() => Ok(()),
        Some(n) => this.waiters.wake_pending(limit(n)?),
    }
}

fn notify(this: &Condition, args: Args<'_>) -> Res<()> {
    let [n] = args.bind(&NOTIFY)?;
    check_locked_to_notify(this)?;
    if cfg!(Py_3_13) && !this.is_plain() {
        let one = value::int(1)?;
        this.as_any().call_method(&names::NOTIFY_QUIETLY, &[n.unwrap_or(&one)])?;
        return Ok(());
    }
    wake(this, n)
}

fn notify_all(this: &Condition) -> Res<()> {
    if this.is_plain() {
        check_locked_to_notify(this)?;
        return this.wake_all();
    }
    let everybody = value::int(i64::try_from(this.waiters.len()).unwrap_or(i64::MAX))?;
    this.as_any().call_method(&names::NOTIFY, &[&everybody]).map(|_| ())
}

fn repr(this: &Condition) -> Res<String> {
    let state = if this.is_locked()? { "locked" } else { "unlocked" };
    repr_with_state(this.as_any(), &format!("{state}{}", waiters_text(&this.waiters)))
}

/// Makes the type; Lock's must exist.
pub(super) fn build() -> Res<&'static Any> {
    let mut builder = Builder::<ConditionState>::new(
        c"Condition(lock=None)\n--\n\nA condition that tasks wait for and notify each other of.\n\nWho waits or notifies holds the lock, which is a new Lock unless one is given. wait() gives it\nback while it waits.\n\n    async with condition:\n        await condition.wait_for(lambda: ready)",
    )
    .subclassable()
    .dict(std::mem::offset_of!(ConditionState, dict))
    .weakrefs(std::mem::offset_of!(ConditionState, weakrefs))
    .blank(ConditionState::blank)
    .init(init)
    .repr(repr)
    .noargs(
        c"locked",
        c"locked($self, /)\n--\n\nReturn True if the lock is acquired.",
        |this: &Condition| -> Res {
            match this.native.get() {
                Some(lock) => Ok(value::boolean(lock.is_locked())),
                None => this.any_lock()?.call_method(&names::LOCKED, &[]),
            }
        },
    )
    .noargs(
        c"release",
        c"release($self, /)\n--\n\nRelease the lock.",
        |this: &Condition| -> Res {
            match this.native.get() {
                Some(lock) => lock.release().map(|()| value::none()),
                None => this.any_lock()?.call_method(&names::RELEASE, &[]),
            }
        },
    )
    .args(
        c"notify",
        c"notify($self, /, n=1)\n--\n\nWake n of the tasks that wait, or all if there are fewer.\n\nRaises RuntimeError if the lock is not acquired. Who is woken goes on when it has the lock.",
        notify,
    )
    .noargs(
        c"notify_all",
        c"notify_all($self, /)\n--\n\nWake all tasks that wait, as notify() does.",
        notify_all,
    )
    .getter(c"_lock", |this: &Condition| this.any_lock())
    .getter(c"_waiters", |this: &Condition| this.waiters.as_deque())
    .property(
        c"_loop",
        |this: &Condition| this.bound.get(),
        |this: &Condition, event_loop: &Any| this.bound.set(event_loop),
    );
    if cfg!(Py_3_13) {
        builder = builder.one(
            c"_notify",
            c"_notify($self, n, /)\n--\n\nnotify() for those who need not hold the lock.",
            |this: &Condition, n: &Any| wake(this, Some(n)),
        );
    }
    let class = builder.build()?;
    let model = import(c"asyncio.locks", c"Condition")?;
    let acquire = method(model_of(&asyncio().lock_class, &names::ACQUIRE)?, acquire)?;
    add_to_class(class, &names::ACQUIRE, &acquire)?;
    add_async_methods(class, &model, &names::WAIT, |this: &Condition, args: Args<'_>| {
        args.bind(&NO_ARGUMENTS)?;
        coroutine(&WAIT, Some(this.own().into_any()), None)
    })?;
    add_async_methods(class, &model, &names::WAIT_FOR, |this: &Condition, args: Args<'_>| {
        let [predicate] = args.bind(&WAIT_FOR_ARGUMENTS)?;
        coroutine(&WAIT_FOR, Some(this.own().into_any()), predicate.map(AsObject::own))
    })?;
    add_context_manager(
        class,
        &model,
        |this: &Condition| coroutine(&ENTER, Some(this.own().into_any()), None),
        |this: &Condition| coroutine(&EXIT, Some(this.own().into_any()), None),
    )?;
    Ok(class)
}
