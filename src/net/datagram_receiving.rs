//! The receiving side of a datagram transport.
//!
//! asyncio receives one datagram for each readable socket and turn. Here as many are received as
//! seem to be there, up to a bound, one system call each. Not `recvmmsg`: it saves 150 to 200 ns a
//! datagram when eight or more are waiting, but it takes them off the socket before the protocol has
//! seen the first, which may close the transport, pause it, or give the socket to somebody else.

use std::cell::UnsafeCell;
use std::ffi::c_int;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recvfrom};

use super::address::SockAddr;
use super::datagram::{DatagramTransport, Life};
use super::datagram_stock::stock;
use super::pending::borrowed;
use super::report::callback_failed;
use crate::engine::current;
use crate::engine::event_loop::EventLoop;
use crate::py::buffer::bytes;
use crate::py::error::{fetch, is_fatal, os_error, restore};
use crate::py::{Any, AsObject, Own, Raised, Res, context, names, value};

/// The largest datagram that can be received, asyncio's `max_size`.
pub(super) const MAX_SIZE: usize = 256 * 1024;

thread_local! {
    /// Shared by all transports of a thread: a receive is over before the next begins. Pages that no
    /// datagram reaches cost nothing.
    static BUFFER: UnsafeCell<Box<[u8]>> = UnsafeCell::new(vec![0; MAX_SIZE].into_boxed_slice());
}

/// How many datagrams to look for when the socket is readable.
///
/// To look once more and find nothing costs as much as half a datagram, so who receives one at a
/// time is asked for a second only now and then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Appetite {
    expected: u8,
    until_look: u8,
}

impl Appetite {
    /// Others wait while one socket is emptied.
    const MOST: u8 = 32;
    const LOOK_EVERY: u8 = 16;

    pub(super) const fn new() -> Appetite {
        Appetite { expected: 1, until_look: Appetite::LOOK_EVERY }
    }

    /// How many to look for now.
    fn begin(&mut self) -> u8 {
        if self.expected > 1 {
            return self.expected;
        }
        self.until_look -= 1;
        if self.until_look > 0 {
            return 1;
        }
        self.until_look = Appetite::LOOK_EVERY;
        2
    }

    /// So many were looked for, and so many found.
    fn end(&mut self, looked_for: u8, found: u8) {
        if found < looked_for {
            self.expected = found.max(1);
        } else if looked_for > 1 {
            self.expected = looked_for.saturating_mul(2).min(Appetite::MOST);
        }
    }
}

/// What came of a receive.
enum Arrival {
    Datagram(Own<Any>, Own<Any>),
    Nothing,
    /// An OSError.
    Failed(Own<Any>),
}

/// Datagrams have come, or an error has.
#[inline]
pub(super) fn ready(this: &DatagramTransport, event_loop: &EventLoop) -> Res<()> {
    current::withdraw(event_loop)?;
    let Some(context) = this.read_context.get() else { return Ok(()) };
    context::enter(&context)?;
    let outcome = receive_some(this);
    context::exit(&context);
    outcome.or_else(|raised| report(this, event_loop, &names::READ_READY, &context, raised))
}

/// What a protocol's method raised is reported as of asyncio's own callback, in its context.
#[cold]
pub(super) fn report(
    this: &DatagramTransport,
    event_loop: &EventLoop,
    callback: &'static names::Name,
    context: &Any,
    raised: Raised,
) -> Res<()> {
    let (this, class) = (this.as_any(), &stock().transport_class);
    callback_failed(event_loop, this, class, callback, &[], context, raised)
}

fn receive_some(this: &DatagramTransport) -> Res<()> {
    let mut appetite = this.appetite.get();
    let looked_for = appetite.begin();
    this.appetite.set(appetite);
    let mut found = 0;
    while found < looked_for {
        let (data, address) = match receive(this) {
            Ok(Arrival::Datagram(data, address)) => (data, address),
            Ok(Arrival::Nothing) => break,
            Ok(Arrival::Failed(exception)) => return this.error_received(&exception),
            Err(raised) => {
                return this.failed(raised, "Fatal read error on datagram transport");
            }
        };
        found += 1;
        let Some(protocol) = this.protocol.get() else { return Ok(()) };
        protocol.call_method(&names::DATAGRAM_RECEIVED, &[&data, &address])?;
        if this.life.get() != Life::Open || this.paused.get() {
            return Ok(());
        }
    }
    appetite.end(looked_for, found);
    this.appetite.set(appetite);
    Ok(())
}

#[inline]
fn receive(this: &DatagramTransport) -> Res<Arrival> {
    let Some(sock) = this.sock.get() else { return Ok(Arrival::Nothing) };
    let fd = this.descriptor(&sock)?;
    if fd < 0 {
        return Ok(Arrival::Failed(fetch(os_error(&Errno::BADF.into()))));
    }
    BUFFER.with(|buffer| {
        // SAFETY: this thread's own, and nothing that runs during the borrow comes back here: what
        // is received is copied into bytes first, which runs no Python code.
        let (received, data) = unsafe {
            let buffer = &mut *buffer.get();
            match recvfrom(borrowed(fd), &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((len, _, address)) => (Ok(address), Some(bytes(&buffer[..len])?)),
                Err(errno) => (Err(errno), None),
            }
        };
        match (received, data) {
            (Ok(address), Some(data)) => {
                let address = match address {
                    Some(address) => this.memo.received(&SockAddr::from_any(&address))?,
                    None => value::none(),
                };
                Ok(Arrival::Datagram(data, address))
            }
            (Err(errno), _) if !is_for_later(errno) => {
                Ok(Arrival::Failed(fetch(os_error(&errno.into()))))
            }
            _ => Ok(Arrival::Nothing),
        }
    })
}

/// What Python turns into BlockingIOError and InterruptedError.
pub(super) fn is_for_later(errno: Errno) -> bool {
    matches!(errno, Errno::AGAIN | Errno::ALREADY | Errno::INPROGRESS | Errno::INTR)
}

impl DatagramTransport {
    /// The socket's descriptor as it is now: somebody may have closed the socket behind our back,
    /// and its number may be another's.
    #[inline]
    pub(super) fn descriptor(&self, sock: &Any) -> Res<c_int> {
        Ok(value::as_int(&*sock.call_method(&names::FILENO, &[])?)? as c_int)
    }

    pub(super) fn error_received(&self, exception: &Any) -> Res<()> {
        let protocol = self.protocol.get().unwrap_or_else(value::none);
        protocol.call_method(&names::ERROR_RECEIVED, &[exception]).map(drop)
    }

    /// What asyncio does in `except BaseException`: KeyboardInterrupt and SystemExit go on,
    /// everything else ends the transport.
    #[cold]
    pub(super) fn failed(&self, raised: Raised, message: &str) -> Res<()> {
        let exception = fetch(raised);
        if is_fatal(&exception) {
            return Err(restore(exception));
        }
        self.fatal_error(&exception, message)
    }
}
