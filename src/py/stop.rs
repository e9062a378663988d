//! StopIteration without an allocation.
//!
//! An awaitable that is its own iterator must give its result through StopIteration (the SEND
//! opcode of 3.12 and later asks only generators by `am_send`). Building one costs 26 to 58 ns,
//! which is more than the rest of an await. So a subclass of StopIteration, whose dead objects
//! live again, carries our results: 6 to 7 ns. The interpreter reads the value and drops the
//! exception at once. Who catches it by hand sees a StopIteration: same name, same `__class__`,
//! `args`, `str`, `repr` and pickle are those of `StopIteration(value)`.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::ptr::{addr_of_mut, null_mut};
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3_ffi as ffi;

use super::error::{Builtin, Raised, Res, checked, restore};
use super::object::{Any, AsObject, Own, Ptr};
use super::value;

static TYPE: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(null_mut());

struct Free(UnsafeCell<Vec<Ptr>>);
// SAFETY: touched only with the GIL held, in two places that run no Python code meanwhile.
unsafe impl Sync for Free {}
static FREE: Free = Free(UnsafeCell::new(Vec::new()));

/// More than one lives at a time only where somebody keeps them.
const LIMIT: usize = 16;

/// Raises StopIteration(result); for None nothing, which in `tp_iternext` means the same.
#[inline]
pub(crate) fn finish(result: Own<Any>) -> Res<Option<Own<Any>>> {
    if result.is_none() {
        return Ok(None);
    }
    // SAFETY: see `Free`.
    let free = unsafe { (*FREE.0.get()).pop() };
    let exception = match free {
        // SAFETY: a dead object of our type that kept its reference to the type.
        Some(ptr) => unsafe { revive(ptr) },
        None => make()?,
    };
    // SAFETY: laid out as StopIteration, alive, and ours alone until it is raised.
    unsafe {
        let object = exception.as_ptr().cast::<ffi::PyStopIterationObject>();
        let old = std::mem::replace(&mut (*object).value, result.into_ptr());
        ffi::Py_XDECREF(old);
        ffi::PyObject_GC_Track(exception.as_ptr().cast());
    }
    Err(restore(exception))
}

/// Raises a plain StopIteration(result), for callers in Python.
pub(crate) fn finish_plain(result: Own<Any>) -> Raised {
    match Builtin::StopIteration.get().call(&[&result]) {
        Ok(exception) => restore(exception),
        Err(raised) => raised,
    }
}

unsafe fn revive(ptr: Ptr) -> Own<Any> {
    #[cfg(not(py_sys_config = "Py_REF_DEBUG"))]
    // SAFETY: the count is the first word of the header in every build that has a GIL.
    unsafe {
        ptr.cast::<isize>().write(1);
    }
    #[cfg(py_sys_config = "Py_REF_DEBUG")]
    // SAFETY: PyObject_Init counts the revival and takes a second reference to the type.
    unsafe {
        let kind = TYPE.load(Ordering::Relaxed);
        ffi::PyObject_Init(ptr, kind);
        ffi::Py_DECREF(kind.cast());
    }
    // SAFETY: alive again with one reference, which is ours.
    unsafe { Any::from_ptr(ptr).own_without_count() }
}

impl Any {
    /// # Safety
    /// One reference belongs to the caller and is given to the result.
    unsafe fn own_without_count(&self) -> Own<Any> {
        // SAFETY: the caller's promise; a reference is not null.
        unsafe { Own::from_new(self.as_ptr()).unwrap_unchecked() }
    }
}

#[cold]
fn make() -> Res {
    // SAFETY: our type lives for ever; a fresh exception is tracked, and we track it ourselves.
    unsafe {
        let exception = Any::from_ptr(TYPE.load(Ordering::Relaxed).cast()).call(&[])?;
        ffi::PyObject_GC_UnTrack(exception.as_ptr().cast());
        Ok(exception)
    }
}

