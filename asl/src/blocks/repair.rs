//! The last pack: where what is known to be whole ends, and making it one that can be appended to.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::block::{Found, read_block, read_places};
use super::error::BlocksError;
use super::frame::{HEADER_LEN, Header, Kind};
use super::layout::{CHUNK_LEN_MAX, DIR};
use super::pack::Pack;
use super::place::Location;
use super::recovery::Cut;
use super::scan::Walk;
use crate::disk::{Context, Disk};
use crate::file_header;

/// Verifies the contents of blocks that may not be durable; the first that is torn ends the pack.
/// Those of a block that is being erased may be anything: all before the record that says so is
/// durable.
pub(super) fn verify_tail(pack: &Arc<Pack>, walk: &mut Walk) -> Result<(), BlocksError> {
    let found = |at: &Location| Found {
        pack: Arc::clone(pack),
        at: *at,
    };
    let first = walk
        .blocks
        .partition_point(|at| at.place.offset < walk.durable);
    let mut erased = BTreeSet::new();
    for at in walk.blocks[first..]
        .iter()
        .filter(|at| at.header.kind == Kind::Erased)
    {
        match read_places(&found(at)) {
            Ok(places) => erased.extend(places),
            Err(BlocksError::Damaged(_)) => {}
            Err(error) => return Err(error),
        }
    }
    for position in first..walk.blocks.len() {
        let at = walk.blocks[position];
        match read_block(&found(&at)) {
            Err(BlocksError::Damaged(damage)) if !erased.contains(&at.place) => {
                walk.end = at.place.offset;
                walk.blocks.truncate(position);
                walk.stopped = Some(damage);
                return Ok(());
            }
            Ok(_) | Err(BlocksError::Damaged(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The torn tail behind what is whole, if there is one.
pub(super) fn cut(pack: &Pack, walk: &Walk) -> Result<Option<Cut>, BlocksError> {
    let bytes = pack.len()?.saturating_sub(walk.end);
    let torn = walk.stopped.is_some() && bytes > 0;
    Ok(torn.then(|| Cut {
        file: pack.path.clone(),
        offset: walk.end,
        bytes,
    }))
}

/// Makes the last pack one that can be appended to, and says where it ends: cuts the torn tail, and
/// writes what may not be durable once more. A kernel that failed to sync may still show bytes it
/// has given up writing.
pub(super) fn repair(
    disk: &Arc<dyn Disk>,
    pack: &Arc<Pack>,
    walk: &Walk,
) -> Result<u64, BlocksError> {
    if walk.stopped.is_some() {
        pack.file
            .set_len(walk.end)
            .during("cut the torn tail of", &pack.path)?;
        pack.sync()?;
    }
    if walk.end == 0 {
        Pack::create(disk, pack.number)?;
        return Ok(file_header::LEN as u64);
    }
    let mut offset = walk.durable;
    while offset < walk.end {
        let len = usize::try_from(walk.end - offset)
            .unwrap_or(usize::MAX)
            .min(CHUNK_LEN_MAX);
        pack.write(offset, &pack.read(offset, len)?)?;
        offset += len as u64;
    }
    let only_marks = walk.durable > 0
        && walk
            .blocks
            .last()
            .is_none_or(|block| block.place.offset < walk.durable);
    if only_marks {
        return Ok(walk.end);
    }
    pack.sync()?;
    disk.sync_dir(DIR).during("sync", DIR)?;
    if walk.end == file_header::LEN as u64 {
        // It may not be listed yet, and of packs that are not there is never more than the header.
        return Ok(walk.end);
    }
    pack.write(
        walk.end,
        &Header::mark(Kind::Mark, walk.end).encode(pack.number, walk.end),
    )?;
    Ok(walk.end + HEADER_LEN as u64)
}
