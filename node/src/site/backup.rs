//! What must not get lost: backups, and data directories made from them.
//!
//! To be read in this order: `manifest`, `create`, `restore`.

mod create;
pub(super) mod manifest;
mod restore;

pub use self::create::{BackedUp, BackupError};
pub use self::restore::{RestoreError, Restored};
