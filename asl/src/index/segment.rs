//! Segments: the records of one shard and one range of the log, laid out once and never changed.
//! `FORMAT.md`, "Index".
//!
//! ```text
//! header | lines | overflow | class codes | commit codes
//!        | classes | commits | strides | page checks | check of those
//! ```
//!
//! Codes stand in columns parallel to the slots, so that filters read only what they filter by.
//! Everything is read through [`Pages`]: a flipped bit is an error and never an answer.
//!
//! To be read in this order: `layout`, `header`, `strides`, `encode` (how a file is laid out), this
//! file (what is in it), `lookup` (about an id).

mod encode;
mod header;
mod layout;
mod lookup;
mod strides;

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use uor_index_format::codec::hex;
use uor_index_format::id::LogSeq;

pub(super) use self::encode::encode;
use self::header::{HEADER_LEN, Header, Sections};
use self::layout::{
    CHECK_LEN, CLASS_LEN, COMMIT_LEN, PAGE_ROLE, STRIDE_LEN, decode_class, decode_commit, seal_of,
    u64_at,
};
pub(super) use self::layout::{Item, prefix_of, shard_of};
use self::strides::Strides;
pub(super) use self::strides::{STRIDES_MAX, strides_between};
use super::error::IndexError;
use super::lines::{self, LINE_LEN, Line, OVERFLOW_LEN, SLOTS};
use super::mend::{Mending, SEAL_LEN, Source};
use super::row::{Class, CommitRef, Found};
use crate::disk::Sealed;
use crate::log::LogPosition;
use crate::pages::{PAGE, PageKey, Pages};

/// An open segment.
pub(crate) struct Segment {
    file: String,
    pages: Mending,
    seal: [u8; SEAL_LEN],
    header: Header,
    sections: Sections,
    classes: Vec<Class>,
    strides: Strides,
}

impl Segment {
    /// Opens the file `bytes`, called `file`: reads its header, its small tables and the checks of
    /// its pages. Pages that turn out damaged later are had from `source`, if there is one.
    ///
    /// # Errors
    /// [`IndexError`] if it is no segment, of a newer version, or one of these is damaged.
    pub(super) fn open(
        file: String,
        file_number: u64,
        bytes: Sealed,
        source: Option<Arc<dyn Source>>,
    ) -> Result<Self, IndexError> {
        let header = Header::decode(&file, &bytes)?;
        let sections = header.sections();
        let (checks, seal) = checks(&file, file_number, &bytes, &sections)?;
        let key = PageKey::new(PAGE_ROLE, file_number);
        let pages = Pages::new(file.clone(), bytes, sections.end, key, checks)?;
        // The header was read before it could be verified.
        pages.get(0..HEADER_LEN)?;
        let table = |start: usize, count: usize, len: usize| pages.get(start..start + count * len);
        let classes = table(sections.classes, header.classes, CLASS_LEN)?;
        let classes = classes.chunks_exact(CLASS_LEN).map(decode_class);
        let classes = classes.collect::<Option<Vec<Class>>>();
        let strides = Strides::decode(table(sections.strides, header.strides, STRIDE_LEN)?);
        let source = source.map(|source| (source, header.shard));
        Ok(Self {
            classes: classes.ok_or_else(|| IndexError::Content {
                file: file.clone(),
                what: "it names a kind of record that there is not".to_owned(),
            })?,
            file,
            seal,
            header,
            sections,
            strides,
            pages: Mending::new(pages, key, seal, source),
        })
    }

    /// What names this file and no other, for a checkpoint.
    pub(super) const fn seal(&self) -> [u8; SEAL_LEN] {
        self.seal
    }

    /// How many records it has.
    pub(super) const fn records(&self) -> u64 {
        self.header.records as u64
    }

    /// Number of slots, empty ones and the overflow's included.
    pub(super) const fn slots(&self) -> usize {
        self.header.slots()
    }

    /// How many of the slots are those of lines.
    pub(super) const fn line_slots(&self) -> usize {
        self.header.lines * SLOTS
    }

    /// Verifies every page of the file, if it is still the one that was opened.
    pub(super) fn verify(&self, on_damage: &mut dyn FnMut(IndexError)) {
        self.pages
            .verify()
            .into_iter()
            .for_each(|damage| on_damage(damage.into()));
    }

    /// The bytes that are to be written in place of a damaged file, and its path.
    pub(super) fn unstored(&self) -> Option<(&str, &[u8])> {
        self.pages
            .unstored()
            .map(|bytes| (self.file.as_str(), bytes))
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
        let bytes = pages
            .get(start..start + self.header.commits * COMMIT_LEN)
            .ok()?;
        Some(bytes.chunks_exact(COMMIT_LEN).map(decode_commit).collect())
    }

    /// All commits whose records it holds, ascending by logseq.
    pub(super) fn commits(&self) -> Result<Vec<CommitRef>, IndexError> {
        let start = self.sections.commits;
        let bytes = self.get(start..start + self.header.commits * COMMIT_LEN)?;
        Ok(bytes.chunks_exact(COMMIT_LEN).map(decode_commit).collect())
    }

    /// How many slots are filled.
    pub(super) fn filled(&self) -> Result<u64, IndexError> {
        let lines = (0..self.header.lines).map(|line| Ok(self.line(line)?.count() as u64));
        Ok(lines.sum::<Result<u64, IndexError>>()? + self.header.overflow as u64)
    }

