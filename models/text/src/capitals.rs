//! Capitals: at the beginning of sentences, "I", names of days and months, and names from a list.

use std::collections::HashMap;

use crate::token::{Kind, Piece};

/// At most so many names are kept.
const MOST_NAMES: usize = 1_000;
/// At most so many words a name.
const LONGEST_NAME: usize = 6;

/// Gives English its capitals.
#[derive(Clone, Debug, Default)]
pub struct Capitals {
    /// Names by their first word in lower case: the words in lower case, and as they are written; longest first.
    names: HashMap<String, Vec<Vec<(String, String)>>>,
}

impl Capitals {
    /// Takes the names among `phrases`: those with a capital in them. Beyond 1,000 phrases, and in phrases of more than
    /// six words, nothing is looked at.
    #[must_use]
    pub fn new<S: AsRef<str>>(phrases: impl IntoIterator<Item = S>) -> Self {
        let mut names: HashMap<String, Vec<Vec<(String, String)>>> = HashMap::new();
        for phrase in phrases.into_iter().take(MOST_NAMES) {
            let phrase = phrase.as_ref();
            let words: Vec<(String, String)> =
                phrase.split_whitespace().map(|word| (word.to_lowercase(), word.to_owned())).collect();
            let named = phrase.chars().any(char::is_uppercase) && phrase.chars().any(char::is_lowercase);
            if !named || words.is_empty() || words.len() > LONGEST_NAME {
                continue;
            }
            names.entry(words[0].0.clone()).or_default().push(words);
        }
        for same in names.values_mut() {
            same.sort_by_key(|name| std::cmp::Reverse(name.len()));
        }
        Self { names }
    }

    /// Writes capitals. An utterance in nothing but capitals, as some engines give it, is written small first.
    pub fn apply(&self, pieces: &mut [Piece]) {
        let words = || pieces.iter().filter(|piece| piece.kind == Kind::Word);
        let shouted = words().any(|piece| piece.text.chars().filter(|c| c.is_alphabetic()).count() > 1)
            && words().all(|piece| !piece.text.chars().any(char::is_lowercase));
        let mut lower: Vec<String> = pieces.iter().map(|piece| piece.text.to_lowercase()).collect();
        if shouted {
            for (piece, lower) in pieces.iter_mut().zip(&lower).filter(|(piece, _)| piece.kind == Kind::Word)
            {
                piece.text.clone_from(lower);
            }
        }
        let mut fresh = true;
        let mut i = 0;
        while i < pieces.len() {
            let next = match self.name_at(&lower[i..]) {
                Some(name) => {
                    for (piece, (_, written)) in pieces[i..].iter_mut().zip(name) {
                        piece.text.clone_from(written);
                    }
                    i + name.len()
                }
                None => {
                    if pieces[i].kind == Kind::Word && (fresh || proper(&lower[i])) {
                        raise(&mut pieces[i].text);
                    }
                    i + 1
                }
            };
            if fresh && pieces[i].kind == Kind::Word {
                raise(&mut pieces[i].text);
            }
            let last = &pieces[next - 1];
            fresh = last.mark.is_some_and(crate::token::Mark::ends)
                || last.kind == Kind::Word && last.text.ends_with(['.', '?', '!']);
            i = next;
        }
        lower.clear();
    }

    fn name_at(&self, lower: &[String]) -> Option<&[(String, String)]> {
        self.names
            .get(lower.first()?)?
            .iter()
            .find(|name| {
                name.len() <= lower.len() && name.iter().zip(lower).all(|((name, _), word)| name == word)
            })
            .map(Vec::as_slice)
    }
}

/// Words that always have a capital.
fn proper(word: &str) -> bool {
    matches!(
        word,
        "i" | "i'm"
            | "i'll"
            | "i've"
            | "i'd"
            | "monday"
            | "tuesday"
            | "wednesday"
            | "thursday"
            | "friday"
            | "saturday"
            | "sunday"
            | "january"
            | "february"
            | "april"
            | "june"
            | "july"
            | "september"
            | "october"
            | "november"
            | "december"
            | "english"
            | "chinese"
            | "america"
            | "american"
            | "christmas"
    )
}

fn raise(text: &mut String) {
    if let Some(first) = text.chars().next()
        && first.is_lowercase()
    {
        let upper: String = first.to_uppercase().collect();
        text.replace_range(..first.len_utf8(), &upper);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Mark, join};

    fn apply(text: &str, names: &[&str]) -> String {
        let mut pieces: Vec<Piece> = text
            .split(' ')
            .enumerate()
            .map(|(i, word)| {
                let mut piece = Piece::new(word.trim_end_matches('|'), i..i + 1, Kind::Word);
                piece.mark = word.ends_with('|').then_some(Mark::Stop);
                piece
            })
            .collect();
        Capitals::new(names).apply(&mut pieces);
        join(&pieces, false)
    }

    #[test]
    fn sentences_and_i_begin_with_a_capital() {
        assert_eq!(
            apply("so i said| he left| i'm here on monday|", &[]),
            "So I said. He left. I'm here on Monday."
        );
    }

    #[test]
    fn names_are_written_as_the_list_has_them() {
        let names = ["McDonald", "Deutsche Bank", "plain phrase"];
        assert_eq!(apply("ask mcdonald at deutsche bank", &names), "Ask McDonald at Deutsche Bank");
        assert_eq!(apply("deutsche post", &names), "Deutsche post");
    }

    #[test]
    fn an_utterance_in_capitals_is_written_small() {
        assert_eq!(apply("HELLO I AM JOHN", &["John"]), "Hello I am John");
        assert_eq!(apply("the IBM office", &[]), "The IBM office");
    }
}
