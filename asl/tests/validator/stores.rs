//! What becomes of stores whose writers fork their logs: case by case.

use std::sync::Arc;

use uor_asl::disk::memory::MemoryDisk;
use uor_asl::disk::{Disk, Mode};
use uor_asl::store::{CommitError, Committed, Store};
use uor_asl::validator::{
    ADMISSIONS_MAX, CommitValidator, Parked, READMISSIONS_MAX, Rejection, TESTIMONY_MAX, Verdict,
};
use uor_index_format::commit::{Commit, Draft, ForkProof};
use uor_index_format::id::{ArtifactKey, LogSeq, SiteId};
use uor_index_format::key::SiteKey;
use uor_index_format::membership::Admission;
use uor_index_format::record::Record;
use uor_index_format::reference::RefAssignment;

use super::federation::{self, Federation, SITES, key, stranger};
use super::{
    FOUNDER, NEWCOMER, OUTSIDER, admission, count, draft, next, proof, seal, twin, twin_with, word,
    young,
};

fn store(federation: &Federation) -> Store {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    Store::create(&disk, federation.id()).unwrap();
    Store::open(disk, Mode::Write).unwrap()
}

/// What two stores that know the same must agree on.
fn summary(store: &Store) -> impl PartialEq + std::fmt::Debug + use<> {
    let view = store.view();
    let forks: Vec<_> = view
        .forks()
        .iter()
        .map(|(domain, proof)| (*domain, proof.number()))
        .collect();
    let replayed = store.replay(view.head()).unwrap();
    assert_eq!(replayed.root, view.state().root());
    (
        view.head().clone(),
        replayed.root,
        forks,
        view.members().clone(),
        view.genesis().cloned(),
    )
}

fn reopened(store: Store) -> Store {
    let disk = store.disk().clone();
    drop(store);
    Store::open(disk, Mode::Write).unwrap()
}

/// A federation whose site 1 has written four commits, of which the third is to be forked.
fn forked() -> (Federation, Vec<Commit>, ForkProof) {
    let (federation, mut validator) = young();
    let commits: Vec<Commit> = ["a", "b", "c", "d"]
        .map(|text| next(&mut validator, 1, text))
        .to_vec();
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
        assert_eq!(
            (late.view().unaccepted(), late.view().commits_len()),
            (2, innocent.view().commits_len())
        );
        assert_eq!(summary(&late), summary(&innocent));
        assert!(
            late.commit_bytes(&key(1).site_id(), commits[2].header().number)
                .unwrap()
                .is_none()
        );
        let late = reopened(late);
        assert_eq!(summary(&late), summary(&innocent));
        let verdicts = late.merge(commits[2..].to_vec()).unwrap();
        assert!(
            verdicts
                .iter()
                .all(|verdict| matches!(verdict, Verdict::Rejected(Rejection::Frozen { .. })))
        );
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
        [
            Verdict::Accepted,
            Verdict::Accepted,
            Verdict::Rejected(Rejection::Frozen { .. }),
            Verdict::Rejected(_)
        ]
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
    both.merge(
        federation
            .commits()
            .iter()
            .chain(&commits)
            .cloned()
            .collect(),
    )
    .unwrap();
    assert!(both.freeze(middle.clone()).unwrap());
    assert!(both.freeze(low).unwrap());
    assert!(!both.freeze(middle).unwrap());
    assert_eq!(summary(&both), summary(&low_only));
    assert_eq!(summary(&reopened(both)), summary(&low_only));
}

