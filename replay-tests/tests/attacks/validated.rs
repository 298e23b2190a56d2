//! Members whose commits are well-formed, signed and meant to harm: floods of admissions, forks,
//! clocks, chosen ids.

use std::collections::BTreeSet;
use std::sync::Arc;

use uor_asl::disk::memory::MemoryDisk;
use uor_asl::disk::{Disk, Mode};
use uor_asl::store::Store;
use uor_asl::validator::{ADMISSIONS_MAX, Parked, READMISSIONS_MAX, TESTIMONY_MAX, Verdict};
use uor_index_format::commit::{Commit, LEARNED_MAX};
use uor_index_format::id::{ArtifactKey, CanonicalId, CommitHash, LogSeq, SiteId};
use uor_index_format::key::SiteKey;
use uor_index_format::membership::{ConflictRule, Genesis};
use uor_index_format::receipt::Derivation;
use uor_index_format::record::{Payload, Record};

use crate::forged::{Writer, admission, key_of, name, proof, sorted, twin, word};
use crate::scripted::{World, key, mallory};
use crate::{cost, does_not_grow, is_full, size};

/// The commit that admitted everybody.
fn admitted(world: &World) -> Commit {
    let founder = world.nodes[0].site();
    world.nodes[0]
        .store
        .read_commit(&founder, 2)
        .unwrap()
        .unwrap()
}

fn all_count(store: &Store, commits: Vec<Commit>) {
    let verdicts = store.merge(commits).unwrap();
    assert!(
        verdicts.iter().all(|verdict| *verdict == Verdict::Accepted),
        "{verdicts:?}"
    );
}

/// The commits of a domain that are accepted.
fn count_of(store: &Store, site: &SiteId) -> u64 {
    store
        .view()
        .head()
        .frontier
        .get(site)
        .map_or(0, |head| head.number)
}

/// What node 0 and node 1 have in the end, which is the same.
#[track_caller]
fn agree(world: &mut World, rounds: u64) {
    world.exchanges_max = 1_000_000;
    world.connect(0, 1);
    world.tick(rounds * 100 + 10);
    let stands = |node: usize| {
        let view = world.nodes[node].store.view();
        (
            view.head().clone(),
            view.state().root(),
            view.members().clone(),
        )
    };
    assert_eq!(stands(0), stands(1));
}

/// Bounded: silence. More membership commits than one commit can name: everybody else writes on.
#[test]
fn a_flood_of_membership_commits_stops_no_writer() {
    let mut world = World::new(2);
    let (federation, flood) = (world.federation, LEARNED_MAX as usize + size(4, 4000));
    let accomplices: Vec<SiteKey> = (0..flood.div_ceil(ADMISSIONS_MAX)).map(key_of).collect();
    let mut turned = Writer::new(mallory(), &admitted(&world));
    let lets_in = turned.write(sorted(
        accomplices
            .iter()
            .map(|accomplice| admission(federation, accomplice.site_id()))
            .collect(),
    ));
    all_count(&world.nodes[0].store, vec![lets_in.clone()]);
    for (at, accomplice) in accomplices.into_iter().enumerate() {
        let mut writer = Writer::new(accomplice, &lets_in);
        let sybils = (at * ADMISSIONS_MAX..flood.min((at + 1) * ADMISSIONS_MAX))
            .map(|number| key_of(1_000_000 + number));
        let commits: Vec<Commit> = sybils
            .map(|sybil| writer.write(vec![admission(federation, sybil.site_id())]))
            .collect();
        all_count(&world.nodes[0].store, commits);
    }
    assert!(world.nodes[0].store.view().memberships().len() > flood);
    agree(&mut world, 1);
    // Each writes, and what does not fit into the first commit is in those that follow.
    for (node, site) in [(0, world.nodes[0].site()), (1, world.nodes[1].site())] {
        let before = count_of(&world.nodes[node].store, &site);
        for time in 0..flood / LEARNED_MAX as usize + 1 {
            world.nodes[node].add(format!("still here, {node} {time}").as_bytes());
        }
        let named: usize = (before + 1..=count_of(&world.nodes[node].store, &site))
            .map(|number| {
                world.nodes[node]
                    .store
                    .read_commit(&site, number)
                    .unwrap()
                    .unwrap()
            })
            .inspect(|commit| assert!(commit.learned().len() <= LEARNED_MAX as usize))
            .map(|commit| commit.learned().len())
            .sum();
        assert!(named > flood, "{named} of {flood}");
    }
    agree(&mut world, 2);
}

