//! The log, and the conflicts that came out of it.

use std::collections::BTreeMap;

use serde::Serialize;
use uor_asl::state::{Conflict, ReadError as StateError, Version};
use uor_asl::store::{CommitError, Committed, StoreError, View};
use uor_index_format::id::{CanonicalId, Checksum, CommitHash, LogSeq, SiteId};
use uor_index_format::record::{Kind, Record};
use uor_index_format::snapshot::Snapshot;

use super::resolve::{PREFIX_LEN_MIN, ResolveError};
use crate::site::handle::Site;
use crate::site::json;

/// One commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogListed {
    /// Whose log.
    #[serde(serialize_with = "json::text")]
    pub domain: SiteId,
    /// That site's name, if it is known.
    pub name: Option<String>,
    /// Number in the domain.
    pub number: u64,
    /// Lamport time.
    #[serde(serialize_with = "json::logseq")]
    pub logseq: LogSeq,
    /// Hash.
    #[serde(serialize_with = "json::text")]
    pub hash: CommitHash,
    /// How many records.
    pub records: u64,
    /// How many of each kind, by the kind's word.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Milliseconds since 1970 by the writer's clock.
    pub wall_ms: u64,
}

/// An open conflict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConflictListed {
    /// About what.
    #[serde(serialize_with = "json::text")]
    pub id: CanonicalId,
    /// What that is.
    #[serde(serialize_with = "json::kind")]
    pub kind: Kind,
    /// Every claim, in the one order.
    pub claims: Vec<ClaimListed>,
    /// Checksum of the claim that is effective meanwhile.
    #[serde(serialize_with = "json::text_option")]
    pub effective: Option<Checksum>,
}

/// One claim about an id, with the signed commit that makes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClaimListed {
    /// Who claims it.
    #[serde(serialize_with = "json::text")]
    pub domain: SiteId,
    /// That site's name, if it is known.
    pub name: Option<String>,
    /// Number of the commit.
    pub number: u64,
    /// Hash of the commit.
    #[serde(serialize_with = "json::text_option")]
    pub hash: Option<CommitHash>,
    /// When.
    #[serde(serialize_with = "json::logseq")]
    pub logseq: LogSeq,
    /// What.
    #[serde(serialize_with = "json::text")]
    pub checksum: Checksum,
    /// Length of the payload in bytes.
    pub bytes: u64,
    /// Whether the payload is here.
    pub here: bool,
}

/// A conflict that was ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resolved {
    /// About what.
    #[serde(serialize_with = "json::text")]
    pub id: CanonicalId,
    /// Checksum of the claim that is effective now.
    #[serde(serialize_with = "json::text")]
    pub keep: Checksum,
    /// When.
    #[serde(serialize_with = "json::logseq")]
    pub logseq: LogSeq,
}

/// Why the log could not be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// A commit could not be read.
    #[error("could not read commit {number} of {domain}")]
    Read {
        /// Whose commit.
        domain: SiteId,
        /// Its number.
        number: u64,
        /// What is wrong.
        #[source]
        source: StoreError,
    },
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Why a conflict was not ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolutionError {
    /// The id means nothing here.
    #[error(transparent)]
    Id(#[from] ResolveError),
    /// There is no conflict about it.
    #[error("there is no open conflict about {id}")]
    NoConflict {
        /// The id.
        id: CanonicalId,
    },
    /// Not exactly one claim has such a checksum.
    #[error(
        "`{keep}` is not the checksum of one of the claims ({}): give it, or at least {PREFIX_LEN_MIN} of its digits",
        list(claims)
    )]
    NoSuchClaim {
        /// The text as it was given.
        keep: String,
        /// Checksums of the claims.
        claims: Vec<Checksum>,
    },
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// It could not be written.
    #[error("could not write the resolution")]
    Commit(#[from] CommitError),
}

