//! The one owner of the registrations: which descriptor is watched for what.
//!
//! The kernel keeps the same table and will not let anyone read it, so it is
//! kept a second time here: to know whether a change is an addition or a
//! modification, and to be able to build the queue anew after a fork. A `Vec`
//! indexed by descriptor does, since the kernel hands out the lowest free
//! number: a few bytes each, no hashing.
//!
//! Changes may be put off until the next wait (`change_soon`), because nothing
//! can tell the difference before it: a program that stops watching and starts
//! again within a turn, as `sock_recv` in a loop does, then costs one system
//! call a turn instead of two each time.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use crate::interest::Interest;
use crate::poller::{Poller, Waker};
use crate::sys::Queue;

/// Watches descriptors, level-triggered.
pub struct Reactor {
    queue: Arc<Queue>,
    entries: Vec<Entry>,
    registered: usize,
    /// Descriptors whose entries say `put_off`.
    put_off: Vec<RawFd>,
}

/// What is known of a descriptor.
#[derive(Clone, Copy, Default)]
struct Entry {
    /// What the kernel was told.
    told: Interest,
    /// What it is to be told at the next wait, if `put_off`.
    wanted: Interest,
    put_off: bool,
}

impl Reactor {
    /// A reactor that watches nothing yet.
    pub fn new() -> io::Result<Reactor> {
        Ok(Reactor {
            queue: Arc::new(Queue::new()?),
            entries: Vec::new(),
            registered: 0,
            put_off: Vec::new(),
        })
    }

    /// Watch `fd` for `interest` from now on; `NONE` stops watching it.
    ///
    /// Descriptors get closed behind the reactor's back and their numbers used
    /// again, so the kernel is asked even when nothing seems to change, and
    /// what it no longer knows is registered anew. To stop watching a
    /// descriptor that it has forgotten is not an error.
    ///
    /// # Errors
    ///
    /// The kernel's: a descriptor that is not open, or that cannot be watched
    /// (a regular file). It is not registered then.
    pub fn set_interest(&mut self, fd: RawFd, interest: Interest) -> io::Result<()> {
        let before = self.told(fd);
        let outcome = self.queue.change(fd, before, interest);
        // The table follows the kernel, so a number that it would not take
        // never makes the table grow.
        let after = if outcome.is_ok() { interest } else { Interest::NONE };
        if before != after {
            self.record(fd, before, after);
        }
        if let Some(entry) = self.entry(fd) {
            entry.wanted = after;
        }
        outcome
    }

    /// As [`set_interest`](Self::set_interest), but a descriptor that the
    /// kernel watches already is only noted; [`settle`](Self::settle) tells it.
    ///
    /// # Errors
    ///
    /// As `set_interest`; also for a noted descriptor that is not open.
    pub fn change_soon(&mut self, fd: RawFd, interest: Interest) -> io::Result<()> {
        let told = self.told(fd);
        let Some(entry) = self.entry(fd).filter(|_| !told.is_none()) else {
            return self.set_interest(fd, interest);
        };
        let resumes = entry.put_off && entry.wanted.is_none() && !interest.is_none();
        let was_put_off = std::mem::replace(&mut entry.put_off, true);
        entry.wanted = interest;
        if !was_put_off {
            self.put_off.push(fd);
        }
        if resumes && let Err(error) = Queue::check_open(fd) {
            if let Some(entry) = self.entry(fd) {
                entry.wanted = Interest::NONE;
            }
            return Err(error);
        }
        Ok(())
    }

    /// Forget `fd` without telling the kernel, because it is about to be closed
    /// and the kernel forgets it then by itself. Should a duplicate live on in
    /// another process, its events come for a descriptor without interest: see
    /// [`rebuild`](Self::rebuild).
    pub fn forget(&mut self, fd: RawFd) {
        let told = self.told(fd);
        if !told.is_none() {
            self.record(fd, told, Interest::NONE);
        }
        if let Some(entry) = self.entry(fd) {
            entry.wanted = Interest::NONE;
        }
    }

    /// Whether changes wait to be told.
    #[inline]
    pub fn is_unsettled(&self) -> bool {
        !self.put_off.is_empty()
    }

    /// Tell the kernel what was put off; to be called before every wait. What
    /// it refuses (a descriptor that was closed and used again for something
    /// that cannot be watched) is reported and not watched any more.
    pub fn settle(&mut self, mut refused: impl FnMut(RawFd, io::Error)) {
        for fd in std::mem::take(&mut self.put_off) {
            let Some(entry) = self.entry(fd) else { continue };
            entry.put_off = false;
            let wanted = entry.wanted;
            if let Err(error) = self.set_interest(fd, wanted) {
                refused(fd, error);
            }
        }
    }

    fn entry(&mut self, fd: RawFd) -> Option<&mut Entry> {
        usize::try_from(fd).ok().and_then(|index| self.entries.get_mut(index))
    }

    /// What the kernel watches `fd` for.
    #[inline]
    fn told(&self, fd: RawFd) -> Interest {
        let entry = usize::try_from(fd).ok().and_then(|index| self.entries.get(index));
        entry.map_or(Interest::NONE, |entry| entry.told)
    }

    /// What `fd` is watched for, or will be from the next wait on.
    #[inline]
    pub fn interest(&self, fd: RawFd) -> Interest {
        let entry = usize::try_from(fd).ok().and_then(|index| self.entries.get(index));
        entry.map_or(Interest::NONE, |entry| if entry.put_off { entry.wanted } else { entry.told })
    }

    /// How many descriptors are watched.
    #[inline]
    pub fn registered(&self) -> usize {
        self.registered
    }

    /// The end to wait on.
    pub fn poller(&self) -> Poller {
        Poller::new(Arc::clone(&self.queue))
    }

    /// The end to wake it with.
    pub fn waker(&self) -> Waker {
        Waker::new(Arc::clone(&self.queue))
    }

    /// Watch the same descriptors through a new kernel queue and a new waker.
    ///
    /// For the child of a fork, whose descriptors still lead to the parent's
    /// queue: until then, what it changes it changes for its parent. Pollers and
    /// wakers handed out before remain good: the new kernel objects take the
    /// descriptor numbers of the old ones, which the parent's own descriptors
    /// keep alive. Nobody may be waiting meanwhile.
    ///
    /// It is also the only cure for a registration that no number leads to any
    /// more (the descriptor was closed while watched, and a duplicate of it
    /// lives on in another process): the loop meets it as an event for a
    /// descriptor without interest.
    ///
    /// # Errors
    ///
    /// The kernel's. The old queue remains in use then.
    pub fn rebuild(&mut self) -> io::Result<()> {
        let fresh = Queue::new()?;
        for index in 0..self.entries.len() {
            let interest = self.entries[index].told;
            if interest.is_none() {
                continue;
            }
            let fd = index as RawFd;
            if let Err(error) = fresh.change(fd, Interest::NONE, interest) {
                if !Queue::is_gone(&error) {
                    return Err(error);
                }
                self.record(fd, interest, Interest::NONE);
            }
        }
        self.queue.become_another(fresh)
    }

    fn record(&mut self, fd: RawFd, before: Interest, after: Interest) {
        debug_assert!(fd >= 0, "the kernel took a negative descriptor");
        let index = fd as usize;
        if index >= self.entries.len() {
            self.entries.resize(index + 1, Entry::default());
        }
        self.entries[index].told = after;
        self.registered += usize::from(before.is_none());
        self.registered -= usize::from(after.is_none());
    }
}

#[cfg(test)]
mod tests;
