//! How snapshots are imported, how far that has come, and what it brought.

use serde::Serialize;
use uor_index_format::id::{ArtifactKey, SnapshotId};

use crate::site::catalog::origin::ZfsIdentity;
use crate::site::json;

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
