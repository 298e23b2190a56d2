//! The accepted commits: for each domain, by number, where each lies in the log, its logseq and
//! its hash.
//!
//! Rows of older commits lie in a file for each domain, in directory `index` (`FORMAT.md`, "Commit
//! table"), and are read when they are asked for; those since the last checkpoint are in memory. So
//! what is kept in memory does not grow with the number of commits. A row that turns out damaged
//! has its domain's rows found in the log again, while the reader waits.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use uor_index_format::codec::hex;
use uor_index_format::id::{CommitHash, LogSeq, SiteId};
use uor_index_format::snapshot::{Frontier, Head, Snapshot};

use crate::disk::{Context as _, Disk, DiskError, DiskFile, Mode};
use crate::index::CommitRef;
use crate::log::LogPosition;
use crate::state::error::ReadError;

/// Byte ranges of a row.
mod field {
    use std::ops::Range;

    pub(super) const POSITION: Range<usize> = 0..8;
    pub(super) const LOGSEQ: Range<usize> = 8..16;
    pub(super) const HASH: Range<usize> = 16..48;
    pub(super) const CHECK: Range<usize> = 48..56;
}

/// Length of a row in bytes.
const ROW_LEN: usize = field::CHECK.end;
/// Rows that are read at once where many are.
const ROWS_AT_ONCE: u64 = 1024;

const CHECK_KEY: &[u8; 32] = b"uor-asl commit table row check 1";

/// Where a commit is, and what there is to know about it without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CommitRow {
    /// Its frame in the log.
    pub(crate) at: LogPosition,
    pub(crate) logseq: LogSeq,
    pub(crate) hash: CommitHash,
}

/// All accepted commits.
#[derive(Default)]
pub(crate) struct Commits {
    /// By ordinal: the order in which their first commits came.
    domains: Vec<Domain>,
    ordinals: BTreeMap<SiteId, u32>,
}

struct Domain {
    site: SiteId,
    stored: Option<Stored>,
    /// Those that are not stored.
    recent: Vec<CommitRow>,
    last: Option<CommitRow>,
    /// Commits behind this number were taken back by a fork proof.
    frozen_at: Option<u64>,
}

/// Rows in a file.
#[derive(Clone)]
struct Stored {
    file: Arc<dyn DiskFile>,
    path: String,
    site: SiteId,
    len: u64,
    /// The hash of the last of them.
    last: CommitHash,
    source: Arc<dyn Source>,
    rebuilt: Arc<Rebuilt>,
}

/// What takes the place of a file's rows once one of them was found damaged.
#[derive(Default)]
struct Rebuilt {
    /// `None` if they could not be found again.
    rows: OnceLock<Option<Vec<CommitRow>>>,
    /// Whether they are on disk too.
    is_stored: AtomicBool,
}

/// Where rows can be rebuilt from.
pub(crate) trait Source: Send + Sync {
    /// The rows of the first `len` commits of `site`, the last of which has this hash.
    ///
    /// # Errors
    /// Why not, in words.
    fn rows(&self, site: &SiteId, len: u64, last: CommitHash) -> Result<Vec<CommitRow>, String>;

    /// Is told of damage, and why it could not be mended, if it could not.
    fn tell(&self, damage: &ReadError, unmended: Option<&str>);
}

/// Rows that are to be stored, taken out to be written without holding up anyone.
pub(crate) struct Unstored {
    site: SiteId,
    path: String,
    stored_len: u64,
    last: CommitHash,
    rows: Vec<CommitRow>,
}

impl Commits {
    /// The table of these domains, in the order of their ordinals, with how many commits of each
    /// are stored, the last of which are the `heads`. Rows that turn out damaged are had from
    /// `source`.
    ///
    /// # Errors
    /// [`ReadError`] if a file is missing, or what is damaged cannot be mended.
    pub(crate) fn open(
        disk: &dyn Disk,
        domains: &[(SiteId, u64)],
        heads: &Frontier,
        source: &Arc<dyn Source>,
    ) -> Result<Self, ReadError> {
        let mut commits = Self::default();
        for (site, len) in domains {
            let ordinal = commits.ordinal_of(*site);
            let path = path(ordinal);
            let file = disk.open(&path, Mode::ReadOnly).during("open", &path)?;
            let last = heads.get(site).map_or(CommitHash::NONE, |head| head.hash);
            let (source, rebuilt) = (Arc::clone(source), Arc::default());
            let stored = Stored {
                file,
                path,
                site: *site,
                len: *len,
                last,
                source,
                rebuilt,
            };
            let domain = &mut commits.domains[ordinal as usize];
            domain.last = len.checked_sub(1).map(|_| stored.row(*len)).transpose()?;
            domain.stored = Some(stored);
        }
        Ok(commits)
    }

