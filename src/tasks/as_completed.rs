//! `as_completed`: Futures, or their results, in the order in which they are done.
//!
//! What is done goes into a queue, and each iteration gives a coroutine that takes the next from
//! there. Since 3.13 asyncio's is an object with both protocols, which this one has on every
//! version; before, it was a generator, which did nothing until it was asked, and so does this.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use super::any_future::{self, ensure_future, forget_awaiter, note_awaiter};
use super::coroutine::{Behaviour, Coroutine, coroutine};
use super::waiters::Waiters;
use super::watch::{Watcher, unwatch, watch};
use crate::engine::asyncio::asyncio;
use crate::py::error::{raise_bare, restore};
use crate::py::{
    Any, Args, AsObject, BoundMethod, Builder, Builtin, Class, Managed, Object, Own, Res, Sent,
    Signature, Slot, Stop, TypeCell, Visitor, bound, create, names, track, type_error, value,
};

type AsCompleted = Object<AsCompletedState>;

/// An iteration's fields.
pub(super) struct AsCompletedState {
    /// What was given, until the iteration starts.
    given: Slot,
    timeout: Slot,
    /// A set of those that are not done; nothing before the start.
    todo: Slot,
    /// Those that are done and not yet taken; nothing stands for one that the timeout took.
    done: RefCell<VecDeque<Option<Own<Any>>>>,
    /// How many coroutines are still to be given.
    left: Cell<usize>,
    waiters: Waiters,
    timer: Slot,
    awaiter: Slot,
    weakrefs: Managed,
    tracked: Cell<bool>,
}

static TYPE: TypeCell = TypeCell::new();
static HANDLE_COMPLETION: BoundMethod = BoundMethod::new(c"_handle_completion");
static HANDLE_TIMEOUT: BoundMethod = BoundMethod::new(c"_handle_timeout");

impl Class for AsCompletedState {
    const NAME: &'static std::ffi::CStr = c"aioxide._AsCompletedIterator";

    fn cell() -> &'static TypeCell {
        &TYPE
    }
    fn tracked(&self) -> Option<&Cell<bool>> {
        Some(&self.tracked)
    }
    fn weakrefs(&self) -> Option<&Managed> {
        Some(&self.weakrefs)
    }
    fn traverse(object: &AsCompleted, visitor: &Visitor) -> Result<(), Stop> {
        // Borrowed only in steps that run no Python code, so the collector never meets a borrow.
        if let Ok(done) = object.done.try_borrow() {
            done.iter().flatten().try_for_each(|future| visitor.object(&**future))?;
        }
        object.waiters.visit(visitor)?;
        visitor.slot(&object.given)?;
        visitor.slot(&object.timeout)?;
        visitor.slot(&object.todo)?;
        visitor.slot(&object.timer)?;
        visitor.slot(&object.awaiter)
    }
    fn clear(object: &AsCompleted) {
        let done = object.done.take();
        object.waiters.clear();
        object.given.clear();
        object.todo.clear();
        object.timer.clear();
        object.awaiter.clear();
        drop(done);
    }
}

impl Watcher for AsCompletedState {
    fn method() -> &'static BoundMethod {
        &HANDLE_COMPLETION
    }
    fn finished(this: &AsCompleted, future: &Any) -> Res<()> {
        let Some(todo) = this.todo.get() else { return Ok(()) };
        if value::set_len(&todo) == 0 {
            return Ok(());
        }
        value::set_discard(&todo, future)?;
        forget_awaiter(future, this.awaiter.get().as_deref())?;
        this.put(Some(future.own()))?;
        match this.timer.get() {
            Some(timer) if value::set_len(&todo) == 0 => {
                timer.call_method(&names::CANCEL, &[]).map(drop)
            }
            _ => Ok(()),
        }
    }
}

impl AsCompleted {
    fn put(&self, future: Option<Own<Any>>) -> Res<()> {
        self.done.borrow_mut().push_back(future);
        self.waiters.release_first()
    }

    /// Makes Futures of what was given and watches them.
    fn start(&self) -> Res<()> {
        let Some(given) = self.given.take() else { return Ok(()) };
        let event_loop = asyncio().get_event_loop.call(&[])?;
        self.awaiter.put(any_future::awaiter()?);
        let todo = value::set()?;
        value::each(&*value::set_from(&given)?, |awaitable| {
            value::set_add(&todo, &*ensure_future(awaitable, Some(&event_loop))?)
        })?;
        self.left.set(value::set_len(&todo));
        self.todo.set(todo.clone());
        for future in value::items_of_set(&todo)? {
            watch(&future, self)?;
            note_awaiter(&future, self.awaiter.get().as_deref())?;
        }
        if let Some(timeout) = self.timeout.take()
            && self.left.get() > 0
        {
            let callback =
                bound(&HANDLE_TIMEOUT, self, |this: &AsCompleted, _: &Any| this.timed_out())?;
            let none = value::none_ref();
            self.timer
                .set(event_loop.call_method(&names::CALL_LATER, &[&timeout, &callback, none])?);
        }
        Ok(())
    }

