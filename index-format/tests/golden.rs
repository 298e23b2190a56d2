//! Golden vectors: `golden.txt` holds one fixed value of every structure as hexadecimal, and this
//! test holds it both ways: encoding the value gives the hex, decoding the hex gives the value.
//! `FORMAT.md` quotes vectors between markers, and is held to them.
//!
//! After an intended change of bytes (which is a new format version): `UPDATE_GOLDEN=1 cargo test
//! -p uor-index-format` rewrites both files; read the difference.

#[path = "golden/document.rs"]
mod document;
#[path = "golden/samples.rs"]
mod samples;

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};

use uor_index_format::chain::Chain;
use uor_index_format::codec::{Reader, Writer, from_hex, hex};
use uor_index_format::commit::{Commit, CommitHeader, ForkProof, record_leaf};
use uor_index_format::edge::Edge;
use uor_index_format::id::{Checksum, CommitHash, FederationState, LogSeq, StateRoot};
use uor_index_format::membership::{Admission, Genesis};
use uor_index_format::program::Program;
use uor_index_format::receipt::{Derivation, Outcome};
use uor_index_format::record::Record;
use uor_index_format::reference::RefAssignment;
use uor_index_format::snapshot::Snapshot;
use uor_index_format::state::StateHash;
use uor_index_format::ticket::Ticket;
use uor_index_format::tree::Tree;
use uor_index_format::wire::{
    ANNOUNCEMENT_LEN_MAX, Announcement, Refusal, Request, Response, WireFork,
};

const GOLDEN_PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden.txt");
const FORMAT_PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/FORMAT.md");

fn updating() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1")
}

/// The vectors of the code, in the order of the file, and what is wrong with those of the file.
struct Golden {
    stored: BTreeMap<String, String>,
    lines: Vec<(String, String)>,
    wrong: Vec<String>,
}

impl Golden {
    fn load() -> Self {
        let text = std::fs::read_to_string(GOLDEN_PATH).unwrap_or_default();
        let stored = text.lines().filter_map(|line| line.split_once(" = "));
        let stored = stored
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self {
            stored,
            lines: Vec::new(),
            wrong: Vec::new(),
        }
    }

    /// Holds a vector one way: for digests, which nothing decodes.
    fn digest(&mut self, name: &str, bytes: &[u8]) {
        self.line(name, hex(bytes));
    }

    fn line(&mut self, name: &str, value: String) {
        let stored = self.stored.remove(name);
        if stored.as_ref() != Some(&value) && !updating() {
            let problem = if stored.is_some() {
                "differs from"
            } else {
                "is missing in"
            };
            self.wrong.push(format!(
                "{name} {problem} golden.txt; the line would be:\n{name} = {value}"
            ));
        }
        self.lines.push((name.to_owned(), value));
    }

    /// Holds a vector both ways.
    fn both<T: PartialEq + Debug, E: Debug>(
        &mut self,
        name: &str,
        value: &T,
        encode: impl Fn(&T) -> Vec<u8>,
        decode: impl Fn(&[u8]) -> Result<T, E>,
    ) {
        if let Some(bytes) = self
            .stored
            .get(name)
            .filter(|_| !updating())
            .map(|text| from_hex(text))
        {
            match bytes.map(|bytes| decode(&bytes)) {
                Some(Ok(decoded)) if decoded == *value => {}
                other => self.wrong.push(format!(
                    "{name} of golden.txt decodes to {other:?}, not to {value:?}"
                )),
            }
        }
        self.line(name, hex(&encode(value)));
    }

    fn finish(mut self) -> Vec<(String, String)> {
        if updating() {
            let text = self
                .lines
                .iter()
                .fold(String::new(), |mut text, (name, value)| {
                    let _ = writeln!(text, "{name} = {value}");
                    text
                });
            std::fs::write(GOLDEN_PATH, text).expect("golden.txt can be written");
        } else {
            self.wrong.extend(
                self.stored
                    .keys()
                    .map(|name| format!("{name} is in golden.txt, but no test makes it")),
            );
        }
        assert!(
            self.wrong.is_empty(),
            "{}\n(UPDATE_GOLDEN=1 rewrites the file)",
            self.wrong.join("\n")
        );
        self.lines
    }
}

