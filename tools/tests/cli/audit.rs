//! `uor-replay`: agreement, and each way to disagree, with its exit status and the name of what
//! differs.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use uor_asl::disk::Mode;
use uor_asl::disk::real::RealDisk;
use uor_asl::log::Log;
use uor_index_format::chain::History;
use uor_index_format::commit::{Commit, Draft};
use uor_index_format::id::{Checksum, CommitHash, FederationState, LogSeq};
use uor_index_format::key::SiteKey;
use uor_index_format::membership::{ConflictRule, Genesis};
use uor_index_format::receipt::{Derivation, Outcome};
use uor_index_format::record::{Payload, Record};
use uor_index_format::{program, snapshot, tree};
use uor_node::site::Site;

use crate::support::{Bench, text};

/// A bench whose site has run a program; gives the receipt and the run as JSON.
fn with_a_run() -> (Bench, Value) {
    let bench = Bench::new();
    bench.write("tree/a", "one two\n");
    bench.write("tree/b", "three\n");
    bench.write_word_count();
    bench.uor(&["add", "tree", "--ref", "data/tree"]).ok();
    bench
        .uor(&["program", "add", "count.toml", "--ref", "count"])
        .ok();
    let ran = bench
        .uor(&["run", "count", "--input", "text=data/tree", "--json"])
        .ok()
        .json();
    (bench, ran)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the order of copying does not matter"
)]
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Claims another outcome for a run's receipt in the name of the site in `data`: outputs point at
/// an input.
fn forge(data: &Path, ran: &Value) -> String {
    let site = Site::open(data, Mode::Write).unwrap();
    let head = site.head();
    let target = site.resolve(text(ran, "receipt"), &head).unwrap();
    let shown = site.receipt_show(&target, &head).unwrap();
    let derivation = Derivation {
        program: shown.program,
        inputs: shown.inputs.clone(),
        params: Vec::new(),
        profile: shown.profile.clone(),
    };
    assert_eq!(derivation.receipt_key(), shown.receipt);
    let bytes = site
        .store()
        .blocks()
        .read_all(target.checksum.unwrap(), 1 << 20)
        .unwrap();
    let mut outcome = Outcome::decode(&bytes).unwrap();
    outcome.outputs[0].1 = shown.inputs[0];
    let forged = outcome.encode();
    site.store().blocks().put_bytes(&forged).unwrap();
    let record = Record::receipt(derivation, Payload::of(&forged));
    site.store().commit(site.key(), vec![record], 0).unwrap();
    Checksum::of(&forged).to_string()
}

#[test]
fn a_sound_store_agrees_with_itself() {
    let (bench, _) = with_a_run();
    bench.uor(&["snapshot", "create", "--label", "now"]).ok();
    let verified = bench.replay(&["verify", "data", "--json"]).ok().json();
    assert_eq!(
        (text(&verified, "verdict"), &verified["findings"]),
        ("agrees", &json!([]))
    );
    assert_eq!(verified["snapshots"], json!(1));
    let state = bench
        .replay(&["state", "data", "--at", "now", "--json"])
        .ok()
        .json();
    for key in ["state_root", "logseq_max", "entries", "conflicts"] {
        assert!(!state[key].is_null(), "{key} in {state}");
    }
    let shown = bench
        .uor(&["snapshot", "show", "now", "--json"])
        .ok()
        .json();
    assert_eq!(
        (&state["state_root"], &state["entries"]),
        (&shown["state_root"], &shown["entries"])
    );
    assert_eq!(
        bench.replay(&["state", "data"]).ok().text().trim().len(),
        64
    );
    let executed = bench
        .replay(&["exec", "data", "--all", "--json"])
        .ok()
        .json();
    assert_eq!(
        (text(&executed, "verdict"), &executed["claims"]),
        ("agrees", &executed["identical"])
    );
    assert!(executed["claims"].as_u64().unwrap() >= 3);
}