unsafe extern "C" fn dealloc(ptr: Ptr) {
    // SAFETY: called once on a dead object of our type. Fields are emptied before their content
    // is dropped; what is dropped may run code, which cannot reach this object any more.
    unsafe {
        ffi::PyObject_GC_UnTrack(ptr.cast());
        let object = ptr.cast::<ffi::PyStopIterationObject>();
        for field in [
            addr_of_mut!((*object).value),
            addr_of_mut!((*object).dict),
            addr_of_mut!((*object).notes),
            addr_of_mut!((*object).traceback),
            addr_of_mut!((*object).context),
            addr_of_mut!((*object).cause),
        ] {
            let held = std::mem::replace(&mut *field, null_mut());
            ffi::Py_XDECREF(held);
        }
        // One byte in C, whatever the binding calls it.
        addr_of_mut!((*object).suppress_context).cast::<u8>().write(0);
        let free = &mut *FREE.0.get();
        if free.len() < LIMIT {
            free.push(ptr);
            return;
        }
        let kind = ffi::Py_TYPE(ptr);
        let args = std::mem::replace(&mut (*object).args, null_mut());
        ffi::Py_XDECREF(args);
        if let Some(release) = (*kind).tp_free {
            release(ptr.cast());
        }
        ffi::Py_DECREF(kind.cast());
    }
}

/// What the interpreter would have raised in our place.
unsafe fn plain(ptr: Ptr) -> Res {
    // SAFETY: called on a live instance.
    let result = unsafe { value::stop_iteration_value(Any::from_ptr(ptr)) };
    Builtin::StopIteration.get().call(&[&result])
}

fn give(result: Res) -> Ptr {
    result.map_or(null_mut(), Own::into_ptr)
}

unsafe extern "C" fn repr(ptr: Ptr) -> Ptr {
    // SAFETY: a live instance, and a live exception made from it.
    unsafe { give(plain(ptr).and_then(|plain| checked(ffi::PyObject_Repr(plain.as_ptr())))) }
}

unsafe extern "C" fn str(ptr: Ptr) -> Ptr {
    // SAFETY: a live instance, and a live exception made from it.
    unsafe { give(plain(ptr).and_then(|plain| checked(ffi::PyObject_Str(plain.as_ptr())))) }
}

unsafe extern "C" fn args(ptr: Ptr, _: *mut c_void) -> Ptr {
    // SAFETY: called on a live instance.
    let result = unsafe { value::stop_iteration_value(Any::from_ptr(ptr)) };
    give(value::tuple(&[&result]))
}

unsafe extern "C" fn class(_: Ptr, _: *mut c_void) -> Ptr {
    Builtin::StopIteration.get().own().into_ptr()
}

unsafe extern "C" fn reduce(ptr: Ptr, _: Ptr) -> Ptr {
    // SAFETY: a live instance, and a live exception made from it.
    unsafe {
        give(plain(ptr).and_then(|plain| {
            checked(ffi::PyObject_CallMethod(
                plain.as_ptr(),
                c"__reduce__".as_ptr(),
                std::ptr::null(),
            ))
        }))
    }
}

/// Makes the type; once, when the module is initialised.
pub(super) fn build() -> Res<()> {
    let attribute = |name: &'static std::ffi::CStr, get| ffi::PyGetSetDef {
        name: name.as_ptr(),
        get: Some(get),
        set: None,
        doc: std::ptr::null(),
        closure: null_mut(),
    };
    // SAFETY: the tables are complete, end in zeroes, and live for ever.
    unsafe {
        let attributes =
            vec![attribute(c"args", args), attribute(c"__class__", class), std::mem::zeroed()];
        let methods = vec![
            ffi::PyMethodDef {
                ml_name: c"__reduce__".as_ptr(),
                ml_meth: ffi::PyMethodDefPointer { PyCFunction: reduce },
                ml_flags: ffi::METH_NOARGS,
                ml_doc: std::ptr::null(),
            },
            ffi::PyMethodDef::zeroed(),
        ];
        let slot = |slot, pfunc| ffi::PyType_Slot { slot, pfunc };
        let mut slots = [
            slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
            slot(ffi::Py_tp_repr, repr as *mut c_void),
            slot(ffi::Py_tp_str, str as *mut c_void),
            slot(ffi::Py_tp_getset, attributes.leak().as_mut_ptr().cast()),
            slot(ffi::Py_tp_methods, methods.leak().as_mut_ptr().cast()),
            slot(0, null_mut()),
        ];
        let mut spec = ffi::PyType_Spec {
            name: c"builtins.StopIteration".as_ptr(),
            basicsize: 0,
            itemsize: 0,
            flags: ffi::Py_TPFLAGS_DEFAULT as std::ffi::c_uint,
            slots: slots.as_mut_ptr(),
        };
        let made = checked(ffi::PyType_FromSpecWithBases(
            &mut spec,
            Builtin::StopIteration.get().as_ptr(),
        ))?;
        TYPE.store(made.into_ptr().cast(), Ordering::Relaxed);
    }
    Ok(())
}
