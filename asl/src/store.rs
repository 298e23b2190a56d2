//! The store of one site: log, blocks, and the state they amount to.
//!
//! The story of a commit: payloads go into blocks; records are handed to [`Store::commit`]; one thread of those waiting
//! seals and judges every commit of the group, syncs the blocks, appends the commits, syncs the log once, and only then
//! makes them visible and acknowledges them. So what is acknowledged is durable, what is visible is durable, and a record
//! never becomes durable before the payload it names.
//!
//! Commits of other sites take the same path through [`Store::merge`]. Opening a store judges and applies its log anew:
//! the log is the truth, everything else can be rebuilt from it.

mod collect;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use uor_index_format::DecodeError;
use uor_index_format::commit::{Commit, Draft, ForkProof, SealError};
use uor_index_format::id::{ArtifactKey, Checksum, CommitHash, FederationId, LogSeq, SiteId};
use uor_index_format::key::SiteKey;
use uor_index_format::membership::{ConflictRule, Genesis};
use uor_index_format::record::Record;
use uor_index_format::snapshot::Snapshot;

use crate::blocks::{Blocks, BlocksError};
use crate::disk::{Context as _, Disk, DiskError, LockGuard, Mode};
use crate::group::{GroupCommit, GroupError};
use crate::judge::{Judge, Refusal, Verdict};
use crate::log::{Log, LogError, LogPosition};
use crate::state::{ReadError, State};

/// Kinds of log entries.
mod entry {
    pub(super) const COMMIT: u8 = 1;
    pub(super) const FORK_PROOF: u8 = 2;
}

const IDENTITY_FILE: &str = "store";
const IDENTITY_TITLE: &str = "uor store format ";
const IDENTITY_VERSION: u16 = 1;
const LOCK_FILE: &str = "lock";

/// Why a store could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no store here.
    #[error("there is no store here: make one with `uor init`, or join a federation with `uor join`")]
    Absent,
    /// There is a store here already.
    #[error("there is a store here already")]
    Exists,
    /// Another process has the store open for writing.
    #[error("another process is using this store")]
    InUse,
    /// The file that names the federation cannot be understood.
    #[error("file `{IDENTITY_FILE}` is damaged: expected `{IDENTITY_TITLE}{IDENTITY_VERSION}` and the federation's id")]
    Identity,
    /// The store was written by a newer release.
    #[error(
        "file `{IDENTITY_FILE}` has format version {found}; this release reads up to {IDENTITY_VERSION}: upgrade uor"
    )]
    NewerVersion {
        /// Version found.
        found: u16,
    },
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The log could not be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The state could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Payloads could not be read or written.
    #[error(transparent)]
    Blocks(#[from] BlocksError),
    /// An entry of the log passes its own checksum and is still no valid commit.
    #[error("the log's entry in segment {} at offset {} is no valid commit", position.segment, position.offset)]
    Entry {
        /// Where it is.
        position: LogPosition,
        /// What is wrong with it.
        #[source]
        source: DecodeError,
    },
    /// An earlier write failed: what is in the log is known only after opening the store again.
    #[error("the store takes nothing in since a write failed; open it again")]
    Poisoned,
    /// The group of writers this call belonged to failed.
    #[error("the write failed")]
    Group(#[from] GroupError<StoreErrorInGroup>),
}

/// A [`StoreError`] shared by all writers of a group.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StoreErrorInGroup(#[from] Box<StoreError>);

/// Why a site's own records did not become a commit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// They do not fit a commit.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The federation would refuse the commit.
    #[error("this site may not write")]
    Refused(#[from] Refusal),
    /// The commit cannot be judged yet.
    #[error("this site cannot write yet: {reason}")]
    Parked {
        /// What is missing.
        reason: String,
    },
    /// The 64-bit clock is exhausted.
    #[error("the federation's logical clock is exhausted")]
    ClockExhausted,
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
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
        Self { domain: header.domain, number: header.number, hash: commit.hash(), logseq: header.logseq }
    }
}

enum Work {
    Local { key: Box<SiteKey>, records: Vec<Record>, wall_ms: u64 },
    Merge(Vec<Commit>),
    Freeze(Box<ForkProof>),
}

enum Done {
    Local(Result<Committed, CommitError>),
    Merged(Vec<Verdict>),
    Frozen(bool),
}

/// What opening a store found.
#[derive(Debug, Clone, Default)]
pub struct Opened {
    /// What the log's recovery did.
    pub log: crate::log::Recovery,
    /// What the blocks' recovery did.
    pub blocks: crate::blocks::Recovery,
}

