//! What a call came to, as a table.

use std::fmt::Write;

use antiphon_engine_call::{Cause, Decision, Event, EventBody, MediaFigures, PromptEnd, ResponseTime, Side};
use antiphon_media_frame::CallId;

use crate::columns::{padded, printable, width, wrapped};

/// How a set of measurements lies: nearest-rank percentiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// How many there were.
    pub n: usize,
    /// The median, milliseconds.
    pub p50_ms: u64,
    /// What 95 of 100 stay within, milliseconds.
    pub p95_ms: u64,
}

impl Distribution {
    /// `None` without values.
    #[must_use]
    pub fn of(mut values: Vec<u64>) -> Option<Self> {
        values.sort_unstable();
        let n = values.len();
        let rank = |percent: usize| values.get((n * percent).div_ceil(100).saturating_sub(1)).copied();
        Some(Self { n, p50_ms: rank(50)?, p95_ms: rank(95)? })
    }
}

impl std::fmt::Display for Distribution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p50 {} ms, p95 {} ms (n = {})", self.p50_ms, self.p95_ms, self.n)
    }
}

/// Media figures of one side, as the last event about it told them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MediaLine {
    /// Which.
    pub side: Side,
    /// The figures.
    pub figures: MediaFigures,
}

impl MediaLine {
    /// Packets lost, per cent of those sent.
    #[must_use]
    pub fn loss_percent(&self) -> f64 {
        let MediaFigures { packets, lost, .. } = self.figures;
        // What came is counted on the caller's side, what went out on ours.
        let sent = if self.side == Side::Caller { packets.saturating_add(lost) } else { packets };
        if sent == 0 { 0.0 } else { lost as f64 * 100.0 / sent as f64 }
    }
}

/// What a call came to. Holds personal data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// The call.
    pub call: Option<CallId>,
    /// Who called.
    pub from: String,
    /// Who was called.
    pub to: String,
    /// The codec and the rate, once answered.
    pub codec: Option<(String, u32)>,
    /// From answer to end, milliseconds; zero before the end.
    pub duration_ms: u64,
    /// Final utterances of the caller.
    pub utterances: usize,
    /// Prompts begun.
    pub prompts: usize,
    /// Keys pressed by the caller.
    pub keys: usize,
    /// Intents in order: name, confidence, decision. Turns that matched none are counted in [`Self::no_match`].
    pub intents: Vec<(String, f32, Decision)>,
    /// Slots in order of their first filling, with their last value.
    pub slots: Vec<(String, String)>,
    /// Times nothing was understood.
    pub no_match: usize,
    /// Times nothing was said.
    pub no_input: usize,
    /// Prompts cut by the caller's voice.
    pub barge_ins: usize,
    /// Measured answers.
    pub responses: Vec<ResponseTime>,
    /// The last figures of each side.
    pub media: Vec<MediaLine>,
    /// The recording's path and length in milliseconds.
    pub recording: Option<(String, u64)>,
    /// Where the picture lies.
    pub waveform: Option<String>,
    /// Why it ended.
    pub cause: Option<&'static Cause>,
}

impl Summary {
    /// Sums up the events of one call.
    #[must_use]
    pub fn of(events: &[Event]) -> Self {
        let mut summary = Self { call: events.first().map(|event| event.call), ..Self::default() };
        for event in events {
            summary.add(&event.body);
        }
        summary
    }

    /// Names the picture made of the call.
    #[must_use]
    pub fn with_waveform(mut self, path: String) -> Self {
        self.waveform = Some(path);
        self
    }

    /// From the end of speech to the first sound of the answer.
    #[must_use]
    pub fn first_audio(&self) -> Option<Distribution> {
        Distribution::of(self.responses.iter().map(|r| r.first_audio_ms).collect())
    }

    /// From the end of speech to the final words.
    #[must_use]
    pub fn recognized(&self) -> Option<Distribution> {
        Distribution::of(self.responses.iter().map(|r| r.recognized_ms).collect())
    }

