//! Stream transports: a connected TCP or Unix socket and the protocol that it feeds.
//!
//! The object that `create_connection` returns and that protocols write to. It is an endpoint of
//! the loop: `reading` is called when bytes have come, `writing` puts what a protocol writes into
//! the loop's outbox and sends it when the callback or step is over, `closing` takes it down in
//! asyncio's order. This file is its state, its birth and its place in the collector.
//!
//! Two kinds of birth: over a Python socket, which then owns the descriptor and is closed with the
//! transport, and over a bare descriptor that a listener accepted, for which a Python socket is
//! made only if somebody asks for it.

use std::cell::{Cell, UnsafeCell};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use reactor::Interest;
use rustix::io::Errno;

use super::flow::Limits;
use super::pending::Pending;
use super::protocol::Receiver;
use super::reading;
use crate::engine::endpoint::{Endpoint, Readiness};
use crate::engine::event_loop::{EventLoop, LoopState};
use crate::engine::handle::Handle;
use crate::py::python_socket::descriptor_of;
use crate::py::{
    Any, AsObject, BoundMethod, Class, Managed, Object, Own, Pool, Res, Slot, Stop, TypeCell,
    Visitor, bound, context, create, error, names, track, type_error, value,
};
use crate::streams::StreamReader;

pub(crate) type Transport = Object<TransportState>;

/// Where a transport is in its life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Life {
    Open,
    /// `close()` was called, and what was written before is still to be sent.
    Closing,
    /// `connection_lost` is scheduled.
    Ending,
    /// The descriptor is closed.
    Closed,
}

/// A transport's fields, those first that every packet touches: a server with thousands of
/// connections waits for memory more than for anything else.
#[repr(C)]
pub(crate) struct TransportState {
    pub(super) event_loop: Slot<EventLoop>,
    pub(crate) protocol: Slot,
    pub(super) sock: Slot,
    /// In which the protocol hears of what was read.
    pub(crate) read_context: Slot,
    pub(super) fd: Cell<RawFd>,
    /// The size of the last read, from which the next buffer is guessed.
    pub(super) last_read: Cell<u32>,
    interest: Cell<Interest>,
    pub(super) life: Cell<Life>,
    pub(super) receiver: Cell<Receiver>,
    /// `write_eof` was called.
    pub(super) eof: Cell<bool>,
    /// `pause_reading` was called.
    pub(super) paused: Cell<bool>,
    /// It stands in the loop's outbox.
    pub(super) in_outbox: Cell<bool>,
    /// The next readiness is received at once.
    pub(super) looks_again: Cell<bool>,
    /// The kernel has just taken everything, though writability is still watched.
    pub(super) has_room: Cell<bool>,
    pub(super) pending: Pending,
    /// The reader that was told of bytes, compared and never followed: until somebody sets another
    /// protocol its step may receive them.
    pub(super) promised: Cell<*const StreamReader>,
    pub(super) limits: Limits,
    /// Who waits for everything to be sent, in `sendfile`.
    pub(super) empty_waiter: Slot,
    /// An error of which the protocol has not heard.
    pub(crate) unheard: Cell<Option<Errno>>,
    pub(super) protocol_connected: Cell<bool>,
    /// `sendfile` uses the descriptor meanwhile, by the loop's public methods.
    pub(super) shares_descriptor: Cell<bool>,
    tracked: Cell<bool>,
    finalized: Cell<bool>,
    /// asyncio's `_conn_lost`: writes that went nowhere are counted in it.
    pub(super) lost: Cell<u32>,
    pub(super) server: Slot,
    /// What `get_extra_info` knows; made complete only when needed.
    pub(super) extra: Slot,
    /// In which the protocol hears that it may write again, if that is another.
    pub(super) write_context: Slot,
    dict: Slot,
    weakrefs: Managed,
    /// A descriptor that no Python socket owns.
    pub(super) owned_fd: UnsafeCell<Option<OwnedFd>>,
    /// The peer's address and the own one, until they are made objects.
    pub(super) peer: Cell<Option<SocketAddr>>,
    pub(super) own: Cell<Option<SocketAddr>>,
}

static TYPE: TypeCell = TypeCell::new();
static POOL: Pool = Pool::new(256);

