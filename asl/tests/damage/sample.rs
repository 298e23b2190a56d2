//! A store with several files of each kind, what it was at every step, and what it should answer.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use uor_asl::disk::memory::MemoryDisk;
use uor_asl::disk::{Disk, Mode};
use uor_asl::state::{Filter, Version};
use uor_asl::store::{Options, Store, StoreError};
use uor_asl::{blocks, log};
use uor_index_format::id::{CanonicalId, Checksum, SiteId, StateRoot};
use uor_index_format::membership::ConflictRule;
use uor_index_format::record::{Kind, Payload, Record};
use uor_index_format::snapshot::Snapshot;
use uor_index_format::state::Entry;

use crate::federation::{Federation, SITES, Step, key, mix};

/// Goes on with what reports its progress.
const fn go_on(_: u64, _: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// The site whose store this is.
const OWN: usize = SITES - 1;

/// Payloads that are shadowed, and then collected.
const FREED: Range<u64> = 4..7;

/// Small files, so that there are several of each kind.
fn small() -> Options {
    Options {
        shards: NonZeroU32::new(2).unwrap(),
        memtable_records_max: 12,
        log: log::Options {
            segment_bytes: 6000,
            preallocate_bytes: 512,
        },
        blocks: blocks::Options {
            pack_bytes: 4000,
            threads: 1,
        },
        ..Options::default()
    }
}

pub(crate) fn open(disk: &MemoryDisk, mode: Mode) -> Result<Store, StoreError> {
    Store::open_with(Arc::new(disk.clone()), mode, small())
}

/// As by a site that knows that the packs end earlier than they did.
pub(crate) fn open_knowing(disk: &MemoryDisk, mode: Mode) -> Result<Store, StoreError> {
    Store::open_with(
        Arc::new(disk.clone()),
        mode,
        Options {
            are_packs_cut: true,
            ..small()
        },
    )
}

/// Bytes that do not compress.
fn noise(number: u64) -> Vec<u8> {
    let mut bytes = vec![0; 300 + usize::try_from(number * 57 % 700).unwrap()];
    blake3::Hasher::new()
        .update(&number.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

// What a store is asked, and what it should answer.

/// Everything that a store says of itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Facts {
    pub(crate) head: Snapshot,
    pub(crate) root: StateRoot,
    pub(crate) commits: BTreeMap<(SiteId, u64), Vec<u8>>,
    pub(crate) members: BTreeSet<SiteId>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) versions: Vec<Version>,
    pub(crate) versions_of: BTreeMap<CanonicalId, Vec<Version>>,
    pub(crate) conflicts: Vec<CanonicalId>,
    pub(crate) artifacts: u64,
    pub(crate) erased: BTreeMap<Checksum, u64>,
    pub(crate) payloads: BTreeMap<Checksum, Vec<u8>>,
}

impl Facts {
    fn of(store: &Store, erased: &BTreeMap<Checksum, Vec<u8>>) -> Self {
        let view = store.view();
        let (state, head) = (view.state(), view.head());
        let commits = view
            .commits()
            .map(Result::unwrap)
            .map(|commit| (commit.domain, commit.number));
        let bytes =
            |(domain, number): (SiteId, u64)| store.commit_bytes(&domain, number).unwrap().unwrap();
        let payloads = store.blocks().payloads().into_iter();
        let versions: Vec<Version> = state.all_versions(head).map(Result::unwrap).collect();
        let mut versions_of: BTreeMap<CanonicalId, Vec<Version>> = BTreeMap::new();
        versions.iter().for_each(|version| {
            versions_of
                .entry(version.place.id)
                .or_default()
                .push(version.clone())
        });
        Self {
            head: head.clone(),
            root: state.root(),
            commits: commits.map(|named| (named, bytes(named))).collect(),
            members: view.members().clone(),
            entries: state
                .entries(head, &Filter::ALL)
                .map(Result::unwrap)
                .collect(),
            versions,
            versions_of,
            conflicts: state
                .conflicts(head)
                .unwrap()
                .into_iter()
                .map(|conflict| conflict.id)
                .collect(),
            artifacts: state.count_records(&Filter::kind(Kind::Artifact)).unwrap(),
            erased: erased
                .keys()
                .filter_map(|checksum| Some((*checksum, view.erased(checksum)?)))
                .collect(),
            payloads: payloads
                .map(|name| (name, store.blocks().read_all(name, 1 << 20).unwrap()))
                .collect(),
        }
    }
}

/// A store with several files of each kind, and what it was at every step.
pub(crate) struct Sample {
    pub(crate) disk: MemoryDisk,
    /// After each step; the last is what the files say.
    pub(crate) moments: Vec<Facts>,
    /// The files after each step.
    files: Vec<BTreeMap<String, Vec<u8>>>,
    /// Payloads that were erased, with their bytes.
    pub(crate) erased: BTreeMap<Checksum, Vec<u8>>,
    /// What changed between the moment in the middle and the last.
    pub(crate) changed: BTreeSet<CanonicalId>,
}

impl Sample {
    pub(crate) fn new() -> Self {
        let steps: Vec<Step> = (0..30).map(|seed| Step::from_seed(mix(seed))).collect();
        let federation = Federation::build(ConflictRule::First, &steps);
        let disk = MemoryDisk::new();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        Store::create(&shared, federation.id()).unwrap();
        let store = open(&disk, Mode::Write).unwrap();
        let erased = [3, 9]
            .map(|number| (Checksum::of(&noise(number)), noise(number)))
            .into();
        let (moments, files) = (Vec::new(), Vec::new());
        let mut this = Self {
            disk,
            moments,
            files,
            erased,
            changed: BTreeSet::new(),
        };
        let artifact = |number: u64| Record::artifact(None, Payload::of(&noise(number)));
        let commit = |record: Record| store.commit(&key(OWN), vec![record], 0).unwrap();
        for commits in federation.commits().chunks(4) {
            store.merge(commits.to_vec()).unwrap();
            this.note(&store);
        }
        for number in 0..24 {
            store.blocks().put_bytes(&noise(number)).unwrap();
            commit(artifact(number));
            match number {
                12 => drop(store.erase(Checksum::of(&noise(3)), 1003).unwrap()),
                14 => drop(
                    FREED
                        .map(|number| commit(Record::tombstone(artifact(number).id())))
                        .collect::<Vec<_>>(),
                ),
                15 => {
                    store
                        .collect(&[], &BTreeSet::new(), false, 0, &mut go_on)
                        .unwrap();
                }
                _ => {}
            }
            this.note(&store);
        }
        store.erase(Checksum::of(&noise(9)), 1009).unwrap();
        this.note(&store);
        let (middle, last) = (
            &this.moments[this.moments.len() / 2].head,
            store.view().head().clone(),
        );
        this.changed = store.changed_ids(middle, &last).unwrap();
        let checkpoint = |files: &BTreeMap<String, Vec<u8>>| files["index/checkpoint"].clone();
        let before = &this.files[this.files.len() - 3];
        assert_eq!(
            checkpoint(this.now()),
            checkpoint(before),
            "the log goes on behind the checkpoint"
        );
        assert!(this.last().entries.iter().any(|entry| entry.conflict));
        this.disk.settle();
        let count = |part: &str| this.now().keys().filter(|path| path.contains(part)).count();
        assert!(
            count(".log") > 3 && count(".pack") > 3 && count(".commits") > 3,
            "{:?}",
            this.now().keys()
        );
        assert!(
            count("-00000.run") > 1 && count("index/blocks-") > 0,
            "{:?}",
            this.now().keys()
        );
        this
    }

    fn note(&mut self, store: &Store) {
        self.moments.push(Facts::of(store, &self.erased));
        let files = self.disk.paths().into_iter();
        self.files.push(
            files
                .map(|path| (path.clone(), self.disk.contents(&path).unwrap()))
                .collect(),
        );
    }

    pub(crate) fn last(&self) -> &Facts {
        self.moments.last().unwrap()
    }

    pub(crate) fn middle(&self) -> &Facts {
        &self.moments[self.moments.len() / 2]
    }

    pub(crate) fn now(&self) -> &BTreeMap<String, Vec<u8>> {
        self.files.last().unwrap()
    }

    /// Where payloads lie that were freed.
    pub(crate) fn dead(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        let find = |payload: Vec<u8>| {
            let start = bytes
                .windows(payload.len())
                .position(|window| window == payload)?;
            Some(start..start + payload.len())
        };
        FREED.map(noise).filter_map(find).collect()
    }

    /// What a file was before: when it was new, and before it was last changed.
    pub(crate) fn stale(&self, path: &str) -> Vec<Vec<u8>> {
        let before = self
            .files
            .iter()
            .filter_map(|files| files.get(path))
            .filter(|bytes| *bytes != &self.now()[path]);
        let mut before: Vec<Vec<u8>> = before.cloned().collect();
        before.dedup();
        before.drain(1.min(before.len())..before.len().saturating_sub(1).max(1.min(before.len())));
        before
    }
}
