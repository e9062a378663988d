//! Stream transports as Python sees them: asyncio's `_SelectorSocketTransport`, by every attribute
//! that asyncio's own code or a program in earnest looks at.

use super::flow::Writing;
use super::protocol;
use super::socket;
use super::transport::{Life, Transport, TransportState};
use crate::py::{
    Any, Args, AsObject, Builder, Global, Own, Res, Signature, import, names, type_error, value,
};

/// What is imported.
struct Stock {
    transport_class: Own<Any>,
    sendfile_mode: Own<Any>,
}

static STOCK: Global<Stock> = Global::new();

static NEW: Signature<6> = Signature {
    method: "SocketTransport",
    names: [
        &names::LOOP,
        &names::SOCK,
        &names::PROTOCOL,
        &names::WAITER,
        &names::EXTRA,
        &names::SERVER,
    ],
    positional: 6,
    required: 3,
};
static GET_EXTRA_INFO: Signature<2> = Signature {
    method: "get_extra_info",
    names: [&names::NAME, &names::DEFAULT],
    positional: 2,
    required: 1,
};

/// `socket_transport(loop, sock, protocol, waiter=None, extra=None, server=None)`.
pub(super) fn make(args: &Args<'_>) -> Res<Own<Transport>> {
    let [event_loop, sock, protocol, waiter, extra, server] = args.bind(&NEW)?;
    let given = |argument: Option<&'_ Any>| argument.is_some_and(|argument| !argument.is_none());
    let (Some(event_loop), Some(sock), Some(protocol)) = (event_loop, sock, protocol) else {
        return Err(type_error("a transport needs a loop, a socket and a protocol"));
    };
    Transport::over_socket(
        event_loop,
        sock,
        protocol,
        waiter.filter(|_| given(waiter)),
        extra.filter(|_| given(extra)),
        server.filter(|_| given(server)),
    )
}

fn repr(this: &Transport) -> Res<String> {
    let mut text = String::from("<_SelectorSocketTransport");
    match this.life.get() {
        Life::Closed => text += " closed",
        Life::Closing | Life::Ending => text += " closing",
        Life::Open => {}
    }
    text += &format!(" fd={}", this.fd.get());
    if this.event_loop.get().is_some_and(|event_loop| !event_loop.is_closed()) {
        let size = this.write_buffer_size()?;
        let polls = |interested: bool| if interested { "polling" } else { "idle" };
        let interest = this.interest();
        text += &format!(
            " read={} write=<{}, bufsize={size}>",
            polls(interest.read),
            polls(interest.write)
        );
    }
    Ok(text + ">")
}

fn get_extra_info(this: &Transport, args: Args<'_>) -> Res {
    let [name, default] = args.bind(&GET_EXTRA_INFO)?;
    let none = value::none_ref();
    this.extra_info(name.unwrap_or(none), default.unwrap_or(none))
}

