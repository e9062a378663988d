//! `wait_for`: an awaitable under a deadline.
//!
//! Since 3.12 it is `async with timeout(t): return await fut`, and so it is here: the native
//! Timeout, and what is awaited driven in its place, without a Task of its own. Before 3.12 it did
//! wrap what it awaited in a Task, which a program can tell; there the standard library's stays.

use super::any_future::{self, ensure_future, forget_awaiter, note_awaiter};
use super::coroutine::{Behaviour, Coroutine, CoroutineState, coroutine};
use super::timeout::{Timeout, TimeoutState, after};
use super::watch::{Watcher, unwatch, watch};
use crate::engine::asyncio::is_cancelled_error;
use crate::py::error::{fetch, restore};
use crate::py::{
    Any, Args, AsObject, BoundMethod, Builtin, Own, Res, Sent, Signature, names, value,
};

static SIGNATURE: Signature<2> = Signature {
    method: "wait_for",
    names: [&names::FUT, &names::TIMEOUT],
    positional: 2,
    required: 2,
};

static WAIT_FOR: Behaviour = Behaviour { qualname: "wait_for", resume };

/// The places of the coroutine.
const BEGIN: u8 = 0;
const UNDER_TIMEOUT: u8 = 1;
const CANCELLING: u8 = 2;

/// `wait_for(fut, timeout)`.
pub(super) fn wait_for(args: Args<'_>) -> Res<Own<Coroutine>> {
    let [future, timeout] = args.bind(&SIGNATURE)?;
    coroutine(&WAIT_FOR, future.map(AsObject::own), timeout.map(AsObject::own))
}

fn resume(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    match this.place.get() {
        BEGIN => begin(this),
        UNDER_TIMEOUT => drive(this, exception),
        _ => cancelled_and_waited(this, exception),
    }
}

fn begin(this: &Coroutine) -> Res<Sent> {
    let (Some(future), Some(limit)) = (this.owner.get(), this.item.take()) else {
        return super::coroutine::returned_none();
    };
    let limit = if limit.is_none() { None } else { Some(value::as_float(&limit)?) };
    if limit.is_some_and(|limit| limit <= 0.0) {
        return without_waiting(this, &future);
    }
    let timeout = after(limit)?;
    timeout.enter()?;
    this.item.set(timeout.clone().into_any());
    this.place.set(UNDER_TIMEOUT);
    if let Err(raised) = this.await_inner(&future) {
        let failed = fetch(raised);
        timeout.exit(Some(&failed))?;
        return Err(restore(failed));
    }
    drive(this, None)
}

fn drive(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    let sent = this.drive(exception);
    match sent {
        Ok(Sent::Yielded(_)) => sent,
        Ok(Sent::Returned(_)) => {
            timeout_of(this)?.exit(None)?;
            sent
        }
        Err(raised) => {
            let failed = fetch(raised);
            timeout_of(this)?.exit(Some(&failed))?;
            Err(restore(failed))
        }
    }
}

fn timeout_of(this: &Coroutine) -> Res<Own<Timeout>> {
    let timeout = this.item.get().unwrap_or_else(value::none);
    // SAFETY: `begin` put it there before it set the place that leads here.
    Ok(unsafe { timeout.assume_own::<TimeoutState>() })
}

/// A timeout that is over before it began: take a result that is there, or cancel and wait.
#[cold]
fn without_waiting(this: &Coroutine, future: &Any) -> Res<Sent> {
    let future = ensure_future(future, None)?;
    if any_future::is_done(&future)? {
        return any_future::result(&future).map(Sent::Returned);
    }
    this.owner.set(future.clone());
    this.item.put(any_future::awaiter()?);
    watch(&future, this)?;
    note_awaiter(&future, this.item.get().as_deref())?;
    this.place.set(CANCELLING);
    if let Err(raised) = any_future::cancel(&future, None) {
        let failed = fetch(raised);
        stop_watching(this, &future)?;
        return Err(restore(failed));
    }
    this.wait()
}

fn stop_watching(this: &Coroutine, future: &Any) -> Res<()> {
    unwatch(future, this)?;
    forget_awaiter(future, this.item.get().as_deref())
}

#[cold]
fn cancelled_and_waited(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    let future = this.owner.get().unwrap_or_else(value::none);
    stop_watching(this, &future)?;
    if let Some(exception) = exception {
        return Err(restore(exception));
    }
    any_future::result(&future).map(Sent::Returned).map_err(|raised| {
        let failed = fetch(raised);
        if !is_cancelled_error(&failed) {
            return restore(failed);
        }
        match Builtin::TimeoutError.get().call(&[]) {
            Ok(timed_out) => {
                value::set_cause(&timed_out, &failed);
                restore(timed_out)
            }
            Err(raised) => raised,
        }
    })
}

static RELEASE: BoundMethod = BoundMethod::new(c"_release_waiter");

/// A coroutine that watches a Future waits for its end.
impl Watcher for CoroutineState {
    fn method() -> &'static BoundMethod {
        &RELEASE
    }
    fn finished(this: &Coroutine, _: &Any) -> Res<()> {
        this.wake()
    }
}
