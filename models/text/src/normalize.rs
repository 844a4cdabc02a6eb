//! Inverse text normalisation for a language.

use antiphon_models_speech::{Language, Word};

use crate::english::Dialect;
use crate::token::{Kind, Piece, Written, is_wide, join};
use crate::{chinese, english};

/// How a language is written, as far as this crate knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// English.
    English,
    /// Chinese, in characters, words of other scripts among them.
    Chinese,
    /// Any other: words stay as they are.
    Other,
}

impl Script {
    /// The script of a language tag.
    #[must_use]
    pub fn of(language: &Language) -> Self {
        match language.primary().as_str() {
            "en" => Self::English,
            "zh" | "yue" | "cmn" => Self::Chinese,
            _ => Self::Other,
        }
    }
}

/// Writes spoken words in figures where nothing else can be meant. Numbers under ten stay words unless they are money,
/// measures, times or stand behind a word like "press"; what is ambiguous stays as it was said.
#[derive(Clone, Copy, Debug)]
pub struct Normalizer {
    script: Script,
    dialect: Dialect,
}

impl Normalizer {
    /// For `language`; `en-GB` reads pounds as money.
    #[must_use]
    pub fn new(language: &Language) -> Self {
        let sterling = language.tag().eq_ignore_ascii_case("en-gb");
        Self { script: Script::of(language), dialect: Dialect { sterling } }
    }

    /// The script it writes.
    #[must_use]
    pub const fn script(&self) -> Script {
        self.script
    }

    /// The written tokens of spoken words, in order; together they cover every word once.
    #[must_use]
    pub fn pieces(&self, words: &[&str]) -> Vec<Piece> {
        match self.script {
            Script::English => english::write(words, self.dialect),
            Script::Chinese => chinese::write(words),
            Script::Other => {
                words.iter().enumerate().map(|(i, word)| Piece::new(*word, i..i + 1, Kind::Word)).collect()
            }
        }
    }

    /// The written tokens of `words`, on their clock.
    #[must_use]
    pub fn words(&self, words: &[Word]) -> Vec<Written> {
        let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        Written::timed(&self.pieces(&texts), words)
    }

    /// The written form of `text`.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        join(&self.pieces(&split(text)), self.script == Script::Chinese)
    }
}

/// The words of `text`: apart by spaces, and each Chinese character by itself.
pub(crate) fn split(text: &str) -> Vec<&str> {
    let mut words = Vec::with_capacity(text.len() / 4 + 1);
    for chunk in text.split_whitespace() {
        let mut start = 0;
        for (at, c) in chunk.char_indices() {
            if !is_wide(c) {
                continue;
            }
            if start < at {
                words.push(&chunk[start..at]);
            }
            words.push(&chunk[at..at + c.len_utf8()]);
            start = at + c.len_utf8();
        }
        if start < chunk.len() {
            words.push(&chunk[start..]);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use antiphon_media_frame::MediaTime;

    use super::*;

    fn word(text: &str, start: i64, end: i64) -> Word {
        Word {
            text: text.into(),
            start: MediaTime::from_millis(start),
            end: MediaTime::from_millis(end),
            confidence: 0.5,
        }
    }

    #[test]
    fn a_written_number_lasts_as_long_as_its_words() {
        let words = [
            word("about", 0, 100),
            word("twenty", 150, 300),
            word("five", 320, 500),
            word("people", 510, 900),
        ];
        let written = Normalizer::new(&Language::english()).words(&words);
        let texts: Vec<&str> = written.iter().map(|token| token.text.as_str()).collect();
        assert_eq!(texts, ["about", "25", "people"]);
        assert_eq!(written[1].words, 1..3);
        assert_eq!((written[1].start.millis(), written[1].end.millis()), (150, 500));
    }

    #[test]
    fn a_number_inside_a_chinese_word_takes_the_whole_word() {
        let chinese = Language::parse("zh-CN").unwrap();
        let words = [word("一共", 0, 100), word("三百块", 100, 400), word("钱", 400, 500)];
        let written = Normalizer::new(&chinese).words(&words);
        assert_eq!(written.len(), 3);
        assert_eq!(written[1].text, "300块");
        assert_eq!(written[1].words, 1..2);
    }

    #[test]
    fn other_languages_pass_through() {
        let german = Language::parse("de").unwrap();
        assert_eq!(Normalizer::new(&german).text("zwanzig Euro"), "zwanzig Euro");
    }
}
