//! StreamReader: the bytes received, who waits for them, and the transport's pauses.
//!
//! A read whose bytes are there takes them and is done; one that has to wait is itself what the
//! Task parks on, and `_waiter`. Bytes belong to the reader until a read returns: one that is
//! cancelled loses none. The buffer is bounded by the transport: it is paused above twice the
//! limit, and resumed when what is left is within the limit.

use std::cell::Cell;
use std::mem::MaybeUninit;

use super::buffer::Buffer;
use super::hooks::{Hooks, Methods};
use super::stock::stock;
use super::transport;
use crate::engine::asyncio::asyncio;
use crate::net::streaming::receive_now;
use crate::py::class::raise_object;
use crate::py::error::{fetch, is_kind, raise_instance, restore};
use crate::py::{
    Any, AsObject, Builtin, Class, Managed, Object, Own, Raised, Res, Sent, Slot, Stop, TypeCell,
    Visitor, names, raise, runtime_error, value,
};
use crate::tasks::coroutine::{Coroutine, CoroutineState};

pub(crate) type StreamReader = Object<ReaderState>;

/// `_DEFAULT_LIMIT`.
pub(super) const DEFAULT_LIMIT: usize = 1 << 16;

/// A StreamReader's fields.
pub(crate) struct ReaderState {
    pub(super) buffer: Buffer,
    limit: Cell<usize>,
    /// The limit as it was given.
    limit_object: Slot,
    pub(super) eof: Cell<bool>,
    /// There is something to receive, which the coroutine that was woken for it will do.
    arrived: Cell<bool>,
    pub(super) paused: Cell<bool>,
    pub(super) exception: Slot,
    /// The coroutine that waits for data, or whatever was put into `_waiter`.
    pub(super) waiter: Slot,
    pub(super) transport: Slot,
    pub(super) event_loop: Slot,
    pub(super) source_traceback: Slot,
    /// Who waits for a separator, and how much of the buffer it has searched.
    searched: Cell<(*const Coroutine, usize)>,
    hooks: Hooks,
    pub(super) dict: Slot,
    pub(super) weakrefs: Managed,
}

pub(super) static TYPE: TypeCell = TypeCell::new();

impl Class for ReaderState {
    const NAME: &'static std::ffi::CStr = c"aioxide.StreamReader";

    fn cell() -> &'static TypeCell {
        &TYPE
    }
    fn weakrefs(&self) -> Option<&Managed> {
        Some(&self.weakrefs)
    }
    fn traverse(object: &StreamReader, visitor: &Visitor) -> Result<(), Stop> {
        object.buffer.visit(visitor)?;
        visitor.slot(&object.limit_object)?;
        visitor.slot(&object.exception)?;
        visitor.slot(&object.waiter)?;
        visitor.slot(&object.transport)?;
        visitor.slot(&object.event_loop)?;
        visitor.slot(&object.source_traceback)?;
        visitor.slot(&object.dict)
    }
    fn clear(object: &StreamReader) {
        object.buffer.forget();
        object.limit_object.clear();
        object.exception.clear();
        object.waiter.clear();
        object.transport.clear();
        object.event_loop.clear();
        object.source_traceback.clear();
        object.dict.clear();
    }
}

/// The methods that reading and feeding call.
pub(super) static METHODS: Methods<10> = Methods::new([
    &names::READ,
    &names::READLINE,
    &names::READUNTIL,
    &names::WAIT_FOR_DATA,
    &names::WAKEUP_WAITER,
    &names::MAYBE_RESUME_TRANSPORT,
    &names::FEED_DATA,
    &names::FEED_EOF,
    &names::SET_EXCEPTION,
    &names::EXCEPTION,
]);
pub(super) const READ: u16 = 1;
pub(super) const READLINE: u16 = 1 << 1;
pub(super) const READUNTIL: u16 = 1 << 2;
const WAIT_FOR_DATA: u16 = 1 << 3;
const WAKEUP_WAITER: u16 = 1 << 4;
const MAYBE_RESUME: u16 = 1 << 5;
const FEED_DATA: u16 = 1 << 6;
const FEED_EOF: u16 = 1 << 7;
const SET_EXCEPTION: u16 = 1 << 8;
const EXCEPTION: u16 = 1 << 9;

