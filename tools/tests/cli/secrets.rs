//! What stays with a site: its key never becomes an artifact, and nobody else reads its directory.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use serde_json::json;
use uor_node::site::Site;

use crate::nodes::Node;
use crate::support::{Bench, text};

/// Panics if the key of the site in `data` can be got from the site.
#[track_caller]
fn holds_no_key(bench: &Bench, data: &str) {
    let key = bench.read(&format!("{data}/key"));
    let site = Site::open(&bench.data(), uor_asl::disk::Mode::ReadOnly).unwrap();
    for checksum in site.store().blocks().payloads() {
        let bytes = site.store().blocks().read_all(checksum, u64::MAX).unwrap();
        assert!(
            !bytes.windows(key.len()).any(|window| window == key),
            "{checksum} holds the key"
        );
    }
}

fn copy(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp")
        .arg("-r")
        .arg(from)
        .arg(to)
        .status()
        .unwrap();
    assert!(status.success());
}

/// Every way to a data directory, none of which may lead a key out.
fn ways(bench: &Bench) -> Vec<PathBuf> {
    symlink(bench.data(), bench.path("link")).unwrap();
    symlink(bench.data().join("log"), bench.path("inner-link")).unwrap();
    symlink(bench.data().join("key"), bench.path("key-link")).unwrap();
    copy(&bench.data(), &bench.path("backup"));
    fs::remove_file(bench.path("backup/key")).unwrap();
    copy(&bench.path("other"), &bench.path("moved"));
    copy(&bench.path("other"), &bench.path("part"));
    fs::remove_file(bench.path("part/store")).unwrap();
    [
        "data",
        "data/",
        "data/log",
        "data/key",
        "data/../data/blocks",
        "link",
        "link/log",
        "inner-link",
        "key-link",
        "other",
    ]
    .into_iter()
    .chain(["other/key", "backup", "moved", "part", "moved/blocks"])
    .map(PathBuf::from)
    .collect()
}

#[test]
fn a_data_directory_is_refused_whichever_way_leads_to_it() {
    let bench = Bench::new();
    bench
        .uor(&["--data", "other", "init", "--name", "other"])
        .ok();
    let before = bench.uor(&["log", "--json"]).ok().out;
    for way in ways(&bench) {
        let way = way.to_str().unwrap();
        bench.uor(&["add", way]).fails(1, "is not added");
        bench
            .uor(&["add", way, "--ref", "x", "--allow-changing"])
            .fails(1, "is not added");
        bench
            .uor(&["add", way, "--dry-run"])
            .fails(1, "is not added");
        if bench.path(way).is_dir() {
            bench
                .uor(&["import", "zfs", "--mounted", way])
                .fails(1, "is not imported");
        }
    }
    assert!(bench.uor(&["log", "--json"]).ok().out == before);
    holds_no_key(&bench, "data");
}

#[test]
fn a_data_directory_in_a_tree_is_left_out_with_a_warning() {
    let bench = Bench::bare();
    bench
        .uor(&["--data", "home/data", "init", "--name", "here"])
        .ok();
    bench
        .uor(&["--data", "home/deep/er/other", "init", "--name", "other"])
        .ok();
    symlink(bench.path("home/data"), bench.path("data")).unwrap();
    bench.write("home/mine", "mine");
    bench.write("home/key", bench.read("home/deep/er/other/key"));
    bench.write("home/digest", format!("{}\n", "ab".repeat(32)));
    let run = |args: &[&str]| bench.uor(args).exits(3);
    let added = run(&["add", "home", "--ref", "home", "--json"]);
    assert_eq!(
        added.err.matches("it is a data directory of uor").count(),
        2,
        "{}",
        added.err
    );
    assert!(
        added
            .err
            .contains("home/key: it is the private key of a site"),
        "{}",
        added.err
    );
    let added = added.json();
    assert_eq!(
        (&added["files"], &added["left_out"]["total"]),
        (&json!(2), &json!(3))
    );
    let planned = run(&["add", "home", "--dry-run", "--json"]).json();
    assert_eq!(
        (&planned["files"], &planned["left_out"]),
        (&json!(2), &added["left_out"])
    );
    let names = |text_of: &str| -> Vec<String> {
        bench
            .uor(&["ls", text_of, "--json"])
            .ok()
            .lines()
            .iter()
            .map(|it| text(it, "name").to_owned())
            .collect()
    };
    assert_eq!(names("home"), ["deep", "digest", "mine"]);
    assert!(names("home/deep/er").is_empty());
    let imported = run(&[
        "import",
        "zfs",
        "--mounted",
        "home",
        "--ref",
        "imported",
        "--json",
    ]);
    assert_eq!(
        imported
            .err
            .matches("it is a data directory of uor")
            .count(),
        2,
        "{}",
        imported.err
    );
    assert!(
        imported.err.contains("it is the private key of a site"),
        "{}",
        imported.err
    );
    assert_eq!(names("imported"), ["data", "deep", "digest", "mine"]);
    assert!(names("imported/data").is_empty() && names("imported/deep/er/other").is_empty());
    bench.write_word_count();
    bench
        .uor(&["program", "add", "count.toml", "--ref", "count"])
        .ok();
    bench
        .uor(&["run", "count", "--input", "text=./home"])
        .fails(1, "cannot be added");
    holds_no_key(&bench, "data");
    holds_no_key(&bench, "home/deep/er/other");
}

