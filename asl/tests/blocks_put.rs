//! Putting payloads on several threads, buffered, bounded and mending.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod packs;

use std::cell::Cell;
use std::io::{self, Read};
use std::sync::Arc;

use packs::noise;
use proptest::prelude::*;
use uor_asl::blocks::{Blocks, BlocksError, Options, PutOptions};
use uor_asl::disk::memory::{Fault, MemoryDisk};
use uor_asl::disk::{Disk, Mode};
use uor_index_format::id::Checksum;

fn open(disk: &MemoryDisk, threads: usize) -> Blocks {
    Blocks::open_with(
        Arc::new(disk.clone()),
        Mode::Write,
        Options {
            threads,
            ..Options::default()
        },
    )
    .unwrap()
    .0
}

/// Noise, prose and repetition, so that chunks take unequal time.
fn mixture(seed: u64, len: usize) -> Vec<u8> {
    let piece = |number: usize| {
        let bytes = noise(seed * 1000 + number as u64, 700_000);
        match number % 3 {
            0 => bytes,
            1 => bytes.iter().map(|byte| b'a' + byte % 16).collect(),
            _ => vec![7; 1_300_000],
        }
    };
    (0..).flat_map(piece).take(len).collect()
}

#[test]
fn what_is_stored_does_not_depend_on_the_number_of_threads() {
    let payloads = [mixture(1, 23 << 20), mixture(1, 9 << 20), noise(2, 5 << 20)];
    let stored: Vec<_> = [1, 2, 5]
        .into_iter()
        .map(|threads| {
            let disk = MemoryDisk::new();
            let blocks = open(&disk, threads);
            let stats: Vec<_> = payloads
                .iter()
                .map(|bytes| blocks.put_bytes(bytes).unwrap())
                .collect();
            blocks.sync().unwrap();
            assert!(payloads.iter().all(|bytes| {
                &blocks.read_all(Checksum::of(bytes), u64::MAX).unwrap() == bytes
            }));
            (stats, disk.contents("blocks/00000001.pack").unwrap())
        })
        .collect();
    assert!(stored[0] == stored[1] && stored[0] == stored[2]);
}

#[test]
fn progress_is_told_from_the_callers_thread_and_never_falls() {
    let blocks = open(&MemoryDisk::new(), 3);
    let told = Cell::new(0);
    let bytes = mixture(3, 20 << 20);
    blocks
        .put(&mut &*bytes, &mut |read| {
            assert!(told.replace(read) <= read)
        })
        .unwrap();
    assert_eq!(told.get(), 20 << 20);
}

/// Counts what is taken from a source that never ends.
struct Endless<'a>(&'a Cell<u64>);

impl Read for Endless<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let bytes = noise(self.0.get(), out.len().min(100_000));
        out[..bytes.len()].copy_from_slice(&bytes);
        self.0.set(self.0.get() + bytes.len() as u64);
        Ok(bytes.len())
    }
}

#[test]
fn a_payload_longer_than_promised_stops_there() {
    for (threads, len_max) in [
        (1, 1000),
        (2, 1000),
        (1, 6 << 20),
        (2, 6 << 20),
        (2, 40 << 20),
    ] {
        let disk = MemoryDisk::new();
        let blocks = open(&disk, threads);
        let taken = Cell::new(0);
        let options = PutOptions {
            expected: Some(Checksum::of(b"x")),
            len_max: Some(len_max),
            ..PutOptions::default()
        };
        let error = blocks
            .put_with(&options, &mut Endless(&taken), &mut |_| {})
            .unwrap_err();
        assert!(
            matches!(error, BlocksError::TooLarge { max, .. } if max == len_max),
            "{error}"
        );
        assert!(taken.get() <= len_max + 1);
        blocks.sync().unwrap();
        assert_eq!(blocks.payloads(), []);
        assert!(disk.contents("blocks/00000001.pack").unwrap().len() as u64 <= len_max + 4096);
        let bytes = noise(1, usize::try_from(len_max).unwrap());
        let options = PutOptions {
            len_max: Some(len_max),
            ..PutOptions::default()
        };
        assert_eq!(
            blocks
                .put_with(&options, &mut &*bytes, &mut |_| {})
                .unwrap()
                .len,
            len_max,
            "exactly as long"
        );
    }
}

