//! The C entry points behind native types: one instance of each for every Rust function.
//!
//! A function item has a type of its own and no size, so an entry point can be generic over it and
//! call it without storing it: no macro, no table of pointers, and the compiler inlines the Rust
//! function into its C face. Each entry point turns a panic into a Python exception.

use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3_ffi as ffi;

use super::args::Args;
use super::class::Class;
use super::error::{Builtin, Raised, Res, checked, raise};
use super::memory;
use super::object::{Any, AsObject, Layout, Object, Own, Ptr, Stop, Visitor};
use super::value;

/// What a native function may return.
pub(crate) trait Return {
    fn into_res(self) -> Res;
}
impl<T: Layout> Return for Own<T> {
    fn into_res(self) -> Res {
        Ok(self.into_any())
    }
}
impl Return for () {
    fn into_res(self) -> Res {
        Ok(value::none())
    }
}
impl Return for bool {
    fn into_res(self) -> Res {
        Ok(value::boolean(self))
    }
}
impl Return for f64 {
    fn into_res(self) -> Res {
        value::float(self)
    }
}
impl Return for i64 {
    fn into_res(self) -> Res {
        value::int(self)
    }
}
impl Return for String {
    fn into_res(self) -> Res {
        value::string(&self)
    }
}
impl<R: Return> Return for Option<R> {
    fn into_res(self) -> Res {
        self.map_or_else(|| Ok(value::none()), R::into_res)
    }
}
impl<R: Return> Return for Res<R> {
    #[inline(always)]
    fn into_res(self) -> Res {
        self.and_then(R::into_res)
    }
}

/// Calls `f` and gives its result to the C API; a panic becomes a SystemError.
#[inline(always)]
pub(super) fn guard<R: Return>(f: impl FnOnce() -> R) -> Ptr {
    match catch_unwind(AssertUnwindSafe(|| f().into_res())) {
        Ok(Ok(object)) => object.into_ptr(),
        Ok(Err(Raised)) => std::ptr::null_mut(),
        Err(panic) => {
            raise_panic(panic);
            std::ptr::null_mut()
        }
    }
}

#[cold]
fn raise_panic(panic: Box<dyn std::any::Any + Send>) {
    let what = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    raise(
        Builtin::SystemError.get(),
        &format!("aioxide met a bug of its own, please report it: {what}"),
    );
}

/// A function that has no captures can be called by its type alone.
#[inline(always)]
pub(crate) fn conjure<F: Copy>() -> F {
    const { assert!(size_of::<F>() == 0, "native functions cannot capture") };
    // SAFETY: a value without size can be read from any aligned address.
    unsafe { *std::ptr::NonNull::<F>::dangling().as_ref() }
}

/// # Safety
/// `ptr` is an instance of `S`'s type or of a subclass, alive for the call.
#[inline(always)]
unsafe fn borrow<'a, S>(ptr: Ptr) -> &'a Object<S> {
    // SAFETY: the caller's promise.
    unsafe { &*ptr.cast::<Object<S>>() }
}

pub(super) unsafe extern "C" fn noargs<S, R: Return, F: Fn(&Object<S>) -> R + Copy>(
    this: Ptr,
    _: Ptr,
) -> Ptr {
    // SAFETY: method descriptors check the type of self.
    guard(|| conjure::<F>()(unsafe { borrow::<S>(this) }))
}

pub(super) unsafe extern "C" fn one<S, R: Return, F: Fn(&Object<S>, &Any) -> R + Copy>(
    this: Ptr,
    arg: Ptr,
) -> Ptr {
    // SAFETY: method descriptors check the type of self; the argument is borrowed for the call.
    guard(|| unsafe { conjure::<F>()(borrow::<S>(this), Any::from_ptr(arg)) })
}

pub(super) unsafe extern "C" fn fast<S, R: Return, F: Fn(&Object<S>, Args<'_>) -> R + Copy>(
    this: Ptr,
    args: *const Ptr,
    count: isize,
    names: Ptr,
) -> Ptr {
    // SAFETY: as above, for the convention METH_FASTCALL | METH_KEYWORDS.
    guard(|| unsafe { conjure::<F>()(borrow::<S>(this), Args::fast(args, count, names)) })
}

