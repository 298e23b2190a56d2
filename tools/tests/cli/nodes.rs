//! Running nodes: what `uor node` prints, joining by ticket, and an end in good order.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::support::{Bench, text};

/// A `uor node` that has said `ready`.
pub(crate) struct Node {
    child: Child,
    addresses: Vec<String>,
}

impl Node {
    pub(crate) fn start(bench: &Bench) -> Self {
        let mut command = bench.command("uor");
        command
            .args(["node", "--listen", "/ip4/127.0.0.1/tcp/0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let addresses = lines.by_ref().take_while(|line| line != "ready");
        let addresses = addresses
            .map(|line| line.strip_prefix("listening ").unwrap().to_owned())
            .collect();
        Self { child, addresses }
    }

    /// Ends it as a service manager would; gives its exit status.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        assert!(
            Command::new("kill")
                .arg(self.child.id().to_string())
                .status()
                .unwrap()
                .success()
        );
        self.child.wait().unwrap().code()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.kill());
    }
}

#[test]
fn a_site_joins_by_ticket_once_and_fetches_the_log() {
    let bench = Bench::new();
    bench.write("x", "x");
    bench.uor(&["add", "x", "--ref", "data/x"]).ok();
    let node = Node::start(&bench);
    assert!(
        node.addresses[0].starts_with("/ip4/127.0.0.1/tcp/") && node.addresses[0].contains("/p2p/")
    );

    let invited = bench.uor(&["invite", "--json"]).ok().json();
    assert_eq!(invited["addresses"], serde_json::json!(node.addresses));
    let ticket = text(&invited, "ticket");
    let joined = bench
        .uor(&[
            "join", ticket, "--name", "there", "--data", "there", "--json",
        ])
        .ok()
        .json();
    assert_eq!(
        (&joined["federation_id"], text(&joined, "name")),
        (&invited["federation_id"], "there")
    );
    let refs = bench.uor(&["ls", "--data", "there", "--json"]).ok().json();
    assert_eq!(text(&refs, "name"), "data/x");
    bench.replay(&["diff", "data", "there"]).ok();

    bench
        .uor(&["join", ticket, "--data", "third"])
        .fails(1, "used before");
    assert!(
        !bench.path("third").exists(),
        "a refused site leaves no trace"
    );
    bench
        .uor(&["join", "uor-ticket-00", "--data", "third"])
        .fails(1, "ticket is damaged");
    let peers = bench.uor(&["status", "--json"]).ok().json();
    assert_eq!(
        (&peers["running"], text(&peers["peers"][0], "name")),
        (&serde_json::json!(true), "there")
    );

    bench.uor(&["node"]).fails(1, "already");
    assert_eq!(node.terminate(), Some(0));
    assert!(!bench.data().join("control.sock").exists());
    bench.uor(&["status"]).ok();
}
