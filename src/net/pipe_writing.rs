//! The transport that writes to a pipe, a FIFO, a terminal, another character device or a socket.
//!
//! The object that `connect_write_pipe` returns, and that a child's input goes through. Unlike a
//! stream transport it writes when it is told to, and not when the callback is over: a pipe takes
//! a write of up to PIPE_BUF bytes whole or not at all, so that several processes may share a FIFO,
//! and pipes in packet mode keep the borders of writes. What the kernel does not take waits, with
//! asyncio's flow control; the protocol may resume when all of it is gone.
//!
//! ```text
//!             close, nothing waits; abort; peer gone; an error
//!       ┌───────────────────────────────────────────────┐
//!       │                                               ▼   next turn
//!     Open ── close, bytes waiting ──► Closing        Ending ─────────► Closed
//!                                       │  │            ▲                 ▲
//!                                       │  └ abort, … ──┘                 │
//!                                       └── the last byte is written ─────┘
//! ```
//!
//! That the peer has gone shows in the descriptor becoming readable, so it is watched for that from
//! the beginning; terminals and other character devices are not. The transport is the descriptor's
//! endpoint for this. If it is not, because the device is none to watch or because another transport
//! reads from the same descriptor, a Handle waits for room.

use std::cell::Cell;
use std::os::fd::RawFd;

use reactor::Interest;
use rustix::io::{Errno, write};

use super::datagram::schedule;
use super::flow::{Limits, Writing};
use super::pending::{Pending, borrowed};
use super::pipe::{stock, take_over};
use super::report;
use super::transport::Life;
use crate::engine::asyncio::asyncio;
use crate::engine::current;
use crate::engine::endpoint::{Endpoint, MadeWay, Readiness};
use crate::engine::event_loop::{EventLoop, LoopState};
use crate::py::buffer::{Buffer, bytes, bytes_of, is_bytes_like, is_exact_bytes};
use crate::py::error::{fetch, is_fatal, is_kind, os_error, preserving, restore, warn_resource};
use crate::py::{
    Any, AsObject, BoundMethod, Builtin, Class, Managed, Object, Own, Raised, Res, Slot, Stop,
    TypeCell, Visitor, bound, context, create, dict_set, error, names, raise, track, type_error,
    value,
};

pub(crate) type WritePipe = Object<WritePipeState>;

/// From asyncio.constants: only then a lost write is worth a warning.
const LOG_THRESHOLD_FOR_CONNLOST_WRITES: u32 = 5;

const LOST: &str = "Fatal write error on pipe transport";

/// How room is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wait {
    Not,
    AsEndpoint,
    /// By the loop's `_add_writer`.
    ByHandle,
}

/// A writing transport's fields.
pub(crate) struct WritePipeState {
    pub(super) event_loop: Slot<EventLoop>,
    pub(super) protocol: Slot,
    /// The file object; none once it is closed.
    pub(super) pipe: Slot,
    /// In which is acted on the peer's going.
    read_context: Slot,
    /// In which the protocol hears that it may write again.
    write_context: Slot,
    pub(super) pending: Pending,
    pub(super) limits: Limits,
    pub(super) fd: Cell<RawFd>,
    tells_of_peer: Cell<bool>,
    interest: Cell<Interest>,
    pub(super) wait: Cell<Wait>,
    pub(super) life: Cell<Life>,
    /// asyncio's `_conn_lost`: writes that went nowhere are counted in it.
    pub(super) lost: Cell<u32>,
    pub(super) extra: Slot,
    dict: Slot,
    weakrefs: Managed,
    tracked: Cell<bool>,
}

static TYPE: TypeCell = TypeCell::new();

impl Class for WritePipeState {
    /// asyncio's name, by which reports and logs call its methods.
    const NAME: &'static std::ffi::CStr = c"aioxide._core._UnixWritePipeTransport";
    const FINALIZES: bool = true;

