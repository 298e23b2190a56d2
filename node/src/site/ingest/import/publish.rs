//! What makes an import visible: records, at the very end.
//!
//! First come the artifacts, in an order in which nothing names what is not there; then, in one
//! commit, the snapshots that show them, the names, and the edges. A crash between the two leaves
//! files and trees that nothing names, and importing again writes only the rest.

use std::collections::{BTreeMap, BTreeSet};

use uor_asl::state::Filter;
use uor_index_format::edge::{Edge, Endpoint, Role};
use uor_index_format::id::{ArtifactKey, CanonicalId, Checksum, SnapshotId};
use uor_index_format::record::{Payload, Record};
use uor_index_format::reference::{NAMESPACE_USER, RefAssignment, check_name};
use uor_index_format::snapshot::{Origin, Snapshot, TYPE_TAG};

use super::error::{ImportError, storing};
use super::report::Imported;
use crate::site::catalog::origin::ZfsIdentity;
use crate::site::catalog::snapshots::find::SNAPSHOT_LEN_MAX;
use crate::site::handle::Site;

/// The edge from the import that another rests on.
const USED: &str = "used";
/// The edge to what an import brought.
const GENERATED: &str = "generated";

/// What an increment rests on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Base {
    /// A snapshot that is here.
    Known(SnapshotId),
    /// One that came with the same stream, by its place.
    Staged(usize),
}

/// A snapshot that has been verified and stored, and is not visible yet.
pub(super) struct Staged {
    /// Where it came from; its predecessor is filled in later.
    pub(super) origin: Origin,
    /// Checksum of its state.
    pub(super) state: Option<Checksum>,
    pub(super) base: Option<Base>,
    pub(super) records: Vec<Record>,
    pub(super) reference: Option<String>,
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) new_bytes: u64,
}

/// Snapshots that an import made of the ZFS snapshot with this GUID.
pub(super) fn known_snapshots(
    site: &Site,
    guid: u64,
) -> Result<Vec<(SnapshotId, Origin)>, ImportError> {
    let entries = {
        let view = site.store.view();
        let filter = Filter::type_tag(TYPE_TAG);
        view.state()
            .entries(view.head(), &filter)
            .collect::<Result<Vec<_>, _>>()?
    };
    let mut known = Vec::new();
    for entry in entries {
        let id: SnapshotId = entry.id.into();
        let Some(checksum) = entry
            .checksum
            .filter(|checksum| site.store.blocks().has(*checksum))
        else {
            continue;
        };
        let bytes = site
            .store
            .blocks()
            .read_all(checksum, SNAPSHOT_LEN_MAX)
            .map_err(storing(format!("snapshot {id}")))?;
        // Whoever signed what is no snapshot has not made an import either.
        let Ok(snapshot) = Snapshot::decode(&bytes) else {
            continue;
        };
        if let Some(origin) = snapshot.origin.filter(|origin| origin.to_guid == guid) {
            known.push((id, *origin));
        }
    }
    Ok(known)
}

/// The name of one of several file systems: below the first one's, as the data set is below the
/// first data set.
pub(super) fn reference_below(
    reference: Option<&str>,
    first: Option<&Staged>,
    name: &[u8],
) -> Result<Option<String>, ImportError> {
    let (Some(reference), Some(first)) = (reference, first) else {
        return Ok(reference.map(str::to_owned));
    };
    let dataset = |name: &[u8]| {
        let mut parts = name.split(|byte| *byte == b'@');
        let dataset = parts.next().expect("splitting gives one part at least");
        String::from_utf8_lossy(dataset).into_owned()
    };
    let (top, own) = (dataset(&first.origin.name), dataset(name));
    let below = if own == top {
        String::new()
    } else {
        format!("/{}", own.strip_prefix(&format!("{top}/")).unwrap_or(&own))
    };
    let reference = format!("{reference}{below}");
    check_name(&reference)?;
    Ok(Some(reference))
}

/// Makes everything that was staged visible.
pub(super) fn publish(site: &Site, staged: Vec<Staged>) -> Result<Vec<Imported>, ImportError> {
    let mut known = Vec::new();
    for one in &staged {
        known.push(known_already(site, &one.origin)?);
    }
    let new = staged.iter().zip(&known);
    let new = new.filter_map(|(one, known)| known.is_none().then_some(one));
    write_artifacts(site, new)?;
    let mut publication = Publication {
        site,
        position: site.head(),
        batch: BTreeMap::new(),
        imported: Vec::new(),
    };
    for (one, known) in staged.into_iter().zip(known) {
        publication.add(one, known)?;
    }
    publication.commit()
}

/// Writes the artifacts of what was staged, as far as they are not visible.
fn write_artifacts<'a>(
    site: &Site,
    staged: impl Iterator<Item = &'a Staged>,
) -> Result<(), ImportError> {
    let (mut records, mut arrived, mut noted) = (Vec::new(), Vec::new(), BTreeSet::new());
    for record in staged.flat_map(|one| &one.records) {
        if !noted.insert(record.id()) {
            continue;
        }
        if site.is_visible(&record.id())? {
            arrived.extend(record.block_payload().map(|payload| payload.checksum));
        } else {
            records.push(record.clone());
        }
    }
    site.store
        .payloads_arrived(&arrived)
        .map_err(storing("payloads"))?;
    site.commit_in_order(records)?;
    site.store.blocks().sync().map_err(storing("payloads"))
}

