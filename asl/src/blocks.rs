//! Payloads, named by their digest, in append-only packs. A payload of up to 4 MiB is one block; a
//! longer one is cut by its content into chunks that payloads share, with a manifest that lists
//! them. Layout, and every way a crash can fall: `FORMAT.md`, "Blocks"; design §6.
//!
//! Invariants:
//! * what is read has the digest it was asked by, or reading fails and names file, offset and both
//!   digests;
//! * a payload is visible only when all of it has been written and its digest is the one it was
//!   promised to have;
//! * a payload is durable once [`Blocks::sync`] has returned, which a commit that names it has to
//!   wait for;
//! * after a failed write or sync nothing is put until the packs are opened again.

mod collect;
mod compress;
mod cut;
mod damage;
mod erase;
mod frame;
mod give_up;
mod index;
mod list;
mod lost;
mod manifest;
mod pack;
mod pins;
mod pipeline;
mod present;
mod read;
mod record;
mod recover;
mod reopen;
mod run;
mod scan;
mod seal;
mod verify;
mod write;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use self::collect::Collected;
pub use self::damage::BlockDamage;
pub use self::erase::Erased;
pub use self::manifest::Chunk;
pub use self::read::PayloadReader;
pub use self::verify::Verified;
pub use self::write::{PutOptions, PutStats};
use crate::disk::{Disk, DiskError, Mode};
use uor_index_format::id::Checksum;

/// The longest chunk, and the longest payload that is stored as one block, in bytes.
pub const CHUNK_LEN_MAX: usize = 4 << 20;
const CHUNK_LEN_AVERAGE: usize = 1 << 20;
const CHUNK_LEN_MIN: usize = 256 << 10;

const DIR: &str = "blocks";
const EXTENSION: &str = "pack";
const MAGIC: [u8; 8] = *b"UORPACK\0";
/// The version of packs that are written; 1 had no records of what is gone.
const VERSION: u16 = 2;

/// Sizes that may differ between stores without changing the format.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// A pack is closed when the next block would make it longer than this many bytes; a longer
    /// block gets a pack of its own.
    pub pack_bytes: u64,
    /// How many threads name and compress the chunks of one long payload; 0 for as many as the
    /// machine has, but at most [`THREADS_MAX`]. With 1 everything is done in the caller's thread.
    /// What is stored does not depend on it.
    pub threads: usize,
}

/// The most threads that are taken without being asked for.
pub const THREADS_MAX: usize = 8;

impl Default for Options {
    fn default() -> Self {
        Self {
            pack_bytes: 256 << 20,
            threads: 0,
        }
    }
}

impl Options {
    fn threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism()
                .map_or(1, usize::from)
                .min(THREADS_MAX),
            threads => threads,
        }
    }
}

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Number of payloads, going by the index alone: one that was stored again because it was
    /// damaged may count twice, and one that is gone until the run it is in is written anew.
    pub payloads: u64,
    /// Number of pack files.
    pub packs: u32,
    /// Files of the index of blocks that were missing, damaged, or did not fit the packs, and were
    /// made anew, or by a reader done without.
    pub rebuilt: Vec<String>,
    /// What was written but never synced, and is no whole block. Nothing that was acknowledged
    /// rests on it.
    pub cut: Option<Cut>,
    /// Packs that are missing, and damaged places that were passed over and left as they are; of a
    /// reader, also what is damaged of what a writer makes anew.
    pub damages: Vec<BlockDamage>,
    /// What was damaged, and a writer has made anew: the list of packs, and files of the index of
    /// blocks.
    pub mended: Vec<BlockDamage>,
}

impl Recovery {
    /// Whether something may not be here that was: a pack, or some of it. Without the list it is
    /// not known which there were.
    #[must_use]
    pub fn has_lost(&self) -> bool {
        self.damages
            .iter()
            .chain(&self.mended)
            .any(|damage| !damage.is_of_index())
    }
}

/// A torn tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The last pack's file.
    pub file: String,
    /// Where the valid blocks end.
    pub offset: u64,
    /// How many bytes came after; a writer cuts them off, a reader leaves them in place.
    pub bytes: u64,
}

