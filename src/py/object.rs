//! Owned and borrowed references to Python objects.
//!
//! Two ideas carry the whole extension. A native object is `Object<State>`: CPython's header and,
//! behind it, an ordinary Rust struct whose fields are cells; so `&Object<State>` is a borrowed
//! reference, `Own<Object<State>>` is a strong one, and dropping the state drops what it holds.
//! And nothing here is `Send`: a reference exists only in a thread that holds the GIL, which is
//! what makes the cells sound. PyO3's `Bound` would do for the cold surface, but it knows neither
//! objects that are revived from a freelist nor objects that the collector is told of late.

use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;

use pyo3_ffi as ffi;

use super::class::Class;

/// The C API's view of an object.
pub(crate) type Ptr = *mut ffi::PyObject;

/// Any Python object; seen only behind `&` or [`Own`].
#[repr(transparent)]
pub(crate) struct Any(UnsafeCell<ffi::PyObject>);

/// One of our own objects: the interpreter's header, then our state.
#[repr(C)]
pub(crate) struct Object<S> {
    head: UnsafeCell<ffi::PyObject>,
    state: S,
}

impl<S> Deref for Object<S> {
    type Target = S;
    #[inline(always)]
    fn deref(&self) -> &S {
        &self.state
    }
}

impl<S> Object<S> {
    /// Where the state begins, seen from the header; offsets in type specs build on it.
    pub(super) const STATE_OFFSET: usize = std::mem::offset_of!(Object<S>, state);
}

/// Types that begin with CPython's object header.
///
/// # Safety
/// A pointer to the type must be usable as a `PyObject *`.
pub(crate) unsafe trait Layout {}
// SAFETY: transparent over the header.
unsafe impl Layout for Any {}
// SAFETY: `repr(C)` with the header first.
unsafe impl<S> Layout for Object<S> {}

/// What every borrowed reference can do.
pub(crate) trait AsObject: Layout + Sized {
    #[inline(always)]
    fn as_ptr(&self) -> Ptr {
        self as *const Self as Ptr
    }

    #[inline(always)]
    fn as_any(&self) -> &Any {
        // SAFETY: `Layout` promises that the header comes first.
        unsafe { &*(self as *const Self as *const Any) }
    }

    /// Takes a strong reference of one's own.
    #[inline(always)]
    fn own(&self) -> Own<Self> {
        // SAFETY: a borrowed reference is alive, and the GIL is held (module docs).
        unsafe {
            ffi::Py_INCREF(self.as_ptr());
            Own(NonNull::new_unchecked(self as *const Self as *mut Self))
        }
    }

    #[inline(always)]
    fn is(&self, other: &impl AsObject) -> bool {
        self.as_ptr() == other.as_ptr()
    }

    #[inline(always)]
    fn type_ptr(&self) -> *mut ffi::PyTypeObject {
        // SAFETY: alive, so its type is.
        unsafe { ffi::Py_TYPE(self.as_ptr()) }
    }

    #[inline(always)]
    fn is_none(&self) -> bool {
        // SAFETY: `Py_None` is a constant.
        self.as_ptr() == unsafe { ffi::Py_None() }
    }

    fn refcount(&self) -> isize {
        // SAFETY: alive and the GIL is held.
        unsafe { ffi::Py_REFCNT(self.as_ptr()) }
    }

    /// The object as `S`, when its type is exactly ours (subclasses do not count).
    #[inline(always)]
    fn cast_exact<S: Class>(&self) -> Option<&Object<S>> {
        if self.type_ptr() == S::cell().get() {
            // SAFETY: every instance of our type was laid out as `Object<S>`.
            Some(unsafe { &*(self.as_ptr() as *const Object<S>) })
        } else {
            None
        }
    }

    /// The object as `S`, when it is an instance of our type or of a subclass.
    #[inline(always)]
    fn cast<S: Class>(&self) -> Option<&Object<S>> {
        let wanted = S::cell().get();
        let actual = self.type_ptr();
        // SAFETY: both are live types; subclasses keep our layout as a prefix.
        unsafe {
            if actual == wanted || ffi::PyType_IsSubtype(actual, wanted) != 0 {
                Some(&*(self.as_ptr() as *const Object<S>))
            } else {
                None
            }
        }
    }
}
impl<T: Layout> AsObject for T {}

impl Any {
    /// The object as `S`, known to be one.
    ///
    /// # Safety
    /// It is an instance of `S`'s type or of a subclass.
    #[inline(always)]
    pub(crate) unsafe fn assume<S: Class>(&self) -> &Object<S> {
        debug_assert!(self.cast::<S>().is_some());
        // SAFETY: the caller's promise.
        unsafe { &*(self.as_ptr() as *const Object<S>) }
    }
}

impl Any {
    /// Borrows a pointer that something else keeps alive.
    ///
    /// # Safety
    /// `ptr` is a live object for all of `'a`.
    #[inline(always)]
    pub(super) unsafe fn from_ptr<'a>(ptr: Ptr) -> &'a Any {
        // SAFETY: the caller's promise.
        unsafe { &*(ptr as *const Any) }
    }
}

/// A strong reference.
#[repr(transparent)]
pub(crate) struct Own<T: Layout = Any>(NonNull<T>);

impl<T: Layout> Own<T> {
    /// Takes over a new reference; `None` for null (an error is set then).
    ///
    /// # Safety
    /// `ptr` is null or a strong reference to a `T` that nobody else will drop.
    #[inline(always)]
    pub(super) unsafe fn from_new(ptr: Ptr) -> Option<Own<T>> {
        NonNull::new(ptr as *mut T).map(Own)
    }

