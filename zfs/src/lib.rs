//! What a `zfs send` stream says, without ZFS: records, objects, and the files that they are.
//!
//! In the order data flows: [`stream`] reads records and verifies their checksums, [`decompress`]
//! opens payloads, [`objects`] applies records as a receiver has to, [`state`] is what is kept from
//! one increment to the next, and [`filesystem`] reads directories and attributes of the result.
//!
//! Invariants:
//! * a stream is hostile: nothing panics, nothing is allocated beyond a block of 16 MiB before its
//!   bytes are there, and every refusal names the record, its offset and the field;
//! * block contents never stay in memory: they go to a [`Spool`](contents::Spool) and are read from
//!   there;
//! * nothing is nameable before the END record has been verified, and nothing here makes anything
//!   visible.

mod bonus;
mod bytes;
pub mod contents;
pub mod decompress;
pub mod filesystem;
mod fletcher;
pub mod nvlist;
pub mod objects;
pub mod record;
pub mod state;
pub mod stream;
pub mod volume;
pub mod zap;

mod attributes;

pub use bytes::ByteOrder;
pub use fletcher::Fletcher4;
