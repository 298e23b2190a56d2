//! What the parts of this module say to each other.

use std::error::Error;

use crate::code::Code;

/// What there is to know of an error beside its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// What kind of failure it is.
    pub code: Code,
    /// What to do, if that can be said.
    pub hint: Option<String>,
}

/// What is known of one error of a chain.
pub(super) enum Known<'a> {
    Advice(Advice),
    /// What is known of this error, which it stands for.
    Of(&'a (dyn Error + 'static)),
    /// The same; and if nothing is known of that, this code.
    OfOr(&'a (dyn Error + 'static), Code),
    Nothing,
}

impl Known<'_> {
    pub(super) fn or_else(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Nothing => other(),
            known => known,
        }
    }
}

/// A code that says all there is.
pub(super) const fn code<'a>(code: Code) -> Known<'a> {
    Known::Advice(Advice { code, hint: None })
}

pub(super) fn help<'a>(code: Code, hint: impl Into<String>) -> Known<'a> {
    Known::Advice(Advice {
        code,
        hint: Some(hint.into()),
    })
}

/// What is known of the cause of an error, or else a code.
pub(super) fn of_cause<'a>(error: &'a (dyn Error + 'static), or: Option<Code>) -> Known<'a> {
    match (error.source(), or) {
        (Some(cause), Some(code)) => Known::OfOr(cause, code),
        (Some(cause), None) => Known::Of(cause),
        (None, Some(or)) => code(or),
        (None, None) => Known::Nothing,
    }
}

/// What `is` knows of an error, if it is a `T`.
pub(super) fn if_is<'a, T: Error + 'static>(
    error: &'a (dyn Error + 'static),
    is: impl FnOnce(&'a T) -> Known<'a>,
) -> Known<'a> {
    error.downcast_ref::<T>().map_or(Known::Nothing, is)
}
