//! A turn's words, ready to be searched: tokens, clauses, times.

use std::cell::OnceCell;
use std::ops::Range;

use antiphon_engine_flow::{Token, is_han, tokens_at};
use antiphon_engine_measure::Turn;
use antiphon_media_frame::{MediaTime, Pii};
use antiphon_models_speech::{Utterance, Word};

use crate::result::HeardWord;
use crate::sound::Readings;
use crate::wire::whole;

/// One turn as tokens.
pub(crate) struct Said {
    pub(crate) tokens: Vec<Token>,
    /// By token: which clause it is in. Punctuation divides clauses.
    pub(crate) clauses: Vec<u32>,
    /// Every token with a space on either side, so that whole tokens can be searched for.
    pub(crate) spaced: String,
    /// Where each token begins in `spaced`.
    pub(crate) starts: Vec<usize>,
    plain: OnceCell<Plain>,
    places: OnceCell<Vec<Place>>,
    readings: OnceCell<Vec<Readings>>,
}

/// Tokens as a text to be read by regular expressions: words apart, characters together.
struct Plain {
    text: String,
    starts: Vec<usize>,
}

/// Where a token is heard.
#[derive(Clone, Debug)]
struct Place {
    words: Range<usize>,
    start: MediaTime,
    end: MediaTime,
}

impl Said {
    pub(crate) fn new(text: &str) -> Self {
        let tokens = tokens_at(text);
        let mut clauses = Vec::with_capacity(tokens.len());
        let mut spaced = String::with_capacity(text.len() * 2 + 1);
        let mut starts = Vec::with_capacity(tokens.len());
        let (mut clause, mut last) = (0, 0);
        spaced.push(' ');
        for token in &tokens {
            if token.at.start > last && text[last..token.at.start].chars().any(divides) {
                clause += 1;
            }
            last = token.at.end.max(last);
            clauses.push(clause);
            starts.push(spaced.len());
            spaced.push_str(&token.text);
            spaced.push(' ');
        }
        Self {
            tokens,
            clauses,
            spaced,
            starts,
            plain: OnceCell::new(),
            places: OnceCell::new(),
            readings: OnceCell::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Characters, where it is mostly written without spaces; else words.
    pub(crate) fn is_dense(&self) -> bool {
        let dense = self.tokens.iter().filter(|token| token.text.chars().all(is_han)).count();
        dense * 2 > self.tokens.len()
    }

    /// The text that regular expressions read: lower case, without punctuation.
    pub(crate) fn plain(&self) -> &str {
        &self.with_plain().text
    }

    /// The tokens that bytes of [`Said::plain`] belong to.
    pub(crate) fn plain_tokens(&self, at: Range<usize>) -> Range<usize> {
        let starts = &self.with_plain().starts;
        let first = starts.partition_point(|start| *start <= at.start).saturating_sub(1);
        let end = starts.partition_point(|start| *start < at.end).max(first + 1);
        first..end.min(self.len())
    }

    fn with_plain(&self) -> &Plain {
        self.plain.get_or_init(|| {
            let mut text = String::with_capacity(self.spaced.len());
            let mut starts = Vec::with_capacity(self.len());
            let mut wide = true;
            for token in &self.tokens {
                let now = token.text.starts_with(is_han);
                if !(text.is_empty() || wide || now) {
                    text.push(' ');
                }
                starts.push(text.len());
                text.push_str(&token.text);
                wide = now;
            }
            Plain { text, starts }
        })
    }

    /// The sounds of each token.
    pub(crate) fn readings(&self) -> &[Readings] {
        self.readings.get_or_init(|| self.tokens.iter().map(|token| Readings::of(&token.text)).collect())
    }

    /// When these tokens are heard.
    pub(crate) fn heard(&self, turn: &Turn, tokens: &Range<usize>) -> (MediaTime, MediaTime) {
        let places = self.places(&turn.said);
        let Some(places) = places.get(tokens.clone()).filter(|places| !places.is_empty()) else {
            return (turn.said.start, turn.said.end);
        };
        let start = places.iter().map(|place| place.start).min().unwrap_or(turn.said.start);
        (start, places.iter().map(|place| place.end).max().unwrap_or(turn.said.end))
    }

    /// The recognised words that these tokens come from.
    pub(crate) fn words<'a>(&self, said: &'a Utterance, tokens: &Range<usize>) -> &'a [Word] {
        let places = self.places(said).get(tokens.clone()).unwrap_or_default();
        let of = places.iter().filter(|place| !place.words.is_empty());
        let start = of.clone().map(|place| place.words.start).min().unwrap_or(0);
        let end = of.map(|place| place.words.end).max().unwrap_or(0);
        said.words.get(start..end).unwrap_or_default()
    }

    /// What was said there, as it is written.
    pub(crate) fn quote<'a>(&self, said: &'a Utterance, tokens: &Range<usize>) -> &'a str {
        let Some(tokens) = self.tokens.get(tokens.clone()).filter(|tokens| !tokens.is_empty()) else {
            return "";
        };
        let start = tokens.iter().map(|token| token.at.start).min().unwrap_or(0);
        let end = tokens.iter().map(|token| token.at.end).max().unwrap_or(0);
        said.text.get(start..end).unwrap_or_default()
    }

    fn places(&self, said: &Utterance) -> &[Place] {
        self.places.get_or_init(|| places(&self.tokens, said))
    }
}

