//! Proving a store from its bytes up, without modifying anything.
//!
//! Opening trusts what is checked when it is touched; here everything is touched. Every frame and
//! page of the log is read from the disk, every page of the index and every payload; each domain's
//! chain and signatures are followed; the kept state is held against sequential replay of the log;
//! and each damaged place is traced to the artifacts it spoils.

mod commits;
mod index;
mod unaccepted;

use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use uor_index_format::id::{CanonicalId, SiteId, StateRoot};
use uor_index_format::record::Kind;
use uor_index_format::state::Entry;

use self::commits::{Commits, threads};
pub use self::unaccepted::Unaccepted;
use crate::blocks::BlockDamage;
use crate::damage::Damage;
use crate::disk::{Context as _, DiskError, Mode, list_numbered};
use crate::error::with_causes;
use crate::log::{LogError, LogVerified};
use crate::replay::{Reached, Replay};
use crate::state::{Filter, ReadError};
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::naming::naming;
use crate::store::view::View;

/// How far verification has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Bytes of the log: read so far, and in all.
    Log(u64, u64),
    /// The index's pages are being read.
    Index,
    /// Payload bytes: read so far, and in all.
    Payloads(u64, u64),
    /// Commits replayed: read so far, and in all.
    Replay(u64, u64),
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// Bytes of the log are not those that were written.
    Log {
        /// The segment's file, where one is to blame.
        file: Option<String>,
        /// Where in it.
        offset: Option<u64>,
        /// What is wrong, in words.
        what: String,
    },
    /// Bytes of the index are not those that were written. It can be rebuilt: remove the directory
    /// `index`.
    Index {
        /// The file, where one is to blame.
        file: Option<String>,
        /// Where in it.
        offset: Option<u64>,
        /// What is wrong, in words.
        what: String,
    },
    /// A commit lies in the log that could never have been accepted.
    Unaccepted(Unaccepted),
    /// A commit cannot be read, is not validly signed, or does not continue its domain's chain.
    Chain {
        /// The domain.
        domain: SiteId,
        /// The commit's number.
        number: u64,
        /// What is wrong, in words.
        what: String,
    },
    /// Bytes of a block are not those that were written.
    Block {
        /// Where and what.
        damage: BlockDamage,
        /// Artifacts and receipts whose bytes it spoils.
        keys: Vec<CanonicalId>,
    },
    /// The state that was kept up incrementally is not what sequential replay gives.
    Replay {
        /// The kept root.
        kept: StateRoot,
        /// The root that replay gives.
        replayed: StateRoot,
        /// The first id that differs, if it is an entry that does.
        first: Option<CanonicalId>,
    },
    /// A payload in blocks has another length than its record says.
    Length {
        /// The artifact or receipt.
        key: CanonicalId,
        /// Length in its record.
        recorded: u64,
        /// Length in blocks.
        stored: u64,
    },
}

/// Bytes at the end of a file that are no whole entry: what a crash leaves of a write that was
/// never acknowledged. The next writer sets them aside and says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The file.
    pub file: String,
    /// Where valid entries end.
    pub offset: u64,
    /// How many bytes follow.
    pub bytes: u64,
}

/// What verification saw.
#[derive(Debug, Clone)]
pub struct Verified {
    /// Commits that are accepted.
    pub commits: u64,
    /// Commits in the log that are not accepted: those that a proven fork took back, and those that
    /// are findings. Empty if the log cannot be read, which is a finding.
    pub unaccepted: Vec<Unaccepted>,
    /// Records that were replayed.
    pub records: u64,
    /// Visible entries.
    pub entries: u64,
    /// Payloads that were read.
    pub payloads: u64,
    /// Bytes of blocks that were read.
    pub block_bytes: u64,
    /// Visible artifacts and receipts whose payload is not here: no damage, it may be fetched.
    pub missing: Vec<CanonicalId>,
    /// Visible artifacts and receipts whose payload was erased here on request: no damage, and not
    /// missing.
    pub erased: Vec<CanonicalId>,
    /// The state root, from replay.
    pub state_root: StateRoot,
    /// Why the index was not used, if it was not: no damage in itself, unless there are findings of
    /// it.
    pub stale_index: Option<String>,
    /// Torn tails that are still there.
    pub torn: Vec<TornTail>,
    /// Everything that is not as it should be.
    pub findings: Vec<Finding>,
}

