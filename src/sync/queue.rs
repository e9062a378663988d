//! Queue: items between Tasks, with limits, joining and shutdown; what all three orders share.
//!
//! Each function here is asyncio's method of the same name, step by step, and calls the others as
//! asyncio does: ours directly, a subclass's where it has its own (`queue_hooks`).

use std::cell::Cell;

use super::bound::LoopBound;
use super::methods::follow;
use super::queue_hooks::{
    EMPTY, FORMAT, FULL, GET, GET_NOWAIT, Hooks, INIT, PUT, PUT_NOWAIT, QSIZE, WAKEUP_NEXT,
};
use super::queue_line::Line;
use super::queue_storage::{Order, Storage};
use crate::engine::asyncio::asyncio;
use crate::py::error::{raise_bare, restore};
use crate::py::{
    Any, AsObject, Builtin, Class, Managed, Object, Own, Raised, Res, Sent, Slot, Stop, TypeCell,
    Visitor, import, names, raise, value,
};
use crate::tasks::coroutine::{Behaviour, Coroutine};

pub(super) type Queue = Object<QueueState>;

/// A queue's fields.
pub(super) struct QueueState {
    order: Order,
    pub(super) storage: Storage,
    maxsize: Slot,
    limit: Cell<Limit>,
    pub(super) getters: Line,
    pub(super) putters: Line,
    pub(super) unfinished: Cell<i64>,
    pub(super) finished: Finished,
    pub(super) is_shutdown: Cell<bool>,
    pub(super) bound: LoopBound,
    hooks: Hooks,
    pub(super) dict: Slot,
    pub(super) weakrefs: Managed,
}

/// `maxsize`, understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Limit {
    None,
    Items(usize),
    /// Not an int: whatever it is, it is compared when the question comes up.
    Asked,
}

pub(super) static TYPE: TypeCell = TypeCell::new();

impl Class for QueueState {
    const NAME: &'static std::ffi::CStr = c"aioxide.Queue";

    fn cell() -> &'static TypeCell {
        &TYPE
    }
    fn weakrefs(&self) -> Option<&Managed> {
        Some(&self.weakrefs)
    }
    fn traverse(object: &Queue, visitor: &Visitor) -> Result<(), Stop> {
        object.visit(visitor)
    }
    fn clear(object: &Queue) {
        object.forget();
    }
}

impl QueueState {
    pub(super) fn blank(order: Order) -> QueueState {
        QueueState {
            order,
            storage: Storage::new(),
            maxsize: Slot::empty(),
            limit: Cell::new(Limit::None),
            getters: Line::new(),
            putters: Line::new(),
            unfinished: Cell::new(0),
            finished: Finished::new(),
            is_shutdown: Cell::new(false),
            bound: LoopBound::new(),
            hooks: Hooks::new(),
            dict: Slot::empty(),
            weakrefs: Managed::new(),
        }
    }

    pub(super) fn visit(&self, visitor: &Visitor) -> Result<(), Stop> {
        self.storage.visit(visitor)?;
        visitor.slot(&self.maxsize)?;
        self.getters.visit(visitor)?;
        self.putters.visit(visitor)?;
        visitor.slot(&self.finished.event)?;
        self.bound.visit(visitor)?;
        visitor.slot(&self.dict)
    }

    pub(super) fn forget(&self) {
        self.storage.clear();
        self.maxsize.clear();
        self.getters.reset();
        self.putters.reset();
        self.finished.event.clear();
        self.bound.clear();
        self.dict.clear();
    }
}

/// `_finished`, the Event that `join` waits for: a flag until somebody waits or looks.
pub(super) struct Finished {
    is_set: Cell<bool>,
    event: Slot,
    /// Others have the event too, and may set and clear it.
    shared: Cell<bool>,
}

impl Finished {
    const fn new() -> Finished {
        Finished { is_set: Cell::new(true), event: Slot::empty(), shared: Cell::new(false) }
    }

