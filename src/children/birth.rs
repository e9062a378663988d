//! The parent's half of a birth: memory, descriptors, and `clone`.
//!
//! CPython's `fork_exec` uses `vfork`: the thread, which holds the GIL, sleeps until the child has
//! executed its program, for 200 to 500 µs. Here the child shares the memory as there, but the
//! parent does not wait: it goes on with other work, with another birth for one, and hears of the
//! end of the matter from a pipe, whose last writing end the kernel closes when the program is
//! executed (or the child has died). What the child needs lives until then. `posix_spawn` in other
//! threads would do the same with less code of ours, but a child inherits from the thread that makes
//! it (processors, signal mask, priority, name spaces, who the parent is to `PR_SET_PDEATHSIG`), and
//! must inherit it from the loop's.

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::pipe::{PipeFlags, pipe_with};

use super::child::{Failure, Plan, run};

/// What is asked of a child; the texts are without NUL.
pub(super) struct Order {
    pub(super) executables: Texts,
    pub(super) argv: Texts,
    pub(super) env: Texts,
    pub(super) directory: Option<Texts>,
    /// The child's and the parent's ends: stdin, stdout, stderr; -1 for none.
    pub(super) standard: [c_int; 3],
    pub(super) not_for_child: [c_int; 3],
    /// Ascending, without repetition.
    pub(super) passed: Vec<c_int>,
    pub(super) close_others: bool,
    pub(super) restore_signals: bool,
    pub(super) new_session: bool,
    pub(super) process_group: c_int,
    pub(super) umask: c_int,
}

/// C texts in one piece, and the list of pointers to them that ends in null.
#[derive(Default)]
pub(super) struct Texts {
    content: Vec<u8>,
    starts: Vec<usize>,
    pointers: Vec<*const c_char>,
}

impl Texts {
    pub(super) fn push(&mut self, text: &[u8]) {
        self.starts.push(self.content.len());
        self.content.extend_from_slice(text);
        self.content.push(0);
    }

    /// What `execv` would hand on. A copy: while the child reads it, the parent may change it.
    pub(super) fn environment() -> Texts {
        unsafe extern "C" {
            static environ: *const *const c_char;
        }
        let mut texts = Texts::default();
        // SAFETY: a list of C texts that ends in null, or null; only who holds the GIL changes it.
        unsafe {
            let mut place = environ;
            while !place.is_null() && !(*place).is_null() {
                texts.push(std::ffi::CStr::from_ptr(*place).to_bytes());
                place = place.add(1);
            }
        }
        texts
    }

    /// The list; nothing may be pushed afterwards.
    fn list(&mut self) -> *const *const c_char {
        let content = self.content.as_ptr();
        self.pointers.clear();
        self.pointers.reserve_exact(self.starts.len() + 1);
        for &start in &self.starts {
            self.pointers.push(content.wrapping_add(start).cast());
        }
        self.pointers.push(ptr::null());
        self.pointers.as_ptr()
    }
}

/// Room for the child's few frames; what is not touched costs nothing.
const STACK: usize = 64 * 1024;

/// Everything that the child reads and writes before it executes its program.
struct Memory {
    plan: Plan,
    _order: Order,
    _kept: Vec<c_int>,
    stack: Stack,
}

type Stack = Box<[std::mem::MaybeUninit<u8>]>;

thread_local! {
    /// A stack that has served.
    static SPARE: Cell<Option<Stack>> = const { Cell::new(None) };
}

/// What became of a child's attempt to execute its program.
pub(super) enum Outcome {
    Unknown,
    Executed,
    Failed { step: i64, errno: i64 },
}

/// A child that has been born.
pub(super) struct Birth {
    pub(super) pid: c_int,
    pub(super) pidfd: Option<OwnedFd>,
    /// At its end when the child needs the memory no more; nothing is ever written.
    report: OwnedFd,
    memory: Option<Box<Memory>>,
}

// `raw` speaks two machines' language, and the kernel must know `close_range`.
pub(super) fn is_supported() -> bool {
    // SAFETY: closes nothing: no descriptor has this number.
    cfg!(any(target_arch = "x86_64", target_arch = "aarch64"))
        && unsafe { libc::syscall(libc::SYS_close_range, u32::MAX, u32::MAX, 0) } == 0
}

