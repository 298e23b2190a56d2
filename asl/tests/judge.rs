//! The rules of design §4 for what counts: each verdict reached by the smallest case that deserves it, and what becomes of a
//! store whose writers fork their logs.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

mod federation;
mod soak;

use std::sync::Arc;

use proptest::prelude::*;
use uor_asl::disk::memory::MemoryDisk;
use uor_asl::disk::{Disk, Mode};
use uor_asl::judge::{ADMISSIONS_MAX, Judge, KNOWN_MAX, Parked, Refusal, TESTIMONY_MAX, Verdict};
use uor_asl::store::{CommitError, Committed, Store};
use uor_index_format::commit::{Commit, Draft, ForkProof};
use uor_index_format::id::{ArtifactKey, CommitHash, FederationState, LogSeq, SiteId};
use uor_index_format::key::SiteKey;
use uor_index_format::membership::{Admission, ConflictRule, Genesis};
use uor_index_format::record::{Payload, Record};
use uor_index_format::reference::RefAssignment;

use federation::{Federation, SITES, Step, key, mix, steps};

/// The founder and admitter of the first other site, and the one admitted last, who has not written yet.
const FOUNDER: usize = 0;
const NEWCOMER: usize = SITES - 1;
const OUTSIDER: usize = SITES + 1;

/// Nobody but admitters has written; site 0 knows everything.
fn young() -> (Federation, Judge) {
    let federation = Federation::build(ConflictRule::First, &[]);
    let judge = federation.judge(FOUNDER).clone();
    (federation, judge)
}

fn word(text: &str) -> Vec<Record> {
    vec![Record::artifact(None, Payload::of(text.as_bytes()))]
}

/// What a site whose knowledge is `judge` would write next.
fn draft(judge: &Judge, site: usize, records: Vec<Record>) -> Draft {
    let domain = key(site).site_id();
    let head = judge.head(&domain);
    let (learned, federation) = judge.membership_for(&domain, usize::MAX);
    Draft {
        number: head.map_or(1, |head| head.number + 1),
        previous: head.map_or(CommitHash::NONE, |head| head.hash),
        logseq: judge.logseq_max().next().unwrap(),
        federation,
        wall_ms: 0,
        learned,
        records,
    }
}

fn seal(draft: Draft, site: usize) -> Commit {
    Commit::seal(draft, &key(site)).unwrap()
}

/// A commit that counts.
fn next(judge: &mut Judge, site: usize, text: &str) -> Commit {
    let commit = seal(draft(judge, site, word(text)), site);
    count(judge, &commit);
    commit
}

fn count(judge: &mut Judge, commit: &Commit) {
    assert_eq!(judge.judge(commit, &()).unwrap(), Verdict::Counts);
    judge.admit(commit);
}

