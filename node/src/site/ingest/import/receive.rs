//! A stream being received: record by record into objects, and of the objects, once they are whole,
//! what they are.

use std::collections::BTreeMap;
use std::io::{BufReader, BufWriter, Read, Seek as _, Write as _};
use std::thread::{self, Scope};

use uor_index_format::id::{ArtifactKey, Checksum};
use uor_index_format::record::{Payload, Record, artifact_key};
use uor_index_format::snapshot::Origin;
use uor_index_format::tree::{Attributes, EntryKind};
use uor_zfs::contents::Stored;
use uor_zfs::filesystem::{Filesystem, NodeKind as ZfsKind, Visited};
use uor_zfs::objects::ObjectSet;
use uor_zfs::record::{Begin, Header, Refusal, StreamKind};
use uor_zfs::state::{self, StateError};
use uor_zfs::stream::StreamReader;
use uor_zfs::volume;

use super::contents::{self, HOLES_MAX};
use super::direct::Incoming;
use super::error::{ImportError, storing};
use super::publish::{Base, Staged, known_snapshots, reference_below};
use super::report::{ImportOptions, ImportProgress};
use super::spool::{FileSpool, nameless};
use super::tree::{self, Built, Entries, Links, Node, NodeKind, Source};
use crate::site::handle::Site;

/// Streams are read in portions of this many bytes.
const READ_LEN: usize = 1 << 20;
/// Progress is told at least this often, in bytes.
const TELL_BYTES: u64 = 8 << 20;

/// Receives all snapshots of a stream; nothing of them is visible yet.
pub(super) fn receive(
    site: &Site,
    stream: &mut dyn Read,
    options: &ImportOptions<'_>,
    on_progress: &mut dyn FnMut(ImportProgress),
) -> Result<(Vec<Staged>, Vec<String>), ImportError> {
    thread::scope(|scope| receive_in(scope, site, stream, options, on_progress))
}

fn receive_in<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    site: &'env Site,
    stream: &mut dyn Read,
    options: &ImportOptions<'_>,
    on_progress: &mut dyn FnMut(ImportProgress),
) -> Result<(Vec<Staged>, Vec<String>), ImportError> {
    let mut reader = StreamReader::new(BufReader::with_capacity(READ_LEN, stream));
    let (staged, warnings) = (Vec::new(), Vec::new());
    let mut receiving = Receiving {
        site,
        options,
        is_package: false,
        staged,
        warnings,
        progress: ImportProgress::default(),
    };
    let mut current: Option<Receiver<'_, '_>> = None;
    while let Some(record) = reader.next_record()? {
        let read = record.offset + record.payload.len() as u64;
        if read - receiving.progress.bytes >= TELL_BYTES {
            receiving.progress.bytes = read;
            on_progress(receiving.progress);
        }
        match &record.header {
            Header::Begin(begin) => current = receiving.begin(begin, scope)?,
            Header::End => {
                if let Some(received) = current.take() {
                    receiving.end(received, on_progress)?;
                }
            }
            _ => {
                if let Some(receiver) = &mut current {
                    receiver
                        .set
                        .apply(&receiver.begin, &record, &mut receiver.incoming)?;
                }
            }
        }
    }
    if receiving.staged.is_empty() {
        return Err(ImportError::Nothing);
    }
    Ok((receiving.staged, receiving.warnings))
}

struct Receiving<'env, 'a> {
    site: &'env Site,
    options: &'a ImportOptions<'a>,
    is_package: bool,
    staged: Vec<Staged>,
    warnings: Vec<String>,
    progress: ImportProgress,
}

/// A snapshot on its way in.
struct Receiver<'scope, 'env> {
    begin: Begin,
    set: ObjectSet,
    incoming: Incoming<'scope, 'env>,
    base: Option<Base>,
}

