//! The writing side: what the program writes becomes records, and those go to the transport below.
//!
//! What is written during one callback or step is encrypted when that is over, several small
//! pieces in one record: a header and a body cost one encryption and not two. Whatever could tell
//! the difference encrypts first, as in `net::writing`.

use std::cell::Cell;

use super::session::Put;
use super::transport::{State, TlsState, TlsTransport};
use crate::engine::asyncio::asyncio;
use crate::engine::current;
use crate::py::buffer::{Buffer, bytes, bytes_of, is_bytes_like, is_exact_bytes};
use crate::py::error::{discard, fetch, is_fatal, preserving, restore};
use crate::py::names::Name;
use crate::py::{Any, AsObject, Own, Res, context, names, type_error, value};

/// From asyncio.constants: only then a lost write is worth a warning.
const LOG_THRESHOLD_FOR_CONNLOST_WRITES: u32 = 5;

/// What one record holds.
const RECORD: usize = 16 * 1024;

impl TlsTransport {
    /// `write(data)`.
    #[inline]
    pub(crate) fn write(&self, data: &Any) -> Res<()> {
        if !is_exact_bytes(data) && !is_bytes_like(data) {
            let name = value::type_name(data);
            return Err(type_error(&format!("data: expecting a bytes-like instance, got {name}")));
        }
        if !value::is_true(data)? || self.is_lost_write()? {
            return Ok(());
        }
        self.put_aside(data)?;
        self.written()
    }

    /// `writelines(list_of_data)`.
    pub(crate) fn write_lines(&self, lines: &Any) -> Res<()> {
        if self.is_lost_write()? {
            return Ok(());
        }
        let refused = Cell::new(false);
        let taken = value::each(lines, |line| {
            value::len(line)?;
            self.put_aside(line).inspect_err(|_| refused.set(true))
        });
        if refused.get() && self.state.get() == State::Wrapped {
            // Here asyncio finds out when it encrypts.
            return self.or_fatal(taken);
        }
        taken?;
        self.written()
    }

    pub(super) fn put_aside(&self, data: &Any) -> Res<()> {
        // The owner of anything else may change it as soon as we return.
        let piece = if is_exact_bytes(data) {
            data.own()
        } else {
            bytes(Buffer::readable(data)?.as_slice())?
        };
        if !bytes_of(&piece).is_empty() {
            self.backlog.push(piece);
        }
        Ok(())
    }

    /// Whether nothing can be written any more; it is counted then, and at last warned of.
    fn is_lost_write(&self) -> Res<bool> {
        if matches!(self.state.get(), State::Wrapped | State::Handshake) {
            return Ok(false);
        }
        if self.lost.get() >= LOG_THRESHOLD_FOR_CONNLOST_WRITES {
            let text = value::string("SSL connection is closed")?;
            asyncio().logger.call_method(&names::WARNING, &[&text])?;
        }
        self.lost.set(self.lost.get() + 1);
        Ok(true)
    }

    /// Something was put aside: has it encrypted, now or at the end of what runs.
    fn written(&self) -> Res<()> {
        if self.state.get() != State::Wrapped {
            return Ok(());
        }
        // Once the transport below is full each piece counts, and with a limit of zero each call.
        let counts = self.below_full.get() || self.outgoing.high.get() == 0;
        if self.backlog.size() >= RECORD || counts {
            return self.write_now();
        }
        if self.in_outbox.get() || self.reading.get() {
            return Ok(());
        }
        let running = current::running();
        // SAFETY: a look; nothing runs.
        let ours = unsafe { self.event_loop.peek() };
        match (running, ours) {
            (Some(running), Some(ours)) if std::ptr::eq(running, ours) => {
                self.in_outbox.set(true);
                ours.outbox().put(self.own().into_any(), |object, _| {
                    // SAFETY: what was put is this transport.
                    unsafe { object.assume::<TlsState>() }.send_outbox()
                });
                Ok(())
            }
            _ => self.write_now(),
        }
    }

