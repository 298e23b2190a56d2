//! What goes into the index and what comes out of it.

use uor_index_format::id::{CanonicalId, LogSeq};
use uor_index_format::record::Kind;

use crate::log::LogPosition;

/// What a record is: what filters ask by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class {
    /// Its kind.
    pub kind: Kind,
    /// Its type tag, if it has one.
    pub type_tag: Option<u32>,
}

/// A commit, as the index names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitRef {
    /// Ordinal of the domain in the commit table.
    pub domain: u32,
    /// The commit's number there.
    pub number: u64,
    /// Its Lamport time.
    pub logseq: LogSeq,
}

/// A record, on its way into the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The id it is about.
    pub id: CanonicalId,
    /// Where its bytes begin.
    pub at: LogPosition,
    /// What it is.
    pub class: Class,
    /// What [`super::Index::begin_commit`] said of its commit.
    pub commit: u32,
}

/// A record that may be about the id that was asked for: the id at its place says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Where its bytes begin.
    pub at: LogPosition,
    /// The commit that carries it.
    pub commit: CommitRef,
}

/// Reads whole ids from the log.
pub trait Ids {
    /// Why one could not be read.
    type Error;

    /// The id of the record at a place.
    ///
    /// # Errors
    /// If it cannot be read.
    fn id(&self, at: LogPosition) -> Result<CanonicalId, Self::Error>;
}
