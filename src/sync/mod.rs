//! Locks, events, conditions, semaphores, barriers and queues, over one list of waiters.

mod bound;
mod lock;
mod methods;
mod queue;
mod queue_hooks;
mod queue_line;
mod queue_storage;
mod queue_type;

use crate::py::Res;
use crate::py::module::Module;
use crate::tasks::waiters;

/// Makes the types and adds them to the module.
pub(crate) fn add_to(module: &Module<'_>) -> Res<()> {
    module.add(c"Lock", lock::build()?)?;
    queue_type::add_to(module)
}
