//! The one list of waiters under every lock, event, condition, semaphore and queue, and under
//! `as_completed`.
//!
//! Coroutines in the order in which they came, linked through themselves: to enter, to leave from
//! anywhere and to find the first costs the same however many wait, where asyncio's deque looks
//! through all of them to take one out. The list owns its members, as asyncio's owns the Futures.
//!
//! Waiters that are woken stay until they have run. So that waking one after another does not look
//! at all of those again each time, the list remembers the first that may still be pending.

use std::cell::Cell;

use super::coroutine::Coroutine;
use crate::engine::asyncio::asyncio;
use crate::py::{Any, AsObject, Own, Res, Stop, Visitor, value};

/// The list's ends, a field of the primitive, which does not move.
pub(crate) struct Waiters {
    first: Cell<*const Coroutine>,
    last: Cell<*const Coroutine>,
    /// Everybody before this one is woken or cancelled; null: everybody is.
    pending: Cell<*const Coroutine>,
    len: Cell<usize>,
}

impl Waiters {
    pub(crate) const fn new() -> Waiters {
        Waiters {
            first: Cell::new(std::ptr::null()),
            last: Cell::new(std::ptr::null()),
            pending: Cell::new(std::ptr::null()),
            len: Cell::new(0),
        }
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len.get()
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.len.get() == 0
    }

    #[inline(always)]
    fn id(&self) -> *const () {
        std::ptr::from_ref(self).cast()
    }

    #[inline]
    pub(crate) fn push(&self, waiter: &Coroutine) {
        debug_assert!(waiter.links.list.get().is_null());
        crate::py::track(waiter);
        let waiter = std::mem::ManuallyDrop::new(waiter.own());
        let address = std::ptr::from_ref::<Coroutine>(&waiter);
        let last = self.last.replace(address);
        waiter.links.list.set(self.id());
        waiter.links.previous.set(last);
        // SAFETY: members are alive, for the list owns them.
        match unsafe { last.as_ref() } {
            Some(last) => last.links.next.set(address),
            None => self.first.set(address),
        }
        if self.pending.get().is_null() {
            self.pending.set(address);
        }
        self.len.set(self.len.get() + 1);
    }

    /// Takes a waiter out; nothing if it is not in this list.
    #[inline]
    pub(crate) fn remove(&self, waiter: &Coroutine) -> Option<Own<Coroutine>> {
        if waiter.links.list.get() != self.id() {
            return None;
        }
        let previous = waiter.links.previous.replace(std::ptr::null());
        let next = waiter.links.next.replace(std::ptr::null());
        waiter.links.list.set(std::ptr::null());
        if std::ptr::eq(self.pending.get(), waiter) {
            self.pending.set(next);
        }
        // SAFETY: neighbours are members, which are alive. The reference given back is the one
        // that `push` kept.
        unsafe {
            match previous.as_ref() {
                Some(previous) => previous.links.next.set(next),
                None => self.first.set(next),
            }
            match next.as_ref() {
                Some(next) => next.links.previous.set(previous),
                None => self.last.set(previous),
            }
            self.len.set(self.len.get() - 1);
            Some(Own::from_word(std::ptr::from_ref(waiter) as usize))
        }
    }

    #[inline(always)]
    pub(crate) fn first(&self) -> Option<Own<Coroutine>> {
        // SAFETY: members are alive.
        unsafe { self.first.get().as_ref() }.map(AsObject::own)
    }

    #[inline]
    pub(crate) fn pop_first(&self) -> Option<Own<Coroutine>> {
        // SAFETY: members are alive; the list's own reference is what keeps it so until it is
        // given back.
        unsafe { self.first.get().as_ref() }.and_then(|first| self.remove(first))
    }

