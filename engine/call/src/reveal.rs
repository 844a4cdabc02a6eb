//! The words of our own prompts on the call's clock.
//!
//! What we say is known to the letter, so it is not recognised: its words are spread over the prompt's playing time in
//! proportion to their length. A prompt that is cut keeps the words that were heard.

use antiphon_media_frame::{MediaTime, Span};
use antiphon_models_speech::Word;

/// A prompt being played.
pub(crate) struct Reveal {
    text: String,
    start: MediaTime,
    length: Span,
    /// End of each word in bytes of `text` and in characters counted from the start.
    words: Vec<(std::ops::Range<usize>, usize)>,
    total: usize,
}

impl Reveal {
    pub(crate) fn new(text: String, start: MediaTime, length: Span) -> Self {
        let mut words: Vec<(std::ops::Range<usize>, usize)> = Vec::new();
        let mut total = 0;
        for range in split(&text) {
            // One for the pause between words, so that a word of one letter is not instantaneous.
            total += text[range.clone()].chars().count() + 1;
            words.push((range, total));
        }
        Self { text, start, length, words, total }
    }

    /// Takes the true length where only an estimate was known.
    pub(crate) fn settle(&mut self, length: Span) {
        self.length = length;
    }

    /// How many words have begun by `now`.
    pub(crate) fn begun_by(&self, now: MediaTime) -> usize {
        let starts = std::iter::once(0).chain(self.words.iter().map(|(_, weight)| *weight));
        starts.take(self.words.len()).take_while(|weight| self.time(*weight) <= now).count()
    }

    /// When the word after the first `shown` begins; `None` when there is none.
    pub(crate) fn next_word(&self, shown: usize) -> Option<MediaTime> {
        if shown >= self.words.len() {
            return None;
        }
        Some(shown.checked_sub(1).map_or(self.start, |last| self.time(self.words[last].1)))
    }

    /// The words that were heard when the prompt had played for `played`, with times.
    pub(crate) fn words_within(&self, played: Span) -> Vec<Word> {
        let heard = self.start + played;
        let mut before = 0;
        let mut words = Vec::with_capacity(self.words.len());
        for (range, weight) in &self.words {
            let (start, end) = (self.time(before), self.time(*weight));
            // Half a word heard is a word heard; rounding must not drop the last one of a whole prompt.
            if start + Span::from_nanos(end.since(start).nanos() / 2) > heard {
                break;
            }
            words.push(Word {
                text: self.text[range.clone()].to_owned(),
                start,
                end: end.min(heard),
                confidence: 1.0,
            });
            before = *weight;
        }
        words
    }

    pub(crate) fn start(&self) -> MediaTime {
        self.start
    }

    /// The text up to the last of `count` words, punctuation between them included.
    pub(crate) fn text_of(&self, count: usize) -> &str {
        match count.checked_sub(1).and_then(|last| self.words.get(last)) {
            Some(_) if count == self.words.len() => self.text.trim(),
            Some((range, _)) => self.text[..range.end].trim(),
            None => "",
        }
    }

    fn time(&self, weight: usize) -> MediaTime {
        let nanos = u128::from(self.length.nanos()) * weight as u128 / self.total.max(1) as u128;
        self.start + Span::from_nanos(nanos as u64)
    }
}

/// Words by white space and punctuation; Chinese and Japanese text, which has none, by character.
fn split(text: &str) -> Vec<std::ops::Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices() {
        let inside = c.is_alphanumeric() || matches!(c, '\'' | '’' | '$' | '%' | '-' | '.' | ',');
        if is_ideograph(c) {
            if let Some(from) = start.take() {
                words.push(from..at);
            }
            words.push(at..at + c.len_utf8());
        } else if inside {
            start.get_or_insert(at);
        } else if let Some(from) = start.take() {
            words.push(from..at);
        }
    }
    if let Some(from) = start {
        words.push(from..text.len());
    }
    words.retain_mut(|range| {
        let word = &text[range.clone()];
        let trimmed = word.trim_end_matches(['.', ',', '-', '\'']);
        range.end -= word.len() - trimmed.len();
        !text[range.clone()].is_empty()
    });
    words
}

fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{3040}'..='\u{30ff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> MediaTime {
        MediaTime::from_millis(millis)
    }

    #[test]
    fn words_fill_the_prompt_in_order() {
        let reveal = Reveal::new("Hello, your balance is $1,234.50.".into(), at(1_000), Span::from_secs(2));
        let words = reveal.words_within(Span::from_secs(2));
        let texts: Vec<_> = words.iter().map(|w| w.text.as_str()).collect();
        assert_eq!(texts, ["Hello", "your", "balance", "is", "$1,234.50"]);
        assert_eq!(words[0].start, at(1_000));
        assert_eq!(words[4].end, at(3_000));
        assert!(words.windows(2).all(|w| w[0].end == w[1].start));
    }

    #[test]
    fn a_cut_prompt_keeps_what_was_heard() {
        let reveal = Reveal::new("one two three four".into(), at(0), Span::from_secs(4));
        let words = reveal.words_within(Span::from_millis(1_900));
        assert_eq!(reveal.text_of(words.len()), "one two");
        assert!(words[1].end <= at(1_900));
        assert!(reveal.words_within(Span::ZERO).is_empty());
        assert_eq!(reveal.text_of(0), "");
    }

    #[test]
    fn chinese_is_revealed_by_character() {
        let reveal = Reveal::new("您好，余额是25元。".into(), at(0), Span::from_secs(1));
        let texts: Vec<_> = reveal.words_within(Span::from_secs(1)).into_iter().map(|w| w.text).collect();
        assert_eq!(texts, ["您", "好", "余", "额", "是", "25", "元"]);
        assert_eq!(reveal.text_of(reveal.begun_by(at(0))), "您");
        assert_eq!(reveal.text_of(reveal.begun_by(at(5_000))), "您好，余额是25元。");
        assert_eq!(reveal.next_word(0), Some(at(0)));
        assert_eq!(reveal.next_word(7), None);
    }
}
