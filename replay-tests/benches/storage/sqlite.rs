//! SQLite: a table clustered by its key, with the type tag as a column. Write-ahead log,
//! `synchronous = FULL`.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use crate::clock::Watch;
use crate::data::{Id, Row, mark_of};
use crate::system::{Key, Keys, Order, Reader, Result, Staged, System, Work};

/// A page cache that holds everything at the default size, the file mapped, and no sync left out.
const SETTINGS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA cache_size = -1048576;
    PRAGMA mmap_size = 17179869184;
    CREATE TABLE IF NOT EXISTS rows (key BLOB PRIMARY KEY, tag INTEGER NOT NULL, value BLOB NOT NULL) WITHOUT ROWID;
";
const INSERT: &str = "INSERT INTO rows VALUES (?1, ?2, ?3)";
const GET: &str = "SELECT value FROM rows WHERE key = ?1";
const GET_AS_OF: &str =
    "SELECT value FROM rows WHERE key BETWEEN ?1 AND ?2 ORDER BY key DESC LIMIT 1";
const COUNT: &str = "SELECT count(*) FROM rows WHERE tag = ?1";

pub(crate) struct Sqlite {
    keys: Keys,
    path: PathBuf,
    /// It has one writer at a time; waiting here is cheaper than retrying there.
    writer: Mutex<Connection>,
}

impl Sqlite {
    pub(crate) fn open(dir: &Path, keys: Keys) -> Result<Box<dyn System>> {
        let path = dir.join("rows.sqlite");
        let writer = Mutex::new(connect(&path)?);
        Ok(Box::new(Self { keys, path, writer }))
    }

    fn writer(&self) -> MutexGuard<'_, Connection> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, transaction: &Transaction<'_>, rows: &[Row]) -> rusqlite::Result<()> {
        let mut insert = transaction.prepare_cached(INSERT)?;
        rows.iter().try_for_each(|row| {
            insert
                .execute(params![
                    &*self.keys.of(row),
                    row.value.tag(),
                    row.value.0.as_slice()
                ])
                .map(drop)
        })
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.execute_batch(SETTINGS)?;
    Ok(connection)
}

impl System for Sqlite {
    fn load(
        &mut self,
        _order: Order,
        chunks: &mut dyn Iterator<Item = Vec<Row>>,
        watch: &mut Watch,
    ) -> Result<()> {
        let mut writer = self.writer();
        let transaction = writer.transaction()?;
        for chunk in chunks {
            watch.time(|| self.insert(&transaction, &chunk))?;
        }
        Ok(watch.time(|| transaction.commit())?)
    }

    /// Moves what is in the write-ahead log to its place.
    fn settle(&mut self) -> Result<()> {
        Ok(self
            .writer()
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }

    fn stage(&self, rows: Vec<Row>) -> Staged<'_> {
        Box::new(move || {
            let mut writer = self.writer();
            let transaction = writer.transaction()?;
            self.insert(&transaction, &rows)?;
            Ok(transaction.commit()?)
        })
    }

    fn read(&self, as_of: Option<u64>, work: Work<'_>) -> Result<()> {
        let connection = connect(&self.path)?;
        // One read transaction for all lookups, as the others have.
        connection.execute_batch("BEGIN")?;
        work(&mut SqliteReader { connection, as_of })
    }

    fn count(&self, tag: u32) -> Result<u64> {
        let count: i64 = self.writer().query_row(COUNT, [tag], |row| row.get(0))?;
        Ok(u64::try_from(count)?)
    }
}

struct SqliteReader {
    connection: Connection,
    as_of: Option<u64>,
}

impl Reader for SqliteReader {
    fn get(&mut self, id: &Id) -> Result<Option<u64>> {
        let mark = |row: &rusqlite::Row<'_>| Ok(mark_of(row.get_ref(0)?.as_blob()?));
        let found = match self.as_of {
            None => self
                .connection
                .prepare_cached(GET)?
                .query_row([id.as_slice()], mark),
            Some(version) => {
                let (from, to) = (Key::versioned(id, 0), Key::versioned(id, version));
                self.connection
                    .prepare_cached(GET_AS_OF)?
                    .query_row([&*from, &*to], mark)
            }
        };
        Ok(found.optional()?)
    }
}
