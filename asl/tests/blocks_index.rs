//! The sealed index of blocks: opened without reading the packs, rebuilt where it is damaged, and
//! what reading touches.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod observed;
mod packs;

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, Mutex};

use observed::{Deed, Observed, Observer};
use packs::noise;
use uor_asl::blocks::{Blocks, BlocksError, Options, Recovery};
use uor_asl::disk::memory::MemoryDisk;
use uor_asl::disk::{Disk, Mode};
use uor_index_format::id::Checksum;

const OPTIONS: Options = Options {
    pack_bytes: 64 << 10,
    threads: 2,
};

fn open(disk: &MemoryDisk, mode: Mode) -> Result<(Blocks, Recovery), BlocksError> {
    Blocks::open_with(Arc::new(disk.clone()), mode, OPTIONS)
}

fn all() -> Vec<Vec<u8>> {
    (0..600).map(|seed| noise(seed, 1000)).collect()
}

/// Some ten packs, all but the last of them in runs.
fn sample() -> (MemoryDisk, Vec<Vec<u8>>) {
    let disk = MemoryDisk::new();
    let (blocks, _) = open(&disk, Mode::Write).unwrap();
    let all = all();
    all.iter()
        .for_each(|bytes| assert!(blocks.put_bytes(bytes).unwrap().new_bytes > 0));
    blocks.sync().unwrap();
    drop(blocks);
    disk.settle();
    (disk, all)
}

fn runs(disk: &MemoryDisk) -> Vec<String> {
    disk.paths()
        .into_iter()
        .filter(|path| path.starts_with("index/"))
        .collect()
}

fn packs(disk: &MemoryDisk) -> Vec<String> {
    disk.paths()
        .into_iter()
        .filter(|path| path.ends_with(".pack"))
        .collect()
}

/// Counts the bytes that are read of every file.
#[derive(Default)]
struct Counting(Mutex<BTreeMap<String, u64>>);

impl Counting {
    /// A disk whose reads are counted.
    fn of_disk(disk: &MemoryDisk) -> (Arc<Self>, Arc<Observed>) {
        let counting = Arc::<Self>::default();
        (counting.clone(), Arc::new(Observed::by(disk, counting)))
    }

    fn of(&self, suffix: &str) -> u64 {
        let read = self.0.lock().unwrap();
        read.iter()
            .filter(|(path, _)| path.ends_with(suffix))
            .map(|(_, bytes)| bytes)
            .sum()
    }
}

impl Observer for Counting {
    fn before(&self, _: Deed, _: &str) {}

    fn has_read(&self, path: &str, _: u64, bytes: &mut [u8]) {
        *self.0.lock().unwrap().entry(path.to_owned()).or_default() += bytes.len() as u64;
    }
}

#[test]
fn opening_reads_the_last_pack_and_no_other() {
    let (disk, all) = sample();
    let packs = packs(&disk);
    assert!(packs.len() >= 10, "{} packs", packs.len());
    assert!(runs(&disk).len() <= 4, "{:?}", runs(&disk));
    for mode in [Mode::ReadOnly, Mode::Write] {
        let (counting, counted) = Counting::of_disk(&disk);
        let (blocks, recovery) = Blocks::open_with(counted, mode, OPTIONS).unwrap();
        assert_eq!((recovery.payloads, recovery.rebuilt), (600, vec![]));
        let (last, closed) = packs.split_last().unwrap();
        assert!(
            closed.iter().all(|path| counting.of(path) == 32),
            "the file header"
        );
        assert!(counting.of(last) > 32);
        let before = counting.of(".pack");
        assert!(all.iter().all(|bytes| blocks.has(Checksum::of(bytes))));
        assert!(!blocks.has(Checksum::of(b"absent")));
        assert_eq!(
            counting.of(".pack"),
            before,
            "nothing but the index is asked"
        );
        assert_eq!(
            blocks.read_all(Checksum::of(&all[0]), u64::MAX).unwrap(),
            all[0]
        );
        assert_eq!(
            counting.of(".pack"),
            before + 1000,
            "and a payload is its bytes"
        );
    }
}

#[test]
fn a_range_touches_its_chunks_and_no_others() {
    let disk = MemoryDisk::new();
    let (blocks, _) = Blocks::open(Arc::new(disk.clone()), Mode::Write).unwrap();
    let bytes = noise(1, 40 << 20);
    let checksum = blocks.put_bytes(&bytes).unwrap().checksum;
    blocks.sync().unwrap();
    let chunks = blocks.chunks(checksum).unwrap();
    let (counting, counted) = Counting::of_disk(&disk);
    let (blocks, _) = Blocks::open(counted, Mode::ReadOnly).unwrap();
    let mut start = 0;
    for chunk in &chunks {
        let end = start + u64::from(chunk.len);
        let before = counting.of(".pack");
        let mut found = Vec::new();
        blocks
            .read_part(checksum, end - 1..end)
            .unwrap()
            .read_to_end(&mut found)
            .unwrap();
        assert_eq!(found, [bytes[usize::try_from(end).unwrap() - 1]]);
        let read = counting.of(".pack") - before;
        assert!(
            read <= u64::from(chunk.len) + 8192,
            "{read} bytes for one of a chunk of {}",
            chunk.len
        );
        start = end;
    }
    // Once for each process, all of it: only that proves that these are the payload's chunks.
    for expected in [(40 << 20)..(44 << 20), 0..1] {
        let before = counting.of(".pack");
        blocks.read_range(checksum, 7..7).unwrap();
        let read = counting.of(".pack") - before;
        assert!(
            expected.contains(&read.saturating_sub(8192)) || expected.contains(&read),
            "{read} bytes"
        );
    }
}

