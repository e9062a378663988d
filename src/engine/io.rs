//! Descriptors: readers, writers, and the wait.
//!
//! The reactor knows which descriptors are ready; here they meet the Handles that want to know.

use std::cell::{Cell, UnsafeCell};
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reactor::{Events, Interest, Poller, Reactor, Waker};

use super::bell::Bell;
use super::endpoint::{Endpoint, Face, MadeWay, Place, Readiness};
use super::event_loop::EventLoop;
use super::handle::Handle;
use crate::py::{
    Any, Args, AsObject, Builtin, Leading, Object, Own, Res, Stop, Visitor, error, is_only_thread,
    names, raise, runtime_error, value, without_gil,
};

/// Who is told about a descriptor.
#[derive(Default)]
struct Watch {
    reader: Option<Own<Handle>>,
    writer: Option<Own<Handle>>,
    endpoint: Option<Place>,
}

impl Watch {
    fn interest(&self) -> Interest {
        let endpoint = self.endpoint.as_ref().map(Place::interest).unwrap_or_default();
        Interest {
            read: self.reader.is_some() || endpoint.read,
            write: self.writer.is_some() || endpoint.write,
        }
    }

    fn side(&mut self, side: Side) -> &mut Option<Own<Handle>> {
        match side {
            Side::Read => &mut self.reader,
            Side::Write => &mut self.writer,
        }
    }
}

/// All of them, by descriptor: the kernel hands out low numbers, so a list needs no hashing.
#[derive(Default)]
struct Watches {
    by_fd: Vec<Watch>,
    used: usize,
}

impl Watches {
    #[inline(always)]
    fn get(&self, fd: RawFd) -> Option<&Watch> {
        usize::try_from(fd).ok().and_then(|index| self.by_fd.get(index))
    }

    /// Changes the watch of a descriptor; what was changed out and the interest there is now.
    fn update<R>(&mut self, fd: RawFd, change: impl FnOnce(&mut Watch) -> R) -> (R, Interest) {
        let index = usize::try_from(fd).unwrap_or(0);
        if index >= self.by_fd.len() {
            self.by_fd.resize_with(index + 1, Watch::default);
        }
        let watch = &mut self.by_fd[index];
        let before = watch.interest();
        let old = change(watch);
        let after = watch.interest();
        self.used += usize::from(before.is_none());
        self.used -= usize::from(after.is_none());
        (old, after)
    }

    /// Puts a Handle on one side of a descriptor and returns the one that was there.
    fn replace(
        &mut self,
        fd: RawFd,
        side: Side,
        handle: Option<Own<Handle>>,
    ) -> (Option<Own<Handle>>, Interest) {
        self.update(fd, |watch| std::mem::replace(watch.side(side), handle))
    }
}

#[derive(Clone, Copy)]
enum Side {
    Read,
    Write,
}

impl Side {
    fn interest(self) -> Interest {
        match self {
            Side::Read => Interest::READ,
            Side::Write => Interest::WRITE,
        }
    }
}

/// A loop's descriptors.
pub(crate) struct Io {
    /// Empty once the loop is closed.
    reactor: UnsafeCell<Option<Reactor>>,
    poller: Cell<Option<Poller>>,
    waker: UnsafeCell<Option<Waker>>,
    watches: UnsafeCell<Watches>,
    events: Cell<Option<Events>>,
    forked: Cell<bool>,
    /// How many waits ended with the GIL taken again.
    waits: Arc<AtomicUsize>,
    /// How many of the last waits, while there were other threads, were over in a moment.
    haste: Cell<u8>,
}

/// What another thread can spare without noticing.
const A_MOMENT: Duration = Duration::from_micros(100);

/// From so many brief waits on, the next is expected to be brief.
const HASTY: u8 = 4;

