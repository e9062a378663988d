//! Name resolution: questions go to threads that need no GIL, answers come back into the loop.
//!
//! A loop's [`Lookups`] remembers which Future waits for which answer. While there is any, it is an
//! endpoint on the descriptor of its [`mailbox`], into which the threads of the [`pool`] put what
//! the C library's resolver said; in a turn of the loop the answers become Python objects and
//! settle their Futures. Who stops waiting abandons the question: nobody asks it any more, or its
//! answer is thrown away. What a question is, and when it goes to the `socket` module in a thread of
//! Python's instead, is decided in `aioxide.resolver`.

mod mailbox;
mod pool;
mod question;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_int};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mailbox::Mailbox;
use pool::Request;
use question::{Answer, Names, Number, Question};
use reactor::Interest;

use super::address::from_kernel;
use crate::engine::current;
use crate::engine::endpoint::{Endpoint, Readiness};
use crate::engine::event_loop::{EventLoop, LoopState};
use crate::py::buffer::bytes_content;
use crate::py::error::{fetch, os_error};
use crate::py::module::Module;
use crate::py::{
    Any, Args, AsObject, Builder, Class, Global, Object, Own, Res, Slot, Stop, TypeCell, Visitor,
    import, names, type_error, value,
};

type Lookups = Object<LookupsState>;

struct Waiting {
    future: Own<Any>,
    abandoned: Arc<AtomicBool>,
}

/// A loop's questions.
struct LookupsState {
    /// Set while an answer is awaited, and only then: nothing keeps an idle loop alive.
    event_loop: Slot<EventLoop>,
    mailbox: RefCell<Option<Arc<Mailbox>>>,
    waiting: RefCell<HashMap<u64, Waiting>>,
    next_ticket: Cell<u64>,
}

static TYPE: TypeCell = TypeCell::new();

/// `socket.gaierror`.
static GAIERROR: Global<Own<Any>> = Global::new();

impl LookupsState {
    fn blank() -> LookupsState {
        LookupsState {
            event_loop: Slot::empty(),
            mailbox: RefCell::new(None),
            waiting: RefCell::new(HashMap::new()),
            next_ticket: Cell::new(0),
        }
    }
}

impl Class for LookupsState {
    const NAME: &'static CStr = c"aioxide._core.Lookups";

    fn cell() -> &'static TypeCell {
        &TYPE
    }
    fn traverse(object: &Lookups, visitor: &Visitor) -> Result<(), Stop> {
        visitor.slot(&object.event_loop)?;
        object.waiting.borrow().values().try_for_each(|waiting| visitor.object(&*waiting.future))
    }
    fn clear(object: &Lookups) {
        object.close();
    }
    fn leave(object: &Lookups) {
        let fd = object.mailbox.borrow().as_ref().map(|mailbox| mailbox.fd());
        // SAFETY: a look at the loop, whose table forgets an object that is about to die.
        if let Some(event_loop) = unsafe { object.event_loop.peek() }
            && let (Some(io), Some(fd)) = (event_loop.living_io(), fd)
        {
            io.detach(fd, object);
        }
    }
}

impl Endpoint for LookupsState {
    const IS_TRANSPORT: bool = false;

    fn ready(this: &Lookups, event_loop: &EventLoop, _: Readiness) -> Res<()> {
        current::withdraw(event_loop)?;
        let Some(mailbox) = this.mailbox.borrow().clone() else { return Ok(()) };
        if mailbox.is_foreign() {
            this.detach();
            return Ok(());
        }
        let mut outcome = Ok(());
        for (ticket, answer) in mailbox.take() {
            let waiting = this.waiting.borrow_mut().remove(&ticket);
            if let Some(waiting) = waiting {
                outcome = settle(&waiting.future, answer).and(outcome);
            }
        }
        this.rest_if_idle();
        outcome
    }
}

impl Lookups {
    /// Asks, for a Future of this loop; returns the ticket with which the question is abandoned.
    fn ask(&self, event_loop: &EventLoop, future: &Any, question: Question) -> Res<i64> {
        let mailbox = self.own_mailbox()?;
        let ticket = self.next_ticket.get();
        self.next_ticket.set(ticket + 1);
        let abandoned = Arc::new(AtomicBool::new(false));
        let request = Request { question, ticket, home: mailbox, abandoned: abandoned.clone() };
        if !self.event_loop.is_some() {
            self.attach(event_loop, request.home.fd())?;
        }
        let waiting = Waiting { future: future.own(), abandoned };
        self.waiting.borrow_mut().insert(ticket, waiting);
        if let Err(failure) = pool::submit(request) {
            self.abandon(ticket);
            return Err(os_error(&failure));
        }
        Ok(ticket as i64)
    }

