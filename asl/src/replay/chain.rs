//! The chain of a domain: its commits are numbered, name the one before them, and their logseq
//! rises.

use uor_index_format::commit::Commit;
use uor_index_format::id::{CommitHash, LogSeq};

use crate::store::Committed;

/// Where a commit is not the one that belongs at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Break {
    /// It is another commit than the one that was noted when it was taken in.
    #[error("it is commit {number} with hash {hash}, not the one that was taken in")]
    Other {
        /// Its number.
        number: u64,
        /// Its hash.
        hash: CommitHash,
    },
    /// Its number does not follow.
    #[error("it comes after commit {before}")]
    Number {
        /// The number before.
        before: u64,
    },
    /// It names another commit as the one before it.
    #[error("it names {named} as the commit before it; that is {before}")]
    Previous {
        /// The hash it names.
        named: CommitHash,
        /// The hash of the commit before.
        before: CommitHash,
    },
    /// Its logseq does not rise.
    #[error("its logseq {logseq} is not above {before}")]
    LogSeq {
        /// Its logseq.
        logseq: LogSeq,
        /// That of the commit before.
        before: LogSeq,
    },
}

/// Holds a commit against what was noted of it when it was taken in, and of the one before it in
/// its domain: none, if it is the first. Its own signature and checksums were checked when it was
/// decoded. If this holds for every commit of a domain, they are one chain.
///
/// # Errors
/// [`Break`].
pub fn check(commit: &Commit, noted: &Committed, before: Option<&Committed>) -> Result<(), Break> {
    let (header, hash) = (commit.header(), commit.hash());
    if (header.domain, header.number, header.logseq, hash)
        != (noted.domain, noted.number, noted.logseq, noted.hash)
    {
        return Err(Break::Other {
            number: header.number,
            hash,
        });
    }
    let (number, previous, logseq) = before.map_or((0, CommitHash::NONE, LogSeq(0)), |before| {
        (before.number, before.hash, before.logseq)
    });
    if header.number.checked_sub(1) != Some(number) {
        return Err(Break::Number { before: number });
    }
    if header.previous != previous {
        return Err(Break::Previous {
            named: header.previous,
            before: previous,
        });
    }
    if header.logseq <= logseq {
        return Err(Break::LogSeq {
            logseq: header.logseq,
            before: logseq,
        });
    }
    Ok(())
}
