//! The ground the event loop stands on: which descriptors are ready, which
//! timers are due, and how another thread interrupts the wait.
//!
//! It is a crate of its own so that it can know nothing of Python: data flows
//! kernel → reactor → engine, nothing here names anything above it, and all of
//! it is tested without an interpreter.
//!
//! ```
//! use reactor::{Events, Interest, Reactor};
//! use std::{io::Write, os::fd::AsRawFd, os::unix::net::UnixStream};
//!
//! let (ours, mut theirs) = UnixStream::pair()?;
//! let mut reactor = Reactor::new()?;
//! reactor.set_interest(ours.as_raw_fd(), Interest::READ)?;
//! theirs.write_all(b"hello")?;
//!
//! let mut events = Events::new();
//! reactor.poller().wait(&mut events, None)?;
//! let event = events.iter().next().unwrap();
//! assert_eq!(event.fd, ours.as_raw_fd());
//! assert!(event.readable);
//! # Ok::<(), std::io::Error>(())
//! ```

#![warn(missing_docs)]
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

mod clock;
mod events;
mod interest;
mod poller;
mod registry;
mod sys;
mod timers;

pub use clock::{RESOLUTION, monotonic};
pub use events::Events;
pub use interest::{Event, Interest};
pub use poller::{Poller, Waker};
pub use registry::Reactor;
pub use timers::{NOWHERE, Slot, Timers};
