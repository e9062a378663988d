//! Semaphore and BoundedSemaphore: so many at a time, in the order in which they came.
//!
//! Who releases takes the value down again for the first that waits, before that one runs: nobody
//! can come in between. From 3.13 on asyncio makes up for more of what cancellation leaves undone,
//! so how a wait ends differs by version.

use super::bound::LoopBound;
use super::count::Count;
use super::methods::{add_async_methods, add_context_manager, follow};
use super::waiters::{Waiters, repr_with_state, waiters_text};
use crate::engine::asyncio::is_cancelled_error;
use crate::py::error::restore;
use crate::py::{
    Any, Args, AsObject, Builder, Builtin, Class, Managed, Object, Own, Res, Sent, Signature, Slot,
    Stop, TypeCell, Visitor, import, names, raise, value,
};
use crate::tasks::coroutine::{Behaviour, Coroutine, Shown, coroutine, returned_none};

pub(crate) type Semaphore = Object<SemaphoreState>;
pub(crate) type BoundedSemaphore = Object<BoundedState>;

/// A Semaphore's fields.
#[repr(C)]
pub(crate) struct SemaphoreState {
    value: Count,
    waiters: Waiters,
    bound: LoopBound,
    dict: Slot,
    weakrefs: Managed,
}

/// A BoundedSemaphore's fields, a Semaphore's first.
#[repr(C)]
pub(crate) struct BoundedState {
    semaphore: SemaphoreState,
    most: Count,
}

static SEMAPHORE: TypeCell = TypeCell::new();
static BOUNDED: TypeCell = TypeCell::new();

impl Class for SemaphoreState {
    const NAME: &'static std::ffi::CStr = c"aioxide.Semaphore";

    fn cell() -> &'static TypeCell {
        &SEMAPHORE
    }
    fn weakrefs(&self) -> Option<&Managed> {
        Some(&self.weakrefs)
    }
    fn traverse(object: &Semaphore, visitor: &Visitor) -> Result<(), Stop> {
        object.visit(visitor)
    }
    fn clear(object: &Semaphore) {
        object.forget();
    }
}

impl Class for BoundedState {
    const NAME: &'static std::ffi::CStr = c"aioxide.BoundedSemaphore";

    fn cell() -> &'static TypeCell {
        &BOUNDED
    }
    fn weakrefs(&self) -> Option<&Managed> {
        Some(&self.semaphore.weakrefs)
    }
    fn traverse(object: &BoundedSemaphore, visitor: &Visitor) -> Result<(), Stop> {
        object.semaphore.visit(visitor)?;
        object.most.visit(visitor)
    }
    fn clear(object: &BoundedSemaphore) {
        object.semaphore.forget();
        object.most.clear();
    }
}

impl SemaphoreState {
    fn blank() -> SemaphoreState {
        SemaphoreState {
            value: Count::new(1),
            waiters: Waiters::new(),
            bound: LoopBound::new(),
            dict: Slot::empty(),
            weakrefs: Managed::new(),
        }
    }

    fn visit(&self, visitor: &Visitor) -> Result<(), Stop> {
        self.value.visit(visitor)?;
        self.waiters.visit(visitor)?;
        self.bound.visit(visitor)?;
        visitor.slot(&self.dict)
    }

    fn forget(&self) {
        self.waiters.clear();
        self.value.clear();
        self.bound.clear();
        self.dict.clear();
    }

    /// `locked()`: whether one who comes now has to wait.
    #[inline(always)]
    fn is_locked(&self) -> Res<bool> {
        Ok(self.value.is_zero()? || !self.waiters.all_cancelled()?)
    }

    /// `_wake_up_next()`: lets the first in that still waits; whether there was one.
    #[inline]
    fn wake_next(&self) -> Res<bool> {
        if self.waiters.is_empty() {
            return Ok(false);
        }
        let woken = self.waiters.wake_first_pending()?;
        if woken {
            self.value.change(-1);
        }
        Ok(woken)
    }
}

impl BoundedState {
    fn blank() -> BoundedState {
        BoundedState { semaphore: SemaphoreState::blank(), most: Count::new(1) }
    }
}

static INIT: Signature<1> =
    Signature { method: "Semaphore.__init__", names: [&names::VALUE], positional: 1, required: 0 };
static INIT_BOUNDED: Signature<1> = Signature {
    method: "BoundedSemaphore.__init__",
    names: [&names::VALUE],
    positional: 1,
    required: 0,
};
static NO_ARGUMENTS: Signature<0> =
    Signature { method: "Semaphore.acquire", names: [], positional: 0, required: 0 };

static ACQUIRE: Behaviour = Behaviour { qualname: "Semaphore.acquire", resume: resume_acquire };
static ENTER: Behaviour =
    Behaviour { qualname: "_ContextManagerMixin.__aenter__", resume: resume_enter };