/// Bounded: members by one member's word, and memory. It admits many times as many as it may, and
/// the same one over and over.
#[test]
fn one_member_admits_so_many_and_no_more() {
    let mut world = World::new(2);
    let (federation, before) = (
        world.federation,
        world.nodes[0].store.view().members().len(),
    );
    let flood = size(3 * ADMISSIONS_MAX, 60_000);
    let mut turned = Writer::new(mallory(), &admitted(&world));
    let sybils = |range: std::ops::Range<usize>| {
        range.map(|number| admission(federation, key_of(number).site_id()))
    };
    for from in (0..flood).step_by(20_000) {
        let commit = turned.write(sorted(sybils(from..flood.min(from + 20_000)).collect()));
        all_count(&world.nodes[0].store, vec![commit]);
    }
    assert_eq!(
        world.nodes[0].store.view().members().len(),
        before + ADMISSIONS_MAX
    );
    let again = world.nodes[0].site();
    let memberships = world.nodes[0].store.view().memberships().len();
    let commits: Vec<Commit> = (0..size(200, 5000))
        .map(|_| turned.write(vec![admission(federation, again)]))
        .collect();
    all_count(&world.nodes[0].store, commits);
    let more = world.nodes[0].store.view().memberships().len() - memberships;
    assert!(
        more <= READMISSIONS_MAX,
        "{more} admissions that change nothing are remembered"
    );
    agree(&mut world, 1);
    world.nodes[1].add(b"and who was let in by others writes on");
    agree(&mut world, 2);
}

/// Bounded: silence. A member jumps the clock as far as it may, again and again; others write above
/// it; then it proves its own fork. What they wrote counts, and comes to somebody who hears of it
/// all only then.
#[test]
fn a_clock_jump_and_a_fork_take_back_nobody_elses_commits() {
    let mut world = World::new(2);
    let jump_max = world.nodes[0]
        .store
        .view()
        .genesis()
        .unwrap()
        .logseq_jump_max;
    let jumps = size(3, 12);
    let mut turned = Writer::new(mallory(), &admitted(&world));
    let jumped: Vec<Commit> = (0..jumps)
        .map(|_| {
            turned.logseq += jump_max - 1;
            let commit = turned.write(vec![word("tick")]);
            all_count(&world.nodes[0].store, vec![commit.clone()]);
            commit
        })
        .collect();
    world.nodes[0].add(b"written under that clock");
    let honest = world.nodes[0].site();
    let (written, logseq) = (
        count_of(&world.nodes[0].store, &honest),
        world.nodes[0].store.view().state().logseq_max(),
    );
    assert!(logseq > LogSeq(jumps as u64 * (jump_max - 1)));
    assert!(
        world.nodes[0]
            .store
            .freeze(proof(&jumped[0], &turned.key))
            .unwrap()
    );
    assert_eq!(count_of(&world.nodes[0].store, &mallory().site_id()), 0);
    assert_eq!(count_of(&world.nodes[0].store, &honest), written);
    // As many rounds as there were jumps, and one.
    agree(&mut world, jumps as u64 + 3);
    assert_eq!(count_of(&world.nodes[1].store, &honest), written);
    world.nodes[1].add(b"and goes on");
    agree(&mut world, 2);
}

