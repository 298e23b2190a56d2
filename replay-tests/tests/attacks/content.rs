//! Content: what members put into records and payloads for whoever shows, restores, traces or runs
//! it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use uor_asl::disk::Mode;
use uor_index_format::edge::{ENDPOINTS_MAX, Edge, Endpoint, Role};
use uor_index_format::id::{ArtifactKey, CanonicalId};
use uor_index_format::key::SiteKey;
use uor_index_format::membership::{Admission, ConflictRule};
use uor_index_format::record::{Payload, Record};
use uor_index_format::tree::{Attributes, EntryKind, TYPE_TAG, Tree, TreeEntry};
use uor_index_format::wire::{FRAME_LEN_MAX, PROTOCOL_VERSION, Response};
use uor_node::site::{ReadError, ResolveError, RunError, RunOptions, Site};
use uor_tgk::export;
use uor_tgk::trace::Direction;

use crate::allocation::requested_by;
use crate::forged::{name, sorted};
use crate::neighbours::everything;
use crate::scripted::mallory;
use crate::{cost, size};

/// A site, and a member of its federation that turned.
struct Bench {
    root: tempfile::TempDir,
    site: Site,
}

impl Bench {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        Site::init(&root.path().join("a"), Some("a"), ConflictRule::First).unwrap();
        let site = Site::open(&root.path().join("a"), Mode::Write).unwrap();
        let bench = Self { root, site };
        bench.admit(&mallory(), "m");
        bench
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn admit(&self, key: &SiteKey, name: &str) {
        let federation = self.site.federation();
        let admission = Admission {
            federation,
            site: key.site_id(),
            name: name.to_owned(),
        };
        self.site
            .store()
            .commit(self.site.key(), vec![Record::admission(admission)], 0)
            .unwrap();
    }

    /// What the member writes.
    fn writes(&self, records: Vec<Record>) {
        self.site
            .store()
            .commit(&mallory(), sorted(records), 0)
            .unwrap();
    }

    /// Puts a payload, which nothing shows before its record is written.
    fn put(&self, type_tag: Option<u32>, bytes: &[u8]) -> Record {
        self.site.store().blocks().put_bytes(bytes).unwrap();
        Record::artifact(type_tag, Payload::of(bytes))
    }

    /// An artifact of the member's, with its payload.
    fn artifact(&self, type_tag: Option<u32>, bytes: &[u8]) -> Record {
        let record = self.put(type_tag, bytes);
        self.writes(vec![record.clone()]);
        record
    }

    fn tree(&self, entries: Vec<TreeEntry>) -> ArtifactKey {
        self.artifact(Some(TYPE_TAG), &Tree::new(entries).unwrap().encode())
            .id()
            .into()
    }

    /// So many trees, each of which holds the next one under these names; gives the outermost.
    fn nested(&self, levels: usize, names: &[&[u8]]) -> ArtifactKey {
        let mut records = vec![self.put(Some(TYPE_TAG), &Tree::default().encode())];
        for _ in 0..levels {
            let key = ArtifactKey::from(records[records.len() - 1].id());
            let entries = names
                .iter()
                .map(|name| entry(name, EntryKind::Directory { key }))
                .collect();
            records.push(self.put(Some(TYPE_TAG), &Tree::new(entries).unwrap().encode()));
        }
        let outermost = ArtifactKey::from(records[levels].id());
        records
            .chunks(50_000)
            .for_each(|records| self.writes(records.to_vec()));
        outermost
    }

    fn get(&self, key: ArtifactKey, to: &str) -> Result<u64, ReadError> {
        let at = self.site.head();
        let target = self.site.resolve(&key.to_string(), &at).unwrap();
        self.site
            .materialise(&target, &at, &self.at(to), &mut |_, _| {})
            .map(|written| written.files)
    }
}

fn entry(name: &[u8], kind: EntryKind) -> TreeEntry {
    TreeEntry {
        name: name.to_vec(),
        mode: 0o755,
        kind,
        attributes: None,
    }
}

