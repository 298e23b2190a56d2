//! How a site comes to be, joins a federation, is opened, and lets others join.
//!
//! To be read in this order: `error`, `parts` (what a data directory is made of), `fresh`, `opening`,
//! `init`, `join`, `invite`.

pub(super) mod error;
pub(super) mod fresh;
mod init;
mod invite;
mod join;
mod opening;
mod parts;

pub use self::error::{InitError, OpenError};
pub use self::init::Initialised;
pub use self::invite::{InviteError, RedeemError, Redeemed};
