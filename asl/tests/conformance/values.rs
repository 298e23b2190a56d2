//! Single structures: records, payloads with a meaning, tickets and proofs, and bytes that have to
//! be refused.

use std::ops::Range;

use serde_json::{Value, json};
use uor_index_format::chain::{Chain, History};
use uor_index_format::codec::{Reader, Writer, from_hex, hex};
use uor_index_format::commit::{Commit, ForkProof, field};
use uor_index_format::edge::{Edge, Endpoint, Role};
use uor_index_format::id::{ArtifactKey, Checksum, CommitHash, LogSeq, context};
use uor_index_format::membership::{Admission, ConflictRule};
use uor_index_format::program::{Node, Program, Source};
use uor_index_format::receipt::{Derivation, FailureKind, Outcome, Status, Step};
use uor_index_format::record::{Content, Payload, Record};
use uor_index_format::reference::{NAMESPACE_USER, RefAssignment};
use uor_index_format::snapshot::{Head, Origin, Snapshot};
use uor_index_format::ticket::Ticket;
use uor_index_format::tree::{Attributes, EntryKind, Own, Tree, TreeEntry};

use super::world::{World, id};

pub(crate) fn all() -> Value {
    let mut values = records();
    values.extend(trees());
    values.extend(runs());
    values.extend(snapshots());
    values.extend([ticket(), fork_proof()]);
    values.extend(commits());
    json!({
        "about": "Single structures, each as bytes and taken apart; then bytes that have to be refused. Bytes are hexadecimal.",
        "values": values,
        "refused": refused().into_iter().chain(commits_refused()).collect::<Vec<_>>(),
    })
}

fn key(byte: u8) -> ArtifactKey {
    ArtifactKey::from_bytes([byte; 32])
}

fn keys(keys: &[ArtifactKey]) -> Vec<String> {
    keys.iter().map(ToString::to_string).collect()
}

fn value(structure: &str, about: &str, bytes: &[u8], decoded: Value) -> Value {
    json!({ "structure": structure, "about": about, "hex": hex(bytes), "decoded": decoded })
}

fn derivation() -> Derivation {
    Derivation {
        program: key(1),
        inputs: vec![key(3), key(2)],
        params: b"p".to_vec(),
        profile: "uor.pel/1".to_owned(),
    }
}

fn edge() -> Edge {
    Edge {
        edge_type: "used".to_owned(),
        from: vec![Endpoint::Artifact(key(1)), Endpoint::Site(id(2))],
        to: vec![Endpoint::Artifact(key(2))],
        role: Role::To,
        attribute: Some(key(9)),
    }
}

fn record_bytes(record: &Record) -> Vec<u8> {
    let mut writer = Writer::new();
    record.encode(&mut writer);
    writer.into_bytes()
}

fn records() -> Vec<Value> {
    let world = World::new(ConflictRule::Manual);
    let payload = Payload::of(b"hello, federation\n");
    let name = RefAssignment {
        namespace: NAMESPACE_USER.to_owned(),
        name: "data/iris".to_owned(),
        target: key(4),
    };
    let federation = world.genesis.federation_id();
    let admission = Admission {
        federation,
        site: id(2),
        name: "Süd".to_owned(),
    };
    let records = [
        ("no type tag", Record::artifact(None, payload)),
        (
            "type tag 0, which is not none",
            Record::artifact(Some(0), payload),
        ),
        (
            "the highest type tag, no bytes",
            Record::artifact(Some(u32::MAX), Payload::of(b"")),
        ),
        ("a receipt", Record::receipt(derivation(), payload)),
        ("an edge with an attribute", Record::edge(edge())),
        (
            "an edge without",
            Record::edge(Edge {
                attribute: None,
                role: Role::Both,
                ..edge()
            }),
        ),
        ("a ref", Record::reference(name)),
        ("a genesis", Record::genesis(world.genesis)),
        ("an admission", Record::admission(admission)),
        ("a tombstone", Record::tombstone(key(5).into())),
        (
            "a resolution",
            Record::resolution(key(5).into(), Checksum::of(b"kept")),
        ),
    ];
    let shown = |(about, record): &(&str, Record)| {
        value("record", about, &record_bytes(record), of_record(record))
    };
    records.iter().map(shown).collect()
}

