//! Where things go: rows of time, lines of words.

use antiphon_media_frame::{MediaTime, SampleRate, Span};

use super::{TrackWord, WaveformInput};
use crate::fonts::Fonts;

/// Pixels across the picture.
pub(super) const WIDTH: u32 = 1_600;
/// Left of the tracks, for their names.
pub(super) const LEFT: f32 = 92.0;
/// Where the tracks end.
pub(super) const RIGHT: f32 = 1_572.0;
/// The heading.
pub(super) const HEAD: f32 = 74.0;
/// Time axis above each row.
pub(super) const AXIS: f32 = 26.0;
/// One waveform.
pub(super) const WAVE: f32 = 86.0;
/// One line of words.
pub(super) const LINE: f32 = 19.0;
/// Between the two tracks, for response times.
pub(super) const STRIP: f32 = 24.0;
/// Below each row.
pub(super) const GAP: f32 = 22.0;
/// Size of words.
pub(super) const WORD_SIZE: f32 = 15.0;
/// Words between two neighbours on a line.
const BETWEEN: f32 = 9.0;
/// Lines of words a track has at most.
const MOST_LINES: usize = 4;
/// Rows of a picture at most.
const MOST_ROWS: u64 = 30;
/// Seconds of a usual row.
const ROW_SECS: u64 = 15;

/// A word with its place.
pub(super) struct PlacedWord<'a> {
    pub(super) word: &'a TrackWord,
    pub(super) x: f32,
    pub(super) line: usize,
}

/// The words of one track in one row.
pub(super) struct WordLines<'a> {
    pub(super) words: Vec<PlacedWord<'a>>,
    pub(super) lines: usize,
}

/// A row of time.
pub(super) struct Row<'a> {
    pub(super) from: MediaTime,
    pub(super) top: f32,
    pub(super) caller: WordLines<'a>,
    pub(super) machine: WordLines<'a>,
}

impl Row<'_> {
    pub(super) fn caller_top(&self) -> f32 {
        self.top + AXIS
    }

    pub(super) fn caller_words_top(&self) -> f32 {
        self.caller_top() + WAVE
    }

    pub(super) fn strip_top(&self) -> f32 {
        self.caller_words_top() + self.caller.lines as f32 * LINE
    }

    pub(super) fn machine_top(&self) -> f32 {
        self.strip_top() + STRIP
    }

    pub(super) fn machine_words_top(&self) -> f32 {
        self.machine_top() + WAVE
    }

    pub(super) fn bottom(&self) -> f32 {
        self.machine_words_top() + self.machine.lines as f32 * LINE
    }
}

/// The whole picture.
pub(super) struct Layout<'a> {
    pub(super) rows: Vec<Row<'a>>,
    /// How long each row is.
    pub(super) span: Span,
    /// How long the call is.
    pub(super) duration: Span,
    pub(super) height: u32,
    /// Words that found no room.
    pub(super) crowded_out: usize,
}

impl<'a> Layout<'a> {
    pub(super) fn new(input: &WaveformInput<'a>, fonts: &Fonts) -> Self {
        let samples = input.caller.pcm.len().max(input.machine.pcm.len());
        let duration = input.rate.span(samples);
        let secs = (duration.millis().div_ceil(1_000)).max(1);
        let row_secs = if secs <= ROW_SECS { secs.max(4) } else { ROW_SECS.max(secs.div_ceil(MOST_ROWS)) };
        let span = Span::from_secs(row_secs);

        let mut rows = Vec::new();
        let (mut top, mut crowded_out) = (HEAD, 0);
        for n in 0..secs.div_ceil(row_secs) {
            let from = MediaTime::ZERO + span.saturating_mul(n);
            let caller = place(input.caller.words, from, span, fonts, &mut crowded_out);
            let machine = place(input.machine.words, from, span, fonts, &mut crowded_out);
            let row = Row { from, top, caller, machine };
            top = row.bottom() + GAP;
            rows.push(row);
        }
        Self { rows, span, duration, height: top.ceil() as u32, crowded_out }
    }

    /// Where `at` lies in a row that begins at `from`; `None` in another row.
    pub(super) fn x(&self, from: MediaTime, at: MediaTime) -> Option<f32> {
        (at >= from && at < from + self.span).then(|| x(from, self.span, at))
    }

    /// The samples under one column of pixels.
    pub(super) fn column<'s>(&self, pcm: &'s [i16], rate: SampleRate, from: MediaTime, n: u32) -> &'s [i16] {
        let columns = u64::from((RIGHT - LEFT) as u32);
        let first = rate.samples(from.since(MediaTime::ZERO)) as u64;
        let row = rate.samples(self.span) as u64;
        let start = (first + row * u64::from(n) / columns) as usize;
        let end = (first + row * u64::from(n + 1) / columns) as usize;
        let (start, end) = (start.min(pcm.len()), end.min(pcm.len()));
        &pcm[start..end]
    }
}

fn x(from: MediaTime, span: Span, at: MediaTime) -> f32 {
    let share = at.since(from).secs_f64() / span.secs_f64();
    LEFT + (RIGHT - LEFT) * share as f32
}

/// Words from left to right, each on the first line where it has room.
fn place<'a>(
    words: &'a [TrackWord],
    from: MediaTime,
    span: Span,
    fonts: &Fonts,
    crowded_out: &mut usize,
) -> WordLines<'a> {
    // One line of room even without words keeps the rows alike.
    if fonts.is_empty() {
        return WordLines { words: Vec::new(), lines: 0 };
    }
    let mut here: Vec<&TrackWord> =
        words.iter().filter(|w| w.start >= from && w.start < from + span && !w.text.is_empty()).collect();
    here.sort_by_key(|w| w.start);
    let mut ends = [f32::MIN; MOST_LINES];
    let mut placed = Vec::new();
    for word in here {
        let wide = fonts.width(&word.text, WORD_SIZE);
        let x = x(from, span, word.start).min(RIGHT - wide).max(LEFT);
        match ends.iter().position(|end| *end + BETWEEN <= x) {
            Some(line) => {
                ends[line] = x + wide;
                placed.push(PlacedWord { word, x, line });
            }
            None => *crowded_out += 1,
        }
    }
    let lines = placed.iter().map(|p| p.line + 1).max().unwrap_or(0).max(1);
    WordLines { words: placed, lines }
}
