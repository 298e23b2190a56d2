//! Why a store could not be opened to be audited.

use std::path::PathBuf;

use uor_asl::store::StoreError;
use uor_node::audit;
use uor_node::service::ReplicaError;

use crate::scratch::NoScratch;

/// Why a store could not be opened to be audited.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A data directory.
    #[error(transparent)]
    Directory(#[from] audit::OpenError),
    /// The running node gave no replica.
    #[error("could not pull what the node at {name} holds")]
    Node {
        /// How the store was named.
        name: String,
        /// Why.
        #[source]
        source: ReplicaError,
    },
    /// There is no folder for the replica.
    #[error(transparent)]
    Scratch(#[from] NoScratch),
    /// A running node lets only those read for whom a member vouches.
    #[error("a running node asks for a member's word: name the data directory of one with --as")]
    NoVoucher,
    /// A file was named where the member that is to vouch should be.
    #[error("{} is a file, not a directory", dir.display())]
    VoucherIsFile {
        /// What was named.
        dir: PathBuf,
    },
    /// The data directory of the member that is to vouch could not be opened.
    #[error("could not open the data directory of the member that is to vouch")]
    Voucher(#[source] uor_node::site::OpenError),
}

impl OpenError {
    /// The damage, if bytes that had been durable are not what was written: a finding, not a
    /// failure to look.
    pub const fn damage(&self) -> Option<&StoreError> {
        match self {
            Self::Directory(error) => error.damage(),
            _ => None,
        }
    }
}
