//! The rules of `index-format/FORMAT.md` for which commits are accepted: each verdict reached by
//! the smallest case that deserves it, and what becomes of a store whose writers fork their logs.
//! Cases of all kinds, in any order, are in `order.rs`.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

mod federation;
#[path = "validator/stores.rs"]
mod stores;

use std::collections::BTreeSet;

use uor_asl::validator::{ADMISSIONS_MAX, CommitValidator, KNOWN_MAX, Parked, Rejection, Verdict};
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
fn young() -> (Federation, CommitValidator) {
    let federation = Federation::build(ConflictRule::First, &[]);
    let validator = federation.validator(FOUNDER).clone();
    (federation, validator)
}

fn word(text: &str) -> Vec<Record> {
    vec![Record::artifact(None, Payload::of(text.as_bytes()))]
}

/// What a site whose knowledge is `validator` would write next.
fn draft(validator: &CommitValidator, site: usize, records: Vec<Record>) -> Draft {
    federation::draft(validator, &key(site).site_id(), records)
}

fn seal(draft: Draft, site: usize) -> Commit {
    Commit::seal(draft, &key(site)).unwrap()
}

/// An accepted commit.
fn next(validator: &mut CommitValidator, site: usize, text: &str) -> Commit {
    let commit = seal(draft(validator, site, word(text)), site);
    count(validator, &commit);
    commit
}

fn count(validator: &mut CommitValidator, commit: &Commit) {
    assert_eq!(validator.validate(commit, &()).unwrap(), Verdict::Accepted);
    validator.accept(commit);
}

fn refused(validator: &CommitValidator, draft: Draft, site: usize) -> Rejection {
    match validator.validate(&seal(draft, site), &()).unwrap() {
        Verdict::Rejected(rejection) => rejection,
        other => panic!("{other:?}"),
    }
}

