//! Text as units that are counted and compared: characters of Chinese and Japanese, words of everything else.

use antiphon_models_speech::ideographic;

/// A unit's place in [`Text::lower`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unit {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// A character of a script without spaces.
    pub(crate) dense: bool,
    /// A mark stands before it: no phrase reaches across.
    pub(crate) apart: bool,
}

/// A text in small letters, of the same length in octets as the one it was made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Text {
    pub(crate) lower: String,
    pub(crate) units: Vec<Unit>,
}

fn small(c: char) -> char {
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) if one.len_utf8() == c.len_utf8() => one,
        _ => c,
    }
}

impl Text {
    pub(crate) fn new(text: &str) -> Self {
        let lower: String = text.chars().map(small).collect();
        let mut units: Vec<Unit> = Vec::new();
        let (mut open, mut apart) = (false, true);
        for (start, c) in lower.char_indices() {
            let end = start + c.len_utf8();
            let dense = ideographic(c) && c.is_alphanumeric();
            if dense {
                units.push(Unit { start, end, dense, apart });
                (open, apart) = (false, false);
            } else if c.is_alphanumeric() || (open && matches!(c, '\'' | '’' | '-' | '_')) {
                match units.last_mut() {
                    Some(last) if open => last.end = end,
                    _ => units.push(Unit { start, end, dense, apart }),
                }
                (open, apart) = (true, false);
            } else {
                open = false;
                apart |= !c.is_whitespace();
            }
        }
        Self { lower, units }
    }

    pub(crate) fn unit(&self, index: usize) -> &str {
        &self.lower[self.units[index].start..self.units[index].end]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.units.iter().map(|unit| &self.lower[unit.start..unit.end])
    }

    pub(crate) fn len(&self) -> usize {
        self.units.len()
    }

    /// Whether the phrase stands in it: as characters of a script without spaces, else as whole words.
    pub(crate) fn says(&self, phrase: &str) -> bool {
        self.places(phrase).next().is_some()
    }

    /// Where the phrase begins, as indices of octets; see [`Self::says`].
    pub(crate) fn places<'a>(&'a self, phrase: &'a str) -> impl Iterator<Item = usize> + 'a {
        let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() && !ideographic(c));
        self.lower.match_indices(phrase).map(|(at, _)| at).filter(move |&at| {
            let end = at + phrase.len();
            let cut_before = word(phrase.chars().next()) && word(self.lower[..at].chars().next_back());
            let cut_after = word(phrase.chars().next_back()) && word(self.lower[end..].chars().next());
            !cut_before && !cut_after
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_and_words_are_units() {
        let text = Text::new("你好，I'm on VISA-gold 24小时。");
        let units: Vec<&str> = text.iter().collect();
        assert_eq!(units, ["你", "好", "i'm", "on", "visa-gold", "24", "小", "时"]);
        assert!(text.units[2].apart && !text.units[3].apart);
    }

    #[test]
    fn phrases_are_found_as_whole_words_and_as_characters() {
        assert!(Text::new("Please HOLD on.").says("hold on"));
        assert!(!Text::new("the household one").says("hold on"));
        assert!(Text::new("您先稍等一下").says("稍等"));
    }

    #[test]
    fn letters_whose_small_form_is_longer_stay() {
        let text = Text::new("İstanbul ÄRGER");
        assert_eq!(text.lower.len(), "İstanbul ÄRGER".len());
        assert_eq!(text.unit(1), "ärger");
    }
}