/// Bounded: silence. Whom a member admitted writes on when that member proves that it forked the
/// admission.
#[test]
fn an_inviters_fork_silences_no_invitee() {
    let mut world = World::new(2);
    // As many as one member may admit: no more than the testimony that is taken of one forker.
    const { assert!(ADMISSIONS_MAX <= TESTIMONY_MAX) }
    let (federation, invitees) = (world.federation, size(5, ADMISSIONS_MAX));
    let mut turned = Writer::new(mallory(), &admitted(&world));
    let mut admissions = Vec::new();
    for number in 0..invitees {
        let invites = turned.write(vec![admission(federation, key_of(number).site_id())]);
        all_count(&world.nodes[0].store, vec![invites.clone()]);
        let commit = Writer::new(key_of(number), &invites).write(vec![word("I am here")]);
        all_count(&world.nodes[0].store, vec![commit]);
        admissions.push(invites);
    }
    for invites in admissions.iter().rev() {
        assert!(
            world.nodes[0]
                .store
                .freeze(proof(invites, &turned.key))
                .unwrap()
        );
    }
    let heard = |world: &World, node: usize| {
        let store = &world.nodes[node].store;
        (0..invitees)
            .filter(|number| count_of(store, &key_of(*number).site_id()) > 0)
            .count()
    };
    assert_eq!(
        (
            count_of(&world.nodes[0].store, &mallory().site_id()),
            heard(&world, 0)
        ),
        (0, invitees)
    );
    // Node 1 heard of nothing: it gets the proof first, and asks how they became members.
    agree(&mut world, 5);
    assert_eq!(heard(&world, 1), invitees);
    let again = world.nodes[1]
        .store
        .commit(&key_of(0), vec![word("still")], 0)
        .unwrap();
    agree(&mut world, 2);
    assert_eq!(count_of(&world.nodes[0].store, &again.domain), again.number);
}

/// Bounded: silence. The founder signs its first commit a second time, at two sites that have
/// everything.
#[test]
fn a_founder_that_signs_its_first_commit_again_empties_nobodys_log() {
    let mut world = World::new(3);
    let founder = key(1);
    for node in [1, 2] {
        for number in 0..size(3, 50) {
            world.nodes[node].add(format!("{node} {number}").as_bytes());
        }
    }
    world.connect(1, 2);
    world.tick(5);
    let written = |world: &World| {
        let view = world.nodes[1].store.view();
        let heads = view
            .head()
            .frontier
            .iter()
            .filter(|(site, _)| **site != founder.site_id());
        heads
            .map(|(site, head)| (*site, head.number))
            .collect::<Vec<_>>()
    };
    let before = written(&world);
    assert_eq!(before.len(), 2);
    let first = world.nodes[1]
        .store
        .read_commit(&founder.site_id(), 1)
        .unwrap()
        .unwrap();
    let again = twin(&first, &founder, first.records().to_vec());
    assert!(matches!(
        world.nodes[1].store.merge(vec![again]).unwrap()[..],
        [Verdict::Forks(_)]
    ));
    assert_eq!(
        (
            count_of(&world.nodes[1].store, &founder.site_id()),
            written(&world)
        ),
        (0, before.clone())
    );
    world.tick(110);
    assert_eq!(
        world.nodes[2].store.view().forks().len(),
        1,
        "it hears of it"
    );
    world.nodes[2].add(b"they go on");
    world.tick(110);
    assert_eq!(
        written(&world)
            .iter()
            .map(|(_, number)| number)
            .sum::<u64>(),
        before.iter().map(|(_, n)| n).sum::<u64>() + 1
    );
    assert_eq!(
        world.nodes[1].store.view().head(),
        world.nodes[2].store.view().head()
    );
}

/// Bounded: work and disk. A first commit names as many unknown hashes as it can and is sent over
/// and over; what a verdict costs has nothing to do with how long the log is.
#[test]
fn a_first_commit_that_names_thousands_of_hashes_costs_its_length() {
    let world = World::new(1);
    let mut turned = Writer::new(mallory(), &admitted(&world));
    let hash =
        |number: usize| CommitHash::from_bytes(*blake3::hash(&number.to_le_bytes()).as_bytes());
    turned.learned = (0..LEARNED_MAX as usize).map(hash).collect();
    let bogus = turned.write(vec![word("x")]);
    let store = &world.nodes[0].store;
    let verdict = |commits: usize| {
        for number in 0..commits {
            store
                .commit(&key(1), vec![word(&format!("{commits} {number}"))], 0)
                .unwrap();
        }
        let bogus = vec![bogus.clone()];
        cost(|| {
            let verdicts = store.merge(bogus).unwrap();
            assert!(
                matches!(verdicts[..], [Verdict::Parked(Parked::Membership { .. })]),
                "{verdicts:?}"
            );
        })
    };
    let log = size(100, 20_000);
    let (once, twice) = (verdict(log), verdict(log));
    does_not_grow("a verdict", once, twice);
    assert!(
        once <= 64 * bogus.as_bytes().len(),
        "{once} bytes for a commit of {}",
        bogus.as_bytes().len()
    );
    let disk = world.nodes[0].disk.used();
    (0..size(20, 1000)).for_each(|_| drop(store.merge(vec![bogus.clone()]).unwrap()));
    assert_eq!(world.nodes[0].disk.used(), disk, "what waits is not kept");
}

