//! Damaged and missing files of a site, and a disk that was put back while nobody looked: what is
//! said, what still works, and how everything comes back from the others.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use uor_index_format::id::Checksum;

use crate::loss::{caught_up, own_commits, status_of, two};
use crate::node::{Node, status, until};
use crate::support::{Bench, text};

/// Writes noise over a part of a file.
fn spoil(path: &Path, offset: u64, len: usize) {
    let noise: Vec<u8> = (0..=len / 32)
        .flat_map(|seed| *Checksum::of(&seed.to_le_bytes()).as_bytes())
        .collect();
    OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .write_all_at(&noise[..len], offset)
        .unwrap();
}

/// How much of a file is not zeros at its end.
fn content_len(path: &Path) -> u64 {
    fs::read(path)
        .unwrap()
        .iter()
        .rposition(|byte| *byte != 0)
        .unwrap() as u64
        + 1
}

fn missing(bench: &Bench, data: &str) -> u64 {
    status_of(bench, data)["missing_payloads"].as_u64().unwrap()
}

#[test]
fn packs_that_held_what_others_put_are_fetched_again() {
    for harm in ["gone", "its header", "cut", "the list", "all"] {
        let bench = Bench::bare();
        bench.uor(&["--data", "a", "init", "--name", "anna"]).ok();
        let a = Node::start(&bench, "a");
        let ticket = text(
            &bench.uor(&["--data", "a", "invite", "--json"]).ok().json(),
            "ticket",
        )
        .to_owned();
        bench
            .uor(&["--data", "b", "join", &ticket, "--name", "ben"])
            .ok();
        let b = Node::start(&bench, "b");
        for number in 0..5 {
            bench.write("file", format!("{harm} {number}\n").repeat(100));
            bench
                .uor(&[
                    "--data",
                    "a",
                    "add",
                    "file",
                    "--ref",
                    &format!("name/{number}"),
                ])
                .ok();
        }
        caught_up(&bench);
        b.stop();
        let pack = bench.path("b/blocks/00000001.pack");
        match harm {
            "gone" => fs::remove_file(&pack).unwrap(),
            "its header" => spoil(&pack, 0, 100),
            "cut" => OpenOptions::new()
                .write(true)
                .open(&pack)
                .unwrap()
                .set_len(200)
                .unwrap(),
            "the list" => spoil(&bench.path("b/blocks/packs.list"), 3, 8),
            _ => fs::remove_dir_all(bench.path("b/blocks")).unwrap(),
        }
        let listed = bench.uor(&["--data", "b", "ls"]).ok().text();
        assert!(listed.contains("name/4"), "{harm}: {listed}");
        let b = Node::start(&bench, "b");
        until("b has fetched what it lost", || {
            (missing(&bench, "b") == 0).then_some(())
        });
        caught_up(&bench);
        for number in 0..5 {
            let found = bench
                .uor(&["--data", "b", "cat", &format!("name/{number}")])
                .ok()
                .out;
            assert!(
                found == format!("{harm} {number}\n").repeat(100).as_bytes(),
                "{harm}"
            );
        }
        bench.write("own", "b goes on writing");
        bench.uor(&["--data", "b", "add", "own"]).ok();
        if ["gone", "its header"].contains(&harm) {
            assert!(b.has_said("blocks/00000001.pack"), "{harm}: it is said");
            assert_eq!(
                status(&bench, "b")["damage"].as_array().unwrap().len(),
                1,
                "{harm}"
            );
            bench.replay(&["verify", "b"]).exits(1);
            b.stop();
            bench.uor(&["--data", "b", "recover"]).ok();
        } else {
            b.stop();
        }
        bench.replay(&["verify", "b"]).ok();
        assert_eq!(
            status_of(&bench, "b")["damage"].as_array().unwrap().len(),
            0,
            "{harm}"
        );
        a.stop();
    }
}