    /// Takes in the next commit of `site`.
    pub(crate) fn push(&mut self, site: SiteId, row: CommitRow) -> CommitRef {
        let ordinal = self.ordinal_of(site);
        let domain = &mut self.domains[ordinal as usize];
        domain.recent.push(row);
        domain.last = Some(row);
        CommitRef {
            domain: ordinal,
            number: domain.len(),
            logseq: row.logseq,
        }
    }

    fn ordinal_of(&mut self, site: SiteId) -> u32 {
        let next = u32::try_from(self.domains.len()).unwrap_or(u32::MAX);
        *self.ordinals.entry(site).or_insert_with(|| {
            self.domains.push(Domain {
                site,
                stored: None,
                recent: Vec::new(),
                last: None,
                frozen_at: None,
            });
            next
        })
    }

    /// Takes back the commits of `site` behind number `len`, for good: it writes no others that
    /// are accepted.
    ///
    /// # Errors
    /// [`ReadError`] if the row of the last that stays is damaged; nothing is changed then.
    pub(crate) fn take_back(&mut self, site: &SiteId, len: u64) -> Result<(), ReadError> {
        let Some(domain) = self
            .ordinals
            .get(site)
            .and_then(|ordinal| self.domains.get_mut(*ordinal as usize))
        else {
            return Ok(());
        };
        if domain.len() > len {
            domain.last = (len > 0).then(|| domain.row(len)).transpose()?;
            let recent =
                usize::try_from(len.saturating_sub(domain.stored_len())).unwrap_or(usize::MAX);
            domain.recent.truncate(recent);
            if let Some(stored) = domain.stored.as_mut().filter(|stored| stored.len > len) {
                stored.len = len;
                stored.last = domain.last.map_or(CommitHash::NONE, |last| last.hash);
            }
        }
        domain.frozen_at = Some(len);
        Ok(())
    }

    /// Whether a commit that the index names is still accepted.
    #[inline]
    pub(crate) fn includes(&self, commit: CommitRef) -> bool {
        self.domains
            .get(commit.domain as usize)
            .is_some_and(|domain| commit.number <= domain.len())
    }

    /// The highest logseq of all commits.
    pub(crate) fn logseq_max(&self) -> LogSeq {
        self.domains
            .iter()
            .filter_map(|domain| Some(domain.last?.logseq))
            .max()
            .unwrap_or_default()
    }

    /// The domain of an ordinal that this table gave.
    pub(crate) fn site(&self, ordinal: u32) -> Option<SiteId> {
        self.domains.get(ordinal as usize).map(|domain| domain.site)
    }

    /// The ordinals of all domains.
    pub(crate) const fn ordinals(&self) -> &BTreeMap<SiteId, u32> {
        &self.ordinals
    }

    /// How many rows are in memory only.
    pub(crate) fn unstored_len(&self) -> u64 {
        self.domains
            .iter()
            .map(|domain| domain.recent.len() as u64)
            .sum()
    }

    /// How many commits are accepted.
    pub(crate) fn len(&self) -> u64 {
        self.domains.iter().map(Domain::len).sum()
    }

    /// The last commits, by domain.
    pub(crate) fn frontier(&self) -> Frontier {
        let head = |domain: &Domain| {
            Some((
                domain.site,
                Head {
                    number: domain.len(),
                    hash: domain.last?.hash,
                },
            ))
        };
        self.domains.iter().filter_map(head).collect()
    }

    /// Commit `number` of `site`.
    ///
    /// # Errors
    /// [`ReadError`] if its row is damaged.
    pub(crate) fn row(&self, site: &SiteId, number: u64) -> Result<Option<CommitRow>, ReadError> {
        match self
            .ordinals
            .get(site)
            .and_then(|ordinal| self.domains.get(*ordinal as usize))
        {
            Some(domain) if (1..=domain.len()).contains(&number) => domain.row(number).map(Some),
            _ => Ok(None),
        }
    }

