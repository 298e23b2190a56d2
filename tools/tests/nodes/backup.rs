//! Copies, backups and what is made from them: no copy writes what the original has written
//! already.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;
use uor_index_format::id::Checksum;

use crate::loss::{caught_up, own_commits, status_of, two};
use crate::node::{Node, status, until};
use crate::support::{Bench, text};

fn copy(bench: &Bench, from: &str, to: &str) {
    let copied = Command::new("cp")
        .args(["-a", from, to])
        .current_dir(bench.path(""))
        .status()
        .unwrap();
    assert!(copied.success());
}

fn add(bench: &Bench, data: &str, name: &str) {
    bench.write(name, format!("{name} of {data}\n"));
    bench
        .uor(&[
            "--data",
            data,
            "add",
            name,
            "--ref",
            &format!("{data}/{name}"),
        ])
        .ok();
}

/// The log of `a` has gone on and its later commits are at `b`; `a` itself is an older copy now,
/// and no node runs there.
fn with_an_old_copy(bench: &Bench) -> Node {
    let [a, b] = two(bench);
    a.stop();
    copy(bench, "a", "old");
    let a = Node::start(bench, "a");
    add(bench, "a", "after-the-copy");
    caught_up(bench);
    a.stop();
    fs::remove_dir_all(bench.path("a")).unwrap();
    copy(bench, "old", "a");
    b
}

#[test]
fn a_copy_does_not_fork_its_log_while_another_site_can_be_reached() {
    let bench = Bench::bare();
    let b = with_an_old_copy(&bench);
    let commits = own_commits(&bench, "a");
    let refused = bench.uor(&["--data", "a", "add", "a.txt"]).exits(1).err;
    assert!(
        refused.contains("the data directory of this site was copied")
            && refused.contains("uor recover"),
        "{refused}"
    );
    assert_eq!(own_commits(&bench, "a"), commits, "nothing was written");
    assert_eq!(status(&bench, "a")["held"], "copied");

    // The node asks by itself, once somebody is there to be asked.
    let a = Node::start_with(&bench, "a", &["--peer", &b.address]);
    until("the copy has asked", || {
        (status(&bench, "a")["held"] == json!(null)).then_some(())
    });
    assert!(
        own_commits(&bench, "a") > commits,
        "what the original wrote has come back"
    );
    add(&bench, "a", "written-by-the-copy");
    caught_up(&bench);
    for site in ["a", "b"] {
        assert_eq!(status(&bench, site)["forks"], json!([]), "{site}");
        bench.replay(&["verify", site]).ok();
    }
    a.stop();
    // What has asked once is no copy any more.
    add(&bench, "a", "alone");
    b.stop();
}

#[test]
fn a_copy_that_reaches_nobody_does_not_write_unless_somebody_answers_for_it() {
    let bench = Bench::bare();
    with_an_old_copy(&bench).stop();
    let refused = bench.uor(&["--data", "a", "recover"]).exits(1).err;
    assert!(
        refused.contains("no other site could be asked"),
        "{refused}"
    );
    let a = Node::start(&bench, "a");
    let refused = bench.uor(&["--data", "a", "add", "a.txt"]).exits(1).err;
    assert!(refused.contains("was copied"), "{refused}");
    a.stop();
    bench
        .uor(&["--data", "a", "recover", "--accept-loss"])
        .fails(1, "--force");
    bench
        .uor(&["--data", "a", "recover", "--accept-loss", "--force"])
        .exits(3);
    add(&bench, "a", "forced");
    // That is what it was warned of.
    let a = Node::start(&bench, "a");
    let b = Node::start_with(&bench, "b", &["--peer", &a.address]);
    until("the fork is proven", || {
        (status(&bench, "b")["forks"] != json!([])).then_some(())
    });
    drop((a, b));
}

#[test]
fn a_node_takes_over_what_others_have_of_its_own_log_before_it_writes() {
    let bench = Bench::bare();
    let [a, b] = two(&bench);
    a.stop();
    copy(&bench, "a", "old");
    let a = Node::start_with(&bench, "a", &["--peer", &b.address]);
    add(&bench, "a", "after-the-copy");
    caught_up(&bench);
    a.stop();
    // Put back in place, file by file: nothing on the disk tells that from the original.
    for part in ["log/00000001.log", "acknowledged", "blocks/acknowledged"] {
        fs::write(
            bench.path("a").join(part),
            fs::read(bench.path("old").join(part)).unwrap(),
        )
        .unwrap();
    }
    assert_eq!(status(&bench, "a")["held"], json!(null));
    let a = Node::start_with(&bench, "a", &["--peer", &b.address]);
    add(&bench, "a", "written-at-once");
    caught_up(&bench);
    assert_eq!(status(&bench, "b")["forks"], json!([]));
    assert_eq!(
        bench
            .uor(&["--data", "a", "cat", "a/after-the-copy"])
            .ok()
            .text(),
        "after-the-copy of a\n"
    );
    drop((a, b));
}

