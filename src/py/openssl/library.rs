//! The functions of the very OpenSSL that `_ssl` uses.
//!
//! A process may hold several: the `cryptography` package brings its own, a program may be linked
//! with another. An `SSL` given to the wrong one is a crash at best. So the functions are looked up
//! through the handle of the loaded `_ssl` library, whose search covers what it depends on; and
//! then its version must be the one that `_ssl` names, nobody may have come before it in the
//! process's global scope, and `layout` sees that it drives the `SSL`s that `_ssl` makes. Where
//! OpenSSL is linked into the interpreter and hidden there is nothing to find, and memory BIOs
//! serve instead.

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_ulong, c_void};
use std::sync::Arc;

use super::pipe::{self, Pipe};
use super::{Answer, Opaque, Outcome};
use crate::py::error::{self, Res};
use crate::py::{import, value};

pub(super) type Ssl = Opaque;
pub(super) type Context = Opaque;
pub(super) type Bio = Opaque;
pub(super) type Method = Opaque;

const SSL_ERROR_WANT_READ: c_int = 2;
const SSL_ERROR_ZERO_RETURN: c_int = 6;
const SSL_RECEIVED_SHUTDOWN: c_int = 2;
const BIO_TYPE_SOURCE_SINK: c_int = 0x0400;

macro_rules! library {
    ($($field:ident = $symbol:literal: fn($($argument:ty),*) $(-> $answer:ty)?;)*) => {
        /// Functions of OpenSSL, by their C names in small letters.
        pub(super) struct Library {
            $(pub(super) $field: unsafe extern "C" fn($($argument),*) $(-> $answer)?,)*
            /// What our BIOs are made by.
            method: *mut Method,
        }

        impl Library {
            /// Looks all functions up.
            ///
            /// # Safety
            /// `handle` is a loaded library's, or the process's own, and nothing but OpenSSL
            /// defines these names.
            unsafe fn resolve(handle: *mut c_void) -> Option<Library> {
                // SAFETY: the declarations are OpenSSL's.
                unsafe {
                    Some(Library {
                        $($field: std::mem::transmute::<
                            *mut c_void,
                            unsafe extern "C" fn($($argument),*) $(-> $answer)?,
                        >(symbol(handle, $symbol)?),)*
                        method: std::ptr::null_mut(),
                    })
                }
            }
        }
    };
}

type ReadEntry = unsafe extern "C" fn(*mut Bio, *mut c_char, usize, *mut usize) -> Answer;
type WriteEntry = unsafe extern "C" fn(*mut Bio, *const c_char, usize, *mut usize) -> Answer;
type ControlEntry = unsafe extern "C" fn(*mut Bio, c_int, c_long, *mut c_void) -> c_long;
type DestroyEntry = unsafe extern "C" fn(*mut Bio) -> Answer;

library! {
    openssl_version = c"OpenSSL_version": fn(c_int) -> *const c_char;
    err_peek_error = c"ERR_peek_error": fn() -> c_ulong;
    err_clear_error = c"ERR_clear_error": fn();
    ssl_read_ex = c"SSL_read_ex": fn(*mut Ssl, *mut c_void, usize, *mut usize) -> Answer;
    ssl_write_ex = c"SSL_write_ex": fn(*mut Ssl, *const c_void, usize, *mut usize) -> Answer;
    ssl_get_error = c"SSL_get_error": fn(*const Ssl, c_int) -> Answer;
    ssl_get_shutdown = c"SSL_get_shutdown": fn(*const Ssl) -> Answer;
    ssl_has_pending = c"SSL_has_pending": fn(*const Ssl) -> Answer;
    ssl_get_ssl_ctx = c"SSL_get_SSL_CTX": fn(*const Ssl) -> *mut Context;
    ssl_set_bio = c"SSL_set_bio": fn(*mut Ssl, *mut Bio, *mut Bio);
    bio_get_new_index = c"BIO_get_new_index": fn() -> Answer;
    bio_meth_new = c"BIO_meth_new": fn(c_int, *const c_char) -> *mut Method;
    bio_meth_set_read_ex = c"BIO_meth_set_read_ex": fn(*mut Method, ReadEntry) -> Answer;
    bio_meth_set_write_ex = c"BIO_meth_set_write_ex": fn(*mut Method, WriteEntry) -> Answer;
    bio_meth_set_ctrl = c"BIO_meth_set_ctrl": fn(*mut Method, ControlEntry) -> Answer;
    bio_meth_set_destroy = c"BIO_meth_set_destroy": fn(*mut Method, DestroyEntry) -> Answer;
    bio_new = c"BIO_new": fn(*const Method) -> *mut Bio;
    bio_set_data = c"BIO_set_data": fn(*mut Bio, *mut c_void);
    bio_get_data = c"BIO_get_data": fn(*mut Bio) -> *mut c_void;
    bio_set_init = c"BIO_set_init": fn(*mut Bio, c_int);
    bio_set_flags = c"BIO_set_flags": fn(*mut Bio, c_int);
    bio_clear_flags = c"BIO_clear_flags": fn(*mut Bio, c_int);
}