    /// A table of at most `columns` (no fewer than 40), with a line feed at its end.
    #[must_use]
    pub fn table(&self, columns: usize) -> String {
        let rows = self.rows();
        let left = rows.iter().map(|(name, _)| width(name)).max().unwrap_or(0);
        let most = columns.max(40).saturating_sub(left + 7);
        let cells: Vec<(&str, Vec<String>)> = rows
            .iter()
            .map(|(name, value)| (*name, value.lines().flat_map(|l| wrapped(&printable(l), most)).collect()))
            .collect();
        let right = cells.iter().flat_map(|(_, lines)| lines).map(|line| width(line)).max().unwrap_or(0);

        let rule = |from: char, middle: char, to: char| {
            format!("{from}{}{middle}{}{to}\n", "─".repeat(left + 2), "─".repeat(right + 2))
        };
        let mut table = rule('┌', '┬', '┐');
        for (n, (name, lines)) in cells.iter().enumerate() {
            if n == 1 {
                table.push_str(&rule('├', '┼', '┤'));
            }
            for (m, line) in lines.iter().enumerate() {
                let name = if m == 0 { name } else { "" };
                // Writing to a string cannot fail.
                let _ = writeln!(table, "│ {} │ {} │", padded(name, left), padded(line, right));
            }
        }
        table + &rule('└', '┴', '┘')
    }

