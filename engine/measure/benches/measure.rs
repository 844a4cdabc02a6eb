//! What measuring costs: a call of an hour, and an hour of sound.

use std::collections::BTreeMap;
use std::hint::black_box;

use antiphon_engine_measure::{Conversation, Measures, Role, Stretch, Tone, ToneMeter, Track, Turn};
use antiphon_media_frame::{MediaTime, SampleRate, Span};
use antiphon_models_speech::{Language, Utterance};

fn main() {
    divan::main();
}

const ENGLISH: &str = "well I was told that the delivery of my washing machine would come on thursday and it did not so where \
 is it now please could you look it up for me because I have taken a day off and nobody called me about the refund either";
const CHINESE: &str = "您好我想咨询一下上次购买的理财产品到期之后本金和收益什么时候能够到账因为客户经理说三个工作日之内就会处理但是到现在还没有收到短信通知";

/// So many turns of both sides by turns, a few words of a text each, over an hour.
fn hour(turns: usize, text: impl Fn(usize) -> String) -> Conversation {
    let step = 3_600_000 / turns as i64;
    let mut tracks = vec![
        Track { role: Role::Customer, speech: Vec::new() },
        Track { role: Role::Agent, speech: Vec::new() },
    ];
    let turn = |n: usize| {
        // Some overlap the next.
        let start = step * n as i64;
        let end = start + if n.is_multiple_of(7) { step + 200 } else { step - 300 };
        let (start, end) = (MediaTime::from_millis(start), MediaTime::from_millis(end));
        tracks[n % 2].speech.push(Stretch { start, end });
        let tone = Tone {
            loudness_db: -30.0 + (n % 11) as f32,
            pitch_hz: Some(120.0 + (n % 60) as f32),
            pitch_range: Some(5.0),
        };
        let said =
            Utterance { text: text(n), words: Vec::new(), start, end, confidence: 1.0, language: None };
        Turn { track: n % 2, said, tone: Some(tone) }
    };
    let turns = (0..turns).map(turn).collect();
    Conversation {
        id: "hour".to_owned(),
        language: Language::english(),
        tracks,
        turns,
        holds: Vec::new(),
        heard: Span::from_secs(3_600),
        finished: true,
        metadata: BTreeMap::new(),
    }
}

#[divan::bench(args = [100, 1_000, 4_000])]
fn an_hour_of_english(bencher: divan::Bencher<'_, '_>, turns: usize) {
    let words: Vec<&str> = ENGLISH.split_whitespace().collect();
    let call = hour(turns, |n| {
        (0..12).map(|k| words[(n * 5 + k * (1 + n % 3)) % words.len()]).collect::<Vec<_>>().join(" ")
    });
    bencher.bench(|| Measures::of(black_box(&call)));
}

#[divan::bench(args = [100, 1_000, 4_000])]
fn an_hour_of_chinese(bencher: divan::Bencher<'_, '_>, turns: usize) {
    let characters: Vec<char> = CHINESE.chars().collect();
    let call =
        hour(turns, |n| (0..16).map(|k| characters[(n * 7 + k * (1 + n % 2)) % characters.len()]).collect());
    bencher.bench(|| Measures::of(black_box(&call)));
}

#[divan::bench]
fn an_hour_that_says_one_thing(bencher: divan::Bencher<'_, '_>) {
    let call = hour(4_000, |_| ENGLISH.to_owned());
    bencher.bench(|| Measures::of(black_box(&call)));
}

/// A minute of a buzzing voice: all of it voiced, the dearest there is.
#[divan::bench(args = [8_000, 16_000, 48_000])]
fn a_minute_of_tone(bencher: divan::Bencher<'_, '_>, hz: u32) {
    let rate = SampleRate::new(hz).expect("a rate");
    let sound: Vec<i16> =
        (0..hz * 60).map(|n| ((n * 120 % hz) as i32 * 16_000 / hz as i32 - 8_000) as i16).collect();
    bencher.bench(|| {
        let mut meter = ToneMeter::new(rate, Span::from_secs(600));
        for (n, frame) in sound.chunks(hz as usize / 50).enumerate() {
            meter.push(MediaTime::from_millis(20 * n as i64), frame);
        }
        meter.tone(Stretch { start: MediaTime::ZERO, end: MediaTime::from_millis(60_000) })
    });
}
