use std::any::Any;

use antiphon_media_frame::{AudioBuf, MediaTime};
use antiphon_models_speech::{Language, Recognition, Utterance};

use super::*;
use crate::fixtures;

fn options(name: &str) -> TransducerOptions {
    TransducerOptions {
        precision: Precision::Float,
        runtime: fixtures::runtime(),
        ..TransducerOptions::new(fixtures::folder(name))
    }
}

fn engine(name: &str) -> TransducerEngine {
    TransducerEngine::open(options(name)).expect("a model")
}

fn config(hints: Hints) -> StreamConfig {
    StreamConfig { language: Language::english(), hints, source_rate: RATE }
}

fn open(engine: &TransducerEngine) -> Box<dyn Recognizer> {
    engine.open(&config(Hints::default())).expect("a stream")
}

fn stream(recognizer: &mut dyn Recognizer) -> &mut Stream {
    let any: &mut dyn Any = recognizer;
    any.downcast_mut().expect("ours")
}

/// The tokens and times of a stream's only utterance, as sherpa gives them.
fn heard_by(engine: &TransducerEngine, hints: Hints, pcm: &[i16]) -> (Vec<String>, Vec<f64>) {
    let mut recognizer = engine.open(&config(hints)).expect("a stream");
    let model = Arc::clone(&engine.model);
    let mut frame = AudioBuf::voice(pcm.to_vec(), RATE);
    frame.at = MediaTime::ZERO;
    recognizer.push(frame.frame()).expect("taken");
    recognizer.flush().expect("flushed");
    let mut last = Vec::new();
    while recognizer.owed() > 0 {
        let job_of = stream(&mut *recognizer);
        if recognizer_owes_last(job_of) {
            let mut copy = job_of.job().expect("owed");
            let (frames, _) = model
                .encoder
                .run(job_of.features().to_vec(), &[job_of.state()], &[copy.chunk * model.encoder.chunk])
                .expect("computed");
            let before = copy.chunk * model.encoder.frames;
            match (&model.head, &mut copy.found) {
                (Head::Transducer(t), Found::Beam(beam)) => {
                    let hints = copy.hints.as_deref();
                    t.search(&frames, &mut [Row { beam, paths: copy.paths, hints, before }])
                        .expect("searched");
                    last = beam.best(t.context()).to_vec();
                }
                (_, Found::Ctc(ctc)) => {
                    let count = model.encoder.frames;
                    match copy.hints.as_deref() {
                        None => ctc.search(&frames, 0, count, before, 0),
                        Some(contexts) => {
                            ctc.search_for(
                                Favour { contexts, ways: copy.paths },
                                &frames,
                                0,
                                count,
                                before,
                                0,
                            );
                        }
                    }
                    last.clone_from(&ctc.heard);
                }
                _ => unreachable!("a beam of a CTC model"),
            }
        }
        recognizer.step().expect("computed");
    }
    let texts = last.iter().map(|h| model.tokens.text(h.token).to_owned()).collect();
    let times = last.iter().map(|h| (h.frame * model.stride()) as f64 / 100.0).collect();
    (texts, times)
}

fn recognizer_owes_last(stream: &Stream) -> bool {
    stream.owed() == 1
}

#[track_caller]
fn assert_equal(found: &(Vec<String>, Vec<f64>), expected: &serde_json::Value) {
    // Sherpa shows the mark of a word's beginning as a space.
    let texts: Vec<String> = found.0.iter().map(|t| t.replace('▁', " ")).collect();
    assert_eq!(texts, fixtures::strings(&expected["tokens"]));
    let times = fixtures::numbers(&expected["times"]);
    assert!(found.1.iter().zip(&times).all(|(a, b)| (a - b).abs() < 0.006), "{:?} {times:?}", found.1);
}

#[test]
fn greedy_search_says_what_sherpa_says() {
    let expected = fixtures::expected();
    for name in ["zipformer2", "zipformer", "conformer", "zipformer2-ctc"] {
        let found = heard_by(&engine(name), Hints::default(), &fixtures::audio());
        assert_equal(&found, &expected[name]["greedy"]);
    }
}

#[test]
fn beam_search_says_what_sherpa_says() {
    let expected = fixtures::expected();
    for name in ["zipformer2", "zipformer", "conformer"] {
        let engine =
            TransducerEngine::open(TransducerOptions { paths: 4, ..options(name) }).expect("a model");
        let found = heard_by(&engine, Hints::default(), &fixtures::audio());
        assert_equal(&found, &expected[name]["beam"]);
    }
}

