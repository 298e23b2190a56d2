//! What a site had acknowledged and has no longer, by what its data directory says beside the log.

use serde::Serialize;
use uor_asl::disk::Disk;
use uor_asl::state::{Filter, ReadError as StateError};
use uor_asl::store::{LogCut, Store, StoreError, View};
use uor_index_format::id::{CanonicalId, CommitHash, FederationId, SiteId};
use uor_index_format::record::Kind;
use uor_index_format::snapshot::Head;

use super::acknowledged::Acknowledged;
use super::packs::Packs;
use crate::site::directory::files::{self, FileError, LOST_FILE};

/// What a site had acknowledged and has no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// How many commits of its own the site had acknowledged.
    pub commits_acknowledged: u64,
    /// How many of its own are in the log.
    pub commits_here: u64,
    /// Whether the log holds another commit where the last acknowledged one was.
    pub is_other_log: bool,
    /// Whether packs of payloads are gone, cut or damaged.
    pub packs_lost: bool,
    /// How many payloads that the site itself had put are not here, where packs are lost.
    pub payloads_lost: u64,
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            commits_acknowledged: acknowledged,
            commits_here: here,
            ..
        } = *self;
        if here < acknowledged {
            let first = here + 1;
            write!(
                f,
                "this site's own commits {first} to {acknowledged} were acknowledged and are not in its log"
            )?;
        } else if self.is_other_log {
            write!(
                f,
                "commit {acknowledged} of this site is not the one it had acknowledged"
            )?;
        }
        if !self.packs_lost {
            return Ok(());
        }
        let then = if here < acknowledged || self.is_other_log {
            "; "
        } else {
            ""
        };
        write!(f, "{then}packs of payloads are gone, cut or damaged")?;
        match self.payloads_lost {
            0 => Ok(()),
            1 => f.write_str(", and 1 payload of this site's own with them"),
            lost => write!(f, ", and {lost} payloads of this site's own with them"),
        }
    }
}

/// What a data directory says of itself beside its log; to be read before the log is opened, which
/// may grow meanwhile.
#[derive(Debug, Clone)]
pub struct Witnessed {
    domain: Option<SiteId>,
    pub(super) acknowledged: Option<Acknowledged>,
    accepted: Vec<CanonicalId>,
    /// The packs as they are before the store is opened, which may begin another.
    packs: Packs,
}

impl Witnessed {
    /// What the data directory on `disk` says. What cannot be read says nothing.
    ///
    /// # Errors
    /// [`FileError`] if the disk refuses.
    pub fn read(disk: &dyn Disk) -> Result<Self, FileError> {
        let acknowledged = Acknowledged::read(disk)?;
        let key = || files::read_key(disk).ok().map(|key| key.site_id());
        let domain = acknowledged.as_ref().map(|it| it.domain).or_else(key);
        Ok(Self {
            domain,
            acknowledged,
            accepted: files::read_lines(disk, LOST_FILE)?,
            packs: Packs::of(disk)?,
        })
    }

    /// Whether the packs end earlier than they did. Nothing in the store shows that: a crash could
    /// leave the same.
    pub fn are_packs_cut(&self, federation: FederationId) -> bool {
        self.of(federation)
            .is_some_and(|acknowledged| acknowledged.packs.are_cut_to(self.packs))
    }

    fn of(&self, federation: FederationId) -> Option<&Acknowledged> {
        self.acknowledged
            .as_ref()
            .filter(|acknowledged| acknowledged.federation == federation)
    }

