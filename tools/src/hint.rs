//! What a script and a person need to know of an error beside its message: its code, and what to
//! do.
//!
//! Libraries say what is wrong; which option or command helps is known only here. The innermost
//! error that says something of its own decides; hints name only what the programs have.

mod audit;
mod known;
mod network;
mod program;
mod site;
mod store;

use std::error::Error;

pub use self::known::Advice;
use self::known::Known;
use crate::code::Code;

/// What is known of an error: of itself, or else of its causes.
pub fn advise(error: &(dyn Error + 'static)) -> Advice {
    of(error).unwrap_or(Advice {
        code: Code::Failed,
        hint: None,
    })
}

fn of(error: &(dyn Error + 'static)) -> Option<Advice> {
    let mut next = Some(error);
    while let Some(error) = next {
        let known = site::known(error)
            .or_else(|| program::known(error))
            .or_else(|| store::known(error))
            .or_else(|| network::known(error))
            .or_else(|| audit::known(error));
        let advice = match known {
            Known::Advice(advice) => Some(advice),
            Known::Of(inner) => of(inner),
            Known::OfOr(inner, code) => of(inner).or(Some(Advice { code, hint: None })),
            Known::Nothing => None,
        };
        if advice.is_some() {
            return advice;
        }
        next = error.source();
    }
    None
}
