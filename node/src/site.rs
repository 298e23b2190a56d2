//! A site: one data directory, opened by this process, and everything a person does there.
//!
//! A synchronous library over the store, the graph and the engine: no network, no runtime. `uor` parses, calls one of these
//! methods and renders the plain struct it returns; the node shell serves the same methods to programs beside it.
//!
//! To be read in this order: `home`, `lifecycle`, `membership`, `peers` (the directory and who it belongs to); `resolve`,
//! `names`, `add`, `import`, `read` (things, on their way in and out); `history`, `edges`, `snapshots` (what is said about them);
//! `shelf`, `programs`, `run` (what is computed from them); `remove`, `kept`, `gc`, `erase` (what goes again); `status`.
//!
//! Invariants: what a method reports as written to the site is durable; what fails makes nothing visible but what it had
//! reported before; every read takes the snapshot it is to see, so a report never mixes two states.

mod add;
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
mod peers;
mod private;
mod programs;
mod read;
mod remove;
mod resolve;
mod run;
mod shelf;
mod snapshots;
mod stat_cache;
mod status;
pub mod text;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use uor_asl::disk::{Disk, Mode};
use uor_asl::store::{CommitError, Committed, Keeper, Store};
use uor_index_format::id::{FederationId, SiteId};
use uor_index_format::key::SiteKey;
use uor_index_format::record::Record;
use uor_index_format::snapshot::Snapshot;

pub use add::{
    AddError, AddEvent, AddOptions, Added, Bounded, ExcludeError, Excludes, Fate, LeftOut, Obstacle, Planned, Progress,
    Source,
};
pub use edges::{EdgeAdded, EdgeDraft, EdgeError, EdgeListed};
pub use erase::{EraseError, ErasedPayload};
pub use gc::{Gathered, GcError};
pub use history::{ClaimListed, ConflictListed, HistoryError, LogListed, ResolutionError, Resolved};
pub use home::FileError;
pub use import::{ImportError, ImportOptions, ImportProgress, ImportReport, Imported, ZfsIdentity};
pub use lifecycle::{InitError, Initialised, OpenError};
pub use membership::{InviteError, MemberListed, RedeemError, Redeemed};
pub use names::{RefError, RefListed, RefSet};
pub use peers::Peer;
pub use programs::{ProgramAdded, ProgramChecked, ProgramError, ProgramShown};
pub use read::{Listed, ListedAttributes, ListedKind, Materialised, OpenedPayload, ReadError};
pub use remove::{RemoveError, Removed, RemovedAll};
pub use resolve::{Candidate, ResolveError, Sort, Target};
pub use run::{Binding, Failure, Ran, ReceiptShown, RunError, RunOptions, RunProgress, StepShown};
pub use shelf::StoreShelf;
pub use snapshots::{
    Applied, Change, DomainApplied, EntryListed, SnapshotCreated, SnapshotDiff, SnapshotError, SnapshotListed,
    SnapshotShown,
};
pub use status::{DiskUse, DomainStatus, Status, StatusError};

/// One data directory, opened by this process.
pub struct Site {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    mode: Mode,
    name: String,
    key: SiteKey,
    store: Arc<Store>,
    /// Does the store's housekeeping, unless it was opened to be read; writes its index when the site is let go of.
    _keeper: Option<Keeper>,
    /// Held while one of the small files is read and replaced.
    files: Mutex<()>,
    /// Shared from putting something until it is committed; held alone while garbage is collected.
    putting: RwLock<()>,
    was_open_to_others: bool,
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

    /// The store under the site, for the replication core. Writing through [`Site`] keeps the rules of this module.
    pub const fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The snapshot of everything here, as of now.
    pub fn head(&self) -> Snapshot {
        self.store.view().head().clone()
    }

    fn commit(&self, records: Vec<Record>) -> Result<Committed, CommitError> {
        self.store.commit(&self.key, records, crate::clock::wall_ms())
    }
}
