//! What transports of all kinds say of themselves: to the loop's exception handler, and to asyncio's
//! log in debug mode.

use crate::engine::asyncio::asyncio;
use crate::engine::event_loop::EventLoop;
use crate::engine::handle::Handle;
use crate::py::error::{discard, fetch, is_fatal, restore};
use crate::py::names::Name;
use crate::py::{Any, AsObject, Raised, Res, Slot, names, value};

/// Hands an exception to the loop's handler, as asyncio's transports do.
pub(super) fn report(
    event_loop: &Slot<EventLoop>,
    transport: &Any,
    protocol: &Slot,
    message: &str,
    exception: &Any,
) -> Res<()> {
    let Some(event_loop) = event_loop.get() else { return Ok(()) };
    let protocol = protocol.get().unwrap_or_else(value::none);
    let text = value::string(message)?;
    let details = value::dict_of(&[
        (&names::MESSAGE, &text),
        (&names::EXCEPTION, exception),
        (&names::TRANSPORT, transport),
        (&names::PROTOCOL, &protocol),
    ])?;
    event_loop.as_any().call_method(&names::CALL_EXCEPTION_HANDLER, &[&details]).map(drop)
}

/// Reports what a protocol's method raised as of asyncio's own callback, a method of the transport's
/// class there, in its context. KeyboardInterrupt and SystemExit go on.
#[cold]
pub(super) fn callback_failed(
    event_loop: &EventLoop,
    transport: &Any,
    class: &Any,
    callback: &'static Name,
    args: &[&Any],
    context: &Any,
    raised: Raised,
) -> Res<()> {
    let exception = fetch(raised);
    if is_fatal(&exception) {
        return Err(restore(exception));
    }
    let bound = class.attr(callback)?.call_method(&names::DUNDER_GET, &[transport]);
    let callback = bound.or_else(|raised| {
        discard(raised);
        Ok(class.own())
    })?;
    let handle = Handle::make(event_loop, &callback, args, Some(context))?;
    let reported = event_loop.as_any().call_method(
        &names::CALLBACK_FAILED,
        &[&callback, &*value::tuple(args)?, handle.as_any(), &exception],
    );
    handle.spend();
    reported.map(drop)
}

/// Logs `format % transport` in debug mode.
#[inline]
pub(super) fn log_debug(event_loop: &Slot<EventLoop>, transport: &Any, format: &str) -> Res<()> {
    log(&names::DEBUG, event_loop, transport, format)
}

/// The same, at another level.
#[inline]
pub(super) fn log(
    level: &'static Name,
    event_loop: &Slot<EventLoop>,
    transport: &Any,
    format: &str,
) -> Res<()> {
    if !event_loop.get().is_some_and(|event_loop| event_loop.debug()) {
        return Ok(());
    }
    let format = value::string(format)?;
    asyncio().logger.call_method(level, &[&format, transport]).map(drop)
}

/// Logs in debug mode an error that ends a transport and is nobody's fault.
pub(super) fn log_error(
    event_loop: &Slot<EventLoop>,
    transport: &Any,
    message: &str,
    exception: &Any,
) -> Res<()> {
    if !event_loop.get().is_some_and(|event_loop| event_loop.debug()) {
        return Ok(());
    }
    let (format, message) = (value::string("%r: %s")?, value::string(message)?);
    let args: &[&Any] = &[&format, transport, &message];
    let logger = &asyncio().logger;
    logger.call_method_named(&names::DEBUG, args, &names::EXC_INFO, exception).map(drop)
}
