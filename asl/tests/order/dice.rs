//! The only source of chance, and a count of what it led to.

use std::collections::BTreeMap;

use super::federation::mix;

/// Numbers that a seed decides.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn of(seed: u64) -> Self {
        Self(mix(seed))
    }

    pub(crate) fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(mix(self.0))
    }

    /// A number below `bound`, which is not zero.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.throw() % bound as u64).unwrap()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        u8::try_from(self.throw() % 256).unwrap()
    }

    /// Whether something happens that happens this often in a hundred.
    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.throw() % 100 < chance
    }

    /// One of several, of which there is at least one.
    pub(crate) fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }

    pub(crate) fn shuffled<T: Clone>(&mut self, items: &[T]) -> Vec<T> {
        let mut order: Vec<(u64, &T)> = items.iter().map(|item| (self.throw(), item)).collect();
        order.sort_by_key(|(key, _)| *key);
        order.into_iter().map(|(_, item)| item.clone()).collect()
    }
}

/// In how many cases something happened.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    /// Notes that something happened in this case, however often.
    pub(crate) fn note(&mut self, what: &'static str, happened: bool) {
        if happened {
            self.0.insert(what, 1);
        }
    }

    /// Notes what also happened in this case.
    pub(crate) fn also(&mut self, other: &Self) {
        other.0.keys().for_each(|what| self.note(what, true));
    }

    /// Adds the tally of other cases.
    pub(crate) fn add(mut self, other: Self) -> Self {
        for (what, cases) in other.0 {
            *self.0.entry(what).or_default() += cases;
        }
        self
    }

    pub(crate) fn cases(&self, what: &'static str) -> u64 {
        self.0.get(what).copied().unwrap_or_default()
    }
}
