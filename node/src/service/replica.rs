//! A replica for an auditor: everything a running node holds, pulled into a store of its own.
//!
//! The auditor has a key of its own and shows a member's word that it may read. It is not listened
//! to, writes nothing at the node, and validates every commit itself, as a site would.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use uor_asl::disk::{Disk, Mode};
use uor_asl::store::{Store, StoreError};
use uor_index_format::id::{FederationId, SiteId};
use uor_index_format::key::SiteKey;
use uor_index_format::wire::{Refusal, Request, Response};

use super::address::parse_peer;
use super::error::ServiceError;
use super::network::{ANSWER_LEN_MAX, SHUTDOWN, command_of, open_net_to_dial, runtime, shut_down};
use crate::clock::wall_ms;
use crate::net::{NetCommand, NetEvent, NetHandle};
use crate::replication::{Effect, FederationLogTable, Replicator};

/// How long the node may take to say its next word.
const SILENCE: Duration = Duration::from_secs(60);
/// How long the member's word is good for, in milliseconds: a pull may take long, and clocks
/// differ.
const CREDENTIAL_MS: u64 = 24 * 60 * 60 * 1000;
/// The id of the question that shows the credential; the core counts its own from one.
const READ_REQUEST: u64 = 0;

/// Why there is no replica.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicaError {
    /// The node could not be reached.
    #[error("could not reach {address}: {reason}")]
    Unreachable {
        /// The address.
        address: String,
        /// What the attempt said.
        reason: String,
    },
    /// The node refuses.
    #[error("{address} refuses: {refusal}{}", of_word(refusal))]
    Refused {
        /// The address.
        address: String,
        /// Why.
        refusal: Refusal,
    },
    /// The node said nothing more.
    #[error("{address} has said nothing for {} seconds", SILENCE.as_secs())]
    Silent {
        /// The address.
        address: String,
    },
    /// The system gave no randomness for a key.
    #[error("the system gives no randomness")]
    Randomness(#[source] getrandom::Error),
    /// The replica's own store failed.
    #[error("the replica's store failed")]
    Store(#[from] StoreError),
    /// The network failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// What a refusal can mean to one that shows a member's word.
const fn of_word(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NotAdmitted => {
            "; as far as it knows, the site that vouches is no member of its federation, or its word has expired"
        }
        _ => "",
    }
}

/// Pulls everything the node at `address` holds into a new store on `disk`, with the word of the
/// member `voucher`. `on_progress` gets how many commits are here and how many payloads are
/// still to come.
///
/// # Errors
/// [`ReplicaError`].
pub fn replica(
    address: &str,
    federation: FederationId,
    voucher: &SiteKey,
    disk: Arc<dyn Disk>,
    on_progress: &mut dyn FnMut(u64, u64),
) -> Result<Store, ReplicaError> {
    let (dial, peer) = parse_peer(address)?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(ReplicaError::Randomness)?;
    let me = SiteKey::from_seed(&seed).site_id();
    Store::create(&disk, federation)?;
    let store = Store::open(disk, Mode::Write)?;
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        let (net, events) = open_net_to_dial(seed, [peer])?;
        let mut core = Replicator::new(me, FederationLogTable::new());
        core.add_address(dial.to_string(), Some(peer));
        let expires_ms = wall_ms().saturating_add(CREDENTIAL_MS);
        let credential = Request::Read {
            federation: *federation.as_bytes(),
            member: *voucher.site_id().as_bytes(),
            expires_ms,
            signature: voucher.vouch(&federation, &me, expires_ms),
        };
        let mut pull = Pull {
            store: &store,
            address,
            peer,
            credential,
            net,
            events,
            core,
            is_caught_up: false,
        };
        pull.send(NetCommand::Dial(dial)).await?;
        let result = pull.run(on_progress).await;
        shut_down(&pull.net, &mut pull.events).await;
        result
    });
    runtime.shutdown_timeout(SHUTDOWN);
    result.map(|()| store)
}

struct Pull<'a> {
    store: &'a Store,
    address: &'a str,
    peer: SiteId,
    credential: Request,
    net: NetHandle,
    events: mpsc::Receiver<NetEvent>,
    core: Replicator,
    /// Whether everything the node had when it was last asked is here.
    is_caught_up: bool,
}

impl Pull<'_> {
    async fn run(&mut self, on_progress: &mut dyn FnMut(u64, u64)) -> Result<(), ReplicaError> {
        loop {
            let (commits, missing) = {
                let view = self.store.view();
                (view.commits_len(), view.wanted().len() as u64)
            };
            on_progress(commits, missing);
            // A payload that the node does not have either is not waited for: the core has no
            // question out then.
            if self.is_caught_up && self.core.is_waiting_for_nothing() {
                return Ok(());
            }
            let silent = || ReplicaError::Silent {
                address: self.address.to_owned(),
            };
            let event = tokio::time::timeout(SILENCE, self.events.recv())
                .await
                .map_err(|_| silent())?;
            self.core.payloads_may_look_again();
            self.take(event.ok_or(ServiceError::NetStopped)?).await?;
            self.carry_out().await?;
        }
    }

    async fn take(&mut self, event: NetEvent) -> Result<(), ReplicaError> {
        match event {
            NetEvent::Connected { peer, .. } => {
                let body = self.credential.encode();
                let answer_len_max = ANSWER_LEN_MAX;
                self.send(NetCommand::Request {
                    peer,
                    id: READ_REQUEST,
                    body,
                    answer_len_max,
                })
                .await?;
            }
            NetEvent::Response {
                id: READ_REQUEST,
                body,
                ..
            } => match Response::decode(&body) {
                Ok(Response::Welcome) => self.core.handle_connected(self.store, self.peer, 0)?,
                Ok(Response::Refused { reason }) => {
                    return Err(ReplicaError::Refused {
                        address: self.address.to_owned(),
                        refusal: reason,
                    });
                }
                _ => return Err(self.unreachable("it answered something else".to_owned())),
            },
            NetEvent::Response { id, body, .. } => {
                self.core.handle_response(self.store, id, &body, 0)?
            }
            NetEvent::RequestFailed { reason, .. } | NetEvent::DialFailed { reason, .. } => {
                return Err(self.unreachable(reason));
            }
            NetEvent::Disconnected { .. } => {
                return Err(self.unreachable("the connection was closed".to_owned()));
            }
            NetEvent::Stopped => return Err(ServiceError::NetStopped.into()),
            _ => {}
        }
        Ok(())
    }

    fn unreachable(&self, reason: String) -> ReplicaError {
        ReplicaError::Unreachable {
            address: self.address.to_owned(),
            reason,
        }
    }

    /// Only questions are carried out: an auditor answers nobody.
    async fn carry_out(&mut self) -> Result<(), ReplicaError> {
        while let Some(effect) = self.core.poll_effect() {
            if let effect @ Effect::Request { .. } = effect
                && let Some(command) = command_of(effect)
            {
                self.send(command).await?;
            }
        }
        self.is_caught_up = self.core.federation_log_table().contains_key(&self.peer);
        Ok(())
    }

    async fn send(&self, command: NetCommand) -> Result<(), ReplicaError> {
        self.net
            .send(command)
            .await
            .map_err(|_| ServiceError::NetStopped)?;
        Ok(())
    }
}
