//! Flow control of writing: how much may wait to be sent before a protocol is told to stop.

use std::cell::Cell;

use crate::py::error::{fetch, is_fatal, restore};
use crate::py::names::Name;
use crate::py::{Any, Args, AsObject, Builtin, Own, Res, Signature, names, raise, value};

/// asyncio's default for the upper limit.
const HIGH: usize = 64 * 1024;

/// A transport, as flow control sees it.
pub(super) trait Writing {
    fn limits(&self) -> &Limits;
    /// How much waits to be sent, as the limits count it.
    fn size(&self) -> usize;
    fn told(&self) -> Option<Own<Any>>;
    /// Hands what the protocol raised to the loop's exception handler.
    fn report_failure(&self, message: &str, exception: &Any) -> Res<()>;

    /// asyncio's `_maybe_pause_protocol`.
    fn maybe_pause_protocol(&self) -> Res<()> {
        let limits = self.limits();
        if !limits.is_above_high(self.size()) || limits.paused.replace(true) {
            return Ok(());
        }
        self.tell_protocol(&names::PAUSE_WRITING, "protocol.pause_writing() failed")
    }

    /// asyncio's `_maybe_resume_protocol`.
    fn maybe_resume_protocol(&self) -> Res<()> {
        let limits = self.limits();
        if !limits.paused.get() || !limits.is_at_low(self.size()) {
            return Ok(());
        }
        limits.paused.set(false);
        self.tell_protocol(&names::RESUME_WRITING, "protocol.resume_writing() failed")
    }

    fn tell_protocol(&self, method: &'static Name, message: &str) -> Res<()> {
        let protocol = self.told().unwrap_or_else(value::none);
        let Err(raised) = protocol.call_method(method, &[]) else { return Ok(()) };
        let exception = fetch(raised);
        if is_fatal(&exception) {
            return Err(restore(exception));
        }
        self.report_failure(message, &exception)
    }
}

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

/// An int, or a float such as infinity.
pub(crate) fn limit_from(given: &Any) -> Res<i64> {
    if value::is_int(given) { value::as_int(given) } else { Ok(value::as_float(given)? as i64) }
}