/// Bounded: where files are written. Trees whose entries are called so that they would lie
/// elsewhere are none.
#[test]
fn names_that_climb_out_of_a_tree_write_nothing() {
    let bench = Bench::new();
    let file = bench.artifact(None, b"planted");
    let plain = Tree::new(vec![entry(
        b"NAME",
        EntryKind::File {
            key: file.id().into(),
            len: 7,
        },
    )])
    .unwrap()
    .encode();
    let at = plain
        .windows(4)
        .position(|window| window == b"NAME")
        .unwrap();
    for name in [
        &b".."[..],
        b".",
        b"",
        b"../outside",
        b"/outside",
        b"a/b",
        b"a\0b",
        &[b'x'; 256],
    ] {
        let mut forged = plain[..at - 4].to_vec();
        forged.extend(u32::try_from(name.len()).unwrap().to_le_bytes());
        forged.extend(name);
        forged.extend(&plain[at + 4..]);
        let key = bench.artifact(Some(TYPE_TAG), &forged).id().into();
        let refused = bench.get(key, "out");
        assert!(
            matches!(refused, Err(ReadError::Content { .. })),
            "{name:?}: {refused:?}"
        );
        assert!(!bench.at("out").exists() && !bench.at("outside").exists());
    }
}

/// Bounded: what is written through. Links in a tree, and other names of them, lead nobody's bytes,
/// modes or times out of it.
#[test]
fn links_in_a_tree_lead_nothing_out() {
    let bench = Bench::new();
    let (outside, dir) = (bench.at("outside"), bench.at("dir"));
    fs::write(&outside, b"mine").unwrap();
    fs::create_dir(&dir).unwrap();
    let before = fs::metadata(&outside).unwrap();
    let file = bench.artifact(None, b"planted");
    let target = |path: &Path| EntryKind::Symlink {
        target: path.as_os_str().as_encoded_bytes().to_vec(),
    };
    let linked = |name: &[u8], kind, mode| {
        let attributes = Attributes {
            link: Some([1; 16]),
            mtime_s: 1,
            ..Attributes::default()
        };
        TreeEntry {
            name: name.to_vec(),
            mode,
            kind,
            attributes: Some(Box::new(attributes)),
        }
    };
    // A link, a file that is to be the same file as the link, and a directory that is.
    let inside = bench.tree(vec![entry(
        b"planted",
        EntryKind::File {
            key: file.id().into(),
            len: 7,
        },
    )]);
    let alike = [
        linked(b"a", target(&outside), 0o4777),
        linked(
            b"b",
            EntryKind::File {
                key: file.id().into(),
                len: 7,
            },
            0o4777,
        ),
        linked(b"c", target(&dir), 0o777),
    ];
    let key = bench.tree(alike.to_vec());
    bench.get(key, "first").unwrap();
    let key = bench.tree(vec![
        entry(b"l", target(&dir)),
        entry(b"m", EntryKind::Directory { key: inside }),
    ]);
    bench.get(key, "second").unwrap();
    // What is planted in the target's place meanwhile is not followed.
    symlink(&dir, bench.at("third")).unwrap();
    assert!(matches!(
        bench.get(key, "third"),
        Err(ReadError::Exists { .. })
    ));
    let after = fs::metadata(&outside).unwrap();
    assert_eq!(fs::read(&outside).unwrap(), b"mine");
    assert_eq!(
        (after.mode(), after.mtime(), after.ino(), after.nlink()),
        (before.mode(), before.mtime(), before.ino(), 1)
    );
    assert_eq!(everything(&dir), [dir]);
    assert!(
        fs::symlink_metadata(bench.at("first/a"))
            .unwrap()
            .is_symlink(),
        "what was in the tree is there"
    );
}

/// Bounded: disk. Forty trees, each of which holds the next one twice, stand for more entries than
/// there are disks.
#[test]
fn a_few_trees_that_stand_for_very_many_write_nothing() {
    let bench = Bench::new();
    let levels = size(40, 2000);
    let refused = bench.get(bench.nested(levels, &[b"a", b"b"]), "out");
    assert!(
        matches!(refused, Err(ReadError::Spread { trees, .. }) if trees == levels as u64 + 1),
        "{refused:?}"
    );
    assert!(!bench.at("out").exists());
    // What people have is far from it: a hundred copies of a directory.
    let file = EntryKind::File {
        key: bench.artifact(None, b"file").id().into(),
        len: 4,
    };
    let copied = bench.tree(
        (0..10_u8)
            .map(|number| entry(&[b'a' + number], file.clone()))
            .collect(),
    );
    let copies = (0..100).map(|number| {
        entry(
            format!("{number}").as_bytes(),
            EntryKind::Directory { key: copied },
        )
    });
    assert_eq!(
        bench.get(bench.tree(copies.collect()), "copies").unwrap(),
        1000
    );
}

