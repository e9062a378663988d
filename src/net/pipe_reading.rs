//! The transport that reads from a pipe, a FIFO, a terminal, another character device or a socket.
//!
//! The object that `connect_read_pipe` returns, and that a child's output comes through. One `read`
//! for each event, straight into bytes; or past the protocol into a StreamReader, as `streaming`
//! says: that of a StreamReaderProtocol, or one that it was given with `_feed_reader`, which is how
//! a child's output spares three calls and a turn of the loop.
//!
//! ```text
//!           end of the stream; close; an error
//!     Open ─────────────────────────────────► Ending ─────────► Closed
//!                                               (a turn of its own)
//! ```
//!
//! Reading happens in Open only, and there not while paused. A second `close` does nothing. An
//! exception in `data_received` is the program's own affair, as it is for asyncio: it is reported, and
//! reading goes on.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;

use reactor::Interest;
use rustix::io::{Errno, read};
use rustix::pipe::fcntl_setpipe_size;

use super::datagram::schedule;
use super::pending::borrowed;
use super::pipe::{Manner, stock, take_over};
use super::reading::{Arrival, LARGE, MAX_SIZE, Source, guess_room, receive};
use super::report;
use super::streaming::{self, Fed, Feeder};
use super::transport::Life;
use crate::engine::asyncio::asyncio;
use crate::engine::current;
use crate::engine::endpoint::{Endpoint, MadeWay, Readiness};
use crate::engine::event_loop::{EventLoop, LoopState};
use crate::py::buffer::recycle;
use crate::py::error::{fetch, is_kind, os_error, preserving, restore, warn_resource};
use crate::py::{
    Any, AsObject, BoundMethod, Builtin, Class, Managed, Object, Own, Raised, Res, Slot, Stop,
    TypeCell, Visitor, bound, context, create, dict_set, error, names, track, type_error, value,
};
use crate::streams::StreamReader;

pub(crate) type ReadPipe = Object<ReadPipeState>;

/// A reading transport's fields.
pub(crate) struct ReadPipeState {
    pub(super) event_loop: Slot<EventLoop>,
    pub(super) protocol: Slot,
    /// The file object; none once it is closed.
    pub(super) pipe: Slot,
    /// Who gets the bytes instead of the protocol.
    given: Slot<StreamReader>,
    /// In which the protocol hears of what was read.
    read_context: Slot,
    pub(super) fd: Cell<RawFd>,
    manner: Cell<Manner>,
    last_read: Cell<u32>,
    /// How many reads in a row have found the pipe full.
    full_reads: Cell<u8>,
    /// Whether the descriptor is watched.
    pub(super) watches: Cell<bool>,
    pub(super) life: Cell<Life>,
    /// `pause_reading` was called.
    pub(super) paused: Cell<bool>,
    /// The next readiness is read at once.
    looks_again: Cell<bool>,
    promised: Cell<*const StreamReader>,
    /// An error of which the protocol has not heard.
    unheard: Cell<Option<Errno>>,
    pub(super) extra: Slot,
    dict: Slot,
    weakrefs: Managed,
    tracked: Cell<bool>,
}

static TYPE: TypeCell = TypeCell::new();

impl Class for ReadPipeState {
    /// asyncio's name, by which reports and logs call its methods.
    const NAME: &'static std::ffi::CStr = c"aioxide._core._UnixReadPipeTransport";
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
    fn traverse(object: &ReadPipe, visitor: &Visitor) -> Result<(), Stop> {
        visitor.slot(&object.event_loop)?;
        visitor.slot(&object.given)?;
        for slot in object.slots() {
            visitor.slot(slot)?;
        }
        Ok(())
    }
    fn clear(object: &ReadPipe) {
        object.given.clear();
        for slot in object.slots() {
            slot.clear();
        }
    }
    fn leave(object: &ReadPipe) {
        // SAFETY: a look at the loop, whose table forgets an object that is about to die.
        if let Some(event_loop) = unsafe { object.event_loop.peek() }
            && let Some(io) = event_loop.living_io()
        {
            io.detach(object.fd.get(), object);
        }
    }
    fn wants_finalizer(object: &ReadPipe) -> bool {
        object.pipe.is_some()
    }
    fn finalize(object: &ReadPipe) {
        if let Err(raised) = object.give_up() {
            error::unraisable(raised, object.as_any());
        }
    }
}

impl Endpoint for ReadPipeState {
    /// asyncio lets a program watch the descriptor of a pipe transport, which then hears no more.
    const IS_TRANSPORT: bool = false;

    fn is_closing(this: &ReadPipe) -> bool {
        this.life.get() != Life::Open
    }

