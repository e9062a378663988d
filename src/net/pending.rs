//! Bytes that wait to be sent: the bytes objects that were written, uncopied, in order.
//!
//! Mostly there is one. It lies in the transport itself, because each line of memory less that a
//! connection touches counts when there are thousands; a queue is made for those after it.

use std::cell::{Cell, UnsafeCell};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{BorrowedFd, RawFd};

use rustix::io::{Errno, write, writev};
use rustix::net::{SendAncillaryBuffer, SendFlags, send, sendmsg};

use crate::py::buffer::{bytes_of, recycle};
use crate::py::{Any, Own, Slot};

/// More pieces than this go out in a further call.
const PIECES: usize = 64;

/// How bytes leave.
#[derive(Clone, Copy)]
enum Call {
    Send,
    Write,
}

/// The queue. What it holds are exact bytes objects, which are dropped without running any code.
pub(crate) struct Pending {
    first: Slot,
    /// How much of the first piece is sent.
    sent: Cell<usize>,
    size: Cell<usize>,
    /// Those after the first; none without a first.
    rest: UnsafeCell<VecDeque<Own<Any>>>,
}

/// The descriptor for a system call.
///
/// The owner of `fd` keeps it open for as long as the result is used, which is one call.
#[inline(always)]
pub(crate) fn borrowed<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: see above; -1, the one number that is forbidden, is never asked for (`debug_assert`).
    unsafe {
        debug_assert!(fd >= 0);
        BorrowedFd::borrow_raw(fd)
    }
}

impl Pending {
    pub(crate) const fn new() -> Pending {
        Pending {
            first: Slot::empty(),
            sent: Cell::new(0),
            size: Cell::new(0),
            rest: UnsafeCell::new(VecDeque::new()),
        }
    }

    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    fn rest(&self) -> &mut VecDeque<Own<Any>> {
        // SAFETY: private; nothing below runs Python code during a borrow (the pieces are bytes),
        // and the GIL is held.
        unsafe { &mut *self.rest.get() }
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.size.get() == 0
    }

    #[inline(always)]
    pub(crate) fn size(&self) -> usize {
        self.size.get()
    }

    /// Adds a bytes object that is not empty.
    #[inline]
    pub(crate) fn push(&self, bytes: Own<Any>) {
        self.size.set(self.size.get() + bytes_of(&bytes).len());
        if self.first.is_some() {
            self.rest().push_back(bytes);
        } else {
            self.first.set(bytes);
        }
    }

    pub(crate) fn clear(&self) {
        self.first.clear();
        *self.rest() = VecDeque::new();
        self.sent.set(0);
        self.size.set(0);
    }

    /// The first piece, and how much of it is sent.
    #[inline]
    pub(crate) fn front(&self) -> Option<(Own<Any>, usize)> {
        Some((self.first.get()?, self.sent.get()))
    }

    /// Copies as much as fits of what is pending; how much that is.
    pub(crate) fn gather(&self, space: &mut [u8]) -> usize {
        let mut filled = 0;
        let mut copy = |data: &[u8]| {
            let len = data.len().min(space.len() - filled);
            space[filled..filled + len].copy_from_slice(&data[..len]);
            filled += len;
        };
        let Some((first, sent)) = self.front() else { return 0 };
        copy(&bytes_of(&first)[sent..]);
        for piece in self.rest() {
            copy(bytes_of(piece));
        }
        filled
    }

    /// Adds a bytes object whose first `sent` bytes, not all of them, are sent already; nothing waits
    /// yet.
    pub(super) fn push_rest(&self, bytes: Own<Any>, sent: usize) {
        debug_assert!(self.is_empty() && sent < bytes_of(&bytes).len());
        self.size.set(bytes_of(&bytes).len() - sent);
        self.sent.set(sent);
        self.first.set(bytes);
    }

    /// Sends what the kernel takes. That it takes nothing is no error.
    #[inline]
    pub(crate) fn send(&self, fd: RawFd) -> io::Result<()> {
        self.hand_over(fd, Call::Send)
    }

    /// The same for what is no socket.
    pub(super) fn write(&self, fd: RawFd) -> io::Result<()> {
        self.hand_over(fd, Call::Write)
    }

    #[inline(always)]
    fn hand_over(&self, fd: RawFd, call: Call) -> io::Result<()> {
        while !self.is_empty() {
            let (taken, offered) = match self.send_once(fd, call) {
                Ok(sent) => sent,
                Err(Errno::AGAIN | Errno::INTR) => break,
                Err(errno) => return Err(errno.into()),
            };
            self.advance(taken);
            if taken < offered {
                break;
            }
        }
        Ok(())
    }

    /// One system call: how much was taken, and of how much.
    #[inline(always)]
    fn send_once(&self, fd: RawFd, call: Call) -> Result<(usize, usize), Errno> {
        let fd = borrowed(fd);
        // SAFETY: a system call, during which nothing can change the field.
        let Some(first) = (unsafe { self.first.peek() }) else { return Ok((0, 0)) };
        let first = &bytes_of(first)[self.sent.get()..];
        let rest = self.rest();
        if rest.is_empty() {
            let taken = match call {
                Call::Send => send(fd, first, SendFlags::NOSIGNAL)?,
                Call::Write => write(fd, first)?,
            };
            return Ok((taken, first.len()));
        }
        let mut slices = [IoSlice::new(&[]); PIECES];
        slices[0] = IoSlice::new(first);
        let mut offered = first.len();
        let mut count = 1;
        for (place, piece) in slices[1..].iter_mut().zip(rest.iter()) {
            let piece = bytes_of(piece);
            *place = IoSlice::new(piece);
            offered += piece.len();
            count += 1;
        }
        let taken = match call {
            Call::Send => {
                let mut control = SendAncillaryBuffer::default();
                sendmsg(fd, &slices[..count], &mut control, SendFlags::NOSIGNAL)?
            }
            Call::Write => writev(fd, &slices[..count])?,
        };
        Ok((taken, offered))
    }

    #[inline]
    pub(crate) fn advance(&self, mut taken: usize) {
        self.size.set(self.size.get() - taken);
        taken += self.sent.get();
        while let Some(first) = self.first.take() {
            let len = bytes_of(&first).len();
            if taken < len {
                self.first.set(first);
                break;
            }
            taken -= len;
            recycle(first);
            let rest = self.rest();
            if !rest.is_empty() {
                self.first.put(rest.pop_front());
            } else if rest.capacity() > PIECES {
                *rest = VecDeque::new();
            }
        }
        self.sent.set(taken);
    }
}
