//! `readuntil`, `readline` and `async for`: reads that look for a separator.
//!
//! `readline` is asyncio's `readuntil(b"\n")` with two exceptions translated; here both ask the
//! same search, and exceptions are made only for those who see them.

use memchr::{memchr, memmem};

use super::reader::{FOLLOWING, READLINE, READUNTIL, ReaderState, StreamReader};
use super::reading::check_exception;
use super::stock::stock;
use crate::py::buffer::{Buffer, bytes, bytes_of, is_exact_bytes};
use crate::py::error::{discard, fetch, is_kind, raise_bare, restore};
use crate::py::value::is_tuple;
use crate::py::{Any, AsObject, Builtin, Own, Raised, Res, Sent, names, raise, type_error, value};
use crate::tasks::coroutine::{Behaviour, Coroutine};

pub(super) static READING_UNTIL: Behaviour =
    Behaviour { qualname: "StreamReader.readuntil", resume: resume_readuntil };
pub(super) static READING_LINE: Behaviour =
    Behaviour { qualname: "StreamReader.readline", resume: resume_readline };
pub(super) static READING_NEXT_LINE: Behaviour =
    Behaviour { qualname: "StreamReader.__anext__", resume: resume_anext };

/// The place of a coroutine that awaits a subclass's `readuntil` or `readline`.
const FOLLOWING_METHOD: u8 = FOLLOWING + 1;

/// What a search comes to.
enum Found {
    /// The data up to and with the separator.
    Data(Own<Any>),
    /// The end came first: this is what there was.
    End(Own<Any>),
    /// More than the limit: in asyncio's words, and how much of the buffer may be consumed.
    TooMuch(&'static str, usize),
    Waits(Sent),
}

const NOT_FOUND: &str = "Separator is not found, and chunk exceed the limit";
const TOO_FAR: &str = "Separator is found, but chunk is longer than limit";

/// What is looked for: one separator, or the first to end of several.
enum Separators<'a> {
    Byte(u8),
    One(&'a [u8]),
    /// From the shortest to the longest. If one of them is no bytes, the search says this.
    Several(Vec<Vec<u8>>, Option<String>),
}

impl<'a> Separators<'a> {
    /// `given` is a separator or a tuple of them; nothing given is the newline.
    fn of(given: Option<&'a Any>) -> Res<Separators<'a>> {
        let Some(given) = given else { return Ok(Separators::Byte(b'\n')) };
        if !is_exact_bytes(given) {
            return Separators::unusual(given);
        }
        match bytes_of(given) {
            [] => Err(too_short()),
            &[byte] => Ok(Separators::Byte(byte)),
            separator => Ok(Separators::One(separator)),
        }
    }

    #[cold]
    fn unusual(given: &Any) -> Res<Separators<'a>> {
        let one = [given];
        let given = if is_tuple(given) { value::tuple_items(given) } else { &one };
        let (mut several, mut wrong) = (Vec::new(), None);
        for separator in given {
            let len = value::len(separator)?;
            several.push(match Buffer::readable(separator) {
                Ok(view) => view.as_slice().to_vec(),
                Err(raised) => {
                    discard(raised);
                    let name = value::type_name(separator);
                    let text = "argument should be integer or bytes-like object, not";
                    wrong = Some(format!("{text} '{name}'"));
                    vec![0; len]
                }
            });
        }
        several.sort_by_key(Vec::len);
        match several.first() {
            None => {
                let text = "Separator should contain at least one element";
                Err(raise(Builtin::ValueError.get(), text))
            }
            Some(shortest) if shortest.is_empty() => Err(too_short()),
            Some(_) => Ok(Separators::Several(several, wrong)),
        }
    }

    /// Before a search: whether all of them can be looked for.
    #[inline(always)]
    fn check(&self) -> Res<()> {
        match self {
            Separators::Several(_, Some(wrong)) => Err(type_error(wrong)),
            _ => Ok(()),
        }
    }

    fn shortest(&self) -> usize {
        match self {
            Separators::Byte(_) => 1,
            Separators::One(separator) => separator.len(),
            Separators::Several(several, _) => several.first().map_or(1, Vec::len),
        }
    }

    fn longest(&self) -> usize {
        match self {
            Separators::Byte(_) => 1,
            Separators::One(separator) => separator.len(),
            Separators::Several(several, _) => several.last().map_or(1, Vec::len),
        }
    }