    fn timed_out(&self) -> Res<()> {
        let Some(todo) = self.todo.get() else { return Ok(()) };
        for future in value::items_of_set(&todo)? {
            unwatch(&future, self)?;
            forget_awaiter(&future, self.awaiter.get().as_deref())?;
            self.put(None)?;
        }
        self.todo.set(value::set()?);
        Ok(())
    }

    /// The coroutine for the next one that is done; nothing when all have been given.
    fn next(&self, behaviour: &'static Behaviour) -> Res<Option<Own<Any>>> {
        self.start()?;
        let left = self.left.get();
        if left == 0 {
            return Ok(None);
        }
        self.left.set(left - 1);
        coroutine(behaviour, Some(self.own().into_any()), None).map(|next| Some(next.into_any()))
    }
}

static NEXT_RESULT: Behaviour = Behaviour {
    qualname: "_AsCompletedIterator._wait_for_one",
    resume: |this, exception| wait_for_one(this, exception, true),
};
static NEXT_FUTURE: Behaviour = Behaviour {
    qualname: "_AsCompletedIterator.__anext__",
    resume: |this, exception| wait_for_one(this, exception, false),
};
static NO_MORE: Behaviour = Behaviour {
    qualname: "_AsCompletedIterator.__anext__",
    resume: |_, _| Err(raise_bare(Builtin::StopAsyncIteration.get())),
};

const WAITING: u8 = 1;

/// Takes the next one from the queue, as `Queue.get` does.
fn wait_for_one(this: &Coroutine, exception: Option<Own<Any>>, resolve: bool) -> Res<Sent> {
    let source = this.owner_as::<AsCompletedState>()?;
    if let Some(exception) = exception {
        if this.place.get() == WAITING {
            this.abandon()?;
            drop(source.waiters.remove(this));
            if !source.done.borrow().is_empty() && !this.is_cancelled()? {
                source.waiters.release_first()?;
            }
        }
        if cfg!(Py_3_14) {
            source.left.set(source.left.get() + 1);
        }
        return Err(restore(exception));
    }
    let next = source.done.borrow_mut().pop_front();
    match next {
        None => {
            this.place.set(WAITING);
            source.waiters.push(this);
            this.wait()
        }
        Some(None) => Err(raise_bare(Builtin::TimeoutError.get())),
        Some(Some(future)) if resolve => any_future::result(&future).map(Sent::Returned),
        Some(Some(future)) => Ok(Sent::Returned(future)),
    }
}

static SIGNATURE: Signature<2> = Signature {
    method: "as_completed",
    names: [&names::FS, &names::TIMEOUT],
    positional: 1,
    required: 1,
};

/// `as_completed(fs, *, timeout=None)`.
pub(super) fn as_completed(args: Args<'_>) -> Res {
    let [given, timeout] = args.bind(&SIGNATURE)?;
    let given = given.unwrap_or(value::none_ref());
    let iteration = create(|| AsCompletedState {
        given: Slot::new(given.own()),
        timeout: Slot::some(timeout.filter(|given| !given.is_none()).map(AsObject::own)),
        todo: Slot::empty(),
        done: RefCell::default(),
        left: Cell::new(0),
        waiters: Waiters::new(),
        timer: Slot::empty(),
        awaiter: Slot::empty(),
        weakrefs: Managed::new(),
        tracked: Cell::new(false),
    })?;
    track(&*iteration);
    if cfg!(Py_3_13) {
        check(given)?;
        iteration.start()?;
    }
    Ok(iteration.into_any())
}

fn check(given: &Any) -> Res<()> {
    let name = value::type_name(given);
    if cfg!(Py_3_13) {
        if value::is_true(&*asyncio().isawaitable.call(&[given])?)? {
            return Err(type_error(&format!("expects an iterable of awaitables, not {name}")));
        }
    } else if any_future::is_future(given)?
        || value::is_true(&*asyncio().iscoroutine.call(&[given])?)?
    {
        return Err(type_error(&format!("expect an iterable of futures, not {name}")));
    }
    Ok(())
}

fn next(this: &AsCompleted) -> Res<Option<Own<Any>>> {
    if let Some(given) = this.given.get() {
        check(&given).inspect_err(|_| this.given.clear())?;
    }
    this.next(&NEXT_RESULT)
}

fn anext(this: &AsCompleted) -> Res {
    match this.next(&NEXT_FUTURE)? {
        Some(coroutine) => Ok(coroutine),
        None => coroutine(&NO_MORE, None, None).map(Own::into_any),
    }
}

/// Makes the type.
pub(super) fn build() -> Res<()> {
    Builder::<AsCompletedState>::new(c"What as_completed() returns.")
        .not_constructible()
        .weakrefs(std::mem::offset_of!(AsCompletedState, weakrefs))
        .iter(|this: &AsCompleted| this.own())
        .next(next)
        .async_iter(|this: &AsCompleted| this.own())
        .async_next(anext)
        .build()
        .map(drop)
}
