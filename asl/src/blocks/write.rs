//! Putting payloads: cut, named, compressed where it pays, appended once.

use std::io::Read;
use std::sync::Arc;

use super::compress::compress;
use super::cut::{Cutter, Piece};
use super::frame::{Codec, Header, Kind};
use super::index::{Found, Index, Location};
use super::manifest::{Chunk, Manifest};
use super::pack::{Append, Pack};
use super::pins::Pins;
use super::pipeline::Appended;
use super::read::read_block;
use super::{Blocks, BlocksError, CHUNK_LEN_MAX, pipeline};
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

impl Blocks {
    /// Stores what `source` gives until its end, in bounded memory; `on_progress` is told after
    /// every chunk how many bytes have been read.
    ///
    /// # Errors
    /// [`BlocksError::Source`]; [`BlocksError::TooLarge`]; [`BlocksError::Poisoned`];
    /// [`BlocksError::ReadOnly`]; [`BlocksError::Disk`]. In each case no payload was added.
    pub fn put(
        &self,
        source: &mut dyn Read,
        on_progress: &mut dyn FnMut(u64),
    ) -> Result<PutStats, BlocksError> {
        self.put_with(&PutOptions::default(), source, on_progress)
    }

    /// Stores these bytes.
    ///
    /// # Errors
    /// As [`Blocks::put`].
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<PutStats, BlocksError> {
        self.put(&mut &*bytes, &mut |_| {})
    }

    /// Stores what `source` gives until its end if its digest is `expected`.
    ///
    /// # Errors
    /// [`BlocksError::WrongChecksum`], or as [`Blocks::put`]. In each case no payload was added.
    pub fn put_verified(
        &self,
        expected: Checksum,
        source: &mut dyn Read,
    ) -> Result<PutStats, BlocksError> {
        self.put_with(
            &PutOptions {
                expected: Some(expected),
                ..PutOptions::default()
            },
            source,
            &mut |_| {},
        )
    }

    /// Stores what `source` gives until its end, as `options` say.
    ///
    /// # Errors
    /// As [`Blocks::put`]; [`BlocksError::WrongChecksum`].
    pub fn put_with(
        &self,
        options: &PutOptions,
        source: &mut dyn Read,
        on_progress: &mut dyn FnMut(u64),
    ) -> Result<PutStats, BlocksError> {
        let generation = self.tail()?.generation();
        let len_max = options.len_max.unwrap_or(u64::MAX);
        // One byte more shows that it is longer.
        let source: &mut dyn Read = &mut source.take(len_max.saturating_add(1));
        let mut head = Vec::new();
        let read = source.take(CHUNK_LEN_MAX as u64 + 1).read_to_end(&mut head);
        read.map_err(|source| BlocksError::Source { source })?;
        check_len(head.len() as u64, len_max)?;
        let put = Put {
            blocks: self,
            options,
            generation,
            pins: Pins::new(&self.pins),
        };
        let stats = if head.len() <= CHUNK_LEN_MAX {
            put.whole(&head)?
        } else {
            put.chunked(&mut Cutting {
                cutter: Cutter::new(head, source),
                len: 0,
                len_max,
                on_progress,
            })?
        };
        on_progress(stats.len);
        Ok(stats)
    }

    /// Makes everything put so far durable; free if it already is.
    ///
    /// # Errors
    /// [`BlocksError::Poisoned`]; [`BlocksError::ReadOnly`]; [`BlocksError::Disk`], after which the
    /// packs are poisoned.
    pub fn sync(&self) -> Result<(), BlocksError> {
        self.tail()?.sync()
    }

    pub(super) fn tail(&self) -> Result<&super::pack::Tail, BlocksError> {
        self.tail.as_ref().ok_or(BlocksError::ReadOnly)
    }

