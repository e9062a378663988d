//! TaskGroup: Tasks that end together.
//!
//! The group watches its Tasks itself, and the one coroutine object of `__aexit__` is what the
//! parent parks on. What it does when is asyncio's, version by version: since 3.13 the parent is
//! uncancelled after the Tasks have ended instead of before, since 3.14 a Task that an eager
//! factory has already finished is reported through the loop like the others.

use std::cell::{Cell, RefCell};

use super::any_future::{self, forget_awaiter, note_awaiter};
use super::coroutine::{Behaviour, Coroutine, Shown, coroutine, exit_exception, returned_none};
use super::members::Members;
use super::task::{Options, TaskState};
use super::watch::{Watcher, watch};
use crate::engine::asyncio::{asyncio, is_cancelled_error};
use crate::engine::current;
use crate::engine::event_loop::{EventLoop, LoopState};
use crate::py::error::{raise_instance, restore};
use crate::py::function::{add_to_class, method, model_of};
use crate::py::{
    Any, Args, AsObject, BoundMethod, Builder, Class, Managed, Object, Own, Raised, Res, Sent,
    Signature, Slot, Stop, TypeCell, Visitor, error, names, runtime_error, value,
};

pub(crate) type Group = Object<GroupState>;

/// A group's fields.
pub(crate) struct GroupState {
    entered: Cell<bool>,
    exiting: Cell<bool>,
    aborting: Cell<bool>,
    parent_cancel_requested: Cell<bool>,
    tasks: RefCell<Members>,
    event_loop: Slot,
    parent: Slot,
    /// A list, or nothing where there were none yet.
    errors: Slot,
    base_error: Slot,
    /// The CancelledError that goes on when all Tasks are done and none failed.
    propagate: Slot,
    /// `__aexit__`, while it waits.
    waiter: Slot<Coroutine>,
    dict: Slot,
    weakrefs: Managed,
}

static TYPE: TypeCell = TypeCell::new();
static ON_TASK_DONE: BoundMethod = BoundMethod::new(c"_on_task_done");

impl Class for GroupState {
    const NAME: &'static std::ffi::CStr = c"aioxide.TaskGroup";

    fn cell() -> &'static TypeCell {
        &TYPE
    }
    fn weakrefs(&self) -> Option<&Managed> {
        Some(&self.weakrefs)
    }
    fn traverse(object: &Group, visitor: &Visitor) -> Result<(), Stop> {
        // Borrowed only in steps that run no Python code, so the collector never meets a borrow.
        if let Ok(tasks) = object.tasks.try_borrow() {
            tasks.visit(visitor)?;
        }
        visitor.slot(&object.event_loop)?;
        visitor.slot(&object.parent)?;
        visitor.slot(&object.errors)?;
        visitor.slot(&object.base_error)?;
        visitor.slot(&object.propagate)?;
        visitor.slot(&object.waiter)?;
        visitor.slot(&object.dict)
    }
    fn clear(object: &Group) {
        let tasks = object.tasks.take();
        object.event_loop.clear();
        object.forget();
        object.propagate.clear();
        object.waiter.clear();
        object.dict.clear();
        drop(tasks);
    }
}

impl GroupState {
    fn blank() -> GroupState {
        GroupState {
            entered: Cell::new(false),
            exiting: Cell::new(false),
            aborting: Cell::new(false),
            parent_cancel_requested: Cell::new(false),
            tasks: RefCell::default(),
            event_loop: Slot::empty(),
            parent: Slot::empty(),
            errors: Slot::empty(),
            base_error: Slot::empty(),
            propagate: Slot::empty(),
            waiter: Slot::empty(),
            dict: Slot::empty(),
            weakrefs: Managed::new(),
        }
    }

    /// Exceptions hold much alive.
    fn forget(&self) {
        self.parent.clear();
        self.errors.clear();
        self.base_error.clear();
    }

    fn has_tasks(&self) -> bool {
        !self.tasks.borrow().is_empty()
    }