#[test]
fn a_copy_that_fell_behind_agrees_on_what_both_have() {
    let (bench, _) = with_a_run();
    copy(&bench.data(), &bench.path("copy"));
    bench.write("later", "later");
    bench.uor(&["add", "later"]).ok();
    let difference = bench
        .replay(&["diff", "data", "copy", "--json"])
        .ok()
        .json();
    assert_eq!(difference["state_root_a"], difference["state_root_b"]);
    let frontier = &difference["frontiers"][0];
    assert_eq!(
        frontier["a"].as_u64().unwrap(),
        frontier["b"].as_u64().unwrap() + 1
    );
    let (domain, a, b) = (text(frontier, "domain"), &frontier["a"], &frontier["b"]);
    let said = bench.replay(&["diff", "data", "copy"]).ok().text();
    let told = format!("of domain {domain}: {b} commits compared; data has {a}, copy has {b}");
    assert!(said.contains(&told), "{said}");
    bench.uor(&["snapshot", "create", "--label", "new"]).ok();
    bench
        .replay(&["diff", "data", "copy", "--at", "new"])
        .exits(2);
    bench
        .replay(&["diff", "data", "copy", "--at", "unknown"])
        .fails(2, "unknown");
    bench
        .replay(&["audit", "data", "copy", "--report", "report.json"])
        .ok();
    let report: Value = serde_json::from_slice(&bench.read("report.json")).unwrap();
    assert_eq!(
        (text(&report, "verdict"), &report["stores"][1]["store"]),
        ("agrees", &json!("copy"))
    );
    bench
        .replay(&["audit", "data", "copy", "--report", "report.txt"])
        .ok();
    assert!(
        String::from_utf8(bench.read("report.txt"))
            .unwrap()
            .contains("AGREES")
    );
    bench
        .replay(&["audit", "data", "copy", "--report", "report.html"])
        .fails(2, "report.html");
}

#[test]
fn a_flipped_payload_byte_is_found_with_file_and_key() {
    let bench = Bench::new();
    let noise: Vec<u8> = (0..64u64)
        .flat_map(|seed| *Checksum::of(&seed.to_le_bytes()).as_bytes())
        .collect();
    bench.write("noise", &noise);
    let added = bench.uor(&["add", "noise", "--json"]).ok().json();
    let pack = bench.data().join("blocks/00000001.pack");
    let mut bytes = fs::read(&pack).unwrap();
    let at = bytes
        .windows(32)
        .position(|window| window == &noise[512..544])
        .expect("noise is stored as it is");
    bytes[at] ^= 1;
    fs::write(&pack, &bytes).unwrap();
    let verified = bench.replay(&["verify", "data", "--json"]).exits(1).json();
    let finding = &verified["findings"][0];
    assert_eq!(text(finding, "file"), "blocks/00000001.pack");
    assert_eq!(finding["keys"], json!([added["key"]]));
    let said = bench.replay(&["verify", "data"]).exits(1).text();
    assert!(
        said.contains("blocks/00000001.pack") && said.contains(text(&added, "key")),
        "{said}"
    );
    assert_eq!(fs::read(&pack).unwrap(), bytes, "evidence is left as found");
    bench.uor(&["get", text(&added, "key")]).exits(1);
    let key = text(&added, "key");
    let said = bench
        .uor(&["get", key, "-o", "copy", "--json"])
        .fails(1, "damaged")
        .err;
    assert!(
        said.contains(&format!("could not read the payload of {key}")) && !said.contains("write"),
        "{said}"
    );
}

#[test]
fn a_damaged_log_is_named() {
    let (bench, _) = with_a_run();
    let segment = bench.data().join("log/00000001.log");
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.iter().rposition(|byte| *byte != 0).unwrap() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    let verified = bench.replay(&["verify", "data", "--json"]).exits(1).json();
    assert!(
        text(&verified["findings"][0], "message").contains("damaged"),
        "{verified}"
    );
    copy(&bench.data(), &bench.path("copy"));
    bench.replay(&["audit", "data", "copy"]).exits(1);
}

