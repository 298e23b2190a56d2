//! The file of a segment, laid out from the records that it is to hold.

use uor_index_format::id::CanonicalId;

use super::header::Header;
use super::layout::{ALIGN, Item, PAGE_ROLE, encode_class, encode_commit, seal_of, shard_of};
use super::strides::Strides;
use crate::index::lines::{self, LINE_LEN, OVERFLOW_LEN};
use crate::index::row::{Class, CommitRef, Ids};
use crate::pages::{PageKey, checks_of};

/// The file of a segment: `items` are those of `shard`, in any order, whose commits are among
/// `commits`.
///
/// # Errors
/// What `ids` cannot read: records with equal prefixes are ordered by their whole ids.
pub(crate) fn encode<E>(
    shard: u32,
    shard_bits: u32,
    file_number: u64,
    mut items: Vec<Item>,
    commits: &[CommitRef],
    ids: &dyn Ids<Error = E>,
) -> Result<Vec<u8>, E> {
    sort(&mut items, ids)?;
    let strides = Strides::of(&items);
    let built = lines::build(items.iter().map(|item| {
        let (_, prefix) = shard_of(item.prefix, shard_bits);
        (prefix, strides.address(item.at))
    }));
    let classes = classes_of(&items);
    let by_logseq = by_logseq(commits);
    let header = Header {
        shard_bits,
        shard,
        class_width: width_for(classes.len()),
        commit_width: width_for(commits.len()).max(2),
        classes: classes.len(),
        lines: built.lines.len() / LINE_LEN,
        overflow: built.overflow.len() / OVERFLOW_LEN,
        records: items.len(),
        commits: commits.len(),
        strides: strides.len(),
    };
    let slots = items.iter().zip(&built.slots);
    let mut class_codes = Column::new(header.slots(), header.class_width);
    let mut commit_codes = Column::new(header.slots(), header.commit_width);
    let codes = codes_of(&by_logseq);
    for (item, slot) in slots {
        let class = classes.binary_search(&item.class);
        class_codes.put(
            *slot,
            code(class.expect("the classes are those of all items")),
        );
        commit_codes.put(*slot, codes[item.commit as usize]);
    }

    let mut file = header.encode().to_vec();
    let mut section = |bytes: &[u8]| {
        file.resize(file.len().next_multiple_of(ALIGN), 0);
        file.extend_from_slice(bytes);
    };
    section(&built.lines);
    section(&built.overflow);
    section(&class_codes.bytes);
    section(&commit_codes.bytes);
    section(
        classes
            .iter()
            .map(encode_class)
            .collect::<Vec<_>>()
            .as_flattened(),
    );
    let commits = by_logseq
        .iter()
        .map(|commit| encode_commit(commits[*commit as usize]));
    section(commits.collect::<Vec<_>>().as_flattened());
    section(&strides.encode());
    file.resize(file.len().next_multiple_of(ALIGN), 0);
    assert_eq!(
        file.len(),
        header.sections().end,
        "sections are where the header says"
    );
    seal(&mut file, file_number);
    Ok(file)
}

/// Puts behind the sections the checks of their pages, and the check of these.
fn seal(file: &mut Vec<u8>, file_number: u64) {
    let checks = checks_of(&PageKey::new(PAGE_ROLE, file_number), file);
    let checks: Vec<u8> = checks.into_iter().flat_map(u64::to_le_bytes).collect();
    let seal = seal_of(file_number, file.len(), &checks);
    file.extend_from_slice(&checks);
    file.extend_from_slice(&seal);
}

/// By id, and those of one id by place in the log.
fn sort<E>(items: &mut [Item], ids: &dyn Ids<Error = E>) -> Result<(), E> {
    items.sort_unstable_by_key(|item| (item.prefix, item.at));
    let alike = items.chunk_by_mut(|a, b| a.prefix == b.prefix);
    for same in alike.filter(|same| same.len() > 1) {
        let named = same.iter().map(|item| Ok((ids.id(item.at)?, *item)));
        let mut named = named.collect::<Result<Vec<(CanonicalId, Item)>, E>>()?;
        named.sort_by_key(|(id, item)| (*id, item.at));
        for (place, (_, item)) in same.iter_mut().zip(named) {
            *place = item;
        }
    }
    Ok(())
}

/// The classes of these items, ascending: a class's code is its place here.
fn classes_of(items: &[Item]) -> Vec<Class> {
    let mut classes: Vec<Class> = items.iter().map(|item| item.class).collect();
    classes.sort_unstable();
    classes.dedup();
    classes
}

/// Indexes of commits, ascending by logseq: a bound on it is then a bound on codes.
fn by_logseq(commits: &[CommitRef]) -> Vec<u32> {
    let mut by_logseq: Vec<u32> = (0..).take(commits.len()).collect();
    by_logseq.sort_by_key(|commit| commits[*commit as usize].logseq);
    by_logseq
}

/// The code of each commit, which is its place in that order.
fn codes_of(by_logseq: &[u32]) -> Vec<u32> {
    let mut codes = vec![0; by_logseq.len()];
    for (code, commit) in (0..).zip(by_logseq) {
        codes[*commit as usize] = code;
    }
    codes
}

/// Codes parallel to the slots. Where a slot is empty its code is all ones.
struct Column {
    bytes: Vec<u8>,
    width: usize,
}

impl Column {
    fn new(slots: usize, width: usize) -> Self {
        Self {
            bytes: vec![0xff; slots * width],
            width,
        }
    }

    fn put(&mut self, slot: u32, code: u32) {
        let at = slot as usize * self.width;
        self.bytes[at..][..self.width].copy_from_slice(&code.to_le_bytes()[..self.width]);
    }
}

fn code(place: usize) -> u32 {
    u32::try_from(place).expect("a segment holds less than 2^32 records")
}

/// How many bytes tell this many codes from each other and from "none", all ones.
const fn width_for(codes: usize) -> usize {
    match codes {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        _ => 4,
    }
}