    /// The mailbox; a forked child makes its own.
    fn own_mailbox(&self) -> Res<Arc<Mailbox>> {
        let known = self.mailbox.borrow().clone();
        if let Some(mailbox) = known {
            if !mailbox.is_foreign() {
                return Ok(mailbox);
            }
            self.close();
        }
        let mailbox = Arc::new(Mailbox::new().map_err(|failure| os_error(&failure))?);
        self.mailbox.replace(Some(mailbox.clone()));
        Ok(mailbox)
    }

    fn attach(&self, event_loop: &EventLoop, fd: i32) -> Res<()> {
        let io = event_loop.io()?;
        io.attach(fd, self);
        self.event_loop.set(event_loop.own());
        io.set_interest(fd, self, Interest::READ).map_err(|failure| {
            self.detach();
            os_error(&failure)
        })
    }

    fn detach(&self) {
        let Some(event_loop) = self.event_loop.take() else { return };
        let fd = self.mailbox.borrow().as_ref().map(|mailbox| mailbox.fd());
        if let (Some(io), Some(fd)) = (event_loop.living_io(), fd) {
            io.detach(fd, self);
        }
    }

    fn rest_if_idle(&self) {
        if self.waiting.borrow().is_empty() {
            self.detach();
        }
    }

    fn abandon(&self, ticket: u64) {
        let waiting = self.waiting.borrow_mut().remove(&ticket);
        if let Some(waiting) = waiting {
            waiting.abandoned.store(true, Ordering::Relaxed);
            self.rest_if_idle();
        }
    }

    /// Abandons everything; the Futures stay as they are.
    fn close(&self) {
        self.detach();
        let waiting = self.waiting.take();
        for waiting in waiting.values() {
            waiting.abandoned.store(true, Ordering::Relaxed);
        }
        if let Some(mailbox) = self.mailbox.take() {
            mailbox.close();
        }
    }
}

fn settle(future: &Any, answer: Answer) -> Res<()> {
    if value::is_true(&*future.call_method(&names::DONE, &[])?)? {
        return Ok(());
    }
    match result(answer) {
        Ok(result) => future.call_method(&names::SET_RESULT, &[&result]).map(drop),
        Err(raised) => {
            let exception = fetch(raised);
            future.call_method(&names::SET_EXCEPTION, &[&exception]).map(drop)
        }
    }
}

/// What Python gets: a list of tuples, a tuple of two texts, an exception, or None for an answer
/// that only the `socket` module can give.
fn result(answer: Answer) -> Res {
    match answer {
        Answer::Addresses(addresses) => {
            let list = value::list()?;
            for found in addresses {
                let Some(canonical) = text(&found.canonical)? else { return Ok(value::none()) };
                let number = |number: c_int| value::int(i64::from(number));
                let entry = value::tuple(&[
                    &*number(found.family)?,
                    &*number(found.kind)?,
                    &*number(found.protocol)?,
                    &*canonical,
                    &*from_kernel(&found.address)?,
                ])?;
                value::append(&list, &entry)?;
            }
            Ok(list)
        }
        Answer::Name(host, service) => match (text(&host)?, text(&service)?) {
            (Some(host), Some(service)) => value::tuple(&[&*host, &*service]),
            _ => Ok(value::none()),
        },
        Answer::Refused(code) => {
            // SAFETY: a text of the C library's, for every code, that is never freed.
            let reason = unsafe { CStr::from_ptr(libc::gai_strerror(code)) };
            let code = value::int(i64::from(code))?;
            let reason = value::string(&reason.to_string_lossy())?;
            Err(crate::py::error::raise_instance(&*GAIERROR.get().call(&[&code, &reason])?))
        }
        Answer::Failed(error) => Err(os_error(&error)),
        Answer::Unclear => Ok(value::none()),
    }
}

/// ASCII as text: with anything else `socket` has its own ways, which differ by version.
fn text(content: &[u8]) -> Res<Option<Own<Any>>> {
    match std::str::from_utf8(content) {
        Ok(text) if text.is_ascii() => value::string(text).map(Some),
        _ => Ok(None),
    }
}

