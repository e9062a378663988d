//! StreamReaderProtocol: what a transport calls, for a reader and for writers that drain.
//!
//! It is asyncio's class with its mixin, method by method. Writers that wait until the transport
//! takes more stand in one list of waiters. The future of `wait_closed()` is made only for those
//! who ask for it; until then it is noted how the connection ended.

use std::cell::Cell;

use super::hooks::{Hooks, Methods};
use super::reader::{ReaderState, StreamReader, assertion, raise_stored};
use super::stock::stock;
use crate::engine::asyncio::asyncio;
use crate::py::error::{restore, unraisable};
use crate::py::{
    Any, AsObject, Class, Global, Managed, Object, Own, Raised, Res, Sent, Slot, Stop, TypeCell,
    Visitor, import, names, raise, value, weak,
};
use crate::tasks::coroutine::{Behaviour, Coroutine, returned_none};
use crate::tasks::waiters::Waiters;

pub(crate) type StreamReaderProtocol = Object<ProtocolState>;

/// A StreamReaderProtocol's fields.
pub(crate) struct ProtocolState {
    pub(super) event_loop: Slot,
    /// A weak reference to the reader: who reads keeps it, not the connection.
    pub(super) reader: Slot,
    pub(super) strong_reader: Slot,
    pub(super) transport: Slot,
    pub(super) client_connected: Slot,
    pub(super) task: Slot,
    /// Up to 3.12.
    pub(super) writer: Slot,
    pub(super) source_traceback: Slot,
    pub(super) paused: Cell<bool>,
    pub(super) connection_lost: Cell<bool>,
    pub(super) reject_connection: Cell<bool>,
    pub(super) over_ssl: Cell<bool>,
    pub(super) drainers: Waiters,
    end: Cell<End>,
    end_exception: Slot,
    closed: Slot,
    hooks: Hooks,
    pub(super) dict: Slot,
    pub(super) weakrefs: Managed,
}

/// How the connection ended, for `wait_closed()`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    NotYet,
    Clean,
    Failed,
}

pub(super) static TYPE: TypeCell = TypeCell::new();

impl Class for ProtocolState {
    const NAME: &'static std::ffi::CStr = c"aioxide.StreamReaderProtocol";
    const FINALIZES: bool = true;

    fn cell() -> &'static TypeCell {
        &TYPE
    }
    fn weakrefs(&self) -> Option<&Managed> {
        Some(&self.weakrefs)
    }
    fn traverse(object: &StreamReaderProtocol, visitor: &Visitor) -> Result<(), Stop> {
        for slot in object.slots() {
            visitor.slot(slot)?;
        }
        object.drainers.visit(visitor)
    }
    fn clear(object: &StreamReaderProtocol) {
        for slot in object.slots() {
            slot.clear();
        }
        object.drainers.clear();
    }
    fn wants_finalizer(object: &StreamReaderProtocol) -> bool {
        object.closed.is_some()
    }
    fn finalize(object: &StreamReaderProtocol) {
        if let Err(raised) = object.retrieve_end() {
            unraisable(raised, object.as_any());
        }
    }
}

impl ProtocolState {
    pub(super) fn blank() -> ProtocolState {
        ProtocolState {
            event_loop: Slot::empty(),
            reader: Slot::empty(),
            strong_reader: Slot::empty(),
            transport: Slot::empty(),
            client_connected: Slot::empty(),
            task: Slot::empty(),
            writer: Slot::empty(),
            source_traceback: Slot::empty(),
            paused: Cell::new(false),
            connection_lost: Cell::new(false),
            reject_connection: Cell::new(false),
            over_ssl: Cell::new(false),
            drainers: Waiters::new(),
            end: Cell::new(End::NotYet),
            end_exception: Slot::empty(),
            closed: Slot::empty(),
            hooks: Hooks::new(),
            dict: Slot::empty(),
            weakrefs: Managed::new(),
        }
    }

