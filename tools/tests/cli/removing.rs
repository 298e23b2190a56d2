//! Shadowing: what it takes along, what it spares, and what it says.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Bench, text};

fn add(bench: &Bench, path: &str, name: &str) -> String {
    text(
        &bench
            .uor(&["add", path, "--ref", name, "--json"])
            .ok()
            .json(),
        "key",
    )
    .to_owned()
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let digests = (0..len.div_ceil(32) as u64).flat_map(|number| {
        *uor_index_format::id::Checksum::of(&[seed.to_le_bytes(), number.to_le_bytes()].concat())
            .as_bytes()
    });
    digests.take(len).collect()
}

/// Two data sets with half of their files in common, in directories of which one is in common too.
fn halves(bench: &Bench) {
    for number in 0..8 {
        let common = noise(number, 40_000);
        for set in ["one", "two"] {
            bench.write(&format!("{set}/common/{number}"), &common);
            bench.write(
                &format!("{set}/mixed/common-{number}"),
                noise(100 + number, 40_000),
            );
            bench.write(
                &format!("{set}/mixed/own-{number}"),
                [set.as_bytes(), &noise(200 + number, 40_000)].concat(),
            );
        }
        bench.write(
            &format!("one/only/deep/{number}"),
            noise(300 + number, 40_000),
        );
    }
}

/// Everything below a directory, with contents.
fn contents(bench: &Bench, dir: &str) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![bench.path(dir)];
    while let Some(dir) = open.pop() {
        #[expect(clippy::disallowed_methods, reason = "sorted below")]
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path)
            } else {
                found.push((path.display().to_string(), fs::read(path).unwrap()))
            }
        }
    }
    let root = format!("{}/", bench.path(dir).display());
    found
        .iter_mut()
        .for_each(|(path, _)| *path = path.replacen(&root, "", 1));
    found.sort();
    found
}

#[track_caller]
fn gets_whole(bench: &Bench, name: &str, dir: &str) {
    bench.uor(&["get", name, "-o", "out"]).ok();
    assert!(contents(bench, "out") == contents(bench, dir), "{name}");
    fs::remove_dir_all(bench.path("out")).unwrap();
}

#[test]
fn a_data_set_goes_with_what_nothing_else_shows_and_gc_frees_it() {
    let bench = Bench::new();
    halves(&bench);
    let one = add(&bench, "one", "data/one");
    add(&bench, "two", "data/two");
    assert_eq!(bench.uor(&["gc", "--json"]).ok().json()["payloads"], 0);
    let snapshot = bench.uor(&["snapshot", "create", "--json"]).ok().json();
    let before_removal = text(&snapshot, "snapshot_id").to_owned();
    let removed = bench
        .uor(&["rm", "--recursive", "data/one", "--json"])
        .ok()
        .json();
    // Its root, `mixed`, `only` and `only/deep`; `common` stays with the 16 files that both have.
    assert_eq!(
        (&removed["trees"], &removed["files"], &removed["kept"]),
        (&json!(4), &json!(16), &json!(17))
    );
    assert_eq!(
        (text(&removed, "kind"), text(&removed, "ref")),
        ("ref", "data/one")
    );
    assert!(removed["bytes"].as_u64().unwrap() > 16 * 40_000);
    bench
        .uor(&["get", &one, "-o", "out"])
        .fails(1, "was removed");
    bench
        .uor(&["cat", "data/one/only/deep/1"])
        .fails(1, "there is no");
    assert_eq!(
        bench.uor(&["gc", "--json"]).ok().json()["payloads"],
        0,
        "a kept snapshot still shows it"
    );
    bench.uor(&["snapshot", "drop", &before_removal]).ok();
    let freed = bench.uor(&["gc", "--json"]).ok().json();
    assert_eq!(freed["payloads"], 20);
    bench
        .uor(&["cat", "data/one/only/deep/1", "--at", &before_removal])
        .fails(1, "not here");
    gets_whole(&bench, "data/two", "two");
    bench.replay(&["verify", "data"]).ok();
    // It can be added again, and the other be removed.
    assert_eq!(add(&bench, "one", "data/one"), one);
    bench.uor(&["rm", "-r", "data/two"]).ok();
    bench.uor(&["gc"]).ok();
    gets_whole(&bench, "data/one", "one");
}

