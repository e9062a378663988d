//! What streams take from the standard library: exceptions, and asyncio's own streams, which are
//! the models of ours.

use crate::py::{Any, Global, Own, Res, import};

pub(super) struct Stock {
    pub(super) incomplete_read: Own<Any>,
    pub(super) limit_overrun: Own<Any>,
    pub(super) connection_reset: Own<Any>,
    pub(super) not_implemented: Own<Any>,
    pub(super) reader: Own<Any>,
    pub(super) writer: Own<Any>,
    pub(super) protocol: Own<Any>,
}

static STOCK: Global<Stock> = Global::new();

/// The imported objects; valid once the module is imported.
#[inline(always)]
pub(super) fn stock() -> &'static Stock {
    STOCK.get()
}

pub(super) fn load() -> Res<()> {
    STOCK.fill(Stock {
        incomplete_read: import(c"asyncio.exceptions", c"IncompleteReadError")?,
        limit_overrun: import(c"asyncio.exceptions", c"LimitOverrunError")?,
        connection_reset: import(c"builtins", c"ConnectionResetError")?,
        not_implemented: import(c"builtins", c"NotImplementedError")?,
        reader: import(c"asyncio.streams", c"StreamReader")?,
        writer: import(c"asyncio.streams", c"StreamWriter")?,
        protocol: import(c"asyncio.streams", c"StreamReaderProtocol")?,
    });
    Ok(())
}
