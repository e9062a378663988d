//! Where coroutines wait for a socket: an endpoint with a place for a reader and one for a writer.
//!
//! The socket stays registered with the kernel when a reader has got its data, because it will
//! read again: a conversation then costs no `epoll_ctl` at all. If the socket is ready and nobody
//! waits, the registration ends, so that there is one event too many at most. A writer's interest
//! ends with the writer, since a socket is writable nearly always.
//!
//! Numbers of descriptors are used again, so an endpoint belongs to one socket object, of which it
//! knows the address; and a weak reference, so that it does not keep the socket alive, takes it away
//! when the socket dies. Whoever comes with another object under the same number, a program with a
//! Handle or a transport finds it there and puts it out, and the kernel is told anew.
//!
//! As in asyncio the last to come has the place: a second `sock_recv` of a socket puts out the
//! first, which then waits until it is cancelled, and so do `add_reader` and `sock_recv` each other.

use std::cell::{Cell, OnceCell};
use std::ffi::c_int;
use std::os::fd::RawFd;

use reactor::Interest;

use super::address::{Memo, SockAddr};
use super::sock_call::{MUCH, SockCall, SockCallState};
use crate::engine::current;
use crate::engine::endpoint::{Endpoint, MadeWay, Readiness};
use crate::engine::event_loop::EventLoop;
use crate::py::buffer::{bytes_of, is_exact_bytes};
use crate::py::error::{discard, fetch, is_fatal, os_error, preserving, restore};
use crate::py::{
    Any, AsObject, BoundMethod, Builder, Class, Object, Own, Res, Slot, Stop, TypeCell, Visitor,
    bound, create, names, python_socket, track, value, weak,
};
use crate::tasks::coroutine::Coroutine;

pub(super) type SockWaits = Object<SockWaitsState>;

/// What a coroutine waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Read,
    Write,
}

impl Side {
    fn alone(self) -> Interest {
        match self {
            Side::Read => Interest::READ,
            Side::Write => Interest::WRITE,
        }
    }

    fn with(self, interest: Interest) -> Interest {
        match self {
            Side::Read => Interest { read: true, ..interest },
            Side::Write => Interest { write: true, ..interest },
        }
    }

    fn without(self, interest: Interest) -> Interest {
        match self {
            Side::Read => Interest { read: false, ..interest },
            Side::Write => Interest { write: false, ..interest },
        }
    }

    fn is_in(self, interest: Interest) -> bool {
        match self {
            Side::Read => interest.read,
            Side::Write => interest.write,
        }
    }
}

/// An endpoint's fields.
pub(super) struct SockWaitsState {
    fd: RawFd,
    /// The socket's address, for comparison only.
    socket: *const Any,
    /// What the loop was told; never nothing while the endpoint is attached.
    interest: Cell<Interest>,
    reader: Slot<Coroutine>,
    writer: Slot<Coroutine>,
    /// The weak reference whose callback ends a registration that nobody waits on. Without one
    /// (some objects cannot have any) the registration ends with each wait.
    farewell: Slot,
    /// How many more reads may be large, since a large one leaves small rests behind.
    reads_much: Cell<u8>,
    /// Whether the last read took all that there was, or its share, and no event has come since.
    drained: Cell<bool>,
    /// Whether a receiver has been woken that has not received yet: what is there is for it.
    is_promised: Cell<bool>,
    /// How often the loop had asked the kernel when it was last tried to receive.
    tried_at: Cell<usize>,
    /// Whether the peer is somewhere else, so that `spares_a_try` goes unnoticed.
    is_distant: bool,
    /// The last address that something came from; streams have no need of it.
    peer: OnceCell<Box<Memo>>,
    tracked: Cell<bool>,
}

static TYPE: TypeCell = TypeCell::new();

impl Class for SockWaitsState {
    const NAME: &'static std::ffi::CStr = c"aioxide.socket_waits";

    fn cell() -> &'static TypeCell {
        &TYPE
    }
    fn tracked(&self) -> Option<&Cell<bool>> {
        Some(&self.tracked)
    }
    fn traverse(object: &SockWaits, visitor: &Visitor) -> Result<(), Stop> {
        visitor.slot(&object.reader)?;
        visitor.slot(&object.writer)?;
        visitor.slot(&object.farewell)
    }
    fn clear(object: &SockWaits) {
        object.reader.clear();
        object.writer.clear();
        object.farewell.clear();
    }
}

impl Endpoint for SockWaitsState {
    const IS_TRANSPORT: bool = false;

