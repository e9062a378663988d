//! Python values from Rust ones and back.

use pyo3_ffi as ffi;

use super::error::{Raised, Res, checked};
use super::object::{Any, AsObject, Own};

#[inline(always)]
pub(crate) fn none() -> Own<Any> {
    none_ref().own()
}

#[inline(always)]
pub(crate) fn none_ref<'a>() -> &'a Any {
    // SAFETY: None lives for ever.
    unsafe { Any::from_ptr(ffi::Py_None()) }
}

#[inline(always)]
pub(crate) fn boolean(value: bool) -> Own<Any> {
    // SAFETY: True and False live for ever.
    unsafe { Any::from_ptr(if value { ffi::Py_True() } else { ffi::Py_False() }) }.own()
}

pub(crate) fn is_true(object: &Any) -> Res<bool> {
    // SAFETY: a live object.
    match unsafe { ffi::PyObject_IsTrue(object.as_ptr()) } {
        -1 => Err(Raised),
        truth => Ok(truth != 0),
    }
}

pub(crate) fn int(value: i64) -> Res {
    // SAFETY: returns a new reference or null.
    unsafe { checked(ffi::PyLong_FromLongLong(value)) }
}

pub(crate) fn as_int(object: &Any) -> Res<i64> {
    // SAFETY: a live object; -1 is an error only if one is set.
    let value = unsafe { ffi::PyLong_AsLongLong(object.as_ptr()) };
    if value == -1 && super::error::occurred() { Err(Raised) } else { Ok(value) }
}

#[inline]
pub(crate) fn float(value: f64) -> Res {
    // SAFETY: returns a new reference or null.
    unsafe { checked(ffi::PyFloat_FromDouble(value)) }
}

#[inline]
pub(crate) fn as_float(object: &Any) -> Res<f64> {
    // SAFETY: live objects, of which the exact type is known where a field is read. The general
    // way makes a float object of an int, to read it and throw it away.
    unsafe {
        if ffi::PyFloat_CheckExact(object.as_ptr()) != 0 {
            return Ok((*object.as_ptr().cast::<ffi::PyFloatObject>()).ob_fval);
        }
        if ffi::PyLong_CheckExact(object.as_ptr()) != 0 {
            let value = ffi::PyLong_AsDouble(object.as_ptr());
            return if value == -1.0 && super::error::occurred() { Err(Raised) } else { Ok(value) };
        }
    }
    // SAFETY: a live object; -1.0 is an error only if one is set.
    let value = unsafe { ffi::PyFloat_AsDouble(object.as_ptr()) };
    if value == -1.0 && super::error::occurred() { Err(Raised) } else { Ok(value) }
}

pub(crate) fn string(text: &str) -> Res {
    // SAFETY: pointer and length belong together.
    unsafe { checked(ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast(), text.len() as isize)) }
}

pub(crate) fn is_exact_string(object: &Any) -> bool {
    // SAFETY: a live object.
    unsafe { ffi::PyUnicode_CheckExact(object.as_ptr()) != 0 }
}

/// `str(object)`.
pub(crate) fn str_of(object: &Any) -> Res {
    // SAFETY: a live object.
    unsafe { checked(ffi::PyObject_Str(object.as_ptr())) }
}

/// `object.__repr__(object)`, whatever its type says.
pub(crate) fn object_repr(object: &Any) -> Res {
    // SAFETY: the root of all types has a repr, which takes any live object.
    unsafe {
        match ffi::PyBaseObject_Type.tp_repr {
            Some(repr) => checked(repr(object.as_ptr())),
            None => Err(Raised),
        }
    }
}

/// `repr(object)` for a message; an object whose repr fails is named by its type.
pub(crate) fn repr_text(object: &Any) -> String {
    // SAFETY: a live object.
    let repr = unsafe { checked(ffi::PyObject_Repr(object.as_ptr())) };
    match repr.and_then(|repr| text_of(&repr)) {
        Ok(text) => text,
        Err(raised) => {
            super::error::discard(raised);
            format!("<{} object>", type_name(object))
        }
    }
}

