//! The reading side: from what the transport below received to what the protocol above hears.
//!
//! OpenSSL takes its records straight out of the buffer that was received into, and what it opens
//! lands in the bytes object that the protocol gets. All records that came at once are delivered
//! at once, as asyncio does it.

use std::cell::Cell;

use rustix::io::Errno;

use super::session::Got;
use super::transport::{State, TlsState, TlsTransport};
use crate::engine::current;
use crate::engine::event_loop::EventLoop;
use crate::net::protocol::Receiver;
use crate::net::reading::ended;
use crate::net::transport::Transport;
use crate::py::buffer::{Buffer, NewBytes, joined, recycle};
use crate::py::error::{fetch, os_error, restore};
use crate::py::{Any, AsObject, BoundMethod, Own, Res, bound, context, names, value};
use crate::streams::{ProtocolState, StreamReader};

/// asyncio's `max_size`: the most that is asked of a session at once.
const MAX_SIZE: usize = 256 * 1024;

/// One receive takes no more than this.
const SCRATCH: usize = 128 * 1024;

/// What a record of TLS 1.3 is longer than what it holds. Others are a few bytes longer still.
const OVERHEAD: usize = 22;
/// Up to here the records are small, too, as a rule.
const SMALL: usize = 4096;
const LARGEST_RECORD: usize = 16 * 1024 + OVERHEAD;