/// The place of a coroutine that waits for data.
pub(super) const WAITING: u8 = 1;
/// The place of one that awaits a subclass's method.
pub(super) const FOLLOWING: u8 = 2;

impl ReaderState {
    pub(super) fn blank() -> ReaderState {
        ReaderState {
            buffer: Buffer::new(),
            limit: Cell::new(DEFAULT_LIMIT),
            limit_object: Slot::empty(),
            eof: Cell::new(false),
            arrived: Cell::new(false),
            paused: Cell::new(false),
            exception: Slot::empty(),
            waiter: Slot::empty(),
            transport: Slot::empty(),
            event_loop: Slot::empty(),
            source_traceback: Slot::empty(),
            searched: Cell::new((std::ptr::null(), 0)),
            hooks: Hooks::new(),
            dict: Slot::empty(),
            weakrefs: Managed::new(),
        }
    }
}

/// `raise exception`, of what is an exception or a class of them.
#[cold]
pub(super) fn raise_stored(exception: &Any) -> Raised {
    if value::is_exception(exception) { raise_instance(exception) } else { raise_object(exception) }
}

/// `assert` failed.
#[cold]
pub(super) fn assertion(message: &str) -> Raised {
    raise(Builtin::AssertionError.get(), message)
}

/// What a native transport does for a reader: it hands in what it has received, without any
/// protocol. None of this runs Python code, as long as the reader is plain.
impl StreamReader {
    /// Whether feeding this reader by hand would do nothing else.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        self.hooks() & (FEED_DATA | WAKEUP_WAITER) == 0
    }

    #[inline(always)]
    fn check_open(&self) -> Res<()> {
        if self.eof.get() { Err(assertion("feed_data after feed_eof")) } else { Ok(()) }
    }

    /// Takes over a received `bytes`: into an empty buffer, as it is.
    #[inline]
    pub(crate) fn receive_bytes(&self, received: &Any) -> Res<()> {
        self.check_open()?;
        self.buffer.append_object(received)
    }

    /// Copies what was received elsewhere.
    #[inline]
    pub(crate) fn receive_copy(&self, received: &[u8]) -> Res<()> {
        self.check_open()?;
        self.buffer.append(received)
    }

    /// Lets `receive` fill `room` bytes or more behind what the buffer holds already, which is best
    /// if it does hold something.
    ///
    /// # Safety
    /// As many bytes as `receive` says are initialised, and it does not call Python.
    pub(crate) unsafe fn receive_into<E>(
        &self,
        room: usize,
        receive: impl FnOnce(&mut [MaybeUninit<u8>]) -> Result<usize, E>,
    ) -> Result<Res<usize>, E> {
        if let Err(raised) = self.check_open() {
            return Ok(Err(raised));
        }
        // SAFETY: the caller's promise.
        unsafe { self.buffer.receive(room, receive) }
    }

    /// Wakes who waits for bytes, who will receive them by itself; whether there is such a one.
    #[inline]
    pub(crate) fn announce(&self, transport: &Any) -> Res<bool> {
        let waits = |waiter: &Any| waiter.cast_exact::<CoroutineState>().is_some();
        // SAFETY: a look at the fields; nothing runs.
        let is_awaited = unsafe { self.waiter.peek() }.is_some_and(waits);
        if !is_awaited || !self.transport.holds(transport) {
            return Ok(false);
        }
        self.arrived.set(true);
        self.wake_waiter().map(|()| true)
    }

    /// The transport that feeds this reader.
    #[inline(always)]
    pub(crate) fn transport(&self) -> Option<Own<Any>> {
        self.transport.get()
    }

    /// Whether who reads need not wait on.
    #[inline(always)]
    pub(crate) fn has_news(&self) -> bool {
        !self.buffer.is_empty() || self.eof.get()
    }

    /// Wakes who waits for what was received. Whether `pause` is to be called now.
    #[inline]
    pub(crate) fn received_quietly(&self) -> Res<bool> {
        self.arrived.set(false);
        self.wake_waiter()?;
        Ok(self.holds_too_much())
    }

    /// Whether nothing received waits to be read.
    #[inline(always)]
    pub(crate) fn is_drained(&self) -> bool {
        self.buffer.is_empty()
    }

    #[inline(always)]
    fn holds_too_much(&self) -> bool {
        self.buffer.len() > 2 * self.limit.get() && !self.paused.get() && self.transport.is_some()
    }
}

