//! The two ends of the kernel's queue that outlive a borrow of the reactor:
//! one waits on it, the other interrupts the wait.
//!
//! The loop waits with the GIL released, while other threads run Python code
//! that changes interests. The kernel allows that; a `&Reactor` held across the
//! wait would not. So the queue sits behind an `Arc`, and whoever waits or
//! wakes holds it without holding the registrations.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::events::Events;
use crate::sys::Queue;

/// Waits until descriptors are ready. A cheap clone, free of the reactor's borrow.
#[derive(Clone)]
pub struct Poller {
    queue: Arc<Queue>,
}

impl Poller {
    pub(crate) fn new(queue: Arc<Queue>) -> Poller {
        Poller { queue }
    }

    /// Replace `events` by what is ready, waiting for it up to `timeout`
    /// (`None`: for ever; zero: not at all). True if the waker was rung since
    /// the last wait that said so.
    ///
    /// A wait never ends before its timeout for no reason, to the nanosecond
    /// where the kernel counts them, and to the millisecond above it elsewhere.
    ///
    /// # Errors
    ///
    /// `Interrupted` when a signal handler ran: it is not retried, because the
    /// caller has to look at the signal. `events` is empty then.
    #[inline]
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<bool> {
        let buffer = events.vacate();
        let (rung, filled) = self.queue.wait(buffer, timeout)?;
        if filled {
            events.grow();
        }
        Ok(rung)
    }
}

/// Interrupts a wait, from any thread.
#[derive(Clone)]
pub struct Waker {
    queue: Arc<Queue>,
}

impl Waker {
    pub(crate) fn new(queue: Arc<Queue>) -> Waker {
        Waker { queue }
    }

    /// End the current wait, or else the next one.
    ///
    /// Never blocks and may be called from a signal handler. Until a wait has
    /// reported it, more calls are one atomic exchange each. What was written
    /// before the call is visible to the thread whose wait reports it.
    #[inline]
    pub fn wake(&self) {
        self.queue.ring();
    }
}
