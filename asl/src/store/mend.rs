//! Mending the index: what is damaged of it is found in the log again, when it is first touched.
//!
//! Readers wait for that, and get the answer they asked for. A writer then puts what was found in
//! the place of the damaged file (`maintenance.rs`). What cannot be had in this way makes a writer
//! give up the index and rebuild everything from the log.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uor_index_format::chain::{Chain, History};
use uor_index_format::commit::CommitHeader;
use uor_index_format::commit::unverified::UnverifiedHeader;
use uor_index_format::id::{CommitHash, SiteId};

use super::error::StoreError;
use super::maintenance::wakeup::Wakeup;
use crate::commits::{self, CommitRow};
use crate::entry::{commit_header, for_each_record};
use crate::index::{self, Class, CommitRef, IndexError, RunBuilder};
use crate::log::{Entry, Log, LogError, LogPosition};
use crate::state::error::ReadError;

/// Finds in the log what the index has lost.
pub(super) struct Mender {
    log: Arc<Log>,
    /// What was damaged, in words, and what came of it.
    reported: Mutex<Vec<String>>,
    /// Whether something could not be mended.
    is_beyond_mending: AtomicBool,
    /// Notified when there is something to write.
    wakeup: Arc<Wakeup>,
}

/// A run of the index, to be rebuilt.
pub(super) struct RunSource {
    pub(super) mender: Arc<Mender>,
    pub(super) number: u32,
    pub(super) range: (LogPosition, LogPosition),
    pub(super) shards: u32,
    pub(super) ordinals: Arc<BTreeMap<SiteId, u32>>,
}

impl Mender {
    pub(super) fn new(log: Arc<Log>, wakeup: Arc<Wakeup>) -> Self {
        Self {
            log,
            reported: Mutex::default(),
            is_beyond_mending: AtomicBool::new(false),
            wakeup,
        }
    }

    /// Whether something could not be mended since this was asked last.
    pub(super) fn take_beyond_mending(&self) -> bool {
        self.is_beyond_mending.swap(false, Ordering::SeqCst)
    }

    /// What was damaged, in words, and what came of it.
    pub(super) fn reported(&self) -> MutexGuard<'_, Vec<String>> {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_of(&self, damage: &dyn Error, unmended: Option<&str>) {
        let outcome = match unmended {
            None => "what belongs there was found in the log".to_owned(),
            Some(why) => {
                self.is_beyond_mending.store(true, Ordering::SeqCst);
                format!("what belongs there could not be found in the log: {why}")
            }
        };
        self.reported().push(format!("{damage}; {outcome}"));
        self.wakeup.notify();
    }

    /// The commits of `site` in the log up to number `len`, by number: of each its row, and what it
    /// names as the commits before it.
    fn commits_of(
        &self,
        site: &SiteId,
        len: u64,
    ) -> Result<BTreeMap<u64, Vec<(CommitRow, History)>>, LogError> {
        let mut found: BTreeMap<u64, Vec<_>> = BTreeMap::new();
        for found_entry in self.log.entries() {
            let found_entry = found_entry?;
            let (named, Entry { position, body, .. }) = (commit_header(&found_entry), found_entry);
            if named.is_none_or(|named| named.domain != *site || named.number > len) {
                continue;
            }
            // The signature is no proof against its own writer; that they name each other is.
            let header = body.get(..CommitHeader::LEN).map(CommitHeader::decode);
            if let Some(Ok(header)) = header {
                let row = CommitRow {
                    at: position,
                    logseq: header.logseq,
                    hash: header.hash(),
                };
                found
                    .entry(header.number)
                    .or_insert_with(|| Vec::with_capacity(1))
                    .push((row, header.history));
            }
        }
        Ok(found)
    }
}

impl commits::Source for Mender {
    fn rows(&self, site: &SiteId, len: u64, last: CommitHash) -> Result<Vec<CommitRow>, String> {
        let mut found = self
            .commits_of(site, len)
            .map_err(|error| error.to_string())?;
        let is_missing = |number| format!("commit {number} of site {site} is not there");
        let mut branches = Branches::default();
        for number in 1..=len {
            let found = found.remove(&number).unwrap_or_default();
            if !branches.grow(found) {
                return Err(is_missing(number));
            }
        }
        branches
            .rows_to(last)
            .ok_or_else(|| format!("{}: none has the hash {last}", is_missing(len)))
    }

    fn tell(&self, damage: &ReadError, unmended: Option<&str>) {
        self.tell_of(damage, unmended);
    }
}

