//! Bytearrays, whose contents anybody may change as soon as Python code runs.

use pyo3_ffi as ffi;

use super::error::{Raised, Res, checked};
use super::object::{Any, AsObject};

/// `bytearray(data)`.
pub(crate) fn new(data: &[u8]) -> Res {
    // SAFETY: pointer and length belong together.
    unsafe {
        checked(ffi::PyByteArray_FromStringAndSize(data.as_ptr().cast(), data.len() as isize))
    }
}

/// `bytearray(object)`.
pub(crate) fn from_object(object: &Any) -> Res {
    // SAFETY: a live object.
    unsafe { checked(ffi::PyByteArray_FromObject(object.as_ptr())) }
}

pub(crate) fn is_bytearray(object: &Any) -> bool {
    // SAFETY: a live object.
    unsafe { ffi::PyByteArray_Check(object.as_ptr()) != 0 }
}

/// Runs `look` on the contents of a bytearray.
///
/// # Safety
/// `array` is a bytearray, and `look` runs no Python code.
pub(crate) unsafe fn look<T>(array: &Any, look: impl FnOnce(&[u8]) -> T) -> T {
    debug_assert!(is_bytearray(array));
    // SAFETY: the caller's promise: nothing changes the contents meanwhile.
    unsafe {
        let data = ffi::PyByteArray_AsString(array.as_ptr()).cast::<u8>();
        let len = ffi::PyByteArray_Size(array.as_ptr()) as usize;
        look(std::slice::from_raw_parts(data, len))
    }
}

/// `array += data`, for a bytearray.
pub(crate) fn extend(array: &Any, data: &[u8]) -> Res<()> {
    debug_assert!(is_bytearray(array));
    // SAFETY: a bytearray, which is made longer first; the new part does not overlap `data`, which
    // is nobody's bytearray.
    unsafe {
        let len = ffi::PyByteArray_Size(array.as_ptr());
        if ffi::PyByteArray_Resize(array.as_ptr(), len + data.len() as isize) != 0 {
            return Err(Raised);
        }
        let end = ffi::PyByteArray_AsString(array.as_ptr()).cast::<u8>().offset(len);
        std::ptr::copy_nonoverlapping(data.as_ptr(), end, data.len());
    }
    Ok(())
}

/// `len(array)`, for a bytearray.
pub(crate) fn len(array: &Any) -> usize {
    debug_assert!(is_bytearray(array));
    // SAFETY: a bytearray.
    unsafe { ffi::PyByteArray_Size(array.as_ptr()) as usize }
}

/// `del sequence[:count]`.
pub(crate) fn delete_front(sequence: &Any, count: usize) -> Res<()> {
    // SAFETY: a live object, which says itself whether it can.
    match unsafe { ffi::PySequence_DelSlice(sequence.as_ptr(), 0, count as isize) } {
        0 => Ok(()),
        _ => Err(Raised),
    }
}
