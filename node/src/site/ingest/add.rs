//! Files and directories become artifacts.
//!
//! Several threads read files, and put their bytes into blocks ([`files`]); one walks the
//! directories ahead of them, takes their results in the order of the walk, and builds trees from
//! the inside out ([`tree`]). So what is added, and in which commits, does not depend on which
//! thread is quicker.
//!
//! What cannot be in a tree is left out and named ([`left_out`]), what a person does not want is
//! counted ([`excludes`]); a plan says beforehand what would become of everything ([`plan`]).
//!
//! Records follow the bytes in commits of at most [`BATCH_RECORDS_MAX`], the topmost tree and the
//! ref in the last. So memory does not grow with what is added, and a tree becomes visible only
//! when all of it is durable. What was added before a failure stays, as files without a tree;
//! adding again writes only the rest.

pub(in crate::site) mod excludes;
mod files;
pub(in crate::site) mod left_out;
mod plan;
mod tree;

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::thread;

use serde::Serialize;
use uor_asl::blocks::{BlocksError, PutOptions};
use uor_asl::state::ReadError as StateError;
use uor_asl::store::CommitError;
use uor_index_format::id::{ArtifactKey, CanonicalId, Checksum};
use uor_index_format::record::{Payload, Record, artifact_key};
use uor_index_format::reference::{NAMESPACE_USER, NameError, RefAssignment, check_name};
use uor_index_format::tree::TreeError;
use uor_index_format::{program, snapshot, tree as tree_format};

pub use self::excludes::{ExcludeError, Excludes};
use self::files::{Files, Shared};
pub use self::left_out::{Bounded, LeftOut, Obstacle};
pub use self::plan::{Fate, Planned};
use super::stat_cache::{Seen, StatCache};
use super::walk::{Step, Taken, Walk, reading};
use crate::cancel::Cancelled;
use crate::site::catalog::sort::Sort;
use crate::site::directory::private::{self, DataDirs};
use crate::site::handle::Site;
use crate::site::json;
use crate::site::text;

/// Most records of one commit.
const BATCH_RECORDS_MAX: usize = 16_384;

/// One thing to be added.
pub enum Source<'a> {
    /// A file or a directory; a symlink given here is followed.
    Path(PathBuf),
    /// A stream, such as standard input.
    Reader {
        /// What it is called in results: `-`.
        label: String,
        /// Its bytes.
        reader: &'a mut dyn Read,
    },
}

impl Source<'_> {
    fn label(&self) -> String {
        match self {
            Self::Path(path) => text::text_of(path.as_os_str().as_bytes()),
            Self::Reader { label, .. } => label.clone(),
        }
    }

    fn label_hex(&self) -> Option<String> {
        match self {
            Self::Path(path) => text::hex_of(path.as_os_str().as_bytes()),
            Self::Reader { .. } => None,
        }
    }
}

/// How things are added.
#[derive(Clone, Copy, Default)]
pub struct AddOptions<'a> {
    /// The type tag of every file.
    pub type_tag: Option<u32>,
    /// The name that the one source gets.
    pub reference: Option<&'a str>,
    /// Says which paths below a directory are taken; all, if absent.
    pub filter: Option<&'a dyn Fn(&Path) -> bool>,
    /// What is not wanted, beside what the files `.uorignore` in a tree say.
    pub excludes: Option<&'a Excludes>,
    /// Takes what those files say to leave out.
    pub ignores_uorignore: bool,
    /// Stores a file that keeps changing as it was read last, goes on without one that goes away,
    /// and says so.
    pub allows_changing: bool,
    /// Reads every file, also those that look as they did when they were last read, and verifies
    /// what is stored of it.
    pub reread: bool,
    /// How many files are read at the same time; if absent, as many as the machine has cores.
    pub readers: Option<NonZeroUsize>,
}