#[test]
fn everything_that_shows_a_part_keeps_it() {
    let bench = Bench::new();
    bench.write("set/a", "a");
    bench.write("set/b", "b");
    bench.write("set/inner/c", "c");
    bench.write("outer/inner/c", "c");
    let set = add(&bench, "set", "set");
    let removed = |args: &[&str]| {
        bench
            .uor(&[&["rm", "--recursive", "--json"], args].concat())
            .ok()
            .json()
    };
    let counts = |it: &Value| (it["trees"].clone(), it["files"].clone(), it["kept"].clone());

    // Another name for all of it.
    bench.uor(&["ref", "set", "again", &set]).ok();
    let said = removed(&["set"]);
    assert_eq!(counts(&said), (json!(0), json!(0), json!(5)));
    assert_eq!(said["kept_by"], json!({"named": ["ref again"], "total": 1}));
    bench
        .uor(&["rm", "--recursive", &set])
        .fails(1, "is still shown by ref again");

    // A tree that no name leads to, a name for a file, and a receipt.
    let outer = text(&bench.uor(&["add", "outer", "--json"]).ok().json(), "key").to_owned();
    bench.uor(&["ref", "set", "file", "again/a"]).ok();
    bench.write_word_count();
    bench
        .uor(&["program", "add", "count.toml", "--ref", "count"])
        .ok();
    let said = removed(&["again"]);
    assert_eq!(counts(&said), (json!(1), json!(1), json!(3)));
    assert_eq!(
        said["kept_by"]["named"],
        json!(["ref file", format!("tree {outer}")])
    );
    assert_eq!(bench.uor(&["cat", "file"]).ok().out, b"a");
    assert_eq!(
        bench.uor(&["cat", &format!("{outer}/inner/c")]).ok().out,
        b"c"
    );

    let set = add(&bench, "set", "set");
    let ran = bench
        .uor(&["run", "count", "--input", "text=set", "--json"])
        .ok()
        .json();
    let said = removed(&["set"]);
    assert_eq!(
        counts(&said),
        (json!(0), json!(0), json!(5)),
        "a receipt shows what it was run from"
    );
    bench.uor(&["rm", text(&ran, "receipt")]).ok();
    bench
        .uor(&["rm", "-r", &set])
        .fails(1, "is still shown by ref file and ");
    // A program keeps its modules, and goes by its name with them.
    bench.write("modules/m", bench.read("wordcount.wasm"));
    add(&bench, "modules", "modules");
    assert_eq!(
        counts(&removed(&["modules"])),
        (json!(1), json!(0), json!(1))
    );
}

