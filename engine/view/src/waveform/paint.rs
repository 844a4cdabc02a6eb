//! Pixels.

use antiphon_media_frame::{MediaTime, Span};
use antiphon_media_record::GapCause;
use tiny_skia::{Color, ColorU8, Paint, PathBuilder, Pixmap, Rect, Stroke, StrokeDash, Transform};

use super::layout::{HEAD, LEFT, LINE, Layout, RIGHT, Row, STRIP, WAVE, WIDTH, WORD_SIZE, WordLines};
use super::{MarkKind, Picture, RenderError, Track, WaveformInput};
use crate::fonts::Fonts;

const GROUND: ColorU8 = rgb(0xfd, 0xfd, 0xfb);
const INK: ColorU8 = rgb(0x1f, 0x25, 0x2b);
const FAINT: ColorU8 = rgb(0x6b, 0x74, 0x7d);
const GRID: ColorU8 = rgb(0xdd, 0xe1, 0xe4);
const CALLER: Palette = Palette {
    bed: rgb(0xec, 0xf2, 0xfa),
    peak: rgb(0x8f, 0xb3, 0xdc),
    body: rgb(0x1f, 0x5a, 0xa0),
    word: rgb(0x12, 0x3a, 0x6b),
};
const MACHINE: Palette = Palette {
    bed: rgb(0xed, 0xf6, 0xee),
    peak: rgb(0x92, 0xc6, 0x9d),
    body: rgb(0x23, 0x76, 0x3c),
    word: rgb(0x14, 0x4d, 0x27),
};
const HOLE: ColorU8 = rgb(0xf6, 0xcf, 0xcb);
const MADE_UP: ColorU8 = rgb(0xfb, 0xe8, 0xbf);
const BARGE: ColorU8 = rgb(0xc6, 0x28, 0x28);
const ANSWER: ColorU8 = rgb(0xa8, 0x5d, 0x00);
const KEY: ColorU8 = rgb(0x6a, 0x2c, 0x91);

const SMALL: f32 = 13.0;

struct Palette {
    bed: ColorU8,
    peak: ColorU8,
    body: ColorU8,
    word: ColorU8,
}

const fn rgb(r: u8, g: u8, b: u8) -> ColorU8 {
    ColorU8::from_rgba(r, g, b, 255)
}

struct Canvas<'a> {
    pixmap: Pixmap,
    fonts: &'a Fonts,
}

pub(super) fn picture(input: &WaveformInput<'_>, fonts: &Fonts) -> Result<Picture, RenderError> {
    let layout = Layout::new(input, fonts);
    let pixmap = Pixmap::new(WIDTH, layout.height)
        .ok_or_else(|| RenderError::Encode(format!("{WIDTH} by {} pixels", layout.height)))?;
    let mut canvas = Canvas { pixmap, fonts };
    canvas.pixmap.fill(color(GROUND));
    canvas.head(input, &layout);
    for row in &layout.rows {
        canvas.row(input, &layout, row);
    }

    let mut notes = Vec::new();
    if fonts.is_empty() {
        notes.push("no font found, so the picture has no words (Debian: fonts-dejavu-core)".to_owned());
    } else if !input.caller.words.iter().chain(input.machine.words).all(|w| fonts.covers(&w.text)) {
        notes.push("no font found for some characters (Debian, for Chinese: fonts-noto-cjk)".to_owned());
    }
    if layout.crowded_out > 0 {
        notes.push(format!("{} words found no room", layout.crowded_out));
    }
    let png = canvas.pixmap.encode_png().map_err(|error| RenderError::Encode(error.to_string()))?;
    Ok(Picture { png, width: WIDTH, height: layout.height, notes })
}

