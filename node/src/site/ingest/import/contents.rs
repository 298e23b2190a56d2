//! Contents of objects, as streams of bytes, into blocks.
//!
//! Long ones are put one after the other, since the blocks take all cores for each; short ones by
//! several threads.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use uor_asl::blocks::{Blocks, CHUNK_LEN_MAX, PayloadReader, PutOptions, PutStats};
use uor_index_format::id::Checksum;
use uor_zfs::contents::{Segment, Source, Spool as _, Stored};
use uor_zfs::objects::ObjectSet;

use super::error::{ImportError, storing};
use super::spool::FileSpool;

/// How many bytes of holes the files of one stream may have: reading them takes time, though not
/// room.
pub(super) const HOLES_MAX: u64 = 1 << 40;
/// A gap in earlier contents up to this many bytes is read over, rather than looked up again.
const GAP_MAX: u64 = 8 << 20;

/// The first `len` bytes of an object's contents.
pub(super) struct Contents<'a> {
    spool: &'a FileSpool<'a>,
    segments: Box<dyn Iterator<Item = Segment> + 'a>,
    /// What is left of the segment that is being read.
    range: Range<u64>,
    source: Option<Source>,
    base: Option<Stored>,
    /// The earlier contents, and how far they have been read.
    reader: Option<(PayloadReader<'a>, u64)>,
}

impl<'a> Contents<'a> {
    pub(super) fn new(set: &'a ObjectSet, number: u64, len: u64, spool: &'a FileSpool<'a>) -> Self {
        let base = set.get(number).and_then(|object| object.base);
        let segments = Box::new(set.segments(number, len));
        Self {
            spool,
            segments,
            range: 0..0,
            source: None,
            base,
            reader: None,
        }
    }

    /// Reads earlier contents where the current segment is.
    fn read_base(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let base = self.base.ok_or(io::ErrorKind::NotFound)?;
        let at = self.range.start;
        let is_near = self
            .reader
            .as_ref()
            .is_some_and(|(_, place)| *place <= at && at - place <= GAP_MAX);
        if !is_near {
            let checksum = Checksum::from_bytes(base.name);
            let reader = self
                .spool
                .blocks
                .read_range(checksum, at.min(base.len)..base.len)
                .map_err(io::Error::other)?;
            self.reader = Some((reader, at));
        }
        let (reader, place) = self.reader.as_mut().ok_or(io::ErrorKind::NotFound)?;
        io::copy(&mut reader.by_ref().take(at - *place), &mut io::sink())?;
        let read = reader.read(out)?;
        *place = at + read as u64;
        Ok(read)
    }
}

impl Read for Contents<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.range.is_empty() {
            let Some(segment) = self.segments.next() else {
                return Ok(0);
            };
            (self.range, self.source) = (segment.range, segment.source);
        }
        let left = usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX);
        let len = out.len().min(left);
        let part = out.get_mut(..len).unwrap_or_default();
        let read = match self.source {
            None => {
                part.fill(0);
                len
            }
            Some(Source::Spool(place)) => {
                self.spool.read_at(place, part)?;
                self.source = Some(Source::Spool(place + len as u64));
                len
            }
            Some(Source::Base) => match self.read_base(part)? {
                0 if len > 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => read,
            },
        };
        self.range.start += read as u64;
        Ok(read)
    }
}

/// Contents that have to be put: object and length.
pub(super) type Unstored = (u64, u64);

/// Puts contents, and says where they are and by how many bytes the blocks grew.
pub(super) fn put(
    set: &ObjectSet,
    spool: &FileSpool<'_>,
    unstored: Vec<Unstored>,
    on_stored: &mut dyn FnMut(u64),
) -> Result<(BTreeMap<u64, Stored>, u64), ImportError> {
    let (short, long): (Vec<Unstored>, Vec<Unstored>) = unstored
        .into_iter()
        .partition(|(_, len)| *len <= CHUNK_LEN_MAX as u64);
    let (mut stored, mut new_bytes) = put_short(set, spool, &short)?;
    on_stored(short.iter().map(|(_, len)| len).sum());
    for (number, len) in long {
        let mut contents = Contents::new(set, number, len, spool);
        let mut before = 0;
        let put = spool
            .blocks
            .put_with(&PutOptions::default(), &mut contents, &mut |now| {
                on_stored(now - before);
                before = now;
            });
        let put = put.map_err(storing(format!("object {number}")))?;
        new_bytes += put.new_bytes;
        stored.insert(number, as_stored(&put));
    }
    Ok((stored, new_bytes))
}

fn put_short(
    set: &ObjectSet,
    spool: &FileSpool<'_>,
    unstored: &[Unstored],
) -> Result<(BTreeMap<u64, Stored>, u64), ImportError> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new((BTreeMap::new(), 0));
    let failed = Mutex::new(None);
    let work = || {
        while let Some(&(number, len)) = unstored.get(next.fetch_add(1, Ordering::Relaxed)) {
            match put_one(set, spool, spool.blocks, number, len) {
                Ok(put) => {
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done.0.insert(number, as_stored(&put));
                    done.1 += put.new_bytes;
                }
                Err(error) => {
                    next.store(unstored.len(), Ordering::Relaxed);
                    *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
            }
        }
    };
    let threads = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(unstored.len());
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(done.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

fn put_one(
    set: &ObjectSet,
    spool: &FileSpool<'_>,
    blocks: &Blocks,
    number: u64,
    len: u64,
) -> Result<PutStats, ImportError> {
    let mut contents = Contents::new(set, number, len, spool);
    blocks
        .put(&mut contents, &mut |_| {})
        .map_err(storing(format!("object {number}")))
}

pub(super) fn as_stored(put: &PutStats) -> Stored {
    Stored {
        name: *put.checksum.as_bytes(),
        len: put.len,
    }
}
