//! Listening sockets: connections are accepted and made transports without leaving native code.
//!
//! Each time a listener is readable it accepts a small batch, so that a flood of new connections
//! does not starve those that are there. When the process has no descriptors left, the listener
//! stops asking (a loop that does not spends a whole core on hearing the same refusal), and goes on
//! when one of the loop's own connections closes or after asyncio's delay of a second.

use std::cell::Cell;
use std::net::SocketAddr;
use std::os::fd::{OwnedFd, RawFd};

use reactor::Interest;
use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_nodelay;
use rustix::net::{SocketAddrAny, SocketFlags, acceptfrom_with, getsockname};

use super::pending::borrowed;
use super::transport::Transport;
use crate::engine::asyncio::asyncio;
use crate::engine::current;
use crate::engine::endpoint::{Endpoint, Readiness};
use crate::engine::event_loop::EventLoop;
use crate::py::error::{fetch, is_fatal, os_error, restore};
use crate::py::{
    Any, Args, AsObject, BoundMethod, Builder, Class, Object, Own, Raised, Res, Signature, Slot,
    Stop, TypeCell, Visitor, bound, context, create, error, names, track, type_error, value,
};
use crate::tls::{Settings, TlsTransport};

/// The most that one turn accepts from one listener.
const BATCH: u32 = 16;

/// `asyncio.constants.ACCEPT_RETRY_DELAY`, in seconds.
const RETRY_DELAY: f64 = 1.0;

pub(crate) type Listener = Object<ListenerState>;

/// A listener's fields.
pub(crate) struct ListenerState {
    event_loop: Slot<EventLoop>,
    protocol_factory: Slot,
    sock: Slot,
    server: Slot,
    context: Slot,
    /// `(sslcontext, handshake timeout, shutdown timeout)`, if connections are secured.
    secure: Slot,
    fd: RawFd,
    /// The address of every connection, if it is bound to one and not to all.
    address: Option<SocketAddr>,
    batch: u32,
    /// As many as came last time are accepted, and twice that if they were all: to ask when there
    /// is none left costs as much as to accept one.
    expected: Cell<u32>,
    /// Waits for a descriptor to become free.
    starved: Cell<bool>,
    /// When the last shortage was reported.
    reported: Cell<f64>,
    tracked: Cell<bool>,
}

static TYPE: TypeCell = TypeCell::new();

impl Class for ListenerState {
    const NAME: &'static std::ffi::CStr = c"aioxide._core.Listener";

    fn cell() -> &'static TypeCell {
        &TYPE
    }
    fn tracked(&self) -> Option<&Cell<bool>> {
        Some(&self.tracked)
    }
    fn traverse(object: &Listener, visitor: &Visitor) -> Result<(), Stop> {
        visitor.slot(&object.event_loop)?;
        visitor.slot(&object.protocol_factory)?;
        visitor.slot(&object.sock)?;
        visitor.slot(&object.server)?;
        visitor.slot(&object.context)?;
        visitor.slot(&object.secure)
    }
    fn clear(object: &Listener) {
        object.protocol_factory.clear();
        object.sock.clear();
        object.server.clear();
        object.context.clear();
        object.secure.clear();
    }
    fn leave(object: &Listener) {
        // SAFETY: a look at the loop, whose table forgets an object that is about to die.
        if let Some(event_loop) = unsafe { object.event_loop.peek() }
            && let Some(io) = event_loop.living_io()
        {
            io.detach(object.fd, object);
        }
    }
}

impl Endpoint for ListenerState {
    const IS_TRANSPORT: bool = false;

    fn ready(this: &Listener, event_loop: &EventLoop, _: Readiness) -> Res<()> {
        current::withdraw(event_loop)?;
        for accepted in 0..this.expected.get() {
            // A protocol that was made just now may have closed the server.
            if !this.is_listening(event_loop)? {
                return Ok(());
            }
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            match acceptfrom_with(borrowed(this.fd), flags) {
                Ok((fd, peer)) => this.welcome(event_loop, fd, peer)?,
                Err(Errno::CONNABORTED) if cfg!(Py_3_14) => {}
                Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => {
                    this.expected.set(accepted.max(1));
                    return Ok(());
                }
                Err(errno @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
                    return this.starve(event_loop, errno);
                }
                Err(errno) => return Err(os_error(&errno.into())),
            }
        }
        this.expected.set((this.expected.get() * 2).min(this.batch));
        Ok(())
    }
}

static LISTEN: Signature<5> = Signature {
    method: "_listen",
    names: [
        &names::PROTOCOL_FACTORY,
        &names::SOCK,
        &names::SERVER,
        &names::BACKLOG,
        &names::SECURE,
    ],
    positional: 5,
    required: 5,
};

