//! Future and Task: what runs on the loop, and the waiting between them.

mod any_future;
mod as_completed;
mod await_iter;
mod bridge;
mod callbacks;
pub(crate) mod coroutine;
pub(crate) mod future;
mod future_iter;
mod future_type;
mod gather;
mod group;
pub(crate) mod job;
mod job_queue;
pub(crate) mod list;
mod members;
mod shield;
pub(crate) mod sleep;
pub(crate) mod spawn;
pub(crate) mod step;
pub(crate) mod task;
mod task_type;
mod threads;
pub(crate) mod timeout;
mod wait;
mod wait_for;
pub(crate) mod waiters;
mod watch;

use crate::engine::asyncio::asyncio;
use crate::py::class::{admit, adopt_methods};
use crate::py::function::function;
use crate::py::module::Module;
use crate::py::{Any, Args, AsObject, Own, Res, Signature, import, names};

static PAIR: Signature<2> = Signature {
    method: "future_add_to_awaited_by",
    names: [&names::FUTURE, &names::WAITER],
    positional: 2,
    required: 2,
};

/// Does `ours` for a Future of ours, and hands any other pair to asyncio's own function.
fn pair(
    args: &Args<'_>,
    ours: fn(&future::Future, &Any) -> Res<()>,
    stock: Option<&Own<Any>>,
) -> Res<()> {
    let [future, waiter] = args.bind(&PAIR)?;
    let (Some(future), Some(waiter)) = (future, waiter) else { return Ok(()) };
    match (future.cast::<future::FutureState>(), stock) {
        (Some(future), _) => ours(future, waiter),
        (None, Some(stock)) => stock.call(&[future, waiter]).map(|_| ()),
        (None, None) => Ok(()),
    }
}

/// Records that `awaiter` waits for `future`, for asyncio's call graph. asyncio's function is asked
/// by its name, as for the current task: a program on Python's own Futures puts theirs there.
#[inline(always)]
fn note_awaited_by(future: &Any, awaiter: &Any) -> Res<()> {
    if let Some(native) = future::as_native(future) {
        return future_type::add_awaited_by(native, awaiter);
    }
    match future.cast::<future::FutureState>() {
        Some(ours) => future_type::add_awaited_by(ours, awaiter),
        None => {
            let pair = [future, awaiter];
            asyncio().futures.call_method(&names::ADD_TO_AWAITED_BY, &pair).map(drop)
        }
    }
}

/// Takes that back.
#[inline(always)]
fn forget_awaited_by(future: &Any, awaiter: &Any) -> Res<()> {
    if let Some(native) = future::as_native(future) {
        return future_type::discard_awaited_by(native, awaiter);
    }
    match future.cast::<future::FutureState>() {
        Some(ours) => future_type::discard_awaited_by(ours, awaiter),
        None => {
            let pair = [future, awaiter];
            asyncio().futures.call_method(&names::DISCARD_FROM_AWAITED_BY, &pair).map(drop)
        }
    }
}

/// Makes the types and adds them to the module.
pub(crate) fn add_to(module: &Module<'_>) -> Res<()> {
    future_iter::build()?;
    let future = future_type::build()?;
    let task = task_type::build()?;
    adopt_methods(task, future)?;
    module.add(c"Future", future)?;
    module.add(c"Task", task)?;
    await_iter::build()?;
    sleep::build()?;
    coroutine::build()?;
    gather::build()?;
    shield::build()?;
    wait::build()?;
    job::build()?;
    bridge::build()?;
    job_queue::add_to(module)?;
    as_completed::build()?;
    module.add(c"TaskGroup", group::build()?)?;
    timeout::add_to(module)?;
    spawn::add_to(module)?;
    // After the last type with such a base: from a spec no more can be made.
    admit(future, &asyncio().future_class)?;
    admit(task, &asyncio().task_class)?;
    let stock = |name| asyncio().tasks.attr(name);
    let add = |name, function: Res| module.add(name, &*function?);
    add(c"sleep", function(stock(&names::SLEEP)?, |args: Args<'_>| sleep::sleep(&args)))?;
    add(c"gather", function(stock(&names::GATHER)?, gather::gather))?;
    add(c"shield", function(stock(&names::SHIELD)?, shield::shield))?;
    add(c"wait", function(stock(&names::WAIT)?, wait::wait))?;
    add(c"wait_for", function(stock(&names::WAIT_FOR)?, wait_for::wait_for))?;
    add(c"as_completed", function(stock(&names::AS_COMPLETED)?, as_completed::as_completed))?;
    add(c"ensure_future", function(stock(&names::ENSURE_FUTURE)?, spawn::ensure_future))?;
    let create_task = spawn::create_task_in_running_loop;
    add(c"create_task", function(stock(&names::CREATE_TASK)?, create_task))?;
    add(
        c"run_coroutine_threadsafe",
        function(
            import(c"asyncio.tasks", c"run_coroutine_threadsafe")?,
            bridge::run_coroutine_threadsafe,
        ),
    )?;
    add(c"to_thread", function(import(c"asyncio.threads", c"to_thread")?, threads::to_thread))?;
    module.function(
        c"future_add_to_awaited_by",
        c"future_add_to_awaited_by(future, waiter, /)\n--\n\nRecord that `waiter` is awaiting on `future`.",
        |_, args: Args<'_>| {
            pair(&args, future_type::add_awaited_by, asyncio().add_to_awaited_by.as_ref())
        },
    )?;
    module.function(
        c"future_discard_from_awaited_by",
        c"future_discard_from_awaited_by(future, waiter, /)\n--\n\nRecord that `waiter` no longer awaits `future`.",
        |_, args: Args<'_>| {
            let stock = asyncio().discard_from_awaited_by.as_ref();
            pair(&args, future_type::discard_awaited_by, stock)
        },
    )
}
