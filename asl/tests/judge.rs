//! The rules of design §4 for what counts: each verdict reached by the smallest case that deserves
//! it, and what becomes of a store whose writers fork their logs. Cases of all kinds, in any order,
//! are in `order.rs`.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

mod federation;
#[path = "judge/stores.rs"]
mod stores;

use std::collections::BTreeSet;

use uor_asl::judge::{ADMISSIONS_MAX, Judge, KNOWN_MAX, Parked, Refusal, Verdict};
use uor_index_format::chain::History;
use uor_index_format::commit::{Commit, Draft, ForkProof};
use uor_index_format::id::{CommitHash, FederationState, HistoryRoot, LogSeq};
use uor_index_format::key::SiteKey;
use uor_index_format::membership::{Admission, ConflictRule, Genesis};
use uor_index_format::record::{Payload, Record};
use uor_index_format::snapshot::DOMAINS_MAX;

use federation::{Federation, SITES, key, stranger};

/// The founder and admitter of the first other site, and the one admitted last, who has not written
/// yet.
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
    federation::draft(judge, &key(site).site_id(), records)
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
    federation::twin(commit, &key(site), records)
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
    let commits = [
        next(&mut writer, FOUNDER, "x"),
        next(&mut writer, FOUNDER, "y"),
    ];
    assert_eq!(
        parked(&judge, &commits[1]),
        Parked::Gap { next: next_number }
    );
    count(&mut judge, &commits[0]);
    count(&mut judge, &commits[1]);
    assert_eq!(
        parked(&Judge::new(judge.federation()), &commits[1]),
        Parked::Gap { next: 1 }
    );
}

#[test]
fn a_commit_that_names_another_predecessor_is_refused() {
    let (_, judge) = young();
    let fine = draft(&judge, FOUNDER, word("x"));
    let head = judge.head(&key(FOUNDER).site_id()).unwrap();
    for (expected, named) in [
        (
            History::Previous(head.hash),
            History::Previous(CommitHash::from_bytes([9; 32])),
        ),
        (
            judge.history(&key(FOUNDER).site_id()).unwrap(),
            History::Root(HistoryRoot::from_bytes([9; 32])),
        ),
    ] {
        let fine = Draft {
            history: expected,
            ..fine.clone()
        };
        let other = Draft {
            history: named,
            ..fine.clone()
        };
        assert_eq!(
            judge.judge(&seal(fine, FOUNDER), &()).unwrap(),
            Verdict::Counts
        );
        assert_eq!(
            refused(&judge, other, FOUNDER),
            Refusal::Chain { named, expected }
        );
    }
}

#[test]
fn logseq_rises_within_a_domain() {
    let (_, mut judge) = young();
    let before = next(&mut judge, FOUNDER, "x").header().logseq;
    let fine = draft(&judge, FOUNDER, word("y"));
    for logseq in [before, LogSeq(before.0 - 1), LogSeq(1)] {
        assert_eq!(
            refused(
                &judge,
                Draft {
                    logseq,
                    ..fine.clone()
                },
                FOUNDER
            ),
            Refusal::LogSeq { logseq, before }
        );
    }
    assert_eq!(
        judge
            .judge(
                &seal(
                    Draft {
                        logseq: before.next().unwrap(),
                        ..fine
                    },
                    FOUNDER
                ),
                &()
            )
            .unwrap(),
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
        assert_eq!(
            refused(
                &judge,
                Draft {
                    logseq,
                    ..fine.clone()
                },
                NEWCOMER
            ),
            Refusal::LogSeq { logseq, before }
        );
    }
    assert_eq!(
        judge
            .judge(
                &seal(
                    Draft {
                        logseq: before.next().unwrap(),
                        ..fine
                    },
                    NEWCOMER
                ),
                &()
            )
            .unwrap(),
        Verdict::Counts
    );
}

