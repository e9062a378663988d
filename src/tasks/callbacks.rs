//! Who wants to know that a Future is done: callbacks with their contexts, and waiting Tasks.
//!
//! Nearly every Future has exactly one, so the first lies in the object and only further ones cost
//! an allocation. A waiting Task is kept as itself, not as a callable: when the Future is done the
//! Task goes straight into the ready queue. So is a watcher, a native object such as a gather or a
//! TaskGroup that has to hear of the end (`watch`).

use std::cell::{Cell, UnsafeCell};
use std::mem::ManuallyDrop;

use super::task::{Task, TaskState};
use crate::py::{Any, AsObject, Own, Stop, Visitor, value};

/// One of them. Two words: without a context, the target is a Task to wake; with None for a
/// context it is a watcher.
pub(crate) struct Waiter {
    target: Own<Any>,
    context: Option<Own<Any>>,
}

/// A waiter, taken apart.
pub(crate) enum Wake {
    Task(Own<Task>),
    Callback(Own<Any>, Own<Any>),
    Watcher(Own<Any>),
}

impl Waiter {
    pub(crate) fn task(task: Own<Task>) -> Waiter {
        Waiter { target: task.into_any(), context: None }
    }

    #[inline(always)]
    pub(crate) fn watcher(watcher: Own<Any>) -> Waiter {
        Waiter { target: watcher, context: Some(value::none()) }
    }

    pub(crate) fn callback(callback: Own<Any>, context: Own<Any>) -> Waiter {
        Waiter { target: callback, context: Some(context) }
    }

    fn is_watcher(&self) -> bool {
        self.context.as_ref().is_some_and(|context| context.is_none())
    }

    #[inline(always)]
    pub(crate) fn open(self) -> Wake {
        match self.context {
            // SAFETY: only `Waiter::task` makes one without a context, from a Task.
            None => Wake::Task(unsafe { self.target.assume_own::<TaskState>() }),
            Some(context) if context.is_none() => Wake::Watcher(self.target),
            Some(context) => Wake::Callback(self.target, context),
        }
    }

    /// Whether both are the same entry: same target, same context.
    pub(crate) fn same(&self, other: &Waiter) -> bool {
        let contexts = (self.context.as_deref(), other.context.as_deref());
        self.target.is(&*other.target)
            && match contexts {
                (Some(ours), Some(theirs)) => ours.is(theirs),
                (ours, theirs) => ours.is_none() == theirs.is_none(),
            }
    }

    fn visit(&self, visitor: &Visitor) -> Result<(), Stop> {
        visitor.object(&*self.target)?;
        self.context.as_ref().map_or(Ok(()), |context| visitor.object(&**context))
    }
}

impl Clone for Waiter {
    fn clone(&self) -> Waiter {
        Waiter { target: self.target.clone(), context: self.context.clone() }
    }
}

/// Boxed twice over on purpose: one word in every Future, for a list that few have.
#[allow(clippy::box_collection)]
type Rest = Option<Box<Vec<Waiter>>>;

/// The waiters of one Future, in the order in which they came.
pub(crate) struct Callbacks {
    first: Cell<Option<Waiter>>,
    rest: UnsafeCell<ManuallyDrop<Rest>>,
}

impl Drop for Callbacks {
    /// By hand, so that the usual case is a look and not a call.
    #[inline(always)]
    fn drop(&mut self) {
        if self.rest().is_some() {
            self.drop_rest();
        }
    }
}

impl Callbacks {
    pub(crate) const fn new() -> Callbacks {
        Callbacks { first: Cell::new(None), rest: UnsafeCell::new(ManuallyDrop::new(None)) }
    }

    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    fn rest(&self) -> &mut Rest {
        // SAFETY: private; every use below ends before any Python code can run (pushing, taking
        // and counting references run none), so no two of these borrows overlap.
        unsafe { &mut *self.rest.get() }
    }

    #[inline(always)]
    fn has_first(&self) -> bool {
        // SAFETY: a look at a word; nothing escapes.
        unsafe { (*self.first.as_ptr()).is_some() }
    }

    #[cold]
    fn drop_rest(&self) {
        drop(self.rest().take());
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.has_first() && self.rest().is_none()
    }

    #[inline]
    pub(crate) fn push(&self, waiter: Waiter) {
        if !self.has_first() && self.rest().is_none() {
            self.first.set(Some(waiter));
        } else {
            self.rest().get_or_insert_default().push(waiter);
        }
    }

    /// Takes the first, and says whether there are others (`take` gets them).
    #[inline(always)]
    pub(crate) fn take_first(&self) -> (Option<Waiter>, bool) {
        (self.first.take(), self.rest().is_some())
    }

    /// Takes the first alone.
    pub(crate) fn pop(&self) -> Option<Waiter> {
        let first = self.first.take();
        if self.rest().is_some() {
            self.pull_up();
        }
        first
    }

    /// Fills the first place from the others.
    #[cold]
    fn pull_up(&self) {
        let Some(rest) = self.rest() else { return };
        if !rest.is_empty() {
            self.first.set(Some(rest.remove(0)));
        }
        if rest.is_empty() {
            *self.rest() = None;
        }
    }

    /// Takes out this watcher, if it is there.
    pub(crate) fn remove_watcher(&self, watcher: &Any) -> Option<Waiter> {
        let is_it = |waiter: &Waiter| waiter.is_watcher() && waiter.target.is(watcher);
        // SAFETY: a look; nothing runs.
        if unsafe { (*self.first.as_ptr()).as_ref() }.is_some_and(is_it) {
            return self.pop();
        }
        let rest = self.rest().as_mut()?;
        let index = rest.iter().position(is_it)?;
        let found = rest.remove(index);
        if rest.is_empty() {
            *self.rest() = None;
        }
        Some(found)
    }

    /// Takes all of them, in order.
    pub(crate) fn take(&self) -> (Option<Waiter>, Vec<Waiter>) {
        let rest = self.rest().take().map_or_else(Vec::new, |rest| *rest);
        (self.first.take(), rest)
    }

    /// Puts back what `take` gave, or a part of it.
    pub(crate) fn restore(&self, waiters: Vec<Waiter>) {
        let mut waiters = waiters.into_iter();
        let first = self.first.replace(waiters.next());
        let rest: Vec<Waiter> = waiters.collect();
        let old = std::mem::replace(self.rest(), (!rest.is_empty()).then(|| Box::new(rest)));
        // Dropped last, when the list is whole again: this may run code.
        drop((first, old));
    }

    /// Copies of all, in order.
    pub(crate) fn snapshot(&self) -> Vec<Waiter> {
        // SAFETY: cloning only counts references.
        let first = unsafe { (*self.first.as_ptr()).clone() };
        let rest = self.rest().as_ref().map_or_else(Vec::new, |rest| (**rest).clone());
        first.into_iter().chain(rest).collect()
    }

    pub(crate) fn visit(&self, visitor: &Visitor) -> Result<(), Stop> {
        // SAFETY: the collector runs no Python code during traversal.
        if let Some(first) = unsafe { &*self.first.as_ptr() } {
            first.visit(visitor)?;
        }
        if let Some(rest) = self.rest() {
            for waiter in rest.iter() {
                waiter.visit(visitor)?;
            }
        }
        Ok(())
    }

    /// The Tasks that wait here.
    pub(crate) fn tasks(&self) -> Vec<Own<Any>> {
        let waits = |waiter: &Waiter| waiter.context.is_none();
        self.snapshot().into_iter().filter(waits).map(|waiter| waiter.target).collect()
    }
}
