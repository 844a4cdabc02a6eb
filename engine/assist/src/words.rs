//! Words as they are compared: without case, width, punctuation.

/// Longer texts are cut: nobody says more in one breath.
const LONGEST: usize = 4_000;

/// Text as tokens: English words, each Chinese character by itself.
pub(crate) fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut word = String::new();
    for c in text.chars().take(LONGEST).map(narrow).flat_map(char::to_lowercase) {
        let ideograph = matches!(c, '\u{3007}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}');
        if c.is_alphanumeric() && !ideograph {
            word.push(c);
        } else if !matches!(c, '\'' | '\u{2019}') {
            if !word.is_empty() {
                tokens.push(std::mem::take(&mut word));
            }
            if ideograph {
                tokens.push(c.to_string());
            }
        }
    }
    if !word.is_empty() {
        tokens.push(word);
    }
    tokens
}

/// What has to be said: parts in this order, each without a gap, anything between them (`verify ... identity`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Phrase(Vec<Vec<String>>);

impl Phrase {
    /// `None` where it has no words.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.replace('…', "...");
        let parts: Vec<_> = text.split("...").map(tokens).filter(|part| !part.is_empty()).collect();
        (!parts.is_empty()).then_some(Self(parts))
    }

    pub(crate) fn is_in(&self, said: &[String]) -> bool {
        let mut rest = said;
        self.0.iter().all(|part| {
            let at = rest.windows(part.len()).position(|window| window == part.as_slice());
            at.inspect(|at| rest = &rest[at + part.len()..]).is_some()
        })
    }
}

fn narrow(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        '\u{3000}' => ' ',
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(phrase: &str, said: &str) -> bool {
        Phrase::parse(phrase).unwrap().is_in(&tokens(said))
    }

    #[test]
    fn case_width_and_punctuation_make_no_difference() {
        assert!(says("I'm sorry", "Well, I’m SORRY!"));
        assert!(says("ＡＢＣ", "abc"));
        assert!(says("非常抱歉", "我们，非常抱歉。"));
    }

    #[test]
    fn whole_words_count_and_their_order() {
        assert!(!says("sorry", "sorrybook"));
        assert!(says("verify ... identity", "let me verify your identity"));
        assert!(!says("verify ... identity", "your identity I verify"));
        assert!(!says("一...一", "一"));
    }

    #[test]
    fn a_phrase_without_words_is_none() {
        assert_eq!(Phrase::parse(" ... !"), None);
    }
}
