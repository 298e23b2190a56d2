//! The store of one site: log, blocks, and the state they amount to.
//!
//! The story of a commit: payloads go into blocks; records are handed to [`Store::commit`]; one
//! thread of those waiting seals and validates every commit of the group, syncs the blocks, appends
//! the commits, syncs the log once, and only then makes them visible and acknowledges them. So what
//! is acknowledged is durable, what is visible is durable, and a record never becomes durable
//! before the payload it names.
//!
//! Commits of other sites take the same path through [`Store::merge`]. Opening a store validates
//! and applies what its checkpoint does not cover; without one, the whole log: the log is the
//! truth, everything else can be rebuilt from it.
//!
//! To be read in this order: `identity`, `options`, `opened`, `error`, `files`, `handle` (what an
//! open store is); `work`, `write`, `flush` (commits, in); `view`, `read`, `naming` (and out);
//! `removal`, `payloads`, `collect` (payloads that come and go); `checkpoint`, `maintenance`,
//! `mend` (the index); `attempt`, `lost`, `recover`, `open`, `beside` (opening); `salvage`,
//! `reopen`, `reserve` (when something has failed).

mod attempt;
mod beside;
mod checkpoint;
mod collect;
pub(crate) mod error;
mod files;
mod flush;
pub(crate) mod handle;
mod identity;
mod lost;
pub(crate) mod maintenance;
mod mend;
pub(crate) mod naming;
mod open;
mod opened;
mod options;
mod payloads;
mod read;
mod recover;
mod removal;
mod reopen;
mod reserve;
mod salvage;
pub(crate) mod view;
mod work;
mod write;

pub use self::error::{CommitError, StoreError, StoreErrorInGroup};
pub use self::handle::Store;
pub use self::maintenance::thread::MaintenanceThread;
pub use self::opened::{LogCut, Opened, StaleIndex};
pub use self::options::{Options, Payloads};
pub use self::reserve::FILE as RESERVE_FILE;
pub use self::view::View;
pub use crate::chain::Committed;