impl index::Source for RunSource {
    fn lay_out(&self, shard: u32, commits: Option<&[CommitRef]>) -> Result<Vec<u8>, String> {
        let known: Option<BTreeSet<(u32, u64)>> = commits.map(|commits| {
            commits
                .iter()
                .map(|commit| (commit.domain, commit.number))
                .collect()
        });
        let mut builder = RunBuilder::for_shards(self.shards, shard..shard + 1);
        let accepted = |_, named: UnverifiedHeader| {
            let domain = self.ordinals.get(&named.domain).copied();
            let domain = domain.filter(|domain| {
                known
                    .as_ref()
                    .is_none_or(|known| known.contains(&(*domain, named.number)))
            });
            Ok(domain.map(|domain| CommitRef {
                domain,
                number: named.number,
                logseq: named.logseq,
            }))
        };
        let log = self.mender.log.view();
        let files = read_range(&self.mender.log, self.range, accepted, &mut builder)
            .and_then(|()| Ok(builder.encode(self.number, &log)?));
        files
            .map(|files| files.concat())
            .map_err(|error| error.to_string())
    }

    fn tell(&self, damage: &IndexError, unmended: Option<&str>) {
        self.mender.tell_of(damage, unmended);
    }
}

/// The commits of one domain as they name each other. Of a domain that forked, more than one can
/// lie in the log under one number; what is named by the last accepted one is the chain.
#[derive(Default)]
struct Branches {
    /// By number: rows, and the place of each one's predecessor among those before.
    levels: Vec<Vec<(CommitRow, usize)>>,
    /// The chains up to those of the last number.
    tips: Vec<Chain>,
}

impl Branches {
    /// Takes in the commits of the next number. Returns whether one of them continues what is here.
    fn grow(&mut self, found: Vec<(CommitRow, History)>) -> bool {
        let before = match self.levels.is_empty() {
            true => vec![Chain::default()],
            false => std::mem::take(&mut self.tips),
        };
        // Two chains with one history are the same.
        let named: BTreeMap<History, usize> = (0..)
            .zip(&before)
            .flat_map(|(place, chain)| {
                let previous = History::Previous(chain.last());
                [(previous, place), (chain.history(), place)]
            })
            .collect();
        let (mut level, mut taken) = (Vec::with_capacity(1), BTreeSet::new());
        for (row, history) in found {
            let Some(place) = named.get(&history).copied() else {
                continue;
            };
            // What lies in the log twice is taken once.
            if taken.insert(row.hash) {
                let mut chain = before[place].clone();
                chain.push(row.hash);
                level.push((row, place));
                self.tips.push(chain);
            }
        }
        self.levels.push(level);
        !self.tips.is_empty()
    }

    /// The rows of the chain whose last commit has this hash, ascending.
    fn rows_to(&self, last: CommitHash) -> Option<Vec<CommitRow>> {
        let mut place = self
            .levels
            .last()?
            .iter()
            .position(|(row, _)| row.hash == last)?;
        let mut rows = Vec::with_capacity(self.levels.len());
        for level in self.levels.iter().rev() {
            let (row, before) = level[place];
            rows.push(row);
            place = before;
        }
        rows.reverse();
        Some(rows)
    }
}

/// Reads the records of those commits in a range of the log that `accepted` names.
fn read_range(
    log: &Log,
    range: (LogPosition, LogPosition),
    accepted: impl Fn(LogPosition, UnverifiedHeader) -> Result<Option<CommitRef>, StoreError>,
    builder: &mut RunBuilder,
) -> Result<(), StoreError> {
    // A reader finds no first segment where nothing was ever written.
    let entries = if range.0 == LogPosition::START {
        log.entries()
    } else {
        log.entries_from(range.0)?
    };
    for found in entries {
        let found = found?;
        if found.position >= range.1 {
            break;
        }
        let commit =
            commit_header(&found).map_or(Ok(None), |named| accepted(found.position, named))?;
        let Some(commit) = commit else { continue };
        take_records(commit, found.position, &found.body, builder)?;
    }
    Ok(())
}

/// Takes the records of the commit in the entry at `position` into a run.
pub(super) fn take_records(
    commit: CommitRef,
    position: LogPosition,
    body: &[u8],
    builder: &mut RunBuilder,
) -> Result<(), StoreError> {
    let code = builder.begin_commit(commit);
    for_each_record(position, body, |at, header| {
        builder.push(
            header.id.prefix(),
            at,
            Class {
                kind: header.kind,
                type_tag: header.type_tag,
            },
            code,
        );
    })
    .map_err(|source| StoreError::Entry { position, source })
}