    /// Every commit, ascending by domain and number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Result<(SiteId, u64, CommitRow), ReadError>> {
        let domains = self
            .ordinals
            .values()
            .filter_map(|ordinal| self.domains.get(*ordinal as usize));
        domains.flat_map(|domain| {
            domain
                .iter(1)
                .map(|row| row.map(|(number, row)| (domain.site, number, row)))
        })
    }

    /// The hashes of the commits of `site`, by number.
    pub(crate) fn hashes_of(
        &self,
        site: &SiteId,
    ) -> impl Iterator<Item = Result<CommitHash, ReadError>> {
        let domain = self
            .ordinals
            .get(site)
            .and_then(|ordinal| self.domains.get(*ordinal as usize));
        domain
            .into_iter()
            .flat_map(|domain| domain.iter(1).map(|row| row.map(|(_, row)| row.hash)))
    }

    /// For each domain, by ordinal, the number up to which its commits are inside `snapshot`:
    /// logseq rises within a domain, so the bound on it only cuts the end off.
    ///
    /// # Errors
    /// [`ReadError`] if a row is damaged.
    pub(crate) fn cut(&self, snapshot: &Snapshot) -> Result<Cut, ReadError> {
        let up_to = |domain: &Domain| {
            let number = snapshot
                .frontier
                .get(&domain.site)
                .map_or(0, |head| head.number.min(domain.len()));
            domain.last_up_to(number, snapshot.logseq_max)
        };
        Ok(Cut(self
            .domains
            .iter()
            .map(up_to)
            .collect::<Result<_, _>>()?))
    }

    /// Whether all commits are inside.
    pub(crate) fn are_inside(&self, cut: &Cut) -> bool {
        self.domains
            .iter()
            .map(Domain::len)
            .eq(cut.0.iter().copied())
    }

    /// Rows that are in memory only.
    pub(crate) fn unstored(&self) -> Vec<Unstored> {
        let of = |(ordinal, domain): (u32, &Domain)| Unstored {
            site: domain.site,
            path: path(ordinal),
            stored_len: domain.stored.as_ref().map_or(0, |stored| stored.len),
            last: domain.last.map_or(CommitHash::NONE, |last| last.hash),
            rows: domain.recent.clone(),
        };
        (0..).zip(&self.domains).map(of).collect()
    }

    /// Leaves to their files the rows that [`Unstored::store`] has stored.
    pub(crate) fn stored(
        &mut self,
        stored: impl IntoIterator<Item = (Unstored, Arc<dyn DiskFile>)>,
        source: &Arc<dyn Source>,
    ) {
        for (unstored, file) in stored {
            let Some(domain) = self
                .ordinals
                .get(&unstored.site)
                .and_then(|at| self.domains.get_mut(*at as usize))
            else {
                continue;
            };
            // What was taken back while it was being stored does not come back.
            let len = unstored.len().min(domain.frozen_at.unwrap_or(u64::MAX));
            domain
                .recent
                .drain(..unstored.rows.len().min(domain.recent.len()));
            let is_whole = len == unstored.len();
            let Unstored {
                site, path, last, ..
            } = unstored;
            let last = if is_whole {
                last
            } else {
                domain.last.map_or(CommitHash::NONE, |last| last.hash)
            };
            let (source, rebuilt) = (Arc::clone(source), Arc::default());
            domain.stored = Some(Stored {
                file,
                path,
                site,
                len,
                last,
                source,
                rebuilt,
            });
        }
    }

    /// Verifies every row in the files, of each file up to the first that is not there. Nothing is
    /// mended.
    pub(crate) fn verify(&self, on_damage: &mut dyn FnMut(ReadError)) {
        for stored in self
            .domains
            .iter()
            .filter_map(|domain| domain.stored.as_ref())
        {
            if stored.rebuilt.is_stored.load(Ordering::Relaxed) {
                continue;
            }
            for damage in (1..=stored.len).filter_map(|number| stored.read(number).err()) {
                let is_end = matches!(damage, ReadError::Disk(_));
                on_damage(damage);
                if is_end {
                    break;
                }
            }
        }
    }

    /// The files of which rows were damaged, to be rewritten.
    pub(crate) fn rebuilt(&self) -> Vec<RebuiltTable> {
        self.domains
            .iter()
            .filter_map(|domain| domain.stored.as_ref()?.rebuilt())
            .collect()
    }
}

/// A file that is to be put in the place of a damaged one.
pub(crate) struct RebuiltTable {
    pub(crate) path: String,
    pub(crate) bytes: Vec<u8>,
    rebuilt: Arc<Rebuilt>,
}

impl RebuiltTable {
    /// It is in its place.
    pub(crate) fn stored(self) {
        self.rebuilt.is_stored.store(true, Ordering::Relaxed);
    }
}

/// For each domain, by ordinal, the number up to which its commits are inside a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cut(Vec<u64>);

impl Cut {
    /// The same, but for the domain of this ordinal, of which commits up to `number` are inside.
    pub(crate) fn with(mut self, ordinal: u32, number: u64) -> Self {
        if let Some(last) = self.0.get_mut(ordinal as usize) {
            *last = number;
        }
        self
    }

