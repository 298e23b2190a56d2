#!/usr/bin/env python3
"""Says how a Rust tree is cut: sizes of files and functions, density, assertions, circles between files.

    python3 replay-tests/measure/structure.py [--list] DIRECTORY...

Each DIRECTORY holds sources of one crate (`asl/src`). Tests are left out: modules under `cfg(test)`, and files and
directories called `tests` or `benches`. Figures are readings, not ends: a function split where there is no second idea reads
worse than before.

  lines       of code and comments, blank ones too
  tokens      of a function, from `fn` to its closing brace; a string, a name, a number and a mark are one each
  circle      files that use each other, directly or through others, as paths in the source say; `mod` lines do not count
  assertions  assert!, assert_eq!, assert_ne!, debug_assert*!, unreachable! outside of tests
"""

import re
import statistics
import sys
from pathlib import Path

TOKEN = re.compile(
    r"""
      (?P<comment>//[^\n]*|/\*.*?\*/)
    | (?P<string>b?c?r(?P<hashes>\#*)".*?"(?P=hashes)|b?c?"(?:\\.|[^"\\])*")
    | (?P<char>b?'(?:\\(?:x[0-9a-fA-F]{2}|u\{[^}]*\}|.)|[^\\'])')
    | (?P<lifetime>'[A-Za-z_]\w*)
    | (?P<name>(?:r\#)?[A-Za-z_]\w*)
    | (?P<number>\d[\w.]*)
    | (?P<mark>::|->|=>|\.\.=|\.\.|&&|\|\||[<>=!+\-*/%^&|]=|\S)
    """,
    re.VERBOSE | re.DOTALL,
)
ASSERTION = re.compile(r"(debug_)?assert(_eq|_ne)?$|unreachable$")
OPEN, CLOSE = set("([{"), set(")]}")


class Token(str):
    """A token and the line that it begins in."""

    line: int


def tokens(text):
    """Tokens without comments."""
    found, line, last = [], 1, 0
    for match in TOKEN.finditer(text):
        line += text.count("\n", last, match.start())
        last = match.start()
        if match.lastgroup == "comment" or match.group("comment"):
            continue
        token = Token('""' if match.group("string") is not None else match.group())
        token.line = line
        found.append(token)
    return found


def skip(all_tokens, at):
    """Behind the bracket that closes the one at `at`."""
    depth = 0
    while at < len(all_tokens):
        depth += (all_tokens[at] in OPEN) - (all_tokens[at] in CLOSE)
        at += 1
        if depth == 0:
            break
    return at


def without_tests(all_tokens):
    """Leaves out what stands under `#[cfg(test)]` and `#[test]`."""
    kept, at = [], 0
    while at < len(all_tokens):
        if all_tokens[at] == "#" and all_tokens[at + 1 : at + 2] == ["["]:
            end = skip(all_tokens, at + 1)
            attribute = all_tokens[at + 2 : end - 1]
            if attribute == ["test"] or attribute[:3] == ["cfg", "(", "test"]:
                at = end
                while at < len(all_tokens) and all_tokens[at] not in (";", "{"):
                    at = skip(all_tokens, at) if all_tokens[at] in OPEN else at + 1
                at = skip(all_tokens, at) if all_tokens[at : at + 1] == ["{"] else at + 1
                continue
        kept.append(all_tokens[at])
        at += 1
    return kept


def functions(all_tokens):
    """Name, tokens and lines of every function with a body. One inside another counts for both."""
    for at, token in enumerate(all_tokens[:-1]):
        if token != "fn" or not re.match(r"[A-Za-z_]", all_tokens[at + 1]):
            continue
        end = at
        while end < len(all_tokens) and all_tokens[end] not in ("{", ";"):
            end = skip(all_tokens, end) if all_tokens[end] in ("(", "[") else end + 1
        if end < len(all_tokens) and all_tokens[end] == "{":
            end = skip(all_tokens, end)
            yield all_tokens[at + 1], end - at, all_tokens[end - 1].line - token.line + 1, token.line


def paths(all_tokens):
    """Paths that begin with crate, super or self, spelled out; trees of `use` included."""
    at = 0
    while at < len(all_tokens):
        if all_tokens[at] in ("crate", "super", "self") and all_tokens[at + 1 : at + 2] == ["::"]:
            # The rest of a path, or `pub(in …)`.
            if at and all_tokens[at - 1] in ("::", "in"):
                at += 1
                continue
            end = tree(all_tokens, at, [], found := [])
            yield from found
            at = end
        elif all_tokens[at] == "use" and re.match(r"[a-z_]\w*$", all_tokens[at + 1]):
            # A module beside or below this one, without `self`.
            end = tree(all_tokens, at + 1, ["self"], found := [])
            if all_tokens[at + 1] not in ("crate", "super", "self"):
                yield from found
                at = end
            else:
                at += 1
        else:
            at += 1


