//! Protocol tests over a model of random weights: what it hears is garbage, how it is told is not.

use std::io::Write as _;
use std::path::PathBuf;

use antiphon_media_frame::{AudioBuf, MediaTime};
use antiphon_models_speech::Language;

use super::*;

/// Small dimensions of the real architecture; vocabulary of the multilingual models.
const VOCABULARY: i32 = 51_865;
const STATE: i32 = 32;
const TEXT: i32 = 448;
const AUDIO: i32 = 1_500;
const MELS: i32 = 80;
const TEXT_TOKENS: i32 = 50_257;

/// Writes whisper.cpp's file format: magic, dimensions, mel filters, vocabulary, named tensors.
struct Writer {
    out: Vec<u8>,
    seed: u32,
}

impl Writer {
    fn int(&mut self, value: i32) {
        self.out.extend(value.to_le_bytes());
    }

    fn float(&mut self, value: f32) {
        self.out.extend(value.to_le_bytes());
    }

    fn random(&mut self) -> f32 {
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.seed >> 8) as f32 / (1 << 24) as f32 - 0.5
    }

    /// A tensor, its fastest dimension first: matrices and convolutions in 16-bit floats as whisper.cpp's own files
    /// have them, the rest in 32. Layer-norm weights are near one, the rest near zero.
    fn tensor(&mut self, name: &str, shape: &[i32]) {
        self.int(shape.len() as i32);
        self.int(name.len() as i32);
        let half = shape.len() > 1 && !name.ends_with("positional_embedding") && !name.ends_with("bias");
        self.int(i32::from(half));
        for length in shape {
            self.int(*length);
        }
        self.out.extend(name.as_bytes());
        let one = name.ends_with("ln.weight") || name.ends_with("ln_post.weight");
        for _ in 0..shape.iter().product::<i32>() {
            let value = self.random() * 0.4 + if one { 1.0 } else { 0.0 };
            if half {
                self.out.extend(binary16(value).to_le_bytes());
            } else {
                self.float(value);
            }
        }
    }

    fn linear(&mut self, name: &str, from: i32, to: i32, bias: bool) {
        self.tensor(&format!("{name}.weight"), &[from, to]);
        if bias {
            self.tensor(&format!("{name}.bias"), &[to]);
        }
    }

    fn norm(&mut self, name: &str) {
        self.tensor(&format!("{name}.weight"), &[STATE]);
        self.tensor(&format!("{name}.bias"), &[STATE]);
    }

    fn attention(&mut self, name: &str) {
        self.linear(&format!("{name}.query"), STATE, STATE, true);
        self.linear(&format!("{name}.key"), STATE, STATE, false);
        self.linear(&format!("{name}.value"), STATE, STATE, true);
        self.linear(&format!("{name}.out"), STATE, STATE, true);
        self.norm(&format!("{name}_ln"));
    }

    fn block(&mut self, name: &str, cross: bool) {
        self.attention(&format!("{name}.attn"));
        if cross {
            self.attention(&format!("{name}.cross_attn"));
        }
        self.norm(&format!("{name}.mlp_ln"));
        self.linear(&format!("{name}.mlp.0"), STATE, 4 * STATE, true);
        self.linear(&format!("{name}.mlp.2"), 4 * STATE, STATE, true);
    }
}

/// IEEE 754 binary16, cut off; what is too small for a normal number is zero. Nothing here is above 2.
fn binary16(value: f32) -> u16 {
    let bits = value.to_bits();
    let exponent = (bits >> 23 & 0xff) as i32 - 127 + 15;
    if exponent <= 0 {
        0
    } else {
        (bits >> 16 & 0x8000) as u16 | (exponent as u16) << 10 | (bits >> 13 & 0x3ff) as u16
    }
}

fn model() -> Vec<u8> {
    let mut w = Writer { out: Vec::new(), seed: 7 };
    w.int(0x6767_6d6c);
    for dimension in [VOCABULARY, AUDIO, STATE, 2, 1, TEXT, STATE, 2, 1, MELS, 1] {
        w.int(dimension);
    }
    let bins = 201;
    w.int(MELS);
    w.int(bins);
    for filter in 0..MELS {
        for bin in 0..bins {
            let distance = (bin as f32 - filter as f32 * 2.4).abs();
            w.float((1.0 - distance / 3.0).max(0.0) * 0.02);
        }
    }
    w.int(TEXT_TOKENS);
    for token in 0..TEXT_TOKENS {
        let text = if token < 256 { vec![token as u8] } else { format!(" w{token}").into_bytes() };
        w.int(text.len() as i32);
        w.out.extend(text);
    }
    w.tensor("encoder.positional_embedding", &[STATE, AUDIO]);
    w.tensor("encoder.conv1.weight", &[3, MELS, STATE]);
    w.tensor("encoder.conv1.bias", &[1, STATE]);
    w.tensor("encoder.conv2.weight", &[3, STATE, STATE]);
    w.tensor("encoder.conv2.bias", &[1, STATE]);
    w.norm("encoder.ln_post");
    w.block("encoder.blocks.0", false);
    w.tensor("decoder.positional_embedding", &[STATE, TEXT]);
    w.tensor("decoder.token_embedding.weight", &[STATE, VOCABULARY]);
    w.norm("decoder.ln");
    w.block("decoder.blocks.0", true);
    w.out
}

