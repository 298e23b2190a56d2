//! Who belongs to a federation: one genesis record, then admissions. Both are records like any
//! other, but who may write is validated from the commits themselves, never from what the merged
//! order makes visible.

use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{CanonicalId, FederationId, SiteId, context, derive};

/// Longest site name, in bytes.
pub const SITE_NAME_LEN_MAX: u32 = 64;

/// What stands when sites claim different outcomes for one derivation (specification §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConflictRule {
    /// The first claim in the one order.
    #[default]
    First,
    /// The claim of most domains; ties by order.
    Quorum,
    /// None, until a resolution record names one.
    Manual,
}

impl ConflictRule {
    /// The word used on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Quorum => "quorum",
            Self::Manual => "manual",
        }
    }
}

/// The first record of a federation, in the founder's first commit. It carries the federation's
/// fixed policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    /// The founding site.
    pub founder: SiteId,
    /// Its name.
    pub name: String,
    /// Tells two federations of one founder apart.
    pub nonce: [u8; 16],
    /// What stands in a conflict.
    pub conflict_rule: ConflictRule,
    /// How far a commit's logseq may lie above everything its receiver has seen before it is held
    /// back.
    pub logseq_jump_max: u64,
}

impl Genesis {
    /// The federation this record founds.
    pub fn federation_id(&self) -> FederationId {
        FederationId::from_bytes(derive(&context::FEDERATION, &[&self.encode()]))
    }

    /// The record body.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer
            .raw(self.founder.as_bytes())
            .bytes(self.name.as_bytes())
            .raw(&self.nonce);
        writer
            .u8(self.conflict_rule as u8)
            .u64(self.logseq_jump_max);
        writer.into_bytes()
    }

    /// Reads a record body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let founder = SiteId::from_bytes(reader.array("genesis founder")?);
        let name = reader.string("genesis name", SITE_NAME_LEN_MAX)?.to_owned();
        let nonce = reader.array("genesis nonce")?;
        let offset = reader.offset();
        let conflict_rule = match reader.u8("genesis conflict rule")? {
            0 => ConflictRule::First,
            1 => ConflictRule::Quorum,
            2 => ConflictRule::Manual,
            _ => {
                return Err(Reader::invalid(
                    "genesis conflict rule",
                    offset,
                    "unknown rule",
                ));
            }
        };
        let logseq_jump_max = reader.u64("genesis logseq jump")?;
        reader.finish("genesis")?;
        Ok(Self {
            founder,
            name,
            nonce,
            conflict_rule,
            logseq_jump_max,
        })
    }
}

/// A member's word that another site belongs to the federation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// The federation.
    pub federation: FederationId,
    /// The site that is admitted.
    pub site: SiteId,
    /// Its name.
    pub name: String,
}

impl Admission {
    /// The id: over federation and site, so that two members who admit the same site meet at one
    /// id.
    pub fn id(&self) -> CanonicalId {
        let parts: [&[u8]; 2] = [self.federation.as_bytes(), self.site.as_bytes()];
        CanonicalId::from_bytes(derive(&context::ADMISSION, &parts))
    }

    /// The record body.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer
            .raw(self.federation.as_bytes())
            .raw(self.site.as_bytes())
            .bytes(self.name.as_bytes());
        writer.into_bytes()
    }

    /// Reads a record body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let federation = FederationId::from_bytes(reader.array("admission federation")?);
        let site = SiteId::from_bytes(reader.array("admission site")?);
        let name = reader
            .string("admission name", SITE_NAME_LEN_MAX)?
            .to_owned();
        reader.finish("admission")?;
        Ok(Self {
            federation,
            site,
            name,
        })
    }
}