    fn cell() -> &'static TypeCell {
        &TYPE
    }
    fn tracked(&self) -> Option<&Cell<bool>> {
        Some(&self.tracked)
    }
    fn weakrefs(&self) -> Option<&Managed> {
        Some(&self.weakrefs)
    }
    fn traverse(object: &WritePipe, visitor: &Visitor) -> Result<(), Stop> {
        visitor.slot(&object.event_loop)?;
        for slot in object.slots() {
            visitor.slot(slot)?;
        }
        Ok(())
    }
    fn clear(object: &WritePipe) {
        for slot in object.slots() {
            slot.clear();
        }
    }
    fn leave(object: &WritePipe) {
        // SAFETY: a look at the loop, whose table forgets an object that is about to die.
        if let Some(event_loop) = unsafe { object.event_loop.peek() }
            && let Some(io) = event_loop.living_io()
        {
            io.detach(object.fd.get(), object);
        }
    }
    fn wants_finalizer(object: &WritePipe) -> bool {
        object.pipe.is_some()
    }
    fn finalize(object: &WritePipe) {
        if let Err(raised) = object.give_up() {
            error::unraisable(raised, object.as_any());
        }
    }
}

impl Endpoint for WritePipeState {
    /// asyncio lets a program watch the descriptor of a pipe transport, which then hears no more.
    const IS_TRANSPORT: bool = false;

    fn is_closing(this: &WritePipe) -> bool {
        this.life.get() != Life::Open
    }

    fn make_way(this: &WritePipe, sides: Interest) -> Option<MadeWay> {
        let before = this.interest.get();
        let waited = before.read && sides.read || before.write && sides.write;
        let remaining =
            Interest { read: before.read && !sides.read, write: before.write && !sides.write };
        if before.write && sides.write {
            this.wait.set(Wait::Not);
        }
        this.interest.set(remaining);
        Some(MadeWay { waited, remaining })
    }

    fn ready(this: &WritePipe, event_loop: &EventLoop, readiness: Readiness) -> Res<()> {
        current::withdraw(event_loop)?;
        if readiness.readable && this.interest.get().read {
            let (context, callback) = (&this.read_context, &names::READ_READY);
            this.within(event_loop, context, callback, WritePipe::peer_gone)?;
        }
        if readiness.writable && this.interest.get().write {
            let (context, callback) = (&this.write_context, &names::WRITE_READY);
            this.within(event_loop, context, callback, WritePipe::send_waiting)?;
        }
        Ok(())
    }
}

static START: BoundMethod = BoundMethod::new(c"_add_reader");
static WRITE_READY: BoundMethod = BoundMethod::new(c"_write_ready");
static CONNECTION_LOST: BoundMethod = BoundMethod::new(c"_call_connection_lost");

impl WritePipeState {
    fn slots(&self) -> [&Slot; 6] {
        [
            &self.protocol,
            &self.pipe,
            &self.read_context,
            &self.write_context,
            &self.extra,
            &self.dict,
        ]
    }

    pub(super) const fn dict_offset() -> usize {
        std::mem::offset_of!(WritePipeState, dict)
    }

    pub(super) const fn weakrefs_offset() -> usize {
        std::mem::offset_of!(WritePipeState, weakrefs)
    }

    /// Whether nobody has given it attributes of its own, which may be methods.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        !self.dict.is_some()
    }
}

