//! What adding leaves out and why, what it says beforehand, and what changes meanwhile.

use std::ffi::OsStr;
use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::support::{Bench, Ran, text};

fn names(bench: &Bench, tree: &str) -> Vec<String> {
    bench
        .uor(&["ls", tree, "--json"])
        .ok()
        .lines()
        .iter()
        .map(|it| text(it, "name").to_owned())
        .collect()
}

fn reasons(added: &Value) -> Vec<(&str, &str)> {
    let named = added["left_out"]["named"].as_array().unwrap();
    named
        .iter()
        .map(|left_out| (text(left_out, "path"), text(left_out, "reason")))
        .collect()
}

/// Sockets, pipes and devices in `tree`; the paths in their order, and what each is.
fn specials(bench: &Bench) -> Vec<(String, &'static str)> {
    bench.write("tree/file", "text");
    let socket = UnixListener::bind(bench.path("tree/c-socket")).unwrap();
    let mut made = vec![("tree/c-socket", "it is a socket")];
    drop(socket);
    assert!(
        Command::new("mkfifo")
            .arg(bench.path("tree/a-pipe"))
            .status()
            .unwrap()
            .success()
    );
    made.insert(0, ("tree/a-pipe", "it is a named pipe"));
    let device = |name: &str, kind: &str| {
        Command::new("mknod")
            .arg(bench.path(name))
            .args([kind, "1", "3"])
            .status()
            .is_ok_and(|made| made.success())
    };
    // Only root makes devices, and not everywhere.
    if device("tree/d-char", "c") {
        made.push(("tree/d-char", "it is a character device"));
    }
    if device("tree/e-block", "b") {
        made.push(("tree/e-block", "it is a block device"));
    }
    made.into_iter()
        .map(|(path, reason)| (bench.path(path).display().to_string(), reason))
        .collect()
}

#[test]
fn special_files_are_left_out_each_with_its_reason() {
    let bench = Bench::new();
    let specials = specials(&bench);
    let wanted: Vec<(&str, &str)> = specials
        .iter()
        .map(|(path, reason)| (path.as_str(), *reason))
        .collect();
    for args in [
        &["add", "tree", "--json"][..],
        &["add", "tree", "--json", "--dry-run"],
    ] {
        let ran = bench.uor(args).exits(3);
        assert_eq!(reasons(&ran.json()), wanted);
        assert_eq!(
            (&ran.json()["files"], &ran.json()["excluded"]),
            (&json!(1), &json!(0))
        );
    }
    let said = bench.uor(&["add", "tree"]).exits(3).err;
    specials.iter().for_each(|(path, reason)| {
        assert!(
            said.contains(&format!("left out {path}: {reason}")),
            "{said}"
        )
    });
    for (path, reason) in &specials {
        bench.uor(&["add", path]).fails(1, reason);
    }
    // What is not wanted is no reason for attention.
    let ran = bench
        .uor(&["add", "tree", "--exclude", "[a-e]-*", "--json"])
        .ok();
    assert_eq!(
        (&ran.json()["excluded"], &ran.json()["left_out"]["total"]),
        (&json!(specials.len()), &json!(0))
    );
    bench
        .uor(&["add", "/dev/null"])
        .fails(1, "it is a character device");
}

#[test]
fn so_many_are_named_and_the_rest_counted() {
    let bench = Bench::new();
    fs::create_dir(bench.path("tree")).unwrap();
    for number in 0..1005 {
        let path = bench.path(&format!("tree/{number:04}"));
        name_socket(&path);
    }
    let ran = bench.uor(&["add", "tree", "--json"]).exits(3);
    let left_out = &ran.json()["left_out"];
    assert_eq!(
        (
            left_out["named"].as_array().unwrap().len(),
            &left_out["total"]
        ),
        (1000, &json!(1005))
    );
    assert!(ran.err.contains("and 5 more"), "{}", ran.err);
}

/// A socket's name costs no process to make.
fn name_socket(path: &std::path::Path) {
    drop(UnixListener::bind(path).unwrap());
}

