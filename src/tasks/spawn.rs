//! Making Tasks: `create_task`, `ensure_future`, eager factories, and what awaits anything.

use super::any_future;
use super::coroutine::{Behaviour, coroutine};
use super::task::Options;
use crate::engine::asyncio::asyncio;
use crate::engine::current;
use crate::engine::event_loop::LoopState;
use crate::py::function::function;
use crate::py::module::Module;
use crate::py::{Any, Args, AsObject, Global, Own, Res, Signature, names, value};

/// `event_loop.create_task(coro)` on any loop.
pub(super) fn create_task(event_loop: &Any, coro: &Any) -> Res {
    match event_loop.cast::<LoopState>() {
        Some(ours) if ours.is_running() && ours.makes_plain_tasks() => {
            any_future::spawn_on(ours, coro).map(Own::into_any)
        }
        _ => event_loop.call_method(&names::CREATE_TASK, &[coro]),
    }
}

static CREATE_TASK: Signature<3> = Signature {
    method: "create_task",
    names: [&names::CORO, &names::NAME, &names::CONTEXT],
    positional: 1,
    required: 1,
};

/// `create_task(coro, *, name=None, context=None)`, since 3.14 with any keywords.
pub(super) fn create_task_in_running_loop(args: Args<'_>) -> Res {
    if let Some(running) = current::running()
        && running.makes_plain_tasks()
    {
        if let (true, [coro]) = (args.has_no_keywords(), args.positional) {
            return any_future::spawn_on(running, coro).map(Own::into_any);
        }
        let mut eager = false;
        let [coro, name, context] = args.bind_extra(&CREATE_TASK, |extra, value| {
            if cfg!(Py_3_14) && names::EAGER_START.matches(extra) {
                eager = value::is_true(value)?;
                return Ok(());
            }
            Err(crate::py::unexpected(CREATE_TASK.method, extra))
        })?;
        running.check_closed()?;
        let options = Options {
            name: name.filter(|name| !name.is_none()),
            context: context.filter(|context| !context.is_none()),
            eager,
        };
        let coro = coro.unwrap_or(value::none_ref());
        return super::task::spawn(running, coro, options).map(Own::into_any);
    }
    let event_loop = asyncio().get_running_loop.call(&[])?;
    let mut given = Vec::new();
    let mut named = Vec::new();
    args.each_keyword(|name, value| {
        // Before 3.14 the loop is told only what there is to tell.
        if cfg!(Py_3_14) || !(names::CONTEXT.matches(name) && value.is_none()) {
            named.push(name);
            given.push(value);
        }
        Ok(())
    })?;
    let method = event_loop.attr(&names::CREATE_TASK)?;
    let all: Vec<&Any> = args.positional.iter().copied().chain(given).collect();
    if named.is_empty() {
        return method.call(&all);
    }
    method.call_with_names(&all, &*value::tuple(&named)?)
}

static ENSURE_FUTURE: Signature<2> = Signature {
    method: "ensure_future",
    names: [&names::CORO_OR_FUTURE, &names::LOOP],
    positional: 1,
    required: 1,
};

/// `ensure_future(coro_or_future, *, loop=None)`.
pub(super) fn ensure_future(args: Args<'_>) -> Res {
    let [given, event_loop] = args.bind(&ENSURE_FUTURE)?;
    let event_loop = event_loop.filter(|event_loop| !event_loop.is_none());
    any_future::ensure_future(given.unwrap_or(value::none_ref()), event_loop)
}

static WRAP_AWAITABLE: Behaviour = Behaviour {
    qualname: if cfg!(Py_3_12) {
        "ensure_future.<locals>._wrap_awaitable"
    } else {
        "_wrap_awaitable"
    },
    resume: |this, exception| {
        if this.place.get() == 0 {
            this.place.set(1);
            let awaitable = this.owner.get().unwrap_or_else(value::none);
            this.await_inner(&awaitable)?;
        }
        this.drive(exception)
    },
};

/// A coroutine that awaits this.
pub(super) fn wrap_awaitable(awaitable: &Any) -> Res {
    coroutine(&WRAP_AWAITABLE, Some(awaitable.own()), None).map(Own::into_any)
}

static EAGER_FACTORY: Global<Own<Any>> = Global::new();

static EAGER: Signature<5> = Signature {
    method: "factory",
    names: [&names::LOOP, &names::CORO, &names::NAME, &names::CONTEXT, &names::EAGER_START],
    positional: 2,
    required: 2,
};

/// `eager_task_factory(loop, coro, **options)`: a Task that runs at once, up to its first wait.
fn eager_task(args: Args<'_>) -> Res {
    let [event_loop, coro, name, context, eager] = args.bind(&EAGER)?;
    let none = value::none_ref();
    let (event_loop, coro) = (event_loop.unwrap_or(none), coro.unwrap_or(none));
    let options = Options {
        name: name.filter(|name| !name.is_none()),
        context: context.filter(|context| !context.is_none()),
        eager: eager.map_or(Ok(true), value::is_true)?,
    };
    match event_loop.cast::<LoopState>() {
        Some(ours) => super::task::spawn(ours, coro, options).map(Own::into_any),
        None => super::task::spawn_elsewhere(event_loop, coro, options).map(Own::into_any),
    }
}

/// Whether a loop that has this as its factory can make eager Tasks without calling it.
pub(crate) fn is_eager_factory(factory: &Any) -> bool {
    EAGER_FACTORY.peek().is_some_and(|ours| ours.is(factory))
}

/// Makes `eager_task_factory`, which is asyncio's since 3.12.
pub(super) fn add_to(module: &Module<'_>) -> Res<()> {
    if let Some(model) = asyncio().tasks.attr_if_any(&names::EAGER_TASK_FACTORY)? {
        let factory = function(model, eager_task)?;
        module.add(c"eager_task_factory", &factory)?;
        EAGER_FACTORY.fill(factory);
    }
    Ok(())
}
