//! Erasing payloads and collecting garbage, with a crash at every operation.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod soak;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::Arc;

use proptest::prelude::*;
use uor_asl::blocks::{Blocks, BlocksError, Collected, Erased, Options};
use uor_asl::disk::memory::{Fault, MemoryDisk};
use uor_asl::disk::{Disk, Mode};
use uor_index_format::id::Checksum;

const OPTIONS: Options = Options { pack_bytes: 4096, threads: 1 };

fn open(disk: &MemoryDisk) -> Blocks {
    let (blocks, recovery) = Blocks::open_with(Arc::new(disk.clone()), Mode::Write, OPTIONS).unwrap();
    assert_eq!(recovery.damages, []);
    blocks
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn has_bytes(blocks: &Blocks, bytes: &[u8]) -> bool {
    blocks.has(Checksum::of(bytes)) && blocks.read_all(Checksum::of(bytes), u64::MAX).unwrap() == bytes
}

/// Whether 32 bytes from anywhere in `bytes` lie anywhere on the disk.
fn leaves_traces(disk: &MemoryDisk, bytes: &[u8]) -> bool {
    let files: Vec<Vec<u8>> = disk.paths().iter().map(|path| disk.contents(path).unwrap()).collect();
    let needles: BTreeSet<&[u8]> = bytes.chunks_exact(32).step_by(1 + bytes.len() / 3200).collect();
    files.iter().any(|file| file.windows(32).any(|window| needles.contains(window)))
}

fn packs(disk: &MemoryDisk) -> Vec<String> {
    disk.paths().into_iter().filter(|path| path.ends_with(".pack")).collect()
}

fn disk_bytes(disk: &MemoryDisk) -> usize {
    packs(disk).iter().map(|path| disk.contents(path).unwrap().len()).sum()
}

#[test]
fn what_is_erased_is_gone_and_what_others_need_is_not() {
    let disk = MemoryDisk::new();
    let blocks = open(&disk);
    let long = noise(1, 9 << 20);
    let cousin = [&long[..], b"with another end"].concat();
    let (secret, other) = (noise(2, 900), noise(3, 900));
    for bytes in [&long, &cousin, &secret, &other] {
        blocks.put_bytes(bytes).unwrap();
    }
    blocks.sync().unwrap();
    let chunk = blocks.chunks(Checksum::of(&long)).unwrap()[0];
    let part = long[..chunk.len as usize].to_vec();
    blocks.put_bytes(&part).unwrap();

    assert_eq!(blocks.erase(Checksum::of(&secret)).unwrap(), Erased { blocks: 1, bytes: 900 });
    assert!(!leaves_traces(&disk, &secret) && leaves_traces(&disk, &other));
    let erased = blocks.erase(Checksum::of(&cousin)).unwrap();
    assert!(erased.bytes < 5 << 20, "its last chunk and its manifest: {erased:?}");
    blocks.erase(Checksum::of(b"never seen")).unwrap();
    for blocks in [blocks, open(&disk.crash(1)), open(&disk)] {
        for bytes in [&secret, &cousin, &b"never seen".to_vec()] {
            assert!(blocks.erased(Checksum::of(bytes)) && !blocks.has(Checksum::of(bytes)));
            assert!(!blocks.payloads().contains(&Checksum::of(bytes)));
        }
        for bytes in [&long, &other, &part] {
            assert!(has_bytes(&blocks, bytes) && !blocks.erased(Checksum::of(bytes)));
        }
        assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);
    }
    let blocks = open(&disk);
    blocks.erase(Checksum::of(&long)).unwrap();
    assert!(has_bytes(&blocks, &part), "which was a part of it, and of its own");
    assert!(!leaves_traces(&disk, &long[part.len()..]));
    for bytes in [&secret, &cousin, &long] {
        assert!(blocks.put_bytes(bytes).unwrap().new_bytes > 0);
        assert!(!blocks.erased(Checksum::of(bytes)) && has_bytes(&blocks, bytes));
    }
    blocks.sync().unwrap();
    let blocks = open(&disk);
    assert!([&secret, &cousin, &long, &part].iter().all(|bytes| has_bytes(&blocks, bytes)));
    assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);
}

