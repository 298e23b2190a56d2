//! One small history in each form: a run that used a program and two files, what it generated, and
//! what was made by hand.

#[path = "../../asl/tests/lone/mod.rs"]
mod lone;

use lone::Lone;
use uor_index_format::chain::Chain;
use uor_index_format::commit::{Commit, Draft};
use uor_index_format::edge::{Edge, Endpoint, Role};
use uor_index_format::id::{ArtifactKey, FederationState, LogSeq};
use uor_index_format::key::SiteKey;
use uor_index_format::membership::ConflictRule;
use uor_index_format::record::Record;
use uor_tgk::export::{self, GENERATED, Names, USED};
use uor_tgk::graph::Graph;
use uor_tgk::trace::{Direction, Trace, trace};

fn artifact(number: u8) -> Endpoint {
    Endpoint::Artifact(ArtifactKey::from_bytes([number; 32]))
}

fn site() -> Endpoint {
    Endpoint::Site(SiteKey::from_seed(&[1; 32]).site_id())
}

const PROGRAM: u8 = 0x11;
const RAW: u8 = 0x22;
const TABLE: u8 = 0x33;
const RECEIPT: u8 = 0x44;
const OUTPUT: u8 = 0x55;

fn traced(from: Endpoint, direction: Direction, depth_max: Option<u32>) -> Trace {
    let edge = |edge_type: &str, from: &[Endpoint], to: &[Endpoint]| Edge {
        edge_type: edge_type.to_owned(),
        from: from.to_vec(),
        to: to.to_vec(),
        role: Role::Both,
        attribute: None,
    };
    let edges = [
        edge("measured \"by\"", &[site()], &[artifact(RAW)]),
        edge("cleaned", &[artifact(RAW)], &[artifact(TABLE)]),
        edge(
            USED,
            &[artifact(PROGRAM), artifact(RAW), artifact(TABLE)],
            &[artifact(RECEIPT)],
        ),
        edge(GENERATED, &[artifact(RECEIPT)], &[artifact(OUTPUT)]),
    ];
    let mut state = Lone::of(ConflictRule::First, []);
    let mut chain = Chain::default();
    for (index, edge) in (1..).zip(edges) {
        let draft = Draft {
            number: index,
            history: chain.history(),
            logseq: LogSeq(index),
            federation: FederationState::of([]),
            wall_ms: 0,
            learned: Vec::new(),
            records: vec![Record::edge(edge)],
        };
        let commit = Commit::seal(draft, &SiteKey::from_seed(&[1; 32])).expect("a sound draft");
        chain.push(commit.hash());
        state.apply(&commit);
    }
    let at = state.head();
    trace(
        &Graph::at(&state, &at).expect("a state in memory"),
        from,
        direction,
        depth_max,
    )
}

fn names() -> Names {
    Names::from([
        (artifact(RAW), "data/raw".to_owned()),
        (site(), "Lab\nA".to_owned()),
    ])
}

/// Ids cut to four digits, so that a line fits.
fn brief(text: &str) -> String {
    let mut out = String::new();
    let mut digits = String::new();
    for character in text.chars().chain(['\0']) {
        if character.is_ascii_hexdigit() {
            digits.push(character);
            continue;
        }
        out.push_str(if digits.len() >= 8 {
            &digits[..4]
        } else {
            &digits
        });
        digits.clear();
        out.push(character);
    }
    out.trim_end_matches('\0').to_owned()
}

#[test]
fn text_is_indented_and_says_everything_once() {
    let trace = traced(artifact(OUTPUT), Direction::Up, None);
    let expected = "\
5555
  generated  (edge E4, logseq 4)
    4444
      used  (edge E3, logseq 3)
        1111
        2222  data/raw
          measured \"by\"  (edge E1, logseq 1)
            site:8a88  Lab\u{fffd}A
        3333
          cleaned  (edge E2, logseq 2)
            2222  data/raw  (see above)
";
    let mut text = brief(&export::text(&trace, &names()));
    for (place, name) in trace
        .followed
        .iter()
        .map(|it| (it.place, format!("E{}", it.place.logseq)))
    {
        text = text.replace(&place.id.to_string()[..4], &name);
    }
    assert_eq!(text, expected);
}

#[test]
fn a_cut_trace_says_so() {
    let trace = traced(artifact(OUTPUT), Direction::Up, Some(1));
    assert!(trace.is_cut);
    assert!(export::text(&trace, &names()).ends_with("there is more beyond this depth\n"));
    assert!(!export::text(&traced(site(), Direction::Down, None), &names()).contains("beyond"));
}

#[test]
fn dot_has_a_point_for_an_edge_with_many_ends() {
    let dot = export::dot(&traced(artifact(OUTPUT), Direction::Up, None), &names());
    let raw = artifact(RAW).to_string();
    assert!(dot.starts_with("digraph trace {\n") && dot.ends_with("}\n"));
    assert!(dot.contains(&format!(
        "  \"{raw}\" [label=\"data/raw\\n2222222222222\"];\n"
    )));
    assert!(dot.contains(&format!(
        "  \"{raw}\" -> \"{}\" [label=\"cleaned\"];\n",
        artifact(TABLE)
    )));
    assert!(dot.contains("[label=\"measured \\\"by\\\"\"]"));
    assert_eq!(dot.matches("shape=point").count(), 1);
    assert_eq!(dot.matches("[dir=none]").count(), 3);
    assert_eq!(dot.matches("shape=ellipse").count(), 1);
}

#[test]
fn prov_names_activities_entities_agents_and_how_they_relate() {
    let trace = traced(artifact(OUTPUT), Direction::Up, None);
    let json = export::prov_json(&trace, &names());
    let section = |name: &str| {
        let start = json
            .find(&format!("\n  \"{name}\": {{"))
            .unwrap_or_else(|| panic!("no {name} in {json}"));
        let rest = &json[start + 1..];
        rest[..rest.find("\n  }").expect("sections end")].to_owned()
    };
    assert!(json.starts_with("{\n  \"prefix\": {\"uor\": \"urn:uor:\"},\n"));
    let key = |number: u8| artifact(number).to_string();
    assert_eq!(section("entity").matches("uor:").count(), 4);
    assert!(section("entity").contains(&format!(
        "\"uor:{}\": {{\"prov:label\": \"data/raw\"}}",
        key(RAW)
    )));
    assert!(section("activity").contains(&key(RECEIPT)));
    assert!(section("agent").contains("{\"prov:label\": \"Lab\\nA\"}"));
    let used = section("used");
    assert_eq!(used.matches("\"prov:entity\"").count(), 3);
    assert!(used.contains(&format!(
        "\"prov:activity\": \"uor:{}\", \"prov:entity\": \"uor:{}\"",
        key(RECEIPT),
        key(RAW)
    )));
    let generated = section("wasGeneratedBy");
    assert!(generated.contains(&format!("\"prov:entity\": \"uor:{}\"", key(OUTPUT))));
    let derived = section("wasDerivedFrom");
    assert!(derived.contains(&format!("\"prov:generatedEntity\": \"uor:{}\"", key(TABLE))));
    assert!(derived.contains("\"prov:type\": \"cleaned\", \"uor:logseq\": 2"));
    assert!(section("wasAttributedTo").contains("\"measured \\\"by\\\"\""));
}
