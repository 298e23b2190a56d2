//! What a person does not want in a tree: patterns as in `.gitignore`, given, or in files
//! `.uorignore` in the tree itself.
//!
//! The last pattern that fits decides. What is given goes before what a tree says, and an inner
//! directory's file before those of the directories around it. What is in a directory that is left
//! out is not looked at.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::cancel::Cancel;
use crate::site::directory::private::open_file;

/// The file in a directory that says what of it is left out.
pub(super) const UORIGNORE: &str = ".uorignore";
/// The longest such file that is read, in bytes.
const UORIGNORE_LEN_MAX: u64 = 1 << 20;

/// Patterns that were given.
#[derive(Debug, Clone, Default)]
pub struct Excludes {
    lines: Vec<String>,
}

/// Why patterns cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExcludeError {
    /// One is none.
    #[error("pattern `{pattern}`{} cannot be understood: {problem}", place(file.as_deref(), *line))]
    Pattern {
        /// The pattern.
        pattern: String,
        /// The file it is in.
        file: Option<PathBuf>,
        /// Its line there, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// The file could not be read.
    #[error("could not read the patterns in {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is not text.
    #[error("the patterns in {} are not UTF-8, from byte {offset} on", file.display())]
    NotText {
        /// The file.
        file: PathBuf,
        /// Where it stops being text.
        offset: usize,
    },
    /// The file is too long.
    #[error("{} is longer than the {max} bytes that patterns may take", file.display())]
    TooLong {
        /// The file.
        file: PathBuf,
        /// Most bytes.
        max: u64,
    },
}

fn place(file: Option<&Path>, line: usize) -> String {
    file.map_or_else(String::new, |file| {
        format!(" in line {line} of {}", file.display())
    })
}

impl Excludes {
    /// Takes one pattern more; the last that fits something decides.
    ///
    /// # Errors
    /// [`ExcludeError::Pattern`].
    pub fn pattern(&mut self, pattern: &str) -> Result<(), ExcludeError> {
        check(pattern, None, 1, &mut GitignoreBuilder::new(""))?;
        self.lines.push(pattern.to_owned());
        Ok(())
    }

    /// Takes the patterns in a file, one in a line, or what comes out of a pipe as long as that is
    /// wanted.
    ///
    /// # Errors
    /// [`ExcludeError`].
    pub fn file(&mut self, file: &Path, cancel: &Cancel) -> Result<(), ExcludeError> {
        let text = read(file, || cancel.open(file))?;
        let mut builder = GitignoreBuilder::new("");
        for (line, number) in text.lines().zip(1..) {
            check(line, Some(file), number, &mut builder)?;
            self.lines.push(line.to_owned());
        }
        Ok(())
    }

    /// The patterns, for a tree whose topmost directory is `root`.
    pub(super) fn below(&self, root: &Path) -> Result<Gitignore, ExcludeError> {
        let mut builder = GitignoreBuilder::new(root);
        for line in &self.lines {
            check(line, None, 1, &mut builder)?;
        }
        build(&builder, "")
    }
}

fn check(
    pattern: &str,
    file: Option<&Path>,
    line: usize,
    builder: &mut GitignoreBuilder,
) -> Result<(), ExcludeError> {
    let refused = |error: ignore::Error| ExcludeError::Pattern {
        pattern: pattern.to_owned(),
        file: file.map(Path::to_owned),
        line,
        problem: error.to_string(),
    };
    builder.add_line(None, pattern).map(drop).map_err(refused)
}

fn build(builder: &GitignoreBuilder, what: &str) -> Result<Gitignore, ExcludeError> {
    let refused = |error: ignore::Error| ExcludeError::Pattern {
        pattern: what.to_owned(),
        file: None,
        line: 1,
        problem: error.to_string(),
    };
    builder.build().map_err(refused)
}

fn read<R: Read>(
    path: &Path,
    open: impl FnOnce() -> io::Result<R>,
) -> Result<String, ExcludeError> {
    let file = || path.to_owned();
    let failed = |source| ExcludeError::Read {
        file: file(),
        source,
    };
    let mut bytes = Vec::new();
    open()
        .map_err(failed)?
        .take(UORIGNORE_LEN_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > UORIGNORE_LEN_MAX {
        return Err(ExcludeError::TooLong {
            file: file(),
            max: UORIGNORE_LEN_MAX,
        });
    }
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        ExcludeError::NotText {
            file: file(),
            offset,
        }
    })
}

/// What the `.uorignore` of a directory says.
pub(super) fn in_directory(dir: &Path) -> Result<Gitignore, ExcludeError> {
    let file = dir.join(UORIGNORE);
    let text = read(&file, || open_file(&file, false))?;
    let mut builder = GitignoreBuilder::new(dir);
    for (line, number) in text.lines().zip(1..) {
        check(line, Some(&file), number, &mut builder)?;
    }
    build(&builder, &file.to_string_lossy())
}

/// Whether the first of these that says anything says that a path is left out.
pub(super) fn leave_out<'a>(
    mut rules: impl Iterator<Item = &'a Gitignore>,
    path: &Path,
    is_dir: bool,
) -> bool {
    let decision = rules.find_map(|rules| match rules.matched(path, is_dir) {
        Match::None => None,
        Match::Ignore(_) => Some(true),
        Match::Whitelist(_) => Some(false),
    });
    decision.unwrap_or(false)
}
