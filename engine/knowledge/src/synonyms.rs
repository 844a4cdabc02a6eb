//! Words that mean the same in this house: `synonyms.txt`, a set a line, commas between.

use std::collections::HashMap;

use crate::ProblemKind;
use crate::analysis::{TermId, terms};
use crate::read::{Fault, decode};

/// More sets than this are a dictionary, not a house's own words.
const MOST_SETS: usize = 20_000;
/// More ways to say one thing are passed over.
const MOST_PHRASES: usize = 32;

/// Phrases as terms, and where each set's phrases begin with a term.
#[derive(Debug, Default)]
pub(crate) struct Synonyms {
    sets: Vec<Vec<Vec<String>>>,
    by_first: HashMap<TermId, Vec<(usize, usize)>>,
}

impl Synonyms {
    /// Reads `card, bank card, 银行卡` a line; what follows `#` is a remark.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let mut synonyms = Self::default();
        for (n, line) in decode(bytes)?.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let phrases: Vec<Vec<String>> = line
                .split([',', '，', '、'])
                .map(|phrase| terms(phrase).collect::<Vec<_>>())
                .filter(|phrase| !phrase.is_empty())
                .take(MOST_PHRASES)
                .collect();
            if phrases.len() < 2 {
                continue;
            }
            if synonyms.sets.len() == MOST_SETS {
                let line = u32::try_from(n + 1).ok();
                return Err((line, ProblemKind::Table(format!("more than {MOST_SETS} sets of synonyms"))));
            }
            for (at, phrase) in phrases.iter().enumerate() {
                synonyms.by_first.entry(TermId::of(&phrase[0])).or_default().push((synonyms.sets.len(), at));
            }
            synonyms.sets.push(phrases);
        }
        Ok(synonyms)
    }

    /// For each phrase that consists of terms asked for: its terms, and the other phrases of its set.
    pub(crate) fn of<'a>(
        &'a self,
        asked: &'a [TermId],
    ) -> impl Iterator<Item = (&'a [String], Vec<&'a [String]>)> {
        asked.iter().filter_map(|term| self.by_first.get(term)).flatten().filter_map(|&(set, at)| {
            let phrase = self.sets[set][at].as_slice();
            let whole = phrase.iter().all(|term| asked.contains(&TermId::of(term)));
            let others = || {
                self.sets[set].iter().enumerate().filter(|&(n, _)| n != at).map(|(_, other)| other.as_slice())
            };
            whole.then(|| (phrase, others().collect()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_of_several_words_stands_for_the_others() {
        let synonyms = Synonyms::read("# ours\nplastic, bank card\nlonely\n".as_bytes()).unwrap();
        let asked = [TermId::of("card"), TermId::of("bank")];
        let found: Vec<_> = synonyms.of(&asked).collect();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1, [["plastic".to_owned()]]);
        assert_eq!(synonyms.of(&asked[..1]).count(), 0);
    }
}