fn parked(validator: &CommitValidator, commit: &Commit) -> Parked {
    match validator.validate(commit, &()).unwrap() {
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
    let (_, mut validator) = young();
    let commit = next(&mut validator, FOUNDER, "x");
    assert_eq!(validator.validate(&commit, &()).unwrap(), Verdict::Known);
}

#[test]
fn a_gap_is_parked_until_it_is_filled() {
    let (_, mut validator) = young();
    let mut writer = validator.clone();
    let next_number = validator.head(&key(FOUNDER).site_id()).unwrap().number + 1;
    let commits = [
        next(&mut writer, FOUNDER, "x"),
        next(&mut writer, FOUNDER, "y"),
    ];
    assert_eq!(
        parked(&validator, &commits[1]),
        Parked::Gap { next: next_number }
    );
    count(&mut validator, &commits[0]);
    count(&mut validator, &commits[1]);
    assert_eq!(
        parked(&CommitValidator::new(validator.federation()), &commits[1]),
        Parked::Gap { next: 1 }
    );
}

#[test]
fn a_commit_that_names_another_predecessor_is_refused() {
    let (_, validator) = young();
    let fine = draft(&validator, FOUNDER, word("x"));
    let head = validator.head(&key(FOUNDER).site_id()).unwrap();
    for (expected, named) in [
        (
            History::Previous(head.hash),
            History::Previous(CommitHash::from_bytes([9; 32])),
        ),
        (
            validator.history(&key(FOUNDER).site_id()).unwrap(),
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
            validator.validate(&seal(fine, FOUNDER), &()).unwrap(),
            Verdict::Accepted
        );
        assert_eq!(
            refused(&validator, other, FOUNDER),
            Rejection::Chain { named, expected }
        );
    }
}

#[test]
fn logseq_rises_within_a_domain() {
    let (_, mut validator) = young();
    let before = next(&mut validator, FOUNDER, "x").header().logseq;
    let fine = draft(&validator, FOUNDER, word("y"));
    for logseq in [before, LogSeq(before.0 - 1), LogSeq(1)] {
        assert_eq!(
            refused(
                &validator,
                Draft {
                    logseq,
                    ..fine.clone()
                },
                FOUNDER
            ),
            Rejection::LogSeq { logseq, before }
        );
    }
    assert_eq!(
        validator
            .validate(
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
        Verdict::Accepted
    );
}

// Admission.

#[test]
fn a_first_commit_lies_above_its_admission() {
    let (federation, validator) = young();
    let admission = federation.commits().last().unwrap();
    assert!(admission.is_membership());
    let before = admission.header().logseq;
    let fine = draft(&validator, NEWCOMER, word("x"));
    for logseq in [before, LogSeq(before.0 - 1)] {
        assert_eq!(
            refused(
                &validator,
                Draft {
                    logseq,
                    ..fine.clone()
                },
                NEWCOMER
            ),
            Rejection::LogSeq { logseq, before }
        );
    }
    assert_eq!(
        validator
            .validate(
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
        Verdict::Accepted
    );
}

#[test]
fn of_several_admissions_the_earliest_is_enough() {
    let (federation, mut validator) = young();
    let first = federation.commits().last().unwrap().header().logseq;
    let site = key(NEWCOMER).site_id();
    let again = Admission {
        federation: federation.id(),
        site,
        name: "again".to_owned(),
    };
    let commit = seal(
        draft(&validator, FOUNDER, vec![Record::admission(again)]),
        FOUNDER,
    );
    count(&mut validator, &commit);
    let early = Draft {
        logseq: first.next().unwrap(),
        ..draft(&validator, NEWCOMER, word("x"))
    };
    assert!(early.logseq <= commit.header().logseq);
    assert_eq!(
        validator.validate(&seal(early, NEWCOMER), &()).unwrap(),
        Verdict::Accepted
    );
}

#[test]
fn who_has_not_been_admitted_is_refused() {
    let (federation, validator) = young();
    assert_eq!(
        refused(&validator, draft(&validator, OUTSIDER, word("x")), OUTSIDER),
        Rejection::NotAMember
    );
    let genesis = &federation.commits()[0];
    let knows_little = Draft {
        learned: vec![genesis.hash()],
        federation: FederationState::of([&genesis.hash()]),
        ..draft(&validator, NEWCOMER, word("x"))
    };
    assert_eq!(
        refused(&validator, knows_little, NEWCOMER),
        Rejection::NotAMember,
        "a writer is validated by what it knew, not by what the validator has learned since"
    );
}

#[test]
fn a_writer_cannot_admit_itself() {
    let (federation, validator) = young();
    let admission = Admission {
        federation: federation.id(),
        site: key(OUTSIDER).site_id(),
        name: "outsider".to_owned(),
    };
    let itself = draft(&validator, OUTSIDER, vec![Record::admission(admission)]);
    assert_eq!(refused(&validator, itself, OUTSIDER), Rejection::NotAMember);
}

#[test]
fn a_commit_waits_for_its_writers_admission() {
    let (federation, validator) = young();
    let (admission, before) = federation.commits().split_last().unwrap();
    let commit = seal(draft(&validator, NEWCOMER, word("x")), NEWCOMER);
    let mut other = CommitValidator::new(federation.id());
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
    let (federation, validator) = young();
    let commit = seal(draft(&validator, 1, word("x")), 1);
    // Genesis, site 1's admission, and what site 1 wrote so far.
    let (here, missing) = federation.commits().split_at(3);
    assert!(
        missing
            .iter()
            .all(|missing| commit.learned().contains(&missing.hash()))
    );
    let mut other = CommitValidator::new(federation.id());
    here.iter().for_each(|here| count(&mut other, here));
    count(&mut other, &commit);
}

#[test]
fn the_digest_belongs_to_the_membership_that_is_named() {
    let (_, mut validator) = young();
    let fine = draft(&validator, NEWCOMER, word("x"));
    let named = FederationState::from_bytes([9; 32]);
    assert_eq!(
        refused(
            &validator,
            Draft {
                federation: named,
                ..fine.clone()
            },
            NEWCOMER
        ),
        Rejection::FederationState { named }
    );
    let learned = fine.learned[1..].to_vec();
    let unnamed = Draft {
        learned,
        ..fine.clone()
    };
    assert_eq!(
        refused(&validator, unnamed, NEWCOMER),
        Rejection::FederationState {
            named: fine.federation
        }
    );
    next(&mut validator, NEWCOMER, "x");
    let later = draft(&validator, NEWCOMER, word("y"));
    assert_eq!(
        (later.learned.len(), later.federation),
        (0, fine.federation),
        "what was named once is known from then on"
    );
    assert_eq!(
        validator.validate(&seal(later, NEWCOMER), &()).unwrap(),
        Verdict::Accepted
    );
}

#[test]
fn an_ordinary_commit_admits_nobody() {
    let (_, mut validator) = young();
    let ordinary = next(&mut validator, FOUNDER, "x").hash();
    let only = |hash| Draft {
        learned: vec![hash],
        federation: FederationState::of([&hash]),
        ..draft(&validator, NEWCOMER, word("y"))
    };
    // It is not looked for among all commits: what admits nobody is as good as missing.
    assert_eq!(
        parked(&validator, &seal(only(ordinary), NEWCOMER)),
        Parked::Membership { commit: ordinary }
    );
    let unknown = CommitHash::from_bytes([9; 32]);
    assert_eq!(
        parked(&validator, &seal(only(unknown), NEWCOMER)),
        Parked::Membership { commit: unknown }
    );
}

#[test]
fn membership_records_belong_to_this_federation() {
    let (federation, validator) = young();
    let own = validator.genesis().unwrap().clone();
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
            let wrong = draft(&validator, site, vec![record.clone()]);
            assert_eq!(
                refused(&validator, wrong, site),
                Rejection::ForeignMembership
            );
        }
    }
    let fine = draft(
        &validator,
        NEWCOMER,
        vec![Record::admission(admission(federation.id()))],
    );
    assert_eq!(
        validator.validate(&seal(fine, NEWCOMER), &()).unwrap(),
        Verdict::Accepted
    );

    let nothing = CommitValidator::new(federation.id());
    let founding = |records, site| draft(&nothing, site, records);
    assert_eq!(
        refused(
            &nothing,
            founding(vec![Record::genesis(other.clone())], FOUNDER),
            FOUNDER
        ),
        Rejection::NotAMember
    );
    assert_eq!(
        refused(&nothing, founding(vec![Record::genesis(own.clone())], 1), 1),
        Rejection::NotAMember
    );
    let two = vec![Record::genesis(own), Record::genesis(other)];
    assert_eq!(
        refused(&nothing, founding(two, FOUNDER), FOUNDER),
        Rejection::ForeignMembership
    );
    assert_eq!(
        refused(&nothing, founding(word("x"), FOUNDER), FOUNDER),
        Rejection::NotAMember,
        "before any genesis"
    );
}

/// "The order decides what is seen, never who may write."
#[test]
fn no_right_hangs_on_what_is_visible() {
    let (federation, mut validator) = young();
    let admission = federation.commits().last().unwrap();
    let id = admission.records()[0].id();
    let commit = seal(
        draft(&validator, FOUNDER, vec![Record::tombstone(id)]),
        FOUNDER,
    );
    count(&mut validator, &commit);
    next(&mut validator, NEWCOMER, "still a member");
    assert!(validator.members().contains(&key(NEWCOMER).site_id()));
}

// The clock.

/// A policy of arrival: the verdict on the commit is another matter, and the same everywhere.
#[test]
fn a_jumping_clock_is_held_back_until_others_have_come_as_far_or_patience_has() {
    let (_, mut validator) = young();
    let (seen, jump_max) = (
        validator.logseq_max(),
        validator.genesis().unwrap().logseq_jump_max,
    );
    let at = |validator: &CommitValidator, site, logseq| {
        seal(
            Draft {
                logseq: LogSeq(logseq),
                ..draft(validator, site, word("x"))
            },
            site,
        )
    };
    let logseq = LogSeq(seen.0 + jump_max + 1);
    let jump = at(&validator, NEWCOMER, logseq.0);
    assert_eq!(validator.validate(&jump, &()).unwrap(), Verdict::Accepted);
    assert_eq!(
        validator.hold_back(&jump, 1),
        Some(Parked::ClockJump {
            logseq,
            seen,
            jump_max
        })
    );
    assert_eq!(validator.hold_back(&jump, 2), None);
    let furthest = at(&validator, FOUNDER, seen.0 + jump_max);
    assert_eq!(
        validator.hold_back(&furthest, 0),
        None,
        "no patience is as good as the least"
    );
    count(&mut validator, &furthest);
    assert_eq!(validator.hold_back(&jump, 1), None);
    count(&mut validator, &jump);
    assert_eq!(validator.logseq_max(), logseq);
    let end_of_time = at(&validator, NEWCOMER, u64::MAX);
    assert!(matches!(
        validator.hold_back(&end_of_time, 1 << 40),
        Some(Parked::ClockJump { .. })
    ));
}

// Membership.

fn admission(federation: &Federation, site: &SiteKey) -> Record {
    federation::admission(federation.id(), &site.site_id(), "x")
}

#[test]
fn an_admission_that_changes_nothing_need_not_be_named() {
    let (federation, mut validator) = young();
    let before = validator.membership_for(&key(1).site_id(), usize::MAX).0;
    for name in ["again", "and again"] {
        let site = key(NEWCOMER).site_id();
        let again = Admission {
            federation: federation.id(),
            site,
            name: name.to_owned(),
        };
        let commit = seal(
            draft(&validator, NEWCOMER - 1, vec![Record::admission(again)]),
            NEWCOMER - 1,
        );
        count(&mut validator, &commit);
    }
    assert_eq!(
        validator.membership_for(&key(1).site_id(), usize::MAX).0,
        before
    );
    next(&mut validator, NEWCOMER - 1, "its writer goes on");
}

/// 4,097 membership commits silenced everyone who had to name them all at once.
#[test]
fn a_writer_names_as_many_as_fit_and_the_rest_later() {
    let (federation, mut validator) = young();
    for number in 0..9 {
        let commit = seal(
            draft(
                &validator,
                FOUNDER,
                vec![admission(&federation, &stranger(number))],
            ),
            FOUNDER,
        );
        count(&mut validator, &commit);
    }
    let site = key(1).site_id();
    let all = validator.membership_for(&site, usize::MAX).0;
    let mut named = Vec::new();
    for _ in 0..all.len().div_ceil(4) {
        let (learned, federation) = validator.membership_for(&site, 4);
        named.extend(learned.clone());
        let commit = seal(
            Draft {
                learned,
                federation,
                ..draft(&validator, 1, word(&named.len().to_string()))
            },
            1,
        );
        count(&mut validator, &commit);
    }
    named.sort_unstable();
    assert_eq!(named, all);
}

#[test]
fn a_first_commit_names_its_own_admission_before_all_others() {
    let (federation, mut validator) = young();
    for number in 0..9 {
        let commit = seal(
            draft(
                &validator,
                FOUNDER,
                vec![admission(&federation, &stranger(number))],
            ),
            FOUNDER,
        );
        count(&mut validator, &commit);
    }
    for number in 0..9 {
        let (learned, _) = validator.membership_for(&stranger(number).site_id(), 1);
        assert_eq!(
            validator.memberships()[&learned[0]].members,
            [stranger(number).site_id()]
        );
    }
}

#[test]
fn one_member_admits_a_bounded_number_of_sites() {
    let (federation, mut validator) = young();
    let count_members = |validator: &CommitValidator| validator.members().len();
    let before = count_members(&validator);
    let admissions = (0..).map(|number| admission(&federation, &stranger(number)));
    let flood: Vec<Record> = admissions.take(ADMISSIONS_MAX + 100).collect();
    let commit = seal(draft(&validator, NEWCOMER, flood), NEWCOMER);
    count(&mut validator, &commit);
    assert_eq!(count_members(&validator), before + ADMISSIONS_MAX);
    let more = seal(
        draft(
            &validator,
            NEWCOMER,
            vec![admission(&federation, &stranger(5000))],
        ),
        NEWCOMER,
    );
    count(&mut validator, &more);
    assert_eq!(
        count_members(&validator),
        before + ADMISSIONS_MAX,
        "its commits count, and admit nobody"
    );
    let other = seal(
        draft(
            &validator,
            FOUNDER,
            vec![admission(&federation, &stranger(5000))],
        ),
        FOUNDER,
    );
    count(&mut validator, &other);
    assert_eq!(
        count_members(&validator),
        before + ADMISSIONS_MAX + 1,
        "what others may admit is theirs"
    );
}

/// A commit of the newcomer that names so many membership commits, which nobody has, beside what it
/// has learned.
fn naming(validator: &CommitValidator, from: usize, len: usize, records: Vec<Record>) -> Commit {
    let plain = draft(validator, NEWCOMER, records);
    let nobodys = (from..from + len)
        .map(|at| CommitHash::from_bytes(*blake3::hash(&at.to_le_bytes()).as_bytes()));
    let learned: Vec<CommitHash> = plain.learned.iter().copied().chain(nobodys).collect();
    let knows: BTreeSet<CommitHash> = validator
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
    let (federation, mut validator) = young();
    let mut number = 0;
    let refused = loop {
        let commit = naming(&validator, number, 4000, word(&number.to_string()));
        number += 4000;
        match validator.validate(&commit, &()).unwrap() {
            Verdict::Accepted => validator.accept(&commit),
            Verdict::Rejected(rejection) => break rejection,
            other => panic!("{other:?}"),
        }
    };
    assert!(
        matches!(refused, Rejection::Known { known } if known > KNOWN_MAX),
        "{refused:?}"
    );
    let left = KNOWN_MAX - validator.knows(&key(NEWCOMER).site_id()).count();
    let admits = naming(
        &validator,
        number,
        left,
        vec![admission(&federation, &stranger(0))],
    );
    let verdict = validator.validate(&admits, &()).unwrap();
    assert!(
        matches!(verdict, Verdict::Rejected(Rejection::Known { .. })),
        "it would know itself too: {verdict:?}"
    );
    let full = naming(&validator, number, left, word("as many as can be"));
    count(&mut validator, &full);
    next(&mut validator, NEWCOMER, "it may still write");
}

/// A frontier carries so many domains: those that have written go on, and no others begin.
#[test]
fn a_full_federation_holds_back_whoever_has_not_written() {
    let (_, mut validator) = young();
    let [newcomer, founder] =
        [NEWCOMER, FOUNDER].map(|site| seal(draft(&validator, site, word("x")), site));
    let first = Draft {
        number: 1,
        history: History::Previous(CommitHash::NONE),
        learned: vec![],
        ..draft(&validator, FOUNDER, word("x"))
    };
    let room = DOMAINS_MAX as usize - validator.frontier().len();
    for number in 0..room {
        assert_eq!(validator.hold_back(&newcomer, 1), None);
        let mut seed = [0xdd; 32];
        seed[..8].copy_from_slice(&(number as u64).to_le_bytes());
        validator.accept(&Commit::seal(first.clone(), &SiteKey::from_seed(&seed)).unwrap());
    }
    assert_eq!(validator.hold_back(&newcomer, u64::MAX), Some(Parked::Full));
    assert_eq!(validator.hold_back(&founder, 1), None);
}

// Forks.

#[test]
fn two_commits_with_one_number_prove_a_fork() {
    let (_, mut validator) = young();
    let clock = validator.logseq_max();
    let before = validator.clone();
    let commit = next(&mut validator, 1, "one story");
    let later = next(&mut validator, 1, "and on");
    let other = twin(&commit, 1, "another story");
    let Verdict::Forks(found) = validator.validate(&other, &()).unwrap() else {
        panic!("no fork")
    };
    assert_eq!(*found, proof(&commit, &other));
    assert_eq!(
        (found.domain(), found.number()),
        (key(1).site_id(), commit.header().number)
    );
    let last = before.head(&key(1).site_id()).map(|head| head.hash);
    assert!(validator.freeze(*found.clone(), &()).unwrap(), "news");
    assert!(!validator.freeze(*found, &()).unwrap(), "no news");
    assert_eq!(
        validator.head(&key(1).site_id()).map(|head| head.hash),
        last
    );
    assert_eq!(
        validator.logseq_max(),
        clock,
        "what it wrote holds nobody's clock up"
    );
    let number = commit.header().number;
    assert_eq!(
        validator.validate(&later, &()).unwrap(),
        Verdict::Rejected(Rejection::Frozen { number })
    );
}

#[test]
fn a_fork_of_the_last_commit_takes_it_back() {
    let (_, mut validator) = young();
    let before = validator.frontier();
    let commit = next(&mut validator, 1, "one story");
    assert!(
        validator
            .freeze(proof(&commit, &twin(&commit, 1, "another")), &())
            .unwrap()
    );
    assert_eq!(validator.frontier(), before);
}

#[test]
fn a_frozen_domain_counts_up_to_the_fork_and_no_further() {
    let (_, mut validator) = young();
    let mut writer = validator.clone();
    let commits = ["a", "b", "c", "d"].map(|text| next(&mut writer, 1, text));
    let number = commits[2].header().number;
    assert!(
        validator
            .freeze(proof(&commits[2], &twin(&commits[2], 1, "other")), &())
            .unwrap()
    );
    count(&mut validator, &commits[0]);
    count(&mut validator, &commits[1]);
    let frozen = Verdict::Rejected(Rejection::Frozen { number });
    assert_eq!(validator.validate(&commits[2], &()).unwrap(), frozen);
    assert_eq!(
        validator
            .validate(&twin(&commits[2], 1, "other"), &())
            .unwrap(),
        frozen
    );
    assert_eq!(validator.validate(&commits[3], &()).unwrap(), frozen);
    assert_eq!(
        validator
            .validate(&seal(draft(&validator, 2, word("x")), 2), &())
            .unwrap(),
        Verdict::Accepted,
        "everyone else goes on"
    );
}

#[test]
fn testimony_lies_above_its_writers_admission() {
    let (federation, mut validator) = young();
    let before = federation.commits().last().unwrap().header().logseq;
    let again = seal(
        draft(
            &validator,
            FOUNDER,
            vec![admission(&federation, &key(NEWCOMER))],
        ),
        FOUNDER,
    );
    count(&mut validator, &again);
    let first = seal(draft(&validator, NEWCOMER, word("x")), NEWCOMER);
    assert!(
        validator
            .freeze(proof(&first, &twin(&first, NEWCOMER, "other")), &())
            .unwrap()
    );
    let admits = draft(
        &validator,
        NEWCOMER,
        vec![admission(&federation, &stranger(0))],
    );
    let at = |logseq| {
        seal(
            Draft {
                logseq,
                ..admits.clone()
            },
            NEWCOMER,
        )
    };
    assert_eq!(parked(&validator, &at(before)), Parked::Admission);
    assert_eq!(
        validator
            .validate(&at(before.next().unwrap()), &())
            .unwrap(),
        Verdict::Testifies
    );
}

#[test]
fn of_several_proofs_the_lowest_decides() {
    let (_, mut validator) = young();
    let mut writer = validator.clone();
    let commits = ["a", "b", "c"].map(|text| next(&mut writer, 1, text));
    let [low, middle, high] =
        [0, 1, 2].map(|at: usize| proof(&commits[at], &twin(&commits[at], 1, "other")));
    assert!(validator.freeze(middle.clone(), &()).unwrap());
    assert!(!validator.freeze(high, &()).unwrap());
    assert_eq!(validator.forks().get(&key(1).site_id()), Some(&middle));
    assert!(validator.freeze(low.clone(), &()).unwrap());
    assert!(!validator.freeze(middle, &()).unwrap());
    assert_eq!(validator.forks().get(&key(1).site_id()), Some(&low));
}
