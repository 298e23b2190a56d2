//! Payload blocks against a model, on a disk that tears, fails and flips.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod packs;
mod soak;

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, Barrier};

use packs::{OPTIONS, everything, noise, open, open_large, payload, same};
use proptest::prelude::*;
use uor_asl::blocks::{Blocks, BlocksError, CHUNK_LEN_MAX, PutStats, Recovery};
use uor_asl::disk::memory::{Fault, MemoryDisk};
use uor_asl::disk::real::RealDisk;
use uor_asl::disk::{Disk, Mode};
use uor_index_format::id::Checksum;

#[derive(Debug, Clone)]
enum Step {
    Put(u64, usize),
    Sync,
    Reopen,
    Crash(u64),
    Fail(u64, Fault),
}

fn step() -> impl Strategy<Value = Step> {
    let fault = prop_oneof![Just(Fault::Io), Just(Fault::NoSpace)];
    let len = prop_oneof![1 => 0..80_usize, 4 => 80..1500_usize, 1 => Just(6000_usize)];
    prop_oneof![
        10 => (0..30_u64, len).prop_map(|(seed, len)| Step::Put(seed, len)),
        4 => Just(Step::Sync),
        1 => Just(Step::Reopen),
        2 => any::<u64>().prop_map(Step::Crash),
        1 => (0..8_u64, fault).prop_map(|(after, fault)| Step::Fail(after, fault)),
    ]
}

#[derive(Default)]
struct Model {
    synced: BTreeMap<Checksum, Vec<u8>>,
    /// Put or attempted, and not synced.
    unsynced: BTreeMap<Checksum, Vec<u8>>,
}

