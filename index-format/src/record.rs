//! Records: what a commit carries. One record says one thing about one id.
//!
//! ```text
//! id 32 | kind 1 | flags 1 | zero 2 | type_tag 4 | payload_len 8 | checksum 32 | body_len 4 | body
//! ```
//!
//! Bodies of edges, refs, genesis, admissions, and the derivation of a receipt travel inside;
//! payloads of artifacts and receipts live in blocks, and the record covers them by checksum. So
//! records stay valid when a payload is erased.

use crate::codec::{DecodeError, Reader, Writer};
use crate::edge::Edge;
use crate::id::{ArtifactKey, CanonicalId, Checksum, context, derive};
use crate::membership::{Admission, Genesis};
use crate::receipt::Derivation;
use crate::reference::RefAssignment;

/// Length of a record without its body.
pub const RECORD_LEN_MIN: usize = 84;
const KIND_AT: usize = 32;
const FLAGS_AT: usize = 33;
const TYPE_TAG_AT: usize = 36;
const PAYLOAD_LEN_AT: usize = 40;
const CHECKSUM_AT: usize = 48;
const BODY_LEN_AT: usize = 80;
/// Longest body, in bytes.
pub const BODY_LEN_MAX: u32 = 4 << 20;

/// Length and checksum of bytes that live in blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload {
    /// Plain BLAKE3 of the bytes.
    pub checksum: Checksum,
    /// How many bytes.
    pub len: u64,
}

impl Payload {
    /// The payload that these bytes are.
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            checksum: Checksum::of(bytes),
            len: bytes.len() as u64,
        }
    }
}

/// What kind of thing a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Shadows every version of its id up to its place.
    Tombstone = 0,
    /// Immutable bytes.
    Artifact = 1,
    /// An execution receipt (PER).
    Receipt = 2,
    /// A TGK edge.
    Edge = 3,
    /// An assignment of a name.
    Ref = 4,
    /// The founding record of a federation.
    Genesis = 5,
    /// The admission of a site.
    Admission = 6,
    /// Ends a conflict: names the claim that is effective.
    Resolution = 7,
}

impl Kind {
    /// The word used on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tombstone => "tombstone",
            Self::Artifact => "artifact",
            Self::Receipt => "receipt",
            Self::Edge => "edge",
            Self::Ref => "ref",
            Self::Genesis => "genesis",
            Self::Admission => "admission",
            Self::Resolution => "resolution",
        }
    }

    /// Whether the first version is the effective one; of the other kinds, the last is
    /// (`FORMAT.md`, "What is visible").
    pub const fn keeps_first(self) -> bool {
        matches!(self, Self::Artifact | Self::Receipt | Self::Genesis)
    }

    /// The kind that is written as `value`, if one is.
    pub fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            0 => Self::Tombstone,
            1 => Self::Artifact,
            2 => Self::Receipt,
            3 => Self::Edge,
            4 => Self::Ref,
            5 => Self::Genesis,
            6 => Self::Admission,
            7 => Self::Resolution,
            _ => return None,
        })
    }
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Everything about the id up to here is shadowed.
    Tombstone,
    /// Of the claims about the id, the one with this checksum is effective.
    Resolution {
        /// Checksum of the claim that is kept.
        keep: Checksum,
    },
    /// An artifact.
    Artifact {
        /// What its bytes are, where the writer says so.
        type_tag: Option<u32>,
        /// Its bytes.
        payload: Payload,
    },
    /// A receipt; the payload is an encoded [`Outcome`](crate::receipt::Outcome).
    Receipt {
        /// What was run.
        derivation: Derivation,
        /// What came of it.
        payload: Payload,
    },
    /// An edge.
    Edge(Edge),
    /// A ref.
    Ref(RefAssignment),
    /// A genesis.
    Genesis(Genesis),
    /// An admission.
    Admission(Admission),
}

/// One record: a content and the id it is about. For all but tombstones and resolutions the id
/// follows from the content, and decoding checks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    id: CanonicalId,
    content: Content,
}

