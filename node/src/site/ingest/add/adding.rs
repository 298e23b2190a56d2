//! Sources on their way in: counted, taken one after the other, and committed in batches.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::Read;
use std::path::Path;
use std::thread;

use uor_index_format::id::{ArtifactKey, CanonicalId, Checksum};
use uor_index_format::record::{Payload, Record, artifact_key};
use uor_index_format::reference::{NAMESPACE_USER, RefAssignment};

use super::error::{AddError, reading, storing};
use super::files::{Files, Shared};
use super::left_out::LeftOut;
use super::report::{AddEvent, Added, Progress};
use super::source::{AddOptions, Source, check_options, put_options};
use super::stat_cache::{Seen, StatCache};
use super::walk::{Step, Taken, Walk};
use crate::site::bounded::Bounded;
use crate::site::catalog::sort::Sort;
use crate::site::directory::private::{self, DataDirs};
use crate::site::handle::Site;

/// Most records of one commit.
const BATCH_RECORDS_MAX: usize = 16_384;

impl Site {
    /// Adds sources one after the other; each is durable and visible once its [`AddEvent::Added`]
    /// has been told.
    ///
    /// # Errors
    /// [`AddError`]. Sources that were told as added stay.
    pub fn add(
        &self,
        sources: Vec<Source<'_>>,
        options: &AddOptions<'_>,
        on_event: &mut dyn FnMut(AddEvent<'_>),
    ) -> Result<Vec<Added>, AddError> {
        check_options(sources.len(), options)?;
        let _putting = self.putting();
        let cache = if options.reread {
            StatCache::default()
        } else {
            StatCache::load(self.disk.as_ref())
        };
        let shared = Shared::new(self, put_options(options), options.allows_changing);
        let data_dirs = DataDirs::beside(&self.dir);
        let mut seen = Vec::new();
        let result = thread::scope(|scope| {
            let adding = Adding {
                site: self,
                options,
                taken: options.taken(&data_dirs),
                cache: &cache,
                files: Files::new(scope, &shared, options.readers),
                progress: Progress::default(),
                batch: BTreeMap::new(),
                arrived: Vec::new(),
                read: Vec::new(),
                seen: &mut seen,
                reported_files: 0,
                reported_bytes: 0,
                on_event,
            };
            adding.all(sources)
        });
        drop(cache);
        self.remember(seen);
        // Whatever it failed of, once it was cancelled: that is why.
        if result.is_err() {
            self.cancel.check()?
        }
        result
    }

    /// Remembers files, so that they are not read again. What was added is none the worse if that
    /// fails.
    fn remember(&self, seen: Vec<Seen>) {
        if let Some(_guard) = self.files_for_writing().ok().filter(|_| !seen.is_empty()) {
            let disk = self.disk.as_ref();
            drop(StatCache::load(disk).save(seen, disk));
        }
    }
}

/// Progress is reported at least this often, in bytes, and in files.
const REPORT_BYTES: u64 = 4 << 20;
const REPORT_FILES: u64 = 64;

/// Sources on their way in.
pub(super) struct Adding<'a, 'scope> {
    pub(super) site: &'a Site,
    options: &'a AddOptions<'a>,
    pub(super) taken: Taken<'a>,
    pub(super) cache: &'a StatCache,
    pub(super) files: Files<'scope>,
    pub(super) progress: Progress,
    batch: BTreeMap<CanonicalId, Record>,
    /// Payloads of records that had been visible, which may have been without them.
    arrived: Vec<Checksum>,
    /// Files that were read, and whose records are not durable yet.
    pub(super) read: Vec<Seen>,
    /// Files that were read, and whose records are.
    seen: &'a mut Vec<Seen>,
    /// What progress was reported last.
    reported_files: u64,
    reported_bytes: u64,
    on_event: &'a mut dyn FnMut(AddEvent<'_>),
}

/// What one source adds up to.
#[derive(Default)]
pub(super) struct Sums {
    bytes: u64,
    files: u64,
    pub(super) new_bytes: u64,
    pub(super) excluded: u64,
    pub(super) left_out: Bounded<LeftOut>,
    pub(super) changing: Bounded<String>,
}

impl Adding<'_, '_> {
    fn all(mut self, sources: Vec<Source<'_>>) -> Result<Vec<Added>, AddError> {
        self.count(&sources)?;
        sources
            .into_iter()
            .map(|source| self.source(source))
            .collect()
    }

