//! The bytes of a file, and what of them is durable.

use std::collections::BTreeSet;

use super::chance::Chance;

const SECTOR: usize = 512;
/// Space is taken and given back in such pieces.
pub(super) const PAGE: usize = 4096;

/// The bytes of one file.
#[derive(Debug, Default)]
pub(super) struct File {
    /// What is read.
    pub(super) live: Vec<u8>,
    /// What is durable.
    pub(super) synced: Vec<u8>,
    /// What was done to it since the last sync.
    pub(super) pending: Vec<Change>,
    /// Pages that take no space.
    pub(super) holes: BTreeSet<usize>,
}

/// What is done to the bytes of a file.
#[derive(Debug)]
pub(super) enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

impl File {
    /// How many of its bytes take no space.
    pub(super) fn holes_len(&self) -> usize {
        self.holes.range(..self.live.len() / PAGE).count() * PAGE
    }

    /// Does this to the file; it is not durable yet.
    pub(super) fn change(&mut self, change: Change) {
        if let Change::Write { offset, bytes } = &change {
            let written = offset / PAGE..(offset + bytes.len()).div_ceil(PAGE);
            self.holes.retain(|page| !written.contains(page));
        }
        change.apply(&mut self.live);
        self.pending.push(change);
    }

    /// Makes everything durable.
    pub(super) fn settle(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            change.apply(&mut self.synced);
        }
    }

    /// The bytes as a power loss may leave them.
    pub(super) fn after_crash(&self, chance: &mut Chance) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        for change in &self.pending {
            match (chance.below(4), change) {
                (0, _) => {}
                (
                    1,
                    Change::Write {
                        offset,
                        bytes: written,
                    },
                ) => {
                    let kept = chance.below(written.len() + 1);
                    write(&mut bytes, *offset, &written[..kept]);
                }
                (
                    2,
                    Change::Write {
                        offset,
                        bytes: written,
                    },
                ) => write_some_sectors(&mut bytes, *offset, written, chance),
                (_, change) => change.apply(&mut bytes),
            }
        }
        bytes
    }
}

impl Change {
    fn apply(&self, target: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => write(target, *offset, bytes),
            Self::SetLen(len) => target.resize(*len, 0),
        }
    }
}

fn write(target: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if target.len() < end {
        target.resize(end, 0);
    }
    target[offset..end].copy_from_slice(bytes);
}

fn write_some_sectors(target: &mut Vec<u8>, offset: usize, bytes: &[u8], chance: &mut Chance) {
    let end = offset + bytes.len();
    let mut start = offset;
    while start < end {
        let sector_end = end.min((start / SECTOR + 1) * SECTOR);
        if chance.below(2) == 0 {
            write(target, start, &bytes[start - offset..sector_end - offset]);
        }
        start = sector_end;
    }
}
