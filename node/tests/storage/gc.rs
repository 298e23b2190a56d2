//! What garbage collection frees, and above all what it does not.

use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;

use proptest::prelude::*;
use uor_asl::disk::Mode;
use uor_index_format::id::{Checksum, SnapshotId};
use uor_index_format::receipt::{Derivation, Outcome, Status};
use uor_index_format::record::{Payload, Record};
use uor_index_format::snapshot::Snapshot;
use uor_node::site::{
    AddEvent, AddOptions, FileError, Gathered, GcError, Site, SnapshotError, Source,
};

use crate::support::{Scratch, add, cat, check_readable, check_sound, noise, remove, stored};

fn gc(site: &Site) -> Gathered {
    site.gc(false, &mut |_, _| {}).unwrap()
}

/// Something a person does.
#[derive(Debug, Clone)]
enum Deed {
    Add(u8),
    AddTree(Vec<u8>),
    Remove(prop::sample::Index),
    Snapshot,
    Drop(prop::sample::Index),
    RemoveSnapshot(prop::sample::Index),
    Collect,
    Reopen,
}

fn deed() -> impl Strategy<Value = Deed> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => (0..12_u8).prop_map(Deed::Add),
        1 => prop::collection::vec(0..12_u8, 0..4).prop_map(Deed::AddTree),
        4 => index().prop_map(Deed::Remove),
        2 => Just(Deed::Snapshot),
        1 => index().prop_map(Deed::Drop),
        1 => index().prop_map(Deed::RemoveSnapshot),
        2 => Just(Deed::Collect),
        1 => Just(Deed::Reopen),
    ]
}

/// Some contents are long, and share chunks.
fn content(seed: u8) -> Vec<u8> {
    if seed < 10 {
        return noise(seed.into(), 100 * usize::from(seed));
    }
    let mut bytes = noise(99, 9 << 20);
    bytes[8 << 20] = seed;
    bytes
}

/// A site, and the snapshots that it keeps.
struct Kept {
    site: Option<Site>,
    snapshots: Vec<(SnapshotId, Snapshot)>,
}

impl Kept {
    fn do_one(&mut self, deed: &Deed, scratch: &Scratch) {
        let site = self.site.as_ref().unwrap();
        match deed {
            Deed::Add(seed) => drop(add(site, &scratch.file("f", &content(*seed)))),
            Deed::AddTree(seeds) => {
                let _ = fs::remove_dir_all(scratch.at("tree"));
                fs::create_dir(scratch.at("tree")).unwrap();
                for seed in seeds {
                    scratch.file(&format!("tree/{seed}"), &content(*seed));
                }
                add(site, &scratch.at("tree"));
            }
            Deed::Remove(index) => {
                let view = site.store().view();
                let entries = view
                    .state()
                    .entries(view.head(), &uor_asl::state::Filter::ALL);
                let ids = entries
                    .map(|entry| entry.unwrap())
                    .filter(|entry| entry.checksum.is_some());
                let ids: Vec<String> = ids.map(|entry| entry.id.to_string()).collect();
                drop(view);
                // Genesis and the like cannot be removed.
                if !ids.is_empty() {
                    let target = site
                        .resolve(index.get(ids.as_slice()).as_str(), &site.head())
                        .unwrap();
                    drop(site.rm(&target, &mut |_| {}));
                }
            }
            Deed::Snapshot => {
                let head = site.head();
                let id = site.snapshot_create(None).unwrap().snapshot_id;
                if self.snapshots.iter().all(|(kept, _)| *kept != id) {
                    self.snapshots.push((id, head));
                }
            }
            Deed::Drop(index) if !self.snapshots.is_empty() => {
                let (id, _) = self.snapshots.remove(index.index(self.snapshots.len()));
                assert_eq!(site.snapshot_drop(&id.to_string()).unwrap().snapshot_id, id);
            }
            Deed::RemoveSnapshot(index) if !self.snapshots.is_empty() => {
                let id = index.get(self.snapshots.as_slice()).0.to_string();
                if let Ok(target) = site.resolve(&id, &site.head()) {
                    site.rm(&target, &mut |_| {}).unwrap();
                }
            }
            Deed::Drop(_) | Deed::RemoveSnapshot(_) => {}
            Deed::Collect => self.collect(),
            Deed::Reopen => {
                drop(self.site.take());
                self.site = Some(scratch.open("a"));
            }
        }
    }

