//! What is kept between increments: one encoding, held by a vector, and enough to go on from.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may stop")]

mod support;

use support::{Memory, Receiver, hex, read, stream};
use uor_zfs::contents::Stored;
use uor_zfs::state;

#[test]
fn the_state_of_a_snapshot_is_what_it_was() {
    let mut receiver = Receiver::default();
    receiver.receive(&stream("tiny-full")).unwrap();
    let found = receiver.states.values().next().unwrap();
    let path = support::data().join("tiny-s1.state");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    assert_eq!(hex(found), hex(&read("tiny-s1.state")));
}

#[test]
fn a_state_that_was_read_is_written_the_same() {
    for name in [
        "tiny-full",
        "basic-full-c",
        "be-basic-full",
        "espill-full",
        "legacy-full",
        "dn-full",
        "zstd-full-c",
    ] {
        let mut receiver = Receiver::default();
        receiver.receive(&stream(name)).unwrap();
        let (guid, bytes) = receiver.states.iter().next().unwrap();
        let mut memory = Memory::default();
        let (found, set) = state::decode(&mut bytes.as_slice(), &mut memory).unwrap();
        assert_eq!(found, *guid);
        let stored = set
            .objects()
            .filter_map(|(number, object)| Some((number, object.base?)));
        let stored: std::collections::BTreeMap<u64, Stored> = stored.collect();
        let mut again = Vec::new();
        state::encode(found, &set, &stored, &memory, &mut again).unwrap();
        assert!(again == *bytes, "{name}");
    }
}

#[test]
fn a_state_of_a_newer_version_is_refused_by_name() {
    let mut bytes = read("tiny-s1.state");
    bytes[4] = 2;
    let error = state::decode(&mut bytes.as_slice(), &mut Memory::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the state has version 2, this program reads up to 1"
    );
    bytes[0] = 0;
    assert!(matches!(
        state::decode(&mut bytes.as_slice(), &mut Memory::default()),
        Err(state::StateError::Magic)
    ));
}
