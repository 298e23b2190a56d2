//! What a store has to give, as JSON: from the kept state, after sequential replay has said the
//! same.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use uor_asl::blocks::BlocksError;
use uor_asl::damage::Damage;
use uor_asl::disk::real::RealDisk;
use uor_asl::disk::{Disk, Mode};
use uor_asl::log::LogError;
use uor_asl::replay::replay;
use uor_asl::state::Filter;
use uor_asl::store::{Store, StoreError};
use uor_asl::verify::Finding;
use uor_index_format::codec::hex;
use uor_index_format::commit::Commit;
use uor_index_format::id::CanonicalId;
use uor_index_format::snapshot::Snapshot;
use uor_index_format::state::{Entry, StateHash};

use super::listed;

/// What a case knows of its store beyond what is in it.
#[derive(Default)]
pub(crate) struct Notes {
    /// What the store is for.
    pub(crate) about: &'static str,
    /// Words for ids.
    pub(crate) ids: BTreeMap<CanonicalId, String>,
    /// Snapshots to be asked for beside the head.
    pub(crate) snapshots: Vec<(String, Snapshot)>,
    /// What was offered to the store, in this order, and the verdict.
    pub(crate) offered: Vec<Value>,
}

/// The JSON of the store in `dir`.
pub(crate) fn of_store(dir: &Path, notes: &Notes) -> Value {
    let store = match open(dir) {
        Ok(store) => store,
        Err(error) => {
            return json!({ "about": notes.about, "opens": false, "error": of_error(&error) });
        }
    };
    let view = store.view();
    let verified = store.verify(&mut |_| {}).unwrap();
    let findings: Vec<Value> = verified.findings.iter().map(of_finding).collect();
    let torn: Vec<Value> = verified
        .torn
        .iter()
        .map(|torn| json!({ "file": torn.file, "offset": torn.offset, "bytes": torn.bytes }))
        .collect();
    let mut expected = json!({
        "about": notes.about,
        "opens": true,
        "verdict": if findings.is_empty() { "agrees" } else { "diverges" },
        "findings": findings,
        "torn_tails": torn,
        "index_is_unusable": store.opened().index.is_some(),
        "federation": store.federation().to_string(),
        "commits": view.commits_len(),
        "unaccepted": view.unaccepted(),
        "members": view.members().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "forks": view.forks().iter().map(|(domain, proof)| json!({
            "domain": domain.to_string(), "number": proof.number(), "hashes": proof.hashes().map(|hash| hash.to_string()),
        })).collect::<Vec<_>>(),
        "missing": verified.missing.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "erased": verified.erased.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "payloads": verified.payloads,
    });
    if let Some(genesis) = view.genesis() {
        expected["genesis"] = json!({
            "founder": genesis.founder.to_string(), "name": genesis.name, "nonce": hex(&genesis.nonce),
            "conflict_rule": genesis.conflict_rule.name(), "logseq_jump_max": genesis.logseq_jump_max,
        });
    }
    if !notes.offered.is_empty() {
        expected["offered"] = notes.offered.clone().into();
    }
    drop(view);
    if verified
        .findings
        .iter()
        .any(|finding| matches!(finding, Finding::Log { .. } | Finding::Chain { .. }))
    {
        return expected;
    }
    // What the index says is of no account where it is damaged: everything follows from the rest.
    let scratch = tempfile::tempdir().unwrap();
    let store = if verified
        .findings
        .iter()
        .any(|finding| matches!(finding, Finding::Index { .. }))
    {
        copy_without_index(dir, scratch.path());
        open(scratch.path()).unwrap()
    } else {
        store
    };
    let view = store.view();
    expected["head"] = of_snapshot(&store, view.head(), notes);
    let snapshots = notes.snapshots.iter().map(|(about, snapshot)| {
        let mut expected = of_snapshot(&store, snapshot, notes);
        expected["about"] = about.as_str().into();
        expected
    });
    expected["snapshots"] = snapshots.collect::<Vec<_>>().into();
    expected
}

/// Opens a store to be read: nothing in it changes.
pub(crate) fn open(dir: &Path) -> Result<Store, StoreError> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir));
    Store::open(disk, Mode::ReadOnly)
}

fn copy_without_index(from: &Path, to: &Path) {
    for path in listed(from) {
        let name = path.file_name().unwrap();
        if path.is_file() {
            fs::copy(&path, to.join(name)).unwrap();
        } else if name != "index" {
            fs::create_dir(to.join(name)).unwrap();
            copy_without_index(&path, &to.join(name));
        }
    }
}

