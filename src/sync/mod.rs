//! Locks, events, conditions, semaphores, barriers and queues, over one list of waiters.

mod barrier;
mod bound;
mod condition;
mod count;
mod event;
mod lock;
pub(crate) mod methods;
mod queue;
mod queue_hooks;
mod queue_line;
mod queue_storage;
mod queue_type;
mod semaphore;

use crate::py::Res;
use crate::py::module::Module;
use crate::tasks::waiters;

/// Makes the types and adds them to the module.
pub(crate) fn add_to(module: &Module<'_>) -> Res<()> {
    module.add(c"Lock", lock::build()?)?;
    queue_type::add_to(module)?;
    module.add(c"Event", event::build()?)?;
    module.add(c"Condition", condition::build()?)?;
    module.add(c"Semaphore", semaphore::build()?)?;
    module.add(c"BoundedSemaphore", semaphore::build_bounded()?)?;
    module.add(c"Barrier", barrier::build()?)
}
