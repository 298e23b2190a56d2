//! The store of one site: log, blocks, and the state they amount to.
//!
//! The story of a commit: payloads go into blocks; records are handed to [`Store::commit`]; one
//! thread of those waiting seals and judges every commit of the group, syncs the blocks, appends
//! the commits, syncs the log once, and only then makes them visible and acknowledges them. So what
//! is acknowledged is durable, what is visible is durable, and a record never becomes durable
//! before the payload it names.
//!
//! Commits of other sites take the same path through [`Store::merge`]. Opening a store judges and
//! applies its log anew: the log is the truth, everything else can be rebuilt from it.

mod beside;
mod checkpoint;
mod collect;
mod error;
mod flush;
mod lost;
mod maintenance;
mod mend;
mod open;
mod removal;
mod reopen;
mod reserve;
mod salvage;
mod view;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use uor_index_format::commit::{Commit, ForkProof, Prepared};
use uor_index_format::id::{ArtifactKey, Checksum, CommitHash, FederationId, LogSeq, SiteId};
use uor_index_format::key::SiteKey;
use uor_index_format::record::Record;
use uor_index_format::snapshot::Snapshot;

use self::beside::Attempt;
use self::checkpoint::Checkpoint;
pub use self::error::{CommitError, StoreError, StoreErrorInGroup};
use self::flush::{Done, Work};
pub use self::maintenance::MaintenanceThread;
pub(crate) use self::maintenance::open_as_stored;
use self::maintenance::{Maintenance, MaintenanceState, Wakeup};
use self::mend::Mender;
pub(crate) use self::mend::{Named, for_each_record};
pub(crate) use self::open::decode;
use self::removal::Reason;
pub use self::reserve::FILE as RESERVE_FILE;
use self::reserve::Reserve;
pub use self::view::View;
use crate::blocks::{self, Blocks, BlocksError, Erased};
use crate::disk::{Context as _, Disk, LockGuard, Mode};
use crate::group::GroupCommit;
use crate::index::Index;
use crate::judge::{Judge, Verdict};
use crate::log::{self, Log, LogPosition};
use crate::state::State;
use uor_index_format::membership::ConflictRule;

/// Kinds of log entries.
mod entry {
    pub(super) const COMMIT: u8 = 1;
    pub(super) const FORK_PROOF: u8 = 2;
    pub(super) const REMOVAL: u8 = 3;
}

const IDENTITY_FILE: &str = "store";
const IDENTITY_TITLE: &str = "uor store format ";
const IDENTITY_VERSION: u16 = 1;
const LOCK_FILE: &str = "lock";

/// Which payloads a store keeps an eye on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Payloads {
    /// All that records name: those that are not here are wanted.
    #[default]
    Everything,
    /// None: whoever needs one asks for it.
    OnDemand,
}

/// What may differ between stores of one federation, and between openings of one store.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Into how many shards the index is cut; a power of two. If it is not what it was, the index
    /// is written anew.
    pub shards: NonZeroU32,
    /// So many records are indexed in memory before the index is written.
    pub memtable_records_max: u64,
    /// Mixed into the index's hash tables, so that nobody who does not know it can write ids that
    /// collide there.
    pub seed: u64,
    /// Which payloads are wanted.
    pub payloads: Payloads,
    /// Reads the log from its start, whatever the index says: what was lost is then looked for
    /// anew, and a log that ends before its index does is taken as it is.
    pub anew: bool,
    /// Whether the packs are known to end earlier than they did, which does not show: payloads that
    /// were in them are looked for in the log, and what it calls erased is not taken out of older
    /// packs.
    pub are_packs_cut: bool,
    /// How many bytes of the disk are kept in reserve, so that things can be removed, erased and
    /// collected when it is full; 0 for none.
    pub reserve_bytes: u64,
    /// Sizes of the log's files.
    pub log: log::Options,
    /// Sizes of packs.
    pub blocks: blocks::Options,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            shards: NonZeroU32::MIN.saturating_add(3),
            memtable_records_max: 1 << 20,
            seed: 0,
            payloads: Payloads::default(),
            anew: false,
            are_packs_cut: false,
            reserve_bytes: 0,
            log: log::Options::default(),
            blocks: blocks::Options::default(),
        }
    }
}