/// Words as results carry them.
pub(crate) fn heard_words(words: &[Word]) -> Vec<HeardWord> {
    let heard = |word: &Word| HeardWord {
        text: Pii::new(word.text.clone()),
        start: whole(word.start),
        end: whole(word.end),
        confidence: word.confidence,
    };
    words.iter().map(heard).collect()
}

/// Whether a character ends a clause.
fn divides(c: char) -> bool {
    matches!(
        c,
        ',' | '.' | ';' | ':' | '?' | '!' | '，' | '。' | '；' | '：' | '？' | '！' | '…' | '—' | '\n'
    )
}

/// Lines the tokens of the text up with those of the words. The text may be written otherwise than the words were heard
/// (figures, spelling): what lies between two places that agree belongs together, and takes its time together.
fn places(tokens: &[Token], said: &Utterance) -> Vec<Place> {
    let mut heard: Vec<(String, usize)> = Vec::new();
    for (n, word) in said.words.iter().enumerate() {
        heard.extend(tokens_at(&word.text).into_iter().map(|token| (token.text, n)));
    }
    let mut places: Vec<Option<Range<usize>>> = vec![None; tokens.len()];
    let (mut i, mut j) = (0, 0);
    while i < tokens.len() && j < heard.len() {
        if tokens[i].text == heard[j].0 {
            places[i] = Some(heard[j].1..heard[j].1 + 1);
            (i, j) = (i + 1, j + 1);
            continue;
        }
        // The nearest place where they agree again.
        let (di, dj) = (1..=2 * FARTHEST)
            .flat_map(|sum| (0..=sum).map(move |di| (di, sum - di)))
            .filter(|(di, dj)| *di <= FARTHEST && *dj <= FARTHEST)
            .find(|(di, dj)| matches!((tokens.get(i + di), heard.get(j + dj)), (Some(a), Some(b)) if a.text == b.0))
            .unwrap_or((tokens.len() - i, heard.len() - j));
        let words = if dj > 0 { heard[j].1..heard[j + dj - 1].1 + 1 } else { 0..0 };
        places[i..i + di].fill(Some(words));
        (i, j) = (i + di, j + dj);
    }
    let length = tokens.last().map_or(1, |token| token.at.end.max(1)) as i128;
    let span = i128::from(said.end.offset_from(said.start));
    let at = |byte: usize| said.start.shifted((span * byte as i128 / length) as i64);
    let mut out: Vec<Place> = Vec::with_capacity(tokens.len());
    for (token, words) in tokens.iter().zip(places) {
        let words = words.unwrap_or(0..0);
        let of = said.words.get(words.clone()).unwrap_or_default();
        let (start, end) = match (of.first(), of.last()) {
            (Some(first), Some(last)) => (first.start, last.end),
            // Between words it is where the one before it ends; without any, where its letters stand in the text.
            _ => match out.last() {
                Some(before) if !said.words.is_empty() => (before.end, before.end),
                _ if !said.words.is_empty() => (said.start, said.start),
                _ => (at(token.at.start), at(token.at.end)),
            },
        };
        out.push(Place { words, start, end });
    }
    out
}

/// How many tokens of a text may be written otherwise in a row.
const FARTHEST: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str, start: i64, end: i64) -> Word {
        Word {
            text: text.to_owned(),
            start: MediaTime::from_millis(start),
            end: MediaTime::from_millis(end),
            confidence: 1.0,
        }
    }

    fn turn(text: &str, words: Vec<Word>) -> Turn {
        let (start, end) = (
            words.first().map_or(MediaTime::ZERO, |w| w.start),
            words.last().map_or(MediaTime::from_millis(1000), |w| w.end),
        );
        let said = Utterance { text: text.to_owned(), words, start, end, confidence: 1.0, language: None };
        Turn { track: 0, said, tone: None }
    }

    #[test]
    fn figures_take_the_time_of_the_words_they_were_made_of() {
        let words = vec![
            word("转", 0, 200),
            word("两", 200, 400),
            word("万", 400, 600),
            word("五", 600, 800),
            word("元", 800, 900),
        ];
        let turn = turn("转25000元。", words);
        let said = Said::new(&turn.said.text);
        let (start, end) = said.heard(&turn, &(1..2));
        assert_eq!((start.millis(), end.millis()), (200, 800));
        assert_eq!(said.words(&turn.said, &(1..2)).len(), 3);
        assert_eq!(said.quote(&turn.said, &(0..2)), "转25000");
        assert_eq!(said.heard(&turn, &(2..3)).0.millis(), 800);
    }

    #[test]
    fn without_words_letters_stand_for_time() {
        let turn = turn("abcde fghij", Vec::new());
        let said = Said::new(&turn.said.text);
        assert_eq!(said.heard(&turn, &(0..1)).1.millis(), 454);
        assert_eq!(said.heard(&turn, &(1..2)).1.millis(), 1000);
    }

    #[test]
    fn punctuation_divides_clauses() {
        let said = Said::new("不，我保证。It isn't 3.5%, no");
        assert_eq!(said.clauses, [0, 1, 1, 1, 2, 2, 2, 2, 2, 3]);
    }
}
