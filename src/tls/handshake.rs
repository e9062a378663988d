//! The handshake, step by step as asyncio's.

use super::session::Step;
use super::stock::stock;
use super::transport::{State, TlsTransport, Told, cancel};
use crate::engine::asyncio::asyncio;
use crate::py::error::{fetch, is_kind, restore};
use crate::py::{
    Any, AsObject, BoundMethod, Builtin, Own, Raised, Res, bound, dict_set, names, value,
};

static TIMED_OUT: BoundMethod = BoundMethod::new(c"_check_handshake_timeout");

impl TlsTransport {
    /// `_start_handshake`.
    pub(super) fn start_handshake(&self) -> Res<()> {
        let began = if self.debug() {
            self.log("starts SSL handshake")?;
            Some(reactor::monotonic())
        } else {
            None
        };
        self.handshake_began.set(began);
        self.set_state(State::Handshake)?;
        let timed_out =
            bound(&TIMED_OUT, self, |this: &TlsTransport, _: &Any| this.check_handshake_timeout())?;
        self.handshake_timer.set(self.call_later(&self.handshake_timeout, &timed_out)?);
        self.do_handshake(&[])
    }

    fn check_handshake_timeout(&self) -> Res<()> {
        if self.state.get() != State::Handshake {
            return Ok(());
        }
        let timeout = match self.handshake_timeout.get() {
            Some(timeout) => value::str_text(&timeout)?,
            None => return Ok(()),
        };
        let text = value::string(&format!(
            "SSL handshake is taking longer than {timeout} seconds: aborting the connection"
        ))?;
        let exception = stock().connection_aborted_error.call(&[&text])?;
        self.fatal_error(&exception, "Fatal error on transport")
    }

    /// `_do_handshake`, with what was just received.
    pub(super) fn do_handshake(&self, received: &[u8]) -> Res<()> {
        let step =
            self.session.feed(received, || self.session.do_handshake()).and_then(|step| step);
        match step {
            Ok(Step::Again) => self.process_outgoing(),
            Ok(Step::Done) => self.handshake_done(),
            Err(raised) => {
                let exception = fetch(raised);
                if !is_kind(&exception, &stock().ssl_error) {
                    return Err(restore(exception));
                }
                self.handshake_failed(exception)
            }
        }
    }

    /// `_on_handshake_complete(None)`.
    fn handshake_done(&self) -> Res<()> {
        cancel(&self.handshake_timer)?;
        self.set_state(State::Wrapped)?;
        if let Err(raised) = self.remember_session() {
            let exception = fetch(raised);
            if !is_kind(&exception, &stock().exception) {
                return Err(restore(exception));
            }
            return self.handshake_failed(exception);
        }
        if let Some(began) = self.handshake_began.take()
            && self.debug()
        {
            let took = value::float((reactor::monotonic() - began) * 1e3)?;
            let format = value::string("%s: SSL handshake took %.1f ms")?;
            let name = value::string(&self.protocol_name())?;
            asyncio().logger.call_method(&names::DEBUG, &[&format, &name, &took])?;
        }
        if self.told.get() == Told::Nothing {
            self.told.set(Told::Made);
            if let Some(protocol) = self.protocol.get() {
                let told = protocol.call_method(&names::CONNECTION_MADE, &[self.as_any()]);
                if told.is_err() {
                    self.encrypt_written();
                }
                told?;
            }
        }
        self.wake_waiter(None)?;
        self.do_read(&[])
    }

    /// Asks what can be known of the session from now on, while it is sure to answer.
    fn remember_session(&self) -> Res<()> {
        let object = self.session.object()?;
        let extra = value::dict_of(&[
            (&names::PEERCERT, &*object.call_method(&names::GETPEERCERT, &[])?),
            (&names::CIPHER, &*object.call_method(&names::CIPHER, &[])?),
            (&names::COMPRESSION, &*object.call_method(&names::COMPRESSION, &[])?),
            (&names::SSL_OBJECT, &object),
        ])?;
        if let Some(context) = self.context.get() {
            dict_set(&extra, names::SSLCONTEXT.get(), &context)?;
        }
        self.extra.set(extra);
        Ok(())
    }

    /// `_on_handshake_complete(exception)`.
    pub(super) fn handshake_failed(&self, exception: Own<Any>) -> Res<()> {
        cancel(&self.handshake_timer)?;
        self.set_state(State::Unwrapped)?;
        let message = if is_kind(&exception, &stock().certificate_error) {
            "SSL handshake failed on verifying the certificate"
        } else {
            "SSL handshake failed"
        };
        self.fatal_error(&exception, message)?;
        self.wake_waiter(Some(&exception))
    }

    /// The connection ended in mid-handshake.
    pub(super) fn handshake_broken(&self) -> Res<()> {
        self.handshake_failed(stock().connection_reset_error.call(&[])?)
    }

    /// `_set_state`.
    pub(super) fn set_state(&self, new: State) -> Res<()> {
        let old = self.state.get();
        let allowed = matches!(
            (old, new),
            (_, State::Unwrapped)
                | (State::Unwrapped, State::Handshake)
                | (State::Handshake, State::Wrapped)
                | (State::Wrapped, State::Flushing)
                | (State::Flushing, State::Shutdown)
        );
        if !allowed {
            return Err(cannot_switch(old, new));
        }
        self.state.set(new);
        Ok(())
    }

    /// Logs what asyncio's protocol does, in debug mode.
    pub(super) fn log(&self, what: &str) -> Res<()> {
        let format = value::string("%s %s")?;
        let (name, what) = (value::string(&self.protocol_name())?, value::string(what)?);
        asyncio().logger.call_method(&names::DEBUG, &[&format, &name, &what]).map(drop)
    }

    /// As which asyncio's log knows it.
    pub(super) fn protocol_name(&self) -> String {
        format!("<asyncio.sslproto.SSLProtocol object at {:#x}>", self.address())
    }
}

#[cold]
fn cannot_switch(old: State, new: State) -> Raised {
    let text = format!(
        "cannot switch state from SSLProtocolState.{} to SSLProtocolState.{}",
        old.name(),
        new.name()
    );
    crate::py::raise(Builtin::RuntimeError.get(), &text)
}
