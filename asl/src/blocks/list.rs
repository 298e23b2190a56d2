//! Which packs there should be; `FORMAT.md`, "List of packs". It is replaced as a whole.

use std::collections::BTreeSet;
use std::ops::Range;

use super::damage::BlockDamage;
use super::error::BlocksError;
use super::layout::LIST_PATH;
use crate::damage::Mismatch;
use crate::disk::{self, Context, Disk};
use uor_index_format::codec::hex;

const MAGIC: [u8; 8] = *b"UORPLST\0";
const VERSION: u16 = 1;
const HEAD_LEN: usize = 20;
/// Where the number of the last pack is.
const LAST: Range<usize> = 12..16;
/// Where the number of ranges is.
const COUNT: Range<usize> = 16..20;
const _: () = assert!(COUNT.end == HEAD_LEN, "no gap, no padding");
const RANGE_LEN: usize = 8;
const CHECK_LEN: usize = 32;

/// Which packs have been begun, and which of them are no more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct List {
    /// The highest number of a pack that was begun when this was written; one may have been since.
    pub(super) last: u32,
    /// Numbers of packs that were removed on purpose; they are never used again.
    pub(super) removed: BTreeSet<u32>,
}

impl List {
    /// The list on disk; empty where there is none, as in a store of the first version.
    pub(super) fn read(disk: &dyn Disk) -> Result<Self, BlocksError> {
        Ok(Self::find(disk)?.unwrap_or_default())
    }

    /// The list on disk, if there is one.
    pub(super) fn find(disk: &dyn Disk) -> Result<Option<Self>, BlocksError> {
        if !disk.exists(LIST_PATH).during("look for", LIST_PATH)? {
            return Ok(None);
        }
        Self::decode(&disk::read_all(disk, LIST_PATH)?).map(Some)
    }

    /// Replaces the list on disk.
    pub(super) fn write(&self, disk: &dyn Disk) -> Result<(), BlocksError> {
        Ok(disk::replace(disk, LIST_PATH, &self.encode())?)
    }

    /// The packs that should be among `numbers`, and are not.
    pub(super) fn missing(&self, numbers: &BTreeSet<u32>) -> impl Iterator<Item = u32> {
        (1..=self.last).filter(|number| !numbers.contains(number) && !self.removed.contains(number))
    }

    /// That this is not the newest: pack `begun` has come after it, and was listed before anything
    /// was put into it.
    pub(super) fn outrun_by(&self, begun: u32) -> BlockDamage {
        let (expected, found) = (begun.to_string(), self.last.to_string());
        let mismatch = Mismatch::new("number of the last pack", expected, found);
        mismatch.at(LIST_PATH, LAST.start as u64).into()
    }

    fn encode(&self) -> Vec<u8> {
        let ranges = ranges(&self.removed);
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&self.last.to_le_bytes());
        let count = u32::try_from(ranges.len()).expect("there are fewer ranges than pack numbers");
        bytes.extend_from_slice(&count.to_le_bytes());
        for (first, last) in ranges {
            bytes.extend_from_slice(&first.to_le_bytes());
            bytes.extend_from_slice(&last.to_le_bytes());
        }
        let check = *blake3::hash(&bytes).as_bytes();
        bytes.extend_from_slice(&check);
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, BlocksError> {
        let damaged = |mismatch: Mismatch| BlocksError::Damaged(mismatch.at(LIST_PATH, 0).into());
        let (head, ranges) = verify(bytes).map_err(damaged)?;
        let version = u16::from_le_bytes([head[8], head[9]]);
        if head[..8] != MAGIC || version == 0 {
            let mismatch = Mismatch::new("list magic", hex(&MAGIC), hex(&head[..10]));
            return Err(damaged(mismatch));
        }
        if version > VERSION {
            return Err(BlocksError::Newer {
                file: LIST_PATH.to_owned(),
                found: version,
                supported: VERSION,
            });
        }
        let last = number(head, LAST.start);
        let count = number(head, COUNT.start) as usize;
        let Some(removed) = decode_ranges(ranges, count, last) else {
            let content = hex(&[head, ranges].concat());
            let mismatch = Mismatch::new("list of ranges", "known packs", content);
            return Err(damaged(mismatch));
        };
        Ok(Self { last, removed })
    }
}

