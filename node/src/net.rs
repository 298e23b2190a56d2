//! The network shell: libp2p over TCP and QUIC, encrypted with Noise or TLS, multiplexed, and
//! nothing more.
//!
//! One task owns the swarm. It polls, matches and hands over; every decision is its owner's.
//! Commands come in through a [`NetHandle`], events go out through a channel, and between the two
//! there are three kinds of traffic:
//!
//! * **links** — dialled by address, reported once per peer: [`NetEvent::Connected`] when its first
//!   connection opens, [`NetEvent::Disconnected`] when its last one closes;
//! * **announcements** — at most [`ANNOUNCEMENT_LEN_MAX`] bytes to every connected member, and to nobody
//!   else. They may be lost, and of several in a row only the last arrives; they say "come and
//!   ask", and never carry what is asked for;
//! * **requests** — a short question, and an answer as long as the question allows. Every
//!   [`NetCommand::Request`] ends in exactly one [`NetEvent::Response`] or
//!   [`NetEvent::RequestFailed`], unless the shell stops first.
//!
//! # Invariants
//!
//! * A peer is an Ed25519 public key, the [`SiteKey`]; a connection that proves no such key is
//!   refused.
//! * Whoever the owner does not call a member is a stranger: it has few places and little time, and
//!   takes none from members.
//! * A peer that is connected is never dialled again.
//! * No input from a peer panics, and none allocates before its bytes arrive or beyond the
//!   configured bound.
//! * Every queue is bounded, and peers take turns: of each, one question at a time is with the
//!   owner, and none is answered further that does not read its answers. The swarm is polled only
//!   when all answers have been taken: while the owner is slow, connections fill their own small
//!   buffers, stop reading, and the transport's windows close, so pressure reaches the sender
//!   instead of memory. An owner that takes nothing for longer than [`PING_TIMEOUT`] may find its
//!   peers gone.
//! * Commands are obeyed even while events wait, so an owner may send from the task that receives.

mod accepting;
mod behaviour;
mod codec;
mod desk;
mod driver;
mod gate;
mod key;
mod places;

use std::collections::BTreeSet;
use std::time::Duration;

use libp2p::Multiaddr;
use tokio::sync::mpsc;

pub use codec::{ANNOUNCEMENT_PROTOCOL, DELTA_PROTOCOL};
pub use key::{SiteKey, peer_id, site_key};
pub use places::Limits;

/// The longest body of a [`NetCommand::Announce`], in bytes.
pub const ANNOUNCEMENT_LEN_MAX: usize = 1000;

/// The number of requests to one peer that may be unanswered at the same time.
pub const REQUESTS_PER_PEER_MAX: usize = 20;

/// How long a request may take, from its first byte to the last byte of its response.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a peer may leave a ping unanswered before its connection is given up.
pub const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Commands that may wait for the swarm task.
const COMMANDS_MAX: usize = 256;

/// Events that may wait for the owner; few, because an answer may carry megabytes.
const EVENTS_MAX: usize = 8;

/// What a shell needs to know before it starts.
#[derive(Clone)]
pub struct NetConfig {
    /// The Ed25519 seed of this site. Its public key is the site's key and, with libp2p's prefix,
    /// its peer id.
    pub secret: [u8; 32],
    /// The addresses to listen on, without a peer id; `/ip4/0.0.0.0/…` listens on every interface.
    pub listen: Vec<Multiaddr>,
    /// Who is a member, until [`NetCommand::Trust`] says otherwise.
    pub members: BTreeSet<SiteKey>,
    /// The longest question, in bytes, sent or received.
    pub question_len_max: u32,
    /// The longest answer, in bytes, sent or received.
    pub frame_len_max: u32,
    /// How many connections may be open at the same time, in both directions.
    pub limits: Limits,
}

impl NetConfig {
    /// A site that listens nowhere and knows no members, with questions of up to 4 KiB and answers
    /// of up to 9 MiB.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self {
            secret,
            listen: Vec::new(),
            members: BTreeSet::new(),
            question_len_max: 4096,
            frame_len_max: 9 * 1024 * 1024,
            limits: Limits {
                members: 64,
                members_inbound: 48,
                guests: 8,
                strangers: 8,
            },
        }
    }
}

/// Names one inbound request until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResponseToken(pub u64);

