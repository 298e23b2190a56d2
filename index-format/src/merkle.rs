//! Merkle trees in the shape of RFC 9162, section 2.1, over 32-byte digests: proofs that a digest
//! stands at an index of a list, and that one list continues another, in a number of digests that
//! grows with the logarithm of the list's length.
//!
//! Two things differ from that RFC, and neither changes the shape. Digests are BLAKE3 `derive_key`
//! under contexts that say what a tree is over, so no prefix has to tell a leaf from a node. And
//! what is in the list are digests already, which are leaves as they are.

use crate::id::{Context, context, derive};
use crate::many::derive_many;

/// A leaf, a node or a root.
pub type Digest = [u8; 32];

/// Two digests: one block of BLAKE3.
const NODE_LEN: usize = 64;

/// A kind of tree, which is what its nodes are hashed under.
#[derive(Debug)]
pub struct MerkleTree {
    node: &'static Context,
}

/// Over the hashes of a domain's first commits, by number: [`Chain`](crate::chain::Chain).
pub static HISTORY: MerkleTree = MerkleTree {
    node: &context::HISTORY_NODE,
};
/// Over the records of a commit, ascending by id: [`record_leaf`](crate::commit::record_leaf).
pub static RECORDS: MerkleTree = MerkleTree {
    node: &context::RECORDS_NODE,
};

/// Why a proof shows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// There is no such place in a list of this length.
    #[error("a list of {len} has no place {index}")]
    Index {
        /// The place, from 0.
        index: u64,
        /// The length.
        len: u64,
    },
    /// A list does not continue a longer one.
    #[error("a list of {after} does not continue one of {before}")]
    Shrinks {
        /// Length of the list that is said to be continued.
        before: u64,
        /// Length of the other.
        after: u64,
    },
    /// The proof does not have as many digests as these lengths need.
    #[error("the proof holds {found} digests, which is not what these lengths need")]
    Len {
        /// How many it holds.
        found: usize,
    },
    /// The proof leads to another root.
    #[error("the proof leads to another root")]
    Root,
}

impl MerkleTree {
    /// The root over no leaf: the digest of nothing.
    pub fn empty(&self) -> Digest {
        derive(self.node, &[])
    }

    /// The node over two others.
    pub fn node(&self, left: &Digest, right: &Digest) -> Digest {
        derive(self.node, &[left, right])
    }

    /// The root over `leaves`.
    pub fn root(&self, leaves: &[Digest]) -> Digest {
        let mut level = match leaves {
            [] => return self.empty(),
            [leaf] => return *leaf,
            _ => self.level_above(leaves),
        };
        while level.len() > 1 {
            level = self.level_above(&level);
        }
        level[0]
    }

    /// Each two neighbours joined. What is left over at the end goes up as it is: so the left side
    /// of every node is the largest perfect tree that leaves something for the right.
    fn level_above(&self, level: &[Digest]) -> Vec<Digest> {
        let (pairs, last) = level.as_flattened().as_chunks();
        let mut above = Vec::with_capacity(level.len().div_ceil(2));
        derive_many::<NODE_LEN>(self.node, pairs, &mut above);
        above.extend_from_slice(last.as_chunks().0);
        above
    }

    /// The digests that lead from leaf `index`, from 0, to the root over `leaves`: the sibling at
    /// each level where there is one (RFC 9162, 2.1.3.1). `None` if there is no such leaf.
    pub fn prove_inclusion(&self, leaves: &[Digest], index: usize) -> Option<Vec<Digest>> {
        leaves.get(index)?;
        let (mut path, mut level, mut index) = (Vec::new(), leaves.to_vec(), index);
        while level.len() > 1 {
            path.extend(level.get(index ^ 1));
            level = self.level_above(&level);
            index /= 2;
        }
        Some(path)
    }

