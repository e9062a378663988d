//! Native functions that pass for Python functions.
//!
//! A builtin would be as fast, but people ask functions questions that a builtin cannot answer:
//! `inspect.iscoroutinefunction(sleep)`, `inspect.signature(Lock.acquire)`, `f.__code__`,
//! `f.__defaults__`. So each of these has a model, the function of the standard library that it
//! stands for, and answers with the model's name, code object, defaults, annotations and docs:
//! right by construction, and always those of the running version. In a class it binds like a
//! function, without an intermediate object where the interpreter calls methods.

use std::cell::Cell;
use std::ffi::c_void;

use pyo3_ffi as ffi;

use super::args::Args;
use super::class::{Builder, Class, TypeCell};
use super::entry::{Return, conjure, guard};
use super::error::{Res, checked, type_error};
use super::memory::{create, track};
use super::names::{self, Name};
use super::object::{Any, AsObject, Managed, Object, Own, Ptr, Slot, Stop, Visitor};
use super::value;

unsafe extern "C" {
    /// Missing from the binding.
    fn PyMethod_New(function: Ptr, instance: Ptr) -> Ptr;
}

type Function = Object<FunctionState>;
type Entry = unsafe extern "C" fn(Ptr, *const Ptr, usize, Ptr) -> Ptr;

/// Where to go, and after whom it is modelled.
pub(crate) struct FunctionState {
    entry: Entry,
    model: Slot,
    dict: Slot,
    weakrefs: Managed,
    tracked: Cell<bool>,
}

static TYPE: TypeCell = TypeCell::new();

impl Class for FunctionState {
    const NAME: &'static std::ffi::CStr = c"aioxide.function";

    fn cell() -> &'static TypeCell {
        &TYPE
    }
    fn tracked(&self) -> Option<&Cell<bool>> {
        Some(&self.tracked)
    }
    fn weakrefs(&self) -> Option<&Managed> {
        Some(&self.weakrefs)
    }
    fn traverse(object: &Function, visitor: &Visitor) -> Result<(), Stop> {
        visitor.slot(&object.model)?;
        visitor.slot(&object.dict)
    }
    fn clear(object: &Function) {
        // The model stays: it is no part of a cycle, and every answer needs it.
        object.dict.clear();
    }
}