/// The text of a str.
pub(crate) fn text_of(object: &Any) -> Res<String> {
    let mut len = 0;
    // SAFETY: on success the buffer lives as long as the str, and we copy it at once.
    unsafe {
        let data = ffi::PyUnicode_AsUTF8AndSize(object.as_ptr(), &mut len);
        if data.is_null() {
            return Err(Raised);
        }
        let bytes = std::slice::from_raw_parts(data.cast::<u8>(), len as usize);
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}

/// The last part of the name of the object's type.
pub(crate) fn type_name(object: &Any) -> String {
    // SAFETY: a live type has a name that ends in NUL.
    let name = unsafe { std::ffi::CStr::from_ptr((*object.type_ptr()).tp_name) };
    let name = name.to_string_lossy();
    name.rsplit('.').next().unwrap_or(&name).to_owned()
}

/// A tuple of these objects.
pub(crate) fn tuple(items: &[&Any]) -> Res {
    // SAFETY: a new tuple of this length, every place filled once before anyone sees it.
    unsafe {
        let tuple = ffi::PyTuple_New(items.len() as isize);
        if tuple.is_null() {
            return Err(Raised);
        }
        for (index, item) in items.iter().enumerate() {
            ffi::PyTuple_SET_ITEM(tuple, index as isize, item.own().into_ptr());
        }
        checked(tuple)
    }
}

/// The items of a tuple, borrowed from it.
pub(crate) fn tuple_items(tuple: &Any) -> &[&Any] {
    // SAFETY: `&Any` is a `PyObject *`; a tuple's items are never null once it is visible, do not
    // change, and live as long as it does.
    unsafe {
        debug_assert!(ffi::PyTuple_Check(tuple.as_ptr()) != 0);
        let object = tuple.as_ptr().cast::<ffi::PyTupleObject>();
        let len = ffi::PyTuple_GET_SIZE(tuple.as_ptr()) as usize;
        std::slice::from_raw_parts((*object).ob_item.as_ptr().cast::<&Any>(), len)
    }
}

pub(crate) fn list() -> Res {
    // SAFETY: returns a new reference or null.
    unsafe { checked(ffi::PyList_New(0)) }
}

/// A list of these objects.
pub(crate) fn list_of(items: Vec<Own<Any>>) -> Res {
    // SAFETY: a new list of this length, every place filled once; nothing runs in between.
    unsafe {
        let list = checked(ffi::PyList_New(items.len() as isize))?;
        for (index, item) in items.into_iter().enumerate() {
            ffi::PyList_SET_ITEM(list.as_ptr(), index as isize, item.into_ptr());
        }
        Ok(list)
    }
}

/// Whether objects of this type are equal only to themselves.
#[inline]
pub(crate) fn has_identity_equality(object: &Any) -> bool {
    // SAFETY: a live object has a live type; its slots are compared with the root type's.
    unsafe {
        let kind = object.type_ptr();
        let root = &raw const ffi::PyBaseObject_Type;
        (*kind).tp_hash.map(|slot| slot as usize) == (*root).tp_hash.map(|slot| slot as usize)
            && (*kind).tp_richcompare.map(|slot| slot as usize)
                == (*root).tp_richcompare.map(|slot| slot as usize)
    }
}

pub(crate) fn append(list: &Any, item: &Any) -> Res<()> {
    // SAFETY: `list` is a list of ours, `item` is live.
    if unsafe { ffi::PyList_Append(list.as_ptr(), item.as_ptr()) } == 0 {
        Ok(())
    } else {
        Err(Raised)
    }
}

/// A set of these objects.
pub(crate) fn set_of(items: impl Iterator<Item = Own<Any>>) -> Res {
    // SAFETY: a new set; the items are live.
    unsafe {
        let set = checked(ffi::PySet_New(std::ptr::null_mut()))?;
        for item in items {
            if ffi::PySet_Add(set.as_ptr(), item.as_ptr()) != 0 {
                return Err(Raised);
            }
        }
        Ok(set)
    }
}

/// `len(list)`.
pub(crate) fn list_len(list: &Any) -> usize {
    // SAFETY: a list of ours.
    unsafe { ffi::PyList_GET_SIZE(list.as_ptr()) as usize }
}

/// `len(set)`.
pub(crate) fn set_len(set: &Any) -> usize {
    // SAFETY: a set of ours.
    unsafe { ffi::PySet_Size(set.as_ptr()) as usize }
}

/// The items of a set as it is now.
pub(crate) fn items_of_set(set: &Any) -> Res<Vec<Own<Any>>> {
    let mut items = Vec::with_capacity(set_len(set));
    each(set, |item| {
        items.push(item.own());
        Ok(())
    })?;
    Ok(items)
}

/// A new empty set.
pub(crate) fn set() -> Res {
    // SAFETY: returns a new reference or null.
    unsafe { checked(ffi::PySet_New(std::ptr::null_mut())) }
}

/// `set(iterable)`.
pub(crate) fn set_from(iterable: &Any) -> Res {
    // SAFETY: a live object, which is asked for its iterator.
    unsafe { checked(ffi::PySet_New(iterable.as_ptr())) }
}

/// Runs `f` with each item of an iterable.
pub(crate) fn each(iterable: &Any, mut f: impl FnMut(&Any) -> Res<()>) -> Res<()> {
    // SAFETY: a live object; each item is a new reference, null at the end or on an error.
    unsafe {
        let iterator = checked(ffi::PyObject_GetIter(iterable.as_ptr()))?;
        while let Some(item) = Own::<Any>::from_new(ffi::PyIter_Next(iterator.as_ptr())) {
            f(&item)?;
        }
    }
    if super::error::occurred() { Err(Raised) } else { Ok(()) }
}

/// `str(object)` as text.
pub(crate) fn str_text(object: &Any) -> Res<String> {
    text_of(&*str_of(object)?)
}

pub(crate) fn set_add(set: &Any, item: &Any) -> Res<()> {
    // SAFETY: a set of ours and a live item.
    if unsafe { ffi::PySet_Add(set.as_ptr(), item.as_ptr()) } == 0 { Ok(()) } else { Err(Raised) }
}

pub(crate) fn set_discard(set: &Any, item: &Any) -> Res<()> {
    // SAFETY: a set of ours and a live item.
    if unsafe { ffi::PySet_Discard(set.as_ptr(), item.as_ptr()) } < 0 {
        Err(Raised)
    } else {
        Ok(())
    }
}

pub(crate) fn is_exception_class(object: &Any) -> bool {
    // SAFETY: a live object.
    unsafe { ffi::PyExceptionClass_Check(object.as_ptr()) != 0 }
}

pub(crate) fn is_exception(object: &Any) -> bool {
    // SAFETY: a live object.
    unsafe { ffi::PyExceptionInstance_Check(object.as_ptr()) != 0 }
}

pub(crate) fn is_generator(object: &Any) -> bool {
    // SAFETY: a live object.
    unsafe { ffi::PyGen_CheckExact(object.as_ptr()) != 0 }
}

#[inline(always)]
pub(crate) fn is_coroutine(object: &Any) -> bool {
    // The binding's PyCoro_CheckExact is no exact check, and asks for all bases.
    object.type_ptr() == &raw mut ffi::PyCoro_Type
}

/// The iterator behind `await object`.
#[inline]
pub(crate) fn await_iterator(object: &Any) -> Res {
    if is_coroutine(object) || is_iterable_coroutine(object)? {
        return Ok(object.own());
    }
    // SAFETY: a live object has a live type; the slot is called with an instance of that type.
    let iterator = unsafe {
        let slots = (*object.type_ptr()).tp_as_async;
        let slot = if slots.is_null() { None } else { (*slots).am_await };
        let Some(slot) = slot else { return Err(cannot_await(object)) };
        checked(slot(object.as_ptr()))?
    };
    // SAFETY: a live object.
    if unsafe { ffi::PyIter_Check(iterator.as_ptr()) } == 0 {
        return Err(super::error::type_error(&format!(
            "__await__() returned non-iterator of type '{}'",
            type_name(&iterator)
        )));
    }
    if is_coroutine(&iterator) {
        return Err(super::error::type_error("__await__() returned a coroutine"));
    }
    Ok(iterator)
}

#[cold]
fn cannot_await(object: &Any) -> Raised {
    let name = type_name(object);
    super::error::type_error(&if cfg!(Py_3_14) {
        format!("'{name}' object can't be awaited")
    } else {
        format!("object {name} can't be used in 'await' expression")
    })
}

/// A generator that `types.coroutine` marked as one to await.
fn is_iterable_coroutine(object: &Any) -> Res<bool> {
    const CO_ITERABLE_COROUTINE: i64 = 0x100;
    if !is_generator(object) {
        return Ok(false);
    }
    let flags = object.attr(&super::names::GI_CODE)?.attr(&super::names::CO_FLAGS)?;
    Ok(as_int(&flags)? & CO_ITERABLE_COROUTINE != 0)
}

/// Whether the collector looks into objects of this type: only those can close a cycle.
#[inline(always)]
pub(crate) fn can_hold_cycle(object: &Any) -> bool {
    // SAFETY: a live object has a live type.
    unsafe { ffi::PyType_HasFeature(object.type_ptr(), ffi::Py_TPFLAGS_HAVE_GC) != 0 }
}

/// `PyException_SetTraceback(exception, traceback)`, None for no traceback.
pub(crate) fn set_traceback(exception: &Any, traceback: &Any) -> Res<()> {
    // SAFETY: an exception instance and a traceback or None.
    if unsafe { ffi::PyException_SetTraceback(exception.as_ptr(), traceback.as_ptr()) } == 0 {
        Ok(())
    } else {
        Err(Raised)
    }
}

pub(crate) fn traceback_of(exception: &Any) -> Option<Own<Any>> {
    // SAFETY: an exception instance; null means no traceback and sets no error.
    unsafe { Own::from_new(ffi::PyException_GetTraceback(exception.as_ptr())) }
}

/// Makes `cause` both `__cause__` and `__context__` of `exception`.
pub(crate) fn set_cause(exception: &Any, cause: &Any) {
    // SAFETY: both setters take over one reference each.
    unsafe {
        ffi::PyException_SetCause(exception.as_ptr(), cause.own().into_ptr());
        ffi::PyException_SetContext(exception.as_ptr(), cause.own().into_ptr());
    }
}

/// `exception.__context__`.
pub(crate) fn context_of(exception: &Any) -> Option<Own<Any>> {
    // SAFETY: an exception instance; null means none and sets no error.
    unsafe { Own::from_new(ffi::PyException_GetContext(exception.as_ptr())) }
}

/// `exception.__context__ = context`.
pub(crate) fn set_context(exception: &Any, context: &Any) {
    // SAFETY: the setter takes over one reference.
    unsafe { ffi::PyException_SetContext(exception.as_ptr(), context.own().into_ptr()) }
}

/// Makes `raise exception from None` of it.
pub(crate) fn suppress_context(exception: &Any) {
    // SAFETY: an exception instance; no cause is no cause.
    unsafe { ffi::PyException_SetCause(exception.as_ptr(), std::ptr::null_mut()) }
}

/// The value of a StopIteration instance.
pub(crate) fn stop_iteration_value(exception: &Any) -> Own<Any> {
    debug_assert!(super::error::is_kind(exception, super::Builtin::StopIteration.get()));
    // SAFETY: every StopIteration, and every subclass, is laid out so; the value may be null.
    unsafe {
        let value = (*exception.as_ptr().cast::<ffi::PyStopIterationObject>()).value;
        if value.is_null() { none() } else { Any::from_ptr(value).own() }
    }
}

/// Whether the interpreter is shutting down.
pub(crate) fn is_finalizing() -> bool {
    #[cfg(Py_3_13)]
    // SAFETY: a look at the runtime.
    unsafe {
        ffi::Py_IsFinalizing() != 0
    }
    #[cfg(not(Py_3_13))]
    // SAFETY: a look at the runtime.
    unsafe {
        _Py_IsFinalizing() != 0
    }
}

#[cfg(not(Py_3_13))]
unsafe extern "C" {
    /// `Py_IsFinalizing` under the name that it had before it became public.
    fn _Py_IsFinalizing() -> std::ffi::c_int;
}

/// A dict of these names and values.
pub(crate) fn dict_of(items: &[(&'static super::names::Name, &Any)]) -> Res {
    // SAFETY: returns a new reference or null.
    let dict = unsafe { checked(ffi::PyDict_New())? };
    for (name, value) in items {
        super::dict_set(&dict, name.get(), value)?;
    }
    Ok(dict)
}

/// `set |= other`.
pub(crate) fn set_update(set: &Any, other: &Any) -> Res<()> {
    // SAFETY: two live objects; `|=` on a set of ours gives the set itself back.
    unsafe { checked(ffi::PyNumber_InPlaceOr(set.as_ptr(), other.as_ptr())) }.map(|_| ())
}

/// `isinstance(object, class)`.
pub(crate) fn is_instance(object: &Any, class: &Any) -> Res<bool> {
    // SAFETY: two live objects.
    match unsafe { ffi::PyObject_IsInstance(object.as_ptr(), class.as_ptr()) } {
        -1 => Err(Raised),
        answer => Ok(answer != 0),
    }
}

/// `b"".join(iterable)`.
pub(crate) fn join_bytes(iterable: &Any) -> Res {
    super::buffer::bytes(b"")?.call_method(&super::names::JOIN, &[iterable])
}

/// The object's real type.
pub(crate) fn type_of(object: &Any) -> Own<Any> {
    // SAFETY: a live object has a live type.
    unsafe { Any::from_ptr(object.type_ptr().cast()) }.own()
}

pub(crate) fn is_traceback(object: &Any) -> bool {
    // SAFETY: a live object.
    unsafe { ffi::PyTraceBack_Check(object.as_ptr()) != 0 }
}

/// `hash(object)`; only for objects whose hash cannot fail.
pub(crate) fn hash(object: &Any) -> isize {
    // SAFETY: a live object.
    unsafe { ffi::PyObject_Hash(object.as_ptr()) }
}

pub(crate) fn is_callable(object: &Any) -> bool {
    // SAFETY: a live object.
    unsafe { ffi::PyCallable_Check(object.as_ptr()) != 0 }
}

/// Whether `operator.index(object)` would give a number.
#[inline(always)]
pub(crate) fn has_index(object: &Any) -> bool {
    // SAFETY: a live object.
    unsafe { ffi::PyIndex_Check(object.as_ptr()) != 0 }
}

/// `operator.index(object)`; the most or the least there is, where it is beyond that.
#[inline]
pub(crate) fn as_count(object: &Any) -> Res<i64> {
    if is_exact_int(object) {
        let mut overflow = 0;
        // SAFETY: an int, of which the overflow is told apart.
        let count = unsafe { ffi::PyLong_AsLongLongAndOverflow(object.as_ptr(), &mut overflow) };
        return Ok(match overflow {
            0 => count,
            1.. => i64::MAX,
            _ => i64::MIN,
        });
    }
    // SAFETY: a live object; without an exception to raise, the number is clipped.
    let count = unsafe { ffi::PyNumber_AsSsize_t(object.as_ptr(), std::ptr::null_mut()) };
    if count == -1 && super::error::occurred() { Err(Raised) } else { Ok(count as i64) }
}

pub(crate) fn is_int(object: &Any) -> bool {
    // SAFETY: a live object.
    unsafe { ffi::PyLong_Check(object.as_ptr()) != 0 }
}

/// `operator.eq` and `operator.ne`, as `Builder::compare` is asked for them.
pub(crate) const EQUAL: std::ffi::c_int = ffi::Py_EQ;
pub(crate) const NOT_EQUAL: std::ffi::c_int = ffi::Py_NE;

fn compares(left: &Any, right: &Any, operation: std::ffi::c_int) -> Res<bool> {
    // SAFETY: two live objects.
    match unsafe { ffi::PyObject_RichCompareBool(left.as_ptr(), right.as_ptr(), operation) } {
        -1 => Err(Raised),
        truth => Ok(truth != 0),
    }
}

/// `left <= right`.
pub(crate) fn is_at_most(left: &Any, right: &Any) -> Res<bool> {
    compares(left, right, ffi::Py_LE)
}

/// `left >= right`.
pub(crate) fn is_at_least(left: &Any, right: &Any) -> Res<bool> {
    compares(left, right, ffi::Py_GE)
}

pub(crate) fn is_exact_int(object: &Any) -> bool {
    // SAFETY: a live object.
    unsafe { ffi::PyLong_CheckExact(object.as_ptr()) != 0 }
}

/// `len(object)`.
pub(crate) fn len(object: &Any) -> Res<usize> {
    // SAFETY: a live object.
    usize::try_from(unsafe { ffi::PyObject_Size(object.as_ptr()) }).map_err(|_| Raised)
}

/// `repr(object)`, whose failure is the caller's.
pub(crate) fn repr_of(object: &Any) -> Res<String> {
    // SAFETY: a live object.
    unsafe { checked(ffi::PyObject_Repr(object.as_ptr())) }.and_then(|text| text_of(&text))
}

/// `list(iterable)`.
pub(crate) fn list_from(iterable: &Any) -> Res {
    // SAFETY: a live object.
    unsafe { checked(ffi::PySequence_List(iterable.as_ptr())) }
}

/// The number of keys in an instance's dict.
#[inline(always)]
pub(crate) fn dict_len(dict: &Any) -> usize {
    // SAFETY: a dict; it can be nothing else.
    unsafe { ffi::PyDict_Size(dict.as_ptr()) as usize }
}

/// `dict.copy()`.
pub(crate) fn dict_copy(dict: &Any) -> Res {
    // SAFETY: a live object; what is not a dict raises SystemError inside.
    unsafe { checked(ffi::PyDict_Copy(dict.as_ptr())) }
}

/// Runs `visit` with the keys and values of a dict, as they are now.
pub(crate) fn each_of_dict(dict: &Any, mut visit: impl FnMut(&Any, &Any) -> Res<()>) -> Res<()> {
    // A copy of our own, which `visit` cannot change.
    let dict = dict_copy(dict)?;
    let (mut place, mut key, mut value) = (0, std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: a dict that nobody changes; keys and values are borrowed from it.
    unsafe {
        while ffi::PyDict_Next(dict.as_ptr(), &mut place, &mut key, &mut value) != 0 {
            visit(Any::from_ptr(key), Any::from_ptr(value))?;
        }
    }
    Ok(())
}

/// A number that changes when an attribute of the object's type does; 0 until one was looked up.
#[inline(always)]
pub(crate) fn type_version(object: &Any) -> u32 {
    // SAFETY: a live object has a live type.
    unsafe { (*object.type_ptr()).tp_version_tag }
}

/// `memoryview(object)`.
pub(crate) fn memoryview(object: &Any) -> Res {
    // SAFETY: a live object, which says itself whether it has a buffer.
    unsafe { checked(ffi::PyMemoryView_FromObject(object.as_ptr())) }
}

/// `memoryview(object)[start:]`.
pub(crate) fn slice_from(object: &Any, start: usize) -> Res {
    let view = memoryview(object)?;
    // SAFETY: a sequence.
    unsafe { checked(ffi::PySequence_GetSlice(view.as_ptr(), start as isize, isize::MAX)) }
}

/// `object[index]`.
pub(crate) fn item(object: &Any, index: usize) -> Res {
    // SAFETY: a live object, which says itself whether it is a sequence.
    unsafe { checked(ffi::PySequence_GetItem(object.as_ptr(), index as isize)) }
}

/// Whether the object is a tuple, of a subclass or not.
#[inline(always)]
pub(crate) fn is_tuple(object: &Any) -> bool {
    // SAFETY: a live object.
    unsafe { ffi::PyTuple_Check(object.as_ptr()) != 0 }
}
