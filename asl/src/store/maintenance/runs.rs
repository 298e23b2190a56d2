//! The files of the index: written, opened by what the checkpoint names, and removed when none
//! names them.

use std::collections::BTreeSet;
use std::sync::Arc;

use uor_index_format::id::SiteId;

use crate::commits;
use crate::disk::{self, Context as _, Disk, DiskError, Mode, Sealed};
use crate::index::{IndexError, Run, Source};
use crate::state::error::ReadError;
use crate::store::checkpoint::{Checkpoint, DIR, StoredRun};
use crate::store::error::StoreError;

/// Writes the files of a run from shard `first` on, durably, and maps them.
pub(super) fn write_files(
    disk: &Arc<dyn Disk>,
    number: u32,
    first: u32,
    files: Vec<Vec<u8>>,
) -> Result<Vec<(String, Sealed)>, StoreError> {
    disk::create_dir_durably(disk.as_ref(), DIR)?;
    let mut paths = Vec::with_capacity(files.len());
    for (shard, bytes) in (first..).zip(files) {
        let path = path(number, shard);
        // Never into a file that somebody may have mapped.
        if disk.exists(&path).during("look for", &path)? {
            disk.remove(&path).during("remove", &path)?;
        }
        let file = disk.open(&path, Mode::Write).during("create", &path)?;
        file.write_at(0, &bytes).during("write", &path)?;
        file.sync().during("sync", &path)?;
        paths.push(path);
    }
    disk.sync_dir(DIR).during("sync", DIR)?;
    paths
        .into_iter()
        .map(|path| Ok((path.clone(), map(disk.as_ref(), &path)?)))
        .collect()
}

pub(super) fn open_run(
    number: u32,
    files: Vec<(String, Sealed)>,
    source: Arc<dyn Source>,
) -> Result<Run, StoreError> {
    Ok(Run::open(number, files, Some(source)).map_err(ReadError::from)?)
}

/// The files that the checkpoint on disk names, each opened by itself.
pub(crate) struct AsStored {
    pub(crate) runs: Vec<Result<Run, ReadError>>,
    /// Domains by ordinal, and how many of their commits are in their tables.
    pub(crate) domains: Vec<(SiteId, u64)>,
}

/// What the checkpoint on disk names, as it is there; `None` if there is none that can be read.
///
/// # Errors
/// [`DiskError`] if it cannot be read.
pub(crate) fn open_as_stored(disk: &dyn Disk) -> Result<Option<AsStored>, DiskError> {
    let Some(Ok(checkpoint)) = Checkpoint::load(disk)? else {
        return Ok(None);
    };
    let runs = checkpoint
        .runs
        .iter()
        .map(|stored| open_stored(disk, stored, None))
        .collect();
    Ok(Some(AsStored {
        runs,
        domains: checkpoint.domains(),
    }))
}

/// Opens the files of a run that a checkpoint names.
pub(super) fn open_stored(
    disk: &dyn Disk,
    stored: &StoredRun,
    source: Option<Arc<dyn Source>>,
) -> Result<Run, ReadError> {
    let files = (0..).take(stored.seals.len()).map(|shard| {
        let path = path(stored.number, shard);
        Ok((path.clone(), map(disk, &path)?))
    });
    let run = Run::open(
        stored.number,
        files.collect::<Result<_, DiskError>>()?,
        source,
    )?;
    match (0..)
        .zip(run.seals().iter().zip(&stored.seals))
        .find(|(_, (found, named))| found != named)
    {
        None => Ok(run),
        Some((shard, _)) => {
            let (file, what) = (
                path(stored.number, shard),
                "it is not the one that the checkpoint names".to_owned(),
            );
            Err(IndexError::Content { file, what }.into())
        }
    }
}

/// Removes files that an unfinished seal or merge has left behind: those of runs that are not among
/// these. What is not of our making is left alone.
pub(super) fn sweep(disk: &dyn Disk, runs: &[StoredRun]) -> Result<(), DiskError> {
    if !disk.exists(DIR).during("look for", DIR)? {
        return Ok(());
    }
    let named: BTreeSet<u32> = runs.iter().map(|run| run.number).collect();
    let names = disk.list(DIR).during("list", DIR)?;
    let number = |name: &str| -> Option<u32> {
        let (number, shard) = name.strip_suffix(".run")?.split_once('-')?;
        let is_ours = number.len() == 8
            && shard.len() == 5
            && shard.bytes().all(|byte| byte.is_ascii_digit());
        number.parse().ok().filter(|_| is_ours)
    };
    let is_left = |name: &&String| match number(name) {
        Some(number) => !named.contains(&number),
        None => name.ends_with(".new"),
    };
    for name in names.iter().filter(is_left) {
        let path = format!("{DIR}/{name}");
        disk.remove(&path).during("remove", &path)?;
    }
    Ok(())
}

/// Removes the checkpoint, durably, and then the commit tables, whose rows would be written over:
/// who reads them beside this process goes on with what it has opened.
pub(in crate::store) fn give_up(disk: &dyn Disk) -> Result<(), DiskError> {
    Checkpoint::remove(disk)?;
    if !disk.exists(DIR).during("look for", DIR)? {
        return Ok(());
    }
    for number in disk::list_numbered(disk, DIR, "commits")? {
        let path = commits::path(number);
        disk.remove(&path).during("remove", &path)?;
    }
    disk.sync_dir(DIR).during("sync", DIR)
}

/// Removes the files of runs that no checkpoint names.
pub(super) fn remove_files(disk: &dyn Disk, runs: &[StoredRun]) -> Result<(), DiskError> {
    for run in runs {
        for path in (0..)
            .take(run.seals.len())
            .map(|shard| path(run.number, shard))
        {
            if disk.exists(&path).during("look for", &path)? {
                disk.remove(&path).during("remove", &path)?;
            }
        }
    }
    if runs.is_empty() {
        Ok(())
    } else {
        disk.sync_dir(DIR).during("sync", DIR)
    }
}

fn map(disk: &dyn Disk, path: &str) -> Result<Sealed, DiskError> {
    disk.open(path, Mode::ReadOnly)
        .during("open", path)?
        .map_sealed()
        .during("map", path)
}

pub(super) fn path(number: u32, shard: u32) -> String {
    format!("{DIR}/{number:08}-{shard:05}.run")
}
