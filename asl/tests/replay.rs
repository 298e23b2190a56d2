//! Replay by shards and threads against the specification's algorithm as it is written, and chains
//! that are broken.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

mod federation;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Arc;

use proptest::prelude::*;
use uor_asl::chain::{self, Before, Break};
use uor_asl::disk::{Disk, Mode, real::RealDisk};
use uor_asl::log::Log;
use uor_asl::replay::{Reached, Replay, Replayed, replay};
use uor_asl::store::{Committed, Store};
use uor_asl::verify::Finding;
use uor_index_format::chain::{Chain, History};
use uor_index_format::commit::{Commit, Draft, field};
use uor_index_format::id::{CanonicalId, Checksum, FederationState, LogSeq, SiteId};
use uor_index_format::membership::ConflictRule;
use uor_index_format::order::Place;
use uor_index_format::record::{Content, Kind, Payload, Record};
use uor_index_format::snapshot::{Head, Snapshot};
use uor_index_format::state::{Entry, StateHash};

use federation::{Federation, steps};

fn rules() -> impl Strategy<Value = ConflictRule> {
    prop_oneof![
        Just(ConflictRule::First),
        Just(ConflictRule::Quorum),
        Just(ConflictRule::Manual)
    ]
}

/// A snapshot that cuts every domain and the clock somewhere; `seed` decides where.
fn cut(commits: &[Commit], seed: u64) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let last = commits
        .iter()
        .map(|commit| commit.header().logseq.0)
        .max()
        .unwrap_or(0);
    for commit in commits {
        let header = commit.header();
        let limit = federation::mix(seed ^ u64::from(header.domain.as_bytes()[0])) % 12;
        let head = Head {
            number: header.number,
            hash: commit.hash(),
        };
        if header.number <= limit
            && snapshot
                .frontier
                .get(&header.domain)
                .is_none_or(|known| *known < head)
        {
            snapshot.frontier.insert(header.domain, head);
        }
    }
    snapshot.logseq_max = LogSeq(federation::mix(seed) % (last + 2));
    snapshot
}

/// Everything.
fn head(commits: &[Commit]) -> Snapshot {
    let mut snapshot = Snapshot {
        logseq_max: LogSeq::MAX,
        ..Snapshot::default()
    };
    for commit in commits {
        let head = Head {
            number: commit.header().number,
            hash: commit.hash(),
        };
        let known = snapshot
            .frontier
            .entry(commit.header().domain)
            .or_insert(head);
        *known = head.max(*known);
    }
    snapshot
}

