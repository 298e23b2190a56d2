//! What an opened store shows: from the checkpoint where there is one that fits, else from the
//! start of the log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use uor_index_format::chain::Peaks;
use uor_index_format::commit::{Commit, ForkProof};
use uor_index_format::id::SiteId;
use uor_index_format::membership::{ConflictRule, Genesis};
use uor_index_format::record::Content;

use super::attempt::Attempt;
use super::checkpoint::{self, Checkpoint, Unusable};
use super::error::StoreError;
use super::files::Files;
use super::handle::Store;
use super::lost::PacksLost;
use super::maintenance::state::MaintenanceState;
use super::opened::{LogCut, StaleIndex};
use super::removal::Removal;
use super::view::View;
use crate::blocks;
use crate::commits::{self, Commits};
use crate::disk::{self, Disk, DiskError, Mode};
use crate::entry::{decode_commit, kind};
use crate::error::with_causes;
use crate::index::Index;
use crate::log::{self, Entries, LogPosition};
use crate::state::{ReadError, State};
use crate::validator::{CommitValidator, Verdict};

/// What opening found out about index and log.
#[derive(Default)]
pub(super) struct Found {
    /// Why the index had to be rewritten, if it had.
    pub(super) rebuilt: Option<StaleIndex>,
    /// What the log has lost, if the checkpoint knows of it.
    pub(super) cut: Option<LogCut>,
}

impl StaleIndex {
    /// It is of another kind than is asked for.
    fn other(what: String) -> Self {
        Self {
            file: None,
            offset: None,
            what,
            is_damage: false,
        }
    }

    /// There is no checkpoint, though there are files that one would name: it was lost, or a crash
    /// came before it was written.
    fn without_checkpoint(disk: &dyn Disk) -> Result<Option<Self>, DiskError> {
        let is_begun = !disk::list_numbered(disk, checkpoint::DIR, "commits")?.is_empty();
        let file = Some(checkpoint::FILE.to_owned());
        let what = format!(
            "`{}` is not there, though files are that it would name",
            checkpoint::FILE
        );
        Ok(is_begun.then_some(Self {
            file,
            offset: None,
            what,
            is_damage: false,
        }))
    }

    /// The checkpoint is damaged.
    fn checkpoint(what: String) -> Self {
        Self {
            file: Some(checkpoint::FILE.to_owned()),
            offset: Some(0),
            what,
            is_damage: true,
        }
    }

    /// A file that the checkpoint names is damaged.
    fn file(error: &ReadError) -> Self {
        let (file, offset) = error.place();
        Self {
            file,
            offset,
            what: with_causes(error),
            is_damage: true,
        }
    }
}

impl From<Unusable> for StaleIndex {
    fn from(unusable: Unusable) -> Self {
        Self {
            // A version that no release wrote may as well be a flipped bit.
            is_damage: !matches!(unusable, Unusable::Older { .. }),
            ..Self::checkpoint(unusable.to_string())
        }
    }
}

impl Store {
    /// Validator and view as the whole log gives them, whatever the index says; nothing is kept of
    /// it.
    ///
    /// # Errors
    /// [`StoreError`] if the log cannot be read.
    pub(crate) fn revalidated(&self) -> Result<(CommitValidator, View), StoreError> {
        rebuild(&self.files, &mut MaintenanceState::apart())
    }
}

