//! Where a delta is cut.

use uor_asl::store::{Store, StoreError};
use uor_index_format::id::{CommitHash, SiteId};
use uor_index_format::wire::{DELTA_LEN_MAX, Refusal, Response};

/// The commits of a domain behind number `after`, ascending and without a gap, at least one if
/// there is one, else at most [`DELTA_LEN_MAX`] bytes; and how many are left. The asker names its
/// last by hash: if that is not ours, the domain forked.
///
/// # Errors
/// [`StoreError`] if the first of them cannot be read.
pub(super) fn delta(
    store: &Store,
    domain: &SiteId,
    after: u64,
    after_hash: &CommitHash,
) -> Result<Response, StoreError> {
    let last = store
        .view()
        .head()
        .frontier
        .get(domain)
        .map_or(0, |head| head.number);
    if after > 0 && store.view().commit_hash(domain, after)? != Some(*after_hash) {
        return Ok(Response::refused(if after > last {
            Refusal::NotHere
        } else {
            Refusal::Forked
        }));
    }
    let mut commits: Vec<Vec<u8>> = Vec::new();
    let mut len = 0;
    let mut number = after;
    while number < last && len < DELTA_LEN_MAX {
        let bytes = match store.commit_bytes(domain, number + 1) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => break,
            // What lies before the damage is given.
            Err(_) if !commits.is_empty() => break,
            Err(error) => return Err(error),
        };
        if !commits.is_empty() && len + bytes.len() as u64 > DELTA_LEN_MAX {
            break;
        }
        len += bytes.len() as u64;
        number += 1;
        commits.push(bytes);
    }
    Ok(Response::Delta {
        commits,
        commits_left: last.saturating_sub(number),
    })
}
