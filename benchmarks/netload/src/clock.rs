//! Time as it passes, and processor time of this process and of the server.
//!
//! The client itself reads the server's processor time at the very moments
//! between which it counts requests, so that neither the warm-up nor starting
//! and stopping is in the figure. The kernel keeps it in nanoseconds for a whole
//! process: threads that ended and io_uring's workers are in it. But it adds what
//! a running process has used only at the next tick or when it stops running, so
//! it is read while the server has nothing to do: all that was asked is answered,
//! and a pause has let it go to sleep.

use std::fs;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(5);

/// Nanoseconds since the first call.
#[inline]
pub fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Nanoseconds of processor time that a process has used; zero for none.
pub fn processor_time(process: Option<i32>) -> u64 {
    // How Linux encodes "all threads of this process, as the scheduler counts".
    let clock = match process {
        Some(process) => (!process << 3) | 2,
        None => libc::CLOCK_PROCESS_CPUTIME_ID,
    };
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec to write to; an unknown clock is an error, no more.
    let status = unsafe { libc::clock_gettime(clock, &raw mut time) };
    if status == 0 { time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64 } else { 0 }
}

/// Resident bytes of a process that no file backs.
pub fn anonymous_memory(process: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

/// What has been used between `begin` and `end`.
pub struct Used {
    server: Option<i32>,
    time: u64,
    server_time: u64,
    client_time: u64,
}

/// What a measurement took, in nanoseconds.
pub struct Taken {
    pub time: u64,
    pub server_time: u64,
    pub client_time: u64,
}

impl Used {
    /// Begin to count. The server owes no answer.
    pub fn begin(server: Option<i32>) -> Used {
        thread::sleep(PAUSE);
        let client_time = processor_time(None);
        let server_time = server.map_or(0, |server| processor_time(Some(server)));
        Used { server, time: now(), server_time, client_time }
    }

    /// What has been used. The server owes no answer.
    pub fn end(&self) -> Taken {
        self.end_at(now())
    }

    /// The same if it ended a while ago.
    pub fn end_at(&self, end: u64) -> Taken {
        let time = end - self.time;
        let client_time = processor_time(None) - self.client_time;
        thread::sleep(PAUSE);
        let server_time = self.server.map_or(0, |server| processor_time(Some(server)));
        Taken { time, server_time: server_time - self.server_time, client_time }
    }
}
