//! What every decoder promises, whatever it is given: no panic, no allocation out of proportion,
//! and nothing accepted that would be encoded differently.

#[path = "decoders/allocation.rs"]
mod allocation;
#[path = "rfc9162/mod.rs"]
mod rfc9162;
#[path = "decoders/strategies.rs"]
mod strategies;

use std::collections::BTreeMap;
use std::fmt::Debug;

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use strategies::{damage, damaged};
use uor_index_format::DecodeError;
use uor_index_format::chain::{Chain, History};
use uor_index_format::codec::{Reader, Writer, from_hex, hex};
use uor_index_format::commit::{Commit, CommitHeader, Draft, ForkProof, field};
use uor_index_format::edge::Edge;
use uor_index_format::id::{CommitHash, FederationState, LogSeq, context};
use uor_index_format::key::SiteKey;
use uor_index_format::membership::{Admission, Genesis};
use uor_index_format::program::{Node, Program, Source};
use uor_index_format::receipt::{Derivation, Outcome};
use uor_index_format::record::{Payload, Record};
use uor_index_format::reference::RefAssignment;
use uor_index_format::snapshot::Snapshot;
use uor_index_format::ticket::{Ticket, TicketError};
use uor_index_format::tree::Tree;
use uor_index_format::wire::{Announcement, Request, Response};

/// Decodes, and encodes again what was accepted.
type Again = fn(&[u8]) -> Option<Vec<u8>>;

macro_rules! again {
    ($($name:ident)*) => { [$((stringify!($name), (|bytes| $name::decode(bytes).ok().map(|value| value.encode())) as Again)),*] };
}

/// Decoders of bytes that are hashed, signed or stored: what they accept is canonical.
fn canonical() -> BTreeMap<&'static str, Again> {
    let mut decoders = BTreeMap::from(again!(
        Edge RefAssignment Genesis Admission Derivation Outcome Program Tree Snapshot CommitHeader Commit ForkProof
    ));
    decoders.insert("Record", |bytes| {
        decode_record(bytes)
            .ok()
            .map(|record| encode_record(&record))
    });
    decoders
}

/// Decoders of frames: nothing in them is hashed, so a second spelling does no harm.
fn frames() -> BTreeMap<&'static str, Again> {
    BTreeMap::from(again!(Announcement Request Response))
}

fn decode_record(bytes: &[u8]) -> Result<Record, DecodeError> {
    let mut reader = Reader::new(bytes);
    let record = Record::decode(&mut reader)?;
    reader.finish("record")?;
    Ok(record)
}

fn encode_record(record: &Record) -> Vec<u8> {
    let mut writer = Writer::new();
    record.encode(&mut writer);
    writer.into_bytes()
}

/// Runs a decoder and holds it to its allowance: 64 bytes for each byte of input, and 64 KiB.
fn bounded<T>(input_len: usize, decode: impl FnOnce() -> T) -> T {
    let (result, requested) = allocation::requested_by(decode);
    let allowance = 64 * input_len + (64 << 10);
    assert!(
        requested <= allowance,
        "{requested} bytes requested for {input_len} of input"
    );
    result
}

fn holds(decoders: &BTreeMap<&'static str, Again>, bytes: &[u8], exact: bool) -> TestCaseResult {
    for (name, again) in decoders {
        if let Some(encoded) = bounded(bytes.len(), || again(bytes)).filter(|_| exact) {
            prop_assert_eq!(
                hex(&encoded),
                hex(bytes),
                "{} accepted bytes that are not canonical",
                name
            );
        }
    }
    Ok(())
}

fn holds_all(bytes: &[u8]) -> TestCaseResult {
    holds(&canonical(), bytes, true)?;
    holds(&frames(), bytes, false)
}