impl Canvas<'_> {
    fn head(&mut self, input: &WaveformInput<'_>, layout: &Layout<'_>) {
        self.text(input.title, 20.0, 33.0, 21.0, INK);
        let facts = format!("{} at {}", clock(layout.duration), input.rate);
        let wide = self.fonts.width(&facts, 15.0);
        self.text(&facts, RIGHT - wide, 33.0, 15.0, FAINT);

        let mut x = 20.0;
        let responses = input.marks.iter().any(|m| matches!(m.kind, MarkKind::Response { .. }));
        let gaps = [input.caller.gaps, input.machine.gaps].concat();
        for (shown, name, swatch) in [
            (true, "caller", CALLER.body),
            (true, "machine", MACHINE.body),
            (responses, "end of speech to first sound of the answer", ANSWER),
            (input.marks.iter().any(|m| m.kind == MarkKind::BargeIn), "barge-in", BARGE),
            (input.marks.iter().any(|m| matches!(m.kind, MarkKind::Key(_))), "key", KEY),
            (gaps.iter().any(|g| hole(g.cause) == Some(HOLE)), "missing", HOLE),
            (gaps.iter().any(|g| hole(g.cause) == Some(MADE_UP)), "concealed", MADE_UP),
        ] {
            if shown {
                self.fill(x, HEAD - 24.0, 11.0, 11.0, swatch);
                self.text(name, x + 17.0, HEAD - 14.0, SMALL, FAINT);
                x += 17.0 + self.fonts.width(name, SMALL) + 22.0;
            }
        }
    }

    fn row(&mut self, input: &WaveformInput<'_>, layout: &Layout<'_>, row: &Row<'_>) {
        for (top, name, track, palette) in [
            (row.caller_top(), "caller", &input.caller, &CALLER),
            (row.machine_top(), "machine", &input.machine, &MACHINE),
        ] {
            self.fill(LEFT, top, RIGHT - LEFT, WAVE, palette.bed);
            let wide = self.fonts.width(name, 15.0);
            self.text(name, LEFT - 12.0 - wide, top + WAVE / 2.0 + 5.0, 15.0, palette.word);
            self.holes(layout, row, top, track);
        }
        self.axis(layout, row);
        self.wave(input, layout, row, row.caller_top(), &input.caller, &CALLER);
        self.wave(input, layout, row, row.machine_top(), &input.machine, &MACHINE);
        self.words(layout, row, row.caller_words_top(), &row.caller, &CALLER);
        self.words(layout, row, row.machine_words_top(), &row.machine, &MACHINE);
        self.marks(input, layout, row);
    }

    /// Second ticks, labelled as often as there is room.
    fn axis(&mut self, layout: &Layout<'_>, row: &Row<'_>) {
        let secs = layout.span.millis() / 1_000;
        let every = [1, 2, 5, 10, 30, 60].into_iter().find(|step| secs / step <= 20).unwrap_or(60);
        let bottom = row.machine_top() + WAVE;
        for n in (0..=secs).step_by(every as usize) {
            let share = n as f32 / secs as f32;
            let x = (LEFT + (RIGHT - LEFT) * share).floor();
            self.fill(x, row.caller_top() - 4.0, 1.0, WAVE + 4.0, GRID);
            self.fill(x, row.machine_top(), 1.0, bottom - row.machine_top(), GRID);
            let label = clock((row.from + Span::from_secs(n)).since(MediaTime::ZERO));
            let wide = self.fonts.width(&label, SMALL);
            self.text(&label, (x - wide / 2.0).min(RIGHT - wide), row.caller_top() - 8.0, SMALL, FAINT);
        }
    }

    fn holes(&mut self, layout: &Layout<'_>, row: &Row<'_>, top: f32, track: &Track<'_>) {
        let end = row.from + layout.span;
        for gap in track.gaps.iter().filter(|gap| gap.from < end && gap.to > row.from) {
            let Some(shade) = hole(gap.cause) else { continue };
            let from = layout.x(row.from, gap.from).unwrap_or(LEFT);
            let to = layout.x(row.from, gap.to).unwrap_or(RIGHT);
            self.fill(from, top, (to - from).max(1.0), WAVE, shade);
        }
    }

    /// Peaks pale, the root of the mean square over them.
    fn wave(
        &mut self,
        input: &WaveformInput<'_>,
        layout: &Layout<'_>,
        row: &Row<'_>,
        top: f32,
        track: &Track<'_>,
        palette: &Palette,
    ) {
        // One scale for the whole track; the floor keeps line noise from filling it.
        let loudest = track.pcm.iter().map(|s| s.unsigned_abs()).max().unwrap_or(0).max(3_000);
        let scale = (WAVE / 2.0 - 4.0) / f32::from(loudest);
        let middle = top + WAVE / 2.0;
        for n in 0..(RIGHT - LEFT) as u32 {
            let samples = layout.column(track.pcm, input.rate, row.from, n);
            let (Some(low), Some(high)) = (samples.iter().min(), samples.iter().max()) else { continue };
            let x = LEFT + n as f32;
            let (up, down) = (f32::from(*high).max(0.0) * scale, f32::from(*low).min(0.0) * -scale);
            self.fill(x, middle - up, 1.0, up + down, palette.peak);
            let square = samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / samples.len() as f64;
            let body = (square.sqrt() as f32 * scale).max(0.5);
            self.fill(x, middle - body.min(up), 1.0, body.min(up) + body.min(down), palette.body);
        }
        self.fill(LEFT, middle.floor(), RIGHT - LEFT, 1.0, palette.peak);
    }

    fn words(
        &mut self,
        layout: &Layout<'_>,
        row: &Row<'_>,
        top: f32,
        lines: &WordLines<'_>,
        palette: &Palette,
    ) {
        for placed in &lines.words {
            let base = top + placed.line as f32 * LINE;
            let from = layout.x(row.from, placed.word.start).unwrap_or(LEFT);
            let to = layout.x(row.from, placed.word.end).unwrap_or(RIGHT);
            // The bar at the waveform's foot says how long the word lasts, whatever line it stands on.
            self.fill(from, top - 4.0, (to - from - 1.0).max(1.5), 3.0, palette.body);
            let ink = if placed.word.confidence < 0.5 { FAINT } else { palette.word };
            self.text(&placed.word.text, placed.x, base + LINE - 4.5, WORD_SIZE, ink);
        }
    }

    fn marks(&mut self, input: &WaveformInput<'_>, layout: &Layout<'_>, row: &Row<'_>) {
        for mark in input.marks {
            match mark.kind {
                MarkKind::Response { speech_end } => self.response(layout, row, speech_end, mark.at),
                MarkKind::BargeIn => {
                    let Some(x) = layout.x(row.from, mark.at) else { continue };
                    self.dashed(x, row.caller_top(), row.machine_top() + WAVE);
                    self.tag("barge-in", x + 3.0, row.machine_top() + 3.0, BARGE);
                }
                MarkKind::Key(key) => {
                    let Some(x) = layout.x(row.from, mark.at) else { continue };
                    self.fill(x, row.caller_top(), 1.5, WAVE, KEY);
                    self.tag(&key.to_string(), x, row.caller_top() + 3.0, KEY);
                }
            }
        }
    }

    /// A bar from the caller's last sound to our first, with its length.
    fn response(&mut self, layout: &Layout<'_>, row: &Row<'_>, from: MediaTime, to: MediaTime) {
        let end = row.from + layout.span;
        if to <= from || to < row.from || from >= end {
            return;
        }
        let left = layout.x(row.from, from).unwrap_or(LEFT);
        let right = layout.x(row.from, to).unwrap_or(RIGHT);
        let y = row.strip_top() + STRIP / 2.0;
        self.fill(left, y - 1.0, (right - left).max(1.0), 2.0, ANSWER);
        if from >= row.from {
            self.fill(left, row.strip_top() + 4.0, 2.0, STRIP - 8.0, ANSWER);
        }
        if to < end {
            self.fill(right - 1.0, y, 2.0, row.machine_top() - y, ANSWER);
            let label = format!("{} ms", to.since(from).millis());
            let room = RIGHT - self.fonts.width(&label, SMALL);
            self.text(&label, (right + 7.0).min(room), y + 5.0, SMALL, ANSWER);
        }
    }

    fn tag(&mut self, label: &str, x: f32, y: f32, ground: ColorU8) {
        let wide = self.fonts.width(label, SMALL) + 8.0;
        let x = x.min(RIGHT - wide);
        self.fill(x, y, wide, 17.0, ground);
        self.text(label, x + 4.0, y + 13.0, SMALL, rgb(255, 255, 255));
    }

    fn text(&mut self, text: &str, x: f32, y: f32, size: f32, ink: ColorU8) {
        self.fonts.draw(&mut self.pixmap, text, x, y, size, ink);
    }

    fn fill(&mut self, x: f32, y: f32, width: f32, height: f32, shade: ColorU8) {
        if let Some(rect) = Rect::from_xywh(x, y, width, height) {
            let mut paint = Paint { anti_alias: true, ..Paint::default() };
            paint.set_color(color(shade));
            self.pixmap.fill_rect(rect, &paint, Transform::identity(), None);
        }
    }

    fn dashed(&mut self, x: f32, top: f32, bottom: f32) {
        let mut path = PathBuilder::new();
        path.move_to(x, top);
        path.line_to(x, bottom);
        if let Some(path) = path.finish() {
            let mut paint = Paint::default();
            paint.set_color(color(BARGE));
            let stroke =
                Stroke { width: 1.6, dash: StrokeDash::new(vec![5.0, 4.0], 0.0), ..Stroke::default() };
            self.pixmap.stroke_path(&path, &paint, &stroke, Transform::identity(), None);
        }
    }
}

