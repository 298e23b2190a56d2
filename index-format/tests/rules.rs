//! The rules of single structures, each broken once: what keeps a decoder's values valid beyond
//! being canonical.

use uor_index_format::DecodeError;
use uor_index_format::chain::{Chain, History};
use uor_index_format::codec::{Reader, from_hex, hex};
use uor_index_format::commit::{Commit, Draft, RECORDS_MAX, SealError};
use uor_index_format::edge::{Edge, Endpoint, Role};
use uor_index_format::id::{ArtifactKey, CommitHash, FederationState, LogSeq};
use uor_index_format::key::SiteKey;
use uor_index_format::program::Program;
use uor_index_format::receipt::Derivation;
use uor_index_format::record::{Payload, RECORD_LEN_MIN, Record};
use uor_index_format::reference::RefAssignment;
use uor_index_format::snapshot::Snapshot;
use uor_index_format::tree::Tree;
use uor_index_format::wire::{
    ANNOUNCEMENT_LEN_MAX, Announcement, FrameError, PROTOCOL_VERSION, Refusal, Response,
};

fn decode_record(bytes: &[u8]) -> Result<Record, DecodeError> {
    let mut reader = Reader::new(bytes);
    let record = Record::decode(&mut reader)?;
    reader.finish("record")?;
    Ok(record)
}

/// Records, by kind, of the golden vectors.
fn golden_records() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let lines = include_str!("golden.txt")
        .lines()
        .filter_map(|line| line.strip_prefix("record."));
    lines
        .filter_map(|line| line.split_once(" = "))
        .map(|(kind, value)| (kind, from_hex(value).expect("hexadecimal")))
}

/// Only tombstones and resolutions, which speak about another record, may stand on any id.
#[test]
fn an_id_follows_from_the_content() {
    for (kind, mut bytes) in golden_records() {
        bytes[31] ^= 1;
        assert_eq!(
            decode_record(&bytes).is_ok(),
            matches!(kind, "tombstone" | "resolution"),
            "{kind}"
        );
    }
}

#[test]
fn kinds_without_a_body_have_none() {
    let bodiless = ["artifact", "artifact-tagged", "tombstone", "resolution"];
    for (kind, mut bytes) in golden_records().filter(|(kind, _)| bodiless.contains(kind)) {
        bytes[RECORD_LEN_MIN - 4] = 1;
        bytes.push(0);
        assert!(decode_record(&bytes).is_err(), "{kind}");
    }
}

/// A golden vector with `from` replaced by `to`, everywhere.
fn bent(name: &str, from: &[u8], to: &[u8]) -> Vec<u8> {
    let line = include_str!("golden.txt")
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
    let text = line.expect("a golden vector");
    let bent = text.replace(&hex(from), &hex(to));
    assert_ne!(bent, text, "{name} does not hold what is replaced");
    from_hex(&bent).expect("hexadecimal")
}

#[test]
fn frontiers_ascend_and_count_from_one() {
    let site = |seed| *SiteKey::from_seed(&[seed; 32]).site_id().as_bytes();
    assert!(
        Snapshot::decode(&bent("snapshot", &site(2), &[0; 32])).is_ok(),
        "another domain"
    );
    assert!(
        Snapshot::decode(&bent("snapshot", &site(2), &site(1))).is_err(),
        "one domain twice"
    );
    assert!(
        Snapshot::decode(&bent("snapshot", &site(2), &[0xff; 32])).is_err(),
        "descending"
    );
    let number = |number: u8| [&[number][..], &[0; 7], &[0xc0]].concat();
    assert!(Snapshot::decode(&bent("snapshot", &number(1), &number(9))).is_ok());
    assert!(
        Snapshot::decode(&bent("snapshot", &number(1), &number(0))).is_err(),
        "a domain without commits"
    );
}

#[test]
fn trees_hold_names_and_modes_to_the_rules() {
    let name = |name: &[u8]| [&name.len().to_le_bytes()[..4], name].concat();
    assert!(Tree::decode(&bent("tree", &name(b"b.txt"), &name(b"c"))).is_ok());
    for wrong in [
        &b""[..],
        b".",
        b"..",
        b"b/c",
        b"b\0",
        b"a",
        b"link",
        b"z",
        &[b'b'; 256],
    ] {
        assert!(
            Tree::decode(&bent("tree", &name(b"b.txt"), &name(wrong))).is_err(),
            "{}",
            wrong.escape_ascii()
        );
    }
    let mode = |mode: u32| [b"b.txt", &mode.to_le_bytes()[..]].concat();
    assert!(Tree::decode(&bent("tree", &mode(0o644), &mode(0o7777))).is_ok());
    assert!(Tree::decode(&bent("tree", &mode(0o644), &mode(0o10644))).is_err());
}