#[test]
fn a_damaged_payload_is_mended_by_putting_it_again() {
    for len in [900, 9 << 20] {
        for noticed in ["by reading", "by verifying", "by putting"] {
            let disk = MemoryDisk::new();
            let blocks = open(&disk, 2);
            let bytes = noise(1, len);
            let checksum = blocks.put_bytes(&bytes).unwrap().checksum;
            let twin = [&bytes[..], b"and a tail"].concat();
            blocks.put_bytes(&twin).unwrap();
            blocks.sync().unwrap();
            assert!(disk.flip_bit("blocks/00000001.pack", 8 * 500));
            let check_existing = noticed == "by putting";
            match noticed {
                "by reading" => assert!(blocks.read_all(checksum, u64::MAX).is_err()),
                "by verifying" => {
                    assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages.len(), 1)
                }
                _ => assert_eq!(
                    blocks.put_bytes(&bytes).unwrap().new_bytes,
                    0,
                    "nobody has looked"
                ),
            }
            let options = PutOptions {
                check_existing,
                ..PutOptions::default()
            };
            let stats = blocks
                .put_with(&options, &mut &*bytes, &mut |_| {})
                .unwrap();
            assert!(
                (1..5 << 20).contains(&stats.new_bytes),
                "{} bytes to mend {len}",
                stats.new_bytes
            );
            assert_eq!(
                blocks
                    .put_with(&options, &mut &*bytes, &mut |_| {})
                    .unwrap()
                    .new_bytes,
                0
            );
            blocks.sync().unwrap();
            for blocks in [blocks, open(&disk, 1)] {
                assert!(blocks.read_all(checksum, u64::MAX).unwrap() == bytes);
                assert!(blocks.read_all(Checksum::of(&twin), u64::MAX).unwrap() == twin);
                assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);
            }
        }
    }
}

#[test]
fn a_damaged_manifest_is_mended_too() {
    let disk = MemoryDisk::new();
    let blocks = open(&disk, 2);
    let bytes = noise(1, 6 << 20);
    blocks.put_bytes(&bytes).unwrap();
    blocks.sync().unwrap();
    let len = disk.contents("blocks/00000001.pack").unwrap().len() as u64;
    // A mark, the padding, and the manifest before it.
    assert!(disk.flip_bit("blocks/00000001.pack", 8 * (len - 64 - 40)));
    let options = PutOptions {
        check_existing: true,
        ..PutOptions::default()
    };
    let stats = blocks
        .put_with(&options, &mut &*bytes, &mut |_| {})
        .unwrap();
    assert!((1..1000).contains(&stats.new_bytes), "{}", stats.new_bytes);
    assert!(
        open(&disk, 1).verify(&mut |_, _| {}).unwrap().damages.len() == 1,
        "not yet synced"
    );
    blocks.sync().unwrap();
    for blocks in [blocks, open(&disk, 1)] {
        assert!(blocks.read_all(Checksum::of(&bytes), u64::MAX).unwrap() == bytes);
        assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);
    }
}

#[test]
fn small_payloads_are_written_together_and_readable_before() {
    let disk = MemoryDisk::new();
    let blocks = open(&disk, 1);
    let before = disk.operations();
    let all: Vec<Vec<u8>> = (0..1000)
        .zip((3000..).step_by(3))
        .map(|(seed, len)| noise(seed, len))
        .collect();
    for bytes in &all {
        let checksum = blocks.put_bytes(bytes).unwrap().checksum;
        assert!(&blocks.read_all(checksum, u64::MAX).unwrap() == bytes);
    }
    assert!(disk.operations() - before < 8, "5 MB in pieces of 1 MiB");
    assert!(
        all.iter()
            .all(|bytes| &blocks.read_all(Checksum::of(bytes), u64::MAX).unwrap() == bytes)
    );
    assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);
    blocks.sync().unwrap();
    let reopened = open(&disk.crash(3), 1);
    assert!(
        all.iter()
            .all(|bytes| &reopened.read_all(Checksum::of(bytes), u64::MAX).unwrap() == bytes)
    );
}

/// Fails after so many bytes.
struct Failing(usize);

impl Read for Failing {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = out.len().min(self.0);
        self.0 -= count;
        out[..count].copy_from_slice(&noise(9, count));
        if count == 0 {
            Err(io::Error::other("the cable was pulled"))
        } else {
            Ok(count)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// Wherever the disk or the source fails, every thread ends, and the error is the first cause.
    #[test]
    fn failures_end_every_thread(threads in 1..4_usize, after in 0..20_usize, source_fails in any::<bool>()) {
        let disk = MemoryDisk::new();
        let blocks = open(&disk, threads);
        if source_fails {
            let len = after << 20;
            let failed = blocks.put(&mut Failing(len), &mut |_| {});
            let is_of_source = matches!(failed, Err(BlocksError::Source { .. }));
            prop_assert!(is_of_source);
        } else {
            disk.fail_at(disk.operations() + after as u64, Fault::NoSpace);
            match blocks.put_bytes(&noise(1, 90 << 20)) {
                Err(BlocksError::Disk(error)) => prop_assert!(error.is_out_of_space()),
                other => panic!("{other:?}"),
            }
            prop_assert!(matches!(blocks.put_bytes(b"x"), Err(BlocksError::Poisoned)));
        }
        let reopened = Blocks::open(Arc::new(disk), Mode::Write).unwrap().0;
        prop_assert_eq!(reopened.payloads(), []);
    }
}

#[test]
fn a_disk_opened_twice_sees_what_was_synced() {
    let disk = MemoryDisk::new();
    let blocks = open(&disk, 1);
    let checksum = blocks.put_bytes(b"buffered").unwrap().checksum;
    let reader = |disk: &MemoryDisk| {
        Blocks::open(Arc::new(disk.clone()), Mode::ReadOnly)
            .unwrap()
            .0
    };
    assert!(blocks.has(checksum) && !reader(&disk).has(checksum));
    blocks.sync().unwrap();
    assert!(reader(&disk).has(checksum) && disk.exists("blocks").unwrap());
}
