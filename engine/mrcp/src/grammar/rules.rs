//! The rules of a grammar, whichever form they were written in (SRGS 1.0 section 2).

use antiphon_models_speech::Language;

use super::script::Script;
use super::{GrammarError, words};

/// Most nodes of all rules together.
pub(super) const MAX_NODES: usize = 20_000;
/// Most rules.
pub(super) const MAX_RULES: usize = 1_000;
/// Deepest nesting of groups within a rule.
pub(super) const MAX_DEPTH: usize = 64;
/// Most repetitions that can be written down.
pub(super) const MAX_REPEAT: u32 = 1_000;

/// Whether a grammar is of words or of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Words.
    Voice,
    /// Keys.
    Dtmf,
}

/// Rules and the one that they begin with.
#[derive(Clone, Debug)]
pub struct Rules {
    pub(super) mode: Mode,
    pub(super) language: Option<Language>,
    pub(super) rules: Vec<Rule>,
    pub(super) root: usize,
}

/// One rule.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) body: Node,
}

/// What stands in a rule.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// Words, one after the other.
    Words(Vec<String>),
    /// All of these, in order.
    Sequence(Vec<Node>),
    /// One of these, with its weight.
    OneOf(Vec<(f32, Node)>),
    /// Again and again; with how likely one more time is.
    Repeat { node: Box<Node>, min: u32, max: Option<u32>, likely: f32 },
    /// Another rule.
    Rule(usize),
    /// Anything at all.
    Garbage,
    /// Nothing can be said that fits.
    Void,
    /// What the words mean.
    Tag(Script),
}

/// Gathers the rules of a grammar while it is read.
#[derive(Debug, Default)]
pub(super) struct Builder {
    rules: Vec<(String, Option<Node>)>,
    referred: Vec<(usize, u32)>,
    nodes: usize,
}

impl Builder {
    /// Counts a node more.
    pub(super) fn count(&mut self) -> Result<(), GrammarError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(GrammarError::TooLarge { what: "parts", limit: MAX_NODES });
        }
        Ok(())
    }

    /// The number of a rule, which may come later.
    pub(super) fn refer(&mut self, name: &str, line: u32) -> Result<usize, GrammarError> {
        let at = self.number(name)?;
        self.referred.push((at, line));
        Ok(at)
    }

    /// Takes a rule in.
    pub(super) fn define(&mut self, name: &str, body: Node, line: u32) -> Result<(), GrammarError> {
        let at = self.number(name)?;
        if self.rules[at].1.replace(body).is_some() {
            return Err(GrammarError::Invalid { line, what: format!("the rule {name} comes twice") });
        }
        Ok(())
    }

    /// The whole.
    pub(super) fn finish(
        self,
        mode: Mode,
        language: Option<Language>,
        root: Option<(&str, u32)>,
    ) -> Result<Rules, GrammarError> {
        for (at, line) in &self.referred {
            if self.rules[*at].1.is_none() {
                let what = format!("there is no rule {}", self.rules[*at].0);
                return Err(GrammarError::Invalid { line: *line, what });
            }
        }
        let missing = |line, what: &str| GrammarError::Invalid { line, what: what.to_owned() };
        let at = match root {
            Some((name, line)) => self
                .rules
                .iter()
                .position(|(known, body)| known == name && body.is_some())
                .ok_or_else(|| missing(line, &format!("there is no rule {name}, the root")))?,
            None if self.rules.len() == 1 => 0,
            None => return Err(missing(1, "the grammar names no root rule")),
        };
        let rules = self.rules.into_iter().map(|(name, body)| {
            // Every rule that is referred to was found above; others have a body since that is what names them.
            Rule { name, body: body.unwrap_or(Node::Void) }
        });
        Ok(Rules { mode, language, rules: rules.collect(), root: at })
    }

    fn number(&mut self, name: &str) -> Result<usize, GrammarError> {
        if let Some(at) = self.rules.iter().position(|(known, _)| known == name) {
            return Ok(at);
        }
        if self.rules.len() == MAX_RULES {
            return Err(GrammarError::TooLarge { what: "rules", limit: MAX_RULES });
        }
        self.rules.push((name.to_owned(), None));
        Ok(self.rules.len() - 1)
    }
}

/// The words of a piece of text in a rule.
pub(super) fn tokens(text: &str, mode: Mode, line: u32) -> Result<Vec<String>, GrammarError> {
    if mode == Mode::Voice {
        return Ok(words::split(text));
    }
    let mut keys = Vec::new();
    for word in text.split_whitespace() {
        let word = word.trim_matches('"');
        match word {
            "star" => keys.push("*".to_owned()),
            "pound" | "hash" => keys.push("#".to_owned()),
            _ => {
                for key in word.chars() {
                    if !matches!(key, '0'..='9' | '*' | '#' | 'A'..='D' | 'a'..='d') {
                        return Err(GrammarError::Invalid { line, what: format!("{key:?} is no key") });
                    }
                    keys.push(key.to_ascii_uppercase().to_string());
                }
            }
        }
    }
    Ok(keys)
}

/// How often, as `repeat` says: `3`, `0-1`, `2-`.
pub(super) fn repetition(text: &str) -> Option<(u32, Option<u32>)> {
    let number = |text: &str| text.trim().parse::<u32>().ok().filter(|n| *n <= MAX_REPEAT);
    let Some((min, max)) = text.split_once('-') else {
        let times = number(text)?;
        return Some((times, Some(times)));
    };
    let min = number(min)?;
    if max.trim().is_empty() {
        return Some((min, None));
    }
    number(max).filter(|max| *max >= min).map(|max| (min, Some(max)))
}

/// A weight or a probability.
pub(super) fn weight(text: &str) -> Option<f32> {
    text.trim().parse().ok().filter(|weight: &f32| weight.is_finite() && (0.0..=1e6).contains(weight))
}
