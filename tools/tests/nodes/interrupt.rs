//! Signals: what is interrupted commits nothing more, here or in the node, and the node goes on;
//! and a node that is silent.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::Value;
use uor_index_format::id::Checksum;

use crate::node::{Node, trace, until};
use crate::support::{Bench, text};

/// More than any pipe holds: once it is written, somebody has read most of it.
const MUCH: usize = 8 << 20;

fn signal(name: &str, id: u32) {
    assert!(
        Command::new("kill")
            .args([name, &id.to_string()])
            .status()
            .unwrap()
            .success()
    );
}

/// A command that is certainly under way, its input open.
fn adding(bench: &Bench, args: &[&str]) -> (Child, ChildStdin) {
    let mut command = bench.command("uor");
    command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(&vec![7; MUCH]).unwrap();
    (child, input)
}

/// Status, output and errors.
fn ended(child: Child) -> (Option<i32>, String, String) {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// The code of the error document on the last line.
fn code(err: &str) -> String {
    let document: Value = serde_json::from_str(err.lines().last().unwrap()).unwrap();
    text(&document["error"], "code").to_owned()
}

/// A node that ends while a command waits for its own input ends the command.
#[test]
fn a_command_that_waits_for_input_ends_with_its_node() {
    let bench = Bench::new();
    let ends: [fn(Node); 2] = [Node::kill, Node::stop];
    for end in ends {
        let node = Node::start(&bench, "data");
        let (child, input) = adding(&bench, &["add", "-", "--ref", "half"]);
        end(node);
        let (status, out, err) = ended(child);
        assert!(status.is_some_and(|status| status != 0), "{err}");
        assert_eq!(out, "");
        drop(input);
    }
    bench.uor(&["cat", "half"]).exits(1);
}

#[test]
fn while_something_is_added_rm_is_busy_and_its_code_says_so() {
    let bench = Bench::new();
    bench.write("old", "old");
    bench.uor(&["add", "old", "--ref", "old"]).ok();
    let node = Node::start(&bench, "data");
    let (child, input) = adding(&bench, &["add", "-", "--ref", "new"]);
    let busy = bench.uor(&["rm", "-r", "old", "--json"]).exits(1);
    assert_eq!(code(&busy.err), "busy", "{}", busy.err);
    drop(input);
    assert_eq!(ended(child).0, Some(0));
    bench.uor(&["rm", "-r", "old"]).ok();
    node.stop();
}

#[test]
fn an_interrupted_add_names_and_commits_nothing_here_or_in_a_node() {
    let bench = Bench::new();
    let node = [None, Some(Node::start(&bench, "data"))];
    for node in node {
        for name in ["-INT", "-TERM"] {
            let before = trace(&bench, "data");
            let (child, input) = adding(&bench, &["add", "-", "--ref", "half", "--json"]);
            signal(name, child.id());
            let (status, out, err) = ended(child);
            assert_eq!(
                (status, out.as_str(), code(&err).as_str()),
                (Some(130), "", "interrupted"),
                "{err}"
            );
            drop(input);
            assert!(trace(&bench, "data") == before, "{name} left a trace");
            // Garbage is collected only while nothing is being added: the command has ended in the
            // node too.
            bench.uor(&["gc"]).ok();
            assert_eq!(bench.uor(&["ls", "--json"]).ok().text(), "");
        }
        if let Some(node) = node {
            bench.write("x", "x");
            bench.uor(&["add", "x"]).ok();
            node.stop();
        }
    }
    bench.replay(&["verify", "data"]).ok();
}

#[test]
fn a_client_that_is_killed_takes_its_command_with_it() {
    let bench = Bench::new();
    let node = Node::start(&bench, "data");
    let before = trace(&bench, "data");
    let (mut child, input) = adding(&bench, &["add", "-", "--ref", "half"]);
    child.kill().unwrap();
    child.wait().unwrap();
    drop(input);
    until("the node notices", || {
        (bench.uor(&["gc"]).status == 0).then_some(())
    });
    assert!(trace(&bench, "data") == before);
    node.stop();
}

#[test]
fn an_import_that_waits_for_a_pipe_is_interrupted() {
    let bench = Bench::new();
    assert!(
        Command::new("mkfifo")
            .arg(bench.path("pipe"))
            .status()
            .unwrap()
            .success()
    );
    let node = [None, Some(Node::start(&bench, "data"))];
    for node in node {
        let before = trace(&bench, "data");
        let mut command = bench.command("uor");
        command
            .args(["import", "zfs", "pipe"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        // Opens only once somebody is there to read.
        let mut writer = File::options()
            .write(true)
            .open(bench.path("pipe"))
            .unwrap();
        writer.write_all(&[0; 16]).unwrap();
        signal("-INT", child.id());
        assert_eq!(ended(child).0, Some(130));
        assert!(trace(&bench, "data") == before);
        bench.uor(&["gc"]).ok();
        drop(writer);
        if let Some(node) = node {
            node.stop();
        }
    }
}

#[test]
fn what_waits_for_a_pipe_with_patterns_or_a_program_is_interrupted() {
    let bench = Bench::new();
    bench.write("x", "x");
    let made = Command::new("mkfifo").arg(bench.path("pipe")).status();
    assert!(made.unwrap().success());
    let node = [None, Some(Node::start(&bench, "data"))];
    for node in node {
        for args in [
            &["add", "x", "--exclude-from", "pipe"][..],
            &["program", "add", "pipe"],
        ] {
            let before = trace(&bench, "data");
            let mut command = bench.command("uor");
            command
                .args(args)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped());
            let child = command.spawn().unwrap();
            // Opens only once somebody is there to read.
            let mut writer = File::options()
                .write(true)
                .open(bench.path("pipe"))
                .unwrap();
            writer.write_all(b"#").unwrap();
            signal("-INT", child.id());
            assert_eq!(ended(child).0, Some(130), "{args:?}");
            assert!(trace(&bench, "data") == before);
            bench.uor(&["gc"]).ok();
            drop(writer);
        }
        if let Some(node) = node {
            node.stop();
        }
    }
}

#[test]
fn a_silent_node_is_said_to_be_and_never_carries_the_command_out() {
    let bench = Bench::new();
    bench.write("x", "x");
    let node = Node::start(&bench, "data");
    let before = trace(&bench, "data");
    signal("-STOP", node.id());
    let said = bench
        .uor(&["add", "x", "--ref", "x", "--json"])
        .exits(1)
        .err;
    assert_eq!(code(&said), "node-silent", "{said}");
    bench
        .uor(&["status"])
        .fails(1, "has said nothing for 5 seconds");
    signal("-CONT", node.id());
    assert!(
        trace(&bench, "data") == before,
        "what was taken back was done"
    );
    bench.uor(&["add", "x", "--ref", "x"]).ok();
    node.stop();
}

#[test]
fn a_second_signal_ends_a_command_at_once() {
    let bench = Bench::new();
    let node = Node::start(&bench, "data");
    let (child, input) = adding(&bench, &["add", "-", "--ref", "half"]);
    signal("-STOP", node.id());
    let id = child.id();
    signal("-INT", id);
    // The first is waited for: until it has been heeded, a second one would be the same.
    until("the first signal is heeded", || {
        let pending = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        pending
            .lines()
            .any(|line| line == "ShdPnd:\t0000000000000000")
            .then_some(())
    });
    until("the second signal ends it", || {
        signal("-INT", id);
        let status = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
        status.contains(") Z").then_some(())
    });
    assert_eq!(ended(child).0, Some(130));
    signal("-CONT", node.id());
    drop(input);
    until("the node notices", || {
        (bench.uor(&["gc"]).status == 0).then_some(())
    });
    assert_eq!(bench.uor(&["ls", "--json"]).ok().text(), "");
    node.stop();
}

#[test]
fn an_interrupted_audit_leaves_no_temporary_files() {
    let bench = Bench::new();
    fs::create_dir(bench.path("tmp")).unwrap();
    let node = Node::start(&bench, "data");
    signal("-STOP", node.id());
    let mut command = bench.command("uor-replay");
    command
        .args(["--as", "data", "state", &node.address, "--json"])
        .env("TMPDIR", bench.path("tmp"));
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let folders = || {
        let listed = Command::new("ls").arg(bench.path("tmp")).output().unwrap();
        String::from_utf8(listed.stdout).unwrap()
    };
    until("there is a replica", || {
        folders().contains("uor-replay").then_some(())
    });
    signal("-TERM", child.id());
    let (status, _, err) = ended(child);
    assert_eq!((status, code(&err).as_str()), (Some(130), "interrupted"));
    assert_eq!(folders(), "");
    signal("-CONT", node.id());
    node.stop();
}

#[test]
fn a_reader_that_goes_away_and_a_full_device_are_told_apart_in_a_node_too() {
    let bench = Bench::new();
    bench.write("x", vec![b'x'; MUCH]);
    bench.uor(&["add", "x", "--ref", "x"]).ok();
    let node = [None, Some(Node::start(&bench, "data"))];
    for node in node {
        for args in [
            &["cat", "x"][..],
            &["log"],
            &["log", "--json"],
            &["status", "--json"],
        ] {
            let full = File::options().write(true).open("/dev/full").unwrap();
            let mut command = bench.command("uor");
            let output = command
                .args(args)
                .stdin(Stdio::null())
                .stdout(full)
                .stderr(Stdio::piped())
                .output()
                .unwrap();
            let err = String::from_utf8(output.stderr).unwrap();
            assert!(
                output.status.code() == Some(1) && err.contains("cannot write the output"),
                "{args:?}: {err}"
            );
        }
        let mut command = bench.command("uor");
        let mut child = command
            .args(["cat", "x"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut [0; 10]).unwrap();
        drop(out);
        assert_eq!(ended(child), (Some(0), String::new(), String::new()));
        if let Some(node) = node {
            node.stop();
        }
    }
    for args in [
        &["state", "data"][..],
        &["verify", "data", "--json"],
        &["--help"],
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = bench
            .command("uor-replay")
            .args(args)
            .stdout(full)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(1) && err.contains("cannot write the output"),
            "{args:?}: {err}"
        );
    }
}

/// More than is copied between a look for the first byte and a signal.
fn much_noise() -> Vec<u8> {
    (0..(64u32 << 20) / 32)
        .flat_map(|seed| *Checksum::of(&seed.to_le_bytes()).as_bytes())
        .collect()
}

fn begun(bench: &Bench, args: &[&str], there: &str) -> Child {
    let mut command = bench.command("uor");
    let mut child = command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("it is under way", || {
        assert!(child.try_wait().unwrap().is_none(), "it is over");
        bench.path(there).exists().then_some(())
    });
    child
}

#[test]
fn an_interrupted_backup_or_restore_leaves_what_was_before() {
    let bench = Bench::new();
    bench.write("noise", much_noise());
    bench.uor(&["add", "noise", "--ref", "noise"]).ok();
    for node in [None, Some(Node::start(&bench, "data"))] {
        for name in ["-INT", "-TERM"] {
            let child = begun(&bench, &["backup", "safe", "--json"], "safe/partial");
            signal(name, child.id());
            let (status, out, err) = ended(child);
            assert_eq!((status, out.as_str()), (Some(130), ""), "{err}");
            assert_eq!(code(&err), "interrupted");
            // A node may still be at it when its client has gone.
            until("nothing is left", || {
                (!bench.path("safe/partial").exists()).then_some(())
            });
            assert!(!bench.path("safe/uor-backup-00000001").exists());
        }
        if let Some(node) = node {
            node.stop();
        }
    }
    bench.uor(&["backup", "safe"]).ok();
    let restore = &["--data", "new/back", "restore", "safe", "--json"];
    let child = begun(&bench, restore, "new/back/blocks/00000001.pack");
    signal("-INT", child.id());
    let (status, _, err) = ended(child);
    assert_eq!((status, code(&err).as_str()), (Some(130), "interrupted"));
    assert!(!bench.path("new").exists());

    let mut child = begun(&bench, restore, "new/back/blocks/00000001.pack");
    child.kill().unwrap();
    assert_ne!(ended(child).0, Some(0));
    assert!(bench.path("new/back/log").exists(), "half of it is there");
    bench.uor(restore).ok();
    bench.replay(&["verify", "new/back"]).ok();
}
