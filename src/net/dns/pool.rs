//! The threads that wait for the resolver.
//!
//! They are no threads of Python's and never need the GIL: the C library's resolver can only be
//! waited for, often for seconds, and a Python thread that waits there costs the loop a fight for
//! the GIL when it comes back, and holds up the program's end. There is one pool for the process,
//! since the network that they wait for is one as well; threads are made when there is more to ask
//! than there are threads without work, and end when they had none for a while.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::mailbox::Mailbox;
use super::question::Question;

/// As many as asyncio's default executor has at most. They sleep: more cost only address space.
const MOST: usize = 32;

/// How long a thread waits for the next question.
const IDLE: Duration = Duration::from_secs(10);

/// A question, and where the answer goes.
pub(super) struct Request {
    pub(super) question: Question,
    pub(super) ticket: u64,
    pub(super) home: Arc<Mailbox>,
    /// Nobody wants to know any more.
    pub(super) abandoned: Arc<AtomicBool>,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<Request>,
    threads: usize,
    /// Threads that have nothing to ask.
    idle: usize,
}

struct Pool {
    /// A forked child has none of its parent's threads, and a lock may have been taken just then.
    process: u32,
    line: Mutex<Line>,
    called: Condvar,
}

static POOL: AtomicPtr<Pool> = AtomicPtr::new(std::ptr::null_mut());

/// This process's pool. Only the holder of the GIL asks, so that no two are made.
fn pool() -> &'static Pool {
    let process = std::process::id();
    // SAFETY: null, or a pool that was leaked below.
    match unsafe { POOL.load(Ordering::Acquire).as_ref() } {
        Some(pool) if pool.process == process => pool,
        _ => {
            let pool: &'static Pool = Box::leak(Box::new(Pool {
                process,
                line: Mutex::default(),
                called: Condvar::new(),
            }));
            POOL.store(std::ptr::from_ref(pool).cast_mut(), Ordering::Release);
            pool
        }
    }
}

/// Hands a question to a thread; an error if there is none and none can be made.
pub(super) fn submit(request: Request) -> io::Result<()> {
    let pool = pool();
    let mut line = pool.lock();
    line.waiting.push_back(request);
    if line.waiting.len() <= line.idle {
        drop(line);
        pool.called.notify_one();
        return Ok(());
    }
    if line.threads == MOST {
        return Ok(());
    }
    line.threads += 1;
    drop(line);
    let spawned = std::thread::Builder::new().name("aioxide-dns".into()).spawn(|| pool.serve());
    let Err(failure) = spawned else { return Ok(()) };
    let mut line = pool.lock();
    line.threads -= 1;
    if line.threads > 0 {
        return Ok(());
    }
    // Nobody will come for it, nor for others: there are none, or a thread would be there.
    line.waiting.clear();
    Err(failure)
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        block_signals();
        while let Some(request) = self.next() {
            if !request.abandoned.load(Ordering::Relaxed) {
                let answer = request.question.ask();
                request.home.post(request.ticket, answer);
            }
        }
    }

    /// The next question; `None` when the thread is to end.
    fn next(&self) -> Option<Request> {
        let mut line = self.lock();
        loop {
            if let Some(request) = line.waiting.pop_front() {
                return Some(request);
            }
            line.idle += 1;
            let (woken, waited) =
                self.called.wait_timeout(line, IDLE).unwrap_or_else(PoisonError::into_inner);
            line = woken;
            line.idle -= 1;
            if waited.timed_out() && line.waiting.is_empty() {
                line.threads -= 1;
                return None;
            }
        }
    }
}

/// Signals are for threads of Python's: the system call that one is to interrupt is in one of them.
fn block_signals() {
    // SAFETY: a set of signals that is filled before it is used.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, std::ptr::null_mut());
    }
}