impl StreamReader {
    /// `feed_eof()`, whoever says so.
    pub(super) fn end(&self) -> Res<()> {
        let hooks = self.hooks();
        if hooks & FEED_EOF != 0 {
            return self.as_any().call_method(&names::FEED_EOF, &[]).map(drop);
        }
        self.feed_eof()
    }

    /// The methods that a subclass, or the object's dict, has of its own.
    #[inline(always)]
    pub(super) fn hooks(&self) -> u16 {
        self.hooks.find(&METHODS, self.as_any(), &self.dict)
    }

    /// `__init__`.
    pub(super) fn begin(&self, limit: Option<&Any>, event_loop: Option<&Any>) -> Res<()> {
        match limit {
            None => {
                self.limit.set(DEFAULT_LIMIT);
                self.limit_object.clear();
            }
            Some(limit) => {
                if value::is_at_most(limit, &*value::int(0)?)? {
                    return Err(raise(Builtin::ValueError.get(), "Limit cannot be <= 0"));
                }
                self.set_limit(limit)?;
            }
        }
        let event_loop = match event_loop.filter(|given| !given.is_none()) {
            Some(event_loop) => event_loop.own(),
            // By its name: it may have been replaced.
            None => asyncio().events.call_method(&names::GET_EVENT_LOOP, &[])?,
        };
        self.event_loop.set(event_loop.clone());
        self.buffer.forget();
        self.eof.set(false);
        self.waiter.clear();
        self.exception.clear();
        self.transport.clear();
        self.paused.set(false);
        if value::is_true(&*event_loop.call_method(&names::GET_DEBUG, &[])?)? {
            self.source_traceback.set(asyncio().extract_call_stack.call(&[])?);
        }
        Ok(())
    }

    #[inline(always)]
    pub(super) fn limit(&self) -> usize {
        self.limit.get()
    }

    /// `_limit`.
    pub(super) fn limit_object(&self) -> Res {
        match self.limit_object.get() {
            Some(limit) => Ok(limit),
            None => value::int(self.limit.get() as i64),
        }
    }

    /// `_limit = limit`.
    pub(super) fn set_limit(&self, limit: &Any) -> Res<()> {
        // A number too large to be reached is as good as the largest.
        let number = value::as_float(limit)?.clamp(0.0, (usize::MAX / 4) as f64);
        self.limit.set(number as usize);
        self.limit_object.set(limit.own());
        Ok(())
    }

    /// `exception()`, whoever says so.
    pub(super) fn exception(&self) -> Res<Option<Own<Any>>> {
        if self.hooks() & EXCEPTION != 0 {
            let found = self.as_any().call_method(&names::EXCEPTION, &[])?;
            return Ok(Some(found).filter(|found| !found.is_none()));
        }
        Ok(self.exception.get())
    }

    /// `set_exception(exception)`, whoever takes it.
    pub(super) fn fail(&self, exception: &Any) -> Res<()> {
        if self.hooks() & SET_EXCEPTION != 0 {
            return self.as_any().call_method(&names::SET_EXCEPTION, &[exception]).map(drop);
        }
        self.set_exception(exception)
    }

