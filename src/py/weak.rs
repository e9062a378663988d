//! Weak references, as the `weakref` module has them.

use pyo3_ffi as ffi;

use super::error::{Raised, Res, checked};
use super::object::{Any, AsObject, Own};

/// `weakref.ref(object)`.
pub(crate) fn reference(object: &Any) -> Res {
    // SAFETY: a live object; no callback.
    unsafe { checked(ffi::PyWeakref_NewRef(object.as_ptr(), std::ptr::null_mut())) }
}

/// `weakref.ref(object, callback)`; a TypeError for objects that cannot have one.
pub(crate) fn reference_with(object: &Any, callback: &Any) -> Res {
    // SAFETY: two live objects.
    unsafe { checked(ffi::PyWeakref_NewRef(object.as_ptr(), callback.as_ptr())) }
}

/// `reference()`, for a weak reference; for anything else that stands in its place, a call.
#[inline]
pub(crate) fn referent(reference: &Any) -> Res<Option<Own<Any>>> {
    // SAFETY: the type is checked before the object is used as a weak reference; what is found is
    // a new reference or null.
    unsafe {
        if ffi::PyWeakref_CheckRef(reference.as_ptr()) == 0 {
            return reference.call(&[]).map(|found| Some(found).filter(|found| !found.is_none()));
        }
        let mut found = std::ptr::null_mut();
        match ffi::compat::PyWeakref_GetRef(reference.as_ptr(), &mut found) {
            -1 => Err(Raised),
            _ => Ok(Own::from_new(found)),
        }
    }
}
