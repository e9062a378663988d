//! `_core.Loop` as Python sees it: the table of its methods, which live in `event_loop`, `io`, `turn` and
//! `net`.

use super::event_loop::{
    EventLoop, LoopState, call_at, call_later, call_soon, call_soon_threadsafe, create_task,
    dispose, future, init, set_debug, set_task_factory, tasks,
};
use super::io::Io;
use crate::py::{Any, Builder, Res};

/// Makes the type.
pub(super) fn build() -> Res<&'static Any> {
    use super::{io, turn};
    Builder::<LoopState>::new(c"Loop()\n--\n\nThe native half of aioxide.EventLoop.")
        .subclassable()
        .blank(LoopState::blank)
        .init(init)
        .args(
            c"call_soon",
            c"call_soon($self, callback, *args, context=None)\n--\n\nArrange for a callback to be called as soon as possible.",
            call_soon,
        )
        .args(
            c"call_soon_threadsafe",
            c"call_soon_threadsafe($self, callback, *args, context=None)\n--\n\nLike call_soon(), but thread-safe.",
            call_soon_threadsafe,
        )
        .args(
            c"call_later",
            c"call_later($self, delay, callback, *args, context=None)\n--\n\nArrange for a callback to be called at a given time.",
            call_later,
        )
        .args(
            c"call_at",
            c"call_at($self, when, callback, *args, context=None)\n--\n\nLike call_later(), but uses an absolute time.",
            call_at,
        )
        .noargs(
            c"time",
            c"time($self, /)\n--\n\nThe time according to the loop's clock, in seconds.",
            |_: &EventLoop| reactor::monotonic(),
        )
        .noargs(
            c"create_future",
            c"create_future($self, /)\n--\n\nCreate a Future object attached to the loop.",
            future,
        )
        .args(
            c"create_task",
            c"create_task($self, coro, *, name=None, context=None, eager_start=None, **kwargs)\n--\n\nSchedule or begin executing a coroutine object.",
            create_task,
        )
        .noargs(
            c"get_task_factory",
            c"get_task_factory($self, /)\n--\n\nReturn a task factory, or None if the default one is in use.",
            |this: &EventLoop| this.task_factory(),
        )
        .args(
            c"set_task_factory",
            c"set_task_factory($self, factory)\n--\n\nSet a task factory that will be used by loop.create_task().",
            set_task_factory,
        )
        .noargs(c"is_running", c"is_running($self, /)\n--\n\nWhether the loop runs.", |this: &EventLoop| {
            this.is_running()
        })
        .noargs(c"is_closed", c"is_closed($self, /)\n--\n\nWhether the loop was closed.", |this: &EventLoop| {
            this.is_closed()
        })
        .noargs(
            c"stop",
            c"stop($self, /)\n--\n\nStop running the loop after the current turn.",
            |this: &EventLoop| this.stopping.set(true),
        )
        .noargs(c"get_debug", c"get_debug($self, /)\n--\n\nWhether debug mode is on.", |this: &EventLoop| {
            this.debug()
        })
        .args(
            c"set_debug",
            c"set_debug($self, enabled)\n--\n\nTurn debug mode on or off.",
            set_debug,
        )
        .args(
            c"add_reader",
            c"add_reader($self, fd, callback, *args)\n--\n\nCall back whenever the descriptor is readable.",
            io::add_reader,
        )
        .args(
            c"remove_reader",
            c"remove_reader($self, fd)\n--\n\nStop watching the descriptor for reading.",
            io::remove_reader,
        )
        .args(
            c"add_writer",
            c"add_writer($self, fd, callback, *args)\n--\n\nCall back whenever the descriptor is writable.",
            io::add_writer,
        )
        .args(
            c"remove_writer",
            c"remove_writer($self, fd)\n--\n\nStop watching the descriptor for writing.",
            io::remove_writer,
        )
        .args(
            c"_listen",
            c"_listen($self, /, protocol_factory, sock, server, backlog, secure)\n--\n\nAccept connections on a listening socket.",
            crate::net::listener::listen,
        )
        .one(
            c"_stop_listening",
            c"_stop_listening($self, fd, /)\n--\n\nAccept no more on this descriptor.",
            crate::net::listener::stop_listening,
        )
        .args(
            c"_add_reader",
            c"_add_reader($self, fd, callback, *args)\n--\n\nadd_reader() for transports: not checked against theirs.",
            io::add_reader_unchecked,
        )
        .args(
            c"_remove_reader",
            c"_remove_reader($self, fd)\n--\n\nremove_reader() for transports.",
            io::remove_reader_unchecked,
        )
        .args(
            c"_add_writer",
            c"_add_writer($self, fd, callback, *args)\n--\n\nadd_writer() for transports: not checked against theirs.",
            io::add_writer_unchecked,
        )
        .args(
            c"_remove_writer",
            c"_remove_writer($self, fd)\n--\n\nremove_writer() for transports.",
            io::remove_writer_unchecked,
        )
        .args(
            c"_watched",
            c"_watched($self, fd)\n--\n\nWhether the descriptor is watched for reading, and for writing.",
            io::watched,
        )
        .one(
            c"_refuse_transport",
            c"_refuse_transport($self, fd, /)\n--\n\nFail if a native transport has this descriptor.",
            io::refuse_own_transport,
        )
        .noargs(
            c"_guard_transports",
            c"_guard_transports($self, /)\n--\n\nFrom now on ask before a program watches a descriptor.",
            |this: &EventLoop| this.guarded.set(true),
        )
        .noargs(c"_run", c"_run($self, /)\n--\n\nRun turns until stop() is called.", turn::run)
        .noargs(c"_dispose", c"_dispose($self, /)\n--\n\nClose: drop everything.", dispose)
        .noargs(c"_tasks", c"_tasks($self, /)\n--\n\nThe Tasks that are not done.", tasks)
        .noargs(c"_check_closed", c"_check_closed($self, /)\n--\n\n", |this: &EventLoop| {
            this.check_closed()
        })
        .noargs(
            c"_send_written",
            c"_send_written($self, /)\n--\n\nSend at once what was to go out after the callback that runs.",
            |this: &EventLoop| this.outbox().send(this),
        )
        .noargs(
            c"_forked",
            c"_forked($self, /)\n--\n\nThis is a forked child: do not share the parent's queue.",
            |this: &EventLoop| this.living_io().map_or((), Io::forked),
        )
        .getter(c"_thread_id", |this: &EventLoop| {
            Some(this.thread() as i64).filter(|&thread| thread != 0)
        })
        .build()
}
