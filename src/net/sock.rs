//! `loop.sock_recv` and its like, as coroutines of one shape: try, wait until the socket is ready,
//! try again, return.
//!
//! What is tried is in `sock_call`, where it is waited in `sock_waits`. As in asyncio a coroutine is
//! resumed in the turn after the one in which its socket is ready. What waits to send is sent when
//! the socket is ready. What waits to receive receives when it is resumed: a Task finds what it got
//! in the processor's caches, where asyncio first receives for all sockets that are ready, and a
//! call that is cancelled has received nothing.

use super::sock_call::{self, Kind, SockCall, SockCallState};
use super::sock_waits::{self, Side, SockWaits};
use crate::engine::event_loop::{EventLoop, LoopState};
use crate::py::error::restore;
use crate::py::names::Name;
use crate::py::python_socket::plain;
use crate::py::{
    Any, Args, AsObject, Builtin, Class, Global, Own, Res, Sent, Signature, import, names, raise,
    value,
};
use crate::sync::methods::add_async_methods;
use crate::tasks::coroutine::{Behaviour, Coroutine, coroutine};

/// `asyncio.base_events._check_ssl_socket`.
static CHECK_SSL_SOCKET: Global<Own<Any>> = Global::new();

/// The places of a coroutine.
const BEGIN: u8 = 0;
const RESOLVING: u8 = 1;
const WAITING: u8 = 2;

fn resume(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    let call = this.owner_as::<SockCallState>()?;
    match this.place.get() {
        BEGIN => begin(this, &call),
        RESOLVING => resolve(this, &call, exception),
        _ => end(this, &call, exception),
    }
}

#[inline]
fn begin(this: &Coroutine, call: &SockCall) -> Res<Sent> {
    let event_loop = call.event_loop()?;
    let socket = call.socket();
    let plain = plain(&socket);
    if plain.is_none() {
        CHECK_SSL_SOCKET.get().call(&[&socket])?;
    }
    if event_loop.debug() {
        check_is_non_blocking(&socket)?;
    }
    call.prepare()?;
    if call.kind() == Kind::Connect && is_resolved_first(&socket)? {
        this.await_inner(&*resolution(&event_loop, call)?)?;
        this.place.set(RESOLVING);
        return resolve(this, call, None);
    }
    let waits = plain.and_then(|plain| sock_waits::find(&event_loop, plain.fd(), &socket));
    if let Some(waits) = &waits
        && waits.spares_a_try(call)
    {
        return wait_at(waits, this, call, &event_loop);
    }
    let done = call.attempt(&socket, waits.as_deref())?;
    if let Some(waits) = &waits
        && call.kind().side() == Side::Read
    {
        waits.was_tried(&event_loop);
        waits.expect_more();
    }
    match (done, waits) {
        (Some(result), _) => Ok(Sent::Returned(result)),
        (None, Some(waits)) => wait_at(&waits, this, call, &event_loop),
        (None, None) => wait(this, call, &event_loop),
    }
}

#[cold]
fn check_is_non_blocking(socket: &Any) -> Res<()> {
    let timeout = socket.call_method(&names::GETTIMEOUT, &[])?;
    if timeout.equals(&*value::int(0)?)? {
        return Ok(());
    }
    Err(raise(Builtin::ValueError.get(), "the socket must be non-blocking"))
}

/// Waits where the socket is registered.
#[inline]
fn wait_at(
    waits: &SockWaits,
    this: &Coroutine,
    call: &SockCall,
    event_loop: &EventLoop,
) -> Res<Sent> {
    call.hold()?;
    this.place.set(WAITING);
    call.waits_at.set(waits.let_in(event_loop, this, call.kind().side())?);
    this.wait()
}

#[cold]
fn wait(this: &Coroutine, call: &SockCall, event_loop: &EventLoop) -> Res<Sent> {
    call.hold()?;
    this.place.set(WAITING);
    let fd = sock_waits::enter(event_loop, this, call, call.kind().side())?;
    call.waits_at.set(fd);
    this.wait()
}

#[inline]
fn end(this: &Coroutine, call: &SockCall, exception: Option<Own<Any>>) -> Res<Sent> {
    let side = call.kind().side();
    if exception.is_none() && side == Side::Write {
        return call.take_outcome().map(Sent::Returned);
    }
    let event_loop = call.event_loop()?;
    if let Some(exception) = exception {
        // Cancelled: it may still wait.
        sock_waits::leave(&event_loop, call.waits_at.get(), this, side)?;
        return Err(restore(exception));
    }
    match sock_waits::resume(&event_loop, call)? {
        Some(result) => Ok(Sent::Returned(result)),
        None => wait_again(this, call, &event_loop),
    }
}

