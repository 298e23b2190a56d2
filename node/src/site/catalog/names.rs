//! Refs.

use serde::Serialize;
use uor_asl::state::{Filter, ReadError as StateError};
use uor_asl::store::CommitError;
use uor_index_format::id::{ArtifactKey, LogSeq, SiteId};
use uor_index_format::record::{Content, Kind, Record};
use uor_index_format::reference::{NAMESPACE_USER, NameError, RefAssignment, check_name};
use uor_index_format::snapshot::Snapshot;

use super::sort::Sort;
use super::target::Target;
use crate::site::handle::Site;
use crate::site::json;

/// One ref.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefListed {
    /// Its name.
    pub name: String,
    /// What it points at.
    #[serde(serialize_with = "json::text")]
    pub key: ArtifactKey,
    /// What that is, if it is visible.
    pub kind: Option<Sort>,
    /// When it was assigned.
    #[serde(serialize_with = "json::logseq")]
    pub logseq: LogSeq,
    /// By which site.
    #[serde(serialize_with = "json::text")]
    pub domain: SiteId,
}

/// A ref that was assigned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefSet {
    /// Its name.
    pub name: String,
    /// What it points at now.
    #[serde(serialize_with = "json::text")]
    pub key: ArtifactKey,
    /// What it pointed at before.
    #[serde(serialize_with = "json::text_option")]
    pub previous: Option<ArtifactKey>,
    /// When.
    #[serde(serialize_with = "json::logseq")]
    pub logseq: LogSeq,
}

/// Why a name was not assigned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefError {
    /// The name cannot be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Names point at artifacts and receipts.
    #[error("`{text}` is {}; a name points at an artifact or a receipt", found.with_article())]
    WrongKind {
        /// The text as it was given.
        text: String,
        /// What it is.
        found: Sort,
    },
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// It could not be written.
    #[error("could not write the ref")]
    Commit(#[from] CommitError),
}

impl Site {
    /// All names that people gave, ascending.
    ///
    /// # Errors
    /// [`StateError`] if the state cannot be read.
    pub fn refs(&self, at: &Snapshot) -> Result<Vec<RefListed>, StateError> {
        let view = self.store.view();
        let mut listed = Vec::new();
        for visible in view.state().visible(at, &Filter::kind(Kind::Ref)) {
            let Some(version) = visible?.version else {
                continue;
            };
            let Content::Ref(assignment) = version.record.content() else {
                continue;
            };
            if assignment.namespace == NAMESPACE_USER {
                let target = view.state().entry(&assignment.target.into(), at)?;
                listed.push(RefListed {
                    name: assignment.name.clone(),
                    key: assignment.target,
                    kind: target.as_ref().map(Sort::of),
                    logseq: version.place.logseq,
                    domain: version.place.domain,
                });
            }
        }
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }

    /// Points a name at an artifact or receipt.
    ///
    /// # Errors
    /// [`RefError`].
    pub fn ref_set(&self, name: &str, target: &Target) -> Result<RefSet, RefError> {
        check_name(name)?;
        if !target.sort.has_payload() {
            return Err(RefError::WrongKind {
                text: target.text.clone(),
                found: target.sort,
            });
        }
        let previous = self.ref_target(name, &self.head())?;
        let key = target.key();
        let assignment = RefAssignment {
            namespace: NAMESPACE_USER.to_owned(),
            name: name.to_owned(),
            target: key,
        };
        let logseq = self.commit(vec![Record::reference(assignment)])?.logseq;
        Ok(RefSet {
            name: name.to_owned(),
            key,
            previous,
            logseq,
        })
    }
}
