//! What one group of writers does: seal and validate every commit, make them durable with one sync,
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
use crate::log::Appended;
use crate::state::Change;
use crate::validator::{CommitValidator, Rejection, Verdict};

/// From this many records on, looking them up takes longer than starting a thread.
const PARALLEL_MIN: usize = 4096;

impl Store {
    pub(super) fn submit(&self, work: Work) -> Result<Done, StoreError> {
        Ok(self.group.submit(work, |group| {
            self.flush(group).map_err(|error| Box::new(error).into())
        })?)
    }

    /// Everything one group does; only one flush runs at a time.
    fn flush(&self, group: Vec<Work>) -> Result<Vec<Done>, StoreError> {
        let mut kept = self.validator();
        let mut validator = kept.take().ok_or(StoreError::Poisoned)?;
        let mut batch = Batch::default();
        let work = group
            .into_iter()
            .map(|work| self.take(work, &mut batch, &mut validator));
        let done = work.collect::<Result<_, _>>()?;
        self.write(&mut batch, &mut validator)?;
        *kept = Some(validator);
        drop(kept);
        self.maintain_if_due();
        Ok(done)
    }

    fn take(
        &self,
        work: Work,
        batch: &mut Batch,
        validator: &mut CommitValidator,
    ) -> Result<Done, StoreError> {
        Ok(match work {
            Work::Local {
                key,
                prepared,
                wall_ms,
            } => Done::Local(batch.seal(&key, prepared, wall_ms, &self.view(), validator)),
            Work::Merge { commits, patience } => {
                let merge = |commit| batch.merge(commit, patience, &self.view(), validator);
                Done::Merged(commits.into_iter().map(merge).collect::<Result<_, _>>()?)
            }
            Work::Freeze(proof) => Done::Frozen(batch.freeze(*proof, &self.view(), validator)?),
        })
    }

    /// Makes a batch durable, then visible.
    fn write(&self, batch: &mut Batch, validator: &mut CommitValidator) -> Result<(), StoreError> {
        let batch = std::mem::take(batch);
        if batch.0.is_empty() {
            return Ok(());
        }
        self.files.blocks.sync()?;
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
            return self.show(&batch, self.append(&entries)?, None, validator);
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
        self.show(&batch, appended?, Some(change?), validator)
    }

    /// Whether looking up what a commit changes takes longer than starting a thread; nothing can be
    /// looked up before the rules are known.
    fn is_worth_a_thread(&self, commit: &Commit) -> bool {
        commit.records().len() >= PARALLEL_MIN && self.view().genesis().is_some()
    }

    fn append(&self, entries: &[(u8, &[u8])]) -> Result<Appended, StoreError> {
        let appended = self.files.log.append_batch(entries)?;
        self.files.log.sync()?;
        Ok(appended)
    }

    /// Rebuilds everything from the log: the index is beyond mending. What maintenance knows of the
    /// index is given up when it is next at work.
    pub(super) fn rebuild_from_log(
        &self,
        validator: &mut CommitValidator,
    ) -> Result<(), StoreError> {
        let mut maintenance = MaintenanceState::after(&self.view());
        let (revalidated, mut view) = rebuild(&self.files, &mut maintenance)?;
        view.beginning = maintenance.beginning();
        *validator = revalidated;
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
        validator: &mut CommitValidator,
    ) -> Result<(), StoreError> {
        let positions = appended.positions.clone();
        let write = || self.view.write().unwrap_or_else(PoisonError::into_inner);
        let mut view = write();
        view.take_log(appended);
        view.take_rule(validator);
        drop(view);
        for (item, position) in batch.0.iter().zip(positions) {
            match item {
                Item::Commit(commit) => {
                    // Looking things up holds up no reader; only writing does.
                    let change = first
                        .take()
                        .map_or_else(|| self.view().prepare(commit), Ok)?;
                    let payloads = (self.files.options.payloads, &self.files.blocks);
                    write().apply(commit, position, change, payloads);
                }
                Item::Testimony(commit) => write().testify(commit, position),
                Item::Proof(proof) => {
                    let taken = self
                        .view()
                        .state()
                        .prepare_take_back(&proof.domain(), proof.number())?;
                    taken.map_or(Ok(()), |taken| {
                        write().take_back(&proof.domain(), &taken, validator)
                    })?;
                }
                Item::Removal(removal) => write().remove(removal),
            }
        }
        write().settle(validator);
        validator.forget_recent();
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
        let mut kept = self.validator();
        let checksums = choose()?;
        let mut validator = kept.take().ok_or(StoreError::Poisoned)?;
        let removal = |checksums: &[Checksum]| Removal {
            reason,
            wall_ms,
            checksums: checksums.to_vec(),
        };
        let removals = checksums
            .chunks(Removal::COUNT_MAX)
            .map(removal)
            .map(Item::Removal);
        self.write(&mut Batch(removals.collect()), &mut validator)?;
        *kept = Some(validator);
        Ok(())
    }
}

