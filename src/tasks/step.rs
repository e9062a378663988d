//! Running a Task: one step of its coroutine, and what follows from what it did.
//!
//! `run` is the hot path: the ready queue hands over a Task, which is resumed between entering and
//! leaving its context. The other ways in (`step_callback`, `wakeup_callback`) are for loops that
//! are not ours and for Futures that are not ours; there the loop calls us as any callback, with
//! the context entered already. The order of every check is that of CPython's `task_step_impl`.

use super::coroutine::as_wait;
use super::future::{Future, as_native};
use super::sleep::SleepState;
use super::task::{Task, cancel_any};
use crate::engine::asyncio::{asyncio, invalid_state, is_cancelled_error};
use crate::engine::current;
use crate::engine::event_loop::{EventLoop, LoopState};
use crate::py::error::{fetch, is_fatal, restore};
use crate::py::{
    Any, AsObject, Builtin, Own, Raised, Res, Sent, context, names, raise, track, value,
};

/// A step that failed outside its coroutine, for the loop to report.
pub(crate) struct Failed {
    pub(crate) task: Own<Task>,
    pub(crate) raised: Raised,
}

/// Runs one step of a Task from the ready queue, whose reference goes on to whatever wakes the
/// Task next.
#[inline(always)]
pub(crate) fn run(event_loop: &EventLoop, task: Own<Task>) -> Result<(), Failed> {
    match resume(event_loop, &task) {
        Ok(Stepped::Over) if !task.as_future().holds_container() => Ok(()),
        Ok(Stepped::Over) => withdraw_if_last(event_loop, task),
        Ok(Stepped::Awaits(awaited)) => match park_quickly(event_loop, task, awaited) {
            Ok(()) => Ok(()),
            Err((task, awaited)) => park_slowly(event_loop, task, awaited),
        },
        Err(raised) => Err(Failed { task, raised }),
    }
}

/// What a step left to do.
enum Stepped {
    /// Nothing: the Task is done.
    Over,
    /// Arranging to be woken by this.
    Awaits(Own<Any>),
}

#[inline(always)]
fn resume(event_loop: &EventLoop, task: &Task) -> Res<Stepped> {
    // Held until the step is over: it may be all that keeps the awaited Future alive. What dies
    // with it then dies between steps, where nothing is current.
    let waiter = task.waiter.take();
    let (exception, may_hold_code) = match &waiter {
        Some(waiter) => outcome_of(waiter)?,
        None => (None, false),
    };
    let _current = current::Current::enter(event_loop, task)?;
    // SAFETY: nothing runs between the look and the entering, and from then on the thread holds
    // a reference to the context until it is left.
    let context = unsafe { task.context.peek() }.ok_or_else(uninitialized)?;
    context::enter(context)?;
    let stepped = step(task, exception);
    context::exit(context);
    // Not with an exception pending: then the step is reported or the loop stops, and both
    // withdraw.
    if may_hold_code
        && let (Ok(_), Some(waiter)) = (&stepped, &waiter)
        && waiter.refcount() == 1
    {
        current::withdraw(event_loop)?;
    }
    stepped
}

/// What a Task that waited for this is to be resumed with, and whether the end of what was awaited
/// may run code. What is ours and no Future has handed its result on.
#[inline(always)]
fn outcome_of(waiter: &Any) -> Res<(Option<Own<Any>>, bool)> {
    if let Some(coroutine) = as_wait(waiter) {
        return Ok((coroutine.wake_reason()?, false));
    }
    if let Some(future) = as_native(waiter) {
        return Ok((future.wake_reason()?, future.holds_container()));
    }
    match waiter.cast_exact::<SleepState>() {
        Some(sleep) => Ok((sleep.wake_reason()?, false)),
        None => Ok((None, true)),
    }
}

#[cold]
fn uninitialized() -> Raised {
    raise(Builtin::RuntimeError.get(), "uninitialized Task object")
}

