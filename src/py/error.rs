//! Exceptions: raising, fetching, matching.
//!
//! As in C, an error is the interpreter's own indicator and a failed call says only *that* it
//! failed: `Raised` is empty, so a `Result` costs nothing on the hot path.

use pyo3_ffi as ffi;

use super::object::{Any, AsObject, Own, Ptr};

/// The interpreter's error indicator is set.
#[derive(Debug)]
pub(crate) struct Raised;

pub(crate) type Res<T = Own<Any>> = Result<T, Raised>;

/// Takes over a call's new reference, or its error.
///
/// # Safety
/// As `Own::from_new`; on null the error indicator is set.
#[inline(always)]
pub(super) unsafe fn checked(ptr: Ptr) -> Res {
    // SAFETY: the caller's promise.
    unsafe { Own::from_new(ptr) }.ok_or(Raised)
}

/// The built-in exception types that we raise ourselves.
#[derive(Clone, Copy)]
pub(crate) enum Builtin {
    AssertionError,
    AttributeError,
    ConnectionError,
    BlockingIOError,
    BrokenPipeError,
    ImportError,
    InterruptedError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    GeneratorExit,
    StopAsyncIteration,
    StopIteration,
    TimeoutError,
    SystemError,
    TypeError,
    ValueError,
    KeyboardInterrupt,
    SystemExit,
}

impl Builtin {
    pub(crate) fn get<'a>(self) -> &'a Any {
        // SAFETY: the interpreter's static exception types live for ever.
        unsafe {
            Any::from_ptr(match self {
                Builtin::AssertionError => ffi::PyExc_AssertionError,
                Builtin::AttributeError => ffi::PyExc_AttributeError,
                Builtin::BrokenPipeError => ffi::PyExc_BrokenPipeError,
                Builtin::ConnectionError => ffi::PyExc_ConnectionError,
                Builtin::BlockingIOError => ffi::PyExc_BlockingIOError,
                Builtin::InterruptedError => ffi::PyExc_InterruptedError,
                Builtin::NotImplementedError => ffi::PyExc_NotImplementedError,
                Builtin::OSError => ffi::PyExc_OSError,
                Builtin::OverflowError => ffi::PyExc_OverflowError,
                Builtin::ImportError => ffi::PyExc_ImportError,
                Builtin::RuntimeError => ffi::PyExc_RuntimeError,
                Builtin::GeneratorExit => ffi::PyExc_GeneratorExit,
                Builtin::StopAsyncIteration => ffi::PyExc_StopAsyncIteration,
                Builtin::TimeoutError => ffi::PyExc_TimeoutError,
                Builtin::StopIteration => ffi::PyExc_StopIteration,
                Builtin::SystemError => ffi::PyExc_SystemError,
                Builtin::TypeError => ffi::PyExc_TypeError,
                Builtin::ValueError => ffi::PyExc_ValueError,
                Builtin::KeyboardInterrupt => ffi::PyExc_KeyboardInterrupt,
                Builtin::SystemExit => ffi::PyExc_SystemExit,
            })
        }
    }
}

/// Raises `kind(message)`.
#[cold]
pub(crate) fn raise(kind: &Any, message: &str) -> Raised {
    if let Ok(text) = super::value::string(message) {
        // SAFETY: both are live; the indicator takes its own references.
        unsafe { ffi::PyErr_SetObject(kind.as_ptr(), text.as_ptr()) }
    }
    Raised
}

#[cold]
pub(crate) fn type_error(message: &str) -> Raised {
    raise(Builtin::TypeError.get(), message)
}

#[cold]
pub(crate) fn runtime_error(message: &str) -> Raised {
    raise(Builtin::RuntimeError.get(), message)
}

/// Raises the operating system's error as the `OSError` subclass that fits it.
#[cold]
pub(crate) fn os_error(error: &std::io::Error) -> Raised {
    let (code, text) = (error.raw_os_error().unwrap_or(0), error.to_string());
    // "File exists (os error 17)": Python appends no such tail.
    let text = text.split(" (os error").next().unwrap_or("").to_owned();
    let args = match (super::value::int(i64::from(code)), super::value::string(&text)) {
        (Ok(code), Ok(text)) => [code, text],
        _ => return Raised,
    };
    // SAFETY: OSError is static; `call` checks the rest.
    let kind = unsafe { Any::from_ptr(ffi::PyExc_OSError) };
    if let Ok(error) = kind.call(&[&args[0], &args[1]]) {
        restore(error);
    }
    Raised
}

/// Raises this exception object.
#[inline]
pub(crate) fn restore(exception: Own<Any>) -> Raised {
    #[cfg(Py_3_12)]
    // SAFETY: the indicator takes over our reference to an exception instance.
    unsafe {
        ffi::PyErr_SetRaisedException(exception.into_ptr());
    }
    #[cfg(not(Py_3_12))]
    // SAFETY: PyErr_Restore takes over all three references; the traceback may be null.
    unsafe {
        let kind = exception.type_ptr() as Ptr;
        ffi::Py_INCREF(kind);
        let traceback = ffi::PyException_GetTraceback(exception.as_ptr());
        ffi::PyErr_Restore(kind, exception.into_ptr(), traceback);
    }
    Raised
}

/// Raises this exception object as a `raise` statement would: what is being handled becomes its
/// `__context__`.
pub(crate) fn raise_instance(exception: &Any) -> Raised {
    // SAFETY: a live exception instance and its type; the indicator takes its own references.
    unsafe { ffi::PyErr_SetObject(exception.type_ptr().cast(), exception.as_ptr()) }
    Raised
}

