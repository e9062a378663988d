//! Weak references, as the `weakref` module has them.

use pyo3_ffi as ffi;

use super::error::{Res, checked};
use super::object::{Any, AsObject};

/// `weakref.ref(object, callback)`; a TypeError for objects that cannot have one.
pub(crate) fn reference_with(object: &Any, callback: &Any) -> Res {
    // SAFETY: two live objects.
    unsafe { checked(ffi::PyWeakref_NewRef(object.as_ptr(), callback.as_ptr())) }
}
