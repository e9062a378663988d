//! A real fork, in a process of its own because of what fork does to threads.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use reactor::{Events, Interest, Reactor};

unsafe extern "C" {
    fn fork() -> i32;
    fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
    fn _exit(status: i32) -> !;
}

const NOW: Option<Duration> = Some(Duration::ZERO);

/// Everything the child claims, as one answer, since it cannot panic usefully.
fn in_the_child(reactor: &mut Reactor, ours: &mut UnixStream) -> std::io::Result<bool> {
    let waker = reactor.waker();
    let poller = reactor.poller();
    let mut events = Events::new();
    reactor.rebuild()?;

    let quiet = !poller.wait(&mut events, NOW)?;
    ours.read_exact(&mut [0])?;
    waker.wake();
    let woken = poller.wait(&mut events, None)?;
    reactor.set_interest(ours.as_raw_fd(), Interest::NONE)?;
    Ok(quiet && woken && events.is_empty() && reactor.registered() == 0)
}

#[test]
fn after_a_fork_the_parents_queue_and_waker_are_left_alone() {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    let mut reactor = Reactor::new().unwrap();
    reactor.set_interest(ours.as_raw_fd(), Interest::READ).unwrap();

    // SAFETY: the child runs nothing of the test harness and leaves by _exit.
    let child = unsafe { fork() };
    if child == 0 {
        let kept = in_the_child(&mut reactor, &mut ours).unwrap_or(false);
        // SAFETY: there is nothing of the child's to clean up.
        unsafe { _exit(i32::from(!kept)) };
    }
    assert!(child > 0);
    theirs.write_all(b"a").unwrap();
    let mut status = -1;
    // SAFETY: status is ours to write to, and the child is ours to wait for.
    assert_eq!(unsafe { waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "the child's part");

    let mut events = Events::new();
    assert!(!reactor.poller().wait(&mut events, NOW).unwrap(), "the child rang the parent's bell");
    theirs.write_all(b"b").unwrap();
    reactor.poller().wait(&mut events, NOW).unwrap();
    assert_eq!(events.len(), 1, "the child took the parent's registration away");
}
