//! Sealed indexes of blocks: where the blocks of closed packs are, sorted by name, so that opening
//! need not read their headers; `FORMAT.md`, "Index of blocks". Everything in them can be rebuilt
//! from the packs.
//!
//! Invariant: what is given out was verified page by page; what does not verify is an error, and
//! the run is given up.

mod footer;

use std::ops::Range;
use std::sync::Arc;

use self::footer::{FOOTER_LEN, Footer};
use super::error::BlocksError;
use super::frame::{Codec, Header, Kind};
use super::layout::INDEX_DIR;
use super::place::{Location, Place};
use crate::damage::{Damage, Mismatch};
use crate::disk::{Context, Disk, DiskFile, Mode, Sealed};
use crate::pages::{PAGE, PageKey, Pages};
use uor_index_format::id::Checksum;

const ENTRY_LEN: usize = 64;
const START_LEN: usize = 4;
const PLACE_LEN: usize = 12;
const CHECK_LEN: usize = 8;

/// About as many entries of one bucket: one page of them at most, mostly.
const BUCKET_ENTRIES: u64 = 16;
/// The most bits that say a bucket.
const BUCKET_BITS_MAX: u32 = 28;

/// How much is written at once.
const BUFFER_LEN: usize = 1 << 20;

/// The index of the blocks in a range of closed packs.
pub(super) struct Run {
    pub(super) path: String,
    /// The first and the last pack.
    pub(super) packs: (u32, u32),
    /// How many blocks.
    pub(super) count: u64,
    /// How many of them make a payload visible.
    pub(super) payloads: u64,
    bucket_bits: u32,
    dead: u64,
    lengths: u64,
    pages: Pages,
}

/// The name of a run's file.
pub(super) fn path(packs: (u32, u32)) -> String {
    format!("{INDEX_DIR}/blocks-{:08}-{:08}.run", packs.0, packs.1)
}

/// Whether a file of this name is a run whose writing was broken off.
pub(super) fn is_unfinished(name: &str) -> bool {
    name.strip_suffix(".new")
        .is_some_and(|name| packs_of(name).is_some())
}

/// The packs of the run whose file has this name.
pub(super) fn packs_of(name: &str) -> Option<(u32, u32)> {
    let (first, last) = name
        .strip_prefix("blocks-")?
        .strip_suffix(".run")?
        .split_once('-')?;
    let number = |text: &str| text.parse().ok().filter(|_| text.len() == 8);
    Some((number(first)?, number(last)?))
}

impl Run {
    /// Opens a run, if it is whole, and this one.
    pub(super) fn open(
        disk: &dyn Disk,
        packs: (u32, u32),
    ) -> Result<Result<Self, Damage>, BlocksError> {
        let path = path(packs);
        let file = disk.open(&path, Mode::ReadOnly).during("open", &path)?;
        let bytes = file.map_sealed().during("map", &path)?;
        let expected = format!("the index of packs {} to {}", packs.0, packs.1);
        let damage = Mismatch::new("footer", expected, "another").at(&path, 0);
        Ok(Self::decode(path, bytes, packs).ok_or(damage))
    }

    /// The run in the bytes of a file; `None` if it is not whole, or not this one.
    fn decode(path: String, bytes: Sealed, packs: (u32, u32)) -> Option<Self> {
        let (content, end) = bytes.split_last_chunk::<FOOTER_LEN>()?;
        let footer = Footer::decode(end)?;
        let len = body_len(&footer)?;
        let is_this =
            footer.packs == packs && content.len() == len + len.div_ceil(PAGE) * CHECK_LEN;
        let checks = content.get(len..).filter(|_| is_this)?;
        if !Footer::verifies(end, checks) {
            return None;
        }
        let Footer {
            bucket_bits,
            count,
            payloads,
            dead,
            lengths,
            ..
        } = footer;
        let checks = checks
            .as_chunks::<CHECK_LEN>()
            .0
            .iter()
            .map(|check| u64::from_le_bytes(*check))
            .collect();
        let pages = Pages::new(path.clone(), bytes, len, key(packs), checks).ok()?;
        Some(Self {
            path,
            packs,
            count,
            payloads,
            bucket_bits,
            dead,
            lengths,
            pages,
        })
    }

