//! What streams ask of a transport: the one place that knows how.
//!
//! A transport can be anybody's, so it is called by its methods' names.

use crate::py::{Any, Res, names, value};

/// `transport.write(data)`.
#[inline(always)]
pub(super) fn write_to(transport: &Any, data: &Any) -> Res<()> {
    transport.call_method(&names::WRITE, &[data]).map(drop)
}

/// `transport.is_closing()`.
#[inline(always)]
pub(super) fn is_closing(transport: &Any) -> Res<bool> {
    value::is_true(&*transport.call_method(&names::IS_CLOSING, &[])?)
}

/// `transport.pause_reading()`.
pub(super) fn pause_reading(transport: &Any) -> Res<()> {
    transport.call_method(&names::PAUSE_READING, &[]).map(drop)
}

/// `transport.resume_reading()`.
pub(super) fn resume_reading(transport: &Any) -> Res<()> {
    transport.call_method(&names::RESUME_READING, &[]).map(drop)
}
