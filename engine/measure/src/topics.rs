//! What a conversation is about: phrases said more than once that ordinary talk does not say.
//!
//! Chinese is taken by n-grams of characters, not by a segmenter: a dictionary of megabytes would cut names of products,
//! which are what calls are about, into words that it knows, while what is said twice and never apart is a phrase in
//! either script. Phrases do not reach across marks, nor across words of [`Ordinary`] that stand between.

use std::collections::HashMap;

use crate::Topic;
use crate::floor::Floor;
use crate::ordinary::{Keyness, Ordinary};

/// Units of a phrase at most: characters, words.
const CHARACTERS: usize = 8;
const WORDS: usize = 4;
/// Topics at most.
const TOPICS: usize = 20;
/// A phrase that is part of a longer one nearly as often as it is said does not count for itself.
const PART: f32 = 0.75;

/// A unit on its way into phrases.
struct Token {
    turn: usize,
    unit: usize,
    /// The same number for the same unit.
    id: u32,
    weight: f32,
    dense: bool,
    /// No phrase reaches from the one before to this.
    apart: bool,
}

struct Gram {
    count: u32,
    /// Where it is said first: index of a token.
    first: usize,
    units: usize,
    weight: f32,
    /// How often the longer phrase that it is most often part of is said.
    within: u32,
    admitted: bool,
    turns: Vec<usize>,
}

impl Floor<'_> {
    /// A phrase's weight is how often it is said, times the mean weight of its units against ordinary talk, times the root
    /// of their number.
    pub(crate) fn topics(&self) -> Vec<Topic> {
        let ordinary = Ordinary::lists();
        let tokens = self.tokens(ordinary);
        let mut grams: Vec<Gram> = Vec::new();
        // The phrase of the present length that begins at each token; of a length more, only where the shorter one is
        // said twice: so the work is that of the text's length, not of all its phrases.
        let mut at: Vec<Option<usize>> = vec![None; tokens.len()];
        for length in 1..=CHARACTERS {
            let mut known: HashMap<(usize, u32), usize> = HashMap::new();
            let mut longer: Vec<Option<usize>> = vec![None; tokens.len()];
            for start in 0..tokens.len().saturating_sub(length - 1) {
                let last = start + length - 1;
                let prefix = at[start];
                let repeated = |gram: Option<usize>| gram.is_some_and(|gram| grams[gram].count > 1);
                if length > 1 && (tokens[last].apart || !repeated(prefix) || !repeated(at[start + 1])) {
                    continue;
                }
                let gram =
                    *known.entry((prefix.unwrap_or(usize::MAX), tokens[last].id)).or_insert_with(|| {
                        grams.push(self.gram(&tokens[start..=last], start, ordinary));
                        grams.len() - 1
                    });
                let turn = tokens[start].turn;
                let gram_at = &mut grams[gram];
                gram_at.count += 1;
                if gram_at.turns.last() != Some(&turn) {
                    gram_at.turns.push(turn);
                }
                longer[start] = Some(gram);
            }
            for start in 0..tokens.len().saturating_sub(1) {
                let Some(gram) = longer[start].filter(|&gram| length > 1 && grams[gram].admitted) else {
                    continue;
                };
                let count = grams[gram].count;
                for part in [at[start], at[start + 1]].into_iter().flatten() {
                    grams[part].within = grams[part].within.max(count);
                }
            }
            at = longer;
        }
        let mut topics: Vec<Topic> = grams
            .into_iter()
            .filter(|gram| gram.admitted && gram.count > 1 && (gram.within as f32) < PART * gram.count as f32)
            .map(|gram| {
                let first = &tokens[gram.first];
                let last = &tokens[gram.first + gram.units - 1];
                let units = &self.texts[first.turn].units;
                // Small letters are as long as those said.
                let text = &self.conversation.turns[first.turn].said.text
                    [units[first.unit].start..units[last.unit].end];
                let weight = gram.count as f32 * gram.weight * (gram.units as f32).sqrt();
                Topic { text: text.to_owned(), weight, turns: gram.turns }
            })
            .collect();
        topics.sort_by(|a, b| b.weight.total_cmp(&a.weight).then_with(|| a.text.cmp(&b.text)));
        topics.truncate(TOPICS);
        topics
    }

    fn tokens(&self, ordinary: &Ordinary) -> Vec<Token> {
        let mut ids: HashMap<&str, u32> = HashMap::new();
        let mut tokens = Vec::new();
        for (turn, text) in self.texts.iter().enumerate().filter(|&(turn, _)| !self.listening[turn]) {
            let mut apart = true;
            for (index, unit) in text.units.iter().enumerate() {
                let said = text.unit(index);
                let keyness = ordinary.of(said);
                if keyness == Keyness::Between {
                    apart = true;
                    continue;
                }
                let next = ids.len() as u32;
                let id = *ids.entry(said).or_insert(next);
                let apart = std::mem::take(&mut apart) || unit.apart;
                tokens.push(Token {
                    turn,
                    unit: index,
                    id,
                    weight: keyness.weight(),
                    dense: unit.dense,
                    apart,
                });
            }
        }
        tokens
    }

    fn gram(&self, tokens: &[Token], first: usize, ordinary: &Ordinary) -> Gram {
        let text = &self.texts[tokens[0].turn];
        let (head, tail) = (&tokens[0], &tokens[tokens.len() - 1]);
        let phrase = &text.lower[text.units[head.unit].start..text.units[tail.unit].end];
        let words = tokens.iter().filter(|token| !token.dense).count();
        let telling = Keyness::Telling.weight();
        let admitted = words <= WORDS
            && match words {
                0 => tokens.len() > 1 && !ordinary.edges(phrase),
                _ => {
                    let ends = |token: &Token| token.dense || token.weight >= telling;
                    phrase.chars().count() > 2 && ends(head) && ends(tail)
                }
            };
        let weight = tokens.iter().map(|token| token.weight).sum::<f32>() / tokens.len() as f32;
        Gram { count: 0, first, units: tokens.len(), weight, within: 0, admitted, turns: Vec::new() }
    }
}
