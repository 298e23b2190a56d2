//! Sections 2.1.1, 2.1.3.1 and 2.1.4.1 of RFC 9162 as their text defines them, recursively, but for
//! the hash and for leaves, which are digests already.

#![allow(dead_code, reason = "each test uses some of it")]

use uor_index_format::merkle::Digest;

/// A tree whose nodes are hashed under this context.
pub(crate) struct Tree {
    pub(crate) node: &'static str,
}

/// The largest power of two smaller than `n`.
fn split(n: usize) -> usize {
    1 << (n - 1).ilog2()
}

impl Tree {
    fn node(&self, left: Digest, right: Digest) -> Digest {
        blake3::derive_key(self.node, &[left, right].concat())
    }

    /// MTH(D_n).
    pub(crate) fn root(&self, d: &[Digest]) -> Digest {
        match d {
            [] => blake3::derive_key(self.node, &[]),
            [leaf] => *leaf,
            _ => {
                let k = split(d.len());
                self.node(self.root(&d[..k]), self.root(&d[k..]))
            }
        }
    }

    /// PATH(m, D_n).
    pub(crate) fn path(&self, m: usize, d: &[Digest]) -> Vec<Digest> {
        if d.len() == 1 {
            return Vec::new();
        }
        let k = split(d.len());
        let (mut path, sibling) = if m < k {
            (self.path(m, &d[..k]), self.root(&d[k..]))
        } else {
            (self.path(m - k, &d[k..]), self.root(&d[..k]))
        };
        path.push(sibling);
        path
    }

    /// PROOF(m, D_n).
    pub(crate) fn proof(&self, m: usize, d: &[Digest]) -> Vec<Digest> {
        self.subproof(m, d, true)
    }

    fn subproof(&self, m: usize, d: &[Digest], is_whole: bool) -> Vec<Digest> {
        if m == d.len() {
            return if is_whole {
                Vec::new()
            } else {
                vec![self.root(d)]
            };
        }
        let k = split(d.len());
        let (mut proof, sibling) = if m <= k {
            (self.subproof(m, &d[..k], is_whole), self.root(&d[k..]))
        } else {
            (self.subproof(m - k, &d[k..], false), self.root(&d[..k]))
        };
        proof.push(sibling);
        proof
    }
}