/// What the owner asks of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetCommand {
    /// Connect to the peer at this address, which must end in `/p2p/<peer id>`. Ends in
    /// [`NetEvent::Connected`] or [`NetEvent::DialFailed`]; does nothing if the peer is connected
    /// or already being dialled at this address.
    Dial(Multiaddr),
    /// Announce to every connected member that there is something to ask for, in at most
    /// [`ANNOUNCEMENT_LEN_MAX`] bytes.
    Announce(Vec<u8>),
    /// From now on, these are the members.
    Trust(BTreeSet<SiteKey>),
    /// Let a peer that is no member stay for so many milliseconds, if there is room for it.
    LetStay {
        /// The peer.
        peer: SiteKey,
        /// How long, in milliseconds from now.
        for_ms: u64,
    },
    /// Ask a connected peer; never dials.
    Request {
        /// The peer asked.
        peer: SiteKey,
        /// The owner's name for this request, given back with its outcome.
        id: u64,
        /// At most [`NetConfig::question_len_max`] bytes.
        body: Vec<u8>,
        /// The longest answer that is taken, in bytes.
        answer_len_max: u32,
    },
    /// Answer an inbound request. Without effect if the asker has gone meanwhile.
    Respond {
        /// The token that came with the request.
        token: ResponseToken,
        /// At most [`NetConfig::frame_len_max`] bytes.
        body: Vec<u8>,
    },
    /// Close every connection to this peer.
    Disconnect(SiteKey),
    /// `true` cuts the network: every connection is closed and every new one refused, in both
    /// directions, until `false`. Listening sockets stay open, so addresses survive the cut.
    Cut(bool),
    /// Close every connection, report [`NetEvent::Stopped`] and end. Commands behind this one are
    /// dropped.
    Shutdown,
}

/// What the network reports to its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetEvent {
    /// This site can be dialled at this concrete address, which ends in `/p2p/<peer id>`.
    Listening(Multiaddr),
    /// A listening socket failed; others go on.
    ListenFailed {
        /// The chain of causes.
        reason: String,
    },
    /// The first connection to a peer opened.
    Connected {
        /// The peer, proven by the connection's handshake.
        peer: SiteKey,
        /// The remote end.
        address: Multiaddr,
        /// Whether this site dialled.
        outbound: bool,
    },
    /// The last connection to a peer closed. Its unanswered requests fail, before or after this.
    Disconnected {
        /// The peer that is gone.
        peer: SiteKey,
    },
    /// No connection came of a dial.
    DialFailed {
        /// The address dialled, if this dial was commanded.
        address: Option<Multiaddr>,
        /// The peer expected there.
        peer: Option<SiteKey>,
        /// The chain of causes.
        reason: String,
    },
    /// A connected member announces that there is something to ask for.
    Announced {
        /// The member.
        from: SiteKey,
        /// At most [`ANNOUNCEMENT_LEN_MAX`] bytes.
        body: Vec<u8>,
    },
    /// A peer asks.
    Request {
        /// The connected peer asking.
        peer: SiteKey,
        /// Goes into [`NetCommand::Respond`].
        token: ResponseToken,
        /// At most [`NetConfig::question_len_max`] bytes.
        body: Vec<u8>,
    },
    /// An inbound request can no longer be answered, or its response was not delivered.
    RespondFailed {
        /// The peer that asked.
        peer: SiteKey,
        /// The request's token, which is now void.
        token: ResponseToken,
        /// The cause.
        reason: String,
    },
    /// A peer answered.
    Response {
        /// As given in [`NetCommand::Request`].
        id: u64,
        /// The peer asked.
        peer: SiteKey,
        /// At most [`NetConfig::frame_len_max`] bytes.
        body: Vec<u8>,
    },
    /// A request will not be answered; whether the peer saw it is unknown.
    RequestFailed {
        /// As given in [`NetCommand::Request`].
        id: u64,
        /// The peer asked.
        peer: SiteKey,
        /// The cause.
        reason: String,
    },
    /// The shell has ended. The last event; lost if the owner has let the channel fill, but then
    /// the channel's end says the same.
    Stopped,
}

