//! Putting payloads and dropping them, and what a store has to show for it.

#![allow(
    dead_code,
    clippy::mod_module_files,
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "shared by several test binaries"
)]

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use uor_asl::blocks::{Blocks, Collected, Options};
use uor_asl::disk::memory::MemoryDisk;
use uor_asl::disk::{Disk, Mode};
use uor_index_format::id::Checksum;

use crate::packs::{noise, same};

pub(crate) const MIB: u64 = 1 << 20;

pub(crate) fn options(pack_bytes: u64) -> Options {
    Options {
        pack_bytes,
        threads: 1,
    }
}

pub(crate) fn open(disk: &MemoryDisk, mode: Mode, pack_bytes: u64) -> Blocks {
    let (blocks, recovery) =
        Blocks::open_with(Arc::new(disk.clone()), mode, options(pack_bytes)).unwrap();
    assert_eq!((recovery.damages, recovery.rebuilt), (vec![], vec![]));
    blocks
}

pub(crate) fn checksums(payloads: &[Vec<u8>]) -> BTreeSet<Checksum> {
    payloads.iter().map(|bytes| Checksum::of(bytes)).collect()
}

/// Puts what was not there, and syncs it.
pub(crate) fn put(blocks: &Blocks, payloads: &[Vec<u8>]) {
    payloads
        .iter()
        .for_each(|bytes| assert!(blocks.put_bytes(bytes).unwrap().new_bytes > 0));
    blocks.sync().unwrap();
}

/// Payloads of these seeds that are so short that a pack holds very many.
pub(crate) fn tiny(seeds: Range<u64>) -> Vec<Vec<u8>> {
    seeds.map(|seed| noise(seed, 20)).collect()
}

pub(crate) fn large(seeds: Range<u64>) -> Vec<Vec<u8>> {
    seeds.map(|seed| noise(seed, 20_000)).collect()
}

pub(crate) fn drop_payloads(blocks: &Blocks, payloads: &[Vec<u8>]) -> Collected {
    let gone = checksums(payloads);
    let collected = blocks
        .collect(&mut |checksum| !gone.contains(&checksum), false)
        .unwrap();
    assert_eq!(collected.payloads, payloads.len() as u64);
    collected
}

pub(crate) fn files(disk: &MemoryDisk, extension: &str) -> Vec<String> {
    disk.paths()
        .into_iter()
        .filter(|path| path.ends_with(extension))
        .collect()
}

/// Holds the store that is open, and what others see of it with and without its index, to what is
/// there and what is gone.
pub(crate) fn check(
    blocks: &Blocks,
    disk: &MemoryDisk,
    pack_bytes: u64,
    there: &[Vec<u8>],
    gone: &[Vec<u8>],
) {
    let bare = disk.crash(0);
    files(&bare, ".run")
        .iter()
        .for_each(|path| bare.remove(path).unwrap());
    let (unindexed, _) =
        Blocks::open_with(Arc::new(bare), Mode::ReadOnly, options(pack_bytes)).unwrap();
    let reader = open(disk, Mode::ReadOnly, pack_bytes);
    for (who, blocks) in [
        ("the writer", blocks),
        ("a reader", &reader),
        ("a reader without index", &unindexed),
    ] {
        let back = gone
            .iter()
            .filter(|bytes| blocks.has(Checksum::of(bytes)))
            .count();
        assert_eq!(back, 0, "{who}: back again");
        assert!(there.iter().all(|bytes| same(blocks, bytes)), "{who}: lost");
        let payloads: BTreeSet<Checksum> = blocks.payloads().into_iter().collect();
        assert!(
            payloads.is_superset(&checksums(there)) && payloads.is_disjoint(&checksums(gone)),
            "{who}"
        );
        assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, [], "{who}");
    }
}
