//! The bell, and what may be trusted about it.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::thread;
use std::time::Instant;

use super::*;

const LONG: Duration = Duration::from_secs(20);

fn wait(queue: &Queue, timeout: Option<Duration>) -> (bool, usize) {
    let mut buffer = Vec::with_capacity(8);
    let (rung, _) = queue.wait(&mut buffer, timeout).unwrap();
    (rung, buffer.len())
}

#[test]
fn a_bell_rung_many_times_is_reported_once() {
    let queue = Queue::new().unwrap();
    for _ in 0..3 {
        assert_eq!(wait(&queue, Some(Duration::ZERO)), (false, 0));
        queue.ring();
        queue.ring();
        assert_eq!(wait(&queue, None), (true, 0));
    }
    assert_eq!(wait(&queue, Some(Duration::ZERO)), (false, 0));
}

#[test]
fn a_bell_ends_a_wait_in_another_thread() {
    for timeout in [None, Some(LONG)] {
        let queue = Queue::new().unwrap();
        let start = Instant::now();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| wait(&queue, timeout));
            thread::sleep(Duration::from_millis(20));
            queue.ring();
            assert_eq!(waiting.join().unwrap(), (true, 0));
        });
        assert!(start.elapsed() < LONG);
    }
}

#[test]
fn no_ring_is_lost_between_threads() {
    const EACH: u32 = 50_000;
    let queue = Arc::new(Queue::new().unwrap());
    // Relaxed on purpose: the bell alone has to make the work visible.
    let work = Arc::new(AtomicU32::new(0));
    let ringers: Vec<_> = (0..2)
        .map(|_| {
            let (queue, work) = (Arc::clone(&queue), Arc::clone(&work));
            thread::spawn(move || {
                for _ in 0..EACH {
                    work.fetch_add(1, Ordering::Relaxed);
                    queue.ring();
                }
            })
        })
        .collect();
    let mut done = 0;
    while done < 2 * EACH {
        let (rung, _) = wait(&queue, Some(LONG));
        assert!(rung, "a ring was lost after {done}");
        done += work.swap(0, Ordering::Relaxed);
    }
    for ringer in ringers {
        ringer.join().unwrap();
    }
}

#[test]
fn the_bell_leaves_the_descriptors_beside_it_in_their_order() {
    let queue = Queue::new().unwrap();
    let (a, b) = UnixStream::pair().unwrap();
    queue.change(a.as_raw_fd(), Interest::NONE, Interest::WRITE).unwrap();
    queue.ring();
    queue.change(b.as_raw_fd(), Interest::NONE, Interest::WRITE).unwrap();
    let c = a.try_clone().unwrap();
    queue.change(c.as_raw_fd(), Interest::NONE, Interest::WRITE).unwrap();
    let mut buffer = Vec::with_capacity(8);
    assert!(queue.wait(&mut buffer, None).unwrap().0);
    let fds: Vec<RawFd> = buffer.iter().map(|event| decode(event).fd).collect();
    assert_eq!(fds, [a.as_raw_fd(), b.as_raw_fd(), c.as_raw_fd()]);
}

#[test]
fn a_bell_for_which_the_buffer_had_no_room_rings_in_the_next_wait() {
    let queue = Queue::new().unwrap();
    let (a, _b) = UnixStream::pair().unwrap();
    queue.change(a.as_raw_fd(), Interest::NONE, Interest::WRITE).unwrap();
    queue.ring();
    let mut rung = false;
    for _ in 0..2 {
        let mut buffer = Vec::with_capacity(1);
        rung |= queue.wait(&mut buffer, Some(Duration::ZERO)).unwrap().0;
    }
    assert!(rung);
}

#[test]
fn a_ring_under_way_survives_the_exchange_of_queues() {
    let queue = Queue::new().unwrap();
    queue.ring();
    queue.become_another(Queue::new().unwrap()).unwrap();
    assert_eq!(wait(&queue, Some(LONG)), (true, 0));
    queue.ring();
    assert_eq!(wait(&queue, Some(LONG)), (true, 0));
}

#[test]
fn bits_are_read_as_selectors_reads_them() {
    let read = |flags| {
        let event = decode(&RawEvent { flags, data: EventData::new_u64(7) });
        assert_eq!(event.fd, 7);
        (event.readable, event.writable)
    };
    assert_eq!(read(EventFlags::IN), (true, false));
    assert_eq!(read(EventFlags::OUT), (false, true));
    assert_eq!(read(EventFlags::IN | EventFlags::OUT), (true, true));
    assert_eq!(read(EventFlags::HUP), (true, true));
    assert_eq!(read(EventFlags::ERR | EventFlags::OUT), (true, true));
}
