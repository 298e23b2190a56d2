//! Sealed indexes of blocks: where the blocks of closed packs are, sorted by name, so that opening
//! need not read their headers; `FORMAT.md`, "Index of blocks". Everything in them can be rebuilt
//! from the packs.
//!
//! Invariant: what is given out was verified page by page; what does not verify is an error, and
//! the run is given up.

use std::ops::Range;
use std::sync::Arc;

use super::error::BlocksError;
use super::frame::{Codec, Header, Kind};
use super::layout::INDEX_DIR;
use super::place::{Location, Place};
use crate::damage::{Damage, Mismatch};
use crate::disk::{Context, Disk, DiskFile, Mode, Sealed};
use crate::pages::{PAGE, PageKey, Pages};
use uor_index_format::id::Checksum;

const MAGIC: [u8; 8] = *b"UORBRUN\0";
const VERSION: u16 = 1;

const ENTRY_LEN: usize = 64;
const START_LEN: usize = 4;
const PLACE_LEN: usize = 12;
const CHECK_LEN: usize = 8;
const FOOTER_LEN: usize = 96;
const FOOTER_CHECKED: Range<usize> = 0..64;

/// About as many entries of one bucket: one page of them at most, mostly.
const BUCKET_ENTRIES: u64 = 16;

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
        let (content, footer) = bytes.split_last_chunk::<FOOTER_LEN>()?;
        let number =
            |at: usize| u64::from_le_bytes(std::array::from_fn(|index| footer[at + index]));
        let half = |at: usize| u32::from_le_bytes(std::array::from_fn(|index| footer[at + index]));
        let known = footer[..8] == MAGIC && u16::from_le_bytes([footer[8], footer[9]]) == VERSION;
        let (bucket_bits, count, payloads, dead, lengths) =
            (half(20), number(24), number(32), number(40), number(48));
        let len = body_len(count, bucket_bits, dead, lengths).filter(|_| known)?;
        let is_this =
            (half(12), half(16)) == packs && content.len() == len + len.div_ceil(PAGE) * CHECK_LEN;
        let checks = content.get(len..).filter(|_| is_this)?;
        if footer[64..] != footer_check(checks, &footer[FOOTER_CHECKED]) {
            return None;
        }
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
        let bucket_bits = (count_max / BUCKET_ENTRIES)
            .checked_ilog2()
            .map_or(0, |bits| bits.min(28));
        let mut starts: Vec<u32> = Vec::with_capacity((1 << bucket_bits) + 1);
        let (mut count, mut payloads) = (0_u32, 0_u64);
        for entry in entries {
            // What led here is rebuilt first.
            let Ok(at) = entry else { return Ok(false) };
            let bucket = bucket(&at.header.name, bucket_bits);
            starts.resize(starts.len().max(bucket + 1), count);
            writer.put(&encode(&at));
            writer.flush(&*file, new, BUFFER_LEN)?;
            payloads += u64::from(at.header.kind.is_payload());
            // More would not be found by the starts of buckets; they stay in memory.
            let Some(more) = count.checked_add(1) else {
                return Ok(false);
            };
            count = more;
        }
        starts.resize((1 << bucket_bits) + 1, count);
        starts
            .iter()
            .for_each(|start| writer.put(&start.to_le_bytes()));
        dead.iter()
            .for_each(|place| writer.put(&encode_number_pair(place.pack, place.offset)));
        lengths
            .iter()
            .for_each(|(pack, len)| writer.put(&encode_number_pair(*pack, *len)));
        let mut footer = [0; FOOTER_LEN];
        footer[..8].copy_from_slice(&MAGIC);
        footer[8..10].copy_from_slice(&VERSION.to_le_bytes());
        footer[12..16].copy_from_slice(&packs.0.to_le_bytes());
        footer[16..20].copy_from_slice(&packs.1.to_le_bytes());
        footer[20..24].copy_from_slice(&bucket_bits.to_le_bytes());
        footer[24..32].copy_from_slice(&u64::from(count).to_le_bytes());
        footer[32..40].copy_from_slice(&payloads.to_le_bytes());
        footer[40..48].copy_from_slice(&(dead.len() as u64).to_le_bytes());
        footer[48..56].copy_from_slice(&(lengths.len() as u64).to_le_bytes());
        writer.finish(&*file, new, &mut footer)?;
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
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn starts_len(bucket_bits: u32) -> usize {
    ((1 << bucket_bits) + 1) * START_LEN
}

fn body_len(count: u64, bucket_bits: u32, dead: u64, lengths: u64) -> Option<usize> {
    let len = |count: u64, each: usize| usize::try_from(count).ok()?.checked_mul(each);
    let starts = (bucket_bits <= 28).then(|| starts_len(bucket_bits))?;
    let pairs = len(dead, PLACE_LEN)?.checked_add(len(lengths, PLACE_LEN)?)?;
    len(count, ENTRY_LEN)?
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

fn footer_check(checks: &[u8], footer: &[u8]) -> [u8; 32] {
    *blake3::Hasher::new()
        .update(checks)
        .update(footer)
        .finalize()
        .as_bytes()
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
        footer: &mut [u8; FOOTER_LEN],
    ) -> Result<(), BlocksError> {
        self.flush(file, path, PAGE)?;
        self.check(self.bytes.len());
        let checks: Vec<u8> = self
            .checks
            .iter()
            .flat_map(|check| check.to_le_bytes())
            .collect();
        let check = footer_check(&checks, &footer[FOOTER_CHECKED]);
        footer[64..].copy_from_slice(&check);
        self.bytes.extend_from_slice(&checks);
        self.bytes.extend_from_slice(footer);
        Ok(file
            .write_at(self.written, &self.bytes)
            .during("write", path)?)
    }
}
