//! What a command that runs in a node names there: paths, which the node opens.
//!
//! A path such as `/dev/stdin` or `/dev/fd/63`, which is also what `<(…)` of a shell stands for,
//! means something else in every process: in the node, whatever the node has open under that
//! number. So no such path is sent.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use crate::cli::{Command, Import, Program};
use crate::code::Code;
use crate::exit::{Failed, Outcome};
use crate::render::plain;

/// As many symlinks as the system follows in one path.
const LINKS_MAX: u32 = 40;

/// Refuses a command that names what only this process has open.
///
/// # Errors
/// [`Failed`], naming the path.
pub(crate) fn check(command: &Command, cwd: &Path) -> Outcome<()> {
    let is_own = |(path, _): &(&Path, Instead)| is_of_this_process(&cwd.join(path));
    let Some((path, instead)) = paths(command).into_iter().find(is_own) else {
        return Ok(());
    };
    let hint = match instead {
        Instead::Stream => {
            "`-` is standard input or output, and works beside a node too; of anything else, make a file"
        }
        Instead::File => "put it into a file, and name that",
    };
    Err(Failed::new(format!(
        "{} means what a process has open itself: the running node, which opens it, has something else there",
        plain(&path.to_string_lossy())
    ))
    .code(Code::BadInput)
    .hint(hint))
}

/// What may be given in place of a path.
#[derive(Debug, Clone, Copy)]
enum Instead {
    /// `-`, which is carried through the socket.
    Stream,
    /// Only a file.
    File,
}

/// Every path that the node would open.
fn paths(command: &Command) -> Vec<(&Path, Instead)> {
    let mut streams: Vec<&Path> = Vec::new();
    let mut files: Vec<&Path> = Vec::new();
    match command {
        Command::Add(args) => {
            streams.extend(args.paths.iter().map(PathBuf::as_path));
            files.extend(args.exclude_from.iter().map(PathBuf::as_path));
        }
        Command::Get(args) => streams.extend(args.output.as_deref()),
        Command::Import(Import::Zfs(args)) => {
            streams.extend(args.stream.as_deref());
            files.extend(args.mounted.as_deref());
        }
        Command::Program(Program::Add { file, .. }) => files.push(file),
        // What is a key or a name leads nowhere as a path.
        Command::Run(args) => files.extend(args.inputs.iter().map(|(_, text)| Path::new(text))),
        Command::Backup(args) => files.push(&args.dir),
        _ => {}
    }
    let streams = streams.into_iter().filter(|path| path.as_os_str() != "-");
    let streams = streams.map(|path| (path, Instead::Stream));
    let files = files.into_iter().map(|path| (path, Instead::File));
    streams.chain(files).collect()
}

/// Whether an absolute path leads to what a process has open, or else to itself. Symlinks are
/// followed one by one: where the last one ends, nothing of the way there is left to be seen.
fn is_of_this_process(path: &Path) -> bool {
    let mut links_left = LINKS_MAX;
    let mut resolved = PathBuf::from("/");
    let mut left = parts(path);
    while let Some(part) = left.pop_front() {
        if part == ".." {
            resolved.pop();
            continue;
        }
        resolved.push(part);
        if is_own(&resolved) {
            return true;
        }
        let Ok(target) = fs::read_link(&resolved) else {
            continue;
        };
        let Some(fewer) = links_left.checked_sub(1) else {
            // Nobody can open it.
            return false;
        };
        links_left = fewer;
        if target.is_absolute() {
            resolved = PathBuf::from("/");
        } else {
            resolved.pop();
        }
        let mut further = parts(&target);
        further.append(&mut left);
        left = further;
    }
    false
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let part = |part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(part).collect()
}

/// Whether a path without symlinks before its last part is one that means something else in each
/// process, or names the descriptors of one.
fn is_own(path: &Path) -> bool {
    let names: Vec<&OsStr> = path.iter().skip(1).collect();
    let is = |name: &OsStr, wanted: &str| name == wanted;
    match names.as_slice() {
        [dev, name, ..] if is(dev, "dev") => ["fd", "stdin", "stdout", "stderr", "tty"]
            .iter()
            .any(|own| is(name, own)),
        [proc, name] if is(proc, "proc") => is(name, "self") || is(name, "thread-self"),
        [proc, id, name, ..] if is(proc, "proc") => {
            is(name, "fd") && id.as_bytes().iter().all(u8::is_ascii_digit)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_process_has_for_itself_is_known_wherever_symlinks_lead() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, at(name)).unwrap();
        link("/dev", "devices");
        link("devices/fd/../stdin", "input");
        link("/proc/self/cwd", "here");
        link("loop", "loop");
        link("/dev/null", "null");
        for own in [
            "devices/fd/63",
            "input",
            "here/file",
            "devices/../proc/self/fd/0",
        ] {
            assert!(is_of_this_process(&at(own)), "{own}");
        }
        for own in [
            "/dev/fd/0",
            "/dev/stdin",
            "/proc/self/fd/3",
            "/proc/thread-self/fd/3",
        ] {
            assert!(is_of_this_process(Path::new(own)), "{own}");
        }
        let by_id = format!("/proc/{}/fd/0", std::process::id());
        assert!(is_of_this_process(Path::new(&by_id)));
        for other in [
            "null",
            "loop",
            "file",
            "devices/null",
            "proc/self",
            "missing/../file",
        ] {
            assert!(!is_of_this_process(&at(other)), "{other}");
        }
        assert!(!is_of_this_process(Path::new("/proc/version")));
    }
}
