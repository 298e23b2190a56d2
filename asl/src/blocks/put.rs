//! One payload being put: which of its blocks are here already, and appending those that are not.

use super::block::{Found, read_block};
use super::chunker::{Chunker, Piece};
use super::compress::{compress, compress_block};
use super::error::BlocksError;
use super::frame::{Codec, Header, Kind, len_of};
use super::handle::Blocks;
use super::index::Index;
use super::manifest::{Chunk, Manifest};
use super::pins::Pins;
use super::tail::Append;
use uor_index_format::id::Checksum;

/// What putting a payload did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutStats {
    /// The digest of the payload, by which it is found again.
    pub checksum: Checksum,
    /// Its length in bytes.
    pub len: u64,
    /// By how many bytes the packs grew for it: compressed, with headers, without what was already
    /// there.
    pub new_bytes: u64,
}

/// How a payload is put.
#[derive(Debug, Clone, Copy, Default)]
pub struct PutOptions {
    /// The digest it must have.
    pub expected: Option<Checksum>,
    /// The longest it may be, in bytes. Reading stops where it is exceeded, and what was stored of
    /// it until then is dead space.
    pub len_max: Option<u64>,
    /// Whether blocks that are here already are read and verified, and stored again if they are
    /// damaged.
    pub check_existing: bool,
}

/// One payload being put; threads share it.
pub(super) struct Put<'a> {
    pub(super) blocks: &'a Blocks,
    pub(super) options: &'a PutOptions,
    /// When it began, as the packs count: what it has found or written by then it rests on.
    pub(super) generation: u64,
    pub(super) pins: Pins<'a>,
}

/// Its chunks, as they are read.
pub(super) struct Cutting<'a> {
    pub(super) cutter: Chunker<'a>,
    /// How many bytes have been read.
    pub(super) len: u64,
    pub(super) len_max: u64,
    pub(super) on_progress: &'a mut dyn FnMut(u64),
}

/// A chunk whose bytes have been looked at, and what is to be appended for it.
pub(super) struct Prepared {
    pub(super) chunk: Chunk,
    /// Held until it is appended, so that the cutter's buffers bound what is under way.
    piece: Piece,
    stored: Stored,
}

enum Stored {
    AlreadyHere,
    Raw,
    Zstd(Vec<u8>),
}

impl Cutting<'_> {
    /// The next chunk; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Piece>, BlocksError> {
        let piece = self
            .cutter
            .next()
            .map_err(|source| BlocksError::Source { source })?;
        if let Some(piece) = &piece {
            self.len += piece.bytes().len() as u64;
            check_len(self.len, self.len_max)?;
            (self.on_progress)(self.len);
        }
        Ok(piece)
    }
}

