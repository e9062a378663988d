//! TLS over stream transports.
//!
//! What asyncio does in `sslproto`, as one native object: to the program it is the transport, to
//! the transport below it is the protocol. That one hands it what it received, without a protocol
//! call or a copy (`reading`); what the program writes during one callback or step becomes as few
//! records as it fits in and goes out in one system call (`writing`). Handshake and shutdown follow
//! asyncio's steps one by one, because their order can be observed (`handshake`, `shutdown`). The
//! cryptography, the configuration and the errors are those of Python's `ssl` module (`session`).
//!
//! Only over a native transport: what stands on anything else (another loop's transport, a fake,
//! TLS inside TLS) is asyncio's own `SSLProtocol`.

mod handshake;
mod probe_type;
mod reading;
mod session;
mod shutdown;
mod stock;
mod transport;
mod transport_type;
mod writing;

pub(crate) use reading::ready;
pub(crate) use transport::{Settings, TlsState, TlsTransport};

use crate::py::module::Module;
use crate::py::{Args, Res};

/// Makes the types and adds them to the module.
pub(crate) fn add_to(module: &Module<'_>) -> Res<()> {
    stock::load()?;
    probe_type::add_to(module)?;
    module.add(c"TlsTransport", transport_type::build()?)?;
    module.function(
        c"tls_transport",
        c"tls_transport(loop, protocol, sslcontext, waiter, server_side, server_hostname, call_connection_made, ssl_handshake_timeout, ssl_shutdown_timeout)\n--\n\nMake a TLS transport, which is the protocol of the transport below it.",
        |_, args: Args<'_>| transport_type::make(&args),
    )
}
