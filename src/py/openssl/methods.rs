//! Methods of `_ssl`'s own objects on memory that is not Python's.
//!
//! They read or fill the memory during the call and keep no view of it: they are C functions that
//! take a buffer. A Python method might keep one, so this is for objects of `_ssl` only.

use std::mem::MaybeUninit;

use pyo3_ffi as ffi;

use crate::py::error::{Res, checked};
use crate::py::{Any, AsObject, Own, names, value};

/// Lengths are C ints there.
const LARGEST: usize = 1 << 30;

fn count(answer: &Any) -> Res<usize> {
    value::as_int(answer).map(|count| usize::try_from(count).unwrap_or(0))
}

/// A memoryview of memory that outlives the call it is made for.
///
/// # Safety
/// Nobody keeps the view longer than the memory is there.
unsafe fn view(start: *const u8, len: usize, flags: std::ffi::c_int) -> Res {
    // SAFETY: the caller's promise.
    unsafe { checked(ffi::PyMemoryView_FromMemory(start.cast_mut().cast(), len as isize, flags)) }
}

fn drop_view(view: Own<Any>) {
    debug_assert_eq!(view.refcount(), 1, "somebody keeps a view of borrowed memory");
    drop(view);
}

/// `object.read(len(space), space)`, for an `_ssl._SSLSocket`.
pub(crate) fn read_into(object: &Any, space: &mut [MaybeUninit<u8>]) -> Res<usize> {
    let len = space.len().min(LARGEST);
    // SAFETY: `_ssl` writes into the view, and lets go of it before it returns.
    let space = unsafe { view(space.as_ptr().cast(), len, ffi::PyBUF_WRITE)? };
    let answer = object.call_method(&names::READ, &[&*value::int(len as i64)?, &space]);
    drop_view(space);
    count(&*answer?)
}

/// `object.write(data)`, for an `_ssl._SSLSocket`.
pub(crate) fn write_from(object: &Any, data: &[u8]) -> Res<usize> {
    // SAFETY: `_ssl` reads the view, and lets go of it before it returns.
    let data = unsafe { view(data.as_ptr(), data.len().min(LARGEST), ffi::PyBUF_READ)? };
    let answer = object.call_method(&names::WRITE, &[&data]);
    drop_view(data);
    count(&*answer?)
}

/// `bio.write(data)`, for an `_ssl.MemoryBIO`, which takes all.
pub(crate) fn write_to_bio(bio: &Any, data: &[u8]) -> Res<()> {
    for data in data.chunks(LARGEST) {
        write_from(bio, data)?;
    }
    Ok(())
}
