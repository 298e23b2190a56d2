//! The chain of a domain: each commit names all that were before it. A commit of version 2 names
//! them by the root of a Merkle tree over their hashes; one of version 1 names the hash of the
//! last, which names the one before it in turn.
//!
//! Either way nothing before a commit can be another without its hash being another. By a root, a
//! single commit of a long history can be shown besides, and that a later history continues an
//! earlier one: [`HISTORY`].

use std::fmt;

use crate::id::{CommitHash, HistoryRoot};
use crate::merkle::{Digest, HISTORY};

/// What a commit names as that which was before it in its domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum History {
    /// The hash of the commit before; [`CommitHash::NONE`] for the first. Version 1 of the commit
    /// header.
    Previous(CommitHash),
    /// The root over the hashes of all commits before. Version 2.
    Root(HistoryRoot),
}

impl History {
    /// The 32 bytes that stand in a header.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        match self {
            Self::Previous(hash) => hash.as_bytes(),
            Self::Root(root) => root.as_bytes(),
        }
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Previous(hash) => write!(f, "{hash} as the commit before it"),
            Self::Root(root) => write!(f, "{root} as the root over the commits before it"),
        }
    }
}

/// What is kept of a list of commits to name it and what continues it: the roots of the perfect
/// trees that their hashes fill, the largest first. There is one for each bit that is set in the
/// list's length.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peaks {
    len: u64,
    digests: Vec<Digest>,
}

impl Peaks {
    /// The peaks of `len` commits. `None` if there would be more or fewer.
    pub fn from_parts(len: u64, digests: Vec<Digest>) -> Option<Self> {
        (digests.len() == len.count_ones() as usize).then_some(Self { len, digests })
    }

    /// How many commits there are.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The peaks, the largest first.
    pub fn digests(&self) -> &[Digest] {
        &self.digests
    }

    /// Takes in the next commit.
    pub fn push(&mut self, commit: CommitHash) {
        let mut peak = *commit.as_bytes();
        // Each tree that is as large as what is added becomes its left half.
        for _ in 0..self.len.trailing_ones() {
            let left = self.digests.pop().expect("one for each bit of the length");
            peak = HISTORY.node(&left, &peak);
        }
        self.digests.push(peak);
        self.len += 1;
    }

    /// The root over the hashes of all commits.
    pub fn root(&self) -> HistoryRoot {
        let root = match self.digests.split_last() {
            None => HISTORY.empty(),
            Some((last, larger)) => larger
                .iter()
                .rev()
                .fold(*last, |right, left| HISTORY.node(left, &right)),
        };
        HistoryRoot::from_bytes(root)
    }
}

/// The commits of a domain up to one of them, as far as validating and writing the next takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    peaks: Peaks,
    last: CommitHash,
}

impl Default for Chain {
    fn default() -> Self {
        Self {
            peaks: Peaks::default(),
            last: CommitHash::NONE,
        }
    }
}

impl Chain {
    /// The chain whose last commit has this hash, behind those of `before`.
    pub fn ending(mut before: Peaks, last: CommitHash) -> Self {
        before.push(last);
        Self {
            peaks: before,
            last,
        }
    }

    /// How many commits there are, which is the number of the last.
    pub const fn len(&self) -> u64 {
        self.peaks.len
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.peaks.is_empty()
    }

    /// The hash of the last commit; [`CommitHash::NONE`] if there is none.
    pub const fn last(&self) -> CommitHash {
        self.last
    }

    /// The peaks of all commits.
    pub const fn peaks(&self) -> &Peaks {
        &self.peaks
    }

    /// The peaks of all commits, for whoever continues them.
    pub fn into_peaks(self) -> Peaks {
        self.peaks
    }

    /// Takes in the next commit.
    pub fn push(&mut self, commit: CommitHash) {
        self.peaks.push(commit);
        self.last = commit;
    }

    /// The root over the hashes of all commits.
    pub fn root(&self) -> HistoryRoot {
        self.peaks.root()
    }

    /// What the next commit names, as this release writes it.
    pub fn history(&self) -> History {
        History::Root(self.root())
    }

    /// What the next commit names if it does so the way `named` does.
    pub fn history_like(&self, named: &History) -> History {
        match named {
            History::Previous(_) => History::Previous(self.last),
            History::Root(_) => self.history(),
        }
    }
}

impl FromIterator<CommitHash> for Chain {
    fn from_iter<I: IntoIterator<Item = CommitHash>>(commits: I) -> Self {
        let mut chain = Self::default();
        commits.into_iter().for_each(|commit| chain.push(commit));
        chain
    }
}
