//! `aioxide.Task` as Python sees it.

use super::future::FUTURE;
use super::future_type::{cancel_argument, class_of};
use super::task::{Options, TASK, Task, TaskState};
use crate::engine::asyncio::asyncio;
use crate::py::{Any, Args, AsObject, Builder, Own, Res, Signature, names, runtime_error, value};

static INIT: Signature<5> = Signature {
    method: "Task",
    names: [&names::CORO, &names::LOOP, &names::NAME, &names::CONTEXT, &names::EAGER_START],
    positional: 1,
    required: 1,
};
static GET_STACK: Signature<1> =
    Signature { method: "get_stack", names: [&names::LIMIT], positional: 0, required: 0 };
static PRINT_STACK: Signature<2> = Signature {
    method: "print_stack",
    names: [&names::LIMIT, &names::FILE],
    positional: 0,
    required: 0,
};

fn init(this: &Task, args: Args<'_>) -> Res<()> {
    let [coro, event_loop, name, context, eager] = args.bind(&INIT)?;
    let given = |argument: Option<&'_ Any>| argument.is_some_and(|argument| !argument.is_none());
    let options = Options {
        name: name.filter(|_| given(name)),
        context: context.filter(|_| given(context)),
        eager: eager.map_or(Ok(false), value::is_true)?,
    };
    // `required` in the signature promises the coroutine.
    coro.map_or(Ok(()), |coro| this.start(coro, event_loop, options))
}

fn class(this: &Task) -> Own<Any> {
    class_of(this, &TASK, &asyncio().task_class)
}

fn get_stack(this: &Task, args: Args<'_>) -> Res {
    let [limit] = args.bind(&GET_STACK)?;
    asyncio().task_get_stack.call(&[this.as_any(), limit.unwrap_or(value::none_ref())])
}

fn print_stack(this: &Task, args: Args<'_>) -> Res {
    let [limit, file] = args.bind(&PRINT_STACK)?;
    let none = value::none_ref();
    asyncio().task_print_stack.call(&[this.as_any(), limit.unwrap_or(none), file.unwrap_or(none)])
}

fn cancel(this: &Task, args: Args<'_>) -> Res<bool> {
    let message = cancel_argument(&args)?;
    this.as_future().event_loop()?;
    this.cancel(message)
}

/// Makes the type; Future's must exist.
pub(super) fn build() -> Res<&'static Any> {
    Builder::<TaskState>::new(
        c"Task(coro, *, loop=None, name=None, context=None, eager_start=False)\n--\n\nA coroutine wrapped in a Future, on aioxide's engine; asyncio.Task's equal.",
    )
    .base(FUTURE.object())
    .subclassable()
    .generic()
    .blank(TaskState::blank)
    .init(init)
    .repr(|this: &Task| asyncio().task_repr.call(&[this.as_any()]))
    .args(
        c"cancel",
        c"cancel($self, /, msg=None)\n--\n\nRequest that this task cancel itself.\n\nThis arranges for a CancelledError to be thrown into the\nwrapped coroutine on the next cycle through the event loop.\nThe coroutine then has a chance to clean up or even deny\nthe request using try/except/finally.",
        cancel,
    )
    .noargs(
        c"cancelling",
        c"cancelling($self, /)\n--\n\nReturn the count of the task's cancellation requests.\n\nThis count is incremented when .cancel() is called\nand may be decremented using .uncancel().",
        |this: &Task| i64::from(this.cancel_requests.get()),
    )
    .noargs(
        c"uncancel",
        c"uncancel($self, /)\n--\n\nDecrement the task's count of cancellation requests.\n\nThis should be used by tasks that catch CancelledError\nand wish to continue indefinitely until they are cancelled again.\n\nReturns the remaining number of cancellation requests.",
        |this: &Task| this.uncancel(),
    )
    .args(
        c"get_stack",
        c"get_stack($self, /, *, limit=None)\n--\n\nReturn the list of stack frames for this task's coroutine.",
        get_stack,
    )
    .args(
        c"print_stack",
        c"print_stack($self, /, *, limit=None, file=None)\n--\n\nPrint the stack or traceback for this task's coroutine.",
        print_stack,
    )
    .one(
        c"set_result",
        c"set_result($self, result, /)\n--\n\n",
        |_: &Task, _: &Any| -> Res {
            Err(runtime_error("Task does not support set_result operation"))
        },
    )
    .one(
        c"set_exception",
        c"set_exception($self, exception, /)\n--\n\n",
        |_: &Task, _: &Any| -> Res {
            Err(runtime_error("Task does not support set_exception operation"))
        },
    )
    .noargs(c"get_coro", c"get_coro($self, /)\n--\n\n", |this: &Task| this.coro.get())
    .noargs(c"get_context", c"get_context($self, /)\n--\n\n", |this: &Task| this.context.get())
    .noargs(c"get_name", c"get_name($self, /)\n--\n\n", |this: &Task| this.name())
    .one(c"set_name", c"set_name($self, value, /)\n--\n\n", |this: &Task, name: &Any| {
        this.set_name(name)
    })
    .getter(c"__class__", class)
    .getter(c"_coro", |this: &Task| this.coro.get())
    .getter(c"_fut_waiter", |this: &Task| this.waiter.get())
    .getter(c"_must_cancel", |this: &Task| this.must_cancel.get())
    .property(
        c"_log_destroy_pending",
        |this: &Task| this.log_destroy_pending.get(),
        |this: &Task, flag: &Any| {
            this.log_destroy_pending.set(value::is_true(flag)?);
            Ok(())
        },
    )
    .build()
}