fn engine() -> (tempfile::NamedTempFile, Whisper) {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(&model()).expect("written");
    let settings = WhisperSettings { model: file.path().to_owned(), threads: 2, gpu: false };
    let engine = Whisper::open(&settings).expect("whisper.cpp takes the file");
    (file, engine)
}

fn config(language: &str) -> StreamConfig {
    StreamConfig {
        language: Language::parse(language).expect("a tag"),
        hints: Hints { phrases: vec!["check my\0balance".to_owned()], digits: true, closed: false },
        source_rate: RATE,
    }
}

#[test]
fn a_random_model_loads_decodes_and_keeps_the_protocol() {
    let (_file, engine) = engine();
    assert!(engine.context.is_multilingual());
    for language in ["en", "zh"] {
        let mut stream = engine.open(&config(language)).expect("a stream");
        let begin = MediaTime::from_millis(9_000);
        let mut told = String::new();
        for n in 0..100usize {
            let pcm = (0..320).map(|k| (((n * 320 + k) as f32 * 0.3).sin() * 8_000.0) as i16).collect();
            let mut frame = AudioBuf::voice(pcm, RATE);
            frame.at = begin + RATE.span(n * 320);
            stream.push(frame.frame()).expect("taken");
            while let Some(said) = stream.poll() {
                let Recognition::Partial(partial) = said else { panic!("no final before the flush") };
                assert!(partial.text.starts_with(&told) && partial.text.len() > told.len());
                told = partial.text;
            }
        }
        stream.flush().expect("flushed");
        let mut finals = 0;
        while let Some(said) = stream.poll() {
            finals += 1;
            let Recognition::Final(utterance) = said else { panic!("no partial after the final") };
            let mut last = begin;
            for word in &utterance.words {
                assert!(last <= word.start && word.start <= word.end, "{word:?}");
                assert!((0.0..=1.0).contains(&word.confidence), "{word:?}");
                last = word.end;
            }
            assert!(last <= begin + Span::from_secs(2));
        }
        assert_eq!(finals, 1, "random weights say something of any sound");
        stream.flush().expect("flushed again");
        assert_eq!(stream.poll(), None);
    }
}

#[test]
fn without_partials_nothing_is_decoded_before_the_end() {
    let (_file, engine) = engine();
    let decoded = |wanted: Partials| {
        let mut stream = engine.open(&config("en")).expect("a stream");
        stream.partials(wanted);
        for n in 0..60usize {
            let pcm = (0..320).map(|k| (((n * 320 + k) as f32 * 0.3).sin() * 8_000.0) as i16).collect();
            let mut frame = AudioBuf::voice(pcm, RATE);
            frame.at = MediaTime::ZERO + RATE.span(n * 320);
            stream.push(frame.frame()).expect("taken");
        }
        let stream: &dyn std::any::Any = &*stream;
        stream.downcast_ref::<Stream>().expect("ours").looked
    };
    // 1.2 s of sound.
    assert_eq!(decoded(Partials::Normal), RATE.samples(Span::from_secs(1)));
    assert_eq!(decoded(Partials::Thinned), 0);
    assert_eq!(decoded(Partials::Off), 0);
}

#[test]
fn silence_and_resets_say_nothing() {
    let (_file, engine) = engine();
    let mut stream = engine.open(&config("en")).expect("a stream");
    for _ in 0..60 {
        stream.push(AudioBuf::voice(vec![3; 320], RATE).frame()).expect("taken");
    }
    stream.flush().expect("flushed");
    assert_eq!(stream.poll(), None);
    stream.push(AudioBuf::voice(vec![9_000; 320], RATE).frame()).expect("taken");
    stream.reset();
    stream.flush().expect("flushed");
    assert_eq!(stream.poll(), None);
}

#[test]
fn what_is_no_model_is_refused() {
    let absent = WhisperSettings { model: PathBuf::from("/nonexistent.bin"), ..WhisperSettings::default() };
    let refused = Whisper::open(&absent).map(|_| ()).expect_err("absent");
    assert!(refused.to_string().contains("/nonexistent.bin"));
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"not a model at all").expect("written");
    let rubbish = WhisperSettings { model: file.path().to_owned(), ..WhisperSettings::default() };
    assert!(matches!(Whisper::open(&rubbish), Err(RecognizeError::Engine { .. })));
    let (_file, engine) = engine();
    assert!(matches!(engine.open(&config("tlh")), Err(RecognizeError::Language { .. })));
}
