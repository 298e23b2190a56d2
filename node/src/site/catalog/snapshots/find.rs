//! The snapshot that a text means, with all commits inside it here.

use uor_index_format::id::SnapshotId;
use uor_index_format::reference::NAMESPACE_SNAPSHOT;
use uor_index_format::snapshot::{DOMAINS_MAX, ORIGIN_LEN_MAX, Snapshot};

use super::error::{HEAD, SnapshotError};
use crate::site::catalog::payload::ReadError;
use crate::site::catalog::resolve::ResolveError;
use crate::site::catalog::sort::Sort;
use crate::site::catalog::target::Target;
use crate::site::handle::Site;

/// Longest snapshot payload: header and domains of 72 bytes each.
pub(in crate::site) const SNAPSHOT_LEN_MAX: u64 = 64 + DOMAINS_MAX as u64 * 72 + ORIGIN_LEN_MAX;

impl Site {
    /// The snapshot to read at: the state as it is now, or what a snapshot's label, id, prefix or
    /// `head` names; of one that is retained, be it that its record was removed.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn at(&self, text: Option<&str>) -> Result<Snapshot, SnapshotError> {
        let head = self.head();
        let Some(text) = text.filter(|text| *text != HEAD) else {
            return Ok(head);
        };
        let target = match self.resolve_snapshot(text, &head) {
            Ok(target) => target,
            Err(error) => {
                let id = self.retained_or(error, text, &head)?;
                return Ok(self.retained_snapshot(&id)?.snapshot);
            }
        };
        let snapshot = self.read_snapshot(&target)?;
        self.check_commits(&target.key(), &snapshot)?;
        Ok(snapshot)
    }

    /// Whether every commit inside a snapshot is here.
    pub(super) fn check_commits(
        &self,
        id: &SnapshotId,
        snapshot: &Snapshot,
    ) -> Result<(), SnapshotError> {
        let view = self.store.view();
        for (domain, needed) in &snapshot.frontier {
            if view.commit_hash(domain, needed.number)? != Some(needed.hash) {
                return Err(SnapshotError::Behind {
                    id: *id,
                    domain: *domain,
                    needed: needed.number,
                    here: view
                        .head()
                        .frontier
                        .get(domain)
                        .map_or(0, |head| head.number),
                });
            }
        }
        Ok(())
    }

    pub(in crate::site) fn resolve_snapshot(
        &self,
        text: &str,
        at: &Snapshot,
    ) -> Result<Target, SnapshotError> {
        let unknown = |source| match source {
            ResolveError::State(error) => SnapshotError::State(error),
            source => SnapshotError::Unknown {
                text: text.to_owned(),
                source,
            },
        };
        let target = match self.ref_target_in(NAMESPACE_SNAPSHOT, text, at)? {
            Some(id) => self.resolve_id(&id.into(), at).map_err(unknown)?,
            None => match self.resolve_digits(text, text, at, |sort| sort == Sort::Snapshot) {
                Err(ResolveError::State(error)) => return Err(error.into()),
                meant => meant.or_else(|_| self.resolve(text, at)).map_err(unknown)?,
            },
        };
        if target.sort == Sort::Snapshot {
            Ok(target)
        } else {
            Err(SnapshotError::WrongKind {
                text: text.to_owned(),
                found: target.sort,
            })
        }
    }

    pub(super) fn read_snapshot(&self, target: &Target) -> Result<Snapshot, SnapshotError> {
        let payload = self.read_payload(target, SNAPSHOT_LEN_MAX)?;
        let failed = |source| ReadError::Content {
            id: target.id,
            what: "snapshot",
            source,
        };
        Ok(Snapshot::decode(&payload).map_err(failed)?)
    }
}
