//! What adding would do, said beforehand: the same walk, and nothing is read or written.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::AddError;
use super::left_out::{LeftOut, Obstacle};
use super::source::{AddOptions, Source, check_options};
use super::walk::{Step, Taken, Walk};
use crate::site::bounded::Bounded;
use crate::site::catalog::sort::Sort;
use crate::site::directory::private::{DataDirs, open_file};
use crate::site::handle::Site;

/// What would become of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It would be added: a file of this length in bytes, a directory or a symlink.
    Added(Option<u64>),
    /// It is not wanted.
    Excluded,
    /// It cannot be added.
    LeftOut(Obstacle),
}

/// What adding one source would come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// The source as it was given; escaped if it is no UTF-8.
    pub path: String,
    /// The bytes of its path in hexadecimal, if they are no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// `file` or `tree`.
    pub kind: Sort,
    /// Bytes of all files; of a stream that is not known.
    pub bytes: Option<u64>,
    /// How many files.
    pub files: u64,
    /// How many things would be left out because they are not wanted; of a directory, the
    /// directory.
    pub excluded: u64,
    /// What would be left out by necessity, and why.
    pub left_out: Bounded<LeftOut>,
    /// That nothing was written.
    pub dry_run: bool,
}

impl Site {
    /// Says what [`Site::add`] would do, and writes nothing. `on_path` is told what would become of
    /// everything on the way.
    ///
    /// # Errors
    /// [`AddError`], as far as it can be foreseen.
    pub fn plan_add(
        &self,
        sources: &[Source<'_>],
        options: &AddOptions<'_>,
        on_path: &mut dyn FnMut(&Path, &Fate),
    ) -> Result<Vec<Planned>, AddError> {
        check_options(sources.len(), options)?;
        let data_dirs = DataDirs::beside(&self.dir);
        let taken = options.taken(&data_dirs);
        sources
            .iter()
            .map(|source| self.plan_source(source, taken, on_path))
            .collect()
    }

    fn plan_source(
        &self,
        source: &Source<'_>,
        taken: Taken<'_>,
        on_path: &mut dyn FnMut(&Path, &Fate),
    ) -> Result<Planned, AddError> {
        let mut planned = Planned {
            path: source.label(),
            path_hex: source.label_hex(),
            kind: Sort::File,
            bytes: None,
            files: 1,
            excluded: 0,
            left_out: Bounded::default(),
            dry_run: true,
        };
        let Source::Path(path) = source else {
            return Ok(planned);
        };
        let metadata = self.check_source(path, taken.data_dirs)?;
        if !metadata.is_dir() {
            planned.bytes = Some(metadata.len());
            on_path(path, &Fate::Added(planned.bytes));
            return Ok(planned);
        }
        (planned.kind, planned.files) = (Sort::Tree, 0);
        let mut bytes = 0;
        for step in Walk::new(path, taken)? {
            let Some((path, fate)) = self.fate(step?) else {
                continue;
            };
            match &fate {
                Fate::Added(len) => {
                    planned.files += u64::from(len.is_some());
                    bytes += len.unwrap_or_default();
                }
                Fate::Excluded => planned.excluded += 1,
                Fate::LeftOut(reason) => planned.left_out.push(LeftOut::new(&path, reason.clone())),
            }
            on_path(&path, &fate);
        }
        planned.bytes = Some(bytes);
        Ok(planned)
    }

    /// What would become of what a step of the walk meets, if it meets anything.
    fn fate(&self, step: Step) -> Option<(PathBuf, Fate)> {
        Some(match step {
            Step::Left => return None,
            Step::Excluded(path) => (path, Fate::Excluded),
            Step::Obstructed { path, reason } => (path, Fate::LeftOut(reason)),
            Step::Met { path, metadata, .. } if self.is_key_file(&path, &metadata) => {
                (path, Fate::LeftOut(Obstacle::PrivateKey))
            }
            Step::Met { path, metadata, .. } if metadata.is_file() => match may_be_read(&path) {
                Err(reason) => (path, Fate::LeftOut(reason)),
                Ok(()) => (path, Fate::Added(Some(metadata.len()))),
            },
            Step::Met { path, .. } => (path, Fate::Added(None)),
        })
    }
}

/// Whether a file can be opened; what else goes wrong only reading tells.
fn may_be_read(path: &Path) -> Result<(), Obstacle> {
    match open_file(path, false) {
        Ok(_) => Ok(()),
        Err(error) => Obstacle::of_error(&error).map_or(Ok(()), Err),
    }
}
