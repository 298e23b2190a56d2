//! The index: every byte of its files, and that it has all records of the log that are accepted,
//! and no others.

use std::collections::BTreeMap;

use uor_index_format::id::SiteId;

use super::Finding;
use crate::commits::rows_as_stored;
use crate::disk::{DiskError, Mode};
use crate::entry::{commit_header, for_each_record};
use crate::error::with_causes;
use crate::index::{Class, CommitRef, Filter, IndexError};
use crate::log::LogPosition;
use crate::state::error::ReadError;
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::maintenance::runs::open_as_stored;
use crate::store::view::View;
use uor_index_format::commit::unverified::UnverifiedHeader;

/// More than this many records that are not where they belong are not named one by one.
const NAMED_MAX: u64 = 16;

/// Verifies the files of the index that the store was opened with, or, where it could not be, those
/// that its checkpoint names.
pub(super) fn verify_files(
    store: &Store,
    view: &View,
    findings: &mut Vec<Finding>,
) -> Result<(), StoreError> {
    if let Some(stale) = store
        .opened()
        .index
        .as_ref()
        .filter(|_| store.mode() == Mode::ReadOnly)
    {
        if stale.is_damage {
            let (file, offset, what) = (stale.file.clone(), stale.offset, stale.what.clone());
            findings.push(Finding::Index { file, offset, what });
            return verify_named(store, findings);
        }
        return Ok(());
    }
    for run in view.state().index().runs() {
        run.verify(&mut |damage| findings.push(Finding::of_index(&damage.into())));
    }
    view.state()
        .commits()
        .verify(&mut |damage| findings.push(Finding::of_index(&damage)));
    Ok(())
}

/// Verifies what the checkpoint on disk names, apart from what the store was opened with.
fn verify_named(store: &Store, findings: &mut Vec<Finding>) -> Result<(), StoreError> {
    let Some(named) = open_as_stored(store.disk().as_ref())? else {
        return Ok(());
    };
    let mut tell = |damage: ReadError| {
        let found = Finding::of_index(&damage);
        if !findings.contains(&found) {
            findings.push(found);
        }
    };
    for run in named.runs {
        match run {
            Ok(run) => run.verify(&mut |damage| tell(damage.into())),
            Err(damage) => tell(damage),
        }
    }
    for (ordinal, (site, len)) in (0..).zip(&named.domains) {
        match rows_as_stored(store.disk().as_ref(), ordinal, site, *len) {
            Ok(rows) => tell_each(rows, &mut tell),
            Err(error) => tell(error.into()),
        }
    }
    Ok(())
}

/// Tells of all rows that are not what was written, or of the first that is not there.
fn tell_each<T>(
    rows: impl Iterator<Item = (u64, Result<T, ReadError>)>,
    tell: &mut dyn FnMut(ReadError),
) {
    for (_, row) in rows {
        let Err(damage) = row else { continue };
        let is_end = matches!(damage, ReadError::Disk(DiskError { .. }));
        tell(damage);
        if is_end {
            return;
        }
    }
}

/// Holds what the index says of records against the log: each record of an accepted commit is
/// found once by its id, and there are no others. What cannot be read of the log is found
/// elsewhere.
pub(super) fn verify_records(store: &Store, view: &View, findings: &mut Vec<Finding>) {
    let mut check = Check {
        view,
        records: 0,
        classes: BTreeMap::new(),
        taken_back: BTreeMap::new(),
        wrong: 0,
        findings,
    };
    let ordinals = view.state().commits().ordinals();
    let end = view.state().log().end();
    for entry in store.log().entries() {
        let Ok(entry) = entry else { return };
        if entry.position >= end {
            break;
        }
        let Some(named) = commit_header(&entry) else {
            continue;
        };
        if is_taken_back(view, &named) {
            let _ = for_each_record(entry.position, &entry.body, |_, header| {
                check.taken_back(Class {
                    kind: header.kind,
                    type_tag: header.type_tag,
                });
            });
            continue;
        }
        if accepted_at(view, ordinals, &named, entry.position).is_some_and(|commit| {
            let checked = for_each_record(entry.position, &entry.body, |at, header| {
                check.record(
                    commit,
                    at,
                    &header.id,
                    Class {
                        kind: header.kind,
                        type_tag: header.type_tag,
                    },
                );
            });
            checked.is_err()
        }) {
            return;
        }
    }
    check.end();
}

