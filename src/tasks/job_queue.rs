//! The queue that the default executor's threads serve.
//!
//! It stands in the place of the `queue.SimpleQueue` in a `ThreadPoolExecutor` and holds what that
//! would hold (a work item for each `submit()`, None for "look whether it is time to end") and jobs
//! besides, which need no concurrent Future. What is its own is who is woken, and when:
//!
//! - Few are woken. A burst wakes one worker, and each that comes wakes the next if there is more
//!   to do; one that is busy takes the next job without anybody being woken.
//! - Who went to sleep last is woken first, while its memory is still warm.
//! - A worker that has nothing more to do lets go of the GIL first and rings the loop then: the
//!   other way round the loop wakes only to wait again.
//!
//! The lists are touched with the GIL held and need no lock; only the sleep is without it.

use std::cell::{Cell, UnsafeCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;

use super::job::{self, JobState};
use crate::engine::asyncio::asyncio;
use crate::engine::bell::Bell;
use crate::engine::event_loop::LoopState;
use crate::py::module::Module;
use crate::py::{
    Any, Args, AsObject, Builder, Class, Object, Own, Raised, Res, Signature, Stop, TypeCell,
    Visitor, error, names, type_error, value, without_gil,
};

type JobQueue = Object<QueueState>;

/// Where a worker sleeps.
struct Seat {
    thread: Thread,
    called: AtomicBool,
}

impl Seat {
    fn call(&self) {
        self.called.store(true, Ordering::Release);
        self.thread.unpark();
    }

    fn sleep(&self) {
        while !self.called.swap(false, Ordering::Acquire) {
            std::thread::park();
        }
    }
}

/// The queue's fields.
pub(super) struct QueueState {
    items: UnsafeCell<VecDeque<Own<Any>>>,
    /// Who sleeps, and was not called yet.
    asleep: UnsafeCell<Vec<Arc<Seat>>>,
    /// Workers that were called and have not come yet.
    coming: Cell<usize>,
    /// Whether no thread may be added: with as many as there are, a job is only queued.
    staffed: Cell<bool>,
    /// Whether a None was ever put: from then on workers may end, and the executor's own `submit()`
    /// has to look, with its locks, whether it still accepts work.
    ending: Cell<bool>,
}

static TYPE: TypeCell = TypeCell::new();

impl QueueState {
    fn blank() -> QueueState {
        QueueState {
            items: UnsafeCell::new(VecDeque::new()),
            asleep: UnsafeCell::new(Vec::new()),
            coming: Cell::new(0),
            staffed: Cell::new(false),
            ending: Cell::new(false),
        }
    }

    #[allow(clippy::mut_from_ref)]
    fn items(&self) -> &mut VecDeque<Own<Any>> {
        // SAFETY: private; each use is one operation that only moves references, with the GIL held.
        unsafe { &mut *self.items.get() }
    }

    #[allow(clippy::mut_from_ref)]
    fn asleep(&self) -> &mut Vec<Arc<Seat>> {
        // SAFETY: as above.
        unsafe { &mut *self.asleep.get() }
    }

    /// Whether there is more to do than workers that could begin now.
    fn lacks_workers(&self) -> bool {
        self.items().len() > self.asleep().len() + self.coming.get()
    }

    /// Calls one worker if there is work and nobody is coming.
    fn call_one(&self) {
        if self.coming.get() == 0
            && !self.items().is_empty()
            && let Some(seat) = self.asleep().pop()
        {
            self.coming.set(1);
            seat.call();
        }
    }

    fn push(&self, item: Own<Any>) {
        if item.is_none() {
            self.ending.set(true);
        }
        self.items().push_back(item);
        self.call_one();
    }
}

impl Class for QueueState {
    const NAME: &'static std::ffi::CStr = c"aioxide._core.JobQueue";

    fn cell() -> &'static TypeCell {
        &TYPE
    }
    fn traverse(object: &JobQueue, visitor: &Visitor) -> Result<(), Stop> {
        object.items().iter().try_for_each(|item| visitor.object(&**item))
    }
    fn clear(object: &JobQueue) {
        drop(std::mem::take(object.items()));
    }
}

static BEGIN: Signature<3> = Signature {
    method: "begin",
    names: [&names::LOOP, &names::FUNC, &names::ARGS],
    positional: 3,
    required: 3,
};

static TAKES_JOBS: Signature<1> =
    Signature { method: "takes_jobs", names: [&names::LOOP], positional: 1, required: 1 };

