//! Segments: the records of one shard and one range of the log, laid out once and never changed. `FORMAT.md`, "Index".
//!
//! ```text
//! header | lines | overflow | class codes | commit codes | classes | commits | strides | page checks | check of those
//! ```
//!
//! Codes stand in columns parallel to the slots, so that filters read only what they filter by. Everything is read through
//! [`Pages`]: a flipped bit is an error and never an answer.

mod lookup;

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use uor_index_format::codec::hex;
use uor_index_format::id::{CanonicalId, LogSeq};
use uor_index_format::record::Kind;

use super::lines::{self, LINE_LEN, Line, OVERFLOW_LEN, SLOTS};
use super::mend::{Mending, Source};
use super::{Class, CommitRef, Found, Ids, IndexError};
use crate::disk::Sealed;
use crate::log::LogPosition;
use crate::pages::{PAGE, PageKey, Pages, checks_of};

/// A stride is so many bytes of one log segment.
const STRIDE_BITS: u32 = 25;
/// Most strides of a segment: what its addresses can name.
pub(super) const STRIDES_MAX: usize = (lines::ADDRESS_MAX >> STRIDE_BITS) as usize;

const MAGIC: [u8; 8] = *b"UORINDEX";
const VERSION: u16 = 1;
const HEADER_LEN: usize = 64;
const ALIGN: usize = 64;
const CLASS_LEN: usize = 8;
const COMMIT_LEN: usize = 24;
const STRIDE_LEN: usize = 8;
/// Length of the check of the page checks, at the end of the file.
pub(crate) const SEAL_LEN: usize = 16;

/// Length of a page's check in bytes.
const CHECK_LEN: usize = 8;

const PAGE_ROLE: &str = "uor-asl index segment page v1";
const SEAL_KEY: &[u8; 32] = b"uor-asl index segment seal, v. 1";

/// Byte ranges of the header.
mod field {
    use std::ops::Range;

    pub(super) const MAGIC: Range<usize> = 0..8;
    pub(super) const VERSION: Range<usize> = 8..10;
    pub(super) const SHARD_BITS: usize = 10;
    pub(super) const CLASS_WIDTH: usize = 11;
    pub(super) const COMMIT_WIDTH: usize = 12;
    // 13..16 reserved, zero.
    pub(super) const SHARD: Range<usize> = 16..20;
    pub(super) const CLASSES: Range<usize> = 20..24;
    pub(super) const LINES: Range<usize> = 24..32;
    pub(super) const OVERFLOW: Range<usize> = 32..40;
    pub(super) const RECORDS: Range<usize> = 40..48;
    pub(super) const COMMITS: Range<usize> = 48..56;
    pub(super) const STRIDES: Range<usize> = 56..60;
    // 60..64 reserved, zero.
}

/// A record on its way into a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    /// The id's first eight bytes.
    pub(super) prefix: u64,
    pub(super) at: LogPosition,
    pub(super) class: Class,
    /// Index of its commit among those given with it.
    pub(super) commit: u32,
}

/// The shard a prefix belongs to, and what is left of the prefix there.
#[inline]
pub(super) fn shard_of(prefix: u64, shard_bits: u32) -> (u32, u64) {
    #[expect(clippy::cast_possible_truncation, reason = "shard_bits is at most 16")]
    match shard_bits {
        0 => (0, prefix),
        bits => ((prefix >> (64 - bits)) as u32, prefix << bits),
    }
}

