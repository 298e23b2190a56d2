//! Sequential replay: the specification's §5, step by step.
//!
//! Records of all logs are sorted by the one order and applied one after the other; what is beyond
//! the target is skipped; a tombstone clears what is effective at its id. Nothing here is shared
//! with the incremental `state`: the two must agree for every set of commits, and that equality is
//! the project's first invariant.
//!
//! A record touches nothing but its own id. So it makes no difference whether records are applied
//! in the one order, or id by id and for each id in the one order; and then ids can be shared out:
//! commits are read by several threads in any order, each record goes to the shard of its id, each
//! shard is sorted and applied by one thread, and the sums of all shards are added up. The result
//! is the same for any number of threads, and comes in ascending order of id.

mod cell;

use std::borrow::Borrow;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use uor_index_format::commit::Commit;
use uor_index_format::id::{CanonicalId, LogSeq, SiteId, StateRoot};
use uor_index_format::membership::ConflictRule;
use uor_index_format::snapshot::Snapshot;
use uor_index_format::state::{Entry, StateHash};

use self::cell::{Cell, Version};

/// Shards of the id space, a power of two: by the first bits of an id. Enough that sorting one
/// stays in the cache.
const SHARDS: usize = 1 << SHARD_BITS;
const SHARD_BITS: u32 = 12;
/// Shards whose entries are in memory at once, for each thread, where someone looks at them.
const SHARDS_SHOWN: usize = 16;

/// The state that replay arrived at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// Visible entries, ascending by id.
    pub entries: Vec<Entry>,
    /// Ids with an open conflict, ascending.
    pub conflicts: Vec<CanonicalId>,
    /// The state root.
    pub root: StateRoot,
    /// How many records were applied.
    pub records: u64,
}

/// What there is to say about a target without its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// The state root.
    pub root: StateRoot,
    /// How many records were applied.
    pub records: u64,
    /// Visible entries.
    pub entries: u64,
    /// Ids with an open conflict.
    pub conflicts: u64,
}

/// Replays the commits that lie inside `target`, on one thread.
pub fn replay<'a>(
    commits: impl IntoIterator<Item = &'a Commit>,
    target: &Snapshot,
    rule: ConflictRule,
) -> Replayed {
    let commits: Vec<&Commit> = commits.into_iter().collect();
    let replay = Replay {
        targets: std::slice::from_ref(target),
        rule,
        threads: NonZeroUsize::MIN,
    };
    let count = u32::try_from(commits.len()).unwrap_or(u32::MAX);
    let Ok(replayed) = replay.entries(count, &|index| {
        Ok::<_, std::convert::Infallible>(commits[index as usize])
    });
    replayed
}

/// Someone who looks at entries, some at a time.
pub type Show<'a> = &'a mut dyn FnMut(&[Entry]);

/// A replay to one or several targets, with one reading of the log.
#[derive(Debug, Clone, Copy)]
pub struct Replay<'a> {
    /// How far: for each, the commits inside it are applied and no others.
    pub targets: &'a [Snapshot],
    /// What is effective where claims differ.
    pub rule: ConflictRule,
    /// How many threads share the work. What comes out does not depend on it.
    pub threads: NonZeroUsize,
}

