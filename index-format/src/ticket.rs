//! Invitation tickets: a text that lets one new site join a federation once.

use crate::codec::{DecodeError, Reader, Writer, from_hex, hex};
use crate::id::{Checksum, FederationId, SiteId, context, derive};

/// Most addresses of a ticket.
pub const ADDRESSES_MAX: u32 = 32;
/// Longest address, in bytes.
pub const ADDRESS_LEN_MAX: u32 = 512;

const PREFIX: &str = "uor-ticket-";
const MAGIC: [u8; 4] = *b"UORI";
const VERSION: u16 = 1;
const CHECK_LEN: usize = 4;

/// What a ticket says. The token is a secret: whoever shows it first is admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The federation to join.
    pub federation: FederationId,
    /// The member that gave the ticket and will admit its bearer.
    pub inviter: SiteId,
    /// The secret.
    pub token: [u8; 16],
    /// Multiaddresses at which the inviter may be reached.
    pub addresses: Vec<String>,
}

/// Why a text is not a ticket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// It does not begin like one.
    #[error("this is not a ticket: a ticket begins with `{PREFIX}`")]
    NotATicket,
    /// It was cut or mistyped.
    #[error("the ticket is damaged: copy it again, whole")]
    Damaged,
    /// Its content is not understood.
    #[error("the ticket cannot be read")]
    Content(#[from] DecodeError),
}

impl Ticket {
    /// What the inviter remembers instead of the token.
    pub fn token_digest(token: &[u8; 16]) -> Checksum {
        Checksum::from_bytes(derive(&context::TICKET_TOKEN, &[token]))
    }

    /// The text.
    pub fn to_text(&self) -> String {
        let mut writer = Writer::with_header(MAGIC, VERSION);
        writer
            .raw(self.federation.as_bytes())
            .raw(self.inviter.as_bytes())
            .raw(&self.token);
        writer.count(self.addresses.len());
        self.addresses.iter().for_each(|address| {
            writer.bytes(address.as_bytes());
        });
        let mut bytes = writer.into_bytes();
        let check = derive(&context::TICKET, &[&bytes]);
        bytes.extend_from_slice(&check[..CHECK_LEN]);
        format!("{PREFIX}{}", hex(&bytes))
    }

    /// Reads a text.
    pub fn from_text(text: &str) -> Result<Self, TicketError> {
        let digits = text
            .trim()
            .strip_prefix(PREFIX)
            .ok_or(TicketError::NotATicket)?;
        let bytes = from_hex(digits).ok_or(TicketError::Damaged)?;
        let (content, check) = bytes
            .len()
            .checked_sub(CHECK_LEN)
            .and_then(|at| bytes.split_at_checked(at))
            .ok_or(TicketError::Damaged)?;
        if derive(&context::TICKET, &[content])[..CHECK_LEN] != *check {
            return Err(TicketError::Damaged);
        }
        let mut reader = Reader::new(content);
        reader.header("ticket", MAGIC, VERSION)?;
        let federation = FederationId::from_bytes(reader.array("ticket federation")?);
        let inviter = SiteId::from_bytes(reader.array("ticket inviter")?);
        let token = reader.array("ticket token")?;
        let count = reader.count("ticket addresses", ADDRESSES_MAX, 4)?;
        let addresses = (0..count)
            .map(|_| {
                reader
                    .string("ticket address", ADDRESS_LEN_MAX)
                    .map(str::to_owned)
            })
            .collect::<Result<_, _>>()?;
        reader.finish("ticket")?;
        Ok(Self {
            federation,
            inviter,
            token,
            addresses,
        })
    }
}
