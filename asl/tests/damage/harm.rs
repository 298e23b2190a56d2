//! Every way to damage the files of a store.

use std::collections::BTreeSet;

use uor_asl::disk::memory::MemoryDisk;
use uor_asl::disk::{Disk, Mode};
use uor_index_format::id::Checksum;

use super::sample::Sample;
use crate::federation::mix;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Harm {
    Flip(usize),
    Missing,
    Swapped(String),
    /// Shorter, longer, or as it was before.
    Rewritten(&'static str, Vec<u8>),
}

#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) path: String,
    pub(crate) harm: Harm,
    /// Whether the file is the last of its kind, and still written.
    pub(crate) is_last: bool,
    /// Whether it falls into bytes of a payload that was freed, in a pack that stays.
    pub(crate) is_in_dead_bytes: bool,
}

impl std::fmt::Display for Cell {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.harm {
            Harm::Rewritten(what, bytes) => {
                write!(out, "{}: {what}, {} bytes", self.path, bytes.len())
            }
            harm => write!(out, "{}: {harm:?}", self.path),
        }
    }
}

impl Cell {
    pub(crate) fn is_in(&self, part: &str) -> bool {
        self.path.contains(part)
    }

    /// The last of its kind ends earlier than it did: what a crash before the last sync would leave
    /// as well.
    pub(crate) fn ends_earlier(&self) -> bool {
        self.is_last && !matches!(self.harm, Harm::Flip(_) | Harm::Swapped(_))
    }

    /// Whether it falls into the index of records: no answer is lost by it, and it is mended.
    pub(crate) fn is_in_index(&self) -> bool {
        self.path.starts_with("index/") && !self.is_in("blocks-")
    }

    /// Whether nothing in the store can tell that this happened; no answer depends on it then.
    pub(crate) fn cannot_be_told(&self) -> bool {
        let is_longer = matches!(self.harm, Harm::Rewritten("longer", _));
        let is_older = matches!(self.harm, Harm::Missing | Harm::Rewritten("as it was", _));
        // An older checkpoint is what a crash leaves as well; without any list of packs, packs that
        // are there are all that there ever were; rows behind those that count mean nothing.
        self.ends_earlier()
            || matches!(self.harm, Harm::Rewritten("untouched", _))
            || self.is_in_dead_bytes
            || (is_older && (self.is_in("packs.list") || self.is_in("checkpoint")))
            || (is_longer && self.is_in(".commits"))
    }

    /// Whether it falls into packs or what is known of them, of which no answer depends but those
    /// that need the bytes.
    pub(crate) fn is_in_blocks(&self) -> bool {
        self.path.starts_with("blocks/") || self.is_in("blocks-")
    }

    /// Puts back what was there before.
    pub(crate) fn undo(&self, sample: &Sample, disk: &MemoryDisk) {
        let other = match &self.harm {
            Harm::Swapped(other) => Some(other),
            _ => None,
        };
        for path in [Some(&self.path), other].into_iter().flatten() {
            put(disk, path, &sample.now()[path]);
        }
        disk.settle();
    }

    pub(crate) fn apply(&self, disk: &MemoryDisk) {
        match &self.harm {
            Harm::Flip(bit) => assert!(disk.flip_bit(&self.path, *bit as u64)),
            Harm::Missing => disk.remove(&self.path).unwrap(),
            Harm::Swapped(other) => {
                let bytes = [&self.path, other].map(|path| disk.contents(path).unwrap());
                put(disk, &self.path, &bytes[1]);
                put(disk, other, &bytes[0]);
            }
            Harm::Rewritten(_, bytes) => put(disk, &self.path, bytes),
        }
        disk.settle();
    }
}

fn put(disk: &MemoryDisk, path: &str, bytes: &[u8]) {
    let file = disk.open(path, Mode::Write).unwrap();
    file.set_len(0).unwrap();
    file.write_at(0, bytes).unwrap();
}

/// The kind of a file.
pub(crate) fn kind(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap();
    if name.starts_with("blocks-") {
        "blocks-"
    } else {
        name.rsplit('.').next().unwrap()
    }
}

/// Everything that can happen to the files.
pub(crate) fn cells(sample: &Sample) -> Vec<Cell> {
    let files = sample.now();
    let mut cells = Vec::new();
    for (path, bytes) in files.iter().filter(|(path, _)| *path != "lock") {
        let of_kind: Vec<&String> = files
            .keys()
            .filter(|other| kind(other) == kind(path))
            .collect();
        let is_last = ["log", "pack"].contains(&kind(path)) && of_kind.last() == Some(&path);
        let dead = sample.dead(bytes);
        let is_dead = |harm: &Harm| matches!(harm, Harm::Flip(bit) if dead.iter().any(|dead| dead.contains(&(bit / 8))));
        let mut add = |harm| {
            cells.push(Cell {
                path: path.clone(),
                is_last,
                is_in_dead_bytes: is_dead(&harm),
                harm,
            });
        };
        let (len, seed) = (
            bytes.len(),
            mix(Checksum::of(path.as_bytes()).as_bytes()[0].into()),
        );
        let header = [0, 4, 9, 12, 20, 33, 50, 70];
        let body = (0..8).map(|index| usize::try_from(mix(seed + index) % len as u64).unwrap());
        let tail = [1, 9, 20, 33, 60, 70].map(|back| len.saturating_sub(back));
        let places: BTreeSet<usize> = header
            .into_iter()
            .chain(body)
            .chain(tail)
            .filter(|place| *place < len)
            .collect();
        places.into_iter().for_each(|place| {
            add(Harm::Flip(
                place * 8 + usize::try_from(mix(seed ^ place as u64) % 8).unwrap(),
            ))
        });
        add(Harm::Missing);
        of_kind
            .iter()
            .filter(|other| ***other > *path)
            .for_each(|other| add(Harm::Swapped((*other).clone())));
        let shorter: BTreeSet<usize> = [
            0,
            1,
            31,
            32,
            len / 3,
            len / 2 / 8 * 8,
            len - 32.min(len),
            len - 8.min(len),
            len - 1,
        ]
        .into();
        shorter
            .into_iter()
            .for_each(|len| add(Harm::Rewritten("shorter", bytes[..len].to_vec())));
        for more in [
            vec![0; 8],
            vec![0; 5000],
            vec![0xaa; 64],
            bytes[..len.min(200)].to_vec(),
        ] {
            add(Harm::Rewritten("longer", [&bytes[..], &more].concat()));
        }
        sample
            .stale(path)
            .into_iter()
            .for_each(|stale| add(Harm::Rewritten("as it was", stale)));
    }
    cells
}