    /// Whether a commit is inside.
    #[inline]
    pub(crate) fn includes(&self, commit: CommitRef) -> bool {
        self.0
            .get(commit.domain as usize)
            .is_some_and(|last| commit.number <= *last)
    }
}

impl Domain {
    fn stored_len(&self) -> u64 {
        self.stored.as_ref().map_or(0, |stored| stored.len)
    }

    fn len(&self) -> u64 {
        self.stored_len() + self.recent.len() as u64
    }

    /// The row of a number from 1 to `len`.
    fn row(&self, number: u64) -> Result<CommitRow, ReadError> {
        match (&self.stored, self.recent(number)) {
            (_, Some(row)) => Ok(*row),
            (Some(stored), None) => stored.row(number),
            (None, None) => unreachable!("callers ask for numbers up to the length"),
        }
    }

    fn recent(&self, number: u64) -> Option<&CommitRow> {
        let index = number.checked_sub(self.stored_len() + 1)?;
        self.recent.get(usize::try_from(index).ok()?)
    }

    fn iter(&self, from: u64) -> impl Iterator<Item = Result<(u64, CommitRow), ReadError>> {
        let stored = self.stored.iter().flat_map(move |stored| stored.iter(from));
        let recent = (self.stored_len() + 1..)
            .zip(&self.recent)
            .skip_while(move |(number, _)| *number < from);
        stored.chain(recent.map(|(number, row)| Ok((number, *row))))
    }

    /// The last number up to `number` whose logseq is at most `logseq_max`.
    fn last_up_to(&self, number: u64, logseq_max: LogSeq) -> Result<u64, ReadError> {
        if number == self.len() && self.last.is_none_or(|last| last.logseq <= logseq_max) {
            return Ok(number);
        }
        let (mut inside, mut outside) = (0, number + 1);
        while outside - inside > 1 {
            let middle = inside + (outside - inside) / 2;
            if self.row(middle)?.logseq <= logseq_max {
                inside = middle
            } else {
                outside = middle
            }
        }
        Ok(inside)
    }
}

impl Stored {
    fn row(&self, number: u64) -> Result<CommitRow, ReadError> {
        self.read(number)
            .or_else(|damage| Ok(self.mended(damage)?[row_index(number)]))
    }

    /// All rows, as the log has them: some could not be read.
    #[cold]
    fn mended(&self, damage: ReadError) -> Result<&[CommitRow], ReadError> {
        let mend = || {
            let rows = self.source.rows(&self.site, self.len, self.last);
            self.source
                .tell(&damage, rows.as_ref().err().map(String::as_str));
            rows.ok().inspect(|rows| {
                assert_eq!(rows.len() as u64, self.len, "as many as were asked for")
            })
        };
        self.rebuilt.rows.get_or_init(mend).as_deref().ok_or(damage)
    }

    fn rebuilt(&self) -> Option<RebuiltTable> {
        let rows = self.rebuilt.rows.get()?.as_ref()?;
        let is_stored = self.rebuilt.is_stored.load(Ordering::Relaxed);
        let file = || RebuiltTable {
            path: self.path.clone(),
            bytes: encode(&self.site, (1..).zip(rows)),
            rebuilt: Arc::clone(&self.rebuilt),
        };
        (!is_stored).then(file)
    }

    fn read(&self, number: u64) -> Result<CommitRow, ReadError> {
        let mut bytes = [0; ROW_LEN];
        let offset = (number - 1) * ROW_LEN as u64;
        self.file
            .read_at(offset, &mut bytes)
            .during("read", &self.path)?;
        self.decode(number, &bytes)
    }

    fn decode(&self, number: u64, bytes: &[u8]) -> Result<CommitRow, ReadError> {
        decode(&self.path, &self.site, number, bytes)
    }

    fn iter(&self, from: u64) -> impl Iterator<Item = Result<(u64, CommitRow), ReadError>> {
        let starts = (from.max(1)..=self.len).step_by(usize::try_from(ROWS_AT_ONCE).unwrap_or(1));
        starts.flat_map(
            |start| match self.rows(start, ROWS_AT_ONCE.min(self.len + 1 - start)) {
                Ok(rows) => (start..).zip(rows).map(Ok).collect::<Vec<_>>(),
                Err(error) => vec![Err(error)],
            },
        )
    }

    fn rows(&self, from: u64, count: u64) -> Result<Vec<CommitRow>, ReadError> {
        self.read_many(from, count).or_else(|damage| {
            let range = row_index(from)..row_index(from + count);
            Ok(self.mended(damage)?[range].to_vec())
        })
    }

