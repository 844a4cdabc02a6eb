//! A pronunciation dictionary: words and their phones, phrases split into its words, and a guess at words it lacks.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use antiphon_models_speech::RecognizeError;

use super::{NAME, letters};

/// Dictionaries beyond this size are refused: cmudict is 3 MB.
const LARGEST: u64 = 64 << 20;
/// The longest dictionary word, in characters, that a phrase without spaces is searched for.
const LONGEST: usize = 8;

/// Words with their pronunciations, as one shared text.
pub(super) struct Dictionary {
    text: String,
    /// Word to the place of its pronunciations in `text`: start and length.
    words: HashMap<Box<str>, Vec<(u32, u16)>>,
    /// Characters that are no word of the dictionary, with the syllable they have in its words.
    syllables: HashMap<char, String>,
    english: bool,
}

impl Dictionary {
    pub(super) fn load(path: &Path, english: bool) -> Result<Self, RecognizeError> {
        let missing = |reason: String| RecognizeError::MissingModel {
            engine: NAME,
            what: "dictionary",
            path: path.display().to_string(),
            advice: reason,
        };
        let size = fs::metadata(path).map_err(|e| missing(e.to_string()))?.len();
        if size > LARGEST {
            return Err(missing(format!("{size} bytes is no dictionary")));
        }
        let bytes = fs::read(path).map_err(|e| missing(e.to_string()))?;
        Ok(Self::parse(String::from_utf8_lossy(&bytes).into_owned(), english))
    }

    pub(super) fn parse(text: String, english: bool) -> Self {
        let mut words: HashMap<Box<str>, Vec<(u32, u16)>> = HashMap::new();
        for line in text.lines() {
            let Some((name, phones)) = line.split_once(char::is_whitespace) else { continue };
            let phones = phones.trim();
            let word = base(name);
            let at = phones.as_ptr() as usize - text.as_ptr() as usize;
            if let (Ok(at), Ok(length)) = (u32::try_from(at), u16::try_from(phones.len()))
                && !word.is_empty()
                && !phones.is_empty()
            {
                words.entry(word.into()).or_default().push((at, length));
            }
        }
        let syllables = if english { HashMap::new() } else { syllables(&text, &words) };
        Self { text, words, syllables, english }
    }

    pub(super) fn contains(&self, word: &str) -> bool {
        self.words.contains_key(word)
    }

