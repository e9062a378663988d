//! The end of a TLS connection, step by step as asyncio's: what was written goes out, both sides
//! say that they are done, the transport below is closed; or it is aborted.

use super::session::Step;
use super::stock::stock;
use super::transport::{State, TlsTransport, Told, cancel};
use crate::engine::asyncio::asyncio;
use crate::engine::endpoint::Endpoint;
use crate::net::transport::{Transport, TransportState};
use crate::py::error::{fetch, is_fatal, is_kind, restore};
use crate::py::{Any, AsObject, BoundMethod, Builtin, Res, bound, names, value};

static TIMED_OUT: BoundMethod = BoundMethod::new(c"_check_shutdown_timeout");
static CLOSE: BoundMethod = BoundMethod::new(c"close");

impl TlsTransport {
    /// `close()`.
    pub(super) fn close(&self) -> Res<()> {
        if !self.closed.replace(true) {
            return self.start_shutdown();
        }
        // Here asyncio's transport lets go of its protocol, and so of the context.
        self.forsaken.set(true);
        self.forget_if_forsaken();
        Ok(())
    }

    /// Lets go of what nobody will ask for any more.
    fn forget_if_forsaken(&self) {
        if self.forsaken.get() && self.is_over.get() {
            self.context.clear();
            self.extra.clear();
            self.session.clear();
        }
    }

    /// `_start_shutdown`.
    pub(super) fn start_shutdown(&self) -> Res<()> {
        match self.state.get() {
            State::Flushing | State::Shutdown | State::Unwrapped => return Ok(()),
            State::Handshake => {
                self.closed.set(true);
                return self.abort(value::none_ref());
            }
            State::Wrapped => {}
        }
        self.closed.set(true);
        self.settle_writes()?;
        if self.state.get() != State::Wrapped {
            return Ok(());
        }
        self.set_state(State::Flushing)?;
        self.start_shutdown_timer()?;
        self.do_flush(&[])
    }

    fn start_shutdown_timer(&self) -> Res<()> {
        let timed_out =
            bound(&TIMED_OUT, self, |this: &TlsTransport, _: &Any| this.check_shutdown_timeout())?;
        self.shutdown_timer.set(self.call_later(&self.shutdown_timeout, &timed_out)?);
        Ok(())
    }

    fn check_shutdown_timeout(&self) -> Res<()> {
        if !matches!(self.state.get(), State::Flushing | State::Shutdown) {
            return Ok(());
        }
        let Some(below) = self.below.get() else { return Ok(()) };
        let text = value::string("SSL shutdown timed out")?;
        below.force_close(&*Builtin::TimeoutError.get().call(&[&text])?)
    }

    /// `_do_flush`.
    pub(super) fn do_flush(&self, received: &[u8]) -> Res<()> {
        self.do_read(received)?;
        self.set_state(State::Shutdown)?;
        self.do_shutdown(&[])
    }

    /// `_do_shutdown`.
    pub(super) fn do_shutdown(&self, received: &[u8]) -> Res<()> {
        let unwrap = || {
            if self.eof_received.get() { Ok(Step::Done) } else { self.session.unwrap() }
        };
        let step = self.session.feed(received, unwrap).and_then(|step| step);
        match step {
            Ok(Step::Again) => self.process_outgoing(),
            Ok(Step::Done) => {
                self.process_outgoing()?;
                self.call_eof_received()?;
                self.shutdown_done()
            }
            Err(raised) => {
                let exception = fetch(raised);
                if !is_kind(&exception, &stock().ssl_error) {
                    return Err(restore(exception));
                }
                cancel(&self.shutdown_timer)?;
                self.fatal_error(&exception, "Fatal error on transport")
            }
        }
    }

    /// `_on_shutdown_complete(None)`.
    fn shutdown_done(&self) -> Res<()> {
        if stock().keeps_timer {
            // The transport below sends what it has before it closes, which a peer that does not
            // read can delay for ever.
            if !self.shutdown_timer.is_some() {
                self.start_shutdown_timer()?;
            }
        } else {
            cancel(&self.shutdown_timer)?;
        }
        let Some(below) = self.below.get() else { return Ok(()) };
        let close = bound(&CLOSE, &*below, |below: &Transport, _: &Any| below.close())?;
        self.call_soon(&close, &[value::none_ref()])
    }

