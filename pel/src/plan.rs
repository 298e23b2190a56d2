//! The one order of a program's nodes.
//!
//! The order is topological; among nodes that are ready, the smallest name goes first. So a
//! program's bytes do not depend on the order in which its text lists its nodes.

use std::collections::{BTreeMap, BTreeSet};

/// Sorts nodes, each given with the nodes it reads. `Err` holds a cycle, each node followed by one
/// it reads.
pub fn order(reads: &BTreeMap<&str, BTreeSet<&str>>) -> Result<Vec<String>, Vec<String>> {
    let mut waits: BTreeMap<&str, usize> = reads
        .iter()
        .map(|(name, reads)| (*name, reads.len()))
        .collect();
    let mut readers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (reader, names) in reads {
        names
            .iter()
            .for_each(|name| readers.entry(name).or_default().push(reader));
    }
    let mut ready: BTreeSet<&str> = waits
        .iter()
        .filter(|(_, waits)| **waits == 0)
        .map(|(name, _)| *name)
        .collect();
    let mut order = Vec::new();
    while let Some(name) = ready.pop_first() {
        waits.remove(name);
        order.push(name.to_owned());
        for reader in readers.get(name).into_iter().flatten() {
            if let Some(count) = waits.get_mut(reader) {
                *count -= 1;
                if *count == 0 {
                    ready.insert(reader);
                }
            }
        }
    }
    if waits.is_empty() {
        Ok(order)
    } else {
        Err(cycle(reads, &waits))
    }
}

/// Walks from any waiting node along waiting nodes until one comes up again: every waiting node
/// reads a waiting node.
fn cycle(reads: &BTreeMap<&str, BTreeSet<&str>>, waits: &BTreeMap<&str, usize>) -> Vec<String> {
    let mut path: Vec<&str> = Vec::new();
    let mut next = waits.keys().next().copied();
    while let Some(name) = next {
        if let Some(start) = path.iter().position(|before| *before == name) {
            let mut cycle: Vec<String> = path.drain(start..).map(str::to_owned).collect();
            // Told from its smallest name, so that the same cycle is always told alike.
            let smallest = cycle
                .iter()
                .enumerate()
                .min_by_key(|(_, name)| *name)
                .map_or(0, |(index, _)| index);
            cycle.rotate_left(smallest);
            return cycle;
        }
        path.push(name);
        next = reads
            .get(name)
            .into_iter()
            .flatten()
            .copied()
            .find(|read| waits.contains_key(read));
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn readers_come_after_what_they_read_or_a_cycle_is_shown(
            edges in proptest::collection::btree_set((0_u8..12, 0_u8..12), 0..24),
        ) {
            let names: Vec<String> = (0..12).map(|number| format!("n{number}")).collect();
            let mut reads: BTreeMap<&str, BTreeSet<&str>> = names.iter().map(|name| (name.as_str(), BTreeSet::new())).collect();
            for (reader, read) in edges {
                let read = names[usize::from(read)].as_str();
                reads.get_mut(names[usize::from(reader)].as_str()).expect("it is there").insert(read);
            }
            match order(&reads) {
                Ok(order) => {
                    prop_assert_eq!(order.len(), names.len());
                    for (index, name) in order.iter().enumerate() {
                        prop_assert!(reads[name.as_str()].iter().all(|read| order[..index].iter().any(|before| before == read)));
                    }
                }
                Err(cycle) => {
                    prop_assert!(!cycle.is_empty());
                    for (name, next) in cycle.iter().zip(cycle.iter().cycle().skip(1)) {
                        prop_assert!(reads[name.as_str()].contains(next.as_str()));
                    }
                }
            }
        }
    }
}
