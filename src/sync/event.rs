//! Event: a flag that Tasks can wait for.

use std::cell::Cell;

use super::bound::LoopBound;
use super::methods::add_async_methods;
use super::waiters::{Waiters, repr_with_state, waiters_text};
use crate::py::error::restore;
use crate::py::{
    Any, Args, AsObject, Builder, Class, Managed, Object, Own, Res, Sent, Signature, Slot, Stop,
    TypeCell, Visitor, import, names, value,
};
use crate::tasks::coroutine::{Behaviour, Coroutine, Shown, coroutine};

pub(crate) type Event = Object<EventState>;

/// An Event's fields.
pub(crate) struct EventState {
    set: Cell<bool>,
    waiters: Waiters,
    bound: LoopBound,
    dict: Slot,
    weakrefs: Managed,
}

static TYPE: TypeCell = TypeCell::new();

impl Class for EventState {
    const NAME: &'static std::ffi::CStr = c"aioxide.Event";

    fn cell() -> &'static TypeCell {
        &TYPE
    }
    fn weakrefs(&self) -> Option<&Managed> {
        Some(&self.weakrefs)
    }
    fn traverse(object: &Event, visitor: &Visitor) -> Result<(), Stop> {
        object.waiters.visit(visitor)?;
        object.bound.visit(visitor)?;
        visitor.slot(&object.dict)
    }
    fn clear(object: &Event) {
        object.waiters.clear();
        object.bound.clear();
        object.dict.clear();
    }
}

impl EventState {
    fn blank() -> EventState {
        EventState {
            set: Cell::new(false),
            waiters: Waiters::new(),
            bound: LoopBound::new(),
            dict: Slot::empty(),
            weakrefs: Managed::new(),
        }
    }
}

static INIT: Signature<0> =
    Signature { method: "Event.__init__", names: [], positional: 0, required: 0 };
static NO_ARGUMENTS: Signature<0> =
    Signature { method: "Event.wait", names: [], positional: 0, required: 0 };

static WAIT: Behaviour = Behaviour { qualname: "Event.wait", resume: resume_wait };

/// The place of a coroutine that waits for the flag.
const WAITING: u8 = 1;

fn resume_wait(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    let event = this.owner_as::<EventState>()?;
    if this.place.get() == WAITING {
        let _left = event.waiters.remove(this);
        return match exception {
            Some(exception) => Err(restore(exception)),
            // Even if the flag was cleared meanwhile: it was set.
            None => Ok(Sent::Returned(value::boolean(true))),
        };
    }
    if event.set.get() {
        return Ok(Sent::Returned(value::boolean(true)));
    }
    event.bound.check(event.as_any())?;
    event.waiters.push(this);
    this.place.set(WAITING);
    this.wait_for(Shown::True)
}

fn set(this: &Event) -> Res<()> {
    if this.set.replace(true) { Ok(()) } else { this.waiters.wake_pending(usize::MAX) }
}

fn repr(this: &Event) -> Res<String> {
    let state = if this.set.get() { "set" } else { "unset" };
    repr_with_state(this.as_any(), &format!("{state}{}", waiters_text(&this.waiters)))
}

/// Makes the type.
pub(super) fn build() -> Res<&'static Any> {
    let class = Builder::<EventState>::new(
        c"Event()\n--\n\nA flag that tasks can wait for.\n\nThe flag is false at first. set() makes it true and lets all who wait() go on, clear() makes it\nfalse again.",
    )
    .subclassable()
    .dict(std::mem::offset_of!(EventState, dict))
    .weakrefs(std::mem::offset_of!(EventState, weakrefs))
    .blank(EventState::blank)
    .init(|this: &Event, args: Args<'_>| {
        args.bind(&INIT)?;
        this.set.set(false);
        Ok(())
    })
    .repr(repr)
    .noargs(
        c"is_set",
        c"is_set($self, /)\n--\n\nReturn True if and only if the internal flag is true.",
        |this: &Event| this.set.get(),
    )
    .noargs(
        c"set",
        c"set($self, /)\n--\n\nSet the internal flag to true and wake all tasks that wait for it.",
        set,
    )
    .noargs(
        c"clear",
        c"clear($self, /)\n--\n\nReset the internal flag to false; who calls wait() from now on waits.",
        |this: &Event| this.set.set(false),
    )
    .getter(c"_waiters", |this: &Event| this.waiters.as_deque())
    .property(
        c"_loop",
        |this: &Event| this.bound.get(),
        |this: &Event, event_loop: &Any| this.bound.set(event_loop),
    )
    .property(
        c"_value",
        |this: &Event| this.set.get(),
        |this: &Event, flag: &Any| {
            this.set.set(value::is_true(flag)?);
            Ok(())
        },
    )
    .build()?;
    let model = import(c"asyncio.locks", c"Event")?;
    add_async_methods(class, &model, &names::WAIT, |this: &Event, args: Args<'_>| {
        args.bind(&NO_ARGUMENTS)?;
        coroutine(&WAIT, Some(this.own().into_any()), None)
    })?;
    Ok(class)
}
