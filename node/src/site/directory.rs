//! The data directory: its small files, where other sites can be reached, and what of it is nobody
//! else's business.
//!
//! To be read in this order: `files`, `listing`, `private`, `peers`.

pub(super) mod files;
pub(super) mod listing;
mod peers;
pub(super) mod private;

pub use self::files::FileError;
pub(crate) use self::files::TABLE_FILE;
pub use self::peers::Peer;