/// Gives back what it was made from, and stands any damage to its bytes.
fn round_trip<T: PartialEq + Debug, E: PartialEq + Debug>(
    value: &T,
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> Result<T, E>,
    damage: &[strategies::Damage],
) -> TestCaseResult {
    let bytes = encode(value);
    let decoded = bounded(bytes.len(), || decode(&bytes));
    prop_assert_eq!(decoded.as_ref(), Ok(value));
    holds_all(&damaged(bytes, damage))
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(768))]

    #[test]
    fn arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        holds_all(&bytes)?;
        let _ = bounded(bytes.len(), || Ticket::from_text(&String::from_utf8_lossy(&bytes)));
    }

    /// The same, behind each magic number and version, so that more than the first four bytes are
    /// read.
    #[test]
    fn arbitrary_bytes_behind_a_header(
        magic in prop_oneof![Just(b"UORC"), Just(b"UORS"), Just(b"UORX"), Just(b"UORP"), Just(b"UORT")],
        bytes in proptest::collection::vec(prop_oneof![3 => 0..4u8, 1 => any::<u8>()], 0..300),
    ) {
        holds_all(&[magic.as_slice(), &[1, 0], &bytes].concat())?;
    }

    #[test]
    fn edges(value in strategies::edge(), damage in damage()) {
        prop_assert!(value.is_valid());
        round_trip(&value, Edge::encode, Edge::decode, &damage)?;
    }

    #[test]
    fn references(value in strategies::reference(), damage in damage()) {
        round_trip(&value, RefAssignment::encode, RefAssignment::decode, &damage)?;
    }

    #[test]
    fn membership(genesis in strategies::genesis(), admission in strategies::admission(), damage in damage()) {
        round_trip(&genesis, Genesis::encode, Genesis::decode, &damage)?;
        round_trip(&admission, Admission::encode, Admission::decode, &damage)?;
    }

    #[test]
    fn derivations(value in strategies::derivation(), damage in damage()) {
        round_trip(&value, Derivation::encode, Derivation::decode, &damage)?;
    }

    #[test]
    fn outcomes(value in strategies::outcome(), damage in damage()) {
        round_trip(&value, Outcome::encode, Outcome::decode, &damage)?;
    }

    #[test]
    fn programs(value in strategies::program(), damage in damage()) {
        round_trip(&value, Program::encode, Program::decode, &damage)?;
    }

    #[test]
    fn trees(value in strategies::tree(), damage in damage()) {
        round_trip(&value, Tree::encode, Tree::decode, &damage)?;
    }

    #[test]
    fn snapshots(value in strategies::snapshot(), damage in damage()) {
        round_trip(&value, Snapshot::encode, Snapshot::decode, &damage)?;
    }

    #[test]
    fn records(value in strategies::record(), damage in damage()) {
        prop_assert_eq!(value.encoded_len(), encode_record(&value).len());
        round_trip(&value, encode_record, decode_record, &damage)?;
    }

    #[test]
    fn fork_proofs(value in strategies::fork_proof(), damage in damage()) {
        round_trip(&value, ForkProof::encode, ForkProof::decode, &damage)?;
    }

    #[test]
    fn announcements(value in strategies::announcement(), damage in damage()) {
        round_trip(&value, Announcement::encode, Announcement::decode, &damage)?;
    }

    #[test]
    fn requests(value in strategies::request(), damage in damage()) {
        round_trip(&value, Request::encode, Request::decode, &damage)?;
    }

    #[test]
    fn responses(value in strategies::response(), damage in damage()) {
        round_trip(&value, Response::encode, Response::decode, &damage)?;
    }

    /// A damaged ticket is refused by its check; behind a check that was made to fit, its content
    /// is canonical.
    #[test]
    fn tickets(value in strategies::ticket(), damage in damage()) {
        let text = value.to_text();
        prop_assert_eq!(bounded(text.len(), || Ticket::from_text(&text)), Ok(value));
        let (prefix, digits) = text.split_at("uor-ticket-".len());
        let whole = from_hex(digits).unwrap();
        let content = damaged(whole[..whole.len() - 4].to_vec(), &damage);
        prop_assume!(content != whole[..whole.len() - 4]);
        let unchecked = format!("{prefix}{}", hex(&[&content, &whole[whole.len() - 4..]].concat()));
        prop_assert_eq!(Ticket::from_text(&unchecked), Err(TicketError::Damaged));
        let check = blake3::derive_key(context::TICKET.text(), &content);
        let checked = format!("{prefix}{}", hex(&[&content, &check[..4]].concat()));
        if let Ok(accepted) = bounded(checked.len(), || Ticket::from_text(&checked)) {
            prop_assert_eq!(accepted.to_text(), checked);
        }
    }
}

