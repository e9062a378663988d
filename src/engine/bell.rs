//! How other threads end a loop's wait, and who gets the GIL then.
//!
//! Waking a thread costs some 5 to 50 microseconds, and waking one that finds the GIL taken costs
//! that twice: it goes back to sleep until the other lets go. So a thread that has nothing more to
//! do rings after it let go of the GIL, and one that is about to wait for the loop stays without
//! it until the loop has come.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reactor::Waker;

use super::event_loop::{EventLoop, LoopState};
use crate::py::class::is_same_method;
use crate::py::{Any, AsObject, Class, Res, names, value, without_gil};

/// Ends a loop's wait; may be rung without the GIL.
pub(crate) struct Bell {
    waker: Waker,
    waits: Arc<AtomicUsize>,
}

impl Bell {
    /// `waits` counts the waits that ended with the GIL taken again.
    pub(super) fn new(waker: Waker, waits: Arc<AtomicUsize>) -> Bell {
        Bell { waker, waits }
    }

    pub(crate) fn ring(&self) {
        self.waker.wake();
    }

    /// Rings, and stays a moment, at most `limit`, until the loop has the GIL. To be called without
    /// it.
    fn ring_and_give_way(&self, limit: Duration) {
        let before = self.waits.load(Ordering::Relaxed);
        let began = Instant::now();
        self.ring();
        while self.waits.load(Ordering::Relaxed) == before && began.elapsed() < limit {
            std::thread::yield_now();
        }
    }
}

impl EventLoop {
    /// What ends the loop's wait, if it waits: for a thread that lets go of the GIL first. Only one
    /// thread gets it, and has to ring; what others push meanwhile is found by the same waking.
    #[inline]
    pub(crate) fn take_bell(&self) -> Option<Bell> {
        if !self.parked.replace(false) {
            return None;
        }
        self.living_io().and_then(|io| io.bell())
    }

    /// Whether what comes from other threads may be put into the queue past the loop's own
    /// `call_soon_threadsafe`: not if a subclass overrides it, or `call_soon`.
    pub(crate) fn hears_threads(&self) -> Res<bool> {
        let (class, name) = (value::type_of(self.as_any()), &names::CALL_SOON_THREADSAFE);
        let ours = LoopState::cell().object().attr(name)?;
        Ok(self.is_plain() && is_same_method(&*class.attr(name)?, &ours))
    }
}

/// `loop.call_soon_threadsafe(callback, argument)` on any loop, for a thread that is about to wait
/// for what comes of it: a loop of ours that waits has a moment to take the GIL first.
///
/// `run_coroutine_threadsafe(...).result()` is 2.8 times as fast for it.
pub(crate) fn call_soon_and_give_way(event_loop: &Any, callback: &Any, argument: &Any) -> Res<()> {
    /// Longer than a core takes to wake, and too short for a thread that does not wait to care.
    const A_MOMENT: Duration = Duration::from_micros(100);
    let ours = match event_loop.cast::<LoopState>() {
        Some(ours) if ours.hears_threads()? => Some(ours),
        _ => None,
    };
    // Taken first, or the call would ring.
    let bell = ours.and_then(EventLoop::take_bell);
    let name = &names::CALL_SOON_THREADSAFE;
    let scheduled = event_loop.call_method(name, &[callback, argument]);
    if let Some(bell) = bell {
        without_gil(move || bell.ring_and_give_way(A_MOMENT));
    }
    scheduled.map(drop)
}
