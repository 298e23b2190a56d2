//! A node is killed without warning in the middle of an import, and then while it frees what that
//! left, again and again.
//!
//! After each restart everything that was acknowledged is there (every line of `uor add`, every
//! `ref set`, every commit that `uor log` showed), what was erased stays so, whatever is visible is
//! whole, and the auditor finds the store sound. `UOR_CRASH_FILES` and `UOR_CRASH_KILLS` make it as
//! large as you like.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use uor_asl::disk::Mode;
use uor_asl::state::Filter;
use uor_index_format::tree::{self, EntryKind, Tree};
use uor_node::clock::wall_ms;
use uor_node::site::Site;

use crate::node::{Node, status};
use crate::support::{Bench, text};

/// Directories, each of them one source with one line of acknowledgement.
const DIRS: usize = 20;

/// Everything that was acknowledged so far.
#[derive(Default)]
struct Acknowledged {
    /// Path of a directory, and the key of its tree.
    trees: BTreeMap<String, String>,
    refs: BTreeMap<String, String>,
    commits: BTreeSet<String>,
    /// Keys whose payloads were erased.
    erased: BTreeSet<String>,
}

/// What the kills amounted to.
#[derive(Debug, Default)]
struct Tally {
    kills: usize,
    torn: usize,
}

fn setting(name: &str, default: usize) -> usize {
    env::var(name).map_or(default, |value| value.parse().unwrap())
}

fn write_tree(bench: &Bench, files: usize) -> Vec<String> {
    let name = |dir: usize| format!("tree/d{dir:03}");
    for file in 0..files {
        let text = format!("file {file} of the import\n");
        bench.write(
            &format!("{}/{file:06}", name(file % DIRS)),
            text.repeat(1 + file % 40),
        );
    }
    (0..DIRS).map(name).collect()
}

/// `uor add` of every directory, through the node; its standard output is read as it comes.
struct Import {
    child: Child,
    lines: BufReader<ChildStdout>,
    /// Standard input, which is added last; the import cannot end while this is open.
    endless: Option<ChildStdin>,
}

impl Import {
    fn start(bench: &Bench, dirs: &[String]) -> Self {
        Self::spawn(bench.command("uor").args(["add", "--json"]).args(dirs))
    }

    /// An import that only a kill ends.
    fn start_endless(bench: &Bench, dirs: &[String]) -> Self {
        let mut command = bench.command("uor");
        Self::spawn(command.args(["add", "--json"]).args(dirs).arg("-"))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let endless = child.stdin.take();
        Self {
            child,
            lines,
            endless,
        }
    }

    /// The next acknowledgement; `None` at the end.
    fn next(&mut self, acknowledged: &mut Acknowledged) -> Option<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        // A line that was cut off acknowledges nothing.
        let added: Value = serde_json::from_str(line.strip_suffix('\n')?).unwrap();
        let (path, key) = (
            text(&added, "path").to_owned(),
            text(&added, "key").to_owned(),
        );
        let earlier = acknowledged.trees.insert(path, key.clone());
        assert!(
            earlier.is_none_or(|earlier| earlier == key),
            "one directory, one key"
        );
        Some(key)
    }

    /// Reads what is left; whether it had been interrupted.
    fn end(mut self, acknowledged: &mut Acknowledged) -> bool {
        while self.next(acknowledged).is_some() {}
        drop(self.endless);
        let output = self.child.wait_with_output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        let is_interrupted =
            output.status.code() == Some(1) && err.contains("the node may have stopped");
        assert!(
            is_interrupted || output.status.success(),
            "{} {err}",
            output.status
        );
        is_interrupted
    }
}

/// Starts an import through a node and kills the node once `dirs_min` directories are acknowledged,
/// at whatever it does then.
fn import_until_killed(
    bench: &Bench,
    dirs: &[String],
    dirs_min: usize,
    acknowledged: &mut Acknowledged,
    tally: &mut Tally,
) {
    let node = Node::start(bench, "data");
    acknowledged.erased.insert(erase_one(bench, dirs_min));
    let mut import = Import::start_endless(bench, dirs);
    let last = (0..dirs_min)
        .map_while(|_| import.next(acknowledged))
        .last();
    if let Some(key) = last {
        let name = format!("kill/{dirs_min}");
        bench.uor(&["ref", "set", &name, &key]).ok();
        acknowledged.refs.insert(name, key);
    }
    acknowledged.commits.extend(commits(bench));
    node.kill();
    tally.kills += 1;
    assert!(import.end(acknowledged), "the import cannot have ended");
}

/// Adds a file and has it erased; its key.
fn erase_one(bench: &Bench, number: usize) -> String {
    let name = format!("secret-{number}");
    bench.write(&name, format!("secret {number}").repeat(50));
    let added = bench.uor(&["add", &name, "--json"]).ok().json();
    let key = text(&added, "key").to_owned();
    bench.uor(&["erase", &key]).ok();
    key
}

