//! Three nodes: joining by ticket, work at each, a site that falls behind and writes meanwhile, one
//! state, one audit; then a flipped byte, a forged receipt, a ticket shown twice and a stranger.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use uor_asl::disk::Mode;
use uor_index_format::id::Checksum;
use uor_index_format::receipt::{Derivation, Outcome};
use uor_index_format::record::{Payload, Record, artifact_key};
use uor_node::site::Site;

use crate::node::{Node, position, status, trace, until};
use crate::support::{Bench, Ran, text};

const SITES: [&str; 3] = ["a", "b", "c"];

/// A federation founded at `a`; `b` joins from nothing, `c` from a site that was initialised and is
/// empty.
fn found(bench: &Bench) -> [Node; 3] {
    bench.uor(&["--data", "a", "init", "--name", "lab"]).ok();
    let a = Node::start(bench, "a");
    let b = join(bench, "b", "plant");
    bench.uor(&["--data", "c", "init", "--name", "clinic"]).ok();
    let own = text(&status(bench, "c"), "site_id").to_owned();
    let c = join(bench, "c", "clinic");
    assert_eq!(
        status(bench, "c")["site_id"],
        own,
        "a site that joins keeps its key"
    );
    [a, b, c]
}

fn join(bench: &Bench, data: &str, name: &str) -> Node {
    let ticket = invite(bench);
    let joined = bench
        .uor(&["--data", data, "join", &ticket, "--name", name, "--json"])
        .ok()
        .json();
    assert_eq!(joined["federation_id"], status(bench, "a")["federation_id"]);
    Node::start(bench, data)
}

fn invite(bench: &Bench) -> String {
    text(
        &bench.uor(&["--data", "a", "invite", "--json"]).ok().json(),
        "ticket",
    )
    .to_owned()
}

/// Waits until these sites stand at one place with one state and lack nothing; `what` they then
/// have in common.
#[track_caller]
fn caught_up(bench: &Bench, sites: &[&str], what: &str) -> String {
    let root = |positions: Vec<Option<(Value, String)>>| {
        let first = positions[0].clone()?;
        positions
            .iter()
            .all(|position| position.as_ref() == Some(&first))
            .then_some(first.1)
    };
    until(what, || {
        root(sites.iter().map(|site| position(bench, site)).collect())
    })
}

/// Data at `a`, a run over them at `b`; the run as JSON.
fn work(bench: &Bench) -> Value {
    bench.write("texts/one", "one two\nthree\n");
    bench.write("texts/deep/er", "four\n");
    // Incompressible, so that it lies on the disk as it is; several chunks long.
    let noise: Vec<u8> = (0..60_000u32)
        .flat_map(|seed| *Checksum::of(&seed.to_le_bytes()).as_bytes())
        .collect();
    bench.write("noise", noise);
    bench.write_word_count();
    bench
        .uor(&["--data", "a", "add", "texts", "--ref", "data/texts"])
        .ok();
    bench
        .uor(&["--data", "a", "add", "noise", "--ref", "data/noise"])
        .ok();
    caught_up(bench, &SITES, "what a added is at every site");
    assert_eq!(
        bench
            .uor(&["--data", "b", "cat", "data/texts/deep/er"])
            .ok()
            .out,
        b"four\n"
    );
    assert_eq!(
        bench.uor(&["--data", "c", "cat", "data/noise"]).ok().out,
        bench.read("noise")
    );
    bench
        .uor(&[
            "--data",
            "b",
            "program",
            "add",
            "count.toml",
            "--ref",
            "count",
        ])
        .ok();
    let ran = bench
        .uor(&[
            "--data",
            "b",
            "run",
            "count",
            "--input",
            "text=data/texts",
            "--json",
        ])
        .ok()
        .json();
    assert_eq!((text(&ran, "status"), &ran["executed"]), ("ok", &json!(2)));
    caught_up(bench, &SITES, "the run of b is at every site");
    let counts = text(&ran["outputs"], "counts");
    assert_eq!(
        bench.uor(&["--data", "c", "cat", counts]).ok().text(),
        "1 1 5\n2 3 14\n"
    );
    let again = bench
        .uor(&[
            "--data",
            "c",
            "run",
            "count",
            "--input",
            "text=data/texts",
            "--json",
        ])
        .ok()
        .json();
    assert_eq!(
        (&again["receipt"], &again["executed"]),
        (&ran["receipt"], &json!(0)),
        "nobody runs it twice"
    );
    ran
}

