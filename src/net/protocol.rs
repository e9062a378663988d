//! The protocol at the other end of a transport: which way it wants its bytes.

use super::transport::Transport;
use crate::py::{Any, AsObject, Global, Own, Res, import, value};
use crate::streams::ProtocolState;

/// How a transport hands over what it has read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Receiver {
    /// By `data_received(bytes)`.
    Protocol,
    /// Into the buffer that `get_buffer()` gives.
    Buffered,
    /// As `Protocol`, or straight into its StreamReader.
    Stream,
}

static BUFFERED_PROTOCOL: Global<Own<Any>> = Global::new();

/// Imports what is needed to tell protocols apart.
pub(super) fn load() -> Res<()> {
    BUFFERED_PROTOCOL.fill(import(c"asyncio.protocols", c"BufferedProtocol")?);
    Ok(())
}

impl Transport {
    /// `set_protocol(protocol)`: from the next read on this one hears.
    pub(super) fn set_protocol(&self, protocol: &Any) -> Res<()> {
        let buffered = value::is_instance(protocol, BUFFERED_PROTOCOL.get())?;
        self.receiver.set(if buffered {
            Receiver::Buffered
        } else if protocol.cast::<ProtocolState>().is_some() {
            Receiver::Stream
        } else {
            Receiver::Protocol
        });
        self.promised.set(std::ptr::null());
        self.protocol.set(protocol.own());
        self.protocol_connected.set(true);
        Ok(())
    }
}
