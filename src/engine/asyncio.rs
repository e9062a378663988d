//! What the engine takes from the standard library: exception types, formatting, registries.
//!
//! Imported once. Formatting (reprs, stacks, log texts) stays asyncio's own Python code, so that
//! it is equal by construction and follows the running version.

use crate::py::error::discard;
use crate::py::{Any, Builtin, CFunction, Global, Own, Raised, Res, import, names, raise, value};

/// The imported objects.
pub(crate) struct Asyncio {
    pub(crate) cancelled_error: Own<Any>,
    pub(crate) invalid_state_error: Own<Any>,
    pub(crate) coroutine_class: Own<Any>,
    pub(crate) deque_class: Own<Any>,
    pub(crate) future_class: Own<Any>,
    pub(crate) task_class: Own<Any>,
    /// The module, for `tasks.Task` and `tasks.current_task`, which may be replaced.
    pub(crate) tasks: Own<Any>,
    /// The module, for `futures.Future` and the call graph's functions, which may be replaced.
    pub(crate) futures: Own<Any>,
    pub(crate) handle_class: Own<Any>,
    pub(crate) logger: Own<Any>,
    /// What `call_soon_threadsafe` returns from 3.14 on.
    pub(crate) thread_safe_handle_class: Option<Own<Any>>,
    pub(crate) timer_handle_class: Own<Any>,
    pub(crate) set_result_unless_cancelled: Own<Any>,
    pub(crate) future_repr: Own<Any>,
    pub(crate) task_repr: Own<Any>,
    pub(crate) task_get_stack: Own<Any>,
    pub(crate) task_print_stack: Own<Any>,
    pub(crate) iscoroutine: Own<Any>,
    pub(crate) extract_stack: Own<Any>,
    pub(crate) extract_call_stack: Own<Any>,
    pub(crate) get_event_loop: Own<Any>,
    pub(crate) get_running_loop: Own<Any>,
    pub(crate) get_running_loop_or_none: Own<Any>,
    pub(crate) lock_class: Own<Any>,
    pub(crate) gathering_class: Own<Any>,
    pub(crate) isawaitable: Own<Any>,
    pub(crate) isfuture: Own<Any>,
    pub(crate) partial: Own<Any>,
    pub(crate) timeouts: Own<Any>,
    pub(crate) timeout_states: Own<Any>,
    pub(crate) task_group_class: Own<Any>,
    pub(crate) exception_group: Own<Any>,
    pub(crate) base_exception_group: Own<Any>,
    pub(crate) queue_class: Own<Any>,
    pub(crate) queue_empty: Own<Any>,
    /// What a thread pool expects of the queue that it drains.
    pub(crate) nothing_queued: Own<Any>,
    pub(crate) convert_future_exception: Own<Any>,
    pub(crate) concurrent_future_class: Own<Any>,
    /// Whether the loop's own thread, by cancelling a concurrent Future, cancels the Task behind it
    /// at once (newer) or by a callback (older). It changed in bug-fix releases, too.
    pub(crate) cancels_at_once: bool,
    pub(crate) queue_full: Own<Any>,
    /// Ours up to 3.12, which have none.
    pub(crate) queue_shut_down: Own<Any>,
    pub(crate) heappush: Own<Any>,
    pub(crate) heappop: Own<Any>,
    /// The module: its `_set_running_loop` is looked up at each use, because tests replace it.
    pub(crate) events: Own<Any>,
    pub(crate) current_task: CFunction,
    pub(crate) register_task: Own<Any>,
    pub(crate) unregister_task: Own<Any>,
    pub(crate) enter_task: Own<Any>,
    pub(crate) leave_task: Own<Any>,
    /// 3.12 and later; eager tasks do not exist before.
    pub(crate) swap_current_task: Option<CFunction>,
    /// 3.14 and later, for the call graph.
    pub(crate) add_to_awaited_by: Option<Own<Any>>,
    pub(crate) discard_from_awaited_by: Option<Own<Any>>,
    /// Whether `set_exception(StopIteration)` is wrapped (newer) or refused (older). It changed in
    /// bug-fix releases, so the interpreter's own Future is asked.
    pub(crate) wraps_stop_iteration: bool,
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
    let optional = |name| import(c"_asyncio", name).map_err(discard).ok();
    let loaded = (|| -> Res<Asyncio> {
        Ok(Asyncio {
            cancelled_error: import(c"asyncio.exceptions", c"CancelledError")?,
            invalid_state_error: import(c"asyncio.exceptions", c"InvalidStateError")?,
            coroutine_class: import(c"types", c"CoroutineType")?,
            deque_class: import(c"collections", c"deque")?,
            future_class: import(c"_asyncio", c"Future")?,
            task_class: import(c"_asyncio", c"Task")?,
            tasks: import(c"asyncio", c"tasks")?,
            futures: import(c"asyncio", c"futures")?,
            handle_class: import(c"asyncio.events", c"Handle")?,
            logger: import(c"asyncio.log", c"logger")?,
            thread_safe_handle_class: import(c"asyncio.events", c"_ThreadSafeHandle")
                .map_err(discard)
                .ok(),
            timer_handle_class: import(c"asyncio.events", c"TimerHandle")?,
            set_result_unless_cancelled: import(
                c"asyncio.futures",
                c"_set_result_unless_cancelled",
            )?,
            future_repr: import(c"asyncio.base_futures", c"_future_repr")?,
            task_repr: import(c"asyncio.base_tasks", c"_task_repr")?,
            task_get_stack: import(c"asyncio.base_tasks", c"_task_get_stack")?,
            task_print_stack: import(c"asyncio.base_tasks", c"_task_print_stack")?,
            iscoroutine: import(c"asyncio.coroutines", c"iscoroutine")?,
            extract_stack: import(c"traceback", c"extract_stack")?,
            extract_call_stack: import(c"asyncio.format_helpers", c"extract_stack")?,
            get_event_loop: import(c"asyncio.events", c"get_event_loop")?,
            get_running_loop: import(c"_asyncio", c"get_running_loop")?,
            get_running_loop_or_none: import(c"_asyncio", c"_get_running_loop")?,
            gathering_class: import(c"asyncio.tasks", c"_GatheringFuture")?,
            isawaitable: import(c"inspect", c"isawaitable")?,
            isfuture: import(c"asyncio.base_futures", c"isfuture")?,
            partial: import(c"functools", c"partial")?,
            timeouts: import(c"asyncio", c"timeouts")?,
            timeout_states: import(c"asyncio.timeouts", c"_State")?,
            task_group_class: import(c"asyncio.taskgroups", c"TaskGroup")?,
            exception_group: import(c"builtins", c"ExceptionGroup")?,
            base_exception_group: import(c"builtins", c"BaseExceptionGroup")?,
            lock_class: import(c"asyncio.locks", c"Lock")?,
            queue_class: import(c"asyncio.queues", c"Queue")?,
            nothing_queued: import(c"queue", c"Empty")?,
            convert_future_exception: import(c"asyncio.futures", c"_convert_future_exc")?,
            concurrent_future_class: import(c"concurrent.futures", c"Future")?,
            cancels_at_once: cancels_at_once()?,
            queue_empty: import(c"asyncio.queues", c"QueueEmpty")?,
            queue_full: import(c"asyncio.queues", c"QueueFull")?,
            queue_shut_down: queue_shut_down()?,
            heappush: import(c"heapq", c"heappush")?,
            heappop: import(c"heapq", c"heappop")?,
            current_task: CFunction::new(import(c"asyncio.tasks", c"current_task")?),
            events: import(c"asyncio", c"events")?,
            register_task: import(c"_asyncio", c"_register_task")?,
            unregister_task: import(c"_asyncio", c"_unregister_task")?,
            enter_task: import(c"_asyncio", c"_enter_task")?,
            leave_task: import(c"_asyncio", c"_leave_task")?,
            add_to_awaited_by: optional(c"future_add_to_awaited_by"),
            discard_from_awaited_by: optional(c"future_discard_from_awaited_by"),
            wraps_stop_iteration: wraps_stop_iteration()?,
            swap_current_task: optional(c"_swap_current_task").map(CFunction::new),
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

fn queue_shut_down() -> Res {
    let home = if cfg!(Py_3_13) { c"asyncio.queues" } else { c"aioxide.newer_names" };
    import(home, c"QueueShutDown")
}

fn wraps_stop_iteration() -> Res<bool> {
    let namespace = import(c"types", c"SimpleNamespace")?;
    let quiet = import(c"builtins", c"bool")?;
    let names = value::tuple(&[names::GET_DEBUG.get()])?;
    let event_loop = namespace.call_with_names(&[&quiet], &names)?;
    let names = value::tuple(&[names::LOOP.get()])?;
    let future = import(c"_asyncio", c"Future")?.call_with_names(&[&event_loop], &names)?;
    let stop = Builtin::StopIteration.get().call(&[])?;
    if let Err(raised) = future.call_method(&names::SET_EXCEPTION, &[&stop]) {
        discard(raised);
        return Ok(false);
    }
    // Asked for, so that its loss is not reported.
    future.call_method(&names::EXCEPTION, &[]).map(|_| true)
}

/// Read off the code of asyncio's own callback.
fn cancels_at_once() -> Res<bool> {
    let code = import(c"asyncio.futures", c"_chain_future")?.attr(&names::DUNDER_CODE)?;
    let is = |object: &Any, text: &str| value::text_of(object).is_ok_and(|found| found == text);
    for inner in value::tuple_items(&*code.attr(&names::CO_CONSTS)?) {
        if let Some(name) = inner.attr_if_any(&names::CO_NAME)?
            && is(&name, "_call_check_cancel")
        {
            let used = inner.attr(&names::CO_NAMES)?;
            return Ok(value::tuple_items(&used).iter().any(|name| is(name, "_get_running_loop")));
        }
    }
    Ok(true)
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
