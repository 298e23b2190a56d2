//! Why a node could not start, or had to stop.

use uor_asl::disk::DiskError;
use uor_asl::store::StoreError;

use crate::net::NetError;
use crate::site::FileError;

/// Why a node could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// There are no threads to run on.
    #[error("could not start the node's threads")]
    Runtime(#[source] std::io::Error),
    /// An address cannot be understood.
    #[error("`{address}` is no multiaddress, such as /ip4/127.0.0.1/tcp/4001")]
    Address {
        /// The address as it was given.
        address: String,
        /// What is wrong with it.
        #[source]
        source: libp2p::multiaddr::Error,
    },
    /// A peer's address does not say who answers there.
    #[error(
        "`{address}` does not end in /p2p/PEER: copy it from the line `listening …` of that node"
    )]
    AddressWithoutPeer {
        /// The address as it was given.
        address: String,
    },
    /// The network could not start.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The network has gone.
    #[error("the network stopped by itself")]
    NetStopped,
    /// The store failed: the node stops rather than guess.
    #[error("the store failed, so the node stops")]
    Store(#[from] StoreError),
    /// A small file of the site could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The federation log table could not be written.
    #[error(transparent)]
    Disk(#[from] DiskError),
}
