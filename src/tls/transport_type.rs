//! TLS transports as Python sees them: asyncio's `_SSLProtocolTransport`, and those attributes of
//! its `SSLProtocol` that the transport below calls or a program in earnest looks at.

use super::stock::stock;
use super::transport::{Marks, READ_KB, Settings, TlsState, TlsTransport, WRITE_KB};
use crate::py::buffer::Buffer;
use crate::py::error::raise_bare;
use crate::py::{
    Any, Args, AsObject, Builder, Builtin, Own, Res, Signature, dict_get, names, raise, type_error,
    value,
};

static NEW: Signature<9> = Signature {
    method: "tls_transport",
    names: [
        &names::LOOP,
        &names::PROTOCOL,
        &names::SSLCONTEXT,
        &names::WAITER,
        &names::SERVER_SIDE,
        &names::SERVER_HOSTNAME,
        &names::CALL_CONNECTION_MADE,
        &names::SSL_HANDSHAKE_TIMEOUT,
        &names::SSL_SHUTDOWN_TIMEOUT,
    ],
    positional: 9,
    required: 9,
};
static GET_EXTRA_INFO: Signature<2> = Signature {
    method: "get_extra_info",
    names: [&names::NAME, &names::DEFAULT],
    positional: 2,
    required: 1,
};
static LIMITS: Signature<2> = Signature {
    method: "set_write_buffer_limits",
    names: [&names::HIGH, &names::LOW],
    positional: 2,
    required: 0,
};
static WRITE: Signature<1> =
    Signature { method: "write", names: [&names::DATA], positional: 1, required: 1 };
static WRITELINES: Signature<1> =
    Signature { method: "writelines", names: [&names::LIST_OF_DATA], positional: 1, required: 1 };
static SET_PROTOCOL: Signature<1> =
    Signature { method: "set_protocol", names: [&names::PROTOCOL], positional: 1, required: 1 };

/// `tls_transport(…)`.
pub(super) fn make(args: &Args<'_>) -> Res<Own<TlsTransport>> {
    let [
        Some(event_loop),
        Some(protocol),
        Some(context),
        waiter,
        Some(server_side),
        hostname,
        Some(tells),
        Some(handshake_timeout),
        Some(shutdown_timeout),
    ] = args.bind(&NEW)?
    else {
        return Err(type_error("a TLS transport needs a loop, a protocol and a context"));
    };
    let settings = Settings {
        context,
        server_side: value::is_true(server_side)?,
        server_hostname: hostname.filter(|hostname| !hostname.is_none()),
        handshake_timeout,
        shutdown_timeout,
    };
    let waiter = waiter.filter(|waiter| !waiter.is_none());
    TlsTransport::make(event_loop, protocol, &settings, waiter, value::is_true(tells)?)
}

/// asyncio's `add_flowcontrol_defaults`.
fn set_marks(marks: &Marks, args: &Args<'_>, kb: i64) -> Res<()> {
    let [high, low] = args.bind(&LIMITS)?;
    let number = |given: Option<&Any>| {
        given.filter(|given| !given.is_none()).map(crate::net::flow::limit_from).transpose()
    };
    let (high, low) = (number(high)?, number(low)?);
    let high = high.unwrap_or_else(|| low.map_or(kb * 1024, |low| low.saturating_mul(4)));
    let low = low.unwrap_or(high.div_euclid(4));
    if !(high >= low && low >= 0) {
        let text = format!("high ({high}) must be >= low ({low}) must be >= 0");
        return Err(raise(Builtin::ValueError.get(), &text));
    }
    marks.high.set(high as usize);
    marks.low.set(low as usize);
    Ok(())
}

fn marks_tuple(marks: &Marks) -> Res {
    let (low, high) = (value::int(marks.low.get() as i64)?, value::int(marks.high.get() as i64)?);
    value::tuple(&[&*low, &*high])
}

impl TlsTransport {
    /// `get_extra_info(name, default)`.
    fn extra_info(&self, name: &Any, default: &Any) -> Res {
        if value::is_exact_string(name)
            && let Some(known) = self.own_info(name)?
        {
            return Ok(known);
        }
        match self.below.get() {
            Some(below) => below.as_any().call_method(&names::GET_EXTRA_INFO, &[name, default]),
            None => Ok(default.own()),
        }
    }