fn hold_ids(golden: &mut Golden) {
    let (commit, snapshot) = (samples::second_commit(0), samples::snapshot());
    golden.digest("id.checksum", Checksum::of(samples::PAYLOAD).as_bytes());
    golden.digest("id.artifact", samples::artifact().id().as_bytes());
    golden.digest(
        "id.artifact-tagged",
        samples::records()[1].1.id().as_bytes(),
    );
    golden.digest("id.receipt", samples::derivation().receipt_key().as_bytes());
    golden.digest("id.edge", samples::edge().id().as_bytes());
    golden.digest("id.ref", samples::reference().id().as_bytes());
    golden.digest("id.site", samples::founder().site_id().as_bytes());
    golden.digest("id.federation", samples::federation().as_bytes());
    golden.digest("id.admission", samples::admission().id().as_bytes());
    golden.digest("id.commit", commit.hash().as_bytes());
    golden.digest(
        "id.federation-state-empty",
        FederationState::of(&[] as &[CommitHash]).as_bytes(),
    );
    golden.digest("id.federation-state", commit.header().federation.as_bytes());
    golden.digest("id.snapshot", snapshot.id().as_bytes());
    golden.digest("id.state-root-empty", empty_root().as_bytes());
    golden.digest("id.state-root", samples::state().root(&snapshot).as_bytes());
    golden.digest("id.state-sum", &samples::state().digest());
    golden.digest(
        "id.ticket-token",
        Ticket::token_digest(&samples::ticket().token).as_bytes(),
    );
}

/// The root of a node that has seen nothing.
fn empty_root() -> StateRoot {
    StateHash::default().root(&Snapshot {
        frontier: BTreeMap::new(),
        logseq_max: LogSeq(0),
        origin: None,
    })
}

fn encode_record(record: &Record) -> Vec<u8> {
    let mut writer = Writer::new();
    record.encode(&mut writer);
    let bytes = writer.into_bytes();
    assert_eq!(bytes.len(), record.encoded_len());
    bytes
}

fn decode_record(bytes: &[u8]) -> Result<Record, uor_index_format::DecodeError> {
    let mut reader = Reader::new(bytes);
    let record = Record::decode(&mut reader)?;
    reader.finish("record")?;
    Ok(record)
}

fn hold_bodies(golden: &mut Golden) {
    golden.both("edge", &samples::edge(), Edge::encode, Edge::decode);
    golden.both(
        "edge-with-attribute",
        &samples::edge_with_attribute(),
        Edge::encode,
        Edge::decode,
    );
    golden.both(
        "ref",
        &samples::reference(),
        RefAssignment::encode,
        RefAssignment::decode,
    );
    golden.both(
        "genesis",
        &samples::genesis(),
        Genesis::encode,
        Genesis::decode,
    );
    golden.both(
        "admission",
        &samples::admission(),
        Admission::encode,
        Admission::decode,
    );
    golden.both(
        "derivation",
        &samples::derivation(),
        Derivation::encode,
        Derivation::decode,
    );
    golden.both(
        "outcome.ok",
        &samples::outcome(),
        Outcome::encode,
        Outcome::decode,
    );
    golden.both(
        "outcome.failed",
        &samples::failed(),
        Outcome::encode,
        Outcome::decode,
    );
    golden.both(
        "program",
        &samples::program(),
        Program::encode,
        Program::decode,
    );
    golden.both("tree", &samples::tree(), Tree::encode, Tree::decode);
    golden.both(
        "tree.attributes",
        &samples::tree_with_attributes(),
        Tree::encode,
        Tree::decode,
    );
    golden.both("tree.empty", &Tree::default(), Tree::encode, Tree::decode);
}

