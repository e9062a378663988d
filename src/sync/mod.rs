//! Locks, events, conditions, semaphores, barriers and queues, over one list of waiters.

mod bound;
mod lock;
mod methods;

use crate::py::Res;
use crate::py::module::Module;
use crate::tasks::waiters;

/// Makes the types and adds them to the module.
pub(crate) fn add_to(module: &Module<'_>) -> Res<()> {
    module.add(c"Lock", lock::build()?)
}
