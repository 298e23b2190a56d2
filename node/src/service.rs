//! The one loop of a running node: network events and time go into the replication core, its
//! effects come out into the network. Nothing is decided here.
//!
//! The swarm polls in a task of its own (`net`); this loop may wait for the disk without starving
//! it. Commands of people run on other threads against the same [`Site`]; the loop notices that the
//! store has grown and announces it.

mod asking;
mod failing;
mod join;
mod quiet;
mod recover;
mod replica;
mod status;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use tokio::sync::mpsc;
use uor_asl::disk::{DiskError, read_all, replace};
use uor_asl::state::ReadError as StateError;
use uor_asl::store::StoreError;
use uor_index_format::id::SiteId;

use self::asking::Start;
pub use self::join::{JoinError, Joined, join, join_unless};
pub use self::recover::{Asked, recover};
pub use self::replica::{ReplicaError, replica};
use self::status::Live;
pub use self::status::{NodeStatus, PeerStatus};
use crate::clock::wall_ms;
use crate::net::{
    self, CommandError, NetCommand, NetConfig, NetError, NetEvent, NetHandle, ResponseToken,
};
use crate::replication::{Effect, FederationLogTable, Notice, Provoked, Replicator, table};
use crate::site::{FileError, Hold, Redeemed, Site, TABLE_FILE};

/// How often the core is told that time has passed.
const TICK: Duration = Duration::from_millis(100);
/// The federation log table is written at most once in so many milliseconds.
const TABLE_MS: u64 = 1_000;
/// How long shutting down may take before the rest is left to the operating system.
const SHUTDOWN: Duration = Duration::from_secs(3);
/// The longest answer to a ticket or a credential, in bytes.
const ANSWER_LEN_MAX: u32 = 4096;
/// Commands that may wait for the loop.
const COMMANDS_MAX: usize = 16;

/// What a node is told when it starts.
#[derive(Debug, Clone, Default)]
pub struct ServiceConfig {
    /// Multiaddresses to listen on; if there are none, every interface, at the port of the last
    /// time if it is free.
    pub listen: Vec<String>,
    /// Multiaddresses of peers, each ending in `/p2p/PEER`, beside those that are remembered.
    pub peers: Vec<String>,
    /// Whether SIGINT and SIGTERM end the node.
    pub ends_on_signals: bool,
}

/// What a running node reports.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServiceEvent {
    /// It listens here; the address ends in `/p2p/PEER`.
    Listening(String),
    /// It is ready: everything after this point is replicated.
    Ready,
    /// Something worth a line.
    Notice(String),
}

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

/// Holds a running node from another thread.
#[derive(Debug, Clone)]
pub struct ServiceHandle {
    commands: mpsc::Sender<ServiceCommand>,
    live: Arc<Mutex<Live>>,
}

/// The node's side of a [`ServiceHandle`].
#[derive(Debug)]
pub struct ServiceControl {
    commands: mpsc::Receiver<ServiceCommand>,
    live: Arc<Mutex<Live>>,
}

#[derive(Debug, Clone, Copy)]
enum ServiceCommand {
    Cut(bool),
    Stop,
}

/// Both ends of the handle of a node that is about to run.
pub fn handle() -> (ServiceHandle, ServiceControl) {
    let (sender, receiver) = mpsc::channel(COMMANDS_MAX);
    let live = Arc::new(Mutex::new(Live::default()));
    (
        ServiceHandle {
            commands: sender,
            live: live.clone(),
        },
        ServiceControl {
            commands: receiver,
            live,
        },
    )
}

impl ServiceHandle {
    /// Ends the node in good order.
    pub fn stop(&self) {
        // A node that has ended already needs no telling.
        let _ = self.commands.blocking_send(ServiceCommand::Stop);
    }

    /// Cuts the node off: every connection is closed and every new one refused, both ways, until it
    /// is called with `false`.
    pub fn cut(&self, is_cut: bool) {
        let _ = self.commands.blocking_send(ServiceCommand::Cut(is_cut));
    }

    /// The addresses that `site`, whose node this is, listens on, and its peers, as of the last
    /// tick.
    ///
    /// # Errors
    /// [`StateError`] if the state cannot be read.
    pub fn status(&self, site: &Site) -> Result<NodeStatus, StateError> {
        let live = self
            .live
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        NodeStatus::of(site, &live)
    }
}

