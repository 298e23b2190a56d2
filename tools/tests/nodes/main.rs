//! Acceptance: real nodes in processes of their own, over loopback, through what a person types;
//! crashes and full disks.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may stop")]

mod backup;
mod crash;
mod damage;
mod federation;
mod full_disk;
mod interrupt;
mod loss;
mod node;
#[path = "../cli/support.rs"]
#[expect(
    dead_code,
    reason = "the bench of the other tests can do more than these need"
)]
mod support;
mod wrong_inputs;
