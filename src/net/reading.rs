//! The reading side of a stream transport.
//!
//! One receive for each readable descriptor and turn, of at most 256 KiB, so that a light
//! connection beside heavy ones waits for one packet of each and not for all that they have. Where
//! the bytes go depends on the protocol: to TLS (`tls::reading`), past it into a StreamReader
//! (`streaming`), into a BufferedProtocol's own buffer. For `data_received` a small packet is
//! received into a buffer that all transports share and copied into a bytes object of its exact
//! size; once packets are large, into a bytes object at once, which is guessed from the last one
//! and cut to size.

use std::cell::{Cell, UnsafeCell};
use std::mem::MaybeUninit;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::pending::borrowed;
use super::protocol::Receiver;
use super::streaming::{self, Fed};
use super::transport::Transport;
use crate::engine::current;
use crate::engine::endpoint::Readiness;
use crate::engine::event_loop::EventLoop;
use crate::py::buffer::{Buffer, NewBytes, bytes, recycle};
use crate::py::error::{fetch, is_fatal, os_error, restore};
use crate::py::{Any, AsObject, Own, Raised, Res, context, names, runtime_error, value};
use crate::tls;

/// The most that one read takes, asyncio's `max_size`.
pub(super) const MAX_SIZE: usize = 256 * 1024;

/// Shared by all transports of a thread: a read is over before the next begins.
const SCRATCH: usize = 64 * 1024;

/// From here on a bytes object is received into without a copy.
pub(super) const LARGE: usize = 16 * 1024;

thread_local! {
    static BUFFER: UnsafeCell<Box<[u8]>> = UnsafeCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// Whatever a stream of bytes is read from, for those who make room for it.
pub(super) trait Source {
    /// The place of the last read's size.
    fn last_read(&self) -> &Cell<u32>;

    /// Makes one read into this memory; how much it gave.
    fn fill(&self, space: &mut [u8]) -> Result<usize, Errno>;

    /// The same into memory that nobody has written to; what it gave.
    fn fill_new<'a>(&self, space: &'a mut [MaybeUninit<u8>]) -> Result<&'a mut [u8], Errno>;

    /// How much room to make for the next read; none if it is to go through the shared buffer.
    #[inline(always)]
    fn room(&self) -> Option<usize> {
        let last = self.last_read().get() as usize;
        (last > LARGE).then(|| guess_room(last))
    }

    /// Remembers how large the last packets were, for the next buffer. A message of 64 KiB comes as
    /// 65483 bytes and 53: one small read must not make the next large one a copy.
    #[inline(always)]
    fn note_read(&self, len: usize) {
        let last = self.last_read().get();
        self.last_read().set((len as u32).max(last - last / 4));
    }
}

impl Source for Transport {
    #[inline(always)]
    fn last_read(&self) -> &Cell<u32> {
        &self.last_read
    }

    #[inline(always)]
    fn fill(&self, space: &mut [u8]) -> Result<usize, Errno> {
        self.receive(space).map(|(len, _)| len)
    }

    #[inline(always)]
    fn fill_new<'a>(&self, space: &'a mut [MaybeUninit<u8>]) -> Result<&'a mut [u8], Errno> {
        self.receive(space).map(|((filled, _), _)| filled)
    }
}

/// What came of a read.
pub(super) enum Arrival {
    Data(Own<Any>),
    Nothing,
    End,
}

/// Bytes have come, or the end has, or an error.
#[inline]
pub(super) fn ready(this: &Transport, event_loop: &EventLoop) -> Res<()> {
    if this.is_lost() {
        return Ok(());
    }
    let reader = match this.receiver.get() {
        Receiver::Tls => return tls::ready(this, event_loop),
        Receiver::Stream if !event_loop.debug() => streaming::reader_of(&this.protocol),
        _ => None,
    };
    let again = this.looks_again.replace(false);
    if let Some(reader) = &reader
        && !again
        && event_loop.waking(|| reader.announce(this.as_any()))?
    {
        this.promised.set(&**reader);
        return Ok(());
    }
    let fed = match this.unheard.take() {
        Some(errno) => Some(Fed::Failed(errno)),
        None => reader.map(|reader| event_loop.waking(|| streaming::feed(this, reader))),
    };
    let fed = match fed {
        Some(Fed::Well) => return Ok(()),
        fed => fed,
    };
    current::withdraw(event_loop)?;
    let Some(context) = this.read_context.get() else { return Ok(()) };
    context::enter(&context)?;
    let outcome = match (fed, this.receiver.get()) {
        (Some(fed), _) => after_feeding(this, fed),
        (None, Receiver::Protocol | Receiver::Stream | Receiver::Tls) => read_bytes(this),
        (None, Receiver::Buffered) => read_into_protocol(this),
    };
    context::exit(&context);
    outcome
}

/// What is left to do after a reader was fed, and may run Python code.
#[cold]
fn after_feeding(this: &Transport, fed: Fed) -> Res<()> {
    let refused = match fed {
        Fed::Well => return Ok(()),
        Fed::End => return ended(this),
        Fed::Failed(errno) => {
            return this.failed(os_error(&errno.into()), "Fatal read error on socket transport");
        }
        Fed::TooMuch(reader) => reader.pause().err(),
        Fed::Refused(exception) => Some(restore(exception)),
    };
    match refused {
        None => Ok(()),
        Some(raised) => this.failed(raised, "Fatal error: protocol.data_received() call failed."),
    }
}