impl<'env> Receiving<'env, '_> {
    /// Gets ready for a snapshot, unless it is to be left out.
    fn begin<'scope>(
        &mut self,
        begin: &Begin,
        scope: &'scope Scope<'scope, 'env>,
    ) -> Result<Option<Receiver<'scope, 'env>>, ImportError> {
        if begin.kind == StreamKind::Package {
            self.is_package = true;
            return Ok(None);
        }
        if let Some(refusal) = begin.refusal() {
            return Err(refusal.into());
        }
        match (begin.objset_type, self.options.volume) {
            (Begin::FILESYSTEM, false) | (Begin::VOLUME, true) => {}
            (Begin::FILESYSTEM, true) if self.is_package => {}
            (Begin::FILESYSTEM, true) => return Err(Refusal::NoVolume.into()),
            (Begin::VOLUME, false) if self.is_package => {
                let name = String::from_utf8_lossy(&begin.to_name).into_owned();
                self.warnings.push(format!(
                    "left out `{name}`: it is a volume, not a filesystem, and volumes were not asked for"
                ));
                return Ok(None);
            }
            (Begin::VOLUME, false) => return Err(Refusal::Volume.into()),
            (objset_type, _) => return Err(Refusal::Other { objset_type }.into()),
        }
        let (dir, blocks, cancel) = (&self.site.dir, self.site.store.blocks(), &self.site.cancel);
        let mut spool = FileSpool::new(dir, blocks, cancel).map_err(ImportError::Spool)?;
        let (set, base) = self.base(begin, &mut spool)?;
        Ok(Some(Receiver {
            begin: begin.clone(),
            set,
            incoming: Incoming::new(spool, scope),
            base,
        }))
    }

    /// The objects of the snapshot that this one tells changes to.
    fn base(
        &self,
        begin: &Begin,
        spool: &mut FileSpool<'_>,
    ) -> Result<(ObjectSet, Option<Base>), ImportError> {
        let (guid, blocks) = (begin.from_guid, self.site.store.blocks());
        if guid == 0 {
            return Ok((ObjectSet::default(), None));
        }
        let staged = self
            .staged
            .iter()
            .rposition(|staged| staged.origin.to_guid == guid);
        let found =
            match staged.and_then(|at| Some((Base::Staged(at), self.staged.get(at)?.state?))) {
                Some(found) => Some(found),
                None => known_base(self.site, guid)?,
            };
        let missing = || ImportError::MissingBase {
            from_guid: guid,
            to_guid: begin.to_guid,
            name: begin.to_name.clone(),
        };
        let (base, state) = found.ok_or_else(missing)?;
        let mut reader = BufReader::new(
            blocks
                .read(state)
                .map_err(storing("the state of the earlier snapshot"))?,
        );
        let decoded = state::decode(&mut reader, spool)
            .map_err(|source| ImportError::Base { guid, source })?;
        if decoded.0 != guid {
            let source = StateError::Field {
                object: 0,
                field: "the GUID of the snapshot",
            };
            return Err(ImportError::Base { guid, source });
        }
        Ok((decoded.1, Some(base)))
    }

    /// Stores what was received, and notes what has to be written to make it visible.
    fn end(
        &mut self,
        received: Receiver<'_, '_>,
        on_progress: &mut dyn FnMut(ImportProgress),
    ) -> Result<(), ImportError> {
        let Receiver {
            begin,
            mut set,
            incoming,
            base,
        } = received;
        let (spool, direct) = incoming.finish().map_err(ImportError::Spool)?;
        let mut new_bytes = 0;
        for direct in direct {
            new_bytes += direct.new_bytes;
            set.adopt(direct.object, direct.stored, direct.taken);
        }
        let set = set;
        let is_volume = begin.objset_type == Begin::VOLUME;
        let filesystem = if is_volume {
            None
        } else {
            Some(Filesystem::open(&set, &spool)?)
        };
        let volume_len = if is_volume {
            volume::len(&set, &spool)?
        } else {
            0
        };
        let len_of = |number| match &filesystem {
            Some(filesystem) => filesystem.content_len(number),
            None if number == volume::CONTENTS => volume_len,
            None => set.end(number),
        };
        let (mut stored, wanted) = sort_out(&set, len_of)?;
        // What cannot be a tree is found before anything is stored.
        let links = filesystem
            .as_ref()
            .map(|filesystem| self.find_links(filesystem))
            .transpose()?
            .unwrap_or_default();
        let progress = &mut self.progress;
        let (put, put_bytes) = contents::put(&set, &spool, wanted, &mut |bytes| {
            progress.stored += bytes;
            on_progress(*progress);
        })?;
        stored.extend(put);
        let mut records: Vec<Record> = stored
            .values()
            .map(|stored| Record::artifact(None, payload_of(stored)))
            .collect();
        let (contents, built) = match &filesystem {
            Some(filesystem) => self.tree(filesystem, &links, &stored)?,
            None => self.volume(volume_len, &stored)?,
        };
        records.extend(built.records);
        let state = self.put_state(&begin, &set, &stored, &spool)?;
        new_bytes += put_bytes + built.new_bytes + state.1;
        records.push(Record::artifact(None, state.0));
        let (name, to_guid, from_guid) = (begin.to_name, begin.to_guid, begin.from_guid);
        let reference = reference_below(self.options.reference, self.staged.first(), &name)?;
        let state_key = Some(artifact_key(None, &state.0));
        let creation = begin.creation;
        let predecessor = None;
        let origin = Origin {
            name,
            to_guid,
            from_guid,
            creation,
            contents,
            state: state_key,
            predecessor,
        };
        let (files, bytes, state) = (built.files, built.bytes, Some(state.0.checksum));
        self.staged.push(Staged {
            origin,
            state,
            base,
            records,
            reference,
            files,
            bytes,
            new_bytes,
        });
        Ok(())
    }

    fn find_links(&mut self, filesystem: &Filesystem<'_>) -> Result<Links, ImportError> {
        let mut source = StreamTree::new(filesystem, &NOTHING_STORED, Payload::of(&[]));
        let links = tree::find_links(&mut source)?;
        self.warnings.extend(source.warnings.into_values());
        Ok(links)
    }

    fn tree(
        &self,
        filesystem: &Filesystem<'_>,
        links: &Links,
        stored: &BTreeMap<u64, Stored>,
    ) -> Result<(ArtifactKey, Built), ImportError> {
        let blocks = self.site.store.blocks();
        let empty = blocks.put_bytes(&[]).map_err(storing("an empty file"))?;
        let empty = Payload {
            checksum: empty.checksum,
            len: 0,
        };
        tree::build(
            &mut StreamTree::new(filesystem, stored, empty),
            links,
            blocks,
        )
    }

    fn volume(
        &self,
        len: u64,
        stored: &BTreeMap<u64, Stored>,
    ) -> Result<(ArtifactKey, Built), ImportError> {
        let blocks = self.site.store.blocks();
        let payload = match stored.get(&volume::CONTENTS) {
            Some(stored) => payload_of(stored),
            None => {
                let empty = blocks.put_bytes(&[]).map_err(storing("an empty volume"))?;
                Payload {
                    checksum: empty.checksum,
                    len: 0,
                }
            }
        };
        let records = vec![Record::artifact(None, payload)];
        Ok((
            artifact_key(None, &payload),
            Built {
                records,
                files: 1,
                bytes: len,
                new_bytes: 0,
            },
        ))
    }

    /// Stores what the next increment needs, and says by how many bytes the blocks grew.
    fn put_state(
        &self,
        begin: &Begin,
        set: &ObjectSet,
        stored: &BTreeMap<u64, Stored>,
        spool: &FileSpool<'_>,
    ) -> Result<(Payload, u64), ImportError> {
        let write = || {
            let mut out = BufWriter::new(nameless(&self.site.dir)?);
            state::encode(begin.to_guid, set, stored, spool, &mut out)?;
            out.flush()?;
            let mut file = out
                .into_inner()
                .map_err(std::io::IntoInnerError::into_error)?;
            file.rewind()?;
            Ok(file)
        };
        let mut file = write().map_err(ImportError::Spool)?;
        let put = self.site.store.blocks().put(&mut file, &mut |_| {});
        let put = put.map_err(storing("the state of the snapshot"))?;
        Ok((
            Payload {
                checksum: put.checksum,
                len: put.len,
            },
            put.new_bytes,
        ))
    }
}

