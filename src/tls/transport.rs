//! The TLS transport: its state, its birth and its place in the collector.
//!
//! asyncio has two objects here that hold each other, a protocol below and a transport above; this
//! is both. Where a name of asyncio's says more than ours could, it is kept.

use std::cell::Cell;

use super::session::Session;
use super::stock::stock;
use crate::engine::asyncio::asyncio;
use crate::engine::event_loop::{EventLoop, LoopState};
use crate::engine::handle::Handle;
use crate::net::pending::Pending;
use crate::net::protocol::Receiver;
use crate::net::transport::{Transport, TransportState};
use crate::py::error::{is_kind, warn_resource};
use crate::py::{
    Any, AsObject, Class, Managed, Object, Own, Res, Slot, Stop, TypeCell, Visitor, create, error,
    names, track, type_error, value,
};

pub(crate) type TlsTransport = Object<TlsState>;

/// asyncio's `SSLProtocolState`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Unwrapped,
    Handshake,
    Wrapped,
    Flushing,
    Shutdown,
}

impl State {
    /// The name of the member of asyncio's enumeration.
    pub(super) fn name(self) -> &'static str {
        match self {
            State::Unwrapped => "UNWRAPPED",
            State::Handshake => "DO_HANDSHAKE",
            State::Wrapped => "WRAPPED",
            State::Flushing => "FLUSHING",
            State::Shutdown => "SHUTDOWN",
        }
    }
}

/// What the protocol above has heard, asyncio's `AppProtocolState`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Told {
    Nothing,
    Made,
    Eof,
    Lost,
}

/// How much may wait on one side before the other is stopped.
pub(super) struct Marks {
    pub(super) high: Cell<usize>,
    pub(super) low: Cell<usize>,
}

impl Marks {
    const fn new(high: usize) -> Marks {
        Marks { high: Cell::new(high), low: Cell::new(high / 4) }
    }
}

/// `FLOW_CONTROL_HIGH_WATER_SSL_READ` of asyncio, in KiB.
pub(super) const READ_KB: i64 = 256;
/// `FLOW_CONTROL_HIGH_WATER_SSL_WRITE` of asyncio, in KiB.
pub(super) const WRITE_KB: i64 = 512;

/// How a connection is to be secured.
pub(crate) struct Settings<'a> {
    pub(crate) context: &'a Any,
    pub(crate) server_side: bool,
    pub(crate) server_hostname: Option<&'a Any>,
    pub(crate) handshake_timeout: &'a Any,
    pub(crate) shutdown_timeout: &'a Any,
}

/// A TLS transport's fields.
pub(crate) struct TlsState {
    pub(super) event_loop: Slot<EventLoop>,
    /// asyncio's `_transport`: the one below.
    pub(super) below: Slot<Transport>,
    pub(super) session: Session,
    pub(super) protocol: Slot,
    pub(super) receiver: Cell<Receiver>,
    pub(super) state: Cell<State>,
    pub(super) told: Cell<Told>,
    /// The program has closed it, or it is closed.
    pub(super) closed: Cell<bool>,
    /// The program has closed it once more.
    pub(super) forsaken: Cell<bool>,
    /// The transport below is gone.
    pub(super) is_over: Cell<bool>,
    pub(super) eof_received: Cell<bool>,
    /// What was written and is not encrypted yet.
    pub(super) backlog: Pending,
    /// It stands in the loop's outbox.
    pub(super) in_outbox: Cell<bool>,
    /// What is written now will be encrypted by who reads.
    pub(super) reading: Cell<bool>,
    /// `_app_reading_paused`: the protocol wants no data.
    pub(super) paused: Cell<bool>,
    /// `_ssl_reading_paused`: the transport below receives nothing.
    pub(super) below_paused: Cell<bool>,
    /// `_ssl_writing_paused`: the transport below wants nothing more.
    pub(super) below_full: Cell<bool>,
    /// `_app_writing_paused`: the protocol was told to write no more.
    pub(super) protocol_paused: Cell<bool>,
    pub(super) incoming: Marks,
    pub(super) outgoing: Marks,
    pub(super) waiter: Slot,
    pub(super) context: Slot,
    /// What `get_extra_info` knows since the handshake.
    pub(super) extra: Slot,
    pub(super) handshake_timeout: Slot,
    pub(super) shutdown_timeout: Slot,
    pub(super) handshake_timer: Slot,
    pub(super) shutdown_timer: Slot,
    pub(super) handshake_began: Cell<Option<f64>>,
    /// asyncio's `_conn_lost`.
    pub(super) lost: Cell<u32>,
    tracked: Cell<bool>,
    finalized: Cell<bool>,
    dict: Slot,
    weakrefs: Managed,
}

