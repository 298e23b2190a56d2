//! Snapshots: their labels, and what is kept of them.

use crate::support::{Bench, text};

/// A bench with a file, and a kept snapshot `s` of it; the snapshot's id.
fn with_a_snapshot() -> (Bench, String) {
    let bench = Bench::new();
    bench.write("file", "text");
    bench.uor(&["add", "file", "--ref", "file"]).ok();
    let created = bench.uor(&["snapshot", "create", "--label", "s", "--json"]);
    let id = text(&created.ok().json(), "snapshot_id").to_owned();
    (bench, id)
}

#[test]
fn a_label_is_not_taken_from_a_snapshot_that_is_kept() {
    let (bench, id) = with_a_snapshot();
    let before = bench.uor(&["log", "--json"]).ok().out;
    let again = ["snapshot", "create", "--label", "s"];
    bench
        .uor(&again)
        .fails(1, "Hint: choose another label, or let go");
    assert!(before == bench.uor(&["log", "--json"]).ok().out);
    let dropped = |saying: &str| {
        let said = bench.uor(&["snapshot", "drop", "s"]).ok().text();
        assert!(said.contains(&id) && said.contains(saying), "{said}");
    };
    dropped("no longer kept");
    dropped("was not kept");
    let shown = bench.uor(&["snapshot", "drop", "s", "--json"]).ok().json();
    assert_eq!(
        (&shown["kept"], &shown["was_kept"]),
        (&false.into(), &false.into())
    );
    let said = bench.uor(&again).ok().err;
    assert!(said.contains(&id[..8]), "{said}");
}

#[test]
fn a_kept_snapshot_is_read_when_its_record_was_removed() {
    let (bench, id) = with_a_snapshot();
    bench.uor(&["rm", "-r", "file"]).ok();
    bench.uor(&["rm", &id]).ok();
    bench.uor(&["cat", "file"]).fails(1, "there is no");
    let listed = bench.uor(&["snapshot", "ls", "--json"]).ok().json();
    assert_eq!(text(&listed, "snapshot_id"), id);
    for name in ["s", &id, &id[..8]] {
        let shown = bench.uor(&["snapshot", "show", name, "--json"]).ok().json();
        assert_eq!(
            (text(&shown, "snapshot_id"), &shown["kept"]),
            (id.as_str(), &true.into())
        );
        assert_eq!(bench.uor(&["cat", "file", "--at", name]).ok().out, b"text");
        assert!(
            bench
                .uor(&["ls", "--at", name])
                .ok()
                .text()
                .contains("file")
        );
        bench.uor(&["snapshot", "diff", name, "head"]).ok();
        bench.uor(&["snapshot", "keep", name]).ok();
    }
    bench.uor(&["snapshot", "drop", "s"]).ok();
    bench
        .uor(&["snapshot", "show", "s"])
        .fails(1, "there is no snapshot");
}
