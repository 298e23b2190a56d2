//! The programs as a person or a script meets them: the real binaries, their output, their exit
//! status.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may stop")]

mod adding;
mod audit;
mod beside;
mod errors;
mod hostile;
mod import;
mod nodes;
mod removing;
mod secrets;
mod snapshots;
mod space;
mod support;
mod walk;
mod wrong;
