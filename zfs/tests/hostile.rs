//! Whatever a stream, a state or a payload is: an answer or an error, soon, and never a panic.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may stop")]

mod support;

use proptest::prelude::*;
use proptest::sample::Index;
use support::{Receiver, seal, stream};
use uor_zfs::decompress::decompress;
use uor_zfs::nvlist;
use uor_zfs::state;

/// Small streams that show all kinds of records and structures, each with the one it rests on.
const STREAMS: [(&str, Option<&str>); 12] = [
    ("tiny-full", None),
    ("tiny-full-Lec", None),
    ("tiny-inc-s1-s2", Some("tiny-full")),
    ("tiny-I-s1-s3", Some("tiny-full")),
    ("espill-full-e", None),
    ("espill-inc-s1-s2-ec", Some("espill-full")),
    ("dn-inc-s1-s2", Some("dn-full")),
    ("xdir-full", None),
    ("rep-p", None),
    ("microzap-full", None),
    ("openzfs-decompress", None),
    ("openzfs-big-endian-all-types-base", None),
];

/// A receiver that does not read long files.
fn receiver(base: Option<&str>) -> Receiver {
    let mut receiver = Receiver {
        len_max: 4 << 20,
        ..Receiver::default()
    };
    if let Some(base) = base {
        receiver.receive(&stream(base)).unwrap();
    }
    receiver
}

#[derive(Debug, Clone)]
enum Change {
    Flip(Index, u8),
    Word(Index, u64),
    Copy(Index, Index, u16),
    Remove(Index, u16),
    Cut(Index),
}

fn change() -> impl Strategy<Value = Change> {
    let word = prop_oneof![
        Just(0),
        Just(u64::MAX),
        Just(u64::MAX - 511),
        Just(1 << 63),
        Just(1 << 48),
        Just(1 << 32),
        Just(0xFFFF_FFF0),
        (0..64_u32).prop_map(|bit| 1 << bit),
        0..300_u64,
        any::<u64>(),
    ];
    prop_oneof![
        4 => (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, 1 << bit)),
        6 => (any::<Index>(), word).prop_map(|(at, word)| Change::Word(at, word)),
        2 => (any::<Index>(), any::<Index>(), 1..2000_u16).prop_map(|(to, from, len)| Change::Copy(to, from, len)),
        1 => (any::<Index>(), 1..2000_u16).prop_map(|(at, len)| Change::Remove(at, len)),
        1 => any::<Index>().prop_map(Change::Cut),
    ]
}

/// Words lie at multiples of 8, as they do in streams.
fn apply(change: &Change, bytes: &mut Vec<u8>) {
    if bytes.len() < 4096 {
        return;
    }
    let end = bytes.len() - 8;
    match change {
        Change::Flip(at, bit) => {
            let at = at.index(bytes.len());
            bytes[at] ^= bit;
        }
        Change::Word(at, word) => {
            let at = at.index(end) / 8 * 8;
            bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        Change::Copy(to, from, len) => {
            let len = usize::from(*len) / 8 * 8;
            let (to, from) = (to.index(end - 2000) / 8 * 8, from.index(end - 2000) / 8 * 8);
            bytes.copy_within(from..from + len, to);
        }
        Change::Remove(at, len) => {
            let at = at.index(end - 2000) / 8 * 8;
            drop(bytes.drain(at..at + usize::from(*len) / 8 * 8));
        }
        Change::Cut(at) => bytes.truncate(at.index(end)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_stream_panics(
        which in 0..STREAMS.len(),
        changes in prop::collection::vec(change(), 1..6),
        is_sealed in prop::bool::weighted(0.8),
    ) {
        let (name, base) = STREAMS[which];
        let mut bytes = stream(name);
        changes.iter().for_each(|change| apply(change, &mut bytes));
        if is_sealed {
            seal(&mut bytes);
        }
        let mut receiver = receiver(base);
        let before = receiver.memory.blocks.len();
        let result = receiver.receive(&bytes);
        // What stands after the last record that was read is not looked at, so some changes do no
        // harm.
        drop(result);
        // Blocks are bounded each, so what a stream makes of itself is.
        prop_assert!(receiver.memory.blocks.len() - before <= (bytes.len() / 312 + 1) * (16 << 20));
    }

    #[test]
    fn any_unsealed_change_of_a_byte_is_found(which in 0..2_usize, at in any::<Index>(), bit in 0..8_u8) {
        let mut bytes = stream(STREAMS[which].0);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(receiver(None).receive(&bytes).is_err());
    }

    #[test]
    fn no_state_panics(changes in prop::collection::vec(change(), 1..4)) {
        let mut receiver = receiver(Some("tiny-full"));
        let mut bytes = receiver.states.values().next().unwrap().clone();
        changes.iter().for_each(|change| apply(change, &mut bytes));
        drop(state::decode(&mut bytes.as_slice(), &mut receiver.memory));
    }

    #[test]
    fn no_payload_panics(method in 0..20_u8, bytes in prop::collection::vec(any::<u8>(), 0..200), len in 0..5000_usize) {
        drop(decompress(method, &bytes, &mut vec![0; len]));
        drop(nvlist::byte_arrays(&bytes));
    }
}

#[test]
fn sealing_changes_nothing_of_a_sound_stream() {
    for (name, _) in STREAMS {
        let bytes = stream(name);
        let mut sealed = bytes.clone();
        seal(&mut sealed);
        assert!(
            sealed == bytes || name == "rep-p" || name == "tiny-I-s1-s3",
            "{name}"
        );
    }
}
