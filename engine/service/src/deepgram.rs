//! Deepgram's `/v1/listen`: a WebSocket for live audio, a POST for recordings.

use antiphon_media_frame::{MediaTime, SampleRate, Span};
use antiphon_models_speech::{Hints, Utterance, Word};
use antiphon_models_text::{Category, Policy, Style};
use serde_json::{Value, json};

use crate::dialect::{self, bare, language, reason, secs};
use crate::{Coding, Demand, Dialect, Format, Heard, Identify, Incoming, Outgoing, Query, Refusal, Settings};

/// A client that sends neither audio nor KeepAlive for so long is gone.
const IDLE: Span = Span::from_secs(10);

/// Parameters of live streams alone.
const LIVE: [&str; 7] = [
    "encoding",
    "sample_rate",
    "channels",
    "endpointing",
    "utterance_end_ms",
    "interim_results",
    "vad_events",
];
/// Parameters of recordings alone.
const RECORDED: [&str; 2] = ["utterances", "detect_language"];

/// What the URL of a request asks for.
#[derive(Clone, Debug)]
pub struct Options {
    settings: Settings,
    interim: bool,
    multichannel: bool,
    utterance_end: Option<Span>,
    vad_events: bool,
    utterances: bool,
    model: String,
}

impl Options {
    /// Reads the parameters of a live stream.
    ///
    /// # Errors
    /// A parameter that is out of range, or that asks for what we cannot do: each is named.
    pub fn live(query: &Query) -> Result<Self, Refusal> {
        let coding = match query.value("encoding") {
            None | Some("linear16") => Coding::Linear16,
            Some("linear32") => Coding::Float32,
            Some("mulaw") => Coding::Mulaw,
            Some("alaw") => Coding::Alaw,
            Some(other) => return Err(Refusal::of("encoding", other, "linear16, linear32, mulaw or alaw")),
        };
        let usual = if matches!(coding, Coding::Mulaw | Coding::Alaw) { 8_000 } else { 16_000 };
        let hz = query.number("sample_rate")?.unwrap_or(usual);
        let format = Format::new(coding, hz, query.number("channels")?.unwrap_or(1))?;
        let mut options = Self::common(query, format, &LIVE)?;
        options.settings.endpoint = match query.value("endpointing") {
            None | Some("true") => None,
            // Without an endpoint words would never be final; the longest that there is.
            Some("false") => Some(Span::from_secs(5)),
            Some(_) => query.number("endpointing")?.map(|millis| {
                // Less than what tells a pause from the end of a word cuts words in two.
                Span::from_millis(millis.clamp(200, 5_000))
            }),
        };
        options.utterance_end = match query.number("utterance_end_ms")? {
            Some(millis) if millis < 1_000 => {
                return Err(Refusal::of("utterance_end_ms", &millis.to_string(), "1000 or more"));
            }
            millis => millis.map(|millis| Span::from_millis(millis.min(10_000))),
        };
        if options.utterance_end.is_some() && !options.interim {
            return Err(Refusal::new("utterance_end_ms needs interim_results=true"));
        }
        Ok(options)
    }

    /// Reads the parameters of a recording; its format is its file's.
    ///
    /// # Errors
    /// As [`Options::live`].
    pub fn recorded(query: &Query) -> Result<Self, Refusal> {
        let format = Format { coding: Coding::Linear16, rate: SampleRate::HZ_16000, channels: 1 };
        Self::common(query, format, &RECORDED)
    }

    fn common(query: &Query, format: Format, own: &[&str]) -> Result<Self, Refusal> {
        for (name, value) in query.pairs() {
            check(name, value, own)?;
        }
        let words = |name| query.all(name).map(phrase).collect::<Vec<_>>();
        let phrases = [words("keywords"), words("keyterm")].concat();
        let multichannel = query.flag("multichannel")?;
        let language = language("language", query.value("language").unwrap_or_default())?;
        let identify = match query.value("language") {
            _ if query.flag("detect_language")? => Identify::Must,
            Some("multi" | "auto") => Identify::WhereAble,
            _ => Identify::No,
        };
        if identify == Identify::Must && language.is_some() {
            return Err(Refusal::new("detect_language and language exclude each other"));
        }
        let settings = Settings {
            format,
            language,
            hints: Hints { phrases, digits: false, closed: false },
            endpoint: None,
            identify,
            style: style(query)?,
            idle: Some(IDLE),
        };
        Ok(Self {
            settings,
            interim: query.flag("interim_results")?,
            multichannel,
            utterance_end: None,
            vad_events: query.flag("vad_events")?,
            utterances: query.flag("utterances")?,
            model: query.value("model").unwrap_or("general").chars().take(64).collect(),
        })
    }

