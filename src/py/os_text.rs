//! Text as the operating system has it: names, paths.

use pyo3_ffi as ffi;

use super::error::{Raised, Res, checked};
use super::object::{Any, AsObject, Own};

/// What a str holds, without a copy; `None` for other objects, and for text that is not ASCII.
#[inline]
pub(crate) fn ascii(object: &Any) -> Option<&str> {
    // SAFETY: the type is checked first; the UTF-8 form of a str never changes and lives as long as
    // it does (for ASCII it is the str's own text).
    unsafe {
        if ffi::PyUnicode_Check(object.as_ptr()) == 0 {
            return None;
        }
        let mut len = 0;
        let data = ffi::PyUnicode_AsUTF8AndSize(object.as_ptr(), &mut len);
        if data.is_null() {
            super::error::discard(Raised);
            return None;
        }
        let bytes = std::slice::from_raw_parts(data.cast::<u8>(), len as usize);
        std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii())
    }
}

/// `os.fsencode(text)` of a str; `None` for other objects.
pub(crate) fn encode_path(object: &Any) -> Res<Option<Own<Any>>> {
    // SAFETY: the type is checked first; returns a new bytes object or null.
    unsafe {
        if ffi::PyUnicode_Check(object.as_ptr()) == 0 {
            return Ok(None);
        }
        checked(ffi::PyUnicode_EncodeFSDefault(object.as_ptr())).map(Some)
    }
}

/// `os.fsdecode(content)`.
pub(crate) fn decode_path(content: &[u8]) -> Res {
    // SAFETY: pointer and length belong together; the content is copied.
    unsafe {
        checked(ffi::PyUnicode_DecodeFSDefaultAndSize(
            content.as_ptr().cast(),
            content.len() as isize,
        ))
    }
}