/// Everything that is durable, as readers see it.
pub struct View {
    state: State,
    head: Snapshot,
    genesis: Option<Genesis>,
    members: BTreeSet<SiteId>,
    forks: BTreeMap<SiteId, ForkProof>,
    positions: BTreeMap<(SiteId, u64), (LogPosition, CommitHash, LogSeq)>,
    wanted: BTreeMap<Checksum, u64>,
    uncounted: u64,
    /// Of each domain with commits that do not count, the highest number among them.
    uncounted_heads: BTreeMap<SiteId, u64>,
}

impl View {
    /// The state.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The snapshot of everything here.
    pub const fn head(&self) -> &Snapshot {
        &self.head
    }

    /// The federation's founding record, once it has arrived.
    pub const fn genesis(&self) -> Option<&Genesis> {
        self.genesis.as_ref()
    }

    /// Everyone who may write.
    pub const fn members(&self) -> &BTreeSet<SiteId> {
        &self.members
    }

    /// Proofs that writers forked their logs, by domain.
    pub const fn forks(&self) -> &BTreeMap<SiteId, ForkProof> {
        &self.forks
    }

    /// Payloads that records name and that are not here, with their lengths.
    pub const fn wanted(&self) -> &BTreeMap<Checksum, u64> {
        &self.wanted
    }

    /// How many commits lie in the log and do not count, because a fork proof froze their domain or one they rest on.
    pub const fn uncounted(&self) -> u64 {
        self.uncounted
    }

    /// How many commits count.
    pub fn commits_len(&self) -> u64 {
        self.positions.len() as u64
    }

    /// All commits that count, ascending by domain and number.
    ///
    /// # Errors
    /// [`ReadError`], each time one cannot be read.
    pub fn commits(&self) -> impl Iterator<Item = Result<Committed, ReadError>> {
        self.positions.iter().map(|((domain, number), (_, hash, logseq))| {
            Ok(Committed { domain: *domain, number: *number, hash: *hash, logseq: *logseq })
        })
    }

    /// The hash of commit `number` of `domain`, if it counts.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn commit_hash(&self, domain: &SiteId, number: u64) -> Result<Option<CommitHash>, ReadError> {
        Ok(self.positions.get(&(*domain, number)).map(|(_, hash, _)| *hash))
    }

    /// Whether everything inside `snapshot` is here and of the same chains.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn has(&self, snapshot: &Snapshot) -> Result<bool, ReadError> {
        for (domain, head) in &snapshot.frontier {
            if self.commit_hash(domain, head.number)? != Some(head.hash) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn apply(&mut self, commit: &Commit, position: LogPosition, blocks: &Blocks) {
        let header = commit.header();
        self.state.apply(commit);
        self.positions.insert((header.domain, header.number), (position, commit.hash(), header.logseq));
        for payload in commit.records().iter().filter_map(Record::block_payload) {
            if !blocks.has(payload.checksum) {
                // A record that claims a shorter length must not keep the true payload out.
                let len = self.wanted.entry(payload.checksum).or_default();
                *len = (*len).max(payload.len);
            }
        }
    }
}

/// An open store.
pub struct Store {
    federation: FederationId,
    mode: Mode,
    disk: Arc<dyn Disk>,
    log: Log,
    blocks: Blocks,
    group: GroupCommit<Work, Done, StoreErrorInGroup>,
    /// Absent while a flush is at work and after one has failed: it has judged what may not be in the log.
    judge: Mutex<Option<Judge>>,
    view: RwLock<View>,
    opened: Opened,
    _lock: Option<LockGuard>,
}

impl Store {
    /// Makes an empty store for a federation.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if there is one; [`StoreError::Disk`].
    pub fn create(disk: &Arc<dyn Disk>, federation: FederationId) -> Result<(), StoreError> {
        if disk.exists(IDENTITY_FILE).during("look for", IDENTITY_FILE)? {
            return Err(StoreError::Exists);
        }
        disk.create_dir_all("").during("create", "the store's directory")?;
        let text = format!("{IDENTITY_TITLE}{IDENTITY_VERSION}\nfederation {federation}\n");
        crate::disk::replace(disk.as_ref(), IDENTITY_FILE, text.as_bytes())?;
        Ok(())
    }