fn threads(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

/// Replays to all targets, giving the commits in an order that `seed` decides; and the entries of
/// the first target.
fn run(
    commits: &[Commit],
    seed: u64,
    targets: &[Snapshot],
    rule: ConflictRule,
    count: usize,
) -> (Vec<Reached>, Vec<Entry>) {
    let mut order: Vec<usize> = (0..commits.len()).collect();
    order.sort_by_key(|index| federation::mix(seed ^ *index as u64));
    let read = |index: u32| Ok::<_, ()>(&commits[order[index as usize]]);
    let mut entries = Vec::new();
    let count = u32::try_from(commits.len())
        .map(|commits| (commits, threads(count)))
        .unwrap();
    let replay = Replay {
        targets,
        rule,
        threads: count.1,
    };
    let reached = replay
        .run(
            count.0,
            &read,
            &mut |_| {},
            Some(&mut |some| entries.extend_from_slice(some)),
        )
        .unwrap();
    (reached, entries)
}

fn reached(replayed: &Replayed) -> Reached {
    Reached {
        root: replayed.root,
        records: replayed.records,
        entries: replayed.entries.len() as u64,
        conflicts: replayed.conflicts.len() as u64,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_threads_arrival_and_targets_give_what_the_model_gives(
        steps in steps(60), rule in rules(), seed in any::<u64>(), cuts in prop::collection::vec(any::<u64>(), 0..5),
        count in 1_usize..6, at in any::<prop::sample::Index>(),
    ) {
        let federation = Federation::build(rule, &steps);
        let commits = federation.commits();
        let mut targets: Vec<Snapshot> = cuts.iter().map(|seed| cut(commits, *seed)).collect();
        targets.insert(at.index(targets.len() + 1), head(commits));
        let expected: Vec<Replayed> = targets.iter().map(|target| model(commits, target, rule)).collect();
        let (found, entries) = run(commits, seed, &targets, rule, count);
        prop_assert_eq!(found, expected.iter().map(reached).collect::<Vec<_>>());
        prop_assert_eq!(&entries, &expected[0].entries);
        for (target, expected) in targets.iter().zip(&expected) {
            prop_assert_eq!(&replay(commits, target, rule), expected);
        }
    }

    /// Long histories of few ids: every order of claims, tombstones and resolutions, in every
    /// domain, at equal times too.
    #[test]
    fn the_history_of_one_id_gives_what_the_model_gives(
        words in prop::collection::vec((0_usize..4, 1_u64..12, 0_u8..6), 1..40), rule in rules(), count in 1_usize..4,
    ) {
        let commits = history(&words);
        let target = head(&commits);
        let (found, entries) = run(&commits, 7, std::slice::from_ref(&target), rule, count);
        let expected = model(&commits, &target, rule);
        prop_assert_eq!(found, vec![reached(&expected)]);
        prop_assert_eq!(entries, expected.entries);
    }
}

/// What sites say of one receipt, and when: three outcomes, a tombstone, resolutions.
fn history(words: &[(usize, u64, u8)]) -> Vec<Commit> {
    let said: BTreeMap<(usize, u64), u8> = words
        .iter()
        .map(|(site, logseq, what)| ((*site, *logseq), *what))
        .collect();
    let outcome = |choice: u8| federation::record(2 + 64 * choice);
    let mut chains: BTreeMap<usize, Chain> = BTreeMap::new();
    let mut commits = Vec::new();
    for ((site, logseq), what) in said {
        let record = match what {
            0..3 => {
                let derivation = match outcome(0).content() {
                    Content::Receipt { derivation, .. } => derivation.clone(),
                    other => panic!("{other:?}"),
                };
                Record::receipt(derivation, Payload::of(&[what]))
            }
            3 => Record::tombstone(outcome(0).id()),
            _ => Record::resolution(outcome(0).id(), Checksum::of(&[what - 4])),
        };
        let chain = chains.entry(site).or_default();
        let commit = sealed(site, chain, logseq, record);
        chain.push(commit.hash());
        commits.push(commit);
    }
    commits
}

/// The commit that continues `chain`; every other is of version 1.
fn sealed(site: usize, chain: &Chain, logseq: u64, record: Record) -> Commit {
    let history = if chain.len().is_multiple_of(2) {
        chain.history()
    } else {
        History::Previous(chain.last())
    };
    named(site, chain.len() + 1, history, logseq, record)
}

fn named(site: usize, number: u64, history: History, logseq: u64, record: Record) -> Commit {
    let (logseq, federation) = (LogSeq(logseq), FederationState::of([]));
    let draft = Draft {
        number,
        history,
        logseq,
        federation,
        wall_ms: 0,
        learned: vec![],
        records: vec![record],
    };
    Commit::seal(draft, &federation::key(site)).unwrap()
}

#[test]
fn the_first_commit_that_cannot_be_read_is_named_and_all_others_are_read() {
    let federation = Federation::build(ConflictRule::First, &[]);
    let commits = federation.commits();
    let target = head(commits);
    let tried = std::sync::atomic::AtomicUsize::new(0);
    let read = |index: u32| {
        tried.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if index == 1 || index == 3 {
            Err(index)
        } else {
            Ok(&commits[index as usize])
        }
    };
    let replay = Replay {
        targets: std::slice::from_ref(&target),
        rule: ConflictRule::First,
        threads: threads(3),
    };
    let count = u32::try_from(commits.len()).unwrap();
    assert!(count > 4);
    assert_eq!(replay.run(count, &read, &mut |_| {}, None), Err(1));
    assert_eq!(tried.into_inner(), commits.len());
}

fn committed(commit: &Commit) -> Committed {
    let header = commit.header();
    Committed {
        domain: header.domain,
        number: header.number,
        hash: commit.hash(),
        logseq: header.logseq,
    }
}

/// What is noted of these commits, which are all before one.
fn noted(before: &[&Commit]) -> Before {
    let chain: Chain = before.iter().map(|commit| commit.hash()).collect();
    match before.last() {
        None => Before::Nothing,
        Some(last) => Before::Known {
            last: committed(last),
            history: chain.root(),
        },
    }
}

#[test]
fn whatever_breaks_a_chain_is_named() {
    let artifact = |byte| Record::artifact(None, Payload::of(&[byte]));
    let checked = |commit: &Commit, before: &[&Commit]| {
        chain::check(commit, &committed(commit), &noted(before))
    };
    let histories: [fn(&Chain) -> History; 2] =
        [|chain| History::Previous(chain.last()), Chain::history];
    for history in histories {
        let chain = |commits: &[&Commit]| commits.iter().map(|commit| commit.hash()).collect();
        let write = |number, before: &[&Commit], logseq, byte| {
            named(0, number, history(&chain(before)), logseq, artifact(byte))
        };
        let first = write(1, &[], 3, 1);
        let second = write(2, &[&first], 5, 2);
        let third = write(3, &[&first, &second], 6, 3);
        assert_eq!(checked(&first, &[]), Ok(()));
        assert_eq!(checked(&second, &[&first]), Ok(()));
        assert_eq!(checked(&third, &[&first, &second]), Ok(()));

        let unknown = |commit| chain::check(commit, &committed(commit), &Before::Unknown);
        assert_eq!(unknown(&third), Ok(()), "nothing is known against it");
        assert_eq!(checked(&second, &[]), Err(Break::Number { before: 0 }));
        assert_eq!(checked(&third, &[&first]), Err(Break::Number { before: 1 }));
        let strange = write(2, &[&third], 5, 2);
        let broken = Break::History {
            named: history(&chain(&[&third])),
            expected: history(&chain(&[&first])),
        };
        assert_eq!(checked(&strange, &[&first]), Err(broken));
        for logseq in [1, 3] {
            let late = write(2, &[&first], logseq, 2);
            let expected = Break::LogSeq {
                logseq: LogSeq(logseq),
                before: LogSeq(3),
            };
            assert_eq!(checked(&late, &[&first]), Err(expected));
        }
        // Another commit than was noted: a twin, another number, another domain.
        let twin = write(2, &[&first], 5, 9);
        let foreign = named(1, 2, history(&chain(&[&first])), 5, artifact(2));
        for other in [&twin, &third, &foreign] {
            let expected = Break::Other {
                number: other.header().number,
                hash: other.hash(),
            };
            assert_eq!(
                chain::check(other, &committed(&second), &noted(&[&first])),
                Err(expected)
            );
        }
    }
}

/// What verification finds of a store whose log was rewritten with these changes to its six
/// commits, while its index stayed as it was: the numbers of the commits found broken, and what was
/// said of each.
fn broken_by(change: impl Fn(&mut Vec<Vec<u8>>)) -> Vec<(u64, String)> {
    let (stored, rewritten) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let key = federation::key(0);
    let federation = Federation::build(ConflictRule::First, &[]);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(stored.path()));
    Store::create(&disk, federation.id()).unwrap();
    let store = Store::open(disk.clone(), Mode::Write).unwrap();
    store.merge(vec![federation.commits()[0].clone()]).unwrap();
    for byte in 2..7 {
        store
            .commit(&key, vec![Record::artifact(None, Payload::of(&[byte]))], 0)
            .unwrap();
    }
    let commits =
        (1..=6).map(|number| store.commit_bytes(&key.site_id(), number).unwrap().unwrap());
    let mut commits: Vec<Vec<u8>> = commits.collect();
    store.settle().unwrap();
    drop(store);

    change(&mut commits);
    let (log, _) = Log::open(Arc::new(RealDisk::new(rewritten.path())), Mode::Write).unwrap();
    for bytes in &commits {
        log.append_batch(&[(1, bytes)]).unwrap();
        log.sync().unwrap();
    }
    drop(log);
    std::fs::remove_dir_all(stored.path().join("log")).unwrap();
    std::fs::rename(rewritten.path().join("log"), stored.path().join("log")).unwrap();

    let store = Store::open(disk, Mode::ReadOnly).unwrap();
    assert_eq!(
        store.opened().index,
        None,
        "an index that is rewritten notices nothing"
    );
    let verified = store.verify(&mut |_| {}).unwrap();
    // The index is of another log, and what is no commit cannot be validated again: that is found
    // too.
    let found = verified
        .findings
        .into_iter()
        .filter_map(|finding| match finding {
            Finding::Chain {
                domain,
                number,
                what,
            } if domain == key.site_id() => Some((number, what)),
            Finding::Index { .. } | Finding::Unaccepted(_) | Finding::Log { .. } => None,
            other => panic!("found {other:?}"),
        });
    let found: Vec<_> = found.collect();
    assert_eq!(
        store.replay(store.view().head()).is_err(),
        !found.is_empty()
    );
    assert_eq!(
        store.replay_many(&[store.view().head().clone()]).is_err(),
        !found.is_empty()
    );
    found
}

#[test]
fn every_commit_that_is_not_in_its_place_is_found() {
    let key = federation::key(0);
    let numbers =
        |found: &[(u64, String)]| found.iter().map(|(number, _)| *number).collect::<Vec<_>>();
    assert_eq!(broken_by(|_| {}), vec![]);
    let swapped = broken_by(|commits| commits.swap(2, 3));
    assert_eq!(numbers(&swapped), [3, 4]);
    assert!(
        swapped[0].1.contains("it is commit 4 with hash"),
        "{swapped:?}"
    );
    let forged = broken_by(|commits| {
        for index in [1, 4] {
            commits[index][field::SIGNATURE.start] ^= 1;
        }
    });
    assert_eq!(numbers(&forged), [2, 5]);
    assert!(forged[1].1.contains("signature"), "{forged:?}");
    let changed = broken_by(|commits| *commits[5].last_mut().unwrap() ^= 1);
    assert_eq!(numbers(&changed), [6]);
    // A validly signed commit in place of another.
    let twin = broken_by(|commits| {
        let header = Commit::decode(&commits[3]).unwrap().header().clone();
        let record = Record::artifact(None, Payload::of(&[99]));
        let draft = Draft {
            number: header.number,
            history: header.history,
            logseq: header.logseq,
            federation: header.federation,
            wall_ms: 0,
            learned: vec![],
            records: vec![record],
        };
        commits[3] = Commit::seal(draft, &key).unwrap().encode();
    });
    assert_eq!(numbers(&twin), [4]);
    assert!(
        twin[0].1.contains("not the one that was taken in"),
        "{twin:?}"
    );
}

/// The specification's §5 as it is written: all records sorted by the one order, then applied one
/// after the other.
fn model<'a>(
    commits: impl IntoIterator<Item = &'a Commit>,
    target: &Snapshot,
    rule: ConflictRule,
) -> Replayed {
    let mut log: Vec<(Place, &Record)> = commits
        .into_iter()
        .filter(|commit| {
            let header = commit.header();
            target
                .frontier
                .get(&header.domain)
                .is_some_and(|head| header.number <= head.number)
        })
        .flat_map(|commit| {
            commit
                .records()
                .iter()
                .map(|record| (commit.place(record), record))
        })
        .collect();
    log.sort_by_key(|(place, _)| *place);

    let mut cells: BTreeMap<CanonicalId, Cell> = BTreeMap::new();
    let mut records = 0;
    for (place, record) in log {
        if place.logseq > target.logseq_max {
            continue;
        }
        records += 1;
        cells.entry(place.id).or_default().apply(place, record);
    }

    let entries: Vec<Entry> = cells
        .iter()
        .filter_map(|(id, cell)| cell.entry(*id, rule))
        .collect();
    let mut sum = StateHash::default();
    entries.iter().for_each(|entry| sum.add(entry));
    let conflicts = entries
        .iter()
        .filter(|entry| entry.conflict)
        .map(|entry| entry.id)
        .collect();
    Replayed {
        root: sum.root(target),
        entries,
        conflicts,
        records,
    }
}

