//! What must be equal once a world has settled. File layout, arrival order and clocks are not
//! compared.

use uor_asl::state::{Filter, ReadError};
use uor_asl::store::View;
use uor_index_format::id::{CanonicalId, Checksum};
use uor_index_format::order::Place;
use uor_index_format::state::Entry;
use uor_node::replication::Notice;

use crate::world::{Node, World};

/// Checks every promise; says which one is broken, and by whom.
///
/// # Errors
/// The broken promise, in words.
pub fn check(world: &World) -> Result<(), String> {
    let first = &world.nodes[0];
    let restored = world.nodes.iter().any(Node::was_restored);
    for (index, node) in world.nodes.iter().enumerate() {
        if let Some(what) = difference(first, node).map_err(unread)? {
            return Err(format!("node {index} and node 0 differ in {what}"));
        }
        replay_agrees(node).map_err(|what| format!("node {index}: {what}"))?;
        payloads_are_here(node, restored).map_err(|what| format!("node {index}: {what}"))?;
        acknowledged_is_kept(node).map_err(|what| format!("node {index}: {what}"))?;
    }
    for (index, notice) in &world.notices {
        match notice {
            Notice::Diverged { .. } | Notice::WrongPayload { .. } | Notice::Malformed { .. } => {
                return Err(format!("node {index} noticed: {notice}"));
            }
            Notice::Rejected { .. } | Notice::Forked { .. } if !restored => {
                return Err(format!(
                    "node {index}, though nobody was restored, noticed: {notice}"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

fn difference(one: &Node, other: &Node) -> Result<Option<&'static str>, ReadError> {
    let (one, other) = (one.store().view(), other.store().view());
    let equal = [
        ("frontier", one.head() == other.head()),
        ("state root", one.state().root() == other.state().root()),
        ("members", one.members() == other.members()),
        ("fork proofs", one.forks().keys().eq(other.forks().keys())),
        ("entries", entries(&one)? == entries(&other)?),
        ("merged order", places(&one)? == places(&other)?),
        ("conflicts", conflicts(&one)? == conflicts(&other)?),
    ];
    Ok(equal
        .into_iter()
        .find(|(_, equal)| !equal)
        .map(|(what, _)| what))
}

fn unread(error: impl std::error::Error) -> String {
    format!("the store cannot be read: {error}")
}

fn entries(view: &View) -> Result<Vec<Entry>, ReadError> {
    view.state().entries(view.head(), &Filter::ALL).collect()
}

fn places(view: &View) -> Result<Vec<Place>, ReadError> {
    let versions = view.state().all_versions(view.head());
    let mut places = versions
        .map(|version| Ok(version?.place))
        .collect::<Result<Vec<_>, ReadError>>()?;
    places.sort();
    Ok(places)
}

fn conflicts(view: &View) -> Result<Vec<(CanonicalId, Option<Checksum>)>, ReadError> {
    let conflicts = view.state().conflicts(view.head())?;
    Ok(conflicts
        .iter()
        .map(|conflict| (conflict.id, conflict.effective))
        .collect())
}

fn replay_agrees(node: &Node) -> Result<(), String> {
    let store = node.store();
    let head = store.view().head().clone();
    let replayed = store.replay(&head).map_err(unread)?;
    let agrees = replayed.root == store.view().state().root();
    if agrees {
        Ok(())
    } else {
        Err("sequential replay gives another root".to_owned())
    }
}

/// All bytes are sound, and there; only a site that was restored from a backup may have lost some
/// for good.
fn payloads_are_here(node: &Node, restored: bool) -> Result<(), String> {
    let store = node.store();
    let verified = store.verify(&mut |_| {}).map_err(unread)?;
    if (restored || verified.missing.is_empty()) && verified.findings.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "verification found {:?}, missing {:?}",
            verified.findings, verified.missing
        ))
    }
}

/// What a site's user was told is durable is there, in every node's log; unless the site forked its
/// log itself.
fn acknowledged_is_kept(node: &Node) -> Result<(), String> {
    if node.was_restored() {
        return Ok(());
    }
    let view = node.store().view();
    for committed in &node.acknowledged {
        let kept = view
            .commit_hash(&committed.domain, committed.number)
            .map_err(unread)?;
        if kept != Some(committed.hash) {
            return Err(format!("acknowledged commit {} is gone", committed.number));
        }
    }
    Ok(())
}
