//! StreamWriter: a transport, and `drain()`.
//!
//! `drain()` and `wait_closed()` wait in the protocol's own list or future; over a protocol that is
//! not ours, or has methods of its own, they await what it returns.

use super::protocol::{ProtocolState, StreamReaderProtocol};
use super::reader::{ReaderState, raise_stored};
use super::stock::stock;
use super::transport;
use crate::py::error::{restore, unraisable};
use crate::py::{
    Any, AsObject, Class, Managed, Object, Own, Res, Sent, Slot, Stop, TypeCell, Visitor, names,
    value,
};
use crate::tasks::coroutine::{Behaviour, Coroutine, returned_none};

pub(crate) type StreamWriter = Object<WriterState>;

/// A StreamWriter's fields.
pub(crate) struct WriterState {
    pub(super) transport: Slot,
    pub(super) protocol: Slot,
    pub(super) reader: Slot,
    pub(super) event_loop: Slot,
    /// `_complete_fut`, of which nobody has heard for long.
    pub(super) complete: Slot,
    pub(super) dict: Slot,
    pub(super) weakrefs: Managed,
}

pub(super) static TYPE: TypeCell = TypeCell::new();

impl Class for WriterState {
    const NAME: &'static std::ffi::CStr = c"aioxide.StreamWriter";
    const FINALIZES: bool = true;

    fn cell() -> &'static TypeCell {
        &TYPE
    }
    fn weakrefs(&self) -> Option<&Managed> {
        Some(&self.weakrefs)
    }
    fn traverse(object: &StreamWriter, visitor: &Visitor) -> Result<(), Stop> {
        for slot in object.slots() {
            visitor.slot(slot)?;
        }
        Ok(())
    }
    fn clear(object: &StreamWriter) {
        for slot in object.slots() {
            slot.clear();
        }
    }
    fn wants_finalizer(object: &StreamWriter) -> bool {
        object.transport.is_some()
    }
    fn finalize(object: &StreamWriter) {
        if let Err(raised) = object.close_if_forgotten() {
            unraisable(raised, object.as_any());
        }
    }
}

impl WriterState {
    pub(super) fn blank() -> WriterState {
        WriterState {
            transport: Slot::empty(),
            protocol: Slot::empty(),
            reader: Slot::empty(),
            event_loop: Slot::empty(),
            complete: Slot::empty(),
            dict: Slot::empty(),
            weakrefs: Managed::new(),
        }
    }

    fn slots(&self) -> [&Slot; 6] {
        [
            &self.transport,
            &self.protocol,
            &self.reader,
            &self.event_loop,
            &self.complete,
            &self.dict,
        ]
    }
}

pub(super) static DRAINING: Behaviour =
    Behaviour { qualname: "StreamWriter.drain", resume: resume_drain };
pub(super) static CLOSING: Behaviour =
    Behaviour { qualname: "StreamWriter.wait_closed", resume: resume_wait_closed };

/// The place of a coroutine that waits in the protocol's list.
const WAITING: u8 = 1;
/// The place of one that has let the loop turn once.
const YIELDED: u8 = 2;
/// The place of one that awaits what the protocol returned.
const FOLLOWING: u8 = 3;

impl StreamWriter {
    /// The transport; None if there is none, which has no methods either.
    #[inline(always)]
    pub(super) fn transport(&self) -> Own<Any> {
        self.transport.get().unwrap_or_else(value::none)
    }

    #[inline(always)]
    fn protocol(&self) -> Own<Any> {
        self.protocol.get().unwrap_or_else(value::none)
    }

    /// Raises what the reader's connection was lost with.
    #[inline(always)]
    fn check_reader(&self) -> Res<()> {
        let Some(reader) = self.reader.get() else { return Ok(()) };
        let exception = match reader.cast::<ReaderState>() {
            Some(reader) => reader.exception()?,
            None => Some(reader.call_method(&names::EXCEPTION, &[])?).filter(|e| !e.is_none()),
        };
        exception.map_or(Ok(()), |exception| Err(raise_stored(&exception)))
    }

    /// `__del__`: what asyncio's does, which is not the same in all versions.
    fn close_if_forgotten(&self) -> Res<()> {
        let Some(transport) = self.transport.get() else { return Ok(()) };
        if transport::is_closing(&transport)? {
            return Ok(());
        }
        stock().writer.attr(&names::DEL)?.call(&[self.as_any()]).map(drop)
    }
}

fn resume_drain(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    match this.place.get() {
        WAITING => {
            // The list in which it stands: the writer may have got another protocol.
            let protocol = this.item.get().unwrap_or_else(value::none);
            return match protocol.cast::<ProtocolState>() {
                Some(protocol) => protocol.drained(this, exception),
                None => returned_none(),
            };
        }
        FOLLOWING => return nothing_of(this.drive(exception)?),
        YIELDED => {
            if let Some(exception) = exception {
                return Err(restore(exception));
            }
        }
        _ => {}
    }
    let writer = this.owner_as::<WriterState>()?;
    if this.place.get() != YIELDED {
        writer.check_reader()?;
        if transport::is_closing(&writer.transport())? {
            // The loop may call connection_lost() meanwhile; or else who writes and drains in a
            // loop would never hear of it.
            this.place.set(YIELDED);
            return Ok(Sent::Yielded(value::none()));
        }
    }
    let protocol = writer.protocol();
    if let Some(ours) = protocol.cast::<ProtocolState>()
        && ours.drains_plainly()
    {
        return drain_plainly(this, ours);
    }
    this.await_inner(&*protocol.call_method(&names::DRAIN_HELPER, &[])?)?;
    this.place.set(FOLLOWING);
    nothing_of(this.drive(None)?)
}

#[inline(always)]
fn drain_plainly(this: &Coroutine, protocol: &StreamReaderProtocol) -> Res<Sent> {
    match protocol.drain(this)? {
        None => returned_none(),
        Some(waits) => {
            this.item.set(protocol.own().into_any());
            this.place.set(WAITING);
            Ok(waits)
        }
    }
}

fn resume_wait_closed(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    if this.place.get() == FOLLOWING {
        return nothing_of(this.drive(exception)?);
    }
    let writer = this.owner_as::<WriterState>()?;
    let protocol = writer.protocol();
    if let Some(ours) = protocol.cast::<ProtocolState>()
        && ours.closes_plainly()
        && let Some(end) = ours.known_end()
    {
        return end.and_then(|()| returned_none());
    }
    let closed = protocol.call_method(&names::GET_CLOSE_WAITER, &[writer.as_any()])?;
    this.await_inner(&closed)?;
    this.place.set(FOLLOWING);
    nothing_of(this.drive(None)?)
}

/// What is awaited for its end only.
fn nothing_of(sent: Sent) -> Res<Sent> {
    match sent {
        Sent::Yielded(yielded) => Ok(Sent::Yielded(yielded)),
        Sent::Returned(_) => returned_none(),
    }
}
