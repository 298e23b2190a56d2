//! Running programs: what is known is reused, what is not is executed, and either way the same
//! receipt stands.
//!
//! Every node execution is the run of an [`Atom`](atom::Atom): a canonical program with one node,
//! so that equal work meets at one receipt whatever program, and whatever site, it came from. A
//! program of several nodes gets a receipt of its own whose trace names its nodes' receipts in the
//! one order; the first node that fails in that order ends the run. A mapped node (`each`) is
//! traced likewise by the receipts of its files.
//!
//! To be read in this order: `profile`, `error`, `report` (what is said); `atom`, `task`, `input`,
//! `files` (what is run, and on what); `known`, `pending`, `operator`, `runner`.
//!
//! A node that gives no result leaves nothing; nodes before it have left receipts that are true and
//! will be reused.

pub mod atom;
mod error;
mod files;
mod input;
mod known;
mod operator;
mod pending;
mod profile;
mod report;
mod runner;
mod task;

pub use self::error::RunError;
pub use self::pending::pending;
pub use self::profile::PROFILE;
pub use self::report::{Options, Progress, RunReport};
pub use self::runner::perform;
pub use self::task::{PROGRAM_LEN_MAX, Task, bind, load};
