//! A peer that keeps to no bound of ours: libp2p, a key, the names of our protocols, and whatever
//! bytes it likes.

use std::collections::BTreeSet;
use std::io;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, StreamExt as _};
use libp2p::core::Transport as _;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::request_response::{self, Codec, Message, OutboundRequestId, ProtocolSupport};
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{self, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, noise, tcp, yamux};

/// Most streams it opens at once: many times what is allowed.
const STREAMS_MAX: usize = 2048;

/// What is written on a stream: as it is, and then perhaps silence.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) bytes: Vec<u8>,
    /// Whether the stream stays open without a further word, in place of being read from.
    pub(crate) hangs: bool,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bytes;

impl Codec for Bytes {
    type Protocol = StreamProtocol;
    type Request = Said;
    /// How many bytes came.
    type Response = usize;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        _: &mut T,
    ) -> io::Result<Said> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<usize> {
        let mut answer = Vec::new();
        io.read_to_end(&mut answer).await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        said: Said,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&said.bytes).await?;
        io.flush().await?;
        if said.hangs {
            futures::future::pending::<()>().await;
        }
        Ok(())
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, _: &mut T, _: usize) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        Err(io::ErrorKind::Unsupported.into())
    }
}

pub(crate) struct Raw {
    swarm: Swarm<request_response::Behaviour<Bytes>>,
    victim: PeerId,
    address: Multiaddr,
}

/// What became of what was said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Connections that opened, and those that were refused or broke off before.
    pub(crate) opened: usize,
    pub(crate) refused: usize,
    pub(crate) answered: usize,
    pub(crate) failed: usize,
}

impl Raw {
    /// Somebody with this key who speaks this protocol.
    pub(crate) fn new(seed: [u8; 32], protocol: &'static str, address: &str) -> Self {
        let keypair = Keypair::ed25519_from_bytes(seed).unwrap();
        let mut multiplexer = yamux::Config::default();
        multiplexer.set_max_num_streams(STREAMS_MAX);
        let transport = tcp::tokio::Transport::new(tcp::Config::new().nodelay(true))
            .upgrade(Version::V1Lazy)
            .authenticate(noise::Config::new(&keypair).unwrap())
            .multiplex(multiplexer)
            .boxed();
        let config = request_response::Config::default().with_max_concurrent_streams(STREAMS_MAX);
        let protocols = [(StreamProtocol::new(protocol), ProtocolSupport::Outbound)];
        let behaviour = request_response::Behaviour::with_codec(Bytes, protocols, config);
        let patient = swarm::Config::with_tokio_executor()
            .with_idle_connection_timeout(std::time::Duration::from_secs(3600));
        let swarm = Swarm::new(transport, behaviour, keypair.public().to_peer_id(), patient);
        let address: Multiaddr = address.parse().unwrap();
        let Some(Protocol::P2p(victim)) = address.iter().last() else {
            panic!("{address} names no peer")
        };
        Self {
            swarm,
            victim,
            address,
        }
    }

    fn dial(&mut self) {
        let options = DialOpts::peer_id(self.victim)
            .addresses(vec![self.address.clone()])
            .allocate_new_port()
            .build();
        self.swarm.dial(options).unwrap();
    }

    /// Says everything at once on a connection, and waits for what becomes of it; so often, with a
    /// new connection each time.
    pub(crate) async fn storm(&mut self, said: &[Said], rounds: usize) -> Tally {
        let mut tally = Tally::default();
        for _ in 0..rounds {
            self.dial();
            let mut open: BTreeSet<OutboundRequestId> = BTreeSet::new();
            loop {
                match self.swarm.select_next_some().await {
                    SwarmEvent::ConnectionEstablished { .. } => {
                        tally.opened += 1;
                        for said in said {
                            open.insert(
                                self.swarm
                                    .behaviour_mut()
                                    .send_request(&self.victim, said.clone()),
                            );
                        }
                    }
                    SwarmEvent::OutgoingConnectionError { .. } => {
                        tally.refused += 1;
                        break;
                    }
                    SwarmEvent::Behaviour(request_response::Event::Message { message, .. }) => {
                        tally.answered += usize::from(is_answer(&message));
                    }
                    SwarmEvent::Behaviour(request_response::Event::OutboundFailure {
                        request_id,
                        ..
                    }) => {
                        tally.failed += usize::from(open.remove(&request_id));
                    }
                    SwarmEvent::ConnectionClosed { .. } => break,
                    _ => {}
                }
            }
        }
        tally
    }

    /// Connects, says one thing after the other, each when the one before was answered, and stays.
    pub(crate) async fn one_by_one(&mut self, said: impl IntoIterator<Item = Vec<u8>>) -> Tally {
        let mut tally = Tally::default();
        self.dial();
        let mut left = said.into_iter();
        loop {
            let goes_on = match self.swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { .. } => {
                    tally.opened += 1;
                    true
                }
                SwarmEvent::Behaviour(request_response::Event::Message { message, .. }) => {
                    tally.answered += usize::from(is_answer(&message));
                    true
                }
                SwarmEvent::Behaviour(request_response::Event::OutboundFailure { .. }) => {
                    tally.failed += 1;
                    true
                }
                SwarmEvent::ConnectionClosed { .. }
                | SwarmEvent::OutgoingConnectionError { .. } => {
                    tally.refused += 1;
                    return tally;
                }
                _ => false,
            };
            if goes_on {
                let Some(bytes) = left.next() else {
                    return tally;
                };
                self.swarm.behaviour_mut().send_request(
                    &self.victim,
                    Said {
                        bytes,
                        hangs: false,
                    },
                );
            }
        }
    }
}

/// Whether something came before the stream was closed.
const fn is_answer(message: &Message<Said, usize>) -> bool {
    matches!(message, Message::Response { response: 1.., .. })
}

/// A frame as it is on a stream: its length and its bytes.
pub(crate) fn framed(body: &[u8]) -> Vec<u8> {
    claiming(u32::try_from(body.len()).unwrap(), body)
}

/// A frame that says it is so long.
pub(crate) fn claiming(len: u32, body: &[u8]) -> Vec<u8> {
    [&len.to_le_bytes()[..], body].concat()
}