/// Conflicting refs, edges and tombstones at `a`, `b` and `c`, whoever of them has a node.
fn write_apart(bench: &Bench) {
    let review = |site: &str, word: &str, role: &str| {
        bench.write(&format!("{site}.txt"), word);
        bench
            .uor(&[
                "--data",
                site,
                "add",
                &format!("{site}.txt"),
                "--ref",
                "verdict",
            ])
            .ok();
        let edge = [
            "edge",
            "add",
            "--type",
            "reviewed",
            "--from",
            "data/texts",
            "--to",
            "count",
            "--role",
            role,
        ];
        bench.uor(&[&["--data", site], &edge[..]].concat()).ok();
    };
    review("a", "accepted", "from");
    review("b", "accepted with a remark", "both");
    review("c", "rejected", "to");
    // Alone, `c` does not hear the others' clocks: it writes more than they do together, so that it
    // writes last.
    review("c", "rejected again", "to");
    review("c", "rejected for good", "to");
    bench
        .uor(&["--data", "a", "ref", "set", "latest", "data/texts/one"])
        .ok();
    bench.uor(&["--data", "b", "rm", "data/noise"]).ok();
    bench
        .uor(&["--data", "c", "ref", "set", "latest", "data/texts/deep/er"])
        .ok();
    bench
        .uor(&["--data", "c", "ref", "set", "data/noise", "data/texts/one"])
        .ok();
    let texts = bench
        .uor(&["--data", "c", "--json", "ls", "data/texts"])
        .ok()
        .lines();
    let one = texts.iter().find(|entry| entry["name"] == "one").unwrap();
    bench.uor(&["--data", "c", "rm", text(one, "key")]).exits(3);
}

/// What every site must say alike once all are level.
fn said(bench: &Bench, site: &str) -> Vec<String> {
    let questions: [&[&str]; 5] = [
        &["ref", "ls"],
        &["log"],
        &["conflicts"],
        &["edge", "ls", "data/texts"],
        &["trace", "count", "--down"],
    ];
    questions
        .iter()
        .map(|args| {
            bench
                .uor(&[&["--data", site, "--json"], *args].concat())
                .ok()
                .text()
        })
        .collect()
}

#[test]
fn three_sites_come_to_one_state_and_pass_one_audit() {
    let bench = Bench::bare();
    let [a, b, c] = found(&bench);
    let ran = work(&bench);

    let before = position(&bench, "a").unwrap();
    c.stop();
    write_apart(&bench);
    let root = caught_up(&bench, &["a", "b"], "a and b agree without c");
    assert_ne!(root, status(&bench, "c")["state_root"]);
    let c = Node::start(&bench, "c");
    let root = caught_up(
        &bench,
        &SITES,
        "c has caught up, and everyone has what it wrote",
    );
    assert_ne!(root, before.1);
    for site in SITES {
        assert_eq!(status(&bench, site)["state_root"], json!(root));
        assert_eq!(said(&bench, site), said(&bench, "a"), "at {site}");
    }
    let names = bench
        .uor(&["--data", "b", "ref", "ls", "--json"])
        .ok()
        .lines();
    let names: Vec<&str> = names.iter().map(|name| text(name, "name")).collect();
    assert_eq!(
        names,
        ["count", "data/noise", "data/texts", "latest", "verdict"],
        "c wrote last"
    );

    let snapshot = bench
        .uor(&["--data", "a", "snapshot", "create", "--json"])
        .ok()
        .json();
    assert_eq!(snapshot["state_root"], json!(root));
    let id = text(&snapshot, "snapshot_id");
    caught_up(&bench, &SITES, "the snapshot is at every site");
    let listed = bench
        .uor(&["--data", "b", "ref", "ls", "--at", id, "--json"])
        .ok()
        .lines();
    assert_eq!(listed.len(), names.len());
    assert_eq!(
        bench
            .replay(&["state", "b", "--at", id, "--json"])
            .ok()
            .json()["state_root"],
        json!(root)
    );

    agree(&bench, id);
    [a, b, c].into_iter().for_each(Node::stop);
    agree(&bench, id);
    let report: Value = serde_json::from_slice(&bench.read("report.json")).unwrap();
    assert_eq!(
        (
            text(&report, "verdict"),
            report["stores"].as_array().unwrap().len()
        ),
        ("agrees", 3)
    );

    flipped(&bench);
    forged(&bench, &ran);
}

