//! Running: turns of the loop, one after another.
//!
//! A turn is asyncio's: wait if there is nothing to do, take what became ready and what is due,
//! then run exactly what was in the queue at that moment. Two things differ where no program can
//! tell. While something is ready and no descriptor is watched, or nothing is ready but Tasks that
//! were woken by what the kernel said a moment ago, it is not asked at all. And the GIL is let go
//! only when the loop really waits: a look with a zero timeout comes first, unless there is no other
//! thread that could take it.

use std::time::Duration;

use super::asyncio::asyncio;
use super::current;
use super::endpoint::Readiness;
use super::event_loop::{EventLoop, Timer};
use super::handle::{Call, Handle};
use super::ready::Entry;
use crate::py::error::{check_signals, fetch, is_fatal, os_error, preserving, restore, unraisable};
use crate::py::{Any, AsObject, Raised, Res, is_only_thread, names, thread_ident, value};
use crate::tasks::future::Future;
use crate::tasks::job::Job;
use crate::tasks::step;
use crate::tasks::timeout::Timeout;

/// asyncio never waits longer than this in one go.
const LONGEST_WAIT: f64 = 24.0 * 3600.0;

/// Signals are looked for this often even if no bytecode runs in between (which looks by itself).
const TURNS_BETWEEN_SIGNAL_CHECKS: u32 = 16;

/// `_run()`: turns until `stop()`, or until KeyboardInterrupt or SystemExit.
pub(super) fn run(this: &EventLoop) -> Res<()> {
    let none = value::none_ref();
    this.learn_classes()?;
    asyncio().events.call_method(&names::SET_RUNNING_LOOP, &[this.as_any()])?;
    this.set_thread(thread_ident());
    let outcome = current::running_in_this_thread(this, || turns(this));
    this.set_thread(0);
    this.stopping.set(false);
    let mut cleaned = Ok(());
    preserving(|| {
        if !this.outbox().is_empty()
            && let Err(raised) = this.outbox().send(this)
        {
            unraisable(raised, this.as_any());
        }
        // In this order: 3.14 speaks of a loop's current task only while the loop is the running one.
        cleaned = current::withdraw(this);
        let unset = asyncio().events.call_method(&names::SET_RUNNING_LOOP, &[none]);
        if let Err(raised) = unset {
            cleaned = Err(raised);
        }
    });
    outcome.and(cleaned)
}

fn turns(this: &EventLoop) -> Res<()> {
    let mut until_signals = TURNS_BETWEEN_SIGNAL_CHECKS;
    loop {
        turn(this)?;
        if this.stopping.get() {
            return Ok(());
        }
        until_signals -= 1;
        if until_signals == 0 {
            until_signals = TURNS_BETWEEN_SIGNAL_CHECKS;
            check_signals()?;
        }
    }
}

#[inline(always)]
fn turn(this: &EventLoop) -> Res<()> {
    if this.ready().is_empty() && !this.stopping.get() {
        wait(this)?;
    } else if this.is_watching() && this.woken.get() != this.ready().len() {
        look(this)?;
    }
    this.woken.set(0);
    if !this.timers().is_empty() {
        take_due_timers(this);
    }
    for _ in 0..this.ready().len() {
        let Some(entry) = this.ready().pop() else { break };
        if this.debug() {
            run_in_debug(this, entry)?;
            this.outbox().send(this)?;
            continue;
        }
        match entry {
            Entry::Task(task) => {
                if let Err(failed) = step::run(this, task) {
                    step_failed(this, failed)?;
                }
            }
            Entry::Handle(handle) => run_handle(this, &handle)?,
            Entry::Notice(future) => notify(this, &future)?,
            Entry::Wake(sleep) => sleep.wake(this),
            Entry::Expire(timeout) => expire(this, &timeout)?,
            Entry::Job(job) => settle(this, &job)?,
            Entry::Ready(readiness) => ready(this, readiness)?,
        }
        if !this.outbox().is_empty() {
            this.outbox().send(this)?;
        }
    }
    Ok(())
}

