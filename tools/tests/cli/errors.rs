//! Errors as scripts read them: one document with a code that stays, whatever went wrong; and what
//! they say to people.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::Value;
use uor_asl::disk::Mode;
use uor_node::control::Server;
use uor_node::site::Site;
use uor_tools::beside;

use crate::support::{Bench, Ran, keys, text};

/// The document on the last line of standard error.
#[track_caller]
fn document(ran: &Ran) -> Value {
    let line = ran.err.lines().last().unwrap_or_default();
    let document: Value =
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {}", ran.err));
    assert_eq!(keys(&document), ["error"]);
    assert_eq!(
        keys(&document["error"]),
        ["causes", "code", "hint", "message"]
    );
    document["error"].clone()
}

fn lines(texts: &Value) -> String {
    texts
        .as_array()
        .unwrap()
        .iter()
        .map(|text| format!("{}\n", text.as_str().unwrap()))
        .collect()
}

/// A bench with a file, a tree, a program and a snapshot.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.write("tree/file", "text");
    bench.write("text.toml", "not a program");
    bench.write("page.wasm", "<!DOCTYPE html>\n<html>\n");
    bench.write(
        "module.wasm",
        "(module (memory (export \"memory\") 1 1) (func (export \"run\")))",
    );
    bench.write("empty.wasm", "");
    for name in ["page", "module", "empty", "absent"] {
        let node = "[[node]]\nname = \"only\"\nop = \"pel.wasm/1\"\nmodule";
        bench.write(
            &format!("{name}.toml"),
            format!("{node} = \"{name}.wasm\"\n[outputs]\nresult = \"only\"\n"),
        );
    }
    bench.write("in.toml", "inputs = [\"a\"]\n[[node]]\nname = \"n\"\nop = \"pel.bytes.concat/1\"\ninputs = [\"a\"]\n[outputs]\no = \"n\"\n");
    bench.uor(&["add", "tree", "--ref", "tree"]).ok();
    bench
        .uor(&["program", "add", "in.toml", "--ref", "program"])
        .ok();
    bench.uor(&["snapshot", "create", "--label", "s"]).ok();
    bench
}

