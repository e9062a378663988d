//! One connection, in the clear or under TLS, with the same four calls.
//!
//! The loads do not ask which it is: they send, receive and wait for readiness. What cannot be done
//! now is `WouldBlock`, as a non-blocking socket says it.

use std::error::Error;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

use crate::arguments::Arguments;
use crate::sockets;
use crate::tls::{Secure, Shared};

/// Where connections go, and how.
pub struct Destination {
    address: String,
    tls: Option<Rc<Shared>>,
}

pub enum Channel {
    Plain(OwnedFd),
    Secure(Box<Secure>),
}

impl Destination {
    /// What `--to` and `--tls` say.
    pub fn of(arguments: &Arguments) -> Result<Destination, Box<dyn Error>> {
        let tls = match arguments.text("tls") {
            None => None,
            Some("1.3") => Some(Shared::new()?),
            Some(other) => return Err(format!("--tls: no such version: {other}").into()),
        };
        Ok(Destination { address: arguments.address()?.to_owned(), tls })
    }

    /// A connected channel. Under TLS the handshake has begun and goes on in `recv`.
    pub fn connect(&self) -> io::Result<Channel> {
        let socket = sockets::connect(&self.address)?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(match &self.tls {
            None => Channel::Plain(socket),
            Some(shared) => Channel::Secure(Box::new(Secure::begin(socket, shared)?)),
        })
    }

    /// A channel that can carry requests at once.
    pub fn establish(&self) -> io::Result<Channel> {
        let mut channel = self.connect()?;
        if let Channel::Secure(secure) = &mut channel {
            secure.establish()?;
        }
        Ok(channel)
    }
}

impl Channel {
    /// Send what can be sent now, and say how much that was.
    #[inline]
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Channel::Plain(socket) => Ok(send(&*socket, bytes, SendFlags::NOSIGNAL)?),
            Channel::Secure(secure) => secure.send(bytes),
        }
    }

    /// Receive what is there; zero at the end of the stream.
    #[inline]
    pub fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Channel::Plain(socket) => Ok(recv(&*socket, buffer, RecvFlags::empty())?.1),
            Channel::Secure(secure) => secure.recv(buffer, true),
        }
    }

    /// The same for bytes that nobody looks at, which are dropped uncopied.
    #[inline]
    pub fn drop_received(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Channel::Plain(socket) => Ok(recv(&*socket, buffer, RecvFlags::TRUNC)?.1),
            Channel::Secure(secure) => secure.recv(buffer, false),
        }
    }

    /// Say that no more will be sent.
    pub fn end(&mut self) -> io::Result<()> {
        match self {
            Channel::Plain(socket) => Ok(shutdown(&*socket, Shutdown::Write)?),
            Channel::Secure(secure) => secure.end(),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Channel::Plain(socket) => socket.as_fd(),
            Channel::Secure(secure) => secure.as_fd(),
        }
    }
}

/// Nothing, where nothing can be done now.
pub fn unless_blocked(done: io::Result<usize>) -> io::Result<Option<usize>> {
    match done {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
