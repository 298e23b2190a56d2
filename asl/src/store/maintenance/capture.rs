//! What a seal needs to know, taken while no writer is at work.

use std::collections::BTreeMap;
use std::sync::Arc;

use uor_index_format::id::SiteId;

use crate::commits::Unstored;
use crate::index::{Memtable, share_of_run};
use crate::log::{LogPosition, LogView};
use crate::store::checkpoint::{Checkpoint, Parts, StoredRun};
use crate::store::view::View;
use crate::validator::{CommitValidator, Memory};

/// What a seal needs to know, taken while no writer is at work.
pub(super) struct Capture {
    pub(super) memtable: Arc<Memtable>,
    pub(super) log: LogView,
    pub(super) through: LogPosition,
    pub(super) validator: Memory,
    pub(super) parts: Parts,
    pub(super) unstored: Vec<Unstored>,
    pub(super) ordinals: Arc<BTreeMap<SiteId, u32>>,
    pub(super) unaccepted: u64,
    pub(super) unaccepted_heads: Vec<([u8; 32], u64)>,
}

impl Capture {
    /// The checkpoint that says what was captured, with these runs.
    pub(super) fn checkpoint(
        &self,
        shards: u32,
        next_run: u32,
        runs: Vec<StoredRun>,
    ) -> Checkpoint {
        let domains = self
            .unstored
            .iter()
            .map(|unstored| (*unstored.site().as_bytes(), unstored.len()));
        let unaccepted = (self.unaccepted, self.unaccepted_heads.clone());
        Checkpoint::new(
            self.through,
            shards,
            next_run,
            runs,
            domains.collect(),
            self.validator.clone(),
            unaccepted,
            &self.parts,
        )
    }
}

impl View {
    /// Sets aside what is to be sealed.
    pub(super) fn capture(&mut self, validator: &CommitValidator) -> Capture {
        let through = self.state.log().end();
        self.memtable_from = through;
        Capture {
            log: self.state.log().clone(),
            through,
            validator: validator.memory(),
            parts: Parts {
                sum: self.state.sum(),
                conflicts: self.state.conflicting().clone(),
                wanted: self.wanted.clone(),
                erased: self.erased.clone(),
                testimony: self.testimony.clone(),
            },
            unstored: self.state.commits().unstored(),
            ordinals: self.ordinals(),
            unaccepted: self.unaccepted,
            unaccepted_heads: self
                .unaccepted_heads
                .iter()
                .map(|(site, number)| (*site.as_bytes(), *number))
                .collect(),
            memtable: self.state.rotate(),
        }
    }

    /// In how large a share, in percent, the memtable's records lie of the log that one run can
    /// name places of.
    pub(super) fn memtable_share(&self) -> usize {
        share_of_run(self.memtable_from, self.state.log().end())
    }

    pub(super) fn ordinals(&self) -> Arc<BTreeMap<SiteId, u32>> {
        Arc::new(self.state.commits().ordinals().clone())
    }
}
