//! Whether words fit rules, from the first to the last, and the best way in which they do.

use std::collections::HashMap;
use std::rc::Rc;

use serde_json::Value;

use super::rules::{Node, Rules};
use super::script::{Scope, Script};
use super::{Fit, Meaning};

/// Steps of one match at most. Grammars that need more fit nothing.
const BUDGET: usize = 300_000;
/// Groups and rules within each other at most.
const DEPTH: usize = 200;
/// Most words that are matched.
const MOST_WORDS: usize = 200;

/// How `said` fits.
pub(super) fn fit(rules: &Rules, said: &[String]) -> Fit {
    if said.len() > MOST_WORDS {
        return Fit::No;
    }
    let mut search = Search { rules, said, wanted: false, left: BUDGET, depth: 0, memo: HashMap::new() };
    let ends = search.rule(rules.root, 0);
    if search.left == 0 {
        return Fit::No;
    }
    let whole = ends.iter().find(|end| end.at == said.len());
    match whole {
        Some(end) => {
            let value = value(rules, &path(&end.trail), said);
            let meaning = Meaning { value, input: said.join(" ") };
            Fit::Whole { meaning, more: search.wanted }
        }
        None if search.wanted && !said.is_empty() => Fit::Begun,
        None => Fit::No,
    }
}

/// A way to get from where something began to `at`.
#[derive(Clone)]
struct End<'g> {
    at: usize,
    /// The logarithm of how likely the way is.
    score: f32,
    trail: Trail<'g>,
}

/// What was passed, the last first.
type Trail<'g> = Option<Rc<Passed<'g>>>;

struct Passed<'g> {
    what: What<'g>,
    before: Trail<'g>,
}

#[derive(Clone)]
enum What<'g> {
    /// A word that was said.
    Word(usize),
    /// A tag.
    Tag(&'g Script),
    /// Another rule, and the way through it.
    Rule { rule: usize, trail: Trail<'g> },
}

/// The way in its order.
fn path<'g>(trail: &Trail<'g>) -> Vec<What<'g>> {
    let mut all = Vec::new();
    let mut at = trail;
    while let Some(passed) = at {
        all.push(passed.what.clone());
        at = &passed.before;
    }
    all.reverse();
    all
}

struct Search<'g> {
    rules: &'g Rules,
    said: &'g [String],
    /// A word was wanted behind the last.
    wanted: bool,
    left: usize,
    depth: usize,
    /// Ends of a rule by where it begins; `None` while they are being found.
    memo: HashMap<(usize, usize), Option<Rc<Vec<End<'g>>>>>,
}

