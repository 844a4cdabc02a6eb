//! Where utterances begin and end, decided from the gate's activity marks alone.

use antiphon_media_frame::{MediaTime, Span};

/// How activity becomes utterances. Values outside the stated ranges are brought to the nearest that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpointing {
    /// Active sound that begins an utterance; inactive frames in between count against it. 0 to 1 s.
    pub start: Span,
    /// Audio before the first active frame that the recogniser hears, so that a soft first sound is not lost. 0 to 2 s.
    pub pre_roll: Span,
    /// Silence that ends an utterance. 50 ms to 10 s.
    pub endpoint: Span,
    /// An utterance longer than this is cut; from three quarters of it on, a pause of [`Endpointing::CUT_PAUSE`] is
    /// enough to end it, so that the cut rarely falls into a word. 1 s to 2 min.
    pub longest: Span,
    /// Missing audio up to this length is bridged with silence; a longer gap ends the utterance. 0 to 2 s.
    pub bridge: Span,
}

impl Endpointing {
    /// The pause that ends an utterance which nears [`Endpointing::longest`].
    pub const CUT_PAUSE: Span = Span::from_millis(200);

    pub(crate) fn clamped(self) -> Self {
        Self {
            start: self.start.min(Span::from_secs(1)),
            pre_roll: self.pre_roll.min(Span::from_secs(2)),
            endpoint: clamp_endpoint(self.endpoint),
            longest: self.longest.clamp(Span::from_secs(1), Span::from_secs(120)),
            bridge: self.bridge.min(Span::from_secs(2)),
        }
    }
}

impl Default for Endpointing {
    /// 80 ms begin an utterance, heard from 250 ms before; 600 ms of silence end it, 30 s cut it; 300 ms are bridged.
    fn default() -> Self {
        Self {
            start: Span::from_millis(80),
            pre_roll: Span::from_millis(250),
            endpoint: Span::from_millis(600),
            longest: Span::from_secs(30),
            bridge: Span::from_millis(300),
        }
    }
}

fn clamp_endpoint(endpoint: Span) -> Span {
    endpoint.clamp(Span::from_millis(50), Span::from_secs(10))
}

/// What a frame means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No utterance is under way.
    Quiet,
    /// An utterance has begun with the active frame at this time.
    Begin(MediaTime),
    /// The utterance goes on.
    Speech,
    /// A pause that does not end the utterance yet.
    Pause,
    /// The pause has become long enough.
    End,
    /// The utterance has become too long; the frame is its last.
    Cut,
}

/// The state machine behind [`Endpointing`].
pub(crate) struct Endpointer {
    rules: Endpointing,
    state: State,
}

enum State {
    Quiet { onset: Option<MediaTime>, heard: Span },
    Speaking { began: MediaTime, last: MediaTime, run: Run },
}

/// The newest stretch of activity of an utterance, which the gate may take back.
#[derive(Clone, Copy)]
struct Run {
    from: MediaTime,
    /// When the activity before it ended; `None` where it began the utterance.
    before: Option<MediaTime>,
    /// Whether the last frame was active.
    open: bool,
}

/// What is left of an utterance whose newest activity was no speech.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing: it was never begun by a voice. Its activity ended at this time.
    Nothing(MediaTime),
    /// What was said before this time.
    Before(MediaTime),
}

const QUIET: State = State::Quiet { onset: None, heard: Span::ZERO };

impl Endpointer {
    pub(crate) fn new(rules: Endpointing) -> Self {
        Self { rules: rules.clamped(), state: QUIET }
    }

    pub(crate) fn set_endpoint(&mut self, endpoint: Span) {
        self.rules.endpoint = clamp_endpoint(endpoint);
    }

    /// Judges the frame from `at` to `end`.
    pub(crate) fn judge(&mut self, at: MediaTime, end: MediaTime, active: bool) -> Verdict {
        match &mut self.state {
            State::Quiet { onset, heard } if active => {
                let began = *onset.get_or_insert(at);
                *heard += end.since(at);
                if *heard < self.rules.start {
                    return Verdict::Quiet;
                }
                let run = Run { from: began, before: None, open: true };
                self.state = State::Speaking { began, last: end, run };
                Verdict::Begin(began)
            }
            State::Quiet { onset, heard } => {
                *heard = heard.saturating_sub(end.since(at));
                if *heard == Span::ZERO {
                    *onset = None;
                }
                Verdict::Quiet
            }
            State::Speaking { began, last, run } => {
                let long = end.since(*began);
                if active && !run.open {
                    *run = Run { from: at, before: Some(*last), open: true };
                }
                run.open = active;
                if active {
                    *last = end;
                    if long < self.rules.longest {
                        return Verdict::Speech;
                    }
                    return Verdict::Cut;
                }
                let endpoint = if long >= three_quarters(self.rules.longest) {
                    self.rules.endpoint.min(Endpointing::CUT_PAUSE)
                } else {
                    self.rules.endpoint
                };
                if end.since(*last) < endpoint { Verdict::Pause } else { Verdict::End }
            }
        }
    }

    /// The newest stretch of activity was no speech. Returns what is left of the utterance under way, if there is one;
    /// where nothing is, it is over.
    pub(crate) fn retract(&mut self) -> Option<Left> {
        let State::Speaking { last, run, .. } = &mut self.state else {
            self.rest();
            return None;
        };
        let Some(before) = run.before else {
            let ended = *last;
            self.rest();
            return Some(Left::Nothing(ended));
        };
        *last = before;
        Some(Left::Before(run.from))
    }

    /// Ends whatever is under way.
    pub(crate) fn rest(&mut self) {
        self.state = QUIET;
    }

