//! What one group of writers does: seal and judge every commit, make them durable with one sync, then show them.

use std::sync::PoisonError;
use std::thread;

use uor_index_format::commit::{Commit, ForkProof, Link, Prepared};
use uor_index_format::id::{Checksum, CommitHash};
use uor_index_format::key::SiteKey;

use super::removal::{Reason, Removal};
use super::{CommitError, Committed, Store, StoreError, StoreErrorInGroup, View, entry};
use crate::judge::{Judge, Refusal, Verdict};
use crate::log::Appended;
use crate::state::Change;

/// So many records are looked up in more time than starting a thread takes.
const PARALLEL_MIN: usize = 4096;

pub(super) enum Work {
    Local { key: Box<SiteKey>, prepared: Prepared, wall_ms: u64 },
    Merge { commits: Vec<Commit>, patience: u64 },
    Freeze(Box<ForkProof>),
}

pub(super) enum Done {
    Local(Result<Committed, CommitError>),
    Merged(Vec<Verdict>),
    Frozen(bool),
}

impl Store {
    pub(super) fn submit(&self, work: Work) -> Result<Done, StoreError> {
        Ok(self.group.submit(work, |group| self.flush(group).map_err(|error| StoreErrorInGroup(Box::new(error))))?)
    }

    /// Everything one group does; only one flush runs at a time.
    fn flush(&self, group: Vec<Work>) -> Result<Vec<Done>, StoreError> {
        let mut kept = self.judge();
        let mut judge = kept.take().ok_or(StoreError::Poisoned)?;
        let mut batch = Batch::default();
        let work = group.into_iter().map(|work| self.take(work, &mut batch, &mut judge));
        let done = work.collect::<Result<_, _>>()?;
        self.write(&mut batch, &mut judge)?;
        *kept = Some(judge);
        drop(kept);
        self.keep_up();
        Ok(done)
    }

    fn take(&self, work: Work, batch: &mut Batch, judge: &mut Judge) -> Result<Done, StoreError> {
        Ok(match work {
            Work::Local { key, prepared, wall_ms } => {
                Done::Local(batch.seal(&key, prepared, wall_ms, &self.view(), judge))
            }
            Work::Merge { commits, patience } => {
                let merge = |commit| batch.merge(commit, patience, &self.view(), judge);
                Done::Merged(commits.into_iter().map(merge).collect::<Result<_, _>>()?)
            }
            Work::Freeze(proof) => Done::Frozen(batch.freeze(*proof, &self.view(), judge)?),
        })
    }

