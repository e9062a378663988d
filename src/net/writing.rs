//! The writing side of a stream transport.
//!
//! `write` puts bytes aside and the transport into the loop's outbox; when the callback or step
//! that writes is over, everything goes out in one system call. What the kernel does not take
//! waits until the descriptor is writable, with asyncio's flow control. Whatever could tell the
//! difference sends first: the size of the buffer, the upper limit, `write_eof`, `close`, `abort`,
//! the raw socket, the end of the loop's run. When no loop runs in this thread there is no callback
//! whose end to wait for, and a write is sent at once.

use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown, send, shutdown};

use super::flow::{Limits, Writing};
use super::pending::borrowed;
use super::transport::{Life, Transport, TransportState};
use crate::engine::asyncio::asyncio;
use crate::engine::current;
use crate::engine::event_loop::EventLoop;
use crate::py::buffer::{Buffer, bytes, bytes_of, is_bytes_like, is_exact_bytes};
use crate::py::error::{fetch, os_error};
use crate::py::{Any, AsObject, Own, Res, context, names, runtime_error, type_error, value};
use reactor::Interest;

/// From asyncio.constants: only then a lost write is worth a warning.
const LOG_THRESHOLD_FOR_CONNLOST_WRITES: u32 = 5;

/// From this size on, to send at once costs less than to copy.
const WORTH_SENDING: usize = 16 * 1024;

const LOST: &str = "Fatal write error on socket transport";

impl Transport {
    /// `write(data)`.
    #[inline]
    pub(crate) fn write(&self, data: &Any) -> Res<()> {
        if is_exact_bytes(data) {
            self.check_writable("Cannot call write() after write_eof()", "write")?;
            if bytes_of(data).is_empty() || self.is_lost_write()? {
                return Ok(());
            }
            return self.push(data.own());
        }
        if !is_bytes_like(data) {
            let wanted = if cfg!(Py_3_14) {
                "a bytes, bytearray, or memoryview object"
            } else {
                "a bytes-like object"
            };
            let name = value::type_name(data);
            return Err(type_error(&format!("data argument must be {wanted}, not '{name}'")));
        }
        self.check_writable("Cannot call write() after write_eof()", "write")?;
        if !value::is_true(data)? || self.is_lost_write()? {
            return Ok(());
        }
        let view = Buffer::readable(data)?;
        if view.as_slice().len() >= WORTH_SENDING {
            return self.write_large(&view);
        }
        // Its owner may change it as soon as we return.
        let copy = bytes(view.as_slice())?;
        drop(view);
        self.push(copy)
    }

    /// A large buffer that its owner may change as soon as we return: what the kernel takes now
    /// need not be copied.
    fn write_large(&self, view: &Buffer) -> Res<()> {
        self.flush()?;
        if self.life.get() >= Life::Ending {
            return Ok(());
        }
        let data = view.as_slice();
        let mut taken = 0;
        if self.pending.is_empty() {
            let sent =
                self.descriptor().and_then(|fd| send(borrowed(fd), data, SendFlags::NOSIGNAL));
            match sent {
                Ok(len) => taken = len,
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return self.conclude(Err(errno.into())),
            }
        }
        if taken == data.len() {
            return Ok(());
        }
        self.pending.push(bytes(&data[taken..])?);
        if self.is_blocked() { self.maybe_pause_protocol() } else { self.conclude(Ok(())) }
    }

