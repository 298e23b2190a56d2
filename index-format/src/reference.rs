//! Refs: names that point at artifacts. A later assignment shadows an earlier one.

use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{ArtifactKey, CanonicalId, context, derive};

/// Longest name, in bytes.
pub const NAME_LEN_MAX: u32 = 1024;

/// From this many hexadecimal digits on, a text is taken for the beginning of an id.
pub const ID_PREFIX_LEN_MIN: usize = 8;

/// The namespace of names that people give.
pub const NAMESPACE_USER: &str = "user";
/// The namespace of snapshot labels.
pub const NAMESPACE_SNAPSHOT: &str = "snapshot";

/// An assignment of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefAssignment {
    /// Keeps names of different use apart.
    pub namespace: String,
    /// The name, such as `data/iris`.
    pub name: String,
    /// What it points at from now on.
    pub target: ArtifactKey,
}

/// Why a text cannot be a ref's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` cannot be a name: {problem}")]
pub struct NameError {
    /// The text as it was given.
    pub name: String,
    /// The rule it breaks.
    pub problem: &'static str,
}

/// Whether a text would be taken for an id or its beginning, so that it is no name, whoever gave it
/// to something: `get KEY` must not give what a member has named `KEY`.
pub fn is_like_id(text: &str) -> bool {
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let first = text.split('/').next().unwrap_or_default();
    (text.len() >= ID_PREFIX_LEN_MIN && is_digits(text))
        || (first.len() == 2 * CanonicalId::LEN && is_digits(first))
}

/// Checks a name that a person gives: non-empty path segments, no control characters, and not
/// mistakable for an id.
pub fn check_name(name: &str) -> Result<(), NameError> {
    let problem = if name.len() > NAME_LEN_MAX as usize {
        "longer than 1024 bytes"
    } else if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        "it must be parts separated by single slashes, none of them empty, `.` or `..`"
    } else if name.chars().any(char::is_control) {
        "it holds a control character"
    } else if is_like_id(name) {
        "eight or more hexadecimal digits would be taken for an id"
    } else {
        return Ok(());
    };
    Err(NameError {
        name: name.to_owned(),
        problem,
    })
}

impl RefAssignment {
    /// The id of the ref with this namespace and name.
    pub fn id_of(namespace: &str, name: &str) -> CanonicalId {
        let mut writer = Writer::new();
        writer.bytes(namespace.as_bytes()).bytes(name.as_bytes());
        CanonicalId::from_bytes(derive(&context::REF, &[&writer.into_bytes()]))
    }

    /// The id of the ref that is assigned.
    pub fn id(&self) -> CanonicalId {
        Self::id_of(&self.namespace, &self.name)
    }

    /// The record body.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer
            .bytes(self.namespace.as_bytes())
            .bytes(self.name.as_bytes())
            .raw(self.target.as_bytes());
        writer.into_bytes()
    }

    /// Reads a record body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let namespace = reader.string("ref namespace", NAME_LEN_MAX)?.to_owned();
        let name = reader.string("ref name", NAME_LEN_MAX)?.to_owned();
        let target = ArtifactKey::from_bytes(reader.array("ref target")?);
        reader.finish("ref")?;
        Ok(Self {
            namespace,
            name,
            target,
        })
    }
}
