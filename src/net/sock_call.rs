//! One call of a `sock_*` method: what it works on, and each try to do it.
//!
//! A try is one system call on the descriptor, if the socket is Python's own in every respect and
//! the arguments are the usual ones; anything else is left to the Python socket's method, so that
//! errors, their texts and what subclasses do are right by construction. A try that would block
//! gives `None`, and is repeated when the socket is ready.

use std::cell::{Cell, UnsafeCell};
use std::ffi::c_int;
use std::os::fd::{BorrowedFd, RawFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketAddrAny, recv, recvfrom, send, sendto};

use super::address::{self, SockAddr};
use super::sock_waits::{Side, SockWaits};
use crate::engine::event_loop::EventLoop;
use crate::py::buffer::{Buffer, NewBytes, bytes, bytes_of, is_exact_bytes};
use crate::py::error::{discard, os_error, pending_is_any, restore};
use crate::py::python_socket::{PlainSocket, audit_sendto, plain};
use crate::py::{
    Any, AsObject, Builder, Builtin, Class, Object, Own, Pool, Raised, Res, Slot, Stop, TypeCell,
    Visitor, create, names, raise, track, value,
};

pub(super) type SockCall = Object<SockCallState>;

/// Which of the methods.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Recv,
    RecvInto,
    RecvFrom,
    RecvFromInto,
    SendAll,
    SendTo,
    Connect,
    Accept,
}

impl Kind {
    pub(super) fn side(self) -> Side {
        match self {
            Kind::Recv | Kind::RecvInto | Kind::RecvFrom | Kind::RecvFromInto | Kind::Accept => {
                Side::Read
            }
            Kind::SendAll | Kind::SendTo | Kind::Connect => Side::Write,
        }
    }
}

/// A call's fields.
pub(super) struct SockCallState {
    kind: Kind,
    event_loop: Slot<EventLoop>,
    socket: Slot,
    /// How much to receive, the buffer, the data, or the address.
    first: Slot,
    /// The size, or the address to send to.
    second: Slot,
    /// How much has been sent; whether a connection has begun; how much to receive of a stream, if
    /// that is a usual size.
    progress: Cell<usize>,
    /// The descriptor at which it waits, -1 before.
    pub(super) waits_at: Cell<RawFd>,
    /// What sending came to while the coroutine waited: the result, or an exception.
    outcome: Slot,
    failed: Cell<bool>,
    tracked: Cell<bool>,
}

static TYPE: TypeCell = TypeCell::new();
static POOL: Pool = Pool::new(256);

impl Class for SockCallState {
    const NAME: &'static std::ffi::CStr = c"aioxide.socket_call";

    fn cell() -> &'static TypeCell {
        &TYPE
    }
    fn pool() -> Option<&'static Pool> {
        Some(&POOL)
    }
    fn tracked(&self) -> Option<&Cell<bool>> {
        Some(&self.tracked)
    }
    fn traverse(object: &SockCall, visitor: &Visitor) -> Result<(), Stop> {
        visitor.slot(&object.event_loop)?;
        visitor.slot(&object.socket)?;
        visitor.slot(&object.first)?;
        visitor.slot(&object.second)?;
        visitor.slot(&object.outcome)
    }
    fn clear(object: &SockCall) {
        // The socket stays, for whoever still asks: it is no part of a cycle without the others.
        object.event_loop.clear();
        object.first.clear();
        object.second.clear();
        object.outcome.clear();
    }
}

/// Bytes up to this many are received into a place that all calls of a thread share, and copied.
const SCRATCH: usize = 64 * 1024;

/// From here on a copy costs more than a bytes object that is too large at first.
pub(super) const MUCH: usize = 16 * 1024;

thread_local! {
    static RECEIVED: UnsafeCell<Box<[u8]>> = UnsafeCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// A call that has not begun.
#[inline]
pub(super) fn make(
    kind: Kind,
    event_loop: &EventLoop,
    socket: Option<&Any>,
    first: Option<&Any>,
    second: Option<&Any>,
) -> Res<Own<SockCall>> {
    create(|| SockCallState {
        kind,
        event_loop: Slot::new(event_loop.own()),
        socket: Slot::some(socket.map(AsObject::own)),
        first: Slot::some(first.map(AsObject::own)),
        second: Slot::some(second.map(AsObject::own)),
        progress: Cell::new(0),
        waits_at: Cell::new(-1),
        outcome: Slot::empty(),
        failed: Cell::new(false),
        tracked: Cell::new(false),
    })
}

/// For the time of one system call.
#[inline(always)]
fn borrowed<'a>(socket: PlainSocket<'_>) -> Result<BorrowedFd<'a>, Errno> {
    if socket.fd() < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: not -1; whether it is open is the system call's business, which answers EBADF.
    Ok(unsafe { BorrowedFd::borrow_raw(socket.fd()) })
}

