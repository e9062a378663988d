//! TLS for the load client: rustls over a non-blocking socket, with as few copies as it allows.
//!
//! The client must not be slower than the servers that it loads. So rustls is driven by its
//! unbuffered interface: one `recv` takes everything that is there, all records of a request leave
//! by one `send`, and connections share the two large buffers, which then stay in the cache. Only
//! a record that has come in part, or went out in part, is kept for its connection.
//!
//! Whom the client talks to it knows, so it checks no certificate, and no session is ever resumed:
//! each handshake is a whole one.

use std::cell::RefCell;
use std::error::Error;
use std::fmt::Display;
use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::unbuffered::ConnectionState;
use rustls::version::TLS13;
use rustls::{ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme};

/// As many bytes as one `recv` takes.
const INCOMING: usize = 256 * 1024;
/// What records add to so many bytes of plaintext is far less than as much again.
const OVERHEAD: usize = 2;
/// The largest thing that is sent and is not a request: a flight of the handshake.
const FLIGHT: usize = 20 * 1024;
const STALLED: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// What all connections have in common.
pub struct Shared {
    config: Arc<ClientConfig>,
    incoming: RefCell<Vec<u8>>,
    outgoing: RefCell<Vec<u8>>,
}

impl Shared {
    pub fn new() -> Result<Rc<Shared>, Box<dyn Error>> {
        let provider = Arc::new(ring::default_provider());
        let anyone = Arc::new(Anyone(Arc::clone(&provider)));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(anyone)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Rc::new(Shared {
            config: Arc::new(config),
            incoming: RefCell::new(vec![0; INCOMING]),
            outgoing: RefCell::new(Vec::new()),
        }))
    }
}

/// One connection.
pub struct Secure {
    socket: OwnedFd,
    session: UnbufferedClientConnection,
    shared: Rc<Shared>,
    established: bool,
    /// Whether the server has said that nothing more will come.
    ended: bool,
    /// The beginning of a record whose rest has not come.
    in_part: Vec<u8>,
    /// Encrypted and not sent.
    unsent: Vec<u8>,
    /// As many bytes of plaintext as count as sent once `unsent` is.
    owed: usize,
}

impl Secure {
    /// Send the first message of the handshake.
    pub fn begin(socket: OwnedFd, shared: &Rc<Shared>) -> io::Result<Secure> {
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let session = UnbufferedClientConnection::new(Arc::clone(&shared.config), name)
            .map_err(io::Error::other)?;
        let mut secure = Secure {
            socket,
            session,
            shared: Rc::clone(shared),
            established: false,
            ended: false,
            in_part: Vec::new(),
            unsent: Vec::new(),
            owed: 0,
        };
        secure.process(&mut [], &mut [], false)?;
        secure.flush()?;
        Ok(secure)
    }

    /// Wait until the handshake is done.
    pub fn establish(&mut self) -> io::Result<()> {
        while !self.established {
            let mut readable = [PollFd::new(&self.socket, PollFlags::IN)];
            if poll(&mut readable, Some(&STALLED))? == 0 {
                return Err(io::Error::other("stalled: no handshake for 2 s"));
            }
            match self.recv(&mut [], false) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Encrypt and send. As with a socket it is all or a part, but what was encrypted has to go
    /// out: until it has, this would block, and is asked again for the same bytes.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.established {
            return Err(Errno::AGAIN.into());
        }
        if self.owed == 0 {
            self.encrypt_and_send(bytes)?;
            self.owed = bytes.len();
        }
        self.flush()?;
        if self.unsent.is_empty() {
            return Ok(mem::take(&mut self.owed));
        }
        Err(Errno::AGAIN.into())
    }

