//! Where spaces stand between words.

/// Text of words: no space where an ideograph stands on either side.
#[must_use]
pub fn join<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let mut out = String::new();
    for word in words {
        let touches = |c: Option<char>| c.is_none_or(ideographic);
        if !(touches(out.chars().last()) || touches(word.chars().next())) {
            out.push(' ');
        } else if let (Some(before), Some(after)) = (out.chars().last(), word.chars().next())
            && ideographic(before) != ideographic(after)
        {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// Chinese characters, kana: scripts written without spaces, each character a token of its own.
#[must_use]
pub fn ideographic(c: char) -> bool {
    matches!(c, '\u{2e80}'..='\u{2fdf}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3fffd}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_stand_between_letters_only() {
        assert_eq!(join(["book", "a", "航", "班", "to", "paris"]), "book a 航班 to paris");
    }
}
