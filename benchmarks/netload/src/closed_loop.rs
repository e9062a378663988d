//! Many connections with one request in flight on each: the echo cells.
//!
//! A request is so many bytes, and it is answered when as many have come back;
//! then the next one leaves at once. Connections form groups, so that large
//! messages can compete with small ones and each be timed apart. Besides there
//! may be idle ones, which said something once and are then only there.
//!
//! One thread, edge-triggered epoll: that spares the client every `epoll_ctl`,
//! and short reads need no second `recv` to learn that there is no more. While
//! warming up every byte is compared; afterwards large answers are counted and
//! dropped in the kernel, so that copying them is not the client's limit. Under
//! TLS they are decrypted and then dropped.

use std::error::Error;
use std::io;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use rustix::event::{Timespec, epoll};

use crate::arguments::Arguments;
use crate::channel::{Channel, Destination, unless_blocked};
use crate::clock::{Used, anonymous_memory, now};
use crate::histogram::Histogram;
use crate::report::Report;
use crate::sockets;

/// Connections that are opened before each has to have been answered once: fewer than any
/// server's backlog.
const OPENED_AT_ONCE: usize = 64;
/// No answer to anybody for so long means that none will come.
const STALLED: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };
const BUFFER: usize = 256 * 1024;
/// Answers from this size on are dropped in the kernel once they have been compared.
const LARGE: usize = 16 * 1024;
const IDLE_SIZE: usize = 64;

struct Group {
    name: String,
    size: usize,
    answered: Histogram,
}

struct Connection {
    channel: Channel,
    group: usize,
    sent: usize,
    received: usize,
    begun: u64,
}

struct Client {
    epoll: OwnedFd,
    groups: Vec<Group>,
    connections: Vec<Connection>,
    message: Vec<u8>,
    buffer: Vec<u8>,
    events: Vec<epoll::Event>,
    /// Whether an answer sets the next request off.
    going_on: bool,
    /// Whether every byte of an answer is compared with what was sent.
    comparing: bool,
    in_flight: usize,
}

pub fn run(arguments: &Arguments) -> Result<Report, Box<dyn Error>> {
    let server: Option<i32> = arguments.text("server-pid").map(str::parse).transpose()?;
    let idle: usize = arguments.number_or("idle", 0)?;
    let mut client = Client::new()?;
    let server_at = Destination::of(arguments)?;
    for group in arguments.all("group") {
        client.open_group(&server_at, group)?;
    }
    let active = client.connections.len();
    let memory = server.map_or(0, settled_memory);
    client.open(&server_at, "idle", idle, IDLE_SIZE)?;
    let grown = server.map_or(0, settled_memory).saturating_sub(memory);

    client.run_for(active, arguments.seconds("warmup")?)?;
    client.comparing = false;
    for group in &mut client.groups {
        group.answered = Histogram::new();
    }
    let used = Used::begin(server);
    client.run_for(active, arguments.seconds("seconds")?)?;
    let taken = used.end();

    let timed = client.groups.iter().filter(|group| group.name != "idle");
    let requests = timed.clone().map(|group| group.answered.total()).sum();
    let bytes: u64 = timed.clone().map(|group| group.answered.total() * group.size as u64).sum();
    let mut report = Report::new(requests, &taken).with("bytes", bytes as f64);
    for group in timed {
        let prefix = if group.name.is_empty() { String::new() } else { group.name.clone() + "_" };
        if !prefix.is_empty() {
            report = report.with(&(prefix.clone() + "requests"), group.answered.total() as f64);
        }
        report = report.with_latencies(&prefix, &group.answered);
    }
    if idle > 0 {
        report = report.with("bytes_per_idle", grown as f64 / idle as f64);
    }
    Ok(report)
}

/// The server's memory once it has had time to deal with what is closed or accepted.
fn settled_memory(server: i32) -> u64 {
    thread::sleep(Duration::from_millis(50));
    anonymous_memory(server)
}

impl Client {
    fn new() -> io::Result<Client> {
        Ok(Client {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            groups: Vec::new(),
            connections: Vec::new(),
            message: Vec::new(),
            buffer: vec![0; BUFFER],
            events: Vec::with_capacity(256),
            going_on: false,
            comparing: true,
            in_flight: 0,
        })
    }

