//! Waiting for a while: the one call for which rustix does not serve.
//!
//! Milliseconds are too coarse for a timer, and rustix chooses between
//! `epoll_pwait2` (nanoseconds, Linux 5.11) and `epoll_wait` when it is
//! compiled; a wheel has to run on both. The alternatives in safe code, a
//! timerfd or `ppoll` on the epoll descriptor, cost a second system call for
//! each wait. So the newer call is made by its number, and the older one, its
//! timeout rounded up, serves where the kernel or a sandbox refuses it.

use std::ffi::{c_int, c_long};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::RawEvent;

/// `epoll_pwait2`, on the architectures that share the kernel's common table.
const NUMBER: c_long = 441;
const COMMON_TABLE: bool = cfg!(any(
    all(target_arch = "x86_64", target_pointer_width = "64"),
    target_arch = "x86",
    target_arch = "aarch64",
    target_arch = "arm",
    target_arch = "riscv64",
    target_arch = "powerpc64",
    target_arch = "s390x",
    target_arch = "loongarch64",
));

static REFUSED: AtomicBool = AtomicBool::new(!COMMON_TABLE);

unsafe extern "C" {
    // In every C library that Rust's std links on Linux.
    fn syscall(number: c_long, ...) -> c_long;
}

/// `struct __kernel_timespec`: 64 bits each, also on 32-bit machines.
#[repr(C)]
struct KernelTimespec {
    seconds: i64,
    nanoseconds: i64,
}

/// Append what is ready to `buffer`, after at most `timeout`.
pub(super) fn wait(
    epoll: &OwnedFd,
    buffer: &mut Vec<RawEvent>,
    timeout: Duration,
) -> io::Result<usize> {
    if !REFUSED.load(Ordering::Relaxed) {
        match by_nanoseconds(epoll, buffer, timeout) {
            Err(Errno::NOSYS | Errno::PERM) => REFUSED.store(true, Ordering::Relaxed),
            outcome => return Ok(outcome?),
        }
    }
    by_milliseconds(epoll, buffer, timeout)
}

fn by_nanoseconds(
    epoll: &OwnedFd,
    buffer: &mut Vec<RawEvent>,
    timeout: Duration,
) -> Result<usize, Errno> {
    let timeout = KernelTimespec {
        seconds: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: i64::from(timeout.subsec_nanos()),
    };
    let room = buffer.spare_capacity_mut();
    let limit = c_int::try_from(room.len()).unwrap_or(c_int::MAX);
    // SAFETY: the six arguments are those of epoll_pwait2, each as wide as a
    // register: an open descriptor, room for `limit` records of the kernel's
    // own layout, a timespec that outlives the call, no signal mask, its size.
    let count = unsafe {
        syscall(
            NUMBER,
            c_long::from(epoll.as_raw_fd()),
            room.as_mut_ptr(),
            c_long::from(limit),
            &raw const timeout,
            ptr::null::<u8>(),
            0 as c_long,
        )
    };
    match usize::try_from(count) {
        Ok(count) => {
            let filled = buffer.len() + count;
            // SAFETY: the kernel wrote `count` records, at most `limit` of
            // them, to the start of the spare room.
            unsafe { buffer.set_len(filled) };
            Ok(count)
        }
        Err(_) => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
    }
}

fn by_milliseconds(
    epoll: &OwnedFd,
    buffer: &mut Vec<RawEvent>,
    timeout: Duration,
) -> io::Result<usize> {
    let timeout = round_up(timeout);
    Ok(epoll::wait(epoll, spare_capacity(buffer), Some(&timeout))?)
}

/// The next whole millisecond, and at most what fits in a C int of them: 24
/// days, after which the caller looks at its timers and waits again.
fn round_up(timeout: Duration) -> Timespec {
    let millis = timeout.as_nanos().div_ceil(1_000_000);
    let millis = i32::try_from(millis).unwrap_or(i32::MAX);
    Timespec { tv_sec: i64::from(millis / 1000), tv_nsec: (millis % 1000 * 1_000_000) as _ }
}

#[cfg(test)]
mod tests;
