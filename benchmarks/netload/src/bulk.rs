//! A gibibyte in one direction over one connection.
//!
//! The protocol is eight bytes long. A client that uploads sends its bytes, ends
//! its half, and is told their number; one that downloads sends the number,
//! counts what comes, and then ends its half. Blocking calls: with one connection there is
//! nothing else to do meanwhile.

use std::error::Error;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

use crate::arguments::Arguments;
use crate::clock::Used;
use crate::report::Report;
use crate::sockets;

const PIECE: usize = 256 * 1024;
const WARM_UP: u64 = 32 << 20;
/// A server that does not move for so long never will.
const STALLED: Duration = Duration::from_secs(2);

type Transfer = fn(&OwnedFd, u64) -> io::Result<()>;

pub fn upload(arguments: &Arguments) -> Result<Report, Box<dyn Error>> {
    measured(arguments, |socket, bytes| {
        send_all(socket, bytes)?;
        shutdown(socket, Shutdown::Write)?;
        let mut told = [0; 8];
        receive_exactly(socket, &mut told)?;
        if u64::from_be_bytes(told) != bytes {
            return Err(io::Error::other("the server counted another number of bytes"));
        }
        receive_end(socket)
    })
}

pub fn download(arguments: &Arguments) -> Result<Report, Box<dyn Error>> {
    measured(arguments, |socket, bytes| {
        send(socket, &bytes.to_be_bytes(), SendFlags::NOSIGNAL)?;
        let mut left = bytes;
        let mut buffer = vec![0; PIECE];
        while left > 0 {
            // Counted and dropped in the kernel: copying is not what is measured here.
            let (_, got) = recv(socket, buffer.as_mut_slice(), RecvFlags::TRUNC)?;
            if got == 0 || got as u64 > left {
                return Err(io::Error::other("the server sent another number of bytes"));
            }
            left -= got as u64;
        }
        shutdown(socket, Shutdown::Write)?;
        receive_end(socket)
    })
}

/// A small transfer to warm up, then the one that counts, each over a connection of its own.
fn measured(arguments: &Arguments, transfer: Transfer) -> Result<Report, Box<dyn Error>> {
    let server = arguments.text("server-pid").map(str::parse).transpose()?;
    let bytes: u64 = arguments.number("bytes")?;
    let transfer = |socket: &OwnedFd, bytes| {
        transfer(socket, bytes).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::Error::other("stalled: nothing moved for 2 s"),
            _ => error,
        })
    };
    transfer(&connect(arguments.address()?)?, WARM_UP.min(bytes))?;
    let socket = connect(arguments.address()?)?;
    let used = Used::begin(server);
    transfer(&socket, bytes)?;
    let taken = used.end();
    Ok(Report::new(1, &taken).with("bytes", bytes as f64))
}

fn connect(address: &str) -> io::Result<OwnedFd> {
    let socket = sockets::connect(address)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(STALLED))?;
    set_socket_timeout(&socket, Timeout::Send, Some(STALLED))?;
    Ok(socket)
}

fn send_all(socket: &OwnedFd, bytes: u64) -> io::Result<()> {
    let piece = vec![b'x'; PIECE];
    let mut left = bytes;
    while left > 0 {
        let part = &piece[..left.min(PIECE as u64) as usize];
        left -= send(socket, part, SendFlags::NOSIGNAL)? as u64;
    }
    Ok(())
}

fn receive_exactly(socket: &OwnedFd, mut into: &mut [u8]) -> io::Result<()> {
    while !into.is_empty() {
        let (got, _) = recv(socket, &mut *into, RecvFlags::empty())?;
        if got == 0 {
            return Err(io::Error::other("the server closed before it had answered"));
        }
        into = &mut into[got..];
    }
    Ok(())
}

fn receive_end(socket: &OwnedFd) -> io::Result<()> {
    let (got, _) = recv(socket, &mut [0; 1], RecvFlags::empty())?;
    if got > 0 { Err(io::Error::other("the server said more than it should")) } else { Ok(()) }
}