const UNKNOWN: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What is given, its status, its code, and a word that the message has to name.
const WRONG: &[(&[&str], i32, &str, &str)] = &[
    (&["frobnicate"], 2, "usage", "frobnicate"),
    (&["add"], 2, "usage", "PATH"),
    (&["add", "x", "--type-tag", "many"], 2, "usage", "many"),
    (&["add", "-", "-"], 2, "usage", "standard input"),
    (&["add", "tree", "tree", "--ref", "x"], 2, "usage", "--ref"),
    (&["trace", "x", "--up", "--down"], 2, "usage", "--down"),
    (
        &["run", "program", "--input", "nothing"],
        2,
        "usage",
        "nothing",
    ),
    (&["join"], 2, "usage", "TICKET"),
    (
        &["join", "x", "--ticket-file", "y"],
        2,
        "usage",
        "--ticket-file",
    ),
    (&["get", "tree"], 2, "usage", "tree"),
    (&["cat", UNKNOWN], 1, "not-found", UNKNOWN),
    (&["cat", "no/such"], 1, "not-found", "no/such"),
    (&["cat", "0123"], 1, "not-found", "0123"),
    (&["cat", ""], 1, "not-found", "``"),
    (&["cat", "tree/absent"], 1, "not-found", "absent"),
    (&["cat", "tree/file/deeper"], 1, "wrong-kind", "tree/file"),
    (&["cat", "tree"], 1, "wrong-kind", "tree"),
    (&["ls", "tree/file"], 1, "wrong-kind", "tree/file"),
    (&["run", "tree"], 1, "wrong-kind", "tree"),
    (&["receipt", "show", "tree"], 1, "wrong-kind", "tree"),
    (&["snapshot", "show", "tree"], 1, "wrong-kind", "tree"),
    (&["program", "show", "tree"], 1, "wrong-kind", "tree"),
    (&["snapshot", "show", "nothing"], 1, "not-found", "nothing"),
    (&["ls", "--at", "nothing"], 1, "not-found", "nothing"),
    (
        &["snapshot", "create", "--label", "head"],
        1,
        "bad-name",
        "head",
    ),
    (
        &["snapshot", "create", "--label", "s"],
        1,
        "exists",
        "label `s`",
    ),
    (&["recover", "--peer", "bogus"], 1, "bad-address", "bogus"),
    (
        &["add", "tree", "--exclude", "{broken"],
        1,
        "bad-input",
        "{broken",
    ),
    (
        &["get", "tree/file", "-o", "nowhere/x"],
        1,
        "file-not-found",
        "no directory",
    ),
    (
        &["get", "tree/file", "-o", "text.toml/x"],
        1,
        "file-not-found",
        "text.toml",
    ),
    (
        &["status", "--data", "text.toml"],
        1,
        "wrong-kind",
        "text.toml is a file",
    ),
    (
        &["init", "--data", "text.toml"],
        1,
        "wrong-kind",
        "text.toml is a file",
    ),
    (&["log", "--domain", "nowhere"], 1, "not-found", "nowhere"),
    (
        &[
            "edge",
            "add",
            "--type",
            "t",
            "--from",
            "tree",
            "--to",
            "site:nowhere",
        ],
        1,
        "not-found",
        "nowhere",
    ),
    (
        &[
            "edge", "add", "--type", "", "--from", "tree", "--to", "tree",
        ],
        1,
        "bad-input",
        "type",
    ),
    (&["ref", "set", "../up", "tree"], 1, "bad-name", "../up"),
    (&["ref", "set", "", "tree"], 1, "bad-name", "``"),
    (&["add", "tree", "--ref", "a//b"], 1, "bad-name", "a//b"),
    (&["add", "absent"], 1, "file-not-found", "absent"),
    (&["add", "/dev/null"], 1, "wrong-kind", "/dev/null"),
    (
        &["add", "tree", "--type-tag", "0x45455254"],
        1,
        "bad-input",
        "tag",
    ),
    (&["get", "tree", "-o", "tree"], 1, "exists", "tree"),
    (
        &["get", "tree", "-o", "no/such/dir"],
        1,
        "file-not-found",
        "no/such",
    ),
    (&["get", "tree", "-o", ".."], 1, "exists", ".."),
    (&["rm", "no/such"], 1, "not-found", "no/such"),
    (
        &["resolve", UNKNOWN, "--keep", UNKNOWN],
        1,
        "not-found",
        UNKNOWN,
    ),
    (
        &["resolve", "tree", "--keep", UNKNOWN],
        1,
        "no-conflict",
        "no open conflict",
    ),
    (&["erase", "no/such"], 1, "not-found", "no/such"),
    (
        &["program", "add", "text.toml"],
        1,
        "bad-program",
        "text.toml",
    ),
    (
        &["program", "check", "text.toml"],
        1,
        "bad-program",
        "text.toml",
    ),
    (
        &["program", "check", "page.toml"],
        1,
        "bad-program",
        "page.toml",
    ),
    (
        &["program", "check", "module.toml"],
        1,
        "bad-program",
        "module.toml",
    ),
    (
        &["program", "check", "empty.toml"],
        1,
        "bad-program",
        "empty.toml",
    ),
    (
        &["program", "check", "absent.toml"],
        1,
        "file-not-found",
        "absent.toml",
    ),
    (
        &["program", "check", "nowhere.toml"],
        1,
        "file-not-found",
        "nowhere.toml",
    ),
    (&["run", "program"], 1, "unbound", "`a`"),
    (&["run", "program", "-i", "b=tree"], 1, "unbound", "`b`"),
    (
        &["run", "program", "-i", "a=tree/file", "-i", "a=tree/file"],
        1,
        "unbound",
        "`a`",
    ),
    (
        &["run", "program", "-i", "a=no/such/thing"],
        1,
        "not-found",
        "no/such/thing",
    ),
    (
        &["run", "program", "-i", "a=./no/such"],
        1,
        "file-not-found",
        "no/such",
    ),
    (&["import", "zfs", "text.toml"], 1, "bad-stream", "13 bytes"),
    (&["import", "zfs", "absent"], 1, "file-not-found", "absent"),
    (
        &["import", "zfs", "--mounted", "text.toml"],
        1,
        "wrong-kind",
        "text.toml",
    ),
    (
        &["import", "zfs", "--mounted", "absent"],
        1,
        "file-not-found",
        "absent",
    ),
    (&["import", "zfs", "tree"], 1, "wrong-kind", "tree"),
    (&["init"], 1, "site-exists", "data"),
    (&["init", "--data", "tree"], 1, "site-exists", "tree"),
    (
        &["init", "--data", "other", "--name", "a\"b"],
        1,
        "bad-name",
        "a\"b",
    ),
    (&["ls", "--data", "nowhere"], 1, "no-site", "nowhere"),
    (&["node", "--data", "nowhere"], 1, "no-site", "nowhere"),
    (
        &["node", "--listen", "localhost:1"],
        1,
        "bad-address",
        "localhost:1",
    ),
    (
        &["node", "--peer", "/ip4/127.0.0.1/tcp/1"],
        1,
        "bad-address",
        "/ip4/127.0.0.1/tcp/1",
    ),
    (
        &["node", "--listen", "/ip4/203.0.113.1/tcp/1"],
        1,
        "network",
        "203.0.113.1",
    ),
    (
        &["join", "--data", "other", "nonsense"],
        1,
        "bad-ticket",
        "ticket",
    ),
    (
        &["join", "--data", "other", "--ticket-file", "absent"],
        1,
        "file-not-found",
        "absent",
    ),
    (
        &["join", "--data", "other", "--ticket-file", "tree/file"],
        1,
        "bad-ticket",
        "ticket",
    ),
    (&["join", "--data", "other", "-"], 1, "bad-ticket", "ticket"),
];

