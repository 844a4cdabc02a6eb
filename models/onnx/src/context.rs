//! Phrases to favour, as an automaton over tokens: each token that goes on with a phrase is worth a little, and what a
//! phrase that was not finished had earned is taken back.

use std::collections::{HashMap, VecDeque};

/// A place in the automaton; [`Contexts::START`] before anything was matched.
pub(crate) type Place = u32;

#[derive(Clone, Debug, Default)]
struct Node {
    /// What the step to this node is worth.
    step: f32,
    /// What the way from the start to it is worth.
    way: f32,
    /// What is earned for good when it is reached: the phrases that end here.
    earned: f32,
    ends: bool,
    /// The longest other beginning of a phrase that has been heard here.
    fail: Place,
    /// The nearest end of a phrase along the fails.
    output: Option<Place>,
}

/// An Aho-Corasick automaton of phrases (the context graph of icefall and sherpa).
#[derive(Clone, Debug)]
pub(crate) struct Contexts {
    nodes: Vec<Node>,
    steps: HashMap<(Place, u32), Place>,
}

impl Contexts {
    pub(crate) const START: Place = 0;

    /// Builds the automaton of phrases in tokens, each with what one of its tokens is worth in log-probability.
    pub(crate) fn new<'a>(phrases: impl IntoIterator<Item = (&'a [u32], f32)>) -> Self {
        let mut out = Self { nodes: vec![Node::default()], steps: HashMap::new() };
        let mut children: Vec<Vec<u32>> = vec![Vec::new()];
        for (tokens, boost) in phrases {
            let mut at = Self::START;
            for (n, token) in tokens.iter().enumerate() {
                let last = n + 1 == tokens.len();
                let way = out.nodes[at as usize].way;
                let next = match out.steps.get(&(at, *token)) {
                    Some(next) => *next,
                    None => {
                        let next = out.nodes.len() as Place;
                        out.nodes.push(Node::default());
                        children.push(Vec::new());
                        out.steps.insert((at, *token), next);
                        children[at as usize].push(*token);
                        next
                    }
                };
                let node = &mut out.nodes[next as usize];
                node.step = node.step.max(boost);
                node.way = way + node.step;
                node.ends |= last;
                node.earned = if node.ends { node.way } else { 0.0 };
                at = next;
            }
        }
        out.link(&children);
        out
    }

    /// Whether there is no phrase.
    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.len() == 1
    }

    /// Goes on by a token: where that leads and what it is worth. At the end of a phrase what it earned is kept and the
    /// automaton begins anew.
    pub(crate) fn step(&self, from: Place, token: u32) -> (f32, Place) {
        let here = &self.nodes[from as usize];
        let (worth, to) = match self.steps.get(&(from, token)) {
            Some(next) => (self.nodes[*next as usize].step, *next),
            None => {
                let to = self.fall(here.fail, token);
                (self.nodes[to as usize].way - here.way, to)
            }
        };
        let node = &self.nodes[to as usize];
        if node.earned == 0.0 {
            return (worth, to);
        }
        let ended =
            if node.ends { node.way } else { node.output.map_or(node.way, |n| self.nodes[n as usize].way) };
        (worth + ended - node.way, Self::START)
    }

    /// What leaving a phrase unfinished takes back.
    pub(crate) fn forfeit(&self, at: Place) -> f32 {
        -self.nodes[at as usize].way
    }

    /// The longest beginning of a phrase that ends in `token`, along the fails from `at`.
    fn fall(&self, mut at: Place, token: u32) -> Place {
        loop {
            if let Some(next) = self.steps.get(&(at, token)) {
                return *next;
            }
            if at == Self::START {
                return at;
            }
            at = self.nodes[at as usize].fail;
        }
    }

    fn link(&mut self, children: &[Vec<u32>]) {
        let mut queue: VecDeque<Place> = VecDeque::from([Self::START]);
        while let Some(at) = queue.pop_front() {
            for token in &children[at as usize] {
                let next = self.steps[&(at, *token)];
                let fail =
                    if at == Self::START { at } else { self.fall(self.nodes[at as usize].fail, *token) };
                let target = &self.nodes[fail as usize];
                let output = if target.ends { Some(fail) } else { target.output };
                let inherited = output.map_or(0.0, |n| self.nodes[n as usize].earned);
                let node = &mut self.nodes[next as usize];
                node.fail = fail;
                node.output = output;
                node.earned += inherited;
                queue.push_back(next);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(contexts: &Contexts, tokens: &[u32]) -> (f32, Place) {
        tokens.iter().fold((0.0, Contexts::START), |(sum, at), token| {
            let (worth, at) = contexts.step(at, *token);
            (sum + worth, at)
        })
    }

    #[test]
    fn a_finished_phrase_keeps_what_it_earned() {
        let contexts = Contexts::new([(&[1, 2, 3][..], 1.5)]);
        let (sum, at) = walk(&contexts, &[9, 1, 2, 3, 9]);
        assert!((sum - 4.5).abs() < 1e-6, "{sum}");
        assert_eq!(at, Contexts::START);
    }

    #[test]
    fn an_unfinished_phrase_gives_it_back() {
        let contexts = Contexts::new([(&[1, 2, 3][..], 1.5)]);
        assert!(walk(&contexts, &[1, 2, 9]).0.abs() < 1e-6);
        let (sum, at) = walk(&contexts, &[1, 2]);
        assert!((sum - 3.0).abs() < 1e-6);
        assert!((sum + contexts.forfeit(at)).abs() < 1e-6);
    }

    #[test]
    fn the_end_of_one_phrase_may_begin_another() {
        let contexts = Contexts::new([(&[1, 2, 4][..], 1.0), (&[2, 3][..], 1.0)]);
        let (sum, _) = walk(&contexts, &[1, 2, 3]);
        assert!((sum - 2.0).abs() < 1e-6, "{sum}");
    }

    #[test]
    fn no_phrases_are_worth_nothing() {
        let contexts = Contexts::new(std::iter::empty::<(&[u32], f32)>());
        assert!(contexts.is_empty());
        assert_eq!(contexts.step(Contexts::START, 7), (0.0, Contexts::START));
    }
}