    /// Whether words are given with their marks beside them.
    fn marks(&self) -> bool {
        self.settings.style.punctuation
    }

    /// What is to be opened.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

/// Refuses what is not available, and what is meant for the other kind of request.
fn check(name: &str, value: &str, own: &[&str]) -> Result<(), Refusal> {
    match name {
        "language" | "multichannel" | "keywords" | "keyterm" | "smart_format" | "punctuate" | "numerals"
        | "profanity_filter" | "redact" => Ok(()),
        // Names, and promises that are kept without being asked.
        "model" | "version" | "tier" | "tag" | "extra" | "mip_opt_out" | "no_delay" | "token" => Ok(()),
        "alternatives" if value == "1" => Ok(()),
        "filler_words" if value == "true" => Ok(()),
        "filler_words" => Err(Refusal::of(name, value, "true: words are given as they were said")),
        _ if own.contains(&name) || value == "false" => Ok(()),
        "diarize" => Err(Refusal::new(
            "diarize is not available: send each speaker on a channel of its own with multichannel=true",
        )),
        _ if LIVE.contains(&name) => {
            Err(Refusal::new(format!("{name} is for live streams: a recording is what its file says")))
        }
        _ if RECORDED.contains(&name) => {
            Err(Refusal::new(format!("{name} is for recordings, not for live streams")))
        }
        _ => Err(Refusal::unavailable(name)),
    }
}

/// How words are written, and what is hidden.
fn style(query: &Query) -> Result<Style, Refusal> {
    let smart = query.flag("smart_format")?;
    let marks = smart | query.flag("punctuate")?;
    let mut hidden = Vec::new();
    let mut digits = Policy::default().account_digits;
    if query.flag("profanity_filter")? {
        hidden.push(Category::Profanity);
    }
    for value in query.all("redact").flat_map(|value| value.split(',')) {
        match value {
            "false" | "" => {}
            // The three digits on a card's back are a number too.
            "pci" => {
                hidden.extend([Category::Card, Category::Account]);
                digits = Policy::FEWEST_DIGITS;
            }
            "numbers" | "true" | "aggressive_numbers" => {
                let numbers = [Category::Telephone, Category::Identity, Category::Card, Category::Account];
                hidden.extend(numbers);
                digits = Policy::FEWEST_DIGITS;
            }
            "ssn" => hidden.push(Category::Identity),
            "credit_card" => hidden.push(Category::Card),
            "phone_number" => hidden.push(Category::Telephone),
            "email_address" => hidden.push(Category::Email),
            "account_number" => hidden.push(Category::Account),
            other => {
                let known = "pci, numbers, ssn, credit_card, phone_number, email_address or account_number; \
                             nothing else is found for certain";
                return Err(Refusal::of("redact", other, known));
            }
        }
    }
    let policy = Policy { account_digits: digits, ..Policy::masking(&hidden) };
    let numbers = smart | query.flag("numerals")?;
    Ok(Style { numbers, punctuation: marks, capitals: marks, policy, names: Vec::new() })
}

/// `keywords=name:2` favours a name; how much is ours to say.
fn phrase(value: &str) -> String {
    match value.rsplit_once(':') {
        Some((phrase, boost)) if boost.parse::<f32>().is_ok() => phrase.to_owned(),
        _ => value.to_owned(),
    }
}

/// A live stream.
pub struct Listen {
    options: Options,
    request: String,
    channels: Vec<Channel>,
    /// Channels that still have to flush for a `Finalize`.
    finalizing: usize,
    finished: bool,
}

#[derive(Default)]
struct Channel {
    /// Final words that wait for what ends them.
    held: Option<Utterance>,
    /// Up to when results have been given.
    told: MediaTime,
    /// The end of the last word, until its UtteranceEnd is told.
    last_word: Option<MediaTime>,
    speaking: bool,
}

impl Listen {
    /// `request` names the connection in its messages: a UUID.
    #[must_use]
    pub fn new(options: Options, request: &str) -> Self {
        let count = options.settings.format.channels;
        Self {
            options,
            request: request.to_owned(),
            channels: (0..count).map(|_| Channel::default()).collect(),
            finalizing: 0,
            finished: false,
        }
    }

