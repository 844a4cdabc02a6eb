//! What is said on a line where nobody speaks, by what a call's sound goes through: codec, activity gate, resampler,
//! endpointing, recogniser. No word on silence, tones, ringing, hiss and music, from the first second on: the gate needs some
//! second and a half to tell loud hiss and music from a voice, and then takes back what it let through. A minute of each sound
//! by default; for an hour of each
//!
//! ```text
//! ANTIPHON_QUIET_SECONDS=3600 cargo test -p antiphon-models-backends \
//!     --features pocketsphinx,transducer,paraformer --test nothing_is_said -- --nocapture
//! ```

mod line;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use antiphon_media_codec::{CodecKind, Decoder, Edge, Encoder, Gate, GateConfig, GateDecision, Resampler};
use antiphon_media_frame::{AudioFrame, FrameKind, MediaTime, SampleRate, Span};
use antiphon_models_backends::{
    EngineSettings, Script, SphinxModel, VoiceSettings, open_engine, open_voice, voice_names,
};
use antiphon_models_pool::{Endpointing, Lane, StreamEvent};
use antiphon_models_speech::{
    Engine, Hints, Language, Recognition, RecognizeError, Recognizer, SpeechRequest, StreamConfig,
};
use line::{Line, SOUNDS, Sound};

const FRAME: Span = Span::from_millis(20);

/// An engine, and how it is asked to listen.
struct Listener {
    name: String,
    engine: Arc<dyn Engine>,
    language: &'static str,
    hints: Hints,
}

fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// Every engine of this build that has a model here. The scripted one finds a word in whatever it is given, and so do
/// models of random weights: they say what the gate lets through.
fn listeners() -> Vec<Listener> {
    let mut settings = EngineSettings {
        scripted: Script { repeat: true, ..Script::new(["word"]) },
        ..EngineSettings::default()
    };
    let sphinx = Path::new("/work/shared/models/pocketsphinx");
    if sphinx.is_dir() {
        for (language, acoustic, dictionary, model) in [
            ("en", "en-8k-ptm256", "cmudict-en-us.dict", "gigatdt.lm.gz"),
            ("zh", "zh-8k-ptm", "mandarin_notone.dic", ""),
        ] {
            settings.pocketsphinx.models.push(SphinxModel {
                language: language.to_owned(),
                rate_hz: 8_000,
                acoustic: sphinx.join(acoustic),
                dictionary: sphinx.join(dictionary),
                language_model: Some(sphinx.join(model)).filter(|path| path.is_file()),
            });
        }
    }
    settings.whisper.model =
        std::env::var_os("ANTIPHON_WHISPER_MODEL").map_or_else(PathBuf::new, PathBuf::from);
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../onnx/fixtures");
    settings.transducer.model = fixtures.join("zipformer2");
    settings.paraformer.model = fixtures.join("sense-voice");
    let debian = EngineSettings { pocketsphinx: Default::default(), ..settings.clone() };
    let bank = ["check my balance", "transfer money", "talk to an agent", "yes", "no"];
    let hints = Hints { phrases: bank.map(str::to_owned).to_vec(), digits: true, closed: false };
    let (none, english) = (Hints::default(), "en");
    let mut found = Vec::new();
    for (name, engine, settings, language, hints) in [
        ("scripted", "scripted", &settings, english, &none),
        ("pocketsphinx, Debian's model", "pocketsphinx", &debian, english, &none),
        ("pocketsphinx, Debian's model, hints", "pocketsphinx", &debian, english, &hints),
        ("pocketsphinx, 8 kHz English", "pocketsphinx", &settings, english, &none),
        ("pocketsphinx, 8 kHz English, hints", "pocketsphinx", &settings, english, &hints),
        ("pocketsphinx, 8 kHz Mandarin", "pocketsphinx", &settings, "zh", &none),
        ("whisper", "whisper", &settings, english, &none),
        ("transducer, random weights", "transducer", &settings, english, &none),
        ("SenseVoice, random weights", "paraformer", &settings, "zh", &none),
    ] {
        if name.contains("8 kHz") && !sphinx.is_dir() {
            continue;
        }
        match open_engine(engine, settings) {
            Ok(engine) => {
                found.push(Listener { name: name.to_owned(), engine, language, hints: hints.clone() });
            }
            Err(error) => skipped(&format!("{name}: {error}")),
        }
    }
    found
}

