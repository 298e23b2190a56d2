//! Where an imported snapshot came from.

use serde::{Serialize, Serializer};
use uor_index_format::snapshot::Origin;

use crate::site::text;

/// What a snapshot is called where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ZfsIdentity {
    /// Its GUID, if it is known.
    #[serde(serialize_with = "guid_option")]
    pub to_guid: Option<u64>,
    /// The GUID of the one it was sent as changes to; 0 if it was sent whole.
    #[serde(serialize_with = "guid_option")]
    pub from_guid: Option<u64>,
    /// `pool/dataset@snapshot`; escaped if it is no UTF-8.
    pub to_name: String,
    /// The bytes of that in hexadecimal, if they are no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_name_hex: Option<String>,
    /// When it was taken, in seconds since 1970, if that is known.
    pub creation: Option<u64>,
}

impl ZfsIdentity {
    pub(in crate::site) fn of(origin: &Origin) -> Self {
        let known = |value: u64, is_known: bool| is_known.then_some(value);
        let is_known = origin.to_guid != 0;
        Self {
            to_guid: known(origin.to_guid, is_known),
            from_guid: known(origin.from_guid, is_known),
            to_name: text::text_of(&origin.name),
            to_name_hex: text::hex_of(&origin.name),
            creation: known(origin.creation, origin.creation != 0),
        }
    }
}

fn guid_option<S: Serializer>(guid: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    match guid {
        Some(guid) => serializer.collect_str(&format_args!("{guid:016x}")),
        None => serializer.serialize_none(),
    }
}