/// `raise kind`.
#[cold]
pub(crate) fn raise_bare(kind: &Any) -> Raised {
    // SAFETY: a live exception class.
    unsafe { ffi::PyErr_SetNone(kind.as_ptr()) }
    Raised
}

/// Takes the exception that is set, as an object with its traceback; `None` if none is.
pub(crate) fn take() -> Option<Own<Any>> {
    #[cfg(Py_3_12)]
    // SAFETY: returns a new reference or null.
    unsafe {
        Own::from_new(ffi::PyErr_GetRaisedException())
    }
    #[cfg(not(Py_3_12))]
    // SAFETY: Fetch hands over three references, of which we keep the normalised value.
    unsafe {
        let (mut kind, mut value, mut traceback) =
            (std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut());
        ffi::PyErr_Fetch(&mut kind, &mut value, &mut traceback);
        if kind.is_null() {
            return None;
        }
        ffi::PyErr_NormalizeException(&mut kind, &mut value, &mut traceback);
        if !traceback.is_null() && !value.is_null() {
            ffi::PyException_SetTraceback(value, traceback);
        }
        ffi::Py_XDECREF(traceback);
        ffi::Py_XDECREF(kind);
        Own::from_new(value)
    }
}

/// The exception of a call that just failed. A call that failed without one gets a SystemError.
pub(crate) fn fetch(_: Raised) -> Own<Any> {
    take().unwrap_or_else(|| {
        raise(Builtin::SystemError.get(), "a call failed without setting an exception");
        take().expect("an exception was just set")
    })
}

/// Whether an exception is set.
#[inline]
pub(crate) fn occurred() -> bool {
    // SAFETY: a look at the thread state.
    !unsafe { ffi::PyErr_Occurred() }.is_null()
}

/// Drops the exception of a failed call.
pub(crate) fn discard(_: Raised) {
    // SAFETY: clears the indicator.
    unsafe { ffi::PyErr_Clear() }
}

/// Reports an exception that cannot be raised, as `sys.unraisablehook`.
#[cold]
pub(crate) fn unraisable(_: Raised, context: &Any) {
    // SAFETY: consumes the indicator.
    unsafe { ffi::PyErr_WriteUnraisable(context.as_ptr()) }
}

/// Whether `exception` (an instance) is of this kind.
#[inline]
pub(crate) fn is_kind(exception: &Any, kind: &Any) -> bool {
    // SAFETY: both are live objects.
    unsafe { ffi::PyErr_GivenExceptionMatches(exception.as_ptr(), kind.as_ptr()) != 0 }
}

/// KeyboardInterrupt and SystemExit leave the loop at once.
pub(crate) fn is_fatal(exception: &Any) -> bool {
    is_kind(exception, Builtin::SystemExit.get())
        || is_kind(exception, Builtin::KeyboardInterrupt.get())
}

/// Runs pending signal handlers; their exception is ours.
#[inline]
pub(crate) fn check_signals() -> Res<()> {
    // SAFETY: called with the GIL held, between other calls.
    if unsafe { ffi::PyErr_CheckSignals() } == 0 { Ok(()) } else { Err(Raised) }
}

/// Keeps a pending exception safe while cleanup runs Python code, then puts it back.
pub(crate) fn preserving<T>(f: impl FnOnce() -> T) -> T {
    let pending = take();
    let result = f();
    if let Some(pending) = pending {
        restore(pending);
    }
    result
}

/// Issues a RuntimeWarning, which a filter may turn into an exception.
#[cold]
pub(crate) fn warn_runtime(text: &std::ffi::CStr) -> Res<()> {
    // SAFETY: a static category and a text that ends in NUL.
    match unsafe { ffi::PyErr_WarnEx(ffi::PyExc_RuntimeWarning, text.as_ptr(), 1) } {
        0 => Ok(()),
        _ => Err(Raised),
    }
}

/// Issues a ResourceWarning about `source`, which a filter may turn into an exception.
#[cold]
pub(crate) fn warn_resource(source: &Any, text: &str) -> Res<()> {
    let Ok(text) = std::ffi::CString::new(text) else { return Ok(()) };
    // SAFETY: a live object, and texts that end in NUL and are used as format and its argument.
    match unsafe { ffi::PyErr_ResourceWarning(source.as_ptr(), 1, c"%s".as_ptr(), text.as_ptr()) } {
        0 => Ok(()),
        _ => Err(Raised),
    }
}

/// Warns of a coroutine that was never awaited, in the words that are its name's.
#[cold]
pub(crate) fn warn_never_awaited(text: &str) -> Res<()> {
    match std::ffi::CString::new(text) {
        Ok(text) => warn_runtime(&text),
        Err(_) => Ok(()),
    }
}

/// Issues a DeprecationWarning, which a filter may turn into an exception.
#[cold]
pub(crate) fn warn_deprecated(text: &std::ffi::CStr) -> Res<()> {
    // SAFETY: a static category and a text that ends in NUL.
    match unsafe { ffi::PyErr_WarnEx(ffi::PyExc_DeprecationWarning, text.as_ptr(), 1) } {
        0 => Ok(()),
        _ => Err(Raised),
    }
}

/// Whether the pending exception is of one of these kinds.
pub(crate) fn pending_is_any(kinds: &[Builtin]) -> bool {
    // SAFETY: looks at the indicator; the kinds are static.
    kinds.iter().any(|kind| unsafe { ffi::PyErr_ExceptionMatches(kind.get().as_ptr()) != 0 })
}