/// The key of the artifact with this type tag and payload.
pub fn artifact_key(type_tag: Option<u32>, payload: &Payload) -> ArtifactKey {
    let tag = type_tag.unwrap_or(0).to_le_bytes();
    let parts: [&[u8]; 4] = [
        &[u8::from(type_tag.is_some())],
        &tag,
        &payload.len.to_le_bytes(),
        payload.checksum.as_bytes(),
    ];
    ArtifactKey::from_bytes(derive(&context::ARTIFACT, &parts))
}

impl Record {
    /// A record whose id follows from its content. `None` for tombstones and resolutions, which
    /// name another's id: see [`Record::tombstone`] and [`Record::resolution`].
    pub fn new(content: Content) -> Option<Self> {
        content.id().map(|id| Self { id, content })
    }

    /// The artifact with this type tag and payload.
    pub fn artifact(type_tag: Option<u32>, payload: Payload) -> Self {
        Self {
            id: artifact_key(type_tag, &payload).into(),
            content: Content::Artifact { type_tag, payload },
        }
    }

    /// The receipt of this derivation.
    pub fn receipt(derivation: Derivation, payload: Payload) -> Self {
        Self {
            id: derivation.receipt_key().into(),
            content: Content::Receipt {
                derivation,
                payload,
            },
        }
    }

    /// An edge.
    pub fn edge(edge: Edge) -> Self {
        Self {
            id: edge.id(),
            content: Content::Edge(edge),
        }
    }

    /// An assignment of a name.
    pub fn reference(assignment: RefAssignment) -> Self {
        Self {
            id: assignment.id(),
            content: Content::Ref(assignment),
        }
    }

    /// A genesis.
    pub fn genesis(genesis: Genesis) -> Self {
        Self {
            id: genesis.federation_id().into(),
            content: Content::Genesis(genesis),
        }
    }

    /// An admission.
    pub fn admission(admission: Admission) -> Self {
        Self {
            id: admission.id(),
            content: Content::Admission(admission),
        }
    }

    /// A tombstone for `id`.
    pub const fn tombstone(id: CanonicalId) -> Self {
        Self {
            id,
            content: Content::Tombstone,
        }
    }

    /// The word that of the claims about `id`, the one with checksum `keep` is effective.
    pub const fn resolution(id: CanonicalId, keep: Checksum) -> Self {
        Self {
            id,
            content: Content::Resolution { keep },
        }
    }

    /// The id the record is about.
    pub const fn id(&self) -> CanonicalId {
        self.id
    }

    /// What it says.
    pub const fn content(&self) -> &Content {
        &self.content
    }

    /// Its kind.
    pub const fn kind(&self) -> Kind {
        self.content.kind()
    }

    /// Whether it shadows.
    pub const fn is_tombstone(&self) -> bool {
        matches!(self.content, Content::Tombstone)
    }

    /// Whether it changes who may write.
    pub const fn is_membership(&self) -> bool {
        matches!(self.content, Content::Genesis(_) | Content::Admission(_))
    }

    /// The type tag, of an artifact that has one.
    pub const fn type_tag(&self) -> Option<u32> {
        match self.content {
            Content::Artifact { type_tag, .. } => type_tag,
            _ => None,
        }
    }

    /// The claim: checksum and length of the payload in blocks or of the body; for a resolution,
    /// the checksum it keeps.
    pub fn payload(&self) -> Payload {
        match &self.content {
            Content::Tombstone => Payload {
                checksum: Checksum::from_bytes([0; 32]),
                len: 0,
            },
            Content::Resolution { keep } => Payload {
                checksum: *keep,
                len: 0,
            },
            Content::Artifact { payload, .. } | Content::Receipt { payload, .. } => *payload,
            _ => Payload::of(&self.content.body()),
        }
    }

    /// The payload that lives in blocks, if this kind of record has one there.
    pub const fn block_payload(&self) -> Option<Payload> {
        match &self.content {
            Content::Artifact { payload, .. } | Content::Receipt { payload, .. } => Some(*payload),
            _ => None,
        }
    }

