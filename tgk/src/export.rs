//! Traces in forms that people and other tools read: indented text, Graphviz, and W3C PROV-JSON.
//!
//! Every form is a function of the trace and the names given with it: equal traces give equal
//! bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use uor_index_format::codec::is_obeyed;
use uor_index_format::edge::{Edge, Endpoint};

use crate::trace::{Followed, Trace};

/// Names of endpoints that have one.
pub type Names = BTreeMap<Endpoint, String>;

/// Indented text: under each endpoint the edges that were followed from it, under each edge where
/// it leads. What has been written out above is only named again, edges too: of an edge from many
/// endpoints to many, each end is written once and not each pair of them.
pub fn text(trace: &Trace, names: &Names) -> String {
    let mut leaving: BTreeMap<Endpoint, Vec<&Followed>> = BTreeMap::new();
    for followed in &trace.followed {
        for near in trace
            .direction
            .near(&followed.edge)
            .iter()
            .collect::<BTreeSet<_>>()
        {
            leaving.entry(*near).or_default().push(followed);
        }
    }
    let mut out = String::new();
    let (mut written, mut written_edges) = (BTreeSet::new(), BTreeSet::new());
    let mut stack = vec![Line::Endpoint(trace.start, 0)];
    while let Some(line) = stack.pop() {
        match line {
            Line::Endpoint(endpoint, indent) => {
                let edges = leaving
                    .get(&endpoint)
                    .map(Vec::as_slice)
                    .unwrap_or_default();
                let again = !written.insert(endpoint) && !edges.is_empty();
                let note = if again { "  (see above)" } else { "" };
                line_out(
                    &mut out,
                    indent,
                    &format!("{}{note}", title(&endpoint, names)),
                );
                if !again {
                    stack.extend(
                        edges
                            .iter()
                            .rev()
                            .map(|followed| Line::Edge(followed, indent + 1)),
                    );
                }
            }
            Line::Edge(followed, indent) => {
                let Followed { place, edge, .. } = followed;
                let again = !written_edges.insert(place.id);
                let note = if again { "  (see above)" } else { "" };
                let (edge_type, id) = (printable(&edge.edge_type), place.id.short());
                line_out(
                    &mut out,
                    indent,
                    &format!("{edge_type}  (edge {id}, logseq {}){note}", place.logseq),
                );
                if again {
                    continue;
                }
                let far = trace.direction.far(edge).iter().rev();
                stack.extend(far.map(|endpoint| Line::Endpoint(*endpoint, indent + 1)));
            }
        }
    }
    if trace.is_cut {
        line_out(&mut out, 0, "there is more beyond this depth");
    }
    out
}

enum Line<'a> {
    Endpoint(Endpoint, usize),
    Edge(&'a Followed, usize),
}

/// Deeper levels are not moved further to the right: a chain of a thousand runs is still readable.
const INDENT_MAX: usize = 40;

fn line_out(out: &mut String, indent: usize, line: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "{:width$}{line}",
        "",
        width = 2 * indent.min(INDENT_MAX)
    );
}

fn title(endpoint: &Endpoint, names: &Names) -> String {
    names.get(endpoint).map_or_else(
        || endpoint.to_string(),
        |name| format!("{endpoint}  {}", printable(name)),
    )
}

/// Text from records, which anyone may have written, without what a terminal would obey.
fn printable(text: &str) -> String {
    text.chars()
        .map(|character| {
            if is_obeyed(character) {
                '\u{fffd}'
            } else {
                character
            }
        })
        .collect()
}

