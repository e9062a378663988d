//! Python's socket objects, looked into.
//!
//! A descriptor's number lives longer than the socket: a program that closes the socket behind a
//! transport's back, and opens another, would have the transport read and write on the wrong one.
//! Asking `fileno()` before each system call costs 40 ns; the number lies in the object, at a place
//! that has not moved in thirty years and is verified when the module is loaded.

use std::ffi::c_int;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3_ffi as ffi;

use super::call::import;
use super::error::Res;
use super::names;
use super::object::{Any, AsObject};
use super::value;

/// How every `_socket.socket` begins.
#[repr(C)]
struct Layout {
    head: ffi::PyObject,
    fd: c_int,
}

static VERIFIED: AtomicBool = AtomicBool::new(false);

/// Looks whether sockets are laid out as we know them; if not, they are asked.
pub(crate) fn verify_layout() -> Res<()> {
    let sock = import(c"_socket", c"socket")?.call(&[])?;
    let fd = value::as_int(&*sock.call_method(&names::FILENO, &[])?)?;
    // SAFETY: a live object of a type that has fields behind its header, of any content.
    let open = unsafe { (*sock.as_ptr().cast::<Layout>()).fd };
    sock.call_method(&names::CLOSE, &[])?;
    // SAFETY: as above.
    let closed = unsafe { (*sock.as_ptr().cast::<Layout>()).fd };
    VERIFIED.store(i64::from(open) == fd && closed == -1, Ordering::Relaxed);
    Ok(())
}

/// The descriptor of a socket now, -1 when it is closed. Only for instances of `_socket.socket`.
#[inline(always)]
pub(crate) fn descriptor_of(sock: &Any) -> Res<RawFd> {
    if VERIFIED.load(Ordering::Relaxed) {
        // SAFETY: the caller's object has this layout, which was verified.
        return Ok(unsafe { (*sock.as_ptr().cast::<Layout>()).fd });
    }
    value::as_int(&*sock.call_method(&names::FILENO, &[])?).map(|fd| fd as RawFd)
}
