//! Text as units that are counted and compared: characters of Chinese and Japanese, words of everything else.

use std::ops::Range;

use aho_corasick::AhoCorasick;
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
}

/// Phrases that are looked for all at once: as characters of a script without spaces, else as whole words.
pub(crate) struct Phrases {
    automaton: AhoCorasick,
}

impl Phrases {
    pub(crate) fn new<'a>(phrases: impl IntoIterator<Item = &'a str>) -> Self {
        // Fails only for more phrases than memory holds: these are lists of ours.
        let automaton = AhoCorasick::new(phrases).expect("a short list of phrases makes an automaton");
        Self { automaton }
    }

    /// Which phrase of the list stands where, in octets; of phrases that overlap, all.
    pub(crate) fn found<'a>(&'a self, text: &'a Text) -> impl Iterator<Item = (usize, Range<usize>)> + 'a {
        let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() && !ideographic(c));
        let lower = text.lower.as_str();
        self.automaton.find_overlapping_iter(lower).filter_map(move |found| {
            let (said, at) = (&lower[found.range()], found.range());
            let cut_before = word(said.chars().next()) && word(lower[..at.start].chars().next_back());
            let cut_after = word(said.chars().next_back()) && word(lower[at.end..].chars().next());
            (!cut_before && !cut_after).then(|| (found.pattern().as_usize(), at))
        })
    }

    /// Whether any of them stands in the text.
    pub(crate) fn any(&self, text: &Text) -> bool {
        self.found(text).next().is_some()
    }

    /// How many different ones stand in the text, so many at most.
    pub(crate) fn count(&self, text: &Text, most: usize) -> usize {
        let mut seen: Vec<usize> = Vec::new();
        for (phrase, _) in self.found(text) {
            if seen.len() == most {
                break;
            }
            if !seen.contains(&phrase) {
                seen.push(phrase);
            }
        }
        seen.len()
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
        let phrases = Phrases::new(["hold on", "稍等", "one"]);
        let found =
            |text: &str| phrases.found(&Text::new(text)).map(|(phrase, _)| phrase).collect::<Vec<_>>();
        assert_eq!(found("Please HOLD on."), [0]);
        assert_eq!(found("the household one"), [2]);
        assert_eq!(found("您先稍等一下，hold on one"), [1, 0, 2]);
        assert_eq!(phrases.count(&Text::new("one one hold on"), 5), 2);
        assert!(!phrases.any(&Text::new("phones")));
    }

    #[test]
    fn letters_whose_small_form_is_longer_stay() {
        let text = Text::new("İstanbul ÄRGER");
        assert_eq!(text.lower.len(), "İstanbul ÄRGER".len());
        assert_eq!(text.unit(1), "ärger");
    }
}