/// `loop._listen(protocol_factory, sock, server, backlog, secure)`: accept from now on.
pub(crate) fn listen(event_loop: &EventLoop, args: Args<'_>) -> Res<()> {
    let [factory, sock, server, backlog, secure] = args.bind(&LISTEN)?;
    let none = value::none_ref();
    let sock = sock.unwrap_or(none);
    let fd = value::as_int(&*sock.call_method(&names::FILENO, &[])?)? as RawFd;
    let backlog = backlog.map_or(Ok(100), value::as_int)?;
    event_loop.check_closed()?;
    let context = context::copy_current()?;
    let listener = create(|| ListenerState {
        event_loop: Slot::new(event_loop.own()),
        protocol_factory: Slot::some(factory.map(AsObject::own)),
        sock: Slot::new(sock.own()),
        server: Slot::some(server.map(AsObject::own)),
        context: Slot::new(context),
        secure: Slot::some(secure.filter(|secure| !secure.is_none()).map(AsObject::own)),
        fd,
        address: own_address(fd),
        batch: backlog.clamp(1, i64::from(BATCH)) as u32,
        expected: Cell::new(backlog.clamp(1, i64::from(BATCH)) as u32),
        starved: Cell::new(false),
        reported: Cell::new(f64::NEG_INFINITY),
        tracked: Cell::new(false),
    })?;
    track(&listener);
    let io = event_loop.io()?;
    io.attach(fd, &listener);
    io.set_interest(fd, &*listener, Interest::READ).map_err(|failure| os_error(&failure))
}

/// `loop._stop_listening(fd)`.
pub(crate) fn stop_listening(event_loop: &EventLoop, fd: &Any) -> Res<()> {
    let fd = value::as_int(fd)? as RawFd;
    let Some(io) = event_loop.living_io() else { return Ok(()) };
    if let Some(found) = io.endpoint_at(fd)
        && let Some(listener) = found.cast_exact::<ListenerState>()
    {
        io.detach(fd, listener);
    }
    Ok(())
}

/// What every accepted connection has as its own address.
fn own_address(fd: RawFd) -> Option<SocketAddr> {
    let address = SocketAddr::try_from(getsockname(borrowed(fd)).ok()?).ok()?;
    (!address.ip().is_unspecified()).then_some(address)
}

impl Listener {
    fn is_listening(&self, event_loop: &EventLoop) -> Res<bool> {
        Ok(event_loop.io()?.endpoint_at(self.fd).is_some_and(|object| object.is(self)))
    }

    /// A new connection: a protocol for it, and a transport.
    fn welcome(&self, event_loop: &EventLoop, fd: OwnedFd, peer: Option<SocketAddrAny>) -> Res<()> {
        let (Some(factory), Some(context)) = (self.protocol_factory.get(), self.context.get())
        else {
            return Ok(());
        };
        // asyncio has a Task for each connection and Handles in it, each with its own copy.
        let context = context::copy(&context)?;
        context::enter(&context)?;
        let made = self.make(event_loop, &factory, fd, peer, &context);
        context::exit(&context);
        let (protocol, transport) = match made {
            Ok(made) => made,
            Err(Failed { raised, protocol }) => {
                return self.failed(event_loop, raised, protocol);
            }
        };
        self.introduce(event_loop, &protocol, &transport, &context)
    }

    fn make(
        &self,
        event_loop: &EventLoop,
        factory: &Any,
        fd: OwnedFd,
        peer: Option<SocketAddrAny>,
        context: &Any,
    ) -> Result<(Own<Any>, Own<Transport>), Failed> {
        let protocol = factory.call(&[]).map_err(|raised| Failed { raised, protocol: None })?;
        let server = self.server.get();
        if peer.as_ref().is_some_and(|peer| SocketAddr::try_from(peer.clone()).is_ok()) {
            // Small writes do not wait for the acknowledgement of earlier ones. What is not TCP after
            // all has no such option.
            let _ = set_tcp_nodelay(&fd, true);
        }
        let told = match self.secure.get() {
            Some(secure) => secured(event_loop, &protocol, &secure)
                .map_err(|raised| Failed { raised, protocol: Some(protocol) })?,
            None => protocol,
        };
        let transport =
            Transport::over_accepted(event_loop, fd, &told, server.as_deref(), context.own())
                .and_then(|transport| {
                    transport.remember_listener(self.address);
                    transport.remember_peer(peer.as_ref())?;
                    self.log(event_loop, &transport)?;
                    Ok(transport)
                });
        match transport {
            Ok(transport) => Ok((told, transport)),
            Err(raised) => Err(Failed { raised, protocol: Some(told) }),
        }
    }

    fn log(&self, event_loop: &EventLoop, transport: &Transport) -> Res<()> {
        if !event_loop.debug() {
            return Ok(());
        }
        let format = value::string("%r got a new connection from %r: %r")?;
        let server = self.server.get().unwrap_or_else(value::none);
        let none = value::none_ref();
        let peer = transport.extra_info(names::PEERNAME.get(), none)?;
        let sock = transport.python_socket()?.unwrap_or_else(value::none);
        asyncio().logger.call_method(&names::DEBUG, &[&format, &server, &peer, &sock]).map(drop)
    }

