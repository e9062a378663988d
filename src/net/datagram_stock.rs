//! What datagram transports take from the standard library, and what they ask it: where the running
//! Python's asyncio differs from others, its own code is looked at and not its version, because
//! such changes come in bug-fix releases, too.

use crate::py::{Any, Global, Own, Res, import, names, value};

/// What is imported.
pub(super) struct Stock {
    pub(super) transport_class: Own<Any>,
    blocking_error: Own<Any>,
    interrupted_error: Own<Any>,
    /// What asyncio counts for a datagram besides its bytes when it is put aside.
    pub(super) header_on_entry: i64,
    /// And what it takes off when the datagram leaves.
    pub(super) header_on_exit: i64,
}

static STOCK: Global<Stock> = Global::new();

pub(super) fn stock() -> &'static Stock {
    STOCK.get()
}

pub(super) fn load() -> Res<()> {
    let transport_class = import(c"asyncio.selector_events", c"_SelectorDatagramTransport")?;
    let [header_on_entry, header_on_exit] = headers(&transport_class)?;
    STOCK.fill(Stock {
        transport_class,
        blocking_error: import(c"builtins", c"BlockingIOError")?,
        interrupted_error: import(c"builtins", c"InterruptedError")?,
        header_on_entry,
        header_on_exit,
    });
    Ok(())
}

/// At first there was no header, then a constant 8 that was never taken off, then an attribute.
fn headers(transport_class: &Any) -> Res<[i64; 2]> {
    const HEADER: i64 = 8;
    if let Some(header) = transport_class.attr_if_any(&names::HEADER_SIZE)? {
        let header = value::as_int(&header)?;
        return Ok([header, header]);
    }
    let code = transport_class.attr(&names::SENDTO)?.attr(&names::DUNDER_CODE)?;
    let constants = code.attr(&names::CO_CONSTS)?;
    let counts = value::tuple_items(&constants).iter().any(|constant| {
        value::is_exact_int(constant) && value::as_int(constant).is_ok_and(|n| n == HEADER)
    });
    Ok([if counts { HEADER } else { 0 }, 0])
}

impl Stock {
    /// Whether the exception says that the call can be made later.
    pub(super) fn is_for_later(&self, exception: &Any) -> bool {
        use crate::py::error::is_kind;
        is_kind(exception, &self.blocking_error) || is_kind(exception, &self.interrupted_error)
    }
}
