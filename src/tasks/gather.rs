//! `gather`: one Future for the results of many.
//!
//! The Future that it returns is also what watches the children: no closure, no dict of arguments,
//! no callback objects. Each child's end takes a turn of the loop, as in asyncio, because a program
//! can tell. Duplicates among the arguments are found by address; only where an argument's class
//! may have its own idea of equality a dict decides, as in asyncio.

use std::cell::{Cell, UnsafeCell};

use super::any_future::{self, ensure_future, forget_awaiter, note_awaiter};
use super::coroutine::is_known_coroutine;
use super::future::{FUTURE, Future, FutureState, as_native};
use super::future_type::cancel_argument;
use super::task::TaskState;
use super::watch::{Watcher, watch};
use crate::engine::asyncio::asyncio;
use crate::engine::current;
use crate::engine::event_loop::LoopState;
use crate::py::{
    Any, Args, AsObject, BoundMethod, Builder, Class, Managed, Object, Own, Pool, Res, Signature,
    Slot, Stop, TypeCell, Visitor, create, dict_get, dict_set, names, track, value,
};

pub(crate) type Gathering = Object<GatheringState>;

/// The outer Future's fields, a Future's first.
#[repr(C)]
pub(crate) struct GatheringState {
    future: FutureState,
    children: UnsafeCell<Vec<Own<Any>>>,
    /// How many different children there are, and how many of them are done.
    different: Cell<usize>,
    finished: Cell<usize>,
    return_exceptions: bool,
    cancel_requested: Cell<bool>,
    /// Making it failed half-way: nobody has it.
    stillborn: Cell<bool>,
    awaiter: Slot,
}

static TYPE: TypeCell = TypeCell::new();
static POOL: Pool = Pool::new(64);
static DONE_CALLBACK: BoundMethod = BoundMethod::new(c"_done_callback");

impl Class for GatheringState {
    const NAME: &'static std::ffi::CStr = c"aioxide._GatheringFuture";
    const FINALIZES: bool = true;

    fn cell() -> &'static TypeCell {
        &TYPE
    }
    fn pool() -> Option<&'static Pool> {
        Some(&POOL)
    }
    fn tracked(&self) -> Option<&Cell<bool>> {
        Some(self.future.tracked_flag())
    }
    fn weakrefs(&self) -> Option<&Managed> {
        Some(self.future.weakref_list())
    }
    fn mark_finalized(&self) {
        self.future.mark_finalized();
    }
    fn was_finalized(&self) -> bool {
        self.future.was_finalized()
    }
    fn traverse(object: &Gathering, visitor: &Visitor) -> Result<(), Stop> {
        object.future.visit(visitor)?;
        visitor.slot(&object.awaiter)?;
        object.children().iter().try_for_each(|child| visitor.object(&**child))
    }
    fn clear(object: &Gathering) {
        object.future.forget();
        object.awaiter.clear();
        drop(object.take_children());
    }
    fn wants_finalizer(object: &Gathering) -> bool {
        object.as_future().log_traceback.get()
    }
    fn finalize(object: &Gathering) {
        object.as_future().report_unretrieved();
    }
}

impl Watcher for GatheringState {
    fn method() -> &'static BoundMethod {
        &DONE_CALLBACK
    }
    #[inline]
    fn finished(this: &Gathering, child: &Any) -> Res<()> {
        this.child_finished(child)
    }
}

impl Gathering {
    /// The outer Future as the Future that it begins with.
    #[inline(always)]
    pub(crate) fn as_future(&self) -> &Future {
        // SAFETY: `GatheringState` is `repr(C)` with a `FutureState` first, so the object is laid
        // out as an `Object<FutureState>` with more behind it; the type inherits from Future's.
        unsafe { &*(self as *const Gathering).cast::<Future>() }
    }

    fn children(&self) -> &[Own<Any>] {
        // SAFETY: pushing and taking, the only changes, happen while nobody holds this borrow:
        // pushing before `gather` returns, taking in the collector's `clear`.
        unsafe { &*self.children.get() }
    }

    fn push_child(&self, child: Own<Any>) {
        // SAFETY: see `children`; pushing runs no Python code.
        unsafe { (*self.children.get()).push(child) }
    }

    fn take_children(&self) -> Vec<Own<Any>> {
        // SAFETY: see `children`.
        unsafe { std::mem::take(&mut *self.children.get()) }
    }

    /// `cancel(msg)`: of all children; the outer Future ends when they do.
    pub(crate) fn cancel(&self, message: Option<&Any>) -> Res<bool> {
        if self.as_future().is_done() {
            return Ok(false);
        }
        let mut any = false;
        let none = value::none_ref();
        for index in 0..self.children().len() {
            let Some(child) = self.children().get(index).cloned() else { break };
            any |= any_future::cancel(&child, Some(message.unwrap_or(none)))?;
        }
        if any {
            self.cancel_requested.set(true);
        }
        Ok(any)
    }

