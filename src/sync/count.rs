//! A semaphore's value: an integer, or whatever number a program gave.
//!
//! Nearly every value is a small int. But asyncio counts with anything that can be counted with,
//! and `Semaphore(math.inf)`, for no limit at all, is in use. So a value that is not a small int is
//! kept as it is, and what was added to it since is counted beside it.

use std::cell::Cell;
use std::ffi::CStr;

use crate::py::error::discard;
use crate::py::{Any, AsObject, Res, Slot, Stop, Visitor, import, value};

/// A number that can be counted up and down.
pub(super) struct Count {
    /// What `added` counts from; empty for 0.
    base: Slot,
    added: Cell<i64>,
}

impl Count {
    pub(super) const fn new(value: i64) -> Count {
        Count { base: Slot::empty(), added: Cell::new(value) }
    }

    /// Becomes `given`, or `default` if nothing is given.
    pub(super) fn set_or(&self, given: Option<&Any>, default: i64) -> Res<()> {
        let small = match given {
            None => Some(default),
            Some(given) if value::is_int(given) => value::as_int(given).map_err(discard).ok(),
            Some(_) => None,
        };
        self.added.set(small.unwrap_or(0));
        self.base.put(given.filter(|_| small.is_none()).map(AsObject::own));
        Ok(())
    }

    #[inline(always)]
    pub(super) fn change(&self, by: i64) {
        self.added.set(self.added.get().wrapping_add(by));
    }

    /// The number as an object.
    pub(super) fn get(&self) -> Res {
        let added = value::int(self.added.get())?;
        match self.base.get() {
            None => Ok(added),
            Some(base) if self.added.get() == 0 => Ok(base),
            Some(base) => import(c"operator", c"add")?.call(&[&base, &added]),
        }
    }

    #[inline(always)]
    pub(super) fn is_zero(&self) -> Res<bool> {
        if self.base.is_some() {
            return self.get()?.equals(&*value::int(0)?);
        }
        Ok(self.added.get() == 0)
    }

    #[inline(always)]
    pub(super) fn is_positive(&self) -> Res<bool> {
        if self.base.is_some() {
            return self.compare(c"gt", &*value::int(0)?);
        }
        Ok(self.added.get() > 0)
    }

    pub(super) fn is_negative(&self) -> Res<bool> {
        if self.base.is_some() {
            return self.compare(c"lt", &*value::int(0)?);
        }
        Ok(self.added.get() < 0)
    }

    #[inline(always)]
    pub(super) fn is_at_least(&self, other: &Count) -> Res<bool> {
        if self.base.is_some() || other.base.is_some() {
            return self.compare(c"ge", &*other.get()?);
        }
        Ok(self.added.get() >= other.added.get())
    }

    /// `operator(self, other)`, for any kinds of numbers.
    #[cold]
    fn compare(&self, operator: &'static CStr, other: &Any) -> Res<bool> {
        value::is_true(&*import(c"operator", operator)?.call(&[&*self.get()?, other])?)
    }

    pub(super) fn visit(&self, visitor: &Visitor) -> Result<(), Stop> {
        visitor.slot(&self.base)
    }

    pub(super) fn clear(&self) {
        self.base.clear();
    }
}
