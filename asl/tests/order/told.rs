//! A store that is told everything in an order of its own, and what it then amounts to.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use uor_asl::disk::memory::MemoryDisk;
use uor_asl::disk::{Disk, Mode};
use uor_asl::state::Filter;
use uor_asl::store::{Options, Store, View};
use uor_asl::validator::{Parked, Verdict};
use uor_index_format::commit::Commit;
use uor_index_format::id::{CanonicalId, CommitHash, FederationId, SiteId, StateRoot};
use uor_index_format::membership::ConflictRule;
use uor_index_format::snapshot::Snapshot;
use uor_index_format::state::Entry;

use super::dice::{Dice, Tally};
use super::oracle::{self, Oracle};
use super::world::News;

/// A store that hears news.
pub(crate) struct Listener {
    /// Always there, but while it is opened again.
    store: Option<Store>,
    disk: Arc<dyn Disk>,
    options: Options,
    dice: Dice,
    pub(crate) tally: Tally,
}

impl Listener {
    pub(crate) fn new(federation: FederationId, mut dice: Dice) -> Self {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        Store::create(&disk, federation).unwrap();
        let shards = NonZeroU32::new(1 << dice.below(3)).unwrap();
        let options = Options {
            shards,
            memtable_records_max: [8, 64, 1 << 20][dice.below(3)],
            seed: dice.throw(),
            ..Options::default()
        };
        let store = Store::open_with(disk.clone(), Mode::Write, options).unwrap();
        Self {
            store: Some(store),
            disk,
            options,
            dice,
            tally: Tally::default(),
        }
    }

    pub(crate) fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    /// Hears everything, again and again and with ever more patience for clocks, until nothing is
    /// news.
    pub(crate) fn hear(&mut self, news: &[News]) {
        let begins_with = [1, 1 + self.dice.throw() % 3, u64::MAX][self.dice.below(3)];
        for patience in [begins_with, u64::MAX] {
            for round in 0.. {
                assert!(round < 100, "something is news again and again");
                let before = self.known();
                let mut waiting = self.dice.shuffled(news);
                while !waiting.is_empty() {
                    let at_once = (1 + self.dice.below(6)).min(waiting.len());
                    let some = waiting.drain(..at_once).collect();
                    self.take(some, patience);
                    self.keep_house();
                }
                if self.known() == before {
                    break;
                }
            }
        }
    }

    fn known(&self) -> impl PartialEq + use<> {
        let view = self.store().view();
        let forks: Vec<(SiteId, u64)> = view
            .forks()
            .iter()
            .map(|(site, proof)| (*site, proof.number()))
            .collect();
        (
            view.head().clone(),
            forks,
            view.memberships().len(),
            view.unaccepted(),
        )
    }

    /// Commits that come together are merged together.
    fn take(&mut self, news: Vec<News>, patience: u64) {
        let mut commits = Vec::new();
        for news in news {
            match news {
                News::Commit(commit) => commits.push(*commit),
                News::Proof(proof) => {
                    self.merge(std::mem::take(&mut commits), patience);
                    let before = self.store().view().commits_len();
                    self.store().freeze(*proof).unwrap();
                    self.note_taken_back(before);
                }
            }
        }
        self.merge(commits, patience);
    }

    fn merge(&mut self, commits: Vec<Commit>, patience: u64) {
        let before = self.store().view().commits_len();
        let verdicts = self.store().merge_patiently(commits, patience).unwrap();
        let counting = verdicts
            .iter()
            .filter(|verdict| **verdict == Verdict::Accepted)
            .count();
        self.note_taken_back(before + counting as u64);
        let held_back =
            |verdict: &Verdict| matches!(verdict, Verdict::Parked(Parked::ClockJump { .. }));
        self.tally
            .note("a clock held back", verdicts.iter().any(held_back));
        self.tally.note(
            "two commits prove a fork",
            verdicts
                .iter()
                .any(|verdict| matches!(verdict, Verdict::Forks(_))),
        );
        self.tally
            .note("testimony taken", verdicts.contains(&Verdict::Testifies));
    }

