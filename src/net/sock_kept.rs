//! What cancelled calls had received already.
//!
//! A socket's data is received when it comes, in a turn of its own, and the coroutine that waits
//! runs in the next. If its Task is cancelled in between, asyncio loses the data. Here it is kept
//! for the next call on that socket: bytes belong to the socket, never to the coroutine. It rarely
//! happens, so one weak dictionary for all sockets does, and a look at a flag when it is empty.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::py::buffer::{bytes, bytes_of};
use crate::py::error::discard;
use crate::py::{Any, AsObject, Global, Own, Res, import, names, value};

/// Pairs of data and address, or of connection and address, by socket.
static KEPT: Global<Own<Any>> = Global::new();
static ANY: AtomicBool = AtomicBool::new(false);

/// Whether there may be something.
#[inline(always)]
pub(super) fn is_any() -> bool {
    ANY.load(Ordering::Relaxed)
}

/// Keeps a pair. Objects that nothing can be remembered of lose it, as in asyncio.
pub(super) fn keep(socket: &Any, pair: &Any) -> Res<()> {
    if KEPT.peek().is_none() {
        KEPT.fill(import(c"weakref", c"WeakKeyDictionary")?.call(&[])?);
    }
    let list = value::list()?;
    if let Err(raised) = KEPT.get().call_method(&names::SETDEFAULT, &[socket, &list]) {
        discard(raised);
        return Ok(());
    }
    ANY.store(true, Ordering::Relaxed);
    value::append(&list_of(socket)?.unwrap_or(list), pair)
}

fn list_of(socket: &Any) -> Res<Option<Own<Any>>> {
    match KEPT.peek() {
        Some(kept) => {
            Ok(Some(kept.call_method(&names::GET, &[socket])?).filter(|list| !list.is_none()))
        }
        None => Ok(None),
    }
}

/// The first pair of a socket. `change` may leave something of it.
fn take_first(
    socket: &Any,
    rest: impl FnOnce(&[&Any]) -> Res<Option<Own<Any>>>,
) -> Res<Option<Own<Any>>> {
    let kept = KEPT.get();
    if value::len(kept)? == 0 {
        ANY.store(false, Ordering::Relaxed);
        return Ok(None);
    }
    let found = match list_of(socket) {
        Ok(found) => found,
        // Not hashable, so nothing was kept of it.
        Err(raised) => {
            discard(raised);
            None
        }
    };
    let Some(list) = found else { return Ok(None) };
    let zero = value::int(0)?;
    let pair = list.call_method(&names::POP, &[&zero])?;
    if let Some(rest) = rest(value::tuple_items(&pair))? {
        list.call_method(&names::INSERT, &[&zero, &rest])?;
    } else if value::list_len(&list) == 0 {
        kept.call_method(&names::POP, &[socket])?;
    }
    Ok(Some(pair))
}

/// Data of at most this size and its address. What is left of it remains, if it is of a stream.
pub(super) fn take(socket: &Any, most: usize, is_stream: bool) -> Res<Option<[Own<Any>; 2]>> {
    let pair = take_first(socket, |pair| match pair {
        [data, address] if is_stream && bytes_of(data).len() > most => {
            value::tuple(&[&*bytes(&bytes_of(data)[most..])?, address]).map(Some)
        }
        _ => Ok(None),
    })?;
    let Some(pair) = pair else { return Ok(None) };
    match value::tuple_items(&pair) {
        [data, address] if bytes_of(data).len() > most => {
            Ok(Some([bytes(&bytes_of(data)[..most])?, address.own()]))
        }
        [data, address] => Ok(Some([data.own(), address.own()])),
        _ => Ok(None),
    }
}

/// A connection and its address.
pub(super) fn take_connection(socket: &Any) -> Res<Option<Own<Any>>> {
    take_first(socket, |_| Ok(None))
}
