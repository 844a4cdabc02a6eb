//! What every recogniser promises, run over those that need no model of the user's: partials before the final, words
//! inside the sound on the call's clock, nothing twice, nothing after a reset, nothing made of silence or noise.

use std::sync::Arc;

use antiphon_media_frame::{AudioBuf, MediaTime, SampleRate};
use antiphon_models_speech::{
    Engine, Hints, Hypothesis, Language, Recognition, Recognizer, StreamConfig, Utterance,
};

use crate::scripted::{Script, Scripted};

/// An engine with a stretch of speech that it hears `said` in.
struct Case {
    engine: Arc<dyn Engine>,
    language: &'static str,
    said: String,
    speech: Vec<i16>,
}

const SAID: &str = "check my balance";
const RATE: SampleRate = SampleRate::HZ_16000;
/// Where the speech lies on the call's clock.
const AT: MediaTime = MediaTime::from_millis(61_240);

fn cases() -> Vec<Case> {
    let script = Script { utterances: vec![SAID.to_owned()], repeat: true, ..Script::default() };
    let hum: Vec<i16> = (0..16_000).map(|n| if n / 80 % 2 == 0 { 2_000 } else { -2_000 }).collect();
    let mut cases = vec![Case {
        engine: Arc::new(Scripted::new(script)),
        language: "en",
        said: SAID.to_owned(),
        speech: hum,
    }];
    cases.extend(pocketsphinx());
    cases.extend(mandarin());
    cases.extend(onnx());
    cases.extend(candle());
    cases
}

/// The tiny models of `models/onnx`. What they hear is nonsense, which its own tests compare with sherpa's; here it is
/// enough that they say the same each time. Hints must then be worth nothing.
#[cfg(all(feature = "transducer", feature = "paraformer"))]
fn onnx() -> Vec<Case> {
    use crate::{EngineSettings, ParaformerSettings, TransducerSettings};

    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../onnx/fixtures");
    let bytes = std::fs::read(folder.join("audio.wav")).expect("a fixture");
    let speech: Vec<i16> = bytes[44..].chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
    let models = ["zipformer2", "zipformer", "conformer", "zipformer2-ctc", "paraformer", "sense-voice"];
    let open = |model: &&str| {
        let model = folder.join(model);
        let settings = EngineSettings {
            transducer: TransducerSettings {
                model: model.clone(),
                int8: false,
                hinted_paths: 1,
                boost: 0.0,
                ..TransducerSettings::default()
            },
            paraformer: ParaformerSettings { model, ..ParaformerSettings::default() },
            ..EngineSettings::default()
        };
        let streaming = crate::open_engine("transducer", &settings);
        let engine = streaming.or_else(|_| crate::open_engine("paraformer", &settings));
        let mut case = Case {
            engine: engine.expect("a model"),
            language: "zh",
            said: String::new(),
            speech: speech.clone(),
        };
        let mut stream = case.open();
        push(&mut *stream, &case.speech, AT);
        case.said = flush(&mut *stream).remove(0).text;
        case
    };
    models.iter().map(open).collect()
}

#[cfg(not(all(feature = "transducer", feature = "paraformer")))]
fn onnx() -> Vec<Case> {
    Vec::new()
}

/// The tiny Whisper of `models/candle`, which its own tests compare with transformers'. A prompt would change what it hears.
#[cfg(feature = "candle")]
fn candle() -> Option<Case> {
    use crate::{CandleSettings, EngineSettings};

    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let bytes = std::fs::read(fixtures.join("onnx/fixtures/audio.wav")).expect("a fixture");
    let model = fixtures.join("candle/fixtures/multilingual");
    let candle = CandleSettings { model, prompt_tokens: 0, retries: 0, ..CandleSettings::default() };
    let settings = EngineSettings { candle, ..EngineSettings::default() };
    let mut case = Case {
        engine: crate::open_engine("candle", &settings).expect("a model"),
        language: "zh",
        said: String::new(),
        speech: bytes[44..].chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect(),
    };
    let mut stream = case.open();
    push(&mut *stream, &case.speech, AT);
    case.said = flush(&mut *stream).remove(0).text;
    Some(case)
}

