//! Text that other sites wrote, on a terminal: it is seen, and does nothing.

use uor_asl::disk::Mode;
use uor_index_format::codec::is_obeyed;
use uor_index_format::edge::{Edge, Endpoint, Role};
use uor_index_format::id::ArtifactKey;
use uor_index_format::key::SiteKey;
use uor_index_format::membership::Admission;
use uor_index_format::receipt::{Derivation, Outcome, Status, Step};
use uor_index_format::record::{Payload, Record};
use uor_index_format::reference::{NAMESPACE_SNAPSHOT, NAMESPACE_USER, RefAssignment};
use uor_index_format::tree::{EntryKind, TYPE_TAG, Tree, TreeEntry};
use uor_node::site::Site;

use crate::support::Bench;

/// Colours and titles (with escapes of seven and of eight bits), a bell, ends of lines, a turned
/// direction of writing, and what has no width.
const EVIL: &str = "a\u{1b}[31mb\u{9b}31mc\u{7}d\re\nf\u{202e}g\u{200b}h\u{2028}i\u{7f}j";

/// Everything in which a member's words are shown, in the site of a bench; gives keys of a tree and
/// of a receipt.
fn plant(bench: &Bench) -> (ArtifactKey, ArtifactKey) {
    let site = Site::open(&bench.data(), Mode::Write).unwrap();
    let store = site.store();
    let write = |record: Record| {
        store.commit(site.key(), vec![record], 0).unwrap();
    };
    let put = |type_tag, bytes: &[u8]| {
        store.blocks().put_bytes(bytes).unwrap();
        let record = Record::artifact(type_tag, Payload::of(bytes));
        write(record.clone());
        ArtifactKey::from(record.id())
    };
    let file = put(None, b"file");
    let named = |name: &str, kind| TreeEntry {
        name: name.as_bytes().to_vec(),
        mode: 0o644,
        kind,
        attributes: None,
    };
    let entries = vec![
        named(EVIL, EntryKind::File { key: file, len: 4 }),
        named(
            "link",
            EntryKind::Symlink {
                target: EVIL.as_bytes().to_vec(),
            },
        ),
        named(
            "gone",
            EntryKind::File {
                key: ArtifactKey::from_bytes([9; 32]),
                len: 4,
            },
        ),
    ];
    let tree = put(Some(TYPE_TAG), &Tree::new(entries).unwrap().encode());
    let assign = |namespace: &str, name: &str, target| {
        write(Record::reference(RefAssignment {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            target,
        }));
    };
    assign(NAMESPACE_USER, EVIL, tree);
    assign(NAMESPACE_USER, "plain", tree);
    assign(NAMESPACE_SNAPSHOT, EVIL, file);
    let member = SiteKey::from_seed(&[5; 32]).site_id();
    write(Record::admission(Admission {
        federation: site.federation(),
        site: member,
        name: EVIL.to_owned(),
    }));
    let ends = |endpoint| vec![endpoint];
    let (from, to) = (ends(Endpoint::Site(member)), ends(Endpoint::Artifact(tree)));
    write(Record::edge(Edge {
        edge_type: EVIL.to_owned(),
        from,
        to,
        role: Role::Both,
        attribute: None,
    }));
    let derivation = Derivation {
        program: file,
        inputs: vec![tree],
        params: EVIL.as_bytes().to_vec(),
        profile: EVIL.to_owned(),
    };
    let receipt = derivation.receipt_key();
    for step in [EVIL, "another"] {
        let trace = vec![Step {
            label: step.to_owned(),
            receipt: file,
            outcome: Payload::of(b"x").checksum,
        }];
        let outcome = Outcome {
            status: Status::Ok,
            outputs: vec![(EVIL.to_owned(), file)],
            trace,
        }
        .encode();
        store.blocks().put_bytes(&outcome).unwrap();
        write(Record::receipt(derivation.clone(), Payload::of(&outcome)));
    }
    store
        .commit(
            &SiteKey::from_seed(&[5; 32]),
            vec![Record::receipt(derivation, Payload::of(b"other"))],
            0,
        )
        .unwrap();
    (tree, receipt)
}

#[test]
fn what_other_sites_wrote_is_seen_and_does_nothing() {
    let bench = Bench::new();
    let (tree, receipt) = plant(&bench);
    let (tree, receipt) = (tree.to_string(), receipt.to_string());
    let commands: &[&[&str]] = &[
        &["status"],
        &["ls"],
        &["ls", &tree],
        &["ls", EVIL],
        &["get", &tree, "--output", "out"],
        &["get", "plain/gone", "--output", "other"],
        &["cat", EVIL],
        &["log"],
        &["conflicts"],
        &["trace", &tree],
        &["trace", &tree, "--format", "dot"],
        &["trace", &tree, "--format", "prov-json"],
        &["edge", "ls", &tree],
        &["snapshot", "ls"],
        &["snapshot", "create", "--label", "all"],
        &["snapshot", "show", "all"],
        &["receipt", "show", &receipt],
        &["program", "show", &receipt],
        &["rm", &tree],
        &["rm", EVIL],
    ];
    let mut shown = 0;
    for command in commands {
        for json in [false, true] {
            let mut args = command.to_vec();
            args.extend(json.then_some("--json"));
            let ran = bench.uor(&args);
            let said = format!("{}{}", ran.text(), ran.err);
            let obeyed: Vec<char> = said
                .chars()
                .filter(|character| *character != '\n' && is_obeyed(*character))
                .collect();
            assert!(
                obeyed.is_empty(),
                "{args:?} says {obeyed:?}:\n{}",
                said.escape_debug()
            );
            // A line of its own would be taken for one of ours.
            assert!(
                !said
                    .lines()
                    .any(|line| line.starts_with('f') && line.contains("gh")),
                "{args:?}:\n{said}"
            );
            shown += usize::from(said.contains("31m"));
        }
    }
    assert!(shown > 15, "the words were shown {shown} times");
    for command in [
        &["verify", "data"][..],
        &["state", "data"],
        &["verify", "data", "--json"],
    ] {
        let ran = bench.replay(command);
        let said = format!("{}{}", ran.text(), ran.err);
        assert!(
            said.chars()
                .all(|character| character == '\n' || !is_obeyed(character)),
            "{command:?}: {said:?}"
        );
    }
}