#[test]
fn of_several_admissions_the_earliest_is_enough() {
    let (federation, mut judge) = young();
    let first = federation.commits().last().unwrap().header().logseq;
    let site = key(NEWCOMER).site_id();
    let again = Admission {
        federation: federation.id(),
        site,
        name: "again".to_owned(),
    };
    let commit = seal(
        draft(&judge, FOUNDER, vec![Record::admission(again)]),
        FOUNDER,
    );
    count(&mut judge, &commit);
    let early = Draft {
        logseq: first.next().unwrap(),
        ..draft(&judge, NEWCOMER, word("x"))
    };
    assert!(early.logseq <= commit.header().logseq);
    assert_eq!(
        judge.judge(&seal(early, NEWCOMER), &()).unwrap(),
        Verdict::Counts
    );
}

#[test]
fn who_has_not_been_admitted_is_refused() {
    let (federation, judge) = young();
    assert_eq!(
        refused(&judge, draft(&judge, OUTSIDER, word("x")), OUTSIDER),
        Refusal::NotAMember
    );
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
    let admission = Admission {
        federation: federation.id(),
        site: key(OUTSIDER).site_id(),
        name: "outsider".to_owned(),
    };
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
    assert_eq!(
        parked(&other, &commit),
        Parked::Membership {
            commit: admission.hash()
        }
    );
    count(&mut other, admission);
    count(&mut other, &commit);
}

#[test]
fn a_commit_waits_for_nobody_elses_admission() {
    let (federation, judge) = young();
    let commit = seal(draft(&judge, 1, word("x")), 1);
    // Genesis, site 1's admission, and what site 1 wrote so far.
    let (here, missing) = federation.commits().split_at(3);
    assert!(
        missing
            .iter()
            .all(|missing| commit.learned().contains(&missing.hash()))
    );
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
        refused(
            &judge,
            Draft {
                federation: named,
                ..fine.clone()
            },
            NEWCOMER
        ),
        Refusal::FederationState { named }
    );
    let learned = fine.learned[1..].to_vec();
    let unnamed = Draft {
        learned,
        ..fine.clone()
    };
    assert_eq!(
        refused(&judge, unnamed, NEWCOMER),
        Refusal::FederationState {
            named: fine.federation
        }
    );
    next(&mut judge, NEWCOMER, "x");
    let later = draft(&judge, NEWCOMER, word("y"));
    assert_eq!(
        (later.learned.len(), later.federation),
        (0, fine.federation),
        "what was named once is known from then on"
    );
    assert_eq!(
        judge.judge(&seal(later, NEWCOMER), &()).unwrap(),
        Verdict::Counts
    );
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
    assert_eq!(
        parked(&judge, &seal(only(ordinary), NEWCOMER)),
        Parked::Membership { commit: ordinary }
    );
    let unknown = CommitHash::from_bytes([9; 32]);
    assert_eq!(
        parked(&judge, &seal(only(unknown), NEWCOMER)),
        Parked::Membership { commit: unknown }
    );
}

