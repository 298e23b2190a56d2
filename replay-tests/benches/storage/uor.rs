//! The store of this workspace: signed commits on a real directory, nothing left out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use uor_asl::disk::real::RealDisk;
use uor_asl::disk::{Disk, Mode};
use uor_asl::index::Filter;
use uor_asl::state::At;
use uor_asl::store::{MaintenanceThread, Options, Payloads, Store};
use uor_index_format::id::{CanonicalId, StateRoot};
use uor_index_format::key::SiteKey;
use uor_index_format::membership::{ConflictRule, Genesis};
use uor_index_format::record::{Payload, Record};
use uor_index_format::snapshot::{self, Snapshot};
use uor_index_format::state::Entry;

use crate::clock::Watch;
use crate::data::{Id, Row, mark_of};
use crate::files;
use crate::system::{Keys, Order, Reader, Result, Staged, System, Work};

/// What [`crate::report`] and the others call it.
pub(crate) const NAME: &str = "uor";

/// Records of one commit of a bulk load: as many as a commit may have.
const BATCH_RECORDS: usize = 65_536;
/// Stands in every commit; nothing compares it.
const WALL_MS: u64 = 1_700_000_000_000;

pub(crate) struct Uor {
    dir: PathBuf,
    key: SiteKey,
    store: Arc<Store>,
    /// Writes and merges the index beside the works, as a node does.
    _maintenance: MaintenanceThread,
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
    /// Opens the store in a directory, or founds a federation of one there. Keys have no versions
    /// of their own: commits do.
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
        // Payloads of these records are nowhere, and nobody is to miss them.
        let options = Options {
            payloads: Payloads::OnDemand,
            ..Options::default()
        };
        let store = Arc::new(Store::open_with(disk, Mode::Write, options)?);
        if is_new {
            store.commit(&key, vec![Record::genesis(genesis)], WALL_MS)?;
        }
        let maintenance = MaintenanceThread::start(Arc::clone(&store))?;
        Ok(Self {
            dir: dir.to_owned(),
            key,
            store,
            _maintenance: maintenance,
            loads: Vec::new(),
        })
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
        let payload = Payload {
            checksum: put.checksum,
            len: put.len,
        };
        self.commit(vec![Record::artifact(Some(snapshot::TYPE_TAG), payload)])
    }

    /// Replays the log up to the head.
    pub(crate) fn replay(&self) -> Result<Replay> {
        let head = self.store.view().head().clone();
        let replayed = self.store.replay(&head)?;
        Ok(Replay {
            records: replayed.records,
            root: replayed.root,
        })
    }
}

fn record(row: &Row) -> Record {
    Record::artifact(Some(row.value.tag()), row.value.payload())
}

impl System for Uor {
    fn load(
        &mut self,
        _order: Order,
        chunks: &mut dyn Iterator<Item = Vec<Row>>,
        watch: &mut Watch,
    ) -> Result<()> {
        for chunk in chunks {
            let batches: Vec<Vec<Record>> = chunk
                .chunks(BATCH_RECORDS)
                .map(|rows| rows.iter().map(record).collect())
                .collect();
            watch.time(|| {
                batches
                    .into_iter()
                    .try_for_each(|records| self.commit(records))
            })?;
        }
        self.loads.push(self.store.view().head().clone());
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        Ok(self.store.settle()?)
    }

    fn stage(&self, rows: Vec<Row>) -> Staged<'_> {
        let records: Vec<Record> = rows.iter().map(record).collect();
        Box::new(move || self.commit(records))
    }

    fn read(&self, as_of: Option<u64>, work: Work<'_>) -> Result<()> {
        let nth = |version| {
            usize::try_from(version)
                .ok()
                .and_then(|nth: usize| self.loads.get(nth.checked_sub(1)?))
        };
        let view = self.store.view();
        let snapshot = as_of.map_or(Ok(view.head()), |version| {
            nth(version).ok_or("no such load")
        })?;
        work(&mut UorReader {
            at: view.state().at(snapshot)?,
            ids: Vec::new(),
        })
    }

    fn count(&self, tag: u32) -> Result<u64> {
        let view = self.store.view();
        let mut count = 0;
        for entry in view.state().entries(view.head(), &Filter::type_tag(tag)) {
            entry?;
            count += 1;
        }
        Ok(count)
    }

    fn index_bytes(&self) -> Result<Option<u64>> {
        let index = self.dir.join("index");
        index
            .is_dir()
            .then(|| files::bytes_on_disk(&index))
            .transpose()
    }
}

struct UorReader<'a> {
    at: At<'a>,
    ids: Vec<CanonicalId>,
}

fn mark(entry: &Entry) -> Option<u64> {
    entry.checksum.map(|checksum| mark_of(checksum.as_bytes()))
}

impl Reader for UorReader<'_> {
    fn get(&mut self, id: &Id) -> Result<Option<u64>> {
        Ok(self
            .at
            .entry(&CanonicalId::from_bytes(*id))?
            .as_ref()
            .and_then(mark))
    }

    fn get_many(&mut self, ids: &[Id], each: &mut dyn FnMut(Option<u64>)) -> Option<Result<()>> {
        self.ids.clear();
        self.ids
            .extend(ids.iter().map(|id| CanonicalId::from_bytes(*id)));
        let read = self
            .at
            .entries_of(&self.ids, |_, entry| each(entry.as_ref().and_then(mark)));
        Some(read.map_err(Into::into))
    }
}