fn of_snapshot(store: &Store, snapshot: &Snapshot, notes: &Notes) -> Value {
    let view = store.view();
    let commits: Vec<Commit> = view
        .commits()
        .map(|commit| commit.unwrap())
        .map(|commit| {
            store
                .read_commit(&commit.domain, commit.number)
                .unwrap()
                .unwrap()
        })
        .collect();
    let entries: Vec<Entry> = view
        .state()
        .entries(snapshot, &Filter::ALL)
        .collect::<Result<_, _>>()
        .unwrap();
    let replayed = replay(&commits, snapshot, view.state().rule());
    let root = view.state().root_at(snapshot).unwrap();
    assert_eq!(
        (&replayed.entries, replayed.root),
        (&entries, root),
        "{}: replay and state agree",
        notes.about
    );
    let mut sum = StateHash::default();
    entries.iter().for_each(|entry| sum.add(entry));
    assert_eq!(sum.root(snapshot), root);
    let conflicts = view.state().conflicts(snapshot).unwrap();
    let conflicts = conflicts.iter().map(|conflict| {
        let claim = |version: &uor_asl::state::Version| {
            let (domain, logseq) = (version.place.domain.to_string(), version.place.logseq.0);
            json!({ "checksum": version.record.payload().checksum.to_string(), "domain": domain, "logseq": logseq })
        };
        json!({ "id": conflict.id.to_string(), "claims": conflict.claims.iter().map(claim).collect::<Vec<_>>() })
    });
    let heads = snapshot.frontier.iter().map(
        |(domain, head)| json!({ "domain": domain.to_string(), "number": head.number, "hash": head.hash.to_string() }),
    );
    json!({
        "logseq_max": snapshot.logseq_max.0,
        "frontier": heads.collect::<Vec<_>>(),
        "snapshot_id": snapshot.id().to_string(),
        "records": replayed.records,
        "state_root": root.to_string(),
        "state_sum": hex(&sum.digest()),
        "entries": entries.iter().map(|entry| of_entry(entry, notes)).collect::<Vec<_>>(),
        "conflicts": conflicts.collect::<Vec<_>>(),
    })
}

fn of_entry(entry: &Entry, notes: &Notes) -> Value {
    let mut expected = json!({
        "id": entry.id.to_string(),
        "kind": entry.kind.name(),
        "type_tag": entry.type_tag,
        "checksum": entry.checksum.map(|checksum| checksum.to_string()),
        "payload_len": entry.payload_len,
        "logseq": entry.logseq.0,
        "conflict": entry.conflict,
        "domains": entry.domains,
    });
    if let Some(words) = notes.ids.get(&entry.id) {
        expected["about"] = words.as_str().into();
    }
    expected
}

/// The kind of an error or finding: the name of its variant in snake case.
pub(crate) fn kind(value: &impl std::fmt::Debug) -> String {
    let mut name = String::new();
    for character in format!("{value:?}")
        .chars()
        .take_while(char::is_ascii_alphanumeric)
    {
        if character.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(character.to_ascii_lowercase());
    }
    name
}

fn of_error(error: &StoreError) -> Value {
    let log = |position: &uor_asl::log::LogPosition| format!("log/{:08}.log", position.segment);
    match error {
        StoreError::Log(LogError::Damaged(Damage { file, offset, .. })) => {
            json!({ "kind": "damaged", "file": file, "offset": offset })
        }
        StoreError::Log(LogError::Missing { file }) => json!({ "kind": "missing", "file": file }),
        StoreError::Log(LogError::Newer { file, found, .. }) => {
            json!({ "kind": "newer", "file": file, "version": found })
        }
        StoreError::Blocks(BlocksError::Damaged(damage)) => {
            json!({ "kind": "damaged", "file": damage.at.file, "offset": damage.at.offset })
        }
        StoreError::Blocks(error) => json!({ "kind": kind(error), "in": "blocks" }),
        StoreError::Entry { position, .. } | StoreError::UnknownEntry { position, .. } => {
            json!({ "kind": kind(error), "file": log(position), "offset": position.offset })
        }
        StoreError::LogCut { .. } => json!({ "kind": "log_cut" }),
        error => json!({ "kind": kind(error), "file": "store" }),
    }
}

fn of_finding(finding: &Finding) -> Value {
    match finding {
        Finding::Log { file, offset, .. } => {
            json!({ "kind": "log", "file": file, "offset": offset })
        }
        Finding::Chain { domain, number, .. } => {
            json!({ "kind": "chain", "domain": domain.to_string(), "number": number })
        }
        Finding::Block { damage, keys } => json!({
            "kind": "block", "file": damage.at.file, "offset": damage.at.offset,
            "keys": keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }),
        Finding::Length {
            key,
            recorded,
            stored,
        } => {
            json!({ "kind": "length", "key": key.to_string(), "recorded": recorded, "stored": stored })
        }
        other => json!({ "kind": kind(other) }),
    }
}

/// JSON for people: what has nothing nested in it stands on one line.
pub(crate) fn pretty(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value, 0);
    text.push('\n');
    text
}

fn write(text: &mut String, value: &Value, depth: usize) {
    let (items, [open, close]): (Vec<(Option<&String>, &Value)>, _) = match value {
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().map(|(key, value)| (Some(key), value)).collect();
            members.sort_by_key(|(key, _)| *key);
            (members, ['{', '}'])
        }
        Value::Array(list) => (list.iter().map(|value| (None, value)).collect(), ['[', ']']),
        flat => return text.push_str(&flat.to_string()),
    };
    let is_flat = items.iter().all(|(_, item)| match item {
        Value::Array(list) => {
            list.iter()
                .all(|item| !item.is_object() && !item.is_array())
                && value.is_object()
                && depth > 1
        }
        item => !item.is_object(),
    });
    let own_lines = !is_flat || depth == 0;
    text.push(open);
    for (index, (key, item)) in items.iter().enumerate() {
        if index > 0 {
            text.push_str(if own_lines { "," } else { ", " });
        }
        if own_lines {
            text.push('\n');
            text.push_str(&" ".repeat(depth + 1));
        }
        if let Some(key) = key {
            text.push_str(&format!("{}: ", Value::from(key.as_str())));
        }
        write(text, item, depth + 1);
    }
    if own_lines && !items.is_empty() {
        text.push('\n');
        text.push_str(&" ".repeat(depth));
    }
    text.push(close);
}
