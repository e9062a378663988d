//! The end of a datagram transport, in asyncio's order.
//!
//! `close` lets what waits go out first, `abort` and errors do not; then `connection_lost` is called,
//! in a turn of its own unless the last datagram was sent in this one, and after it the socket is
//! closed.

use super::datagram::{DatagramTransport, Life, schedule};
use crate::py::error::{preserving, warn_resource};
use crate::py::{Any, AsObject, BoundMethod, Res, bound, names, value};

static CONNECTION_LOST: BoundMethod = BoundMethod::new(c"_call_connection_lost");

impl DatagramTransport {
    /// `close()`.
    pub(super) fn close(&self) -> Res<()> {
        if self.life.get() != Life::Open {
            return Ok(());
        }
        if !self.waiting().is_empty() {
            self.life.set(Life::Closing);
            return self.stop_receiving();
        }
        self.life.set(Life::Ending);
        self.lost.set(self.lost.get() + 1);
        self.stop_receiving()?;
        self.stop_sending()?;
        self.schedule_end(value::none_ref())
    }

    /// `abort()`, and what fatal errors end in.
    pub(super) fn force_close(&self, exception: &Any) -> Res<()> {
        match self.life.get() {
            Life::Ending | Life::Closed => return Ok(()),
            Life::Open | Life::Closing => self.life.set(Life::Ending),
        }
        let dropped = std::mem::take(self.waiting());
        if !dropped.is_empty() {
            self.stop_sending()?;
        }
        drop(dropped);
        self.stop_receiving()?;
        self.lost.set(self.lost.get() + 1);
        self.schedule_end(exception)
    }

    fn schedule_end(&self, exception: &Any) -> Res<()> {
        let Some(event_loop) = self.event_loop.get() else { return Ok(()) };
        let end = bound(&CONNECTION_LOST, self, DatagramTransport::connection_lost)?;
        schedule(&event_loop, &end, &[exception])
    }

    /// Tells the protocol, then closes the socket and lets go of everything.
    pub(super) fn connection_lost(&self, exception: &Any) -> Res<()> {
        if self.life.replace(Life::Closed) == Life::Closed {
            return Ok(());
        }
        let told = match self.protocol.get() {
            Some(protocol) => protocol.call_method(&names::CONNECTION_LOST, &[exception]).map(drop),
            None => Ok(()),
        };
        let mut closed = Ok(());
        preserving(|| closed = self.take_down());
        told.and(closed)
    }

    fn take_down(&self) -> Res<()> {
        self.leave_loop();
        let closed = self.close_socket();
        self.protocol.clear();
        self.event_loop.clear();
        self.read_context.clear();
        self.write_context.clear();
        closed
    }

    fn leave_loop(&self) {
        if let Some(event_loop) = self.event_loop.get()
            && let Some(io) = event_loop.living_io()
        {
            io.detach(self.fd.get(), self);
        }
    }

    fn close_socket(&self) -> Res<()> {
        match self.sock.take() {
            Some(sock) => sock.call_method(&names::CLOSE, &[]).map(drop),
            None => Ok(()),
        }
    }

    /// `__del__` of a transport that nobody closed.
    pub(super) fn give_up(&self) -> Res<()> {
        if !self.sock.is_some() {
            return Ok(());
        }
        let text = format!("unclosed transport {}", value::repr_text(self.as_any()));
        let warned = warn_resource(self.as_any(), &text);
        let mut closed = Ok(());
        preserving(|| {
            self.leave_loop();
            closed = self.close_socket();
        });
        warned.and(closed)
    }

    /// asyncio's `_fatal_error`, for what is not an error of the operating system: those are the
    /// protocol's to hear of.
    pub(super) fn fatal_error(&self, exception: &Any, message: &str) -> Res<()> {
        self.report_error(message, exception)?;
        self.force_close(exception)
    }

    /// Hands an exception to the loop's handler.
    pub(super) fn report_error(&self, message: &str, exception: &Any) -> Res<()> {
        super::report::report(&self.event_loop, self.as_any(), &self.protocol, message, exception)
    }
}
