//! Bytes for a StreamReader, past its protocol.
//!
//! `data_received` of a StreamReaderProtocol does nothing but feed the reader, and feeding it runs
//! no Python code. So when nobody has put anything else in its place, the transport receives into
//! the reader: no method is called, no context entered, and the current Task need not be withdrawn.
//!
//! When somebody waits for the bytes they are not received at once: the reader is told, wakes its
//! Task, and the Task's step receives them. The step has its place in the queue either way, but what
//! it works on is then in the processor's cache, and not behind the bytes of a thousand other
//! connections (at 1000 connections that is a quarter of the whole cost). The end of the stream and
//! errors are for the loop, which looks at the descriptor again.
//!
//! A small packet comes by way of the shared buffer. Once packets are large they are received into
//! a bytes object of the reader's own, or behind what the reader holds already.

use std::cell::Cell;

use rustix::io::Errno;

use super::pipe_reading::ReadPipeState;
use super::reading::{Source, with_shared_buffer};
use super::transport::{Transport, TransportState};
use crate::py::buffer::NewBytes;
use crate::py::error::{fetch, restore};
use crate::py::{Any, AsObject, Own, Raised, Res, Slot};
use crate::streams::{ProtocolState, StreamReader};

/// What came of it. All but the first is for the way that calls Python.
pub(super) enum Fed {
    /// The reader has what there was, which may be nothing.
    Well,
    /// It has it, and can take no more for now.
    TooMuch(Own<StreamReader>),
    /// The peer has said all that it will say.
    End,
    Failed(Errno),
    /// The reader raised this.
    Refused(Own<Any>),
}

/// A transport that feeds readers by itself.
pub(super) trait Feeder: Source + AsObject {
    /// The reader that was told of bytes.
    fn promised(&self) -> &Cell<*const StreamReader>;

    fn is_connected(&self) -> bool;

    /// Has the loop hear of the end of the stream, or of this error, which a read has met.
    fn look_again(&self, unheard: Option<Errno>);
}

impl Feeder for Transport {
    #[inline(always)]
    fn promised(&self) -> &Cell<*const StreamReader> {
        &self.promised
    }

    #[inline(always)]
    fn is_connected(&self) -> bool {
        TransportState::is_connected(self)
    }

    fn look_again(&self, unheard: Option<Errno>) {
        Transport::look_again(self, unheard);
    }
}

/// The reader that this protocol would hand everything to, if there is one.
#[inline]
pub(super) fn reader_of(protocol: &Slot) -> Option<Own<StreamReader>> {
    protocol.get()?.cast::<ProtocolState>()?.plain_reader()
}

/// At the step of who waited for bytes: receives them. Whether it is to go on.
#[inline]
pub(crate) fn receive_now(reader: &StreamReader) -> Res<bool> {
    let Some(transport) = reader.transport() else { return Ok(true) };
    if let Some(transport) = transport.cast_exact::<TransportState>() {
        return receive_from(transport, reader);
    }
    match transport.cast_exact::<ReadPipeState>() {
        Some(pipe) => receive_from(pipe, reader),
        None => Ok(true),
    }
}

#[inline(always)]
fn receive_from(transport: &impl Feeder, reader: &StreamReader) -> Res<bool> {
    if !std::ptr::eq(transport.promised().replace(std::ptr::null()), reader)
        || !transport.is_connected()
    {
        return Ok(reader.has_news());
    }
    let unheard = match feed(transport, reader.own()) {
        Fed::Well => return Ok(reader.has_news()),
        Fed::TooMuch(reader) => return reader.pause().map(|()| true),
        Fed::Refused(exception) => return Err(restore(exception)),
        Fed::End => None,
        Fed::Failed(errno) => Some(errno),
    };
    transport.look_again(unheard);
    Ok(reader.has_news())
}

/// Receives what there is into the reader.
#[inline]
pub(super) fn feed(this: &impl Source, reader: Own<StreamReader>) -> Fed {
    let received = match this.room() {
        None => with_shared_buffer(|buffer| {
            let len = this.fill(buffer)?;
            Ok((len, if len == 0 { Ok(()) } else { reader.receive_copy(&buffer[..len]) }))
        }),
        Some(room) if reader.is_drained() => receive_bytes(this, &reader, room),
        Some(room) => receive_behind(this, &reader, room),
    };
    match received {
        Ok((0, Ok(()))) => return Fed::End,
        Ok((len, Ok(()))) => this.note_read(len),
        Ok((_, Err(raised))) => return Fed::Refused(fetch(raised)),
        Err(Errno::AGAIN | Errno::INTR) => return Fed::Well,
        Err(errno) => return Fed::Failed(errno),
    }
    match reader.received_quietly() {
        Ok(false) => Fed::Well,
        Ok(true) => Fed::TooMuch(reader),
        Err(raised) => Fed::Refused(fetch(raised)),
    }
}

type Received = Result<(usize, Res<()>), Errno>;

fn receive_bytes(this: &impl Source, reader: &StreamReader, room: usize) -> Received {
    let mut made = match NewBytes::with_capacity(room) {
        Ok(made) => made,
        Err(raised) => return Ok((0, Err(raised))),
    };
    let len = this.fill_new(made.space())?.len();
    if len == 0 {
        return Ok((0, Ok(())));
    }
    // SAFETY: the kernel wrote this much.
    let data = unsafe { made.finish(len) };
    Ok((len, data.and_then(|data| reader.receive_bytes(&data))))
}

fn receive_behind(this: &impl Source, reader: &StreamReader, room: usize) -> Received {
    // SAFETY: the kernel wrote as much as it says, and receiving calls nothing.
    let received = unsafe {
        reader.receive_into(room, |space| this.fill_new(space).map(|filled| filled.len()))?
    };
    match received {
        Ok(len) => Ok((len, Ok(()))),
        Err(Raised) => Ok((0, Err(Raised))),
    }
}
