//! Pipe transports as Python sees them: asyncio's `_UnixReadPipeTransport` and
//! `_UnixWritePipeTransport`, by every attribute that a program in earnest looks at.

use super::flow::Writing;
use super::pipe::{self, stock};
use super::pipe_reading::{ReadPipe, ReadPipeState};
use super::pipe_writing::{Wait, WritePipe, WritePipeState};
use super::transport::Life;
use crate::engine::event_loop::EventLoop;
use crate::py::error::raise_bare;
use crate::py::{
    Any, Args, AsObject, Builder, Builtin, Own, Res, Signature, Slot, dict_get, names, type_error,
    value,
};
use crate::streams::StreamReader;

const fn new(method: &'static str) -> Signature<5> {
    Signature {
        method,
        names: [&names::LOOP, &names::PIPE, &names::PROTOCOL, &names::WAITER, &names::EXTRA],
        positional: 5,
        required: 3,
    }
}

static NEW_READ: Signature<5> = new("read_pipe_transport");
static NEW_WRITE: Signature<5> = new("write_pipe_transport");
static GET_EXTRA_INFO: Signature<2> = Signature {
    method: "get_extra_info",
    names: [&names::NAME, &names::DEFAULT],
    positional: 2,
    required: 1,
};
static SET_PROTOCOL: Signature<1> =
    Signature { method: "set_protocol", names: [&names::PROTOCOL], positional: 1, required: 1 };
static WRITE: Signature<1> =
    Signature { method: "write", names: [&names::DATA], positional: 1, required: 1 };
static WRITELINES: Signature<1> =
    Signature { method: "writelines", names: [&names::LIST_OF_DATA], positional: 1, required: 1 };

/// `(loop, pipe, protocol, waiter=None, extra=None)`.
type Parts<'a> = (&'a Any, &'a Any, &'a Any, Option<&'a Any>, Option<&'a Any>);

fn parts<'a>(args: &Args<'a>, signature: &'static Signature<5>) -> Res<Parts<'a>> {
    let [event_loop, pipe, protocol, waiter, extra] = args.bind(signature)?;
    let given = |argument: &&Any| !argument.is_none();
    let (Some(event_loop), Some(pipe), Some(protocol)) = (event_loop, pipe, protocol) else {
        return Err(type_error("a transport needs a loop, a pipe and a protocol"));
    };
    Ok((event_loop, pipe, protocol, waiter.filter(given), extra.filter(given)))
}

/// `read_pipe_transport(loop, pipe, protocol, waiter=None, extra=None)`.
pub(super) fn make_read(args: &Args<'_>) -> Res<Own<ReadPipe>> {
    let (event_loop, pipe, protocol, waiter, extra) = parts(args, &NEW_READ)?;
    ReadPipe::make(event_loop, pipe, protocol, waiter, extra)
}

/// `write_pipe_transport(loop, pipe, protocol, waiter=None, extra=None)`.
pub(super) fn make_write(args: &Args<'_>) -> Res<Own<WritePipe>> {
    let (event_loop, pipe, protocol, waiter, extra) = parts(args, &NEW_WRITE)?;
    WritePipe::make(event_loop, pipe, protocol, waiter, extra)
}

/// What both say of themselves.
fn repr(
    class: &str,
    life: Life,
    fd: i32,
    event_loop: &Slot<EventLoop>,
    polls: bool,
    size: Option<usize>,
) -> String {
    let mut text = format!("<{class}");
    match life {
        Life::Closed => text += " closed",
        Life::Closing | Life::Ending => text += " closing",
        Life::Open => {}
    }
    text += &format!(" fd={fd}");
    if life == Life::Closed {
        text += " closed";
    } else if event_loop.get().is_none_or(|event_loop| event_loop.is_closed()) {
        text += " open";
    } else {
        text += if polls { " polling" } else { " idle" };
        if let Some(size) = size {
            text += &format!(" bufsize={size}");
        }
    }
    text + ">"
}

fn repr_of_reading(this: &ReadPipe) -> String {
    let life = this.life.get();
    let (fd, polls) = (this.fd.get(), this.watches.get());
    repr("_UnixReadPipeTransport", life, fd, &this.event_loop, polls, None)
}

fn repr_of_writing(this: &WritePipe) -> String {
    let life = this.life.get();
    let (fd, polls) = (this.fd.get(), this.wait.get() != Wait::Not);
    let size = Some(this.pending.size());
    repr("_UnixWritePipeTransport", life, fd, &this.event_loop, polls, size)
}