pub(super) unsafe extern "C" fn get<S, R: Return, F: Fn(&Object<S>) -> R + Copy>(
    this: Ptr,
    _: *mut c_void,
) -> Ptr {
    // SAFETY: getset descriptors check the type of self.
    guard(|| conjure::<F>()(unsafe { borrow::<S>(this) }))
}

pub(super) unsafe extern "C" fn set<S, F: Fn(&Object<S>, &Any) -> Res<()> + Copy>(
    this: Ptr,
    value: Ptr,
    _: *mut c_void,
) -> c_int {
    if value.is_null() {
        raise(Builtin::AttributeError.get(), "cannot delete attribute");
        return -1;
    }
    // SAFETY: getset descriptors check the type of self.
    let done = guard(|| unsafe { conjure::<F>()(borrow::<S>(this), Any::from_ptr(value)) });
    finish(done)
}

pub(super) fn finish(done: Ptr) -> c_int {
    // SAFETY: a new reference or null, from `guard`.
    match unsafe { checked(done) } {
        Ok(_) => 0,
        Err(Raised) => -1,
    }
}

pub(super) unsafe extern "C" fn unary<S, R: Return, F: Fn(&Object<S>) -> R + Copy>(
    this: Ptr,
) -> Ptr {
    // SAFETY: slots are called with an instance of the type.
    guard(|| conjure::<F>()(unsafe { borrow::<S>(this) }))
}

/// `tp_iternext`: `Ok(None)` is the end without a value, which needs no exception.
pub(super) unsafe extern "C" fn next<S, F: Fn(&Object<S>) -> Res<Option<Own<Any>>> + Copy>(
    this: Ptr,
) -> Ptr {
    // SAFETY: slots are called with an instance of the type.
    match catch_unwind(AssertUnwindSafe(|| conjure::<F>()(unsafe { borrow::<S>(this) }))) {
        Ok(Ok(Some(object))) => object.into_ptr(),
        Ok(_) => std::ptr::null_mut(),
        Err(panic) => {
            raise_panic(panic);
            std::ptr::null_mut()
        }
    }
}

pub(super) unsafe extern "C" fn send<S, F: Fn(&Object<S>) -> Res<super::Sent> + Copy>(
    this: Ptr,
    _: Ptr,
    out: *mut Ptr,
) -> ffi::PySendResult {
    // SAFETY: slots are called with an instance of the type; `out` is the caller's.
    unsafe {
        match catch_unwind(AssertUnwindSafe(|| conjure::<F>()(borrow::<S>(this)))) {
            Ok(Ok(super::Sent::Yielded(object))) => {
                *out = object.into_ptr();
                ffi::PySendResult::PYGEN_NEXT
            }
            Ok(Ok(super::Sent::Returned(object))) => {
                *out = object.into_ptr();
                ffi::PySendResult::PYGEN_RETURN
            }
            failed => {
                if let Err(panic) = failed {
                    raise_panic(panic);
                }
                *out = std::ptr::null_mut();
                ffi::PySendResult::PYGEN_ERROR
            }
        }
    }
}

pub(super) unsafe extern "C" fn new<S: Class, F: Fn() -> S + Copy>(
    kind: *mut ffi::PyTypeObject,
    _: Ptr,
    _: Ptr,
) -> Ptr {
    // SAFETY: tp_new is inherited, so `kind` is our type or a subclass.
    guard(|| unsafe { memory::create_subclass::<S>(kind, conjure::<F>()()) })
}

pub(super) unsafe extern "C" fn init<S, F: Fn(&Object<S>, Args<'_>) -> Res<()> + Copy>(
    this: Ptr,
    args: Ptr,
    keywords: Ptr,
) -> c_int {
    // SAFETY: slots are called with an instance of the type; args is a tuple, keywords a dict.
    finish(guard(|| unsafe { conjure::<F>()(borrow::<S>(this), Args::slot(args, keywords)) }))
}

pub(super) unsafe extern "C" fn compare<S, F>(this: Ptr, other: Ptr, operation: c_int) -> Ptr
where
    F: Fn(&Object<S>, &Any, c_int) -> Res<Option<bool>> + Copy,
{
    guard(|| {
        // SAFETY: slots are called with an instance of the type, and a live object.
        let answer = unsafe { conjure::<F>()(borrow::<S>(this), Any::from_ptr(other), operation) };
        answer.map(|answer| match answer {
            Some(truth) => value::boolean(truth),
            // SAFETY: NotImplemented lives for ever.
            None => unsafe { Any::from_ptr(ffi::Py_NotImplemented()) }.own(),
        })
    })
}

