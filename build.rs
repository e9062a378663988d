//! Tells rustc which Python it is building for: `cfg(Py_3_12)` and friends for the version,
//! `cfg(py_sys_config = "Py_DEBUG")` for a debug interpreter.

fn main() {
    // Another interpreter still runs this again: pyo3-ffi, which we read it from, asks for that.
    println!("cargo::rerun-if-changed=build.rs");
    pyo3_build_config::use_pyo3_cfgs();
    pyo3_build_config::add_extension_module_link_args();
}
