//! How a site comes to be, joins a federation, is opened, may write, and lets others join.
//!
//! To be read in this order: `error`, `parts` (what a data directory is made of), `fresh`,
//! `opening`, `may_write`, `recover` (going on after a loss), `init`, `join`, `peers`, `invite`.

pub(super) mod error;
pub(super) mod fresh;
mod init;
mod invite;
mod join;
mod may_write;
mod opening;
mod parts;
mod peers;
mod recover;

pub use self::error::{InitError, OpenError};
pub use self::init::Initialised;
pub use self::invite::{InviteError, RedeemError, Redeemed};
pub use self::peers::Peer;
pub use self::recover::{Damaged, RecoverError, Remaining};
