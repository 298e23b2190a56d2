//! From text to program: one key whatever the order of the text, and errors that name what is
//! wrong.

use std::io;

use proptest::prelude::*;
use uor_index_format::program::{Program, Source};
use uor_pel::program::{CompileError, compile, dot, text};

const MODULE: &[u8] = include_bytes!("../guests/wordcount.wasm");

fn modules(path: &str) -> io::Result<Vec<u8>> {
    match path {
        "wordcount.wasm" => Ok(MODULE.to_vec()),
        "foreign.wasm" => {
            let foreign = "(module (import \"env\" \"now\" (func)) (memory (export \"memory\") 1 1) (func (export \"run\")))";
            Ok(wat::parse_str(foreign).expect("the test's text is a module"))
        }
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn program(toml: &str) -> Program {
    compile(toml, modules).expect("it is a program").program
}

/// The error and its causes on one line.
fn refusal(toml: &str) -> String {
    let error = compile(toml, modules).expect_err("it is not a program");
    let mut line = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        line.push_str(&format!(": {error}"));
        cause = error.source();
    }
    line
}

const HEAD: &str = "inputs = [\"text\", \"more\"]\n";
const NODES: [&str; 5] = [
    "[[node]]\nname = \"both\"\nop = \"pel.bytes.concat/1\"\ninputs = [\"text\", \"note\", \"more\"]\n",
    "[[node]]\nname = \"note\"\nop = \"pel.bytes.const/1\"\nparams_hex = \"0aFF\"\n",
    "[[node]]\nname = \"count\"\nop = \"pel.wasm/1\"\nmodule = \"wordcount.wasm\"\ninputs = [\"more\"]\neach = true\nparams = \"x\"\n",
    "[[node]]\nname = \"head\"\nop = \"pel.bytes.slice/1\"\ninputs = [\"both\"]\noffset = 1\nlen = 2\n",
    "[[node]]\nname = \"digest\"\nop = \"pel.bytes.hash/1\"\ninputs = [\"head\"]\n",
];
const TAIL: &str =
    "[outputs]\ncounts = \"count\"\nall = \"both\"\nsame = \"text\"\ndigest = \"digest\"\n";

#[test]
fn a_program_is_what_its_text_says() {
    let compiled =
        compile(&[HEAD, &NODES.concat(), TAIL].concat(), modules).expect("it is a program");
    assert_eq!(compiled.modules.values().collect::<Vec<_>>(), [MODULE]);
    let program = compiled.program;
    assert_eq!(program.inputs(), ["more", "text"]);
    let nodes: Vec<&str> = program
        .nodes()
        .iter()
        .map(|node| node.name.as_str())
        .collect();
    assert_eq!(nodes, ["count", "note", "both", "head", "digest"]);
    assert_eq!(program.nodes()[1].params, [0x0a, 0xff]);
    assert_eq!(
        program.nodes()[2].inputs,
        [Source::Input(1), Source::Node(1), Source::Input(0)]
    );
    assert_eq!(
        program.nodes()[3].params,
        [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(
        compiled.modules.keys().copied().next(),
        program.nodes()[0].module
    );
    let outputs: Vec<&str> = program
        .outputs()
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(outputs, ["all", "counts", "digest", "same"]);
    assert_eq!(Program::decode(&program.encode()), Ok(program));
}

#[test]
fn a_program_is_shown_as_text_and_as_a_graph() {
    let program = program(&[HEAD, &NODES.concat(), TAIL].concat());
    let module = program.nodes()[0].module.expect("it has a module").short();
    let expected = format!(
        "input   more\n\
         input   text\n\
         node    count = pel.wasm/1 module {module} params \"x\" for each file <- more\n\
         node    note = pel.bytes.const/1 params 0x0aff\n\
         node    both = pel.bytes.concat/1 <- text, note, more\n\
         node    head = pel.bytes.slice/1 offset 1 len 2 <- both\n\
         node    digest = pel.bytes.hash/1 <- head\n\
         output  all <- both\n\
         output  counts <- count\n\
         output  digest <- digest\n\
         output  same <- text\n"
    );
    assert_eq!(text(&program), expected);
    let graph = dot(&program);
    for line in [
        "digraph program {",
        "  i1 [shape=ellipse, label=\"text\"];",
        "  n1 -> n2;",
        "  i0 -> n0;",
        "  i1 -> o3;",
    ] {
        assert!(
            graph.lines().any(|other| other == line),
            "{line} is missing in\n{graph}"
        );
    }
}

proptest! {
    #[test]
    fn the_order_of_the_text_means_nothing(
        nodes in Just(NODES.to_vec()).prop_shuffle(),
        inputs in Just(vec!["\"text\"", "\"more\""]).prop_shuffle(),
        outputs in Just(TAIL.lines().skip(1).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let shuffled = format!("inputs = [{}]\n{}[outputs]\n{}\n", inputs.join(", "), nodes.concat(), outputs.join("\n"));
        prop_assert_eq!(program(&shuffled).encode(), program(&[HEAD, &NODES.concat(), TAIL].concat()).encode());
    }

    #[test]
    fn no_text_makes_the_compiler_panic(text in "[a-z=\\[\\]\"\\n ./1]{0,80}", cut in any::<proptest::sample::Index>()) {
        let whole = [HEAD, &NODES.concat(), TAIL].concat();
        let cut = cut.index(whole.len());
        let _ = compile(&text, modules);
        let _ = compile(&format!("{}{text}{}", &whole[..cut], &whole[cut..]), modules);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn errors_name_the_node_and_what_is_wrong() {
    let node = |fields: &str| {
        format!("inputs = [\"in\"]\n[[node]]\nname = \"n\"\n{fields}\n[outputs]\nout = \"n\"\n")
    };
    for (toml, expected) in [
        (
            node("op = \"pel.bytes.rot13/1\""),
            "node `n`: unknown operation `pel.bytes.rot13/1`; known are pel.bytes.concat/1, ",
        ),
        (
            node("op = \"pel.bytes.hash/1\""),
            "node `n`: `pel.bytes.hash/1` reads one input, not 0",
        ),
        (
            node("op = \"pel.bytes.const/1\"\ninputs = [\"in\"]"),
            "node `n`: `pel.bytes.const/1` reads no input, not 1",
        ),
        (
            node("op = \"pel.bytes.hash/1\"\ninputs = [\"in\"]\nparams = \"x\""),
            "`pel.bytes.hash/1` takes none, not 1 bytes of parameters",
        ),
        (
            node("op = \"pel.bytes.hash/1\"\ninputs = [\"on\"]"),
            "node `n` reads `on`, which is neither an input nor a node; there are in, n",
        ),
        (
            node("op = \"pel.bytes.slice/1\"\ninputs = [\"in\"]"),
            "node `n`: `offset` and `len` are missing",
        ),
        (
            node("op = \"pel.bytes.slice/1\"\ninputs = [\"in\"]\noffset = 1"),
            "node `n`: `len` is missing beside `offset`",
        ),
        (
            node("op = \"pel.bytes.slice/1\"\ninputs = [\"in\"]\nlen = 1"),
            "node `n`: `offset` is missing beside `len`",
        ),
        (
            node("op = \"pel.bytes.slice/1\"\ninputs = [\"in\"]\nparams = \"1\""),
            "takes `offset` and `len`, not 1 bytes",
        ),
        (
            node("op = \"pel.bytes.const/1\"\noffset = 1\nlen = 1"),
            "node `n`: `offset` and `len` belong to `pel.bytes.slice/1`",
        ),
        (
            node("op = \"pel.bytes.const/1\"\nparams_hex = \"0\""),
            "node `n`: `params_hex` is not a whole number of bytes in hexadecimal",
        ),
        (
            node("op = \"pel.bytes.const/1\"\nparams_hex = \"00\"\nparams = \"\""),
            "node `n`: parameters are given in more than one of",
        ),
        (
            node("op = \"pel.wasm/1\""),
            "node `n`: `pel.wasm/1` needs a module",
        ),
        (
            node("op = \"pel.bytes.const/1\"\nmodule = \"wordcount.wasm\""),
            "node `n`: `pel.bytes.const/1` takes no module",
        ),
        (
            node("op = \"pel.wasm/1\"\nmodule = \"gone.wasm\""),
            "node `n`: cannot read module `gone.wasm`: entity not found",
        ),
        (
            node("op = \"pel.wasm/1\"\nmodule = \"foreign.wasm\""),
            "node `n`: module `foreign.wasm` is refused: import `env.now` at offset ",
        ),
        (
            node("op = \"pel.wasm/1\"\nmodule = \"wordcount.wasm\"\neach = true"),
            "node `n` has `each` but no input",
        ),
        (
            node("op = \"pel.bytes.const/1\"\ncolour = \"red\""),
            "unknown field `colour`",
        ),
        (
            node("op = \"pel.bytes.const/1\"\nparams = 7"),
            "invalid type: integer `7`, expected a string",
        ),
        (
            node("op = \"pel.bytes.const/1\"\n[[node]]\nname = \"n\"\nop = \"pel.bytes.const/1\""),
            "`n` is the name of a node and of a node",
        ),
        (
            node("op = \"pel.bytes.const/1\"\n[[node]]\nname = \"in\"\nop = \"pel.bytes.const/1\""),
            "`in` is the name of an input and of a node",
        ),
        (
            node("op = \"pel.bytes.const/1\"").replace("\"in\"", "\"a]\""),
            "input `a]`: a name has 1 to 255 bytes",
        ),
        (HEAD.to_owned(), "the program has no outputs"),
        (
            format!("{HEAD}[outputs]\nout = \"text\"\n"),
            "a program has nodes 0; allowed are 1 to",
        ),
        (
            "inputs = [".to_owned(),
            "not a program: TOML parse error at line 1",
        ),
    ] {
        let line = refusal(&toml);
        assert!(
            line.contains(expected),
            "{line}\nshould contain\n{expected}"
        );
    }
}

#[test]
fn a_cycle_is_told_node_by_node() {
    let node = |name: &str, reads: &str| {
        format!("[[node]]\nname = \"{name}\"\nop = \"pel.bytes.concat/1\"\ninputs = [{reads}]\n")
    };
    let nodes = [
        node("start", ""),
        node("b", "\"start\", \"c\""),
        node("c", "\"a\""),
        node("a", "\"start\", \"b\""),
        node("victim", "\"a\""),
    ];
    let error = compile(
        &format!("{}[outputs]\nout = \"victim\"\n", nodes.concat()),
        modules,
    )
    .expect_err("a cycle");
    assert_eq!(
        error.to_string(),
        "nodes wait for one another in a cycle: a reads b reads c reads a"
    );
    assert!(matches!(error, CompileError::Cycle { nodes } if nodes == ["a", "b", "c"]));
    assert!(
        refusal(&format!(
            "{}[outputs]\nout = \"me\"\n",
            node("me", "\"me\"")
        ))
        .ends_with(": me reads me")
    );
}
