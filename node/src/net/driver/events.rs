//! From the swarm to the owner.

use libp2p::core::ConnectedPoint;
use libp2p::multiaddr::Protocol;
use libp2p::request_response::{self, InboundRequestId, OutboundRequestId, ResponseChannel};
use libp2p::swarm::{DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, ping};

use super::{Driver, Inbound, RequestEvent};
use crate::net::behaviour::BehaviourEvent;
use crate::net::codec::{Answer, Question};
use crate::net::command::ResponseToken;
use crate::net::event::NetEvent;
use crate::net::key::{SiteKey, site_key};
use crate::net::limits::ANNOUNCEMENT_LEN_MAX;
use crate::net::reason::{chain, dial_reason};

/// Questions a stranger may ask while it is connected: enough to show a ticket or a credential, and
/// be told to go.
const STRANGER_QUESTIONS_MAX: u32 = 8;

impl Driver {
    pub(super) fn report(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Announcements(event)) => {
                self.announcement_event(event)
            }
            SwarmEvent::Behaviour(BehaviourEvent::Requests(event)) => self.request_event(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => self.ping_event(&event),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                num_established,
                ..
            } => {
                self.dials.remove(&connection_id);
                if num_established.get() == 1 {
                    self.connected(peer_id, &endpoint);
                }
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                num_established: 0,
                ..
            } => {
                if let Some(peer) = site_key(&peer_id) {
                    self.asked.remove(&peer);
                    self.announced.remove(&peer);
                }
                self.tell_of(peer_id, |peer| NetEvent::Disconnected { peer });
            }
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                peer_id,
                error,
            } => {
                let address = self.dials.remove(&connection_id);
                self.dial_failed(address, peer_id, &error);
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                let peer = Protocol::P2p(*self.swarm.local_peer_id());
                self.tell(NetEvent::Listening(address.with(peer)));
            }
            SwarmEvent::ListenerClosed {
                reason: Err(error), ..
            }
            | SwarmEvent::ListenerError { error, .. } => {
                self.tell(NetEvent::ListenFailed {
                    reason: chain(&error),
                });
            }
            // Steps of what is reported when it ends, and refusals of connections nobody here asked
            // for.
            _ => {}
        }
    }

    /// Reports what a site did. The gate admits no other peers, but a message may be signed by one.
    fn tell_of(&mut self, peer: PeerId, event: impl FnOnce(SiteKey) -> NetEvent) {
        if let Some(site) = site_key(&peer) {
            self.tell(event(site));
        }
    }

    fn connected(&mut self, peer: PeerId, endpoint: &ConnectedPoint) {
        let address = endpoint.get_remote_address().clone();
        let outbound = endpoint.is_dialer();
        self.tell_of(peer, |peer| NetEvent::Connected {
            peer,
            address,
            outbound,
        });
    }

    fn announcement_event(&mut self, event: RequestEvent) {
        match event {
            RequestEvent::Message {
                peer,
                message:
                    request_response::Message::Request {
                        request, channel, ..
                    },
                ..
            } => {
                let Some(site) = site_key(&peer) else { return };
                // A stranger that announces something is not answered: the stream is closed.
                if self.swarm.behaviour().gate.is_member(&site)
                    && request.body.len() <= ANNOUNCEMENT_LEN_MAX
                {
                    let received = Answer {
                        body: Vec::new(),
                        held: None,
                    };
                    let _ = self
                        .swarm
                        .behaviour_mut()
                        .announcements
                        .send_response(channel, received);
                    self.announced.insert(site, request.body);
                }
            }
            RequestEvent::Message {
                peer,
                message: request_response::Message::Response { .. },
                ..
            }
            | RequestEvent::OutboundFailure { peer, .. } => self.announcement_ended(peer),
            // Announcements promise no delivery.
            RequestEvent::InboundFailure { .. } | RequestEvent::ResponseSent { .. } => {}
        }
    }

    /// A connection whose far end has fallen silent is given up; TCP by itself would believe in it
    /// for hours.
    fn ping_event(&mut self, event: &ping::Event) {
        if matches!(
            event.result,
            Err(ping::Failure::Timeout | ping::Failure::Other { .. })
        ) {
            self.swarm.close_connection(event.connection);
        }
    }

    fn request_event(&mut self, event: RequestEvent) {
        match event {
            RequestEvent::Message { peer, message, .. } => match message {
                request_response::Message::Request {
                    request_id,
                    request,
                    channel,
                } => {
                    self.question_came(peer, request_id, request, channel);
                }
                request_response::Message::Response {
                    request_id,
                    response,
                } => self.answer_came(peer, request_id, response),
            },
            RequestEvent::OutboundFailure {
                peer,
                request_id,
                error,
                ..
            } => {
                if let Some(id) = self.requests.remove(&request_id) {
                    self.tell_of(peer, |peer| NetEvent::RequestFailed {
                        id,
                        peer,
                        reason: chain(&error),
                    });
                }
            }
            RequestEvent::InboundFailure {
                peer,
                request_id,
                error,
                ..
            } => {
                if let Some(token) = self
                    .forget_inbound(request_id)
                    .filter(|token| self.desk.ended(*token))
                {
                    self.tell_of(peer, |peer| NetEvent::RespondFailed {
                        peer,
                        token,
                        reason: chain(&error),
                    });
                }
            }
            RequestEvent::ResponseSent { request_id, .. } => {
                if let Some(token) = self.forget_inbound(request_id) {
                    self.desk.ended(token);
                }
            }
        }
    }

    fn answer_came(&mut self, peer: PeerId, request: OutboundRequestId, answer: Answer) {
        if let (Some(id), Some(peer)) = (self.requests.remove(&request), site_key(&peer)) {
            self.held.push_back(answer.held);
            self.tell(NetEvent::Response {
                id,
                peer,
                body: answer.body,
            });
        }
    }

    /// A question waits for its turn. One too many is not answered; a stranger that asks on and on
    /// is shown the door.
    fn question_came(
        &mut self,
        peer: PeerId,
        request: InboundRequestId,
        question: Question,
        channel: ResponseChannel<Answer>,
    ) {
        let Some(site) = site_key(&peer) else { return };
        if self.swarm.behaviour().gate.is_stranger(&site) {
            let asked = self.asked.entry(site).or_default();
            *asked += 1;
            if *asked > STRANGER_QUESTIONS_MAX {
                return self.disconnect(peer);
            }
        }
        let token = ResponseToken(self.token_next);
        self.token_next += 1;
        if self.desk.arrive(site, token, question.body) {
            self.inbound.insert(
                token,
                Inbound {
                    request,
                    channel: Some(channel),
                },
            );
        }
    }

    /// The few inbound requests under way are searched: libp2p names them by an id that nobody else
    /// can make.
    fn forget_inbound(&mut self, request: InboundRequestId) -> Option<ResponseToken> {
        let token = self
            .inbound
            .iter()
            .find(|(_, inbound)| inbound.request == request)
            .map(|(token, _)| *token)?;
        self.inbound.remove(&token);
        Some(token)
    }

    pub(super) fn dial_failed(
        &mut self,
        address: Option<Multiaddr>,
        peer: Option<PeerId>,
        error: &DialError,
    ) {
        let peer = peer.as_ref().and_then(site_key);
        self.tell(NetEvent::DialFailed {
            address,
            peer,
            reason: dial_reason(error),
        });
    }

    /// An announcement was received, or was not: either way the next one may follow.
    fn announcement_ended(&mut self, peer: PeerId) {
        let Some(site) = site_key(&peer) else { return };
        match self.announcing.remove(&site).flatten() {
            Some(next) if self.swarm.is_connected(&peer) => {
                self.announcing.insert(site, None);
                self.announce(&site, next);
            }
            _ => {}
        }
    }
}
