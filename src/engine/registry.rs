//! The loops that are alive: for `all_tasks`, for fork, and for Handles that outlive theirs.

use std::cell::UnsafeCell;

use super::event_loop::EventLoop;
use crate::py::{AsObject, Own};

struct Loops(UnsafeCell<Vec<*const EventLoop>>);
// SAFETY: touched only with the GIL held, by functions that run no Python code meanwhile.
unsafe impl Sync for Loops {}

static LOOPS: Loops = Loops(UnsafeCell::new(Vec::new()));

#[allow(clippy::mut_from_ref)]
fn loops() -> &'static mut Vec<*const EventLoop> {
    // SAFETY: see `Sync` above; no borrow outlives the function that takes it.
    unsafe { &mut *LOOPS.0.get() }
}

pub(super) fn add(event_loop: &EventLoop) {
    loops().push(event_loop);
}

pub(super) fn remove(event_loop: &EventLoop) {
    loops().retain(|&known| !std::ptr::eq(known, event_loop));
}

/// The loop behind an address, if one lives there.
pub(super) fn find(address: *const EventLoop) -> Option<Own<EventLoop>> {
    // SAFETY: a loop removes itself before it dies.
    loops()
        .iter()
        .find(|&&known| std::ptr::eq(known, address))
        .map(|&known| unsafe { (*known).own() })
}

/// All of them.
pub(super) fn all() -> Vec<Own<EventLoop>> {
    // SAFETY: a loop removes itself before it dies.
    loops().iter().map(|&known| unsafe { (*known).own() }).collect()
}