/// What a system call came to: `None` if it would block.
#[inline(always)]
fn unless_blocking<T>(outcome: Result<T, Errno>) -> Res<Option<T>> {
    match outcome {
        Ok(done) => Ok(Some(done)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(errno) => Err(os_error(&errno.into())),
    }
}

/// What a socket's method came to: `None` if it would block.
fn unless_it_blocks(outcome: Res) -> Res<Option<Own<Any>>> {
    match outcome {
        Ok(result) => Ok(Some(result)),
        Err(raised) if pending_is_any(&[Builtin::BlockingIOError, Builtin::InterruptedError]) => {
            discard(raised);
            Ok(None)
        }
        Err(raised) => Err(raised),
    }
}

/// A usual size, one that a system call can take as it is.
fn usual_size(given: &Any) -> Option<usize> {
    if !value::is_exact_int(given) {
        return None;
    }
    match value::as_int(given) {
        Ok(size) => usize::try_from(size).ok().filter(|&size| size > 0),
        Err(raised) => {
            discard(raised);
            None
        }
    }
}

impl SockCall {
    #[inline(always)]
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn event_loop(&self) -> Res<Own<EventLoop>> {
        self.event_loop.get().ok_or_else(gone)
    }

    #[inline(always)]
    pub(super) fn socket(&self) -> Own<Any> {
        self.socket.get().unwrap_or_else(value::none)
    }

    #[inline(always)]
    fn first(&self) -> Own<Any> {
        self.first.get().unwrap_or_else(value::none)
    }

    fn second(&self) -> Own<Any> {
        self.second.get().unwrap_or_else(value::none)
    }

    pub(super) fn address(&self) -> Own<Any> {
        self.first()
    }

    pub(super) fn set_address(&self, address: Own<Any>) {
        self.first.set(address);
    }

    /// Whether this is one of the usual ways to read a stream, with usual arguments.
    #[inline]
    pub(super) fn receives_a_stream(&self) -> bool {
        match self.kind {
            Kind::Recv => self.progress.get() > 0,
            Kind::RecvInto => usual_buffer(&self.first()).is_some(),
            _ => false,
        }
    }

    /// What comes before the first try.
    #[inline]
    pub(super) fn prepare(&self) -> Res<()> {
        if self.kind == Kind::Recv {
            self.progress.set(usual_size(&self.first()).unwrap_or(0));
        }
        if self.kind == Kind::RecvFromInto
            && (!self.second.is_some() || !value::is_true(&self.second())?)
        {
            let size = value::len(&self.first())?;
            self.second.set(value::int(size as i64)?);
        }
        Ok(())
    }

    /// Does it, if that is possible now. `waits` is where the socket is registered, if it is.
    #[inline]
    pub(super) fn attempt(&self, socket: &Any, waits: Option<&SockWaits>) -> Res<Option<Own<Any>>> {
        match self.kind {
            Kind::Recv => self.recv(socket, waits),
            Kind::RecvInto => self.recv_into(socket, waits),
            Kind::RecvFrom => self.recvfrom(socket, waits),
            Kind::RecvFromInto => self.recvfrom_into(socket, waits),
            Kind::SendAll => self.sendall(socket),
            Kind::SendTo => self.sendto(socket, waits),
            Kind::Connect => self.connect(socket),
            Kind::Accept => accept(socket),
        }
    }

    /// Remembers what a try came to, for the coroutine to take when it runs.
    #[inline]
    pub(super) fn finish(&self, outcome: Own<Any>, failed: bool) {
        track(self);
        self.outcome.set(outcome);
        self.failed.set(failed);
    }

    #[inline]
    pub(super) fn take_outcome(&self) -> Res {
        let outcome = self.outcome.take().unwrap_or_else(value::none);
        if self.failed.get() { Err(restore(outcome)) } else { Ok(outcome) }
    }

    /// Before it waits: what the interpreter's collector must know, and what must not change.
    pub(super) fn hold(&self) -> Res<()> {
        track(self);
        if self.kind != Kind::SendAll || is_exact_bytes(&self.first()) {
            return Ok(());
        }
        self.first.set(value::memoryview(&self.first())?);
        Ok(())
    }

    #[inline]
    fn recv(&self, socket: &Any, waits: Option<&SockWaits>) -> Res<Option<Own<Any>>> {
        let most = self.progress.get();
        let Some(plain) = plain(socket).filter(|_| most > 0) else {
            return unless_it_blocks(socket.call_method(&names::RECV, &[&*self.first()]));
        };
        let reads_much = waits.is_some_and(|waits| waits.reads_much());
        if most > SCRATCH || (reads_much && most > MUCH) {
            return recv_much(plain, most, waits);
        }
        RECEIVED.with(|received| {
            // SAFETY: this thread's own, and nothing that runs during the borrow comes back here:
            // making bytes runs no Python code.
            let space = unsafe { &mut (&mut *received.get())[..most] };
            let outcome = borrowed(plain).and_then(|fd| recv(fd, &mut *space, RecvFlags::DONTWAIT));
            let Some((len, _)) = unless_blocking(outcome)? else { return Ok(None) };
            if let Some(waits) = waits {
                waits.note_received(len, most);
            }
            bytes(&space[..len]).map(Some)
        })
    }

    fn recv_into(&self, socket: &Any, waits: Option<&SockWaits>) -> Res<Option<Own<Any>>> {
        let given = self.first();
        if let Some(plain) = plain(socket)
            && let Some(mut buffer) = usual_buffer(&given)
        {
            let outcome =
                borrowed(plain).and_then(|fd| recv(fd, buffer.as_mut_slice(), RecvFlags::DONTWAIT));
            let Some((len, _)) = unless_blocking(outcome)? else { return Ok(None) };
            if let Some(waits) = waits {
                waits.note_received(len, buffer.len());
            }
            return value::int(len as i64).map(Some);
        }
        unless_it_blocks(socket.call_method(&names::RECV_INTO, &[&given]))
    }

    fn recvfrom(&self, socket: &Any, waits: Option<&SockWaits>) -> Res<Option<Own<Any>>> {
        let size = self.first();
        let usual = plain(socket).filter(|plain| address::knows(plain.family()));
        let (Some(plain), Some(most)) = (usual, usual_size(&size).filter(|&most| most <= SCRATCH))
        else {
            return unless_it_blocks(socket.call_method(&names::RECVFROM, &[&size]));
        };
        RECEIVED.with(|received| {
            // SAFETY: as in `recv`; nor does making addresses of known families.
            let space = unsafe { &mut (&mut *received.get())[..most] };
            let outcome =
                borrowed(plain).and_then(|fd| recvfrom(fd, &mut *space, RecvFlags::DONTWAIT));
            let Some((len, _, from)) = unless_blocking(outcome)? else { return Ok(None) };
            let data = bytes(&space[..len])?;
            value::tuple(&[&data, &*sender(from.as_ref(), waits)?]).map(Some)
        })
    }

    fn recvfrom_into(&self, socket: &Any, waits: Option<&SockWaits>) -> Res<Option<Own<Any>>> {
        let (given, size) = (self.first(), self.second());
        let usual = plain(socket).filter(|plain| address::knows(plain.family()));
        if let (Some(plain), Some(most)) = (usual, usual_size(&size))
            && let Some(mut buffer) = usual_buffer(&given)
            && let Some(space) = buffer.as_mut_slice().get_mut(..most)
        {
            let outcome = borrowed(plain).and_then(|fd| recvfrom(fd, space, RecvFlags::DONTWAIT));
            let Some((len, _, from)) = unless_blocking(outcome)? else { return Ok(None) };
            let len = value::int(len as i64)?;
            return value::tuple(&[&len, &*sender(from.as_ref(), waits)?]).map(Some);
        }
        unless_it_blocks(socket.call_method(&names::RECVFROM_INTO, &[&given, &size]))
    }

    #[inline]
    fn sendall(&self, socket: &Any) -> Res<Option<Own<Any>>> {
        let data = self.first();
        let Some(plain) = plain(socket) else { return self.sendall_by_method(socket, &data) };
        if is_exact_bytes(&data) {
            return self.send_rest(plain, bytes_of(&data));
        }
        let buffer = Buffer::readable(&data)?;
        self.send_rest(plain, buffer.as_slice())
    }

    /// One `send` of what has not been sent.
    #[inline(always)]
    fn send_rest(&self, plain: PlainSocket<'_>, all: &[u8]) -> Res<Option<Own<Any>>> {
        let sent = self.progress.get();
        let rest = all.get(sent..).unwrap_or_default();
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let outcome = borrowed(plain).and_then(|fd| send(fd, rest, flags));
        let Some(len) = unless_blocking(outcome)? else { return Ok(None) };
        self.progress.set(sent + len);
        Ok((len == rest.len()).then(value::none))
    }

    #[cold]
    fn sendall_by_method(&self, socket: &Any, data: &Any) -> Res<Option<Own<Any>>> {
        let sent = self.progress.get();
        let outcome = if sent == 0 {
            socket.call_method(&names::SEND, &[data])
        } else {
            socket.call_method(&names::SEND, &[&*value::slice_from(data, sent)?])
        };
        let Some(len) = unless_it_blocks(outcome)? else { return Ok(None) };
        let sent = sent + usize::try_from(value::as_int(&len)?).unwrap_or(0);
        self.progress.set(sent);
        Ok((sent == value::len(data)?).then(value::none))
    }

    fn sendto(&self, socket: &Any, waits: Option<&SockWaits>) -> Res<Option<Own<Any>>> {
        let (data, given) = (self.first(), self.second());
        if let Some(plain) = plain(socket)
            && let Some(buffer) = readable(&data)
            && let Some(to) = destination(plain.family(), &given, waits)?
        {
            audit_sendto(socket, &given)?;
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            let outcome = borrowed(plain).and_then(|fd| sendto(fd, buffer.as_slice(), flags, &to));
            return unless_blocking(outcome)?.map(|len| value::int(len as i64)).transpose();
        }
        unless_it_blocks(socket.call_method(&names::SENDTO, &[&data, &given]))
    }

    /// Connecting goes on by itself; when the socket is writable it can say how that ended.
    fn connect(&self, socket: &Any) -> Res<Option<Own<Any>>> {
        let address = self.address();
        if self.progress.replace(1) == 0 {
            let begun = socket.call_method(&names::CONNECT, &[&address]);
            return Ok(unless_it_blocks(begun)?.map(|_| value::none()));
        }
        let level = value::int(i64::from(libc::SOL_SOCKET))?;
        let option = value::int(i64::from(libc::SO_ERROR))?;
        let code = socket.call_method(&names::GETSOCKOPT, &[&level, &option])?;
        if value::as_int(&code)? == 0 {
            return Ok(Some(value::none()));
        }
        let text = format!("Connect call failed {}", value::str_text(&address)?);
        let failure = Builtin::OSError.get().call(&[&code, &*value::string(&text)?])?;
        unless_it_blocks(Err(restore(failure)))
    }
}

/// A buffer that a system call can receive into; others are for the socket's method to refuse.
fn usual_buffer(given: &Any) -> Option<Buffer> {
    match Buffer::writable(given) {
        Ok(buffer) => Some(buffer).filter(|buffer| buffer.len() > 0),
        Err(raised) => {
            discard(raised);
            None
        }
    }
}

/// Data that a system call can send; other objects are for the socket's method to refuse.
fn readable(given: &Any) -> Option<Buffer> {
    Buffer::readable(given).map_err(discard).ok()
}

/// Receives into a bytes object of that size, which is cut to what came.
fn recv_much(
    plain: PlainSocket<'_>,
    most: usize,
    waits: Option<&SockWaits>,
) -> Res<Option<Own<Any>>> {
    let mut made = NewBytes::with_capacity(most)?;
    let outcome = borrowed(plain).and_then(|fd| recv(fd, made.space(), RecvFlags::DONTWAIT));
    let Some(len) = unless_blocking(outcome.map(|((filled, _), _)| filled.len()))? else {
        return Ok(None);
    };
    if let Some(waits) = waits {
        waits.note_received(len, most);
    }
    // SAFETY: the kernel wrote this much.
    unsafe { made.finish(len) }.map(Some)
}

/// The address that something came from.
fn sender(from: Option<&SocketAddrAny>, waits: Option<&SockWaits>) -> Res {
    let from = from.map_or_else(SockAddr::empty, SockAddr::from_any);
    match waits {
        Some(waits) => waits.sender(&from),
        None => address::from_kernel(&from),
    }
}

/// The address to send to, if it needs no lookup.
fn destination(family: c_int, given: &Any, waits: Option<&SockWaits>) -> Res<Option<SockAddr>> {
    match waits {
        Some(waits) => waits.destination(family, given),
        None => address::to_kernel(family, given),
    }
}

fn accept(socket: &Any) -> Res<Option<Own<Any>>> {
    let Some(accepted) = unless_it_blocks(socket.call_method(&names::ACCEPT, &[]))? else {
        return Ok(None);
    };
    let connection = value::item(&accepted, 0)?;
    connection.call_method(&names::SETBLOCKING, &[&*value::boolean(false)])?;
    let address = value::item(&accepted, 1)?;
    value::tuple(&[&connection, &address]).map(Some)
}

#[cold]
fn gone() -> Raised {
    raise(Builtin::RuntimeError.get(), "the call is over")
}

/// Makes the type.
pub(super) fn build() -> Res<()> {
    Builder::<SockCallState>::new(c"").not_constructible().build().map(drop)
}
