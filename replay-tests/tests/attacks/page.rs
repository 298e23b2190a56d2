//! `ATTACKS.md` and the attacks: each has what the other has.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../../ATTACKS.md");
const SUITE: [(&str, &str); 5] = [
    ("content", include_str!("content.rs")),
    ("validated", include_str!("validated.rs")),
    ("members", include_str!("members.rs")),
    ("neighbours", include_str!("neighbours.rs")),
    ("strangers", include_str!("strangers.rs")),
];

/// Names of tests in a source.
fn tests(source: &str) -> BTreeSet<String> {
    let functions = source.split("#[test]\n").skip(1);
    functions
        .map(|rest| {
            rest.split_once("fn ")
                .unwrap()
                .1
                .split_once('(')
                .unwrap()
                .0
                .to_owned()
        })
        .collect()
}

/// The tests that a section of the page names: in the last column of each of its rows.
fn named(title: &str) -> BTreeSet<String> {
    let section = PAGE
        .split("\n## ")
        .find(|section| section.starts_with(title))
        .unwrap();
    let rows = section
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(2);
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        assert_eq!(
            cells.len(),
            5,
            "who, what is done, what is bounded, by what, held by: {row}"
        );
        cells[4].trim().trim_matches('`').to_owned()
    })
    .collect()
}

#[test]
fn the_page_names_every_attack_of_the_suite() {
    let held: BTreeSet<String> = SUITE
        .iter()
        .flat_map(|(module, source)| {
            tests(source)
                .into_iter()
                .map(move |test| format!("{module}::{test}"))
        })
        .collect();
    assert_eq!(named("In the suite"), held);
    assert!(held.len() >= 25, "{} attacks", held.len());
}

#[test]
fn attacks_that_the_page_says_are_held_elsewhere_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for named in named("Elsewhere") {
        let (file, test) = named.split_once("::").unwrap();
        let source =
            fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(
            source.contains(&format!("fn {test}(")),
            "{file} has no {test}"
        );
    }
}

/// A limit that the page states is the limit in the code.
#[test]
fn limits_on_the_page_are_those_in_the_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let section = PAGE
        .split("\n## ")
        .find(|section| section.starts_with("Limits"))
        .unwrap();
    let rows: Vec<&str> = section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    assert!(rows.len() > 20, "{} limits", rows.len());
    for row in rows {
        let cells: Vec<&str> = row
            .trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().trim_matches('`'))
            .collect();
        let [name, value, file] = cells[..] else {
            panic!("{row}")
        };
        let source =
            fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let definition = source
            .lines()
            .find(|line| line.contains(&format!("const {name}:")));
        let definition = definition.unwrap_or_else(|| panic!("{file} has no {name}"));
        assert!(
            definition.ends_with(&format!("= {value};")),
            "{name} is {definition}"
        );
    }
}