impl Class for TransportState {
    const NAME: &'static std::ffi::CStr = c"aioxide._core.SocketTransport";
    const FINALIZES: bool = true;

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
    fn traverse(object: &Transport, visitor: &Visitor) -> Result<(), Stop> {
        visitor.slot(&object.event_loop)?;
        for slot in object.slots() {
            visitor.slot(slot)?;
        }
        Ok(())
    }
    fn clear(object: &Transport) {
        for slot in object.slots() {
            slot.clear();
        }
    }
    fn leave(object: &Transport) {
        // SAFETY: a look at the loop, whose table forgets an object that is about to die.
        if let Some(event_loop) = unsafe { object.event_loop.peek() }
            && let Some(io) = event_loop.living_io()
        {
            io.detach(object.fd.get(), object);
        }
    }
    fn mark_finalized(&self) {
        self.finalized.set(true);
    }
    fn was_finalized(&self) -> bool {
        self.finalized.get()
    }
    fn wants_finalizer(object: &Transport) -> bool {
        object.is_connected()
    }
    fn finalize(object: &Transport) {
        if let Err(raised) = object.give_up() {
            error::unraisable(raised, object.as_any());
        }
    }
}

impl Endpoint for TransportState {
    const IS_TRANSPORT: bool = true;

    fn is_closing(this: &Transport) -> bool {
        this.life.get() != Life::Open || this.shares_descriptor.get()
    }

    #[inline(always)]
    fn ready(this: &Transport, event_loop: &EventLoop, readiness: Readiness) -> Res<()> {
        if readiness.readable {
            reading::ready(this, event_loop)?;
        }
        if readiness.writable && this.interest.get().write {
            return this.writable(event_loop);
        }
        Ok(())
    }
}

static START: BoundMethod = BoundMethod::new(c"_start");

impl TransportState {
    fn new(event_loop: &EventLoop) -> TransportState {
        TransportState {
            event_loop: Slot::new(event_loop.own()),
            protocol: Slot::empty(),
            receiver: Cell::new(Receiver::Protocol),
            owned_fd: UnsafeCell::new(None),
            sock: Slot::empty(),
            peer: Cell::new(None),
            own: Cell::new(None),
            server: Slot::empty(),
            extra: Slot::empty(),
            read_context: Slot::empty(),
            write_context: Slot::empty(),
            empty_waiter: Slot::empty(),
            dict: Slot::empty(),
            weakrefs: Managed::new(),
            pending: Pending::new(),
            limits: Limits::new(),
            fd: Cell::new(-1),
            interest: Cell::new(Interest::NONE),
            life: Cell::new(Life::Open),
            eof: Cell::new(false),
            paused: Cell::new(false),
            in_outbox: Cell::new(false),
            protocol_connected: Cell::new(false),
            shares_descriptor: Cell::new(false),
            promised: Cell::new(std::ptr::null()),
            looks_again: Cell::new(false),
            has_room: Cell::new(false),
            unheard: Cell::new(None),
            last_read: Cell::new(0),
            lost: Cell::new(0),
            tracked: Cell::new(false),
            finalized: Cell::new(false),
        }
    }

    fn slots(&self) -> [&Slot; 8] {
        [
            &self.protocol,
            &self.sock,
            &self.server,
            &self.extra,
            &self.read_context,
            &self.write_context,
            &self.empty_waiter,
            &self.dict,
        ]
    }

    pub(super) const fn dict_offset() -> usize {
        std::mem::offset_of!(TransportState, dict)
    }

    pub(super) const fn weakrefs_offset() -> usize {
        std::mem::offset_of!(TransportState, weakrefs)
    }

    /// Whether nobody has given it attributes of its own, which may be methods.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        !self.dict.is_some()
    }

    /// The descriptor, if it is still this transport's: a program may have closed the socket.
    #[inline(always)]
    pub(super) fn descriptor(&self) -> Result<RawFd, Errno> {
        let fd = self.fd.get();
        // SAFETY: a look at the socket, which nothing replaces meanwhile.
        match unsafe { self.sock.peek() }.map(descriptor_of) {
            None => Ok(fd),
            Some(Ok(now)) if now == fd => Ok(fd),
            Some(Err(raised)) => {
                error::discard(raised);
                Err(Errno::BADF)
            }
            Some(Ok(_)) => Err(Errno::BADF),
        }
    }

    /// Whether the descriptor is this transport's alone: there is no Python socket.
    pub(super) fn owns_descriptor(&self) -> bool {
        // SAFETY: a look, with the GIL held.
        unsafe { (*self.owned_fd.get()).is_some() }
    }

    /// Whether there is a descriptor to close.
    pub(crate) fn is_connected(&self) -> bool {
        self.sock.is_some() || self.owns_descriptor()
    }
}

