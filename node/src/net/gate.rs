//! The gate every connection passes: closed, it lets nobody through; open, peers whose id is a
//! site's key, as far as there are places for them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};
use tokio::time::Instant;

use super::key::{SiteKey, site_key};
use super::places::{Limits, Places, Verdict};

/// Why the gate denied a connection.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("the network is cut")]
    Cut,
    #[error("peer {peer} is not named by an Ed25519 key")]
    NoSite { peer: PeerId },
}

/// Denies connections before and after their handshake, in both directions, and closes those whose
/// time is over or whose place another takes.
#[derive(Debug)]
pub(super) struct Gate {
    is_cut: bool,
    places: Places,
    closing: VecDeque<(PeerId, ConnectionId)>,
    peers: BTreeMap<ConnectionId, PeerId>,
    started: Instant,
}

impl Gate {
    pub(super) fn new(limits: Limits, members: Arc<BTreeSet<SiteKey>>) -> Self {
        let places = Places::new(limits, members);
        Self {
            is_cut: false,
            places,
            closing: VecDeque::new(),
            peers: BTreeMap::new(),
            started: Instant::now(),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Closes the gate, or opens it.
    pub(super) const fn cut(&mut self, is_cut: bool) {
        self.is_cut = is_cut;
    }

    /// Whether this peer is a member.
    pub(super) fn is_member(&self, peer: &SiteKey) -> bool {
        self.places.is_member(peer)
    }

    /// Whether this peer is here on a stranger's terms.
    pub(super) fn is_stranger(&self, peer: &SiteKey) -> bool {
        self.places.is_stranger(peer, self.now_ms())
    }

    /// From now on, these are the members.
    pub(super) fn trust(&mut self, members: BTreeSet<SiteKey>) {
        let now_ms = self.now_ms();
        self.places.trust(Arc::new(members), now_ms);
    }

    /// Lets a stranger stay for a while.
    pub(super) fn let_stay(&mut self, peer: SiteKey, for_ms: u64) {
        let now_ms = self.now_ms();
        self.places.let_stay(peer, for_ms, now_ms);
    }

    /// Closes the connections whose time is over.
    pub(super) fn sweep(&mut self) {
        for id in self.places.overdue(self.now_ms()) {
            self.close(id);
        }
    }

    fn close(&mut self, id: ConnectionId) {
        if let Some(peer) = self.peers.get(&id) {
            self.closing.push_back((*peer, id));
        }
    }

    fn admit(&self, peer: Option<PeerId>) -> Result<(), ConnectionDenied> {
        if self.is_cut {
            return Err(ConnectionDenied::new(Refusal::Cut));
        }
        match peer {
            Some(peer) if site_key(&peer).is_none() => {
                Err(ConnectionDenied::new(Refusal::NoSite { peer }))
            }
            _ => Ok(()),
        }
    }

    /// A peer has proven its key.
    fn seat(
        &mut self,
        peer: PeerId,
        is_outbound: bool,
    ) -> Result<dummy::ConnectionHandler, ConnectionDenied> {
        self.admit(Some(peer))?;
        let site =
            site_key(&peer).ok_or_else(|| ConnectionDenied::new(Refusal::NoSite { peer }))?;
        match self.places.decide(&site, is_outbound, self.now_ms()) {
            Verdict::Admit => {}
            Verdict::InPlaceOf(other) => {
                self.close(other);
                self.places.closed(other);
            }
            Verdict::Refuse(full) => return Err(ConnectionDenied::new(full)),
        }
        Ok(dummy::ConnectionHandler)
    }
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.admit(None)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<dummy::ConnectionHandler, ConnectionDenied> {
        self.seat(peer, false)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.admit(peer).map(|()| Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<dummy::ConnectionHandler, ConnectionDenied> {
        self.seat(peer, true)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        match event {
            FromSwarm::ConnectionEstablished(opened) => {
                let Some(site) = site_key(&opened.peer_id) else {
                    return;
                };
                let now_ms = self.now_ms();
                self.peers.insert(opened.connection_id, opened.peer_id);
                self.places.opened(
                    opened.connection_id,
                    site,
                    opened.endpoint.is_dialer(),
                    now_ms,
                );
            }
            FromSwarm::ConnectionClosed(closed) => {
                self.peers.remove(&closed.connection_id);
                self.places.closed(closed.connection_id);
                if let Some(site) =
                    site_key(&closed.peer_id).filter(|_| closed.remaining_established == 0)
                {
                    self.places.left(&site);
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        match self.closing.pop_front() {
            Some((peer_id, connection)) => Poll::Ready(ToSwarm::CloseConnection {
                peer_id,
                connection: CloseConnection::One(connection),
            }),
            // What is to be closed is only noted while the swarm is being polled, or right before.
            None => Poll::Pending,
        }
    }
}
