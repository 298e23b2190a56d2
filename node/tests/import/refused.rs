//! What leaves nothing behind.

use std::error::Error;
use std::fs;

use uor_index_format::snapshot::Snapshot;
use uor_node::site::{ImportError, ImportOptions, Site};

use crate::support::{Lister, Scratch, assert_listing, expected, import, json_file, read, stream};

/// What a failed import must not change.
#[derive(Debug, PartialEq)]
struct Seen {
    head: Snapshot,
    refs: usize,
    snapshots: usize,
    files: Vec<String>,
}

fn seen(site: &Site) -> Seen {
    #[expect(clippy::disallowed_methods, reason = "sorted right here")]
    let mut files: Vec<_> = fs::read_dir(site.dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    files.sort();
    let head = site.head();
    let refs = site.refs(&head).unwrap().len();
    Seen {
        refs,
        head,
        snapshots: site.snapshots().unwrap().len(),
        files,
    }
}

/// A message with all its causes.
fn whole(error: &dyn Error) -> String {
    error.source().map_or_else(
        || error.to_string(),
        |cause| format!("{error}: {}", whole(cause)),
    )
}

#[test]
fn damaged_and_hostile_streams_come_out_as_wanted_and_leave_nothing() {
    let scratch = Scratch::new("errors");
    let site = scratch.site("a");
    import(&site, &stream("basic-full"), Some("basic")).unwrap();
    let before = seen(&site);
    for (name, entry) in json_file("errors/errors.json").as_object().unwrap() {
        let wanted = entry["expect"].as_str().unwrap();
        if wanted.starts_with("accept") || name == "hostile-zap-chain-loop" {
            let other = scratch.site(name);
            let report = import(&other, &read(&format!("errors/{name}.zsend.gz")), None).unwrap();
            let listing = Lister::default().list(&other, report.imported[0].tree);
            assert_listing(name, &listing, &expected("expected/tiny-s1.jsonl"));
            continue;
        }
        let error = import(
            &site,
            &read(&format!("errors/{name}.zsend.gz")),
            Some("bad"),
        )
        .unwrap_err();
        let words = match wanted {
            "refuse: checksum (or bounds)" => "checksum",
            "refuse: checksum (BEGIN is covered by the next record checksum)" => "checksum",
            "refuse or bound: must not allocate or write 4 EiB of zeros" => {
                "claims 4611686018427387904 bytes"
            }
            _ => wanted
                .strip_prefix("refuse: ")
                .unwrap()
                .split([',', ';'])
                .next()
                .unwrap(),
        };
        assert!(
            whole(&error).contains(words),
            "{name}: wanted `{words}`, got `{}`",
            whole(&error)
        );
        assert_eq!(seen(&site), before, "{name}");
    }
}

#[test]
fn what_is_not_imported_leaves_nothing() {
    let scratch = Scratch::new("unsupported");
    let site = scratch.site("a");
    let before = seen(&site);
    for (name, entry) in json_file("index.json").as_object().unwrap() {
        if !entry["expect"].is_null() || !entry["base_chain"].is_null() {
            import(&site, &stream(name), Some("bad")).unwrap_err();
            assert_eq!(seen(&site), before, "{name}");
        }
    }
}

#[test]
fn a_stream_that_ends_anywhere_leaves_nothing() {
    let scratch = Scratch::new("cut");
    let site = scratch.site("a");
    import(&site, &stream("tiny-full"), None).unwrap();
    let before = seen(&site);
    let bytes = stream("tiny-I-s1-s3");
    for len in (0..bytes.len())
        .step_by(997)
        .chain(bytes.len() - 700..bytes.len())
    {
        let error = import(&site, &bytes[..len], Some("cut")).unwrap_err();
        assert!(whole(&error).contains("truncated"), "{len}: {error}");
        assert_eq!(site.head(), before.head, "{len}");
    }
    assert_eq!(seen(&site), before);
    assert_eq!(
        import(&site, &bytes, Some("whole")).unwrap().imported.len(),
        2
    );
}

#[test]
fn what_a_failed_import_has_stored_is_collected() {
    let scratch = Scratch::new("collected");
    let site = scratch.site("a");
    // The first two snapshots of the package are whole and have been stored when the third is cut.
    let bytes = stream("rep-R");
    import(&site, &bytes[..bytes.len() - 10_000], Some("cut")).unwrap_err();
    let gathered = site.gc(false, &mut |_, _| {}).unwrap();
    assert!(gathered.payloads > 0, "{gathered:?}");
    assert_eq!(site.gc(false, &mut |_, _| {}).unwrap().payloads, 0);
}

#[test]
fn an_increment_says_which_guid_it_needs() {
    let scratch = Scratch::new("base");
    let site = scratch.site("a");
    import(&site, &stream("tiny-full"), None).unwrap();
    let error = import(&site, &stream("tiny-inc-s2-s3"), None).unwrap_err();
    assert!(
        matches!(
            error,
            ImportError::MissingBase {
                from_guid: 0x44bd_6611_f6e6_78e3,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("44bd6611f6e678e3"), "{error}");
}

#[test]
fn names_are_checked_before_anything_is_read() {
    let scratch = Scratch::new("names");
    let site = scratch.site("a");
    let error = import(&site, &[], Some("../x")).unwrap_err();
    assert!(matches!(error, ImportError::Name(_)), "{error}");
    let error = site
        .import_zfs_mounted(
            &scratch.0.join("nowhere"),
            &ImportOptions::default(),
            &mut |_| {},
        )
        .unwrap_err();
    assert!(matches!(error, ImportError::Read { .. }), "{error}");
}