#[test]
fn a_pack_with_own_payloads_is_a_loss_until_others_have_given_them() {
    let bench = Bench::bare();
    let [a, b] = two(&bench);
    a.stop();
    // Behind the header of the pack.
    spoil(&bench.path("a/blocks/00000001.pack"), 32, 64);
    let refused = bench.uor(&["--data", "a", "add", "a.txt"]).exits(1).err;
    assert!(
        refused.contains("payload of this site's own") && refused.contains("uor recover"),
        "{refused}"
    );
    bench.uor(&["--data", "a", "ls"]).exits(3);
    bench
        .uor(&["--data", "a", "recover", "--peer", &b.address])
        .ok();
    bench.replay(&["verify", "a"]).ok();
    assert_eq!(
        bench.uor(&["--data", "a", "cat", "from/a"]).ok().out,
        bench.read("a.txt")
    );
    b.stop();
}

#[test]
fn payloads_whose_bytes_are_damaged_come_again_from_the_others() {
    let bench = Bench::bare();
    let [a, b] = two(&bench);
    // Long enough for several chunks, and to be found in the pack.
    let noise: Vec<u8> = (0..40_000_u32)
        .flat_map(|seed| *Checksum::of(&seed.to_le_bytes()).as_bytes())
        .collect();
    bench.write("large", &noise);
    bench.write("small", "few bytes");
    for file in ["large", "small"] {
        bench.uor(&["--data", "a", "add", file, "--ref", file]).ok();
    }
    caught_up(&bench);
    until("b has them", || (missing(&bench, "b") == 0).then_some(()));
    a.stop();
    b.stop();
    let pack = bench.path("b/blocks/00000001.pack");
    let here = fs::read(&pack).unwrap();
    let at = here
        .windows(64)
        .position(|bytes| *bytes == noise[600_000..600_064])
        .unwrap();
    spoil(&pack, at as u64, 100);
    bench
        .uor(&["--data", "b", "cat", "large"])
        .fails(1, "uor recover");
    bench.replay(&["verify", "b"]).exits(1);
    // Nobody can be asked: it is said, and nothing becomes worse.
    let alone = bench
        .uor(&["--data", "b", "recover", "--json"])
        .exits(3)
        .json();
    assert_eq!(
        (
            alone["damaged"].as_array().unwrap().len(),
            &alone["damaged"]
        ),
        (1, &alone["still_damaged"])
    );
    assert_eq!(
        bench.uor(&["--data", "b", "cat", "small"]).ok().out,
        b"few bytes"
    );
    let a = Node::start(&bench, "a");
    let recovered = bench
        .uor(&["--data", "b", "recover", "--peer", &a.address])
        .ok()
        .text();
    assert!(
        recovered.contains("1 payload, all of which other sites gave"),
        "{recovered}"
    );
    assert_eq!(bench.uor(&["--data", "b", "cat", "large"]).ok().out, noise);
    bench.replay(&["verify", "b"]).ok();
    // While a node runs, it asks by itself once it is told to look.
    let at = fs::read(&pack)
        .unwrap()
        .windows(64)
        .rposition(|bytes| *bytes == noise[600_000..600_064])
        .unwrap();
    let b = Node::start(&bench, "b");
    spoil(&pack, at as u64, 100);
    let said = bench.uor(&["--data", "b", "recover"]).ok().text();
    assert!(said.contains("1 payload damaged"), "{said}");
    until("b has it again", || {
        (missing(&bench, "b") == 0).then_some(())
    });
    assert_eq!(bench.uor(&["--data", "b", "cat", "large"]).ok().out, noise);
    bench.replay(&["verify", "b"]).ok();
    a.stop();
    b.stop();
}

#[test]
fn a_log_that_is_damaged_in_the_middle_comes_back_from_the_others() {
    let bench = Bench::bare();
    let [a, b] = two(&bench);
    for number in 0..6 {
        for site in ["a", "b"] {
            bench.write("file", format!("{site} {number}"));
            bench
                .uor(&[
                    "--data",
                    site,
                    "add",
                    "file",
                    "--ref",
                    &format!("{site}/{number}"),
                ])
                .ok();
        }
    }
    caught_up(&bench);
    let before = (
        bench.uor(&["--data", "a", "log", "--json"]).ok().text(),
        own_commits(&bench, "a"),
    );
    a.stop();
    let log = bench.path("a/log/00000001.log");
    let len = content_len(&log);
    spoil(&log, len / 3, 1000);
    bench.replay(&["verify", "a"]).exits(1);
    bench
        .uor(&["--data", "a", "node", "--listen", "/ip4/127.0.0.1/tcp/0"])
        .fails(1, "uor recover");
    let recovered = bench
        .uor(&["--data", "a", "recover", "--peer", &b.address])
        .ok();
    assert!(
        recovered.err.contains("is kept as log/damaged-00000001-"),
        "{}",
        recovered.err
    );
    bench.replay(&["verify", "a"]).ok();
    let a = Node::start(&bench, "a");
    caught_up(&bench);
    assert_eq!(
        (
            bench.uor(&["--data", "a", "log", "--json"]).ok().text(),
            own_commits(&bench, "a")
        ),
        before
    );
    bench.replay(&["diff", "a", "b"]).ok();
    bench.write("later", "later");
    bench
        .uor(&["--data", "a", "add", "later", "--ref", "later"])
        .ok();
    caught_up(&bench);
    a.stop();
    b.stop();
}

