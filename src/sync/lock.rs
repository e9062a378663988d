//! Lock: mutual exclusion between Tasks, in the order in which they came.

use std::cell::Cell;

use super::bound::LoopBound;
use super::methods::{add_async_methods, add_context_manager, follow};
use super::waiters::{Waiters, repr_with_state, waiters_text};
use crate::engine::asyncio::{asyncio, is_cancelled_error};
use crate::py::error::restore;
use crate::py::{
    Any, Args, AsObject, Builder, Class, Managed, Object, Own, Res, Sent, Signature, Slot, Stop,
    TypeCell, Visitor, names, runtime_error, value,
};
use crate::tasks::coroutine::{Behaviour, Coroutine, Shown, coroutine, returned_none};

pub(crate) type Lock = Object<LockState>;

/// A Lock's fields.
pub(crate) struct LockState {
    locked: Cell<bool>,
    waiters: Waiters,
    bound: LoopBound,
    dict: Slot,
    weakrefs: Managed,
}

static TYPE: TypeCell = TypeCell::new();

impl Class for LockState {
    const NAME: &'static std::ffi::CStr = c"aioxide.Lock";

    fn cell() -> &'static TypeCell {
        &TYPE
    }
    fn weakrefs(&self) -> Option<&Managed> {
        Some(&self.weakrefs)
    }
    fn traverse(object: &Lock, visitor: &Visitor) -> Result<(), Stop> {
        object.waiters.visit(visitor)?;
        object.bound.visit(visitor)?;
        visitor.slot(&object.dict)
    }
    fn clear(object: &Lock) {
        object.waiters.clear();
        object.bound.clear();
        object.dict.clear();
    }
}

impl LockState {
    fn blank() -> LockState {
        LockState {
            locked: Cell::new(false),
            waiters: Waiters::new(),
            bound: LoopBound::new(),
            dict: Slot::empty(),
            weakrefs: Managed::new(),
        }
    }
}

static INIT: Signature<0> =
    Signature { method: "Lock.__init__", names: [], positional: 0, required: 0 };
static NO_ARGUMENTS: Signature<0> =
    Signature { method: "Lock.acquire", names: [], positional: 0, required: 0 };

pub(super) static ACQUIRE: Behaviour =
    Behaviour { qualname: "Lock.acquire", resume: resume_acquire };
static ENTER: Behaviour =
    Behaviour { qualname: "_ContextManagerMixin.__aenter__", resume: resume_enter };
static EXIT: Behaviour =
    Behaviour { qualname: "_ContextManagerMixin.__aexit__", resume: resume_exit };

/// The place of a coroutine that waits for the lock.
const WAITING: u8 = 1;
/// The place of one that awaits a subclass's own `acquire`.
const FOLLOWING: u8 = 2;

impl Lock {
    /// Whether nothing of this object can have been overridden.
    #[inline(always)]
    pub(super) fn is_plain(&self) -> bool {
        self.type_ptr() == TYPE.get() && !self.dict.is_some()
    }

    #[inline(always)]
    pub(super) fn is_locked(&self) -> bool {
        self.locked.get()
    }

    /// Takes the lock if it is free and nobody was here before.
    #[inline(always)]
    pub(super) fn try_acquire(&self) -> Res<bool> {
        let free = !self.locked.get() && self.waiters.all_cancelled()?;
        if free {
            self.locked.set(true);
        }
        Ok(free)
    }

    /// Lines up for the lock.
    #[inline]
    pub(super) fn line_up(&self, waiter: &Coroutine) -> Res<Sent> {
        self.bound.check(self.as_any())?;
        self.waiters.push(waiter);
        waiter.wait_for(Shown::True)
    }

    /// What follows when a wait for the lock is over: it is ours, or the exception goes on.
    #[inline]
    pub(super) fn take_turn(&self, waiter: &Coroutine, exception: Option<Own<Any>>) -> Res<()> {
        let _left = self.waiters.remove(waiter);
        let Some(exception) = exception else {
            self.locked.set(true);
            return Ok(());
        };
        // Who was woken and is cancelled before it runs must pass its turn on.
        if is_cancelled_error(&exception) && !self.locked.get() {
            self.wake_first()?;
        }
        Err(restore(exception))
    }

    fn wake_first(&self) -> Res<()> {
        // One that is woken already is on its way; then nobody else is to be.
        self.waiters.first().map_or(Ok(()), |first| first.wake())
    }

