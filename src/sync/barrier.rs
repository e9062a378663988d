//! Barrier: a fixed number of Tasks wait for each other, again and again.
//!
//! It stands on a Condition of its own, as asyncio's does, and goes through the same states under
//! the Condition's lock. But a wait is one coroutine object all the way: taking the lock, waiting
//! until the barrier has been emptied, waiting until it is full, and taking the lock after each.

use std::cell::Cell;

use super::condition::{Condition, ConditionState, is_in_wait, step_wait};
use super::lock::step_acquire;
use super::methods::{add_async_methods, follow_result};
use super::waiters::repr_with_state;
use crate::py::error::preserving;
use crate::py::function::{add_to_class, method, model_of};
use crate::py::{
    Any, Args, AsObject, Builder, Builtin, Class, Global, Managed, Object, Own, Raised, Res, Sent,
    Signature, Slot, Stop, TypeCell, Visitor, import, names, raise, value,
};
use crate::tasks::coroutine::{Behaviour, Coroutine, coroutine, returned_none};

pub(crate) type Barrier = Object<BarrierState>;

/// A Barrier's fields.
pub(crate) struct BarrierState {
    condition: Slot<Condition>,
    parties: Slot,
    /// The parties as an integer; 0 if they are a number that no count will reach.
    full: Cell<i64>,
    state: Cell<State>,
    /// How many are inside.
    count: Cell<i64>,
    dict: Slot,
    weakrefs: Managed,
}

/// asyncio's `_BarrierState`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Filling,
    Draining,
    Resetting,
    Broken,
}

const STATES: [State; 4] = [State::Filling, State::Draining, State::Resetting, State::Broken];

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Filling => "filling",
            State::Draining => "draining",
            State::Resetting => "resetting",
            State::Broken => "broken",
        }
    }
}

/// What asyncio has of it.
struct Stock {
    barrier: Own<Any>,
    broken_error: Own<Any>,
    /// The members of `_BarrierState`, in the order of `STATES`.
    states: [Own<Any>; 4],
}

static STOCK: Global<Stock> = Global::new();
static TYPE: TypeCell = TypeCell::new();

impl Class for BarrierState {
    const NAME: &'static std::ffi::CStr = c"aioxide.Barrier";

    fn cell() -> &'static TypeCell {
        &TYPE
    }
    fn weakrefs(&self) -> Option<&Managed> {
        Some(&self.weakrefs)
    }
    fn traverse(object: &Barrier, visitor: &Visitor) -> Result<(), Stop> {
        visitor.slot(&object.condition)?;
        visitor.slot(&object.parties)?;
        visitor.slot(&object.dict)
    }
    fn clear(object: &Barrier) {
        object.condition.clear();
        object.parties.clear();
        object.dict.clear();
    }
}

impl BarrierState {
    fn blank() -> BarrierState {
        BarrierState {
            condition: Slot::empty(),
            parties: Slot::empty(),
            full: Cell::new(0),
            state: Cell::new(State::Filling),
            count: Cell::new(0),
            dict: Slot::empty(),
            weakrefs: Managed::new(),
        }
    }
}

static INIT: Signature<1> =
    Signature { method: "Barrier.__init__", names: [&names::PARTIES], positional: 1, required: 1 };
static WAIT_ARGUMENTS: Signature<0> =
    Signature { method: "Barrier.wait", names: [], positional: 0, required: 0 };
static RESET_ARGUMENTS: Signature<0> =
    Signature { method: "Barrier.reset", names: [], positional: 0, required: 0 };
static ABORT_ARGUMENTS: Signature<0> =
    Signature { method: "Barrier.abort", names: [], positional: 0, required: 0 };

static WAIT: Behaviour = Behaviour { qualname: "Barrier.wait", resume: resume_wait };
static RESET: Behaviour = Behaviour { qualname: "Barrier.reset", resume: resume_reset };
static ABORT: Behaviour = Behaviour { qualname: "Barrier.abort", resume: resume_abort };
static ENTER: Behaviour = Behaviour { qualname: "Barrier.__aenter__", resume: resume_enter };
static EXIT: Behaviour =
    Behaviour { qualname: "Barrier.__aexit__", resume: |_, _| returned_none() };

// The phases of `wait`, in the upper bits of a coroutine's place; the lower ones are for waiting for
// the lock and the Condition. In phase 0 the lock is taken.
const PHASE: u8 = 0xe0;
/// While the barrier is emptied or reset.
const BEFORE: u8 = 0x20;
/// Inside, until the barrier is full.
const INSIDE: u8 = 0x40;
/// Awaiting a subclass's own `wait`.
const FOLLOWING: u8 = 0x80;

impl Barrier {
    #[inline(always)]
    fn is_plain(&self) -> bool {
        self.type_ptr() == TYPE.get() && !self.dict.is_some()
    }

    #[inline(always)]
    fn condition(&self) -> Res<Own<Condition>> {
        self.condition.get().ok_or_else(|| {
            raise(Builtin::AttributeError.get(), "'Barrier' object has no attribute '_cond'")
        })
    }

