//! Every parameter of the protocol stack, in one place.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use libp2p::core::Transport as _;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::upgrade::Version;
use libp2p::futures::future::Either;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::{self, NetworkBehaviour};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, noise, ping, quic, tcp, yamux};
use tokio::sync::Semaphore;

use super::accepting::Accepting;
use super::codec::{ANNOUNCEMENT_PROTOCOL, DELTA_PROTOCOL, FrameCodec};
use super::config::NetConfig;
use super::error::NetError;
use super::gate::Gate;
use super::limits::{ANNOUNCEMENT_LEN_MAX, PING_TIMEOUT, REQUEST_TIMEOUT, REQUESTS_PER_PEER_MAX};

/// Links between sites are permanent: nothing but a fault, a cut, a command or the gate closes one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const PING_INTERVAL: Duration = Duration::from_secs(10);

/// How long a peer may take to prove its key.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Handshakes of others under way, all peers together.
const ACCEPTING_MAX: usize = 128;

/// Requests in both directions on one connection, twice over: a stream ends a little later at its
/// far end.
const REQUEST_STREAMS_MAX: usize = 4 * REQUESTS_PER_PEER_MAX;

/// Announcements in both directions on one connection.
const ANNOUNCEMENT_STREAMS_MAX: usize = 8;

/// How long an announcement may wait to be received.
const ANNOUNCEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Streams of all protocols a peer may open on one connection.
const STREAMS_MAX: u32 = 64;

/// Bytes of answers that are being read or wait for the owner, of all peers together.
const ANSWERS_LEN_MAX: u32 = 64 << 20;

/// Bytes that a peer may send on one QUIC stream, and on all of a connection, before any of them is
/// read.
const QUIC_STREAM_LEN_MAX: u32 = 1 << 20;
const QUIC_CONNECTION_LEN_MAX: u32 = 4 << 20;

/// What a connection is asked about, in this order: the gate comes first, so that a connection too
/// many costs nothing further, and nothing behind it ever sees a connection it denies.
#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p::swarm::derive_prelude")]
pub(super) struct Behaviour {
    pub(super) gate: Gate,
    pub(super) requests: request_response::Behaviour<FrameCodec>,
    pub(super) announcements: request_response::Behaviour<FrameCodec>,
    ping: ping::Behaviour,
}

/// A swarm that listens where `config` says.
pub(super) fn swarm(config: &NetConfig) -> Result<Swarm<Behaviour>, NetError> {
    let keypair = Keypair::ed25519_from_bytes(config.secret)?;
    let behaviour = Behaviour {
        gate: Gate::new(config.limits, Arc::new(config.members.clone())),
        requests: requests(config.question_len_max, config.frame_len_max),
        announcements: announcements(),
        ping: ping::Behaviour::new(
            ping::Config::new()
                .with_interval(PING_INTERVAL)
                .with_timeout(PING_TIMEOUT),
        ),
    };
    let swarm_config =
        swarm::Config::with_tokio_executor().with_idle_connection_timeout(IDLE_TIMEOUT);
    let mut swarm = Swarm::new(
        transport(&keypair)?,
        behaviour,
        keypair.public().to_peer_id(),
        swarm_config,
    );
    config.listen.iter().try_for_each(is_free)?;
    for address in &config.listen {
        swarm
            .listen_on(address.clone())
            .map_err(|source| NetError::Listen {
                address: address.clone(),
                source,
            })?;
    }
    Ok(swarm)
}

/// TCP with Noise and Yamux, and QUIC.
fn transport(keypair: &Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, NetError> {
    let tcp = tcp::tokio::Transport::new(tcp::Config::new().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(keypair)?)
        .multiplex(multiplexer());
    let mut config = quic::Config::new(keypair);
    config.max_concurrent_stream_limit = STREAMS_MAX;
    config.max_stream_data = QUIC_STREAM_LEN_MAX;
    config.max_connection_data = QUIC_CONNECTION_LEN_MAX;
    config.handshake_timeout = HANDSHAKE_TIMEOUT;
    let either =
        quic::tokio::Transport::new(config)
            .or_transport(tcp)
            .map(|either, _| match either {
                Either::Left((peer, connection)) => (peer, StreamMuxerBox::new(connection)),
                Either::Right((peer, connection)) => (peer, StreamMuxerBox::new(connection)),
            });
    let timed = TransportTimeout::new(either, HANDSHAKE_TIMEOUT).boxed();
    Ok(Accepting::new(timed, ACCEPTING_MAX).boxed())
}

/// Whether an address can be listened on: it is this machine's, and nobody listens there yet.
/// libp2p lets its TCP sockets share a port, so that two programs could both believe to listen
/// there; this socket does not share.
fn is_free(address: &Multiaddr) -> Result<(), NetError> {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        Some(Protocol::Ip6(ip)) => std::net::IpAddr::from(ip),
        _ => return Ok(()),
    };
    let bound = match parts.next() {
        Some(Protocol::Tcp(port)) if port != 0 => {
            TcpListener::bind(SocketAddr::new(ip, port)).map(drop)
        }
        Some(Protocol::Udp(port)) if port != 0 => {
            UdpSocket::bind(SocketAddr::new(ip, port)).map(drop)
        }
        _ => Ok(()),
    };
    bound.map_err(|source| NetError::of_bind(address.clone(), source))
}

fn multiplexer() -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(STREAMS_MAX as usize);
    config
}

fn requests(question_len_max: u32, answer_len_max: u32) -> request_response::Behaviour<FrameCodec> {
    let budget = Arc::new(Semaphore::new(ANSWERS_LEN_MAX.max(answer_len_max) as usize));
    request_response::Behaviour::with_codec(
        FrameCodec::new(question_len_max, answer_len_max, budget),
        [(StreamProtocol::new(DELTA_PROTOCOL), ProtocolSupport::Full)],
        request_response::Config::default()
            .with_request_timeout(REQUEST_TIMEOUT)
            .with_max_concurrent_streams(REQUEST_STREAMS_MAX),
    )
}

/// An announcement is a question whose answer is empty.
fn announcements() -> request_response::Behaviour<FrameCodec> {
    let len_max = u32::try_from(ANNOUNCEMENT_LEN_MAX).unwrap_or(u32::MAX);
    request_response::Behaviour::with_codec(
        FrameCodec::new(len_max, 0, Arc::new(Semaphore::new(1))),
        [(
            StreamProtocol::new(ANNOUNCEMENT_PROTOCOL),
            ProtocolSupport::Full,
        )],
        request_response::Config::default()
            .with_request_timeout(ANNOUNCEMENT_TIMEOUT)
            .with_max_concurrent_streams(ANNOUNCEMENT_STREAMS_MAX),
    )
}