#[test]
fn membership_records_belong_to_this_federation() {
    let (federation, judge) = young();
    let own = judge.genesis().unwrap().clone();
    let other = Genesis {
        nonce: [1; 16],
        ..own.clone()
    };
    let admission = |federation| Admission {
        federation,
        site: key(OUTSIDER).site_id(),
        name: "x".to_owned(),
    };
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
    let fine = draft(
        &judge,
        NEWCOMER,
        vec![Record::admission(admission(federation.id()))],
    );
    assert_eq!(
        judge.judge(&seal(fine, NEWCOMER), &()).unwrap(),
        Verdict::Counts
    );

    let nothing = Judge::new(federation.id());
    let founding = |records, site| draft(&nothing, site, records);
    assert_eq!(
        refused(
            &nothing,
            founding(vec![Record::genesis(other.clone())], FOUNDER),
            FOUNDER
        ),
        Refusal::NotAMember
    );
    assert_eq!(
        refused(&nothing, founding(vec![Record::genesis(own.clone())], 1), 1),
        Refusal::NotAMember
    );
    let two = vec![Record::genesis(own), Record::genesis(other)];
    assert_eq!(
        refused(&nothing, founding(two, FOUNDER), FOUNDER),
        Refusal::ForeignMembership
    );
    assert_eq!(
        refused(&nothing, founding(word("x"), FOUNDER), FOUNDER),
        Refusal::NotAMember,
        "before any genesis"
    );
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
    let at = |judge: &Judge, site, logseq| {
        seal(
            Draft {
                logseq: LogSeq(logseq),
                ..draft(judge, site, word("x"))
            },
            site,
        )
    };
    let logseq = LogSeq(seen.0 + jump_max + 1);
    let jump = at(&judge, NEWCOMER, logseq.0);
    assert_eq!(judge.judge(&jump, &()).unwrap(), Verdict::Counts);
    assert_eq!(
        judge.hold_back(&jump, 1),
        Some(Parked::ClockJump {
            logseq,
            seen,
            jump_max
        })
    );
    assert_eq!(judge.hold_back(&jump, 2), None);
    let furthest = at(&judge, FOUNDER, seen.0 + jump_max);
    assert_eq!(
        judge.hold_back(&furthest, 0),
        None,
        "no patience is as good as the least"
    );
    count(&mut judge, &furthest);
    assert_eq!(judge.hold_back(&jump, 1), None);
    count(&mut judge, &jump);
    assert_eq!(judge.logseq_max(), logseq);
    let end_of_time = at(&judge, NEWCOMER, u64::MAX);
    assert!(matches!(
        judge.hold_back(&end_of_time, 1 << 40),
        Some(Parked::ClockJump { .. })
    ));
}

// Membership.

fn admission(federation: &Federation, site: &SiteKey) -> Record {
    federation::admission(federation.id(), &site.site_id(), "x")
}

#[test]
fn an_admission_that_changes_nothing_need_not_be_named() {
    let (federation, mut judge) = young();
    let before = judge.membership_for(&key(1).site_id(), usize::MAX).0;
    for name in ["again", "and again"] {
        let site = key(NEWCOMER).site_id();
        let again = Admission {
            federation: federation.id(),
            site,
            name: name.to_owned(),
        };
        let commit = seal(
            draft(&judge, NEWCOMER - 1, vec![Record::admission(again)]),
            NEWCOMER - 1,
        );
        count(&mut judge, &commit);
    }
    assert_eq!(
        judge.membership_for(&key(1).site_id(), usize::MAX).0,
        before
    );
    next(&mut judge, NEWCOMER - 1, "its writer goes on");
}

/// 4,097 membership commits silenced everyone who had to name them all at once.
#[test]
fn a_writer_names_as_many_as_fit_and_the_rest_later() {
    let (federation, mut judge) = young();
    for number in 0..9 {
        let commit = seal(
            draft(
                &judge,
                FOUNDER,
                vec![admission(&federation, &stranger(number))],
            ),
            FOUNDER,
        );
        count(&mut judge, &commit);
    }
    let site = key(1).site_id();
    let all = judge.membership_for(&site, usize::MAX).0;
    let mut named = Vec::new();
    for _ in 0..all.len().div_ceil(4) {
        let (learned, federation) = judge.membership_for(&site, 4);
        named.extend(learned.clone());
        let commit = seal(
            Draft {
                learned,
                federation,
                ..draft(&judge, 1, word(&named.len().to_string()))
            },
            1,
        );
        count(&mut judge, &commit);
    }
    named.sort_unstable();
    assert_eq!(named, all);
}