/// A member jumps the clock, others follow, and it proves its own fork: what they wrote counts,
/// here and after a restart, and at a site that hears of it all only then.
#[test]
fn commits_that_a_fork_left_ahead_of_the_clock_still_count() {
    let (federation, mut validator) = young();
    let (seen, jump_max) = (
        validator.logseq_max().0,
        validator.genesis().unwrap().logseq_jump_max,
    );
    let jumps = [(1, 1), (1, 2), (2, 3), (3, 2), (4, 1)];
    let commits = jumps.map(|(site, jumps)| {
        let commit = seal(
            Draft {
                logseq: LogSeq(seen + jumps * jump_max),
                ..draft(&validator, site, word("x"))
            },
            site,
        );
        count(&mut validator, &commit);
        commit
    });
    let proof = proof(&commits[0], &twin(&commits[0], 1, "other"));
    let store = store(&federation);
    store.merge(federation.commits().to_vec()).unwrap();
    store.merge(commits.to_vec()).unwrap();
    store.freeze(proof.clone()).unwrap();
    assert_eq!(store.view().unaccepted(), 2, "those of the forked log");
    assert_eq!(
        store.view().state().logseq_max(),
        commits[2].header().logseq
    );
    let newcomer = self::store(&federation);
    newcomer.merge(federation.commits().to_vec()).unwrap();
    newcomer.freeze(proof).unwrap();
    for patience in 1..=3 {
        newcomer
            .merge_patiently(commits.to_vec(), patience)
            .unwrap();
    }
    assert_eq!(summary(&newcomer), summary(&store));
    assert_eq!(summary(&reopened(store)), summary(&newcomer));
}

#[test]
fn whoever_forked_its_log_writes_no_more() {
    let (federation, commits, proof) = forked();
    let store = store(&federation);
    store
        .merge(
            federation
                .commits()
                .iter()
                .chain(&commits)
                .cloned()
                .collect(),
        )
        .unwrap();
    store.commit(&key(1), word("before"), 0).unwrap();
    store.freeze(proof).unwrap();
    let error = store.commit(&key(1), word("after"), 0).unwrap_err();
    assert!(
        matches!(error, CommitError::Rejected(Rejection::Frozen { .. })),
        "{error:?}"
    );
    store.commit(&key(2), word("after"), 0).unwrap();
}

#[test]
fn an_outsider_writes_nothing() {
    let (federation, _) = young();
    let store = store(&federation);
    let error = store
        .commit(&key(FOUNDER), word("before the genesis"), 0)
        .unwrap_err();
    assert!(matches!(
        error,
        CommitError::Rejected(Rejection::NotAMember)
    ));
    store.merge(federation.commits().to_vec()).unwrap();
    let before = summary(&store);
    let error = store.commit(&key(OUTSIDER), word("x"), 0).unwrap_err();
    assert!(matches!(
        error,
        CommitError::Rejected(Rejection::NotAMember)
    ));
    assert_eq!(summary(&store), before);
}

/// Site 1 admits an outsider, who writes; everyone hears of it and a newcomer writes too. Then site
/// 1 turns out to have forked that very admission.
struct ForkedAdmission {
    federation: Federation,
    admits: Commit,
    of_outsider: Commit,
    of_newcomer: Commit,
    proof: ForkProof,
}

fn forked_admission() -> ForkedAdmission {
    let (federation, mut validator) = young();
    let admission = Admission {
        federation: federation.id(),
        site: key(OUTSIDER).site_id(),
        name: "outsider".to_owned(),
    };
    let admits = seal(draft(&validator, 1, vec![Record::admission(admission)]), 1);
    count(&mut validator, &admits);
    let of_outsider = next(&mut validator, OUTSIDER, "x");
    let of_newcomer = next(&mut validator, NEWCOMER, "y");
    assert!(of_newcomer.learned().contains(&admits.hash()));
    let proof = proof(&admits, &twin(&admits, 1, "other"));
    ForkedAdmission {
        federation,
        admits,
        of_outsider,
        of_newcomer,
        proof,
    }
}