#[test]
fn a_forged_receipt_is_named_by_exec_and_by_diff() {
    let (bench, ran) = with_a_run();
    copy(&bench.data(), &bench.path("honest"));
    let forged = forge(&bench.data(), &ran);
    let executed = bench.replay(&["exec", "data", "--json"]).exits(1).json();
    let diverged = &executed["diverged"][0];
    assert_eq!(
        (text(diverged, "receipt"), text(diverged, "claimed")),
        (text(&ran, "receipt"), &*forged)
    );
    assert_eq!(
        (
            text(diverged, "node"),
            executed["diverged"].as_array().unwrap().len()
        ),
        ("all", 1)
    );
    bench
        .replay(&["exec", "data", "--receipt", text(&ran, "receipt")])
        .exits(1);
    bench.replay(&["exec", "honest"]).ok();
    let conflict = bench.uor(&["conflicts", "--json"]).ok().json();
    assert_eq!(conflict["id"], ran["receipt"]);
    assert_eq!(conflict["claims"].as_array().unwrap().len(), 2);
    bench
        .uor(&["receipt", "show", text(&ran, "receipt")])
        .exits(3);

    let difference = bench
        .replay(&["diff", "honest", "data", "--json"])
        .exits(1)
        .json();
    let first = &difference["first"];
    assert_eq!(
        (&first["id"], &first["kind"]),
        (&ran["receipt"], &json!("receipt")),
        "{difference}"
    );
    bench.replay(&["audit", "honest", "data"]).exits(1);

    let keep = text(&conflict["claims"][0], "checksum");
    bench
        .uor(&["resolve", text(&ran, "receipt"), "--keep", keep])
        .ok();
    assert!(bench.uor(&["conflicts", "--json"]).ok().out.is_empty());
}

#[test]
fn a_forked_writer_is_named() {
    let (bench, _) = with_a_run();
    copy(&bench.data(), &bench.path("twin"));
    bench.write("x", "x");
    bench.write("y", "y");
    bench.uor(&["add", "x"]).ok();
    bench.uor(&["add", "y", "--data", "twin"]).ok();
    let difference = bench
        .replay(&["diff", "data", "twin", "--json"])
        .exits(1)
        .json();
    let status = bench.uor(&["status", "--json"]).ok().json();
    let fork = &difference["forks"][0];
    assert_eq!(fork["domain"], status["site_id"]);
    assert_eq!(fork["number"], status["domains"][0]["commits"]);
    assert_eq!(
        difference["state_root_a"], difference["state_root_b"],
        "below the fork they agree"
    );
}

#[test]
fn stores_of_different_federations_cannot_be_compared() {
    let bench = Bench::new();
    bench.uor(&["init", "--data", "other"]).ok();
    bench
        .replay(&["diff", "data", "other"])
        .fails(2, "federation");
    bench
        .replay(&["audit", "data", "other"])
        .fails(2, "federation");
    bench.replay(&["verify", "nowhere"]).fails(2, "no store");
}

