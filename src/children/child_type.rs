//! `Child`: what the loop watches of a child process, first its birth, then its end.
//!
//! One descriptor at a time is watched: the report of a birth, which ends when the program has been
//! executed or could not be, and after that the process's own (a pidfd), which is readable when it
//! is over. The status is read in the same turn, so nothing of the child remains.

use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use reactor::Interest;

use super::birth::{self, Birth, Order, Outcome, Texts};
use crate::engine::current;
use crate::engine::endpoint::{Endpoint, Readiness};
use crate::engine::event_loop::{EventLoop, LoopState};
use crate::py::buffer::bytes_content;
use crate::py::error::os_error;
use crate::py::module::Module;
use crate::py::{
    Any, Args, AsObject, Builder, Builtin, Class, Object, Res, Slot, Stop, TypeCell, Visitor,
    create, names, raise, runtime_error, track, type_error, value,
};

pub(crate) type Child = Object<ChildState>;

/// A child process's fields.
pub(crate) struct ChildState {
    pid: c_int,
    /// Until the child is known to have left our memory.
    birth: RefCell<Option<Birth>>,
    /// Until the child is over.
    pidfd: RefCell<Option<OwnedFd>>,
    /// The descriptor that the loop watches, -1 for none.
    watched: Cell<RawFd>,
    /// Set while something is watched.
    event_loop: Slot<EventLoop>,
    /// The Future of the birth; then who is to hear of the end, and what it is told first.
    hears: Slot,
    told: Slot,
    tracked: Cell<bool>,
}

static TYPE: TypeCell = TypeCell::new();

impl Class for ChildState {
    const NAME: &'static std::ffi::CStr = c"aioxide._core.Child";

    fn cell() -> &'static TypeCell {
        &TYPE
    }
    fn tracked(&self) -> Option<&Cell<bool>> {
        Some(&self.tracked)
    }
    fn traverse(object: &Child, visitor: &Visitor) -> Result<(), Stop> {
        visitor.slot(&object.event_loop)?;
        visitor.slot(&object.hears)?;
        visitor.slot(&object.told)
    }
    fn clear(object: &Child) {
        object.hears.clear();
        object.told.clear();
        object.unwatch();
    }
    fn leave(object: &Child) {
        // SAFETY: a look at the loop, whose table forgets an object that is about to die.
        if let Some(event_loop) = unsafe { object.event_loop.peek() }
            && let Some(io) = event_loop.living_io()
        {
            io.detach(object.watched.get(), object);
        }
    }
}

impl Endpoint for ChildState {
    const IS_TRANSPORT: bool = false;

    fn ready(this: &Child, event_loop: &EventLoop, _: Readiness) -> Res<()> {
        let is_being_born = this.birth.borrow().is_some();
        if is_being_born { this.hear_of_birth(event_loop) } else { this.hear_of_end(event_loop) }
    }
}

impl Child {
    fn make(pid: c_int, pidfd: Option<OwnedFd>, birth: Option<Birth>) -> Res {
        let child = create(|| ChildState {
            pid,
            birth: RefCell::new(birth),
            pidfd: RefCell::new(pidfd),
            watched: Cell::new(-1),
            event_loop: Slot::empty(),
            hears: Slot::empty(),
            told: Slot::empty(),
            tracked: Cell::new(false),
        })?;
        track(&*child);
        Ok(child.into_any())
    }

    fn watch(&self, event_loop: &EventLoop, fd: RawFd) -> Res<()> {
        let io = event_loop.io()?;
        io.attach_anew(fd, self, Interest::READ).map_err(|failure| os_error(&failure))?;
        self.event_loop.set(event_loop.own());
        self.watched.set(fd);
        Ok(())
    }

    /// Before the descriptor is closed: other processes may have it for a moment yet, so the kernel
    /// would go on reporting it under a number that is soon another's.
    fn unwatch(&self) {
        if let Some(event_loop) = self.event_loop.take()
            && let Some(io) = event_loop.living_io()
        {
            io.detach(self.watched.replace(-1), self);
        }
    }

