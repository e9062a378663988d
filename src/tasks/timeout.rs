//! Timeout: a deadline for a part of a Task.
//!
//! On a loop of ours the object itself lies in the timer heap and, once due, in the ready queue:
//! no handle and no callback. Elsewhere it asks the loop's `call_at` as asyncio does. Cancelling
//! cannot take anything out of the ready queue; so entries there that no longer count are counted,
//! and skipped as they come up.

use std::cell::Cell;

use super::any_future;
use super::coroutine::{Behaviour, coroutine};
use super::task::TaskState;
use crate::engine::asyncio::{asyncio, is_cancelled_error};
use crate::engine::current;
use crate::engine::event_loop::{EventLoop, TimerEntry};
use crate::py::function::{add_to_class, function, method, model_of};
use crate::py::module::Module;
use crate::py::{
    Any, Args, AsObject, BoundMethod, Builder, Builtin, Class, Managed, Object, Own, Pool, Res,
    Sent, Signature, Slot, Stop, TypeCell, Visitor, bound, create, error, names, raise,
    runtime_error, value,
};

pub(crate) type Timeout = Object<TimeoutState>;

/// A Timeout's fields.
pub(crate) struct TimeoutState {
    state: Cell<State>,
    position: Cell<u32>,
    /// How many entries in the ready queue are to be skipped.
    stale: Cell<u32>,
    /// Whether one there counts.
    due: Cell<bool>,
    cancelling: Cell<i64>,
    /// The deadline, and the object that said it, which is made when somebody asks.
    deadline: Cell<Option<f64>>,
    when: Slot,
    task: Slot,
    /// The loop in whose heap this lies, or the handle that another loop gave.
    event_loop: Slot<EventLoop>,
    handle: Slot,
    dict: Slot,
    weakrefs: Managed,
    tracked: Cell<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Created,
    Entered,
    Expiring,
    Expired,
    Exited,
}

impl State {
    fn text(self) -> &'static str {
        match self {
            State::Created => "created",
            State::Entered => "active",
            State::Expiring => "expiring",
            State::Expired => "expired",
            State::Exited => "finished",
        }
    }
}

static TYPE: TypeCell = TypeCell::new();
static POOL: Pool = Pool::new(256);
static ON_TIMEOUT: BoundMethod = BoundMethod::new(c"_on_timeout");

impl Class for TimeoutState {
    const NAME: &'static std::ffi::CStr = c"aioxide.Timeout";

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
    fn traverse(object: &Timeout, visitor: &Visitor) -> Result<(), Stop> {
        visitor.slot(&object.when)?;
        visitor.slot(&object.task)?;
        visitor.slot(&object.event_loop)?;
        visitor.slot(&object.handle)?;
        visitor.slot(&object.dict)
    }
    fn clear(object: &Timeout) {
        object.task.clear();
        object.event_loop.clear();
        object.handle.clear();
        object.dict.clear();
    }
}

impl TimeoutState {
    fn new(when: Option<Own<Any>>) -> TimeoutState {
        TimeoutState {
            state: Cell::new(State::Created),
            position: Cell::new(reactor::NOWHERE),
            stale: Cell::new(0),
            due: Cell::new(false),
            cancelling: Cell::new(0),
            deadline: Cell::new(None),
            when: Slot::some(when),
            task: Slot::empty(),
            event_loop: Slot::empty(),
            handle: Slot::empty(),
            dict: Slot::empty(),
            weakrefs: Managed::new(),
            tracked: Cell::new(false),
        }
    }
}

impl Timeout {
    #[inline(always)]
    pub(crate) fn position(&self) -> u32 {
        self.position.get()
    }

    #[inline(always)]
    pub(crate) fn set_position(&self, position: u32) {
        self.position.set(position);
    }

