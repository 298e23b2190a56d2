//! Damage: bytes that are not what was written. One type for log, pages, blocks and index.

/// Bytes of a file that are not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file} is damaged at offset {offset}: {what} expected {expected}, found {found}")]
pub struct Damage {
    /// The file's path inside the store.
    pub file: String,
    /// Where in the file that begins which did not verify: a page, a frame of the log, a block of a
    /// pack, or the file's header, at 0.
    pub offset: u64,
    /// Which check failed.
    pub what: &'static str,
    /// What should be there: a digest in hex, or words.
    pub expected: String,
    /// What is there.
    pub found: String,
}

/// A check that failed, as a decoder reports it, which sees bytes and not the file they are in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// Which check failed.
    what: &'static str,
    /// What should be there: a digest in hex, or words.
    expected: String,
    /// What is there.
    found: String,
}

impl Mismatch {
    /// That the check `what` expected one thing and found another.
    pub(crate) fn new(
        what: &'static str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        let (expected, found) = (expected.into(), found.into());
        Self {
            what,
            expected,
            found,
        }
    }

    /// As damage of the bytes that begin at `offset` of `file`.
    pub(crate) fn at(self, file: impl Into<String>, offset: u64) -> Damage {
        let Self {
            what,
            expected,
            found,
        } = self;
        Damage {
            file: file.into(),
            offset,
            what,
            expected,
            found,
        }
    }
}
