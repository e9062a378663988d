//! What a descriptor is watched for, and what came of it: the two words that
//! the kernel's side and the loop's side of the reactor have in common.
//!
//! Two bools rather than a bit set, because the callers only ever ask one
//! question at a time ("is there a reader?") and the pair is as small as the
//! set would be.

use std::os::fd::RawFd;

/// What a descriptor is watched for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Interest {
    /// Watch for bytes to read, a connection to accept, or the end of either.
    pub read: bool,
    /// Watch for room to write, or the completion of a connect.
    pub write: bool,
}

impl Interest {
    /// Not watched at all.
    pub const NONE: Interest = Interest { read: false, write: false };
    /// Watched for reading.
    pub const READ: Interest = Interest { read: true, write: false };
    /// Watched for writing.
    pub const WRITE: Interest = Interest { read: false, write: true };
    /// Watched for reading and writing.
    pub const BOTH: Interest = Interest { read: true, write: true };

    /// Whether there is nothing to watch for.
    #[inline]
    pub const fn is_none(self) -> bool {
        !self.read && !self.write
    }
}

/// What the kernel said about one descriptor.
///
/// An error or a hang-up makes both sides ready, as in Python's
/// `selectors.EpollSelector`: whoever is there to read or to write meets it in
/// the call that follows. Because of this, and because callbacks that ran since
/// the wait may have changed their minds, the event has to be narrowed to the
/// interest of the moment it is acted upon: see [`Event::narrow`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The descriptor.
    pub fd: RawFd,
    /// A read would not block.
    pub readable: bool,
    /// A write would not block.
    pub writable: bool,
}

impl Event {
    /// The part of this event that is still wanted, given the descriptor's
    /// [`interest`](crate::Reactor::interest) as it is now.
    ///
    /// A table of handlers that is consulted for each side does the same; use
    /// whichever is at hand.
    #[inline]
    pub const fn narrow(self, interest: Interest) -> Event {
        Event {
            fd: self.fd,
            readable: self.readable && interest.read,
            writable: self.writable && interest.write,
        }
    }
}
