//! Phrases cut into a model's tokens, the way its sentence pieces were trained.

use std::collections::HashMap;
use std::path::Path;

use antiphon_models_speech::ideographic;

use crate::LoadError;
use crate::tokens::{BEGIN, Tokens};
use crate::wire::{Fields, Malformed, Value};

/// Characters of one word that are looked at; no language has longer ones.
const LONGEST_WORD: usize = 64;

/// How pieces are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Neighbours merge, the best-scored pair first (byte-pair encoding); where that ends in pieces that are no tokens,
    /// the likeliest ones.
    Merge,
    /// The pieces whose scores add up highest: a unigram language model, and what sherpa makes of any `bpe.vocab`.
    Likeliest,
    /// The longest piece that fits: where a model comes without scores.
    Longest,
}

/// A model's sentence pieces: `bpe.model`, `bpe.vocab`, or the tokens alone.
#[derive(Debug)]
pub(crate) struct Pieces {
    rule: Rule,
    scores: HashMap<String, f32>,
}

impl Pieces {
    /// Reads what the folder has.
    pub(crate) fn load(folder: &Path) -> Result<Self, LoadError> {
        let model = folder.join("bpe.model");
        let vocabulary = folder.join("bpe.vocab");
        let file = |path: &Path, source| LoadError::File { path: path.display().to_string(), source };
        let format = |path: &Path, reason| LoadError::Format { path: path.display().to_string(), reason };
        if model.is_file() {
            let bytes = std::fs::read(&model).map_err(|e| file(&model, e))?;
            Self::from_model(&bytes).map_err(|e| format(&model, e.to_string()))
        } else if vocabulary.is_file() {
            let text = std::fs::read_to_string(&vocabulary).map_err(|e| file(&vocabulary, e))?;
            Self::from_vocabulary(&text).map_err(|reason| format(&vocabulary, reason))
        } else {
            Ok(Self { rule: Rule::Longest, scores: HashMap::new() })
        }
    }

