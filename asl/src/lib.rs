//! Storage of one site: the append log, payload blocks, the state they amount to, and replay.
//!
//! Modules in the order data flows: `disk` under everything; `log` and `blocks` hold bytes,
//! `damage` says which are not what was written; `entry` is what lies in the log, `chain` how a
//! domain's commits name each other; `validator` decides which commits are accepted; `state` what
//! is visible; `replay` is the specification's sequential algorithm, against which `state` is held;
//! `store` tells the whole story and is where to begin reading; `verify` reads every byte of it.
//! Under these lie `index` (on `pages`, with `prefetch`) and `commits`, which find records and
//! commits in the log, `group` (many writers, one sync), `file_header` and `error`; `changes`
//! compares snapshots.
//!
//! Invariants: no network, no clock, no knowledge of what programs do. Everything beside log and
//! blocks can be rebuilt from them. What is acknowledged is durable, and nothing is visible that is
//! not.

pub mod blocks;
pub mod chain;
mod changes;
mod commits;
pub mod damage;
pub mod disk;
mod entry;
mod error;
mod file_header;
pub mod group;
pub mod index;
pub mod log;
mod pages;
mod prefetch;
pub mod replay;
pub mod state;
pub mod store;
pub mod validator;
pub mod verify;
