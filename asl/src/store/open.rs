//! Opening: from the checkpoint where there is one that fits, else from the start of the log.

use std::sync::Arc;

use uor_index_format::commit::{Commit, ForkProof};
use uor_index_format::membership::{ConflictRule, Genesis};
use uor_index_format::record::Content;

use super::checkpoint::{Checkpoint, Unusable};
use super::keep::{Keeping, open_stored};
use super::removal::Removal;
use super::{Store, StoreError, View, entry};
use crate::commits::Commits;
use crate::judge::{Judge, Verdict};
use crate::log::{self, Entries, LogPosition};
use crate::state::{ReadError, State};

/// Why the log has to be read from its start.
#[derive(Debug)]
enum Stale {
    /// The checkpoint, or a file it names, cannot be used.
    Unusable(String),
}

/// Judge and view of everything in the log, and why the index had to be written anew, if it had.
pub(super) fn open(
    store: &Store,
    checkpoint: Option<Result<Checkpoint, Unusable>>,
    keeping: &mut Keeping,
) -> Result<(Judge, View, Option<String>), StoreError> {
    let reason = match checkpoint {
        None => None,
        Some(Err(unusable)) => Some(unusable.to_string()),
        Some(Ok(checkpoint)) => match resume(store, keeping, checkpoint)? {
            Ok((judge, view)) => return Ok((judge, view, None)),
            Err(Stale::Unusable(reason)) => Some(reason),
        },
    };
    keeping.forget(store)?;
    let (judge, view) = rebuild(store, keeping)?;
    Ok((judge, view, reason))
}

/// Takes up what the checkpoint says, and what came after it in the log.
fn resume(
    store: &Store,
    keeping: &mut Keeping,
    checkpoint: Checkpoint,
) -> Result<Result<(Judge, View), Stale>, StoreError> {
    let unusable = |reason: String| Ok(Err(Stale::Unusable(reason)));
    if checkpoint.shards != store.options.shards.get() {
        let (found, wanted) = (checkpoint.shards, store.options.shards);
        return unusable(format!("the index has {found} shards, {wanted} are asked for"));
    }
    let parts = match checkpoint.parts() {
        Ok(parts) => parts,
        Err(unusable) => return Ok(Err(Stale::Unusable(unusable.to_string()))),
    };
    let mut judge = match Judge::remembering(store.federation, &checkpoint.judge) {
        Ok(judge) => judge,
        Err(source) => return unusable(format!("the checkpoint's judge cannot be read: {source}")),
    };
    judge.genesis().map_or(Ok(()), |genesis| is_founded_by(store, genesis))?;
    let mut index = store.empty_index();
    for stored in &checkpoint.runs {
        match open_stored(store.disk.as_ref(), stored) {
            Ok(run) => index.push_run(Arc::new(run)),
            Err(error) => return unusable(error.to_string()),
        }
    }
    let commits = match Commits::open(store.disk.as_ref(), &checkpoint.domains()) {
        Ok(commits) => commits,
        Err(error) => return unusable(error.to_string()),
    };
    if commits.frontier() != judge.frontier() {
        return unusable("the commit tables end otherwise than the checkpoint says".to_owned());
    }
    let through = covered(&checkpoint, store.log.view().end())?;
    if let Err(error) = store.log.entries_from(through) {
        return unusable(format!("the log has nothing where the checkpoint ends: {error}"));
    }
    let rule = judge.genesis().map_or(ConflictRule::default(), |genesis| genesis.conflict_rule);
    let state = State::resume(rule, index, store.log.view(), commits, parts.sum, parts.conflicts, judge.logseq_max());
    let mut view = View::new(state);
    view.genesis = judge.genesis().cloned();
    view.erased = parts.erased;
    view.testimony = parts.testimony;
    view.wanted = parts.wanted.into_iter().filter(|(checksum, _)| view.may_want(checksum, &store.blocks)).collect();
    view.uncounted = checkpoint.uncounted;
    view.uncounted_heads = checkpoint.uncounted_heads();
    keeping.resume(checkpoint);
    replay(store, through, &mut judge, &mut view, keeping)?;
    Ok(Ok((judge, view)))
}

