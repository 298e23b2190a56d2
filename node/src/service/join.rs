//! Joining: a new site shows its ticket to the member that gave it, is admitted by a commit, and
//! fetches the log.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use uor_asl::disk::Mode;
use uor_index_format::id::{FederationId, SiteId};
use uor_index_format::ticket::Ticket;
use uor_index_format::wire::{Refusal, Request, Response};

use super::address::{parse_peer, with_peer};
use super::error::ServiceError;
use super::network::{
    ANSWER_LEN_MAX, SHUTDOWN, TICK, command_of, open_net_to_dial, runtime, shut_down,
};
use crate::cancel::{Cancel, Cancelled};
use crate::net::{NetCommand, NetEvent, NetHandle};
use crate::replication::{Effect, FederationLogTable, Replicator};
use crate::site::{FileError, InitError, OpenError, Site};

/// How long joining may take in all.
const JOIN: Duration = Duration::from_secs(60);
/// How often a ticket is shown to a site that hangs up, which may have no place for a stranger just
/// then.
const TRIES_MAX: usize = 8;
/// How long to wait in between.
const PAUSE: Duration = Duration::from_millis(700);
/// The id of the one question that shows the ticket; the core counts its own from one.
const JOIN_REQUEST: u64 = 0;

/// A site that has become a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The new member.
    pub site_id: SiteId,
    /// Its federation.
    pub federation_id: FederationId,
    /// Its name.
    pub name: String,
    /// How many commits it has fetched.
    pub commits: u64,
}

/// Why a site did not join. It is what it was before, unless it had shown its ticket and got no
/// clear refusal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The data directory could not be prepared.
    #[error(transparent)]
    Init(#[from] InitError),
    /// The data directory could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A small file of the site could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The ticket names no address, and none was given.
    #[error("the ticket names no address, and none was given")]
    NoAddress,
    /// An address is another site's.
    #[error(
        "`{address}` is not an address of the site that gave the ticket: name one that ends in its /p2p/PEER"
    )]
    OtherSite {
        /// The address.
        address: String,
    },
    /// Nobody could be reached.
    #[error("could not reach the site that gave the ticket: {reason}")]
    Unreachable {
        /// What the last attempt said.
        reason: String,
    },
    /// The ticket was refused.
    #[error("the site that gave the ticket refuses{}", of_ticket(.0))]
    Refused(#[source] Refusal),
    /// The answer made no sense.
    #[error("the site that gave the ticket answered something else")]
    Answer,
    /// It took too long. If the admission was written meanwhile, the same ticket or `uor node`
    /// completes what is missing.
    #[error("joining took longer than {} seconds", JOIN.as_secs())]
    TimedOut,
    /// It is not wanted any more.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The network or the store failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// What a refusal can mean to one that shows a ticket.
const fn of_ticket(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NotAdmitted => ": the ticket was used before, or is not one of those it gave",
        _ => "",
    }
}

/// Makes the site at `dir` a member of the ticket's federation.
///
/// # Errors
/// [`JoinError`]; the directory is what it was before, unless the ticket was shown and not clearly
/// refused: then its key stays, since it may have been admitted.
pub fn join(
    dir: &Path,
    name: Option<&str>,
    ticket: &Ticket,
    peers: &[String],
) -> Result<Joined, JoinError> {
    join_unless(&Cancel::default(), dir, name, ticket, peers)
}

/// As [`join`], as long as it is wanted.
///
/// # Errors
/// [`JoinError::Cancelled`], which leaves the directory as any other error does; [`JoinError`].
pub fn join_unless(
    cancel: &Cancel,
    dir: &Path,
    name: Option<&str>,
    ticket: &Ticket,
    peers: &[String],
) -> Result<Joined, JoinError> {
    let addresses: Vec<String> = peers.iter().chain(&ticket.addresses).cloned().collect();
    if addresses.is_empty() {
        return Err(JoinError::NoAddress);
    }
    for address in &addresses {
        if parse_peer(address)?.1 != ticket.inviter {
            return Err(JoinError::OtherSite {
                address: address.clone(),
            });
        }
    }
    let initialised = Site::init_joining(dir, name, ticket)?;
    match admit(cancel, dir, ticket, &addresses, &initialised.name) {
        Ok(commits) => Ok(Joined {
            site_id: initialised.site_id,
            federation_id: ticket.federation,
            name: initialised.name,
            commits,
        }),
        Err((error, may_be_admitted)) => {
            // A site that may have been admitted keeps its key: the same ticket or `uor node`
            // completes what is missing. The first error is the one to tell.
            if !may_be_admitted {
                let _ = Site::join_abandoned(dir);
            }
            Err(error)
        }
    }
}

/// Gives the number of commits that were fetched; or what went wrong, and whether the site may have
/// been admitted.
fn admit(
    cancel: &Cancel,
    dir: &Path,
    ticket: &Ticket,
    addresses: &[String],
    name: &str,
) -> Result<u64, (JoinError, bool)> {
    let untouched = |error: JoinError| (error, false);
    let site = Arc::new(Site::open(dir, Mode::Write).map_err(|error| untouched(error.into()))?);
    let runtime = runtime().map_err(|error| untouched(error.into()))?;
    let result = runtime.block_on(async {
        let (net, events) =
            open_net_to_dial(site.key().seed(), [ticket.inviter]).map_err(|error| untouched(error.into()))?;
        let mut core = Replicator::new(site.site_id(), FederationLogTable::new());
        addresses.iter().for_each(|address| core.add_address(address.clone(), Some(ticket.inviter)));
        let mut joining = Joining {
            site: &site,
            ticket,
            name,
            net,
            events,
            core,
            reason: "no answer".to_owned(),
            tries_left: TRIES_MAX,
            is_asked: false,
            is_admitted: false,
        };
        let result = tokio::select! {
            result = tokio::time::timeout(JOIN, joining.run(addresses)) => result.unwrap_or(Err(JoinError::TimedOut)),
            cancelled = cancelled(cancel) => Err(cancelled.into()),
        };
        shut_down(&joining.net, &mut joining.events).await;
        result.map_err(|error| {
            let may_be_admitted = joining.is_asked && !matches!(error, JoinError::Refused(_));
            (error, may_be_admitted)
        })
    });
    runtime.shutdown_timeout(SHUTDOWN);
    result?;
    site.join_completed()
        .map_err(|error| (error.into(), true))?;
    let commits = site.store().view().commits_len();
    Ok(commits)
}