/// Design §9: "the domain is frozen at the last common commit, everyone else goes on". Whom it
/// admitted is everyone else.
#[test]
fn a_fork_takes_back_its_writers_commits_and_no_others() {
    let forked = forked_admission();
    let proof_first = store(&forked.federation);
    proof_first.freeze(forked.proof.clone()).unwrap();
    proof_first
        .merge(forked.federation.commits().to_vec())
        .unwrap();
    let missing = Verdict::Parked(Parked::Membership {
        commit: forked.admits.hash(),
    });
    let verdicts = proof_first
        .merge(vec![forked.of_outsider.clone(), forked.of_newcomer.clone()])
        .unwrap();
    assert_eq!(
        verdicts,
        [missing, Verdict::Accepted],
        "what admits it is still to be asked for"
    );

    let proof_last = store(&forked.federation);
    proof_last
        .merge(forked.federation.commits().to_vec())
        .unwrap();
    let all = vec![
        forked.admits.clone(),
        forked.of_outsider.clone(),
        forked.of_newcomer,
    ];
    assert!(
        proof_last
            .merge(all)
            .unwrap()
            .iter()
            .all(|verdict| *verdict == Verdict::Accepted)
    );
    proof_last.freeze(forked.proof).unwrap();
    assert_eq!(proof_last.view().unaccepted(), 1, "the admission");
    assert!(
        proof_last
            .view()
            .members()
            .contains(&key(OUTSIDER).site_id())
    );

    let testimony = proof_last
        .testimony_for(&[key(OUTSIDER).site_id()], u64::MAX)
        .unwrap();
    let testimony: Vec<Commit> = testimony
        .iter()
        .map(|bytes| Commit::decode(bytes).unwrap())
        .collect();
    assert_eq!(testimony, [forked.admits]);
    assert_eq!(
        proof_first.merge(testimony.clone()).unwrap(),
        [Verdict::Testifies]
    );
    assert_eq!(proof_first.merge(testimony).unwrap(), [Verdict::Known]);
    assert_eq!(
        proof_first.merge(vec![forked.of_outsider]).unwrap(),
        [Verdict::Accepted]
    );
    assert_eq!(summary(&proof_last), summary(&proof_first));

    let committed = proof_last
        .commit(&key(OUTSIDER), word("goes on"), 0)
        .unwrap();
    let commit = proof_last
        .read_commit(&committed.domain, committed.number)
        .unwrap()
        .unwrap();
    assert_eq!(
        proof_first.merge(vec![commit]).unwrap(),
        [Verdict::Accepted]
    );
    let proof_first = reopened(proof_first);
    assert_eq!(summary(&reopened(proof_last)), summary(&proof_first));
    assert_eq!(
        proof_first
            .testimony_for(&[key(OUTSIDER).site_id()], u64::MAX)
            .unwrap()
            .len(),
        1
    );
    assert_eq!(proof_first.verify(&mut |_| {}).unwrap().findings, []);
}

/// Its founder signs its first commit again: the federation had eight commits, and none afterwards.
#[test]
fn a_founder_who_forks_its_first_commit_empties_nothing_but_its_own_log() {
    let (federation, mut validator) = young();
    let commits: Vec<Commit> = (1..SITES)
        .map(|site| next(&mut validator, site, "x"))
        .collect();
    let founding = &federation.commits()[0];
    let genesis = validator.genesis().unwrap().clone();
    let again = vec![Record::genesis(genesis), word("again").remove(0)];
    let again = seal(
        draft(&CommitValidator::new(federation.id()), FOUNDER, again),
        FOUNDER,
    );
    let old = store(&federation);
    old.merge(
        federation
            .commits()
            .iter()
            .chain(&commits)
            .cloned()
            .collect(),
    )
    .unwrap();
    let others: Vec<Committed> = counted(&old)
        .into_iter()
        .filter(|commit| commit.domain != key(FOUNDER).site_id())
        .collect();
    assert!(matches!(
        old.merge(vec![again.clone()]).unwrap()[..],
        [Verdict::Forks(_)]
    ));
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
    let ForkedAdmission {
        federation,
        admits,
        proof,
        ..
    } = forked_admission();
    let store = store(&federation);
    store.merge(federation.commits().to_vec()).unwrap();
    store.merge(vec![admits.clone()]).unwrap();
    store.freeze(proof).unwrap();
    let before = store.view().members().len();
    for number in 0..u16::try_from(TESTIMONY_MAX).unwrap() + 9 {
        let header = admits.header();
        let draft = Draft {
            number: header.number + u64::from(number),
            history: header.history,
            logseq: header.logseq,
            federation: header.federation,
            wall_ms: 0,
            learned: vec![],
            records: vec![admission(&federation, &stranger(number))],
        };
        store.merge(vec![seal(draft, 1)]).unwrap();
    }
    assert_eq!(
        store.view().members().len(),
        before + ADMISSIONS_MAX - 2,
        "it had admitted two before"
    );
    let before = summary(&store);
    assert_eq!(summary(&reopened(store)), before);
}

