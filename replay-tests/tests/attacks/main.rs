//! Attacks on a federation by members, strangers and neighbours on the machine. Each names what is
//! bounded: members' places and time, memory, disk, log lines, what is told to whom.
//! `replay-tests/ATTACKS.md` lists them all with their limits, and a test here holds page and code
//! to each other.
//!
//! Bounds are held by counting (bytes on disk, bytes asked of the allocator, bytes resident in a
//! process of its own, questions, lines, commits), never by the clock. What may not cost more the
//! more there is, is tried at one size and at twice that.
//!
//! Attacks are small in the test command and large with `UOR_ATTACKS=full`.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

#[path = "../../../index-format/tests/decoders/allocation.rs"]
mod allocation;
mod child;
mod content;
mod forged;
mod members;
mod neighbours;
mod network;
mod page;
mod raw;
#[expect(dead_code, reason = "attacks need less of it")]
#[path = "../../../node/tests/service/running.rs"]
mod running;
#[expect(dead_code, reason = "attacks need less of it")]
#[path = "../../../node/tests/replication/world.rs"]
mod scripted;
mod strangers;
mod validated;

/// Whether attacks are tried in their full size.
fn is_full() -> bool {
    std::env::var("UOR_ATTACKS").is_ok_and(|size| size == "full")
}

/// How large an attack is: as in the test command, or in full.
fn size(small: usize, full: usize) -> usize {
    if is_full() { full } else { small }
}

/// What work asks of the allocator in this thread, in bytes: a measure of work and memory that is
/// the same on every run.
fn cost(work: impl FnOnce()) -> usize {
    allocation::requested_by(work).1
}

/// Panics unless twice the attack, or twice what is there to be attacked, costs the victim hardly
/// more.
#[track_caller]
fn does_not_grow(what: &str, once: usize, twice: usize) {
    assert!(
        twice <= once + once / 4 + (64 << 10),
        "{what}: {once} bytes asked of the allocator, then {twice}"
    );
}
