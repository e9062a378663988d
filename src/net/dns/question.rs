//! What is asked of the C library's resolver, and what it answers: no Python here, and no GIL.
//!
//! The calls, their arguments and their order are those of the `socket` module, so that the answers
//! are its answers. What it would refuse, or word in a way that only it can, is `Unclear`, and
//! whoever asked goes to it instead.

use std::ffi::{CStr, CString, c_char, c_int};
use std::io;
use std::ptr;

use super::super::address::SockAddr;

/// The longest host name that `getnameinfo` returns (NI_MAXHOST), with the NUL at its end.
const HOST_SIZE: usize = 1025;
/// The longest name of a service (NI_MAXSERV), with the NUL at its end.
const SERVICE_SIZE: usize = 32;

/// What `getaddrinfo` is asked.
pub(super) struct Names {
    pub(super) host: Option<CString>,
    pub(super) service: Option<CString>,
    pub(super) family: c_int,
    pub(super) kind: c_int,
    pub(super) protocol: c_int,
    pub(super) flags: c_int,
}

/// What `getnameinfo` is asked.
pub(super) struct Number {
    pub(super) host: CString,
    pub(super) port: CString,
    pub(super) flow: u32,
    pub(super) scope: u32,
    /// How many items Python's address had; one of IPv4 has two.
    pub(super) items: usize,
    pub(super) flags: c_int,
}

pub(super) enum Question {
    Names(Names),
    Number(Number),
}

/// One of the addresses of a name.
pub(super) struct Address {
    pub(super) family: c_int,
    pub(super) kind: c_int,
    pub(super) protocol: c_int,
    pub(super) canonical: Vec<u8>,
    pub(super) address: SockAddr,
}

pub(super) enum Answer {
    Addresses(Vec<Address>),
    /// A host and a service.
    Name(Vec<u8>, Vec<u8>),
    /// The resolver's own code.
    Refused(c_int),
    Failed(io::Error),
    /// Only the `socket` module knows what this means.
    Unclear,
}

impl Question {
    /// Asks, and waits for the answer.
    pub(super) fn ask(&self) -> Answer {
        match self {
            Question::Names(names) => names.ask(),
            Question::Number(number) => number.ask(),
        }
    }
}

/// What `getaddrinfo` allocated.
struct List(*mut libc::addrinfo);

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: it came out of a getaddrinfo that succeeded, and is freed once.
        unsafe { libc::freeaddrinfo(self.0) }
    }
}

impl List {
    fn iter(&self) -> impl Iterator<Item = &libc::addrinfo> {
        // SAFETY: a list that ends in null, alive as long as `self`.
        let mut next = unsafe { self.0.as_ref() };
        std::iter::from_fn(move || {
            let entry = next?;
            // SAFETY: as above.
            next = unsafe { entry.ai_next.as_ref() };
            Some(entry)
        })
    }
}

fn failure(code: c_int) -> Answer {
    // The number behind it is this thread's, and is read before anything can change it.
    if code == libc::EAI_SYSTEM {
        Answer::Failed(io::Error::last_os_error())
    } else {
        Answer::Refused(code)
    }
}

fn look_up(
    host: Option<&CStr>,
    service: Option<&CStr>,
    [family, kind, protocol, flags]: [c_int; 4],
) -> Result<List, Answer> {
    let text = |given: Option<&CStr>| given.map_or(ptr::null(), CStr::as_ptr);
    let hints = libc::addrinfo {
        ai_flags: flags,
        ai_family: family,
        ai_socktype: kind,
        ai_protocol: protocol,
        ai_addrlen: 0,
        ai_addr: ptr::null_mut(),
        ai_canonname: ptr::null_mut(),
        ai_next: ptr::null_mut(),
    };
    let mut found = ptr::null_mut();
    // SAFETY: texts that end in NUL, or null; hints whose rest is zero; a place for the list.
    match unsafe { libc::getaddrinfo(text(host), text(service), &hints, &mut found) } {
        0 => Ok(List(found)),
        code => Err(failure(code)),
    }
}

fn address_of(entry: &libc::addrinfo) -> SockAddr {
    let mut address = SockAddr::empty();
    let len = entry.ai_addrlen.min(SockAddr::SIZE);
    // SAFETY: the entry's address has this length; ours has room for it and is elsewhere.
    unsafe {
        let to = address.as_mut_ptr().cast::<u8>();
        ptr::copy_nonoverlapping(entry.ai_addr.cast::<u8>(), to, len as usize);
    }
    address.set_len(len);
    address
}

impl Names {
    /// Asks for what the host's text itself says, which needs neither a file nor the network.
    pub(super) fn ask_literally(&self) -> Answer {
        self.ask_with(self.flags | libc::AI_NUMERICHOST)
    }

    fn ask(&self) -> Answer {
        self.ask_with(self.flags)
    }

    fn ask_with(&self, flags: c_int) -> Answer {
        let hints = [self.family, self.kind, self.protocol, flags];
        let list = match look_up(self.host.as_deref(), self.service.as_deref(), hints) {
            Ok(list) => list,
            Err(answer) => return answer,
        };
        let addresses = list.iter().map(|entry| Address {
            family: entry.ai_family,
            kind: entry.ai_socktype,
            protocol: entry.ai_protocol,
            canonical: if entry.ai_canonname.is_null() {
                Vec::new()
            } else {
                // SAFETY: a text that ends in NUL, alive as long as the list.
                unsafe { CStr::from_ptr(entry.ai_canonname) }.to_bytes().to_vec()
            },
            address: address_of(entry),
        });
        Answer::Addresses(addresses.collect())
    }
}

impl Number {
    pub(super) fn ask(&self) -> Answer {
        let hints = [libc::AF_UNSPEC, libc::SOCK_DGRAM, 0, libc::AI_NUMERICHOST];
        let list = match look_up(Some(&self.host), Some(&self.port), hints) {
            Ok(list) => list,
            Err(answer) => return answer,
        };
        let mut entries = list.iter();
        let (Some(entry), None) = (entries.next(), entries.next()) else {
            return Answer::Unclear;
        };
        let mut address = address_of(entry);
        match entry.ai_family {
            libc::AF_INET if self.items == 2 => {}
            libc::AF_INET6 => address.set_flow_and_scope(self.flow, self.scope),
            _ => return Answer::Unclear,
        }
        let (mut host, mut service) = ([0 as c_char; HOST_SIZE], [0 as c_char; SERVICE_SIZE]);
        let (from, len) = address.as_ptr();
        // SAFETY: an address and its length, and two places with theirs.
        let code = unsafe {
            libc::getnameinfo(
                from,
                len,
                host.as_mut_ptr(),
                HOST_SIZE as libc::socklen_t,
                service.as_mut_ptr(),
                SERVICE_SIZE as libc::socklen_t,
                self.flags,
            )
        };
        if code != 0 {
            return failure(code);
        }
        // SAFETY: on success both end in NUL.
        let text =
            |buffer: &[c_char]| unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_bytes().to_vec();
        Answer::Name(text(&host), text(&service))
    }
}
