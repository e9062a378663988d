//! The loop: ready queue, handles, timers, descriptors, and the turns that run them.

pub(crate) mod asyncio;
pub(crate) mod bell;
pub(crate) mod current;
pub(crate) mod endpoint;
pub(crate) mod event_loop;
mod event_loop_type;
pub(crate) mod handle;
mod io;
mod outbox;
mod ready;
mod registry;
mod turn;

use crate::py::class::adopt_methods;
use crate::py::module::Module;
use crate::py::{Args, AsObject, Class, Res, Signature, names, value};

static CURRENT_TASK: Signature<1> =
    Signature { method: "current_task", names: [&names::LOOP], positional: 1, required: 0 };

static ADOPT_METHODS: Signature<1> =
    Signature { method: "adopt_methods", names: [&names::LOOP_CLASS], positional: 1, required: 1 };

/// Makes the types and adds them to the module.
pub(crate) fn add_to(module: &Module<'_>) -> Res<()> {
    let [handle, timer_handle] = handle::build()?;
    module.add(c"Handle", handle)?;
    module.add(c"TimerHandle", timer_handle)?;
    module.add(c"Loop", event_loop_type::build()?)?;
    module.function(
        c"adopt_methods",
        c"adopt_methods(loop_class, /)\n--\n\nGive a subclass of Loop its own copies of Loop's methods, which are called faster.",
        |_, args: Args<'_>| {
            let [class] = args.bind(&ADOPT_METHODS)?;
            class.map_or(Ok(()), |class| adopt_methods(class, event_loop::LoopState::cell().object()))
        },
    )?;
    module.function(
        c"live_loops",
        c"live_loops()\n--\n\nThe loops that are alive.",
        |_, _: Args<'_>| {
            let list = value::list()?;
            for event_loop in registry::all() {
                value::append(&list, event_loop.as_any())?;
            }
            Ok(list)
        },
    )?;
    module.function(
        c"current_task",
        c"current_task(loop=None)\n--\n\nThe Task that the loop (by default the running one) is stepping, or None.",
        |_, args: Args<'_>| {
            let [given] = args.bind(&CURRENT_TASK)?;
            let event_loop = match given.filter(|given| !given.is_none()) {
                Some(given) => given.own(),
                None => asyncio::asyncio().get_running_loop.call(&[])?,
            };
            match event_loop.cast::<event_loop::LoopState>() {
                Some(ours) => match ours.current_task() {
                    Some(task) => Ok(Some(task.into_any())),
                    None => asyncio::asyncio().current_task.call(&[&event_loop]).map(Some),
                },
                None => asyncio::asyncio().current_task.call(&[&event_loop]).map(Some),
            }
        },
    )
}
