//! Shadowing: one thing, or a whole data set with what nothing else shows.
//!
//! A file is one artifact wherever its bytes are used. So shadowing it takes it from every tree
//! that names it, which is why a path inside a tree is refused, and a key is shadowed with a word
//! about the names that it breaks.
//!
//! A data set goes with everything in it that nothing else *shows*. What is visible shows other
//! things: a ref what it points at; a tree what is in it, also one that no name leads to; a program
//! its modules; a receipt its program, inputs and outputs. Edges and snapshots show nothing: an
//! edge speaks about things, and a snapshot still sees what is shadowed later. What is shown stays,
//! with all that is in it ([`shown`]).
//!
//! Tombstones go in commits of bounded size, what is inside before what it is in, and the name
//! last: what was interrupted is done by asking again. Nothing is added here meanwhile. What
//! another site adds meanwhile may name what is shadowed here: then `get` says so, and adding it
//! once more mends it.
//!
//! To be read in this order: `error`, `looking`, `shown`, then this.

mod error;
mod looking;
mod shown;

pub use self::error::RemoveError;

use std::collections::BTreeSet;

use serde::Serialize;
use uor_asl::store::CommitError;
use uor_index_format::id::{ArtifactKey, CanonicalId, LogSeq};
use uor_index_format::record::Record;
use uor_index_format::reference::{NAMESPACE_USER, RefAssignment};
use uor_index_format::snapshot::Snapshot;

use self::looking::{Looking, Part};
use crate::site::bounded::Bounded;
use crate::site::catalog::sort::Sort;
use crate::site::catalog::target::Target;
use crate::site::handle::Site;
use crate::site::json;

/// Most tombstones of one commit.
const BATCH_RECORDS_MAX: usize = 16_384;

/// What was tombstoned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// The id.
    #[serde(serialize_with = "json::text")]
    pub id: CanonicalId,
    /// What it was.
    pub kind: Sort,
    /// When.
    #[serde(serialize_with = "json::logseq")]
    pub logseq: LogSeq,
    /// Names whose trees no longer show everything, or that point at nothing.
    pub broken: Bounded<String>,
    /// Trees that are not here, so that what they name is not known.
    pub unread: u64,
}

/// A data set that was tombstoned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RemovedAll {
    /// What was asked for: the name's record, or the artifact.
    #[serde(serialize_with = "json::text")]
    pub id: CanonicalId,
    /// What it was.
    pub kind: Sort,
    /// When the last of it was shadowed.
    #[serde(serialize_with = "json::logseq")]
    pub logseq: LogSeq,
    /// The name that was removed.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// How many trees were shadowed.
    pub trees: u64,
    /// How many other artifacts were.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many artifacts of the data set stay, because something else shows them.
    pub kept: u64,
    /// What shows them.
    pub kept_by: Bounded<String>,
    /// In how many commits.
    pub commits: u64,
    /// Trees, programs and receipts that are not here, so that what they show is not known.
    pub unread: u64,
}

/// What is to be removed, and the name that goes with it.
struct Removal<'a> {
    id: CanonicalId,
    kind: Sort,
    /// The name, if a bare one was given.
    name: Option<&'a str>,
}

impl Site {
    /// Tombstones an artifact, receipt, ref or edge. A target reached by a bare name is the ref,
    /// not what it points at. Says which names that breaks; `on_progress` is told at how many trees
    /// was looked for that.
    ///
    /// # Errors
    /// [`RemoveError`].
    pub fn rm(
        &self,
        target: &Target,
        on_progress: &mut dyn FnMut(u64),
    ) -> Result<Removed, RemoveError> {
        let Removal { id, kind, .. } = removal(target)?;
        self.reopen().map_err(CommitError::from)?;
        let (broken, unread) = match kind {
            Sort::Ref | Sort::Edge => (Bounded::default(), 0),
            _ => self.names_showing(target.key(), &self.head(), on_progress)?,
        };
        let logseq = self.commit(vec![Record::tombstone(id)])?.logseq;
        Ok(Removed {
            id,
            kind,
            logseq,
            broken,
            unread,
        })
    }

