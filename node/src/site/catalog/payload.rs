//! Payloads of what was resolved, as far as they are here.
//!
//! Bytes are verified against their checksum before they are given out.

use std::io::{self, Read};
use std::path::PathBuf;

use uor_asl::blocks::BlocksError;
use uor_asl::state::ReadError as StateError;
use uor_index_format::DecodeError;
use uor_index_format::id::{CanonicalId, Checksum};
use uor_index_format::tree::{TREE_LEN_MAX, Tree};

use super::sort::Sort;
use super::target::Target;
use crate::cancel::Cancelled;
use crate::clock::utc;
use crate::site::handle::Site;

/// A payload that is here, as a stream that verifies itself.
pub struct OpenedPayload<'a> {
    /// Its length in bytes.
    pub len: u64,
    /// Its bytes.
    pub reader: Box<dyn Read + 'a>,
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The records are in order; the bytes have not arrived here.
    #[error(
        "the payload of {id} ({len} bytes, checksum {checksum}) is not here yet: a node that is connected will fetch it"
    )]
    Missing {
        /// Whose payload.
        id: CanonicalId,
        /// Its checksum.
        checksum: Checksum,
        /// Its length in bytes.
        len: u64,
    },
    /// The bytes were erased here on request.
    #[error(
        "the payload of {id} (checksum {checksum}) was erased here on {} UTC: it comes back only if the same bytes are added",
        utc(*wall_ms)
    )]
    Erased {
        /// Whose payload.
        id: CanonicalId,
        /// Its checksum.
        checksum: Checksum,
        /// When, in milliseconds since 1970.
        wall_ms: u64,
    },
    /// Claims differ, and the federation's rule lets none stand.
    #[error("{id} has conflicting claims and none stands")]
    Withheld {
        /// The id.
        id: CanonicalId,
    },
    /// It is something else than is needed.
    #[error("`{text}` is {}; a {needed} is needed here", found.with_article())]
    WrongKind {
        /// The text as it was given.
        text: String,
        /// What it is.
        found: Sort,
        /// What was needed.
        needed: &'static str,
    },
    /// A tree stands for very many entries, because trees in it occur again and again.
    #[error(
        "tree {id} is {trees} trees that hold each other again and again, {entries} entries in all: no directory is like that, \
         and nothing was written"
    )]
    Spread {
        /// The tree.
        id: CanonicalId,
        /// How many different trees there are.
        trees: u64,
        /// How many entries they stand for.
        entries: u64,
    },
    /// The payload passes its checksum and is not what its type tag or kind says.
    #[error("the payload of {id} is no valid {what}")]
    Content {
        /// Whose payload.
        id: CanonicalId,
        /// What it should be.
        what: &'static str,
        /// What is wrong.
        #[source]
        source: DecodeError,
    },
    /// The blocks could not be read.
    #[error("could not read the payload of {id}")]
    Blocks {
        /// Whose payload.
        id: CanonicalId,
        /// What is wrong.
        #[source]
        source: BlocksError,
    },
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// It is not wanted any more.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// There is something at the path already.
    #[error("{} exists already: nothing was overwritten", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// The payload broke off while it was read.
    #[error("could not read the payload of {id}")]
    Stream {
        /// Whose payload.
        id: CanonicalId,
        /// What its stream said.
        #[source]
        source: io::Error,
    },
    /// There is no directory to write into.
    #[error("could not write {}: there is no directory {}", path.display(), dir.display())]
    NoDirectory {
        /// The path.
        path: PathBuf,
        /// The directory.
        dir: PathBuf,
    },
    /// It could not be written.
    #[error("could not write {}", path.display())]
    Write {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl ReadError {
    /// Whether the records are in order and only bytes are missing here: done, but something needs
    /// attention.
    pub const fn is_missing_payload(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }
}

impl Site {
    /// The bytes of an artifact or receipt.
    ///
    /// # Errors
    /// [`ReadError::Missing`], [`ReadError::Withheld`], [`ReadError::WrongKind`] or
    /// [`ReadError::Blocks`].
    pub fn open_payload(&self, target: &Target) -> Result<OpenedPayload<'_>, ReadError> {
        let checksum = self.checksum_here(target)?;
        let failed = |source| ReadError::Blocks {
            id: target.id,
            source,
        };
        let reader = self.store.blocks().read(checksum).map_err(failed)?;
        Ok(OpenedPayload {
            len: target.len,
            reader: Box::new(reader),
        })
    }

    /// The bytes of a file, for `cat`.
    ///
    /// # Errors
    /// [`ReadError::WrongKind`] for a tree, or as [`Site::open_payload`].
    pub fn open_file(&self, target: &Target) -> Result<OpenedPayload<'_>, ReadError> {
        if target.sort == Sort::Tree {
            return Err(wrong_kind(target, "file"));
        }
        self.open_payload(target)
    }

    pub(in crate::site) fn read_tree(&self, target: &Target) -> Result<Tree, ReadError> {
        if target.sort != Sort::Tree {
            return Err(wrong_kind(target, "tree"));
        }
        let payload = self.read_payload(target, TREE_LEN_MAX)?;
        Tree::decode(&payload).map_err(|source| ReadError::Content {
            id: target.id,
            what: "tree",
            source,
        })
    }

    /// A whole payload of at most `len_max` bytes.
    pub(in crate::site) fn read_payload(
        &self,
        target: &Target,
        len_max: u64,
    ) -> Result<Vec<u8>, ReadError> {
        let checksum = self.checksum_here(target)?;
        let failed = |source| ReadError::Blocks {
            id: target.id,
            source,
        };
        self.store
            .blocks()
            .read_all(checksum, len_max)
            .map_err(failed)
    }

    pub(in crate::site) fn checksum_here(&self, target: &Target) -> Result<Checksum, ReadError> {
        if !target.sort.has_payload() {
            return Err(wrong_kind(target, "file"));
        }
        let checksum = target
            .checksum
            .ok_or(ReadError::Withheld { id: target.id })?;
        if self.store.blocks().has(checksum) {
            Ok(checksum)
        } else if let Some(wall_ms) = self.store.view().erased(&checksum) {
            Err(ReadError::Erased {
                id: target.id,
                checksum,
                wall_ms,
            })
        } else {
            Err(ReadError::Missing {
                id: target.id,
                checksum,
                len: target.len,
            })
        }
    }
}

pub(in crate::site) fn wrong_kind(target: &Target, needed: &'static str) -> ReadError {
    ReadError::WrongKind {
        text: target.text.clone(),
        found: target.sort,
        needed,
    }
}