    /// The federation the store on `disk` belongs to.
    ///
    /// # Errors
    /// [`StoreError::Absent`], [`StoreError::Identity`], [`StoreError::NewerVersion`] or [`StoreError::Disk`].
    pub fn identity(disk: &Arc<dyn Disk>) -> Result<FederationId, StoreError> {
        if !disk.exists(IDENTITY_FILE).during("look for", IDENTITY_FILE)? {
            return Err(StoreError::Absent);
        }
        let bytes = crate::disk::read_all(disk.as_ref(), IDENTITY_FILE)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| StoreError::Identity)?;
        let mut lines = text.lines();
        let version = lines.next().and_then(|line| line.strip_prefix(IDENTITY_TITLE)?.parse::<u16>().ok());
        match version {
            Some(IDENTITY_VERSION) => {}
            Some(found) if found > IDENTITY_VERSION => return Err(StoreError::NewerVersion { found }),
            _ => return Err(StoreError::Identity),
        }
        let federation = lines.next().and_then(|line| line.strip_prefix("federation ")?.parse().ok());
        federation.ok_or(StoreError::Identity)
    }

    /// Opens the store on `disk`: for reading beside any writer, or as its one writer.
    ///
    /// # Errors
    /// [`StoreError::Absent`], [`StoreError::InUse`], or whatever is wrong with its files, by name.
    pub fn open(disk: Arc<dyn Disk>, mode: Mode) -> Result<Self, StoreError> {
        let federation = Self::identity(&disk)?;
        let lock = match mode {
            Mode::ReadOnly => None,
            Mode::Write => Some(disk.try_lock(LOCK_FILE).during("lock", LOCK_FILE)?.ok_or(StoreError::InUse)?),
        };
        let (blocks, blocks_recovery) = Blocks::open(disk.clone(), mode)?;
        let (log, log_recovery) = Log::open(disk.clone(), mode)?;
        let (judge, view) = rebuild(federation, &log, &blocks)?;
        Ok(Self {
            federation,
            mode,
            disk,
            log,
            blocks,
            group: GroupCommit::new(),
            judge: Mutex::new(Some(judge)),
            view: RwLock::new(view),
            opened: Opened { log: log_recovery, blocks: blocks_recovery },
            _lock: lock,
        })
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

    /// Payloads.
    pub const fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// Everything durable, as of now. Writers wait while the guard is held: look, and let go.
    pub fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes `records` as the next commit of the key's domain. When this returns, the commit is durable and visible.
    ///
    /// # Errors
    /// [`CommitError`]; nothing is visible then. After a failed write or sync the store takes no more commits until it is
    /// opened again.
    pub fn commit(&self, key: &SiteKey, records: Vec<Record>, wall_ms: u64) -> Result<Committed, CommitError> {
        let work = Work::Local { key: Box::new(key.clone()), records, wall_ms };
        match self.submit(work)? {
            Done::Local(result) => result,
            Done::Merged(_) | Done::Frozen(_) => unreachable!("local work has a local answer"),
        }
    }

    /// Takes in commits of other sites, in this order, with one sync. Those that count are durable and visible when this
    /// returns; a fork that shows is proven, kept, and its domain frozen.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub fn merge(&self, commits: Vec<Commit>) -> Result<Vec<Verdict>, StoreError> {
        match self.submit(Work::Merge(commits))? {
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
            Done::Local(_) | Done::Merged(_) => unreachable!("a proof is answered by whether it was news"),
        }
    }

    /// The bytes of commit `number` of `domain`, if it counts.
    ///
    /// # Errors
    /// [`StoreError::Log`] if they cannot be read.
    pub fn commit_bytes(&self, domain: &SiteId, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let position = self.view().positions.get(&(*domain, number)).map(|(position, _, _)| *position);
        position.map(|position| Ok(self.log.read(position)?.body)).transpose()
    }

    /// Commit `number` of `domain`, if it counts.
    ///
    /// # Errors
    /// [`StoreError::Log`] or [`StoreError::Entry`] if it cannot be read.
    pub fn read_commit(&self, domain: &SiteId, number: u64) -> Result<Option<Commit>, StoreError> {
        let position = self.view().positions.get(&(*domain, number)).map(|(position, _, _)| *position);
        position.map(|position| decode(position, &self.log.read(position)?.body)).transpose()
    }

    /// Tells the store that a wanted payload has been put into its blocks.
    pub fn payload_arrived(&self, checksum: &Checksum) {
        if self.blocks.has(*checksum) {
            self.view.write().unwrap_or_else(PoisonError::into_inner).wanted.remove(checksum);
        }
    }

    /// The whole payload of a visible artifact or receipt, if it is known at `snapshot` and its bytes are here.
    ///
    /// # Errors
    /// [`StoreError::Blocks`] if it is longer than `len_max` or cannot be read.
    pub fn payload(&self, key: &ArtifactKey, snapshot: &Snapshot, len_max: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let checksum = self.view().state.entry(&(*key).into(), snapshot)?.and_then(|entry| entry.checksum);
        match checksum.filter(|checksum| self.blocks.has(*checksum)) {
            Some(checksum) => Ok(Some(self.blocks.read_all(checksum, len_max)?)),
            None => Ok(None),
        }
    }

    fn submit(&self, work: Work) -> Result<Done, StoreError> {
        Ok(self.group.submit(work, |group| self.flush(group).map_err(|error| StoreErrorInGroup(Box::new(error))))?)
    }

    fn judge(&self) -> MutexGuard<'_, Option<Judge>> {
        self.judge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything one group does; only one flush runs at a time.
    fn flush(&self, group: Vec<Work>) -> Result<Vec<Done>, StoreError> {
        let mut kept = self.judge();
        let mut judge = kept.take().ok_or(StoreError::Poisoned)?;
        let mut batch = Batch::default();
        let work = group.into_iter().map(|work| self.take(work, &mut batch, &mut judge));
        let done = work.collect::<Result<_, _>>()?;
        self.write(&mut batch, &mut judge)?;
        *kept = Some(judge);
        Ok(done)
    }

    fn take(&self, work: Work, batch: &mut Batch, judge: &mut Judge) -> Result<Done, StoreError> {
        Ok(match work {
            Work::Local { key, records, wall_ms } => {
                let uncounted = self.view().uncounted_heads.get(&key.site_id()).copied();
                Done::Local(batch.seal(&key, records, wall_ms, uncounted, judge))
            }
            Work::Merge(commits) => {
                let merge = |commit| {
                    let verdict = batch.merge(commit, judge);
                    self.heed(batch, judge).map(|()| verdict)
                };
                Done::Merged(commits.into_iter().map(merge).collect::<Result<_, _>>()?)
            }
            Work::Freeze(proof) => {
                let news = batch.freeze(*proof, judge);
                self.heed(batch, judge)?;
                Done::Frozen(news)
            }
        })
    }

    /// If a proof has disproved commits, what follows has to be judged without them.
    fn heed(&self, batch: &mut Batch, judge: &mut Judge) -> Result<(), StoreError> {
        if judge.must_judge_anew() { self.write(batch, judge) } else { Ok(()) }
    }

    /// Makes a batch durable, then visible.
    fn write(&self, batch: &mut Batch, judge: &mut Judge) -> Result<(), StoreError> {
        let batch = std::mem::take(batch);
        if batch.is_empty() {
            return Ok(());
        }
        self.blocks.sync()?;
        let positions = self.log.append_batch(&batch.entries())?;
        self.log.sync()?;
        if judge.must_judge_anew() {
            let (judged_anew, view) = rebuild(self.federation, &self.log, &self.blocks)?;
            *judge = judged_anew;
            *self.view.write().unwrap_or_else(PoisonError::into_inner) = view;
        } else {
            self.show(&batch.commits, &positions, judge);
        }
        Ok(())
    }

    fn show(&self, commits: &[(Commit, Vec<u8>)], positions: &[LogPosition], judge: &Judge) {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        view.take_rule(judge);
        for ((commit, _), position) in commits.iter().zip(positions) {
            view.apply(commit, *position, &self.blocks);
        }
        view.settle(judge);
    }
}