    fn waiting(&self) -> i64 {
        if self.state.get() == State::Filling { self.count.get() } else { 0 }
    }

    /// Leaves; the last to do so lets those in who wait for the barrier to be empty.
    fn leave(&self, condition: &Condition) -> Res<()> {
        self.count.set(self.count.get() - 1);
        if self.count.get() != 0 {
            return Ok(());
        }
        if matches!(self.state.get(), State::Resetting | State::Draining) {
            self.state.set(State::Filling);
        }
        condition.wake_all()
    }
}

#[cold]
fn broken(text: &str) -> Raised {
    raise(&STOCK.get().broken_error, text)
}

fn resume_wait(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    let barrier = this.owner_as::<BarrierState>()?;
    wait(&barrier, this, exception)
}

fn wait(barrier: &Barrier, this: &Coroutine, mut exception: Option<Own<Any>>) -> Res<Sent> {
    let condition = barrier.condition()?;
    if this.place.get() & PHASE == 0 {
        let lock = condition.own_lock()?;
        if let Some(waits) = step_acquire(&lock, this, exception.take())? {
            return Ok(waits);
        }
        this.place.set(BEFORE);
    }
    let done = pass(barrier, &condition, this, exception);
    match &done {
        Ok(Sent::Yielded(_)) => {}
        Ok(Sent::Returned(_)) => condition.own_lock()?.release()?,
        Err(Raised) => preserving(|| condition.own_lock()?.release())?,
    }
    done
}

/// What happens under the lock.
#[inline]
fn pass(
    barrier: &Barrier,
    condition: &Condition,
    this: &Coroutine,
    mut exception: Option<Own<Any>>,
) -> Res<Sent> {
    if this.place.get() & PHASE == BEFORE {
        let waits = wait_while(condition, this, exception.take(), || {
            matches!(barrier.state.get(), State::Draining | State::Resetting)
        })?;
        if let Some(waits) = waits {
            return Ok(waits);
        }
        if barrier.state.get() == State::Broken {
            return Err(broken("Barrier aborted"));
        }
        let index = barrier.count.get();
        barrier.count.set(index + 1);
        if index + 1 == barrier.full.get() {
            barrier.state.set(State::Draining);
            condition.wake_all()?;
            barrier.leave(condition)?;
            return Ok(Sent::Returned(value::int(index)?));
        }
        this.item.set(value::int(index)?);
        this.place.set(INSIDE);
    }
    let filled = fill(barrier, condition, this, exception);
    match &filled {
        Ok(Some(_)) => {}
        Ok(None) => barrier.leave(condition)?,
        Err(Raised) => preserving(|| barrier.leave(condition))?,
    }
    match filled? {
        Some(waits) => Ok(waits),
        None => Ok(Sent::Returned(this.item.take().unwrap_or_else(value::none))),
    }
}

/// Waits until the barrier is full; None when it is.
#[inline]
fn fill(
    barrier: &Barrier,
    condition: &Condition,
    this: &Coroutine,
    exception: Option<Own<Any>>,
) -> Res<Option<Sent>> {
    let is_filling = || barrier.state.get() == State::Filling;
    if let Some(waits) = wait_while(condition, this, exception, is_filling)? {
        return Ok(Some(waits));
    }
    match barrier.state.get() {
        State::Broken | State::Resetting => Err(broken("Abort or reset of barrier")),
        State::Filling | State::Draining => Ok(None),
    }
}

/// `wait_for` of the Condition, within the coroutine that already stands in it or not.
#[inline]
fn wait_while(
    condition: &Condition,
    this: &Coroutine,
    mut exception: Option<Own<Any>>,
    must_wait: impl Fn() -> bool,
) -> Res<Option<Sent>> {
    while is_in_wait(this) || must_wait() {
        if let Some(waits) = step_wait(condition, this, exception.take())? {
            return Ok(Some(waits));
        }
    }
    Ok(None)
}

fn resume_enter(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    let barrier = this.owner_as::<BarrierState>()?;
    if this.place.get() == FOLLOWING || this.place.get() == 0 && !barrier.is_plain() {
        return follow_result(this, exception, FOLLOWING, || {
            barrier.as_any().call_method(&names::WAIT, &[])
        });
    }
    wait(&barrier, this, exception)
}

/// Changes the state under the lock and tells everybody.
fn change(
    this: &Coroutine,
    exception: Option<Own<Any>>,
    next: impl Fn(&Barrier) -> State,
) -> Res<Sent> {
    let barrier = this.owner_as::<BarrierState>()?;
    let condition = barrier.condition()?;
    let lock = condition.own_lock()?;
    if let Some(waits) = step_acquire(&lock, this, exception)? {
        return Ok(waits);
    }
    barrier.state.set(next(&barrier));
    condition.wake_all()?;
    lock.release()?;
    returned_none()
}

fn resume_reset(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    change(
        this,
        exception,
        |barrier| {
            if barrier.count.get() > 0 { State::Resetting } else { State::Filling }
        },
    )
}

fn resume_abort(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    change(this, exception, |_| State::Broken)
}

