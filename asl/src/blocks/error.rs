//! Why packs could not be opened, or a payload read or put.

use std::io;

use super::damage::BlockDamage;
use crate::disk::{DiskError, Mode};
use uor_index_format::id::Checksum;

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
        source: io::Error,
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
        source: io::Error,
    },
    /// An earlier write or sync failed: what is on the disk is known only after opening the packs
    /// again.
    #[error("no payload can be stored since a write or sync failed; open the packs again")]
    Poisoned,
    /// The packs were opened to be read.
    #[error("the packs were opened to be read")]
    ReadOnly,
}

/// Why opening did not come to its end.
pub(super) enum Interrupted {
    /// What was read of this file no longer fits what is there: a writer is at work.
    Changed { file: String },
    /// It failed.
    Failed(BlocksError),
}

impl Interrupted {
    /// What an error means to one who opens in this mode: beside a writer, files that were listed
    /// may be gone.
    pub(super) fn of(mode: Mode) -> impl Fn(BlocksError) -> Self {
        move |error| match error {
            BlocksError::Disk(error)
                if mode == Mode::ReadOnly && error.source.kind() == io::ErrorKind::NotFound =>
            {
                Self::Changed { file: error.path }
            }
            error => Self::Failed(error),
        }
    }
}