fn list(checksums: &[Checksum]) -> String {
    checksums
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

impl Site {
    /// The last `limit` commits (all, if `None`) of one domain or of all, newest last.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn log(
        &self,
        domain: Option<SiteId>,
        limit: Option<usize>,
    ) -> Result<Vec<LogListed>, HistoryError> {
        let mut commits: Vec<Committed> = {
            let view = self.store.view();
            let is_meant = |commit: &Committed| domain.is_none_or(|domain| domain == commit.domain);
            view.commits()
                .filter(|commit| commit.as_ref().map_or(true, is_meant))
                .collect::<Result<_, _>>()?
        };
        commits.sort_by_key(|commit| (commit.logseq, commit.domain));
        commits.drain(..commits.len().saturating_sub(limit.unwrap_or(usize::MAX)));
        let names = self.shown_names()?;
        let listed = commits.iter().map(|commit| self.log_entry(commit, &names));
        Ok(listed
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .collect())
    }

    /// `None` if the commit has meanwhile been disproved by a fork.
    fn log_entry(
        &self,
        committed: &Committed,
        names: &BTreeMap<SiteId, String>,
    ) -> Result<Option<LogListed>, HistoryError> {
        let Committed {
            domain,
            number,
            hash,
            logseq,
        } = *committed;
        let read = self.store.read_commit(&domain, number);
        let Some(commit) = read.map_err(|source| HistoryError::Read {
            domain,
            number,
            source,
        })?
        else {
            return Ok(None);
        };
        let mut kinds = BTreeMap::new();
        for record in commit.records() {
            *kinds.entry(record.kind().name()).or_default() += 1;
        }
        let (records, wall_ms) = (commit.records().len() as u64, commit.header().wall_ms);
        let name = names.get(&domain).cloned();
        Ok(Some(LogListed {
            domain,
            name,
            number,
            logseq,
            hash,
            records,
            kinds,
            wall_ms,
        }))
    }

    /// Open conflicts, ascending by id.
    ///
    /// # Errors
    /// [`StateError`] if the state cannot be read.
    pub fn conflicts(&self, at: &Snapshot) -> Result<Vec<ConflictListed>, StateError> {
        let names = self.shown_names()?;
        let view = self.store.view();
        let listed = |conflict: Conflict| {
            let claims = conflict
                .claims
                .iter()
                .map(|claim| self.claim(&view, claim, &names))
                .collect::<Result<_, _>>()?;
            Ok(ConflictListed {
                id: conflict.id,
                kind: conflict.kind,
                claims,
                effective: conflict.effective,
            })
        };
        view.state()
            .conflicts(at)?
            .into_iter()
            .map(listed)
            .collect()
    }

    pub(in crate::site) fn claim(
        &self,
        view: &View,
        version: &Version,
        names: &BTreeMap<SiteId, String>,
    ) -> Result<ClaimListed, StateError> {
        let (domain, payload) = (version.place.domain, version.record.payload());
        Ok(ClaimListed {
            domain,
            name: names.get(&domain).cloned(),
            number: version.number,
            hash: view.commit_hash(&domain, version.number)?,
            logseq: version.place.logseq,
            checksum: payload.checksum,
            bytes: payload.len,
            here: version.record.block_payload().is_none()
                || self.store.blocks().has(payload.checksum),
        })
    }

    /// Ends a conflict: the claim whose checksum begins with `keep` (at least 8 digits) is
    /// effective.
    ///
    /// # Errors
    /// [`ResolutionError`].
    pub fn resolve_conflict(&self, id: &str, keep: &str) -> Result<Resolved, ResolutionError> {
        let head = self.head();
        let id = self.resolve(id, &head)?.id;
        let conflict = self.store.view().state().conflict(&id, &head)?;
        let conflict = conflict.ok_or(ResolutionError::NoConflict { id })?;
        let mut claims: Vec<Checksum> = conflict
            .claims
            .iter()
            .map(|claim| claim.record.payload().checksum)
            .collect();
        claims.sort_unstable();
        claims.dedup();
        let prefix = keep.to_ascii_lowercase();
        let means = |checksum: &&Checksum| {
            prefix.len() >= PREFIX_LEN_MIN && checksum.to_string().starts_with(&prefix)
        };
        let meant: Vec<Checksum> = claims.iter().filter(means).copied().collect();
        let [keep] = meant.as_slice() else {
            return Err(ResolutionError::NoSuchClaim {
                keep: keep.to_owned(),
                claims,
            });
        };
        let logseq = self.commit(vec![Record::resolution(id, *keep)])?.logseq;
        Ok(Resolved {
            id,
            keep: *keep,
            logseq,
        })
    }
}
