//! A model's tokens, and words made of them.

use std::collections::HashMap;
use std::path::Path;

use antiphon_models_speech::ideographic;

use crate::LoadError;

/// The mark with which sentence pieces begin a word.
pub(crate) const BEGIN: char = '▁';
/// The mark with which FunASR's pieces announce that the word goes on.
const GOES_ON: &str = "@@";
/// No vocabulary of speech is larger.
const MOST: usize = 200_000;

/// A model's vocabulary: `tokens.txt`, a token and its number on each line.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    texts: Vec<String>,
    ids: HashMap<String, u32>,
    /// Whether the letters of its pieces are capitals only; words are then said in small letters.
    capitals: bool,
    /// Whether pieces that begin a word are marked.
    marked: bool,
}

/// A token that was heard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Heard {
    pub(crate) token: u32,
    /// The output frame it was heard in, counted from the utterance's start.
    pub(crate) frame: usize,
    /// Its probability among all tokens.
    pub(crate) surety: f32,
}

/// A word made of tokens.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spelt {
    pub(crate) text: String,
    /// The first and the last token's frame.
    pub(crate) first: usize,
    pub(crate) last: usize,
    /// The mean of its tokens' probabilities.
    pub(crate) surety: f32,
}

impl Tokens {
    pub(crate) fn load(path: &Path) -> Result<Self, LoadError> {
        let shown = || path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|source| LoadError::File { path: shown(), source })?;
        Self::parse(&text).map_err(|reason| LoadError::Format { path: shown(), reason })
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut out = Self::default();
        for (line, content) in (1..).zip(text.lines()) {
            let content = content.trim_end_matches(['\r', ' ']);
            if content.is_empty() {
                continue;
            }
            // A token may itself be a space, so the number is what stands last.
            let (token, id) = content.rsplit_once([' ', '\t']).unwrap_or((" ", content));
            let id: usize = id.parse().map_err(|_| format!("line {line}: no number after the token"))?;
            if id >= MOST {
                return Err(format!("line {line}: {id} is beyond the {MOST} tokens a vocabulary may have"));
            }
            if out.texts.len() <= id {
                out.texts.resize(id + 1, String::new());
            }
            token.clone_into(&mut out.texts[id]);
            out.ids.insert(token.to_owned(), id as u32);
        }
        if out.texts.is_empty() {
            return Err("no tokens in it".to_owned());
        }
        let mut pieces =
            out.texts.iter().filter(|t| !special(t) && byte_of(t).is_none()).flat_map(|t| t.chars());
        out.marked = out.texts.iter().any(|t| t.starts_with(BEGIN));
        out.capitals = pieces.clone().any(char::is_uppercase) && !pieces.any(char::is_lowercase);
        Ok(out)
    }

    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    pub(crate) fn id(&self, text: &str) -> Option<u32> {
        self.ids.get(text).copied()
    }

    pub(crate) fn text(&self, id: u32) -> &str {
        self.texts.get(id as usize).map_or("", String::as_str)
    }

    /// Writes a phrase in the letters that the pieces have.
    pub(crate) fn cased(&self, phrase: &str) -> String {
        if self.capitals { phrase.to_uppercase() } else { phrase.to_owned() }
    }

    /// Puts tokens together to words. Marks and punctuation are no words.
    pub(crate) fn spell(&self, heard: &[Heard]) -> Vec<Spelt> {
        let mut words: Vec<Building> = Vec::new();
        // FunASR's pieces say that the word goes on; everything else says that it begins.
        let mut goes_on = false;
        for said in heard {
            let text = self.text(said.token);
            if special(text) {
                continue;
            }
            if let Some(byte) = byte_of(text) {
                match words.last_mut() {
                    Some(word) => word.add(&[byte], said),
                    None => words.push(Building::new(&[byte], said)),
                }
                continue;
            }
            let announced = text.strip_suffix(GOES_ON).filter(|rest| !self.marked && !rest.is_empty());
            let bare = announced.unwrap_or(text);
            let begins = bare.starts_with(BEGIN) || (!self.marked && !goes_on);
            let mut joins = !begins;
            for part in parts(bare.trim_start_matches(BEGIN)) {
                let whole = part.chars().all(ideographic);
                match words.last_mut() {
                    Some(word) if joins && !whole && !word.whole => word.add(part.as_bytes(), said),
                    _ => words.push(Building { whole, ..Building::new(part.as_bytes(), said) }),
                }
                joins = true;
            }
            if bare.chars().all(|c| c == BEGIN) && !bare.is_empty() {
                // A lone mark: the next piece begins a word though it does not say so.
                words.push(Building::new(&[], said));
            }
            goes_on = announced.is_some();
        }
        words.into_iter().filter_map(|w| w.finish(self.capitals)).collect()
    }
}