    /// Appends the record's bytes.
    pub fn encode(&self, writer: &mut Writer) {
        let body = self.content.body();
        let header = RecordHeader {
            id: self.id,
            kind: self.kind(),
            type_tag: self.type_tag(),
            payload: self.payload(),
            body_len: u32::try_from(body.len()).expect("no body is that long"),
        };
        writer.raw(&header.encode()).raw(&body);
    }

    /// How many bytes [`Record::encode`] appends.
    pub fn encoded_len(&self) -> usize {
        RECORD_LEN_MIN + self.content.body().len()
    }

    /// Refuses what [`Record::decode`] would refuse, so that no writer signs a record that no
    /// reader accepts.
    pub(crate) fn check(&self) -> Result<(), DecodeError> {
        let body = self.content.body();
        if body.len() > BODY_LEN_MAX as usize {
            let (value, max) = (body.len() as u64, BODY_LEN_MAX.into());
            return Err(DecodeError::TooLarge {
                field: "record body",
                offset: 0,
                value,
                max,
            });
        }
        Content::decode(self.kind(), self.type_tag(), self.payload(), &body).map(drop)
    }

    /// Reads a record and checks that its id, checksum and length follow from its content.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = reader.offset();
        let (header, record) = Self::read(reader)?;
        if record
            .content
            .id()
            .is_some_and(|derived| derived != header.id)
        {
            return Err(Reader::invalid(
                "record id",
                start,
                "it does not follow from the record's content",
            ));
        }
        if record.payload() != header.payload {
            return Err(Reader::invalid(
                "payload checksum",
                start + CHECKSUM_AT,
                "it does not belong to the record's body",
            ));
        }
        Ok(record)
    }

    /// Reads a record that [`Record::decode`] has accepted before, from bytes that are known to be
    /// the same: does not derive its id and checksum again.
    pub fn decode_again(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::read(&mut Reader::new(bytes)).map(|(_, record)| record)
    }

    fn read(reader: &mut Reader<'_>) -> Result<(RecordHeader, Self), DecodeError> {
        let header = RecordHeader::read(reader)?;
        let body = reader.take("record body", header.body_len as usize)?;
        let content = Content::decode(header.kind, header.type_tag, header.payload, body)?;
        Ok((
            header,
            Self {
                id: header.id,
                content,
            },
        ))
    }
}

/// The fixed part of a record: all of it but the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// The id the record is about.
    pub id: CanonicalId,
    /// Its kind.
    pub kind: Kind,
    /// The type tag, of an artifact that has one.
    pub type_tag: Option<u32>,
    /// The claim, as [`Record::payload`] says.
    pub payload: Payload,
    /// Length of the body that follows, in bytes.
    pub body_len: u32,
}

impl RecordHeader {
    /// Length in bytes.
    pub const LEN: usize = RECORD_LEN_MIN;

