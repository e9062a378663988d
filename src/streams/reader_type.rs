//! `aioxide.StreamReader` as Python sees it.

use super::reader::{METHODS, ReaderState, StreamReader, assertion, repr};
use super::reading::{
    READING, READING_ALL, READING_EXACTLY, WAITING_FOR_DATA, as_count, can_count,
};
use super::separators::{READING_LINE, READING_NEXT_LINE, READING_UNTIL};
use super::stock::stock;
use super::{borrow, set_or_clear};
use crate::py::{Any, Args, AsObject, Builder, Own, Res, Signature, names, value};
use crate::sync::methods::add_async_methods;
use crate::tasks::coroutine::{Coroutine, coroutine};

static INIT: Signature<2> = Signature {
    method: "StreamReader.__init__",
    names: [&names::LIMIT, &names::LOOP],
    positional: 2,
    required: 0,
};
static FEED_DATA: Signature<1> = Signature {
    method: "StreamReader.feed_data",
    names: [&names::DATA],
    positional: 1,
    required: 1,
};
static SET_EXCEPTION: Signature<1> = Signature {
    method: "StreamReader.set_exception",
    names: [&names::EXC],
    positional: 1,
    required: 1,
};
static SET_TRANSPORT: Signature<1> = Signature {
    method: "StreamReader.set_transport",
    names: [&names::TRANSPORT],
    positional: 1,
    required: 1,
};
static READ: Signature<1> =
    Signature { method: "StreamReader.read", names: [&names::N], positional: 1, required: 0 };
static READEXACTLY: Signature<1> = Signature {
    method: "StreamReader.readexactly",
    names: [&names::N],
    positional: 1,
    required: 1,
};
static READUNTIL: Signature<1> = Signature {
    method: "StreamReader.readuntil",
    names: [&names::SEPARATOR],
    positional: 1,
    required: 0,
};
static READLINE: Signature<0> =
    Signature { method: "StreamReader.readline", names: [], positional: 0, required: 0 };
static WAIT_FOR_DATA: Signature<1> = Signature {
    method: "StreamReader._wait_for_data",
    names: [&names::FUNC_NAME],
    positional: 1,
    required: 1,
};

fn read(this: &StreamReader, args: Args<'_>) -> Res<Own<Coroutine>> {
    let [count] = args.bind(&READ)?;
    let all = match count {
        None => true,
        Some(count) => can_count(count) && as_count(count)? < 0,
    };
    let owner = Some(this.own().into_any());
    if all {
        coroutine(&READING_ALL, owner, None)
    } else {
        coroutine(&READING, owner, count.map(AsObject::own))
    }
}

fn set_transport(this: &StreamReader, args: Args<'_>) -> Res<()> {
    let [transport] = args.bind(&SET_TRANSPORT)?;
    if this.transport.is_some() {
        return Err(assertion("Transport already set"));
    }
    set_or_clear(&this.transport, transport.unwrap_or(value::none_ref()))
}