    /// `writelines(list_of_data)`.
    pub(crate) fn write_lines(&self, lines: &Any) -> Res<()> {
        if !cfg!(Py_3_12) {
            let joined = value::join_bytes(lines)?;
            return self.write(&joined);
        }
        self.check_writable("Cannot call writelines() after write_eof()", "writelines")?;
        if !value::is_true(lines)? {
            return Ok(());
        }
        if self.life.get() >= Life::Ending && self.is_lost_write()? {
            return Ok(());
        }
        let mut pieces = Vec::new();
        value::each(lines, |line| {
            if is_exact_bytes(line) {
                pieces.push(line.own());
            } else {
                pieces.push(bytes(Buffer::readable(line)?.as_slice())?);
            }
            Ok(())
        })?;
        for piece in pieces {
            if !bytes_of(&piece).is_empty() {
                self.push(piece)?;
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn check_writable(&self, after_eof: &str, method: &str) -> Res<()> {
        if !self.eof.get() && !self.empty_waiter.is_some() {
            return Ok(());
        }
        self.not_writable(after_eof, method)
    }

    #[cold]
    fn not_writable(&self, after_eof: &str, method: &str) -> Res<()> {
        if self.eof.get() {
            return Err(runtime_error(after_eof));
        }
        Err(runtime_error(&format!("unable to {method}; sendfile is in progress")))
    }

    /// Whether the connection is lost; the write is counted then, and at last warned of.
    #[inline(always)]
    fn is_lost_write(&self) -> Res<bool> {
        if self.life.get() < Life::Ending {
            return Ok(false);
        }
        self.count_lost_write().map(|()| true)
    }

    #[cold]
    fn count_lost_write(&self) -> Res<()> {
        if self.lost.get() >= LOG_THRESHOLD_FOR_CONNLOST_WRITES {
            let text = value::string("socket.send() raised exception.")?;
            asyncio().logger.call_method(&names::WARNING, &[&text])?;
        }
        self.lost.set(self.lost.get().saturating_add(1));
        Ok(())
    }

    /// Whether the kernel takes no more for now.
    #[inline(always)]
    fn is_blocked(&self) -> bool {
        self.interest().write && !self.has_room.get()
    }

    #[inline]
    fn push(&self, data: Own<Any>) -> Res<()> {
        self.pending.push(data);
        if self.is_blocked() {
            return self.maybe_pause_protocol();
        }
        if self.in_outbox.get() {
            if !self.limits.is_above_high(self.pending.size()) {
                return Ok(());
            }
            return self.flush();
        }
        let running = current::running();
        // SAFETY: a look; nothing runs.
        let ours = unsafe { self.event_loop.peek() };
        match (running, ours) {
            (Some(running), Some(ours)) if std::ptr::eq(running, ours) => {
                if self.limits.is_above_high(self.pending.size()) {
                    return self.flush();
                }
                self.in_outbox.set(true);
                ours.outbox().put(self.own().into_any(), |object, _| {
                    // SAFETY: what was put is this transport.
                    unsafe { object.assume::<TransportState>() }.send_outbox()
                });
                Ok(())
            }
            _ => self.flush(),
        }
    }

    fn send_outbox(&self) -> Res<()> {
        self.in_outbox.set(false);
        if self.pending.is_empty() || self.is_blocked() {
            return Ok(());
        }
        let sent = self.send_pending();
        if sent.is_ok() && self.pending.is_empty() {
            return Ok(());
        }
        // Whoever wrote has left its context, so what comes of it is heard in the transport's own.
        let Some(context) = self.read_context.get() else { return self.conclude(sent) };
        context::enter(&context)?;
        let concluded = self.conclude(sent);
        context::exit(&context);
        concluded
    }

    /// Sends what was put aside, now. What is left waits for room.
    pub(super) fn flush(&self) -> Res<()> {
        if self.pending.is_empty() || self.is_blocked() {
            return Ok(());
        }
        let sent = self.send_pending();
        self.conclude(sent)
    }

    #[inline]
    fn send_pending(&self) -> std::io::Result<()> {
        self.pending.send(self.descriptor()?)
    }

    fn conclude(&self, sent: std::io::Result<()>) -> Res<()> {
        if let Err(failure) = sent {
            self.pending.clear();
            let exception = fetch(os_error(&failure));
            return self.fatal_error(&exception, LOST);
        }
        if self.pending.is_empty() {
            return Ok(());
        }
        self.has_room.set(false);
        self.want(Interest { write: true, ..self.interest() })?;
        // The protocol hears of room in the context of whoever wrote what did not fit.
        self.write_context.set(context::copy_current()?);
        self.maybe_pause_protocol()
    }

    /// `flush` for those who only need the outcome to be known.
    pub(super) fn settle_writes(&self) -> Res<()> {
        if self.in_outbox.get() { self.flush() } else { Ok(()) }
    }

    /// The descriptor is writable, or in error.
    #[cold]
    pub(super) fn writable(&self, event_loop: &EventLoop) -> Res<()> {
        if self.is_lost() {
            return Ok(());
        }
        current::withdraw(event_loop)?;
        let context = match self.write_context.get() {
            Some(context) => context,
            None => context::copy_current()?,
        };
        context::enter(&context)?;
        let outcome = self.send_waiting();
        context::exit(&context);
        outcome
    }

    fn send_waiting(&self) -> Res<()> {
        if let Err(failure) = self.send_pending() {
            self.pending.clear();
            self.stop_writing()?;
            let exception = fetch(os_error(&failure));
            self.fatal_error(&exception, LOST)?;
            return match self.empty_waiter.get() {
                Some(waiter) => {
                    waiter.call_method(&names::SET_EXCEPTION, &[&exception]).map(|_| ())
                }
                None => Ok(()),
            };
        }
        // May write more, which need not wait for the next event if the kernel took everything.
        self.has_room.set(self.pending.is_empty());
        let resumed = self.maybe_resume_protocol().and_then(|()| self.flush());
        self.has_room.set(false);
        resumed?;
        if !self.pending.is_empty() {
            return Ok(());
        }
        self.stop_writing()?;
        if let Some(waiter) = self.empty_waiter.get() {
            waiter.call_method(&names::SET_RESULT, &[value::none_ref()])?;
        }
        match self.life.get() {
            Life::Closing => {
                self.life.set(Life::Ending);
                self.lost.set(1);
                self.connection_lost(value::none_ref())
            }
            Life::Open if self.eof.get() => self.shut_writing(),
            _ => Ok(()),
        }
    }

    pub(super) fn stop_writing(&self) -> Res<()> {
        self.write_context.clear();
        self.want(Interest { write: false, ..self.interest() })
    }

    /// `write_eof()`.
    pub(super) fn write_eof(&self) -> Res<()> {
        if self.life.get() != Life::Open || self.eof.get() {
            return Ok(());
        }
        self.settle_writes()?;
        if self.life.get() != Life::Open {
            return Ok(());
        }
        self.eof.set(true);
        if self.pending.is_empty() { self.shut_writing() } else { Ok(()) }
    }

    fn shut_writing(&self) -> Res<()> {
        shutdown(borrowed(self.fd.get()), Shutdown::Write).map_err(|errno| os_error(&errno.into()))
    }

    /// `get_write_buffer_size()`.
    pub(super) fn write_buffer_size(&self) -> Res<i64> {
        self.settle_writes()?;
        Ok(self.pending.size() as i64)
    }
}

impl Writing for Transport {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn size(&self) -> usize {
        self.pending.size()
    }

    fn told(&self) -> Option<Own<Any>> {
        self.protocol.get()
    }

    fn report_failure(&self, message: &str, exception: &Any) -> Res<()> {
        self.report(message, exception)
    }
}