/// How a gap is shaded; silence that was meant is none.
fn hole(cause: GapCause) -> Option<ColorU8> {
    match cause {
        GapCause::Missing | GapCause::Refused => Some(HOLE),
        GapCause::Concealed => Some(MADE_UP),
        GapCause::Silence => None,
    }
}

fn color(c: ColorU8) -> Color {
    Color::from_rgba8(c.red(), c.green(), c.blue(), c.alpha())
}

/// Minutes and seconds.
fn clock(span: Span) -> String {
    let secs = span.millis() / 1_000;
    format!("{}:{:02}", secs / 60, secs % 60)
}

#[cfg(test)]
mod tests {
    use antiphon_media_frame::SampleRate;

    use super::*;
    use crate::waveform::{Mark, TrackWord};

    const RATE: SampleRate = SampleRate::HZ_8000;

    fn word(text: &str, from: i64, to: i64) -> TrackWord {
        TrackWord {
            text: text.into(),
            start: MediaTime::from_millis(from),
            end: MediaTime::from_millis(to),
            confidence: 1.0,
        }
    }

    fn drawn(input: &WaveformInput<'_>, fonts: &Fonts) -> (Picture, Pixmap) {
        let picture = picture(input, fonts).expect("a picture");
        let pixmap = Pixmap::decode_png(&picture.png).expect("a PNG");
        assert_eq!((pixmap.width(), pixmap.height()), (picture.width, picture.height));
        (picture, pixmap)
    }

