//! The current Task, for us and for asyncio.
//!
//! Native code reads the loop's own field. Code of the standard library asks asyncio, so asyncio
//! is told as well, in the cheapest way that each version has: up to 3.13 by an entry in its dict
//! of current tasks (about 10 ns, where `_enter_task` and `_leave_task` take 39 to 55), from 3.14
//! on by one `_swap_current_task` (5 ns). It is told only of changes: a step does not take its
//! Task back, the next step replaces it, and it is withdrawn before a plain callback runs, before
//! the loop waits, and when it stops.

use std::cell::Cell;

use super::asyncio::asyncio;
use super::event_loop::{EventLoop, LoopState};
use crate::py::{Any, AsObject, Own, Res, dict_get, dict_remove, dict_set, names, value};
use crate::tasks::task::Task;

thread_local! {
    static RUNNING: Cell<*const EventLoop> = const { Cell::new(std::ptr::null()) };
}

/// The loop of ours that runs in this thread. The borrow may not outlive the call in which it was
/// taken: the loop runs at least until that call returns to it.
#[inline(always)]
pub(crate) fn running<'a>() -> Option<&'a EventLoop> {
    // SAFETY: set while `turns` runs, whose caller holds a reference to the loop.
    unsafe { RUNNING.get().as_ref() }
}

/// The current Task, of whatever make.
///
/// While a Task of ours is stepped, asyncio has been told so, and it alone knows whether that step
/// has started an eager Task of asyncio's own make, which is current until its first wait.
#[inline]
pub(crate) fn task(event_loop: Option<&EventLoop>) -> Res<Option<Own<Any>>> {
    let Some(stepping) = event_loop.filter(|stepping| !stepping.current_ptr().is_null()) else {
        return ask(&[]);
    };
    let asyncio = asyncio();
    match &asyncio.current_tasks {
        Some(current) => dict_get(current, stepping.as_any()),
        None => asyncio.current_task.call(&[stepping.as_any()]).map(Some),
    }
}

/// `asyncio.tasks.current_task(*args)`, by its name as asyncio's own primitives ask: a program on
/// Python's own Tasks puts the function there that knows of those.
#[cold]
pub(crate) fn ask(args: &[&Any]) -> Res<Option<Own<Any>>> {
    let task = asyncio().tasks.call_method(&names::CURRENT_TASK, args)?;
    Ok(Some(task).filter(|task| !task.is_none()))
}

/// Runs `f` as what this loop does in this thread.
pub(super) fn running_in_this_thread<T>(event_loop: &EventLoop, f: impl FnOnce() -> T) -> T {
    struct Restore(*const EventLoop);
    impl Drop for Restore {
        fn drop(&mut self) {
            RUNNING.set(self.0);
        }
    }
    let _restore = Restore(RUNNING.replace(event_loop));
    f()
}

/// While it lives, the Task is current on a loop of ours.
pub(crate) struct Current<'a> {
    event_loop: &'a EventLoop,
}

impl<'a> Current<'a> {
    #[inline(always)]
    pub(crate) fn enter(event_loop: &'a EventLoop, task: &Task) -> Res<Current<'a>> {
        publish(event_loop, task)?;
        event_loop.set_current(task);
        Ok(Current { event_loop })
    }
}

impl Drop for Current<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.event_loop.set_current(std::ptr::null());
    }
}

#[inline(always)]
fn publish(event_loop: &EventLoop, task: &Task) -> Res<()> {
    if event_loop.has_published(task) {
        return Ok(());
    }
    tell(event_loop.as_any(), task.as_any())?;
    event_loop.set_published(task);
    Ok(())
}

/// Withdraws what asyncio was told, if anything.
#[inline(always)]
pub(crate) fn withdraw(event_loop: &EventLoop) -> Res<()> {
    if event_loop.published().is_null() {
        return Ok(());
    }
    event_loop.set_published(std::ptr::null());
    untell(event_loop.as_any())
}

#[inline(always)]
fn tell(event_loop: &Any, task: &Any) -> Res<()> {
    let asyncio = asyncio();
    match (&asyncio.current_tasks, &asyncio.swap_current_task) {
        (Some(current), _) => dict_set(current, event_loop, task),
        (None, Some(swap)) => swap.call(&[event_loop, task]).map(drop),
        (None, None) => Ok(()),
    }
}

fn untell(event_loop: &Any) -> Res<()> {
    if let Some(current) = &asyncio().current_tasks {
        return dict_remove(current, event_loop);
    }
    swap(event_loop, value::none_ref()).map(|_| ())
}

fn swap(event_loop: &Any, task: &Any) -> Res {
    match &asyncio().swap_current_task {
        Some(swap) => swap.call(&[event_loop, task]),
        None => Ok(value::none()),
    }
}

/// While it lives, an eager Task is current in the middle of another's step.
pub(crate) struct Nested<'a> {
    event_loop: &'a Any,
    outer: Option<Own<Any>>,
    ours: Option<(&'a EventLoop, *const Task)>,
}

impl<'a> Nested<'a> {
    pub(crate) fn enter(event_loop: &'a Any, task: &Task) -> Res<Nested<'a>> {
        let ours = event_loop.cast::<LoopState>();
        let outer = match &asyncio().current_tasks {
            Some(current) => {
                let outer = dict_get(current, event_loop)?;
                dict_set(current, event_loop, task.as_any())?;
                outer
            }
            None => Some(swap(event_loop, task.as_any())?).filter(|outer| !outer.is_none()),
        };
        let ours = ours.map(|ours| {
            let before = ours.current_ptr();
            ours.set_current(task);
            (ours, before)
        });
        Ok(Nested { event_loop, outer, ours })
    }
}

impl Drop for Nested<'_> {
    fn drop(&mut self) {
        crate::py::error::preserving(|| {
            if let Some((ours, before)) = self.ours {
                ours.set_current(before);
            }
            let told = match &self.outer {
                Some(outer) => tell(self.event_loop, outer),
                None => untell(self.event_loop),
            };
            if let Err(raised) = told {
                crate::py::error::unraisable(raised, self.event_loop);
            }
        });
    }
}
