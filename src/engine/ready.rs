//! The ready queue: what the next turn runs, first in, first out.
//!
//! An entry is one word, a strong reference whose low bits say what it is: a Task to step, a Handle
//! to run, a sleep to end, a timeout that expired, a Future whose watcher is to hear of its end, or
//! a job that comes home from a thread; or, without a reference, a descriptor that is ready. Between
//! a Future that is done and the Task that waits for it there is then no Handle, no callable and no
//! copied context.

use std::cell::UnsafeCell;
use std::collections::VecDeque;

use super::endpoint::Readiness;
use super::handle::Handle;
use crate::py::{Own, Stop, Visitor};
use crate::tasks::future::Future;
use crate::tasks::job::Job;
use crate::tasks::sleep::Sleep;
use crate::tasks::task::Task;
use crate::tasks::timeout::Timeout;

/// One entry, taken out.
pub(crate) enum Entry {
    Task(Own<Task>),
    Handle(Own<Handle>),
    /// A sleep whose time has come.
    Wake(Own<Sleep>),
    /// A timeout that has expired.
    Expire(Own<Timeout>),
    /// A Future that is done and has a watcher.
    Notice(Own<Future>),
    /// A job that a thread has done.
    Job(Own<Job>),
    /// A descriptor that is ready, for its endpoint.
    Ready(Readiness),
}

const HANDLE: usize = 1;
const WAKE: usize = 2;
const EXPIRE: usize = 3;
const NOTICE: usize = 4;
const JOB: usize = 5;
const READY: usize = 6;
const TAGS: usize = 7;

impl Entry {
    #[inline(always)]
    fn from_word(word: usize) -> Entry {
        // SAFETY: words come from the `push` functions, which fold strong references (aligned to
        // 8, so the low bits are free) with the tag of their type; each is unfolded once.
        unsafe {
            match word & TAGS {
                0 => Entry::Task(Own::from_word(word)),
                HANDLE => Entry::Handle(Own::from_word(word & !TAGS)),
                WAKE => Entry::Wake(Own::from_word(word & !TAGS)),
                EXPIRE => Entry::Expire(Own::from_word(word & !TAGS)),
                NOTICE => Entry::Notice(Own::from_word(word & !TAGS)),
                READY => Entry::Ready(Readiness::from_word(word)),
                _ => Entry::Job(Own::from_word(word & !TAGS)),
            }
        }
    }
}

/// The queue.
pub(crate) struct ReadyQueue {
    words: UnsafeCell<VecDeque<usize>>,
}

impl ReadyQueue {
    pub(crate) fn new() -> ReadyQueue {
        ReadyQueue { words: UnsafeCell::new(VecDeque::with_capacity(64)) }
    }

    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    fn words(&self) -> &mut VecDeque<usize> {
        // SAFETY: private, and every use below ends before Python code can run: moving words runs
        // none. The GIL keeps other threads out.
        unsafe { &mut *self.words.get() }
    }

    #[inline(always)]
    pub(crate) fn push_task(&self, task: Own<Task>) {
        self.words().push_back(task.into_word());
    }

    #[inline(always)]
    pub(crate) fn push_handle(&self, handle: Own<Handle>) {
        self.words().push_back(handle.into_word() | HANDLE);
    }

    #[inline(always)]
    pub(crate) fn push_wake(&self, sleep: Own<Sleep>) {
        self.words().push_back(sleep.into_word() | WAKE);
    }

    #[inline(always)]
    pub(crate) fn push_expired(&self, timeout: Own<Timeout>) {
        self.words().push_back(timeout.into_word() | EXPIRE);
    }

    #[inline(always)]
    pub(crate) fn push_notice(&self, future: Own<Future>) {
        self.words().push_back(future.into_word() | NOTICE);
    }

    #[inline(always)]
    pub(crate) fn push_job(&self, job: Own<Job>) {
        self.words().push_back(job.into_word() | JOB);
    }

    #[inline(always)]
    pub(crate) fn push_readiness(&self, readiness: Readiness) {
        self.words().push_back(readiness.into_word() | READY);
    }

    #[inline(always)]
    pub(crate) fn pop(&self) -> Option<Entry> {
        self.words().pop_front().map(Entry::from_word)
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.words().len()
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.words().is_empty()
    }

    /// Drops every entry; Handles let go of what they hold even if somebody else keeps them.
    pub(crate) fn clear(&self) {
        for word in std::mem::take(self.words()) {
            if let Entry::Handle(handle) = Entry::from_word(word) {
                handle.abandon();
            }
        }
    }

    pub(crate) fn visit(&self, visitor: &Visitor) -> Result<(), Stop> {
        for &word in self.words().iter() {
            // Looked at, not taken: the copy is forgotten instead of dropped.
            let entry = std::mem::ManuallyDrop::new(Entry::from_word(word));
            match &*entry {
                Entry::Task(task) => visitor.object(&**task)?,
                Entry::Handle(handle) => handle.visit(visitor)?,
                Entry::Wake(sleep) => visitor.object(&**sleep)?,
                Entry::Expire(timeout) => visitor.object(&**timeout)?,
                Entry::Notice(future) => visitor.object(&**future)?,
                Entry::Job(job) => visitor.object(&**job)?,
                Entry::Ready(_) => {}
            }
        }
        Ok(())
    }
}

impl Drop for ReadyQueue {
    fn drop(&mut self) {
        self.clear();
    }
}
