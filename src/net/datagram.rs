//! Datagram transports: a UDP or Unix datagram socket and the protocol that it feeds.
//!
//! The object that `create_datagram_endpoint` returns. It is an endpoint of the loop:
//! `datagram_receiving` takes what has come, `datagram_sending` sends at once what is sent and keeps
//! what the kernel does not take, `datagram_closing` takes it down in asyncio's order. This file is
//! its state, its birth and its place in the collector.
//!
//! ```text
//!             close, buffer empty; abort; fatal error
//!       ┌──────────────────────────────────────────────┐
//!       │                                              ▼    next turn
//!     Open ── close, datagrams waiting ──► Closing   Ending ─────────► Closed
//!                                           │  │       ▲                 ▲
//!                                           │  └ abort ┘                 │
//!                                           └── the last one is sent ────┘
//! ```
//!
//! Receiving happens in Open only, and there not while paused. Errors of the operating system change
//! nothing: the protocol is told by `error_received`. Sending is asyncio's in each state, see there.

use std::cell::{Cell, UnsafeCell};
use std::collections::VecDeque;
use std::ffi::c_int;
use std::os::fd::RawFd;

use reactor::Interest;

use super::address::Memo;
use super::datagram_receiving::{self, Appetite};
use super::datagram_sending::Waiting;
use super::flow::Limits;
use crate::engine::asyncio::asyncio;
use crate::engine::endpoint::{Endpoint, Readiness};
use crate::engine::event_loop::{EventLoop, LoopState};
use crate::engine::handle::Handle;
use crate::py::{
    Any, AsObject, BoundMethod, Builtin, Class, Managed, Object, Own, Res, Slot, Stop, TypeCell,
    Visitor, bound, context, create, error, names, track, type_error, value,
};

pub(crate) type DatagramTransport = Object<DatagramState>;

/// Where a transport is in its life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Life {
    Open,
    /// `close()` was called, and datagrams from before wait to be sent.
    Closing,
    /// `connection_lost` is scheduled.
    Ending,
    /// The socket is closed.
    Closed,
}

/// A datagram transport's fields.
pub(crate) struct DatagramState {
    pub(super) event_loop: Slot<EventLoop>,
    pub(super) protocol: Slot,
    pub(super) sock: Slot,
    /// The socket's family, one whose addresses we know.
    pub(super) family: Cell<c_int>,
    /// The one address that may be sent to, for a transport that was given one.
    pub(super) address: Slot,
    pub(super) has_address: Cell<bool>,
    /// Whether the kernel knows the peer, so that datagrams are sent without an address.
    pub(super) connected: Cell<bool>,
    pub(super) extra: Slot,
    /// In which the protocol hears of what was received.
    pub(super) read_context: Slot,
    /// In which it hears that it may send again.
    pub(super) write_context: Slot,
    dict: Slot,
    weakrefs: Managed,
    /// Datagrams that the kernel did not take yet.
    pub(super) waiting: UnsafeCell<VecDeque<Waiting>>,
    /// asyncio's count of their bytes, which is not always their sum.
    pub(super) waiting_size: Cell<i64>,
    pub(super) limits: Limits,
    /// The peer last heard of.
    pub(super) memo: Memo,
    pub(super) appetite: Cell<Appetite>,
    pub(super) fd: Cell<RawFd>,
    interest: Cell<Interest>,
    pub(super) life: Cell<Life>,
    /// `pause_reading` was called.
    pub(super) paused: Cell<bool>,
    /// asyncio's `_conn_lost`: the end was scheduled, and datagrams that went nowhere since.
    pub(super) lost: Cell<u32>,
    tracked: Cell<bool>,
}

static TYPE: TypeCell = TypeCell::new();

impl Class for DatagramState {
    const NAME: &'static std::ffi::CStr = c"aioxide._core.DatagramTransport";
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
    fn traverse(object: &DatagramTransport, visitor: &Visitor) -> Result<(), Stop> {
        visitor.slot(&object.event_loop)?;
        for slot in object.slots() {
            visitor.slot(slot)?;
        }
        for waiting in object.waiting().iter() {
            waiting.visit(visitor)?;
        }
        Ok(())
    }
    fn clear(object: &DatagramTransport) {
        for slot in object.slots() {
            slot.clear();
        }
        drop(std::mem::take(object.waiting()));
    }
    fn leave(object: &DatagramTransport) {
        // SAFETY: a look at the loop, whose table forgets an object that is about to die.
        if let Some(event_loop) = unsafe { object.event_loop.peek() }
            && let Some(io) = event_loop.living_io()
        {
            io.detach(object.fd.get(), object);
        }
    }
    fn wants_finalizer(object: &DatagramTransport) -> bool {
        object.sock.is_some()
    }
    fn finalize(object: &DatagramTransport) {
        if let Err(raised) = object.give_up() {
            error::unraisable(raised, object.as_any());
        }
    }
}

