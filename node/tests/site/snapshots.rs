//! Snapshots.

use super::*;

#[test]
fn a_snapshot_shows_for_ever_what_it_saw() {
    let scratch = Scratch::new("snapshot");
    let site = scratch.site("a");
    add_as(&site, &scratch.file("f", b"one"), Some("f"));
    let root = site.status().unwrap().state_root;
    let created = site.snapshot_create(Some("before")).unwrap();
    assert_eq!((created.state_root, created.logseq_max.0), (root, 2));
    let (at, now) = (site.at(Some("before")).unwrap(), site.at(None).unwrap());
    assert_eq!((at.id(), now), (created.snapshot_id, site.head()));
    assert_eq!(site.at(Some("head")).unwrap(), site.head());
    add_as(&site, &scratch.file("f", b"two"), Some("f"));
    site.rm(&site.resolve("f", &site.head()).unwrap(), &mut |_| {})
        .unwrap();

    let hex = created.snapshot_id.to_string();
    for text in ["before", &hex, &hex[..8]] {
        let shown = site.snapshot_show(text).unwrap();
        assert_eq!(
            (shown.snapshot_id, shown.state_root, shown.entries),
            (created.snapshot_id, root, 3)
        );
        assert_eq!(
            (shown.labels.as_slice(), shown.retained),
            (["before".to_owned()].as_slice(), true)
        );
        assert_eq!(
            (
                shown.applied.len(),
                shown.domains[0].records,
                shown.conflicts
            ),
            (3, 3, 0)
        );
        assert!(
            shown
                .applied
                .is_sorted_by_key(|record| (record.logseq, record.id))
        );
    }
    let target = site
        .resolve("f", &site.at(Some("before")).unwrap())
        .unwrap();
    assert_eq!(site.open_file(&target).unwrap().len, 3);
    assert!(matches!(
        site.at(Some("nothing")),
        Err(SnapshotError::Unknown { .. })
    ));
    assert!(matches!(
        site.snapshot_create(Some("head")),
        Err(SnapshotError::ReservedLabel)
    ));
}

#[test]
fn snapshots_are_listed_kept_and_dropped() {
    let scratch = Scratch::new("kept");
    let site = scratch.site("a");
    let one = site.snapshot_create(Some("one")).unwrap();
    let two = site.snapshot_create(None).unwrap();
    let listed = site.snapshots().unwrap();
    let brief: Vec<_> = listed
        .iter()
        .map(|it| (it.snapshot_id, it.commits, it.retained))
        .collect();
    assert_eq!(
        brief,
        [
            (one.snapshot_id, Some(1), true),
            (two.snapshot_id, Some(2), true)
        ]
    );
    for was_retained in [true, false] {
        let dropped = site.snapshot_drop("one").unwrap();
        assert_eq!(
            (dropped.snapshot_id, dropped.was_retained),
            (one.snapshot_id, was_retained)
        );
    }
    assert!(!site.snapshot_show("one").unwrap().retained);
    assert_eq!(
        site.snapshot_keep(&one.snapshot_id.to_string()).unwrap(),
        one.snapshot_id
    );
    assert!(
        site.snapshots()
            .unwrap()
            .iter()
            .all(|snapshot| snapshot.retained)
    );
}

#[test]
fn a_label_stays_with_what_is_retained_under_it() {
    let scratch = Scratch::new("labelled");
    let site = scratch.site("a");
    let one = site.snapshot_create(Some("s")).unwrap();
    let before = site.head();
    assert!(matches!(
        site.snapshot_create(Some("s")),
        Err(SnapshotError::LabelTaken { label, id }) if label == "s" && id == one.snapshot_id
    ));
    assert_eq!(site.head(), before);
    assert_eq!(site.at(Some("s")).unwrap().id(), one.snapshot_id);
    site.snapshot_drop("s").unwrap();
    let two = site.snapshot_create(Some("s")).unwrap();
    assert_eq!(two.label_was, Some(one.snapshot_id));
    assert_eq!(site.at(Some("s")).unwrap().id(), two.snapshot_id);
}

