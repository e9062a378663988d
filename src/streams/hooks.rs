//! Which of a stream's methods a subclass, or an attribute of the object, has put in our place.
//!
//! asyncio's streams call their own methods by name, so whoever overrides one is asked. As for the
//! queues, the answer is remembered together with the version of the type and the size of the
//! instance's dict: it follows whoever replaces a method later, and costs two comparisons.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::py::class::is_same_method;
use crate::py::names::Name;
use crate::py::{Any, AsObject, Global, Own, Res, Slot, dict_get, error, value};

/// The methods of a type that its other methods call, a bit for each in this order.
pub(super) struct Methods<const N: usize> {
    names: [&'static Name; N],
    /// Our own, as they were made: classes can be patched.
    ours: Global<Vec<Own<Any>>>,
    /// What was found last, and for which version of a type (in the upper half): most objects are
    /// of one type, and making one should not look up all of these.
    last: AtomicU64,
}

impl<const N: usize> Methods<N> {
    pub(super) const fn new(names: [&'static Name; N]) -> Methods<N> {
        assert!(N <= 16, "a bit for each");
        Methods { names, ours: Global::new(), last: AtomicU64::new(0) }
    }

    /// Remembers the methods of the type just made.
    pub(super) fn remember(&self, class: &Any) -> Res<()> {
        let mut ours = Vec::with_capacity(N);
        for name in self.names {
            ours.push(class.attr(name)?);
        }
        self.ours.fill(ours);
        Ok(())
    }

    #[inline(never)]
    fn of_type(&'static self, this: &Any) -> u16 {
        let known = self.last.load(Ordering::Relaxed);
        let version = value::type_version(this);
        if version != 0 && (known >> 32) as u32 == version {
            return known as u16;
        }
        let class = value::type_of(this);
        let mut bits = 0;
        for (index, (name, ours)) in self.names.iter().zip(self.ours.get()).enumerate() {
            let overridden = match class.attr(name) {
                Ok(found) => !found.is(&**ours) && !is_same_method(&found, ours),
                Err(raised) => {
                    // Called, it will say so itself.
                    error::discard(raised);
                    true
                }
            };
            bits |= u16::from(overridden) << index;
        }
        // Looking up gave the type its version, if it had none.
        let version = u64::from(value::type_version(this));
        self.last.store(version << 32 | u64::from(bits), Ordering::Relaxed);
        bits
    }
}

/// What is overridden, as known.
pub(super) struct Hooks {
    bits: Cell<u16>,
    version: Cell<u32>,
    attributes: Cell<usize>,
}

impl Hooks {
    pub(super) const fn new() -> Hooks {
        // No dict is as long, so the first question finds out.
        Hooks { bits: Cell::new(0), version: Cell::new(0), attributes: Cell::new(usize::MAX) }
    }

    /// The bits of what is overridden in `this`, whose instance dict is in `dict`.
    #[inline(always)]
    pub(super) fn find<const N: usize>(
        &self,
        methods: &'static Methods<N>,
        this: &Any,
        dict: &Slot,
    ) -> u16 {
        // SAFETY: its length is read, which runs nothing.
        let attributes = unsafe { dict.peek() }.map_or(0, value::dict_len);
        if self.attributes.get() == attributes && self.version.get() == value::type_version(this) {
            return self.bits.get();
        }
        self.look_up(methods, this, dict)
    }

    #[inline(never)]
    fn look_up<const N: usize>(
        &self,
        methods: &'static Methods<N>,
        this: &Any,
        dict: &Slot,
    ) -> u16 {
        let mut bits = methods.of_type(this);
        let dict = dict.get();
        if let Some(dict) = &dict {
            for (index, name) in methods.names.iter().enumerate() {
                let shadowed = dict_get(dict, name.get()).unwrap_or_else(|raised| {
                    error::discard(raised);
                    None
                });
                bits |= u16::from(shadowed.is_some()) << index;
            }
        }
        self.bits.set(bits);
        self.version.set(value::type_version(this));
        self.attributes.set(dict.as_deref().map_or(0, value::dict_len));
        bits
    }
}
