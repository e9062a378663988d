//! Bytes that wait to be sent: the bytes objects that were written, uncopied, in order.

use std::cell::{Cell, UnsafeCell};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{BorrowedFd, RawFd};

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, send, sendmsg};

use crate::py::buffer::{bytes_of, recycle};
use crate::py::{Any, Own};

/// More pieces than this go out in a further call.
const PIECES: usize = 64;

/// The queue. What it holds are exact bytes objects, which are dropped without running any code.
pub(super) struct Pending {
    pieces: UnsafeCell<VecDeque<Own<Any>>>,
    /// How much of the first piece is sent.
    sent: Cell<usize>,
    size: Cell<usize>,
}

/// The descriptor for a system call.
///
/// The owner of `fd` keeps it open for as long as the result is used, which is one call.
#[inline(always)]
pub(super) fn borrowed<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: see above; -1, the one number that is forbidden, is never asked for (`debug_assert`).
    unsafe {
        debug_assert!(fd >= 0);
        BorrowedFd::borrow_raw(fd)
    }
}

impl Pending {
    pub(super) const fn new() -> Pending {
        Pending { pieces: UnsafeCell::new(VecDeque::new()), sent: Cell::new(0), size: Cell::new(0) }
    }

    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    fn pieces(&self) -> &mut VecDeque<Own<Any>> {
        // SAFETY: private; nothing below runs Python code during a borrow (the pieces are bytes),
        // and the GIL is held.
        unsafe { &mut *self.pieces.get() }
    }

    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.size.get() == 0
    }

    #[inline(always)]
    pub(super) fn size(&self) -> usize {
        self.size.get()
    }

    /// Adds a bytes object that is not empty.
    #[inline]
    pub(super) fn push(&self, bytes: Own<Any>) {
        self.size.set(self.size.get() + bytes_of(&bytes).len());
        self.pieces().push_back(bytes);
    }

    pub(super) fn clear(&self) {
        self.pieces().clear();
        self.sent.set(0);
        self.size.set(0);
    }

    /// Sends what the kernel takes. That it takes nothing is no error.
    #[inline]
    pub(super) fn send(&self, fd: RawFd) -> io::Result<()> {
        while !self.is_empty() {
            let before = self.size();
            let offered = match self.send_once(fd) {
                Ok((taken, offered)) => {
                    self.advance(taken);
                    taken == offered
                }
                Err(Errno::AGAIN | Errno::INTR) => false,
                Err(errno) => return Err(errno.into()),
            };
            if !offered || self.size() == before {
                break;
            }
        }
        if self.is_empty() && self.pieces().capacity() > PIECES {
            *self.pieces() = VecDeque::new();
        }
        Ok(())
    }

    /// One system call: how much was taken, and of how much.
    #[inline]
    fn send_once(&self, fd: RawFd) -> Result<(usize, usize), Errno> {
        let fd = borrowed(fd);
        let pieces = self.pieces();
        if pieces.len() == 1 {
            let rest = &bytes_of(&pieces[0])[self.sent.get()..];
            return Ok((send(fd, rest, SendFlags::NOSIGNAL)?, rest.len()));
        }
        let mut slices = [IoSlice::new(&[]); PIECES];
        let mut offered = 0;
        let mut count = 0;
        let mut skip = self.sent.get();
        for (place, piece) in slices.iter_mut().zip(pieces.iter()) {
            let rest = &bytes_of(piece)[skip..];
            skip = 0;
            *place = IoSlice::new(rest);
            offered += rest.len();
            count += 1;
        }
        let mut control = SendAncillaryBuffer::default();
        let taken = sendmsg(fd, &slices[..count], &mut control, SendFlags::NOSIGNAL)?;
        Ok((taken, offered))
    }

    fn advance(&self, mut taken: usize) {
        self.size.set(self.size.get() - taken);
        taken += self.sent.get();
        let pieces = self.pieces();
        while let Some(first) = pieces.front() {
            let len = bytes_of(first).len();
            if taken < len {
                break;
            }
            taken -= len;
            if let Some(sent) = pieces.pop_front() {
                recycle(sent);
            }
        }
        self.sent.set(taken);
    }
}
