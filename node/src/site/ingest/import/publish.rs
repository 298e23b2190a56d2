//! What makes an import visible: records, at the very end.
//!
//! First come the artifacts, in an order in which nothing names what is not there; then, in one
//! commit, the snapshots that show them, the names, and the edges. A crash between the two leaves
//! files and trees that nothing names, and importing again writes only the rest.

use std::collections::BTreeMap;

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
        String::from_utf8_lossy(name.split(|byte| *byte == b'@').next().unwrap_or_default())
            .into_owned()
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
    let (mut records, mut arrived) = (Vec::new(), Vec::new());
    let mut noted = std::collections::BTreeSet::new();
    for (one, _) in staged
        .iter()
        .zip(&known)
        .filter(|(_, known)| known.is_none())
    {
        for record in &one.records {
            if !noted.insert(record.id()) {
                continue;
            }
            if site.is_visible(&record.id())? {
                arrived.extend(record.block_payload().map(|payload| payload.checksum));
            } else {
                records.push(record.clone());
            }
        }
    }
    site.store
        .payloads_arrived(&arrived)
        .map_err(storing("payloads"))?;
    site.commit_in_order(records)?;
    site.store.blocks().sync().map_err(storing("payloads"))?;

    let position = site.head();
    let mut batch = BTreeMap::new();
    let mut imported: Vec<Imported> = Vec::new();
    for (one, known) in staged.into_iter().zip(known) {
        let predecessor = match one.base {
            Some(Base::Known(id)) => Some(id),
            Some(Base::Staged(at)) => imported.get(at).map(|imported| imported.snapshot_id),
            None => None,
        };
        let origin = Origin {
            predecessor,
            ..one.origin
        };
        let zfs = ZfsIdentity::of(&origin);
        let tree = origin.contents;
        let named = name(site, one.reference.as_deref(), tree, &mut batch)?;
        let snapshot_id = match known {
            Some(id) => id,
            None => {
                let id = snapshot(site, &position, origin, &mut batch)?;
                let ends = [CanonicalId::from(tree)].into_iter().chain(named);
                edge(site, GENERATED, vec![id.into()], ends.collect(), &mut batch)?;
                if let Some(predecessor) = predecessor {
                    edge(
                        site,
                        USED,
                        vec![predecessor.into()],
                        vec![id.into()],
                        &mut batch,
                    )?;
                }
                id
            }
        };
        let (files, bytes, new_bytes) = (
            one.files,
            one.bytes,
            if known.is_some() { 0 } else { one.new_bytes },
        );
        let reference = one.reference;
        imported.push(Imported {
            snapshot_id,
            reference,
            tree,
            files,
            bytes,
            new_bytes,
            zfs,
            known: known.is_some(),
        });
    }
    site.commit_in_order(batch.into_values().collect())?;
    site.change_kept(|kept| {
        let before = kept.len();
        kept.extend(
            imported
                .iter()
                .filter(|imported| !imported.known)
                .map(|imported| imported.snapshot_id),
        );
        kept.len() > before
    })?;
    Ok(imported)
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

/// The record of a snapshot of everything at `position`, made by an import from `origin`.
fn snapshot(
    site: &Site,
    position: &Snapshot,
    origin: Origin,
    batch: &mut BTreeMap<CanonicalId, Record>,
) -> Result<SnapshotId, ImportError> {
    let bytes = Snapshot {
        origin: Some(Box::new(origin)),
        ..position.clone()
    }
    .encode();
    site.store
        .blocks()
        .put_bytes(&bytes)
        .map_err(storing("the snapshot"))?;
    let record = Record::artifact(Some(TYPE_TAG), Payload::of(&bytes));
    let id = record.id();
    if !site.is_visible(&id)? {
        batch.insert(id, record);
    }
    Ok(id.into())
}

/// Points a name at what was imported, unless it does already; says which ref that is.
fn name(
    site: &Site,
    reference: Option<&str>,
    target: ArtifactKey,
    batch: &mut BTreeMap<CanonicalId, Record>,
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
    if site.ref_target(name, &site.head())? == Some(target) {
        batch.remove(&id);
    } else {
        batch.insert(id, Record::reference(assignment));
    }
    Ok(Some(id))
}

fn edge(
    site: &Site,
    edge_type: &str,
    from: Vec<CanonicalId>,
    to: Vec<CanonicalId>,
    batch: &mut BTreeMap<CanonicalId, Record>,
) -> Result<(), ImportError> {
    let ends = |ids: Vec<CanonicalId>| {
        ids.into_iter()
            .map(|id| Endpoint::Artifact(id.into()))
            .collect()
    };
    let (edge_type, role) = (edge_type.to_owned(), Role::Both);
    let edge = Edge {
        edge_type,
        from: ends(from),
        to: ends(to),
        role,
        attribute: None,
    };
    if !site.is_visible(&edge.id())? {
        batch.insert(edge.id(), Record::edge(edge));
    }
    Ok(())
}
