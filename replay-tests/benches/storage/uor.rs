//! The store of this workspace: signed commits on a real directory, nothing left out.

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLockReadGuard};

use uor_asl::disk::real::RealDisk;
use uor_asl::disk::{Disk, Mode};
use uor_asl::store::{Store, View};
use uor_index_format::id::{CanonicalId, Checksum, StateRoot};
use uor_index_format::key::SiteKey;
use uor_index_format::membership::{ConflictRule, Genesis};
use uor_index_format::record::{Payload, Record};
use uor_index_format::snapshot::{self, Snapshot};

use crate::clock::Watch;
use crate::data::{Id, Row, mark_of};
use crate::files;
use crate::system::{Keys, Order, Reader, Result, Staged, System};

/// What [`crate::report`] and the others call it.
pub(crate) const NAME: &str = "uor";

/// Records of one commit of a bulk load: as many as a commit may have.
const BATCH_RECORDS: usize = 65_536;
/// Stands in every commit; nothing compares it.
const WALL_MS: u64 = 1_700_000_000_000;

pub(crate) struct Uor {
    dir: PathBuf,
    key: SiteKey,
    store: Store,
    /// The snapshot after each load since it was opened.
    loads: Vec<Snapshot>,
}

/// What a sequential replay of the whole log came to.
pub(crate) struct Replay {
    /// Records replayed.
    pub(crate) records: u64,
    /// The root it arrived at.
    pub(crate) root: StateRoot,
}

impl Uor {
    /// Opens the store in a directory, or founds a federation of one there. Keys have no versions of their own: commits do.
    pub(crate) fn open(dir: &Path, _keys: Keys) -> Result<Box<dyn System>> {
        Ok(Box::new(Self::open_here(dir)?))
    }

    /// The same, for works that only this store has.
    pub(crate) fn open_here(dir: &Path) -> Result<Self> {
        let key = SiteKey::from_seed(&[7; 32]);
        let genesis = Genesis {
            founder: key.site_id(),
            name: "benchmark".to_owned(),
            nonce: [0; 16],
            conflict_rule: ConflictRule::First,
            logseq_jump_max: 1 << 20,
        };
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir));
        let is_new = Store::create(&disk, genesis.federation_id()).is_ok();
        let store = Store::open(disk, Mode::Write)?;
        if is_new {
            store.commit(&key, vec![Record::genesis(genesis)], WALL_MS)?;
        }
        Ok(Self { dir: dir.to_owned(), key, store, loads: Vec::new() })
    }

    fn commit(&self, records: Vec<Record>) -> Result<()> {
        self.store.commit(&self.key, records, WALL_MS)?;
        Ok(())
    }

    /// The state root at the head.
    pub(crate) fn root(&self) -> StateRoot {
        self.store.view().state().root()
    }

    /// Makes the snapshot of everything here an artifact, durable and visible.
    pub(crate) fn snapshot(&self) -> Result<()> {
        let snapshot = self.store.view().head().clone();
        let put = self.store.blocks().put_bytes(&snapshot.encode())?;
        let payload = Payload { checksum: put.checksum, len: put.len };
        self.commit(vec![Record::artifact(Some(snapshot::TYPE_TAG), payload)])
    }

    /// Replays the log up to the head.
    pub(crate) fn replay(&self) -> Result<Replay> {
        let head = self.store.view().head().clone();
        let replayed = self.store.replay(&head)?;
        Ok(Replay { records: replayed.records, root: replayed.root })
    }
}

fn record(row: &Row) -> Record {
    Record::artifact(Some(row.value.tag()), row.value.payload())
}

impl System for Uor {
    fn load(&mut self, _order: Order, chunks: &mut dyn Iterator<Item = Vec<Row>>, watch: &mut Watch) -> Result<()> {
        for chunk in chunks {
            let batches: Vec<Vec<Record>> =
                chunk.chunks(BATCH_RECORDS).map(|rows| rows.iter().map(record).collect()).collect();
            watch.time(|| batches.into_iter().try_for_each(|records| self.commit(records)))?;
        }
        self.loads.push(self.store.view().head().clone());
        Ok(())
    }

    fn stage(&self, rows: Vec<Row>) -> Staged<'_> {
        let records: Vec<Record> = rows.iter().map(record).collect();
        Box::new(move || self.commit(records))
    }

    fn reader(&self, as_of: Option<u64>) -> Result<Box<dyn Reader + '_>> {
        let nth = |version| usize::try_from(version).ok().and_then(|nth: usize| self.loads.get(nth.checked_sub(1)?));
        let at = as_of.map(|version| nth(version).cloned().ok_or("no such load")).transpose()?;
        Ok(Box::new(UorReader { view: self.store.view(), at }))
    }

    fn count(&self, tag: u32) -> Result<u64> {
        let view = self.store.view();
        Ok(view.state().entries(view.head()).filter(|visible| visible.entry.type_tag == Some(tag)).count() as u64)
    }

    fn index_bytes(&self) -> Result<Option<u64>> {
        let index = self.dir.join("index");
        index.is_dir().then(|| files::bytes_on_disk(&index)).transpose()
    }
}

struct UorReader<'a> {
    view: RwLockReadGuard<'a, View>,
    at: Option<Snapshot>,
}

impl Reader for UorReader<'_> {
    fn get(&mut self, id: &Id) -> Result<Option<u64>> {
        let at = self.at.as_ref().unwrap_or(self.view.head());
        let visible = self.view.state().get(&CanonicalId::from_bytes(*id), at);
        Ok(visible.and_then(|visible| visible.entry.checksum).map(|checksum: Checksum| mark_of(checksum.as_bytes())))
    }
}
