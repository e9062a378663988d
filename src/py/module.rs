//! The extension module itself: multi-phase initialisation, functions, and the refusal of
//! subinterpreters (our types and freelists belong to one interpreter).

use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;

use pyo3_ffi as ffi;

use super::args::Args;
use super::entry::Return;
use super::error::{Builtin, Raised, Res, raise};
use super::object::{Any, AsObject, Object, Ptr};

/// A module being filled.
pub(crate) struct Module<'a>(&'a Any);

impl Module<'_> {
    /// `module.name = value`.
    pub(crate) fn add(&self, name: &CStr, value: &Any) -> Res<()> {
        // SAFETY: a live module and a live object.
        if unsafe { ffi::PyModule_AddObjectRef(self.0.as_ptr(), name.as_ptr(), value.as_ptr()) }
            == 0
        {
            Ok(())
        } else {
            Err(Raised)
        }
    }

    /// Adds a function that takes any arguments.
    pub(crate) fn function<R, F>(&self, name: &'static CStr, doc: &'static CStr, _: F) -> Res<()>
    where
        R: Return,
        F: Fn(&Function, Args<'_>) -> R + Copy,
    {
        let definition = super::class::function_entry::<FunctionState, R, F>(name, doc);
        // SAFETY: the table lives for ever and ends in zeroes.
        if unsafe { ffi::PyModule_AddFunctions(self.0.as_ptr(), definition) } == 0 {
            Ok(())
        } else {
            Err(Raised)
        }
    }
}

/// What stands for `self` in a module's function: the module, of which nothing is needed.
pub(crate) type Function = Object<FunctionState>;
pub(crate) struct FunctionState(PhantomData<()>);

type Fill = fn(&Module<'_>) -> Res<()>;

/// `PyInit`: hands the interpreter the definition. `fill` runs in `exec_module`.
///
/// # Safety
/// Called by the import system, with the GIL held.
pub(crate) unsafe fn init(name: &'static CStr, fill: Fill) -> Ptr {
    // SAFETY: PyInit is called once a process; the definition is leaked and lives for ever.
    unsafe {
        EXEC = Some(fill);
        let slots = vec![
            ffi::PyModuleDef_Slot { slot: ffi::Py_mod_exec, value: exec as *mut c_void },
            #[cfg(Py_3_12)]
            ffi::PyModuleDef_Slot {
                slot: ffi::Py_mod_multiple_interpreters,
                value: ffi::Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED,
            },
            std::mem::zeroed(),
        ];
        let definition = Box::leak(Box::new(ffi::PyModuleDef {
            m_base: ffi::PyModuleDef_HEAD_INIT,
            m_name: name.as_ptr(),
            m_doc: c"The native half of aioxide.".as_ptr(),
            m_size: 0,
            m_methods: std::ptr::null_mut(),
            m_slots: slots.leak().as_mut_ptr(),
            m_traverse: None,
            m_clear: None,
            m_free: None,
        }));
        ffi::PyModuleDef_Init(definition)
    }
}

static mut EXEC: Option<Fill> = None;

unsafe extern "C" fn exec(module: Ptr) -> c_int {
    // SAFETY: the import system hands us a live module, with the GIL held.
    let (module, main) = unsafe {
        (Any::from_ptr(module), ffi::PyInterpreterState_Get() == ffi::PyInterpreterState_Main())
    };
    if !main {
        raise(
            Builtin::ImportError.get(),
            "aioxide does not support subinterpreters: import it in the main interpreter only",
        );
        return -1;
    }
    // SAFETY: written before the definition was handed out.
    let Some(fill) = (unsafe { EXEC }) else { return -1 };
    let filled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        super::stop::build()
            .and_then(|()| super::function::build())
            .and_then(|()| fill(&Module(module)))
    }));
    match filled {
        Ok(Ok(())) => 0,
        Ok(Err(Raised)) => -1,
        Err(_) => {
            raise(Builtin::SystemError.get(), "aioxide could not initialise");
            -1
        }
    }
}
