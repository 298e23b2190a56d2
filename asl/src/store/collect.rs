//! Freeing payloads that nothing shows any more.
//!
//! A payload is live if any record about an id names it that is visible at the head, or at a snapshot that is kept: whichever
//! claim stands now, another may later. Files of a tree, modules of a program and steps of a run are artifacts and receipts
//! with records of their own, so no payload has to be opened to find what lives.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use uor_index_format::id::Checksum;
use uor_index_format::record::{Kind, Record};
use uor_index_format::snapshot::Snapshot;

use super::removal::Reason;
use super::{Payloads, Store, StoreError, View};
use crate::blocks::Collected;
use crate::state::{Filter, ReadError};

/// Progress is told after so many entries.
const TELL_ENTRIES: u64 = 1024;

impl Store {
    /// Frees payloads that nothing visible at the head or at one of `snapshots` names, but for those in `also`; with
    /// `dry_run`, says what that would be. `on_progress` is told how many entries have been looked at. The caller sees to it
    /// that nothing has been put whose record is still to come; what other sites' records name may arrive meanwhile.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was freed, unless the disk refused in between.
    pub fn collect(
        &self,
        snapshots: &[Snapshot],
        also: &BTreeSet<Checksum>,
        dry_run: bool,
        wall_ms: u64,
        on_progress: &mut dyn FnMut(u64),
    ) -> Result<Collected, StoreError> {
        let head = self.view().head().clone();
        let mut live: Vec<Checksum> = also.iter().copied().collect();
        let mut looked_at = 0;
        for snapshot in [&head].into_iter().chain(snapshots) {
            self.view().live_at(snapshot, &mut live, &mut || {
                looked_at += 1;
                if looked_at % TELL_ENTRIES == 0 {
                    on_progress(looked_at);
                }
            })?;
            live.sort_unstable();
            live.dedup();
        }
        let mut is_live = |checksum: Checksum| live.binary_search(&checksum).is_ok();
        if dry_run {
            return Ok(self.blocks.collect(&mut is_live, true)?);
        }
        // The word comes first: what is gone without it would be fetched again.
        let garbage: Vec<Checksum> =
            self.blocks.payloads().into_iter().filter(|checksum| !is_live(*checksum)).collect();
        self.note_removal(Reason::Collected, garbage, wall_ms)?;
        let collected = self.blocks.collect(&mut is_live, false)?;
        self.want_since(&head)?;
        Ok(collected)
    }

    /// Wants what records that arrived after `head` name and is not here: it may have been, until it was freed.
    fn want_since(&self, head: &Snapshot) -> Result<(), StoreError> {
        if self.options.payloads == Payloads::OnDemand {
            return Ok(());
        }
        let now = self.view().head().clone();
        for (domain, newest) in &now.frontier {
            let first = head.frontier.get(domain).map_or(0, |head| head.number) + 1;
            for number in first..=newest.number {
                let Some(commit) = self.read_commit(domain, number)? else { continue };
                let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
                for payload in commit.records().iter().filter_map(Record::block_payload) {
                    if !self.blocks.has(payload.checksum) && view.erased(&payload.checksum).is_none() {
                        let len = view.wanted.entry(payload.checksum).or_default();
                        *len = payload.len.max(*len);
                    }
                }
            }
        }
        Ok(())
    }
}

impl View {
    /// Adds what is named about everything visible at a snapshot.
    fn live_at(
        &self,
        snapshot: &Snapshot,
        live: &mut Vec<Checksum>,
        on_entry: &mut dyn FnMut(),
    ) -> Result<(), ReadError> {
        // An artifact's id says which payload it has; about a receipt, claims may differ.
        for entry in self.state.entries(snapshot, &Filter::kind(Kind::Artifact)) {
            live.extend(entry?.checksum);
            on_entry();
        }
        for entry in self.state.entries(snapshot, &Filter::kind(Kind::Receipt)) {
            let versions = self.state.versions(&entry?.id, snapshot)?;
            let payloads = versions.iter().filter_map(|version| version.record.block_payload());
            live.extend(payloads.map(|payload| payload.checksum));
            on_entry();
        }
        Ok(())
    }
}
