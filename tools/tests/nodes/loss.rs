//! A site that has lost its log, a part of it, or its payloads says so, shows what is here, does
//! not write, and gets back what the others have.

use std::fs;
use std::fs::OpenOptions;

use serde_json::json;

use crate::node::{Node, position, status, until};
use crate::support::{Bench, text};

/// A site with some commits, a payload and a name, without others.
fn lone() -> Bench {
    let bench = Bench::new();
    for number in 0..6 {
        bench.write(
            &format!("file-{number}"),
            format!("content {number}\n").repeat(300),
        );
        bench
            .uor(&[
                "add",
                &format!("file-{number}"),
                "--ref",
                &format!("name/{number}"),
            ])
            .ok();
    }
    bench
}

/// Sites `a` and `b`, caught_up, with something of each; both nodes run.
pub(crate) fn two(bench: &Bench) -> [Node; 2] {
    bench.uor(&["--data", "a", "init", "--name", "anna"]).ok();
    let a = Node::start(bench, "a");
    let ticket = text(
        &bench.uor(&["--data", "a", "invite", "--json"]).ok().json(),
        "ticket",
    )
    .to_owned();
    bench
        .uor(&["--data", "b", "join", &ticket, "--name", "ben"])
        .ok();
    let b = Node::start(bench, "b");
    for site in ["a", "b"] {
        bench.write(
            &format!("{site}.txt"),
            format!("text of {site}\n").repeat(100),
        );
        bench
            .uor(&[
                "--data",
                site,
                "add",
                &format!("{site}.txt"),
                "--ref",
                &format!("from/{site}"),
            ])
            .ok();
    }
    caught_up(bench);
    [a, b]
}

/// Waits until `a` and `b` stand at one place and lack nothing.
#[track_caller]
pub(crate) fn caught_up(bench: &Bench) {
    until("a and b have caught up", || {
        let (a, b) = (position(bench, "a")?, position(bench, "b")?);
        (a == b).then_some(())
    });
}

/// The number of own commits of the site in `data`.
pub(crate) fn own_commits(bench: &Bench, data: &str) -> u64 {
    let status = status_of(bench, data);
    let own = text(&status, "site_id").to_owned();
    status["domains"]
        .as_array()
        .unwrap()
        .iter()
        .find(|domain| domain["domain"] == own.as_str())
        .map_or(0, |domain| domain["commits"].as_u64().unwrap())
}

/// What `uor status` says, whatever its exit status.
pub(crate) fn status_of(bench: &Bench, data: &str) -> serde_json::Value {
    serde_json::from_slice(&bench.uor(&["--data", data, "status", "--json"]).out).unwrap()
}

