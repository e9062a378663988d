//! `wait`: several Futures, until the first, the first that fails, or all of them are done.

use std::cell::{Cell, UnsafeCell};

use super::any_future::{self, forget_awaiter, note_awaiter};
use super::coroutine::{Behaviour, Coroutine, coroutine};
use super::watch::{Watcher, unwatch, watch};
use crate::engine::asyncio::asyncio;
use crate::py::error::restore;
use crate::py::{
    Any, Args, AsObject, BoundMethod, Builder, Builtin, Class, Object, Own, Res, Sent, Signature,
    Slot, Stop, TypeCell, Visitor, bound, create, names, raise, track, type_error, value,
};

pub(super) type Wait = Object<WaitState>;

/// What a `wait()` is about, and what watches.
pub(super) struct WaitState {
    futures: UnsafeCell<Vec<Own<Any>>>,
    left: Cell<usize>,
    until: Until,
    timer: Slot,
    waiter: Slot<Coroutine>,
    awaiter: Slot,
    tracked: Cell<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    First,
    FirstFailure,
    All,
}

static TYPE: TypeCell = TypeCell::new();
static ON_COMPLETION: BoundMethod = BoundMethod::new(c"_on_completion");
static RELEASE: BoundMethod = BoundMethod::new(c"_release_waiter");

impl Class for WaitState {
    const NAME: &'static std::ffi::CStr = c"aioxide.wait";

    fn cell() -> &'static TypeCell {
        &TYPE
    }
    fn tracked(&self) -> Option<&Cell<bool>> {
        Some(&self.tracked)
    }
    fn traverse(object: &Wait, visitor: &Visitor) -> Result<(), Stop> {
        object.futures().iter().try_for_each(|future| visitor.object(&**future))?;
        visitor.slot(&object.timer)?;
        visitor.slot(&object.waiter)?;
        visitor.slot(&object.awaiter)
    }
    fn clear(object: &Wait) {
        object.timer.clear();
        object.waiter.clear();
        object.awaiter.clear();
        // SAFETY: nobody walks the list while the collector clears; it is dropped after the swap.
        drop(unsafe { std::mem::take(&mut *object.futures.get()) });
    }
}

impl Watcher for WaitState {
    fn method() -> &'static BoundMethod {
        &ON_COMPLETION
    }
    fn finished(this: &Wait, future: &Any) -> Res<()> {
        let left = this.left.get().saturating_sub(1);
        this.left.set(left);
        let enough = left == 0
            || this.until == Until::First
            || this.until == Until::FirstFailure
                && !any_future::is_cancelled(future)?
                && any_future::exception(future)?.is_some();
        if enough {
            this.stop_timer()?;
            if let Some(waiter) = this.waiter.get() {
                waiter.wake()?;
            }
        }
        forget_awaiter(future, this.awaiter.get().as_deref())
    }
}

impl Wait {
    fn futures(&self) -> &[Own<Any>] {
        // SAFETY: filled before it is made, and changed by the collector's `clear` alone.
        unsafe { &*self.futures.get() }
    }

    fn stop_timer(&self) -> Res<()> {
        match self.timer.get() {
            Some(timer) => timer.call_method(&names::CANCEL, &[]).map(drop),
            None => Ok(()),
        }
    }

    fn start(&self, waiter: &Coroutine, timeout: Option<&Any>) -> Res<()> {
        track(self);
        self.waiter.set(waiter.own());
        if let Some(timeout) = timeout {
            let event_loop = asyncio().get_running_loop.call(&[])?;
            let release = bound(&RELEASE, self, |this: &Wait, _: &Any| match this.waiter.get() {
                Some(waiter) => waiter.wake(),
                None => Ok(()),
            })?;
            let none = value::none_ref();
            self.timer.set(event_loop.call_method(&names::CALL_LATER, &[timeout, &release, none])?);
        }
        self.awaiter.put(any_future::awaiter()?);
        for index in 0..self.futures().len() {
            let Some(future) = self.futures().get(index).cloned() else { break };
            watch(&future, self)?;
            note_awaiter(&future, self.awaiter.get().as_deref())?;
        }
        Ok(())
    }

    fn end(&self) -> Res<()> {
        self.stop_timer()?;
        self.waiter.clear();
        for index in 0..self.futures().len() {
            let Some(future) = self.futures().get(index).cloned() else { break };
            unwatch(&future, self)?;
            forget_awaiter(&future, self.awaiter.get().as_deref())?;
        }
        Ok(())
    }

