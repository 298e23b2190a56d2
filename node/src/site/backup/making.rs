//! A backup being made: files that have not changed since the one before are hard links to its.

use std::fs;
use std::path::Path;

use uor_index_format::id::Checksum;

use super::error::BackupError;
use super::files::{copy, digest, make_dir, remove, sync_dir, verify, write};
use super::manifest::{Line, Manifest, Stamp};
use super::sources::Source;
use crate::cancel::Cancel;
use crate::site::directory::files::{MANIFEST_FILE, RESTORED_FILE};

const RESTORED_TEXT: &str =
    "This directory comes from a backup. Its site asks the others before it writes.\n";

/// A backup that is being made.
pub(super) struct Making<'a> {
    site: &'a Path,
    before: Option<(&'a Path, &'a Manifest)>,
    to: &'a Path,
    cancel: &'a Cancel,
    pub(super) shared: u64,
    pub(super) new_bytes: u64,
}

impl<'a> Making<'a> {
    /// Begins in the empty directory `to`, in place of what was begun there before.
    pub(super) fn begin(
        site: &'a Path,
        before: Option<(&'a Path, &'a Manifest)>,
        to: &'a Path,
        cancel: &'a Cancel,
    ) -> Result<Self, BackupError> {
        remove(to)?;
        for made in [to.to_owned(), to.join("log"), to.join("blocks")] {
            make_dir(&made)?;
        }
        Ok(Self {
            site,
            before,
            to,
            cancel,
            shared: 0,
            new_bytes: 0,
        })
    }

    /// Takes a file: as a link to what the backup before has of it, if it has not changed since.
    pub(super) fn take(&mut self, source: &Source) -> Result<Line, BackupError> {
        let to = self.to.join(&source.path);
        let known = self
            .before
            .and_then(|(path, manifest)| Some((path, manifest.line(&source.path)?)));
        // Where links are not to be had, it is copied.
        if let Some((path, line)) = known
            && self.is_unchanged(source, line)?
            && fs::hard_link(path.join(&source.path), &to).is_ok()
        {
            self.shared += 1;
            return Ok(Line {
                stamp: source.stamp,
                ..line.clone()
            });
        }
        let from = self.site.join(&source.path);
        let digest = copy(&from, &to, source.len, self.cancel)?;
        self.new_bytes += source.len;
        Ok(Line {
            path: source.path.clone(),
            len: source.len,
            digest,
            stamp: source.stamp,
        })
    }

    /// Whether a file is what it was in the backup before. A file that was written to may be:
    /// opening a site writes the last mark of its last pack once more. Then its bytes decide.
    fn is_unchanged(&self, source: &Source, line: &Line) -> Result<bool, BackupError> {
        if line.len != source.len {
            return Ok(false);
        }
        if line.stamp == source.stamp && line.stamp != Stamp::default() {
            return Ok(true);
        }
        let from = self.site.join(&source.path);
        Ok(digest(&from, source.len, self.cancel)? == line.digest)
    }

    /// Reads everything back, and writes the manifest.
    pub(super) fn finish(
        &mut self,
        mut manifest: Manifest,
        on_read: &mut dyn FnMut(u64),
    ) -> Result<Manifest, BackupError> {
        let to = self.to.join(RESTORED_FILE);
        write(&to, RESTORED_TEXT.as_bytes())?;
        let (len, digest) = (
            RESTORED_TEXT.len() as u64,
            Checksum::of(RESTORED_TEXT.as_bytes()),
        );
        manifest.files.push(Line {
            path: RESTORED_FILE.to_owned(),
            len,
            digest,
            stamp: Stamp::default(),
        });
        let mut read = 0;
        for line in &mut manifest.files {
            let path = self.to.join(&line.path);
            let verified = verify(&path, line, self.cancel);
            self.cancel.check()?;
            if verified.is_err() && line.path != RESTORED_FILE {
                // A link to bytes that have gone bad since, perhaps: the site's own may be better.
                remove(&path)?;
                let from = self.site.join(&line.path);
                line.digest = copy(&from, &path, line.len, self.cancel)?;
                self.new_bytes += line.len;
                verify(&path, line, self.cancel)?;
            }
            read += line.len;
            on_read(read);
        }
        let path = self.to.join(MANIFEST_FILE);
        write(&path, manifest.encode().as_bytes())?;
        for dir in [
            self.to.join("log"),
            self.to.join("blocks"),
            self.to.to_owned(),
        ] {
            sync_dir(&dir)?;
        }
        Ok(manifest)
    }
}
