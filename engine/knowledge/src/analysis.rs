//! From text to terms: what is indexed and what is looked up.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use jieba_rs::Jieba;
use pinyin::ToPinyin;
use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization;

use crate::stopwords::is_stop;

static JIEBA: LazyLock<Jieba> = LazyLock::new(Jieba::new);

/// Longer words are cut: no dictionary has them.
const LONGEST_WORD: usize = 40;

/// A term, by its hash: only within this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TermId(pub(crate) u64);

impl TermId {
    pub(crate) fn of(term: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        term.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// A piece of text that may be a term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// As it is looked up: lower case, English words stemmed.
    pub(crate) term: String,
    /// As it was written, in lower case.
    pub(crate) word: String,
    /// Whether it says nothing by itself.
    pub(crate) stop: bool,
    /// Which stretch of the text it belongs to: an English word, or Chinese characters without a break.
    pub(crate) run: usize,
    /// Its characters within that stretch.
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Piece {
    pub(crate) fn is_han(&self) -> bool {
        self.term.chars().next().is_some_and(is_han)
    }
}

/// Text cut into pieces, and its Chinese stretches by the number of their run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Analysis {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) han: Vec<(usize, Vec<char>)>,
}

/// Cuts text: English into stemmed words, Chinese into the dictionary's words and the words within them; characters that
/// belong to no word stand alone and, where two meet, also as a pair.
pub(crate) fn analyse(text: &str) -> Analysis {
    let mut analysis = Analysis::default();
    let mut word = String::new();
    let mut chars: Vec<char> = Vec::new();
    let mut run = 0;
    for c in text.nfkc().flat_map(char::to_lowercase).chain([' ']) {
        let han = is_han(c);
        if !han && !chars.is_empty() {
            chinese(&mut analysis, run, std::mem::take(&mut chars));
            run += 1;
        }
        let part = !han && (c.is_alphanumeric() || (matches!(c, '\'' | '\u{2019}') && !word.is_empty()));
        if !part && !word.is_empty() {
            english(&mut analysis, run, &std::mem::take(&mut word));
            run += 1;
        }
        if han {
            chars.push(c);
        } else if part {
            word.push(c);
        }
    }
    analysis
}

/// The terms that are indexed of a text, in order, with repetitions.
pub(crate) fn terms(text: &str) -> impl Iterator<Item = String> {
    analyse(text).pieces.into_iter().filter(|piece| !piece.stop).map(|piece| piece.term)
}

/// An English word as it is looked up.
pub(crate) fn stem(word: &str) -> String {
    if word.is_ascii() && word.bytes().all(|b| b.is_ascii_alphabetic()) {
        Stemmer::create(Algorithm::English).stem(word).into_owned()
    } else {
        word.to_owned()
    }
}

/// Whether a character is written without spaces around it.
pub(crate) fn is_han(c: char) -> bool {
    matches!(c, '\u{3007}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}')
}

/// How Chinese characters sound, without tones and with the sounds made equal that many speakers (and recognisers) do
/// not keep apart: zh and z, ch and c, sh and s, n and ng at the end. `None` where one has no reading.
pub(crate) fn sound(chars: &[char]) -> Option<String> {
    let mut key = String::with_capacity(chars.len() * 6);
    for c in chars {
        let plain = c.to_pinyin()?.plain();
        let (head, rest) = match plain.as_bytes() {
            [head @ (b'z' | b'c' | b's'), b'h', ..] => (char::from(*head), &plain[2..]),
            [head, ..] => (char::from(*head), &plain[1..]),
            [] => return None,
        };
        key.push(head);
        key.push_str(if rest.ends_with("ng") && !rest.ends_with("ong") {
            &rest[..rest.len() - 1]
        } else {
            rest
        });
        key.push(' ');
    }
    Some(key)
}

fn english(analysis: &mut Analysis, run: usize, word: &str) {
    let word = word.trim_matches(['\'', '\u{2019}']);
    let word = word.strip_suffix("'s").or_else(|| word.strip_suffix("\u{2019}s")).unwrap_or(word);
    let word: String = word.chars().filter(|c| c.is_alphanumeric()).take(LONGEST_WORD).collect();
    if word.is_empty() {
        return;
    }
    let letter = word.len() == 1 && word.bytes().all(|b| b.is_ascii_alphabetic());
    analysis.pieces.push(Piece {
        term: stem(&word),
        stop: letter || is_stop(&word),
        end: word.chars().count(),
        word,
        run,
        start: 0,
    });
}

fn chinese(analysis: &mut Analysis, run: usize, chars: Vec<char>) {
    let text: String = chars.iter().collect();
    let mut before: Option<(usize, char)> = None;
    let tokens = JIEBA.cut_for_search(&text, false);
    // The words within a word that says nothing say nothing either: 意思 in 不好意思.
    let mut silent = vec![false; chars.len()];
    for token in tokens.iter().filter(|token| token.end - token.start > 1 && is_stop(token.word)) {
        silent[token.start..token.end].fill(true);
    }
    for token in tokens {
        let piece = |term: &str, start, stop| Piece {
            term: term.to_owned(),
            word: term.to_owned(),
            stop,
            run,
            start,
            end: start + term.chars().count(),
        };
        let stop = is_stop(token.word) || silent[token.start..token.end].iter().all(|&silent| silent);
        analysis.pieces.push(piece(token.word, token.start, stop));
        let mut of = token.word.chars();
        match (of.next(), of.next(), stop) {
            (Some(single), None, false) => {
                if let Some((at, first)) = before
                    && at + 1 == token.start
                {
                    analysis.pieces.push(piece(&format!("{first}{single}"), at, false));
                }
                before = Some((token.start, single));
            }
            _ => before = None,
        }
    }
    analysis.han.push((run, chars));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indexed(text: &str) -> Vec<String> {
        terms(text).collect()
    }

    #[test]
    fn english_is_stemmed_and_loses_its_grammar() {
        assert_eq!(indexed("How do I cancel my Cards?"), ["cancel", "card"]);
        assert_eq!(indexed("the customer's policies"), ["custom", "polici"]);
    }

    #[test]
    fn chinese_is_cut_into_words_and_the_words_within_them() {
        let terms = indexed("请问信用卡怎么挂失");
        assert!(terms.contains(&"信用卡".to_owned()) && terms.contains(&"挂失".to_owned()), "{terms:?}");
    }

    #[test]
    fn width_and_case_make_no_difference() {
        assert_eq!(indexed("ＡＴＭ　fees"), indexed("atm FEE"));
    }

    #[test]
    fn characters_without_a_word_stand_in_pairs_too() {
        assert!(indexed("理材").contains(&"理材".to_owned()));
    }

    #[test]
    fn homophones_sound_alike_and_accents_are_forgiven() {
        let sound = |text: &str| sound(&text.chars().collect::<Vec<_>>());
        assert_eq!(sound("理材"), sound("理财"));
        assert_eq!(sound("转账"), sound("赚脏"));
        assert_ne!(sound("转账"), sound("挂失"));
    }

    #[test]
    fn a_greeting_has_no_terms() {
        for greeting in [
            "hello",
            "Hi, good morning!",
            "你好",
            "喂，您好，请问",
            "uh yeah okay thanks",
            "嗯嗯好的谢谢",
            "不好意思",
        ] {
            assert_eq!(indexed(greeting), [""; 0], "{greeting}");
        }
    }
}