#[test]
fn without_its_index_a_store_is_the_same() {
    let (disk, all) = sample();
    for lost in 1..1 << runs(&disk).len() {
        let disk = disk.crash(0);
        let paths = runs(&disk);
        let lost: Vec<&String> = paths
            .iter()
            .enumerate()
            .filter(|(at, _)| lost >> at & 1 == 1)
            .map(|(_, path)| path)
            .collect();
        lost.iter().for_each(|path| disk.remove(path).unwrap());
        let (reader, _) = open(&disk, Mode::ReadOnly).unwrap();
        assert!(all.iter().all(|bytes| reader.has(Checksum::of(bytes))));
        let (writer, recovery) = open(&disk, Mode::Write).unwrap();
        assert!(!recovery.rebuilt.is_empty());
        for blocks in [reader, writer, open(&disk.crash(1), Mode::Write).unwrap().0] {
            assert_eq!(blocks.payloads().len(), 600);
            assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);
        }
        assert_eq!(open(&disk, Mode::Write).unwrap().1.rebuilt, [""; 0]);
    }
}

/// What can happen to a file as a whole.
const WRECKS: [&str; 9] = [
    "head",
    "body",
    "tail",
    "missing",
    "swapped",
    "truncated",
    "empty",
    "extended",
    "stale",
];

fn wreck(disk: &MemoryDisk, how: &str, path: &str, stale: &[u8], other: &str) {
    let bytes = disk.contents(path).unwrap();
    let bits = bytes.len() as u64 * 8;
    let replace = |bytes: &[u8]| {
        let file = disk.open(path, Mode::Write).unwrap();
        file.set_len(0).unwrap();
        file.write_at(0, bytes).unwrap();
    };
    match how {
        "head" => assert!(disk.flip_bit(path, 5)),
        "body" => assert!(disk.flip_bit(path, bits / 2)),
        "tail" => assert!(disk.flip_bit(path, bits - 5)),
        "missing" => disk.remove(path).unwrap(),
        "swapped" => replace(&disk.contents(other).unwrap()),
        "truncated" => replace(&bytes[..bytes.len() / 2]),
        "empty" => replace(b""),
        "extended" => replace(&[&bytes[..], &[0; 64]].concat()),
        _ => replace(stale),
    }
}

/// Each kind of file, each way to damage it: opened, read and verified, the answer is right or an
/// error by name.
#[test]
fn every_damage_to_a_file_is_named_or_made_good() {
    let (disk, all) = sample();
    let early = MemoryDisk::new();
    let (blocks, _) = open(&early, Mode::Write).unwrap();
    all[..70]
        .iter()
        .for_each(|bytes| assert!(blocks.put_bytes(bytes).unwrap().new_bytes > 0));
    blocks.sync().unwrap();
    let (packs, runs) = (packs(&disk), runs(&disk));
    let files = [
        &packs[0],
        &packs[1],
        packs.last().unwrap(),
        &runs[0],
        runs.last().unwrap(),
        &"blocks/packs.list".to_owned(),
    ];
    for path in files {
        for how in WRECKS {
            let stale = early
                .contents(path)
                .unwrap_or_else(|| disk.contents(path).unwrap());
            let same_as_before = how == "stale" && disk.contents(path).unwrap() == stale;
            let disk = disk.crash(0);
            let other = if path.ends_with(".pack") {
                &packs[3]
            } else {
                &packs[0]
            };
            wreck(&disk, how, path, &stale, other);
            for mode in [Mode::ReadOnly, Mode::Write] {
                let context = format!("{path} {how} {mode:?}");
                let (blocks, recovery) =
                    open(&disk, mode).unwrap_or_else(|error| panic!("{context}: {error}"));
                let lost = all
                    .iter()
                    .filter(
                        |bytes| match blocks.read_all(Checksum::of(bytes), u64::MAX) {
                            Ok(found) => {
                                assert!(&found == *bytes, "{context}: wrong bytes");
                                false
                            }
                            Err(BlocksError::Damaged(_) | BlocksError::Unknown { .. }) => true,
                            Err(error) => panic!("{context}: {error}"),
                        },
                    )
                    .count();
                let damages = blocks.verify(&mut |_, _| {}).unwrap().damages;
                let is_mended = !recovery.rebuilt.is_empty() || !recovery.mended.is_empty();
                let named = !damages.is_empty() || recovery.cut.is_some() || is_mended;
                // An older copy of the last pack is a pack that ends earlier: only what
                // names its payloads can tell.
                let is_last = Some(path) == packs.last();
                assert!(
                    named || same_as_before || (is_last && lost > 0 && how == "truncated"),
                    "{context} unnoticed"
                );
                assert!(
                    lost == 0 || path.ends_with(".pack"),
                    "{context}: {lost} lost"
                );
            }
        }
    }
}
