//! Freeing payloads that nothing shows any more.
//!
//! A payload is live if any record about an id names it that is visible at the head, or at a
//! snapshot that is kept: whichever claim stands now, another may later. Files of a tree, modules
//! of a program and steps of a run are artifacts and receipts with records of their own, so no
//! payload has to be opened to find what lives.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::PoisonError;

use uor_index_format::id::Checksum;
use uor_index_format::record::{Kind, Payload, Record};
use uor_index_format::snapshot::Snapshot;

use super::error::StoreError;
use super::handle::Store;
use super::options::Payloads;
use super::removal::Reason;
use super::view::View;
use crate::blocks::Collected;
use crate::state::{Filter, ReadError};

impl Store {
    /// Frees payloads that nothing visible at the head or at one of `snapshots` names, but for
    /// those in `also`, and no longer wants such that are not here; with `dry_run`, says what that
    /// would be. `on_progress` is told at how many snapshots, of how many, was looked, for the last
    /// time right before anything is freed, and may break off. The caller sees to it that nothing
    /// has been put whose record is still to come; what records of other sites name may arrive
    /// meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Cancelled`] if `on_progress` broke off; [`StoreError`]. Nothing was freed,
    /// unless the disk refused in between.
    pub fn collect(
        &self,
        snapshots: &[Snapshot],
        also: &BTreeSet<Checksum>,
        dry_run: bool,
        wall_ms: u64,
        on_progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Collected, StoreError> {
        let head = self.view().head().clone();
        let mut live = Live(also.iter().copied().collect());
        for (at, snapshot) in (0..).zip([&head].into_iter().chain(snapshots)) {
            go_on(on_progress(at, snapshots.len() as u64 + 1))?;
            live.add(self.view().named_at(snapshot)?);
        }
        go_on(on_progress(
            snapshots.len() as u64 + 1,
            snapshots.len() as u64 + 1,
        ))?;
        if dry_run {
            return Ok(self
                .files
                .blocks
                .collect(&mut |checksum| live.has(checksum), true)?);
        }
        let _room = self.make_room();
        // The word comes first: what is gone without it would be fetched again. And it comes before
        // any further record, so that what such a record names is wanted again, whatever it finds
        // here until it is freed.
        self.note_removal(Reason::Collected, wall_ms, || {
            live.add(
                self.named_since(&head)?
                    .into_iter()
                    .map(|payload| payload.checksum)
                    .collect(),
            );
            // What is not here and named by nothing live is not waited for any longer.
            let wanted: Vec<Checksum> = self.view().wanted().keys().copied().collect();
            let all = self.files.blocks.payloads().into_iter().chain(wanted);
            Ok(all.filter(|checksum| !live.has(*checksum)).collect())
        })?;
        let collected = self
            .files
            .blocks
            .collect(&mut |checksum| live.has(checksum), false)?;
        self.want(self.named_since(&head)?);
        Ok(collected)
    }

    /// What commits name that arrived after `before`.
    fn named_since(&self, before: &Snapshot) -> Result<Vec<Payload>, StoreError> {
        let now = self.view().head().clone();
        let mut named = Vec::new();
        for (domain, newest) in &now.frontier {
            let first = before.frontier.get(domain).map_or(0, |head| head.number) + 1;
            for number in first..=newest.number {
                let commit = self.read_commit(domain, number)?;
                named.extend(
                    commit
                        .iter()
                        .flat_map(|commit| commit.records())
                        .filter_map(Record::block_payload),
                );
            }
        }
        Ok(named)
    }

    /// Wants what is not here.
    pub(super) fn want(&self, named: impl IntoIterator<Item = Payload>) {
        if self.files.options.payloads == Payloads::OnDemand {
            return;
        }
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        for Payload { checksum, len } in named {
            if view.may_want(&checksum, &self.files.blocks) {
                let longest = view.wanted.entry(checksum).or_default();
                *longest = len.max(*longest);
            }
        }
    }
}

fn go_on(wish: ControlFlow<()>) -> Result<(), StoreError> {
    if wish.is_break() {
        Err(StoreError::Cancelled)
    } else {
        Ok(())
    }
}

/// Payloads that stay, ascending.
struct Live(Vec<Checksum>);

impl Live {
    fn add(&mut self, more: Vec<Checksum>) {
        self.0.extend(more);
        self.0.sort_unstable();
        self.0.dedup();
    }

    fn has(&self, checksum: Checksum) -> bool {
        self.0.binary_search(&checksum).is_ok()
    }
}

impl View {
    /// What is named about everything visible at a snapshot.
    fn named_at(&self, snapshot: &Snapshot) -> Result<Vec<Checksum>, ReadError> {
        let mut named = Vec::new();
        // An artifact's id says which payload it has; about a receipt, claims may differ.
        for entry in self.state.entries(snapshot, &Filter::kind(Kind::Artifact)) {
            named.extend(entry?.checksum);
        }
        for entry in self.state.entries(snapshot, &Filter::kind(Kind::Receipt)) {
            let versions = self.state.versions(&entry?.id, snapshot)?;
            let payloads = versions
                .iter()
                .filter_map(|version| version.record.block_payload());
            named.extend(payloads.map(|payload| payload.checksum));
        }
        Ok(named)
    }
}
