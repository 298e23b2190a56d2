//! Any set of commits and proofs, told in any order, leaves one state: the one that
//! `index-format/FORMAT.md` says ("Which commits are accepted", "What is visible"), here worked out
//! a second time by `oracle`.
//!
//! Members do not behave: they fork their logs at any number, founders and inviters among them,
//! jump clocks, flood the federation with admissions, and tombstone and resolve chosen ids. What a
//! member of whose log a fork is proven says of membership stays within the limits here: the page
//! says why no order could be without influence beyond them.
//!
//! A seed is a case. `UOR_SEED=n` tries one, `UOR_CASES=n` the first n.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

#[path = "order/dice.rs"]
mod dice;
mod federation;
#[path = "order/oracle.rs"]
mod oracle;
#[path = "../../index-format/tests/rfc9162/mod.rs"]
mod rfc9162;
mod soak;
#[path = "order/told.rs"]
mod told;
#[path = "order/world.rs"]
mod world;

use std::num::NonZero;
use std::thread;

use uor_index_format::commit::Commit;
use uor_index_format::record::Kind;

use dice::{Dice, Tally};
use federation::key;
use oracle::Oracle;
use told::{Amount, Listener};
use world::Case;

fn check(seed: u64) -> Tally {
    let case = Case::of_seed(seed);
    let oracle = Oracle::of(case.federation, &case.commits(), &case.proofs());
    let expected = Amount::by_the_rules(&oracle, case.rule);
    let mut tally = case.tally.clone();
    note(&mut tally, &case, &oracle, &expected);
    let mut listeners =
        [1, 2].map(|order| Listener::new(case.federation, Dice::of(seed << 8 | order)));
    for listener in &mut listeners {
        listener.hear(&case.news);
        Amount::of(&listener.store().view()).assert_is(&expected, &format!("UOR_SEED={seed}"));
    }
    let [mut one, mut two] = listeners;
    assert_eq!(
        one.verdicts(&case.commits()),
        two.verdicts(&case.commits()),
        "UOR_SEED={seed}: verdicts"
    );
    let rebuilt = one.revalidated();
    Amount::of(&rebuilt.view()).assert_is(&expected, &format!("UOR_SEED={seed}, rebuilt"));
    drop(rebuilt);
    two.store().seal_index().unwrap();
    let what = format!("UOR_SEED={seed}, reopened");
    for listener in [&mut one, &mut two] {
        listener.reopen();
        Amount::of(&listener.store().view()).assert_is(&expected, &what);
    }
    assert_eq!(
        two.store().opened().index,
        None,
        "{what}: its checkpoint serves"
    );
    assert_eq!(
        one.store().verify(&mut |_| {}).unwrap().findings,
        [],
        "{what}: verified"
    );
    assert_eq!(
        two.store().replay(&expected.head).unwrap().root,
        expected.root,
        "{what}: replayed"
    );
    [one, two]
        .iter()
        .for_each(|listener| tally.also(&listener.tally));
    tally
}

/// What there was in a case: a property says something only of what was tried.
fn note(tally: &mut Tally, case: &Case, oracle: &Oracle, expected: &Amount) {
    let commits = case.commits();
    let is_accepted = |commit: &&Commit| {
        oracle
            .accepted()
            .any(|counting| counting.hash() == commit.hash())
    };
    let is_beyond = |commit: &&Commit| {
        let header = commit.header();
        oracle
            .forks
            .get(&header.domain)
            .is_some_and(|number| *number <= header.number)
    };
    let beyond: Vec<&Commit> = commits.iter().filter(is_beyond).collect();
    let speaks =
        |kind| move |commit: &&Commit| commit.records().iter().any(|record| record.kind() == kind);
    let founder = key(0).site_id();
    tally.note("a fork", !oracle.forks.is_empty());
    tally.note("forks of several", oracle.forks.len() > 1);
    tally.note("a founder forks", oracle.forks.contains_key(&founder));
    tally.note(
        "a founder forks its first commit",
        oracle.forks.get(&founder) == Some(&1),
    );
    tally.note(
        "an inviter forks below its invitation",
        beyond.iter().any(speaks_of_membership),
    );
    tally.note(
        "a resolution beyond a fork",
        beyond.iter().any(speaks(Kind::Resolution)),
    );
    tally.note(
        "a tombstone beyond a fork",
        beyond.iter().any(speaks(Kind::Tombstone)),
    );
    let invited: Vec<_> = beyond
        .iter()
        .filter_map(|commit| oracle.admitting.get(&commit.hash()))
        .collect();
    let writes_on = |site| oracle.counting.contains_key(site);
    tally.note(
        "an invitee of a forker is accepted",
        invited
            .iter()
            .flat_map(|admits| &admits.sites)
            .any(writes_on),
    );
    tally.note("more admitted than is listened to", oracle.cut > 0);
    tally.note("more readmitted than is looked at", oracle.passed_over > 0);
    tally.note(
        "an id with many versions",
        oracle
            .versions()
            .values()
            .any(|versions| versions.len() > 16),
    );
    tally.note("an open conflict", !expected.conflicts.is_empty());
    tally.note(
        "commits that never count",
        commits
            .iter()
            .any(|commit| !is_accepted(&commit) && !is_beyond(&commit)),
    );
}

fn speaks_of_membership(commit: &&Commit) -> bool {
    commit.is_membership()
}

/// Each of these happened in so many of a thousand cases at least.
const HAPPENED: [(&str, u64); 24] = [
    ("a clock held back", 300),
    ("a fork", 500),
    ("forks of several", 200),
    ("a founder forks", 100),
    ("a founder forks its first commit", 20),
    ("an inviter forks below its invitation", 200),
    ("an invitee of a forker is accepted", 100),
    ("testimony taken", 100),
    ("a proof takes back", 100),
    ("two commits prove a fork", 100),
    ("a resolution beyond a fork", 100),
    ("a tombstone beyond a fork", 100),
    ("more admitted than is listened to", 50),
    ("more readmitted than is looked at", 20),
    ("a flood that leaves room for forks", 10),
    ("an id with many versions", 100),
    ("an open conflict", 300),
    ("a tombstone of an id that looks like another", 300),
    ("a resolution of an id that looks like another", 300),
    ("ids of membership chosen", 100),
    ("reopened from a checkpoint", 300),
    ("index rewritten", 300),
    ("commits withheld", 50),
    ("commits that never count", 200),
];

#[test]
fn any_order_leaves_the_state_that_the_rules_say() {
    let seed = std::env::var("UOR_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seeds = seed.map_or(0..u64::from(soak::cases(64)), |seed| seed..seed + 1);
    let cases = seeds.end - seeds.start;
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let tally = thread::scope(|scope| {
        let worker = |first: usize| {
            let seeds = seeds.clone().skip(first).step_by(threads);
            scope.spawn(move || seeds.map(check).fold(Tally::default(), Tally::add))
        };
        let workers: Vec<_> = (0..threads).map(worker).collect();
        let join = |worker: thread::ScopedJoinHandle<'_, Tally>| {
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        workers
            .into_iter()
            .map(join)
            .fold(Tally::default(), Tally::add)
    });
    println!("of {cases} cases: {tally:#?}");
    for (what, of_a_thousand) in HAPPENED.into_iter().filter(|_| cases >= 64) {
        let happened = tally.cases(what);
        assert!(
            happened * 1000 >= of_a_thousand * cases,
            "{what}: only in {happened} of {cases} cases"
        );
    }
}
