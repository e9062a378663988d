//! What a transport knows of its socket, and what it needs of Python's sockets and asyncio's Server:
//! once per connection, so through their methods.

use std::os::fd::RawFd;

use std::net::SocketAddr;

use rustix::net::addr::SocketAddrArg;
use rustix::net::{SocketAddrAny, getsockname};

use super::address::{SockAddr, from_kernel};
use super::pending::borrowed;
use super::transport::Transport;
use crate::py::names::Name;
use crate::py::{Any, AsObject, Global, Own, Res, error, import, names, value};

/// What is imported.
struct Sockets {
    socket_class: Own<Any>,
    transport_socket_class: Own<Any>,
    set_nodelay: Own<Any>,
}

static SOCKETS: Global<Sockets> = Global::new();

pub(super) fn load() -> Res<()> {
    crate::py::python_socket::load()?;
    SOCKETS.fill(Sockets {
        socket_class: import(c"socket", c"socket")?,
        transport_socket_class: import(c"asyncio.trsock", c"TransportSocket")?,
        set_nodelay: import(c"asyncio.base_events", c"_set_nodelay")?,
    });
    Ok(())
}

/// Small writes are sent without waiting for the acknowledgement of earlier ones.
pub(super) fn set_nodelay(sock: &Any) -> Res<()> {
    SOCKETS.get().set_nodelay.call(&[sock]).map(drop)
}

/// A non-blocking Python socket that owns this descriptor.
pub(super) fn adopt(fd: RawFd) -> Res {
    let number = value::int(i64::from(fd))?;
    let keywords = value::tuple(&[names::FILENO.get()])?;
    let sock = SOCKETS.get().socket_class.call_with_names(&[&number], &keywords)?;
    sock.call_method(&names::SETBLOCKING, &[&*value::boolean(false)])?;
    Ok(sock)
}

/// `asyncio.trsock.TransportSocket(sock)`, what `get_extra_info("socket")` shows.
pub(super) fn shown(sock: &Any) -> Res {
    SOCKETS.get().transport_socket_class.call(&[sock])
}

/// asyncio's Server counts its connections, from 3.13 on it knows them.
pub(super) fn attach_to_server(server: &Any, transport: &Any) -> Res<()> {
    let args: &[&Any] = if cfg!(Py_3_13) { &[transport] } else { &[] };
    server.call_method(&names::ATTACH, args).map(drop)
}

pub(super) fn detach_from_server(server: &Any, transport: &Any) -> Res<()> {
    let args: &[&Any] = if cfg!(Py_3_13) { &[transport] } else { &[] };
    server.call_method(&names::DETACH, args).map(drop)
}

/// The result of a method of the socket that may fail with an OSError, None then.
fn address(sock: &Any, method: &'static Name) -> Res {
    sock.call_method(method, &[]).or_else(|raised| {
        let exception = error::fetch(raised);
        if error::is_kind(&exception, crate::py::Builtin::OSError.get()) {
            return Ok(value::none());
        }
        Err(error::restore(exception))
    })
}

impl Transport {
    /// Fills in what asyncio's transports know from the start.
    pub(super) fn remember_addresses(&self, sock: &Any) -> Res<()> {
        let extra = self.extra_dict()?;
        crate::py::dict_set(&extra, names::SOCKET.get(), &*shown(sock)?)?;
        crate::py::dict_set(&extra, names::SOCKNAME.get(), &*address(sock, &names::GETSOCKNAME)?)?;
        if crate::py::dict_get(&extra, names::PEERNAME.get())?.is_none() {
            let peer = address(sock, &names::GETPEERNAME)?;
            crate::py::dict_set(&extra, names::PEERNAME.get(), &peer)?;
        }
        Ok(())
    }

    pub(super) fn extra_dict(&self) -> Res {
        if let Some(extra) = self.extra.get() {
            return Ok(extra);
        }
        let extra = value::dict_of(&[])?;
        self.extra.set(extra.clone());
        Ok(extra)
    }

