//! Collecting garbage: what is named stays, also by what arrives meanwhile, and what nothing names
//! is not waited for.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod federation;
mod observed;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::thread;

use uor_asl::blocks::Collected;
use uor_asl::disk::memory::MemoryDisk;
use uor_asl::disk::{Disk, Mode};
use uor_asl::store::Store;
use uor_index_format::id::Checksum;
use uor_index_format::membership::ConflictRule;
use uor_index_format::record::{Payload, Record};

use federation::{Federation, derivation, key};
use observed::{Deed, Observed};

fn store() -> Store {
    store_on(Arc::new(MemoryDisk::new()))
}

/// A store of a federation in which the sites of all keys may write.
fn store_on(disk: Arc<dyn Disk>) -> Store {
    let federation = Federation::build(ConflictRule::First, &[]);
    Store::create(&disk, federation.id()).unwrap();
    let store = Store::open(disk, Mode::Write).unwrap();
    store.merge(federation.commits().to_vec()).unwrap();
    store
}

fn put(store: &Store, bytes: &[u8]) -> Payload {
    let checksum = store.blocks().put_bytes(bytes).unwrap().checksum;
    Payload {
        checksum,
        len: bytes.len() as u64,
    }
}

fn say(store: &Store, site: usize, records: Vec<Record>) {
    store.commit(&key(site), records, 0).unwrap();
}

/// Lets one store have what another says next of a site's.
fn tell(from: &Store, to: &Store, site: usize, records: Vec<Record>) {
    let said = from.commit(&key(site), records, 0).unwrap();
    to.merge(vec![
        from.read_commit(&said.domain, said.number)
            .unwrap()
            .unwrap(),
    ])
    .unwrap();
}

fn collect(store: &Store, dry_run: bool, mut at_the_end: impl FnMut()) -> Collected {
    let progress = &mut |at, of| {
        if at == of {
            at_the_end();
        }
        ControlFlow::Continue(())
    };
    store
        .collect(&[], &BTreeSet::new(), dry_run, 0, progress)
        .unwrap()
}

fn shadow(payload: Payload) -> Record {
    Record::tombstone(Record::artifact(None, payload).id())
}

#[test]
fn what_a_commit_names_that_arrives_meanwhile_stays() {
    let (one, two) = (store(), store());
    let [dead, again, absent] =
        [b"dead".as_slice(), b"named again", b"elsewhere"].map(|bytes| put(&one, bytes));
    for payload in [dead, again, absent] {
        say(&one, 0, vec![Record::artifact(None, payload)]);
        say(&one, 0, vec![shadow(payload)]);
    }
    one.blocks().erase(absent.checksum).unwrap();
    let collected = collect(&one, false, || {
        for (type_tag, payload) in [(1, again), (2, Payload::of(b"never here"))] {
            tell(
                &two,
                &one,
                1,
                vec![Record::artifact(Some(type_tag), payload)],
            );
        }
    });
    assert_eq!(collected.payloads, 1);
    assert!(!one.blocks().has(dead.checksum) && one.blocks().has(again.checksum));
    let wanted: Vec<Checksum> = one.view().wanted().keys().copied().collect();
    assert_eq!(wanted, [Checksum::of(b"never here")]);
}

#[test]
fn what_is_freed_while_a_commit_names_it_is_wanted_again() {
    let slot: Arc<Mutex<Option<Arc<Store>>>> = Arc::default();
    let dead = Payload::of(b"dead, and named a moment too late");
    let (two, collecting) = (store(), slot.clone());
    // The packs are read once it is known what goes; whoever collects holds no lock then that a
    // writer needs.
    let hook = move |deed: Deed, path: &str| {
        if deed == Deed::Read && path.ends_with(".pack") {
            let taken = collecting.lock().unwrap().take();
            if let Some(one) = taken {
                let name = || {
                    for len in [dead.len, 1] {
                        let record = Record::artifact(
                            Some(u32::try_from(len).unwrap()),
                            Payload { len, ..dead },
                        );
                        tell(&two, &one, 1, vec![record]);
                    }
                };
                thread::scope(|scope| scope.spawn(name).join().unwrap());
                assert!(one.view().wanted().is_empty(), "it is still here");
            }
        }
    };
    let one = Arc::new(store_on(Arc::new(Observed::doing(
        &MemoryDisk::new(),
        hook,
    ))));
    put(&one, b"dead, and named a moment too late");
    let collected = collect(&one, false, || *slot.lock().unwrap() = Some(one.clone()));
    assert_eq!(collected.payloads, 1);
    assert!(slot.lock().unwrap().is_none(), "it was named meanwhile");
    assert!(!one.blocks().has(dead.checksum));
    assert_eq!(
        one.view().wanted().iter().collect::<Vec<_>>(),
        [(&dead.checksum, &dead.len)]
    );
}

#[test]
fn every_claim_of_a_receipt_keeps_its_outcome_and_a_dry_run_everything() {
    let store = store();
    let claims = [b"one outcome".as_slice(), b"another"].map(|bytes| put(&store, bytes));
    for (site, claim) in claims.into_iter().enumerate() {
        say(&store, site, vec![Record::receipt(derivation(0), claim)]);
    }
    let dead = put(&store, b"nothing names it");
    for dry_run in [true, false] {
        assert_eq!(
            collect(&store, dry_run, || {}).payloads,
            1,
            "dry: {dry_run}"
        );
        assert!(
            claims
                .iter()
                .all(|claim| store.blocks().has(claim.checksum))
        );
        assert_eq!(store.blocks().has(dead.checksum), dry_run);
    }
}

#[test]
fn what_nothing_names_is_not_waited_for_and_a_short_claim_of_length_bounds_nothing() {
    let (one, two) = (store(), store());
    let [gone, stays] = [b"gone".as_slice(), b"stays"].map(Payload::of);
    for payload in [gone, stays, Payload { len: 1, ..stays }] {
        tell(
            &two,
            &one,
            1,
            vec![Record::artifact(
                Some(u32::try_from(payload.len).unwrap()),
                payload,
            )],
        );
    }
    assert_eq!(one.view().wanted().len(), 2);
    assert_eq!(one.view().wanted()[&stays.checksum], stays.len);
    say(
        &one,
        0,
        vec![Record::tombstone(Record::artifact(Some(4), gone).id())],
    );
    collect(&one, true, || {});
    assert_eq!(one.view().wanted().len(), 2, "nothing is done yet");
    collect(&one, false, || {});
    assert_eq!(
        one.view().wanted().keys().collect::<Vec<_>>(),
        [&stays.checksum]
    );
    assert_eq!(one.view().wanted()[&stays.checksum], stays.len);
}
