//! Programs, runs and receipts.

use super::*;

const TOML: &str = r#"
    inputs = ["left", "right"]

    [[node]]
    name = "both"
    op = "pel.bytes.concat/1"
    inputs = ["left", "right"]

    [[node]]
    name = "digest"
    op = "pel.bytes.hash/1"
    inputs = ["both"]

    [outputs]
    digest = "digest"
    both = "both"
"#;

fn inputs(left: &str, right: &Path) -> Vec<(String, Binding)> {
    vec![
        ("left".to_owned(), Binding::Text(left.to_owned())),
        ("right".to_owned(), Binding::Path(right.to_owned())),
    ]
}

#[test]
fn a_program_is_checked_added_and_shown() {
    let scratch = Scratch::new("program");
    let site = scratch.site("a");
    let file = scratch.file("p.toml", TOML.as_bytes());
    let checked = Site::program_check(&file).unwrap();
    assert_eq!(checked.nodes, ["both", "digest"]);
    let added = site.program_add(&file, Some("p")).unwrap();
    assert_eq!(added.program, checked);
    let target = site.resolve("p", &site.head()).unwrap();
    assert_eq!((target.sort, target.key()), (Sort::Program, checked.key));
    let shown = site.program_show(&target).unwrap();
    assert!(
        shown.program == checked
            && shown.dot.starts_with("digraph")
            && shown.text.contains("digest")
    );
    let before = site.head();
    assert_eq!(site.program_add(&file, Some("p")).unwrap().new_bytes, 0);
    assert_eq!(site.head(), before);
}

#[test]
fn an_unsound_program_is_refused_and_nothing_is_written() {
    let scratch = Scratch::new("unsound");
    let site = scratch.site("a");
    let before = site.head();
    let cycle = TOML.replace(
        r#"inputs = ["left", "right"]

    [[node]]
    name = "digest""#,
        r#"inputs = ["digest"]

    [[node]]
    name = "digest""#,
    );
    let file = scratch.file("cycle.toml", cycle.as_bytes());
    let error = site.program_add(&file, None).unwrap_err();
    assert!(matches!(error, ProgramError::Compile { .. }), "{error}");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        source.contains("cycle") && source.contains("both"),
        "{source}"
    );
    let module = "[[node]]\nname = \"n\"\nop = \"pel.wasm/1\"\nmodule = \"absent.wasm\"\n[outputs]\nout = \"n\"\n";
    assert!(
        site.program_add(&scratch.file("absent.toml", module.as_bytes()), None)
            .is_err()
    );
    scratch.file("absent.wasm", b"not wasm");
    assert!(site.program_add(&scratch.at("absent.toml"), None).is_err());
    assert!(matches!(
        site.program_add(&scratch.at("no.toml"), None),
        Err(ProgramError::File { .. })
    ));
    assert_eq!(site.head(), before);
}

#[test]
fn a_run_leaves_receipts_outputs_and_edges_in_one_commit_and_is_reused() {
    let scratch = Scratch::new("run");
    let site = scratch.site("a");
    site.program_add(&scratch.file("p.toml", TOML.as_bytes()), Some("p"))
        .unwrap();
    let left = add_as(&site, &scratch.file("left", b"left "), Some("left"));
    let right = scratch.file("right", b"right");
    add(&site, &right);
    let commits = site.log(None, None).unwrap().len();
    let ran = site
        .run(
            "p",
            &inputs("left", &right),
            &RunOptions::default(),
            &mut |_| {},
        )
        .unwrap();
    assert_eq!(
        (ran.status, ran.executed, ran.reused, ran.conflict),
        ("ok", 2, 0, false)
    );
    assert_eq!(site.log(None, None).unwrap().len(), commits + 1);
    let output = |name: &str| {
        ran.outputs
            .iter()
            .find(|(output, _)| output == name)
            .unwrap()
            .1
    };
    assert_eq!(cat(&site, &output("both").to_string()), b"left right");

    let (at, before) = (site.head(), site.head());
    let shown = site
        .receipt_show(&site.resolve(&ran.receipt.to_string(), &at).unwrap(), &at)
        .unwrap();
    assert_eq!(
        (shown.program, shown.inputs[0], shown.status),
        (ran.program, left.key, "ok")
    );
    assert_eq!(
        shown
            .trace
            .iter()
            .map(|step| step.node.as_str())
            .collect::<Vec<_>>(),
        ["both", "digest"]
    );
    assert_eq!(shown.claims.len(), 1);
    let digest = site
        .resolve_endpoint(&output("digest").to_string(), &at)
        .unwrap();
    let trace = site.trace(&digest, Direction::Up, None, &at).unwrap();
    let reached: Vec<String> = trace
        .reached
        .iter()
        .map(|reached| reached.endpoint.to_string())
        .collect();
    for key in [ran.receipt, ran.program, left.key] {
        assert!(reached.contains(&key.to_string()));
    }

    let again = site
        .run(
            "p",
            &inputs("left", &right),
            &RunOptions::default(),
            &mut |_| {},
        )
        .unwrap();
    assert_eq!(
        (again.executed, again.reused, again.receipt),
        (0, 2, ran.receipt)
    );
    assert_eq!(site.head(), before);
    let recompute = RunOptions {
        recompute: true,
        ..RunOptions::default()
    };
    let fresh = site
        .run("p", &inputs("left", &right), &recompute, &mut |_| {})
        .unwrap();
    assert_eq!((fresh.executed, fresh.outputs), (2, ran.outputs));
    // It says nothing that this site has not said.
    assert_eq!(site.head(), before);
}