    fn slots(&self) -> [&Slot; 11] {
        [
            &self.event_loop,
            &self.reader,
            &self.strong_reader,
            &self.transport,
            &self.client_connected,
            &self.task,
            &self.writer,
            &self.source_traceback,
            &self.end_exception,
            &self.closed,
            &self.dict,
        ]
    }
}

/// What a transport, a writer and our own methods call.
pub(super) static METHODS: Methods<5> = Methods::new([
    &names::STREAM_READER,
    &names::DATA_RECEIVED,
    &names::DRAIN_HELPER,
    &names::GET_CLOSE_WAITER,
    &names::EOF_RECEIVED,
]);
const STREAM_READER: u16 = 1;
const DATA_RECEIVED: u16 = 1 << 1;
const DRAIN_HELPER: u16 = 1 << 2;
const GET_CLOSE_WAITER: u16 = 1 << 3;

pub(super) static DRAINING: Behaviour =
    Behaviour { qualname: "FlowControlMixin._drain_helper", resume: resume_drain_helper };

/// The place of a coroutine that waits until the transport takes more.
const WAITING: u8 = 1;

impl StreamReaderProtocol {
    /// The methods that a subclass, or the object's dict, has of its own.
    #[inline(always)]
    fn hooks(&self) -> u16 {
        self.hooks.find(&METHODS, self.as_any(), &self.dict)
    }

    /// The reader that a transport may hand its data to directly: `data_received` would do nothing
    /// else. None if somebody else has a say in it, or if nobody reads any more.
    #[inline]
    pub(crate) fn plain_reader(&self) -> Option<Own<StreamReader>> {
        if self.hooks() & (STREAM_READER | DATA_RECEIVED) != 0 {
            return None;
        }
        // A weak reference of the interpreter's own make runs nothing.
        let reader = self.reader.get().and_then(|reference| weak::referent(&reference).ok()?)?;
        let reader = reader.cast::<ReaderState>()?.own();
        reader.is_plain().then_some(reader)
    }

    /// Whether `_drain_helper()` is ours.
    #[inline(always)]
    pub(super) fn drains_plainly(&self) -> bool {
        self.hooks() & DRAIN_HELPER == 0
    }

    /// Whether `_get_close_waiter()` is ours.
    #[inline(always)]
    pub(super) fn closes_plainly(&self) -> bool {
        self.hooks() & GET_CLOSE_WAITER == 0
    }

    /// `__init__`.
    pub(super) fn begin(
        &self,
        reader: &Any,
        client_connected: Option<&Any>,
        event_loop: Option<&Any>,
    ) -> Res<()> {
        let event_loop = match event_loop.filter(|given| !given.is_none()) {
            Some(event_loop) => event_loop.own(),
            // By its name: it may have been replaced.
            None => asyncio().events.call_method(&names::GET_EVENT_LOOP, &[])?,
        };
        self.event_loop.set(event_loop);
        self.paused.set(false);
        self.connection_lost.set(false);
        self.drainers.clear();
        if reader.is_none() {
            self.reader.clear();
        } else {
            self.reader.set(weak::reference(reader)?);
            let stack = match reader.cast::<ReaderState>() {
                Some(reader) => reader.source_traceback.get(),
                None => Some(reader.attr(&names::SOURCE_TRACEBACK_ATTR)?),
            };
            self.source_traceback.put(stack.filter(|stack| !stack.is_none()));
        }
        let client_connected = client_connected.filter(|given| !given.is_none());
        if client_connected.is_some() {
            // Nobody else knows the reader until a connection is made.
            self.strong_reader.set(reader.own());
        }
        self.client_connected.put(client_connected.map(AsObject::own));
        self.reject_connection.set(false);
        self.task.clear();
        self.transport.clear();
        self.over_ssl.set(false);
        self.closed.clear();
        self.end.set(End::NotYet);
        self.end_exception.clear();
        Ok(())
    }

    /// `_stream_reader`.
    #[inline]
    pub(super) fn stream_reader(&self) -> Res<Option<Own<Any>>> {
        match self.reader.get() {
            Some(reference) => weak::referent(&reference),
            None => Ok(None),
        }
    }