fn init(this: &Barrier, args: Args<'_>) -> Res<()> {
    let [parties] = args.bind(&INIT)?;
    let parties = parties.unwrap_or(value::none_ref());
    let full = match value::is_int(parties) {
        true => value::as_int(parties)?,
        false => 0,
    };
    if full < 1 {
        // Refused, or a number of another kind: asyncio has the words, and they change.
        STOCK.get().barrier.call(&[parties])?;
    }
    let condition = ConditionState::cell().object().call(&[])?;
    this.condition.put(condition.cast_exact::<ConditionState>().map(Condition::own));
    this.full.set(if full < 1 { whole(parties)? } else { full });
    this.parties.set(parties.own());
    this.state.set(State::Filling);
    this.count.set(0);
    Ok(())
}

/// The integer that a number of any kind is equal to; 0 if none is.
#[cold]
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::float_cmp)]
fn whole(number: &Any) -> Res<i64> {
    let float = value::as_float(number)?;
    let whole = float as i64;
    Ok(if whole as f64 == float { whole } else { 0 })
}

fn state_object(this: &Barrier) -> Own<Any> {
    STOCK.get().states[this.state.get() as usize].clone()
}

fn set_state(this: &Barrier, given: &Any) -> Res<()> {
    for (state, object) in STATES.iter().zip(&STOCK.get().states) {
        if object.is(given) {
            this.state.set(*state);
            return Ok(());
        }
    }
    Err(raise(Builtin::ValueError.get(), "_state must be a member of asyncio's _BarrierState"))
}

fn repr(this: &Barrier) -> Res<String> {
    let mut state = this.state.get().name().to_owned();
    if !value::is_true(&*this.as_any().attr(&names::BROKEN)?)? {
        let text = |name| value::text_of(&*value::str_of(&*this.as_any().attr(name)?)?);
        let (waiting, parties) = (text(&names::N_WAITING)?, text(&names::PARTIES)?);
        state = format!("{state}, waiters:{waiting}/{parties}");
    }
    repr_with_state(this.as_any(), &state)
}

/// Makes the type; Condition's must exist.
pub(super) fn build() -> Res<&'static Any> {
    let state =
        |name| import(c"asyncio.locks", c"_BarrierState")?.attr_named(&*value::string(name)?);
    STOCK.fill(Stock {
        barrier: import(c"asyncio.locks", c"Barrier")?,
        broken_error: import(c"asyncio.exceptions", c"BrokenBarrierError")?,
        states: [state("FILLING")?, state("DRAINING")?, state("RESETTING")?, state("BROKEN")?],
    });
    let class = Builder::<BarrierState>::new(
        c"Barrier(parties)\n--\n\nA point at which so many tasks wait for each other.\n\nwait() returns once all have come, to each a number of its own below parties; then the barrier\nis ready for the next round.",
    )
    .subclassable()
    .dict(std::mem::offset_of!(BarrierState, dict))
    .weakrefs(std::mem::offset_of!(BarrierState, weakrefs))
    .blank(BarrierState::blank)
    .init(init)
    .repr(repr)
    .getter(c"parties", |this: &Barrier| this.parties.get())
    .getter(c"n_waiting", |this: &Barrier| this.waiting())
    .getter(c"broken", |this: &Barrier| this.state.get() == State::Broken)
    .getter(c"_loop", |_: &Barrier| value::none())
    .getter(c"_cond", |this: &Barrier| this.condition())
    .getter(c"_parties", |this: &Barrier| this.parties.get())
    .property(c"_state", |this: &Barrier| state_object(this), set_state)
    .property(
        c"_count",
        |this: &Barrier| this.count.get(),
        |this: &Barrier, count: &Any| {
            this.count.set(value::as_int(count)?);
            Ok(())
        },
    )
    .build()?;
    let model = &STOCK.get().barrier;
    add_async_methods(class, model, &names::WAIT, |this: &Barrier, args: Args<'_>| {
        args.bind(&WAIT_ARGUMENTS)?;
        coroutine(&WAIT, Some(this.own().into_any()), None)
    })?;
    add_async_methods(class, model, &names::RESET, |this: &Barrier, args: Args<'_>| {
        args.bind(&RESET_ARGUMENTS)?;
        coroutine(&RESET, Some(this.own().into_any()), None)
    })?;
    add_async_methods(class, model, &names::ABORT, |this: &Barrier, args: Args<'_>| {
        args.bind(&ABORT_ARGUMENTS)?;
        coroutine(&ABORT, Some(this.own().into_any()), None)
    })?;
    // Not as the others' `async with`: entering gives the index, and leaving takes any arguments.
    let enter = method(model_of(model, &names::AENTER)?, |this: &Barrier, _: Args<'_>| {
        coroutine(&ENTER, Some(this.own().into_any()), None)
    })?;
    add_to_class(class, &names::AENTER, &enter)?;
    let exit = method(model_of(model, &names::AEXIT)?, |this: &Barrier, _: Args<'_>| {
        coroutine(&EXIT, Some(this.own().into_any()), None)
    })?;
    add_to_class(class, &names::AEXIT, &exit)?;
    Ok(class)
}
