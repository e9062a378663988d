//! Where threads without the GIL leave answers for a loop.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use super::question::Answer;

/// Answers, and the descriptor that is readable while there are any. It is shared by the loop and
/// the threads, so whichever lives longer may use it.
pub(super) struct Mailbox {
    answers: Mutex<Vec<(u64, Answer)>>,
    bell: OwnedFd,
    process: u32,
}

impl Mailbox {
    pub(super) fn new() -> io::Result<Mailbox> {
        Ok(Mailbox {
            answers: Mutex::default(),
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            process: std::process::id(),
        })
    }

    /// Whether this is a forked child and the mailbox its parent's. The two share the descriptor:
    /// what the child reads from it, the parent would never hear of.
    pub(super) fn is_foreign(&self) -> bool {
        self.process != std::process::id()
    }

    pub(super) fn fd(&self) -> RawFd {
        self.bell.as_raw_fd()
    }

    pub(super) fn post(&self, ticket: u64, answer: Answer) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).push((ticket, answer));
        // It can only fail when the counter is full, and then it is readable.
        let _ = rustix::io::write(self.bell.as_fd(), &1u64.to_ne_bytes());
    }

    pub(super) fn take(&self) -> Vec<(u64, Answer)> {
        // First: what is posted after this rings again.
        let _ = rustix::io::read(self.bell.as_fd(), &mut [0u8; 8]);
        std::mem::take(&mut *self.answers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