/// Validator and view of everything in the log; `None` if the index was changed while it was read,
/// and is worth another attempt.
pub(super) fn open(
    files: &Files,
    packs: &blocks::Recovery,
    checkpoint: Option<Result<Checkpoint, Unusable>>,
    maintenance: &mut MaintenanceState,
    attempt: &Attempt,
) -> Result<Option<(CommitValidator, View, Found)>, StoreError> {
    let packs_lost = PacksLost::of(files, packs)?;
    let mut found = Found {
        rebuilt: None,
        cut: log_cut(&checkpoint, files.log.view().end()).filter(|_| !files.options.rebuild_index),
    };
    // A reader shows what is there; a writer must not go on where others may know more.
    if let Some(LogCut { end, through, .. }) = found.cut
        && files.mode == Mode::Write
    {
        return Err(StoreError::LogCut { end, through });
    }
    match checkpoint {
        None => found.rebuilt = StaleIndex::without_checkpoint(files.disk.as_ref())?,
        Some(_) if files.options.rebuild_index => {
            found.rebuilt = Some(StaleIndex::other(
                "the log was to be read from its start".to_owned(),
            ));
        }
        Some(Err(unusable)) => found.rebuilt = Some(unusable.into()),
        Some(Ok(_)) if found.cut.is_some() => {}
        Some(Ok(checkpoint)) => match resume(files, maintenance, checkpoint)? {
            Ok(_) if packs_lost.stale().is_some() => found.rebuilt = packs_lost.stale(),
            Ok((validator, view)) => return Ok(Some((validator, view, found))),
            Err(reason) => found.rebuilt = Some(reason),
        },
    }
    if found.rebuilt.is_some() && attempt.is_worth_another(files.disk.as_ref())? {
        return Ok(None);
    }
    *maintenance = MaintenanceState::default();
    files.forget_index()?;
    if files.mode == Mode::Write {
        packs_lost.note(files.disk.as_ref())?;
    }
    let (validator, view) = rebuild(files, maintenance)?;
    Ok(Some((validator, view, found)))
}

/// Takes up what the checkpoint says, and what came after it in the log, which is no shorter than
/// it was.
fn resume(
    files: &Files,
    maintenance: &mut MaintenanceState,
    checkpoint: Checkpoint,
) -> Result<Result<(CommitValidator, View), StaleIndex>, StoreError> {
    let unusable = |stale: StaleIndex| Ok(Err(stale));
    if checkpoint.shards != files.options.shards.get() {
        let (found, wanted) = (checkpoint.shards, files.options.shards);
        return unusable(StaleIndex::other(format!(
            "the index has {found} shards, {wanted} are asked for"
        )));
    }
    let parts = match checkpoint.parts() {
        Ok(parts) => parts,
        Err(damaged) => return unusable(damaged.into()),
    };
    let mut validator = match CommitValidator::remembering(files.federation, &checkpoint.validator)
    {
        Ok(validator) => validator,
        Err(source) => {
            return unusable(StaleIndex::checkpoint(format!(
                "its validator cannot be read: {source}"
            )));
        }
    };
    validator
        .genesis()
        .map_or(Ok(()), |genesis| is_founded_by(files, genesis))?;
    files
        .run_numbers
        .store(checkpoint.next_run, Ordering::SeqCst);
    let source: Arc<dyn commits::Source> = files.mender.clone();
    let commits = match Commits::open(
        files.disk.as_ref(),
        &checkpoint.domains(),
        &validator.frontier(),
        &source,
    ) {
        Ok(commits) => commits,
        Err(error) => return unusable(StaleIndex::file(&error)),
    };
    let index = match open_runs(files, &checkpoint, &commits) {
        Ok(index) => index,
        Err(error) => return unusable(StaleIndex::file(&error)),
    };
    if commits.frontier() != validator.frontier() {
        let what = "the commit tables end otherwise than it says";
        return unusable(StaleIndex::checkpoint(what.to_owned()));
    }
    match wrong_history(&validator, &commits) {
        Ok(None) => {}
        Ok(Some(site)) => {
            let what = format!("the history of site {site} is not that of its commit table");
            return unusable(StaleIndex::checkpoint(what));
        }
        Err(error) => return unusable(StaleIndex::file(&error)),
    }
    // The mark behind what was synced last may not be there.
    let through = checkpoint.through().min(files.log.view().end());
    if let Err(error) = files.log.entries_from(through) {
        return unusable(StaleIndex::checkpoint(format!(
            "the log has nothing where it ends: {error}"
        )));
    }
    let rule = validator
        .genesis()
        .map_or(ConflictRule::default(), |genesis| genesis.conflict_rule);
    let logseq_max = commits.logseq_max();
    let state = State::resume(
        rule,
        index,
        files.log.view(),
        commits,
        parts.sum,
        parts.conflicts,
        logseq_max,
    );
    let mut view = View::new(state);
    view.memtable_from = through;
    view.genesis = validator.genesis().cloned();
    (view.erased, view.testimony) = (parts.erased, parts.testimony);
    view.wanted = parts
        .wanted
        .into_iter()
        .filter(|(checksum, _)| view.may_want(checksum, &files.blocks))
        .collect();
    view.unaccepted = checkpoint.unaccepted;
    view.unaccepted_heads = checkpoint.unaccepted_heads();
    maintenance.resume(checkpoint);
    match replay(files, through, &mut validator, &mut view, maintenance) {
        Ok(()) => Ok(Ok((validator, view))),
        Err(StoreError::Read(error)) if error.is_of_index() => unusable(StaleIndex::file(&error)),
        Err(error) => Err(error),
    }
}

