//! Endpoints: native objects that read and write by themselves on a descriptor.
//!
//! A transport, a listener, a child process or a socket that somebody receives from is told of
//! readiness by a function pointer, without a Handle, a callable or a context in between. What is
//! put into the ready queue is the number of the descriptor and what it is ready for. Who is there
//! is looked up when its turn comes, so that an endpoint that has left meanwhile, or stopped
//! reading, is not called, as asyncio's cancelled Handles are not; and if the number has been given
//! to another by then, that one meets a call that would block, and waits on.

use std::os::fd::RawFd;

use reactor::Interest;

use super::event_loop::EventLoop;
use crate::py::{Any, AsObject, Class, Object, Own, Res, Stop, Visitor};

/// What a descriptor is ready for, as far as its endpoint wants to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readiness {
    pub(crate) fd: RawFd,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

impl Readiness {
    const READABLE: usize = 1 << 3;
    const WRITABLE: usize = 1 << 4;
    const SHIFT: u32 = 5;

    /// As one word whose low three bits are free.
    #[inline(always)]
    pub(super) fn into_word(self) -> usize {
        (self.fd as u32 as usize) << Readiness::SHIFT
            | if self.readable { Readiness::READABLE } else { 0 }
            | if self.writable { Readiness::WRITABLE } else { 0 }
    }

    #[inline(always)]
    pub(super) fn from_word(word: usize) -> Readiness {
        Readiness {
            fd: (word >> Readiness::SHIFT) as RawFd,
            readable: word & Readiness::READABLE != 0,
            writable: word & Readiness::WRITABLE != 0,
        }
    }
}

/// What becomes of an endpoint that made way for a Handle.
pub(crate) struct MadeWay {
    /// Whether something waited on that side.
    pub(crate) waited: bool,
    /// What is still waited for.
    pub(crate) remaining: Interest,
}

/// A native type whose instances can be endpoints.
pub(crate) trait Endpoint: Class {
    /// Whether the descriptor is then nobody else's: `add_reader` and `sock_recv` on it are refused
    /// while `is_closing` says no.
    const IS_TRANSPORT: bool;

    fn is_closing(_this: &Object<Self>) -> bool {
        false
    }

    /// A Handle watches these sides of the descriptor from now on, as asyncio's later Handle
    /// replaces the earlier one. `None`: the endpoint stays. Not asked of transports.
    fn make_way(_this: &Object<Self>, _sides: Interest) -> Option<MadeWay> {
        None
    }

    /// The descriptor is ready. Nothing is current and no context entered; before it runs Python
    /// code an endpoint calls `current::withdraw`. An exception that it returns is reported as that
    /// of a callback.
    fn ready(this: &Object<Self>, event_loop: &EventLoop, readiness: Readiness) -> Res<()>;
}

/// What the loop asks an endpoint.
pub(super) struct Face {
    pub(super) is_transport: bool,
    pub(super) is_closing: fn(&Any) -> bool,
    pub(super) make_way: fn(&Any, Interest) -> Option<MadeWay>,
    pub(super) ready: fn(&Any, &EventLoop, Readiness) -> Res<()>,
}

struct FaceOf<S>(std::marker::PhantomData<S>);

impl<S: Endpoint> FaceOf<S> {
    const FACE: Face = Face {
        is_transport: S::IS_TRANSPORT,
        is_closing: |object| {
            // SAFETY: a Face is stored only together with an object of its type, by `Place::new`.
            S::is_closing(unsafe { object.assume::<S>() })
        },
        make_way: |object, sides| {
            // SAFETY: as above.
            S::make_way(unsafe { object.assume::<S>() }, sides)
        },
        ready: |object, event_loop, readiness| {
            // SAFETY: as above.
            S::ready(unsafe { object.assume::<S>() }, event_loop, readiness)
        },
    };
}

/// An endpoint's place at its descriptor. It owns the endpoint only while something is waited for:
/// a transport that does not read is kept by whoever writes to it, and by nobody else.
pub(super) struct Place {
    object: *const Any,
    held: Option<Own<Any>>,
    face: &'static Face,
    interest: Interest,
}

impl Place {
    pub(super) fn new<S: Endpoint>(endpoint: &Object<S>) -> Place {
        Place {
            object: endpoint.as_any(),
            held: None,
            face: const { &FaceOf::<S>::FACE },
            interest: Interest::NONE,
        }
    }

    #[inline(always)]
    pub(super) fn interest(&self) -> Interest {
        self.interest
    }

    #[inline(always)]
    pub(super) fn face(&self) -> &'static Face {
        self.face
    }

    pub(super) fn is(&self, object: &Any) -> bool {
        std::ptr::eq(self.object, object)
    }

    #[inline(always)]
    pub(super) fn object(&self) -> Own<Any> {
        // SAFETY: an endpoint detaches itself before it dies (`Io::detach`).
        unsafe { &*self.object }.own()
    }

    /// Sets the interest. The reference that comes back is for the caller to drop.
    pub(super) fn set_interest(&mut self, interest: Interest) -> Option<Own<Any>> {
        self.interest = interest;
        match (interest.is_none(), self.held.is_some()) {
            (true, true) => self.held.take(),
            (false, false) => {
                self.held = Some(self.object());
                None
            }
            _ => None,
        }
    }

    /// Lets go of the endpoint. The reference that comes back is for the caller to drop.
    pub(super) fn release(self) -> Option<Own<Any>> {
        self.held
    }

    pub(super) fn visit(&self, visitor: &Visitor) -> Result<(), Stop> {
        self.held.as_ref().map_or(Ok(()), |held| visitor.object(&**held))
    }
}
