//! The bytes that a reader has received and nobody has read yet.
//!
//! Most of the time a reader holds nothing, or one piece that is read as a whole: a piece that
//! arrives as `bytes` in an empty buffer is kept as it is, and given out without a copy if it is
//! wanted as it is. Pieces that come together are joined in a vector, behind whose front reading
//! advances. So a result is copied once at most, and a buffer that is empty owns no memory.
//!
//! asyncio's buffer is a bytearray, and there are programs that look at it, and change it. From the
//! moment on at which somebody asks for it, there is such a bytearray, and it is the buffer.

use std::cell::RefCell;
use std::mem::MaybeUninit;

use crate::py::buffer::{Buffer as View, bytes, bytes_of, is_bytes_like, is_exact_bytes, recycle};
use crate::py::{Any, AsObject, Own, Res, Stop, Visitor, bytearray, names, value};

/// A part of this size, kept from a block eight times as large, is moved out of it.
const WORTH_MOVING: usize = 16 * 1024;

pub(super) struct Buffer(RefCell<Content>);

enum Content {
    /// A `bytes` that came as such, read up to `start`.
    Piece { bytes: Own<Any>, start: usize },
    /// Bytes of our own, read up to `start`; no memory if there are none.
    Run { bytes: Vec<u8>, start: usize },
    /// A bytearray that others know, too.
    Shared(Own<Any>),
}

impl Content {
    const EMPTY: Content = Content::Run { bytes: Vec::new(), start: 0 };

    /// Whether it is empty, and nobody else knows it.
    #[inline(always)]
    fn is_bare(&self) -> bool {
        matches!(self, Content::Run { bytes, start: 0 } if bytes.is_empty())
    }

    /// Shows the bytes to `look`, which must not call Python.
    #[inline(always)]
    fn look<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Content::Piece { bytes, start } => {
                look(bytes_of(bytes).get(*start..).unwrap_or_default())
            }
            Content::Run { bytes, start } => look(&bytes[*start..]),
            // SAFETY: only bytearrays get here, and `look` is this module's, which calls nothing.
            Content::Shared(array) => unsafe { bytearray::look(array, look) },
        }
    }

    /// Our own vector, with room for `more` at its end.
    fn run(&mut self, more: usize) -> Option<&mut Vec<u8>> {
        if let Content::Shared(_) = self {
            return None;
        }
        if let Content::Piece { .. } = self {
            let joined = self.look(|data| {
                let mut joined = Vec::with_capacity(data.len() + more);
                joined.extend_from_slice(data);
                joined
            });
            *self = Content::Run { bytes: joined, start: 0 };
        }
        let Content::Run { bytes, start } = self else { return None };
        let left = bytes.len() - *start;
        // Moving what is left to the front costs no more than was read since the last time.
        if *start > 0 && bytes.len() + more > bytes.capacity() && left <= *start {
            bytes.copy_within(*start.., 0);
            bytes.truncate(left);
            *start = 0;
        }
        bytes.reserve(more);
        Some(bytes)
    }

    /// Moves a small rest out of a large block.
    fn give_back(&mut self, left: usize, block: usize) {
        if left == 0 {
            if let Content::Piece { bytes, .. } = std::mem::replace(self, Content::EMPTY) {
                recycle(bytes);
            }
        } else if block >= WORTH_MOVING && left <= block / 8 {
            let rest = self.look(<[u8]>::to_vec);
            *self = Content::Run { bytes: rest, start: 0 };
        }
    }

    fn discard(&mut self, count: usize) -> Res<()> {
        let (left, block) = match self {
            Content::Piece { bytes, start } => {
                let len = bytes_of(bytes).len();
                *start = (*start + count).min(len);
                (len - *start, len)
            }
            Content::Run { bytes, start } => {
                *start = (*start + count).min(bytes.len());
                (bytes.len() - *start, bytes.capacity())
            }
            Content::Shared(array) => return bytearray::delete_front(array, count),
        };
        self.give_back(left, block);
        Ok(())
    }
}