/// Bounded: work. Proofs of ever lower forks of one log: each takes back what lies between it and
/// the one before, and looks at nothing else.
#[test]
fn ever_lower_proofs_cost_what_they_take_back() {
    let commits = size(40, 1000);
    let descend = |log: usize| {
        let world = World::new(1);
        let store = &world.nodes[0].store;
        for number in 0..log {
            store
                .commit(&key(1), vec![word(&format!("honest {number}"))], 0)
                .unwrap();
        }
        let mut turned = Writer::new(mallory(), &admitted(&world));
        let written: Vec<Commit> = (0..commits)
            .map(|number| turned.write(vec![word(&format!("m {number}"))]))
            .collect();
        all_count(store, written.clone());
        let proofs: Vec<_> = written
            .iter()
            .rev()
            .map(|commit| proof(commit, &turned.key))
            .collect();
        let spent = cost(|| {
            proofs
                .into_iter()
                .for_each(|proof| assert!(store.freeze(proof).unwrap()))
        });
        assert_eq!(count_of(store, &mallory().site_id()), 0);
        spent
    };
    let log = size(150, 20_000);
    let (once, twice) = (descend(log), descend(2 * log));
    does_not_grow("all proofs", once, twice);
    assert!(
        once / commits <= 256 << 10,
        "{} bytes for each proof",
        once / commits
    );
}

/// Bounded: disk and members. Beyond its fork a writer can make commits of any number and content,
/// each of which admits somebody.
#[test]
fn testimony_takes_no_more_disk_than_its_bound() {
    let world = World::new(1);
    let (store, federation) = (&world.nodes[0].store, world.federation);
    let mut turned = Writer::new(mallory(), &admitted(&world));
    let first = turned.write(vec![word("x")]);
    assert!(store.freeze(proof(&first, &turned.key)).unwrap());
    let before = store.view().members().len();
    let mut disk = 0;
    for number in 0..size(TESTIMONY_MAX * 3, 5000) {
        let admits = turned.write(vec![admission(federation, key_of(number).site_id())]);
        store.merge(vec![admits]).unwrap();
        if number + 1 == TESTIMONY_MAX {
            disk = world.nodes[0].disk.used();
        }
    }
    assert_eq!(store.view().members().len(), before + ADMISSIONS_MAX);
    assert_eq!(world.nodes[0].disk.used(), disk);
}

/// Bounded: work and memory. Two commits of tombstones about ids that all share their first eight
/// bytes: every pair of them used to be gathered.
#[test]
fn tombstones_of_ids_that_look_alike_cost_what_others_do() {
    let alike = |number: usize| {
        let mut bytes = *blake3::hash(&number.to_le_bytes()).as_bytes();
        bytes[..8].copy_from_slice(&[0x77; 8]);
        Record::tombstone(CanonicalId::from_bytes(bytes))
    };
    let attack = |ids: usize| {
        let world = World::new(1);
        let mut turned = Writer::new(mallory(), &admitted(&world));
        let commits = [0, ids / 2, 0]
            .map(|from| turned.write(sorted((from..from + ids).map(alike).collect())));
        let [one, other, again] = commits;
        all_count(&world.nodes[0].store, vec![one]);
        world.nodes[0].store.seal_index().unwrap();
        let spent = cost(|| all_count(&world.nodes[0].store, vec![other, again]));
        let some = alike(1).id();
        assert!(
            world.nodes[0]
                .store
                .view()
                .state()
                .entry(&some, world.nodes[0].store.view().head())
                .unwrap()
                .is_none()
        );
        spent / ids
    };
    // A commit holds 65,536 records, and has to fit in its length.
    let ids = size(1000, 32_768);
    let (once, twice) = (attack(ids), attack(2 * ids));
    assert!(
        twice <= once + once / 4 + 256,
        "{once} bytes for each id, then {twice}"
    );
    if is_full() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        println!(
            "{}",
            status
                .lines()
                .find(|line| line.starts_with("VmHWM"))
                .unwrap()
        );
    }
}