    /// Enters: from now on the current Task is watched.
    #[inline]
    pub(super) fn enter(&self) -> Res<()> {
        if self.state.get() != State::Created {
            return Err(runtime_error("Timeout has already been entered"));
        }
        let Some(task) = current::task(current::running())? else {
            return Err(runtime_error("Timeout should be used inside a task"));
        };
        self.state.set(State::Entered);
        crate::py::track(self);
        self.cancelling.set(match task.cast_exact::<TaskState>() {
            Some(native) => i64::from(native.cancel_requests.get()),
            None => value::as_int(&*task.call_method(&names::CANCELLING, &[])?)?,
        });
        self.task.set(task);
        self.schedule()
    }

    /// `when()`.
    fn when(&self) -> Res<Option<Own<Any>>> {
        if let Some(deadline) = self.deadline.get()
            && !self.when.is_some()
        {
            self.when.set(value::float(deadline)?);
        }
        Ok(self.when.get())
    }

    fn reschedule(&self, when: Option<Own<Any>>) -> Res<()> {
        if self.state.get() != State::Entered {
            return Err(runtime_error(&if self.state.get() == State::Created {
                "Timeout has not been entered".to_owned()
            } else {
                format!("Cannot change state of {} Timeout", self.state.get().text())
            }));
        }
        self.deadline.set(None);
        self.when.put(when);
        self.unschedule()?;
        self.schedule()
    }

    #[inline]
    fn schedule(&self) -> Res<()> {
        if self.deadline.get().is_none() && !self.when.is_some() {
            return Ok(());
        }
        let Some(event_loop) = current::running().filter(|running| running.is_standard()) else {
            let when = self.when()?;
            return self.schedule_elsewhere(&when.unwrap_or_else(value::none));
        };
        let deadline = match (self.deadline.get(), self.when.get()) {
            (Some(deadline), _) => deadline,
            (None, when) => value::as_float(&when.unwrap_or_else(value::none))?,
        };
        event_loop.check_can_schedule()?;
        if deadline <= reactor::monotonic() {
            self.due.set(true);
            event_loop.ready().push_expired(self.own());
            return Ok(());
        }
        self.event_loop.set(event_loop.own());
        event_loop.add_timer(deadline, TimerEntry::timeout(self.own()));
        Ok(())
    }

    #[cold]
    fn schedule_elsewhere(&self, when: &Any) -> Res<()> {
        let event_loop = asyncio().get_running_loop.call(&[])?;
        let callback = bound(&ON_TIMEOUT, self, |this: &Timeout, _: &Any| this.on_timeout())?;
        let now = value::as_float(&*event_loop.call_method(&names::TIME, &[])?)?;
        let none = value::none_ref();
        self.handle.set(if value::as_float(when)? <= now {
            event_loop.call_method(&names::CALL_SOON, &[&callback, none])?
        } else {
            event_loop.call_method(&names::CALL_AT, &[when, &callback, none])?
        });
        Ok(())
    }

    #[inline]
    fn unschedule(&self) -> Res<()> {
        if self.due.replace(false) {
            self.stale.set(self.stale.get() + 1);
        }
        if let Some(event_loop) = self.event_loop.take() {
            if self.position.get() == reactor::NOWHERE {
                // The heap let go of it, the ready queue has it.
                self.stale.set(self.stale.get() + 1);
            } else {
                drop(event_loop.remove_timer(self.position.get()));
            }
        }
        if let Some(handle) = self.handle.take() {
            handle.call_method(&names::CANCEL, &[])?;
        }
        Ok(())
    }

    /// The ready queue has come to it.
    pub(crate) fn expire(&self) -> Res<()> {
        if self.stale.get() > 0 {
            self.stale.set(self.stale.get() - 1);
            return Ok(());
        }
        self.due.set(false);
        self.event_loop.clear();
        self.on_timeout()
    }

    fn on_timeout(&self) -> Res<()> {
        if let Some(task) = self.task.get() {
            any_future::cancel(&task, None)?;
        }
        self.state.set(State::Expiring);
        self.handle.clear();
        Ok(())
    }

    /// Leaves, with the exception that the body ended with. Returns whether that is now a
    /// TimeoutError, which is raised.
    #[inline]
    pub(super) fn exit(&self, exception: Option<&Any>) -> Res<()> {
        self.unschedule()?;
        match self.state.get() {
            State::Expiring => self.exit_expired(exception),
            State::Entered => {
                self.state.set(State::Exited);
                Ok(())
            }
            _ => Err(raise(Builtin::AssertionError.get(), "")),
        }
    }