/// A site that has invited many is restored from an old backup and forks: whoever hears of the fork
/// first hears all of them still.
#[test]
fn whoever_was_invited_by_one_that_forked_is_heard_everywhere() {
    let (federation, mut validator) = young();
    let invited: Vec<SiteKey> = (0..100).map(stranger).collect();
    let invite = |site: &SiteKey| {
        let commit = seal(draft(&validator, 1, vec![admission(&federation, site)]), 1);
        count(&mut validator, &commit);
        commit
    };
    let invitations: Vec<Commit> = invited.iter().map(invite).collect();
    let write = |site: &SiteKey| {
        let commit = Commit::seal(
            federation::draft(&validator, &site.site_id(), word("here")),
            site,
        )
        .unwrap();
        count(&mut validator, &commit);
        commit
    };
    let words: Vec<Commit> = invited.iter().map(write).collect();
    let proof = proof(
        &invitations[0],
        &twin(&invitations[0], 1, "after the backup"),
    );

    let old = store(&federation);
    old.merge(
        federation
            .commits()
            .iter()
            .chain(&invitations)
            .chain(&words)
            .cloned()
            .collect(),
    )
    .unwrap();
    old.freeze(proof.clone()).unwrap();
    let young = store(&federation);
    young.freeze(proof).unwrap();
    young.merge(federation.commits().to_vec()).unwrap();
    let sites: Vec<SiteId> = invited.iter().map(SiteKey::site_id).collect();
    let testimony = old.testimony_for(&sites, u64::MAX).unwrap();
    young
        .merge(
            testimony
                .iter()
                .map(|bytes| Commit::decode(bytes).unwrap())
                .collect(),
        )
        .unwrap();
    let verdicts = young.merge(words).unwrap();
    assert!(
        verdicts.iter().all(|verdict| *verdict == Verdict::Accepted),
        "{verdicts:?}"
    );
    assert_eq!(summary(&young), summary(&old));
    assert_eq!(summary(&reopened(young)), summary(&reopened(old)));
}

/// Each first commit of a founder founds, however many it signs: only so many are kept, before a
/// restart and after it.
#[test]
fn of_a_founder_who_founds_again_and_again_only_so_much_is_taken() {
    let (federation, validator) = young();
    let (founding, genesis) = (&federation.commits()[0], validator.genesis().unwrap());
    let again = |number: usize| {
        let records = [
            vec![Record::genesis(genesis.clone())],
            word(&number.to_string()),
        ]
        .concat();
        twin_with(founding, FOUNDER, records)
    };
    let store = store(&federation);
    store.freeze(proof(founding, &again(0))).unwrap();
    store
        .merge((0..=TESTIMONY_MAX).map(again).collect())
        .unwrap();
    assert_eq!(store.view().unaccepted(), TESTIMONY_MAX as u64);
    store.seal_index().unwrap();
    let store = reopened(store);
    assert_eq!(store.opened().index, None, "its checkpoint serves");
    store.merge(vec![again(TESTIMONY_MAX + 1)]).unwrap();
    assert_eq!(store.view().unaccepted(), TESTIMONY_MAX as u64);
}

/// What says nothing that is listened to is not taken in, however often it is told.
#[test]
fn testimony_of_nothing_new_is_not_kept() {
    let ForkedAdmission {
        federation,
        admits,
        proof,
        ..
    } = forked_admission();
    let store = store(&federation);
    store.merge(federation.commits().to_vec()).unwrap();
    store.merge(vec![admits.clone()]).unwrap();
    store.freeze(proof).unwrap();
    let outsider = key(OUTSIDER);
    let again = |number: usize| {
        let record = federation::admission(
            federation.id(),
            &outsider.site_id(),
            &format!("again {number}"),
        );
        twin_with(&admits, 1, vec![record])
    };
    for number in 0..READMISSIONS_MAX {
        store.merge(vec![again(number)]).unwrap();
    }
    let before = (store.view().log_end(), store.view().unaccepted());
    for number in [READMISSIONS_MAX, READMISSIONS_MAX, 0] {
        store.merge(vec![again(number)]).unwrap();
    }
    assert_eq!((store.view().log_end(), store.view().unaccepted()), before);
    assert_eq!(
        before.1,
        READMISSIONS_MAX as u64 + 1,
        "what was taken back, and all that repeat it"
    );
}

