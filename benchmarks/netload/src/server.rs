//! The bare servers: what the kernel alone costs, which is the limit for every
//! event loop that waits with epoll.
//!
//! Level-triggered epoll, one `recv` for each ready connection and turn, and the
//! bytes go out by `send` at once. What does not fit waits, and nothing is read
//! meanwhile.

use std::io::{self, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::event::epoll::{self, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send, sockopt};

use crate::sockets;

const ACCEPTED_PER_TURN: usize = 16;
/// No descriptor has this number.
const LISTENER: u64 = u64::MAX;

/// What a connection is there for, and how far it is.
#[derive(Clone)]
enum Service {
    Echo { unsent: Vec<u8> },
    Upload { received: u64 },
    Download { left: u64 },
}

impl Service {
    fn called(name: Option<&str>) -> io::Result<Service> {
        match name.unwrap_or("echo") {
            "echo" => Ok(Service::Echo { unsent: Vec::new() }),
            "upload" => Ok(Service::Upload { received: 0 }),
            "download" => Ok(Service::Download { left: 0 }),
            other => Err(io::Error::other(format!("no such service: {other}"))),
        }
    }
}

struct Connection {
    socket: OwnedFd,
    service: Service,
}

#[derive(PartialEq)]
enum Next {
    Read,
    Write,
    Close,
}

struct Server {
    epoll: OwnedFd,
    listener: OwnedFd,
    is_tcp: bool,
    service: Service,
    /// By descriptor, which is the shortest way from an event to its connection.
    connections: Vec<Option<Connection>>,
    buffer: Vec<u8>,
}

/// Serve TCP, or Unix streams if there is a path, for ever.
///
/// `buffer` is as much as one `recv` takes. What is best depends on the messages: much more than one
/// of them costs the cache, much less costs calls.
pub fn tcp(service: Option<&str>, path: Option<&str>, buffer: usize) -> io::Result<()> {
    let (listener, address) = sockets::listen(path)?;
    let mut server = Server {
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        listener,
        is_tcp: path.is_none(),
        service: Service::called(service)?,
        connections: Vec::new(),
        buffer: vec![b'x'; buffer],
    };
    let data = epoll::EventData::new_u64(LISTENER);
    epoll::add(&server.epoll, &server.listener, data, EventFlags::IN)?;
    announce(&address)?;
    let mut events: Vec<epoll::Event> = Vec::with_capacity(1024);
    loop {
        sockets::wait(&server.epoll, &mut events, None)?;
        for event in &events {
            let token = event.data.u64();
            if token == LISTENER { server.accept()? } else { server.serve(token as usize)? }
        }
    }
}

impl Server {
    fn accept(&mut self) -> io::Result<()> {
        for _ in 0..ACCEPTED_PER_TURN {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket = match accept_with(&self.listener, flags) {
                Ok(socket) => socket,
                Err(Errno::AGAIN | Errno::CONNABORTED) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            if self.is_tcp {
                sockopt::set_tcp_nodelay(&socket, true)?;
            }
            let index = socket.as_raw_fd() as usize;
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&self.epoll, &socket, data, EventFlags::IN)?;
            if self.connections.len() <= index {
                self.connections.resize_with(index + 1, || None);
            }
            self.connections[index] = Some(Connection { socket, service: self.service.clone() });
        }
        Ok(())
    }

    fn serve(&mut self, index: usize) -> io::Result<()> {
        let Some(connection) = &mut self.connections[index] else { return Ok(()) };
        let writing = connection.wants_to_write();
        // Whoever reset the connection is the client's business; here it is over.
        let next = connection.serve(&mut self.buffer).unwrap_or(Next::Close);
        if next == Next::Close {
            self.connections[index] = None;
        } else if writing != (next == Next::Write) {
            let interest = if next == Next::Write { EventFlags::OUT } else { EventFlags::IN };
            let data = epoll::EventData::new_u64(index as u64);
            epoll::modify(&self.epoll, &connection.socket, data, interest)?;
        }
        Ok(())
    }
}

impl Connection {
    fn wants_to_write(&self) -> bool {
        match &self.service {
            Service::Echo { unsent } => !unsent.is_empty(),
            Service::Upload { .. } => false,
            Service::Download { left } => *left > 0,
        }
    }

    fn serve(&mut self, buffer: &mut [u8]) -> Result<Next, Errno> {
        let socket = &self.socket;
        match &mut self.service {
            Service::Echo { unsent } if unsent.is_empty() => {
                let (got, _) = recv(socket, &mut *buffer, RecvFlags::empty())?;
                if got == 0 {
                    return Ok(Next::Close);
                }
                let sent = send_some(socket, &buffer[..got])?;
                if sent == got {
                    return Ok(Next::Read);
                }
                unsent.extend_from_slice(&buffer[sent..got]);
                Ok(Next::Write)
            }
            Service::Echo { unsent } => {
                let sent = send_some(socket, unsent)?;
                unsent.drain(..sent);
                Ok(if unsent.is_empty() { Next::Read } else { Next::Write })
            }
            Service::Upload { received } => {
                let (got, _) = recv(socket, &mut *buffer, RecvFlags::empty())?;
                *received += got as u64;
                if got > 0 {
                    return Ok(Next::Read);
                }
                send(socket, &received.to_be_bytes(), SendFlags::NOSIGNAL)?;
                Ok(Next::Close)
            }
            Service::Download { left: 0 } => {
                let mut asked = [0; 8];
                let (got, _) = recv(socket, &mut asked, RecvFlags::empty())?;
                if got < asked.len() {
                    return Ok(Next::Close);
                }
                self.service = Service::Download { left: u64::from_be_bytes(asked) };
                Ok(Next::Write)
            }
            Service::Download { left } => {
                let piece = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= send_some(socket, &buffer[..piece])? as u64;
                Ok(if *left == 0 { Next::Read } else { Next::Write })
            }
        }
    }
}

/// Send what fits.
fn send_some(socket: &OwnedFd, bytes: &[u8]) -> Result<usize, Errno> {
    match send(socket, bytes, SendFlags::NOSIGNAL) {
        Err(Errno::AGAIN) => Ok(0),
        other => other,
    }
}

/// Send every datagram back where it came from, for ever.
pub fn udp() -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &socket, epoll::EventData::new_u64(0), EventFlags::IN)?;
    announce(&socket.local_addr()?.to_string())?;
    let mut buffer = vec![0; 65536];
    let mut events: Vec<epoll::Event> = Vec::with_capacity(1);
    loop {
        sockets::wait(&epoll, &mut events, None)?;
        while let Ok((got, from)) = socket.recv_from(&mut buffer) {
            // A full buffer loses the datagram, as on any network.
            let _ = socket.send_to(&buffer[..got], from);
        }
    }
}

/// Tell whoever started this where to connect to.
fn announce(address: &str) -> io::Result<()> {
    println!("{address}");
    io::stdout().flush()
}
