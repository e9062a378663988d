//! Temporary.
use crate::py::buffer::{bytes, bytes_of};
use crate::py::error::{fetch, is_kind, restore};
use crate::py::module::Module;
use crate::py::*;
use std::mem::MaybeUninit;
pub(crate) enum Step {
    Done,
    Again,
}
pub(crate) enum Got {
    Data(usize),
    Again,
    End,
}
pub(crate) enum Put {
    Taken(usize),
    Again,
}
pub(crate) struct Session {
    sslobj: Slot,
    incoming: Slot,
    outgoing: Slot,
    again: Own<Any>,
}
pub(crate) fn add_to(_: &Module<'_>) -> Res<()> {
    Ok(())
}
impl Session {
    pub(crate) fn new(context: &Any, server_side: bool, hostname: Option<&Any>) -> Res<Session> {
        let bio = import(c"ssl", c"MemoryBIO")?;
        let (i, o) = (bio.call(&[])?, bio.call(&[])?);
        let wrap = context.attr(&names::WRAP_BIO)?;
        let side = value::boolean(server_side);
        let none = value::none();
        let obj = wrap.call(&[&i, &o, &side, hostname.unwrap_or(&none)])?;
        let sp = import(c"asyncio.sslproto", c"SSLAgainErrors")?;
        Ok(Session {
            sslobj: Slot::new(obj),
            incoming: Slot::new(i),
            outgoing: Slot::new(o),
            again: sp,
        })
    }
    pub(crate) fn object(&self) -> Option<Own<Any>> {
        self.sslobj.get()
    }
    pub(crate) fn visit(&self, v: &Visitor) -> Result<(), Stop> {
        v.slot(&self.sslobj)?;
        v.slot(&self.incoming)?;
        v.slot(&self.outgoing)
    }
    pub(crate) fn clear(&self) {}
    pub(crate) fn feed<T>(&self, data: &[u8], run: impl FnOnce() -> T) -> T {
        if !data.is_empty() {
            self.incoming
                .get()
                .unwrap()
                .call_method(&names::WRITE, &[&*bytes(data).unwrap()])
                .unwrap();
        }
        run()
    }
    fn len(&self, s: &Slot) -> usize {
        value::as_int(&*s.get().unwrap().attr(&names::PENDING).unwrap()).unwrap() as usize
    }
    pub(crate) fn incoming_pending(&self) -> usize {
        self.len(&self.incoming)
    }
    pub(crate) fn outgoing_pending(&self) -> usize {
        self.len(&self.outgoing)
    }
    pub(crate) fn is_exhausted(&self) -> bool {
        false
    }
    pub(crate) fn discard_outgoing(&self) -> Res<()> {
        self.take_outgoing().map(drop)
    }
    pub(crate) fn take_outgoing(&self) -> Res<Option<Own<Any>>> {
        let b = self.outgoing.get().unwrap().call_method(&names::READ, &[])?;
        Ok(if bytes_of(&b).is_empty() { None } else { Some(b) })
    }
    fn again<T>(&self, r: Raised, v: T) -> Res<T> {
        let e = fetch(r);
        for k in value::tuple_items(&self.again) {
            if is_kind(&e, k) {
                return Ok(v);
            }
        }
        Err(restore(e))
    }
    pub(crate) fn do_handshake(&self) -> Res<Step> {
        match self.sslobj.get().unwrap().call_method(&names::DO_HANDSHAKE, &[]) {
            Ok(_) => Ok(Step::Done),
            Err(r) => self.again(r, Step::Again),
        }
    }
    pub(crate) fn unwrap(&self) -> Res<Step> {
        match self.sslobj.get().unwrap().call_method(&names::UNWRAP, &[]) {
            Ok(_) => Ok(Step::Done),
            Err(r) => self.again(r, Step::Again),
        }
    }
    pub(crate) fn read(&self, space: &mut [MaybeUninit<u8>]) -> Res<Got> {
        match self
            .sslobj
            .get()
            .unwrap()
            .call_method(&names::READ, &[&*value::int(space.len() as i64)?])
        {
            Ok(b) => {
                let b = bytes_of(&b);
                if b.is_empty() {
                    return Ok(Got::End);
                }
                for (p, x) in space.iter_mut().zip(b) {
                    p.write(*x);
                }
                Ok(Got::Data(b.len()))
            }
            Err(r) => self.again(r, Got::Again),
        }
    }
    pub(crate) fn read_into(&self, space: &mut [u8]) -> Res<Got> {
        match self
            .sslobj
            .get()
            .unwrap()
            .call_method(&names::READ, &[&*value::int(space.len() as i64)?])
        {
            Ok(b) => {
                let b = bytes_of(&b);
                if b.is_empty() {
                    return Ok(Got::End);
                }
                space[..b.len()].copy_from_slice(b);
                Ok(Got::Data(b.len()))
            }
            Err(r) => self.again(r, Got::Again),
        }
    }
    pub(crate) fn write(&self, data: &[u8]) -> Res<Put> {
        match self.sslobj.get().unwrap().call_method(&names::WRITE, &[&*bytes(data)?]) {
            Ok(n) => Ok(Put::Taken(value::as_int(&n)? as usize)),
            Err(r) => self.again(r, Put::Again),
        }
    }
}
