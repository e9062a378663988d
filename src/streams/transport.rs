//! What streams ask of a transport: the one place that knows how.
//!
//! A transport can be anybody's, so it is called by its methods' names. A native one is called
//! directly, unless somebody has given it attributes of its own.

use crate::engine::endpoint::Endpoint;
use crate::net::pipe_reading::{ReadPipe, ReadPipeState};
use crate::net::pipe_writing::{WritePipe, WritePipeState};
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

#[inline(always)]
fn read_pipe(transport: &Any) -> Option<&ReadPipe> {
    transport.cast_exact::<ReadPipeState>().filter(|transport| transport.is_plain())
}

#[inline(always)]
fn write_pipe(transport: &Any) -> Option<&WritePipe> {
    transport.cast_exact::<WritePipeState>().filter(|transport| transport.is_plain())
}

/// `transport.write(data)`.
#[inline(always)]
pub(super) fn write_to(transport: &Any, data: &Any) -> Res<()> {
    if let Some(transport) = native(transport) {
        return transport.write(data);
    }
    if let Some(transport) = native_tls(transport) {
        return transport.write(data);
    }
    if let Some(pipe) = write_pipe(transport) {
        return pipe.write(data);
    }
    transport.call_method(&names::WRITE, &[data]).map(drop)
}

/// `transport.writelines(data)`.
#[inline(always)]
pub(super) fn write_lines_to(transport: &Any, data: &Any) -> Res<()> {
    if let Some(transport) = native(transport) {
        return transport.write_lines(data);
    }
    if let Some(transport) = native_tls(transport) {
        return transport.write_lines(data);
    }
    transport.call_method(&names::WRITELINES, &[data]).map(drop)
}

/// `transport.is_closing()`.
#[inline(always)]
pub(super) fn is_closing(transport: &Any) -> Res<bool> {
    if let Some(transport) = native(transport) {
        return Ok(TransportState::is_closing(transport));
    }
    if let Some(transport) = native_tls(transport) {
        return Ok(transport.is_closing_now());
    }
    if let Some(pipe) = write_pipe(transport) {
        return Ok(WritePipeState::is_closing(pipe));
    }
    value::is_true(&*transport.call_method(&names::IS_CLOSING, &[])?)
}

/// `transport.pause_reading()`.
pub(super) fn pause_reading(transport: &Any) -> Res<()> {
    if let Some(transport) = native(transport) {
        return transport.pause_reading();
    }
    if let Some(transport) = native_tls(transport) {
        transport.pause_reading();
        return Ok(());
    }
    if let Some(pipe) = read_pipe(transport) {
        return pipe.pause_reading();
    }
    transport.call_method(&names::PAUSE_READING, &[]).map(drop)
}

/// `transport.resume_reading()`.
pub(super) fn resume_reading(transport: &Any) -> Res<()> {
    if let Some(transport) = native(transport) {
        return transport.resume_reading();
    }
    if let Some(transport) = native_tls(transport) {
        return transport.resume_reading();
    }
    if let Some(pipe) = read_pipe(transport) {
        return pipe.resume_reading();
    }
    transport.call_method(&names::RESUME_READING, &[]).map(drop)
}
