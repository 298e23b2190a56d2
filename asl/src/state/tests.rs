//! What is effective, kept up version by version, against looking at all versions; and how much is
//! read for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use uor_index_format::chain::History;
use uor_index_format::commit::{Commit, Draft};
use uor_index_format::id::{ArtifactKey, CommitHash, FederationState};
use uor_index_format::key::SiteKey;
use uor_index_format::receipt::Derivation;
use uor_index_format::record::Payload;
use uor_index_format::reference::{NAMESPACE_USER, RefAssignment};
use uor_index_format::snapshot::Head as DomainHead;

use super::effective::effective;
use super::summaries::Summaries;
use super::summary::{Standee, Summary};
use super::version::in_order;
use super::*;
use crate::disk::Mode;
use crate::disk::memory::MemoryDisk;
use crate::index::RunBuilder;
use crate::log::{Log, READS};

use crate::replay::replay;

const RULES: [ConflictRule; 3] = [
    ConflictRule::First,
    ConflictRule::Quorum,
    ConflictRule::Manual,
];

fn key(site: usize) -> SiteKey {
    SiteKey::from_seed(&[u8::try_from(site).unwrap() + 1; 32])
}

fn artifact(seed: u64) -> ArtifactKey {
    ArtifactKey::from_bytes(*blake3::hash(&seed.to_le_bytes()).as_bytes())
}

/// That name `which` is that artifact.
fn name(which: u8, target: u64) -> Record {
    let (namespace, name) = (NAMESPACE_USER.to_owned(), format!("name-{which}"));
    Record::reference(RefAssignment {
        namespace,
        name,
        target: artifact(target),
    })
}

/// That derivation `which` has that outcome.
fn outcome(which: u8, result: u64) -> Record {
    let derivation = Derivation {
        program: artifact(which.into()),
        inputs: vec![],
        params: vec![],
        profile: "test/1".to_owned(),
    };
    Record::receipt(derivation, Payload::of(&result.to_le_bytes()))
}

/// Sites that write, each its own chain.
#[derive(Default)]
struct Writers {
    heads: BTreeMap<usize, DomainHead>,
}

impl Writers {
    fn write(&mut self, site: usize, logseq: u64, records: Vec<Record>) -> Commit {
        let head = self.heads.get(&site).copied().unwrap_or(DomainHead {
            number: 0,
            hash: CommitHash::NONE,
        });
        let draft = Draft {
            number: head.number + 1,
            history: History::Previous(head.hash),
            logseq: LogSeq(logseq),
            federation: FederationState::of([]),
            wall_ms: 0,
            learned: vec![],
            records,
        };
        let commit = Commit::seal(draft, &key(site)).unwrap();
        self.heads.insert(
            site,
            DomainHead {
                number: head.number + 1,
                hash: commit.hash(),
            },
        );
        commit
    }
}

/// A state over a log in memory.
struct Lone {
    log: Log,
    state: State,
    runs: u32,
}

impl Lone {
    fn new(rule: ConflictRule) -> Self {
        let (log, _) = Log::open(Arc::new(MemoryDisk::new()), Mode::Write).unwrap();
        let state = State::new(rule, Index::new(2, 7), log.view());
        Self {
            log,
            state,
            runs: 0,
        }
    }

    fn append(&mut self, commit: &Commit) -> LogPosition {
        let appended = self.log.append_batch(&[(1, commit.as_bytes())]).unwrap();
        let position = appended.positions[0];
        self.state.take_log(appended);
        position
    }

    fn apply(&mut self, commit: &Commit) {
        let position = self.append(commit);
        let change = self.state.prepare(commit).unwrap();
        self.state.apply(commit, position, change);
    }

    /// Writes what is in memory as a run.
    fn seal(&mut self) {
        self.runs += 1;
        let files = RunBuilder::of(&self.state.rotate(), 2)
            .encode(self.runs, self.state.log())
            .unwrap();
        let files = (0..)
            .zip(files)
            .map(|(shard, bytes): (u32, _)| (format!("{shard}"), bytes.into()))
            .collect();
        self.state
            .install(Arc::new(Run::open(self.runs, files, None).unwrap()));
    }
}

/// How often the log was read meanwhile.
fn reads<T>(action: impl FnOnce() -> T) -> (u64, T) {
    let before = READS.get();
    let done = action();
    (READS.get() - before, done)
}

/// A version of one id: who, when, and one of few things to say.
fn version(claim: &dyn Fn(u64) -> Record, site: usize, logseq: u64, word: u8) -> VersionHeader {
    let id = claim(0).id();
    let record = match word {
        0 => Record::tombstone(id),
        1..4 => Record::resolution(id, claim(word.into()).payload().checksum),
        _ => claim(u64::from(word) % 4),
    };
    let header = RecordHeader {
        id,
        kind: record.kind(),
        type_tag: record.type_tag(),
        payload: record.payload(),
        body_len: 0,
    };
    let tombstone = header.kind == Kind::Tombstone;
    let place = Place {
        logseq: LogSeq(logseq),
        id,
        tombstone,
        domain: key(site).site_id(),
    };
    let at = LogPosition {
        segment: 1,
        offset: u32::try_from(logseq * 8 + site as u64).unwrap(),
    };
    VersionHeader {
        place,
        number: logseq,
        at,
        header,
    }
}

