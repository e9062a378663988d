//! What TLS takes from the standard library: exception types and constants.

use crate::py::names::{self, Name};
use crate::py::{Any, Global, Own, Res, import, value};

/// The imported objects.
pub(super) struct Stock {
    pub(super) transport_class: Own<Any>,
    pub(super) protocol_state: Own<Any>,
    pub(super) sendfile_mode: Own<Any>,
    pub(super) ssl_error: Own<Any>,
    pub(super) certificate_error: Own<Any>,
    pub(super) connection_aborted_error: Own<Any>,
    pub(super) connection_reset_error: Own<Any>,
    pub(super) exception: Own<Any>,
    pub(super) namespace_class: Own<Any>,
    /// Whether `is_closing` asks the transport below, too. This and the next two came with bug-fix
    /// releases, so asyncio's own code is asked.
    pub(super) asks_below: bool,
    /// Whether `_abort` passes on why.
    pub(super) tells_why: bool,
    /// Whether the timeout of a shutdown lasts until the connection is gone.
    pub(super) keeps_timer: bool,
}

static STOCK: Global<Stock> = Global::new();

/// The imported objects; valid once the module is imported.
pub(super) fn stock() -> &'static Stock {
    STOCK.get()
}

pub(super) fn load() -> Res<()> {
    let protocol = import(c"asyncio.sslproto", c"SSLProtocol")?;
    let code_of = |method: &'static Name| protocol.attr(method)?.attr(&names::DUNDER_CODE);
    let abort_args = value::as_int(&*code_of(&names::ABORT_QUIETLY)?.attr(&names::CO_ARGCOUNT)?)?;
    let completes = code_of(&names::ON_SHUTDOWN_COMPLETE)?.attr(&names::CO_NAMES)?;
    STOCK.fill(Stock {
        asks_below: protocol.attr_if_any(&names::IS_TRANSPORT_CLOSING)?.is_some(),
        tells_why: abort_args == 2,
        keeps_timer: value::repr_text(&completes).contains("'_ssl_shutdown_timeout'"),
        transport_class: import(c"asyncio.sslproto", c"_SSLProtocolTransport")?,
        protocol_state: import(c"asyncio.sslproto", c"SSLProtocolState")?,
        sendfile_mode: import(c"asyncio.constants", c"_SendfileMode")?.attr(&names::FALLBACK)?,
        ssl_error: import(c"ssl", c"SSLError")?,
        certificate_error: import(c"ssl", c"CertificateError")?,
        connection_aborted_error: import(c"builtins", c"ConnectionAbortedError")?,
        connection_reset_error: import(c"builtins", c"ConnectionResetError")?,
        namespace_class: import(c"types", c"SimpleNamespace")?,
        exception: import(c"builtins", c"Exception")?,
    });
    Ok(())
}
