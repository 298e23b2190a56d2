//! What the tests share: the fixtures, and a receiver that keeps everything in memory.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uor_zfs::contents::{ContentName, Spool, Stored};
use uor_zfs::filesystem::{Filesystem, FilesystemError, Node, NodeKind, Visited};
use uor_zfs::objects::{ObjectError, ObjectSet};
use uor_zfs::record::{Begin, Header, Refusal, StreamKind};
use uor_zfs::state::{self, StateError};
use uor_zfs::stream::{StreamError, StreamReader};
use uor_zfs::{ByteOrder, Fletcher4};

/// A directory of the fixtures.
pub(crate) fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// A file of the fixtures, unzipped if need be.
pub(crate) fn read(path: &str) -> Vec<u8> {
    let bytes = std::fs::read(data().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    if !path.ends_with(".gz") {
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

/// Keeps blocks, and contents by name.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) blocks: Vec<u8>,
    pub(crate) stored: BTreeMap<ContentName, Vec<u8>>,
}

impl Spool for Memory {
    fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let place = self.blocks.len() as u64;
        self.blocks.extend_from_slice(bytes);
        Ok(place)
    }

    fn read_at(&self, place: u64, out: &mut [u8]) -> io::Result<()> {
        let place = usize::try_from(place).unwrap();
        out.copy_from_slice(&self.blocks[place..place + out.len()]);
        Ok(())
    }

    fn read_stored(&self, stored: &Stored, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        out.copy_from_slice(&self.stored[&stored.name][offset..offset + out.len()]);
        Ok(())
    }
}

/// Why a stream was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Filesystem(#[from] FilesystemError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("needs snapshot {0:016x} first")]
    MissingBase(u64),
    #[error("object {0} has {1} bytes")]
    TooLong(u64, u64),
}

/// Snapshots that were received: their states by GUID, and what they rest on.
pub(crate) struct Receiver {
    /// The longest contents that are read.
    pub(crate) len_max: u64,
    pub(crate) memory: Memory,
    pub(crate) states: BTreeMap<u64, Vec<u8>>,
}

impl Default for Receiver {
    fn default() -> Self {
        // No fixture has a longer file.
        Self {
            len_max: 1 << 30,
            memory: Memory::default(),
            states: BTreeMap::new(),
        }
    }
}

impl Receiver {
    /// Takes all file systems of a stream; gives each one's GUID and listing. Volumes are passed
    /// over inside packages.
    pub(crate) fn receive(&mut self, stream: &[u8]) -> Result<Vec<(u64, Vec<Value>)>, Failure> {
        let mut reader = StreamReader::new(stream);
        let mut current: Option<(Begin, ObjectSet)> = None;
        let mut is_package = false;
        let mut listings = Vec::new();
        while let Some(record) = reader.next_record()? {
            match &record.header {
                Header::Begin(begin) if begin.kind == StreamKind::Package => is_package = true,
                Header::Begin(begin) => {
                    if let Some(refusal) = begin.refusal() {
                        return Err(refusal.into());
                    }
                    if begin.objset_type == Begin::VOLUME && is_package {
                        current = None;
                        continue;
                    } else if begin.objset_type != Begin::FILESYSTEM {
                        return Err(Refusal::Volume.into());
                    }
                    let set = match begin.from_guid {
                        0 => ObjectSet::default(),
                        guid => {
                            let state = self.states.get(&guid).ok_or(Failure::MissingBase(guid))?;
                            state::decode(&mut state.as_slice(), &mut self.memory)?.1
                        }
                    };
                    current = Some((begin.clone(), set));
                }
                Header::End => {
                    if let Some((begin, set)) = current.take() {
                        listings.push((begin.to_guid, self.finish(begin.to_guid, &set)?));
                    }
                }
                _ => {
                    if let Some((begin, set)) = &mut current {
                        set.apply(begin, &record, &mut self.memory)?;
                    }
                }
            }
        }
        Ok(listings)
    }

    fn finish(&mut self, guid: u64, set: &ObjectSet) -> Result<Vec<Value>, Failure> {
        let mut stored = BTreeMap::new();
        let mut contents = Vec::new();
        let filesystem = Filesystem::open(set, &self.memory)?;
        for (number, object) in set.objects() {
            let len = filesystem.content_len(number);
            if len > self.len_max {
                return Err(Failure::TooLong(number, len));
            }
            if state::is_stored_apart(object, len) {
                let mut bytes = vec![0; usize::try_from(len).unwrap()];
                set.read_at(number, 0, &mut bytes, &self.memory).unwrap();
                let name = *blake3::hash(&bytes).as_bytes();
                stored.insert(number, Stored { name, len });
                contents.push((name, bytes));
            }
        }
        let listing = self.listing(&filesystem, set)?;
        let mut encoded = Vec::new();
        state::encode(guid, set, &stored, &self.memory, &mut encoded).unwrap();
        self.states.insert(guid, encoded);
        self.memory.stored.extend(contents);
        Ok(listing)
    }

    fn listing(&self, filesystem: &Filesystem<'_>, set: &ObjectSet) -> Result<Vec<Value>, Failure> {
        let mut lines = Vec::new();
        self.list(
            filesystem,
            set,
            filesystem.root(),
            &[],
            &mut Visited::default(),
            &mut lines,
        )?;
        lines.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(lines.into_iter().map(|(_, line)| line).collect())
    }