    /// Remembers the own address of an accepted connection, if that is its listener's.
    pub(super) fn remember_listener(&self, address: Option<SocketAddr>) {
        self.own.set(address);
    }

    /// Remembers the peer of an accepted connection; an address of the internet needs no Python
    /// object until somebody asks.
    pub(super) fn remember_peer(&self, address: Option<&SocketAddrAny>) -> Res<()> {
        match address.map(|address| (SocketAddr::try_from(address.clone()), address)) {
            Some((Ok(inet), _)) => {
                self.peer.set(Some(inet));
                Ok(())
            }
            Some((Err(_), other)) => self.remember(&names::PEERNAME, &*python_address(other)?),
            // A peer without a name, as Unix sockets mostly are.
            None => self.remember(&names::PEERNAME, &*value::string("")?),
        }
    }

    fn remember(&self, name: &'static Name, info: &Any) -> Res<()> {
        crate::py::dict_set(&*self.extra_dict()?, name.get(), info)
    }

    /// Before the descriptor is closed: its own address can be asked for later.
    pub(super) fn remember_own_address(&self) -> Res<()> {
        if !self.owns_descriptor() || self.own.get().is_some() || self.knows(&names::SOCKNAME)? {
            return Ok(());
        }
        match getsockname(borrowed(self.fd.get())).ok().map(SocketAddr::try_from) {
            Some(Ok(inet)) => {
                self.own.set(Some(inet));
                Ok(())
            }
            _ => self.complete(names::SOCKNAME.get()),
        }
    }

    /// Finds out what a transport over a bare descriptor does not know yet.
    fn complete(&self, name: &Any) -> Res<()> {
        let is = |known: &'static Name| known.matches(name);
        if is(&names::PEERNAME) {
            if let Some(inet) = self.peer.take() {
                self.remember(&names::PEERNAME, &*python_address(&inet.as_any())?)?;
            }
        } else if is(&names::SOCKNAME) {
            if let Some(inet) = self.own.take() {
                self.remember(&names::SOCKNAME, &*python_address(&inet.as_any())?)?;
            } else if !self.knows(&names::SOCKNAME)? && self.is_connected() {
                let found = match getsockname(borrowed(self.fd.get())) {
                    Ok(address) => python_address(&address)?,
                    Err(_) => value::none(),
                };
                self.remember(&names::SOCKNAME, &found)?;
            }
        } else if is(&names::SOCKET)
            && !self.knows(&names::SOCKET)?
            && let Some(sock) = self.python_socket()?
        {
            self.remember(&names::SOCKET, &*shown(&sock)?)?;
        }
        Ok(())
    }

    fn knows(&self, name: &'static Name) -> Res<bool> {
        match self.extra.get() {
            Some(extra) => Ok(crate::py::dict_get(&extra, name.get())?.is_some()),
            None => Ok(false),
        }
    }

    /// `get_extra_info(name, default)`.
    pub(crate) fn extra_info(&self, name: &Any, default: &Any) -> Res {
        if value::is_exact_string(name) {
            self.complete(name)?;
        }
        if value::is_exact_string(name) && names::SOCKET.matches(name) {
            // Who has the socket may look at it or write to it.
            self.settle_writes()?;
        }
        let known = match self.extra.get() {
            Some(extra) => crate::py::dict_get(&extra, name)?,
            None => None,
        };
        Ok(known.unwrap_or_else(|| default.own()))
    }

    /// `_extra`, complete.
    pub(super) fn all_extra(&self) -> Res {
        for name in [&names::SOCKET, &names::SOCKNAME, &names::PEERNAME] {
            self.complete(name.get())?;
        }
        self.extra_dict()
    }
}

fn python_address(address: &SocketAddrAny) -> Res {
    from_kernel(&SockAddr::from_any(address))
}