/// The snapshot that has been made of the same ZFS snapshot.
fn known_already(site: &Site, origin: &Origin) -> Result<Option<SnapshotId>, ImportError> {
    let known = known_snapshots(site, origin.to_guid)?;
    let is_same = |other: &Origin| {
        other.contents == origin.contents && (origin.to_guid != 0 || other.name == origin.name)
    };
    // Where one is mounted, not every attribute may be visible; streams tell all.
    let is_stream = |origin: &Origin| origin.to_guid != 0 && origin.state.is_some();
    let differs = |other: &Origin| is_stream(origin) && is_stream(other) && !is_same(other);
    if let Some((other, _)) = known.iter().find(|(_, other)| differs(other)) {
        return Err(ImportError::OtherContents {
            guid: origin.to_guid,
            known: *other,
        });
    }
    let has_all = |other: &Origin| other.state.is_some() || origin.state.is_none();
    Ok(known
        .into_iter()
        .find(|(_, other)| is_same(other) && has_all(other))
        .map(|(id, _)| id))
}

/// The one commit that makes an import visible.
struct Publication<'a> {
    site: &'a Site,
    /// What the snapshots show: everything of before, and the artifacts.
    position: Snapshot,
    batch: BTreeMap<CanonicalId, Record>,
    imported: Vec<Imported>,
}

impl Publication<'_> {
    /// Notes what names a snapshot that was staged; `known` is the one that is here already.
    fn add(&mut self, one: Staged, known: Option<SnapshotId>) -> Result<(), ImportError> {
        let predecessor = match one.base {
            Some(Base::Known(id)) => Some(id),
            Some(Base::Staged(at)) => self.imported.get(at).map(|imported| imported.snapshot_id),
            None => None,
        };
        let origin = Origin {
            predecessor,
            ..one.origin
        };
        let zfs = ZfsIdentity::of(&origin);
        let tree = origin.contents;
        let named = self.name(one.reference.as_deref(), tree)?;
        let snapshot_id = match known {
            Some(id) => id,
            None => self.snapshot(origin, named)?,
        };
        self.imported.push(Imported {
            snapshot_id,
            reference: one.reference,
            tree,
            files: one.files,
            bytes: one.bytes,
            new_bytes: if known.is_some() { 0 } else { one.new_bytes },
            zfs,
            known: known.is_some(),
        });
        Ok(())
    }

    /// The snapshot of everything at the position, made by an import from `origin`, with the edges
    /// to what it brought and from what it rests on.
    fn snapshot(
        &mut self,
        origin: Origin,
        named: Option<CanonicalId>,
    ) -> Result<SnapshotId, ImportError> {
        let (tree, predecessor) = (origin.contents, origin.predecessor);
        let id = self.artifact(&Snapshot {
            origin: Some(Box::new(origin)),
            ..self.position.clone()
        })?;
        let ends = [CanonicalId::from(tree)].into_iter().chain(named);
        self.edge(GENERATED, id.into(), ends.collect())?;
        if let Some(predecessor) = predecessor {
            self.edge(USED, predecessor.into(), vec![id.into()])?;
        }
        Ok(id)
    }

    fn artifact(&mut self, snapshot: &Snapshot) -> Result<SnapshotId, ImportError> {
        let bytes = snapshot.encode();
        self.site
            .store
            .blocks()
            .put_bytes(&bytes)
            .map_err(storing("the snapshot"))?;
        let record = Record::artifact(Some(TYPE_TAG), Payload::of(&bytes));
        let id = record.id();
        if !self.site.is_visible(&id)? {
            self.batch.insert(id, record);
        }
        Ok(id.into())
    }

    /// Points a name at what was imported, unless it does already; says which ref that is.
    fn name(
        &mut self,
        reference: Option<&str>,
        target: ArtifactKey,
    ) -> Result<Option<CanonicalId>, ImportError> {
        let Some(name) = reference else {
            return Ok(None);
        };
        let assignment = RefAssignment {
            namespace: NAMESPACE_USER.to_owned(),
            name: name.to_owned(),
            target,
        };
        let id = assignment.id();
        // A later snapshot of the same file system takes the name over.
        if self.site.ref_target(name, &self.site.head())? == Some(target) {
            self.batch.remove(&id);
        } else {
            self.batch.insert(id, Record::reference(assignment));
        }
        Ok(Some(id))
    }

    fn edge(
        &mut self,
        edge_type: &str,
        from: CanonicalId,
        to: Vec<CanonicalId>,
    ) -> Result<(), ImportError> {
        let end = |id: CanonicalId| Endpoint::Artifact(id.into());
        let edge = Edge {
            edge_type: edge_type.to_owned(),
            from: vec![end(from)],
            to: to.into_iter().map(end).collect(),
            role: Role::Both,
            attribute: None,
        };
        if !self.site.is_visible(&edge.id())? {
            self.batch.insert(edge.id(), Record::edge(edge));
        }
        Ok(())
    }

    /// Writes what was noted, and retains the snapshots that are new.
    fn commit(self) -> Result<Vec<Imported>, ImportError> {
        let Self {
            site,
            batch,
            imported,
            ..
        } = self;
        site.commit_in_order(batch.into_values().collect())?;
        let new = imported.iter().filter(|imported| !imported.known);
        let new: Vec<SnapshotId> = new.map(|imported| imported.snapshot_id).collect();
        site.change_retained(|retained| {
            let before = retained.len();
            retained.extend(new);
            retained.len() > before
        })?;
        Ok(imported)
    }
}