fn hold_log(golden: &mut Golden) {
    golden.both(
        "record.genesis",
        &Record::genesis(samples::genesis()),
        encode_record,
        decode_record,
    );
    for (name, record) in samples::records() {
        golden.both(name, &record, encode_record, decode_record);
    }
    let (first, second) = (samples::first_commit(), samples::second_commit(0));
    golden.both("commit.first", &first, Commit::encode, Commit::decode);
    golden.both("commit.second", &second, Commit::encode, Commit::decode);
    golden.both(
        "commit.version-2-first",
        &samples::first_commit_of_version_2(),
        Commit::encode,
        Commit::decode,
    );
    let third = samples::third_commit();
    golden.both("commit.version-2", &third, Commit::encode, Commit::decode);
    golden.both(
        "commit-header.version-2",
        third.header(),
        CommitHeader::encode,
        CommitHeader::decode,
    );
    hold_trees(golden, &third);
    golden.both(
        "commit-header",
        second.header(),
        CommitHeader::encode,
        CommitHeader::decode,
    );
    golden.both(
        "fork-proof",
        &samples::fork_proof(),
        ForkProof::encode,
        ForkProof::decode,
    );
    golden.both(
        "snapshot",
        &samples::snapshot(),
        Snapshot::encode,
        Snapshot::decode,
    );
    golden.both(
        "snapshot.imported",
        &samples::imported(),
        Snapshot::encode,
        Snapshot::decode,
    );
    for (name, entry) in ["state-entry.settled", "state-entry.withheld"]
        .into_iter()
        .zip(samples::entries())
    {
        golden.digest(name, &entry.encode());
        let mut alone = StateHash::default();
        alone.add(&entry);
        golden.digest(&format!("{name}.lanes"), &first_lanes(&alone));
    }
    golden.digest("state-sum.lanes", &first_lanes(&samples::state()));
}

/// Roots, leaves and proofs, which nothing decodes.
fn hold_trees(golden: &mut Golden, commit: &Commit) {
    golden.digest("history.empty", Chain::default().root().as_bytes());
    golden.digest("history.of-2", samples::chain().root().as_bytes());
    let record = commit.record_headers().nth(4).expect("nine records");
    golden.digest("record.leaf", &record_leaf(&record));
    let proof = commit.prove_record(&record.id).expect("it is in it");
    assert_eq!(commit.header().verify_record(&record, &proof), Ok(()));
    golden.digest("record.proof", proof.path.as_flattened());
    golden.digest("record.proof.body", proof.body.as_bytes());
}

/// The first eight lanes: enough to see where an implementation goes wrong, which the root then
/// holds to all of them.
fn first_lanes(sum: &StateHash) -> Vec<u8> {
    sum.lanes()[..8]
        .iter()
        .flat_map(|lane| lane.to_le_bytes())
        .collect()
}

fn hold_ticket(golden: &mut Golden) {
    let ticket = samples::ticket();
    if let Some(text) = golden.stored.get("ticket").filter(|_| !updating()) {
        assert_eq!(Ticket::from_text(text), Ok(ticket.clone()));
    }
    golden.line("ticket", ticket.to_text());
}

