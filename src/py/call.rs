//! Calling Python: functions, methods, attributes, coroutines, contexts.

use pyo3_ffi as ffi;

use super::error::{Raised, Res, checked};
use super::names::Name;
use super::object::{Any, AsObject, Own, Ptr};

/// Calls into the interpreter from which a thread may not return.
///
/// Up to 3.13 a daemon thread that wants the GIL while the interpreter shuts down is ended by
/// `pthread_exit`, which unwinds the stack through our frames; Rust would abort the process. So
/// these calls are declared as what they are, and the frame that makes them stops the unwinding by
/// sleeping for ever, as 3.14 does by itself.
mod fatal {
    use super::{Ptr, ffi};

    #[cfg_attr(not(Py_3_14), allow(clashing_extern_declarations))]
    unsafe extern "C-unwind" {
        pub(super) fn PyObject_Vectorcall(
            callable: Ptr,
            args: *const Ptr,
            count: usize,
            names: Ptr,
        ) -> Ptr;
        pub(super) fn PyObject_VectorcallMethod(
            name: Ptr,
            args: *const Ptr,
            count: usize,
            names: Ptr,
        ) -> Ptr;
        pub(super) fn PyIter_Send(iterator: Ptr, value: Ptr, out: *mut Ptr) -> ffi::PySendResult;
    }

    /// `am_send`.
    pub(super) type SendFunction =
        unsafe extern "C-unwind" fn(Ptr, Ptr, *mut Ptr) -> ffi::PySendResult;

    /// Lives across such a call; dropped only by unwinding.
    struct Sleeper;

    impl Drop for Sleeper {
        fn drop(&mut self) {
            loop {
                std::thread::sleep(std::time::Duration::from_secs(3600));
            }
        }
    }

    #[inline(always)]
    pub(super) fn survive<T>(call: impl FnOnce() -> T) -> T {
        let sleeper = Sleeper;
        let result = call();
        std::mem::forget(sleeper);
        result
    }
}
use fatal::{PyIter_Send, PyObject_Vectorcall, PyObject_VectorcallMethod, SendFunction, survive};

/// What a coroutine did when it was resumed.
pub(crate) enum Sent {
    /// It awaits something: this object came out of its `yield`.
    Yielded(Own<Any>),
    /// It returned.
    Returned(Own<Any>),
}

impl Any {
    /// `self(*args)`.
    pub(crate) fn call(&self, args: &[&Any]) -> Res {
        // SAFETY: `&Any` is a `PyObject *`, borrowed for the whole call.
        unsafe {
            checked(survive(|| {
                PyObject_Vectorcall(
                    self.as_ptr(),
                    args.as_ptr().cast::<Ptr>(),
                    args.len(),
                    std::ptr::null_mut(),
                )
            }))
        }
    }

    /// `self(*args[:-n], **zip(names, args[-n:]))` for a tuple of `n` names.
    pub(crate) fn call_with_names(&self, args: &[&Any], names: &Any) -> Res {
        let named = super::value::tuple_items(names).len();
        // SAFETY: as `call`; the last `named` arguments are the keywords' values.
        unsafe {
            checked(survive(|| {
                PyObject_Vectorcall(
                    self.as_ptr(),
                    args.as_ptr().cast::<Ptr>(),
                    args.len() - named,
                    names.as_ptr(),
                )
            }))
        }
    }

    /// `self(*args)` with the arguments lying in `frame[1..=count]`; the place before them is the
    /// callee's to use, which spares bound methods a copy.
    ///
    /// # Safety
    /// `frame[1..=count]` are live objects for the whole call.
    #[inline(always)]
    pub(crate) unsafe fn call_frame<const N: usize>(
        &self,
        frame: &mut [Ptr; N],
        count: usize,
    ) -> Res {
        debug_assert!(count < N);
        // SAFETY: the caller's promise, and `frame` has a place before the arguments.
        unsafe {
            checked(survive(|| {
                PyObject_Vectorcall(
                    self.as_ptr(),
                    frame.as_ptr().add(1),
                    count | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET,
                    std::ptr::null_mut(),
                )
            }))
        }
    }

