//! A replay believes no receipt, writes nothing, and names the first node and byte of a forgery.

use std::sync::{Arc, LazyLock};

use uor_index_format::id::{ArtifactKey, Checksum};
use uor_index_format::program;
use uor_index_format::receipt::{Derivation, FailureKind, Outcome, Status};
use uor_index_format::tree::{self, EntryKind, Tree, TreeEntry};
use uor_pel::artifact_store::{ArtifactStore, MemoryStore};
use uor_pel::blob::to_vec;
use uor_pel::engine::wasmtime::Wasmtime;
use uor_pel::engine::{Limits, NoResult};
use uor_pel::program::compile;
use uor_pel::replay::{Difference, Divergence, Verdict, replay};
use uor_pel::run::{Options, RunError, RunReport, bind, perform};

static ENGINE: LazyLock<Wasmtime> =
    LazyLock::new(|| Wasmtime::new().expect("this host runs wasmtime"));

const PROGRAM: &str = r#"
    inputs = ["dir"]
    [[node]]
    name = "count"
    op = "pel.wasm/1"
    module = "wordcount"
    inputs = ["dir"]
    each = true
    [[node]]
    name = "table"
    op = "pel.bytes.concat/1"
    inputs = ["count"]
    [[node]]
    name = "zoom"
    op = "pel.bytes.slice/1"
    inputs = ["table"]
    offset = 2
    len = 3
    [outputs]
    table = "table"
    zoom = "zoom"
"#;

/// A store with one honest run over a directory of three files.
fn honest() -> (MemoryStore, Derivation, RunReport) {
    let store = MemoryStore::new();
    let compiled = compile(PROGRAM, |_| {
        Ok(wat::parse_str(include_str!("../guests/wordcount.wat")).expect("a module"))
    });
    let compiled = compiled.expect("it is a program");
    compiled.modules.values().for_each(|bytes| {
        put(&store, bytes);
    });
    let program = store
        .put(Some(program::TYPE_TAG), Arc::new(compiled.program.encode()))
        .expect("memory");
    let files: [(&str, &[u8]); 3] = [("a", b"one\n"), ("b", b"two words\n"), ("c", b"")];
    let entries = files.map(|(name, bytes)| {
        let kind = EntryKind::File {
            key: put(&store, bytes),
            len: bytes.len() as u64,
        };
        TreeEntry {
            name: name.into(),
            mode: 0o644,
            kind,
            attributes: None,
        }
    });
    let dir = Tree::new(entries.to_vec()).expect("names are good");
    let dir = store
        .put(Some(tree::TYPE_TAG), Arc::new(dir.encode()))
        .expect("memory");
    let task = bind(
        &store,
        program,
        &[("dir".to_owned(), dir)].into(),
        Vec::new(),
    )
    .expect("the inputs fit");
    let report =
        perform(&store, &*ENGINE, &task, Options::default(), &mut |_| {}).expect("a result");
    (store, task.derivation, report)
}

fn put(store: &MemoryStore, bytes: &[u8]) -> ArtifactKey {
    store.put(None, Arc::new(bytes.to_vec())).expect("memory")
}

fn check(store: &MemoryStore, derivation: &Derivation, claimed: &Outcome) -> Verdict {
    replay(
        store,
        &*ENGINE,
        derivation,
        claimed,
        Limits::default(),
        &mut |_| {},
    )
}

fn divergence(store: &MemoryStore, derivation: &Derivation, claimed: &Outcome) -> Divergence {
    match check(store, derivation, claimed) {
        Verdict::Diverged(divergence) => divergence,
        verdict => panic!("not diverged: {verdict:?}"),
    }
}