/// A commit that is durable and visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The domain.
    pub domain: SiteId,
    /// Its number there.
    pub number: u64,
    /// Its hash.
    pub hash: CommitHash,
    /// Its Lamport time.
    pub logseq: LogSeq,
}

impl Committed {
    fn of(commit: &Commit) -> Self {
        let header = commit.header();
        Self {
            domain: header.domain,
            number: header.number,
            hash: commit.hash(),
            logseq: header.logseq,
        }
    }
}

/// What opening a store found.
#[derive(Debug, Clone, Default)]
pub struct Opened {
    /// What the log's recovery did.
    pub log: log::Recovery,
    /// What the blocks' recovery did.
    pub blocks: blocks::Recovery,
    /// Why the index had to be found in the log anew, if it had. A writer then writes it; a reader
    /// keeps it in memory.
    pub index: Option<StaleIndex>,
    /// What the log has lost, as far as its index knows. Only a reader opens such a store:
    /// [`StoreError::LogCut`].
    pub cut: Option<LogCut>,
    /// Payloads that the log calls erased and that were in the packs, which have lost the record of
    /// it. They are not shown; a writer erases them again.
    pub erased_again: Vec<Checksum>,
}

/// A log that is shorter than it was when its checkpoint was written. A crash does not do that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogCut {
    /// Where the log ends.
    pub end: LogPosition,
    /// Up to where it was covered by the checkpoint.
    pub through: LogPosition,
    /// How many commits of each domain the checkpoint knows.
    pub heads: BTreeMap<SiteId, u64>,
}

/// Why an index cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleIndex {
    /// The file that is to blame, where one is.
    pub file: Option<String>,
    /// Where in it, in bytes.
    pub offset: Option<u64>,
    /// In words.
    pub what: String,
    /// Whether it is damaged. If not, it is of another version or has another number of shards.
    pub is_damage: bool,
}

/// An open store.
pub struct Store {
    federation: FederationId,
    mode: Mode,
    options: Options,
    disk: Arc<dyn Disk>,
    log: Arc<Log>,
    blocks: Blocks,
    group: GroupCommit<Work, Done, StoreErrorInGroup>,
    /// Absent while a flush is at work and after one has failed: it has judged what may not be in
    /// the log.
    judge: Mutex<Option<Judge>>,
    view: RwLock<View>,
    maintenance: Maintenance,
    /// The last number that a run of the index got; none is used twice.
    run_numbers: AtomicU32,
    mender: Arc<Mender>,
    /// Notified when maintenance may be due.
    wakeup: Arc<Wakeup>,
    /// Whether a maintenance thread is at work.
    has_maintenance_thread: AtomicBool,
    opened: Opened,
    reserve: Reserve,
    /// Held while a payload is erased, and by whoever relies on one still being wanted.
    erasing: Mutex<()>,
    _lock: Option<LockGuard>,
}

impl Store {
    /// Makes an empty store for a federation.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if there is one; [`StoreError::Disk`].
    pub fn create(disk: &Arc<dyn Disk>, federation: FederationId) -> Result<(), StoreError> {
        if disk
            .exists(IDENTITY_FILE)
            .during("look for", IDENTITY_FILE)?
        {
            return Err(StoreError::Exists);
        }
        disk.create_dir_all("")
            .during("create", "the store's directory")?;
        let text = identity_text(federation);
        crate::disk::replace(disk.as_ref(), IDENTITY_FILE, text.as_bytes())?;
        Ok(())
    }

    /// Whether this is how the file begins that makes a directory a store, of whatever version.
    #[must_use]
    pub fn is_identity(file_begin: &[u8]) -> bool {
        file_begin.starts_with(IDENTITY_TITLE.as_bytes())
    }

    /// The file that makes a directory a store.
    pub const IDENTITY_FILE: &'static str = IDENTITY_FILE;