/// The file of a segment: `items` are those of `shard`, in any order, whose commits are among `commits`.
///
/// # Errors
/// What `ids` cannot read: records with equal prefixes are ordered by their whole ids.
pub(super) fn encode<E>(
    shard: u32,
    shard_bits: u32,
    file_number: u64,
    mut items: Vec<Item>,
    commits: &[CommitRef],
    ids: &dyn Ids<Error = E>,
) -> Result<Vec<u8>, E> {
    sort(&mut items, ids)?;
    let strides = Strides::of(&items);
    let built = lines::build(items.iter().map(|item| (shard_of(item.prefix, shard_bits).1, strides.address(item.at))));
    let line_count = built.lines.len() / LINE_LEN;
    let slots = line_count * SLOTS + built.overflow.len() / OVERFLOW_LEN;

    let mut classes: Vec<Class> = items.iter().map(|item| item.class).collect();
    classes.sort_unstable();
    classes.dedup();
    // Commits by logseq, so that a bound on it is a bound on codes.
    let mut by_logseq: Vec<u32> = (0..).take(commits.len()).collect();
    by_logseq.sort_by_key(|commit| commits[*commit as usize].logseq);
    let mut codes = vec![0_u32; commits.len()];
    (0..).zip(&by_logseq).for_each(|(code, commit)| codes[*commit as usize] = code);

    let (class_width, commit_width) = (width_for(classes.len()), width_for(commits.len()).max(2));
    let mut class_codes = vec![0xff; slots * class_width];
    let mut commit_codes = vec![0xff; slots * commit_width];
    for (item, slot) in items.iter().zip(&built.slots) {
        let class = classes.binary_search(&item.class).unwrap_or(0);
        put_code(&mut class_codes, class_width, *slot as usize, u32::try_from(class).unwrap_or(u32::MAX));
        put_code(&mut commit_codes, commit_width, *slot as usize, codes[item.commit as usize]);
    }

    let mut file = vec![0; HEADER_LEN];
    file[field::MAGIC].copy_from_slice(&MAGIC);
    file[field::VERSION].copy_from_slice(&VERSION.to_le_bytes());
    file[field::SHARD_BITS] = u8::try_from(shard_bits).unwrap_or(u8::MAX);
    file[field::CLASS_WIDTH] = u8::try_from(class_width).unwrap_or(u8::MAX);
    file[field::COMMIT_WIDTH] = u8::try_from(commit_width).unwrap_or(u8::MAX);
    file[field::SHARD].copy_from_slice(&shard.to_le_bytes());
    file[field::CLASSES].copy_from_slice(&u32::try_from(classes.len()).unwrap_or(u32::MAX).to_le_bytes());
    file[field::LINES].copy_from_slice(&(line_count as u64).to_le_bytes());
    file[field::OVERFLOW].copy_from_slice(&((built.overflow.len() / OVERFLOW_LEN) as u64).to_le_bytes());
    file[field::RECORDS].copy_from_slice(&(items.len() as u64).to_le_bytes());
    file[field::COMMITS].copy_from_slice(&(commits.len() as u64).to_le_bytes());
    file[field::STRIDES].copy_from_slice(&u32::try_from(strides.0.len()).unwrap_or(u32::MAX).to_le_bytes());
    let mut section = |bytes: &[u8]| {
        file.resize(file.len().next_multiple_of(ALIGN), 0);
        file.extend_from_slice(bytes);
    };
    section(&built.lines);
    section(&built.overflow);
    section(&class_codes);
    section(&commit_codes);
    section(&classes.iter().flat_map(|class| encode_class(*class)).collect::<Vec<_>>());
    section(&by_logseq.iter().flat_map(|commit| encode_commit(commits[*commit as usize])).collect::<Vec<_>>());
    section(&strides.encode());
    file.resize(file.len().next_multiple_of(ALIGN), 0);
    let checks: Vec<u8> =
        checks_of(&PageKey::new(PAGE_ROLE, file_number), &file).into_iter().flat_map(u64::to_le_bytes).collect();
    let seal = seal_of(file_number, file.len(), &checks);
    file.extend_from_slice(&checks);
    file.extend_from_slice(&seal);
    Ok(file)
}

/// By id, and those of one id by place in the log.
fn sort<E>(items: &mut [Item], ids: &dyn Ids<Error = E>) -> Result<(), E> {
    items.sort_unstable_by_key(|item| (item.prefix, item.at));
    for same in items.chunk_by_mut(|a, b| a.prefix == b.prefix).filter(|same| same.len() > 1) {
        let mut named = same.iter().map(|item| Ok((ids.id(item.at)?, *item))).collect::<Result<Vec<_>, E>>()?;
        named.sort_by_key(|(id, item)| (*id, item.at));
        same.iter_mut().zip(named).for_each(|(place, (_, item))| *place = item);
    }
    Ok(())
}