    /// `self.name(*args)`.
    pub(crate) fn call_method(&self, name: &'static Name, args: &[&Any]) -> Res {
        debug_assert!(args.len() < 7);
        let mut frame: [Ptr; 8] = [std::ptr::null_mut(); 8];
        frame[0] = self.as_ptr();
        for (place, arg) in frame[1..].iter_mut().zip(args) {
            *place = arg.as_ptr();
        }
        // SAFETY: self and the arguments are borrowed for the whole call.
        unsafe {
            checked(survive(|| {
                PyObject_VectorcallMethod(
                    name.get().as_ptr(),
                    frame.as_ptr(),
                    args.len() + 1,
                    std::ptr::null_mut(),
                )
            }))
        }
    }

    /// `self.name(positional, keyword=value)`.
    pub(crate) fn call_method_named(
        &self,
        name: &'static Name,
        positional: &[&Any],
        keyword: &'static Name,
        value: &Any,
    ) -> Res {
        let method = self.attr(name)?;
        let names = super::value::tuple(&[keyword.get()])?;
        let mut args: Vec<&Any> = positional.to_vec();
        args.push(value);
        method.call_with_names(&args, &names)
    }

    pub(crate) fn attr(&self, name: &'static Name) -> Res {
        // SAFETY: live object and name.
        unsafe { checked(ffi::PyObject_GetAttr(self.as_ptr(), name.get().as_ptr())) }
    }

    /// The attribute, or `None` where there is none.
    pub(crate) fn attr_if_any(&self, name: &'static Name) -> Res<Option<Own<Any>>> {
        match self.attr(name) {
            Ok(value) => Ok(Some(value)),
            Err(raised) => {
                // SAFETY: a static exception type.
                if unsafe { ffi::PyErr_ExceptionMatches(ffi::PyExc_AttributeError) } != 0 {
                    super::error::discard(raised);
                    Ok(None)
                } else {
                    Err(raised)
                }
            }
        }
    }

    pub(crate) fn set_attr(&self, name: &'static Name, value: &Any) -> Res<()> {
        // SAFETY: live object, name and value.
        if unsafe { ffi::PyObject_SetAttr(self.as_ptr(), name.get().as_ptr(), value.as_ptr()) } == 0
        {
            Ok(())
        } else {
            Err(Raised)
        }
    }

    pub(crate) fn attr_named(&self, name: &Any) -> Res {
        // SAFETY: live object and name.
        unsafe { checked(ffi::PyObject_GetAttr(self.as_ptr(), name.as_ptr())) }
    }

    pub(crate) fn set_attr_named(&self, name: &Any, value: &Any) -> Res<()> {
        // SAFETY: live object, name and value.
        match unsafe { ffi::PyObject_SetAttr(self.as_ptr(), name.as_ptr(), value.as_ptr()) } {
            0 => Ok(()),
            _ => Err(Raised),
        }
    }

    /// `self == other`, asked as containers ask (identity first).
    pub(crate) fn equals(&self, other: &Any) -> Res<bool> {
        // SAFETY: two live objects.
        match unsafe { ffi::PyObject_RichCompareBool(self.as_ptr(), other.as_ptr(), ffi::Py_EQ) } {
            -1 => Err(Raised),
            equal => Ok(equal != 0),
        }
    }

