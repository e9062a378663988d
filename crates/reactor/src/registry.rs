//! The one owner of the registrations: which descriptor is watched for what.
//!
//! The kernel keeps the same table and will not let anyone read it, so it is
//! kept a second time here: to know whether a change is an addition or a
//! modification, and to be able to build the queue anew after a fork. A `Vec`
//! indexed by descriptor does, since the kernel hands out the lowest free
//! number: two bytes each, no hashing.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use crate::interest::Interest;
use crate::poller::{Poller, Waker};
use crate::sys::Queue;

/// Watches descriptors, level-triggered.
pub struct Reactor {
    queue: Arc<Queue>,
    interests: Vec<Interest>,
    registered: usize,
}

impl Reactor {
    /// A reactor that watches nothing yet.
    pub fn new() -> io::Result<Reactor> {
        Ok(Reactor { queue: Arc::new(Queue::new()?), interests: Vec::new(), registered: 0 })
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
        let before = self.interest(fd);
        let outcome = self.queue.change(fd, before, interest);
        // The table follows the kernel, so a number that it would not take
        // never makes the table grow.
        let after = if outcome.is_ok() { interest } else { Interest::NONE };
        if before != after {
            self.record(fd, before, after);
        }
        outcome
    }

    /// What `fd` is watched for.
    #[inline]
    pub fn interest(&self, fd: RawFd) -> Interest {
        usize::try_from(fd)
            .ok()
            .and_then(|index| self.interests.get(index))
            .copied()
            .unwrap_or_default()
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
    /// queue: until then, what it changes it changes for its parent. Pollers and wakers handed out before remain good: the new kernel
    /// objects take the descriptor numbers of the old ones, which the parent's
    /// own descriptors keep alive. Nobody may be waiting meanwhile.
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
        for index in 0..self.interests.len() {
            let interest = self.interests[index];
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
        if index >= self.interests.len() {
            self.interests.resize(index + 1, Interest::NONE);
        }
        self.interests[index] = after;
        self.registered += usize::from(before.is_none());
        self.registered -= usize::from(after.is_none());
    }
}

#[cfg(test)]
mod tests;
