//! Keeps the node's log short where others decide how much there is to say: of each kind a few
//! lines are reported, the rest is counted.

use std::collections::BTreeMap;

use crate::replication::Provoked;

/// Lines of one kind in one window.
const LINES_MAX: u64 = 5;
/// How long a window is, in milliseconds.
const WINDOW_MS: u64 = 60_000;

#[derive(Debug, Clone, Copy)]
struct Window {
    since_ms: u64,
    lines: u64,
}

/// What was reported lately.
#[derive(Debug, Default)]
pub(super) struct Quiet(BTreeMap<Provoked, Window>);

impl Quiet {
    /// Whether a line of this kind may be reported now; if not, it is counted.
    pub(super) fn admit(&mut self, kind: Provoked, now_ms: u64) -> bool {
        let window = self.0.entry(kind).or_insert(Window {
            since_ms: now_ms,
            lines: 0,
        });
        window.lines += 1;
        window.lines <= LINES_MAX
    }

    /// For each kind whose window is over, what was not reported.
    pub(super) fn summaries(&mut self, now_ms: u64) -> Vec<String> {
        let mut summaries = Vec::new();
        self.0.retain(|kind, window| {
            let is_over = now_ms >= window.since_ms + WINDOW_MS;
            if is_over && window.lines > LINES_MAX {
                let seconds = now_ms.saturating_sub(window.since_ms) / 1000;
                let by = kind
                    .by
                    .map(|by| format!(" ({})", by.short()))
                    .unwrap_or_default();
                let more = window.lines - LINES_MAX;
                summaries.push(format!(
                    "{}{by}: {more} more in the last {seconds} seconds",
                    kind.kind
                ));
            }
            !is_over
        });
        summaries
    }
}

#[cfg(test)]
mod tests {
    use uor_index_format::id::SiteId;

    use super::*;
    use crate::replication::Notice;

    const fn of(kind: &'static str, by: Option<SiteId>) -> Provoked {
        Provoked { kind, by }
    }

    #[test]
    fn a_flood_is_a_few_lines_and_a_count_for_each_kind() {
        let (mut quiet, questions) = (Quiet::default(), of("questions", None));
        let reported = (0..1000)
            .filter(|now_ms| quiet.admit(questions, *now_ms))
            .count();
        assert_eq!(reported, 5);
        assert!(
            quiet.admit(of("tickets", None), 1000),
            "another kind is not silenced"
        );
        assert!(quiet.summaries(WINDOW_MS - 1).is_empty());
        assert_eq!(
            quiet.summaries(WINDOW_MS),
            ["questions: 995 more in the last 60 seconds"]
        );
        assert!(quiet.admit(questions, WINDOW_MS), "a new window begins");
    }

    #[test]
    fn what_is_said_of_ordinary_work_is_counted_in_the_words_it_is_said_in() {
        let peer = SiteId::from_bytes([1; 32]);
        let said = Notice::CaughtUp { peer, logseq: 7 };
        let mut quiet = Quiet::default();
        let kind = said.provoked().unwrap();
        let reported = (0..14).filter(|now_ms| quiet.admit(kind, *now_ms)).count();
        assert_eq!(reported, 5);
        assert!(said.to_string().starts_with("caught up with 01010101"));
        assert_eq!(
            quiet.summaries(WINDOW_MS),
            ["times caught up (01010101): 9 more in the last 60 seconds"]
        );
    }

    #[test]
    fn what_one_member_causes_silences_no_other() {
        let [one, other] = [1, 2].map(|byte| of("roots", Some(SiteId::from_bytes([byte; 32]))));
        let mut quiet = Quiet::default();
        assert_eq!(
            (0..1000).filter(|now_ms| quiet.admit(one, *now_ms)).count(),
            5
        );
        assert!(quiet.admit(other, 1000));
        assert_eq!(
            quiet.summaries(WINDOW_MS),
            ["roots (01010101): 995 more in the last 60 seconds"]
        );
    }
}
