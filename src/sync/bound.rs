//! Which loop a primitive belongs to: the one that runs when somebody first has to wait on it.

use crate::engine::asyncio::asyncio;
use crate::engine::current;
use crate::py::{Any, AsObject, Builtin, Res, Slot, Stop, Visitor, raise, runtime_error, value};

/// A primitive's loop, once it has one.
pub(crate) struct LoopBound(Slot);

impl LoopBound {
    pub(crate) const fn new() -> LoopBound {
        LoopBound(Slot::empty())
    }

    /// Binds `this` to the running loop, or complains that it is bound to another.
    #[inline]
    pub(crate) fn check(&self, this: &Any) -> Res<()> {
        match current::running() {
            Some(event_loop) if self.0.holds(event_loop) => Ok(()),
            Some(event_loop) => self.check_other(this, Some(event_loop.as_any())),
            None => {
                let event_loop = asyncio().get_running_loop_or_none.call(&[])?;
                self.check_other(this, Some(&*event_loop).filter(|found| !found.is_none()))
            }
        }
    }

    #[cold]
    fn check_other(&self, this: &Any, running: Option<&Any>) -> Res<()> {
        if !self.0.is_some() {
            self.0.put(running.map(AsObject::own));
        }
        match running {
            Some(event_loop) if self.0.holds(event_loop) => Ok(()),
            None if !self.0.is_some() => Err(raise(
                Builtin::AttributeError.get(),
                "'NoneType' object has no attribute 'create_future'",
            )),
            _ => {
                let text = format!("{} is bound to a different event loop", value::repr_text(this));
                Err(runtime_error(&text))
            }
        }
    }

    /// `_loop`.
    pub(crate) fn get(&self) -> Option<crate::py::Own<Any>> {
        self.0.get()
    }

    /// `_loop = event_loop`.
    pub(crate) fn set(&self, event_loop: &Any) -> Res<()> {
        self.0.put((!event_loop.is_none()).then(|| event_loop.own()));
        Ok(())
    }

    pub(crate) fn visit(&self, visitor: &Visitor) -> Result<(), Stop> {
        visitor.slot(&self.0)
    }

    pub(crate) fn clear(&self) {
        self.0.clear();
    }
}
