//! Native types, from a Rust description.
//!
//! A type is described by its state's `Class` and a `Builder` that lists methods, attributes and
//! slots as plain safe functions over `&Object<State>`; the C entry points are made in `entry`.

use std::cell::Cell;
use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3_ffi as ffi;

use super::args::Args;
use super::call::import;
use super::entry::{self, Return};
use super::error::{Builtin, Raised, Res, checked, raise, restore};
use super::memory;
use super::object::{Any, AsObject, Managed, Object, Own, Stop, Visitor};
use super::value;

/// Where a type lives once it is made.
pub(crate) struct TypeCell(AtomicPtr<ffi::PyTypeObject>);

impl TypeCell {
    pub(crate) const fn new() -> TypeCell {
        TypeCell(AtomicPtr::new(std::ptr::null_mut()))
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> *mut ffi::PyTypeObject {
        self.0.load(Ordering::Relaxed)
    }

    /// The type as an object; only after the module was initialised.
    pub(crate) fn object(&self) -> &'static Any {
        let ptr = self.get();
        assert!(!ptr.is_null(), "a native type was used before it was made");
        // SAFETY: types are made once and kept for ever.
        unsafe { Any::from_ptr(ptr.cast()) }
    }
}

/// A native type's state and its place in the interpreter.
pub(crate) trait Class: Sized + 'static {
    /// `module.Name`.
    const NAME: &'static CStr;
    /// Whether the collector looks inside.
    const GC: bool = true;
    /// Whether `finalize` ever has something to say.
    const FINALIZES: bool = false;

    fn cell() -> &'static TypeCell;

    fn pool() -> Option<&'static memory::Pool> {
        None
    }
    /// The flag that says whether the collector knows the object; `None`: from birth.
    fn tracked(&self) -> Option<&Cell<bool>> {
        None
    }
    fn weakrefs(&self) -> Option<&Managed> {
        None
    }
    /// Visits every reference that the object owns.
    fn traverse(_object: &Object<Self>, _visitor: &Visitor) -> Result<(), Stop> {
        Ok(())
    }
    /// Drops the references that can close a cycle.
    fn clear(_object: &Object<Self>) {}
    /// Takes the object out of lists that point at it without owning it; first thing on death.
    /// Must not run Python code: the collector still knows the object, which has no references.
    fn leave(_object: &Object<Self>) {}
    /// Asked on death: is there something to report?
    fn wants_finalizer(_object: &Object<Self>) -> bool {
        false
    }
    /// Remembers that the collector has finalized the object, so that it cannot live twice.
    fn mark_finalized(&self) {}
    fn was_finalized(&self) -> bool {
        false
    }
    /// `__del__`: reports what should not go unnoticed. May run Python code.
    fn finalize(_object: &Object<Self>) {}
}

/// Collects a type's description, then makes the type.
pub(crate) struct Builder<S: Class> {
    doc: &'static CStr,
    methods: Vec<ffi::PyMethodDef>,
    attributes: Vec<ffi::PyGetSetDef>,
    members: Vec<ffi::PyMemberDef>,
    slots: Vec<ffi::PyType_Slot>,
    flags: std::ffi::c_ulong,
    base: Option<&'static Any>,
    hidden: Vec<&'static CStr>,
    state: PhantomData<S>,
}

type Doc = &'static CStr;

impl<S: Class> Builder<S> {
    pub(crate) fn new(doc: Doc) -> Self {
        let mut builder = Builder {
            doc,
            methods: Vec::new(),
            attributes: Vec::new(),
            members: Vec::new(),
            slots: Vec::new(),
            flags: ffi::Py_TPFLAGS_DEFAULT,
            base: None,
            hidden: Vec::new(),
            state: PhantomData,
        };
        builder.slot(ffi::Py_tp_dealloc, memory::dealloc::<S> as *mut c_void);
        if S::GC {
            builder.flags |= ffi::Py_TPFLAGS_HAVE_GC;
            builder.slot(ffi::Py_tp_traverse, entry::traverse::<S> as *mut c_void);
            builder.slot(ffi::Py_tp_clear, entry::clear::<S> as *mut c_void);
        }
        if S::FINALIZES {
            builder.slot(ffi::Py_tp_finalize, entry::finalize::<S> as *mut c_void);
        }
        builder
    }

