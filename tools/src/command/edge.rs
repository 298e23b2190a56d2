//! `edge` and `trace`.

use std::io::Write as _;

use uor_index_format::edge::{Endpoint, Role as EdgeRole};
use uor_node::site::EdgeDraft;
use uor_tgk::export;
use uor_tgk::trace::Direction;

use super::Context;
use crate::cli::{EdgeAdd, Role, Trace, TraceFormat};
use crate::console::Console;
use crate::exit::{Exit, Outcome};
use crate::render::{Table, short};

/// `uor edge add`.
///
/// # Errors
/// [`crate::exit::Failed`].
pub fn add(args: &EdgeAdd, context: &Context<'_>, console: &mut Console<'_>) -> Outcome {
    let draft = EdgeDraft {
        edge_type: args.edge_type.clone(),
        from: args.from.clone(),
        to: args.to.clone(),
        role: match args.role {
            Role::From => EdgeRole::From,
            Role::To => EdgeRole::To,
            Role::Both => EdgeRole::Both,
        },
        attribute: args.attr.clone(),
    };
    let added = context.site.edge_add(&draft)?;
    console.show(&added, |console, added| {
        console.line(format!("{}  edge {}", added.id, draft.edge_type))
    })?;
    Ok(Exit::Done)
}

/// `uor edge ls`.
///
/// # Errors
/// [`crate::exit::Failed`].
pub fn ls(
    key: &str,
    at: Option<&str>,
    context: &Context<'_>,
    console: &mut Console<'_>,
) -> Outcome {
    let at = context.at(at)?;
    let endpoint = context.site.resolve_endpoint(key, &at)?;
    let edges = context.site.edges_of(&endpoint, &at)?;
    if edges.is_empty() {
        console.note(format!("No edge touches {key}."));
    }
    console.show_each(&edges, |console, edges| {
        let mut table = Table::new(&["edge", "type", "from", "to", "role", ">logseq"]);
        for edge in edges {
            let (from, to) = (ends(&edge.from), ends(&edge.to));
            let role = edge.role.to_owned();
            table.row([
                short(edge.id),
                edge.edge_type.clone(),
                from,
                to,
                role,
                edge.logseq.to_string(),
            ]);
        }
        let paint = console.paint();
        if table.is_empty() {
            Ok(())
        } else {
            table
                .lines(paint)
                .iter()
                .try_for_each(|line| console.line(line))
        }
    })?;
    Ok(Exit::Done)
}

fn ends(endpoints: &[Endpoint]) -> String {
    let shown = endpoints.iter().map(|endpoint| match endpoint {
        Endpoint::Artifact(key) => short(key),
        Endpoint::Site(site) => format!("site:{}", site.short()),
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// `uor trace`.
///
/// # Errors
/// [`crate::exit::Failed`].
pub fn trace(args: &Trace, context: &Context<'_>, console: &mut Console<'_>) -> Outcome {
    let at = context.at(args.at.as_deref())?;
    let start = context.site.resolve_endpoint(&args.key, &at)?;
    let direction = if args.down {
        Direction::Down
    } else {
        Direction::Up
    };
    let trace = context.site.trace(&start, direction, args.depth, &at)?;
    let names = names(context, &at)?;
    if console.style.json && args.format == TraceFormat::Text {
        console.out.json(&json::Trace::of(&trace, &names))?;
        return Ok(Exit::Done);
    }
    let text = match args.format {
        TraceFormat::Text => export::text(&trace, &names),
        TraceFormat::Dot => export::dot(&trace, &names),
        TraceFormat::ProvJson => export::prov_json(&trace, &names),
    };
    console.out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        console.line("")?;
    }
    if trace.is_cut {
        console.note("There is more beyond this depth.");
    }
    Ok(Exit::Done)
}

/// Refs and members name what they point at; of several refs, the first.
fn names(
    context: &Context<'_>,
    at: &uor_index_format::snapshot::Snapshot,
) -> Outcome<export::Names> {
    let mut names = export::Names::new();
    for listed in context.site.refs(at)? {
        names
            .entry(Endpoint::Artifact(listed.key))
            .or_insert(listed.name);
    }
    for member in context.site.members()? {
        names.insert(Endpoint::Site(member.site_id), member.name);
    }
    Ok(names)
}

mod json {
    use super::{Endpoint, export};
    use serde::Serialize;

    /// A trace as a document.
    #[derive(Serialize)]
    pub(super) struct Trace {
        start: String,
        direction: &'static str,
        nodes: Vec<Node>,
        edges: Vec<Edge>,
        cut: bool,
    }

    #[derive(Serialize)]
    struct Node {
        id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        depth: u32,
    }

    #[derive(Serialize)]
    struct Edge {
        id: String,
        #[serde(rename = "type")]
        edge_type: String,
        from: Vec<String>,
        to: Vec<String>,
        role: &'static str,
        logseq: u64,
        depth: u32,
    }

    impl Trace {
        pub(super) fn of(trace: &uor_tgk::trace::Trace, names: &export::Names) -> Self {
            let texts = |ends: &[Endpoint]| ends.iter().map(Endpoint::to_string).collect();
            let nodes = trace.reached.iter().map(|reached| Node {
                id: reached.endpoint.to_string(),
                name: names.get(&reached.endpoint).cloned(),
                depth: reached.depth,
            });
            let edges = trace.followed.iter().map(|followed| Edge {
                id: followed.place.id.to_string(),
                edge_type: followed.edge.edge_type.clone(),
                from: texts(&followed.edge.from),
                to: texts(&followed.edge.to),
                role: followed.edge.role.name(),
                logseq: followed.place.logseq.0,
                depth: followed.depth,
            });
            Self {
                start: trace.start.to_string(),
                direction: trace.direction.name(),
                nodes: nodes.collect(),
                edges: edges.collect(),
                cut: trace.is_cut,
            }
        }
    }
}