    /// Counts what is to come, and finds out before anything is written whether it is there.
    fn count(&mut self, sources: &[Source<'_>]) -> Result<(), AddError> {
        let (mut bytes, mut files, mut all) = (0, 0, true);
        for source in sources {
            match source {
                Source::Reader { .. } => all = false,
                Source::Path(path) => {
                    let metadata = self.check_source(path)?;
                    if metadata.is_dir() {
                        for step in Walk::new(path, self.taken)? {
                            self.site.cancel.check()?;
                            if let Step::Met { metadata, .. } = step?
                                && metadata.is_file()
                            {
                                bytes += metadata.len();
                                files += 1;
                            }
                        }
                    } else {
                        bytes += metadata.len();
                        files += 1;
                    }
                }
            }
        }
        if all {
            self.progress.bytes_total = Some(bytes);
            self.progress.files_total = Some(files);
        }
        Ok(())
    }

    /// Looks at a path that was given, which is refused where the same thing inside a tree would be
    /// left out.
    fn check_source(&self, path: &Path) -> Result<Metadata, AddError> {
        self.site.check_source(path, self.taken.data_dirs)
    }

    fn source(&mut self, source: Source<'_>) -> Result<Added, AddError> {
        let (path, path_hex) = (source.label(), source.label_hex());
        let mut sums = Sums::default();
        let (key, kind) = match source {
            Source::Reader { reader, label } => {
                (self.stream(reader, &label, &mut sums)?, Sort::File)
            }
            Source::Path(path) => {
                let metadata = self.check_source(&path)?;
                if metadata.is_dir() {
                    (self.directory(&path, &mut sums)?, Sort::Tree)
                } else {
                    let file = self.begin_file(path, &metadata, true);
                    let payload = self.end_file(file, &mut sums)?;
                    (self.file_added(payload, &mut sums)?, Sort::File)
                }
            }
        };
        if let Some(name) = self.options.reference {
            self.name(name, key)?;
        }
        self.flush()?;
        let Sums {
            bytes,
            files,
            new_bytes,
            excluded,
            left_out,
            changing,
        } = sums;
        let skipped = left_out
            .named
            .iter()
            .map(|left_out| left_out.path.clone())
            .collect();
        let added = Added {
            path,
            path_hex,
            key,
            kind,
            bytes,
            files,
            new_bytes,
            excluded,
            skipped,
            left_out,
            changing,
        };
        (self.on_event)(AddEvent::Added(&added));
        Ok(added)
    }

    fn stream(
        &mut self,
        reader: &mut dyn Read,
        label: &str,
        sums: &mut Sums,
    ) -> Result<ArtifactKey, AddError> {
        let before = self.progress.bytes;
        let blocks = self.site.store.blocks();
        let put_options = put_options(self.options);
        let reader = &mut self.site.cancel.reader(reader);
        let mut begin = Vec::new();
        (&mut *reader)
            .take(private::KEY_LEN_MAX + 1)
            .read_to_end(&mut begin)
            .map_err(reading(Path::new(label)))?;
        if self.site.is_key(&begin, None) {
            return Err(AddError::Key { path: label.into() });
        }
        let on_progress = &mut |bytes| self.report_bytes(before + bytes);
        let put = blocks
            .put_with(
                &put_options,
                &mut begin.as_slice().chain(reader),
                on_progress,
            )
            .map_err(storing(label))?;
        sums.new_bytes += put.new_bytes;
        self.files.has_read(put.len);
        self.file_added(
            Payload {
                checksum: put.checksum,
                len: put.len,
            },
            sums,
        )
    }

    /// Notes a file whose bytes are in the blocks.
    pub(super) fn file_added(
        &mut self,
        payload: Payload,
        sums: &mut Sums,
    ) -> Result<ArtifactKey, AddError> {
        sums.bytes += payload.len;
        sums.files += 1;
        self.progress.files += 1;
        self.report_bytes(self.files.bytes());
        self.record(self.options.type_tag, payload)
    }

    /// Notes an artifact for the next commit, unless it is visible already.
    pub(super) fn record(
        &mut self,
        type_tag: Option<u32>,
        payload: Payload,
    ) -> Result<ArtifactKey, AddError> {
        let key = artifact_key(type_tag, &payload);
        if self.site.is_visible(&key.into())? {
            self.arrived.push(payload.checksum);
        } else {
            self.batch
                .insert(key.into(), Record::artifact(type_tag, payload));
        }
        if self.batch.len().max(self.arrived.len()) >= BATCH_RECORDS_MAX {
            self.flush()?;
        }
        Ok(key)
    }

    fn name(&mut self, name: &str, target: ArtifactKey) -> Result<(), AddError> {
        if self.site.ref_target(name, &self.site.head())? != Some(target) {
            let assignment = RefAssignment {
                namespace: NAMESPACE_USER.to_owned(),
                name: name.to_owned(),
                target,
            };
            self.batch
                .insert(assignment.id(), Record::reference(assignment));
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), AddError> {
        self.site.cancel.check()?;
        let records: Vec<Record> = std::mem::take(&mut self.batch).into_values().collect();
        assert!(
            records.len() <= BATCH_RECORDS_MAX,
            "a batch is written as soon as it is full"
        );
        let count = records.len() as u64;
        self.site
            .store
            .payloads_arrived(&std::mem::take(&mut self.arrived))
            .map_err(storing("payloads"))?;
        if records.is_empty() {
            // What mends damaged payloads.
            self.site
                .store
                .blocks()
                .sync()
                .map_err(storing("payloads"))?;
        } else {
            self.site.commit(records)?;
        }
        self.seen.append(&mut self.read);
        self.progress.records_durable += count;
        self.report();
        Ok(())
    }

    /// Reports progress if enough has been made.
    pub(super) fn report_bytes(&mut self, bytes: u64) {
        self.progress.bytes = bytes;
        if bytes - self.reported_bytes >= REPORT_BYTES
            || self.progress.files - self.reported_files >= REPORT_FILES
        {
            self.report();
        }
    }

    fn report(&mut self) {
        (self.reported_bytes, self.reported_files) = (self.progress.bytes, self.progress.files);
        (self.on_event)(AddEvent::Progress(self.progress));
    }
}