#[test]
fn what_may_not_be_read_is_left_out_and_named() {
    let bench = Bench::bare();
    bench.write("tree/file", "text");
    bench.write("tree/secret", "secret");
    bench.write("tree/closed/inner", "inner");
    bench.write("alone", "alone");
    for name in ["tree/secret", "tree/closed", "alone"] {
        fs::set_permissions(bench.path(name), fs::Permissions::from_mode(0o000)).unwrap();
    }
    // Root reads everything, so somebody else has to try.
    const NOBODY: u32 = 65_534;
    let is_root = fs::read(bench.path("alone")).is_ok();
    let root = bench.path("");
    if is_root {
        assert!(
            Command::new("chown")
                .args(["-R", "65534:65534"])
                .arg(&root)
                .status()
                .unwrap()
                .success()
        );
    }
    // Where the program was built, others may not look.
    let program = bench.path("program");
    // Copied by another process: one that a test beside this one is just starting has all that is
    // open here open too, and what somebody has open to be written cannot be run.
    let mut copy = Command::new("cp");
    copy.arg(bench.command("uor").get_program()).arg(&program);
    assert!(copy.status().unwrap().success());
    let uor = |args: &[&str]| {
        let mut command = Command::new(&program);
        command.current_dir(bench.path("")).env("UOR_DATA", "data");
        if is_root {
            command.uid(NOBODY).gid(NOBODY);
        }
        let output = command.args(args).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    assert_eq!(uor(&["init", "--name", "here"]).0, Some(0));
    for args in [
        &["add", "tree", "--json"][..],
        &["add", "tree", "--json", "--dry-run"],
    ] {
        let (status, out, err) = uor(args);
        assert_eq!(status, Some(3), "{err}");
        let added: Value = serde_json::from_str(&out).unwrap();
        let [(closed, why), (secret, also)] = reasons(&added)[..] else {
            panic!("{added}")
        };
        assert!(
            closed.ends_with("tree/closed") && secret.ends_with("tree/secret"),
            "{added}"
        );
        assert!(
            [why, also]
                .iter()
                .all(|why| why.contains("Permission denied")),
            "{added}"
        );
        assert_eq!(added["files"], 1);
    }
    let (status, out, err) = uor(&["add", "alone"]);
    assert_eq!((status, out.as_str()), (Some(1), ""));
    assert!(
        err.contains("alone") && err.contains("Permission denied"),
        "{err}"
    );
}

#[test]
fn what_is_not_wanted_stays_out() {
    let bench = Bench::new();
    for name in [
        "a.txt",
        "b.log",
        "keep.log",
        "target/x",
        "deep/c.log",
        "deep/target/y",
        "deep/d.txt",
        "deep/e.tmp",
    ] {
        bench.write(&format!("tree/{name}"), name);
    }
    let add = |args: &[&str]| {
        bench
            .uor(&[&["add", "tree", "--ref", "t", "--json"], args].concat())
            .ok()
            .json()
    };
    let all = add(&[]);
    assert_eq!((&all["files"], &all["excluded"]), (&json!(8), &json!(0)));
    let some = add(&[
        "--exclude",
        "*.log",
        "--exclude",
        "!keep.log",
        "--exclude",
        "/target/",
    ]);
    assert_eq!((&some["files"], &some["excluded"]), (&json!(5), &json!(3)));
    assert_eq!(names(&bench, "t"), ["a.txt", "deep", "keep.log"]);
    assert_eq!(names(&bench, "t/deep"), ["d.txt", "e.tmp", "target"]);

    bench.write("patterns", "# comment\n*.log\n!keep.log\n\n/target/\n");
    assert_eq!(add(&["--exclude-from", "patterns"])["key"], some["key"]);

    // A tree says for itself; what is given goes first, and an inner directory before an outer one.
    bench.write("tree/.uorignore", "*.log\ntarget/\n");
    bench.write("tree/deep/.uorignore", "!c.log\n*.tmp\n");
    let own = add(&[]);
    assert_eq!((&own["files"], &own["excluded"]), (&json!(5), &json!(5)));
    assert_eq!(names(&bench, "t"), [".uorignore", "a.txt", "deep"]);
    assert_eq!(names(&bench, "t/deep"), [".uorignore", "c.log", "d.txt"]);
    add(&["--exclude", "c.log", "--exclude", "!e.tmp"]);
    assert_eq!(names(&bench, "t/deep"), [".uorignore", "d.txt", "e.tmp"]);
    assert_eq!(add(&["--no-uorignore"])["files"], 10);
    assert_eq!(
        bench.uor(&["add", "tree"]).ok().err,
        "left out 5 paths as asked\n"
    );
}

#[test]
fn patterns_that_are_none_are_named_with_their_place() {
    let bench = Bench::new();
    bench.write("tree/a", "a");
    bench.write("bad", "fine\nalso [fine]\n{broken\n");
    bench.write("bytes", b"ok\n\xff");
    bench
        .uor(&["add", "tree", "--exclude", "{broken"])
        .fails(1, "{broken");
    let said = bench
        .uor(&["add", "tree", "--exclude-from", "bad"])
        .exits(1)
        .err;
    assert!(said.contains("line 3") && said.contains("bad"), "{said}");
    bench
        .uor(&["add", "tree", "--exclude-from", "bytes"])
        .fails(1, "byte 3");
    bench
        .uor(&["add", "tree", "--exclude-from", "absent"])
        .fails(1, "absent");
    bench.write("tree/.uorignore", "{a,b\n");
    let said = bench.uor(&["add", "tree"]).exits(1).err;
    assert!(
        said.contains("line 1") && said.contains("tree/.uorignore"),
        "{said}"
    );
    bench.uor(&["add", "tree", "--no-uorignore"]).ok();
    fs::write(bench.path("tree/.uorignore"), vec![b'#'; (1 << 20) + 1]).unwrap();
    bench.uor(&["add", "tree"]).fails(1, "longer than");
}

#[test]
fn a_dry_run_says_everything_and_writes_nothing() {
    let bench = Bench::new();
    bench.write("tree/a", "12345");
    bench.write("tree/deep/b", "678");
    bench.write("tree/c.tmp", "temporary");
    drop(UnixListener::bind(bench.path("tree/socket")).unwrap());
    let content = |bench: &Bench| {
        let mut output = Command::new("sh");
        output.args(["-c", "find data -type f -exec sha256sum {} + | sort"]);
        output.current_dir(bench.path("")).output().unwrap().stdout
    };
    let before = content(&bench);
    let planned = bench
        .uor(&[
            "add",
            "tree",
            "tree/a",
            "-",
            "--exclude",
            "*.tmp",
            "--dry-run",
            "--json",
        ])
        .exits(3);
    let [tree, file, stream] = &planned.lines()[..] else {
        panic!("{}", planned.text())
    };
    let summary = |it: &Value| {
        (
            it["files"].clone(),
            it["bytes"].clone(),
            it["excluded"].clone(),
            it["dry_run"].clone(),
        )
    };
    assert_eq!(summary(tree), (json!(2), json!(8), json!(1), json!(true)));
    assert_eq!(summary(file), (json!(1), json!(5), json!(0), json!(true)));
    assert_eq!(
        summary(stream),
        (json!(1), Value::Null, json!(0), json!(true))
    );
    assert_eq!(reasons(tree).len(), 1);
    let said = bench
        .uor(&["add", "tree", "--exclude", "*.tmp", "--dry-run"])
        .exits(3)
        .text();
    for line in [
        "would add ",
        "tree/deep/b  (3 B)",
        "tree/c.tmp  (as asked)",
        "tree/socket  (it is a socket)",
        "nothing was written",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    bench
        .uor(&["add", "absent", "--dry-run"])
        .fails(1, "absent");
    assert!(content(&bench) == before, "a dry run wrote");
    let added = bench
        .uor(&["add", "tree", "--exclude", "*.tmp", "--json"])
        .exits(3)
        .json();
    for key in ["files", "bytes", "excluded", "left_out"] {
        assert_eq!(added[key], tree[key], "{key}");
    }
}

/// Tells the thread that writes that it is over, also if a test fails meanwhile.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `work` while a file is written to over and over.
fn while_changing(bench: &Bench, name: &str, len: usize, work: impl FnOnce()) {
    bench.write(name, vec![0; len]);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let over = Over(&is_over);
        scope.spawn(|| {
            let mut file = fs::File::options()
                .write(true)
                .open(bench.path(name))
                .unwrap();
            for number in 1_u64.. {
                file.seek(SeekFrom::Start(number * 4096 % len as u64))
                    .unwrap();
                file.write_all(&number.to_le_bytes()).unwrap();
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        work();
        drop(over);
    });
}

/// Tries until it ends with this status: whoever writes may have to wait while the file is read,
/// and then nothing changes.
fn until(status: i32, mut attempt: impl FnMut() -> Ran) -> Ran {
    let mut attempts = std::iter::repeat_with(&mut attempt).take(200);
    attempts
        .find(|ran| ran.status == status)
        .unwrap_or_else(|| panic!("never ended with status {status}"))
}

#[test]
fn a_file_that_keeps_changing_is_refused_by_name() {
    // One that is read whole, and one that is read in parts.
    for len in [1 << 20, 24 << 20] {
        let bench = Bench::new();
        bench.write("tree/still", "still");
        while_changing(&bench, "tree/busy", len, || {
            let mut before = Vec::new();
            let refused = until(1, || {
                before = bench.uor(&["log", "--json"]).ok().out;
                bench.uor(&["add", "tree"])
            });
            refused.fails(1, "tree/busy keeps changing");
            assert!(
                bench.uor(&["log", "--json"]).ok().out == before,
                "something became visible"
            );
            until(1, || bench.uor(&["add", "tree/busy"])).fails(1, "--allow-changing");
            let ran = until(3, || {
                bench.uor(&["add", "tree", "--ref", "t", "--allow-changing", "--json"])
            });
            assert!(ran.err.contains("tree/busy kept changing"), "{}", ran.err);
            let changing = &ran.json()["changing"];
            assert_eq!(changing["total"], 1);
            assert!(
                changing["named"][0]
                    .as_str()
                    .unwrap()
                    .ends_with("tree/busy")
            );
            assert_eq!(bench.uor(&["cat", "t/busy"]).ok().out.len(), len);
            bench.uor(&["add", "tree", "--exclude", "busy"]).ok();
        });
        let now = bench.read("tree/busy");
        bench.uor(&["add", "tree", "--ref", "t"]).ok();
        assert!(
            bench.uor(&["cat", "t/busy"]).ok().out == now,
            "once it is at rest it is read again"
        );
        bench.replay(&["verify", "data"]).ok();
    }
}

#[test]
fn names_that_are_no_text_are_shown_apart_and_lost_nowhere() {
    let bench = Bench::new();
    fs::create_dir(bench.path("tree")).unwrap();
    let raw: [&[u8]; 5] = [
        b"caf\xe9",
        b"caf\xe8",
        "caf\u{fffd}".as_bytes(),
        b"caf\\xe9",
        b"new\nline",
    ];
    for name in raw {
        fs::write(bench.path("tree").join(OsStr::from_bytes(name)), name).unwrap();
    }
    std::os::unix::fs::symlink(OsStr::from_bytes(b"to\xff"), bench.path("tree/link")).unwrap();
    bench.uor(&["add", "tree", "--ref", "t"]).ok();
    let listed = bench.uor(&["ls", "t", "--json"]).ok().lines();
    let bytes = |entry: &Value, key: &str| match entry.get(format!("{key}_hex")) {
        Some(hex) => uor_index_format::codec::from_hex(hex.as_str().unwrap()).unwrap(),
        None => text(entry, key).as_bytes().to_vec(),
    };
    let mut wanted: Vec<Vec<u8>> = raw
        .iter()
        .map(|name| name.to_vec())
        .chain([b"link".to_vec()])
        .collect();
    wanted.sort();
    assert_eq!(
        listed
            .iter()
            .map(|entry| bytes(entry, "name"))
            .collect::<Vec<_>>(),
        wanted
    );
    let link = listed
        .iter()
        .find(|entry| entry["kind"] == "symlink")
        .unwrap();
    assert_eq!(
        (text(link, "target"), bytes(link, "target")),
        ("to\\xff", b"to\xff".to_vec())
    );
    let shown = bench.uor(&["ls", "t"]).ok().text();
    let mut lines: Vec<&str> = shown
        .lines()
        .map(|line| line.rsplit("  ").next().unwrap())
        .collect();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), 7, "{shown}");
    for shown_name in [
        "caf\\xe9",
        "caf\\xe8",
        "caf\u{fffd}",
        "caf\\\\xe9",
        "new\\nline",
        "link -> to\\xff",
    ] {
        assert!(lines.contains(&shown_name), "{shown_name}: {shown}");
    }
    // What is shown can be typed; what is there by exactly that name goes first.
    assert_eq!(bench.uor(&["cat", "t/caf\\xe8"]).ok().out, b"caf\xe8");
    assert_eq!(bench.uor(&["cat", "t/caf\\xe9"]).ok().out, b"caf\\xe9");
    assert_eq!(bench.uor(&["cat", "t/new\\nline"]).ok().out, b"new\nline");
    bench
        .uor(&["cat", "t/caf\\xe7"])
        .fails(1, "has no entry `caf\\xe7`");

    let name = OsStr::from_bytes(b"out\xff");
    let mut command = bench.command("uor");
    let output = command
        .args(["add", "--json"])
        .arg(OsStr::from_bytes(b"tree/caf\xe9"))
        .output()
        .unwrap();
    let added: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (text(&added, "path"), bytes(&added, "path")),
        ("tree/caf\\xe9", b"tree/caf\xe9".to_vec())
    );
    let mut command = bench.command("uor");
    let output = command
        .args(["get", "t", "--json", "-o"])
        .arg(name)
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let written: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(bytes(&written, "path").ends_with(b"out\xff"));
    for name in raw {
        let out = bench
            .path("")
            .join(OsStr::from_bytes(b"out\xff"))
            .join(OsStr::from_bytes(name));
        assert_eq!(fs::read(out).unwrap(), name);
    }
}