    fn child_finished(&self, child: &Any) -> Res<()> {
        self.finished.set(self.finished.get() + 1);
        if self.awaiter.is_some() {
            forget_awaiter(child, self.awaiter.get().as_deref())?;
        }
        if self.stillborn.get() || self.as_future().is_done() {
            if !any_future::is_cancelled(child)? {
                any_future::exception(child)?;
            }
            return Ok(());
        }
        if !self.return_exceptions
            && let Some(exception) = failure_of(child)?
        {
            for other in self.children() {
                forget_awaiter(other, self.awaiter.get().as_deref())?;
            }
            return self.as_future().set_exception(&exception);
        }
        if self.finished.get() < self.different.get() {
            return Ok(());
        }
        self.complete()
    }

    fn complete(&self) -> Res<()> {
        if self.cancel_requested.get() {
            self.results()?;
            let error = match self.children().last().cloned() {
                Some(last) => any_future::make_cancelled_error(&last)?,
                None => asyncio().cancelled_error.call(&[])?,
            };
            return self.as_future().set_exception(&error);
        }
        let results = self.results()?;
        self.as_future().set_result(results)
    }

    fn results(&self) -> Res {
        let mut results = Vec::with_capacity(self.children().len());
        for index in 0..self.children().len() {
            let Some(child) = self.children().get(index).cloned() else { break };
            results.push(result_of(&child)?);
        }
        value::list_of(results)
    }
}

/// What stands for a child in the list of results.
fn result_of(child: &Any) -> Res {
    if let Some(result) = as_native(child).and_then(Future::plain_result) {
        return Ok(result);
    }
    if any_future::is_cancelled(child)? {
        return cancelled_with_message(child);
    }
    match any_future::exception(child)? {
        Some(exception) => Ok(exception),
        None => any_future::result(child),
    }
}

/// Why a child failed, if it did.
fn failure_of(child: &Any) -> Res<Option<Own<Any>>> {
    if let Some(native) = as_native(child)
        && native.has_plain_result()
    {
        return Ok(None);
    }
    if any_future::is_cancelled(child)? {
        return any_future::make_cancelled_error(child).map(Some);
    }
    any_future::exception(child)
}

/// A cancelled child among the results: asyncio makes it an error with an empty text.
fn cancelled_with_message(child: &Any) -> Res {
    let message = child.attr(&names::CANCEL_MESSAGE)?;
    let message = if message.is_none() { value::string("")? } else { message };
    asyncio().cancelled_error.call(&[&message])
}

/// The arguments that were here before: by address, or by equality where a class may have its own.
enum Seen {
    Single,
    /// Open addressing: a place holds an argument's index plus one, or 0.
    Addresses(Vec<u32>),
    Equality(Own<Any>),
}

impl Seen {
    fn new(awaitables: &[&Any]) -> Res<Seen> {
        if awaitables.len() == 1 {
            return Ok(Seen::Single);
        }
        if awaitables.iter().all(|awaitable| value::has_identity_equality(awaitable)) {
            return Ok(Seen::Addresses(vec![0; (awaitables.len() * 2).next_power_of_two()]));
        }
        value::dict_of(&[]).map(Seen::Equality)
    }

    /// The index of an equal argument before this one, which is remembered otherwise.
    fn before(&mut self, awaitables: &[&Any], index: usize) -> Res<Option<usize>> {
        let awaitable = awaitables[index];
        match self {
            Seen::Single => Ok(None),
            Seen::Addresses(places) => {
                let mask = places.len() - 1;
                // Objects lie 16 bytes apart at least; the multiplication spreads the rest.
                let address = awaitable.as_ptr() as usize >> 4;
                let mut place = (address.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) & mask;
                loop {
                    match places[place] as usize {
                        0 => {
                            places[place] = index as u32 + 1;
                            return Ok(None);
                        }
                        taken if awaitables[taken - 1].is(awaitable) => return Ok(Some(taken - 1)),
                        _ => place = (place + 1) & mask,
                    }
                }
            }
            Seen::Equality(dict) => match dict_get(dict, awaitable)? {
                Some(earlier) => value::as_int(&earlier).map(|earlier| Some(earlier as usize)),
                None => {
                    dict_set(dict, awaitable, &*value::int(index as i64)?)?;
                    Ok(None)
                }
            },
        }
    }
}

fn make(event_loop: &Any, return_exceptions: bool, count: usize) -> Res<Own<Gathering>> {
    let native = event_loop.cast::<LoopState>();
    let gathering = create(|| GatheringState {
        future: native.map_or_else(FutureState::blank, FutureState::on),
        children: UnsafeCell::new(Vec::with_capacity(count)),
        different: Cell::new(0),
        finished: Cell::new(0),
        return_exceptions,
        cancel_requested: Cell::new(false),
        stillborn: Cell::new(false),
        awaiter: Slot::empty(),
    })?;
    match native {
        Some(native) if native.debug() => gathering.as_future().remember_source()?,
        Some(_) => {}
        None => gathering.as_future().start(Some(event_loop))?,
    }
    gathering.awaiter.put(any_future::awaiter()?);
    track(&*gathering);
    Ok(gathering)
}

