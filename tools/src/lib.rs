//! The front door: `uor` does what a person or a script does at a site, `uor-replay` audits and
//! never writes.
//!
//! Modules in the order a call takes: `front → cli → command, audit → console`; `exit`, `code` and
//! `hint` say how it ends, `interrupt` and `scratch` what a signal does to it. A command parses,
//! calls a library and renders what comes back; it writes to a [`console::Console`] only, so it
//! runs alike in this process and, through the control socket, inside the node that has the data
//! directory open.
//!
//! Content goes to standard output, everything else to standard error; the exit status is the
//! verdict ([`exit`]).

pub mod audit;
pub mod cli;
pub mod code;
pub mod command;
pub mod console;
pub mod demo;
pub mod exit;
pub mod front;
pub mod hint;
pub mod interrupt;
pub mod render;
pub mod scratch;
