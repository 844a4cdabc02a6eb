//! Transcripts as text, JSON and subtitles.

use std::fmt::Write;

use antiphon_media_frame::MediaTime;
use antiphon_models_speech::{Language, Utterance, Word};
use serde::Serialize;

use super::hearing::{Spoken, Transcript};

/// Subtitles are cut to what two lines hold and a reader reads in one look.
const LONGEST_CUE_CHARS: usize = 84;
const LONGEST_CUE_MS: u64 = 7_000;

/// How a transcript is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// A line an utterance: [0:03.2] caller: words
    Text,
    /// One object a file, words with their times
    Json,
    /// SubRip subtitles
    Srt,
    /// WebVTT subtitles
    Vtt,
}

#[derive(Serialize)]
struct File<'a> {
    path: String,
    /// Seconds.
    duration: f64,
    channels: &'a [String],
    engine: &'static str,
    language: &'a Language,
    warnings: &'a [String],
    utterances: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    channel: &'a str,
    #[serde(flatten)]
    utterance: &'a Utterance,
    /// As it was said, where that reads otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    spoken: Option<&'a str>,
}

impl Format {
    /// What a transcript's file name ends with. A recording's `.json` is its sidecar, and is left alone.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Text => "txt",
            Self::Json => "transcript.json",
            Self::Srt => "srt",
            Self::Vtt => "vtt",
        }
    }

    /// Writes a transcript.
    pub(super) fn render(self, transcript: &Transcript) -> String {
        match self {
            Self::Text => text(transcript),
            Self::Json => json(transcript),
            Self::Srt => srt(transcript),
            Self::Vtt => vtt(transcript),
        }
    }
}

fn text(transcript: &Transcript) -> String {
    let mut out = String::new();
    for Spoken { channel, utterance, .. } in &transcript.spoken {
        let (start, name) = (clock(millis(utterance.start)), &transcript.channels[*channel]);
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(out, "[{start}] {name}: {}", one_line(&utterance.text));
    }
    out
}

fn json(transcript: &Transcript) -> String {
    let lines = transcript.spoken.iter();
    let file = File {
        path: transcript.path.display().to_string(),
        duration: transcript.duration.millis() as f64 / 1_000.0,
        channels: &transcript.channels,
        engine: transcript.engine,
        language: &transcript.language,
        warnings: &transcript.warnings,
        utterances: lines
            .map(|spoken| Line {
                channel: &transcript.channels[spoken.channel],
                utterance: &spoken.utterance,
                spoken: spoken.spoken.as_deref(),
            })
            .collect(),
    };
    let mut out = serde_json::to_string_pretty(&file).expect("plain data with text keys serialises");
    out.push('\n');
    out
}

fn srt(transcript: &Transcript) -> String {
    let mut out = String::new();
    for (n, cue) in cues(transcript).iter().enumerate() {
        let (from, to) = (subtitle_time(cue.from, ','), subtitle_time(cue.to, ','));
        // The format has tags in angle brackets and no way to escape them.
        let words = cue.text.replace('<', "‹").replace('>', "›");
        let _ = write!(out, "{}\n{from} --> {to}\n{}: {words}\n\n", n + 1, cue.name);
    }
    out
}

fn vtt(transcript: &Transcript) -> String {
    let mut out = String::from("WEBVTT\n\n");
    for cue in cues(transcript) {
        let (from, to) = (subtitle_time(cue.from, '.'), subtitle_time(cue.to, '.'));
        let words = cue.text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let _ = write!(out, "{from} --> {to}\n<v {}>{words}\n\n", cue.name);
    }
    out
}

/// One subtitle; times in milliseconds, `to` after `from`.
#[derive(Debug, PartialEq)]
struct Cue<'a> {
    name: &'a str,
    from: u64,
    to: u64,
    text: String,
}

fn cues(transcript: &Transcript) -> Vec<Cue<'_>> {
    let mut cues: Vec<Cue<'_>> = Vec::new();
    for Spoken { channel, utterance, .. } in &transcript.spoken {
        cut(&transcript.channels[*channel], utterance, &mut cues);
    }
    cues.sort_by_key(|cue| cue.from);
    cues
}

/// Cuts a long utterance between words, where their times are known.
fn cut<'a>(name: &'a str, utterance: &Utterance, cues: &mut Vec<Cue<'a>>) {
    let cue = |from: MediaTime, to: MediaTime, text: &str| {
        let from = millis(from);
        Cue { name, from, to: millis(to).max(from + 1), text: one_line(text) }
    };
    let short =
        utterance.text.chars().count() <= LONGEST_CUE_CHARS && utterance.span().millis() <= LONGEST_CUE_MS;
    if short || utterance.words.is_empty() {
        cues.push(cue(utterance.start, utterance.end, &utterance.text));
        return;
    }
    let space = if utterance.text.trim().contains(' ') { " " } else { "" };
    let mut part: Vec<&Word> = Vec::new();
    let mut chars = 0;
    for word in &utterance.words {
        let length = word.text.chars().count() + space.len();
        let late = part.first().is_some_and(|first| word.end.since(first.start).millis() > LONGEST_CUE_MS);
        if late || (chars + length > LONGEST_CUE_CHARS && !part.is_empty()) {
            cues.extend(joined(&part, space, cue));
            part.clear();
            chars = 0;
        }
        part.push(word);
        chars += length;
    }
    cues.extend(joined(&part, space, cue));
}

