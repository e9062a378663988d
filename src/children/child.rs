//! What a child does between its birth and the program that it executes.
//!
//! It follows `child_exec` of CPython's `_posixsubprocess.c`, step by step and in that order, as far
//! as there is no Python code to run and no user to change (those are left to CPython). It runs in
//! the parent's memory while the parent runs on. So it allocates nothing, takes no lock, touches
//! nothing of the thread, calls the kernel and nobody else, cannot panic, and writes to its own
//! stack and to `Plan::failure` only.

use std::ffi::{c_char, c_int, c_long, c_void};
use std::sync::atomic::{AtomicU64, Ordering};

use super::raw;

/// Everything that a child has to know. The pointers are to what the plan's owner keeps.
#[repr(C)]
pub(super) struct Plan {
    /// The paths to try, then null.
    pub(super) executables: *const *const c_char,
    pub(super) argv: *const *const c_char,
    pub(super) envp: *const *const c_char,
    /// Null: the parent's.
    pub(super) directory: *const c_char,
    /// What becomes 0, 1 and 2; -1 for what is inherited.
    pub(super) standard: [c_int; 3],
    /// The parent's ends of the pipes; -1 for none.
    pub(super) not_for_child: [c_int; 4],
    /// Descriptors that the program gets, and `report`; ascending.
    pub(super) kept: *const c_int,
    pub(super) kept_len: usize,
    /// A pipe's end; when the last copy of it is closed, the child is on its own.
    pub(super) report: c_int,
    pub(super) close_others: bool,
    pub(super) restore_signals: bool,
    pub(super) new_session: bool,
    /// -1: the parent's.
    pub(super) process_group: c_int,
    /// -1: the parent's.
    pub(super) umask: c_int,
    /// The signals that the parent's thread blocks.
    pub(super) mask: u64,
    pub(super) failure: Failure,
}

/// At which step it failed, and why.
pub(super) struct Failure(AtomicU64);

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Step {
    Prepare = 1,
    ChangeDirectory = 2,
    Execute = 3,
}

impl Failure {
    pub(super) const fn none() -> Failure {
        Failure(AtomicU64::new(0))
    }

    fn set(&self, step: Step, errno: c_int) {
        self.0.store((step as u64) << 32 | u64::from(errno as u32), Ordering::Release);
    }

    /// The step's number and the error; `None` if nothing failed.
    pub(super) fn get(&self) -> Option<(i64, i64)> {
        let word = self.0.load(Ordering::Acquire);
        (word != 0).then_some(((word >> 32) as i64, (word & 0xffff_ffff) as i64))
    }
}

/// What the kernel calls `struct sigaction`, of which only the first word is looked at.
type Disposition = [usize; 4];

const KERNEL_SIGSET: usize = 8;
const SIGNALS: usize = 64;

/// The child's first and last function.
///
/// # Safety
/// `plan` is a `Plan` that outlives the child's stay in this memory.
pub(super) unsafe extern "C" fn run(plan: *mut c_void) -> c_int {
    // SAFETY: the caller's promise; nobody writes to a plan once it runs, `failure` aside.
    let plan = unsafe { &*plan.cast::<Plan>() };
    let (step, errno) = plan.execute();
    plan.failure.set(step, errno);
    loop {
        // SAFETY: ends this process, and touches no memory.
        let _ = unsafe { raw::call(libc::SYS_exit_group, [255, 0, 0, 0, 0]) };
    }
}

impl Plan {
    /// Returns only if it failed.
    fn execute(&self) -> (Step, c_int) {
        if let Err(errno) = self.arrange_descriptors() {
            return (Step::Prepare, errno);
        }
        if !self.directory.is_null()
            && let Err(errno) = call(libc::SYS_chdir, [self.directory as usize, 0, 0])
        {
            return (Step::ChangeDirectory, errno);
        }
        if let Err(errno) = self.arrange_process() {
            return (Step::Prepare, errno);
        }
        if self.close_others {
            self.close_others();
        }
        (Step::Execute, self.try_executables())
    }

    fn arrange_descriptors(&self) -> Result<(), c_int> {
        for index in 0..self.kept_len {
            let fd = self.kept_at(index);
            if fd != self.report {
                inherit(fd)?;
            }
        }
        for fd in self.not_for_child {
            if fd != -1 {
                call(libc::SYS_close, [fd as usize, 0, 0])?;
            }
        }
        let [stdin, mut stdout, mut stderr] = self.standard;
        // None of them may lie where another is to be put before its turn.
        if stdout == 0 {
            stdout = duplicate(stdout)?;
        }
        while stderr == 0 || stderr == 1 {
            stderr = duplicate(stderr)?;
        }
        put(stdin, 0)?;
        put(stdout, 1)?;
        put(stderr, 2)
    }

