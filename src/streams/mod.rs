//! StreamReader, StreamWriter and the protocol between them and a transport.
//!
//! What runs for each piece of data is here. What runs once a connection (`open_connection`,
//! `start_server`, calling the server's function) is Python, in `aioxide/streaming.py`, or asyncio's
//! own function, put into our type: then it is right for the running version by construction.

mod buffer;
mod hooks;
mod protocol;
mod protocol_type;
mod reader;
mod reader_type;
mod reading;
mod separators;
mod stock;
mod transport;
mod writer;
mod writer_type;

pub(crate) use protocol::ProtocolState;
pub(crate) use reader::{ReaderState, StreamReader};

use crate::py::function::add_to_class;
use crate::py::module::Module;
use crate::py::names::Name;
use crate::py::{Any, AsObject, Res, Slot};

/// Gives `class` the method that asyncio's class of the same name has, if this version has it. It
/// works on attributes that ours have as well.
fn borrow(class: &Any, model: &Any, name: &'static Name) -> Res<()> {
    match model.attr_if_any(name)? {
        Some(method) => add_to_class(class, name, &method),
        None => Ok(()),
    }
}

/// `attribute = value`, for one whose None is the empty slot.
fn set_or_clear(slot: &Slot, value: &Any) -> Res<()> {
    slot.put((!value.is_none()).then(|| value.own()));
    Ok(())
}

/// Makes the types and adds them to the module.
pub(crate) fn add_to(module: &Module<'_>) -> Res<()> {
    stock::load()?;
    module.add(c"StreamReader", reader_type::build()?)?;
    module.add(c"StreamReaderProtocol", protocol_type::build()?)?;
    module.add(c"StreamWriter", writer_type::build()?)
}
