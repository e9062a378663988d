//! Socket addresses between the kernel's form and Python's.
//!
//! Python's form is that of the `socket` module: `(host, port)`, `(host, port, flowinfo, scope_id)`,
//! a path. From Python only what needs no name lookup is converted here, which is every address
//! that came out of a socket. Anything else is answered with `None`, and whoever asked calls the
//! Python socket's own method instead: names, encodings, other families and the texts of errors are
//! then right by construction.

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::net::{Ipv4Addr, Ipv6Addr};

use rustix::net::SocketAddrAny;
use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};

use crate::py::buffer::{bytes, bytes_content};
use crate::py::os_text::{ascii, decode_path, encode_path};
use crate::py::value::is_tuple;
use crate::py::{Any, Own, Res, Slot, value};

unsafe extern "C" {
    fn inet_ntop(
        family: c_int,
        address: *const c_void,
        text: *mut c_char,
        size: libc::socklen_t,
    ) -> *const c_char;
    fn inet_pton(family: c_int, text: *const c_char, address: *mut c_void) -> c_int;
}

/// The longest text of an IPv6 address, with the NUL at its end (INET6_ADDRSTRLEN).
const IPV6_TEXT: usize = 46;

/// The highest flow label that `socket` takes.
const HIGHEST_FLOW: i64 = 0xf_ffff;

/// Where a path begins in its address.
const PATH_OFFSET: usize = std::mem::offset_of!(libc::sockaddr_un, sun_path);
/// How long a path can be.
const PATH_SIZE: usize = size_of::<libc::sockaddr_un>() - PATH_OFFSET;

/// An address as the kernel has it; with length 0 it is none.
#[derive(Clone, Copy)]
pub(crate) struct SockAddr {
    /// What lies behind `len` is zero.
    storage: libc::sockaddr_storage,
    len: libc::socklen_t,
}

/// The kernel's view of the families that are converted here. Each is readable at the start of any
/// `sockaddr_storage`.
trait Family {}
impl Family for libc::sockaddr_in {}
impl Family for libc::sockaddr_in6 {}
impl Family for libc::sockaddr_un {}

impl SockAddr {
    pub(crate) const SIZE: libc::socklen_t = size_of::<libc::sockaddr_storage>() as _;

    /// No address.
    pub(crate) fn empty() -> SockAddr {
        // SAFETY: plain numbers, for which zero is a value.
        SockAddr { storage: unsafe { std::mem::zeroed() }, len: 0 }
    }

    fn of<F: Family>(address: F, len: usize) -> SockAddr {
        const { assert!(size_of::<F>() <= size_of::<libc::sockaddr_storage>()) };
        let mut made = SockAddr::empty();
        // SAFETY: a storage has room and alignment for every family's address.
        unsafe { (&raw mut made.storage).cast::<F>().write(address) };
        made.len = len as libc::socklen_t;
        made
    }

    fn view<F: Family>(&self) -> &F {
        // SAFETY: as above; all of a storage is initialised, and any bits are a value of it.
        unsafe { &*(&raw const self.storage).cast::<F>() }
    }

    /// What rustix received.
    pub(crate) fn from_any(address: &SocketAddrAny) -> SockAddr {
        let mut made = SockAddr::empty();
        // SAFETY: the pointer is readable for the length, which is at most that of a storage.
        unsafe {
            address.with_sockaddr(|from, len| {
                let to = (&raw mut made.storage).cast::<u8>();
                std::ptr::copy_nonoverlapping(from.cast::<u8>(), to, len as usize);
                made.len = len;
            });
        }
        made
    }

    /// For a system call that reads an address: where it is, and its length.
    pub(crate) fn as_ptr(&self) -> (*const libc::sockaddr, libc::socklen_t) {
        ((&raw const self.storage).cast(), self.len)
    }

    /// For a system call that writes an address of at most [`SockAddr::SIZE`] bytes.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut libc::sockaddr {
        (&raw mut self.storage).cast()
    }

    /// The system call wrote so many bytes into an address that was empty.
    pub(crate) fn set_len(&mut self, len: libc::socklen_t) {
        self.len = len.min(SockAddr::SIZE);
    }

    /// Of an IPv6 address.
    pub(crate) fn set_flow_and_scope(&mut self, flow: u32, scope: u32) {
        debug_assert_eq!(self.family(), libc::AF_INET6);
        let mut inet = *self.view::<libc::sockaddr_in6>();
        inet.sin6_flowinfo = flow.to_be();
        inet.sin6_scope_id = scope;
        *self = SockAddr::of(inet, self.len as usize);
    }

    fn family(&self) -> c_int {
        c_int::from(self.storage.ss_family)
    }

    fn content(&self) -> &[u8] {
        // SAFETY: the first `len` bytes of the storage, which are initialised.
        unsafe { std::slice::from_raw_parts((&raw const self.storage).cast(), self.len as usize) }
    }
}