    /// Columns in which a colour occurs between two heights.
    fn columns(pixmap: &Pixmap, shade: ColorU8, from: f32, to: f32) -> Vec<u32> {
        (0..pixmap.width())
            .filter(|x| {
                (from as u32..to as u32).any(|y| {
                    pixmap.pixel(*x, y).is_some_and(|p| {
                        (p.red(), p.green(), p.blue()) == (shade.red(), shade.green(), shade.blue())
                    })
                })
            })
            .collect()
    }

    #[test]
    fn sound_is_drawn_at_its_time_and_in_its_track_without_any_font() {
        // 10 s in one row; the caller sounds from 2 s to 4 s, the machine from 6 s to 7 s.
        let mut caller = vec![0i16; 80_000];
        let mut machine = vec![0i16; 80_000];
        caller[16_000..32_000].iter_mut().step_by(2).for_each(|s| *s = 12_000);
        machine[48_000..56_000].iter_mut().step_by(2).for_each(|s| *s = 12_000);
        let said = [word("hello", 2_000, 4_000)];
        let input = WaveformInput {
            title: "a call",
            rate: RATE,
            caller: Track { pcm: &caller, words: &said, gaps: &[] },
            machine: Track { pcm: &machine, words: &[], gaps: &[] },
            marks: &[],
        };
        let fonts = Fonts::none();
        let (picture, pixmap) = drawn(&input, &fonts);
        assert_eq!(picture.notes.len(), 1, "{:?}", picture.notes);

        let layout = Layout::new(&input, &fonts);
        let row = &layout.rows[0];
        for (palette, top, from, to) in
            [(&CALLER, row.caller_top(), 2.0, 4.0), (&MACHINE, row.machine_top(), 6.0, 7.0)]
        {
            // Well above the middle, where silence draws nothing.
            let found = columns(&pixmap, palette.body, top + 25.0, top + 35.0);
            let x = |secs: f32| LEFT + (RIGHT - LEFT) * secs / 10.0;
            let (first, last) = (found[0] as f32, found[found.len() - 1] as f32);
            assert!((first - x(from)).abs() < 3.0 && (last - x(to)).abs() < 3.0, "{first} to {last}");
        }
    }

