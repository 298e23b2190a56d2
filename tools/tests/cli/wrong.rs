//! Wrong inputs: each with its exit status and a message that helps, and no trace left.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;

use uor_asl::disk::Mode;
use uor_index_format::record::{Payload, artifact_key};
use uor_node::site::Site;

use crate::support::{Bench, keys, text};

/// Runs what must fail, and holds the log against what it was.
#[track_caller]
fn refuses(bench: &Bench, args: &[&str], status: i32, saying: &str) {
    let before = bench.uor(&["log", "--json"]).ok().out;
    bench.uor(args).fails(status, saying);
    assert!(
        before == bench.uor(&["log", "--json"]).ok().out,
        "{args:?} left a trace"
    );
}

#[test]
fn a_demo_of_what_is_no_directory_leaves_nothing() {
    let bench = Bench::bare();
    bench.write("file", "text");
    fs::create_dir(bench.path("tmp")).unwrap();
    for missing in ["missing", "file"] {
        let output = bench
            .command("uor")
            .args(["--json", "demo", missing])
            .env("TMPDIR", bench.path("tmp"))
            .output()
            .unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(err.contains("file-not-found"), "{err}");
    }
    fs::remove_dir(bench.path("tmp")).expect("nothing was left in it");
}

#[test]
fn where_no_temporary_folder_can_be_it_is_named() {
    let bench = Bench::new();
    bench.write("tree/file", "text");
    let address = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    for (program, args) in [
        ("uor", &["demo", "tree"][..]),
        ("uor-replay", &["state", address, "--as", "data"]),
    ] {
        let output = bench
            .command(program)
            .args(args)
            .env("TMPDIR", bench.path("gone"))
            .output()
            .unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        let named = format!("temporary files in {}", bench.path("gone").display());
        assert!(!output.status.success() && err.contains(&named), "{err}");
        assert!(err.contains("Hint: set TMPDIR"), "{err}");
    }
}

