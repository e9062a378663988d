//! The seam between the reactor and the operating system.
//!
//! A platform is one module with these names; nothing above it says `epoll`:
//!
//! - `Queue`: `new`, `change(fd, before, after)`, `wait(&mut Vec<RawEvent>,
//!   timeout) -> (rung, filled)`, `ring`, `become_another`, `is_gone`;
//! - `RawEvent`, the kernel's record, and `decode`, which reads it.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::{Queue, RawEvent, decode};

#[cfg(not(target_os = "linux"))]
compile_error!("aioxide's reactor has a Linux back end only, so far: see src/sys/mod.rs");
