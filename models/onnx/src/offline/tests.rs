use std::any::Any;

use antiphon_media_frame::{AudioBuf, MediaTime};
use antiphon_models_speech::{Hints, Language, Partials, Recognition, Utterance};

use super::*;
use crate::fixtures;
use crate::tokens::Heard;

fn engine(name: &str, written: bool) -> ParaformerEngine {
    let runtime = fixtures::runtime();
    let options = ParaformerOptions { written, runtime, ..ParaformerOptions::new(fixtures::folder(name)) };
    ParaformerEngine::open(options).expect("a model")
}

fn open(engine: &ParaformerEngine, tag: &str) -> Box<dyn Recognizer> {
    let language = Language::parse(tag).expect("a tag");
    engine.open(&StreamConfig { language, hints: Hints::default(), source_rate: RATE }).expect("a stream")
}

fn heard_by(engine: &ParaformerEngine, tag: &str, pcm: &[i16]) -> Vec<Heard> {
    let mut recognizer = open(engine, tag);
    recognizer.push(AudioBuf::voice(pcm.to_vec(), RATE).frame()).expect("taken");
    let any: &mut dyn Any = &mut *recognizer;
    let stream = any.downcast_mut::<Stream>().expect("ours");
    let layout = &engine.model.layout;
    let row = layout.prepare(stream.features());
    let mut found =
        layout.run(&[&row], &[stream.language()], engine.model.options.written).expect("computed");
    found.remove(0)
}

fn texts(engine: &ParaformerEngine, heard: &[Heard]) -> Vec<String> {
    heard.iter().map(|h| engine.model.tokens.text(h.token).to_owned()).collect()
}

#[test]
fn paraformer_says_what_sherpa_says() {
    let engine = engine("paraformer", false);
    let heard = heard_by(&engine, "zh", &fixtures::audio());
    assert_eq!(texts(&engine, &heard), fixtures::strings(&fixtures::expected()["paraformer"]["tokens"]));
    assert!(heard.is_sorted_by_key(|h| h.frame) && heard.last().is_some_and(|h| h.frame > 30), "{heard:?}");
}

