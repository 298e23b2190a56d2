//! A site's key and its libp2p peer id are the same 32 bytes.
//!
//! A peer id is a multihash. For Ed25519 keys it is the *identity* multihash of the
//! protobuf-encoded public key, so the key can be read back out of it; ids of other key types are
//! digests and name no site.

use libp2p::PeerId;
use libp2p::multihash::Multihash;

/// An Ed25519 public key in its 32-byte encoding.
pub type SiteKey = [u8; 32];

/// The multihash code of "not hashed at all".
const IDENTITY: u64 = 0;

/// The protobuf of a public key up to the key itself: field 1 (type) is 1 (Ed25519), field 2 (data)
/// has 32 bytes.
const ED25519_PREFIX: [u8; 4] = [0x08, 0x01, 0x12, 0x20];

/// The peer id of a site. Any 32 bytes have one; only the holder of the secret key can connect as
/// it.
#[must_use]
pub fn peer_id(site: &SiteKey) -> PeerId {
    let mut encoded = [0; 36];
    encoded[..4].copy_from_slice(&ED25519_PREFIX);
    encoded[4..].copy_from_slice(site);
    let hash = Multihash::wrap(IDENTITY, &encoded).expect("36 bytes fit a 64-byte multihash");
    PeerId::from_multihash(hash).expect("an identity multihash of at most 42 bytes is a peer id")
}

/// The site a peer id names, if it is the id of an Ed25519 key.
#[must_use]
pub fn site_key(peer: &PeerId) -> Option<SiteKey> {
    let hash: &Multihash<64> = peer.as_ref();
    if hash.code() != IDENTITY {
        return None;
    }
    hash.digest().strip_prefix(&ED25519_PREFIX)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use libp2p::identity::Keypair;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_site_and_its_peer_id_are_one(seed: [u8; 32]) {
            let pair = Keypair::ed25519_from_bytes(seed).unwrap();
            let site = pair.public().try_into_ed25519().unwrap().to_bytes();
            prop_assert_eq!(peer_id(&site), pair.public().to_peer_id());
            prop_assert_eq!(site_key(&peer_id(&site)), Some(site));
        }

        #[test]
        fn only_the_exact_encoding_names_a_site(code in 0_u64..0x20, digest in proptest::collection::vec(any::<u8>(), 0..43)) {
            let Ok(peer) = PeerId::from_multihash(Multihash::wrap(code, &digest).unwrap()) else { return Ok(()) };
            if let Some(site) = site_key(&peer) {
                prop_assert_eq!(peer_id(&site), peer);
            }
        }
    }

    #[test]
    fn a_digest_names_no_site() {
        let hashed = Multihash::wrap(0x12, &[7; 32]).unwrap();
        assert_eq!(site_key(&PeerId::from_multihash(hashed).unwrap()), None);
        let longer = Multihash::wrap(IDENTITY, &[&ED25519_PREFIX[..], &[7; 33]].concat()).unwrap();
        assert_eq!(site_key(&PeerId::from_multihash(longer).unwrap()), None);
    }
}
