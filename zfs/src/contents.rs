//! Where the contents of objects are: which bytes came with this stream, which are those of an
//! earlier snapshot, and which are holes.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

/// The name of contents that are stored: the BLAKE3 digest of their bytes.
pub type ContentName = [u8; 32];

/// Contents that are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Their name.
    pub name: ContentName,
    /// Their length in bytes.
    pub len: u64,
}

/// Where blocks wait until the stream has ended.
pub trait Spool {
    /// Keeps bytes, and says where.
    ///
    /// # Errors
    /// What the system said.
    fn append(&mut self, bytes: &[u8]) -> io::Result<u64>;

    /// Offers a block of contents that were empty, and are believed to become `len` bytes long. Who
    /// takes it stores these contents at once, as bytes from the start on: says which range was
    /// stored, from the end of what was stored of them before, with zeros in between, to the end of
    /// the block or to `len`.
    ///
    /// # Errors
    /// What the store said.
    fn offer(
        &mut self,
        object: u64,
        len: u64,
        offset: u64,
        block: &[u8],
    ) -> io::Result<Option<Range<u64>>> {
        let _ = (object, len, offset, block);
        Ok(None)
    }

    /// Gives back bytes that were kept.
    ///
    /// # Errors
    /// What the system said.
    fn read_at(&self, place: u64, out: &mut [u8]) -> io::Result<()>;

    /// Reads from contents of the earlier snapshot.
    ///
    /// # Errors
    /// What the store said.
    fn read_stored(&self, stored: &Stored, offset: u64, out: &mut [u8]) -> io::Result<()>;
}

/// Where a range of contents is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// In the spool, from this place on.
    Spool(u64),
    /// At the same offset of the object's contents that are stored: at the earlier snapshot, or
    /// while the stream came.
    Base,
}

/// A range of an object's contents, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The range, in bytes from the start of the contents.
    pub range: Range<u64>,
    /// Where it is; `None` for a hole.
    pub source: Option<Source>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    end: u64,
    source: Source,
}

impl Extent {
    /// What is left of it from `at` on.
    fn from(self, start: u64, at: u64) -> Self {
        let source = match self.source {
            Source::Spool(place) => Source::Spool(place + (at - start)),
            Source::Base => Source::Base,
        };
        Self {
            end: self.end,
            source,
        }
    }
}

/// The extents of all objects, by object and offset; they do not overlap.
#[derive(Debug, Default)]
pub(crate) struct Extents(BTreeMap<(u64, u64), Extent>);

impl Extents {
    /// Puts a range in place of what is there.
    pub(crate) fn put(&mut self, object: u64, range: Range<u64>, source: Source) {
        self.punch(object, range.clone());
        if let Some((&(_, start), before)) = self
            .0
            .range_mut((object, 0)..(object, range.start))
            .next_back()
            && before.end == range.start
            && before.from(start, range.start).source == source
        {
            before.end = range.end;
            return;
        }
        if !range.is_empty() {
            self.0.insert(
                (object, range.start),
                Extent {
                    end: range.end,
                    source,
                },
            );
        }
    }

    /// Makes a range a hole.
    pub(crate) fn punch(&mut self, object: u64, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        if let Some((&(_, start), extent)) = self
            .0
            .range_mut((object, 0)..(object, range.start))
            .next_back()
            && extent.end > range.start
        {
            let whole = *extent;
            extent.end = range.start;
            if whole.end > range.end {
                self.0
                    .insert((object, range.end), whole.from(start, range.end));
                return;
            }
        }
        while let Some((&(_, start), extent)) = self
            .0
            .range((object, range.start)..(object, range.end))
            .next()
        {
            let whole = *extent;
            self.0.remove(&(object, start));
            if whole.end > range.end {
                self.0
                    .insert((object, range.end), whole.from(start, range.end));
            }
        }
    }

