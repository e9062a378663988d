//! HTTP over connections that are kept: one request in flight on each, as a browser's.
//!
//! As little of HTTP as a load needs: a request that never changes, and of each answer its status,
//! its length and its body, which has to be the one that was promised.

use std::error::Error;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{Timespec, epoll};

use crate::arguments::Arguments;
use crate::channel::{Channel, Destination, unless_blocked};
use crate::clock::{Used, now};
use crate::histogram::Histogram;
use crate::report::Report;
use crate::sockets;

const STALLED: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };
const LARGEST_ANSWER: usize = 16 * 1024;

struct Connection {
    channel: Channel,
    answer: Vec<u8>,
    begun: u64,
}

struct Client {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    request: Vec<u8>,
    body: Vec<u8>,
    buffer: Vec<u8>,
    going_on: bool,
    in_flight: usize,
    answered: Histogram,
}

pub fn run(arguments: &Arguments) -> Result<Report, Box<dyn Error>> {
    let server = arguments.text("server-pid").map(str::parse).transpose()?;
    let server_at = Destination::of(arguments)?;
    let mut client = Client {
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        connections: Vec::new(),
        request: b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n".to_vec(),
        body: arguments.text("body").ok_or("--body is missing")?.into(),
        buffer: vec![0; LARGEST_ANSWER],
        going_on: false,
        in_flight: 0,
        answered: Histogram::new(),
    };
    for index in 0..arguments.number("connections")? {
        let channel = server_at.establish()?;
        let data = epoll::EventData::new_u64(index);
        epoll::add(&client.epoll, &channel, data, epoll::EventFlags::IN)?;
        client.connections.push(Connection { channel, answer: Vec::new(), begun: 0 });
    }
    client.run_for(arguments.seconds("warmup")?)?;
    client.answered = Histogram::new();
    let used = Used::begin(server);
    client.run_for(arguments.seconds("seconds")?)?;
    let taken = used.end();
    Ok(Report::new(client.answered.total(), &taken).with_latencies("", &client.answered))
}

impl Client {
    /// Keep a request in flight on each connection, for so long; then see each of them answered.
    fn run_for(&mut self, duration: Duration) -> io::Result<()> {
        let end = now() + duration.as_nanos() as u64;
        self.going_on = true;
        (0..self.connections.len()).try_for_each(|index| self.ask(index))?;
        let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
        while self.in_flight > 0 {
            if sockets::wait(&self.epoll, &mut events, Some(&STALLED))? == 0 {
                return Err(io::Error::other("stalled: no answer for 2 s"));
            }
            for event in &events {
                self.advance(event.data.u64() as usize)?;
            }
            self.going_on = now() < end;
        }
        Ok(())
    }

    /// Send a request. It is small: it goes at once.
    fn ask(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        connection.answer.clear();
        connection.begun = now();
        self.in_flight += 1;
        if connection.channel.send(&self.request)? < self.request.len() {
            return Err(io::Error::other("a request did not fit into a socket's buffer"));
        }
        Ok(())
    }

    /// Receive what is there; on a whole answer, count it and ask again.
    fn advance(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        let Some(got) = unless_blocked(connection.channel.recv(&mut self.buffer))? else {
            return Ok(());
        };
        if got == 0 {
            return Err(io::Error::other("the server closed a connection"));
        }
        connection.answer.extend_from_slice(&self.buffer[..got]);
        if !is_whole(&connection.answer, &self.body)? {
            return Ok(());
        }
        self.answered.add(now() - connection.begun);
        self.in_flight -= 1;
        if self.going_on { self.ask(index) } else { Ok(()) }
    }
}

/// Whether all of an answer is there; an error if it is not the right one.
fn is_whole(answer: &[u8], body: &[u8]) -> io::Result<bool> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(false);
    };
    let (head, rest) = (&answer[..end], &answer[end + 4..]);
    if !head.starts_with(b"HTTP/1.1 200 ") {
        let status = String::from_utf8_lossy(&head[..head.len().min(60)]).into_owned();
        return Err(io::Error::other(format!("the server answered {status:?}")));
    }
    if length_of(head) != Some(body.len()) || !body.starts_with(rest) {
        return Err(io::Error::other("the server answered with another body"));
    }
    Ok(rest.len() == body.len())
}

/// What the head says of the body's length.
fn length_of(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head).ok()?;
    let value = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then_some(value)
    });
    value?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_body_is() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: now\r\n\r\nhi";
        for cut in 0..answer.len() {
            assert!(!is_whole(&answer[..cut], b"hi").unwrap());
        }
        assert!(is_whole(answer, b"hi").unwrap());
    }

    #[test]
    fn another_status_or_body_is_an_error() {
        let wrong: [&[u8]; 4] = [
            b"HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nhi",
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nho",
            b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi",
            b"HTTP/1.1 200 OK\r\n\r\nhi",
        ];
        for answer in wrong {
            assert!(is_whole(answer, b"hi").is_err());
        }
    }
}
