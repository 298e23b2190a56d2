//! How a command ends: its exit status, and what it says when it fails.

use std::error::Error;
use std::fmt;

use serde::Serialize;
use uor_node::audit::Verdict;
use uor_node::control::STATUS_CANCELLED;

use crate::code::Code;
use crate::hint::{Advice, advise};
use crate::render::{plain, plain_json};

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
    /// Interrupted by a signal: nothing was committed after it.
    Interrupted = STATUS_CANCELLED,
}

impl Exit {
    /// The number the process exits with.
    pub const fn status(self) -> i32 {
        self as i32
    }

    /// The same, where something needs attention that the command knows nothing of.
    #[must_use]
    pub const fn with_attention(self) -> Self {
        match self {
            Self::Done => Self::Attention,
            other => other,
        }
    }
}

/// The exit status of `uor-replay` after wrong usage.
pub const USAGE_OF_REPLAY: i32 = 64;

/// The exit status of `uor-replay` for a verdict.
pub const fn status_of(verdict: Verdict) -> i32 {
    match verdict {
        Verdict::Agrees => 0,
        Verdict::Diverges => 1,
        Verdict::Incomplete => 2,
    }
}

/// Why a command failed: an error with its causes, its code, the exit status, and what may help.
#[derive(Debug)]
pub struct Failed {
    error: Box<dyn Error + Send + Sync>,
    exit: Exit,
    code: Option<Code>,
    hint: Option<String>,
}

/// What a command gives back.
pub type Outcome<T = Exit> = Result<T, Failed>;

impl<E: Error + Send + Sync + 'static> From<E> for Failed {
    fn from(error: E) -> Self {
        Self {
            error: Box::new(error),
            exit: Exit::Failed,
            code: None,
            hint: None,
        }
    }
}

impl Failed {
    /// A failure in plain words.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            error: message.into().into(),
            exit: Exit::Failed,
            code: None,
            hint: None,
        }
    }

    /// Arguments that do not go together.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            ..Self::new(message)
        }
        .code(Code::Usage)
    }

    /// A signal came.
    pub fn interrupted() -> Self {
        let hint = "nothing was committed after the signal; what had been reported before stays";
        Self {
            exit: Exit::Interrupted,
            ..Self::new("interrupted")
        }
        .code(Code::Interrupted)
        .hint(hint)
    }

    /// The same with another exit status.
    #[must_use]
    pub fn exiting(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// The same with a code.
    #[must_use]
    pub fn code(self, code: Code) -> Self {
        Self {
            code: Some(code),
            ..self
        }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// The exit status.
    pub const fn exit(&self) -> Exit {
        self.exit
    }

    /// The error, for those who can tell what it is.
    pub fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.error
    }

    /// Code and hint: as they were given, or as the error is known.
    pub fn advice(&self) -> Advice {
        let known = advise(self.error());
        Advice {
            code: self.code.unwrap_or(known.code),
            hint: self.hint.clone().or(known.hint),
        }
    }

    /// What it came of, the nearest first. Some errors quote their cause; that is not said twice.
    fn causes(&self) -> Vec<String> {
        let mut causes = Vec::new();
        let mut said = self.error.to_string();
        let mut cause = self.error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !said.ends_with(&text) {
                causes.push(text.clone());
            }
            (said, cause) = (text, error.source());
        }
        causes
    }

    /// The error as one line of JSON.
    pub fn json(&self) -> String {
        let Advice { code, hint } = self.advice();
        let error = ErrorShown {
            code: code.name(),
            message: self.error.to_string(),
            causes: self.causes(),
            hint,
        };
        // Texts alone: nothing that could not be written as JSON.
        plain_json(serde_json::to_string(&ErrorDocument { error }).unwrap_or_default())
    }
}

#[derive(Serialize)]
struct ErrorDocument {
    error: ErrorShown,
}

#[derive(Serialize)]
struct ErrorShown {
    code: &'static str,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
}

impl fmt::Display for Failed {
    /// The error, each cause on a line of its own, then the hint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error: {}", plain_lines(&self.error.to_string()))?;
        self.causes()
            .iter()
            .try_for_each(|cause| write!(f, "\n  because {}", plain_lines(cause)))?;
        self.advice()
            .hint
            .iter()
            .try_for_each(|hint| write!(f, "\nHint: {hint}"))
    }
}

/// Text with what a terminal might obey taken out of it, line by line.
fn plain_lines(text: &str) -> String {
    text.lines().map(plain).collect::<Vec<_>>().join("\n")
}