    fn hear_of_birth(&self, event_loop: &EventLoop) -> Res<()> {
        let outcome = match self.birth.borrow_mut().as_mut().map(Birth::look) {
            None | Some(Outcome::Unknown) => return Ok(()),
            Some(known) => known,
        };
        current::withdraw(event_loop)?;
        let _kept = self.own();
        self.unwatch();
        self.birth.replace(None);
        if self.told.is_some() {
            return self.watch_end(event_loop);
        }
        let result = match outcome {
            Outcome::Failed { step, errno } => {
                value::tuple(&[&*value::int(step)?, &*value::int(errno)?])?
            }
            _ => value::none(),
        };
        let Some(future) = self.hears.take() else { return Ok(()) };
        if value::is_true(&*future.call_method(&names::DONE, &[])?)? {
            return Ok(());
        }
        future.call_method(&names::SET_RESULT, &[&result]).map(drop)
    }

    fn hear_of_end(&self, event_loop: &EventLoop) -> Res<()> {
        let mut status = 0;
        // SAFETY: room for the status.
        let reaped = unsafe { libc::waitpid(self.pid, &raw mut status, libc::WNOHANG) };
        if reaped == 0 {
            return Ok(()); // A tracer is to see it first.
        }
        current::withdraw(event_loop)?;
        let _kept = self.own();
        self.unwatch();
        self.pidfd.replace(None);
        // Whatever the error, there is no status to be had from the kernel any more.
        let status =
            if reaped == self.pid { value::int(i64::from(status))? } else { value::none() };
        let (hears, told) = (self.hears.take(), self.told.take());
        match (hears, told) {
            (Some(hears), Some(told)) => hears.call(&[&told, &status]).map(drop),
            _ => Ok(()),
        }
    }

    /// `when_born(loop, future)`.
    fn when_born(&self, event_loop: &EventLoop, future: &Any) -> Res<()> {
        if !self.watch_birth(event_loop)? {
            return Err(runtime_error("this child has been born"));
        }
        self.hears.set(future.own());
        Ok(())
    }

    /// `when_over(loop, callback, argument)`. Nobody need hear of the birth first.
    fn when_over(&self, event_loop: &EventLoop, callback: &Any, argument: &Any) -> Res<()> {
        if !self.watch_birth(event_loop)? {
            self.watch_end(event_loop)?;
        }
        self.hears.set(callback.own());
        self.told.set(argument.own());
        Ok(())
    }

    /// Watches the report, if there is one still to come.
    fn watch_birth(&self, event_loop: &EventLoop) -> Res<bool> {
        let report = self.birth.borrow().as_ref().map(Birth::report);
        match report {
            Some(report) if self.watched.get() != report => self.watch(event_loop, report)?,
            Some(_) => {}
            None => return Ok(false),
        }
        Ok(true)
    }

    fn watch_end(&self, event_loop: &EventLoop) -> Res<()> {
        let pidfd = self.pidfd.borrow().as_ref().map(AsRawFd::as_raw_fd);
        pidfd.map_or_else(
            || Err(runtime_error("this child is over")),
            |pidfd| self.watch(event_loop, pidfd),
        )
    }
}

fn is_sane(text: &[u8]) -> Res<()> {
    match memchr::memchr(0, text) {
        None => Ok(()),
        Some(_) => Err(raise(Builtin::ValueError.get(), "embedded null byte")),
    }
}

fn push(texts: &mut Texts, object: &Any) -> Res<()> {
    let text = bytes_content(object).ok_or_else(|| type_error("bytes are expected"))?;
    is_sane(text)?;
    texts.push(text);
    Ok(())
}

fn texts(iterable: &Any) -> Res<Texts> {
    let mut texts = Texts::default();
    value::each(iterable, |item| push(&mut texts, item))?;
    Ok(texts)
}

fn number(object: &Any) -> Res<c_int> {
    let number = value::as_int(object)?;
    c_int::try_from(number).map_err(|_| {
        let text = match number {
            _ if cfg!(Py_3_12) => "Python int too large to convert to C int",
            ..0 => "signed integer is less than minimum",
            _ => "signed integer is greater than maximum",
        };
        raise(Builtin::OverflowError.get(), text)
    })
}

/// Up to 3.11 the stdlib wants a number here.
fn flag(object: &Any) -> Res<bool> {
    if cfg!(Py_3_12) { value::is_true(object) } else { Ok(number(object)? != 0) }
}

fn passed(iterable: &Any) -> Res<Vec<c_int>> {
    let mut passed = Vec::new();
    value::each(iterable, |item| {
        let fd = value::as_int(item).ok().and_then(|fd| c_int::try_from(fd).ok());
        match fd.filter(|&fd| fd >= 0 && passed.last().is_none_or(|&last| last < fd)) {
            Some(fd) => passed.push(fd),
            None => return Err(raise(Builtin::ValueError.get(), "bad value(s) in fds_to_keep")),
        }
        Ok(())
    })?;
    Ok(passed)
}

