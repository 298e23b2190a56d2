//! Whether a site may write: not after it has lost something, nor as a copy that has not asked the
//! others how far its own log has come, since two commits with one number freeze its domain for
//! good.

use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use serde::Serialize;
use uor_asl::disk::{Disk, DiskError, Mode, replace};
use uor_asl::state::{Filter, ReadError as StateError};
use uor_asl::store::{Committed, LogCut, Store, StoreError};
use uor_index_format::id::{CanonicalId, FederationId, SiteId};
use uor_index_format::record::Kind;
use uor_index_format::snapshot::Head;

use super::witness::{Acknowledged, Packs, Witness};
use crate::site::directory::files::{self, FileError, LOST_FILE, RESTORED_FILE};
use crate::site::handle::Site;

/// A writer waits no longer for a node to ask the others; the node gives up before.
const ASKING_MAX: Duration = Duration::from_secs(15);

/// So long is not worth a word.
const MOMENT: Duration = Duration::from_millis(500);

/// What a site had acknowledged and has no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// How many commits of its own the site had acknowledged.
    pub commits_acknowledged: u64,
    /// How many of its own are in the log.
    pub commits_here: u64,
    /// Whether the log holds another commit where the last acknowledged one was.
    pub is_other_log: bool,
    /// Whether packs of payloads are gone, cut or damaged.
    pub packs_lost: bool,
    /// How many payloads that the site itself had put are not here, where packs are lost.
    pub payloads_lost: u64,
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            commits_acknowledged: acknowledged,
            commits_here: here,
            ..
        } = *self;
        if here < acknowledged {
            let first = here + 1;
            write!(
                f,
                "this site's own commits {first} to {acknowledged} were acknowledged and are not in its log"
            )?;
        } else if self.is_other_log {
            write!(
                f,
                "commit {acknowledged} of this site is not the one it had acknowledged"
            )?;
        }
        if !self.packs_lost {
            return Ok(());
        }
        let then = if here < acknowledged || self.is_other_log {
            "; "
        } else {
            ""
        };
        write!(f, "{then}packs of payloads are gone, cut or damaged")?;
        match self.payloads_lost {
            0 => Ok(()),
            1 => f.write_str(", and 1 payload of this site's own with them"),
            lost => write!(f, ", and {lost} payloads of this site's own with them"),
        }
    }
}

/// Why a site must ask the others for its own log before it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Hold {
    /// The data directory is a copy.
    Copied,
    /// The data directory was restored from a backup.
    Restored,
    /// Others had commits of this site that it had not, when it had asked and was writing.
    Elsewhere,
}

impl std::fmt::Display for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Copied => "its data directory was copied or moved to another file system",
            Self::Restored => "its data directory was restored from a backup",
            Self::Elsewhere => {
                "other sites had commits of this site that it had not: it runs elsewhere too, or its disk was put back"
            }
        })
    }
}

/// Whether the site may write, and why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::site) enum Standing {
    Free,
    /// A node is asking the others for this site's own log.
    Asking,
    Held(Hold),
}

/// Why a site may not write now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HoldError {
    /// It has to ask first.
    #[error(
        "{hold}, and other sites may hold later commits of this site: before it writes, it has to ask them, or it would \
         sign a second history and be shut out for good"
    )]
    Held {
        /// Why.
        hold: Hold,
    },
    /// The others are still being asked.
    #[error(
        "the node is still asking the other sites for this site's own commits: try again in a moment"
    )]
    Asking,
}

/// What a data directory says of itself beside its log; to be read before the log is opened, which
/// may grow meanwhile.
#[derive(Debug, Clone)]
pub struct Witnessed {
    domain: Option<SiteId>,
    acknowledged: Option<Acknowledged>,
    accepted: Vec<CanonicalId>,
    /// The packs as they are before the store is opened, which may begin another.
    packs: Packs,
}

impl Witnessed {
    /// What the data directory on `disk` says. What cannot be read says nothing.
    ///
    /// # Errors
    /// [`FileError`] if the disk refuses.
    pub fn read(disk: &dyn Disk) -> Result<Self, FileError> {
        let acknowledged = Acknowledged::read(disk)?;
        let key = || files::read_key(disk).ok().map(|key| key.site_id());
        let domain = acknowledged.as_ref().map(|it| it.domain).or_else(key);
        Ok(Self {
            domain,
            acknowledged,
            accepted: files::read_lines(disk, LOST_FILE)?,
            packs: Packs::of(disk)?,
        })
    }

    /// Whether the packs end earlier than they did. Nothing in the store shows that: a crash could
    /// leave the same.
    pub fn are_packs_cut(&self, federation: FederationId) -> bool {
        self.of(federation)
            .is_some_and(|acknowledged| acknowledged.packs.are_cut_to(self.packs))
    }

    fn of(&self, federation: FederationId) -> Option<&Acknowledged> {
        self.acknowledged
            .as_ref()
            .filter(|acknowledged| acknowledged.federation == federation)
    }