/// Bounded: work. One name is set, and one result claimed, over and over; a commit costs no more
/// than so many of the versions before it, however many there are, and whichever rule decides.
#[test]
fn an_id_with_very_many_versions_costs_each_commit_the_same() {
    let derivation = |which: u8| Derivation {
        program: ArtifactKey::from_bytes([which; 32]),
        inputs: vec![],
        params: vec![],
        profile: "test/1".to_owned(),
    };
    for rule in [ConflictRule::First, ConflictRule::Quorum] {
        let founder = key(1);
        let (name_of, nonce) = ("one".to_owned(), [7; 16]);
        let genesis = Genesis {
            founder: founder.site_id(),
            name: name_of,
            nonce,
            conflict_rule: rule,
            logseq_jump_max: 1 << 20,
        };
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        Store::create(&disk, genesis.federation_id()).unwrap();
        let store = Store::open(disk, Mode::Write).unwrap();
        let federation = genesis.federation_id();
        store
            .commit(&founder, vec![Record::genesis(genesis)], 0)
            .unwrap();
        store
            .commit(
                &founder,
                vec![admission(federation, mallory().site_id())],
                0,
            )
            .unwrap();
        let mut turned = Writer::new(
            mallory(),
            &store.read_commit(&founder.site_id(), 2).unwrap().unwrap(),
        );
        let mut write = |number: usize| {
            let claim = Record::receipt(derivation(1), Payload::of(&(number % 40).to_le_bytes()));
            turned.write(sorted(vec![
                name("over and over", &word(&number.to_string())),
                claim,
            ]))
        };
        // So many more versions, then what the usual commit costs: now and then one finds something
        // to grow.
        let mut usual_after = |more: usize| {
            for from in (0..more).step_by(500) {
                all_count(
                    &store,
                    (from..more.min(from + 500)).map(&mut write).collect(),
                );
            }
            let honest = Record::receipt(derivation(1), Payload::of(&more.to_le_bytes()));
            store.commit(&founder, vec![honest], 0).unwrap();
            let mut costs: Vec<usize> = (0..41)
                .map(|number| {
                    let commit = write(number);
                    cost(|| all_count(&store, vec![commit]))
                })
                .collect();
            costs.sort_unstable();
            costs[20]
        };
        // Of each of the two ids, no more than 1,024 versions are asked for at once, each of some
        // tens of bytes.
        for more in [size(3000, 50_000); 2] {
            let usual = usual_after(more);
            assert!(usual <= 128 << 10, "a commit under {rule:?}: {usual} bytes");
        }
        let id = derivation(1).receipt_key().into();
        let view = store.view();
        assert!(
            view.state()
                .entry(&id, view.head())
                .unwrap()
                .unwrap()
                .conflict,
            "they do differ"
        );
    }
}

/// Bounded: silence, and questions. Many members fork at once, and different sites hear of
/// different proofs.
#[test]
fn hundreds_of_forked_domains_converge() {
    let mut world = World::new(2);
    let (federation, forked) = (world.federation, size(300, 1000));
    let mut turned = Writer::new(mallory(), &admitted(&world));
    let lets_in = turned.write(sorted(
        (0..forked)
            .map(|number| admission(federation, key_of(number).site_id()))
            .collect(),
    ));
    for node in &world.nodes {
        all_count(&node.store, vec![lets_in.clone()]);
    }
    for number in 0..forked {
        let mut writer = Writer::new(key_of(number), &lets_in);
        let commits = vec![
            writer.write(vec![word("one")]),
            writer.write(vec![word("two")]),
        ];
        let node = &world.nodes[number % 2].store;
        all_count(node, commits.clone());
        assert!(node.freeze(proof(&commits[1], &writer.key)).unwrap());
    }
    agree(&mut world, 3);
    for node in &world.nodes {
        assert_eq!(node.store.view().forks().len(), forked);
        let first: BTreeSet<u64> = (0..forked)
            .map(|number| count_of(&node.store, &key_of(number).site_id()))
            .collect();
        assert_eq!(
            first,
            BTreeSet::from([1]),
            "what lies below the forks stays"
        );
    }
    assert!(
        world.proofs_sent <= 2 * forked,
        "{} proofs were sent",
        world.proofs_sent
    );
}