/// A function, modelled after one of the standard library.
pub(crate) fn function<R: Return, F>(model: Own<Any>, _: F) -> Res
where
    F: Fn(Args<'_>) -> R + Copy,
{
    make(model, call::<R, F>)
}

/// A method of the type whose state is `S`, modelled after one of the standard library.
pub(crate) fn method<S: Class, R: Return, F>(model: Own<Any>, _: F) -> Res
where
    F: Fn(&Object<S>, Args<'_>) -> R + Copy,
{
    make(model, call_method::<S, R, F>)
}

fn make(model: Own<Any>, entry: Entry) -> Res {
    let function = create(|| FunctionState {
        entry,
        model: Slot::new(model),
        dict: Slot::empty(),
        weakrefs: Managed::new(),
        tracked: Cell::new(false),
    })?;
    track(&function);
    Ok(function.into_any())
}

/// The number of arguments in a vectorcall's count, whose top bit says something else.
#[inline(always)]
fn arguments(count: usize) -> isize {
    (count & !ffi::PY_VECTORCALL_ARGUMENTS_OFFSET) as isize
}

unsafe extern "C" fn call<R: Return, F: Fn(Args<'_>) -> R + Copy>(
    _: Ptr,
    args: *const Ptr,
    count: usize,
    names: Ptr,
) -> Ptr {
    // SAFETY: the vectorcall convention; the arguments are borrowed for the call.
    guard(|| unsafe { conjure::<F>()(Args::fast(args, arguments(count), names)) })
}

unsafe extern "C" fn call_method<S: Class, R: Return, F>(
    function: Ptr,
    args: *const Ptr,
    count: usize,
    names: Ptr,
) -> Ptr
where
    F: Fn(&Object<S>, Args<'_>) -> R + Copy,
{
    guard(|| {
        // SAFETY: the vectorcall convention; the arguments are borrowed for the call.
        unsafe {
            let count = arguments(count);
            if count > 0
                && let Some(this) = Any::from_ptr(*args).cast::<S>()
            {
                return conjure::<F>()(this, Args::fast(args.add(1), count - 1, names)).into_res();
            }
            Err(wrong_self::<S>(Any::from_ptr(function), (count > 0).then(|| Any::from_ptr(*args))))
        }
    })
}

#[cold]
fn wrong_self<S: Class>(function: &Any, given: Option<&Any>) -> super::error::Raised {
    let name = match function.attr(&names::DUNDER_QUALNAME).and_then(|name| value::text_of(&name)) {
        Ok(name) => name,
        Err(raised) => return raised,
    };
    match given {
        None => type_error(&format!("{name}() missing 1 required positional argument: 'self'")),
        Some(given) => type_error(&format!(
            "{name}() requires a '{}' object but received a '{}'",
            S::NAME.to_string_lossy(),
            value::type_name(given)
        )),
    }
}

/// Binds like a function: as itself on the class, as a method on an instance.
unsafe extern "C" fn bind(function: Ptr, instance: Ptr, _: Ptr) -> Ptr {
    // SAFETY: the descriptor protocol; no instance is null or None.
    unsafe {
        if instance.is_null() || instance == ffi::Py_None() {
            ffi::Py_INCREF(function);
            return function;
        }
        PyMethod_New(function, instance)
    }
}

fn of_model(this: &Function, name: &'static Name) -> Res {
    match this.model.get() {
        Some(model) => model.attr(name),
        None => Ok(value::none()),
    }
}

fn repr(this: &Function) -> Res<String> {
    let name = value::text_of(&*of_model(this, &names::DUNDER_QUALNAME)?)?;
    Ok(format!("<function {name} at {:p}>", this.as_ptr()))
}

/// Makes the type; once, when the module is initialised.
pub(super) fn build() -> Res<()> {
    Builder::<FunctionState>::new(c"")
        .not_constructible()
        .dict(std::mem::offset_of!(FunctionState, dict))
        .weakrefs(std::mem::offset_of!(FunctionState, weakrefs))
        .vectorcall(std::mem::offset_of!(FunctionState, entry))
        .binds(bind as *mut c_void)
        .repr(repr)
        .getter(c"__name__", |this: &Function| of_model(this, &names::DUNDER_NAME))
        .getter(c"__qualname__", |this: &Function| of_model(this, &names::DUNDER_QUALNAME))
        .getter(c"__code__", |this: &Function| of_model(this, &names::DUNDER_CODE))
        .getter(c"__defaults__", |this: &Function| of_model(this, &names::DUNDER_DEFAULTS))
        .getter(c"__kwdefaults__", |this: &Function| of_model(this, &names::DUNDER_KWDEFAULTS))
        .getter(c"__annotations__", |this: &Function| of_model(this, &names::DUNDER_ANNOTATIONS))
        .getter(c"__doc__", |this: &Function| of_model(this, &names::DUNDER_DOC))
        .getter(c"__module__", |_: &Function| "aioxide".to_owned())
        .noargs(c"__reduce__", c"Pickled by its name.", |this: &Function| {
            of_model(this, &names::DUNDER_QUALNAME)
        })
        .build()
        .map(|_| ())
}

/// `class.name = value` for a class of ours.
pub(crate) fn add_to_class(class: &Any, name: &'static Name, value: &Any) -> Res<()> {
    // SAFETY: a live heap type, a name and a value. Heap types of ours are not immutable.
    unsafe {
        match ffi::PyObject_SetAttr(class.as_ptr(), name.get().as_ptr(), value.as_ptr()) {
            0 => Ok(()),
            _ => Err(super::error::Raised),
        }
    }
}

/// The unbound function behind `class.name`, for a model.
pub(crate) fn model_of(class: &Any, name: &'static Name) -> Res {
    // SAFETY: a live object and a name.
    unsafe { checked(ffi::PyObject_GetAttr(class.as_ptr(), name.get().as_ptr())) }
}
