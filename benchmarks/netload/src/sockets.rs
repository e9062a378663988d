//! Sockets that both ends use: TCP or Unix by the look of the address.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::retry_on_intr;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As many connections as may wait to be accepted; the kernel caps it.
const BACKLOG: i32 = 4096;

/// A connected, blocking stream. A path names a Unix socket, all else is `host:port`.
///
/// On the loopback device connecting is done when `connect` returns, so there is nothing to win by
/// not waiting for it.
pub fn connect(address: &str) -> io::Result<OwnedFd> {
    if address.starts_with('/') {
        return Ok(UnixStream::connect(address)?.into());
    }
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(stream.into())
}

/// A listening, non-blocking socket, and the address to reach it by.
pub fn listen(path: Option<&str>) -> io::Result<(OwnedFd, String)> {
    let (socket, address): (OwnedFd, String) = if let Some(path) = path {
        (UnixListener::bind(path)?.into(), path.to_owned())
    } else {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?.to_string();
        (listener.into(), address)
    };
    rustix::net::listen(&socket, BACKLOG)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok((socket, address))
}

/// Ten thousand connections need more descriptors than a shell usually allows.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised, opening too many says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Replace `events` by what is ready; zero when nothing was in time. A signal, or a debugger that
/// attaches, does not end the wait.
#[inline]
pub fn wait(
    epoll: &OwnedFd,
    events: &mut Vec<epoll::Event>,
    timeout: Option<&Timespec>,
) -> io::Result<usize> {
    events.clear();
    Ok(retry_on_intr(|| epoll::wait(epoll, spare_capacity(events), timeout))?)
}
