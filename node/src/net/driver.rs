//! The task that owns the swarm: it polls, matches and hands over.
//!
//! What it remembers is only what is under way: the address of a dial, the owner's name for a
//! request, the channel of a response. Each entry leaves with the event that ends it. `commands`
//! leads from the owner to the swarm, `events` from the swarm to the owner.

mod commands;
mod events;

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use libp2p::Multiaddr;
use libp2p::request_response::{self, InboundRequestId, OutboundRequestId, ResponseChannel};
use libp2p::swarm::{ConnectionId, Swarm};
use tokio::sync::mpsc;

use super::behaviour::Behaviour;
use super::codec::{Answer, Question};
use super::command::{NetCommand, ResponseToken};
use super::desk::Desk;
use super::event::NetEvent;
use super::key::SiteKey;

/// Events that commands may cause while the owner takes none; then commands wait too.
const OUTBOX_MAX: usize = 1024;

/// How long a shutdown waits for connections to close and for the owner to take what is left.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// How often connections are looked through for those whose time is over.
const SWEEP: Duration = Duration::from_secs(1);

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
