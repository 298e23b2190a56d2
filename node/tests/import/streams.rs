//! What real streams become.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use serde_json::Value;
use uor_index_format::edge::Endpoint;
use uor_index_format::id::ArtifactKey;
use uor_index_format::reference::{NAMESPACE_USER, RefAssignment};
use uor_node::site::{ImportOptions, ImportReport, Imported, Site};

use crate::support::{
    Lister, Scratch, assert_listing, bytes_of, expected, import, json_file, stream, tree_of,
};

/// A site for a stream, with those it rests on imported.
fn site_for(scratch: &Scratch, index: &Value, name: &str) -> Site {
    let site = scratch.site(name);
    for base in index[name]["base_chain"].as_array().into_iter().flatten() {
        import(&site, &stream(base.as_str().unwrap()), Some("base")).unwrap();
    }
    site
}

#[test]
fn every_stream_gives_the_listing_of_its_mounted_snapshot() {
    let scratch = Scratch::new("listings");
    let index = json_file("index.json");
    let mut lister = Lister::default();
    for (name, entry) in index
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, entry)| entry["expect"].is_null())
    {
        let site = site_for(&scratch, &index, name);
        let report = import(&site, &stream(name), Some("fs"))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut imported = report.imported.iter();
        for substream in entry["substreams"].as_array().unwrap() {
            let Some(listing) = substream["expect"]
                .as_str()
                .filter(|expect| expect.starts_with("expected/"))
            else {
                continue;
            };
            let one = imported.next().unwrap();
            let found = lister.list(&site, one.tree);
            assert_listing(name, &found, &expected(listing));
            assert_eq!(
                one.files,
                found.iter().filter(|line| line["type"] == "file").count() as u64,
                "{name}"
            );
            assert_identity(one, substream);
            assert!(
                site.ref_target(one.reference.as_ref().unwrap(), &site.head())
                    .unwrap()
                    .is_some()
            );
        }
        assert!(imported.next().is_none(), "{name}");
        drop(site);
        fs::remove_dir_all(scratch.0.join(name)).unwrap();
    }
}

fn assert_identity(imported: &Imported, substream: &Value) {
    let zfs = serde_json::to_value(&imported.zfs).unwrap();
    for (field, of_stream) in [
        ("to_guid", "toguid"),
        ("from_guid", "fromguid"),
        ("to_name", "toname"),
        ("creation", "creation"),
    ] {
        assert_eq!(zfs[field], substream[of_stream]);
    }
}

#[test]
fn an_import_is_shown_by_a_snapshot_that_says_where_it_came_from() {
    let scratch = Scratch::new("snapshot");
    let site = scratch.site("a");
    let first = import(&site, &stream("tiny-full"), Some("tiny"))
        .unwrap()
        .imported
        .remove(0);
    let second = import(&site, &stream("tiny-inc-s1-s2"), Some("tiny"))
        .unwrap()
        .imported
        .remove(0);
    let shown = site.snapshot_show(&second.snapshot_id.to_string()).unwrap();
    assert_eq!(shown.zfs.as_ref(), Some(&second.zfs));
    assert_eq!(
        (shown.tree, shown.predecessor, shown.retained),
        (Some(second.tree), Some(first.snapshot_id), true)
    );
    let at = site.at(Some(&second.snapshot_id.to_string())).unwrap();
    assert!(site.resolve_id(&second.tree.into(), &at).is_ok());
    assert_eq!(
        site.ref_target("tiny", &site.head()).unwrap(),
        Some(second.tree)
    );

    let edges = site
        .edges_of(&Endpoint::Artifact(second.snapshot_id), &site.head())
        .unwrap();
    let ends = |wanted: &str| {
        let edge = edges.iter().find(|edge| edge.edge_type == wanted).unwrap();
        (edge.from.clone(), edge.to.clone())
    };
    let reference = ArtifactKey::from(RefAssignment::id_of(NAMESPACE_USER, "tiny"));
    let all = |keys: &[ArtifactKey]| {
        keys.iter()
            .map(|key| Endpoint::Artifact(*key))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        ends("used"),
        (all(&[first.snapshot_id]), all(&[second.snapshot_id]))
    );
    assert_eq!(
        ends("generated"),
        (all(&[second.snapshot_id]), all(&[second.tree, reference]))
    );
}

#[test]
fn importing_again_changes_nothing() {
    let scratch = Scratch::new("again");
    let site = scratch.site("a");
    for name in ["tiny-full", "tiny-inc-s1-s2", "rep-R"] {
        import(&site, &stream(name), Some(name)).unwrap();
    }
    let before = site.head();
    // The same streams, and others of the same snapshots.
    for (name, reference) in [
        ("tiny-full", "tiny-full"),
        ("tiny-full-Lec", "tiny-full"),
        ("tiny-inc-s1-s2", "tiny-inc-s1-s2"),
        ("rep-R", "rep-R"),
    ] {
        let report = import(&site, &stream(name), Some(reference)).unwrap();
        assert!(
            report
                .imported
                .iter()
                .all(|imported| imported.known && imported.new_bytes == 0),
            "{name}"
        );
        assert_eq!(site.head(), before, "{name}");
    }
    let report = import(&site, &stream("tiny-full"), Some("another")).unwrap();
    assert_eq!(
        site.ref_target("another", &site.head()).unwrap(),
        Some(report.imported[0].tree)
    );
}

