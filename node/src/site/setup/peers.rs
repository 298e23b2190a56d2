//! What is remembered of where sites can be reached. Hints, never truth: losing them costs a
//! ticket.

use serde::{Deserialize, Serialize};
use uor_asl::disk::replace;
use uor_index_format::id::SiteId;

use crate::site::directory::files::{self, ADDRESSES_FILE, FileError, PEERS_FILE};
use crate::site::handle::Site;

/// Addresses remembered per peer; the oldest are forgotten.
const ADDRESSES_MAX: usize = 8;

/// Where a site can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The site, in hexadecimal.
    pub site_id: String,
    /// Multiaddresses, the one that worked last first.
    pub addresses: Vec<String>,
}

impl Site {
    /// Peers whose addresses are known, ascending by site.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn peers(&self) -> Result<Vec<Peer>, FileError> {
        if !files::exists(self.disk.as_ref(), PEERS_FILE)? {
            return Ok(Vec::new());
        }
        let text = files::read_text(self.disk.as_ref(), PEERS_FILE)?;
        serde_json::from_str(&text).map_err(|error| FileError::Damaged {
            file: PEERS_FILE,
            problem: error.to_string(),
        })
    }

    /// Remembers an address of a peer, as the first to try.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn remember_peer(&self, site: SiteId, address: &str) -> Result<(), FileError> {
        self.change_peers(|peers| {
            let site_id = site.to_string();
            let at = peers.partition_point(|peer| peer.site_id < site_id);
            if peers.get(at).is_none_or(|peer| peer.site_id != site_id) {
                peers.insert(
                    at,
                    Peer {
                        site_id,
                        addresses: Vec::new(),
                    },
                );
            }
            let Some(peer) = peers.get_mut(at) else {
                return;
            };
            peer.addresses.retain(|known| known != address);
            peer.addresses.insert(0, address.to_owned());
            peer.addresses.truncate(ADDRESSES_MAX);
        })
    }

    /// Forgets a peer's addresses.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn forget_peer(&self, site: SiteId) -> Result<(), FileError> {
        self.change_peers(|peers| peers.retain(|peer| peer.site_id != site.to_string()))
    }

    fn change_peers(&self, change: impl FnOnce(&mut Vec<Peer>)) -> Result<(), FileError> {
        let _guard = self.files_for_writing()?;
        let before = self.peers()?;
        let mut after = before.clone();
        change(&mut after);
        if after == before {
            return Ok(());
        }
        let mut text =
            serde_json::to_string_pretty(&after).map_err(|error| FileError::Damaged {
                file: PEERS_FILE,
                problem: error.to_string(),
            })?;
        text.push('\n');
        Ok(replace(self.disk.as_ref(), PEERS_FILE, text.as_bytes())?)
    }

    /// Addresses at which this site's node last listened.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn addresses(&self) -> Result<Vec<String>, FileError> {
        files::read_lines(self.disk.as_ref(), ADDRESSES_FILE)
    }

    /// Remembers at which addresses the node listens.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn set_addresses(&self, addresses: &[String]) -> Result<(), FileError> {
        let _guard = self.files_for_writing()?;
        files::write_lines(self.disk.as_ref(), ADDRESSES_FILE, addresses)
    }
}