/// An entry, and place, number and position of the claim that is effective.
type Stood = (Entry, Option<(Place, u64, LogPosition)>);

fn standing_of(summary: &Summary, rule: ConflictRule) -> Option<Stood> {
    let claim = |claim: Standee| (claim.place, claim.number, claim.at);
    summary
        .effective(rule)
        .map(|effective| (effective.entry, effective.claim.map(claim)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_summary_is_what_all_versions_amount_to(
        rule in prop::sample::select(RULES.to_vec()),
        kind in 0..3_u8,
        said in prop::collection::btree_map((0..4_usize, 1..20_u64), prop_oneof![1 => 0..1_u8, 12 => 1..12_u8], 1..60),
        order in any::<u64>(),
    ) {
        let claim: &dyn Fn(u64) -> Record = match kind {
            0 => &|word| outcome(1, word),
            1 => &|word| name(1, word),
            _ => &|_| Record::artifact(None, Payload::of(b"one")),
        };
        let mut said: Vec<VersionHeader> =
            said.into_iter().map(|((site, logseq), word)| version(claim, site, logseq, word)).collect();
        // They arrive in any order, some of them twice.
        said.sort_by_key(|seen| blake3::hash(&[order.to_le_bytes(), u64::from(seen.at.offset).to_le_bytes()].concat()).to_hex());
        let again: Vec<VersionHeader> = said.iter().step_by(5).copied().collect();
        let (mut summary, mut versions) = (Summary::new(claim(0).id()), Vec::new());
        for seen in said.iter().chain(&again) {
            summary.insert(seen);
            versions.push(*seen);
            in_order(&mut versions);
            let expected = effective(&versions, rule)
                .map(|(entry, claim)| (entry, claim.map(|claim| (claim.place, claim.number, claim.at))));
            prop_assert_eq!(standing_of(&summary, rule), expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ids_with_many_versions_stand_as_sequential_replay_has_them(
        rule in prop::sample::select(RULES.to_vec()),
        turns in prop::collection::vec((0..3_usize, 0..40_u8, 0..4_u8), 40..160),
        lag in 0..30_u64,
        seals in prop::collection::btree_set(0..160_usize, 0..3),
        versions_max in prop::sample::select(vec![1, 30, 1 << 20]),
    ) {
        let (mut writers, mut lone, mut commits) = (Writers::default(), Lone::new(rule), Vec::new());
        lone.state.summaries = Mutex::new(Summaries::new(versions_max));
        let ids = [name(1, 0).id(), outcome(1, 0).id()];
        for (turn, (site, word, act)) in turns.into_iter().enumerate() {
            // The third site's clock is behind: its commits come in among those that are here.
            let logseq = turn as u64 + if site == 2 { 1 } else { 1 + lag };
            let result = u64::from(word % 4);
            let records = match word {
                0 => ids.map(Record::tombstone).to_vec(),
                1..5 => vec![Record::resolution(ids[1], outcome(1, result).payload().checksum)],
                _ => vec![name(1, result), outcome(1, result)],
            };
            let commit = writers.write(site, logseq, records);
            match act {
                // One that is looked up and comes to nothing must leave nothing behind.
                0 => drop(lone.state.prepare(&Writers::default().write(0, 500, vec![name(1, 77), Record::tombstone(ids[1])])).unwrap()),
                1 => ids.iter().for_each(|id| drop(lone.state.get(id, &lone.state.head()).unwrap())),
                _ => {}
            }
            lone.apply(&commit);
            commits.push(commit);
            if seals.contains(&turn) {
                lone.seal();
            }
            let head = lone.state.head();
            for id in &ids {
                let versions = lone.state.at(&head).unwrap().seen(id).unwrap();
                let expected = effective(&versions, rule);
                prop_assert_eq!(lone.state.entry(id, &head).unwrap(), expected.map(|(entry, _)| entry));
                let (visible, effective) = (lone.state.get(id, &head).unwrap(), expected.and_then(|(_, claim)| claim));
                let shown = visible.and_then(|visible| visible.version).map(|version| (version.place, version.number));
                prop_assert_eq!(shown, effective.map(|claim| (claim.place, claim.number)));
            }
        }
        let replayed = replay(&commits, &lone.state.head(), rule);
        prop_assert_eq!(lone.state.root(), replayed.root);
        let conflicts: Vec<CanonicalId> = lone.state.conflicting().iter().copied().collect();
        prop_assert_eq!(conflicts, replayed.conflicts);
        let entries: Vec<Entry> = ids.iter().filter_map(|id| lone.state.entry(id, &lone.state.head()).unwrap()).collect();
        prop_assert_eq!(entries.len(), replayed.entries.len());
    }
}

/// A name is set over and over, a result claimed over and over: each time costs about the same, at
/// the head and in runs.
#[test]
fn what_is_said_over_and_over_is_not_read_over_and_over() {
    const TIMES: u64 = 3000;
    for rule in RULES {
        let (mut writers, mut lone) = (Writers::default(), Lone::new(rule));
        let mut reads_late = 0;
        for time in 0..TIMES {
            let site = usize::try_from(time % 3).unwrap();
            let commit = writers.write(site, time + 1, vec![name(1, time), outcome(1, time % 50)]);
            let (written, ()) = reads(|| lone.apply(&commit));
            let head = lone.state.head();
            let (read, _) = reads(|| {
                [name(1, 0).id(), outcome(1, 0).id()].map(|id| lone.state.get(&id, &head).unwrap())
            });
            if time > TIMES / 2 {
                reads_late = reads_late.max(written + read);
            }
            if time % 1000 == 500 {
                lone.seal();
            }
        }
        // Four lookups, each of which bisects in lines and overflow of three runs.
        let most = 4 * 3 * 2 * (8 + 12) + 40;
        assert!(
            reads_late <= most,
            "{reads_late} reads in the log for one commit and two lookups"
        );
    }
}

/// Opened again, summaries are rebuilt: each version is read once.
#[test]
fn tombstones_by_the_thousand_are_read_once() {
    const TIMES: u64 = 2000;
    let (mut writers, mut lone) = (Writers::default(), Lone::new(ConflictRule::First));
    let mut total = 0;
    for time in 0..TIMES {
        let commit = writers.write(0, time + 1, vec![Record::tombstone(name(1, 0).id())]);
        total += reads(|| lone.apply(&commit)).0;
    }
    assert!(
        total <= 2 * TIMES,
        "{total} reads for {TIMES} tombstones of one id"
    );
    lone.state.summaries = Mutex::default();
    let commit = writers.write(0, TIMES + 1, vec![name(1, 5)]);
    let (first, ()) = reads(|| lone.apply(&commit));
    assert!((1..=TIMES + 8).contains(&first), "{first} reads");
    assert!(
        lone.state
            .get(&name(1, 0).id(), &lone.state.head())
            .unwrap()
            .is_some()
    );
}

/// The attack: two commits of tombstones about ids that share their first eight bytes. Looking the
/// second up used to gather every pair of them.
#[test]
fn commits_about_ids_that_look_alike_cost_what_others_do() {
    const IDS: u64 = 5000;
    let alike = |number: u64| {
        let mut bytes = *artifact(number).as_bytes();
        bytes[..8].copy_from_slice(&[0x77; 8]);
        Record::tombstone(CanonicalId::from_bytes(bytes))
    };
    let (mut writers, mut lone) = (Writers::default(), Lone::new(ConflictRule::First));
    lone.apply(&writers.write(0, 1, (0..IDS).map(alike).collect()));
    lone.seal();
    for (logseq, from) in [(2, IDS), (3, 0)] {
        let commit = writers.write(0, logseq, (from..from + IDS).map(alike).collect());
        let (read, ()) = reads(|| lone.apply(&commit));
        assert!(read > IDS, "they look alike");
        assert!(read <= IDS * 64, "{} reads for each id", read / IDS);
    }
    let ids = (0..2 * IDS).map(|number| alike(number).id());
    assert!(
        ids.into_iter()
            .all(|id| lone.state.entry(&id, &lone.state.head()).unwrap().is_none())
    );
}

#[test]
fn summaries_have_room_for_so_much_and_forget_what_was_used_least_recently() {
    let many = |which: u8| {
        let claim = move |word| name(which, word);
        let mut summary = Summary::new(claim(0).id());
        (1..=30).for_each(|logseq| summary.insert(&version(&claim, 0, logseq, 4)));
        summary
    };
    let mut summaries = Summaries::new(3 * 32);
    let mut made = 0;
    let mut ask = |which: u8| {
        let sum_up = || -> Result<_, ReadError> {
            made += 1;
            Ok(many(which))
        };
        let effective = summaries
            .effective(&name(which, 0).id(), ConflictRule::First, sum_up)
            .unwrap();
        assert_eq!(effective, many(which).effective(ConflictRule::First));
    };
    [1, 2, 3, 1, 2, 3].into_iter().for_each(&mut ask);
    // The fourth takes the place of the first, which has to be made again, in the place of the
    // second.
    [4, 3, 2, 1].into_iter().for_each(&mut ask);
    assert_eq!(made, 5);
}