/// The second and last node of the golden program reads the first; it may read neither itself nor
/// what is not there.
#[test]
fn programs_read_only_what_stands_before() {
    let source = |kind: u8, index: u8| [2, 0, 0, 0, 0, 1, 0, 0, 0, kind, index, 0, 0, 0];
    assert!(Program::decode(&bent("program", &source(1, 0), &source(0, 0))).is_ok());
    for (kind, index) in [(1, 1), (1, 2), (0, 2), (2, 0)] {
        assert!(
            Program::decode(&bent("program", &source(1, 0), &source(kind, index))).is_err(),
            "{kind} {index}"
        );
    }
    assert!(
        Program::decode(&bent("program", b"head", b"he[d")).is_err(),
        "a bracket in a name"
    );
    assert!(
        Program::decode(&bent("program", b"\x05\0\0\0files", b"\x04\0\0\0head")).is_err(),
        "a name twice"
    );
}

#[test]
fn frames_of_another_protocol_version_are_refused() {
    let frame = Response::Refused {
        reason: Refusal::NotHere,
    }
    .encode();
    assert!(Response::decode(&frame).is_ok());
    let other = [&[PROTOCOL_VERSION + 1], &frame[1..]].concat();
    assert_eq!(
        Response::decode(&other),
        Err(FrameError::Version {
            found: PROTOCOL_VERSION + 1
        })
    );
    let long = vec![PROTOCOL_VERSION; ANNOUNCEMENT_LEN_MAX + 1];
    let (len, max) = (ANNOUNCEMENT_LEN_MAX + 1, ANNOUNCEMENT_LEN_MAX);
    assert_eq!(
        Announcement::decode(&long),
        Err(FrameError::TooLong { len, max })
    );
}

fn draft(records: Vec<Record>) -> Draft {
    Draft {
        number: 1,
        history: History::Previous(CommitHash::NONE),
        logseq: LogSeq(1),
        federation: FederationState::of([]),
        wall_ms: 0,
        learned: Vec::new(),
        records,
    }
}

/// A writer cannot sign what no reader would accept.
#[test]
fn what_is_sealed_can_be_read() {
    let key = SiteKey::from_seed(&[9; 32]);
    let seal = |draft: Draft| Commit::seal(draft, &key);
    let fine = || Record::artifact(None, Payload::of(b"fine"));
    assert!(seal(draft(vec![fine()])).is_ok());
    assert!(matches!(
        seal(draft(vec![])),
        Err(SealError::RecordCount { count: 0, .. })
    ));
    assert!(matches!(
        seal(draft(vec![fine(), fine()])),
        Err(SealError::DuplicateId { .. })
    ));
    let many = (0..=u64::from(RECORDS_MAX))
        .map(|at| Record::artifact(None, Payload::of(&at.to_le_bytes())))
        .collect();
    assert!(matches!(
        seal(draft(many)),
        Err(SealError::RecordCount { .. })
    ));
    let learned = (0..4097u32)
        .map(|at| CommitHash::from_bytes(blake3::hash(&at.to_le_bytes()).into()))
        .collect();
    assert!(matches!(
        seal(Draft {
            learned,
            ..draft(vec![fine()])
        }),
        Err(SealError::LearnedCount { count: 4097, .. })
    ));

    let placed = |number, history, logseq| Draft {
        number,
        history,
        logseq,
        ..draft(vec![fine()])
    };
    let hash = CommitHash::from_bytes([1; 32]);
    let chain = Chain::from_iter([hash]);
    for (nothing, before) in [
        (History::Previous(CommitHash::NONE), History::Previous(hash)),
        (Chain::default().history(), chain.history()),
    ] {
        for draft in [
            placed(0, nothing, LogSeq(1)),
            placed(1, before, LogSeq(1)),
            placed(2, nothing, LogSeq(1)),
            placed(1, nothing, LogSeq(0)),
        ] {
            assert!(matches!(seal(draft), Err(SealError::Header { .. })));
        }
        for draft in [placed(1, nothing, LogSeq(1)), placed(2, before, LogSeq(1))] {
            assert!(seal(draft).is_ok());
        }
    }

    let key = ArtifactKey::from_bytes([3; 32]);
    let endpoint = Endpoint::Artifact(key);
    let edge = |edge_type: &str, from| Edge {
        edge_type: edge_type.to_owned(),
        from,
        to: vec![endpoint],
        role: Role::Both,
        attribute: None,
    };
    let reference = |name: String| RefAssignment {
        namespace: "user".to_owned(),
        name,
        target: key,
    };
    let derivation = |profile: String| Derivation {
        program: key,
        inputs: Vec::new(),
        params: Vec::new(),
        profile,
    };
    for record in [
        Record::edge(edge("", vec![endpoint])),
        Record::edge(edge("used", Vec::new())),
        Record::reference(reference("n".repeat(1025))),
        Record::receipt(derivation("p".repeat(256)), Payload::of(b"")),
    ] {
        assert!(matches!(
            seal(draft(vec![record])),
            Err(SealError::Record { .. })
        ));
    }
}