fn refused(judge: &Judge, draft: Draft, site: usize) -> Refusal {
    match judge.judge(&seal(draft, site), &()).unwrap() {
        Verdict::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

fn parked(judge: &Judge, commit: &Commit) -> Parked {
    match judge.judge(commit, &()).unwrap() {
        Verdict::Parked(parked) => parked,
        other => panic!("{other:?}"),
    }
}

/// Another commit with the same number and place in the chain.
fn twin(commit: &Commit, site: usize, text: &str) -> Commit {
    twin_with(commit, site, word(text))
}

fn twin_with(commit: &Commit, site: usize, records: Vec<Record>) -> Commit {
    let header = commit.header().clone();
    let draft = Draft {
        number: header.number,
        previous: header.previous,
        logseq: header.logseq,
        federation: header.federation,
        wall_ms: 0,
        learned: commit.learned().to_vec(),
        records,
    };
    seal(draft, site)
}

fn proof(one: &Commit, other: &Commit) -> ForkProof {
    ForkProof::new(one.header().clone(), other.header().clone()).unwrap()
}

// The chain.

#[test]
fn a_commit_counts_once() {
    let (_, mut judge) = young();
    let commit = next(&mut judge, FOUNDER, "x");
    assert_eq!(judge.judge(&commit, &()).unwrap(), Verdict::Known);
}

#[test]
fn a_gap_is_parked_until_it_is_filled() {
    let (_, mut judge) = young();
    let mut writer = judge.clone();
    let next_number = judge.head(&key(FOUNDER).site_id()).unwrap().number + 1;
    let commits = [next(&mut writer, FOUNDER, "x"), next(&mut writer, FOUNDER, "y")];
    assert_eq!(parked(&judge, &commits[1]), Parked::Gap { next: next_number });
    count(&mut judge, &commits[0]);
    count(&mut judge, &commits[1]);
    assert_eq!(parked(&Judge::new(judge.federation()), &commits[1]), Parked::Gap { next: 1 });
}

#[test]
fn a_commit_that_names_another_predecessor_is_refused() {
    let (_, judge) = young();
    let fine = draft(&judge, FOUNDER, word("x"));
    let (head, named) = (fine.previous, CommitHash::from_bytes([9; 32]));
    assert_eq!(refused(&judge, Draft { previous: named, ..fine }, FOUNDER), Refusal::Chain { named, head });
}

#[test]
fn logseq_rises_within_a_domain() {
    let (_, mut judge) = young();
    let before = next(&mut judge, FOUNDER, "x").header().logseq;
    let fine = draft(&judge, FOUNDER, word("y"));
    for logseq in [before, LogSeq(before.0 - 1), LogSeq(1)] {
        assert_eq!(refused(&judge, Draft { logseq, ..fine.clone() }, FOUNDER), Refusal::LogSeq { logseq, before });
    }
    assert_eq!(
        judge.judge(&seal(Draft { logseq: before.next().unwrap(), ..fine }, FOUNDER), &()).unwrap(),
        Verdict::Counts
    );
}

// Admission.

#[test]
fn a_first_commit_lies_above_its_admission() {
    let (federation, judge) = young();
    let admission = federation.commits().last().unwrap();
    assert!(admission.is_membership());
    let before = admission.header().logseq;
    let fine = draft(&judge, NEWCOMER, word("x"));
    for logseq in [before, LogSeq(before.0 - 1)] {
        assert_eq!(refused(&judge, Draft { logseq, ..fine.clone() }, NEWCOMER), Refusal::LogSeq { logseq, before });
    }
    assert_eq!(
        judge.judge(&seal(Draft { logseq: before.next().unwrap(), ..fine }, NEWCOMER), &()).unwrap(),
        Verdict::Counts
    );
}

#[test]
fn of_several_admissions_the_earliest_is_enough() {
    let (federation, mut judge) = young();
    let first = federation.commits().last().unwrap().header().logseq;
    let site = key(NEWCOMER).site_id();
    let again = Admission { federation: federation.id(), site, name: "again".to_owned() };
    let commit = seal(draft(&judge, FOUNDER, vec![Record::admission(again)]), FOUNDER);
    count(&mut judge, &commit);
    let early = Draft { logseq: first.next().unwrap(), ..draft(&judge, NEWCOMER, word("x")) };
    assert!(early.logseq <= commit.header().logseq);
    assert_eq!(judge.judge(&seal(early, NEWCOMER), &()).unwrap(), Verdict::Counts);
}

#[test]
fn who_has_not_been_admitted_is_refused() {
    let (federation, judge) = young();
    assert_eq!(refused(&judge, draft(&judge, OUTSIDER, word("x")), OUTSIDER), Refusal::NotAMember);
    let genesis = &federation.commits()[0];
    let knows_little = Draft {
        learned: vec![genesis.hash()],
        federation: FederationState::of([&genesis.hash()]),
        ..draft(&judge, NEWCOMER, word("x"))
    };
    assert_eq!(
        refused(&judge, knows_little, NEWCOMER),
        Refusal::NotAMember,
        "a writer is judged by what it knew, not by what the judge has learned since"
    );
}

#[test]
fn a_writer_cannot_admit_itself() {
    let (federation, judge) = young();
    let admission =
        Admission { federation: federation.id(), site: key(OUTSIDER).site_id(), name: "outsider".to_owned() };
    let itself = draft(&judge, OUTSIDER, vec![Record::admission(admission)]);
    assert_eq!(refused(&judge, itself, OUTSIDER), Refusal::NotAMember);
}

#[test]
fn a_commit_waits_for_its_writers_admission() {
    let (federation, judge) = young();
    let (admission, before) = federation.commits().split_last().unwrap();
    let commit = seal(draft(&judge, NEWCOMER, word("x")), NEWCOMER);
    let mut other = Judge::new(federation.id());
    for earlier in before {
        assert!(matches!(parked(&other, &commit), Parked::Membership { .. }));
        count(&mut other, earlier);
    }
    assert_eq!(parked(&other, &commit), Parked::Membership { commit: admission.hash() });
    count(&mut other, admission);
    count(&mut other, &commit);
}

#[test]
fn a_commit_waits_for_nobody_elses_admission() {
    let (federation, judge) = young();
    let commit = seal(draft(&judge, 1, word("x")), 1);
    // Genesis, site 1's admission, and what site 1 wrote so far.
    let (here, missing) = federation.commits().split_at(3);
    assert!(missing.iter().all(|missing| commit.learned().contains(&missing.hash())));
    let mut other = Judge::new(federation.id());
    here.iter().for_each(|here| count(&mut other, here));
    count(&mut other, &commit);
}

#[test]
fn the_digest_belongs_to_the_membership_that_is_named() {
    let (_, mut judge) = young();
    let fine = draft(&judge, NEWCOMER, word("x"));
    let named = FederationState::from_bytes([9; 32]);
    assert_eq!(
        refused(&judge, Draft { federation: named, ..fine.clone() }, NEWCOMER),
        Refusal::FederationState { named }
    );
    let learned = fine.learned[1..].to_vec();
    let unnamed = Draft { learned, ..fine.clone() };
    assert_eq!(refused(&judge, unnamed, NEWCOMER), Refusal::FederationState { named: fine.federation });
    next(&mut judge, NEWCOMER, "x");
    let later = draft(&judge, NEWCOMER, word("y"));
    assert_eq!(
        (later.learned.len(), later.federation),
        (0, fine.federation),
        "what was named once is known from then on"
    );
    assert_eq!(judge.judge(&seal(later, NEWCOMER), &()).unwrap(), Verdict::Counts);
}

#[test]
fn an_ordinary_commit_admits_nobody() {
    let (_, mut judge) = young();
    let ordinary = next(&mut judge, FOUNDER, "x").hash();
    let only = |hash| Draft {
        learned: vec![hash],
        federation: FederationState::of([&hash]),
        ..draft(&judge, NEWCOMER, word("y"))
    };
    // It is not looked for among all commits: what admits nobody is as good as missing.
    assert_eq!(parked(&judge, &seal(only(ordinary), NEWCOMER)), Parked::Membership { commit: ordinary });
    let unknown = CommitHash::from_bytes([9; 32]);
    assert_eq!(parked(&judge, &seal(only(unknown), NEWCOMER)), Parked::Membership { commit: unknown });
}

#[test]
fn membership_records_belong_to_this_federation() {
    let (federation, judge) = young();
    let own = judge.genesis().unwrap().clone();
    let other = Genesis { nonce: [1; 16], ..own.clone() };
    let admission = |federation| Admission { federation, site: key(OUTSIDER).site_id(), name: "x".to_owned() };
    let foreign = [
        Record::genesis(other.clone()),
        Record::genesis(own.clone()),
        Record::admission(admission(other.federation_id())),
    ];
    for record in foreign {
        for site in [FOUNDER, NEWCOMER] {
            let wrong = draft(&judge, site, vec![record.clone()]);
            assert_eq!(refused(&judge, wrong, site), Refusal::ForeignMembership);
        }
    }
    let fine = draft(&judge, NEWCOMER, vec![Record::admission(admission(federation.id()))]);
    assert_eq!(judge.judge(&seal(fine, NEWCOMER), &()).unwrap(), Verdict::Counts);

    let nothing = Judge::new(federation.id());
    let founding = |records, site| draft(&nothing, site, records);
    assert_eq!(
        refused(&nothing, founding(vec![Record::genesis(other.clone())], FOUNDER), FOUNDER),
        Refusal::NotAMember
    );
    assert_eq!(refused(&nothing, founding(vec![Record::genesis(own.clone())], 1), 1), Refusal::NotAMember);
    let two = vec![Record::genesis(own), Record::genesis(other)];
    assert_eq!(refused(&nothing, founding(two, FOUNDER), FOUNDER), Refusal::ForeignMembership);
    assert_eq!(refused(&nothing, founding(word("x"), FOUNDER), FOUNDER), Refusal::NotAMember, "before any genesis");
}

/// "The order decides what is seen, never who may write."
#[test]
fn no_right_hangs_on_what_is_visible() {
    let (federation, mut judge) = young();
    let admission = federation.commits().last().unwrap();
    let id = admission.records()[0].id();
    let commit = seal(draft(&judge, FOUNDER, vec![Record::tombstone(id)]), FOUNDER);
    count(&mut judge, &commit);
    next(&mut judge, NEWCOMER, "still a member");
    assert!(judge.members().contains(&key(NEWCOMER).site_id()));
}

// The clock.

/// A policy of arrival: the verdict on the commit is another matter, and the same everywhere.
#[test]
fn a_jumping_clock_is_held_back_until_others_have_come_as_far_or_patience_has() {
    let (_, mut judge) = young();
    let (seen, jump_max) = (judge.logseq_max(), judge.genesis().unwrap().logseq_jump_max);
    let at =
        |judge: &Judge, site, logseq| seal(Draft { logseq: LogSeq(logseq), ..draft(judge, site, word("x")) }, site);
    let logseq = LogSeq(seen.0 + jump_max + 1);
    let jump = at(&judge, NEWCOMER, logseq.0);
    assert_eq!(judge.judge(&jump, &()).unwrap(), Verdict::Counts);
    assert_eq!(judge.hold_back(&jump, 1), Some(Parked::ClockJump { logseq, seen, jump_max }));
    assert_eq!(judge.hold_back(&jump, 2), None);
    let furthest = at(&judge, FOUNDER, seen.0 + jump_max);
    assert_eq!(judge.hold_back(&furthest, 0), None, "no patience is as good as the least");
    count(&mut judge, &furthest);
    assert_eq!(judge.hold_back(&jump, 1), None);
    count(&mut judge, &jump);
    assert_eq!(judge.logseq_max(), logseq);
    let end_of_time = at(&judge, NEWCOMER, u64::MAX);
    assert!(matches!(judge.hold_back(&end_of_time, 1 << 40), Some(Parked::ClockJump { .. })));
}

// Membership.

fn admission(federation: &Federation, site: &SiteKey) -> Record {
    Record::admission(Admission { federation: federation.id(), site: site.site_id(), name: "x".to_owned() })
}

fn stranger(number: u16) -> SiteKey {
    let mut seed = [0xee; 32];
    seed[..2].copy_from_slice(&number.to_le_bytes());
    SiteKey::from_seed(&seed)
}

#[test]
fn an_admission_that_changes_nothing_need_not_be_named() {
    let (federation, mut judge) = young();
    let before = judge.membership_for(&key(1).site_id(), usize::MAX).0;
    for name in ["again", "and again"] {
        let site = key(NEWCOMER).site_id();
        let again = Admission { federation: federation.id(), site, name: name.to_owned() };
        let commit = seal(draft(&judge, NEWCOMER - 1, vec![Record::admission(again)]), NEWCOMER - 1);
        count(&mut judge, &commit);
    }
    assert_eq!(judge.membership_for(&key(1).site_id(), usize::MAX).0, before);
    next(&mut judge, NEWCOMER - 1, "its writer goes on");
}

/// 4,097 membership commits silenced everyone who had to name them all at once.
#[test]
fn a_writer_names_as_many_as_fit_and_the_rest_later() {
    let (federation, mut judge) = young();
    for number in 0..9 {
        let commit = seal(draft(&judge, FOUNDER, vec![admission(&federation, &stranger(number))]), FOUNDER);
        count(&mut judge, &commit);
    }
    let site = key(1).site_id();
    let all = judge.membership_for(&site, usize::MAX).0;
    let mut named = Vec::new();
    for _ in 0..all.len().div_ceil(4) {
        let (learned, federation) = judge.membership_for(&site, 4);
        named.extend(learned.clone());
        let commit = seal(Draft { learned, federation, ..draft(&judge, 1, word(&named.len().to_string())) }, 1);
        count(&mut judge, &commit);
    }
    named.sort_unstable();
    assert_eq!(named, all);
}

#[test]
fn a_first_commit_names_its_own_admission_before_all_others() {
    let (federation, mut judge) = young();
    for number in 0..9 {
        let commit = seal(draft(&judge, FOUNDER, vec![admission(&federation, &stranger(number))]), FOUNDER);
        count(&mut judge, &commit);
    }
    for number in 0..9 {
        let (learned, _) = judge.membership_for(&stranger(number).site_id(), 1);
        assert_eq!(judge.memberships()[&learned[0]].members, [stranger(number).site_id()]);
    }
}

#[test]
fn one_member_admits_a_bounded_number_of_sites() {
    let (federation, mut judge) = young();
    let count_members = |judge: &Judge| judge.members().len();
    let before = count_members(&judge);
    let admissions = (0..).map(|number| admission(&federation, &stranger(number)));
    let flood: Vec<Record> = admissions.take(ADMISSIONS_MAX + 100).collect();
    let commit = seal(draft(&judge, NEWCOMER, flood), NEWCOMER);
    count(&mut judge, &commit);
    assert_eq!(count_members(&judge), before + ADMISSIONS_MAX);
    let more = seal(draft(&judge, NEWCOMER, vec![admission(&federation, &stranger(5000))]), NEWCOMER);
    count(&mut judge, &more);
    assert_eq!(count_members(&judge), before + ADMISSIONS_MAX, "its commits count, and admit nobody");
    let other = seal(draft(&judge, FOUNDER, vec![admission(&federation, &stranger(5000))]), FOUNDER);
    count(&mut judge, &other);
    assert_eq!(count_members(&judge), before + ADMISSIONS_MAX + 1, "what others may admit is theirs");
}

#[test]
fn a_writer_cannot_name_membership_commits_without_end() {
    let (_, mut judge) = young();
    let mut number = 0_u64;
    let refused = loop {
        let hash = |at: u64| CommitHash::from_bytes(*blake3::hash(&at.to_le_bytes()).as_bytes());
        let mut learned: Vec<CommitHash> = (number..number + 4000).map(hash).collect();
        learned.sort_unstable();
        number += 4000;
        let plain = draft(&judge, NEWCOMER, word(&number.to_string()));
        learned.extend(plain.learned);
        learned.sort_unstable();
        let knows: std::collections::BTreeSet<CommitHash> =
            judge.knows(&key(NEWCOMER).site_id()).chain(learned.iter().copied()).collect();
        let commit = seal(
            Draft { federation: FederationState::of(&knows), learned, ..draft(&judge, NEWCOMER, word("x")) },
            NEWCOMER,
        );
        match judge.judge(&commit, &()).unwrap() {
            Verdict::Counts => judge.admit(&commit),
            Verdict::Refused(refusal) => break refusal,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(refused, Refusal::Known { known } if known > KNOWN_MAX), "{refused:?}");
    next(&mut judge, NEWCOMER, "it may still write");
}

// Forks.

#[test]
fn two_commits_with_one_number_prove_a_fork() {
    let (_, mut judge) = young();
    let commit = next(&mut judge, 1, "one story");
    let later = next(&mut judge, 1, "and on");
    let other = twin(&commit, 1, "another story");
    let Verdict::Forks(found) = judge.judge(&other, &()).unwrap() else { panic!("no fork") };
    assert_eq!(*found, proof(&commit, &other));
    assert_eq!((found.domain(), found.number()), (key(1).site_id(), commit.header().number));
    let last = commit.header().previous;
    assert!(judge.freeze(*found.clone(), &()).unwrap(), "news");
    assert!(!judge.freeze(*found, &()).unwrap(), "no news");
    assert_eq!(judge.head(&key(1).site_id()).map(|head| head.hash), Some(last));
    let number = commit.header().number;
    assert_eq!(judge.judge(&later, &()).unwrap(), Verdict::Refused(Refusal::Frozen { number }));
}

#[test]
fn a_frozen_domain_counts_up_to_the_fork_and_no_further() {
    let (_, mut judge) = young();
    let mut writer = judge.clone();
    let commits = ["a", "b", "c", "d"].map(|text| next(&mut writer, 1, text));
    let number = commits[2].header().number;
    assert!(judge.freeze(proof(&commits[2], &twin(&commits[2], 1, "other")), &()).unwrap());
    count(&mut judge, &commits[0]);
    count(&mut judge, &commits[1]);
    let frozen = Verdict::Refused(Refusal::Frozen { number });
    assert_eq!(judge.judge(&commits[2], &()).unwrap(), frozen);
    assert_eq!(judge.judge(&twin(&commits[2], 1, "other"), &()).unwrap(), frozen);
    assert_eq!(judge.judge(&commits[3], &()).unwrap(), frozen);
    assert_eq!(
        judge.judge(&seal(draft(&judge, 2, word("x")), 2), &()).unwrap(),
        Verdict::Counts,
        "everyone else goes on"
    );
}

#[test]
fn of_several_proofs_the_lowest_decides() {
    let (_, mut judge) = young();
    let mut writer = judge.clone();
    let commits = ["a", "b", "c"].map(|text| next(&mut writer, 1, text));
    let [low, middle, high] = [0, 1, 2].map(|at: usize| proof(&commits[at], &twin(&commits[at], 1, "other")));
    assert!(judge.freeze(middle.clone(), &()).unwrap());
    assert!(!judge.freeze(high, &()).unwrap());
    assert_eq!(judge.forks().get(&key(1).site_id()), Some(&middle));
    assert!(judge.freeze(low.clone(), &()).unwrap());
    assert!(!judge.freeze(middle, &()).unwrap());
    assert_eq!(judge.forks().get(&key(1).site_id()), Some(&low));
}

// Stores and forks.

fn store(federation: &Federation) -> Store {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    Store::create(&disk, federation.id()).unwrap();
    Store::open(disk, Mode::Write).unwrap()
}

/// What two stores that know the same must agree on.
fn summary(store: &Store) -> impl PartialEq + std::fmt::Debug + use<> {
    let view = store.view();
    let forks: Vec<_> = view.forks().iter().map(|(domain, proof)| (*domain, proof.number())).collect();
    let replayed = store.replay(view.head()).unwrap();
    assert_eq!(replayed.root, view.state().root());
    (view.head().clone(), replayed.root, forks, view.members().clone(), view.genesis().cloned())
}

fn reopened(store: Store) -> Store {
    let disk = store.disk().clone();
    drop(store);
    Store::open(disk, Mode::Write).unwrap()
}

/// A federation whose site 1 has written four commits, of which the third is to be forked.
fn forked() -> (Federation, Vec<Commit>, ForkProof) {
    let (federation, mut judge) = young();
    let commits: Vec<Commit> = ["a", "b", "c", "d"].map(|text| next(&mut judge, 1, text)).to_vec();
    let proof = proof(&commits[2], &twin(&commits[2], 1, "other"));
    (federation, commits, proof)
}

#[test]
fn a_store_that_learns_of_a_fork_equals_one_that_never_saw_what_it_took_back() {
    let (federation, commits, proof) = forked();
    let innocent = store(&federation);
    innocent.merge(federation.commits().to_vec()).unwrap();
    innocent.merge(commits[..2].to_vec()).unwrap();
    assert!(innocent.freeze(proof.clone()).unwrap());
    for twin_first in [false, true] {
        let late = store(&federation);
        late.merge(federation.commits().to_vec()).unwrap();
        late.merge(commits.clone()).unwrap();
        assert_ne!(summary(&late), summary(&innocent));
        if twin_first {
            let verdicts = late.merge(vec![twin(&commits[2], 1, "other")]).unwrap();
            assert_eq!(verdicts, [Verdict::Forks(Box::new(proof.clone()))]);
        } else {
            assert!(late.freeze(proof.clone()).unwrap());
        }
        assert!(!late.freeze(proof.clone()).unwrap());
        assert_eq!((late.view().uncounted(), late.view().commits_len()), (2, innocent.view().commits_len()));
        assert_eq!(summary(&late), summary(&innocent));
        assert!(late.commit_bytes(&key(1).site_id(), commits[2].header().number).unwrap().is_none());
        let late = reopened(late);
        assert_eq!(summary(&late), summary(&innocent));
        let verdicts = late.merge(commits[2..].to_vec()).unwrap();
        assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Refused(Refusal::Frozen { .. }))));
        assert_eq!(late.verify(&mut |_| {}).unwrap().findings, []);
    }
}