#[test]
fn own_commits_that_nobody_has_are_given_up_with_what_follows_them() {
    let bench = Bench::new();
    for number in 0..6 {
        bench.write("file", format!("content {number}"));
        bench
            .uor(&["add", "file", "--ref", &format!("name/{number}")])
            .ok();
    }
    let log = bench.path("data/log/00000001.log");
    spoil(&log, content_len(&log) / 2, 100);
    let refused = bench.uor(&["recover"]).exits(1).err;
    assert!(
        refused.contains("own commits are lost") && refused.contains("--accept-loss"),
        "{refused}"
    );
    bench.uor(&["add", "file"]).fails(1, "uor recover");
    bench.uor(&["recover", "--accept-loss"]).exits(3);
    bench.replay(&["verify", "data"]).ok();
    bench.uor(&["add", "file", "--ref", "after"]).ok();
    assert_eq!(bench.uor(&["cat", "after"]).ok().out, b"content 5");
    bench.replay(&["verify", "data"]).ok();
}

/// The files of a data directory.
fn contents(dir: &Path, into: &mut BTreeMap<std::path::PathBuf, Vec<u8>>) {
    #[expect(clippy::disallowed_methods, reason = "a map has an order")]
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            contents(&path, into);
        } else if kind.is_file() {
            into.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
}

/// Puts every file back in its place, so that nothing shows it.
fn put_back(dir: &Path, before: &BTreeMap<std::path::PathBuf, Vec<u8>>) {
    let mut now = BTreeMap::new();
    contents(dir, &mut now);
    now.keys()
        .filter(|path| !before.contains_key(*path))
        .for_each(|path| fs::remove_file(path).unwrap());
    before
        .iter()
        .for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
}

#[test]
fn a_running_node_that_is_given_own_commits_it_had_not_stops_writing() {
    let bench = Bench::bare();
    let [a, b] = two(&bench);
    a.stop();
    let mut before = BTreeMap::new();
    contents(&bench.path("a"), &mut before);
    let a = Node::start(&bench, "a");
    bench.write("later", "written after the picture was taken");
    bench
        .uor(&["--data", "a", "add", "later", "--ref", "later"])
        .ok();
    caught_up(&bench);
    let commits = own_commits(&bench, "a");
    a.stop();
    b.stop();
    put_back(&bench.path("a"), &before);
    // Nobody answers when it asks, so it goes on.
    let a = Node::start(&bench, "a");
    until("it has asked", || {
        let written = bench.uor(&["--data", "a", "status", "--json"]).json();
        (written["held"].is_null() && a.has_said("for later commits of this site")).then_some(())
    });
    assert!(own_commits(&bench, "a") < commits);
    let b = Node::start(&bench, "b");
    until("a has heard of its own commits", || {
        (own_commits(&bench, "a") == commits).then_some(())
    });
    until("a is held", || {
        (status(&bench, "a")["held"] == "elsewhere").then_some(())
    });
    bench.write("more", "more");
    bench
        .uor(&["--data", "a", "add", "more"])
        .fails(1, "runs nowhere else");
    assert!(
        bench
            .uor(&["--data", "a", "cat", "later"])
            .ok()
            .out
            .starts_with(b"written after")
    );
    a.stop();
    // Started again it asks, and goes on.
    let a = Node::start(&bench, "a");
    bench
        .uor(&["--data", "a", "add", "more", "--ref", "more"])
        .ok();
    caught_up(&bench);
    assert_eq!(status(&bench, "a")["forks"].as_array().unwrap().len(), 0);
    a.stop();
    b.stop();
}