fn of_record(record: &Record) -> Value {
    let payload = record.payload();
    json!({
        "id": record.id().to_string(),
        "kind": record.kind().name(),
        "type_tag": record.type_tag(),
        "payload_len": payload.len,
        "checksum": payload.checksum.to_string(),
        "body": of_content(record.content()),
    })
}

fn of_content(content: &Content) -> Value {
    let endpoint = |endpoint: &Endpoint| match endpoint {
        Endpoint::Artifact(key) => json!({ "artifact": key.to_string() }),
        Endpoint::Site(site) => json!({ "site": site.to_string() }),
    };
    match content {
        Content::Tombstone | Content::Resolution { .. } | Content::Artifact { .. } => Value::Null,
        Content::Receipt { derivation, .. } => json!({
            "program": derivation.program.to_string(), "inputs": keys(&derivation.inputs),
            "params": hex(&derivation.params), "profile": derivation.profile,
        }),
        Content::Edge(edge) => json!({
            "type": edge.edge_type,
            "from": edge.from.iter().map(endpoint).collect::<Vec<_>>(),
            "to": edge.to.iter().map(endpoint).collect::<Vec<_>>(),
            "role": edge.role as u8,
            "attribute": edge.attribute.map(|key| key.to_string()),
        }),
        Content::Ref(assignment) => json!({
            "namespace": assignment.namespace, "name": assignment.name, "target": assignment.target.to_string(),
        }),
        Content::Genesis(genesis) => json!({
            "founder": genesis.founder.to_string(), "name": genesis.name, "nonce": hex(&genesis.nonce),
            "conflict_rule": genesis.conflict_rule as u8, "logseq_jump_max": genesis.logseq_jump_max,
        }),
        Content::Admission(admission) => json!({
            "federation": admission.federation.to_string(), "site": admission.site.to_string(), "name": admission.name,
        }),
    }
}

fn entry(name: &[u8], mode: u32, kind: EntryKind, attributes: Option<Attributes>) -> TreeEntry {
    TreeEntry {
        name: name.to_vec(),
        mode,
        kind,
        attributes: attributes.map(Box::new),
    }
}

fn attributes(link: Option<[u8; 16]>) -> Attributes {
    let xattrs = vec![
        (b"user.a".to_vec(), b"\0".to_vec()),
        (b"user.b".to_vec(), Vec::new()),
    ];
    Attributes {
        uid: 1000,
        gid: 1 << 32,
        mtime_s: -1,
        mtime_ns: 999_999_999,
        link,
        xattrs,
    }
}

fn plain_tree() -> Tree {
    let kinds = vec![
        entry(b"a", 0o755, EntryKind::Directory { key: key(1) }, None),
        entry(
            b"\xff",
            0o644,
            EntryKind::File {
                key: key(2),
                len: 18,
            },
            None,
        ),
        entry(
            b"link",
            0o777,
            EntryKind::Symlink {
                target: b"../a".to_vec(),
            },
            None,
        ),
    ];
    Tree::new(kinds).unwrap()
}

fn trees() -> Vec<Value> {
    let with = |kind, name: &[u8], link| entry(name, 0o4755, kind, Some(attributes(link)));
    let file = || EntryKind::File {
        key: key(2),
        len: 18,
    };
    let full = vec![
        with(
            EntryKind::BlockDevice { major: 8, minor: 1 },
            b"block",
            None,
        ),
        with(EntryKind::CharDevice { major: 1, minor: 3 }, b"char", None),
        with(EntryKind::Directory { key: key(1) }, b"directory", None),
        with(EntryKind::Fifo, b"fifo", None),
        with(file(), b"file", Some([7; 16])),
        with(file(), b"file again", Some([7; 16])),
        with(
            EntryKind::Symlink {
                target: b"../a".to_vec(),
            },
            b"link",
            None,
        ),
        with(EntryKind::Socket, b"socket", None),
    ];
    let own = Some(Own {
        mode: 0o755,
        attributes: attributes(None),
    });
    let trees = [
        ("version 1: nothing in it", Tree::default()),
        ("version 1", plain_tree()),
        (
            "version 2: what snapshots of file systems hold",
            Tree::with_own(own.clone(), full.clone()).unwrap(),
        ),
        (
            "version 2: of the directory itself nothing is known",
            Tree::with_own(None, full).unwrap(),
        ),
        (
            "version 2: nothing in it but mode and attributes of its own",
            Tree::with_own(own, vec![]).unwrap(),
        ),
    ];
    trees
        .iter()
        .map(|(about, tree)| value("tree", about, &tree.encode(), of_tree(tree)))
        .collect()
}