impl Io {
    pub(super) fn new() -> io::Result<Io> {
        let reactor = Reactor::new()?;
        Ok(Io {
            poller: Cell::new(Some(reactor.poller())),
            waker: UnsafeCell::new(Some(reactor.waker())),
            reactor: UnsafeCell::new(Some(reactor)),
            watches: UnsafeCell::new(Watches::default()),
            events: Cell::new(Some(Events::new())),
            forked: Cell::new(false),
            waits: Arc::default(),
            haste: Cell::new(0),
        })
    }

    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    fn reactor(&self) -> Option<&mut Reactor> {
        // SAFETY: private; each use is one operation that runs no Python code, with the GIL held.
        // The wait without the GIL goes through the Poller and borrows nothing of this.
        unsafe { (*self.reactor.get()).as_mut() }
    }

    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    fn watches(&self) -> &mut Watches {
        // SAFETY: private; Handles that come out are dropped after the borrow, so nothing that
        // happens during one runs Python code; the GIL is held.
        unsafe { &mut *self.watches.get() }
    }

    /// Rings the loop out of its wait.
    pub(super) fn wake(&self) {
        // SAFETY: read for the time of one system call, with the GIL held; only `close` writes it.
        if let Some(waker) = unsafe { &*self.waker.get() } {
            waker.wake();
        }
    }

    pub(super) fn bell(&self) -> Option<Bell> {
        // SAFETY: as above, for the time of a clone.
        let waker = unsafe { &*self.waker.get() }.clone()?;
        Some(Bell::new(waker, self.waits.clone()))
    }

    /// Whether any descriptor is watched.
    #[inline(always)]
    pub(super) fn is_watching(&self) -> bool {
        self.watches().used > 0
    }

    /// Called in a forked child: the kernel's queue is the parent's.
    pub(super) fn forked(&self) {
        self.forked.set(true);
    }

    fn leave_parent(&self) -> io::Result<()> {
        if self.forked.replace(false)
            && let Some(reactor) = self.reactor()
        {
            reactor.rebuild()?;
        }
        Ok(())
    }

    fn change(
        &self,
        fd: RawFd,
        side: Side,
        handle: Option<Own<Handle>>,
    ) -> io::Result<Option<Own<Handle>>> {
        self.leave_parent()?;
        self.make_way(fd, side);
        let (old, interest) = self.watches().replace(fd, side, handle);
        let changed = match self.reactor() {
            Some(reactor) if reactor.interest(fd) != interest => reactor.change_soon(fd, interest),
            _ => Ok(()),
        };
        if let Err(failure) = changed {
            let (refused, _) = self.watches().replace(fd, side, old);
            drop(refused);
            return Err(failure);
        }
        Ok(old)
    }

    /// Makes `endpoint` the one that is told of this descriptor, which its owner has just opened or
    /// taken over: what is known of it from before is forgotten. It is not kept alive by this.
    pub(crate) fn attach<S: Endpoint>(&self, fd: RawFd, endpoint: &Object<S>) {
        if fd < 0 {
            return; // A closed socket's: its owner meets that in its first system call.
        }
        let mut old = None;
        if let Some(place) = self.watches().get(fd).and_then(|watch| watch.endpoint.as_ref()) {
            // The kernel may have forgotten the number or not; this makes both the same.
            let interested = !place.interest().is_none();
            old = self.watches().update(fd, |watch| watch.endpoint.take()).0;
            if interested && let Some(reactor) = self.reactor() {
                let _ = reactor.set_interest(fd, Interest::NONE);
            }
        }
        self.watches().update(fd, |watch| watch.endpoint = Some(Place::new(endpoint)));
        drop(old.and_then(Place::release));
    }

    /// As `attach`, for a descriptor of which nothing is known: others may watch it, too, and its
    /// number may have been another file's. So the kernel is told at once, whatever it was told
    /// before. Waits for this from the start.
    pub(crate) fn attach_anew<S: Endpoint>(
        &self,
        fd: RawFd,
        endpoint: &Object<S>,
        interest: Interest,
    ) -> io::Result<()> {
        self.leave_parent()?;
        let mut place = Place::new(endpoint);
        place.set_interest(interest);
        let (old, wanted) = self.watches().update(fd, |watch| watch.endpoint.replace(place));
        let told = self.reactor().map_or(Ok(()), |reactor| reactor.set_interest(fd, wanted));
        drop(old.and_then(Place::release));
        if told.is_err() {
            let (refused, _) = self.watches().update(fd, |watch| watch.endpoint.take());
            drop(refused.and_then(Place::release));
        }
        told
    }