#[test]
fn what_was_interrupted_is_done_by_asking_again() {
    let bench = Bench::new();
    bench.write("set/a", "a");
    bench.write("set/inner/b", "b");
    bench.write("set/inner/c", "c");
    let set = add(&bench, "set", "set");
    // As after a crash: a part is shadowed, the tree it is in, and the name, are not. Another tree
    // is shadowed by itself.
    let key = |path: &str| {
        bench.uor(&["ls", path, "--json"]).ok().lines()[0]["key"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (file, inner) = (
        key("set/inner"),
        bench.uor(&["ls", "set", "--json"]).ok().lines()[1]["key"].clone(),
    );
    bench.uor(&["rm", &file]).exits(3);
    bench.uor(&["rm", inner.as_str().unwrap()]).exits(3);
    let said = bench.uor(&["rm", "-r", "set", "--json"]).ok().json();
    assert_eq!(
        (&said["trees"], &said["files"], &said["kept"]),
        (&json!(1), &json!(2), &json!(0))
    );
    bench.uor(&["cat", &set]).fails(1, "was removed");
    assert_eq!(bench.uor(&["gc", "--json"]).ok().json()["payloads"], 5);
}

#[test]
fn a_large_set_goes_in_commits_of_bounded_size() {
    let bench = Bench::new();
    for number in 0..17_000 {
        bench.write(
            &format!("set/{:02}/{number}", number % 50),
            number.to_string(),
        );
    }
    add(&bench, "set", "set");
    let said = bench.uor(&["rm", "-r", "set", "--json"]).ok().json();
    assert_eq!(
        (&said["files"], &said["trees"], &said["commits"]),
        (&json!(17_000), &json!(51), &json!(2))
    );
    let log = bench.uor(&["log", "--limit", "2", "--json"]).ok().lines();
    assert!(
        log.iter()
            .all(|commit| commit["records"].as_u64().unwrap() <= 16_384),
        "{log:?}"
    );
    assert!(bench.uor(&["ls", "--json"]).ok().out.is_empty());
    bench.uor(&["gc"]).ok();
    bench.replay(&["verify", "data"]).ok();
}

#[test]
fn a_path_in_a_tree_is_refused_with_what_to_do() {
    let bench = Bench::new();
    bench.write("one/file", "the same bytes");
    bench.write("two/other", "the same bytes");
    add(&bench, "one", "one");
    let two = add(&bench, "two", "two");
    let before = bench.uor(&["log", "--json"]).ok().out;
    for args in [
        ["rm", "one/file"].to_vec(),
        vec!["rm", "-r", "one/file"],
        vec!["rm", &format!("{}/other", &two[..12])],
    ] {
        let said = bench.uor(&args).exits(1).err;
        assert!(
            said.contains("is inside a tree") && said.contains("--recursive"),
            "{said}"
        );
    }
    assert!(bench.uor(&["log", "--json"]).ok().out == before);
    gets_whole(&bench, "two", "two");
    bench.uor(&["rm", "one", "--force"]).fails(2, "--recursive");
}

#[test]
fn a_key_goes_with_a_word_about_the_names_that_break() {
    let bench = Bench::new();
    bench.write("one/deep/er/file", "the same bytes");
    bench.write("one/stays", "stays");
    bench.write("two/other", "the same bytes");
    bench.write("three/else", "else");
    add(&bench, "one", "one");
    add(&bench, "two", "two");
    add(&bench, "three", "three");
    let key = text(
        &bench.uor(&["add", "two/other", "--json"]).ok().json(),
        "key",
    )
    .to_owned();
    bench.uor(&["ref", "set", "direct", &key]).ok();
    let removed = bench.uor(&["rm", &key, "--json"]).exits(3);
    assert_eq!(
        removed.json()["broken"],
        json!({"named": ["direct", "one", "two"], "total": 3})
    );
    assert!(
        removed.err.contains("one no longer shows everything"),
        "{}",
        removed.err
    );

    let got = bench.uor(&["get", "one", "-o", "out", "--json"]).exits(3);
    assert_eq!(
        (&got.json()["files"], &got.json()["hidden"]),
        (&json!(1), &json!(1))
    );
    assert!(
        got.err.contains("left out `deep/er/file`") && got.err.contains("was removed"),
        "{}",
        got.err
    );
    assert_eq!(
        contents(&bench, "out"),
        [("stays".to_owned(), b"stays".to_vec())]
    );
    bench.uor(&["get", "three", "-o", "three-out"]).ok();
    // Adding the bytes again mends every tree that has them.
    bench.uor(&["add", "two/other"]).ok();
    fs::remove_dir_all(bench.path("out")).unwrap();
    gets_whole(&bench, "one", "one");
    let alone = bench.uor(&["add", "-", "--json"]).ok().json();
    let removed = bench
        .uor(&["rm", text(&alone, "key"), "--json"])
        .ok()
        .json();
    assert_eq!(removed["broken"]["total"], 0);
}