#[test]
fn an_increment_writes_what_has_changed() {
    let scratch = Scratch::new("increment");
    let site = scratch.site("a");
    let [first, second] =
        ["r128-full", "r128-inc-s1-s2-c"].map(|name| import(&site, &stream(name), None).unwrap());
    let (first, second) = (first.imported[0].new_bytes, second.imported[0].new_bytes);
    assert!(second < first && second > 0, "{second} of {first}");
    let [second, third] = ["basic-full", "basic-inc-s1-s2"].map(|name| {
        import(&site, &stream(name), None)
            .unwrap()
            .imported
            .remove(0)
    });
    let keys = |key| {
        tree_of(&site, key)
            .entries()
            .iter()
            .map(|entry| entry.kind.clone())
            .map(|kind| format!("{kind:?}"))
            .collect::<BTreeSet<_>>()
    };
    assert!(
        !keys(second.tree).is_disjoint(&keys(third.tree)),
        "unchanged files have one key"
    );
}

#[test]
fn a_package_gives_each_filesystem_a_name_and_leaves_out_volumes() {
    let scratch = Scratch::new("package");
    let site = scratch.site("a");
    let report = import(&site, &stream("rep-R"), Some("backup")).unwrap();
    let names: Vec<_> = report
        .imported
        .iter()
        .map(|imported| imported.reference.as_deref().unwrap())
        .collect();
    assert_eq!(names, ["backup", "backup", "backup/child", "backup/child"]);
    assert_eq!(report.warnings.len(), 2, "{:?}", report.warnings);
    assert!(report.warnings[0].contains("tank/rep/vol@s1"));
    assert_eq!(
        site.ref_target("backup/child", &site.head()).unwrap(),
        Some(report.imported[3].tree)
    );
}

fn import_volumes(site: &Site, name: &str) -> ImportReport {
    let options = ImportOptions {
        reference: Some("vol"),
        volume: true,
    };
    site.import_zfs(&mut stream(name).as_slice(), &options, &mut |_| {})
        .unwrap()
}

#[test]
fn a_volume_is_one_file() {
    let scratch = Scratch::new("volume");
    let site = scratch.site("a");
    let volume = import_volumes(&site, "vol-full").imported.remove(0);
    let bytes = bytes_of(&site, volume.tree, u64::MAX);
    assert_eq!((volume.bytes, bytes.len()), (1 << 20, 1 << 20));
    // It was never written to.
    assert!(bytes.iter().all(|byte| *byte == 0));
    // With --volume, those of a package come too, also as increments.
    let report = import_volumes(&site, "rep-R");
    assert_eq!((report.imported.len(), report.warnings.len()), (6, 0));
    assert_eq!(
        report
            .imported
            .iter()
            .filter(|imported| imported.known)
            .count(),
        1
    );
}

#[test]
fn what_is_imported_comes_out_again_and_gives_the_same_tree_where_it_is_mounted() {
    let scratch = Scratch::new("round");
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    for name in [
        "tiny-full",
        "basic-full",
        "xdir-full",
        "legacy-full",
        "comp-full-ce",
    ] {
        let site = scratch.site(name);
        let imported = import(&site, &stream(name), Some("fs"))
            .unwrap()
            .imported
            .remove(0);
        let out = scratch.0.join(format!("{name}-out"));
        let target = site.resolve("fs", &site.head()).unwrap();
        let written = site
            .materialise(&target, &site.head(), &out, &mut |_, _| {})
            .unwrap();
        assert_eq!(written.files, imported.files);
        // Owners, devices and ACLs are not for everybody, nor for every file system.
        if is_root && written.warnings.is_empty() {
            let mounted = site
                .import_zfs_mounted(&out, &ImportOptions::default(), &mut |_| {})
                .unwrap();
            assert_eq!(mounted.imported[0].tree, imported.tree, "{name}");
            assert_eq!(mounted.imported[0].zfs.to_guid, None);
            assert_eq!(mounted.imported[0].new_bytes, 0, "{name}");
        }
        if name == "basic-full" {
            let inode = |path: &str| fs::symlink_metadata(out.join(path)).unwrap().ino();
            assert_eq!(
                fs::read_link(out.join("link-short")).unwrap().to_str(),
                Some("README.txt")
            );
            assert_eq!(
                fs::metadata(out.join("sparse.bin")).unwrap().len(),
                700 << 20
            );
            assert!(fs::metadata(out.join("sparse.bin")).unwrap().blocks() < 1 << 16);
            assert_eq!(
                fs::metadata(out.join("t-old")).unwrap().mtime(),
                fs_time(&site, imported.tree, b"t-old")
            );
            assert_eq!(fs::metadata(out.join("README.txt")).unwrap().nlink(), 2);
            assert_ne!(inode("README.txt"), inode("tiny.txt"));
        }
        fs::remove_dir_all(&out).unwrap();
    }
}

fn fs_time(site: &Site, tree: ArtifactKey, name: &[u8]) -> i64 {
    tree_of(site, tree)
        .get(name)
        .unwrap()
        .attributes
        .as_ref()
        .unwrap()
        .mtime_s
}