    fn read_many(&self, from: u64, count: u64) -> Result<Vec<CommitRow>, ReadError> {
        let mut bytes = vec![0; usize::try_from(count).unwrap_or(0) * ROW_LEN];
        self.file
            .read_at((from - 1) * ROW_LEN as u64, &mut bytes)
            .during("read", &self.path)?;
        (from..)
            .zip(bytes.chunks_exact(ROW_LEN))
            .map(|(number, bytes)| self.decode(number, bytes))
            .collect()
    }
}

impl Unstored {
    /// How many commits of the domain are stored once these are.
    pub(crate) fn len(&self) -> u64 {
        self.stored_len + self.rows.len() as u64
    }

    /// The domain.
    pub(crate) const fn site(&self) -> SiteId {
        self.site
    }

    /// Writes the rows behind those that are stored, durably.
    ///
    /// # Errors
    /// [`DiskError`]; the rows stored before are as they were.
    pub(crate) fn store(&self, disk: &dyn Disk) -> Result<Arc<dyn DiskFile>, DiskError> {
        let file = disk
            .open(&self.path, Mode::Write)
            .during("open", &self.path)?;
        let bytes = encode(&self.site, (self.stored_len + 1..).zip(&self.rows));
        if !bytes.is_empty() {
            file.write_at(self.stored_len * ROW_LEN as u64, &bytes)
                .during("append to", &self.path)?;
            file.sync().during("sync", &self.path)?;
        }
        Ok(file)
    }
}

/// Row `number` of the table of `site` in the file at `path`.
fn decode(path: &str, site: &SiteId, number: u64, bytes: &[u8]) -> Result<CommitRow, ReadError> {
    let (expected, found) = (&bytes[field::CHECK], check(site, number, bytes));
    if found != expected {
        let (file, offset) = (path.to_owned(), (number - 1) * ROW_LEN as u64);
        return Err(ReadError::Damaged {
            file,
            offset,
            expected: hex(expected),
            found: hex(&found),
        });
    }
    let number_at = |range: std::ops::Range<usize>| {
        bytes[range]
            .iter()
            .rev()
            .fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let mut hash = [0; 32];
    hash.copy_from_slice(&bytes[field::HASH]);
    Ok(CommitRow {
        at: LogPosition::from_u64(number_at(field::POSITION)),
        logseq: LogSeq(number_at(field::LOGSEQ)),
        hash: CommitHash::from_bytes(hash),
    })
}

/// The rows of the first `len` commits of `site` as the file of its ordinal has them, each with its
/// number, or what is wrong with it: nothing is mended.
///
/// # Errors
/// [`DiskError`] if the file cannot be read.
pub(crate) fn rows_as_stored(
    disk: &dyn Disk,
    ordinal: u32,
    site: &SiteId,
    len: u64,
) -> Result<impl Iterator<Item = (u64, Result<CommitRow, ReadError>)> + use<>, DiskError> {
    let (path, site) = (path(ordinal), *site);
    let file = disk.open(&path, Mode::ReadOnly).during("open", &path)?;
    let read = move |number| {
        let mut bytes = [0; ROW_LEN];
        file.read_at((number - 1) * ROW_LEN as u64, &mut bytes)
            .during("read", &path)?;
        decode(&path, &site, number, &bytes)
    };
    Ok((1..=len).map(move |number| (number, read(number))))
}

/// The rows of commits, given with their numbers.
fn encode<'a>(site: &SiteId, rows: impl Iterator<Item = (u64, &'a CommitRow)>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(rows.size_hint().0 * ROW_LEN);
    for (number, row) in rows {
        let start = bytes.len();
        bytes.extend_from_slice(&row.at.to_u64().to_le_bytes());
        bytes.extend_from_slice(&row.logseq.0.to_le_bytes());
        bytes.extend_from_slice(row.hash.as_bytes());
        let check = check(site, number, &bytes[start..]);
        bytes.extend_from_slice(&check);
    }
    bytes
}

fn row_index(number: u64) -> usize {
    usize::try_from(number - 1).unwrap_or(usize::MAX)
}

fn check(site: &SiteId, number: u64, row: &[u8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new_keyed(CHECK_KEY);
    hasher
        .update(site.as_bytes())
        .update(&number.to_le_bytes())
        .update(&row[..field::CHECK.start]);
    let mut check = [0; 8];
    hasher.finalize_xof().fill(&mut check);
    check
}

pub(crate) fn path(ordinal: u32) -> String {
    format!("index/{ordinal:08}.commits")
}