impl Store {
    /// Verifies every byte; see the module. Writers wait while the log is replayed.
    ///
    /// # Errors
    /// [`StoreError`] if the disk cannot be read. Damage is not an error here but a finding.
    pub fn verify(&self, on_progress: &mut dyn FnMut(Progress)) -> Result<Verified, StoreError> {
        let log = self.verify_log(on_progress)?;
        let mut findings: Vec<Finding> = log.damages.iter().map(Finding::of_log).collect();
        on_progress(Progress::Index);
        index::verify_files(self, &self.view(), &mut findings)?;
        let blocks = self
            .blocks()
            .verify(&mut |read, total| on_progress(Progress::Payloads(read, total)))?;
        // While nothing is committed: everything is held against one log.
        let validator = self.validator();
        let view = self.view();
        index::verify_records(self, &view, &mut findings);
        let unaccepted = match unaccepted::verify(self, &view, &mut findings) {
            Ok(unaccepted) => unaccepted,
            // What is wrong with the log was found before.
            Err(StoreError::Log(_) | StoreError::Read(_)) if !log.damages.is_empty() => Vec::new(),
            // Every byte is as it was written, and it is no commit: nothing behind it can be
            // validated.
            Err(error @ StoreError::Entry { position, .. }) => {
                let (file, offset) = (
                    Some(format!("log/{:08}.log", position.segment)),
                    Some(position.offset.into()),
                );
                findings.push(Finding::Log {
                    file,
                    offset,
                    what: with_causes(&error),
                });
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        let mut payloads = PayloadCheck {
            store: self,
            view: &view,
            absent: Absent::default(),
            findings: Vec::new(),
        };
        let replayed = replay_and_compare(&view, &mut payloads, &mut findings, on_progress);
        let Reached {
            root,
            records,
            entries,
            ..
        } = match replayed {
            Some(reached) => reached,
            // The log cannot be replayed; what the state shows can still be held against blocks.
            None => payloads.check_kept(),
        };
        let PayloadCheck {
            absent,
            findings: lengths,
            ..
        } = payloads;
        findings.extend(lengths);
        let spoiled = blocks
            .damages
            .iter()
            .flat_map(|damage| &damage.payloads)
            .copied()
            .collect();
        let naming = naming(&view, &spoiled);
        for damage in blocks.damages {
            if damage.is_of_index() {
                findings.push(Finding::Index {
                    what: damage.to_string(),
                    file: Some(damage.at.file),
                    offset: Some(damage.at.offset),
                });
                continue;
            }
            let named = damage
                .payloads
                .iter()
                .filter_map(|checksum| naming.get(checksum));
            let keys = named.flat_map(|named| &named.keys).copied().collect();
            findings.push(Finding::Block { damage, keys });
        }
        drop(validator);
        Ok(Verified {
            commits: view.commits_len(),
            unaccepted,
            records,
            entries,
            payloads: blocks.payloads,
            block_bytes: blocks.bytes,
            missing: absent.missing,
            erased: absent.erased,
            state_root: root,
            stale_index: self.opened().index.as_ref().map(|stale| stale.what.clone()),
            torn: self.torn_tails(),
            findings,
        })
    }

    fn verify_log(&self, on_progress: &mut dyn FnMut(Progress)) -> Result<LogVerified, DiskError> {
        let (total, mut read) = (self.log_bytes()?, 0);
        let (tell, told) = mpsc::channel();
        thread::scope(|scope| {
            let verified = scope.spawn(move || {
                self.log().verify(&|bytes| {
                    tell.send(bytes)
                        .unwrap_or_else(|_| unreachable!("listened to until it ends"))
                })
            });
            for bytes in told {
                read += bytes;
                on_progress(Progress::Log(read, total));
            }
            verified
                .join()
                .map_or_else(|panic| std::panic::resume_unwind(panic), Ok)
        })
    }

    fn log_bytes(&self) -> Result<u64, DiskError> {
        let mut bytes = 0;
        for number in list_numbered(self.disk().as_ref(), "log", "log")? {
            let name = format!("log/{number:08}.log");
            let file = self
                .disk()
                .open(&name, Mode::ReadOnly)
                .during("open", &name)?;
            bytes += file.len().during("measure", &name)?;
        }
        Ok(bytes)
    }

    fn torn_tails(&self) -> Vec<TornTail> {
        // A writer has cut them when it opened the store.
        let opened = self.opened().clone();
        let log = opened.log.cut.map(|cut| (cut.file, cut.offset, cut.bytes));
        let blocks = opened
            .blocks
            .cut
            .map(|cut| (cut.file, cut.offset, cut.bytes));
        let tails = log
            .into_iter()
            .chain(blocks)
            .filter(|_| self.mode() == Mode::ReadOnly);
        tails
            .map(|(file, offset, bytes)| TornTail {
                file,
                offset,
                bytes,
            })
            .collect()
    }
}

/// Replays the log up to the head and holds the kept state, and the lengths of payloads, against
/// it. `None` if the log cannot be replayed.
fn replay_and_compare(
    view: &View,
    payloads: &mut PayloadCheck<'_>,
    findings: &mut Vec<Finding>,
    on_progress: &mut dyn FnMut(Progress),
) -> Option<Reached> {
    let commits = Commits::of(view);
    findings.extend(commits.damages.iter().map(Finding::of_index));
    let broken = Mutex::new(Vec::new());
    let read = |index| {
        commits.read(index).map_err(|error| {
            let noted = commits.noted(index);
            let found = Finding::Chain {
                domain: noted.domain,
                number: noted.number,
                what: with_causes(&error),
            };
            broken
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((index, found));
        })
    };
    let head = std::slice::from_ref(view.head());
    let replay = Replay {
        targets: head,
        rule: view.state().rule(),
        threads: threads(),
    };
    let mut kept = Kept {
        entries: view.state().entries(view.head(), &Filter::ALL),
        differs: None,
        damage: None,
    };
    let show = &mut |entries: &[Entry]| {
        for entry in entries {
            kept.compare(Some(entry));
            payloads.check(entry);
        }
    };
    let total = u64::from(commits.len());
    let on_commits = &mut |done| on_progress(Progress::Replay(u64::from(done), total));
    let reached = replay.run(commits.len(), &read, on_commits, Some(show));
    let mut broken = broken.into_inner().unwrap_or_else(PoisonError::into_inner);
    broken.sort_unstable_by_key(|(index, _)| *index);
    findings.extend(broken.into_iter().map(|(_, found)| found));
    // Where commits could not be named, replay says nothing about the rest.
    let reached = reached
        .ok()
        .filter(|_| commits.damages.is_empty())
        .and_then(|reached| reached.first().copied())?;
    kept.compare(None);
    findings.extend(kept.damage.as_ref().map(Finding::of_index));
    let root = view.state().root();
    if kept.damage.is_none() && (kept.differs.is_some() || root != reached.root) {
        findings.push(Finding::Replay {
            kept: root,
            replayed: reached.root,
            first: kept.differs,
        });
    }
    Some(reached)
}

/// The entries of the kept state, beside those that replay gives.
struct Kept<I> {
    entries: I,
    /// The first id that is not the same in both.
    differs: Option<CanonicalId>,
    damage: Option<ReadError>,
}

impl<I: Iterator<Item = Result<Entry, ReadError>>> Kept<I> {
    /// Compares the next entry; with `None`, that there are no more.
    fn compare(&mut self, replayed: Option<&Entry>) {
        if self.differs.is_some() || self.damage.is_some() {
            return;
        }
        match self.entries.next().transpose() {
            Ok(kept) if kept.as_ref() == replayed => {}
            Ok(kept) => self.differs = kept.iter().chain(replayed).map(|entry| entry.id).min(),
            Err(damage) => self.damage = Some(damage),
        }
    }
}

/// Holds the payloads of visible artifacts and receipts against blocks.
struct PayloadCheck<'a> {
    store: &'a Store,
    view: &'a View,
    absent: Absent,
    findings: Vec<Finding>,
}

impl PayloadCheck<'_> {
    fn check(&mut self, entry: &Entry) {
        let Some(checksum) = entry
            .checksum
            .filter(|_| matches!(entry.kind, Kind::Artifact | Kind::Receipt))
        else {
            return;
        };
        let blocks = self.store.blocks();
        match blocks.payload_len(checksum) {
            Ok(stored) if stored == entry.payload_len => {}
            Ok(stored) => {
                self.findings.push(Finding::Length {
                    key: entry.id,
                    recorded: entry.payload_len,
                    stored,
                });
            }
            Err(_) if blocks.has(checksum) => {}
            Err(_) if self.view.erased(&checksum).is_some() || blocks.erased(checksum) => {
                self.absent.erased.push(entry.id)
            }
            Err(_) => self.absent.missing.push(entry.id),
        }
    }