    /// The federation the store on `disk` belongs to.
    ///
    /// # Errors
    /// [`StoreError::Absent`], [`StoreError::Identity`], [`StoreError::NewerVersion`] or
    /// [`StoreError::Disk`].
    pub fn identity(disk: &Arc<dyn Disk>) -> Result<FederationId, StoreError> {
        if !disk
            .exists(IDENTITY_FILE)
            .during("look for", IDENTITY_FILE)?
        {
            return Err(StoreError::Absent);
        }
        let bytes = crate::disk::read_all(disk.as_ref(), IDENTITY_FILE)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| StoreError::Identity)?;
        let mut lines = text.lines();
        let version = lines
            .next()
            .and_then(|line| line.strip_prefix(IDENTITY_TITLE)?.parse::<u16>().ok());
        match version {
            Some(IDENTITY_VERSION) => {}
            Some(found) if found > IDENTITY_VERSION => {
                return Err(StoreError::NewerVersion { found });
            }
            _ => return Err(StoreError::Identity),
        }
        let federation = lines
            .next()
            .and_then(|line| line.strip_prefix("federation ")?.parse().ok());
        federation
            .filter(|federation| identity_text(*federation) == text)
            .ok_or(StoreError::Identity)
    }

    /// Opens the store on `disk`: for reading beside any writer, or as its one writer.
    ///
    /// # Errors
    /// [`StoreError::Absent`], [`StoreError::InUse`], or whatever is wrong with its files, by name.
    pub fn open(disk: Arc<dyn Disk>, mode: Mode) -> Result<Self, StoreError> {
        Self::open_with(disk, mode, Options::default())
    }

    /// Opens the store on `disk` with these options. On a full disk a writer gives its reserve back
    /// first, if it must.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(
        disk: Arc<dyn Disk>,
        mode: Mode,
        options: Options,
    ) -> Result<Self, StoreError> {
        let open = || match mode {
            Mode::ReadOnly => beside::open(&disk, options),
            Mode::Write => Self::open_once(disk.clone(), mode, options, &Attempt::ALONE)
                .map(|opened| opened.unwrap_or_else(|| unreachable!("nobody else writes"))),
        };
        let mut opened = open();
        let mut released_len = 0;
        if mode == Mode::Write
            && opened
                .as_ref()
                .err()
                .is_some_and(StoreError::is_out_of_space)
        {
            released_len = reserve::release(&*disk);
            if released_len > 0 {
                opened = open();
            }
        }
        let mut store = opened?;
        if mode == Mode::Write {
            store.reserve = Reserve::keep(&*store.disk, options.reserve_bytes, released_len);
        }
        Ok(store)
    }

    /// Opens the store on `disk` as it is now; `None` if its index was changed while it was read.
    fn open_once(
        disk: Arc<dyn Disk>,
        mode: Mode,
        options: Options,
        attempt: &Attempt,
    ) -> Result<Option<Self>, StoreError> {
        let federation = Self::identity(&disk)?;
        let lock = match mode {
            Mode::ReadOnly => None,
            Mode::Write => Some(
                disk.try_lock(LOCK_FILE)
                    .during("take the lock that is file", LOCK_FILE)?
                    .ok_or(StoreError::InUse)?,
            ),
        };
        // Before the log: what it names is in the log then, whatever a writer beside appends
        // meanwhile.
        let checkpoint = Checkpoint::load(disk.as_ref())?;
        let (blocks, blocks_recovery) = Blocks::open_with(disk.clone(), mode, options.blocks)?;
        let (log, log_recovery) = Log::open_with(disk.clone(), mode, options.log)?;
        let state = State::new(
            ConflictRule::default(),
            Index::new(options.shards.get(), options.seed),
            log.view(),
        );
        let (log, wakeup) = (Arc::new(log), Arc::<Wakeup>::default());
        let mut store = Self {
            federation,
            mode,
            options,
            disk,
            mender: Arc::new(Mender::new(Arc::clone(&log), Arc::clone(&wakeup))),
            log,
            blocks,
            group: GroupCommit::new(),
            judge: Mutex::new(None),
            view: RwLock::new(View::new(state)),
            maintenance: Maintenance::default(),
            run_numbers: AtomicU32::new(0),
            wakeup,
            has_maintenance_thread: AtomicBool::new(false),
            opened: Opened {
                log: log_recovery,
                blocks: blocks_recovery,
                ..Opened::default()
            },
            reserve: Reserve::default(),
            erasing: Mutex::default(),
            _lock: lock,
        };
        let mut maintenance = MaintenanceState::default();
        let opened = open::open(&store, checkpoint, &mut maintenance, attempt)?;
        let Some((judge, view, found)) = opened else {
            return Ok(None);
        };
        if mode == Mode::Write {
            maintenance.sweep(store.disk.as_ref())?;
        }
        store.maintenance = Maintenance::of(maintenance);
        store.judge = Mutex::new(Some(judge));
        store.view = RwLock::new(view);
        (store.opened.index, store.opened.cut) = (found.rebuilt, found.cut);
        store.keep_erased()?;
        Ok(Some(store))
    }

    /// The federation.
    pub const fn federation(&self) -> FederationId {
        self.federation
    }

    /// What opening found and mended.
    pub const fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Whether it was opened to be read or written.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// The disk under the store.
    pub const fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// The log.
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Payloads.
    pub const fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// Everything durable, as of now. Writers wait while the guard is held: look, and let go.
    pub fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes `records` as the next commit of the key's domain. When this returns, the commit is
    /// durable and visible.
    ///
    /// # Errors
    /// [`CommitError`]; nothing is visible then. After a failed write or sync the store takes no
    /// more commits until it is opened again.
    pub fn commit(
        &self,
        key: &SiteKey,
        records: Vec<Record>,
        wall_ms: u64,
    ) -> Result<Committed, CommitError> {
        // What only removes is to go on a full disk as well: nothing is freed before.
        let _room = records
            .iter()
            .all(Record::is_tombstone)
            .then(|| self.make_room());
        let work = Work::Local {
            key: Box::new(key.clone()),
            prepared: Prepared::new(records)?,
            wall_ms,
        };
        match self.submit(work)? {
            Done::Local(result) => result,
            Done::Merged(_) | Done::Frozen(_) => unreachable!("local work has a local answer"),
        }
    }

    /// Takes in commits of other sites, in this order, with one sync. Those that count are durable
    /// and visible when this returns; a fork that shows is proven, kept, and its domain frozen.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub fn merge(&self, commits: Vec<Commit>) -> Result<Vec<Verdict>, StoreError> {
        self.merge_patiently(commits, 1)
    }

    /// As [`Store::merge`], with more patience for clocks: a commit is held back if its logseq lies
    /// more than `patience` times the federation's clock jump above everything here. Whoever is
    /// offered such a commit again and again raises it bit by bit, so that what others wrote under
    /// a clock that was jumped is not lost, and a clock can still not be run out.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub fn merge_patiently(
        &self,
        commits: Vec<Commit>,
        patience: u64,
    ) -> Result<Vec<Verdict>, StoreError> {
        match self.submit(Work::Merge { commits, patience })? {
            Done::Merged(verdicts) => Ok(verdicts),
            Done::Local(_) | Done::Frozen(_) => unreachable!("a merge is answered by verdicts"),
        }
    }

    /// Takes in a proof that a writer forked its log; says whether it was news.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub fn freeze(&self, proof: ForkProof) -> Result<bool, StoreError> {
        match self.submit(Work::Freeze(Box::new(proof)))? {
            Done::Frozen(news) => Ok(news),
            Done::Local(_) | Done::Merged(_) => {
                unreachable!("a proof is answered by whether it was news")
            }
        }
    }

    /// The bytes of commit `number` of `domain`, if it counts.
    ///
    /// # Errors
    /// [`StoreError::Log`] if they cannot be read.
    pub fn commit_bytes(
        &self,
        domain: &SiteId,
        number: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let row = self.view().state().commits().row(domain, number)?;
        row.map(|row| Ok(self.log.read(row.at)?.body)).transpose()
    }

    /// Membership commits from beyond a fork that say how these sites became members, each after
    /// what it rests on itself, as many as fit `len_max` bytes (at least one, if there is one).
    /// Commits that count are left out: they travel as any other.
    ///
    /// # Errors
    /// [`StoreError::Log`] if they cannot be read.
    pub fn testimony_for(
        &self,
        sites: &[SiteId],
        len_max: u64,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let positions = self.view().testimony_for(sites);
        let (mut commits, mut len) = (Vec::new(), 0);
        for position in positions {
            let body = self.log.read(position)?.body;
            len += body.len() as u64;
            if len > len_max && !commits.is_empty() {
                break;
            }
            commits.push(body);
        }
        Ok(commits)
    }

    /// Commit `number` of `domain`, if it counts.
    ///
    /// # Errors
    /// [`StoreError::Log`] or [`StoreError::Entry`] if it cannot be read.
    pub fn read_commit(&self, domain: &SiteId, number: u64) -> Result<Option<Commit>, StoreError> {
        let row = self.view().state().commits().row(domain, number)?;
        row.map(|row| decode(row.at, &self.log.read(row.at)?.body))
            .transpose()
    }

    /// Erases a payload on request: its bytes go for good, and the log says when. Records that name
    /// it stay as they are. It comes back only if it is put again. Erasing what was erased already
    /// does nothing.
    ///
    /// The log's word comes last: what it calls erased is nowhere in the packs. Without it, as a
    /// crash may leave it, the packs know that the payload is not to be wanted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn erase(&self, checksum: Checksum, wall_ms: u64) -> Result<Erased, StoreError> {
        let _alone = self.hold_erasing();
        let _room = self.make_room();
        if self.judge().is_none() {
            return Err(StoreError::Poisoned);
        }
        if self.blocks.erased(checksum) && self.view().erased(&checksum).is_some() {
            // An erasure that failed looks the same; then this fails.
            self.blocks.sync()?;
            return Ok(Erased::default());
        }
        let erased = self.blocks.erase(checksum)?;
        self.note_removal(Reason::Erased, wall_ms, || Ok(vec![checksum]))?;
        Ok(erased)
    }

    /// While this is held nothing is erased: what is wanted stays wanted until it is put, and is
    /// not put after it was erased.
    pub fn hold_erasing(&self) -> MutexGuard<'_, ()> {
        self.erasing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the store that payloads have been put into its blocks, wanted ones among them. Makes
    /// them durable: what is no longer wanted is here after a crash too, and for whoever reads the
    /// files beside this process.
    ///
    /// # Errors
    /// [`BlocksError`] if they could not be made durable.
    pub fn payloads_arrived(&self, checksums: &[Checksum]) -> Result<(), BlocksError> {
        let wanted: Vec<&Checksum> = {
            let view = self.view();
            let is_here = |checksum: &&Checksum| {
                view.wanted.contains_key(*checksum) && self.blocks.has(**checksum)
            };
            checksums.iter().filter(is_here).collect()
        };
        if wanted.is_empty() {
            return Ok(());
        }
        self.blocks.sync()?;
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        for checksum in wanted {
            view.wanted.remove(checksum);
        }
        Ok(())
    }

    /// The whole payload of a visible artifact or receipt, if it is known at `snapshot` and its
    /// bytes are here.
    ///
    /// # Errors
    /// [`StoreError::Blocks`] if it is longer than `len_max` or cannot be read.
    pub fn payload(
        &self,
        key: &ArtifactKey,
        snapshot: &Snapshot,
        len_max: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let checksum = self
            .view()
            .state()
            .entry(&(*key).into(), snapshot)?
            .and_then(|entry| entry.checksum);
        match checksum.filter(|checksum| self.blocks.has(*checksum)) {
            Some(checksum) => Ok(Some(self.blocks.read_all(checksum, len_max)?)),
            None => Ok(None),
        }
    }

    pub(crate) fn judge(&self) -> MutexGuard<'_, Option<Judge>> {
        self.judge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn empty_index(&self) -> Index {
        Index::new(self.options.shards.get(), self.options.seed)
    }
}

fn identity_text(federation: FederationId) -> String {
    format!("{IDENTITY_TITLE}{IDENTITY_VERSION}\nfederation {federation}\n")
}
