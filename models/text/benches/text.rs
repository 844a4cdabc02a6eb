//! What it costs to make words readable. Divan's items are spoken words (Chinese: characters): its rate in words a second
//! is the reciprocal of the cost of a word.

use antiphon_media_frame::MediaTime;
use antiphon_models_speech::{Hypothesis, Language, Utterance, Word};
use antiphon_models_text::{Category, Normalizer, Policy, Reader, Style};
use divan::Bencher;
use divan::counter::ItemsCount;

const ENGLISH: &str = "yes hello my name is john smith and i would like to pay two hundred and fifty dollars on march third \
                       at five thirty pm my card number is four one one one one one one one one one one one one one one one";
const CHINESE: &str = "您好我叫王小明我想在三月五号下午三点半之前充一百二十块话费我的手机号是幺三八零零幺三八零零零余额还剩百分之二十";

fn main() {
    divan::main();
}

fn language(tag: &str) -> Language {
    Language::parse(tag).expect("a tag")
}

/// The words of a language's sentence, 300 ms apart.
fn words(tag: &str) -> Vec<&'static str> {
    match tag {
        "en" => ENGLISH.split(' ').collect(),
        _ => CHINESE.char_indices().map(|(at, c)| &CHINESE[at..at + c.len_utf8()]).collect(),
    }
}

fn utterance(tag: &str) -> Utterance {
    let words: Vec<Word> = words(tag)
        .into_iter()
        .zip(0..)
        .map(|(text, i)| Word {
            text: text.to_owned(),
            start: MediaTime::from_millis(i * 300),
            end: MediaTime::from_millis(i * 300 + 250),
            confidence: 0.9,
        })
        .collect();
    let text = words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
    let end = words.last().map_or(MediaTime::ZERO, |word| word.end);
    Utterance { text, words, start: MediaTime::ZERO, end, confidence: 0.9, language: None }
}

fn read(bencher: Bencher<'_, '_>, tag: &str, style: &Style) {
    let utterance = utterance(tag);
    let mut reader = Reader::new(&language(tag), style).expect("a policy within its bounds");
    bencher.counter(ItemsCount::new(utterance.words.len())).bench_local(|| reader.read(&utterance));
}

#[divan::bench(args = ["en", "zh"])]
fn figures(bencher: Bencher<'_, '_>, tag: &str) {
    let (words, normalizer) = (words(tag), Normalizer::new(&language(tag)));
    bencher.counter(ItemsCount::new(words.len())).bench(|| normalizer.pieces(&words));
}

#[divan::bench(args = ["en", "zh"])]
fn figures_marks_and_capitals(bencher: Bencher<'_, '_>, tag: &str) {
    read(bencher, tag, &Style::default());
}

#[divan::bench(args = ["en", "zh"])]
fn everything_with_all_masks(bencher: Bencher<'_, '_>, tag: &str) {
    read(bencher, tag, &Style { policy: Policy::masking(&Category::ALL), ..Style::default() });
}

#[divan::bench(args = ["en", "zh"])]
fn masked_interim_words(bencher: Bencher<'_, '_>, tag: &str) {
    let said = utterance(tag);
    let style = Style { policy: Policy::masking(&[Category::Profanity]), ..Style::default() };
    let reader = Reader::new(&language(tag), &style).expect("a policy within its bounds");
    let hypothesis = Hypothesis { revision: 1, text: said.text, start: said.start };
    bencher.counter(ItemsCount::new(said.words.len())).bench(|| reader.partial(hypothesis.clone()));
}

#[divan::bench(args = ["en", "zh"])]
fn a_reader_opened(bencher: Bencher<'_, '_>, tag: &str) {
    let style = Style { policy: Policy::masking(&Category::ALL), ..Style::default() };
    bencher.bench(|| Reader::new(&language(tag), &style));
}