    #[cold]
    fn exit_expired(&self, exception: Option<&Any>) -> Res<()> {
        self.state.set(State::Expired);
        let Some(task) = self.task.get() else { return Ok(()) };
        let requests = match task.cast_exact::<TaskState>() {
            Some(native) => native.uncancel(),
            None => value::as_int(&*task.call_method(&names::UNCANCEL, &[])?)?,
        };
        let Some(exception) = exception else { return Ok(()) };
        if requests > self.cancelling.get() {
            return Ok(());
        }
        if is_ours_to_turn(exception) {
            let timed_out = Builtin::TimeoutError.get().call(&[])?;
            if value::is_exception(exception) {
                value::set_cause(&timed_out, exception);
            }
            return Err(error::restore(timed_out));
        }
        if cfg!(Py_3_13) && value::is_exception(exception) {
            insert_timeout_error(exception)?;
            if error::is_kind(exception, &asyncio().exception_group) {
                let inner = exception.attr(&names::EXCEPTIONS)?;
                for exception in value::tuple_items(&inner) {
                    insert_timeout_error(exception)?;
                }
            }
        }
        Ok(())
    }
}

/// Whether this is the CancelledError that the expiry caused. Up to 3.12 its subclasses do not
/// count.
fn is_ours_to_turn(exception: &Any) -> bool {
    if cfg!(Py_3_13) {
        return is_cancelled_error(exception);
    }
    let class = &asyncio().cancelled_error;
    exception.is(&**class) || exception.type_ptr().cast() == class.as_ptr()
}

/// Puts a TimeoutError before the CancelledError in the chain of contexts.
fn insert_timeout_error(exception: &Any) -> Res<()> {
    let mut exception = exception.own();
    while let Some(context) = value::context_of(&exception) {
        if is_cancelled_error(&context) {
            let timed_out = Builtin::TimeoutError.get().call(&[])?;
            value::set_cause(&timed_out, &context);
            value::set_context(&exception, &timed_out);
            break;
        }
        exception = context;
    }
    Ok(())
}

static ENTER: Behaviour = Behaviour {
    qualname: "Timeout.__aenter__",
    resume: |this, _| {
        let timeout = this.owner_as::<TimeoutState>()?;
        timeout.enter()?;
        Ok(Sent::Returned(timeout.into_any()))
    },
};
static EXIT: Behaviour = Behaviour {
    qualname: "Timeout.__aexit__",
    resume: |this, _| {
        let exception = this.item.get();
        this.owner_as::<TimeoutState>()?.exit(exception.as_deref())?;
        super::coroutine::returned_none()
    },
};

static INIT: Signature<1> =
    Signature { method: "Timeout", names: [&names::WHEN], positional: 1, required: 1 };
static RESCHEDULE: Signature<1> =
    Signature { method: "reschedule", names: [&names::WHEN], positional: 1, required: 1 };
static TIMEOUT: Signature<1> =
    Signature { method: "timeout", names: [&names::DELAY], positional: 1, required: 1 };
static TIMEOUT_AT: Signature<1> =
    Signature { method: "timeout_at", names: [&names::WHEN], positional: 1, required: 1 };

fn given(argument: Option<&Any>) -> Option<Own<Any>> {
    argument.filter(|argument| !argument.is_none()).map(AsObject::own)
}

/// A new one.
#[inline]
fn make(when: Option<Own<Any>>) -> Res<Own<Timeout>> {
    create(|| TimeoutState::new(when))
}

/// `timeout(delay)`.
#[inline]
pub(super) fn after(delay: Option<f64>) -> Res<Own<Timeout>> {
    let now = match current::running() {
        Some(event_loop) if event_loop.is_standard() => reactor::monotonic(),
        _ => {
            let event_loop = asyncio().get_running_loop.call(&[])?;
            if delay.is_none() {
                return make(None);
            }
            value::as_float(&*event_loop.call_method(&names::TIME, &[])?)?
        }
    };
    match delay {
        None => make(None),
        Some(delay) => {
            let timeout = make(None)?;
            timeout.deadline.set(Some(now + delay));
            Ok(timeout)
        }
    }
}