static TYPE: TypeCell = TypeCell::new();

impl Class for TlsState {
    const NAME: &'static std::ffi::CStr = c"aioxide._core.TlsTransport";
    const FINALIZES: bool = true;

    fn cell() -> &'static TypeCell {
        &TYPE
    }
    fn tracked(&self) -> Option<&Cell<bool>> {
        Some(&self.tracked)
    }
    fn weakrefs(&self) -> Option<&Managed> {
        Some(&self.weakrefs)
    }
    fn traverse(object: &TlsTransport, visitor: &Visitor) -> Result<(), Stop> {
        visitor.slot(&object.event_loop)?;
        visitor.slot(&object.below)?;
        object.session.visit(visitor)?;
        for slot in object.slots() {
            visitor.slot(slot)?;
        }
        Ok(())
    }
    fn clear(object: &TlsTransport) {
        object.below.clear();
        object.session.clear();
        for slot in object.slots() {
            slot.clear();
        }
    }
    fn mark_finalized(&self) {
        self.finalized.set(true);
    }
    fn was_finalized(&self) -> bool {
        self.finalized.get()
    }
    fn wants_finalizer(object: &TlsTransport) -> bool {
        !object.closed.get()
    }
    fn finalize(object: &TlsTransport) {
        if object.closed.replace(true) || object.is_unheard_of() {
            return;
        }
        let text = "unclosed transport <asyncio._SSLProtocolTransport object>";
        if let Err(raised) = warn_resource(object.as_any(), text) {
            error::unraisable(raised, object.as_any());
        }
    }
}

impl TlsState {
    fn slots(&self) -> [&Slot; 9] {
        [
            &self.protocol,
            &self.waiter,
            &self.context,
            &self.extra,
            &self.handshake_timeout,
            &self.shutdown_timeout,
            &self.handshake_timer,
            &self.shutdown_timer,
            &self.dict,
        ]
    }

    pub(super) const fn dict_offset() -> usize {
        std::mem::offset_of!(TlsState, dict)
    }

    pub(super) const fn weakrefs_offset() -> usize {
        std::mem::offset_of!(TlsState, weakrefs)
    }

    /// Whether the program cannot know of it: it was accepted and has not come through its handshake.
    /// Nobody can be reminded to close it. (asyncio has a Task do that, cancelled with the others.)
    pub(crate) fn is_unheard_of(&self) -> bool {
        self.state.get() == State::Handshake
            && self.told.get() == Told::Nothing
            && !self.waiter.is_some()
    }

    /// Whether nobody has given it attributes of its own, which may be methods.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        !self.dict.is_some()
    }
}

impl TlsTransport {
    /// A transport for `protocol`, which waits to be told of the one below (`connection_made`).
    pub(crate) fn make(
        event_loop: &Any,
        protocol: &Any,
        settings: &Settings<'_>,
        waiter: Option<&Any>,
        call_connection_made: bool,
    ) -> Res<Own<TlsTransport>> {
        let Some(event_loop) = event_loop.cast::<LoopState>() else {
            return Err(type_error("an aioxide transport needs an aioxide event loop"));
        };
        let session =
            Session::new(settings.context, settings.server_side, settings.server_hostname)?;
        let told = if call_connection_made { Told::Nothing } else { Told::Made };
        let this = create(|| TlsState {
            event_loop: Slot::new(event_loop.own()),
            below: Slot::empty(),
            session,
            protocol: Slot::empty(),
            receiver: Cell::new(Receiver::Protocol),
            state: Cell::new(State::Unwrapped),
            told: Cell::new(told),
            closed: Cell::new(false),
            forsaken: Cell::new(false),
            is_over: Cell::new(false),
            eof_received: Cell::new(false),
            backlog: Pending::new(),
            in_outbox: Cell::new(false),
            reading: Cell::new(false),
            paused: Cell::new(false),
            below_paused: Cell::new(false),
            below_full: Cell::new(false),
            protocol_paused: Cell::new(false),
            incoming: Marks::new(READ_KB as usize * 1024),
            outgoing: Marks::new(WRITE_KB as usize * 1024),
            waiter: Slot::some(waiter.map(AsObject::own)),
            context: Slot::new(settings.context.own()),
            extra: Slot::empty(),
            handshake_timeout: Slot::new(settings.handshake_timeout.own()),
            shutdown_timeout: Slot::new(settings.shutdown_timeout.own()),
            handshake_timer: Slot::empty(),
            shutdown_timer: Slot::empty(),
            handshake_began: Cell::new(None),
            lost: Cell::new(0),
            tracked: Cell::new(false),
            finalized: Cell::new(false),
            dict: Slot::empty(),
            weakrefs: Managed::new(),
        })?;
        track(&this);
        this.set_protocol(protocol)?;
        Ok(this)
    }

