//! A stream being received: record by record into objects, and of the objects, once they are whole,
//! what they are.

use std::collections::BTreeMap;
use std::io::{BufReader, BufWriter, Read, Seek as _, Write as _};
use std::thread::{self, Scope};

use uor_index_format::id::{ArtifactKey, Checksum};
use uor_index_format::record::{Payload, Record, artifact_key};
use uor_index_format::snapshot::Origin;
use uor_zfs::contents::Stored;
use uor_zfs::filesystem::Filesystem;
use uor_zfs::objects::ObjectSet;
use uor_zfs::record::{Begin, Header, Refusal, StreamKind};
use uor_zfs::state::{self, StateError};
use uor_zfs::stream::StreamReader;
use uor_zfs::volume;

use super::contents::{self, HOLES_MAX};
use super::direct::{Direct, Incoming};
use super::error::{ImportError, storing};
use super::publish::{Base, Staged, known_snapshots, reference_below};
use super::report::{ImportOptions, ImportProgress};
use super::spool::{FileSpool, nameless};
use super::stream_tree::{NOTHING_STORED, StreamTree, payload_of};
use super::tree::{self, Built, Links};
use crate::site::handle::Site;

/// Streams are read in portions of this many bytes.
const READ_LEN: usize = 1 << 20;
/// Progress is reported at least this often, in bytes.
const REPORT_BYTES: u64 = 8 << 20;

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
        if read - receiving.progress.bytes >= REPORT_BYTES {
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

/// What the objects of a snapshot are, once they are whole.
enum Dataset<'a> {
    Filesystem(Filesystem<'a>),
    /// A volume of `len` bytes.
    Volume {
        len: u64,
    },
}

impl<'a> Dataset<'a> {
    fn open(
        begin: &Begin,
        set: &'a ObjectSet,
        spool: &'a FileSpool<'_>,
    ) -> Result<Self, ImportError> {
        Ok(if begin.objset_type == Begin::VOLUME {
            Self::Volume {
                len: volume::len(set, spool)?,
            }
        } else {
            Self::Filesystem(Filesystem::open(set, spool)?)
        })
    }

    /// Length of an object's contents in bytes.
    fn content_len(&self, set: &ObjectSet, number: u64) -> u64 {
        match self {
            Self::Filesystem(filesystem) => filesystem.content_len(number),
            Self::Volume { len } if number == volume::CONTENTS => *len,
            Self::Volume { .. } => set.end(number),
        }
    }
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
        let direct_bytes = adopt(&mut set, direct);
        let set = set;
        let dataset = Dataset::open(&begin, &set, &spool)?;
        let (mut stored, unstored) = sort_out(&set, |number| dataset.content_len(&set, number))?;
        // What cannot be a tree is found before anything is stored.
        let links = match &dataset {
            Dataset::Filesystem(filesystem) => self.find_links(filesystem)?,
            Dataset::Volume { .. } => Links::default(),
        };
        let progress = &mut self.progress;
        let (put, put_bytes) = contents::put(&set, &spool, unstored, &mut |bytes| {
            progress.stored += bytes;
            on_progress(*progress);
        })?;
        stored.extend(put);
        let (contents, built) = match &dataset {
            Dataset::Filesystem(filesystem) => self.tree(filesystem, &links, &stored)?,
            Dataset::Volume { len } => self.volume(*len, &stored)?,
        };
        let (state, state_bytes) = self.put_state(&begin, &set, &stored, &spool)?;
        let artifact = |payload| Record::artifact(None, payload);
        let mut records: Vec<Record> = stored.values().map(payload_of).map(artifact).collect();
        records.extend(built.records);
        records.push(artifact(state));
        let first = self.staged.first();
        let reference = reference_below(self.options.reference, first, &begin.to_name)?;
        self.staged.push(Staged {
            origin: Origin {
                name: begin.to_name,
                to_guid: begin.to_guid,
                from_guid: begin.from_guid,
                creation: begin.creation,
                contents,
                state: Some(artifact_key(None, &state)),
                predecessor: None,
            },
            state: Some(state.checksum),
            base,
            records,
            reference,
            files: built.files,
            bytes: built.bytes,
            new_bytes: direct_bytes + put_bytes + built.new_bytes + state_bytes,
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

/// Notes which files were stored at once; says by how many bytes the blocks grew.
fn adopt(set: &mut ObjectSet, direct: Vec<Direct>) -> u64 {
    let mut new_bytes = 0;
    for file in direct {
        new_bytes += file.new_bytes;
        set.adopt(file.object, file.stored, file.taken);
    }
    new_bytes
}

/// Of all contents that are stored apart: those that are stored, and those that are not.
fn sort_out(
    set: &ObjectSet,
    len_of: impl Fn(u64) -> u64,
) -> Result<(BTreeMap<u64, Stored>, Vec<contents::Unstored>), ImportError> {
    let (mut stored, mut unstored, mut holes) = (BTreeMap::new(), Vec::new(), 0_u64);
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
        unstored.push((number, len));
    }
    Ok((stored, unstored))
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