#[test]
fn another_site_reuses_a_receipt_and_corroborates_when_it_computes() {
    let scratch = Scratch::new("corroborate");
    let a = scratch.site("a");
    let b = join(&scratch, &a, "b");
    a.program_add(&scratch.file("p.toml", TOML.as_bytes()), Some("p"))
        .unwrap();
    add_as(&a, &scratch.file("left", b"l"), Some("left"));
    let right = scratch.file("right", b"r");
    let ran = a
        .run(
            "p",
            &inputs("left", &right),
            &RunOptions::default(),
            &mut |_| {},
        )
        .unwrap();
    sync(&a, &b);
    let reused = b
        .run(
            "p",
            &inputs("left", &right),
            &RunOptions::default(),
            &mut |_| {},
        )
        .unwrap();
    assert_eq!((reused.executed, reused.receipt), (0, ran.receipt));
    assert_eq!(b.head(), a.head());
    let recompute = RunOptions {
        recompute: true,
        ..RunOptions::default()
    };
    let ran = b
        .run("p", &inputs("left", &right), &recompute, &mut |_| {})
        .unwrap();
    assert!(!ran.conflict);
    let at = b.head();
    let shown = b
        .receipt_show(&b.resolve(&ran.receipt.to_string(), &at).unwrap(), &at)
        .unwrap();
    assert_eq!(
        shown
            .claims
            .iter()
            .map(|claim| claim.domain)
            .collect::<Vec<_>>(),
        [a.site_id(), b.site_id()]
    );
    assert!(!shown.conflict);
}

#[test]
fn a_module_runs_over_every_file_of_a_tree() {
    let scratch = Scratch::new("module");
    let site = scratch.site("a");
    let wasm = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pel/guests/wordcount.wasm");
    scratch.file("programs/count.wasm", &fs::read(wasm).unwrap());
    let toml = "inputs = [\"tree\"]\n[[node]]\nname = \"count\"\nop = \"pel.wasm/1\"\nmodule = \"count.wasm\"\n\
                each = true\ninputs = [\"tree\"]\n[[node]]\nname = \"all\"\nop = \"pel.bytes.concat/1\"\n\
                inputs = [\"count\"]\n[outputs]\ncounts = \"count\"\nall = \"all\"\n";
    site.program_add(&scratch.file("programs/p.toml", toml.as_bytes()), Some("p"))
        .unwrap();
    scratch.file("in/a", b"one two\n");
    scratch.file("in/sub/b", b"three\nfour five\n");
    let inputs = [("tree".to_owned(), Binding::Path(scratch.at("in")))];
    let mut told = Vec::new();
    let ran = site
        .run("p", &inputs, &RunOptions::default(), &mut |progress| {
            told.push(progress)
        })
        .unwrap();
    assert_eq!((ran.status, ran.executed), ("ok", 2));
    assert_eq!(told.last().unwrap().executed, 4, "two files, two nodes");
    let output = |name: &str| {
        ran.outputs
            .iter()
            .find(|(output, _)| output == name)
            .unwrap()
            .1
            .to_string()
    };
    assert_eq!(cat(&site, &output("all")), b"1 2 8\n2 3 16\n");
    assert_eq!(
        cat(&site, &format!("{}/sub/b", output("counts"))),
        b"2 3 16\n"
    );
    // One more file costs one more execution.
    scratch.file("in/c", b"");
    told.clear();
    site.run("p", &inputs, &RunOptions::default(), &mut |progress| {
        told.push(progress)
    })
    .unwrap();
    assert_eq!(
        (told.last().unwrap().executed, told.last().unwrap().reused),
        (3, 2)
    );
    let starved = RunOptions {
        recompute: true,
        fuel: Some(10),
    };
    let before = site.head();
    let error = site.run("p", &inputs, &starved, &mut |_| {}).unwrap_err();
    assert!(matches!(error, RunError::Run(_)), "{error}");
    assert_eq!(site.head(), before);
}