#[test]
fn a_proof_that_came_first_holds_after_reopening() {
    let (federation, commits, proof) = forked();
    let early = store(&federation);
    assert!(early.freeze(proof.clone()).unwrap());
    let early = reopened(early);
    assert_eq!(early.view().forks().get(&key(1).site_id()), Some(&proof));
    early.merge(federation.commits().to_vec()).unwrap();
    let verdicts = early.merge(commits).unwrap();
    assert!(matches!(
        verdicts[..],
        [Verdict::Counts, Verdict::Counts, Verdict::Refused(Refusal::Frozen { .. }), Verdict::Refused(_)]
    ));
}

#[test]
fn a_lower_proof_takes_back_more() {
    let (federation, commits, middle) = forked();
    let low = proof(&commits[0], &twin(&commits[0], 1, "other"));
    let low_only = store(&federation);
    low_only.merge(federation.commits().to_vec()).unwrap();
    low_only.freeze(low.clone()).unwrap();
    let both = store(&federation);
    both.merge(federation.commits().iter().chain(&commits).cloned().collect()).unwrap();
    assert!(both.freeze(middle.clone()).unwrap());
    assert!(both.freeze(low).unwrap());
    assert!(!both.freeze(middle).unwrap());
    assert_eq!(summary(&both), summary(&low_only));
    assert_eq!(summary(&reopened(both)), summary(&low_only));
}

