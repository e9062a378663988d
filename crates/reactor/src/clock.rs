//! The loop's clock, read here so that deadlines and waits speak of one and the same.

/// Seconds of the monotonic clock, equal to Python's `time.monotonic()` to the last bit: the
/// nanoseconds as one integer, divided once.
///
/// Through libc, which knows the fast path of every kernel and of every tool that stands in for
/// one; a clock that looks for it by itself crashes under valgrind.
#[inline]
pub fn monotonic() -> f64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the timespec that it is given; this clock exists on every system.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    #[allow(clippy::useless_conversion)] // The fields are narrower on some systems.
    let nanoseconds = i64::from(now.tv_sec) * 1_000_000_000 + i64::from(now.tv_nsec);
    nanoseconds as f64 / 1e9
}

/// The clock's resolution, as asyncio takes it: what is due within it is due.
pub const RESOLUTION: f64 = 1e-9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_does_not_run_backwards() {
        let mut last = monotonic();
        for _ in 0..1000 {
            let now = monotonic();
            assert!(now >= last);
            last = now;
        }
    }
}
