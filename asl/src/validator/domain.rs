//! One domain: its chain, and what its commits say of membership.

use std::collections::BTreeSet;

use uor_index_format::chain::{Chain, Peaks};
use uor_index_format::commit::{Commit, CommitHeader};
use uor_index_format::id::{CommitHash, FederationState, SiteId};
use uor_index_format::membership::{Admission, Genesis};
use uor_index_format::record::Content;

/// Most sites that the commits of one member admit; what it says of more admits nobody. One
/// member's word alone can then not make a frontier that nobody can carry.
pub const ADMISSIONS_MAX: usize = 1024;
/// Most commits of one member that are remembered though they admit only sites it admitted before.
/// They matter only to a site that knows no other admission of its own.
pub const READMISSIONS_MAX: usize = 64;
/// What is known of one domain.
#[derive(Debug, Clone)]
pub(super) struct Domain {
    pub(super) last: Option<CommitHeader>,
    /// The commits before `last`. `None` once a fork took some of them back: nothing continues the
    /// rest.
    pub(super) before: Option<Peaks>,
    /// The last commits, up to `last`, that `Past` may not hold yet.
    pub(super) recent: Vec<CommitHeader>,
    /// The membership commits its writer knows.
    pub(super) knows: BTreeSet<CommitHash>,
    /// The digest of `knows`.
    pub(super) federation: FederationState,
    /// The sites its commits admit, [`ADMISSIONS_MAX`] at most.
    pub(super) admitted: BTreeSet<SiteId>,
    /// How many of its commits admit nobody new.
    pub(super) readmissions: usize,
    /// How many commits from beyond a fork testify.
    pub(super) testimony: usize,
}

/// What a commit says of membership, as far as its writer is listened to.
pub(super) struct Said<'a> {
    pub(super) genesis: Option<&'a Genesis>,
    /// The sites in its admissions that are admitted.
    pub(super) admitted: BTreeSet<SiteId>,
    /// Whether no commit of its domain said all of it before.
    pub(super) is_news: bool,
    /// Whether it is remembered.
    pub(super) is_heard: bool,
}

impl Domain {
    pub(super) fn new() -> Self {
        Self {
            last: None,
            before: Some(Peaks::default()),
            recent: Vec::new(),
            knows: BTreeSet::new(),
            federation: FederationState::of([]),
            admitted: BTreeSet::new(),
            readmissions: 0,
            testimony: 0,
        }
    }

    /// All its commits; `None` once some were taken back.
    pub(super) fn chain(&self) -> Option<Chain> {
        let before = self.before.clone()?;
        Some(match &self.last {
            None => Chain::default(),
            Some(last) => Chain::ending(before, last.hash()),
        })
    }

    /// What a further commit of this domain says of membership.
    pub(super) fn listen<'a>(&self, commit: &'a Commit) -> Said<'a> {
        let mut said = Said {
            genesis: None,
            admitted: BTreeSet::new(),
            is_news: false,
            is_heard: false,
        };
        let mut room = ADMISSIONS_MAX.saturating_sub(self.admitted.len());
        for record in commit.records() {
            match record.content() {
                Content::Genesis(genesis) => (said.genesis, said.is_news) = (Some(genesis), true),
                Content::Admission(Admission { site, .. }) => {
                    let is_new = !self.admitted.contains(site);
                    if is_new && room == 0 {
                        continue;
                    }
                    room -= usize::from(is_new);
                    said.is_news |= is_new;
                    said.admitted.insert(*site);
                }
                _ => {}
            }
        }
        said.is_heard =
            said.is_news || !said.admitted.is_empty() && self.readmissions < READMISSIONS_MAX;
        said
    }
}
