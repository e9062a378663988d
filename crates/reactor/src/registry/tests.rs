//! Real sockets through the whole crate.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::*;
use crate::{Event, Events};

fn now(reactor: &Reactor) -> Vec<Event> {
    let mut events = Events::new();
    reactor.poller().wait(&mut events, Some(Duration::ZERO)).unwrap();
    events.iter().map(|event| event.narrow(reactor.interest(event.fd))).collect()
}

fn event(fd: RawFd, readable: bool, writable: bool) -> Event {
    Event { fd, readable, writable }
}

fn pair() -> (UnixStream, UnixStream) {
    let (a, b) = UnixStream::pair().unwrap();
    a.set_nonblocking(true).unwrap();
    b.set_nonblocking(true).unwrap();
    (a, b)
}

/// A duplicate whose number no test beside this one is given once it is closed.
fn high(socket: &UnixStream, least: RawFd) -> OwnedFd {
    rustix::io::fcntl_dupfd_cloexec(socket, least).unwrap()
}

#[test]
fn readiness_is_reported_until_it_ends() {
    let (mut ours, mut theirs) = pair();
    let fd = ours.as_raw_fd();
    let mut reactor = Reactor::new().unwrap();
    reactor.set_interest(fd, Interest::READ).unwrap();
    assert_eq!(now(&reactor), []);

    theirs.write_all(b"ab").unwrap();
    ours.read_exact(&mut [0]).unwrap();
    assert_eq!(now(&reactor), [event(fd, true, false)]);
    assert_eq!(now(&reactor), [event(fd, true, false)]);
    ours.read_exact(&mut [0]).unwrap();
    assert_eq!(now(&reactor), []);
}

#[test]
fn interest_can_change_and_end_at_any_time() {
    let (ours, mut theirs) = pair();
    let fd = ours.as_raw_fd();
    theirs.write_all(b"a").unwrap();
    let mut reactor = Reactor::new().unwrap();
    let expected = [
        (Interest::READ, vec![event(fd, true, false)], 1),
        (Interest::BOTH, vec![event(fd, true, true)], 1),
        (Interest::WRITE, vec![event(fd, false, true)], 1),
        (Interest::NONE, vec![], 0),
        (Interest::NONE, vec![], 0),
        (Interest::WRITE, vec![event(fd, false, true)], 1),
    ];
    for (interest, events, registered) in expected {
        reactor.set_interest(fd, interest).unwrap();
        assert_eq!(reactor.interest(fd), interest);
        assert_eq!(reactor.registered(), registered);
        assert_eq!(now(&reactor), events);
    }
}

#[test]
fn a_hang_up_concerns_whoever_is_there_to_meet_it() {
    for interest in [Interest::READ, Interest::WRITE, Interest::BOTH] {
        let (reading, writing) = io::pipe().unwrap();
        let fd = writing.as_raw_fd();
        let mut reactor = Reactor::new().unwrap();
        reactor.set_interest(fd, interest).unwrap();
        drop(reading);
        assert_eq!(now(&reactor), [event(fd, interest.read, interest.write)]);
    }
}

#[test]
fn a_closed_descriptor_can_be_forgotten() {
    let (ours, _theirs) = pair();
    let fd = ours.as_raw_fd();
    let mut reactor = Reactor::new().unwrap();
    reactor.set_interest(fd, Interest::READ).unwrap();
    drop(ours);
    reactor.set_interest(fd, Interest::NONE).unwrap();
    assert_eq!(reactor.registered(), 0);
}

#[test]
fn a_reused_descriptor_number_is_registered_anew() {
    let (first, _first_peer) = pair();
    let (second, mut peer) = pair();
    let mut reactor = Reactor::new().unwrap();
    let mut number: OwnedFd = first.into();
    let fd = number.as_raw_fd();
    reactor.set_interest(fd, Interest::READ).unwrap();

    // Closes the first socket and gives its number to the second.
    rustix::io::dup2(&second, &mut number).unwrap();
    reactor.set_interest(fd, Interest::READ).unwrap();
    peer.write_all(b"a").unwrap();
    assert_eq!(now(&reactor), [event(fd, true, false)]);
    assert_eq!(reactor.registered(), 1);
}