/// The first step of an eager Task, run inside the step that creates it.
pub(super) fn start_eagerly(task: &Task) -> Res<()> {
    let event_loop = task.as_future().event_loop()?;
    let context = task.context_object()?;
    task.register()?;
    let stepped = {
        let _current = current::Nested::enter(&event_loop, task)?;
        context::enter(&context)?;
        let stepped = step_and_park(task, None);
        context::exit(&context);
        stepped
    };
    if task.as_future().is_done() {
        task.unregister();
        if event_loop.cast::<LoopState>().is_none() {
            asyncio().unregister_task.call(&[task.as_any()])?;
        }
        task.coro.clear();
    }
    stepped
}

/// `task_step(exception or None)`, called by a loop as a callback.
pub(super) fn step_callback(task: &Task, exception: &Any) -> Res<()> {
    let exception = (!exception.is_none()).then(|| exception.own());
    step_as_callback(task, exception)
}

/// `task_wakeup(future)`, called by a loop as a callback of a Future that is done.
pub(super) fn wakeup_callback(task: &Task, future: &Any) -> Res<()> {
    let exception = match as_native(future) {
        Some(future) => future.wake_reason()?,
        None => match future.call_method(&names::RESULT, &[]) {
            Ok(_) => None,
            Err(raised) => Some(fetch(raised)),
        },
    };
    step_as_callback(task, exception)
}

fn step_as_callback(task: &Task, exception: Option<Own<Any>>) -> Res<()> {
    let _waiter = task.waiter.take();
    let event_loop = task.as_future().event_loop()?;
    if let Some(ours) = event_loop.cast::<LoopState>() {
        let _current = current::Current::enter(ours, task)?;
        return step_and_park(task, exception);
    }
    asyncio().enter_task.call(&[&event_loop, task.as_any()])?;
    let stepped = step_and_park(task, exception);
    let left = match &stepped {
        Ok(()) => asyncio().leave_task.call(&[&event_loop, task.as_any()]),
        Err(Raised) => {
            // The step's exception goes on; leaving must not hide it.
            crate::py::error::preserving(|| {
                asyncio().leave_task.call(&[&event_loop, task.as_any()])
            })
        }
    };
    stepped.and_then(|()| left.map(|_| ()))
}

/// A whole step in a context that is entered already, for the ways in that are not the queue.
fn step_and_park(task: &Task, exception: Option<Own<Any>>) -> Res<()> {
    match step(task, exception)? {
        Stepped::Over => Ok(()),
        Stepped::Awaits(awaited) => park(task, awaited),
    }
}

/// Resumes the coroutine. The context is entered, the Task is current.
#[inline(always)]
fn step(task: &Task, exception: Option<Own<Any>>) -> Res<Stepped> {
    if task.as_future().is_done() {
        return Err(already_done(task, exception));
    }
    let exception =
        if task.must_cancel.get() { Some(cancellation(task, exception)?) } else { exception };
    let coro = task.coro.get().ok_or_else(uninitialized)?;
    let sent = match exception {
        None => coro.send_none(),
        Some(exception) => coro.throw(&exception),
    };
    match sent {
        Ok(Sent::Yielded(awaited)) => Ok(Stepped::Awaits(awaited)),
        Ok(Sent::Returned(result)) => finish(task, result).map(|()| Stepped::Over),
        Err(raised) => fail(task, fetch(raised)).map(|()| Stepped::Over),
    }
}

/// What to throw into a Task that is to be cancelled: its waking exception if that is a
/// CancelledError already.
#[cold]
fn cancellation(task: &Task, exception: Option<Own<Any>>) -> Res {
    task.must_cancel.set(false);
    match exception {
        Some(given) if is_cancelled_error(&given) => Ok(given),
        _ => task.as_future().make_cancelled_error(),
    }
}

#[cold]
fn already_done(task: &Task, exception: Option<Own<Any>>) -> Raised {
    let exception = exception.map_or_else(String::new, |given| value::repr_text(&given));
    let task = value::repr_text(task.as_any());
    invalid_state(&format!("__step(): already done: {task} {exception}"))
}

/// The coroutine returned.
#[inline(always)]
fn finish(task: &Task, result: Own<Any>) -> Res<()> {
    task.unregister();
    if task.must_cancel.get() {
        // Cancelled in its last step: the result is lost, as in asyncio.
        task.must_cancel.set(false);
        let message = task.as_future().rare(|extra| &extra.cancel_message);
        task.as_future().cancel_self(message.as_deref())?;
        return Ok(());
    }
    task.as_future().set_result(result)
}