/// Of all contents that are stored apart: those that are stored, and those that are not.
fn sort_out(
    set: &ObjectSet,
    len_of: impl Fn(u64) -> u64,
) -> Result<(BTreeMap<u64, Stored>, Vec<contents::Wanted>), ImportError> {
    let (mut stored, mut wanted, mut holes) = (BTreeMap::new(), Vec::new(), 0_u64);
    for (number, object) in set.objects() {
        let len = len_of(number);
        if !state::is_stored_apart(object, len) {
            continue;
        }
        if let Some(unchanged) = set.unchanged(number, len) {
            stored.insert(number, unchanged);
            continue;
        }
        holes = holes.saturating_add(len.saturating_sub(set.filled(number)));
        if holes > HOLES_MAX {
            return Err(ImportError::TooSparse {
                object: number,
                len,
                max: HOLES_MAX,
            });
        }
        wanted.push((number, len));
    }
    Ok((stored, wanted))
}

fn payload_of(stored: &Stored) -> Payload {
    Payload {
        checksum: Checksum::from_bytes(stored.name),
        len: stored.len,
    }
}

/// The snapshot with this GUID whose state is here.
fn known_base(site: &Site, guid: u64) -> Result<Option<(Base, Checksum)>, ImportError> {
    for (id, origin) in known_snapshots(site, guid)? {
        let Some(state) = origin.state else { continue };
        let view = site.store.view();
        let checksum = view
            .state()
            .entry(&state.into(), view.head())?
            .and_then(|entry| entry.checksum);
        if let Some(checksum) = checksum.filter(|checksum| site.store.blocks().has(*checksum)) {
            return Ok(Some((Base::Known(id), checksum)));
        }
    }
    Ok(None)
}

