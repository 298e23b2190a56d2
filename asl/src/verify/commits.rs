//! The accepted commits, read from the log one by one, each held against its chain.

use std::num::NonZeroUsize;
use std::thread;

use uor_index_format::chain::Chain;
use uor_index_format::commit::Commit;
use uor_index_format::id::HistoryRoot;
use uor_index_format::snapshot::Snapshot;

use crate::chain::{self, Before, Committed};
use crate::entry::decode_commit;
use crate::log::{LogPosition, LogView};
use crate::replay::{Reached, Replay, Replayed};
use crate::state::error::ReadError;
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::view::View;

/// Commits that are accepted, ascending by domain and number, and the log they are in.
pub(super) struct Commits {
    log: LogView,
    noted: Vec<(Committed, LogPosition)>,
    /// Of each, the root over those before it in its domain, where all of them could be read.
    histories: Vec<Option<HistoryRoot>>,
    /// What could not be read of the table of commits; some are not here then.
    pub(super) damages: Vec<ReadError>,
}

impl Commits {
    pub(super) fn of(view: &View) -> Self {
        let mut this = Self {
            log: view.state().log().clone(),
            noted: Vec::new(),
            histories: Vec::new(),
            damages: Vec::new(),
        };
        // Those of one domain, unless one of them could not be read.
        let mut chain = None;
        for row in view.state().commits().iter() {
            match row {
                Ok((domain, number, row)) => {
                    if number == 1 {
                        chain = Some(Chain::default());
                    }
                    let is_known = chain
                        .as_ref()
                        .is_some_and(|chain| chain.len() + 1 == number);
                    chain = chain.filter(|_| is_known);
                    this.histories.push(chain.as_ref().map(Chain::root));
                    if let Some(chain) = &mut chain {
                        chain.push(row.hash);
                    }
                    this.noted.push((
                        Committed {
                            domain,
                            number,
                            hash: row.hash,
                            logseq: row.logseq,
                        },
                        row.at,
                    ));
                }
                Err(damage) => {
                    chain = None;
                    this.damages.push(damage);
                }
            }
        }
        this
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.noted.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn noted(&self, index: u32) -> &Committed {
        &self.noted[index as usize].0
    }

    /// Reads and checks a commit: its frame, checksums, ids, signature, and that it continues its
    /// chain.
    pub(super) fn read(&self, index: u32) -> Result<Commit, StoreError> {
        let (noted, at) = self.noted[index as usize];
        let commit = decode_commit(at, &self.log.read(at)?.body)?;
        let (domain, number) = (noted.domain, noted.number);
        let before = match self.histories[index as usize] {
            None => Before::Unknown,
            Some(_) if number == 1 => Before::Nothing,
            Some(history) => Before::Known {
                last: *self.noted(index - 1),
                history,
            },
        };
        chain::check(&commit, &noted, &before).map_err(|source| StoreError::Chain {
            domain,
            number,
            source,
        })?;
        Ok(commit)
    }
}

impl Store {
    /// Replays the log in the one order up to `target` (specification §5), following each domain's
    /// chain.
    ///
    /// # Errors
    /// [`StoreError`] if the log cannot be read, or is no chain.
    pub fn replay(&self, target: &Snapshot) -> Result<Replayed, StoreError> {
        let (commits, replay) = self.replay_to(std::slice::from_ref(target))?;
        replay.entries(commits.len(), &|index| commits.read(index))
    }

    /// Replays the log up to each of these targets, reading it once; says what was reached for
    /// each.
    ///
    /// # Errors
    /// As [`Store::replay`].
    pub fn replay_many(&self, targets: &[Snapshot]) -> Result<Vec<Reached>, StoreError> {
        let (commits, replay) = self.replay_to(targets)?;
        replay.run(
            commits.len(),
            &|index| commits.read(index),
            &mut |_| {},
            None,
        )
    }

    fn replay_to<'a>(&self, targets: &'a [Snapshot]) -> Result<(Commits, Replay<'a>), StoreError> {
        let view = self.view();
        let mut commits = Commits::of(&view);
        match commits.damages.pop() {
            Some(damage) => Err(damage.into()),
            None => Ok((
                commits,
                Replay {
                    targets,
                    rule: view.state().rule(),
                    threads: threads(),
                },
            )),
        }
    }
}

pub(super) fn threads() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
