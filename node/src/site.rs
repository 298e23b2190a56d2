//! A site: one data directory, opened by this process, and everything a person does there.
//!
//! A synchronous library over the store, the graph and the engine: no network, no runtime. `uor`
//! parses, calls one of these methods and renders the plain struct it returns; the node shell
//! serves the same methods to programs beside it.
//!
//! `handle` is what every part shares: directory, key, store, the way to a commit, and the head.
//! Everything else adds methods to it, by what people do. To be read in this order, in which each
//! uses only what stands before it: `text`, `json`, `bounded` (how names, ids and long lists look);
//! `locks`, `directory` (the data directory and its small files), `integrity` (whether it is all
//! there); `handle`, `writing` (what every writer goes through); `setup` (how a site comes to be
//! and is opened), `catalog` (what is here, and what is said about it), `ingest` and `export`
//! (things on their way in and out), `compute` (what is computed from them), `retention` (what goes
//! again), `backup` (what must not get lost).
//!
//! Invariants: what a method reports as written to the site is durable; what fails makes nothing
//! visible but what it had reported before; every read takes the snapshot it is to see, so a report
//! never mixes two states; what is cancelled ([`Site::cancellable`]) commits nothing from then on.

mod backup;
mod bounded;
mod catalog;
mod compute;
mod directory;
mod export;
mod handle;
mod ingest;
mod integrity;
mod json;
mod locks;
mod retention;
mod setup;
pub mod text;
mod writing;

pub use self::backup::{BackedUp, BackupError, BackupProgress, RestoreError, Restored};
pub use self::bounded::Bounded;
pub use self::catalog::{
    Applied, Candidate, Change, ClaimListed, ConflictListed, DiskUse, DomainApplied, DomainStatus,
    EdgeAdded, EdgeDraft, EdgeError, EdgeListed, EntryListed, HistoryError, LogListed,
    MemberListed, OpenedPayload, ReadError, RefError, RefListed, RefSet, ResolutionError,
    ResolveError, Resolved, SnapshotCreated, SnapshotDiff, SnapshotError, SnapshotListed,
    SnapshotShown, Sort, Status, StatusError, Target, ZfsIdentity,
};
pub use self::compute::{
    Binding, Failure, ProgramAdded, ProgramChecked, ProgramError, ProgramShown, Ran, ReceiptShown,
    RunArtifacts, RunError, RunOptions, RunProgress, StepShown,
};
pub use self::directory::FileError;
pub(crate) use self::directory::TABLE_FILE;
pub use self::export::{Listed, ListedAttributes, ListedKind, Materialised};
pub use self::handle::Site;
pub use self::ingest::{
    AddError, AddEvent, AddOptions, Added, ExcludeError, Excludes, Fate, ImportError,
    ImportOptions, ImportProgress, ImportRefusal, ImportReport, Imported, LeftOut, Obstacle,
    Planned, Progress, Source,
};
pub use self::integrity::{Hold, HoldError, Loss, Witnessed};
pub use self::retention::{
    EraseError, ErasedPayload, Gathered, GcError, RemoveError, Removed, RemovedAll, SnapshotDropped,
};
pub use self::setup::{
    Damaged, InitError, Initialised, InviteError, OpenError, Peer, RecoverError, RedeemError,
    Redeemed, Remaining,
};