    fn add(&mut self, body: &EventBody) {
        match body {
            EventBody::CallStarted { from, to, .. } => {
                (self.from, self.to) = (from.expose().clone(), to.expose().clone());
            }
            EventBody::CallAnswered { codec, sample_rate_hz, .. } => {
                self.codec = Some((codec.clone(), *sample_rate_hz));
            }
            EventBody::SpeechFinal { side: Side::Caller, .. } => self.utterances += 1,
            EventBody::PromptStarted { .. } => self.prompts += 1,
            EventBody::PromptStopped { reason: PromptEnd::BargeIn, .. } => self.barge_ins += 1,
            EventBody::Dtmf { side: Side::Caller, .. } => self.keys += 1,
            EventBody::Intent { name: Some(name), confidence, decision }
                if *decision != Decision::NoMatch =>
            {
                self.intents.push((name.clone(), *confidence, *decision));
            }
            EventBody::Slot { name, value } => {
                let value = match value.expose() {
                    serde_json::Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                match self.slots.iter_mut().find(|(known, _)| known == name) {
                    Some((_, old)) => *old = value,
                    None => self.slots.push((name.clone(), value)),
                }
            }
            EventBody::NoInput { .. } => self.no_input += 1,
            EventBody::NoMatch { .. } => self.no_match += 1,
            EventBody::Response(response) => self.responses.push(*response),
            EventBody::Media { side, figures } => {
                let line = MediaLine { side: *side, figures: *figures };
                match self.media.iter_mut().find(|known| known.side == *side) {
                    Some(known) => *known = line,
                    None => self.media.push(line),
                }
            }
            EventBody::Recording { path, duration_ms } => self.recording = Some((path.clone(), *duration_ms)),
            EventBody::CallEnded { cause, duration_ms } => {
                self.cause = Some(cause);
                self.duration_ms = *duration_ms;
            }
            _ => {}
        }
    }

    /// Names and values; a value may have several lines.
    fn rows(&self) -> Vec<(&'static str, String)> {
        let none = || "none".to_owned();
        let list = |items: Vec<String>| if items.is_empty() { none() } else { items.join("\n") };
        let spread = |d: Option<Distribution>| d.map_or_else(|| "not measured".to_owned(), |d| d.to_string());
        let intents = self.intents.iter().map(|(name, confidence, decision)| {
            let doubt = if *decision == Decision::Confirm { ", to be confirmed" } else { "" };
            format!("{name} ({confidence:.2}{doubt})")
        });
        let slots = self.slots.iter().map(|(name, value)| format!("{name} = {value}"));
        let media = |side| {
            self.media.iter().find(|line| line.side == side).map_or_else(none, |line| {
                let f = &line.figures;
                format!(
                    "{} packets, {:.2} % lost, {} late, jitter {:.1} ms, {} ms concealed",
                    f.packets,
                    line.loss_percent(),
                    f.late,
                    f.jitter_ms,
                    f.concealed_ms
                )
            })
        };
        let mut rows = vec![
            ("call", self.call.map_or_else(none, |call| call.to_string())),
            ("from, to", format!("{} → {}", self.from, self.to)),
            (
                "codec",
                self.codec
                    .as_ref()
                    .map_or_else(|| "never answered".to_owned(), |(codec, hz)| format!("{codec}, {hz} Hz")),
            ),
            ("duration", seconds(self.duration_ms)),
            (
                "turns",
                [(self.utterances, "utterance"), (self.keys, "key"), (self.prompts, "prompt")]
                    .map(|(n, what)| format!("{n} {what}{}", if n == 1 { "" } else { "s" }))
                    .join(", "),
            ),
            ("understood", list(intents.collect())),
            ("slots", list(slots.collect())),
            ("not understood", format!("{} no match, {} no input", self.no_match, self.no_input)),
            ("barge-ins", self.barge_ins.to_string()),
            ("to first audio", spread(self.first_audio())),
            ("to final words", spread(self.recognized())),
            ("caller's media", media(Side::Caller)),
            ("our media", media(Side::Machine)),
        ];
        if let Some((path, duration_ms)) = &self.recording {
            rows.push(("recording", format!("{path} ({})", seconds(*duration_ms))));
        }
        if let Some(path) = &self.waveform {
            rows.push(("picture", path.clone()));
        }
        rows.push((
            "ended",
            self.cause
                .map_or_else(|| "not yet".to_owned(), |cause| format!("{} ({})", cause.text, cause.code)),
        ));
        rows
    }
}

/// `1 min 07.2 s`, or `7.2 s`.
fn seconds(ms: u64) -> String {
    let tenths = (ms + 50) / 100;
    match tenths / 600 {
        0 => format!("{}.{} s", tenths / 10, tenths % 10),
        minutes => format!("{minutes} min {:02}.{} s", tenths % 600 / 10, tenths % 10),
    }
}

#[cfg(test)]
mod tests {
    use antiphon_engine_call::{MediaSecurity, PromptId};
    use antiphon_media_frame::{MediaTime, Pii};

    use super::*;

    fn events(bodies: Vec<EventBody>) -> Vec<Event> {
        let event = |(n, body)| Event { call: CallId(0xab), seq: n as u64 + 1, at: MediaTime::ZERO, body };
        bodies.into_iter().enumerate().map(event).collect()
    }

    fn bank_call() -> Vec<Event> {
        events(vec![
            EventBody::CallStarted {
                from: Pii::new("sip:王芳@example.org".into()),
                to: Pii::new("sip:bank@example.org".into()),
                direction: "inbound",
            },
            EventBody::CallAnswered {
                codec: "G722".into(),
                sample_rate_hz: 16_000,
                security: MediaSecurity::None,
            },
            EventBody::PromptStarted { id: PromptId(1), text: Pii::new("Hello".into()), interruptible: true },
            EventBody::PromptStopped { id: PromptId(1), reason: PromptEnd::BargeIn, played_ms: 900 },
            EventBody::SpeechFinal {
                side: Side::Caller,
                text: Pii::new("transfer".into()),
                spoken: Pii::new(None),
                words: Pii::new(vec![]),
                start: 1.0,
                end: 2.0,
                confidence: 0.9,
                language: None,
                redactions: Vec::new(),
            },
            EventBody::Intent {
                name: Some("transfer".into()),
                confidence: 0.874,
                decision: Decision::Confirm,
            },
            EventBody::Slot { name: "amount".into(), value: Pii::new(serde_json::json!(200)) },
            EventBody::Slot { name: "payee".into(), value: Pii::new(serde_json::json!("张三")) },
            EventBody::Slot { name: "amount".into(), value: Pii::new(serde_json::json!(300)) },
            EventBody::Response(ResponseTime { recognized_ms: 310, first_audio_ms: 620 }),
            EventBody::Response(ResponseTime { recognized_ms: 290, first_audio_ms: 580 }),
            EventBody::Media {
                side: Side::Caller,
                figures: MediaFigures { packets: 990, lost: 10, jitter_ms: 2.26, ..MediaFigures::default() },
            },
            EventBody::Recording { path: "/data/ab.wav".into(), duration_ms: 67_240 },
            EventBody::CallEnded { cause: Cause::FLOW_HUNG_UP, duration_ms: 67_200 },
        ])
    }