/// Graphviz: boxes for artifacts and receipts, ellipses for sites, a point for every edge with more
/// than two ends.
pub fn dot(trace: &Trace, names: &Names) -> String {
    let mut out =
        String::from("digraph trace {\n  rankdir=LR;\n  node [shape=box, fontname=monospace];\n");
    for endpoint in endpoints(trace) {
        let short: String = endpoint.to_string().chars().take(13).collect();
        let label = names
            .get(&endpoint)
            .map_or(short.clone(), |name| format!("{name}\n{short}"));
        let shape = if matches!(endpoint, Endpoint::Site(_)) {
            ", shape=ellipse"
        } else {
            ""
        };
        let _ = writeln!(
            out,
            "  {} [label={}{shape}];",
            quoted(&endpoint.to_string()),
            quoted(&label)
        );
    }
    for Followed { place, edge, .. } in &trace.followed {
        let label = quoted(&edge.edge_type);
        if let ([from], [to]) = (edge.from.as_slice(), edge.to.as_slice()) {
            let _ = writeln!(
                out,
                "  {} -> {} [label={label}];",
                quoted(&from.to_string()),
                quoted(&to.to_string())
            );
            continue;
        }
        let point = quoted(&format!("edge:{}", place.id));
        let _ = writeln!(out, "  {point} [shape=point, xlabel={label}];");
        for from in &edge.from {
            let _ = writeln!(
                out,
                "  {} -> {point} [dir=none];",
                quoted(&from.to_string())
            );
        }
        for to in &edge.to {
            let _ = writeln!(out, "  {point} -> {};", quoted(&to.to_string()));
        }
    }
    out.push_str("}\n");
    out
}

/// Every endpoint that was reached or stands on a followed edge.
fn endpoints(trace: &Trace) -> BTreeSet<Endpoint> {
    let ends = trace
        .followed
        .iter()
        .flat_map(|followed| followed.edge.from.iter().chain(&followed.edge.to));
    ends.copied().chain([trace.start]).collect()
}

/// A text in double quotes with escapes that both Graphviz and JSON understand.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            obeyed if is_obeyed(obeyed) => {
                for unit in obeyed.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

/// Edge type that a run writes from program and inputs to its receipt.
pub const USED: &str = "used";
/// Edge type that a run writes from its receipt to its outputs.
pub const GENERATED: &str = "generated";

/// W3C PROV-JSON. A receipt that used or generated something is an activity, a site is an agent,
/// anything else an entity; `used` and `generated` edges become the relations of these names, and
/// other edges derivations, attributions or, where PROV has no closer word, influences, each with
/// the edge's type and id. PROV relates two things at a time: an edge from many ends to many
/// becomes an entity, which its beginnings influence and which influences its ends.
pub fn prov_json(trace: &Trace, names: &Names) -> String {
    let activities = activities(trace);
    let mut sections = Sections::new();
    for endpoint in endpoints(trace) {
        let section = match endpoint {
            Endpoint::Site(_) => "agent",
            Endpoint::Artifact(_) if activities.contains(&endpoint) => "activity",
            Endpoint::Artifact(_) => "entity",
        };
        let label = names
            .get(&endpoint)
            .map(|name| format!("\"prov:label\": {}", quoted(name)));
        let body = format!("{{{}}}", label.unwrap_or_default());
        sections
            .entry(section)
            .or_default()
            .insert(qualified(&endpoint), body);
    }
    for followed in &trace.followed {
        if joins_many(&followed.edge) {
            of_many(followed, &mut sections);
            continue;
        }
        for (index, (from, to)) in pairs(&followed.edge).enumerate() {
            let relation = Relation::of(&followed.edge.edge_type, from, to, &activities);
            let id = format!("uor:{}.{index}", followed.place.id);
            let body = relation.body(followed, &qualified(from), &qualified(to));
            sections
                .entry(relation.section)
                .or_default()
                .insert(id, body);
        }
    }
    render(&sections)
}

/// Most pairs for each end of an edge whose ends are related pair by pair.
const PAIRS_PER_END_MAX: usize = 8;

/// Whether an edge has so many ends on both sides that writing out all pairs would be out of
/// proportion to its length.
const fn joins_many(edge: &Edge) -> bool {
    let (from, to) = (edge.from.len(), edge.to.len());
    from.saturating_mul(to) > PAIRS_PER_END_MAX.saturating_mul(from.saturating_add(to))
}

type Sections<'a> = BTreeMap<&'a str, BTreeMap<String, String>>;

