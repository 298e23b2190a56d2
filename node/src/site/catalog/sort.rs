//! What sorts of things there are, in the words of the command line.

use std::fmt;

use serde::{Serialize, Serializer};
use uor_index_format::record::Kind;
use uor_index_format::state::Entry;
use uor_index_format::{program, snapshot, tree};

/// What something is, in the words of the command line. Artifacts are told apart by their type tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// An artifact that is none of the following.
    File,
    /// A directory.
    Tree,
    /// A PEL program.
    Program,
    /// A snapshot.
    Snapshot,
    /// An execution receipt.
    Receipt,
    /// An edge.
    Edge,
    /// A name.
    Ref,
    /// The founding record of the federation.
    Genesis,
    /// The admission of a site.
    Admission,
}

impl Sort {
    /// The word used on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Tree => "tree",
            Self::Program => "program",
            Self::Snapshot => "snapshot",
            Self::Receipt => "receipt",
            Self::Edge => "edge",
            Self::Ref => "ref",
            Self::Genesis => "genesis",
            Self::Admission => "admission",
        }
    }

    /// The word with its article, for messages.
    pub(in crate::site) const fn with_article(self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::Tree => "a tree",
            Self::Program => "a program",
            Self::Snapshot => "a snapshot",
            Self::Receipt => "a receipt",
            Self::Edge => "an edge",
            Self::Ref => "a ref",
            Self::Genesis => "a genesis",
            Self::Admission => "an admission",
        }
    }

    /// Whether it has a payload in blocks.
    pub const fn has_payload(self) -> bool {
        matches!(
            self,
            Self::File | Self::Tree | Self::Program | Self::Snapshot | Self::Receipt
        )
    }

    /// What a visible entry is.
    pub const fn of(entry: &Entry) -> Self {
        match (entry.kind, entry.type_tag) {
            (Kind::Receipt, _) => Self::Receipt,
            (Kind::Edge, _) => Self::Edge,
            (Kind::Ref, _) => Self::Ref,
            (Kind::Genesis, _) => Self::Genesis,
            (Kind::Admission, _) => Self::Admission,
            (_, Some(tree::TYPE_TAG)) => Self::Tree,
            (_, Some(program::TYPE_TAG)) => Self::Program,
            (_, Some(snapshot::TYPE_TAG)) => Self::Snapshot,
            _ => Self::File,
        }
    }
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Sort {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