    /// Collects, and holds what is there afterwards against what has to be.
    fn collect(&self) {
        let site = self.site.as_ref().unwrap();
        let dry = site.gc(true, &mut |_, _| {}).unwrap();
        let before = stored(site);
        let roots = self.roots();
        let done = gc(site);
        assert_eq!(
            Gathered {
                dry_run: true,
                ..done
            },
            dry
        );
        assert_eq!(self.roots(), roots);
        let mut live: BTreeSet<Checksum> = check_readable(site, &site.head());
        for (id, snapshot) in &self.snapshots {
            live.extend(check_readable(site, snapshot));
            live.insert(Checksum::of(&snapshot.encode()));
            assert!(
                site.snapshots()
                    .unwrap()
                    .iter()
                    .any(|listed| listed.snapshot_id == *id && listed.retained)
            );
        }
        assert_eq!(stored(site), before.intersection(&live).copied().collect());
        assert_eq!(done.payloads, (before.len() - stored(site).len()) as u64);
        check_sound(site);
        assert_eq!(gc(site).payloads, 0, "there is nothing left to free");
    }

    fn roots(&self) -> Vec<String> {
        let view = self.site.as_ref().unwrap().store().view();
        let snapshots = [view.head()]
            .into_iter()
            .chain(self.snapshots.iter().map(|(_, snapshot)| snapshot));
        snapshots
            .map(|snapshot| view.state().root_at(snapshot).unwrap().to_string())
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn everything_that_is_shown_stays_and_nothing_else(deeds in prop::collection::vec(deed(), 0..30)) {
        let scratch = Scratch::new("deeds");
        let mut kept = Kept { site: Some(scratch.site("a")), snapshots: Vec::new() };
        for deed in &deeds {
            kept.do_one(deed, &scratch);
        }
        kept.collect();
    }
}

#[test]
fn what_a_kept_snapshot_shows_stays_until_it_is_dropped() {
    let scratch = Scratch::new("dropped");
    let site = scratch.site("a");
    let file = add(&site, &scratch.file("f", &noise(1, 10_000)))
        .key
        .to_string();
    let snapshot = site
        .snapshot_create(Some("before"))
        .unwrap()
        .snapshot_id
        .to_string();
    remove(&site, &file);
    assert_eq!(gc(&site).payloads, 0);
    let at = site.at(Some("before")).unwrap();
    let target = site.resolve(&file, &at).unwrap();
    assert!(site.open_payload(&target).is_ok());
    site.snapshot_drop(&snapshot).unwrap();
    let dry = site.gc(true, &mut |_, _| {}).unwrap();
    assert_eq!(
        (dry.payloads, dry.snapshots_retained, dry.dry_run),
        (1, 0, true)
    );
    assert!(
        site.open_payload(&target).is_ok(),
        "a dry run frees nothing"
    );
    assert_eq!(gc(&site).payloads, 1);
    assert!(site.open_payload(&target).is_err());
    // The same bytes can be added again.
    assert_eq!(add(&site, &scratch.at("f")).key.to_string(), file);
    assert_eq!(cat(&site, &file), noise(1, 10_000));
}

#[test]
fn freed_packs_leave_the_disk() {
    let scratch = Scratch::new("disk");
    let site = scratch.site("a");
    let bytes = |site: &Site| site.status().unwrap().disk.blocks_bytes;
    let key = add(&site, &scratch.file("big", &noise(1, 300 << 20)))
        .key
        .to_string();
    add(&site, &scratch.file("small", b"small"));
    remove(&site, &key);
    let before = bytes(&site);
    let done = gc(&site);
    assert!(done.bytes_freed > 200 << 20, "{done:?}");
    // The records of what was freed take some.
    assert!(
        bytes(&site) <= before - done.bytes_freed + 65_536,
        "{done:?}, {} of {before}",
        bytes(&site)
    );
    check_sound(&site);
}

#[test]
fn a_snapshot_whose_record_was_removed_stays_kept_and_can_be_dropped() {
    let scratch = Scratch::new("removed");
    let site = scratch.site("a");
    let file = add(&site, &scratch.file("f", b"text")).key.to_string();
    let snapshot = site.snapshot_create(None).unwrap().snapshot_id;
    remove(&site, &file);
    remove(&site, &snapshot.to_string());
    assert_eq!(
        gc(&site),
        Gathered {
            payloads: 0,
            bytes_freed: 0,
            bytes_held: 0,
            packs_rewritten: 0,
            snapshots_retained: 1,
            dry_run: false
        }
    );
    let listed = site.snapshots().unwrap();
    assert!(listed.iter().any(|listed| listed.snapshot_id == snapshot
        && listed.retained
        && listed.logseq_max.is_some()));
    assert!(matches!(
        site.snapshot_drop("00000000"),
        Err(SnapshotError::Unknown { .. })
    ));
    assert_eq!(
        site.snapshot_drop(&snapshot.to_string()[..12])
            .unwrap()
            .snapshot_id,
        snapshot
    );
    assert_eq!(gc(&site).payloads, 2);
}

#[test]
fn nothing_is_collected_while_something_is_added_or_when_it_is_unclear_what_is_kept() {
    let scratch = Scratch::new("busy");
    let site = scratch.site("a");
    let file = add(&site, &scratch.file("f", b"text")).key.to_string();
    remove(&site, &file);
    let before = stored(&site);
    let mut refused = 0;
    let on_event = &mut |_: AddEvent<'_>| {
        refused += u32::from(matches!(site.gc(false, &mut |_, _| {}), Err(GcError::Busy)));
    };
    site.add(
        vec![Source::Path(scratch.file("g", b"text"))],
        &AddOptions::default(),
        on_event,
    )
    .unwrap();
    assert!(refused > 0);
    remove(&site, &file);
    fs::write(site.dir().join("kept"), format!("{}\n", "0".repeat(64))).unwrap();
    let error = site.gc(false, &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, GcError::Retained { .. }), "{error}");
    fs::write(site.dir().join("kept"), "what\n").unwrap();
    assert!(matches!(
        site.gc(false, &mut |_, _| {}),
        Err(GcError::File(FileError::Damaged { .. }))
    ));
    assert_eq!(stored(&site), before);
    let reader = Site::open(site.dir(), Mode::ReadOnly).unwrap();
    assert!(matches!(
        reader.gc(true, &mut |_, _| {}),
        Err(GcError::File(FileError::ReadOnly))
    ));
}

