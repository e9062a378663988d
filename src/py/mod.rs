//! The one room for unsafe use of CPython's C API.
//!
//! Everything outside this folder works with owned and checked wrappers. The contract, once for
//! all of it: **a reference exists only while its thread holds the GIL**. References are not
//! `Send`, so they stay in the thread that the interpreter called; the one place that lets go of
//! the GIL (`without_gil`) takes a `Send` closure, which no reference can enter. State behind a
//! reference is therefore in cells, not in locks. Any call into Python may run any code, also code
//! that comes back to the same object: cells are read and written in steps that call nothing.

#[cfg(Py_GIL_DISABLED)]
compile_error!("aioxide needs a Python with the GIL; free-threaded builds are not supported yet");

mod args;
pub(crate) mod buffer;
pub(crate) mod bytearray;
mod call;
pub(crate) mod class;
mod entry;
pub(crate) mod error;
pub(crate) mod function;
mod global;
mod memory;
pub(crate) mod module;
pub(crate) mod names;
mod object;
pub(crate) mod openssl;
pub(crate) mod os_text;
pub(crate) mod python_socket;
pub(crate) mod stop;
pub(crate) mod value;
pub(crate) mod weak;

pub(crate) use args::{Args, Leading, Signature, unexpected};
pub(crate) use call::{
    CFunction, Sent, context, dict_get, dict_remove, dict_set, import, is_only_thread,
    thread_ident, without_gil,
};
pub(crate) use class::{BoundMethod, Builder, Class, TypeCell, bound};
pub(crate) use entry::conjure;
pub(crate) use error::{Builtin, Raised, Res, raise, runtime_error, type_error};
pub(crate) use global::Global;
pub(crate) use memory::{Pool, create, track};
pub(crate) use object::{Any, AsObject, Managed, Object, Own, Ptr, Slot, Stop, Visitor};
