//! One fixed value of every structure. Keys come from fixed seeds, so the signatures are fixed too.

use uor_index_format::chain::{Chain, History};
use uor_index_format::commit::{Commit, Draft, ForkProof};
use uor_index_format::edge::{Edge, Endpoint, Role};
use uor_index_format::id::{
    ArtifactKey, Checksum, CommitHash, FederationId, FederationState, LogSeq,
};
use uor_index_format::key::SiteKey;
use uor_index_format::membership::{Admission, ConflictRule, Genesis};
use uor_index_format::program::{self, Node, Program, Source};
use uor_index_format::receipt::{Derivation, FailureKind, Outcome, Status, Step};
use uor_index_format::record::{Kind, Payload, Record, artifact_key};
use uor_index_format::reference::RefAssignment;
use uor_index_format::snapshot::{Head, Origin, Snapshot};
use uor_index_format::state::{Entry, StateHash};
use uor_index_format::ticket::Ticket;
use uor_index_format::tree::{self, Attributes, EntryKind, Own, Tree, TreeEntry};
use uor_index_format::wire::{Announcement, Contact, Position, WireHead, fork_set};

/// What the sample artifact holds.
pub(crate) const PAYLOAD: &[u8] = b"hello, federation\n";
/// 2026-11-21 00:00:00 UTC.
const WALL_MS: u64 = 1_795_219_200_000;

pub(crate) fn founder() -> SiteKey {
    SiteKey::from_seed(&[1; 32])
}

pub(crate) fn member() -> SiteKey {
    SiteKey::from_seed(&[2; 32])
}

pub(crate) fn artifact() -> Record {
    Record::artifact(None, Payload::of(PAYLOAD))
}

pub(crate) fn key_of(record: &Record) -> ArtifactKey {
    record.id().into()
}

pub(crate) fn genesis() -> Genesis {
    Genesis {
        founder: founder().site_id(),
        name: "north".to_owned(),
        nonce: *b"sixteen byte nce",
        conflict_rule: ConflictRule::Quorum,
        logseq_jump_max: 1 << 20,
    }
}

pub(crate) fn federation() -> FederationId {
    genesis().federation_id()
}

pub(crate) fn admission() -> Admission {
    Admission {
        federation: federation(),
        site: member().site_id(),
        name: "south".to_owned(),
    }
}

pub(crate) fn edge() -> Edge {
    Edge {
        edge_type: "used".to_owned(),
        from: vec![Endpoint::Artifact(derivation().receipt_key())],
        to: vec![Endpoint::Artifact(key_of(&artifact()))],
        role: Role::From,
        attribute: None,
    }
}

pub(crate) fn edge_with_attribute() -> Edge {
    Edge {
        edge_type: "executed-by".to_owned(),
        from: vec![
            Endpoint::Artifact(derivation().receipt_key()),
            Endpoint::Artifact(key_of(&artifact())),
        ],
        to: vec![Endpoint::Site(member().site_id())],
        role: Role::Both,
        attribute: Some(key_of(&artifact())),
    }
}

pub(crate) fn reference() -> RefAssignment {
    RefAssignment {
        namespace: "user".to_owned(),
        name: "data/iris".to_owned(),
        target: key_of(&artifact()),
    }
}

pub(crate) fn program() -> Program {
    let node = |name: &str, op: &str, inputs: Vec<Source>| Node {
        name: name.to_owned(),
        op: op.to_owned(),
        module: None,
        params: Vec::new(),
        inputs,
        each: false,
    };
    let mut count = node("count", "pel.wasm/1", vec![Source::Input(0)]);
    (count.module, count.params, count.each) = (Some(key_of(&artifact())), b"lines".to_vec(), true);
    let inputs = vec!["files".to_owned(), "head".to_owned()];
    let nodes = vec![
        count,
        node(
            "report",
            "pel.bytes.concat/1",
            vec![Source::Input(1), Source::Node(0)],
        ),
    ];
    Program::new(inputs, nodes, vec![("report".to_owned(), Source::Node(1))])
        .expect("a valid program")
}

pub(crate) fn derivation() -> Derivation {
    Derivation {
        program: artifact_key(Some(program::TYPE_TAG), &Payload::of(&program().encode())),
        inputs: vec![
            key_of(&artifact()),
            artifact_key(Some(7), &Payload::of(PAYLOAD)),
        ],
        params: b"p".to_vec(),
        profile: "uor.pel/1".to_owned(),
    }
}

pub(crate) fn outcome() -> Outcome {
    let step = |label: &str| Step {
        label: label.to_owned(),
        receipt: derivation().receipt_key(),
        outcome: Checksum::of(label.as_bytes()),
    };
    Outcome {
        status: Status::Ok,
        outputs: vec![("report".to_owned(), key_of(&artifact()))],
        trace: vec![step("count[a/b.txt]"), step("report")],
    }
}

