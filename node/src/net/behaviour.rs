//! Every parameter of the protocol stack, in one place.

use std::time::Duration;

use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::gossipsub::{
    self, IdentTopic, MessageAuthenticity, MessageId, ValidationMode, WhitelistSubscriptionFilter,
};
use libp2p::identity::Keypair;
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::{StreamProtocol, Swarm, SwarmBuilder, identify, noise, ping, tcp, yamux};

use super::codec::{DELTA_PROTOCOL, FrameCodec};
use super::gate::Gate;
use super::{NetConfig, NetError, PING_TIMEOUT, REQUEST_TIMEOUT, REQUESTS_PER_PEER_MAX};

/// Links between sites are permanent: nothing but a fault, a cut or a command closes one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const PING_INTERVAL: Duration = Duration::from_secs(10);

/// Two sites that dial each other at the same time open two connections; a third lets a peer return whose old
/// connection has not yet been given up.
const CONNECTIONS_PER_PEER_MAX: u32 = 3;

/// Connections being accepted, all peers together.
const ACCEPTING_MAX: u32 = 32;

/// Requests in both directions on one connection, twice over: a stream ends a little later at its far end.
const REQUEST_STREAMS_MAX: usize = 4 * REQUESTS_PER_PEER_MAX;

/// Streams of all protocols a peer may open on one connection.
const STREAMS_MAX: u32 = 64;

/// A doorbell with its signature, key and topic takes about 1.2 KiB; a frame of control data is held below this by
/// [`GOSSIP_CONTROL_IDS_MAX`].
const GOSSIP_FRAME_LEN_MAX: usize = 4096;

/// Message ids per control message: 64 ids of 46 bytes stay within a frame.
const GOSSIP_CONTROL_IDS_MAX: usize = 64;

/// Messages that may wait for one peer.
const GOSSIP_QUEUE_MAX: usize = 256;

/// What a connection is asked about, in this order: the limits come first, so that a connection too many costs
/// nothing further, then the gate, so that nothing behind it ever sees a connection it denies.
#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p::swarm::derive_prelude")]
pub(super) struct Behaviour {
    limits: connection_limits::Behaviour,
    pub(super) gate: Gate,
    pub(super) gossip: Gossip,
    pub(super) requests: request_response::Behaviour<FrameCodec>,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

type Gossip = gossipsub::Behaviour<gossipsub::IdentityTransform, WhitelistSubscriptionFilter>;

/// A swarm that listens where `config` says and is subscribed to its topic.
pub(super) fn swarm(config: &NetConfig) -> Result<Swarm<Behaviour>, NetError> {
    let keypair = Keypair::ed25519_from_bytes(config.secret)?;
    let behaviour = Behaviour {
        limits: connection_limits::Behaviour::new(limits(config.connections_max)),
        gate: Gate::default(),
        gossip: gossip(&keypair, &config.topic)?,
        requests: requests(config.frame_len_max),
        identify: identify::Behaviour::new(identity(&keypair, config.agent.clone())),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_TIMEOUT)),
    };
    let mut swarm = SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::new().nodelay(true), noise::Config::new, multiplexer)?
        .with_quic_config(|mut quic| {
            quic.max_concurrent_stream_limit = STREAMS_MAX;
            quic
        })
        .with_behaviour(|_| behaviour)
        .unwrap_or_else(|never| match never {})
        .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(IDLE_TIMEOUT))
        .build();
    for address in &config.listen {
        swarm.listen_on(address.clone()).map_err(|source| NetError::Listen { address: address.clone(), source })?;
    }
    Ok(swarm)
}

fn limits(connections_max: u32) -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_established(Some(connections_max))
        .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER_MAX))
        .with_max_pending_incoming(Some(ACCEPTING_MAX))
        .with_max_pending_outgoing(Some(connections_max))
}

fn multiplexer() -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(STREAMS_MAX as usize);
    config
}

fn requests(len_max: u32) -> request_response::Behaviour<FrameCodec> {
    request_response::Behaviour::with_codec(
        FrameCodec { len_max },
        [(StreamProtocol::new(DELTA_PROTOCOL), ProtocolSupport::Full)],
        request_response::Config::default()
            .with_request_timeout(REQUEST_TIMEOUT)
            .with_max_concurrent_streams(REQUEST_STREAMS_MAX),
    )
}

/// Peers learn each other's names, but no addresses: whom to dial is the owner's decision alone.
fn identity(keypair: &Keypair, agent: String) -> identify::Config {
    identify::Config::new("/uor/1".to_owned(), keypair.public())
        .with_agent_version(agent)
        .with_cache_size(0)
        .with_hide_listen_addrs(true)
}

/// Gossip tuned for two to five sites, which the defaults would leave below their low-water mark for ever.
fn gossip(keypair: &Keypair, topic: &str) -> Result<Gossip, NetError> {
    let refused = |reason: &dyn ToString| NetError::Gossip { topic: topic.to_owned(), reason: reason.to_string() };
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Strict)
        .message_id_fn(message_id)
        .mesh_outbound_min(1)
        .mesh_n_low(2)
        .mesh_n(4)
        .mesh_n_high(8)
        .gossip_lazy(4)
        .heartbeat_initial_delay(Duration::from_millis(200))
        .heartbeat_interval(Duration::from_secs(1))
        .duplicate_cache_time(Duration::from_secs(60))
        .max_transmit_size(GOSSIP_FRAME_LEN_MAX)
        .max_control_message_size(GOSSIP_FRAME_LEN_MAX)
        .max_control_messages_sent(GOSSIP_CONTROL_IDS_MAX)
        .connection_handler_queue_len(GOSSIP_QUEUE_MAX)
        .build()
        .map_err(|error| refused(&error))?;
    let topic = IdentTopic::new(topic);
    let only = WhitelistSubscriptionFilter([topic.hash()].into_iter().collect());
    let signed = MessageAuthenticity::Signed(keypair.clone());
    let mut gossip =
        gossipsub::Behaviour::new_with_subscription_filter(signed, config, only).map_err(|error| refused(&error))?;
    gossip.subscribe(&topic).map_err(|error| refused(&error))?;
    Ok(gossip)
}

/// Signer and sequence number, both covered by the signature. A digest of the body alone would let anybody who
/// repeats a body first silence its author, and would swallow the second ring of a doorbell after a cut has healed.
fn message_id(message: &gossipsub::Message) -> MessageId {
    let mut id = message.source.map_or_else(Vec::new, libp2p::PeerId::to_bytes);
    id.extend_from_slice(&message.sequence_number.unwrap_or_default().to_le_bytes());
    MessageId::from(id)
}
