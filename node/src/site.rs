//! A site: one data directory, opened by this process, and everything a person does there.
//!
//! A synchronous library over the store, the graph and the engine: no network, no runtime. `uor`
//! parses, calls one of these methods and renders the plain struct it returns; the node shell
//! serves the same methods to programs beside it.
//!
//! To be read in this order: `home`, `private`, `lifecycle`, `opening`, `witness`, `standing`,
//! `membership`, `peers` (the directory, who it belongs to, and whether it is all there);
//! `resolve`, `names`, `add`, `import`, `read` (things, on their way in and out); `history`,
//! `edges`, `snapshots` (what is said about them); `shelf`, `programs`, `run` (what is computed
//! from them); `remove`, `kept`, `gc`, `erase` (what goes again); `recover`, `backup`, `restore`
//! (what must not get lost); `status`.
//!
//! Invariants: what a method reports as written to the site is durable; what fails makes nothing
//! visible but what it had reported before; every read takes the snapshot it is to see, so a report
//! never mixes two states; what is cancelled ([`Site::cancellable`]) commits nothing from then on.

mod add;
mod backup;
mod edges;
mod erase;
mod gc;
mod history;
mod home;
mod import;
mod json;
mod kept;
mod lifecycle;
mod membership;
mod names;
mod opening;
mod peers;
mod private;
mod programs;
mod read;
mod recover;
mod remove;
mod reopen;
mod resolve;
mod restore;
mod run;
mod shelf;
mod snapshots;
mod standing;
mod stat_cache;
mod status;
pub mod text;
mod walk;
mod witness;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, RwLock};

use uor_asl::disk::{Disk, Mode};
use uor_asl::log::Salvaged;
use uor_asl::store::{CommitError, Committed, LogCut, MaintenanceThread, Store, StoreError};
use uor_index_format::id::{FederationId, SiteId};
use uor_index_format::key::SiteKey;
use uor_index_format::record::Record;
use uor_index_format::snapshot::Snapshot;

use crate::cancel::Cancel;
use standing::{Standing, Witnessing};

pub use add::{
    AddError, AddEvent, AddOptions, Added, Bounded, ExcludeError, Excludes, Fate, LeftOut,
    Obstacle, Planned, Progress, Source,
};
pub use backup::{BackedUp, BackupError};
pub use edges::{EdgeAdded, EdgeDraft, EdgeError, EdgeListed};
pub use erase::{EraseError, ErasedPayload};
pub use gc::{Gathered, GcError};
pub use history::{
    ClaimListed, ConflictListed, HistoryError, LogListed, ResolutionError, Resolved,
};
pub use home::FileError;
pub(crate) use home::TABLE_FILE;
pub use import::{
    ImportError, ImportOptions, ImportProgress, ImportRefusal, ImportReport, Imported, ZfsIdentity,
};
pub use lifecycle::{InitError, Initialised, OpenError};
pub use membership::{InviteError, MemberListed, RedeemError, Redeemed};
pub use names::{RefError, RefListed, RefSet};
pub use peers::Peer;
pub use programs::{ProgramAdded, ProgramChecked, ProgramError, ProgramShown};
pub use read::{Listed, ListedAttributes, ListedKind, Materialised, OpenedPayload, ReadError};
pub use recover::{Damaged, RecoverError, Remaining};
pub use remove::{RemoveError, Removed, RemovedAll};
pub use resolve::{Candidate, ResolveError, Sort, Target};
pub use restore::{RestoreError, Restored};
pub use run::{Binding, Failure, Ran, ReceiptShown, RunError, RunOptions, RunProgress, StepShown};
pub use shelf::StoreShelf;
pub use snapshots::{
    Applied, Change, DomainApplied, EntryListed, SnapshotCreated, SnapshotDiff, SnapshotError,
    SnapshotListed, SnapshotShown,
};
pub use standing::{Hold, HoldError, Loss, Witnessed};
pub use status::{DiskUse, DomainStatus, Status, StatusError};

/// One data directory, opened by this process. Clones are handles of the same open directory.
#[derive(Clone)]
pub struct Site {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    mode: Mode,
    name: String,
    key: SiteKey,
    store: Arc<Store>,
    /// Does the store's maintenance, unless it was opened to be read; writes its index when the
    /// site is let go of.
    _maintenance: Option<Arc<MaintenanceThread>>,
    /// Held while one of the small files is read and replaced.
    files: Arc<Mutex<()>>,
    /// Shared from putting something until it is committed; held alone while garbage is collected.
    putting: Arc<RwLock<()>>,
    was_open_to_others: bool,
    /// Whether what is being done through this handle is still wanted.
    cancel: Cancel,
    /// What was acknowledged, beside the log; of a site that is open to be written.
    witness: Arc<Witnessing>,
    /// What is lost. Nothing of a site that may write.
    loss: Option<Loss>,
    /// What was lost of other sites' commits when the site was opened.
    cut: Option<LogCut>,
    /// Segments of the log that were written anew to recover it.
    salvaged: Vec<Salvaged>,
    is_lone_copy: bool,
    standing: Arc<Mutex<Standing>>,
    /// Told when the others have been asked.
    asked: Arc<Condvar>,
}

impl Site {
    /// The data directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The site's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The site's id: its domain, and its peer key.
    pub fn site_id(&self) -> SiteId {
        self.key.site_id()
    }

    /// The key the site signs with.
    pub const fn key(&self) -> &SiteKey {
        &self.key
    }

    /// The federation.
    pub fn federation(&self) -> FederationId {
        self.store.federation()
    }

    /// The store under the site, for the replication core. Writing through [`Site`] keeps the rules
    /// of this module.
    pub const fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The snapshot of everything here, as of now.
    pub fn head(&self) -> Snapshot {
        self.store.view().head().clone()
    }

    /// Another handle of the same open directory: what is done through it stops when `cancel` says
    /// so, and commits nothing from then on.
    #[must_use]
    pub fn cancellable(&self, cancel: Cancel) -> Self {
        Self {
            cancel,
            ..self.clone()
        }
    }

    fn commit(&self, records: Vec<Record>) -> Result<Committed, CommitError> {
        let check = || self.cancel.check().map_err(|_| StoreError::Cancelled);
        check()?;
        self.wait_to_write(&mut || {})
            .map_err(|held| CommitError::Parked {
                reason: held.to_string(),
            })?;
        check()?;
        let committed = self
            .store
            .commit(&self.key, records, crate::clock::wall_ms())?;
        self.witness(&committed);
        Ok(committed)
    }
}
