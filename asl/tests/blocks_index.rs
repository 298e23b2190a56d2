//! The sealed index of blocks: opened without reading the packs, made anew where it is damaged, and what reading touches.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex};

use uor_asl::blocks::{Blocks, BlocksError, Options, Recovery};
use uor_asl::disk::memory::MemoryDisk;
use uor_asl::disk::{Disk, DiskFile, LockGuard, Mode, Sealed};
use uor_index_format::id::Checksum;

const OPTIONS: Options = Options { pack_bytes: 64 << 10, threads: 2 };

fn open(disk: &MemoryDisk, mode: Mode) -> Result<(Blocks, Recovery), BlocksError> {
    Blocks::open_with(Arc::new(disk.clone()), mode, OPTIONS)
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn all() -> Vec<Vec<u8>> {
    (0..600).map(|seed| noise(seed, 1000)).collect()
}

/// Some ten packs, all but the last of them in runs.
fn sample() -> (MemoryDisk, Vec<Vec<u8>>) {
    let disk = MemoryDisk::new();
    let (blocks, _) = open(&disk, Mode::Write).unwrap();
    let all = all();
    all.iter().for_each(|bytes| assert!(blocks.put_bytes(bytes).unwrap().new_bytes > 0));
    blocks.sync().unwrap();
    drop(blocks);
    disk.settle();
    (disk, all)
}

fn runs(disk: &MemoryDisk) -> Vec<String> {
    disk.paths().into_iter().filter(|path| path.starts_with("index/")).collect()
}

fn packs(disk: &MemoryDisk) -> Vec<String> {
    disk.paths().into_iter().filter(|path| path.ends_with(".pack")).collect()
}

/// Counts the bytes that are read of every file.
#[derive(Clone)]
struct Counting {
    disk: MemoryDisk,
    read: Arc<Mutex<BTreeMap<String, u64>>>,
}

struct CountingFile {
    file: Arc<dyn DiskFile>,
    path: String,
    read: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl Counting {
    fn new(disk: &MemoryDisk) -> Self {
        Self { disk: disk.clone(), read: Arc::default() }
    }

    fn of(&self, suffix: &str) -> u64 {
        let read = self.read.lock().unwrap();
        read.iter().filter(|(path, _)| path.ends_with(suffix)).map(|(_, bytes)| bytes).sum()
    }
}

impl Disk for Counting {
    fn open(&self, path: &str, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, mode)?;
        Ok(Arc::new(CountingFile { file, path: path.to_owned(), read: Arc::clone(&self.read) }))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }
    fn exists(&self, path: &str) -> io::Result<bool> {
        self.disk.exists(path)
    }
    fn create_dir_all(&self, dir: &str) -> io::Result<()> {
        self.disk.create_dir_all(dir)
    }
    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
    fn try_lock(&self, path: &str) -> io::Result<Option<LockGuard>> {
        self.disk.try_lock(path)
    }
}

impl DiskFile for CountingFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        *self.read.lock().unwrap().entry(self.path.clone()).or_default() += bytes.len() as u64;
        self.file.read_at(offset, bytes)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, bytes)
    }
    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn map_sealed(&self) -> io::Result<Sealed> {
        self.file.map_sealed()
    }
}

