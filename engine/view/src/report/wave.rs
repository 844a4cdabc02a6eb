//! The call drawn: an overview of all of it, and a strip to walk along, with words under the sound.

use std::fmt::Write;

use antiphon_engine_measure::{SilenceCause, Stretch};
use antiphon_media_frame::MediaTime;

use super::markup::{Html, Say};
use super::sound::{Sound, peaks};
use super::{Page, role, role_class};

/// Columns of the overview.
const COLUMNS: usize = 1_200;
/// Columns of the strip: twenty a second, and no more than these.
const PER_SECOND: i64 = 20;
const MOST: i64 = 40_000;
/// Pixels a second of the strip, so that words fit under their sound.
const PIXELS: i64 = 110;
/// Height of a lane in the drawing's own units, and its middle.
const LANE: i64 = 100;
const MIDDLE: i64 = 50;

/// An envelope as the data of a path of upright strokes.
fn strokes(peaks: &[f32], lane: usize) -> String {
    let mut path = String::with_capacity(peaks.len() * 12);
    let middle = lane as i64 * LANE + MIDDLE;
    for (column, &peak) in peaks.iter().enumerate() {
        // Softer speech is seen too: the root of the amplitude is drawn.
        let half = (peak.sqrt() * (MIDDLE - 4) as f32).round().max(1.0) as i64;
        // Writing to a string does not fail.
        let _ = write!(path, "M{column} {}V{}", middle - half, middle + half);
    }
    path
}

/// The upper of two rows of words: what finds no room in it goes below.
#[derive(Default)]
struct Row {
    taken: i64,
}

impl Row {
    fn fits(&mut self, text: &str, place: i64) -> bool {
        if place < self.taken {
            return false;
        }
        // About what letters and characters of 13 pixels take.
        let width: i64 = text.chars().map(|c| if c < '\u{2e80}' { 8 } else { 14 }).sum();
        self.taken = place + width + 3;
        true
    }
}

