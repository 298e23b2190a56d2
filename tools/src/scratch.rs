//! Folders for the time being: they go when a command ends, also when a signal ends it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Every scratch folder there is.
static FOLDERS: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
/// How often a folder is swept in which another thread still makes files.
const SWEEPS_MAX: u32 = 100;

fn folders() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    FOLDERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// There is no folder for temporary files.
#[derive(Debug, thiserror::Error)]
#[error("could not make a folder for temporary files in {}", dir.display())]
pub struct NoScratch {
    /// Where it was to be.
    dir: PathBuf,
    /// What the system said.
    #[source]
    pub(crate) source: io::Error,
}

/// A folder that is removed with everything in it when this is dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes a folder for temporary files, whose name begins with `name`; nobody else may look into
    /// it.
    ///
    /// # Errors
    /// [`NoScratch`], with what the system says.
    pub fn new(name: &str) -> Result<Self, NoScratch> {
        use std::os::unix::fs::DirBuilderExt as _;
        let name = format!(
            "{name}-{}-{}",
            std::process::id(),
            uor_node::clock::wall_ms()
        );
        let path = std::env::temp_dir().join(name);
        let mut folders = folders();
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|source| NoScratch {
            dir: std::env::temp_dir(),
            source,
        })?;
        folders.insert(path.clone());
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Leaves the folder where it is, to be looked at.
    pub fn keep(self) {
        folders().remove(&self.0);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mut folders = folders();
        if folders.contains(&self.0) {
            // With the list in hand, so that a signal meanwhile waits until all of it is gone. What
            // is left behind is in the system's folder for temporary files.
            drop(fs::remove_dir_all(&self.0));
            folders.remove(&self.0);
        }
    }
}

/// Removes every scratch folder, for a process that ends here and now: whoever makes one from now
/// on waits for that end. What is below a folder does not come back, if it is a [`RealDisk`] in it:
/// that creates nothing above itself.
///
/// [`RealDisk`]: uor_asl::disk::real::RealDisk
pub fn sweep() {
    let folders = folders();
    for folder in folders.iter() {
        let is_gone = |_: &u32| fs::remove_dir_all(folder).is_ok() || !folder.exists();
        // What is still being written to may be full again at once.
        (0..SWEEPS_MAX).find(is_gone);
    }
    std::mem::forget(folders);
}
