//! Files and trees, in and out.

use super::*;

fn sample(scratch: &Scratch) -> PathBuf {
    scratch.file("in/a.txt", b"alpha");
    scratch.file("in/sub/b.txt", b"beta");
    scratch.file("in/sub/same.txt", b"alpha");
    scratch.file("in/run.sh", b"#!/bin/sh\n");
    fs::set_permissions(scratch.at("in/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(scratch.at("in/empty")).unwrap();
    fs::set_permissions(scratch.at("in/empty"), fs::Permissions::from_mode(0o555)).unwrap();
    symlink("sub/b.txt", scratch.at("in/link")).unwrap();
    scratch.at("in")
}

#[test]
fn a_tree_goes_in_and_comes_out_the_same() {
    let scratch = Scratch::new("tree");
    let site = scratch.site("a");
    let dir = sample(&scratch);
    let added = add_as(&site, &dir, Some("data/sample"));
    assert_eq!((added.kind, added.files, added.bytes), (Sort::Tree, 4, 24));
    assert!(added.new_bytes > 0 && added.skipped.is_empty());
    let at = site.head();
    let target = site.resolve("data/sample", &at).unwrap();
    assert_eq!(
        (target.key(), target.via_ref.as_deref()),
        (added.key, Some("data/sample"))
    );
    let out = scratch.at("out");
    let written = site
        .materialise(&target, &at, &out, &mut |_, _| {})
        .unwrap();
    assert_eq!((written.files, written.bytes), (4, 24));
    let there = |dir: &Path| {
        let strip = |path: String| {
            path.strip_prefix(&dir.display().to_string())
                .unwrap()
                .to_owned()
        };
        listing(dir).into_iter().map(strip).collect::<Vec<_>>()
    };
    assert_eq!(there(&out), there(&dir));
    assert_eq!(
        fs::read_link(out.join("link")).unwrap(),
        Path::new("sub/b.txt")
    );
    assert_eq!(
        fs::metadata(out.join("empty"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o555
    );
    // The same directory has the same key, and adding it again writes nothing.
    let again = add(&site, &out);
    assert_eq!((again.key, again.new_bytes), (added.key, 0));
    assert_eq!(site.head(), at);
    assert!(matches!(
        site.materialise(&target, &at, &out, &mut |_, _| {}),
        Err(ReadError::Exists { .. })
    ));
}

#[test]
fn nobody_else_reads_what_is_not_complete() {
    let scratch = Scratch::new("incomplete");
    let site = scratch.site("a");
    scratch.file("in/private", b"private");
    scratch.file("in/public", &vec![1; 9 << 20]);
    scratch.file("in/sub/public", b"public");
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
    for (name, mode) in [
        ("in/private", 0o600),
        ("in/public", 0o644),
        ("in/sub/public", 0o666),
        ("in/sub", 0o755),
    ] {
        fs::set_permissions(scratch.at(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let file = add(&site, &scratch.at("in/public"));
    let tree = add(&site, &scratch.at("in"));
    let usual = (
        mode(&scratch.file("usual/file", b"")),
        mode(&scratch.at("usual")),
    );
    fs::create_dir(scratch.at("there")).unwrap();
    for (key, out) in [(tree.key, "there/tree"), (file.key, "there/file")] {
        let at = site.head();
        let target = site.resolve(&key.to_string(), &at).unwrap();
        let mut looks = 0;
        let on_progress = &mut |_, _| {
            looks += 1;
            let partial = listing(&scratch.at("there"))
                .into_iter()
                .find(|path| path.contains("partial"))
                .unwrap();
            assert_eq!(mode(Path::new(&partial)) & 0o077, 0, "{partial}");
            // A file that has ended may have its mode: the directory around it is closed.
            assert!(Path::new(&partial).is_dir() || fs::metadata(&partial).unwrap().is_file());
        };
        site.materialise(&target, &at, &scratch.at(out), on_progress)
            .unwrap();
        assert!(looks > 1, "nobody looked");
    }
    assert_eq!(
        (
            mode(&scratch.at("there/file")),
            mode(&scratch.at("there/tree"))
        ),
        usual
    );
    for name in ["private", "public", "sub/public", "sub"] {
        assert_eq!(
            mode(&scratch.at("there/tree").join(name)),
            mode(&scratch.at("in").join(name)),
            "{name}"
        );
    }
}

#[test]
fn what_is_at_the_target_stays() {
    let scratch = Scratch::new("target");
    let site = scratch.site("a");
    let added = add(&site, &scratch.file("f", b"text"));
    let (at, key) = (site.head(), added.key.to_string());
    let get = |path: PathBuf| {
        let target = site.resolve(&key, &at).unwrap();
        site.materialise(&target, &at, &path, &mut |_, _| {})
    };
    scratch.file("there", b"mine");
    fs::create_dir(scratch.at("dir")).unwrap();
    symlink("nowhere", scratch.at("dangling")).unwrap();
    symlink("there", scratch.at("link")).unwrap();
    let before = listing(&scratch.0);
    for taken in ["there", "dir", "dangling", "link"] {
        let error = get(scratch.at(taken)).unwrap_err();
        assert!(
            matches!(&error, ReadError::Exists { path } if *path == scratch.at(taken)),
            "{error}"
        );
    }
    for missing in ["absent", "there"] {
        let error = get(scratch.at(missing).join("out")).unwrap_err();
        assert!(
            matches!(&error, ReadError::NoDirectory { dir, .. } if *dir == scratch.at(missing)),
            "{error}"
        );
    }
    assert_eq!(listing(&scratch.0), before);
    assert_eq!(fs::read(scratch.at("there")).unwrap(), b"mine");
    // A symlink on the way leads where it leads.
    symlink("dir", scratch.at("way")).unwrap();
    get(scratch.at("way/out")).unwrap();
    assert_eq!(fs::read(scratch.at("dir/out")).unwrap(), b"text");
    // What comes to be while it is written is not overwritten either.
    let target = site.resolve(&key, &at).unwrap();
    let late = scratch.at("late");
    let error = site
        .materialise(&target, &at, &late, &mut |_, _| {
            fs::write(&late, b"mine").unwrap()
        })
        .unwrap_err();
    assert!(matches!(error, ReadError::Exists { .. }), "{error}");
    assert_eq!(fs::read(&late).unwrap(), b"mine");
}

#[test]
fn what_was_interrupted_goes_on_where_it_was() {
    let scratch = Scratch::new("interrupted");
    let site = scratch.site("a");
    // More than a commit, and what is looked at ahead of it.
    for number in 0..22_000 {
        scratch.file(
            &format!("in/{number:05}"),
            format!("file {number}").as_bytes(),
        );
    }
    // After the first commit, what comes last goes away.
    let last = scratch.at("in/99999");
    fs::write(&last, b"last").unwrap();
    let mut durable = 0;
    let result = site.add(
        vec![Source::Path(scratch.at("in"))],
        &AddOptions::default(),
        &mut |event| {
            if let AddEvent::Progress(progress) = event {
                durable = durable.max(progress.records_durable);
                if durable > 0 {
                    drop(fs::remove_file(&last));
                }
            }
        },
    );
    assert!(
        matches!(&result, Err(AddError::Read { path, .. }) if *path == last),
        "{result:?}"
    );
    assert_eq!(durable, 16_384);
    fs::write(&last, b"last").unwrap();
    let again = add_as(&site, &scratch.at("in"), Some("in"));
    assert_eq!(again.files, 22_001);
    let commits = site.log(None, Some(1)).unwrap();
    assert!(
        commits[0].records < 7_000,
        "only the rest is written: {} records",
        commits[0].records
    );
    assert_eq!(cat(&site, "in/99999"), b"last");
    assert_eq!(cat(&site, "in/00000"), b"file 0");
}

#[test]
fn a_tree_may_lie_as_deep_as_paths_are_long() {
    let scratch = Scratch::new("d");
    let site = scratch.site("a");
    let mut dir = scratch.at("i");
    let depth = (4_080 - dir.as_os_str().len()) / 2;
    fs::create_dir(&dir).unwrap();
    for _ in 0..depth {
        dir.push("d");
        fs::create_dir(&dir).unwrap();
    }
    let added = add(&site, &scratch.at("i"));
    let at = site.head();
    let target = site.resolve(&added.key.to_string(), &at).unwrap();
    // Where the target's own path is longer the innermost do not fit: that is told, and is no
    // reason to stop.
    let written = site
        .materialise(&target, &at, &scratch.at("o"), &mut |_, _| {})
        .unwrap();
    assert!(
        written
            .warnings
            .iter()
            .all(|warning| warning.starts_with("left out")),
        "{:?}",
        written.warnings
    );
    let removed = site.rm_recursive(&target, false, &mut |_| {}).unwrap();
    assert_eq!(removed.trees, depth as u64 + 1);
    // Deeper than there are files that may be open at a time.
    assert!(
        std::process::Command::new("rm")
            .arg("-rf")
            .arg(&scratch.0)
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn paths_lead_into_trees() {
    let scratch = Scratch::new("paths");
    let site = scratch.site("a");
    let added = add_as(&site, &sample(&scratch), Some("data/sample"));
    let at = site.head();
    assert_eq!(cat(&site, "data/sample/sub/b.txt"), b"beta");
    assert_eq!(
        cat(&site, &format!("{}/a.txt", &added.key.to_string()[..12])),
        b"alpha"
    );
    let names = |text: &str| {
        let listed = site.list_tree(&site.resolve(text, &at).unwrap()).unwrap();
        listed
            .into_iter()
            .map(|entry| entry.name)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names("data/sample"),
        ["a.txt", "empty", "link", "run.sh", "sub"]
    );
    assert_eq!(names("data/sample/sub/"), ["b.txt", "same.txt"]);
    assert!(matches!(
        site.resolve("data/sample/no", &at),
        Err(ResolveError::NoEntry { .. })
    ));
    assert!(matches!(
        site.resolve("data/sample/link", &at),
        Err(ResolveError::Symlink { .. })
    ));
    let through = site.resolve("data/sample/a.txt/x", &at).unwrap_err();
    assert!(
        matches!(
            through,
            ResolveError::NotATree {
                sort: Sort::File,
                ..
            }
        ),
        "{through}"
    );
}

#[test]
fn streams_tags_and_filters() {
    let scratch = Scratch::new("streams");
    let site = scratch.site("a");
    let reader = || Source::Reader {
        label: "-".to_owned(),
        reader: Box::leak(Box::new(&b"piped"[..])),
    };
    let plain = site
        .add(vec![reader()], &AddOptions::default(), &mut |_| {})
        .unwrap()
        .remove(0);
    assert_eq!(
        (plain.path.as_str(), plain.bytes, plain.kind),
        ("-", 5, Sort::File)
    );
    let tagged = AddOptions {
        type_tag: Some(77),
        ..AddOptions::default()
    };
    let tagged = site
        .add(vec![reader()], &tagged, &mut |_| {})
        .unwrap()
        .remove(0);
    assert_ne!(plain.key, tagged.key);
    assert_eq!(
        site.resolve(&tagged.key.to_string(), &site.head())
            .unwrap()
            .type_tag,
        Some(77)
    );
    let reserved = AddOptions {
        type_tag: Some(program::TYPE_TAG),
        ..AddOptions::default()
    };
    assert!(matches!(
        site.add(vec![reader()], &reserved, &mut |_| {}),
        Err(AddError::ReservedTag { .. })
    ));
    let filter = |path: &Path| !path.ends_with("sub");
    let filtered = AddOptions {
        filter: Some(&filter),
        ..AddOptions::default()
    };
    let dir = sample(&scratch);
    let added = site
        .add(vec![Source::Path(dir)], &filtered, &mut |_| {})
        .unwrap()
        .remove(0);
    assert_eq!(added.files, 2);
}

#[test]
fn progress_grows_to_the_total_and_tells_what_is_durable() {
    let scratch = Scratch::new("progress");
    let site = scratch.site("a");
    for number in 0..17_000 {
        scratch.file(
            &format!("in/{number:05}"),
            format!("file {number}").as_bytes(),
        );
    }
    let mut told: Vec<Progress> = Vec::new();
    let added = site
        .add(
            vec![Source::Path(scratch.at("in"))],
            &AddOptions::default(),
            &mut |event| {
                if let AddEvent::Progress(progress) = event {
                    told.push(progress);
                }
            },
        )
        .unwrap();
    assert!(
        told.windows(2)
            .all(|pair| pair[0].bytes <= pair[1].bytes && pair[0].files <= pair[1].files)
    );
    let last = told.last().unwrap();
    assert_eq!(
        (last.files, last.files_total, last.records_durable),
        (17_000, Some(17_000), 17_001)
    );
    assert_eq!(Some(last.bytes), last.bytes_total);
    assert_eq!(added[0].files, 17_000);
    // Two commits beside the genesis: none holds more records than a batch.
    assert_eq!(site.log(None, None).unwrap().len(), 3);
    assert!(
        told.iter()
            .any(|progress| progress.records_durable == 16_384)
    );
}

#[test]
fn a_large_file_streams_and_a_change_costs_its_chunks() {
    let scratch = Scratch::new("large");
    let site = scratch.site("a");
    let mut state = 1u64;
    let mut bytes: Vec<u8> = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33).to_le_bytes()[0]
    })
    .take(24 << 20)
    .collect();
    let first = add(&site, &scratch.file("big", &bytes));
    bytes[12 << 20] ^= 1;
    let second = add(&site, &scratch.file("big", &bytes));
    assert_ne!(first.key, second.key);
    assert!(
        second.new_bytes < 8 << 20,
        "{} of {}",
        second.new_bytes,
        first.new_bytes
    );
    let target = site.resolve(&second.key.to_string(), &site.head()).unwrap();
    site.materialise(&target, &site.head(), &scratch.at("out"), &mut |_, _| {})
        .unwrap();
    assert!(fs::read(scratch.at("out")).unwrap() == bytes);
}

#[test]
fn what_cannot_be_added_is_named_and_nothing_is_written() {
    let scratch = Scratch::new("wrong");
    let site = scratch.site("a");
    let before = site.head();
    let add = |paths: &[PathBuf], reference| {
        let sources = paths.iter().cloned().map(Source::Path).collect();
        site.add(
            sources,
            &AddOptions {
                reference,
                ..AddOptions::default()
            },
            &mut |_| {},
        )
        .unwrap_err()
    };
    let (file, absent) = (scratch.file("f", b"x"), scratch.at("absent"));
    let error = add(&[file.clone(), absent.clone()], None);
    assert!(
        matches!(&error, AddError::Read { path, .. } if *path == absent),
        "{error}"
    );
    let error = add(&[PathBuf::from("/dev/null")], None);
    assert!(matches!(error, AddError::Special { .. }));
    let error = add(&[file.clone(), file.clone()], Some("name"));
    assert!(matches!(error, AddError::NameForMany { sources: 2 }));
    assert!(matches!(add(&[file], Some("deadbeef")), AddError::Name(_)));
    assert_eq!(site.head(), before);
}

#[test]
fn the_own_data_directory_is_not_added_to_itself() {
    let scratch = Scratch::new("own");
    let site = scratch.site("in/data");
    scratch.file("in/f", b"x");
    let _socket = std::os::unix::net::UnixListener::bind(scratch.at("in/socket")).unwrap();
    let added = add(&site, &scratch.at("in"));
    assert_eq!(added.files, 1);
    assert_eq!(
        added.skipped,
        [scratch.at("in/data"), scratch.at("in/socket")].map(|path| path.display().to_string())
    );
}
