//! A session as Python sees it: for tests, which hold the engines against each other and against
//! `ssl.SSLObject`, and for a look at which engine serves here. Transports use sessions natively.

use std::cell::Cell;
use std::mem::MaybeUninit;

use super::session::{self, Got, Put, Session, Step};
use crate::py::buffer::{self, Buffer, NewBytes};
use crate::py::module::Module;
use crate::py::{
    Any, Args, AsObject, Builder, Class, Object, Own, Res, Signature, Stop, TypeCell, Visitor,
    create, names, track, type_error, value,
};

type TlsSession = Object<Probe>;

struct Probe {
    session: Session,
    tracked: Cell<bool>,
}

static TYPE: TypeCell = TypeCell::new();

impl Class for Probe {
    const NAME: &'static std::ffi::CStr = c"aioxide.TlsSession";

    fn cell() -> &'static TypeCell {
        &TYPE
    }
    fn tracked(&self) -> Option<&Cell<bool>> {
        Some(&self.tracked)
    }
    fn traverse(object: &TlsSession, visitor: &Visitor) -> Result<(), Stop> {
        object.session.visit(visitor)
    }
    fn clear(object: &TlsSession) {
        object.session.clear();
    }
}

static NEW: Signature<4> = Signature {
    method: "tls_session",
    names: [&names::CONTEXT, &names::SERVER_SIDE, &names::SERVER_HOSTNAME, &names::DIRECT],
    positional: 3,
    required: 2,
};
static FEED: Signature<2> =
    Signature { method: "feed", names: [&names::DATA, &names::SIZE], positional: 2, required: 1 };

fn make(args: &Args<'_>) -> Res<Own<Any>> {
    let [context, server_side, hostname, direct] = args.bind(&NEW)?;
    let (Some(context), Some(server_side)) = (context, server_side) else {
        return Err(type_error("a session needs a context and a side"));
    };
    let server_side = value::is_true(server_side)?;
    let hostname = hostname.filter(|name| !name.is_none());
    let session = match direct {
        None => Session::new(context, server_side, hostname)?,
        Some(direct) => {
            Session::with_engine(context, server_side, hostname, value::is_true(direct)?)?
        }
    };
    let made = create(|| Probe { session, tracked: Cell::new(false) })?;
    track(&made);
    Ok(made.into_any())
}

/// `bytes`, empty at the end of the stream; `None` for "come again".
fn read(this: &TlsSession, size: usize) -> Res<Option<Own<Any>>> {
    let mut bytes = NewBytes::with_capacity(size)?;
    let count = match this.session.read(bytes.space())? {
        Got::Data(count) => count,
        Got::Again => return Ok(None),
        Got::End => 0,
    };
    // SAFETY: the session has filled so many.
    unsafe { bytes.finish(count) }.map(Some)
}

/// Feeds `data` and reads pieces of `size` while it is lent: a list of bytes, then what ended it.
fn feed(this: &TlsSession, args: &Args<'_>) -> Res<Own<Any>> {
    let [data, size] = args.bind(&FEED)?;
    let Some(data) = data else { return Err(type_error("nothing to feed")) };
    let size = size.map_or(Ok(0), value::as_count)? as usize;
    let data = Buffer::readable(data)?;
    let mut space = vec![MaybeUninit::<u8>::uninit(); size];
    this.session.feed(data.as_slice(), || {
        let pieces = value::list()?;
        if size == 0 {
            return Ok(pieces);
        }
        loop {
            match this.session.read(&mut space)? {
                Got::Data(count) => {
                    // SAFETY: the session has filled so many.
                    let piece =
                        unsafe { std::slice::from_raw_parts(space.as_ptr().cast::<u8>(), count) };
                    value::append(&pieces, &*buffer::bytes(piece)?)?;
                }
                Got::Again => break,
                Got::End => {
                    value::append(&pieces, value::none_ref())?;
                    break;
                }
            }
        }
        Ok(pieces)
    })?
}

/// Makes the type and adds it to the module.
pub(super) fn add_to(module: &Module<'_>) -> Res<()> {
    let class = Builder::<Probe>::new(c"A TLS session, for tests.")
        .not_constructible()
        .getter(c"object", |this: &TlsSession| this.session.object())
        .getter(c"direct", |this: &TlsSession| this.session.is_direct())
        .getter(c"incoming", |this: &TlsSession| this.session.incoming_pending().map(|n| n as i64))
        .getter(c"outgoing", |this: &TlsSession| this.session.outgoing_pending().map(|n| n as i64))
        .noargs(
            c"do_handshake",
            c"do_handshake($self, /)\n--\n\nReturn whether the handshake is done.",
            |this: &TlsSession| this.session.do_handshake().map(|step| step == Step::Done),
        )
        .noargs(
            c"unwrap",
            c"unwrap($self, /)\n--\n\nReturn whether both sides have ended.",
            |this: &TlsSession| this.session.unwrap().map(|step| step == Step::Done),
        )
        .one(
            c"read",
            c"read($self, size, /)\n--\n\nReturn bytes, b'' at the end, None if there is nothing yet.",
            |this: &TlsSession, size: &Any| read(this, value::as_count(size)? as usize),
        )
        .one(
            c"write",
            c"write($self, data, /)\n--\n\nReturn how much was taken, None if it must come again.",
            |this: &TlsSession, data: &Any| {
                let data = Buffer::readable(data)?;
                Ok(match this.session.write(data.as_slice())? {
                    Put::Taken(count) => Some(count as i64),
                    Put::Again => None,
                })
            },
        )
        .args(
            c"feed",
            c"feed($self, /, data, size=0)\n--\n\nTake ciphertext and read pieces of size bytes, if that is not 0; None in the list for the end.",
            |this: &TlsSession, args: Args<'_>| feed(this, &args),
        )
        .noargs(
            c"take_outgoing",
            c"take_outgoing($self, /)\n--\n\nReturn the ciphertext to be sent, None if there is none.",
            |this: &TlsSession| this.session.take_outgoing(),
        )
        .build()?;
    module.add(c"TlsSession", class)?;
    module.function(
        c"tls_session",
        c"tls_session(context, server_side, server_hostname=None, *, direct=<unrepresentable>)\n--\n\nMake a TLS session, for tests.",
        |_, args: Args<'_>| make(&args),
    )?;
    module.function(
        c"tls_engine",
        c"tls_engine()\n--\n\nReturn how OpenSSL is used: 'direct', or 'memory' and why.",
        |_, _: Args<'_>| session::engine(),
    )
}