fn of_tree(tree: &Tree) -> Value {
    let entries = tree.entries().iter().map(|entry| {
        let mut shown =
            json!({ "name": hex(&entry.name), "mode": entry.mode, "kind": of_kind(&entry.kind) });
        if let Some(attributes) = &entry.attributes {
            shown["attributes"] = of_attributes(attributes);
        }
        shown
    });
    json!({
        "own": tree.own().map(|own| json!({ "mode": own.mode, "attributes": of_attributes(&own.attributes) })),
        "entries": entries.collect::<Vec<_>>(),
    })
}

fn of_kind(kind: &EntryKind) -> Value {
    match kind {
        EntryKind::File { key, len } => json!({ "file": key.to_string(), "len": len }),
        EntryKind::Directory { key } => json!({ "directory": key.to_string() }),
        EntryKind::Symlink { target } => json!({ "symlink": hex(target) }),
        EntryKind::Fifo => "fifo".into(),
        EntryKind::Socket => "socket".into(),
        EntryKind::CharDevice { major, minor } => json!({ "char_device": [major, minor] }),
        EntryKind::BlockDevice { major, minor } => json!({ "block_device": [major, minor] }),
    }
}

fn of_attributes(attributes: &Attributes) -> Value {
    json!({
        "uid": attributes.uid, "gid": attributes.gid, "mtime_s": attributes.mtime_s, "mtime_ns": attributes.mtime_ns,
        "link": attributes.link.map(|link| hex(&link)),
        "xattrs": attributes.xattrs.iter().map(|(name, value)| json!([hex(name), hex(value)])).collect::<Vec<_>>(),
    })
}

fn runs() -> Vec<Value> {
    let node = |name: &str, op: &str, inputs| Node {
        name: name.to_owned(),
        op: op.to_owned(),
        module: None,
        params: vec![],
        inputs,
        each: false,
    };
    let mut count = node("count", "pel.wasm/1", vec![Source::Input(0)]);
    (count.module, count.params, count.each) = (Some(key(6)), b"lines".to_vec(), true);
    let report = node(
        "report",
        "pel.bytes.concat/1",
        vec![Source::Input(1), Source::Node(0)],
    );
    let outputs = vec![
        ("report".to_owned(), Source::Node(1)),
        ("same".to_owned(), Source::Input(1)),
    ];
    let program = Program::new(
        vec!["files".to_owned(), "head".to_owned()],
        vec![count, report],
        outputs,
    )
    .unwrap();
    let step = Step {
        label: "count[a/b.txt]".to_owned(),
        receipt: key(7),
        outcome: Checksum::of(b"step"),
    };
    let done = Outcome {
        status: Status::Ok,
        outputs: vec![("report".to_owned(), key(8))],
        trace: vec![step],
    };
    let failed = |kind| Outcome {
        status: Status::Failed {
            node: "count".to_owned(),
            kind,
        },
        outputs: vec![],
        trace: vec![],
    };
    let trap = failed(FailureKind::DivisionByZero);
    let explicit = failed(FailureKind::Explicit(-3));
    vec![
        value(
            "program",
            "a module mapped over a tree, and what joins its outputs",
            &program.encode(),
            of_program(&program),
        ),
        value(
            "derivation",
            "two inputs, in the program's order",
            &derivation().encode(),
            json!({
                "key": derivation().receipt_key().to_string(),
                "body": of_content(&Content::Receipt { derivation: derivation(), payload: Payload::of(b"") }),
            }),
        ),
        value(
            "outcome",
            "of a run with one step",
            &done.encode(),
            of_outcome(&done),
        ),
        value("outcome", "of a trap", &trap.encode(), of_outcome(&trap)),
        value(
            "outcome",
            "of a failure that the guest meant",
            &explicit.encode(),
            of_outcome(&explicit),
        ),
    ]
}

