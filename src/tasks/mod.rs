//! Future and Task: what runs on the loop, and the waiting between them.

mod callbacks;
pub(crate) mod coroutine;
pub(crate) mod future;
mod future_iter;
mod future_type;
pub(crate) mod list;
pub(crate) mod sleep;
pub(crate) mod step;
pub(crate) mod task;
mod task_type;

use crate::engine::asyncio::asyncio;
use crate::py::class::adopt_methods;
use crate::py::module::Module;
use crate::py::{Any, Args, AsObject, Own, Res, Signature, names};

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

/// Makes the types and adds them to the module.
pub(crate) fn add_to(module: &Module<'_>) -> Res<()> {
    future_iter::build()?;
    let future = future_type::build()?;
    let task = task_type::build()?;
    adopt_methods(task, future)?;
    module.add(c"Future", future)?;
    module.add(c"Task", task)?;
    sleep::build()?;
    coroutine::build()?;
    module.function(
        c"sleep",
        c"sleep(delay, result=None)\n--\n\nCoroutine that completes after a given time (in seconds).",
        |_, args: Args<'_>| sleep::sleep(&args),
    )?;
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
