//! Datagram transports as Python sees them: asyncio's `_SelectorDatagramTransport`, by every
//! attribute that a program in earnest looks at.

use super::datagram::{DatagramState, DatagramTransport, Life, Parts};
use super::datagram_stock::{self, stock};
use crate::py::{
    Any, Args, AsObject, Builder, Own, Res, Signature, dict_get, names, type_error, value,
};

static NEW: Signature<6> = Signature {
    method: "datagram_transport",
    names: [
        &names::LOOP,
        &names::SOCK,
        &names::PROTOCOL,
        &names::ADDRESS,
        &names::WAITER,
        &names::EXTRA,
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

/// `datagram_transport(loop, sock, protocol, address=None, waiter=None, extra=None)`.
pub(super) fn make(args: &Args<'_>) -> Res<Own<DatagramTransport>> {
    let [event_loop, sock, protocol, address, waiter, extra] = args.bind(&NEW)?;
    let given = |argument: &&Any| !argument.is_none();
    let (Some(event_loop), Some(sock), Some(protocol)) = (event_loop, sock, protocol) else {
        return Err(type_error("a transport needs a loop, a socket and a protocol"));
    };
    DatagramTransport::make(&Parts {
        event_loop,
        sock,
        protocol,
        address: address.filter(given),
        waiter: waiter.filter(given),
        extra: extra.filter(given),
    })
}

fn repr(this: &DatagramTransport) -> String {
    let mut text = String::from("<_SelectorDatagramTransport");
    match this.life.get() {
        Life::Closed => text += " closed",
        Life::Closing | Life::Ending => text += " closing",
        Life::Open => {}
    }
    text += &format!(" fd={}", this.fd.get());
    if this.event_loop.get().is_some_and(|event_loop| !event_loop.is_closed()) {
        let polls = |interested: bool| if interested { "polling" } else { "idle" };
        let interest = this.interest();
        text += &format!(
            " read={} write=<{}, bufsize={}>",
            polls(interest.read),
            polls(interest.write),
            this.waiting_size.get()
        );
    }
    text + ">"
}

fn get_extra_info(this: &DatagramTransport, args: Args<'_>) -> Res<Option<Own<Any>>> {
    let [name, default] = args.bind(&GET_EXTRA_INFO)?;
    let known = match (this.extra.get(), name) {
        (Some(extra), Some(name)) => dict_get(&extra, name)?,
        _ => None,
    };
    Ok(known.or_else(|| default.map(AsObject::own)))
}

static SET_PROTOCOL: Signature<1> =
    Signature { method: "set_protocol", names: [&names::PROTOCOL], positional: 1, required: 1 };

fn set_protocol(this: &DatagramTransport, args: Args<'_>) -> Res<()> {
    let [protocol] = args.bind(&SET_PROTOCOL)?;
    this.protocol.put(protocol.map(AsObject::own));
    Ok(())
}

/// Makes the type.
pub(super) fn build() -> Res<&'static Any> {
    datagram_stock::load()?;
    Builder::<DatagramState>::new(c"The transport of a UDP or Unix datagram socket.")
        .not_constructible()
        .dict(DatagramState::dict_offset())
        .weakrefs(DatagramState::weakrefs_offset())
        .repr(|this: &DatagramTransport| repr(this))
        .getter(c"__class__", |_: &DatagramTransport| stock().transport_class.clone())
        .args(
            c"sendto",
            c"sendto($self, /, data, addr=None)\n--\n\nSend a datagram, to the given address or to the one that the transport was made for. Never blocks.",
            |this: &DatagramTransport, args: Args<'_>| this.sendto(&args),
        )
        .noargs(
            c"close",
            c"close($self, /)\n--\n\nStop receiving, send what waits, then close and call connection_lost(None).",
            |this: &DatagramTransport| this.close(),
        )
        .noargs(
            c"abort",
            c"abort($self, /)\n--\n\nClose at once; what waits to be sent is lost.",
            |this: &DatagramTransport| this.force_close(value::none_ref()),
        )
        .noargs(
            c"is_closing",
            c"is_closing($self, /)\n--\n\nReturn True if the transport is closing or closed.",
            |this: &DatagramTransport| this.life.get() != Life::Open,
        )
        .noargs(
            c"is_reading",
            c"is_reading($self, /)\n--\n\nReturn True if the transport is receiving.",
            |this: &DatagramTransport| this.is_reading(),
        )
        .noargs(
            c"pause_reading",
            c"pause_reading($self, /)\n--\n\nDeliver nothing to the protocol until resume_reading().",
            |this: &DatagramTransport| this.pause_reading(),
        )
        .noargs(
            c"resume_reading",
            c"resume_reading($self, /)\n--\n\nDeliver to the protocol again.",
            |this: &DatagramTransport| this.resume_reading(),
        )
        .args(
            c"set_protocol",
            c"set_protocol($self, /, protocol)\n--\n\nSet a new protocol.",
            set_protocol,
        )
        .noargs(
            c"get_protocol",
            c"get_protocol($self, /)\n--\n\nReturn the current protocol.",
            |this: &DatagramTransport| this.protocol.get(),
        )
        .args(
            c"get_extra_info",
            c"get_extra_info($self, /, name, default=None)\n--\n\nGet optional transport information.",
            get_extra_info,
        )
        .args(
            c"set_write_buffer_limits",
            c"set_write_buffer_limits($self, /, high=None, low=None)\n--\n\nSet how many bytes may wait before the protocol is told to pause, and when it may resume.",
            |this: &DatagramTransport, args: Args<'_>| this.set_limits(&args),
        )
        .noargs(
            c"get_write_buffer_limits",
            c"get_write_buffer_limits($self, /)\n--\n\nReturn (low, high).",
            |this: &DatagramTransport| this.limits.as_tuple(),
        )
        .noargs(
            c"get_write_buffer_size",
            c"get_write_buffer_size($self, /)\n--\n\nReturn how many bytes wait to be sent.",
            |this: &DatagramTransport| this.waiting_size.get(),
        )
        .one(c"_force_close", c"", |this: &DatagramTransport, exception: &Any| {
            this.force_close(exception)
        })
        .getter(c"_sock", |this: &DatagramTransport| this.sock.get())
        .getter(c"_sock_fd", |this: &DatagramTransport| i64::from(this.fd.get()))
        .getter(c"_loop", |this: &DatagramTransport| this.event_loop.get())
        .getter(c"_protocol", |this: &DatagramTransport| this.protocol.get())
        .getter(c"_address", |this: &DatagramTransport| this.address.get())
        .getter(c"_extra", |this: &DatagramTransport| this.extra.get())
        .getter(c"_closing", |this: &DatagramTransport| this.life.get() != Life::Open)
        .getter(c"_conn_lost", |this: &DatagramTransport| i64::from(this.lost.get()))
        .getter(c"_paused", |this: &DatagramTransport| this.paused.get())
        .getter(c"_buffer_size", |this: &DatagramTransport| this.waiting_size.get())
        .getter(c"_protocol_paused", |this: &DatagramTransport| this.limits.paused.get())
        .getter(c"_high_water", |this: &DatagramTransport| this.limits.high())
        .getter(c"_low_water", |this: &DatagramTransport| this.limits.low())
        .getter(c"max_size", |_: &DatagramTransport| super::datagram_receiving::MAX_SIZE as i64)
        .build()
}