/// An address by its name.
///
/// # Safety
/// As `dlsym`.
unsafe fn symbol(handle: *mut c_void, name: &CStr) -> Option<*mut c_void> {
    // SAFETY: a name that ends in NUL; the rest is the caller's promise.
    let found = unsafe { libc::dlsym(handle, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

/// Finds the library, or says why not.
pub(super) fn find() -> Res<Result<Library, String>> {
    let stated = value::str_text(&*import(c"_ssl", c"OPENSSL_VERSION")?)?;
    let file = match import(c"_ssl", c"__file__") {
        Ok(file) => Some(value::str_text(&file)?),
        // Built into the interpreter.
        Err(raised) => {
            error::discard(raised);
            None
        }
    };
    Ok(open(file, &stated))
}

fn open(file: Option<String>, stated: &str) -> Result<Library, String> {
    if !stated.starts_with("OpenSSL ") {
        return Err(format!("the ssl module uses {stated}"));
    }
    let path = match file.map(CString::new) {
        Some(Ok(path)) => Some(path),
        Some(Err(_)) => return Err("the path of _ssl has a NUL".to_owned()),
        None => None,
    };
    // SAFETY: only asks for what is loaded. The handle is never closed: the library stays, and with
    // it every function found.
    let handle = unsafe {
        match &path {
            Some(path) => libc::dlopen(path.as_ptr(), libc::RTLD_NOLOAD | libc::RTLD_LAZY),
            None => libc::dlopen(std::ptr::null(), libc::RTLD_LAZY),
        }
    };
    if handle.is_null() {
        return Err("_ssl is not a library of its own".to_owned());
    }
    // SAFETY: a live handle, and names that OpenSSL alone defines.
    let Some(mut library) = (unsafe { Library::resolve(handle) }) else {
        return Err("the functions of OpenSSL are hidden, or too old".to_owned());
    };
    for name in [c"SSL_read_ex", c"BIO_new", c"ERR_peek_error"] {
        // SAFETY: a live handle, and the process's global scope.
        let (ours, global) = unsafe {
            (libc::dlsym(handle, name.as_ptr()), libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()))
        };
        // What is global goes before what a library depends on, for `_ssl` too.
        if !global.is_null() && global != ours {
            return Err("another OpenSSL goes before that of _ssl".to_owned());
        }
    }
    // SAFETY: zero asks for the version as text that lives for ever.
    let version = unsafe { CStr::from_ptr((library.openssl_version)(0)) };
    if version.to_bytes() != stated.as_bytes() {
        return Err(format!("_ssl uses {stated}, but {version:?} was found"));
    }
    library.method = library.make_method().ok_or("no BIO method could be made")?;
    Ok(library)
}

impl Library {
    fn make_method(&self) -> Option<*mut Method> {
        // SAFETY: entry points of the kinds that are asked for; the method is kept for ever.
        unsafe {
            let index = (self.bio_get_new_index)();
            if index == -1 {
                return None;
            }
            let method = (self.bio_meth_new)(index | BIO_TYPE_SOURCE_SINK, c"aioxide".as_ptr());
            let complete = !method.is_null()
                && (self.bio_meth_set_read_ex)(method, pipe::read) == 1
                && (self.bio_meth_set_write_ex)(method, pipe::write) == 1
                && (self.bio_meth_set_ctrl)(method, pipe::control) == 1
                && (self.bio_meth_set_destroy)(method, pipe::destroy) == 1;
            pipe::use_helpers(pipe::Helpers {
                get_data: self.bio_get_data,
                set_flags: self.bio_set_flags,
                clear_flags: self.bio_clear_flags,
            });
            complete.then_some(method)
        }
    }

    /// Makes an `SSL` read from and write to `pipe`, which it keeps alive; whether that worked.
    ///
    /// # Safety
    /// A live `SSL` of this library, in which nobody is.
    pub(super) unsafe fn set_bio(&self, ssl: *mut Ssl, pipe: &Arc<Pipe>) -> bool {
        // SAFETY: the BIO owns one count of the pipe, which `destroy` gives back; the one reference
        // to the BIO serves both ways, as it does for sockets.
        unsafe {
            let bio = (self.bio_new)(self.method);
            if bio.is_null() {
                self.forget_errors();
                return false;
            }
            (self.bio_set_data)(bio, Arc::into_raw(pipe.clone()).cast_mut().cast());
            (self.bio_set_init)(bio, 1);
            (self.ssl_set_bio)(ssl, bio, bio);
        }
        true
    }

    /// `SSL_get_error` looks for errors that lie about first, whoever left them.
    #[inline(always)]
    pub(super) fn forget_errors(&self) {
        // SAFETY: they work on the thread's own list.
        unsafe {
            if (self.err_peek_error)() != 0 {
                (self.err_clear_error)();
            }
        }
    }

    /// How a call that did not succeed has ended.
    pub(super) fn outcome(&self, ssl: *mut Ssl, answer: c_int) -> Outcome {
        // SAFETY: the caller's SSL, still its own.
        unsafe {
            match (self.ssl_get_error)(ssl, answer) {
                SSL_ERROR_WANT_READ => Outcome::Again,
                // As `_ssl` has it: an end is one only if we have not ended first.
                SSL_ERROR_ZERO_RETURN if (self.ssl_get_shutdown)(ssl) == SSL_RECEIVED_SHUTDOWN => {
                    Outcome::End
                }
                _ => Outcome::Otherwise,
            }
        }
    }
}
