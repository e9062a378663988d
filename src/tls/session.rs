//! One TLS session: plaintext on one side, ciphertext on the other, and no socket.
//!
//! Behind it is an `ssl.SSLObject`, made by the user's context as asyncio makes it, so that all the
//! context says holds, and what programs ask the object is answered by it. Handshake and shutdown
//! are the object's own methods. For reading and writing, which run per record, there are two
//! engines:
//!
//! - *direct*: OpenSSL is called on the object's `SSL` (`py::openssl`, which says when it can);
//! - *memory*: the methods of the object beneath are called, with two `ssl.MemoryBIO`s. Everywhere
//!   possible, and the yardstick for the other one. An object of a class that has methods of its
//!   own is always used so, through these methods.
//!
//! An exception is the one that Python raises; what asyncio takes for "come again later" is no
//! exception here.

use std::cell::Cell;
use std::mem::MaybeUninit;

use crate::py::error::{fetch, is_kind, restore};
use crate::py::openssl::{self, Direct, Outcome};
use crate::py::{
    Any, AsObject, Global, Own, Raised, Res, Slot, Stop, Visitor, buffer, import, names,
    runtime_error, value,
};

/// At most this much is asked of a method that makes a bytes object of it.
const MOST_BY_METHOD: usize = 256 * 1024;

/// How a step of handshake or shutdown ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    Done,
    /// More from the peer is needed; first send what is outgoing.
    Again,
}

/// What reading gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Got {
    Data(usize),
    /// Nothing before more from the peer arrives.
    Again,
    /// The peer has said that it sends no more.
    End,
}

/// What writing took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Put {
    Taken(usize),
    /// Nothing before more from the peer arrives; then the same is to be written again.
    Again,
}

/// A session. Methods may be called in any state, also from code that runs inside another one.
pub(crate) struct Session {
    /// The `ssl.SSLObject`; empty once the collector cleared it.
    object: Slot,
    engine: Engine,
    /// A call is under way. Callbacks of the context run Python code in it, which may come back
    /// here; but nobody may enter OpenSSL twice for one session.
    busy: Cell<bool>,
}

/// Marks a session as in use.
struct Busy<'a>(&'a Cell<bool>);

impl Busy<'_> {
    #[inline(always)]
    fn of(flag: &Cell<bool>) -> Option<Busy<'_>> {
        if flag.replace(true) { None } else { Some(Busy(flag)) }
    }
}

impl Drop for Busy<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.set(false);
    }
}

enum Engine {
    Direct(Direct),
    Memory(Memory),
}

/// An SSLObject between two memory BIOs.
struct Memory {
    /// Whose `read` and `write` are called: the `_ssl._SSLSocket`, or the SSLObject itself if its
    /// methods are not Python's own.
    worker: Slot,
    plain: bool,
    incoming: Slot,
    outgoing: Slot,
}

/// What is known of the `ssl` module.
struct Module {
    memory_bio: Own<Any>,
    read: Own<Any>,
    write: Own<Any>,
    /// `_ssl._SSLSocket`.
    native: Own<Any>,
    /// What asyncio takes for "come again later".
    again: Own<Any>,
    wrap_names: Own<Any>,
    direct: bool,
}

static MODULE: Global<Module> = Global::new();

fn module() -> Res<&'static Module> {
    if MODULE.peek().is_none() {
        let class = import(c"ssl", c"SSLObject")?;
        MODULE.fill(Module {
            memory_bio: import(c"ssl", c"MemoryBIO")?,
            read: class.attr(&names::READ)?,
            write: class.attr(&names::WRITE)?,
            native: import(c"_ssl", c"_SSLSocket")?,
            again: import(c"asyncio.sslproto", c"SSLAgainErrors")?,
            wrap_names: value::tuple(&[names::SERVER_SIDE.get(), names::SERVER_HOSTNAME.get()])?,
            direct: wants_direct()?,
        });
    }
    Ok(MODULE.get())
}

/// Whether OpenSSL shall be called directly, as far as it can be.
fn wants_direct() -> Res<bool> {
    match std::env::var("AIOXIDE_TLS").as_deref() {
        Ok("memory") => Ok(false),
        Err(_) | Ok("" | "direct") => Ok(openssl::obstacle()?.is_none()),
        Ok(other) => {
            Err(runtime_error(&format!("AIOXIDE_TLS must be 'direct' or 'memory', not {other:?}")))
        }
    }
}

/// The engine that sessions get, and the reason if it is the slower one for lack of the other.
pub(super) fn engine() -> Res<String> {
    if module()?.direct {
        return Ok("direct".to_owned());
    }
    Ok(match openssl::obstacle()? {
        Some(reason) => format!("memory ({reason})"),
        None => "memory".to_owned(),
    })
}

/// What `Again` stands for is no exception.
fn unless_again<T>(answer: Res<T>, again: T) -> Res<T> {
    let Err(raised) = answer else { return answer };
    let exception = fetch(raised);
    if is_kind(&exception, &module()?.again) { Ok(again) } else { Err(restore(exception)) }
}