/// What one engine made of a sound.
#[derive(Default)]
struct Heard {
    utterances: usize,
    /// Utterances with words.
    spoken: usize,
    words: usize,
    text: String,
    /// Interim words stand that neither became final nor were taken back.
    stands: bool,
}

/// One engine's end of the line.
struct Ear {
    resampler: Resampler,
    lane: Lane,
    taken: usize,
    resampled: Vec<i16>,
    heard: Heard,
}

impl Ear {
    fn open(listener: &Listener, source: SampleRate) -> Option<Self> {
        let language = Language::parse(listener.language).expect("a tag");
        let config = StreamConfig { language, hints: listener.hints.clone(), source_rate: source };
        let stream = match listener.engine.open(&config) {
            Ok(stream) => stream,
            Err(error) => {
                skipped(&format!("{}: {error}", listener.name));
                return None;
            }
        };
        // The endpoint of calls: 600 ms, less the gate's hangover.
        let rules = Endpointing { endpoint: Span::from_millis(480), ..Endpointing::default() };
        let lane = Lane::new(stream, rules);
        let resampler = Resampler::new(source, lane.rate());
        Some(Self { resampler, lane, taken: 0, resampled: Vec::new(), heard: Heard::default() })
    }

    fn push(&mut self, pcm: &[i16], source: SampleRate, decision: GateDecision) {
        self.resampled.clear();
        self.resampler.process(pcm, &mut self.resampled);
        let at = MediaTime::ZERO + source.span(self.taken) - self.resampler.delay();
        self.taken += pcm.len();
        let (pcm, rate) = (&self.resampled[..], self.lane.rate());
        self.lane.push(AudioFrame {
            pcm,
            rate,
            at,
            kind: FrameKind::Voice,
            active: decision.active,
            retracted: decision.retracted,
        });
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(event) = self.lane.poll() {
            match event {
                StreamEvent::SpeechStarted { .. } => self.heard.utterances += 1,
                StreamEvent::Partial(hypothesis) => self.heard.stands = !hypothesis.text.is_empty(),
                StreamEvent::SpeechEnded { .. } => assert!(!self.heard.stands, "interim words are left"),
                StreamEvent::Final(utterance) => {
                    self.heard.stands = false;
                    self.heard.spoken += 1;
                    self.heard.words += utterance.text.split_whitespace().count();
                    if self.heard.text.len() < 60 {
                        self.heard.text.push_str(&utterance.text);
                        self.heard.text.push_str(" / ");
                    }
                }
                StreamEvent::Failed(error) => panic!("{error}"),
                _ => {}
            }
        }
    }
}

/// Plays a sound to every engine; says how often the gate opened, and what each heard.
fn play(
    sound: Sound,
    seconds: usize,
    kind: CodecKind,
    listeners: &[Listener],
) -> (usize, Vec<(String, Heard)>) {
    let rate = kind.sample_rate();
    let samples = rate.samples(FRAME);
    let mut line = Line::new(sound, rate);
    let (mut encoder, mut decoder) = (Encoder::new(kind), Decoder::new(kind));
    // As calls have it.
    let mut gate = Gate::new(rate, GateConfig { hangover: Span::from_millis(120), ..GateConfig::default() });
    let (mut pcm, mut heard) = (vec![0; samples], vec![0; samples]);
    let mut payload = vec![0; kind.payload_len(samples)];
    let mut ears: Vec<_> =
        listeners.iter().filter_map(|l| Some((l.name.clone(), Ear::open(l, rate)?))).collect();
    let mut opened = 0;
    for _ in 0..seconds * 50 {
        line.fill(&mut pcm);
        encoder.encode(&pcm, &mut payload).expect("room");
        decoder.decode(&payload, &mut heard).expect("room");
        let decision = gate.push(&heard);
        opened += usize::from(decision.edge == Some(Edge::Start));
        for (_, ear) in &mut ears {
            ear.push(&heard, rate, decision);
        }
    }
    let finish = |(name, mut ear): (String, Ear)| {
        ear.lane.finish();
        ear.collect();
        (name, ear.heard)
    };
    (opened, ears.into_iter().map(finish).collect())
}

