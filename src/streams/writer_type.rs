//! `aioxide.StreamWriter` as Python sees it.

use super::reader::{ReaderState, assertion};
use super::stock::stock;
use super::writer::{CLOSING, DRAINING, StreamWriter, WriterState};
use super::{borrow, set_or_clear, transport};
use crate::py::{Any, Args, AsObject, Builder, Res, Signature, names, value};
use crate::sync::methods::add_async_methods;
use crate::tasks::coroutine::coroutine;

static INIT: Signature<4> = Signature {
    method: "StreamWriter.__init__",
    names: [&names::TRANSPORT, &names::PROTOCOL, &names::READER, &names::LOOP],
    positional: 4,
    required: 4,
};
static WRITE: Signature<1> =
    Signature { method: "StreamWriter.write", names: [&names::DATA], positional: 1, required: 1 };
static WRITELINES: Signature<1> = Signature {
    method: "StreamWriter.writelines",
    names: [&names::DATA],
    positional: 1,
    required: 1,
};
static GET_EXTRA_INFO: Signature<2> = Signature {
    method: "StreamWriter.get_extra_info",
    names: [&names::NAME, &names::DEFAULT],
    positional: 2,
    required: 1,
};
static DRAIN: Signature<0> =
    Signature { method: "StreamWriter.drain", names: [], positional: 0, required: 0 };
static WAIT_CLOSED: Signature<0> =
    Signature { method: "StreamWriter.wait_closed", names: [], positional: 0, required: 0 };

fn init(this: &StreamWriter, args: Args<'_>) -> Res<()> {
    let [transport, protocol, reader, event_loop] =
        args.bind(&INIT)?.map(|given| given.unwrap_or(value::none_ref()));
    set_or_clear(&this.transport, transport)?;
    set_or_clear(&this.protocol, protocol)?;
    // drain() asks the reader for its exception. A reader of asyncio's own make has one as well.
    let fits = reader.is_none()
        || reader.cast::<ReaderState>().is_some()
        || value::is_instance(reader, &stock().reader)?;
    if !fits {
        return Err(assertion(""));
    }
    set_or_clear(&this.reader, reader)?;
    set_or_clear(&this.event_loop, event_loop)?;
    this.complete.clear();
    Ok(())
}

/// `_complete_fut`.
fn complete(this: &StreamWriter) -> Res {
    if let Some(future) = this.complete.get() {
        return Ok(future);
    }
    let event_loop = this.event_loop.get().unwrap_or_else(value::none);
    let future = event_loop.call_method(&names::CREATE_FUTURE, &[])?;
    future.call_method(&names::SET_RESULT, &[value::none_ref()])?;
    this.complete.set(future.clone());
    Ok(future)
}

/// Makes the type.
pub(super) fn build() -> Res<&'static Any> {
    let class = Builder::<WriterState>::new(
        c"StreamWriter(transport, protocol, reader, loop)\n--\n\nWrites to a transport.\n\nwrite() never waits; await drain() afterwards waits until the transport's buffer has room.",
    )
    .subclassable()
    .dict(std::mem::offset_of!(WriterState, dict))
    .weakrefs(std::mem::offset_of!(WriterState, weakrefs))
    .blank(WriterState::blank)
    .init(init)
    .args(
        c"write",
        c"write($self, /, data)\n--\n\nSend data, or keep it until it can be sent.",
        |this: &StreamWriter, args: Args<'_>| {
            let [data] = args.bind(&WRITE)?;
            transport::write_to(&this.transport(), data.unwrap_or(value::none_ref()))
        },
    )
    .args(
        c"writelines",
        c"writelines($self, /, data)\n--\n\nSend each item of an iterable.",
        |this: &StreamWriter, args: Args<'_>| {
            let [data] = args.bind(&WRITELINES)?;
            transport::write_lines_to(&this.transport(), data.unwrap_or(value::none_ref()))
        },
    )
    .noargs(
        c"write_eof",
        c"write_eof($self, /)\n--\n\nClose the writing side once everything is sent.",
        |this: &StreamWriter| this.transport().call_method(&names::WRITE_EOF, &[]),
    )
    .noargs(
        c"can_write_eof",
        c"can_write_eof($self, /)\n--\n\nReturn True if the transport supports write_eof().",
        |this: &StreamWriter| this.transport().call_method(&names::CAN_WRITE_EOF, &[]),
    )
    .noargs(
        c"close",
        c"close($self, /)\n--\n\nClose the connection once everything is sent.",
        |this: &StreamWriter| this.transport().call_method(&names::CLOSE, &[]),
    )
    .noargs(
        c"is_closing",
        c"is_closing($self, /)\n--\n\nReturn True if the connection is closed or being closed.",
        |this: &StreamWriter| this.transport().call_method(&names::IS_CLOSING, &[]),
    )
    .args(
        c"get_extra_info",
        c"get_extra_info($self, /, name, default=None)\n--\n\nWhat the transport knows under this name.",
        |this: &StreamWriter, args: Args<'_>| {
            let [name, default] = args.bind(&GET_EXTRA_INFO)?;
            let none = value::none_ref();
            let (name, default) = (name.unwrap_or(none), default.unwrap_or(none));
            this.transport().call_method(&names::GET_EXTRA_INFO, &[name, default])
        },
    )
    .getter(c"transport", |this: &StreamWriter| this.transport.get())
    .getter(c"_complete_fut", complete)
    .property(
        c"_transport",
        |this: &StreamWriter| this.transport.get(),
        |this: &StreamWriter, transport: &Any| set_or_clear(&this.transport, transport),
    )
    .property(
        c"_protocol",
        |this: &StreamWriter| this.protocol.get(),
        |this: &StreamWriter, protocol: &Any| set_or_clear(&this.protocol, protocol),
    )
    .property(
        c"_reader",
        |this: &StreamWriter| this.reader.get(),
        |this: &StreamWriter, reader: &Any| set_or_clear(&this.reader, reader),
    )
    .property(
        c"_loop",
        |this: &StreamWriter| this.event_loop.get(),
        |this: &StreamWriter, event_loop: &Any| set_or_clear(&this.event_loop, event_loop),
    )
    .build()?;
    let model = &stock().writer;
    add_async_methods(class, model, &names::DRAIN, |this: &StreamWriter, args: Args<'_>| {
        args.bind(&DRAIN)?;
        coroutine(&DRAINING, Some(this.own().into_any()), None)
    })?;
    add_async_methods(class, model, &names::WAIT_CLOSED, |this: &StreamWriter, args: Args<'_>| {
        args.bind(&WAIT_CLOSED)?;
        coroutine(&CLOSING, Some(this.own().into_any()), None)
    })?;
    borrow(class, model, &names::START_TLS)?;
    borrow(class, model, &names::REPR)?;
    Ok(class)
}
