//! The fixtures, and trees as the listings that they have to give.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use uor_asl::disk::Mode;
use uor_index_format::id::ArtifactKey;
use uor_index_format::membership::ConflictRule;
use uor_index_format::tree::{Attributes, EntryKind, LinkId, TREE_LEN_MAX, Tree};
use uor_node::site::{ImportError, ImportOptions, ImportReport, Site, Target};

/// A directory that goes away with the test.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix(&format!("import-{name}-"))
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        Self(dir.unwrap().keep())
    }

    pub(crate) fn site(&self, name: &str) -> Site {
        let dir = self.0.join(name);
        Site::init(&dir, Some(name), ConflictRule::First).unwrap();
        Site::open(&dir, Mode::Write).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A file of the fixtures, unzipped if need be.
pub(crate) fn read(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../zfs/tests/data")
        .join(path);
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if path.extension().is_none_or(|extension| extension != "gz") {
        return bytes;
    }
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes.as_slice())
        .read_to_end(&mut plain)
        .unwrap();
    plain
}

pub(crate) fn stream(name: &str) -> Vec<u8> {
    read(&format!("streams/{name}.zsend.gz"))
}

pub(crate) fn json_file(path: &str) -> Value {
    serde_json::from_slice(&read(path)).unwrap()
}

/// The lines of a listing, without what a tree does not say: object numbers, and lengths of
/// directories.
pub(crate) fn expected(path: &str) -> Vec<Value> {
    let text = String::from_utf8(read(path)).unwrap();
    text.lines()
        .map(|line| {
            let mut line: Map<String, Value> = serde_json::from_str(line).unwrap();
            line.remove("ino");
            line.remove("path");
            if line["type"] == "dir" {
                line.remove("nlink");
            }
            if !["file", "symlink"].contains(&line["type"].as_str().unwrap()) {
                line.remove("size");
            }
            Value::Object(line)
        })
        .collect()
}

pub(crate) fn import(
    site: &Site,
    stream: &[u8],
    reference: Option<&str>,
) -> Result<ImportReport, ImportError> {
    let options = ImportOptions {
        reference,
        ..ImportOptions::default()
    };
    site.import_zfs(&mut Cursor::new(stream), &options, &mut |_| {})
}

pub(crate) fn target(site: &Site, key: ArtifactKey) -> Target {
    site.resolve_id(&key.into(), &site.head()).unwrap()
}

pub(crate) fn bytes_of(site: &Site, key: ArtifactKey, len_max: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    site.open_payload(&target(site, key))
        .unwrap()
        .reader
        .take(len_max)
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

/// Lists trees; each distinct file is read once.
#[derive(Default)]
pub(crate) struct Lister {
    digests: BTreeMap<ArtifactKey, String>,
}

impl Lister {
    /// The listing of a tree, sorted by the bytes of the paths.
    pub(crate) fn list(&mut self, site: &Site, key: ArtifactKey) -> Vec<Value> {
        let mut lines = Vec::new();
        let tree = tree_of(site, key);
        let own = tree.own().expect("the outermost directory has attributes");
        lines.push((
            Vec::new(),
            line(&[], own.mode, &own.attributes, "dir", Map::new()),
            None,
        ));
        self.directory(site, &tree, &[], &mut lines);
        let mut names = BTreeMap::<LinkId, u64>::new();
        lines
            .iter()
            .filter_map(|(_, _, link)| *link)
            .for_each(|link| *names.entry(link).or_default() += 1);
        lines.sort_by(|a, b| a.0.cmp(&b.0));
        let with_links = lines.into_iter().map(|(_, mut line, link)| {
            if line["type"] != "dir" {
                line["nlink"] = json!(link.map_or(1, |link| names[&link]));
            }
            line
        });
        with_links.collect()
    }

    fn directory(
        &mut self,
        site: &Site,
        tree: &Tree,
        path: &[u8],
        lines: &mut Vec<(Vec<u8>, Value, Option<LinkId>)>,
    ) {
        for entry in tree.entries() {
            let path = if path.is_empty() {
                entry.name.clone()
            } else {
                [path, b"/", &entry.name].concat()
            };
            let attributes = entry.attributes.as_ref().unwrap();
            let mut more = Map::new();
            let word = match &entry.kind {
                EntryKind::File { key, len } => {
                    more.insert("size".into(), json!(len));
                    more.insert("sha256".into(), json!(self.digest(site, *key)));
                    "file"
                }
                EntryKind::Directory { .. } => "dir",
                EntryKind::Symlink { target } => {
                    more.insert("size".into(), json!(target.len()));
                    more.insert("target_hex".into(), json!(hex(target)));
                    "symlink"
                }
                EntryKind::Fifo => "fifo",
                EntryKind::Socket => "socket",
                EntryKind::CharDevice { major, minor } => {
                    more.insert("rdev".into(), json!([major, minor]));
                    "char"
                }
                EntryKind::BlockDevice { major, minor } => {
                    more.insert("rdev".into(), json!([major, minor]));
                    "block"
                }
            };
            lines.push((
                path.clone(),
                line(&path, entry.mode, attributes, word, more),
                attributes.link,
            ));
            if let EntryKind::Directory { key } = entry.kind {
                self.directory(site, &tree_of(site, key), &path, lines);
            }
        }
    }

    fn digest(&mut self, site: &Site, key: ArtifactKey) -> String {
        let digest = || {
            let mut hasher = Sha256::new();
            let mut reader = site.open_payload(&target(site, key)).unwrap().reader;
            let mut window = vec![0; 1 << 20];
            loop {
                match reader.read(&mut window).unwrap() {
                    0 => return hex(&hasher.finalize()),
                    len => hasher.update(&window[..len]),
                }
            }
        };
        self.digests.entry(key).or_insert_with(digest).clone()
    }
}

pub(crate) fn tree_of(site: &Site, key: ArtifactKey) -> Tree {
    Tree::decode(&bytes_of(site, key, TREE_LEN_MAX)).unwrap()
}

fn line(
    path: &[u8],
    mode: u32,
    attributes: &Attributes,
    word: &str,
    mut line: Map<String, Value>,
) -> Value {
    let mtime_ns = i128::from(attributes.mtime_s) * 1_000_000_000 + i128::from(attributes.mtime_ns);
    line.insert("path_hex".into(), json!(hex(path)));
    line.insert("type".into(), json!(word));
    line.insert("mode".into(), json!(format!("{mode:04o}")));
    line.insert("uid".into(), json!(attributes.uid));
    line.insert("gid".into(), json!(attributes.gid));
    line.insert("mtime_ns".into(), json!(i64::try_from(mtime_ns).unwrap()));
    let shown = attributes
        .xattrs
        .iter()
        .filter(|(name, _)| !name.starts_with(b"system."));
    let shown: Map<_, _> = shown
        .map(|(name, value)| {
            (
                String::from_utf8_lossy(name).into_owned(),
                json!(hex(value)),
            )
        })
        .collect();
    if !shown.is_empty() {
        line.insert("xattrs".into(), Value::Object(shown));
    }
    Value::Object(line)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Names the first path that differs.
pub(crate) fn assert_listing(name: &str, found: &[Value], expected: &[Value]) {
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected, "{name}");
    }
    assert_eq!(found.len(), expected.len(), "{name}");
}
