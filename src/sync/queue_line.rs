//! A queue's line of waiting getters or putters.
//!
//! Waiting coroutines stand in the native list. As soon as a program reads `_getters` or
//! `_putters`, or a subclass overrides `_wakeup_next`, which is handed one of them, the line moves
//! for good into a deque as asyncio has it, and what a program does to the deque counts. What
//! stands there for a waiting coroutine answers as the Future would that asyncio keeps there.

use std::cell::Cell;

use super::waiters::Waiters;
use crate::engine::asyncio::{asyncio, invalid_state};
use crate::py::{
    Any, Args, AsObject, Builder, Builtin, Class, Object, Own, Raised, Res, Signature, Slot, Stop,
    TypeCell, Visitor, create, error, names, track, value,
};
use crate::tasks::coroutine::Coroutine;

/// The line, first come first served.
pub(super) struct Line {
    waiters: Waiters,
    /// The deque, once somebody asked for it; nobody stands in the list then.
    deque: Slot,
}

impl Line {
    pub(super) const fn new() -> Line {
        Line { waiters: Waiters::new(), deque: Slot::empty() }
    }

    /// Forgets whoever waits, as a new deque would.
    pub(super) fn reset(&self) {
        self.deque.clear();
        self.waiters.clear();
    }

    #[inline]
    pub(super) fn push(&self, waiter: &Coroutine) -> Res<()> {
        match self.deque.get() {
            None => {
                self.waiters.push(waiter);
                Ok(())
            }
            Some(deque) => deque.call_method(&names::APPEND, &[place(waiter)?.as_any()]).map(drop),
        }
    }

    /// A waiter was woken. Who wakes takes out; but a list can hold it only once.
    #[inline(always)]
    pub(super) fn woken(&self, waiter: &Coroutine) {
        let _left = self.waiters.remove(waiter);
    }

    /// Takes a waiter out, wherever in the line it stands; nothing if it left already.
    #[cold]
    pub(super) fn remove(&self, waiter: &Coroutine) -> Res<()> {
        let _left = self.waiters.remove(waiter);
        let Some(deque) = self.deque.get() else { return Ok(()) };
        match deque.call_method(&names::REMOVE, &[place(waiter)?.as_any()]) {
            Err(raised) if error::pending_is_any(&[Builtin::ValueError]) => {
                error::discard(raised);
                Ok(())
            }
            removed => removed.map(drop),
        }
    }

    /// `_wakeup_next`: takes out waiters up to the first that is not woken or cancelled, and wakes
    /// that one.
    #[inline(always)]
    pub(super) fn wake_next(&self) -> Res<()> {
        if self.deque.is_some() {
            return self.deque.get().map_or(Ok(()), |deque| wake_next_of(&deque));
        }
        if self.waiters.is_empty() { Ok(()) } else { self.waiters.release_first() }
    }

    /// Takes out and wakes all.
    pub(super) fn wake_all(&self) -> Res<()> {
        self.waiters.release_all()?;
        let Some(deque) = self.deque.get() else { return Ok(()) };
        while value::is_true(&deque)? {
            wake(&*deque.call_method(&names::POPLEFT, &[])?)?;
        }
        Ok(())
    }

    pub(super) fn len(&self) -> Res<usize> {
        self.deque.get().map_or_else(|| Ok(self.waiters.len()), |deque| value::len(&deque))
    }

    /// `_getters` or `_putters`: the line's deque, which is the line from now on.
    pub(super) fn as_deque(&self) -> Res {
        if let Some(deque) = self.deque.get() {
            return Ok(deque);
        }
        let deque = asyncio().deque_class.call(&[])?;
        while let Some(waiter) = self.waiters.pop_first() {
            deque.call_method(&names::APPEND, &[place(&waiter)?.as_any()])?;
        }
        self.deque.set(deque.clone());
        Ok(deque)
    }

    /// `_getters = deque`.
    pub(super) fn set_deque(&self, deque: &Any) {
        self.waiters.clear();
        self.deque.set(deque.own());
    }

    pub(super) fn visit(&self, visitor: &Visitor) -> Result<(), Stop> {
        self.waiters.visit(visitor)?;
        visitor.slot(&self.deque)
    }
}