/// What one flush appends.
#[derive(Default)]
struct Batch {
    commits: Vec<(Commit, Vec<u8>)>,
    proofs: Vec<Vec<u8>>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.commits.is_empty() && self.proofs.is_empty()
    }

    fn entries(&self) -> Vec<(u8, &[u8])> {
        let commits = self.commits.iter().map(|(_, bytes)| (entry::COMMIT, bytes.as_slice()));
        commits.chain(self.proofs.iter().map(|bytes| (entry::FORK_PROOF, bytes.as_slice()))).collect()
    }

    fn seal(
        &mut self,
        key: &SiteKey,
        records: Vec<Record>,
        wall_ms: u64,
        uncounted: Option<u64>,
        judge: &mut Judge,
    ) -> Result<Committed, CommitError> {
        let domain = key.site_id();
        let head = judge.head(&domain);
        // A number that others may know is never used again, be it that what had it no longer counts.
        if let Some(proof) = judge.forks().get(&domain) {
            return Err(Refusal::Frozen { number: proof.number() }.into());
        }
        if let Some(number) = uncounted.filter(|number| head.is_none_or(|head| head.number < *number)) {
            let reason = format!("its commits up to number {number} rest on one that a fork proof took back");
            return Err(CommitError::Parked { reason });
        }
        let (learned, federation) = judge.membership_for(&domain);
        let draft = Draft {
            number: head.map_or(1, |head| head.number + 1),
            previous: head.map_or(CommitHash::NONE, |head| head.hash),
            logseq: judge.logseq_max().next().ok_or(CommitError::ClockExhausted)?,
            federation,
            wall_ms,
            learned,
            records,
        };
        let commit = Commit::seal(draft, key)?;
        let committed = Committed::of(&commit);
        match self.merge(commit, judge) {
            Verdict::Counts | Verdict::Known => Ok(committed),
            Verdict::Refused(refusal) => Err(refusal.into()),
            Verdict::Parked(reason) => Err(CommitError::Parked { reason: reason.to_string() }),
            Verdict::Forks(proof) => Err(Refusal::Frozen { number: proof.number() }.into()),
        }
    }

    fn merge(&mut self, commit: Commit, judge: &mut Judge) -> Verdict {
        let verdict = judge.judge(&commit);
        match &verdict {
            Verdict::Counts => {
                judge.admit(&commit);
                let bytes = commit.encode();
                self.commits.push((commit, bytes));
            }
            Verdict::Forks(proof) => {
                self.freeze((**proof).clone(), judge);
            }
            Verdict::Known | Verdict::Parked(_) | Verdict::Refused(_) => {}
        }
        verdict
    }

    fn freeze(&mut self, proof: ForkProof, judge: &mut Judge) -> bool {
        let bytes = proof.encode();
        let news = judge.freeze(proof);
        if news {
            self.proofs.push(bytes);
        }
        news
    }
}