/// The directories of a received snapshot.
struct StreamTree<'a> {
    filesystem: &'a Filesystem<'a>,
    stored: &'a BTreeMap<u64, Stored>,
    empty: Payload,
    visited: Visited,
    /// One for each object, however often it is looked at.
    warnings: BTreeMap<u64, String>,
}

static NOTHING_STORED: BTreeMap<u64, Stored> = BTreeMap::new();

impl<'a> StreamTree<'a> {
    fn new(
        filesystem: &'a Filesystem<'a>,
        stored: &'a BTreeMap<u64, Stored>,
        empty: Payload,
    ) -> Self {
        Self {
            filesystem,
            stored,
            empty,
            visited: Visited::default(),
            warnings: BTreeMap::new(),
        }
    }
}

impl Source for StreamTree<'_> {
    type Handle = u64;

    fn root(&mut self) -> u64 {
        // Each walk begins here.
        self.visited = Visited::default();
        self.filesystem.root()
    }

    fn node(&mut self, object: &u64) -> Result<Node, ImportError> {
        let node = self.filesystem.node(*object)?;
        let xattrs = self.filesystem.xattrs(&node)?;
        if let Some(name) = xattrs.left_out.first() {
            let name = String::from_utf8_lossy(name);
            let warning = format!(
                "left out extended attribute `{name}` of object {object}: its name or value is too long"
            );
            self.warnings.insert(*object, warning);
        }
        let (mtime_s, mtime_ns) = node.mtime;
        let attributes = Attributes {
            uid: node.uid,
            gid: node.gid,
            mtime_s,
            mtime_ns,
            link: None,
            xattrs: xattrs.values,
        };
        let kind = match node.kind {
            ZfsKind::Directory => NodeKind::Directory,
            ZfsKind::File => NodeKind::File,
            ZfsKind::Symlink { target } => NodeKind::Other(EntryKind::Symlink { target }),
            ZfsKind::Fifo => NodeKind::Other(EntryKind::Fifo),
            ZfsKind::Socket => NodeKind::Other(EntryKind::Socket),
            ZfsKind::CharDevice { device } => NodeKind::Other(EntryKind::CharDevice {
                major: device.major,
                minor: device.minor,
            }),
            ZfsKind::BlockDevice { device } => NodeKind::Other(EntryKind::BlockDevice {
                major: device.major,
                minor: device.minor,
            }),
        };
        Ok(Node {
            kind,
            mode: node.mode,
            attributes,
            identity: Some((0, *object)),
        })
    }

    fn enter(&mut self, object: &u64) -> Result<Entries<u64>, ImportError> {
        self.visited.enter(*object)?;
        let entries = self.filesystem.entries(*object)?;
        Ok(entries
            .into_iter()
            .map(|entry| (entry.name, entry.object))
            .collect())
    }

    fn leave(&mut self) {
        self.visited.leave();
    }

    fn contents(&mut self, object: &u64) -> Result<Payload, ImportError> {
        Ok(self.stored.get(object).map_or(self.empty, payload_of))
    }
}
