//! Programs and runs.

use std::error::Error;

use uor_node::site::{ProgramError, RunError};
use uor_pel::run::RunError as PelError;

use super::known::{Known, code, help, if_is, of_cause};
use crate::code::Code;

/// What is known of an error, if it is one of these.
pub(super) fn known<'a>(error: &'a (dyn Error + 'static)) -> Known<'a> {
    if_is(error, program_error)
        .or_else(|| if_is(error, run_error))
        .or_else(|| if_is(error, pel_error))
}

fn program_error(error: &ProgramError) -> Known<'_> {
    match error {
        ProgramError::Compile { .. } => of_cause(error, Some(Code::BadProgram)),
        ProgramError::Name(error) => Known::Of(error),
        ProgramError::Read(error) => Known::Of(error),
        ProgramError::State(error) => Known::Of(error),
        _ => Known::Nothing,
    }
}

fn run_error(error: &RunError) -> Known<'_> {
    match error {
        RunError::Resolve(error) => Known::Of(error),
        RunError::Read(error) => Known::Of(error),
        RunError::State(error) => Known::Of(error),
        RunError::InputTwice { .. } => code(Code::Unbound),
        RunError::Cancelled(_) => code(Code::Interrupted),
        _ => Known::Nothing,
    }
}

fn pel_error(error: &PelError) -> Known<'_> {
    match error {
        PelError::InputUnbound { name } => help(
            Code::Unbound,
            format!("bind it with --input {name}=KEY, a ref or a path"),
        ),
        PelError::InputUnknown { .. } | PelError::InputCount { .. } => code(Code::Unbound),
        PelError::ProgramAbsent { .. } | PelError::Absent { .. } => code(Code::MissingPayload),
        PelError::NotAProgram { .. } => code(Code::WrongKind),
        PelError::Module { .. } | PelError::Op(_) => code(Code::BadProgram),
        PelError::NoResult {
            source: uor_pel::engine::NoResult::Fuel { .. },
            ..
        } => help(
            Code::NoResult,
            "--fuel N gives each node more, if it is not an endless loop",
        ),
        PelError::NoResult { .. } => code(Code::NoResult),
        PelError::Params { .. } | PelError::Profile { .. } => code(Code::BadInput),
        _ => Known::Nothing,
    }
}