/// What the auditor says of three sound sites.
fn agree(bench: &Bench, snapshot: &str) {
    for other in ["b", "c"] {
        bench.replay(&["diff", "a", other]).ok();
        bench.replay(&["diff", "a", other, "--at", snapshot]).ok();
    }
    bench
        .replay(&["audit", "a", "b", "c", "--report", "report.json"])
        .ok();
}

/// One byte of a payload is flipped on the disk of a copy of `b`.
fn flipped(bench: &Bench) {
    copy(&bench.path("b"), &bench.path("bad"));
    let noise = bench.read("noise");
    let pack = bench.path("bad/blocks/00000001.pack");
    let mut bytes = fs::read(&pack).unwrap();
    let wanted = &noise[1_000_000..1_000_032];
    let at = bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
        .expect("noise is stored as it is");
    bytes[at] ^= 4;
    fs::write(&pack, &bytes).unwrap();
    let key = artifact_key(None, &Payload::of(&noise)).to_string();
    let said = bench.replay(&["verify", "bad"]).exits(1).text();
    assert!(
        said.contains("blocks/00000001.pack") && said.contains(&key),
        "{said}"
    );
    bench.replay(&["audit", "a", "bad", "c"]).exits(1);
    bench.replay(&["verify", "b"]).ok();
}

/// `c` claims, in its own name, that the run gave something else.
fn forged(bench: &Bench, ran: &Value) {
    let receipt = text(ran, "receipt");
    let claimed = forge(&bench.path("c"), receipt);
    let executed = bench.replay(&["exec", "c", "--json"]).exits(1).json();
    let [diverged] = executed["diverged"].as_array().unwrap().as_slice() else {
        panic!("{executed}")
    };
    assert_eq!(
        (text(diverged, "receipt"), text(diverged, "node")),
        (receipt, "all")
    );
    assert_eq!(
        (text(diverged, "claimed"), &diverged["offset"]),
        (&*claimed, &json!(4)),
        "1 1 5 became 1 1 6"
    );
    let author = status(bench, "c")["site_id"].clone();
    assert_eq!(diverged["domains"], json!([author]));
    bench.replay(&["exec", "a"]).ok();
    let difference = bench.replay(&["diff", "a", "c", "--json"]).exits(1).json();
    assert_eq!(difference["first"]["id"], json!(receipt), "{difference}");

    let a = Node::start(bench, "a");
    // Everyone has a new port, so nobody finds anybody by an old address.
    let others = ["b", "c"].map(|site| Node::start_with(bench, site, &["--peer", &a.address]));
    caught_up(bench, &SITES, "the forged receipt is at every site");
    let mut claims = Vec::new();
    for site in SITES {
        let conflict = bench
            .uor(&["--data", site, "conflicts", "--json"])
            .ok()
            .json();
        assert_eq!(conflict["id"], json!(receipt));
        claims.push(conflict["claims"].clone());
        bench.replay(&["exec", site]).exits(1);
    }
    assert_eq!(claims[0].as_array().unwrap().len(), 2);
    assert!(claims.iter().all(|other| *other == claims[0]), "{claims:?}");
    bench.replay(&["diff", "a", "c"]).ok();

    let honest = claims[0]
        .as_array()
        .unwrap()
        .iter()
        .find(|claim| claim["domain"] != author)
        .unwrap();
    bench
        .uor(&[
            "--data",
            "b",
            "resolve",
            receipt,
            "--keep",
            text(honest, "checksum"),
        ])
        .ok();
    caught_up(bench, &SITES, "the resolution is at every site");
    for site in SITES {
        assert!(
            bench
                .uor(&["--data", site, "conflicts", "--json"])
                .ok()
                .out
                .is_empty(),
            "at {site}"
        );
        bench
            .uor(&["--data", site, "receipt", "show", receipt])
            .ok();
    }
    others.into_iter().chain([a]).for_each(Node::stop);
}