    /// Takes out the program's own reader or writer, for a coroutine that waits there from now on,
    /// as asyncio's does. The kernel hears of it with the endpoint's interest.
    pub(crate) fn displace(&self, fd: RawFd, sides: Interest) -> [Option<Own<Handle>>; 2] {
        let Some(watch) = self.watches().get(fd) else { return [None, None] };
        let (reader, writer) = (watch.reader.is_some(), watch.writer.is_some());
        let take = |wanted: bool, side| {
            if wanted { self.watches().replace(fd, side, None).0 } else { None }
        };
        [take(sides.read && reader, Side::Read), take(sides.write && writer, Side::Write)]
    }

    /// Has a coroutine that waits here, if there is one, give way to a Handle; whether there was
    /// one. A socket that is only kept registered leaves altogether, and the kernel is told at
    /// once: its number may have become another file's.
    fn make_way(&self, fd: RawFd, side: Side) -> bool {
        let endpoint = self.watches().get(fd).and_then(|watch| watch.endpoint.as_ref());
        let Some(place) = endpoint.filter(|place| !place.face().is_transport) else {
            return false;
        };
        let (object, face) = (place.object(), place.face());
        let Some(MadeWay { waited, remaining }) = (face.make_way)(&object, side.interest()) else {
            return false;
        };
        if remaining.is_none() {
            self.detach(fd, &*object);
        } else {
            let _ = self.set_interest(fd, &*object, remaining);
        }
        waited
    }

    /// What an attached endpoint waits for. While that is something, the loop keeps it alive.
    #[inline]
    pub(crate) fn set_interest(
        &self,
        fd: RawFd,
        endpoint: &impl AsObject,
        interest: Interest,
    ) -> io::Result<()> {
        self.leave_parent()?;
        let mine = |watch: &Watch| {
            watch.endpoint.as_ref().is_some_and(|place| place.is(endpoint.as_any()))
        };
        if !self.watches().get(fd).is_some_and(mine) {
            return Ok(());
        }
        let (released, wanted) = self.watches().update(fd, |watch| {
            watch.endpoint.as_mut().and_then(|place| place.set_interest(interest))
        });
        let changed = match self.reactor() {
            Some(reactor) if reactor.interest(fd) != wanted => reactor.change_soon(fd, wanted),
            _ => Ok(()),
        };
        drop(released);
        changed
    }

    /// The endpoint leaves, and closes the descriptor, which nobody else in this process has.
    pub(crate) fn detach_closing(&self, fd: RawFd, endpoint: &impl AsObject) {
        self.leave(fd, endpoint, true);
    }

    /// The endpoint leaves: its descriptor is about to be closed, or it dies.
    pub(crate) fn detach(&self, fd: RawFd, endpoint: &impl AsObject) {
        self.leave(fd, endpoint, false);
    }

    fn leave(&self, fd: RawFd, endpoint: &impl AsObject, closes: bool) {
        let mine = |watch: &Watch| {
            watch.endpoint.as_ref().is_some_and(|place| place.is(endpoint.as_any()))
        };
        if !self.watches().get(fd).is_some_and(mine) {
            return;
        }
        let (place, wanted) = self.watches().update(fd, |watch| watch.endpoint.take());
        // At once: when the number is used again, the kernel must know nothing of this one.
        if let Some(reactor) = self.reactor() {
            if closes && wanted.is_none() {
                reactor.forget(fd);
            } else {
                let _ = reactor.set_interest(fd, wanted);
            }
        }
        drop(place.and_then(Place::release));
    }

    /// Who is to be called for this readiness, and the part of it that is still wanted.
    #[inline(always)]
    pub(super) fn endpoint(
        &self,
        readiness: Readiness,
    ) -> Option<(Own<Any>, &'static Face, Readiness)> {
        let place = self.watches().get(readiness.fd)?.endpoint.as_ref()?;
        let interest = place.interest();
        let wanted = Readiness {
            fd: readiness.fd,
            readable: readiness.readable && interest.read,
            writable: readiness.writable && interest.write,
        };
        (wanted.readable || wanted.writable).then(|| (place.object(), place.face(), wanted))
    }

    /// Whoever is attached to this descriptor.
    pub(crate) fn endpoint_at(&self, fd: RawFd) -> Option<Own<Any>> {
        self.watches().get(fd)?.endpoint.as_ref().map(Place::object)
    }

