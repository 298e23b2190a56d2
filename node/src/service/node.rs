//! The loop of a running node.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use libp2p::Multiaddr;
use tokio::sync::mpsc;
use uor_asl::disk::{read_all, replace};
use uor_index_format::id::SiteId;

use super::address::{parse_peer, with_peer};
use super::asking::Start;
use super::config::{ServiceConfig, ServiceEvent};
use super::error::ServiceError;
use super::failing::Failing;
use super::handle::{ServiceCommand, ServiceControl};
use super::network::{SHUTDOWN, TICK, command_of, open_net, runtime, shut_down};
use super::quiet::Quiet;
use super::signals::Signals;
use crate::clock::wall_ms;
use crate::net::{CommandError, NetCommand, NetEvent, NetHandle};
use crate::replication::{Effect, FederationLogTable, Notice, Provoked, Replicator, table};
use crate::site::{Hold, Redeemed, Site, TABLE_FILE};

/// How often the federation log table is written at most, in milliseconds.
const TABLE_MS: u64 = 1_000;

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

pub(super) struct Service {
    pub(super) site: Arc<Site>,
    pub(super) core: Replicator,
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
    pub(super) failing: Failing,
    quiet: Quiet,
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
            failing: Failing::default(),
            quiet: Quiet::default(),
        })
    }

    pub(super) fn now_ms(&self) -> u64 {
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
            NetEvent::Listening(address) => self.listens(&address, on_event)?,
            NetEvent::Connected {
                peer,
                address,
                outbound,
            } => {
                let peer = SiteId::from_bytes(peer);
                // First, so that the core knows of every connection there is: on a full disk the
                // address cannot be remembered.
                self.core.handle_connected(&store, peer, now_ms)?;
                if outbound {
                    self.site.remember_peer(peer, &with_peer(address, &peer))?;
                }
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
                self.dial_failed(address.as_ref(), peer.map(SiteId::from_bytes));
            }
            NetEvent::Stopped => return Err(ServiceError::NetStopped),
            // The core finds out by itself.
            _ => {}
        }
        Ok(())
    }

    fn listens(
        &mut self,
        address: &Multiaddr,
        on_event: &mut dyn FnMut(ServiceEvent),
    ) -> Result<(), ServiceError> {
        let address = address.to_string();
        self.core.add_own_address(address.clone());
        self.listening.insert(address.clone());
        on_event(ServiceEvent::Listening(address));
        let listening: Vec<String> = self.listening.iter().cloned().collect();
        Ok(self.site.set_addresses(&listening)?)
    }

    /// The core tries again by itself; who asks for this site's own log does not wait for that.
    fn dial_failed(&mut self, address: Option<&Multiaddr>, peer: Option<SiteId>) {
        self.asking.failed(address, peer);
        address
            .iter()
            .for_each(|address| self.core.handle_dial_failed(&address.to_string()));
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
                    self.report(notice.provoked(), &notice.to_string(), on_event);
                }
                Effect::Dial { address } => match address.parse() {
                    Ok(address) => self.send(NetCommand::Dial(address)).await?,
                    Err(_) => {
                        self.core.handle_dial_failed(&address);
                        let kind = Provoked {
                            kind: "addresses that cannot be read",
                            by: None,
                        };
                        self.report(
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

    /// Reports something, unless it is of a kind that others can cause at will and enough of it was
    /// reported.
    fn report(
        &mut self,
        kind: Option<Provoked>,
        line: &str,
        on_event: &mut dyn FnMut(ServiceEvent),
    ) {
        let now_ms = self.now_ms();
        if kind.is_none_or(|kind| self.quiet.admit(kind, now_ms)) {
            on_event(ServiceEvent::Notice(line.to_owned()));
        }
    }

    /// The answer to a ticket. What went wrong is reported here, not to the stranger.
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
                self.report(
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

    pub(super) async fn send(&mut self, command: NetCommand) -> Result<(), ServiceError> {
        match self.net.send(command).await {
            Ok(()) => Ok(()),
            Err(CommandError::Stopped) => Err(ServiceError::NetStopped),
            // Frames are bounded where they are made; what is refused here is asked again, or was
            // only an announcement.
            Err(_) => Ok(()),
        }
    }
}

/// A table that is absent or unreadable is an empty one: talking to the peers fills it again.
fn read_table(site: &Site) -> FederationLogTable {
    let bytes = read_all(site.store().disk().as_ref(), TABLE_FILE).unwrap_or_default();
    table::from_text(&String::from_utf8_lossy(&bytes))
}
