//! The BIO that a session's `SSL` reads from and writes to.
//!
//! Its callbacks run inside OpenSSL, in a handshake without the GIL and perhaps in another thread:
//! they touch plain memory only, under a lock that is held for one copy and in which nothing else
//! is waited for. So whoever finds it taken spins.

use std::cell::UnsafeCell;
use std::ffi::{c_char, c_int, c_long, c_void};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::Answer;
use super::library::Bio;

const BIO_CTRL_PENDING: c_int = 10;
const BIO_CTRL_FLUSH: c_int = 11;
const BIO_CTRL_WPENDING: c_int = 13;
const BIO_FLAGS_READ: c_int = 0x01;
const BIO_FLAGS_RETRY: c_int = 0x0f;
const BIO_FLAGS_SHOULD_RETRY: c_int = 0x08;

/// Of a buffer that has been emptied, this much may be kept for the next use.
const KEPT: usize = 4096;

/// The functions that the callbacks need.
pub(super) struct Helpers {
    pub(super) get_data: unsafe extern "C" fn(*mut Bio) -> *mut c_void,
    pub(super) set_flags: unsafe extern "C" fn(*mut Bio, c_int),
    pub(super) clear_flags: unsafe extern "C" fn(*mut Bio, c_int),
}

/// Filled before the first BIO is made.
static HELPERS: OnceLock<Helpers> = OnceLock::new();

pub(super) fn use_helpers(helpers: Helpers) {
    let _ = HELPERS.set(helpers);
}

#[inline(always)]
fn helpers() -> &'static Helpers {
    HELPERS.get().expect("a BIO is used before any was made")
}

/// What lies between us and OpenSSL.
pub(super) struct Pipe {
    taken: AtomicBool,
    content: UnsafeCell<Content>,
}

// SAFETY: the content is reached with the lock only (`with`), and what it lends is plain memory.
unsafe impl Sync for Pipe {}
// SAFETY: as above.
unsafe impl Send for Pipe {}

struct Content {
    /// What arrived and waits, from `start` on.
    kept: Vec<u8>,
    start: usize,
    /// What arrives now, in somebody else's memory. Empty while anything is kept.
    lent: *const [u8],
    /// What is to be sent.
    outgoing: Vec<u8>,
}

const NOTHING: *const [u8] = &[];

impl Content {
    /// What is to be read next.
    fn incoming(&self) -> &[u8] {
        match &self.kept[self.start..] {
            // SAFETY: lent memory outlives the loan, which ends under the lock (`Lent`).
            [] => unsafe { &*self.lent },
            kept => kept,
        }
    }

    fn consume(&mut self, count: usize) {
        if self.start == self.kept.len() {
            // SAFETY: as `incoming`.
            self.lent = unsafe { &raw const (&*self.lent)[count..] };
            return;
        }
        self.start += count;
        if self.start == self.kept.len() {
            self.start = 0;
            self.kept.clear();
            self.kept.shrink_to(KEPT);
        }
    }

    fn keep(&mut self, data: &[u8]) {
        if self.start > 0 {
            self.kept.drain(..self.start);
            self.start = 0;
        }
        self.kept.extend_from_slice(data);
    }

    /// Takes what is lent into our own memory.
    fn end_loan(&mut self) {
        // SAFETY: as `incoming`.
        let left = unsafe { &*std::mem::replace(&mut self.lent, NOTHING) };
        if !left.is_empty() {
            self.keep(left);
        }
    }
}

/// A loan to OpenSSL; ends when it is dropped.
pub(super) struct Lent<'a>(&'a Pipe);

impl Drop for Lent<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.with(Content::end_loan);
    }
}

impl Pipe {
    pub(super) fn new() -> Arc<Pipe> {
        Arc::new(Pipe {
            taken: AtomicBool::new(false),
            content: UnsafeCell::new(Content {
                kept: Vec::new(),
                start: 0,
                lent: NOTHING,
                outgoing: Vec::new(),
            }),
        })
    }