    fn encrypt_and_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let shared = Rc::clone(&self.shared);
        let mut outgoing = shared.outgoing.borrow_mut();
        let room = FLIGHT + bytes.len() * OVERHEAD;
        if outgoing.len() < room {
            outgoing.resize(room, 0);
        }
        let ConnectionState::WriteTraffic(mut traffic) =
            self.session.process_tls_records(&mut []).state.map_err(io::Error::other)?
        else {
            return Err(said("TLS cannot send now"));
        };
        let count = traffic.encrypt(bytes, &mut outgoing).map_err(said)?;
        self.send_now(&outgoing[..count])
    }

    /// Send as much as can be; the rest is unsent.
    fn send_now(&mut self, encrypted: &[u8]) -> io::Result<()> {
        let sent = if self.unsent.is_empty() { self.try_send(encrypted)? } else { 0 };
        self.unsent.extend_from_slice(&encrypted[sent..]);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.unsent.is_empty() {
            let sent = self.try_send(&self.unsent)?;
            self.unsent.drain(..sent);
        }
        Ok(())
    }

    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        match send(&self.socket, bytes, SendFlags::NOSIGNAL) {
            Err(Errno::AGAIN) => Ok(0),
            other => Ok(other?),
        }
    }

    /// Receive and decrypt everything that is there; zero at the end. More than fits into the
    /// buffer is more than any server under test should say. Unless it is to be kept, the buffer is
    /// only a measure.
    pub fn recv(&mut self, into: &mut [u8], keep: bool) -> io::Result<usize> {
        let shared = Rc::clone(&self.shared);
        let mut incoming = shared.incoming.borrow_mut();
        let mut taken = 0;
        loop {
            if self.ended {
                return Ok(taken);
            }
            let begun = self.in_part.len();
            incoming[..begun].copy_from_slice(&self.in_part);
            let got = match recv(&self.socket, &mut incoming[begun..], RecvFlags::empty()) {
                Ok((got, _)) => got,
                Err(Errno::AGAIN) if taken > 0 => return Ok(taken),
                Err(error) => return Err(error.into()),
            };
            if got == 0 {
                self.ended = true;
                return if self.established && begun == 0 {
                    Ok(taken)
                } else {
                    Err(said("the server closed within a handshake or a record"))
                };
            }
            let (used, decrypted) =
                self.process(&mut incoming[..begun + got], &mut into[taken..], keep)?;
            taken += decrypted;
            self.in_part.clear();
            self.in_part.extend_from_slice(&incoming[used..begun + got]);
            self.flush()?;
            // Less than there was room for: the socket is empty, and what comes is a new event.
            if taken > 0 && begun + got < incoming.len() {
                return Ok(taken);
            }
        }
    }

    /// Do what records ask for: how many of their bytes are used up, and how many bytes of
    /// plaintext they held.
    fn process(
        &mut self,
        records: &mut [u8],
        into: &mut [u8],
        keep: bool,
    ) -> io::Result<(usize, usize)> {
        let (mut used, mut taken) = (0, 0);
        loop {
            let status = self.session.process_tls_records(&mut records[used..]);
            let mut discard = status.discard;
            let mut done = false;
            match status.state.map_err(io::Error::other)? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(io::Error::other)?;
                        discard += record.discard;
                        let end = taken + record.payload.len();
                        let place = into
                            .get_mut(taken..end)
                            .ok_or_else(|| said("the server said more than it should"))?;
                        if keep {
                            place.copy_from_slice(record.payload);
                        }
                        taken = end;
                    }
                }
                ConnectionState::EncodeTlsData(mut flight) => {
                    let sent = self.unsent.len();
                    self.unsent.resize(sent + FLIGHT, 0);
                    let count = flight.encode(&mut self.unsent[sent..]).map_err(said)?;
                    self.unsent.truncate(sent + count);
                }
                ConnectionState::TransmitTlsData(transmitted) => transmitted.done(),
                ConnectionState::PeerClosed => self.ended = true,
                ConnectionState::WriteTraffic(_) => {
                    self.established = true;
                    done = true;
                }
                _ => done = true,
            }
            used += discard;
            if done {
                return Ok((used, taken));
            }
        }
    }

    /// Say that no more will be sent, in TLS and then in TCP: some servers wait for the second.
    pub fn end(&mut self) -> io::Result<()> {
        let mut notice = [0; 256];
        let ConnectionState::WriteTraffic(mut traffic) =
            self.session.process_tls_records(&mut []).state.map_err(io::Error::other)?
        else {
            return Err(said("TLS cannot send now"));
        };
        let count = traffic.queue_close_notify(&mut notice).map_err(said)?;
        self.send_now(&notice[..count])?;
        Ok(shutdown(&self.socket, Shutdown::Write)?)
    }
}

impl AsFd for Secure {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn said(error: impl Display) -> io::Error {
    io::Error::other(error.to_string())
}

/// Believes every certificate, and does not spend time on its signature.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