/// Comes back once it is not wanted any more.
async fn cancelled(cancel: &Cancel) -> Cancelled {
    loop {
        if let Err(cancelled) = cancel.check() {
            return cancelled;
        }
        tokio::time::sleep(TICK).await;
    }
}

struct Joining<'a> {
    site: &'a Arc<Site>,
    ticket: &'a Ticket,
    name: &'a str,
    net: NetHandle,
    events: mpsc::Receiver<NetEvent>,
    core: Replicator,
    /// Why the last dial failed.
    reason: String,
    /// How often the ticket may still be shown to a site that hangs up.
    tries_left: usize,
    /// Whether the ticket has been shown: from then on the site may have been admitted.
    is_asked: bool,
    is_admitted: bool,
}

impl Joining<'_> {
    async fn run(&mut self, addresses: &[String]) -> Result<(), JoinError> {
        let mut left = self.dial(addresses).await?;
        while !self.is_member() {
            let event = self.events.recv().await.ok_or(ServiceError::NetStopped)?;
            match event {
                NetEvent::RequestFailed {
                    id: JOIN_REQUEST,
                    reason,
                    ..
                } => {
                    self.tries_left -= 1;
                    if self.tries_left == 0 {
                        return Err(JoinError::Unreachable { reason });
                    }
                    self.send(NetCommand::Disconnect(*self.ticket.inviter.as_bytes()))
                        .await?;
                    tokio::time::sleep(PAUSE).await;
                    left = self.dial(addresses).await?;
                }
                NetEvent::DialFailed { reason, .. } if !self.is_admitted => {
                    self.reason = reason;
                    left -= 1;
                    if left == 0 {
                        return Err(JoinError::Unreachable {
                            reason: self.reason.clone(),
                        });
                    }
                }
                event => self.take(event).await?,
            }
            self.carry_out().await?;
        }
        Ok(())
    }

    /// Dials every address, and says how many there are.
    async fn dial(&self, addresses: &[String]) -> Result<usize, JoinError> {
        for address in addresses {
            let (address, _) = parse_peer(address)?;
            self.send(NetCommand::Dial(address)).await?;
        }
        Ok(addresses.len())
    }

    /// Everything has arrived once the site's own admission counts here.
    fn is_member(&self) -> bool {
        self.is_admitted
            && self
                .site
                .store()
                .view()
                .members()
                .contains(&self.site.site_id())
    }

    async fn take(&mut self, event: NetEvent) -> Result<(), JoinError> {
        let store = self.site.store().clone();
        match event {
            NetEvent::Connected { peer, address, .. }
                if SiteId::from_bytes(peer) == self.ticket.inviter =>
            {
                let inviter = SiteId::from_bytes(peer);
                self.site
                    .remember_peer(inviter, &with_peer(address, &inviter))?;
                let join = Request::Join {
                    federation: *self.ticket.federation.as_bytes(),
                    token: self.ticket.token,
                    name: self.name.to_owned(),
                };
                self.is_asked = true;
                let (body, answer_len_max) = (join.encode(), ANSWER_LEN_MAX);
                self.send(NetCommand::Request {
                    peer,
                    id: JOIN_REQUEST,
                    body,
                    answer_len_max,
                })
                .await?;
            }
            NetEvent::Response {
                id: JOIN_REQUEST,
                peer,
                body,
            } => match Response::decode(&body) {
                Ok(Response::Admitted { .. }) => {
                    self.is_admitted = true;
                    let inviter = SiteId::from_bytes(peer);
                    self.core
                        .handle_connected(&store, inviter, 0)
                        .map_err(ServiceError::from)?;
                }
                Ok(Response::Refused { reason }) => return Err(JoinError::Refused(reason)),
                _ => return Err(JoinError::Answer),
            },
            NetEvent::Response { id, body, .. } => {
                self.core
                    .handle_response(&store, id, &body, 0)
                    .map_err(ServiceError::from)?;
            }
            NetEvent::RequestFailed { reason, .. } => {
                return Err(JoinError::Unreachable { reason });
            }
            NetEvent::Disconnected { .. } if self.is_admitted => {
                return Err(JoinError::Unreachable {
                    reason: "the connection was closed".to_owned(),
                });
            }
            NetEvent::Stopped => return Err(ServiceError::NetStopped.into()),
            _ => {}
        }
        Ok(())
    }

    /// Only questions are carried out: a site that is joining answers nobody.
    async fn carry_out(&mut self) -> Result<(), JoinError> {
        while let Some(effect) = self.core.poll_effect() {
            if let effect @ Effect::Request { .. } = effect
                && let Some(command) = command_of(effect)
            {
                self.send(command).await?;
            }
        }
        Ok(())
    }

    async fn send(&self, command: NetCommand) -> Result<(), JoinError> {
        self.net
            .send(command)
            .await
            .map_err(|_| ServiceError::NetStopped)?;
        Ok(())
    }
}
