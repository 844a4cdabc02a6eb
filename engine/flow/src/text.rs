//! Text as tokens: case, width, punctuation and contractions out of the way.

/// Longer utterances are cut: nobody says more in one breath.
const LONGEST: usize = 2_000;

/// Splits text into tokens: words in lower case, numbers as written, each Chinese character by itself.
///
/// Full-width forms become narrow ones, English contractions are spelt out, thousands separators vanish and currency and
/// per-cent signs stand alone.
pub(crate) fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().take(LONGEST).map(narrow).flat_map(char::to_lowercase).collect();
    let mut tokens = Vec::new();
    let mut word = String::new();
    for (n, &c) in chars.iter().enumerate() {
        let next = chars.get(n + 1).copied().unwrap_or(' ');
        let in_number = word.chars().last().is_some_and(|c| c.is_ascii_digit()) && next.is_ascii_digit();
        if is_han(c) || matches!(c, '$' | '£' | '€' | '¥' | '%') {
            flush(&mut word, &mut tokens);
            tokens.push(c.to_string());
        } else if c.is_alphanumeric() || (matches!(c, '.' | '-' | '/') && in_number) {
            word.push(c);
        } else if c == '\'' && !word.is_empty() {
            word.push('\'');
        } else if c != ',' || !in_number {
            flush(&mut word, &mut tokens);
        }
    }
    flush(&mut word, &mut tokens);
    tokens
}

/// Whether a character is written without spaces around it.
pub(crate) fn is_han(c: char) -> bool {
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

fn flush(word: &mut String, tokens: &mut Vec<String>) {
    let whole = std::mem::take(word);
    let whole = whole.trim_matches('\'');
    if whole.is_empty() {
        return;
    }
    let Some(cut) = whole.find('\'') else {
        tokens.push(whole.to_owned());
        return;
    };
    let (stem, ending) = (&whole[..cut], &whole[cut + 1..]);
    match (stem, ending) {
        ("can", "t") => tokens.extend(["can", "not"].map(str::to_owned)),
        ("won", "t") => tokens.extend(["will", "not"].map(str::to_owned)),
        (_, "t") if stem.ends_with('n') => {
            tokens.push(stem[..stem.len() - 1].to_owned());
            tokens.push("not".to_owned());
        }
        (_, "m") => tokens.extend([stem, "am"].map(str::to_owned)),
        (_, "re") => tokens.extend([stem, "are"].map(str::to_owned)),
        (_, "s") => tokens.extend([stem, "is"].map(str::to_owned)),
        (_, "d") => tokens.extend([stem, "would"].map(str::to_owned)),
        (_, "ll") => tokens.extend([stem, "will"].map(str::to_owned)),
        (_, "ve") => tokens.extend([stem, "have"].map(str::to_owned)),
        _ => tokens.push(whole.replace('\'', "")),
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
}
