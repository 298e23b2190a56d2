//! Keys of members, which never become artifacts.

use std::fs::Metadata;
use std::path::Path;

use uor_index_format::id::SiteId;

use crate::site::directory::private;
use crate::site::handle::Site;

impl Site {
    /// Whether these are the bytes of a site's key, as [`private::is_key`] says.
    pub(super) fn is_key(&self, content: &[u8], file: Option<(&Path, &Metadata)>) -> bool {
        private::is_key(content, file, |site| self.is_member(site))
    }

    /// Whether a file is a site's key, as [`private::is_key_file`] says.
    pub(super) fn is_key_file(&self, path: &Path, metadata: &Metadata) -> bool {
        private::is_key_file(path, metadata, |site| self.is_member(site))
    }

    fn is_member(&self, site: &SiteId) -> bool {
        self.store.view().members().contains(site)
    }
}