impl Session {
    /// A session as the context has it, which has not begun yet.
    pub(crate) fn new(
        context: &Any,
        server_side: bool,
        server_hostname: Option<&Any>,
    ) -> Res<Session> {
        Session::with_engine(context, server_side, server_hostname, module()?.direct)
    }

    /// The same; `direct` asks for OpenSSL to be called directly, as far as that can be.
    pub(super) fn with_engine(
        context: &Any,
        server_side: bool,
        server_hostname: Option<&Any>,
        direct: bool,
    ) -> Res<Session> {
        let module = module()?;
        let (incoming, outgoing) = (module.memory_bio.call(&[])?, module.memory_bio.call(&[])?);
        let side = value::boolean(server_side);
        let hostname = server_hostname.unwrap_or(value::none_ref());
        let object = context
            .attr(&names::WRAP_BIO)?
            .call_with_names(&[&incoming, &outgoing, &side, hostname], &module.wrap_names)?;
        let native = plain_worker(module, &object)?;
        if direct
            && let Some(native) = &native
            && let Some(direct) = Direct::take_over(native)?
        {
            return Ok(Session::of(object, Engine::Direct(direct)));
        }
        let plain = native.is_some();
        let memory = Memory {
            worker: Slot::new(native.unwrap_or_else(|| object.clone())),
            plain,
            incoming: Slot::new(incoming),
            outgoing: Slot::new(outgoing),
        };
        Ok(Session::of(object, Engine::Memory(memory)))
    }

    fn of(object: Own<Any>, engine: Engine) -> Session {
        Session { object: Slot::new(object), engine, busy: Cell::new(false) }
    }

    /// The `ssl.SSLObject`, for programs to ask.
    pub(crate) fn object(&self) -> Res {
        held(&self.object)
    }

    pub(crate) fn is_direct(&self) -> bool {
        matches!(self.engine, Engine::Direct(_))
    }

    /// Runs `run` with `data`, which arrived from the peer, there to be read. `data` is not copied
    /// but for what is left of it then.
    #[inline]
    pub(crate) fn feed<T>(&self, data: &[u8], run: impl FnOnce() -> T) -> Res<T> {
        match &self.engine {
            Engine::Direct(direct) => Ok(direct.feed(data, run)),
            Engine::Memory(memory) => {
                openssl::write_to_bio(&*held(&memory.incoming)?, data)?;
                Ok(run())
            }
        }
    }

    /// How much that arrived has not been looked at. (Some may have been looked at and wait for the
    /// rest of its record.)
    pub(crate) fn incoming_pending(&self) -> Res<usize> {
        match &self.engine {
            Engine::Direct(direct) => Ok(direct.incoming()),
            Engine::Memory(memory) => pending(&memory.incoming),
        }
    }

    /// Whether more may come out than `incoming_pending` says: the rest of a record that was begun.
    pub(crate) fn may_hold_part(&self) -> bool {
        match &self.engine {
            Engine::Direct(direct) => direct.may_hold_part(),
            Engine::Memory(_) => true,
        }
    }

    /// How much is to be sent to the peer.
    pub(crate) fn outgoing_pending(&self) -> Res<usize> {
        match &self.engine {
            Engine::Direct(direct) => Ok(direct.outgoing()),
            Engine::Memory(memory) => pending(&memory.outgoing),
        }
    }

    /// Takes all that is to be sent to the peer, as one bytes object.
    #[inline]
    pub(crate) fn take_outgoing(&self) -> Res<Option<Own<Any>>> {
        match &self.engine {
            Engine::Direct(direct) => direct.take_outgoing(),
            Engine::Memory(memory) => {
                let bytes = held(&memory.outgoing)?.call_method(&names::READ, &[])?;
                Ok(Some(bytes).filter(|bytes| buffer::bytes_content(bytes) != Some(b"")))
            }
        }
    }

    pub(crate) fn do_handshake(&self) -> Res<Step> {
        let step = self.step(|object| object.call_method(&names::DO_HANDSHAKE, &[]))?;
        if step == Step::Done
            && let Engine::Direct(direct) = &self.engine
        {
            direct.opened()?;
        }
        Ok(step)
    }

    /// Says to the peer that we send no more, and waits for it to say the same.
    pub(crate) fn unwrap(&self) -> Res<Step> {
        self.step(|object| object.call_method(&names::UNWRAP, &[]))
    }

    fn step(&self, call: impl FnOnce(&Any) -> Res) -> Res<Step> {
        let object = self.object()?;
        let Some(_busy) = Busy::of(&self.busy) else { return Ok(Step::Again) };
        if let Engine::Direct(direct) = &self.engine {
            direct.disturb();
        }
        let answer = call(&object);
        unless_again(answer.map(|_| Step::Done), Step::Again)
    }