/// `begin(loop, func, args)`: the job's Future and None; or the job, for the caller to put, if
/// a thread has to be made or there may be none any more.
fn begin(this: &JobQueue, args: Args<'_>) -> Res {
    let [event_loop, function, args] = args.bind(&BEGIN)?;
    let (Some(given), Some(function), Some(args)) = (event_loop, function, args) else {
        return Err(type_error("begin() needs a loop, a function and a tuple"));
    };
    let Some(event_loop) = given.cast::<LoopState>() else {
        return Err(type_error("begin() needs a loop of aioxide"));
    };
    let future = event_loop.as_any().call_method(&names::CREATE_FUTURE, &[])?;
    let job = job::make(event_loop, &future, function, args)?.into_any();
    if this.ending.get()
        || !this.staffed.get() && this.items().len() >= this.asleep().len() + this.coming.get()
    {
        return value::tuple(&[&future, &job]);
    }
    this.push(job);
    value::tuple(&[&future, value::none_ref()])
}

/// `serve()`: runs jobs until there is something else to do, and returns that.
fn serve(this: &JobQueue) -> Res {
    let seat = Arc::new(Seat { thread: std::thread::current(), called: AtomicBool::new(false) });
    let mut bell: Option<Bell> = None;
    loop {
        let Some(item) = this.items().pop_front() else {
            sleep(this, &seat, bell.take());
            continue;
        };
        this.call_one();
        // What comes now may take its time, and the loop has something to do meanwhile.
        if let Some(bell) = bell.take() {
            bell.ring();
        }
        match item.cast_exact::<JobState>() {
            Some(job) => bell = job.run(),
            None => return Ok(item),
        }
    }
}

fn sleep(this: &JobQueue, seat: &Arc<Seat>, bell: Option<Bell>) {
    this.asleep().push(seat.clone());
    let own = seat.clone();
    without_gil(move || {
        if let Some(bell) = bell {
            bell.ring();
        }
        own.sleep();
    });
    this.coming.set(this.coming.get() - 1);
}

fn get_nowait(this: &JobQueue) -> Res {
    match this.items().pop_front() {
        Some(item) => Ok(item),
        None => Err(error::raise_bare(&asyncio().nothing_queued)),
    }
}

/// Makes the type and adds it to the module.
pub(super) fn add_to(module: &Module<'_>) -> Res<()> {
    module.add(c"JobQueue", build()?)?;
    module.function(
        c"takes_jobs",
        c"takes_jobs(loop, /)\n--\n\nWhether a loop can be told of a job's end without call_soon_threadsafe().",
        |_, args: Args<'_>| {
            let [event_loop] = args.bind(&TAKES_JOBS)?;
            let ours = event_loop.and_then(|given| given.cast::<LoopState>());
            ours.map_or(Ok(false), |ours| ours.hears_threads())
        },
    )
}

fn build() -> Res<&'static Any> {
    Builder::<QueueState>::new(
        c"JobQueue()\n--\n\nThe queue that the threads of a default executor serve.",
    )
    .blank(QueueState::blank)
    .args(
        c"begin",
        c"begin($self, loop, func, args, /)\n--\n\nReturn a Future for func(*args), and the job if the caller has to put it.",
        begin,
    )
    .noargs(
        c"serve",
        c"serve($self, /)\n--\n\nRun jobs until something else is to be done; return that.",
        serve,
    )
    .one(
        c"put",
        c"put($self, item, /)\n--\n\nPut an item, and call a thread that waits for one.",
        |this: &JobQueue, item: &Any| this.push(item.own()),
    )
    .noargs(
        c"get_nowait",
        c"get_nowait($self, /)\n--\n\nTake an item, or raise queue.Empty.",
        get_nowait,
    )
    .noargs(c"qsize", c"qsize($self, /)\n--\n\nHow many items there are.", |this: &JobQueue| {
        this.items().len() as i64
    })
    .noargs(c"empty", c"empty($self, /)\n--\n\nWhether there is no item.", |this: &JobQueue| {
        this.items().is_empty()
    })
    .noargs(
        c"lacks_workers",
        c"lacks_workers($self, /)\n--\n\nWhether there is more to do than threads wait.",
        |this: &JobQueue| this.lacks_workers(),
    )
    .property(
        c"staffed",
        |this: &JobQueue| this.staffed.get(),
        |this: &JobQueue, flag: &Any| -> Result<(), Raised> {
            this.staffed.set(value::is_true(flag)?);
            Ok(())
        },
    )
    .build()
}
