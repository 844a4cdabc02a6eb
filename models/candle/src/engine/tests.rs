use antiphon_media_frame::{AudioBuf, MediaTime};
use antiphon_models_speech::{Hints, Language, Partials, Recognition, Utterance};

use super::*;
use crate::fixtures;

fn engine(options: CandleOptions) -> CandleEngine {
    CandleEngine::open(options).expect("a model")
}

/// The tiny model, once through each utterance.
fn tiny() -> CandleOptions {
    CandleOptions { retries: 0, ..CandleOptions::new(fixtures::folder("multilingual")) }
}

fn config(tag: &str, phrases: &[&str]) -> StreamConfig {
    let hints = Hints { phrases: phrases.iter().map(|p| (*p).to_owned()).collect(), ..Hints::default() };
    StreamConfig { language: Language::parse(tag).expect("a tag"), hints, source_rate: RATE }
}

fn over(engine: &CandleEngine, tag: &str, phrases: &[&str], pcm: &[i16]) -> Box<dyn Recognizer> {
    let mut stream = engine.open(&config(tag, phrases)).expect("a stream");
    stream.push(AudioBuf::voice(pcm.to_vec(), RATE).frame()).expect("taken");
    stream.flush().expect("flushed");
    stream
}

fn finals(recognizer: &mut dyn Recognizer) -> Vec<Utterance> {
    std::iter::from_fn(|| recognizer.poll())
        .filter_map(|r| match r {
            Recognition::Final(utterance) => Some(utterance),
            Recognition::Partial(_) => None,
        })
        .collect()
}

fn said(engine: &CandleEngine, tag: &str, phrases: &[&str]) -> Vec<Utterance> {
    let mut stream = over(engine, tag, phrases, &fixtures::pcm());
    while stream.owed() > 0 {
        stream.step().expect("computed");
    }
    finals(&mut *stream)
}

#[test]
fn streams_computed_together_say_what_each_says_alone() {
    let engine = engine(tiny());
    let pcm = fixtures::pcm();
    let pieces: [(&str, &[&str], &[i16]); 4] = [
        ("en", &[], &pcm),
        ("zh", &["check my balance"], &pcm[8_000..40_000]),
        ("en", &["the card", "was lost"], &pcm[..300]),
        ("und", &[], &pcm[20_000..]),
    ];
    let compute = |streams: &mut [Box<dyn Recognizer>]| {
        let mut rows: Vec<&mut dyn Recognizer> = streams.iter_mut().map(|r| &mut **r).collect();
        engine.step(&mut rows).expect("computed");
        rows.iter_mut().map(|row| finals(&mut **row)).collect::<Vec<_>>()
    };
    let open =
        || pieces.iter().map(|(tag, phrases, pcm)| over(&engine, tag, phrases, pcm)).collect::<Vec<_>>();
    let alone: Vec<_> = open().into_iter().map(|stream| compute(&mut [stream]).remove(0)).collect();
    let together = compute(&mut open());
    assert_eq!(
        together.iter().map(Vec::len).collect::<Vec<_>>(),
        alone.iter().map(Vec::len).collect::<Vec<_>>()
    );
    for (together, alone) in together.iter().flatten().zip(alone.iter().flatten()) {
        assert_eq!(together.text, alone.text);
        let times = |u: &Utterance| u.words.iter().map(|w| (w.start, w.end)).collect::<Vec<_>>();
        assert_eq!(times(together), times(alone));
    }
    assert!(together.iter().flatten().count() >= 3);
}

#[test]
fn interim_words_only_grow_and_the_final_lies_within_the_sound() {
    let engine = engine(tiny());
    let mut stream = engine.open(&config("en", &[])).expect("a stream");
    let begin = MediaTime::from_millis(9_000);
    let (mut told, mut steps) = (String::new(), 0);
    for (n, chunk) in fixtures::pcm().chunks(320).enumerate() {
        let mut frame = AudioBuf::voice(chunk.to_vec(), RATE);
        frame.at = begin + RATE.span(n * 320);
        stream.push(frame.frame()).expect("taken");
        while stream.owed() > 0 {
            stream.step().expect("computed");
            steps += 1;
        }
        while let Some(Recognition::Partial(partial)) = stream.poll() {
            assert!(partial.text.starts_with(&told) && partial.text.len() > told.len(), "{partial:?}");
            assert_eq!(partial.start, begin);
            told = partial.text;
        }
    }
    assert!((3..=4).contains(&steps), "{steps}");
    stream.flush().expect("flushed");
    stream.step().expect("computed");
    let said = finals(&mut *stream);
    assert_eq!(said.len(), 1);
    let mut last = begin;
    for word in &said[0].words {
        assert!(
            last <= word.start && word.start < word.end && word.end <= begin + Span::from_secs(4),
            "{word:?}"
        );
        assert!((0.0..=1.0).contains(&word.confidence), "{word:?}");
        last = word.start;
    }
}