fn c_text(object: &Any) -> Res<CString> {
    bytes_content(object)
        .and_then(|content| CString::new(content).ok())
        .ok_or_else(|| type_error("bytes without NUL are expected"))
}

fn optional_text(object: &Any) -> Res<Option<CString>> {
    if object.is_none() { Ok(None) } else { c_text(object).map(Some) }
}

fn number(object: &Any) -> Res<c_int> {
    c_int::try_from(value::as_int(object)?).map_err(|_| type_error("a C int is expected"))
}

fn names_of(args: &[&Any]) -> Res<Names> {
    let [host, service, family, kind, protocol, flags] = args else {
        return Err(type_error("six arguments are expected"));
    };
    Ok(Names {
        host: optional_text(host)?,
        service: optional_text(service)?,
        family: number(family)?,
        kind: number(kind)?,
        protocol: number(protocol)?,
        flags: number(flags)?,
    })
}

fn number_of(args: &[&Any]) -> Res<Number> {
    let [host, port, flow, scope, items, flags] = args else {
        return Err(type_error("six arguments are expected"));
    };
    Ok(Number {
        host: c_text(host)?,
        port: c_text(port)?,
        flow: value::as_int(flow)? as u32,
        scope: value::as_int(scope)? as u32,
        items: value::as_int(items)? as usize,
        flags: number(flags)?,
    })
}

/// The loop, the Future and the rest of an asking method's arguments.
fn asking<'a>(args: &Args<'a>) -> Res<(&'a EventLoop, &'a Any, &'a [&'a Any])> {
    if let [event_loop, future, rest @ ..] = args.positional
        && let Some(event_loop) = event_loop.cast::<LoopState>()
    {
        return Ok((event_loop, future, rest));
    }
    Err(type_error("a loop of aioxide and a Future are expected"))
}

/// Makes the type and adds it to the module.
pub(super) fn add_to(module: &Module<'_>) -> Res<()> {
    GAIERROR.fill(import(c"socket", c"gaierror")?);
    module.add(c"Lookups", build()?)?;
    module.function(
        c"literal_addresses",
        c"literal_addresses(host, service, family, type, proto, flags, /)\n--\n\nWhat getaddrinfo() says of a numeric host and port; None if they are not numeric.",
        |_, args: Args<'_>| match names_of(args.positional)?.ask_literally() {
            found @ Answer::Addresses(_) => result(found),
            _ => Ok(value::none()),
        },
    )?;
    module.function(
        c"literal_name",
        c"literal_name(host, port, flow, scope, items, flags, /)\n--\n\nWhat getnameinfo() says when numbers are asked for; None where it says nothing clear.",
        |_, args: Args<'_>| match number_of(args.positional)?.ask() {
            found @ Answer::Name(..) => result(found),
            _ => Ok(value::none()),
        },
    )
}

fn build() -> Res<&'static Any> {
    Builder::<LookupsState>::new(c"Lookups()\n--\n\nThe questions that a loop asked the resolver.")
        .blank(LookupsState::blank)
        .args(
            c"ask_addresses",
            c"ask_addresses($self, loop, future, host, service, family, type, proto, flags, /)\n--\n\nAsk getaddrinfo() in a thread; return a ticket.",
            |this: &Lookups, args: Args<'_>| {
                let (event_loop, future, rest) = asking(&args)?;
                this.ask(event_loop, future, Question::Names(names_of(rest)?))
            },
        )
        .args(
            c"ask_name",
            c"ask_name($self, loop, future, host, port, flow, scope, items, flags, /)\n--\n\nAsk getnameinfo() in a thread; return a ticket.",
            |this: &Lookups, args: Args<'_>| {
                let (event_loop, future, rest) = asking(&args)?;
                this.ask(event_loop, future, Question::Number(number_of(rest)?))
            },
        )
        .one(
            c"abandon",
            c"abandon($self, ticket, /)\n--\n\nThe answer to this question is not wanted any more.",
            |this: &Lookups, ticket: &Any| value::as_int(ticket).map(|ticket| this.abandon(ticket as u64)),
        )
        .noargs(
            c"close",
            c"close($self, /)\n--\n\nAbandon all questions.",
            |this: &Lookups| this.close(),
        )
        .build()
}