fn repr(this: &Timeout) -> Res<String> {
    let state = this.state.get();
    let info = if state == State::Entered {
        match this.when()? {
            Some(when) if value::is_int(&when) => format!(" when={}", value::repr_text(&when)),
            Some(when) => {
                let rounded = (value::as_float(&when)? * 1000.0).round() / 1000.0;
                format!(" when={}", value::repr_text(&*value::float(rounded)?))
            }
            None => " when=None".to_owned(),
        }
    } else {
        String::new()
    };
    Ok(format!("<Timeout [{}]{info}>", state.text()))
}

/// Makes the type and the functions.
pub(super) fn add_to(module: &Module<'_>) -> Res<()> {
    let class = Builder::<TimeoutState>::new(
        c"Timeout(when)\n--\n\nAn asynchronous context manager that cancels what runs in it at a given time.\n\nMade by timeout() and timeout_at().",
    )
    .subclassable()
    .dict(std::mem::offset_of!(TimeoutState, dict))
    .weakrefs(std::mem::offset_of!(TimeoutState, weakrefs))
    .blank(|| TimeoutState::new(None))
    .init(|this: &Timeout, args: Args<'_>| {
        let [when] = args.bind(&INIT)?;
        this.when.put(given(when));
        Ok(())
    })
    .repr(repr)
    .noargs(c"when", c"when($self, /)\n--\n\nReturn the current deadline.", |this: &Timeout| {
        this.when()
    })
    .args(
        c"reschedule",
        c"reschedule($self, when)\n--\n\nReschedule the timeout.",
        |this: &Timeout, args: Args<'_>| {
            let [when] = args.bind(&RESCHEDULE)?;
            this.reschedule(given(when))
        },
    )
    .noargs(
        c"expired",
        c"expired($self, /)\n--\n\nIs timeout expired during execution?",
        |this: &Timeout| matches!(this.state.get(), State::Expiring | State::Expired),
    )
    .noargs(c"_on_timeout", c"_on_timeout($self, /)\n--\n\n", |this: &Timeout| this.on_timeout())
    .getter(c"_task", |this: &Timeout| this.task.get())
    .getter(c"_when", |this: &Timeout| this.when())
    .getter(c"_state", |this: &Timeout| {
        asyncio().timeout_states.call(&[&*value::string(this.state.get().text())?])
    })
    .build()?;
    let model = asyncio().timeouts.attr(&names::TIMEOUT_CLASS)?;
    let enter = method(model_of(&model, &names::AENTER)?, |this: &Timeout, _: Args<'_>| {
        coroutine(&ENTER, Some(this.own().into_any()), None)
    })?;
    add_to_class(class, &names::AENTER, &enter)?;
    let exit = method(model_of(&model, &names::AEXIT)?, |this: &Timeout, args: Args<'_>| {
        let exception = super::coroutine::exit_exception(&args, "Timeout.__aexit__")?;
        coroutine(&EXIT, Some(this.own().into_any()), exception)
    })?;
    add_to_class(class, &names::AEXIT, &exit)?;
    module.add(c"Timeout", class)?;
    let timeout = function(asyncio().timeouts.attr(&names::TIMEOUT)?, |args: Args<'_>| {
        let [delay] = args.bind(&TIMEOUT)?;
        after(match delay {
            Some(delay) if !delay.is_none() => Some(value::as_float(delay)?),
            _ => None,
        })
    })?;
    module.add(c"timeout", &timeout)?;
    let timeout_at = function(asyncio().timeouts.attr(&names::TIMEOUT_AT)?, |args: Args<'_>| {
        let [when] = args.bind(&TIMEOUT_AT)?;
        make(given(when))
    })?;
    module.add(c"timeout_at", &timeout_at)
}
