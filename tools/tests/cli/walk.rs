//! A walk through every command of one site.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::{Value, json};

use crate::support::{Bench, Ran, text};

fn id(value: &Value, key: &str) -> String {
    let id = text(value, key);
    assert!(
        id.len() == 64
            && id
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
        "{id}"
    );
    id.to_owned()
}

#[test]
fn every_command_does_what_it_says() {
    walk(&Bench::new());
}

/// The walk; the bench has a site named `here`, and perhaps a node on it.
pub(crate) fn walk(bench: &Bench) {
    let tree = artifacts(bench);
    names(bench, &tree);
    let first = snapshots(bench);
    graph(bench, &tree);
    programs(bench, &tree);
    history(bench, &first);
}

fn artifacts(bench: &Bench) -> String {
    bench.write("tree/a.txt", "hello world\n");
    bench.write("tree/sub/b.txt", "one\ntwo\n");
    bench.write("tree/run.sh", "#!/bin/sh\n");
    std::fs::set_permissions(
        bench.path("tree/run.sh"),
        std::fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    symlink("a.txt", bench.path("tree/link")).unwrap();

    let added = bench
        .uor(&["add", "tree", "tree/a.txt", "--json"])
        .ok()
        .lines();
    let [tree, file] = added.as_slice() else {
        panic!("{added:?}")
    };
    assert_eq!((text(tree, "path"), text(tree, "kind")), ("tree", "tree"));
    assert_eq!((&tree["bytes"], &tree["files"]), (&json!(30), &json!(3)));
    assert!(tree["new_bytes"].as_u64().unwrap() > 0);
    assert_eq!(
        (text(file, "path"), text(file, "kind"), &file["new_bytes"]),
        ("tree/a.txt", "file", &json!(0))
    );
    let again = bench.uor(&["add", "tree", "--json"]).ok().json();
    assert_eq!(
        (&again["key"], &again["new_bytes"]),
        (&tree["key"], &json!(0))
    );

    let piped = bench
        .uor_with_input(&["add", "-", "--type-tag", "7", "--json"], b"from a pipe")
        .ok()
        .json();
    assert_eq!((text(&piped, "path"), &piped["bytes"]), ("-", &json!(11)));
    assert_eq!(
        bench.uor(&["get", &id(&piped, "key")]).ok().out,
        b"from a pipe"
    );

    let key = id(tree, "key");
    let listed = bench.uor(&["ls", &key, "--json"]).ok().lines();
    let names: Vec<&str> = listed.iter().map(|entry| text(entry, "name")).collect();
    assert_eq!(names, ["a.txt", "link", "run.sh", "sub"]);
    assert_eq!(text(&listed[1], "target"), "a.txt");
    assert_eq!(
        bench.uor(&["cat", &format!("{key}/sub/b.txt")]).ok().out,
        b"one\ntwo\n"
    );
    assert_eq!(
        bench
            .uor(&["cat", &format!("{}/sub/b.txt", &key[..8])])
            .ok()
            .out,
        b"one\ntwo\n"
    );
    let content = bench
        .uor(&["cat", &format!("{key}/a.txt"), "--json"])
        .ok()
        .json();
    assert_eq!(
        (text(&content, "content"), text(&content, "encoding")),
        ("hello world\n", "utf-8")
    );

    let written = bench.uor(&["get", &key, "-o", "out", "--json"]).ok().json();
    assert_eq!(
        (&written["files"], &written["bytes"]),
        (&json!(3), &json!(30))
    );
    assert_eq!(bench.read("out/sub/b.txt"), b"one\ntwo\n");
    assert_eq!(
        std::fs::read_link(bench.path("out/link")).unwrap().to_str(),
        Some("a.txt")
    );
    assert_eq!(
        std::fs::metadata(bench.path("out/run.sh"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o755
    );
    bench.uor(&["get", &key, "-o", "out"]).fails(1, "out");
    key
}

fn names(bench: &Bench, tree: &str) {
    bench.uor(&["ref", "set", "data/tree", tree]).ok();
    let set = bench
        .uor(&["ref", "set", "data/tree", "data/tree/a.txt", "--json"])
        .ok()
        .json();
    assert_eq!(text(&set, "previous"), tree);
    bench.uor(&["ref", "set", "data/tree", tree]).ok();
    let refs = bench.uor(&["ref", "ls", "--json"]).ok().lines();
    assert_eq!(refs.len(), 1);
    assert_eq!(
        (
            text(&refs[0], "name"),
            text(&refs[0], "key"),
            text(&refs[0], "kind")
        ),
        ("data/tree", tree, "tree")
    );
    assert_eq!(bench.uor(&["ls", "--json"]).ok().lines(), refs);
    assert!(bench.uor(&["ls"]).ok().text().contains("data/tree"));
    assert_eq!(
        bench.uor(&["cat", "data/tree/a.txt"]).ok().out,
        b"hello world\n"
    );
}

fn snapshots(bench: &Bench) -> String {
    let created = bench
        .uor(&["snapshot", "create", "--label", "first", "--json"])
        .ok()
        .json();
    let first = id(&created, "snapshot_id");
    id(&created, "state_root");
    assert!(created["logseq_max"].as_u64().is_some() && created["frontier"].is_object());
    bench.write("later.txt", "later\n");
    bench.uor(&["add", "later.txt", "--ref", "later"]).ok();
    let second = bench.uor(&["snapshot", "create", "--json"]).ok().json();
    let second = id(&second, "snapshot_id");
    assert_ne!(first, second);

    let listed = bench.uor(&["snapshot", "ls", "--json"]).ok().lines();
    assert_eq!(
        listed
            .iter()
            .map(|listed| text(listed, "snapshot_id"))
            .collect::<Vec<_>>(),
        [&first, &second]
    );
    assert_eq!(listed[0]["labels"], json!(["first"]));
    let shown = bench
        .uor(&["snapshot", "show", "first", "--json"])
        .ok()
        .json();
    assert_eq!(
        (&shown["snapshot_id"], &shown["state_root"]),
        (&json!(first), &created["state_root"])
    );
    let diff = bench
        .uor(&["snapshot", "diff", "first", &second, "--json"])
        .ok()
        .json();
    let added: Vec<Option<&str>> = diff["added"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["name"].as_str())
        .collect();
    assert!(added.contains(&Some("later")), "{diff}");
    bench
        .uor(&["cat", "later", "--at", "first"])
        .fails(1, "later");
    assert_eq!(
        bench.uor(&["cat", "later", "--at", &second[..10]]).ok().out,
        b"later\n"
    );

    let dropped = bench
        .uor(&["snapshot", "drop", &second, "--json"])
        .ok()
        .json();
    assert_eq!(dropped["kept"], json!(false));
    assert_eq!(
        bench
            .uor(&["snapshot", "keep", &second, "--json"])
            .ok()
            .json()["kept"],
        json!(true)
    );
    first
}

fn graph(bench: &Bench, tree: &str) {
    let args = [
        "edge",
        "add",
        "--type",
        "derived-from",
        "--from",
        "data/tree",
        "--to",
        "later",
        "site:here",
        "--role",
        "to",
    ];
    let added = bench.uor(&[&args[..], &["--json"]].concat()).ok().json();
    let edge = id(&added, "id");
    let listed = bench.uor(&["edge", "ls", "later", "--json"]).ok().json();
    assert_eq!(
        (
            text(&listed, "id"),
            text(&listed, "type"),
            text(&listed, "role")
        ),
        (&*edge, "derived-from", "to")
    );
    assert_eq!(listed["from"], json!([tree]));
    let up = bench.uor(&["trace", "later", "--json"]).ok().json();
    assert_eq!(
        (text(&up, "direction"), text(&up["edges"][0], "id")),
        ("up", &*edge)
    );
    let down = bench
        .uor(&["trace", "data/tree", "--down", "--depth", "1", "--json"])
        .ok()
        .json();
    assert_eq!(down["nodes"].as_array().unwrap().len(), 3);
    assert!(
        bench
            .uor(&["trace", "later", "--format", "dot"])
            .ok()
            .text()
            .starts_with("digraph")
    );
    let prov = bench
        .uor(&["trace", "later", "--format", "prov-json"])
        .ok()
        .text();
    assert!(serde_json::from_str::<Value>(&prov).unwrap()["entity"].is_object());
    let removed = bench.uor(&["rm", &edge, "--json"]).ok().json();
    assert_eq!(text(&removed, "kind"), "edge");
    assert!(
        bench
            .uor(&["edge", "ls", "later", "--json"])
            .ok()
            .out
            .is_empty()
    );
}

fn programs(bench: &Bench, tree: &str) {
    bench.write_word_count();
    let checked = bench
        .uor(&["program", "check", "count.toml", "--json"])
        .ok()
        .json();
    let added = bench
        .uor(&[
            "program",
            "add",
            "count.toml",
            "--ref",
            "programs/count",
            "--json",
        ])
        .ok()
        .json();
    assert_eq!(id(&checked, "key"), id(&added, "key"));
    assert!(
        bench
            .uor(&["program", "show", "programs/count", "--format", "dot"])
            .ok()
            .text()
            .starts_with("digraph")
    );

    let run = |extra: &[&str]| -> Ran {
        bench
            .uor(&[&["run", "programs/count", "--json", "--input"], extra].concat())
            .ok()
    };
    let ran = run(&["text=data/tree"]).json();
    assert_eq!(
        (text(&ran, "status"), &ran["executed"], &ran["reused"]),
        ("ok", &json!(2), &json!(0))
    );
    assert_eq!(ran["program"], added["key"]);
    let counts = text(&ran["outputs"], "counts");
    assert_eq!(
        bench.uor(&["cat", counts]).ok().text(),
        "1 2 12\n1 1 10\n2 2 8\n"
    );
    let again = run(&["text=tree"]).json();
    assert_eq!(
        (&again["receipt"], &again["executed"]),
        (&ran["receipt"], &json!(0))
    );
    assert_eq!(
        run(&["text=data/tree", "--recompute"]).json()["executed"],
        json!(2)
    );

    let receipt = id(&ran, "receipt");
    let shown = bench
        .uor(&["receipt", "show", &receipt, "--json"])
        .ok()
        .json();
    assert_eq!(
        (&shown["inputs"], &shown["outputs"]),
        (&json!([tree]), &ran["outputs"])
    );
    let nodes: Vec<&str> = shown["trace"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| text(step, "node"))
        .collect();
    assert_eq!(nodes, ["count", "all"]);
    assert_eq!(text(&shown["claims"][0], "name"), "here");
    let up = bench.uor(&["trace", counts, "--json"]).ok().json();
    let reached: Vec<&str> = up["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| text(node, "id"))
        .collect();
    assert!(
        reached.contains(&tree) && reached.contains(&&*receipt),
        "{up}"
    );

    bench.write_program(
        "trap",
        "(module (memory (export \"memory\") 1 1) (func (export \"run\") unreachable))",
    );
    bench
        .uor(&["program", "add", "trap.toml", "--ref", "trap"])
        .ok();
    let failed = bench.uor(&["run", "trap", "--json"]).exits(3).json();
    assert_eq!(text(&failed, "status"), "failed");
    assert_eq!(
        (
            text(&failed["failure"], "node"),
            text(&failed["failure"], "kind")
        ),
        ("only", "unreachable")
    );
}

fn history(bench: &Bench, first: &str) {
    let log = bench.uor(&["log", "--json"]).ok().lines();
    let logseqs: Vec<u64> = log
        .iter()
        .map(|commit| commit["logseq"].as_u64().unwrap())
        .collect();
    assert!(
        logseqs.is_sorted() && log.len() > 5,
        "newest last: {logseqs:?}"
    );
    log.iter()
        .for_each(|commit| drop((id(commit, "domain"), id(commit, "hash"))));
    let last = bench
        .uor(&["log", "--domain", "here", "--limit", "1", "--json"])
        .ok()
        .json();
    assert_eq!(&last, log.last().unwrap());

    bench.uor(&["rm", "data/tree"]).ok();
    bench
        .uor(&["cat", "data/tree/a.txt"])
        .fails(1, "there is no");
    assert_eq!(
        bench
            .uor(&["cat", "data/tree/a.txt", "--at", first])
            .ok()
            .out,
        b"hello world\n"
    );
    assert!(bench.uor(&["conflicts", "--json"]).ok().out.is_empty());

    let status = bench.uor(&["status", "--json"]).ok().json();
    assert_eq!(text(&status, "name"), "here");
    for key in ["site_id", "federation_id", "state_root"] {
        id(&status, key);
    }
    assert_eq!(status["domains"][0]["logseq"], status["logseq_max"]);
    assert!(
        status["disk"]["log_bytes"].as_u64().is_some()
            && status["frontier"].is_object()
            && status["peers"].is_array()
    );
    assert!(
        bench
            .uor(&["status"])
            .ok()
            .text()
            .contains(text(&status, "state_root"))
    );
    let invited = bench.uor(&["invite", "--json"]).ok();
    assert!(text(&invited.json(), "ticket").starts_with("uor-ticket-"));
    assert!(
        invited.err.contains("--peer"),
        "a ticket without an address is worth a warning"
    );
    assert!(bench.uor(&["log", "--quiet"]).ok().err.is_empty());
}
