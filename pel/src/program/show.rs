//! A program as text for people, and as a graph for `dot`.

use uor_index_format::codec::hex;
use uor_index_format::program::{Node, Program, Source};

use crate::op::Op;

/// One line for each input, node and output, nodes in the one order.
pub fn text(program: &Program) -> String {
    let inputs = program
        .inputs()
        .iter()
        .map(|name| format!("input   {name}\n"));
    let nodes = program.nodes().iter().map(|node| {
        let sources: Vec<&str> = node
            .inputs
            .iter()
            .map(|source| name(program, *source))
            .collect();
        let from = if sources.is_empty() {
            String::new()
        } else {
            format!(" <- {}", sources.join(", "))
        };
        format!("node    {} = {}{from}\n", node.name, describe(node))
    });
    let outputs = program
        .outputs()
        .iter()
        .map(|(output, source)| format!("output  {output} <- {}\n", name(program, *source)));
    inputs.chain(nodes).chain(outputs).collect()
}

/// A graph in the language of Graphviz.
pub fn dot(program: &Program) -> String {
    let mut lines = vec![
        "digraph program {".to_owned(),
        "  rankdir=LR;".to_owned(),
        "  node [shape=box];".to_owned(),
    ];
    for (index, input) in program.inputs().iter().enumerate() {
        lines.push(format!(
            "  i{index} [shape=ellipse, label={}];",
            quoted(input)
        ));
    }
    for (index, node) in program.nodes().iter().enumerate() {
        lines.push(format!(
            "  n{index} [label={}];",
            quoted(&format!("{}\n{}", node.name, describe(node)))
        ));
        lines.extend(
            node.inputs
                .iter()
                .map(|source| format!("  {} -> n{index};", id(*source))),
        );
    }
    for (index, (output, source)) in program.outputs().iter().enumerate() {
        lines.push(format!(
            "  o{index} [shape=ellipse, style=bold, label={}];",
            quoted(output)
        ));
        lines.push(format!("  {} -> o{index};", id(*source)));
    }
    lines.push("}\n".to_owned());
    lines.join("\n")
}

fn describe(node: &Node) -> String {
    let module = node.module.map(|key| format!(" module {}", key.short()));
    let each = node.each.then(|| " for each file".to_owned());
    [Some(node.op.clone()), module, params(node), each]
        .into_iter()
        .flatten()
        .collect()
}

fn params(node: &Node) -> Option<String> {
    if node.params.is_empty() {
        return None;
    }
    if let (true, Some((offset, len))) = (
        node.op == Op::Slice.name(),
        node.params.split_first_chunk::<8>(),
    ) {
        let len = <[u8; 8]>::try_from(len).ok()?;
        return Some(format!(
            " offset {} len {}",
            u64::from_le_bytes(*offset),
            u64::from_le_bytes(len)
        ));
    }
    Some(match std::str::from_utf8(&node.params) {
        Ok(text) => format!(" params {text:?}"),
        Err(_) => format!(" params 0x{}", hex(&node.params)),
    })
}

fn name(program: &Program, source: Source) -> &str {
    match source {
        Source::Input(index) => program
            .inputs()
            .get(index as usize)
            .map_or("?", String::as_str),
        Source::Node(index) => program
            .nodes()
            .get(index as usize)
            .map_or("?", |node| node.name.as_str()),
    }
}

fn id(source: Source) -> String {
    match source {
        Source::Input(index) => format!("i{index}"),
        Source::Node(index) => format!("n{index}"),
    }
}

fn quoted(text: &str) -> String {
    format!(
        "\"{}\"",
        text.replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
    )
}
