//! Why nothing was imported.

use std::io;
use std::path::PathBuf;

use uor_asl::blocks::BlocksError;
use uor_asl::state::ReadError as StateError;
use uor_asl::store::CommitError;
use uor_index_format::DecodeError;
use uor_index_format::id::SnapshotId;
use uor_index_format::reference::NameError;
use uor_index_format::tree::TreeError;
use uor_zfs::filesystem::FilesystemError;
use uor_zfs::objects::ObjectError;
use uor_zfs::state::StateError as ObjectsError;
use uor_zfs::stream::StreamError;
use uor_zfs::volume::VolumeError;

use crate::cancel::Cancelled;
use crate::site::directory::files::FileError;

pub use uor_zfs::record::Refusal as ImportRefusal;

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

pub(super) fn storing(what: impl Into<String>) -> impl FnOnce(BlocksError) -> ImportError {
    move |source| ImportError::Blocks {
        what: what.into(),
        source,
    }
}