    /// The transport that has this descriptor, unless it is closing.
    pub(crate) fn transport_at(&self, fd: RawFd) -> Option<Own<Any>> {
        let place = self.watches().get(fd)?.endpoint.as_ref()?;
        let object = place.face().is_transport.then(|| place.object())?;
        (!(place.face().is_closing)(&object)).then_some(object)
    }

    /// Tells the kernel what was put off. Who watches something that it refuses is called back
    /// once and meets the error in reading or writing.
    #[cold]
    fn settle(&self, event_loop: &EventLoop) {
        let mut refused = Vec::new();
        if let Some(reactor) = self.reactor() {
            reactor.settle(|fd, _| refused.push(fd));
        }
        for fd in refused {
            let endpoint = self.watches().get(fd).and_then(|watch| watch.endpoint.as_ref());
            if let Some(interest) = endpoint.map(Place::interest)
                && !interest.is_none()
            {
                event_loop.ready().push_readiness(Readiness {
                    fd,
                    readable: interest.read,
                    writable: interest.write,
                });
            }
            for side in [Side::Read, Side::Write] {
                let (handle, _) = self.watches().replace(fd, side, None);
                if let Some(handle) = handle {
                    event_loop.ready().push_handle(handle);
                }
            }
        }
    }

    /// Waits, and puts what is ready into the queue. `None` waits for ever; zero only looks, and
    /// keeps the GIL. Returns how many descriptors were ready.
    pub(super) fn wait(
        &self,
        event_loop: &EventLoop,
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        self.ask(event_loop, timeout, timeout == Some(Duration::ZERO))
    }

    /// Waits for a moment without letting go of the GIL, if the last waits were so short. A thread
    /// that computes would take it and give it back 5 ms later, when the peer has long answered. It
    /// does not starve: it asks for the GIL every 5 ms, and gets it at the next bytecode.
    pub(super) fn wait_briefly(
        &self,
        event_loop: &EventLoop,
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        if self.haste.get() < HASTY {
            return Ok(0);
        }
        let moment = timeout.map_or(A_MOMENT, |timeout| timeout.min(A_MOMENT));
        let count = self.ask(event_loop, Some(moment), true)?;
        self.note_wait(count > 0);
        Ok(count)
    }

    fn note_wait(&self, was_brief: bool) {
        let haste = self.haste.get();
        self.haste.set(if was_brief { (haste + 1).min(2 * HASTY) } else { haste / 2 });
    }

    fn ask(
        &self,
        event_loop: &EventLoop,
        timeout: Option<Duration>,
        keeps_gil: bool,
    ) -> io::Result<usize> {
        self.leave_parent()?;
        if self.reactor().is_some_and(|reactor| reactor.is_unsettled()) {
            self.settle(event_loop);
        }
        let timeout = if event_loop.ready().is_empty() { timeout } else { Some(Duration::ZERO) };
        let Some(poller) = self.poller.take() else { return Ok(0) };
        let mut events = self.events.take().unwrap_or_default();
        let waited = if keeps_gil || timeout == Some(Duration::ZERO) {
            poller.wait(&mut events, timeout)
        } else {
            let has_company = !is_only_thread();
            let began = if has_company { reactor::monotonic() } else { 0.0 };
            event_loop.parked.set(true);
            // The time is taken before the GIL is, which may take longer than the wait.
            let (waited, ended) = without_gil(|| {
                let waited = poller.wait(&mut events, timeout);
                (waited, if has_company { reactor::monotonic() } else { 0.0 })
            });
            event_loop.parked.set(false);
            self.waits.fetch_add(1, Ordering::Relaxed);
            if has_company {
                self.note_wait(!events.is_empty() && ended - began < A_MOMENT.as_secs_f64());
            }
            waited
        };
        self.poller.set(Some(poller));
        event_loop.looks.set(event_loop.looks.get().wrapping_add(1));
        let count = events.len();
        if waited.is_ok() && count > 0 {
            self.dispatch(event_loop, &events);
        }
        self.events.set(Some(events));
        waited.map(|_| count)
    }