/// Bounded: the stack. Trees nested as deep as one likes are counted, written and cleared away
/// without recursion.
#[test]
fn trees_nested_without_end_end_in_an_error() {
    let bench = Bench::new();
    let key = bench.nested(size(3000, 100_000), &[b"d"]);
    // The system has no paths of that length: what it can hold is there, the rest is said to be
    // left out.
    let at = bench.site.head();
    let target = bench.site.resolve(&key.to_string(), &at).unwrap();
    let written = bench
        .site
        .materialise(&target, &at, &bench.at("out"), &mut |_, _| {})
        .unwrap();
    assert_eq!(written.warnings.len(), 1, "{:?}", written.warnings);
    assert!(bench.at("out/d/d/d/d").is_dir());
}

/// Bounded: what a key means. A member names its own bytes like the key, or the beginning of the
/// key, of somebody else's.
#[test]
fn names_that_look_like_keys_hide_no_key() {
    let bench = Bench::new();
    let honest = bench.artifact(None, b"honest");
    let tree = bench.tree(vec![entry(
        b"f",
        EntryKind::File {
            key: honest.id().into(),
            len: 6,
        },
    )]);
    let planted = bench.artifact(None, b"planted");
    let key = ArtifactKey::from(honest.id()).to_string();
    for taken in [
        key.clone(),
        key[..16].to_owned(),
        key[..8].to_owned(),
        format!("{tree}/f"),
        tree.to_string(),
    ] {
        bench.writes(vec![name(&taken, &planted)]);
    }
    let at = bench.site.head();
    let means = |text: &str| bench.site.resolve(text, &at).unwrap().key();
    for text in [&key, &key[..16], &key[..8], &format!("{tree}/f")] {
        assert_eq!(means(text), ArtifactKey::from(honest.id()), "{text}");
    }
    assert_eq!(means(&tree.to_string()), tree);
    assert_eq!(
        bench.site.refs(&at).unwrap().len(),
        5,
        "they are shown for what they are"
    );
    // A site may call itself by another's id, too.
    let victim = bench.site.site_id();
    bench.admit(&SiteKey::from_seed(&[9; 32]), &victim.to_string());
    assert_eq!(
        bench.site.resolve_site(&victim.to_string()).unwrap(),
        victim
    );
}

/// Bounded: silence. A member shadows very many ids that begin like the key of somebody's artifact:
/// the beginning of the key, as tables show it, still means that artifact.
#[test]
fn shadows_that_begin_like_a_key_hide_no_key() {
    let bench = Bench::new();
    let honest = bench.artifact(None, b"honest");
    let alike = |number: usize| {
        let mut bytes = *honest.id().as_bytes();
        bytes[6..14].copy_from_slice(&(number as u64).to_le_bytes());
        Record::tombstone(CanonicalId::from_bytes(bytes))
    };
    bench.writes((0..size(1000, 4000)).map(alike).collect());
    let key = ArtifactKey::from(honest.id()).to_string();
    let at = bench.site.head();
    for digits in [8, 12, 64] {
        assert_eq!(
            bench.site.resolve(&key[..digits], &at).unwrap().key(),
            honest.id().into(),
            "{digits} digits"
        );
    }
    // Where there are more than are looked at, it is asked for more digits, and not said to be
    // absent.
    bench.writes((10_000..10_000 + 5000).map(alike).collect());
    let at = bench.site.head();
    let unclear = bench.site.resolve(&key[..12], &at);
    assert!(
        matches!(unclear, Err(ResolveError::Ambiguous { more: true, .. })),
        "{unclear:?}"
    );
    assert_eq!(
        bench.site.resolve(&key, &at).unwrap().key(),
        honest.id().into()
    );
}