    fn own_info(&self, name: &Any) -> Res<Option<Own<Any>>> {
        match self.extra.get() {
            Some(extra) => dict_get(&extra, name),
            None if names::SSLCONTEXT.matches(name) => Ok(self.context.get()),
            None => Ok(None),
        }
    }

    fn extra_dict(&self) -> Res {
        if let Some(extra) = self.extra.get() {
            return Ok(extra);
        }
        let context = self.context.get().unwrap_or_else(value::none);
        value::dict_of(&[(&names::SSLCONTEXT, &context)])
    }
}

/// Makes the type.
pub(super) fn build() -> Res<&'static Any> {
    Builder::<TlsState>::new(c"The transport of a connection secured by TLS.")
        .not_constructible()
        .dict(TlsState::dict_offset())
        .weakrefs(TlsState::weakrefs_offset())
        .repr(|this: &TlsTransport| {
            format!("<asyncio.sslproto._SSLProtocolTransport object at {:#x}>", this.address())
        })
        .getter(c"__class__", |_: &TlsTransport| stock().transport_class.clone())
        .args(
            c"write",
            c"write($self, /, data)\n--\n\nEncrypt and send these bytes when the running callback or step is over. Never blocks.",
            |this: &TlsTransport, args: Args<'_>| {
                let [data] = args.bind(&WRITE)?;
                data.map_or(Ok(()), |data| this.write(data))
            },
        )
        .args(
            c"writelines",
            c"writelines($self, /, list_of_data)\n--\n\nEncrypt and send a list (or any iterable) of bytes.",
            |this: &TlsTransport, args: Args<'_>| {
                let [lines] = args.bind(&WRITELINES)?;
                lines.map_or(Ok(()), |lines| this.write_lines(lines))
            },
        )
        .noargs(
            c"write_eof",
            c"write_eof($self, /)\n--\n\nRaise NotImplementedError: TLS has no half-closed connections.",
            |_: &TlsTransport| -> Res<()> { Err(raise_bare(Builtin::NotImplementedError.get())) },
        )
        .noargs(
            c"can_write_eof",
            c"can_write_eof($self, /)\n--\n\nReturn False: TLS has no half-closed connections.",
            |_: &TlsTransport| false,
        )
        .noargs(
            c"close",
            c"close($self, /)\n--\n\nStop reading, send what was written, shut TLS down, then close and call connection_lost(None).",
            |this: &TlsTransport| this.close(),
        )
        .noargs(
            c"abort",
            c"abort($self, /)\n--\n\nClose at once; what waits to be sent is lost.",
            |this: &TlsTransport| this.force_close(value::none_ref()),
        )
        .noargs(
            c"is_closing",
            c"is_closing($self, /)\n--\n\nReturn True if the transport is closing or closed.",
            |this: &TlsTransport| this.is_closing_now(),
        )
        .noargs(
            c"is_reading",
            c"is_reading($self, /)\n--\n\nReturn True unless the protocol has paused reading.",
            |this: &TlsTransport| !this.paused.get(),
        )
        .noargs(
            c"pause_reading",
            c"pause_reading($self, /)\n--\n\nDeliver nothing to the protocol until resume_reading().",
            |this: &TlsTransport| this.pause_reading(),
        )
        .noargs(
            c"resume_reading",
            c"resume_reading($self, /)\n--\n\nDeliver to the protocol again.",
            |this: &TlsTransport| this.resume_reading(),
        )
        .args(
            c"set_protocol",
            c"set_protocol($self, /, protocol)\n--\n\nSet a new protocol.",
            |this: &TlsTransport, args: Args<'_>| {
                let [protocol] = args.bind(&SET_PROTOCOL)?;
                protocol.map_or(Ok(()), |protocol| this.set_protocol(protocol))
            },
        )
        .noargs(
            c"get_protocol",
            c"get_protocol($self, /)\n--\n\nReturn the current protocol.",
            |this: &TlsTransport| this.protocol.get(),
        )
        .args(
            c"get_extra_info",
            c"get_extra_info($self, /, name, default=None)\n--\n\nGet optional transport information.",
            |this: &TlsTransport, args: Args<'_>| {
                let [name, default] = args.bind(&GET_EXTRA_INFO)?;
                let none = value::none_ref();
                this.extra_info(name.unwrap_or(none), default.unwrap_or(none))
            },
        )
        .args(
            c"set_write_buffer_limits",
            c"set_write_buffer_limits($self, /, high=None, low=None)\n--\n\nSet how many bytes may wait before the protocol is told to pause, and when it may resume.",
            |this: &TlsTransport, args: Args<'_>| {
                this.settle_writes()?;
                set_marks(&this.outgoing, &args, WRITE_KB)?;
                this.control_protocol_writing()
            },
        )
        .noargs(
            c"get_write_buffer_limits",
            c"get_write_buffer_limits($self, /)\n--\n\nReturn (low, high).",
            |this: &TlsTransport| marks_tuple(&this.outgoing),
        )
        .noargs(
            c"get_write_buffer_size",
            c"get_write_buffer_size($self, /)\n--\n\nReturn how many bytes wait to be sent.",
            |this: &TlsTransport| this.write_buffer_size().map(|size| size as i64),
        )
        .args(
            c"set_read_buffer_limits",
            c"set_read_buffer_limits($self, /, high=None, low=None)\n--\n\nSet how many bytes may wait unread before the transport below is paused, and when it is resumed.",
            |this: &TlsTransport, args: Args<'_>| {
                set_marks(&this.incoming, &args, READ_KB)?;
                this.control_reading_below()
            },
        )
        .noargs(
            c"get_read_buffer_limits",
            c"get_read_buffer_limits($self, /)\n--\n\nReturn (low, high).",
            |this: &TlsTransport| marks_tuple(&this.incoming),
        )
        .noargs(
            c"get_read_buffer_size",
            c"get_read_buffer_size($self, /)\n--\n\nReturn how many received bytes wait to be decrypted.",
            |this: &TlsTransport| this.unread().map(|size| size as i64),
        )
        .one(c"_force_close", c"", |this: &TlsTransport, exception: &Any| {
            this.force_close(exception)
        })
        // asyncio's own tests call it.
        .one(c"_test__append_write_backlog", c"", |this: &TlsTransport, data: &Any| {
            this.put_aside(data)
        })
        .one(c"connection_made", c"", |this: &TlsTransport, below: &Any| {
            this.connection_made(below)
        })
        .one(c"connection_lost", c"", |this: &TlsTransport, exception: &Any| {
            this.connection_lost(exception)
        })
        .noargs(c"eof_received", c"", |this: &TlsTransport| this.below_ended())
        .noargs(c"pause_writing", c"", |this: &TlsTransport| this.below_full.set(true))
        .noargs(c"resume_writing", c"", |this: &TlsTransport| this.below_has_room())
        .getter(c"_app_transport", |this: &TlsTransport| this.own())
        .getter(c"_ssl_protocol", |this: &TlsTransport| this.own())
        .getter(c"_transport", |this: &TlsTransport| this.below.get())
        .getter(c"_app_protocol", |this: &TlsTransport| this.protocol.get())
        .getter(c"_sslcontext", |this: &TlsTransport| this.context.get())
        .getter(c"_sslobj", |this: &TlsTransport| this.session.object())
        .getter(c"_loop", |this: &TlsTransport| this.event_loop.get())
        .getter(c"_closed", |this: &TlsTransport| this.closed.get())
        .getter(c"_protocol_paused", |this: &TlsTransport| this.protocol_paused.get())
        .getter(c"_state", |this: &TlsTransport| {
            let name = value::string(this.state.get().name())?;
            stock().protocol_state.attr_named(&name)
        })
        // What asyncio's start_tls() of some versions hands in that was received before.
        .getter(c"_incoming", |this: &TlsTransport| {
            let keywords = value::tuple(&[names::WRITE.get()])?;
            let feed = this.as_any().attr(&names::FEED)?;
            stock().namespace_class.call_with_names(&[&feed], &keywords)
        })
        .one(c"_feed", c"", |this: &TlsTransport, data: &Any| {
            this.session.feed(Buffer::readable(data)?.as_slice(), || ())
        })
        .getter(c"_extra", |this: &TlsTransport| this.extra_dict())
        .getter(c"_start_tls_compatible", |_: &TlsTransport| true)
        .getter(c"_sendfile_compatible", |_: &TlsTransport| stock().sendfile_mode.clone())
        .build()
}

impl TlsTransport {
    /// What tells one from another in a repr.
    pub(super) fn address(&self) -> usize {
        self.as_any().as_ptr() as usize
    }
}
