//! `read`, `readexactly` and the wait under every read.
//!
//! Each is asyncio's method of the same name, step by step. What is there is taken at once;
//! nothing that was received is ever held by the coroutine alone.

use super::reader::{FOLLOWING, READ, ReaderState, StreamReader, raise_stored};
use super::stock::stock;
use crate::py::buffer::bytes;
use crate::py::error::{preserving, restore};
use crate::py::{Any, AsObject, Builtin, Own, Raised, Res, Sent, names, raise, type_error, value};
use crate::tasks::coroutine::{Behaviour, Coroutine, returned_none};

pub(super) static READING: Behaviour =
    Behaviour { qualname: "StreamReader.read", resume: resume_read };
pub(super) static READING_ALL: Behaviour =
    Behaviour { qualname: "StreamReader.read", resume: resume_read_all };
pub(super) static READING_EXACTLY: Behaviour =
    Behaviour { qualname: "StreamReader.readexactly", resume: resume_readexactly };
pub(super) static WAITING_FOR_DATA: Behaviour =
    Behaviour { qualname: "StreamReader._wait_for_data", resume: resume_wait_for_data };

/// The place of a `read()` that awaits a subclass's `read(limit)`.
const FOLLOWING_READ: u8 = FOLLOWING + 1;

/// The number that a read was given, which is checked when it begins.
#[inline(always)]
fn number(this: &Coroutine) -> Res<i64> {
    match this.item.get() {
        Some(number) => as_count(&number),
        None => Ok(-1),
    }
}

#[inline(always)]
pub(super) fn can_count(number: &Any) -> bool {
    value::is_exact_int(number) || value::has_index(number)
}

/// A number of bytes; beyond what can be counted, the most there is.
#[inline]
pub(super) fn as_count(number: &Any) -> Res<i64> {
    if !can_count(number) {
        return Err(not_a_number(number));
    }
    value::as_count(number)
}

#[cold]
fn not_a_number(given: &Any) -> Raised {
    let name = value::type_name(given);
    type_error(&if name == "float" {
        "slice indices must be integers or None or have an __index__ method".to_owned()
    } else {
        format!("'<' not supported between instances of '{name}' and 'int'")
    })
}

/// What every read begins with.
#[inline(always)]
pub(super) fn check_exception(reader: &StreamReader) -> Res<()> {
    match reader.exception.get() {
        None => Ok(()),
        Some(exception) => Err(raise_stored(&exception)),
    }
}

fn resume_read(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    let reader = this.owner_as::<ReaderState>()?;
    let hooks = reader.hooks();
    let count = number(this)?;
    if this.place.get() == 0 {
        check_exception(&reader)?;
        if count == 0 {
            return bytes(b"").map(Sent::Returned);
        }
        if reader.buffer.is_empty()
            && !reader.eof.get()
            && let Some(waits) = reader.wait_for_data(this, hooks, "read")?
        {
            return Ok(waits);
        }
    } else if let Some(waits) = reader.waited(this, exception)? {
        return Ok(waits);
    }
    let there = reader.buffer.len();
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(there);
    reader.take(hooks, count).map(Sent::Returned)
}

/// `read()`: block by block until the end, so that the transport is never paused for good. The
/// blocks are given back if it does not get there.
fn resume_read_all(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    let reader = this.owner_as::<ReaderState>()?;
    match read_all(this, &reader, exception) {
        Err(raised) => {
            let put_back = preserving(|| match this.item.take() {
                Some(blocks) => reader.buffer.put_back(&blocks),
                None => Ok(()),
            });
            Err(put_back.err().unwrap_or(raised))
        }
        sent => sent,
    }
}

fn read_all(this: &Coroutine, reader: &StreamReader, exception: Option<Own<Any>>) -> Res<Sent> {
    let hooks = reader.hooks();
    let blocks = match this.item.get() {
        Some(blocks) => blocks,
        None => {
            check_exception(reader)?;
            let blocks = value::list()?;
            this.item.set(blocks.clone());
            blocks
        }
    };
    let mut resumed = Some(exception).filter(|_| this.place.get() != 0);
    loop {
        let block = match (this.place.get(), resumed.take()) {
            (FOLLOWING_READ, Some(exception)) => match this.drive(exception)? {
                Sent::Yielded(yielded) => return Ok(Sent::Yielded(yielded)),
                Sent::Returned(block) => block,
            },
            (_, None) if hooks & READ != 0 => {
                // Somebody else's read, which is given the limit and gives a block.
                let limit = reader.limit_object()?;
                this.await_inner(&*reader.as_any().call_method(&names::READ, &[&limit])?)?;
                this.place.set(FOLLOWING_READ);
                resumed = Some(None);
                continue;
            }
            (_, None) => {
                check_exception(reader)?;
                if reader.buffer.is_empty()
                    && !reader.eof.get()
                    && let Some(waits) = reader.wait_for_data(this, hooks, "read")?
                {
                    return Ok(waits);
                }
                reader.take(hooks, reader.limit().min(reader.buffer.len()))?
            }
            (_, Some(exception)) => {
                if let Some(waits) = reader.waited(this, exception)? {
                    return Ok(waits);
                }
                reader.take(hooks, reader.limit().min(reader.buffer.len()))?
            }
        };
        if !value::is_true(&block)? {
            let all = value::join_bytes(&blocks)?;
            return Ok(Sent::Returned(all));
        }
        value::append(&blocks, &block)?;
    }
}

fn resume_readexactly(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    let reader = this.owner_as::<ReaderState>()?;
    let hooks = reader.hooks();
    let count = number(this)?;
    let Ok(wanted) = usize::try_from(count) else {
        let text = "readexactly size can not be less than zero";
        return Err(raise(Builtin::ValueError.get(), text));
    };
    if this.place.get() == 0 {
        check_exception(&reader)?;
        if wanted == 0 {
            return bytes(b"").map(Sent::Returned);
        }
    } else if let Some(waits) = reader.waited(this, exception)? {
        return Ok(waits);
    }
    while reader.buffer.len() < wanted {
        if reader.eof.get() {
            let partial = reader.take_last()?;
            let expected = value::int(count)?;
            return Err(restore(stock().incomplete_read.call(&[&partial, &expected])?));
        }
        if let Some(waits) = reader.wait_for_data(this, hooks, "readexactly")? {
            return Ok(waits);
        }
    }
    reader.take(hooks, wanted).map(Sent::Returned)
}

fn resume_wait_for_data(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    let reader = this.owner_as::<ReaderState>()?;
    if this.place.get() == 0 {
        let name = match this.item.get() {
            Some(name) => value::str_text(&name)?,
            None => String::new(),
        };
        return reader.line_up(this, &name);
    }
    match reader.waited(this, exception)? {
        Some(waits) => Ok(waits),
        None => returned_none(),
    }
}