    /// Tombstones an artifact, or a ref with what it points at, and everything in it that nothing
    /// else shows. What is not here may show things too, and is a reason to refuse unless `force`.
    /// `on_progress` is told at how many trees was looked.
    ///
    /// # Errors
    /// [`RemoveError`]; what was tombstoned before stays so, and asking again does the rest.
    pub fn rm_recursive(
        &self,
        target: &Target,
        force: bool,
        on_progress: &mut dyn FnMut(u64),
    ) -> Result<RemovedAll, RemoveError> {
        let Removal { id, kind, name } = removal(target)?;
        if !target.sort.has_payload() {
            return Err(RemoveError::NotASet {
                text: target.text.clone(),
                found: target.sort,
            });
        }
        // What is added counts on what is visible: nothing may vanish under it.
        let _alone = self.freeing().ok_or(RemoveError::Busy)?;
        self.reopen_alone().map_err(CommitError::from)?;
        let at = self.head();
        let mut looking = Looking::new(self, &at, on_progress);
        let set = looking.collect(target.key())?;
        let shown = looking.shown(&set, name)?;
        if let Some(first) = looking.unread.first().filter(|_| !force) {
            return Err(RemoveError::NotHere {
                count: looking.unread.len() as u64,
                first: *first,
            });
        }
        if name.is_none() && shown.keys.contains(&target.key()) {
            return Err(RemoveError::StillShown {
                text: target.text.clone(),
                by: shown.by,
            });
        }
        let goes = |part: &&Part| part.is_visible && !shown.keys.contains(&part.key);
        let going: Vec<&Part> = set.parts.iter().filter(goes).collect();
        let (mut tombstones, mut trees, mut bytes) = (Vec::new(), 0, 0);
        for part in &going {
            tombstones.push(CanonicalId::from(part.key));
            trees += u64::from(part.is_tree);
            bytes += part.len;
        }
        tombstones.extend(name.map(|_| id));
        let (logseq, commits) = self.tombstone(&tombstones)?;
        Ok(RemovedAll {
            id,
            kind,
            logseq,
            reference: name.map(str::to_owned),
            trees,
            files: going.len() as u64 - trees,
            bytes,
            kept: shown.keys.len() as u64,
            kept_by: shown.by,
            commits,
            unread: looking.unread.len() as u64,
        })
    }

    /// Tombstones ids in their order; says when the last commit was, and how many there were.
    fn tombstone(&self, ids: &[CanonicalId]) -> Result<(LogSeq, u64), CommitError> {
        let (mut logseq, mut commits) = (LogSeq(0), 0);
        for batch in ids.chunks(BATCH_RECORDS_MAX) {
            let ascending: BTreeSet<CanonicalId> = batch.iter().copied().collect();
            let records = ascending.into_iter().map(Record::tombstone).collect();
            logseq = self.commit(records)?.logseq;
            commits += 1;
        }
        Ok((logseq, commits))
    }

    /// The names that people gave whose trees show an artifact, or that point at it, and how many
    /// trees could not be read.
    fn names_showing(
        &self,
        key: ArtifactKey,
        at: &Snapshot,
        on_progress: &mut dyn FnMut(u64),
    ) -> Result<(Bounded<String>, u64), RemoveError> {
        let refs = self.refs(at)?;
        let mut looking = Looking::new(self, at, on_progress);
        let showing = looking.trees_showing(key, refs.iter().map(|listed| listed.key))?;
        let mut names = Bounded::default();
        refs.into_iter()
            .filter(|listed| showing.contains(&listed.key))
            .for_each(|listed| names.push(listed.name));
        Ok((names, looking.unread.len() as u64))
    }
}

fn removal(target: &Target) -> Result<Removal<'_>, RemoveError> {
    if target.via_path {
        return Err(RemoveError::InsideTree {
            text: target.text.clone(),
            key: target.key(),
        });
    }
    let name = target.via_ref.as_deref();
    let (id, kind) = match name {
        Some(name) => (RefAssignment::id_of(NAMESPACE_USER, name), Sort::Ref),
        None => (target.id, target.sort),
    };
    if matches!(kind, Sort::Genesis | Sort::Admission) {
        return Err(RemoveError::WrongKind {
            text: target.text.clone(),
            found: kind,
        });
    }
    Ok(Removal { id, kind, name })
}