/// Whether the store's federation is the one that this genesis founds: no other gets into a log.
fn is_founded_by(store: &Store, genesis: &Genesis) -> Result<(), StoreError> {
    let (named, found) = (store.federation, genesis.federation_id());
    if named == found { Ok(()) } else { Err(StoreError::OtherFederation { named, found }) }
}

/// Up to where in the log the checkpoint covers it.
fn covered(checkpoint: &Checkpoint, end: LogPosition) -> Result<LogPosition, StoreError> {
    let through = checkpoint.through();
    // A crash may have lost the mark behind what was synced last; a reader does not write it again.
    if through <= end || through == end.plus(log::MARK_LEN) {
        return Ok(through.min(end));
    }
    Err(StoreError::LogCut { end, through })
}

/// Judges and applies the whole log.
pub(super) fn rebuild(store: &Store, keeping: &mut Keeping) -> Result<(Judge, View), StoreError> {
    let mut judge = Judge::new(store.federation);
    let state = State::new(ConflictRule::default(), store.empty_index(), store.log.view());
    let mut view = View::new(state);
    freeze_proven(&mut store.log.entries(), &mut judge)?;
    replay(store, LogPosition::START, &mut judge, &mut view, keeping)?;
    Ok((judge, view))
}

/// Takes in the fork proofs among these entries: what they disprove must not count from the start.
fn freeze_proven(entries: &mut Entries, judge: &mut Judge) -> Result<(), StoreError> {
    for found in entries {
        let found = found?;
        if found.kind == entry::FORK_PROOF {
            let proof = ForkProof::decode(&found.body)
                .map_err(|source| StoreError::Entry { position: found.position, source })?;
            judge.freeze(proof, &())?;
        }
    }
    Ok(())
}

/// Judges and applies the commits from a place in the log on, in the order they arrived; what cannot be judged because of a
/// proof is tried again until nothing more counts.
fn replay(
    store: &Store,
    from: LogPosition,
    judge: &mut Judge,
    view: &mut View,
    keeping: &mut Keeping,
) -> Result<(), StoreError> {
    let mut waiting = Vec::new();
    // A reader finds no first segment where nothing was ever written.
    let entries = if from == LogPosition::START { store.log.entries() } else { store.log.entries_from(from)? };
    for found in entries {
        let found = found?;
        keeping.spill(store, view, found.position)?;
        match found.kind {
            entry::COMMIT => {
                let commit = decode(found.position, &found.body)?;
                if !count(store, &commit, found.position, judge, view)? {
                    waiting.push(found.position);
                }
            }
            entry::FORK_PROOF => freeze(found.position, &found.body, judge, view)?,
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
        let commit = decode(position, &store.log.read(position)?.body)?;
        if judge.genesis().is_none() {
            // Nothing counts: the federation may be another one's. Beside commits that count, a genesis proves nothing.
            commit.records().iter().try_for_each(|record| match record.content() {
                Content::Genesis(genesis) => is_founded_by(store, genesis),
                _ => Ok(()),
            })?;
        }
        view.note_uncounted(commit.header().domain, commit.header().number);
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
            let change = view.prepare(commit)?;
            view.apply(commit, position, change, store);
            judge.forget_recent();
            true
        }
        Verdict::Known => true,
        Verdict::Testifies => {
            judge.testify(commit);
            view.take_rule(judge);
            view.testify(commit, position);
            true
        }
        Verdict::Parked(_) | Verdict::Forks(_) | Verdict::Refused(_) => false,
    })
}

/// Takes in a fork proof: what it disproves of what has counted is taken back.
fn freeze(position: LogPosition, body: &[u8], judge: &mut Judge, view: &mut View) -> Result<(), StoreError> {
    let proof = ForkProof::decode(body).map_err(|source| StoreError::Entry { position, source })?;
    let (domain, number) = (proof.domain(), proof.number());
    judge.freeze(proof, view.state())?;
    if let Some(taken) = view.state().prepare_take_back(&domain, number)? {
        view.take_back(&domain, &taken, judge)?;
    }
    Ok(())
}

/// The commit in an entry of the log.
pub(crate) fn decode(position: LogPosition, body: &[u8]) -> Result<Commit, StoreError> {
    Commit::decode(body).map_err(|source| StoreError::Entry { position, source })
}
