//! The sending side of a datagram transport.
//!
//! A datagram is sent when it is sent, not at the end of the callback: an error belongs to its call,
//! and `error_received` is called before `sendto` returns, as in asyncio. Gathering a callback's
//! datagrams into one `sendmmsg` would save a tenth of their cost when there are many, and change
//! both. What the kernel does not take is kept, with asyncio's flow control, until it does.

use std::ffi::c_int;

use reactor::Interest;
use rustix::io::Errno;
use rustix::net::{SendFlags, send, sendto};

use super::address::SockAddr;
use super::datagram::{DatagramTransport, Life};
use super::datagram_receiving::{is_for_later, report};
use super::datagram_stock::stock;
use super::flow::{Limits, Writing};
use super::pending::borrowed;
use crate::engine::current;
use crate::engine::event_loop::EventLoop;
use crate::py::buffer::{Buffer, bytes, bytes_of, is_bytes_like, is_exact_bytes};
use crate::py::error::{discard, fetch, is_kind, os_error, restore};
use crate::py::{
    Any, Args, AsObject, Builtin, Own, Res, Signature, Stop, Visitor, context, import, names,
    raise, type_error, value,
};

const FATAL: &str = "Fatal write error on datagram transport";

static SENDTO: Signature<2> =
    Signature { method: "sendto", names: [&names::DATA, &names::ADDR], positional: 2, required: 1 };

/// A datagram that the kernel did not take.
pub(super) struct Waiting {
    /// Bytes of our own.
    data: Own<Any>,
    address: Own<Any>,
}

impl Waiting {
    pub(super) fn visit(&self, visitor: &Visitor) -> Result<(), Stop> {
        visitor.object(&*self.address)
    }
}

/// Where a datagram goes.
enum Destination {
    /// The one peer that the kernel knows.
    Peer,
    Address(SockAddr),
}

impl Destination {
    #[inline]
    fn send(&self, fd: c_int, data: &[u8]) -> Result<usize, Errno> {
        if fd < 0 {
            return Err(Errno::BADF);
        }
        match self {
            Destination::Peer => send(borrowed(fd), data, SendFlags::DONTWAIT),
            Destination::Address(to) => sendto(borrowed(fd), data, SendFlags::DONTWAIT, to),
        }
    }
}

/// What came of a send.
enum Departure {
    Sent,
    Later,
    /// An OSError.
    Failed(Own<Any>),
}

impl Departure {
    #[inline(always)]
    fn of(sent: Result<usize, Errno>) -> Departure {
        match sent {
            Ok(_) => Departure::Sent,
            Err(errno) if is_for_later(errno) => Departure::Later,
            Err(errno) => Departure::Failed(fetch(os_error(&errno.into()))),
        }
    }
}

impl DatagramTransport {
    /// `sendto(data, addr=None)`.
    pub(super) fn sendto(&self, args: &Args<'_>) -> Res<()> {
        let [data, address] = args.bind(&SENDTO)?;
        let none = value::none_ref();
        let (data, address) = (data.unwrap_or(none), address.unwrap_or(none));
        if !is_bytes_like(data) {
            let name = value::type_name(data);
            return Err(type_error(&format!(
                "data argument must be a bytes-like object, not '{name}'"
            )));
        }
        // From 3.13 on an empty datagram is one.
        if !cfg!(Py_3_13) && !value::is_true(data)? {
            return Ok(());
        }
        if !self.has_address.get() {
            return self.send_or_keep(data, address);
        }
        let Some(only) = self.address.get() else { return Ok(()) };
        if !address.is_none() && !address.is(&*only) && !address.equals(&only)? {
            let text = format!("Invalid address: must be None or {}", value::str_text(&only)?);
            return Err(raise(Builtin::ValueError.get(), &text));
        }
        if self.lost.get() > 0 {
            return self.count_lost();
        }
        self.send_or_keep(data, &only)
    }

    #[cold]
    fn count_lost(&self) -> Res<()> {
        let limit = import(c"asyncio.constants", c"LOG_THRESHOLD_FOR_CONNLOST_WRITES")?;
        if i64::from(self.lost.get()) >= value::as_int(&limit)? {
            let text = value::string("socket.send() raised exception.")?;
            let logger = import(c"asyncio.selector_events", c"logger")?;
            logger.call_method(&names::WARNING, &[&text])?;
        }
        self.lost.set(self.lost.get().saturating_add(1));
        Ok(())
    }

    #[inline]
    fn send_or_keep(&self, data: &Any, address: &Any) -> Res<()> {
        if self.waiting().is_empty() {
            match self.transmit(data, address) {
                Ok(Departure::Sent) => return Ok(()),
                Ok(Departure::Later) => self.wait_for_room()?,
                Ok(Departure::Failed(exception)) => return self.error_received(&exception),
                Err(raised) => {
                    self.check_life()?;
                    return self.failed(raised, FATAL);
                }
            }
        }
        self.keep(data, address)
    }

    /// After the end asyncio stumbles over what is no longer there, and so do programs that catch it.
    fn check_life(&self) -> Res<()> {
        if self.life.get() != Life::Closed {
            return Ok(());
        }
        let text = "'NoneType' object has no attribute 'call_exception_handler'";
        Err(raise(Builtin::AttributeError.get(), text))
    }

