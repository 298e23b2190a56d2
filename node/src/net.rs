//! The network shell: libp2p over TCP and QUIC, encrypted with Noise or TLS, multiplexed, and
//! nothing more.
//!
//! One task owns the swarm. It polls, matches and hands over; every decision is its owner's.
//! Commands come in through a [`NetHandle`], events go out through a channel, and between the two
//! there are three kinds of traffic:
//!
//! * **links** — dialled by address, reported once per peer: [`NetEvent::Connected`] when its first
//!   connection opens, [`NetEvent::Disconnected`] when its last one closes;
//! * **announcements** — at most [`ANNOUNCEMENT_LEN_MAX`] bytes to every connected member, and to
//!   nobody else. They may be lost, and of several in a row only the last arrives; they say "come
//!   and ask", and never carry what is asked for;
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
//!
//! To be read in this order: `limits`, `config`, `command`, `event`, `error` (what owner and shell
//! say to each other); `handle` (the owner's end); `driver` (the task); `behaviour`, `codec`,
//! `accepting` (the protocol stack); `gate`, `places` (who may connect); `desk` (whose question is
//! next); `key`, `reason`.

mod accepting;
mod behaviour;
mod codec;
mod command;
mod config;
mod desk;
mod driver;
mod error;
mod event;
mod gate;
mod handle;
mod key;
mod limits;
mod places;
mod reason;

pub use self::codec::{ANNOUNCEMENT_PROTOCOL, DELTA_PROTOCOL};
pub use self::command::{NetCommand, ResponseToken};
pub use self::config::NetConfig;
pub use self::error::NetError;
pub use self::event::NetEvent;
pub use self::handle::{CommandError, NetHandle, spawn};
pub use self::key::{SiteKey, peer_id, site_key};
pub use self::limits::{
    ANNOUNCEMENT_LEN_MAX, PING_TIMEOUT, REQUEST_TIMEOUT, REQUESTS_PER_PEER_MAX,
};
pub use self::places::Limits;