thread_local! {
    /// What is received into. Whoever uses it has it: what is opened may run Python code, which
    /// may come back here.
    static BUFFER: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// Why no more came.
enum Stop {
    Again,
    /// The peer has said that it will send no more.
    End,
}

/// The transport below has something to receive, or the end has come, or an error.
pub(crate) fn ready(below: &Transport, event_loop: &EventLoop) -> Res<()> {
    let Some(protocol) = below.protocol.get() else { return Ok(()) };
    let Some(this) = protocol.cast_exact::<TlsState>() else { return Ok(()) };
    current::withdraw(event_loop)?;
    let Some(context) = below.read_context.get() else { return Ok(()) };
    context::enter(&context)?;
    let outcome = match below.unheard.take() {
        Some(errno) => {
            below.failed(os_error(&errno.into()), "Fatal read error on socket transport")
        }
        None => receive(below, this),
    };
    context::exit(&context);
    outcome
}

fn receive(below: &Transport, this: &TlsTransport) -> Res<()> {
    let mut buffer = BUFFER.take().unwrap_or_else(|| vec![0; SCRATCH].into_boxed_slice());
    let received = below.receive(&mut buffer[..]).map(|(len, _)| len);
    let outcome = match received {
        Ok(0) => ended(below),
        Ok(len) => this.received(&buffer[..len]).or_else(|raised| {
            below.failed(raised, "Fatal error: protocol.buffer_updated() call failed.")
        }),
        Err(Errno::AGAIN | Errno::INTR) => Ok(()),
        Err(errno) => below.failed(os_error(&errno.into()), "Fatal read error on socket transport"),
    };
    BUFFER.set(Some(buffer));
    outcome
}

static RESUME: BoundMethod = BoundMethod::new(c"resume");
static DO_READ: BoundMethod = BoundMethod::new(c"_do_read");

impl TlsTransport {
    /// `buffer_updated`.
    pub(super) fn received(&self, data: &[u8]) -> Res<()> {
        match self.state.get() {
            State::Wrapped => self.do_read(data),
            State::Handshake => self.do_handshake(data),
            State::Flushing => self.do_flush(data),
            State::Shutdown => self.do_shutdown(data),
            State::Unwrapped => Ok(()),
        }
    }

    /// `_do_read`, with what was just received.
    pub(super) fn do_read(&self, received: &[u8]) -> Res<()> {
        if !matches!(self.state.get(), State::Wrapped | State::Flushing) {
            return self.session.feed(received, || ());
        }
        let outcome = self.read_and_answer(received);
        self.or_fatal(outcome)
    }

    fn read_and_answer(&self, received: &[u8]) -> Res<()> {
        if self.paused.get() {
            self.session.feed(received, || ())?;
        } else {
            let outer = self.reading.replace(true);
            let outcome = match self.receiver.get() {
                Receiver::Buffered => {
                    self.session.feed(received, || ()).and_then(|()| self.read_into_protocol())
                }
                _ => self.read_bytes(received),
            };
            self.reading.set(outer);
            outcome?;
            if self.backlog.is_empty() { self.process_outgoing() } else { self.do_write() }?;
        }
        self.control_reading_below()
    }

    /// `_do_read__copied`.
    fn read_bytes(&self, received: &[u8]) -> Res<()> {
        // As with asyncio, what came right before a record that is wrong is not heard.
        let (data, stop) = self.open(received)?;
        if let Some(data) = data {
            self.deliver(data)?;
        }
        if let Stop::End = stop {
            // The peer has closed its side, and TLS has no half-closed connections.
            self.call_eof_received()?;
            self.start_shutdown()?;
        }
        Ok(())
    }

    fn deliver(&self, data: Own<Any>) -> Res<()> {
        let Some(protocol) = self.protocol.get() else { return Ok(()) };
        if let Some(reader) = self.plain_reader(&protocol) {
            return feed(&reader, data);
        }
        protocol.call_method(&names::DATA_RECEIVED, &[&data])?;
        recycle(data);
        Ok(())
    }

    /// The reader that may be fed past its protocol.
    fn plain_reader(&self, protocol: &Any) -> Option<Own<StreamReader>> {
        if self.receiver.get() != Receiver::Stream || self.debug() {
            return None;
        }
        protocol.cast::<ProtocolState>()?.plain_reader()
    }

    /// Opens all the records that are there.
    fn open(&self, received: &[u8]) -> Res<(Option<Own<Any>>, Stop)> {
        self.session
            .feed(received, || {
                let room = self.expected()?;
                let mut made = NewBytes::with_capacity(room)?;
                let mut len = 0;
                let mut more = Vec::new();
                let stop = loop {
                    let space = made.space();
                    let got = if len < room {
                        self.session.read(&mut space[len..])
                    } else {
                        read_behind(&self.session, &mut more)
                    };
                    match got {
                        Ok(Got::Data(count)) if len < room => len += count,
                        Ok(Got::Data(_)) => {}
                        Ok(Got::Again) => break Stop::Again,
                        Ok(Got::End) => break Stop::End,
                        Err(raised) => return Err(raised),
                    }
                };
                // SAFETY: the session wrote as much as it said.
                finish(made, len, &more).map(|data| (data, stop))
            })
            .and_then(|opened| opened)
    }

    /// How much is likely to come out of what is there.
    fn expected(&self) -> Res<usize> {
        let mut pending = self.session.incoming_pending()?;
        if pending > SMALL && self.session.may_hold_part() {
            pending += LARGEST_RECORD;
        }
        let records = pending / LARGEST_RECORD + 1;
        Ok(pending.saturating_sub(records * OVERHEAD).clamp(64, MAX_SIZE))
    }

    /// `_do_read__buffered`.
    fn read_into_protocol(&self) -> Res<()> {
        let Some(protocol) = self.protocol.get() else { return Ok(()) };
        let asked = value::int(self.session.incoming_pending()? as i64)?;
        let given = protocol.call_method(&names::GET_BUFFER, &[&asked])?;
        let mut buffer = Buffer::writable(&given)?;
        let wanted = buffer.as_mut_slice().len();
        let mut filled = 0;
        // asyncio takes a read of nothing for the end. Asking again would go on for ever.
        let mut ended = wanted == 0;
        let failure = loop {
            if ended {
                break None;
            }
            match self.session.read_into(&mut buffer.as_mut_slice()[filled..]) {
                Ok(Got::Data(count)) => filled += count,
                Ok(Got::Again) => break None,
                Ok(Got::End) => {
                    ended = true;
                    continue;
                }
                Err(raised) => break Some(fetch(raised)),
            }
            if filled == wanted {
                // There may be more, for which the protocol has another buffer.
                let again =
                    bound(&DO_READ, self, |this: &TlsTransport, _: &Any| this.do_read(&[]))?;
                self.call_soon(&again, &[value::none_ref()])?;
                break None;
            }
        };
        drop(buffer);
        if let Some(exception) = failure {
            return Err(restore(exception));
        }
        if filled > 0 {
            protocol.call_method(&names::BUFFER_UPDATED, &[&*value::int(filled as i64)?])?;
        }
        if ended {
            self.call_eof_received()?;
            self.start_shutdown()?;
        }
        Ok(())
    }

    /// `pause_reading()`.
    pub(crate) fn pause_reading(&self) {
        self.paused.set(true);
    }

    /// `resume_reading()`.
    pub(crate) fn resume_reading(&self) -> Res<()> {
        if !self.paused.replace(false) {
            return Ok(());
        }
        let resume = bound(&RESUME, self, |this: &TlsTransport, _: &Any| this.resume())?;
        self.call_soon(&resume, &[value::none_ref()])
    }

    fn resume(&self) -> Res<()> {
        match self.state.get() {
            State::Wrapped => self.do_read(&[]),
            State::Flushing => self.do_flush(&[]),
            State::Shutdown => self.do_shutdown(&[]),
            State::Unwrapped | State::Handshake => Ok(()),
        }
    }

    /// How many received bytes wait to be opened.
    pub(super) fn unread(&self) -> Res<usize> {
        if self.is_over.get() { Ok(0) } else { self.session.incoming_pending() }
    }

    /// `_control_ssl_reading`: what the protocol does not take is left with the kernel.
    pub(super) fn control_reading_below(&self) -> Res<()> {
        let Some(below) = self.below.get() else { return Ok(()) };
        let size = self.unread()?;
        if size >= self.incoming.high.get() && !self.below_paused.get() {
            self.below_paused.set(true);
            below.pause_reading()
        } else if size <= self.incoming.low.get() && self.below_paused.get() {
            self.below_paused.set(false);
            below.resume_reading()
        } else {
            Ok(())
        }
    }
}

/// Opens one more record than was expected.
fn read_behind(session: &super::session::Session, more: &mut Vec<u8>) -> Res<Got> {
    more.reserve(16 * 1024);
    let before = more.len();
    let got = session.read(more.spare_capacity_mut())?;
    if let Got::Data(count) = got {
        // SAFETY: the session wrote as much as it says, behind what there was.
        unsafe { more.set_len(before + count) }
    }
    Ok(got)
}

/// The bytes that were read: `len` in `made`, and those in `more`. None if there are none.
fn finish(made: NewBytes, len: usize, more: &[u8]) -> Res<Option<Own<Any>>> {
    if len == 0 {
        return Ok(None);
    }
    // SAFETY: the session wrote this much.
    let first = unsafe { made.finish(len)? };
    if more.is_empty() { Ok(Some(first)) } else { joined(&first, more).map(Some) }
}

/// Feeds a reader, as its protocol would.
fn feed(reader: &StreamReader, data: Own<Any>) -> Res<()> {
    reader.receive_bytes(&data)?;
    if reader.received_quietly()? {
        reader.pause()?;
    }
    Ok(())
}