    /// `_stream_reader`, whoever says so.
    #[inline]
    fn find_reader(&self) -> Res<Option<Own<Any>>> {
        if self.hooks() & STREAM_READER != 0 {
            let found = self.as_any().attr(&names::STREAM_READER)?;
            return Ok(Some(found).filter(|found| !found.is_none()));
        }
        self.stream_reader()
    }

    /// `data_received`.
    #[inline]
    pub(super) fn data_received(&self, data: &Any) -> Res<()> {
        let Some(reader) = self.find_reader()? else { return Ok(()) };
        match reader.cast::<ReaderState>() {
            Some(reader) => reader.feed(data),
            None => reader.call_method(&names::FEED_DATA, &[data]).map(drop),
        }
    }

    /// `eof_received`: whether the transport is to stay open for writing.
    pub(super) fn eof_received(&self) -> Res<bool> {
        if let Some(reader) = self.find_reader()? {
            feed_eof(&reader)?;
        }
        // TLS has no half-closed connections, and warns of who wants one.
        Ok(!self.over_ssl.get())
    }

    /// `connection_made`.
    pub(super) fn connection_made(&self, transport: &Any) -> Res<()> {
        if self.reject_connection.get() {
            return helpers()?.refuse.call(&[self.as_any(), transport]).map(drop);
        }
        self.transport.set(transport.own());
        let reader = self.find_reader()?;
        if let Some(reader) = &reader {
            reader.call_method(&names::SET_TRANSPORT, &[transport])?;
        }
        let context =
            transport.call_method(&names::GET_EXTRA_INFO, &[&*value::string("sslcontext")?])?;
        self.over_ssl.set(!context.is_none());
        if self.client_connected.is_some() {
            let reader = reader.as_deref().unwrap_or(value::none_ref());
            helpers()?.serve.call(&[self.as_any(), transport, reader])?;
        }
        Ok(())
    }

    /// `connection_lost`.
    pub(super) fn connection_is_lost(&self, exception: &Any) -> Res<()> {
        if let Some(reader) = self.find_reader()? {
            if exception.is_none() {
                feed_eof(&reader)?;
            } else if let Some(reader) = reader.cast::<ReaderState>() {
                reader.fail(exception)?;
            } else {
                reader.call_method(&names::SET_EXCEPTION, &[exception])?;
            }
        }
        self.note_end(exception)?;
        self.connection_lost.set(true);
        if self.paused.get() {
            self.drainers.each(|waiter| {
                if exception.is_none() { waiter.wake() } else { waiter.fail(exception) }
                    .map(|()| true)
            })?;
        }
        self.reader.clear();
        self.writer.clear();
        self.task.clear();
        self.transport.clear();
        Ok(())
    }

    /// Finishes `_closed`, or remembers how it would be finished.
    fn note_end(&self, exception: &Any) -> Res<()> {
        if let Some(closed) = self.closed.get() {
            return finish(&closed, (!exception.is_none()).then_some(exception));
        }
        if self.end.get() == End::NotYet {
            if exception.is_none() {
                self.end.set(End::Clean);
            } else {
                self.end_exception.set(exception.own());
                self.end.set(End::Failed);
            }
        }
        Ok(())
    }

    /// `_closed`.
    pub(super) fn closed(&self) -> Res {
        if let Some(closed) = self.closed.get() {
            return Ok(closed);
        }
        let event_loop = self.event_loop.get().unwrap_or_else(value::none);
        let closed = event_loop.call_method(&names::CREATE_FUTURE, &[])?;
        if self.end.get() != End::NotYet {
            finish(&closed, self.end_exception.get().as_deref())?;
        }
        self.closed.set(closed.clone());
        Ok(closed)
    }

    pub(super) fn set_closed(&self, future: &Any) {
        self.closed.set(future.own());
    }

