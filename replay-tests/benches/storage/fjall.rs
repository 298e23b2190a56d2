//! fjall: a log-structured merge tree. Bulk loads go through its journal in batches, or by
//! ingestion when they are sorted.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::clock::Watch;
use crate::data::{Id, Row, mark_of, tag_of};
use crate::system::{Key, Keys, Order, Reader, Result, Staged, System, Work};

/// Holds everything at the default size, so that warm lookups are warm.
const CACHE_BYTES: u64 = 1 << 30;
/// Rows of one batch of a bulk load.
const BATCH_ROWS: usize = 1024;

pub(crate) struct Fjall {
    keys: Keys,
    rows: Keyspace,
    database: Database,
}

impl Fjall {
    pub(crate) fn open(dir: &Path, keys: Keys) -> Result<Box<dyn System>> {
        let database = Database::builder(dir).cache_size(CACHE_BYTES).open()?;
        let rows = database.keyspace("rows", KeyspaceCreateOptions::default)?;
        Ok(Box::new(Self {
            keys,
            rows,
            database,
        }))
    }

    fn write(&self, rows: &[Row], durability: Option<PersistMode>) -> fjall::Result<()> {
        let mut batch = self.database.batch().durability(durability);
        for row in rows {
            batch.insert(&self.rows, &*self.keys.of(row), row.value.0);
        }
        batch.commit()
    }

    fn ingest(&self, chunks: &mut dyn Iterator<Item = Vec<Row>>, watch: &mut Watch) -> Result<()> {
        let mut ingestion = self.rows.start_ingestion()?;
        for chunk in chunks {
            watch.time(|| {
                chunk
                    .iter()
                    .try_for_each(|row| ingestion.write(&*self.keys.of(row), row.value.0))
            })?;
        }
        Ok(watch.time(|| ingestion.finish())?)
    }
}

impl System for Fjall {
    fn load(
        &mut self,
        order: Order,
        chunks: &mut dyn Iterator<Item = Vec<Row>>,
        watch: &mut Watch,
    ) -> Result<()> {
        if order == Order::Ascending {
            return self.ingest(chunks, watch);
        }
        for chunk in chunks {
            watch.time(|| {
                chunk
                    .chunks(BATCH_ROWS)
                    .try_for_each(|rows| self.write(rows, None))
            })?;
        }
        Ok(watch.time(|| self.database.persist(PersistMode::SyncAll))?)
    }

    fn settle(&mut self) -> Result<()> {
        self.rows.rotate_memtable_and_wait()?;
        // It tells how much it is doing, and offers nothing to wait for.
        let mut quiet = 0;
        while quiet < 3 {
            sleep(Duration::from_millis(20));
            let busy =
                self.database.outstanding_flushes() > 0 || self.database.active_compactions() > 0;
            quiet = if busy { 0 } else { quiet + 1 };
        }
        Ok(())
    }

    fn stage(&self, rows: Vec<Row>) -> Staged<'_> {
        Box::new(move || Ok(self.write(&rows, Some(PersistMode::SyncAll))?))
    }

    fn read(&self, as_of: Option<u64>, work: Work<'_>) -> Result<()> {
        work(&mut FjallReader {
            rows: &self.rows,
            as_of,
        })
    }

    fn count(&self, tag: u32) -> Result<u64> {
        let mut count = 0;
        for row in self.rows.iter() {
            count += u64::from(tag_of(&row.value()?) == Some(tag));
        }
        Ok(count)
    }
}

struct FjallReader<'a> {
    rows: &'a Keyspace,
    as_of: Option<u64>,
}

impl Reader for FjallReader<'_> {
    fn get(&mut self, id: &Id) -> Result<Option<u64>> {
        let Some(version) = self.as_of else {
            return Ok(self.rows.get(id)?.map(|value| mark_of(&value)));
        };
        let (from, to) = (Key::versioned(id, 0), Key::versioned(id, version));
        let newest = self.rows.range::<&[u8], _>(&*from..=&*to).next_back();
        newest.map(|row| Ok(mark_of(&row.value()?))).transpose()
    }
}
