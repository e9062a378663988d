//! The loop's clock, read here so that deadlines and waits speak of one and the same.

use rustix::time::{ClockId, clock_gettime};

/// Seconds of the monotonic clock, equal to Python's `time.monotonic()` to the last bit: the
/// nanoseconds as one integer, divided once.
#[inline]
pub fn monotonic() -> f64 {
    let now = clock_gettime(ClockId::Monotonic);
    let nanoseconds = now.tv_sec * 1_000_000_000 + now.tv_nsec;
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