impl WritePipe {
    /// A transport over a file object, which begins in a turn of its own, as asyncio's does.
    pub(super) fn make(
        event_loop: &Any,
        pipe: &Any,
        protocol: &Any,
        waiter: Option<&Any>,
        extra: Option<&Any>,
    ) -> Res<Own<WritePipe>> {
        let Some(event_loop) = event_loop.cast::<LoopState>() else {
            return Err(type_error("an aioxide transport needs an aioxide event loop"));
        };
        let extra = extra.map_or_else(|| value::dict_of(&[]), |extra| Ok(extra.own()))?;
        dict_set(&extra, names::PIPE.get(), pipe)?;
        let refusal = "Pipe transport is only for pipes, sockets and character devices";
        let descriptor = take_over(pipe, refusal)?;
        let this = create(|| WritePipeState {
            event_loop: Slot::new(event_loop.own()),
            protocol: Slot::new(protocol.own()),
            pipe: Slot::new(pipe.own()),
            read_context: Slot::empty(),
            write_context: Slot::empty(),
            pending: Pending::new(),
            limits: Limits::new(),
            fd: Cell::new(descriptor.fd),
            tells_of_peer: Cell::new(descriptor.tells_of_peer()),
            interest: Cell::new(Interest::NONE),
            wait: Cell::new(Wait::Not),
            life: Cell::new(Life::Open),
            lost: Cell::new(0),
            extra: Slot::new(extra),
            dict: Slot::empty(),
            weakrefs: Managed::new(),
            tracked: Cell::new(false),
        })?;
        track(&this);
        let made = protocol.attr(&names::CONNECTION_MADE)?;
        schedule(event_loop, &made, &[this.as_any()])?;
        if this.tells_of_peer.get() {
            // Only when the protocol knows of its transport, it hears of the peer's going.
            let start = bound(&START, &this, |this: &WritePipe, _: &Any| this.start())?;
            schedule(event_loop, &start, &[value::none_ref()])?;
        }
        if let Some(waiter) = waiter {
            let wake = &asyncio().set_result_unless_cancelled;
            schedule(event_loop, wake, &[waiter, value::none_ref()])?;
        }
        Ok(this)
    }

    /// Watches for the peer's going.
    fn start(&self) -> Res<()> {
        let Some(event_loop) = self.event_loop.get() else { return Ok(()) };
        if self.is_lost() || event_loop.is_closed() {
            return Ok(());
        }
        self.read_context.set(context::copy_current()?);
        // Whoever watches the descriptor last has it, as in asyncio.
        let (io, fd) = (event_loop.io()?, self.fd.get());
        for displaced in io.displace(fd, Interest::READ).into_iter().flatten() {
            displaced.cancel()?;
        }
        io.attach_anew(fd, self, Interest::READ).map_err(|failure| os_error(&failure))?;
        self.interest.set(Interest::READ);
        Ok(())
    }

    /// Waits for this from now on, as the descriptor's endpoint.
    fn want(&self, interest: Interest) -> Res<()> {
        if self.interest.replace(interest) == interest {
            return Ok(());
        }
        let Some(event_loop) = self.event_loop.get().filter(|it| !it.is_closed()) else {
            return Ok(());
        };
        let told = event_loop.io()?.set_interest(self.fd.get(), self, interest);
        told.map_err(|failure| os_error(&failure))
    }

    fn wait_for_room(&self) -> Res<()> {
        let Some(event_loop) = self.event_loop.get() else { return Ok(()) };
        if self.wait.get() != Wait::Not {
            return Ok(());
        }
        event_loop.check_closed()?;
        let fd = self.fd.get();
        if event_loop.io()?.endpoint_at(fd).is_some_and(|endpoint| endpoint.is(self)) {
            // The protocol hears of room in the context of whoever wrote what did not fit.
            self.write_context.set(context::copy_current()?);
            self.wait.set(Wait::AsEndpoint);
            return self.want(Interest { write: true, ..self.interest.get() });
        }
        let ready = bound(&WRITE_READY, self, |this: &WritePipe, _: &Any| this.send_waiting())?;
        let args: &[&Any] = &[&*value::int(i64::from(fd))?, &ready, value::none_ref()];
        event_loop.as_any().call_method(&names::ADD_WRITER_UNCHECKED, args)?;
        self.wait.set(Wait::ByHandle);
        Ok(())
    }

    fn stop_waiting(&self) -> Res<()> {
        match self.wait.replace(Wait::Not) {
            Wait::Not => Ok(()),
            Wait::AsEndpoint => {
                self.write_context.clear();
                self.want(Interest { write: false, ..self.interest.get() })
            }
            Wait::ByHandle => {
                let Some(event_loop) = self.event_loop.get() else { return Ok(()) };
                let fd = value::int(i64::from(self.fd.get()))?;
                event_loop.as_any().call_method(&names::REMOVE_WRITER_UNCHECKED, &[&fd]).map(drop)
            }
        }
    }

