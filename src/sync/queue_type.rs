//! `aioxide.Queue`, `LifoQueue` and `PriorityQueue` as Python sees them.
//!
//! The three are one state with an order. The subtypes have their own copies of the methods, as
//! `adopt_methods` says why, and their own `_init`, `_get` and `_put`.

use super::methods::add_async_methods;
use super::queue::{GETTING, JOINING, PUTTING, Queue, QueueState, TYPE};
use super::queue_storage::Order;
use super::{queue_hooks, queue_line};
use crate::engine::asyncio::asyncio;
use crate::py::class::adopt_methods;
use crate::py::function::{add_to_class, method, model_of};
use crate::py::module::Module;
use crate::py::{
    Any, Args, AsObject, Builder, Class, Managed, Object, Res, Signature, Stop, TypeCell, Visitor,
    names, value,
};
use crate::tasks::coroutine::coroutine;

const LIFO: u8 = 1;
const PRIORITY: u8 = 2;

/// The state of a subtype: a Queue's.
#[repr(transparent)]
struct Derived<const ORDER: u8>(QueueState);

static LIFO_TYPE: TypeCell = TypeCell::new();
static PRIORITY_TYPE: TypeCell = TypeCell::new();

impl<const ORDER: u8> Class for Derived<ORDER> {
    const NAME: &'static std::ffi::CStr =
        if ORDER == LIFO { c"aioxide.LifoQueue" } else { c"aioxide.PriorityQueue" };

    fn cell() -> &'static TypeCell {
        if ORDER == LIFO { &LIFO_TYPE } else { &PRIORITY_TYPE }
    }
    fn weakrefs(&self) -> Option<&Managed> {
        Some(&self.0.weakrefs)
    }
    fn traverse(object: &Object<Self>, visitor: &Visitor) -> Result<(), Stop> {
        object.0.visit(visitor)
    }
    fn clear(object: &Object<Self>) {
        object.0.forget();
    }
}

/// The Queue that a subtype's instance is.
fn as_queue<const ORDER: u8>(object: &Object<Derived<ORDER>>) -> &Queue {
    // SAFETY: the state is transparent over a Queue's.
    unsafe { &*std::ptr::from_ref(object).cast() }
}

static NEW: Signature<1> =
    Signature { method: "Queue", names: [&names::MAXSIZE], positional: 1, required: 0 };
static PUT: Signature<1> =
    Signature { method: "put", names: [&names::ITEM], positional: 1, required: 1 };
static PUT_NOWAIT: Signature<1> =
    Signature { method: "put_nowait", names: [&names::ITEM], positional: 1, required: 1 };
static SHUTDOWN: Signature<1> =
    Signature { method: "shutdown", names: [&names::IMMEDIATE], positional: 1, required: 0 };
static GET: Signature<0> = Signature { method: "get", names: [], positional: 0, required: 0 };
static JOIN: Signature<0> = Signature { method: "join", names: [], positional: 0, required: 0 };

fn init(this: &Queue, args: Args<'_>) -> Res<()> {
    let [maxsize] = args.bind(&NEW)?;
    match maxsize {
        Some(maxsize) => this.begin(maxsize),
        None => this.begin(&*value::int(0)?),
    }
}

fn put_nowait(this: &Queue, args: Args<'_>) -> Res<()> {
    let [item] = args.bind(&PUT_NOWAIT)?;
    this.put_nowait(item.unwrap_or(value::none_ref()))
}

fn shutdown(this: &Queue, args: Args<'_>) -> Res<()> {
    let [immediate] = args.bind(&SHUTDOWN)?;
    this.shutdown(immediate.map_or(Ok(false), value::is_true)?)
}

/// What pickle and copy take: the attributes that asyncio's queue has in its dict.
fn state(this: &Queue) -> Res {
    let state = match this.dict.get() {
        Some(dict) => value::dict_copy(&dict)?,
        None => value::dict_of(&[])?,
    };
    let mut attributes = vec![
        (&names::QUEUE_MAXSIZE, this.maxsize()),
        (&names::GETTERS, this.getters.as_deque()?),
        (&names::PUTTERS, this.putters.as_deque()?),
        (&names::UNFINISHED_TASKS, value::int(this.unfinished.get())?),
        (&names::QUEUE_ITEMS, this.storage.object(this.order())?),
        (&names::IS_SHUTDOWN, value::boolean(this.is_shutdown.get())),
    ];
    if this.finished.has_event() {
        attributes.push((&names::FINISHED, this.finished.share()?));
    }
    if let Some(event_loop) = this.bound.get() {
        attributes.push((&names::LOOP_ATTR, event_loop));
    }
    for (name, attribute) in attributes {
        crate::py::dict_set(&state, name.get(), &attribute)?;
    }
    Ok(state)
}

