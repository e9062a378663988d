//! The network: transports, listeners, datagrams, and the `sock_*` methods of the loop.
//!
//! What runs per packet is here. What runs per connection (names, addresses, options, which
//! sockets a server listens on) is Python, asyncio's own wherever possible.

pub(crate) mod address;

use crate::py::Res;
use crate::py::module::Module;

/// Makes the types and adds them to the module.
pub(crate) fn add_to(_module: &Module<'_>) -> Res<()> {
    Ok(())
}
