//! Payloads and trees on their way out.
//!
//! To be read in this order: `read`, `spread`, `out`.

mod out;
pub(super) mod read;
mod spread;

pub use self::read::{
    Listed, ListedAttributes, ListedKind, Materialised, OpenedPayload, ReadError,
};