#[test]
fn a_copy_of_a_lone_site_says_what_it_cannot_ask() {
    let bench = Bench::new();
    add(&bench, "data", "first");
    copy(&bench, "data", "copy");
    bench.write("x", "x");
    let said = bench.uor(&["--data", "copy", "add", "x"]).ok().err;
    assert!(
        said.contains("is a copy") && said.contains("no other site to ask"),
        "{said}"
    );
    assert!(
        !bench
            .uor(&["--data", "copy", "add", "first"])
            .ok()
            .err
            .contains("is a copy"),
        "it is said once"
    );
}

/// All bytes of a directory's files, by path.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let found = Command::new("find")
        .args([".", "-type", "f"])
        .current_dir(dir)
        .output()
        .unwrap();
    let mut names: Vec<String> = String::from_utf8(found.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    names.sort();
    names
        .into_iter()
        .map(|name| (name.clone(), fs::read(dir.join(&name)).unwrap()))
        .collect()
}

#[test]
fn a_backup_beside_a_node_is_whole_private_and_shares_what_is_old() {
    let bench = Bench::new();
    let node = Node::start(&bench, "data");
    add(&bench, "data", "first");
    let first = bench.uor(&["backup", "safe", "--json"]).ok().json();
    assert_eq!(
        (&first["commits"], &first["files_shared"]),
        (&json!(2), &json!(0))
    );
    let again = bench.uor(&["backup", "safe", "--json"]).ok().json();
    assert!(again["files_shared"].as_u64() > Some(2), "{again}");
    assert!(
        again["new_bytes"].as_u64() < first["new_bytes"].as_u64(),
        "{again}"
    );
    add(&bench, "data", "second");
    let said = bench.uor(&["backup", "safe"]).ok();
    assert!(
        said.err.contains("holds the site's key")
            && said.text().contains("every byte was read back")
    );
    node.stop();

    let names: Vec<String> = files(&bench.path("safe"))
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert!(
        names
            .iter()
            .all(|name| name == "./lock" || name.starts_with("./uor-backup-00000003/")),
        "{names:?}"
    );
    let newest = bench.path("safe/uor-backup-00000003");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&newest), mode(&newest.join("key"))), (0o700, 0o600));
    let verified = bench
        .replay(&["verify", "safe/uor-backup-00000003", "--json"])
        .ok()
        .json();
    assert_eq!(verified["state_root"], status(&bench, "data")["state_root"]);
    assert_eq!(verified["missing"], json!([]));
}

#[test]
fn an_interrupted_backup_leaves_the_one_before() {
    let bench = Bench::new();
    add(&bench, "data", "first");
    bench.uor(&["backup", "safe"]).ok();
    let before = files(&bench.path("safe/uor-backup-00000001"));
    // As a crash leaves it.
    bench.write("safe/partial/log/00000001.log", "half");
    bench.write(
        "safe/uor-backup-00000002/log/00000001.log",
        "without a manifest",
    );
    assert_eq!(files(&bench.path("safe/uor-backup-00000001")), before);
    bench.uor(&["--data", "restored", "restore", "safe"]).ok();
    assert_eq!(
        bench
            .uor(&["--data", "restored", "cat", "data/first"])
            .ok()
            .text(),
        "first of data\n"
    );
    fs::remove_dir_all(bench.path("safe/uor-backup-00000002")).unwrap();
    add(&bench, "data", "second");
    bench.uor(&["backup", "safe"]).ok();
    assert!(
        !bench.path("safe/partial").exists() && !bench.path("safe/uor-backup-00000001").exists()
    );
    bench.replay(&["verify", "safe/uor-backup-00000002"]).ok();
}