    /// Writes a run durably, and opens it.
    pub(super) fn write(
        disk: &dyn Disk,
        packs: (u32, u32),
        count_max: u64,
        entries: &mut dyn Iterator<Item = Result<Location, Damage>>,
        dead: &[Place],
        lengths: &[(u32, u64)],
    ) -> Result<Option<Self>, BlocksError> {
        let path = path(packs);
        let new = format!("{path}.new");
        let written = Self::write_new(disk, &new, packs, count_max, entries, dead, lengths);
        if !matches!(written, Ok(true)) {
            // On a full disk its space is needed.
            let _ = disk.remove(&new);
        }
        if !written? {
            return Ok(None);
        }
        disk.rename(&new, &path).during("put in place", &path)?;
        disk.sync_dir(INDEX_DIR).during("sync", INDEX_DIR)?;
        Ok(Self::open(disk, packs)?.ok())
    }

    /// Writes the file of a run durably; `false` where what it is made of cannot be read, or is too
    /// much.
    fn write_new(
        disk: &dyn Disk,
        new: &str,
        packs: (u32, u32),
        count_max: u64,
        entries: &mut dyn Iterator<Item = Result<Location, Damage>>,
        dead: &[Place],
        lengths: &[(u32, u64)],
    ) -> Result<bool, BlocksError> {
        let file = disk.open(new, Mode::Write).during("create", new)?;
        file.set_len(0).during("empty", new)?;
        let mut writer = Writer {
            key: key(packs),
            bytes: Vec::new(),
            written: 0,
            checks: Vec::new(),
        };
        let mut buckets = Buckets::new(count_max);
        let mut payloads = 0;
        for entry in entries {
            // What led here is rebuilt first.
            let Ok(at) = entry else { return Ok(false) };
            writer.put(&encode(&at));
            writer.flush(&*file, new, BUFFER_LEN)?;
            payloads += u64::from(at.header.kind.is_payload());
            // More would not be found by the starts of buckets; they stay in memory.
            if !buckets.count(&at.header.name) {
                return Ok(false);
            }
        }
        for start in buckets.starts() {
            writer.put(&start.to_le_bytes());
        }
        dead.iter()
            .for_each(|place| writer.put(&encode_number_pair(place.pack, place.offset)));
        lengths
            .iter()
            .for_each(|(pack, len)| writer.put(&encode_number_pair(*pack, *len)));
        let footer = Footer {
            packs,
            bucket_bits: buckets.bits,
            count: buckets.count.into(),
            payloads,
            dead: dead.len() as u64,
            lengths: lengths.len() as u64,
        };
        writer.finish(&*file, new, &footer)?;
        file.sync().during("sync", new)?;
        Ok(true)
    }