impl View {
    fn empty() -> Self {
        Self {
            state: State::new(ConflictRule::default()),
            head: Snapshot::default(),
            genesis: None,
            members: BTreeSet::new(),
            forks: BTreeMap::new(),
            positions: BTreeMap::new(),
            wanted: BTreeMap::new(),
            uncounted: 0,
            uncounted_heads: BTreeMap::new(),
        }
    }

    /// The rule for conflicts comes with the genesis, which is the first commit that can count.
    fn take_rule(&mut self, judge: &Judge) {
        if let Some(genesis) = judge.genesis().filter(|_| self.genesis.is_none()) {
            self.state = State::new(genesis.conflict_rule);
            self.genesis = Some(genesis.clone());
        }
    }

    /// Takes over what follows from the commits just applied.
    fn settle(&mut self, judge: &Judge) {
        self.head = self.state.head();
        self.members = judge.members();
        self.forks = judge.forks().clone();
    }
}

fn decode(position: LogPosition, body: &[u8]) -> Result<Commit, StoreError> {
    Commit::decode(body).map_err(|source| StoreError::Entry { position, source })
}

/// Judges and applies the whole log: first the fork proofs, then the commits in the order they arrived; what cannot be
/// judged because of a proof is tried again until nothing more counts.
fn rebuild(federation: FederationId, log: &Log, blocks: &Blocks) -> Result<(Judge, View), StoreError> {
    let mut judge = Judge::new(federation);
    let mut view = View::empty();
    for found in log.entries() {
        let found = found?;
        if found.kind == entry::FORK_PROOF {
            let proof = ForkProof::decode(&found.body)
                .map_err(|source| StoreError::Entry { position: found.position, source })?;
            judge.freeze(proof);
        }
    }
    let mut waiting = Vec::new();
    for found in log.entries() {
        let found = found?;
        if found.kind == entry::COMMIT {
            let commit = decode(found.position, &found.body)?;
            if !count(&commit, found.position, &mut judge, &mut view, blocks) {
                waiting.push(found.position);
            }
        }
    }
    loop {
        let before = waiting.len();
        let mut still = Vec::new();
        for position in waiting {
            let commit = decode(position, &log.read(position)?.body)?;
            if !count(&commit, position, &mut judge, &mut view, blocks) {
                still.push(position);
            }
        }
        waiting = still;
        if waiting.len() == before {
            break;
        }
    }
    view.uncounted = waiting.len() as u64;
    for position in waiting {
        let header = decode(position, &log.read(position)?.body)?.header().clone();
        let head = view.uncounted_heads.entry(header.domain).or_default();
        *head = header.number.max(*head);
    }
    view.settle(&judge);
    Ok((judge, view))
}

fn count(commit: &Commit, position: LogPosition, judge: &mut Judge, view: &mut View, blocks: &Blocks) -> bool {
    match judge.judge(commit) {
        Verdict::Counts => {
            judge.admit(commit);
            view.take_rule(judge);
            view.apply(commit, position, blocks);
            true
        }
        Verdict::Known => true,
        Verdict::Parked(_) | Verdict::Forks(_) | Verdict::Refused(_) => false,
    }
}