/// What every loss of a lone site has in common.
fn is_told(bench: &Bench, saying: &str) {
    let verified = bench.replay(&["verify", "data", "--json"]).exits(1).json();
    assert!(
        verified["findings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|found| found["kind"] == "lost"),
        "{verified}"
    );
    bench.replay(&["verify", "data"]).exits(1);
    let status = bench.uor(&["status", "--json"]).exits(3);
    assert!(
        status.json()["lost"].is_object() && status.err.contains(saying),
        "{}",
        status.err
    );
    let listed = bench.uor(&["ls"]).exits(3);
    assert!(listed.err.contains("uor recover"), "{}", listed.err);
    bench.write("new", "new");
    for args in [
        &["add", "new"][..],
        &["ref", "set", "x", "name/0"],
        &["node"],
        &["gc"],
    ] {
        let said = bench.uor(args).exits(1).err;
        assert!(
            said.contains(saying) && said.contains("uor recover"),
            "{args:?}: {said}"
        );
    }
    let said = bench.uor(&["recover"]).exits(1).err;
    assert!(said.contains("--accept-loss"), "{said}");
}

#[test]
fn a_log_that_was_removed_is_a_loss_and_not_a_beginning() {
    let bench = lone();
    fs::remove_dir_all(bench.path("data/log")).unwrap();
    is_told(&bench, "own commits 1 to 7 were acknowledged");
    let refused = bench.uor(&["recover", "--accept-loss"]).exits(1).err;
    assert!(refused.contains("nothing is left"), "{refused}");
}

#[test]
fn log_and_witness_do_not_vanish_together() {
    for parts in [
        &["log", "acknowledged", "index"][..],
        &["log", "blocks", "index"],
    ] {
        let bench = lone();
        for part in parts {
            let path = bench.path("data").join(part);
            drop(if path.is_dir() {
                fs::remove_dir_all(path)
            } else {
                fs::remove_file(path)
            });
        }
        is_told(&bench, "own commits 1 to 7 were acknowledged");
    }
}

#[test]
fn a_log_that_was_cut_is_a_loss_and_the_rest_goes_on_only_when_that_is_accepted() {
    let bench = lone();
    let log = bench.path("data/log/00000001.log");
    let commits = bench.uor(&["log", "--json"]).ok().lines();
    assert_eq!(commits.len(), 7);
    let len = u64::try_from(
        fs::read(&log)
            .unwrap()
            .iter()
            .rposition(|byte| *byte != 0)
            .unwrap(),
    )
    .unwrap();
    OpenOptions::new()
        .write(true)
        .open(&log)
        .unwrap()
        .set_len(len / 2)
        .unwrap();
    is_told(&bench, "were acknowledged and are not in its log");
    let kept = bench.uor(&["log", "--json"]).exits(3).lines();
    assert!(!kept.is_empty() && kept.len() < 7 && commits.starts_with(&kept));
    let recovered = bench
        .uor(&["recover", "--accept-loss", "--json"])
        .exits(3)
        .json();
    assert_eq!(
        (&recovered["commits_here"], &recovered["given_up"]),
        (&json!(kept.len()), &json!(true))
    );
    bench.uor(&["add", "new", "--ref", "after"]).ok();
    bench.replay(&["verify", "data"]).ok();
    assert_eq!(status(&bench, "data")["lost"], json!(null));
}

#[test]
fn payloads_that_were_removed_are_a_loss_until_they_are_given_up() {
    let bench = lone();
    fs::remove_dir_all(bench.path("data/blocks")).unwrap();
    is_told(&bench, "packs of payloads");
    let verified = bench.replay(&["verify", "data", "--json"]).exits(1).json();
    assert_eq!(
        (
            &verified["missing"],
            verified["findings"].as_array().unwrap().len()
        ),
        (&json!([]), 2),
        "{verified}"
    );
    let recovered = bench
        .uor(&["recover", "--accept-loss", "--json"])
        .exits(3)
        .json();
    assert_eq!(recovered["payloads"].as_array().unwrap().len(), 6);
    bench.replay(&["verify", "data"]).ok();
    bench.uor(&["ls"]).ok();
    // Put again, it is here again.
    bench.uor(&["add", "file-3", "--checksum"]).ok();
    assert_eq!(bench.uor(&["cat", "name/3"]).ok().out, bench.read("file-3"));
}

#[test]
fn one_payload_is_lost_and_several_are() {
    let bench = Bench::new();
    bench.write("one", "one");
    bench.uor(&["add", "one"]).ok();
    fs::remove_dir_all(bench.path("data/blocks")).unwrap();
    bench
        .uor(&["recover"])
        .fails(1, "1 payload of its own is lost");
    let bench = lone();
    fs::remove_dir_all(bench.path("data/blocks")).unwrap();
    bench
        .uor(&["recover"])
        .fails(1, "6 payloads of its own are lost");
}

#[test]
fn what_was_erased_or_removed_and_collected_is_no_loss() {
    let bench = lone();
    bench.uor(&["erase", "name/1"]).ok();
    let key = text(&bench.uor(&["add", "file-2", "--json"]).ok().json(), "key").to_owned();
    // A name breaks, which is said.
    bench.uor(&["rm", &key]).exits(3);
    bench.uor(&["gc"]).ok();
    bench.replay(&["verify", "data"]).ok();
    assert_eq!(status(&bench, "data")["lost"], json!(null));
    assert!(
        bench
            .uor(&["recover"])
            .ok()
            .text()
            .contains("nothing is lost")
    );
}

#[test]
fn a_site_gets_its_log_and_payloads_back_from_the_others() {
    for lost in [
        &["log"][..],
        &["log", "index"],
        &["blocks"],
        &["log", "blocks", "index"],
    ] {
        let bench = Bench::bare();
        let [a, b] = two(&bench);
        let before = (
            bench.uor(&["--data", "a", "log", "--json"]).ok().text(),
            own_commits(&bench, "a"),
        );
        a.kill();
        for part in lost {
            // An index is written when there is much to say.
            drop(fs::remove_dir_all(bench.path("a").join(part)));
        }
        bench.replay(&["verify", "a"]).exits(1);
        bench
            .uor(&["--data", "a", "node", "--listen", "/ip4/127.0.0.1/tcp/0"])
            .fails(1, "uor recover");
        let recovered = bench
            .uor(&["--data", "a", "recover", "--peer", &b.address, "--json"])
            .ok()
            .json();
        assert_eq!(
            (&recovered["given_up"], &recovered["payloads"]),
            (&json!(false), &json!([])),
            "{lost:?}"
        );
        let a = Node::start(&bench, "a");
        caught_up(&bench);
        assert_eq!(
            (
                bench.uor(&["--data", "a", "log", "--json"]).ok().text(),
                own_commits(&bench, "a")
            ),
            before
        );
        bench.write("later", "later");
        bench
            .uor(&["--data", "a", "add", "later", "--ref", "later"])
            .ok();
        caught_up(&bench);
        assert_eq!(
            bench.uor(&["--data", "b", "cat", "later"]).ok().out,
            b"later"
        );
        bench.replay(&["verify", "a"]).ok();
        bench.replay(&["verify", "b"]).ok();
        drop((a, b));
    }
}

#[test]
fn a_loss_is_not_accepted_while_a_site_that_may_have_it_does_not_answer() {
    let bench = Bench::bare();
    let [a, b] = two(&bench);
    bench.write("last", "the last commit in the log of a is its own");
    bench.uor(&["--data", "a", "add", "last"]).ok();
    caught_up(&bench);
    a.stop();
    b.stop();
    let log = bench.path("a/log/00000001.log");
    let len = u64::try_from(
        fs::read(&log)
            .unwrap()
            .iter()
            .rposition(|byte| *byte != 0)
            .unwrap(),
    )
    .unwrap();
    OpenOptions::new()
        .write(true)
        .open(&log)
        .unwrap()
        .set_len(len - 200)
        .unwrap();
    bench.replay(&["verify", "a"]).exits(1);
    let refused = bench
        .uor(&["--data", "a", "recover", "--accept-loss"])
        .exits(1)
        .err;
    assert!(
        refused.contains("1 site may hold such commits and did not answer"),
        "{refused}"
    );
    assert!(refused.contains("--force"), "{refused}");
    bench.uor(&["--data", "a", "add", "a.txt"]).fails(1, "lost");
    // Once it answers, nothing is lost.
    let b = Node::start(&bench, "b");
    bench
        .uor(&[
            "--data",
            "a",
            "recover",
            "--accept-loss",
            "--peer",
            &b.address,
        ])
        .ok();
    bench.replay(&["verify", "a"]).ok();
    b.stop();
}
