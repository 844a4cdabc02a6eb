//! The JSON beside a recording, made from the call's events.

use antiphon_engine_call::{Event, EventBody, Redacted, Side};
use antiphon_media_record::{
    Channel, Key, MediaEntry, RecordingSummary, ResponseEntry, Sidecar, SidecarError, Stretch,
    TranscriptEntry, TranscriptWord,
};
use antiphon_models_speech::Word;

/// What stands for a hidden word.
pub(crate) const HIDDEN: &str = "***";

/// Writes the sidecar beside the recording.
pub(crate) fn write(events: &[Event], summary: &RecordingSummary) -> Result<(), SidecarError> {
    of(events, summary).write_atomically(&summary.path.with_extension("json"))
}

/// Everything known about a recorded call.
fn of(events: &[Event], summary: &RecordingSummary) -> Sidecar {
    let mut sidecar = Sidecar::new(events.first().map(|event| event.call.to_string()).unwrap_or_default());
    sidecar.recording = summary.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    sidecar.duration = summary.duration.millis() as f64 / 1000.0;
    sidecar.sample_rate_hz = summary.rate.hz();
    for (side, track) in [(Channel::Caller, &summary.caller), (Channel::Machine, &summary.machine)] {
        sidecar.gaps.extend(track.gaps.iter().map(|gap| Stretch::of(side, gap)));
    }
    sidecar.gaps.sort_by(|a, b| a.from.total_cmp(&b.from));
    for event in events {
        add(&mut sidecar, event);
    }
    sidecar.transcript.sort_by(|a, b| a.start.total_cmp(&b.start));
    let last = events.last().map_or(0, |event| event.at.millis());
    // Wall clock and call clock run together: the end is now, the rest follows from the call's own times.
    #[expect(clippy::disallowed_methods, reason = "the wall clock of the sidecar is read here, once a call")]
    let now = std::time::SystemTime::now();
    let instant = |at_ms: i64| {
        let ago = u64::try_from(last.saturating_sub(at_ms)).unwrap_or(0);
        now.checked_sub(std::time::Duration::from_millis(ago))
    };
    let time_of = |wanted: fn(&EventBody) -> bool| {
        events.iter().find(|event| wanted(&event.body)).and_then(|event| instant(event.at.millis()))
    };
    sidecar.started_at = time_of(|body| matches!(body, EventBody::CallStarted { .. }));
    sidecar.answered_at = time_of(|body| matches!(body, EventBody::CallAnswered { .. }));
    sidecar.ended_at = time_of(|body| matches!(body, EventBody::CallEnded { .. }));
    sidecar
}

fn add(sidecar: &mut Sidecar, event: &Event) {
    let at = event.at.millis() as f64 / 1000.0;
    match &event.body {
        EventBody::CallStarted { from, to, direction } => {
            sidecar.from.clone_from(from.expose());
            sidecar.to.clone_from(to.expose());
            sidecar.direction = (*direction).to_owned();
        }
        EventBody::CallEarly { codec, .. } | EventBody::CallAnswered { codec, .. } => {
            sidecar.codec.clone_from(codec);
        }
        EventBody::SpeechFinal {
            side,
            text,
            spoken,
            words,
            start,
            end,
            confidence,
            language,
            redactions,
        } => {
            for redaction in redactions {
                hide(&mut sidecar.transcript, channel(*side), redaction);
            }
            sidecar.transcript.push(TranscriptEntry {
                side: channel(*side),
                text: text.expose().clone(),
                spoken: spoken.expose().clone(),
                start: *start,
                end: *end,
                confidence: *confidence,
                language: language.as_ref().map(|language| language.tag().to_owned()),
                words: words.expose().iter().map(word).collect(),
            });
        }
        EventBody::Dtmf { side, key, duration_ms } => {
            sidecar.dtmf.push(Key {
                side: channel(*side),
                key: *key.expose(),
                // A key is reported when it is released.
                at: at - *duration_ms as f64 / 1000.0,
                duration_ms: *duration_ms,
            });
        }
        EventBody::Response(response) => sidecar.responses.push(ResponseEntry {
            at,
            recognized_ms: response.recognized_ms,
            first_audio_ms: response.first_audio_ms,
        }),
        EventBody::Media { side, figures } => {
            // They come now and then and count on: the last ones are the call's.
            sidecar.media.retain(|entry| entry.side != channel(*side));
            sidecar.media.push(MediaEntry {
                side: channel(*side),
                packets: figures.packets,
                lost: figures.lost,
                late: figures.late,
                duplicate: figures.duplicate,
                jitter_ms: figures.jitter_ms,
                concealed_ms: figures.concealed_ms,
            });
        }
        EventBody::CallEnded { cause, .. } => cause.code.clone_into(&mut sidecar.cause),
        _ => {}
    }
}

