//! Which packs there are, beside those that there should be; `FORMAT.md`, "Packs that lost
//! something".
//!
//! The list of packs says which should be there. Where it is damaged, gone, or older than the
//! packs, what is there says it: of a pack that is not, it is not known then whether it was given
//! up. No payload depends on that, and no erasure does: the record that a payload was erased lies
//! behind its blocks, so a pack that was given up and is there again lies before it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::damage::BlockDamage;
use super::error::{BlocksError, Interrupted};
use super::layout::{DIR, EXTENSION, LIST_PATH};
use super::list::List;
use super::pack::Pack;
use super::scan::{self, End};
use crate::disk::{self, Disk, Mode};
use crate::file_header;

/// The first version of packs that are listed.
const VERSION_LISTED: u16 = 2;

/// The packs of a store.
pub(super) struct Present {
    /// Those that are there, and were not given up.
    pub(super) numbers: BTreeSet<u32>,
    /// Those that are there, and were given up.
    pub(super) leftover: BTreeSet<u32>,
    /// The list as it should be.
    pub(super) list: List,
    /// Whether the list on disk is another one.
    pub(super) is_list_new: bool,
    /// What is wrong with the list on disk.
    pub(super) list_damage: Option<BlockDamage>,
    /// The packs that should be there and are not.
    pub(super) missing: Vec<BlockDamage>,
}

impl Present {
    /// Looks for the packs.
    pub(super) fn find(disk: &Arc<dyn Disk>, mode: Mode) -> Result<Self, Interrupted> {
        let failed = Interrupted::of(mode);
        // The list first: a writer lists a pack after it has begun it.
        let read = Read::of(&**disk).map_err(&failed)?;
        let found: BTreeSet<u32> = disk::list_numbered(&**disk, DIR, EXTENSION)
            .map_err(|error| failed(error.into()))?
            .into_iter()
            .collect();
        let present = Self::of(disk, &read, found).map_err(&failed)?;
        let suspect = present.missing.first().or(present.list_damage.as_ref());
        if let Some(damage) = suspect.filter(|_| mode == Mode::ReadOnly)
            && Read::of(&**disk).map_err(&failed)? != read
        {
            // A writer has begun a pack, or given one up, since the list was read.
            return Err(Interrupted::Changed {
                file: damage.at.file.clone(),
            });
        }
        Ok(present)
    }

    fn of(disk: &Arc<dyn Disk>, read: &Read, found: BTreeSet<u32>) -> Result<Self, BlocksError> {
        // One that was only just begun may not be listed.
        let begun_last = match found.last() {
            Some(last) if is_begun(disk, *last)? => *last,
            last => last.map_or(0, |last| last - 1),
        };
        let unlisted = || List {
            last: begun_last,
            removed: gaps(&found, begun_last),
        };
        let (list, list_damage) = match read {
            Read::Sound(list) if list.last < begun_last => {
                let beyond = gaps(&found, begun_last)
                    .into_iter()
                    .filter(|number| *number > list.last);
                let removed = list.removed.iter().copied().chain(beyond).collect();
                (
                    List {
                        last: begun_last,
                        removed,
                    },
                    Some(list.outrun_by(begun_last)),
                )
            }
            Read::Sound(list) => (list.clone(), None),
            Read::Damaged(damage) => (unlisted(), Some(damage.clone())),
            Read::Absent if is_any_listed(disk, &found)? => (
                unlisted(),
                Some(BlockDamage::gone(
                    LIST_PATH.to_owned(),
                    "packs are here that it lists",
                )),
            ),
            // Packs of the first version were never removed.
            Read::Absent => (
                List {
                    last: begun_last,
                    removed: BTreeSet::new(),
                },
                None,
            ),
        };
        let missing = list.missing(&found);
        let missing = missing.map(|number| {
            BlockDamage::gone(Pack::path(number), "it was begun, and never given up")
        });
        Ok(Self {
            missing: missing.collect(),
            leftover: found.intersection(&list.removed).copied().collect(),
            numbers: found.difference(&list.removed).copied().collect(),
            is_list_new: !matches!(read, Read::Sound(on_disk) if *on_disk == list),
            list,
            list_damage,
        })
    }

    /// The pack that may be appended to, and how it may end; none if the last that was begun is not
    /// there.
    pub(super) fn open(&self) -> Option<(u32, End)> {
        let last = self
            .numbers
            .last()
            .copied()
            .filter(|last| *last >= self.list.last)?;
        Some((
            last,
            if last == self.list.last {
                End::Open
            } else {
                End::Unlisted
            },
        ))
    }

    /// The packs that are not appended to any more.
    pub(super) fn closed(&self) -> BTreeSet<u32> {
        let open = self.open().map(|(number, _)| number);
        self.numbers
            .iter()
            .copied()
            .filter(|number| Some(*number) != open)
            .collect()
    }

    /// The highest number of a pack, be it there or not, that is not appended to any more.
    pub(super) fn closed_last(&self) -> u32 {
        self.open().map_or(self.list.last, |(number, _)| number - 1)
    }
}

/// What is in the place of the list.
#[derive(PartialEq)]
enum Read {
    Sound(List),
    Damaged(BlockDamage),
    Absent,
}

impl Read {
    fn of(disk: &dyn Disk) -> Result<Self, BlocksError> {
        match List::find(disk) {
            Ok(list) => Ok(list.map_or(Self::Absent, Self::Sound)),
            Err(BlocksError::Damaged(damage)) => Ok(Self::Damaged(damage)),
            Err(error) => Err(error),
        }
    }
}

/// The numbers up to `last` that are not there.
fn gaps(found: &BTreeSet<u32>, last: u32) -> BTreeSet<u32> {
    (1..=last)
        .filter(|number| !found.contains(number))
        .collect()
}

/// Whether there is more in a pack than its header: then it was listed, as a crash does not leave
/// it otherwise.
fn is_begun(disk: &Arc<dyn Disk>, number: u32) -> Result<bool, BlocksError> {
    Ok(Pack::open(disk, number, Mode::ReadOnly)?.len()? > file_header::LEN as u64)
}

fn is_any_listed(disk: &Arc<dyn Disk>, found: &BTreeSet<u32>) -> Result<bool, BlocksError> {
    for number in found {
        let pack = Pack::open(disk, *number, Mode::ReadOnly)?;
        let is_begun = pack.len()? > file_header::LEN as u64;
        if is_begun && scan::version(&pack)?.is_some_and(|version| version >= VERSION_LISTED) {
            return Ok(true);
        }
    }
    Ok(false)
}