fn set_state(this: &Queue, state: &Any) -> Res<()> {
    value::each_of_dict(state, |name, attribute| {
        if names::LOOP_ATTR.matches(name) {
            return Ok(()); // The copy belongs to no loop yet.
        }
        this.as_any().set_attr_named(name, attribute)
    })?;
    if !this.finished.has_event() {
        this.finished.presume(this.unfinished.get() <= 0);
    }
    Ok(())
}

fn repr(this: &Queue) -> Res<String> {
    let name = value::type_name(this.as_any());
    Ok(format!("<{name} at {:p} {}>", this.as_ptr(), this.described()?))
}

fn text(this: &Queue, _: Args<'_>) -> Res<String> {
    Ok(format!("<{} {}>", value::type_name(this.as_any()), this.described()?))
}

const INIT_DOC: &std::ffi::CStr =
    c"_init($self, maxsize, /)\n--\n\nMake what holds the items; subclasses may override it.";
const GET_DOC: &std::ffi::CStr =
    c"_get($self, /)\n--\n\nTake out the next item; subclasses may override it.";
const PUT_DOC: &std::ffi::CStr =
    c"_put($self, item, /)\n--\n\nAdd an item; subclasses may override it.";

fn build_queue() -> Res<&'static Any> {
    let class = Builder::<QueueState>::new(
        c"Queue(maxsize=0)\n--\n\nItems that tasks hand to each other, first in, first out.\n\nWith a maxsize greater than 0, \"await put()\" waits while the queue holds that many items.\nqsize() can be relied on until the next await.",
    )
    .subclassable()
    .generic()
    .dict(std::mem::offset_of!(QueueState, dict))
    .weakrefs(std::mem::offset_of!(QueueState, weakrefs))
    .blank(|| QueueState::blank(Order::Fifo))
    .init(init)
    .repr(repr)
    .one(c"_init", INIT_DOC, |this: &Queue, _: &Any| this.storage.reset(this.order()))
    .noargs(c"_get", GET_DOC, |this: &Queue| this.storage.take(this.order()))
    .one(c"_put", PUT_DOC, |this: &Queue, item: &Any| this.storage.put(this.order(), item))
    .one(
        c"_wakeup_next",
        c"_wakeup_next($self, waiters, /)\n--\n\nWake up the next waiter that is not cancelled, if any.",
        |_: &Queue, waiters: &Any| queue_line::wake_next_of(waiters),
    )
    .noargs(
        c"_format",
        c"_format($self, /)\n--\n\nWhat repr() says of the queue.",
        |this: &Queue| this.format(),
    )
    .noargs(
        c"_get_loop",
        c"_get_loop($self, /)\n--\n\nThe loop that the queue belongs to, which is the running one.",
        |this: &Queue| this.bound.check(this.as_any()).map(|()| this.bound.get()),
    )
    .noargs(
        c"qsize",
        c"qsize($self, /)\n--\n\nNumber of items in the queue.",
        |this: &Queue| this.storage.len().map(|len| len as i64),
    )
    .noargs(
        c"empty",
        c"empty($self, /)\n--\n\nReturn True if the queue is empty, False otherwise.",
        |this: &Queue| this.storage.is_empty(),
    )
    .noargs(
        c"full",
        c"full($self, /)\n--\n\nReturn True if there are maxsize items in the queue.\n\nWith maxsize=0, the default, it is never full.",
        |this: &Queue| this.full(),
    )
    .args(
        c"put_nowait",
        c"put_nowait($self, /, item)\n--\n\nPut an item into the queue without waiting.\n\nRaises QueueFull if there is no room, and QueueShutDown after shutdown().",
        put_nowait,
    )
    .noargs(
        c"get_nowait",
        c"get_nowait($self, /)\n--\n\nRemove and return an item without waiting.\n\nRaises QueueEmpty if there is none, or QueueShutDown if there is none after shutdown().",
        |this: &Queue| this.get_nowait(),
    )
    .noargs(
        c"task_done",
        c"task_done($self, /)\n--\n\nSay that the work on an item that was taken out is done.\n\nWhen this was said for every item ever put, join() goes on. Raises ValueError if it is said\nmore often.",
        |this: &Queue| this.task_done(),
    )
    .args(
        c"shutdown",
        c"shutdown($self, /, immediate=False)\n--\n\nShut the queue down: put() raises QueueShutDown, and get() does once the queue is empty.\n\nWith immediate, the queue is emptied now, and each item that was in it counts as done.\nAll who wait in put() and get() go on.",
        shutdown,
    )
    .noargs(
        c"__getstate__",
        c"__getstate__($self, /)\n--\n\nThe attributes, for pickle and copy.",
        state,
    )
    .one(
        c"__setstate__",
        c"__setstate__($self, state, /)\n--\n\nTake over attributes.",
        set_state,
    )
    .getter(c"maxsize", |this: &Queue| this.maxsize())
    .property(
        c"_maxsize",
        |this: &Queue| this.maxsize(),
        |this: &Queue, maxsize: &Any| this.set_maxsize(maxsize),
    )
    .property(
        c"_queue",
        |this: &Queue| this.storage.object(this.order()),
        |this: &Queue, object: &Any| {
            this.storage.set_object(object);
            Ok(())
        },
    )
    .property(
        c"_getters",
        |this: &Queue| this.getters.as_deque(),
        |this: &Queue, deque: &Any| {
            this.getters.set_deque(deque);
            Ok(())
        },
    )
    .property(
        c"_putters",
        |this: &Queue| this.putters.as_deque(),
        |this: &Queue, deque: &Any| {
            this.putters.set_deque(deque);
            Ok(())
        },
    )
    .property(
        c"_unfinished_tasks",
        |this: &Queue| this.unfinished.get(),
        |this: &Queue, count: &Any| {
            this.unfinished.set(value::as_int(count)?);
            Ok(())
        },
    )
    .property(
        c"_finished",
        |this: &Queue| this.finished.share(),
        |this: &Queue, event: &Any| {
            this.finished.replace(event);
            Ok(())
        },
    )
    .property(
        c"_is_shutdown",
        |this: &Queue| this.is_shutdown.get(),
        |this: &Queue, flag: &Any| {
            this.is_shutdown.set(value::is_true(flag)?);
            Ok(())
        },
    )
    .property(
        c"_loop",
        |this: &Queue| this.bound.get(),
        |this: &Queue, event_loop: &Any| {
            this.bound.set(event_loop)
        },
    )
    .build()?;
    let model = &asyncio().queue_class;
    add_async_methods(class, model, &names::GET, |this: &Queue, args: Args<'_>| {
        args.bind(&GET)?;
        coroutine(&GETTING, Some(this.own().into_any()), None)
    })?;
    add_async_methods(class, model, &names::PUT, |this: &Queue, args: Args<'_>| {
        let [item] = args.bind(&PUT)?;
        coroutine(&PUTTING, Some(this.own().into_any()), item.map(AsObject::own))
    })?;
    add_async_methods(class, model, &names::JOIN, |this: &Queue, args: Args<'_>| {
        args.bind(&JOIN)?;
        coroutine(&JOINING, Some(this.own().into_any()), None)
    })?;
    // A type spec has no way to say `str` apart from `repr` but a slot that setting it fills.
    add_to_class(class, &names::DUNDER_STR, &*method(model_of(model, &names::DUNDER_STR)?, text)?)?;
    Ok(class)
}

