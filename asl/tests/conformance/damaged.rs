//! Stores that are not as they were written: what was done to them, and what has to be found.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uor_asl::disk::Disk;
use uor_asl::disk::real::RealDisk;
use uor_index_format::membership::ConflictRule;
use uor_index_format::record::Record;

use super::expected::Notes;
use super::listed;
use super::stores::{Case, append, artifact};
use super::world::{World, merge, open, options};

pub(crate) const DAMAGED: [Case; 20] = [
    ("log-entry", |dir| {
        flip(
            dir,
            LOG,
            500,
            "A bit of a commit is flipped, and marks come after it.",
        )
    }),
    ("log-file-header", |dir| {
        flip(
            dir,
            LOG,
            20,
            "A bit of the last segment's file header is flipped, and frames come after it.",
        )
    }),
    ("log-newer", newer_log),
    ("log-torn-tail", torn_tail),
    ("log-zeros-behind", zeros_behind),
    ("log-segment-missing", segment_missing),
    ("log-closed-page", closed_page),
    ("log-closed-seal-cut", closed_seal_cut),
    ("log-unknown-entry", unknown_entry),
    ("commit-signature", commit_signature),
    ("commit-body", commit_body),
    ("store-other-federation", other_federation),
    ("store-newer", newer_store),
    ("store-no-text", no_store),
    ("blocks-stored-bytes", |dir| {
        flip(
            dir,
            PACK,
            32 + 64 + 3,
            "A bit of a payload's stored bytes is flipped.",
        )
    }),
    ("blocks-header", |dir| {
        flip(dir, PACK, 32 + 20, "A bit of a block's header is flipped.")
    }),
    ("blocks-pack-missing", pack_missing),
    ("index-segment", |dir| {
        flip_indexed(
            dir,
            "index/00000001-00001.run",
            "A bit of a segment of the index is flipped.",
        )
    }),
    ("index-commit-table", |dir| {
        flip_indexed(
            dir,
            "index/00000000.commits",
            "A bit of a commit table is flipped.",
        )
    }),
    ("index-checkpoint", |dir| {
        flip_indexed(
            dir,
            "index/checkpoint",
            "A bit of the checkpoint is flipped.",
        )
    }),
];

const LOG: &str = "log/00000001.log";
const PACK: &str = "blocks/00000001.pack";

fn notes(about: &'static str) -> Notes {
    Notes {
        about,
        ..Notes::default()
    }
}

/// Two sites with some payloads; sound.
fn base(dir: &Path) -> World {
    let (mut world, commits) = World::founded(ConflictRule::First, 1);
    let store = world.store(dir, &commits);
    let payloads = [b"the first payload".as_slice(), b"the second payload"];
    for payload in payloads {
        store.blocks().put_bytes(payload).unwrap();
    }
    let records: Vec<Record> = payloads
        .iter()
        .map(|payload| artifact(None, payload))
        .collect();
    merge(
        &store,
        &[
            world.write(2, 10, records),
            world.write(1, 11, vec![artifact(None, b"not here")]),
        ],
    );
    world
}

fn disk(dir: &Path) -> Arc<dyn Disk> {
    Arc::new(RealDisk::new(dir))
}