    /// Gives the reference to the C API, which drops it.
    #[inline(always)]
    pub(super) fn into_ptr(self) -> Ptr {
        let ptr = self.0.as_ptr() as Ptr;
        std::mem::forget(self);
        ptr
    }

    #[inline(always)]
    pub(crate) fn into_any(self) -> Own<Any> {
        let ptr = self.0.cast();
        std::mem::forget(self);
        Own(ptr)
    }

    /// Folds the reference into a word, for the tagged ready queue.
    #[inline(always)]
    pub(crate) fn into_word(self) -> usize {
        self.into_ptr() as usize
    }

    /// Unfolds [`Own::into_word`].
    ///
    /// # Safety
    /// `word` came from `Own::<T>::into_word` and is unfolded once.
    #[inline(always)]
    pub(crate) unsafe fn from_word(word: usize) -> Own<T> {
        // SAFETY: the caller's promise; a reference is never null.
        Own(unsafe { NonNull::new_unchecked(word as *mut T) })
    }
}

impl Own<Any> {
    /// The same reference, known to be an `S`.
    ///
    /// # Safety
    /// The object is an instance of `S`'s type or of a subclass.
    #[inline(always)]
    pub(crate) unsafe fn assume_own<S: Class>(self) -> Own<Object<S>> {
        debug_assert!(self.cast::<S>().is_some());
        let ptr = self.0.cast();
        std::mem::forget(self);
        Own(ptr)
    }
}

impl<T: Layout> Deref for Own<T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: our strong reference keeps the object alive.
        unsafe { self.0.as_ref() }
    }
}

impl<T: Layout> Clone for Own<T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        (**self).own()
    }
}

impl<T: Layout> Drop for Own<T> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: we own one reference, and the GIL is held (module docs).
        unsafe { ffi::Py_DECREF(self.0.as_ptr() as Ptr) }
    }
}

/// A field that may hold a strong reference: one word, replaceable behind `&self`.
#[repr(transparent)]
pub(crate) struct Slot<T: Layout = Any>(Cell<Option<Own<T>>>);

impl<T: Layout> Slot<T> {
    pub(crate) const fn empty() -> Self {
        Slot(Cell::new(None))
    }

    #[inline(always)]
    pub(crate) fn new(value: Own<T>) -> Self {
        Slot(Cell::new(Some(value)))
    }

    #[inline(always)]
    pub(crate) fn some(value: Option<Own<T>>) -> Self {
        Slot(Cell::new(value))
    }

    /// A strong reference to what is held now.
    #[inline(always)]
    pub(crate) fn get(&self) -> Option<Own<T>> {
        // SAFETY: cloning only counts up; nothing can change the cell meanwhile.
        unsafe { (*self.0.as_ptr()).clone() }
    }

    #[inline(always)]
    pub(crate) fn set(&self, value: Own<T>) {
        self.0.set(Some(value));
    }

    #[inline(always)]
    pub(crate) fn put(&self, value: Option<Own<T>>) {
        self.0.set(value);
    }

    #[inline(always)]
    pub(crate) fn take(&self) -> Option<Own<T>> {
        self.0.take()
    }

    /// Drops what is held. The field is empty before the drop runs any code.
    #[inline(always)]
    pub(crate) fn clear(&self) {
        drop(self.0.take());
    }

    #[inline(always)]
    pub(crate) fn is_some(&self) -> bool {
        // SAFETY: a look at the word, nothing escapes.
        unsafe { (*self.0.as_ptr()).is_some() }
    }

    #[inline(always)]
    pub(crate) fn holds(&self, other: &impl AsObject) -> bool {
        // SAFETY: a look at the word, nothing escapes.
        unsafe { matches!(&*self.0.as_ptr(), Some(own) if own.is(other)) }
    }

    /// What is held, without counting a reference.
    ///
    /// # Safety
    /// Nothing may replace the field's content while the borrow lives: no Python code runs and
    /// the field is not written in between.
    #[inline(always)]
    pub(crate) unsafe fn peek(&self) -> Option<&T> {
        // SAFETY: the caller's promise.
        unsafe { (*self.0.as_ptr()).as_deref() }
    }
}

/// The list of weak references to an object, which the interpreter manages through an offset in
/// the type.
#[repr(transparent)]
pub(crate) struct Managed(Cell<Ptr>, PhantomData<Ptr>);

impl Managed {
    pub(crate) const fn new() -> Self {
        Managed(Cell::new(std::ptr::null_mut()), PhantomData)
    }

    #[inline(always)]
    pub(crate) fn ptr(&self) -> Ptr {
        self.0.get()
    }
}

/// What `tp_traverse` was given: the collector's callback.
pub(crate) struct Visitor {
    pub(super) visit: ffi::visitproc,
    pub(super) arg: *mut std::ffi::c_void,
}

/// The collector asked to stop with this code.
pub(crate) struct Stop(pub(super) std::ffi::c_int);

impl Visitor {
    #[inline]
    pub(crate) fn raw(&self, ptr: Ptr) -> Result<(), Stop> {
        if ptr.is_null() {
            return Ok(());
        }
        // SAFETY: the collector's own callback on a live object.
        match unsafe { (self.visit)(ptr, self.arg) } {
            0 => Ok(()),
            code => Err(Stop(code)),
        }
    }

    #[inline]
    pub(crate) fn object(&self, object: &impl AsObject) -> Result<(), Stop> {
        self.raw(object.as_ptr())
    }

    #[inline]
    pub(crate) fn slot<T: Layout>(&self, slot: &Slot<T>) -> Result<(), Stop> {
        // SAFETY: the collector runs no Python code during traversal.
        match unsafe { slot.peek() } {
            Some(object) => self.raw(object.as_ptr()),
            None => Ok(()),
        }
    }
}
