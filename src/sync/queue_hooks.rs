//! Which of a queue's methods a subclass, or an attribute of the object, has put in our place.
//!
//! asyncio's queues are made to be subclassed: `_init`, `_get` and `_put` say what holds the items,
//! and whatever else `put` and `get` call is overridden too. A queue that overrides nothing calls
//! nothing. The answer is remembered together with the version of the type and the size of the
//! instance's dict; so it follows whoever replaces a method later, and costs two comparisons.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use super::queue_storage::Order;
use crate::py::class::is_same_method;
use crate::py::names::{self, Name};
use crate::py::{Any, Global, Own, Res, dict_get, error, value};

/// One bit for each method that put, get and their kin look up.
pub(super) const INIT: u16 = 1;
pub(super) const GET: u16 = 1 << 1;
pub(super) const PUT: u16 = 1 << 2;
pub(super) const WAKEUP_NEXT: u16 = 1 << 3;
pub(super) const FORMAT: u16 = 1 << 4;
pub(super) const QSIZE: u16 = 1 << 5;
pub(super) const EMPTY: u16 = 1 << 6;
pub(super) const FULL: u16 = 1 << 7;
pub(super) const PUT_NOWAIT: u16 = 1 << 8;
pub(super) const GET_NOWAIT: u16 = 1 << 9;

const COUNT: usize = 10;
/// In the order of the bits.
static NAMES: [&Name; COUNT] = [
    &names::QUEUE_INIT,
    &names::QUEUE_GET,
    &names::QUEUE_PUT,
    &names::WAKEUP_NEXT,
    &names::FORMAT,
    &names::QSIZE,
    &names::EMPTY,
    &names::FULL,
    &names::PUT_NOWAIT,
    &names::GET_NOWAIT,
];

type Methods = [Own<Any>; COUNT];

/// Our own methods, for each order; as they were made, for classes can be patched.
static OURS: Global<[Methods; 3]> = Global::new();

/// For each order what was found last, and for which version of a type (in the upper half): most
/// queues are of one type, and making one should not look up ten methods.
static LAST: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

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

    /// The bits of what is overridden in `this`, whose instance dict is `dict`.
    #[inline(always)]
    pub(super) fn find(&self, this: &Any, order: Order, dict: Option<&Any>) -> u16 {
        let attributes = dict.map_or(0, value::dict_len);
        if self.attributes.get() == attributes && self.version.get() == value::type_version(this) {
            return self.bits.get();
        }
        self.look_up(this, order, dict)
    }

    #[inline(never)]
    fn look_up(&self, this: &Any, order: Order, dict: Option<&Any>) -> u16 {
        let mut bits = of_type(this, order);
        if let Some(dict) = dict {
            for (index, name) in NAMES.iter().enumerate() {
                let shadowed = dict_get(dict, name.get()).unwrap_or_else(|raised| {
                    error::discard(raised);
                    None
                });
                bits |= u16::from(shadowed.is_some()) << index;
            }
        }
        self.bits.set(bits);
        self.version.set(value::type_version(this));
        self.attributes.set(dict.map_or(0, value::dict_len));
        bits
    }
}

fn of_type(this: &Any, order: Order) -> u16 {
    let last = &LAST[order as usize];
    let known = last.load(Ordering::Relaxed);
    let version = value::type_version(this);
    if version != 0 && (known >> 32) as u32 == version {
        return known as u16;
    }
    let class = value::type_of(this);
    let mut bits = 0;
    for (index, (name, ours)) in NAMES.iter().zip(&OURS.get()[order as usize]).enumerate() {
        let overridden = match class.attr(name) {
            Ok(found) => !is_same_method(&found, ours),
            Err(raised) => {
                // Called, it will say so itself.
                error::discard(raised);
                true
            }
        };
        bits |= u16::from(overridden) << index;
    }
    // Looking up gave the type its version, if it had none.
    last.store(u64::from(value::type_version(this)) << 32 | u64::from(bits), Ordering::Relaxed);
    bits
}

/// Remembers the methods of the types just made, in the order of `Order`.
pub(super) fn remember(classes: [&Any; 3]) -> Res<()> {
    let methods = |class: &Any| -> Res<Methods> {
        let mut found = Vec::with_capacity(COUNT);
        for name in NAMES {
            found.push(class.attr(name)?);
        }
        found.try_into().map_err(|_| crate::py::runtime_error("a queue's methods are missing"))
    };
    let [fifo, lifo, priority] = classes;
    OURS.fill([methods(fifo)?, methods(lifo)?, methods(priority)?]);
    Ok(())
}
