//! What pipe transports of both directions share: the file that they are made of, and asyncio's
//! classes, which are their models.
//!
//! The Python file object belongs to the transport, which asks it for its descriptor once and
//! closes it at the end, as asyncio's does. So any object will do that has a real descriptor.

use std::io::IsTerminal;
use std::os::fd::RawFd;

use rustix::fs::{FileType, fstat};
use rustix::io::ioctl_fionbio;
use rustix::net::{SocketType, sockopt};
use rustix::pipe::fcntl_getpipe_size;

use super::pending::borrowed;
use super::reading::MAX_SIZE;
use crate::py::error::os_error;
use crate::py::{Any, Builtin, Global, Own, Res, import, names, raise, value};

/// What is imported.
pub(super) struct Stock {
    pub(super) read_class: Own<Any>,
    pub(super) write_class: Own<Any>,
}

static STOCK: Global<Stock> = Global::new();

pub(super) fn stock() -> &'static Stock {
    STOCK.get()
}

pub(super) fn load() -> Res<()> {
    STOCK.fill(Stock {
        read_class: import(c"asyncio.unix_events", c"_UnixReadPipeTransport")?,
        write_class: import(c"asyncio.unix_events", c"_UnixWritePipeTransport")?,
    });
    Ok(())
}

/// A descriptor that can be waited for.
pub(super) struct Descriptor {
    pub(super) fd: RawFd,
    kind: FileType,
}

/// The descriptor of a file object, from now on non-blocking; or `refusal`, if a transport cannot be
/// made of it.
pub(super) fn take_over(pipe: &Any, refusal: &str) -> Res<Descriptor> {
    let number = value::as_int(&*pipe.call_method(&names::FILENO, &[])?)?;
    let fd = RawFd::try_from(number).ok().filter(|&fd| fd >= 0);
    let fd = fd.ok_or_else(|| os_error(&rustix::io::Errno::BADF.into()))?;
    let status = fstat(borrowed(fd)).map_err(|errno| os_error(&errno.into()))?;
    let kind = FileType::from_raw_mode(status.st_mode);
    if !matches!(kind, FileType::Fifo | FileType::Socket | FileType::CharacterDevice) {
        return Err(raise(Builtin::ValueError.get(), refusal));
    }
    ioctl_fionbio(borrowed(fd), true).map_err(|errno| os_error(&errno.into()))?;
    Ok(Descriptor { fd, kind })
}

/// How to read from it.
#[derive(Clone, Copy)]
pub(super) enum Manner {
    /// A stream of bytes: a read may take less than there is. It gives this much at most.
    Stream(usize),
    /// What one read does not take of a record is lost, so there must be room for the largest.
    Records,
}

impl Descriptor {
    pub(super) fn manner(&self) -> Manner {
        let fd = borrowed(self.fd);
        match self.kind {
            // A pipe never holds more than its capacity, 64 KiB unless the program wants more.
            FileType::Fifo => Manner::Stream(
                fcntl_getpipe_size(fd).map_or(MAX_SIZE, |size| size.clamp(1, MAX_SIZE)),
            ),
            FileType::Socket if sockopt::socket_type(fd) == Ok(SocketType::STREAM) => {
                Manner::Stream(MAX_SIZE)
            }
            FileType::CharacterDevice if borrowed(self.fd).is_terminal() => {
                Manner::Stream(MAX_SIZE)
            }
            _ => Manner::Records,
        }
    }

    /// Whether the writing end becomes readable when nobody reads from it any more. A terminal is
    /// readable when somebody types.
    pub(super) fn tells_of_peer(&self) -> bool {
        self.kind != FileType::CharacterDevice
    }
}