#[expect(clippy::too_many_lines, reason = "one line for each kind of frame")]
fn hold_frames(golden: &mut Golden) {
    let federation = *samples::federation().as_bytes();
    let (commit, position) = (samples::second_commit(0), samples::position());
    let (domain, hash) = (
        *samples::founder().site_id().as_bytes(),
        *commit.hash().as_bytes(),
    );
    let announcement = samples::announcement();
    assert!(
        announcement.encode().len() < ANNOUNCEMENT_LEN_MAX,
        "an announcement fits its frame"
    );
    golden.both(
        "wire.announcement",
        &announcement,
        Announcement::encode,
        Announcement::decode,
    );
    let checksum = *Checksum::of(samples::PAYLOAD).as_bytes();
    let expires_ms = 1_800_000_000_000;
    let signature = samples::founder().vouch(
        &samples::federation(),
        &samples::member().site_id(),
        expires_ms,
    );
    let read = Request::Read {
        federation,
        member: domain,
        expires_ms,
        signature,
    };
    for (name, request) in [
        (
            "wire.request.frontier",
            Request::Frontier {
                federation,
                position,
                after: None,
            },
        ),
        (
            "wire.request.frontier-next",
            Request::Frontier {
                federation,
                position,
                after: Some(domain),
            },
        ),
        (
            "wire.request.forks",
            Request::Forks {
                federation,
                after: Some(domain),
            },
        ),
        (
            "wire.request.proofs",
            Request::Proofs {
                federation,
                domains: vec![domain],
            },
        ),
        (
            "wire.request.testimony",
            Request::Testimony {
                federation,
                sites: vec![domain],
            },
        ),
        (
            "wire.request.delta",
            Request::Delta {
                federation,
                domain,
                after: 2,
                after_hash: hash,
            },
        ),
        (
            "wire.request.payload",
            Request::Payload {
                federation,
                checksum,
                offset: 4,
                len_max: 1 << 20,
            },
        ),
        ("wire.request.read", read),
        (
            "wire.request.join",
            Request::Join {
                federation,
                token: samples::ticket().token,
                name: "south-station".to_owned(),
            },
        ),
    ] {
        golden.both(name, &request, Request::encode, Request::decode);
    }
    let frontier = Response::Frontier {
        position,
        heads: samples::heads(),
        has_more: false,
        contacts: samples::contacts(),
    };
    for (name, response) in [
        ("wire.response.frontier", frontier),
        (
            "wire.response.forks",
            Response::Forks {
                forks: vec![WireFork { domain, number: 2 }],
                has_more: false,
            },
        ),
        (
            "wire.response.proofs",
            Response::Proofs {
                proofs: vec![samples::fork_proof().encode()],
            },
        ),
        (
            "wire.response.testimony",
            Response::Testimony {
                commits: vec![samples::first_commit().encode()],
            },
        ),
        (
            "wire.response.delta",
            Response::Delta {
                commits: vec![samples::first_commit().encode(), commit.encode()],
                commits_left: 5,
            },
        ),
        (
            "wire.response.payload",
            Response::Payload {
                total_len: 18,
                bytes: samples::PAYLOAD[4..].to_vec(),
            },
        ),
        (
            "wire.response.admitted",
            Response::Admitted {
                domain,
                commit: hash,
            },
        ),
        ("wire.response.welcome", Response::Welcome),
        (
            "wire.response.refused",
            Response::Refused {
                reason: Refusal::NotAdmitted,
            },
        ),
    ] {
        golden.both(name, &response, Response::encode, Response::decode);
    }
}

#[test]
fn vectors_hold_both_ways_and_the_document_quotes_them() {
    let mut golden = Golden::load();
    hold_ids(&mut golden);
    hold_bodies(&mut golden);
    hold_log(&mut golden);
    hold_ticket(&mut golden);
    hold_frames(&mut golden);
    let lines = golden.finish();

    let mut document = std::fs::read_to_string(FORMAT_PATH).expect("FORMAT.md can be read");
    for (name, quote) in document::quotes(&lines) {
        let (open, close) = (format!("<!-- golden: {name} -->\n"), "<!-- golden end -->");
        let start = document
            .find(&open)
            .unwrap_or_else(|| panic!("FORMAT.md lacks `{}`", open.trim()))
            + open.len();
        let end = start + document[start..].find(close).expect("a closed marker");
        if updating() {
            document.replace_range(start..end, &quote);
        } else {
            assert_eq!(
                document[start..end],
                quote,
                "`{name}` in FORMAT.md should be\n{quote}"
            );
        }
    }
    if updating() {
        std::fs::write(FORMAT_PATH, document).expect("FORMAT.md can be written");
    }
}