    /// Runs `visit` with each waiter in turn until it says that it has seen enough. A waiter that
    /// leaves meanwhile, by what `visit` does, ends the walk, as it would end asyncio's.
    pub(crate) fn each(&self, mut visit: impl FnMut(&Coroutine) -> Res<bool>) -> Res<()> {
        let mut current = self.first();
        while let Some(waiter) = current {
            // SAFETY: members are alive, and the reference is taken before anything can run.
            let next = unsafe { waiter.links.next.get().as_ref() }.map(AsObject::own);
            if !visit(&waiter)? {
                return Ok(());
            }
            current = next.filter(|next| next.links.list.get() == self.id());
        }
        Ok(())
    }

    /// Whether all have been cancelled and only not yet left.
    #[inline]
    pub(crate) fn all_cancelled(&self) -> Res<bool> {
        if self.is_empty() {
            return Ok(true);
        }
        let mut all = true;
        self.each(|waiter| {
            all = waiter.is_cancelled()?;
            Ok(all)
        })?;
        Ok(all)
    }

    /// The first that is not woken or cancelled already, for the caller to wake.
    fn next_pending(&self) -> Res<Option<Own<Coroutine>>> {
        // SAFETY: members are alive, and the reference is taken before anything can run.
        while let Some(waiter) = unsafe { self.pending.get().as_ref() }.map(AsObject::own) {
            // A foreign Future is asked by calling it, so the list may be another afterwards.
            let done = waiter.is_done()?;
            if std::ptr::eq(self.pending.get(), &*waiter) {
                self.pending.set(waiter.links.next.get());
            }
            if !done {
                return Ok(Some(waiter));
            }
        }
        Ok(None)
    }

    /// Wakes the first that is not woken or cancelled already; whether there was one.
    pub(crate) fn wake_first_pending(&self) -> Res<bool> {
        match self.next_pending()? {
            Some(waiter) => waiter.wake().map(|()| true),
            None => Ok(false),
        }
    }

    /// Wakes up to `limit` of those that are not woken or cancelled already.
    pub(crate) fn wake_pending(&self, limit: usize) -> Res<()> {
        for _ in 0..limit {
            if !self.wake_first_pending()? {
                break;
            }
        }
        Ok(())
    }

    /// Takes out and wakes the first that is not woken or cancelled; those before it leave too.
    pub(crate) fn release_first(&self) -> Res<()> {
        while let Some(waiter) = self.pop_first() {
            if !waiter.is_done()? {
                return waiter.wake();
            }
        }
        Ok(())
    }

    /// Takes out and wakes all.
    pub(crate) fn release_all(&self) -> Res<()> {
        while let Some(waiter) = self.pop_first() {
            if !waiter.is_done()? {
                waiter.wake()?;
            }
        }
        Ok(())
    }

    /// A deque of them, for those who look at asyncio's `_waiters`.
    pub(crate) fn as_deque(&self) -> Res {
        let list = value::list()?;
        self.each(|waiter| value::append(&list, waiter.as_any()).map(|()| true))?;
        asyncio().deque_class.call(&[&list])
    }

    pub(crate) fn visit(&self, visitor: &Visitor) -> Result<(), Stop> {
        let mut current = self.first.get();
        // SAFETY: members are alive, and the collector runs no Python code during traversal.
        while let Some(waiter) = unsafe { current.as_ref() } {
            visitor.object(waiter)?;
            current = waiter.links.next.get();
        }
        Ok(())
    }

    /// Lets go of all.
    pub(crate) fn clear(&self) {
        while let Some(waiter) = self.pop_first() {
            drop(waiter);
        }
    }
}

impl Drop for Waiters {
    fn drop(&mut self) {
        self.clear();
    }
}

/// `, waiters:3` or nothing, as in the reprs of asyncio.
pub(crate) fn waiters_text(waiters: &Waiters) -> String {
    match waiters.len() {
        0 => String::new(),
        len => format!(", waiters:{len}"),
    }
}

/// `repr` as asyncio's primitives have it: what `object` says, and the state in brackets.
pub(crate) fn repr_with_state(this: &Any, state: &str) -> Res<String> {
    let plain = value::text_of(&*value::object_repr(this)?)?;
    let inside = plain.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(&plain);
    Ok(format!("<{inside} [{state}]>"))
}