#[test]
fn every_copy_is_erased() {
    let disk = MemoryDisk::new();
    let blocks = open(&disk);
    let bytes = noise(1, 900);
    let checksum = blocks.put_bytes(&bytes).unwrap().checksum;
    blocks.sync().unwrap();
    // The first copy has one wrong bit; the second is dropped as garbage, in a pack that stays.
    assert!(disk.flip_bit("blocks/00000001.pack", 8 * 200));
    assert!(blocks.read_all(checksum, u64::MAX).is_err());
    assert!(blocks.put_bytes(&bytes).unwrap().new_bytes > 0);
    blocks.collect(&mut |_| false, false).unwrap();
    assert!(!blocks.has(checksum) && leaves_traces(&disk, &bytes));
    assert_eq!(blocks.erase(checksum).unwrap().blocks, 2);
    assert!(!leaves_traces(&disk, &bytes));
}

#[test]
fn garbage_goes_and_missing_packs_are_still_missed() {
    let disk = MemoryDisk::new();
    let blocks = open(&disk);
    let all: Vec<Vec<u8>> = (0..40).map(|seed| noise(seed, 1000)).collect();
    all.iter().for_each(|bytes| assert!(blocks.put_bytes(bytes).unwrap().new_bytes > 0));
    blocks.sync().unwrap();
    let live: BTreeSet<Checksum> = all.iter().step_by(7).map(|bytes| Checksum::of(bytes)).collect();
    let before = disk_bytes(&disk);
    let mut is_live = |checksum| live.contains(&checksum);
    let planned = blocks.collect(&mut is_live, true).unwrap();
    assert_eq!(disk_bytes(&disk), before, "a dry run");
    assert_eq!(blocks.payloads().len(), 40);
    let collected = blocks.collect(&mut is_live, false).unwrap();
    assert_eq!(collected, planned);
    assert_eq!((collected.payloads, collected.blocks), (40 - 6, 40 - 6));
    assert!(disk_bytes(&disk) < before / 2, "{} of {before}", disk_bytes(&disk));
    assert_eq!(blocks.collect(&mut is_live, false).unwrap().payloads, 0);
    for blocks in [blocks, open(&disk.crash(1))] {
        assert_eq!(blocks.payloads(), live.iter().copied().collect::<Vec<_>>());
        assert!(all.iter().step_by(7).all(|bytes| has_bytes(&blocks, bytes)));
        assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);
    }
    disk.settle();
    for path in packs(&disk) {
        let disk = disk.crash(1);
        disk.remove(&path).unwrap();
        let missing = Blocks::open_with(Arc::new(disk), Mode::ReadOnly, OPTIONS).err().unwrap();
        assert!(matches!(missing, BlocksError::MissingPack { file } if file == path));
    }
}

#[test]
fn parts_of_no_payload_are_garbage() {
    let disk = MemoryDisk::new();
    let blocks = open(&disk);
    let kept = noise(1, 6 << 20);
    blocks.put_bytes(&kept).unwrap();
    let wrong = blocks.put_verified(Checksum::of(b"x"), &mut &*noise(2, 9 << 20)).unwrap_err();
    assert!(matches!(wrong, BlocksError::WrongChecksum { .. }));
    let Collected { payloads, bytes_freed, .. } = blocks.collect(&mut |_| true, false).unwrap();
    assert!(payloads == 0 && bytes_freed > 8 << 20, "{bytes_freed}");
    assert!(has_bytes(&blocks, &kept) && has_bytes(&open(&disk), &kept));
}

/// Runs what it is given in the middle of a payload.
struct Interrupted<'a>(&'a [u8], Option<Box<dyn FnOnce() + 'a>>);

impl Read for Interrupted<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.0.len() < 2 << 20
            && let Some(action) = self.1.take()
        {
            action();
        }
        self.0.read(out)
    }
}

#[test]
fn what_a_put_under_way_rests_on_stays() {
    for (erasing, known) in [(false, false), (false, true), (true, true)] {
        let disk = MemoryDisk::new();
        let blocks = open(&disk);
        let bytes = noise(1, 40 << 20);
        if known {
            blocks.put_bytes(&[&bytes[..], b"another end"].concat()).unwrap();
            blocks.put_bytes(b"something").unwrap();
        }
        let action = || match erasing {
            true => drop(blocks.erase(Checksum::of(&[&bytes[..], b"another end"].concat())).unwrap()),
            false => drop(blocks.collect(&mut |_| false, false).unwrap()),
        };
        let stats = blocks.put(&mut Interrupted(&bytes, Some(Box::new(action))), &mut |_| {}).unwrap();
        assert_eq!(blocks.has(Checksum::of(b"something")), erasing);
        blocks.sync().unwrap();
        for blocks in [&blocks, &open(&disk)] {
            assert!(blocks.read_all(stats.checksum, u64::MAX).unwrap() == bytes, "{erasing} {known}");
            assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);
        }
    }
}