fn seal_of(file_number: u64, len: usize, checks: &[u8]) -> [u8; SEAL_LEN] {
    let mut hasher = blake3::Hasher::new_keyed(SEAL_KEY);
    hasher.update(&file_number.to_le_bytes()).update(&(len as u64).to_le_bytes()).update(checks);
    let mut seal = [0; SEAL_LEN];
    seal.copy_from_slice(&hasher.finalize().as_bytes()[..SEAL_LEN]);
    seal
}

/// Bytes that tell so many codes from each other and from "none", all ones.
fn width_for(codes: usize) -> usize {
    match codes {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        _ => 4,
    }
}

fn put_code(column: &mut [u8], width: usize, slot: usize, code: u32) {
    column[slot * width..][..width].copy_from_slice(&code.to_le_bytes()[..width]);
}

fn encode_class(class: Class) -> [u8; CLASS_LEN] {
    let mut bytes = [0; CLASS_LEN];
    bytes[0] = class.kind as u8;
    bytes[1] = u8::from(class.type_tag.is_some());
    bytes[4..].copy_from_slice(&class.type_tag.unwrap_or(0).to_le_bytes());
    bytes
}

fn encode_commit(commit: CommitRef) -> [u8; COMMIT_LEN] {
    let mut bytes = [0; COMMIT_LEN];
    bytes[..4].copy_from_slice(&commit.domain.to_le_bytes());
    bytes[8..16].copy_from_slice(&commit.number.to_le_bytes());
    bytes[16..].copy_from_slice(&commit.logseq.0.to_le_bytes());
    bytes
}

/// How 34-bit addresses name places in a log: each stride is a stretch of one log segment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Strides(Vec<(u32, u32)>);

impl Strides {
    fn of(items: &[Item]) -> Self {
        let mut strides: Vec<(u32, u32)> = items.iter().map(|item| Self::stride(item.at)).collect();
        strides.sort_unstable();
        strides.dedup();
        Self(strides)
    }

    fn stride(at: LogPosition) -> (u32, u32) {
        (at.segment, at.offset >> STRIDE_BITS << STRIDE_BITS)
    }

    fn address(&self, at: LogPosition) -> u64 {
        let (segment, first) = Self::stride(at);
        let index = self.0.binary_search(&(segment, first)).unwrap_or(0);
        (index as u64) << STRIDE_BITS | u64::from(at.offset - first)
    }

    #[inline]
    fn position(&self, address: u64) -> Option<LogPosition> {
        let (segment, first) = *self.0.get(usize::try_from(address >> STRIDE_BITS).ok()?)?;
        let offset = u32::try_from(address & ((1 << STRIDE_BITS) - 1)).ok()?;
        Some(LogPosition { segment, offset: first + offset })
    }

    fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(|(segment, first)| [segment.to_le_bytes(), first.to_le_bytes()].concat()).collect()
    }
}

/// How many strides the stretch of log from `from` to `through` takes at most.
pub(super) fn strides_between(from: LogPosition, through: LogPosition) -> usize {
    let per_segment = (through.offset.max(1 << STRIDE_BITS) >> STRIDE_BITS) as usize + 1;
    (through.segment.saturating_sub(from.segment) as usize + 1) * per_segment
}

/// An open segment.
pub(crate) struct Segment {
    file: String,
    pages: Mending,
    seal: [u8; SEAL_LEN],
    shard: u32,
    shard_bits: u32,
    lines: usize,
    overflow: usize,
    records: u64,
    class_width: usize,
    commit_width: usize,
    commits: usize,
    sections: Sections,
    classes: Vec<Class>,
    strides: Strides,
}

/// Where each section begins.
#[derive(Debug, Clone, Copy)]
struct Sections {
    lines: usize,
    overflow: usize,
    class_codes: usize,
    commit_codes: usize,
    classes: usize,
    commits: usize,
    strides: usize,
    end: usize,
}