/// A member jumps the clock, others follow, and it proves its own fork: what they wrote counts, here and after a restart, and
/// at a site that hears of it all only then.
#[test]
fn commits_that_a_fork_left_ahead_of_the_clock_still_count() {
    let (federation, mut judge) = young();
    let (seen, jump_max) = (judge.logseq_max().0, judge.genesis().unwrap().logseq_jump_max);
    let jumps = [(1, 1), (1, 2), (2, 3), (3, 2), (4, 1)];
    let commits = jumps.map(|(site, jumps)| {
        let commit = seal(Draft { logseq: LogSeq(seen + jumps * jump_max), ..draft(&judge, site, word("x")) }, site);
        count(&mut judge, &commit);
        commit
    });
    let proof = proof(&commits[0], &twin(&commits[0], 1, "other"));
    let store = store(&federation);
    store.merge(federation.commits().to_vec()).unwrap();
    store.merge(commits.to_vec()).unwrap();
    store.freeze(proof.clone()).unwrap();
    assert_eq!(store.view().uncounted(), 2, "those of the forked log");
    assert_eq!(store.view().state().logseq_max(), commits[2].header().logseq);
    let newcomer = self::store(&federation);
    newcomer.merge(federation.commits().to_vec()).unwrap();
    newcomer.freeze(proof).unwrap();
    for patience in 1..=3 {
        newcomer.merge_patiently(commits.to_vec(), patience).unwrap();
    }
    assert_eq!(summary(&newcomer), summary(&store));
    assert_eq!(summary(&reopened(store)), summary(&newcomer));
}

