//! Opening: from the checkpoint where there is one that fits, else from the start of the log.

use uor_index_format::commit::{Commit, ForkProof};
use uor_index_format::membership::ConflictRule;

use super::removal::Removal;
use super::{Store, StoreError, View, entry};
use crate::judge::{Judge, Verdict};
use crate::log::{Entries, LogPosition};
use crate::state::{ReadError, State};

/// Judge and view of everything in the log, and why the index had to be written anew, if it had.
pub(super) fn open(store: &Store) -> Result<(Judge, View, Option<String>), StoreError> {
    let (judge, view) = rebuild(store)?;
    Ok((judge, view, None))
}

/// Judges and applies the whole log.
pub(super) fn rebuild(store: &Store) -> Result<(Judge, View), StoreError> {
    let mut judge = Judge::new(store.federation);
    let state = State::new(ConflictRule::default(), store.empty_index(), store.log.view());
    let mut view = View::new(state);
    freeze_proven(&mut store.log.entries(), &mut judge)?;
    replay(store, LogPosition::START, &mut judge, &mut view)?;
    Ok((judge, view))
}

/// Takes in the fork proofs among these entries: what they disprove must not count from the start.
fn freeze_proven(entries: &mut Entries, judge: &mut Judge) -> Result<(), StoreError> {
    for found in entries {
        let found = found?;
        if found.kind == entry::FORK_PROOF {
            let proof = ForkProof::decode(&found.body)
                .map_err(|source| StoreError::Entry { position: found.position, source })?;
            judge.freeze(proof);
        }
    }
    Ok(())
}

/// Judges and applies the commits from a place in the log on, in the order they arrived; what cannot be judged because of a
/// proof is tried again until nothing more counts.
fn replay(store: &Store, from: LogPosition, judge: &mut Judge, view: &mut View) -> Result<(), StoreError> {
    let mut waiting = Vec::new();
    for found in store.log.entries_from(from)? {
        let found = found?;
        match found.kind {
            entry::COMMIT => {
                let commit = decode(found.position, &found.body)?;
                if !count(store, &commit, found.position, judge, view)? {
                    waiting.push(found.position);
                }
            }
            entry::FORK_PROOF => {}
            entry::REMOVAL => {
                let removal = Removal::decode(&found.body)
                    .map_err(|source| StoreError::Entry { position: found.position, source })?;
                view.remove(&removal);
            }
            kind => return Err(StoreError::UnknownEntry { position: found.position, kind }),
        }
    }
    loop {
        let before = waiting.len();
        let mut still = Vec::new();
        for position in waiting {
            let commit = decode(position, &store.log.read(position)?.body)?;
            if !count(store, &commit, position, judge, view)? {
                still.push(position);
            }
        }
        waiting = still;
        if waiting.len() == before {
            break;
        }
    }
    view.uncounted += waiting.len() as u64;
    for position in waiting {
        let header = decode(position, &store.log.read(position)?.body)?.header().clone();
        let head = view.uncounted_heads.entry(header.domain).or_default();
        *head = header.number.max(*head);
    }
    view.settle(judge);
    judge.forget_recent();
    Ok(())
}

fn count(
    store: &Store,
    commit: &Commit,
    position: LogPosition,
    judge: &mut Judge,
    view: &mut View,
) -> Result<bool, ReadError> {
    Ok(match judge.judge(commit, view.state())? {
        Verdict::Counts => {
            judge.admit(commit);
            view.take_rule(judge);
            let change = view.prepare(commit, position)?;
            view.apply(commit, change, &store.blocks, store.options.payloads);
            judge.forget_recent();
            true
        }
        Verdict::Known => true,
        Verdict::Parked(_) | Verdict::Forks(_) | Verdict::Refused(_) => false,
    })
}

/// The commit in an entry of the log.
pub(super) fn decode(position: LogPosition, body: &[u8]) -> Result<Commit, StoreError> {
    Commit::decode(body).map_err(|source| StoreError::Entry { position, source })
}