pub(crate) fn failed() -> Outcome {
    let status = Status::Failed {
        node: "count".to_owned(),
        kind: FailureKind::Explicit(-3),
    };
    Outcome {
        status,
        outputs: Vec::new(),
        trace: Vec::new(),
    }
}

pub(crate) fn tree() -> Tree {
    let entry = |name: &[u8], mode, kind| TreeEntry {
        name: name.to_vec(),
        mode,
        kind,
        attributes: None,
    };
    let key = key_of(&artifact());
    Tree::new(vec![
        entry(
            b"link",
            0o777,
            EntryKind::Symlink {
                target: b"../a".to_vec(),
            },
        ),
        entry(
            b"b.txt",
            0o644,
            EntryKind::File {
                key,
                len: PAYLOAD.len() as u64,
            },
        ),
        entry(b"a", 0o755, EntryKind::Directory { key }),
    ])
    .expect("a valid tree")
}

/// A tree with everything that a snapshot of a file system can hold.
pub(crate) fn tree_with_attributes() -> Tree {
    let attributes = |link| Attributes {
        uid: 1000,
        gid: 1 << 32,
        mtime_s: -1,
        mtime_ns: 999_999_999,
        link,
        xattrs: vec![
            (b"user.a".to_vec(), b"\0".to_vec()),
            (b"user.b".to_vec(), Vec::new()),
        ],
    };
    let entry = |name: &[u8], kind, link| TreeEntry {
        name: name.to_vec(),
        mode: 0o4755,
        kind,
        attributes: Some(Box::new(attributes(link))),
    };
    let key = key_of(&artifact());
    let file = || EntryKind::File {
        key,
        len: PAYLOAD.len() as u64,
    };
    let entries = vec![
        entry(
            b"block",
            EntryKind::BlockDevice { major: 8, minor: 1 },
            None,
        ),
        entry(b"char", EntryKind::CharDevice { major: 1, minor: 3 }, None),
        entry(b"directory", EntryKind::Directory { key }, None),
        entry(b"fifo", EntryKind::Fifo, None),
        entry(b"file", file(), Some([7; 16])),
        entry(b"file again", file(), Some([7; 16])),
        entry(
            b"link",
            EntryKind::Symlink {
                target: b"../a".to_vec(),
            },
            None,
        ),
        entry(b"socket", EntryKind::Socket, None),
    ];
    Tree::with_own(
        Some(Own {
            mode: 0o755,
            attributes: attributes(None),
        }),
        entries,
    )
    .expect("a valid tree")
}

/// One record of every kind but genesis.
pub(crate) fn records() -> Vec<(&'static str, Record)> {
    let gone = artifact_key(None, &Payload::of(b"gone"));
    let disputed = Derivation {
        params: b"other".to_vec(),
        ..derivation()
    }
    .receipt_key();
    vec![
        ("record.artifact", artifact()),
        (
            "record.artifact-tagged",
            Record::artifact(Some(7), Payload::of(PAYLOAD)),
        ),
        (
            "record.receipt",
            Record::receipt(derivation(), Payload::of(&outcome().encode())),
        ),
        ("record.edge", Record::edge(edge())),
        (
            "record.edge-with-attribute",
            Record::edge(edge_with_attribute()),
        ),
        ("record.ref", Record::reference(reference())),
        ("record.admission", Record::admission(admission())),
        ("record.tombstone", Record::tombstone(gone.into())),
        (
            "record.resolution",
            Record::resolution(disputed.into(), Checksum::of(&failed().encode())),
        ),
    ]
}

/// The founder's first commit: the genesis alone.
pub(crate) fn first_commit() -> Commit {
    let draft = Draft {
        number: 1,
        history: History::Previous(CommitHash::NONE),
        logseq: LogSeq(1),
        federation: FederationState::of([]),
        wall_ms: WALL_MS,
        learned: Vec::new(),
        records: vec![Record::genesis(genesis())],
    };
    Commit::seal(draft, &founder()).expect("a valid commit")
}

/// The founder's second commit: two learned membership commits of others, and nine records.
pub(crate) fn second_commit(wall_ms_later: u64) -> Commit {
    let learned = [0xc0, 0xc1]
        .map(|byte| CommitHash::from_bytes([byte; 32]))
        .to_vec();
    let mut known = [&[first_commit().hash()], &learned[..]].concat();
    known.sort();
    let draft = Draft {
        number: 2,
        history: History::Previous(first_commit().hash()),
        logseq: LogSeq(7),
        federation: FederationState::of(&known),
        wall_ms: WALL_MS + wall_ms_later,
        learned,
        records: records().into_iter().map(|(_, record)| record).collect(),
    };
    Commit::seal(draft, &founder()).expect("a valid commit")
}

/// What the founder's third commit names: both before it are of version 1.
pub(crate) fn chain() -> Chain {
    Chain::from_iter([first_commit().hash(), second_commit(0).hash()])
}