impl Model {
    fn check(&self, blocks: &Blocks) {
        for (checksum, bytes) in &self.synced {
            assert_eq!(
                &blocks.read_all(*checksum, u64::MAX).unwrap(),
                bytes,
                "a synced payload"
            );
        }
        for checksum in blocks.payloads() {
            let bytes = self
                .synced
                .get(&checksum)
                .or_else(|| self.unsynced.get(&checksum));
            assert_eq!(
                Some(&blocks.read_all(checksum, u64::MAX).unwrap()),
                bytes,
                "a visible payload"
            );
            assert!(blocks.has(checksum));
        }
        assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);
    }

    /// Opens the packs to write, more than once where a fault is still pending. It makes durable
    /// whatever it finds.
    fn open(&mut self, disk: &MemoryDisk) -> Blocks {
        loop {
            match open(disk, Mode::Write) {
                Ok((blocks, recovery)) => {
                    assert_eq!(recovery.damages, []);
                    self.check(&blocks);
                    self.unsynced.retain(|checksum, _| blocks.has(*checksum));
                    self.synced.append(&mut self.unsynced);
                    return blocks;
                }
                Err(BlocksError::Disk(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: soak::cases(250), failure_persistence: None, max_shrink_iters: 4000, ..ProptestConfig::default()
    })]

    #[test]
    fn synced_payloads_survive_everything(steps in prop::collection::vec(step(), 1..40)) {
        survive(steps);
    }
}

fn survive(steps: Vec<Step>) {
    let mut disk = MemoryDisk::new();
    let mut model = Model::default();
    let mut blocks = model.open(&disk);
    for step in steps {
        match step {
            Step::Put(seed, len) => {
                let bytes = payload(seed, len);
                let checksum = Checksum::of(&bytes);
                match blocks.put_bytes(&bytes) {
                    Ok(stats) => assert_eq!((stats.checksum, stats.len), (checksum, len as u64)),
                    Err(BlocksError::Disk(_)) => {
                        assert!(matches!(blocks.sync(), Err(BlocksError::Poisoned)))
                    }
                    Err(BlocksError::Poisoned) => {}
                    Err(error) => panic!("{error}"),
                }
                if !model.synced.contains_key(&checksum) {
                    model.unsynced.insert(checksum, bytes);
                }
            }
            Step::Sync => {
                if blocks.sync().is_ok() {
                    model.unsynced.retain(|checksum, _| blocks.has(*checksum));
                    model.synced.append(&mut model.unsynced);
                }
            }
            Step::Reopen => blocks = model.open(&disk),
            Step::Crash(seed) => {
                disk = disk.crash(seed);
                model.check(&open(&disk, Mode::ReadOnly).unwrap().0);
                blocks = model.open(&disk);
            }
            Step::Fail(after, fault) => disk.fail_at(disk.operations() + after, fault),
        }
        model.check(&open(&disk, Mode::ReadOnly).unwrap().0);
    }
}

#[test]
fn a_pack_whose_header_was_torn_twice_is_begun_again() {
    // The header fails while the pack is begun, and once more while it is begun again.
    let steps = [Fault::Io, Fault::NoSpace].map(|fault| {
        [
            Step::Put(0, 0),
            Step::Fail(7, fault),
            Step::Sync,
            Step::Put(7, 6000),
            Step::Fail(7, fault),
            Step::Reopen,
            Step::Put(8, 100),
            Step::Sync,
            Step::Reopen,
        ]
    });
    steps.into_iter().for_each(|steps| survive(steps.to_vec()));
}

#[test]
fn a_pack_is_begun_again_however_often_that_fails() {
    for (first, second) in (0..14).flat_map(|first| (0..20).map(move |second| (first, second))) {
        let disk = MemoryDisk::new();
        let mut model = Model::default();
        let blocks = model.open(&disk);
        let synced = payload(1, 3000);
        blocks.put_bytes(&synced).unwrap();
        blocks.sync().unwrap();
        model.synced.insert(Checksum::of(&synced), synced);
        disk.fail_at(disk.operations() + first, Fault::Io);
        let long = payload(7, 6000);
        let _ = blocks.put_bytes(&long).and_then(|_| blocks.sync());
        model.unsynced.insert(Checksum::of(&long), long);
        disk.fail_at(disk.operations() + second, Fault::NoSpace);
        model.open(&disk);
        model.check(&open(&disk, Mode::ReadOnly).unwrap().0);
        model.open(&disk.crash(first * 100 + second));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ranges_equal_slices(bounds in prop::collection::vec((0..=9_000_000_usize, 0..=9_000_000_usize), 12)) {
        let (blocks, bytes) = LARGE.with(Clone::clone);
        let checksum = Checksum::of(&bytes);
        for (a, b) in bounds {
            let (start, end) = (a.min(b), a.max(b));
            let found = everything(blocks.read_range(checksum, start as u64..end as u64).unwrap());
            prop_assert!(found == bytes[start..end], "{}..{}", start, end);
        }
    }
}

thread_local! {
    static LARGE: (Arc<Blocks>, Arc<Vec<u8>>) = {
        let (blocks, _) = open_large(&MemoryDisk::new(), Mode::Write);
        let bytes = noise(1, 9_000_000);
        blocks.put_bytes(&bytes).unwrap();
        (Arc::new(blocks), Arc::new(bytes))
    };
}

#[test]
fn payloads_of_all_sizes_come_back() {
    let disk = MemoryDisk::new();
    let (blocks, _) = open_large(&disk, Mode::Write);
    let max = CHUNK_LEN_MAX;
    let mut all = Vec::new();
    for (seed, len) in [
        0,
        1,
        63,
        64,
        65,
        max / 16,
        max - 1,
        max,
        max + 1,
        2 * max,
        9_000_000,
    ]
    .into_iter()
    .enumerate()
    {
        for bytes in [noise(seed as u64, len), vec![7; len]] {
            let mut told = Vec::new();
            let stats = blocks
                .put(&mut bytes.as_slice(), &mut |read| told.push(read))
                .unwrap();
            assert_eq!(
                (stats.checksum, stats.len),
                (Checksum::of(&bytes), len as u64)
            );
            assert!(
                told.is_sorted() && told.last() == Some(&(len as u64)),
                "{told:?}"
            );
            all.push(bytes);
        }
    }
    blocks.sync().unwrap();
    for (blocks, _) in [
        (blocks, Recovery::default()),
        open_large(&disk, Mode::ReadOnly),
    ] {
        for bytes in &all {
            let checksum = Checksum::of(bytes);
            assert_eq!(blocks.payload_len(checksum).unwrap(), bytes.len() as u64);
            assert!(&everything(blocks.read(checksum).unwrap()) == bytes);
            assert!(&blocks.read_all(checksum, bytes.len() as u64).unwrap() == bytes);
            let chunks = blocks.chunks(checksum).unwrap();
            assert_eq!(chunks.len() == 1, bytes.len() <= max);
            assert!(chunks.iter().all(|chunk| chunk.len as usize <= max));
        }
        assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);
    }
}

#[test]
fn repetition_costs_little_and_noise_no_more_than_itself() {
    let (blocks, _) = open_large(&MemoryDisk::new(), Mode::Write);
    assert!(blocks.put_bytes(&vec![1; 1 << 20]).unwrap().new_bytes < 1000);
    assert_eq!(
        blocks.put_bytes(&noise(1, 1 << 20)).unwrap().new_bytes,
        (1 << 20) + 64
    );
    assert_eq!(blocks.put_bytes(&noise(1, 1 << 20)).unwrap().new_bytes, 0);
}

#[test]
fn an_edit_costs_its_chunks() {
    let (blocks, _) = open_large(&MemoryDisk::new(), Mode::Write);
    let mut bytes = noise(1, 20 << 20);
    let first = blocks.put_bytes(&bytes).unwrap();
    bytes.splice(7_000_000..7_000_003, *b"a few more bytes");
    let second = blocks.put_bytes(&bytes).unwrap();
    assert!(first.new_bytes > 20 << 20);
    assert!(
        second.new_bytes < 3 * CHUNK_LEN_MAX as u64,
        "{} bytes for an edit",
        second.new_bytes
    );
    assert!(blocks.read_all(second.checksum, u64::MAX).unwrap() == bytes);
}

#[test]
fn a_chunk_is_no_payload_until_it_is_put() {
    let disk = MemoryDisk::new();
    let (blocks, _) = open_large(&disk, Mode::Write);
    let stats = blocks.put_bytes(&noise(1, 6 << 20)).unwrap();
    let chunk = blocks.chunks(stats.checksum).unwrap()[0];
    assert!(!blocks.has(chunk.digest));
    let bytes = everything(
        blocks
            .read_range(stats.checksum, 0..u64::from(chunk.len))
            .unwrap(),
    );
    let put = blocks.put_bytes(&bytes).unwrap();
    assert!(put.new_bytes < 300, "only a manifest");
    blocks.sync().unwrap();
    for (blocks, _) in [
        (blocks, Recovery::default()),
        open_large(&disk, Mode::ReadOnly),
    ] {
        assert!(blocks.read_all(chunk.digest, u64::MAX).unwrap() == bytes);
        assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().payloads, 2);
    }
}

