//! Text as tokens: case, width, punctuation and contractions out of the way.

use std::ops::Range;

/// Longer utterances are cut: nobody says more in one breath.
const LONGEST: usize = 2_000;

/// A word of a text, and where it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// In lower case and narrow forms.
    pub text: String,
    /// Bytes of the text: what `don't` is spelt out to comes from the whole of it.
    pub at: Range<usize>,
}

/// Splits text into tokens: words in lower case, numbers as written, each Chinese character by itself.
///
/// Full-width forms become narrow ones, English contractions are spelt out, thousands separators vanish and currency and
/// per-cent signs stand alone.
pub(crate) fn tokens(text: &str) -> Vec<String> {
    tokens_at(text).into_iter().map(|token| token.text).collect()
}

/// Splits text into tokens that know where they stand: words in lower case, numbers as written, each Chinese character
/// by itself. Texts of more than 2000 characters are cut.
#[must_use]
pub fn tokens_at(text: &str) -> Vec<Token> {
    let chars: Vec<(usize, char)> = text.char_indices().take(LONGEST).collect();
    let mut tokens = Vec::new();
    let mut word = Word::default();
    for (n, &(at, written)) in chars.iter().enumerate() {
        let next = chars.get(n + 1).map_or(' ', |(_, c)| narrow(*c));
        for c in narrow(written).to_lowercase() {
            let in_number = word.text.ends_with(|c: char| c.is_ascii_digit()) && next.is_ascii_digit();
            if is_han(c) || matches!(c, '$' | '£' | '€' | '¥' | '%') {
                word.flush(&mut tokens);
                tokens.push(Token { text: c.to_string(), at: at..at + written.len_utf8() });
            } else if c.is_alphanumeric()
                || (matches!(c, '.' | '-' | '/') && in_number)
                || (c == '\'' && !word.text.is_empty())
            {
                word.push(c, at, at + written.len_utf8());
            } else if c != ',' || !in_number {
                word.flush(&mut tokens);
            }
        }
    }
    word.flush(&mut tokens);
    tokens
}

/// Whether a character is written without spaces around it.
#[must_use]
pub fn is_han(c: char) -> bool {
    matches!(c, '\u{3007}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}')
}

/// Tokens as text again: words apart, characters together.
pub(crate) fn join(tokens: &[String]) -> String {
    let mut text = String::new();
    let mut last_wide = true;
    for token in tokens {
        let wide = token.chars().next().is_some_and(is_han);
        let touching = wide && last_wide;
        if !text.is_empty() && !touching {
            text.push(' ');
        }
        text.push_str(token);
        last_wide = wide;
    }
    text
}

fn narrow(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        '\u{3000}' => ' ',
        '\u{2018}' | '\u{2019}' => '\'',
        '\u{ffe5}' => '¥',
        '\u{ffe1}' => '£',
        _ => c,
    }
}

/// A word that is being read.
#[derive(Default)]
struct Word {
    text: String,
    at: Range<usize>,
}

impl Word {
    fn push(&mut self, c: char, start: usize, end: usize) {
        if self.text.is_empty() {
            self.at.start = start;
        }
        // A quotation mark behind a word is none of its own.
        if c != '\'' {
            self.at.end = end;
        }
        self.text.push(c);
    }

    fn flush(&mut self, tokens: &mut Vec<Token>) {
        let whole = std::mem::take(&mut self.text);
        let whole = whole.trim_matches('\'');
        if whole.is_empty() {
            return;
        }
        let at = self.at.clone();
        let mut put = |text: &str| tokens.push(Token { text: text.to_owned(), at: at.clone() });
        let Some(cut) = whole.find('\'') else {
            put(whole);
            return;
        };
        let (stem, ending) = (&whole[..cut], &whole[cut + 1..]);
        let (first, second) = match (stem, ending) {
            ("can", "t") => ("can", "not"),
            ("won", "t") => ("will", "not"),
            (_, "t") if stem.ends_with('n') => (&stem[..stem.len() - 1], "not"),
            (_, "m") => (stem, "am"),
            (_, "re") => (stem, "are"),
            (_, "s") => (stem, "is"),
            (_, "d") => (stem, "would"),
            (_, "ll") => (stem, "will"),
            (_, "ve") => (stem, "have"),
            _ => {
                put(&whole.replace('\'', ""));
                return;
            }
        };
        // `n't` alone has no stem.
        if !first.is_empty() {
            put(first);
        }
        put(second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_habits_do_not_matter() {
        for (text, expected) in [
            ("What's my BALANCE?", "what is my balance"),
            ("I can't, don't, won't!", "i can not do not will not"),
            ("twenty-one", "twenty one"),
            ("$1,250.50, please", "$ 1250.50 please"),
            ("ＡＢＣ　１２３", "abc 123"),
            ("我要转账２００元。", "我要转账 200 元"),
            ("on 2026-03-05.", "on 2026-03-05"),
            ("'quoted' o'clock", "quoted oclock"),
            ("百分之3.5%", "百分之 3.5 %"),
        ] {
            let words = tokens(text);
            assert_eq!(join(&words), expected, "{text}");
        }
    }

    #[test]
    fn tokens_know_where_they_were_read() {
        let text = "I don't, 我转２００元";
        let places: Vec<(String, &str)> =
            tokens_at(text).into_iter().map(|token| (token.text, &text[token.at])).collect();
        let expected = [
            ("i", "I"),
            ("do", "don't"),
            ("not", "don't"),
            ("我", "我"),
            ("转", "转"),
            ("200", "２００"),
            ("元", "元"),
        ];
        assert_eq!(places, expected.map(|(token, place)| (token.to_owned(), place)));
    }
}