impl Segment {
    /// Opens the file `bytes`, called `file`: reads its header, its small tables and the checks of its pages. Pages that turn
    /// out damaged later are had from `source`, if there is one.
    ///
    /// # Errors
    /// [`IndexError`] if it is no segment, of a newer version, or one of these is damaged.
    pub(super) fn open(
        file: String,
        file_number: u64,
        bytes: Sealed,
        source: Option<Arc<dyn Source>>,
    ) -> Result<Self, IndexError> {
        let name = file.clone();
        let content = |what: &str| IndexError::Content { file: name.clone(), what: what.to_owned() };
        let header: [u8; HEADER_LEN] = bytes
            .first_chunk()
            .copied()
            .filter(|header| header[field::MAGIC] == MAGIC)
            .ok_or_else(|| content("it does not begin like a segment"))?;
        let version = u16::from_le_bytes([header[8], header[9]]);
        if version != VERSION {
            return Err(IndexError::Version { file, found: version, supported: VERSION });
        }
        let number = |range: Range<usize>| {
            let wide = header[range].iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
            usize::try_from(wide)
                .ok()
                .filter(|number| *number < 1 << 40)
                .ok_or_else(|| content("a length is out of range"))
        };
        let (shard_bits, class_width, commit_width) =
            (header[field::SHARD_BITS], header[field::CLASS_WIDTH], header[field::COMMIT_WIDTH]);
        if shard_bits > 16 || ![1, 2, 4].contains(&class_width) || ![2, 4].contains(&commit_width) {
            return Err(content("a width is out of range"));
        }
        let (class_width, commit_width) = (usize::from(class_width), usize::from(commit_width));
        let (lines, overflow, commits) = (number(field::LINES)?, number(field::OVERFLOW)?, number(field::COMMITS)?);
        let (classes, strides) = (number(field::CLASSES)?, number(field::STRIDES)?);
        let slots = lines * SLOTS + overflow;
        let mut end = HEADER_LEN;
        let mut section = |len: usize| {
            let start = end.next_multiple_of(ALIGN);
            end = start + len;
            start
        };
        let mut sections = Sections {
            lines: section(lines * LINE_LEN),
            overflow: section(overflow * OVERFLOW_LEN),
            class_codes: section(slots * class_width),
            commit_codes: section(slots * commit_width),
            classes: section(classes * CLASS_LEN),
            commits: section(commits * COMMIT_LEN),
            strides: section(strides * STRIDE_LEN),
            end: 0,
        };
        sections.end = end.next_multiple_of(ALIGN);
        let checks_len = sections.end.div_ceil(PAGE) * CHECK_LEN;
        if bytes.len() != sections.end + checks_len + SEAL_LEN {
            return Err(content("its length is not what its header says"));
        }
        let (checks, stored) = bytes[sections.end..].split_at(checks_len);
        let seal = seal_of(file_number, sections.end, checks);
        if seal != stored || bytes.is_cut() {
            let (expected, found) = (hex(stored), hex(&seal));
            return Err(IndexError::Seal { file, expected, found });
        }
        let checks = checks.chunks_exact(CHECK_LEN).map(|check| u64_at(check, 0)).collect();
        let key = PageKey::new(PAGE_ROLE, file_number);
        let pages = Pages::new(file.clone(), bytes, sections.end, key, checks)?;
        // The header was read before it could be verified.
        pages.get(0..HEADER_LEN)?;
        let decode =
            |bytes: &[u8]| decode_class(bytes).ok_or_else(|| content("it names a kind of record that there is not"));
        let classes = pages.get(sections.classes..sections.classes + classes * CLASS_LEN)?;
        let classes = classes.chunks_exact(CLASS_LEN).map(decode).collect::<Result<Vec<_>, _>>()?;
        let strides = pages.get(sections.strides..sections.strides + strides * STRIDE_LEN)?;
        let strides = strides.chunks_exact(STRIDE_LEN).map(|pair| (u32_at(pair, 0), u32_at(pair, 4))).collect();
        let shard = u32_at(&header, field::SHARD.start);
        Ok(Self {
            file,
            seal,
            shard,
            shard_bits: u32::from(shard_bits),
            lines,
            overflow,
            records: u64::try_from(number(field::RECORDS)?).unwrap_or(u64::MAX),
            class_width,
            commit_width,
            commits,
            sections,
            classes,
            strides: Strides(strides),
            pages: Mending::new(pages, key, seal, source.map(|source| (source, shard))),
        })
    }

