//! Pieces of time in whole milliseconds, as a recording keeps them: what is measured of a call and of its stored record
//! is the same to the last digit.

use antiphon_media_frame::{MediaTime, Span};

use crate::Stretch;

/// Beyond this many milliseconds, 285 years, an instant on the call's clock no longer fits.
const FARTHEST: i64 = 9_000_000_000_000;

/// Half open: `start` belongs to it, `end` does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Piece {
    pub(crate) start: i64,
    pub(crate) end: i64,
}

pub(crate) fn millis(at: MediaTime) -> i64 {
    at.millis().clamp(-FARTHEST, FARTHEST)
}

pub(crate) fn instant(millis: i64) -> MediaTime {
    MediaTime::from_millis(millis.clamp(-FARTHEST, FARTHEST))
}

pub(crate) fn span(millis: i64) -> Span {
    Span::from_millis(u64::try_from(millis.min(FARTHEST)).unwrap_or(0))
}

impl Piece {
    pub(crate) fn of(start: MediaTime, end: MediaTime) -> Self {
        Self { start: millis(start), end: millis(end) }
    }

    pub(crate) fn len(self) -> i64 {
        (self.end - self.start).max(0)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// What both have; empty where they lie apart.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { start: self.start.max(other.start), end: self.end.min(other.end) }
    }

    pub(crate) fn stretch(self) -> Stretch {
        Stretch { start: instant(self.start), end: instant(self.end) }
    }
}

/// In order and apart: pieces that touch, overlap or lie less than `gap` apart become one.
pub(crate) fn joined(mut pieces: Vec<Piece>, gap: i64) -> Vec<Piece> {
    pieces.retain(|piece| !piece.is_empty());
    pieces.sort_unstable();
    let mut out: Vec<Piece> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match out.last_mut() {
            Some(last) if piece.start <= last.end || piece.start - last.end < gap => {
                last.end = last.end.max(piece.end);
            }
            _ => out.push(piece),
        }
    }
    out
}

/// The parts of `pieces` (in order, apart) that lie in `window`.
pub(crate) fn inside(pieces: &[Piece], window: Piece) -> impl Iterator<Item = Piece> + '_ {
    let first = pieces.partition_point(|piece| piece.end <= window.start);
    pieces[first..]
        .iter()
        .take_while(move |piece| piece.start < window.end)
        .map(move |piece| piece.and(window))
        .filter(|piece| !piece.is_empty())
}

/// How much of `window` the pieces (in order, apart) cover.
pub(crate) fn covered(pieces: &[Piece], window: Piece) -> i64 {
    inside(pieces, window).map(Piece::len).sum()
}

/// What of `window` the pieces (in order, apart) leave free.
pub(crate) fn free(pieces: &[Piece], window: Piece) -> Vec<Piece> {
    let mut from = window.start;
    let mut out = Vec::new();
    for piece in inside(pieces, window) {
        out.push(Piece { start: from, end: piece.start });
        from = piece.end;
    }
    out.push(Piece { start: from, end: window.end });
    out.retain(|piece| !piece.is_empty());
    out
}

/// The piece (in order, apart) that `at` lies in.
pub(crate) fn holding(pieces: &[Piece], at: i64) -> Option<Piece> {
    let next = pieces.partition_point(|piece| piece.end <= at);
    pieces.get(next).copied().filter(|piece| piece.start <= at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(of: &[(i64, i64)]) -> Vec<Piece> {
        of.iter().map(|&(start, end)| Piece { start, end }).collect()
    }

    #[test]
    fn pieces_join_below_the_gap_and_not_at_it() {
        let made = joined(pieces(&[(1000, 1500), (0, 500), (1999, 2000), (2500, 2600), (3, 3)]), 500);
        assert_eq!(made, pieces(&[(0, 500), (1000, 2000), (2500, 2600)]));
        assert_eq!(joined(pieces(&[(0, 5), (5, 9), (20, 10)]), 0), pieces(&[(0, 9)]));
    }

    #[test]
    fn what_is_covered_and_what_is_free_make_the_window() {
        let at = pieces(&[(0, 10), (20, 30), (40, 50)]);
        let window = Piece { start: 5, end: 45 };
        assert_eq!(covered(&at, window), 20);
        assert_eq!(free(&at, window), pieces(&[(10, 20), (30, 40)]));
        assert_eq!(holding(&at, 20), Some(at[1]));
        assert_eq!(holding(&at, 30), None);
    }

    #[test]
    fn the_farthest_instants_do_not_wrap() {
        let far = Piece::of(MediaTime::from_nanos(i64::MIN), MediaTime::from_nanos(i64::MAX));
        assert_eq!(Piece::of(far.stretch().start, far.stretch().end), far);
    }
}
