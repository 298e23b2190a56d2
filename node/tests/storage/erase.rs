//! Erasing a payload: the bytes go, the record stays, and both are said.

use uor_asl::disk::Mode;
use uor_index_format::reference::{NAMESPACE_USER, RefAssignment};
use uor_node::site::{EraseError, FileError, ReadError, ResolveError, Site};

use crate::support::{Scratch, add, cat, check_sound, noise, remove};

fn erase(site: &Site, text: &str) -> Result<u64, EraseError> {
    site.erase(text, &site.head()).map(|erased| erased.bytes)
}

/// What reading says.
fn refused(site: &Site, text: &str) -> ReadError {
    let target = site.resolve(text, &site.head()).unwrap();
    site.open_payload(&target).map(|_| ()).unwrap_err()
}

#[test]
fn an_erased_payload_is_gone_for_good_and_says_so() {
    let scratch = Scratch::new("erased");
    let site = scratch.site("a");
    let file = add(
        &site,
        &scratch.file("f", b"a secret that nobody compresses"),
    )
    .key
    .to_string();
    let other = add(&site, &scratch.file("g", b"something else"))
        .key
        .to_string();
    let root = site.status().unwrap().state_root;
    assert!(erase(&site, &file).unwrap() > 0);
    let mut site = Some(site);
    for _ in 0..2 {
        let site = site.take().unwrap_or_else(|| scratch.open("a"));
        assert!(
            matches!(refused(&site, &file), ReadError::Erased { .. }),
            "{}",
            refused(&site, &file)
        );
        let verified = check_sound(&site);
        assert_eq!((verified.erased.len(), verified.missing.len()), (1, 0));
        assert_eq!(verified.erased[0].to_string(), file);
        assert_eq!(site.status().unwrap().state_root, root);
        assert_eq!(cat(&site, &other), b"something else");
    }
    let packs = std::fs::read(scratch.at("a/blocks/00000001.pack")).unwrap();
    assert!(
        !packs.windows(8).any(|bytes| bytes == b"a secret"),
        "the bytes are still on the disk"
    );
}

#[test]
fn adding_the_same_bytes_brings_an_erased_payload_back() {
    let scratch = Scratch::new("back");
    let site = scratch.site("a");
    // Old enough to be remembered as unchanged.
    let path = std::path::Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/storage/erase.rs"
    ));
    let file = add(&site, path).key.to_string();
    erase(&site, &file).unwrap();
    let added = add(&site, path);
    assert_eq!(added.key.to_string(), file);
    assert!(added.new_bytes > 0);
    assert_eq!(cat(&site, &file), std::fs::read(path).unwrap());
    drop(site);
    let site = scratch.open("a");
    assert_eq!(check_sound(&site).erased, []);
    assert_eq!(cat(&site, &file), std::fs::read(path).unwrap());
}

#[test]
fn what_other_payloads_need_stays() {
    let scratch = Scratch::new("shared");
    let site = scratch.site("a");
    let mut bytes = noise(1, 12 << 20);
    let one = add(&site, &scratch.file("one", &bytes)).key.to_string();
    bytes[11 << 20] ^= 1;
    let other = add(&site, &scratch.file("other", &bytes)).key.to_string();
    let erased = erase(&site, &one).unwrap();
    assert!(erased > 0 && erased < 9 << 20, "{erased}");
    assert!(cat(&site, &other) == bytes);
    assert!(matches!(refused(&site, &one), ReadError::Erased { .. }));
    check_sound(&site);
    site.gc(false, &mut |_, _| {}).unwrap();
    assert!(cat(&site, &other) == bytes);
    assert!(matches!(refused(&site, &one), ReadError::Erased { .. }));
}

#[test]
fn what_was_removed_can_be_erased_and_twice_is_once() {
    let scratch = Scratch::new("removed");
    let site = scratch.site("a");
    let file = add(&site, &scratch.file("f", b"text")).key.to_string();
    remove(&site, &file);
    assert!(erase(&site, &file).unwrap() > 0);
    assert_eq!(erase(&site, &file).unwrap(), 0);
    check_sound(&site);
}

#[test]
fn what_cannot_be_erased_is_named_and_nothing_is_erased() {
    let scratch = Scratch::new("refused");
    let site = scratch.site("a");
    let file = add(&site, &scratch.file("f", b"text")).key.to_string();
    site.ref_set("name", &site.resolve(&file, &site.head()).unwrap())
        .unwrap();
    let snapshot = site.snapshot_create(None).unwrap().snapshot_id.to_string();
    assert!(matches!(
        erase(&site, &snapshot),
        Err(EraseError::Retained { .. })
    ));
    assert!(matches!(
        erase(&site, &"0".repeat(64)),
        Err(EraseError::Resolve(ResolveError::Unknown { .. }))
    ));
    let name = RefAssignment::id_of(NAMESPACE_USER, "name").to_string();
    assert!(matches!(
        erase(&site, &name),
        Err(EraseError::Read(ReadError::WrongKind { .. }))
    ));
    let reader = Site::open(site.dir(), Mode::ReadOnly).unwrap();
    assert!(matches!(
        erase(&reader, &file),
        Err(EraseError::File(FileError::ReadOnly))
    ));
    assert_eq!(cat(&site, &file), b"text");
    assert_eq!(check_sound(&site).erased, []);
    site.snapshot_drop(&snapshot).unwrap();
    assert!(erase(&site, &snapshot).unwrap() > 0);
    check_sound(&site);
}

#[test]
fn what_is_staged_of_an_erased_payload_goes_at_once() {
    let scratch = Scratch::new("staged");
    let site = scratch.site("a");
    let long = noise(1, 3 << 20);
    let file = add(&site, &scratch.file("f", &long));
    // As much of it as has come from a peer.
    let staged = scratch
        .at("a/staging")
        .join(uor_index_format::id::Checksum::of(&long).to_string());
    for is_erased_already in [false, true] {
        std::fs::create_dir_all(scratch.at("a/staging")).unwrap();
        std::fs::write(&staged, &long[..2 << 20]).unwrap();
        assert_eq!(
            erase(&site, &file.key.to_string()).unwrap() == 0,
            is_erased_already
        );
        assert!(!staged.exists());
    }
}
