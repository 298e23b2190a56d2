//! The sound stores of the set: what each is for, how it is made, and what is asked of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use uor_asl::disk::Disk;
use uor_asl::log::{self, Log};
use uor_asl::store::{Options, Store};
use uor_index_format::commit::Commit;
use uor_index_format::edge::{Edge, Endpoint, Role};
use uor_index_format::id::{ArtifactKey, Checksum, LogSeq};
use uor_index_format::membership::ConflictRule;
use uor_index_format::receipt::{Derivation, Outcome, Status};
use uor_index_format::record::{Payload, Record};
use uor_index_format::reference::{NAMESPACE_SNAPSHOT, NAMESPACE_USER, RefAssignment};
use uor_index_format::snapshot::{self, Head, Snapshot};
use uor_index_format::tree::{self, EntryKind, Tree, TreeEntry};

use super::expected::Notes;
use super::shapes::{self, About, Shape};
use super::world::{World, id, merge, open, options, wall_ms};

/// A store of the set: fills an empty directory, and says what there is to know of it.
pub(crate) type Case = (&'static str, fn(&Path) -> Notes);

pub(crate) const STORES: [Case; 16] = [
    ("empty", empty),
    ("one-site", one_site),
    ("three-sites", three_sites),
    ("conflicts-first", |dir| conflicts(dir, ConflictRule::First)),
    ("conflicts-quorum", |dir| {
        conflicts(dir, ConflictRule::Quorum)
    }),
    ("conflicts-manual", |dir| {
        conflicts(dir, ConflictRule::Manual)
    }),
    ("history", history),
    ("order", order),
    ("snapshots", snapshots),
    ("closed-segments", closed_segments),
    ("log-format-1", log_format_1),
    ("indexed", indexed),
    ("indexed-by-an-older-release", indexed_by_an_older_release),
    ("payloads", payloads),
    ("packs", packs),
    ("removals", removals),
];

fn notes(about: &'static str) -> Notes {
    Notes {
        about,
        ..Notes::default()
    }
}

pub(crate) fn artifact(type_tag: Option<u32>, bytes: &[u8]) -> Record {
    Record::artifact(type_tag, Payload::of(bytes))
}

pub(crate) fn named(name: &str, target: ArtifactKey) -> Record {
    reference(NAMESPACE_USER, name, target)
}

fn reference(namespace: &str, name: &str, target: ArtifactKey) -> Record {
    Record::reference(RefAssignment {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        target,
    })
}

pub(crate) fn key_of(record: &Record) -> ArtifactKey {
    record.id().into()
}

/// Puts payloads, durably.
fn put(store: &Store, payloads: &[&[u8]]) {
    for payload in payloads {
        store.blocks().put_bytes(payload).unwrap();
    }
    store.blocks().sync().unwrap();
}

fn empty(dir: &Path) -> Notes {
    World::new(ConflictRule::First).store(dir, &[]);
    notes("A store that nothing was ever written to: the root of no entries at the empty snapshot.")
}

/// Headers of both versions: site 1 goes over to version 2 with its seventh commit, site 2 begins
/// with it, site 3 writes one of version 1 behind those of version 2.
fn history(dir: &Path) -> Notes {
    let (mut world, mut commits) = World::founded(ConflictRule::First, 3);
    let word = |text: String| vec![artifact(None, text.as_bytes())];
    for number in 0..12 {
        for site in 1..=3 {
            world.version = match site {
                1 => 1 + u16::from(number >= 3),
                2 => 2,
                _ => 1 + u16::from(number != 7),
            };
            let logseq = 10 + 3 * number + site as u64;
            commits.push(world.write(site, logseq, word(format!("{site} {number}"))));
        }
    }
    world.store(dir, &commits);
    notes(
        "Headers of both versions: one log goes over to version 2 behind commits of version 1, one \
         begins with it, one goes back once. Every history that is a root is over the hashes of all \
         commits before.",
    )
}

/// Every kind of record, with the payloads that artifacts and receipts name.
#[expect(clippy::too_many_lines, reason = "one record of each kind")]
fn one_site(dir: &Path) -> Notes {
    let (mut world, mut commits) = World::founded(ConflictRule::First, 1);
    let store = world.store(dir, &commits);
    let hello = artifact(None, b"hello, federation\n");
    let tree = Tree::new(vec![TreeEntry {
        name: b"hello".to_vec(),
        mode: 0o644,
        kind: EntryKind::File {
            key: key_of(&hello),
            len: 18,
        },
        attributes: None,
    }])
    .unwrap()
    .encode();
    let tree_record = artifact(Some(tree::TYPE_TAG), &tree);
    let head = commits.last().unwrap();
    let known = Snapshot {
        frontier: [(
            id(1),
            Head {
                number: 2,
                hash: head.hash(),
            },
        )]
        .into(),
        logseq_max: LogSeq(2),
        origin: None,
    };
    let snapshot = artifact(Some(snapshot::TYPE_TAG), &known.encode());
    let derivation = Derivation {
        program: ArtifactKey::from_bytes([0x11; 32]),
        inputs: vec![key_of(&hello), key_of(&tree_record)],
        params: b"lines=1".to_vec(),
        profile: "uor.pel/1".to_owned(),
    };
    let outcome = Outcome {
        status: Status::Ok,
        outputs: vec![("out".to_owned(), key_of(&hello))],
        trace: vec![],
    };
    let outcome = outcome.encode();
    let receipt = Record::receipt(derivation, Payload::of(&outcome));
    let edge = |from: Endpoint, role, attribute| {
        let to = vec![
            Endpoint::Artifact(key_of(&tree_record)),
            Endpoint::Artifact(key_of(&hello)),
        ];
        Record::edge(Edge {
            edge_type: "used".to_owned(),
            from: vec![from],
            to,
            role,
            attribute,
        })
    };
    let gone = artifact(None, b"gone");
    put(
        &store,
        &[
            b"hello, federation\n",
            &tree,
            &known.encode(),
            &outcome,
            b"",
            b"gone",
        ],
    );
    commits = vec![
        world.write(
            1,
            3,
            vec![
                hello.clone(),
                artifact(Some(0), b"hello, federation\n"),
                artifact(Some(7), b"hello, federation\n"),
                artifact(None, b""),
                tree_record.clone(),
                snapshot.clone(),
                artifact(None, b"a payload that is not here"),
                gone.clone(),
            ],
        ),
        world.write(
            1,
            4,
            vec![
                receipt.clone(),
                edge(Endpoint::Artifact(key_of(&receipt)), Role::Both, None),
                edge(Endpoint::Site(id(1)), Role::From, Some(key_of(&hello))),
                named("data/hello", key_of(&hello)),
                reference(NAMESPACE_SNAPSHOT, "first", key_of(&snapshot)),
            ],
        ),
        // Far ahead, as the clock of a federation may be.
        world.write(
            1,
            1000,
            vec![
                named("data/hello", key_of(&tree_record)),
                edge(Endpoint::Site(id(1)), Role::To, None),
                Record::tombstone(gone.id()),
                Record::resolution(receipt.id(), Checksum::of(b"another outcome")),
            ],
        ),
    ];
    merge(&store, &commits);
    let snapshots = vec![(
        "the snapshot that is an artifact in this store".to_owned(),
        known,
    )];
    Notes {
        snapshots,
        ..notes(
            "Every kind of record, written by one site; two members, one of whom has written nothing.",
        )
    }
}

/// Three sites that hear of each other, and admissions that rest on admissions.
fn three_sites(dir: &Path) -> Notes {
    let (mut world, mut commits) = World::founded(ConflictRule::First, 1);
    let all = |site: u8, word: &[u8]| {
        vec![
            artifact(None, word),
            named("latest", ArtifactKey::from_bytes([site; 32])),
        ]
    };
    commits.push(world.write(2, 3, vec![world.admission(3), artifact(None, b"two")]));
    commits.push(world.write(3, 4, all(3, b"three")));
    commits.push(world.write(1, 4, all(1, b"one")));
    // Admitted again, by another: one id, the last stands.
    commits.push(world.write(3, 5, vec![world.admission(2), world.admission(3)]));
    commits.push(world.write(2, 6, all(2, b"three")));
    commits.push(world.write(1, 6, all(1, b"three")));
    world.store(dir, &commits);
    notes(
        "Site 1 admits site 2, which admits site 3; each commit lists what its writer newly knew of the membership.",
    )
}

fn conflicts(dir: &Path, rule: ConflictRule) -> Notes {
    let (mut world, commits) = World::founded(rule, 2);
    let store = world.store(dir, &commits);
    let shapes = Shape::all(&shapes::RECEIPTS, About::Receipt);
    let written = shapes::write(&mut world, &shapes, 10);
    merge(&store, &written);
    let snapshots = (10..=15)
        .map(|logseq| {
            let snapshot = Snapshot {
                logseq_max: LogSeq(logseq),
                ..store.view().head().clone()
            };
            (
                format!("the first {} words of each shape", logseq - 9),
                snapshot,
            )
        })
        .collect();
    let ids = shapes
        .iter()
        .map(|shape| (shape.id(), shape.text.to_owned()))
        .collect();
    let about = match rule {
        ConflictRule::First => {
            "Claims, resolutions and tombstones about receipts, under the rule `first`."
        }
        ConflictRule::Quorum => {
            "Claims, resolutions and tombstones about receipts, under the rule `quorum`."
        }
        ConflictRule::Manual => {
            "Claims, resolutions and tombstones about receipts, under the rule `manual`."
        }
    };
    Notes {
        ids,
        snapshots,
        ..notes(about)
    }
}

/// Refs, edges and artifacts: of which the last stands, and of which the first.
fn order(dir: &Path) -> Notes {
    let (mut world, commits) = World::founded(ConflictRule::Quorum, 2);
    let store = world.store(dir, &commits);
    let mut ids = BTreeMap::new();
    for (about, first) in [(About::Ref, 10), (About::Edge, 20), (About::Artifact, 30)] {
        let shapes = Shape::all(&shapes::OTHERS, about);
        merge(&store, &shapes::write(&mut world, &shapes, first));
        ids.extend(shapes.iter().map(|shape| {
            (
                shape.id(),
                format!("{about:?} {}", shape.text).to_lowercase(),
            )
        }));
    }
    Notes {
        ids,
        ..notes(
            "Refs and edges, of which the last stands, and artifacts, of which the first; ties and tombstones.",
        )
    }
}

/// One store, and snapshots that are bounded by numbers, by logseq and by both.
fn snapshots(dir: &Path) -> Notes {
    let (mut world, mut commits) = World::founded(ConflictRule::First, 2);
    for round in 1..=4_u8 {
        for site in 1..=3_usize {
            let logseq = u64::from(round) * 10 + site as u64;
            let own = artifact(None, &[round, u8::try_from(site).unwrap()]);
            let moved = named("moved", key_of(&own));
            let records = if round == 4 {
                vec![Record::tombstone(moved.id()), own]
            } else {
                vec![moved, own]
            };
            commits.push(world.write(site, logseq, records));
        }
    }
    let store = world.store(dir, &commits);
    let whole = store.view().head().clone();
    let at = |logseq_max| Snapshot {
        logseq_max: LogSeq(logseq_max),
        ..whole.clone()
    };
    let upto = |numbers: [u64; 3], logseq_max| {
        let heads = (1..=3)
            .zip(numbers)
            .filter(|(_, number)| *number > 0)
            .map(|(site, number)| {
                let hash = store
                    .view()
                    .commit_hash(&id(site), number)
                    .unwrap()
                    .unwrap();
                (id(site), Head { number, hash })
            });
        Snapshot {
            frontier: heads.collect(),
            logseq_max: LogSeq(logseq_max),
            origin: None,
        }
    };
    let snapshots = vec![
        ("logseq_max below every commit".to_owned(), at(0)),
        ("logseq_max is that of the genesis".to_owned(), at(1)),
        (
            "logseq_max between two sites of one round".to_owned(),
            at(22),
        ),
        ("logseq_max between two rounds".to_owned(), at(25)),
        (
            "logseq_max far above everything: another snapshot and root, the same entries"
                .to_owned(),
            at(1 << 40),
        ),
        ("logseq_max at its highest".to_owned(), at(u64::MAX)),
        (
            "numbers alone: two rounds of site 1, one of site 2, all of site 3".to_owned(),
            upto([5, 1, 4], 1000),
        ),
        (
            "site 2 is not in the frontier".to_owned(),
            upto([7, 0, 4], 1000),
        ),
        (
            "nothing of site 1, who founded the federation".to_owned(),
            upto([0, 4, 4], 1000),
        ),
        (
            "both bounds cut: numbers site 1, logseq the others".to_owned(),
            upto([4, 4, 4], 32),
        ),
        ("nobody in the frontier".to_owned(), upto([0, 0, 0], 1000)),
    ];
    drop(store);
    Notes {
        snapshots,
        ..notes("Snapshots bounded by numbers, by logseq, and by both.")
    }
}

fn small_segments() -> Options {
    Options {
        log: log::Options {
            segment_bytes: 4096,
            preallocate_bytes: 256,
        },
        ..options()
    }
}

/// Commits enough for several small segments.
fn many(world: &mut World, commits: u64) -> Vec<Commit> {
    (0..commits)
        .map(|index| {
            let site = usize::try_from(index % 2).unwrap() + 1;
            let records = (0..5)
                .map(|part| artifact(None, &[u8::try_from(index).unwrap(), part]))
                .collect();
            world.write(site, 10 + index, records)
        })
        .collect()
}

fn closed_segments(dir: &Path) -> Notes {
    let (mut world, commits) = World::founded(ConflictRule::First, 1);
    let store = open(&world.create(dir), small_segments());
    merge(&store, &commits);
    merge(&store, &many(&mut world, 20));
    // Longer than a page of checks and than a segment: it gets one of its own.
    let long: Vec<Record> = (0..100_u8)
        .map(|part| artifact(None, &[0xff, part]))
        .collect();
    merge(&store, &[world.write(1, 100, long)]);
    merge(
        &store,
        &[world.write(2, 101, vec![artifact(None, b"the last")])],
    );
    notes(
        "A log of several closed segments of format 2, with page checks; one is longer than two pages.",
    )
}

/// A log that a release began which knew no page checks.
fn log_format_1(dir: &Path) -> Notes {
    let (mut world, commits) = World::founded(ConflictRule::First, 1);
    let disk = world.create(dir);
    let mut header = *b"UORLOG\0\0\x01\0\0\0\x01\0\0\0................";
    let check = blake3::hash(&header[..16]);
    header[16..].copy_from_slice(&check.as_bytes()[..16]);
    disk.create_dir_all("log").unwrap();
    uor_asl::disk::replace(disk.as_ref(), "log/00000001.log", &header).unwrap();
    let store = open(&disk, small_segments());
    merge(&store, &commits);
    merge(&store, &many(&mut world, 16));
    notes(
        "The first segment has format 1 and is closed with a seal alone; the log goes on in format 2.",
    )
}

/// A store with an index, of two runs and a checkpoint.
fn indexed(dir: &Path) -> Notes {
    let (mut world, commits) = World::founded(ConflictRule::Manual, 2);
    let store = open(&world.create(dir), options());
    merge(&store, &commits);
    let shapes = Shape::all(&shapes::RECEIPTS, About::Receipt);
    merge(&store, &shapes::write(&mut world, &shapes, 10));
    store.seal_index().unwrap();
    merge(
        &store,
        &[world.write(
            1,
            50,
            vec![named("sealed", ArtifactKey::from_bytes([1; 32]))],
        )],
    );
    store.seal_index().unwrap();
    merge(
        &store,
        &[world.write(
            2,
            51,
            vec![named("behind", ArtifactKey::from_bytes([2; 32]))],
        )],
    );
    let ids = shapes
        .iter()
        .map(|shape| (shape.id(), shape.text.to_owned()))
        .collect();
    Notes {
        ids,
        ..notes(
            "A store with an index of two runs, commit tables and a checkpoint, and a commit behind it.",
        )
    }
}

/// The same, with a checkpoint of version 2: which is a body that is not looked at.
fn indexed_by_an_older_release(dir: &Path) -> Notes {
    let Notes { ids, .. } = indexed(dir);
    let path = dir.join("index/checkpoint");
    let mut checkpoint = fs::read(&path).unwrap();
    checkpoint[8..10].copy_from_slice(&2_u16.to_le_bytes());
    fs::write(&path, checkpoint).unwrap();
    Notes {
        ids,
        ..notes("An index that an older release wrote: it is disregarded, and nothing is damaged.")
    }
}

/// Payloads stored raw, compressed, and in parts.
fn payloads(dir: &Path) -> Notes {
    let (mut world, commits) = World::founded(ConflictRule::First, 0);
    let store = world.store(dir, &commits);
    let (short, text) = (b"short".to_vec(), b"again and ".repeat(100));
    // Of three parts that differ, so that the manifest cannot be made shorter.
    let long: Vec<u8> = [1, 2, 3]
        .into_iter()
        .flat_map(|byte| std::iter::repeat_n(byte, 4 << 20))
        .collect();
    let whole = &long[..4 << 20];
    put(&store, &[b"", &short, &text, &long, whole]);
    let records = [b"".as_slice(), &short, &text, &long, whole]
        .iter()
        .map(|bytes| artifact(None, bytes))
        .collect();
    merge(&store, &[world.write(1, 2, records)]);
    notes(
        "Payloads: none at all, stored as it is, compressed, 12 MiB in parts with a manifest, and one of these parts alone.",
    )
}

/// Bytes that nothing makes shorter.
fn noise(seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; 200 + usize::from(seed)];
    blake3::Hasher::new()
        .update(&[seed])
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// Small packs, of which some were given up, with an index of those that are closed.
fn packs(dir: &Path) -> Notes {
    let (mut world, commits) = World::founded(ConflictRule::First, 0);
    let mut options = options();
    options.blocks.pack_bytes = 1024;
    let store = open(&world.create(dir), options);
    merge(&store, &commits);
    let records: Vec<Record> = (0..16).map(|seed| artifact(None, &noise(seed))).collect();
    for (seed, record) in (0..).zip(&records) {
        put(&store, &[&noise(seed)]);
        merge(
            &store,
            &[world.write(1, 2 + u64::from(seed), vec![record.clone()])],
        );
    }
    let gone = [3, 4, 5, 9].map(|seed: usize| Record::tombstone(records[seed].id()));
    merge(&store, &[world.write(1, 20, gone.to_vec())]);
    store.erase(Checksum::of(&noise(1)), wall_ms(21)).unwrap();
    store
        .collect(&[], &BTreeSet::new(), false, wall_ms(22), &mut |_, _| {
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    put(&store, &[&noise(9), &noise(20), &noise(21), &noise(22)]);
    notes(
        "Several small packs with an index of the closed ones: some given up, a payload erased, one put again.",
    )
}

/// What is gone on purpose, with a removal that an earlier release wrote.
fn removals(dir: &Path) -> Notes {
    let (mut world, commits) = World::founded(ConflictRule::First, 0);
    let disk = world.create(dir);
    let old = Checksum::of(b"old");
    let mut removal = b"UORX\x01\0\x01\0".to_vec();
    removal.extend_from_slice(&wall_ms(1).to_le_bytes());
    removal.extend_from_slice(&1_u32.to_le_bytes());
    removal.extend_from_slice(old.as_bytes());
    append(&disk, &[(3, &removal)]);
    let store = open(&disk, options());
    merge(&store, &commits);
    put(&store, &[b"erased", b"collected", b"kept"]);
    let words =
        [b"erased".as_slice(), b"collected", b"kept", b"old"].map(|bytes| artifact(None, bytes));
    merge(&store, &[world.write(1, 2, words.to_vec())]);
    merge(
        &store,
        &[world.write(1, 3, vec![Record::tombstone(words[1].id())])],
    );
    store.erase(Checksum::of(b"erased"), wall_ms(4)).unwrap();
    let collected = store
        .collect(&[], &BTreeSet::new(), false, wall_ms(5), &mut |_, _| {
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    assert!(
        collected.payloads > 0,
        "something was collected: {collected:?}"
    );
    let ids = [
        (words[0].id(), "erased"),
        (words[2].id(), "kept"),
        (words[3].id(), "erased, in a removal of version 1"),
    ];
    let ids = ids
        .into_iter()
        .map(|(id, word)| (id, word.to_owned()))
        .collect();
    Notes {
        ids,
        ..notes(
            "Payloads that were erased and collected, with removals of versions 1 and 2 in the log.",
        )
    }
}

/// Appends entries to the log of a store, as they are.
pub(crate) fn append(disk: &Arc<dyn Disk>, entries: &[(u8, &[u8])]) {
    let (log, _) =
        Log::open_with(Arc::clone(disk), uor_asl::disk::Mode::Write, options().log).unwrap();
    log.append_batch(entries).unwrap();
    log.sync().unwrap();
}
