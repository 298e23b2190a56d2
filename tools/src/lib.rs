//! The programs: `uor` does what a person or a script does at a site, `uor-replay` audits and
//! never writes.
//!
//! Modules in the order a call takes: `dispatch → cli → command, audit → console`, or `carried →
//! beside → command → console` through a running node; `usage`, `condition`, `ending`, `exit`,
//! `code` and `hint` say what was wrong and how it ends, `interrupt` and `scratch` what a signal
//! does to it. A command parses, calls a library and renders what comes back; it writes to a
//! [`console::Console`] only, so it runs alike in this process and, through the control socket,
//! inside the node that has the data directory open.
//!
//! Content goes to standard output, everything else to standard error; the exit status is the
//! verdict ([`exit`]).

pub mod audit;
pub mod beside;
mod carried;
pub mod cli;
pub mod code;
pub mod command;
mod condition;
pub mod console;
pub mod demo;
pub mod dispatch;
mod ending;
pub mod exit;
pub mod hint;
pub mod interrupt;
pub mod render;
pub mod scratch;
mod usage;