/// An edge of many ends on both sides, as an entity between them.
fn of_many(followed: &Followed, sections: &mut Sections<'_>) {
    const INFLUENCE: Relation = Relation {
        section: "wasInfluencedBy",
        to: "prov:influencee",
        from: "prov:influencer",
    };
    let edge = format!("uor:edge-{}", followed.place.id);
    sections
        .entry("entity")
        .or_default()
        .insert(edge.clone(), "{}".to_owned());
    let influences = sections.entry(INFLUENCE.section).or_default();
    let ends = followed
        .edge
        .from
        .iter()
        .map(|from| (qualified(from), edge.clone()));
    let ends = ends.chain(
        followed
            .edge
            .to
            .iter()
            .map(|to| (edge.clone(), qualified(to))),
    );
    for (index, (from, to)) in ends.enumerate() {
        influences.insert(
            format!("uor:{}.{index}", followed.place.id),
            INFLUENCE.body(followed, &from, &to),
        );
    }
}

fn activities(trace: &Trace) -> BTreeSet<Endpoint> {
    let edges = trace.followed.iter().map(|followed| &followed.edge);
    let of = |edge: &Edge| match edge.edge_type.as_str() {
        USED => edge.to.clone(),
        GENERATED => edge.from.clone(),
        _ => Vec::new(),
    };
    edges
        .flat_map(of)
        .filter(|endpoint| matches!(endpoint, Endpoint::Artifact(_)))
        .collect()
}

fn pairs(edge: &Edge) -> impl Iterator<Item = (&Endpoint, &Endpoint)> {
    edge.from
        .iter()
        .flat_map(|from| edge.to.iter().map(move |to| (from, to)))
}

fn qualified(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Artifact(key) => format!("uor:{key}"),
        Endpoint::Site(site) => format!("uor:site-{site}"),
    }
}

/// How PROV calls what an edge says: the section, and which of its two arguments is the edge's
/// `to`, which its `from`.
struct Relation {
    section: &'static str,
    to: &'static str,
    from: &'static str,
}

impl Relation {
    fn of(
        edge_type: &str,
        from: &Endpoint,
        to: &Endpoint,
        activities: &BTreeSet<Endpoint>,
    ) -> Self {
        let is_entity =
            |end: &Endpoint| matches!(end, Endpoint::Artifact(_)) && !activities.contains(end);
        let is_activity = |end: &Endpoint| activities.contains(end);
        let is_agent = |end: &Endpoint| matches!(end, Endpoint::Site(_));
        let (section, to, from) = if edge_type == USED && is_entity(from) && is_activity(to) {
            ("used", "prov:activity", "prov:entity")
        } else if edge_type == GENERATED && is_activity(from) && is_entity(to) {
            ("wasGeneratedBy", "prov:entity", "prov:activity")
        } else if is_entity(from) && is_entity(to) {
            ("wasDerivedFrom", "prov:generatedEntity", "prov:usedEntity")
        } else if is_agent(from) && is_entity(to) {
            ("wasAttributedTo", "prov:entity", "prov:agent")
        } else if is_agent(from) && is_activity(to) {
            ("wasAssociatedWith", "prov:activity", "prov:agent")
        } else {
            ("wasInfluencedBy", "prov:influencee", "prov:influencer")
        };
        Self { section, to, from }
    }

    fn body(&self, followed: &Followed, from: &str, to: &str) -> String {
        format!(
            "{{{}: {}, {}: {}, \"prov:type\": {}, \"uor:logseq\": {}}}",
            quoted(self.to),
            quoted(to),
            quoted(self.from),
            quoted(from),
            quoted(&followed.edge.edge_type),
            followed.place.logseq,
        )
    }
}

fn render(sections: &Sections<'_>) -> String {
    let mut out = String::from("{\n  \"prefix\": {\"uor\": \"urn:uor:\"}");
    for (section, members) in sections {
        let _ = write!(out, ",\n  {}: {{", quoted(section));
        for (index, (id, body)) in members.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(out, "{comma}\n    {}: {body}", quoted(id));
        }
        out.push_str("\n  }");
    }
    out.push_str("\n}\n");
    out
}
