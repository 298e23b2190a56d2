//! LMDB by heed. One transaction per bulk load; every commit synced, as it is by default.

use std::path::Path;

use heed::types::Bytes;
use heed::{Database, Env, EnvOpenOptions, PutFlags, RoTxn, WithoutTls};

use crate::clock::Watch;
use crate::data::{Id, Row, mark_of, tag_of};
use crate::system::{Key, Keys, Order, Reader, Result, Staged, System, Work};

/// Address space, not memory.
const MAP_BYTES: usize = 64 << 30;

pub(crate) struct Lmdb {
    keys: Keys,
    rows: Database<Bytes, Bytes>,
    /// Absent only while it is being dropped.
    env: Option<Env<WithoutTls>>,
}

impl Lmdb {
    pub(crate) fn open(dir: &Path, keys: Keys) -> Result<Box<dyn System>> {
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(MAP_BYTES).max_readers(64);
        #[expect(
            unsafe_code,
            reason = "LMDB maps its file, and says that nobody else may change it"
        )]
        // SAFETY: the directory was made for this benchmark, and nothing else writes to it.
        let env = unsafe { options.open(dir)? };
        let mut transaction = env.write_txn()?;
        let rows = env.create_database(&mut transaction, None)?;
        transaction.commit()?;
        Ok(Box::new(Self {
            keys,
            rows,
            env: Some(env),
        }))
    }

    fn env(&self) -> Result<&Env<WithoutTls>> {
        Ok(self.env.as_ref().ok_or("closed")?)
    }

    fn write(&self, rows: &[Row]) -> Result<()> {
        let mut transaction = self.env()?.write_txn()?;
        for row in rows {
            self.rows
                .put(&mut transaction, &self.keys.of(row), &row.value.0)?;
        }
        Ok(transaction.commit()?)
    }
}

impl Drop for Lmdb {
    fn drop(&mut self) {
        if let Some(env) = self.env.take() {
            env.prepare_for_closing().wait();
        }
    }
}

impl System for Lmdb {
    fn load(
        &mut self,
        order: Order,
        chunks: &mut dyn Iterator<Item = Vec<Row>>,
        watch: &mut Watch,
    ) -> Result<()> {
        let flags = if order == Order::Ascending {
            PutFlags::APPEND
        } else {
            PutFlags::empty()
        };
        let mut transaction = self.env()?.write_txn()?;
        for chunk in chunks {
            watch.time(|| {
                let mut rows = chunk.iter();
                rows.try_for_each(|row| {
                    self.rows.put_with_flags(
                        &mut transaction,
                        flags,
                        &self.keys.of(row),
                        &row.value.0,
                    )
                })
            })?;
        }
        Ok(watch.time(|| transaction.commit())?)
    }

    fn stage(&self, rows: Vec<Row>) -> Staged<'_> {
        Box::new(move || self.write(&rows))
    }

    fn read(&self, as_of: Option<u64>, work: Work<'_>) -> Result<()> {
        work(&mut LmdbReader {
            rows: self.rows,
            transaction: self.env()?.read_txn()?,
            as_of,
        })
    }

    fn count(&self, tag: u32) -> Result<u64> {
        let transaction = self.env()?.read_txn()?;
        let mut count = 0;
        for row in self.rows.iter(&transaction)? {
            count += u64::from(tag_of(row?.1) == Some(tag));
        }
        Ok(count)
    }
}

struct LmdbReader<'a> {
    rows: Database<Bytes, Bytes>,
    transaction: RoTxn<'a, WithoutTls>,
    as_of: Option<u64>,
}

impl Reader for LmdbReader<'_> {
    fn get(&mut self, id: &Id) -> Result<Option<u64>> {
        let Some(version) = self.as_of else {
            return Ok(self.rows.get(&self.transaction, id)?.map(mark_of));
        };
        let found = self
            .rows
            .get_lower_than_or_equal_to(&self.transaction, &Key::versioned(id, version))?;
        Ok(found
            .filter(|(key, _)| key.starts_with(id))
            .map(|(_, value)| mark_of(value)))
    }
}