impl Buffer {
    pub(super) const fn new() -> Buffer {
        Buffer(RefCell::new(Content::EMPTY))
    }

    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.0.borrow().look(<[u8]>::len)
    }

    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Shows the bytes to `look`, which must not call Python.
    #[inline(always)]
    pub(super) fn look<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T {
        self.0.borrow().look(look)
    }

    /// Adds bytes from elsewhere.
    pub(super) fn append(&self, data: &[u8]) -> Res<()> {
        let mut content = self.0.borrow_mut();
        if content.is_bare() {
            // Alone, it is likely to be read as it is.
            *content = Content::Piece { bytes: bytes(data)?, start: 0 };
            return Ok(());
        }
        match content.run(data.len()) {
            Some(run) => run.extend_from_slice(data),
            None => return shared(&content).map_or(Ok(()), |a| bytearray::extend(&a, data)),
        }
        Ok(())
    }

    /// Adds the contents of a `bytes`, or of anything that `bytearray.extend` takes.
    pub(super) fn append_object(&self, object: &Any) -> Res<()> {
        if !is_exact_bytes(object) {
            return self.append_any(object);
        }
        let data = bytes_of(object);
        let mut content = self.0.borrow_mut();
        if content.is_bare() && !data.is_empty() {
            *content = Content::Piece { bytes: object.own(), start: 0 };
            return Ok(());
        }
        drop(content);
        self.append(data)
    }

    #[cold]
    fn append_any(&self, object: &Any) -> Res<()> {
        if is_bytes_like(object) {
            return self.append(View::readable(object)?.as_slice());
        }
        // Numbers, or nothing that fits: a bytearray knows, and says it in its own words.
        let array = bytearray::new(b"")?;
        array.call_method(&names::EXTEND, &[object])?;
        self.append(View::readable(&array)?.as_slice())
    }

    /// Lets `receive` fill at least `room` bytes of memory at the end of the buffer. It says how
    /// many it has filled, or fails, and must not call Python.
    ///
    /// # Safety
    /// As many bytes as `receive` says are initialised, from the first on.
    pub(super) unsafe fn receive<E>(
        &self,
        room: usize,
        receive: impl FnOnce(&mut [MaybeUninit<u8>]) -> Result<usize, E>,
    ) -> Result<Res<usize>, E> {
        let mut content = self.0.borrow_mut();
        if let Some(run) = content.run(room) {
            let received = receive(run.spare_capacity_mut());
            // SAFETY: the caller's promise; there is no more spare capacity than was shown.
            let received = received.inspect(|&count| unsafe {
                debug_assert!(count <= run.capacity() - run.len());
                run.set_len(run.len() + count);
            });
            if run.is_empty() {
                *content = Content::EMPTY;
            }
            return received.map(Ok);
        }
        drop(content);
        let mut aside = Vec::with_capacity(room);
        let count = receive(aside.spare_capacity_mut())?;
        // SAFETY: as above.
        unsafe { aside.set_len(count) };
        Ok(self.append(&aside).map(|()| count))
    }

    /// Takes out the first `count` bytes, of which there are as many.
    #[inline]
    pub(super) fn take(&self, count: usize) -> Res {
        let mut content = self.0.borrow_mut();
        if let Content::Piece { bytes, start: 0 } = &*content
            && bytes_of(bytes).len() == count
        {
            let piece = bytes.clone();
            *content = Content::EMPTY;
            return Ok(piece);
        }
        let taken = content.look(|data| bytes(data.get(..count).unwrap_or(data)))?;
        content.discard(count)?;
        Ok(taken)
    }

    pub(super) fn discard(&self, count: usize) -> Res<()> {
        self.0.borrow_mut().discard(count)
    }

    pub(super) fn clear(&self) -> Res<()> {
        self.discard(self.len())
    }

    /// Puts bytes back that were taken out: a list of `bytes`, in their order.
    pub(super) fn put_back(&self, blocks: &Any) -> Res<()> {
        let mut front = Vec::new();
        value::each(blocks, |block| {
            if is_exact_bytes(block) {
                front.extend_from_slice(bytes_of(block));
            }
            Ok(())
        })?;
        if front.is_empty() {
            return Ok(());
        }
        self.look(|data| front.extend_from_slice(data));
        let mut content = self.0.borrow_mut();
        match shared(&content) {
            None => *content = Content::Run { bytes: front, start: 0 },
            Some(array) => {
                bytearray::delete_front(&array, bytearray::len(&array))?;
                bytearray::extend(&array, &front)?;
            }
        }
        Ok(())
    }

    /// asyncio's `_buffer`: from now on the bytes are in a bytearray that others may change.
    pub(super) fn share(&self) -> Res {
        let mut content = self.0.borrow_mut();
        if let Some(array) = shared(&content) {
            return Ok(array);
        }
        let array = content.look(bytearray::new)?;
        *content = Content::Shared(array.clone());
        Ok(array)
    }

    /// `_buffer = array`.
    pub(super) fn replace(&self, array: &Any) -> Res<()> {
        let array = if bytearray::is_bytearray(array) {
            array.own()
        } else {
            bytearray::from_object(array)?
        };
        let before = self.0.replace(Content::Shared(array));
        drop(before);
        Ok(())
    }

    pub(super) fn visit(&self, visitor: &Visitor) -> Result<(), Stop> {
        // Borrowed, it is passed over, and what it holds lives until the next time.
        match self.0.try_borrow().as_deref() {
            Ok(Content::Shared(array)) => visitor.object(&**array),
            _ => Ok(()),
        }
    }

    pub(super) fn forget(&self) {
        drop(self.0.replace(Content::EMPTY));
    }
}

fn shared(content: &Content) -> Option<Own<Any>> {
    match content {
        Content::Shared(array) => Some(array.clone()),
        Content::Piece { .. } | Content::Run { .. } => None,
    }
}
