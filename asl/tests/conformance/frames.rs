//! Frames on the wire: the vectors of `index-format/tests/golden.txt`, taken apart.

use serde_json::{Map, Value, json};
use uor_index_format::codec::{from_hex, hex};
use uor_index_format::wire::{Announcement, PROTOCOL_VERSION, Request, Response};

const GOLDEN: &str = include_str!("../../../index-format/tests/golden.txt");

pub(crate) fn all() -> Value {
    let vectors = GOLDEN
        .lines()
        .filter_map(|line| line.strip_prefix("wire.")?.split_once(" = "));
    let frames = vectors.map(|(name, text)| {
        let bytes = from_hex(text).unwrap();
        let shown = match name.split('.').next().unwrap() {
            "announcement" => format!("{:?}", Announcement::decode(&bytes).unwrap()),
            "request" => format!("{:?}", Request::decode(&bytes).unwrap()),
            "response" => format!("{:?}", Response::decode(&bytes).unwrap()),
            other => panic!("no such kind of frame: {other}"),
        };
        json!({ "about": name, "hex": text, "decoded": Shown(&shown).value() })
    });
    json!({
        "about": "Frames on the wire. Each begins with the version of the protocol; bytes are hexadecimal.",
        "protocol_version": PROTOCOL_VERSION,
        "frames": frames.collect::<Vec<_>>(),
    })
}

/// What `Debug` shows of a frame, as it is read: so every field of every frame is in the set,
/// whatever fields there come to be.
struct Shown<'a>(&'a str);

impl Shown<'_> {
    fn value(mut self) -> Value {
        let value = self.next();
        assert!(self.0.is_empty(), "left over: {}", self.0);
        value
    }

    fn take(&mut self, token: &str) -> bool {
        let rest = self.0.trim_start();
        match rest.strip_prefix(token) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> String {
        let rest = self.0.trim_start();
        let end = rest
            .find(|character: char| !character.is_ascii_alphanumeric() && character != '_')
            .unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        self.0 = rest;
        word.to_owned()
    }

    fn next(&mut self) -> Value {
        if self.take("[") {
            return self.list("]");
        }
        if self.take("(") {
            return self.list(")");
        }
        if self.take("\"") {
            // No text of these vectors has anything in it that would be escaped.
            let (text, rest) = self.0.split_once('"').unwrap();
            self.0 = rest;
            return text.into();
        }
        let word = self.word();
        if let Ok(number) = word.parse::<u64>() {
            return number.into();
        }
        match word.as_str() {
            "None" => return Value::Null,
            "true" | "false" => return (word == "true").into(),
            "Some" => {
                assert!(self.take("("), "a value: {}", self.0);
                let value = self.next();
                assert!(self.take(")"), "one value: {}", self.0);
                return value;
            }
            _ => {}
        }
        let mut fields = Map::new();
        fields.insert("is".to_owned(), word.into());
        if self.take("{") {
            while !self.take("}") {
                let name = self.word();
                assert!(self.take(":"), "a field: {}", self.0);
                fields.insert(name, self.next());
                self.take(",");
            }
        } else if self.take("(") {
            fields.insert("of".to_owned(), self.list(")"));
        }
        if fields.len() == 1 {
            fields["is"].clone()
        } else {
            fields.into()
        }
    }

    /// A list; one of bytes is shown as hexadecimal.
    fn list(&mut self, end: &str) -> Value {
        let mut items = Vec::new();
        while !self.take(end) {
            items.push(self.next());
            self.take(",");
        }
        let bytes = items
            .iter()
            .map(|item| item.as_u64().and_then(|byte| u8::try_from(byte).ok()));
        match bytes
            .collect::<Option<Vec<u8>>>()
            .filter(|bytes| !bytes.is_empty())
        {
            Some(bytes) => hex(&bytes).into(),
            None => items.into(),
        }
    }
}
