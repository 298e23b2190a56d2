//! `uor-replay`: the auditor. It reads and never modifies.

use std::process::ExitCode;

fn main() -> ExitCode {
    uor_tools::dispatch::uor_replay()
}