#[test]
fn backups_made_while_the_site_writes_are_each_whole() {
    let bench = Bench::new();
    let node = Node::start(&bench, "data");
    let backups = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 0..40 {
                add(&bench, "data", &format!("file-{number}"));
            }
        });
        let mut backups = 0;
        while !writer.is_finished() {
            let made = bench.uor(&["backup", "safe", "--json"]).ok().json();
            let verified = bench
                .replay(&["verify", text(&made, "path"), "--json"])
                .ok()
                .json();
            assert_eq!(
                (&verified["missing"], &verified["commits"]),
                (&json!([]), &made["commits"])
            );
            backups += 1;
        }
        writer.join().unwrap();
        backups
    });
    assert!(backups > 1, "there were {backups} backups meanwhile");
    node.stop();
}

#[test]
fn a_backup_that_is_killed_leaves_one_that_can_be_restored() {
    let bench = Bench::new();
    let noise: Vec<u8> = (0..300_000u32)
        .flat_map(|seed| *Checksum::of(&seed.to_le_bytes()).as_bytes())
        .collect();
    bench.write("noise", &noise);
    bench.uor(&["add", "noise", "--ref", "noise"]).ok();
    bench.uor(&["backup", "safe"]).ok();
    let mut interrupted = 0;
    for number in 0..8 {
        add(&bench, "data", &format!("file-{number}"));
        let mut command = bench.command("uor");
        let mut child = command
            .args(["backup", "safe"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        until("the backup has begun, or is over", || {
            (bench.path("safe/partial").exists() || child.try_wait().unwrap().is_some())
                .then_some(())
        });
        child.kill().unwrap();
        interrupted += usize::from(!child.wait().unwrap().success());
        bench.uor(&["--data", "back", "restore", "safe"]).ok();
        assert!(bench.uor(&["--data", "back", "cat", "noise"]).ok().out == noise);
        bench.replay(&["verify", "back"]).ok();
        fs::remove_dir_all(bench.path("back")).unwrap();
    }
    assert!(interrupted > 0, "none was interrupted");
    bench.uor(&["backup", "safe"]).ok();
    assert!(!bench.path("safe/partial").exists());
}

#[test]
fn a_backup_refuses_what_would_not_keep_anything_safe() {
    let bench = Bench::new();
    add(&bench, "data", "first");
    bench
        .uor(&["backup", "data/safe"])
        .fails(1, "inside the data directory");
    assert!(!bench.path("data/safe").exists());
    bench.write("mine/letter", "dear");
    bench.uor(&["backup", "mine"]).fails(1, "`letter`");
    copy(&bench, "data", "old");
    add(&bench, "data", "second");
    bench.uor(&["backup", "safe"]).ok();
    bench
        .uor(&["--data", "old", "backup", "safe"])
        .fails(1, "older than its backup");
    bench.uor(&["--data", "other", "init"]).ok();
    bench
        .uor(&["--data", "other", "backup", "safe"])
        .fails(1, "is a backup of site");
    fs::remove_dir_all(bench.path("data/log")).unwrap();
    bench
        .uor(&["backup", "safe"])
        .fails(1, "has lost something");
    bench.replay(&["verify", "safe/uor-backup-00000001"]).ok();
}

/// Nobody knows what a backup without its manifest holds: it stays, is named, and is in no later
/// one's way.
#[test]
fn a_backup_with_a_damaged_manifest_stays_and_the_next_are_made() {
    let bench = Bench::new();
    add(&bench, "data", "first");
    bench.uor(&["backup", "safe"]).ok();
    let manifest = bench.path("safe/uor-backup-00000001/manifest");
    let mut bytes = fs::read(&manifest).unwrap();
    bytes[70] ^= 1;
    fs::write(&manifest, bytes).unwrap();
    let damaged = files(&bench.path("safe/uor-backup-00000001"));
    for number in [2, 3] {
        let made = bench.uor(&["backup", "safe", "--json"]).ok();
        assert!(
            made.err.contains("uor-backup-00000001 has no manifest"),
            "{}",
            made.err
        );
        let made = made.json();
        assert!(text(&made, "path").ends_with(&format!("uor-backup-0000000{number}")));
        assert_eq!(made["unreadable"].as_array().unwrap().len(), 1);
        assert!(!bench.path("safe/uor-backup-00000002").exists() || number == 2);
    }
    assert_eq!(files(&bench.path("safe/uor-backup-00000001")), damaged);
    let restored = bench.uor(&["--data", "back", "restore", "safe"]).ok();
    assert!(restored.err.contains("uor-backup-00000001 has no manifest"));
    // As a crash leaves them that came when the newest had its name and the one before was there.
    copy(
        &bench,
        "safe/uor-backup-00000003",
        "safe/uor-backup-00000004",
    );
    bench.uor(&["backup", "safe"]).ok();
    let left = [1, 3, 4, 5].map(|number| {
        bench
            .path(&format!("safe/uor-backup-0000000{number}"))
            .exists()
    });
    assert_eq!(left, [true, false, false, true]);
    bench.replay(&["verify", "safe/uor-backup-00000005"]).ok();
}

#[test]
fn a_damaged_backup_is_not_restored_and_leaves_nothing() {
    let bench = Bench::new();
    add(&bench, "data", "first");
    bench.uor(&["backup", "safe"]).ok();
    let backup = bench.path("safe/uor-backup-00000001");
    for (name, bytes) in files(&backup) {
        if name.contains("restored") || bytes.is_empty() {
            continue;
        }
        let path = backup.join(&name);
        let mut broken = bytes.clone();
        broken[bytes.len() / 2] ^= 1;
        fs::write(&path, &broken).unwrap();
        let said = bench
            .uor(&["--data", "back", "restore", "safe"])
            .exits(1)
            .err;
        assert!(
            said.contains("damaged") || said.contains("no complete backup"),
            "{name}: {said}"
        );
        assert!(!bench.path("back").exists(), "{name}");
        fs::write(&path, &bytes).unwrap();
    }
    bench.uor(&["--data", "back", "restore", "safe"]).ok();
    bench
        .uor(&["--data", "back", "restore", "safe"])
        .fails(1, "already");
}

#[test]
fn a_restored_site_has_its_later_commits_back_before_it_writes() {
    let bench = Bench::bare();
    let [a, b] = two(&bench);
    let ticket = text(
        &bench.uor(&["--data", "a", "invite", "--json"]).ok().json(),
        "ticket",
    )
    .to_owned();
    bench.uor(&["--data", "a", "backup", "safe"]).ok();
    add(&bench, "a", "after-the-backup");
    caught_up(&bench);
    let commits = own_commits(&bench, "a");
    a.kill();
    fs::remove_dir_all(bench.path("a")).unwrap();

    let restored = bench
        .uor(&["--data", "a", "restore", "safe", "--json"])
        .ok()
        .json();
    assert_eq!(restored["asks_first"], json!(true));
    bench
        .uor(&["--data", "a", "add", "a.txt"])
        .fails(1, "restored from a backup");
    assert_eq!(status_of(&bench, "a")["held"], "restored");
    bench
        .uor(&["--data", "a", "recover", "--peer", &b.address])
        .ok();
    assert_eq!(own_commits(&bench, "a"), commits);
    let a = Node::start_with(&bench, "a", &["--peer", &b.address]);
    add(&bench, "a", "after-the-restore");
    caught_up(&bench);
    for site in ["a", "b"] {
        assert_eq!(status(&bench, site)["forks"], json!([]), "{site}");
        bench.replay(&["verify", site]).ok();
    }
    // A ticket that was open at the time of the backup may have been used since.
    bench
        .uor(&["--data", "c", "join", &ticket, "--peer", &a.address])
        .fails(1, "");
    drop((a, b));
}

/// Bytes that no compression shortens, so that they lie in a pack as they are.
fn noise(len: u32) -> Vec<u8> {
    (0..len / 32)
        .flat_map(|seed| *Checksum::of(&seed.to_le_bytes()).as_bytes())
        .collect()
}

/// The code of the error document on the last line.
fn code(err: &str) -> String {
    let document: serde_json::Value = serde_json::from_str(err.lines().last().unwrap()).unwrap();
    text(&document["error"], "code").to_owned()
}

/// A site with noise in its only pack, and a sound backup of it.
fn with_a_backup() -> Bench {
    let bench = Bench::new();
    bench.write("noise", noise(100_000));
    bench.uor(&["add", "noise", "--ref", "noise"]).ok();
    bench.uor(&["backup", "safe"]).ok();
    bench
}

const PACK: &str = "data/blocks/00000001.pack";

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_site_does_not_take_the_place_of_a_sound_backup() {
    let bench = with_a_backup();
    let before = files(&bench.path("safe/uor-backup-00000001"));
    flip(&bench.path(PACK), 50_000);
    bench.replay(&["verify", "data"]).exits(1);

    let refused = bench.uor(&["backup", "safe", "--json"]).exits(1).err;
    assert_eq!(code(&refused), "damaged");
    assert!(
        refused.contains("blocks/00000001.pack") && refused.contains("uor recover"),
        "{refused}"
    );
    assert_eq!(files(&bench.path("safe/uor-backup-00000001")), before);
    assert!(
        !bench.path("safe/partial").exists() && !bench.path("safe/uor-backup-00000002").exists()
    );

    let kept = bench
        .uor(&["backup", "safe", "--damaged", "--json"])
        .exits(3)
        .json();
    assert_eq!(kept["damaged"].as_array().unwrap().len(), 1, "{kept}");
    assert_eq!(files(&bench.path("safe/uor-backup-00000001")), before);
    assert!(bench.path("safe/uor-backup-00000002/key").exists());
    let restored = bench
        .uor(&["--data", "back", "restore", "safe"])
        .exits(3)
        .err;
    assert!(
        restored.contains("blocks/00000001.pack")
            && restored.contains("uor-backup-00000001 is older, and was sound"),
        "{restored}"
    );

    flip(&bench.path(PACK), 50_000);
    let made = bench.uor(&["backup", "safe", "--json"]).ok().json();
    assert_eq!(made["damaged"], json!([]));
    bench.replay(&["verify", "safe/uor-backup-00000003"]).ok();
    let left = [1, 2].map(|number| {
        bench
            .path(&format!("safe/uor-backup-0000000{number}"))
            .exists()
    });
    assert_eq!(left, [false, false]);
}

#[test]
fn a_pack_that_was_only_touched_is_not_copied_again() {
    let bench = with_a_backup();
    let pack = bench.path(PACK);
    let modified = || fs::metadata(&pack).unwrap().modified().unwrap();
    let before = modified();
    let again = bench.uor(&["backup", "safe", "--json"]).ok().json();
    assert_ne!(modified(), before, "opening it has written to the pack");
    assert_eq!(again["new_bytes"], json!(0), "{again}");
    bench.replay(&["verify", "safe/uor-backup-00000002"]).ok();
}

#[test]
fn a_backup_is_read_as_a_data_directory_and_never_written() {
    let bench = with_a_backup();
    let backup = "safe/uor-backup-00000001";
    let before = files(&bench.path(backup));
    for args in [
        &["add", "noise"][..],
        &["node", "--listen", "/ip4/127.0.0.1/tcp/0"],
        &["gc"],
        &["recover"],
        &["backup", "other"],
    ] {
        let all = [&["--data", backup, "--json"], args].concat();
        let refused = bench.uor(&all).exits(1).err;
        assert!(
            code(&refused) == "wrong-kind" && refused.contains("restore"),
            "{args:?}: {refused}"
        );
        assert_eq!(files(&bench.path(backup)), before, "{args:?}");
    }
    for args in [
        &["status"][..],
        &["ls"],
        &["cat", "noise"],
        &["get", "noise", "--output", "got"],
    ] {
        let all = [&["--data", backup], args].concat();
        bench.uor(&all).ok();
    }
    bench.replay(&["verify", backup]).ok();
    assert_eq!(files(&bench.path(backup)), before);
    bench.uor(&["--data", "back", "restore", "safe"]).ok();
}

#[test]
fn what_is_no_backup_has_a_code() {
    let bench = Bench::new();
    let restore = |from: &str| {
        bench
            .uor(&["--data", "back", "--json", "restore", from])
            .exits(1)
            .err
    };
    assert_eq!(code(&restore("nowhere")), "file-not-found");
    bench.write("mine/letter", "dear");
    assert_eq!(code(&restore("mine")), "not-found");
    let refused = bench.uor(&["--json", "backup", "mine"]).exits(1).err;
    assert_eq!(code(&refused), "exists");
    assert!(!bench.path("back").exists());
}

/// As a process leaves it that was killed while it restored.
#[test]
fn half_a_restored_directory_is_restored_again() {
    let bench = with_a_backup();
    bench.uor(&["--data", "back", "restore", "safe"]).ok();
    let whole = files(&bench.path("back"));
    fs::rename(bench.path("back/site.toml"), bench.path("back/restoring")).unwrap();
    fs::remove_file(bench.path("back/key")).unwrap();
    bench.write("back/blocks/00000001.pack", "half");
    bench.uor(&["--data", "back", "restore", "safe"]).ok();
    assert_eq!(files(&bench.path("back")), whole);
    assert!(bench.uor(&["--data", "back", "cat", "noise"]).ok().out == noise(100_000));
    // What is somebody's own is left alone.
    fs::rename(bench.path("back/site.toml"), bench.path("back/restoring")).unwrap();
    bench.write("back/letter", "dear");
    bench
        .uor(&["--data", "back", "restore", "safe"])
        .fails(1, "no site's");
    assert_eq!(bench.read("back/letter"), b"dear");
}