/// What a commit's header has to say of the body behind it, from the words of `FORMAT.md`. Where
/// the body is not what the header's counts say, the checksum alone.
fn content(bytes: &[u8]) -> [u8; 32] {
    let (header, body) = bytes.split_at(CommitHeader::LEN);
    let checksum = *blake3::hash(body).as_bytes();
    let u32_at = |bytes: &[u8]| {
        bytes
            .try_into()
            .map(u32::from_le_bytes)
            .expect("four bytes")
    };
    let leaves = || {
        let mut rest = body.get(32 * u32_at(&header[field::LEARNED_COUNT]) as usize..)?;
        let mut leaves = Vec::new();
        for _ in 0..u32_at(&header[field::RECORD_COUNT]) {
            let (fixed, behind) = rest.split_at_checked(84)?;
            let leaf = [fixed, &[0; 44]].concat();
            leaves.push(blake3::derive_key(context::RECORD_LEAF.text(), &leaf));
            rest = behind.get(u32_at(&fixed[80..]) as usize..)?;
        }
        rest.is_empty().then_some(leaves)
    };
    match leaves().filter(|_| header[field::VERSION] != [1, 0]) {
        None => checksum,
        Some(leaves) => {
            let records = rfc9162::Tree {
                node: context::RECORDS_NODE.text(),
            }
            .root(&leaves);
            blake3::derive_key(context::CONTENT.text(), &[checksum, records].concat())
        }
    }
}

/// Makes checksum, body length and signature of a commit fit whatever its other bytes have become.
fn resealed(mut bytes: Vec<u8>, key: &SiteKey) -> Vec<u8> {
    let Some(body_len) = bytes
        .len()
        .checked_sub(CommitHeader::LEN)
        .and_then(|len| u32::try_from(len).ok())
    else {
        return bytes;
    };
    bytes[field::BODY_LEN].copy_from_slice(&body_len.to_le_bytes());
    let content = content(&bytes);
    bytes[field::CONTENT].copy_from_slice(&content);
    let hash = blake3::derive_key(context::COMMIT.text(), &bytes[..field::SIGNATURE.start]);
    bytes[field::SIGNATURE].copy_from_slice(&key.sign(&CommitHash::from_bytes(hash)));
    bytes
}

proptest! {
    #![proptest_config(config(1536))]

    /// A hostile member signs what it likes: the checks behind the signature hold on their own.
    #[test]
    fn commits((commit, key) in strategies::commit(), damage in damage()) {
        let bytes = commit.encode();
        prop_assert_eq!(bytes.len(), commit.header().commit_len());
        let decoded = bounded(bytes.len(), || Commit::decode(&bytes));
        prop_assert_eq!(decoded.as_ref(), Ok(&commit));
        let header = CommitHeader::decode(&bytes[..CommitHeader::LEN]);
        prop_assert_eq!(header.as_ref(), Ok(commit.header()));
        prop_assert_eq!(commit.header().encode(), &bytes[..CommitHeader::LEN]);
        prop_assert_eq!(&resealed(bytes.clone(), &key), &bytes);
        let damaged = damaged(bytes, &damage);
        holds_all(&damaged)?;
        let resealed = resealed(damaged, &key);
        if let Some(accepted) = bounded(resealed.len(), || Commit::decode(&resealed).ok()) {
            prop_assert_eq!(hex(&accepted.encode()), hex(&resealed));
            let ascending = accepted.records().is_sorted_by(|one, next| one.id() < next.id());
            prop_assert!(ascending && accepted.learned().is_sorted_by(|one, next| one < next));
        }
    }

    /// Two neighbours of a body in the wrong order, or one of them twice, under a good signature.
    #[test]
    fn commit_bodies_ascend((commit, key) in strategies::commit(), at in any::<prop::sample::Index>(), twice: bool) {
        let mut items: Vec<Vec<u8>> = commit.learned().iter().map(|hash| hash.as_bytes().to_vec()).collect();
        let learned = items.len();
        items.extend(commit.records().iter().map(encode_record));
        let pairs: Vec<usize> = (0..items.len() - 1).filter(|at| at + 1 != learned).collect();
        let Some(at) = (!pairs.is_empty()).then(|| pairs[at.index(pairs.len())]) else { return Ok(()) };
        if twice { items[at + 1] = items[at].clone() } else { items.swap(at, at + 1) }
        let forged = resealed([&commit.encode()[..CommitHeader::LEN], &items.concat()].concat(), &key);
        prop_assert!(Commit::decode(&forged).is_err());
    }
}

