//! Pages of a segment that mend themselves: where one turns out damaged, the whole segment is
//! rebuilt from the log, in memory, while the reader waits. So damage costs time and never an
//! answer, whenever it is first touched.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use uor_index_format::codec::hex;

use super::error::IndexError;
use super::row::CommitRef;
use crate::damage::Damage;
use crate::pages::{PageKey, Pages};

/// Length of the seal of a segment's file, in bytes: what names it and no other.
pub(crate) const SEAL_LEN: usize = 16;

/// What rebuilds a segment.
pub(crate) trait Source: Send + Sync {
    /// The segment's file as it was written: of the records of `commits`, or, if these are not
    /// known either, of all commits in the run's range. Whether it is the same is found out by its
    /// seal.
    ///
    /// # Errors
    /// Why not, in words.
    fn lay_out(&self, shard: u32, commits: Option<&[CommitRef]>) -> Result<Vec<u8>, String>;

    /// Is told of damage, and why it could not be mended, if it could not.
    fn tell(&self, damage: &IndexError, unmended: Option<&str>);
}

/// The pages of a segment's file, and what takes their place once one of them was found damaged.
pub(super) struct Mending {
    pages: Pages,
    key: PageKey,
    seal: [u8; SEAL_LEN],
    source: Option<(Arc<dyn Source>, u32)>,
    /// Set when damage is first met; `None` if it could not be mended.
    rebuilt: OnceLock<Option<Pages>>,
    /// Whether what was rebuilt is on disk too.
    is_stored: AtomicBool,
}

impl Mending {
    /// `pages`, whose checks are made with `key` and sealed by `seal`; of shard `shard` of what
    /// `source` can rebuild.
    pub(super) fn new(
        pages: Pages,
        key: PageKey,
        seal: [u8; SEAL_LEN],
        source: Option<(Arc<dyn Source>, u32)>,
    ) -> Self {
        Self {
            pages,
            key,
            seal,
            source,
            rebuilt: OnceLock::new(),
            is_stored: AtomicBool::new(false),
        }
    }

    /// As [`Pages::get`]; `commits` gives the segment's commits from pages that are not damaged, if
    /// it can.
    #[inline]
    pub(super) fn get(
        &self,
        range: Range<usize>,
        commits: impl FnOnce(&Pages) -> Option<Vec<CommitRef>>,
    ) -> Result<&[u8], Damage> {
        match self.pages.get_seen(range.clone()) {
            Some(bytes) => Ok(bytes),
            None => self.get_or_mend(range, commits),
        }
    }

    #[inline(never)]
    fn get_or_mend(
        &self,
        range: Range<usize>,
        commits: impl FnOnce(&Pages) -> Option<Vec<CommitRef>>,
    ) -> Result<&[u8], Damage> {
        let damage = match self.pages.get(range.clone()) {
            Ok(bytes) => return Ok(bytes),
            Err(damage) => damage,
        };
        let mend = || {
            let (source, shard) = self.source.as_ref()?;
            let mended = self.lay_out(&**source, *shard, commits(&self.pages));
            source.tell(
                &damage.clone().into(),
                mended.as_ref().err().map(String::as_str),
            );
            mended.ok()
        };
        match self.rebuilt.get_or_init(mend) {
            Some(pages) => pages.get(range),
            None => Err(damage),
        }
    }

    fn lay_out(
        &self,
        source: &dyn Source,
        shard: u32,
        commits: Option<Vec<CommitRef>>,
    ) -> Result<Pages, String> {
        let mut found = String::new();
        // What the segment says of its commits is right if it can be read. Without it, all that are
        // there are tried.
        for commits in commits.as_deref().map(Some).into_iter().chain([None]) {
            let bytes = source.lay_out(shard, commits)?;
            let (body, seal) = bytes.split_at(bytes.len() - SEAL_LEN);
            if seal != self.seal {
                found = hex(seal);
                continue;
            }
            let checks = body[self.pages.len()..]
                .as_chunks()
                .0
                .iter()
                .map(|check| u64::from_le_bytes(*check))
                .collect();
            let (file, len) = (self.pages.file().to_owned(), self.pages.len());
            return Pages::new(file, bytes.into(), len, self.key, checks)
                .map_err(|damage| damage.to_string());
        }
        Err(format!(
            "the log gives another file: its seal is {found}, it was {}",
            hex(&self.seal)
        ))
    }

    /// The bytes that are to be written in place of a damaged file, if there are any.
    pub(super) fn unstored(&self) -> Option<&[u8]> {
        let rebuilt = self.rebuilt.get()?.as_ref()?;
        (!self.is_stored.load(Ordering::Relaxed)).then(|| rebuilt.unverified())
    }

    /// They have been written.
    pub(super) fn stored(&self) {
        self.is_stored.store(true, Ordering::Relaxed);
    }

    /// Verifies all pages of the file, unless another has been put in its place.
    pub(super) fn verify(&self) -> Vec<Damage> {
        if self.is_stored.load(Ordering::Relaxed) {
            Vec::new()
        } else {
            self.pages.verify_all(|_| {})
        }
    }

    /// The file's own pages.
    pub(super) const fn pages(&self) -> &Pages {
        &self.pages
    }
}