fn joined<'a>(
    part: &[&Word],
    space: &str,
    cue: impl Fn(MediaTime, MediaTime, &str) -> Cue<'a>,
) -> Option<Cue<'a>> {
    let words: Vec<&str> = part.iter().map(|word| word.text.as_str()).collect();
    Some(cue(part.first()?.start, part.last()?.end, &words.join(space)))
}

/// Milliseconds since the file began; what lies before it by rounding is its beginning.
fn millis(at: MediaTime) -> u64 {
    u64::try_from(at.millis()).unwrap_or(0)
}

/// Text that stays on its line, and is no arrow between two times.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace("-->", "->")
}

/// `0:03.2`, with hours where there are any.
pub(super) fn clock(millis: u64) -> String {
    let (minutes, seconds, tenths) = (millis / 60_000, millis / 1_000 % 60, millis / 100 % 10);
    match minutes / 60 {
        0 => format!("{minutes}:{seconds:02}.{tenths}"),
        hours => format!("{hours}:{:02}:{seconds:02}.{tenths}", minutes % 60),
    }
}

fn subtitle_time(millis: u64, point: char) -> String {
    let (hours, minutes, seconds) = (millis / 3_600_000, millis / 60_000 % 60, millis / 1_000 % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}{point}{:03}", millis % 1_000)
}

#[cfg(test)]
mod tests {
    use antiphon_media_frame::Span;

    use super::*;

    fn utterance(text: &str, start: i64, end: i64, words: usize) -> Utterance {
        let step = (end - start) / words.max(1) as i64;
        let word = |n: usize, text: &str| Word {
            text: text.to_owned(),
            start: MediaTime::from_millis(start + step * n as i64),
            end: MediaTime::from_millis(start + step * (n as i64 + 1)),
            confidence: 1.0,
        };
        Utterance {
            text: text.to_owned(),
            words: text.split(' ').take(words).enumerate().map(|(n, text)| word(n, text)).collect(),
            start: MediaTime::from_millis(start),
            end: MediaTime::from_millis(end),
            confidence: 0.5,
            language: None,
        }
    }

    fn transcript(spoken: Vec<Spoken>) -> Transcript {
        Transcript {
            path: "a.wav".into(),
            duration: Span::from_secs(4_000),
            channels: vec!["caller".into(), "machine".into()],
            engine: "scripted",
            language: Language::english(),
            warnings: Vec::new(),
            spoken,
        }
    }

    #[test]
    fn markup_and_arrows_in_words_are_only_words() {
        let odd = utterance("a <b> & c --> d\ne", -3, -3, 0);
        let transcript = transcript(vec![Spoken { channel: 1, utterance: odd, spoken: None }]);
        assert_eq!(
            Format::Vtt.render(&transcript),
            "WEBVTT\n\n00:00:00.000 --> 00:00:00.001\n<v machine>a &lt;b&gt; &amp; c -&gt; d e\n\n"
        );
        assert_eq!(
            Format::Srt.render(&transcript),
            "1\n00:00:00,000 --> 00:00:00,001\nmachine: a ‹b› & c -› d e\n\n"
        );
        assert_eq!(Format::Text.render(&transcript), "[0:00.0] machine: a <b> & c -> d e\n");
    }

    #[test]
    fn long_utterances_become_several_cues() {
        let text = ["seven"; 40].join(" ");
        let transcript = transcript(vec![Spoken {
            channel: 0,
            utterance: utterance(&text, 1_000, 21_000, 40),
            spoken: None,
        }]);
        let cues = cues(&transcript);
        assert!(cues.len() >= 3, "{cues:?}");
        assert_eq!((cues[0].from, cues.last().map(|cue| cue.to)), (1_000, Some(21_000)));
        for cue in &cues {
            assert!(
                cue.text.chars().count() <= LONGEST_CUE_CHARS && cue.to - cue.from <= LONGEST_CUE_MS,
                "{cue:?}"
            );
        }
        let words: Vec<&str> = cues.iter().map(|cue| cue.text.as_str()).collect();
        assert_eq!(words.join(" "), text);
    }

    #[test]
    fn an_hour_is_shown() {
        assert_eq!(clock(3_200), "0:03.2");
        assert_eq!(clock(3_723_400), "1:02:03.4");
        assert_eq!(subtitle_time(3_723_456, ','), "01:02:03,456");
    }
}
