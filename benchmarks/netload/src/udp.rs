//! Datagrams, a window of them in flight for each socket.
//!
//! Each carries its socket's epoch and the time at which it left. An answer sets
//! the next one off. Datagrams get lost when a buffer is full, also on the
//! loopback device: a socket that has heard nothing for a while counts its window
//! as lost, opens the next epoch and sends it whole; late answers of an older
//! epoch are dropped, so that a window never grows.

use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::arguments::Arguments;
use crate::clock::{Used, now};
use crate::histogram::Histogram;
use crate::report::Report;
use crate::sockets;

const HEADER: usize = 16;
const LOST_AFTER: u64 = 100_000_000;
const LOOK_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
/// So many windows in a row without one answer mean that none will come.
const GIVEN_UP_AFTER: u32 = 20;

struct Peer {
    socket: UdpSocket,
    epoch: u64,
    heard: u64,
    in_vain: u32,
}

struct Client {
    epoll: OwnedFd,
    peers: Vec<Peer>,
    window: u64,
    datagram: Vec<u8>,
    buffer: Vec<u8>,
    going_on: bool,
    answered: Histogram,
    lost: u64,
    looked: u64,
}

pub fn run(arguments: &Arguments) -> Result<Report, Box<dyn Error>> {
    let server = arguments.text("server-pid").map(str::parse).transpose()?;
    let mut client = Client {
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        peers: Vec::new(),
        window: arguments.number("window")?,
        datagram: (0..arguments.number("size")?).map(|i: usize| (i % 251) as u8).collect(),
        buffer: vec![0; 65536],
        going_on: false,
        answered: Histogram::new(),
        lost: 0,
        looked: 0,
    };
    if client.datagram.len() < HEADER {
        return Err("--size: a datagram has 16 bytes at least".into());
    }
    for _ in 0..arguments.number("sockets")? {
        client.open(arguments.address()?)?;
    }
    client.run_for(arguments.seconds("warmup")?)?;
    client.answered = Histogram::new();
    client.lost = 0;
    let used = Used::begin(server);
    client.run_for(arguments.seconds("seconds")?)?;
    let last = client.peers.iter().map(|peer| peer.heard).max().unwrap_or_else(now);
    let taken = used.end_at(last);
    let answered = client.answered.total();
    Ok(Report::new(answered, &taken)
        .with("lost", client.lost as f64)
        .with_latencies("", &client.answered))
}

impl Client {
    fn open(&mut self, address: &str) -> io::Result<()> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(address)?;
        socket.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(self.peers.len() as u64);
        epoll::add(&self.epoll, &socket, data, epoll::EventFlags::IN)?;
        self.peers.push(Peer { socket, epoch: 0, heard: 0, in_vain: 0 });
        Ok(())
    }

    fn fill_window(&mut self, index: usize) -> io::Result<()> {
        (0..self.window).try_for_each(|_| self.send(index))
    }

    fn send(&mut self, index: usize) -> io::Result<()> {
        let peer = &self.peers[index];
        self.datagram[..8].copy_from_slice(&peer.epoch.to_be_bytes());
        self.datagram[8..HEADER].copy_from_slice(&now().to_be_bytes());
        match send(&peer.socket, &self.datagram, SendFlags::NOSIGNAL) {
            // A full buffer loses it here instead of there.
            Ok(_) | Err(Errno::AGAIN | Errno::NOBUFS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Keep every window full for so long; then take what still comes.
    fn run_for(&mut self, duration: Duration) -> io::Result<()> {
        let end = now() + duration.as_nanos() as u64;
        self.going_on = true;
        for index in 0..self.peers.len() {
            self.peers[index].epoch += 1;
            self.peers[index].heard = now();
            self.fill_window(index)?;
        }
        while now() < end {
            self.turn()?;
            self.look_for_losses()?;
        }
        self.going_on = false;
        while self.turn()? > 0 {}
        Ok(())
    }

    /// How many sockets had something to receive.
    fn turn(&mut self) -> io::Result<usize> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
        sockets::wait(&self.epoll, &mut events, Some(&LOOK_EVERY))?;
        for event in &events {
            self.receive(event.data.u64() as usize)?;
        }
        Ok(events.len())
    }

    /// Everything that waits at one socket; each answer sets the next datagram off.
    fn receive(&mut self, index: usize) -> io::Result<()> {
        for _ in 0..self.window {
            let peer = &mut self.peers[index];
            let got = match recv(&peer.socket, self.buffer.as_mut_slice(), RecvFlags::empty()) {
                Ok((got, _)) => got,
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            };
            let buffer = &self.buffer;
            if got != self.datagram.len() || buffer[HEADER..got] != self.datagram[HEADER..] {
                return Err(io::Error::other("the server answered with other bytes"));
            }
            let stamp =
                |at: usize| buffer[at..at + 8].iter().fold(0, |n, b| n << 8 | u64::from(*b));
            if stamp(0) != peer.epoch {
                continue;
            }
            peer.heard = now();
            peer.in_vain = 0;
            self.answered.add(peer.heard - stamp(8));
            if self.going_on {
                self.send(index)?;
            }
        }
        Ok(())
    }

    fn look_for_losses(&mut self) -> io::Result<()> {
        if now() - self.looked < LOST_AFTER / 5 {
            return Ok(());
        }
        self.looked = now();
        for index in 0..self.peers.len() {
            let peer = &mut self.peers[index];
            if self.looked.saturating_sub(peer.heard) < LOST_AFTER {
                continue;
            }
            peer.epoch += 1;
            peer.heard = self.looked;
            peer.in_vain += 1;
            if peer.in_vain > GIVEN_UP_AFTER {
                return Err(io::Error::other("stalled: no datagram came back"));
            }
            self.lost += self.window;
            self.fill_window(index)?;
        }
        Ok(())
    }
}