    /// The blocks of a name, in the order in which they were appended.
    pub(super) fn blocks(&self, name: Checksum) -> Result<Vec<Location>, Damage> {
        let bucket = bucket(&name, self.bucket_bits);
        let starts = self.entries_len() + bucket * START_LEN;
        let starts = self.get(starts..starts + 2 * START_LEN)?;
        let start = |at: usize| {
            u64::from(u32::from_le_bytes([
                starts[at],
                starts[at + 1],
                starts[at + 2],
                starts[at + 3],
            ]))
        };
        let (mut low, mut high) = (start(0), start(4));
        let end = high;
        // The first that is not before the name.
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry(middle)?.header.name < name {
                low = middle + 1
            } else {
                high = middle
            }
        }
        let mut found = Vec::new();
        while low < end {
            let entry = self.entry(low)?;
            if entry.header.name != name {
                break;
            }
            found.push(entry);
            low += 1;
        }
        Ok(found)
    }

    /// Whether a record in these packs says that the block at this place, in an earlier pack, is no
    /// more.
    pub(super) fn buries(&self, place: Place) -> Result<bool, Damage> {
        let (mut low, mut high) = (0, self.dead);
        while low < high {
            let middle = low + (high - low) / 2;
            let found = self.buried(middle)?;
            if found == place {
                return Ok(true);
            }
            if found < place {
                low = middle + 1
            } else {
                high = middle
            }
        }
        Ok(false)
    }

    /// All places in earlier packs that records in these packs bury, ascending.
    pub(super) fn all_buried(&self) -> impl Iterator<Item = Result<Place, Damage>> {
        (0..self.dead).map(|number| self.buried(number))
    }

    fn buried(&self, number: u64) -> Result<Place, Damage> {
        let start = self.entries_len() + starts_len(self.bucket_bits);
        let (pack, offset) = self.number_pair(start, number)?;
        Ok(Place { pack, offset })
    }

    /// The packs, and how long they are.
    pub(super) fn lengths(&self) -> Result<Vec<(u32, u64)>, Damage> {
        let start =
            self.entries_len() + starts_len(self.bucket_bits) + index(self.dead) * PLACE_LEN;
        (0..self.lengths)
            .map(|number| self.number_pair(start, number))
            .collect()
    }

    /// All blocks, by name and then by place.
    pub(super) fn all(&self) -> impl Iterator<Item = Result<Location, Damage>> {
        (0..self.count).map(|number| self.entry(number))
    }

    /// Verifies every page.
    pub(super) fn verify(&self) -> Vec<Damage> {
        self.pages.verify_all(|_| {})
    }

    fn entry(&self, number: u64) -> Result<Location, Damage> {
        let start = index(number) * ENTRY_LEN;
        let bytes = self.get(start..start + ENTRY_LEN)?;
        bytes
            .first_chunk()
            .and_then(decode)
            .ok_or_else(|| Mismatch::new("entry", "a block", "none").at(&self.path, start as u64))
    }

    fn number_pair(&self, start: usize, number: u64) -> Result<(u32, u64), Damage> {
        let start = start + index(number) * PLACE_LEN;
        let bytes = self.get(start..start + PLACE_LEN)?;
        let pack = u32::from_le_bytes(std::array::from_fn(|index| bytes[index]));
        Ok((
            pack,
            u64::from_le_bytes(std::array::from_fn(|index| bytes[4 + index])),
        ))
    }

    fn entries_len(&self) -> usize {
        index(self.count) * ENTRY_LEN
    }

    fn get(&self, range: Range<usize>) -> Result<&[u8], Damage> {
        self.pages.get(range)
    }
}

fn key(packs: (u32, u32)) -> PageKey {
    PageKey::new(
        "uor-asl index of blocks 1",
        u64::from(packs.0) << 32 | u64::from(packs.1),
    )
}

/// Two runs as one sequence, by name and then by place.
pub(super) fn merge<'a>(
    older: &'a Arc<Run>,
    newer: &'a Arc<Run>,
) -> impl Iterator<Item = Result<Location, Damage>> + 'a {
    let (mut older, mut newer) = (older.all().peekable(), newer.all().peekable());
    let key = |at: &Location| (at.header.name, at.place);
    std::iter::from_fn(move || match (older.peek(), newer.peek()) {
        (Some(Ok(a)), Some(Ok(b))) if key(a) > key(b) => newer.next(),
        (Some(_), _) => older.next(),
        (None, _) => newer.next(),
    })
}

/// A number of entries as an index: they lie in a file that is mapped.
fn index(number: u64) -> usize {
    usize::try_from(number).expect("opening has counted them by the bytes of the file")
}

fn starts_len(bucket_bits: u32) -> usize {
    ((1 << bucket_bits) + 1) * START_LEN
}

/// The length of what is before the page checks; `None` if no file has it.
fn body_len(footer: &Footer) -> Option<usize> {
    let len = |count: u64, each: usize| usize::try_from(count).ok()?.checked_mul(each);
    let starts = (footer.bucket_bits <= BUCKET_BITS_MAX).then(|| starts_len(footer.bucket_bits))?;
    let pairs = len(footer.dead, PLACE_LEN)?.checked_add(len(footer.lengths, PLACE_LEN)?)?;
    len(footer.count, ENTRY_LEN)?
        .checked_add(starts)?
        .checked_add(pairs)
}

fn bucket(name: &Checksum, bits: u32) -> usize {
    let [a, b, c, d, ..] = *name.as_bytes();
    // The name's first bits, whatever the platform: names are compared as bytes.
    let first = (u32::from(a) << 24) | (u32::from(b) << 16) | (u32::from(c) << 8) | u32::from(d);
    first.checked_shr(32 - bits).unwrap_or(0) as usize
}

