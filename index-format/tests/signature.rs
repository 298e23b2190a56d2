//! Who said it: signatures of commits, and proofs that a writer contradicted itself.

use uor_index_format::chain::History;
use uor_index_format::codec::from_hex;
use uor_index_format::commit::{Commit, CommitHeader, Draft, ForkProof, field};
use uor_index_format::id::{CommitHash, FederationState, LogSeq, SiteId};
use uor_index_format::key::{SiteKey, verify};
use uor_index_format::record::{Payload, Record};

fn key(seed: u8) -> SiteKey {
    SiteKey::from_seed(&[seed; 32])
}

fn draft(payload: &[u8]) -> Draft {
    Draft {
        number: 3,
        history: History::Previous(CommitHash::from_bytes([8; 32])),
        logseq: LogSeq(11),
        federation: FederationState::of([]),
        wall_ms: 1,
        learned: vec![CommitHash::from_bytes([7; 32])],
        records: vec![
            Record::artifact(None, Payload::of(payload)),
            Record::artifact(Some(1), Payload::of(payload)),
        ],
    }
}

fn header(draft: Draft, seed: u8) -> CommitHeader {
    Commit::seal(draft, &key(seed))
        .expect("a valid draft")
        .header()
        .clone()
}

#[test]
fn any_flipped_bit_is_refused() {
    let bytes = Commit::seal(draft(b"a"), &key(1)).unwrap().encode();
    assert!(Commit::decode(&bytes).is_ok());
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(
            Commit::decode(&flipped).is_err(),
            "bit {bit} does not count"
        );
        let header = &flipped[..CommitHeader::LEN];
        assert_eq!(
            CommitHeader::decode(header).is_ok(),
            bit >= CommitHeader::LEN * 8,
            "bit {bit} of the header"
        );
    }
}

#[test]
fn any_other_length_is_refused() {
    let bytes = Commit::seal(draft(b"a"), &key(1)).unwrap().encode();
    for len in 0..bytes.len() {
        assert!(Commit::decode(&bytes[..len]).is_err(), "cut to {len} bytes");
    }
    assert!(Commit::decode(&[&bytes[..], &[0]].concat()).is_err());
}

#[test]
fn a_domain_has_one_writer() {
    let mut bytes = Commit::seal(draft(b"a"), &key(1)).unwrap().encode();
    let hash = Commit::decode(&bytes).unwrap().hash();
    bytes[field::SIGNATURE].copy_from_slice(&key(2).sign(&hash));
    assert!(Commit::decode(&bytes).is_err(), "signed by another site");
    bytes[field::SIGNATURE].copy_from_slice(&key(1).sign(&hash));
    assert!(Commit::decode(&bytes).is_ok());
    bytes[field::DOMAIN].copy_from_slice(key(2).site_id().as_bytes());
    assert!(Commit::decode(&bytes).is_err(), "claimed by another site");
}

#[test]
fn weak_keys_verify_nothing() {
    // The neutral point and the point of order two: under either, one signature fits every message.
    let neutral = "0100000000000000000000000000000000000000000000000000000000000000";
    let order_two = "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f";
    for point in [neutral, order_two] {
        let point: [u8; 32] = from_hex(point).unwrap().try_into().unwrap();
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&from_hex(neutral).unwrap());
        for message in 0..4 {
            assert!(!verify(
                &SiteId::from_bytes(point),
                &CommitHash::from_bytes([message; 32]),
                &signature
            ));
        }
    }
}

/// Adding the group's order to `s` gives a second signature that lax verifiers accept.
#[test]
fn a_signature_has_one_spelling() {
    let order =
        from_hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
    let hash = CommitHash::from_bytes([1; 32]);
    let mut signature = key(1).sign(&hash);
    assert!(verify(&key(1).site_id(), &hash, &signature));
    let mut carry = 0;
    for (byte, add) in signature[32..].iter_mut().zip(order) {
        let total = u16::from(*byte) + u16::from(add) + carry;
        (*byte, carry) = (total.to_le_bytes()[0], total >> 8);
    }
    assert!(!verify(&key(1).site_id(), &hash, &signature));
}

#[test]
fn only_contradictions_prove_a_fork() {
    let one = header(draft(b"a"), 1);
    let agrees = [
        ("the same commit twice", header(draft(b"a"), 1)),
        (
            "the next commit",
            header(
                Draft {
                    number: 4,
                    ..draft(b"b")
                },
                1,
            ),
        ),
        ("another domain", header(draft(b"b"), 2)),
    ];
    for (what, other) in agrees {
        assert_eq!(ForkProof::new(one.clone(), other.clone()), None, "{what}");
        let (low, high) = if one.hash() < other.hash() {
            (&one, &other)
        } else {
            (&other, &one)
        };
        assert!(
            ForkProof::decode(&[low.encode(), high.encode()].concat()).is_err(),
            "{what}"
        );
    }
    let contradictions = [
        draft(b"b"),
        Draft {
            history: History::Previous(CommitHash::from_bytes([9; 32])),
            ..draft(b"a")
        },
        Draft {
            logseq: LogSeq(12),
            ..draft(b"a")
        },
        Draft {
            wall_ms: 2,
            ..draft(b"a")
        },
        Draft {
            learned: Vec::new(),
            ..draft(b"a")
        },
    ];
    for contradiction in contradictions {
        let other = header(contradiction, 1);
        let proof = ForkProof::new(one.clone(), other.clone()).expect("two commits of one number");
        assert_eq!(
            ForkProof::new(other.clone(), one.clone()),
            Some(proof.clone()),
            "a fork has one proof"
        );
        assert_eq!((proof.domain(), proof.number()), (key(1).site_id(), 3));
        assert!(proof.hashes().is_sorted() && proof.hashes().contains(&other.hash()));
        assert_eq!(ForkProof::decode(&proof.encode()).as_ref(), Ok(&proof));
        let [low, high] = if one.hash() < other.hash() {
            [&one, &other]
        } else {
            [&other, &one]
        };
        assert!(
            ForkProof::decode(&[high.encode(), low.encode()].concat()).is_err(),
            "descending"
        );
    }
}

#[test]
fn a_forged_header_proves_nothing() {
    let proof = ForkProof::new(header(draft(b"a"), 1), header(draft(b"b"), 1))
        .unwrap()
        .encode();
    for bit in 0..proof.len() * 8 {
        let mut forged = proof.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        assert!(
            ForkProof::decode(&forged).is_err(),
            "bit {bit} does not count"
        );
    }
}