    /// Appends a block, if no one else did so meanwhile, and says by how much the packs grew.
    fn append(&self, generation: u64, header: Header, stored: &[u8]) -> Result<u64, BlocksError> {
        let name = header.name;
        // The last: if that is damaged, it would stand again when the packs are opened anew.
        let find = |index: &Index| {
            if header.kind == Kind::Part {
                index.last_chunk(name)
            } else {
                index.last_payload(name)
            }
        };
        // Where the index cannot be asked, the block is appended once more.
        let already = || {
            self.ask(find)
                .is_ok_and(|found| self.index().sound(found).is_some())
        };
        let generation = Some(generation);
        self.append_unless(
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

    /// Closes the pack of this number, if it is the last.
    pub(super) fn close(&self, number: u32) -> Result<(), BlocksError> {
        self.tail()?
            .close(&self.disk, number, |pack| self.begun(pack))
    }

    /// Takes a pack that was begun, and seals the one before.
    fn begun(&self, pack: Arc<Pack>) {
        let closed = pack.number - 1;
        self.index_mut().packs.insert(pack.number, pack);
        self.seal_closed(closed);
    }

    /// Appends a block unless it is `already` here, and says by how much the packs grew.
    pub(super) fn append_unless(
        &self,
        already: impl FnOnce() -> bool,
        block: &Append<'_>,
    ) -> Result<u64, BlocksError> {
        self.tail()?.append(
            &self.disk,
            block,
            already,
            |pack| self.begun(pack),
            |place| {
                let mut index = self.index_mut();
                index.append(Location {
                    place,
                    header: block.header,
                });
                index.record(place.pack, block.buries.iter().copied());
            },
        )
    }
}

/// One payload being put; threads share it.
pub(super) struct Put<'a> {
    blocks: &'a Blocks,
    options: &'a PutOptions,
    /// When it began, as the packs count: what it has found or written by then it rests on.
    generation: u64,
    pins: Pins<'a>,
}

/// Its chunks, as they are read.
pub(super) struct Cutting<'a> {
    cutter: Cutter<'a>,
    len: u64,
    len_max: u64,
    on_progress: &'a mut dyn FnMut(u64),
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
    fn whole(&self, bytes: &[u8]) -> Result<PutStats, BlocksError> {
        let checksum = Checksum::of(bytes);
        self.check_digest(checksum)?;
        self.pins.pin_payload(checksum);
        let len = block_len(bytes);
        let new_bytes = if self.is_here(
            checksum,
            &[Chunk {
                digest: checksum,
                len,
            }],
        )? {
            0
        } else if self.has_chunk(checksum)? {
            // The bytes are there, as a part of something longer.
            self.append_manifest(
                checksum,
                vec![Chunk {
                    digest: checksum,
                    len,
                }],
            )?
        } else {
            let (codec, stored) = compress(checksum, bytes)?;
            let stored_len = block_len(&stored);
            let header = Header {
                kind: Kind::Whole,
                codec,
                raw_len: len,
                stored_len,
                name: checksum,
            };
            self.blocks.append(self.generation, header, &stored)?
        };
        Ok(PutStats {
            checksum,
            len: u64::from(len),
            new_bytes,
        })
    }

    fn chunked(&self, cutting: &mut Cutting<'_>) -> Result<PutStats, BlocksError> {
        let pipeline::Outcome { checksum, appended } = match self.blocks.threads {
            0 | 1 => pipeline::inline(self, cutting)?,
            threads => pipeline::parallel(self, threads, cutting)?,
        };
        self.check_digest(checksum)?;
        self.pins.pin_payload(checksum);
        let Appended {
            chunks,
            len,
            mut new_bytes,
        } = appended;
        if !self.is_here(checksum, &chunks)? {
            new_bytes += self.append_manifest(checksum, chunks)?;
        }
        Ok(PutStats {
            checksum,
            len,
            new_bytes,
        })
    }

    /// Names a chunk, and compresses it unless it is here.
    pub(super) fn prepare(&self, piece: Piece) -> Result<Prepared, BlocksError> {
        let bytes = piece.bytes();
        let chunk = Chunk {
            digest: Checksum::of(bytes),
            len: block_len(bytes),
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
            stored_len: block_len(stored),
            name,
        };
        self.blocks.append(self.generation, header, stored)
    }

    fn append_manifest(&self, name: Checksum, chunks: Vec<Chunk>) -> Result<u64, BlocksError> {
        let raw = Manifest::new(name, chunks).encode();
        let (codec, stored) = compress(name, &raw)?;
        let (raw_len, stored_len) = (block_len(&raw), block_len(&stored));
        let header = Header {
            kind: Kind::Manifest,
            codec,
            raw_len,
            stored_len,
            name,
        };
        self.blocks.append(self.generation, header, &stored)
    }

    /// Whether the payload, whose chunks these are, needs no other block than them.
    fn is_here(&self, name: Checksum, chunks: &[Chunk]) -> Result<bool, BlocksError> {
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

    fn has_chunk(&self, name: Checksum) -> Result<bool, BlocksError> {
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

    fn check_digest(&self, found: Checksum) -> Result<(), BlocksError> {
        match self.options.expected {
            Some(expected) if expected != found => {
                Err(BlocksError::WrongChecksum { expected, found })
            }
            _ => Ok(()),
        }
    }
}

fn check_len(len: u64, max: u64) -> Result<(), BlocksError> {
    if len > max {
        Err(BlocksError::TooLarge { len, max })
    } else {
        Ok(())
    }
}

/// Blocks are at most 64 MiB long.
pub(super) fn block_len(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("blocks are bounded before they are appended")
}