    /// Reads plaintext: of one record, as far as there is space. No space reads nothing.
    #[inline]
    pub(crate) fn read(&self, space: &mut [MaybeUninit<u8>]) -> Res<Got> {
        if space.is_empty() {
            return Ok(Got::Data(0));
        }
        let Some(_busy) = Busy::of(&self.busy) else { return Ok(Got::Again) };
        let worker = match &self.engine {
            Engine::Direct(direct) => match direct.read(space) {
                Outcome::Done(count) => return Ok(Got::Data(count)),
                Outcome::Again => return Ok(Got::Again),
                Outcome::End => return Ok(Got::End),
                Outcome::Otherwise => direct.object().ok_or_else(cleared)?,
            },
            Engine::Memory(Memory { plain: false, worker, .. }) => {
                return unless_again(read_by_method(&*held(worker)?, space), Got::Again);
            }
            Engine::Memory(memory) => held(&memory.worker)?,
        };
        let got = openssl::read_into(&worker, space).map(|count| match count {
            0 => Got::End,
            count => Got::Data(count),
        });
        unless_again(got, Got::Again)
    }

    /// `read` into memory that may be looked at.
    pub(crate) fn read_into(&self, space: &mut [u8]) -> Res<Got> {
        // SAFETY: the same memory; `read` writes nothing into it but bytes that it has.
        self.read(unsafe { &mut *(std::ptr::from_mut(space) as *mut [MaybeUninit<u8>]) })
    }

    /// Writes plaintext; what it became is outgoing then.
    #[inline]
    pub(crate) fn write(&self, data: &[u8]) -> Res<Put> {
        let Some(_busy) = Busy::of(&self.busy) else { return Ok(Put::Again) };
        let worker = match &self.engine {
            Engine::Direct(direct) => match direct.write(data) {
                Outcome::Done(count) => return Ok(Put::Taken(count)),
                Outcome::Again => return Ok(Put::Again),
                Outcome::End | Outcome::Otherwise => direct.object().ok_or_else(cleared)?,
            },
            Engine::Memory(Memory { plain: false, worker, .. }) => {
                return unless_again(write_by_method(&*held(worker)?, data), Put::Again);
            }
            Engine::Memory(memory) => held(&memory.worker)?,
        };
        unless_again(openssl::write_from(&worker, data).map(Put::Taken), Put::Again)
    }

    pub(crate) fn visit(&self, visitor: &Visitor) -> Result<(), Stop> {
        visitor.slot(&self.object)?;
        match &self.engine {
            Engine::Direct(direct) => direct.visit(visitor),
            Engine::Memory(memory) => {
                visitor.slot(&memory.worker)?;
                visitor.slot(&memory.incoming)?;
                visitor.slot(&memory.outgoing)
            }
        }
    }

    /// Drops what can close a cycle. Methods raise from then on.
    pub(crate) fn clear(&self) {
        self.object.clear();
        match &self.engine {
            Engine::Direct(direct) => direct.clear(),
            Engine::Memory(memory) => {
                memory.worker.clear();
                memory.incoming.clear();
                memory.outgoing.clear();
            }
        }
    }
}

#[cold]
fn cleared() -> Raised {
    runtime_error("the TLS session is gone")
}

fn held(slot: &Slot) -> Res {
    slot.get().ok_or_else(cleared)
}

fn pending(bio: &Slot) -> Res<usize> {
    value::as_count(&*held(bio)?.attr(&names::PENDING)?).map(|count| count as usize)
}

/// The `_ssl._SSLSocket` beneath an SSLObject whose `read` and `write` do no more than call it.
fn plain_worker(module: &Module, object: &Any) -> Res<Option<Own<Any>>> {
    let class = value::type_of(object);
    for (name, own) in [(&names::READ, &module.read), (&names::WRITE, &module.write)] {
        match class.attr_if_any(name)? {
            Some(method) if method.is(&**own) => {}
            _ => return Ok(None),
        }
    }
    let native = object.attr_if_any(&names::SSLOBJ)?;
    Ok(native.filter(|native| std::ptr::eq(native.type_ptr().cast(), module.native.as_ptr())))
}

fn read_by_method(object: &Any, space: &mut [MaybeUninit<u8>]) -> Res<Got> {
    let most = space.len().min(MOST_BY_METHOD);
    let answer = object.call_method(&names::READ, &[&*value::int(most as i64)?])?;
    let answer = buffer::Buffer::readable(&answer)?;
    let data = answer.as_slice();
    let Some(target) = space.get_mut(..data.len()) else {
        return Err(runtime_error("an SSLObject's read() gave more than was asked for"));
    };
    for (place, &byte) in target.iter_mut().zip(data) {
        place.write(byte);
    }
    Ok(if data.is_empty() { Got::End } else { Got::Data(data.len()) })
}

fn write_by_method(object: &Any, data: &[u8]) -> Res<Put> {
    let answer = object.call_method(&names::WRITE, &[&*buffer::bytes(data)?])?;
    let count = value::as_count(&answer)? as usize;
    Ok(Put::Taken(count.min(data.len())))
}