    /// Hands one datagram to the kernel. An error that is not of the operating system is raised.
    #[inline]
    fn transmit(&self, data: &Any, address: &Any) -> Res<Departure> {
        let Some(sock) = self.sock.get() else {
            let method = if self.connected.get() { "send" } else { "sendto" };
            let text = format!("'NoneType' object has no attribute '{method}'");
            return Err(raise(Builtin::AttributeError.get(), &text));
        };
        if let Some(destination) = self.destination(address)? {
            let fd = self.descriptor(&sock)?;
            if is_exact_bytes(data) {
                return Ok(Departure::of(destination.send(fd, bytes_of(data))));
            }
            match Buffer::readable(data) {
                Ok(buffer) => return Ok(Departure::of(destination.send(fd, buffer.as_slice()))),
                // The method raises it again.
                Err(raised) => discard(raised),
            }
        }
        self.transmit_by_method(&sock, data, address)
    }

    /// `None`: the address is not for us to judge.
    #[inline]
    fn destination(&self, address: &Any) -> Res<Option<Destination>> {
        if self.connected.get() {
            return Ok(Some(Destination::Peer));
        }
        Ok(self.memo.destination(self.family.get(), address)?.map(Destination::Address))
    }

    #[cold]
    fn transmit_by_method(&self, sock: &Any, data: &Any, address: &Any) -> Res<Departure> {
        let sent = if self.connected.get() {
            sock.call_method(&names::SEND, &[data])
        } else {
            sock.call_method(&names::SENDTO, &[data, address])
        };
        let Err(raised) = sent else { return Ok(Departure::Sent) };
        let exception = fetch(raised);
        if stock().is_for_later(&exception) {
            Ok(Departure::Later)
        } else if is_kind(&exception, Builtin::OSError.get()) {
            Ok(Departure::Failed(exception))
        } else {
            Err(restore(exception))
        }
    }

    /// The protocol hears of room in the context of whoever sent what did not fit.
    #[cold]
    fn wait_for_room(&self) -> Res<()> {
        self.write_context.set(context::copy_current()?);
        self.want(Interest { write: true, ..self.interest() })
    }

    #[cold]
    fn keep(&self, data: &Any, address: &Any) -> Res<()> {
        // Its owner may change it as soon as we return.
        let copy = if is_exact_bytes(data) { data.own() } else { bytes_from(data)? };
        self.waiting().push_back(Waiting { data: copy, address: address.own() });
        self.count(value::len(data)? as i64 + stock().header_on_entry);
        self.maybe_pause_protocol()
    }

    fn count(&self, change: i64) {
        self.waiting_size.set(self.waiting_size.get() + change);
    }

    /// The socket is writable, or in error.
    #[cold]
    pub(super) fn writable(&self, event_loop: &EventLoop) -> Res<()> {
        current::withdraw(event_loop)?;
        let Some(context) = self.write_context.get() else { return Ok(()) };
        context::enter(&context)?;
        let outcome = self.send_waiting();
        context::exit(&context);
        outcome.or_else(|raised| report(self, event_loop, &names::SENDTO_READY, &context, raised))
    }

    fn send_waiting(&self) -> Res<()> {
        loop {
            // Taken out first: an error's hearer may send more, or close.
            let Some(next) = self.waiting().pop_front() else { break };
            let size = bytes_of(&next.data).len() as i64;
            self.count(-(size + stock().header_on_exit));
            match self.transmit(&next.data, &next.address) {
                Ok(Departure::Sent) => {}
                Ok(Departure::Later) => {
                    self.waiting().push_front(next);
                    self.count(size + stock().header_on_exit);
                    break;
                }
                // The rest goes with the next turn.
                Ok(Departure::Failed(exception)) => return self.error_received(&exception),
                Err(raised) => return self.failed(raised, FATAL),
            }
        }
        // May send more.
        self.maybe_resume_protocol()?;
        if !self.waiting().is_empty() {
            return Ok(());
        }
        self.stop_sending()?;
        match self.life.get() {
            Life::Closing => self.connection_lost(value::none_ref()),
            Life::Open | Life::Ending | Life::Closed => Ok(()),
        }
    }

    pub(super) fn stop_sending(&self) -> Res<()> {
        self.want(Interest { write: false, ..self.interest() })
    }

    fn size_to_limit(&self) -> usize {
        usize::try_from(self.waiting_size.get()).unwrap_or(0)
    }

    /// `set_write_buffer_limits(high=None, low=None)`.
    pub(super) fn set_limits(&self, args: &Args<'_>) -> Res<()> {
        self.limits.set(args)?;
        self.maybe_pause_protocol()
    }
}

impl Writing for DatagramTransport {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn size(&self) -> usize {
        self.size_to_limit()
    }

    fn told(&self) -> Option<Own<Any>> {
        self.protocol.get()
    }

    fn report_failure(&self, message: &str, exception: &Any) -> Res<()> {
        self.report_error(message, exception)
    }
}

/// `bytes(data)`.
fn bytes_from(data: &Any) -> Res {
    bytes(Buffer::readable(data)?.as_slice())
}
