//! redb: a copy-on-write B-tree. One transaction per bulk load; every commit synced, as it is by
//! default.

use std::path::Path;

use redb::{Database, ReadOnlyTable, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use crate::clock::Watch;
use crate::data::{Id, Row, mark_of, tag_of};
use crate::system::{Key, Keys, Order, Reader, Result, Staged, System, Work};

/// Holds everything at the default size, so that warm lookups are warm.
const CACHE_BYTES: usize = 1 << 30;

const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");

pub(crate) struct Redb {
    keys: Keys,
    database: Database,
}

impl Redb {
    pub(crate) fn open(dir: &Path, keys: Keys) -> Result<Box<dyn System>> {
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(dir.join("rows.redb"))?;
        Ok(Box::new(Self { keys, database }))
    }

    fn write(&self, rows: &[Row]) -> Result<()> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(ROWS)?;
            for row in rows {
                table.insert(&*self.keys.of(row), row.value.0.as_slice())?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn table(&self) -> Result<ReadOnlyTable<&'static [u8], &'static [u8]>> {
        Ok(self.database.begin_read()?.open_table(ROWS)?)
    }
}

impl System for Redb {
    fn load(
        &mut self,
        _order: Order,
        chunks: &mut dyn Iterator<Item = Vec<Row>>,
        watch: &mut Watch,
    ) -> Result<()> {
        let transaction = self.database.begin_write()?;
        let mut table = transaction.open_table(ROWS)?;
        for chunk in chunks {
            watch.time(|| {
                let mut rows = chunk.iter();
                rows.try_for_each(|row| {
                    table
                        .insert(&*self.keys.of(row), row.value.0.as_slice())
                        .map(drop)
                })
            })?;
        }
        drop(table);
        Ok(watch.time(|| transaction.commit())?)
    }

    fn stage(&self, rows: Vec<Row>) -> Staged<'_> {
        Box::new(move || self.write(&rows))
    }

    fn read(&self, as_of: Option<u64>, work: Work<'_>) -> Result<()> {
        work(&mut RedbReader {
            table: self.table()?,
            as_of,
        })
    }

    fn count(&self, tag: u32) -> Result<u64> {
        let mut count = 0;
        for row in self.table()?.iter()? {
            count += u64::from(tag_of(row?.1.value()) == Some(tag));
        }
        Ok(count)
    }
}

struct RedbReader {
    table: ReadOnlyTable<&'static [u8], &'static [u8]>,
    as_of: Option<u64>,
}

impl Reader for RedbReader {
    fn get(&mut self, id: &Id) -> Result<Option<u64>> {
        let Some(version) = self.as_of else {
            return Ok(self
                .table
                .get(id.as_slice())?
                .map(|value| mark_of(value.value())));
        };
        let (from, to) = (Key::versioned(id, 0), Key::versioned(id, version));
        let newest = self
            .table
            .range::<&[u8]>(&*from..=&*to)?
            .next_back()
            .transpose()?;
        Ok(newest.map(|(_, value)| mark_of(value.value())))
    }
}