    fn make_way(this: &SockWaits, sides: Interest) -> Option<MadeWay> {
        let mut made_way = MadeWay { waited: false, remaining: Interest::NONE };
        for side in [Side::Read, Side::Write] {
            let waits = this.waiter(side).is_some();
            if waits && side.is_in(sides) {
                this.place(side).clear();
                made_way.waited = true;
            } else if waits {
                made_way.remaining = side.with(made_way.remaining);
            }
        }
        this.interest.set(made_way.remaining);
        Some(made_way)
    }

    #[inline]
    fn ready(this: &SockWaits, event_loop: &EventLoop, readiness: Readiness) -> Res<()> {
        if readiness.readable {
            this.wake_reader(event_loop)?;
        }
        if readiness.writable {
            current::withdraw(event_loop)?;
            this.serve_writer(event_loop)?;
        }
        Ok(())
    }
}

/// The endpoint at which coroutines wait for this very socket.
#[inline]
pub(super) fn find(event_loop: &EventLoop, fd: RawFd, socket: &Any) -> Option<Own<SockWaits>> {
    let endpoint = event_loop.living_io()?.endpoint_at(fd)?;
    let waits = endpoint.cast_exact::<SockWaitsState>()?;
    std::ptr::eq(waits.socket, socket).then(|| waits.own())
}

/// Has `waiter` wait until `call` can go on; returns the number of the descriptor.
pub(super) fn enter(
    event_loop: &EventLoop,
    waiter: &Coroutine,
    call: &SockCall,
    side: Side,
) -> Res<RawFd> {
    event_loop.check_closed()?;
    let socket = call.socket();
    let number = match python_socket::plain(&socket) {
        Some(plain) => {
            if let Some(waits) = find(event_loop, plain.fd(), &socket) {
                return waits.let_in(event_loop, waiter, side);
            }
            value::int(i64::from(plain.fd()))?
        }
        None => socket.call_method(&names::FILENO, &[])?,
    };
    let fd = event_loop.free_descriptor(&number)?;
    match find(event_loop, fd, &socket) {
        Some(waits) => waits.let_in(event_loop, waiter, side),
        None => attach(event_loop, fd, &socket, waiter, side).map(|()| fd),
    }
}

/// The waiter leaves before its time, if it still waits.
pub(super) fn leave(event_loop: &EventLoop, fd: RawFd, waiter: &Coroutine, side: Side) -> Res<()> {
    let Some(endpoint) = event_loop.living_io().and_then(|io| io.endpoint_at(fd)) else {
        return Ok(());
    };
    let Some(waits) = endpoint.cast_exact::<SockWaitsState>() else { return Ok(()) };
    if side == Side::Read {
        waits.is_promised.set(false);
    }
    if !waits.place(side).holds(waiter) {
        return Ok(());
    }
    waits.place(side).clear();
    waits.end_interest(event_loop, side)
}

/// Receives for a call whose wait is over. `None` if nothing was there after all.
#[inline]
pub(super) fn resume(event_loop: &EventLoop, call: &SockCall) -> Res<Option<Own<Any>>> {
    let socket = call.socket();
    let Some(waits) = find(event_loop, call.waits_at.get(), &socket) else {
        return call.attempt(&socket, None);
    };
    waits.is_promised.set(false);
    waits.was_tried(event_loop);
    let received = call.attempt(&socket, Some(&waits));
    // After its end or an error the socket would be ready for ever.
    let is_over = match &received {
        Ok(Some(result)) => is_nothing(result)?,
        Ok(None) => false,
        Err(_) => true,
    };
    if is_over && !waits.place(Side::Read).is_some() && Side::Read.is_in(waits.interest.get()) {
        preserving(|| waits.end_interest(event_loop, Side::Read))?;
    }
    received
}

/// Whether somebody else waits for what this call waited for.
pub(super) fn is_waited_for(event_loop: &EventLoop, call: &SockCall) -> bool {
    find(event_loop, call.waits_at.get(), &call.socket())
        .is_some_and(|waits| waits.place(call.kind().side()).is_some())
}

/// Whether the other end of a stream is, as far as can be known, not in this process.
fn is_distant(socket: &Any) -> bool {
    let Some(plain) = python_socket::plain(socket).filter(|plain| plain.is_stream()) else {
        return false;
    };
    match plain.family() {
        libc::AF_INET | libc::AF_INET6 => true,
        libc::AF_UNIX => plain.peer_process().is_some_and(|peer| peer != std::process::id()),
        _ => false,
    }
}