    /// The extents of an object inside a range, cut to it.
    fn inside(&self, object: u64, range: Range<u64>) -> impl Iterator<Item = (Range<u64>, Source)> {
        let before = self.0.range((object, 0)..(object, range.start)).next_back();
        let rest = self
            .0
            .range((object, range.start)..(object, range.end.max(range.start)));
        before
            .into_iter()
            .chain(rest)
            .filter_map(move |(&(_, start), extent)| {
                let at = start.max(range.start);
                let end = extent.end.min(range.end);
                (at < end).then(|| (at..end, extent.from(start, at).source))
            })
    }

    /// Everything inside a range, holes too, in order.
    pub(crate) fn segments(
        &self,
        object: u64,
        range: Range<u64>,
    ) -> Segments<impl Iterator<Item = (Range<u64>, Source)>> {
        Segments {
            at: range.start,
            end: range.end,
            extents: self.inside(object, range).peekable(),
        }
    }

    /// Where the last extent before `limit` ends.
    pub(crate) fn end(&self, object: u64, limit: u64) -> u64 {
        self.0
            .range((object, 0)..(object, limit))
            .next_back()
            .map_or(0, |(_, extent)| extent.end)
    }

    /// How many bytes before `limit` are no hole.
    pub(crate) fn filled(&self, object: u64, limit: u64) -> u64 {
        self.inside(object, 0..limit)
            .map(|(range, _)| range.end - range.start)
            .sum()
    }
}

/// Segments of contents, in order and without gaps.
pub(crate) struct Segments<I: Iterator> {
    at: u64,
    end: u64,
    extents: std::iter::Peekable<I>,
}

impl<I: Iterator<Item = (Range<u64>, Source)>> Iterator for Segments<I> {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        if self.at >= self.end {
            return None;
        }
        let segment = match self.extents.next_if(|(range, _)| range.start == self.at) {
            Some((range, source)) => Segment {
                range,
                source: Some(source),
            },
            None => {
                let until = self
                    .extents
                    .peek()
                    .map_or(self.end, |(range, _)| range.start);
                Segment {
                    range: self.at..until,
                    source: None,
                }
            }
        };
        self.at = segment.range.end;
        Some(segment)
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "offsets up to a hundred")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Put(u64, u64, bool),
        Punch(u64, u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..60_u64, 0..20_u64, any::<bool>())
                .prop_map(|(at, len, is_next)| Step::Put(at, len, is_next)),
            (0..60_u64, 0..40_u64).prop_map(|(at, len)| Step::Punch(at, len)),
        ]
    }

    proptest! {
        #[test]
        fn extents_are_what_a_map_of_single_bytes_is(steps in prop::collection::vec(step(), 0..60), cut in 0..50_u64) {
            let (mut extents, mut model) = (Extents::default(), [None; 100]);
            extents.put(7, 0..30, Source::Base);
            model[..30].fill(Some(Source::Base));
            let mut place = 1000;
            for step in steps {
                match step {
                    Step::Put(at, len, is_next) => {
                        place += u64::from(!is_next);
                        extents.put(7, at..at + len, Source::Spool(place));
                        for byte in 0..len {
                            model[(at + byte) as usize] = Some(Source::Spool(place + byte));
                        }
                        place += len;
                    }
                    Step::Punch(at, len) => {
                        extents.punch(7, at..at + len);
                        model[at as usize..(at + len) as usize].fill(None);
                    }
                }
            }
            let mut found = [None; 100];
            let mut at = cut;
            for Segment { range, source } in extents.segments(7, cut..100) {
                prop_assert!(range.start == at && range.end > at);
                at = range.end;
                for byte in range.clone() {
                    found[byte as usize] = source.map(|source| match source {
                        Source::Spool(place) => Source::Spool(place + (byte - range.start)),
                        Source::Base => Source::Base,
                    });
                }
            }
            prop_assert_eq!(at, 100);
            prop_assert_eq!(&found[cut as usize..], &model[cut as usize..]);
            prop_assert_eq!(extents.end(7, 100), model.iter().rposition(Option::is_some).map_or(0, |last| last as u64 + 1));
            prop_assert_eq!(extents.filled(7, 100), model.iter().flatten().count() as u64);
            prop_assert_eq!(extents.segments(6, 0..100).next(), Some(Segment { range: 0..100, source: None }));
        }
    }
}