impl PartialEq for SockAddr {
    fn eq(&self, other: &SockAddr) -> bool {
        self.content() == other.content()
    }
}

// SAFETY: `f` gets a pointer to a storage of which `len` bytes are an address.
unsafe impl SocketAddrArg for SockAddr {
    unsafe fn with_sockaddr<R>(
        &self,
        f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R,
    ) -> R {
        f((&raw const self.storage).cast(), self.len)
    }
}

/// Whether addresses of sockets of this family are converted here at all.
pub(crate) fn knows(family: c_int) -> bool {
    matches!(family, libc::AF_INET | libc::AF_INET6 | libc::AF_UNIX)
}

/// The address as Python has it. A family that is not known here becomes what `socket` makes of one
/// that it does not know, which is not right for all: whoever may meet one asks `knows` first.
pub(crate) fn from_kernel(address: &SockAddr) -> Res {
    if address.len == 0 {
        return Ok(value::none());
    }
    match address.family() {
        libc::AF_INET => {
            let inet: &libc::sockaddr_in = address.view();
            let host = ipv4_text(u32::from_be(inet.sin_addr.s_addr))?;
            value::tuple(&[&host, &*int(u16::from_be(inet.sin_port))?])
        }
        libc::AF_INET6 => {
            let inet: &libc::sockaddr_in6 = address.view();
            value::tuple(&[
                &*ipv6_text(&inet.sin6_addr)?,
                &*int(u16::from_be(inet.sin6_port))?,
                &*int(u32::from_be(inet.sin6_flowinfo))?,
                &*int(inet.sin6_scope_id)?,
            ])
        }
        libc::AF_UNIX => {
            path_from_kernel(&address.content()[PATH_OFFSET.min(address.len as usize)..])
        }
        family => {
            let data = bytes(&address.view::<libc::sockaddr_un>().sun_path.map(|c| c as u8)[..14])?;
            value::tuple(&[&*int(family as u32)?, &*data])
        }
    }
}

fn int(number: impl Into<i64>) -> Res {
    value::int(number.into())
}

/// glibc writes these with `sprintf`, which takes longer than the rest of an address.
fn ipv4_text(address: u32) -> Res {
    let mut text = [0; 15];
    let mut len = 0;
    for (index, byte) in address.to_be_bytes().into_iter().enumerate() {
        if index > 0 {
            text[len] = b'.';
            len += 1;
        }
        for (least, power) in [(100, 100), (10, 10), (0, 1)] {
            if byte >= least {
                text[len] = b'0' + byte / power % 10;
                len += 1;
            }
        }
    }
    value::string(std::str::from_utf8(&text[..len]).unwrap_or_default())
}

fn ipv6_text(address: &libc::in6_addr) -> Res {
    let mut text = [0u8; IPV6_TEXT];
    // SAFETY: an address of the family, and room for its longest text.
    let written = unsafe {
        inet_ntop(
            libc::AF_INET6,
            (&raw const *address).cast(),
            text.as_mut_ptr().cast(),
            IPV6_TEXT as libc::socklen_t,
        )
    };
    debug_assert!(!written.is_null());
    let len = text.iter().position(|&byte| byte == 0).unwrap_or(IPV6_TEXT);
    value::string(std::str::from_utf8(&text[..len]).unwrap_or_default())
}

/// An abstract name is bytes, a path is a str that ends at its first NUL.
fn path_from_kernel(path: &[u8]) -> Res {
    match path {
        [0, ..] => bytes(path),
        _ => decode_path(path.split(|&byte| byte == 0).next().unwrap_or_default()),
    }
}

/// The address for the kernel, if it is one that needs no lookup and is right in every respect.
pub(crate) fn to_kernel(family: c_int, address: &Any) -> Res<Option<SockAddr>> {
    match family {
        libc::AF_INET => Ok(inet_to_kernel(address)),
        libc::AF_INET6 => Ok(inet6_to_kernel(address)),
        libc::AF_UNIX => path_to_kernel(address),
        _ => Ok(None),
    }
}

/// The items of a tuple that has between two and `most`.
fn items(address: &Any, most: usize) -> Option<&[&Any]> {
    if !is_tuple(address) {
        return None;
    }
    Some(value::tuple_items(address)).filter(|items| (2..=most).contains(&items.len()))
}

fn number(object: &Any, highest: i64) -> Option<i64> {
    if !value::is_exact_int(object) {
        return None;
    }
    match value::as_int(object) {
        Ok(number) => (0..=highest).contains(&number).then_some(number),
        Err(raised) => {
            crate::py::error::discard(raised);
            None
        }
    }
}

