//! The one loop of a running node: network events and time go into the replication core, its
//! effects come out into the network. Nothing is decided here.
//!
//! The swarm polls in a task of its own (`net`); this loop may wait for the disk without starving
//! it. Commands of people run on other threads against the same [`Site`](crate::site::Site); the
//! loop notices that the store has grown and announces it.
//!
//! To be read in this order: `config`, `error`, `handle` (how a node is run); `node` (the loop);
//! `asking` (what comes before its first own commit); `failing`, `reopening` (a full disk); `quiet`
//! (how much it says); `status` (what it shows); `join`, `recover`, `replica` (conversations
//! without a node); `network`, `address`, `signals` (what all of these use).

mod address;
mod asking;
mod config;
mod error;
mod failing;
mod handle;
mod join;
mod network;
mod node;
mod quiet;
mod recover;
mod reopening;
mod replica;
mod signals;
mod status;

pub use self::address::{check_peer, site_at};
pub use self::config::{ServiceConfig, ServiceEvent};
pub use self::error::ServiceError;
pub use self::handle::{ServiceControl, ServiceHandle, handle};
pub use self::join::{JoinError, Joined, join, join_unless};
pub use self::node::run;
pub use self::recover::{Asked, recover};
pub use self::replica::{ReplicaError, replica};
pub(crate) use self::signals::Signals;
pub use self::status::{NodeStatus, PeerStatus};