    fn event(&self) -> Res {
        if let Some(event) = self.event.get() {
            return Ok(event);
        }
        let event = import(c"aioxide", c"Event")?.call(&[])?;
        if self.is_set.get() {
            event.call_method(&names::SET, &[])?;
        }
        self.event.set(event.clone());
        Ok(event)
    }

    #[inline(always)]
    fn turn(&self, is_set: bool) -> Res<()> {
        let before = self.is_set.replace(is_set);
        if self.event.is_some()
            && (before != is_set || self.shared.get())
            && let Some(event) = self.event.get()
        {
            event.call_method(if is_set { &names::SET } else { &names::CLEAR }, &[])?;
        }
        Ok(())
    }

    pub(super) fn has_event(&self) -> bool {
        self.event.is_some()
    }

    /// Sets the flag of a copy.
    pub(super) fn presume(&self, is_set: bool) {
        self.is_set.set(is_set);
    }

    /// `_finished`.
    pub(super) fn share(&self) -> Res {
        let event = self.event()?;
        self.shared.set(true);
        Ok(event)
    }

    /// `_finished = event`.
    pub(super) fn replace(&self, event: &Any) {
        self.event.set(event.own());
        self.shared.set(true);
    }
}

/// The place of a coroutine that joins and waits. One that gets or puts counts its waits there.
const WAITING: u8 = 1;

pub(super) static GETTING: Behaviour = Behaviour { qualname: "Queue.get", resume: resume_get };
pub(super) static PUTTING: Behaviour = Behaviour { qualname: "Queue.put", resume: resume_put };
pub(super) static JOINING: Behaviour = Behaviour { qualname: "Queue.join", resume: resume_join };

fn resume_get(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    let queue = this.owner_as::<QueueState>()?;
    let hooks = queue.hooks();
    if this.place.get() != 0 {
        queue.getters.woken(this);
        if let Some(exception) = exception {
            let in_vain = || Ok(!queue.is_empty(hooks)?);
            return Err(queue.give_up(hooks, this, &queue.getters, in_vain, exception));
        }
    }
    if queue.is_empty(hooks)? {
        if queue.is_shutdown.get() && queue.is_empty(hooks)? {
            return Err(raise_bare(&asyncio().queue_shut_down));
        }
        return queue.line_up(&queue.getters, this);
    }
    if hooks & GET_NOWAIT != 0 {
        return queue.as_any().call_method(&names::GET_NOWAIT, &[]).map(Sent::Returned);
    }
    queue.take_now(hooks).map(Sent::Returned)
}

fn resume_put(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    let queue = this.owner_as::<QueueState>()?;
    let hooks = queue.hooks();
    if this.place.get() != 0 {
        queue.putters.woken(this);
        if let Some(exception) = exception {
            let in_vain = || Ok(!queue.is_full(hooks)?);
            return Err(queue.give_up(hooks, this, &queue.putters, in_vain, exception));
        }
    }
    if queue.is_full(hooks)? {
        if queue.is_shutdown.get() {
            return Err(raise_bare(&asyncio().queue_shut_down));
        }
        return queue.line_up(&queue.putters, this);
    }
    let item = this.item.take().unwrap_or_else(value::none);
    if hooks & PUT_NOWAIT != 0 {
        return queue.as_any().call_method(&names::PUT_NOWAIT, &[&item]).map(Sent::Returned);
    }
    queue.put_now(hooks, &item)?;
    Ok(Sent::Returned(value::none()))
}

fn resume_join(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    let queue = this.owner_as::<QueueState>()?;
    if this.place.get() == 0 && queue.unfinished.get() <= 0 {
        return Ok(Sent::Returned(value::none()));
    }
    follow(this, exception, WAITING, || queue.finished.event()?.call_method(&names::WAIT, &[]))
}

impl Queue {
    /// The methods that a subclass, or the object's dict, has of its own: asked once for each
    /// operation, and handed on.
    #[inline(always)]
    fn hooks(&self) -> u16 {
        let dict = self.dict.get();
        self.hooks.find(self.as_any(), self.order, dict.as_deref())
    }

