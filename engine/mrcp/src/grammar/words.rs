//! Words as grammars and recognisers write them, made alike.

/// Longest text that is split, in characters: nobody says more in one breath.
const LONGEST: usize = 2_000;

/// The words of a text: small letters, no marks, each Chinese character and each figure by itself, spoken figures as
/// figures.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    for c in text.chars().take(LONGEST).map(narrow).flat_map(char::to_lowercase) {
        let alone = is_han(c) || c.is_ascii_digit();
        if !alone && (c.is_alphanumeric() || (c == '\'' && !word.is_empty()) || c == '*' || c == '#') {
            word.push(c);
            continue;
        }
        flush(&mut word, &mut words);
        if alone {
            words.push(figure(c).to_string());
        }
    }
    flush(&mut word, &mut words);
    words
}

fn flush(word: &mut String, words: &mut Vec<String>) {
    let whole = std::mem::take(word);
    let whole = whole.trim_matches('\'');
    if !whole.is_empty() {
        words.push(spelt(whole).map_or_else(|| whole.to_owned(), str::to_owned));
    }
}

/// Whether a word is one figure.
pub(super) fn is_figure(word: &str) -> bool {
    matches!(word.as_bytes(), [b'0'..=b'9'])
}

/// The spoken form of a word that was made a figure.
pub(super) fn spoken(word: &str, chinese: bool) -> &str {
    let Some(n) = Some(word).filter(|word| is_figure(word)).and_then(|word| word.parse::<usize>().ok())
    else {
        return word;
    };
    if chinese { CHINESE[n] } else { ENGLISH[n] }
}

const ENGLISH: [&str; 10] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
const CHINESE: [&str; 10] = ["零", "一", "二", "三", "四", "五", "六", "七", "八", "九"];
const FIGURES: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

fn spelt(word: &str) -> Option<&'static str> {
    if word == "oh" {
        return Some(FIGURES[0]);
    }
    ENGLISH.iter().position(|known| *known == word).map(|n| FIGURES[n])
}

fn figure(c: char) -> char {
    match c {
        '零' | '〇' => '0',
        '一' | '幺' => '1',
        '二' => '2',
        '三' => '3',
        '四' => '4',
        '五' => '5',
        '六' => '6',
        '七' => '7',
        '八' => '8',
        '九' => '9',
        other => other,
    }
}

fn is_han(c: char) -> bool {
    matches!(c, '\u{3007}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}')
}

fn narrow(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        '\u{2018}' | '\u{2019}' => '\'',
        '\u{3000}' => ' ',
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_of_writing_are_made_alike() {
        for (text, expected) in [
            ("What's my BALANCE?", "what's my balance"),
            ("four two oh, please", "4 2 0 please"),
            ("dial 427", "dial 4 2 7"),
            ("查询余额，谢谢", "查 询 余 额 谢 谢"),
            ("一二三 ＡＢＣ", "1 2 3 abc"),
            ("New York-Boston", "new york boston"),
        ] {
            assert_eq!(split(text).join(" "), expected, "{text}");
        }
    }
}