    /// The pronunciations of a word: the dictionary's, or one guess. Empty where nothing can be guessed.
    pub(super) fn pronounce(&self, word: &str) -> Vec<String> {
        if let Some(places) = self.words.get(word) {
            let phones = places.iter().map(|(at, length)| {
                self.text[*at as usize..][..usize::from(*length)]
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" ")
            });
            return phones.collect();
        }
        if self.english {
            return letters::pronounce(word).into_iter().collect();
        }
        let mut chars = word.chars();
        match (chars.next(), chars.next()) {
            (Some(c), None) => self.syllables.get(&c).cloned().into_iter().collect(),
            _ => Vec::new(),
        }
    }

    /// Splits a phrase into words that can be pronounced; what cannot is left out.
    pub(super) fn split(&self, phrase: &str) -> Vec<String> {
        let lower = phrase.to_lowercase().replace('\u{2019}', "'");
        let mut out = Vec::new();
        for piece in lower.split(|c: char| !(c.is_alphanumeric() || c == '\'')) {
            if piece.is_empty() {
            } else if self.english {
                self.split_english(piece, &mut out);
            } else {
                self.split_by_longest(piece, &mut out);
            }
        }
        out
    }

    fn split_english(&self, piece: &str, out: &mut Vec<String>) {
        let bare = piece.trim_matches('\'');
        if self.contains(piece) {
            out.push(piece.to_owned());
        } else if bare.chars().any(|c| c.is_ascii_digit()) {
            // "24h" is read "two four h".
            for c in bare.chars() {
                match c.to_digit(10) {
                    Some(digit) => out.push(DIGITS[digit as usize].to_owned()),
                    None if c.is_ascii_alphabetic() => out.push(c.to_string()),
                    None => {}
                }
            }
        } else if self.contains(bare) || letters::pronounce(bare).is_some() {
            out.push(bare.to_owned());
        }
    }

    /// Longest match from the left, for scripts that set no spaces between words.
    fn split_by_longest(&self, piece: &str, out: &mut Vec<String>) {
        let chars: Vec<char> = piece.chars().collect();
        let mut at = 0;
        while at < chars.len() {
            let longest = (1..=LONGEST.min(chars.len() - at)).rev().find_map(|length| {
                let word: String = chars[at..at + length].iter().collect();
                self.contains(&word).then_some((length, word))
            });
            match longest {
                Some((length, word)) => {
                    out.push(word);
                    at += length;
                }
                None => {
                    out.extend(self.single(chars[at]));
                    at += 1;
                }
            }
        }
    }

    /// The word that one character stands for where the dictionary has no word it begins: a digit, a letter read by its
    /// name (`D.`), or a character known from within words only.
    fn single(&self, c: char) -> Option<String> {
        if let Some(digit) = c.to_digit(10) {
            let word = HAN_DIGITS[digit as usize];
            return self.contains(word).then(|| word.to_owned());
        }
        let letter = format!("{}.", c.to_ascii_uppercase());
        if c.is_ascii_alphabetic() {
            return self.contains(&letter).then_some(letter);
        }
        self.syllables.contains_key(&c).then(|| c.to_string())
    }

    /// The words of digits read out one by one.
    pub(super) fn digits(&self) -> Vec<String> {
        let all: &[&str] = if self.english { &SPOKEN_DIGITS } else { &SPOKEN_HAN_DIGITS };
        all.iter().filter(|w| self.contains(w)).map(|w| (*w).to_owned()).collect()
    }

    /// Agreement and refusal: open speech always hears them.
    pub(super) fn answers(&self) -> Vec<String> {
        let all: &[&str] = if self.english {
            &["yes", "no", "yeah", "okay"]
        } else {
            &["是", "是的", "不是", "好", "好的", "不", "对"]
        };
        all.iter().filter(|w| self.contains(w)).map(|w| (*w).to_owned()).collect()
    }
}

const DIGITS: [&str; 10] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
const SPOKEN_DIGITS: [&str; 12] =
    ["zero", "oh", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "double"];
const HAN_DIGITS: [&str; 10] = ["零", "一", "二", "三", "四", "五", "六", "七", "八", "九"];
/// "幺" is how one is read in a number; "两" is two of something.
const SPOKEN_HAN_DIGITS: [&str; 12] =
    ["零", "一", "幺", "二", "两", "三", "四", "五", "六", "七", "八", "九"];

/// A dictionary name without the mark of an alternate: `read` of `read(2)`.
pub(super) fn base(name: &str) -> &str {
    match name.find('(') {
        Some(at) if at > 0 && name.ends_with(')') => &name[..at],
        _ => name,
    }
}

/// A dictionary name as it is written: `read` of `read(2)`, `D` of `D.`, a letter that is spelt.
pub(super) fn spoken(name: &str) -> &str {
    let word = base(name);
    match word.strip_suffix('.') {
        Some(letter) if letter.len() == 1 => letter,
        _ => word,
    }
}

/// Words as a text: apart, but Chinese ones together.
pub(super) fn join<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for word in words {
        let touching = text.chars().next_back().is_some_and(is_han) && word.starts_with(is_han);
        if !text.is_empty() && !touching {
            text.push(' ');
        }
        text.push_str(word);
    }
    text
}

