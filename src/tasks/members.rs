//! The Tasks of a TaskGroup that are not done, in the order in which they were created.
//!
//! A Task of ours remembers its place in the list, so to enter and to leave are a store each; places
//! of those that left are swept when they are most of the list. Tasks of any other make are found
//! by their address.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::task::TaskState;
use crate::py::{Any, AsObject, Own, Stop, Visitor};

/// Addresses are spread well enough by one multiplication.
#[derive(Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_usize(usize::from(byte) ^ self.0 as usize);
        }
    }
    fn write_usize(&mut self, address: usize) {
        self.0 = (address as u64 >> 4).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

/// The members of one group.
#[derive(Default)]
pub(super) struct Members {
    places: Vec<Option<Own<Any>>>,
    count: usize,
    /// The places of Tasks that are not ours.
    others: HashMap<usize, usize, BuildHasherDefault<AddressHasher>>,
}

/// Below this many places nothing is swept.
const FEW: usize = 64;

impl Members {
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    #[inline]
    pub(super) fn insert(&mut self, task: Own<Any>) {
        self.remember(&task, self.places.len());
        self.places.push(Some(task));
        self.count += 1;
    }

    #[inline(always)]
    fn remember(&mut self, task: &Any, place: usize) {
        match task.cast_exact::<TaskState>() {
            Some(native) => native.group_place.set(place as u32),
            None => {
                self.others.insert(task.as_ptr() as usize, place);
            }
        }
    }

    /// Takes a Task out; the reference goes to the caller, who drops it when no borrow is left.
    #[inline]
    pub(super) fn remove(&mut self, task: &Any) -> Option<Own<Any>> {
        let place = match task.cast_exact::<TaskState>() {
            Some(native) => native.group_place.get() as usize,
            None => self.others.remove(&(task.as_ptr() as usize))?,
        };
        // Another group, or none, may have set the place.
        let member = self.places.get_mut(place)?.take_if(|member| member.is(task))?;
        self.count -= 1;
        if self.count == 0 {
            self.places.clear();
        } else if self.places.len() > FEW && self.count < self.places.len() / 4 {
            self.sweep();
        }
        Some(member)
    }

    #[cold]
    fn sweep(&mut self) {
        let members: Vec<Own<Any>> = self.places.drain(..).flatten().collect();
        for (place, member) in members.into_iter().enumerate() {
            self.remember(&member, place);
            self.places.push(Some(member));
        }
    }

    /// Copies of all.
    pub(super) fn all(&self) -> Vec<Own<Any>> {
        self.places.iter().flatten().cloned().collect()
    }

    pub(super) fn visit(&self, visitor: &Visitor) -> Result<(), Stop> {
        self.places.iter().flatten().try_for_each(|task| visitor.object(&**task))
    }
}