#[cfg(not(feature = "candle"))]
fn candle() -> Option<Case> {
    None
}

#[cfg(all(feature = "pocketsphinx", feature = "flite"))]
fn pocketsphinx() -> Option<Case> {
    use antiphon_models_speech::{SpeechRequest, Synthesizer};

    let engine = match crate::open_engine("pocketsphinx", &crate::EngineSettings::default()) {
        Ok(engine) => engine,
        Err(e) => {
            #[expect(clippy::print_stderr, reason = "a skipped test says so")]
            {
                eprintln!("skipped: {e}");
            }
            return None;
        }
    };
    let request = SpeechRequest { text: SAID.to_owned(), language: Language::english(), voice: None };
    let mut stream = crate::flite::Flite::open(None).expect("flite").speak(&request).expect("speech");
    let mut speech = Vec::new();
    while let Some(chunk) = stream.next_chunk().expect("sound") {
        speech.extend(chunk.pcm);
    }
    Some(Case { engine, language: "en", said: SAID.to_owned(), speech })
}

#[cfg(not(all(feature = "pocketsphinx", feature = "flite")))]
fn pocketsphinx() -> Option<Case> {
    None
}

/// The Mandarin model, which is narrow, on a wide line.
#[cfg(all(feature = "pocketsphinx", feature = "espeak"))]
fn mandarin() -> Option<Case> {
    use antiphon_models_speech::{SpeechRequest, Synthesizer};

    const SAID: &str = "我的卡被偷了";
    let folder = std::path::Path::new("/work/shared/models/pocketsphinx");
    let voice = crate::espeak::Espeak::open(None);
    let (true, Ok(voice)) = (folder.is_dir(), voice) else {
        #[expect(clippy::print_stderr, reason = "a skipped test says so")]
        {
            eprintln!("skipped: no Mandarin model at {} or no espeak-ng", folder.display());
        }
        return None;
    };
    let mut settings = crate::EngineSettings::default();
    settings.pocketsphinx.models.push(crate::SphinxModel {
        language: "zh".to_owned(),
        rate_hz: 8_000,
        acoustic: folder.join("zh-8k-ptm"),
        dictionary: folder.join("mandarin_notone.dic"),
        language_model: None,
    });
    let engine = crate::open_engine("pocketsphinx", &settings).expect("models");
    let language = Language::parse("zh").expect("a tag");
    let mut stream =
        voice.speak(&SpeechRequest { text: SAID.to_owned(), language, voice: None }).expect("speech");
    let (from, mut pcm) = (stream.rate().hz() as usize, Vec::new());
    while let Some(chunk) = stream.next_chunk().expect("sound") {
        pcm.extend(chunk.pcm);
    }
    let speech = (0..pcm.len() * 16_000 / from).map(|n| pcm[n * from / 16_000]).collect();
    Some(Case { engine, language: "zh", said: SAID.to_owned(), speech })
}

#[cfg(not(all(feature = "pocketsphinx", feature = "espeak")))]
fn mandarin() -> Option<Case> {
    None
}

impl Case {
    fn open(&self) -> Box<dyn Recognizer> {
        let config = StreamConfig {
            language: Language::parse(self.language).expect("a tag"),
            hints: hints(&[&self.said]),
            source_rate: RATE,
        };
        self.engine.open(&config).expect("a stream")
    }
}

fn hints(phrases: &[&str]) -> Hints {
    Hints { phrases: phrases.iter().map(|p| (*p).to_owned()).collect(), digits: false, closed: false }
}