    fn error_count(&self) -> usize {
        self.errors.get().map_or(0, |errors| value::list_len(&errors))
    }

    fn add_error(&self, exception: &Any) -> Res<()> {
        let errors = match self.errors.get() {
            Some(errors) => errors,
            None => {
                let errors = value::list()?;
                self.errors.set(errors.clone());
                errors
            }
        };
        value::append(&errors, exception)
    }
}

impl Watcher for GroupState {
    fn method() -> &'static BoundMethod {
        &ON_TASK_DONE
    }
    #[inline]
    fn finished(this: &Group, task: &Any) -> Res<()> {
        this.task_done(task)
    }
}

/// SystemExit and KeyboardInterrupt end the group as themselves.
fn is_base_error(exception: &Any) -> bool {
    error::is_fatal(exception)
}

impl Group {
    fn enter(&self) -> Res<()> {
        let text = || value::repr_text(self.as_any());
        if self.entered.get() {
            return Err(runtime_error(&format!("TaskGroup {} has already been entered", text())));
        }
        let running = current::running();
        if !self.event_loop.is_some() {
            self.event_loop.set(match running {
                Some(running) => running.as_any().own(),
                None => asyncio().get_running_loop.call(&[])?,
            });
        }
        let native = running.filter(|running| self.event_loop.holds(*running));
        let parent = match native {
            Some(_) => current::task(native)?,
            None => {
                let event_loop = self.event_loop.get().unwrap_or_else(value::none);
                current::ask(&[&event_loop])?
            }
        };
        let Some(parent) = parent else {
            let text = format!("TaskGroup {} cannot determine the parent task", text());
            return Err(runtime_error(&text));
        };
        self.parent.set(parent);
        self.entered.set(true);
        Ok(())
    }

    /// The group's loop, if native code may make its Tasks.
    fn native_loop(&self) -> Option<&EventLoop> {
        // SAFETY: the field is filled once and emptied by the collector alone; the borrow ends
        // with the native call that takes it.
        unsafe { self.event_loop.peek() }
            .and_then(|event_loop| event_loop.cast::<LoopState>())
            .filter(|event_loop| event_loop.makes_plain_tasks())
    }

    fn refuse(&self, coro: &Any, why: &str) -> Raised {
        // Since 3.13 what cannot run is closed, so that nobody is warned that it never did.
        if cfg!(Py_3_13)
            && let Err(raised) = coro.call_method(&names::CLOSE, &[])
        {
            return raised;
        }
        runtime_error(&format!("TaskGroup {} {why}", value::repr_text(self.as_any())))
    }

    fn check_open(&self, coro: &Any) -> Res<()> {
        if !self.entered.get() {
            return Err(self.refuse(coro, "has not been entered"));
        }
        if self.exiting.get() && !self.has_tasks() {
            return Err(self.refuse(coro, "is finished"));
        }
        if self.aborting.get() {
            return Err(self.refuse(coro, "is shutting down"));
        }
        Ok(())
    }

    #[inline]
    fn adopt(&self, task: Own<Any>) -> Res {
        note_awaiter(&task, self.parent.get().as_deref())?;
        if cfg!(all(Py_3_12, not(Py_3_14))) && any_future::is_done(&task)? {
            self.task_done(&task)?;
            return Ok(task);
        }
        self.tasks.borrow_mut().insert(task.clone());
        watch(&task, self)?;
        Ok(task)
    }

    fn task_done(&self, task: &Any) -> Res<()> {
        let removed = self.tasks.borrow_mut().remove(task);
        let empty = !self.has_tasks();
        forget_awaiter(task, self.parent.get().as_deref())?;
        if empty && let Some(waiter) = self.waiter.get() {
            waiter.wake()?;
        }
        drop(removed);
        if let Some(native) = task.cast_exact::<TaskState>()
            && native.as_future().has_plain_result()
        {
            return Ok(());
        }
        if any_future::is_cancelled(task)? {
            return Ok(());
        }
        match any_future::exception(task)? {
            Some(exception) => self.task_failed(task, &exception),
            None => Ok(()),
        }
    }

