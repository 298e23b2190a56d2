//! Opening stores to be audited, and finding the snapshot to audit them at.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use uor_asl::blocks::BlocksError;
use uor_asl::disk::real::RealDisk;
use uor_asl::disk::{Disk, Mode};
use uor_asl::log::LogError;
use uor_asl::state::{Filter, ReadError};
use uor_asl::store::{Options, Store, StoreError};
use uor_index_format::id::{CanonicalId, Checksum, SiteId};
use uor_index_format::record::Content;
use uor_index_format::reference::{NAMESPACE_SNAPSHOT, RefAssignment};
use uor_index_format::snapshot::{self, Snapshot};
use uor_node::service::{ReplicaError, replica};
use uor_node::site::{FileError, Site, Witnessed};

use crate::code::Code;
use crate::console::Console;
use crate::exit::Failed;
use crate::scratch::Scratch;

/// Largest snapshot artifact that is read, in bytes.
const SNAPSHOT_LEN_MAX: u64 = 64 << 20;
/// Fewest digits of an id's beginning.
const PREFIX_LEN_MIN: usize = 8;

/// A store under audit.
pub struct Audited {
    /// How the store was named.
    pub name: String,
    /// The store: a data directory, open for reading, or a replica of what a running node holds.
    pub store: Store,
    /// What the data directory says of itself beside its log; nothing of a replica.
    pub witnessed: Option<Witnessed>,
    /// Where the replica is; it goes when this does.
    pub scratch: Option<Scratch>,
}

/// Why an audit could not begin, or what it found while opening.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The data directory could not be opened.
    #[error("could not open the store {name}")]
    Directory {
        /// How the store was named.
        name: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The data directory has a newer format: the store in it may not be all there is.
    #[error("could not open the data directory {name}")]
    Newer {
        /// How the store was named.
        name: String,
        /// What it says.
        #[source]
        source: FileError,
    },
    /// The running node gave no replica.
    #[error("could not pull what the node at {name} holds")]
    Node {
        /// How the store was named.
        name: String,
        /// Why.
        #[source]
        source: ReplicaError,
    },
    /// There is no folder for the replica.
    #[error("could not make a folder for temporary files")]
    Scratch(#[source] std::io::Error),
    /// A running node lets only those read for whom a member vouches.
    #[error("a running node asks for a member's word: name the data directory of one with --as")]
    NoVoucher,
    /// The data directory of the member that is to vouch could not be opened.
    #[error("could not open the data directory of the member that is to vouch")]
    Voucher(#[source] uor_node::site::OpenError),
}

impl OpenError {
    /// The damage, if bytes that had been durable are not what was written: a finding, not a
    /// failure to look.
    pub const fn damage(&self) -> Option<&StoreError> {
        match self {
            Self::Directory { source, .. } if is_damage(source) => Some(source),
            _ => None,
        }
    }
}

const fn is_damage(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Identity
            | StoreError::OtherFederation { .. }
            | StoreError::LogCut { .. }
            | StoreError::Entry { .. }
            | StoreError::Chain { .. }
            | StoreError::Log(LogError::Damaged { .. } | LogError::Missing { .. })
            | StoreError::Read(ReadError::Log(
                LogError::Damaged { .. } | LogError::Missing { .. }
            ))
            | StoreError::Blocks(BlocksError::Damaged(_))
    )
}

/// Opens what STORE arguments name: data directories, and running nodes by their multiaddress.
#[derive(Debug)]
pub struct Opener {
    /// Data directory of the member that vouches at running nodes.
    voucher: Option<PathBuf>,
}

impl Opener {
    /// `voucher` as it was given, or else the first of `stores` that is a data directory.
    pub fn new(voucher: Option<&Path>, stores: &[&Path], console: &Console<'_>) -> Self {
        let directory = || stores.iter().copied().find(|store| !is_address(store));
        Self {
            voucher: voucher.or_else(directory).map(|dir| console.path(dir)),
        }
    }

    /// Opens a store: a data directory for reading, beside any writer; or a replica of what a
    /// running node holds, pulled now.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&self, name: &Path, console: &mut Console<'_>) -> Result<Audited, OpenError> {
        if is_address(name) {
            self.pull(&name.to_string_lossy(), console)
        } else {
            open(name, console.path(name))
        }
    }

    fn pull(&self, address: &str, console: &mut Console<'_>) -> Result<Audited, OpenError> {
        let voucher = self.voucher.as_ref().ok_or(OpenError::NoVoucher)?;
        let member = Site::open(voucher, Mode::ReadOnly).map_err(OpenError::Voucher)?;
        let scratch = Scratch::new("uor-replay").map_err(OpenError::Scratch)?;
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(scratch.path()));
        let pulled = replica(
            address,
            member.federation(),
            member.key(),
            disk,
            &mut |commits, payloads_wanted| {
                let total = (payloads_wanted > 0).then_some(commits + payloads_wanted);
                console.meter.items("pulling", commits, total);
            },
        );
        console.meter.end();
        let failed = |source| OpenError::Node {
            name: address.to_owned(),
            source,
        };
        Ok(Audited {
            name: address.to_owned(),
            store: pulled.map_err(failed)?,
            witnessed: None,
            scratch: Some(scratch),
        })
    }
}