/// Why packs could not be opened, or a payload read or put.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlocksError {
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A file of a newer format.
    #[error("{file} has format version {found}, this program reads up to {supported}")]
    Newer {
        /// The file's path inside the store.
        file: String,
        /// The version the file states.
        found: u16,
        /// The newest version this program reads.
        supported: u16,
    },
    /// Bytes that had been durable are not what was written.
    #[error("{0}")]
    Damaged(BlockDamage),
    /// To a reader: whenever the packs were opened, a writer had replaced what had just been
    /// listed.
    #[error(
        "{file} changed while the packs were opened, {attempts} times in a row: a writer keeps changing them"
    )]
    Unsettled {
        /// The file's path inside the store.
        file: String,
        /// How often opening was tried.
        attempts: u32,
    },
    /// Whoever was told of progress broke off.
    #[error("it was given up before it was done")]
    Cancelled,
    /// No payload of this digest is here.
    #[error("payload {checksum} is not stored here")]
    Unknown {
        /// The digest asked for.
        checksum: Checksum,
    },
    /// A chunk of a payload is not here, though its manifest is.
    #[error("chunk {chunk} of payload {checksum} is not stored here")]
    MissingChunk {
        /// The payload asked for.
        checksum: Checksum,
        /// The digest of its missing chunk.
        chunk: Checksum,
    },
    /// A range that is not inside the payload.
    #[error("bytes {start} to {end} are not inside payload {checksum} of {len} bytes")]
    OutOfRange {
        /// The payload asked for.
        checksum: Checksum,
        /// First byte asked for.
        start: u64,
        /// One past the last byte asked for.
        end: u64,
        /// The payload's length.
        len: u64,
    },
    /// A payload longer than the caller, or a manifest, has room for.
    #[error("payload of {len} bytes is longer than {max}")]
    TooLarge {
        /// Its length, as far as it was read.
        len: u64,
        /// The longest possible.
        max: u64,
    },
    /// The bytes put have another digest than they were promised to have; no payload was added.
    #[error("payload should have checksum {expected}, the bytes have {found}")]
    WrongChecksum {
        /// The digest promised.
        expected: Checksum,
        /// The digest found.
        found: Checksum,
    },
    /// Where the payload was to be read from, reading failed; no payload was added.
    #[error("could not read the payload to be stored")]
    Source {
        /// What the source said.
        #[source]
        source: std::io::Error,
    },
    /// zstd could not compress or decompress.
    #[error("could not {action} block {digest}")]
    Compression {
        /// `compress` or `decompress`.
        action: &'static str,
        /// The block's name.
        digest: Checksum,
        /// What zstd said.
        #[source]
        source: std::io::Error,
    },
    /// An earlier write or sync failed: what is on the disk is known only after opening the packs
    /// again.
    #[error("no payload can be stored since a write or sync failed; open the packs again")]
    Poisoned,
    /// The packs were opened to be read.
    #[error("the packs were opened to be read")]
    ReadOnly,
}

/// The open packs. Threads share them: reading waits for nothing, putting only to append.
pub struct Blocks {
    disk: Arc<dyn Disk>,
    index: RwLock<index::Index>,
    /// Where the next block goes; a reader has none.
    tail: Option<pack::Tail>,
    /// Where the last pack's valid blocks ended when the packs were opened.
    end: u64,
    /// What was passed over: by a reader in packs, and in what can be rebuilt.
    damages: Mutex<Vec<BlockDamage>>,
    /// What puts under way rest on.
    pins: pins::PinBoard,
    /// Held while something is erased or collected.
    maintenance: Mutex<()>,
    threads: usize,
}

impl Blocks {
    /// Opens the packs on `disk`; see [`Blocks::open_with`].
    ///
    /// # Errors
    /// As [`Blocks::open_with`].
    pub fn open(disk: Arc<dyn Disk>, mode: Mode) -> Result<(Self, Recovery), BlocksError> {
        Self::open_with(disk, mode, Options::default())
    }

    /// Opens the packs in directory `blocks` of `disk`, reading every header, and every byte of
    /// what is not known to be durable. What is damaged or missing is said and passed over. A
    /// writer creates the directory if there is none, cuts a torn tail, makes every block durable
    /// that is not known to be, and appends behind what is damaged. A reader changes nothing, and
    /// begins again where a writer has meanwhile replaced what it had listed.
    ///
    /// # Errors
    /// [`BlocksError::Newer`]; [`BlocksError::Unsettled`] to a reader beside a writer that does not
    /// come to rest; [`BlocksError::Disk`].
    pub fn open_with(
        disk: Arc<dyn Disk>,
        mode: Mode,
        options: Options,
    ) -> Result<(Self, Recovery), BlocksError> {
        recover::open(&disk, mode, options)
    }

    /// Whether this payload is here (whether its bytes are sound is known only when they are read).
    #[must_use]
    pub fn has(&self, checksum: Checksum) -> bool {
        self.ask(|index| index.payload(checksum))
            .is_ok_and(|found| found.is_some())
    }

    /// Digests of all payloads, ascending.
    #[must_use]
    pub fn payloads(&self) -> Vec<Checksum> {
        self.ask(index::Index::payloads).unwrap_or_default()
    }

    /// Remembers that a block is damaged, if reading it said so.
    fn noting<T>(
        &self,
        found: &index::Found,
        result: Result<T, BlocksError>,
    ) -> Result<T, BlocksError> {
        if matches!(result, Err(BlocksError::Damaged(_))) {
            self.index_mut().note_damage(found.at.place);
        }
        result
    }

    fn damages(&self) -> MutexGuard<'_, Vec<BlockDamage>> {
        self.damages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index(&self) -> RwLockReadGuard<'_, index::Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, index::Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}