#[test]
fn whoever_forked_its_log_writes_no_more() {
    let (federation, commits, proof) = forked();
    let store = store(&federation);
    store.merge(federation.commits().iter().chain(&commits).cloned().collect()).unwrap();
    store.commit(&key(1), word("before"), 0).unwrap();
    store.freeze(proof).unwrap();
    let error = store.commit(&key(1), word("after"), 0).unwrap_err();
    assert!(matches!(error, CommitError::Refused(Refusal::Frozen { .. })), "{error:?}");
    store.commit(&key(2), word("after"), 0).unwrap();
}

#[test]
fn an_outsider_writes_nothing() {
    let (federation, _) = young();
    let store = store(&federation);
    let error = store.commit(&key(FOUNDER), word("before the genesis"), 0).unwrap_err();
    assert!(matches!(error, CommitError::Refused(Refusal::NotAMember)));
    store.merge(federation.commits().to_vec()).unwrap();
    let before = summary(&store);
    let error = store.commit(&key(OUTSIDER), word("x"), 0).unwrap_err();
    assert!(matches!(error, CommitError::Refused(Refusal::NotAMember)));
    assert_eq!(summary(&store), before);
}

/// Site 1 admits an outsider, who writes; everyone hears of it and a newcomer writes too. Then site 1 turns out to have
/// forked that very admission.
struct ForkedAdmission {
    federation: Federation,
    admits: Commit,
    of_outsider: Commit,
    of_newcomer: Commit,
    proof: ForkProof,
}