fn build_derived<const ORDER: u8>(doc: &'static std::ffi::CStr) -> Res<&'static Any> {
    let queue = TYPE.object();
    let class = Builder::<Derived<ORDER>>::new(doc)
        .base(queue)
        .subclassable()
        .generic()
        .blank(|| {
            Derived(QueueState::blank(if ORDER == LIFO { Order::Lifo } else { Order::Priority }))
        })
        .init(|this: &Object<Derived<ORDER>>, args: Args<'_>| init(as_queue(this), args))
        .one(c"_init", INIT_DOC, |this: &Object<Derived<ORDER>>, _: &Any| {
            let queue = as_queue(this);
            queue.storage.reset(queue.order())
        })
        .noargs(c"_get", GET_DOC, |this: &Object<Derived<ORDER>>| {
            let queue = as_queue(this);
            queue.storage.take(queue.order())
        })
        .one(c"_put", PUT_DOC, |this: &Object<Derived<ORDER>>, item: &Any| {
            let queue = as_queue(this);
            queue.storage.put(queue.order(), item)
        })
        .build()?;
    adopt_methods(class, queue)?;
    Ok(class)
}

/// Makes the types and adds them to the module.
pub(super) fn add_to(module: &Module<'_>) -> Res<()> {
    queue_line::build()?;
    let queue = build_queue()?;
    let lifo = build_derived::<LIFO>(
        c"LifoQueue(maxsize=0)\n--\n\nA Queue that gives the item last put first.",
    )?;
    let priority = build_derived::<PRIORITY>(
        c"PriorityQueue(maxsize=0)\n--\n\nA Queue that gives the smallest item first.\n\nItems are typically tuples of the form (priority number, data).",
    )?;
    queue_hooks::remember([queue, lifo, priority])?;
    module.add(c"Queue", queue)?;
    module.add(c"LifoQueue", lifo)?;
    module.add(c"PriorityQueue", priority)
}