    /// The root to which `path` leads from `leaf`, which stands at `index`, from 0, of `len` leaves
    /// (RFC 9162, 2.1.3.2).
    ///
    /// # Errors
    /// [`ProofError`] if there is no such place, or a path from it has another length.
    pub fn root_of_inclusion(
        &self,
        leaf: &Digest,
        (index, len): (u64, u64),
        path: &[Digest],
    ) -> Result<Digest, ProofError> {
        if index >= len {
            return Err(ProofError::Index { index, len });
        }
        let wrong_len = ProofError::Len { found: path.len() };
        let (mut siblings, mut found) = (path.iter(), *leaf);
        // Places of this leaf's node and of the last node, at the level that was reached.
        let (mut at, mut last) = (index, len - 1);
        while last > 0 {
            let is_right = at & 1 == 1;
            if is_right || at < last {
                let sibling = siblings.next().ok_or(wrong_len)?;
                found = if is_right {
                    self.node(sibling, &found)
                } else {
                    self.node(&found, sibling)
                };
            }
            (at, last) = (at / 2, last / 2);
        }
        siblings.next().map_or(Ok(found), |_| Err(wrong_len))
    }

    /// Checks that `leaf` stands at `index`, from 0, of the `len` leaves under `root`.
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn verify_inclusion(
        &self,
        leaf: &Digest,
        (index, len): (u64, u64),
        path: &[Digest],
        root: &Digest,
    ) -> Result<(), ProofError> {
        match self.root_of_inclusion(leaf, (index, len), path)? {
            found if found == *root => Ok(()),
            _ => Err(ProofError::Root),
        }
    }

    /// The digests that show how `leaves` continue their first `len_before` (RFC 9162, 2.1.4.1).
    /// `None` if there are fewer leaves than that. None are needed for no leaf, and for all.
    pub fn prove_consistency(&self, leaves: &[Digest], len_before: usize) -> Option<Vec<Digest>> {
        leaves.get(..len_before)?;
        let mut path = Vec::new();
        if len_before == 0 || len_before == leaves.len() {
            return Some(path);
        }
        // The last leaf of the shorter list, and then its node at each level. Nodes that are whole
        // in both lists need no proof of their own; the first that is not begins the path.
        let (mut level, mut at) = (leaves.to_vec(), len_before - 1);
        while at & 1 == 1 {
            level = self.level_above(&level);
            at /= 2;
        }
        if !len_before.is_power_of_two() {
            path.push(level[at]);
        }
        while level.len() > 1 {
            path.extend(level.get(at ^ 1));
            level = self.level_above(&level);
            at /= 2;
        }
        Some(path)
    }

    /// Checks that the list of the second length and root continues that of the first (RFC 9162,
    /// 2.1.4.2).
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn verify_consistency(
        &self,
        (before, root_before): (u64, &Digest),
        (after, root_after): (u64, &Digest),
        path: &[Digest],
    ) -> Result<(), ProofError> {
        if before > after {
            return Err(ProofError::Shrinks { before, after });
        }
        let wrong_len = ProofError::Len { found: path.len() };
        if before == 0 || before == after {
            let is_right = (before > 0 || *root_before == self.empty())
                && (before < after || root_before == root_after);
            return match path {
                [] if is_right => Ok(()),
                [] => Err(ProofError::Root),
                _ => Err(wrong_len),
            };
        }
        // Places of the shorter list's last node and of the longer one's, at the lowest level where
        // the former is not the right half of a node that both have whole.
        let level = (before - 1).trailing_ones();
        let (mut at, mut last) = ((before - 1) >> level, (after - 1) >> level);
        let mut siblings = path.iter();
        let first = match before.is_power_of_two() {
            true => root_before,
            false => siblings.next().ok_or(wrong_len)?,
        };
        let (mut found_before, mut found_after) = (*first, *first);
        while last > 0 {
            let is_right = at & 1 == 1;
            if is_right || at < last {
                let sibling = siblings.next().ok_or(wrong_len)?;
                if is_right {
                    found_before = self.node(sibling, &found_before);
                    found_after = self.node(sibling, &found_after);
                } else {
                    found_after = self.node(&found_after, sibling);
                }
            }
            (at, last) = (at / 2, last / 2);
        }
        let leads_to_both = found_before == *root_before && found_after == *root_after;
        match siblings.next() {
            Some(_) => Err(wrong_len),
            None if leads_to_both => Ok(()),
            None => Err(ProofError::Root),
        }
    }
}
