//! What is computed from artifacts: programs, runs and their receipts.
//!
//! To be read in this order: `programs`, `run_artifacts` (what a run sees of a site), `run`.

mod programs;
mod run;
mod run_artifacts;

pub use self::programs::{ProgramAdded, ProgramChecked, ProgramError, ProgramShown};
pub use self::run::{
    Binding, Failure, Ran, ReceiptShown, RunError, RunOptions, RunProgress, StepShown,
};
pub use self::run_artifacts::RunArtifacts;
