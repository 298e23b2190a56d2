//! A `uor node` in a process of its own, and waiting for what nodes bring about.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use uor_node::clock::wall_ms;

use crate::support::{Bench, text};

/// No single step of a test waits longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running node; dropped, it is killed.
pub(crate) struct Node {
    child: Child,
    lines: Receiver<String>,
    /// What it said before it was ready.
    early: Vec<String>,
    /// Where it listens.
    pub(crate) address: String,
}

impl Node {
    /// Starts the node of the site in `data` and waits until it is ready.
    pub(crate) fn start(bench: &Bench, data: &str) -> Self {
        Self::start_with(bench, data, &[])
    }

    pub(crate) fn start_with(bench: &Bench, data: &str, args: &[&str]) -> Self {
        let mut command = bench.command("uor");
        command
            .args(["--data", data, "node", "--listen", "/ip4/127.0.0.1/tcp/0"])
            .args(args);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        forward(child.stdout.take().unwrap(), sender.clone());
        forward(child.stderr.take().unwrap(), sender);
        let mut node = Self {
            child,
            lines,
            early: Vec::new(),
            address: String::new(),
        };
        let (said, listening) = node.hear("listening ");
        listening
            .strip_prefix("listening ")
            .unwrap()
            .clone_into(&mut node.address);
        node.early = said;
        node.early.extend(node.hear("ready").0);
        node
    }

    /// Waits for a line, on standard output or error, in which this occurs; gives those before it,
    /// and it.
    #[track_caller]
    fn hear(&self, words: &str) -> (Vec<String>, String) {
        let mut said = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(words) => return (said, line),
                Ok(line) => said.push(line),
                Err(error) => panic!(
                    "a node never said `{words}` ({error}), but\n{}",
                    said.join("\n")
                ),
            }
        }
    }

    /// Whether this occurs in a line from before it was ready, or in one that has not been looked
    /// at yet.
    pub(crate) fn has_said(&self, words: &str) -> bool {
        self.early.iter().any(|line| line.contains(words))
            || self.lines.try_iter().any(|line| line.contains(words))
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it in good order.
    pub(crate) fn stop(mut self) {
        let sent = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }

    /// Ends it without warning.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn forward(stream: impl Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        // Whoever no longer listens needs no more lines.
        BufReader::new(stream)
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| lines.send(line))
    });
}

/// Asks until the answer is there.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline_ms = wall_ms() + u64::try_from(PATIENCE.as_millis()).unwrap();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            wall_ms() < deadline_ms,
            "waited {} s in vain: {what}",
            PATIENCE.as_secs()
        );
    }
}

/// What `uor status` says of the site in `data`.
pub(crate) fn status(bench: &Bench, data: &str) -> Value {
    bench.uor(&["--data", data, "status", "--json"]).ok().json()
}

/// Where the site in `data` stands: frontier and state root, if no payload is missing.
pub(crate) fn position(bench: &Bench, data: &str) -> Option<(Value, String)> {
    let status = status(bench, data);
    (status["missing_payloads"] == 0).then(|| {
        (
            status["frontier"].clone(),
            text(&status, "state_root").to_owned(),
        )
    })
}

/// Everything that a refused request must leave as it was.
pub(crate) fn trace(bench: &Bench, data: &str) -> (Value, Vec<u8>) {
    let status = status(bench, data);
    let log = bench.uor(&["--data", data, "log", "--json"]).ok().out;
    (
        serde_json::json!([status["state_root"], status["frontier"], status["members"]]),
        log,
    )
}