fn of_program(program: &Program) -> Value {
    let source = |source: &Source| match source {
        Source::Input(index) => json!({ "input": index }),
        Source::Node(index) => json!({ "node": index }),
    };
    let nodes = program.nodes().iter().map(|node| {
        json!({
            "name": node.name, "op": node.op, "module": node.module.map(|key| key.to_string()), "params": hex(&node.params),
            "each": node.each, "sources": node.inputs.iter().map(source).collect::<Vec<_>>(),
        })
    });
    let outputs = program
        .outputs()
        .iter()
        .map(|(name, from)| json!({ "name": name, "source": source(from) }));
    json!({ "inputs": program.inputs(), "nodes": nodes.collect::<Vec<_>>(), "outputs": outputs.collect::<Vec<_>>() })
}

fn of_outcome(outcome: &Outcome) -> Value {
    let status = match &outcome.status {
        Status::Ok => Value::Null,
        Status::Failed { node, kind } => {
            let code = if let FailureKind::Explicit(code) = kind {
                *code
            } else {
                0
            };
            json!({ "node": node, "kind": kind.name(), "code": code })
        }
    };
    let step = |step: &Step| json!({ "label": step.label, "receipt": step.receipt.to_string(), "outcome": step.outcome.to_string() });
    json!({
        "failure": status,
        "outputs": outcome.outputs.iter().map(|(name, key)| json!([name, key.to_string()])).collect::<Vec<_>>(),
        "steps": outcome.trace.iter().map(step).collect::<Vec<_>>(),
    })
}

fn snapshots() -> Vec<Value> {
    let (_, commits) = World::founded(ConflictRule::First, 1);
    let frontier = [(
        id(1),
        Head {
            number: 2,
            hash: commits[1].hash(),
        },
    )]
    .into();
    let plain = Snapshot {
        frontier,
        logseq_max: LogSeq(7),
        origin: None,
    };
    let origin = Origin {
        name: b"tank/data@monday".to_vec(),
        to_guid: 1,
        from_guid: 0,
        creation: 1_772_000_000,
        contents: key(1),
        state: Some(key(2)),
        predecessor: None,
    };
    let imported = Snapshot {
        origin: Some(Box::new(origin)),
        ..plain.clone()
    };
    let none = Snapshot::default();
    let shown = |about, snapshot: &Snapshot| {
        value("snapshot", about, &snapshot.encode(), of_snapshot(snapshot))
    };
    vec![
        shown("version 1", &plain),
        shown("version 1: nothing", &none),
        shown("version 2: an import", &imported),
    ]
}

fn of_snapshot(snapshot: &Snapshot) -> Value {
    let frontier = snapshot.frontier.iter().map(
        |(domain, head)| json!({ "domain": domain.to_string(), "number": head.number, "hash": head.hash.to_string() }),
    );
    json!({
        "id": snapshot.id().to_string(),
        "logseq_max": snapshot.logseq_max.0,
        "frontier": frontier.collect::<Vec<_>>(),
        "origin": snapshot.origin.as_ref().map(|origin| json!({
            "name": hex(&origin.name), "to_guid": origin.to_guid, "from_guid": origin.from_guid,
            "creation": origin.creation, "contents": origin.contents.to_string(),
            "state": origin.state.map(|key| key.to_string()), "predecessor": origin.predecessor.map(|key| key.to_string()),
        })),
    })
}

