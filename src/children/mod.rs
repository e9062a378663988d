//! Child processes: their birth and their end.
//!
//! What a program sees of a child is Python, asyncio's own (`python/aioxide/children.py`). Native is
//! what would make the loop wait or wake for each: starting a program without waiting for it to be
//! executed (`birth`, `child`), and hearing on a descriptor that it was, or that it is over
//! (`child_type`).

mod birth;
mod child;
mod child_type;
mod raw;

pub(crate) use child_type::add_to;
