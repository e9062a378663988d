//! Bytes and buffers: where received data goes to and sent data comes from.

use std::ffi::c_int;
use std::mem::MaybeUninit;

use pyo3_ffi as ffi;

use super::error::{Raised, Res, checked};
use super::object::{Any, AsObject, Own, Ptr};

/// A new bytes object with a copy of `data`.
#[inline]
pub(crate) fn bytes(data: &[u8]) -> Res {
    // SAFETY: pointer and length belong together.
    unsafe { checked(ffi::PyBytes_FromStringAndSize(data.as_ptr().cast(), data.len() as isize)) }
}

#[inline(always)]
pub(crate) fn is_exact_bytes(object: &Any) -> bool {
    // SAFETY: a live object.
    unsafe { ffi::PyBytes_CheckExact(object.as_ptr()) != 0 }
}

/// Whether this is bytes, a bytearray or a memoryview: what transports take.
#[inline]
pub(crate) fn is_bytes_like(object: &Any) -> bool {
    // SAFETY: a live object.
    unsafe {
        ffi::PyBytes_Check(object.as_ptr()) != 0
            || ffi::PyByteArray_Check(object.as_ptr()) != 0
            || ffi::PyMemoryView_Check(object.as_ptr()) != 0
    }
}

/// The content of a bytes object, which never changes.
#[inline(always)]
pub(crate) fn bytes_of(object: &Any) -> &[u8] {
    // SAFETY: bytes (checked in debug builds) have this many bytes at this address while they live.
    unsafe {
        debug_assert!(ffi::PyBytes_Check(object.as_ptr()) != 0);
        let data = ffi::PyBytes_AS_STRING(object.as_ptr()).cast::<u8>();
        std::slice::from_raw_parts(data, ffi::Py_SIZE(object.as_ptr()) as usize)
    }
}

/// A bytes object that nobody has seen yet, to be received into.
pub(crate) struct NewBytes(Own<Any>);

unsafe extern "C" {
    /// Missing from the binding.
    fn _PyBytes_Resize(bytes: *mut Ptr, size: isize) -> c_int;
}

impl NewBytes {
    #[inline]
    pub(crate) fn with_capacity(capacity: usize) -> Res<NewBytes> {
        // SAFETY: null makes the content uninitialised; nobody reads it before `finish`.
        let made =
            unsafe { checked(ffi::PyBytes_FromStringAndSize(std::ptr::null(), capacity as isize)) };
        made.map(NewBytes)
    }

    #[inline]
    pub(crate) fn space(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: the object is ours alone, and this long.
        unsafe {
            let data = ffi::PyBytes_AS_STRING(self.0.as_ptr()).cast_mut().cast();
            std::slice::from_raw_parts_mut(data, ffi::Py_SIZE(self.0.as_ptr()) as usize)
        }
    }

    /// The object, cut to the `len` bytes that were filled.
    ///
    /// # Safety
    /// The first `len` bytes of `space` have been written, and it is no longer than that.
    #[inline]
    pub(crate) unsafe fn finish(self, len: usize) -> Res {
        let mut ptr = self.0.into_ptr();
        // SAFETY: a bytes object with one reference; on failure it is freed and the pointer null.
        unsafe {
            if ffi::Py_SIZE(ptr) as usize != len {
                _PyBytes_Resize(&mut ptr, len as isize);
            }
            checked(ptr)
        }
    }
}

/// A view of some object's memory, held until it is dropped.
pub(crate) struct Buffer(Box<ffi::Py_buffer>);

impl Buffer {
    fn of(object: &Any, flags: c_int) -> Res<Buffer> {
        // SAFETY: an all-zero view is a valid one to fill; a failed request fills nothing.
        unsafe {
            let mut view: Box<ffi::Py_buffer> = Box::new(std::mem::zeroed());
            if ffi::PyObject_GetBuffer(object.as_ptr(), &mut *view, flags) != 0 {
                return Err(Raised);
            }
            Ok(Buffer(view))
        }
    }

    /// The object's bytes, to be read.
    pub(crate) fn readable(object: &Any) -> Res<Buffer> {
        Buffer::of(object, ffi::PyBUF_SIMPLE)
    }

    /// The object's bytes, to be written.
    pub(crate) fn writable(object: &Any) -> Res<Buffer> {
        Buffer::of(object, ffi::PyBUF_WRITABLE)
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.0.len as usize
    }

    /// The bytes as they are now: for a system call or a copy, during which no Python code runs.
    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        if self.0.len == 0 {
            return &[];
        }
        // SAFETY: a simple view is one run of `len` bytes, exported until `drop`.
        unsafe { std::slice::from_raw_parts(self.0.buf.cast(), self.0.len as usize) }
    }

    /// The same, to write into. Only for a buffer from `writable`.
    #[inline]
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        debug_assert_eq!(self.0.readonly, 0);
        if self.0.len == 0 {
            return &mut [];
        }
        // SAFETY: as above, and writable. Other views of the memory are Python's, which does not
        // run while this borrow lasts.
        unsafe { std::slice::from_raw_parts_mut(self.0.buf.cast(), self.0.len as usize) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: the view was filled by `of` and is released once.
        unsafe { ffi::PyBuffer_Release(&mut *self.0) }
    }
}
