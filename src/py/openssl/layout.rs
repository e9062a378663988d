//! Where `_ssl._SSLSocket` keeps its `SSL`.
//!
//! The beginning of the object has been the same since Python 3.6 but is nobody's promise. So once,
//! before the first use, an object is made and looked into: the context must be where we expect it,
//! the `SSL` must answer with the `SSL_CTX` of that context, and a handshake begun by Python's own
//! method must write its first message into our BIO. During this call the object's mutex is found,
//! in versions that have one: the one byte that is 1 inside the call, and 0 before and after. If
//! anything is otherwise (a debug build with other headers, a later version), memory BIOs serve.

use std::sync::atomic::{AtomicU8, Ordering};

use pyo3_ffi as ffi;

use super::library::{Context, Library, Ssl};
use super::pipe::Pipe;
use crate::py::error::{self, Res};
use crate::py::object::Ptr;
use crate::py::{Any, AsObject, Own, import, names, value};

/// How an `_ssl._SSLSocket` begins.
#[repr(C)]
struct SocketStart {
    head: ffi::PyObject,
    socket: Ptr,
    ssl: *mut Ssl,
    context: Ptr,
}

/// How an `_ssl._SSLContext` begins.
#[repr(C)]
struct ContextStart {
    head: ffi::PyObject,
    context: *mut Context,
}

/// What the probe found.
pub(super) struct Layout {
    /// `_ssl._SSLSocket`.
    class: Own<Any>,
    /// `_ssl._SSLContext`.
    context_class: Own<Any>,
    /// Where the object's mutex is.
    mutex: Option<usize>,
}

/// Held by whoever is inside an `SSL` on behalf of its object: `PyMutex`.
pub(super) struct Mutex(*const AtomicU8);

pub(super) struct Held<'a>(&'a AtomicU8);

const UNLOCKED: u8 = 0;
const LOCKED: u8 = 1;

impl Mutex {
    /// Takes the mutex, if it is free.
    #[inline(always)]
    pub(super) fn try_hold(&self) -> Option<Held<'_>> {
        // SAFETY: a byte of the object, which the `Direct` that has this keeps alive in each call.
        let byte = unsafe { &*self.0 };
        byte.compare_exchange(UNLOCKED, LOCKED, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
            .then_some(Held(byte))
    }
}

impl Drop for Held<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.0.compare_exchange(LOCKED, UNLOCKED, Ordering::Release, Ordering::Relaxed).is_err()
        {
            wake(self.0);
        }
    }
}

/// Unlocks a mutex that somebody waits for.
#[cold]
fn wake(byte: &AtomicU8) {
    #[cfg(Py_3_13)]
    {
        unsafe extern "C" {
            /// Declared here because the binding's type of the argument differs by version.
            fn PyMutex_Unlock(mutex: *mut u8);
        }
        // SAFETY: a mutex that we locked; the first byte is all there is to it.
        unsafe { PyMutex_Unlock(byte.as_ptr()) }
    }
    #[cfg(not(Py_3_13))]
    byte.store(UNLOCKED, Ordering::Release);
}

impl Layout {
    /// The `SSL` of an object, if this is one of the kind that the probe looked into and its
    /// context is where it should be.
    pub(super) fn ssl_of(&self, object: &Any) -> Res<Option<*mut Ssl>> {
        if !std::ptr::eq(object.type_ptr().cast(), self.class.as_ptr()) {
            return Ok(None);
        }
        let context = object.attr(&names::CONTEXT)?;
        if !value::is_instance(&context, &self.context_class)? {
            return Ok(None);
        }
        // SAFETY: the class of the object, which is as large as this and was found to begin so.
        let start = unsafe { &*object.as_ptr().cast::<SocketStart>() };
        Ok((start.context == context.as_ptr() && !start.ssl.is_null()).then_some(start.ssl))
    }

    pub(super) fn mutex_of(&self, object: &Any) -> Option<Mutex> {
        // SAFETY: the probe found the offset within the object.
        self.mutex.map(|offset| unsafe { Mutex(object.as_ptr().cast::<AtomicU8>().add(offset)) })
    }
}