/// Has the node free what interrupted imports have left, and kills it meanwhile.
fn collect_until_killed(bench: &Bench, node: Node) {
    let mut command = bench.command("uor");
    command
        .arg("gc")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let collecting = command.spawn().unwrap();
    // Once it answers this, it has taken in the other.
    status(bench, "data");
    node.kill();
    let output = collecting.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    let is_interrupted = output.status.code() == Some(1) && err.contains("node");
    assert!(
        is_interrupted || output.status.success(),
        "{} {err}",
        output.status
    );
}

/// The log, a line for each commit.
fn commits(bench: &Bench) -> Vec<String> {
    bench
        .uor(&["log", "--json"])
        .ok()
        .text()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Holds a store that was just killed, and then again under a new node, against what was
/// acknowledged.
fn check(bench: &Bench, acknowledged: &Acknowledged, files: usize, tally: &mut Tally) {
    let verified = bench.replay(&["verify", "data", "--json"]).ok().json();
    tally.torn += usize::from(verified["torn_tails"] != json!([]));
    let node = Node::start(bench, "data");
    let verified = bench.replay(&["verify", "data", "--json"]).ok().json();
    let missing = json!([]);
    assert_eq!(
        (&verified["missing"], &verified["torn_tails"]),
        (&missing, &missing),
        "the writer has mended the tail"
    );
    assert_eq!(verified["state_root"], status(bench, "data")["state_root"]);
    let erased: BTreeSet<&str> = verified["erased"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key.as_str().unwrap())
        .collect();
    assert!(
        erased.into_iter().eq(&acknowledged.erased),
        "{verified} {:?}",
        acknowledged.erased
    );
    for key in &acknowledged.erased {
        bench.uor(&["cat", key]).fails(1, "was erased here on 20");
    }
    let now: BTreeSet<String> = commits(bench).into_iter().collect();
    assert!(
        acknowledged.commits.is_subset(&now),
        "a commit that was seen is gone"
    );
    let refs: BTreeMap<String, String> = bench
        .uor(&["ref", "ls", "--json"])
        .ok()
        .lines()
        .iter()
        .map(|listed| {
            (
                text(listed, "name").to_owned(),
                text(listed, "key").to_owned(),
            )
        })
        .collect();
    assert_eq!(refs, acknowledged.refs);
    let whole = whole_trees(bench);
    for (path, key) in &acknowledged.trees {
        assert_eq!(
            whole.get(key),
            Some(&(files / DIRS)),
            "{path} was acknowledged"
        );
    }
    collect_until_killed(bench, node);
}

/// Every visible tree and how many files it has, all of which must be visible and readable.
fn whole_trees(bench: &Bench) -> BTreeMap<String, usize> {
    let site = Site::open(&bench.data(), Mode::ReadOnly).unwrap();
    let view = site.store().view();
    let (head, blocks) = (view.head(), site.store().blocks());
    let mut trees = BTreeMap::new();
    for entry in view
        .state()
        .entries(head, &Filter::type_tag(tree::TYPE_TAG))
    {
        let whole = entry.unwrap();
        let bytes = blocks.read_all(whole.checksum.unwrap(), 1 << 30).unwrap();
        let tree = Tree::decode(&bytes).unwrap();
        for entry in tree.entries() {
            let EntryKind::File { key, .. } = entry.kind else {
                panic!("there are only files")
            };
            let file = view
                .state()
                .entry(&key.into(), head)
                .unwrap()
                .expect("a tree is visible after its files");
            assert!(blocks.has(file.checksum.unwrap()));
        }
        trees.insert(whole.id.to_string(), tree.entries().len());
    }
    trees
}

#[test]
fn what_was_acknowledged_survives_every_kill() {
    let (files, kills) = (
        setting("UOR_CRASH_FILES", 6_000),
        setting("UOR_CRASH_KILLS", 5),
    );
    let (bench, began_ms) = (Bench::new(), wall_ms());
    let dirs = write_tree(&bench, files);
    let (mut acknowledged, mut tally) = (Acknowledged::default(), Tally::default());
    for kill in 0..kills {
        import_until_killed(
            &bench,
            &dirs,
            kill * DIRS / kills,
            &mut acknowledged,
            &mut tally,
        );
        check(&bench, &acknowledged, files, &mut tally);
    }
    println!("{files} files: {tally:?}, {} ms", wall_ms() - began_ms);

    let node = Node::start(&bench, "data");
    let import = Import::start(&bench, &dirs);
    assert!(!import.end(&mut acknowledged));
    assert_eq!(acknowledged.trees.len(), DIRS);
    let before = commits(&bench);
    let again = bench.uor(
        &[
            &["add", "--json"],
            &*dirs.iter().map(String::as_str).collect::<Vec<_>>(),
        ]
        .concat(),
    );
    let again = again.ok().lines();
    assert!(
        again.iter().all(|added| added["new_bytes"] == json!(0)),
        "{again:?}"
    );
    assert_eq!(commits(&bench), before, "adding again adds nothing");
    node.stop();
    assert_eq!(whole_trees(&bench).len(), DIRS);
    bench.replay(&["verify", "data"]).ok();
    println!("{files} files complete, {} ms", wall_ms() - began_ms);
}