/// Every golden vector, with each of its bytes changed in each of eleven ways: refused, or spelled
/// exactly so.
#[test]
fn every_byte_of_every_golden_vector_counts() {
    let golden = include_str!("golden.txt")
        .lines()
        .filter_map(|line| line.split_once(" = "));
    let mut accepted = 0u32;
    for (_, value) in
        golden.filter(|(name, _)| !name.starts_with("wire.") && !name.starts_with("commit"))
    {
        let Some(mut bytes) = from_hex(value) else {
            continue;
        };
        let fitting: BTreeMap<_, _> = canonical()
            .into_iter()
            .filter(|(_, again)| again(&bytes).is_some())
            .collect();
        for at in 0..bytes.len() {
            let original = bytes[at];
            for new in (0..8).map(|bit| original ^ 1 << bit).chain([0, 1, 0xff]) {
                bytes[at] = new;
                for (name, again) in &fitting {
                    let Some(encoded) = again(&bytes) else {
                        continue;
                    };
                    assert_eq!(
                        hex(&encoded),
                        hex(&bytes),
                        "{name} accepted byte {at} of {value} as {new:#04x}"
                    );
                    accepted += 1;
                }
            }
            bytes[at] = original;
        }
    }
    assert!(
        accepted > 1000,
        "the vectors were not decoded at all: {accepted}"
    );
}

/// Counts at their maximum in front of almost nothing reserve nothing.
#[test]
fn counts_are_not_believed() {
    let max = u32::MAX.to_le_bytes();
    for count in [
        max,
        65_536u32.to_le_bytes(),
        (1u32 << 24).to_le_bytes(),
        (1u32 << 20).to_le_bytes(),
    ] {
        for magic in [b"UORS", b"UORX", b"UORP", b"UORT"] {
            for zeros in 0..16 {
                let bytes = [magic.as_slice(), &[1, 0], &vec![0; zeros], &count, &[0; 64]].concat();
                holds_all(&bytes).unwrap();
            }
        }
    }
}

/// A count is compared with its limit, and with what the input still holds, before anything is made
/// of it.
#[test]
fn a_count_must_fit_the_rest() {
    let count = |count: u32, rest: usize| {
        let bytes = [&count.to_le_bytes()[..], &vec![0; rest]].concat();
        Reader::new(&bytes).count("count", 100, 8)
    };
    assert_eq!(count(3, 24), Ok(3));
    assert_eq!(
        count(3, 23),
        Err(DecodeError::Truncated {
            field: "count",
            offset: 0,
            need: 24,
            have: 23
        })
    );
    assert_eq!(
        count(101, 808),
        Err(DecodeError::TooLarge {
            field: "count",
            offset: 0,
            value: 101,
            max: 100
        })
    );
    assert!(count(u32::MAX, 0).is_err());
}

