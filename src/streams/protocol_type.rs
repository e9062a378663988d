//! `aioxide.StreamReaderProtocol` as Python sees it.

use super::protocol::{DRAINING, METHODS, ProtocolState, StreamReaderProtocol};
use super::stock::stock;
use super::{borrow, set_or_clear};
use crate::py::{Any, Args, AsObject, Builder, Res, Signature, import, names, value};
use crate::sync::methods::add_async_methods;
use crate::tasks::coroutine::coroutine;

static INIT: Signature<3> = Signature {
    method: "StreamReaderProtocol.__init__",
    names: [&names::READER_ARG, &names::CLIENT_CONNECTED_ARG, &names::LOOP],
    positional: 3,
    required: 1,
};
static CONNECTION_MADE: Signature<1> = Signature {
    method: "StreamReaderProtocol.connection_made",
    names: [&names::TRANSPORT],
    positional: 1,
    required: 1,
};
static CONNECTION_LOST: Signature<1> = Signature {
    method: "StreamReaderProtocol.connection_lost",
    names: [&names::EXC],
    positional: 1,
    required: 1,
};
static DATA_RECEIVED: Signature<1> = Signature {
    method: "StreamReaderProtocol.data_received",
    names: [&names::DATA],
    positional: 1,
    required: 1,
};
static DRAIN_HELPER: Signature<0> =
    Signature { method: "FlowControlMixin._drain_helper", names: [], positional: 0, required: 0 };

type Protocol = StreamReaderProtocol;

/// Makes the type.
pub(super) fn build() -> Res<&'static Any> {
    // So that it is an asyncio.Protocol to isinstance(); kept for ever, as the type is.
    let base = Box::leak(Box::new(import(c"asyncio.protocols", c"Protocol")?));
    let class = Builder::<ProtocolState>::new(
        c"StreamReaderProtocol(stream_reader, client_connected_cb=None, loop=None)\n--\n\nHands what a transport says to a StreamReader, and to writers that drain.",
    )
    .base(base)
    .subclassable()
    .dict(std::mem::offset_of!(ProtocolState, dict))
    .weakrefs(std::mem::offset_of!(ProtocolState, weakrefs))
    .blank(ProtocolState::blank)
    .init(|this: &Protocol, args: Args<'_>| {
        let [reader, client_connected, event_loop] = args.bind(&INIT)?;
        this.begin(reader.unwrap_or(value::none_ref()), client_connected, event_loop)
    })
    .args(
        c"connection_made",
        c"connection_made($self, /, transport)\n--\n\nCalled when a connection is made.",
        |this: &Protocol, args: Args<'_>| {
            let [transport] = args.bind(&CONNECTION_MADE)?;
            this.connection_made(transport.unwrap_or(value::none_ref()))
        },
    )
    .args(
        c"connection_lost",
        c"connection_lost($self, /, exc)\n--\n\nCalled when the connection is lost or closed.",
        |this: &Protocol, args: Args<'_>| {
            let [exception] = args.bind(&CONNECTION_LOST)?;
            this.connection_is_lost(exception.unwrap_or(value::none_ref()))
        },
    )
    .args(
        c"data_received",
        c"data_received($self, /, data)\n--\n\nCalled when some data is received.",
        |this: &Protocol, args: Args<'_>| {
            let [data] = args.bind(&DATA_RECEIVED)?;
            this.data_received(data.unwrap_or(value::none_ref()))
        },
    )
    .noargs(
        c"eof_received",
        c"eof_received($self, /)\n--\n\nCalled when the other end will not send any more.",
        |this: &Protocol| this.eof_received(),
    )
    .noargs(
        c"pause_writing",
        c"pause_writing($self, /)\n--\n\nCalled when the transport's buffer goes over the high-water mark.",
        |this: &Protocol| this.pause_writing(),
    )
    .noargs(
        c"resume_writing",
        c"resume_writing($self, /)\n--\n\nCalled when the transport's buffer drains below the low-water mark.",
        |this: &Protocol| this.resume_writing(),
    )
    .one(
        c"_get_close_waiter",
        c"_get_close_waiter($self, stream, /)\n--\n\nThe future that is done when the connection is closed.",
        |this: &Protocol, _: &Any| this.closed(),
    )
    .getter(c"_stream_reader", |this: &Protocol| this.stream_reader())
    .property(
        c"_stream_reader_wr",
        |this: &Protocol| this.reader.get(),
        |this: &Protocol, reference: &Any| set_or_clear(&this.reader, reference),
    )
    .property(
        c"_strong_reader",
        |this: &Protocol| this.strong_reader.get(),
        |this: &Protocol, reader: &Any| set_or_clear(&this.strong_reader, reader),
    )
    .property(
        c"_stream_writer",
        |this: &Protocol| this.writer.get(),
        |this: &Protocol, writer: &Any| set_or_clear(&this.writer, writer),
    )
    .property(
        c"_transport",
        |this: &Protocol| this.transport.get(),
        |this: &Protocol, transport: &Any| set_or_clear(&this.transport, transport),
    )
    .property(
        c"_client_connected_cb",
        |this: &Protocol| this.client_connected.get(),
        |this: &Protocol, callback: &Any| set_or_clear(&this.client_connected, callback),
    )
    .property(
        c"_task",
        |this: &Protocol| this.task.get(),
        |this: &Protocol, task: &Any| set_or_clear(&this.task, task),
    )
    .property(
        c"_loop",
        |this: &Protocol| this.event_loop.get(),
        |this: &Protocol, event_loop: &Any| set_or_clear(&this.event_loop, event_loop),
    )
    .property(
        c"_source_traceback",
        |this: &Protocol| this.source_traceback.get(),
        |this: &Protocol, stack: &Any| set_or_clear(&this.source_traceback, stack),
    )
    .property(
        c"_closed",
        |this: &Protocol| this.closed(),
        |this: &Protocol, future: &Any| {
            this.set_closed(future);
            Ok(())
        },
    )
    .property(
        c"_paused",
        |this: &Protocol| this.paused.get(),
        |this: &Protocol, flag: &Any| {
            this.paused.set(value::is_true(flag)?);
            Ok(())
        },
    )
    .property(
        c"_connection_lost",
        |this: &Protocol| this.connection_lost.get(),
        |this: &Protocol, flag: &Any| {
            this.connection_lost.set(value::is_true(flag)?);
            Ok(())
        },
    )
    .property(
        c"_reject_connection",
        |this: &Protocol| this.reject_connection.get(),
        |this: &Protocol, flag: &Any| {
            this.reject_connection.set(value::is_true(flag)?);
            Ok(())
        },
    )
    .property(
        c"_over_ssl",
        |this: &Protocol| this.over_ssl.get(),
        |this: &Protocol, flag: &Any| {
            this.over_ssl.set(value::is_true(flag)?);
            Ok(())
        },
    )
    .getter(c"_drain_waiters", |this: &Protocol| this.drainers.as_deque())
    .build()?;
    let model = &stock().protocol;
    add_async_methods(class, model, &names::DRAIN_HELPER, |this: &Protocol, args: Args<'_>| {
        args.bind(&DRAIN_HELPER)?;
        coroutine(&DRAINING, Some(this.own().into_any()), None)
    })?;
    // What start_tls() ends with: the one up to 3.12, the other from 3.13 on.
    borrow(class, model, &names::REPLACE_WRITER)?;
    borrow(class, model, &names::REPLACE_TRANSPORT)?;
    METHODS.remember(class)?;
    Ok(class)
}