    /// Our `set_exception`.
    pub(super) fn set_exception(&self, exception: &Any) -> Res<()> {
        self.exception.put((!exception.is_none()).then(|| exception.own()));
        let Some(waiter) = self.waiter.take() else { return Ok(()) };
        if let Some(waiter) = waiter.cast_exact::<CoroutineState>() {
            return waiter.fail(exception);
        }
        if !value::is_true(&*waiter.call_method(&names::CANCELLED, &[])?)? {
            waiter.call_method(&names::SET_EXCEPTION, &[exception])?;
        }
        Ok(())
    }

    /// Our `_wakeup_waiter`.
    #[inline]
    pub(super) fn wake_waiter(&self) -> Res<()> {
        let Some(waiter) = self.waiter.take() else { return Ok(()) };
        if let Some(waiter) = waiter.cast_exact::<CoroutineState>() {
            return waiter.wake();
        }
        if !value::is_true(&*waiter.call_method(&names::CANCELLED, &[])?)? {
            waiter.call_method(&names::SET_RESULT, &[value::none_ref()])?;
        }
        Ok(())
    }

    #[inline(always)]
    fn wake(&self, hooks: u16) -> Res<()> {
        if hooks & WAKEUP_WAITER != 0 {
            return self.as_any().call_method(&names::WAKEUP_WAITER, &[]).map(drop);
        }
        self.wake_waiter()
    }

    /// Our `feed_eof`.
    pub(super) fn feed_eof(&self) -> Res<()> {
        self.eof.set(true);
        self.wake(self.hooks())
    }

    /// `feed_data(data)`, whoever takes it.
    #[inline]
    pub(super) fn feed(&self, data: &Any) -> Res<()> {
        if self.hooks() & FEED_DATA != 0 {
            return self.as_any().call_method(&names::FEED_DATA, &[data]).map(drop);
        }
        self.feed_data(data)
    }

    /// Our `feed_data`.
    #[inline]
    pub(super) fn feed_data(&self, data: &Any) -> Res<()> {
        if self.eof.get() {
            return Err(assertion("feed_data after feed_eof"));
        }
        if !value::is_true(data)? {
            return Ok(());
        }
        self.buffer.append_object(data)?;
        self.received(self.hooks())
    }

    /// There is more in the buffer: wakes who waits for it, and stops the transport in time.
    #[inline]
    fn received(&self, hooks: u16) -> Res<()> {
        self.wake(hooks)?;
        if self.holds_too_much() { self.pause() } else { Ok(()) }
    }

    /// Pauses the transport.
    #[cold]
    pub(crate) fn pause(&self) -> Res<()> {
        let Some(transport) = self.transport.get() else { return Ok(()) };
        let Err(raised) = transport::pause_reading(&transport) else {
            self.paused.set(true);
            return Ok(());
        };
        let error = fetch(raised);
        if !is_kind(&error, &stock().not_implemented) {
            return Err(restore(error));
        }
        // It cannot be paused: all there is will be kept, and it is not asked again.
        self.transport.clear();
        Ok(())
    }

    /// Our `_maybe_resume_transport`.
    #[inline]
    pub(super) fn resume_if_drained(&self) -> Res<()> {
        if self.paused.get() && self.buffer.len() <= self.limit.get() {
            return self.resume();
        }
        Ok(())
    }

    fn resume(&self) -> Res<()> {
        self.paused.set(false);
        transport::resume_reading(self.transport.get().as_deref().unwrap_or(value::none_ref()))
    }

    /// `_maybe_resume_transport()`, whoever does it.
    #[inline(always)]
    pub(super) fn maybe_resume(&self, hooks: u16) -> Res<()> {
        if hooks & MAYBE_RESUME != 0 {
            return self.as_any().call_method(&names::MAYBE_RESUME_TRANSPORT, &[]).map(drop);
        }
        self.resume_if_drained()
    }

    /// Takes bytes out of the buffer, for who reads them.
    #[inline(always)]
    pub(super) fn take(&self, hooks: u16, count: usize) -> Res {
        let taken = self.buffer.take(count)?;
        self.searched.set((std::ptr::null(), 0));
        self.maybe_resume(hooks)?;
        Ok(taken)
    }