fn ticket() -> Value {
    let ticket = Ticket {
        federation: World::new(ConflictRule::First).genesis.federation_id(),
        inviter: id(1),
        token: *b"sixteen byte tok",
        addresses: vec![
            "/ip4/127.0.0.1/tcp/4711".to_owned(),
            "/dns/uor.example/udp/4711/quic-v1".to_owned(),
        ],
    };
    json!({ "structure": "ticket", "about": "two addresses", "text": ticket.to_text(), "decoded": {
        "federation": ticket.federation.to_string(), "inviter": ticket.inviter.to_string(), "token": hex(&ticket.token),
        "addresses": ticket.addresses, "token_digest": Ticket::token_digest(&ticket.token).to_string(),
    }})
}

fn fork_proof() -> Value {
    let (world, _) = World::founded(ConflictRule::First, 1);
    let sealed = |text: &str| {
        let records = vec![Record::artifact(None, Payload::of(text.as_bytes()))];
        Commit::seal(world.draft(2, 10, records), &super::world::key(2)).unwrap()
    };
    let (one, other) = (sealed("one"), sealed("other"));
    let proof = ForkProof::new(one.header().clone(), other.header().clone()).unwrap();
    value(
        "fork proof",
        "of two first commits",
        &proof.encode(),
        json!({
            "domain": proof.domain().to_string(), "number": proof.number(),
            "hashes": proof.hashes().map(|hash| hash.to_string()),
        }),
    )
}

/// Bytes that no decoder may accept.
fn refused() -> Vec<Value> {
    let artifact = record_bytes(&Record::artifact(Some(7), Payload::of(b"x")));
    let edge = record_bytes(&Record::edge(edge()));
    let tree = plain_tree().encode();
    let outcome = Outcome {
        status: Status::Ok,
        outputs: vec![],
        trace: vec![],
    }
    .encode();
    let changed = |bytes: &[u8], at: usize, byte: u8| {
        let mut bytes = bytes.to_vec();
        bytes[at] = byte;
        bytes
    };
    let cases: Vec<(&str, &str, Vec<u8>)> = vec![
        (
            "record",
            "its id does not follow from its content",
            changed(&artifact, 0, artifact[0] ^ 1),
        ),
        ("record", "an unknown kind", changed(&artifact, 32, 8)),
        ("record", "an unknown flag", changed(&artifact, 33, 3)),
        (
            "record",
            "reserved bytes that are not zero",
            changed(&artifact, 34, 1),
        ),
        (
            "record",
            "a tag, and no flag that says so",
            changed(&artifact, 33, 0),
        ),
        (
            "record",
            "a body where this kind has none",
            [changed(&artifact, 80, 1), vec![0]].concat(),
        ),
        (
            "record",
            "the checksum is not the body's",
            changed(&edge, 48, edge[48] ^ 1),
        ),
        (
            "record",
            "an edge whose role is unknown",
            changed(&edge, edge.len() - 34, 3),
        ),
        ("record", "cut by a byte", edge[..edge.len() - 1].to_vec()),
        ("tree", "version 0", changed(&tree, 4, 0)),
        ("tree", "a version to come", changed(&tree, 4, 3)),
        ("tree", "another magic", changed(&tree, 3, b'U')),
        ("tree", "names that do not ascend", changed(&tree, 14, b'z')),
        ("tree", "a name with a slash", changed(&tree, 14, b'/')),
        (
            "tree",
            "a mode of more than twelve bits",
            changed(&tree, 16, 0x10),
        ),
        ("tree", "a byte too many", [tree.clone(), vec![0]].concat()),
        (
            "outcome",
            "an unknown kind of failure",
            changed(&outcome, 6, 10),
        ),
        (
            "outcome",
            "a count beyond its limit",
            changed(&outcome, 10, 0xff),
        ),
        (
            "outcome",
            "the magic of a removal",
            changed(&outcome, 3, b'M'),
        ),
    ];
    let shown = |(structure, about, bytes): (&str, &str, Vec<u8>)| {
        let is_refused = match structure {
            "record" => {
                let mut reader = Reader::new(&bytes);
                Record::decode(&mut reader)
                    .and_then(|_| reader.finish("record"))
                    .is_err()
            }
            "tree" => Tree::decode(&bytes).is_err(),
            _ => Outcome::decode(&bytes).is_err(),
        };
        assert!(is_refused, "{structure}: {about}");
        json!({ "structure": structure, "about": about, "hex": hex(&bytes) })
    };
    cases.into_iter().map(shown).collect()
}

