//! Future and Task: what runs on the loop, and the waiting between them.

mod callbacks;
pub(crate) mod future;
mod future_iter;
mod future_type;
pub(crate) mod list;
pub(crate) mod step;
pub(crate) mod task;
mod task_type;

use crate::py::module::Module;
use crate::py::{Any, Args, AsObject, Res, Signature, names};

static PAIR: Signature<2> = Signature {
    method: "future_add_to_awaited_by",
    names: [&names::FUTURE, &names::WAITER],
    positional: 2,
    required: 2,
};

fn pair<'a>(args: &Args<'a>) -> Res<Option<(&'a future::Future, &'a Any)>> {
    let [future, waiter] = args.bind(&PAIR)?;
    let (Some(future), Some(waiter)) = (future, waiter) else { return Ok(None) };
    let future = match future.cast::<future::FutureState>() {
        Some(future) => future,
        None => return Ok(None),
    };
    Ok(Some((future, waiter)))
}

/// Makes the types and adds them to the module.
pub(crate) fn add_to(module: &Module<'_>) -> Res<()> {
    future_iter::build()?;
    module.add(c"Future", future_type::build()?)?;
    module.add(c"Task", task_type::build()?)?;
    module.function(
        c"future_add_to_awaited_by",
        c"future_add_to_awaited_by(future, waiter, /)\n--\n\nRecord that `waiter` is awaiting on `future`.",
        |_, args: Args<'_>| match pair(&args)? {
            Some((future, waiter)) => future_type::add_awaited_by(future, waiter),
            None => Ok(()),
        },
    )?;
    module.function(
        c"future_discard_from_awaited_by",
        c"future_discard_from_awaited_by(future, waiter, /)\n--\n\nRecord that `waiter` no longer awaits `future`.",
        |_, args: Args<'_>| match pair(&args)? {
            Some((future, waiter)) => future_type::discard_awaited_by(future, waiter),
            None => Ok(()),
        },
    )
}