impl Birth {
    pub(super) fn give(mut order: Order) -> io::Result<Birth> {
        let (report, report_write) = report_pipe()?;
        let mut kept = std::mem::take(&mut order.passed);
        let place = kept.partition_point(|&fd| fd < report_write.as_raw_fd());
        kept.insert(place, report_write.as_raw_fd());
        let [a, b, c] = order.not_for_child;
        let mut memory = Box::new(Memory {
            plan: Plan {
                executables: order.executables.list(),
                argv: order.argv.list(),
                envp: order.env.list(),
                // SAFETY: a list of ours with one text.
                directory: order
                    .directory
                    .as_mut()
                    .map_or(ptr::null(), |text| unsafe { *text.list() }),
                standard: order.standard,
                not_for_child: [a, b, c, report.as_raw_fd()],
                kept: kept.as_ptr(),
                kept_len: kept.len(),
                report: report_write.as_raw_fd(),
                close_others: order.close_others,
                restore_signals: order.restore_signals,
                new_session: order.new_session,
                process_group: order.process_group,
                umask: order.umask,
                mask: 0,
                failure: Failure::none(),
            },
            _order: order,
            _kept: kept,
            stack: SPARE.take().unwrap_or_else(|| Box::new_uninit_slice(STACK)),
        });
        let (pid, pidfd) = clone(&mut memory)?;
        drop(report_write);
        Ok(Birth { pid, pidfd, report, memory: Some(memory) })
    }

    pub(super) fn report(&self) -> RawFd {
        self.report.as_raw_fd()
    }

    /// Looks whether the report has come to its end, which is when the child has left the memory.
    /// The report stays open until the birth is dropped: whoever watches it leaves it first.
    pub(super) fn look(&mut self) -> Outcome {
        if !matches!(rustix::io::read(&self.report, &mut [0_u8; 1]), Ok(0)) {
            return Outcome::Unknown;
        }
        let Some(memory) = self.memory.take() else { return Outcome::Executed };
        let failure = memory.plan.failure.get();
        SPARE.set(Some(memory.stack));
        failure.map_or(Outcome::Executed, |(step, errno)| Outcome::Failed { step, errno })
    }
}

impl Drop for Birth {
    fn drop(&mut self) {
        // Nobody heard the report: the child may still be in there.
        std::mem::forget(self.memory.take());
    }
}

/// Both ends, above the standard descriptors, which the child may overwrite.
fn report_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    Ok((above_standard(read)?, above_standard(write)?))
}

fn above_standard(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() > 2 { Ok(fd) } else { Ok(rustix::io::fcntl_dupfd_cloexec(&fd, 3)?) }
}

fn clone(memory: &mut Memory) -> io::Result<(c_int, Option<OwnedFd>)> {
    let mut pidfd: c_int = -1;
    let blocked = BlockedSignals::new();
    memory.plan.mask = blocked.before;
    let plan: *mut c_void = (&raw mut memory.plan).cast();
    let end = memory.stack.as_mut_ptr_range().end as usize & !15;
    // SAFETY: the stack and the plan live until the child has left this memory (`Birth`), no signal
    // handler runs there before the child has reset them, and `run` keeps to what may be done.
    let pid = unsafe {
        libc::clone(
            run_in_child,
            end as *mut c_void,
            libc::CLONE_VM | libc::CLONE_PIDFD | libc::SIGCHLD,
            plan,
            &raw mut pidfd,
        )
    };
    let failure = io::Error::last_os_error();
    drop(blocked);
    if pid < 0 {
        return Err(failure);
    }
    // SAFETY: just opened by the kernel, for us.
    Ok((pid, (pidfd != -1).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) })))
}

extern "C" fn run_in_child(plan: *mut c_void) -> c_int {
    // SAFETY: what `clone` was given.
    unsafe { run(plan) }
}

/// All signals are blocked in this thread while this lives, those of the C library too.
struct BlockedSignals {
    before: u64,
}

impl BlockedSignals {
    fn new() -> BlockedSignals {
        let (all, mut before) = (u64::MAX, 0_u64);
        set_mask(&raw const all, &raw mut before);
        BlockedSignals { before }
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        set_mask(&raw const self.before, ptr::null_mut());
    }
}

fn set_mask(mask: *const u64, before: *mut u64) {
    // SAFETY: reads and writes eight bytes each, of ours. libc's own function would leave the two
    // signals of the C library unblocked.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, mask, before, size_of::<u64>());
    }
}
