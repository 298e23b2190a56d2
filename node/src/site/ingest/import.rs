//! Snapshots of ZFS file systems and volumes on their way in: from `zfs send` streams, and from
//! where one is mounted.
//!
//! A stream is read once. Files that come in order are stored at once, though nothing names them
//! ([`direct`]); all other blocks wait in a spool, a file without a name in the data directory,
//! while what objects there are is kept in memory ([`receive`]). Nothing has a name before the END
//! record has been verified. Then contents that have changed otherwise go into blocks
//! ([`contents`]), trees are built of what the objects say ([`tree`]), and what the next increment
//! needs is stored as an artifact of its own. Only when all of the input has been verified are
//! records written ([`publish`]): an import that fails has put payloads that nobody names, which
//! `uor gc` frees.
//!
//! Memory follows the number of objects, and never their lengths.

mod contents;
mod direct;
mod error;
mod mounted;
mod publish;
mod receive;
mod report;
mod spool;
mod stream_tree;
mod tree;

use std::io::Read;
use std::path::Path;
use std::sync::RwLockReadGuard;

use uor_asl::disk::Mode;
use uor_index_format::reference::check_name;

use self::publish::Staged;
use crate::site::directory::files::FileError;
use crate::site::handle::Site;

pub use self::error::{ImportError, ImportRefusal};
pub use self::report::{ImportOptions, ImportProgress, ImportReport, Imported};

impl Site {
    /// Imports what a `zfs send` stream holds. Nothing of it is visible before all of it has been
    /// verified.
    ///
    /// # Errors
    /// [`ImportError`]; nothing has become visible then.
    pub fn import_zfs(
        &self,
        stream: &mut dyn Read,
        options: &ImportOptions<'_>,
        on_progress: &mut dyn FnMut(ImportProgress),
    ) -> Result<ImportReport, ImportError> {
        let _putting = self.begin_import(options)?;
        let received =
            receive::receive(self, &mut self.cancel.reader(stream), options, on_progress);
        // Whatever it failed of, once it was cancelled: that is why.
        self.cancel.check()?;
        let (staged, warnings) = received?;
        self.end_import(staged, warnings)
    }

    /// Imports a mounted snapshot, or any directory that does not change meanwhile.
    ///
    /// # Errors
    /// [`ImportError`]; nothing has become visible then.
    pub fn import_zfs_mounted(
        &self,
        directory: &Path,
        options: &ImportOptions<'_>,
        on_progress: &mut dyn FnMut(ImportProgress),
    ) -> Result<ImportReport, ImportError> {
        let _putting = self.begin_import(options)?;
        let staged = mounted::stage(self, directory, options, on_progress);
        self.cancel.check()?;
        let (staged, warnings) = staged?;
        self.end_import(vec![staged], warnings)
    }

    fn begin_import(
        &self,
        options: &ImportOptions<'_>,
    ) -> Result<RwLockReadGuard<'_, ()>, ImportError> {
        options.reference.map_or(Ok(()), check_name)?;
        if self.mode == Mode::ReadOnly {
            return Err(FileError::ReadOnly.into());
        }
        Ok(self.putting())
    }

    fn end_import(
        &self,
        staged: Vec<Staged>,
        warnings: Vec<String>,
    ) -> Result<ImportReport, ImportError> {
        let imported = publish::publish(self, staged)?;
        Ok(ImportReport { imported, warnings })
    }
}