    fn from_model(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut out = Self { rule: Rule::Likeliest, scores: HashMap::new() };
        let mut fields = Fields::new(bytes);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Bytes(piece)) => {
                    let (mut text, mut score, mut kind) = (String::new(), 0.0, 1);
                    let mut parts = Fields::new(piece);
                    while let Some(part) = parts.next()? {
                        match part {
                            (1, Value::Bytes(t)) => text = String::from_utf8_lossy(t).into_owned(),
                            (2, Value::Fixed32(bits)) => score = f32::from_bits(bits),
                            (3, Value::Number(n)) => kind = n,
                            _ => {}
                        }
                    }
                    // Normal and user-defined pieces; not unknown, control, unused or byte ones.
                    if matches!(kind, 1 | 4) {
                        out.scores.insert(text, score);
                    }
                }
                (2, Value::Bytes(trainer)) => {
                    let mut parts = Fields::new(trainer);
                    while let Some(part) = parts.next()? {
                        if part == (3, Value::Number(2)) {
                            out.rule = Rule::Merge;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(out)
    }

    fn from_vocabulary(text: &str) -> Result<Self, String> {
        let mut scores = HashMap::new();
        for (line, content) in (1..).zip(text.lines()).filter(|(_, l)| !l.trim().is_empty()) {
            let (piece, score) =
                content.rsplit_once(['\t', ' ']).ok_or_else(|| format!("line {line}: no score"))?;
            let score = score.trim().parse().map_err(|_| format!("line {line}: no score after the piece"))?;
            scores.insert(piece.trim_end().to_owned(), score);
        }
        Ok(Self { rule: Rule::Likeliest, scores })
    }

    /// The tokens of a phrase; `None` where the model has no tokens for a part of it.
    pub(crate) fn tokens(&self, phrase: &str, tokens: &Tokens) -> Option<Vec<u32>> {
        let mut out = Vec::new();
        for word in tokens.cased(phrase).split_whitespace() {
            let mut begins = true;
            let mut rest = word;
            while let Some(first) = rest.chars().next() {
                let end = if ideographic(first) {
                    first.len_utf8()
                } else {
                    rest.find(ideographic).unwrap_or(rest.len())
                };
                let (part, after) = rest.split_at(end);
                rest = after;
                if ideographic(first) {
                    let marked = format!("{BEGIN}{part}");
                    out.push(tokens.id(part).or_else(|| tokens.id(&marked))?);
                } else {
                    let mark = if begins { BEGIN.to_string() } else { String::new() };
                    for piece in self.cut(&format!("{mark}{part}"), tokens)? {
                        out.push(tokens.id(&piece)?);
                    }
                }
                begins = false;
            }
        }
        (!out.is_empty()).then_some(out)
    }

    fn cut(&self, word: &str, tokens: &Tokens) -> Option<Vec<String>> {
        if word.chars().count() > LONGEST_WORD {
            return None;
        }
        match self.rule {
            Rule::Merge => {
                let merged = self.merge(word);
                if merged.iter().all(|p| tokens.id(p).is_some()) {
                    Some(merged)
                } else {
                    self.likeliest(word)
                }
            }
            Rule::Likeliest => self.likeliest(word),
            Rule::Longest => longest(word, tokens),
        }
    }

    fn merge(&self, word: &str) -> Vec<String> {
        let mut pieces: Vec<String> = word.chars().map(String::from).collect();
        loop {
            let mut best: Option<(usize, f32)> = None;
            for (n, pair) in pieces.windows(2).enumerate() {
                if let Some(score) = self.scores.get(&pair.concat())
                    && best.is_none_or(|(_, s)| *score > s)
                {
                    best = Some((n, *score));
                }
            }
            let Some((n, _)) = best else { return pieces };
            let right = pieces.remove(n + 1);
            pieces[n].push_str(&right);
        }
    }

    fn likeliest(&self, word: &str) -> Option<Vec<String>> {
        let ends: Vec<usize> = word.char_indices().map(|(at, _)| at).chain([word.len()]).collect();
        // The best sum up to each boundary, and where its last piece began.
        let mut best: Vec<Option<(f32, usize)>> = vec![None; ends.len()];
        best[0] = Some((0.0, 0));
        for to in 1..ends.len() {
            for from in 0..to {
                let Some((sum, _)) = best[from] else { continue };
                let Some(score) = self.scores.get(&word[ends[from]..ends[to]]) else { continue };
                if best[to].is_none_or(|(s, _)| sum + score > s) {
                    best[to] = Some((sum + score, from));
                }
            }
        }
        let mut pieces = Vec::new();
        let mut at = ends.len() - 1;
        while at > 0 {
            let (_, from) = best[at]?;
            pieces.push(word[ends[from]..ends[at]].to_owned());
            at = from;
        }
        pieces.reverse();
        Some(pieces)
    }
}

fn longest(word: &str, tokens: &Tokens) -> Option<Vec<String>> {
    // A vocabulary without marks has its words bare.
    let mut rest = if tokens.id(&word[..BEGIN.len_utf8().min(word.len())]).is_none() && !starts(word, tokens)
    {
        word.trim_start_matches(BEGIN)
    } else {
        word
    };
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let mut ends = rest.char_indices().map(|(at, c)| at + c.len_utf8()).collect::<Vec<_>>();
        ends.reverse();
        let end = ends.into_iter().find(|end| tokens.id(&rest[..*end]).is_some())?;
        pieces.push(rest[..end].to_owned());
        rest = &rest[end..];
    }
    Some(pieces)
}

/// Whether some beginning of the word is a token.
fn starts(word: &str, tokens: &Tokens) -> bool {
    word.char_indices().any(|(at, c)| tokens.id(&word[..at + c.len_utf8()]).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn published_vocabularies_cut_phrases() {
        let folder = fixtures::folder("zipformer2");
        let tokens = Tokens::load(&folder.join("tokens.txt")).expect("tokens");
        let pieces = Pieces::load(&folder).expect("pieces");
        let cut = |phrase: &str| {
            pieces
                .tokens(phrase, &tokens)
                .map(|ids| ids.iter().map(|id| tokens.text(*id)).collect::<Vec<_>>())
        };
        assert_eq!(cut("book flight").expect("known"), ["▁BO", "OK", "▁FLIGHT"]);
        assert_eq!(cut("支付 a").expect("known"), ["支", "付", "▁A"]);
        assert_eq!(cut("zebra"), None);
        assert_eq!(cut(" "), None);
        assert_eq!(cut(&"a".repeat(500)), None);
    }

    #[test]
    fn unigram_pieces_are_the_likeliest() {
        let scores = [("▁a", -2.0), ("b", -2.0), ("▁", -4.0), ("a", -4.0), ("ab", -1.0), ("▁ab", -3.5)];
        let scores = scores.into_iter().map(|(p, s)| (p.to_owned(), s)).collect();
        let pieces = Pieces { rule: Rule::Likeliest, scores };
        assert_eq!(pieces.likeliest("▁ab").expect("known"), ["▁ab"]);
        assert_eq!(pieces.likeliest("▁abab").expect("known"), ["▁ab", "ab"]);
        assert_eq!(pieces.likeliest("▁x"), None);
    }

    #[test]
    fn a_sentence_piece_model_is_read() {
        // Two pieces and a trainer of kind 2 (byte pairs).
        let piece = |text: &str, score: f32| {
            let mut inner = vec![0x0a, text.len() as u8];
            inner.extend(text.as_bytes());
            inner.push(0x15);
            inner.extend(score.to_le_bytes());
            let mut out = vec![0x0a, inner.len() as u8];
            out.extend(inner);
            out
        };
        let mut bytes = piece("▁a", -1.0);
        bytes.extend(piece("▁ab", -2.0));
        bytes.extend([0x12, 2, 0x18, 2]);
        let pieces = Pieces::from_model(&bytes).expect("a model");
        assert_eq!(pieces.rule, Rule::Merge);
        assert_eq!(pieces.merge("▁ab"), ["▁ab"]);
        assert!(Pieces::from_model(&bytes[..5]).is_err());
    }
}
