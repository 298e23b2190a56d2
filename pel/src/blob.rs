//! Bytes that a run reads and writes: random access, so that nothing larger than a window has to be
//! in memory.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use uor_index_format::id::Checksum;

/// How many bytes are read at a time when a blob is walked from end to end.
pub(crate) const WINDOW_LEN: usize = 64 * 1024;

/// Immutable bytes of known length.
pub trait Blob: Send + Sync {
    /// Length in bytes.
    fn size(&self) -> u64;

    /// Fills `buffer` from `offset`; an error when that range is not wholly inside, or when the
    /// bytes cannot be had.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

impl Blob for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let bytes = self.get(from..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Ranges of other blobs, one after the other: how `concat` and `slice` work without copying.
#[derive(Clone, Default)]
pub struct Rope {
    /// Each part with the offset at which it starts in the rope; none is empty.
    parts: Vec<(u64, Part)>,
    size: u64,
}

#[derive(Clone)]
struct Part {
    blob: Arc<dyn Blob>,
    from: u64,
    len: u64,
}

impl Rope {
    /// Appends `range` of `blob`; `None`, and nothing appended, when it is not wholly inside or the
    /// rope would be longer than 2⁶⁴ bytes.
    #[must_use]
    pub fn push(&mut self, blob: Arc<dyn Blob>, range: Range<u64>) -> Option<()> {
        let len = range.end.checked_sub(range.start)?;
        (range.end <= blob.size()).then_some(())?;
        let size = self.size.checked_add(len)?;
        if len > 0 {
            self.parts.push((
                self.size,
                Part {
                    blob,
                    from: range.start,
                    len,
                },
            ));
        }
        self.size = size;
        Some(())
    }
}

impl Blob for Rope {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut rest = buffer;
        let mut at = offset;
        let first = self
            .parts
            .partition_point(|(start, part)| start + part.len <= offset);
        for (start, part) in self.parts.get(first..).unwrap_or_default() {
            if rest.is_empty() {
                break;
            }
            let skip = at - start;
            let len = usize::try_from(part.len - skip)
                .unwrap_or(usize::MAX)
                .min(rest.len());
            let (now, later) = rest.split_at_mut(len);
            part.blob.read_at(part.from + skip, now)?;
            at += len as u64;
            rest = later;
        }
        if rest.is_empty() {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

/// Reads a blob from its first byte to its last.
pub struct BlobReader<'a> {
    blob: &'a dyn Blob,
    offset: u64,
}

impl<'a> BlobReader<'a> {
    /// Starts at the first byte.
    pub fn new(blob: &'a dyn Blob) -> Self {
        Self { blob, offset: 0 }
    }
}

impl Read for BlobReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.blob.size() - self.offset).unwrap_or(usize::MAX);
        let len = left.min(buffer.len());
        let Some(window) = buffer.get_mut(..len) else {
            return Ok(0);
        };
        self.blob.read_at(self.offset, window)?;
        self.offset += len as u64;
        Ok(len)
    }
}

/// All the bytes; an error of kind `FileTooLarge` when there are more than `len_max`.
pub fn to_vec(blob: &dyn Blob, len_max: u64) -> io::Result<Vec<u8>> {
    let size = blob.size();
    let len = usize::try_from(size)
        .ok()
        .filter(|_| size <= len_max)
        .ok_or(io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; len];
    blob.read_at(0, &mut bytes)?;
    Ok(bytes)
}

/// The plain BLAKE3 of all the bytes.
pub fn checksum(blob: &dyn Blob) -> io::Result<Checksum> {
    let mut hasher = blake3::Hasher::new();
    for_each_window(blob, |window| {
        hasher.update(window);
    })?;
    Ok(Checksum::from_bytes(*hasher.finalize().as_bytes()))
}

/// The first offset at which two blobs differ; where one is a prefix of the other, its length.
/// `None` when equal.
pub fn first_difference(a: &dyn Blob, b: &dyn Blob) -> io::Result<Option<u64>> {
    let common = a.size().min(b.size());
    let (mut window_a, mut window_b) = (vec![0; WINDOW_LEN], vec![0; WINDOW_LEN]);
    let mut offset = 0;
    while offset < common {
        let len = usize::try_from(common - offset)
            .unwrap_or(WINDOW_LEN)
            .min(WINDOW_LEN);
        window_a.truncate(len);
        window_b.truncate(len);
        a.read_at(offset, &mut window_a)?;
        b.read_at(offset, &mut window_b)?;
        if let Some(index) = window_a.iter().zip(&window_b).position(|(a, b)| a != b) {
            return Ok(Some(offset + index as u64));
        }
        offset += len as u64;
    }
    Ok((a.size() != b.size()).then_some(common))
}

fn for_each_window(blob: &dyn Blob, mut visit: impl FnMut(&[u8])) -> io::Result<()> {
    let mut reader = BlobReader::new(blob);
    let mut window = vec![0; WINDOW_LEN];
    loop {
        match reader.read(&mut window)? {
            0 => return Ok(()),
            len => visit(window.get(..len).unwrap_or_default()),
        }
    }
}
