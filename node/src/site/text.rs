//! Names that need not be text, as text: file systems name files by bytes.
//!
//! In JSON a name that is UTF-8 stands as it is. Any other is escaped, and its bytes stand beside
//! it in hexadecimal, so nothing is lost and no two names look alike: `\xNN` is a byte that is no
//! UTF-8, `\\` a backslash.

use uor_index_format::codec::hex;

/// A number of things: `1 file`, `2 files`, `2 entries`.
pub fn count(number: u64, noun: &str) -> String {
    let plural = if noun.ends_with('y') {
        format!("{}ies", noun.trim_end_matches('y'))
    } else {
        format!("{noun}s")
    };
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {plural}")
    }
}

/// A name as text: as it is if it is UTF-8, else escaped.
pub fn text_of(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| escaped(bytes), str::to_owned)
}

/// The bytes of a name in hexadecimal, if [`text_of`] had to escape it.
pub fn hex_of(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).is_err().then(|| hex(bytes))
}

/// A name with every byte that is no UTF-8 escaped, and every backslash: of unequal names unequal
/// texts.
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(&chunk.valid().replace('\\', "\\\\"));
        chunk
            .invalid()
            .iter()
            .for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}

/// The bytes that a text stands for which was escaped; none if it was not.
pub(super) fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let (byte, len) = match escape.as_bytes() {
            [b'\\', ..] => (b'\\', 1),
            [b'n', ..] => (b'\n', 1),
            [b'r', ..] => (b'\r', 1),
            [b't', ..] => (b'\t', 1),
            [b'x', ..] => (u8::from_str_radix(escape.get(1..3)?, 16).ok()?, 3),
            _ => return None,
        };
        bytes.push(byte);
        rest = escape.get(len..)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(
            prop_oneof![Just(b'\\'), Just(b'x'), Just(0xff), Just(0xc3), any::<u8>()],
            0..12,
        )
    }

    proptest! {
        #[test]
        fn what_is_escaped_comes_back(name in name()) {
            prop_assert_eq!(unescaped(&escaped(&name)), Some(name));
        }

        #[test]
        fn no_two_names_look_alike(a in name(), b in name()) {
            prop_assert_eq!(escaped(&a) == escaped(&b), a == b);
            prop_assert_eq!((text_of(&a), hex_of(&a)) == (text_of(&b), hex_of(&b)), a == b);
        }
    }

    #[test]
    fn what_is_no_escape_is_none() {
        assert_eq!(unescaped("a\\"), None);
        assert_eq!(unescaped("\\q"), None);
        assert_eq!(unescaped("\\xg0"), None);
        assert_eq!(unescaped("\\x4"), None);
        assert_eq!(unescaped("\\xé"), None);
    }
}