impl Page<'_> {
    /// Overview, strip and what plays.
    pub(super) fn player(&self, html: &mut Html) {
        html.raw("<section class=\"player\"");
        html.attr("aria-label", "波形 · Waveform").seconds("data-duration", self.duration).raw(">\n");
        if let Some(cutter) = self.cutter.as_ref().filter(|_| self.whole) {
            html.raw("<audio id=\"sound\" controls preload=\"auto\" src=\"data:audio/wav;base64,");
            html.base64(&cutter.whole()).raw("\"></audio>\n");
        } else {
            html.raw("<p class=\"quiet\">");
            html.say(match self.cutter {
                Some(_) => Say(
                    "通话较长，页面只含命中片段的声音。",
                    "The call is long: the page holds the sound of findings only.",
                ),
                None => Say("此页没有声音。", "This page has no sound."),
            });
            html.raw("</p>\n");
        }
        self.overview(html);
        self.strip(html);
        html.raw("</section>\n");
    }

    fn lanes(&self) -> usize {
        self.report.conversation.tracks.len().max(1)
    }

    fn drawn(&self, sound: Option<Sound<'_>>, columns: usize) -> Vec<Vec<f32>> {
        let tracks = &self.report.conversation.tracks;
        let lane = |(track, side): (usize, &antiphon_engine_measure::Track)| match sound {
            Some(sound) => sound
                .tracks
                .get(track)
                .map(|pcm| peaks(pcm, sound.rate, self.duration, columns))
                .unwrap_or_default(),
            None => {
                // Without sound: when somebody spoke.
                let turns = self.report.conversation.turns.iter().filter(|turn| turn.track == track);
                let spoken: Vec<Stretch> = match side.speech.is_empty() {
                    true => {
                        turns.map(|turn| Stretch { start: turn.said.start, end: turn.said.end }).collect()
                    }
                    false => side.speech.clone(),
                };
                let mut lane = vec![0.0; columns];
                for at in spoken {
                    let column = |at: MediaTime| {
                        ((at.millis().clamp(0, self.duration) * columns as i64) / self.duration) as usize
                    };
                    let (from, to) = (column(at.start).min(columns), column(at.end).min(columns));
                    lane[from..to.max(from)].fill(0.25);
                }
                lane
            }
        };
        tracks.iter().enumerate().map(lane).collect()
    }

    fn rect(&self, html: &mut Html, class: &'static str, at: Stretch, lane: (i64, i64), width: i64) {
        let x =
            |at: MediaTime| at.millis().clamp(0, self.duration) as f64 * width as f64 / self.duration as f64;
        let (from, to) = (x(at.start), x(at.end));
        html.raw("<rect").attr("class", class).attr("x", &format!("{from:.1}"));
        html.attr("width", &format!("{:.1}", (to - from).max(1.0))).attr("y", &lane.0.to_string());
        html.attr("height", &lane.1.to_string()).raw("/>");
    }

    fn overview(&self, html: &mut Html) {
        let (lanes, width) = (self.lanes() as i64, COLUMNS as i64);
        let height = lanes * LANE + 60;
        html.raw(
            "<svg id=\"overview\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"总览 · Overview\"",
        );
        html.attr("viewBox", &format!("0 0 {width} {height}"));
        html.attr("style", &format!("height:{}px", 60 * lanes + 36)).raw(">");
        let measures = self.report.measures;
        for silence in measures.silences.iter().filter(|s| s.at.end.since(s.at.start).millis() >= 3_000) {
            let class = if silence.cause == SilenceCause::Hold { "hold" } else { "silence" };
            self.rect(html, class, silence.at, (0, lanes * LANE), width);
        }
        for found in &measures.interruptions {
            self.rect(html, "overlap", found.overlap, (0, lanes * LANE), width);
        }
        for (lane, peaks) in self.drawn(self.report.sound, COLUMNS).iter().enumerate() {
            html.raw("<path")
                .attr("class", role_class(self.report.conversation.tracks[lane].role))
                .raw(" d=\"");
            html.numbers(&strokes(peaks, lane)).raw("\"/>");
        }
        // How worked up the turns sound, under the sound.
        for found in &measures.agitation {
            let Some(turn) = self.report.conversation.turns.get(found.turn).filter(|_| found.score >= 0.1)
            else {
                continue;
            };
            let bar = (f64::from(found.score) * 40.0).round() as i64;
            let at = Stretch { start: turn.said.start, end: turn.said.end };
            self.rect(html, if found.score >= 0.7 { "hot" } else { "warm" }, at, (height - bar, bar), width);
        }
        for judgement in self.report.judgements {
            for finding in
                judgement.rules.iter().flat_map(|rule| &rule.hits).filter(|finding| finding.stands())
            {
                let lane = finding
                    .track
                    .filter(|&track| track < self.lanes())
                    .map_or((0, lanes * LANE), |t| (t as i64 * LANE, LANE));
                let class = if finding.points < 0.0 || finding.fatal { "bad" } else { "good" };
                if finding.searched.is_empty() {
                    self.rect(html, class, Stretch { start: finding.start, end: finding.end }, lane, width);
                }
            }
        }
        html.raw("<line id=\"here\" x1=\"0\" x2=\"0\" y1=\"0\"")
            .attr("y2", &height.to_string())
            .raw("/></svg>\n");
        html.raw("<p class=\"legend\">");
        for track in &self.report.conversation.tracks {
            html.raw("<span><i")
                .attr("class", role_class(track.role))
                .raw("></i>")
                .say(role(track.role))
                .raw("</span>");
        }
        for (class, both) in [
            ("silence", Say("静默（3 秒以上）", "silence of 3 s or more")),
            ("hold", Say("保持", "hold")),
            ("overlap", Say("抢话重叠", "interruption")),
            ("bad", Say("扣分命中", "finding")),
            ("warm", Say("情绪", "agitation")),
        ] {
            html.raw("<span><i").attr("class", class).raw("></i>").say(both).raw("</span>");
        }
        html.raw("</p>\n");
    }

    fn strip(&self, html: &mut Html) {
        let conversation = self.report.conversation;
        let columns = (self.duration * PER_SECOND / 1_000).clamp(1, MOST);
        let pixels = (self.duration * PIXELS / 1_000).max(1);
        let place = |at: MediaTime| at.millis().clamp(0, self.duration) * PIXELS / 1_000;
        html.raw("<div id=\"strip\" tabindex=\"0\" role=\"group\" data-pixels=\"110\"");
        html.attr("aria-label", "左右键逐词，回车播放 · arrow keys go from word to word, Enter plays")
            .raw("><div class=\"tape\"");
        html.attr("style", &format!("width:{pixels}px")).raw(">");
        let lanes = self.drawn(self.report.sound, columns as usize);
        for (track, side) in conversation.tracks.iter().enumerate() {
            html.raw("<svg class=\"lane\" preserveAspectRatio=\"none\" aria-hidden=\"true\"");
            html.attr("viewBox", &format!("0 0 {columns} {LANE}"))
                .raw("><path")
                .attr("class", role_class(side.role))
                .raw(" d=\"");
            html.numbers(&strokes(&lanes[track], 0)).raw("\"/></svg><div").attr("class", "words");
            html.attr("lang", conversation.language.tag()).raw(">");
            let mut row = Row::default();
            for turn in conversation.turns.iter().filter(|turn| turn.track == track) {
                let mut word = |text: &str, start: MediaTime, end: MediaTime| {
                    html.raw(if row.fits(text, place(start)) {
                        "<span class=\"w\""
                    } else {
                        "<span class=\"w low\""
                    });
                    html.seconds("data-t", start.millis()).seconds("data-e", end.millis());
                    html.attr("style", &format!("left:{}px", place(start)))
                        .raw(">")
                        .text(text)
                        .raw("</span>");
                };
                turn.said.words.iter().for_each(|said| word(&said.text, said.start, said.end));
                if turn.said.words.is_empty() {
                    word(&turn.said.text, turn.said.start, turn.said.end);
                }
            }
            html.raw("</div>");
        }
        html.raw("<i id=\"needle\"></i></div></div>\n");
    }
}