    /// Where the one that ends first begins, and where it ends.
    #[inline(always)]
    fn find(&self, data: &[u8], offset: usize) -> Option<(usize, usize)> {
        let searched = &data[offset..];
        let found = match self {
            Separators::Byte(byte) => memchr(*byte, searched).map(|at| (at, at + 1)),
            Separators::One(separator) => {
                memmem::find(searched, separator).map(|at| (at, at + separator.len()))
            }
            // Of those that end together, the shortest: it stands first.
            Separators::Several(several, _) => several
                .iter()
                .filter_map(|each| memmem::find(searched, each).map(|at| (at, at + each.len())))
                .min_by_key(|&(_, end)| end),
        };
        found.map(|(at, end)| (offset + at, offset + end))
    }
}

#[cold]
fn too_short() -> Raised {
    raise(Builtin::ValueError.get(), "Separator should be at least one-byte string")
}

/// `readuntil(separator)`, for a coroutine at its beginning or waiting.
fn search(
    this: &Coroutine,
    reader: &StreamReader,
    hooks: u16,
    separator: Option<&Any>,
    exception: Option<Own<Any>>,
) -> Res<Found> {
    let separators = Separators::of(separator)?;
    let mut offset = 0;
    if this.place.get() == 0 {
        check_exception(reader)?;
    } else {
        if let Some(waits) = reader.waited(this, exception)? {
            return Ok(Found::Waits(waits));
        }
        offset = reader.searched_by(this);
    }
    loop {
        let len = reader.buffer.len();
        let enough = len - offset >= separators.shortest();
        let found = if enough {
            separators.check()?;
            reader.buffer.look(|data| separators.find(data, offset))
        } else {
            None
        };
        if let Some((start, end)) = found {
            if start > reader.limit() {
                return Ok(Found::TooMuch(TOO_FAR, start));
            }
            return reader.take(hooks, end).map(Found::Data);
        }
        if enough {
            // The end of the buffer may be the beginning of a separator.
            offset = (len + 1).saturating_sub(separators.longest());
            if offset > reader.limit() {
                return Ok(Found::TooMuch(NOT_FOUND, offset));
            }
        }
        if reader.eof.get() {
            return reader.take_last().map(Found::End);
        }
        reader.note_searched(this, offset);
        if let Some(waits) = reader.wait_for_data(this, hooks, "readuntil")? {
            return Ok(Found::Waits(waits));
        }
        offset = reader.searched_by(this);
    }
}

fn incomplete(partial: &Any) -> Raised {
    match stock().incomplete_read.call(&[partial, value::none_ref()]) {
        Ok(error) => restore(error),
        Err(raised) => raised,
    }
}

fn too_much(text: &str, consumed: usize) -> Res {
    stock().limit_overrun.call(&[&*value::string(text)?, &*value::int(consumed as i64)?])
}

fn resume_readuntil(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    let reader = this.owner_as::<ReaderState>()?;
    let separator = this.item.get();
    match search(this, &reader, reader.hooks(), separator.as_deref(), exception)? {
        Found::Data(data) => Ok(Sent::Returned(data)),
        Found::Waits(waits) => Ok(waits),
        Found::End(partial) => Err(incomplete(&partial)),
        Found::TooMuch(text, consumed) => Err(restore(too_much(text, consumed)?)),
    }
}

/// A line, or what must be yielded first.
fn line(this: &Coroutine, reader: &StreamReader, exception: Option<Own<Any>>) -> Res<Sent> {
    let hooks = reader.hooks();
    if this.place.get() == FOLLOWING_METHOD || this.place.get() == 0 && hooks & READUNTIL != 0 {
        return foreign_line(this, reader, hooks, exception);
    }
    match search(this, reader, hooks, None, exception)? {
        Found::Data(data) | Found::End(data) => Ok(Sent::Returned(data)),
        Found::Waits(waits) => Ok(waits),
        Found::TooMuch(text, consumed) => {
            Err(give_up_line(reader, hooks, &*too_much(text, consumed)?)?)
        }
    }
}

/// The line is too long: it leaves the buffer, as far as it is there.
#[cold]
fn give_up_line(reader: &StreamReader, hooks: u16, overrun: &Any) -> Res<Raised> {
    let consumed = value::as_count(&*overrun.attr(&names::CONSUMED)?)?;
    let consumed = usize::try_from(consumed).unwrap_or(0);
    if reader.buffer.look(|data| data.get(consumed) == Some(&b'\n')) {
        reader.buffer.discard(consumed + 1)?;
    } else {
        reader.buffer.clear()?;
    }
    reader.maybe_resume(hooks)?;
    let args = overrun.attr(&names::ARGS)?;
    let message = value::tuple_items(&args).first().map_or(value::none_ref(), |first| *first);
    let error = Builtin::ValueError.get().call(&[message])?;
    value::set_context(&error, overrun);
    Ok(restore(error))
}

/// `readline` over a subclass's `readuntil`.
#[cold]
fn foreign_line(
    this: &Coroutine,
    reader: &StreamReader,
    hooks: u16,
    exception: Option<Own<Any>>,
) -> Res<Sent> {
    let read = (|| {
        if this.place.get() == 0 {
            let newline = bytes(b"\n")?;
            this.await_inner(&*reader.as_any().call_method(&names::READUNTIL, &[&newline])?)?;
            this.place.set(FOLLOWING_METHOD);
        }
        this.drive(exception)
    })();
    let Err(raised) = read else { return read };
    let error = fetch(raised);
    if is_kind(&error, &stock().incomplete_read) {
        return error.attr(&names::PARTIAL).map(Sent::Returned);
    }
    if is_kind(&error, &stock().limit_overrun) {
        return Err(give_up_line(reader, hooks, &error)?);
    }
    Err(restore(error))
}

fn resume_readline(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    let reader = this.owner_as::<ReaderState>()?;
    line(this, &reader, exception)
}

fn resume_anext(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    let reader = this.owner_as::<ReaderState>()?;
    let hooks = reader.hooks();
    let sent = if hooks & READLINE != 0 && this.place.get() == 0 {
        this.await_inner(&*reader.as_any().call_method(&names::READLINE, &[])?)?;
        this.place.set(FOLLOWING_METHOD + 1);
        this.drive(None)?
    } else if this.place.get() == FOLLOWING_METHOD + 1 {
        this.drive(exception)?
    } else {
        line(this, &reader, exception)?
    };
    match &sent {
        Sent::Returned(line) if line.equals(&*bytes(b"")?)? => {
            Err(raise_bare(Builtin::StopAsyncIteration.get()))
        }
        _ => Ok(sent),
    }
}