fn extra_info(extra: &Slot, args: &Args<'_>) -> Res<Option<Own<Any>>> {
    let [name, default] = args.bind(&GET_EXTRA_INFO)?;
    let known = match (extra.get(), name) {
        (Some(extra), Some(name)) => dict_get(&extra, name)?,
        _ => None,
    };
    Ok(known.or_else(|| default.map(AsObject::own)))
}

/// Makes the type of reading transports.
pub(super) fn build_reading() -> Res<&'static Any> {
    pipe::load()?;
    Builder::<ReadPipeState>::new(c"The transport that reads from a pipe, a terminal or the like.")
        .not_constructible()
        .dict(ReadPipeState::dict_offset())
        .weakrefs(ReadPipeState::weakrefs_offset())
        .repr(|this: &ReadPipe| repr_of_reading(this))
        .getter(c"__class__", |_: &ReadPipe| stock().read_class.clone())
        .noargs(
            c"close",
            c"close($self, /)\n--\n\nStop reading, then close and call connection_lost(None).",
            |this: &ReadPipe| this.close(),
        )
        .noargs(
            c"is_closing",
            c"is_closing($self, /)\n--\n\nReturn True if the transport is closing or closed.",
            |this: &ReadPipe| this.life.get() != Life::Open,
        )
        .noargs(
            c"is_reading",
            c"is_reading($self, /)\n--\n\nReturn True if the transport is receiving.",
            |this: &ReadPipe| this.is_reading(),
        )
        .noargs(
            c"pause_reading",
            c"pause_reading($self, /)\n--\n\nDeliver nothing to the protocol until resume_reading().",
            |this: &ReadPipe| this.pause_reading(),
        )
        .noargs(
            c"resume_reading",
            c"resume_reading($self, /)\n--\n\nDeliver to the protocol again.",
            |this: &ReadPipe| this.resume_reading(),
        )
        .args(
            c"set_protocol",
            c"set_protocol($self, /, protocol)\n--\n\nSet a new protocol.",
            |this: &ReadPipe, args: Args<'_>| {
                let [protocol] = args.bind(&SET_PROTOCOL)?;
                this.set_protocol(protocol.unwrap_or(value::none_ref()));
                Ok(())
            },
        )
        .noargs(
            c"get_protocol",
            c"get_protocol($self, /)\n--\n\nReturn the current protocol.",
            |this: &ReadPipe| this.protocol.get(),
        )
        .args(
            c"get_extra_info",
            c"get_extra_info($self, /, name, default=None)\n--\n\nGet optional transport information.",
            |this: &ReadPipe, args: Args<'_>| extra_info(&this.extra, &args),
        )
        .one(
            c"_feed_reader",
            c"_feed_reader($self, reader, /)\n--\n\nHand all bytes from now on to an aioxide.StreamReader, and none to the protocol, which hears of the end.",
            |this: &ReadPipe, reader: &Any| match reader.cast::<crate::streams::ReaderState>() {
                Some(reader) => feed(this, reader),
                None => Err(type_error("_feed_reader() needs an aioxide.StreamReader")),
            },
        )
        .property(
            c"_pipe",
            |this: &ReadPipe| this.pipe.get(),
            |this: &ReadPipe, pipe: &Any| {
                this.pipe.put((!pipe.is_none()).then(|| pipe.own()));
                Ok(())
            },
        )
        .getter(c"_fileno", |this: &ReadPipe| i64::from(this.fd.get()))
        .getter(c"_loop", |this: &ReadPipe| this.event_loop.get())
        .getter(c"_protocol", |this: &ReadPipe| this.protocol.get())
        .getter(c"_extra", |this: &ReadPipe| this.extra.get())
        .getter(c"_closing", |this: &ReadPipe| this.life.get() != Life::Open)
        .getter(c"_paused", |this: &ReadPipe| this.paused.get())
        .getter(c"max_size", |_: &ReadPipe| super::reading::MAX_SIZE as i64)
        .build()
}

fn feed(this: &ReadPipe, reader: &StreamReader) -> Res<()> {
    this.feed_reader(reader);
    Ok(())
}

/// asyncio's is a Transport that has these methods and does not read.
const NOT_READING: &std::ffi::CStr = c"Raise NotImplementedError.";

fn not_implemented() -> Res<()> {
    Err(raise_bare(Builtin::NotImplementedError.get()))
}