#[test]
fn a_number_that_returns_to_a_file_still_registered_is_registered_anew() {
    let (first, mut peer) = pair();
    let keeps_it_open = first.try_clone().unwrap();
    let (second, _second_peer) = pair();
    let mut reactor = Reactor::new().unwrap();
    let mut number: OwnedFd = first.into();
    let fd = number.as_raw_fd();
    reactor.set_interest(fd, Interest::WRITE).unwrap();

    // The kernel keeps the first registration, which no number leads to, until
    // the first file has its number again.
    rustix::io::dup2(&second, &mut number).unwrap();
    reactor.set_interest(fd, Interest::NONE).unwrap();
    rustix::io::dup2(&keeps_it_open, &mut number).unwrap();
    reactor.set_interest(fd, Interest::READ).unwrap();
    assert_eq!(now(&reactor), []);
    peer.write_all(b"a").unwrap();
    assert_eq!(now(&reactor), [event(fd, true, false)]);
}

#[test]
fn what_cannot_be_watched_is_refused_and_not_counted() {
    let mut reactor = Reactor::new().unwrap();
    let file = File::open("/proc/self/exe").unwrap();
    for (fd, errno) in [
        (file.as_raw_fd(), rustix::io::Errno::PERM),
        (-1, rustix::io::Errno::BADF),
        (RawFd::MIN, rustix::io::Errno::BADF),
        (RawFd::MAX, rustix::io::Errno::BADF),
    ] {
        let error = reactor.set_interest(fd, Interest::READ).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(errno.raw_os_error()));
        assert_eq!(reactor.interest(fd), Interest::NONE);
        reactor.set_interest(fd, Interest::NONE).unwrap();
    }
    assert_eq!(reactor.registered(), 0);
    assert!(reactor.entries.is_empty());
}

#[test]
fn a_descriptor_that_closed_while_watched_is_refused_and_no_longer_counted() {
    let (ours, _theirs) = pair();
    let number = high(&ours, 700);
    let fd = number.as_raw_fd();
    let mut reactor = Reactor::new().unwrap();
    reactor.set_interest(fd, Interest::READ).unwrap();
    drop(number);
    assert!(reactor.set_interest(fd, Interest::WRITE).is_err());
    assert_eq!((reactor.registered(), reactor.interest(fd)), (0, Interest::NONE));
}

#[test]
fn a_rebuilt_reactor_watches_what_it_watched() {
    let (ours, mut theirs) = pair();
    let closed = high(&ours, 600);
    let mut reactor = Reactor::new().unwrap();
    let (poller, waker) = (reactor.poller(), reactor.waker());
    reactor.set_interest(ours.as_raw_fd(), Interest::READ).unwrap();
    reactor.set_interest(closed.as_raw_fd(), Interest::READ).unwrap();
    drop(closed);
    reactor.rebuild().unwrap();

    theirs.write_all(b"a").unwrap();
    assert_eq!(now(&reactor), [event(ours.as_raw_fd(), true, false)]);
    // And whoever waits or wakes need not be told.
    waker.wake();
    let mut events = Events::new();
    assert!(poller.wait(&mut events, None).unwrap());
    assert_eq!(events.len(), 1);
    assert!(!poller.wait(&mut events, Some(Duration::ZERO)).unwrap());
}

#[test]
fn a_registration_that_no_number_leads_to_ends_with_a_rebuild() {
    let (ours, mut theirs) = pair();
    // As a child process keeps it open, whose parent closed it while watched.
    let _elsewhere = high(&ours, 800);
    let fd = ours.as_raw_fd();
    let mut reactor = Reactor::new().unwrap();
    reactor.set_interest(fd, Interest::READ).unwrap();
    drop(ours);
    reactor.set_interest(fd, Interest::NONE).unwrap();
    theirs.write_all(b"a").unwrap();
    assert_eq!(now(&reactor), [event(fd, false, false)]);
    reactor.rebuild().unwrap();
    assert_eq!(now(&reactor), []);
}