/// Inner lists of a frame that all point at the same bytes would let a small frame unfold into a
/// large value.
#[test]
fn frames_cannot_point_at_the_same_bytes_twice() {
    let part = vec![7u8; 4096];
    let frame = Response::Delta {
        commits: vec![part.clone(), part.clone()],
        commits_left: 0,
    }
    .encode();
    // Two relative pointers of eight bytes each (offset, length) follow the parts; the second is
    // bent back by 4096 bytes.
    let pointers = 1 + 2 * part.len();
    let offset =
        |frame: &[u8], at: usize| i32::from_le_bytes(frame[at..at + 4].try_into().unwrap());
    assert_eq!(
        offset(&frame, pointers),
        -8192,
        "rkyv lays lists out as this test expects"
    );
    assert_eq!(offset(&frame, pointers + 8), -8192 + 4096 - 8);
    let mut bent = frame.clone();
    bent[pointers + 8..pointers + 12].copy_from_slice(&(-8192i32 - 8).to_le_bytes());
    assert!(Response::decode(&frame).is_ok());
    assert!(Response::decode(&bent).is_err());
}

/// As many nodes as short as they can be: the shortest node is what the count is checked against.
#[test]
fn the_shortest_nodes_are_read() {
    let name = |at: u32| {
        char::from_u32(0x20 + at).filter(|name| !"[]".contains(*name) && !name.is_control())
    };
    let node = |name: char| Node {
        name: name.to_string(),
        op: "x".to_owned(),
        module: None,
        params: Vec::new(),
        inputs: Vec::new(),
        each: false,
    };
    let nodes = (0..95).filter_map(name).map(node).collect();
    let program = Program::new(Vec::new(), nodes, vec![("o".to_owned(), Source::Node(0))]).unwrap();
    assert_eq!(Program::decode(&program.encode()), Ok(program));
}

/// What a header says on its own is held, even where the signature is good.
#[test]
fn a_signature_does_not_excuse() {
    does_not_excuse(1, History::Previous(CommitHash::NONE));
    does_not_excuse(2, Chain::default().history());
}

fn does_not_excuse(version: u8, history: History) {
    let key = SiteKey::from_seed(&[9; 32]);
    let draft = Draft {
        number: 1,
        history,
        logseq: LogSeq(1),
        federation: FederationState::of([]),
        wall_ms: 0,
        learned: Vec::new(),
        records: vec![Record::artifact(None, Payload::of(b""))],
    };
    let fine = Commit::seal(draft, &key).expect("a valid draft").encode();
    assert!(Commit::decode(&resealed(fine.clone(), &key)).is_ok());
    let with = |range: std::ops::Range<usize>, value: u8| {
        let mut bytes = fine.clone();
        bytes[range.start] = value;
        resealed(bytes, &key)
    };
    for (what, forged) in [
        ("another magic", with(field::MAGIC, b'X')),
        ("version 0", with(field::VERSION, 0)),
        ("version 3", with(field::VERSION, 3)),
        (
            "another version's history",
            with(field::VERSION, 3 - version),
        ),
        ("reserved", with(field::RESERVED, 1)),
        ("reserved", with(field::RESERVED_2, 1)),
        ("number 0", with(field::NUMBER, 0)),
        ("number 2 after nothing", with(field::NUMBER, 2)),
        ("number 1 after something", with(field::HISTORY, 1)),
        ("logseq 0", with(field::LOGSEQ, 0)),
        (
            "a membership commit too many",
            with(field::LEARNED_COUNT, 1),
        ),
        ("a record too many", with(field::RECORD_COUNT, 2)),
        ("a record too few", with(field::RECORD_COUNT, 0)),
        (
            "nothing",
            resealed(
                with(field::RECORD_COUNT, 0)[..CommitHeader::LEN].to_vec(),
                &key,
            ),
        ),
    ] {
        assert!(Commit::decode(&forged).is_err(), "{what}");
    }
    let newer = Commit::decode(&with(field::VERSION, 3));
    assert_eq!(
        newer,
        Err(DecodeError::NewerVersion {
            field: "commit",
            found: 3,
            supported: 2
        })
    );
}
