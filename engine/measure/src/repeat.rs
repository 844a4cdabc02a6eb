//! Who says again what has been said.

use std::collections::VecDeque;

use crate::Repeat;
use crate::floor::Floor;
use crate::units::Text;

/// Earlier turns of the same track that a turn is compared with.
const EARLIER: usize = 32;
/// Units that are compared, from the beginning.
const LONGEST: usize = 400;
/// Less is no repeat.
const LEAST: f32 = 0.5;
/// Shorter turns are greetings and answers, said again by everybody: words, and characters of a script without spaces.
const WORDS: usize = 3;
const CHARACTERS: usize = 4;

/// Units and pairs of neighbours, hashed, in order.
#[derive(Debug)]
struct Grams(Vec<u64>);

fn hash(seed: u64, text: &str) -> u64 {
    // FNV-1a: the same everywhere and for ever, which the standard library's hasher does not promise.
    text.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Grams {
    fn new(text: &Text) -> Self {
        const SEED: u64 = 0xcbf2_9ce4_8422_2325;
        let units: Vec<u64> = text.iter().take(LONGEST).map(|unit| hash(SEED, unit)).collect();
        let pairs = units
            .windows(2)
            .map(|pair| (pair[0] ^ pair[1].rotate_left(23)).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut grams: Vec<u64> = pairs.collect();
        grams.extend(units);
        grams.sort_unstable();
        Self(grams)
    }

    /// Dice's coefficient of the two bags.
    fn similarity(&self, other: &Self) -> f32 {
        let (mut a, mut b, mut both) = (0, 0, 0usize);
        while let (Some(x), Some(y)) = (self.0.get(a), other.0.get(b)) {
            both += usize::from(x == y);
            a += usize::from(x <= y);
            b += usize::from(y <= x);
        }
        let all = self.0.len() + other.0.len();
        if all == 0 { 0.0 } else { (2 * both) as f32 / all as f32 }
    }
}

/// How alike two texts are, 0 to 1: what their words (Chinese: characters) and pairs of neighbouring ones have in common,
/// twice, over what both have (Dice). Of a text longer than 400 words the first 400 count. 1 for equal words, whatever marks
/// and capitals stand around them; 0 for texts without words.
#[must_use]
pub fn similarity(a: &str, b: &str) -> f32 {
    Grams::new(&Text::new(a)).similarity(&Grams::new(&Text::new(b)))
}

impl Floor<'_> {
    /// Of each turn the earlier ones that it repeats: from the nearest to the farthest those that are more alike than
    /// every nearer one, so that whoever looks back less far, or wants it more alike, finds what there is.
    pub(crate) fn repeats(&self) -> Vec<Repeat> {
        let mut past: Vec<VecDeque<(usize, Grams)>> = Vec::new();
        past.resize_with(self.speech.len(), VecDeque::new);
        let mut repeats = Vec::new();
        for (turn, text) in self.texts.iter().enumerate() {
            let dense = text.units.iter().filter(|unit| unit.dense).count();
            let long = dense >= CHARACTERS || text.len() - dense >= WORDS;
            let Some(past) = past.get_mut(self.conversation.turns[turn].track).filter(|_| long) else {
                continue;
            };
            let grams = Grams::new(text);
            let mut best = 0.0;
            for (earlier, other) in past.iter().rev() {
                let similarity = grams.similarity(other);
                if similarity >= LEAST && similarity > best {
                    best = similarity;
                    repeats.push(Repeat { turn, earlier: *earlier, similarity });
                }
            }
            past.push_back((turn, grams));
            if past.len() > EARLIER {
                past.pop_front();
            }
        }
        repeats
    }

    /// Whether any of `chosen` says much the same as the turn.
    pub(crate) fn said_among(&self, turn: usize, chosen: &[usize]) -> bool {
        let grams = Grams::new(&self.texts[turn]);
        chosen.iter().any(|&other| grams.similarity(&Grams::new(&self.texts[other])) >= LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_words_are_alike_whatever_stands_around_them() {
        assert!((similarity("Please give me your name.", "please give me YOUR name") - 1.0).abs() < 1e-6);
        assert!((similarity("请问您的姓名？", "请问您的姓名") - 1.0).abs() < 1e-6);
        assert!(similarity("请问您的姓名", "请问您的电话") > 0.5);
        assert!(similarity("我要退款", "今天天气不错") < 0.2);
        assert!(similarity("", "").abs() < 1e-6);
    }

    #[test]
    fn order_counts() {
        let (swapped, same) = (similarity("a b c d e", "e d c b a"), similarity("a b c d e", "a b c d e"));
        assert!(swapped < 0.6 && same > 0.99, "{swapped} {same}");
    }
}
