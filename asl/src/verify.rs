//! Proving a store from its bytes up, without modifying anything.
//!
//! Opening has already read every frame of the log, every signature and chain. Here every payload is read, the kept state
//! is held against sequential replay of the log, and each damaged place is traced to the artifacts it spoils.

use std::collections::{BTreeMap, BTreeSet};

use uor_index_format::commit::Commit;
use uor_index_format::id::{CanonicalId, Checksum, StateRoot};
use uor_index_format::record::Kind;
use uor_index_format::snapshot::Snapshot;

use crate::blocks::BlockDamage;
use crate::disk::Mode;
use crate::replay::{Replayed, replay};
use crate::state::{Filter, ReadError};
use crate::store::{Store, StoreError};

/// How far verification has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Payload bytes: read so far, and in all.
    Payloads(u64, u64),
    /// The log is being replayed.
    Replay,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
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

/// Bytes at the end of a file that are no whole entry: what a crash leaves of a write that was never acknowledged. The next
/// writer sets them aside and says so.
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
    /// Commits that count.
    pub commits: u64,
    /// Commits in the log that do not count, because of a proven fork.
    pub uncounted: u64,
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
    /// Visible artifacts and receipts whose payload was erased here on request: no damage, and not missing.
    pub erased: Vec<CanonicalId>,
    /// The state root, from replay.
    pub state_root: StateRoot,
    /// Torn tails that are still there.
    pub torn: Vec<TornTail>,
    /// Everything that is not as it should be.
    pub findings: Vec<Finding>,
}

impl Store {
    /// Replays the log in the one order up to `target` (specification §5).
    ///
    /// # Errors
    /// [`StoreError`] if the log cannot be read.
    pub fn replay(&self, target: &Snapshot) -> Result<Replayed, StoreError> {
        let rule = self.view().state().rule();
        let commits = self.read_commits()?;
        Ok(replay(&commits, target, rule))
    }

    /// Every commit that counts, ascending by domain and number: for [`replay`] at several targets.
    ///
    /// # Errors
    /// [`StoreError`] if the log cannot be read.
    pub fn read_commits(&self) -> Result<Vec<Commit>, StoreError> {
        let named: Vec<_> = self.view().commits().collect::<Result<_, _>>()?;
        let read = |named: &crate::store::Committed| self.read_commit(&named.domain, named.number).transpose();
        named.iter().filter_map(read).collect()
    }

    /// Verifies every byte; see the module.
    ///
    /// # Errors
    /// [`StoreError`] if the disk cannot be read. Damage is not an error here but a finding.
    pub fn verify(&self, on_progress: &mut dyn FnMut(Progress)) -> Result<Verified, StoreError> {
        let blocks = self.blocks().verify(&mut |read, total| on_progress(Progress::Payloads(read, total)))?;
        on_progress(Progress::Replay);
        let head = self.view().head().clone();
        let replayed = self.replay(&head)?;
        let mut findings: Vec<Finding> = self.compare_replay(&replayed)?.into_iter().collect();
        let keys = self.keys_by_checksum()?;
        for damage in blocks.damages {
            let keys = damage.payloads.iter().filter_map(|checksum| keys.get(checksum)).flatten().copied().collect();
            findings.push(Finding::Block { damage, keys });
        }
        let Absent { missing, erased } = self.check_lengths(&mut findings)?;
        let view = self.view();
        Ok(Verified {
            commits: view.commits_len(),
            uncounted: view.uncounted(),
            records: replayed.records,
            entries: replayed.entries.len() as u64,
            payloads: blocks.payloads,
            block_bytes: blocks.bytes,
            missing,
            erased,
            state_root: replayed.root,
            torn: self.torn_tails(),
            findings,
        })
    }

    fn torn_tails(&self) -> Vec<TornTail> {
        // A writer has cut them when it opened the store.
        let opened = self.opened().clone();
        let log = opened.log.cut.map(|cut| (cut.file, cut.offset, cut.bytes));
        let blocks = opened.blocks.cut.map(|cut| (cut.file, cut.offset, cut.bytes));
        let tails = log.into_iter().chain(blocks).filter(|_| self.mode() == Mode::ReadOnly);
        tails.map(|(file, offset, bytes)| TornTail { file, offset, bytes }).collect()
    }

    fn compare_replay(&self, replayed: &Replayed) -> Result<Option<Finding>, ReadError> {
        let view = self.view();
        let kept: Vec<_> = view.state().entries(view.head(), &Filter::ALL).collect::<Result<_, _>>()?;
        let root = view.state().root();
        if root == replayed.root && kept == replayed.entries {
            return Ok(None);
        }
        let differs = kept.iter().zip(&replayed.entries).find(|(kept, replayed)| kept != replayed);
        Ok(Some(Finding::Replay { kept: root, replayed: replayed.root, first: differs.map(|(kept, _)| kept.id) }))
    }

    /// Artifacts and receipts by the payload they name: of every version, so that older snapshots are covered too.
    fn keys_by_checksum(&self) -> Result<BTreeMap<Checksum, BTreeSet<CanonicalId>>, ReadError> {
        let view = self.view();
        let mut keys: BTreeMap<Checksum, BTreeSet<CanonicalId>> = BTreeMap::new();
        for version in view.state().all_versions(view.head()) {
            let version = version?;
            if let Some(payload) = version.record.block_payload() {
                keys.entry(payload.checksum).or_default().insert(version.place.id);
            }
        }
        Ok(keys)
    }

    fn check_lengths(&self, findings: &mut Vec<Finding>) -> Result<Absent, ReadError> {
        let view = self.view();
        let mut absent = Absent::default();
        for entry in view.state().entries(view.head(), &Filter::ALL) {
            let entry = entry?;
            let Some(checksum) = entry.checksum.filter(|_| matches!(entry.kind, Kind::Artifact | Kind::Receipt)) else {
                continue;
            };
            match self.blocks().payload_len(checksum) {
                Ok(stored) if stored == entry.payload_len => {}
                Ok(stored) => {
                    findings.push(Finding::Length { key: entry.id, recorded: entry.payload_len, stored });
                }
                Err(_) if self.blocks().has(checksum) => {}
                Err(_) if view.erased(&checksum).is_some() => absent.erased.push(entry.id),
                Err(_) => absent.missing.push(entry.id),
            }
        }
        Ok(absent)
    }
}

/// What is visible without its payload.
#[derive(Default)]
struct Absent {
    missing: Vec<CanonicalId>,
    erased: Vec<CanonicalId>,
}
