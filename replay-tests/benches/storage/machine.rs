//! Facts about the machine and the run, as text.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// Versions of the libraries that are linked in, as the workspace's lock file has them.
const LOCK_FILE: &str = include_str!("../../../Cargo.lock");
const LIBRARIES: [&str; 6] = [
    "redb",
    "fjall",
    "heed",
    "lmdb-master-sys",
    "libsqlite3-sys",
    "librocksdb-sys",
];

/// The first line a program prints, if it is there.
pub(crate) fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .next()
        .map(str::to_owned)
}

fn library_version(name: &str) -> Option<&'static str> {
    let package = LOCK_FILE
        .split_once(&format!("name = \"{name}\"\nversion = \""))?
        .1;
    package.split('"').next()
}

fn of_proc(file: &str, field: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(field))?;
    line.split_once(':')
        .map(|(_, value)| value.trim().to_owned())
}

/// What an unlimited cgroup of the first kind has for a limit, or less.
const NO_LIMIT: u64 = 1 << 60;

/// The limit of the memory cgroup this process runs in, in bytes, if there is one.
fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let limits = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        match (parts.next()?, parts.next()?) {
            ("", path) => Some(format!("/sys/fs/cgroup{path}/memory.max")),
            ("memory", path) => Some(format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes")),
            _ => None,
        }
    });
    let limit = limits
        .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok())
        .next();
    limit.filter(|bytes| *bytes < NO_LIMIT)
}

/// Everything worth knowing beside the figures.
pub(crate) fn facts(dir: &Path, records: u64) -> Value {
    let dir = dir.to_string_lossy();
    let libraries: serde_json::Map<String, Value> = LIBRARIES
        .iter()
        .map(|name| ((*name).to_owned(), json!(library_version(name))))
        .collect();
    json!({
        "records": records,
        "date": first_line("date", &["-u", "+%F %T UTC"]),
        "cpu": of_proc("/proc/cpuinfo", "model name"),
        "cpus": std::thread::available_parallelism().map_or(0, usize::from),
        "memory": of_proc("/proc/meminfo", "MemTotal"),
        "memory_limit": memory_limit(),
        "huge_pages": fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").ok().map(|text| text.trim().to_owned()),
        "kernel": first_line("uname", &["-sr"]),
        "file_system": first_line("findmnt", &["-n", "-o", "FSTYPE", "-T", &dir]),
        "libraries": libraries,
        "restic": first_line("restic", &["version"]),
        "borg": first_line("borg", &["--version"]),
        "git": first_line("git", &["--version"]),
    })
}