#[test]
fn a_key_is_known_by_its_content() {
    let bench = Bench::new();
    bench
        .uor(&["--data", "other", "init", "--name", "other"])
        .ok();
    let (own, other) = (bench.read("data/key"), bench.read("other/key"));
    let make = |name: &str, content: &[u8], mode: u32| {
        bench.write(name, content);
        fs::set_permissions(bench.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    make("own-readable", &own, 0o644);
    make("own-without-newline", own.trim_ascii_end(), 0o644);
    make("other-private", &other, 0o600);
    make("elsewhere/key", &other, 0o644);
    for name in [
        "own-readable",
        "own-without-newline",
        "other-private",
        "elsewhere/key",
    ] {
        bench
            .uor(&["add", name])
            .fails(1, "it is the private key of a site");
    }
    bench
        .uor_with_input(&["add", "-"], &own)
        .fails(1, "it is the private key of a site");
    // A digest looks the same: it is added unless nobody else may read it.
    make("digest", format!("{}\n", "0f".repeat(32)).as_bytes(), 0o644);
    bench.uor(&["add", "digest"]).ok();
    make("digest", format!("{}\n", "0f".repeat(32)).as_bytes(), 0o600);
    bench.uor(&["add", "digest"]).fails(1, "let others read it");
    make("private-text", &[b'z'; 64], 0o600);
    bench.uor(&["add", "private-text"]).ok();
    holds_no_key(&bench, "data");
    holds_no_key(&bench, "other");
}

/// Everything in a directory, itself included, with its permission bits.
fn modes(dir: &Path) -> Vec<(PathBuf, u32)> {
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    let mut found = vec![(dir.to_owned(), mode(dir))];
    #[expect(
        clippy::disallowed_methods,
        reason = "each is held to the same rule, in any order"
    )]
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(modes(&path));
        } else {
            found.push((path.clone(), mode(&path)));
        }
    }
    found
}

#[track_caller]
fn is_private(dir: &Path) {
    for (path, mode) in modes(dir) {
        let wanted = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, wanted, "{} has mode {mode:o}", path.display());
    }
}

#[test]
fn a_data_directory_is_its_owners_alone() {
    let bench = Bench::bare();
    fs::create_dir(bench.path("data")).unwrap();
    bench.uor(&["init", "--name", "here"]).ok();
    bench.write("tree/f", "text");
    bench.uor(&["add", "tree", "--ref", "tree"]).ok();
    bench.uor(&["snapshot", "create"]).ok();
    bench.uor(&["import", "zfs", "--mounted", "tree"]).ok();
    is_private(&bench.data());
    let node = Node::start(&bench);
    bench.uor(&["add", "tree", "--checksum"]).ok();
    bench.uor(&["invite"]).ok();
    is_private(&bench.data());
    assert_eq!(node.terminate(), Some(0));
    is_private(&bench.data());
    bench.uor(&["--data", "new/deep/site", "init"]).ok();
    is_private(&bench.path("new/deep/site"));
    let above = fs::metadata(bench.path("new/deep"))
        .unwrap()
        .permissions()
        .mode()
        & 0o777;
    let usual = fs::metadata(bench.path("tree"))
        .unwrap()
        .permissions()
        .mode()
        & 0o777;
    assert_eq!(
        above, usual,
        "what is above the data directory is nobody's secret"
    );
}

#[test]
fn an_earlier_data_directory_is_tightened_once_and_says_so() {
    let bench = Bench::new();
    bench.write("f", "text");
    bench.uor(&["add", "f"]).ok();
    for (path, _) in modes(&bench.data())
        .into_iter()
        .filter(|(path, _)| !path.ends_with("key"))
    {
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    bench.uor(&["ls"]).ok();
    assert_eq!(
        fs::metadata(bench.data()).unwrap().permissions().mode() & 0o777,
        0o755,
        "a reader changes nothing"
    );
    let said = bench.uor(&["add", "f"]).ok().err;
    assert!(said.contains("Other users could read"), "{said}");
    is_private(&bench.data());
    let said = bench.uor(&["add", "f"]).ok().err;
    assert!(!said.contains("Other users"), "{said}");
}
