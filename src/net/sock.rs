//! `loop.sock_recv` and its like, as coroutines of one shape: try, wait until the socket is ready,
//! try again, return.
//!
//! What is tried is in `sock_call`, where it is waited in `sock_waits`. As in asyncio the second
//! try and all further ones are made when the socket is ready, in a turn of their own; the
//! coroutine is resumed in the next.

use super::sock_call::{self, Kind, SockCall, SockCallState};
use super::sock_waits::{self, Side};
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
    if call.receives_a_stream() && waits.as_ref().is_some_and(|waits| waits.spares_a_try()) {
        return wait(this, call, &event_loop);
    }
    let done = call.attempt(waits.as_deref())?;
    if let Some(waits) = waits
        && call.kind().side() == Side::Read
    {
        waits.expect_more();
    }
    match done {
        Some(result) => Ok(Sent::Returned(result)),
        None => wait(this, call, &event_loop),
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

#[inline]
fn wait(this: &Coroutine, call: &SockCall, event_loop: &EventLoop) -> Res<Sent> {
    call.hold()?;
    this.place.set(WAITING);
    let fd = sock_waits::enter(event_loop, this, call, call.kind().side())?;
    call.waits_at.set(fd);
    this.wait()
}

#[inline]
fn end(this: &Coroutine, call: &SockCall, exception: Option<Own<Any>>) -> Res<Sent> {
    let Some(exception) = exception else { return call.take_outcome().map(Sent::Returned) };
    // Cancelled: it may still wait, and what came may have found it already.
    let event_loop = call.event_loop()?;
    sock_waits::leave(&event_loop, call.waits_at.get(), this, call.kind().side())?;
    call.keep_outcome()?;
    Err(restore(exception))
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
    match call.attempt(None)? {
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
    crate::py::python_socket::load()?;
    sock_call::build()?;
    sock_waits::build()?;
    let model = import(c"asyncio.selector_events", c"BaseSelectorEventLoop")?;
    add_methods(LoopState::cell().object(), &model)
}