/// The first commit of site 2: two records, three membership commits.
fn commit() -> Commit {
    let (world, _) = World::founded(ConflictRule::First, 2);
    let records = vec![
        Record::artifact(None, Payload::of(b"one")),
        Record::artifact(None, Payload::of(b"two")),
    ];
    Commit::seal(world.draft(2, 10, records), &super::world::key(2)).unwrap()
}

fn commits() -> Vec<Value> {
    let rooted = rooted_commit();
    vec![
        value(
            "commit",
            "two records, three membership commits",
            commit().as_bytes(),
            of_commit(&commit()),
        ),
        value(
            "commit",
            "version 2, behind two commits of version 1; seven records",
            rooted.as_bytes(),
            of_commit(&rooted),
        ),
        record_proof(&rooted),
    ]
}

/// That the fifth record of a commit is in it: header, fixed part, and what leads from one to the
/// other.
fn record_proof(commit: &Commit) -> Value {
    let record = commit.record_headers().nth(4).unwrap();
    let proof = commit.prove_record(&record.id).unwrap();
    let header = &commit.as_bytes()[..field::HEADER_LEN];
    value(
        "record proof",
        "the fifth of seven records",
        &[
            header,
            &record.encode(),
            &proof.index.to_le_bytes(),
            proof.body.as_bytes(),
            proof.path.as_flattened(),
        ]
        .concat(),
        json!({
            "commit": commit.hash().to_string(), "id": record.id.to_string(), "index": proof.index,
        }),
    )
}

fn of_commit(commit: &Commit) -> Value {
    let header = commit.header();
    json!({
        "hash": commit.hash().to_string(),
        "domain": header.domain.to_string(), "number": header.number, "version": match header.history { History::Previous(_) => 1, History::Root(_) => 2 },
        "history": hex(header.history.as_bytes()),
        "logseq": header.logseq.0, "federation": header.federation.to_string(), "wall_ms": header.wall_ms,
        "learned": commit.learned().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "records": commit.records().iter().map(of_record).collect::<Vec<_>>(),
    })
}

/// Commits that are wrong in one thing only: where it does not concern the signature, they are
/// signed by their domain.
fn commits_refused() -> Vec<Value> {
    let learned_at =
        |index: usize| field::HEADER_LEN + index * 32..field::HEADER_LEN + (index + 1) * 32;
    let records_at = field::HEADER_LEN + 3 * 32;
    let swapped = |bytes: &mut Vec<u8>, first: Range<usize>, second: Range<usize>| {
        let moved = bytes[first.clone()].to_vec();
        bytes.copy_within(second.clone(), first.start);
        bytes[second].copy_from_slice(&moved);
    };
    let cases: [(&str, Vec<u8>); 16] = [
        (
            "learned commits that do not ascend",
            resigned(|bytes| swapped(bytes, learned_at(0), learned_at(1))),
        ),
        (
            "a learned commit twice",
            resigned(|bytes| bytes.copy_within(learned_at(0), learned_at(1).start)),
        ),
        (
            "records that do not ascend",
            resigned(|bytes| {
                swapped(
                    bytes,
                    records_at..records_at + 84,
                    records_at + 84..records_at + 168,
                )
            }),
        ),
        (
            "a record twice",
            resigned(|bytes| bytes.copy_within(records_at..records_at + 84, records_at + 84)),
        ),
        ("a byte behind the records", resigned(|bytes| bytes.push(0))),
        (
            "no record",
            resigned(|bytes| {
                bytes.truncate(records_at);
                bytes[field::RECORD_COUNT].fill(0);
            }),
        ),
        (
            "fewer records than there are",
            resigned(|bytes| bytes[field::RECORD_COUNT.start] = 1),
        ),
        ("logseq 0", resigned(|bytes| bytes[field::LOGSEQ].fill(0))),
        ("number 0", resigned(|bytes| bytes[field::NUMBER].fill(0))),
        (
            "number 2, and none before it",
            resigned(|bytes| bytes[field::NUMBER.start] = 2),
        ),
        (
            "reserved bytes that are not zero",
            resigned(|bytes| bytes[field::RESERVED_2.start] = 1),
        ),
        (
            "version 2 with the content of version 1",
            resigned(|bytes| bytes[field::VERSION.start] = 2),
        ),
        (
            "version 2, number 1, and zero as the history",
            resigned_as(rooted_commit(), |header| {
                header[field::NUMBER].copy_from_slice(&1_u64.to_le_bytes());
                header[field::HISTORY].fill(0);
            }),
        ),
        (
            "version 2, number 3, and the history of no commits",
            resigned_as(rooted_commit(), |header| {
                header[field::HISTORY].copy_from_slice(Chain::default().root().as_bytes());
            }),
        ),
        ("a signature whose S is not reduced", unreduced()),
        (
            "a domain of small order, whose signature holds for any message",
            small_order(),
        ),
    ];
    let shown = |(about, bytes): (&str, Vec<u8>)| {
        assert!(Commit::decode(&bytes).is_err(), "commit: {about}");
        json!({ "structure": "commit", "about": about, "hex": hex(&bytes) })
    };
    cases.into_iter().map(shown).collect()
}