/// How far adding has come; no number ever falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes read.
    pub bytes: u64,
    /// Bytes in all, where they could be counted beforehand.
    pub bytes_total: Option<u64>,
    /// Files read.
    pub files: u64,
    /// Files in all, where they could be counted beforehand.
    pub files_total: Option<u64>,
    /// Records that are durable.
    pub records_durable: u64,
}

/// What happens while things are added.
#[derive(Debug)]
pub enum AddEvent<'a> {
    /// It goes on.
    Progress(Progress),
    /// A source is durable and visible.
    Added(&'a Added),
}

/// One source that was added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Added {
    /// The source as it was given; escaped if it is no UTF-8.
    pub path: String,
    /// The bytes of its path in hexadecimal, if they are no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// What it became.
    #[serde(serialize_with = "json::text")]
    pub key: ArtifactKey,
    /// `file` or `tree`.
    pub kind: Sort,
    /// Bytes of all files.
    pub bytes: u64,
    /// How many files.
    pub files: u64,
    /// By how many bytes the blocks grew.
    pub new_bytes: u64,
    /// How many things were left out because they are not wanted; of a directory, the directory.
    pub excluded: u64,
    /// Paths of what was left out by necessity, as far as they are named.
    pub skipped: Vec<String>,
    /// What was left out by necessity, and why.
    pub left_out: Bounded<LeftOut>,
    /// Files that were changing all the while, and are stored as they were read last.
    pub changing: Bounded<String>,
}