    #[cold]
    fn task_failed(&self, task: &Any, exception: &Any) -> Res<()> {
        self.add_error(exception)?;
        if is_base_error(exception) && !self.base_error.is_some() {
            self.base_error.set(exception.own());
        }
        let Some(parent) = self.parent.get() else { return Ok(()) };
        if any_future::is_done(&parent)? {
            let text = format!(
                "Task {} has errored out but its parent task {} is already completed",
                value::repr_text(task),
                value::repr_text(&parent)
            );
            let details = value::dict_of(&[
                (&names::MESSAGE, &*value::string(&text)?),
                (&names::EXCEPTION, exception),
                (&names::TASK, task),
            ])?;
            let event_loop = self.event_loop.get().unwrap_or_else(value::none);
            return event_loop.call_method(&names::CALL_EXCEPTION_HANDLER, &[&details]).map(drop);
        }
        if !self.aborting.get() && !self.parent_cancel_requested.get() {
            self.abort()?;
            self.parent_cancel_requested.set(true);
            any_future::cancel(&parent, None)?;
        }
        Ok(())
    }

    /// Cancels all Tasks, in the order in which they were created.
    fn abort(&self) -> Res<()> {
        self.aborting.set(true);
        let tasks = self.tasks.borrow().all();
        for task in tasks {
            if !any_future::is_done(&task)? {
                any_future::cancel(&task, None)?;
            }
        }
        Ok(())
    }
}

static CREATE_TASK: Signature<3> = Signature {
    method: "TaskGroup.create_task",
    names: [&names::CORO, &names::NAME, &names::CONTEXT],
    positional: 1,
    required: 1,
};

#[inline]
fn create_task(this: &Group, args: Args<'_>) -> Res {
    if let (true, [coro]) = (args.has_no_keywords(), args.positional) {
        this.check_open(coro)?;
        let task = match this.native_loop() {
            Some(event_loop) => any_future::spawn_on(event_loop, coro)?.into_any(),
            None => {
                let event_loop = this.event_loop.get().unwrap_or_else(value::none);
                event_loop.call_method(&names::CREATE_TASK, &[coro])?
            }
        };
        return this.adopt(task);
    }
    create_task_with_options(this, &args)
}

fn create_task_with_options(this: &Group, args: &Args<'_>) -> Res {
    let (mut extra_names, mut extra_values) = (Vec::new(), Vec::new());
    let [coro, name, context] = args.bind_extra(&CREATE_TASK, |name, value| {
        if !cfg!(Py_3_14) {
            return Err(crate::py::unexpected(CREATE_TASK.method, name));
        }
        extra_names.push(name);
        extra_values.push(value);
        Ok(())
    })?;
    let coro = coro.unwrap_or(value::none_ref());
    this.check_open(coro)?;
    let [name, context] = [name, context].map(|given| given.filter(|given| !given.is_none()));
    if let (Some(event_loop), true) = (this.native_loop(), extra_names.is_empty()) {
        event_loop.check_closed()?;
        let options = Options { name, context, eager: false };
        return this.adopt(super::task::spawn(event_loop, coro, options)?.into_any());
    }
    let mut values = vec![coro];
    for (known, given) in [(&names::NAME, name), (&names::CONTEXT, context)] {
        if let Some(given) = given {
            extra_names.push(known.get());
            extra_values.push(given);
        }
    }
    values.extend(extra_values);
    let event_loop = this.event_loop.get().unwrap_or_else(value::none);
    let method = event_loop.attr(&names::CREATE_TASK)?;
    let task = if extra_names.is_empty() {
        method.call(&values)?
    } else {
        method.call_with_names(&values, &*value::tuple(&extra_names)?)?
    };
    this.adopt(task)
}