    /// `connection_made`, then reading begins, whatever came of it.
    fn introduce(
        &self,
        event_loop: &EventLoop,
        protocol: &Any,
        transport: &Transport,
        context: &Any,
    ) -> Res<()> {
        let made_in = context::copy(context)?;
        context::enter(&made_in)?;
        let told = protocol.call_method(&names::CONNECTION_MADE, &[transport.as_any()]);
        context::exit(&made_in);
        if let Err(raised) = told {
            let exception = fetch(raised);
            if is_fatal(&exception) {
                return Err(restore(exception));
            }
            let callback = protocol.attr(&names::CONNECTION_MADE)?;
            let args = value::tuple(&[transport.as_any()])?;
            event_loop.as_any().call_method(
                &names::CALLBACK_FAILED,
                &[&callback, &args, value::none_ref(), &exception],
            )?;
        }
        // As asyncio's `add_reader` here: in this context, even if the protocol resumed meanwhile.
        transport.read_context.set(context.own());
        transport.begin_reading()
    }

    /// asyncio says so in debug mode only.
    #[cold]
    fn failed(
        &self,
        event_loop: &EventLoop,
        raised: Raised,
        protocol: Option<Own<Any>>,
    ) -> Res<()> {
        let exception = fetch(raised);
        if is_fatal(&exception) {
            return Err(restore(exception));
        }
        if !event_loop.debug() {
            return Ok(());
        }
        let text = value::string("Error on transport creation for incoming connection")?;
        let details = value::dict_of(&[(&names::MESSAGE, &text), (&names::EXCEPTION, &exception)])?;
        if let Some(protocol) = protocol {
            crate::py::dict_set(&details, names::PROTOCOL.get(), &protocol)?;
        }
        event_loop.as_any().call_method(&names::CALL_EXCEPTION_HANDLER, &[&details]).map(drop)
    }

    /// No descriptors are left, or no memory.
    #[cold]
    fn starve(&self, event_loop: &EventLoop, errno: Errno) -> Res<()> {
        let io = event_loop.io()?;
        io.set_interest(self.fd, self, Interest::NONE).map_err(|failure| os_error(&failure))?;
        let is_first = !self.starved.replace(true);
        if is_first {
            event_loop.starved_listeners().borrow_mut().push(self.own().into_any());
        }
        let now = reactor::monotonic();
        if now - self.reported.get() < RETRY_DELAY {
            return Ok(());
        }
        self.reported.set(now);
        let exception = fetch(os_error(&errno.into()));
        let text = value::string("socket.accept() out of system resource")?;
        let shown = match self.sock.get() {
            Some(sock) => super::socket::shown(&sock)?,
            None => value::none(),
        };
        let details = value::dict_of(&[
            (&names::MESSAGE, &text),
            (&names::EXCEPTION, &exception),
            (&names::SOCKET, &shown),
        ])?;
        event_loop.as_any().call_method(&names::CALL_EXCEPTION_HANDLER, &[&details])?;
        let retry = bound(&RETRY, self, |this: &Listener, event_loop: &Any| {
            match event_loop.cast::<crate::engine::event_loop::LoopState>() {
                Some(event_loop) => this.recover(event_loop),
                None => Ok(()),
            }
        })?;
        let delay = value::float(RETRY_DELAY)?;
        let args: [&Any; 3] = [&delay, &retry, event_loop.as_any()];
        event_loop.as_any().call_method(&names::CALL_LATER, &args).map(drop)
    }

    /// Asks again, if it is still there and starved.
    fn recover(&self, event_loop: &EventLoop) -> Res<()> {
        if !self.starved.replace(false) {
            return Ok(());
        }
        event_loop.starved_listeners().borrow_mut().retain(|listener| !listener.is(self));
        if event_loop.is_closed() {
            return Ok(());
        }
        let io = event_loop.io()?;
        io.set_interest(self.fd, self, Interest::READ).map_err(|failure| os_error(&failure))
    }
}

/// TLS in front of a protocol.
fn secured(event_loop: &EventLoop, protocol: &Any, secure: &Any) -> Res {
    let &[sslcontext, handshake_timeout, shutdown_timeout] = value::tuple_items(secure) else {
        return Err(type_error("a listener is secured by a context and two timeouts"));
    };
    let settings = Settings {
        context: sslcontext,
        server_side: true,
        server_hostname: None,
        handshake_timeout,
        shutdown_timeout,
    };
    TlsTransport::make(event_loop.as_any(), protocol, &settings, None, true).map(Own::into_any)
}

static RETRY: BoundMethod = BoundMethod::new(c"_start_serving");

/// Why a connection did not become a transport.
struct Failed {
    raised: Raised,
    protocol: Option<Own<Any>>,
}

/// A descriptor of the loop's was closed: whoever starves may try again.
#[inline]
pub(super) fn descriptor_freed(event_loop: &EventLoop) {
    if event_loop.starved_listeners().borrow().is_empty() {
        return;
    }
    let starved = std::mem::take(&mut *event_loop.starved_listeners().borrow_mut());
    for listener in starved {
        if let Some(listener) = listener.cast_exact::<ListenerState>()
            && let Err(raised) = listener.recover(event_loop)
        {
            error::discard(raised);
        }
    }
}

/// Makes the type.
pub(super) fn build() -> Res<&'static Any> {
    Builder::<ListenerState>::new(c"A listening socket.").not_constructible().build()
}