    #[inline]
    pub(super) fn release(&self) -> Res<()> {
        if !self.locked.replace(false) {
            return Err(runtime_error("Lock is not acquired."));
        }
        if self.waiters.is_empty() { Ok(()) } else { self.wake_first() }
    }
}

/// `acquire` for a coroutine at its beginning or waiting; None when it has to wait on.
pub(super) fn step_acquire(
    lock: &Lock,
    this: &Coroutine,
    exception: Option<Own<Any>>,
) -> Res<Option<Sent>> {
    if this.place.get() == WAITING {
        lock.take_turn(this, exception)?;
        return Ok(None);
    }
    if lock.try_acquire()? {
        return Ok(None);
    }
    this.place.set(WAITING);
    lock.line_up(this).map(Some)
}

fn resume_acquire(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    let lock = this.owner_as::<LockState>()?;
    match step_acquire(&lock, this, exception)? {
        Some(waits) => Ok(waits),
        None => Ok(Sent::Returned(value::boolean(true))),
    }
}

fn resume_enter(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    let lock = this.owner_as::<LockState>()?;
    if this.place.get() == FOLLOWING || this.place.get() == 0 && !lock.is_plain() {
        return follow(this, exception, FOLLOWING, || {
            lock.as_any().call_method(&names::ACQUIRE, &[])
        });
    }
    match step_acquire(&lock, this, exception)? {
        Some(waits) => Ok(waits),
        None => returned_none(),
    }
}

fn resume_exit(this: &Coroutine, _: Option<Own<Any>>) -> Res<Sent> {
    let lock = this.owner_as::<LockState>()?;
    if lock.is_plain() {
        lock.release()?;
    } else {
        lock.as_any().call_method(&names::RELEASE, &[])?;
    }
    returned_none()
}

fn repr(this: &Lock) -> Res<String> {
    let state = if this.locked.get() { "locked" } else { "unlocked" };
    repr_with_state(this.as_any(), &format!("{state}{}", waiters_text(&this.waiters)))
}

/// `_waiters`: None until somebody had to wait.
fn waiters(this: &Lock) -> Res<Option<Own<Any>>> {
    if this.bound.get().is_none() { Ok(None) } else { this.waiters.as_deque().map(Some) }
}

/// Makes the type.
pub(super) fn build() -> Res<&'static Any> {
    let class = Builder::<LockState>::new(
        c"Lock()\n--\n\nMutual exclusion between tasks.\n\nA lock is locked or unlocked, and unlocked at first. When several tasks wait in acquire(),\nrelease() lets exactly one go on, in the order in which they came.\n\n    async with lock:\n        ...",
    )
    .subclassable()
    .dict(std::mem::offset_of!(LockState, dict))
    .weakrefs(std::mem::offset_of!(LockState, weakrefs))
    .blank(LockState::blank)
    .init(|_: &Lock, args: Args<'_>| args.bind(&INIT).map(drop))
    .repr(repr)
    .noargs(c"locked", c"locked($self, /)\n--\n\nReturn True if lock is acquired.", |this: &Lock| {
        this.locked.get()
    })
    .noargs(
        c"release",
        c"release($self, /)\n--\n\nRelease the lock and let the first who waits go on.\n\nRaises RuntimeError if the lock is not locked.",
        |this: &Lock| this.release(),
    )
    .getter(c"_waiters", waiters)
    .property(
        c"_loop",
        |this: &Lock| this.bound.get(),
        |this: &Lock, event_loop: &Any| this.bound.set(event_loop),
    )
    .property(
        c"_locked",
        |this: &Lock| this.locked.get(),
        |this: &Lock, flag: &Any| {
            this.locked.set(value::is_true(flag)?);
            Ok(())
        },
    )
    .build()?;
    let model = &asyncio().lock_class;
    add_async_methods(class, model, &names::ACQUIRE, |this: &Lock, args: Args<'_>| {
        args.bind(&NO_ARGUMENTS)?;
        coroutine(&ACQUIRE, Some(this.own().into_any()), None)
    })?;
    add_context_manager(
        class,
        model,
        |this: &Lock| coroutine(&ENTER, Some(this.own().into_any()), None),
        |this: &Lock| coroutine(&EXIT, Some(this.own().into_any()), None),
    )?;
    Ok(class)
}
