//! The chain of a domain: its commits are numbered, name those before them, and their logseq rises.

use uor_index_format::chain::{Chain, History};
use uor_index_format::codec::hex;
use uor_index_format::commit::Commit;
use uor_index_format::id::{CommitHash, HistoryRoot, LogSeq, SiteId};

/// A commit that is durable and visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The domain.
    pub domain: SiteId,
    /// Its number there.
    pub number: u64,
    /// Its hash.
    pub hash: CommitHash,
    /// Its Lamport time.
    pub logseq: LogSeq,
}

impl Committed {
    /// What is noted of a commit.
    pub(crate) fn of(commit: &Commit) -> Self {
        let header = commit.header();
        Self {
            domain: header.domain,
            number: header.number,
            hash: commit.hash(),
            logseq: header.logseq,
        }
    }
}

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
    /// It names other commits as the ones before it.
    #[error("it names {named}; that is {}", hex(.expected.as_bytes()))]
    History {
        /// What it names.
        named: History,
        /// What it would have to name, in the same way.
        expected: History,
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

/// What was noted of the commits before one in its domain.
#[derive(Debug, Clone, Copy)]
pub enum Before {
    /// There are none.
    Nothing,
    /// The last of them, and the root over all.
    Known {
        /// The commit before it.
        last: Committed,
        /// The root over all commits before it.
        history: HistoryRoot,
    },
    /// Some of it could not be read: nothing is held against it.
    Unknown,
}

/// Holds a commit against what was noted of it when it was taken in, and of those before it. Its
/// own signature and digests were checked when it was decoded. If this holds for every commit of a
/// domain, they are one chain.
///
/// # Errors
/// [`Break`].
pub fn check(commit: &Commit, noted: &Committed, before: &Before) -> Result<(), Break> {
    let (header, hash) = (commit.header(), commit.hash());
    if (header.domain, header.number, header.logseq, hash)
        != (noted.domain, noted.number, noted.logseq, noted.hash)
    {
        return Err(Break::Other {
            number: header.number,
            hash,
        });
    }
    let (number, logseq, expected) = match (before, header.history) {
        (Before::Unknown, _) => return Ok(()),
        (Before::Nothing, named) => (0, LogSeq(0), Chain::default().history_like(&named)),
        (Before::Known { last, .. }, History::Previous(_)) => {
            (last.number, last.logseq, History::Previous(last.hash))
        }
        (Before::Known { last, history }, History::Root(_)) => {
            (last.number, last.logseq, History::Root(*history))
        }
    };
    if header.number.checked_sub(1) != Some(number) {
        return Err(Break::Number { before: number });
    }
    if header.history != expected {
        let named = header.history;
        return Err(Break::History { named, expected });
    }
    if header.logseq <= logseq {
        return Err(Break::LogSeq {
            logseq: header.logseq,
            before: logseq,
        });
    }
    Ok(())
}