#[test]
fn every_claim_about_a_receipt_stays() {
    let scratch = Scratch::new("claims");
    let site = scratch.site("a");
    let program = add(&site, &scratch.file("f", b"program")).key;
    let derivation = Derivation {
        program,
        inputs: vec![],
        params: vec![],
        profile: "uor.pel/1".to_owned(),
    };
    let mut claims = BTreeSet::new();
    for number in 0..3 {
        let outcome = Outcome {
            status: Status::Ok,
            outputs: vec![(format!("out{number}"), program)],
            trace: vec![],
        };
        let bytes = outcome.encode();
        site.store().blocks().put_bytes(&bytes).unwrap();
        let payload = Payload::of(&bytes);
        site.store()
            .commit(
                site.key(),
                vec![Record::receipt(derivation.clone(), payload)],
                0,
            )
            .unwrap();
        claims.insert(payload.checksum);
    }
    assert_eq!(gc(&site).payloads, 0);
    assert!(claims.is_subset(&stored(&site)));
    remove(&site, &derivation.receipt_key().to_string());
    assert_eq!(gc(&site).payloads, 3);
}

#[test]
fn what_was_freed_or_erased_is_not_wanted_again() {
    let scratch = Scratch::new("unwanted");
    let site = scratch.site("a");
    let [gone, secret] =
        [b"gone", b"aloe"].map(|bytes| add(&site, &scratch.file("f", bytes)).key.to_string());
    remove(&site, &gone);
    assert_eq!(gc(&site).payloads, 1);
    site.erase(&secret, &site.head()).unwrap();
    let mut site = Some(site);
    for _ in 0..2 {
        let site = site.take().unwrap_or_else(|| scratch.open("a"));
        assert_eq!(site.status().unwrap().missing_payloads, 0);
    }
}

#[test]
fn what_arrives_while_garbage_is_collected_stays() {
    let scratch = Scratch::new("arrives");
    let site = scratch.site("a");
    let gone = add(&site, &scratch.file("f", b"text")).key.to_string();
    site.snapshot_create(None).unwrap();
    remove(&site, &gone);
    let kept = [site.head()];
    // A record as if from another site, after the head was validated.
    let mut record = Some(Record::artifact(None, Payload::of(b"text")));
    let on_progress = &mut |done, _| {
        if let Some(record) = record.take_if(|_| done == 1) {
            site.store().commit(site.key(), vec![record], 0).unwrap();
        }
        ControlFlow::Continue(())
    };
    site.store()
        .collect(&kept, &BTreeSet::new(), false, 0, on_progress)
        .unwrap();
    assert!(record.is_none());
    let mut site = Some(site);
    for _ in 0..2 {
        let site = site.take().unwrap_or_else(|| scratch.open("a"));
        assert_eq!(cat(&site, &gone), b"text");
        assert_eq!(site.status().unwrap().missing_payloads, 0);
    }
}

#[test]
fn what_nothing_shows_any_more_is_no_longer_wanted_even_after_a_restart() {
    let scratch = Scratch::new("wanted");
    let site = scratch.site("a");
    let checksum = Checksum::of(b"nobody has this");
    let record = Record::artifact(None, Payload { checksum, len: 15 });
    let id = record.id();
    site.store().commit(site.key(), vec![record], 0).unwrap();
    gc(&site);
    assert!(
        site.store().view().wanted().contains_key(&checksum),
        "what is shown is wanted"
    );
    site.store()
        .commit(site.key(), vec![Record::tombstone(id)], 0)
        .unwrap();
    gc(&site);
    let mut site = Some(site);
    for _ in 0..2 {
        let site = site.take().unwrap_or_else(|| scratch.open("a"));
        assert!(site.store().view().wanted().is_empty());
        assert_eq!(site.status().unwrap().missing_payloads, 0);
    }
}
