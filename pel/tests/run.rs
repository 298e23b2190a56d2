//! Same program, same inputs, same receipt; what is known is reused; what fails is a result; what
//! runs out is none.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use uor_index_format::id::ArtifactKey;
use uor_index_format::program::{self, Program};
use uor_index_format::receipt::{FailureKind, Outcome, Status};
use uor_index_format::tree::{self, EntryKind, Tree, TreeEntry};
use uor_pel::artifact_store::{ArtifactStore, MemoryStore};
use uor_pel::blob::to_vec;
use uor_pel::engine::wasmtime::Wasmtime;
use uor_pel::engine::{Limits, NoResult};
use uor_pel::program::compile;
use uor_pel::run::{Options, Progress, RunError, RunReport, Task, bind, pending, perform};

static ENGINE: LazyLock<Wasmtime> =
    LazyLock::new(|| Wasmtime::new().expect("this host runs wasmtime"));

/// A module per name: traps on the letter it is made for, runs for ever, or counts.
fn modules(path: &str) -> std::io::Result<Vec<u8>> {
    let text = match path {
        "wordcount" => include_str!("../guests/wordcount.wat"),
        "spin" => "(module (memory (export \"memory\") 1 1) (func (export \"run\") (loop $l (br $l))))",
        // Fails with code 9 where the input starts with `!`, else copies up to a page.
        "picky" => {
            "(module
                (import \"uor\" \"input_read\" (func $read (param i32 i64 i32 i32) (result i32)))
                (import \"uor\" \"output_write\" (func $write (param i32 i32)))
                (import \"uor\" \"fail\" (func $fail (param i32)))
                (memory (export \"memory\") 1 1)
                (func (export \"run\") (local $n i32)
                    (local.set $n (call $read (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 65536)))
                    (if (i32.eq (i32.load8_u (i32.const 0)) (i32.const 33)) (then (call $fail (i32.const 9))))
                    (call $write (i32.const 0) (local.get $n))))"
        }
        _ => return Err(std::io::ErrorKind::NotFound.into()),
    };
    Ok(wat::parse_str(text).expect("the test's text is a module"))
}

fn put(store: &MemoryStore, bytes: &[u8]) -> ArtifactKey {
    store.put(None, Arc::new(bytes.to_vec())).expect("memory")
}

fn read(store: &MemoryStore, key: &ArtifactKey) -> Vec<u8> {
    to_vec(
        &*store.find(key).expect("memory").expect("it is there").blob,
        u64::MAX,
    )
    .expect("memory")
}

/// Compiles a program into a store.
fn add(store: &MemoryStore, toml: &str) -> ArtifactKey {
    let compiled = compile(toml, modules).expect("it is a program");
    compiled.modules.values().for_each(|bytes| {
        put(store, bytes);
    });
    store
        .put(Some(program::TYPE_TAG), Arc::new(compiled.program.encode()))
        .expect("memory")
}

fn task(store: &MemoryStore, toml: &str, inputs: &[(&str, ArtifactKey)]) -> Task {
    let inputs = inputs
        .iter()
        .map(|(name, key)| ((*name).to_owned(), *key))
        .collect();
    bind(store, add(store, toml), &inputs, b"run".to_vec()).expect("the inputs fit")
}

fn try_run(store: &MemoryStore, task: &Task, options: Options) -> Result<RunReport, RunError> {
    perform(store, &*ENGINE, task, options, &mut |_| {})
}

fn run(store: &MemoryStore, task: &Task) -> RunReport {
    try_run(store, task, Options::default()).expect("a result")
}

fn output(store: &MemoryStore, report: &RunReport, name: &str) -> Vec<u8> {
    let (_, key) = report
        .outcome
        .outputs
        .iter()
        .find(|(output, _)| output == name)
        .expect("the output is named");
    read(store, key)
}

/// A directory with a file, a subdirectory, a symlink and a second file.
fn tree(store: &MemoryStore, files: &[(&str, &[u8])]) -> ArtifactKey {
    let mut directories: BTreeMap<&str, Vec<TreeEntry>> = BTreeMap::new();
    for (path, bytes) in files {
        let (directory, name) = path.split_once('/').unwrap_or(("", path));
        let kind = EntryKind::File {
            key: put(store, bytes),
            len: bytes.len() as u64,
        };
        directories.entry(directory).or_default().push(TreeEntry {
            name: name.into(),
            mode: 0o640,
            kind,
            attributes: None,
        });
    }
    let mut root = directories.remove("").unwrap_or_default();
    let link = EntryKind::Symlink {
        target: b"sub/x".to_vec(),
    };
    root.push(TreeEntry {
        name: b"link".to_vec(),
        mode: 0o777,
        kind: link,
        attributes: None,
    });
    for (name, entries) in directories {
        let kind = EntryKind::Directory {
            key: put_tree(store, entries),
        };
        root.push(TreeEntry {
            name: name.into(),
            mode: 0o755,
            kind,
            attributes: None,
        });
    }
    put_tree(store, root)
}

fn put_tree(store: &MemoryStore, entries: Vec<TreeEntry>) -> ArtifactKey {
    let tree = Tree::new(entries).expect("names are good");
    store
        .put(Some(tree::TYPE_TAG), Arc::new(tree.encode()))
        .expect("memory")
}

const FIVE_KERNELS: &str = r#"
    inputs = ["a", "b"]
    [[node]]
    name = "sep"
    op = "pel.bytes.const/1"
    params = "-"
    [[node]]
    name = "joined"
    op = "pel.bytes.concat/1"
    inputs = ["a", "sep", "b", "sep", "run"]
    [[node]]
    name = "run"
    op = "pel.bytes.params/1"
    [[node]]
    name = "head"
    op = "pel.bytes.slice/1"
    inputs = ["joined"]
    offset = 1
    len = 4
    [[node]]
    name = "digest"
    op = "pel.bytes.hash/1"
    inputs = ["head"]
    [outputs]
    joined = "joined"
    head = "head"
    digest = "digest"
    b = "b"
"#;

#[test]
fn the_kernels_do_what_they_say() {
    let store = MemoryStore::new();
    let (a, b) = (put(&store, b"one"), put(&store, b"two"));
    let report = run(&store, &task(&store, FIVE_KERNELS, &[("a", a), ("b", b)]));
    assert_eq!(
        (report.executed, report.reused, report.operations),
        (5, 0, 5)
    );
    assert_eq!(report.outcome.status, Status::Ok);
    assert_eq!(output(&store, &report, "joined"), b"one-two-run");
    assert_eq!(output(&store, &report, "head"), b"ne-t");
    assert_eq!(
        output(&store, &report, "digest"),
        format!("{}\n", blake3::hash(b"ne-t")).into_bytes()
    );
    assert_eq!(output(&store, &report, "b"), b"two");
    let labels: Vec<&str> = report
        .outcome
        .trace
        .iter()
        .map(|step| step.label.as_str())
        .collect();
    assert_eq!(labels, ["run", "sep", "joined", "head", "digest"]);
    // Six receipts: the run's and its nodes', each the run of a program that is in the store.
    let receipts = store.receipts();
    assert_eq!(receipts.len(), 6);
    for (derivation, outcome) in receipts {
        assert!(store.find(&derivation.program).expect("memory").is_some());
        assert_eq!(Outcome::decode(&outcome.encode()), Ok(outcome));
    }
}

#[test]
fn the_same_run_is_found_and_nothing_runs() {
    let store = MemoryStore::new();
    let inputs = [("a", put(&store, b"1")), ("b", put(&store, b"22"))];
    let task = task(&store, FIVE_KERNELS, &inputs);
    let first = run(&store, &task);
    let second = run(&store, &task);
    assert_eq!(
        (second.executed, second.reused, second.operations),
        (0, 5, 0)
    );
    assert_eq!(
        (second.receipt, &second.outcome),
        (first.receipt, &first.outcome)
    );
    let again = try_run(
        &store,
        &task,
        Options {
            recompute: true,
            ..Options::default()
        },
    )
    .expect("a result");
    assert_eq!((again.executed, again.reused, again.operations), (5, 0, 5));
    assert_eq!(
        (again.receipt, &again.outcome),
        (first.receipt, &first.outcome)
    );
}

#[test]
fn an_outcome_whose_bytes_are_gone_is_not_reused() {
    let store = MemoryStore::new();
    let task = task(
        &store,
        FIVE_KERNELS,
        &[("a", put(&store, b"1")), ("b", put(&store, b"22"))],
    );
    let first = run(&store, &task);
    let (_, head) = first
        .outcome
        .outputs
        .iter()
        .find(|(name, _)| name == "head")
        .expect("the output is named");
    store.forget(head);
    let second = run(&store, &task);
    assert_eq!(
        (second.executed, second.reused, second.outcome),
        (1, 4, first.outcome)
    );
}

#[test]
fn a_receipt_that_cannot_be_this_programs_is_not_reused() {
    let store = MemoryStore::new();
    let task = task(
        &store,
        FIVE_KERNELS,
        &[("a", put(&store, b"1")), ("b", put(&store, b"22"))],
    );
    let honest = run(&store, &task).outcome;
    for (derivation, mut outcome) in store.receipts() {
        outcome.outputs[0].0.push('x');
        store.put_receipt(&derivation, &outcome).expect("memory");
    }
    let report = run(&store, &task);
    assert_eq!(
        (report.executed, report.reused, report.outcome),
        (5, 0, honest)
    );
}

#[test]
fn equal_work_meets_across_programs() {
    let store = MemoryStore::new();
    let inputs = [("a", put(&store, b"1")), ("b", put(&store, b"22"))];
    run(&store, &task(&store, FIVE_KERNELS, &inputs));
    // Other names, another program around it, the same work: slice of a concatenation of the same
    // three.
    let other = r#"
        inputs = ["x", "y"]
        [[node]]
        name = "z"
        op = "pel.bytes.concat/1"
        inputs = ["y", "dash", "x", "dash", "p"]
        [[node]]
        name = "dash"
        op = "pel.bytes.const/1"
        params = "-"
        [[node]]
        name = "p"
        op = "pel.bytes.params/1"
        [[node]]
        name = "upper"
        op = "pel.bytes.slice/1"
        inputs = ["z"]
        offset = 0
        len = 2
        [outputs]
        out = "upper"
    "#;
    let report = run(
        &store,
        &task(&store, other, &[("y", inputs[0].1), ("x", inputs[1].1)]),
    );
    assert_eq!((report.executed, report.reused), (1, 3));
    assert_eq!(output(&store, &report, "out"), b"1-");
}

#[test]
fn parameters_of_the_run_matter_only_to_what_reads_them() {
    let store = MemoryStore::new();
    let mut work = task(
        &store,
        FIVE_KERNELS,
        &[("a", put(&store, b"one")), ("b", put(&store, b"two"))],
    );
    run(&store, &work);
    work.derivation.params = b"walk".to_vec();
    let report = run(&store, &work);
    assert_eq!(output(&store, &report, "joined"), b"one-two-walk");
    // The constant does not read them, and the digest reads the same four bytes as before.
    assert_eq!((report.executed, report.reused), (3, 2));
}

const MAPPED: &str = r#"
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
    [outputs]
    counts = "count"
    table = "table"
"#;

#[test]
fn a_mapped_node_runs_once_for_each_file_in_path_order() {
    let store = MemoryStore::new();
    let dir = tree(
        &store,
        &[
            ("z", b"last\n"),
            ("a.txt", b"one two\n"),
            ("sub/x", b""),
            ("sub/y", b"a b c"),
        ],
    );
    let work = task(&store, MAPPED, &[("dir", dir)]);
    let mut files = Vec::new();
    let report = perform(
        &store,
        &*ENGINE,
        &work,
        Options::default(),
        &mut |progress| {
            if let Progress::File { label, .. } = progress {
                files.push(label.to_owned());
            }
        },
    )
    .expect("a result");
    assert_eq!(
        files,
        ["count[a.txt]", "count[sub/x]", "count[sub/y]", "count[z]"]
    );
    assert_eq!(
        output(&store, &report, "table"),
        b"1 2 8\n0 0 0\n0 3 5\n1 1 5\n"
    );
    let counts = Tree::decode(&output(&store, &report, "counts")).expect("a tree");
    let original = Tree::decode(&read(&store, &dir)).expect("a tree");
    let names = |tree: &Tree| {
        tree.entries()
            .iter()
            .map(|entry| (entry.name.clone(), entry.mode))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&counts), names(&original));
    assert_eq!(counts.get(b"link"), original.get(b"link"));
    assert!(matches!(
        counts.get(b"z"),
        Some(TreeEntry {
            kind: EntryKind::File { len: 6, .. },
            ..
        })
    ));

    // One file changes: one execution, and what depends on it.
    let dir = tree(
        &store,
        &[
            ("z", b"last\n"),
            ("a.txt", b"one two\n"),
            ("sub/x", b"new"),
            ("sub/y", b"a b c"),
        ],
    );
    let report = run(&store, &task(&store, MAPPED, &[("dir", dir)]));
    assert_eq!((report.executed, report.operations), (2, 2));
    assert_eq!(
        output(&store, &report, "table"),
        b"1 2 8\n0 1 3\n0 3 5\n1 1 5\n"
    );
}

#[test]
fn a_file_that_fails_is_named() {
    let store = MemoryStore::new();
    let toml = MAPPED.replace("wordcount", "picky");
    let dir = tree(
        &store,
        &[("a", b"fine"), ("sub/x", b"!bad"), ("z", b"!worse")],
    );
    let report = run(&store, &task(&store, &toml, &[("dir", dir)]));
    let status = Status::Failed {
        node: "count[sub/x]".to_owned(),
        kind: FailureKind::Explicit(9),
    };
    assert_eq!(report.outcome.status, status);
    assert_eq!(
        (
            report.outcome.outputs.len(),
            report.outcome.trace.len(),
            report.executed
        ),
        (0, 1, 1)
    );
    // A failure is a result: it is found again.
    let again = run(&store, &task(&store, &toml, &[("dir", dir)]));
    assert_eq!((again.operations, again.outcome), (0, report.outcome));
}

#[test]
fn what_is_no_tree_cannot_be_mapped() {
    let store = MemoryStore::new();
    let not_a_tree = store
        .put(
            Some(tree::TYPE_TAG),
            Arc::new(b"UORT and then nothing".to_vec()),
        )
        .expect("memory");
    for input in [put(&store, b"a file"), not_a_tree] {
        let report = run(&store, &task(&store, MAPPED, &[("dir", input)]));
        let status = Status::Failed {
            node: "count".to_owned(),
            kind: FailureKind::WrongInput,
        };
        assert_eq!(report.outcome.status, status);
    }
    // A tree that unfolds to 2^40 files out of forty small manifests.
    let mut key = tree(&store, &[("f", b"x")]);
    for _ in 0..40 {
        let entry = |name: &[u8]| TreeEntry {
            name: name.to_vec(),
            mode: 0o755,
            kind: EntryKind::Directory { key },
            attributes: None,
        };
        key = put_tree(&store, vec![entry(b"l"), entry(b"r")]);
    }
    let report = run(&store, &task(&store, MAPPED, &[("dir", key)]));
    assert!(matches!(
        report.outcome.status,
        Status::Failed {
            kind: FailureKind::WrongInput,
            ..
        }
    ));
}

#[test]
fn the_first_failure_in_the_one_order_ends_the_run() {
    let store = MemoryStore::new();
    let slice = |name: &str, source: &str, len: u64| {
        format!(
            "[[node]]\nname = \"{name}\"\nop = \"pel.bytes.slice/1\"\ninputs = [\"{source}\"]\noffset = 1\nlen = {len}\n"
        )
    };
    let nodes = [
        slice("z", "in", 99),
        slice("c", "b", 1),
        slice("b", "in", 98),
        slice("a", "in", 1),
    ];
    let toml = format!(
        "inputs = [\"in\"]\n{}[outputs]\nout = \"c\"\n",
        nodes.concat()
    );
    let report = run(
        &store,
        &task(&store, &toml, &[("in", put(&store, b"short"))]),
    );
    let status = Status::Failed {
        node: "b".to_owned(),
        kind: FailureKind::OutOfRange,
    };
    assert_eq!((&report.outcome.status, report.executed), (&status, 2));
    let labels: Vec<&str> = report
        .outcome
        .trace
        .iter()
        .map(|step| step.label.as_str())
        .collect();
    assert_eq!(labels, ["a", "b"]);
}

#[test]
fn running_out_leaves_nothing() {
    let store = MemoryStore::new();
    let toml = "[[node]]\nname = \"for-ever\"\nop = \"pel.wasm/1\"\nmodule = \"spin\"\n[outputs]\nout = \"for-ever\"\n";
    let work = task(&store, toml, &[]);
    let artifacts = store.artifacts();
    let options = Options {
        limits: Limits {
            fuel: 10_000,
            ..Limits::default()
        },
        recompute: false,
    };
    let error = try_run(&store, &work, options).expect_err("no result");
    assert_eq!(
        error.to_string(),
        "node `for-ever` gave no result: out of fuel after 10000 units"
    );
    assert!(matches!(
        error,
        RunError::NoResult {
            source: NoResult::Fuel { limit: 10_000 },
            ..
        }
    ));
    assert_eq!((store.receipts().len(), store.artifacts()), (0, artifacts));
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let store = MemoryStore::new();
    let program = add(&store, FIVE_KERNELS);
    let gone = ArtifactKey::from_bytes([7; 32]);
    let bind = |inputs: &[(&str, ArtifactKey)]| {
        let inputs = inputs
            .iter()
            .map(|(name, key)| ((*name).to_owned(), *key))
            .collect();
        bind(&store, program, &inputs, Vec::new())
    };
    assert!(matches!(bind(&[("a", gone)]), Err(RunError::InputUnbound { name }) if name == "b"));
    let error = bind(&[("a", gone), ("b", gone), ("c", gone)]).expect_err("there is no `c`");
    assert_eq!(
        error.to_string(),
        "the program has no input `c`; it has a, b"
    );
    let task = bind(&[("a", gone), ("b", gone)]).expect("all are bound");
    let absent = try_run(&store, &task, Options::default());
    assert!(
        matches!(absent, Err(RunError::Absent { label, key }) if label == "joined" && key == gone)
    );
    let mut foreign = task.clone();
    foreign.derivation.profile = "uor.pel/2".to_owned();
    assert!(matches!(
        try_run(&store, &foreign, Options::default()),
        Err(RunError::Profile { .. })
    ));
    let mut short = task;
    short.derivation.inputs.pop();
    assert!(matches!(
        try_run(&store, &short, Options::default()),
        Err(RunError::InputCount { have: 1, need: 2 })
    ));
    let file = put(&store, b"a file");
    let error = uor_pel::run::bind(&store, file, &BTreeMap::new(), Vec::new());
    assert!(matches!(error, Err(RunError::NotAProgram { .. })));
}

#[test]
fn pending_tasks_done_by_others_leave_only_the_receipt_of_the_run() {
    let store = MemoryStore::new();
    let dir = tree(&store, &[("a", b"one"), ("sub/x", b"two"), ("z", b"one")]);
    let work = task(&store, MAPPED, &[("dir", dir)]);
    let mut rounds = Vec::new();
    loop {
        let tasks = pending(&store, &work).expect("memory");
        if tasks.is_empty() {
            break;
        }
        rounds.push(
            tasks
                .iter()
                .map(|task| task.label.clone())
                .collect::<Vec<_>>(),
        );
        for task in tasks.iter().rev() {
            try_run(&store, task, Options::default()).expect("a result");
        }
    }
    let expected: [&[&str]; 3] = [
        &["count[a]", "count[sub/x]", "count[z]"],
        &["count"],
        &["table"],
    ];
    assert_eq!(rounds, expected);
    let report = run(&store, &work);
    assert_eq!(
        (report.executed, report.reused, report.operations),
        (0, 2, 0)
    );

    let alone = MemoryStore::new();
    tree(&alone, &[("a", b"one"), ("sub/x", b"two"), ("z", b"one")]);
    assert_eq!(
        run(&alone, &task(&alone, MAPPED, &[("dir", dir)])).outcome,
        report.outcome
    );
    assert_eq!(alone.receipts(), store.receipts());
}

#[test]
fn nothing_after_a_failure_is_pending() {
    let store = MemoryStore::new();
    let toml = MAPPED.replace("wordcount", "picky");
    let dir = tree(
        &store,
        &[("a", b"fine"), ("sub/x", b"!bad"), ("z", b"never read")],
    );
    let work = task(&store, &toml, &[("dir", dir)]);
    let labels = || {
        pending(&store, &work)
            .expect("memory")
            .into_iter()
            .map(|task| task.label)
            .collect::<Vec<_>>()
    };
    let tasks = pending(&store, &work).expect("memory");
    try_run(&store, &tasks[1], Options::default()).expect("a result");
    assert_eq!(labels(), ["count[a]"]);
    try_run(&store, &tasks[0], Options::default()).expect("a result");
    assert_eq!(labels(), ["count"]);
    let count = pending(&store, &work).expect("memory").remove(0);
    assert_eq!(
        try_run(&store, &count, Options::default())
            .expect("a result")
            .operations,
        0
    );
    assert!(labels().is_empty());
    let status = Status::Failed {
        node: "count[sub/x]".to_owned(),
        kind: FailureKind::Explicit(9),
    };
    assert_eq!(run(&store, &work).outcome.status, status);
}

/// Programs of slices and concatenations over two inputs.
fn programs() -> impl Strategy<Value = String> {
    let node = (
        any::<bool>(),
        proptest::collection::vec(any::<proptest::sample::Index>(), 1..4),
        0_u64..6,
        0_u64..6,
    );
    (proptest::collection::vec(node, 1..9), any::<u64>()).prop_map(|(nodes, salt)| {
        let mut names = vec!["a".to_owned(), "b".to_owned()];
        let mut text = "inputs = [\"a\", \"b\"]\n".to_owned();
        for (index, (slice, sources, offset, len)) in nodes.iter().enumerate() {
            let name = format!("{:x}-{index}", blake3::hash(&(salt + index as u64).to_le_bytes()).as_bytes()[0]);
            let sources: Vec<String> = sources.iter().map(|source| format!("\"{}\"", names[source.index(names.len())])).collect();
            text.push_str(&if *slice {
                format!("[[node]]\nname = \"{name}\"\nop = \"pel.bytes.slice/1\"\ninputs = [{}]\noffset = {offset}\nlen = {len}\n", sources[0])
            } else {
                format!("[[node]]\nname = \"{name}\"\nop = \"pel.bytes.concat/1\"\ninputs = [{}]\n", sources.join(", "))
            });
            names.push(name);
        }
        text + &format!("[outputs]\nout = \"{}\"\n", names[names.len() - 1])
    })
}

/// What the program's text means, evaluated by recursion.
fn model(program: &Program, inputs: &[&[u8]]) -> Option<Vec<u8>> {
    let mut values: Vec<Vec<u8>> = Vec::new();
    for node in program.nodes() {
        let parts = node.inputs.iter().map(|source| match source {
            program::Source::Input(index) => inputs[*index as usize].to_vec(),
            program::Source::Node(index) => values[*index as usize].clone(),
        });
        let whole = parts.collect::<Vec<_>>().concat();
        values.push(if node.op.contains("slice") {
            let (offset, len) = (usize::from(node.params[0]), usize::from(node.params[8]));
            whole.get(offset..offset + len)?.to_vec()
        } else {
            whole
        });
    }
    values
        .pop()
        .filter(|_| matches!(program.outputs()[0].1, program::Source::Node(_)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_same_program_on_the_same_inputs_leaves_the_same_receipts(
        toml in programs(),
        a in proptest::collection::vec(any::<u8>(), 0..12),
        b in proptest::collection::vec(any::<u8>(), 0..12),
        first_work in programs(),
    ) {
        let (here, there) = (MemoryStore::new(), MemoryStore::new());
        let inputs = |store: &MemoryStore| [("a", put(store, &a)), ("b", put(store, &b))];
        // One site has done other work before, of which some may be the same.
        run(&there, &task(&there, &first_work, &inputs(&there)));
        let one = run(&here, &task(&here, &toml, &inputs(&here)));
        let two = run(&there, &task(&there, &toml, &inputs(&there)));
        prop_assert_eq!(one.receipt, two.receipt);
        prop_assert_eq!(one.outcome.encode(), two.outcome.encode());
        for receipt in here.receipts() {
            prop_assert!(there.receipts().contains(&receipt));
        }
        let program = compile(&toml, modules).expect("it is a program").program;
        if let (Status::Ok, Some(expected)) = (&one.outcome.status, model(&program, &[&a, &b])) {
            // The output may be any node; the model evaluates the last in order.
            let last = program.nodes().len() - 1;
            if program.outputs()[0].1 == program::Source::Node(u32::try_from(last).expect("few")) {
                prop_assert_eq!(output(&here, &one, "out"), expected);
            }
        }
    }
}