    /// The bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..KIND_AT].copy_from_slice(self.id.as_bytes());
        bytes[KIND_AT] = self.kind as u8;
        bytes[FLAGS_AT] = u8::from(self.type_tag.is_some());
        bytes[TYPE_TAG_AT..PAYLOAD_LEN_AT]
            .copy_from_slice(&self.type_tag.unwrap_or(0).to_le_bytes());
        bytes[PAYLOAD_LEN_AT..CHECKSUM_AT].copy_from_slice(&self.payload.len.to_le_bytes());
        bytes[CHECKSUM_AT..BODY_LEN_AT].copy_from_slice(self.payload.checksum.as_bytes());
        bytes[BODY_LEN_AT..].copy_from_slice(&self.body_len.to_le_bytes());
        bytes
    }

    /// What the fixed part says of the length of the body behind it.
    pub(crate) fn body_len_in(bytes: &[u8; Self::LEN]) -> u32 {
        let (_, len) = bytes.split_last_chunk().expect("it is longer");
        u32::from_le_bytes(*len)
    }

    /// Reads the fixed part of the record that begins here.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = reader.offset();
        let id = CanonicalId::from_bytes(reader.array("record id")?);
        let offset = reader.offset();
        let kind = Kind::from_u8(reader.u8("record kind")?).ok_or(Reader::invalid(
            "record kind",
            offset,
            "unknown kind: written by a newer release?",
        ))?;
        let flags = reader.u8("record flags")?;
        reader.reserved::<2>("record padding")?;
        let tag = reader.u32("type tag")?;
        let len = reader.u64("payload length")?;
        let checksum = Checksum::from_bytes(reader.array("payload checksum")?);
        let offset = reader.offset();
        let body_len = match reader.u32("record body")? {
            len if len > BODY_LEN_MAX => {
                let (value, max) = (len.into(), BODY_LEN_MAX.into());
                return Err(DecodeError::TooLarge {
                    field: "record body",
                    offset,
                    value,
                    max,
                });
            }
            len => len,
        };
        let type_tag = match (flags, tag, kind) {
            (0, 0, _) => None,
            (1, tag, Kind::Artifact) => Some(tag),
            _ => {
                return Err(Reader::invalid(
                    "record flags",
                    start + FLAGS_AT,
                    "a type tag where none can be",
                ));
            }
        };
        Ok(Self {
            id,
            kind,
            type_tag,
            payload: Payload { checksum, len },
            body_len,
        })
    }
}

impl Content {
    const fn kind(&self) -> Kind {
        match self {
            Self::Tombstone => Kind::Tombstone,
            Self::Resolution { .. } => Kind::Resolution,
            Self::Artifact { .. } => Kind::Artifact,
            Self::Receipt { .. } => Kind::Receipt,
            Self::Edge(_) => Kind::Edge,
            Self::Ref(_) => Kind::Ref,
            Self::Genesis(_) => Kind::Genesis,
            Self::Admission(_) => Kind::Admission,
        }
    }

    fn id(&self) -> Option<CanonicalId> {
        match self {
            Self::Tombstone | Self::Resolution { .. } => None,
            Self::Artifact { type_tag, payload } => Some(artifact_key(*type_tag, payload).into()),
            Self::Receipt { derivation, .. } => Some(derivation.receipt_key().into()),
            Self::Edge(edge) => Some(edge.id()),
            Self::Ref(assignment) => Some(assignment.id()),
            Self::Genesis(genesis) => Some(genesis.federation_id().into()),
            Self::Admission(admission) => Some(admission.id()),
        }
    }

    fn body(&self) -> Vec<u8> {
        match self {
            Self::Tombstone | Self::Resolution { .. } | Self::Artifact { .. } => Vec::new(),
            Self::Receipt { derivation, .. } => derivation.encode(),
            Self::Edge(edge) => edge.encode(),
            Self::Ref(assignment) => assignment.encode(),
            Self::Genesis(genesis) => genesis.encode(),
            Self::Admission(admission) => admission.encode(),
        }
    }

    fn decode(
        kind: Kind,
        type_tag: Option<u32>,
        payload: Payload,
        body: &[u8],
    ) -> Result<Self, DecodeError> {
        let bodiless = matches!(kind, Kind::Tombstone | Kind::Resolution | Kind::Artifact);
        if bodiless && !body.is_empty() {
            return Err(Reader::invalid(
                "record body",
                0,
                "this kind of record has no body",
            ));
        }
        Ok(match kind {
            Kind::Tombstone => Self::Tombstone,
            Kind::Resolution => Self::Resolution {
                keep: payload.checksum,
            },
            Kind::Artifact => Self::Artifact { type_tag, payload },
            Kind::Receipt => Self::Receipt {
                derivation: Derivation::decode(body)?,
                payload,
            },
            Kind::Edge => Self::Edge(Edge::decode(body)?),
            Kind::Ref => Self::Ref(RefAssignment::decode(body)?),
            Kind::Genesis => Self::Genesis(Genesis::decode(body)?),
            Kind::Admission => Self::Admission(Admission::decode(body)?),
        })
    }
}
