//! Things that are named, up to a bound, and counted.

use std::fmt;

use serde::Serialize;

/// Most that are named; more are only counted.
const NAMED_MAX: usize = 1000;

/// Things that are named, up to a bound, and counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bounded<T> {
    /// The first of them.
    pub named: Vec<T>,
    /// How many there are.
    pub total: u64,
}

impl<T> Default for Bounded<T> {
    fn default() -> Self {
        Self {
            named: Vec::new(),
            total: 0,
        }
    }
}

impl<T> Bounded<T> {
    pub(super) fn push(&mut self, item: T) {
        self.total += 1;
        if self.named.len() < NAMED_MAX {
            self.named.push(item);
        }
    }

    /// How many of them are not named.
    pub fn unnamed(&self) -> u64 {
        self.total - self.named.len() as u64
    }
}

impl<T: fmt::Display> fmt::Display for Bounded<T> {
    /// The first of them, and how many more there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.named
            .first()
            .map_or(Ok(()), |first| write!(f, "{first}"))?;
        if self.total > 1 {
            write!(f, " and {} more", self.total - 1)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_named_and_all_are_counted() {
        let mut bounded = Bounded::default();
        (0..NAMED_MAX + 7).for_each(|number| bounded.push(number));
        assert_eq!(
            (bounded.named.len(), bounded.total, bounded.unnamed()),
            (NAMED_MAX, NAMED_MAX as u64 + 7, 7)
        );
    }
}