/// The files of the index of records.
fn index_files(bench: &Bench) -> Vec<String> {
    #[expect(clippy::disallowed_methods, reason = "sorted below")]
    let entries = fs::read_dir(bench.data().join("index")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.retain(|name| !name.starts_with("blocks-"));
    names.sort();
    names
}

#[test]
fn a_flipped_byte_of_the_index_is_found_and_costs_no_answer() {
    let (bench, _) = with_a_run();
    Site::open(&bench.data(), Mode::Write)
        .unwrap()
        .store()
        .settle()
        .unwrap();
    let names = index_files(&bench);
    assert!(
        names.iter().any(|name| name.ends_with(".run"))
            && names.iter().any(|name| name.ends_with(".commits"))
    );
    let root = bench.replay(&["state", "data"]).ok().text();
    for name in names {
        let path = bench.data().join("index").join(&name);
        let whole = fs::read(&path).unwrap();
        for at in [0, 9, 30, whole.len() / 2, whole.len() - 60, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[at.min(whole.len() - 1)] ^= 1;
            fs::write(&path, &bytes).unwrap();
            let verified = bench.replay(&["verify", "data", "--json"]).exits(1).json();
            let finding = &verified["findings"][0];
            assert_eq!(
                (text(finding, "kind"), text(finding, "file")),
                ("index", format!("index/{name}").as_str())
            );
            assert!(
                name.starts_with("checkpoint") || finding["offset"].is_u64(),
                "{finding}"
            );
            assert_eq!(bench.replay(&["state", "data"]).ok().text(), root);
            bench.uor(&["status"]).ok();
        }
        fs::write(&path, &whole).unwrap();
    }
    bench.replay(&["verify", "data"]).ok();
    // A writer rebuilds it.
    let path = bench.data().join("index").join("checkpoint");
    let mut bytes = fs::read(&path).unwrap();
    bytes[60] ^= 1;
    fs::write(&path, bytes).unwrap();
    bench.write("later", "later");
    let said = bench.uor(&["add", "later"]).ok().err;
    assert!(
        said.contains("Damage: ") && said.contains("index/checkpoint"),
        "{said}"
    );
    bench.replay(&["verify", "data"]).ok();
}

#[test]
fn an_artifact_that_is_not_what_its_tag_says_is_found() {
    let bench = Bench::new();
    bench.write("tree/a", "one two\n");
    bench.uor(&["add", "tree"]).ok();
    bench.uor(&["snapshot", "create", "--label", "now"]).ok();
    let before = bench.replay(&["verify", "data", "--json"]).ok().json();
    assert_eq!(before["findings"], json!([]));
    let site = Site::open(&bench.data(), Mode::Write).unwrap();
    let add = |type_tag, bytes: &[u8]| {
        site.store().blocks().put_bytes(bytes).unwrap();
        let record = Record::artifact(Some(type_tag), Payload::of(bytes));
        let id = record.id().to_string();
        site.store().commit(site.key(), vec![record], 0).unwrap();
        id
    };
    let mut expected = vec![
        ("snapshot", add(snapshot::TYPE_TAG, b"no snapshot")),
        ("tree", add(tree::TYPE_TAG, b"no tree")),
        ("program", add(program::TYPE_TAG, b"no program")),
    ];
    // One that can be read, and says of a commit that it is another.
    let mut other = site.head();
    other
        .frontier
        .values_mut()
        .for_each(|head| head.hash = CommitHash::from_bytes([7; 32]));
    expected.push(("snapshot", add(snapshot::TYPE_TAG, &other.encode())));
    drop(site);
    let verified = bench.replay(&["verify", "data", "--json"]).exits(1).json();
    let mut found: Vec<(&str, String)> = verified["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| {
            (
                text(finding, "kind"),
                finding["keys"][0].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_commit_of_a_stranger_in_the_log_is_named() {
    let bench = Bench::new();
    bench.write("a", "a");
    bench.uor(&["add", "a"]).ok();
    let stranger = SiteKey::from_seed(&[9; 32]);
    let genesis = Genesis {
        founder: stranger.site_id(),
        name: "other".to_owned(),
        nonce: [0; 16],
        conflict_rule: ConflictRule::First,
        logseq_jump_max: 1,
    };
    let draft = Draft {
        number: 1,
        history: History::Previous(CommitHash::NONE),
        logseq: LogSeq(1),
        federation: FederationState::of(&[]),
        wall_ms: 0,
        learned: Vec::new(),
        records: vec![Record::genesis(genesis)],
    };
    let commit = Commit::seal(draft, &stranger).unwrap();
    let disk = Arc::new(RealDisk::new(bench.data()));
    let (log, _) = Log::open(disk, Mode::Write).unwrap();
    log.append_batch(&[(1, commit.as_bytes())]).unwrap();
    log.sync().unwrap();
    drop(log);
    bench.uor(&["status"]).ok();
    let verified = bench.replay(&["verify", "data", "--json"]).exits(1).json();
    let finding = &verified["findings"][0];
    assert_eq!(
        (text(finding, "kind"), text(finding, "file")),
        ("unaccepted", "log/00000001.log")
    );
    let message = text(finding, "message");
    assert!(
        message.contains(&commit.hash().to_string()) && message.contains("not a member"),
        "{message}"
    );
    assert_eq!(
        (&verified["unaccepted"], &verified["taken_back"]),
        (&json!(1), &json!([]))
    );
}
