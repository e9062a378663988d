//! Values that the module makes once, at import, and keeps for the life of the process.

use std::cell::OnceCell;

/// A cell that is filled at import and read ever after.
pub(crate) struct Global<T>(OnceCell<T>);

// SAFETY: filled and read only with the GIL held; what it holds is never dropped.
unsafe impl<T> Sync for Global<T> {}

impl<T> Global<T> {
    pub(crate) const fn new() -> Global<T> {
        Global(OnceCell::new())
    }

    /// Fills the cell; a second filling is ignored (the module is imported once).
    pub(crate) fn fill(&self, value: T) {
        let _ = self.0.set(value);
    }

    /// The value, if the cell was filled.
    pub(crate) fn peek(&'static self) -> Option<&'static T> {
        self.0.get()
    }

    #[inline(always)]
    pub(crate) fn get(&'static self) -> &'static T {
        self.0.get().expect("aioxide._core is used before it was imported")
    }
}