/// Asks the kernel without waiting. Returns whether a descriptor was ready.
fn look(this: &EventLoop) -> Res<bool> {
    match this.io()?.wait(this, Some(Duration::ZERO)) {
        Ok(count) => Ok(count > 0),
        Err(failure) => interrupted(&failure).map(|()| false),
    }
}

/// Waits for a descriptor, another thread, a signal or the next timer.
fn wait(this: &EventLoop) -> Res<()> {
    current::withdraw(this)?;
    let has_company = this.is_watching() && !is_only_thread();
    if has_company && look(this)? {
        return Ok(());
    }
    // A signal that came since the last bytecode has no other moment; its handler may have
    // scheduled something.
    check_signals()?;
    if !this.outbox().is_empty() {
        this.outbox().send(this)?;
    }
    if !this.ready().is_empty() || this.stopping.get() {
        return Ok(());
    }
    let timeout = match this.timers().next_deadline() {
        None => None,
        Some(when) => {
            let left = (when - reactor::monotonic()).clamp(0.0, LONGEST_WAIT);
            if left <= 0.0 {
                return Ok(());
            }
            // A fraction of a nanosecond must not make the wait end before the deadline.
            Some(Duration::from_secs_f64(left) + Duration::from_nanos(1))
        }
    };
    if has_company {
        match this.io()?.wait_briefly(this, timeout) {
            Ok(0) => {}
            Ok(_) => return Ok(()),
            Err(failure) => return interrupted(&failure),
        }
    }
    match this.io()?.wait(this, timeout) {
        Ok(_) => Ok(()),
        Err(failure) => interrupted(&failure),
    }
}

/// A wait that a signal ended is not an error, but its handler's exception is.
fn interrupted(failure: &std::io::Error) -> Res<()> {
    if failure.kind() == std::io::ErrorKind::Interrupted {
        return check_signals();
    }
    Err(os_error(failure))
}

fn take_due_timers(this: &EventLoop) {
    let end = reactor::monotonic() + reactor::RESOLUTION;
    while let Some(entry) = this.timers().pop_due(end) {
        match entry.open() {
            Timer::Handle(timer) => this.ready().push_handle(timer.as_handle().own()),
            Timer::Sleep(sleep) => this.ready().push_wake(sleep),
            Timer::Timeout(timeout) => this.ready().push_expired(timeout),
        }
    }
}

/// A watcher hears of the end of a Future: in asyncio a callback like any other.
#[inline(always)]
fn notify(this: &EventLoop, future: &Future) -> Res<()> {
    // A failure may be reported, and then no Task is current.
    if !future.has_plain_result() {
        current::withdraw(this)?;
    }
    future.notify().or_else(|raised| native_callback_failed(this, future.as_any(), raised))
}

/// A timeout expires: in asyncio a callback like any other.
#[cold]
fn expire(this: &EventLoop, timeout: &Timeout) -> Res<()> {
    current::withdraw(this)?;
    timeout.expire().or_else(|raised| native_callback_failed(this, timeout.as_any(), raised))
}

/// A job comes home from a thread: in asyncio a callback like any other.
fn settle(this: &EventLoop, job: &Job) -> Res<()> {
    current::withdraw(this)?;
    job.settle().or_else(|raised| native_callback_failed(this, job.as_any(), raised))
}

/// A descriptor is ready: in asyncio a callback like any other.
#[inline]
fn ready(this: &EventLoop, readiness: Readiness) -> Res<()> {
    let Some((endpoint, face, wanted)) = this.io()?.endpoint(readiness) else { return Ok(()) };
    (face.ready)(&endpoint, this, wanted)
        .or_else(|raised| native_callback_failed(this, &endpoint, raised))
}

#[cold]
fn native_callback_failed(this: &EventLoop, subject: &Any, raised: Raised) -> Res<()> {
    let exception = fetch(raised);
    if is_fatal(&exception) {
        return Err(restore(exception));
    }
    current::withdraw(this)?;
    let empty = value::tuple(&[])?;
    let callback = value::type_of(subject);
    this.as_any()
        .call_method(&names::CALLBACK_FAILED, &[&callback, &empty, value::none_ref(), &exception])
        .map(|_| ())
}

