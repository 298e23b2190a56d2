//! `uor import zfs`: streams from files, from standard input and through a running node; what it
//! says, and how it ends.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::nodes::Node;
use crate::support::{Bench, text};

/// Puts a fixture into the bench's folder.
fn place(bench: &Bench, directory: &str, name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../zfs/tests/data")
        .join(directory);
    let mut plain = Vec::new();
    let zipped = fs::read(path.join(format!("{name}.zsend.gz"))).unwrap();
    flate2::read::GzDecoder::new(zipped.as_slice())
        .read_to_end(&mut plain)
        .unwrap();
    bench.write(name, plain);
}

#[test]
fn snapshots_come_in_at_a_site_alone() {
    come_in(&Bench::new());
}

#[test]
fn snapshots_come_in_through_a_running_node() {
    let bench = Bench::new();
    let node = Node::start(&bench);
    come_in(&bench);
    assert_eq!(node.terminate(), Some(0));
    bench.replay(&["verify", "data"]).ok();
}

fn come_in(bench: &Bench) {
    for name in ["tiny-full", "tiny-inc-s1-s2", "rep-R", "vol-full"] {
        place(bench, "streams", name);
    }
    place(bench, "errors", "flip-payload");
    bench
        .uor(&["import", "zfs", "tiny-inc-s1-s2"])
        .fails(1, "needs the snapshot with GUID 5ccf094579b58d82");
    bench
        .uor(&["import", "zfs", "flip-payload", "--ref", "bad"])
        .fails(1, "damaged at or before byte");
    assert!(bench.uor(&["ls", "--json"]).ok().out.is_empty());

    let imported = bench
        .uor(&["import", "zfs", "tiny-full", "--ref", "tiny", "--json"])
        .ok()
        .json();
    let zfs = json!({
        "to_guid": "5ccf094579b58d82", "from_guid": "0000000000000000", "to_name": "tank/tiny@s1", "creation": 1_795_222_368,
    });
    assert_eq!(
        (&imported["zfs"], &imported["ref"], &imported["files"]),
        (&zfs, &json!("tiny"), &json!(4))
    );
    let again = bench
        .uor(&["import", "zfs", "tiny-full", "--ref", "tiny"])
        .ok();
    assert!(
        String::from_utf8(again.out)
            .unwrap()
            .contains("is here already")
    );
    let increment = bench
        .uor(&["import", "zfs", "tiny-inc-s1-s2", "--ref", "tiny", "--json"])
        .ok()
        .json();
    let shown = bench
        .uor(&[
            "snapshot",
            "show",
            text(&increment, "snapshot_id"),
            "--json",
        ])
        .ok()
        .json();
    assert_eq!(
        (&shown["zfs"], &shown["tree"]),
        (&increment["zfs"], &increment["tree"])
    );
    assert_eq!(shown["predecessor"], imported["snapshot_id"]);

    bench.uor(&["get", "tiny", "-o", "out"]).ok();
    let mounted = bench
        .uor(&["import", "zfs", "--mounted", "out", "--json"])
        .ok()
        .json();
    // Owners come back only where files may be given away.
    if rights() {
        assert_eq!(mounted["tree"], increment["tree"]);
    }

    let package = bench.uor(&["import", "zfs", "rep-R", "--ref", "rep", "--json"]);
    assert_eq!(package.status, 3, "{}", package.err);
    assert!(
        package.err.contains("left out `tank/rep/vol@s1`"),
        "{}",
        package.err
    );
    let names: Vec<Value> = package
        .lines()
        .into_iter()
        .map(|line| line["ref"].clone())
        .collect();
    assert_eq!(names, ["rep", "rep", "rep/child", "rep/child"]);
    bench
        .uor(&["import", "zfs", "vol-full"])
        .fails(1, "this is a volume, not a filesystem");
    bench.uor(&["import", "zfs", "vol-full", "--volume"]).ok();
    bench.uor(&["import", "zfs"]).fails(2, "required");
    bench
        .uor(&["import", "zfs", "nothing"])
        .fails(1, "could not read");
}

/// Whether this process may give files away, as the fixtures need it.
fn rights() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| status.contains("\nUid:\t0\t"))
}

#[test]
fn a_stream_comes_from_standard_input() {
    let bench = Bench::new();
    place(&bench, "streams", "basic-full-Lec");
    let imported = bench
        .uor_with_input(
            &["import", "zfs", "-", "--json"],
            &bench.read("basic-full-Lec"),
        )
        .ok()
        .json();
    assert_eq!(text(&imported["zfs"], "to_guid"), "98ce575753a38c98");
    let listed = bench
        .uor(&["ls", text(&imported, "tree"), "--json"])
        .ok()
        .lines();
    let fifo = listed.iter().find(|entry| entry["name"] == "fifo").unwrap();
    assert_eq!(
        (&fifo["kind"], &fifo["attributes"]["uid"]),
        (&json!("fifo"), &json!(0))
    );
    bench
        .uor(&["cat", &format!("{}/fifo", text(&imported, "tree"))])
        .fails(1, "neither a file nor a directory");
}

#[test]
fn a_site_that_has_the_earlier_snapshot_takes_the_next_stream() {
    let bench = Bench::new();
    place(&bench, "streams", "tiny-full");
    place(&bench, "streams", "tiny-inc-s1-s2");
    bench
        .uor(&["import", "zfs", "tiny-full", "--ref", "tiny"])
        .ok();
    let node = Node::start(&bench);
    let invited = bench.uor(&["invite", "--json"]).ok().json();
    bench
        .uor(&[
            "join",
            text(&invited, "ticket"),
            "--name",
            "there",
            "--data",
            "there",
        ])
        .ok();
    let mut there = bench.command("uor");
    there
        .args([
            "node",
            "--data",
            "there",
            "--listen",
            "/ip4/127.0.0.1/tcp/0",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut there = there.spawn().unwrap();
    let imported = (0..200).find_map(|_| {
        // Payloads follow records.
        let ran = bench.uor(&[
            "import",
            "zfs",
            "tiny-inc-s1-s2",
            "--ref",
            "tiny",
            "--data",
            "there",
            "--json",
        ]);
        (ran.status == 0).then(|| ran.json())
    });
    there.kill().unwrap();
    there.wait().unwrap();
    assert_eq!(
        text(&imported.unwrap()["zfs"], "from_guid"),
        "5ccf094579b58d82"
    );
    assert_eq!(node.terminate(), Some(0));
}