#[test]
fn a_wrong_checksum_adds_no_payload() {
    let disk = MemoryDisk::new();
    let (blocks, _) = open_large(&disk, Mode::Write);
    for len in [1000, 6 << 20] {
        let bytes = noise(1, len);
        let promised = Checksum::of(b"something else");
        let error = blocks
            .put_verified(promised, &mut bytes.as_slice())
            .unwrap_err();
        assert!(
            matches!(error, BlocksError::WrongChecksum { expected, found } if expected == promised && found == Checksum::of(&bytes))
        );
    }
    let bytes = noise(1, 5 << 20);
    let mut failing = bytes.as_slice().chain(Failing);
    assert!(matches!(
        blocks.put(&mut failing, &mut |_| {}),
        Err(BlocksError::Source { .. })
    ));
    blocks.sync().unwrap();
    assert_eq!(blocks.payloads(), []);
    assert_eq!(open_large(&disk, Mode::Write).0.payloads(), []);

    let bytes = noise(1, 6 << 20);
    let stats = blocks
        .put_verified(Checksum::of(&bytes), &mut bytes.as_slice())
        .unwrap();
    assert!(blocks.has(stats.checksum));
}

struct Failing;

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("the cable was pulled"))
    }
}

#[test]
fn questions_that_cannot_be_answered_are_refused() {
    let (blocks, _) = open(&MemoryDisk::new(), Mode::Write).unwrap();
    let checksum = blocks.put_bytes(b"ten bytes.").unwrap().checksum;
    assert!(matches!(
        blocks.read_range(checksum, 3..11),
        Err(BlocksError::OutOfRange { len: 10, .. })
    ));
    #[expect(clippy::reversed_empty_ranges, reason = "what is refused")]
    let reversed = blocks.read_range(checksum, 4..3);
    assert!(matches!(reversed, Err(BlocksError::OutOfRange { .. })));
    assert_eq!(
        everything(blocks.read_range(checksum, 10..10).unwrap()),
        b""
    );
    assert!(matches!(
        blocks.read_all(checksum, 9),
        Err(BlocksError::TooLarge { len: 10, max: 9 })
    ));
    assert!(matches!(
        blocks.read(Checksum::of(b"")),
        Err(BlocksError::Unknown { .. })
    ));
    let (reader, recovery) = open(&MemoryDisk::new(), Mode::ReadOnly).unwrap();
    assert_eq!(recovery, Recovery::default());
    assert!(matches!(reader.put_bytes(b"x"), Err(BlocksError::ReadOnly)));
}

