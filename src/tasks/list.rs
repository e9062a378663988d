//! The Tasks of a loop that are not done: what `all_tasks` walks.
//!
//! An intrusive list: two stores to enter, two to leave, no reference held, where asyncio's WeakSet
//! costs 214 ns a Task. A Task leaves when it is done, when the collector clears it, and at the
//! latest when it dies; until then it keeps its loop, and so the list's head, alive.

use std::cell::Cell;

use super::task::Task;
use crate::py::{AsObject, Own};

/// The head, a field of the loop.
pub(crate) struct TaskList {
    head: Cell<*const Task>,
}

/// A Task's place in the list: its successor, and the cell that points at it.
pub(super) struct Links {
    next: Cell<*const Task>,
    place: Cell<*const Cell<*const Task>>,
}

impl Links {
    pub(super) const fn new() -> Links {
        Links { next: Cell::new(std::ptr::null()), place: Cell::new(std::ptr::null()) }
    }

    /// Takes the Task out; nothing if it is in no list.
    #[inline(always)]
    pub(super) fn unlink(&self) {
        let place = self.place.replace(std::ptr::null());
        if place.is_null() {
            return;
        }
        let next = self.next.replace(std::ptr::null());
        // SAFETY: `place` is the head in a loop that its linked Tasks keep alive, or the `next` of
        // a linked Task; Tasks unlink before they die, so both neighbours are alive.
        unsafe {
            (*place).set(next);
            if let Some(next) = next.as_ref() {
                next.links().place.set(place);
            }
        }
    }
}

impl TaskList {
    pub(crate) const fn new() -> TaskList {
        TaskList { head: Cell::new(std::ptr::null()) }
    }

    #[inline(always)]
    pub(super) fn link(&self, task: &Task) {
        let links = task.links();
        links.unlink();
        let next = self.head.replace(task);
        links.next.set(next);
        links.place.set(&self.head);
        // SAFETY: linked Tasks are alive (see `unlink`).
        if let Some(next) = unsafe { next.as_ref() } {
            next.links().place.set(&links.next);
        }
    }

    /// Strong references to all, newest first.
    pub(crate) fn all(&self) -> Vec<Own<Task>> {
        let mut tasks = Vec::new();
        let mut at = self.head.get();
        // SAFETY: linked Tasks are alive (see `unlink`); taking references runs no Python code.
        while let Some(task) = unsafe { at.as_ref() } {
            // A Task whose last reference is gone is on its way out of the list.
            if task.refcount() > 0 {
                tasks.push(task.own());
            }
            at = task.links().next.get();
        }
        tasks
    }

    /// Lets go of Tasks that are still linked when the loop itself dies.
    pub(crate) fn disband(&self) {
        // SAFETY: linked Tasks are alive (see `unlink`).
        while let Some(task) = unsafe { self.head.get().as_ref() } {
            task.links().unlink();
        }
    }
}
