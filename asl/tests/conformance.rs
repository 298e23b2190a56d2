//! The conformance set: small stores and single structures, with what they have to give, for other
//! implementations.
//!
//! `index-format/conformance/` is made by this test and held to it: everything is generated again
//! and compared byte for byte, and the stores that lie there are opened, verified and replayed.
//! After an intended change: `UPDATE_CONFORMANCE=1 cargo test -p uor-asl --test conformance`
//! rewrites the set; read the difference.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "conformance/damaged.rs"]
mod damaged;
#[path = "conformance/expected.rs"]
mod expected;
#[path = "conformance/frames.rs"]
mod frames;
#[path = "conformance/shapes.rs"]
mod shapes;
#[path = "conformance/stores.rs"]
mod stores;
#[path = "conformance/validated.rs"]
mod validated;
#[path = "conformance/values.rs"]
mod values;
#[path = "conformance/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the set lies.
fn set() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../index-format/conformance")
}

/// What this test makes in there; everything else is written by hand.
const MADE: [&str; 4] = ["stores", "damaged", "values.json", "frames.json"];

fn updating() -> bool {
    std::env::var_os("UPDATE_CONFORMANCE").is_some_and(|value| value == "1")
}

/// Makes the whole set in `root`.
fn make(root: &Path) {
    let groups = [
        (
            "stores",
            [stores::STORES.as_slice(), &validated::VALIDATED].concat(),
        ),
        ("damaged", damaged::DAMAGED.to_vec()),
    ];
    for (group, cases) in groups {
        for (name, build) in cases {
            let dir = root.join(group).join(name);
            fs::create_dir_all(&dir).unwrap();
            let notes = build(&dir);
            // Held while it was written; git would keep it, and nobody needs it.
            let _ = fs::remove_file(dir.join("lock"));
            let expected = expected::pretty(&expected::of_store(&dir, &notes));
            fs::write(root.join(group).join(format!("{name}.json")), expected).unwrap();
        }
    }
    fs::write(root.join("values.json"), expected::pretty(&values::all())).unwrap();
    fs::write(root.join("frames.json"), expected::pretty(&frames::all())).unwrap();
}

/// What lies in a directory, ascending.
#[expect(clippy::disallowed_methods, reason = "it is sorted")]
fn listed(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

/// Every file that is made, by its path.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut waiting: Vec<PathBuf> = MADE
        .iter()
        .map(|name| root.join(name))
        .filter(|path| path.exists())
        .collect();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(listed(&path));
        } else {
            found.insert(
                path.strip_prefix(root).unwrap().to_owned(),
                fs::read(&path).unwrap(),
            );
        }
    }
    found
}

#[test]
fn the_set_is_what_the_code_makes_of_it() {
    let scratch = tempfile::tempdir().unwrap();
    make(scratch.path());
    let (made, root) = (files(scratch.path()), set());
    if updating() {
        for name in MADE {
            let path = root.join(name);
            let _ = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
        }
        for (path, bytes) in &made {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
    let kept = files(&root);
    let differs = |path: &&PathBuf| made.get(*path) != kept.get(*path);
    let wrong: Vec<&PathBuf> = made.keys().chain(kept.keys()).filter(differs).collect();
    assert!(
        wrong.is_empty(),
        "these files of index-format/conformance are not what the code makes (UPDATE_CONFORMANCE=1 rewrites them): {wrong:?}"
    );
    let bytes: usize = kept.values().map(Vec::len).sum();
    assert!(
        bytes < 3 << 20,
        "the set is to stay small, it has {bytes} bytes"
    );
}

#[test]
fn the_stores_that_lie_there_give_what_is_expected_of_them() {
    let root = set();
    for (group, cases) in [
        ("stores", stores::STORES.len() + validated::VALIDATED.len()),
        ("damaged", damaged::DAMAGED.len()),
    ] {
        let mut seen = 0;
        for (path, text) in files(&root)
            .iter()
            .filter(|(path, _)| path.starts_with(group))
        {
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            seen += 1;
            let expected: serde_json::Value = serde_json::from_slice(text).unwrap();
            let found = expected::of_store(
                &root.join(path).with_extension(""),
                &expected::Notes::default(),
            );
            for key in [
                "opens",
                "verdict",
                "error",
                "findings",
                "torn_tails",
                "commits",
                "unaccepted",
                "members",
                "forks",
            ] {
                assert_eq!(
                    found.get(key),
                    expected.get(key),
                    "{key} of {}",
                    path.display()
                );
            }
            let root = |value: &serde_json::Value| value.pointer("/head/state_root").cloned();
            assert_eq!(
                root(&found),
                root(&expected),
                "state root of {}",
                path.display()
            );
        }
        assert_eq!(seen, cases, "every case of {group} is there");
    }
}

/// The reader was written from the pages alone, in another language, and shares nothing with this
/// code.
#[test]
fn a_reader_written_from_the_pages_agrees() {
    let reader = set().join("reader.py");
    let python = Command::new("python3")
        .arg("-c")
        .arg("import sys; sys.exit(sys.version_info < (3, 8))")
        .status();
    if !python.is_ok_and(|status| status.success()) {
        eprintln!(
            "skipped: there is no python3 of version 3.8 or above, so {} was not run",
            reader.display()
        );
        return;
    }
    let out = Command::new("python3")
        .arg(&reader)
        .arg(set())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        out.status.success(),
        "{}{}",
        text(&out.stdout),
        text(&out.stderr)
    );
    println!("{}", text(&out.stdout));
}
