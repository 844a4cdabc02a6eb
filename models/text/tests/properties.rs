//! What holds for any words.

use antiphon_media_frame::MediaTime;
use antiphon_models_speech::{Hypothesis, Language, Utterance, Word};
use antiphon_models_text::{Finisher, Normalizer, Policy, Style};
use proptest::prelude::*;

const ENGLISH: &[&str] = &[
    "one",
    "two",
    "five",
    "nine",
    "zero",
    "oh",
    "ten",
    "twelve",
    "nineteen",
    "twenty",
    "ninety",
    "hundred",
    "thousand",
    "million",
    "and",
    "a",
    "the",
    "point",
    "minus",
    "half",
    "quarter",
    "to",
    "or",
    "of",
    "past",
    "double",
    "triple",
    "percent",
    "dollars",
    "cents",
    "pounds",
    "first",
    "second",
    "third",
    "thirds",
    "twentieth",
    "january",
    "may",
    "march",
    "am",
    "pm",
    "o'clock",
    "at",
    "dot",
    "com",
    "dash",
    "x",
    "b",
    "i",
    "is",
    "press",
    "kilometers",
    "per",
    "hour",
    "as",
    "in",
    "bravo",
    "alpha",
    "my",
    "name",
    "card",
    "number",
    "twenty-one",
    "people",
    "please",
    "five,",
    "six.",
    "é",
    "'",
    "-",
    "--",
    "twenty-",
    "p",
    "m",
    "p.m.",
    "@",
    "12",
    "$5",
];

const CHINESE: &[&str] = &[
    "零",
    "一",
    "二",
    "两",
    "三",
    "五",
    "九",
    "十",
    "百",
    "千",
    "万",
    "亿",
    "幺",
    "点",
    "分",
    "之",
    "百分之",
    "年",
    "月",
    "号",
    "日",
    "块",
    "毛",
    "元",
    "角",
    "钱",
    "半",
    "刻",
    "钟",
    "负",
    "第",
    "到",
    "个",
    "公里",
    "克",
    "星期",
    "十分",
    "三心二意",
    "下午",
    "几",
    "A",
    "b",
    "com",
    "艾特",
    "杠",
    "我叫",
    "王",
    "号码是",
    "我",
    "的",
    "12",
    "吗",
    "，",
    "。",
    "一共",
    "千克",
    "秒",
];

fn words(vocabulary: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    let word = prop_oneof![
        20 => prop::sample::select(vocabulary).prop_map(str::to_owned),
        1 => "\\PC{1,4}".prop_filter("no spaces in words", |word| !word.contains(char::is_whitespace)),
    ];
    prop::collection::vec(word, 1..30)
}

fn holds(tag: &str, words: &[String]) -> Result<(), TestCaseError> {
    let language = Language::parse(tag).expect("a tag");
    let normalizer = Normalizer::new(&language);
    let texts: Vec<&str> = words.iter().map(String::as_str).collect();
    let pieces = normalizer.pieces(&texts);
    let mut next = 0;
    for piece in &pieces {
        prop_assert_eq!(piece.words.start, next, "every word once: {:?}", pieces);
        prop_assert!(piece.words.end > piece.words.start);
        next = piece.words.end;
    }
    prop_assert_eq!(next, words.len());
    let timed: Vec<Word> = texts
        .iter()
        .zip(0_i64..)
        .map(|(text, i)| Word {
            text: (*text).to_owned(),
            start: MediaTime::from_millis(i * 300),
            end: MediaTime::from_millis(i * 300 + 250),
            confidence: 1.0,
        })
        .collect();
    let style = Style { policy: Policy::strict(), ..Style::default() };
    let mut finisher = Finisher::new(&language, &style).expect("a policy within its bounds");
    let text = texts.join(" ");
    let start = MediaTime::ZERO;
    let _ = finisher.partial(&Hypothesis { revision: 1, text: text.clone(), start });
    let end = timed[timed.len() - 1].end;
    let utterance = Utterance { text, words: timed.clone(), start, end, confidence: 1.0, language: None };
    for _ in 0..2 {
        let finished = finisher.last(&utterance);
        prop_assert_eq!(finished.words.len(), timed.len());
        for (spoken, kept) in timed.iter().zip(&finished.words) {
            prop_assert_eq!((spoken.start, spoken.end), (kept.start, kept.end));
        }
        for pair in finished.tokens.windows(2) {
            prop_assert!(pair[0].end <= pair[1].start, "times go on: {:?}", finished.tokens);
        }
        for token in &finished.tokens {
            prop_assert!(token.start <= token.end);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn english_covers_every_word_once_in_time_and_never_panics(words in words(ENGLISH)) {
        holds("en-GB", &words)?;
    }

    #[test]
    fn chinese_covers_every_word_once_in_time_and_never_panics(words in words(CHINESE)) {
        holds("zh", &words)?;
    }

    #[test]
    fn any_text_is_survived(text in "\\PC{0,60}") {
        for tag in ["en", "zh", "fr"] {
            let _ = Normalizer::new(&Language::parse(tag).expect("a tag")).text(&text);
        }
    }
}
