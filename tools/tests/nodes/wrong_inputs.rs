//! Wrong inputs that need a running node, and files of a newer format.

use std::fs;

use uor_index_format::id::Checksum;

use crate::node::{Node, trace};
use crate::support::{Bench, text};

#[test]
fn a_node_refuses_what_is_wrong_and_goes_on() {
    let bench = Bench::new();
    bench.write("tree/file", "text");
    let tree = text(
        &bench
            .uor(&["add", "tree", "--ref", "tree", "--json"])
            .ok()
            .json(),
        "key",
    )
    .to_owned();
    bench.write_program(
        "loop",
        "(module (memory (export \"memory\") 1 1) (func (export \"run\") (loop (br 0))))",
    );
    bench
        .uor(&["program", "add", "loop.toml", "--ref", "loop"])
        .ok();
    bench.write_program(
        "entropy",
        "(module (import \"env\" \"random\" (func (result i32))) (memory (export \"memory\") 1 1) (func (export \"run\")))",
    );
    let concat = |name: &str, input: &str| {
        format!(
            "[[node]]\nname = \"{name}\"\nop = \"pel.bytes.concat/1\"\ninputs = [\"{input}\"]\n"
        )
    };
    bench.write(
        "cycle.toml",
        format!(
            "{}{}[outputs]\no = \"a\"\n",
            concat("a", "b"),
            concat("b", "a")
        ),
    );
    let node = Node::start(&bench, "data");
    let before = trace(&bench, "data");
    let unknown = "f".repeat(64);
    let wrong: [(&[&str], i32, &str); 11] = [
        (&["cat", &unknown], 1, "there is no"),
        (&["rm", "no/such/name"], 1, "there is no"),
        (&["cat", &tree], 1, "tree"),
        (&["run", &tree], 1, "program"),
        (&["program", "add", "cycle.toml"], 1, "cycle"),
        (&["program", "add", "entropy.toml"], 1, "random"),
        (&["run", "loop", "--fuel", "1000000"], 1, "fuel"),
        (&["ref", "set", "../up", &tree], 1, "name"),
        (&["add", "absent"], 1, "absent"),
        (&["add", "tree", "--type-tag", "many"], 2, "--type-tag"),
        (&["init"], 1, "already"),
    ];
    for (args, exit, saying) in wrong {
        bench.uor(args).fails(exit, saying);
        assert!(trace(&bench, "data") == before, "{args:?} left a trace");
    }
    bench.uor(&["node"]).fails(1, "already");
    bench
        .uor(&["node", "--data", "nowhere"])
        .fails(1, "uor init");
    assert!(!bench.path("nowhere").exists());
    bench.uor(&["cat", "tree/file"]).ok();
    node.stop();
    assert!(trace(&bench, "data") == before);
}

#[test]
fn a_node_says_which_address_is_none() {
    let bench = Bench::new();
    let before = trace(&bench, "data");
    for (args, saying) in [
        (["--listen", "localhost:4001"], "localhost:4001"),
        (["--listen", "/ip4/203.0.113.1/tcp/4001"], "203.0.113.1"),
        (["--peer", "/ip4/127.0.0.1/tcp/4001"], "/p2p/PEER"),
    ] {
        bench.uor(&[&["node"], &args[..]].concat()).fails(1, saying);
    }
    assert!(trace(&bench, "data") == before);
}

#[test]
fn a_node_that_cannot_listen_says_why() {
    let bench = Bench::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!(
        "/ip4/127.0.0.1/tcp/{}",
        listener.local_addr().unwrap().port()
    );
    for (address, saying, hint) in [
        (
            taken.as_str(),
            "another program listens there",
            "stop that program",
        ),
        (
            "/ip4/203.0.113.1/udp/4001/quic-v1",
            "it is not an address of this machine",
            "/ip4/0.0.0.0",
        ),
    ] {
        let said = bench
            .uor(&["node", "--listen", address])
            .fails(1, saying)
            .err;
        assert!(said.contains(address) && said.contains(hint), "{said}");
    }
}

type Rewrite = fn(Vec<u8>) -> Vec<u8>;

fn as_format_7(bytes: Vec<u8>) -> Vec<u8> {
    String::from_utf8(bytes)
        .unwrap()
        .replace("format = 1\n", "format = 7\n")
        .into_bytes()
}

/// The header of a segment or pack, rewritten as a newer release would write it (FORMAT.md, "File
/// header").
fn as_version_3(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[8..10].copy_from_slice(&3u16.to_le_bytes());
    let check = Checksum::of(&bytes[..16]);
    bytes[16..32].copy_from_slice(&check.as_bytes()[..16]);
    bytes
}

#[test]
fn every_file_of_a_newer_format_is_named_and_left_alone() {
    let bench = Bench::new();
    bench.write("x", "x");
    bench.uor(&["add", "x", "--ref", "x"]).ok();
    let kinds: [(&str, Rewrite, &str); 3] = [
        ("site.toml", as_format_7, "version 7"),
        ("log/00000001.log", as_version_3, "version 3"),
        ("blocks/00000001.pack", as_version_3, "version 3"),
    ];
    for (file, newer, saying) in kinds {
        let path = bench.data().join(file);
        let sound = fs::read(&path).unwrap();
        let newer = newer(sound.clone());
        assert!(newer != sound, "{file}");
        fs::write(&path, &newer).unwrap();
        for args in [
            &["ls"][..],
            &["status"],
            &["add", "x"],
            &["node", "--listen", "/ip4/127.0.0.1/tcp/0"],
        ] {
            let said = bench.uor(args).exits(1).err;
            assert!(said.contains(saying), "{file}: {args:?}: {said}");
        }
        bench.replay(&["verify", "data"]).fails(2, saying);
        assert!(fs::read(&path).unwrap() == newer, "{file} was touched");
        fs::write(&path, &sound).unwrap();
    }
    bench.replay(&["verify", "data"]).ok();
    assert_eq!(bench.uor(&["cat", "x"]).ok().out, b"x");
}
