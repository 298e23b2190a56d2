//! The same commands beside a running node: through its control socket.

use std::fs;
use std::process::Stdio;
use std::sync::Arc;

use uor_asl::disk::Mode;
use uor_node::control::{SOCKET_NAME, Server};
use uor_node::site::Site;
use uor_tools::beside;

use crate::support::{Bench, text};
use crate::walk::walk;

/// A bench whose site is open in this process, which serves its control socket.
fn served() -> (Bench, Server) {
    let bench = Bench::new();
    let site = Arc::new(Site::open(&bench.data(), Mode::Write).unwrap());
    let server = Server::start(&bench.data(), beside::handler(site, None)).unwrap();
    (bench, server)
}

#[test]
fn every_command_works_beside_a_node() {
    let (bench, _server) = served();
    walk(&bench);
}

#[test]
fn paths_are_the_client_s() {
    let (bench, _server) = served();
    bench.write("elsewhere/file", "found");
    let run = |args: &[&str]| {
        let mut command = bench.command("uor");
        command
            .current_dir(bench.path("elsewhere"))
            .env("UOR_DATA", "../data")
            .args(args);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    run(&["add", "file", "--ref", "file"]);
    run(&["get", "file", "--output", "copy"]);
    assert_eq!(bench.read("elsewhere/copy"), b"found");
}

#[test]
fn what_only_the_client_has_open_is_not_asked_of_the_node() {
    let (bench, _server) = served();
    bench.write("photos/a.jpg", "a");
    bench.write("patterns", "*.jpg\n");
    let before = bench.uor(&["log", "--json"]).ok().out;
    std::os::unix::fs::symlink("/dev/stdin", bench.path("input")).unwrap();
    for args in [
        &["add", "/dev/stdin"][..],
        &["add", "input"],
        &["add", "photos", "--exclude-from", "/dev/fd/0"],
        &["import", "zfs", "/proc/self/fd/0"],
        &["program", "add", "/dev/fd/0"],
        &["run", "photos", "--input", "x=/dev/stdin"],
    ] {
        let said = bench.uor_with_input(&[args, &["--json"]].concat(), b"*.jpg\n");
        let said = said.fails(1, "running node").err;
        assert!(
            said.contains("bad-input") && said.contains("file"),
            "{args:?}: {said}"
        );
    }
    // What the node has open there may be a file as well: it would be taken without a word.
    let mut command = bench.command("uor");
    let patterns = fs::File::open(bench.path("patterns")).unwrap();
    let output = command
        .args(["add", "/dev/stdin"])
        .stdin(patterns)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(before == bench.uor(&["log", "--json"]).ok().out);
    bench
        .uor_with_input(&["add", "-", "--ref", "piped"], b"hi")
        .ok();
    assert_eq!(bench.uor(&["cat", "piped"]).ok().out, b"hi");
    bench
        .uor(&["add", "photos", "--exclude-from", "patterns"])
        .ok();
}

#[test]
fn failures_come_back_as_they_are() {
    let (bench, _server) = served();
    bench.uor(&["cat", &"0".repeat(64)]).fails(1, "there is no");
    bench.uor(&["get"]).fails(2, "Usage");
    bench.uor(&["add", "-", "-"]).fails(2, "once");
    bench.uor(&["init"]).fails(1, "");
}

#[test]
fn a_closed_standard_output_ends_quietly_here_too() {
    let (bench, _server) = served();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = bench.command("uor");
    let output = command
        .args(["log"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert_eq!(
        (
            String::from_utf8(output.stderr).unwrap().as_str(),
            output.status.code()
        ),
        ("", Some(0))
    );
    bench.uor(&["log"]).ok();
}

#[test]
fn a_dead_node_s_socket_is_no_obstacle() {
    let bench = Bench::new();
    drop(std::os::unix::net::UnixListener::bind(bench.data().join(SOCKET_NAME)).unwrap());
    assert!(fs::exists(bench.data().join(SOCKET_NAME)).unwrap());
    bench.write("x", "x");
    let added = bench.uor(&["add", "x", "--json"]).ok().json();
    assert_eq!(text(&added, "kind"), "file");
}

#[test]
fn an_audit_reads_beside_the_node() {
    let (bench, _server) = served();
    bench.write("x", "x");
    bench.uor(&["add", "x"]).ok();
    bench.replay(&["verify", "data"]).ok();
    let status = bench.uor(&["status", "--json"]).ok().json();
    assert_eq!(
        bench.replay(&["state", "data", "--json"]).ok().json()["state_root"],
        status["state_root"]
    );
}
