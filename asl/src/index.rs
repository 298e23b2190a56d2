//! Stand-in.
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use uor_index_format::id::{CanonicalId, LogSeq};
use uor_index_format::record::Kind;
use uor_index_format::state::Entry;

use crate::log::LogPosition;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class {
    pub kind: Kind,
    pub type_tag: Option<u32>,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitRef {
    pub domain: u32,
    pub number: u64,
    pub logseq: LogSeq,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub id: CanonicalId,
    pub at: LogPosition,
    pub class: Class,
    pub commit: u32,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub at: LogPosition,
    pub class: Class,
    pub commit: CommitRef,
}
#[derive(Debug, thiserror::Error)]
#[error("index")]
pub struct IndexError;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filter {
    kind: Option<Kind>,
    type_tag: Option<u32>,
}
impl Filter {
    pub const ALL: Self = Self { kind: None, type_tag: None };
    pub const fn kind(kind: Kind) -> Self {
        Self { kind: Some(kind), type_tag: None }
    }
    pub const fn type_tag(tag: u32) -> Self {
        Self { kind: Some(Kind::Artifact), type_tag: Some(tag) }
    }
    pub fn takes(&self, entry: &Entry) -> bool {
        self.kind.is_none_or(|kind| entry.kind == kind) && (self.type_tag.is_none() || entry.type_tag == self.type_tag)
    }
    fn takes_class(&self, class: Class) -> bool {
        self.kind.is_none_or(|kind| class.kind == kind) && (self.type_tag.is_none() || class.type_tag == self.type_tag)
    }
}
pub trait Ids {
    type Error;
    fn id(&self, at: LogPosition) -> Result<CanonicalId, Self::Error>;
}

#[derive(Debug, Default, Clone)]
pub struct Head {
    rows: BTreeMap<CanonicalId, Vec<Found>>,
    commits: Vec<CommitRef>,
    len: u64,
}
pub struct Run {
    head: Arc<Head>,
}
impl Run {
    pub fn rows(&self) -> u64 {
        self.head.len
    }
}
pub struct Index {
    shards: u32,
    runs: Vec<Arc<Run>>,
    frozen: Option<Arc<Head>>,
    head: Head,
}
impl Index {
    pub fn new(shards: u32, _seed: u64) -> Self {
        Self { shards, runs: Vec::new(), frozen: None, head: Head::default() }
    }
    pub fn shards(&self) -> u32 {
        self.shards
    }
    fn heads(&self) -> impl Iterator<Item = &Head> {
        self.runs.iter().map(|run| &*run.head).chain(self.frozen.as_deref()).chain([&self.head])
    }
    pub fn candidates(&self, id: &CanonicalId, out: &mut Vec<Found>) -> Result<(), IndexError> {
        self.heads().for_each(|head| out.extend(head.rows.get(id).into_iter().flatten()));
        Ok(())
    }
    pub fn candidates_batch(&self, ids: &[CanonicalId], mut f: impl FnMut(usize, Found)) -> Result<(), IndexError> {
        for (n, id) in ids.iter().enumerate() {
            let mut out = Vec::new();
            self.candidates(id, &mut out)?;
            out.into_iter().for_each(|found| f(n, found));
        }
        Ok(())
    }
    pub fn ascending<'a, E: From<IndexError>>(
        &'a self,
        start: CanonicalId,
        filter: &Filter,
        _ids: &'a dyn Ids<Error = E>,
    ) -> impl Iterator<Item = Result<(CanonicalId, Found), E>> + use<'a, E> {
        let filter = *filter;
        let mut all: Vec<(CanonicalId, Found)> = self
            .heads()
            .flat_map(|head| head.rows.range(start..).flat_map(|(id, found)| found.iter().map(|found| (*id, *found))))
            .filter(|(_, found)| filter.takes_class(found.class))
            .collect();
        all.sort_by_key(|(id, _)| *id);
        all.into_iter().map(Ok)
    }
    pub fn ascending_in<'a, E: From<IndexError>>(
        &'a self,
        shard: u32,
        filter: &Filter,
        ids: &'a dyn Ids<Error = E>,
    ) -> impl Iterator<Item = Result<(CanonicalId, Found), E>> + use<'a, E> {
        let bits = self.shards.trailing_zeros();
        self.ascending(CanonicalId::from_bytes([0; 32]), filter, ids).filter(move |row| {
            row.as_ref().is_ok_and(|(id, _)| bits == 0 || id.prefix() >> (64 - bits) == u64::from(shard))
        })
    }
    pub fn begin_commit(&mut self, commit: CommitRef) -> u32 {
        self.head.commits.push(commit);
        u32::try_from(self.head.commits.len() - 1).unwrap()
    }
    pub fn insert(&mut self, row: Row) {
        self.head.len += 1;
        let commit = self.head.commits[row.commit as usize];
        self.head.rows.entry(row.id).or_default().push(Found { at: row.at, class: row.class, commit });
    }
    pub fn head_len(&self) -> u64 {
        self.head.len
    }
    pub fn freeze(&mut self) -> Arc<Head> {
        let head = Arc::new(std::mem::take(&mut self.head));
        self.frozen = Some(head.clone());
        head
    }
    pub fn install(&mut self, run: Arc<Run>, replaced: Range<usize>) {
        if replaced.is_empty() {
            self.frozen = None;
        }
        self.runs.splice(replaced, [run]);
    }
    pub fn runs(&self) -> &[Arc<Run>] {
        &self.runs
    }
}
