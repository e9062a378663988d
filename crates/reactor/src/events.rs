//! The buffer that a wait fills, kept between waits so that none of them
//! allocates.
//!
//! It holds the kernel's own records and translates them while they are
//! iterated: a wait that returns a thousand events touches that memory once.

use crate::interest::Event;
use crate::sys;

/// Enough for most turns of most servers, and three kilobytes.
const INITIAL_CAPACITY: usize = 256;

/// The events of the latest [`wait`](crate::Poller::wait).
///
/// It starts with room for 256 events and doubles whenever a wait has filled
/// it, so a loop with many busy descriptors soon learns of all of them in one
/// call. What does not fit is not lost: interest is level-triggered, and the
/// kernel hands out what is left first in the next wait.
pub struct Events {
    /// Never holds the waker's record: the wait takes it out.
    raw: Vec<sys::RawEvent>,
}

impl Events {
    /// An empty buffer of the default capacity.
    pub fn new() -> Events {
        Events { raw: Vec::with_capacity(INITIAL_CAPACITY) }
    }

    /// Forget the events; a wait does this by itself.
    #[inline]
    pub fn clear(&mut self) {
        self.raw.clear();
    }

    /// The events, in the kernel's order (which is fair: it rotates).
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = Event> {
        self.raw.iter().map(sys::decode)
    }

    /// How many descriptors are ready.
    #[inline]
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Whether none is.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// The buffer, emptied, for the kernel to fill.
    #[inline]
    pub(crate) fn vacate(&mut self) -> &mut Vec<sys::RawEvent> {
        self.raw.clear();
        &mut self.raw
    }

    /// Called after a wait that filled the buffer to its last place.
    #[cold]
    pub(crate) fn grow(&mut self) {
        self.raw.reserve(self.raw.capacity() + 1);
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.raw.capacity()
    }
}

// SAFETY: the kernel's records are plain data; the pointer among their possible readings is never
// one here. A wait fills the buffer in a thread that has let go of all that it must not touch.
unsafe impl Send for Events {}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}