    /// What `await self._closed` gives, if that is known and nobody has asked for the future.
    pub(super) fn known_end(&self) -> Option<Res<()>> {
        if self.closed.is_some() {
            return None;
        }
        match self.end.get() {
            End::NotYet => None,
            End::Clean => Some(Ok(())),
            End::Failed => Some(Err(self
                .end_exception
                .get()
                .map_or(Raised, |exception| raise_stored(&exception)))),
        }
    }

    /// `__del__`: what the connection ended with is nothing that somebody forgot to look at.
    fn retrieve_end(&self) -> Res<()> {
        let Some(closed) = self.closed.get() else { return Ok(()) };
        if value::is_true(&*closed.call_method(&names::DONE, &[])?)?
            && !value::is_true(&*closed.call_method(&names::CANCELLED, &[])?)?
        {
            closed.call_method(&names::EXCEPTION, &[])?;
        }
        Ok(())
    }

    /// `pause_writing`.
    pub(super) fn pause_writing(&self) -> Res<()> {
        if self.paused.replace(true) {
            return Err(assertion_failed());
        }
        self.log("pauses writing")
    }

    /// `resume_writing`.
    pub(super) fn resume_writing(&self) -> Res<()> {
        if !self.paused.replace(false) {
            return Err(assertion_failed());
        }
        self.log("resumes writing")?;
        self.drainers.wake_pending(usize::MAX)
    }

    /// Says in debug mode what the transport wants.
    fn log(&self, what: &str) -> Res<()> {
        let event_loop = self.event_loop.get().unwrap_or_else(value::none);
        if !value::is_true(&*event_loop.call_method(&names::GET_DEBUG, &[])?)? {
            return Ok(());
        }
        let text = value::string(&format!("%r {what}"))?;
        let logger = import(c"asyncio.log", c"logger")?;
        logger.call_method(&names::DEBUG, &[&text, self.as_any()]).map(drop)
    }

    /// `_drain_helper()`, as far as the wait: None if there is nothing to wait for.
    #[inline]
    pub(super) fn drain(&self, this: &Coroutine) -> Res<Option<Sent>> {
        if self.connection_lost.get() {
            return Err(raise(&stock().connection_reset, "Connection lost"));
        }
        if !self.paused.get() {
            return Ok(None);
        }
        self.drainers.push(this);
        this.wait().map(Some)
    }

    /// What follows that wait.
    pub(super) fn drained(&self, this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
        let _left = self.drainers.remove(this);
        exception.map_or_else(returned_none, |exception| Err(restore(exception)))
    }
}

fn assertion_failed() -> Raised {
    assertion("")
}

fn finish(closed: &Any, exception: Option<&Any>) -> Res<()> {
    if value::is_true(&*closed.call_method(&names::DONE, &[])?)? {
        return Ok(());
    }
    match exception {
        Some(exception) => closed.call_method(&names::SET_EXCEPTION, &[exception]),
        None => closed.call_method(&names::SET_RESULT, &[value::none_ref()]),
    }
    .map(drop)
}

fn feed_eof(reader: &Any) -> Res<()> {
    match reader.cast::<ReaderState>() {
        Some(reader) => reader.end(),
        None => reader.call_method(&names::FEED_EOF, &[]).map(drop),
    }
}

fn resume_drain_helper(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    let protocol = this.owner_as::<ProtocolState>()?;
    if this.place.get() == WAITING {
        return protocol.drained(this, exception);
    }
    this.place.set(WAITING);
    match protocol.drain(this)? {
        Some(waits) => Ok(waits),
        None => returned_none(),
    }
}

/// What runs once a connection, in Python.
struct Helpers {
    serve: Own<Any>,
    refuse: Own<Any>,
}

static HELPERS: Global<Helpers> = Global::new();

fn helpers() -> Res<&'static Helpers> {
    if HELPERS.peek().is_none() {
        let (serve, refuse) =
            (import(c"aioxide.streaming", c"serve")?, import(c"aioxide.streaming", c"refuse")?);
        HELPERS.fill(Helpers { serve, refuse });
    }
    Ok(HELPERS.get())
}