/// The commit at this place, if it is accepted.
pub(super) fn accepted_at(
    view: &View,
    ordinals: &BTreeMap<SiteId, u32>,
    named: &UnverifiedHeader,
    position: LogPosition,
) -> Option<CommitRef> {
    let row = view
        .state()
        .commits()
        .row(&named.domain, named.number)
        .ok()
        .flatten()?;
    let domain = *ordinals.get(&named.domain)?;
    (row.at == position).then_some(CommitRef {
        domain,
        number: named.number,
        logseq: row.logseq,
    })
}

/// Whether a commit is beyond the point where its writer forked its log.
fn is_taken_back(view: &View, named: &UnverifiedHeader) -> bool {
    view.forks()
        .get(&named.domain)
        .is_some_and(|proof| proof.number() <= named.number)
}

struct Check<'a> {
    view: &'a View,
    records: u64,
    classes: BTreeMap<Class, u64>,
    /// Records of commits that a fork proof took back: the index holds them if it was written
    /// before the proof came.
    taken_back: BTreeMap<Class, u64>,
    wrong: u64,
    findings: &'a mut Vec<Finding>,
}

impl Check<'_> {
    fn record(
        &mut self,
        commit: CommitRef,
        at: LogPosition,
        id: &uor_index_format::id::CanonicalId,
        class: Class,
    ) {
        self.records += 1;
        *self.classes.entry(class).or_default() += 1;
        let mut times = 0;
        let log = self.view.state().log();
        let looked = self
            .view
            .state()
            .index()
            .candidates(id, usize::MAX, log, |found| {
                times += u32::from(found.at == at && found.commit == commit);
            });
        if looked.is_ok() && times == 1 {
            return;
        }
        self.wrong += 1;
        if self.wrong <= NAMED_MAX {
            let LogPosition { segment, offset } = at;
            let found = looked.map_or_else(
                |error| error.to_string(),
                |()| format!("the index has it {times} times"),
            );
            self.tell(format!("the record of {id} lies in segment {segment} of the log at offset {offset}: {found}"));
        }
    }

    fn taken_back(&mut self, class: Class) {
        *self.taken_back.entry(class).or_default() += 1;
    }

    fn tell(&mut self, what: String) {
        self.findings.push(Finding::Index {
            file: None,
            offset: None,
            what,
        });
    }

    /// Holds the numbers against each other: what the index has beside the records of the log shows
    /// there.
    fn end(mut self) {
        if self.wrong > NAMED_MAX {
            self.tell(format!(
                "the index has {} records of the log not once, or they cannot be looked up",
                self.wrong
            ));
        }
        let index = self.view.state().index();
        let counted = (index.len(), index.count(&Filter::ALL));
        if let (Ok(slots), Ok(taken)) = counted
            && (slots != taken
                || !(self.records..=self.records + self.taken_back.values().sum::<u64>())
                    .contains(&slots))
        {
            let records = self.records;
            self.tell(format!("the index holds {slots} records and counts {taken}, the log has {records} of accepted commits"));
        }
        let taken_back = std::mem::take(&mut self.taken_back);
        for (class, records) in std::mem::take(&mut self.classes) {
            let taken_back = taken_back.get(&class).copied().unwrap_or_default();
            let filter = Filter {
                type_tag: Some(class.type_tag),
                ..Filter::kind(class.kind)
            };
            if let Ok(found) = index.count(&filter).map_err(|_: IndexError| ())
                && !(records..=records + taken_back).contains(&found)
            {
                let Class { kind, type_tag } = class;
                let tag = type_tag
                    .map(|tag| format!(" with type tag {tag}"))
                    .unwrap_or_default();
                self.tell(format!("the index counts {found} of kind {kind:?}{tag}, the log has {records} of accepted commits"));
            }
        }
    }
}

impl Finding {
    /// Damage of a file of the index.
    pub(super) fn of_index(damage: &ReadError) -> Self {
        let (file, offset) = damage.place();
        Self::Index {
            file,
            offset,
            what: with_causes(damage),
        }
    }
}
