//! Bytes and buffers: where received data goes to and sent data comes from.
//!
//! A bytes object that was received or sent and that nobody else holds any more is kept, one small
//! and one large, to be received into again: above 512 bytes each costs a `malloc` and a `free`,
//! which at 1 KiB is a fifth of what a packet costs outside the kernel.

use std::cell::Cell;
use std::ffi::c_int;
use std::mem::MaybeUninit;

use pyo3_ffi as ffi;

use super::error::{Raised, Res, checked};
use super::object::{Any, AsObject, Own, Ptr};

/// Below this a bytes object comes from the interpreter's own free lists.
const SMALLEST_SPARE: usize = 512;
/// From here on a spare counts as large.
const LARGE_SPARE: usize = 16 * 1024;
const LARGEST_SPARE: usize = 512 * 1024;

/// One bytes object with no other owner.
struct Spare(Cell<Option<Own<Any>>>);

// SAFETY: only touched with the GIL held, each time for one move that runs no code.
unsafe impl Sync for Spare {}

static SMALL: Spare = Spare(Cell::new(None));
static LARGE: Spare = Spare(Cell::new(None));

fn spare_for(len: usize) -> Option<&'static Spare> {
    match len {
        SMALLEST_SPARE..LARGE_SPARE => Some(&SMALL),
        LARGE_SPARE..=LARGEST_SPARE => Some(&LARGE),
        _ => None,
    }
}

/// Whether an object with room for `room` may be one of `len` without wasting much.
fn fits(len: usize, room: usize) -> bool {
    len <= room && len >= room - room / 8
}

/// Gives up bytes that were received or sent. If this was the last owner they are kept for
/// `bytes` and `NewBytes`.
#[inline]
pub(crate) fn recycle(object: Own<Any>) {
    if object.refcount() == 1
        && is_exact_bytes(&object)
        && let Some(spare) = spare_for(bytes_of(&object).len())
    {
        spare.0.set(Some(object));
    }
}

/// A spare object of `room` bytes or slightly more.
#[inline]
fn take_spare(room: usize) -> Option<Own<Any>> {
    let spare = spare_for(room)?;
    let object = spare.0.take()?;
    if fits(room, bytes_of(&object).len()) {
        return Some(object);
    }
    spare.0.set(Some(object));
    None
}

/// Makes a bytes object shorter without giving memory back.
///
/// # Safety
/// Nobody else has the object, and it has at least `len` bytes.
#[allow(deprecated)] // The remembered hash: public by accident, and to be reset with the content.
unsafe fn cut(object: &Any, len: usize) {
    // SAFETY: the caller's promise; the fields are those of every bytes object, and the byte after
    // the last is part of it.
    unsafe {
        let object = object.as_ptr().cast::<ffi::PyBytesObject>();
        (*object).ob_base.ob_size = len as isize;
        (*object).ob_shash = -1;
        (&raw mut (*object).ob_sval).cast::<u8>().add(len).write(0);
    }
}

/// A new bytes object with a copy of `data`.
#[inline]
pub(crate) fn bytes(data: &[u8]) -> Res {
    if let Some(spare) = take_spare(data.len()) {
        // SAFETY: ours alone, and long enough (`take_spare`).
        unsafe {
            cut(&spare, data.len());
            let start = ffi::PyBytes_AS_STRING(spare.as_ptr()).cast_mut().cast::<u8>();
            start.copy_from_nonoverlapping(data.as_ptr(), data.len());
        }
        return Ok(spare);
    }
    // SAFETY: pointer and length belong together.
    unsafe { checked(ffi::PyBytes_FromStringAndSize(data.as_ptr().cast(), data.len() as isize)) }
}

/// A new bytes object of both.
pub(crate) fn joined(first: &Any, rest: &[u8]) -> Res {
    let first = bytes_of(first);
    let mut made = NewBytes::with_capacity(first.len() + rest.len())?;
    let space = made.space().as_mut_ptr().cast::<u8>();
    // SAFETY: room for both, in memory of its own; all of it is written.
    unsafe {
        space.copy_from_nonoverlapping(first.as_ptr(), first.len());
        space.add(first.len()).copy_from_nonoverlapping(rest.as_ptr(), rest.len());
        made.finish(first.len() + rest.len())
    }
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

/// The content of a bytes object; `None` for others.
#[inline]
pub(crate) fn bytes_content(object: &Any) -> Option<&[u8]> {
    // SAFETY: a live object.
    let is_bytes = unsafe { ffi::PyBytes_Check(object.as_ptr()) != 0 };
    is_bytes.then(|| bytes_of(object))
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
        if let Some(spare) = take_spare(capacity) {
            // SAFETY: ours alone; the length stays.
            unsafe { cut(&spare, bytes_of(&spare).len()) }
            return Ok(NewBytes(spare));
        }
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
        let room = bytes_of(&self.0).len();
        if fits(len, room) {
            if len < room {
                // SAFETY: ours alone, and long enough.
                unsafe { cut(&self.0, len) }
            }
            return Ok(self.0);
        }
        if len < SMALLEST_SPARE {
            // Copying this little costs less than giving back what it is too large by.
            let copied = bytes(&bytes_of(&self.0)[..len])?;
            recycle(self.0);
            return Ok(copied);
        }
        let mut ptr = self.0.into_ptr();
        // SAFETY: a bytes object with one reference; on failure it is freed and the pointer null.
        unsafe {
            _PyBytes_Resize(&mut ptr, len as isize);
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