    /// Waits in `line`.
    fn line_up(&self, line: &Line, waiter: &Coroutine) -> Res<Sent> {
        self.bound.check(self.as_any())?;
        waiter.place.set(waiter.place.get().checked_add(1).unwrap_or(WAITING));
        let waits = waiter.wait()?;
        line.push(waiter)?;
        Ok(waits)
    }

    /// A wait ended in an exception. Who was woken for what it cannot take now (`in_vain`) passes
    /// its turn on.
    #[cold]
    fn give_up(
        &self,
        hooks: u16,
        waiter: &Coroutine,
        line: &Line,
        in_vain: impl FnOnce() -> Res<bool>,
        exception: Own<Any>,
    ) -> Raised {
        let passed_on = (|| {
            waiter.abandon()?;
            line.remove(waiter)?;
            if in_vain()? && !waiter.is_cancelled()? {
                self.wake_next(hooks, line)?;
            }
            Ok(())
        })();
        passed_on.map_or_else(|raised| raised, |()| restore(exception))
    }

    /// `_wakeup_next(line)`.
    #[inline(always)]
    fn wake_next(&self, hooks: u16, line: &Line) -> Res<()> {
        if hooks & WAKEUP_NEXT != 0 {
            let deque = line.as_deque()?;
            return self.as_any().call_method(&names::WAKEUP_NEXT, &[&deque]).map(drop);
        }
        line.wake_next()
    }

    /// `empty()`, whoever says so.
    #[inline(always)]
    fn is_empty(&self, hooks: u16) -> Res<bool> {
        if hooks & EMPTY != 0 {
            return value::is_true(&*self.as_any().call_method(&names::EMPTY, &[])?);
        }
        self.storage.is_empty()
    }

    /// `full()`, whoever says so.
    #[inline(always)]
    fn is_full(&self, hooks: u16) -> Res<bool> {
        if hooks & FULL != 0 {
            return value::is_true(&*self.as_any().call_method(&names::FULL, &[])?);
        }
        self.reaches_limit(hooks)
    }

    /// Our `full()`.
    pub(super) fn full(&self) -> Res<bool> {
        self.reaches_limit(self.hooks())
    }

    #[inline(always)]
    fn reaches_limit(&self, hooks: u16) -> Res<bool> {
        match self.limit.get() {
            Limit::None => Ok(false),
            Limit::Items(limit) if hooks & QSIZE == 0 => Ok(self.storage.len()? >= limit),
            _ => self.compare_size(hooks),
        }
    }

    #[cold]
    fn compare_size(&self, hooks: u16) -> Res<bool> {
        let maxsize = self.maxsize();
        if value::is_at_most(&maxsize, &*value::int(0)?)? {
            return Ok(false);
        }
        let size = if hooks & QSIZE != 0 {
            self.as_any().call_method(&names::QSIZE, &[])?
        } else {
            value::int(self.storage.len()? as i64)?
        };
        value::is_at_least(&size, &self.maxsize())
    }

    #[inline(always)]
    fn put_item(&self, hooks: u16, item: &Any) -> Res<()> {
        if hooks & PUT != 0 {
            return self.as_any().call_method(&names::QUEUE_PUT, &[item]).map(drop);
        }
        self.storage.put(self.order, item)
    }

    #[inline(always)]
    fn take_item(&self, hooks: u16) -> Res {
        if hooks & GET != 0 {
            return self.as_any().call_method(&names::QUEUE_GET, &[]);
        }
        self.storage.take(self.order)
    }

    /// Our `put_nowait()`.
    pub(super) fn put_nowait(&self, item: &Any) -> Res<()> {
        self.put_now(self.hooks(), item)
    }

    /// Our `get_nowait()`.
    pub(super) fn get_nowait(&self) -> Res {
        self.take_now(self.hooks())
    }

    #[inline(always)]
    fn put_now(&self, hooks: u16, item: &Any) -> Res<()> {
        if self.is_shutdown.get() {
            return Err(raise_bare(&asyncio().queue_shut_down));
        }
        if self.is_full(hooks)? {
            return Err(raise_bare(&asyncio().queue_full));
        }
        self.put_item(hooks, item)?;
        self.unfinished.set(self.unfinished.get().wrapping_add(1));
        self.finished.turn(false)?;
        self.wake_next(hooks, &self.getters)
    }