    fn results(
        &mut self,
        channel: usize,
        words: &Utterance,
        is_final: bool,
        ends: bool,
        flushed: bool,
    ) -> Outgoing {
        let from = self.channels[channel].told.min(words.start);
        let duration = words.end.since(from).secs_f64();
        if is_final {
            self.channels[channel].told = words.end;
        }
        let count = if self.options.multichannel { self.channels.len() } else { 1 };
        text(&json!({
            "type": "Results",
            "channel_index": [channel, count],
            "duration": duration,
            "start": secs(from),
            "is_final": is_final,
            "speech_final": ends,
            "from_finalize": flushed,
            "channel": { "alternatives": [alternative(words, self.options.marks())] },
            "metadata": {
                "request_id": self.request,
                "model_info": { "name": self.options.model, "version": "antiphon", "arch": "antiphon" },
            },
        }))
    }

    fn give_held(&mut self, channel: usize, ends: bool, flushed: bool, out: &mut Vec<Outgoing>) {
        if let Some(words) = self.channels[channel].held.take() {
            self.channels[channel].last_word = Some(words.end);
            out.push(self.results(channel, &words, true, ends, flushed));
        }
    }
}

impl Dialect for Listen {
    fn partials(&self) -> bool {
        self.options.interim
    }

    fn settings(&self) -> Settings {
        self.options.settings.clone()
    }

    fn receive(&mut self, message: Incoming<'_>) -> Result<Vec<Demand>, Refusal> {
        let text = match message {
            // An empty frame is the old way to say CloseStream.
            Incoming::Binary([]) => r#"{"type":"CloseStream"}"#,
            Incoming::Binary(audio) => return Ok(vec![Demand::Audio(audio.to_vec())]),
            Incoming::Text(text) => text,
        };
        let value = dialect::json(text)?;
        match value["type"].as_str() {
            Some("KeepAlive") => Ok(Vec::new()),
            Some("Finalize") => {
                self.finalizing = self.channels.len();
                Ok(vec![Demand::Flush])
            }
            Some("CloseStream") => {
                self.finished = true;
                Ok(vec![Demand::Finish])
            }
            other => {
                Err(Refusal::of("type", other.unwrap_or("missing"), "KeepAlive, Finalize or CloseStream"))
            }
        }
    }

    fn report(&mut self, channel: usize, heard: Heard) -> Vec<Outgoing> {
        let mut out = Vec::new();
        if channel >= self.channels.len() {
            return out;
        }
        match heard {
            Heard::Started(at) => {
                self.channels[channel].speaking = true;
                if self.options.vad_events {
                    let index = json!([channel, self.channels.len()]);
                    out.push(text(
                        &json!({ "type": "SpeechStarted", "channel": index, "timestamp": secs(at) }),
                    ));
                }
            }
            Heard::Partial(hypothesis) if self.options.interim => {
                let words = guessed(&hypothesis.text, hypothesis.start);
                out.push(self.results(channel, &words, false, false, false));
            }
            Heard::Partial(_) => {}
            Heard::Final(words) => {
                self.give_held(channel, false, false, &mut out);
                self.channels[channel].held = Some(words);
            }
            Heard::Ended { at, decided_at } => {
                self.channels[channel].speaking = false;
                // Cut in the middle of speech, the words are final but the speech is not.
                let flushed = self.finalizing > 0;
                self.give_held(channel, decided_at > at, flushed, &mut out);
            }
            Heard::Flushed if self.finalizing > 0 => {
                self.finalizing -= 1;
                self.give_held(channel, false, true, &mut out);
                // Whoever finalizes waits for a result that says so, words or none.
                if self.finalizing == 0 && !self.finished {
                    let none = guessed("", self.channels[channel].told);
                    out.push(self.results(channel, &none, true, true, true));
                }
            }
            Heard::Flushed => {}
        }
        out
    }

    fn clock(&mut self, now: MediaTime) -> Vec<Outgoing> {
        let Some(after) = self.options.utterance_end else { return Vec::new() };
        let count = self.channels.len();
        let mut out = Vec::new();
        for (index, channel) in self.channels.iter_mut().enumerate() {
            let due = channel.last_word.filter(|last| !channel.speaking && now.since(*last) >= after);
            if let Some(last) = due {
                channel.last_word = None;
                let message =
                    json!({ "type": "UtteranceEnd", "channel": [index, count], "last_word_end": secs(last) });
                out.push(text(&message));
            }
        }
        out
    }

    fn close(&mut self, duration: Span) -> Vec<Outgoing> {
        let mut out = Vec::new();
        for channel in 0..self.channels.len() {
            self.give_held(channel, true, false, &mut out);
        }
        out.push(text(&json!({
            "type": "Metadata",
            "transaction_key": "deprecated",
            "request_id": self.request,
            "duration": duration.secs_f64(),
            "channels": self.channels.len(),
        })));
        out.push(Outgoing::Close { code: 1000, reason: String::new() });
        out
    }

