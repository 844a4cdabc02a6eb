//! What every voice has to do, held against all of them that are here.

use std::path::Path;
use std::sync::Arc;

use antiphon_media_frame::{AudioBuf, MediaTime};
use antiphon_models_speech::{Language, SpeechRequest, SynthesizeError, Synthesizer};

use crate::settings::{CacheSettings, PiperSettings, VoiceSettings};

const TEXT: &str = "Good morning. Your balance is forty two dollars, and nothing is due.";

/// The voices of this build whose programs and libraries are installed, each with its name.
fn voices(cache: &Path) -> Vec<(String, Arc<dyn Synthesizer>)> {
    let piper = PiperSettings {
        model: concat!(env!("CARGO_MANIFEST_DIR"), "/../onnx/fixtures/piper").into(),
        noise: Some(0.0),
        width_noise: Some(0.0),
        ..PiperSettings::default()
    };
    let plain = VoiceSettings { piper, ..VoiceSettings::default() };
    let cached = VoiceSettings { cache: Some(CacheSettings::new(cache)), ..plain.clone() };
    let mut found = Vec::new();
    // Services are held against plays of their own.
    for name in crate::voice_names().into_iter().filter(|name| *name != "remote") {
        for (kind, settings) in [("", &plain), (", kept", &cached)] {
            match crate::open_voice(name, settings) {
                Ok(voice) => found.push((format!("{name}{kind}"), voice)),
                Err(error @ SynthesizeError::Missing { .. }) => {
                    #[expect(clippy::print_stderr, reason = "a skipped test says so")]
                    {
                        eprintln!("skipped: {error}");
                    }
                }
                Err(error) => panic!("{name}: {error}"),
            }
        }
    }
    found
}

fn request(text: &str, voice: Option<&str>) -> SpeechRequest {
    SpeechRequest { text: text.to_owned(), language: Language::english(), voice: voice.map(str::to_owned) }
}

fn chunks(voice: &dyn Synthesizer, request: &SpeechRequest) -> Result<Vec<AudioBuf>, SynthesizeError> {
    let mut stream = voice.speak(request)?;
    let mut chunks = Vec::new();
    while let Some(chunk) = stream.next_chunk()? {
        assert_eq!(chunk.rate, stream.rate());
        chunks.push(chunk);
    }
    assert!(stream.next_chunk()?.is_none(), "the end stays the end");
    Ok(chunks)
}

fn sound(chunks: &[AudioBuf]) -> Vec<i16> {
    chunks.iter().flat_map(|chunk| chunk.pcm.iter().copied()).collect()
}

#[test]
fn chunks_follow_one_another_and_can_be_heard() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, voice) in voices(folder.path()) {
        let chunks = chunks(&*voice, &request(TEXT, None)).expect(&name);
        assert!(chunks.len() > 1, "{name}: the first sound does not wait for the last");
        let mut at = MediaTime::ZERO;
        for chunk in &chunks {
            assert!(!chunk.pcm.is_empty(), "{name}");
            assert!(chunk.at.since(at).millis() == 0 && at.since(chunk.at).millis() == 0, "{name}: no gap");
            at = chunk.at + chunk.span();
        }
        assert!(at.since(MediaTime::ZERO).millis() > 1_000, "{name}: {at:?}");
        assert!(sound(&chunks).iter().any(|sample| sample.unsigned_abs() > 3_000), "{name}");
    }
}

#[test]
fn streams_at_once_leave_each_other_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, voice) in voices(folder.path()) {
        let alone = sound(&chunks(&*voice, &request(TEXT, None)).expect(&name));
        let mut given_up =
            voice.speak(&request("Something else, which nobody hears to its end.", None)).expect(&name);
        given_up.next_chunk().expect(&name);
        let both = std::thread::scope(|scope| {
            let speak = || sound(&chunks(&*voice, &request(TEXT, None)).expect("speech"));
            let others = [scope.spawn(speak), scope.spawn(speak)];
            drop(given_up);
            others.map(|other| other.join().expect("spoken"))
        });
        // The noise of flite's vocoder differs from run to run; the length does not.
        let same = |pcm: &Vec<i16>| *pcm == alone || name == "flite" && pcm.len() == alone.len();
        assert!(both.iter().all(same), "{name}");
    }
}

#[test]
fn what_cannot_be_said_is_refused_as_such() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, voice) in voices(folder.path()) {
        for text in ["", " ?! ", &"a ".repeat(SpeechRequest::LONGEST)] {
            let refused = chunks(&*voice, &request(text, None)).expect_err(&name);
            assert!(matches!(refused, SynthesizeError::Text { .. }), "{name}: {refused}");
        }
        let refused = chunks(&*voice, &request("hello", Some("nobody-at-all"))).expect_err(&name);
        assert!(matches!(refused, SynthesizeError::Voice { .. }), "{name}: {refused}");
    }
}
