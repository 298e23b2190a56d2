//! One thing that an audit found.

use serde::Serialize;
use uor_asl::blocks::BlockDamage;
use uor_asl::verify::{Finding as StoreFinding, Unaccepted};

/// One thing that is not as it should be, or could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is: `damage`, `index`, `unaccepted`, `replay`, `length`, `snapshot`, `lost`, `fork`,
    /// `claim`, `receipt` …
    pub kind: &'static str,
    /// In words.
    pub message: String,
    /// The file, inside the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Where in the file, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Artifacts and receipts that it concerns.
    pub keys: Vec<String>,
}

/// A commit that is not accepted, and why.
pub(super) fn unaccepted(commit: &Unaccepted) -> String {
    let Unaccepted {
        domain,
        number,
        hash,
        position,
        reason,
        ..
    } = commit;
    let (segment, offset) = (position.segment, position.offset);
    format!(
        "commit {number} of site {domain} with hash {hash}, in segment {segment} of the log at offset {offset}, does not \
         count: {reason}"
    )
}

impl Finding {
    /// A finding that no file is to blame for.
    pub fn new(kind: &'static str, message: impl Into<String>, keys: Vec<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            file: None,
            offset: None,
            keys,
        }
    }

    /// What verification of a store found.
    pub fn of(found: &StoreFinding) -> Self {
        match found {
            StoreFinding::Block { damage, keys } => {
                Self::of_damage(damage, keys.iter().map(ToString::to_string).collect())
            }
            StoreFinding::Log { file, offset, what } => Self {
                file: file.clone(),
                offset: *offset,
                ..Self::new("damage", what.clone(), Vec::new())
            },
            StoreFinding::Index { file, offset, what } => {
                let message = format!(
                    "{what}; nothing is lost: while no node runs, remove the directory `index` of the store, and it is \
                     rebuilt from the log"
                );
                Self {
                    file: file.clone(),
                    offset: *offset,
                    ..Self::new("index", message, Vec::new())
                }
            }
            StoreFinding::Unaccepted(commit) => {
                let message = format!("{}; it could never have been accepted", unaccepted(commit));
                Self {
                    file: Some(format!("log/{:08}.log", commit.position.segment)),
                    offset: Some(commit.position.offset.into()),
                    ..Self::new("unaccepted", message, vec![commit.domain.to_string()])
                }
            }
            StoreFinding::Chain {
                domain,
                number,
                what,
            } => Self::new(
                "chain",
                format!("commit {number} of site {domain}: {what}"),
                vec![domain.to_string()],
            ),
            StoreFinding::Replay {
                kept,
                replayed,
                first,
            } => Self::new(
                "replay",
                format!(
                    "the kept state has root {kept}, sequential replay of the log gives {replayed}"
                ),
                first.iter().map(ToString::to_string).collect(),
            ),
            StoreFinding::Length {
                key,
                recorded,
                stored,
            } => Self::new(
                "length",
                format!("the record of {key} says {recorded} bytes, {stored} are stored"),
                vec![key.to_string()],
            ),
            _ => Self::new("other", format!("{found:?}"), Vec::new()),
        }
    }

    fn of_damage(damage: &BlockDamage, keys: Vec<String>) -> Self {
        Self {
            file: Some(damage.at.file.clone()),
            offset: Some(damage.at.offset),
            ..Self::new("damage", damage.to_string(), keys)
        }
    }
}
