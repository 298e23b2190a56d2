//! Recovery over the network: a site that has lost something, or is a copy, asks the others for its
//! own log and payloads. Its commits come back over the delta protocol like anyone's, and are
//! validated like anyone's.

use std::collections::BTreeSet;

use tokio::sync::mpsc;
use uor_index_format::id::SiteId;

use super::address::with_peer;
use super::asking::{Asking, known};
use super::error::ServiceError;
use super::network::{SHUTDOWN, TICK, command_of, open_net_to_dial, runtime, shut_down};
use crate::net::{CommandError, NetCommand, NetEvent, NetHandle};
use crate::replication::{Effect, FederationLogTable, Replicator};
use crate::site::Site;

/// How long those who are known may take to answer at all, in milliseconds.
const RECOVERY_ANSWER_MS_MAX: u64 = 30_000;
/// How long nothing may come before recovery goes on without it, in milliseconds.
const SILENCE_MS_MAX: u64 = 60_000;

/// Who was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Sites that have given what they have of this site's own log.
    pub heard: BTreeSet<SiteId>,
    /// Sites that may have some of it, and did not answer: members, and whoever has a known
    /// address.
    pub silent: BTreeSet<SiteId>,
    /// The number of the last commit of this site that anyone says to have, and no longer gives.
    pub claimed: u64,
}

impl Asked {
    /// Whether others may still hold commits of this site that are not here, as far as those tell
    /// who were asked.
    pub fn is_answered(&self, commits_here: u64) -> bool {
        !self.heard.is_empty() && self.claimed <= commits_here
    }
}

/// Asks every known site, and those at the addresses `peers`, for this site's own log, and waits
/// for it and for payloads, as long as some come. `on_progress` gets how many own commits are
/// here, and how many payloads are missing.
///
/// # Errors
/// [`ServiceError`].
pub fn recover(
    site: &Site,
    peers: &[String],
    on_progress: &mut dyn FnMut(u64, u64),
) -> Result<Asked, ServiceError> {
    let addresses = known(site, peers)?;
    let mut core = Replicator::new(site.site_id(), FederationLogTable::new());
    addresses
        .iter()
        .for_each(|(id, address)| core.add_address(address.clone(), Some(*id)));
    let mut asking = Asking::new(
        addresses.iter().cloned(),
        site.site_id(),
        RECOVERY_ANSWER_MS_MAX,
    );
    if !asking.is_empty() {
        let runtime = runtime()?;
        let result = runtime.block_on(async {
            let (net, events) =
                open_net_to_dial(site.key().seed(), addresses.iter().map(|(site, _)| *site))?;
            let mut recovery = Recovery {
                site,
                net,
                events,
                core: &mut core,
                asking: &mut asking,
            };
            let result = recovery.run(on_progress).await;
            shut_down(&recovery.net, &mut recovery.events).await;
            result
        });
        runtime.shutdown_timeout(SHUTDOWN);
        result?;
    }
    let heard: BTreeSet<SiteId> = core.heard().keys().copied().collect();
    let members = site.store().view().members().clone();
    let others = members
        .into_iter()
        .chain(asking.silent(&core))
        .filter(|other| *other != site.site_id());
    let silent = others.filter(|other| !heard.contains(other)).collect();
    Ok(Asked {
        silent,
        claimed: core.heard().values().copied().max().unwrap_or_default(),
        heard,
    })
}

struct Recovery<'a> {
    site: &'a Site,
    net: NetHandle,
    events: mpsc::Receiver<NetEvent>,
    core: &'a mut Replicator,
    asking: &'a mut Asking,
}

impl Recovery<'_> {
    /// Goes on until everyone has answered who can, and as long as payloads come.
    async fn run(&mut self, on_progress: &mut dyn FnMut(u64, u64)) -> Result<(), ServiceError> {
        let started = tokio::time::Instant::now();
        let mut ticks = tokio::time::interval(TICK);
        let (mut last, mut changed_ms) = (self.progress(), 0);
        loop {
            let now_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            let is_tick = tokio::select! {
                event = self.events.recv() => {
                    self.take(event.ok_or(ServiceError::NetStopped)?, now_ms)?;
                    false
                }
                _ = ticks.tick() => {
                    self.core.handle_tick(self.site.store(), now_ms)?;
                    true
                }
            };
            // Where nothing is asked after a tick has handed out all there was to ask, nobody has
            // more to give.
            let is_idle = is_tick && self.core.is_waiting_for_nothing();
            self.carry_out().await?;
            let progress = self.progress();
            let (own_commits, missing_payloads) = progress;
            on_progress(own_commits, missing_payloads);
            if progress != last {
                (last, changed_ms) = (progress, now_ms);
            }
            let is_silent = now_ms.saturating_sub(changed_ms) > SILENCE_MS_MAX;
            let is_complete = missing_payloads == 0 || is_idle || is_silent;
            if self.asking.is_over(self.core, now_ms) && is_complete {
                return Ok(());
            }
        }
    }

    /// How many own commits are here, and how many payloads are missing.
    fn progress(&self) -> (u64, u64) {
        let view = self.site.store().view();
        let own = view
            .head()
            .frontier
            .get(&self.site.site_id())
            .map_or(0, |head| head.number);
        (own, view.wanted().len() as u64)
    }

    fn take(&mut self, event: NetEvent, now_ms: u64) -> Result<(), ServiceError> {
        let store = self.site.store();
        match event {
            NetEvent::Connected {
                peer,
                address,
                outbound,
            } => {
                let peer = SiteId::from_bytes(peer);
                if outbound {
                    self.site.remember_peer(peer, &with_peer(address, &peer))?;
                }
                self.core.handle_connected(store, peer, now_ms)?;
            }
            NetEvent::DialFailed { address, peer, .. } => {
                self.asking
                    .failed(address.as_ref(), peer.map(SiteId::from_bytes));
                address
                    .iter()
                    .for_each(|address| self.core.handle_dial_failed(&address.to_string()));
            }
            NetEvent::Disconnected { peer } => self
                .core
                .handle_disconnected(SiteId::from_bytes(peer), now_ms),
            NetEvent::Response { id, body, .. } => {
                self.core.handle_response(store, id, &body, now_ms)?
            }
            NetEvent::RequestFailed { id, .. } => {
                self.core.handle_request_failed(store, id, now_ms)?
            }
            NetEvent::Stopped => return Err(ServiceError::NetStopped),
            _ => {}
        }
        Ok(())
    }

    /// Only questions and dials are carried out: a site that recovers answers nobody, as it does
    /// not know yet what it is.
    async fn carry_out(&mut self) -> Result<(), ServiceError> {
        while let Some(effect) = self.core.poll_effect() {
            let command = match effect {
                Effect::Dial { address } => match address.parse() {
                    Ok(parsed) => Some(NetCommand::Dial(parsed)),
                    Err(_) => {
                        self.core.handle_dial_failed(&address);
                        None
                    }
                },
                effect
                @ (Effect::Request { .. } | Effect::Disconnect { .. } | Effect::Trust(_)) => {
                    command_of(effect)
                }
                _ => None,
            };
            // What is refused here is asked again.
            if let Some(command) = command
                && let Err(CommandError::Stopped) = self.net.send(command).await
            {
                return Err(ServiceError::NetStopped);
            }
        }
        Ok(())
    }
}
