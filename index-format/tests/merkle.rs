//! Merkle trees held to RFC 9162 as its text defines them: recursively, by the largest power of two
//! below a list's length. The library goes level by level.

#[path = "rfc9162/mod.rs"]
mod rfc9162;

use proptest::prelude::*;
use uor_index_format::chain::{Chain, History, Peaks};
use uor_index_format::commit::{Commit, Draft, RecordProof, record_leaf};
use uor_index_format::id::{Checksum, CommitHash, FederationState, HistoryRoot, LogSeq, context};
use uor_index_format::key::SiteKey;
use uor_index_format::merkle::{Digest, HISTORY, MerkleTree, ProofError};
use uor_index_format::record::{Payload, Record};

const TREE: &MerkleTree = &HISTORY;

/// The same, from the RFC's text.
fn tree() -> rfc9162::Tree {
    rfc9162::Tree {
        node: context::HISTORY_NODE.text(),
    }
}

fn leaves(count: usize) -> Vec<Digest> {
    (0..count)
        .map(|number| *blake3::hash(&number.to_le_bytes()).as_bytes())
        .collect()
}

/// Every list of up to 70: all shapes of up to seven levels.
const SHAPES: usize = 70;

#[test]
fn roots_are_those_of_the_definition_and_of_a_chain_that_grows() {
    let mut chain = Chain::default();
    for len in 0..SHAPES {
        let leaves = leaves(len);
        let root = tree().root(&leaves);
        assert_eq!(TREE.root(&leaves), root, "of {len}");
        assert_eq!(chain.root(), HistoryRoot::from_bytes(root), "of {len}");
        assert_eq!(chain.history(), History::Root(chain.root()));
        let peaks = chain.peaks().digests().to_vec();
        assert_eq!(peaks.len(), len.count_ones() as usize);
        let one_more = [&peaks[..], &[[0; 32]]].concat();
        assert_eq!(Peaks::from_parts(len as u64, one_more), None);
        assert_eq!(
            Peaks::from_parts(len as u64, peaks).as_ref(),
            Some(chain.peaks())
        );
        let next = blake3::hash(&len.to_le_bytes());
        chain.push(CommitHash::from_bytes(*next.as_bytes()));
    }
}

#[test]
fn inclusion_is_proven_at_every_place_and_at_no_other() {
    for len in 1..SHAPES {
        let leaves = leaves(len);
        let root = TREE.root(&leaves);
        for (index, leaf) in leaves.iter().enumerate() {
            let path = TREE.prove_inclusion(&leaves, index).expect("a leaf");
            assert_eq!(path, tree().path(index, &leaves), "{index} of {len}");
            let verify = |leaf, index: usize, len: usize, path: &[Digest], root| {
                TREE.verify_inclusion(leaf, (index as u64, len as u64), path, root)
            };
            assert_eq!(verify(leaf, index, len, &path, &root), Ok(()));
            for other in (0..len).filter(|other| *other != index) {
                verify(leaf, other, len, &path, &root).expect_err("another place");
                verify(&leaves[other], index, len, &path, &root).expect_err("another leaf");
            }
            verify(leaf, index, len, &path, &[0; 32]).expect_err("another root");
            verify(leaf, len, len, &path, &root).expect_err("no such place");
            let long = [&path[..], &[[0; 32]]].concat();
            let found = long.len();
            assert_eq!(
                verify(leaf, index, len, &long, &root),
                Err(ProofError::Len { found })
            );
            if let Some((_, short)) = path.split_last() {
                let found = short.len();
                assert_eq!(
                    verify(leaf, index, len, short, &root),
                    Err(ProofError::Len { found })
                );
            }
        }
        assert_eq!(TREE.prove_inclusion(&leaves, len), None);
    }
}

#[test]
fn consistency_is_proven_of_every_beginning_and_of_no_other_list() {
    let long = leaves(SHAPES);
    for len in 1..SHAPES {
        let leaves = &long[..len];
        let root = TREE.root(leaves);
        for before in 1..=len {
            let path = TREE.prove_consistency(leaves, before).expect("a beginning");
            assert_eq!(path, tree().proof(before, leaves), "{before} of {len}");
            let root_before = TREE.root(&leaves[..before]);
            let verify = |before: usize, root_before, len: usize, root, path: &[Digest]| {
                TREE.verify_consistency((before as u64, root_before), (len as u64, root), path)
            };
            assert_eq!(verify(before, &root_before, len, &root, &path), Ok(()));
            verify(before, &[0; 32], len, &root, &path).expect_err("another beginning");
            verify(before, &root_before, len, &[0; 32], &path).expect_err("another end");
            for other in (1..=len).filter(|other| *other != before) {
                verify(other, &root_before, len, &root, &path).expect_err("another length");
            }
            let longer = [&path[..], &[[0; 32]]].concat();
            verify(before, &root_before, len, &root, &longer).expect_err("too long");
            if let Some((_, short)) = path.split_last() {
                verify(before, &root_before, len, &root, short).expect_err("too short");
            }
        }
        assert_eq!(TREE.prove_consistency(leaves, 0), Some(Vec::new()));
        let empty = TREE.empty();
        for path in [vec![], vec![[0; 32]]] {
            TREE.verify_consistency((0, &empty), (0, &root), &path)
                .expect_err("two lists of nothing have one root");
        }
        let (nothing, all) = ((0, &empty), (len as u64, &root));
        assert_eq!(TREE.verify_consistency(nothing, all, &[]), Ok(()));
        assert_eq!(
            TREE.verify_consistency((0, &root), all, &[]),
            Err(ProofError::Root)
        );
        assert_eq!(TREE.prove_consistency(leaves, len + 1), None);
        let shrinks = ProofError::Shrinks {
            before: len as u64,
            after: 0,
        };
        assert_eq!(TREE.verify_consistency(all, nothing, &[]), Err(shrinks));
    }
}

