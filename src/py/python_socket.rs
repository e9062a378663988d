//! Python's socket objects, as far as native code looks into them.
//!
//! A system call on the descriptor may stand for a socket's method only if the method is Python's
//! own: of a `socket.socket` and no subclass, and of a class that nobody has patched. Whether that
//! is so is remembered together with the version of the class, which changes with any attribute.
//!
//! A descriptor's number lives longer than the socket: a program that closes the socket behind a
//! transport's back, and opens another, would have the transport read and write on the wrong one.
//! So the socket is asked before each call, and asking `fileno()` costs 40 ns.
//!
//! The descriptor is the first field of the object, whose layout has been the same since Python 2
//! but is nobody's promise; so it is compared with what the object itself answers, when the module is
//! loaded and each time the class is looked at anew, and if it is not as expected all goes through
//! methods.

use std::cell::Cell;
use std::ffi::{c_char, c_int};
use std::os::fd::RawFd;

use pyo3_ffi as ffi;

use super::class::is_same_method;
use super::error::{Raised, Res};
use super::global::Global;
use super::names::{self, Name};
use super::object::{Any, AsObject, Own};
use super::value;

/// What is known of Python's socket classes.
struct Sockets {
    /// `socket.socket`.
    class: Own<Any>,
    /// `_socket.socket`, from which it inherits.
    native: Own<Any>,
    /// Whether objects begin as declared below.
    known: bool,
    /// The version of the class when it was last found to be unchanged.
    unchanged: Cell<u32>,
}

static SOCKETS: Global<Sockets> = Global::new();

/// How a socket object begins.
#[repr(C)]
struct Layout {
    head: ffi::PyObject,
    fd: c_int,
    family: c_int,
    kind: c_int,
    proto: c_int,
}

/// The methods that system calls stand for.
static METHODS: [&Name; 7] = [
    &names::FILENO,
    &names::RECV,
    &names::RECV_INTO,
    &names::RECVFROM,
    &names::RECVFROM_INTO,
    &names::SEND,
    &names::SENDTO,
];

/// Imports the classes; once, when the module is initialised.
pub(crate) fn load() -> Res<()> {
    let native = super::import(c"_socket", c"socket")?;
    let sock = native.call(&[])?;
    let open = is_as_declared(&native, &sock)?;
    sock.call_method(&names::CLOSE, &[])?;
    let known = open && is_as_declared(&native, &sock)?;
    SOCKETS.fill(Sockets {
        class: super::import(c"socket", c"socket")?,
        native,
        known,
        unchanged: Cell::new(0),
    });
    Ok(())
}

/// Whether the fields of the object are what it answers itself.
fn is_as_declared(native: &Any, object: &Any) -> Res<bool> {
    let asked = [
        value::as_int(&*object.call_method(&names::FILENO, &[])?)?,
        value::as_int(&*object.attr(&names::FAMILY)?)?,
        value::as_int(&*object.attr(&names::TYPE)?)?,
        value::as_int(&*object.attr(&names::PROTO)?)?,
    ];
    // SAFETY: the size is checked before the fields are read.
    let found = unsafe {
        let class = native.as_ptr().cast::<ffi::PyTypeObject>();
        if ((*class).tp_basicsize as usize) < size_of::<Layout>() {
            return Ok(false);
        }
        let layout = &*object.as_ptr().cast::<Layout>();
        [layout.fd, layout.family, layout.kind, layout.proto].map(i64::from)
    };
    Ok(asked == found)
}

/// The descriptor of a socket now, -1 when it is closed. Only for instances of `_socket.socket`.
#[inline(always)]
pub(crate) fn descriptor_of(sock: &Any) -> Res<RawFd> {
    if SOCKETS.get().known {
        // SAFETY: the caller's object has this layout, which was verified.
        return Ok(unsafe { (*sock.as_ptr().cast::<Layout>()).fd });
    }
    value::as_int(&*sock.call_method(&names::FILENO, &[])?).map(|fd| fd as RawFd)
}

/// A socket object whose methods are Python's own.
#[derive(Clone, Copy)]
pub(crate) struct PlainSocket<'a>(&'a Layout);

impl PlainSocket<'_> {
    /// The descriptor; -1 once the socket is closed.
    #[inline(always)]
    pub(crate) fn fd(self) -> RawFd {
        self.0.fd
    }

    pub(crate) fn family(self) -> c_int {
        self.0.family
    }

    /// The process that connected a Unix socket, or listened for it.
    pub(crate) fn peer_process(self) -> Option<u32> {
        let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
        let mut len = size_of::<libc::ucred>() as libc::socklen_t;
        // SAFETY: room for the answer, and its size. What the number leads to is the call's business.
        let outcome = unsafe {
            libc::getsockopt(
                self.fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERCRED,
                (&raw mut peer).cast(),
                &mut len,
            )
        };
        u32::try_from(peer.pid).ok().filter(|&pid| outcome == 0 && pid != 0)
    }

    pub(crate) fn is_stream(self) -> bool {
        self.0.kind == libc::SOCK_STREAM
    }
}

unsafe extern "C" {
    /// Missing from the binding.
    fn PySys_Audit(event: *const c_char, format: *const c_char, ...) -> c_int;
}

/// Tells the interpreter's audit hooks what the method `sendto` would tell them.
pub(crate) fn audit_sendto(socket: &Any, address: &Any) -> Res<()> {
    // SAFETY: texts that end in NUL, and the two objects that the format asks for.
    let told = unsafe {
        PySys_Audit(c"socket.sendto".as_ptr(), c"OO".as_ptr(), socket.as_ptr(), address.as_ptr())
    };
    if told == 0 { Ok(()) } else { Err(Raised) }
}

/// The socket, if its methods are Python's own.
#[inline]
pub(crate) fn plain(object: &Any) -> Option<PlainSocket<'_>> {
    let sockets = SOCKETS.get();
    if !std::ptr::eq(object.type_ptr().cast(), sockets.class.as_ptr()) {
        return None;
    }
    let version = value::type_version(object);
    if (version == 0 || version != sockets.unchanged.get()) && !is_unchanged(sockets, object) {
        return None;
    }
    // SAFETY: an instance of the class, whose layout was found to be as declared.
    Some(PlainSocket(unsafe { &*object.as_ptr().cast::<Layout>() }))
}

#[cold]
fn is_unchanged(sockets: &Sockets, object: &Any) -> bool {
    let answer = (|| -> Res<bool> {
        for name in METHODS {
            if !is_same_method(&*sockets.class.attr(name)?, &*sockets.native.attr(name)?) {
                return Ok(false);
            }
        }
        is_as_declared(&sockets.native, object)
    })();
    let unchanged = answer.unwrap_or_else(|raised| {
        super::error::discard(raised);
        false
    });
    if unchanged {
        sockets.unchanged.set(value::type_version(object));
    }
    unchanged
}