    fn arrange_process(&self) -> Result<(), c_int> {
        if self.umask >= 0 {
            call(libc::SYS_umask, [self.umask as usize, 0, 0])?;
        }
        if self.restore_signals {
            // Those that Python ignores for itself.
            reset_signal(libc::SIGPIPE as usize);
            reset_signal(libc::SIGXFSZ as usize);
        }
        // A handler of the parent's must not run here, in its memory.
        for signal in 1..=SIGNALS {
            reset_if_handled(signal);
        }
        let mask = &raw const self.mask;
        // SAFETY: reads eight bytes of ours.
        unsafe {
            raw::call(
                libc::SYS_rt_sigprocmask,
                [libc::SIG_SETMASK as usize, mask as usize, 0, KERNEL_SIGSET, 0],
            )?;
        }
        if self.new_session {
            call(libc::SYS_setsid, [0, 0, 0])?;
        }
        if self.process_group >= 0 {
            call(libc::SYS_setpgid, [0, self.process_group as usize, 0])?;
        }
        Ok(())
    }

    fn kept_at(&self, index: usize) -> c_int {
        // SAFETY: the index is below the length, and the list is kept by the plan's owner.
        unsafe { *self.kept.add(index) }
    }

    fn close_others(&self) {
        let mut first = 3;
        for index in 0..self.kept_len {
            let kept = self.kept_at(index);
            if kept < first {
                continue;
            }
            if first < kept {
                close_range(first as usize, kept.wrapping_sub(1) as usize);
            }
            first = kept.wrapping_add(1);
        }
        close_range(first as usize, c_int::MAX as usize);
    }

    /// Tries one after the other; the first error other than "not there" counts.
    fn try_executables(&self) -> c_int {
        let (mut saved, mut last) = (0, libc::ENOENT);
        let mut place = self.executables;
        loop {
            // SAFETY: a list that ends in null, which is not gone past.
            let path = unsafe { *place };
            if path.is_null() {
                return if saved == 0 { last } else { saved };
            }
            let args = [path as usize, self.argv as usize, self.envp as usize];
            if let Err(errno) = call(libc::SYS_execve, args) {
                last = errno;
                if saved == 0 && errno != libc::ENOENT && errno != libc::ENOTDIR {
                    saved = errno;
                }
            }
            // SAFETY: as above.
            place = unsafe { place.add(1) };
        }
    }
}

/// A call that writes to no memory.
fn call(number: c_long, [a, b, c]: [usize; 3]) -> Result<usize, c_int> {
    // SAFETY: numbers, and texts and lists that the plan's owner keeps, which the kernel reads.
    unsafe { raw::call(number, [a, b, c, 0, 0]) }
}

fn inherit(fd: c_int) -> Result<(), c_int> {
    call(libc::SYS_fcntl, [fd as usize, libc::F_SETFD as usize, 0]).map(drop)
}

/// Only for this process: the program is not to have one more.
fn duplicate(fd: c_int) -> Result<c_int, c_int> {
    let command = libc::F_DUPFD_CLOEXEC as usize;
    call(libc::SYS_fcntl, [fd as usize, command, 0]).map(|fd| fd as c_int)
}

fn put(fd: c_int, place: c_int) -> Result<(), c_int> {
    if fd == -1 {
        Ok(())
    } else if fd == place {
        inherit(fd)
    } else {
        call(libc::SYS_dup3, [fd as usize, place as usize, 0]).map(drop)
    }
}

fn close_range(first: usize, last: usize) {
    if first <= last {
        let _ = call(libc::SYS_close_range, [first, last, 0]);
    }
}

fn reset_signal(signal: usize) {
    let default: Disposition = [0; 4];
    let place = (&raw const default) as usize;
    // SAFETY: reads a disposition of ours: no handler, no flags. The table is the child's own.
    let _ = unsafe { raw::call(libc::SYS_rt_sigaction, [signal, place, 0, KERNEL_SIGSET, 0]) };
}

fn reset_if_handled(signal: usize) {
    let mut known: Disposition = [0; 4];
    let place = (&raw mut known) as usize;
    // SAFETY: room for the answer.
    let asked = unsafe { raw::call(libc::SYS_rt_sigaction, [signal, 0, place, KERNEL_SIGSET, 0]) };
    let [handler, ..] = known;
    if asked.is_ok() && handler != libc::SIG_DFL && handler != libc::SIG_IGN {
        reset_signal(signal);
    }
}
