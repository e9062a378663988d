//! Where threads without the GIL leave answers for a loop.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use super::question::Answer;

/// Answers, and the descriptor that is readable while there are any. Shared by the loop and the
/// threads; the descriptor is closed with the loop, whoever still has an answer to deliver.
pub(super) struct Mailbox {
    content: Mutex<Content>,
    fd: RawFd,
    process: u32,
}

struct Content {
    answers: Vec<(u64, Answer)>,
    bell: Option<OwnedFd>,
}

impl Mailbox {
    pub(super) fn new() -> io::Result<Mailbox> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Mailbox {
            fd: bell.as_raw_fd(),
            content: Mutex::new(Content { answers: Vec::new(), bell: Some(bell) }),
            process: std::process::id(),
        })
    }

    /// Whether this is a forked child and the mailbox its parent's. The two share the descriptor:
    /// what the child reads from it, the parent would never hear of.
    pub(super) fn is_foreign(&self) -> bool {
        self.process != std::process::id()
    }

    pub(super) fn fd(&self) -> RawFd {
        self.fd
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn post(&self, ticket: u64, answer: Answer) {
        let mut content = self.content();
        let Content { answers, bell: Some(bell) } = &mut *content else { return };
        answers.push((ticket, answer));
        // It can only fail when the counter is full, and then it is readable.
        let _ = rustix::io::write(bell, &1u64.to_ne_bytes());
    }

    pub(super) fn take(&self) -> Vec<(u64, Answer)> {
        let mut content = self.content();
        if let Some(bell) = &content.bell {
            let _ = rustix::io::read(bell, &mut [0u8; 8]);
        }
        std::mem::take(&mut content.answers)
    }

    /// Nobody will look any more.
    pub(super) fn close(&self) {
        // In a forked child a thread that the parent has may seem to hold the lock for ever.
        if !self.is_foreign() {
            self.content().bell = None;
        }
    }
}
