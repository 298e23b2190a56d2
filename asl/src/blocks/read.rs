//! Reading payloads: each chunk is verified by its digest before a byte of it is given out, and the
//! manifest that lists the chunks by the digest of them all.
//!
//! That a manifest lists the chunks of the payload it names follows from nothing but all the bytes:
//! chunks end where contents say and not where BLAKE3's tree branches, so their digests do not add
//! up to the payload's. Reading everything proves it on the way; ranges have it proven first, once
//! for each process.

use std::io::{self, Read};
use std::ops::Range;

use super::block::{Found, read_block, read_manifest};
use super::error::BlocksError;
use super::frame::Kind;
use super::handle::Blocks;
use super::manifest::{Chunk, Manifest};
use super::place::Location;
use uor_index_format::id::Checksum;

/// The bytes of a payload, or of a range of it, one chunk in memory at a time.
///
/// Its errors carry a [`BlocksError`].
pub struct PayloadReader<'a> {
    blocks: &'a Blocks,
    checksum: Checksum,
    chunks: std::vec::IntoIter<Chunk>,
    /// The bytes of the chunk being read, and how many of them have been.
    current: Vec<u8>,
    at: usize,
    /// How many bytes of the next chunk come before the range.
    skip: usize,
    /// How many bytes are still to be given.
    left: u64,
    proof: Option<Proof>,
}

/// What proves a manifest while everything that it lists is read.
struct Proof {
    manifest: Found,
    hasher: blake3::Hasher,
}

impl Blocks {
    /// The length of a payload in bytes.
    ///
    /// # Errors
    /// [`BlocksError::Unknown`]; [`BlocksError::Damaged`] or [`BlocksError::Disk`] where its
    /// manifest cannot be read.
    pub fn payload_len(&self, checksum: Checksum) -> Result<u64, BlocksError> {
        let found = self
            .ask(|index| index.payload(checksum))?
            .ok_or(BlocksError::Unknown { checksum })?;
        match found.at.header.kind {
            Kind::Manifest => Ok(self.manifest(&found)?.len),
            _ => Ok(u64::from(found.at.header.raw_len)),
        }
    }

    /// The chunks of a payload, in order: itself, if it is stored as one.
    ///
    /// # Errors
    /// As [`Blocks::payload_len`].
    pub fn chunks(&self, checksum: Checksum) -> Result<Vec<Chunk>, BlocksError> {
        Ok(self.listed(checksum)?.0)
    }

