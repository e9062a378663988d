//! aioxide's native half: the module table, nothing else.

mod children;
mod engine;
mod net;
mod py;
mod streams;
mod sync;
mod tasks;
mod tls;

/// The import system's way in.
///
/// # Safety
/// Called by CPython, with the GIL held.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
pub unsafe extern "C" fn PyInit__core() -> *mut pyo3_ffi::PyObject {
    // SAFETY: this is the import system's call.
    unsafe {
        py::module::init(c"_core", |module| {
            engine::asyncio::load()?;
            engine::add_to(module)?;
            tasks::add_to(module)?;
            sync::add_to(module)?;
            net::add_to(module)?;
            streams::add_to(module)?;
            tls::add_to(module)?;
            children::add_to(module)?;
            module.add(c"__version__", &*py::value::string(env!("CARGO_PKG_VERSION"))?)
        })
    }
}
