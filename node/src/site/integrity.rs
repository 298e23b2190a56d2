//! Whether everything is there that the site had acknowledged, and whether it may write.
//!
//! To be read in this order: `place`, `packs`, `acknowledged` (what is written down beside the
//! log), `witness` (who writes it), `loss`, `hold`, `permission` (why a site may not write),
//! `found`.

mod acknowledged;
pub(super) mod found;
pub(super) mod hold;
pub(super) mod loss;
mod packs;
pub(super) mod permission;
mod place;
pub(super) mod witness;

pub use self::hold::{Hold, HoldError};
pub use self::loss::{Loss, Witnessed};
