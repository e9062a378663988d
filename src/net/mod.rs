//! The network: transports, listeners, datagrams, pipes, names, the `sock_*` methods of the loop.
//!
//! What runs per packet is here, but for TLS, which has a folder of its own on top of this one. What
//! runs per connection (addresses, options, which sockets a server listens on) is Python, asyncio's
//! own wherever possible.

pub(crate) mod address;
mod closing;
mod datagram;
mod datagram_closing;
mod datagram_receiving;
mod datagram_sending;
mod datagram_stock;
mod datagram_type;
mod dns;
pub(crate) mod flow;
mod heap;
pub(crate) mod listener;
pub(crate) mod pending;
mod pipe;
pub(crate) mod pipe_reading;
mod pipe_type;
pub(crate) mod pipe_writing;
pub(crate) mod protocol;
pub(crate) mod reading;
mod report;
mod sock;
mod sock_call;
mod sock_waits;
mod socket;
pub(crate) mod streaming;
pub(crate) mod transport;
mod transport_type;
mod writing;

use crate::py::module::Module;
use crate::py::{Args, Res};

/// Makes the types and adds them to the module.
pub(crate) fn add_to(module: &Module<'_>) -> Res<()> {
    module.add(c"SocketTransport", transport_type::build()?)?;
    listener::build()?;
    sock::build()?;
    module.add(c"DatagramTransport", datagram_type::build()?)?;
    module.function(
        c"datagram_transport",
        c"datagram_transport(loop, sock, protocol, address=None, waiter=None, extra=None)\n--\n\nMake the transport of a datagram socket.",
        |_, args: Args<'_>| datagram_type::make(&args),
    )?;
    module.add(c"ReadPipeTransport", pipe_type::build_reading()?)?;
    module.function(
        c"read_pipe_transport",
        c"read_pipe_transport(loop, pipe, protocol, waiter=None, extra=None)\n--\n\nMake the transport that reads from a pipe.",
        |_, args: Args<'_>| pipe_type::make_read(&args),
    )?;
    module.add(c"WritePipeTransport", pipe_type::build_writing()?)?;
    module.function(
        c"write_pipe_transport",
        c"write_pipe_transport(loop, pipe, protocol, waiter=None, extra=None)\n--\n\nMake the transport that writes to a pipe.",
        |_, args: Args<'_>| pipe_type::make_write(&args),
    )?;
    dns::add_to(module)?;
    module.function(
        c"socket_transport",
        c"socket_transport(loop, sock, protocol, waiter=None, extra=None, server=None)\n--\n\nMake the transport of a connected stream socket.",
        |_, args: Args<'_>| transport_type::make(&args),
    )
}
