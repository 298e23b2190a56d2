//! What a storage engine has to offer to be measured: one implementation per file beside this one.

use std::error::Error;
use std::ops::Deref;
use std::path::Path;

use crate::clock::Watch;
use crate::data::{Id, Row};

/// Whatever went wrong: a benchmark only says so and stops.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A durable commit that is prepared and waits to be made.
pub(crate) type Staged<'a> = Box<dyn FnOnce() -> Result<()> + Send + 'a>;

/// What is to be done with a reader.
pub(crate) type Work<'a> = &'a mut dyn FnMut(&mut dyn Reader) -> Result<()>;

/// How rows of a bulk load come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// By no order of their ids.
    Random,
    /// Ascending by id; the database is empty before.
    Ascending,
    /// By no order, and without the log that would keep what is written before the durable end.
    Unlogged,
}

/// What a peer finds rows by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    /// The id.
    Plain,
    /// The id and the version behind it: what a store of keys and values offers for reading the
    /// past.
    Versioned,
}

/// The bytes of a peer's key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    bytes: [u8; 40],
    len: usize,
}

impl Key {
    /// Id and version, so that versions of an id ascend.
    #[expect(
        clippy::big_endian_bytes,
        reason = "bytes have to sort like the number they stand for"
    )]
    pub(crate) fn versioned(id: &Id, version: u64) -> Self {
        let mut bytes = [0; 40];
        bytes[..32].copy_from_slice(id);
        bytes[32..].copy_from_slice(&version.to_be_bytes());
        Self { bytes, len: 40 }
    }
}

impl Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Keys {
    /// The key of a row.
    pub(crate) fn of(self, row: &Row) -> Key {
        let len = if self == Self::Plain { 32 } else { 40 };
        Key {
            len,
            ..Key::versioned(&row.id, row.version)
        }
    }
}

/// A database that is open.
pub(crate) trait System: Send + Sync {
    /// Writes many rows as fast as it can, durable when this returns; what the watch is given
    /// counts.
    fn load(
        &mut self,
        order: Order,
        chunks: &mut dyn Iterator<Item = Vec<Row>>,
        watch: &mut Watch,
    ) -> Result<()>;

    /// Whether a load can do without a log that it otherwise writes.
    fn has_unlogged(&self) -> bool {
        false
    }

    /// Waits until no work is left that a load has put off.
    fn settle(&mut self) -> Result<()> {
        Ok(())
    }

    /// Prepares a commit of these rows that is durable once made.
    fn stage(&self, rows: Vec<Row>) -> Staged<'_>;

    /// Has work done by a reader for this thread: of everything, or of what had been written up to
    /// a version.
    fn read(&self, as_of: Option<u64>, work: Work<'_>) -> Result<()>;

    /// How many rows have this tag, by looking at all of them.
    fn count(&self, tag: u32) -> Result<u64>;

    /// How many of its bytes on disk are index beside the data, if it can tell.
    fn index_bytes(&self) -> Result<Option<u64>> {
        Ok(None)
    }
}

/// Point lookups.
pub(crate) trait Reader {
    /// The mark of the value at an id (see [`crate::data::mark_of`]).
    fn get(&mut self, id: &Id) -> Result<Option<u64>>;

    /// The marks of many; `None` if that is nothing else than one after the other.
    fn get_many(&mut self, _ids: &[Id], _each: &mut dyn FnMut(Option<u64>)) -> Option<Result<()>> {
        None
    }
}

/// A kind of database.
pub(crate) struct Kind {
    /// What it is called.
    pub(crate) name: &'static str,
    /// Opens what is in a directory, or makes it.
    pub(crate) open: fn(&Path, Keys) -> Result<Box<dyn System>>,
}
