//! The typed graph over artifacts, receipts and sites: one ordered set of edges, and questions to
//! it.
//!
//! Modules in the order data flows: `graph → trace → export`. An edge is a record like any other
//! and obeys the rules of state (`index-format/FORMAT.md`): of several records of one edge the
//! latest is effective, and a tombstone shadows it. Adjacency is derived, never stored. What lies
//! inside a tree is no edge.
//!
//! Invariants: this crate does no I/O and reads no clock. Every answer is in the one order of
//! records, so it is the same on every site that holds the same commits.

pub mod export;
pub mod graph;
pub mod trace;