#[test]
fn a_first_commit_names_its_own_admission_before_all_others() {
    let (federation, mut judge) = young();
    for number in 0..9 {
        let commit = seal(
            draft(
                &judge,
                FOUNDER,
                vec![admission(&federation, &stranger(number))],
            ),
            FOUNDER,
        );
        count(&mut judge, &commit);
    }
    for number in 0..9 {
        let (learned, _) = judge.membership_for(&stranger(number).site_id(), 1);
        assert_eq!(
            judge.memberships()[&learned[0]].members,
            [stranger(number).site_id()]
        );
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
    let more = seal(
        draft(
            &judge,
            NEWCOMER,
            vec![admission(&federation, &stranger(5000))],
        ),
        NEWCOMER,
    );
    count(&mut judge, &more);
    assert_eq!(
        count_members(&judge),
        before + ADMISSIONS_MAX,
        "its commits count, and admit nobody"
    );
    let other = seal(
        draft(
            &judge,
            FOUNDER,
            vec![admission(&federation, &stranger(5000))],
        ),
        FOUNDER,
    );
    count(&mut judge, &other);
    assert_eq!(
        count_members(&judge),
        before + ADMISSIONS_MAX + 1,
        "what others may admit is theirs"
    );
}

/// A commit of the newcomer that names so many membership commits, which nobody has, beside what it
/// has learned.
fn naming(judge: &Judge, from: usize, len: usize, records: Vec<Record>) -> Commit {
    let plain = draft(judge, NEWCOMER, records);
    let nobodys = (from..from + len)
        .map(|at| CommitHash::from_bytes(*blake3::hash(&at.to_le_bytes()).as_bytes()));
    let learned: Vec<CommitHash> = plain.learned.iter().copied().chain(nobodys).collect();
    let knows: BTreeSet<CommitHash> = judge
        .knows(&key(NEWCOMER).site_id())
        .chain(learned.iter().copied())
        .collect();
    seal(
        Draft {
            federation: FederationState::of(&knows),
            learned,
            ..plain
        },
        NEWCOMER,
    )
}

#[test]
fn a_writer_cannot_name_membership_commits_without_end() {
    let (federation, mut judge) = young();
    let mut number = 0;
    let refused = loop {
        let commit = naming(&judge, number, 4000, word(&number.to_string()));
        number += 4000;
        match judge.judge(&commit, &()).unwrap() {
            Verdict::Counts => judge.admit(&commit),
            Verdict::Refused(refusal) => break refusal,
            other => panic!("{other:?}"),
        }
    };
    assert!(
        matches!(refused, Refusal::Known { known } if known > KNOWN_MAX),
        "{refused:?}"
    );
    let left = KNOWN_MAX - judge.knows(&key(NEWCOMER).site_id()).count();
    let admits = naming(
        &judge,
        number,
        left,
        vec![admission(&federation, &stranger(0))],
    );
    let verdict = judge.judge(&admits, &()).unwrap();
    assert!(
        matches!(verdict, Verdict::Refused(Refusal::Known { .. })),
        "it would know itself too: {verdict:?}"
    );
    let full = naming(&judge, number, left, word("as many as can be"));
    count(&mut judge, &full);
    next(&mut judge, NEWCOMER, "it may still write");
}

/// A frontier carries so many domains: those that have written go on, and no others begin.
#[test]
fn a_full_federation_holds_back_whoever_has_not_written() {
    let (_, mut judge) = young();
    let [newcomer, founder] =
        [NEWCOMER, FOUNDER].map(|site| seal(draft(&judge, site, word("x")), site));
    let first = Draft {
        number: 1,
        history: History::Previous(CommitHash::NONE),
        learned: vec![],
        ..draft(&judge, FOUNDER, word("x"))
    };
    let room = DOMAINS_MAX as usize - judge.frontier().len();
    for number in 0..room {
        assert_eq!(judge.hold_back(&newcomer, 1), None);
        let mut seed = [0xdd; 32];
        seed[..8].copy_from_slice(&(number as u64).to_le_bytes());
        judge.admit(&Commit::seal(first.clone(), &SiteKey::from_seed(&seed)).unwrap());
    }
    assert_eq!(judge.hold_back(&newcomer, u64::MAX), Some(Parked::Full));
    assert_eq!(judge.hold_back(&founder, 1), None);
}

// Forks.

#[test]
fn two_commits_with_one_number_prove_a_fork() {
    let (_, mut judge) = young();
    let clock = judge.logseq_max();
    let before = judge.clone();
    let commit = next(&mut judge, 1, "one story");
    let later = next(&mut judge, 1, "and on");
    let other = twin(&commit, 1, "another story");
    let Verdict::Forks(found) = judge.judge(&other, &()).unwrap() else {
        panic!("no fork")
    };
    assert_eq!(*found, proof(&commit, &other));
    assert_eq!(
        (found.domain(), found.number()),
        (key(1).site_id(), commit.header().number)
    );
    let last = before.head(&key(1).site_id()).map(|head| head.hash);
    assert!(judge.freeze(*found.clone(), &()).unwrap(), "news");
    assert!(!judge.freeze(*found, &()).unwrap(), "no news");
    assert_eq!(judge.head(&key(1).site_id()).map(|head| head.hash), last);
    assert_eq!(
        judge.logseq_max(),
        clock,
        "what it wrote holds nobody's clock up"
    );
    let number = commit.header().number;
    assert_eq!(
        judge.judge(&later, &()).unwrap(),
        Verdict::Refused(Refusal::Frozen { number })
    );
}

#[test]
fn a_fork_of_the_last_commit_takes_it_back() {
    let (_, mut judge) = young();
    let before = judge.frontier();
    let commit = next(&mut judge, 1, "one story");
    assert!(
        judge
            .freeze(proof(&commit, &twin(&commit, 1, "another")), &())
            .unwrap()
    );
    assert_eq!(judge.frontier(), before);
}

#[test]
fn a_frozen_domain_counts_up_to_the_fork_and_no_further() {
    let (_, mut judge) = young();
    let mut writer = judge.clone();
    let commits = ["a", "b", "c", "d"].map(|text| next(&mut writer, 1, text));
    let number = commits[2].header().number;
    assert!(
        judge
            .freeze(proof(&commits[2], &twin(&commits[2], 1, "other")), &())
            .unwrap()
    );
    count(&mut judge, &commits[0]);
    count(&mut judge, &commits[1]);
    let frozen = Verdict::Refused(Refusal::Frozen { number });
    assert_eq!(judge.judge(&commits[2], &()).unwrap(), frozen);
    assert_eq!(
        judge.judge(&twin(&commits[2], 1, "other"), &()).unwrap(),
        frozen
    );
    assert_eq!(judge.judge(&commits[3], &()).unwrap(), frozen);
    assert_eq!(
        judge
            .judge(&seal(draft(&judge, 2, word("x")), 2), &())
            .unwrap(),
        Verdict::Counts,
        "everyone else goes on"
    );
}

#[test]
fn testimony_lies_above_its_writers_admission() {
    let (federation, mut judge) = young();
    let before = federation.commits().last().unwrap().header().logseq;
    let again = seal(
        draft(
            &judge,
            FOUNDER,
            vec![admission(&federation, &key(NEWCOMER))],
        ),
        FOUNDER,
    );
    count(&mut judge, &again);
    let first = seal(draft(&judge, NEWCOMER, word("x")), NEWCOMER);
    assert!(
        judge
            .freeze(proof(&first, &twin(&first, NEWCOMER, "other")), &())
            .unwrap()
    );
    let admits = draft(&judge, NEWCOMER, vec![admission(&federation, &stranger(0))]);
    let at = |logseq| {
        seal(
            Draft {
                logseq,
                ..admits.clone()
            },
            NEWCOMER,
        )
    };
    assert_eq!(parked(&judge, &at(before)), Parked::Admission);
    assert_eq!(
        judge.judge(&at(before.next().unwrap()), &()).unwrap(),
        Verdict::Testifies
    );
}

#[test]
fn of_several_proofs_the_lowest_decides() {
    let (_, mut judge) = young();
    let mut writer = judge.clone();
    let commits = ["a", "b", "c"].map(|text| next(&mut writer, 1, text));
    let [low, middle, high] =
        [0, 1, 2].map(|at: usize| proof(&commits[at], &twin(&commits[at], 1, "other")));
    assert!(judge.freeze(middle.clone(), &()).unwrap());
    assert!(!judge.freeze(high, &()).unwrap());
    assert_eq!(judge.forks().get(&key(1).site_id()), Some(&middle));
    assert!(judge.freeze(low.clone(), &()).unwrap());
    assert!(!judge.freeze(middle, &()).unwrap());
    assert_eq!(judge.forks().get(&key(1).site_id()), Some(&low));
}
