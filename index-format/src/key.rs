//! The key of a site: Ed25519, deterministic signatures, strict verification.

use std::fmt;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::id::{CommitHash, FederationId, SiteId, context, derive};

/// Length of a signature in bytes.
pub const SIGNATURE_LEN: usize = 64;

/// The secret a site signs with. Its bytes are wiped when it is dropped and never printed.
#[derive(Clone)]
pub struct SiteKey(SigningKey);

impl SiteKey {
    /// Makes the key that belongs to a 32-byte seed. Where the seed comes from is the caller's
    /// affair.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The seed, for the key file and the libp2p identity.
    pub fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public half.
    pub fn site_id(&self) -> SiteId {
        SiteId::from_bytes(self.0.verifying_key().to_bytes())
    }

    /// Signs a commit hash.
    pub fn sign(&self, hash: &CommitHash) -> [u8; SIGNATURE_LEN] {
        self.0.sign(hash.as_bytes()).to_bytes()
    }

    /// Lets the peer with key `reader` read what this member may read, an auditor with a key of its
    /// own, until `expires_ms` (milliseconds since 1970).
    pub fn vouch(
        &self,
        federation: &FederationId,
        reader: &SiteId,
        expires_ms: u64,
    ) -> [u8; SIGNATURE_LEN] {
        self.0
            .sign(&credential(federation, reader, expires_ms))
            .to_bytes()
    }
}

fn credential(federation: &FederationId, reader: &SiteId, expires_ms: u64) -> [u8; 32] {
    derive(
        &context::READER,
        &[
            federation.as_bytes(),
            reader.as_bytes(),
            &expires_ms.to_le_bytes(),
        ],
    )
}

/// Whether `signature` is `member`'s word that `reader` may read until `expires_ms` (milliseconds
/// since 1970). Whether that is over is for those to say who have a clock.
pub fn vouches(
    member: &SiteId,
    federation: &FederationId,
    reader: &SiteId,
    expires_ms: u64,
    signature: &[u8; SIGNATURE_LEN],
) -> bool {
    is_signed(
        member,
        &credential(federation, reader, expires_ms),
        signature,
    )
}

impl fmt::Debug for SiteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SiteKey({})", self.site_id().short())
    }
}

/// Whether `signature` is `site`'s over `hash`. Strict: weak keys and malleable signatures are
/// refused, so every site reaches the same verdict.
pub fn verify(site: &SiteId, hash: &CommitHash, signature: &[u8; SIGNATURE_LEN]) -> bool {
    is_signed(site, hash.as_bytes(), signature)
}

fn is_signed(site: &SiteId, message: &[u8; 32], signature: &[u8; SIGNATURE_LEN]) -> bool {
    VerifyingKey::from_bytes(site.as_bytes()).is_ok_and(|key| {
        key.verify_strict(message, &Signature::from_bytes(signature))
            .is_ok()
    })
}