    /// Runs one of asyncio's callbacks in its context; what it raises is reported as it would be.
    fn within(
        &self,
        event_loop: &EventLoop,
        context: &Slot,
        callback: &'static names::Name,
        run: impl FnOnce(&WritePipe) -> Res<()>,
    ) -> Res<()> {
        let context = context.get().map_or_else(context::copy_current, Ok)?;
        context::enter(&context)?;
        let outcome = run(self);
        context::exit(&context);
        outcome.or_else(|raised| {
            let (this, class) = (self.as_any(), &stock().write_class);
            report::callback_failed(event_loop, this, class, callback, &[], &context, raised)
        })
    }

    /// `write(data)`.
    pub(crate) fn write(&self, data: &Any) -> Res<()> {
        if !is_bytes_like(data) {
            return Err(raise(Builtin::AssertionError.get(), &value::repr_of(data)?));
        }
        if !value::is_true(data)? {
            return Ok(());
        }
        if self.lost.get() > 0 || self.life.get() != Life::Open {
            return self.count_lost_write();
        }
        if is_exact_bytes(data) {
            let taken =
                if self.pending.is_empty() { self.try_write(bytes_of(data))? } else { Some(0) };
            return match taken {
                Some(taken) if taken < bytes_of(data).len() => self.put_aside(data.own(), taken),
                _ => Ok(()),
            };
        }
        let view = match Buffer::readable(data) {
            Ok(view) => view,
            Err(raised) => return self.write_failed(raised),
        };
        let slice = view.as_slice();
        let taken = if self.pending.is_empty() { self.try_write(slice)? } else { Some(0) };
        match taken {
            // Its owner may change it as soon as we return.
            Some(taken) if taken < slice.len() => self.put_aside(bytes(&slice[taken..])?, 0),
            _ => Ok(()),
        }
    }

    /// One write; how much the kernel took, unless that was an error, which has been seen to.
    #[inline]
    fn try_write(&self, data: &[u8]) -> Res<Option<usize>> {
        match write(borrowed(self.fd.get()), data) {
            Ok(taken) => Ok(Some(taken)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Some(0)),
            Err(errno) => self.write_failed(os_error(&errno.into())).map(|()| None),
        }
    }

    /// Keeps what the kernel did not take.
    fn put_aside(&self, data: Own<Any>, taken: usize) -> Res<()> {
        if self.pending.is_empty() {
            self.wait_for_room()?;
            self.pending.push_rest(data, taken);
        } else {
            self.pending.push(data);
        }
        self.maybe_pause_protocol()
    }

    #[cold]
    fn count_lost_write(&self) -> Res<()> {
        if self.lost.get() >= LOG_THRESHOLD_FOR_CONNLOST_WRITES {
            let text = "pipe closed by peer or os.write(pipe, data) raised exception.";
            asyncio().logger.call_method(&names::WARNING, &[&*value::string(text)?])?;
        }
        self.lost.set(self.lost.get().saturating_add(1));
        Ok(())
    }

    #[cold]
    fn write_failed(&self, raised: Raised) -> Res<()> {
        let exception = fetch(raised);
        if is_fatal(&exception) {
            return Err(restore(exception));
        }
        self.lost.set(self.lost.get().saturating_add(1));
        self.fatal_error(&exception)
    }

    /// There is room, or an error.
    fn send_waiting(&self) -> Res<()> {
        if self.is_lost() {
            return Ok(());
        }
        if let Err(failure) = self.pending.write(self.fd.get()) {
            self.pending.clear();
            self.stop_waiting()?;
            return self.write_failed(os_error(&failure));
        }
        if !self.pending.is_empty() {
            return Ok(());
        }
        self.stop_waiting()?;
        // May write more.
        self.maybe_resume_protocol()?;
        if self.life.get() == Life::Closing && self.pending.is_empty() {
            self.want(Interest::NONE)?;
            return self.connection_lost(value::none_ref());
        }
        Ok(())
    }