#[test]
fn every_honest_receipt_replays_identically_and_nothing_is_written() {
    let (store, derivation, report) = honest();
    let (artifacts, receipts) = (store.artifacts(), store.receipts());
    assert!(matches!(
        check(&store, &derivation, &report.outcome),
        Verdict::Identical { operations: 5 }
    ));
    // The run, three nodes, three files.
    assert_eq!(receipts.len(), 7);
    for (derivation, outcome) in &receipts {
        assert!(matches!(
            check(&store, derivation, outcome),
            Verdict::Identical { .. }
        ));
    }
    // Even where every output has to be made again.
    for (_, outcome) in &receipts {
        outcome
            .outputs
            .iter()
            .for_each(|(_, key)| store.forget(key));
    }
    let left = store.artifacts();
    for (derivation, outcome) in receipts.iter().chain([&(derivation, report.outcome)]) {
        match check(&store, derivation, outcome) {
            Verdict::Identical { .. } => {}
            // A node's own inputs may be another's outputs.
            Verdict::Inconclusive {
                reason: RunError::Absent { .. },
            } => {
                assert!(
                    derivation
                        .inputs
                        .iter()
                        .any(|key| artifacts.contains(key) && !left.contains(key))
                );
            }
            verdict => panic!("{verdict:?}"),
        }
    }
    assert_eq!((store.artifacts(), store.receipts()), (left, receipts));
}

/// Changes the claims of one file's execution, and of everything that follows from it, as a forger
/// would.
fn forge(store: &MemoryStore, report: &RunReport, wrong: &[u8]) -> Outcome {
    let receipt = |key: &ArtifactKey| {
        store
            .receipts()
            .into_iter()
            .find(|(derivation, _)| derivation.receipt_key() == *key)
    };
    let (count, mut counts) =
        receipt(&report.outcome.trace[0].receipt).expect("the node has a receipt");
    let (file, mut outcome) = receipt(&counts.trace[1].receipt).expect("the file has a receipt");
    outcome.outputs[0].1 = put(store, wrong);
    store.put_receipt(&file, &outcome).expect("memory");
    counts.trace[1].outcome = Checksum::of(&outcome.encode());
    store.put_receipt(&count, &counts).expect("memory");
    let mut run = report.outcome.clone();
    run.trace[0].outcome = Checksum::of(&counts.encode());
    run
}

#[test]
fn a_forged_file_is_named_with_its_byte_and_both_checksums() {
    let (store, derivation, report) = honest();
    let claimed = forge(&store, &report, b"1 2 99\n");
    let Divergence {
        node, difference, ..
    } = divergence(&store, &derivation, &claimed);
    assert_eq!(node, "count[b]");
    let Difference::Output {
        name,
        offset,
        claimed,
        got,
    } = difference
    else {
        panic!("{difference:?}")
    };
    assert_eq!((name.as_str(), offset), ("out", Some(4)));
    assert_eq!(
        (claimed.checksum, claimed.len),
        (Some(Checksum::of(b"1 2 99\n")), Some(7))
    );
    assert_eq!(
        (got.checksum, got.len),
        (Some(Checksum::of(b"1 2 10\n")), Some(7))
    );
}

#[test]
fn a_forgery_whose_bytes_are_not_here_is_named_without_an_offset() {
    let (store, derivation, report) = honest();
    let claimed = forge(&store, &report, b"1 2 99\n");
    let (_, forged) = store
        .receipts()
        .into_iter()
        .find(|(_, outcome)| {
            outcome.outputs.iter().any(|(_, key)| {
                store
                    .find(key)
                    .expect("memory")
                    .is_some_and(|found| to_vec(&*found.blob, 99).expect("memory") == b"1 2 99\n")
            })
        })
        .expect("the forged receipt is there");
    store.forget(&forged.outputs[0].1);
    let Divergence {
        node, difference, ..
    } = divergence(&store, &derivation, &claimed);
    assert_eq!(node, "count[b]");
    assert!(
        matches!(difference, Difference::Output { offset: None, claimed, .. } if claimed.checksum.is_none())
    );
}