fn push(stream: &mut dyn Recognizer, pcm: &[i16], at: MediaTime) -> Vec<Recognition> {
    let mut padded = pcm.to_vec();
    padded.resize(pcm.len() + RATE.samples(stream.tail()), 0);
    let mut said = Vec::new();
    for (n, chunk) in padded.chunks(320).enumerate() {
        let mut frame = AudioBuf::voice(chunk.to_vec(), RATE);
        frame.at = at + RATE.span(n * 320);
        stream.push(frame.frame()).expect("taken");
        compute(stream);
        said.extend(std::iter::from_fn(|| stream.poll()));
    }
    said
}

/// Computes what the stream owes.
fn compute(stream: &mut dyn Recognizer) {
    while stream.owed() > 0 {
        let before = stream.owed();
        stream.step().expect("computed");
        assert!(stream.owed() < before, "a step that was computed is still owed");
    }
}

fn flush(stream: &mut dyn Recognizer) -> Vec<Utterance> {
    stream.flush().expect("flushed");
    compute(stream);
    let said = std::iter::from_fn(|| stream.poll());
    said.map(|r| match r {
        Recognition::Final(utterance) => utterance,
        Recognition::Partial(partial) => panic!("a partial after the final: {partial:?}"),
    })
    .collect()
}

fn partials(said: Vec<Recognition>) -> Vec<Hypothesis> {
    said.into_iter()
        .map(|r| match r {
            Recognition::Partial(partial) => partial,
            Recognition::Final(utterance) => panic!("final before the flush: {utterance:?}"),
        })
        .collect()
}

#[test]
fn partials_come_first_then_one_final_with_its_words_inside_the_sound() {
    for case in cases() {
        let name = case.engine.name();
        let mut stream = case.open();
        let partials = partials(push(&mut *stream, &case.speech, AT));
        assert!(!partials.is_empty(), "{name}");
        assert!(partials.iter().enumerate().all(|(n, p)| p.revision == n as u32 + 1), "{name}: {partials:?}");
        let finals = flush(&mut *stream);
        assert_eq!(finals.len(), 1, "{name}");
        let said = &finals[0];
        assert_eq!(said.text, case.said, "{name}");
        let end = AT + RATE.span(case.speech.len()) + stream.tail();
        let mut last = AT;
        for word in &said.words {
            assert!(last <= word.start && word.start < word.end && word.end <= end, "{name}: {said:?}");
            assert!((0.0..=1.0).contains(&word.confidence), "{name}: {word:?}");
            last = word.start;
        }
        assert_eq!(
            (said.start, said.end),
            (said.words[0].start, said.words[said.words.len() - 1].end),
            "{name}"
        );
    }
}

#[test]
fn a_second_flush_says_nothing_and_a_second_utterance_is_heard_anew() {
    for case in cases() {
        let name = case.engine.name();
        let mut stream = case.open();
        assert!(flush(&mut *stream).is_empty(), "{name}: nothing was pushed");
        push(&mut *stream, &case.speech, AT);
        assert_eq!(flush(&mut *stream).len(), 1, "{name}");
        assert!(flush(&mut *stream).is_empty(), "{name}");
        let later = MediaTime::from_millis(100_000);
        let again = partials(push(&mut *stream, &case.speech, later));
        assert_eq!(again.first().map(|p| p.revision), Some(1), "{name}");
        let finals = flush(&mut *stream);
        assert!(finals.len() == 1 && finals[0].start >= later, "{name}: {finals:?}");
    }
}

#[test]
fn a_reset_forgets_the_utterance_under_way() {
    for case in cases() {
        let name = case.engine.name();
        let mut stream = case.open();
        push(&mut *stream, &case.speech, AT);
        stream.reset();
        assert_eq!(stream.poll(), None, "{name}");
        assert!(flush(&mut *stream).is_empty(), "{name}");
        push(&mut *stream, &case.speech, AT);
        assert_eq!(flush(&mut *stream).first().map(|u| u.text.as_str()), Some(case.said.as_str()), "{name}");
    }
}