/// Hides what turned out to be half of a number only when the other half was said. The entry is then told as it was said.
fn hide(transcript: &mut [TranscriptEntry], side: Channel, redaction: &Redacted) {
    let Redacted { start, end, .. } = *redaction;
    for entry in
        transcript.iter_mut().filter(|entry| entry.side == side && entry.end > start && entry.start < end)
    {
        let mut changed = false;
        for word in entry.words.iter_mut().filter(|word| word.end > start && word.start < end) {
            changed |= word.text != HIDDEN;
            HIDDEN.clone_into(&mut word.text);
        }
        if changed || entry.words.is_empty() {
            entry.text = match &entry.words[..] {
                [] => HIDDEN.to_owned(),
                words => words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" "),
            };
            entry.spoken = None;
        }
    }
}

fn channel(side: Side) -> Channel {
    match side {
        Side::Caller => Channel::Caller,
        Side::Machine => Channel::Machine,
    }
}

fn word(word: &Word) -> TranscriptWord {
    TranscriptWord {
        text: word.text.clone(),
        start: word.start.millis() as f64 / 1000.0,
        end: word.end.millis() as f64 / 1000.0,
        confidence: word.confidence,
    }
}

#[cfg(test)]
mod tests {
    use antiphon_engine_call::Pii;
    use antiphon_media_frame::{CallId, MediaTime};

    use super::*;

    fn said(text: &str, from: i64, redactions: Vec<Redacted>) -> Event {
        let words: Vec<Word> = text
            .split(' ')
            .zip(0..)
            .map(|(text, n)| Word {
                text: text.to_owned(),
                start: MediaTime::from_millis(from + n * 500),
                end: MediaTime::from_millis(from + n * 500 + 400),
                confidence: 0.5,
            })
            .collect();
        let end = words.last().map_or(0, |word| word.end.millis()) as f64 / 1_000.0;
        let body = EventBody::SpeechFinal {
            side: Side::Caller,
            text: Pii::new(text.to_uppercase()),
            spoken: Pii::new(Some(text.to_owned())),
            words: Pii::new(words),
            start: from as f64 / 1_000.0,
            end,
            confidence: 0.5,
            language: None,
            redactions,
        };
        Event { call: CallId(1), seq: 1, at: MediaTime::from_millis(from), body }
    }

    #[test]
    fn the_half_of_a_number_that_was_told_too_early_is_hidden_in_the_end() {
        let mut sidecar = Sidecar::new("0".repeat(32));
        let later = vec![Redacted { kind: "card", start: 2.0, end: 2.9 }];
        for event in
            [said("good day", 0, vec![]), said("it is four one", 1_000, vec![]), said("***", 4_000, later)]
        {
            add(&mut sidecar, &event);
        }
        let texts: Vec<_> = sidecar.transcript.iter().map(|entry| entry.text.as_str()).collect();
        assert_eq!(texts, ["GOOD DAY", "it is *** ***", "***"]);
        assert_eq!(sidecar.transcript[1].spoken, None);
        assert_eq!(sidecar.transcript[0].spoken.as_deref(), Some("good day"));
        let json = serde_json::to_string(&sidecar).expect("serialisable");
        assert!(!json.contains("four"), "{json}");
    }
}
