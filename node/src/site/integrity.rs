//! Whether everything is there that the site had acknowledged, and whether it may write.
//!
//! To be read in this order: `witness` (what was acknowledged, beside the log), `standing` (what is
//! lost, and why a site may not write), `recover` (going on).

mod recover;
pub(super) mod standing;
pub(super) mod witness;

pub use self::recover::{Damaged, RecoverError, Remaining};
pub use self::standing::{Hold, HoldError, Loss, Witnessed};
