//! What is asked: the words of somebody who speaks, without fillers, with what was perhaps meant.

use std::collections::HashSet;

use crate::analysis::{Piece, TermId, analyse, stem};
use crate::stopwords::is_stop;
use crate::synonyms::Synonyms;
use crate::vocabulary::Vocabulary;

/// Nobody says more in one breath; what goes beyond is cut.
const LONGEST: usize = 500;
/// The most telling terms are kept.
const MOST_GROUPS: usize = 24;
/// What a word counts that no entry knows.
const UNKNOWN: f32 = 0.35;
/// More unknown words than this do not make a question less likely to be meant.
const MOST_UNKNOWN: f32 = 4.0;
/// How much a homophone, a word one letter off, one two letters off and a synonym count of the word itself.
const HOMOPHONE: f32 = 0.8;
const ONE_OFF: f32 = 0.85;
const TWO_OFF: f32 = 0.6;
const SYNONYM: f32 = 0.9;

/// One way in which an entry may say what a group asks for: all these terms.
#[derive(Clone, Debug)]
pub(crate) struct Alternative {
    pub(crate) terms: Vec<(String, TermId)>,
    pub(crate) weight: f32,
}

/// One thing asked for.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) alternatives: Vec<Alternative>,
    pub(crate) weight: f32,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    pub(crate) groups: Vec<Group>,
    /// What the words that no entry knows count together.
    pub(crate) unknown: f32,
}

impl Query {
    pub(crate) fn of(text: &str, vocabulary: &Vocabulary, synonyms: &Synonyms) -> Self {
        let text: String = text.chars().take(LONGEST).collect();
        let analysis = analyse(&text);
        let mut query = Self::default();
        let mut asked: Vec<TermId> = Vec::new();
        let mut seen = HashSet::new();
        let joined = join(&analysis.pieces, vocabulary);
        for (at, piece) in analysis.pieces.iter().enumerate() {
            let id = TermId::of(&piece.term);
            if piece.stop || !seen.insert(id) {
                continue;
            }
            asked.push(id);
            if let Some(word) = joined.iter().find(|(first, _)| *first == at).map(|(_, word)| word) {
                query.add(vocabulary, &[(word.as_str(), 1.0)]);
            }
            if vocabulary.knows(id) {
                query.add(vocabulary, &[(&piece.term, 1.0)]);
            } else if !piece.is_han() && !joined.iter().any(|&(first, _)| first == at || first + 1 == at) {
                let near = vocabulary.neighbours(&piece.term);
                if near.is_empty() {
                    query.unknown += UNKNOWN;
                } else {
                    let weight = |off| if off <= 1 { ONE_OFF } else { TWO_OFF };
                    let near: Vec<_> = near.iter().map(|(word, off)| (&**word, weight(*off))).collect();
                    query.add(vocabulary, &near);
                }
            }
        }
        for (run, chars) in &analysis.han {
            query.chinese(*run, chars, &analysis.pieces, vocabulary);
        }
        query.synonyms(&asked, vocabulary, synonyms);
        query.unknown = query.unknown.min(MOST_UNKNOWN * UNKNOWN);
        query.groups.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        query.groups.truncate(MOST_GROUPS);
        query
    }

    /// Adds a group of words any of which will do.
    fn add(&mut self, vocabulary: &Vocabulary, words: &[(&str, f32)]) {
        let mut weight = 0.0_f32;
        let alternatives = words
            .iter()
            .map(|&(word, share)| {
                let id = TermId::of(word);
                weight = weight.max(vocabulary.weight_of(word, id));
                Alternative { terms: vec![(word.to_owned(), id)], weight: share }
            })
            .collect();
        self.groups.push(Group { alternatives, weight });
    }

    /// Looks for words that sound like the characters which make no known word, and counts those that remain unknown.
    fn chinese(&mut self, run: usize, chars: &[char], pieces: &[Piece], vocabulary: &Vocabulary) {
        let mut taken = vec![false; chars.len()];
        let mut known = vec![false; chars.len()];
        for piece in pieces.iter().filter(|piece| piece.run == run && piece.is_han()) {
            let long = piece.end - piece.start > 1;
            if piece.stop || vocabulary.knows(TermId::of(&piece.term)) {
                known[piece.start..piece.end].fill(true);
                taken[piece.start..piece.end].iter_mut().for_each(|taken| *taken |= long);
            }
        }
        for width in [4, 3, 2] {
            for start in 0..(chars.len() + 1).saturating_sub(width) {
                let window = start..start + width;
                let fillers = chars[window.clone()].iter().all(|c| is_stop(c.encode_utf8(&mut [0; 4])));
                if fillers || taken[window.clone()].contains(&true) {
                    continue;
                }
                let words = vocabulary.homophones(&chars[window.clone()]);
                if words.is_empty() {
                    continue;
                }
                let words: Vec<_> = words.iter().map(|word| (&**word, HOMOPHONE)).collect();
                self.add(vocabulary, &words);
                taken[window.clone()].fill(true);
                known[window].fill(true);
            }
        }
        // Two characters make a word.
        self.unknown += UNKNOWN * 0.5 * known.iter().filter(|&&known| !known).count() as f32;
    }

    fn synonyms(&mut self, asked: &[TermId], vocabulary: &Vocabulary, synonyms: &Synonyms) {
        for (phrase, others) in synonyms.of(asked) {
            let alternatives: Vec<Alternative> = others
                .into_iter()
                .map(|other| other.iter().map(|term| (term.clone(), TermId::of(term))).collect::<Vec<_>>())
                .filter(|terms| terms.iter().all(|(_, id)| vocabulary.knows(*id)))
                .map(|terms| Alternative { terms, weight: SYNONYM })
                .collect();
            let Some(weight) = alternatives
                .iter()
                .flat_map(|alternative| &alternative.terms)
                .map(|(term, id)| vocabulary.weight_of(term, *id))
                .max_by(f32::total_cmp)
            else {
                continue;
            };
            let mut placed = false;
            for group in &mut self.groups {
                let says = |term: &(String, TermId)| phrase.contains(&term.0);
                if group.alternatives.iter().any(|own| own.weight >= 1.0 && own.terms.iter().any(says)) {
                    group.alternatives.extend(alternatives.iter().cloned());
                    placed = true;
                }
            }
            if !placed {
                self.groups.push(Group { alternatives, weight });
            }
        }
    }
}

/// Pairs of neighbouring English words that are one known word, where one of them is unknown by itself: the index of the
/// first, and the word.
fn join(pieces: &[Piece], vocabulary: &Vocabulary) -> Vec<(usize, String)> {
    pieces
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| {
            !pair[0].is_han() && !pair[1].is_han() && pair[0].run + 1 == pair[1].run && !pair[0].stop
        })
        .filter(|(_, pair)| pair.iter().any(|piece| !vocabulary.knows(TermId::of(&piece.term))))
        .map(|(at, pair)| (at, stem(&format!("{}{}", pair[0].word, pair[1].word))))
        .filter(|(_, word)| vocabulary.knows(TermId::of(word)))
        .collect()
}