/// A path that begins like a multiaddress and names a peer is one.
pub(super) fn is_address(store: &Path) -> bool {
    let text = store.to_string_lossy();
    ["/ip4/", "/ip6/", "/dns"]
        .iter()
        .any(|start| text.starts_with(start))
        && text.contains("/p2p/")
}

/// Opens a data directory for reading.
///
/// # Errors
/// [`OpenError::Directory`], [`OpenError::Newer`].
pub fn open(name: &Path, path: PathBuf) -> Result<Audited, OpenError> {
    let name = name.to_string_lossy().into_owned();
    Site::refuse_newer(&path).map_err(|source| OpenError::Newer {
        name: name.clone(),
        source,
    })?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(path));
    // Before the log, which may grow meanwhile. A small file that is damaged is not the store's.
    let witnessed = Witnessed::read(disk.as_ref()).ok();
    let federation = Store::identity(&disk).ok();
    let are_packs_cut = witnessed
        .as_ref()
        .zip(federation)
        .is_some_and(|(it, federation)| it.are_packs_cut(federation));
    match Store::open_with(
        disk,
        Mode::ReadOnly,
        Options {
            are_packs_cut,
            ..Options::default()
        },
    ) {
        Ok(store) => Ok(Audited {
            name,
            store,
            witnessed,
            scratch: None,
        }),
        Err(source) => Err(OpenError::Directory { name, source }),
    }
}

/// Why a text names no snapshot of a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Neither a label nor an id.
    #[error("store {store} knows no snapshot `{text}`")]
    Unknown {
        /// How the store was named.
        store: String,
        /// The text.
        text: String,
    },
    /// Several ids begin like this.
    #[error("`{text}` is ambiguous in store {store}: give more digits")]
    Ambiguous {
        /// How the store was named.
        store: String,
        /// The text.
        text: String,
    },
    /// The snapshot's own bytes are not here, or are none.
    #[error("snapshot {id} cannot be read in store {store}")]
    Unreadable {
        /// How the store was named.
        store: String,
        /// The snapshot.
        id: CanonicalId,
        /// What is wrong with its bytes.
        #[source]
        source: SnapshotBytesError,
    },
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] ReadError),
}