#[test]
fn a_reader_sees_whole_payloads_while_a_writer_writes() {
    let disk = MemoryDisk::new();
    let (writer, _) = open(&disk, Mode::Write).unwrap();
    let all: Vec<Vec<u8>> = (0..80).map(|seed| noise(seed, 300)).collect();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut seen = 0;
            while seen < all.len() {
                let (reader, recovery) = open(&disk, Mode::ReadOnly).unwrap();
                assert_eq!(recovery.damages, []);
                let found = reader.payloads().len();
                assert!(found >= seen && all[..found].iter().all(|bytes| same(&reader, bytes)));
                seen = found;
            }
        });
        for bytes in &all {
            writer.put_bytes(bytes).unwrap();
            writer.sync().unwrap();
        }
        reading.join().unwrap();
    });
}

#[test]
fn threads_that_put_the_same_store_it_once() {
    let (blocks, _) = open_large(&MemoryDisk::new(), Mode::Write);
    for seed in 0..5 {
        // Compressing these takes much longer than asking whether they are there.
        let bytes = noise(seed, 8 << 10)
            .iter()
            .flat_map(|byte| format!("{byte} {seed} ").into_bytes())
            .collect::<Vec<u8>>();
        let bytes = bytes
            .iter()
            .cycle()
            .zip(noise(seed, 4 << 20))
            .map(|(a, b)| a ^ (b & 3))
            .collect::<Vec<u8>>();
        let together = Barrier::new(4);
        let put = || {
            together.wait();
            blocks.put_bytes(&bytes).unwrap().new_bytes
        };
        let new_bytes: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(put)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert_eq!(
            new_bytes.iter().filter(|new| **new > 0).count(),
            1,
            "{new_bytes:?}"
        );
    }
}

#[test]
fn every_failing_operation_leaves_packs_that_open() {
    let payloads: Vec<Vec<u8>> = vec![
        noise(1, 5 << 20),
        noise(2, 900),
        noise(3, 2000),
        noise(4, 2000),
    ];
    let workload = |disk: &MemoryDisk| -> usize {
        let mut acknowledged = 0;
        let mut run = || -> Result<(), BlocksError> {
            let (blocks, _) = open(disk, Mode::Write)?;
            for bytes in &payloads {
                blocks.put_bytes(bytes)?;
                blocks.sync()?;
                acknowledged += 1;
            }
            Ok(())
        };
        if let Err(error) = run() {
            // Where only a mark could not be written, the next put says so.
            assert!(
                matches!(error, BlocksError::Disk(_) | BlocksError::Poisoned),
                "{error}"
            );
        }
        acknowledged
    };
    let untroubled = MemoryDisk::new();
    assert_eq!(workload(&untroubled), payloads.len());
    for operation in 0..untroubled.operations() {
        let fault = if operation % 2 == 0 {
            Fault::Io
        } else {
            Fault::NoSpace
        };
        let disk = MemoryDisk::new();
        disk.fail_at(operation, fault);
        let acknowledged = workload(&disk);
        // Seed 0: the process dies, the machine does not.
        for seed in [1, 0] {
            let disk = if seed == 0 {
                disk.clone()
            } else {
                disk.crash(seed)
            };
            let (blocks, _) = open(&disk, Mode::Write).unwrap();
            assert!(
                payloads[..acknowledged]
                    .iter()
                    .all(|bytes| same(&blocks, bytes)),
                "operation {operation}"
            );
            payloads.iter().for_each(|bytes| {
                blocks.put_bytes(bytes).unwrap();
            });
            blocks.sync().unwrap();
            let (blocks, _) = open(&disk.crash(seed), Mode::ReadOnly).unwrap();
            assert!(
                payloads.iter().all(|bytes| same(&blocks, bytes)),
                "operation {operation}"
            );
        }
    }
}