    #[inline(always)]
    fn take_now(&self, hooks: u16) -> Res {
        if self.is_empty(hooks)? {
            let asyncio = asyncio();
            let shut_down = self.is_shutdown.get();
            return Err(raise_bare(if shut_down {
                &asyncio.queue_shut_down
            } else {
                &asyncio.queue_empty
            }));
        }
        let item = self.take_item(hooks)?;
        self.wake_next(hooks, &self.putters)?;
        Ok(item)
    }

    pub(super) fn task_done(&self) -> Res<()> {
        let unfinished = self.unfinished.get();
        if unfinished <= 0 {
            return Err(raise(Builtin::ValueError.get(), "task_done() called too many times"));
        }
        self.unfinished.set(unfinished - 1);
        if unfinished == 1 { self.finished.turn(true) } else { Ok(()) }
    }

    pub(super) fn shutdown(&self, immediate: bool) -> Res<()> {
        self.is_shutdown.set(true);
        if immediate {
            let hooks = self.hooks();
            while !self.is_empty(hooks)? {
                drop(self.take_item(hooks)?);
                if self.unfinished.get() > 0 {
                    self.unfinished.set(self.unfinished.get() - 1);
                }
            }
            if self.unfinished.get() == 0 {
                self.finished.turn(true)?;
            }
        }
        self.getters.wake_all()?;
        self.putters.wake_all()
    }

    /// `__init__`.
    pub(super) fn begin(&self, maxsize: &Any) -> Res<()> {
        self.set_maxsize(maxsize)?;
        self.getters.reset();
        self.putters.reset();
        self.unfinished.set(0);
        self.finished.event.clear();
        self.finished.shared.set(false);
        self.finished.is_set.set(true);
        if self.hooks() & INIT != 0 {
            self.as_any().call_method(&names::QUEUE_INIT, &[maxsize])?;
        } else {
            self.storage.reset(self.order)?;
        }
        self.is_shutdown.set(false);
        Ok(())
    }

    /// `_maxsize`.
    pub(super) fn maxsize(&self) -> Own<Any> {
        self.maxsize.get().unwrap_or_else(value::none)
    }

    pub(super) fn set_maxsize(&self, maxsize: &Any) -> Res<()> {
        let limit = if !value::is_exact_int(maxsize) {
            Limit::Asked
        } else if value::is_at_most(maxsize, &*value::int(0)?)? {
            Limit::None
        } else {
            // More than fits into a word is more than a queue will ever hold.
            value::as_int(maxsize).map_or_else(
                |raised| {
                    crate::py::error::discard(raised);
                    Limit::None
                },
                |limit| Limit::Items(limit as usize),
            )
        };
        self.limit.set(limit);
        self.maxsize.set(maxsize.own());
        Ok(())
    }

    pub(super) fn order(&self) -> Order {
        self.order
    }

    /// Our `_format()`: what a repr says of the queue.
    pub(super) fn format(&self) -> Res<String> {
        let mut text = format!("maxsize={}", value::repr_of(&self.maxsize())?);
        if let Some(items) = self.storage.listed()? {
            text += &format!(" _queue={}", value::repr_of(&items)?);
        }
        for (name, line) in [("_getters", &self.getters), ("_putters", &self.putters)] {
            let waiting = line.len()?;
            if waiting > 0 {
                text += &format!(" {name}[{waiting}]");
            }
        }
        if self.unfinished.get() != 0 {
            text += &format!(" tasks={}", self.unfinished.get());
        }
        if self.is_shutdown.get() {
            text += " shutdown";
        }
        Ok(text)
    }

    /// `_format()`, whoever says so.
    pub(super) fn described(&self) -> Res<String> {
        if self.hooks() & FORMAT != 0 {
            let text = self.as_any().call_method(&names::FORMAT, &[])?;
            return value::text_of(&*value::str_of(&text)?);
        }
        self.format()
    }
}