    /// Checks what the kept state shows, as far as it can be read.
    fn check_kept(&mut self) -> Reached {
        let state = self.view.state();
        state
            .entries(self.view.head(), &Filter::ALL)
            .map_while(Result::ok)
            .for_each(|entry| self.check(&entry));
        Reached {
            root: state.root(),
            records: 0,
            entries: state.entries_len(),
            conflicts: 0,
        }
    }
}

impl Finding {
    /// The file of the index that is to blame, if this is a finding of the index.
    #[must_use]
    pub fn index_file(&self) -> Option<&str> {
        match self {
            Self::Index { file, .. } => file.as_deref(),
            _ => None,
        }
    }

    fn of_log(error: &LogError) -> Self {
        let what = error.to_string();
        match error {
            LogError::Damaged(Damage { file, offset, .. }) => Self::Log {
                file: Some(file.clone()),
                offset: Some(*offset),
                what,
            },
            LogError::Missing { file } => Self::Log {
                file: Some(file.clone()),
                offset: None,
                what,
            },
            _ => Self::Log {
                file: None,
                offset: None,
                what,
            },
        }
    }
}

/// What is visible without its payload.
#[derive(Default)]
struct Absent {
    missing: Vec<CanonicalId>,
    erased: Vec<CanonicalId>,
}
