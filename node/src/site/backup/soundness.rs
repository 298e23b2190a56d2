//! Whether what was copied is sound. A copy of damaged bytes is a faithful one: only the log's own
//! digests and the names of blocks tell it from what was written once.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use uor_asl::blocks::{BlockDamage, Blocks, BlocksError};
use uor_asl::disk::real::RealDisk;
use uor_asl::disk::{Disk, Mode};
use uor_asl::log::{Log, LogError};

use super::error::BackupError;
use crate::cancel::{Cancel, Cancelled};

/// Reads the log and every block in `dir`, and says what is damaged, a line for each place.
/// `on_progress` is told how many bytes of blocks, of how many, have been verified.
pub(super) fn damages(
    dir: &Path,
    cancel: &Cancel,
    on_progress: &mut dyn FnMut(u64, u64),
) -> Result<Vec<String>, BackupError> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir));
    let mut damages = damages_of_log(&disk)?;
    cancel.check()?;
    let (blocks, _) = Blocks::open(disk, Mode::ReadOnly)?;
    let verified = blocks.verify_while(&mut |read, total| {
        on_progress(read, total);
        if cancel.is_cancelled() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    match verified {
        Err(BlocksError::Cancelled) => return Err(Cancelled.into()),
        verified => damages.extend(verified?.damages.iter().map(named)),
    }
    Ok(damages)
}

fn damages_of_log(disk: &Arc<dyn Disk>) -> Result<Vec<String>, BackupError> {
    match Log::open(Arc::clone(disk), Mode::ReadOnly) {
        Ok((log, _)) => {
            let verified = log.verify(&|_| {});
            Ok(verified.damages.iter().map(ToString::to_string).collect())
        }
        Err(error @ (LogError::Damaged(_) | LogError::Missing { .. })) => {
            Ok(vec![error.to_string()])
        }
        Err(error) => Err(error.into()),
    }
}

fn named(damage: &BlockDamage) -> String {
    match damage.payloads.first() {
        Some(payload) => format!("{damage}: payload {payload} cannot be read"),
        None => damage.to_string(),
    }
}
