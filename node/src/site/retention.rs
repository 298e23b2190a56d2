//! What goes again, and what is retained.
//!
//! To be read in this order: `retain`, `gc`, `erase`, `remove`.

mod erase;
mod gc;
mod remove;
mod retain;

pub use self::erase::{EraseError, ErasedPayload};
pub use self::gc::{Gathered, GcError};
pub use self::remove::{RemoveError, Removed, RemovedAll};
pub use self::retain::SnapshotDropped;