#[test]
fn threads_put_and_sync_at_once() {
    let disk = MemoryDisk::new();
    let (blocks, _) = open(&disk, Mode::Write).unwrap();
    let new_bytes: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let blocks = &blocks;
                scope.spawn(move || {
                    let mut new_bytes = 0;
                    for number in 0..40 {
                        // Half of the payloads are everyone's, half are this thread's.
                        let seed = if number % 2 == 0 {
                            number
                        } else {
                            1000 * (thread + 1) + number
                        };
                        let stats: PutStats = blocks.put_bytes(&noise(seed, 700)).unwrap();
                        blocks.sync().unwrap();
                        assert!(same(blocks, &noise(seed, 700)));
                        new_bytes += stats.new_bytes;
                    }
                    new_bytes
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(blocks.payloads().len(), 20 + 4 * 20);
    assert_eq!(new_bytes, 100 * (64 + 704), "each payload was stored once");
    let (blocks, _) = open(&disk.crash(5), Mode::Write).unwrap();
    assert_eq!(blocks.payloads().len(), 100);
    assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);
}

#[test]
fn real_files_hold_payloads() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir.path()));
    let (blocks, _) = Blocks::open_with(Arc::clone(&disk), Mode::Write, OPTIONS).unwrap();
    let all = [noise(1, 5 << 20), noise(2, 10), vec![3; 3000]];
    all.iter().for_each(|bytes| {
        assert_eq!(
            blocks.put_bytes(bytes).unwrap().checksum,
            Checksum::of(bytes)
        )
    });
    blocks.sync().unwrap();
    let (reader, recovery) = Blocks::open_with(disk, Mode::ReadOnly, OPTIONS).unwrap();
    assert!(all.iter().all(|bytes| same(&reader, bytes)));
    assert_eq!((recovery.payloads, recovery.cut), (3, None));
    assert_eq!(reader.verify(&mut |_, _| {}).unwrap().damages, []);
}

#[test]
fn the_bytes_of_a_small_pack_are_golden() {
    let disk = MemoryDisk::new();
    let (blocks, _) = open(&disk, Mode::Write).unwrap();
    blocks.put_bytes(b"uor").unwrap();
    blocks.sync().unwrap();
    let bytes = disk.contents("blocks/00000001.pack").unwrap();
    let hex = |range: std::ops::Range<usize>| {
        bytes[range]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    assert_eq!(
        hex(0..32),
        "554f525041434b000200000001000000ec71538e2140b1973d44a292bed4a9ac"
    );
    assert_eq!(hex(32..48), "03000000030000000100000000000000");
    assert_eq!(
        hex(48..80),
        "36964decb9821e9ccce2b07dfbaa3d5da2d272f53163c86c1a092a63dc4a8b4a"
    );
    assert_eq!(hex(80..96), "49432c05e4710d2a853c36cb907163a8");
    assert_eq!(hex(96..104), "756f720000000000");
    assert_eq!(
        hex(104..152),
        [
            "00000000000000000400000000000000",
            "6800000000000000",
            &"00".repeat(24)
        ]
        .concat()
    );
    assert_eq!(hex(152..168), "4193f4433170edf77dcebfd00713cfff");
    assert_eq!(bytes.len(), 168);
}

#[test]
fn packs_of_the_first_version_are_read_and_left_as_they_are() {
    let hex = concat!(
        "554f525041434b000100000001000000dffc84a2275d7e3e4606a688daccc40f03000000030000000100000000000000",
        "36964decb9821e9ccce2b07dfbaa3d5da2d272f53163c86c1a092a63dc4a8b4a49432c05e4710d2a853c36cb907163a8",
        "756f720000000000000000000000000004000000000000006800000000000000000000000000000000000000000000000000",
        "000000000000",
        "4193f4433170edf77dcebfd00713cfff",
    );
    let bytes: Vec<u8> = (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    let disk = MemoryDisk::new();
    disk.create_dir_all("blocks").unwrap();
    let path = "blocks/00000001.pack";
    disk.open(path, Mode::Write)
        .unwrap()
        .write_at(0, &bytes)
        .unwrap();
    let (reader, recovery) = open(&disk, Mode::ReadOnly).unwrap();
    assert_eq!(
        (recovery.payloads, &recovery.damages, recovery.cut),
        (1, &vec![], None)
    );
    assert_eq!(reader.read_all(Checksum::of(b"uor"), 3).unwrap(), b"uor");
    for _ in 0..2 {
        let (writer, _) = open(&disk, Mode::Write).unwrap();
        assert_eq!(writer.put_bytes(b"uor").unwrap().new_bytes, 0);
        writer.put_bytes(b"more").unwrap();
        writer.sync().unwrap();
        assert_eq!(writer.payloads().len(), 2);
    }
    assert!(disk.contents(path).unwrap().starts_with(&bytes));
    assert_eq!(
        disk.contents(path).unwrap().len(),
        bytes.len() + 64,
        "closed by a seal"
    );
    assert_eq!(disk.contents("blocks/00000002.pack").unwrap()[8], 2);
}