fn edge(edge_type: &str, from: Vec<Endpoint>, to: Vec<Endpoint>) -> Record {
    Record::edge(Edge {
        edge_type: edge_type.to_owned(),
        from,
        to,
        role: Role::Both,
        attribute: None,
    })
}

fn ends(from: u32, count: u32) -> Vec<Endpoint> {
    let key =
        |number: u32| ArtifactKey::from_bytes(*blake3::hash(&number.to_le_bytes()).as_bytes());
    (from..from + count)
        .map(|number| Endpoint::Artifact(key(number)))
        .collect()
}

/// Bounded: memory and output. Edges from very many ends to very many: writing out every pair would
/// take a thousand times their length, or a hundred thousand times.
#[test]
fn an_edge_of_very_many_ends_is_shown_in_proportion() {
    let show = |ends_each: u32| {
        let bench = Bench::new();
        bench.writes(vec![edge("out", ends(0, 1), ends(10, ends_each))]);
        bench.writes(vec![edge(
            "over",
            ends(10, ends_each),
            ends(1_000_000, ends_each),
        )]);
        let trace = bench
            .site
            .trace(&ends(0, 1)[0], Direction::Down, None, &bench.site.head())
            .unwrap();
        assert_eq!(trace.reached.len(), 1 + 2 * ends_each as usize);
        let names = export::Names::new();
        let shown = [
            export::text(&trace, &names),
            export::dot(&trace, &names),
            export::prov_json(&trace, &names),
        ];
        shown.map(|text| text.len() / ends_each as usize)
    };
    for per_end in show(u32::try_from(size(1000, ENDPOINTS_MAX as usize)).unwrap()) {
        assert!(per_end <= 3000, "{per_end} bytes for each end");
    }
}

/// Bounded: the stack, and work. A chain of very many edges, and a circle of them, are followed
/// without recursion, each once.
#[test]
fn provenance_without_end_is_followed_once() {
    let follow = |chain: u32| {
        let bench = Bench::new();
        let mut edges: Vec<Record> = (0..chain)
            .map(|number| edge("then", ends(number, 1), ends(number + 1, 1)))
            .collect();
        edges.push(edge("and again", ends(chain, 1), ends(0, 1)));
        for records in edges.chunks(20_000) {
            bench.writes(records.to_vec());
        }
        let at = bench.site.head();
        let spent = cost(|| {
            let trace = bench
                .site
                .trace(&ends(0, 1)[0], Direction::Down, None, &at)
                .unwrap();
            let all = chain as usize + 1;
            assert_eq!((trace.reached.len(), trace.followed.len()), (all, all));
            let text = export::text(&trace, &export::Names::new());
            assert!(
                text.len() / chain as usize <= 1000,
                "{} bytes for {chain} edges",
                text.len()
            );
        });
        spent / chain as usize
    };
    let chain = u32::try_from(size(2000, 100_000)).unwrap();
    let (once, twice) = (follow(chain), follow(2 * chain));
    assert!(
        twice <= once + once / 4,
        "{once} bytes for each edge, then {twice}"
    );
}

/// Bounded: memory. A frame of very many empty things, and one that is longer than any.
#[test]
fn a_frame_takes_memory_in_proportion_to_its_length() {
    let many = Response::Delta {
        commits: vec![vec![]; size(100_000, 1_000_000)],
        commits_left: 0,
    }
    .encode();
    let (decoded, asked) = requested_by(|| Response::decode(&many));
    assert!(matches!(decoded, Ok(Response::Delta { .. })));
    assert!(
        asked <= 8 * many.len(),
        "{asked} bytes for a frame of {}",
        many.len()
    );
    let long = vec![PROTOCOL_VERSION; FRAME_LEN_MAX + 1];
    assert!(cost(|| assert!(Response::decode(&long).is_err())) < 1024);
}