/// The coroutine raised.
fn fail(task: &Task, exception: Own<Any>) -> Res<()> {
    task.unregister();
    if is_cancelled_error(&exception) {
        task.as_future().track_self();
        task.as_future().extra().cancelled_error.set(exception);
        task.as_future().cancel_self(None)?;
        return Ok(());
    }
    task.as_future().set_exception(&exception)?;
    if is_fatal(&exception) {
        return Err(restore(exception));
    }
    Ok(())
}

/// Parks on a pending Future of ours, or not at all (a bare yield): nearly every await ends so. The
/// Task's reference moves from the queue into the Future, or back. Anything else is given back.
#[inline(always)]
fn park_quickly(
    event_loop: &EventLoop,
    task: Own<Task>,
    awaited: Own<Any>,
) -> Result<(), (Own<Task>, Own<Any>)> {
    let Some(future) = as_native(&awaited) else {
        let usual = task.as_future().runs_on(event_loop)
            && !task.must_cancel.get()
            && !event_loop.must_check_schedule();
        if usual
            && let Some(coroutine) = as_wait(&awaited)
            && coroutine.is_asked()
        {
            track(&task);
            task.waiter.set(coroutine.own().into_any());
            coroutine.park(task);
            return Ok(());
        }
        if usual
            && let Some(sleep) = awaited.cast_exact::<SleepState>()
            && sleep.is_asked()
        {
            track(&task);
            task.waiter.set(sleep.own().into_any());
            sleep.park(event_loop, task);
            return Ok(());
        }
        if !awaited.is_none()
            || !task.as_future().runs_on(event_loop)
            || event_loop.must_check_schedule()
        {
            return Err((task, awaited));
        }
        track(&task);
        event_loop.ready().push_task(task);
        return Ok(());
    };
    let usual = future.blocking.get()
        && !future.is_done()
        && future.runs_on(event_loop)
        && task.as_future().runs_on(event_loop)
        && !task.must_cancel.get()
        && !future.is(&*task);
    if !usual {
        return Err((task, awaited));
    }
    track(&task);
    future.blocking.set(false);
    task.waiter.set(future.own().into_any());
    future.add_waiting_task(task);
    Ok(())
}

#[inline(never)]
fn park_slowly(event_loop: &EventLoop, task: Own<Task>, awaited: Own<Any>) -> Result<(), Failed> {
    // What is awaited may be anybody's, and what it runs when it is asked is part of the step.
    let park_in_context = || -> Res<()> {
        let context = task.context_object()?;
        let _current = current::Current::enter(event_loop, &task)?;
        context::enter(&context)?;
        let parked = park(&task, awaited);
        context::exit(&context);
        parked
    };
    if let Err(raised) = park_in_context() {
        return Err(Failed { task, raised });
    }
    // Parked where nobody will ever wake it, it dies here.
    withdraw_if_last(event_loop, task)
}

/// Lets go of a Task that may die of it: what is torn down with it has no current Task. Being
/// current for asyncio is a reference too, but none that should keep it alive.
#[cold]
fn withdraw_if_last(event_loop: &EventLoop, task: Own<Task>) -> Result<(), Failed> {
    let as_current = isize::from(event_loop.has_published(&task));
    if task.refcount() == 1 + as_current
        && let Err(raised) = current::withdraw(event_loop)
    {
        return Err(Failed { task, raised });
    }
    Ok(())
}

/// The coroutine awaits something: find out what, and arrange to be woken.
fn park(task: &Task, awaited: Own<Any>) -> Res<()> {
    track(task);
    if let Some(future) = as_native(&awaited) {
        return park_on_native(task, future);
    }
    if awaited.is_none() {
        return task.call_step_soon(None);
    }
    if let Some(event_loop) = task.as_future().native_loop()
        && !task.must_cancel.get()
        && !event_loop.must_check_schedule()
    {
        if let Some(coroutine) = as_wait(&awaited)
            && coroutine.is_asked()
        {
            task.waiter.set(awaited.clone());
            coroutine.park(task.own());
            return Ok(());
        }
        if let Some(sleep) = awaited.cast_exact::<SleepState>()
            && sleep.is_asked()
        {
            task.waiter.set(awaited.clone());
            sleep.park(event_loop, task.own());
            return Ok(());
        }
    }
    park_on_foreign(task, &awaited)
}