impl<'g> Search<'g> {
    fn rule(&mut self, rule: usize, at: usize) -> Rc<Vec<End<'g>>> {
        match self.memo.get(&(rule, at)) {
            Some(Some(ends)) => return Rc::clone(ends),
            // A rule that begins with itself adds nothing to what it is (and SRGS forbids it).
            Some(None) => return Rc::default(),
            None => {}
        }
        self.memo.insert((rule, at), None);
        let rules = self.rules;
        let from = End { at, score: 0.0, trail: None };
        let ends = self.node(&rules.rules[rule].body, &from);
        let ends = Rc::new(ends);
        self.memo.insert((rule, at), Some(Rc::clone(&ends)));
        ends
    }

    /// Where `node` can end, each place once, by the best way.
    fn node(&mut self, node: &'g Node, from: &End<'g>) -> Vec<End<'g>> {
        if self.left == 0 || self.depth == DEPTH {
            return Vec::new();
        }
        self.left -= 1;
        self.depth += 1;
        let ends = self.ends(node, from);
        self.depth -= 1;
        ends
    }

    fn ends(&mut self, node: &'g Node, from: &End<'g>) -> Vec<End<'g>> {
        match node {
            Node::Words(words) => self.words(words, from),
            Node::Sequence(nodes) => {
                let mut ends = vec![from.clone()];
                for node in nodes {
                    let mut next = Vec::new();
                    for end in &ends {
                        for end in self.node(node, end) {
                            keep(&mut next, end);
                        }
                    }
                    ends = next;
                    if ends.is_empty() {
                        break;
                    }
                }
                ends
            }
            Node::OneOf(nodes) => {
                let all: f32 = nodes.iter().map(|(weight, _)| weight).sum();
                let mut ends = Vec::new();
                for (weight, node) in nodes.iter().filter(|(weight, _)| *weight > 0.0) {
                    let score = from.score + (weight / all).ln();
                    for end in self.node(node, &End { score, ..from.clone() }) {
                        keep(&mut ends, end);
                    }
                }
                ends
            }
            Node::Repeat { node, min, max, likely } => self.repeat(node, *min, *max, *likely, from),
            Node::Rule(rule) => {
                let ends = self.rule(*rule, from.at);
                self.left = self.left.saturating_sub(ends.len());
                let through = |end: &End<'g>| End {
                    at: end.at,
                    score: from.score + end.score,
                    trail: passed(&from.trail, What::Rule { rule: *rule, trail: end.trail.clone() }),
                };
                ends.iter().map(through).collect()
            }
            Node::Garbage => {
                self.wanted = true;
                let mut trail = from.trail.clone();
                let mut ends = vec![from.clone()];
                for at in from.at..self.said.len() {
                    trail = passed(&trail, What::Word(at));
                    // What is named by a word of the grammar is better than anything at all.
                    let score = from.score - 2.0 * (at + 1 - from.at) as f32;
                    ends.push(End { at: at + 1, score, trail: trail.clone() });
                }
                self.left = self.left.saturating_sub(ends.len());
                ends
            }
            Node::Void => Vec::new(),
            Node::Tag(script) => vec![End { trail: passed(&from.trail, What::Tag(script)), ..from.clone() }],
        }
    }

    fn words(&mut self, words: &[String], from: &End<'g>) -> Vec<End<'g>> {
        let mut trail = from.trail.clone();
        for (n, word) in words.iter().enumerate() {
            match self.said.get(from.at + n) {
                None => {
                    self.wanted = true;
                    return Vec::new();
                }
                Some(said) if said == word => trail = passed(&trail, What::Word(from.at + n)),
                Some(_) => return Vec::new(),
            }
        }
        self.left = self.left.saturating_sub(words.len());
        vec![End { at: from.at + words.len(), score: from.score, trail }]
    }

    fn repeat(
        &mut self,
        node: &'g Node,
        min: u32,
        max: Option<u32>,
        likely: f32,
        from: &End<'g>,
    ) -> Vec<End<'g>> {
        let mut found = Vec::new();
        let mut ends = vec![from.clone()];
        let mut times = 0;
        while !ends.is_empty() {
            if times >= min {
                for end in &ends {
                    keep(&mut found, end.clone());
                }
            }
            if max == Some(times) {
                break;
            }
            let mut next = Vec::new();
            for end in &ends {
                let score = if times >= min { end.score + likely.ln() } else { end.score };
                for after in self.node(node, &End { score, ..end.clone() }) {
                    // Once more without a word is not once more, unless it must be.
                    if after.at > end.at || times < min {
                        keep(&mut next, after);
                    }
                }
            }
            ends = next;
            times += 1;
        }
        found
    }
}

fn passed<'g>(before: &Trail<'g>, what: What<'g>) -> Trail<'g> {
    Some(Rc::new(Passed { what, before: before.clone() }))
}

/// Keeps the best way to each place; of equal ones the first.
fn keep<'g>(ends: &mut Vec<End<'g>>, end: End<'g>) {
    match ends.iter_mut().find(|known| known.at == end.at) {
        Some(known) if known.score < end.score => *known = end,
        Some(_) => {}
        None => ends.push(end),
    }
}

/// What a way through a rule means (SISR 1.0 section 3): what its tags say, or else what the last rule in it means, or
/// else the words themselves.
fn value(rules: &Rules, way: &[What<'_>], said: &[String]) -> Value {
    let mut scope = Scope::default();
    let mut tagged = false;
    let mut spoken = Vec::new();
    for what in way {
        match what {
            What::Word(at) => spoken.push(said[*at].as_str()),
            What::Rule { rule, trail } => {
                let way = path(trail);
                let value = value(rules, &way, said);
                words(&way, said, &mut spoken);
                scope.passed(&rules.rules[*rule].name, value);
            }
            What::Tag(script) => {
                tagged = true;
                scope.say(&spoken);
                script.run(&mut scope);
            }
        }
    }
    if tagged && let Some(out) = scope.out() {
        return out;
    }
    if !tagged && let Some(latest) = scope.latest() {
        return latest;
    }
    Value::String(spoken.join(" "))
}

fn words<'s>(way: &[What<'_>], said: &'s [String], into: &mut Vec<&'s str>) {
    for what in way {
        match what {
            What::Word(at) => into.push(said[*at].as_str()),
            What::Rule { trail, .. } => words(&path(trail), said, into),
            What::Tag(_) => {}
        }
    }
}
