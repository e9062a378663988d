//! The OpenSSL under Python's `ssl` module, called directly.
//!
//! `_ssl` reads and writes through two memory BIOs, gives up the GIL around each record and raises
//! an exception to say "nothing there". 1 KiB read and written back costs 41 thousand instructions
//! with it, called natively, and 24 thousand this way, of which the cipher takes 4 (OpenSSL 3.0).
//! Here the `SSL` is taken out of an `ssl.SSLObject` that Python made, with all that its context
//! says, its BIOs are replaced by one of our own (`pipe`), and `SSL_read_ex` and `SSL_write_ex` are
//! called on it. Everything that is not done per record stays with the object's own methods, which
//! work on our BIO as well: the handshake, the shutdown, and every error, so that exceptions are
//! Python's by construction. Where anything is not as expected (`library`, `layout`), nothing of
//! this is used, and memory BIOs serve.
//!
//! What protects what:
//! - The `SSL` lives as long as the `_ssl._SSLSocket`, which a [`Direct`] owns.
//! - Two threads must not be in one `SSL` at once. `_ssl` gives up the GIL inside, and does not see
//!   to this (3.13.4 to 3.13.7 tried): a program that calls `read` of a transport's `ssl_object` in a
//!   thread beside the loop's breaks OpenSSL's rules under any loop, and under this one no more.
//! - The BIO's memory is reached by whoever is inside, also without the GIL, and by us at any time:
//!   it has a lock of its own, held for a copy only, in which nothing is called.
//! - Python code that a callback of the context runs inside a call may come back to the same session:
//!   `tls::session` tells it to come again. Contexts with callbacks that report by an exception
//!   (messages, key log) are not called directly at all.

mod layout;
mod library;
mod methods;
mod pipe;

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::sync::Arc;

use super::buffer;
use super::error::Res;
use super::global::Global;
use super::names;
use super::object::{Any, AsObject, Own, Slot, Stop, Visitor};
use layout::Layout;
use library::{Library, Ssl};
use pipe::Pipe;

pub(crate) use methods::{read_into, write_from, write_to_bio};

/// What was found of `_ssl`; the reason where it cannot be used.
struct Found {
    library: Library,
    layout: Layout,
}

static FOUND: Global<Result<Found, String>> = Global::new();

/// What direct calls need, looked for once; `Err`: why there are none.
fn found() -> Res<Result<&'static Found, &'static str>> {
    if FOUND.peek().is_none() {
        let found = match library::find()? {
            Err(reason) => Err(reason),
            Ok(library) => layout::probe(&library)?.map(|layout| Found { library, layout }),
        };
        FOUND.fill(found);
    }
    Ok(FOUND.get().as_ref().map_err(String::as_str))
}

/// Why OpenSSL cannot be called directly; `None` where it can.
pub(crate) fn obstacle() -> Res<Option<&'static str>> {
    found().map(Result::err)
}

/// The most plaintext that a record holds.
const RECORD: usize = 16 * 1024;
/// What it grows by, about.
const OVERHEAD: usize = 64;

/// How a call ended.
pub(crate) enum Outcome {
    /// So many bytes were read or written.
    Done(usize),
    /// Nothing before more ciphertext arrives.
    Again,
    /// The peer has said that it sends no more.
    End,
    /// Anything else: the method of the same name is to be called, which finds the error where
    /// this call left it and raises it, or succeeds.
    Otherwise,
}

/// An `SSL` and what it reads from and writes to.
pub(crate) struct Direct {
    /// The `_ssl._SSLSocket`; empty once the collector cleared it.
    object: Slot,
    ssl: *mut Ssl,
    pipe: Arc<Pipe>,
    found: &'static Found,
    /// The handshake is over, and no callback of the context can raise.
    open: Cell<bool>,
    /// The last read took all there was.
    drained: Cell<bool>,
}

impl Direct {
    /// Takes over the `SSL` of an `_ssl._SSLSocket` that was just made for `context`; `None` if it
    /// is not what we know how to use.
    pub(crate) fn take_over(object: &Any) -> Res<Option<Direct>> {
        let Ok(found) = found()? else { return Ok(None) };
        let Some(ssl) = found.layout.ssl_of(object)? else { return Ok(None) };
        let pipe = Pipe::new();
        // SAFETY: a live SSL that nobody else uses yet: its object was just made.
        if !unsafe { found.library.set_bio(ssl, &pipe) } {
            return Ok(None);
        }
        Ok(Some(Direct {
            object: Slot::new(object.own()),
            ssl,
            pipe,
            found,
            open: Cell::new(false),
            drained: Cell::new(false),
        }))
    }