/// Bounded: time of a run, as fuel, and what it leaves. A module that never ends, one that takes
/// all memory it can have, and one that calls itself.
#[test]
fn modules_without_end_leave_nothing() {
    let bench = Bench::new();
    let shapes = BTreeMap::from([
        ("loops", "(loop (br 0))"),
        ("grows", "(loop (drop (memory.grow (i32.const 1))) (br 0))"),
        (
            "fills",
            "(loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 60000)) (br 0))",
        ),
        ("calls", "(call $run)"),
        (
            "writes",
            "(loop (call $output_write (i32.const 0) (i32.const 65536)) (br 0))",
        ),
    ]);
    for (shape, body) in shapes {
        let module = format!(
            "(module (import \"uor\" \"output_write\" (func $output_write (param i32 i32)))
               (memory (export \"memory\") 1 2) (func $run (export \"run\") {body}))"
        );
        fs::write(
            bench.at(&format!("{shape}.wasm")),
            wat::parse_str(module).unwrap(),
        )
        .unwrap();
        let program = format!(
            "[[node]]\nname = \"only\"\nop = \"pel.wasm/1\"\nmodule = \"{shape}.wasm\"\n[outputs]\nout = \"only\"\n"
        );
        let file = bench.at(&format!("{shape}.toml"));
        fs::write(&file, program).unwrap();
        bench.site.program_add(&file, Some(shape)).unwrap();
        let before = bench.site.head();
        let options = RunOptions {
            fuel: Some(size(1_000_000, 100_000_000) as u64),
            ..RunOptions::default()
        };
        let ended = bench.site.run(shape, &[], &options, &mut |_| {});
        assert!(matches!(ended, Err(RunError::Run(_))), "{shape}: {ended:?}");
        assert_eq!(bench.site.head(), before, "{shape} left something");
    }
}

/// Bounded: trust. A member says of a site's run that it came to something else: both claims are
/// kept and shown, the first stands, and what the site itself gets is its own.
#[test]
fn a_receipt_that_lies_is_a_conflict_that_is_told() {
    let bench = Bench::new();
    fs::write(bench.at("in"), b"honest input").unwrap();
    let program = "inputs = [\"x\"]\n[[node]]\nname = \"digest\"\nop = \"pel.bytes.hash/1\"\ninputs = [\"x\"]\n[outputs]\nout = \"digest\"\n";
    fs::write(bench.at("p.toml"), program).unwrap();
    bench
        .site
        .program_add(&bench.at("p.toml"), Some("p"))
        .unwrap();
    let inputs = [(
        "x".to_owned(),
        uor_node::site::Binding::Path(bench.at("in")),
    )];
    let ran = bench
        .site
        .run("p", &inputs, &RunOptions::default(), &mut |_| {})
        .unwrap();
    let at = bench.site.head();
    let receipt = bench.site.resolve(&ran.receipt.to_string(), &at).unwrap();
    let honest = bench.site.receipt_show(&receipt, &at).unwrap();
    let derivation = {
        let view = bench.site.store().view();
        let versions = view.state().versions(&receipt.id, &at).unwrap();
        match versions[0].record.content() {
            uor_index_format::record::Content::Receipt { derivation, .. } => derivation.clone(),
            other => panic!("{other:?}"),
        }
    };
    let lie = bench.artifact(None, b"a lie");
    for number in 0..size(3, 100) {
        let outputs = vec![("out".to_owned(), ArtifactKey::from(lie.id()))];
        let status = uor_index_format::receipt::Status::Ok;
        let trace = vec![uor_index_format::receipt::Step {
            label: number.to_string(),
            receipt: ran.receipt,
            outcome: lie.payload().checksum,
        }];
        let outcome = uor_index_format::receipt::Outcome {
            status,
            outputs,
            trace,
        }
        .encode();
        bench.site.store().blocks().put_bytes(&outcome).unwrap();
        bench.writes(vec![Record::receipt(
            derivation.clone(),
            Payload::of(&outcome),
        )]);
    }
    let at = bench.site.head();
    let shown = bench
        .site
        .receipt_show(
            &bench.site.resolve(&ran.receipt.to_string(), &at).unwrap(),
            &at,
        )
        .unwrap();
    assert_eq!(shown.outputs, honest.outputs, "the first stands");
    assert!(
        shown.conflict && shown.claims.len() > 3,
        "{} claims",
        shown.claims.len()
    );
    let recompute = RunOptions {
        recompute: true,
        ..RunOptions::default()
    };
    let again = bench
        .site
        .run("p", &inputs, &recompute, &mut |_| {})
        .unwrap();
    assert_eq!((again.outputs, again.conflict), (ran.outputs, true));
}