/// Makes the type of writing transports.
pub(super) fn build_writing() -> Res<&'static Any> {
    Builder::<WritePipeState>::new(c"The transport that writes to a pipe, a terminal or the like.")
        .not_constructible()
        .dict(WritePipeState::dict_offset())
        .weakrefs(WritePipeState::weakrefs_offset())
        .repr(|this: &WritePipe| repr_of_writing(this))
        .getter(c"__class__", |_: &WritePipe| stock().write_class.clone())
        .args(
            c"write",
            c"write($self, /, data)\n--\n\nWrite these bytes now, or as soon as there is room. Never blocks.",
            |this: &WritePipe, args: Args<'_>| {
                let [data] = args.bind(&WRITE)?;
                data.map_or(Ok(()), |data| this.write(data))
            },
        )
        .args(
            c"writelines",
            c"writelines($self, /, list_of_data)\n--\n\nWrite a list (or any iterable) of bytes.",
            |this: &WritePipe, args: Args<'_>| {
                let [lines] = args.bind(&WRITELINES)?;
                let lines = lines.unwrap_or(value::none_ref());
                this.write(&*value::join_bytes(lines)?)
            },
        )
        .noargs(
            c"write_eof",
            c"write_eof($self, /)\n--\n\nClose the pipe when everything is written.",
            |this: &WritePipe| this.write_eof(),
        )
        .noargs(
            c"can_write_eof",
            c"can_write_eof($self, /)\n--\n\nReturn True.",
            |_: &WritePipe| true,
        )
        .noargs(
            c"close",
            c"close($self, /)\n--\n\nWrite what waits, then close and call connection_lost(None).",
            |this: &WritePipe| this.write_eof(),
        )
        .noargs(
            c"abort",
            c"abort($self, /)\n--\n\nClose at once; what waits to be written is lost.",
            |this: &WritePipe| this.force_close(value::none_ref()),
        )
        .noargs(
            c"is_closing",
            c"is_closing($self, /)\n--\n\nReturn True if the transport is closing or closed.",
            |this: &WritePipe| this.life.get() != Life::Open,
        )
        .args(
            c"set_protocol",
            c"set_protocol($self, /, protocol)\n--\n\nSet a new protocol.",
            |this: &WritePipe, args: Args<'_>| {
                let [protocol] = args.bind(&SET_PROTOCOL)?;
                this.protocol.put(protocol.map(AsObject::own));
                Ok(())
            },
        )
        .noargs(
            c"get_protocol",
            c"get_protocol($self, /)\n--\n\nReturn the current protocol.",
            |this: &WritePipe| this.protocol.get(),
        )
        .args(
            c"get_extra_info",
            c"get_extra_info($self, /, name, default=None)\n--\n\nGet optional transport information.",
            |this: &WritePipe, args: Args<'_>| extra_info(&this.extra, &args),
        )
        .args(
            c"set_write_buffer_limits",
            c"set_write_buffer_limits($self, /, high=None, low=None)\n--\n\nSet how many bytes may wait before the protocol is told to pause, and when it may resume.",
            |this: &WritePipe, args: Args<'_>| {
                this.limits.set(&args)?;
                this.maybe_pause_protocol()
            },
        )
        .noargs(
            c"get_write_buffer_limits",
            c"get_write_buffer_limits($self, /)\n--\n\nReturn (low, high).",
            |this: &WritePipe| this.limits.as_tuple(),
        )
        .noargs(
            c"get_write_buffer_size",
            c"get_write_buffer_size($self, /)\n--\n\nReturn how many bytes wait to be written.",
            |this: &WritePipe| this.pending.size() as i64,
        )
        .noargs(c"is_reading", NOT_READING, |_: &WritePipe| not_implemented())
        .noargs(c"pause_reading", NOT_READING, |_: &WritePipe| not_implemented())
        .noargs(c"resume_reading", NOT_READING, |_: &WritePipe| not_implemented())
        .property(
            c"_pipe",
            |this: &WritePipe| this.pipe.get(),
            |this: &WritePipe, pipe: &Any| {
                this.pipe.put((!pipe.is_none()).then(|| pipe.own()));
                Ok(())
            },
        )
        .getter(c"_fileno", |this: &WritePipe| i64::from(this.fd.get()))
        .getter(c"_loop", |this: &WritePipe| this.event_loop.get())
        .getter(c"_protocol", |this: &WritePipe| this.protocol.get())
        .getter(c"_extra", |this: &WritePipe| this.extra.get())
        .getter(c"_closing", |this: &WritePipe| this.life.get() != Life::Open)
        .getter(c"_conn_lost", |this: &WritePipe| i64::from(this.lost.get()))
        .getter(c"_protocol_paused", |this: &WritePipe| this.limits.paused.get())
        .getter(c"_high_water", |this: &WritePipe| this.limits.high())
        .getter(c"_low_water", |this: &WritePipe| this.limits.low())
        .build()
}