static ENTER: Behaviour = Behaviour {
    qualname: "TaskGroup.__aenter__",
    resume: |this, _| {
        let group = this.owner_as::<GroupState>()?;
        group.enter()?;
        Ok(Sent::Returned(group.into_any()))
    },
};
static EXIT: Behaviour = Behaviour { qualname: "TaskGroup.__aexit__", resume: resume_exit };

const WAITING: u8 = 1;

/// `__aexit__`; `item` is the exception that the body ended with.
fn resume_exit(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    let group = this.owner_as::<GroupState>()?;
    let outcome = step_exit(this, &group, exception);
    if !matches!(outcome, Ok(Sent::Yielded(_))) {
        error::preserving(|| {
            group.waiter.clear();
            group.propagate.clear();
            // Exceptions hold much alive.
            if cfg!(Py_3_14) {
                group.forget();
            }
        });
    }
    outcome
}

fn step_exit(this: &Coroutine, group: &Group, exception: Option<Own<Any>>) -> Res<Sent> {
    if this.place.replace(WAITING) == WAITING {
        group.waiter.clear();
        if let Some(exception) = exception {
            if !is_cancelled_error(&exception) {
                return Err(restore(exception));
            }
            if !group.aborting.get() {
                // The parent is cancelled while it waits for its Tasks.
                group.propagate.set(exception);
                group.abort()?;
            }
        }
    } else {
        begin_exit(group, this.item.get().as_deref())?;
    }
    if group.has_tasks() {
        group.waiter.set(this.own());
        return this.wait_for(Shown::True);
    }
    end_exit(group, this.item.get().as_deref())
}

fn begin_exit(group: &Group, body: Option<&Any>) -> Res<()> {
    group.exiting.set(true);
    let Some(body) = body else { return uncancel_before_waiting(group) };
    if value::is_exception(body) && is_base_error(body) && !group.base_error.is_some() {
        group.base_error.set(body.own());
    }
    if is_cancellation(body) {
        group.propagate.set(body.own());
    }
    uncancel_before_waiting(group)?;
    if group.aborting.get() { Ok(()) } else { group.abort() }
}

fn end_exit(group: &Group, body: Option<&Any>) -> Res<Sent> {
    if let Some(base_error) = group.base_error.get() {
        return Err(raise_instance(&base_error));
    }
    if cfg!(Py_3_13) {
        uncancel_parent(group)?;
    }
    if let Some(cancellation) = group.propagate.get()
        && group.error_count() == 0
    {
        return Err(raise_instance(&cancellation));
    }
    if let Some(body) = body
        && !is_cancellation(body)
    {
        group.add_error(body)?;
    }
    let errors = group.errors.get().filter(|errors| value::list_len(errors) > 0);
    match errors {
        None => returned_none(),
        Some(errors) => raise_group(group, &errors),
    }
}

#[cold]
fn raise_group(group: &Group, errors: &Any) -> Res<Sent> {
    if cfg!(Py_3_13)
        && let Some(parent) = group.parent.get()
        && requests(&parent, &names::CANCELLING)? > 0
    {
        // Cancelled from outside, too: the count stays, and the cancellation comes again.
        requests(&parent, &names::UNCANCEL)?;
        any_future::cancel(&parent, None)?;
    }
    let text = value::string("unhandled errors in a TaskGroup")?;
    let raised = asyncio().base_exception_group.call(&[&text, errors])?;
    let raising = raise_instance(&raised);
    group.errors.clear();
    value::suppress_context(&raised);
    Err(raising)
}

/// Up to 3.12 only CancelledError itself counts.
fn is_cancellation(exception: &Any) -> bool {
    if cfg!(Py_3_13) && value::is_exception(exception) {
        return is_cancelled_error(exception);
    }
    let class = asyncio().cancelled_error.as_ptr();
    exception.as_ptr() == class || exception.type_ptr().cast() == class
}

fn uncancel_before_waiting(group: &Group) -> Res<()> {
    if cfg!(Py_3_13) { Ok(()) } else { uncancel_parent(group) }
}