#[test]
fn operations_read_across_the_chunks_of_a_large_payload() {
    let scratch = Scratch::new("chunks");
    let site = scratch.site("a");
    let bytes: Vec<u8> = (0u32..3 << 20)
        .flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let added = add_as(&site, &scratch.file("big", &bytes), Some("big"));
    assert!(
        site.store()
            .blocks()
            .chunks(payload_of(&site, &added.key))
            .unwrap()
            .len()
            > 2
    );
    let toml = format!(
        "inputs = [\"big\"]\n[[node]]\nname = \"cut\"\nop = \"pel.bytes.slice/1\"\noffset = 1\nlen = {}\n\
         inputs = [\"big\"]\n[outputs]\nout = \"cut\"\n",
        bytes.len() - 2
    );
    site.program_add(&scratch.file("p.toml", toml.as_bytes()), Some("p"))
        .unwrap();
    let inputs = [("big".to_owned(), Binding::Text("big".to_owned()))];
    let ran = site
        .run("p", &inputs, &RunOptions::default(), &mut |_| {})
        .unwrap();
    assert!(cat(&site, &ran.outputs[0].1.to_string()) == bytes[1..bytes.len() - 1]);
}

fn payload_of(site: &Site, key: &ArtifactKey) -> uor_index_format::id::Checksum {
    site.resolve(&key.to_string(), &site.head())
        .unwrap()
        .checksum
        .unwrap()
}

#[test]
fn a_failure_is_a_receipt() {
    let scratch = Scratch::new("failure");
    let site = scratch.site("a");
    let slice = "inputs = [\"text\"]\n[[node]]\nname = \"cut\"\nop = \"pel.bytes.slice/1\"\noffset = 5\nlen = 10\n\
                 inputs = [\"text\"]\n[outputs]\nout = \"cut\"\n";
    site.program_add(&scratch.file("p.toml", slice.as_bytes()), Some("p"))
        .unwrap();
    add_as(&site, &scratch.file("f", b"short"), Some("f"));
    let inputs = [("text".to_owned(), Binding::Text("f".to_owned()))];
    let ran = site
        .run("p", &inputs, &RunOptions::default(), &mut |_| {})
        .unwrap();
    let failure = ran.failure.unwrap();
    assert_eq!(
        (ran.status, failure.node.as_str(), failure.kind),
        ("failed", "cut", "out-of-range")
    );
    assert!(ran.outputs.is_empty());
    let at = site.head();
    let edges = site
        .edges_of(
            &site
                .resolve_endpoint(&ran.receipt.to_string(), &at)
                .unwrap(),
            &at,
        )
        .unwrap();
    assert_eq!(
        edges
            .iter()
            .map(|edge| edge.edge_type.as_str())
            .collect::<Vec<_>>(),
        ["used"]
    );
}

#[test]
fn wrong_inputs_of_a_run_leave_nothing() {
    let scratch = Scratch::new("inputs");
    let site = scratch.site("a");
    site.program_add(&scratch.file("p.toml", TOML.as_bytes()), Some("p"))
        .unwrap();
    add_as(&site, &scratch.file("f", b"x"), Some("f"));
    let before = site.head();
    let text = |name: &str, text: &str| (name.to_owned(), Binding::Text(text.to_owned()));
    let run = |inputs: &[(String, Binding)]| {
        site.run("p", inputs, &RunOptions::default(), &mut |_| {})
            .unwrap_err()
    };
    assert!(matches!(run(&[text("left", "f")]), RunError::Run(_)));
    assert!(matches!(
        run(&[text("left", "f"), text("left", "f")]),
        RunError::InputTwice { .. }
    ));
    assert!(matches!(
        run(&[text("left", "f"), text("right", "f"), text("more", "f")]),
        RunError::Run(_)
    ));
    assert!(matches!(
        run(&[text("left", "nothing")]),
        RunError::Resolve(_)
    ));
    assert_eq!(site.head(), before);
}