/// Runs the node of `site` until it is stopped.
///
/// # Errors
/// [`ServiceError`], also when the store fails while it runs.
pub fn run(
    site: &Arc<Site>,
    config: &ServiceConfig,
    control: ServiceControl,
    on_event: &mut dyn FnMut(ServiceEvent),
) -> Result<(), ServiceError> {
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        let service = Service::start(site.clone(), config, control)?;
        service.run(config.ends_on_signals, on_event).await
    });
    runtime.shutdown_timeout(SHUTDOWN);
    result
}

/// Two threads: one polls the swarm while the other runs the loop.
fn runtime() -> Result<tokio::runtime::Runtime, ServiceError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(ServiceError::Runtime)
}

struct Service {
    site: Arc<Site>,
    core: Replicator,
    net: NetHandle,
    events: mpsc::Receiver<NetEvent>,
    control: ServiceControl,
    started: tokio::time::Instant,
    listening: BTreeSet<String>,
    /// How many addresses there were at the last tick: once none is added, the node is ready.
    listening_last: usize,
    is_ready: bool,
    table_saved: FederationLogTable,
    /// When it may be written next.
    table_due_ms: u64,
    asking: Start,
    failing: failing::Failing,
    quiet: quiet::Quiet,
}

impl Service {
    fn start(
        site: Arc<Site>,
        config: &ServiceConfig,
        control: ServiceControl,
    ) -> Result<Self, ServiceError> {
        let table_saved = read_table(&site);
        let mut core = Replicator::new(site.site_id(), table_saved.clone());
        for address in &config.peers {
            let (address, peer) = parse_peer(address)?;
            core.add_address(address.to_string(), Some(peer));
        }
        for peer in site.peers()? {
            let site_id = peer.site_id.parse().ok();
            peer.addresses
                .into_iter()
                .for_each(|address| core.add_address(address, site_id));
        }
        let (net, events) = open_net(&site, &config.listen)?;
        let (started, listening) = (tokio::time::Instant::now(), BTreeSet::new());
        let asking = Start::new(&site, &config.peers)?;
        Ok(Self {
            site,
            core,
            net,
            events,
            control,
            started,
            listening,
            listening_last: 0,
            is_ready: false,
            table_saved,
            table_due_ms: 0,
            asking,
            failing: failing::Failing::default(),
            quiet: quiet::Quiet::default(),
        })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn run(
        mut self,
        ends_on_signals: bool,
        on_event: &mut dyn FnMut(ServiceEvent),
    ) -> Result<(), ServiceError> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut signals = Signals::new(ends_on_signals).map_err(ServiceError::Runtime)?;
        let result = loop {
            let step = tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.take_event(event, on_event),
                    None => break Err(ServiceError::NetStopped),
                },
                _ = ticks.tick() => self.tick(on_event),
                command = self.control.commands.recv() => match command {
                    Some(ServiceCommand::Cut(is_cut)) => {
                        let sent = self.send(NetCommand::Cut(is_cut)).await;
                        if !is_cut {
                            self.core.dial_all_again(self.now_ms());
                        }
                        sent
                    }
                    Some(ServiceCommand::Stop) | None => break Ok(()),
                },
                () = signals.arrive() => break Ok(()),
            };
            if let Err(error) = step
                && let Err(error) = self.go_on_after(error, on_event).await
            {
                break Err(error);
            }
            if let Err(error) = self.carry_out(on_event).await {
                break Err(error);
            }
        };
        self.site.end_asking();
        let saved = self.save_table();
        shut_down(&self.net, &mut self.events).await;
        result.and(saved)
    }

    fn take_event(
        &mut self,
        event: NetEvent,
        on_event: &mut dyn FnMut(ServiceEvent),
    ) -> Result<(), ServiceError> {
        let (store, now_ms) = (self.site.store().clone(), self.now_ms());
        match event {
            NetEvent::Listening(address) => {
                let address = address.to_string();
                self.core.add_own_address(address.clone());
                self.listening.insert(address.clone());
                on_event(ServiceEvent::Listening(address));
                let listening: Vec<String> = self.listening.iter().cloned().collect();
                self.site.set_addresses(&listening)?;
            }
            NetEvent::Connected {
                peer,
                address,
                outbound,
            } => {
                let peer = SiteId::from_bytes(peer);
                if outbound {
                    self.site.remember_peer(peer, &with_peer(address, &peer))?;
                }
                self.core.handle_connected(&store, peer, now_ms)?;
            }
            NetEvent::Disconnected { peer } => self
                .core
                .handle_disconnected(SiteId::from_bytes(peer), now_ms),
            NetEvent::Announced { from, body } => {
                self.core
                    .handle_announcement(&store, SiteId::from_bytes(from), &body, now_ms)?;
            }
            NetEvent::Request { peer, token, body } => {
                self.core.handle_request(
                    &store,
                    SiteId::from_bytes(peer),
                    token.0,
                    &body,
                    now_ms,
                )?;
            }
            NetEvent::Response { id, body, .. } => {
                self.core.handle_response(&store, id, &body, now_ms)?
            }
            NetEvent::RequestFailed { id, .. } => {
                self.core.handle_request_failed(&store, id, now_ms)?
            }
            NetEvent::ListenFailed { reason } => {
                on_event(ServiceEvent::Notice(format!(
                    "stopped listening on an address: {reason}"
                )));
            }
            NetEvent::DialFailed { address, peer, .. } => {
                // The core tries again by itself; who asks for this site's own log does not wait
                // for that.
                self.asking
                    .failed(address.as_ref(), peer.map(SiteId::from_bytes));
                address
                    .iter()
                    .for_each(|address| self.core.handle_dial_failed(&address.to_string()));
            }
            NetEvent::Stopped => return Err(ServiceError::NetStopped),
            // The core finds out by itself.
            _ => {}
        }
        Ok(())
    }

    fn tick(&mut self, on_event: &mut dyn FnMut(ServiceEvent)) -> Result<(), ServiceError> {
        let (store, now_ms) = (self.site.store().clone(), self.now_ms());
        self.core.set_wall_ms(wall_ms(), now_ms);
        self.reopen(on_event);
        self.core.handle_tick(&store, now_ms)?;
        self.quiet
            .summaries(now_ms)
            .into_iter()
            .for_each(|line| on_event(ServiceEvent::Notice(line)));
        for line in self.asking.look(&self.site, &self.core, now_ms)? {
            on_event(ServiceEvent::Notice(line));
        }
        for effect in self.asking.take_tickets() {
            if let Effect::Redeem {
                token,
                site,
                secret,
                name,
            } = effect
            {
                self.redeem(token, site, &secret, &name, on_event);
            }
        }
        let settled = self.listening.len() == self.listening_last;
        self.listening_last = self.listening.len();
        if !self.is_ready && settled && !self.listening.is_empty() {
            self.is_ready = true;
            on_event(ServiceEvent::Ready);
        }
        if now_ms >= self.table_due_ms {
            self.save_table()?;
        }
        self.control
            .live
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(&self.core, &self.listening);
        Ok(())
    }

    /// Writes the federation log table if it has changed. Peers say when that is, so it is not
    /// written with every change; and what is lost of it they tell again, so a full disk stops
    /// nothing.
    fn save_table(&mut self) -> Result<(), ServiceError> {
        if *self.core.federation_log_table() == self.table_saved {
            return Ok(());
        }
        self.table_due_ms = self.now_ms() + TABLE_MS;
        let table = self.core.federation_log_table().clone();
        match replace(
            self.site.store().disk().as_ref(),
            TABLE_FILE,
            table::to_text(&table).as_bytes(),
        ) {
            Ok(()) => self.table_saved = table,
            Err(error) if error.source.kind() == std::io::ErrorKind::StorageFull => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    async fn carry_out(
        &mut self,
        on_event: &mut dyn FnMut(ServiceEvent),
    ) -> Result<(), ServiceError> {
        while let Some(effect) = self.core.poll_effect() {
            match effect {
                ticket @ Effect::Redeem { .. } if self.asking.defers() => self.asking.defer(ticket),
                Effect::Redeem {
                    token,
                    site,
                    secret,
                    name,
                } => self.redeem(token, site, &secret, &name, on_event),
                Effect::Notice(notice) => {
                    if matches!(notice, Notice::OwnCommits { .. }) {
                        self.hold(on_event);
                    }
                    self.tell(notice.provoked(), &notice.to_string(), on_event);
                }
                Effect::Dial { address } => match address.parse() {
                    Ok(address) => self.send(NetCommand::Dial(address)).await?,
                    Err(_) => {
                        self.core.handle_dial_failed(&address);
                        let kind = Provoked {
                            kind: "addresses that cannot be read",
                            by: None,
                        };
                        self.tell(
                            Some(kind),
                            "an address that cannot be read was left out",
                            on_event,
                        );
                    }
                },
                effect => {
                    if let Some(command) = command_of(effect) {
                        self.send(command).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Others had commits of this site's own that it had not, though it had asked: from now on it
    /// does not write.
    fn hold(&self, on_event: &mut dyn FnMut(ServiceEvent)) {
        if self.asking.is_done() && self.site.hold().is_none() {
            self.site.hold_as(Hold::Elsewhere);
            on_event(ServiceEvent::Notice(format!(
                "{}: this site does not write any more; see to it that it runs nowhere else, and start the node again",
                Hold::Elsewhere
            )));
        }
    }

    /// Tells of something, unless it is of a kind that others can cause at will and that was told
    /// of enough.
    fn tell(&mut self, kind: Option<Provoked>, line: &str, on_event: &mut dyn FnMut(ServiceEvent)) {
        let now_ms = self.now_ms();
        if kind.is_none_or(|kind| self.quiet.admit(kind, now_ms)) {
            on_event(ServiceEvent::Notice(line.to_owned()));
        }
    }

    /// The answer to a ticket. What went wrong is told here, not to the stranger.
    fn redeem(
        &mut self,
        token: u64,
        site: SiteId,
        secret: &[u8; 16],
        name: &str,
        on_event: &mut dyn FnMut(ServiceEvent),
    ) {
        let admitted = match self.site.redeem(secret, site, name) {
            Ok(Redeemed::Admitted(committed)) => {
                on_event(ServiceEvent::Notice(format!(
                    "admitted site {name} ({})",
                    site.short()
                )));
                Some((committed.domain, committed.hash))
            }
            Ok(Redeemed::AlreadyMember) => {
                let head = self
                    .site
                    .head()
                    .frontier
                    .get(&self.site.site_id())
                    .map(|head| head.hash);
                head.map(|hash| (self.site.site_id(), hash))
            }
            Err(error) => {
                let line = format!("refused to admit {}: {error}", site.short());
                self.tell(
                    Some(Provoked {
                        kind: "tickets refused",
                        by: None,
                    }),
                    &line,
                    on_event,
                );
                None
            }
        };
        // The network hears of a new member before the member hears of it, and goes on asking.
        self.core
            .tell_whom_to_trust(self.site.store(), self.now_ms());
        self.core.handle_redeemed(token, admitted);
    }

    async fn send(&mut self, command: NetCommand) -> Result<(), ServiceError> {
        match self.net.send(command).await {
            Ok(()) => Ok(()),
            Err(CommandError::Stopped) => Err(ServiceError::NetStopped),
            // Frames are bounded where they are made; what is refused here is asked again, or was
            // only an announcement.
            Err(_) => Ok(()),
        }
    }
}

/// Closes the network in good order.
async fn shut_down(net: &NetHandle, events: &mut mpsc::Receiver<NetEvent>) {
    if net.send(NetCommand::Shutdown).await.is_ok() {
        let stopped = async {
            while events
                .recv()
                .await
                .is_some_and(|event| event != NetEvent::Stopped)
            {}
        };
        // Peers notice by themselves if this takes too long.
        let _ = tokio::time::timeout(SHUTDOWN, stopped).await;
    }
}

/// The network's command for an effect that is the network's alone.
fn command_of(effect: Effect) -> Option<NetCommand> {
    Some(match effect {
        Effect::Request {
            peer,
            id,
            frame,
            answer_len_max,
        } => NetCommand::Request {
            peer: *peer.as_bytes(),
            id,
            body: frame,
            answer_len_max,
        },
        Effect::Respond { token, frame } => NetCommand::Respond {
            token: ResponseToken(token),
            body: frame,
        },
        Effect::Announce { frame } => NetCommand::Announce(frame),
        Effect::Trust(members) => {
            NetCommand::Trust(members.iter().map(|site| *site.as_bytes()).collect())
        }
        Effect::LetStay { peer, for_ms } => NetCommand::LetStay {
            peer: *peer.as_bytes(),
            for_ms,
        },
        Effect::Disconnect { peer } => NetCommand::Disconnect(*peer.as_bytes()),
        Effect::Dial { .. } | Effect::Redeem { .. } | Effect::Notice(_) => return None,
    })
}

/// A table that is absent or unreadable is an empty one: talking to the peers fills it again.
fn read_table(site: &Site) -> FederationLogTable {
    let bytes = read_all(site.store().disk().as_ref(), TABLE_FILE).unwrap_or_default();
    table::from_text(&String::from_utf8_lossy(&bytes))
}

/// Opens the network on the given addresses; without any, on every interface. Where any free port
/// will do, that of the last time is tried first, so that peers find a node again that was
/// restarted.
fn open_net(
    site: &Site,
    listen: &[String],
) -> Result<(NetHandle, mpsc::Receiver<NetEvent>), ServiceError> {
    let mut config = NetConfig::new(site.key().seed());
    let wished: Vec<Multiaddr> = match listen {
        [] => on_every_interface(),
        listen => listen
            .iter()
            .map(|address| parse(address))
            .collect::<Result<_, _>>()?,
    };
    let last: Vec<Multiaddr> = site
        .addresses()?
        .iter()
        .filter_map(|address| address.parse().ok())
        .collect();
    config.listen = wished
        .iter()
        .map(|address| on_last_port(address, &last))
        .collect();
    if config.listen != wished
        && let Ok(opened) = net::spawn(config.clone())
    {
        return Ok(opened);
    }
    config.listen = wished;
    Ok(net::spawn(config)?)
}

/// TCP and QUIC on every interface, at any free port.
fn on_every_interface() -> Vec<Multiaddr> {
    let any = Multiaddr::empty().with(Protocol::Ip4(std::net::Ipv4Addr::UNSPECIFIED));
    vec![
        any.clone().with(Protocol::Tcp(0)),
        any.with(Protocol::Udp(0)).with(Protocol::QuicV1),
    ]
}

/// An address with port 0 at the port of the first of `last` that is of the same kind.
fn on_last_port(address: &Multiaddr, last: &[Multiaddr]) -> Multiaddr {
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

/// Opens the network without listening: for a site that only dials `peers`.
fn open_net_to_dial(
    seed: [u8; 32],
    peers: impl IntoIterator<Item = SiteId>,
) -> Result<(NetHandle, mpsc::Receiver<NetEvent>), ServiceError> {
    let mut config = NetConfig::new(seed);
    config
        .members
        .extend(peers.into_iter().map(|peer| *peer.as_bytes()));
    Ok(net::spawn(config)?)
}

fn parse(address: &str) -> Result<Multiaddr, ServiceError> {
    address.parse().map_err(|source| ServiceError::Address {
        address: address.to_owned(),
        source,
    })
}

/// An address and the site that is expected there.
fn parse_peer(address: &str) -> Result<(Multiaddr, SiteId), ServiceError> {
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

/// The site that is expected at a multiaddress, if it names one.
pub fn site_at(address: &str) -> Option<SiteId> {
    parse_peer(address).ok().map(|(_, site)| site)
}

fn with_peer(address: Multiaddr, peer: &SiteId) -> String {
    let names_peer = matches!(address.iter().last(), Some(Protocol::P2p(_)));
    let id = net::peer_id(peer.as_bytes());
    if names_peer {
        address.to_string()
    } else {
        address.with(Protocol::P2p(id)).to_string()
    }
}

/// SIGINT and SIGTERM, if they are to end the node.
pub(crate) struct Signals(Option<[tokio::signal::unix::Signal; 2]>);

impl Signals {
    pub(crate) fn new(are_wanted: bool) -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let signals = || {
            Ok([
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
            ])
        };
        are_wanted.then(signals).transpose().map(Self)
    }

    /// Comes back when one has arrived; never, if none is wanted.
    pub(crate) async fn arrive(&mut self) {
        match &mut self.0 {
            Some([interrupt, terminate]) => {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            }
            None => std::future::pending().await,
        }
    }
}
