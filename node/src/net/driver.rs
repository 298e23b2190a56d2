//! The task that owns the swarm: it polls, matches and hands over.
//!
//! What it remembers is only what is under way: the address of a dial, the owner's name for a
//! request, the channel of a response. Each entry leaves with the event that ends it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use libp2p::core::ConnectedPoint;
use libp2p::multiaddr::Protocol;
use libp2p::request_response::{self, InboundRequestId, OutboundRequestId, ResponseChannel};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId, ping};
use tokio::sync::mpsc;

use super::behaviour::{Behaviour, BehaviourEvent};
use super::codec::{Answer, Question};
use super::desk::Desk;
use super::key::{SiteKey, peer_id, site_key};
use super::{ANNOUNCEMENT_LEN_MAX, NetCommand, NetEvent, REQUESTS_PER_PEER_MAX, ResponseToken};

/// Events that commands may cause while the owner takes none; then commands wait too.
const OUTBOX_MAX: usize = 1024;

/// How long a shutdown waits for connections to close and for the owner to take what is left.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// How often connections are looked through for those whose time is over.
const SWEEP: Duration = Duration::from_secs(1);

/// Questions a stranger may ask while it is connected: enough to show a ticket or a credential, and
/// be told to go.
const STRANGER_QUESTIONS_MAX: u32 = 8;

type RequestEvent = request_response::Event<Question, Answer>;

/// An inbound request that has not ended: its channel is there until the owner has answered.
struct Inbound {
    request: InboundRequestId,
    channel: Option<ResponseChannel<Answer>>,
}

/// The swarm and what is under way in it.
pub(super) struct Driver {
    swarm: Swarm<Behaviour>,
    outbox: VecDeque<NetEvent>,
    /// Answers in the outbox, and what they hold of the budget: the oldest first.
    held: VecDeque<Option<tokio::sync::OwnedSemaphorePermit>>,
    /// The last announcement of each member that has not been handed over.
    announced: BTreeMap<SiteKey, Vec<u8>>,
    /// Members to whom an announcement is under way, and what to announce next.
    announcing: BTreeMap<SiteKey, Option<Vec<u8>>>,
    desk: Desk,
    /// How much each stranger has asked.
    asked: BTreeMap<SiteKey, u32>,
    dials: BTreeMap<ConnectionId, Multiaddr>,
    requests: BTreeMap<OutboundRequestId, u64>,
    inbound: BTreeMap<ResponseToken, Inbound>,
    token_next: u64,
    stopping: bool,
}

impl Driver {
    pub(super) fn new(swarm: Swarm<Behaviour>) -> Self {
        Self {
            swarm,
            outbox: VecDeque::new(),
            held: VecDeque::new(),
            announced: BTreeMap::new(),
            announcing: BTreeMap::new(),
            desk: Desk::default(),
            asked: BTreeMap::new(),
            dials: BTreeMap::new(),
            requests: BTreeMap::new(),
            inbound: BTreeMap::new(),
            token_next: 0,
            stopping: false,
        }
    }

