//! Collecting garbage: payloads that neither the head nor a retained snapshot shows are freed.
//!
//! What is put and not committed yet belongs to nobody, so nothing is collected while something is
//! being added or run; and nothing is added or run while garbage is collected.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use serde::Serialize;
use uor_asl::disk::Mode;
use uor_asl::store::StoreError;
use uor_index_format::id::SnapshotId;

use crate::cancel::Cancelled;
use crate::clock::wall_ms;
use crate::site::catalog::snapshots::error::SnapshotError;
use crate::site::catalog::snapshots::retained::Retained;
use crate::site::directory::files::FileError;
use crate::site::handle::Site;

/// What collecting garbage freed, or would free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Gathered {
    /// How many payloads nothing shows any more.
    pub payloads: u64,
    /// By how many bytes the packs shrink.
    pub bytes_freed: u64,
    /// How many bytes more would be free if there were room to rewrite what lies beside them, or
    /// that were not damaged.
    pub bytes_held: u64,
    /// How many packs are rewritten.
    pub packs_rewritten: u32,
    /// How many snapshots are retained.
    #[serde(rename = "snapshots_kept")]
    pub snapshots_retained: u64,
    /// Whether nothing was modified.
    pub dry_run: bool,
}

/// Why garbage could not be collected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GcError {
    /// Something is being added or run.
    #[error("something is being added or run here: collect garbage when that is done")]
    Busy,
    /// What a retained snapshot shows is not known.
    #[error("snapshot {id} is kept, and what it shows cannot be told: nothing was freed")]
    Retained {
        /// The snapshot.
        id: SnapshotId,
        /// Why not.
        #[source]
        source: SnapshotError,
    },
    /// The list of retained snapshots could not be read, or the site was opened to be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not wanted any more.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Site {
    /// Frees what neither the head nor a retained snapshot shows; with `dry_run`, says what that
    /// would be. `on_progress` is told at how many snapshots, of how many, was looked.
    ///
    /// # Errors
    /// [`GcError`]; nothing was freed, unless the disk refused in between.
    pub fn gc(
        &self,
        dry_run: bool,
        on_progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Gathered, GcError> {
        if self.mode == Mode::ReadOnly {
            return Err(FileError::ReadOnly.into());
        }
        let _alone = self.freeing().ok_or(GcError::Busy)?;
        self.cancel.check()?;
        self.reopen_alone()?;
        let retained = self.retained()?.into_iter().map(|id| {
            let failed = |source| GcError::Retained { id, source };
            self.retained_snapshot(&id).map_err(failed)
        });
        let retained = retained.collect::<Result<Vec<Retained>, _>>()?;
        let own: BTreeSet<_> = retained.iter().map(|retained| retained.checksum).collect();
        let snapshots: Vec<_> = retained
            .into_iter()
            .map(|retained| retained.snapshot)
            .collect();
        let collected =
            self.store
                .collect(&snapshots, &own, dry_run, wall_ms(), &mut |at, of| {
                    on_progress(at, of);
                    if self.cancel.is_cancelled() {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                })?;
        Ok(Gathered {
            payloads: collected.payloads,
            bytes_freed: collected.bytes_freed,
            bytes_held: collected.bytes_held,
            packs_rewritten: collected.packs_rewritten,
            snapshots_retained: snapshots.len() as u64,
            dry_run,
        })
    }
}