static EXIT: Behaviour =
    Behaviour { qualname: "_ContextManagerMixin.__aexit__", resume: resume_exit };

/// The place of a coroutine that waits to be let in.
const WAITING: u8 = 1;
/// The place of one that awaits a subclass's own `acquire`.
const FOLLOWING: u8 = 2;

impl Semaphore {
    /// Whether nothing of this object can have been overridden.
    #[inline(always)]
    fn is_plain(&self) -> bool {
        let kind = self.type_ptr();
        (kind == SEMAPHORE.get() || kind == BOUNDED.get()) && !self.dict.is_some()
    }

    /// `self.locked()`.
    #[inline(always)]
    fn ask_locked(&self) -> Res<bool> {
        if self.is_plain() {
            return self.is_locked();
        }
        value::is_true(&*self.as_any().call_method(&names::LOCKED, &[])?)
    }

    /// `self._wake_up_next()`.
    #[inline(always)]
    fn ask_wake_next(&self) -> Res<bool> {
        if self.is_plain() {
            return self.wake_next();
        }
        value::is_true(&*self.as_any().call_method(&names::WAKE_UP_NEXT, &[])?)
    }

    /// Lets in as many as the value allows; asyncio up to 3.12 only the next.
    #[inline]
    fn wake_allowed(&self) -> Res<()> {
        while self.value.is_positive()? && self.ask_wake_next()? && cfg!(Py_3_13) {}
        Ok(())
    }

    /// Semaphore's own `release`.
    #[inline(always)]
    fn release_one(&self) -> Res<()> {
        self.value.change(1);
        self.ask_wake_next().map(drop)
    }

    /// `self.release()`.
    #[inline]
    fn release(&self) -> Res<()> {
        if !self.is_plain() {
            return self.as_any().call_method(&names::RELEASE, &[]).map(drop);
        }
        match self.cast_exact::<BoundedState>() {
            Some(bounded) => bounded.release_one(),
            None => self.release_one(),
        }
    }
}

impl BoundedSemaphore {
    #[inline(always)]
    fn as_semaphore(&self) -> &Semaphore {
        // SAFETY: `BoundedState` is `repr(C)` with a `SemaphoreState` first, so the object is laid
        // out as an `Object<SemaphoreState>` with more behind it; the type inherits from it.
        unsafe { &*std::ptr::from_ref(self).cast::<Semaphore>() }
    }

    /// BoundedSemaphore's own `release`.
    #[inline(always)]
    fn release_one(&self) -> Res<()> {
        if self.semaphore.value.is_at_least(&self.most)? {
            return Err(raise(
                Builtin::ValueError.get(),
                "BoundedSemaphore released too many times",
            ));
        }
        self.as_semaphore().release_one()
    }
}

/// `acquire` for a coroutine at its beginning or waiting; None when it has to wait on.
fn step_acquire(
    semaphore: &Semaphore,
    this: &Coroutine,
    exception: Option<Own<Any>>,
) -> Res<Option<Sent>> {
    if this.place.get() == WAITING {
        let _left = semaphore.waiters.remove(this);
        match exception {
            None => semaphore.wake_allowed()?,
            Some(exception) => {
                give_up(semaphore, this, &exception)?;
                return Err(restore(exception));
            }
        }
        return Ok(None);
    }
    if !semaphore.ask_locked()? {
        semaphore.value.change(-1);
        return Ok(None);
    }
    semaphore.bound.check(semaphore.as_any())?;
    semaphore.waiters.push(this);
    this.place.set(WAITING);
    this.wait_for(Shown::True).map(Some)
}

/// Who was let in and is cancelled before it runs gives its place back.
#[cold]
fn give_up(semaphore: &Semaphore, this: &Coroutine, exception: &Any) -> Res<()> {
    let cancelled = is_cancelled_error(exception);
    if cfg!(Py_3_13) {
        if cancelled && this.is_done()? && !this.is_cancelled()? {
            semaphore.value.change(1);
        }
        return semaphore.wake_allowed();
    }
    if cancelled && !this.is_cancelled()? {
        semaphore.value.change(1);
        semaphore.ask_wake_next()?;
    }
    Ok(())
}

fn resume_acquire(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    let semaphore = this.owner_as::<SemaphoreState>()?;
    match step_acquire(&semaphore, this, exception)? {
        Some(waits) => Ok(waits),
        None => Ok(Sent::Returned(value::boolean(true))),
    }
}

fn resume_enter(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    let semaphore = this.owner_as::<SemaphoreState>()?;
    if this.place.get() == FOLLOWING || this.place.get() == 0 && !semaphore.is_plain() {
        return follow(this, exception, FOLLOWING, || {
            semaphore.as_any().call_method(&names::ACQUIRE, &[])
        });
    }
    match step_acquire(&semaphore, this, exception)? {
        Some(waits) => Ok(waits),
        None => returned_none(),
    }
}