    /// Resumes a coroutine (or a generator, or anything with `send`) with None.
    #[inline(always)]
    pub(crate) fn send_none(&self) -> Res<Sent> {
        let mut out: Ptr = std::ptr::null_mut();
        // SAFETY: a live object; `out` receives a new reference unless the result is an error.
        unsafe {
            // A native coroutine's slot is asked directly, which spares a look at the type.
            let sent = if super::value::is_coroutine(self)
                && let Some(send) = (*(*self.type_ptr()).tp_as_async).am_send
            {
                // The same function, declared as one through which a thread may be unwound.
                let send = std::mem::transmute::<ffi::sendfunc, SendFunction>(send);
                survive(|| send(self.as_ptr(), ffi::Py_None(), &mut out))
            } else {
                survive(|| PyIter_Send(self.as_ptr(), ffi::Py_None(), &mut out))
            };
            match sent {
                ffi::PySendResult::PYGEN_RETURN => checked(out).map(Sent::Returned),
                ffi::PySendResult::PYGEN_NEXT => checked(out).map(Sent::Yielded),
                ffi::PySendResult::PYGEN_ERROR => Err(Raised),
            }
        }
    }

    /// As `throw`; an iterator that has no such method lets the exception pass by.
    pub(crate) fn throw_if_able(&self, exception: &Any) -> Res<Sent> {
        match self.attr_if_any(&super::names::THROW)? {
            Some(_) => self.throw(exception),
            None => Err(super::error::restore(exception.own())),
        }
    }

    /// `self.throw(exception)`, with the StopIteration of a return already read.
    pub(crate) fn throw(&self, exception: &Any) -> Res<Sent> {
        match self.call_method(&super::names::THROW, &[exception]) {
            Ok(yielded) => Ok(Sent::Yielded(yielded)),
            Err(raised) => {
                // SAFETY: a static exception type.
                if unsafe { ffi::PyErr_ExceptionMatches(ffi::PyExc_StopIteration) } == 0 {
                    return Err(raised);
                }
                let stop = super::error::fetch(raised);
                Ok(Sent::Returned(super::value::stop_iteration_value(&stop)))
            }
        }
    }
}

/// A context variables' context, entered and left around each callback and step.
pub(crate) mod context {
    use super::*;

    #[inline(always)]
    pub(crate) fn copy_current() -> Res {
        // SAFETY: returns a new reference or null.
        unsafe { checked(ffi::PyContext_CopyCurrent()) }
    }

    /// A copy of this context.
    #[inline(always)]
    pub(crate) fn copy(context: &Any) -> Res {
        // SAFETY: a live object; what is not a context raises TypeError inside.
        unsafe { checked(ffi::PyContext_Copy(context.as_ptr())) }
    }

    #[inline(always)]
    pub(crate) fn enter(context: &Any) -> Res<()> {
        // SAFETY: a live object; what is not a context raises TypeError inside.
        if unsafe { ffi::PyContext_Enter(context.as_ptr()) } == 0 { Ok(()) } else { Err(Raised) }
    }

    /// Leaves the context just entered. With an exception pending: leaving does not touch it.
    #[inline(always)]
    pub(crate) fn exit(context: &Any) {
        // SAFETY: only called after `enter` succeeded in this thread.
        let left = unsafe { ffi::PyContext_Exit(context.as_ptr()) };
        debug_assert_eq!(left, 0, "contexts are left in the order in which they were entered");
    }
}

/// `module.name` for the name of a module and of something in it.
pub(crate) fn import(module: &std::ffi::CStr, name: &std::ffi::CStr) -> Res {
    // SAFETY: both texts end in NUL; the module is dropped after its attribute was taken.
    unsafe {
        let module = checked(ffi::PyImport_ImportModule(module.as_ptr()))?;
        checked(ffi::PyObject_GetAttrString(module.as_ptr(), name.as_ptr()))
    }
}

/// A function of a C module, called past the interpreter's calling machinery.
///
/// For one that is called with every step that is 45 instructions saved of 80.
pub(crate) struct CFunction {
    object: Own<Any>,
    entry: Option<(ffi::PyCFunctionFastWithKeywords, Ptr)>,
}