impl Replay<'_> {
    /// Replays to the first target and keeps all entries.
    ///
    /// # Errors
    /// The error of the first commit that `read` could not read.
    pub fn entries<C: Borrow<Commit>, E: Send>(
        &self,
        commits: u32,
        read: &(dyn Fn(u32) -> Result<C, E> + Sync),
    ) -> Result<Replayed, E> {
        let mut entries = Vec::new();
        let first = Replay {
            targets: &self.targets[..1],
            ..*self
        };
        let reached = first.run(
            commits,
            read,
            &mut |_| {},
            Some(&mut |some| entries.extend_from_slice(some)),
        )?;
        let conflicts = entries
            .iter()
            .filter(|entry| entry.conflict)
            .map(|entry| entry.id)
            .collect();
        Ok(Replayed {
            root: reached[0].root,
            records: reached[0].records,
            entries,
            conflicts,
        })
    }

    /// Replays this many commits, which `read` gives by index, in any order and on any thread; says
    /// what was reached for each target. `on_progress` hears from time to time how many commits
    /// have been taken. The entries of the first target are shown to `show`, in ascending order of
    /// id, some at a time.
    ///
    /// Memory is taken for a short form of each record that lies inside some target.
    ///
    /// # Errors
    /// The error of the first commit that `read` could not read; all commits are read before it is
    /// said.
    pub fn run<C: Borrow<Commit>, E: Send>(
        &self,
        commits: u32,
        read: &(dyn Fn(u32) -> Result<C, E> + Sync),
        on_progress: &mut dyn FnMut(u32),
        show: Option<Show<'_>>,
    ) -> Result<Vec<Reached>, E> {
        let next = AtomicU32::new(0);
        let gather = |on_progress: &mut dyn FnMut(u32)| {
            let mut gathered = Gathered::new(self.targets);
            // A counter that stops at the end cannot overflow, however often it is asked.
            let take = || {
                next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
                    (at < commits).then_some(at + 1)
                })
            };
            while let Ok(index) = take() {
                match read(index) {
                    Ok(commit) => gathered.take(commit.borrow(), self.targets),
                    Err(error) => gathered.failed.push((index, error)),
                }
                on_progress(next.load(Ordering::Relaxed));
            }
            gathered
        };
        let mut gathered = self.on_all_threads(|| gather(on_progress), || gather(&mut |_| {}));
        let failed = gathered
            .iter_mut()
            .flat_map(|part| part.failed.drain(..))
            .min_by_key(|(index, _)| *index);
        match failed {
            Some((_, error)) => Err(error),
            None => Ok(self.apply(gathered, show)),
        }
    }

    /// Sorts and applies what was gathered, shard by shard.
    fn apply<E>(&self, mut gathered: Vec<Gathered<E>>, show: Option<Show<'_>>) -> Vec<Reached> {
        let inside: Vec<Inside> = (0..self.targets.len())
            .map(|target| Inside::sum(gathered.iter().map(|part| &part.inside[target])))
            .collect();
        // A small log leaves most shards empty; what is at hand at once is then all of it.
        let shards = (0..SHARDS).map(|shard| {
            let parts = gathered
                .iter_mut()
                .filter_map(|part| part.shards.get_mut(shard).map(std::mem::take));
            parts.filter(|part| !part.is_empty()).collect::<Vec<_>>()
        });
        let mut shards = shards.filter(|parts| !parts.is_empty());
        let mut sums = vec![Sum::default(); self.targets.len()];
        let (mut show, at_once) = match show {
            Some(show) => (Some(show), SHARDS_SHOWN * self.threads.get()),
            None => (None, SHARDS),
        };
        loop {
            let some: Vec<_> = shards.by_ref().take(at_once).collect();
            if some.is_empty() {
                break;
            }
            let mut shown = self.apply_shards(some, &inside, &mut sums, show.is_some());
            shown.sort_unstable_by_key(|(shard, _)| *shard);
            if let Some(show) = &mut show {
                shown.iter().for_each(|(_, entries)| show(entries));
            }
        }
        Sum::reached(sums, self.targets, &inside)
    }

    /// Applies shards; gives the entries of the first target by shard, if they are wanted.
    fn apply_shards(
        &self,
        shards: Vec<Vec<Vec<Version>>>,
        inside: &[Inside],
        sums: &mut [Sum],
        wanted: bool,
    ) -> Vec<(usize, Vec<Entry>)> {
        let queue = Mutex::new(shards.into_iter().enumerate());
        let order = oldest_first(self.targets);
        let apply = || {
            let mut sums = vec![Sum::default(); self.targets.len()];
            let mut shown = Vec::new();
            loop {
                let shard = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((number, parts)) = shard else {
                    return (sums, shown);
                };
                let mut versions = parts.concat();
                drop(parts);
                versions.sort_unstable_by(Version::order);
                let mut entries = Vec::new();
                for versions in versions.chunk_by(|one, other| one.id == other.id) {
                    let entry = self.apply_id(versions, &order, inside, &mut sums);
                    entries.extend(entry.filter(|_| wanted));
                }
                shown.push((number, entries));
            }
        };
        let parts = self.on_all_threads(apply, apply);
        let mut shown = Vec::new();
        for (part, some) in parts {
            sums.iter_mut()
                .zip(&part)
                .for_each(|(sum, part)| sum.merge(part));
            shown.extend(some);
        }
        shown
    }

    /// Applies the versions of one id for each target, oldest target first; gives its entry at the
    /// first one. What an id adds to a target is summed as the difference to the target before:
    /// most ids stay what they are.
    fn apply_id(
        &self,
        versions: &[Version],
        order: &[usize],
        inside: &[Inside],
        sums: &mut [Sum],
    ) -> Option<Entry> {
        let (mut first, mut before) = (None, None);
        for target in order {
            let versions = versions
                .iter()
                .filter(|version| inside[*target].includes(version));
            let entry = Cell::replay(versions, self.rule);
            if entry != before {
                let sum = &mut sums[*target];
                before.iter().for_each(|entry| sum.remove(entry));
                entry.iter().for_each(|entry| sum.add(entry));
            }
            if *target == 0 {
                first = entry;
            }
            before = entry;
        }
        first
    }

    /// Runs `mine` here and `others` on all other threads.
    fn on_all_threads<T: Send>(
        &self,
        mine: impl FnOnce() -> T,
        others: impl Fn() -> T + Sync,
    ) -> Vec<T> {
        thread::scope(|scope| {
            let others: Vec<_> = (1..self.threads.get())
                .map(|_| scope.spawn(&others))
                .collect();
            let mine = mine();
            let join = |other: thread::ScopedJoinHandle<'_, T>| match other.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            others.into_iter().map(join).chain([mine]).collect()
        })
    }
}