#[inline]
fn read_bytes(this: &Transport) -> Res<()> {
    let data = match receive(this) {
        Ok(Arrival::Data(data)) => data,
        Ok(Arrival::Nothing) => return Ok(()),
        Ok(Arrival::End) => return ended(this),
        Err(raised) => return this.failed(raised, "Fatal read error on socket transport"),
    };
    let Some(protocol) = this.protocol.get() else { return Ok(()) };
    match protocol.call_method(&names::DATA_RECEIVED, &[&data]) {
        Ok(_) => {
            recycle(data);
            Ok(())
        }
        Err(raised) => this.failed(raised, "Fatal error: protocol.data_received() call failed."),
    }
}

/// Reads what there is into bytes of their own.
#[inline]
pub(super) fn receive(this: &impl Source) -> Res<Arrival> {
    match this.room() {
        None => receive_small(this),
        Some(room) => receive_large(this, room),
    }
}

fn arrival(received: Result<usize, Errno>, made: impl FnOnce(usize) -> Res) -> Res<Arrival> {
    match received {
        Ok(0) => Ok(Arrival::End),
        Ok(len) => made(len).map(Arrival::Data),
        Err(Errno::AGAIN | Errno::INTR) => Ok(Arrival::Nothing),
        Err(errno) => Err(os_error(&errno.into())),
    }
}

/// Runs `receive` with the buffer of all transports of this thread. It must run no Python code,
/// which could come back here.
#[inline(always)]
pub(super) fn with_shared_buffer<T>(receive: impl FnOnce(&mut [u8]) -> T) -> T {
    BUFFER.with(|buffer| {
        // SAFETY: this thread's own, and nothing that runs during the borrow comes back here.
        receive(unsafe { &mut *buffer.get() })
    })
}

#[inline]
fn receive_small(this: &impl Source) -> Res<Arrival> {
    with_shared_buffer(|buffer| {
        arrival(this.fill(buffer), |len| {
            this.note_read(len);
            bytes(&buffer[..len])
        })
    })
}

/// How much to make room for when the last read came to this.
pub(super) fn guess_room(last: usize) -> usize {
    // A read that filled its buffer (always a power of two) may have left more behind.
    let room = if last.is_power_of_two() { last * 2 } else { last.next_power_of_two() };
    room.min(MAX_SIZE)
}

fn receive_large(this: &impl Source, room: usize) -> Res<Arrival> {
    let mut made = NewBytes::with_capacity(room)?;
    let received = this.fill_new(made.space()).map(|filled| filled.len());
    arrival(received, |len| {
        this.note_read(len);
        // SAFETY: the kernel wrote this much.
        unsafe { made.finish(len) }
    })
}

/// Asks the protocol for a buffer and tells it how much came.
fn read_into_protocol(this: &Transport) -> Res<()> {
    let Some(protocol) = this.protocol.get() else { return Ok(()) };
    let given = match protocol_buffer(&protocol) {
        Ok(given) => given,
        Err(raised) => {
            return this.failed(raised, "Fatal error: protocol.get_buffer() call failed.");
        }
    };
    let mut buffer = match Buffer::writable(&given) {
        Ok(buffer) => buffer,
        Err(raised) => return this.failed(raised, "Fatal read error on socket transport"),
    };
    let received = this.receive(buffer.as_mut_slice());
    drop(buffer);
    let len = match received {
        Ok((0, _)) => return ended(this),
        Ok((len, _)) => value::int(len as i64)?,
        Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
        Err(errno) => {
            let raised = os_error(&errno.into());
            return this.failed(raised, "Fatal read error on socket transport");
        }
    };
    match protocol.call_method(&names::BUFFER_UPDATED, &[&len]) {
        Ok(_) => Ok(()),
        Err(raised) => this.failed(raised, "Fatal error: protocol.buffer_updated() call failed."),
    }
}

fn protocol_buffer(protocol: &Any) -> Res {
    let buffer = protocol.call_method(&names::GET_BUFFER, &[&*value::int(-1)?])?;
    if value::len(&buffer)? == 0 {
        return Err(runtime_error("get_buffer() returned an empty buffer"));
    }
    Ok(buffer)
}

/// The peer has said all that it will say.
#[cold]
pub(crate) fn ended(this: &Transport) -> Res<()> {
    this.log_debug("%r received EOF")?;
    let Some(protocol) = this.protocol.get() else { return Ok(()) };
    let keep_open =
        protocol.call_method(&names::EOF_RECEIVED, &[]).and_then(|answer| value::is_true(&answer));
    match keep_open {
        // The protocol may still write, but there is nothing more to read.
        Ok(true) => this.stop_reading(),
        Ok(false) => this.close(),
        Err(raised) => this.failed(raised, "Fatal error: protocol.eof_received() call failed."),
    }
}

impl Transport {
    /// Has the loop hear of the end of the stream, or of this error, which a receive has met.
    #[cold]
    pub(super) fn look_again(&self, unheard: Option<Errno>) {
        self.unheard.set(unheard);
        self.looks_again.set(true);
        if let Some(event_loop) = self.event_loop.get() {
            let fd = self.fd.get();
            event_loop.ready().push_readiness(Readiness { fd, readable: true, writable: false });
        }
    }

    /// One receive.
    #[inline(always)]
    pub(crate) fn receive<B: rustix::buffer::Buffer<u8>>(
        &self,
        space: B,
    ) -> Result<(B::Output, usize), Errno> {
        recv(borrowed(self.descriptor()?), space, RecvFlags::empty())
    }

    /// What asyncio does in `except BaseException`: KeyboardInterrupt and SystemExit go on,
    /// everything else ends the connection.
    #[cold]
    pub(crate) fn failed(&self, raised: Raised, message: &str) -> Res<()> {
        let exception = fetch(raised);
        if is_fatal(&exception) {
            return Err(restore(exception));
        }
        self.fatal_error(&exception, message)
    }
}