/// Whether the store's federation is the one that this genesis founds: no other gets into a log.
fn is_founded_by(files: &Files, genesis: &Genesis) -> Result<(), StoreError> {
    let (named, found) = (files.federation, genesis.federation_id());
    if named == found {
        Ok(())
    } else {
        Err(StoreError::OtherFederation { named, found })
    }
}

/// The index that a checkpoint names.
fn open_runs(
    files: &Files,
    checkpoint: &Checkpoint,
    commits: &Commits,
) -> Result<Index, ReadError> {
    let mut index = files.empty_index();
    let ordinals = Arc::new(commits.ordinals().clone());
    for stored in &checkpoint.runs {
        index.push_run(Arc::new(files.open_stored(stored, &ordinals)?));
    }
    Ok(index)
}

/// A site whose history in the checkpoint is another than its commit table gives. Most are held
/// against the header of the last commit, which is cheaper: the whole table is read of those sites
/// alone that have not gone over to version 2 of the header.
fn wrong_history(
    validator: &CommitValidator,
    commits: &Commits,
) -> Result<Option<SiteId>, ReadError> {
    for (site, before) in validator.unsigned_histories() {
        let mut peaks = Peaks::default();
        for hash in commits.hashes_of(&site) {
            if peaks.len() == before.len() {
                break;
            }
            peaks.push(hash?);
        }
        if peaks != *before {
            return Ok(Some(site));
        }
    }
    Ok(None)
}

/// What the log has lost, if the checkpoint says that it reached further: one of the version before
/// too, which tells no more.
fn log_cut(checkpoint: &Option<Result<Checkpoint, Unusable>>, end: LogPosition) -> Option<LogCut> {
    let (through, heads) = match checkpoint {
        Some(Ok(checkpoint)) => (
            checkpoint.through(),
            checkpoint.domains().into_iter().collect(),
        ),
        Some(Err(Unusable::Older { through, .. })) => ((*through)?, BTreeMap::new()),
        _ => return None,
    };
    // A crash may have lost the mark behind what was synced last; a reader does not write it again.
    let is_covered = through <= end || through == end.plus(log::MARK_LEN);
    (!is_covered).then_some(LogCut {
        end,
        through,
        heads,
    })
}

/// Validates and applies the whole log.
pub(super) fn rebuild(
    files: &Files,
    maintenance: &mut MaintenanceState,
) -> Result<(CommitValidator, View), StoreError> {
    let mut validator = CommitValidator::new(files.federation);
    let state = State::new(
        ConflictRule::default(),
        files.empty_index(),
        files.log.view(),
    );
    let mut view = View::new(state);
    freeze_proven(&mut files.log.entries(), &mut validator)?;
    replay(
        files,
        LogPosition::START,
        &mut validator,
        &mut view,
        maintenance,
    )?;
    Ok((validator, view))
}