/// How often the gate may open in so many seconds of a sound, to take that back: once before it knows hiss for what it is, and
/// now and then where music begins anew.
fn allowed(sound: Sound, seconds: usize) -> usize {
    match sound {
        Sound::Hiss(db) if db > -40.0 => 1,
        Sound::Music(_) => 1 + seconds / 20,
        _ => 0,
    }
}

/// In how many utterances words may be found in so many seconds of a sound: a saxophone glides like a voice once an hour.
fn overheard(sound: Sound, seconds: usize) -> usize {
    if let Sound::Music(_) = sound { seconds / 3_600 } else { 0 }
}

/// Plays those sounds of which `chosen` holds.
fn nothing_is_said(kind: CodecKind, chosen: impl Fn(Sound) -> bool) {
    let seconds = std::env::var("ANTIPHON_QUIET_SECONDS").map_or_else(
        // The wide line differs from the narrow one by its codec alone.
        |_| if kind == CodecKind::Pcmu { 60 } else { 20 },
        |seconds| seconds.parse().expect("a number"),
    );
    let listeners = listeners();
    let mut out = std::io::stderr();
    let mut wrong = Vec::new();
    for (name, sound) in SOUNDS.into_iter().filter(|(_, sound)| chosen(*sound)) {
        let (opened, heard) = play(sound, seconds, kind, &listeners);
        let _ = writeln!(out, "{kind:?}, {seconds} s of {name}: the gate opened {opened} times");
        if opened > allowed(sound, seconds) {
            wrong.push(format!("{name}: the gate opened {opened} times"));
        }
        for (engine, Heard { utterances, spoken, words, text, .. }) in heard {
            if utterances > 0 {
                let _ = writeln!(out, "    {engine}: {utterances} utterances, {words} words: {text}");
            }
            if utterances > opened || spoken > overheard(sound, seconds) {
                wrong.push(format!("{name}: {engine} said {words} words in {utterances} utterances: {text}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

const KINDS: [CodecKind; 2] = [CodecKind::Pcmu, CodecKind::G722];

#[test]
fn nothing_is_said_on_silence_tones_and_ringing() {
    for kind in KINDS {
        nothing_is_said(kind, |sound| !matches!(sound, Sound::Hiss(_) | Sound::Music(_)));
    }
}

#[test]
fn nothing_is_said_on_hiss() {
    for kind in KINDS {
        nothing_is_said(kind, |sound| matches!(sound, Sound::Hiss(_)));
    }
}

#[test]
fn nothing_is_said_on_hold_music() {
    for kind in KINDS {
        nothing_is_said(kind, |sound| matches!(sound, Sound::Music(_)));
    }
}

/// What callers of tests and demos, and other machines on the line, speak with.
#[test]
fn made_voices_are_heard_whole() {
    for name in voice_names().into_iter().filter(|name| ["flite", "espeak"].contains(name)) {
        let voice = match open_voice(name, &VoiceSettings::default()) {
            Ok(voice) => voice,
            Err(error) => {
                skipped(&format!("{name}: {error}"));
                continue;
            }
        };
        for rate in [SampleRate::HZ_8000, SampleRate::HZ_16000] {
            let (mut loud, mut active) = (0, 0);
            for text in [
                "I will transfer two hundred dollars to your savings account on Monday. Is that right?",
                "I am sorry to hear that. Shall I block your card now?",
                "Thank you for calling Northwind Bank. Goodbye.",
                "No no no, you owe me more, we were away all year long.",
                "Your card is blocked. A new one is on its way.",
                "Which account should the money go to, savings, checking, or credit card?",
                "four two seven one nine three",
                "one two three four five six seven eight nine ten eleven twelve thirteen fourteen",
            ] {
                let language = Language::english();
                let mut speech = voice
                    .speak(&SpeechRequest {
                        text: text.to_owned(),
                        language,
                        voice: (name == "flite").then(|| "slt".to_owned()),
                    })
                    .expect("it speaks");
                let mut resampler = Resampler::new(speech.rate(), rate);
                // Of each phrase the gate knows nothing: the beginning is where a vowel is soonest taken for a note.
                let mut gate =
                    Gate::new(rate, GateConfig { hangover: Span::from_millis(120), ..GateConfig::default() });
                let mut pcm = vec![0; rate.samples(Span::from_millis(500))];
                while let Some(chunk) = speech.next_chunk().expect("speech") {
                    resampler.process(&chunk.pcm, &mut pcm);
                }
                pcm.resize(pcm.len() + rate.samples(Span::from_millis(500)), 0);
                for frame in pcm.chunks_exact(rate.samples(FRAME)) {
                    let decision = gate.push(frame);
                    assert!(!decision.retracted, "{name} at {rate}: {text}");
                    if frame.iter().any(|sample| sample.unsigned_abs() > 500) {
                        loud += 1;
                        active += usize::from(decision.active);
                    }
                }
            }
            let _ = writeln!(std::io::stderr(), "{name} at {rate}: {active} of {loud} loud frames");
            // The gate opens 60 ms into a phrase; with slt taken for music it heard 81 to 85 of 100.
            assert!(active * 100 > loud * 91, "{name} at {rate}: {active} of {loud} frames");
        }
    }
}

/// Hears, and says nothing: what it was given is what counts.
struct Witness(Arc<Mutex<Vec<(MediaTime, MediaTime)>>>);

impl Recognizer for Witness {
    fn rate(&self) -> SampleRate {
        SampleRate::HZ_8000
    }

    fn tail(&self) -> Span {
        Span::from_millis(200)
    }

    fn push(&mut self, frame: AudioFrame<'_>) -> Result<(), RecognizeError> {
        self.0.lock().expect("no panic").push((frame.at, frame.end()));
        Ok(())
    }

    fn poll(&mut self) -> Option<Recognition> {
        None
    }

    fn hint(&mut self, _: &Hints) -> Result<(), RecognizeError> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), RecognizeError> {
        Ok(())
    }

    fn reset(&mut self) {
        self.0.lock().expect("no panic").clear();
    }
}

#[test]
fn speech_after_music_is_heard_whole() {
    let voice = match open_voice("flite", &VoiceSettings::default()) {
        Ok(voice) => voice,
        Err(error) => return skipped(&format!("flite: {error}")),
    };
    let request = SpeechRequest {
        text: "Please transfer two hundred dollars.".to_owned(),
        language: Language::english(),
        voice: None,
    };
    let mut speech = voice.speak(&request).expect("it speaks");
    let rate = SampleRate::HZ_8000;
    let mut resampler = Resampler::new(speech.rate(), rate);
    let mut said = Vec::new();
    while let Some(chunk) = speech.next_chunk().expect("speech") {
        resampler.process(&chunk.pcm, &mut said);
    }
    let loud = |sample: &i16| sample.unsigned_abs() > 500;
    let (first, last) =
        (said.iter().position(loud).expect("sound"), said.iter().rposition(loud).expect("sound"));
    let music = SOUNDS.into_iter().filter(|(_, sound)| matches!(sound, Sound::Music(_) | Sound::Hiss(-15.0)));
    // Before the gate knows the music for what it is, just when it does, and long after.
    for ((name, sound), length) in music.flat_map(|music| [600, 1_500, 5_000].map(|length| (music, length))) {
        let mut pcm = vec![0; rate.samples(Span::from_millis(length))];
        Line::new(sound, rate).fill(&mut pcm);
        pcm.resize(pcm.len() + rate.samples(Span::from_millis(800)), 0);
        let begun = pcm.len();
        pcm.extend_from_slice(&said);
        pcm.resize(pcm.len() + rate.samples(Span::from_secs(1)), 0);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let rules = Endpointing { endpoint: Span::from_millis(480), ..Endpointing::default() };
        let mut lane = Lane::new(Box::new(Witness(Arc::clone(&heard))), rules);
        let mut gate =
            Gate::new(rate, GateConfig { hangover: Span::from_millis(120), ..GateConfig::default() });
        for (n, frame) in pcm.chunks(rate.samples(FRAME)).enumerate() {
            let GateDecision { active, retracted, .. } = gate.push(frame);
            let at = MediaTime::ZERO + FRAME.saturating_mul(n as u64);
            lane.push(AudioFrame { pcm: frame, rate, at, kind: FrameKind::Voice, active, retracted });
        }
        lane.finish();
        let time = |sample: usize| MediaTime::ZERO + rate.span(begun + sample);
        let heard = heard.lock().expect("no panic");
        let missed = (first..=last)
            .step_by(80)
            .filter(|sample| !heard.iter().any(|(from, to)| (*from..*to).contains(&time(*sample))))
            .count();
        assert_eq!(missed, 0, "{length} ms of {name}: of each ten milliseconds so many are missing");
    }
}
