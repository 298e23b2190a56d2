//! The network and the threads it runs on: opened, used and shut down by a node and by whoever only
//! asks others.

use std::time::Duration;

use libp2p::Multiaddr;
use tokio::sync::mpsc;
use uor_index_format::id::SiteId;

use super::address::{on_every_interface, on_last_port, parse};
use super::error::ServiceError;
use crate::net::{self, NetCommand, NetConfig, NetEvent, NetHandle, ResponseToken};
use crate::replication::Effect;
use crate::site::Site;

/// How often the core is told that time has passed.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// How long shutting down may take before the rest is left to the operating system.
pub(super) const SHUTDOWN: Duration = Duration::from_secs(3);

/// The longest answer to a ticket or a credential, in bytes.
pub(super) const ANSWER_LEN_MAX: u32 = 4096;

/// Two threads: one polls the swarm while the other runs the loop.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, ServiceError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(ServiceError::Runtime)
}

/// Opens the network on the given addresses; without any, on every interface. Where any free port
/// will do, that of the last time is tried first, so that peers find a node again that was
/// restarted.
pub(super) fn open_net(
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

/// Opens the network without listening: for a site that only dials `peers`.
pub(super) fn open_net_to_dial(
    seed: [u8; 32],
    peers: impl IntoIterator<Item = SiteId>,
) -> Result<(NetHandle, mpsc::Receiver<NetEvent>), ServiceError> {
    let mut config = NetConfig::new(seed);
    config
        .members
        .extend(peers.into_iter().map(|peer| *peer.as_bytes()));
    Ok(net::spawn(config)?)
}

/// Closes the network in good order.
pub(super) async fn shut_down(net: &NetHandle, events: &mut mpsc::Receiver<NetEvent>) {
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
pub(super) fn command_of(effect: Effect) -> Option<NetCommand> {
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