/// The targets in an order in which most ids change least from one to the next.
fn oldest_first(targets: &[Snapshot]) -> Vec<usize> {
    let commits = |target: &Snapshot| {
        target
            .frontier
            .values()
            .map(|head| u128::from(head.number))
            .sum::<u128>()
    };
    let mut order: Vec<usize> = (0..targets.len()).collect();
    order.sort_by_key(|target| (commits(&targets[*target]), targets[*target].logseq_max));
    order
}

/// What one thread has read.
struct Gathered<E> {
    /// All domains of all targets, ascending: a version names its domain by its place here.
    domains: Vec<SiteId>,
    /// The versions of each shard; none at all before the first.
    shards: Vec<Vec<Version>>,
    inside: Vec<Inside>,
    failed: Vec<(u32, E)>,
}

impl<E> Gathered<E> {
    fn new(targets: &[Snapshot]) -> Self {
        let mut domains: Vec<SiteId> = targets
            .iter()
            .flat_map(|target| target.frontier.keys().copied())
            .collect();
        domains.sort_unstable();
        domains.dedup();
        let inside = Inside {
            last: vec![LogSeq(0); domains.len()],
            records: 0,
        };
        Self {
            inside: vec![inside; targets.len()],
            domains,
            shards: Vec::new(),
            failed: Vec::new(),
        }
    }

    fn take(&mut self, commit: &Commit, targets: &[Snapshot]) {
        let header = commit.header();
        let Ok(domain) = self.domains.binary_search(&header.domain) else {
            return;
        };
        let mut is_inside = false;
        for (target, inside) in targets.iter().zip(&mut self.inside) {
            if target.includes(&header.domain, header.number, header.logseq) {
                is_inside = true;
                inside.records += commit.records().len() as u64;
                inside.last[domain] = inside.last[domain].max(header.logseq);
            }
        }
        if !is_inside {
            return;
        }
        self.shards.resize_with(SHARDS, Vec::new);
        let domain = u32::try_from(domain).unwrap_or(u32::MAX);
        for record in commit.record_headers() {
            let shard = (record.id.prefix() >> (u64::BITS - SHARD_BITS)) as usize;
            self.shards[shard].push(Version::new(&record, header.logseq, domain));
        }
    }
}

/// What lies inside a target.
#[derive(Debug, Clone)]
struct Inside {
    /// Of each domain, the logseq of its last commit inside: it rises within a domain, so versions
    /// up to it are inside too.
    last: Vec<LogSeq>,
    records: u64,
}

impl Inside {
    fn sum<'a>(parts: impl Iterator<Item = &'a Self>) -> Self {
        let sum = parts.cloned().reduce(|mut sum, part| {
            sum.last
                .iter_mut()
                .zip(&part.last)
                .for_each(|(last, other)| *last = (*last).max(*other));
            sum.records += part.records;
            sum
        });
        sum.unwrap_or(Self {
            last: Vec::new(),
            records: 0,
        })
    }

    fn includes(&self, version: &Version) -> bool {
        self.last
            .get(version.domain as usize)
            .is_some_and(|last| version.logseq <= *last)
    }
}

/// What is visible at a target, less what is visible at the one before it.
#[derive(Debug, Clone, Default)]
struct Sum {
    hash: StateHash,
    conflicts: u64,
}

impl Sum {
    fn add(&mut self, entry: &Entry) {
        self.hash.add(entry);
        self.conflicts = self.conflicts.wrapping_add(u64::from(entry.conflict));
    }

    fn remove(&mut self, entry: &Entry) {
        self.hash.remove(entry);
        self.conflicts = self.conflicts.wrapping_sub(u64::from(entry.conflict));
    }

    fn merge(&mut self, other: &Self) {
        self.hash.merge(&other.hash);
        self.conflicts = self.conflicts.wrapping_add(other.conflicts);
    }

    /// Adds up the differences.
    fn reached(sums: Vec<Self>, targets: &[Snapshot], inside: &[Inside]) -> Vec<Reached> {
        let mut running = Self::default();
        let mut reached: Vec<(usize, Reached)> = Vec::new();
        for target in oldest_first(targets) {
            running.merge(&sums[target]);
            let Self { hash, conflicts } = &running;
            let (root, records) = (hash.root(&targets[target]), inside[target].records);
            reached.push((
                target,
                Reached {
                    root,
                    records,
                    entries: hash.entries(),
                    conflicts: *conflicts,
                },
            ));
        }
        reached.sort_unstable_by_key(|(target, _)| *target);
        reached.into_iter().map(|(_, reached)| reached).collect()
    }
}