fn forked_admission() -> ForkedAdmission {
    let (federation, mut judge) = young();
    let admission =
        Admission { federation: federation.id(), site: key(OUTSIDER).site_id(), name: "outsider".to_owned() };
    let admits = seal(draft(&judge, 1, vec![Record::admission(admission)]), 1);
    count(&mut judge, &admits);
    let of_outsider = next(&mut judge, OUTSIDER, "x");
    let of_newcomer = next(&mut judge, NEWCOMER, "y");
    assert!(of_newcomer.learned().contains(&admits.hash()));
    let proof = proof(&admits, &twin(&admits, 1, "other"));
    ForkedAdmission { federation, admits, of_outsider, of_newcomer, proof }
}

/// Design §9: "the domain is frozen at the last common commit, everyone else goes on". Whom it admitted is everyone else.
#[test]
fn a_fork_takes_back_its_writers_commits_and_no_others() {
    let forked = forked_admission();
    let proof_first = store(&forked.federation);
    proof_first.freeze(forked.proof.clone()).unwrap();
    proof_first.merge(forked.federation.commits().to_vec()).unwrap();
    let missing = Verdict::Parked(Parked::Membership { commit: forked.admits.hash() });
    let verdicts = proof_first.merge(vec![forked.of_outsider.clone(), forked.of_newcomer.clone()]).unwrap();
    assert_eq!(verdicts, [missing, Verdict::Counts], "what admits it is still to be asked for");

    let proof_last = store(&forked.federation);
    proof_last.merge(forked.federation.commits().to_vec()).unwrap();
    let all = vec![forked.admits.clone(), forked.of_outsider.clone(), forked.of_newcomer];
    assert!(proof_last.merge(all).unwrap().iter().all(|verdict| *verdict == Verdict::Counts));
    proof_last.freeze(forked.proof).unwrap();
    assert_eq!(proof_last.view().uncounted(), 1, "the admission");
    assert!(proof_last.view().members().contains(&key(OUTSIDER).site_id()));

    let testimony = proof_last.testimony_for(&[key(OUTSIDER).site_id()], u64::MAX).unwrap();
    let testimony: Vec<Commit> = testimony.iter().map(|bytes| Commit::decode(bytes).unwrap()).collect();
    assert_eq!(testimony, [forked.admits]);
    assert_eq!(proof_first.merge(testimony.clone()).unwrap(), [Verdict::Testifies]);
    assert_eq!(proof_first.merge(testimony).unwrap(), [Verdict::Known]);
    assert_eq!(proof_first.merge(vec![forked.of_outsider]).unwrap(), [Verdict::Counts]);
    assert_eq!(summary(&proof_last), summary(&proof_first));

    let committed = proof_last.commit(&key(OUTSIDER), word("goes on"), 0).unwrap();
    let commit = proof_last.read_commit(&committed.domain, committed.number).unwrap().unwrap();
    assert_eq!(proof_first.merge(vec![commit]).unwrap(), [Verdict::Counts]);
    let proof_first = reopened(proof_first);
    assert_eq!(summary(&reopened(proof_last)), summary(&proof_first));
    assert_eq!(proof_first.testimony_for(&[key(OUTSIDER).site_id()], u64::MAX).unwrap().len(), 1);
    assert_eq!(proof_first.verify(&mut |_| {}).unwrap().findings, []);
}