impl Put<'_> {
    /// Names a chunk, and compresses it unless it is here.
    pub(super) fn prepare(&self, piece: Piece) -> Result<Prepared, BlocksError> {
        let bytes = piece.bytes();
        let chunk = Chunk {
            digest: Checksum::of(bytes),
            len: len_of(bytes),
        };
        self.pins.pin(chunk.digest);
        let stored = if self.has_chunk(chunk.digest)? {
            Stored::AlreadyHere
        } else {
            match compress(chunk.digest, bytes)? {
                (Codec::Raw, _) => Stored::Raw,
                (Codec::Zstd, stored) => Stored::Zstd(stored.into_owned()),
            }
        };
        Ok(Prepared {
            chunk,
            piece,
            stored,
        })
    }

    /// Appends a chunk unless it is here, and says by how much the packs grew.
    pub(super) fn append_prepared(&self, prepared: &Prepared) -> Result<u64, BlocksError> {
        let (codec, stored) = match &prepared.stored {
            Stored::AlreadyHere => return Ok(0),
            Stored::Raw => (Codec::Raw, prepared.piece.bytes()),
            Stored::Zstd(stored) => (Codec::Zstd, stored.as_slice()),
        };
        let Chunk {
            digest: name,
            len: raw_len,
        } = prepared.chunk;
        let header = Header {
            kind: Kind::Part,
            codec,
            raw_len,
            stored_len: len_of(stored),
            name,
        };
        self.append(header, stored)
    }

    /// Appends a block, if no one else did so meanwhile, and says by how much the packs grew.
    pub(super) fn append(&self, header: Header, stored: &[u8]) -> Result<u64, BlocksError> {
        let name = header.name;
        // The last: if that is damaged, it would stand again when the packs are opened next.
        let find = |index: &Index| {
            if header.kind == Kind::Part {
                index.last_chunk(name)
            } else {
                index.last_payload(name)
            }
        };
        // Where the index cannot be asked, the block is appended once more.
        let already = || {
            let found = self.blocks.ask(find);
            found.is_ok_and(|found| self.blocks.index().sound(found).is_some())
        };
        let generation = Some(self.generation);
        self.blocks.append_unless(
            already,
            &Append {
                header,
                stored,
                buries: &[],
                hold: false,
                generation,
            },
        )
    }

    /// Appends the manifest of a payload, and says by how much the packs grew.
    pub(super) fn append_manifest(
        &self,
        name: Checksum,
        chunks: Vec<Chunk>,
    ) -> Result<u64, BlocksError> {
        let raw = Manifest::new(name, chunks).encode();
        let (header, stored) = compress_block(Kind::Manifest, name, &raw)?;
        self.append(header, &stored)
    }

    /// Whether the payload, whose chunks these are, needs no other block than them.
    pub(super) fn is_here(&self, name: Checksum, chunks: &[Chunk]) -> Result<bool, BlocksError> {
        let found = self.blocks.ask(|index| index.last_payload(name))?;
        match found {
            Some(manifest)
                if manifest.at.header.kind == Kind::Manifest && self.options.check_existing =>
            {
                self.is_proven(&manifest, chunks)
            }
            found => self.is_sound(found),
        }
    }

    /// Whether a manifest lists these chunks, which are the payload's, or others that are.
    fn is_proven(&self, manifest: &Found, chunks: &[Chunk]) -> Result<bool, BlocksError> {
        let proven = self.blocks.manifest(manifest).and_then(|listed| {
            if listed.chunks == chunks {
                return self.blocks.settle(manifest, manifest.at.header.name);
            }
            // Cut by another rule, and of chunks that have not been looked at.
            let digest = self
                .blocks
                .digest(manifest.at.header.name, &listed.chunks)?;
            self.blocks.settle(manifest, digest)
        });
        match proven {
            Ok(()) => Ok(true),
            Err(BlocksError::Damaged(_) | BlocksError::MissingChunk { .. }) => {
                self.blocks.index_mut().note_damage(manifest.at.place);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the bytes of this digest are here, as a payload or as a part of one.
    pub(super) fn has_chunk(&self, name: Checksum) -> Result<bool, BlocksError> {
        let found = self.blocks.ask(|index| index.last_chunk(name))?;
        self.is_sound(found)
    }

    /// Whether a block can stand for the same bytes put again: it is not known to be damaged, and
    /// verifies if that was asked for.
    fn is_sound(&self, found: Option<Found>) -> Result<bool, BlocksError> {
        let Some(found) = self.blocks.index().sound(found) else {
            return Ok(false);
        };
        if !self.options.check_existing {
            return Ok(true);
        }
        match self.blocks.noting(&found, read_block(&found)) {
            Ok(_) => Ok(true),
            Err(BlocksError::Damaged(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the payload has the digest that was promised.
    pub(super) fn check_digest(&self, found: Checksum) -> Result<(), BlocksError> {
        match self.options.expected {
            Some(expected) if expected != found => {
                Err(BlocksError::WrongChecksum { expected, found })
            }
            _ => Ok(()),
        }
    }
}

/// Whether a payload of which `len` bytes have been read may be that long.
pub(super) fn check_len(len: u64, max: u64) -> Result<(), BlocksError> {
    if len > max {
        Err(BlocksError::TooLarge { len, max })
    } else {
        Ok(())
    }
}