    /// Open what `NAME:CONNECTIONS:BYTES` says.
    fn open_group(&mut self, to: &Destination, group: &str) -> Result<(), Box<dyn Error>> {
        let wrong = || format!("not NAME:CONNECTIONS:BYTES: {group}");
        let mut parts = group.split(':');
        let name = parts.next().ok_or_else(wrong)?;
        let connections = parts.next().ok_or_else(wrong)?.parse()?;
        let size = parts.next().ok_or_else(wrong)?.parse()?;
        Ok(self.open(to, name, connections, size)?)
    }

    /// Open connections, and know of each that the server has accepted it: it has answered.
    fn open(&mut self, to: &Destination, name: &str, count: usize, size: usize) -> io::Result<()> {
        let group = self.groups.len();
        self.groups.push(Group { name: name.to_owned(), size, answered: Histogram::new() });
        while self.message.len() < size {
            // A prime, so that a shift by any power of two shows.
            self.message.push((self.message.len() % 251) as u8);
        }
        for opened in 1..=count {
            let channel = to.establish()?;
            let index = self.connections.len();
            let interest = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
            epoll::add(&self.epoll, &channel, epoll::EventData::new_u64(index as u64), interest)?;
            self.connections.push(Connection { channel, group, sent: 0, received: 0, begun: 0 });
            self.begin(index)?;
            if opened % OPENED_AT_ONCE == 0 || opened == count {
                self.settle()?;
            }
        }
        Ok(())
    }

    /// Keep a request in flight on the first so many connections, for so long; then see each of
    /// them answered.
    fn run_for(&mut self, active: usize, duration: Duration) -> io::Result<()> {
        let end = now() + duration.as_nanos() as u64;
        self.going_on = true;
        (0..active).try_for_each(|index| self.begin(index))?;
        while now() < end {
            self.turn()?;
        }
        self.going_on = false;
        self.settle()
    }

    /// Wait for the answers that are owed.
    fn settle(&mut self) -> io::Result<()> {
        while self.in_flight > 0 {
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        if sockets::wait(&self.epoll, &mut self.events, Some(&STALLED))? == 0 {
            return Err(io::Error::other("stalled: no answer for 2 s"));
        }
        for place in 0..self.events.len() {
            self.advance(self.events[place].data.u64() as usize)?;
        }
        Ok(())
    }

    /// Send the first part of a request.
    fn begin(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        connection.sent = 0;
        connection.received = 0;
        connection.begun = now();
        self.in_flight += 1;
        self.send_rest(index)
    }

    fn send_rest(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        let size = self.groups[connection.group].size;
        while connection.sent < size {
            let rest = &self.message[connection.sent..size];
            match unless_blocked(connection.channel.send(rest))? {
                Some(sent) => connection.sent += sent,
                None => break,
            }
        }
        Ok(())
    }

    /// Send and receive what can be; on a whole answer, count it and begin the next request.
    fn advance(&mut self, index: usize) -> io::Result<()> {
        self.send_rest(index)?;
        loop {
            let connection = &mut self.connections[index];
            let group = &mut self.groups[connection.group];
            let wanted = (group.size - connection.received).min(self.buffer.len());
            if wanted == 0 {
                return Ok(()); // answered, and nothing is in flight
            }
            let compared = self.comparing || group.size < LARGE;
            let buffer = &mut self.buffer[..wanted];
            let channel = &mut connection.channel;
            let received =
                if compared { channel.recv(buffer) } else { channel.drop_received(buffer) };
            let Some(got) = unless_blocked(received)? else { return Ok(()) };
            if got == 0 {
                return Err(io::Error::other("the server closed a connection"));
            }
            let expected = &self.message[connection.received..][..got];
            if self.comparing && buffer[..got] != *expected {
                return Err(io::Error::other("the server answered with other bytes"));
            }
            connection.received += got;
            if connection.received == group.size {
                group.answered.add(now() - connection.begun);
                self.in_flight -= 1;
                return if self.going_on { self.begin(index) } else { Ok(()) };
            }
            if got < wanted {
                return Ok(()); // drained: what comes later is a new edge
            }
        }
    }
}