struct Building {
    bytes: Vec<u8>,
    first: usize,
    last: usize,
    surety: f32,
    tokens: usize,
    /// An ideograph, which is a word by itself.
    whole: bool,
}

impl Building {
    fn new(bytes: &[u8], said: &Heard) -> Self {
        Self {
            bytes: bytes.to_vec(),
            first: said.frame,
            last: said.frame,
            surety: said.surety,
            tokens: 1,
            whole: false,
        }
    }

    fn add(&mut self, bytes: &[u8], said: &Heard) {
        self.bytes.extend_from_slice(bytes);
        self.last = said.frame;
        self.surety += said.surety;
        self.tokens += 1;
    }

    fn finish(self, capitals: bool) -> Option<Spelt> {
        let text = String::from_utf8_lossy(&self.bytes);
        let text = text.trim_matches(|c: char| !c.is_alphanumeric());
        let text = if capitals { text.to_lowercase() } else { text.to_owned() };
        // A model gone wrong may give no numbers.
        let surety =
            Some(self.surety / self.tokens as f32).filter(|s| s.is_finite()).unwrap_or(0.0).clamp(0.0, 1.0);
        (!text.is_empty()).then_some(Spelt { text, first: self.first, last: self.last, surety })
    }
}

/// Cuts a piece into its ideographs and what stands between them.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let end =
            if ideographic(first) { first.len_utf8() } else { rest.find(ideographic).unwrap_or(rest.len()) };
        let (part, after) = rest.split_at(end);
        rest = after;
        Some(part)
    })
}

/// `<blk>`, `<unk>`, `<|zh|>`: tokens that are no text.
pub(crate) fn special(text: &str) -> bool {
    text.starts_with('<') && text.ends_with('>') && text.len() > 2 && byte_of(text).is_none()
}

/// The byte that a fallback token like `<0xE4>` stands for.
fn byte_of(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() == 2 { u8::from_str_radix(digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelt(vocabulary: &str, said: &[&str]) -> Vec<String> {
        let tokens = Tokens::parse(vocabulary).expect("a vocabulary");
        let heard: Vec<_> = (0..)
            .zip(said)
            .map(|(frame, text)| Heard { token: tokens.id(text).expect("known"), frame, surety: 0.5 })
            .collect();
        tokens.spell(&heard).into_iter().map(|w| w.text).collect()
    }

    #[test]
    fn pieces_become_words_and_ideographs_stand_alone() {
        let vocabulary =
            "<blk> 0\n<unk> 1\n▁BO 2\nOK 3\n▁A 4\n支 5\n付 6\n<0xE4> 7\n<0xBD> 8\n<0xA0> 9\n▁ 10\n";
        assert_eq!(spelt(vocabulary, &["▁BO", "OK", "<unk>", "▁A"]), ["book", "a"]);
        assert_eq!(spelt(vocabulary, &["支", "付", "OK", "支"]), ["支", "付", "ok", "支"]);
        assert_eq!(spelt(vocabulary, &["<0xE4>", "<0xBD>", "<0xA0>"]), ["你"]);
        assert_eq!(spelt(vocabulary, &["▁BO", "▁", "OK"]), ["bo", "ok"]);
    }

    #[test]
    fn pieces_that_announce_more_are_joined() {
        let vocabulary = "<blank> 0\nfli@@ 1\nght 2\n你 3\nhello 4\n";
        assert_eq!(
            spelt(vocabulary, &["fli@@", "ght", "hello", "你", "hello"]),
            ["flight", "hello", "你", "hello"]
        );
    }

    #[test]
    fn times_and_sureties_are_the_tokens() {
        let tokens = Tokens::parse("<blk> 0\n▁a 1\nb 2").expect("a vocabulary");
        let heard = [
            Heard { token: 1, frame: 3, surety: 0.4 },
            Heard { token: 2, frame: 5, surety: 0.8 },
            Heard { token: 1, frame: 9, surety: 1.0 },
        ];
        let words = tokens.spell(&heard);
        assert_eq!((words[0].first, words[0].last, words[1].first), (3, 5, 9));
        assert!((words[0].surety - 0.6).abs() < 1e-6);
    }

    #[test]
    fn a_bad_line_is_named() {
        assert_eq!(Tokens::parse("<blk> 0\nbad\n").expect_err("bad"), "line 2: no number after the token");
        assert!(Tokens::parse("x 9999999999").is_err());
        assert!(Tokens::parse("\n").is_err());
    }
}