fn order(args: &[&Any]) -> Res<Order> {
    let [executables, argv, env, directory, close_others, passed_on, ends, rest @ ..] = args else {
        return Err(type_error("eleven arguments are expected"));
    };
    let (&[restore_signals, new_session, process_group, umask], true) =
        (rest, value::is_tuple(ends))
    else {
        return Err(type_error("eleven arguments are expected"));
    };
    let &[stdin, to_stdin, from_stdout, stdout, from_stderr, stderr] = value::tuple_items(ends)
    else {
        return Err(type_error("six descriptors are expected"));
    };
    Ok(Order {
        executables: texts(executables)?,
        argv: texts(argv)?,
        env: if env.is_none() { Texts::environment() } else { texts(env)? },
        directory: if directory.is_none() {
            None
        } else {
            let mut text = Texts::default();
            push(&mut text, directory)?;
            Some(text)
        },
        standard: [number(stdin)?, number(stdout)?, number(stderr)?],
        not_for_child: [number(to_stdin)?, number(from_stdout)?, number(from_stderr)?],
        passed: passed(passed_on)?,
        close_others: value::is_true(close_others)?,
        restore_signals: flag(restore_signals)?,
        new_session: flag(new_session)?,
        process_group: number(process_group)?,
        umask: number(umask)?,
    })
}

fn start(args: &[&Any]) -> Res {
    let mut birth = Birth::give(order(args)?).map_err(|failure| os_error(&failure))?;
    let pidfd = birth.pidfd.take();
    Child::make(birth.pid, pidfd, Some(birth))
}

fn adopt(pid: &Any, pidfd: &Any) -> Res {
    let (pid, pidfd) = (number(pid)?, number(pidfd)?);
    if pidfd < 0 {
        return Err(raise(Builtin::ValueError.get(), "a descriptor is expected"));
    }
    // SAFETY: the caller has opened it and gives it away.
    Child::make(pid, Some(unsafe { OwnedFd::from_raw_fd(pidfd) }), None)
}

fn on_loop(object: &Any) -> Res<&EventLoop> {
    object.cast::<LoopState>().ok_or_else(|| type_error("a loop of aioxide is expected"))
}

/// Makes the type and adds it and its makers to the module.
pub(crate) fn add_to(module: &Module<'_>) -> Res<()> {
    module.add(c"Child", build()?)?;
    module.add(c"can_start_children", &value::boolean(birth::is_supported()))?;
    module.function(
        c"start_child",
        c"start_child(executables, argv, env, directory, close_fds, pass_fds, ends, restore_signals, start_new_session, process_group, umask, /)\n--\n\nStart a program, without waiting until it is executed.",
        |_, args: Args<'_>| start(args.positional),
    )?;
    module.function(
        c"adopt_child",
        c"adopt_child(pid, pidfd, /)\n--\n\nMake a Child of a process that was started otherwise; it takes over the descriptor.",
        |_, args: Args<'_>| match args.positional {
            [pid, pidfd] => adopt(pid, pidfd),
            _ => Err(type_error("two arguments are expected")),
        },
    )
}

fn build() -> Res<&'static Any> {
    Builder::<ChildState>::new(c"A child process, as a loop watches it.")
        .not_constructible()
        .getter(c"pid", |this: &Child| value::int(i64::from(this.pid)))
        .getter(c"has_pidfd", |this: &Child| value::boolean(this.pidfd.borrow().is_some()))
        .args(
            c"when_born",
            c"when_born($self, loop, future, /)\n--\n\nSettle the future when the program is executed, with None, or with the step that failed and its errno.",
            |this: &Child, args: Args<'_>| match args.positional {
                [event_loop, future] => this.when_born(on_loop(event_loop)?, future),
                _ => Err(type_error("two arguments are expected")),
            },
        )
        .args(
            c"when_over",
            c"when_over($self, loop, callback, argument, /)\n--\n\nCall callback(argument, status) when it is over; None stands for a status that somebody else has read.",
            |this: &Child, args: Args<'_>| match args.positional {
                [event_loop, callback, argument] => {
                    this.when_over(on_loop(event_loop)?, callback, argument)
                }
                _ => Err(type_error("three arguments are expected")),
            },
        )
        .build()
}
