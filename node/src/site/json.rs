//! How ids and frontiers look in JSON: full lower-case hexadecimal, as the command line's contract
//! says.

use std::fmt::Display;

use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde::{Serialize, Serializer};
use uor_index_format::id::LogSeq;
use uor_index_format::record::Kind;
use uor_index_format::snapshot::Frontier;

/// Anything by its text.
pub(super) fn text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Something optional by its text.
pub(super) fn text_option<S: Serializer>(
    value: &Option<impl Display>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

/// A list by the texts of its members.
pub(super) fn texts<S: Serializer>(
    values: &[impl Display],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(Some(values.len()))?;
    values
        .iter()
        .try_for_each(|value| list.serialize_element(&value.to_string()))?;
    list.end()
}

/// Named keys as an object of texts, in their order.
pub(super) fn named_texts<S: Serializer>(
    values: &[(String, impl Display)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(values.len()))?;
    values
        .iter()
        .try_for_each(|(name, value)| map.serialize_entry(name, &value.to_string()))?;
    map.end()
}

/// A kind by its word.
pub(super) fn kind<S: Serializer>(value: &Kind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(value.name())
}

/// A frontier as an object: domain to `number` and `hash`.
pub(super) fn frontier<S: Serializer>(value: &Frontier, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct HeadJson {
        number: u64,
        hash: String,
    }
    let mut map = serializer.serialize_map(Some(value.len()))?;
    for (domain, head) in value {
        let head = HeadJson {
            number: head.number,
            hash: head.hash.to_string(),
        };
        map.serialize_entry(&domain.to_string(), &head)?;
    }
    map.end()
}

/// A Lamport time as a number.
pub(super) fn logseq<S: Serializer>(value: &LogSeq, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(value.0)
}

/// An optional Lamport time as a number.
pub(super) fn logseq_option<S: Serializer>(
    value: &Option<LogSeq>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.serialize_some(&value.0),
        None => serializer.serialize_none(),
    }
}