/// What one flush appends, in the order in which it was validated: whoever reads the log validates
/// in the same order.
#[derive(Default)]
struct Batch(Vec<Item>);

enum Item {
    Commit(Commit),
    /// A commit that is not accepted, for what it says of membership.
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
        validator: &mut CommitValidator,
    ) -> Result<Committed, CommitError> {
        let domain = key.site_id();
        let head = validator.head(&domain);
        // A number that others may know is never used again, be it that what had it is no longer
        // accepted.
        if let Some(proof) = validator.forks().get(&domain) {
            return Err(Rejection::Frozen {
                number: proof.number(),
            }
            .into());
        }
        if let Some(number) = view
            .unaccepted_head(&domain)
            .filter(|number| head.is_none_or(|head| head.number < *number))
        {
            let reason =
                format!("its commits up to number {number} are in the log, and do not count");
            return Err(CommitError::Parked { reason });
        }
        let (learned, federation) = validator.membership_for(&domain, prepared.learned_room());
        let link = Link {
            number: head.map_or(1, |head| head.number + 1),
            history: validator
                .history(&domain)
                .expect("commits are taken back by a proof, and there is none"),
            logseq: validator
                .logseq_max()
                .next()
                .ok_or(CommitError::ClockExhausted)?,
            federation,
            wall_ms,
            learned,
        };
        let commit = prepared.seal(link, key)?;
        let committed = Committed::of(&commit);
        match self.merge(commit, 1, view, validator)? {
            Verdict::Accepted | Verdict::Known => Ok(committed),
            Verdict::Testifies => unreachable!("a domain that is frozen seals nothing"),
            Verdict::Rejected(rejection) => Err(rejection.into()),
            Verdict::Parked(reason) => Err(CommitError::Parked {
                reason: reason.to_string(),
            }),
            Verdict::Forks(proof) => Err(Rejection::Frozen {
                number: proof.number(),
            }
            .into()),
        }
    }

    /// Validates a commit, and keeps it if it is accepted or testifies. One that shows a fork may
    /// testify as soon as that is proven.
    fn merge(
        &mut self,
        commit: Commit,
        patience: u64,
        view: &View,
        validator: &mut CommitValidator,
    ) -> Result<Verdict, StoreError> {
        let verdict = validator.validate(&commit, view.state())?;
        match &verdict {
            Verdict::Accepted => {
                if let Some(reason) = validator.hold_back(&commit, patience) {
                    return Ok(Verdict::Parked(reason));
                }
                validator.accept(&commit);
                self.0.push(Item::Commit(commit));
            }
            Verdict::Testifies => self.testify(commit, validator),
            Verdict::Forks(proof) => {
                self.freeze((**proof).clone(), view, validator)?;
                if validator.validate(&commit, view.state())? == Verdict::Testifies {
                    self.testify(commit, validator);
                }
            }
            Verdict::Known | Verdict::Parked(_) | Verdict::Rejected(_) => {}
        }
        Ok(verdict)
    }

    fn testify(&mut self, commit: Commit, validator: &mut CommitValidator) {
        if validator.takes_testimony(&commit) {
            validator.testify(&commit);
            self.0.push(Item::Testimony(commit));
        }
    }

    fn freeze(
        &mut self,
        proof: ForkProof,
        view: &View,
        validator: &mut CommitValidator,
    ) -> Result<bool, StoreError> {
        let news = validator.freeze(proof.clone(), view.state())?;
        if news {
            self.0.push(Item::Proof(proof));
        }
        Ok(news)
    }
}
