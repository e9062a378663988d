//! What holds a queue's items.
//!
//! Items of a plain queue lie in a ring of references, which costs no call and no allocation for
//! each. As soon as a program reads or sets `_queue`, the items move for good into the object that
//! asyncio would have there, a deque or a list, and are reached by its methods from then on: so
//! code that works on `_queue` goes on working. A priority queue has its list from the beginning,
//! because the heap is the interpreter's own, with its order of comparisons.

use std::cell::{Cell, UnsafeCell};
use std::collections::VecDeque;

use crate::engine::asyncio::asyncio;
use crate::py::{Any, AsObject, Own, Res, Slot, Stop, Visitor, names, value};

/// Items that wait to be let go of: a queue in a queue in a queue, ten thousand deep, must not end
/// in as many nested calls, so past a few levels the rest is left to the outermost one.
struct Letting {
    depth: Cell<usize>,
    left: UnsafeCell<Vec<Items>>,
}

// SAFETY: only touched with the GIL held, in steps that run no Python code.
unsafe impl Sync for Letting {}

static LETTING: Letting = Letting { depth: Cell::new(0), left: UnsafeCell::new(Vec::new()) };
const NESTED_AT_MOST: usize = 20;

impl Letting {
    fn go(&self, items: Items) {
        if items.is_empty() {
            return;
        }
        if self.depth.get() >= NESTED_AT_MOST {
            // SAFETY: see `Sync` above.
            unsafe { (*self.left.get()).push(items) }
            return;
        }
        self.drop(items);
        while self.depth.get() == 0 {
            // SAFETY: see `Sync` above.
            let Some(items) = (unsafe { (*self.left.get()).pop() }) else { return };
            self.drop(items);
        }
    }

    fn drop(&self, items: Items) {
        self.depth.set(self.depth.get() + 1);
        drop(items);
        self.depth.set(self.depth.get() - 1);
    }
}

/// Which item comes out next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// Queue: the oldest.
    Fifo,
    /// LifoQueue: the newest.
    Lifo,
    /// PriorityQueue: the smallest.
    Priority,
}

type Items = VecDeque<Own<Any>>;

/// An emptied ring larger than this gives its memory back.
const KEPT_CAPACITY: usize = 1024;

/// A queue's items.
pub(super) struct Storage {
    ring: UnsafeCell<Items>,
    /// `_queue`, once it is a Python object; the ring is empty then.
    object: Slot,
}

impl Storage {
    pub(super) fn new() -> Storage {
        Storage { ring: UnsafeCell::new(VecDeque::new()), object: Slot::empty() }
    }

    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    fn ring(&self) -> &mut Items {
        // SAFETY: private, and every use below ends before Python code can run: moving references
        // runs none. The GIL keeps other threads out.
        unsafe { &mut *self.ring.get() }
    }

    /// `_init`: begins anew, without items.
    pub(super) fn reset(&self, order: Order) -> Res<()> {
        let object = if order == Order::Priority { Some(value::list()?) } else { None };
        let items = std::mem::take(self.ring());
        self.object.put(object);
        LETTING.go(items);
        Ok(())
    }

    /// `not _queue`.
    #[inline(always)]
    pub(super) fn is_empty(&self) -> Res<bool> {
        match self.object.get() {
            None => Ok(self.ring().is_empty()),
            Some(object) => Ok(!value::is_true(&object)?),
        }
    }

    /// `len(_queue)`.
    #[inline(always)]
    pub(super) fn len(&self) -> Res<usize> {
        match self.object.get() {
            None => Ok(self.ring().len()),
            Some(object) => value::len(&object),
        }
    }

    #[inline(always)]
    pub(super) fn put(&self, order: Order, item: &Any) -> Res<()> {
        if !self.object.is_some() && order != Order::Priority {
            self.ring().push_back(item.own());
            return Ok(());
        }
        self.put_into_object(order, item)
    }

    fn put_into_object(&self, order: Order, item: &Any) -> Res<()> {
        let object = self.object(order)?;
        match order {
            Order::Priority => asyncio().heappush.call(&[&object, item])?,
            Order::Fifo | Order::Lifo => object.call_method(&names::APPEND, &[item])?,
        };
        Ok(())
    }

    /// Takes the next item out; an error when there is none.
    #[inline(always)]
    pub(super) fn take(&self, order: Order) -> Res {
        if !self.object.is_some() {
            let item = match order {
                Order::Fifo => self.ring().pop_front(),
                Order::Lifo => self.ring().pop_back(),
                Order::Priority => None,
            };
            if let Some(item) = item {
                if self.ring().is_empty() && self.ring().capacity() > KEPT_CAPACITY {
                    *self.ring() = VecDeque::new();
                }
                return Ok(item);
            }
        }
        self.take_from_object(order)
    }

    /// An empty ring ends here too: the object knows asyncio's error.
    fn take_from_object(&self, order: Order) -> Res {
        let object = self.object(order)?;
        match order {
            Order::Fifo => object.call_method(&names::POPLEFT, &[]),
            Order::Lifo => object.call_method(&names::POP, &[]),
            Order::Priority => asyncio().heappop.call(&[&object]),
        }
    }

    /// `_queue`: the items' object, which holds them from now on.
    pub(super) fn object(&self, order: Order) -> Res {
        if let Some(object) = self.object.get() {
            return Ok(object);
        }
        let object = match order {
            Order::Fifo => asyncio().deque_class.call(&[])?,
            Order::Lifo | Order::Priority => value::list()?,
        };
        while let Some(item) = self.ring().pop_front() {
            object.call_method(&names::APPEND, &[&item])?;
        }
        self.object.set(object.clone());
        Ok(object)
    }

    /// `_queue = object`.
    pub(super) fn set_object(&self, object: &Any) {
        let items = std::mem::take(self.ring());
        self.object.set(object.own());
        LETTING.go(items);
    }

    /// `list(_queue)` for the repr, or nothing if there are no items.
    pub(super) fn listed(&self) -> Res<Option<Own<Any>>> {
        if self.is_empty()? {
            return Ok(None);
        }
        if let Some(object) = self.object.get() {
            return value::list_from(&object).map(Some);
        }
        let list = value::list()?;
        for item in self.ring().iter() {
            // Appending runs no code of anybody.
            value::append(&list, item)?;
        }
        Ok(Some(list))
    }

    pub(super) fn visit(&self, visitor: &Visitor) -> Result<(), Stop> {
        for item in self.ring().iter() {
            visitor.object(&**item)?;
        }
        visitor.slot(&self.object)
    }

    /// Lets go of all items.
    pub(super) fn clear(&self) {
        LETTING.go(std::mem::take(self.ring()));
        self.object.clear();
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.clear();
    }
}