fn port(object: &Any) -> Option<u16> {
    number(object, i64::from(u16::MAX)).map(|port| (port as u16).to_be())
}

fn inet_to_kernel(address: &Any) -> Option<SockAddr> {
    let [host, given_port] = items(address, 2)? else { return None };
    let host: Ipv4Addr = match ascii(host)? {
        "" => Ipv4Addr::UNSPECIFIED,
        "<broadcast>" => Ipv4Addr::BROADCAST,
        text => text.parse().ok()?,
    };
    let inet = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port(given_port)?,
        sin_addr: libc::in_addr { s_addr: u32::from(host).to_be() },
        sin_zero: [0; 8],
    };
    Some(SockAddr::of(inet, size_of::<libc::sockaddr_in>()))
}

fn inet6_to_kernel(address: &Any) -> Option<SockAddr> {
    let items = items(address, 4)?;
    let optional = |index: usize, highest| match items.get(index) {
        Some(given) => number(given, highest),
        None => Some(0),
    };
    let inet = libc::sockaddr_in6 {
        sin6_family: libc::AF_INET6 as libc::sa_family_t,
        sin6_port: port(items[1])?,
        sin6_flowinfo: (optional(2, HIGHEST_FLOW)? as u32).to_be(),
        sin6_addr: ipv6_from_text(ascii(items[0])?)?,
        sin6_scope_id: optional(3, i64::from(u32::MAX))? as u32,
    };
    Some(SockAddr::of(inet, size_of::<libc::sockaddr_in6>()))
}

fn ipv6_from_text(host: &str) -> Option<libc::in6_addr> {
    if host.is_empty() {
        return Some(libc::in6_addr { s6_addr: Ipv6Addr::UNSPECIFIED.octets() });
    }
    let mut text = [0u8; IPV6_TEXT];
    let given = host.as_bytes();
    // The last byte stays the NUL at the end.
    if given.len() >= text.len() || given.contains(&0) {
        return None;
    }
    text[..given.len()].copy_from_slice(given);
    let mut address = libc::in6_addr { s6_addr: [0; 16] };
    // SAFETY: a text that ends in NUL, and room for an address of the family.
    let read =
        unsafe { inet_pton(libc::AF_INET6, text.as_ptr().cast(), (&raw mut address).cast()) };
    (read == 1).then_some(address)
}

fn path_to_kernel(address: &Any) -> Res<Option<SockAddr>> {
    let encoded: Own<Any>;
    let path = match bytes_content(address) {
        Some(path) => path,
        None => match encode_path(address)? {
            Some(path) => {
                encoded = path;
                bytes_content(&encoded).unwrap_or_default()
            }
            None => return Ok(None),
        },
    };
    // A name that is empty or begins with NUL is abstract; a path has a NUL at its end.
    let ending = usize::from(!matches!(path, [] | [0, ..]));
    if path.len() + ending > PATH_SIZE {
        return Ok(None);
    }
    let mut unix = libc::sockaddr_un {
        sun_family: libc::AF_UNIX as libc::sa_family_t,
        sun_path: [0; PATH_SIZE],
    };
    for (place, &byte) in unix.sun_path.iter_mut().zip(path) {
        *place = byte as c_char;
    }
    Ok(Some(SockAddr::of(unix, PATH_OFFSET + path.len() + ending)))
}

/// The address last met, in both forms: a peer is rarely heard of only once, and who answers hands
/// back the very object that came with the question.
pub(crate) struct Memo {
    kernel: Cell<SockAddr>,
    python: Slot,
}

impl Memo {
    pub(crate) fn new() -> Memo {
        Memo { kernel: Cell::new(SockAddr::empty()), python: Slot::empty() }
    }

    fn is_of(&self, address: &SockAddr) -> bool {
        // SAFETY: a comparison of bytes, during which nothing can write the cell.
        unsafe { *self.kernel.as_ptr() == *address }
    }

    /// As `from_kernel`.
    #[inline]
    pub(crate) fn received(&self, address: &SockAddr) -> Res {
        if self.is_of(address)
            && let Some(known) = self.python.get()
        {
            return Ok(known);
        }
        let python = from_kernel(address)?;
        // What was there is made of tuples, texts and numbers: dropping it runs no code.
        self.python.set(python.clone());
        self.kernel.set(*address);
        Ok(python)
    }

    /// As `to_kernel`. Only addresses that came from the kernel are remembered: of others we could
    /// not say that dropping them runs no code.
    #[inline]
    pub(crate) fn destination(&self, family: c_int, address: &Any) -> Res<Option<SockAddr>> {
        if self.python.holds(address) {
            let known = self.kernel.get();
            if known.family() == family {
                return Ok(Some(known));
            }
        }
        to_kernel(family, address)
    }
}
