//! Connections that live for one request: connect, ask, be answered, close.
//!
//! The client ends its half first and waits until the server has ended its own,
//! so that a connection counts when the server is done with it and the whole of
//! its life is in the server's processor time.

use std::error::Error;
use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{Timespec, epoll};

use crate::arguments::Arguments;
use crate::channel::{Channel, Destination, unless_blocked};
use crate::clock::{Used, now};
use crate::histogram::Histogram;
use crate::report::Report;
use crate::sockets;

const STALLED: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

struct Life {
    channel: Channel,
    sent: usize,
    received: usize,
    begun: u64,
}

struct Client {
    epoll: OwnedFd,
    server_at: Destination,
    message: Vec<u8>,
    slots: Vec<Option<Life>>,
    to_open: u64,
    open: usize,
    lives: Histogram,
}

pub fn run(arguments: &Arguments) -> Result<Report, Box<dyn Error>> {
    let server = arguments.text("server-pid").map(str::parse).transpose()?;
    let count: u64 = arguments.number("count")?;
    let size: usize = arguments.number("size")?;
    let concurrency: usize = arguments.number("concurrency")?;
    let mut client = Client {
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        server_at: Destination::of(arguments)?,
        message: (0..size).map(|i| (i % 251) as u8).collect(),
        slots: Vec::new(),
        to_open: 0,
        open: 0,
        lives: Histogram::new(),
    };
    client.slots.resize_with(concurrency, || None);
    client.live(count / 10)?;
    client.lives = Histogram::new();
    let used = Used::begin(server);
    client.live(count)?;
    let taken = used.end();
    Ok(Report::new(count, &taken).with_latencies("", &client.lives))
}

impl Client {
    /// Open so many connections, as many at once as there are slots, and see each to its end.
    fn live(&mut self, count: u64) -> io::Result<()> {
        self.to_open = count;
        for slot in 0..self.slots.len() {
            self.open(slot)?;
        }
        let mut events: Vec<epoll::Event> = Vec::with_capacity(64);
        while self.open > 0 {
            if sockets::wait(&self.epoll, &mut events, Some(&STALLED))? == 0 {
                return Err(io::Error::other("stalled: no answer for 2 s"));
            }
            for event in &events {
                self.advance(event.data.u64() as usize)?;
            }
        }
        Ok(())
    }

    fn open(&mut self, slot: usize) -> io::Result<()> {
        if self.to_open == 0 {
            return Ok(());
        }
        self.to_open -= 1;
        let begun = now();
        let channel = self.server_at.connect()?;
        let data = epoll::EventData::new_u64(slot as u64);
        epoll::add(&self.epoll, &channel, data, epoll::EventFlags::IN)?;
        let life = self.slots[slot].insert(Life { channel, sent: 0, received: 0, begun });
        self.open += 1;
        life.ask(&self.message)
    }

    fn advance(&mut self, slot: usize) -> io::Result<()> {
        let Some(life) = &mut self.slots[slot] else { return Ok(()) };
        let mut buffer = [0; 4096];
        match unless_blocked(life.channel.recv(&mut buffer))? {
            Some(0) if life.received == self.message.len() => {
                self.lives.add(now() - life.begun);
                self.slots[slot] = None;
                self.open -= 1;
                self.open(slot)
            }
            Some(0) => Err(io::Error::other("the server closed before it had answered")),
            Some(got) => {
                let expected = self.message.get(life.received..life.received + got);
                if expected != Some(&buffer[..got]) {
                    return Err(io::Error::other("the server answered with other bytes"));
                }
                life.received += got;
                if life.received == self.message.len() {
                    life.channel.end()?;
                }
                Ok(())
            }
            // Under TLS that was the handshake: now it may be over.
            None => life.ask(&self.message),
        }
    }
}

impl Life {
    /// Send the request, unless it has been sent or cannot be yet. It is small: it goes at once.
    fn ask(&mut self, message: &[u8]) -> io::Result<()> {
        if self.sent < message.len() {
            self.sent += unless_blocked(self.channel.send(&message[self.sent..]))?.unwrap_or(0);
        }
        Ok(())
    }
}
