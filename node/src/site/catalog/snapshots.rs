//! Snapshots: made, named, shown, compared. (For how long: `retained`.)
//!
//! A snapshot is an artifact like any other and replicates like one; its labels are refs in a
//! namespace of their own.
//!
//! To be read in this order: `error`, `find`, `retained`, `create`, `list`, `show`, `diff`.

mod create;
mod diff;
pub(in crate::site) mod error;
pub(in crate::site) mod find;
mod list;
pub(in crate::site) mod retained;
mod show;

pub use self::create::SnapshotCreated;
pub use self::diff::{Change, EntryListed, SnapshotDiff};
pub use self::error::SnapshotError;
pub use self::list::SnapshotListed;
pub use self::show::{Applied, DomainApplied, SnapshotShown};