    #[test]
    fn a_call_is_summed_up() {
        let summary = Summary::of(&bank_call()).with_waveform("/data/ab.png".into());
        let expected = "\
┌────────────────┬───────────────────────────────────────────────────────────────────┐
│ call           │ 000000000000000000000000000000ab                                  │
├────────────────┼───────────────────────────────────────────────────────────────────┤
│ from, to       │ sip:王芳@example.org → sip:bank@example.org                       │
│ codec          │ G722, 16000 Hz                                                    │
│ duration       │ 1 min 07.2 s                                                      │
│ turns          │ 1 utterance, 0 keys, 1 prompt                                     │
│ understood     │ transfer (0.87, to be confirmed)                                  │
│ slots          │ amount = 300                                                      │
│                │ payee = 张三                                                      │
│ not understood │ 0 no match, 0 no input                                            │
│ barge-ins      │ 1                                                                 │
│ to first audio │ p50 580 ms, p95 620 ms (n = 2)                                    │
│ to final words │ p50 290 ms, p95 310 ms (n = 2)                                    │
│ caller's media │ 990 packets, 1.00 % lost, 0 late, jitter 2.3 ms, 0 ms concealed   │
│ our media      │ none                                                              │
│ recording      │ /data/ab.wav (1 min 07.2 s)                                       │
│ picture        │ /data/ab.png                                                      │
│ ended          │ The flow ended the call. (call.hangup.flow)                       │
└────────────────┴───────────────────────────────────────────────────────────────────┘
";
        let table = summary.table(100);
        let squeezed = |text: &str| text.replace("  ", "").replace('─', "");
        assert_eq!(squeezed(&table), squeezed(expected), "\n{table}");
        let widths: Vec<usize> = table.lines().map(width).collect();
        assert!(widths.iter().all(|w| *w == widths[0]), "{widths:?}");
    }

    #[test]
    fn a_narrow_table_wraps_and_stays_straight() {
        for columns in [0, 40, 53, 80] {
            let table = Summary::of(&bank_call()).table(columns);
            let widths: Vec<usize> = table.lines().map(width).collect();
            assert!(widths.iter().all(|w| *w == widths[0] && *w <= columns.max(40)), "{columns}\n{table}");
        }
        assert!(Summary::of(&[]).table(80).contains("not measured"));
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        let summary = Summary { from: "\u{1b}[2Jevil".into(), ..Summary::default() };
        assert!(!summary.table(80).contains('\u{1b}'));
    }

    #[test]
    fn percentiles_are_nearest_rank() {
        assert_eq!(Distribution::of(vec![]), None);
        let hundred = Distribution::of((1..=100).rev().collect()).expect("values");
        assert_eq!((hundred.n, hundred.p50_ms, hundred.p95_ms), (100, 50, 95));
        let one = Distribution::of(vec![7]).expect("a value");
        assert_eq!((one.p50_ms, one.p95_ms), (7, 7));
    }
}