    /// What the site had acknowledged and its store has no longer. Packs that are lost are no loss
    /// of the site's own as long as no payload is that it had put: what others put comes from them
    /// again.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn loss(&self, store: &Store) -> Result<Option<Loss>, StoreError> {
        let Some(domain) = self.domain else {
            return Ok(None);
        };
        let cut = store.opened().cut.as_ref();
        let known = |cut: &LogCut| cut.heads.get(&domain).copied().unwrap_or_default();
        let head = self.of(store.federation()).map(|it| it.head);
        let (commits_here, is_other_log) = {
            let view = store.view();
            let is_other = head.map_or(Ok(false), |head| is_other_log(&view, &domain, head))?;
            (own_commits(&view, &domain), is_other)
        };
        let packs_lost = self.are_packs_cut(store.federation()) || store.opened().blocks.has_lost();
        let payloads = if packs_lost {
            self.lost_payloads(store, &missing(store)?)?
        } else {
            Vec::new()
        };
        let loss = Loss {
            commits_acknowledged: head.map_or(0, |head| head.number).max(cut.map_or(0, known)),
            commits_here,
            is_other_log,
            packs_lost,
            payloads_lost: payloads.len() as u64,
        };
        let are_commits_lost = loss.commits_here < loss.commits_acknowledged || loss.is_other_log;
        Ok((are_commits_lost || loss.payloads_lost > 0).then_some(loss))
    }

    /// Of these artifacts and receipts, whose payloads are not here, those that the site itself had
    /// put and acknowledged, and whose loss nobody has accepted. All others may be fetched from who
    /// put them.
    ///
    /// # Errors
    /// [`StateError`] if the state cannot be read.
    pub fn lost_payloads(
        &self,
        store: &Store,
        missing: &[CanonicalId],
    ) -> Result<Vec<CanonicalId>, StateError> {
        let Some(domain) = self.domain else {
            return Ok(Vec::new());
        };
        let view = store.view();
        let mut lost = Vec::new();
        for id in missing.iter().filter(|id| !self.accepted.contains(id)) {
            let versions = view.state().versions(id, view.head())?;
            let since = versions
                .iter()
                .rposition(|version| version.place.tombstone)
                .map_or(0, |at| at + 1);
            if versions[since..]
                .iter()
                .any(|version| version.place.domain == domain)
            {
                lost.push(*id);
            }
        }
        Ok(lost)
    }
}

fn counted_commits(view: &View, domain: &SiteId) -> u64 {
    let head = view.head().frontier.get(domain);
    head.map_or(0, |head| head.number)
}

/// How many commits of a domain are in the log. What a fork took back is; what follows a gap in it
/// is worth nothing before that is filled.
fn own_commits(view: &View, domain: &SiteId) -> u64 {
    let taken_back = view
        .unaccepted_head(domain)
        .filter(|_| view.forks().contains_key(domain));
    counted_commits(view, domain).max(taken_back.unwrap_or_default())
}

/// Whether the log has another commit where `acknowledged` is, as far as its hash is known.
fn is_other_log(view: &View, domain: &SiteId, acknowledged: Head) -> Result<bool, StoreError> {
    let Head { number, hash } = acknowledged;
    let is_counted = (1..=counted_commits(view, domain)).contains(&number);
    if !is_counted || hash == CommitHash::NONE {
        return Ok(false);
    }
    Ok(view.commit_hash(domain, number)? != Some(hash))
}

/// Visible artifacts and receipts whose payloads are not here and were not erased on request.
pub(in crate::site) fn missing(store: &Store) -> Result<Vec<CanonicalId>, StateError> {
    let (view, blocks) = (store.view(), store.blocks());
    let mut missing = Vec::new();
    for entry in view.state().entries(view.head(), &Filter::ALL) {
        let entry = entry?;
        let Some(checksum) = entry
            .checksum
            .filter(|_| matches!(entry.kind, Kind::Artifact | Kind::Receipt))
        else {
            continue;
        };
        if !blocks.has(checksum) && !blocks.erased(checksum) && view.erased(&checksum).is_none() {
            missing.push(entry.id);
        }
    }
    Ok(missing)
}

/// Writes down that these payloads are lost, and that this is accepted.
pub(in crate::site) fn accept(disk: &dyn Disk, lost: &[CanonicalId]) -> Result<(), FileError> {
    let mut accepted = files::read_set::<CanonicalId>(disk, LOST_FILE)?;
    accepted.extend(lost);
    files::write_lines(disk, LOST_FILE, accepted)
}