    /// Takes all bytes out of the buffer; nothing more will come.
    pub(super) fn take_last(&self) -> Res {
        self.buffer.take(self.buffer.len())
    }

    /// `await self._wait_for_data(reader)`: what to yield, or None if that is over already.
    pub(super) fn wait_for_data(
        &self,
        this: &Coroutine,
        hooks: u16,
        reader: &str,
    ) -> Res<Option<Sent>> {
        if hooks & WAIT_FOR_DATA != 0 {
            let name = value::string(reader)?;
            let waiting = self.as_any().call_method(&names::WAIT_FOR_DATA, &[&name])?;
            return self.follow(this, &waiting);
        }
        self.line_up(this, reader).map(Some)
    }

    /// `await` something else in a method.
    pub(super) fn follow(&self, this: &Coroutine, awaitable: &Any) -> Res<Option<Sent>> {
        this.await_inner(awaitable)?;
        this.place.set(FOLLOWING);
        still_waiting(this.drive(None)?)
    }

    /// Our `_wait_for_data`, as far as the wait.
    pub(super) fn line_up(&self, this: &Coroutine, reader: &str) -> Res<Sent> {
        if self.waiter.is_some() {
            return Err(runtime_error(&format!(
                "{reader}() called while another coroutine is already waiting for incoming data"
            )));
        }
        if self.eof.get() {
            return Err(assertion("_wait_for_data after EOF"));
        }
        // To wait while nothing can come would be for ever.
        if self.paused.get() {
            self.resume()?;
        }
        self.waiter.set(this.own().into_any());
        this.place.set(WAITING);
        this.wait()
    }

    /// What follows a wait: None if the read goes on, what to yield if it waits on.
    #[inline(always)]
    pub(super) fn waited(
        &self,
        this: &Coroutine,
        exception: Option<Own<Any>>,
    ) -> Res<Option<Sent>> {
        if this.place.get() == FOLLOWING {
            return still_waiting(this.drive(exception)?);
        }
        if self.waiter.holds(this) {
            self.waiter.clear();
        }
        let arrived = self.arrived.replace(false);
        match exception {
            Some(exception) => Err(restore(exception)),
            None if arrived && !receive_now(self)? => {
                // Somebody else was faster, or the end has come, of which the loop hears.
                self.waiter.set(this.own().into_any());
                this.wait().map(Some)
            }
            None => Ok(None),
        }
    }

    /// How much of the buffer this coroutine, which has waited, has searched before.
    pub(super) fn searched_by(&self, this: &Coroutine) -> usize {
        let (who, offset) = self.searched.get();
        if std::ptr::eq(who, this) { offset.min(self.buffer.len()) } else { 0 }
    }

    pub(super) fn note_searched(&self, this: &Coroutine, offset: usize) {
        self.searched.set((std::ptr::from_ref(this), offset));
    }
}

fn still_waiting(sent: Sent) -> Res<Option<Sent>> {
    match sent {
        Sent::Yielded(yielded) => Ok(Some(Sent::Yielded(yielded))),
        Sent::Returned(_) => Ok(None),
    }
}

/// `repr`, as asyncio's.
pub(super) fn repr(this: &StreamReader) -> Res<String> {
    let mut info = String::from("<StreamReader");
    let mut add = |text: String| {
        info.push(' ');
        info.push_str(&text);
    };
    let len = this.buffer.len();
    if len > 0 {
        add(format!("{len} bytes"));
    }
    if this.eof.get() {
        add("eof".to_owned());
    }
    if this.limit.get() != DEFAULT_LIMIT {
        add(format!("limit={}", value::str_text(&*this.limit_object()?)?));
    }
    for (name, slot) in
        [("waiter", &this.waiter), ("exception", &this.exception), ("transport", &this.transport)]
    {
        if let Some(object) = slot.get()
            && value::is_true(&object)?
        {
            add(format!("{name}={}", value::repr_of(&object)?));
        }
    }
    if this.paused.get() {
        add("paused".to_owned());
    }
    info.push('>');
    Ok(info)
}