#[test]
fn hints_change_in_mid_stream() {
    for case in cases() {
        let name = case.engine.name();
        let mut stream = case.open();
        let half = case.speech.len() / 2 / 320 * 320;
        let other = hints(&["transfer money", "goodbye"]);
        for (n, chunk) in case.speech[..half].chunks(320).enumerate() {
            let mut frame = AudioBuf::voice(chunk.to_vec(), RATE);
            frame.at = AT + RATE.span(n * 320);
            stream.push(frame.frame()).expect("taken");
        }
        stream.hint(&other).expect("hints");
        while stream.poll().is_some() {}
        push(&mut *stream, &case.speech[half..], AT + RATE.span(half));
        assert_eq!(
            flush(&mut *stream).first().map(|u| u.text.as_str()),
            Some(case.said.as_str()),
            "{name}: the old hints held"
        );
        stream.hint(&hints(&[&case.said, "goodbye"])).expect("hints");
        push(&mut *stream, &case.speech, AT);
        assert_eq!(flush(&mut *stream).first().map(|u| u.text.as_str()), Some(case.said.as_str()), "{name}");
    }
}

#[test]
fn silence_says_nothing() {
    for case in cases() {
        let mut stream = case.open();
        let said = push(&mut *stream, &vec![0; 32_000], AT);
        let finals = flush(&mut *stream);
        assert!(said.is_empty() && finals.is_empty(), "{}: {said:?} {finals:?}", case.engine.name());
    }
}

#[cfg(feature = "pocketsphinx")]
#[test]
fn tones_and_hiss_say_nothing() {
    let Some(case) = pocketsphinx() else { return };
    let mut state = 1u32;
    let mut hiss = |level: i32| -> Vec<i16> {
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (((state >> 16) as i32 - 32_768) * level / 32_768) as i16
        };
        (0..32_000).map(|_| next()).collect()
    };
    let tone = |low: f32, high: f32| -> Vec<i16> {
        let wave = |n: usize, hz: f32| (n as f32 * hz / 16_000.0 * std::f32::consts::TAU).sin() * 5_000.0;
        (0..32_000).map(|n| (wave(n, low) + wave(n, high)) as i16).collect()
    };
    let sounds = [
        ("quiet hiss", hiss(200)),
        ("loud hiss", hiss(12_000)),
        ("dial tone", tone(425.0, 425.0)),
        ("a beep", tone(1_000.0, 1_000.0)),
        ("a key", tone(697.0, 1_209.0)),
    ];
    let mut stream = case.open();
    for (what, pcm) in sounds {
        let said = push(&mut *stream, &pcm, AT);
        let finals = flush(&mut *stream);
        assert!(said.is_empty() && finals.is_empty(), "{what}: {said:?} {finals:?}");
    }
}

#[test]
fn a_script_fails_where_it_is_told_to_until_reset() {
    let script = Script { fail_at_push: Some(2), ..Script::new([SAID]) };
    let case = Case {
        engine: Arc::new(Scripted::new(script)),
        language: "en",
        said: SAID.to_owned(),
        speech: Vec::new(),
    };
    let mut stream = case.open();
    let frame = AudioBuf::voice(vec![1_000; 320], RATE);
    stream.push(frame.frame()).expect("the first");
    stream.push(frame.frame()).expect_err("the second");
    stream.push(frame.frame()).expect_err("until reset");
    stream.flush().expect_err("until reset");
    stream.reset();
    stream.push(frame.frame()).expect("again");
    assert_eq!(flush(&mut *stream).len(), 1);
}

#[test]
fn a_script_ends_with_its_last_line() {
    let case = Case {
        engine: Arc::new(Scripted::new(Script::new(["one", "", "two"]))),
        language: "en",
        said: SAID.to_owned(),
        speech: vec![900; 8_000],
    };
    let mut stream = case.open();
    let mut heard = Vec::new();
    for _ in 0..4 {
        push(&mut *stream, &case.speech, AT);
        heard.extend(flush(&mut *stream).into_iter().map(|u| u.text));
    }
    assert_eq!(heard, ["one", "two"]);
}