/// What has been applied to one id so far.
#[derive(Debug, Default)]
struct Cell {
    /// Different claims in the order in which each first came.
    claims: Vec<Claim>,
    /// Resolutions in order, each with the number of claim records that had come before it.
    resolutions: Vec<(Checksum, usize)>,
    /// Claim records so far: when each was made, and what it claimed.
    sequence: Vec<Checksum>,
}

#[derive(Debug, Clone)]
struct Claim {
    kind: Kind,
    type_tag: Option<u32>,
    checksum: Checksum,
    len: u64,
    logseq: LogSeq,
    domains: BTreeSet<SiteId>,
}

impl Cell {
    fn apply(&mut self, place: Place, record: &Record) {
        match record.content() {
            Content::Tombstone => *self = Self::default(),
            Content::Resolution { keep } => self.resolutions.push((*keep, self.sequence.len())),
            Content::Artifact { .. } | Content::Receipt { .. } | Content::Genesis(_) => {
                self.keep_first(place, record)
            }
            Content::Edge(_) | Content::Ref(_) | Content::Admission(_) => {
                self.keep_last(place, record)
            }
        }
    }

    fn keep_first(&mut self, place: Place, record: &Record) {
        let claim = Claim::new(place, record);
        self.sequence.push(claim.checksum);
        match self
            .claims
            .iter_mut()
            .find(|known| known.checksum == claim.checksum)
        {
            Some(duplicate) => {
                duplicate.domains.insert(place.domain);
            }
            None => self.claims.push(claim),
        }
    }