    /// `abort()`, and `_force_close(exception)`.
    pub(super) fn force_close(&self, exception: &Any) -> Res<()> {
        self.closed.set(true);
        self.settle_writes()?;
        self.abort(exception)
    }

    /// `_abort`.
    fn abort(&self, exception: &Any) -> Res<()> {
        self.set_state(State::Unwrapped)?;
        match self.below.get() {
            Some(below) if stock().tells_why => below.force_close(exception),
            Some(below) => below.force_close(value::none_ref()),
            None => Ok(()),
        }
    }

    /// The transport below calls: the peer will send no more. Whether it is to stay open.
    pub(super) fn below_ended(&self) -> Res<bool> {
        self.eof_received.set(true);
        let outcome = self.on_end();
        let Err(raised) = outcome else { return outcome };
        let exception = fetch(raised);
        if is_kind(&exception, &stock().exception)
            && let Some(below) = self.below.get()
        {
            below.close()?;
        }
        Err(restore(exception))
    }

    fn on_end(&self) -> Res<bool> {
        if self.debug() {
            self.log("received EOF")?;
        }
        match self.state.get() {
            State::Handshake => self.handshake_broken()?,
            State::Wrapped => {
                self.settle_writes()?;
                self.set_state(State::Flushing)?;
                if self.paused.get() {
                    return Ok(true);
                }
                self.do_flush(&[])?;
            }
            State::Flushing => {
                self.do_write()?;
                self.set_state(State::Shutdown)?;
                self.do_shutdown(&[])?;
            }
            State::Shutdown => self.do_shutdown(&[])?,
            State::Unwrapped => {}
        }
        Ok(false)
    }

    /// `_call_eof_received`.
    pub(super) fn call_eof_received(&self) -> Res<()> {
        if self.told.get() != Told::Made {
            return Ok(());
        }
        self.told.set(Told::Eof);
        let Some(protocol) = self.protocol.get() else { return Ok(()) };
        let answer = protocol.call_method(&names::EOF_RECEIVED, &[]);
        match answer.and_then(|answer| value::is_true(&answer)) {
            Ok(false) => Ok(()),
            Ok(true) => {
                let text = value::string(
                    "returning true from eof_received() has no effect when using ssl",
                )?;
                asyncio().logger.call_method(&names::WARNING, &[&text]).map(drop)
            }
            Err(raised) => {
                let exception = fetch(raised);
                if is_fatal(&exception) {
                    return Err(restore(exception));
                }
                self.fatal_error(&exception, "Error calling eof_received()")
            }
        }
    }

    /// The transport below calls: the connection is gone.
    pub(super) fn connection_lost(&self, exception: &Any) -> Res<()> {
        self.backlog.clear();
        self.session.take_outgoing()?;
        self.lost.set(self.lost.get() + 1);
        self.closed.set(true);
        let protocol = self.protocol.take();
        if self.state.get() != State::Handshake && matches!(self.told.get(), Told::Made | Told::Eof)
        {
            self.told.set(Told::Lost);
            if let Some(protocol) = protocol {
                self.call_soon(&*protocol.attr(&names::CONNECTION_LOST)?, &[exception])?;
            }
        }
        self.set_state(State::Unwrapped)?;
        self.below.clear();
        self.wake_waiter(Some(exception).filter(|exception| !exception.is_none()))?;
        self.is_over.set(true);
        self.forget_if_forsaken();
        cancel(&self.shutdown_timer)?;
        cancel(&self.handshake_timer)
    }

    /// `is_closing()`.
    pub(crate) fn is_closing_now(&self) -> bool {
        self.closed.get()
            || stock().asks_below
                && self.below.get().is_some_and(|below| TransportState::is_closing(&below))
    }
}
