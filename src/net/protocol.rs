//! The protocol at the other end of a transport: which way it wants its bytes.

use super::transport::Transport;
use crate::py::{Any, AsObject, Global, Own, Res, import, value};
use crate::streams::ProtocolState;
use crate::tls::TlsState;

/// How a transport hands over what it has read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Receiver {
    /// By `data_received(bytes)`.
    Protocol,
    /// Into the buffer that `get_buffer()` gives.
    Buffered,
    /// As `Protocol`, or straight into its StreamReader.
    Stream,
    /// By TLS of ours, which takes it where it was received.
    Tls,
}

static BUFFERED_PROTOCOL: Global<Own<Any>> = Global::new();

/// Imports what is needed to tell protocols apart.
pub(super) fn load() -> Res<()> {
    BUFFERED_PROTOCOL.fill(import(c"asyncio.protocols", c"BufferedProtocol")?);
    Ok(())
}

impl Receiver {
    /// How this protocol wants its bytes.
    pub(crate) fn of(protocol: &Any) -> Res<Receiver> {
        if protocol.cast_exact::<TlsState>().is_some() {
            return Ok(Receiver::Tls);
        }
        if value::is_instance(protocol, BUFFERED_PROTOCOL.get())? {
            return Ok(Receiver::Buffered);
        }
        let streams = protocol.cast::<ProtocolState>().is_some();
        Ok(if streams { Receiver::Stream } else { Receiver::Protocol })
    }
}

impl Transport {
    /// `set_protocol(protocol)`: from the next read on this one hears.
    pub(crate) fn set_protocol(&self, protocol: &Any) -> Res<()> {
        self.receiver.set(Receiver::of(protocol)?);
        self.promised.set(std::ptr::null());
        self.protocol.set(protocol.own());
        self.protocol_connected.set(true);
        Ok(())
    }
}