    fn list(
        &self,
        filesystem: &Filesystem<'_>,
        set: &ObjectSet,
        object: u64,
        path: &[u8],
        visited: &mut Visited,
        lines: &mut Vec<(Vec<u8>, Value)>,
    ) -> Result<(), Failure> {
        let node = filesystem.node(object)?;
        lines.push((path.to_vec(), self.line(filesystem, set, &node, path)?));
        if node.kind == NodeKind::Directory {
            visited.enter(object)?;
            for entry in filesystem.entries(object)? {
                let inner = if path.is_empty() {
                    entry.name
                } else {
                    [path, b"/", &entry.name].concat()
                };
                self.list(filesystem, set, entry.object, &inner, visited, lines)?;
            }
            visited.leave();
        }
        Ok(())
    }

    fn line(
        &self,
        filesystem: &Filesystem<'_>,
        set: &ObjectSet,
        node: &Node,
        path: &[u8],
    ) -> Result<Value, Failure> {
        let mtime_ns = i128::from(node.mtime.0) * 1_000_000_000 + i128::from(node.mtime.1);
        let mut line = json!({
            "path": std::str::from_utf8(path).ok(),
            "path_hex": hex(path),
            "mode": format!("{:04o}", node.mode),
            "size": node.size,
            "nlink": node.links,
            "uid": node.uid,
            "gid": node.gid,
            "mtime_ns": i64::try_from(mtime_ns).unwrap_or(i64::MAX),
        });
        let (word, more) = match &node.kind {
            NodeKind::Directory => ("dir", None),
            NodeKind::File if node.size > self.len_max => {
                return Err(Failure::TooLong(node.object, node.size));
            }
            NodeKind::File => {
                let mut bytes = vec![0; usize::try_from(node.size).unwrap()];
                set.read_at(node.object, 0, &mut bytes, &self.memory)
                    .unwrap();
                (
                    "file",
                    Some(("sha256", json!(hex(&Sha256::digest(&bytes))))),
                )
            }
            NodeKind::Symlink { target } => ("symlink", Some(("target_hex", json!(hex(target))))),
            NodeKind::Fifo => ("fifo", None),
            NodeKind::Socket => ("socket", None),
            NodeKind::CharDevice { device } => {
                ("char", Some(("rdev", json!([device.major, device.minor]))))
            }
            NodeKind::BlockDevice { device } => {
                ("block", Some(("rdev", json!([device.major, device.minor]))))
            }
        };
        let line_map = line.as_object_mut().unwrap();
        line_map.insert("type".into(), json!(word));
        line_map.extend(more.map(|(key, value)| (key.to_owned(), value)));
        if !path.is_empty() {
            line_map.insert("ino".into(), json!(node.object));
        }
        let xattrs = filesystem.xattrs(node)?;
        let shown: serde_json::Map<_, _> = xattrs
            .values
            .iter()
            .filter(|(name, _)| !name.starts_with(b"system."))
            .map(|(name, value)| {
                (
                    String::from_utf8_lossy(name).into_owned(),
                    json!(hex(value)),
                )
            })
            .collect();
        if !shown.is_empty() {
            line_map.insert("xattrs".into(), Value::Object(shown));
        }
        Ok(line)
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The listing that a snapshot has to give.
pub(crate) fn expected(path: &str) -> Vec<Value> {
    let text = String::from_utf8(read(path)).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Receives the streams that `name` rests on.
pub(crate) fn receiver_for(index: &Value, name: &str) -> Receiver {
    let mut receiver = Receiver::default();
    for base in index[name]["base_chain"].as_array().into_iter().flatten() {
        receiver.receive(&stream(base.as_str().unwrap())).unwrap();
    }
    receiver
}

/// Names the first path that differs.
pub(crate) fn assert_listing(name: &str, found: &[Value], expected: &[Value]) {
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected, "{name}");
    }
    assert_eq!(found.len(), expected.len(), "{name}");
}

/// Rewrites checksums , as far as there are whole records.
pub(crate) fn seal(stream: &mut [u8]) {
    let order = if stream.get(8) == Some(&0xAC) {
        ByteOrder::Little
    } else {
        ByteOrder::Big
    };
    let (mut sum, mut at) = (Fletcher4::default(), 0);
    while let Some(header) = stream.get(at..at + 312) {
        let kind = order.u32(header, 0).unwrap();
        let len = payload_len(header, order, kind);
        let write = |bytes: &mut [u8], sums: [u64; 4]| {
            for (word, sum) in bytes.chunks_exact_mut(8).zip(sums) {
                let sum = if order == ByteOrder::Big {
                    sum.swap_bytes()
                } else {
                    sum
                };
                word.copy_from_slice(&sum.to_le_bytes());
            }
        };
        if kind == 0 {
            sum = Fletcher4::default();
            sum.add(order, &stream[at..at + 312]);
        } else {
            if kind == 5 && order.u64(header, 40) != Some(0) {
                write(&mut stream[at + 8..at + 40], sum.sums);
            }
            sum.add(order, &stream[at..at + 280]);
            write(&mut stream[at + 280..at + 312], sum.sums);
            sum.add(order, &stream[at + 280..at + 312]);
        }
        at += 312;
        let Some(payload) = usize::try_from(len)
            .ok()
            .and_then(|len| stream.get(at..at.checked_add(len)?))
        else {
            return;
        };
        sum.add(order, payload);
        at += payload.len();
    }
}

fn payload_len(header: &[u8], order: ByteOrder, kind: u32) -> u64 {
    let short = |at| u64::from(order.u32(header, at).unwrap());
    let long = |at| order.u64(header, at).unwrap();
    match kind {
        0 => short(4),
        1 if short(36) > 0 => short(36),
        1 => short(28).next_multiple_of(8),
        3 if header[50] > 0 => long(96),
        3 => long(32),
        7 if long(40) > 0 => long(40),
        7 => long(16),
        8 => short(52).next_multiple_of(8),
        _ => 0,
    }
}
