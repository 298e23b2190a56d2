//! What must be equal once a world has settled. File layout, arrival order and clocks are not compared.

use uor_asl::replay::replay;
use uor_index_format::commit::Commit;
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
        same_state(first, node).map_err(|what| format!("node {index} and node 0 differ in {what}"))?;
        replay_agrees(node).map_err(|what| format!("node {index}: {what}"))?;
        payloads_are_here(node, restored).map_err(|what| format!("node {index}: {what}"))?;
        acknowledged_is_kept(node).map_err(|what| format!("node {index}: {what}"))?;
    }
    for (index, notice) in &world.notices {
        match notice {
            Notice::Diverged { .. } | Notice::WrongPayload { .. } | Notice::Malformed { .. } => {
                return Err(format!("node {index} noticed: {notice}"));
            }
            Notice::Refused { .. } | Notice::Forked { .. } if !restored => {
                return Err(format!("node {index}, though nobody was restored, noticed: {notice}"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn same_state(one: &Node, other: &Node) -> Result<(), &'static str> {
    let (one, other) = (one.store().view(), other.store().view());
    let equal = [
        ("frontier", one.head() == other.head()),
        ("state root", one.state().root() == other.state().root()),
        ("members", one.members() == other.members()),
        ("fork proofs", one.forks().keys().eq(other.forks().keys())),
        ("entries", {
            let entries = |view: &uor_asl::store::View| -> Vec<_> {
                view.state().entries(view.head()).map(|visible| visible.entry).collect()
            };
            entries(&one) == entries(&other)
        }),
        ("merged order", {
            let places = |view: &uor_asl::store::View| {
                let mut places: Vec<_> = view.state().all_versions(view.head()).map(|version| version.place).collect();
                places.sort();
                places
            };
            places(&one) == places(&other)
        }),
        ("conflicts", {
            let ids = |view: &uor_asl::store::View| -> Vec<_> {
                view.state().conflicts(view.head()).iter().map(|conflict| (conflict.id, conflict.standing)).collect()
            };
            ids(&one) == ids(&other)
        }),
    ];
    equal.into_iter().find(|(_, equal)| !equal).map_or(Ok(()), |(what, _)| Err(what))
}

fn replay_agrees(node: &Node) -> Result<(), String> {
    let store = node.store();
    let view = store.view();
    let commits: Vec<Commit> =
        view.commits().filter_map(|named| store.read_commit(&named.domain, named.number).ok().flatten()).collect();
    let replayed = replay(&commits, view.head(), view.state().rule());
    if replayed.root == view.state().root() { Ok(()) } else { Err("sequential replay gives another root".to_owned()) }
}

/// All bytes are sound, and there; only a site that was restored from a backup may have lost some for good.
fn payloads_are_here(node: &Node, restored: bool) -> Result<(), String> {
    let store = node.store();
    let verified = store.verify(&mut |_| {}).map_err(|error| error.to_string())?;
    if (restored || verified.missing.is_empty()) && verified.findings.is_empty() {
        Ok(())
    } else {
        Err(format!("verification found {:?}, missing {:?}", verified.findings, verified.missing))
    }
}

/// What a site's user was told is durable is there, in every node's log; unless the site forked its log itself.
fn acknowledged_is_kept(node: &Node) -> Result<(), String> {
    if node.was_restored() {
        return Ok(());
    }
    let view = node.store().view();
    let lost = node
        .acknowledged
        .iter()
        .find(|committed| view.commit_hash(&committed.domain, committed.number) != Some(committed.hash));
    lost.map_or(Ok(()), |lost| Err(format!("acknowledged commit {} is gone", lost.number)))
}