/// Nothing was there after all. Who has come to wait meanwhile has the place.
#[cold]
fn wait_again(this: &Coroutine, call: &SockCall, event_loop: &EventLoop) -> Res<Sent> {
    if sock_waits::is_waited_for(event_loop, call) {
        return this.wait();
    }
    wait(this, call, event_loop)
}

/// Whether asyncio looks up the address of such a socket.
fn is_resolved_first(socket: &Any) -> Res<bool> {
    let family = value::as_int(&*socket.attr(&names::FAMILY)?)?;
    Ok(family == i64::from(libc::AF_INET) || family == i64::from(libc::AF_INET6))
}

/// `loop._ensure_resolved(address, family=..., type=..., proto=..., loop=loop)`.
fn resolution(event_loop: &EventLoop, call: &SockCall) -> Res {
    let socket = call.socket();
    let keywords = [&names::FAMILY, &names::TYPE, &names::PROTO, &names::LOOP].map(Name::get);
    event_loop.as_any().attr(&names::ENSURE_RESOLVED)?.call_with_names(
        &[
            &*call.address(),
            &*socket.attr(&names::FAMILY)?,
            &*socket.attr(&names::TYPE)?,
            &*socket.attr(&names::PROTO)?,
            event_loop.as_any(),
        ],
        &*value::tuple(&keywords)?,
    )
}

fn resolve(this: &Coroutine, call: &SockCall, exception: Option<Own<Any>>) -> Res<Sent> {
    let resolved = match this.drive(exception)? {
        Sent::Yielded(yielded) => return Ok(Sent::Yielded(yielded)),
        Sent::Returned(resolved) => resolved,
    };
    let first = value::item(&resolved, 0)?;
    call.set_address(value::item(&first, 4)?);
    match call.attempt(&call.socket(), None)? {
        Some(result) => Ok(Sent::Returned(result)),
        None => wait(this, call, &*call.event_loop()?),
    }
}

/// Adds the methods to the loop's type.
fn add_methods(class: &Any, model: &Any) -> Res<()> {
    macro_rules! method {
        ($name:ident, $kind:ident, $qualname:literal, [$($argument:ident),+], $required:literal) => {{
            static BEHAVIOUR: Behaviour = Behaviour {
                qualname: concat!("BaseSelectorEventLoop.", $qualname),
                resume,
            };
            static SIGNATURE: Signature<{ [$(stringify!($argument)),+].len() }> = Signature {
                method: concat!("BaseSelectorEventLoop.", $qualname),
                names: [$(&names::$argument),+],
                positional: [$(stringify!($argument)),+].len(),
                required: $required,
            };
            add_async_methods(class, model, &names::$name, |this: &EventLoop, args: Args<'_>| {
                let given = args.bind(&SIGNATURE)?;
                let argument = |index: usize| given.get(index).copied().flatten();
                let (socket, first, second) = (argument(0), argument(1), argument(2));
                let call = sock_call::make(Kind::$kind, this, socket, first, second)?;
                coroutine(&BEHAVIOUR, Some(call.into_any()), None)
            })?;
        }};
    }
    method!(SOCK_RECV, Recv, "sock_recv", [SOCK, N], 2);
    method!(SOCK_RECV_INTO, RecvInto, "sock_recv_into", [SOCK, BUF], 2);
    method!(SOCK_RECVFROM, RecvFrom, "sock_recvfrom", [SOCK, BUFSIZE], 2);
    method!(SOCK_RECVFROM_INTO, RecvFromInto, "sock_recvfrom_into", [SOCK, BUF, NBYTES], 2);
    method!(SOCK_SENDALL, SendAll, "sock_sendall", [SOCK, DATA], 2);
    method!(SOCK_SENDTO, SendTo, "sock_sendto", [SOCK, DATA, ADDRESS], 3);
    method!(SOCK_CONNECT, Connect, "sock_connect", [SOCK, ADDRESS], 2);
    method!(SOCK_ACCEPT, Accept, "sock_accept", [SOCK], 1);
    Ok(())
}

/// Makes the types, and gives the methods to the loop's.
pub(super) fn build() -> Res<()> {
    CHECK_SSL_SOCKET.fill(import(c"asyncio.base_events", c"_check_ssl_socket")?);
    sock_call::build()?;
    sock_waits::build()?;
    let model = import(c"asyncio.selector_events", c"BaseSelectorEventLoop")?;
    add_methods(LoopState::cell().object(), &model)
}