/// Whole numbers are rounded elsewhere by another runtime, and what chance weights say hangs by a hair: nearly the same.
#[test]
fn eight_bit_weights_say_nearly_what_sherpa_says_with_them() {
    let options = TransducerOptions { precision: Precision::Int8, ..options("zipformer2") };
    let engine = TransducerEngine::open(options).expect("a model");
    let (tokens, _) = heard_by(&engine, Hints::default(), &fixtures::audio());
    let tokens: Vec<String> = tokens.iter().map(|token| token.replace('▁', " ")).collect();
    let wanted = fixtures::strings(&fixtures::expected()["zipformer2"]["int8"]["tokens"]);
    let same = tokens.iter().zip(&wanted).filter(|(have, want)| have == want).count();
    assert!(tokens.len() == wanted.len() && same * 10 > wanted.len() * 8, "{same} of {}", wanted.len());
    let float = fixtures::strings(&fixtures::expected()["zipformer2"]["greedy"]["tokens"]);
    assert_ne!(float, wanted, "it was heard with eight bits");
}

#[test]
fn hints_are_worth_what_sherpa_gives_them() {
    let expected = &fixtures::expected()["zipformer2"]["hints"];
    let boost = expected["score"].as_f64().expect("a number") as f32;
    let engine =
        TransducerEngine::open(TransducerOptions { boost, ..options("zipformer2") }).expect("a model");
    let hints = Hints { phrases: fixtures::strings(&expected["phrases"]), ..Hints::default() };
    let found = heard_by(&engine, hints, &fixtures::audio());
    assert_equal(&found, expected);
}

#[test]
fn hints_are_obeyed_by_ctc() {
    let heard = |boost: f32, phrases: &[&str]| {
        let engine =
            TransducerEngine::open(TransducerOptions { boost, hinted_paths: 8, ..options("zipformer2-ctc") })
                .expect("a model");
        let phrases = phrases.iter().map(|phrase| (*phrase).to_owned()).collect();
        heard_by(&engine, Hints { phrases, ..Hints::default() }, &fixtures::audio()).0
    };
    let count = |tokens: &[String]| tokens.windows(2).filter(|two| *two == ["▁BO", "OK"]).count();
    let (plain, hinted) = (heard(3.0, &[]), heard(3.0, &["BOOK"]));
    assert!(count(&hinted) > count(&plain), "{plain:?} {hinted:?}");
    assert_eq!(heard(0.0, &["BOOK"]), heard(0.0, &["FLIGHT"]), "worth nothing, they change nothing");
}

#[test]
fn the_encoder_computes_what_onnx_runtime_computes() {
    let (pcm, expected) = (fixtures::audio(), fixtures::expected());
    for name in ["zipformer2", "zipformer", "conformer"] {
        let engine = engine(name);
        let mut recognizer = open(&engine);
        recognizer.push(AudioBuf::voice(pcm.clone(), RATE).frame()).expect("taken");
        let stream = stream(&mut *recognizer);
        let (frames, _) =
            engine.model.encoder.run(stream.features().to_vec(), &[stream.state()], &[0]).expect("computed");
        let wanted = fixtures::numbers(&expected[name]["encoder"]["values"]);
        assert_eq!(frames.as_floats().len(), wanted.len());
        for (have, want) in frames.as_floats().iter().zip(&wanted) {
            assert!((f64::from(*have) - want).abs() < 2e-3, "{name}: {have} {want}");
        }
    }
}

fn finals(recognizer: &mut dyn Recognizer) -> Vec<Utterance> {
    std::iter::from_fn(|| recognizer.poll())
        .filter_map(|r| match r {
            Recognition::Final(utterance) => Some(utterance),
            Recognition::Partial(_) => None,
        })
        .collect()
}

fn alone(engine: &TransducerEngine, pcm: &[i16]) -> Vec<Utterance> {
    let mut recognizer = open(engine);
    recognizer.push(AudioBuf::voice(pcm.to_vec(), RATE).frame()).expect("taken");
    recognizer.flush().expect("flushed");
    while recognizer.owed() > 0 {
        recognizer.step().expect("computed");
    }
    finals(&mut *recognizer)
}

#[test]
fn streams_computed_together_say_what_each_says_alone() {
    let pcm = fixtures::audio();
    for name in ["zipformer2", "zipformer", "conformer", "zipformer2-ctc"] {
        let engine = engine(name);
        assert!(engine.pace().rows > 1, "{name}");
        // Each begins elsewhere in the sound and joins at another step.
        let pieces: Vec<&[i16]> = (0..5).map(|n| &pcm[n * 4_000..]).collect();
        let wanted: Vec<_> = pieces.iter().map(|p| alone(&engine, p)).collect();
        let mut streams: Vec<_> = pieces.iter().map(|_| open(&engine)).collect();
        let mut heard = vec![Vec::new(); streams.len()];
        for round in 0.. {
            for (n, stream) in streams.iter_mut().enumerate() {
                if round == n {
                    stream.push(AudioBuf::voice(pieces[n].to_vec(), RATE).frame()).expect("taken");
                    stream.flush().expect("flushed");
                }
            }
            let mut rows: Vec<&mut dyn Recognizer> =
                streams.iter_mut().filter(|s| s.owed() > 0).map(|s| &mut **s).collect();
            if rows.is_empty() {
                break;
            }
            engine.step(&mut rows).expect("computed");
            for (stream, heard) in streams.iter_mut().zip(&mut heard) {
                heard.extend(finals(&mut **stream));
            }
        }
        for (have, want) in heard.iter().zip(&wanted) {
            assert_eq!(have.len(), 1, "{name}");
            assert_eq!(
                (&have[0].text, have[0].start, have[0].end),
                (&want[0].text, want[0].start, want[0].end),
                "{name}"
            );
        }
    }
}

