//! No directory is reached twice.

use std::collections::BTreeSet;

use super::error::FilesystemError;

/// The directories of a walk: none is entered twice.
#[derive(Debug, Default)]
pub struct Visited {
    all: BTreeSet<u64>,
    open: Vec<u64>,
}

impl Visited {
    /// Enters a directory.
    ///
    /// # Errors
    /// [`FilesystemError::Cycle`] or [`FilesystemError::TwoParents`].
    pub fn enter(&mut self, object: u64) -> Result<(), FilesystemError> {
        if self.all.insert(object) {
            self.open.push(object);
            Ok(())
        } else if self.open.contains(&object) {
            Err(FilesystemError::Cycle { object })
        } else {
            Err(FilesystemError::TwoParents { object })
        }
    }

    /// Leaves the directory that was entered last.
    pub fn leave(&mut self) {
        self.open.pop();
    }
}
