//! The tables of `FORMAT.md` that are printed from the code.

use std::fmt::Write as _;
use std::ops::Range;

use uor_index_format::commit::{CommitHeader, field};
use uor_index_format::id::{Context, context};
use uor_index_format::{
    commit, edge, membership, program, receipt, record, reference, snapshot, ticket, tree, wire,
};

/// What stands between `<!-- golden: name -->` and `<!-- golden end -->`, given the vectors.
pub(crate) fn quotes(vectors: &[(String, String)]) -> [(&'static str, String); 7] {
    let value = |wanted: &str| {
        vectors
            .iter()
            .find(|(name, _)| name == wanted)
            .expect("a known vector")
            .1
            .as_str()
    };
    let ids = vectors.iter().filter(|(name, _)| name.starts_with("id."));
    let ids = lines(ids.map(|(name, value)| format!("{name:26} {value}")));
    let trees = ["history.", "record.leaf", "record.proof"];
    let trees = vectors
        .iter()
        .filter(|(name, _)| trees.iter().any(|tree| name.starts_with(tree)));
    let trees = lines(trees.map(|(name, value)| format!("{name:18} {value}")));
    let entries = vectors
        .iter()
        .filter(|(name, _)| name.starts_with("state-"));
    let entries = lines(entries.map(|(name, value)| format!("{name} = {value}")));
    [
        ("ids", format!("```text\n{ids}```\n")),
        ("contexts", contexts()),
        (
            "record",
            format!(
                "```text\nrecord.artifact = {}\n```\n",
                value("record.artifact")
            ),
        ),
        ("commit-header", header(value("commit-header.version-2"))),
        ("trees", format!("```text\n{trees}```\n")),
        ("limits", limits()),
        ("state-entries", format!("```text\n{entries}```\n")),
    ]
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{line}");
        text
    })
}

/// Name, byte range and meaning of every field of the commit header.
const HEADER: [(&str, Range<usize>, &str); 15] = [
    ("magic", field::MAGIC, "`UORC`"),
    ("version", field::VERSION, "2"),
    ("reserved", field::RESERVED, "zero"),
    ("domain", field::DOMAIN, "the writer's public key"),
    ("number", field::NUMBER, "position in the domain, from 1"),
    (
        "history",
        field::HISTORY,
        "root over the hashes of commits 1 to number − 1",
    ),
    ("logseq", field::LOGSEQ, "Lamport time, from 1"),
    ("federation", field::FEDERATION, "federation state"),
    (
        "wall_ms",
        field::WALL_MS,
        "milliseconds since 1970; never compared",
    ),
    ("body_len", field::BODY_LEN, "length of the body"),
    (
        "learned_count",
        field::LEARNED_COUNT,
        "membership commits that begin the body",
    ),
    (
        "record_count",
        field::RECORD_COUNT,
        "records that fill the rest of it",
    ),
    ("reserved", field::RESERVED_2, "zero"),
    (
        "content",
        field::CONTENT,
        "digest of the body's checksum and the root over its records",
    ),
    (
        "signature",
        field::SIGNATURE,
        "Ed25519 over the commit hash",
    ),
];

fn header(sample: &str) -> String {
    let rows = HEADER.into_iter().map(|(name, range, holds)| {
        let value = &sample[range.start * 2..range.end * 2];
        format!(
            "| {}..{} | {name} | {holds} | `{value}` |",
            range.start, range.end
        )
    });
    format!(
        "| bytes | field | holds | in the sample |\n|---|---|---|---|\n{}",
        lines(rows)
    )
}

#[test]
fn header_fields_leave_no_gap() {
    let end = HEADER.into_iter().fold(0, |end, (name, range, _)| {
        assert_eq!(
            range.start, end,
            "{name} does not begin where the field before it ends"
        );
        range.end
    });
    assert_eq!(end, CommitHeader::LEN);
}

/// Every `derive_key` context, and what is hashed under it.
static CONTEXTS: [(&str, &Context, &str); 19] = [
    (
        "artifact key",
        &context::ARTIFACT,
        "has_type_tag 1, type_tag 4, payload length 8, payload checksum 32",
    ),
    ("receipt key", &context::RECEIPT, "the encoded derivation"),
    (
        "edge id",
        &context::EDGE,
        "the edge's body up to and including `to`",
    ),
    (
        "ref id",
        &context::REF,
        "the ref's body up to and including the name",
    ),
    ("federation id", &context::FEDERATION, "the encoded genesis"),
    (
        "admission id",
        &context::ADMISSION,
        "federation 32, site 32",
    ),
    (
        "commit hash",
        &context::COMMIT,
        "the header without its signature: bytes 0..176",
    ),
    (
        "history node",
        &context::HISTORY_NODE,
        "left node 32, right node 32; of no commits, nothing",
    ),
    (
        "commit content",
        &context::CONTENT,
        "plain BLAKE3 of the body 32, root over the records 32",
    ),
    (
        "commit record",
        &context::RECORD_LEAF,
        "the record's fixed part 84, zeros 44",
    ),
    (
        "commit records node",
        &context::RECORDS_NODE,
        "left node 32, right node 32",
    ),
    (
        "federation state",
        &context::FEDERATION_STATE,
        "hashes of the known membership commits, ascending, 32 each",
    ),
    (
        "state entry",
        &context::STATE_ENTRY,
        "the encoded entry; 2,048 bytes of extendable output are taken",
    ),
    (
        "state root",
        &context::STATE_ROOT,
        "the encoded snapshot, then the 1,024 lanes of the sum, 2 each",
    ),
    (
        "state sum",
        &context::STATE_SUM,
        "the 1,024 lanes of the sum, 2 each",
    ),
    (
        "ticket check",
        &context::TICKET,
        "the ticket's bytes without the check; the first 4 are taken",
    ),
    (
        "ticket token digest",
        &context::TICKET_TOKEN,
        "the token, 16 bytes",
    ),
    (
        "reader credential",
        &context::READER,
        "federation 32, reader's key 32, expiry in milliseconds since 1970 8; a member signs the digest",
    ),
    (
        "fork set",
        &context::FORK_SET,
        "of each frozen domain, ascending: its key 32, the number it is frozen at 8",
    ),
];

