//! What transports of both kinds say of themselves: to the loop's exception handler, and to asyncio's
//! log in debug mode.

use crate::engine::asyncio::asyncio;
use crate::engine::event_loop::EventLoop;
use crate::py::{Any, AsObject, Res, Slot, names, value};

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

/// Logs `format % transport` in debug mode.
#[inline]
pub(super) fn log_debug(event_loop: &Slot<EventLoop>, transport: &Any, format: &str) -> Res<()> {
    if !event_loop.get().is_some_and(|event_loop| event_loop.debug()) {
        return Ok(());
    }
    let format = value::string(format)?;
    asyncio().logger.call_method(&names::DEBUG, &[&format, transport]).map(drop)
}