/// Head and ranges of a list whose check fits.
fn verify(bytes: &[u8]) -> Result<(&[u8; HEAD_LEN], &[u8]), Mismatch> {
    let Some((content, check)) = bytes.split_last_chunk::<CHECK_LEN>() else {
        let (expected, found) = (
            format!("at least {CHECK_LEN} bytes"),
            format!("{} bytes", bytes.len()),
        );
        return Err(Mismatch::new("list length", expected, found));
    };
    let found = *blake3::hash(content).as_bytes();
    content
        .split_first_chunk()
        .filter(|_| found == *check)
        .ok_or_else(|| Mismatch::new("list", hex(check), hex(&found)))
}

/// The numbers in `count` ranges of packs up to `last`, both ends included; `None` if these are
/// others.
fn decode_ranges(bytes: &[u8], count: usize, last: u32) -> Option<BTreeSet<u32>> {
    let (ranges, rest) = bytes.as_chunks::<RANGE_LEN>();
    let ends = |range: &[u8; RANGE_LEN]| (number(range, 0), number(range, 4));
    let are_begun = ranges
        .iter()
        .map(ends)
        .all(|(first, end)| first <= end && end <= last);
    let is_sound = rest.is_empty() && ranges.len() == count && are_begun;
    is_sound.then(|| {
        ranges
            .iter()
            .map(ends)
            .flat_map(|(first, end)| first..=end)
            .collect()
    })
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Numbers as ranges, both ends included.
fn ranges(numbers: &BTreeSet<u32>) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A list that says this, with a check that fits.
    fn forged(magic: &[u8; 8], version: u16, numbers: &[u32]) -> Vec<u8> {
        let mut bytes = [&magic[..], &version.to_le_bytes(), &[0; 2]].concat();
        numbers
            .iter()
            .for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        let check = *blake3::hash(&bytes).as_bytes();
        bytes.extend_from_slice(&check);
        bytes
    }

    #[test]
    fn what_no_list_says_is_refused_though_its_check_fits() {
        let decode = |bytes: &[u8]| List::decode(bytes);
        let sound = List {
            last: 9,
            removed: [2, 3, 7].into(),
        };
        assert_eq!(
            decode(&forged(&MAGIC, 1, &[9, 2, 2, 3, 7, 7])).unwrap(),
            sound
        );
        assert!(matches!(
            decode(&forged(&MAGIC, 2, &[9, 0])),
            Err(BlocksError::Newer {
                found: 2,
                supported: 1,
                ..
            })
        ));
        let wrong: [(&str, Vec<u8>); 7] = [
            ("another file", forged(b"UORPACK\0", 1, &[9, 0])),
            ("no version", forged(&MAGIC, 0, &[9, 0])),
            (
                "more than it counts",
                forged(&MAGIC, 1, &[9, 1, 2, 3, 7, 7]),
            ),
            ("less than it counts", forged(&MAGIC, 1, &[9, 2, 2, 3])),
            ("half a range", forged(&MAGIC, 1, &[9, 1, 2, 3, 7])),
            (
                "a range that ends before it begins",
                forged(&MAGIC, 1, &[9, 1, 3, 2]),
            ),
            (
                "packs that were never begun",
                forged(&MAGIC, 1, &[9, 1, 9, 10]),
            ),
        ];
        for (what, bytes) in wrong {
            assert!(
                matches!(decode(&bytes), Err(BlocksError::Damaged(_))),
                "{what}"
            );
        }
    }

    proptest! {
        #[test]
        fn lists_come_back_and_flipped_or_cut_ones_are_refused(
            removed in prop::collection::btree_set(1..60_u32, 0..40), more in 0..9_u32, flip in any::<prop::sample::Index>(),
        ) {
            let list = List { last: removed.last().map_or(0, |last| last + more), removed };
            let mut bytes = list.encode();
            prop_assert_eq!(&List::decode(&bytes).unwrap(), &list);
            prop_assert!(List::decode(&bytes[..flip.index(bytes.len())]).is_err());
            let bit = flip.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(List::decode(&bytes).is_err());
            let there: BTreeSet<u32> = (1..=list.last).filter(|number| !list.removed.contains(number)).collect();
            prop_assert_eq!(list.missing(&there).next(), None);
            for number in &there {
                let others = there.iter().copied().filter(|other| other != number).collect();
                prop_assert_eq!(list.missing(&others).collect::<Vec<_>>(), [*number]);
            }
        }
    }
}