#[test]
fn a_forged_output_of_an_honest_trace_is_traced_to_its_node() {
    let (store, derivation, report) = honest();
    let mut claimed = report.outcome.clone();
    claimed.outputs[1].1 = put(&store, b"1 4 and more");
    let Divergence {
        node,
        receipt,
        difference,
    } = divergence(&store, &derivation, &claimed);
    assert_eq!((node.as_str(), receipt), ("zoom", report.receipt));
    // The replay says `1 4`: the claim goes on where it ends.
    assert!(
        matches!(difference, Difference::Output { name, offset: Some(3), .. } if name == "zoom")
    );
}

#[test]
fn forged_statuses_names_and_traces_are_told() {
    let (store, derivation, report) = honest();
    let failed = Status::Failed {
        node: "table".to_owned(),
        kind: FailureKind::Unreachable,
    };
    let claimed = Outcome {
        status: failed.clone(),
        outputs: Vec::new(),
        trace: report.outcome.trace.clone(),
    };
    let Divergence {
        node, difference, ..
    } = divergence(&store, &derivation, &claimed);
    assert_eq!(
        (node.as_str(), difference),
        (
            "table",
            Difference::Status {
                claimed: failed,
                got: Status::Ok
            }
        )
    );

    let mut claimed = report.outcome.clone();
    claimed.outputs[0].0 = "other".to_owned();
    let Divergence { difference, .. } = divergence(&store, &derivation, &claimed);
    assert!(
        matches!(difference, Difference::OutputNames { claimed, .. } if claimed == ["other", "zoom"])
    );

    let mut claimed = report.outcome.clone();
    claimed.trace[1].receipt = claimed.trace[0].receipt;
    let Divergence {
        node, difference, ..
    } = divergence(&store, &derivation, &claimed);
    assert_eq!(node, "table");
    assert!(matches!(
        difference,
        Difference::Step {
            claimed: Some(_),
            got: Some(_)
        }
    ));

    // A step whose claimed outcome is nowhere to be seen: what stands under its receipt is another.
    let mut claimed = report.outcome.clone();
    claimed.trace[1].outcome = Checksum::of(b"an outcome");
    let Divergence {
        node, difference, ..
    } = divergence(&store, &derivation, &claimed);
    assert_eq!(node, "table");
    let Difference::Step {
        claimed: Some(claimed),
        got: Some(got),
    } = difference
    else {
        panic!("{difference:?}")
    };
    assert_eq!(
        (claimed.outcome, got),
        (Checksum::of(b"an outcome"), report.outcome.trace[1].clone())
    );

    let mut claimed = report.outcome.clone();
    claimed.trace.push(claimed.trace[0].clone());
    let Divergence {
        node, difference, ..
    } = divergence(&store, &derivation, &claimed);
    assert_eq!(node, "");
    assert!(matches!(
        difference,
        Difference::Step {
            claimed: Some(_),
            got: None
        }
    ));
}

#[test]
fn what_cannot_be_run_to_a_result_is_inconclusive() {
    let (store, derivation, report) = honest();
    let limits = Limits {
        fuel: 10,
        ..Limits::default()
    };
    let verdict = replay(
        &store,
        &*ENGINE,
        &derivation,
        &report.outcome,
        limits,
        &mut |_| {},
    );
    let Verdict::Inconclusive {
        reason: RunError::NoResult { label, source },
    } = verdict
    else {
        panic!("{verdict:?}")
    };
    assert_eq!(
        (label.as_str(), source),
        ("count[a]", NoResult::Fuel { limit: 10 })
    );
    store.forget(&derivation.inputs[0]);
    let verdict = check(&store, &derivation, &report.outcome);
    assert!(matches!(
        verdict,
        Verdict::Inconclusive {
            reason: RunError::Absent { .. }
        }
    ));
    store.forget(&derivation.program);
    let verdict = check(&store, &derivation, &report.outcome);
    assert!(matches!(
        verdict,
        Verdict::Inconclusive {
            reason: RunError::ProgramAbsent { .. }
        }
    ));
}
