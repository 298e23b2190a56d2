//! What leaves the disk: `gc` and `erase`, at a site alone and through a running node.

use serde_json::json;

use crate::nodes::Node;
use crate::support::{Bench, Ran, keys, text};

/// Adds a file; its key.
fn add(bench: &Bench, name: &str, content: &str) -> String {
    bench.write(name, content);
    text(&bench.uor(&["add", name, "--json"]).ok().json(), "key").to_owned()
}

fn gc(bench: &Bench, args: &[&str]) -> serde_json::Value {
    bench.uor(&[&["gc", "--json"], args].concat()).ok().json()
}

fn erased(ran: Ran, key: &str) {
    let said = ran.fails(1, "was erased here on 20").err;
    assert!(
        said.contains(key) && said.contains("only if the same bytes are added"),
        "{said}"
    );
}

#[test]
fn things_leave_the_disk_at_a_site_alone() {
    leave(&Bench::new());
}

#[test]
fn things_leave_the_disk_through_a_running_node() {
    let bench = Bench::new();
    let node = Node::start(&bench);
    leave(&bench);
    assert_eq!(node.terminate(), Some(0));
    bench.replay(&["verify", "data"]).ok();
}

fn leave(bench: &Bench) {
    let (kept, gone, secret) = (
        add(bench, "kept", "kept"),
        add(bench, "gone", "gone"),
        add(bench, "secret", "secret"),
    );
    bench.uor(&["snapshot", "create", "--label", "before"]).ok();
    bench.uor(&["rm", &gone]).ok();
    assert_eq!(gc(bench, &[])["payloads"], 0, "a kept snapshot shows it");
    assert_eq!(
        bench.uor(&["cat", &gone, "--at", "before"]).ok().out,
        b"gone"
    );
    bench.uor(&["snapshot", "drop", "before"]).ok();
    let dry = gc(bench, &["--dry-run"]);
    assert_eq!(
        keys(&dry),
        [
            "bytes_freed",
            "bytes_held",
            "dry_run",
            "packs_rewritten",
            "payloads",
            "snapshots_kept"
        ]
    );
    assert_eq!(
        (&dry["payloads"], &dry["dry_run"]),
        (&json!(1), &json!(true))
    );
    assert_eq!(
        bench.uor(&["cat", &gone, "--at", "before"]).ok().out,
        b"gone"
    );
    let said = bench.uor(&["gc"]).ok().text();
    assert!(said.starts_with("1 payload freed"), "{said}");
    bench
        .uor(&["cat", &gone, "--at", "before"])
        .fails(1, "not here");

    let done = bench.uor(&["erase", &secret[..12], "--json"]).ok().json();
    assert_eq!(keys(&done), ["bytes", "checksum", "key", "wall_ms"]);
    assert_eq!(text(&done, "key"), secret);
    erased(bench.uor(&["cat", &secret]), &secret);
    erased(bench.uor(&["get", &secret, "-o", "out"]), &secret);
    assert!(!bench.path("out").exists());
    let verified = bench.replay(&["verify", "data", "--json"]).ok().json();
    assert_eq!(
        (&verified["erased"], &verified["missing"]),
        (&json!([secret]), &json!([]))
    );
    assert_eq!(bench.uor(&["cat", &kept]).ok().out, b"kept");
    let again = bench.uor(&["erase", &secret, "--json"]).ok().json();
    assert_eq!(
        (&again["wall_ms"], &again["bytes"]),
        (&done["wall_ms"], &json!(0))
    );

    let back = bench.uor(&["add", "secret", "--json"]).ok().json();
    assert_eq!(text(&back, "key"), secret);
    assert_eq!(bench.uor(&["cat", &secret]).ok().out, b"secret");
    assert_eq!(
        bench.replay(&["verify", "data", "--json"]).ok().json()["erased"],
        json!([])
    );
}

#[test]
fn a_file_is_read_again_when_asked_to() {
    let bench = Bench::new();
    bench.write("tree/a", "one");
    let first = bench.uor(&["add", "tree", "--json"]).ok().json();
    for args in [
        &["add", "tree", "--json"][..],
        &["add", "tree", "--json", "--checksum"],
    ] {
        let again = bench.uor(args).ok().json();
        assert_eq!(
            (&again["key"], &again["bytes"], &again["files"]),
            (&first["key"], &first["bytes"], &first["files"])
        );
        assert_eq!(again["new_bytes"], 0);
    }
}

#[test]
fn what_cannot_leave_is_named_and_stays() {
    let bench = Bench::new();
    let key = add(&bench, "f", "text");
    let snapshot = bench.uor(&["snapshot", "create", "--json"]).ok().json();
    let snapshot = text(&snapshot, "snapshot_id");
    bench.uor(&["gc", "everything"]).fails(2, "Usage");
    bench.uor(&["erase"]).fails(2, "Usage");
    bench
        .uor(&["erase", &"0".repeat(64)])
        .fails(1, "there is no");
    bench
        .uor(&["erase", "no/such/name"])
        .fails(1, "there is no");
    bench
        .uor(&["erase", &key, "--at", "nowhen"])
        .fails(1, "nowhen");
    bench
        .uor(&["erase", snapshot])
        .fails(1, "is kept: drop it first");
    assert_eq!(bench.uor(&["cat", &key]).ok().out, b"text");
    std::fs::write(bench.data().join("kept"), format!("{}\n", "0".repeat(64))).unwrap();
    bench.uor(&["gc"]).fails(1, "what it shows cannot be told");
    bench.uor(&["snapshot", "drop", &"0".repeat(64)]).ok();
    bench.uor(&["gc"]).ok();
    assert_eq!(bench.uor(&["cat", &key]).ok().out, b"text");
}
