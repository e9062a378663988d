//! What streams ask of a transport: the one place that knows how.
//!
//! A transport can be anybody's, so it is called by its methods' names. A native one is called
//! directly, unless somebody has given it attributes of its own.

use crate::engine::endpoint::Endpoint;
use crate::net::transport::{Transport, TransportState};
use crate::py::{Any, AsObject, Res, names, value};
use crate::tls::{TlsState, TlsTransport};

#[inline(always)]
fn native(transport: &Any) -> Option<&Transport> {
    transport.cast_exact::<TransportState>().filter(|transport| transport.is_plain())
}

#[inline(always)]
fn native_tls(transport: &Any) -> Option<&TlsTransport> {
    transport.cast_exact::<TlsState>().filter(|transport| transport.is_plain())
}

/// `transport.write(data)`.
#[inline(always)]
pub(super) fn write_to(transport: &Any, data: &Any) -> Res<()> {
    match native(transport) {
        Some(transport) => transport.write(data),
        None => match native_tls(transport) {
            Some(transport) => transport.write(data),
            None => transport.call_method(&names::WRITE, &[data]).map(drop),
        },
    }
}

/// `transport.writelines(data)`.
#[inline(always)]
pub(super) fn write_lines_to(transport: &Any, data: &Any) -> Res<()> {
    match native(transport) {
        Some(transport) => transport.write_lines(data),
        None => match native_tls(transport) {
            Some(transport) => transport.write_lines(data),
            None => transport.call_method(&names::WRITELINES, &[data]).map(drop),
        },
    }
}

/// `transport.is_closing()`.
#[inline(always)]
pub(super) fn is_closing(transport: &Any) -> Res<bool> {
    match native(transport) {
        Some(transport) => Ok(TransportState::is_closing(transport)),
        None => match native_tls(transport) {
            Some(transport) => Ok(transport.is_closing_now()),
            None => value::is_true(&*transport.call_method(&names::IS_CLOSING, &[])?),
        },
    }
}

/// `transport.pause_reading()`.
pub(super) fn pause_reading(transport: &Any) -> Res<()> {
    match native(transport) {
        Some(transport) => transport.pause_reading(),
        None => match native_tls(transport) {
            Some(transport) => {
                transport.pause_reading();
                Ok(())
            }
            None => transport.call_method(&names::PAUSE_READING, &[]).map(drop),
        },
    }
}

/// `transport.resume_reading()`.
pub(super) fn resume_reading(transport: &Any) -> Res<()> {
    match native(transport) {
        Some(transport) => transport.resume_reading(),
        None => match native_tls(transport) {
            Some(transport) => transport.resume_reading(),
            None => transport.call_method(&names::RESUME_READING, &[]).map(drop),
        },
    }
}
