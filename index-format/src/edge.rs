//! TGK edges: typed, directed hyper-edges between artifacts, receipts and sites (specification
//! §3.2).
//!
//! The id covers type, `from` and `to` in their order; role and attribute are the payload, so a
//! later record of the same edge replaces the earlier one's.

use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{ArtifactKey, CanonicalId, SiteId, context, derive};

/// Longest edge type, in bytes.
pub const EDGE_TYPE_LEN_MAX: u32 = 255;
/// Most endpoints on one side of an edge.
pub const ENDPOINTS_MAX: u32 = 32_768;

/// What an edge can touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// An artifact or a receipt. It need not be known here (yet).
    Artifact(ArtifactKey),
    /// A site.
    Site(SiteId),
}

impl Endpoint {
    const LEN: usize = 33;

    fn encode(&self, writer: &mut Writer) {
        match self {
            Self::Artifact(key) => writer.u8(0).raw(key.as_bytes()),
            Self::Site(site) => writer.u8(1).raw(site.as_bytes()),
        };
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let offset = reader.offset();
        match (reader.u8("endpoint kind")?, reader.array("endpoint")?) {
            (0, key) => Ok(Self::Artifact(ArtifactKey::from_bytes(key))),
            (1, site) => Ok(Self::Site(SiteId::from_bytes(site))),
            _ => Err(Reader::invalid(
                "endpoint kind",
                offset,
                "neither artifact (0) nor site (1)",
            )),
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Artifact(key) => key.fmt(f),
            Self::Site(site) => write!(f, "site:{site}"),
        }
    }
}

/// Which side of the edge it speaks for (specification §3.2, "Roles").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Role {
    /// About its `from` side.
    From,
    /// About its `to` side.
    To,
    /// About both.
    #[default]
    Both,
}

impl Role {
    /// The word used on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::To => "to",
            Self::Both => "both",
        }
    }
}

/// One edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// The edge type key: a name such as `used` or `generated`.
    pub edge_type: String,
    /// Where it starts, in the writer's order.
    pub from: Vec<Endpoint>,
    /// Where it ends, in the writer's order.
    pub to: Vec<Endpoint>,
    /// Which side it speaks for.
    pub role: Role,
    /// An artifact that says more about it.
    pub attribute: Option<ArtifactKey>,
}

impl Edge {
    /// The id: over type, `from` and `to`.
    pub fn id(&self) -> CanonicalId {
        CanonicalId::from_bytes(derive(&context::EDGE, &[&self.identity()]))
    }

    fn identity(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.bytes(self.edge_type.as_bytes());
        for side in [&self.from, &self.to] {
            writer.count(side.len());
            side.iter()
                .for_each(|endpoint| endpoint.encode(&mut writer));
        }
        writer.into_bytes()
    }

    /// Whether the bounds of the format hold: what [`Edge::decode`] would accept.
    pub fn is_valid(&self) -> bool {
        let sides = [self.from.len(), self.to.len()];
        (1..=EDGE_TYPE_LEN_MAX as usize).contains(&self.edge_type.len())
            && sides
                .iter()
                .all(|len| (1..=ENDPOINTS_MAX as usize).contains(len))
    }

    /// The record body: identity, then role and attribute.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer
            .raw(&self.identity())
            .u8(self.role as u8)
            .u8(u8::from(self.attribute.is_some()));
        if let Some(attribute) = &self.attribute {
            writer.raw(attribute.as_bytes());
        }
        writer.into_bytes()
    }

    /// Reads a record body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let edge_type = reader.string("edge type", EDGE_TYPE_LEN_MAX)?.to_owned();
        if edge_type.is_empty() {
            return Err(Reader::invalid("edge type", 0, "empty"));
        }
        let from = Self::side(&mut reader, "edge from")?;
        let to = Self::side(&mut reader, "edge to")?;
        let offset = reader.offset();
        let role = match reader.u8("edge role")? {
            0 => Role::From,
            1 => Role::To,
            2 => Role::Both,
            _ => return Err(Reader::invalid("edge role", offset, "unknown role")),
        };
        let offset = reader.offset();
        let attribute = match reader.u8("edge attribute flag")? {
            0 => None,
            1 => Some(ArtifactKey::from_bytes(reader.array("edge attribute")?)),
            _ => {
                return Err(Reader::invalid(
                    "edge attribute flag",
                    offset,
                    "neither 0 nor 1",
                ));
            }
        };
        reader.finish("edge")?;
        Ok(Self {
            edge_type,
            from,
            to,
            role,
            attribute,
        })
    }

    fn side(reader: &mut Reader<'_>, field: &'static str) -> Result<Vec<Endpoint>, DecodeError> {
        let offset = reader.offset();
        let count = reader.count(field, ENDPOINTS_MAX, Endpoint::LEN)?;
        if count == 0 {
            return Err(Reader::invalid(
                field,
                offset,
                "an edge needs at least one endpoint on each side",
            ));
        }
        (0..count).map(|_| Endpoint::decode(reader)).collect()
    }
}