    /// All bytes of a payload, as a stream. Where a manifest turns out to list other bytes than the
    /// payload's, the stream fails before it gives out the last chunk.
    ///
    /// # Errors
    /// As [`Blocks::payload_len`]; reading the stream can give further errors.
    pub fn read(&self, checksum: Checksum) -> Result<PayloadReader<'_>, BlocksError> {
        let (chunks, manifest) = self.listed(checksum)?;
        let left = total_len(&chunks);
        let proof = manifest.map(|manifest| Proof {
            manifest,
            hasher: blake3::Hasher::new(),
        });
        Ok(PayloadReader {
            proof,
            ..self.reader(checksum, chunks, 0, left)
        })
    }

    /// The bytes of a payload in `range`, as a stream. The first range of a payload of many chunks
    /// that is read in this process has all of them read, so that no byte is given out that is not
    /// the payload's; after that, and for other payloads, only the chunks that the range needs are.
    ///
    /// # Errors
    /// [`BlocksError::OutOfRange`]; [`BlocksError::MissingChunk`]; else as [`Blocks::read`].
    pub fn read_range(
        &self,
        checksum: Checksum,
        range: Range<u64>,
    ) -> Result<PayloadReader<'_>, BlocksError> {
        let (chunks, manifest) = self.listed(checksum)?;
        check_range(checksum, &range, &chunks)?;
        if let Some(manifest) = manifest {
            self.prove(&manifest, &chunks)?;
        }
        Ok(self.range_reader(checksum, chunks, range))
    }

    /// As [`Blocks::read_range`], for those who verify the whole payload when they have all of it:
    /// chunks outside the range are not read, so each chunk is known to be one that the manifest
    /// lists, and not that the manifest is right.
    ///
    /// # Errors
    /// As [`Blocks::read_range`].
    pub fn read_part(
        &self,
        checksum: Checksum,
        range: Range<u64>,
    ) -> Result<PayloadReader<'_>, BlocksError> {
        let (chunks, _) = self.listed(checksum)?;
        check_range(checksum, &range, &chunks)?;
        Ok(self.range_reader(checksum, chunks, range))
    }

    /// All bytes of a payload that is at most `len_max` bytes long.
    ///
    /// # Errors
    /// [`BlocksError::TooLarge`], before anything is allocated; [`BlocksError::MissingChunk`]; else
    /// as [`Blocks::read`].
    pub fn read_all(&self, checksum: Checksum, len_max: u64) -> Result<Vec<u8>, BlocksError> {
        let (chunks, manifest) = self.listed(checksum)?;
        let len = total_len(&chunks);
        if len > len_max {
            return Err(BlocksError::TooLarge { len, max: len_max });
        }
        let mut bytes = Vec::new();
        for chunk in chunks {
            bytes.append(&mut self.read_chunk(checksum, chunk)?);
        }
        if let Some(manifest) = manifest {
            self.settle(&manifest, Checksum::of(&bytes))?;
        }
        Ok(bytes)
    }

    /// The chunks of a payload, and the manifest that lists them, if one does.
    fn listed(&self, checksum: Checksum) -> Result<(Vec<Chunk>, Option<Found>), BlocksError> {
        let found = self
            .ask(|index| index.payload(checksum))?
            .ok_or(BlocksError::Unknown { checksum })?;
        match found.at.header.kind {
            Kind::Manifest => Ok((self.manifest(&found)?.chunks, Some(found))),
            _ => Ok((
                vec![Chunk {
                    digest: checksum,
                    len: found.at.header.raw_len,
                }],
                None,
            )),
        }
    }

    fn range_reader(
        &self,
        checksum: Checksum,
        mut chunks: Vec<Chunk>,
        range: Range<u64>,
    ) -> PayloadReader<'_> {
        let mut before = 0;
        let mut whole_before = 0;
        while let Some(chunk) = chunks
            .get(whole_before)
            .filter(|chunk| before + u64::from(chunk.len) <= range.start)
        {
            before += u64::from(chunk.len);
            whole_before += 1;
        }
        chunks.drain(..whole_before);
        let skip = usize::try_from(range.start - before).expect("the range begins in this chunk");
        self.reader(checksum, chunks, skip, range.end - range.start)
    }

    fn reader(
        &self,
        checksum: Checksum,
        chunks: Vec<Chunk>,
        skip: usize,
        left: u64,
    ) -> PayloadReader<'_> {
        let chunks = chunks.into_iter();
        PayloadReader {
            blocks: self,
            checksum,
            chunks,
            current: Vec::new(),
            at: 0,
            skip,
            left,
            proof: None,
        }
    }

    /// Proves by all its bytes that a manifest lists the chunks of the payload that it names,
    /// unless that was done already.
    pub(super) fn prove(&self, manifest: &Found, chunks: &[Chunk]) -> Result<(), BlocksError> {
        if self.index().is_proven(manifest.at.place) {
            return Ok(());
        }
        self.settle(manifest, self.digest(manifest.at.header.name, chunks)?)
    }

    /// The digest of these chunks, one after the other.
    pub(super) fn digest(
        &self,
        payload: Checksum,
        chunks: &[Chunk],
    ) -> Result<Checksum, BlocksError> {
        let mut hasher = blake3::Hasher::new();
        for chunk in chunks {
            hasher.update(&self.read_chunk(payload, *chunk)?);
        }
        Ok(Checksum::from_bytes(*hasher.finalize().as_bytes()))
    }

    /// Remembers what the bytes that a manifest lists prove of it.
    pub(super) fn settle(&self, manifest: &Found, found: Checksum) -> Result<(), BlocksError> {
        let Location { place, header } = manifest.at;
        if found != header.name {
            self.index_mut().note_damage(place);
            let (expected, found) = (header.name.to_string(), found.to_string());
            return Err(BlocksError::Damaged(manifest.damage(
                "digest of all chunks",
                expected,
                found,
            )));
        }
        if !self.index().is_proven(place) {
            self.index_mut().note_proof(place);
        }
        Ok(())
    }

    /// The bytes of a chunk of payload `checksum`.
    pub(super) fn read_chunk(
        &self,
        checksum: Checksum,
        chunk: Chunk,
    ) -> Result<Vec<u8>, BlocksError> {
        let absent = BlocksError::MissingChunk {
            checksum,
            chunk: chunk.digest,
        };
        let found = self.ask(|index| index.chunk(chunk.digest))?.ok_or(absent)?;
        let bytes = self.noting(&found, read_block(&found))?;
        if bytes.len() == chunk.len as usize {
            return Ok(bytes);
        }
        let (expected, actual) = (
            format!("{} bytes", chunk.len),
            format!("{} bytes", bytes.len()),
        );
        Err(BlocksError::Damaged(found.damage(
            "chunk length",
            expected,
            actual,
        )))
    }

    /// The manifest in this block.
    pub(super) fn manifest(&self, found: &Found) -> Result<Manifest, BlocksError> {
        self.noting(found, read_manifest(found))
    }
}

fn total_len(chunks: &[Chunk]) -> u64 {
    chunks.iter().map(|chunk| u64::from(chunk.len)).sum()
}

fn check_range(
    checksum: Checksum,
    range: &Range<u64>,
    chunks: &[Chunk],
) -> Result<(), BlocksError> {
    let len = total_len(chunks);
    if range.start > range.end || range.end > len {
        return Err(BlocksError::OutOfRange {
            checksum,
            start: range.start,
            end: range.end,
            len,
        });
    }
    Ok(())
}

impl PayloadReader<'_> {
    /// How many bytes are still to come.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.left
    }

    /// Reads the next chunk; before the last is given out, all of them have proven the manifest.
    fn advance(&mut self) -> Result<(), BlocksError> {
        let Some(chunk) = self.chunks.next() else {
            return Ok(());
        };
        let bytes = self.blocks.read_chunk(self.checksum, chunk)?;
        if let Some(proof) = &mut self.proof {
            proof.hasher.update(&bytes);
            if self.chunks.as_slice().is_empty() {
                let digest = Checksum::from_bytes(*proof.hasher.finalize().as_bytes());
                self.blocks.settle(&proof.manifest, digest)?;
            }
        }
        self.current = bytes;
        self.at = std::mem::take(&mut self.skip);
        Ok(())
    }
}

impl Read for PayloadReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || out.is_empty() {
            return Ok(0);
        }
        while self.at == self.current.len() {
            if self.chunks.as_slice().is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.advance().map_err(io::Error::other)?;
        }
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let count = out.len().min(self.current.len() - self.at).min(left);
        out[..count].copy_from_slice(&self.current[self.at..self.at + count]);
        self.at += count;
        self.left -= count as u64;
        Ok(count)
    }
}