/// Its founder signs its first commit again: the federation had eight commits, and none afterwards.
#[test]
fn a_founder_who_forks_its_first_commit_empties_nothing_but_its_own_log() {
    let (federation, mut judge) = young();
    let commits: Vec<Commit> = (1..SITES).map(|site| next(&mut judge, site, "x")).collect();
    let founding = &federation.commits()[0];
    let genesis = judge.genesis().unwrap().clone();
    let again = vec![Record::genesis(genesis), word("again").remove(0)];
    let again = seal(draft(&Judge::new(federation.id()), FOUNDER, again), FOUNDER);
    let old = store(&federation);
    old.merge(federation.commits().iter().chain(&commits).cloned().collect()).unwrap();
    let others: Vec<Committed> =
        counted(&old).into_iter().filter(|commit| commit.domain != key(FOUNDER).site_id()).collect();
    assert!(matches!(old.merge(vec![again.clone()]).unwrap()[..], [Verdict::Forks(_)]));
    assert_eq!(counted(&old), others);

    let young = store(&federation);
    young.freeze(proof(founding, &again)).unwrap();
    let sites: Vec<SiteId> = (0..SITES).map(|site| key(site).site_id()).collect();
    for bytes in old.testimony_for(&sites, u64::MAX).unwrap() {
        let verdict = young.merge(vec![Commit::decode(&bytes).unwrap()]).unwrap();
        assert!(matches!(verdict[..], [Verdict::Testifies]), "{verdict:?}");
    }
    for commit in federation.commits().iter().chain(&commits) {
        young.merge(vec![commit.clone()]).unwrap();
    }
    assert_eq!(summary(&young), summary(&old));
    assert_eq!(summary(&reopened(old)), summary(&young));
    let reopened = reopened(young);
    reopened.commit(&key(1), word("they go on"), 0).unwrap();
}

/// What counts, ascending by domain and number.
fn counted(store: &Store) -> Vec<Committed> {
    store.view().commits().map(Result::unwrap).collect()
}

#[test]
fn of_one_who_forked_only_so_much_testimony_is_taken() {
    let ForkedAdmission { federation, admits, proof, .. } = forked_admission();
    let store = store(&federation);
    store.merge(federation.commits().to_vec()).unwrap();
    store.merge(vec![admits.clone()]).unwrap();
    store.freeze(proof).unwrap();
    let before = store.view().members().len();
    for number in 0..u16::try_from(TESTIMONY_MAX).unwrap() + 9 {
        let header = admits.header();
        let draft = Draft {
            number: header.number + u64::from(number),
            previous: header.previous,
            logseq: header.logseq,
            federation: header.federation,
            wall_ms: 0,
            learned: vec![],
            records: vec![admission(&federation, &stranger(number))],
        };
        store.merge(vec![seal(draft, 1)]).unwrap();
    }
    assert_eq!(store.view().members().len(), before + TESTIMONY_MAX);
    let before = summary(&store);
    assert_eq!(summary(&reopened(store)), before);
}

/// Within one merge too, what follows a proof is judged in its light.
#[test]
fn verdicts_after_a_fork_know_of_it() {
    let ForkedAdmission { federation, admits, of_outsider, .. } = forked_admission();
    let store = store(&federation);
    store.merge(federation.commits().to_vec()).unwrap();
    let verdicts = store.merge(vec![admits.clone(), twin(&admits, 1, "other"), of_outsider, admits]).unwrap();
    assert!(
        matches!(verdicts[..], [Verdict::Counts, Verdict::Forks(_), Verdict::Counts, Verdict::Known]),
        "{verdicts:?}"
    );
    assert_eq!(store.view().uncounted(), 1);
}