#[test]
fn what_is_retained_is_read_though_its_record_was_removed() {
    let scratch = Scratch::new("removed");
    let site = scratch.site("a");
    let f = add_as(&site, &scratch.file("f", b"one"), Some("f"));
    let created = site.snapshot_create(Some("before")).unwrap();
    let hex = created.snapshot_id.to_string();
    for key in [f.key.to_string(), hex.clone()] {
        site.rm(&site.resolve(&key, &site.head()).unwrap(), &mut |_| {})
            .unwrap();
    }
    for text in ["before", &hex, &hex[..8]] {
        let shown = site.snapshot_show(text).unwrap();
        assert_eq!(
            (shown.snapshot_id, shown.retained, shown.state_root),
            (created.snapshot_id, true, created.state_root)
        );
        let diff = site.snapshot_diff(text, "head").unwrap();
        assert!(diff.removed.iter().any(|entry| entry.id == f.key.into()));
        assert_eq!(site.snapshot_keep(text).unwrap(), created.snapshot_id);
        let at = site.at(Some(text)).unwrap();
        assert!(site.resolve("f", &at).is_ok());
    }
    assert!(site.snapshot_drop("before").unwrap().was_retained);
    assert!(matches!(
        site.at(Some("before")),
        Err(SnapshotError::Unknown { .. })
    ));
}

#[test]
fn a_diff_names_what_came_went_and_changed() {
    let scratch = Scratch::new("diff");
    let site = scratch.site("a");
    let one = add_as(&site, &scratch.file("one", b"one"), Some("name"));
    site.snapshot_create(Some("a")).unwrap();
    let two = add_as(&site, &scratch.file("two", b"two"), Some("name"));
    site.rm(
        &site.resolve(&one.key.to_string(), &site.head()).unwrap(),
        &mut |_| {},
    )
    .unwrap();
    let diff = site.snapshot_diff("a", "head").unwrap();
    assert_eq!(
        diff.removed
            .iter()
            .map(|entry| entry.id)
            .collect::<Vec<_>>(),
        [one.key.into()]
    );
    assert!(
        diff.added
            .iter()
            .any(|entry| entry.id == two.key.into() && entry.kind == Sort::File)
    );
    assert_eq!(diff.changed.len(), 1);
    assert_eq!(diff.changed[0].after.name.as_deref(), Some("name"));
    let back = site.snapshot_diff("head", "a").unwrap();
    assert_eq!((back.added, back.removed), (diff.removed, diff.added));
    let none = site.snapshot_diff("a", "a").unwrap();
    assert!(none.added.is_empty() && none.removed.is_empty() && none.changed.is_empty());
}

#[test]
fn a_snapshot_of_commits_that_are_not_here_says_which() {
    let scratch = Scratch::new("behind");
    let a = scratch.site("a");
    let b = join(&scratch, &a, "b");
    add(&a, &scratch.file("f", b"x"));
    let created = a.snapshot_create(None).unwrap();
    // The snapshot's artifact comes to `b` by hand, before the commits it speaks of.
    let payload = uor_index_format::snapshot::Snapshot {
        frontier: created.frontier.clone(),
        logseq_max: created.logseq_max,
        origin: None,
    }
    .encode();
    b.store().blocks().put_bytes(&payload).unwrap();
    let record = Record::artifact(
        Some(uor_index_format::snapshot::TYPE_TAG),
        Payload::of(&payload),
    );
    b.store().commit(b.key(), vec![record], 0).unwrap();
    let error = b.at(Some(&created.snapshot_id.to_string())).unwrap_err();
    assert!(
        matches!(error, SnapshotError::Behind { domain, needed: 3, here: 2, .. } if domain == a.site_id()),
        "{error}"
    );
    sync(&a, &b);
    assert_eq!(
        b.at(Some(&created.snapshot_id.to_string())).unwrap().id(),
        created.snapshot_id
    );
}