static GATHER: Signature<1> =
    Signature { method: "gather", names: [&names::RETURN_EXCEPTIONS], positional: 0, required: 0 };

/// `gather(*awaitables, return_exceptions=False)`.
pub(super) fn gather(args: Args<'_>) -> Res {
    let awaitables = args.positional;
    let [return_exceptions] = args.keywords_only().bind(&GATHER)?;
    let return_exceptions = return_exceptions.map_or(Ok(false), value::is_true)?;
    let Some(first) = awaitables.first() else { return gather_nothing() };
    let running = match current::running() {
        // Up to 3.13 a Future in the first place decides, whatever runs.
        _ if cfg!(not(Py_3_14)) && any_future::is_future(first)? => value::none(),
        Some(running) => running.as_any().own(),
        None => asyncio().get_running_loop_or_none.call(&[])?,
    };
    // Without a running loop the first child decides.
    let (event_loop, first) = if running.is_none() {
        let child = ensure_future(first, None)?;
        (any_future::loop_of(&child)?, Some(child))
    } else {
        (running, None)
    };
    let outer = make(&event_loop, return_exceptions, awaitables.len())?;
    match add_children(&outer, &event_loop, awaitables, first) {
        Ok(done) => done.iter().try_for_each(|child| outer.child_finished(child))?,
        Err(raised) => {
            outer.stillborn.set(true);
            return Err(raised);
        }
    }
    Ok(outer.into_any())
}

#[cold]
fn gather_nothing() -> Res {
    let event_loop = asyncio().get_event_loop.call(&[])?;
    let outer = event_loop.call_method(&names::CREATE_FUTURE, &[])?;
    outer.call_method(&names::SET_RESULT, &[&*value::list()?])?;
    Ok(outer)
}

/// Makes each awaitable a child; returns those that are done already, to be counted at the end.
fn add_children(
    outer: &Gathering,
    event_loop: &Any,
    awaitables: &[&Any],
    mut first: Option<Own<Any>>,
) -> Res<Vec<Own<Any>>> {
    let mut seen = Seen::new(awaitables)?;
    let mut done = Vec::new();
    let awaiter = outer.awaiter.get();
    let native =
        current::running().filter(|running| running.makes_plain_tasks() && event_loop.is(*running));
    for (index, awaitable) in awaitables.iter().enumerate() {
        if let Some(earlier) = seen.before(awaitables, index)?
            && let Some(child) = outer.children().get(earlier).cloned()
        {
            outer.push_child(child);
            continue;
        }
        if let Some(event_loop) = native
            && first.is_none()
            && is_known_coroutine(awaitable)
        {
            // The usual case: a new Task of ours, which cannot be done and is watched at once.
            let task = any_future::spawn_on(event_loop, awaitable)?;
            task.log_destroy_pending.set(false);
            outer.different.set(outer.different.get() + 1);
            note_awaiter(task.as_any(), awaiter.as_deref())?;
            task.as_future().add_watcher(outer.own().into_any());
            outer.push_child(task.into_any());
            continue;
        }
        let child = match first.take() {
            Some(child) => child,
            None => ensure_future(awaitable, Some(event_loop))?,
        };
        if !child.is(*awaitable) {
            keep_quiet(&child)?;
        }
        outer.different.set(outer.different.get() + 1);
        if cfg!(Py_3_12) && any_future::is_done(&child)? {
            done.push(child.clone());
        } else {
            note_awaiter(&child, awaiter.as_deref())?;
            watch(&child, outer)?;
        }
        outer.push_child(child);
    }
    Ok(done)
}

/// A Task that nobody but us has cannot be kept alive by the caller: its loss is no error.
#[inline]
fn keep_quiet(child: &Any) -> Res<()> {
    match child.cast_exact::<TaskState>() {
        Some(task) => {
            task.log_destroy_pending.set(false);
            Ok(())
        }
        None => child.set_attr(&names::LOG_DESTROY_PENDING, &value::boolean(false)),
    }
}

/// Makes the type; Future's must exist.
pub(super) fn build() -> Res<&'static Any> {
    Builder::<GatheringState>::new(c"What gather() returns.")
        .base(FUTURE.object())
        .not_constructible()
        .args(
            c"cancel",
            c"cancel($self, /, msg=None)\n--\n\nCancel all children; this future ends when they do.",
            |this: &Gathering, args: Args<'_>| {
                let message = cancel_argument(&args)?;
                this.cancel(message)
            },
        )
        .getter(c"__class__", |_: &Gathering| asyncio().gathering_class.clone())
        .getter(c"_cancel_requested", |this: &Gathering| this.cancel_requested.get())
        .getter(c"_children", |this: &Gathering| {
            let list = value::list()?;
            this.children().iter().try_for_each(|child| value::append(&list, child))?;
            Ok(list)
        })
        .build()
}