impl Endpoint for DatagramState {
    const IS_TRANSPORT: bool = true;

    fn is_closing(this: &DatagramTransport) -> bool {
        this.life.get() != Life::Open
    }

    #[inline]
    fn ready(this: &DatagramTransport, event_loop: &EventLoop, readiness: Readiness) -> Res<()> {
        if readiness.readable {
            datagram_receiving::ready(this, event_loop)?;
        }
        if readiness.writable && this.interest.get().write {
            return this.writable(event_loop);
        }
        Ok(())
    }
}

static START: BoundMethod = BoundMethod::new(c"_start_receiving");

impl DatagramState {
    fn new(event_loop: &EventLoop, sock: &Any, protocol: &Any) -> DatagramState {
        DatagramState {
            event_loop: Slot::new(event_loop.own()),
            protocol: Slot::new(protocol.own()),
            sock: Slot::new(sock.own()),
            family: Cell::new(libc::AF_UNSPEC),
            address: Slot::empty(),
            has_address: Cell::new(false),
            connected: Cell::new(false),
            extra: Slot::empty(),
            read_context: Slot::empty(),
            write_context: Slot::empty(),
            dict: Slot::empty(),
            weakrefs: Managed::new(),
            waiting: UnsafeCell::new(VecDeque::new()),
            waiting_size: Cell::new(0),
            limits: Limits::new(),
            memo: Memo::new(),
            appetite: Cell::new(Appetite::new()),
            fd: Cell::new(-1),
            interest: Cell::new(Interest::NONE),
            life: Cell::new(Life::Open),
            paused: Cell::new(false),
            lost: Cell::new(0),
            tracked: Cell::new(false),
        }
    }

    fn slots(&self) -> [&Slot; 7] {
        [
            &self.protocol,
            &self.sock,
            &self.address,
            &self.extra,
            &self.read_context,
            &self.write_context,
            &self.dict,
        ]
    }

    pub(super) const fn dict_offset() -> usize {
        std::mem::offset_of!(DatagramState, dict)
    }

    pub(super) const fn weakrefs_offset() -> usize {
        std::mem::offset_of!(DatagramState, weakrefs)
    }

    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    pub(super) fn waiting(&self) -> &mut VecDeque<Waiting> {
        // SAFETY: visible in the datagram transport's files only, where each use is one operation
        // that runs no Python code (what comes out is dropped after the borrow), with the GIL held.
        unsafe { &mut *self.waiting.get() }
    }
}

/// What a transport is made of.
pub(super) struct Parts<'a> {
    pub(super) event_loop: &'a Any,
    pub(super) sock: &'a Any,
    pub(super) protocol: &'a Any,
    pub(super) address: Option<&'a Any>,
    pub(super) waiter: Option<&'a Any>,
    pub(super) extra: Option<&'a Any>,
}

impl DatagramTransport {
    /// A transport over a Python socket, which begins in a turn of its own, as asyncio's does.
    pub(super) fn make(parts: &Parts<'_>) -> Res<Own<DatagramTransport>> {
        let Some(event_loop) = parts.event_loop.cast::<LoopState>() else {
            return Err(type_error("an aioxide transport needs an aioxide event loop"));
        };
        let this = create(|| DatagramState::new(event_loop, parts.sock, parts.protocol))?;
        track(&this);
        super::heap::expect_large_packets();
        this.remember_addresses(parts.sock, parts.extra)?;
        let fd = value::as_int(&*parts.sock.call_method(&names::FILENO, &[])?)? as RawFd;
        this.fd.set(fd);
        this.family.set(value::as_int(&*parts.sock.attr(&names::FAMILY)?)? as c_int);
        if let Some(address) = parts.address {
            this.address.set(address.own());
            this.has_address.set(value::is_true(address)?);
        }
        if fd >= 0 {
            event_loop.io()?.attach(fd, &*this);
        }
        let made = parts.protocol.attr(&names::CONNECTION_MADE)?;
        schedule(event_loop, &made, &[this.as_any()])?;
        // Only when the protocol knows of its transport, it hears of what comes.
        let start =
            bound(&START, &this, |this: &DatagramTransport, _: &Any| this.start_receiving())?;
        schedule(event_loop, &start, &[value::none_ref()])?;
        if let Some(waiter) = parts.waiter {
            let wake = &asyncio().set_result_unless_cancelled;
            schedule(event_loop, wake, &[waiter, value::none_ref()])?;
        }
        Ok(this)
    }

