//! What the events of a call put on its picture.

use antiphon_engine_call::{Event, EventBody, PromptEnd, PromptId, Side};
use antiphon_media_frame::{MediaTime, Span};

use super::{Mark, MarkKind, TrackWord};

/// Words and marks of a call, for [`super::WaveformInput`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Annotations {
    /// What the caller said.
    pub caller: Vec<TrackWord>,
    /// What the machine said: as recognised on its track, or else its prompts, their words spread over the time they
    /// were played by their length.
    pub machine: Vec<TrackWord>,
    /// Barge-ins, the caller's keys, response times.
    pub marks: Vec<Mark>,
}

impl Annotations {
    /// Reads the events of one call.
    #[must_use]
    pub fn of(events: &[Event]) -> Self {
        let mut found = Self::default();
        let mut prompted = Vec::new();
        let mut playing: Option<(PromptId, MediaTime, &str)> = None;
        for event in events {
            match &event.body {
                EventBody::SpeechFinal { side, text, words, start, end, confidence, .. } => {
                    let track = match side {
                        Side::Caller => &mut found.caller,
                        Side::Machine => &mut found.machine,
                    };
                    if words.expose().is_empty() {
                        let start = MediaTime::from_millis((start * 1_000.0) as i64);
                        let end = MediaTime::from_millis((end * 1_000.0) as i64);
                        spread(text.expose(), start, end.since(start), *confidence, track);
                    } else {
                        track.extend(words.expose().iter().map(TrackWord::from));
                    }
                }
                EventBody::PromptStarted { id, text, .. } => playing = Some((*id, event.at, text.expose())),
                EventBody::PromptStopped { id, reason, played_ms } => {
                    if let Some((_, at, text)) = playing.take_if(|(playing, ..)| playing == id) {
                        spread(text, at, Span::from_millis(*played_ms), 1.0, &mut prompted);
                    }
                    if *reason == PromptEnd::BargeIn {
                        found.marks.push(Mark { at: event.at, kind: MarkKind::BargeIn });
                    }
                }
                EventBody::Dtmf { side: Side::Caller, key, .. } => {
                    found.marks.push(Mark { at: event.at, kind: MarkKind::Key(*key.expose()) });
                }
                EventBody::Response(response) => {
                    let speech_end = event.at - Span::from_millis(response.first_audio_ms);
                    found.marks.push(Mark { at: event.at, kind: MarkKind::Response { speech_end } });
                }
                _ => {}
            }
        }
        if found.machine.is_empty() {
            found.machine = prompted;
        }
        found
    }
}

/// Puts the words of `text` over `length`, each as long as its share of the characters. Chinese, which has no blanks,
/// goes by clauses.
fn spread(text: &str, from: MediaTime, length: Span, confidence: f32, out: &mut Vec<TrackWord>) {
    let pieces: Vec<&str> = text
        .split_whitespace()
        .flat_map(|word| word.split_inclusive(['，', '。', '！', '？', '、', '；', '：']))
        .collect();
    let total: u64 = pieces.iter().map(|piece| piece.chars().count() as u64 + 1).sum();
    let mut before = 0;
    for piece in pieces {
        let after = before + piece.chars().count() as u64 + 1;
        let at = |share: u64| {
            from + Span::from_nanos(
                (u128::from(length.nanos()) * u128::from(share) / u128::from(total)) as u64,
            )
        };
        out.push(TrackWord { text: piece.to_owned(), start: at(before), end: at(after), confidence });
        before = after;
    }
}

#[cfg(test)]
mod tests {
    use antiphon_engine_call::ResponseTime;
    use antiphon_media_frame::{CallId, Pii};
    use antiphon_models_speech::Word;

    use super::*;

    fn event(millis: i64, body: EventBody) -> Event {
        Event { call: CallId(1), seq: 1, at: MediaTime::from_millis(millis), body }
    }

    fn prompt(millis: i64, text: &str) -> Event {
        let text = Pii::new(text.to_owned());
        event(millis, EventBody::PromptStarted { id: PromptId(1), text, interruptible: true })
    }

    fn placed(words: &[TrackWord]) -> Vec<(&str, i64, i64)> {
        words.iter().map(|w| (w.text.as_str(), w.start.millis(), w.end.millis())).collect()
    }

    #[test]
    fn events_become_words_and_marks() {
        let word = Word {
            text: "stolen".into(),
            start: MediaTime::from_millis(2_000),
            end: MediaTime::from_millis(2_400),
            confidence: 0.8,
        };
        let events = [
            prompt(500, "Good day"),
            event(
                1_400,
                EventBody::PromptStopped { id: PromptId(1), reason: PromptEnd::BargeIn, played_ms: 900 },
            ),
            event(
                3_000,
                EventBody::SpeechFinal {
                    side: Side::Caller,
                    text: Pii::new("stolen".into()),
                    spoken: Pii::new(None),
                    words: Pii::new(vec![word]),
                    start: 2.0,
                    end: 2.4,
                    confidence: 0.8,
                    language: None,
                    redactions: Vec::new(),
                },
            ),
            event(3_100, EventBody::Response(ResponseTime { recognized_ms: 400, first_audio_ms: 700 })),
            event(4_000, EventBody::Dtmf { side: Side::Caller, key: Pii::new('7'), duration_ms: 90 }),
        ];
        let found = Annotations::of(&events);
        assert_eq!(placed(&found.caller), [("stolen", 2_000, 2_400)]);
        assert_eq!(placed(&found.machine), [("Good", 500, 1_000), ("day", 1_000, 1_400)]);
        let at = MediaTime::from_millis;
        assert_eq!(
            found.marks,
            [
                Mark { at: at(1_400), kind: MarkKind::BargeIn },
                Mark { at: at(3_100), kind: MarkKind::Response { speech_end: at(2_400) } },
                Mark { at: at(4_000), kind: MarkKind::Key('7') },
            ]
        );
    }

    #[test]
    fn chinese_prompts_are_placed_by_clause_and_empty_ones_not_at_all() {
        let stop =
            EventBody::PromptStopped { id: PromptId(1), reason: PromptEnd::Completed, played_ms: 1_000 };
        let found = Annotations::of(&[prompt(0, "您好，请说。"), event(1_000, stop.clone())]);
        assert_eq!(placed(&found.machine), [("您好，", 0, 500), ("请说。", 500, 1_000)]);
        assert_eq!(Annotations::of(&[prompt(0, " "), event(1_000, stop)]), Annotations::default());
    }
}