#[test]
fn sense_voice_says_what_sherpa_says() {
    for (tag, written, expected) in [("fr", false, "sense-voice-auto"), ("en", true, "sense-voice-en")] {
        let engine = engine("sense-voice", written);
        let mut heard = heard_by(&engine, tag, &fixtures::audio());
        // The language's own token, which no word is made of; sherpa leaves it out.
        heard.retain(|heard| !engine.model.tokens.text(heard.token).starts_with("<|"));
        let expected = &fixtures::expected()[expected];
        assert_eq!(texts(&engine, &heard), fixtures::strings(&expected["tokens"]), "{tag}");
        for (heard, time) in heard.iter().zip(fixtures::numbers(&expected["times"])) {
            assert!((heard.frame as f64 * 0.06 - time).abs() < 0.006, "{tag}: {heard:?} {time}");
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

#[test]
fn utterances_of_different_lengths_computed_together_say_what_each_says_alone() {
    let pcm = fixtures::audio();
    for name in ["paraformer", "sense-voice"] {
        let engine = engine(name, false);
        let pieces = [&pcm[..], &pcm[8_000..40_000], &pcm[..300]];
        let say = |rows: &mut [Box<dyn Recognizer>]| {
            let mut rows: Vec<&mut dyn Recognizer> = rows.iter_mut().map(|r| &mut **r).collect();
            engine.step(&mut rows).expect("computed");
            rows.iter_mut().map(|row| finals(&mut **row)).collect::<Vec<_>>()
        };
        let over = |pcm: &[i16]| {
            let mut recognizer = open(&engine, "zh");
            recognizer.push(AudioBuf::voice(pcm.to_vec(), RATE).frame()).expect("taken");
            recognizer.flush().expect("flushed");
            assert_eq!(recognizer.owed(), 1);
            recognizer
        };
        let wanted: Vec<_> = pieces.iter().map(|p| say(&mut [over(p)]).remove(0)).collect();
        let mut together: Vec<_> = pieces.iter().map(|p| over(p)).collect();
        let heard = say(&mut together);
        let said =
            |all: &[Vec<Utterance>]| all.iter().map(|u| u.iter().map(|u| u.text.clone()).collect()).collect();
        let (heard, wanted): (Vec<Vec<String>>, Vec<Vec<String>>) = (said(&heard), said(&wanted));
        assert_eq!(heard, wanted, "{name}");
        assert!(!heard[0].is_empty() && !heard[1].is_empty() && heard[2].is_empty(), "{name}: {heard:?}");
    }
}

#[test]
fn interim_words_come_while_the_utterance_grows_and_end_with_it() {
    let engine = engine("paraformer", false);
    let mut recognizer = open(&engine, "zh");
    let (mut revisions, mut steps) = (Vec::new(), 0);
    for (n, chunk) in fixtures::audio().chunks(320).enumerate() {
        let mut frame = AudioBuf::voice(chunk.to_vec(), RATE);
        frame.at = MediaTime::from_millis(9_000 + 20 * n as i64);
        recognizer.push(frame.frame()).expect("taken");
        while recognizer.owed() > 0 {
            recognizer.step().expect("computed");
            steps += 1;
        }
        while let Some(Recognition::Partial(partial)) = recognizer.poll() {
            revisions.push(partial.revision);
        }
    }
    assert!((3..=4).contains(&steps), "{steps}");
    assert_eq!(revisions, (1..=revisions.len() as u32).collect::<Vec<_>>());
    recognizer.flush().expect("flushed");
    recognizer.step().expect("computed");
    let said = finals(&mut *recognizer);
    assert_eq!(said.len(), 1);
    assert!(
        said[0].words.iter().all(|w| w.start < w.end && w.start >= MediaTime::from_millis(9_000)),
        "{said:?}"
    );
    assert!(said[0].words.is_sorted_by_key(|w| w.start), "{said:?}");
}

#[test]
fn quiet_sound_says_nothing_and_a_reset_forgets() {
    let engine = engine("sense-voice", false);
    let mut recognizer = open(&engine, "zh");
    recognizer.push(AudioBuf::voice(vec![9; 48_000], RATE).frame()).expect("taken");
    recognizer.flush().expect("flushed");
    assert_eq!(recognizer.owed(), 0);
    recognizer.push(AudioBuf::voice(fixtures::audio(), RATE).frame()).expect("taken");
    recognizer.flush().expect("flushed");
    recognizer.reset();
    assert_eq!((recognizer.owed(), recognizer.poll()), (0, None));
}

#[test]
fn streaming_models_are_refused_with_a_reason() {
    let folder = fixtures::folder("zipformer2-ctc");
    let refused =
        ParaformerEngine::open(ParaformerOptions::new(folder)).map(|_| ()).expect_err("another layout");
    assert!(matches!(refused, LoadError::Meta { key: "lfr_window_size", .. }), "{refused}");
}

#[test]
fn nothing_is_computed_for_interim_words_that_nobody_wants() {
    let engine = engine("paraformer", false);
    let mut recognizer = open(&engine, "zh");
    recognizer.partials(Partials::Off);
    recognizer.push(AudioBuf::voice(fixtures::audio(), RATE).frame()).expect("taken");
    assert_eq!(recognizer.owed(), 0);
    recognizer.partials(Partials::Thinned);
    assert_eq!(recognizer.owed(), 1, "once in a second of new sound");
    recognizer.partials(Partials::Off);
    recognizer.flush().expect("flushed");
    assert_eq!(recognizer.owed(), 1);
    recognizer.step().expect("computed");
    assert_eq!(finals(&mut *recognizer).len(), 1);
}