    /// What the site had acknowledged and its store has no longer. Packs that are lost are no loss
    /// of the site's own as long as no payload is that it had put: what others put comes from them
    /// again.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn loss(&self, store: &Store) -> Result<Option<Loss>, StoreError> {
        let Some(domain) = self.domain else {
            return Ok(None);
        };
        let cut = store.opened().cut.as_ref();
        let known = |cut: &LogCut| cut.heads.get(&domain).copied().unwrap_or_default();
        let view = store.view();
        let counted = view
            .head()
            .frontier
            .get(&domain)
            .map_or(0, |head| head.number);
        // What a fork took back is in the log; what follows a gap in it is worth nothing before
        // that is filled.
        let taken_back = view
            .uncounted_head(&domain)
            .filter(|_| view.forks().contains_key(&domain));
        let here = counted.max(taken_back.unwrap_or_default());
        let head = self.of(store.federation()).map(|it| it.head);
        let is_other = match head
            .filter(|head| (1..=counted).contains(&head.number) && *head.hash.as_bytes() != [0; 32])
        {
            Some(head) => view.commit_hash(&domain, head.number)? != Some(head.hash),
            None => false,
        };
        drop(view);
        let packs_lost = self.are_packs_cut(store.federation()) || store.opened().blocks.has_lost();
        let payloads = if packs_lost {
            self.lost_payloads(store, &missing(store)?)?
        } else {
            Vec::new()
        };
        let loss = Loss {
            commits_acknowledged: head.map_or(0, |head| head.number).max(cut.map_or(0, known)),
            commits_here: here,
            is_other_log: is_other,
            packs_lost,
            payloads_lost: payloads.len() as u64,
        };
        let are_commits_lost = loss.commits_here < loss.commits_acknowledged || loss.is_other_log;
        Ok((are_commits_lost || loss.payloads_lost > 0).then_some(loss))
    }

    /// Of these artifacts and receipts, whose payloads are not here, those that the site itself had
    /// put and acknowledged, and whose loss nobody has accepted. All others may be fetched from who
    /// put them.
    ///
    /// # Errors
    /// [`StateError`] if the state cannot be read.
    pub fn lost_payloads(
        &self,
        store: &Store,
        missing: &[CanonicalId],
    ) -> Result<Vec<CanonicalId>, StateError> {
        let Some(domain) = self.domain else {
            return Ok(Vec::new());
        };
        let view = store.view();
        let mut lost = Vec::new();
        for id in missing.iter().filter(|id| !self.accepted.contains(id)) {
            let versions = view.state().versions(id, view.head())?;
            let since = versions
                .iter()
                .rposition(|version| version.place.tombstone)
                .map_or(0, |at| at + 1);
            if versions[since..]
                .iter()
                .any(|version| version.place.domain == domain)
            {
                lost.push(*id);
            }
        }
        Ok(lost)
    }
}

/// Visible artifacts and receipts whose payloads are not here and were not erased on request.
pub(in crate::site) fn missing(store: &Store) -> Result<Vec<CanonicalId>, StateError> {
    let (view, blocks) = (store.view(), store.blocks());
    let mut missing = Vec::new();
    for entry in view.state().entries(view.head(), &Filter::ALL) {
        let entry = entry?;
        let Some(checksum) = entry
            .checksum
            .filter(|_| matches!(entry.kind, Kind::Artifact | Kind::Receipt))
        else {
            continue;
        };
        if !blocks.has(checksum) && !blocks.erased(checksum) && view.erased(&checksum).is_none() {
            missing.push(entry.id);
        }
    }
    Ok(missing)
}

/// Why the site in `dir` would have to ask before it writes, if there is anybody to ask.
pub(in crate::site) fn hold_of(
    dir: &Path,
    disk: &dyn Disk,
    witnessed: &Witnessed,
) -> Result<Option<Hold>, FileError> {
    let is_restored = files::exists(disk, RESTORED_FILE)?;
    let is_copied = witnessed
        .acknowledged
        .as_ref()
        .is_some_and(|acknowledged| acknowledged.is_copied(dir));
    Ok(if is_restored {
        Some(Hold::Restored)
    } else {
        is_copied.then_some(Hold::Copied)
    })
}

impl Site {
    /// What the site had acknowledged and has no longer. A site that was opened to be written has
    /// lost nothing.
    pub const fn loss(&self) -> Option<&Loss> {
        self.loss.as_ref()
    }

    /// How many commits of other sites the log had lost when this site was opened. They are fetched
    /// again.
    pub fn commits_to_fetch_again(&self) -> u64 {
        let Some(cut) = &self.cut else { return 0 };
        let view = self.store.view();
        let here = |domain: &SiteId| {
            view.head()
                .frontier
                .get(domain)
                .map_or(0, |head| head.number)
        };
        cut.heads
            .iter()
            .map(|(domain, known)| known.saturating_sub(here(domain)))
            .sum()
    }

    /// Whether this is a copy of a site's data directory, of a site that has no others to ask.
    pub const fn is_lone_copy(&self) -> bool {
        self.is_lone_copy
    }

    /// Why the site may not write before it has asked the others for its own log.
    pub fn hold(&self) -> Option<Hold> {
        match *self.standing() {
            Standing::Held(hold) => Some(hold),
            Standing::Free | Standing::Asking => None,
        }
    }