/// A list whose beginning was changed cannot be shown to continue the one from before, whatever is
/// said instead of a proof.
#[test]
fn a_history_that_was_rewritten_has_no_proof() {
    for len in 2..SHAPES {
        let honest = leaves(len);
        for before in 1..len {
            let root_before = TREE.root(&honest[..before]);
            let mut rewritten = honest.clone();
            rewritten[before / 2] = [9; 32];
            let root = TREE.root(&rewritten);
            let path = TREE
                .prove_consistency(&rewritten, before)
                .expect("a beginning");
            TREE.verify_consistency((before as u64, &root_before), (len as u64, &root), &path)
                .expect_err("another beginning");
        }
    }
}

proptest! {
    /// What strangers send: any lengths, any digests. Nothing panics, and nothing is proven.
    #[test]
    fn no_made_up_proof_holds(
        lengths in prop::array::uniform2(prop_oneof![0_u64..200, any::<u64>()]),
        path in prop::collection::vec(any::<Digest>(), 0..70),
        root in any::<Digest>(),
        leaf in any::<Digest>(),
    ) {
        let [first, second] = lengths;
        prop_assert!(TREE.verify_inclusion(&leaf, (first, second), &path, &root).is_err());
        prop_assert!(
            TREE.verify_consistency((first, &leaf), (second, &root), &path).is_err()
        );
    }

    /// A bit that is flipped anywhere in a proof is noticed.
    #[test]
    fn no_changed_proof_holds(
        (len, index) in (2_usize..300).prop_flat_map(|len| (Just(len), 0..len)),
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let leaves = leaves(len);
        let root = TREE.root(&leaves);
        let mut path = TREE.prove_inclusion(&leaves, index).expect("a leaf");
        let byte = at.index(path.len() * 32);
        path[byte / 32][byte % 32] ^= 1 << bit;
        let place = (index as u64, len as u64);
        prop_assert_eq!(
            TREE.verify_inclusion(&leaves[index], place, &path, &root),
            Err(ProofError::Root)
        );
        let before = index + 1;
        let mut path = TREE.prove_consistency(&leaves, before).expect("a beginning");
        if !path.is_empty() {
            let byte = at.index(path.len() * 32);
            path[byte / 32][byte % 32] ^= 1 << bit;
            let root_before = TREE.root(&leaves[..before]);
            let (before, after) = ((before as u64, &root_before), (len as u64, &root));
            prop_assert_eq!(
                TREE.verify_consistency(before, after, &path),
                Err(ProofError::Root)
            );
        }
    }
}

/// Commits of as many records as fill a subtree that is made at once, and a few more or less: every
/// record is proven by the path that the RFC's text gives.
#[test]
fn records_are_proven_in_commits_of_any_size() {
    let node = context::RECORDS_NODE.text();
    let key = SiteKey::from_seed(&[7; 32]);
    for count in [1, 2, 63, 64, 65, 255, 256, 257, 511, 512, 513, 1000] {
        let records = (0..count as u64)
            .map(|number| Record::artifact(None, Payload::of(&number.to_le_bytes())))
            .collect();
        let draft = Draft {
            number: 1,
            history: Chain::default().history(),
            logseq: LogSeq(1),
            federation: FederationState::of([]),
            wall_ms: 0,
            learned: Vec::new(),
            records,
        };
        let commit = Commit::seal(draft, &key).expect("a valid draft");
        assert_eq!(Commit::decode(commit.as_bytes()).as_ref(), Ok(&commit));
        let headers: Vec<_> = commit.record_headers().collect();
        let leaves: Vec<_> = headers.iter().map(record_leaf).collect();
        for index in [0, count / 3, count - 1] {
            let proof = commit
                .prove_record(&headers[index].id)
                .expect("it is in it");
            let path = rfc9162::Tree { node }.path(index, &leaves);
            assert_eq!((proof.index as usize, &proof.path), (index, &path));
            let header = commit.header();
            assert_eq!(header.verify_record(&headers[index], &proof), Ok(()));
            let other = &headers[(index + 1) % count];
            if count > 1 {
                header.verify_record(other, &proof).expect_err("another");
            }
            let elsewhere = RecordProof {
                body: Checksum::of(b""),
                ..proof
            };
            header
                .verify_record(&headers[index], &elsewhere)
                .expect_err("another body");
        }
    }
}
