//! Where `_ssl._SSLSocket` keeps its `SSL`.
//!
//! The beginning of the object has been the same since Python 3.6 but is nobody's promise. So once,
//! before the first use, an object is made and looked into: the context must be where we expect it,
//! the `SSL` must answer with the `SSL_CTX` of that context, and a handshake begun by Python's own
//! method must write its first message into our BIO. If anything is otherwise (a debug build with
//! other headers, a later version), memory BIOs serve.

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
    if let Some(what) = examine(library, &context, &context_class, &object)? {
        return Ok(Err(format!("_ssl is laid out in an unknown way: {what}")));
    }
    Ok(Ok(Layout { class: value::type_of(&object), context_class }))
}

/// What is not as expected.
fn examine(
    library: &Library,
    context: &Any,
    context_class: &Any,
    object: &Any,
) -> Res<Option<&'static str>> {
    // SAFETY: live types.
    let (size, context_size) = unsafe {
        (
            (*object.type_ptr()).tp_basicsize as usize,
            (*context_class.as_ptr().cast::<ffi::PyTypeObject>()).tp_basicsize as usize,
        )
    };
    if size < size_of::<SocketStart>() || context_size < size_of::<ContextStart>() {
        return Ok(Some("too small"));
    }
    if !value::is_instance(context, context_class)? {
        return Ok(Some("the context's class"));
    }
    // SAFETY: the sizes are checked.
    let (start, context_start) = unsafe {
        (&*object.as_ptr().cast::<SocketStart>(), &*context.as_ptr().cast::<ContextStart>())
    };
    if start.context != context.as_ptr() || start.ssl.is_null() || !start.socket.is_null() {
        return Ok(Some("the object"));
    }
    // SAFETY: beside the context in its place, this word is the SSL.
    if unsafe { (library.ssl_get_ssl_ctx)(start.ssl) } != context_start.context {
        return Ok(Some("the SSL"));
    }
    let pipe = Pipe::new();
    // SAFETY: an SSL that was just made.
    if !unsafe { library.set_bio(start.ssl, &pipe) } {
        return Ok(Some("no BIO could be made"));
    }
    let Err(raised) = object.call_method(&names::DO_HANDSHAKE, &[]) else {
        return Ok(Some("a handshake with nobody"));
    };
    error::discard(raised);
    // A handshake message, TLS 1.x.
    let begun = pipe.take_outgoing().starts_with(&[22, 3]);
    Ok((!begun).then_some("our BIO is not used"))
}