/// The third commit of site 1, which is its first of version 2: seven records.
fn rooted_commit() -> Commit {
    let (mut world, _) = World::founded(ConflictRule::First, 2);
    world.version = 2;
    let records = (0..7_u8).map(|byte| Record::artifact(None, Payload::of(&[byte])));
    Commit::seal(world.draft(1, 10, records.collect()), &super::world::key(1)).unwrap()
}

/// The commit with a change of its header alone, signed again.
fn resigned_as(commit: Commit, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut bytes = commit.as_bytes().to_vec();
    let (header, _) = bytes.split_at_mut(field::HEADER_LEN);
    change(header);
    let hash = blake3::derive_key(context::COMMIT.text(), &header[..field::SIGNATURE.start]);
    let signature = super::world::key(1).sign(&CommitHash::from_bytes(hash));
    header[field::SIGNATURE].copy_from_slice(&signature);
    bytes
}

/// The commit with a change, its length, checksum and signature made to fit.
fn resigned(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = commit().as_bytes().to_vec();
    change(&mut bytes);
    let (header, body) = bytes.split_at_mut(field::HEADER_LEN);
    header[field::BODY_LEN].copy_from_slice(&u32::try_from(body.len()).unwrap().to_le_bytes());
    header[field::CONTENT].copy_from_slice(blake3::hash(body).as_bytes());
    let hash = blake3::derive_key(context::COMMIT.text(), &header[..field::SIGNATURE.start]);
    let signature = super::world::key(2).sign(&CommitHash::from_bytes(hash));
    header[field::SIGNATURE].copy_from_slice(&signature);
    bytes
}

/// The order of the group is added to S: the equation of the signature holds as before.
fn unreduced() -> Vec<u8> {
    let order =
        from_hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
    let mut bytes = commit().as_bytes().to_vec();
    let mut carry = 0;
    for (byte, more) in bytes[field::SIGNATURE][32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
    bytes
}

/// The domain is the neutral point, so R = [S]B is all that the equation asks for; S is 1.
fn small_order() -> Vec<u8> {
    let mut bytes = commit().as_bytes().to_vec();
    let (mut neutral, mut base, mut one) = ([0; 32], [0x66; 32], [0; 32]);
    (neutral[0], base[0], one[0]) = (1, 0x58, 1);
    bytes[field::DOMAIN].copy_from_slice(&neutral);
    bytes[field::SIGNATURE][..32].copy_from_slice(&base);
    bytes[field::SIGNATURE][32..].copy_from_slice(&one);
    bytes
}