    /// The sets of those that are done and of those that are not.
    fn sets(&self) -> Res {
        let [done, pending] = [value::set()?, value::set()?];
        for index in 0..self.futures().len() {
            let Some(future) = self.futures().get(index).cloned() else { break };
            let set = if any_future::is_done(&future)? { &done } else { &pending };
            value::set_add(set, &future)?;
        }
        value::tuple(&[&done, &pending])
    }
}

static SIGNATURE: Signature<3> = Signature {
    method: "wait",
    names: [&names::FS, &names::TIMEOUT, &names::RETURN_WHEN],
    positional: 1,
    required: 1,
};

static WAIT: Behaviour = Behaviour { qualname: "wait", resume };

/// `wait(fs, *, timeout=None, return_when=ALL_COMPLETED)`.
pub(super) fn wait(args: Args<'_>) -> Res<Own<Coroutine>> {
    let [futures, timeout, until] = args.bind(&SIGNATURE)?;
    let timeout = timeout.unwrap_or(value::none_ref());
    let rest = match until {
        None if timeout.is_none() => None,
        None => Some(value::tuple(&[timeout])?),
        Some(until) => Some(value::tuple(&[timeout, until])?),
    };
    coroutine(&WAIT, futures.map(AsObject::own), rest)
}

const WAITING: u8 = 1;

fn resume(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    if this.place.get() == WAITING {
        let wait = this.owner_as::<WaitState>()?;
        wait.end()?;
        return match exception {
            Some(exception) => Err(restore(exception)),
            None => wait.sets().map(Sent::Returned),
        };
    }
    let given = this.owner.take().unwrap_or_else(value::none);
    let rest = this.item.take();
    let rest: &[&Any] = rest.as_deref().map_or(&[], value::tuple_items);
    let (timeout, until) = (rest.first().copied(), rest.get(1).copied());
    let wait = prepare(&given, until)?;
    this.owner.set(wait.clone().into_any());
    this.place.set(WAITING);
    wait.start(this, timeout.filter(|timeout| !timeout.is_none()))?;
    this.wait()
}

fn prepare(given: &Any, until: Option<&Any>) -> Res<Own<Wait>> {
    if any_future::is_future(given)? || value::is_true(&*asyncio().iscoroutine.call(&[given])?)? {
        return Err(type_error(&format!(
            "expect a list of futures, not {}",
            value::type_name(given)
        )));
    }
    if !value::is_true(given)? {
        return Err(raise(Builtin::ValueError.get(), "Set of Tasks/Futures is empty."));
    }
    let until = parse_until(until)?;
    let set = value::set_from(given)?;
    let mut futures = Vec::new();
    value::each(&set, |future| {
        futures.push(future.own());
        Ok(())
    })?;
    for future in &futures {
        if super::future::as_native(future).is_none()
            && value::is_true(&*asyncio().iscoroutine.call(&[future])?)?
        {
            return Err(type_error("Passing coroutines is forbidden, use tasks explicitly."));
        }
    }
    asyncio().get_running_loop.call(&[])?;
    create(|| WaitState {
        left: Cell::new(futures.len()),
        futures: UnsafeCell::new(futures),
        until,
        timer: Slot::empty(),
        waiter: Slot::empty(),
        awaiter: Slot::empty(),
        tracked: Cell::new(false),
    })
}

fn parse_until(until: Option<&Any>) -> Res<Until> {
    let Some(until) = until else { return Ok(Until::All) };
    let known = [
        ("FIRST_COMPLETED", Until::First),
        ("FIRST_EXCEPTION", Until::FirstFailure),
        ("ALL_COMPLETED", Until::All),
    ];
    if value::is_exact_string(until) {
        let text = value::text_of(until)?;
        if let Some((_, until)) = known.iter().find(|(name, _)| *name == text) {
            return Ok(*until);
        }
    }
    let text = format!("Invalid return_when value: {}", value::str_text(until)?);
    Err(raise(Builtin::ValueError.get(), &text))
}

/// Makes the type.
pub(super) fn build() -> Res<()> {
    Builder::<WaitState>::new(c"What a wait() waits for.").not_constructible().build().map(drop)
}
