//! Byte-level pieces: `tokenizer.json` as it is published, read and written without further libraries.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use crate::LoadError;
use crate::error::{format, value};
use crate::files::json;

/// No vocabulary of speech is larger.
const MOST: usize = 1_000_000;
/// Letters of one word that are joined to pieces; what is longer is cut.
const LONGEST_WORD: usize = 256;

#[derive(Deserialize)]
struct Raw {
    added_tokens: Vec<RawAdded>,
    model: RawModel,
}

#[derive(Deserialize)]
struct RawAdded {
    id: u32,
    content: String,
}

#[derive(Deserialize)]
struct RawModel {
    vocab: HashMap<String, u32>,
    #[serde(default)]
    merges: Vec<RawMerge>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawMerge {
    Joined(String),
    Pair(String, String),
}

/// A model's tokens.
#[derive(Debug)]
pub(crate) struct Tokenizer {
    /// What each token says; nothing where it is a mark.
    said: Vec<Vec<u8>>,
    special: HashMap<String, u32>,
    /// The token of each single byte.
    bytes: Vec<Option<u32>>,
    /// Which two tokens become which, and how early.
    merges: HashMap<(u32, u32), (usize, u32)>,
}

impl Tokenizer {
    pub(crate) fn load(path: &Path) -> Result<Self, LoadError> {
        let raw: Raw = json(path)?;
        let highest = raw.model.vocab.values().chain(raw.added_tokens.iter().map(|a| &a.id)).max();
        let count = highest.map_or(0, |id| *id as usize + 1);
        if count == 0 || count > MOST {
            return Err(format(path, &format!("{count} tokens: not from 1 to {MOST}")));
        }
        let special: HashMap<String, u32> = raw.added_tokens.into_iter().map(|a| (a.content, a.id)).collect();
        let mut out =
            Self { said: vec![Vec::new(); count], special, bytes: vec![None; 256], merges: HashMap::new() };
        for (text, id) in &raw.model.vocab {
            if out.special.contains_key(text) {
                continue;
            }
            let Some(bytes) = text.chars().map(byte).collect::<Option<Vec<u8>>>() else {
                return Err(value(
                    path,
                    "model.vocab",
                    format!("{text:?} is not written in letters for bytes"),
                ));
            };
            if let [byte] = bytes[..] {
                out.bytes[usize::from(byte)] = Some(*id);
            }
            out.said[*id as usize] = bytes;
        }
        for (rank, merge) in raw.model.merges.iter().enumerate() {
            let (left, right) = match merge {
                RawMerge::Joined(both) => both.split_once(' ').unwrap_or((both, "")),
                RawMerge::Pair(left, right) => (left.as_str(), right.as_str()),
            };
            let id = |text: &str| raw.model.vocab.get(text).copied();
            let (Some(one), Some(two), Some(both)) = (id(left), id(right), id(&format!("{left}{right}")))
            else {
                return Err(value(
                    path,
                    "model.merges",
                    format!("number {rank} is of tokens that are not there"),
                ));
            };
            out.merges.entry((one, two)).or_insert((rank, both));
        }
        Ok(out)
    }

    /// The number of a special token.
    pub(crate) fn id(&self, name: &str) -> Option<u32> {
        self.special.get(name).copied()
    }

    pub(crate) fn special(&self) -> impl Iterator<Item = (&str, u32)> {
        self.special.iter().map(|(name, id)| (name.as_str(), *id))
    }

    /// The bytes that a token says: a character may be spread over tokens. Nothing for marks and what is no token.
    pub(crate) fn bytes(&self, id: u32) -> &[u8] {
        self.said.get(id as usize).map_or(&[], Vec::as_slice)
    }

