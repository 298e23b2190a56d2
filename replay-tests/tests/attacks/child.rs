//! A node in a process of its own, so that its memory is its own: this test program, started again.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use uor_asl::disk::Mode;
use uor_node::service::{self, ServiceConfig, ServiceEvent};
use uor_node::site::Site;

/// The data directory of the node that a process is to be.
const DIR: &str = "UOR_ATTACKS_NODE";
/// A program `uor` to be used in place of this one.
const PROGRAM: &str = "UOR_ATTACKS_PROGRAM";

pub(crate) struct ChildNode {
    child: Child,
    /// Closed, it ends.
    _stdin: ChildStdin,
    pub(crate) address: String,
}

impl ChildNode {
    pub(crate) fn start(dir: &Path) -> Self {
        let mut command = match std::env::var_os(PROGRAM) {
            Some(program) => {
                let mut command = Command::new(program);
                command
                    .arg("--data")
                    .arg(dir)
                    .args(["node", "--listen", "/ip4/127.0.0.1/tcp/0"]);
                command
            }
            None => {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.args(["--exact", "child::node_of_another_process", "--nocapture"]);
                command.env(DIR, dir);
                command
            }
        };
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address =
            lines.find_map(|line| Some(line.unwrap().split_once("listening ")?.1.to_owned()));
        // What it says later has to go somewhere.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            _stdin: stdin,
            address: address.unwrap(),
        }
    }

    /// Bytes resident now, and most at any time.
    pub(crate) fn resident(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let kilobytes = |field: &str| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(field))
                .unwrap();
            line.trim_start_matches(':')
                .trim()
                .trim_end_matches(" kB")
                .parse::<u64>()
                .unwrap()
        };
        (kilobytes("VmRSS") << 10, kilobytes("VmHWM") << 10)
    }
}

impl Drop for ChildNode {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What a process does that is to be a node, until it is killed or whoever started it is gone. This
/// is no test unless it is asked to be.
#[test]
fn node_of_another_process() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let site = std::sync::Arc::new(Site::open(Path::new(&dir), Mode::Write).unwrap());
    let (handle, control) = service::handle();
    std::thread::spawn(move || {
        drop(std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
        handle.stop();
    });
    let config = ServiceConfig {
        listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
        peers: vec![],
        ends_on_signals: false,
    };
    let report = &mut |event: ServiceEvent| match event {
        ServiceEvent::Listening(address) => println!("listening {address}"),
        ServiceEvent::Notice(line) => println!("{line}"),
        _ => {}
    };
    service::run(&site, &config, control, report).unwrap();
}