fn encode(at: &Location) -> [u8; ENTRY_LEN] {
    let mut bytes = [0; ENTRY_LEN];
    bytes[..32].copy_from_slice(at.header.name.as_bytes());
    bytes[32..40].copy_from_slice(&at.place.offset.to_le_bytes());
    bytes[40..44].copy_from_slice(&at.place.pack.to_le_bytes());
    bytes[44..48].copy_from_slice(&at.header.stored_len.to_le_bytes());
    bytes[48..52].copy_from_slice(&at.header.raw_len.to_le_bytes());
    bytes[52] = at.header.kind.code();
    bytes[53] = at.header.codec.code();
    bytes
}

fn decode(bytes: &[u8; ENTRY_LEN]) -> Option<Location> {
    let number = |at: usize| u32::from_le_bytes(std::array::from_fn(|index| bytes[at + index]));
    let name = Checksum::from_bytes(*bytes.first_chunk()?);
    let (kind, codec) = (Kind::of(bytes[52])?.0, Codec::of(bytes[53])?);
    if !kind.is_named() {
        return None;
    }
    let place = Place {
        pack: number(40),
        offset: u64::from_le_bytes(std::array::from_fn(|index| bytes[32 + index])),
    };
    Some(Location {
        place,
        header: Header {
            kind,
            codec,
            raw_len: number(48),
            stored_len: number(44),
            name,
        },
    })
}

fn encode_number_pair(pack: u32, number: u64) -> [u8; PLACE_LEN] {
    let mut bytes = [0; PLACE_LEN];
    bytes[..4].copy_from_slice(&pack.to_le_bytes());
    bytes[4..].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// The buckets that entries, put in the order of their names, fall into.
struct Buckets {
    /// How many of the first bits of a name say its bucket.
    bits: u32,
    /// How many entries are before each bucket that was come to.
    starts: Vec<u32>,
    /// How many entries there are.
    count: u32,
}

impl Buckets {
    /// Of at most `count_max` entries.
    fn new(count_max: u64) -> Self {
        let bits = (count_max / BUCKET_ENTRIES).checked_ilog2().unwrap_or(0);
        let bits = bits.min(BUCKET_BITS_MAX);
        Self {
            bits,
            starts: Vec::with_capacity((1 << bits) + 1),
            count: 0,
        }
    }

    /// Counts the next entry; `false` if there are too many.
    fn count(&mut self, name: &Checksum) -> bool {
        let bucket = bucket(name, self.bits);
        self.starts
            .resize(self.starts.len().max(bucket + 1), self.count);
        let more = self.count.checked_add(1);
        self.count = more.unwrap_or(self.count);
        more.is_some()
    }

    /// How many entries are before each bucket, and how many there are.
    fn starts(&mut self) -> &[u32] {
        self.starts.resize((1 << self.bits) + 1, self.count);
        &self.starts
    }
}

/// Bytes on their way to a file, with the checks of their pages.
struct Writer {
    key: PageKey,
    bytes: Vec<u8>,
    written: u64,
    checks: Vec<u64>,
}

impl Writer {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes whole pages, once there are `len_min` bytes.
    fn flush(
        &mut self,
        file: &dyn DiskFile,
        path: &str,
        len_min: usize,
    ) -> Result<(), BlocksError> {
        if self.bytes.len() < len_min {
            return Ok(());
        }
        let whole = self.bytes.len() / PAGE * PAGE;
        self.check(whole);
        file.write_at(self.written, &self.bytes[..whole])
            .during("write", path)?;
        self.written += whole as u64;
        self.bytes.drain(..whole);
        Ok(())
    }

    fn check(&mut self, len: usize) {
        for page in self.bytes[..len].chunks(PAGE) {
            self.checks.push(self.key.check(self.checks.len(), page));
        }
    }

    fn finish(
        mut self,
        file: &dyn DiskFile,
        path: &str,
        footer: &Footer,
    ) -> Result<(), BlocksError> {
        self.flush(file, path, PAGE)?;
        self.check(self.bytes.len());
        let checks: Vec<u8> = self
            .checks
            .iter()
            .flat_map(|check| check.to_le_bytes())
            .collect();
        self.bytes.extend_from_slice(&checks);
        self.bytes.extend_from_slice(&footer.encode(&checks));
        Ok(file
            .write_at(self.written, &self.bytes)
            .during("write", path)?)
    }
}
