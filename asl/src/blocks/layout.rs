//! What the files of the packs are called and begin with, and how long chunks become.

/// The directory of packs.
pub(super) const DIR: &str = "blocks";
/// How the names of packs end.
pub(super) const EXTENSION: &str = "pack";
/// What packs begin with.
pub(super) const MAGIC: [u8; 8] = *b"UORPACK\0";
/// The version of packs that are written; 1 had no records of what is gone.
pub(super) const VERSION: u16 = 2;

/// The list of packs.
pub(super) const LIST_PATH: &str = "blocks/packs.list";

/// The directory of everything that can be rebuilt, the index of blocks among it.
pub(super) const INDEX_DIR: &str = "index";

/// The longest chunk, and the longest payload that is stored as one block, in bytes.
pub const CHUNK_LEN_MAX: usize = 4 << 20;
/// How long chunks are on average, in bytes.
pub(super) const CHUNK_LEN_AVERAGE: usize = 1 << 20;
/// The shortest chunk but for the last of a payload, in bytes.
pub(super) const CHUNK_LEN_MIN: usize = 256 << 10;

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
    /// How many threads are taken: at least 1.
    pub(super) fn threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism()
                .map_or(1, usize::from)
                .min(THREADS_MAX),
            threads => threads,
        }
    }
}