    /// Runs `look` with the lock held: it must not call anything that waits.
    #[inline]
    fn with<T>(&self, look: impl FnOnce(&mut Content) -> T) -> T {
        while self
            .taken
            .compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            std::hint::spin_loop();
        }
        let unlock = Unlock(&self.taken);
        // SAFETY: we have the lock.
        let answer = look(unsafe { &mut *self.content.get() });
        drop(unlock);
        answer
    }

    /// Makes `data` readable until the answer is dropped; what is left then is kept.
    #[inline]
    pub(super) fn lend<'a>(&'a self, data: &'a [u8]) -> Lent<'a> {
        self.with(|content| {
            // A loan inside a loan: the outer one's bytes come first.
            content.end_loan();
            if content.kept.is_empty() {
                content.lent = data;
            } else {
                content.keep(data);
            }
        });
        Lent(self)
    }

    #[inline]
    pub(super) fn incoming(&self) -> usize {
        self.with(|content| content.incoming().len())
    }

    #[inline]
    pub(super) fn outgoing(&self) -> usize {
        self.with(|content| content.outgoing.len())
    }

    /// All that is to be sent.
    #[inline]
    pub(super) fn take_outgoing(&self) -> Vec<u8> {
        self.with(|content| std::mem::take(&mut content.outgoing))
    }

    /// Prepares for so much more.
    #[inline]
    pub(super) fn expect(&self, size: usize) {
        self.with(|content| content.outgoing.reserve(size));
    }

    /// Returns memory that `take_outgoing` took, for the next use.
    #[inline]
    pub(super) fn give_back(&self, mut memory: Vec<u8>) {
        if memory.capacity() > KEPT {
            return;
        }
        memory.clear();
        self.with(|content| {
            if content.outgoing.capacity() == 0 {
                content.outgoing = memory;
            }
        });
    }

    /// The pipe of a BIO.
    ///
    /// # Safety
    /// The BIO is one of ours, not destroyed yet.
    #[inline(always)]
    unsafe fn of<'a>(bio: *mut Bio) -> &'a Pipe {
        // SAFETY: set when the BIO was made; its count is given back by `destroy`.
        unsafe { &*(helpers().get_data)(bio).cast::<Pipe>() }
    }
}

struct Unlock<'a>(&'a AtomicBool);

impl Drop for Unlock<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// `BIO_read_ex`.
pub(super) unsafe extern "C" fn read(
    bio: *mut Bio,
    target: *mut c_char,
    room: usize,
    count: *mut usize,
) -> Answer {
    // SAFETY: OpenSSL's call on a BIO of ours, with a buffer of this size and a place for the count.
    unsafe {
        let helpers = helpers();
        (helpers.clear_flags)(bio, BIO_FLAGS_RETRY);
        let copied = Pipe::of(bio).with(|content| {
            let incoming = content.incoming();
            let copied = incoming.len().min(room);
            target.cast::<u8>().copy_from_nonoverlapping(incoming.as_ptr(), copied);
            if copied > 0 {
                content.consume(copied);
            }
            copied
        });
        *count = copied;
        if copied == 0 {
            (helpers.set_flags)(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY);
        }
        Answer::from(copied > 0)
    }
}

/// `BIO_write_ex`.
pub(super) unsafe extern "C" fn write(
    bio: *mut Bio,
    data: *const c_char,
    len: usize,
    count: *mut usize,
) -> Answer {
    // SAFETY: OpenSSL's call on a BIO of ours, with data of this size and a place for the count.
    unsafe {
        (helpers().clear_flags)(bio, BIO_FLAGS_RETRY);
        let data = std::slice::from_raw_parts(data.cast::<u8>(), len);
        Pipe::of(bio).with(|content| {
            content.outgoing.extend_from_slice(data);
        });
        *count = len;
        1
    }
}

/// `BIO_ctrl`.
pub(super) unsafe extern "C" fn control(
    bio: *mut Bio,
    command: c_int,
    _: c_long,
    _: *mut c_void,
) -> c_long {
    // SAFETY: OpenSSL's call on a BIO of ours.
    unsafe {
        match command {
            BIO_CTRL_FLUSH => 1,
            BIO_CTRL_PENDING => Pipe::of(bio).incoming() as c_long,
            BIO_CTRL_WPENDING => Pipe::of(bio).outgoing() as c_long,
            _ => 0,
        }
    }
}

/// The end of the BIO, with the `SSL`.
pub(super) unsafe extern "C" fn destroy(bio: *mut Bio) -> Answer {
    // SAFETY: OpenSSL's last call on a BIO of ours, whose count of the pipe is given back.
    unsafe {
        let pipe = (helpers().get_data)(bio).cast_const().cast::<Pipe>();
        if !pipe.is_null() {
            drop(Arc::from_raw(pipe));
        }
    }
    1
}
