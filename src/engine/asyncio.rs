//! What the engine takes from the standard library: exception types, formatting, registries.
//!
//! Imported once. Formatting (reprs, stacks, log texts) stays asyncio's own Python code, so that
//! it is equal by construction and follows the running version.

use crate::py::{Any, Builtin, Global, Own, Raised, Res, import, raise};

/// The imported objects.
pub(crate) struct Asyncio {
    pub(crate) cancelled_error: Own<Any>,
    pub(crate) invalid_state_error: Own<Any>,
    pub(crate) future_class: Own<Any>,
    pub(crate) task_class: Own<Any>,
    pub(crate) handle_class: Own<Any>,
    pub(crate) timer_handle_class: Own<Any>,
    pub(crate) future_repr: Own<Any>,
    pub(crate) task_repr: Own<Any>,
    pub(crate) task_get_stack: Own<Any>,
    pub(crate) task_print_stack: Own<Any>,
    pub(crate) iscoroutine: Own<Any>,
    pub(crate) extract_stack: Own<Any>,
    pub(crate) extract_call_stack: Own<Any>,
    pub(crate) get_event_loop: Own<Any>,
    pub(crate) get_running_loop: Own<Any>,
    pub(crate) set_running_loop: Own<Any>,
    pub(crate) current_task: Own<Any>,
    pub(crate) register_task: Own<Any>,
    pub(crate) unregister_task: Own<Any>,
    pub(crate) enter_task: Own<Any>,
    pub(crate) leave_task: Own<Any>,
    /// 3.12 and later; eager tasks do not exist before.
    pub(crate) swap_current_task: Option<Own<Any>>,
    /// `{loop: task}` up to 3.13; later each thread keeps its own.
    pub(crate) current_tasks: Option<Own<Any>>,
}

static ASYNCIO: Global<Asyncio> = Global::new();

/// The imported objects; valid once the module is imported.
#[inline(always)]
pub(crate) fn asyncio() -> &'static Asyncio {
    ASYNCIO.get()
}

/// Imports them. A missing private name means a CPython that we do not know.
pub(crate) fn load() -> Res<()> {
    let optional = |name| import(c"_asyncio", name).map_err(crate::py::error::discard).ok();
    let loaded = (|| -> Res<Asyncio> {
        Ok(Asyncio {
            cancelled_error: import(c"asyncio.exceptions", c"CancelledError")?,
            invalid_state_error: import(c"asyncio.exceptions", c"InvalidStateError")?,
            future_class: import(c"_asyncio", c"Future")?,
            task_class: import(c"_asyncio", c"Task")?,
            handle_class: import(c"asyncio.events", c"Handle")?,
            timer_handle_class: import(c"asyncio.events", c"TimerHandle")?,
            future_repr: import(c"asyncio.base_futures", c"_future_repr")?,
            task_repr: import(c"asyncio.base_tasks", c"_task_repr")?,
            task_get_stack: import(c"asyncio.base_tasks", c"_task_get_stack")?,
            task_print_stack: import(c"asyncio.base_tasks", c"_task_print_stack")?,
            iscoroutine: import(c"asyncio.coroutines", c"iscoroutine")?,
            extract_stack: import(c"traceback", c"extract_stack")?,
            extract_call_stack: import(c"asyncio.format_helpers", c"extract_stack")?,
            get_event_loop: import(c"asyncio.events", c"get_event_loop")?,
            get_running_loop: import(c"_asyncio", c"get_running_loop")?,
            current_task: import(c"asyncio.tasks", c"current_task")?,
            set_running_loop: import(c"_asyncio", c"_set_running_loop")?,
            register_task: import(c"_asyncio", c"_register_task")?,
            unregister_task: import(c"_asyncio", c"_unregister_task")?,
            enter_task: import(c"_asyncio", c"_enter_task")?,
            leave_task: import(c"_asyncio", c"_leave_task")?,
            swap_current_task: optional(c"_swap_current_task"),
            current_tasks: optional(c"_current_tasks"),
        })
    })();
    match loaded {
        Ok(loaded) if loaded.current_tasks.is_none() && loaded.swap_current_task.is_none() => {
            Err(raise(
                Builtin::ImportError.get(),
                "this Python's asyncio keeps its current task where aioxide does not know",
            ))
        }
        Ok(loaded) => {
            ASYNCIO.fill(loaded);
            Ok(())
        }
        Err(Raised) => Err(Raised),
    }
}

/// Whether this exception is asyncio's CancelledError.
pub(crate) fn is_cancelled_error(exception: &Any) -> bool {
    crate::py::error::is_kind(exception, &asyncio().cancelled_error)
}

/// Raises asyncio's InvalidStateError.
#[cold]
pub(crate) fn invalid_state(message: &str) -> Raised {
    raise(&asyncio().invalid_state_error, message)
}
