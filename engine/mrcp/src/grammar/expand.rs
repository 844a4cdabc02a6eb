//! The phrases of a grammar, for a recogniser's hints.

use antiphon_models_speech::Hints;

use super::rules::{Mode, Node, Rules};
use super::words::{is_figure, spoken};

/// Repetitions without an end that are written out.
const TIMES: u32 = 3;
/// Longest phrase, in words.
const LONGEST: usize = 24;
/// Rules and groups within each other at most.
const DEPTH: usize = 100;
/// Steps of writing out at most.
const BUDGET: usize = 200_000;

/// What a recogniser should expect. It is closed where every phrase was written out.
pub(super) fn hints(rules: &Rules) -> Hints {
    if rules.mode == Mode::Dtmf {
        return Hints::default();
    }
    let mut writer = Writer { rules, whole: true, depth: 0, left: BUDGET, figures: false, words: false };
    let chinese = rules.language.as_ref().is_some_and(|language| language.primary() == "zh");
    let found = writer.node(&rules.rules[rules.root].body, vec![Vec::new()]);
    let mut seen = std::collections::HashSet::new();
    let mut phrases: Vec<String> = found
        .into_iter()
        .map(|words| {
            let separator = if chinese { "" } else { " " };
            words.iter().map(|word| spoken(word, chinese)).collect::<Vec<_>>().join(separator)
        })
        .filter(|phrase| !phrase.is_empty() && seen.insert(phrase.clone()))
        .collect();
    let digits = writer.figures;
    // Strings of figures alone are better described as such than by the few that were written out.
    if digits && !writer.words {
        phrases.clear();
        return Hints { phrases, digits, closed: true };
    }
    let closed = writer.whole && !phrases.is_empty() && phrases.len() <= Hints::LIMIT;
    phrases.truncate(Hints::LIMIT);
    // A closed list says all there is about figures.
    Hints { phrases, digits: digits && !closed, closed }
}

struct Writer<'g> {
    rules: &'g Rules,
    /// Nothing was left out.
    whole: bool,
    depth: usize,
    left: usize,
    /// A figure stands in it.
    figures: bool,
    /// Something else than figures stands in it.
    words: bool,
}

type Phrases = Vec<Vec<String>>;

impl Writer<'_> {
    /// Goes on with each of `before`.
    fn node(&mut self, node: &Node, before: Phrases) -> Phrases {
        if self.depth == DEPTH || self.left == 0 {
            self.whole = false;
            return before;
        }
        self.left -= 1;
        self.depth += 1;
        let after = self.written(node, before);
        self.depth -= 1;
        after
    }

    fn written(&mut self, node: &Node, mut before: Phrases) -> Phrases {
        match node {
            Node::Words(words) => {
                self.figures |= words.iter().any(|word| is_figure(word));
                self.words |= words.iter().any(|word| !is_figure(word));
                for phrase in &mut before {
                    if phrase.len() + words.len() > LONGEST {
                        self.whole = false;
                    } else {
                        phrase.extend(words.iter().cloned());
                    }
                }
                self.left = self.left.saturating_sub(before.len());
                before
            }
            Node::Sequence(nodes) => nodes.iter().fold(before, |phrases, node| self.node(node, phrases)),
            Node::OneOf(nodes) => {
                let mut all = Vec::new();
                for (weight, node) in nodes {
                    if *weight > 0.0 {
                        let more = self.node(node, before.clone());
                        self.add(&mut all, more);
                    }
                }
                all
            }
            Node::Repeat { node, min, max, .. } => {
                let most = max.unwrap_or(min.saturating_add(TIMES)).min(LONGEST as u32);
                self.whole &= max.is_some_and(|max| max <= most);
                let mut all = Vec::new();
                let mut phrases = before;
                for times in 0..=most {
                    if times >= *min {
                        self.add(&mut all, phrases.clone());
                    }
                    if times < most {
                        phrases = self.node(node, phrases);
                    }
                    if self.left == 0 {
                        break;
                    }
                }
                all
            }
            Node::Rule(rule) => {
                let rules = self.rules;
                self.node(&rules.rules[*rule].body, before)
            }
            Node::Garbage => {
                self.whole = false;
                before
            }
            Node::Void => Vec::new(),
            Node::Tag(_) => before,
        }
    }

    fn add(&mut self, all: &mut Phrases, more: Phrases) {
        let room = (Hints::LIMIT + 1).saturating_sub(all.len());
        self.whole &= more.len() <= room;
        self.left = self.left.saturating_sub(more.len());
        all.extend(more.into_iter().take(room));
    }
}