#[test]
fn a_full_buffer_grows_and_nothing_is_lost() {
    let (ours, _theirs) = pair();
    let mut reactor = Reactor::new().unwrap();
    let many: Vec<UnixStream> = (0..300).map(|_| ours.try_clone().unwrap()).collect();
    for socket in &many {
        reactor.set_interest(socket.as_raw_fd(), Interest::WRITE).unwrap();
    }
    assert_eq!(reactor.registered(), 300);
    let mut events = Events::new();
    let poller = reactor.poller();
    poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
    assert_eq!(events.len(), 256);
    assert!(events.capacity() >= 512);
    poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
    assert_eq!(events.len(), 300);
    let mut seen: Vec<RawFd> = events.iter().map(|event| event.fd).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 300);
    events.clear();
    assert!(events.is_empty());
}

#[test]
fn a_change_that_is_put_off_holds_from_the_next_wait_on() {
    let (ours, mut theirs) = pair();
    let fd = ours.as_raw_fd();
    let mut reactor = Reactor::new().unwrap();
    reactor.change_soon(fd, Interest::READ).unwrap();
    assert!(!reactor.is_unsettled(), "the first registration is made at once, for its errors");
    reactor.change_soon(fd, Interest::NONE).unwrap();
    assert!(reactor.interest(fd).is_none());
    reactor.change_soon(fd, Interest::READ).unwrap();
    reactor.settle(|_, error| panic!("{error}"));
    theirs.write_all(b"a").unwrap();
    assert_eq!(now(&reactor), [event(fd, true, false)]);
    reactor.change_soon(fd, Interest::NONE).unwrap();
    reactor.settle(|_, error| panic!("{error}"));
    assert_eq!(now(&reactor), []);
    assert_eq!(reactor.registered(), 0);
}

#[test]
fn a_number_closed_and_used_again_before_the_wait_is_watched() {
    let (ours, _theirs) = pair();
    let (other, mut others) = pair();
    let placed = high(&ours, 820);
    let fd = placed.as_raw_fd();
    let mut reactor = Reactor::new().unwrap();
    reactor.change_soon(fd, Interest::READ).unwrap();
    reactor.change_soon(fd, Interest::NONE).unwrap();
    drop(placed);
    let again = high(&other, 820);
    assert_eq!(again.as_raw_fd(), fd);
    reactor.change_soon(fd, Interest::READ).unwrap();
    reactor.settle(|_, error| panic!("{error}"));
    others.write_all(b"a").unwrap();
    assert_eq!(now(&reactor), [event(fd, true, false)]);
}

#[test]
fn a_closed_number_is_refused_when_it_is_noted() {
    let (ours, _theirs) = pair();
    let placed = high(&ours, 840);
    let fd = placed.as_raw_fd();
    let mut reactor = Reactor::new().unwrap();
    reactor.change_soon(fd, Interest::READ).unwrap();
    reactor.change_soon(fd, Interest::NONE).unwrap();
    drop(placed);
    assert!(reactor.change_soon(fd, Interest::READ).is_err());
    reactor.settle(|_, error| panic!("{error}"));
    assert_eq!(reactor.registered(), 0);
}

#[test]
fn what_the_kernel_refuses_later_is_reported_and_forgotten() {
    let (ours, _theirs) = pair();
    let placed = high(&ours, 860);
    let fd = placed.as_raw_fd();
    let mut reactor = Reactor::new().unwrap();
    reactor.change_soon(fd, Interest::READ).unwrap();
    reactor.change_soon(fd, Interest::NONE).unwrap();
    drop(placed);
    let regular = std::env::current_exe().and_then(File::open).unwrap();
    let placed = rustix::io::fcntl_dupfd_cloexec(&regular, 860).unwrap();
    assert_eq!(placed.as_raw_fd(), fd);
    reactor.change_soon(fd, Interest::READ).unwrap();
    let mut refused = Vec::new();
    reactor.settle(|fd, _| refused.push(fd));
    assert_eq!(refused, [fd]);
    assert!(reactor.interest(fd).is_none());
}
