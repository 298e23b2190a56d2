//! How a command ends: its exit status, and what it says when it fails.

use std::error::Error;
use std::fmt;

use uor_asl::log::LogError;
use uor_asl::store::StoreError;

/// The exit status of `uor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// The request failed: bad input, not found, refused.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// Done, but something needs attention: a conflict was recorded, a payload is missing.
    Attention = 3,
}

impl Exit {
    /// The number the process exits with.
    pub const fn status(self) -> i32 {
        self as i32
    }
}

/// What an audit found: the exit status of `uor-replay`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
pub enum Verdict {
    /// Everything agrees.
    Agrees = 0,
    /// Something differs or is damaged.
    Diverges = 1,
    /// The audit could not be completed.
    Incomplete = 2,
}

impl Verdict {
    /// The exit status of `uor-replay` after wrong usage.
    pub const USAGE: i32 = 64;

    /// The number the process exits with.
    pub const fn status(self) -> i32 {
        self as i32
    }

    /// The word used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agrees => "agrees",
            Self::Diverges => "diverges",
            Self::Incomplete => "incomplete",
        }
    }

    /// The verdict over both: a proven difference outweighs what could not be looked at.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Diverges, _) | (_, Self::Diverges) => Self::Diverges,
            (Self::Incomplete, _) | (_, Self::Incomplete) => Self::Incomplete,
            _ => Self::Agrees,
        }
    }
}

/// Why a command failed: an error with its causes, the exit status, and what may help.
#[derive(Debug)]
pub struct Failed {
    error: Box<dyn Error + Send + Sync>,
    exit: Exit,
    hint: Option<String>,
}

/// What may help against what is wrong with a store's files.
fn advice(error: &(dyn Error + 'static)) -> Option<&'static str> {
    std::iter::successors(Some(error), |error| (*error).source()).find_map(|error| {
        match (error.downcast_ref::<StoreError>(), error.downcast_ref::<LogError>()) {
            (Some(StoreError::LogCut { .. }), _) => Some(
                "put back the files of `log`; to go on without the missing commits, remove the directory `index` of the \
                 data directory: other members may still have them",
            ),
            (_, Some(LogError::Damaged { .. } | LogError::Missing { .. })) => Some(
                "`uor-replay verify` says what else is damaged; put the file back, or join again as a new site: other \
                 members have what was exchanged",
            ),
            _ => None,
        }
    })
}

/// What a command gives back.
pub type Outcome<T = Exit> = Result<T, Failed>;

impl<E: Error + Send + Sync + 'static> From<E> for Failed {
    fn from(error: E) -> Self {
        let hint = advice(&error).map(str::to_owned);
        Self { error: Box::new(error), exit: Exit::Failed, hint }
    }
}

impl Failed {
    /// A failure in plain words.
    pub fn new(message: impl Into<String>) -> Self {
        Self { error: message.into().into(), exit: Exit::Failed, hint: None }
    }

    /// Arguments that do not go together.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::new(message) }
    }

    /// The same with another exit status.
    #[must_use]
    pub fn exiting(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The exit status.
    pub const fn exit(&self) -> Exit {
        self.exit
    }

    /// The error, for those who can tell what it is.
    pub fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.error
    }
}

impl fmt::Display for Failed {
    /// The error, each cause on a line of its own, then the hint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.error.to_string();
        write!(f, "Error: {said}")?;
        let mut cause = self.error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Some errors quote their cause.
            if !said.ends_with(&text) {
                write!(f, "\n  because {text}")?;
            }
            (said, cause) = (text, error.source());
        }
        self.hint.iter().try_for_each(|hint| write!(f, "\nHint: {hint}"))
    }
}