/// Signs, with the key of the site in `data`, a receipt whose output was tampered with; gives the
/// claimed outcome.
fn forge(data: &Path, receipt: &str) -> String {
    let site = Site::open(data, Mode::Write).unwrap();
    let head = site.head();
    let target = site.resolve(receipt, &head).unwrap();
    let shown = site.receipt_show(&target, &head).unwrap();
    let derivation = Derivation {
        program: shown.program,
        inputs: shown.inputs.clone(),
        params: Vec::new(),
        profile: shown.profile.clone(),
    };
    assert_eq!(derivation.receipt_key(), shown.receipt);
    let blocks = site.store().blocks();
    let tampered = b"1 1 6\n2 3 14\n";
    blocks.put_bytes(tampered).unwrap();
    let mut outcome =
        Outcome::decode(&blocks.read_all(target.checksum.unwrap(), 1 << 20).unwrap()).unwrap();
    outcome.outputs[0].1 = artifact_key(None, &Payload::of(tampered));
    let forged = outcome.encode();
    blocks.put_bytes(&forged).unwrap();
    let records = vec![
        Record::artifact(None, Payload::of(tampered)),
        Record::receipt(derivation, Payload::of(&forged)),
    ];
    site.store().commit(site.key(), records, 0).unwrap();
    Checksum::of(&forged).to_string()
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

/// Panics unless a refusal says this, and nothing of what others may have asked.
#[track_caller]
fn is_about(refused: &Ran, saying: &str, other: &str) {
    let said = &refused.err;
    assert!(said.contains(saying) && !said.contains(other), "{said}");
}

#[test]
fn a_ticket_works_once() {
    let bench = Bench::bare();
    bench.uor(&["--data", "a", "init", "--name", "lab"]).ok();
    let _a = Node::start(&bench, "a");
    let ticket = invite(&bench);
    bench
        .uor(&["--data", "b", "join", &ticket, "--name", "plant"])
        .ok();
    let before = trace(&bench, "a");
    let again = bench
        .uor(&["--data", "c", "join", &ticket, "--name", "clinic"])
        .fails(1, "a ticket works once");
    is_about(&again, "the ticket was used before", "credential");
    assert!(!bench.path("c").exists(), "who was refused is no site");
    bench
        .uor(&["--data", "d", "init", "--name", "elsewhere"])
        .ok();
    let alone = trace(&bench, "d");
    bench
        .uor(&["--data", "d", "join", &ticket])
        .fails(1, "refuse");
    assert_eq!(trace(&bench, "d"), alone, "who was refused is what it was");
    bench
        .uor(&["--data", "b", "join", &invite(&bench)])
        .fails(1, "member of this federation already");
    bench
        .uor(&["--data", "c", "join", &ticket[..ticket.len() - 4]])
        .fails(1, "ticket");
    assert_eq!(trace(&bench, "a"), before);
    bench.replay(&["verify", "a"]).ok();
}

#[test]
fn nothing_crosses_between_federations() {
    let bench = Bench::bare();
    for (data, file) in [("a", "ours"), ("x", "theirs")] {
        bench.uor(&["--data", data, "init", "--name", data]).ok();
        bench.write(file, file);
        bench
            .uor(&["--data", data, "add", file, "--ref", file])
            .ok();
    }
    let before = ["a", "x"].map(|data| trace(&bench, data));
    let a = Node::start(&bench, "a");
    let x = Node::start_with(&bench, "x", &["--peer", &a.address]);
    // The one that was given the address says who answers there, and says nothing to it.
    until("it says why they do not talk", || {
        assert_eq!(["a", "x"].map(|data| trace(&bench, data)), before);
        x.has_said("is not a member of this federation")
            .then_some(())
    });
    for (data, foreign) in [("a", "theirs"), ("x", "ours")] {
        bench
            .uor(&["--data", data, "cat", foreign])
            .fails(1, "there is no");
        assert_eq!(status(&bench, data)["domains"].as_array().unwrap().len(), 1);
    }
    let refused = bench
        .replay(&["--as", "x", "state", &a.address])
        .fails(2, "--as names the data directory of a member");
    is_about(&refused, "the site that vouches is no member", "ticket");
    // A node that was told of a stranger goes on as before.
    bench.uor(&["--data", "a", "cat", "ours"]).ok();
    [a, x].into_iter().for_each(Node::stop);
    assert_eq!(["a", "x"].map(|data| trace(&bench, data)), before);
}