def tree(all_tokens, at, prefix, found):
    """Reads one path with its braces; says where it ends."""
    path = list(prefix)
    while at < len(all_tokens):
        token = all_tokens[at]
        if token == "{":
            at += 1
            while at < len(all_tokens) and all_tokens[at] != "}":
                at = at + 1 if all_tokens[at] == "," else tree(all_tokens, at, path, found)
            return at + 1
        if not re.match(r"[A-Za-z_*]", token):
            return at + 1
        path.append(str(token))
        at += 1
        if all_tokens[at : at + 1] == ["as"]:
            at += 2
        if all_tokens[at : at + 1] != ["::"]:
            break
        at += 1
    found.append(path)
    return at


def module_of(root, path):
    parts = list(path.relative_to(root).with_suffix("").parts)
    if parts[-1] in ("lib", "main", "mod"):
        parts.pop()
    return tuple(parts)


def resolve(module, path, modules):
    """The file's module that a path leads into."""
    base = list(module)
    if path[0] == "crate":
        base, path = [], path[1:]
    else:
        while path and path[0] in ("super", "self"):
            if path[0] == "super" and base:
                base.pop()
            path = path[1:]
    target = tuple(base)
    while path and target + (path[0],) in modules:
        target, path = target + (path[0],), path[1:]
    return target if target in modules else None


def circles(edges):
    """Strongly connected components of more than one file, the largest first (Tarjan)."""
    index, low, stack, on_stack, out = {}, {}, [], set(), []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        on_stack.add(node)
        for other in sorted(edges[node]):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in on_stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = []
            while True:
                other = stack.pop()
                on_stack.discard(other)
                component.append(other)
                if other == node:
                    break
            if len(component) > 1:
                out.append(sorted(component))

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return sorted(out, key=len, reverse=True)


def measure(root):
    sources = {}
    for path in sorted(root.rglob("*.rs")):
        parts = path.relative_to(root).with_suffix("").parts
        if not {"tests", "benches", "test_utils"} & set(parts):
            sources[path] = path.read_text()
    modules = {module_of(root, path): path for path in sources}
    code = {path: without_tests(tokens(text)) for path, text in sources.items()}
    edges = {module: set() for module in modules}
    for path, all_tokens in code.items():
        module = module_of(root, path)
        for used in paths(all_tokens):
            target = resolve(module, used, modules)
            if target is not None and target != module and target != ():
                edges[module].add(target)
    return {
        "lines": {path: text.count("\n") for path, text in sources.items()},
        "functions": [(path, *function) for path, found in code.items() for function in functions(found)],
        "assertions": sum(
            1
            for found in code.values()
            for token, after in zip(found, found[1:])
            if ASSERTION.match(token) and after == "!"
        ),
        "circles": [["/".join(module) or "lib" for module in circle] for circle in circles(edges)],
    }


def main(arguments):
    is_list = "--list" in arguments
    roots = [Path(argument) for argument in arguments if not argument.startswith("--")]
    if not roots:
        sys.exit(__doc__)
    sys.setrecursionlimit(10_000)
    headings = ["crate", "lines", "longest file", "fns", "tokens median", "p90", "longest fn", "> 60", "asserts", "circles"]
    rows = []
    for root in roots:
        if not root.is_dir():
            sys.exit(f"{root} is no directory: name the `src` of a crate")
        found = measure(root)
        sizes = sorted(tokens for _, _, tokens, _, _ in found["functions"])
        lengths = [lines for _, _, _, lines, _ in found["functions"]]
        rows.append(
            [
                str(root),
                sum(found["lines"].values()),
                max(found["lines"].values()),
                len(sizes),
                int(statistics.median(sizes)),
                sizes[len(sizes) * 9 // 10],
                max(lengths),
                sum(1 for lines in lengths if lines > 60),
                found["assertions"],
                ", ".join(str(len(circle)) for circle in found["circles"]) or "none",
            ]
        )
        if is_list:
            for path, lines in sorted(found["lines"].items(), key=lambda item: -item[1]):
                if lines > 500:
                    print(f"{path}: {lines} lines")
            for path, name, _, lines, line in found["functions"]:
                if lines > 60:
                    print(f"{path}:{line}: fn {name}: {lines} lines")
            for circle in found["circles"]:
                print(f"{root}: circle of {len(circle)}: {', '.join(circle)}")
    print("| " + " | ".join(headings) + " |")
    print("|" + "---|" * len(headings))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")


if __name__ == "__main__":
    main(sys.argv[1:])
