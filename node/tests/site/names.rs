//! Names, and removing.

use super::*;

#[test]
fn refs_move_and_tombstones_shadow_but_older_snapshots_still_see() {
    let scratch = Scratch::new("refs");
    let site = scratch.site("a");
    let one = add_as(&site, &scratch.file("f", b"one"), Some("data/f"));
    let before = site.head();
    let two = add(&site, &scratch.file("f", b"two"));
    let target = site.resolve(&two.key.to_string(), &site.head()).unwrap();
    let set = site.ref_set("data/f", &target).unwrap();
    assert_eq!((set.previous, set.key), (Some(one.key), two.key));
    assert_eq!(site.ref_target("data/f", &before).unwrap(), Some(one.key));
    assert_eq!(site.refs(&site.head()).unwrap()[0].key, two.key);
    assert!(matches!(
        site.ref_set("a//b", &target),
        Err(RefError::Name(_))
    ));

    // By name, the ref goes; by key, what it pointed at.
    let removed = site
        .rm(&site.resolve("data/f", &site.head()).unwrap(), &mut |_| {})
        .unwrap();
    assert_eq!(removed.kind, Sort::Ref);
    assert!(site.refs(&site.head()).unwrap().is_empty());
    assert_eq!(cat(&site, &two.key.to_string()), b"two");
    site.rm(
        &site.resolve(&two.key.to_string(), &site.head()).unwrap(),
        &mut |_| {},
    )
    .unwrap();
    let gone = site
        .resolve(&two.key.to_string(), &site.head())
        .unwrap_err();
    assert!(matches!(gone, ResolveError::Removed { .. }), "{gone}");
    assert!(matches!(
        site.resolve(&two.key.to_string(), &before),
        Err(ResolveError::Later { .. })
    ));
    assert_eq!(site.resolve("data/f", &before).unwrap().key(), one.key);
    // Adding it again makes it visible again.
    assert_eq!(add(&site, &scratch.at("f")).key, two.key);
    assert_eq!(cat(&site, &two.key.to_string()), b"two");
}

#[test]
fn a_name_of_something_removed_says_so() {
    let scratch = Scratch::new("dangling");
    let site = scratch.site("a");
    let added = add_as(&site, &scratch.file("f", b"x"), Some("name"));
    site.rm(
        &site.resolve(&added.key.to_string(), &site.head()).unwrap(),
        &mut |_| {},
    )
    .unwrap();
    let error = site.resolve("name", &site.head()).unwrap_err();
    assert!(matches!(error, ResolveError::Dangling { .. }), "{error}");
    assert_eq!(site.refs(&site.head()).unwrap()[0].kind, None);
}

#[test]
fn a_payload_that_has_not_arrived_is_told_from_one_that_is_unknown() {
    let scratch = Scratch::new("missing");
    let a = scratch.site("a");
    let b = join(&scratch, &a, "b");
    add_as(
        &a,
        scratch.file("in/f", b"bytes").parent().unwrap(),
        Some("data"),
    );
    sync_records(&a, &b);
    let at = b.head();
    let target = b.resolve("data", &at).unwrap();
    let error = b
        .materialise(&target, &at, &scratch.at("out"), &mut |_, _| {})
        .unwrap_err();
    assert!(error.is_missing_payload(), "{error}");
    assert!(!scratch.at("out").exists());
    let before = b.status().unwrap().missing_payloads;
    assert!(before > 0);
    // Adding the same bytes here supplies what was missing.
    add(&b, &scratch.at("in"));
    assert_eq!(b.status().unwrap().missing_payloads, 0);
    assert_eq!(b.head(), at);
    assert_eq!(cat(&b, "data/f"), b"bytes");
}