/// What stands of an id with many versions is kept in memory: it is not to outlive the versions that a fork takes back.
#[test]
fn what_stands_of_an_id_with_many_versions_goes_back_with_them() {
    let (federation, mut judge) = young();
    let name = |byte: u8| {
        let target = ArtifactKey::from_bytes([byte; 32]);
        Record::reference(RefAssignment { namespace: "user".to_owned(), name: "name".to_owned(), target })
    };
    let commits: Vec<Commit> = (0..60)
        .map(|byte| {
            let commit = seal(draft(&judge, 1, vec![name(byte)]), 1);
            count(&mut judge, &commit);
            commit
        })
        .collect();
    let store = store(&federation);
    store.merge(federation.commits().iter().chain(&commits).cloned().collect()).unwrap();
    let shown = |store: &Store| {
        let view = store.view();
        view.state().entry(&name(0).id(), view.head()).unwrap().unwrap().checksum.unwrap()
    };
    let checksum = |byte| name(byte).payload().checksum;
    assert_eq!(shown(&store), checksum(59));
    for last in [40, 20, 2_u8] {
        let forked = &commits[usize::from(last) + 1];
        assert!(store.freeze(proof(forked, &twin(forked, 1, "other"))).unwrap());
        assert_eq!(shown(&store), checksum(last));
        summary(&store);
    }
    store.commit(&key(2), vec![name(99)], 0).unwrap();
    assert_eq!(shown(&store), checksum(99));
    let before = summary(&store);
    assert_eq!(summary(&reopened(store)), before);
}

/// Something a store can be told.
#[derive(Debug, Clone)]
enum News {
    Commit(Box<Commit>),
    Proof(Box<ForkProof>),
}

/// Tells a store everything in this order, again and again until nothing is news.
fn tell(store: &Store, news: &[News]) {
    loop {
        let known = || (store.view().head().clone(), store.view().forks().clone(), store.view().uncounted());
        let before = known();
        for news in news {
            match news.clone() {
                News::Commit(commit) => drop(store.merge(vec![*commit]).unwrap()),
                News::Proof(proof) => drop(store.freeze(*proof).unwrap()),
            }
        }
        if known() == before {
            break;
        }
    }
}

fn shuffled(news: &[News], seed: u64) -> Vec<News> {
    let mut order: Vec<(u64, &News)> =
        news.iter().enumerate().map(|(index, news)| (mix(seed ^ index as u64), news)).collect();
    order.sort_by_key(|(key, _)| *key);
    order.into_iter().map(|(_, news)| news.clone()).collect()
}

/// The commits of a federation, and forks of some of them: as twins, as proofs, or as both.
fn news_with_forks(federation: &Federation, forks: &[u64]) -> Vec<News> {
    let commits = federation.commits();
    let mut news: Vec<News> = commits.iter().map(|commit| News::Commit(Box::new(commit.clone()))).collect();
    for seed in forks {
        let at = usize::try_from(mix(*seed) % commits.len() as u64).unwrap();
        let site = (0..SITES).find(|site| key(*site).site_id() == commits[at].header().domain).unwrap();
        let twin = match seed % 5 {
            // Another story about who belongs to the federation.
            0 => {
                twin_with(&commits[at], site, vec![admission(federation, &stranger(u16::try_from(seed % 3).unwrap()))])
            }
            1 => twin_with(&commits[at], site, commits[at].records().iter().cloned().chain(word("more")).collect()),
            _ => twin(&commits[at], site, &format!("fork {seed}")),
        };
        if !seed.is_multiple_of(3) {
            news.push(News::Commit(Box::new(twin.clone())));
        }
        if seed % 3 != 1 {
            news.push(News::Proof(Box::new(proof(&commits[at], &twin))));
        }
    }
    news
}

proptest! {
    #![proptest_config(ProptestConfig { cases: soak::cases(128), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn forks_told_in_any_order_leave_equal_stores(
        steps in steps(30), forks in prop::collection::vec(any::<u64>(), 1..4), seeds in any::<[u64; 2]>(),
    ) {
        let federation = Federation::build(ConflictRule::First, &steps);
        let news = news_with_forks(&federation, &forks);
        let stores = seeds.map(|seed| {
            let store = store(&federation);
            tell(&store, &shuffled(&news, seed));
            store
        });
        // As nodes do: whoever has a proof passes it on.
        let known = stores.each_ref().map(|store| store.view().forks().clone());
        for (store, seed) in stores.iter().zip(seeds) {
            let proofs = known.iter().flat_map(|forks| forks.values()).map(|proof| News::Proof(Box::new(proof.clone())));
            let all: Vec<News> = news.iter().cloned().chain(proofs).collect();
            tell(store, &shuffled(&all, seed));
        }
        let [one, two] = stores;
        prop_assert_eq!(summary(&one), summary(&two));
        prop_assert_eq!(one.verify(&mut |_| {}).unwrap().findings, vec![]);
        let before = summary(&one);
        prop_assert_eq!(summary(&reopened(one)), before);
    }
}

/// The property above says something only if forks take back commits, and take down others with them.
#[test]
fn the_generator_reaches_forks_that_matter() {
    let (mut uncounted, mut all) = (0, 0);
    for seed in 0..30_u64 {
        let steps: Vec<Step> = (0..30).map(|index| Step::from_seed(mix(seed << 8 | index))).collect();
        let federation = Federation::build(ConflictRule::First, &steps);
        let store = store(&federation);
        tell(&store, &news_with_forks(&federation, &[mix(seed)]));
        let view = store.view();
        uncounted += u32::from(view.uncounted() > 1);
        all += u32::from(view.commits().count() > 5 && !view.forks().is_empty());
    }
    assert!(uncounted > 5 && all > 5, "{uncounted} took back several, {all} left several");
}