/// Whether a character is an ideograph.
fn is_han(c: char) -> bool {
    matches!(c, '\u{3007}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// The commonest syllable of each ideograph that occurs only within words. A syllable of the Mandarin dictionaries is two
/// phones, an initial (a glide where there is none) and a final.
fn syllables(text: &str, words: &HashMap<Box<str>, Vec<(u32, u16)>>) -> HashMap<char, String> {
    let mut counts: HashMap<char, BTreeMap<String, usize>> = HashMap::new();
    for (word, places) in words {
        let unknown = |c: char| is_han(c) && !words.contains_key(c.encode_utf8(&mut [0; 4]) as &str);
        if !word.chars().any(unknown) {
            continue;
        }
        for (at, length) in places {
            let phones: Vec<&str> = text[*at as usize..][..usize::from(*length)].split_whitespace().collect();
            if phones.len() != 2 * word.chars().count() {
                continue;
            }
            for (c, syllable) in word.chars().zip(phones.chunks(2)).filter(|(c, _)| unknown(*c)) {
                *counts.entry(c).or_default().entry(syllable.join(" ")).or_default() += 1;
            }
        }
    }
    let commonest = |heard: BTreeMap<String, usize>| heard.into_iter().max_by_key(|(_, count)| *count);
    counts.into_iter().filter_map(|(c, heard)| Some((c, commonest(heard)?.0))).collect()
}

/// Whether a decoded word is no word: silence, breath, noise.
pub(super) fn is_filler(word: &str) -> bool {
    word.starts_with(['<', '[']) || word.starts_with("++")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn english() -> Dictionary {
        let text = "balance B AE L AH N S\nread R EH D\nread(2)  R IY D\nfour F AO R\ntwo T UW\nh EY CH\ndon't D OW N T\n";
        Dictionary::parse(text.to_owned(), true)
    }

    #[test]
    fn alternates_belong_to_their_word() {
        assert_eq!(english().pronounce("read"), ["R EH D", "R IY D"]);
        assert_eq!((base("read(2)"), base("(x)"), base("a")), ("read", "(x)", "a"));
    }

    #[test]
    fn phrases_become_words_however_they_are_written() {
        let dictionary = english();
        assert_eq!(
            dictionary.split("Read  'balance', 42h — don\u{2019}t!"),
            ["read", "balance", "four", "two", "h", "don't"]
        );
        assert_eq!(dictionary.split("Zorblax \u{1f600} \0"), ["zorblax"]);
        assert_eq!(dictionary.pronounce("zorblax").len(), 1);
    }

    #[test]
    fn chinese_is_split_by_the_longest_word() {
        let text = "查询 ch a x vn\n余额 v uxs e\n查 ch a\n余 v\n我 uo\n三 s an\n";
        let dictionary = Dictionary::parse(text.to_owned(), false);
        assert_eq!(dictionary.split("我查询余额，查3 蟊"), ["我", "查询", "余额", "查", "三"]);
    }

    #[test]
    fn characters_known_from_words_only_and_letters_can_be_said() {
        let text = "葡萄 p u t ao\n葡萄牙 p u t ao y a\nD. d i\n三 s an\n";
        let dictionary = Dictionary::parse(text.to_owned(), false);
        assert_eq!(dictionary.split("三D萄"), ["三", "D.", "萄"]);
        assert_eq!(dictionary.pronounce("萄"), ["t ao"]);
        assert!(dictionary.pronounce("蟊").is_empty());
    }

    #[test]
    fn chinese_words_are_written_together() {
        let write = |words: &[&str]| join(words.iter().copied().map(spoken));
        assert_eq!(write(&["查询", "余额"]), "查询余额");
        assert_eq!(write(&["三", "D.", "打印(2)"]), "三 D 打印");
        assert_eq!(write(&["read(2)", "it"]), "read it");
        assert_eq!(write(&[]), "");
    }

    #[test]
    fn rubbish_is_no_dictionary_but_does_no_harm() {
        let dictionary = Dictionary::parse("\0\n(2) a\n x\nword\n\u{feff}w x".to_owned(), true);
        assert!(dictionary.split("").is_empty());
        assert!(dictionary.digits().is_empty());
    }
}