/// Runs a callback; its exception goes to the exception handler.
#[inline]
pub(super) fn run_handle(this: &EventLoop, handle: &Handle) -> Res<()> {
    let Some(call) = handle.open() else { return Ok(()) };
    current::withdraw(this)?;
    let _running = handle.running();
    match call.run() {
        Ok(()) => Ok(()),
        Err(raised) => callback_failed(this, handle, call, raised),
    }
}

#[cold]
fn callback_failed(this: &EventLoop, handle: &Handle, call: Call, raised: Raised) -> Res<()> {
    let exception = fetch(raised);
    handle.restore(call);
    if is_fatal(&exception) {
        return Err(restore(exception));
    }
    let reported = report(this, handle, &exception);
    handle.spend();
    reported
}

fn report(this: &EventLoop, handle: &Handle, exception: &Any) -> Res<()> {
    let [callback, args] = handle.shown()?;
    this.as_any()
        .call_method(&names::CALLBACK_FAILED, &[&callback, &args, handle.as_any(), exception])
        .map(|_| ())
}

/// A step that failed outside its coroutine: reported as the callback that it is in asyncio.
#[cold]
fn step_failed(this: &EventLoop, failed: step::Failed) -> Res<()> {
    let step::Failed { task, raised } = failed;
    let exception = fetch(raised);
    if is_fatal(&exception) {
        return Err(restore(exception));
    }
    let context = task.context_object()?;
    let handle = Handle::make(this, &*task.wakeup_callable()?, &[], Some(&context))?;
    let reported = report(this, &handle, &exception);
    handle.spend();
    reported
}

/// As above, timed; what took long is logged, and `_current_handle` says what runs.
#[cold]
#[inline(never)]
fn run_in_debug(this: &EventLoop, entry: Entry) -> Res<()> {
    let begin = reactor::monotonic();
    let (subject, handle) = match &entry {
        Entry::Task(task) => (task.as_any().own(), None),
        Entry::Handle(handle) => (handle.as_any().own(), Some(handle.clone())),
        Entry::Wake(sleep) => {
            sleep.wake(this);
            return Ok(());
        }
        Entry::Notice(future) => return notify(this, future),
        Entry::Expire(timeout) => return expire(this, timeout),
        Entry::Job(job) => return settle(this, job),
        Entry::Ready(readiness) => {
            let Some((endpoint, ..)) = this.io()?.endpoint(*readiness) else { return Ok(()) };
            (endpoint, None)
        }
    };
    this.as_any().set_attr(&names::CURRENT_HANDLE, &subject)?;
    let outcome = match entry {
        Entry::Task(task) => step::run(this, task).or_else(|failed| step_failed(this, failed)),
        Entry::Handle(handle) => run_handle_and_keep(this, &handle),
        Entry::Ready(readiness) => ready(this, readiness),
        Entry::Wake(_) | Entry::Notice(_) | Entry::Expire(_) | Entry::Job(_) => Ok(()),
    };
    let mut cleared = Ok(());
    preserving(|| cleared = this.as_any().set_attr(&names::CURRENT_HANDLE, value::none_ref()));
    outcome.and(cleared)?;
    let took = reactor::monotonic() - begin;
    let limit = value::as_float(&*this.as_any().attr(&names::SLOW_CALLBACK_DURATION)?)?;
    if took >= limit {
        let took = value::float(took)?;
        this.as_any().call_method(&names::REPORT_SLOW, &[&subject, &took])?;
    }
    // The collector does not look into Handles: one that is run holds nothing.
    if let Some(handle) = handle {
        handle.spend();
    }
    Ok(())
}

/// Runs a callback and leaves it in its Handle, for the report of a slow one to show.
fn run_handle_and_keep(this: &EventLoop, handle: &Handle) -> Res<()> {
    let Some(call) = handle.open() else { return Ok(()) };
    current::withdraw(this)?;
    let running = handle.running();
    let outcome = call.run();
    drop(running);
    match outcome {
        Ok(()) => {
            handle.restore(call);
            Ok(())
        }
        Err(raised) => callback_failed(this, handle, call, raised),
    }
}