/// Takes back the cancellation that the group itself asked for. If that was the only one, the
/// CancelledError that it caused goes no further.
fn uncancel_parent(group: &Group) -> Res<()> {
    if group.parent_cancel_requested.get()
        && let Some(parent) = group.parent.get()
        && requests(&parent, &names::UNCANCEL)? == 0
    {
        group.propagate.clear();
    }
    Ok(())
}

/// The answer of `cancelling()` or `uncancel()`.
fn requests(task: &Any, question: &'static names::Name) -> Res<i64> {
    match task.cast_exact::<TaskState>() {
        Some(native) if std::ptr::eq(question, &names::UNCANCEL) => Ok(native.uncancel()),
        Some(native) => Ok(i64::from(native.cancel_requests.get())),
        None => value::as_int(&*task.call_method(question, &[])?),
    }
}

fn repr(this: &Group) -> Res<String> {
    let mut info = String::new();
    let tasks = this.tasks.borrow().len();
    if tasks > 0 {
        info += &format!(" tasks={tasks}");
    }
    if this.error_count() > 0 {
        info += &format!(" errors={}", this.error_count());
    }
    if this.aborting.get() {
        info += " cancelling";
    } else if this.entered.get() {
        info += " entered";
    }
    Ok(format!("<TaskGroup{info}>"))
}

/// Makes the type.
pub(super) fn build() -> Res<&'static Any> {
    static NONE: Signature<0> =
        Signature { method: "TaskGroup.__init__", names: [], positional: 0, required: 0 };
    let class = Builder::<GroupState>::new(
        c"TaskGroup()\n--\n\nAn asynchronous context manager for a group of tasks that end together.\n\n    async with TaskGroup() as group:\n        group.create_task(some_coroutine())\n\nAll tasks are awaited when the context manager exits; when one fails, the others are cancelled.",
    )
    .subclassable()
    .dict(std::mem::offset_of!(GroupState, dict))
    .weakrefs(std::mem::offset_of!(GroupState, weakrefs))
    .blank(GroupState::blank)
    .init(|_: &Group, args: Args<'_>| args.bind(&NONE).map(drop))
    .repr(repr)
    .noargs(c"_abort", c"_abort($self, /)\n--\n\n", |this: &Group| this.abort())
    .one(c"_on_task_done", c"_on_task_done($self, task, /)\n--\n\n", |this: &Group, task: &Any| {
        this.task_done(task)
    })
    .getter(c"_entered", |this: &Group| this.entered.get())
    .getter(c"_exiting", |this: &Group| this.exiting.get())
    .getter(c"_aborting", |this: &Group| this.aborting.get())
    .getter(c"_parent_cancel_requested", |this: &Group| this.parent_cancel_requested.get())
    .getter(c"_loop", |this: &Group| this.event_loop.get())
    .getter(c"_parent_task", |this: &Group| this.parent.get())
    .getter(c"_base_error", |this: &Group| this.base_error.get())
    .getter(c"_on_completed_fut", |this: &Group| this.waiter.get())
    .getter(c"_errors", |this: &Group| this.errors.get())
    .getter(c"_tasks", |this: &Group| {
        let tasks = this.tasks.borrow().all();
        value::set_of(tasks.into_iter())
    })
    .build()?;
    let model = &asyncio().task_group_class;
    let enter = method(model_of(model, &names::AENTER)?, |this: &Group, _: Args<'_>| {
        coroutine(&ENTER, Some(this.own().into_any()), None)
    })?;
    add_to_class(class, &names::AENTER, &enter)?;
    let exit = method(model_of(model, &names::AEXIT)?, |this: &Group, args: Args<'_>| {
        let exception = exit_exception(&args, "TaskGroup.__aexit__")?;
        coroutine(&EXIT, Some(this.own().into_any()), exception)
    })?;
    add_to_class(class, &names::AEXIT, &exit)?;
    let create = method(model_of(model, &names::CREATE_TASK)?, create_task)?;
    add_to_class(class, &names::CREATE_TASK, &create)?;
    Ok(class)
}