/// Makes the type.
pub(super) fn build() -> Res<&'static Any> {
    let class = Builder::<ReaderState>::new(
        c"StreamReader(limit=65536, loop=None)\n--\n\nWhat a stream has received, to be read by one task at a time.\n\nThe limit is that of a line; twice the limit is where the transport is paused.",
    )
    .subclassable()
    .dict(std::mem::offset_of!(ReaderState, dict))
    .weakrefs(std::mem::offset_of!(ReaderState, weakrefs))
    .blank(ReaderState::blank)
    .init(|this: &StreamReader, args: Args<'_>| {
        let [limit, event_loop] = args.bind(&INIT)?;
        this.begin(limit, event_loop)
    })
    .repr(repr)
    .async_iter(|this: &StreamReader| this.own())
    .async_next(|this: &StreamReader| {
        coroutine(&READING_NEXT_LINE, Some(this.own().into_any()), None)
    })
    .noargs(
        c"exception",
        c"exception($self, /)\n--\n\nThe exception that every read raises, or None.",
        |this: &StreamReader| this.exception.get(),
    )
    .args(
        c"set_exception",
        c"set_exception($self, /, exc)\n--\n\nLet every read raise an exception, also one that waits.",
        |this: &StreamReader, args: Args<'_>| {
            let [exception] = args.bind(&SET_EXCEPTION)?;
            this.set_exception(exception.unwrap_or(value::none_ref()))
        },
    )
    .args(
        c"set_transport",
        c"set_transport($self, /, transport)\n--\n\nSay what to pause when the buffer is full.",
        set_transport,
    )
    .noargs(
        c"feed_eof",
        c"feed_eof($self, /)\n--\n\nSay that no more data will come.",
        |this: &StreamReader| this.feed_eof(),
    )
    .noargs(
        c"at_eof",
        c"at_eof($self, /)\n--\n\nReturn True if the buffer is empty and 'feed_eof' was called.",
        |this: &StreamReader| this.eof.get() && this.buffer.is_empty(),
    )
    .args(
        c"feed_data",
        c"feed_data($self, /, data)\n--\n\nAdd data to the buffer.",
        |this: &StreamReader, args: Args<'_>| {
            let [data] = args.bind(&FEED_DATA)?;
            this.feed_data(data.unwrap_or(value::none_ref()))
        },
    )
    .noargs(
        c"_wakeup_waiter",
        c"_wakeup_waiter($self, /)\n--\n\nWake up who waits for data or EOF.",
        |this: &StreamReader| this.wake_waiter(),
    )
    .noargs(
        c"_maybe_resume_transport",
        c"_maybe_resume_transport($self, /)\n--\n\nResume the transport if the buffer is within the limit.",
        |this: &StreamReader| this.resume_if_drained(),
    )
    .property(
        c"_buffer",
        |this: &StreamReader| this.buffer.share(),
        |this: &StreamReader, array: &Any| this.buffer.replace(array),
    )
    .property(
        c"_limit",
        |this: &StreamReader| this.limit_object(),
        |this: &StreamReader, limit: &Any| this.set_limit(limit),
    )
    .property(
        c"_eof",
        |this: &StreamReader| this.eof.get(),
        |this: &StreamReader, flag: &Any| {
            this.eof.set(value::is_true(flag)?);
            Ok(())
        },
    )
    .property(
        c"_paused",
        |this: &StreamReader| this.paused.get(),
        |this: &StreamReader, flag: &Any| {
            this.paused.set(value::is_true(flag)?);
            Ok(())
        },
    )
    .property(
        c"_exception",
        |this: &StreamReader| this.exception.get(),
        |this: &StreamReader, exception: &Any| set_or_clear(&this.exception, exception),
    )
    .property(
        c"_waiter",
        |this: &StreamReader| this.waiter.get(),
        |this: &StreamReader, waiter: &Any| set_or_clear(&this.waiter, waiter),
    )
    .property(
        c"_transport",
        |this: &StreamReader| this.transport.get(),
        |this: &StreamReader, transport: &Any| set_or_clear(&this.transport, transport),
    )
    .property(
        c"_loop",
        |this: &StreamReader| this.event_loop.get(),
        |this: &StreamReader, event_loop: &Any| set_or_clear(&this.event_loop, event_loop),
    )
    .property(
        c"_source_traceback",
        |this: &StreamReader| this.source_traceback.get(),
        |this: &StreamReader, stack: &Any| set_or_clear(&this.source_traceback, stack),
    )
    .build()?;
    let model = &stock().reader;
    add_async_methods(class, model, &names::READ, read)?;
    add_async_methods(class, model, &names::READEXACTLY, |this: &StreamReader, args: Args<'_>| {
        let [count] = args.bind(&READEXACTLY)?;
        let count = count.map(AsObject::own);
        coroutine(&READING_EXACTLY, Some(this.own().into_any()), count)
    })?;
    add_async_methods(class, model, &names::READUNTIL, |this: &StreamReader, args: Args<'_>| {
        let [separator] = args.bind(&READUNTIL)?;
        let separator = separator.map(AsObject::own);
        coroutine(&READING_UNTIL, Some(this.own().into_any()), separator)
    })?;
    add_async_methods(class, model, &names::READLINE, |this: &StreamReader, args: Args<'_>| {
        args.bind(&READLINE)?;
        coroutine(&READING_LINE, Some(this.own().into_any()), None)
    })?;
    add_async_methods(
        class,
        model,
        &names::WAIT_FOR_DATA,
        |this: &StreamReader, args: Args<'_>| {
            let [name] = args.bind(&WAIT_FOR_DATA)?;
            let name = name.map(AsObject::own);
            coroutine(&WAITING_FOR_DATA, Some(this.own().into_any()), name)
        },
    )?;
    // From 3.14 on.
    borrow(class, model, &names::REPLACE_TRANSPORT)?;
    METHODS.remember(class)?;
    Ok(class)
}
