//! Payloads, and packs small enough that a few of them fill one.

#![allow(
    dead_code,
    clippy::mod_module_files,
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "shared by several test binaries"
)]

use std::io::Read;
use std::sync::Arc;

use uor_asl::blocks::{Blocks, BlocksError, Options, Recovery};
use uor_asl::disk::Mode;
use uor_asl::disk::memory::MemoryDisk;
use uor_index_format::id::Checksum;

/// Small enough that a few payloads fill a pack.
pub(crate) const OPTIONS: Options = Options {
    pack_bytes: 4096,
    threads: 2,
};

pub(crate) fn open(disk: &MemoryDisk, mode: Mode) -> Result<(Blocks, Recovery), BlocksError> {
    Blocks::open_with(Arc::new(disk.clone()), mode, OPTIONS)
}

pub(crate) fn open_large(disk: &MemoryDisk, mode: Mode) -> (Blocks, Recovery) {
    Blocks::open(Arc::new(disk.clone()), mode).unwrap()
}

/// Bytes that do not compress, different for each seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

pub(crate) fn everything(mut reader: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    bytes
}

/// The payloads of a seed: noise, repetition, or nothing.
pub(crate) fn payload(seed: u64, len: usize) -> Vec<u8> {
    if seed.is_multiple_of(3) {
        vec![b'a' + (seed % 20) as u8; len]
    } else {
        noise(seed, len)
    }
}

/// Whether a payload comes back as it was; never anything else but an error.
pub(crate) fn same(blocks: &Blocks, bytes: &[u8]) -> bool {
    match blocks.read_all(Checksum::of(bytes), u64::MAX) {
        Ok(found) => {
            assert!(found == bytes, "wrong bytes");
            true
        }
        Err(BlocksError::Damaged(_) | BlocksError::Unknown { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}