/// `_wakeup_next(deque)`.
pub(super) fn wake_next_of(deque: &Any) -> Res<()> {
    while value::is_true(deque)? {
        if wake(&*deque.call_method(&names::POPLEFT, &[])?)? {
            break;
        }
    }
    Ok(())
}

/// Wakes one that a deque held; whether it waited.
fn wake(waiter: &Any) -> Res<bool> {
    if value::is_true(&*waiter.call_method(&names::DONE, &[])?)? {
        return Ok(false);
    }
    waiter.call_method(&names::SET_RESULT, &[value::none_ref()])?;
    Ok(true)
}

/// A coroutine's place in a deque, for one wait: if it is woken in vain and waits again, that is
/// another.
type Place = Object<PlaceState>;

struct PlaceState {
    waiter: Slot<Coroutine>,
    /// The coroutine's `place` during that wait.
    wait: u8,
    tracked: Cell<bool>,
}

static TYPE: TypeCell = TypeCell::new();

impl Class for PlaceState {
    const NAME: &'static std::ffi::CStr = c"aioxide.Waiter";

    fn cell() -> &'static TypeCell {
        &TYPE
    }
    fn tracked(&self) -> Option<&Cell<bool>> {
        Some(&self.tracked)
    }
    fn traverse(object: &Place, visitor: &Visitor) -> Result<(), Stop> {
        visitor.slot(&object.waiter)
    }
    fn clear(object: &Place) {
        object.waiter.clear();
    }
}

fn place(waiter: &Coroutine) -> Res<Own<Place>> {
    track(waiter);
    let made = create(|| PlaceState {
        waiter: Slot::new(waiter.own()),
        wait: waiter.place.get(),
        tracked: Cell::new(false),
    })?;
    track(&made);
    Ok(made)
}

impl Place {
    /// Asks the coroutine; `over` if it went on to wait again, or the collector took it.
    fn ask<T>(&self, over: T, question: impl FnOnce(&Coroutine) -> Res<T>) -> Res<T> {
        match self.waiter.get().filter(|waiter| waiter.place.get() == self.wait) {
            Some(waiter) => question(&waiter),
            None => Ok(over),
        }
    }
}

#[cold]
fn decided(this: &Place) -> Raised {
    invalid_state(&format!("invalid state: {}", value::repr_text(this.as_any())))
}

fn set_result(this: &Place, _: &Any) -> Res<()> {
    if this.ask(true, Coroutine::is_done)? {
        return Err(decided(this));
    }
    this.ask((), Coroutine::wake)
}

fn cancel(this: &Place, args: Args<'_>) -> Res<bool> {
    static CANCEL: Signature<1> =
        Signature { method: "cancel", names: [&names::MSG], positional: 1, required: 0 };
    let [message] = args.bind(&CANCEL)?;
    this.ask(false, |waiter| waiter.cancel(message))
}

/// Makes the places' type.
pub(super) fn build() -> Res<()> {
    Builder::<PlaceState>::new(c"One who waits for a queue.")
        .not_constructible()
        .noargs(c"done", c"done($self, /)\n--\n\nWhether the wait is over.", |this: &Place| {
            this.ask(true, Coroutine::is_done)
        })
        .noargs(
            c"cancelled",
            c"cancelled($self, /)\n--\n\nWhether the wait was cancelled.",
            |this: &Place| this.ask(false, Coroutine::is_cancelled),
        )
        .one(c"set_result", c"set_result($self, result, /)\n--\n\nEnd the wait.", set_result)
        .args(c"cancel", c"cancel($self, /, msg=None)\n--\n\nCancel the wait.", cancel)
        .compare(|this: &Place, other: &Any, operation| {
            let same = other.cast_exact::<PlaceState>().map(|other| {
                let waiter = this.waiter.get();
                waiter.is_some_and(|waiter| other.waiter.holds(&*waiter)) && this.wait == other.wait
            });
            Ok(match operation {
                value::EQUAL => same,
                value::NOT_EQUAL => same.map(|same| !same),
                _ => None,
            })
        })
        .hash(|this: &Place| this.waiter.get().map_or(0, |waiter| waiter.as_ptr() as isize >> 4))
        .build()
        .map(drop)
}
