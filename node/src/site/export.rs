//! Payloads and trees on their way out.
//!
//! To be read in this order: `list`, `spread` (how many entries a tree stands for), `out`,
//! `materialise`.

mod list;
mod materialise;
mod out;
mod spread;

pub use self::list::{Listed, ListedAttributes, ListedKind};
pub use self::materialise::Materialised;
