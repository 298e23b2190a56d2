//! How a site comes to be, joins a federation, is opened, and lets others join.
//!
//! To be read in this order: `lifecycle`, `opening`, `invite`.

pub(super) mod invite;
pub(super) mod lifecycle;
mod opening;

pub use self::invite::{InviteError, MemberListed, RedeemError, Redeemed};
pub use self::lifecycle::{InitError, Initialised, OpenError};