pub(super) unsafe extern "C" fn hash<S, F: Fn(&Object<S>) -> isize + Copy>(
    this: Ptr,
) -> ffi::Py_hash_t {
    // SAFETY: slots are called with an instance of the type.
    let hash = conjure::<F>()(unsafe { borrow::<S>(this) });
    if hash == -1 { -2 } else { hash }
}

pub(super) unsafe extern "C" fn traverse<S: Class>(
    this: Ptr,
    visit: ffi::visitproc,
    arg: *mut c_void,
) -> c_int {
    let visitor = Visitor { visit, arg };
    // SAFETY: the collector calls with a live instance. Instances of heap types own their type.
    unsafe {
        if let Err(Stop(code)) = visitor.raw(ffi::Py_TYPE(this).cast()) {
            return code;
        }
        match S::traverse(borrow::<S>(this), &visitor) {
            Ok(()) => 0,
            Err(Stop(code)) => code,
        }
    }
}

pub(super) unsafe extern "C" fn clear<S: Class>(this: Ptr) -> c_int {
    // SAFETY: the collector calls with a live instance.
    S::clear(unsafe { borrow::<S>(this) });
    0
}

pub(super) unsafe extern "C" fn finalize<S: Class>(this: Ptr) {
    // SAFETY: called with a live instance; whatever exception is pending stays pending.
    super::error::preserving(|| {
        finish(guard(|| {
            // SAFETY: as above.
            let object = unsafe { borrow::<S>(this) };
            object.mark_finalized();
            S::finalize(object);
        }));
    });
}

/// Setting an attribute can close a cycle through the instance dict, so it tracks first.
pub(super) unsafe extern "C" fn tracking_setattr<S: Class>(
    this: Ptr,
    name: Ptr,
    value: Ptr,
) -> c_int {
    // SAFETY: called with a live instance.
    unsafe {
        memory::track(borrow::<S>(this));
        ffi::PyObject_GenericSetAttr(this, name, value)
    }
}

pub(super) unsafe extern "C" fn tracking_dict<S: Class>(this: Ptr, _: *mut c_void) -> Ptr {
    // SAFETY: called with a live instance that has a dict.
    unsafe {
        memory::track(borrow::<S>(this));
        ffi::PyObject_GenericGetDict(this, std::ptr::null_mut())
    }
}

/// `tp_getattro` with somebody to ask for what is not there.
pub(super) unsafe extern "C" fn getattro<S, F>(this: Ptr, name: Ptr) -> Ptr
where
    F: Fn(&Object<S>, &Any) -> Res<Option<Own<Any>>> + Copy,
{
    guard(|| {
        // SAFETY: slots are called with an instance of the type and a str.
        let (object, name) = unsafe { (borrow::<S>(this), Any::from_ptr(name)) };
        // SAFETY: as above.
        let found = unsafe { checked(ffi::PyObject_GenericGetAttr(this, name.as_ptr())) };
        found.or_else(|raised| {
            if !super::error::pending_is_any(&[Builtin::AttributeError]) {
                return Err(raised);
            }
            let missing = super::error::fetch(raised);
            match conjure::<F>()(object, name)? {
                Some(value) => Ok(value),
                None => Err(super::error::restore(missing)),
            }
        })
    })
}

/// `tp_setattro` with somebody to ask first.
pub(super) unsafe extern "C" fn setattro<S, F>(this: Ptr, name: Ptr, value: Ptr) -> c_int
where
    F: Fn(&Object<S>, &Any, &Any) -> Res<bool> + Copy,
{
    finish(guard(|| {
        if !value.is_null() {
            // SAFETY: slots are called with an instance of the type, a str and a value.
            let taken = unsafe {
                conjure::<F>()(borrow::<S>(this), Any::from_ptr(name), Any::from_ptr(value))?
            };
            if taken {
                return Ok(());
            }
        }
        // SAFETY: as above; a null value deletes.
        match unsafe { ffi::PyObject_GenericSetAttr(this, name, value) } {
            0 => Ok(()),
            _ => Err(Raised),
        }
    }))
}

pub(super) unsafe extern "C" fn generic_alias(class: Ptr, item: Ptr) -> Ptr {
    // SAFETY: a class method with one argument.
    unsafe { ffi::Py_GenericAlias(class, item) }
}
