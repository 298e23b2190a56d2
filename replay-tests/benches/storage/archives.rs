//! Programs that keep files: ours and those beside it, each run as a process of its own, on a
//! repository of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::machine;
use crate::system::Result;
use crate::uor;

/// A repository and what goes into it.
pub(crate) struct Place<'a> {
    /// The repository's directory; beside it lies what the program keeps elsewhere.
    pub(crate) repository: PathBuf,
    /// The directory of the sources.
    pub(crate) sources: &'a Path,
    /// The source in it.
    pub(crate) name: &'static str,
}

impl Place<'_> {
    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(self.sources);
        command
    }

    fn beside(&self) -> PathBuf {
        self.repository.with_extension("beside")
    }
}

/// A program that keeps files.
pub(crate) trait Archive {
    /// What it is called.
    fn name(&self) -> &'static str;

    /// Makes a repository.
    fn init(&self, place: &Place<'_>) -> Result<()>;

    /// Adds the source for the `nth` time, durably where the program can.
    fn add(&self, place: &Place<'_>, nth: u32) -> Result<()>;

    /// Writes what the `nth` time has added below `out`, under its name.
    fn extract(&self, place: &Place<'_>, nth: u32, out: &Path) -> Result<()>;
}

/// Those that are installed here; ours is at `program`.
pub(crate) fn all(program: PathBuf) -> Vec<Box<dyn Archive>> {
    let mut all: Vec<Box<dyn Archive>> = vec![Box::new(Uor { program })];
    let others: [(Box<dyn Archive>, &str); 3] = [
        (Box::new(Restic), "version"),
        (Box::new(Borg), "--version"),
        (Box::new(Git), "--version"),
    ];
    let installed = others
        .into_iter()
        .filter(|(archive, version)| machine::first_line(archive.name(), &[version]).is_some());
    all.extend(installed.map(|(archive, _)| archive));
    all
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    )
    .into())
}

struct Uor {
    program: PathBuf,
}

impl Uor {
    fn uor(&self, place: &Place<'_>) -> Command {
        let mut command = place.command(&self.program);
        command.arg("--quiet").arg("--data").arg(&place.repository);
        command
    }
}

impl Archive for Uor {
    fn name(&self) -> &'static str {
        uor::NAME
    }

    fn init(&self, place: &Place<'_>) -> Result<()> {
        run(self.uor(place).args(["init", "--name", "benchmark"]))
    }

    fn add(&self, place: &Place<'_>, nth: u32) -> Result<()> {
        run(self
            .uor(place)
            .args(["add", place.name, "--ref", &format!("bench/{nth}")]))
    }

    fn extract(&self, place: &Place<'_>, nth: u32, out: &Path) -> Result<()> {
        run(self
            .uor(place)
            .args(["get", &format!("bench/{nth}"), "--output"])
            .arg(out.join(place.name)))
    }
}

struct Restic;

impl Restic {
    fn restic(place: &Place<'_>) -> Command {
        let mut command = place.command("restic");
        command
            .env("RESTIC_REPOSITORY", &place.repository)
            .env("RESTIC_PASSWORD", "benchmark");
        command.env("RESTIC_CACHE_DIR", place.beside());
        command
    }
}

impl Archive for Restic {
    fn name(&self) -> &'static str {
        "restic"
    }

    fn init(&self, place: &Place<'_>) -> Result<()> {
        run(Self::restic(place).args(["init", "--repository-version", "2"]))
    }

    fn add(&self, place: &Place<'_>, _nth: u32) -> Result<()> {
        run(Self::restic(place).args(["backup", place.name]))
    }

    fn extract(&self, place: &Place<'_>, _nth: u32, out: &Path) -> Result<()> {
        run(Self::restic(place)
            .args(["restore", "latest", "--target"])
            .arg(out))
    }
}

struct Borg;

impl Borg {
    fn borg(place: &Place<'_>) -> Command {
        let mut command = place.command("borg");
        command
            .env("BORG_BASE_DIR", place.beside())
            .env("BORG_REPO", &place.repository);
        command.env("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes");
        command
    }
}

impl Archive for Borg {
    fn name(&self) -> &'static str {
        "borg"
    }

    fn init(&self, place: &Place<'_>) -> Result<()> {
        run(Self::borg(place).args(["init", "--encryption", "none"]))
    }

    fn add(&self, place: &Place<'_>, nth: u32) -> Result<()> {
        run(Self::borg(place).args(["create", &format!("::{nth}"), place.name]))
    }

    fn extract(&self, place: &Place<'_>, nth: u32, out: &Path) -> Result<()> {
        run(Self::borg(place)
            .args(["extract", &format!("::{nth}")])
            .current_dir(out))
    }
}

struct Git;

impl Git {
    /// Everything that is acknowledged is synced, many objects by one sync.
    const SETTINGS: [&'static str; 5] = [
        "core.fsync=all",
        "core.fsyncMethod=batch",
        "gc.auto=0",
        "user.name=benchmark",
        "user.email=benchmark@localhost",
    ];

    fn git(place: &Place<'_>) -> Command {
        let mut command = place.command("git");
        command
            .env("GIT_DIR", &place.repository)
            .env("GIT_WORK_TREE", place.sources)
            .env("GIT_CONFIG_GLOBAL", "/dev/null");
        for setting in Self::SETTINGS {
            command.args(["-c", setting]);
        }
        command
    }
}

impl Archive for Git {
    fn name(&self) -> &'static str {
        "git"
    }

    fn init(&self, place: &Place<'_>) -> Result<()> {
        run(Self::git(place).args(["init", "--quiet"]))
    }

    fn add(&self, place: &Place<'_>, nth: u32) -> Result<()> {
        run(Self::git(place).args(["add", place.name]))?;
        run(Self::git(place).args([
            "commit",
            "--quiet",
            "--allow-empty",
            "--message",
            &nth.to_string(),
        ]))
    }

    fn extract(&self, place: &Place<'_>, _nth: u32, out: &Path) -> Result<()> {
        run(Self::git(place)
            .args(["checkout-index", "--all"])
            .arg(format!("--prefix={}/", out.display())))
    }
}
