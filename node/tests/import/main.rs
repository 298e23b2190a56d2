//! Snapshots of ZFS on their way in and out again: real streams, and what must not come of others.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may stop")]

#[path = "../../benches/import/generate.rs"]
#[expect(dead_code, reason = "the benchmark uses the rest")]
mod generate;
mod order;
mod refused;
mod streams;
mod support;
