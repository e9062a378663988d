//! Both ways of waiting for a while keep the same promises.

use std::os::unix::thread::JoinHandleExt;
use std::thread;
use std::time::Instant;

use rustix::event::epoll::{CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};

use super::*;

type Wait = fn(&OwnedFd, &mut Vec<RawEvent>, Duration) -> io::Result<usize>;

fn ways() -> Vec<Wait> {
    let mut ways: Vec<Wait> = vec![wait, by_milliseconds];
    let probe = by_nanoseconds(&queue(), &mut Vec::with_capacity(1), Duration::ZERO);
    if probe != Err(Errno::NOSYS) && probe != Err(Errno::PERM) {
        ways.push(|epoll, buffer, timeout| Ok(by_nanoseconds(epoll, buffer, timeout)?));
    }
    ways
}

fn queue() -> OwnedFd {
    epoll::create(CreateFlags::CLOEXEC).unwrap()
}

#[test]
fn a_timer_is_never_early() {
    for wait in ways() {
        for micros in [1, 300, 999, 1000, 1001, 2500] {
            let timeout = Duration::from_micros(micros);
            let start = Instant::now();
            assert_eq!(wait(&queue(), &mut Vec::with_capacity(1), timeout).unwrap(), 0);
            assert!(start.elapsed() >= timeout);
        }
    }
}

#[test]
fn milliseconds_are_rounded_up_and_bounded() {
    let rounded = |nanos| {
        let timeout = round_up(Duration::from_nanos(nanos));
        (timeout.tv_sec, timeout.tv_nsec)
    };
    assert_eq!(rounded(1), (0, 1_000_000));
    assert_eq!(rounded(1_000_000), (0, 1_000_000));
    assert_eq!(rounded(1_000_001), (0, 2_000_000));
    assert_eq!(rounded(1_999_000_001), (2, 0));
    assert_eq!(round_up(Duration::MAX).tv_sec, 2_147_483);
}

#[test]
fn events_end_the_wait_and_fill_no_more_than_the_room() {
    for wait in ways() {
        let queue = queue();
        let ready: Vec<OwnedFd> =
            (0..5).map(|_| eventfd(1, EventfdFlags::CLOEXEC).unwrap()).collect();
        for (index, fd) in ready.iter().enumerate() {
            epoll::add(&queue, fd, EventData::new_u64(index as u64), EventFlags::IN).unwrap();
        }
        let mut buffer = Vec::with_capacity(3);
        let room = buffer.capacity();
        // The longest wait there is must be one that the kernel takes.
        assert_eq!(wait(&queue, &mut buffer, Duration::MAX).unwrap(), room);
        let indices: Vec<u64> = buffer.iter().map(|event| event.data.u64()).collect();
        assert_eq!(indices, [0, 1, 2]);
    }
}

unsafe extern "C" {
    fn signal(number: c_int, handler: extern "C" fn(c_int)) -> usize;
    fn pthread_kill(thread: std::os::unix::thread::RawPthread, number: c_int) -> c_int;
}

#[test]
fn a_signal_ends_the_wait_as_an_interruption() {
    const SIGUSR2: c_int = 12;
    extern "C" fn nothing(_: c_int) {}
    // SAFETY: the handler does nothing, and no other test uses this signal.
    unsafe { signal(SIGUSR2, nothing) };
    for wait in ways() {
        let waiting = thread::spawn(move || {
            let timeout = Duration::from_secs(20);
            wait(&queue(), &mut Vec::with_capacity(1), timeout).unwrap_err().kind()
        });
        while !waiting.is_finished() {
            thread::sleep(Duration::from_millis(5));
            // SAFETY: the thread was not joined, so its id is still its own.
            unsafe { pthread_kill(waiting.as_pthread_t(), SIGUSR2) };
        }
        assert_eq!(waiting.join().unwrap(), io::ErrorKind::Interrupted);
    }
}
