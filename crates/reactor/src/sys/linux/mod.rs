//! Linux: one epoll instance and the eventfd that interrupts it.
//!
//! Level-triggered for everything but the eventfd: an edge that carries the
//! last bytes and the end of the stream together was measured to lose the end.
//! Direct `recv` and `send` on ready sockets beat io_uring for all but small
//! messages, and pause exactly (see the network's chapter in ARCHITECTURE.md).

mod deadline;

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::{DupFlags, Errno};

use crate::interest::{Event, Interest};

/// The kernel's record of one ready descriptor.
pub(crate) type RawEvent = epoll::Event;

/// What the bell's records carry where others carry a descriptor.
const BELL: u64 = u64::MAX;

/// An epoll instance with a bell in it.
pub(crate) struct Queue {
    epoll: OwnedFd,
    /// Registered edge-triggered, so each write is reported once and nobody
    /// ever has to read it: a wake-up costs one system call, not two. (mio's
    /// waker rests on the same promise of the kernel.) The counter would take
    /// centuries to overflow.
    bell: OwnedFd,
    /// Set by the ring that writes, cleared by the wait that reports it, so
    /// that between the two there is exactly one write and one record.
    rung: AtomicBool,
}

impl Queue {
    pub(crate) fn new() -> io::Result<Queue> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let flags = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, &bell, EventData::new_u64(BELL), flags)?;
        Ok(Queue { epoll, bell, rung: AtomicBool::new(false) })
    }

    /// Watch `fd`, believed to be watched for `before`, for `after`.
    pub(crate) fn change(&self, fd: RawFd, before: Interest, after: Interest) -> io::Result<()> {
        if before.is_none() && after.is_none() {
            return Ok(());
        }
        if fd < 0 {
            return Err(Errno::BADF.into());
        }
        // SAFETY: it is not -1, the one value that a BorrowedFd must not have.
        // Whether it is open, and still the file that the caller meant, cannot
        // be known here; epoll_ctl reads and writes nothing through it and
        // answers EBADF if it is closed.
        let source = unsafe { BorrowedFd::borrow_raw(fd) };
        let data = EventData::new_u64(fd as u64);
        let flags = flags(after);

        // The belief is wrong when the descriptor was closed and its number
        // used again: the kernel's answer says so, and is the remedy too.
        let outcome = if after.is_none() {
            match epoll::delete(&self.epoll, source) {
                Err(Errno::NOENT | Errno::BADF | Errno::PERM) => Ok(()),
                outcome => outcome,
            }
        } else if before.is_none() {
            match epoll::add(&self.epoll, source, data, flags) {
                Err(Errno::EXIST) => epoll::modify(&self.epoll, source, data, flags),
                outcome => outcome,
            }
        } else {
            match epoll::modify(&self.epoll, source, data, flags) {
                Err(Errno::NOENT) => epoll::add(&self.epoll, source, data, flags),
                outcome => outcome,
            }
        };
        Ok(outcome?)
    }

    /// Whether `change` failed because the descriptor is not, or no longer,
    /// one that can be watched: as opposed to the kernel being out of means.
    pub(crate) fn is_gone(error: &io::Error) -> bool {
        let gone = [Errno::BADF, Errno::PERM, Errno::LOOP, Errno::INVAL];
        gone.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
    }

    /// Whether the number leads to anything.
    pub(crate) fn check_open(fd: RawFd) -> io::Result<()> {
        // SAFETY: the descriptor is borrowed for one question, whose answer for a number that is
        // not open is an error and nothing else.
        let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
        rustix::io::fcntl_getfd(borrowed)?;
        Ok(())
    }

    /// Append what is ready to the empty `buffer`, and no more than it has room
    /// for. Returns whether the bell was rung, and whether the buffer was filled.
    #[inline]
    pub(crate) fn wait(
        &self,
        buffer: &mut Vec<RawEvent>,
        timeout: Option<Duration>,
    ) -> io::Result<(bool, bool)> {
        const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
        match timeout {
            None => epoll::wait(&self.epoll, spare_capacity(buffer), None)?,
            Some(Duration::ZERO) => epoll::wait(&self.epoll, spare_capacity(buffer), Some(&NOW))?,
            Some(timeout) => deadline::wait(&self.epoll, buffer, timeout)?,
        };
        let filled = buffer.len() == buffer.capacity();
        // The flag is set before the bell is written, so an unset flag spares
        // the search.
        let rung = self.rung.load(Ordering::Acquire) && self.silence(buffer);
        Ok((rung, filled))
    }

    /// End the current or the next wait.
    #[inline]
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.strike();
        }
    }

    #[cold]
    fn strike(&self) {
        // It can fail for a full counter only, which rings all the same.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    /// Take the bell's record out of `buffer`, if it is there yet.
    #[cold]
    fn silence(&self, buffer: &mut Vec<RawEvent>) -> bool {
        let Some(at) = buffer.iter().position(|event| event.data.u64() == BELL) else {
            return false;
        };
        // Not swap_remove: the kernel's order is the fair one.
        buffer.remove(at);
        // After the record was taken, and by an exchange: a ring that comes
        // before it, and therefore does not write, is one whose work this
        // thread now sees; a ring that comes after it writes.
        self.rung.swap(false, Ordering::AcqRel);
        true
    }

    /// Put the kernel objects of `fresh` behind the descriptor numbers of this
    /// one, so that everybody who shares this queue is served by them.
    pub(crate) fn become_another(&self, fresh: Queue) -> io::Result<()> {
        replace(&self.bell, &fresh.bell)?;
        replace(&self.epoll, &fresh.epoll)?;
        // A wake-up that was under way in the old queue is owed by the new one.
        if self.rung.load(Ordering::Acquire) {
            self.strike();
        }
        Ok(())
    }
}

/// Make `old`'s number lead to what `new` leads to.
fn replace(old: &OwnedFd, new: &OwnedFd) -> io::Result<()> {
    // SAFETY: `old` is open, and what is built from its number is never
    // dropped, so it keeps its one owner. dup3 exchanges the file behind the
    // number atomically; only this module uses the number, and does not care
    // which of the two files it meets.
    let mut old = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(old.as_raw_fd()) });
    Ok(rustix::io::dup3(new, &mut old, DupFlags::CLOEXEC)?)
}

fn flags(interest: Interest) -> EventFlags {
    let mut flags = EventFlags::empty();
    flags.set(EventFlags::IN, interest.read);
    flags.set(EventFlags::OUT, interest.write);
    flags
}

/// `selectors.EpollSelector`'s reading: whatever is not about one side only
/// (an error, a hang-up) is about both.
#[inline]
pub(crate) fn decode(event: &RawEvent) -> Event {
    // The record is packed: its fields are copied out, never borrowed.
    let (data, flags) = (event.data, event.flags);
    Event {
        fd: data.u64() as RawFd,
        readable: !(flags - EventFlags::OUT).is_empty(),
        writable: !(flags - EventFlags::IN).is_empty(),
    }
}

#[cfg(test)]
mod tests;