    /// Ends the utterance in the middle of speech: the next active frame begins another at once.
    pub(crate) fn cut(&mut self) {
        self.state = State::Quiet { onset: None, heard: self.rules.start };
    }

    /// When the last active frame of the utterance under way ended; `None` outside utterances.
    pub(crate) fn last_active(&self) -> Option<MediaTime> {
        match self.state {
            State::Speaking { last, .. } => Some(last),
            State::Quiet { .. } => None,
        }
    }

    /// Audio worth keeping while no utterance is under way: the pre-roll and a hesitant start.
    pub(crate) fn memory(&self) -> Span {
        self.rules.pre_roll + self.rules.start.saturating_mul(4)
    }

    pub(crate) fn rules(&self) -> &Endpointing {
        &self.rules
    }
}

fn three_quarters(span: Span) -> Span {
    Span::from_nanos(span.nanos() / 4 * 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs 20 ms frames written as a picture (`#` active, `.` not) and writes each verdict as a letter.
    fn verdicts(rules: Endpointing, picture: &str) -> String {
        let mut endpointer = Endpointer::new(rules);
        let mut at = MediaTime::ZERO;
        picture
            .chars()
            .map(|mark| {
                let end = at + Span::from_millis(20);
                let verdict = endpointer.judge(at, end, mark == '#');
                at = end;
                match verdict {
                    Verdict::Quiet => 'q',
                    Verdict::Begin(_) => 'B',
                    Verdict::Speech => 's',
                    Verdict::Pause => 'p',
                    Verdict::End => {
                        endpointer.rest();
                        'E'
                    }
                    Verdict::Cut => {
                        endpointer.cut();
                        'C'
                    }
                }
            })
            .collect()
    }

    #[test]
    fn pictures_of_speech_become_utterances() {
        let rules = Endpointing {
            start: Span::from_millis(60),
            endpoint: Span::from_millis(100),
            ..Endpointing::default()
        };
        for (picture, expected) in [
            // A click of 40 ms is no speech, nor are many.
            ("..##....##....", "qqqqqqqqqqqqqq"),
            // 60 ms is; 100 ms of silence end it.
            ("..###.....#", "qqqqBppppEq"),
            // One dropped frame does not undo a start, it delays it.
            ("##.##......", "qqqqBppppEq"),
            // A pause shorter than the endpoint is inside the utterance.
            ("###....#.....", "qqBppppsppppE"),
            // Alternation never begins one: half of it is silence.
            ("#.#.#.#.#.", "qqqqqqqqqq"),
        ] {
            assert_eq!(verdicts(rules, picture), expected, "{picture}");
        }
    }

    #[test]
    fn too_long_an_utterance_is_cut_and_goes_on_at_once() {
        let rules = Endpointing { longest: Span::from_secs(1), ..Endpointing::default() };
        let out = verdicts(rules, &"#".repeat(60));
        assert_eq!(out.find('B'), Some(3));
        assert_eq!(out.find('C'), Some(49), "at one second");
        assert_eq!(&out[50..], "Bsssssssss");
    }

    #[test]
    fn near_the_limit_a_short_pause_ends() {
        let rules = Endpointing { longest: Span::from_secs(1), ..Endpointing::default() };
        let early = format!("{}{}", "#".repeat(10), ".".repeat(12));
        assert!(!verdicts(rules, &early).contains('E'), "200 ms are a pause at first");
        let late = format!("{}{}", "#".repeat(36), ".".repeat(12));
        assert_eq!(verdicts(rules, &late).find('E'), Some(45), "and an end after three quarters");
    }

    #[test]
    fn onset_is_the_first_active_frame() {
        let mut endpointer = Endpointer::new(Endpointing::default());
        let ms = MediaTime::from_millis;
        for at in [100, 120, 140] {
            assert_eq!(endpointer.judge(ms(at), ms(at + 20), true), Verdict::Quiet);
        }
        assert_eq!(endpointer.judge(ms(160), ms(180), true), Verdict::Begin(ms(100)));
    }

    #[test]
    fn the_newest_activity_alone_is_taken_back() {
        let ms = MediaTime::from_millis;
        let hear = |endpointer: &mut Endpointer, frames: std::ops::Range<i64>, active| {
            frames.for_each(|n| {
                endpointer.judge(ms(n * 20), ms(n * 20 + 20), active);
            });
        };
        let mut endpointer = Endpointer::new(Endpointing::default());
        hear(&mut endpointer, 0..3, true);
        assert_eq!(endpointer.retract(), None, "what has not begun is not told");
        hear(&mut endpointer, 3..6, true);
        assert_eq!(endpointer.last_active(), None, "and does not count towards a beginning");
        hear(&mut endpointer, 6..10, true);
        assert_eq!(endpointer.retract(), Some(Left::Nothing(ms(200))));
        assert_eq!(endpointer.last_active(), None);
        hear(&mut endpointer, 10..20, true);
        hear(&mut endpointer, 20..25, false);
        hear(&mut endpointer, 25..40, true);
        assert_eq!(endpointer.retract(), Some(Left::Before(ms(500))));
        assert_eq!(endpointer.last_active(), Some(ms(400)), "what was said before it stays");
    }

    #[test]
    fn absurd_rules_are_brought_into_range() {
        let rules = Endpointing {
            start: Span::from_secs(1_000),
            pre_roll: Span::from_nanos(u64::MAX),
            endpoint: Span::ZERO,
            longest: Span::ZERO,
            bridge: Span::from_nanos(u64::MAX),
        };
        let sane = rules.clamped();
        assert_eq!(sane.endpoint, Span::from_millis(50));
        assert_eq!(sane.longest, Span::from_secs(1));
        assert!(sane.pre_roll <= Span::from_secs(2) && sane.bridge <= Span::from_secs(2));
    }
}