    fn send_outbox(&self) -> Res<()> {
        self.in_outbox.set(false);
        if self.backlog.is_empty() || self.state.get() != State::Wrapped {
            return Ok(());
        }
        let Some(below) = self.below.get() else { return Ok(()) };
        let Some(context) = below.read_context.get() else { return self.write_now() };
        context::enter(&context)?;
        let outcome = self.write_now();
        context::exit(&context);
        outcome
    }

    fn write_now(&self) -> Res<()> {
        let outcome = self.do_write();
        self.or_fatal(outcome)
    }

    /// Encrypts what was put aside, for those who only need it to be known.
    pub(super) fn settle_writes(&self) -> Res<()> {
        let written = self.in_outbox.get() || !self.backlog.is_empty();
        if !written || self.state.get() != State::Wrapped {
            return Ok(());
        }
        self.write_now()
    }

    /// The same in the middle of a failure, which nothing of it can change.
    pub(super) fn encrypt_written(&self) {
        // Who writes nothing has sent what the handshake left to send.
        let wrote = self.in_outbox.get() || !self.backlog.is_empty();
        if wrote && self.state.get() == State::Wrapped {
            preserving(|| self.do_write().unwrap_or_else(discard));
        }
    }

    /// `_do_write`.
    pub(super) fn do_write(&self) -> Res<()> {
        while let Some((piece, sent)) = self.backlog.front() {
            let data = &bytes_of(&piece)[sent..];
            let put = if data.len() >= RECORD || data.len() == self.backlog.size() {
                self.session.write(data)?
            } else {
                self.write_gathered()?
            };
            match put {
                Put::Taken(count) => self.backlog.advance(count),
                Put::Again => break,
            }
        }
        self.process_outgoing()
    }

    /// Makes one record of several pieces.
    fn write_gathered(&self) -> Res<Put> {
        let mut record = vec![0; self.backlog.size().min(RECORD)];
        let len = self.backlog.gather(&mut record);
        self.session.write(&record[..len])
    }

    /// `_process_outgoing`.
    pub(super) fn process_outgoing(&self) -> Res<()> {
        if !self.below_full.get()
            && let Some(below) = self.below.get()
            && let Some(records) = self.session.take_outgoing()?
        {
            below.write(&records)?;
        }
        self.control_protocol_writing()
    }

    /// The transport below calls: it has room again.
    pub(super) fn below_has_room(&self) -> Res<()> {
        self.below_full.set(false);
        self.process_outgoing()
    }

    /// `get_write_buffer_size()`.
    pub(super) fn write_buffer_size(&self) -> Res<usize> {
        self.settle_writes()?;
        self.unsent()
    }

    fn unsent(&self) -> Res<usize> {
        if self.is_over.get() {
            return Ok(0);
        }
        Ok(self.session.outgoing_pending()? + self.backlog.size())
    }

    /// `_control_app_writing`.
    pub(super) fn control_protocol_writing(&self) -> Res<()> {
        let size = self.unsent()?;
        if size >= self.outgoing.high.get() && !self.protocol_paused.get() {
            self.protocol_paused.set(true);
            self.tell_protocol(&names::PAUSE_WRITING, "protocol.pause_writing() failed")
        } else if size <= self.outgoing.low.get() && self.protocol_paused.get() {
            self.protocol_paused.set(false);
            self.tell_protocol(&names::RESUME_WRITING, "protocol.resume_writing() failed")
        } else {
            Ok(())
        }
    }

    fn tell_protocol(&self, method: &'static Name, message: &str) -> Res<()> {
        let protocol: Own<Any> = self.protocol.get().unwrap_or_else(value::none);
        let Err(raised) = protocol.call_method(method, &[]) else { return Ok(()) };
        let exception = fetch(raised);
        if is_fatal(&exception) {
            return Err(restore(exception));
        }
        self.report(message, &exception, Some(self.as_any()))
    }
}