#[test]
fn quiet_sound_says_nothing_and_a_reset_forgets() {
    let engine = engine(tiny());
    let mut stream = over(&engine, "en", &[], &[90; 48_000]);
    assert_eq!(stream.owed(), 0);
    stream.push(AudioBuf::voice(fixtures::pcm(), RATE).frame()).expect("taken");
    stream.flush().expect("flushed");
    stream.reset();
    assert_eq!((stream.owed(), stream.poll()), (0, None));
}

#[test]
fn speech_without_an_end_is_cut_before_the_window_ends() {
    let engine = engine(CandleOptions { partial_every: Span::ZERO, ..tiny() });
    let mut stream = engine.open(&config("en", &[])).expect("a stream");
    let pcm: Vec<i16> = fixtures::pcm().iter().cycle().take(12 * 16_000).copied().collect();
    for chunk in pcm.chunks(320) {
        stream.push(AudioBuf::voice(chunk.to_vec(), RATE).frame()).expect("taken");
    }
    assert_eq!(stream.owed(), 2, "two windows of 4.6 s are full");
    stream.flush().expect("flushed");
    assert_eq!(stream.owed(), 3);
    stream.reset();
    // A worker that never computes is told so, and no more is kept.
    let refused = (0..40).find_map(|_| {
        let pushed = stream.push(AudioBuf::voice(pcm[..64_000].to_vec(), RATE).frame());
        pushed.and_then(|()| stream.flush()).err()
    });
    assert!(refused.is_some_and(|e| e.to_string().contains("not computed in time")));
}

#[test]
fn interim_words_that_nobody_wants_are_not_computed() {
    let engine = engine(tiny());
    let mut stream = engine.open(&config("en", &[])).expect("a stream");
    stream.partials(Partials::Thinned);
    stream.push(AudioBuf::voice(fixtures::pcm()[..20_000].to_vec(), RATE).frame()).expect("taken");
    assert_eq!(stream.owed(), 0, "less than a second and a half");
    stream.partials(Partials::Normal);
    assert_eq!(stream.owed(), 1);
    stream.partials(Partials::Off);
    assert_eq!(stream.owed(), 0);
    stream.flush().expect("flushed");
    assert_eq!(stream.owed(), 1, "what is final is wanted");
}

#[test]
fn hints_are_what_was_said_before() {
    let plain = engine(tiny());
    let none = said(&plain, "en", &[]);
    assert_ne!(said(&plain, "en", &["check my balance"]), none, "the prompt changes what is heard");
    let deaf = engine(CandleOptions { prompt: 0, ..tiny() });
    assert_eq!(said(&deaf, "en", &["check my balance"]), none);
    let many: Vec<String> = (0..1_000).map(|n| format!("phrase number {n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(said(&plain, "en", &many).len() <= 1, "more hints than there is room for");
}

#[test]
fn languages_are_told_apart_and_refused() {
    let plain = engine(tiny());
    let likely = plain.identify(&fixtures::pcm()).expect("identified");
    let wanted = fixtures::expected()["cases"][5]["heard"].clone();
    assert_eq!(likely[0].0, wanted.as_str().expect("a tag"));
    assert!(
        (likely.iter().map(|l| l.1).sum::<f32>() - 1.0).abs() < 1e-4
            && likely.is_sorted_by(|a, b| a.1 >= b.1)
    );
    let (found, told) = (said(&plain, "und", &[]), said(&plain, &likely[0].0, &[]));
    let words =
        |said: &[Utterance]| said.iter().map(|u| (u.text.clone(), u.words.clone())).collect::<Vec<_>>();
    assert_eq!(words(&found), words(&told));
    assert!(plain.identifies() && !found.is_empty());
    assert!(found.iter().all(|said| said.language.as_ref().is_some_and(|l| l.tag() == likely[0].0)));
    assert!(told.iter().all(|said| said.language.is_none()), "what was asked for was not found out");
    let refused = |engine: &CandleEngine, tag: &str| match engine.open(&config(tag, &[])) {
        Err(RecognizeError::Language { advice, .. }) => advice,
        _ => panic!("{tag} is not refused"),
    };
    assert!(refused(&plain, "tlh").contains("does not have it"));
    let two = engine(CandleOptions { languages: vec!["en".to_owned(), "zh".to_owned()], ..tiny() });
    assert!(refused(&two, "de").contains("en, zh"));
    assert_eq!(two.identify(&fixtures::pcm()).expect("identified").len(), 2);
    let detecting = engine(CandleOptions { detect: true, ..tiny() });
    assert_eq!(said(&detecting, "tlh", &[]), said(&plain, "und", &[]));
    let english = engine(CandleOptions::new(fixtures::folder("f16")));
    assert!(refused(&english, "de").contains("English only"));
    assert!(!english.identifies());
    assert!(english.open(&config("en-GB", &[])).is_ok());
}
