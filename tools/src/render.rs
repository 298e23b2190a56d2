//! How values look to a person: sizes, times, modes, colours and aligned tables.

use std::fmt;

use uor_index_format::codec::is_obeyed;

/// Ids in tables are cut to this many digits, which is more than enough to type them back.
const SHORT_LEN: usize = 12;

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub struct Paint {
    /// Whether to colour.
    pub colour: bool,
}

impl Paint {
    fn wrap(self, code: &str, text: &str) -> String {
        if self.colour && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// A heading.
    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// Something that should not catch the eye.
    pub fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    /// Something good.
    pub fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    /// Something bad.
    pub fn red(self, text: &str) -> String {
        self.wrap("31", text)
    }

    /// Something to look at.
    pub fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }
}

/// An id as tables show it: its first digits.
pub fn short(id: impl fmt::Display) -> String {
    id.to_string().chars().take(SHORT_LEN).collect()
}

/// An optional id as tables show it.
pub fn short_or_dash(id: Option<impl fmt::Display>) -> String {
    id.map_or_else(|| "-".to_owned(), short)
}

/// A number of bytes, with the decimal prefixes that disks are sold by: `999 B`, `1.2 kB`, `34.5
/// MB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut scaled = bytes / 100;
    let mut unit = 0;
    while scaled >= 10_000 {
        scaled /= 1000;
        unit += 1;
    }
    format!(
        "{}.{} {}",
        scaled / 10,
        scaled % 10,
        UNITS.get(unit).unwrap_or(&"EB")
    )
}

/// Permission bits as `ls -l` shows them, behind the letter of the kind.
pub fn mode(letter: char, mode: u32) -> String {
    let bits = "rwxrwxrwx".chars().enumerate();
    let bits = bits.map(|(at, letter)| {
        if mode >> (8 - at) & 1 == 1 {
            letter
        } else {
            '-'
        }
    });
    std::iter::once(letter).chain(bits).collect()
}

/// Text that came from elsewhere, safe for a terminal: what it would obey in place of showing it is
/// escaped.
pub fn plain(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            if is_obeyed(c) {
                c.escape_default().collect()
            } else {
                vec![c]
            }
        })
        .collect()
}

/// A JSON document with every character escaped that a terminal would obey, which says the same.
pub fn plain_json(text: String) -> String {
    let is_layout = |character: char| matches!(character, ' '..='~' | '\n');
    if text.chars().all(is_layout) {
        return text;
    }
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if is_obeyed(character) && !is_layout(character) {
            character
                .encode_utf16(&mut [0; 2])
                .iter()
                .for_each(|unit| plain.push_str(&format!("\\u{unit:04x}")));
        } else {
            plain.push(character);
        }
    }
    plain
}

/// A name as a person sees it, of unequal names unequal: control characters and bytes that are no
/// text are escaped, and so are backslashes. `is_escaped` says that the latter have been.
pub fn shown_name(name: &str, is_escaped: bool) -> String {
    if is_escaped {
        plain(name)
    } else {
        plain(&name.replace('\\', "\\\\"))
    }
}

/// Which side a column keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// An aligned table.
pub struct Table {
    headers: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings; one that begins with `>` keeps to the right.
    pub fn new(headers: &[&'static str]) -> Self {
        let headers = headers.iter().map(|header| match header.strip_prefix('>') {
            Some(header) => (header, Align::Right),
            None => (*header, Align::Left),
        });
        Self {
            headers: headers.collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows
            .push(cells.iter().map(|cell| plain(cell)).collect());
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table's lines, headings first.
    pub fn lines(&self, paint: Paint) -> Vec<String> {
        let widths: Vec<usize> = self
            .headers
            .iter()
            .enumerate()
            .map(|(at, (header, _))| {
                let cells = self.rows.iter().filter_map(|row| row.get(at));
                cells
                    .map(|cell| cell.chars().count())
                    .chain([header.len()])
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| -> String {
            let padded = cells.zip(&self.headers).zip(&widths).map(
                |((cell, (_, align)), width)| match align {
                    Align::Left => format!("{cell:<width$}"),
                    Align::Right => format!("{cell:>width$}"),
                },
            );
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let headings = paint.dim(&line(&mut self.headers.iter().map(|(header, _)| *header)));
        let rows = self
            .rows
            .iter()
            .map(|row| line(&mut row.iter().map(String::as_str)));
        std::iter::once(headings).chain(rows).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_keep_one_decimal_and_never_round_up_to_a_unit() {
        let shown: Vec<String> = [0, 999, 1000, 1_234, 999_999, 1_000_000, u64::MAX]
            .map(size)
            .to_vec();
        assert_eq!(
            shown,
            [
                "0 B", "999 B", "1.0 kB", "1.2 kB", "999.9 kB", "1.0 MB", "18.4 EB"
            ]
        );
    }

    #[test]
    fn a_table_aligns_and_escapes() {
        let mut table = Table::new(&["name", ">bytes"]);
        table.row(["a".to_owned(), "10".to_owned()]);
        table.row(["\u{1b}[31m".to_owned(), "9".to_owned()]);
        let lines = table.lines(Paint { colour: false });
        assert_eq!(
            lines,
            [
                "name        bytes",
                "a              10",
                "\\u{1b}[31m      9"
            ]
        );
    }

    #[test]
    fn escaped_json_says_the_same() {
        let text = "a\u{9b}b\u{202e}c\u{e0001}d\u{7f}\u{e9}\n\u{1f600}";
        let shown = plain_json(serde_json::to_string(text).unwrap());
        assert_eq!(
            shown,
            "\"a\\u009bb\\u202ec\\udb40\\udc01d\\u007f\u{e9}\\n\u{1f600}\""
        );
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
    }

    #[test]
    fn modes_look_like_ls() {
        assert_eq!(mode('-', 0o644), "-rw-r--r--");
        assert_eq!(mode('d', 0o755), "drwxr-xr-x");
    }
}