#[cold]
fn attach(
    event_loop: &EventLoop,
    fd: RawFd,
    socket: &Any,
    waiter: &Coroutine,
    side: Side,
) -> Res<()> {
    let io = event_loop.io()?;
    let waits = create(|| SockWaitsState {
        fd,
        socket,
        interest: Cell::new(side.alone()),
        reader: Slot::empty(),
        writer: Slot::empty(),
        farewell: Slot::empty(),
        reads_much: Cell::new(0),
        drained: Cell::new(false),
        is_promised: Cell::new(false),
        tried_at: Cell::new(usize::MAX),
        is_distant: is_distant(socket),
        peer: OnceCell::new(),
        tracked: Cell::new(false),
    })?;
    // Another socket object with this number: who waits there on the other side stays, as asyncio
    // knows numbers only.
    if let Some(other) = io.endpoint_at(fd)
        && let Some(other) = other.cast_exact::<SockWaitsState>()
    {
        for kept in [Side::Read, Side::Write].into_iter().filter(|&kept| kept != side) {
            if let Some(waiter) = other.place(kept).take() {
                waits.place(kept).set(waiter);
                waits.interest.set(kept.with(waits.interest.get()));
            }
        }
    }
    waits.place(side).set(waiter.own());
    track(waiter);
    track(&waits);
    match farewell(event_loop, fd, socket) {
        Ok(farewell) => waits.farewell.set(farewell),
        Err(raised) => discard(raised),
    }
    let displaced = io.displace(fd, side.alone());
    let attached = io.attach_anew(fd, &*waits, waits.interest.get());
    for handle in displaced.into_iter().flatten() {
        handle.cancel()?;
    }
    attached.map_err(|failure| os_error(&failure))
}

impl SockWaits {
    #[inline(always)]
    fn place(&self, side: Side) -> &Slot<Coroutine> {
        match side {
            Side::Read => &self.reader,
            Side::Write => &self.writer,
        }
    }

    fn waiter(&self, side: Side) -> Option<Own<Coroutine>> {
        self.place(side).get()
    }

    /// Has `waiter` wait here; returns the number of the descriptor.
    #[inline]
    pub(super) fn let_in(
        &self,
        event_loop: &EventLoop,
        waiter: &Coroutine,
        side: Side,
    ) -> Res<RawFd> {
        track(waiter);
        self.place(side).set(waiter.own());
        if !side.is_in(self.interest.get()) {
            self.begin_interest(event_loop, side)?;
        }
        Ok(self.fd)
    }

    #[cold]
    fn begin_interest(&self, event_loop: &EventLoop, side: Side) -> Res<()> {
        let displaced = event_loop.io()?.displace(self.fd, side.alone());
        let told = self.set_interest(event_loop, side.with(self.interest.get()));
        for handle in displaced.into_iter().flatten() {
            handle.cancel()?;
        }
        if told.is_err() {
            self.place(side).clear();
        }
        told
    }

    fn set_interest(&self, event_loop: &EventLoop, interest: Interest) -> Res<()> {
        self.interest.set(interest);
        let io = event_loop.io()?;
        if interest.is_none() {
            io.detach(self.fd, self);
            return Ok(());
        }
        io.set_interest(self.fd, self, interest).map_err(|failure| os_error(&failure))
    }

    /// The address that a datagram came from, in Python's form.
    pub(super) fn sender(&self, from: &SockAddr) -> Res {
        self.peer.get_or_init(|| Box::new(Memo::new())).received(from)
    }

    /// The address in the kernel's form, if it needs no lookup: often that of the last datagram.
    pub(super) fn destination(&self, family: c_int, address: &Any) -> Res<Option<SockAddr>> {
        self.peer.get_or_init(|| Box::new(Memo::new())).destination(family, address)
    }

    #[inline(always)]
    pub(super) fn reads_much(&self) -> bool {
        self.reads_much.get() > 0
    }

    /// Something was received from a stream.
    #[inline(always)]
    pub(super) fn note_received(&self, len: usize, most: usize) {
        let is_much = len > MUCH;
        self.reads_much.set(if is_much { 4 } else { self.reads_much.get().saturating_sub(1) });
        self.drained.set(len < most || is_much);
    }

    /// Something was received without waiting, so that more may have come since.
    #[inline(always)]
    pub(super) fn expect_more(&self) {
        self.drained.set(false);
    }

    /// An event that the loop has heard of already says nothing about the socket any more.
    #[inline(always)]
    pub(super) fn was_tried(&self, event_loop: &EventLoop) {
        self.tried_at.set(event_loop.looks());
    }

