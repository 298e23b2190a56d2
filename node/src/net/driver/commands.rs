//! From the owner to the swarm.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;

use libp2p::multiaddr::Protocol;
use libp2p::swarm::DialError;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};

use super::Driver;
use crate::net::codec::{Answer, Question};
use crate::net::command::{NetCommand, ResponseToken};
use crate::net::event::NetEvent;
use crate::net::key::{SiteKey, peer_id, site_key};
use crate::net::limits::REQUESTS_PER_PEER_MAX;

impl Driver {
    pub(super) fn obey(&mut self, command: NetCommand) {
        match command {
            NetCommand::Dial(address) => self.dial(address),
            NetCommand::Announce(body) => self.announce_to_all(&body),
            NetCommand::Trust(members) => self.trust(members),
            NetCommand::LetStay { peer, for_ms } => {
                self.swarm.behaviour_mut().gate.let_stay(peer, for_ms)
            }
            NetCommand::Request {
                peer,
                id,
                body,
                answer_len_max,
            } => {
                self.request(
                    peer,
                    id,
                    Question {
                        body,
                        answer_len_max,
                    },
                );
            }
            NetCommand::Respond { token, body } => self.respond(token, body),
            NetCommand::Disconnect(peer) => self.disconnect(peer_id(&peer)),
            NetCommand::Cut(cut) => self.cut(cut),
            NetCommand::Shutdown => {
                self.cut(true);
                self.stopping = true;
            }
        }
    }

    fn dial(&mut self, address: Multiaddr) {
        let peer = match address.iter().last() {
            Some(Protocol::P2p(peer)) => peer,
            _ => {
                let reason = "the address names no peer: it must end in /p2p/<peer id>".to_owned();
                return self.tell(NetEvent::DialFailed {
                    address: Some(address),
                    peer: None,
                    reason,
                });
            }
        };
        // A port of its own: a reused one may still be waiting out a connection that was closed a
        // moment ago.
        if self.dials.values().any(|dialled| *dialled == address) {
            return;
        }
        // A peer may be dialled at several addresses at once: one that is silent does not hide the
        // others.
        let options = DialOpts::peer_id(peer)
            .condition(PeerCondition::Disconnected)
            .addresses(vec![address.clone()])
            .allocate_new_port()
            .build();
        let connection = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => {
                self.dials.insert(connection, address);
            }
            Err(DialError::DialPeerConditionFalse(_)) => {}
            Err(error) => self.dial_failed(Some(address), Some(peer), &error),
        }
    }

    /// Announces to every member. Where an announcement is still under way, the newest follows it:
    /// what it announces includes the others.
    fn announce_to_all(&mut self, body: &[u8]) {
        let connected: Vec<SiteKey> = self.swarm.connected_peers().filter_map(site_key).collect();
        for peer in connected {
            if !self.swarm.behaviour().gate.is_member(&peer) {
                continue;
            }
            match self.announcing.entry(peer) {
                Entry::Occupied(mut announcing) => *announcing.get_mut() = Some(body.to_vec()),
                Entry::Vacant(announcing) => {
                    announcing.insert(None);
                    self.announce(&peer, body.to_vec());
                }
            }
        }
    }

    pub(super) fn announce(&mut self, peer: &SiteKey, body: Vec<u8>) {
        let announcement = Question {
            body,
            answer_len_max: 0,
        };
        self.swarm
            .behaviour_mut()
            .announcements
            .send_request(&peer_id(peer), announcement);
    }

    fn trust(&mut self, members: BTreeSet<SiteKey>) {
        self.asked.retain(|peer, _| !members.contains(peer));
        self.announced.retain(|peer, _| members.contains(peer));
        self.swarm.behaviour_mut().gate.trust(members);
    }

    fn request(&mut self, peer: SiteKey, id: u64, question: Question) {
        let remote = peer_id(&peer);
        // Without a connection, libp2p would dial on its own account.
        if !self.swarm.is_connected(&remote) {
            let reason = "the peer is not connected".to_owned();
            return self.tell(NetEvent::RequestFailed { id, peer, reason });
        }
        let behaviour = &mut self.swarm.behaviour_mut().requests;
        let waiting = self
            .requests
            .keys()
            .filter(|request| behaviour.is_pending_outbound(&remote, request))
            .count();
        if waiting >= REQUESTS_PER_PEER_MAX {
            let reason =
                format!("{waiting} requests to this peer are unanswered, the most there may be");
            return self.tell(NetEvent::RequestFailed { id, peer, reason });
        }
        let request = behaviour.send_request(&remote, question);
        self.requests.insert(request, id);
    }

    /// If the asker has gone, the owner has been told so, or is about to be.
    fn respond(&mut self, token: ResponseToken, body: Vec<u8>) {
        if let Some(channel) = self
            .inbound
            .get_mut(&token)
            .and_then(|inbound| inbound.channel.take())
        {
            self.desk.answered(token, body.len());
            let _ = self
                .swarm
                .behaviour_mut()
                .requests
                .send_response(channel, Answer { body, held: None });
        }
    }

    fn cut(&mut self, cut: bool) {
        self.swarm.behaviour_mut().gate.cut(cut);
        if cut {
            let connected: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
            for peer in connected {
                self.disconnect(peer);
            }
        }
    }

    /// A peer that is not connected is as disconnected as asked for.
    pub(super) fn disconnect(&mut self, peer: PeerId) {
        let _ = self.swarm.disconnect_peer_id(peer);
    }
}
