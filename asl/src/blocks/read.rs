//! Reading payloads: only the chunks a range needs, each verified by its digest before a byte of it is given out.

use std::io::{self, Read};
use std::ops::Range;

use super::compress::decompress;
use super::frame::{Codec, HEADER_LEN, Kind};
use super::index::Found;
use super::manifest::{Chunk, Manifest};
use super::{BlockDamage, Blocks, BlocksError, record};
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
}

impl Blocks {
    /// The length of a payload in bytes.
    ///
    /// # Errors
    /// [`BlocksError::Unknown`]; [`BlocksError::Damaged`] or [`BlocksError::Disk`] where its manifest cannot be read.
    pub fn payload_len(&self, checksum: Checksum) -> Result<u64, BlocksError> {
        let found = self.ask(|index| index.payload(checksum))?.ok_or(BlocksError::Unknown { checksum })?;
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
        let found = self.ask(|index| index.payload(checksum))?.ok_or(BlocksError::Unknown { checksum })?;
        match found.at.header.kind {
            Kind::Manifest => Ok(self.manifest(&found)?.chunks),
            _ => Ok(vec![Chunk { digest: checksum, len: found.at.header.raw_len }]),
        }
    }

    /// All bytes of a payload, as a stream.
    ///
    /// # Errors
    /// As [`Blocks::payload_len`]; reading the stream can give further errors.
    pub fn read(&self, checksum: Checksum) -> Result<PayloadReader<'_>, BlocksError> {
        let chunks = self.chunks(checksum)?;
        let left = chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
        Ok(self.reader(checksum, chunks, 0, left))
    }

    /// The bytes of a payload in `range`, as a stream; chunks outside it are not read.
    ///
    /// # Errors
    /// [`BlocksError::OutOfRange`]; else as [`Blocks::read`].
    pub fn read_range(&self, checksum: Checksum, range: Range<u64>) -> Result<PayloadReader<'_>, BlocksError> {
        let mut chunks = self.chunks(checksum)?;
        let len = chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
        if range.start > range.end || range.end > len {
            return Err(BlocksError::OutOfRange { checksum, start: range.start, end: range.end, len });
        }
        let mut before = 0;
        let mut whole_before = 0;
        while let Some(chunk) = chunks.get(whole_before).filter(|chunk| before + u64::from(chunk.len) <= range.start) {
            before += u64::from(chunk.len);
            whole_before += 1;
        }
        chunks.drain(..whole_before);
        let skip = usize::try_from(range.start - before).unwrap_or(usize::MAX);
        Ok(self.reader(checksum, chunks, skip, range.end - range.start))
    }

    /// All bytes of a payload that is at most `len_max` bytes long.
    ///
    /// # Errors
    /// [`BlocksError::TooLarge`], before anything is allocated; [`BlocksError::MissingChunk`]; else as [`Blocks::read`].
    pub fn read_all(&self, checksum: Checksum, len_max: u64) -> Result<Vec<u8>, BlocksError> {
        let chunks = self.chunks(checksum)?;
        let len: u64 = chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
        if len > len_max {
            return Err(BlocksError::TooLarge { len, max: len_max });
        }
        let mut bytes = Vec::new();
        for chunk in chunks {
            bytes.append(&mut self.read_chunk(checksum, chunk)?);
        }
        Ok(bytes)
    }

    fn reader(&self, checksum: Checksum, chunks: Vec<Chunk>, skip: usize, left: u64) -> PayloadReader<'_> {
        PayloadReader { blocks: self, checksum, chunks: chunks.into_iter(), current: Vec::new(), at: 0, skip, left }
    }

    /// The bytes of a chunk of payload `checksum`.
    pub(super) fn read_chunk(&self, checksum: Checksum, chunk: Chunk) -> Result<Vec<u8>, BlocksError> {
        let absent = BlocksError::MissingChunk { checksum, chunk: chunk.digest };
        let found = self.ask(|index| index.chunk(chunk.digest))?.ok_or(absent)?;
        let bytes = self.noting(&found, read_block(&found))?;
        if bytes.len() == chunk.len as usize {
            return Ok(bytes);
        }
        let (expected, actual) = (format!("{} bytes", chunk.len), format!("{} bytes", bytes.len()));
        Err(BlocksError::Damaged(found.damage("chunk length", expected, actual)))
    }

    /// The manifest in this block.
    pub(super) fn manifest(&self, found: &Found) -> Result<Manifest, BlocksError> {
        self.noting(found, read_manifest(found))
    }
}

fn read_manifest(found: &Found) -> Result<Manifest, BlocksError> {
    let bytes = read_raw(found)?;
    Manifest::decode(&bytes, found.at.header.name).map_err(|(expected, actual)| {
        BlocksError::Damaged(found.damage("manifest", expected.to_string(), actual.to_string()))
    })
}

/// The verified bytes of a block.
pub(super) fn read_block(found: &Found) -> Result<Vec<u8>, BlocksError> {
    let bytes = read_raw(found)?;
    let name = found.at.header.name;
    let (expected, actual) = match found.at.header.kind {
        Kind::Manifest => Manifest::decode(&bytes, name).map_or_else(|differ| differ, |_| (name, name)),
        Kind::Erased | Kind::Dropped => record::decode(name, &bytes).map_or_else(|differ| differ, |_| (name, name)),
        Kind::Whole | Kind::Part => (name, Checksum::of(&bytes)),
        Kind::Mark | Kind::Seal | Kind::Zeroed => (name, name),
    };
    if expected == actual {
        return Ok(bytes);
    }
    Err(BlocksError::Damaged(found.damage("contents", expected.to_string(), actual.to_string())))
}

/// The stored bytes of a block, not verified.
pub(super) fn read_stored(found: &Found) -> Result<Vec<u8>, BlocksError> {
    found.pack.read(found.at.place.offset + HEADER_LEN as u64, found.at.header.stored_len as usize)
}

/// The bytes of a block, decompressed but not yet verified.
fn read_raw(found: &Found) -> Result<Vec<u8>, BlocksError> {
    let header = found.at.header;
    let stored = read_stored(found)?;
    let raw = match header.codec {
        Codec::Raw => Ok(stored),
        Codec::Zstd => decompress(&stored, header.raw_len as usize),
    };
    match raw {
        Ok(raw) if raw.len() == header.raw_len as usize => Ok(raw),
        other => {
            let actual = other.map_or_else(|error| error.to_string(), |raw| format!("{} bytes", raw.len()));
            let expected = format!("{} bytes", header.raw_len);
            Err(BlocksError::Damaged(found.damage("decompressed contents", expected, actual)))
        }
    }
}

impl Found {
    pub(super) fn damage(&self, what: &'static str, expected: String, found: String) -> BlockDamage {
        let (file, offset) = (self.pack.path.clone(), self.at.place.offset);
        BlockDamage { file, offset, block: Some(self.at.header.name), what, expected, found, payloads: Vec::new() }
    }
}

impl PayloadReader<'_> {
    /// How many bytes are still to come.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.left
    }
}

impl Read for PayloadReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || out.is_empty() {
            return Ok(0);
        }
        while self.at == self.current.len() {
            let Some(chunk) = self.chunks.next() else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            self.current = self.blocks.read_chunk(self.checksum, chunk).map_err(io::Error::other)?;
            self.at = std::mem::take(&mut self.skip);
        }
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let count = out.len().min(self.current.len() - self.at).min(left);
        out[..count].copy_from_slice(&self.current[self.at..self.at + count]);
        self.at += count;
        self.left -= count as u64;
        Ok(count)
    }
}