    /// Whether a receiver is to wait without a try.
    ///
    /// Such a try would fail: a system call for each request that a server answers. The last read,
    /// made for a receiver that waited, took all that there was, and the loop has not heard of more
    /// since. Or it took so much that others should have their turn. What comes in the very turn in
    /// which it is asked for is then received in the next. Only of a peer in this process could a
    /// program know that it is there already; pairs of sockets are therefore tried.
    ///
    /// And who comes while another is about to receive comes after that one.
    #[inline]
    pub(super) fn spares_a_try(&self, call: &SockCall) -> bool {
        (self.is_distant
            && self.drained.get()
            && call.receives_a_stream()
            && self.drained.replace(false))
            || (self.is_promised.get() && call.kind().side() == Side::Read)
    }

    #[cold]
    fn end_interest(&self, event_loop: &EventLoop, side: Side) -> Res<()> {
        self.set_interest(event_loop, side.without(self.interest.get()))
    }

    /// The socket is readable: whoever waits is to receive when it is resumed.
    #[inline]
    fn wake_reader(&self, event_loop: &EventLoop) -> Res<()> {
        if self.tried_at.get() == event_loop.looks() {
            // Somebody has received since. If there is more, the kernel says so again.
            return Ok(());
        }
        let Some(waiter) = self.reader.take() else {
            self.expect_more();
            return self.end_interest(event_loop, Side::Read);
        };
        self.is_promised.set(waiter.is_parked());
        if !self.farewell.is_some() {
            self.end_interest(event_loop, Side::Read)?;
        }
        if !waiter.is_parked() {
            current::withdraw(event_loop)?;
        }
        event_loop.waking(|| waiter.wake())
    }

    /// The socket is writable: goes on with the call of whoever waits.
    #[inline]
    fn serve_writer(&self, event_loop: &EventLoop) -> Res<()> {
        let Some(waiter) = self.writer.get() else {
            return self.end_interest(event_loop, Side::Write);
        };
        if waiter.is_done()? {
            // Cancelled; it leaves in its own turn.
            return Ok(());
        }
        let call = waiter.owner_as::<SockCallState>()?;
        match call.attempt(&call.socket(), Some(self)) {
            Ok(None) => return Ok(()),
            Ok(Some(result)) => call.finish(result, false),
            Err(raised) => {
                let exception = fetch(raised);
                if is_fatal(&exception) {
                    return Err(restore(exception));
                }
                call.finish(exception, true);
            }
        }
        // What the method of a fake socket did may have ended the wait.
        if self.writer.holds(&*waiter) {
            self.writer.clear();
            self.end_interest(event_loop, Side::Write)?;
        }
        event_loop.waking(|| waiter.wake())
    }
}

/// Whether nothing was received: no bytes, or 0 of them.
#[inline(always)]
fn is_nothing(result: &Any) -> Res<bool> {
    if is_exact_bytes(result) {
        return Ok(bytes_of(result).is_empty());
    }
    value::is_true(result).map(|is_true| !is_true)
}

/// What is left to do when a socket dies that is still registered.
struct FarewellState {
    event_loop: Slot<EventLoop>,
    fd: RawFd,
    tracked: Cell<bool>,
}

static FAREWELL_TYPE: TypeCell = TypeCell::new();
static FAREWELL: BoundMethod = BoundMethod::new(c"_socket_died");

impl Class for FarewellState {
    const NAME: &'static std::ffi::CStr = c"aioxide.farewell";

    fn cell() -> &'static TypeCell {
        &FAREWELL_TYPE
    }
    fn tracked(&self) -> Option<&Cell<bool>> {
        Some(&self.tracked)
    }
    fn traverse(object: &Object<FarewellState>, visitor: &Visitor) -> Result<(), Stop> {
        visitor.slot(&object.event_loop)
    }
    fn clear(object: &Object<FarewellState>) {
        object.event_loop.clear();
    }
}

/// A weak reference to the socket that takes the endpoint away when the socket dies.
fn farewell(event_loop: &EventLoop, fd: RawFd, socket: &Any) -> Res {
    let farewell = create(|| FarewellState {
        event_loop: Slot::new(event_loop.own()),
        fd,
        tracked: Cell::new(false),
    })?;
    track(&farewell);
    let callback = bound(&FAREWELL, &farewell, |this: &Object<FarewellState>, reference: &Any| {
        if let Some(event_loop) = this.event_loop.get()
            && let Some(io) = event_loop.living_io()
            && let Some(endpoint) = io.endpoint_at(this.fd)
            && let Some(waits) = endpoint.cast_exact::<SockWaitsState>()
            && waits.farewell.holds(reference)
        {
            io.detach(this.fd, waits);
        }
    })?;
    weak::reference_with(socket, &callback)
}

/// Makes the types.
pub(super) fn build() -> Res<()> {
    Builder::<FarewellState>::new(c"").not_constructible().build()?;
    Builder::<SockWaitsState>::new(c"").not_constructible().build().map(drop)
}