/// What is known of each payload: put and synced, erased, or either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Here,
    Erased,
    Absent,
    Unsure,
}

/// Puts, erases and collects; `fates` says what was acknowledged when it stopped.
fn workload(disk: &MemoryDisk, payloads: &[Vec<u8>], fates: &mut BTreeMap<usize, Fate>) -> Result<(), BlocksError> {
    let (blocks, _) = Blocks::open_with(Arc::new(disk.clone()), Mode::Write, OPTIONS)?;
    for (number, bytes) in payloads.iter().enumerate() {
        fates.insert(number, Fate::Unsure);
        blocks.put_bytes(bytes)?;
        blocks.sync()?;
        fates.insert(number, Fate::Here);
    }
    for number in [1, 6] {
        fates.insert(number, Fate::Unsure);
        blocks.erase(Checksum::of(&payloads[number]))?;
        fates.insert(number, Fate::Erased);
    }
    let dropped = [0, 2, 3, 5];
    fates.extend(dropped.map(|number| (number, Fate::Unsure)));
    let gone: BTreeSet<Checksum> = dropped.iter().map(|number| Checksum::of(&payloads[*number])).collect();
    blocks.collect(&mut |checksum| !gone.contains(&checksum), false)?;
    fates.extend(dropped.map(|number| (number, Fate::Absent)));
    for number in [1, 2] {
        fates.insert(number, Fate::Unsure);
        blocks.put_bytes(&payloads[number])?;
        blocks.sync()?;
        fates.insert(number, Fate::Here);
    }
    fates.insert(2, Fate::Unsure);
    blocks.erase(Checksum::of(&payloads[2]))?;
    fates.insert(2, Fate::Erased);
    blocks.collect(&mut |checksum| !gone.contains(&checksum), false)?;
    Ok(())
}

fn check(disk: &MemoryDisk, payloads: &[Vec<u8>], fates: &BTreeMap<usize, Fate>, context: &str) {
    let blocks = open(disk);
    assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, [], "{context}");
    for (number, fate) in fates {
        let bytes = &payloads[*number];
        let checksum = Checksum::of(bytes);
        let here = blocks.has(checksum) && has_bytes(&blocks, bytes);
        match fate {
            Fate::Here => assert!(here && !blocks.erased(checksum), "{number} is lost: {context}"),
            Fate::Erased => assert!(!here && blocks.erased(checksum), "{number} is not erased: {context}"),
            Fate::Absent => assert!(!here && !blocks.erased(checksum), "{number} is back: {context}"),
            Fate::Unsure => assert!(here == blocks.has(checksum), "{number} is half there: {context}"),
        }
        if blocks.erased(checksum) {
            assert!(!leaves_traces(disk, bytes), "{number} left traces: {context}");
        }
    }
}