    fn refuse(&mut self, refusal: &Refusal) -> Vec<Outgoing> {
        vec![Outgoing::Close { code: 1008, reason: reason(&format!("DATA-0000 {refusal}")) }]
    }
}

/// The answer to a recording: what was said on each channel.
#[must_use]
pub fn recorded(options: &Options, request: &str, duration: Span, channels: &[Vec<Utterance>]) -> Value {
    let marks = options.marks();
    let one = |said: &Vec<Utterance>| {
        let words: Vec<Word> = said.iter().flat_map(|utterance| utterance.words.clone()).collect();
        let text = Utterance::joined(said);
        let confidence =
            said.iter().map(|utterance| utterance.confidence).sum::<f32>() / said.len().max(1) as f32;
        let words: Vec<Value> = words.iter().map(|each| word(each, marks)).collect();
        let found = languages(said);
        let mut alternative = json!({ "transcript": text, "confidence": confidence, "words": words });
        if options.settings.identify == Identify::WhereAble {
            alternative["languages"] = json!(found);
        }
        let mut channel = json!({ "alternatives": [alternative] });
        if options.settings.identify == Identify::Must {
            channel["detected_language"] = json!(found.first());
        }
        channel
    };
    let mut answer = json!({
        "metadata": {
            "transaction_key": "deprecated",
            "request_id": request,
            "duration": duration.secs_f64(),
            "channels": channels.len(),
            "model_info": { "name": options.model, "version": "antiphon", "arch": "antiphon" },
        },
        "results": { "channels": channels.iter().map(one).collect::<Vec<_>>() },
    });
    if options.utterances {
        let mut spoken: Vec<(usize, &Utterance)> = channels
            .iter()
            .enumerate()
            .flat_map(|(n, said)| said.iter().map(move |utterance| (n, utterance)))
            .collect();
        spoken.sort_by_key(|(_, utterance)| utterance.start);
        let list: Vec<Value> = spoken
            .iter()
            .enumerate()
            .map(|(n, (channel, utterance))| {
                json!({
                    "id": format!("{request}-{n}"),
                    "start": secs(utterance.start),
                    "end": secs(utterance.end),
                    "confidence": utterance.confidence,
                    "channel": channel,
                    "transcript": utterance.text,
                    "words": utterance.words.iter().map(|each| word(each, marks)).collect::<Vec<_>>(),
                })
            })
            .collect();
        answer["results"]["utterances"] = Value::Array(list);
    }
    answer
}

/// An error of the POST, as clients of Deepgram read it.
#[must_use]
pub fn error(code: &str, refusal: &Refusal, request: &str) -> Value {
    json!({ "err_code": code, "err_msg": refusal.to_string(), "request_id": request })
}

fn alternative(words: &Utterance, marks: bool) -> Value {
    let mut alternative = json!({
        "transcript": words.text,
        "confidence": words.confidence,
        "words": words.words.iter().map(|each| word(each, marks)).collect::<Vec<_>>(),
    });
    if words.language.is_some() {
        alternative["languages"] = json!(languages(std::slice::from_ref(words)));
    }
    alternative
}

fn word(word: &Word, marks: bool) -> Value {
    let mut value = json!({
        "word": bare(&word.text).to_lowercase(),
        "start": secs(word.start),
        "end": secs(word.end),
        "confidence": word.confidence,
    });
    if marks {
        value["punctuated_word"] = word.text.clone().into();
    }
    value
}

/// The languages found, the one of the longest speech first.
fn languages(said: &[Utterance]) -> Vec<String> {
    let mut found: Vec<(String, Span)> = Vec::new();
    for (language, span) in
        said.iter().filter_map(|said| Some((said.language.as_ref()?.primary(), said.span())))
    {
        match found.iter_mut().find(|(known, _)| *known == language) {
            Some((_, sum)) => *sum += span,
            None => found.push((language, span)),
        }
    }
    found.sort_by_key(|(_, span)| std::cmp::Reverse(*span));
    found.into_iter().map(|(language, _)| language).collect()
}

/// Interim words have no times of their own yet.
fn guessed(text: &str, start: MediaTime) -> Utterance {
    Utterance { text: text.to_owned(), words: Vec::new(), start, end: start, confidence: 0.0, language: None }
}

fn text(value: &Value) -> Outgoing {
    Outgoing::Text(value.to_string())
}