    fn make_way(this: &ReadPipe, sides: Interest) -> Option<MadeWay> {
        if !sides.read {
            let remaining = Interest { read: this.watches.get(), write: false };
            return Some(MadeWay { waited: false, remaining });
        }
        Some(MadeWay { waited: this.watches.replace(false), remaining: Interest::NONE })
    }

    #[inline]
    fn ready(this: &ReadPipe, event_loop: &EventLoop, readiness: Readiness) -> Res<()> {
        if readiness.readable { this.readable(event_loop) } else { Ok(()) }
    }
}

/// What a pipe holds unless somebody wants something else.
const DEFAULT_CAPACITY: usize = 64 * 1024;

/// After so many reads that found it full, a pipe is worth being made larger.
const WORTH_WIDENING: u8 = 4;

impl ReadPipe {
    /// The pipe was full once more: whoever writes waits for us each time. A wider one spares both
    /// sides most of it (1 GiB from `cat` in 0.4 s and not in 1.0). The kernel refuses when this
    /// user's pipes are many and large.
    #[cold]
    fn found_full(&self) {
        self.full_reads.set(self.full_reads.get().saturating_add(1));
        if self.full_reads.get() == WORTH_WIDENING {
            let widened = fcntl_setpipe_size(borrowed(self.fd.get()), MAX_SIZE);
            // Refused, it is not tried again before it has been empty.
            if let Ok(capacity) = widened {
                self.manner.set(Manner::Stream(capacity.clamp(1, MAX_SIZE)));
            }
        }
    }
}

impl Source for ReadPipe {
    #[inline(always)]
    fn last_read(&self) -> &Cell<u32> {
        &self.last_read
    }

    #[inline(always)]
    fn fill(&self, space: &mut [u8]) -> Result<usize, Errno> {
        read(borrowed(self.fd.get()), space)
    }

    #[inline(always)]
    fn fill_new<'a>(&self, space: &'a mut [MaybeUninit<u8>]) -> Result<&'a mut [u8], Errno> {
        read(borrowed(self.fd.get()), space).map(|(filled, _)| filled)
    }

    #[inline(always)]
    fn note_read(&self, len: usize) {
        let last = self.last_read.get();
        self.last_read.set((len as u32).max(last - last / 4));
        if len < DEFAULT_CAPACITY {
            self.full_reads.set(0);
        } else if let Manner::Stream(DEFAULT_CAPACITY) = self.manner.get() {
            self.found_full();
        }
    }

    #[inline(always)]
    fn room(&self) -> Option<usize> {
        match self.manner.get() {
            Manner::Records => Some(MAX_SIZE),
            Manner::Stream(most) => {
                let last = self.last_read.get() as usize;
                (last > LARGE).then(|| guess_room(last).min(most))
            }
        }
    }
}

impl Feeder for ReadPipe {
    #[inline(always)]
    fn promised(&self) -> &Cell<*const StreamReader> {
        &self.promised
    }

    #[inline(always)]
    fn is_connected(&self) -> bool {
        self.pipe.is_some()
    }

    fn look_again(&self, unheard: Option<Errno>) {
        self.unheard.set(unheard);
        self.looks_again.set(true);
        if let Some(event_loop) = self.event_loop.get() {
            let fd = self.fd.get();
            event_loop.ready().push_readiness(Readiness { fd, readable: true, writable: false });
        }
    }
}

static START: BoundMethod = BoundMethod::new(c"_add_reader");
static CONNECTION_LOST: BoundMethod = BoundMethod::new(c"_call_connection_lost");

impl ReadPipeState {
    fn slots(&self) -> [&Slot; 5] {
        [&self.protocol, &self.pipe, &self.read_context, &self.extra, &self.dict]
    }

    pub(super) const fn dict_offset() -> usize {
        std::mem::offset_of!(ReadPipeState, dict)
    }

    pub(super) const fn weakrefs_offset() -> usize {
        std::mem::offset_of!(ReadPipeState, weakrefs)
    }

    /// Whether nobody has given it attributes of its own, which may be methods.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        !self.dict.is_some()
    }
}