    /// The `_ssl._SSLSocket`, while there is one.
    pub(crate) fn object(&self) -> Option<Own<Any>> {
        self.object.get()
    }

    pub(crate) fn visit(&self, visitor: &Visitor) -> Result<(), Stop> {
        visitor.slot(&self.object)
    }

    pub(crate) fn clear(&self) {
        self.object.clear();
    }

    /// To be called when the handshake is done: from now on calls may be direct.
    pub(crate) fn opened(&self) -> Res<()> {
        let Some(object) = self.object() else { return Ok(()) };
        let context = object.attr(&names::CONTEXT)?;
        let calls_back = !context.attr(&names::MSG_CALLBACK)?.is_none()
            || !context.attr(&names::KEYLOG_FILENAME)?.is_none();
        self.open.set(!calls_back);
        Ok(())
    }

    /// To be called before a method of the object that may take what is to be read.
    pub(crate) fn disturb(&self) {
        self.drained.set(false);
    }

    /// Decrypts up to one record into `space`.
    #[inline]
    pub(crate) fn read(&self, space: &mut [MaybeUninit<u8>]) -> Outcome {
        if self.drained.get() && self.pipe.incoming() == 0 {
            return Outcome::Again;
        }
        self.call(|ssl, library| {
            let mut count = 0;
            // SAFETY: a live SSL that is ours for this call, and a buffer of this length, of which
            // OpenSSL writes the first `count` bytes.
            let read = unsafe {
                (library.ssl_read_ex)(ssl, space.as_mut_ptr().cast(), space.len(), &mut count)
            };
            if read == 1 {
                // SAFETY: as above.
                let more = unsafe { (library.ssl_has_pending)(ssl) } != 0;
                self.drained.set(!more);
                return Outcome::Done(count);
            }
            self.drained.set(false);
            library.outcome(ssl, read)
        })
    }

    /// Whether OpenSSL may have begun a record that it waits for the rest of.
    pub(crate) fn may_hold_part(&self) -> bool {
        !self.drained.get()
    }

    /// Encrypts `data`.
    #[inline]
    pub(crate) fn write(&self, data: &[u8]) -> Outcome {
        if data.len() > RECORD {
            self.pipe.expect(data.len() + (data.len() / RECORD + 1) * OVERHEAD);
        }
        self.call(|ssl, library| {
            let mut count = 0;
            // SAFETY: a live SSL that is ours for this call, and a buffer of this length, which
            // OpenSSL only reads.
            let written = unsafe {
                (library.ssl_write_ex)(ssl, data.as_ptr().cast(), data.len(), &mut count)
            };
            if written == 1 { Outcome::Done(count) } else { library.outcome(ssl, written) }
        })
    }

    /// Runs a direct call if such may be made.
    #[inline(always)]
    fn call(&self, run: impl FnOnce(*mut Ssl, &Library) -> Outcome) -> Outcome {
        if !self.open.get() {
            return Outcome::Otherwise;
        }
        // What is called back may drop the last other reference to the object.
        let Some(_object) = self.object.get() else { return Outcome::Otherwise };
        let library = &self.found.library;
        library.forget_errors();
        run(self.ssl, library)
    }

    /// Lends `data`, which arrived, to OpenSSL while `run` runs. What is left is kept.
    #[inline]
    pub(crate) fn feed<T>(&self, data: &[u8], run: impl FnOnce() -> T) -> T {
        let _lent = self.pipe.lend(data);
        run()
    }

    /// How much that arrived has not been looked at.
    pub(crate) fn incoming(&self) -> usize {
        self.pipe.incoming()
    }

    /// How much is to be sent.
    pub(crate) fn outgoing(&self) -> usize {
        self.pipe.outgoing()
    }

    /// All that is to be sent, if anything is.
    pub(crate) fn take_outgoing(&self) -> Res<Option<Own<Any>>> {
        let taken = self.pipe.take_outgoing();
        if taken.is_empty() {
            return Ok(None);
        }
        let bytes = buffer::bytes(&taken)?;
        self.pipe.give_back(taken);
        Ok(Some(bytes))
    }
}

/// The C types that only OpenSSL looks into.
type Opaque = c_void;
type Answer = c_int;
