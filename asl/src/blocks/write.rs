//! Putting payloads: cut, named, compressed where it pays, appended once.

use std::borrow::Cow;
use std::io::{self, Read};

use super::frame::{Codec, Header, Kind};
use super::manifest::{CHUNK_COUNT_MAX, Chunk, Manifest};
use super::{Blocks, BlocksError, CHUNK_LEN_AVERAGE, CHUNK_LEN_MAX, CHUNK_LEN_MIN, Location};
use uor_index_format::id::Checksum;

const ZSTD_LEVEL: i32 = 3;
/// Shorter blocks are not worth a try.
const COMPRESS_LEN_MIN: usize = 64;

/// What putting a payload did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutStats {
    /// The digest of the payload, by which it is found again.
    pub checksum: Checksum,
    /// Its length in bytes.
    pub len: u64,
    /// By how many bytes the packs grew for it: compressed, with headers, without what was already there.
    pub new_bytes: u64,
}

impl Blocks {
    /// Stores what `source` gives until its end, in constant memory; `on_progress` is told after every chunk how many
    /// bytes have been read.
    ///
    /// # Errors
    /// [`BlocksError::Source`]; [`BlocksError::TooLarge`]; [`BlocksError::Poisoned`]; [`BlocksError::ReadOnly`];
    /// [`BlocksError::Disk`]. In each case no payload was added.
    pub fn put(&self, source: &mut dyn Read, on_progress: &mut dyn FnMut(u64)) -> Result<PutStats, BlocksError> {
        self.put_expecting(None, source, on_progress)
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
    pub fn put_verified(&self, expected: Checksum, source: &mut dyn Read) -> Result<PutStats, BlocksError> {
        self.put_expecting(Some(expected), source, &mut |_| {})
    }

    /// Makes everything put so far durable; free if it already is.
    ///
    /// # Errors
    /// [`BlocksError::Poisoned`]; [`BlocksError::ReadOnly`]; [`BlocksError::Disk`], after which the packs are poisoned.
    pub fn sync(&self) -> Result<(), BlocksError> {
        self.tail()?.sync()
    }

    fn tail(&self) -> Result<&super::pack::Tail, BlocksError> {
        self.tail.as_ref().ok_or(BlocksError::ReadOnly)
    }

    fn put_expecting(
        &self,
        expected: Option<Checksum>,
        source: &mut dyn Read,
        on_progress: &mut dyn FnMut(u64),
    ) -> Result<PutStats, BlocksError> {
        self.tail()?;
        let mut head = Vec::new();
        let len = CHUNK_LEN_MAX as u64 + 1;
        source.take(len).read_to_end(&mut head).map_err(|source| BlocksError::Source { source })?;
        let stats = if head.len() <= CHUNK_LEN_MAX {
            self.put_whole(expected, &head)?
        } else {
            self.put_chunks(expected, &mut (&*head).chain(source), on_progress)?
        };
        on_progress(stats.len);
        Ok(stats)
    }

    fn put_whole(&self, expected: Option<Checksum>, bytes: &[u8]) -> Result<PutStats, BlocksError> {
        let checksum = Checksum::of(bytes);
        check(expected, checksum)?;
        let len = chunk_len(bytes);
        let new_bytes = if self.has(checksum) {
            0
        } else if self.index().parts.contains_key(&checksum) {
            // The bytes are there, as a part of something longer.
            let manifest = Manifest::new(checksum, vec![Chunk { digest: checksum, len }]);
            self.append(Kind::Manifest, checksum, &manifest.encode())?
        } else {
            self.append(Kind::Whole, checksum, bytes)?
        };
        Ok(PutStats { checksum, len: u64::from(len), new_bytes })
    }

    fn put_chunks(
        &self,
        expected: Option<Checksum>,
        source: &mut dyn Read,
        on_progress: &mut dyn FnMut(u64),
    ) -> Result<PutStats, BlocksError> {
        let mut hasher = blake3::Hasher::new();
        let mut chunks = Vec::new();
        let (mut len, mut new_bytes) = (0, 0);
        for chunk in fastcdc::v2020::StreamCDC::new(source, CHUNK_LEN_MIN, CHUNK_LEN_AVERAGE, CHUNK_LEN_MAX) {
            let bytes = chunk.map_err(|error| BlocksError::Source { source: io::Error::from(error) })?.data;
            hasher.update(&bytes);
            let chunk = Chunk { digest: Checksum::of(&bytes), len: chunk_len(&bytes) };
            len += u64::from(chunk.len);
            if chunks.len() == CHUNK_COUNT_MAX {
                return Err(BlocksError::TooLarge { len, max: len - u64::from(chunk.len) });
            }
            chunks.push(chunk);
            if self.index().chunk(chunk.digest).is_none() {
                new_bytes += self.append(Kind::Part, chunk.digest, &bytes)?;
            }
            on_progress(len);
        }
        let checksum = Checksum::from_bytes(*hasher.finalize().as_bytes());
        check(expected, checksum)?;
        if !self.has(checksum) {
            new_bytes += self.append(Kind::Manifest, checksum, &Manifest::new(checksum, chunks).encode())?;
        }
        Ok(PutStats { checksum, len, new_bytes })
    }

    /// Appends a block, if no one else did so meanwhile, and says by how much the packs grew.
    fn append(&self, kind: Kind, name: Checksum, raw: &[u8]) -> Result<u64, BlocksError> {
        let (codec, stored) = compress(name, raw)?;
        let header = Header { kind, codec, raw_len: chunk_len(raw), stored_len: chunk_len(&stored), name };
        self.tail()?.append(
            &*self.disk,
            &header,
            &stored,
            || match kind {
                Kind::Part => self.index().chunk(name).is_some(),
                _ => self.has(name),
            },
            |pack| self.index_mut().packs.push(pack),
            |pack, offset| self.index_mut().insert(Location { pack, offset, header }),
        )
    }
}

fn check(expected: Option<Checksum>, found: Checksum) -> Result<(), BlocksError> {
    match expected {
        Some(expected) if expected != found => Err(BlocksError::WrongChecksum { expected, found }),
        _ => Ok(()),
    }
}

/// Blocks are at most 64 MiB long.
fn chunk_len(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("blocks are bounded before they are appended")
}

/// The bytes to store: compressed where that saves at least a sixteenth.
fn compress(name: Checksum, raw: &[u8]) -> Result<(Codec, Cow<'_, [u8]>), BlocksError> {
    if raw.len() >= COMPRESS_LEN_MIN {
        let compressed = zstd::bulk::compress(raw, ZSTD_LEVEL).map_err(|source| BlocksError::Compression {
            action: "compress",
            digest: name,
            source,
        })?;
        if compressed.len() <= raw.len() - raw.len() / 16 {
            return Ok((Codec::Zstd, Cow::Owned(compressed)));
        }
    }
    Ok((Codec::Raw, Cow::Borrowed(raw)))
}