impl ReadPipe {
    /// A transport over a file object, which begins in a turn of its own, as asyncio's does.
    pub(super) fn make(
        event_loop: &Any,
        pipe: &Any,
        protocol: &Any,
        waiter: Option<&Any>,
        extra: Option<&Any>,
    ) -> Res<Own<ReadPipe>> {
        let Some(event_loop) = event_loop.cast::<LoopState>() else {
            return Err(type_error("an aioxide transport needs an aioxide event loop"));
        };
        let extra = extra.map_or_else(|| value::dict_of(&[]), |extra| Ok(extra.own()))?;
        dict_set(&extra, names::PIPE.get(), pipe)?;
        let descriptor = take_over(pipe, "Pipe transport is for pipes/sockets only.")?;
        super::heap::expect_large_packets();
        let this = create(|| ReadPipeState {
            event_loop: Slot::new(event_loop.own()),
            protocol: Slot::new(protocol.own()),
            pipe: Slot::new(pipe.own()),
            given: Slot::empty(),
            read_context: Slot::empty(),
            fd: Cell::new(descriptor.fd),
            manner: Cell::new(descriptor.manner()),
            last_read: Cell::new(0),
            full_reads: Cell::new(0),
            watches: Cell::new(false),
            life: Cell::new(Life::Open),
            paused: Cell::new(false),
            looks_again: Cell::new(false),
            promised: Cell::new(std::ptr::null()),
            unheard: Cell::new(None),
            extra: Slot::new(extra),
            dict: Slot::empty(),
            weakrefs: Managed::new(),
            tracked: Cell::new(false),
        })?;
        track(&this);
        let made = protocol.attr(&names::CONNECTION_MADE)?;
        schedule(event_loop, &made, &[this.as_any()])?;
        // Only when the protocol knows of its transport, it hears of what comes.
        let start = bound(&START, &this, |this: &ReadPipe, _: &Any| this.start())?;
        schedule(event_loop, &start, &[value::none_ref()])?;
        if let Some(waiter) = waiter {
            let wake = &asyncio().set_result_unless_cancelled;
            schedule(event_loop, wake, &[waiter, value::none_ref()])?;
        }
        Ok(this)
    }

    /// The first look, which meets what the kernel does not watch: it is reported, and nothing read.
    fn start(&self) -> Res<()> {
        if !self.is_reading() {
            return Ok(());
        }
        let Err(raised) = self.watch() else { return Ok(()) };
        let Some(event_loop) = self.event_loop.get() else { return Err(raised) };
        let exception = fetch(raised);
        let context = context::copy_current()?;
        let fd = value::int(i64::from(self.fd.get()))?;
        let (class, callback) = (&stock().read_class, &names::ADD_READER_UNCHECKED);
        let then = class.attr(&names::READ_READY)?;
        let then = then.call_method(&names::DUNDER_GET, &[self.as_any()])?;
        let (args, raised): (&[&Any], _) = (&[&fd, &then], restore(exception));
        report::callback_failed(&event_loop, self.as_any(), class, callback, args, &context, raised)
    }

    /// Reads from now on, and the protocol hears of it in a copy of the present context.
    fn watch(&self) -> Res<()> {
        let Some(event_loop) = self.event_loop.get() else { return Ok(()) };
        event_loop.check_closed()?;
        self.read_context.set(context::copy_current()?);
        let (io, fd) = (event_loop.io()?, self.fd.get());
        if io.endpoint_at(fd).is_some_and(|endpoint| endpoint.is(self)) {
            io.set_interest(fd, self, Interest::READ)
        } else {
            // Whoever watches the descriptor last has it, as in asyncio.
            for displaced in io.displace(fd, Interest::READ).into_iter().flatten() {
                displaced.cancel()?;
            }
            io.attach_anew(fd, self, Interest::READ)
        }
        .map_err(|failure| os_error(&failure))?;
        self.watches.set(true);
        Ok(())
    }

    fn stop_watching(&self) -> Res<()> {
        if !self.watches.replace(false) {
            return Ok(());
        }
        let Some(event_loop) = self.event_loop.get().filter(|it| !it.is_closed()) else {
            return Ok(());
        };
        let told = event_loop.io()?.set_interest(self.fd.get(), self, Interest::NONE);
        told.map_err(|failure| os_error(&failure))
    }

    pub(super) fn is_reading(&self) -> bool {
        self.life.get() == Life::Open && !self.paused.get()
    }

    pub(crate) fn pause_reading(&self) -> Res<()> {
        if !self.is_reading() {
            return Ok(());
        }
        self.paused.set(true);
        self.stop_watching()?;
        self.log(&names::DEBUG, "%r pauses reading")
    }

    pub(crate) fn resume_reading(&self) -> Res<()> {
        if self.life.get() != Life::Open || !self.paused.get() {
            return Ok(());
        }
        self.paused.set(false);
        self.watch()?;
        self.log(&names::DEBUG, "%r resumes reading")
    }

    /// `set_protocol(protocol)`: from the next read on this one hears.
    pub(super) fn set_protocol(&self, protocol: &Any) {
        self.given.clear();
        self.promised.set(std::ptr::null());
        self.protocol.set(protocol.own());
    }

    /// Has a reader get all bytes from now on that the protocol would only pass on to it. The end of
    /// the stream and errors remain the protocol's.
    pub(super) fn feed_reader(&self, reader: &StreamReader) {
        self.given.set(reader.own());
    }

