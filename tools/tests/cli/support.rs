//! A bench: a temporary folder with a data directory, and ways to run the programs in it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) struct Bench {
    dir: TempDir,
}

/// What a program did.
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
    line: String,
}

impl Bench {
    /// A folder without a site.
    pub(crate) fn bare() -> Self {
        Self {
            dir: TempDir::new().unwrap(),
        }
    }

    /// A folder with a site named `here`.
    pub(crate) fn new() -> Self {
        let bench = Self::bare();
        bench.uor(&["init", "--name", "here"]).ok();
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// A program that counts the words of every file of a tree.
    pub(crate) fn write_word_count(&self) {
        let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pel/guests/wordcount.wasm");
        self.write("wordcount.wasm", fs::read(module).unwrap());
        self.write(
            "count.toml",
            "inputs = [\"text\"]\n\
             [[node]]\nname = \"count\"\nop = \"pel.wasm/1\"\nmodule = \"wordcount.wasm\"\ninputs = [\"text\"]\neach = true\n\
             [[node]]\nname = \"all\"\nop = \"pel.bytes.concat/1\"\ninputs = [\"count\"]\n\
             [outputs]\ncounts = \"all\"\n",
        );
    }

    /// A program of one module, given as WebAssembly text.
    pub(crate) fn write_program(&self, name: &str, module: &str) {
        self.write(&format!("{name}.wasm"), wat::parse_str(module).unwrap());
        self.write(
            &format!("{name}.toml"),
            format!(
                "[[node]]\nname = \"only\"\nop = \"pel.wasm/1\"\nmodule = \"{name}.wasm\"\n[outputs]\nresult = \"only\"\n"
            ),
        );
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        let program = match program {
            "uor" => env!("CARGO_BIN_EXE_uor"),
            _ => env!("CARGO_BIN_EXE_uor-replay"),
        };
        let mut command = Command::new(program);
        command
            .current_dir(self.dir.path())
            .env("UOR_DATA", "data")
            .env_remove("NO_COLOR");
        command
    }

    pub(crate) fn uor(&self, args: &[&str]) -> Ran {
        self.run("uor", args, b"")
    }

    pub(crate) fn uor_with_input(&self, args: &[&str], input: &[u8]) -> Ran {
        self.run("uor", args, input)
    }

    pub(crate) fn replay(&self, args: &[&str]) -> Ran {
        self.run("uor-replay", args, b"")
    }

    fn run(&self, program: &str, args: &[&str], input: &[u8]) -> Ran {
        let mut command = self.command(program);
        command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Not every command reads its input.
        drop(child.stdin.take().unwrap().write_all(input));
        let output = child.wait_with_output().unwrap();
        Ran {
            status: output.status.code().unwrap(),
            out: output.stdout,
            err: String::from_utf8(output.stderr).unwrap(),
            line: format!("{program} {}", args.join(" ")),
        }
    }
}

impl Ran {
    /// Panics unless the exit status is this one.
    #[track_caller]
    pub(crate) fn exits(self, status: i32) -> Self {
        assert_eq!(
            self.status,
            status,
            "{}\n{}{}",
            self.line,
            String::from_utf8_lossy(&self.out),
            self.err
        );
        self
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.exits(0)
    }

    /// Panics unless it failed with this status, said this, and printed no content.
    #[track_caller]
    pub(crate) fn fails(self, status: i32, saying: &str) -> Self {
        let ran = self.exits(status);
        assert!(
            ran.err.contains(saying),
            "{}: expected `{saying}` in\n{}",
            ran.line,
            ran.err
        );
        assert!(ran.out.is_empty(), "{} printed {}", ran.line, ran.text());
        ran
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.out.clone()).unwrap()
    }

    /// The one JSON document on standard output.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let mut lines = self.lines();
        assert_eq!(lines.len(), 1, "{}: {}", self.line, self.text());
        lines.remove(0)
    }

    /// One JSON document for each line.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.text()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// The text at a key of a document.
#[track_caller]
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("no text at `{key}` of {value}"))
}

/// The keys of a document, sorted.
pub(crate) fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}
