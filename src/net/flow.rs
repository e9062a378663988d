//! Flow control of writing: how much may wait to be sent before a protocol is told to stop.

use std::cell::Cell;

use crate::py::{Any, Args, Builtin, Own, Res, Signature, names, raise, value};

/// asyncio's default for the upper limit.
const HIGH: usize = 64 * 1024;

/// The limits, and whether the protocol is stopped now.
pub(super) struct Limits {
    high: Cell<usize>,
    low: Cell<usize>,
    pub(super) paused: Cell<bool>,
}

static LIMITS: Signature<2> = Signature {
    method: "set_write_buffer_limits",
    names: [&names::HIGH, &names::LOW],
    positional: 2,
    required: 0,
};

impl Limits {
    pub(super) const fn new() -> Limits {
        Limits { high: Cell::new(HIGH), low: Cell::new(HIGH / 4), paused: Cell::new(false) }
    }

    #[inline(always)]
    pub(super) fn is_above_high(&self, size: usize) -> bool {
        size > self.high.get()
    }

    #[inline(always)]
    pub(super) fn is_at_low(&self, size: usize) -> bool {
        size <= self.low.get()
    }

    /// The arguments of `set_write_buffer_limits(high=None, low=None)`.
    pub(super) fn set(&self, args: &Args<'_>) -> Res<()> {
        let [high, low] = args.bind(&LIMITS)?;
        let number = |given: Option<&Any>| {
            given.filter(|given| !given.is_none()).map(limit_from).transpose()
        };
        let (high, low) = (number(high)?, number(low)?);
        let high = high.unwrap_or_else(|| low.map_or(HIGH as i64, |low| low.saturating_mul(4)));
        let low = low.unwrap_or(high.div_euclid(4));
        if !(high >= low && low >= 0) {
            let text = format!("high ({high}) must be >= low ({low}) must be >= 0");
            return Err(raise(Builtin::ValueError.get(), &text));
        }
        self.high.set(high as usize);
        self.low.set(low as usize);
        Ok(())
    }

    /// `(low, high)`.
    pub(super) fn as_tuple(&self) -> Res {
        value::tuple(&[&*self.low()?, &*self.high()?])
    }

    pub(super) fn low(&self) -> Res<Own<Any>> {
        value::int(self.low.get() as i64)
    }

    pub(super) fn high(&self) -> Res<Own<Any>> {
        value::int(self.high.get() as i64)
    }
}

use crate::py::AsObject as _;

/// An int, or a float such as infinity.
fn limit_from(given: &Any) -> Res<i64> {
    if value::is_int(given) { value::as_int(given) } else { Ok(value::as_float(given)? as i64) }
}
