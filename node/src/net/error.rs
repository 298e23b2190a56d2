//! Why a shell could not start.

use std::io;

use libp2p::Multiaddr;

/// Why a shell could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// Called outside a runtime.
    #[error("the network needs a running tokio runtime")]
    NoRuntime(#[from] tokio::runtime::TryCurrentError),
    /// The secret is no Ed25519 seed.
    #[error("site secret refused")]
    Secret(#[from] libp2p::identity::DecodingError),
    /// The encryption of TCP connections could not be set up.
    #[error("noise handshake could not be prepared")]
    Noise(#[from] libp2p::noise::Error),
    /// Another program listens there.
    #[error("cannot listen on {address}: another program listens there")]
    Taken {
        /// The address.
        address: Multiaddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// This machine does not have the address.
    #[error("cannot listen on {address}: it is not an address of this machine")]
    NotHere {
        /// The address.
        address: Multiaddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// This user may not listen there.
    #[error("cannot listen on {address}: it is not permitted to this user")]
    NotPermitted {
        /// The address.
        address: Multiaddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The system lets nobody listen there.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: Multiaddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// An address could not be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address refused.
        address: Multiaddr,
        /// The transport's reason.
        #[source]
        source: libp2p::TransportError<io::Error>,
    },
}

impl NetError {
    /// Why the system lets nobody listen at an address.
    pub(super) fn of_bind(address: Multiaddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::Taken { address, source },
            io::ErrorKind::AddrNotAvailable => Self::NotHere { address, source },
            io::ErrorKind::PermissionDenied => Self::NotPermitted { address, source },
            _ => Self::Bind { address, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_in_use_is_said_to_be() {
        let said =
            |kind: io::ErrorKind| NetError::of_bind(Multiaddr::empty(), kind.into()).to_string();
        assert!(said(io::ErrorKind::AddrInUse).ends_with("another program listens there"));
        assert!(said(io::ErrorKind::AddrNotAvailable).ends_with("not an address of this machine"));
        assert!(said(io::ErrorKind::PermissionDenied).ends_with("not permitted to this user"));
        assert!(said(io::ErrorKind::Unsupported).ends_with("cannot listen on "));
    }
}