fn contexts() -> String {
    let rows = CONTEXTS
        .iter()
        .map(|(digest, context, over)| format!("| {digest} | `{}` | {over} |", context.text()));
    format!(
        "| digest | context | over |\n|---|---|---|\n{}",
        lines(rows)
    )
}

#[test]
fn every_context_is_used_once() {
    let mut contexts = CONTEXTS.each_ref().map(|(_, context, _)| context.text());
    contexts.sort_unstable();
    assert!(contexts.is_sorted_by(|one, next| one < next));
}

/// Every bound that a reader holds its input to.
#[expect(clippy::too_many_lines, reason = "a table")]
fn limits() -> String {
    let limits: [(&str, u64); 37] = [
        (
            "records of a commit (at least 1)",
            commit::RECORDS_MAX.into(),
        ),
        (
            "membership commits learned in one commit",
            commit::LEARNED_MAX.into(),
        ),
        ("bytes of a commit's body", commit::BODY_LEN_MAX.into()),
        ("bytes of a record's body", record::BODY_LEN_MAX.into()),
        (
            "bytes of an edge type (at least 1)",
            edge::EDGE_TYPE_LEN_MAX.into(),
        ),
        (
            "endpoints on one side of an edge (at least 1)",
            edge::ENDPOINTS_MAX.into(),
        ),
        (
            "bytes of a ref's namespace, and of its name",
            reference::NAME_LEN_MAX.into(),
        ),
        (
            "bytes of a site's name",
            membership::SITE_NAME_LEN_MAX.into(),
        ),
        (
            "inputs of a derivation, program or node; outputs",
            receipt::PORTS_MAX.into(),
        ),
        ("bytes of parameters", receipt::PARAMS_LEN_MAX.into()),
        ("steps of a trace", receipt::STEPS_MAX.into()),
        (
            "bytes of the label of a step or failed node",
            receipt::LABEL_LEN_MAX.into(),
        ),
        ("nodes of a program (at least 1)", program::NODES_MAX.into()),
        (
            "bytes of a profile, operation, input, node or output name",
            program::NAME_LEN_MAX.into(),
        ),
        ("entries of a tree", tree::ENTRIES_MAX.into()),
        (
            "bytes of an entry's name (at least 1)",
            tree::ENTRY_NAME_LEN_MAX.into(),
        ),
        (
            "bytes of the name of an entry with attributes",
            tree::LONG_NAME_LEN_MAX.into(),
        ),
        ("extended attributes of an entry", tree::XATTRS_MAX.into()),
        (
            "bytes of an extended attribute's name (at least 1)",
            tree::XATTR_NAME_LEN_MAX.into(),
        ),
        (
            "bytes of an extended attribute's value",
            tree::XATTR_VALUE_LEN_MAX.into(),
        ),
        ("bytes of a symlink's target", tree::LINK_LEN_MAX.into()),
        (
            "bytes of an encoded tree (held by its reader)",
            tree::TREE_LEN_MAX,
        ),
        ("domains of a frontier", snapshot::DOMAINS_MAX.into()),
        (
            "bytes of an origin's name",
            snapshot::ORIGIN_NAME_LEN_MAX.into(),
        ),
        ("addresses of a ticket", ticket::ADDRESSES_MAX.into()),
        ("bytes of an address", ticket::ADDRESS_LEN_MAX.into()),
        (
            "bytes of commits in one delta (a larger commit travels alone)",
            wire::DELTA_LEN_MAX,
        ),
        ("bytes of payload in one part", wire::PART_LEN_MAX),
        ("bytes of a frame", wire::FRAME_LEN_MAX as u64),
        ("bytes of a question", wire::REQUEST_LEN_MAX as u64),
        ("heads in a page of a frontier", wire::HEADS_MAX as u64),
        ("frozen domains in a page of them", wire::FORKS_MAX as u64),
        (
            "fork proofs that one question asks for",
            wire::PROOFS_MAX as u64,
        ),
        (
            "sites whose admission one question asks for",
            wire::TESTIMONY_SITES_MAX as u64,
        ),
        ("addresses told with a frontier", wire::CONTACTS_MAX as u64),
        (
            "bytes of an announcement",
            wire::ANNOUNCEMENT_LEN_MAX as u64,
        ),
        (
            "bits of an entry's mode",
            tree::MODE_MASK.count_ones().into(),
        ),
    ];
    let rows = limits.into_iter().map(|(what, limit)| {
        let digits = limit.to_string();
        let groups: Vec<_> = digits
            .as_bytes()
            .rchunks(3)
            .rev()
            .map(String::from_utf8_lossy)
            .collect();
        format!("| {what} | {} |", groups.join(","))
    });
    format!("| what | at most |\n|---|---|\n{}", lines(rows))
}
