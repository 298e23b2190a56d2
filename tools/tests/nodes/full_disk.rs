//! A disk that is full, for real: a small file system of its own, mounted where only this test sees
//! it.

use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::process::{Command, Stdio};

use uor_index_format::id::Checksum;

use crate::node::{Node, trace, until};
use crate::support::{Bench, text};

/// Set in the process that has a mount namespace of its own.
const INSIDE: &str = "UOR_TEST_IN_MOUNT_NAMESPACE";

#[test]
fn a_full_disk_refuses_clearly_and_loses_nothing() {
    if env::var_os(INSIDE).is_some() {
        return with_a_full_disk();
    }
    let is_permitted = |flags: &&str| {
        let mount = ["sh", "-c", "mount -t tmpfs -o size=1m tmpfs /mnt"];
        let tried = Command::new("unshare")
            .arg(flags)
            .args(mount)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        tried.is_ok_and(|status| status.success())
    };
    let Some(flags) = ["-m", "-rm"].iter().find(|flags| is_permitted(flags)) else {
        eprintln!("SKIPPED: this system lets no one mount here, so no disk can be filled");
        return;
    };
    let name = "full_disk::a_full_disk_refuses_clearly_and_loses_nothing";
    let mut command = Command::new("unshare");
    command
        .arg(flags)
        .arg(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

fn mount(bench: &Bench, options: &str) {
    let target = bench.path("disk");
    fs::create_dir_all(&target).unwrap();
    assert!(
        Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(target)
            .status()
            .unwrap()
            .success()
    );
}

/// Leaves no byte free.
fn fill(bench: &Bench) {
    let mut filler = File::options()
        .create(true)
        .append(true)
        .open(bench.path("disk/filler"))
        .unwrap();
    for len in [1 << 16, 1 << 12, 1] {
        while filler.write_all(&vec![1; len]).is_ok() {}
    }
}

/// What is on the disk, by name.
fn on_disk(bench: &Bench) -> Vec<String> {
    #[expect(clippy::disallowed_methods, reason = "sorted right here")]
    let names = fs::read_dir(bench.path("disk"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// A part of the data directory, mounted a second time, has another path and nothing in it that
/// tells what it is.
fn bind_mounts_lead_to_no_key(bench: &Bench) {
    for part in ["data", "data/blocks"] {
        fs::create_dir_all(bench.path("around/bound")).unwrap();
        let [from, to] = [part, "around/bound"].map(|path| bench.path(path));
        assert!(
            Command::new("mount")
                .arg("--bind")
                .args([&from, &to])
                .status()
                .unwrap()
                .success()
        );
        bench.uor(&["add", "around/bound"]).fails(1, "is not added");
        let added = bench.uor(&["add", "around", "--json"]).exits(3);
        assert_eq!(added.json()["left_out"]["total"], 1, "{}", added.err);
        assert!(Command::new("umount").arg(&to).status().unwrap().success());
    }
}

/// Getting a file and a tree fails where the disk is full or cannot be written, and leaves nothing
/// there.
fn get_where_nothing_fits(bench: &Bench) {
    bench.uor(&["init", "--name", "elsewhere"]).ok();
    bench.write("tree/inner/noise", vec![7; 1 << 20]);
    bench.write("tree/small", "small");
    bench.uor(&["add", "tree", "--ref", "tree"]).ok();
    bind_mounts_lead_to_no_key(bench);
    let before = on_disk(bench);
    for key in ["tree", "tree/inner/noise"] {
        bench
            .uor(&["get", key, "-o", "disk/out"])
            .fails(1, "No space left on device");
        assert_eq!(on_disk(bench), before, "{key}");
    }
    mount(bench, "remount,ro");
    for key in ["tree", "tree/small"] {
        bench
            .uor(&["get", key, "-o", "disk/out"])
            .fails(1, "Read-only file system");
    }
    mount(bench, "remount,rw,size=24m");
    assert_eq!(on_disk(bench), before);
}

fn with_a_full_disk() {
    let bench = Bench::bare();
    let noise: Vec<u8> = (0..1_000_000u32)
        .flat_map(|seed| *Checksum::of(&seed.to_le_bytes()).as_bytes())
        .collect();
    bench.write("noise", &noise);
    bench.write("small", "small");
    mount(&bench, "size=24m");
    bench
        .uor(&["--data", "disk/site", "init", "--name", "here"])
        .ok();
    bench
        .uor(&["--data", "disk/site", "add", "small", "--ref", "small"])
        .ok();
    bench.write("secret", "secret");
    let secret = bench
        .uor(&["--data", "disk/site", "add", "secret", "--json"])
        .ok()
        .json();
    let secret = text(&secret, "key");
    let before = trace(&bench, "disk/site");
    let full = |args: &[&str]| {
        let before = trace(&bench, "disk/site");
        bench
            .uor(&[&["--data", "disk/site"], args].concat())
            .fails(1, "No space left on device");
        assert!(
            trace(&bench, "disk/site") == before,
            "{args:?} left a trace"
        );
    };

    full(&["add", "noise"]);
    bench.replay(&["verify", "disk/site"]).ok();
    fill(&bench);
    full(&["add", "noise", "--ref", "noise"]);
    // Erasing and freeing need a little space, which is kept for them.
    for args in [&["erase", secret][..], &["gc"]] {
        bench.uor(&[&["--data", "disk/site"], args].concat()).ok();
        assert!(
            trace(&bench, "disk/site") == before,
            "{args:?} changed what is visible"
        );
        bench.replay(&["verify", "disk/site"]).ok();
    }
    there_is_a_way_out(&bench, &noise);
    bench
        .uor(&["--data", "disk/other", "init"])
        .fails(1, "No space left on device");
    assert!(!bench.path("disk/other").exists());
    assert_eq!(
        bench.uor(&["--data", "disk/site", "cat", "small"]).ok().out,
        b"small"
    );

    get_where_nothing_fits(&bench);

    fs::remove_file(bench.path("disk/filler")).unwrap();
    let node = Node::start(&bench, "disk/site");
    full(&["add", "noise"]);
    assert_eq!(
        bench.uor(&["--data", "disk/site", "cat", "small"]).ok().out,
        b"small"
    );
    the_node_needs_no_new_start(&bench, &noise);
    node.stop();
    a_peer_that_is_met_on_a_full_disk_is_not_lost(&bench);

    mount(&bench, "remount,size=128m");
    bench.replay(&["verify", "disk/site"]).ok();
    bench.uor(&["--data", "disk/site", "gc"]).ok();
    bench.uor(&["--data", "disk/site", "erase", secret]).ok();
    bench
        .uor(&["--data", "disk/site", "cat", secret])
        .fails(1, "was erased here on 20");
    bench
        .uor(&["--data", "disk/site", "add", "noise", "--ref", "noise"])
        .ok();
    assert!(bench.uor(&["--data", "disk/site", "cat", "noise"]).ok().out == noise);
    bench.replay(&["verify", "disk/site"]).ok();
}

/// After a write has failed in a running node, what makes room does so through it, and then there
/// is room in it.
fn the_node_needs_no_new_start(bench: &Bench, noise: &[u8]) {
    let site = |args: &[&str]| bench.uor(&[&["--data", "disk/site"], args].concat());
    site(&["gc"]).ok();
    bench.write("big", &noise[..8 << 20]);
    bench.write("next", &noise[16 << 20..22 << 20]);
    let big = site(&["add", "big", "--json"]).ok().json();
    fill(bench);
    site(&["add", "next"]).fails(1, "No space left on device");
    site(&["rm", text(&big, "key")]).ok();
    site(&["add", "next"]).fails(1, "No space left on device");
    site(&["gc"]).ok();
    let next = site(&["add", "next", "--json"]).ok().json();
    bench.replay(&["verify", "disk/site"]).ok();
    site(&["rm", text(&next, "key")]).ok();
    site(&["gc"]).ok();
    fs::remove_file(bench.path("disk/filler")).unwrap();
}

/// A node that cannot even note where it met another talks to it as soon as there is room.
fn a_peer_that_is_met_on_a_full_disk_is_not_lost(bench: &Bench) {
    let here = Node::start(bench, "disk/site");
    let ticket = bench
        .uor(&["--data", "disk/site", "invite", "--json"])
        .ok()
        .json();
    bench
        .uor(&[
            "--data",
            "there",
            "join",
            text(&ticket, "ticket"),
            "--name",
            "there",
        ])
        .ok();
    here.stop();
    let there = Node::start(bench, "there");
    bench.write("news", "news");
    bench
        .uor(&["--data", "there", "add", "news", "--ref", "news"])
        .ok();
    fill(bench);
    let here = Node::start_with(bench, "disk/site", &["--peer", &there.address]);
    until("the full disk is said", || {
        here.has_said("No space left on device").then_some(())
    });
    fs::remove_file(bench.path("disk/filler")).unwrap();
    until("what the other has is here", || {
        let cat = bench.uor(&["--data", "disk/site", "cat", "news"]);
        (cat.out == b"news").then_some(())
    });
    here.stop();
    there.stop();
}

/// What fills the disk is removed and freed, and there is room again.
fn there_is_a_way_out(bench: &Bench, noise: &[u8]) {
    fs::remove_file(bench.path("disk/filler")).unwrap();
    bench.write("big", &noise[..8 << 20]);
    bench.write("next", &noise[16 << 20..22 << 20]);
    let big = bench
        .uor(&["--data", "disk/site", "add", "big", "--json"])
        .ok()
        .json();
    fill(bench);
    bench
        .uor(&["--data", "disk/site", "add", "next"])
        .fails(1, "No space left on device");
    bench
        .uor(&["--data", "disk/site", "rm", text(&big, "key")])
        .ok();
    bench.uor(&["--data", "disk/site", "gc"]).ok();
    bench
        .uor(&["--data", "disk/site", "add", "next", "--ref", "next"])
        .ok();
    bench.replay(&["verify", "disk/site"]).ok();
    let next = bench
        .uor(&["--data", "disk/site", "add", "next", "--json"])
        .ok()
        .json();
    bench.uor(&["--data", "disk/site", "rm", "next"]).ok();
    bench
        .uor(&["--data", "disk/site", "rm", text(&next, "key")])
        .ok();
    bench.uor(&["--data", "disk/site", "gc"]).ok();
    fill(bench);
}