    /// Fills in what asyncio's transports know from the start.
    fn remember_addresses(&self, sock: &Any, extra: Option<&Any>) -> Res<()> {
        let extra = match extra {
            Some(extra) => extra.own(),
            None => value::dict_of(&[])?,
        };
        self.extra.set(extra.clone());
        let set =
            |name: &'static names::Name, info: &Any| crate::py::dict_set(&extra, name.get(), info);
        set(&names::SOCKET, &*super::socket::shown(sock)?)?;
        set(&names::SOCKNAME, &*address_from(sock, &names::GETSOCKNAME)?)?;
        let peer = match crate::py::dict_get(&extra, names::PEERNAME.get())? {
            Some(known) => known,
            None => {
                let peer = address_from(sock, &names::GETPEERNAME)?;
                set(&names::PEERNAME, &peer)?;
                peer
            }
        };
        self.connected.set(value::is_true(&peer)?);
        Ok(())
    }

    /// Receives from now on, in a copy of the present context, unless it is closing or paused.
    fn start_receiving(&self) -> Res<()> {
        if !self.is_reading() {
            return Ok(());
        }
        self.read_context.set(context::copy_current()?);
        self.want(Interest { read: true, ..self.interest.get() })
    }

    pub(super) fn interest(&self) -> Interest {
        self.interest.get()
    }

    /// Waits for this from now on.
    pub(super) fn want(&self, interest: Interest) -> Res<()> {
        if self.interest.get() == interest {
            return Ok(());
        }
        let Some(event_loop) = self.event_loop.get() else { return Ok(()) };
        if event_loop.is_closed() || self.fd.get() < 0 {
            return Ok(());
        }
        self.interest.set(interest);
        event_loop
            .io()?
            .set_interest(self.fd.get(), self, interest)
            .map_err(|failure| error::os_error(&failure))
    }

    pub(super) fn stop_receiving(&self) -> Res<()> {
        self.want(Interest { read: false, ..self.interest.get() })
    }

    pub(super) fn is_reading(&self) -> bool {
        self.life.get() == Life::Open && !self.paused.get()
    }

    pub(super) fn pause_reading(&self) -> Res<()> {
        if !self.is_reading() {
            return Ok(());
        }
        self.paused.set(true);
        self.stop_receiving()?;
        self.log_debug("%r pauses reading")
    }

    pub(super) fn resume_reading(&self) -> Res<()> {
        if self.life.get() != Life::Open || !self.paused.get() {
            return Ok(());
        }
        self.paused.set(false);
        self.start_receiving()?;
        self.log_debug("%r resumes reading")
    }

    /// Logs `format % self` in debug mode.
    fn log_debug(&self, format: &str) -> Res<()> {
        super::report::log_debug(&self.event_loop, self.as_any(), format)
    }
}

/// `loop.call_soon(callback, *args)`.
pub(super) fn schedule(event_loop: &EventLoop, callback: &Any, args: &[&Any]) -> Res<()> {
    if !event_loop.is_plain() {
        let mut values = vec![callback];
        values.extend_from_slice(args);
        return event_loop.as_any().call_method(&names::CALL_SOON, &values).map(drop);
    }
    event_loop.check_can_schedule()?;
    event_loop.ready().push_handle(Handle::make(event_loop, callback, args, None)?);
    Ok(())
}

/// The result of a method of the socket that may fail with an OSError, None then.
fn address_from(sock: &Any, method: &'static names::Name) -> Res {
    sock.call_method(method, &[]).or_else(|raised| {
        let exception = error::fetch(raised);
        if error::is_kind(&exception, Builtin::OSError.get()) {
            return Ok(value::none());
        }
        Err(error::restore(exception))
    })
}