impl CFunction {
    pub(crate) fn new(object: Own<Any>) -> CFunction {
        // SAFETY: the fields of a builtin function, read after its type was checked. The entry
        // point and its self live as long as the object, which we hold.
        let entry = unsafe {
            if ffi::PyCFunction_CheckExact(object.as_ptr()) == 0 {
                None
            } else {
                let function = object.as_ptr().cast::<ffi::PyCFunctionObject>();
                let table = (*function).m_ml;
                ((*table).ml_flags == ffi::METH_FASTCALL | ffi::METH_KEYWORDS)
                    .then(|| ((*table).ml_meth.PyCFunctionFastWithKeywords, (*function).m_self))
            }
        };
        CFunction { object, entry }
    }

    #[inline(always)]
    pub(crate) fn call(&self, args: &[&Any]) -> Res {
        let Some((entry, this)) = self.entry else { return self.object.call(args) };
        // SAFETY: the convention that the flags name, with arguments borrowed for the call.
        unsafe {
            checked(entry(this, args.as_ptr().cast(), args.len() as isize, std::ptr::null_mut()))
        }
    }
}

/// `dict[key] = value`.
#[inline]
pub(crate) fn dict_set(dict: &Any, key: &Any, value: &Any) -> Res<()> {
    // SAFETY: a dict and two live objects.
    if unsafe { ffi::PyDict_SetItem(dict.as_ptr(), key.as_ptr(), value.as_ptr()) } == 0 {
        Ok(())
    } else {
        Err(Raised)
    }
}

/// `dict.get(key)`.
pub(crate) fn dict_get(dict: &Any, key: &Any) -> Res<Option<Own<Any>>> {
    // SAFETY: a dict and a live key; the result is borrowed and taken at once.
    unsafe {
        let found = ffi::PyDict_GetItemWithError(dict.as_ptr(), key.as_ptr());
        if found.is_null() {
            return if super::error::occurred() { Err(Raised) } else { Ok(None) };
        }
        Ok(Some(Any::from_ptr(found).own()))
    }
}

/// `dict.pop(key, None)`.
pub(crate) fn dict_remove(dict: &Any, key: &Any) -> Res<()> {
    // SAFETY: a dict and a live key.
    if unsafe { ffi::PyDict_DelItem(dict.as_ptr(), key.as_ptr()) } == 0 {
        return Ok(());
    }
    // SAFETY: a static exception type.
    if unsafe { ffi::PyErr_ExceptionMatches(ffi::PyExc_KeyError) } != 0 {
        super::error::discard(Raised);
        return Ok(());
    }
    Err(Raised)
}

/// Runs `f` without the GIL.
///
/// `f` must not touch Python; its captures being `Send` says that in the type.
pub(crate) fn without_gil<T, F: FnOnce() -> T + Send>(f: F) -> T {
    struct Reacquire(*mut ffi::PyThreadState);
    impl Drop for Reacquire {
        fn drop(&mut self) {
            // SAFETY: the state that SaveThread returned in this very thread.
            unsafe { ffi::PyEval_RestoreThread(self.0) }
        }
    }
    // SAFETY: the GIL is held on entry, and taken again however `f` ends.
    let _reacquire = Reacquire(unsafe { ffi::PyEval_SaveThread() });
    f()
}

/// Whether this is the only thread that Python knows of, so that nobody waits for the GIL.
#[inline]
pub(crate) fn is_only_thread() -> bool {
    // SAFETY: the GIL is held, so this thread has a state, which lives. New states are put at the
    // list's head, so if ours is there and has no next, it is alone; no other is looked at.
    unsafe {
        let mine = ffi::PyThreadState_Get();
        ffi::PyInterpreterState_ThreadHead(ffi::PyInterpreterState_Get()) == mine
            && ffi::PyThreadState_Next(mine).is_null()
    }
}

/// What `threading.get_ident()` returns here.
#[inline]
pub(crate) fn thread_ident() -> u64 {
    // SAFETY: no precondition.
    unsafe { ffi::PyThread_get_thread_ident() as u64 }
}