    /// Asks for the line where the search for a prefix begins.
    #[inline]
    pub(super) fn prefetch_line(&self, prefix: u64) {
        let (line, _) = lines::home(
            shard_of(prefix, self.header.shard_bits).1,
            self.header.lines,
        );
        self.pages
            .pages()
            .prefetch(self.sections.lines + line * LINE_LEN);
    }

    /// Asks for the commit codes of the line where the search for a prefix begins.
    #[inline]
    pub(super) fn prefetch_codes(&self, prefix: u64) {
        let (line, _) = lines::home(
            shard_of(prefix, self.header.shard_bits).1,
            self.header.lines,
        );
        self.prefetch_code(line * SLOTS);
    }

    /// Asks for the commit code of a slot.
    #[inline]
    pub(super) fn prefetch_code(&self, slot: usize) {
        self.pages
            .pages()
            .prefetch(self.sections.commit_codes + slot * self.header.commit_width);
    }

    /// The slots of lines where those ids of this shard can lie that are between two prefixes, both
    /// included.
    pub(super) fn slots_between(&self, low: u64, high: u64) -> Range<usize> {
        let line = |prefix| {
            let (shard, prefix) = shard_of(prefix, self.header.shard_bits);
            match shard.cmp(&self.header.shard) {
                Ordering::Less => 0,
                Ordering::Equal => lines::home(prefix, self.header.lines).0,
                Ordering::Greater => self.header.lines,
            }
        };
        // What belongs in the last line may lie further on.
        let end = (line(high) + 1 + lines::REACH_MAX).min(self.header.lines);
        line(low) * SLOTS..end * SLOTS
    }

    /// What is in a slot; `None` if nothing is.
    pub(super) fn slot(&self, slot: usize) -> Result<Option<Found>, IndexError> {
        if slot >= self.line_slots() {
            let index = slot - self.line_slots();
            return self
                .found(slot, self.place(self.overflow_slot(index)?.1)?)
                .map(Some);
        }
        let line = self.line(slot / SLOTS)?;
        let within = slot % SLOTS;
        if within < line.count() {
            self.found(slot, self.place(line.address(within))?)
                .map(Some)
        } else {
            Ok(None)
        }
    }

    /// The class codes of a range of slots, and how many bytes each has.
    pub(super) fn class_codes(&self, slots: Range<usize>) -> Result<(&[u8], usize), IndexError> {
        let at = |slot: usize| self.sections.class_codes + slot * self.header.class_width;
        Ok((
            self.get(at(slots.start)..at(slots.end))?,
            self.header.class_width,
        ))
    }

    /// The commit codes of a range of slots, and how many bytes each has. Codes ascend with logseq.
    pub(super) fn commit_codes(&self, slots: Range<usize>) -> Result<(&[u8], usize), IndexError> {
        let at = |slot: usize| self.sections.commit_codes + slot * self.header.commit_width;
        Ok((
            self.get(at(slots.start)..at(slots.end))?,
            self.header.commit_width,
        ))
    }

    /// The classes, by code.
    pub(super) fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// The codes of commits whose logseq lies in a range.
    pub(super) fn commits_between(
        &self,
        low: LogSeq,
        high: LogSeq,
    ) -> Result<Range<u32>, IndexError> {
        let bound = |is_before: &dyn Fn(LogSeq) -> bool| {
            let (mut from, mut to) = (0, self.header.commits);
            while from < to {
                let middle = from + (to - from) / 2;
                if is_before(self.commit(middle)?.logseq) {
                    from = middle + 1
                } else {
                    to = middle
                }
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
        self.strides
            .position(address)
            .ok_or_else(|| self.broken("a slot"))
    }

    /// The record in a slot, which lies at `at`.
    #[inline]
    pub(super) fn found(&self, slot: usize, at: LogPosition) -> Result<Found, IndexError> {
        let commit = code(self.commit_codes(slot..slot + 1)?.0);
        Ok(Found {
            at,
            commit: self.commit(commit as usize)?,
        })
    }

    #[inline]
    fn commit(&self, commit: usize) -> Result<CommitRef, IndexError> {
        if commit >= self.header.commits {
            return Err(self.broken("a commit code"));
        }
        let start = self.sections.commits + commit * COMMIT_LEN;
        Ok(decode_commit(self.get(start..start + COMMIT_LEN)?))
    }

    #[cold]
    fn broken(&self, what: &str) -> IndexError {
        IndexError::Content {
            file: self.file.clone(),
            what: format!("{what} names what is not there"),
        }
    }
}

/// The checks of a file's pages and the seal over them, if this is as it was written.
fn checks(
    file: &str,
    file_number: u64,
    bytes: &Sealed,
    sections: &Sections,
) -> Result<(Vec<u64>, [u8; SEAL_LEN]), IndexError> {
    let checks_len = sections.end.div_ceil(PAGE) * CHECK_LEN;
    if bytes.len() != sections.end + checks_len + SEAL_LEN {
        return Err(IndexError::Content {
            file: file.to_owned(),
            what: "its length is not what its header says".to_owned(),
        });
    }
    let (checks, stored) = bytes[sections.end..].split_at(checks_len);
    let seal = seal_of(file_number, sections.end, checks);
    if seal != stored || bytes.is_cut() {
        return Err(IndexError::Seal {
            file: file.to_owned(),
            expected: hex(stored),
            found: hex(&seal),
        });
    }
    let checks = checks.chunks_exact(CHECK_LEN);
    Ok((checks.map(|check| u64_at(check, 0)).collect(), seal))
}

/// A code of one, two or four bytes.
#[inline]
fn code(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |code, byte| code << 8 | u32::from(*byte))
}