    /// What names this file and no other, for a checkpoint.
    pub(super) const fn seal(&self) -> [u8; SEAL_LEN] {
        self.seal
    }

    /// How many records it has.
    pub(super) const fn records(&self) -> u64 {
        self.records
    }

    /// Number of slots, empty ones and the overflow's included.
    pub(super) const fn slots(&self) -> usize {
        self.lines * SLOTS + self.overflow
    }

    /// How many of the slots are those of lines.
    pub(super) const fn line_slots(&self) -> usize {
        self.lines * SLOTS
    }

    /// Verifies every page of the file, if it is still the one that was opened.
    pub(super) fn verify(&self, on_damage: &mut dyn FnMut(IndexError)) {
        self.pages.verify().into_iter().for_each(|damage| on_damage(damage.into()));
    }

    /// The bytes that are to be written in place of a damaged file, and its path.
    pub(super) fn unstored(&self) -> Option<(&str, &[u8])> {
        self.pages.unstored().map(|bytes| (self.file.as_str(), bytes))
    }

    /// They have been written.
    pub(super) fn stored(&self) {
        self.pages.stored();
    }

    #[inline]
    fn get(&self, range: Range<usize>) -> Result<&[u8], IndexError> {
        Ok(self.pages.get(range, |pages| self.commits_in(pages))?)
    }

    /// All commits whose records it holds, if they can be read.
    fn commits_in(&self, pages: &Pages) -> Option<Vec<CommitRef>> {
        let start = self.sections.commits;
        let bytes = pages.get(start..start + self.commits * COMMIT_LEN).ok()?;
        Some(bytes.chunks_exact(COMMIT_LEN).map(decode_commit).collect())
    }

    /// All commits whose records it holds, ascending by logseq.
    pub(super) fn commits(&self) -> Result<Vec<CommitRef>, IndexError> {
        let start = self.sections.commits;
        let bytes = self.get(start..start + self.commits * COMMIT_LEN)?;
        Ok(bytes.chunks_exact(COMMIT_LEN).map(decode_commit).collect())
    }

    /// How many slots are filled.
    pub(super) fn filled(&self) -> Result<u64, IndexError> {
        let lines = (0..self.lines).map(|line| Ok(self.line(line)?.count() as u64));
        Ok(lines.sum::<Result<u64, IndexError>>()? + self.overflow as u64)
    }

    /// Asks for the line where the search for a prefix begins.
    #[inline]
    pub(super) fn prefetch_line(&self, prefix: u64) {
        let (line, _) = lines::home(shard_of(prefix, self.shard_bits).1, self.lines);
        self.pages.pages().prefetch(self.sections.lines + line * LINE_LEN);
    }

    /// Asks for the commit codes of the line where the search for a prefix begins.
    #[inline]
    pub(super) fn prefetch_codes(&self, prefix: u64) {
        let (line, _) = lines::home(shard_of(prefix, self.shard_bits).1, self.lines);
        self.prefetch_code(line * SLOTS);
    }

    /// Asks for the commit code of a slot.
    #[inline]
    pub(super) fn prefetch_code(&self, slot: usize) {
        self.pages.pages().prefetch(self.sections.commit_codes + slot * self.commit_width);
    }

    /// The slots of lines where those ids of this shard can lie that are between two prefixes, both included.
    pub(super) fn slots_between(&self, low: u64, high: u64) -> Range<usize> {
        let line = |prefix| {
            let (shard, prefix) = shard_of(prefix, self.shard_bits);
            match shard.cmp(&self.shard) {
                Ordering::Less => 0,
                Ordering::Equal => lines::home(prefix, self.lines).0,
                Ordering::Greater => self.lines,
            }
        };
        // What belongs in the last line may lie further on.
        let end = (line(high) + 1 + lines::REACH_MAX).min(self.lines);
        line(low) * SLOTS..end * SLOTS
    }