#[test]
fn an_empty_variable_names_no_data_directory() {
    let bench = Bench::bare();
    let run = |args: &[&str]| {
        let mut command = bench.command("uor");
        command.args(args).env("UOR_DATA", "");
        // Where the platform's directory is.
        command.env("HOME", bench.path("home"));
        command.env_remove("XDG_DATA_HOME");
        let output = command.output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    assert_eq!(run(&["init"]), (Some(0), String::new()));
    assert!(bench.path("home/.local/share/uor/site.toml").exists());
    assert_eq!(run(&["status"]).0, Some(0));
    let (status, said) = run(&["--data", "", "status"]);
    assert!(status == Some(2) && said.contains("--data"), "{said}");
}

#[test]
fn wrong_usage_exits_2_and_64() {
    let bench = Bench::bare();
    for args in [
        &["frobnicate"][..],
        &["add"],
        &["trace", "x", "--up", "--down"],
    ] {
        bench.uor(args).fails(2, "Usage");
    }
    bench
        .uor(&["run", "p", "--input", "nothing"])
        .fails(2, "NAME=PATH");
    bench
        .uor(&["add", "x", "--type-tag", "many"])
        .fails(2, "--type-tag");
    for args in [
        &["frobnicate"][..],
        &["diff", "one"],
        &["audit", "one"],
        &["exec", "x", "--all", "--sample", "3"],
    ] {
        bench.replay(args).fails(64, "Usage");
    }
    bench
        .replay(&["exec", "x", "--sample", "101"])
        .fails(64, "101");
    assert!(bench.uor(&["--help"]).ok().text().contains("snapshot"));
    assert!(
        bench
            .replay(&["--version"])
            .ok()
            .text()
            .starts_with("uor-replay ")
    );
}

#[test]
fn arguments_that_do_not_go_together_exit_2() {
    let bench = Bench::new();
    bench.write("a/x", "x");
    bench.write("b", "b");
    refuses(&bench, &["add", "a", "b", "--ref", "both"], 2, "--ref");
    refuses(&bench, &["add", "-", "-"], 2, "once");
    bench.uor(&["add", "a", "--ref", "a"]).ok();
    refuses(&bench, &["get", "a"], 2, "--output");
}

#[test]
fn what_later_releases_bring_is_not_offered() {
    let help = Bench::bare().uor(&["--help"]).ok().text();
    assert!(!help.contains("query"), "{help}");
}

#[test]
fn there_must_be_a_site_and_only_one() {
    let bench = Bench::bare();
    bench.uor(&["ls"]).fails(1, "uor init");
    bench.uor(&["add", "."]).fails(1, "uor init");
    assert!(!bench.data().exists(), "looking for a site makes none");
    let made = bench.uor(&["init", "--json"]).ok().json();
    assert_eq!(keys(&made), ["data", "federation_id", "name", "site_id"]);
    bench.uor(&["init"]).fails(1, "already");
}

#[test]
fn keys_must_be_known_unambiguous_and_of_the_right_kind() {
    let bench = Bench::new();
    bench.write("tree/file", "text");
    let added = bench
        .uor(&["add", "tree", "tree/file", "--json"])
        .ok()
        .lines();
    let (tree, file) = (text(&added[0], "key"), text(&added[1], "key"));
    let unknown = "0".repeat(64);
    for args in [
        ["cat", &unknown],
        ["get", &unknown],
        ["ls", &unknown],
        ["rm", &unknown],
        ["cat", "no/such/name"],
    ] {
        refuses(&bench, &args, 1, "there is no");
    }
    refuses(&bench, &["cat", &file[..7]], 1, "8");
    refuses(&bench, &["cat", tree], 1, "tree");
    refuses(&bench, &["ls", file], 1, "file");
    refuses(&bench, &["run", file], 1, "program");
    refuses(&bench, &["receipt", "show", file], 1, "receipt");
    refuses(&bench, &["snapshot", "show", file], 1, "snapshot");
    refuses(&bench, &["program", "show", tree], 1, "program");
    refuses(&bench, &["cat", &format!("{tree}/absent")], 1, "absent");
    refuses(&bench, &["ref", "set", "../up", file], 1, "name");
    refuses(&bench, &["add", "absent"], 1, "absent");
    refuses(
        &bench,
        &["resolve", file, "--keep", &unknown],
        1,
        "conflict",
    );
    refuses(&bench, &["log", "--domain", "nowhere"], 1, "nowhere");
    refuses(
        &bench,
        &[
            "edge",
            "add",
            "--type",
            "t",
            "--from",
            file,
            "--to",
            "site:nowhere",
        ],
        1,
        "nowhere",
    );
}

/// Two contents whose keys begin with the same eight digits: among some hundred thousand keys there
/// is such a pair.
fn colliding_contents() -> [String; 2] {
    let mut seen = BTreeMap::new();
    for number in 0u32.. {
        let content = number.to_string();
        let key = artifact_key(None, &Payload::of(content.as_bytes()));
        if let Some(earlier) = seen.insert(key.short(), content.clone()) {
            return [earlier, content];
        }
    }
    unreachable!("there are fewer prefixes than numbers")
}

#[test]
fn an_ambiguous_prefix_names_what_it_may_mean() {
    let bench = Bench::new();
    let keys = colliding_contents().map(|content| {
        bench.write("x", &content);
        text(&bench.uor(&["add", "x", "--json"]).ok().json(), "key").to_owned()
    });
    let prefix = &keys[0][..8];
    refuses(&bench, &["cat", prefix], 1, "ambiguous");
    let said = bench.uor(&["rm", prefix]).exits(1).err;
    assert!(keys.iter().all(|key| said.contains(&key[..12])), "{said}");
}

#[test]
fn programs_must_be_sound() {
    let bench = Bench::new();
    let node = |name: &str, input: &str| {
        format!(
            "[[node]]\nname = \"{name}\"\nop = \"pel.bytes.concat/1\"\ninputs = [\"{input}\"]\n"
        )
    };
    bench.write(
        "cycle.toml",
        format!("{}{}[outputs]\no = \"a\"\n", node("a", "b"), node("b", "a")),
    );
    refuses(&bench, &["program", "add", "cycle.toml"], 1, "cycle");
    bench.write("text.toml", "not a program");
    refuses(
        &bench,
        &["program", "check", "text.toml"],
        1,
        "not a program",
    );
    bench.write_program(
        "clock",
        "(module (import \"wasi_snapshot_preview1\" \"clock_time_get\" (func (param i32 i64 i32) (result i32)))
         (memory (export \"memory\") 1 1) (func (export \"run\")))",
    );
    refuses(
        &bench,
        &["program", "add", "clock.toml"],
        1,
        "clock_time_get",
    );
    refuses(&bench, &["program", "add", "absent.toml"], 1, "absent.toml");
}

#[test]
fn an_endless_loop_has_no_result_and_leaves_nothing() {
    let bench = Bench::new();
    bench.write_program(
        "loop",
        "(module (memory (export \"memory\") 1 1) (func (export \"run\") (loop (br 0))))",
    );
    bench
        .uor(&["program", "add", "loop.toml", "--ref", "loop"])
        .ok();
    refuses(&bench, &["run", "loop", "--fuel", "1000000"], 1, "fuel");
    refuses(&bench, &["run", "loop", "--input", "text=loop"], 1, "text");
}

#[test]
fn a_data_directory_in_use_is_left_alone() {
    let bench = Bench::new();
    bench.write("x", "x");
    let held = Site::open(&bench.data(), Mode::Write).unwrap();
    bench
        .uor(&["add", "x"])
        .fails(1, "another process is using");
    bench.uor(&["status"]).ok();
    drop(held);
    bench.uor(&["add", "x"]).ok();
}

#[test]
fn a_newer_format_is_named_and_left_alone() {
    let bench = Bench::new();
    let file = bench.data().join("store");
    let newer = fs::read_to_string(&file)
        .unwrap()
        .replace("format 1\n", "format 9\n");
    fs::write(&file, &newer).unwrap();
    for args in [["ls"], ["status"], ["invite"]] {
        bench.uor(&args).fails(1, "version 9");
    }
    bench.replay(&["verify", "data"]).fails(2, "version 9");
    assert_eq!(fs::read_to_string(&file).unwrap(), newer);
}

#[test]
fn a_closed_standard_output_ends_quietly() {
    let bench = Bench::new();
    for args in [&["log"][..], &["status", "--json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = bench.command("uor");
        let output = command
            .args(args)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .unwrap();
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
        assert_eq!(output.status.code(), Some(0));
    }
}