    #[test]
    fn long_calls_and_odd_input_stay_within_bounds() {
        let hour = vec![0i16; 8_000 * 3_600];
        let many: Vec<TrackWord> = (0..3_000).map(|n| word("word", n * 1_200, n * 1_200 + 400)).collect();
        let odd = [
            word("backwards", 5_000, 1_000),
            word("before", -5_000, -1_000),
            word("\u{0}\u{1b}", i64::MAX / 2_000_000, i64::MAX / 1_000_000),
        ];
        let marks = [
            Mark { at: MediaTime::from_nanos(i64::MIN), kind: MarkKind::BargeIn },
            Mark {
                at: MediaTime::from_nanos(i64::MAX),
                kind: MarkKind::Response { speech_end: MediaTime::ZERO },
            },
        ];
        for (pcm, words) in [(&hour[..], &many[..]), (&[][..], &odd[..]), (&[0][..], &[][..])] {
            let input = WaveformInput {
                title: "",
                rate: RATE,
                caller: Track { pcm, words, gaps: &[] },
                machine: Track::default(),
                marks: &marks,
            };
            let layout = Layout::new(&input, &Fonts::none());
            assert!(layout.rows.len() <= 30 && layout.height < 12_000, "{}", layout.height);
            picture(&input, &Fonts::for_text("word")).expect("a picture");
        }
    }

    #[test]
    fn words_on_one_line_never_overlap() {
        let fonts = Fonts::for_text("abc");
        assert!(!fonts.is_empty(), "this test needs a font (Debian: fonts-dejavu-core)");
        let pcm = vec![0i16; 8_000 * 14];
        let words: Vec<TrackWord> = (0..60).map(|n| word("overlapping", n * 230, n * 230 + 200)).collect();
        let input = WaveformInput {
            title: "",
            rate: RATE,
            caller: Track { pcm: &pcm, words: &words, gaps: &[] },
            machine: Track::default(),
            marks: &[],
        };
        let layout = Layout::new(&input, &fonts);
        let placed = &layout.rows[0].caller.words;
        for (n, a) in placed.iter().enumerate() {
            for b in &placed[n + 1..] {
                let apart = a.x + fonts.width(&a.word.text, WORD_SIZE) <= b.x
                    || b.x + fonts.width(&b.word.text, WORD_SIZE) <= a.x;
                assert!(a.line != b.line || apart, "{} and {}", a.x, b.x);
            }
        }
        assert_eq!(placed.len() + layout.crowded_out, 60);
        assert!(placed.len() > 30);
    }
}
