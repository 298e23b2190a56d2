//! Where the index of a view began.

use crate::store::checkpoint::StoredRun;

/// Where the index of a view began that was made by rebuilding everything from the log.
#[derive(Clone, Default)]
pub(in crate::store) struct Beginning {
    /// Raised whenever everything is rebuilt from the log.
    pub(super) generation: u64,
    /// Runs that were written meanwhile, and that no checkpoint names yet.
    pub(super) runs: Vec<StoredRun>,
}