#[test]
fn an_utterance_pushed_before_the_last_was_computed_stays_apart() {
    let engine = engine("zipformer2");
    let pcm = fixtures::audio();
    let (first, second) = pcm.split_at(32_000);
    let wanted: Vec<_> = [first, second].iter().flat_map(|p| alone(&engine, p)).map(|u| u.text).collect();
    let mut recognizer = open(&engine);
    for (at, piece) in [(0, first), (5_000, second)] {
        let mut frame = AudioBuf::voice(piece.to_vec(), RATE);
        frame.at = MediaTime::from_millis(at);
        recognizer.push(frame.frame()).expect("taken");
        recognizer.flush().expect("flushed");
    }
    while recognizer.owed() > 0 {
        recognizer.step().expect("computed");
    }
    let said = finals(&mut *recognizer);
    assert_eq!(said.iter().map(|u| u.text.clone()).collect::<Vec<_>>(), wanted);
    assert!(said[1].start >= MediaTime::from_millis(5_000));
}

#[test]
fn quiet_sound_and_nothing_at_all_say_nothing() {
    let engine = engine("zipformer2");
    let mut recognizer = open(&engine);
    recognizer.flush().expect("nothing to flush");
    recognizer.push(AudioBuf::voice(vec![7; 32_000], RATE).frame()).expect("taken");
    while recognizer.owed() > 0 {
        recognizer.step().expect("computed");
    }
    recognizer.flush().expect("flushed");
    assert_eq!((recognizer.owed(), recognizer.poll()), (0, None));
}

#[test]
fn hints_given_in_mid_utterance_count_from_then_on() {
    let engine =
        TransducerEngine::open(TransducerOptions { boost: 6.0, ..options("zipformer2") }).expect("a model");
    let pcm = fixtures::audio();
    let plain = alone(&engine, &pcm);
    let mut recognizer = open(&engine);
    recognizer.push(AudioBuf::voice(pcm.clone(), RATE).frame()).expect("taken");
    recognizer.flush().expect("flushed");
    for _ in 0..6 {
        recognizer.step().expect("computed");
    }
    recognizer.hint(&Hints { phrases: vec!["paris".to_owned()], ..Hints::default() }).expect("hints");
    while recognizer.owed() > 0 {
        recognizer.step().expect("computed");
    }
    let hinted = finals(&mut *recognizer);
    assert_ne!(hinted[0].text, plain[0].text);
    let before = |u: &Utterance| {
        let early = u.words.iter().take_while(|w| w.start.millis() < 1_500);
        early.map(|w| w.text.clone()).collect::<Vec<_>>()
    };
    assert_eq!(before(&hinted[0]), before(&plain[0]));
}

#[test]
fn a_stream_nobody_computes_refuses_more() {
    let engine = engine("zipformer2");
    let mut recognizer = open(&engine);
    let second = AudioBuf::voice(vec![900; 16_000], RATE);
    let refused = (0..120).find(|_| recognizer.push(second.frame()).is_err());
    assert!(refused.is_some_and(|n| n > 60), "{refused:?}");
    recognizer.flush().expect_err("until reset");
    recognizer.reset();
    recognizer.push(second.frame()).expect("again");
}

#[test]
fn other_rates_languages_and_folders_are_refused_with_a_reason() {
    let engine = TransducerEngine::open(TransducerOptions {
        languages: vec!["zh".to_owned()],
        ..options("zipformer2")
    })
    .expect("a model");
    let refused = engine.open(&config(Hints::default())).map(|_| ()).expect_err("English");
    assert!(refused.to_string().contains("its model speaks zh"), "{refused}");
    let mut recognizer = engine
        .open(&StreamConfig {
            language: Language::parse("zh-CN").expect("a tag"),
            ..config(Hints::default())
        })
        .expect("Mandarin");
    let narrow = AudioBuf::voice(vec![0; 160], SampleRate::HZ_8000);
    assert!(matches!(recognizer.push(narrow.frame()), Err(RecognizeError::Rate { .. })));
    let missing = TransducerEngine::open(options("sense-voice")).map(|_| ()).expect_err("another layout");
    assert!(matches!(missing, LoadError::Meta { key: "decode_chunk_len", .. }), "{missing}");
    let nowhere = TransducerEngine::open(options("nowhere")).map(|_| ()).expect_err("no folder");
    assert!(nowhere.to_string().contains("nowhere/tokens.txt"), "{nowhere}");
}