    /// `set_protocol(protocol)`.
    pub(super) fn set_protocol(&self, protocol: &Any) -> Res<()> {
        self.receiver.set(Receiver::of(protocol)?);
        self.protocol.set(protocol.own());
        Ok(())
    }

    /// The transport below calls: it is connected. The handshake begins.
    pub(super) fn connection_made(&self, below: &Any) -> Res<()> {
        let Some(below) = below.cast::<TransportState>() else {
            return Err(type_error("native TLS needs a native transport"));
        };
        self.below.set(below.own());
        self.start_handshake()
    }

    pub(super) fn debug(&self) -> bool {
        self.event_loop.get().is_some_and(|event_loop| event_loop.debug())
    }

    /// `loop.call_soon(callback, *args)`.
    pub(super) fn call_soon(&self, callback: &Any, args: &[&Any]) -> Res<()> {
        let Some(event_loop) = self.event_loop.get() else { return Ok(()) };
        event_loop.check_can_schedule()?;
        let handle = Handle::make(&event_loop, callback, args, None)?;
        event_loop.ready().push_handle(handle);
        Ok(())
    }

    /// `loop.call_later(delay, callback)`, where `callback` takes an argument that says nothing.
    pub(super) fn call_later(&self, delay: &Slot, callback: &Any) -> Res {
        let (Some(event_loop), Some(delay)) = (self.event_loop.get(), delay.get()) else {
            return Ok(value::none());
        };
        let args: [&Any; 3] = [&delay, callback, value::none_ref()];
        event_loop.as_any().call_method(&names::CALL_LATER, &args)
    }

    /// Tells who waits for the handshake.
    pub(super) fn wake_waiter(&self, exception: Option<&Any>) -> Res<()> {
        let Some(waiter) = self.waiter.take() else { return Ok(()) };
        if value::is_true(&*waiter.call_method(&names::CANCELLED, &[])?)? {
            return Ok(());
        }
        match exception {
            Some(exception) => waiter.call_method(&names::SET_EXCEPTION, &[exception]),
            None => waiter.call_method(&names::SET_RESULT, &[value::none_ref()]),
        }
        .map(drop)
    }

    /// asyncio's `_fatal_error`.
    pub(super) fn fatal_error(&self, exception: &Any, message: &str) -> Res<()> {
        // What was written before goes out first, as it would have at once.
        self.encrypt_written();
        if let Some(below) = self.below.get() {
            below.force_close(exception)?;
        }
        if is_kind(exception, crate::py::Builtin::OSError.get()) {
            if self.debug() {
                let (format, message) = (value::string("%s: %s")?, value::string(message)?);
                let name = value::string(&self.protocol_name())?;
                asyncio().logger.call_method_named(
                    &names::DEBUG,
                    &[&format, &name, &message],
                    &names::EXC_INFO,
                    exception,
                )?;
            }
            return Ok(());
        }
        if is_kind(exception, &asyncio().cancelled_error) {
            return Ok(());
        }
        self.report(message, exception, self.below.get().as_deref().map(AsObject::as_any))
    }

    /// Hands an exception to the loop's handler.
    pub(super) fn report(
        &self,
        message: &str,
        exception: &Any,
        transport: Option<&Any>,
    ) -> Res<()> {
        let Some(event_loop) = self.event_loop.get() else { return Ok(()) };
        let text = value::string(message)?;
        let details = value::dict_of(&[
            (&names::MESSAGE, &text),
            (&names::EXCEPTION, exception),
            (&names::TRANSPORT, transport.unwrap_or(value::none_ref())),
            (&names::PROTOCOL, self.as_any()),
        ])?;
        event_loop.as_any().call_method(&names::CALL_EXCEPTION_HANDLER, &[&details]).map(drop)
    }

    /// Runs `work` as asyncio's `try: … except Exception` does that ends in `_fatal_error`.
    pub(super) fn or_fatal(&self, outcome: Res<()>) -> Res<()> {
        let Err(raised) = outcome else { return Ok(()) };
        let exception = error::fetch(raised);
        if !is_kind(&exception, &stock().exception) {
            self.encrypt_written();
            return Err(error::restore(exception));
        }
        self.fatal_error(&exception, "Fatal error on SSL protocol")
    }
}

/// Cancels a timer, if there is one.
pub(super) fn cancel(timer: &Slot) -> Res<()> {
    match timer.take() {
        Some(timer) => timer.call_method(&names::CANCEL, &[]).map(drop),
        None => Ok(()),
    }
}