    fn dispatch(&self, event_loop: &EventLoop, events: &Events) {
        let mut ghost = false;
        for event in events.iter() {
            let watch = self.watches().get(event.fd).filter(|watch| !watch.interest().is_none());
            let Some(watch) = watch else {
                ghost = true;
                continue;
            };
            if let Some(place) = &watch.endpoint {
                let interest = place.interest();
                let event = event.narrow(interest);
                if event.readable || event.writable {
                    event_loop.ready().push_readiness(Readiness {
                        fd: event.fd,
                        readable: event.readable,
                        writable: event.writable,
                    });
                }
            }
            if event.readable
                && let Some(reader) = &watch.reader
            {
                event_loop.ready().push_handle(reader.clone());
            }
            if event.writable
                && let Some(writer) = &watch.writer
            {
                event_loop.ready().push_handle(writer.clone());
            }
        }
        if ghost && let Some(reactor) = self.reactor() {
            // A descriptor closed while a duplicate of it lives on cannot be taken out of the
            // kernel's queue; only a new queue ends its events. A failure shows again next turn.
            let _ = reactor.rebuild();
        }
    }

    pub(super) fn visit(&self, visitor: &Visitor) -> Result<(), Stop> {
        for watch in &self.watches().by_fd {
            for handle in [&watch.reader, &watch.writer].into_iter().flatten() {
                handle.visit(visitor)?;
            }
            if let Some(place) = &watch.endpoint {
                place.visit(visitor)?;
            }
        }
        Ok(())
    }

    pub(super) fn forget_watches(&self) {
        let watches = std::mem::take(self.watches());
        for watch in watches.by_fd {
            for handle in [watch.reader, watch.writer].into_iter().flatten() {
                handle.abandon();
            }
            drop(watch.endpoint.and_then(Place::release));
        }
    }

    /// Closes the kernel's queue.
    pub(super) fn close(&self) {
        self.forget_watches();
        // SAFETY: no borrow is open (see `reactor`), and dropping a Reactor runs no Python code.
        unsafe {
            *self.reactor.get() = None;
            *self.waker.get() = None;
        }
        self.poller.set(None);
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        self.forget_watches();
    }
}

/// A descriptor from an int or from what has `fileno()`, with the errors of `selectors`.
fn descriptor(object: &Any) -> Res<RawFd> {
    let number = if value::is_int(object) {
        value::as_int(object)?
    } else {
        let invalid = |raised| {
            if !error::pending_is_any(&[
                Builtin::AttributeError,
                Builtin::TypeError,
                Builtin::ValueError,
            ]) {
                return raised;
            }
            error::discard(raised);
            let text = format!("Invalid file object: {}", value::repr_text(object));
            raise(Builtin::ValueError.get(), &text)
        };
        let number = object.call_method(&names::FILENO, &[]).map_err(invalid)?;
        value::as_int(&number).map_err(invalid)?
    };
    RawFd::try_from(number).ok().filter(|&fd| fd >= 0).ok_or_else(|| {
        raise(Builtin::ValueError.get(), &format!("Invalid file descriptor: {number}"))
    })
}

/// asyncio refuses to watch a descriptor for a program while a transport has it.
fn refuse_transport(this: &EventLoop, object: &Any) -> Res<()> {
    if this.guarded.get() {
        return this.as_any().call_method(&names::ENSURE_FD_NO_TRANSPORT, &[object]).map(drop);
    }
    refuse_own_transport(this, object)
}

/// The same for transports of ours.
pub(super) fn refuse_own_transport(this: &EventLoop, object: &Any) -> Res<()> {
    let fd = descriptor(object)?;
    let Some(transport) = this.io()?.transport_at(fd) else { return Ok(()) };
    Err(runtime_error(&format!(
        "File descriptor {} is used by transport {}",
        value::repr_text(object),
        value::repr_text(&transport)
    )))
}

impl EventLoop {
    /// The descriptor with this number, unless a transport has it.
    pub(crate) fn free_descriptor(&self, number: &Any) -> Res<RawFd> {
        refuse_transport(self, number)?;
        descriptor(number)
    }
}

