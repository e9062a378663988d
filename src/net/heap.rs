//! The C library's heap, once told that large packets come and go.
//!
//! glibc gives the top of its heap back to the kernel as soon as 128 KiB of it are free, and asks
//! for blocks above that size one by one. A server that receives, sends and frees packets of 64 KiB
//! then spends up to two thirds of its time on page faults. The thresholds adapt by themselves when
//! a larger block is freed, so one such block is allocated and freed, untouched, before the first
//! transport is made. It sets no option, a program's own (`MALLOC_TRIM_THRESHOLD_` and the like)
//! stay in force, and `AIOXIDE_HEAP=default` leaves everything as it is.

/// Twice this much may then lie free at the top of the heap.
const BLOCK: usize = 24 << 20;

/// Raises the thresholds, once a process.
pub(super) fn expect_large_packets() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let unwanted = std::env::var_os("AIOXIDE_HEAP").is_some_and(|value| value == "default");
        if cfg!(target_env = "gnu") && !unwanted {
            // SAFETY: a block is allocated and freed; freeing null does nothing.
            unsafe { libc::free(std::hint::black_box(libc::malloc(BLOCK))) }
        }
    });
}
