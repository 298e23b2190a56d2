//! Snapshots of ZFS file systems and volumes on their way in: from `zfs send` streams, and from
//! where one is mounted.
//!
//! A stream is read once. Files that come in order are stored at once, though nothing names them
//! ([`direct`]); all other blocks wait in a spool, a file without a name in the data directory,
//! while what objects there are is kept in memory ([`receive`]). Nothing has a name before the END
//! record has been verified. Then contents that have changed otherwise go into blocks
//! ([`contents`]), trees are built of what the objects say ([`tree`]), and what the next increment
//! needs is stored as an artifact of its own. Only when all of the input has been verified are
//! records written ([`publish`]): an import that fails has put payloads that nobody names, which
//! `uor gc` frees.
//!
//! Memory follows the number of objects, and never their lengths.

mod contents;
mod direct;
mod mounted;
mod publish;
mod receive;
mod spool;
mod tree;

use std::io::{self, Read};
use std::path::PathBuf;

use serde::{Serialize, Serializer};
use uor_asl::blocks::BlocksError;
use uor_asl::state::ReadError as StateError;
use uor_asl::store::CommitError;
use uor_index_format::DecodeError;
use uor_index_format::id::{ArtifactKey, SnapshotId};
use uor_index_format::reference::{NameError, check_name};
use uor_index_format::snapshot::Origin;
use uor_index_format::tree::TreeError;
use uor_zfs::filesystem::FilesystemError;
use uor_zfs::objects::ObjectError;
pub use uor_zfs::record::Refusal as ImportRefusal;
use uor_zfs::state::StateError as ObjectsError;
use uor_zfs::stream::StreamError;
use uor_zfs::volume::VolumeError;

use self::publish::Staged;
use crate::cancel::Cancelled;
use crate::site::directory::files::FileError;
use crate::site::handle::Site;
use crate::site::json;
use crate::site::text;

/// How snapshots are imported.
#[derive(Debug, Clone, Copy, Default)]
pub struct ImportOptions<'a> {
    /// The name that the tree gets. In a package it is the first file system's; others get theirs
    /// below it.
    pub reference: Option<&'a str>,
    /// Takes volumes, each as one file.
    pub volume: bool,
}

/// How far an import has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImportProgress {
    /// Bytes read of the stream, or of files.
    pub bytes: u64,
    /// Contents stored since the stream has ended, in bytes.
    pub stored: u64,
}

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

/// A snapshot that was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// The snapshot that shows it, and says where it came from.
    #[serde(serialize_with = "json::text")]
    pub snapshot_id: SnapshotId,
    /// The name it got.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// Its files as a tree, or a volume's bytes as a file.
    #[serde(serialize_with = "json::text")]
    pub tree: ArtifactKey,
    /// How many files; of several names of one file, each counts.
    pub files: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// By how many bytes the blocks grew.
    pub new_bytes: u64,
    /// Where it came from.
    pub zfs: ZfsIdentity,
    /// Whether it was here already, and nothing was changed but the name.
    pub known: bool,
}

