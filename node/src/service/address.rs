//! Multiaddresses as people write them, and those a node listens on.

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use uor_index_format::id::SiteId;

use super::error::ServiceError;
use crate::net;

pub(super) fn parse(address: &str) -> Result<Multiaddr, ServiceError> {
    address.parse().map_err(|source| ServiceError::Address {
        address: address.to_owned(),
        source,
    })
}

/// An address and the site that is expected there.
pub(super) fn parse_peer(address: &str) -> Result<(Multiaddr, SiteId), ServiceError> {
    let parsed = parse(address)?;
    let site = match parsed.iter().last() {
        Some(Protocol::P2p(peer)) => net::site_key(&peer).map(SiteId::from_bytes),
        _ => None,
    };
    let site = site.ok_or_else(|| ServiceError::AddressWithoutPeer {
        address: address.to_owned(),
    })?;
    Ok((parsed, site))
}

/// Whether this is an address of a member: one that can be understood, and says who answers there.
///
/// # Errors
/// [`ServiceError::Address`] or [`ServiceError::AddressWithoutPeer`].
pub fn check_peer(address: &str) -> Result<(), ServiceError> {
    parse_peer(address).map(drop)
}

/// The site that is expected at a multiaddress, if it names one.
pub fn site_at(address: &str) -> Option<SiteId> {
    parse_peer(address).ok().map(|(_, site)| site)
}

pub(super) fn with_peer(address: Multiaddr, peer: &SiteId) -> String {
    let names_peer = matches!(address.iter().last(), Some(Protocol::P2p(_)));
    let id = net::peer_id(peer.as_bytes());
    if names_peer {
        address.to_string()
    } else {
        address.with(Protocol::P2p(id)).to_string()
    }
}

/// TCP and QUIC on every interface, at any free port.
pub(super) fn on_every_interface() -> Vec<Multiaddr> {
    let any = Multiaddr::empty().with(Protocol::Ip4(std::net::Ipv4Addr::UNSPECIFIED));
    vec![
        any.clone().with(Protocol::Tcp(0)),
        any.with(Protocol::Udp(0)).with(Protocol::QuicV1),
    ]
}

/// An address with port 0 at the port of the first of `last` that is of the same kind.
pub(super) fn on_last_port(address: &Multiaddr, last: &[Multiaddr]) -> Multiaddr {
    let tcp = last.iter().flatten().find_map(|part| {
        if let Protocol::Tcp(port) = part {
            Some(port)
        } else {
            None
        }
    });
    let udp = last.iter().flatten().find_map(|part| {
        if let Protocol::Udp(port) = part {
            Some(port)
        } else {
            None
        }
    });
    let part = |part| match part {
        Protocol::Tcp(0) => Protocol::Tcp(tcp.unwrap_or(0)),
        Protocol::Udp(0) => Protocol::Udp(udp.unwrap_or(0)),
        part => part,
    };
    address.iter().map(part).collect()
}
