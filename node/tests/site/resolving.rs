//! What the text of a key or a name stands for.

use super::*;

#[test]
fn ids_prefixes_and_names_are_told_apart() {
    let scratch = Scratch::new("resolve");
    let site = scratch.site("a");
    let added = add_as(&site, &scratch.file("f", b"x"), Some("data/f"));
    let (at, hex) = (site.head(), added.key.to_string());
    for text in [&hex, &hex[..8], &hex[..8].to_uppercase(), "data/f"] {
        assert_eq!(site.resolve(text, &at).unwrap().key(), added.key, "{text}");
    }
    assert!(matches!(
        site.resolve(&hex[..7], &at),
        Err(ResolveError::Short { .. })
    ));
    let unknown = [
        "no/such",
        "",
        "/",
        "0123456789",
        &"0".repeat(64),
        &"0".repeat(65),
    ];
    for text in unknown {
        let error = site.resolve(text, &at).unwrap_err();
        assert!(
            matches!(error, ResolveError::Unknown { .. }),
            "{text}: {error}"
        );
    }
}

#[test]
fn an_ambiguous_prefix_lists_what_it_may_mean() {
    let scratch = Scratch::new("ambiguous");
    let site = scratch.site("a");
    // By the birthday paradox: one payload under many type tags has many keys.
    let mut seen = std::collections::BTreeMap::new();
    let payload = Payload::of(b"x");
    site.store().blocks().put_bytes(b"x").unwrap();
    let pair = (0u32..400_000).find_map(|tag| {
        let record = Record::artifact(Some(tag), payload);
        let prefix = record.id().to_string()[..8].to_owned();
        seen.insert(prefix, record.clone())
            .map(|other| [other, record])
    });
    let pair = pair.expect("among 400,000 ids two share their first 32 bits");
    let ids = pair.each_ref().map(Record::id);
    site.store().commit(site.key(), pair.to_vec(), 0).unwrap();
    let error = site
        .resolve(&ids[0].to_string()[..8], &site.head())
        .unwrap_err();
    assert!(
        matches!(&error, ResolveError::Ambiguous { candidates, more: false, .. } if candidates.len() == 2)
    );
    for id in ids {
        assert!(error.to_string().contains(&id.to_string()), "{error}");
        assert_eq!(site.resolve(&id.to_string(), &site.head()).unwrap().id, id);
    }
    // Once one of them is removed, the prefix means the other.
    site.rm(
        &site.resolve(&ids[0].to_string(), &site.head()).unwrap(),
        &mut |_| {},
    )
    .unwrap();
    assert_eq!(
        site.resolve(&ids[0].to_string()[..8], &site.head())
            .unwrap()
            .id,
        ids[1]
    );
}

#[test]
fn a_wrong_kind_names_both_kinds() {
    let scratch = Scratch::new("kind");
    let site = scratch.site("a");
    let tree = add_as(
        &site,
        scratch.file("in/f", b"x").parent().unwrap(),
        Some("tree"),
    );
    let file = add_as(&site, &scratch.file("g", b"y"), Some("file"));
    let at = site.head();
    let message = |text: &str| {
        let target = site.resolve(text, &at).unwrap();
        [site.open_file(&target).err(), site.list_tree(&target).err()]
            .into_iter()
            .flatten()
            .next()
            .unwrap()
            .to_string()
    };
    assert_eq!(message("tree"), "`tree` is a tree; a file is needed here");
    assert_eq!(message("file"), "`file` is a file; a tree is needed here");
    let run = site
        .run("file", &[], &RunOptions::default(), &mut |_| {})
        .unwrap_err();
    assert_eq!(
        run.to_string(),
        "`file` is a file; a program is needed here"
    );
    let snapshot = site.at(Some("file")).unwrap_err();
    assert!(matches!(
        snapshot,
        SnapshotError::WrongKind {
            found: Sort::File,
            ..
        }
    ));
    let genesis = site.resolve(&site.federation().to_string(), &at).unwrap();
    assert_eq!(genesis.sort, Sort::Genesis);
    assert!(matches!(
        site.rm(&genesis, &mut |_| {}),
        Err(RemoveError::WrongKind { .. })
    ));
    assert!(matches!(
        site.ref_set("x", &genesis),
        Err(RefError::WrongKind { .. })
    ));
    let ends = |from: &str| EdgeDraft {
        edge_type: "t".to_owned(),
        from: vec![from.to_owned()],
        to: vec![tree.key.to_string()],
        ..EdgeDraft::default()
    };
    let edge = site.edge_add(&ends(&file.key.to_string())).unwrap();
    assert!(matches!(
        site.edge_add(&ends(&edge.id.to_string())),
        Err(EdgeError::WrongKind { .. })
    ));
    assert!(
        site.receipt_show(&site.resolve("file", &at).unwrap(), &at)
            .is_err()
    );
}
