//! `uor`: everything a person does at a site.

use std::process::ExitCode;

fn main() -> ExitCode {
    uor_tools::dispatch::uor()
}