    fn note_taken_back(&mut self, len_without: u64) {
        let is_less = self.store().view().commits_len() < len_without;
        self.tally.note("a proof takes back", is_less);
    }

    /// Whatever of maintenance and restarts may come in between: none of it may show.
    fn keep_house(&mut self) {
        match self.dice.below(100) {
            0 | 1 => self.store().seal_index().unwrap(),
            2 => self.store().settle().unwrap(),
            3 => while self.store().maintain().unwrap() {},
            // One piece of several that are due: news come between a seal and the merges that
            // follow it.
            6 | 7 => _ = self.store().maintain().unwrap(),
            4 => {
                self.reopen();
                self.tally.note(
                    "reopened from a checkpoint",
                    self.disk.exists("index/checkpoint").unwrap(),
                );
            }
            5 => {
                self.options.shards = NonZeroU32::new(1 << self.dice.below(3)).unwrap();
                self.reopen();
                self.tally
                    .note("index rewritten", self.store().opened().index.is_some());
            }
            _ => {}
        }
    }

    pub(crate) fn reopen(&mut self) {
        self.store = None;
        self.store = Some(Store::open_with(self.disk.clone(), Mode::Write, self.options).unwrap());
    }

    /// The same log, validated from its start.
    pub(crate) fn revalidated(&self) -> Store {
        let options = Options {
            rebuild_index: true,
            ..self.options
        };
        Store::open_with(self.disk.clone(), Mode::ReadOnly, options).unwrap()
    }

    /// What becomes of these commits when they are told once more.
    pub(crate) fn verdicts(&self, commits: &[Commit]) -> Vec<Verdict> {
        self.store()
            .merge_patiently(commits.to_vec(), u64::MAX)
            .unwrap()
    }
}

/// What a store amounts to, or the rules say that it should.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) head: Snapshot,
    accepted: BTreeSet<CommitHash>,
    forks: BTreeMap<SiteId, u64>,
    admitting: BTreeMap<CommitHash, BTreeSet<SiteId>>,
    members: BTreeSet<SiteId>,
    entries: Vec<Entry>,
    pub(crate) conflicts: Vec<CanonicalId>,
    pub(crate) root: StateRoot,
}

impl Amount {
    pub(crate) fn of(view: &View) -> Self {
        let state = view.state();
        let conflicts = state.conflicts(view.head()).unwrap();
        let membership = |(hash, membership): (&CommitHash, &uor_asl::validator::Membership)| {
            (*hash, membership.members.iter().copied().collect())
        };
        Self {
            head: view.head().clone(),
            accepted: view.commits().map(|commit| commit.unwrap().hash).collect(),
            forks: view
                .forks()
                .iter()
                .map(|(site, proof)| (*site, proof.number()))
                .collect(),
            admitting: view.memberships().iter().map(membership).collect(),
            members: view.members().clone(),
            entries: state
                .entries(view.head(), &Filter::ALL)
                .map(Result::unwrap)
                .collect(),
            conflicts: conflicts.into_iter().map(|conflict| conflict.id).collect(),
            root: state.root(),
        }
    }

    /// What the page says.
    pub(crate) fn by_the_rules(oracle: &Oracle, rule: ConflictRule) -> Self {
        let (head, entries) = (oracle.head(), oracle.entries(rule));
        Self {
            accepted: oracle.accepted().map(Commit::hash).collect(),
            forks: oracle.forks.clone(),
            admitting: oracle
                .admitting
                .iter()
                .map(|(hash, admits)| (*hash, admits.sites.clone()))
                .collect(),
            members: oracle.members(),
            conflicts: entries
                .iter()
                .filter(|entry| entry.conflict)
                .map(|entry| entry.id)
                .collect(),
            root: oracle::root(&entries, &head),
            entries,
            head,
        }
    }

    /// Says where two differ.
    pub(crate) fn assert_is(&self, other: &Self, what: &str) {
        assert_eq!(self.forks, other.forks, "{what}: forks");
        assert_eq!(self.admitting, other.admitting, "{what}: membership");
        assert_eq!(self.accepted, other.accepted, "{what}: accepted commits");
        assert_eq!(self.entries, other.entries, "{what}: entries");
        assert_eq!(self, other, "{what}");
    }
}
