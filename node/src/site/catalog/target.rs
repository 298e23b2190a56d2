//! What a text was resolved to, or may mean.

use std::fmt;

use serde::Serialize;
use uor_index_format::id::{ArtifactKey, CanonicalId, Checksum};
use uor_index_format::state::Entry;

use super::sort::Sort;
use crate::site::json;

/// What a text was resolved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The text as it was given.
    pub text: String,
    /// The id.
    pub id: CanonicalId,
    /// What it is.
    pub sort: Sort,
    /// Its type tag.
    pub type_tag: Option<u32>,
    /// Checksum of the payload or body that stands; `None` while a conflict withholds all.
    pub checksum: Option<Checksum>,
    /// Length of that in bytes.
    pub len: u64,
    /// Whether there is an open conflict about it.
    pub conflict: bool,
    /// The ref it was reached by (before any `/path`), if it was.
    pub via_ref: Option<String>,
    /// Whether a path into a tree was followed.
    pub via_path: bool,
}

impl Target {
    /// The id as a key.
    pub fn key(&self) -> ArtifactKey {
        self.id.into()
    }

    pub(in crate::site) fn of(text: &str, entry: &Entry) -> Self {
        Self {
            text: text.to_owned(),
            id: entry.id,
            sort: Sort::of(entry),
            type_tag: entry.type_tag,
            checksum: entry.checksum,
            len: entry.payload_len,
            conflict: entry.conflict,
            via_ref: None,
            via_path: false,
        }
    }
}

/// One of several things a prefix may mean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// Its id.
    #[serde(serialize_with = "json::text")]
    pub id: CanonicalId,
    /// What it is.
    pub sort: Sort,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.id, self.sort)
    }
}