    /// A later edge or ref replaces the earlier; who else had said the same is remembered for
    /// corroboration.
    fn keep_last(&mut self, place: Place, record: &Record) {
        let mut claim = Claim::new(place, record);
        if let Some(at) = self
            .claims
            .iter()
            .position(|known| known.checksum == claim.checksum)
        {
            claim.domains.append(&mut self.claims.remove(at).domains);
        }
        self.claims.push(claim);
    }

    fn entry(&self, id: CanonicalId, rule: ConflictRule) -> Option<Entry> {
        let (first, last) = (self.claims.first()?, self.claims.last()?);
        if !first.kind.keeps_first() {
            return Some(last.entry(id, false));
        }
        let settled = self
            .resolutions
            .iter()
            .rev()
            .find_map(|(keep, claims_before)| {
                let kept = self.claims.iter().find(|claim| claim.checksum == *keep)?;
                let reopened = self
                    .sequence
                    .iter()
                    .skip(*claims_before)
                    .any(|later| later != keep);
                Some(kept.entry(id, reopened))
            });
        if settled.is_some() || self.claims.len() == 1 {
            return settled.or_else(|| Some(first.entry(id, false)));
        }
        Some(match rule {
            ConflictRule::First => first.entry(id, true),
            ConflictRule::Quorum => {
                // `max_by_key` takes the last of equals; reversed, that is the one that came first.
                let most = self
                    .claims
                    .iter()
                    .rev()
                    .max_by_key(|claim| claim.domains.len());
                most.unwrap_or(first).entry(id, true)
            }
            ConflictRule::Manual => Entry {
                type_tag: None,
                checksum: None,
                payload_len: 0,
                domains: 0,
                ..first.entry(id, true)
            },
        })
    }
}

impl Claim {
    fn new(place: Place, record: &Record) -> Self {
        let payload = record.payload();
        Self {
            kind: record.kind(),
            type_tag: record.type_tag(),
            checksum: payload.checksum,
            len: payload.len,
            logseq: place.logseq,
            domains: BTreeSet::from([place.domain]),
        }
    }

    fn entry(&self, id: CanonicalId, conflict: bool) -> Entry {
        Entry {
            id,
            kind: self.kind,
            type_tag: self.type_tag,
            checksum: Some(self.checksum),
            payload_len: self.len,
            logseq: self.logseq,
            conflict,
            domains: u32::try_from(self.domains.len()).unwrap_or(u32::MAX),
        }
    }
}
