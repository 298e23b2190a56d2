//! Writing runs: one for the packs that were closed since the last, merged so that there are few.

use std::sync::Arc;

use super::error::BlocksError;
use super::handle::Blocks;
use super::index::Index;
use super::layout::INDEX_DIR;
use super::place::Place;
use super::run::{self, Run};
use crate::disk::{self, Context, Disk};

/// Runs with fewer blocks than this are merged without asking.
const MERGED_COUNT_MIN: u64 = 1024;

/// Writes a run of these packs, which are closed and in none.
pub(super) fn seal(
    disk: &dyn Disk,
    index: &Index,
    packs: (u32, u32),
) -> Result<Option<Run>, BlocksError> {
    disk::create_dir_durably(disk, INDEX_DIR)?;
    let content = index.content(packs);
    let count = content.blocks.len() as u64;
    let mut blocks = content.blocks.into_iter().map(Ok);
    Run::write(
        disk,
        packs,
        count,
        &mut blocks,
        &content.dead,
        &lengths(index, packs)?,
    )
}

/// The last two runs that should be one, as one.
pub(super) fn merge_last(disk: &dyn Disk, index: &Index) -> Result<Option<Run>, BlocksError> {
    let [.., older, newer] = index.runs.as_slice() else {
        return Ok(None);
    };
    if older.count > (2 * newer.count).max(MERGED_COUNT_MIN) || older.packs.1 + 1 != newer.packs.0 {
        return Ok(None);
    }
    let packs = (older.packs.0, newer.packs.1);
    let is_there = |place: &Place| index.packs.contains_key(&place.pack);
    let is_older = |place: &Place| (older.packs.0..=older.packs.1).contains(&place.pack);
    let mut dead = Vec::new();
    for place in older.all_buried().chain(newer.all_buried()) {
        match place {
            Ok(place) if is_there(&place) && !(packs.0..=packs.1).contains(&place.pack) => {
                dead.push(place)
            }
            Ok(_) => {}
            // Whoever asks it next will say so.
            Err(_) => return Ok(None),
        }
    }
    dead.sort_unstable();
    dead.dedup();
    let mut blocks = run::merge(older, newer).filter_map(|at| {
        let at = match at {
            Ok(at) if is_there(&at.place) => at,
            Ok(_) => return None,
            Err(damage) => return Some(Err(damage)),
        };
        let buried = if is_older(&at.place) {
            newer.buries(at.place)
        } else {
            Ok(false)
        };
        buried.map_or_else(
            |damage| Some(Err(damage)),
            |buried| (!buried).then_some(Ok(at)),
        )
    });
    Run::write(
        disk,
        packs,
        older.count + newer.count,
        &mut blocks,
        &dead,
        &lengths(index, packs)?,
    )
}

/// A run without what is no more, if that is most of it.
pub(super) fn shrink(
    disk: &dyn Disk,
    index: &Index,
    run: &Arc<Run>,
) -> Result<Option<Run>, BlocksError> {
    let mut blocks = Vec::new();
    for at in run.all() {
        // Whoever asks it next will say what is damaged.
        let Ok(at) = at else { return Ok(None) };
        match index.is_recorded(&at) {
            Ok(true) => blocks.push(Ok(at)),
            Ok(false) => {}
            Err(_) => return Ok(None),
        }
    }
    let count = blocks.len() as u64;
    if run.count < MERGED_COUNT_MIN || count > run.count / 2 {
        return Ok(None);
    }
    let mut dead = Vec::new();
    for place in run.all_buried() {
        match place {
            Ok(place) if index.packs.contains_key(&place.pack) => dead.push(place),
            Ok(_) => {}
            Err(_) => return Ok(None),
        }
    }
    Run::write(
        disk,
        run.packs,
        count,
        &mut blocks.into_iter(),
        &dead,
        &lengths(index, run.packs)?,
    )
}

fn lengths(index: &Index, packs: (u32, u32)) -> Result<Vec<(u32, u64)>, BlocksError> {
    index
        .packs
        .range(packs.0..=packs.1)
        .map(|(number, pack)| Ok((*number, pack.len()?)))
        .collect()
}

/// Removes the file of a run that is not needed.
pub(super) fn remove(disk: &dyn Disk, packs: (u32, u32)) -> Result<(), BlocksError> {
    let path = run::path(packs);
    Ok(disk.remove(&path).during("remove", &path)?)
}

impl Blocks {
    /// Seals the packs that are closed. Where that fails, they stay in memory, and it is tried
    /// again with the next: nothing depends on it.
    pub(super) fn seal_closed(&self, last: u32) {
        let unsealed = self.index().unsealed(last);
        for packs in unsealed {
            let sealed = seal(&*self.disk, &self.index(), packs);
            if let Ok(Some(run)) = sealed {
                self.index_mut().seal(run);
            }
        }
        loop {
            let merged = merge_last(&*self.disk, &self.index());
            let Ok(Some(run)) = merged else { return };
            let old: Vec<(u32, u32)> = self
                .index()
                .runs
                .iter()
                .rev()
                .take(2)
                .map(|run| run.packs)
                .collect();
            self.index_mut().merged(run);
            for packs in old {
                // What is left behind is removed when the packs are opened.
                let _ = remove(&*self.disk, packs);
            }
        }
    }
}