#[test]
fn opening_reads_the_last_pack_and_no_other() {
    let (disk, all) = sample();
    let packs = packs(&disk);
    assert!(packs.len() >= 10, "{} packs", packs.len());
    assert!(runs(&disk).len() <= 4, "{:?}", runs(&disk));
    for mode in [Mode::ReadOnly, Mode::Write] {
        let counting = Counting::new(&disk);
        let (blocks, recovery) = Blocks::open_with(Arc::new(counting.clone()), mode, OPTIONS).unwrap();
        assert_eq!((recovery.payloads, recovery.rebuilt), (600, vec![]));
        let (last, closed) = packs.split_last().unwrap();
        assert!(closed.iter().all(|path| counting.of(path) == 32), "the file header");
        assert!(counting.of(last) > 32);
        let before = counting.of(".pack");
        assert!(all.iter().all(|bytes| blocks.has(Checksum::of(bytes))));
        assert!(!blocks.has(Checksum::of(b"absent")));
        assert_eq!(counting.of(".pack"), before, "nothing but the index is asked");
        assert_eq!(blocks.read_all(Checksum::of(&all[0]), u64::MAX).unwrap(), all[0]);
        assert_eq!(counting.of(".pack"), before + 1000, "and a payload is its bytes");
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
    let counting = Counting::new(&disk);
    let (blocks, _) = Blocks::open(Arc::new(counting.clone()), Mode::ReadOnly).unwrap();
    let mut start = 0;
    for chunk in &chunks {
        let end = start + u64::from(chunk.len);
        let before = counting.of(".pack");
        let mut found = Vec::new();
        blocks.read_part(checksum, end - 1..end).unwrap().read_to_end(&mut found).unwrap();
        assert_eq!(found, [bytes[usize::try_from(end).unwrap() - 1]]);
        let read = counting.of(".pack") - before;
        assert!(read <= u64::from(chunk.len) + 8192, "{read} bytes for one of a chunk of {}", chunk.len);
        start = end;
    }
    // Once for each process, all of it: only that proves that these are the payload's chunks.
    for expected in [(40 << 20)..(44 << 20), 0..1] {
        let before = counting.of(".pack");
        blocks.read_range(checksum, 7..7).unwrap();
        let read = counting.of(".pack") - before;
        assert!(expected.contains(&read.saturating_sub(8192)) || expected.contains(&read), "{read} bytes");
    }
}

#[test]
fn without_its_index_a_store_is_the_same() {
    let (disk, all) = sample();
    for lost in 1..1 << runs(&disk).len() {
        let disk = disk.crash(0);
        let paths = runs(&disk);
        let lost: Vec<&String> =
            paths.iter().enumerate().filter(|(at, _)| lost >> at & 1 == 1).map(|(_, path)| path).collect();
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
const WRECKS: [&str; 9] = ["head", "body", "tail", "missing", "swapped", "truncated", "empty", "extended", "stale"];

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

/// Each kind of file, each way to damage it: opened, read and verified, the answer is right or an error by name.
#[test]
fn every_damage_to_a_file_is_named_or_made_good() {
    let (disk, all) = sample();
    let early = MemoryDisk::new();
    let (blocks, _) = open(&early, Mode::Write).unwrap();
    all[..70].iter().for_each(|bytes| assert!(blocks.put_bytes(bytes).unwrap().new_bytes > 0));
    blocks.sync().unwrap();
    let (packs, runs) = (packs(&disk), runs(&disk));
    let files =
        [&packs[0], &packs[1], packs.last().unwrap(), &runs[0], runs.last().unwrap(), &"blocks/packs.list".to_owned()];
    for path in files {
        for how in WRECKS {
            let stale = early.contents(path).unwrap_or_else(|| disk.contents(path).unwrap());
            let same_as_before = how == "stale" && disk.contents(path).unwrap() == stale;
            let disk = disk.crash(0);
            let other = if path.ends_with(".pack") { &packs[3] } else { &packs[0] };
            wreck(&disk, how, path, &stale, other);
            for mode in [Mode::ReadOnly, Mode::Write] {
                let context = format!("{path} {how} {mode:?}");
                let (blocks, recovery) = open(&disk, mode).unwrap_or_else(|error| panic!("{context}: {error}"));
                let lost = all
                    .iter()
                    .filter(|bytes| match blocks.read_all(Checksum::of(bytes), u64::MAX) {
                        Ok(found) => {
                            assert!(&found == *bytes, "{context}: wrong bytes");
                            false
                        }
                        Err(BlocksError::Damaged(_) | BlocksError::Unknown { .. }) => true,
                        Err(error) => panic!("{context}: {error}"),
                    })
                    .count();
                let damages = blocks.verify(&mut |_, _| {}).unwrap().damages;
                let is_mended = !recovery.rebuilt.is_empty() || !recovery.mended.is_empty();
                let named = !damages.is_empty() || recovery.cut.is_some() || is_mended;
                // An older copy of the last pack is a pack that ends earlier: only what
                // names its payloads can tell.
                let is_last = Some(path) == packs.last();
                assert!(named || same_as_before || (is_last && lost > 0 && how == "truncated"), "{context} unnoticed");
                assert!(lost == 0 || path.ends_with(".pack"), "{context}: {lost} lost");
            }
        }
    }
}
