//! What is computed from artifacts: programs, runs and their receipts.
//!
//! To be read in this order: `programs`, `artifacts` (what a run sees of a site), `run`.

mod artifacts;
mod programs;
mod run;

pub use self::artifacts::StoreShelf;
pub use self::programs::{ProgramAdded, ProgramChecked, ProgramError, ProgramShown};
pub use self::run::{
    Binding, Failure, Ran, ReceiptShown, RunError, RunOptions, RunProgress, StepShown,
};
