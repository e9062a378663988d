//! Deadlines in order, and any of them withdrawn in O(log n).
//!
//! Most timers of a busy loop are timeouts that never come due: they are
//! pushed, and removed again a moment later. Python's `heapq` cannot remove, so
//! asyncio leaves cancelled timers in its heap and sweeps them up when there
//! are too many; here every entry knows its position, and leaves at once. A
//! timer wheel would make both O(1), but it rounds deadlines, and asyncio runs
//! timers that are due in one turn in the exact order of theirs.
//!
//! The heap has four children to a node: half the levels of a binary one, hence
//! half the moves, each of which writes to an entry somewhere else in memory
//! (to pop and push among 1000: 40 against 56 ns). Nodes move through a hole instead
//! of being swapped. The hole is an `Option` that was taken from, so there is
//! no unsafe code in it; raw moves as in std's `BinaryHeap` were no faster among
//! ten or a thousand timers (38 ns), and within the noise among 100 000.
//! `examples/timers.rs` measures what stands here.

mod key;

use key::Key;

/// The position of an entry that is in no heap.
pub const NOWHERE: u32 = u32::MAX;

/// An entry of [`Timers`], which keeps its own position: a `Cell<u32>` does.
pub trait Slot {
    /// Remember where the heap has put this entry.
    fn set_position(&self, position: u32);
    /// The position last set; [`NOWHERE`] before any was.
    fn position(&self) -> u32;
}

const ARITY: usize = 4;

/// Below this many places memory is not worth giving back.
const KEPT_CAPACITY: usize = 1024;

struct Node<T> {
    key: Key,
    /// `None` only while the node is the hole of a sift. Free of charge if `T`
    /// is a pointer that is never null.
    entry: Option<T>,
}

/// Entries ordered by deadline; first in, first out among equal deadlines.
///
/// A deadline that is not a number counts as infinite, which is never due.
///
/// The memory of a burst is given back as the burst is worked off: whenever
/// three quarters of it stand empty, half of it goes. The next halving is then
/// a quarter of the capacity away, so each removal bears a constant share.
pub struct Timers<T: Slot> {
    nodes: Vec<Node<T>>,
    next_seq: u64,
}

impl<T: Slot> Timers<T> {
    /// No timers, no memory.
    pub const fn new() -> Self {
        Timers { nodes: Vec::new(), next_seq: 0 }
    }

    /// Add `entry`, which is due once the clock has passed `when`.
    #[inline]
    pub fn push(&mut self, when: f64, entry: T) {
        let key = Key::new(when, self.next_seq);
        self.next_seq += 1;
        let position = self.nodes.len();
        debug_assert!(position < NOWHERE as usize, "positions are 32 bits wide");
        self.nodes.push(Node { key, entry: None });
        self.rise(position, key, Some(entry));
    }

    /// Take out the entry at this position; `None` if there is no such position.
    #[inline]
    pub fn remove(&mut self, entry_position: u32) -> Option<T> {
        let position = entry_position as usize;
        if position >= self.nodes.len() {
            return None;
        }
        let last = self.nodes.pop()?;
        let removed = if position == self.nodes.len() {
            last.entry
        } else {
            let removed = self.nodes[position].entry.take();
            if position > 0 && last.key.before(self.nodes[parent(position)].key) {
                self.rise(position, last.key, last.entry);
            } else {
                self.sink(position, last.key, last.entry);
            }
            removed
        };
        self.give_back();
        removed.inspect(|entry| entry.set_position(NOWHERE))
    }

    /// The earliest deadline.
    #[inline]
    pub fn next_deadline(&self) -> Option<f64> {
        self.nodes.first().map(|node| node.key.when())
    }

    /// Take out the earliest entry if its deadline lies before `now`.
    #[inline]
    pub fn pop_due(&mut self, now: f64) -> Option<T> {
        if self.next_deadline()? < now { self.remove(0) } else { None }
    }

    /// How many entries there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// All deadlines and entries, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (f64, &T)> {
        self.nodes.iter().filter_map(|node| Some((node.key.when(), node.entry.as_ref()?)))
    }

    /// Take out all entries, in no particular order, and give back the memory.
    ///
    /// The heap is empty at once, whether the iterator is used up or dropped.
    pub fn drain(&mut self) -> impl Iterator<Item = T> {
        let nodes = std::mem::take(&mut self.nodes);
        for entry in nodes.iter().filter_map(|node| node.entry.as_ref()) {
            entry.set_position(NOWHERE);
        }
        nodes.into_iter().filter_map(|node| node.entry)
    }

    /// Fill the hole at `position` with what belongs there or above it.
    #[inline]
    fn rise(&mut self, mut position: usize, key: Key, entry: Option<T>) {
        while position > 0 {
            let above = parent(position);
            let node = &mut self.nodes[above];
            if !key.before(node.key) {
                break;
            }
            let (key, entry) = (node.key, node.entry.take());
            self.fill(position, key, entry);
            position = above;
        }
        self.fill(position, key, entry);
    }

    /// Fill the hole at `position` with what belongs there or below it.
    fn sink(&mut self, mut position: usize, key: Key, entry: Option<T>) {
        while let Some(below) = self.first_child(position) {
            let node = &mut self.nodes[below];
            if !node.key.before(key) {
                break;
            }
            let (key, entry) = (node.key, node.entry.take());
            self.fill(position, key, entry);
            position = below;
        }
        self.fill(position, key, entry);
    }

    /// Of the children of `position`, the one that is due first.
    #[inline]
    fn first_child(&self, position: usize) -> Option<usize> {
        let start = position * ARITY + 1;
        let children = self.nodes.get(start..)?;
        let first = if let Some([a, b, c, d, ..]) = children.first_chunk::<ARITY>() {
            // Two pairs and a final: the pairs do not wait for each other.
            let (left, left_key) = if b.key.before(a.key) { (1, b.key) } else { (0, a.key) };
            let (right, right_key) = if d.key.before(c.key) { (3, d.key) } else { (2, c.key) };
            if right_key.before(left_key) { right } else { left }
        } else {
            let mut first = 0;
            for (index, child) in children.iter().enumerate().skip(1) {
                if child.key.before(children[first].key) {
                    first = index;
                }
            }
            if children.is_empty() {
                return None;
            }
            first
        };
        Some(start + first)
    }

    #[inline]
    fn fill(&mut self, position: usize, key: Key, entry: Option<T>) {
        if let Some(entry) = &entry {
            entry.set_position(position as u32);
        }
        let node = &mut self.nodes[position];
        node.key = key;
        let hole = std::mem::replace(&mut node.entry, entry);
        debug_assert!(hole.is_none(), "an entry was in the way");
        // It has nothing to drop, which the compiler cannot see: a quarter of
        // the time of push and remove went into asking.
        std::mem::forget(hole);
    }

    #[inline]
    fn give_back(&mut self) {
        let capacity = self.nodes.capacity();
        if capacity > KEPT_CAPACITY && self.nodes.len() < capacity / 4 {
            self.shrink();
        }
    }

    #[cold]
    fn shrink(&mut self) {
        self.nodes.shrink_to(self.nodes.capacity() / 2);
    }
}

#[inline]
fn parent(position: usize) -> usize {
    (position - 1) / ARITY
}

impl<T: Slot> Default for Timers<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Slot> Drop for Timers<T> {
    /// Whoever shares an entry may go on asking it whether it is in a heap.
    fn drop(&mut self) {
        self.drain().for_each(drop);
    }
}

#[cfg(test)]
mod tests;