/// The founder's third commit, the first of version 2: one learned membership commit and all
/// records.
pub(crate) fn third_commit() -> Commit {
    let learned = vec![CommitHash::from_bytes([0xc2; 32])];
    let mut known = [
        &[first_commit().hash(), second_commit(0).hash()],
        second_commit(0).learned(),
        &learned,
    ]
    .concat();
    known.sort();
    let draft = Draft {
        number: 3,
        history: chain().history(),
        logseq: LogSeq(8),
        federation: FederationState::of(&known),
        wall_ms: WALL_MS + 2,
        learned,
        records: records().into_iter().map(|(_, record)| record).collect(),
    };
    Commit::seal(draft, &founder()).expect("a valid commit")
}

/// The first commit of a domain whose commits are all of version 2.
pub(crate) fn first_commit_of_version_2() -> Commit {
    let draft = Draft {
        number: 1,
        history: Chain::default().history(),
        logseq: LogSeq(1),
        federation: FederationState::of([]),
        wall_ms: WALL_MS,
        learned: Vec::new(),
        records: vec![Record::genesis(genesis())],
    };
    Commit::seal(draft, &founder()).expect("a valid commit")
}

pub(crate) fn fork_proof() -> ForkProof {
    ForkProof::new(
        second_commit(0).header().clone(),
        second_commit(1).header().clone(),
    )
    .expect("a fork")
}

pub(crate) fn snapshot() -> Snapshot {
    let head = Head {
        number: 2,
        hash: second_commit(0).hash(),
    };
    let other = Head {
        number: 1,
        hash: CommitHash::from_bytes([0xc0; 32]),
    };
    let frontier = [(founder().site_id(), head), (member().site_id(), other)]
        .into_iter()
        .collect();
    Snapshot {
        frontier,
        logseq_max: LogSeq(7),
        origin: None,
    }
}

/// A snapshot that an import made.
pub(crate) fn imported() -> Snapshot {
    let origin = Origin {
        name: b"tank/data@monday".to_vec(),
        to_guid: 0x5ccf_0945_79b5_8d82,
        from_guid: 0x44bd_6611_f6e6_78e3,
        creation: 1_795_222_437,
        contents: artifact_key(
            Some(tree::TYPE_TAG),
            &Payload::of(&tree_with_attributes().encode()),
        ),
        state: Some(key_of(&artifact())),
        predecessor: Some(snapshot().id()),
    };
    Snapshot {
        origin: Some(Box::new(origin)),
        ..snapshot()
    }
}

/// A settled artifact with a type tag, and a receipt whose conflict withholds every claim.
pub(crate) fn entries() -> [Entry; 2] {
    let tagged = Record::artifact(Some(7), Payload::of(PAYLOAD));
    let settled = Entry {
        id: tagged.id(),
        kind: Kind::Artifact,
        type_tag: Some(7),
        checksum: Some(tagged.payload().checksum),
        payload_len: tagged.payload().len,
        logseq: LogSeq(7),
        conflict: false,
        domains: 2,
    };
    let withheld = Entry {
        id: derivation().receipt_key().into(),
        kind: Kind::Receipt,
        type_tag: None,
        checksum: None,
        payload_len: 0,
        logseq: LogSeq(8),
        conflict: true,
        domains: 1,
    };
    [settled, withheld]
}

pub(crate) fn state() -> StateHash {
    let mut state = StateHash::default();
    entries().iter().for_each(|entry| state.add(entry));
    state
}

pub(crate) fn ticket() -> Ticket {
    Ticket {
        federation: federation(),
        inviter: founder().site_id(),
        token: *b"sixteen byte tok",
        addresses: vec!["/ip4/127.0.0.1/tcp/4711".to_owned()],
    }
}

pub(crate) fn announcement() -> Announcement {
    let commit = second_commit(0);
    Announcement {
        federation: *federation().as_bytes(),
        domain: *founder().site_id().as_bytes(),
        number: commit.header().number,
        hash: *commit.hash().as_bytes(),
        logseq: commit.header().logseq.0,
        snapshot: *snapshot().id().as_bytes(),
        state_root: *state().root(&snapshot()).as_bytes(),
    }
}

pub(crate) fn position() -> Position {
    let proof = fork_proof();
    Position {
        snapshot: *snapshot().id().as_bytes(),
        logseq_max: 7,
        state_root: *state().root(&snapshot()).as_bytes(),
        forks: fork_set([(proof.domain(), proof.number())].into_iter()),
    }
}

pub(crate) fn heads() -> Vec<WireHead> {
    let head = |(domain, head): (&uor_index_format::id::SiteId, &Head)| WireHead {
        domain: *domain.as_bytes(),
        number: head.number,
        hash: *head.hash.as_bytes(),
    };
    snapshot().frontier.iter().map(head).collect()
}

pub(crate) fn contacts() -> Vec<Contact> {
    vec![Contact {
        site: *founder().site_id().as_bytes(),
        address: "/ip4/127.0.0.1/tcp/4711".to_owned(),
    }]
}