fn add(this: &EventLoop, fd: &Any, callback: &Any, rest: &[&Any], side: Side) -> Res<Own<Handle>> {
    this.check_closed()?;
    let fd = descriptor(fd)?;
    let handle = Handle::make(this, callback, rest, None)?;
    handle.keep();
    let old = this
        .io()?
        .change(fd, side, Some(handle.clone()))
        .map_err(|failure| error::os_error(&failure))?;
    old.map_or(Ok(()), |old| old.cancel())?;
    Ok(handle)
}

fn add_for_program(this: &EventLoop, args: &Args<'_>, side: Side, method: &'static str) -> Res<()> {
    let Leading { first: [fd, callback], rest, .. } =
        args.leading(method, [&names::FD, &names::CALLBACK])?;
    refuse_transport(this, fd)?;
    add(this, fd, callback, rest, side).map(drop)
}

/// What asyncio's own transports call: no check, and the Handle is returned.
fn add_for_transport(
    this: &EventLoop,
    args: &Args<'_>,
    side: Side,
    method: &'static str,
) -> Res<Own<Handle>> {
    let Leading { first: [fd, callback], rest, .. } =
        args.leading(method, [&names::FD, &names::CALLBACK])?;
    add(this, fd, callback, rest, side)
}

fn remove(this: &EventLoop, fd: &Any, side: Side) -> Res<bool> {
    let fd = descriptor(fd)?;
    if this.check_closed().map_err(error::discard).is_err() {
        return Ok(false);
    }
    let io = this.io()?;
    let waited = io.make_way(fd, side);
    let watched = io.watches().get(fd).map(Watch::interest).unwrap_or_default();
    if !(match side {
        Side::Read => watched.read,
        Side::Write => watched.write,
    }) {
        return Ok(waited);
    }
    let old = io.change(fd, side, None).map_err(|failure| error::os_error(&failure))?;
    old.map_or(Ok(()), |old| old.cancel())?;
    Ok(true)
}

fn remove_for_program(
    this: &EventLoop,
    args: &Args<'_>,
    side: Side,
    method: &'static str,
) -> Res<bool> {
    let Leading { first: [fd], .. } = args.leading(method, [&names::FD])?;
    refuse_transport(this, fd)?;
    remove(this, fd, side)
}

fn remove_for_transport(
    this: &EventLoop,
    args: &Args<'_>,
    side: Side,
    method: &'static str,
) -> Res<bool> {
    let Leading { first: [fd], .. } = args.leading(method, [&names::FD])?;
    remove(this, fd, side)
}

pub(super) fn add_reader(this: &EventLoop, args: Args<'_>) -> Res<()> {
    add_for_program(this, &args, Side::Read, "add_reader")
}

pub(super) fn add_writer(this: &EventLoop, args: Args<'_>) -> Res<()> {
    add_for_program(this, &args, Side::Write, "add_writer")
}

pub(super) fn remove_reader(this: &EventLoop, args: Args<'_>) -> Res<bool> {
    remove_for_program(this, &args, Side::Read, "remove_reader")
}

pub(super) fn remove_writer(this: &EventLoop, args: Args<'_>) -> Res<bool> {
    remove_for_program(this, &args, Side::Write, "remove_writer")
}

pub(super) fn add_reader_unchecked(this: &EventLoop, args: Args<'_>) -> Res<Own<Handle>> {
    add_for_transport(this, &args, Side::Read, "_add_reader")
}

pub(super) fn add_writer_unchecked(this: &EventLoop, args: Args<'_>) -> Res<Own<Handle>> {
    add_for_transport(this, &args, Side::Write, "_add_writer")
}

pub(super) fn remove_reader_unchecked(this: &EventLoop, args: Args<'_>) -> Res<bool> {
    remove_for_transport(this, &args, Side::Read, "_remove_reader")
}

pub(super) fn remove_writer_unchecked(this: &EventLoop, args: Args<'_>) -> Res<bool> {
    remove_for_transport(this, &args, Side::Write, "_remove_writer")
}

/// Whether a descriptor is watched for reading, and whether for writing.
pub(super) fn watched(this: &EventLoop, args: Args<'_>) -> Res {
    let Leading { first: [fd], .. } = args.leading("_watched", [&names::FD])?;
    let fd = descriptor(fd)?;
    let interest = this.io()?.watches().get(fd).map(Watch::interest).unwrap_or_default();
    value::tuple(&[&*value::boolean(interest.read), &*value::boolean(interest.write)])
}