    /// What is in a slot; `None` if nothing is.
    pub(super) fn slot(&self, slot: usize) -> Result<Option<Found>, IndexError> {
        if slot >= self.line_slots() {
            let index = slot - self.line_slots();
            return self.found(slot, self.place(self.overflow_slot(index)?.1)?).map(Some);
        }
        let line = self.line(slot / SLOTS)?;
        let within = slot % SLOTS;
        if within < line.count() { self.found(slot, self.place(line.address(within))?).map(Some) } else { Ok(None) }
    }

    /// The class codes of a range of slots, and how many bytes each has.
    pub(super) fn class_codes(&self, slots: Range<usize>) -> Result<(&[u8], usize), IndexError> {
        let at = |slot: usize| self.sections.class_codes + slot * self.class_width;
        Ok((self.get(at(slots.start)..at(slots.end))?, self.class_width))
    }

    /// The commit codes of a range of slots, and how many bytes each has. Codes ascend with logseq.
    pub(super) fn commit_codes(&self, slots: Range<usize>) -> Result<(&[u8], usize), IndexError> {
        let at = |slot: usize| self.sections.commit_codes + slot * self.commit_width;
        Ok((self.get(at(slots.start)..at(slots.end))?, self.commit_width))
    }

    /// The classes, by code.
    pub(super) fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// The codes of commits whose logseq lies in a range.
    pub(super) fn commits_between(&self, low: LogSeq, high: LogSeq) -> Result<Range<u32>, IndexError> {
        let bound = |is_before: &dyn Fn(LogSeq) -> bool| {
            let (mut from, mut to) = (0, self.commits);
            while from < to {
                let middle = from + (to - from) / 2;
                if is_before(self.commit(middle)?.logseq) { from = middle + 1 } else { to = middle }
            }
            Ok::<_, IndexError>(u32::try_from(from).unwrap_or(u32::MAX))
        };
        Ok(bound(&|logseq| logseq < low)?..bound(&|logseq| logseq <= high)?)
    }

    #[inline]
    fn line(&self, line: usize) -> Result<Line<'_>, IndexError> {
        let start = self.sections.lines + line * LINE_LEN;
        Line::new(self.get(start..start + LINE_LEN)?).ok_or_else(|| self.broken("a line"))
    }

    fn overflow_slot(&self, index: usize) -> Result<(u64, u64), IndexError> {
        let start = self.sections.overflow + index * OVERFLOW_LEN;
        let bytes = self.get(start..start + OVERFLOW_LEN)?;
        Ok((u64_at(bytes, 0), u64_at(bytes, 8)))
    }

    #[inline]
    fn place(&self, address: u64) -> Result<LogPosition, IndexError> {
        self.strides.position(address).ok_or_else(|| self.broken("a slot"))
    }

    /// The record in a slot, which lies at `at`.
    #[inline]
    pub(super) fn found(&self, slot: usize, at: LogPosition) -> Result<Found, IndexError> {
        let commit = code(self.commit_codes(slot..slot + 1)?.0);
        Ok(Found { at, commit: self.commit(commit as usize)? })
    }

    #[inline]
    fn commit(&self, commit: usize) -> Result<CommitRef, IndexError> {
        if commit >= self.commits {
            return Err(self.broken("a commit code"));
        }
        let start = self.sections.commits + commit * COMMIT_LEN;
        Ok(decode_commit(self.get(start..start + COMMIT_LEN)?))
    }

    #[cold]
    fn broken(&self, what: &str) -> IndexError {
        IndexError::Content { file: self.file.clone(), what: format!("{what} names what is not there") }
    }
}

#[inline]
fn decode_commit(bytes: &[u8]) -> CommitRef {
    CommitRef { domain: u32_at(bytes, 0), number: u64_at(bytes, 8), logseq: LogSeq(u64_at(bytes, 16)) }
}

fn decode_class(bytes: &[u8]) -> Option<Class> {
    let kind = Kind::from_u8(bytes[0])?;
    let tag = u32_at(bytes, 4);
    Some(Class { kind, type_tag: (bytes[1] == 1).then_some(tag) })
}

/// A code of one, two or four bytes.
#[inline]
fn code(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |code, byte| code << 8 | u32::from(*byte))
}

#[inline]
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[inline]
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// The id's own prefix.
pub(super) fn prefix_of(id: &CanonicalId) -> u64 {
    id.prefix()
}