    /// Makes a batch durable, then visible.
    fn write(&self, batch: &mut Batch, judge: &mut Judge) -> Result<(), StoreError> {
        let batch = std::mem::take(batch);
        if batch.is_empty() {
            return Ok(());
        }
        self.blocks.sync()?;
        let proofs: Vec<_> = batch.proofs.iter().map(ForkProof::encode).collect();
        let removals: Vec<_> = batch.removals.iter().map(Removal::encode).collect();
        let commits = batch.commits.iter().map(|commit| (entry::COMMIT, commit.as_bytes()));
        let testimony = batch.testimony.iter().map(|commit| (entry::COMMIT, commit.as_bytes()));
        let proofs = proofs.iter().map(|bytes| (entry::FORK_PROOF, bytes.as_slice()));
        let removals = removals.iter().map(|bytes| (entry::REMOVAL, bytes.as_slice()));
        let entries: Vec<_> = commits.chain(testimony).chain(proofs).chain(removals).collect();
        let large = batch.commits.first().filter(|commit| self.is_worth_a_thread(commit));
        let Some(first) = large else { return self.show(&batch, self.append(&entries)?, None, judge) };
        // The disk and the index are two different things to wait for.
        let (appended, change) = thread::scope(|scope| {
            let change = scope.spawn(|| self.view().prepare(first));
            (self.append(&entries), change.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        self.show(&batch, appended?, Some(change?), judge)
    }

    /// Whether looking up what a commit changes takes longer than starting a thread; nothing can be looked up before the
    /// rules are known.
    fn is_worth_a_thread(&self, commit: &Commit) -> bool {
        commit.records().len() >= PARALLEL_MIN && self.view().genesis().is_some()
    }

    fn append(&self, entries: &[(u8, &[u8])]) -> Result<Appended, StoreError> {
        let appended = self.log.append_batch(entries)?;
        self.log.sync()?;
        Ok(appended)
    }

    /// Lets everyone see a batch that is durable; `first` is what its first commit changes, if that is known.
    fn show(
        &self,
        batch: &Batch,
        appended: Appended,
        mut first: Option<Change>,
        judge: &mut Judge,
    ) -> Result<(), StoreError> {
        let positions = appended.positions.clone();
        let (positions, testified) = positions.split_at(batch.commits.len());
        let write = || self.view.write().unwrap_or_else(PoisonError::into_inner);
        let mut view = write();
        view.take_log(appended);
        view.take_rule(judge);
        drop(view);
        for (commit, position) in batch.commits.iter().zip(positions.iter().copied()) {
            // Looking things up holds up no reader; only writing does.
            let change = first.take().map_or_else(|| self.view().prepare(commit), Ok)?;
            write().apply(commit, position, change, self);
        }
        for proof in &batch.proofs {
            let taken = self.view().state().prepare_take_back(&proof.domain(), proof.number())?;
            taken.map_or(Ok(()), |taken| write().take_back(&proof.domain(), &taken, judge))?;
        }
        let mut view = write();
        batch.testimony.iter().zip(testified).for_each(|(commit, position)| view.testify(commit, *position));
        batch.removals.iter().for_each(|removal| view.remove(removal));
        view.settle(judge);
        judge.forget_recent();
        Ok(())
    }

    /// Notes in the log, durably, that payloads are removed: those that `choose` names, while nothing is committed.
    pub(super) fn note_removal(
        &self,
        reason: Reason,
        wall_ms: u64,
        choose: impl FnOnce() -> Result<Vec<Checksum>, StoreError>,
    ) -> Result<(), StoreError> {
        let mut kept = self.judge();
        let checksums = choose()?;
        let mut judge = kept.take().ok_or(StoreError::Poisoned)?;
        let removal = |checksums: &[Checksum]| Removal { reason, wall_ms, checksums: checksums.to_vec() };
        let removals = checksums.chunks(Removal::COUNT_MAX).map(removal).collect();
        self.write(&mut Batch { removals, ..Batch::default() }, &mut judge)?;
        *kept = Some(judge);
        Ok(())
    }
}

/// What one flush appends.
#[derive(Default)]
struct Batch {
    commits: Vec<Commit>,
    /// Commits that do not count, for what they say of membership.
    testimony: Vec<Commit>,
    proofs: Vec<ForkProof>,
    removals: Vec<Removal>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.commits.is_empty() && self.testimony.is_empty() && self.proofs.is_empty() && self.removals.is_empty()
    }

    fn seal(
        &mut self,
        key: &SiteKey,
        prepared: Prepared,
        wall_ms: u64,
        view: &View,
        judge: &mut Judge,
    ) -> Result<Committed, CommitError> {
        let domain = key.site_id();
        let head = judge.head(&domain);
        // A number that others may know is never used again, be it that what had it no longer counts.
        if let Some(proof) = judge.forks().get(&domain) {
            return Err(Refusal::Frozen { number: proof.number() }.into());
        }
        if let Some(number) =
            view.uncounted_head(&domain).filter(|number| head.is_none_or(|head| head.number < *number))
        {
            let reason = format!("its commits up to number {number} are in the log, and do not count");
            return Err(CommitError::Parked { reason });
        }
        let (learned, federation) = judge.membership_for(&domain, prepared.learned_room());
        let link = Link {
            number: head.map_or(1, |head| head.number + 1),
            previous: head.map_or(CommitHash::NONE, |head| head.hash),
            logseq: judge.logseq_max().next().ok_or(CommitError::ClockExhausted)?,
            federation,
            wall_ms,
            learned,
        };
        let commit = prepared.seal(link, key)?;
        let committed = Committed::of(&commit);
        match self.merge(commit, 1, view, judge)? {
            Verdict::Counts | Verdict::Known => Ok(committed),
            Verdict::Testifies => unreachable!("a domain that is frozen seals nothing"),
            Verdict::Refused(refusal) => Err(refusal.into()),
            Verdict::Parked(reason) => Err(CommitError::Parked { reason: reason.to_string() }),
            Verdict::Forks(proof) => Err(Refusal::Frozen { number: proof.number() }.into()),
        }
    }

    /// Judges a commit, and keeps it if it counts or testifies. One that shows a fork may testify as soon as that is proven.
    fn merge(&mut self, commit: Commit, patience: u64, view: &View, judge: &mut Judge) -> Result<Verdict, StoreError> {
        let verdict = judge.judge(&commit, view.state())?;
        match &verdict {
            Verdict::Counts => {
                if let Some(reason) = judge.hold_back(&commit, patience) {
                    return Ok(Verdict::Parked(reason));
                }
                judge.admit(&commit);
                self.commits.push(commit);
            }
            Verdict::Testifies => self.testify(commit, judge),
            Verdict::Forks(proof) => {
                self.freeze((**proof).clone(), view, judge)?;
                if judge.judge(&commit, view.state())? == Verdict::Testifies {
                    self.testify(commit, judge);
                }
            }
            Verdict::Known | Verdict::Parked(_) | Verdict::Refused(_) => {}
        }
        Ok(verdict)
    }

    fn testify(&mut self, commit: Commit, judge: &mut Judge) {
        if judge.takes_testimony(&commit) {
            judge.testify(&commit);
            self.testimony.push(commit);
        }
    }

    fn freeze(&mut self, proof: ForkProof, view: &View, judge: &mut Judge) -> Result<bool, StoreError> {
        let news = judge.freeze(proof.clone(), view.state())?;
        if news {
            self.proofs.push(proof);
        }
        Ok(news)
    }
}
