//! How well an entry answers.

use std::collections::HashMap;

use crate::analysis::{TermId, terms};
use crate::query::{Alternative, Query};
use crate::vocabulary::Vocabulary;

/// How much a word counts that stands in the text and not in the title.
const IN_TEXT: f32 = 0.7;
/// How much an entry counts that has one word of the question, and that only in its text.
const IN_PASSING: f32 = 0.45;
/// How quickly matching words add up to certainty.
const EVIDENCE: f32 = 1.3;
/// Longest snippet, characters.
const SNIPPET: usize = 160;

/// The terms of an entry, sorted.
#[derive(Debug)]
pub(crate) struct Terms {
    /// Of the title, and of each other way to ask.
    pub(crate) titles: Vec<Box<[TermId]>>,
    /// Of everything.
    pub(crate) all: Box<[TermId]>,
}

/// How well an entry answers, 0 to 1. Three things count: how much of what was asked it has, how much of its title was
/// asked for, and whether that is enough to go by: a word that many entries have is not.
pub(crate) fn score(query: &Query, terms: &Terms, vocabulary: &Vocabulary) -> f32 {
    let in_title = |id: &TermId| terms.titles.iter().any(|title| title.binary_search(id).is_ok());
    let mut said: HashMap<TermId, f32> = HashMap::new();
    let (mut matched, mut asked, mut groups) = (0.0, query.unknown, 0);
    for group in &query.groups {
        asked += group.weight;
        let mut best = 0.0_f32;
        for Alternative { terms: wanted, weight } in &group.alternatives {
            let titled = wanted.iter().all(|(_, id)| in_title(id));
            let whole = titled || wanted.iter().all(|(_, id)| terms.all.binary_search(id).is_ok());
            if whole {
                best = best.max(weight * if titled { 1.0 } else { IN_TEXT });
                for (_, id) in wanted {
                    let share = said.entry(*id).or_insert(0.0);
                    *share = share.max(*weight);
                }
            }
        }
        matched += group.weight * best;
        groups += usize::from(best > 0.0);
    }
    if matched == 0.0 {
        return 0.0;
    }
    let of_query = matched / asked;
    let of_title = terms
        .titles
        .iter()
        .map(|title| {
            let all: f32 = title.iter().map(|id| vocabulary.weight(*id)).sum();
            let found: f32 =
                title.iter().map(|id| vocabulary.weight(*id) * said.get(id).copied().unwrap_or(0.0)).sum();
            if all > 0.0 { found / all } else { 0.0 }
        })
        .fold(0.0_f32, f32::max);
    let evidence = 1.0 - (-EVIDENCE * matched).exp();
    let covered = match groups {
        1 if of_title == 0.0 => IN_PASSING * of_query,
        // One word can be a coincidence: it does not speak for itself twice.
        1 => of_query.max(of_title),
        _ => 1.0 - (1.0 - of_query) * (1.0 - of_title),
    };
    evidence * covered
}

/// The part of a text that says most of what was asked, cut where a sentence begins where that fits.
pub(crate) fn snippet(query: &Query, text: &str) -> String {
    if text.chars().count() <= SNIPPET {
        return text.to_owned();
    }
    let weights: HashMap<&str, f32> = query
        .groups
        .iter()
        .flat_map(|group| group.alternatives.iter().map(move |own| (own, group.weight)))
        .flat_map(|(own, weight)| own.terms.iter().map(move |(term, _)| (term.as_str(), weight * own.weight)))
        .collect();
    let mut best = (0.0, 0);
    for (at, sentence) in sentences(text) {
        let told: f32 = terms(sentence).filter_map(|term| weights.get(term.as_str())).sum();
        if told > best.0 {
            best = (told, at);
        }
    }
    let rest = &text[best.1..];
    match rest.char_indices().nth(SNIPPET - 1) {
        Some((end, _)) => format!("{}…", rest[..end].trim_end()),
        None => rest.to_owned(),
    }
}

/// Sentences, with where they begin.
fn sentences(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = 0;
    std::iter::from_fn(move || {
        let start = rest + text[rest..].len() - text[rest..].trim_start().len();
        if start == text.len() {
            return None;
        }
        let mut before = ' ';
        let end = text[start..]
            .char_indices()
            .find(|&(_, c)| {
                let ended = matches!(before, '。' | '！' | '？' | '；' | '\n')
                    || (c.is_whitespace() && matches!(before, '.' | '!' | '?'));
                before = c;
                ended
            })
            .map_or(text.len(), |(at, _)| start + at);
        rest = end;
        Some((start, text[start..end].trim_end()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_falls_into_sentences() {
        let found: Vec<_> = sentences("One is 1.5 long. Two!\n三。四").collect();
        assert_eq!(
            found.iter().map(|(_, s)| *s).collect::<Vec<_>>(),
            ["One is 1.5 long.", "Two!", "三。", "四"]
        );
        assert_eq!(found[1].0, 17);
    }
}