    /// Nobody will read any more.
    fn peer_gone(&self) -> Res<()> {
        report::log(&names::INFO, &self.event_loop, self.as_any(), "%r was closed by peer")?;
        if self.pending.is_empty() {
            self.force_close(value::none_ref())
        } else {
            self.force_close(&*Builtin::BrokenPipeError.get().call(&[])?)
        }
    }

    /// Whether `connection_lost` is scheduled or over.
    fn is_lost(&self) -> bool {
        self.life.get() >= Life::Ending
    }

    /// `write_eof()`, which is all that `close()` does, too.
    pub(super) fn write_eof(&self) -> Res<()> {
        if self.life.get() != Life::Open {
            return Ok(());
        }
        if !self.pending.is_empty() {
            self.life.set(Life::Closing);
            return Ok(());
        }
        self.life.set(Life::Ending);
        self.want(Interest::NONE)?;
        self.schedule_end(value::none_ref())
    }

    /// `abort()`, and what errors end in. Unlike asyncio's it may come after the end, and does nothing.
    pub(super) fn force_close(&self, exception: &Any) -> Res<()> {
        if self.is_lost() {
            return Ok(());
        }
        self.life.set(Life::Ending);
        self.pending.clear();
        self.stop_waiting()?;
        self.want(Interest::NONE)?;
        self.schedule_end(exception)
    }

    /// asyncio's `_fatal_error`.
    fn fatal_error(&self, exception: &Any) -> Res<()> {
        let (event_loop, this) = (&self.event_loop, self.as_any());
        if is_kind(exception, Builtin::OSError.get()) {
            report::log_error(event_loop, this, LOST, exception)?;
        } else {
            self.report_failure(LOST, exception)?;
        }
        self.force_close(exception)
    }

    fn schedule_end(&self, exception: &Any) -> Res<()> {
        let Some(event_loop) = self.event_loop.get() else { return Ok(()) };
        let end = bound(&CONNECTION_LOST, self, WritePipe::connection_lost)?;
        schedule(&event_loop, &end, &[exception])
    }

    /// Tells the protocol, then closes the pipe and lets go of everything.
    fn connection_lost(&self, exception: &Any) -> Res<()> {
        if self.life.replace(Life::Closed) == Life::Closed {
            return Ok(());
        }
        let protocol = self.protocol.get().unwrap_or_else(value::none);
        let told = protocol.call_method(&names::CONNECTION_LOST, &[exception]).map(drop);
        let mut closed = Ok(());
        preserving(|| {
            closed = self.close_pipe();
            self.event_loop.clear();
            self.protocol.clear();
            self.read_context.clear();
            self.write_context.clear();
        });
        told.and(closed)
    }

    fn close_pipe(&self) -> Res<()> {
        if let Some(event_loop) = self.event_loop.get() {
            if let Some(io) = event_loop.living_io() {
                io.detach(self.fd.get(), self);
            }
            super::listener::descriptor_freed(&event_loop);
        }
        match self.pipe.take() {
            Some(pipe) => pipe.call_method(&names::CLOSE, &[]).map(drop),
            None => Ok(()),
        }
    }

    /// `__del__` of a transport that nobody closed.
    fn give_up(&self) -> Res<()> {
        if !self.pipe.is_some() {
            return Ok(());
        }
        let text = format!("unclosed transport {}", value::repr_text(self.as_any()));
        let warned = warn_resource(self.as_any(), &text);
        let mut closed = Ok(());
        preserving(|| closed = self.close_pipe());
        warned.and(closed)
    }
}

impl Writing for WritePipe {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn size(&self) -> usize {
        self.pending.size()
    }

    fn told(&self) -> Option<Own<Any>> {
        self.protocol.get()
    }

    fn report_failure(&self, message: &str, exception: &Any) -> Res<()> {
        report::report(&self.event_loop, self.as_any(), &self.protocol, message, exception)
    }
}