#[test]
fn a_crash_at_any_operation_loses_nothing_and_brings_nothing_back() {
    let payloads: Vec<Vec<u8>> =
        (0..12).zip([700, 850, 1000, 1150].into_iter().cycle()).map(|(seed, len)| noise(seed, len)).collect();
    let untroubled = MemoryDisk::new();
    let mut fates = BTreeMap::new();
    workload(&untroubled, &payloads, &mut fates).unwrap();
    let operations = untroubled.operations();
    check(&untroubled, &payloads, &fates, "untroubled");
    assert!(packs(&untroubled).len() < 6, "packs were given up");
    for operation in 0..operations {
        let fault = if operation % 2 == 0 { Fault::Io } else { Fault::NoSpace };
        let disk = MemoryDisk::new();
        disk.fail_at(operation, fault);
        let mut fates = BTreeMap::new();
        let failed = workload(&disk, &payloads, &mut fates);
        assert!(matches!(failed, Err(BlocksError::Disk(_) | BlocksError::Poisoned) | Ok(())), "{failed:?}");
        // Seed 0: the process dies, the machine does not.
        for seed in 0..6 {
            let disk = if seed == 0 { disk.clone() } else { disk.crash(seed * 1000 + operation) };
            check(&disk, &payloads, &fates, &format!("operation {operation}, seed {seed}"));
            // And again, from where that left it.
            check(&disk.crash(seed), &payloads, &fates, &format!("operation {operation}, seed {seed}, again"));
            open(&disk).collect(&mut |_| true, false).unwrap();
            check(&disk, &payloads, &fates, &format!("operation {operation}, seed {seed}, collected"));
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Put(u64),
    Sync,
    Erase(u64),
    Collect(u64),
    Reopen,
    /// The index loses a file, or has a wrong bit, before the packs are opened again.
    Spoil(prop::sample::Index, Option<prop::sample::Index>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..24_u64).prop_map(Step::Put),
        2 => Just(Step::Sync),
        2 => (0..24_u64).prop_map(Step::Erase),
        2 => (2..5_u64).prop_map(Step::Collect),
        1 => Just(Step::Reopen),
        1 => (any::<prop::sample::Index>(), any::<Option<prop::sample::Index>>())
            .prop_map(|(file, bit)| Step::Spoil(file, bit)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: soak::cases(150), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everything_is_as_a_map_says(steps in prop::collection::vec(step(), 1..60)) {
        let disk = MemoryDisk::new();
        let mut blocks = open(&disk);
        let mut model: BTreeMap<u64, Fate> = BTreeMap::new();
        let mut spoiled = false;
        let bytes = |seed: u64| noise(seed, (300..).step_by(97).nth(usize::from(seed.to_le_bytes()[0]) % 10).unwrap());
        for step in steps {
            match step {
                Step::Put(seed) => {
                    let stats = blocks.put_bytes(&bytes(seed)).unwrap();
                    prop_assert_eq!(stats.new_bytes == 0, model.get(&seed) == Some(&Fate::Here));
                    model.insert(seed, Fate::Here);
                }
                Step::Sync => blocks.sync().unwrap(),
                Step::Erase(seed) => {
                    blocks.erase(Checksum::of(&bytes(seed))).unwrap();
                    model.insert(seed, Fate::Erased);
                    prop_assert!(!leaves_traces(&disk, &bytes(seed)));
                }
                Step::Collect(every) => {
                    let gone: BTreeSet<Checksum> =
                        model.keys().filter(|seed| **seed % every == 0).map(|seed| Checksum::of(&bytes(*seed))).collect();
                    let dead = model.iter().filter(|(seed, fate)| **seed % every == 0 && **fate == Fate::Here).count();
                    let collected = blocks.collect(&mut |checksum| !gone.contains(&checksum), false).unwrap();
                    prop_assert_eq!(collected.payloads, dead as u64);
                    model.retain(|seed, fate| *seed % every != 0 || *fate == Fate::Erased);
                }
                Step::Reopen => {
                    blocks.sync().unwrap();
                    drop(blocks);
                    blocks = open(&disk);
                }
                Step::Spoil(file, bit) => {
                    blocks.sync().unwrap();
                    drop(blocks);
                    let runs: Vec<String> = disk.paths().into_iter().filter(|path| path.ends_with(".run")).collect();
                    if let Some(path) = (!runs.is_empty()).then(|| file.get(&runs)) {
                        let bits = disk.contents(path).unwrap().len() as u64 * 8;
                        match bit {
                            Some(bit) => assert!(disk.flip_bit(path, bit.index(usize::try_from(bits).unwrap()) as u64)),
                            None => disk.remove(path).unwrap(),
                        }
                    }
                    blocks = open(&disk);
                    spoiled = true;
                }
            }
            for (seed, fate) in &model {
                prop_assert_eq!(blocks.erased(Checksum::of(&bytes(*seed))), *fate == Fate::Erased);
                prop_assert_eq!(blocks.has(Checksum::of(&bytes(*seed))), *fate == Fate::Here);
            }
            prop_assert_eq!(blocks.payloads().len(), model.values().filter(|fate| **fate == Fate::Here).count());
            let damages = blocks.verify(&mut |_, _| {}).unwrap().damages;
            prop_assert!(damages.iter().all(|damage| spoiled && damage.file.ends_with(".run")), "{:?}", damages);
        }
    }
}