    /// From now on the site does not write, until [`Site::release`].
    pub(crate) fn hold_as(&self, hold: Hold) {
        *self.standing() = Standing::Held(hold);
    }

    /// A node begins to ask the others for this site's own log: writers wait until it is done.
    pub(crate) fn begin_asking(&self) {
        let mut standing = self.standing();
        if *standing == Standing::Free {
            *standing = Standing::Asking;
        }
    }

    /// The asking is over: writers go on, unless the site is held.
    pub(crate) fn end_asking(&self) {
        let mut standing = self.standing();
        if *standing == Standing::Asking {
            *standing = Standing::Free;
        }
        self.asked.notify_all();
    }

    /// The site is where it is and what it is, for good: it has asked the others, or somebody
    /// answers for it. From now on it writes.
    ///
    /// # Errors
    /// [`FileError`]; the site is held as before then.
    pub fn release(&self) -> Result<(), FileError> {
        let Some(witness) = self.witness.get() else {
            return Err(FileError::ReadOnly);
        };
        self.store
            .blocks()
            .sync()
            .map_err(|error| FileError::Blocks(Box::new(error)))?;
        witness.settle(self.disk.as_ref(), &self.store, Some(&self.dir))?;
        unmark_restored(self.disk.as_ref())?;
        *self.standing() = Standing::Free;
        self.asked.notify_all();
        Ok(())
    }

    /// Waits until the site may write; a node that is asking the others needs some seconds at most.
    /// If it takes longer than a moment, `on_wait` is told.
    ///
    /// # Errors
    /// [`HoldError`].
    pub fn wait_to_write(&self, on_wait: &mut dyn FnMut()) -> Result<(), HoldError> {
        let wait = |most| {
            let standing = self
                .asked
                .wait_timeout_while(self.standing(), most, |it| *it == Standing::Asking);
            *standing.unwrap_or_else(PoisonError::into_inner).0
        };
        let mut standing = wait(MOMENT);
        if standing == Standing::Asking {
            on_wait();
            standing = wait(ASKING_MAX);
        }
        match standing {
            Standing::Free => Ok(()),
            Standing::Asking => Err(HoldError::Asking),
            Standing::Held(hold) => Err(HoldError::Held { hold }),
        }
    }

    pub(in crate::site) fn standing(&self) -> std::sync::MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a commit of this site that has become durable. A witness that cannot be written lags:
    /// the next one tells all.
    pub(in crate::site) fn witness(&self, committed: &Committed) {
        if let Some(witness) = self.witness.get() {
            drop(witness.note(Head {
                number: committed.number,
                hash: committed.hash,
            }));
        }
    }
}

/// The witness of a site that is open, shared by all its handles: it is settled when the last of
/// them is let go of.
pub(in crate::site) struct Witnessing {
    witness: OnceLock<Witness>,
    disk: Arc<dyn Disk>,
    store: Arc<Store>,
}

impl Witnessing {
    /// Of a site that may write now, or may do so later.
    pub(in crate::site) fn new(
        witness: Option<Witness>,
        disk: Arc<dyn Disk>,
        store: Arc<Store>,
    ) -> Self {
        Self {
            witness: witness.map_or_else(OnceLock::new, OnceLock::from),
            disk,
            store,
        }
    }

    pub(in crate::site) fn get(&self) -> Option<&Witness> {
        self.witness.get()
    }

    /// Begins to witness.
    pub(in crate::site) fn set(&self, witness: Witness) {
        // One that is there already goes on.
        drop(self.witness.set(witness));
    }
}

impl Drop for Witnessing {
    fn drop(&mut self) {
        // While a loss stands there is none, and what was acknowledged before goes on being said.
        // What cannot be written lags.
        let Some(witness) = self
            .witness
            .get()
            .filter(|_| self.store.mode() == Mode::Write)
        else {
            return;
        };
        if self.store.blocks().sync().is_ok() {
            drop(witness.settle(self.disk.as_ref(), &self.store, None));
        }
    }
}

/// Writes down that these payloads are lost, and that this is accepted.
pub(in crate::site) fn accept(disk: &dyn Disk, lost: &[CanonicalId]) -> Result<(), FileError> {
    let mut accepted = files::read_set::<CanonicalId>(disk, LOST_FILE)?;
    accepted.extend(lost);
    files::write_lines(disk, LOST_FILE, accepted)
}

/// Takes back [`mark_restored`].
pub(in crate::site) fn unmark_restored(disk: &dyn Disk) -> Result<(), FileError> {
    let failed = |source| DiskError {
        action: "remove",
        path: RESTORED_FILE.to_owned(),
        source,
    };
    if files::exists(disk, RESTORED_FILE)? {
        disk.remove(RESTORED_FILE)
            .and_then(|()| disk.sync_dir(""))
            .map_err(failed)?;
    }
    Ok(())
}

/// Marks a data directory as restored, so that the site in it asks before it writes.
pub(in crate::site) fn mark_restored(disk: &dyn Disk, text: &str) -> Result<(), FileError> {
    Ok(replace(disk, RESTORED_FILE, text.as_bytes())?)
}