/// Takes in the fork proofs among these entries: what they disprove must not be accepted from the
/// start.
fn freeze_proven(entries: &mut Entries, validator: &mut CommitValidator) -> Result<(), StoreError> {
    for found in entries {
        let found = found?;
        if found.kind == kind::FORK_PROOF {
            let proof = ForkProof::decode(&found.body).map_err(|source| StoreError::Entry {
                position: found.position,
                source,
            })?;
            validator.freeze(proof, &())?;
        }
    }
    Ok(())
}

/// Validates and applies the commits from a place in the log on, in the order they arrived; what
/// cannot be validated because of a proof is tried again until nothing more is accepted.
fn replay(
    files: &Files,
    from: LogPosition,
    validator: &mut CommitValidator,
    view: &mut View,
    maintenance: &mut MaintenanceState,
) -> Result<(), StoreError> {
    let mut waiting = Vec::new();
    // A reader finds no first segment where nothing was ever written.
    let entries = if from == LogPosition::START {
        files.log.entries()
    } else {
        files.log.entries_from(from)?
    };
    for found in entries {
        let found = found?;
        maintenance.spill(files, view, found.position)?;
        match found.kind {
            kind::COMMIT => {
                let commit = decode_commit(found.position, &found.body)?;
                if !accept(files, &commit, found.position, validator, view)? {
                    waiting.push(found.position);
                }
            }
            kind::FORK_PROOF => freeze(found.position, &found.body, validator, view)?,
            kind::REMOVAL => {
                let removal = Removal::decode(&found.body).map_err(|source| StoreError::Entry {
                    position: found.position,
                    source,
                })?;
                view.remove(&removal);
            }
            kind => {
                return Err(StoreError::UnknownEntry {
                    position: found.position,
                    kind,
                });
            }
        }
    }
    loop {
        let before = waiting.len();
        let mut still = Vec::new();
        for position in waiting {
            let commit = decode_commit(position, &files.log.read(position)?.body)?;
            if !accept(files, &commit, position, validator, view)? {
                still.push(position);
            }
        }
        waiting = still;
        if waiting.len() == before {
            break;
        }
    }
    view.unaccepted += waiting.len() as u64;
    for position in waiting {
        let commit = decode_commit(position, &files.log.read(position)?.body)?;
        if validator.genesis().is_none() {
            // Nothing is accepted: the federation may be another one's. Beside accepted commits, a
            // genesis proves nothing.
            commit
                .records()
                .iter()
                .try_for_each(|record| match record.content() {
                    Content::Genesis(genesis) => is_founded_by(files, genesis),
                    _ => Ok(()),
                })?;
        }
        view.note_unaccepted(commit.header().domain, commit.header().number);
    }
    view.settle(validator);
    validator.forget_recent();
    Ok(())
}

fn accept(
    files: &Files,
    commit: &Commit,
    position: LogPosition,
    validator: &mut CommitValidator,
    view: &mut View,
) -> Result<bool, ReadError> {
    Ok(match validator.validate(commit, view.state())? {
        Verdict::Accepted => {
            validator.accept(commit);
            view.take_rule(validator);
            let change = view.prepare(commit)?;
            let payloads = (files.options.payloads, &files.blocks);
            view.apply(commit, position, change, payloads);
            validator.forget_recent();
            true
        }
        Verdict::Known => true,
        Verdict::Testifies => {
            validator.testify(commit);
            view.take_rule(validator);
            view.testify(commit, position);
            true
        }
        Verdict::Parked(_) | Verdict::Forks(_) | Verdict::Rejected(_) => false,
    })
}

/// Takes in a fork proof: what it disproves of what was accepted is taken back.
fn freeze(
    position: LogPosition,
    body: &[u8],
    validator: &mut CommitValidator,
    view: &mut View,
) -> Result<(), StoreError> {
    let proof = ForkProof::decode(body).map_err(|source| StoreError::Entry { position, source })?;
    let (domain, number) = (proof.domain(), proof.number());
    validator.freeze(proof, view.state())?;
    if let Some(taken) = view.state().prepare_take_back(&domain, number)? {
        view.take_back(&domain, &taken, validator)?;
    }
    Ok(())
}