    fn slot(&mut self, slot: c_int, pfunc: *mut c_void) {
        self.slots.push(ffi::PyType_Slot { slot, pfunc });
    }

    fn method(
        mut self,
        name: &'static CStr,
        doc: Doc,
        flags: c_int,
        entry: ffi::PyMethodDefPointer,
    ) -> Self {
        self.methods.push(ffi::PyMethodDef {
            ml_name: name.as_ptr(),
            ml_meth: entry,
            ml_flags: flags,
            ml_doc: doc.as_ptr(),
        });
        self
    }

    /// A method without arguments.
    pub(crate) fn noargs<R: Return, F>(self, name: &'static CStr, doc: Doc, _: F) -> Self
    where
        F: Fn(&Object<S>) -> R + Copy,
    {
        let entry = ffi::PyMethodDefPointer { PyCFunction: entry::noargs::<S, R, F> };
        self.method(name, doc, ffi::METH_NOARGS, entry)
    }

    /// A method without arguments that shadows the one made from a slot (which stays as it is).
    pub(crate) fn noargs_over_slot<R: Return, F>(self, name: &'static CStr, doc: Doc, _: F) -> Self
    where
        F: Fn(&Object<S>) -> R + Copy,
    {
        let entry = ffi::PyMethodDefPointer { PyCFunction: entry::noargs::<S, R, F> };
        self.method(name, doc, ffi::METH_NOARGS | ffi::METH_COEXIST, entry)
    }

    /// A method with one positional argument.
    pub(crate) fn one<R: Return, F>(self, name: &'static CStr, doc: Doc, _: F) -> Self
    where
        F: Fn(&Object<S>, &Any) -> R + Copy,
    {
        let entry = ffi::PyMethodDefPointer { PyCFunction: entry::one::<S, R, F> };
        self.method(name, doc, ffi::METH_O, entry)
    }

    /// A method with any arguments.
    pub(crate) fn args<R: Return, F>(self, name: &'static CStr, doc: Doc, _: F) -> Self
    where
        F: Fn(&Object<S>, Args<'_>) -> R + Copy,
    {
        let entry = ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: entry::fast::<S, R, F> };
        self.method(name, doc, ffi::METH_FASTCALL | ffi::METH_KEYWORDS, entry)
    }

    /// `Class[item]`, as typing wants it.
    pub(crate) fn generic(self) -> Self {
        let entry = ffi::PyMethodDefPointer { PyCFunction: entry::generic_alias };
        let doc = c"See PEP 585";
        self.method(c"__class_getitem__", doc, ffi::METH_O | ffi::METH_CLASS, entry)
    }

    /// An attribute that cannot be set.
    pub(crate) fn getter<R: Return, F>(mut self, name: &'static CStr, _: F) -> Self
    where
        F: Fn(&Object<S>) -> R + Copy,
    {
        self.attributes.push(ffi::PyGetSetDef {
            name: name.as_ptr(),
            get: Some(entry::get::<S, R, F>),
            set: None,
            doc: std::ptr::null(),
            closure: std::ptr::null_mut(),
        });
        self
    }

    /// An attribute that can be set.
    pub(crate) fn property<R: Return, F, G>(mut self, name: &'static CStr, _: F, _: G) -> Self
    where
        F: Fn(&Object<S>) -> R + Copy,
        G: Fn(&Object<S>, &Any) -> Res<()> + Copy,
    {
        self.attributes.push(ffi::PyGetSetDef {
            name: name.as_ptr(),
            get: Some(entry::get::<S, R, F>),
            set: Some(entry::set::<S, G>),
            doc: std::ptr::null(),
            closure: std::ptr::null_mut(),
        });
        self
    }

    fn offset_member(&mut self, name: &'static CStr, field: usize) {
        self.members.push(ffi::PyMemberDef {
            name: name.as_ptr(),
            type_code: ffi::Py_T_PYSSIZET,
            offset: (Object::<S>::STATE_OFFSET + field) as isize,
            flags: ffi::Py_READONLY,
            doc: std::ptr::null(),
        });
    }

    /// Instances can be weakly referenced; `field` is the offset of a `Managed` in the state.
    pub(crate) fn weakrefs(mut self, field: usize) -> Self {
        self.offset_member(c"__weaklistoffset__", field);
        self
    }

    /// Instances have a `__dict__`; `field` is the offset of a `Slot` in the state.
    pub(crate) fn dict(mut self, field: usize) -> Self {
        self.offset_member(c"__dictoffset__", field);
        self.attributes.push(ffi::PyGetSetDef {
            name: c"__dict__".as_ptr(),
            get: Some(entry::tracking_dict::<S>),
            set: Some(ffi::PyObject_GenericSetDict),
            doc: std::ptr::null(),
            closure: std::ptr::null_mut(),
        });
        self.slot(ffi::Py_tp_setattro, entry::tracking_setattr::<S> as *mut c_void);
        self
    }

    /// Instances can be called by the vectorcall convention; `field` is the entry's offset.
    pub(super) fn vectorcall(mut self, field: usize) -> Self {
        self.flags |= ffi::Py_TPFLAGS_HAVE_VECTORCALL;
        self.offset_member(c"__vectorcalloffset__", field);
        self.slot(ffi::Py_tp_call, ffi::PyVectorcall_Call as *mut c_void);
        self
    }

    /// Instances in a class bind as functions do; `bind` is their `tp_descr_get`.
    pub(super) fn binds(mut self, bind: *mut c_void) -> Self {
        // Immutable: only then does the interpreter (3.12 and later) remember where a method was.
        self.flags |= ffi::Py_TPFLAGS_METHOD_DESCRIPTOR | ffi::Py_TPFLAGS_IMMUTABLETYPE;
        self.slot(ffi::Py_tp_descr_get, bind);
        self
    }

    /// Python classes may inherit.
    pub(crate) fn subclassable(mut self) -> Self {
        self.flags |= ffi::Py_TPFLAGS_BASETYPE;
        self
    }

    /// Instances come from native code only.
    pub(crate) fn not_constructible(mut self) -> Self {
        self.flags |= ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
        self
    }

    pub(crate) fn base(mut self, base: &'static Any) -> Self {
        self.base = Some(base);
        self
    }

    /// `tp_new`: makes a blank state, whatever the arguments.
    pub(crate) fn blank<F: Fn() -> S + Copy>(mut self, _: F) -> Self {
        self.slot(ffi::Py_tp_new, entry::new::<S, F> as *mut c_void);
        self
    }

    pub(crate) fn init<F>(mut self, _: F) -> Self
    where
        F: Fn(&Object<S>, Args<'_>) -> Res<()> + Copy,
    {
        self.slot(ffi::Py_tp_init, entry::init::<S, F> as *mut c_void);
        self
    }

    pub(crate) fn repr<R: Return, F: Fn(&Object<S>) -> R + Copy>(mut self, _: F) -> Self {
        self.slot(ffi::Py_tp_repr, entry::unary::<S, R, F> as *mut c_void);
        self
    }

    pub(crate) fn iter<R: Return, F: Fn(&Object<S>) -> R + Copy>(mut self, _: F) -> Self {
        self.slot(ffi::Py_tp_iter, entry::unary::<S, R, F> as *mut c_void);
        self
    }

    pub(crate) fn awaits<R: Return, F: Fn(&Object<S>) -> R + Copy>(mut self, _: F) -> Self {
        self.slot(ffi::Py_am_await, entry::unary::<S, R, F> as *mut c_void);
        self
    }

    pub(crate) fn next<F>(mut self, _: F) -> Self
    where
        F: Fn(&Object<S>) -> Res<Option<Own<Any>>> + Copy,
    {
        self.slot(ffi::Py_tp_iternext, entry::next::<S, F> as *mut c_void);
        self
    }

    pub(crate) fn async_iter<R: Return, F>(mut self, _: F) -> Self
    where
        F: Fn(&Object<S>) -> R + Copy,
    {
        self.slot(ffi::Py_am_aiter, entry::unary::<S, R, F> as *mut c_void);
        self
    }

    pub(crate) fn async_next<R: Return, F>(mut self, _: F) -> Self
    where
        F: Fn(&Object<S>) -> R + Copy,
    {
        self.slot(ffi::Py_am_anext, entry::unary::<S, R, F> as *mut c_void);
        self
    }

    pub(crate) fn sends<F: Fn(&Object<S>) -> Res<super::Sent> + Copy>(mut self, _: F) -> Self {
        self.slot(ffi::Py_am_send, entry::send::<S, F> as *mut c_void);
        self
    }

    /// Attributes that the type does not have are asked for elsewhere.
    pub(crate) fn forwarding<F, G>(mut self, _: F, _: G) -> Self
    where
        F: Fn(&Object<S>, &Any) -> Res<Option<Own<Any>>> + Copy,
        G: Fn(&Object<S>, &Any, &Any) -> Res<bool> + Copy,
    {
        self.slot(ffi::Py_tp_getattro, entry::getattro::<S, F> as *mut c_void);
        self.slot(ffi::Py_tp_setattro, entry::setattro::<S, G> as *mut c_void);
        self
    }

    pub(crate) fn compare<F>(mut self, _: F) -> Self
    where
        F: Fn(&Object<S>, &Any, c_int) -> Res<Option<bool>> + Copy,
    {
        self.slot(ffi::Py_tp_richcompare, entry::compare::<S, F> as *mut c_void);
        self
    }

    pub(crate) fn hash<F: Fn(&Object<S>) -> isize + Copy>(mut self, _: F) -> Self {
        self.slot(ffi::Py_tp_hash, entry::hash::<S, F> as *mut c_void);
        self
    }

    /// Takes `name` out of the finished type's dict while the slot behind it keeps working.
    pub(crate) fn hide(mut self, name: &'static CStr) -> Self {
        self.hidden.push(name);
        self
    }

    /// Makes the type and puts it into its cell. The tables live as long as the process.
    pub(crate) fn build(mut self) -> Res<&'static Any> {
        self.methods.push(ffi::PyMethodDef::zeroed());
        self.slot_table(ffi::Py_tp_methods);
        // SAFETY: an all-zero entry ends the C tables.
        unsafe {
            self.attributes.push(std::mem::zeroed());
            self.members.push(std::mem::zeroed());
        }
        self.slot_table(ffi::Py_tp_getset);
        self.slot_table(ffi::Py_tp_members);
        // A type whose instances have docs of their own has none: it would hide theirs.
        if !self.doc.is_empty() {
            self.slot(ffi::Py_tp_doc, self.doc.as_ptr() as *mut c_void);
        }
        self.slot(0, std::ptr::null_mut());
        let mut spec = ffi::PyType_Spec {
            name: S::NAME.as_ptr(),
            basicsize: size_of::<Object<S>>() as c_int,
            itemsize: 0,
            flags: self.flags as std::ffi::c_uint,
            slots: self.slots.as_mut_ptr(),
        };
        // SAFETY: the spec is complete, and its name and tables live for ever; the base is a type.
        let made = unsafe {
            checked(match self.base {
                Some(base) => ffi::PyType_FromSpecWithBases(&mut spec, base.as_ptr()),
                None => ffi::PyType_FromSpec(&mut spec),
            })?
        };
        for name in &self.hidden {
            // SAFETY: a fresh heap type has a dict of its own, and nobody uses the type yet.
            unsafe {
                let kind = made.as_ptr().cast::<ffi::PyTypeObject>();
                if ffi::PyDict_DelItemString((*kind).tp_dict, name.as_ptr()) != 0 {
                    return Err(Raised);
                }
                ffi::PyType_Modified(kind);
            }
        }
        // Messages name a type as they would if it were written in Python: without the module.
        let short = S::NAME.to_bytes_with_nul();
        let start = short.iter().rposition(|&byte| byte == b'.').map_or(0, |dot| dot + 1);
        // SAFETY: the rest of a text that ends in NUL and lives for ever; the name that `__name__`
        // and `__module__` answer with was taken when the type was made.
        unsafe {
            let kind = made.as_ptr().cast::<ffi::PyTypeObject>();
            (*kind).tp_name = short[start..].as_ptr().cast();
        }
        S::cell().0.store(made.into_ptr().cast(), Ordering::Relaxed);
        Ok(S::cell().object())
    }

    fn slot_table(&mut self, slot: c_int) {
        fn leak<T>(table: &mut Vec<T>) -> *mut c_void {
            std::mem::take(table).leak().as_mut_ptr().cast()
        }
        let table = match slot {
            ffi::Py_tp_methods => leak(&mut self.methods),
            ffi::Py_tp_getset => leak(&mut self.attributes),
            _ => leak(&mut self.members),
        };
        self.slot(slot, table);
    }
}

/// A bound native method that is no attribute of any type: what a Future calls to wake a Task.
pub(crate) fn bound<S: Class, R: Return, F>(
    definition: &'static BoundMethod,
    this: &Object<S>,
    _: F,
) -> Res
where
    F: Fn(&Object<S>, &Any) -> R + Copy,
{
    let table = definition.table.get_or_init(|| {
        Table(Box::leak(Box::new(ffi::PyMethodDef {
            ml_name: definition.name.as_ptr(),
            ml_meth: ffi::PyMethodDefPointer { PyCFunction: entry::one::<S, R, F> },
            ml_flags: ffi::METH_O,
            ml_doc: std::ptr::null(),
        })))
    });
    // SAFETY: the definition lives for ever; self has the type that the entry point expects.
    unsafe {
        checked(ffi::PyCMethod_New(
            table.0,
            this.as_ptr(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        ))
    }
}

/// Gives `class` its own copies of the methods that it inherits from `base`.
///
/// The interpreter calls a native method without detours only if the object's type is exactly the
/// one that the method was made for; an inherited method takes the long way, about 60
/// instructions a call. CPython's own Task repeats all of Future's methods for that.
pub(crate) fn adopt_methods(class: &Any, base: &Any) -> Res<()> {
    // SAFETY: both are types, alive for the call; the definitions behind native methods of ours
    // live for ever.
    unsafe {
        let (class_type, base_type) =
            (class.as_ptr().cast::<ffi::PyTypeObject>(), base.as_ptr().cast::<ffi::PyTypeObject>());
        if ffi::PyType_Check(class.as_ptr()) == 0
            || ffi::PyType_IsSubtype(class_type, base_type) == 0
        {
            return Err(raise(Builtin::TypeError.get(), "only a subclass can adopt methods"));
        }
        let own = checked(ffi::PyObject_GetAttrString(class.as_ptr(), c"__dict__".as_ptr()))?;
        // Copied first: the base's dict may not change while it is walked.
        let theirs = checked(ffi::PyDict_Copy((*base_type).tp_dict))?;
        let (mut place, mut name, mut method) = (0, std::ptr::null_mut(), std::ptr::null_mut());
        while ffi::PyDict_Next(theirs.as_ptr(), &mut place, &mut name, &mut method) != 0 {
            let is_method = ffi::Py_TYPE(method) == &raw mut ffi::PyMethodDescr_Type;
            // A dunder would change the slot behind it.
            let name_object = Any::from_ptr(name);
            if !is_method || value::text_of(name_object)?.starts_with("__") {
                continue;
            }
            match ffi::PySequence_Contains(own.as_ptr(), name) {
                0 => {}
                1 => continue,
                _ => return Err(Raised),
            }
            let definition = (*method.cast::<ffi::PyMethodDescrObject>()).d_method;
            let copy = checked(ffi::PyDescr_NewMethod(class_type, definition))?;
            if ffi::PyObject_SetAttr(class.as_ptr(), name, copy.as_ptr()) != 0 {
                return Err(Raised);
            }
        }
    }
    Ok(())
}

/// Lets instances of `other` pass for instances of `class`, to isinstance() and issubclass().
///
/// `class` becomes an abstract base class, and `other` is registered with it. The metaclass is set
/// on the finished type: up to 3.11 types from a spec have no other way to one, and from 3.12 on
/// they refuse a metaclass that has a `__new__`, as ABCMeta does. Subclasses come later, in Python,
/// and may have abstract bases besides, which any other metaclass would forbid them.
pub(crate) fn admit(class: &Any, other: &Any) -> Res<()> {
    let metaclass = import(c"abc", c"ABCMeta")?;
    let plain = &raw mut ffi::PyType_Type;
    // SAFETY: `class` is a heap type of ours, whose metaclass is `type`. ABCMeta is a type without
    // fields beyond those of `type`, which is checked, so that the object has its layout. Types of
    // ours live for ever, and so then does the reference to their metaclass.
    unsafe {
        let new = metaclass.as_ptr().cast::<ffi::PyTypeObject>();
        if class.type_ptr() != plain
            || (*new).tp_basicsize != (*plain).tp_basicsize
            || (*new).tp_itemsize != (*plain).tp_itemsize
        {
            return Err(raise(Builtin::TypeError.get(), "ABCMeta is not as aioxide knows it"));
        }
        (*class.as_ptr()).ob_type = metaclass.into_ptr().cast();
        ffi::PyType_Modified(class.as_ptr().cast());
    }
    import(c"_abc", c"_abc_init")?.call(&[class])?;
    import(c"_abc", c"_abc_register")?.call(&[class, other]).map(|_| ())
}

/// Whether both are native methods with the same code behind them.
pub(crate) fn is_same_method(left: &Any, right: &Any) -> bool {
    // SAFETY: the field is read after the type was checked.
    let code = |method: &Any| unsafe {
        (method.type_ptr() == &raw mut ffi::PyMethodDescr_Type)
            .then(|| (*method.as_ptr().cast::<ffi::PyMethodDescrObject>()).d_method)
    };
    code(left).is_some() && code(left) == code(right)
}

/// A module function's C definition, with the entry that ends the table.
pub(super) fn function_entry<S, R: Return, F>(
    name: &'static CStr,
    doc: Doc,
) -> *mut ffi::PyMethodDef
where
    F: Fn(&Object<S>, Args<'_>) -> R + Copy,
{
    let entry = ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: entry::fast::<S, R, F> },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: doc.as_ptr(),
    };
    vec![entry, ffi::PyMethodDef::zeroed()].leak().as_mut_ptr()
}

/// The C definition behind [`bound`], made at first use.
pub(crate) struct BoundMethod {
    name: &'static CStr,
    table: std::sync::OnceLock<Table>,
}

struct Table(*mut ffi::PyMethodDef);
// SAFETY: written once before it is shared, then only read by the interpreter.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}

impl BoundMethod {
    pub(crate) const fn new(name: &'static CStr) -> Self {
        BoundMethod { name, table: std::sync::OnceLock::new() }
    }
}

/// Raises `exception` in the caller's name; for `throw` methods.
pub(crate) fn raise_object(exception: &Any) -> Raised {
    if value::is_exception_class(exception) {
        return match exception.call(&[]) {
            Ok(instance) if value::is_exception(&instance) => restore(instance),
            Ok(_) => raise(
                Builtin::TypeError.get(),
                "calling the exception class did not give an exception",
            ),
            Err(raised) => raised,
        };
    }
    if value::is_exception(exception) {
        return restore(exception.own());
    }
    raise(
        Builtin::TypeError.get(),
        "exceptions must be classes or instances deriving from BaseException",
    )
}
