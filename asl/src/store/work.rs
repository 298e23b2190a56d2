//! What writers ask for, and what they are answered.

use uor_index_format::commit::{Commit, ForkProof, Prepared};
use uor_index_format::key::SiteKey;

use super::error::CommitError;
use crate::chain::Committed;
use crate::validator::Verdict;

/// What is asked for.
pub(super) enum Work {
    Local {
        key: Box<SiteKey>,
        prepared: Prepared,
        wall_ms: u64,
    },
    Merge {
        commits: Vec<Commit>,
        patience: u64,
    },
    Freeze(Box<ForkProof>),
}

/// The answer.
pub(super) enum Done {
    Local(Result<Committed, CommitError>),
    Merged(Vec<Verdict>),
    Frozen(bool),
}
