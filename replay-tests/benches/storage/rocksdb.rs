//! RocksDB. Bulk loads go through its write-ahead log in batches, around it, or by ingestion when
//! they are sorted.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use rocksdb::properties::{
    COMPACTION_PENDING, MEM_TABLE_FLUSH_PENDING, NUM_RUNNING_COMPACTIONS, NUM_RUNNING_FLUSHES,
};
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DEFAULT_COLUMN_FAMILY_NAME, IteratorMode,
    Options, SstFileWriter, WriteBatch, WriteOptions,
};

use crate::clock::Watch;
use crate::data::{Id, Row, mark_of, tag_of};
use crate::system::{Key, Keys, Order, Reader, Result, Staged, System, Work};

/// Holds everything at the default size, so that warm lookups are warm.
const CACHE_BYTES: usize = 1 << 30;
const MEMTABLES_BYTES: usize = 512 << 20;
/// Rows of one batch of a bulk load.
const BATCH_ROWS: usize = 1024;
const BLOOM_BITS_PER_KEY: f64 = 10.0;

pub(crate) struct RocksDb {
    keys: Keys,
    options: Options,
    sorted: PathBuf,
    database: DB,
}

impl RocksDb {
    pub(crate) fn open(dir: &Path, keys: Keys) -> Result<Box<dyn System>> {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&Cache::new_lru_cache(CACHE_BYTES));
        table.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.increase_parallelism(2);
        options.optimize_level_style_compaction(MEMTABLES_BYTES);
        // Ids and values are random; it would only try.
        options.set_compression_type(DBCompressionType::None);
        options.set_compression_per_level(&[]);
        options.set_block_based_table_factory(&table);
        // Opened by name, so that it can be named where lookups go in batches.
        let families = [(DEFAULT_COLUMN_FAMILY_NAME, options.clone())];
        let database = DB::open_cf_with_opts(&options, dir.join("db"), families)?;
        Ok(Box::new(Self {
            keys,
            options,
            sorted: dir.join("sorted.sst"),
            database,
        }))
    }

    fn write(
        &self,
        rows: &[Row],
        options: &WriteOptions,
    ) -> std::result::Result<(), rocksdb::Error> {
        let mut batch = WriteBatch::default();
        for row in rows {
            batch.put(&*self.keys.of(row), row.value.0);
        }
        self.database.write_opt(batch, options)
    }

    fn ingest(&self, chunks: &mut dyn Iterator<Item = Vec<Row>>, watch: &mut Watch) -> Result<()> {
        let mut file = SstFileWriter::create(&self.options);
        file.open(&self.sorted)?;
        for chunk in chunks {
            watch.time(|| {
                chunk
                    .iter()
                    .try_for_each(|row| file.put(&*self.keys.of(row), row.value.0))
            })?;
        }
        Ok(watch.time(|| {
            file.finish()?;
            self.database.ingest_external_file(vec![&self.sorted])
        })?)
    }

    fn is_busy(&self) -> Result<bool> {
        let busy = [
            COMPACTION_PENDING,
            MEM_TABLE_FLUSH_PENDING,
            NUM_RUNNING_COMPACTIONS,
            NUM_RUNNING_FLUSHES,
        ];
        let values: std::result::Result<Vec<_>, _> = busy
            .into_iter()
            .map(|property| self.database.property_int_value(property))
            .collect();
        Ok(values?.into_iter().flatten().any(|value| value > 0))
    }
}

impl System for RocksDb {
    fn load(
        &mut self,
        order: Order,
        chunks: &mut dyn Iterator<Item = Vec<Row>>,
        watch: &mut Watch,
    ) -> Result<()> {
        if order == Order::Ascending {
            return self.ingest(chunks, watch);
        }
        let mut options = WriteOptions::default();
        options.disable_wal(order == Order::Unlogged);
        for chunk in chunks {
            watch.time(|| {
                chunk
                    .chunks(BATCH_ROWS)
                    .try_for_each(|rows| self.write(rows, &options))
            })?;
        }
        let end = || {
            if order == Order::Unlogged {
                self.database.flush()
            } else {
                self.database.flush_wal(true)
            }
        };
        Ok(watch.time(end)?)
    }

    fn has_unlogged(&self) -> bool {
        true
    }

    fn settle(&mut self) -> Result<()> {
        self.database.flush()?;
        while self.is_busy()? {
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn stage(&self, rows: Vec<Row>) -> Staged<'_> {
        Box::new(move || {
            let mut options = WriteOptions::default();
            options.set_sync(true);
            Ok(self.write(&rows, &options)?)
        })
    }

    fn read(&self, as_of: Option<u64>, work: Work<'_>) -> Result<()> {
        work(&mut RocksDbReader {
            database: &self.database,
            as_of,
        })
    }

    fn count(&self, tag: u32) -> Result<u64> {
        let mut count = 0;
        for row in self.database.iterator(IteratorMode::Start) {
            count += u64::from(tag_of(&row?.1) == Some(tag));
        }
        Ok(count)
    }
}

struct RocksDbReader<'a> {
    database: &'a DB,
    as_of: Option<u64>,
}

impl Reader for RocksDbReader<'_> {
    fn get(&mut self, id: &Id) -> Result<Option<u64>> {
        let Some(version) = self.as_of else {
            return Ok(self.database.get_pinned(id)?.map(|value| mark_of(&value)));
        };
        let mut at = self.database.raw_iterator();
        at.seek_for_prev(&*Key::versioned(id, version));
        at.status()?;
        Ok(at
            .item()
            .filter(|(key, _)| key.starts_with(id))
            .map(|(_, value)| mark_of(value)))
    }

    fn get_many(&mut self, ids: &[Id], each: &mut dyn FnMut(Option<u64>)) -> Option<Result<()>> {
        let found = self.database.batched_multi_get_cf(
            self.database.cf_handle(DEFAULT_COLUMN_FAMILY_NAME)?,
            ids,
            false,
        );
        Some(found.into_iter().try_for_each(|value| {
            each(value?.map(|value| mark_of(&value)));
            Ok(())
        }))
    }
}