    /// The tokens of a text, as GPT-2 cuts it.
    pub(crate) fn encode(&self, text: &str) -> Vec<u32> {
        let mut out = Vec::new();
        for word in words(text) {
            for part in word.as_bytes().chunks(LONGEST_WORD) {
                let mut pieces: Vec<u32> = part.iter().filter_map(|b| self.bytes[usize::from(*b)]).collect();
                while let Some((at, both)) = pieces
                    .windows(2)
                    .enumerate()
                    .filter_map(|(n, pair)| Some((self.merges.get(&(pair[0], pair[1]))?, n)))
                    .min()
                    .map(|((_, both), n)| (n, *both))
                {
                    pieces.splice(at..at + 2, [both]);
                }
                out.extend(pieces);
            }
        }
        out
    }
}

/// The byte that a letter of the vocabulary stands for: printable ones for themselves, the rest from U+0100 on.
fn byte(letter: char) -> Option<u8> {
    let code = u32::from(letter);
    let printable = |c: u32| matches!(c, 33..=126 | 161..=172 | 174..=255);
    if printable(code) {
        return u8::try_from(code).ok();
    }
    let place = usize::try_from(code.checked_sub(256)?).ok()?;
    (0..=255u8).filter(|b| !printable(u32::from(*b))).nth(place)
}

/// Cuts a text like GPT-2: English endings, letters, figures, marks, each with a space before it; spaces, of which the
/// last goes with what follows.
fn words(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (word, after) = rest.split_at(next_word(rest));
        out.push(word);
        rest = after;
    }
    out
}

/// How long the first word is, in bytes.
fn next_word(text: &str) -> usize {
    for ending in ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"] {
        if text.starts_with(ending) {
            return ending.len();
        }
    }
    let (lead, bare) = text.strip_prefix(' ').map_or((0, text), |bare| (1, bare));
    let run = |kind: fn(char) -> bool| bare.find(|c| !kind(c)).unwrap_or(bare.len());
    let letter: fn(char) -> bool = char::is_alphabetic;
    let figure: fn(char) -> bool = char::is_numeric;
    let mark: fn(char) -> bool = |c| !c.is_whitespace() && !c.is_alphabetic() && !c.is_numeric();
    for kind in [letter, figure, mark] {
        let length = run(kind);
        if length > 0 {
            return lead + length;
        }
    }
    // Spaces: all but the last where something follows.
    let spaces = text.find(|c: char| !c.is_whitespace()).unwrap_or(text.len());
    let last = text[..spaces].chars().next_back().map_or(0, char::len_utf8);
    if spaces < text.len() && spaces > last { spaces - last } else { spaces }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn pieces_are_those_of_the_tokenizers_library() {
        let path = fixtures::folder("multilingual").join("tokenizer.json");
        let tokenizer = Tokenizer::load(&path).expect("a tokenizer");
        let cases = fixtures::expected();
        for case in cases["pieces"].as_array().expect("a list") {
            let text = case["text"].as_str().expect("text");
            let ids = tokenizer.encode(text);
            let wanted: Vec<u64> = fixtures::numbers(&case["ids"]).iter().map(|n| *n as u64).collect();
            assert_eq!(ids.iter().map(|id| u64::from(*id)).collect::<Vec<_>>(), wanted, "{text:?}");
            let back: Vec<u8> = ids.iter().flat_map(|id| tokenizer.bytes(*id)).copied().collect();
            assert_eq!(String::from_utf8(back).expect("whole"), text);
        }
        assert_eq!(tokenizer.bytes(tokenizer.id("<|en|>").expect("a language")), b"");
        assert_eq!(tokenizer.bytes(u32::MAX), b"");
    }

    #[test]
    fn what_is_no_tokenizer_is_refused_with_its_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tokenizer.json");
        for (content, told) in [
            ("{}", "added_tokens"),
            (r#"{"added_tokens":[],"model":{"vocab":{}}}"#, "0 tokens"),
            (r#"{"added_tokens":[],"model":{"vocab":{"a":4000000000}}}"#, "4000000001 tokens"),
            (r#"{"added_tokens":[],"model":{"vocab":{"查":0}}}"#, "model.vocab: \"查\""),
            (r#"{"added_tokens":[],"model":{"vocab":{"a":0},"merges":["a b"]}}"#, "model.merges: number 0"),
        ] {
            std::fs::write(&path, content).expect("written");
            let refused = Tokenizer::load(&path).map(|_| ()).expect_err("refused").to_string();
            assert!(refused.contains("tokenizer.json") && refused.contains(told), "{refused}");
        }
    }
}
