//! Which outcomes are known: such a derivation is not executed.

use uor_index_format::id::ArtifactKey;
use uor_index_format::program::Program;
use uor_index_format::receipt::{Outcome, Status};

use super::error::RunError;
use super::files;
use crate::artifact_store::ArtifactStore;

/// The outcome in the store, if it is one of this program's and everything that it names is here.
pub(super) fn known(
    store: &dyn ArtifactStore,
    receipt: &ArtifactKey,
    program: &Program,
) -> Result<Option<Outcome>, RunError> {
    let Some(outcome) = store.receipt(receipt)? else {
        return Ok(None);
    };
    let expected = program.outputs().iter().map(|(name, _)| name);
    if outcome.status == Status::Ok && !outcome.outputs.iter().map(|(name, _)| name).eq(expected) {
        return Ok(None);
    }
    for (_, key) in &outcome.outputs {
        if !files::is_whole(store, key)? {
            return Ok(None);
        }
    }
    Ok(Some(outcome))
}
