//! What a site amounts to.

use std::path::PathBuf;

use serde::Serialize;
use uor_asl::disk::{Disk, DiskError, Mode};
use uor_asl::state::ReadError as StateError;
use uor_asl::store::StoreError;
use uor_index_format::id::{CommitHash, FederationId, LogSeq, SiteId, StateRoot};
use uor_index_format::snapshot::Frontier;

use super::members::MemberListed;
use crate::site::directory::files::{self, FileError};
use crate::site::handle::Site;
use crate::site::integrity::hold::Hold;
use crate::site::integrity::loss::Loss;
use crate::site::json;

/// What a site amounts to. Peers and lag are the node's to add.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The site.
    #[serde(serialize_with = "json::text")]
    pub site_id: SiteId,
    /// Its name.
    pub name: String,
    /// Its data directory.
    pub data: PathBuf,
    /// Its federation.
    #[serde(serialize_with = "json::text")]
    pub federation_id: FederationId,
    /// `first`, `quorum` or `manual`; unknown before the founding record has arrived.
    pub conflict_rule: Option<&'static str>,
    /// Everyone who may write, ascending by id.
    pub members: Vec<MemberListed>,
    /// Every log that is here, ascending by domain.
    pub domains: Vec<DomainStatus>,
    /// Which commits are here.
    #[serde(serialize_with = "json::frontier")]
    pub frontier: Frontier,
    /// The highest logseq.
    #[serde(serialize_with = "json::logseq")]
    pub logseq_max: LogSeq,
    /// The digest of everything visible.
    #[serde(serialize_with = "json::text")]
    pub state_root: StateRoot,
    /// How many entries are visible.
    pub entries: u64,
    /// How many open conflicts there are.
    pub conflicts: u64,
    /// Domains whose writers are proven to have forked their logs.
    #[serde(serialize_with = "json::texts")]
    pub forks: Vec<SiteId>,
    /// Commits that are not accepted because of a fork.
    pub unaccepted: u64,
    /// Payloads that records name and that are not here.
    pub missing_payloads: u64,
    /// Their bytes.
    pub missing_bytes: u64,
    /// Bytes on disk.
    pub disk: DiskUse,
    /// What the packs have lost, as far as opening them showed it.
    pub damage: Vec<String>,
    /// What the site had acknowledged and has no longer, if anything.
    pub lost: Option<Loss>,
    /// Why the site has to ask the others before it writes, if it has.
    pub held: Option<Hold>,
}

/// One log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DomainStatus {
    /// The domain.
    #[serde(serialize_with = "json::text")]
    pub domain: SiteId,
    /// Its site's name, if it is known.
    pub name: Option<String>,
    /// How many commits are here.
    pub commits: u64,
    /// The last one's logseq.
    #[serde(serialize_with = "json::logseq")]
    pub logseq: LogSeq,
    /// The last one's hash.
    #[serde(serialize_with = "json::text")]
    pub hash: CommitHash,
}

/// Bytes on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DiskUse {
    /// Of the log.
    pub log_bytes: u64,
    /// Of payloads.
    pub blocks_bytes: u64,
}

/// Why it cannot be said what a site amounts to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatusError {
    /// The sizes of files could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// A commit could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Site {
    /// What the site amounts to, now.
    ///
    /// # Errors
    /// [`StatusError`].
    pub fn status(&self) -> Result<Status, StatusError> {
        let members = self.members()?;
        let disk = DiskUse {
            log_bytes: self.dir_bytes("log")?,
            blocks_bytes: self.dir_bytes("blocks")?,
        };
        let mut status = {
            let view = self.store.view();
            let (state, head) = (view.state(), view.head());
            Status {
                site_id: self.site_id(),
                name: self.name.clone(),
                data: self.dir.clone(),
                federation_id: self.federation(),
                conflict_rule: view.genesis().map(|genesis| genesis.conflict_rule.name()),
                members,
                domains: Vec::new(),
                frontier: head.frontier.clone(),
                logseq_max: head.logseq_max,
                state_root: state.root(),
                entries: state.entries_len(),
                conflicts: state.conflicts(head)?.len() as u64,
                forks: view.forks().keys().copied().collect(),
                unaccepted: view.unaccepted(),
                missing_payloads: view.wanted().len() as u64,
                missing_bytes: view.wanted().values().sum(),
                disk,
                damage: self
                    .store
                    .opened()
                    .blocks
                    .damages
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
                lost: self.loss().copied(),
                held: self.hold(),
            }
        };
        status.domains = self.domains(&status.frontier)?;
        Ok(status)
    }

    fn domains(&self, frontier: &Frontier) -> Result<Vec<DomainStatus>, StatusError> {
        let names = self.shown_names()?;
        let mut listed = Vec::new();
        for (domain, head) in frontier {
            // Absent only if a fork has disproved it this moment.
            let Some(commit) = self.store.read_commit(domain, head.number)? else {
                continue;
            };
            listed.push(DomainStatus {
                domain: *domain,
                name: names.get(domain).cloned(),
                commits: head.number,
                logseq: commit.header().logseq,
                hash: head.hash,
            });
        }
        Ok(listed)
    }

    fn dir_bytes(&self, dir: &'static str) -> Result<u64, FileError> {
        let disk: &dyn Disk = self.disk.as_ref();
        if !files::exists(disk, dir)? {
            return Ok(0);
        }
        let failed = |source| DiskError {
            action: "measure",
            path: dir.to_owned(),
            source,
        };
        let size = |name: &String| disk.open(&format!("{dir}/{name}"), Mode::ReadOnly)?.len();
        let sizes = disk
            .list(dir)
            .map_err(failed)?
            .iter()
            .map(size)
            .collect::<std::io::Result<Vec<u64>>>();
        Ok(sizes.map_err(failed)?.into_iter().sum())
    }
}