fn resume_exit(this: &Coroutine, _: Option<Own<Any>>) -> Res<Sent> {
    this.owner_as::<SemaphoreState>()?.release()?;
    returned_none()
}

/// Reads `value=1`, which may not be negative.
fn start(this: &Semaphore, given: Option<&Any>) -> Res<()> {
    this.value.set_or(given, 1)?;
    if this.value.is_negative()? {
        return Err(raise(Builtin::ValueError.get(), "Semaphore initial value must be >= 0"));
    }
    Ok(())
}

fn init(this: &Semaphore, args: Args<'_>) -> Res<()> {
    let [given] = args.bind(&INIT)?;
    start(this, given)
}

fn init_bounded(this: &BoundedSemaphore, args: Args<'_>) -> Res<()> {
    let [given] = args.bind(&INIT_BOUNDED)?;
    this.most.set_or(given, 1)?;
    start(this.as_semaphore(), given)
}

/// `_wake_up_next()`, which says whether there was one from 3.13 on.
fn wake_up_next(this: &Semaphore) -> Res<Option<bool>> {
    let woken = this.wake_next()?;
    Ok(cfg!(Py_3_13).then_some(woken))
}

/// `_waiters`: None until somebody had to wait.
fn waiters(this: &Semaphore) -> Res<Option<Own<Any>>> {
    if this.bound.get().is_none() { Ok(None) } else { this.waiters.as_deque().map(Some) }
}

fn repr(this: &Semaphore) -> Res<String> {
    let mut state = String::from("locked");
    if !this.ask_locked()? {
        state =
            format!("unlocked, value:{}", value::text_of(&*value::str_of(&*this.value.get()?)?)?);
    }
    repr_with_state(this.as_any(), &format!("{state}{}", waiters_text(&this.waiters)))
}

/// Makes Semaphore.
pub(super) fn build() -> Res<&'static Any> {
    let class = Builder::<SemaphoreState>::new(
        c"Semaphore(value=1)\n--\n\nA counter of how many may still come in.\n\nacquire() takes one off, release() puts one back. At zero acquire() waits, and those who wait\nare let in in the order in which they came.\n\n    async with semaphore:\n        ...",
    )
    .subclassable()
    .dict(std::mem::offset_of!(SemaphoreState, dict))
    .weakrefs(std::mem::offset_of!(SemaphoreState, weakrefs))
    .blank(SemaphoreState::blank)
    .init(init)
    .repr(repr)
    .noargs(
        c"locked",
        c"locked($self, /)\n--\n\nReturn True if the semaphore cannot be acquired immediately.",
        |this: &Semaphore| this.is_locked(),
    )
    .noargs(
        c"release",
        c"release($self, /)\n--\n\nPut one back and let the first in who waits.",
        |this: &Semaphore| this.release_one(),
    )
    .noargs(
        c"_wake_up_next",
        c"_wake_up_next($self, /)\n--\n\nLet the first in who still waits.",
        wake_up_next,
    )
    .getter(c"_waiters", waiters)
    .property(
        c"_loop",
        |this: &Semaphore| this.bound.get(),
        |this: &Semaphore, event_loop: &Any| this.bound.set(event_loop),
    )
    .property(
        c"_value",
        |this: &Semaphore| this.value.get(),
        |this: &Semaphore, value: &Any| this.value.set_or(Some(value), 0),
    )
    .build()?;
    let model = import(c"asyncio.locks", c"Semaphore")?;
    add_async_methods(class, &model, &names::ACQUIRE, |this: &Semaphore, args: Args<'_>| {
        args.bind(&NO_ARGUMENTS)?;
        coroutine(&ACQUIRE, Some(this.own().into_any()), None)
    })?;
    add_context_manager(
        class,
        &model,
        |this: &Semaphore| coroutine(&ENTER, Some(this.own().into_any()), None),
        |this: &Semaphore| coroutine(&EXIT, Some(this.own().into_any()), None),
    )?;
    Ok(class)
}

/// Makes BoundedSemaphore; Semaphore must exist.
pub(super) fn build_bounded() -> Res<&'static Any> {
    Builder::<BoundedState>::new(
        c"BoundedSemaphore(value=1)\n--\n\nA semaphore that refuses to be released more often than it was acquired.",
    )
    .base(SEMAPHORE.object())
    .subclassable()
    .blank(BoundedState::blank)
    .init(init_bounded)
    .noargs(
        c"release",
        c"release($self, /)\n--\n\nPut one back and let the first in who waits.\n\nRaises ValueError if that would be more than there were at first.",
        |this: &BoundedSemaphore| this.release_one(),
    )
    .property(
        c"_bound_value",
        |this: &BoundedSemaphore| this.most.get(),
        |this: &BoundedSemaphore, value: &Any| this.most.set_or(Some(value), 0),
    )
    .build()
}
