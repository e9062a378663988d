//! The end of a stream transport, in asyncio's order.
//!
//! `close` lets what was written go out first, `abort` and errors do not; then `connection_lost` is
//! called in a turn of its own, and after it the descriptor is closed, so that no protocol ever
//! sees its number used by another.

use std::os::fd::IntoRawFd;

use super::transport::{Life, Transport};
use crate::engine::handle::Handle;
use crate::py::error::{is_kind, preserving, warn_resource};
use crate::py::{
    Any, AsObject, BoundMethod, Builtin, Own, Res, bound, names, runtime_error, value,
};
use crate::tls::TlsState;

static CONNECTION_LOST: BoundMethod = BoundMethod::new(c"_call_connection_lost");

impl Transport {
    /// Whether `connection_lost` is scheduled or over.
    #[inline(always)]
    pub(super) fn is_lost(&self) -> bool {
        self.life.get() >= Life::Ending
    }

    /// `close()`.
    pub(crate) fn close(&self) -> Res<()> {
        if self.life.get() != Life::Open {
            return Ok(());
        }
        self.settle_writes()?;
        if self.life.get() != Life::Open {
            return Ok(());
        }
        self.life.set(Life::Closing);
        self.stop_reading()?;
        if !self.pending.is_empty() {
            return Ok(());
        }
        self.life.set(Life::Ending);
        self.lost.set(1);
        self.stop_writing()?;
        self.schedule_end(value::none_ref())
    }

    /// `abort()`, and what errors end in.
    pub(crate) fn force_close(&self, exception: &Any) -> Res<()> {
        if self.is_lost() {
            return Ok(());
        }
        self.settle_writes()?;
        if self.is_lost() {
            return Ok(());
        }
        self.pending.clear();
        self.life.set(Life::Ending);
        self.lost.set(1);
        self.stop_writing()?;
        self.stop_reading()?;
        self.schedule_end(exception)
    }

    fn schedule_end(&self, exception: &Any) -> Res<()> {
        let Some(event_loop) = self.event_loop.get() else { return Ok(()) };
        event_loop.check_can_schedule()?;
        let end = bound(&CONNECTION_LOST, self, Transport::connection_lost)?;
        let handle = Handle::make(&event_loop, &end, &[exception], None)?;
        event_loop.ready().push_handle(handle);
        Ok(())
    }

    /// Tells the protocol, then closes the descriptor and lets go of everything.
    pub(super) fn connection_lost(&self, exception: &Any) -> Res<()> {
        if self.life.replace(Life::Closed) == Life::Closed {
            return Ok(());
        }
        let told = match self.protocol.get().filter(|_| self.protocol_connected.get()) {
            Some(protocol) => protocol.call_method(&names::CONNECTION_LOST, &[exception]).map(drop),
            None => Ok(()),
        };
        let mut cleaned = Ok(());
        preserving(|| cleaned = self.take_down());
        told.and(cleaned)
    }

    fn take_down(&self) -> Res<()> {
        self.remember_own_address()?;
        let event_loop = self.event_loop.take();
        if let Some(event_loop) = &event_loop {
            if let Some(io) = event_loop.living_io() {
                if self.owns_descriptor() {
                    io.detach_closing(self.fd.get(), self);
                } else {
                    io.detach(self.fd.get(), self);
                }
            }
            super::listener::descriptor_freed(event_loop);
        }
        let closed = self.close_descriptor();
        self.protocol.clear();
        self.read_context.clear();
        self.write_context.clear();
        let detached = match self.server.take() {
            Some(server) => super::socket::detach_from_server(&server, self.as_any()),
            None => Ok(()),
        };
        let mut told = Ok(());
        if let Some(waiter) = self.empty_waiter.get() {
            let text = value::string("Connection is closed by peer")?;
            let exception = Builtin::ConnectionError.get().call(&[&text])?;
            told = waiter.call_method(&names::SET_EXCEPTION, &[&exception]).map(drop);
        }
        closed.and(detached).and(told)
    }

    fn close_descriptor(&self) -> Res<()> {
        // SAFETY: no borrow is open; the descriptor is taken out whole.
        if let Some(fd) = unsafe { (*self.owned_fd.get()).take() } {
            drop(fd);
            return Ok(());
        }
        match self.sock.take() {
            Some(sock) => sock.call_method(&names::CLOSE, &[]).map(drop),
            None => Ok(()),
        }
    }

    /// The descriptor as a Python socket's, which closes it from now on.
    pub(super) fn python_socket(&self) -> Res<Option<Own<Any>>> {
        self.settle_writes()?;
        // SAFETY: no borrow is open; the descriptor is taken out whole.
        if let Some(fd) = unsafe { (*self.owned_fd.get()).take() } {
            self.sock.set(super::socket::adopt(fd.into_raw_fd())?);
        }
        Ok(self.sock.get())
    }

    /// `__del__` of a transport that nobody closed.
    pub(super) fn give_up(&self) -> Res<()> {
        if !self.is_connected() {
            return Ok(());
        }
        let secured = self.protocol.get();
        let secured = secured.as_deref().and_then(|protocol| protocol.cast_exact::<TlsState>());
        let warned = if secured.is_some_and(|secured| secured.is_unheard_of()) {
            Ok(())
        } else {
            let text = format!("unclosed transport {}", value::repr_text(self.as_any()));
            warn_resource(self.as_any(), &text)
        };
        let mut cleaned = Ok(());
        preserving(|| {
            if let Some(event_loop) = self.event_loop.get()
                && let Some(io) = event_loop.living_io()
            {
                io.detach(self.fd.get(), self);
            }
            cleaned = self.close_descriptor();
            if cfg!(Py_3_13)
                && let Some(server) = self.server.take()
            {
                let detached = super::socket::detach_from_server(&server, self.as_any());
                cleaned = detached;
            }
        });
        warned.and(cleaned)
    }

    /// asyncio's `_fatal_error`.
    pub(super) fn fatal_error(&self, exception: &Any, message: &str) -> Res<()> {
        if is_kind(exception, Builtin::OSError.get()) {
            super::report::log_error(&self.event_loop, self.as_any(), message, exception)?;
        } else {
            self.report(message, exception)?;
        }
        self.force_close(exception)
    }

    /// Hands an exception to the loop's handler.
    pub(super) fn report(&self, message: &str, exception: &Any) -> Res<()> {
        super::report::report(&self.event_loop, self.as_any(), &self.protocol, message, exception)
    }

    /// Logs `format % self` in debug mode.
    #[inline]
    pub(super) fn log_debug(&self, format: &str) -> Res<()> {
        super::report::log_debug(&self.event_loop, self.as_any(), format)
    }

    /// `_make_empty_waiter()`: a Future that is done when everything is sent.
    pub(super) fn make_empty_waiter(&self) -> Res {
        if self.empty_waiter.is_some() {
            return Err(runtime_error("Empty waiter is already set"));
        }
        self.settle_writes()?;
        let event_loop = self.event_loop.get();
        let event_loop = event_loop.ok_or_else(|| runtime_error("the transport is closed"))?;
        let waiter = event_loop.as_any().call_method(&names::CREATE_FUTURE, &[])?;
        self.empty_waiter.set(waiter.clone());
        if self.pending.is_empty() {
            waiter.call_method(&names::SET_RESULT, &[value::none_ref()])?;
        }
        Ok(waiter)
    }
}