fn edit(dir: &Path, file: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let path = dir.join(file);
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn flip(dir: &Path, file: &str, at: usize, about: &'static str) -> Notes {
    base(dir);
    edit(dir, file, |bytes| bytes[at] ^= 1);
    notes(about)
}

fn newer_log(dir: &Path) -> Notes {
    base(dir);
    edit(dir, LOG, |bytes| {
        bytes[8] = 3;
        let check = blake3::hash(&bytes[..16]);
        bytes[16..32].copy_from_slice(&check.as_bytes()[..16]);
    });
    notes("The last segment's file header is sound and has format version 3.")
}

/// Where the frames of a segment end, whose preallocated zeros follow.
fn content_len(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

fn torn_tail(dir: &Path) -> Notes {
    let mut world = base(dir);
    let before = content_len(&fs::read(dir.join(LOG)).unwrap());
    let torn = world.write(1, 12, vec![artifact(None, b"never acknowledged")]);
    append(&disk(dir), &[(1, torn.as_bytes())]);
    // Without the mark that came behind it, and without its end.
    edit(dir, LOG, |bytes| bytes.truncate(before + 200));
    notes(
        "The log ends in the beginning of a frame, with no mark behind it: never acknowledged, no damage.",
    )
}

fn zeros_behind(dir: &Path) -> Notes {
    base(dir);
    edit(dir, LOG, |bytes| bytes.resize(bytes.len() + 4096, 0));
    notes("More zeros behind the last frame: space that was asked for and not used yet.")
}

fn segmented(dir: &Path) -> Vec<PathBuf> {
    let (mut world, commits) = World::founded(ConflictRule::First, 1);
    let mut options = options();
    (options.log.segment_bytes, options.log.preallocate_bytes) = (2048, 64);
    let store = open(&world.create(dir), options);
    merge(&store, &commits);
    for index in 0..12_u8 {
        merge(
            &store,
            &[world.write(1, 10 + u64::from(index), vec![artifact(None, &[index])])],
        );
    }
    let segments = listed(&dir.join("log"));
    assert!(segments.len() >= 3, "{segments:?}");
    segments
}

fn segment_missing(dir: &Path) -> Notes {
    let segments = segmented(dir);
    fs::remove_file(&segments[1]).unwrap();
    notes("A segment between others is not there.")
}

fn closed_page(dir: &Path) -> Notes {
    segmented(dir);
    edit(dir, LOG, |bytes| bytes[700] ^= 1);
    notes("A bit in a closed segment is flipped: its page does not have its check.")
}

fn closed_seal_cut(dir: &Path) -> Notes {
    segmented(dir);
    edit(dir, LOG, |bytes| bytes.truncate(bytes.len() - 32));
    notes("A closed segment ends before its seal.")
}

fn unknown_entry(dir: &Path) -> Notes {
    base(dir);
    append(&disk(dir), &[(9, b"of a release to come")]);
    notes(
        "A sound entry of a kind that this page does not know: to be refused by name, not passed over.",
    )
}

fn commit_signature(dir: &Path) -> Notes {
    let mut world = base(dir);
    let mut bytes = world
        .write(1, 12, vec![artifact(None, b"forged")])
        .as_bytes()
        .to_vec();
    bytes[180] ^= 1;
    append(&disk(dir), &[(1, &bytes)]);
    notes("A sound entry of the log, whose commit is not signed by its domain.")
}

fn commit_body(dir: &Path) -> Notes {
    let mut world = base(dir);
    let mut bytes = world
        .write(1, 12, vec![artifact(None, b"changed")])
        .as_bytes()
        .to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    append(&disk(dir), &[(1, &bytes)]);
    notes("A sound entry of the log, whose commit has a body of another checksum.")
}

fn other_federation(dir: &Path) -> Notes {
    base(dir);
    edit(dir, "store", |bytes| {
        let at = bytes.len() - 2;
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
    });
    notes("The file `store` names another federation than the genesis in the log founds.")
}

fn newer_store(dir: &Path) -> Notes {
    base(dir);
    edit(dir, "store", |bytes| bytes[17] = b'2');
    notes("The file `store` has format 2.")
}

fn no_store(dir: &Path) -> Notes {
    base(dir);
    edit(dir, "store", |bytes| bytes.truncate(40));
    notes("The file `store` is cut.")
}

fn pack_missing(dir: &Path) -> Notes {
    base(dir);
    fs::remove_file(dir.join(PACK)).unwrap();
    notes("A pack that was begun and never removed is not there.")
}

fn flip_indexed(dir: &Path, file: &str, about: &'static str) -> Notes {
    base(dir);
    let store = open(&disk(dir), options());
    store.seal_index().unwrap();
    drop(store);
    edit(dir, file, |bytes| {
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
    });
    notes(about)
}