/// The bytes of an object as they are at this moment.
fn snapshot(object: &Any, size: usize) -> Vec<u8> {
    let start = object.as_ptr().cast::<AtomicU8>();
    // SAFETY: the object has this size; other threads cannot know it.
    (0..size).map(|at| unsafe { (*start.add(at)).load(Ordering::Relaxed) }).collect()
}

/// Looks into an object made for the purpose; says what does not fit, if something does not.
pub(super) fn probe(library: &Library) -> Res<Result<Layout, String>> {
    let context =
        import(c"ssl", c"SSLContext")?.call(&[&*import(c"ssl", c"PROTOCOL_TLS_CLIENT")?])?;
    let memory = import(c"ssl", c"MemoryBIO")?;
    let (incoming, outgoing) = (memory.call(&[])?, memory.call(&[])?);
    let name = value::string("aioxide.invalid")?;
    let wrapped = context
        .call_method(&names::WRAP_BIO, &[&incoming, &outgoing, &*value::boolean(false), &name])?;
    let object = wrapped.attr(&names::SSLOBJ)?;
    let context_class = import(c"_ssl", c"_SSLContext")?;
    Ok(examine(library, &context, &context_class, &object)?.map(|mutex| Layout {
        class: value::type_of(&object),
        context_class,
        mutex,
    }))
}

/// The place of the mutex, if all is as expected.
fn examine(
    library: &Library,
    context: &Any,
    context_class: &Any,
    object: &Any,
) -> Res<Result<Option<usize>, String>> {
    let wrong = |what: &str| Ok(Err(format!("_ssl is laid out in an unknown way: {what}")));
    // SAFETY: live types.
    let (size, context_size) = unsafe {
        (
            (*object.type_ptr()).tp_basicsize as usize,
            (*context_class.as_ptr().cast::<ffi::PyTypeObject>()).tp_basicsize as usize,
        )
    };
    if size < size_of::<SocketStart>() || context_size < size_of::<ContextStart>() {
        return wrong("too small");
    }
    if !value::is_instance(context, context_class)? {
        return wrong("the context's class");
    }
    // SAFETY: the sizes are checked.
    let (start, context_start) = unsafe {
        (&*object.as_ptr().cast::<SocketStart>(), &*context.as_ptr().cast::<ContextStart>())
    };
    if start.context != context.as_ptr() || start.ssl.is_null() || !start.socket.is_null() {
        return wrong("the object");
    }
    // SAFETY: beside the context in its place, this word is the SSL.
    if unsafe { (library.ssl_get_ssl_ctx)(start.ssl) } != context_start.context {
        return wrong("the SSL");
    }
    let pipe = Pipe::new();
    // SAFETY: an SSL that was just made.
    if !unsafe { library.set_bio(start.ssl, &pipe) } {
        return Ok(Err("no BIO could be made".to_owned()));
    }
    let before = snapshot(object, size);
    pipe.watch(object.as_ptr().cast_const().cast(), size);
    let Err(raised) = object.call_method(&names::DO_HANDSHAKE, &[]) else {
        return wrong("a handshake with nobody");
    };
    error::discard(raised);
    let during = pipe.watched();
    let after = snapshot(object, size);
    // A handshake message, TLS 1.x.
    if !pipe.take_outgoing().starts_with(&[22, 3]) || during.len() != size {
        return wrong("our BIO was not used");
    }
    let first = size_of::<SocketStart>();
    let locked: Vec<usize> = (first..size)
        .filter(|&at| (before[at], during[at], after[at]) == (UNLOCKED, LOCKED, UNLOCKED))
        .collect();
    match locked[..] {
        [] if cfg!(Py_3_14) => wrong("no mutex"),
        [] => Ok(Ok(None)),
        [offset] if cfg!(Py_3_13) => Ok(Ok(Some(offset))),
        _ => wrong("several mutexes"),
    }
}
