//! Summaries of ids that have many versions, so that nobody has to read through all of them each
//! time.
//!
//! They are in memory and made when they are first needed. Preparing a commit puts its versions
//! into them at once; what is shown to readers stays as it was until the commit is applied. If it
//! never is, all summaries are given up.

use std::collections::BTreeMap;

use uor_index_format::id::CanonicalId;
use uor_index_format::membership::ConflictRule;
use uor_index_format::state::Entry;

use super::summary::{Effective, Summary};
use super::version::VersionHeader;

/// An id with more versions is summed up.
pub(super) const MANY: usize = 16;
/// Most versions in all summaries together: a few hundred megabytes of memory. The summaries used
/// least recently are evicted first; an id with more versions than that
/// is read through each time.
const VERSIONS_MAX: usize = 1 << 20;

/// What a summary takes beside its versions, in versions.
const EMPTY_COSTS: usize = 2;

/// Names a commit that was prepared and is in the summaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// Summaries, by id.
#[derive(Debug)]
pub(super) struct Summaries {
    /// Most versions in all summaries together.
    versions_max: usize,
    kept: BTreeMap<CanonicalId, Kept>,
    /// By when they were last used.
    by_use: BTreeMap<u64, CanonicalId>,
    uses: u64,
    /// Of all summaries together.
    versions: usize,
    /// The commit that is in the summaries, and not yet in what readers are shown.
    ahead: Option<Ticket>,
    tickets: u64,
}

#[derive(Debug)]
struct Kept {
    summary: Summary,
    /// What readers are shown.
    effective: Option<Effective>,
    last_use: u64,
    /// What it counts in `versions`.
    versions: usize,
}

impl Default for Summaries {
    fn default() -> Self {
        Self::new(VERSIONS_MAX)
    }
}

impl Summaries {
    /// None yet, of at most `versions_max` versions.
    pub(super) const fn new(versions_max: usize) -> Self {
        Self {
            versions_max,
            kept: BTreeMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
            versions: 0,
            ahead: None,
            tickets: 0,
        }
    }

    /// Begins to look up a commit: one that was looked up before and not applied is forgotten.
    pub(super) fn begin(&mut self) {
        if self.ahead.is_some() {
            *self = Self {
                tickets: self.tickets,
                ..Self::new(self.versions_max)
            };
        }
    }

    /// The entry of an id before and after `version`; `sum_up` gives the id's summary before.
    pub(super) fn prepare<E>(
        &mut self,
        version: &VersionHeader,
        rule: ConflictRule,
        sum_up: impl FnOnce() -> Result<Summary, E>,
    ) -> Result<(Option<Entry>, Option<Entry>), E> {
        let id = version.header.id;
        if !self.kept.contains_key(&id) {
            let mut summary = sum_up()?;
            if summary.taken() <= MANY as u64 {
                let before = summary.effective(rule);
                summary.insert(version);
                return Ok((entry(before), entry(summary.effective(rule))));
            }
            self.keep(id, summary, rule);
        }
        let Some(kept) = self.kept.get_mut(&id) else {
            unreachable!("it was kept just now")
        };
        let before = kept.effective;
        kept.summary.insert(version);
        let after = kept.summary.effective(rule);
        if self.ahead.is_none() {
            self.tickets += 1;
            self.ahead = Some(Ticket(self.tickets));
        }
        self.touch(id);
        Ok((entry(before), entry(after)))
    }

    /// Names what was prepared since [`Summaries::begin`], if anything of it is here.
    pub(super) const fn ticket(&self) -> Option<Ticket> {
        self.ahead
    }

    /// Begins to take in the commit with this ticket; says whether its versions have to be handed
    /// in.
    pub(super) fn apply(&mut self, ticket: Option<Ticket>) -> bool {
        if self.ahead != ticket {
            self.begin();
        }
        self.ahead = None;
        !self.kept.is_empty()
    }

    /// Shows readers a version of the commit that is being taken in.
    pub(super) fn show(&mut self, version: &VersionHeader, rule: ConflictRule) {
        let id = version.header.id;
        if let Some(kept) = self.kept.get_mut(&id) {
            kept.summary.insert(version);
            kept.effective = kept.summary.effective(rule);
            self.touch(id);
        }
    }

    /// Whether an id has a summary.
    pub(super) fn has(&self, id: &CanonicalId) -> bool {
        self.kept.contains_key(id)
    }

    /// What is effective of an id; `sum_up` gives its summary.
    pub(super) fn effective<E>(
        &mut self,
        id: &CanonicalId,
        rule: ConflictRule,
        sum_up: impl FnOnce() -> Result<Summary, E>,
    ) -> Result<Option<Effective>, E> {
        if let Some(kept) = self.kept.get(id) {
            let effective = kept.effective;
            self.touch(*id);
            return Ok(effective);
        }
        let summary = sum_up()?;
        let effective = summary.effective(rule);
        if summary.taken() > MANY as u64 {
            self.keep(*id, summary, rule);
            self.touch(*id);
        }
        Ok(effective)
    }

    fn keep(&mut self, id: CanonicalId, summary: Summary, rule: ConflictRule) {
        self.uses += 1;
        let (last_use, effective) = (self.uses, summary.effective(rule));
        self.by_use.insert(last_use, id);
        self.kept.insert(
            id,
            Kept {
                summary,
                effective,
                last_use,
                versions: 0,
            },
        );
    }

    /// Notes that a summary was used and may have grown; forgets those that there is no room for.
    fn touch(&mut self, id: CanonicalId) {
        self.uses += 1;
        if let Some(kept) = self.kept.get_mut(&id) {
            self.by_use.remove(&kept.last_use);
            self.by_use.insert(self.uses, id);
            kept.last_use = self.uses;
            let versions = kept.summary.len() + EMPTY_COSTS;
            self.versions =
                self.versions - std::mem::replace(&mut kept.versions, versions) + versions;
        }
        while self.versions > self.versions_max {
            let Some((_, id)) = self.by_use.pop_first() else {
                break;
            };
            self.versions -= self.kept.remove(&id).map_or(0, |kept| kept.versions);
        }
    }
}

fn entry(effective: Option<Effective>) -> Option<Entry> {
    effective.map(|effective| effective.entry)
}