fn park_on_native(task: &Task, future: &Future) -> Res<()> {
    if future.is(task) {
        return complain(task, &format!("Task cannot await on itself: {}", repr(task)));
    }
    if !future.blocking.get() {
        return yielded_without_from(task, future.as_any());
    }
    let same_loop = match task.as_future().native_loop() {
        Some(event_loop) => future.runs_on(event_loop),
        None => task.as_future().event_loop()?.is(&*future.event_loop()?),
    };
    if !same_loop {
        return different_loop(task, future.as_any());
    }
    future.blocking.set(false);
    if future.is_done() {
        let wakeup = task.wakeup_callable()?;
        future.add_done_callback(&wakeup, Some(&*task.context_object()?))?;
    } else {
        future.add_waiting_task(task.own());
    }
    task.waiter.set(future.own().into_any());
    if task.must_cancel.get() {
        cancel_waiter(task, future.as_any())?;
    }
    Ok(())
}

#[cold]
fn cancel_waiter(task: &Task, waiter: &Any) -> Res<()> {
    let message = task.as_future().rare(|extra| &extra.cancel_message);
    if cancel_any(waiter, message.as_deref())? {
        task.must_cancel.set(false);
    }
    Ok(())
}

fn park_on_foreign(task: &Task, awaited: &Any) -> Res<()> {
    if awaited.is(task) {
        return complain(task, &format!("Task cannot await on itself: {}", repr(task)));
    }
    let blocking = awaited.attr_if_any(&names::BLOCKING)?.filter(|blocking| !blocking.is_none());
    let Some(blocking) = blocking else {
        let (task_text, awaited_text) = (repr(task), value::repr_text(awaited));
        if value::is_generator(awaited) {
            let text = format!(
                "yield was used instead of yield from for generator in task {task_text} with {awaited_text}"
            );
            return complain(task, &text);
        }
        return complain(task, &format!("Task got bad yield: {awaited_text}"));
    };
    let blocking = value::is_true(&blocking)?;
    if !loop_of(awaited)?.is(&*task.as_future().event_loop()?) {
        return different_loop(task, awaited);
    }
    if !blocking {
        return yielded_without_from(task, awaited);
    }
    awaited.set_attr(&names::BLOCKING, &value::boolean(false))?;
    let wakeup = task.wakeup_callable()?;
    awaited.call_method_named(
        &names::ADD_DONE_CALLBACK,
        &[&wakeup],
        &names::CONTEXT,
        &*task.context_object()?,
    )?;
    task.waiter.set(awaited.own());
    if task.must_cancel.get() {
        cancel_waiter(task, awaited)?;
    }
    Ok(())
}

/// The loop of any Future-like object: `get_loop()`, or `_loop` of older ones.
pub(super) fn loop_of(future: &Any) -> Res {
    match future.attr_if_any(&names::GET_LOOP)? {
        Some(get_loop) => get_loop.call(&[]),
        None => future.attr(&names::LOOP_ATTR),
    }
}

fn repr(task: &Task) -> String {
    value::repr_text(task.as_any())
}

#[cold]
fn yielded_without_from(task: &Task, awaited: &Any) -> Res<()> {
    let text = format!(
        "yield was used instead of yield from in task {} with {}",
        repr(task),
        value::repr_text(awaited)
    );
    complain(task, &text)
}

#[cold]
fn different_loop(task: &Task, awaited: &Any) -> Res<()> {
    let text = format!(
        "Task {} got Future {} attached to a different loop",
        repr(task),
        value::repr_text(awaited)
    );
    complain(task, &text)
}

/// Throws RuntimeError(text) into the coroutine at its next step.
#[cold]
fn complain(task: &Task, text: &str) -> Res<()> {
    // Made, not raised: what is being handled here is no context of the complaint.
    let exception = Builtin::RuntimeError.get().call(&[&*value::string(text)?])?;
    task.call_step_soon(Some(&exception))
}
