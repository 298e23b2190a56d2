//! What is audited: a store that is open to be read.

use std::path::PathBuf;
use std::sync::Arc;

use uor_asl::blocks::BlocksError;
use uor_asl::disk::real::RealDisk;
use uor_asl::disk::{Disk, Mode};
use uor_asl::log::LogError;
use uor_asl::state::ReadError;
use uor_asl::store::{Options, Store, StoreError};
use uor_index_format::id::FederationId;
use uor_index_format::snapshot::Snapshot;

use crate::site::{FileError, Site, Witnessed};

/// A store under audit.
pub struct Audited {
    /// How the store was named.
    pub name: String,
    /// The store: a data directory, open for reading, or a replica of what a running node holds.
    pub store: Arc<Store>,
    /// What the data directory says of itself beside its log; nothing of a replica.
    pub witnessed: Option<Witnessed>,
}

/// Why a data directory could not be opened to be audited.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A file was named.
    #[error("{name} is a file, not a directory")]
    IsFile {
        /// How the store was named.
        name: String,
    },
    /// The store in it could not be opened.
    #[error("could not open the store {name}")]
    Directory {
        /// How the store was named.
        name: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The data directory has a newer format: the store in it may not be all there is.
    #[error("could not open the data directory {name}")]
    Newer {
        /// How the store was named.
        name: String,
        /// What it says.
        #[source]
        source: FileError,
    },
}

impl OpenError {
    /// The damage, if bytes that had been durable are not what was written: a finding, not a
    /// failure to look.
    pub const fn damage(&self) -> Option<&StoreError> {
        match self {
            Self::Directory { source, .. } if is_damage(source) => Some(source),
            _ => None,
        }
    }
}

const fn is_damage(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Identity
            | StoreError::OtherFederation { .. }
            | StoreError::LogCut { .. }
            | StoreError::Entry { .. }
            | StoreError::Chain { .. }
            | StoreError::Log(LogError::Damaged(_) | LogError::Missing { .. })
            | StoreError::Read(ReadError::Log(
                LogError::Damaged(_) | LogError::Missing { .. }
            ))
            | StoreError::Blocks(BlocksError::Damaged(_))
    )
}

impl Audited {
    /// Opens a data directory for reading, beside any writer.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(name: impl Into<String>, path: PathBuf) -> Result<Self, OpenError> {
        let name = name.into();
        if path.is_file() {
            return Err(OpenError::IsFile { name });
        }
        Site::refuse_newer(&path).map_err(|source| OpenError::Newer {
            name: name.clone(),
            source,
        })?;
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(path));
        // Before the log, which may grow meanwhile. A small file that is damaged is not the
        // store's.
        let witnessed = Witnessed::read(disk.as_ref()).ok();
        let federation = Store::identity(&disk).ok();
        let are_packs_cut = witnessed
            .as_ref()
            .zip(federation)
            .is_some_and(|(it, federation)| it.are_packs_cut(federation));
        match Store::open_with(
            disk,
            Mode::ReadOnly,
            Options {
                are_packs_cut,
                ..Options::default()
            },
        ) {
            Ok(store) => Ok(Audited {
                name,
                store: Arc::new(store),
                witnessed,
            }),
            Err(source) => Err(OpenError::Directory { name, source }),
        }
    }

    /// The snapshot of everything in the store.
    pub fn head(&self) -> Snapshot {
        self.store.view().head().clone()
    }
}

/// Stores of two federations have nothing in common.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} belongs to federation {}, {} to {}: there is nothing to compare",
    first.0, first.1, other.0, other.1
)]
pub struct OtherFederation {
    /// How the first store was named, and its federation.
    pub first: (String, FederationId),
    /// One of another federation.
    pub other: (String, FederationId),
}

/// Checks that stores can be compared at all.
///
/// # Errors
/// [`OtherFederation`] if two belong to different federations.
pub fn one_federation(stores: &[Audited]) -> Result<(), OtherFederation> {
    let named = |audited: &Audited| (audited.name.clone(), audited.store.federation());
    let Some((first, others)) = stores.split_first() else {
        return Ok(());
    };
    let is_other = |other: &&Audited| other.store.federation() != first.store.federation();
    match others.iter().find(is_other) {
        None => Ok(()),
        Some(other) => Err(OtherFederation {
            first: named(first),
            other: named(other),
        }),
    }
}