/// Why the bytes of a snapshot are of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotBytesError {
    /// No artifact here has this id.
    #[error("no artifact here has this id")]
    Unknown,
    /// The bytes could not be read.
    #[error(transparent)]
    Blocks(#[from] BlocksError),
    /// The bytes are no snapshot.
    #[error("the bytes are no snapshot")]
    Malformed(#[from] uor_index_format::DecodeError),
    /// The bytes are another snapshot's.
    #[error("the bytes are those of snapshot {0}")]
    Other(CanonicalId),
}

impl Audited {
    /// The snapshot of everything in the store.
    pub fn head(&self) -> Snapshot {
        self.store.view().head().clone()
    }

    /// The snapshot that a full id, the beginning of one, or a label names.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn snapshot(&self, text: &str) -> Result<Snapshot, SnapshotError> {
        let id = self.snapshot_id(text)?;
        let unreadable = |source| SnapshotError::Unreadable {
            store: self.name.clone(),
            id,
            source,
        };
        self.snapshot_of(&id)?.map_err(unreadable)
    }

    fn snapshot_id(&self, text: &str) -> Result<CanonicalId, SnapshotError> {
        let (store, text) = (self.name.clone(), text.to_owned());
        let view = self.store.view();
        let label = RefAssignment::id_of(NAMESPACE_SNAPSHOT, &text);
        let labelled = view
            .state()
            .get(&label, view.head())?
            .and_then(|visible| visible.version);
        if let Some(Content::Ref(assignment)) =
            labelled.as_ref().map(|version| version.record.content())
        {
            return Ok(assignment.target.into());
        }
        if text.len() < PREFIX_LEN_MIN || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(SnapshotError::Unknown { store, text });
        }
        let mut snapshots = Vec::new();
        for id in view.state().ids_with_prefix(&text, usize::MAX)? {
            let versions = view.state().versions(&id, view.head())?;
            if versions
                .iter()
                .any(|version| version.record.type_tag() == Some(snapshot::TYPE_TAG))
            {
                snapshots.push(id);
            }
        }
        match snapshots.as_slice() {
            [] => Err(SnapshotError::Unknown { store, text }),
            [id] => Ok(*id),
            _ => Err(SnapshotError::Ambiguous { store, text }),
        }
    }

    /// The snapshot with this id, or what is wrong with its bytes. Tombstoned ones are still
    /// evidence.
    ///
    /// # Errors
    /// [`ReadError`] if the state cannot be read.
    pub fn snapshot_of(
        &self,
        id: &CanonicalId,
    ) -> Result<Result<Snapshot, SnapshotBytesError>, ReadError> {
        let versions = {
            let view = self.store.view();
            view.state().versions(id, view.head())?
        };
        let payload = versions
            .iter()
            .find_map(|version| version.record.block_payload());
        Ok(payload
            .ok_or(SnapshotBytesError::Unknown)
            .and_then(|payload| self.decode_snapshot(id, payload.checksum)))
    }

    fn decode_snapshot(
        &self,
        id: &CanonicalId,
        payload: Checksum,
    ) -> Result<Snapshot, SnapshotBytesError> {
        let snapshot = Snapshot::decode(&self.store.blocks().read_all(payload, SNAPSHOT_LEN_MAX)?)?;
        let found = CanonicalId::from(snapshot.id());
        if found == *id {
            Ok(snapshot)
        } else {
            Err(SnapshotBytesError::Other(found))
        }
    }

    /// Every snapshot artifact in the store, ascending by id, whether or not it can be read.
    ///
    /// # Errors
    /// [`ReadError`] if the state cannot be read.
    pub fn snapshots(&self) -> Result<Vec<CanonicalId>, ReadError> {
        let view = self.store.view();
        let filter = Filter::type_tag(snapshot::TYPE_TAG);
        view.state()
            .entries(view.head(), &filter)
            .map(|entry| Ok(entry?.id))
            .collect()
    }

    /// What of `snapshot` is missing here, by domain: the number that is needed and how many there
    /// are.
    pub fn lacks(&self, snapshot: &Snapshot) -> Vec<(SiteId, u64, u64)> {
        let view = self.store.view();
        let have = |domain: &SiteId| {
            view.head()
                .frontier
                .get(domain)
                .map_or(0, |head| head.number)
        };
        let needs = snapshot
            .frontier
            .iter()
            .map(|(domain, head)| (*domain, head.number, have(domain)));
        needs.filter(|(_, need, have)| have < need).collect()
    }
}

/// The snapshot that a text names in any of the stores.
///
/// # Errors
/// [`Failed`] with the first store's reason.
pub fn snapshot_in(stores: &[Audited], text: &str) -> Result<Snapshot, Failed> {
    let mut first = None;
    for audited in stores {
        match audited.snapshot(text) {
            Ok(snapshot) => return Ok(snapshot),
            Err(error @ SnapshotError::State(_)) => return Err(error.into()),
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.map_or_else(|| Failed::new("no stores"), Failed::from))
}

/// Checks that stores can be compared at all.
///
/// # Errors
/// [`Failed`] if two belong to different federations.
pub fn one_federation(stores: &[Audited]) -> Result<(), Failed> {
    let Some((first, others)) = stores.split_first() else {
        return Ok(());
    };
    let federation = first.store.federation();
    match others
        .iter()
        .find(|other| other.store.federation() != federation)
    {
        None => Ok(()),
        Some(other) => Err(Failed::new(format!(
            "{} belongs to federation {federation}, {} to {}: there is nothing to compare",
            first.name,
            other.name,
            other.store.federation()
        ))
        .code(Code::OtherFederation)),
    }
}
