//! What one group of writers does: seal and judge every commit, make them durable with one sync,
//! then show them.

use std::borrow::Cow;
use std::sync::PoisonError;
use std::thread;

use uor_index_format::commit::{Commit, ForkProof, Link, Prepared};
use uor_index_format::id::Checksum;
use uor_index_format::key::SiteKey;

use super::error::{CommitError, StoreError};
use super::handle::Store;
use super::maintenance::state::MaintenanceState;
use super::recover::rebuild;
use super::removal::{Reason, Removal};
use super::view::View;
use super::work::{Done, Work};
use crate::chain::Committed;
use crate::entry::kind;
use crate::judge::{Judge, Refusal, Verdict};
use crate::log::Appended;
use crate::state::Change;

/// So many records are looked up in more time than starting a thread takes.
const PARALLEL_MIN: usize = 4096;

impl Store {
    pub(super) fn submit(&self, work: Work) -> Result<Done, StoreError> {
        Ok(self.group.submit(work, |group| {
            self.flush(group).map_err(|error| Box::new(error).into())
        })?)
    }

    /// Everything one group does; only one flush runs at a time.
    fn flush(&self, group: Vec<Work>) -> Result<Vec<Done>, StoreError> {
        let mut kept = self.judge();
        let mut judge = kept.take().ok_or(StoreError::Poisoned)?;
        let mut batch = Batch::default();
        let work = group
            .into_iter()
            .map(|work| self.take(work, &mut batch, &mut judge));
        let done = work.collect::<Result<_, _>>()?;
        self.write(&mut batch, &mut judge)?;
        *kept = Some(judge);
        drop(kept);
        self.maintain_if_due();
        Ok(done)
    }