impl Transport {
    /// A transport over a Python socket, which begins in a turn of its own, as asyncio's does.
    pub(super) fn over_socket(
        event_loop: &Any,
        sock: &Any,
        protocol: &Any,
        waiter: Option<&Any>,
        extra: Option<&Any>,
        server: Option<&Any>,
    ) -> Res<Own<Transport>> {
        let Some(event_loop) = event_loop.cast::<LoopState>() else {
            return Err(type_error("an aioxide transport needs an aioxide event loop"));
        };
        let fd = descriptor_of(sock)?;
        if fd < 0 {
            return Err(error::os_error(&Errno::BADF.into()));
        }
        let this = create(|| TransportState::new(event_loop))?;
        track(&this);
        this.fd.set(fd);
        this.sock.set(sock.own());
        if let Some(extra) = extra {
            this.extra.set(value::dict_copy(extra)?);
        }
        this.remember_addresses(sock)?;
        this.set_protocol(protocol)?;
        this.attach(event_loop, server)?;
        super::socket::set_nodelay(sock)?;
        let made = protocol.attr(&names::CONNECTION_MADE)?;
        for handle in [
            Handle::make(event_loop, &made, &[this.as_any()], None)?,
            Handle::make(
                event_loop,
                &*bound(&START, &this, Transport::start)?,
                &[waiter.unwrap_or(value::none_ref())],
                None,
            )?,
        ] {
            event_loop.check_can_schedule()?;
            event_loop.ready().push_handle(handle);
        }
        Ok(this)
    }

    /// A transport over a descriptor that was just accepted. It is for the caller to tell the
    /// protocol and to call `begin_reading`.
    pub(crate) fn over_accepted(
        event_loop: &EventLoop,
        fd: OwnedFd,
        protocol: &Any,
        server: Option<&Any>,
        context: Own<Any>,
    ) -> Res<Own<Transport>> {
        let this = create(|| TransportState::new(event_loop))?;
        track(&this);
        this.fd.set(fd.as_raw_fd());
        // SAFETY: no borrow is open: nobody else knows the object.
        unsafe { *this.owned_fd.get() = Some(fd) };
        this.read_context.set(context);
        this.set_protocol(protocol)?;
        this.attach(event_loop, server)?;
        Ok(this)
    }

    fn attach(&self, event_loop: &EventLoop, server: Option<&Any>) -> Res<()> {
        super::heap::expect_large_packets();
        event_loop.io()?.attach(self.fd.get(), self);
        if let Some(server) = server.filter(|server| !server.is_none()) {
            self.server.set(server.own());
            super::socket::attach_to_server(server, self.as_any())?;
        }
        Ok(())
    }

    /// The protocol knows of the connection: read, and tell who waits for it.
    fn start(&self, waiter: &Any) -> Res<()> {
        // As asyncio's `add_reader` here: in this context, even if the protocol resumed meanwhile.
        self.read_context.clear();
        self.begin_reading()?;
        if !waiter.is_none() && !value::is_true(&*waiter.call_method(&names::DONE, &[])?)? {
            waiter.call_method(&names::SET_RESULT, &[value::none_ref()])?;
        }
        Ok(())
    }

    /// Reads from now on, in a copy of the present context, unless it is closing or paused.
    pub(crate) fn begin_reading(&self) -> Res<()> {
        if self.life.get() != Life::Open || self.paused.get() {
            return Ok(());
        }
        if !self.read_context.is_some() {
            self.read_context.set(context::copy_current()?);
        }
        self.want(Interest { read: true, ..self.interest.get() })
    }

    /// What the transport waits for.
    #[inline(always)]
    pub(super) fn interest(&self) -> Interest {
        self.interest.get()
    }

    /// Waits for this from now on.
    #[inline]
    pub(super) fn want(&self, interest: Interest) -> Res<()> {
        if self.interest.get() == interest {
            return Ok(());
        }
        let Some(event_loop) = self.event_loop.get() else { return Ok(()) };
        if event_loop.is_closed() {
            return Ok(());
        }
        self.interest.set(interest);
        event_loop
            .io()?
            .set_interest(self.fd.get(), self, interest)
            .map_err(|failure| error::os_error(&failure))
    }

    pub(super) fn stop_reading(&self) -> Res<()> {
        self.want(Interest { read: false, ..self.interest.get() })
    }

    pub(super) fn is_reading(&self) -> bool {
        self.life.get() == Life::Open && !self.paused.get()
    }

    pub(crate) fn pause_reading(&self) -> Res<()> {
        if !self.is_reading() {
            return Ok(());
        }
        self.paused.set(true);
        self.stop_reading()?;
        self.log_debug("%r pauses reading")
    }

    pub(crate) fn resume_reading(&self) -> Res<()> {
        if self.life.get() != Life::Open || !self.paused.get() {
            return Ok(());
        }
        self.paused.set(false);
        // As asyncio's new Handle would: what is read next is heard in this context.
        self.read_context.clear();
        self.begin_reading()?;
        self.log_debug("%r resumes reading")
    }
}
