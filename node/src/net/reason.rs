//! Errors on one line, for people.

use std::error::Error;

use libp2p::swarm::DialError;

/// Why no connection came of a dial, with what was expected and what was found.
pub(super) fn dial_reason(error: &DialError) -> String {
    match error {
        DialError::LocalPeerId { .. } => "the address leads back to this site".to_owned(),
        DialError::NoAddresses => "the address is this site's own".to_owned(),
        DialError::WrongPeerId { obtained, .. } => {
            format!("another peer answers at this address: {obtained}")
        }
        DialError::Denied { cause } => chain(cause),
        DialError::Transport(attempts) => {
            let attempts = attempts
                .iter()
                .map(|(address, error)| format!("{address}: {}", chain(error)));
            attempts.collect::<Vec<_>>().join("; ")
        }
        other => chain(other),
    }
}

/// An error and its causes on one line. Some errors say nothing of their own, and some repeat their
/// cause.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut line = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        let text =
            text.trim_matches(|character: char| character == ':' || character.is_whitespace());
        if line.is_empty() {
            text.clone_into(&mut line);
        } else if !text.is_empty() && !line.ends_with(text) {
            line = format!("{line}: {text}");
        }
        next = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::chain;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Box<dyn std::error::Error>,
    }

    #[test]
    fn layers_that_say_nothing_leave_no_colons() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let said = refused.to_string();
        let inner = Layer {
            text: ": ",
            source: Box::new(refused),
        };
        let outer = Layer {
            text: "",
            source: Box::new(Layer {
                text: "",
                source: Box::new(inner),
            }),
        };
        assert_eq!(chain(&outer), said);
        let told = Layer {
            text: "could not dial",
            source: Box::new(outer),
        };
        assert_eq!(chain(&told), format!("could not dial: {said}"));
    }
}
