//! The replication core: announce, fetch, merge, repair. A state machine without sockets, clock or
//! chance of its own.
//!
//! Events go in through `handle_*`, with the time as an argument; wishes come out of
//! [`Replicator::poll_effect`]. Storage is the store's business, on whatever disk it was given. The
//! libp2p shell and the simulator drive this same code.
//!
//! One conversation with a peer: it *announces* that it has grown (or a connection opens, or time
//! passes); we ask for its *frontier*, page by page; we fetch a *delta* of every domain in which it
//! is ahead, verified commit by commit; payloads follow. Nothing rests on an announcement arriving.
//! What a peer sends is hostile until the store has validated it.
//!
//! A connection proves the peer's key, so whether it is a member is known before a word is said.
//! Only members are spoken to: whoever else connects hears nothing, not even which federation this
//! is.
//!
//! This module never decides who may write or what is visible: that is `uor_asl::validator` and
//! `uor_asl::state`.
//!
//! To be read in this order: `effect`, `notice`, `timing` (what comes out, and when); `replicator`,
//! `peer`, `conversation`, `question` (what is known); `events` (what comes in), `announce`;
//! `sync`, `forks`, `testimony`, `merge` (a conversation, as the one who asks); `answer`, `delta`,
//! `serve` (as the one who is asked); `payloads`, `window`, `transfers`, `staging` (payloads);
//! `book`, `caught_up`, `table`, `patience` (what is remembered of others).

mod announce;
pub mod answer;
pub mod book;
mod caught_up;
mod conversation;
mod delta;
mod effect;
mod events;
mod forks;
mod merge;
pub mod notice;
mod patience;
mod payloads;
mod peer;
mod question;
mod replicator;
mod serve;
pub(crate) mod staging;
mod sync;
pub mod table;
mod testimony;
mod timing;
mod transfers;
mod window;

pub use self::answer::READER_MS_MAX;
pub use self::effect::Effect;
pub use self::notice::{Notice, Provoked};
pub use self::replicator::Replicator;
pub use self::table::{Applied, FederationLogTable};
pub use self::timing::{ANSWER_MS_MAX, ANTI_ENTROPY_MS};