#[test]
fn every_wrong_input_has_its_status_its_code_and_a_message_that_names_it() {
    let bench = bench();
    let mut wrong = Vec::new();
    for (args, status, code, names) in WRONG {
        let ran = bench.uor(&[*args, &["--json"]].concat());
        if ran.status == 0 {
            wrong.push(format!("{args:?} was done: {}", ran.text()));
            continue;
        }
        let error = document(&ran);
        let said = format!("{}\n{}", text(&error, "message"), lines(&error["causes"]));
        let is_raw = [
            "failed to fill whole buffer",
            ": :",
            "lock lock",
            "expected=[",
        ]
        .iter()
        .any(|raw| said.contains(raw));
        let is_right = ran.status == *status && ran.out.is_empty() && text(&error, "code") == *code;
        if !is_right || is_raw || !said.contains(names) {
            wrong.push(format!(
                "{args:?}: status {}: {error} {}",
                ran.status,
                ran.text()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!bench.path("other").exists());
}

#[test]
fn a_node_answers_in_the_same_words() {
    let bench = bench();
    let site = Arc::new(Site::open(&bench.data(), Mode::Write).unwrap());
    let _server = Server::start(&bench.data(), beside::handler(site, None)).unwrap();
    let own = ["init", "node", "join"];
    for (args, status, code, _) in WRONG.iter().filter(|(args, ..)| !own.contains(&args[0])) {
        let ran = bench.uor(&[*args, &["--json"]].concat()).exits(*status);
        assert_eq!(text(&document(&ran), "code"), *code, "{args:?}");
    }
    // What cannot be read is told as what it is.
    let mut command = bench.command("uor");
    let directory = File::open(bench.path("tree")).unwrap();
    let output = command
        .args(["add", "-", "--json"])
        .stdin(directory)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(1) && err.contains("directory"),
        "{err}"
    );
}

#[test]
fn people_are_told_what_to_do_and_only_what_can_be_done() {
    let bench = bench();
    for args in [
        ["program", "check", "module.toml"],
        ["program", "check", "page.toml"],
    ] {
        let said = bench.uor(&args).exits(1).err;
        assert!(
            said.contains("it is text") && said.lines().count() <= 4,
            "{said}"
        );
    }
    bench
        .uor(&["run", "program"])
        .fails(1, "Hint: bind it with --input a=");
    bench.uor(&["ls", "--data", "nowhere"]).fails(1, "uor init");
    let said = bench.replay(&["verify", "nowhere"]).exits(2).err;
    assert!(
        said.contains("nowhere") && !said.contains("--data") && !said.contains("uor init"),
        "{said}"
    );
}

#[test]
fn uor_replay_says_what_it_could_not_do_in_the_same_form() {
    let bench = bench();
    let wrong: &[(&[&str], i32, &str)] = &[
        (&["frobnicate"], 64, "usage"),
        (&["diff", "one"], 64, "usage"),
        (&["diff", "data", "data"], 64, "same-store"),
        (&["diff", "data", "./data/"], 64, "same-store"),
        (&["audit", "data", "tree/../data"], 64, "same-store"),
        (
            &["audit", "data", "other", "--report", "report.doc"],
            2,
            "bad-input",
        ),
        (&["verify", "nowhere"], 2, "no-site"),
        (&["verify", "text.toml"], 2, "wrong-kind"),
        (&["state", "data", "--at", "nothing"], 2, "not-found"),
        (&["exec", "data", "--receipt", "nothing"], 2, "not-found"),
        (
            &[
                "state",
                "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
            ],
            64,
            "usage",
        ),
    ];
    for (args, status, code) in wrong {
        let ran = bench.replay(&[*args, &["--json"]].concat()).exits(*status);
        assert_eq!(text(&document(&ran), "code"), *code, "{args:?}");
    }
}

#[test]
fn a_store_is_not_compared_with_itself_but_with_a_copy() {
    let bench = bench();
    let copied = Command::new("cp")
        .args(["-r"])
        .args([bench.data(), bench.path("copy")])
        .status()
        .unwrap();
    assert!(copied.success());
    std::os::unix::fs::symlink(bench.data(), bench.path("link")).unwrap();
    bench
        .replay(&["diff", "data", "link"])
        .fails(64, "one and the same store");
    bench
        .replay(&["audit", "copy", "data", "link"])
        .fails(64, "one and the same store");
    let said = bench.replay(&["diff", "data", "copy"]).ok().err;
    assert!(said.contains("copies of one site"), "{said}");
}

#[test]
fn a_ticket_is_read_from_a_file_and_from_standard_input() {
    let bench = Bench::new();
    let ticket = bench.uor(&["invite"]).ok().text();
    bench.write("ticket", format!("\n  {ticket}\n"));
    // This ticket names no address, which is said only once it has been read.
    let saying = "names no address";
    bench
        .uor(&["join", "--data", "other", "--ticket-file", "ticket"])
        .fails(1, saying);
    bench
        .uor_with_input(&["join", "--data", "other", "-"], ticket.as_bytes())
        .fails(1, saying);
    bench
        .uor_with_input(&["join", "--data", "other", "-"], &vec![b'x'; 1 << 20])
        .fails(1, "not a ticket");
    assert!(!bench.path("other").exists());
}

#[test]
fn what_the_system_does_not_permit_is_said() {
    let bench = bench();
    fs::set_permissions(bench.data().join("key"), fs::Permissions::from_mode(0o000)).unwrap();
    let ran = bench.uor(&["ls", "--json"]);
    // Root may read anything.
    if ran.status != 0 {
        assert_eq!(text(&document(&ran), "code"), "permission-denied");
    }
}