    fn take(&self, work: Work, batch: &mut Batch, judge: &mut Judge) -> Result<Done, StoreError> {
        Ok(match work {
            Work::Local {
                key,
                prepared,
                wall_ms,
            } => Done::Local(batch.seal(&key, prepared, wall_ms, &self.view(), judge)),
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
        if batch.0.is_empty() {
            return Ok(());
        }
        self.blocks.sync()?;
        let bytes: Vec<(u8, Cow<'_, [u8]>)> = batch.0.iter().map(Item::entry).collect();
        let entries: Vec<_> = bytes
            .iter()
            .map(|(kind, bytes)| (*kind, bytes.as_ref()))
            .collect();
        let first = match batch.0.first() {
            Some(Item::Commit(commit)) => Some(commit),
            _ => None,
        };
        let large = first.filter(|commit| self.is_worth_a_thread(commit));
        let Some(first) = large else {
            return self.show(&batch, self.append(&entries)?, None, judge);
        };
        // The disk and the index are two different things to wait for.
        let (appended, change) = thread::scope(|scope| {
            let change = scope.spawn(|| self.view().prepare(first));
            (
                self.append(&entries),
                change
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            )
        });
        self.show(&batch, appended?, Some(change?), judge)
    }

    /// Whether looking up what a commit changes takes longer than starting a thread; nothing can be
    /// looked up before the rules are known.
    fn is_worth_a_thread(&self, commit: &Commit) -> bool {
        commit.records().len() >= PARALLEL_MIN && self.view().genesis().is_some()
    }

    fn append(&self, entries: &[(u8, &[u8])]) -> Result<Appended, StoreError> {
        let appended = self.log.append_batch(entries)?;
        self.log.sync()?;
        Ok(appended)
    }

    /// Judges the whole log again: the index is beyond mending. What maintenance knows of the
    /// index is given up when it is next at work.
    pub(super) fn start_anew(&self, judge: &mut Judge) -> Result<(), StoreError> {
        let mut maintenance = MaintenanceState::after(&self.view());
        let (judged_anew, mut view) = rebuild(self, &mut maintenance)?;
        view.beginning = maintenance.beginning();
        *judge = judged_anew;
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = view;
        Ok(())
    }

    /// Lets everyone see a batch that is durable; `first` is what its first commit changes, if that
    /// is known.
    fn show(
        &self,
        batch: &Batch,
        appended: Appended,
        mut first: Option<Change>,
        judge: &mut Judge,
    ) -> Result<(), StoreError> {
        let positions = appended.positions.clone();
        let write = || self.view.write().unwrap_or_else(PoisonError::into_inner);
        let mut view = write();
        view.take_log(appended);
        view.take_rule(judge);
        drop(view);
        for (item, position) in batch.0.iter().zip(positions) {
            match item {
                Item::Commit(commit) => {
                    // Looking things up holds up no reader; only writing does.
                    let change = first
                        .take()
                        .map_or_else(|| self.view().prepare(commit), Ok)?;
                    let payloads = (self.options.payloads, &self.blocks);
                    write().apply(commit, position, change, payloads);
                }
                Item::Testimony(commit) => write().testify(commit, position),
                Item::Proof(proof) => {
                    let taken = self
                        .view()
                        .state()
                        .prepare_take_back(&proof.domain(), proof.number())?;
                    taken.map_or(Ok(()), |taken| {
                        write().take_back(&proof.domain(), &taken, judge)
                    })?;
                }
                Item::Removal(removal) => write().remove(removal),
            }
        }
        write().settle(judge);
        judge.forget_recent();
        Ok(())
    }

    /// Notes in the log, durably, that payloads are removed: those that `choose` names, while
    /// nothing is committed.
    pub(super) fn note_removal(
        &self,
        reason: Reason,
        wall_ms: u64,
        choose: impl FnOnce() -> Result<Vec<Checksum>, StoreError>,
    ) -> Result<(), StoreError> {
        let mut kept = self.judge();
        let checksums = choose()?;
        let mut judge = kept.take().ok_or(StoreError::Poisoned)?;
        let removal = |checksums: &[Checksum]| Removal {
            reason,
            wall_ms,
            checksums: checksums.to_vec(),
        };
        let removals = checksums
            .chunks(Removal::COUNT_MAX)
            .map(removal)
            .map(Item::Removal);
        self.write(&mut Batch(removals.collect()), &mut judge)?;
        *kept = Some(judge);
        Ok(())
    }
}

/// What one flush appends, in the order in which it was judged: whoever reads the log judges in the
/// same order.
#[derive(Default)]
struct Batch(Vec<Item>);

enum Item {
    Commit(Commit),
    /// A commit that does not count, for what it says of membership.
    Testimony(Commit),
    Proof(ForkProof),
    Removal(Removal),
}

impl Item {
    /// Its kind and bytes in the log.
    fn entry(&self) -> (u8, Cow<'_, [u8]>) {
        match self {
            Self::Commit(commit) | Self::Testimony(commit) => {
                (kind::COMMIT, commit.as_bytes().into())
            }
            Self::Proof(proof) => (kind::FORK_PROOF, proof.encode().into()),
            Self::Removal(removal) => (kind::REMOVAL, removal.encode().into()),
        }
    }
}

impl Batch {
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
        // A number that others may know is never used again, be it that what had it no longer
        // counts.
        if let Some(proof) = judge.forks().get(&domain) {
            return Err(Refusal::Frozen {
                number: proof.number(),
            }
            .into());
        }
        if let Some(number) = view
            .uncounted_head(&domain)
            .filter(|number| head.is_none_or(|head| head.number < *number))
        {
            let reason =
                format!("its commits up to number {number} are in the log, and do not count");
            return Err(CommitError::Parked { reason });
        }
        let (learned, federation) = judge.membership_for(&domain, prepared.learned_room());
        let link = Link {
            number: head.map_or(1, |head| head.number + 1),
            history: judge
                .history(&domain)
                .expect("commits are taken back by a proof, and there is none"),
            logseq: judge
                .logseq_max()
                .next()
                .ok_or(CommitError::ClockExhausted)?,
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
            Verdict::Parked(reason) => Err(CommitError::Parked {
                reason: reason.to_string(),
            }),
            Verdict::Forks(proof) => Err(Refusal::Frozen {
                number: proof.number(),
            }
            .into()),
        }
    }

    /// Judges a commit, and keeps it if it counts or testifies. One that shows a fork may testify
    /// as soon as that is proven.
    fn merge(
        &mut self,
        commit: Commit,
        patience: u64,
        view: &View,
        judge: &mut Judge,
    ) -> Result<Verdict, StoreError> {
        let verdict = judge.judge(&commit, view.state())?;
        match &verdict {
            Verdict::Counts => {
                if let Some(reason) = judge.hold_back(&commit, patience) {
                    return Ok(Verdict::Parked(reason));
                }
                judge.admit(&commit);
                self.0.push(Item::Commit(commit));
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
            self.0.push(Item::Testimony(commit));
        }
    }

    fn freeze(
        &mut self,
        proof: ForkProof,
        view: &View,
        judge: &mut Judge,
    ) -> Result<bool, StoreError> {
        let news = judge.freeze(proof.clone(), view.state())?;
        if news {
            self.0.push(Item::Proof(proof));
        }
        Ok(news)
    }
}