/// Makes the type.
pub(super) fn build() -> Res<&'static Any> {
    STOCK.fill(Stock {
        transport_class: import(c"asyncio.selector_events", c"_SelectorSocketTransport")?,
        sendfile_mode: import(c"asyncio.constants", c"_SendfileMode")?.attr(&names::TRY_NATIVE)?,
    });
    protocol::load()?;
    socket::load()?;
    Builder::<TransportState>::new(
        c"The transport of a connected TCP or Unix socket.",
    )
    .not_constructible()
    .dict(TransportState::dict_offset())
    .weakrefs(TransportState::weakrefs_offset())
    .repr(repr)
    .getter(c"__class__", |_: &Transport| STOCK.get().transport_class.clone())
    .args(
        c"write",
        c"write($self, /, data)\n--\n\nSend these bytes when the running callback or step is over. Never blocks.",
        |this: &Transport, args: Args<'_>| {
            let [data] = args.bind(&WRITE)?;
            data.map_or(Ok(()), |data| this.write(data))
        },
    )
    .args(
        c"writelines",
        c"writelines($self, /, list_of_data)\n--\n\nSend a list (or any iterable) of bytes.",
        |this: &Transport, args: Args<'_>| {
            let [lines] = args.bind(&WRITELINES)?;
            lines.map_or(Ok(()), |lines| this.write_lines(lines))
        },
    )
    .noargs(
        c"write_eof",
        c"write_eof($self, /)\n--\n\nClose the writing side when everything is sent; reading goes on.",
        |this: &Transport| this.write_eof(),
    )
    .noargs(
        c"can_write_eof",
        c"can_write_eof($self, /)\n--\n\nReturn True: stream sockets can be half closed.",
        |_: &Transport| true,
    )
    .noargs(
        c"close",
        c"close($self, /)\n--\n\nStop reading, send what was written, then close and call connection_lost(None).",
        |this: &Transport| this.close(),
    )
    .noargs(
        c"abort",
        c"abort($self, /)\n--\n\nClose at once; what waits to be sent is lost.",
        |this: &Transport| this.force_close(value::none_ref()),
    )
    .noargs(
        c"is_closing",
        c"is_closing($self, /)\n--\n\nReturn True if the transport is closing or closed.",
        |this: &Transport| this.life.get() != Life::Open,
    )
    .noargs(
        c"is_reading",
        c"is_reading($self, /)\n--\n\nReturn True if the transport is receiving.",
        |this: &Transport| this.is_reading(),
    )
    .noargs(
        c"pause_reading",
        c"pause_reading($self, /)\n--\n\nDeliver nothing to the protocol until resume_reading().",
        |this: &Transport| this.pause_reading(),
    )
    .noargs(
        c"resume_reading",
        c"resume_reading($self, /)\n--\n\nDeliver to the protocol again.",
        |this: &Transport| this.resume_reading(),
    )
    .args(
        c"set_protocol",
        c"set_protocol($self, /, protocol)\n--\n\nSet a new protocol.",
        |this: &Transport, args: Args<'_>| {
            let [protocol] = args.bind(&SET_PROTOCOL)?;
            protocol.map_or(Ok(()), |protocol| this.set_protocol(protocol))
        },
    )
    .noargs(
        c"get_protocol",
        c"get_protocol($self, /)\n--\n\nReturn the current protocol.",
        |this: &Transport| this.protocol.get(),
    )
    .args(
        c"get_extra_info",
        c"get_extra_info($self, /, name, default=None)\n--\n\nGet optional transport information.",
        get_extra_info,
    )
    .args(
        c"set_write_buffer_limits",
        c"set_write_buffer_limits($self, /, high=None, low=None)\n--\n\nSet how many bytes may wait before the protocol is told to pause, and when it may resume.",
        |this: &Transport, args: Args<'_>| {
            this.settle_writes()?;
            this.limits.set(&args)?;
            this.maybe_pause_protocol()
        },
    )
    .noargs(
        c"get_write_buffer_limits",
        c"get_write_buffer_limits($self, /)\n--\n\nReturn (low, high).",
        |this: &Transport| this.limits.as_tuple(),
    )
    .noargs(
        c"get_write_buffer_size",
        c"get_write_buffer_size($self, /)\n--\n\nReturn how many bytes wait to be sent.",
        |this: &Transport| this.write_buffer_size(),
    )
    .one(c"_force_close", c"", |this: &Transport, exception: &Any| this.force_close(exception))
    .args(c"_fatal_error", c"", |this: &Transport, args: Args<'_>| {
        let [exception, message] = args.bind(&FATAL_ERROR)?;
        let none = value::none_ref();
        let message = message.map_or(Ok("Fatal error on transport".to_owned()), value::text_of)?;
        this.fatal_error(exception.unwrap_or(none), &message)
    })
    .noargs(c"_make_empty_waiter", c"", |this: &Transport| this.make_empty_waiter())
    .one(c"_let_go", c"", |this: &Transport, free: &Any| {
        this.shares_descriptor.set(value::is_true(free)?);
        Ok(())
    })
    .noargs(c"_reset_empty_waiter", c"", |this: &Transport| this.empty_waiter.clear())
    .getter(c"_sock", |this: &Transport| this.python_socket())
    .getter(c"_sock_fd", |this: &Transport| i64::from(this.fd.get()))
    .getter(c"_loop", |this: &Transport| this.event_loop.get())
    .getter(c"_protocol", |this: &Transport| this.protocol.get())
    .getter(c"_server", |this: &Transport| this.server.get())
    .getter(c"_extra", |this: &Transport| this.all_extra())
    .getter(c"_closing", |this: &Transport| this.life.get() != Life::Open)
    .getter(c"_conn_lost", |this: &Transport| i64::from(this.lost.get()))
    .getter(c"_paused", |this: &Transport| this.paused.get())
    .getter(c"_eof", |this: &Transport| this.eof.get())
    .getter(c"_protocol_paused", |this: &Transport| this.limits.paused.get())
    .getter(c"_high_water", |this: &Transport| this.limits.high())
    .getter(c"_low_water", |this: &Transport| this.limits.low())
    .getter(c"max_size", |_: &Transport| super::reading::MAX_SIZE as i64)
    .getter(c"_start_tls_compatible", |_: &Transport| true)
    .getter(c"_sendfile_compatible", |_: &Transport| STOCK.get().sendfile_mode.clone())
    .build()
}

static WRITE: Signature<1> =
    Signature { method: "write", names: [&names::DATA], positional: 1, required: 1 };
static WRITELINES: Signature<1> =
    Signature { method: "writelines", names: [&names::LIST_OF_DATA], positional: 1, required: 1 };
static SET_PROTOCOL: Signature<1> =
    Signature { method: "set_protocol", names: [&names::PROTOCOL], positional: 1, required: 1 };
static FATAL_ERROR: Signature<2> = Signature {
    method: "_fatal_error",
    names: [&names::EXC, &names::MESSAGE],
    positional: 2,
    required: 1,
};