/// A forker says more than is listened to: what is heard of it hangs on the order, which is that of
/// the log.
#[test]
fn what_is_heard_up_to_the_limit_is_the_same_after_a_restart() {
    let (federation, validator) = young();
    let mut writer = validator.clone();
    let late = stranger(5000);
    let below = seal(draft(&writer, 1, vec![admission(&federation, &late)]), 1);
    count(&mut writer, &below);
    let forked = seal(draft(&writer, 1, word("x")), 1);
    let flood = (0..)
        .take(ADMISSIONS_MAX)
        .map(|number| admission(&federation, &stranger(number)))
        .collect();
    let flood = twin_with(&forked, 1, flood);
    let store = store(&federation);
    store.merge(federation.commits().to_vec()).unwrap();
    store.freeze(proof(&forked, &flood)).unwrap();
    assert_eq!(
        store.merge(vec![flood, below]).unwrap(),
        [Verdict::Testifies, Verdict::Accepted]
    );
    assert!(
        !store.view().members().contains(&late.site_id()),
        "there was no room left"
    );
    let before = summary(&store);
    assert_eq!(store.verify(&mut |_| {}).unwrap().findings, []);
    assert_eq!(summary(&reopened(store)), before);
}

/// Within one merge too, what follows a proof is validated in its light.
#[test]
fn verdicts_after_a_fork_know_of_it() {
    let ForkedAdmission {
        federation,
        admits,
        of_outsider,
        ..
    } = forked_admission();
    let store = store(&federation);
    store.merge(federation.commits().to_vec()).unwrap();
    let verdicts = store
        .merge(vec![
            admits.clone(),
            twin(&admits, 1, "other"),
            of_outsider,
            admits,
        ])
        .unwrap();
    assert!(
        matches!(
            verdicts[..],
            [
                Verdict::Accepted,
                Verdict::Forks(_),
                Verdict::Accepted,
                Verdict::Known
            ]
        ),
        "{verdicts:?}"
    );
    assert_eq!(store.view().unaccepted(), 1);
}

/// What stands of an id with many versions is kept in memory: it is not to outlive the versions
/// that a fork takes back.
#[test]
fn what_stands_of_an_id_with_many_versions_goes_back_with_them() {
    let (federation, mut validator) = young();
    let name = |byte: u8| {
        let target = ArtifactKey::from_bytes([byte; 32]);
        Record::reference(RefAssignment {
            namespace: "user".to_owned(),
            name: "name".to_owned(),
            target,
        })
    };
    let commits: Vec<Commit> = (0..60)
        .map(|byte| {
            let commit = seal(draft(&validator, 1, vec![name(byte)]), 1);
            count(&mut validator, &commit);
            commit
        })
        .collect();
    let store = store(&federation);
    store
        .merge(
            federation
                .commits()
                .iter()
                .chain(&commits)
                .cloned()
                .collect(),
        )
        .unwrap();
    let shown = |store: &Store| {
        let view = store.view();
        view.state()
            .entry(&name(0).id(), view.head())
            .unwrap()
            .unwrap()
            .checksum
            .unwrap()
    };
    let checksum = |byte| name(byte).payload().checksum;
    assert_eq!(shown(&store), checksum(59));
    for last in [40, 20, 2_u8] {
        let forked = &commits[usize::from(last) + 1];
        assert!(
            store
                .freeze(proof(forked, &twin(forked, 1, "other")))
                .unwrap()
        );
        assert_eq!(shown(&store), checksum(last));
        summary(&store);
    }
    store.commit(&key(2), vec![name(99)], 0).unwrap();
    assert_eq!(shown(&store), checksum(99));
    let before = summary(&store);
    assert_eq!(summary(&reopened(store)), before);
}