/// Why a shell could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// Called outside a runtime.
    #[error("the network needs a running tokio runtime")]
    NoRuntime(#[from] tokio::runtime::TryCurrentError),
    /// The secret is no Ed25519 seed.
    #[error("site secret refused")]
    Secret(#[from] libp2p::identity::DecodingError),
    /// The encryption of TCP connections could not be set up.
    #[error("noise handshake could not be prepared")]
    Noise(#[from] libp2p::noise::Error),
    /// Another program listens there.
    #[error("cannot listen on {address}: another program listens there")]
    Taken {
        /// The address.
        address: Multiaddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// An address could not be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address refused.
        address: Multiaddr,
        /// The transport's reason.
        #[source]
        source: libp2p::TransportError<std::io::Error>,
    },
}

/// Why a command was not accepted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// An announcement is no place for a body.
    #[error("announcement of {len} bytes exceeds the bound of {len_max} bytes")]
    AnnouncementTooLarge {
        /// Bytes offered.
        len: usize,
        /// [`ANNOUNCEMENT_LEN_MAX`].
        len_max: usize,
    },
    /// The body of a request or response is too long.
    #[error("frame of {len} bytes exceeds the bound of {len_max} bytes")]
    FrameTooLarge {
        /// Bytes offered.
        len: usize,
        /// [`NetConfig::question_len_max`], or [`NetConfig::frame_len_max`] for an answer.
        len_max: u32,
    },
    /// The shell has ended, or is about to.
    #[error("the network has stopped")]
    Stopped,
    /// Only from [`NetHandle::try_send`]: as many commands wait already as may.
    #[error("{waiting} network commands are waiting already")]
    Busy {
        /// The number of commands that may wait.
        waiting: usize,
    },
}

/// The owner's end of a running shell. When the last clone is dropped, the shell ends as by
/// [`NetCommand::Shutdown`].
#[derive(Debug, Clone)]
pub struct NetHandle {
    commands: mpsc::Sender<NetCommand>,
    question_len_max: u32,
    frame_len_max: u32,
}

impl NetHandle {
    /// Hands over a command, waiting while too many are queued.
    ///
    /// # Errors
    /// The body is too long, or the shell has ended; the command has had no effect.
    pub async fn send(&self, command: NetCommand) -> Result<(), CommandError> {
        self.check(&command)?;
        self.commands
            .send(command)
            .await
            .map_err(|_| CommandError::Stopped)
    }

    /// Hands over a command at once.
    ///
    /// # Errors
    /// The body is too long, the queue is full, or the shell has ended; the command has had no
    /// effect.
    pub fn try_send(&self, command: NetCommand) -> Result<(), CommandError> {
        self.check(&command)?;
        self.commands
            .try_send(command)
            .map_err(|refused| match refused {
                mpsc::error::TrySendError::Full(_) => CommandError::Busy {
                    waiting: COMMANDS_MAX,
                },
                mpsc::error::TrySendError::Closed(_) => CommandError::Stopped,
            })
    }

    fn check(&self, command: &NetCommand) -> Result<(), CommandError> {
        match command {
            NetCommand::Announce(body) if body.len() > ANNOUNCEMENT_LEN_MAX => {
                Err(CommandError::AnnouncementTooLarge {
                    len: body.len(),
                    len_max: ANNOUNCEMENT_LEN_MAX,
                })
            }
            NetCommand::Request { body, .. } => fits(body.len(), self.question_len_max),
            NetCommand::Respond { body, .. } => fits(body.len(), self.frame_len_max),
            _ => Ok(()),
        }
    }
}

fn fits(len: usize, len_max: u32) -> Result<(), CommandError> {
    if codec::fits(len, len_max) {
        Ok(())
    } else {
        Err(CommandError::FrameTooLarge { len, len_max })
    }
}

/// Starts a shell on the current tokio runtime and returns the two ends its owner holds.
///
/// Dropping the receiver ends the shell.
///
/// # Errors
/// There is no runtime, the parameters are refused, or an address cannot be listened on.
pub fn spawn(config: NetConfig) -> Result<(NetHandle, mpsc::Receiver<NetEvent>), NetError> {
    let runtime = tokio::runtime::Handle::try_current()?;
    let swarm = behaviour::swarm(&config)?;
    let (commands, commands_in) = mpsc::channel(COMMANDS_MAX);
    let (events_out, events) = mpsc::channel(EVENTS_MAX);
    let (question_len_max, frame_len_max) = (config.question_len_max, config.frame_len_max);
    let handle = NetHandle {
        commands,
        question_len_max,
        frame_len_max,
    };
    runtime.spawn(driver::Driver::new(swarm).run(commands_in, events_out));
    Ok((handle, events))
}