/// Everything that an import brought.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImportReport {
    /// The snapshots, in the order of the stream.
    pub imported: Vec<Imported>,
    /// What was left out, as sentences.
    pub warnings: Vec<String>,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The stream cannot be read.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// A record cannot be applied.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The stream is of a kind that is not imported.
    #[error(transparent)]
    Refused(#[from] ImportRefusal),
    /// Its objects are no file system.
    #[error(transparent)]
    Filesystem(#[from] FilesystemError),
    /// Its objects are no volume.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// It tells changes to a snapshot that is not here.
    #[error(
        "incremental stream: needs the snapshot with GUID {from_guid:016x} ({from_guid}) first, to which `{}` with GUID \
         {to_guid:016x} is an increment",
        name.escape_ascii()
    )]
    MissingBase {
        /// The GUID that is needed.
        from_guid: u64,
        /// The snapshot's own.
        to_guid: u64,
        /// Its name.
        name: Vec<u8>,
    },
    /// What is kept of the snapshot that it tells changes to cannot be read.
    #[error("could not read what is kept of the snapshot with GUID {guid:016x}")]
    Base {
        /// Its GUID.
        guid: u64,
        /// What is wrong.
        #[source]
        source: ObjectsError,
    },
    /// A package holds nothing that can be imported.
    #[error("the stream holds no snapshot that can be imported")]
    Nothing,
    /// One GUID, two contents.
    #[error(
        "a snapshot with GUID {guid:016x} is here already, as {known}, and has other contents: one of the two was damaged or \
         forged where it came from"
    )]
    OtherContents {
        /// The GUID.
        guid: u64,
        /// The snapshot that is here.
        known: SnapshotId,
    },
    /// Holes are not stored as such, and these would take too long to read.
    #[error(
        "object {object} claims {len} bytes: holes of more than {max} bytes in one stream are not imported"
    )]
    TooSparse {
        /// The object.
        object: u64,
        /// How long it claims to be.
        len: u64,
        /// How many bytes of holes a stream may have.
        max: u64,
    },
    /// The name cannot be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A directory cannot be a tree.
    #[error("could not make a tree of directory `{}`", path.escape_ascii())]
    Tree {
        /// Its path.
        path: Vec<u8>,
        /// What is wrong.
        #[source]
        source: TreeError,
    },
    /// Directories lie too deep.
    #[error("a path is longer than {max} bytes")]
    PathTooLong {
        /// The longest possible.
        max: usize,
    },
    /// A directory has too much in it.
    #[error("a directory takes more than {max} bytes with all names and extended attributes in it")]
    TreeTooLong {
        /// The most possible.
        max: usize,
    },
    /// A file of a mounted snapshot could not be read.
    #[error("could not read {}", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is a data directory, or lies in one.
    #[error("{} is not imported: {} is a data directory of uor, or a copy of one", path.display(), dir.display())]
    DataDirectory {
        /// The path.
        path: PathBuf,
        /// The data directory.
        dir: PathBuf,
    },
    /// A file changed while it was read.
    #[error("{} changed while it was read: only what does not change can be imported, such as a snapshot", path.display())]
    Changing {
        /// The path.
        path: PathBuf,
    },
    /// It is no directory.
    #[error("{} is not a directory", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// Blocks could not be kept until the end.
    #[error("could not keep blocks of the stream in the data directory")]
    Spool(#[source] io::Error),
    /// Contents could not be stored.
    #[error("could not store {what}")]
    Blocks {
        /// Of what.
        what: String,
        /// What is wrong.
        #[source]
        source: BlocksError,
    },
    /// A snapshot that is here cannot be read.
    #[error("could not read snapshot {id}")]
    Snapshot {
        /// Which.
        id: SnapshotId,
        /// What is wrong.
        #[source]
        source: DecodeError,
    },
    /// It is not wanted any more.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The site was opened to be read, or its files could not be changed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The records could not be written.
    #[error("could not write the records")]
    Commit(#[from] CommitError),
}

impl Site {
    /// Imports what a `zfs send` stream holds. Nothing of it is visible before all of it has been
    /// verified.
    ///
    /// # Errors
    /// [`ImportError`]; nothing has become visible then.
    pub fn import_zfs(
        &self,
        stream: &mut dyn Read,
        options: &ImportOptions<'_>,
        on_progress: &mut dyn FnMut(ImportProgress),
    ) -> Result<ImportReport, ImportError> {
        let _putting = self.begin_import(options)?;
        let received =
            receive::receive(self, &mut self.cancel.reader(stream), options, on_progress);
        // Whatever it failed of, once it was cancelled: that is why.
        self.cancel.check()?;
        let (staged, warnings) = received?;
        self.end_import(staged, warnings)
    }

    /// Imports a mounted snapshot, or any directory that does not change meanwhile.
    ///
    /// # Errors
    /// [`ImportError`]; nothing has become visible then.
    pub fn import_zfs_mounted(
        &self,
        directory: &std::path::Path,
        options: &ImportOptions<'_>,
        on_progress: &mut dyn FnMut(ImportProgress),
    ) -> Result<ImportReport, ImportError> {
        let _putting = self.begin_import(options)?;
        let staged = mounted::stage(self, directory, options, on_progress);
        self.cancel.check()?;
        let (staged, warnings) = staged?;
        self.end_import(vec![staged], warnings)
    }

    fn begin_import(
        &self,
        options: &ImportOptions<'_>,
    ) -> Result<std::sync::RwLockReadGuard<'_, ()>, ImportError> {
        options.reference.map_or(Ok(()), check_name)?;
        if self.mode == uor_asl::disk::Mode::ReadOnly {
            return Err(FileError::ReadOnly.into());
        }
        Ok(self.putting())
    }

    fn end_import(
        &self,
        staged: Vec<Staged>,
        warnings: Vec<String>,
    ) -> Result<ImportReport, ImportError> {
        let imported = publish::publish(self, staged)?;
        Ok(ImportReport { imported, warnings })
    }
}

fn storing(what: impl Into<String>) -> impl FnOnce(BlocksError) -> ImportError {
    move |source| ImportError::Blocks {
        what: what.into(),
        source,
    }
}
