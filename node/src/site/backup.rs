//! Backups: copies of a site that are consistent, although the site goes on writing, and share what
//! has not changed; and data directories made from them.
//!
//! Each is laid out as a data directory is, with a `manifest`. What is appended while one is made
//! is not in it.
//!
//! To be read in this order: `error`, `files`, `manifest`, `series` (the directory of backups),
//! `sources` (what is taken), `making`, `soundness`, `create`, `restore`.

mod create;
mod error;
mod files;
mod making;
mod manifest;
mod restore;
mod series;
mod soundness;
mod sources;

pub use self::create::{BackedUp, BackupProgress};
pub use self::error::BackupError;
pub use self::restore::{RestoreError, Restored};
