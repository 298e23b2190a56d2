//! What was found when a site was opened.

use uor_asl::log::Salvaged;
use uor_asl::store::LogCut;

use super::loss::Loss;

/// What was found when the site was opened, as it was then.
pub(in crate::site) struct Found {
    /// Whether other users could look into the data directory, as earlier releases had made it.
    pub(in crate::site) was_open_to_others: bool,
    /// What the site had acknowledged and has no longer. Nothing of a site that may write.
    pub(in crate::site) loss: Option<Loss>,
    /// What was lost of other sites' commits.
    pub(in crate::site) cut: Option<LogCut>,
    /// Segments of the log that were rewritten to recover it.
    pub(in crate::site) salvaged: Vec<Salvaged>,
}
