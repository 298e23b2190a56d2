//! Blocks that a program would not write, with every check made to fit: `FORMAT.md`, "Block" and
//! "Manifest".

use uor_asl::blocks::Chunk;
use uor_asl::disk::memory::MemoryDisk;
use uor_asl::disk::{Disk, Mode};
use uor_index_format::id::Checksum;

pub(crate) const WHOLE: u8 = 1;
pub(crate) const MANIFEST: u8 = 3;
pub(crate) const MARK: u8 = 4;
pub(crate) const ERASED: u8 = 6;
pub(crate) const DROPPED: u8 = 7;
pub(crate) const ZEROED: u8 = 8;

/// Appends a block, not compressed, to the pack of this number; says where.
pub(crate) fn append(disk: &MemoryDisk, pack: u32, kind: u8, name: [u8; 32], raw: &[u8]) -> u64 {
    let path = format!("blocks/{pack:08}.pack");
    let file = disk.open(&path, Mode::Write).unwrap();
    let offset = file.len().unwrap();
    let len = u32::try_from(raw.len()).unwrap().to_le_bytes();
    let mut block = [&len[..], &len, &[kind, 0], &[0; 6], &name].concat();
    let mut hasher = blake3::Hasher::new_keyed(b"uor-asl block header check v.1  ");
    hasher
        .update(&pack.to_le_bytes())
        .update(&offset.to_le_bytes())
        .update(&block);
    block.extend_from_slice(&hasher.finalize().as_bytes()[..16]);
    block.extend_from_slice(raw);
    block.resize(block.len().next_multiple_of(8), 0);
    file.write_at(offset, &block).unwrap();
    offset
}

/// Appends a mark that vouches for everything before it.
pub(crate) fn mark(disk: &MemoryDisk, pack: u32) {
    let len = disk
        .contents(&format!("blocks/{pack:08}.pack"))
        .unwrap()
        .len() as u64;
    let mut name = [0; 32];
    name[..8].copy_from_slice(&len.to_le_bytes());
    append(disk, pack, MARK, name, b"");
    disk.settle();
}

/// The raw bytes of a manifest.
pub(crate) fn manifest(payload: Checksum, chunks: &[Chunk]) -> Vec<u8> {
    let len: u64 = chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
    let mut bytes = payload.as_bytes().to_vec();
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(chunks.len()).unwrap().to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    for chunk in chunks {
        bytes.extend_from_slice(chunk.digest.as_bytes());
        bytes.extend_from_slice(&chunk.len.to_le_bytes());
    }
    let check = Checksum::of(&bytes);
    bytes.extend_from_slice(check.as_bytes());
    bytes
}

/// The raw bytes of a record of no places.
pub(crate) fn record(name: [u8; 32]) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&name).update(&[0; 8]);
    [&[0; 8], &hasher.finalize().as_bytes()[..]].concat()
}