    /// The reader that gets the bytes, if nobody else has a say in it.
    #[inline]
    fn reader(&self) -> Option<Own<StreamReader>> {
        match self.given.get() {
            Some(reader) => reader.is_plain().then_some(reader),
            None => streaming::reader_of(&self.protocol),
        }
    }

    /// Bytes have come, or the end has, or an error.
    #[inline]
    fn readable(&self, event_loop: &EventLoop) -> Res<()> {
        if self.life.get() != Life::Open {
            return Ok(());
        }
        let reader = if event_loop.debug() { None } else { self.reader() };
        let again = self.looks_again.replace(false);
        if let Some(reader) = &reader
            && !again
            && event_loop.waking(|| reader.announce(self.as_any()))?
        {
            self.promised.set(&**reader);
            return Ok(());
        }
        let fed = match self.unheard.take() {
            Some(errno) => Some(Fed::Failed(errno)),
            None => reader.map(|reader| event_loop.waking(|| streaming::feed(self, reader))),
        };
        let fed = match fed {
            Some(Fed::Well) => return Ok(()),
            fed => fed,
        };
        current::withdraw(event_loop)?;
        let Some(context) = self.read_context.get() else { return Ok(()) };
        context::enter(&context)?;
        let outcome = match fed {
            Some(fed) => self.after_feeding(event_loop, fed),
            None => self.read_bytes(event_loop),
        };
        context::exit(&context);
        outcome.or_else(|raised| {
            let (this, class) = (self.as_any(), &stock().read_class);
            let callback = &names::READ_READY;
            report::callback_failed(event_loop, this, class, callback, &[], &context, raised)
        })
    }

    /// What is left to do after a reader was fed, and may run Python code.
    #[cold]
    fn after_feeding(&self, event_loop: &EventLoop, fed: Fed) -> Res<()> {
        match fed {
            Fed::Well => Ok(()),
            Fed::End => self.ended(event_loop),
            Fed::Failed(errno) => self.read_failed(os_error(&errno.into())),
            Fed::TooMuch(reader) => reader.pause(),
            Fed::Refused(exception) => Err(restore(exception)),
        }
    }

    fn read_bytes(&self, event_loop: &EventLoop) -> Res<()> {
        let data = match receive(self) {
            Ok(Arrival::Data(data)) => data,
            Ok(Arrival::Nothing) => return Ok(()),
            Ok(Arrival::End) => return self.ended(event_loop),
            Err(raised) => return self.read_failed(raised),
        };
        let protocol = self.protocol.get().unwrap_or_else(value::none);
        protocol.call_method(&names::DATA_RECEIVED, &[&data])?;
        recycle(data);
        Ok(())
    }

    #[cold]
    fn read_failed(&self, raised: Raised) -> Res<()> {
        let exception = fetch(raised);
        if !is_kind(&exception, Builtin::OSError.get()) {
            return Err(restore(exception));
        }
        let message = "Fatal read error on pipe transport";
        // What a terminal says when its other side has gone.
        let hung_up = value::as_int(&*exception.attr(&names::ERRNO)?)? == i64::from(libc::EIO);
        let (event_loop, this) = (&self.event_loop, self.as_any());
        if hung_up {
            report::log_error(event_loop, this, message, &exception)?;
        } else {
            report::report(event_loop, this, &self.protocol, message, &exception)?;
        }
        self.end(&exception)
    }

    /// The other side has said all that it will say.
    #[cold]
    fn ended(&self, event_loop: &EventLoop) -> Res<()> {
        self.log(&names::INFO, "%r was closed by peer")?;
        self.life.set(Life::Ending);
        self.stop_watching()?;
        let protocol = self.protocol.get().unwrap_or_else(value::none);
        schedule(event_loop, &*protocol.attr(&names::EOF_RECEIVED)?, &[])?;
        self.schedule_end(value::none_ref())
    }

    /// `close()`.
    pub(super) fn close(&self) -> Res<()> {
        if self.life.get() == Life::Open { self.end(value::none_ref()) } else { Ok(()) }
    }

    fn end(&self, exception: &Any) -> Res<()> {
        self.life.set(Life::Ending);
        self.stop_watching()?;
        self.schedule_end(exception)
    }

    fn schedule_end(&self, exception: &Any) -> Res<()> {
        let Some(event_loop) = self.event_loop.get() else { return Ok(()) };
        let end = bound(&CONNECTION_LOST, self, ReadPipe::connection_lost)?;
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
            self.given.clear();
            self.read_context.clear();
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

    fn log(&self, level: &'static names::Name, format: &str) -> Res<()> {
        report::log(level, &self.event_loop, self.as_any(), format)
    }
}
