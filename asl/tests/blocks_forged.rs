//! Blocks whose every check fits, and that are wrong all the same.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod forged;
mod packs;

use std::io::{self, Read};
use std::sync::Arc;

use packs::noise;
use uor_asl::blocks::{BlockDamage, Blocks, BlocksError, Chunk, PutOptions};
use uor_asl::disk::memory::MemoryDisk;
use uor_asl::disk::{Disk, Mode};
use uor_index_format::id::Checksum;

fn open(disk: &MemoryDisk, mode: Mode) -> Blocks {
    Blocks::open(Arc::new(disk.clone()), mode).unwrap().0
}

/// A payload of several chunks, and a manifest of it, the last and known to be durable, that lists
/// these chunks as `wrong` makes them.
fn with_manifest(wrong: impl Fn(&mut Vec<Chunk>)) -> (MemoryDisk, Vec<u8>) {
    let disk = MemoryDisk::new();
    let bytes = noise(1, 9 << 20);
    let checksum = Checksum::of(&bytes);
    let blocks = open(&disk, Mode::Write);
    blocks.put_bytes(&bytes).unwrap();
    blocks.put_bytes(b"another").unwrap();
    blocks.sync().unwrap();
    let mut chunks = blocks.chunks(checksum).unwrap();
    assert!(chunks.len() > 3);
    wrong(&mut chunks);
    drop(blocks);
    forged::append(
        &disk,
        1,
        forged::MANIFEST,
        *checksum.as_bytes(),
        &forged::manifest(checksum, &chunks),
    );
    forged::mark(&disk, 1);
    (disk, bytes)
}

fn damage(error: io::Error) -> BlockDamage {
    match error
        .into_inner()
        .unwrap()
        .downcast::<BlocksError>()
        .map(|error| *error)
    {
        Ok(BlocksError::Damaged(damage)) => damage,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_manifest_of_other_bytes_is_damage_wherever_it_is_read() {
    let wrongs: [fn(&mut Vec<Chunk>); 3] = [
        |chunks| chunks.swap(0, 1),
        |chunks| chunks.truncate(chunks.len() - 1),
        |chunks| chunks.push(chunks[0]),
    ];
    for wrong in wrongs {
        let (disk, bytes) = with_manifest(wrong);
        let checksum = Checksum::of(&bytes);
        for mode in [Mode::ReadOnly, Mode::Write] {
            let error = open(&disk, mode).read_all(checksum, u64::MAX).unwrap_err();
            assert!(
                matches!(&error, BlocksError::Damaged(damage) if damage.block == Some(checksum)),
                "{error}"
            );
            assert!(
                error.to_string().contains("digest of all chunks"),
                "{error}"
            );

            let blocks = open(&disk, mode);
            let (mut stream, mut out) = (blocks.read(checksum).unwrap(), Vec::new());
            let len = stream.remaining();
            assert_eq!(
                damage(stream.read_to_end(&mut out).unwrap_err()).block,
                Some(checksum)
            );
            assert!(
                (out.len() as u64) < len,
                "an end that nobody can take for whole"
            );

            let error = open(&disk, mode).read_range(checksum, 5..6).err().unwrap();
            assert!(
                matches!(&error, BlocksError::Damaged(damage) if damage.block == Some(checksum)),
                "{error}"
            );

            let damages = open(&disk, mode).verify(&mut |_, _| {}).unwrap().damages;
            assert_eq!(damages.len(), 1, "{damages:?}");
            assert_eq!(
                (damages[0].at.what, &damages[0].payloads),
                ("digest of all chunks", &vec![checksum])
            );
        }
    }
}

#[test]
fn a_wrong_manifest_can_be_put_again() {
    let check_existing = PutOptions {
        check_existing: true,
        ..PutOptions::default()
    };
    for is_noticed in [false, true] {
        let (disk, bytes) = with_manifest(|chunks| chunks.swap(0, 1));
        // The right one is there as well, and does not count: where a name occurs twice, the last
        // stands.
        let checksum = Checksum::of(&bytes);
        let blocks = open(&disk, Mode::Write);
        let options = if is_noticed {
            PutOptions::default()
        } else {
            check_existing
        };
        if is_noticed {
            assert!(blocks.read_all(checksum, u64::MAX).is_err());
        }
        let stats = blocks
            .put_with(&options, &mut &bytes[..], &mut |_| {})
            .unwrap();
        assert!(
            (1..2000).contains(&stats.new_bytes),
            "a manifest: {stats:?}"
        );
        blocks.sync().unwrap();
        for blocks in [
            blocks,
            open(&disk, Mode::Write),
            open(&disk, Mode::ReadOnly),
        ] {
            assert!(blocks.read_all(checksum, u64::MAX).unwrap() == bytes);
            let mut out = Vec::new();
            blocks
                .read(checksum)
                .unwrap()
                .read_to_end(&mut out)
                .unwrap();
            assert!(out == bytes);
            assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);
        }
        let blocks = open(&disk, Mode::Write);
        assert_eq!(
            blocks
                .put_with(&check_existing, &mut &bytes[..], &mut |_| {})
                .unwrap()
                .new_bytes,
            0
        );
    }
}

#[test]
fn a_manifest_with_other_cuts_is_no_damage() {
    // As a program may write it that cuts elsewhere.
    let disk = MemoryDisk::new();
    let blocks = open(&disk, Mode::Write);
    let bytes = noise(1, 9 << 20);
    let mut chunks = Vec::new();
    for part in bytes.chunks(3 << 20) {
        blocks.put_bytes(part).unwrap();
        chunks.push(Chunk {
            digest: Checksum::of(part),
            len: u32::try_from(part.len()).unwrap(),
        });
    }
    blocks.sync().unwrap();
    drop(blocks);
    let checksum = Checksum::of(&bytes);
    forged::append(
        &disk,
        1,
        forged::MANIFEST,
        *checksum.as_bytes(),
        &forged::manifest(checksum, &chunks),
    );
    forged::mark(&disk, 1);
    let blocks = open(&disk, Mode::Write);
    let check_existing = PutOptions {
        check_existing: true,
        ..PutOptions::default()
    };
    blocks
        .put_with(&check_existing, &mut &bytes[..], &mut |_| {})
        .unwrap();
    assert_eq!(blocks.chunks(checksum).unwrap(), chunks, "which stands");
    assert!(blocks.read_all(checksum, u64::MAX).unwrap() == bytes);
    assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);

    // One that needs what is not here can be put again as well.
    blocks.sync().unwrap();
    chunks[1] = Chunk {
        digest: Checksum::of(b"nowhere"),
        len: 3 << 20,
    };
    drop(blocks);
    forged::append(
        &disk,
        1,
        forged::MANIFEST,
        *checksum.as_bytes(),
        &forged::manifest(checksum, &chunks),
    );
    forged::mark(&disk, 1);
    let blocks = open(&disk, Mode::Write);
    assert!(matches!(
        blocks.read_all(checksum, u64::MAX),
        Err(BlocksError::MissingChunk { .. })
    ));
    assert!(
        blocks
            .put_with(&check_existing, &mut &bytes[..], &mut |_| {})
            .unwrap()
            .new_bytes
            > 0
    );
    assert!(blocks.read_all(checksum, u64::MAX).unwrap() == bytes);
}