/// Why something was not added.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// It could not be read.
    #[error("could not read {}", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is a socket, a device or the like.
    #[error("{} is neither a file nor a directory: {reason}", path.display())]
    Special {
        /// The path.
        path: PathBuf,
        /// What it is.
        reason: Obstacle,
    },
    /// It is a data directory, or lies in one.
    #[error("{} is not added: {} is a data directory of uor, or a copy of one", path.display(), dir.display())]
    DataDirectory {
        /// The path.
        path: PathBuf,
        /// The data directory.
        dir: PathBuf,
    },
    /// It is the private key of a site.
    #[error("{} is not added: it is the private key of a site", path.display())]
    Key {
        /// The path.
        path: PathBuf,
    },
    /// It changed each time it was read.
    #[error("{} keeps changing while it is read: what would be stored is a mixture of before and after", path.display())]
    Changing {
        /// The path.
        path: PathBuf,
    },
    /// What is not wanted cannot be told.
    #[error(transparent)]
    Exclude(#[from] ExcludeError),
    /// The type tag has a meaning of its own.
    #[error("type tag {tag} is the tag of {}, which files do not get by hand", sort.with_article())]
    ReservedTag {
        /// The tag.
        tag: u32,
        /// What it marks.
        sort: Sort,
    },
    /// A name was given for several things.
    #[error("one name cannot be given to {sources} things: add them one by one")]
    NameForMany {
        /// How many sources there are.
        sources: usize,
    },
    /// The name cannot be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A directory entry cannot stand in a tree.
    #[error("could not make a tree of {}", path.display())]
    Tree {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: TreeError,
    },
    /// The payload could not be stored.
    #[error("could not store {path}")]
    Blocks {
        /// The file.
        path: String,
        /// What is wrong.
        #[source]
        source: BlocksError,
    },
    /// It is not wanted any more.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The records could not be written.
    #[error("could not write the records")]
    Commit(#[from] CommitError),
}

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
                told_files: 0,
                told_bytes: 0,
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

impl<'a> AddOptions<'a> {
    fn taken(&self, data_dirs: &'a DataDirs) -> Taken<'a> {
        let &Self {
            filter,
            excludes,
            ignores_uorignore,
            allows_changing,
            ..
        } = self;
        Taken {
            filter,
            data_dirs: Some(data_dirs),
            excludes,
            ignores_uorignore,
            allows_changing,
        }
    }
}

/// Who has everything read means to have it sound.
fn put_options(options: &AddOptions<'_>) -> PutOptions {
    PutOptions {
        check_existing: options.reread,
        ..PutOptions::default()
    }
}

fn check_options(sources: usize, options: &AddOptions<'_>) -> Result<(), AddError> {
    if let Some(tag) = options.type_tag {
        let reserved = [
            (tree_format::TYPE_TAG, Sort::Tree),
            (program::TYPE_TAG, Sort::Program),
            (snapshot::TYPE_TAG, Sort::Snapshot),
        ];
        if let Some((tag, sort)) = reserved.into_iter().find(|(reserved, _)| *reserved == tag) {
            return Err(AddError::ReservedTag { tag, sort });
        }
    }
    if let Some(name) = options.reference {
        check_name(name)?;
        if sources != 1 {
            return Err(AddError::NameForMany { sources });
        }
    }
    Ok(())
}

/// Sources on their way in.
struct Adding<'a, 'scope> {
    site: &'a Site,
    options: &'a AddOptions<'a>,
    taken: Taken<'a>,
    cache: &'a StatCache,
    files: Files<'scope>,
    progress: Progress,
    batch: BTreeMap<CanonicalId, Record>,
    /// Payloads of records that had been visible, which may have been without them.
    arrived: Vec<Checksum>,
    /// Files that were read, and whose records are not durable yet.
    read: Vec<Seen>,
    /// Files that were read, and whose records are.
    seen: &'a mut Vec<Seen>,
    /// What progress was told last.
    told_files: u64,
    told_bytes: u64,
    on_event: &'a mut dyn FnMut(AddEvent<'_>),
}

/// What one source adds up to.
#[derive(Default)]
struct Sums {
    bytes: u64,
    files: u64,
    new_bytes: u64,
    excluded: u64,
    left_out: Bounded<LeftOut>,
    changing: Bounded<String>,
}

/// Progress is told at least this often, in bytes, and after every so many files.
const TELL_BYTES: u64 = 4 << 20;
const TELL_FILES: u64 = 64;

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
        let on_progress = &mut |bytes| self.tell_bytes(before + bytes);
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
    fn file_added(&mut self, payload: Payload, sums: &mut Sums) -> Result<ArtifactKey, AddError> {
        sums.bytes += payload.len;
        sums.files += 1;
        self.progress.files += 1;
        self.tell_bytes(self.files.bytes());
        self.record(self.options.type_tag, payload)
    }

    /// Notes an artifact for the next commit, unless it is visible already.
    fn record(&mut self, type_tag: Option<u32>, payload: Payload) -> Result<ArtifactKey, AddError> {
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
        self.tell();
        Ok(())
    }

    /// Tells progress if there is enough to tell.
    fn tell_bytes(&mut self, bytes: u64) {
        self.progress.bytes = bytes;
        if bytes - self.told_bytes >= TELL_BYTES
            || self.progress.files - self.told_files >= TELL_FILES
        {
            self.tell();
        }
    }

    fn tell(&mut self) {
        (self.told_bytes, self.told_files) = (self.progress.bytes, self.progress.files);
        (self.on_event)(AddEvent::Progress(self.progress));
    }
}

impl Site {
    /// What a path is that is to be added; refuses what never is.
    fn check_source(
        &self,
        path: &Path,
        data_dirs: Option<&DataDirs>,
    ) -> Result<Metadata, AddError> {
        let metadata = fs::metadata(path).map_err(reading(path))?;
        let around = data_dirs
            .map(|dirs| dirs.around(path))
            .transpose()
            .map_err(reading(path))?;
        if let Some(dir) = around.flatten() {
            return Err(AddError::DataDirectory {
                path: path.to_owned(),
                dir,
            });
        }
        if !metadata.is_dir() && !metadata.is_file() {
            return Err(AddError::Special {
                path: path.to_owned(),
                reason: Obstacle::of_special(&metadata),
            });
        }
        if self.is_key_file(path, &metadata) {
            return Err(AddError::Key {
                path: path.to_owned(),
            });
        }
        Ok(metadata)
    }
}

fn storing(path: &str) -> impl FnOnce(BlocksError) -> AddError {
    move |source| AddError::Blocks {
        path: path.to_owned(),
        source,
    }
}
