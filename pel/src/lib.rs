//! PEL: programs, the engine that runs them, and the receipts they leave.
//!
//! Modules in the order data flows: `program → plan → gate → engine, kernel → run → replay`, on
//! blobs and an artifact store.
//!
//! Invariants: this crate reads no clock, no network and no entropy, and holds no hash-ordered
//! collection. The same program on the same inputs leaves the same receipt, byte for byte, on every
//! site (specification §5, §8). A trap is a result; running out of fuel, stack or memory is none
//! and leaves nothing.

pub mod engine;
pub mod gate;
pub mod kernel;
pub mod op;
pub mod plan;
pub mod program;
pub mod replay;
pub mod run;

pub mod artifact_store;
pub mod blob;