#[test]
fn a_manifest_of_one_chunk_names_that() {
    let disk = MemoryDisk::new();
    let blocks = open(&disk, Mode::Write);
    blocks.put_bytes(b"one").unwrap();
    blocks.sync().unwrap();
    drop(blocks);
    let (one, two) = (Checksum::of(b"one"), Checksum::of(b"two"));
    for (payload, chunks) in [
        (
            two,
            vec![Chunk {
                digest: one,
                len: 3,
            }],
        ),
        (Checksum::of(b"three"), vec![]),
    ] {
        forged::append(
            &disk,
            1,
            forged::MANIFEST,
            *payload.as_bytes(),
            &forged::manifest(payload, &chunks),
        );
        forged::mark(&disk, 1);
        let blocks = open(&disk, Mode::ReadOnly);
        assert!(matches!(
            blocks.read_part(payload, 0..0),
            Err(BlocksError::Damaged(_))
        ));
        assert!(matches!(
            blocks.payload_len(payload),
            Err(BlocksError::Damaged(_))
        ));
        assert!(
            blocks
                .verify(&mut |_, _| {})
                .unwrap()
                .damages
                .iter()
                .any(|damage| damage.block == Some(payload))
        );
    }
}

/// A pack of this version with one payload in it.
fn pack_of(version: u8) -> MemoryDisk {
    let disk = MemoryDisk::new();
    disk.create_dir_all("blocks").unwrap();
    let mut header = b"UORPACK\0".to_vec();
    header.extend_from_slice(&[version, 0, 0, 0, 1, 0, 0, 0]);
    let check = blake3::hash(&header);
    header.extend_from_slice(&check.as_bytes()[..16]);
    disk.open("blocks/00000001.pack", Mode::Write)
        .unwrap()
        .write_at(0, &header)
        .unwrap();
    forged::append(
        &disk,
        1,
        forged::WHOLE,
        *Checksum::of(b"one").as_bytes(),
        b"one",
    );
    forged::mark(&disk, 1);
    disk
}

#[test]
fn what_a_pack_of_its_version_cannot_hold_is_damage() {
    let name = *Checksum::of(b"one").as_bytes();
    let unnamed = [0; 32];
    let mut vouching = [0; 32];
    vouching[20] = 1;
    for (version, kind, name, raw, is_sound) in [
        (1, forged::ERASED, name, forged::record(name), false),
        (1, forged::DROPPED, unnamed, forged::record(unnamed), false),
        (1, forged::ZEROED, name, vec![], false),
        (2, forged::ERASED, name, forged::record(name), true),
        (2, forged::DROPPED, unnamed, forged::record(unnamed), true),
        (2, forged::DROPPED, name, forged::record(name), false),
        (2, forged::ZEROED, name, vec![], true),
        (2, forged::MARK, vouching, vec![], false),
        (2, 9, unnamed, vec![], false),
    ] {
        let disk = pack_of(version);
        let offset = forged::append(&disk, 1, kind, name, &raw);
        forged::mark(&disk, 1);
        let context = format!(
            "version {version}, kind {kind}, name {}",
            Checksum::from_bytes(name)
        );
        for mode in [Mode::ReadOnly, Mode::Write] {
            let mut found = Blocks::open(Arc::new(disk.clone()), mode)
                .unwrap()
                .1
                .damages;
            // These packs were made without a list.
            found.retain(|damage| damage.at.file == "blocks/00000001.pack");
            assert_eq!(found.is_empty(), is_sound, "{context}: {found:?}");
            assert!(
                found.iter().all(|damage| damage.at.offset == offset),
                "{context}: {found:?}"
            );
        }
    }
}