    /// Runs until told to stop, or until either of its owner's ends is dropped.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<NetCommand>,
        events: mpsc::Sender<NetEvent>,
    ) {
        let mut sweeps = tokio::time::interval(SWEEP);
        sweeps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.stopping {
            tokio::select! {
                permit = events.reserve(), if self.has_event() => self.hand_over(permit),
                command = commands.recv(), if self.outbox.len() < OUTBOX_MAX => {
                    self.obey(command.unwrap_or(NetCommand::Shutdown));
                }
                event = self.swarm.select_next_some(), if self.outbox.is_empty() => self.report(event),
                _ = sweeps.tick() => self.swarm.behaviour_mut().gate.sweep(),
                () = events.closed() => self.obey(NetCommand::Shutdown),
            }
        }
        commands.close();
        let mut deadline = pin!(tokio::time::sleep(SHUTDOWN_TIMEOUT));
        while self.swarm.network_info().num_peers() > 0 || !self.outbox.is_empty() {
            tokio::select! {
                permit = events.reserve(), if !self.outbox.is_empty() => self.hand_over(permit),
                event = self.swarm.select_next_some(), if self.outbox.is_empty() => self.report(event),
                () = &mut deadline => break,
            }
        }
        drop(self);
        // A full channel means that nobody is waiting for this event; its end says the same.
        let _ = events.try_send(NetEvent::Stopped);
    }

    /// Whether there is something for the owner. Announcements and questions wait where they are
    /// bounded, and do not keep the swarm from being polled; everything else does.
    fn has_event(&self) -> bool {
        !self.outbox.is_empty() || !self.announced.is_empty() || self.desk.has_next()
    }

    fn next_event(&mut self) -> Option<NetEvent> {
        if let Some(event) = self.outbox.pop_front() {
            if matches!(event, NetEvent::Response { .. }) {
                self.held.pop_front();
            }
            return Some(event);
        }
        if let Some((from, body)) = self.announced.pop_first() {
            return Some(NetEvent::Announced { from, body });
        }
        self.desk
            .next()
            .map(|(peer, token, body)| NetEvent::Request { peer, token, body })
    }

    /// Gives the owner the oldest event, or forgets all of them if there is no owner any more.
    fn hand_over(
        &mut self,
        permit: Result<mpsc::Permit<'_, NetEvent>, mpsc::error::SendError<()>>,
    ) {
        match permit {
            Ok(permit) => {
                if let Some(event) = self.next_event() {
                    permit.send(event);
                }
            }
            Err(_) => {
                self.outbox.clear();
                self.held.clear();
                self.announced.clear();
                self.desk = Desk::default();
            }
        }
    }

    fn tell(&mut self, event: NetEvent) {
        self.outbox.push_back(event);
    }
}

/// From the owner to the swarm.
impl Driver {
    fn obey(&mut self, command: NetCommand) {
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

    fn announce(&mut self, peer: &SiteKey, body: Vec<u8>) {
        let announcement = Question {
            body,
            answer_len_max: 0,
        };
        self.swarm
            .behaviour_mut()
            .announcements
            .send_request(&peer_id(peer), announcement);
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
    fn disconnect(&mut self, peer: PeerId) {
        let _ = self.swarm.disconnect_peer_id(peer);
    }
}

/// From the swarm to the owner.
impl Driver {
    fn report(&mut self, event: SwarmEvent<BehaviourEvent>) {
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

    fn dial_failed(&mut self, address: Option<Multiaddr>, peer: Option<PeerId>, error: &DialError) {
        let peer = peer.as_ref().and_then(site_key);
        self.tell(NetEvent::DialFailed {
            address,
            peer,
            reason: dial_reason(error),
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
                } => {
                    if let (Some(id), Some(peer)) =
                        (self.requests.remove(&request_id), site_key(&peer))
                    {
                        self.held.push_back(response.held);
                        self.tell(NetEvent::Response {
                            id,
                            peer,
                            body: response.body,
                        });
                    }
                }
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
}

/// Why no connection came of a dial, with what was expected and what was found.
fn dial_reason(error: &DialError) -> String {
    match error {
        DialError::LocalPeerId { .. } => "the address leads back to this site".to_owned(),
        DialError::NoAddresses => "the address is this site's own".to_owned(),
        DialError::WrongPeerId { obtained, .. } => {
            format!("another peer answers at this address: {obtained}")
        }
        DialError::Denied { cause } => chain(cause),
        DialError::Transport(attempts) => {
            let attempts = attempts
                .iter()
                .map(|(address, error)| format!("{address}: {}", chain(error)));
            attempts.collect::<Vec<_>>().join("; ")
        }
        other => chain(other),
    }
}

/// An error and its causes on one line. Some errors say nothing of their own, and some repeat their
/// cause.
fn chain(error: &dyn Error) -> String {
    let mut line = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        let text =
            text.trim_matches(|character: char| character == ':' || character.is_whitespace());
        if line.is_empty() {
            text.clone_into(&mut line);
        } else if !text.is_empty() && !line.ends_with(text) {
            line = format!("{line}: {text}");
        }
        next = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::chain;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Box<dyn std::error::Error>,
    }

    #[test]
    fn layers_that_say_nothing_leave_no_colons() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let said = refused.to_string();
        let inner = Layer {
            text: ": ",
            source: Box::new(refused),
        };
        let outer = Layer {
            text: "",
            source: Box::new(Layer {
                text: "",
                source: Box::new(inner),
            }),
        };
        assert_eq!(chain(&outer), said);
        let told = Layer {
            text: "could not dial",
            source: Box::new(outer),
        };
        assert_eq!(chain(&told), format!("could not dial: {said}"));
    }
}
