//! The data directory: its small files, and what of it is nobody else's business.
//!
//! To be read in this order: `files`, `listing`, `private`.

pub(super) mod files;
pub(super) mod listing;
pub(super) mod private;

pub use self::files::FileError;
pub(crate) use self::files::TABLE_FILE;
