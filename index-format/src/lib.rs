//! Every byte of uor that is hashed, signed, stored or sent, and the values behind it. `FORMAT.md`
//! beside this crate describes the bytes; golden vectors hold both to each other.
//!
//! Modules in the order data flows: `record → commit → chain → snapshot → wire`, on ids, one order,
//! one kind of tree and one codec.
//!
//! Invariants: this crate does no I/O, reads no clock, and holds no hash-ordered collection. No
//! input makes a decoder panic, and none makes it allocate out of proportion to the input's length.
//! What a decoder returns is canonical: encoding it again gives the same bytes.

pub mod chain;
pub mod codec;
pub mod commit;
pub mod edge;
pub mod id;
pub mod key;
mod many;
pub mod membership;
pub mod merkle;
pub mod order;
pub mod program;
pub mod receipt;
pub mod record;
pub mod reference;
pub mod snapshot;
pub mod state;
pub mod ticket;
pub mod tree;
pub mod wire;

pub use codec::DecodeError;
