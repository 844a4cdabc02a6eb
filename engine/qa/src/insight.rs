//! Figures over many calls: what is kept of each, and what they come to by agent, queue, product, rule and time.
//!
//! Of a call and a scorecard only [`Judged`] and [`Measured`] are looked at, so that a hundred thousand are one quick pass.
//! Findings that people overturned count for nothing, here as in the score.

mod facts;
mod figures;

pub use facts::{GroupShare, Judged, Measured, RuleFacts};
pub use figures::{Ability, Figures, RuleFigures, RuleSummary, Summary};

use std::collections::{BTreeMap, HashMap};

/// What figures are told by: the value (an agent's name) and the period, each empty where nothing is asked.
pub type Key = (String, String);

/// Topics and reasons that are told apart; later ones are left out.
const MOST_TOPICS: usize = 200_000;

/// One call by one scorecard.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Stands for the call: the same for each scorecard it was judged by.
    pub call: u64,
    /// The scorecard's `id`.
    pub card: &'a str,
    /// Whether it was in the period before, with which is compared.
    pub before: bool,
    /// How it does.
    pub judged: &'a Judged,
    /// What was measured of it.
    pub measured: &'a Measured,
}

/// Collects calls one by one. What it comes to does not depend on their order, but for how sums of fractions round.
#[derive(Debug, Default)]
pub struct Insight {
    total: Pair,
    by: BTreeMap<Key, Pair>,
    rules: BTreeMap<(Key, String, String), RuleFigures>,
    topics: HashMap<String, Heard>,
    reasons: HashMap<String, Heard>,
    /// Counts neither rules nor topics.
    lean: bool,
    /// Of every call already counted among topics.
    seen: std::collections::HashSet<u64>,
}

#[derive(Debug, Default)]
struct Pair {
    now: Figures,
    before: Figures,
}

#[derive(Debug, Default)]
struct Heard {
    now: u64,
    before: u64,
    example: Option<String>,
}

/// Figures of one key, beside those of the same value in the period before.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What they are told by.
    pub key: Key,
    /// The figures.
    pub now: Summary,
    /// Calls in the period before.
    pub calls_before: u64,
    /// The mean score in the period before.
    pub score_before: Option<f64>,
}

/// What a rule came to under one key.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleRow {
    /// What it is told by.
    pub key: Key,
    /// The scorecard's `id`.
    pub card: String,
    /// The rule's `id`.
    pub rule: String,
    /// The figures.
    pub figures: RuleSummary,
}

/// What many calls are about, or why many customers called.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicRow {
    /// As it was said; of reasons the topic of the turn that tells the reason, else its words.
    pub text: String,
    /// Calls that say it.
    pub calls: u64,
    /// Calls that said it in the period before.
    pub before: u64,
    /// `calls` above `before`, as a share of `before`; `None` where nobody said it before.
    pub growth: Option<f64>,
    /// Of reasons: how one customer put it.
    pub example: Option<String>,
}

impl Insight {
    /// Collects figures alone, neither rules nor topics nor reasons.
    #[must_use]
    pub fn lean() -> Self {
        Self { lean: true, ..Self::default() }
    }

    /// Counts a call under a key; one of the period before under the key's value alone.
    pub fn add(&mut self, key: &Key, entry: Entry<'_>) {
        let value = (key.0.clone(), String::new());
        let pairs =
            [&mut self.total, self.by.entry(if entry.before { value } else { key.clone() }).or_default()];
        for pair in pairs {
            let figures = if entry.before { &mut pair.before } else { &mut pair.now };
            figures.add(entry.call, entry.judged, entry.measured);
        }
        if self.lean {
            return;
        }
        if !entry.before {
            for rule in &entry.judged.rules {
                let place = (key.clone(), entry.card.to_owned(), rule.rule.clone());
                self.rules.entry(place).or_default().add(rule);
            }
        }
        if self.seen.insert(entry.call) {
            let measured = entry.measured;
            for topic in &measured.topics {
                hear(&mut self.topics, topic, entry.before, None);
            }
            if let Some(about) = measured.about.as_ref().or(measured.reason.as_ref()) {
                hear(&mut self.reasons, about, entry.before, measured.reason.as_deref());
            }
        }
    }

    /// Everything together.
    #[must_use]
    pub fn total(&self) -> Row {
        row((String::new(), String::new()), &self.total.now, Some(&self.total.before))
    }

    /// By key, in order. A value that was there only before has a row of none.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let told = self.by.iter().filter(|(key, pair)| pair.now.calls() > 0 || key.1.is_empty());
        let periods = self.by.keys().any(|key| !key.1.is_empty());
        told.filter(|(_, pair)| !periods || pair.now.calls() > 0)
            .map(|(key, pair)| {
                // Of a period the one before is the row before.
                let before = if key.1.is_empty() {
                    Some(&pair.before)
                } else {
                    let earlier = self.by.range(..key.clone()).next_back();
                    earlier
                        .filter(|(other, _)| other.0 == key.0 && !other.1.is_empty())
                        .map(|(_, pair)| &pair.now)
                };
                row(key.clone(), &pair.now, before)
            })
            .collect()
    }

    /// Rules by key, in order.
    #[must_use]
    pub fn rules(&self) -> Vec<RuleRow> {
        let rule = |((key, card, rule), figures): (&(Key, String, String), &RuleFigures)| RuleRow {
            key: key.clone(),
            card: card.clone(),
            rule: rule.clone(),
            figures: figures.summary(),
        };
        self.rules.iter().map(rule).collect()
    }

    /// What calls are about, what most say first; at most so many.
    #[must_use]
    pub fn topics(&self, most: usize) -> Vec<TopicRow> {
        ranked(&self.topics, most)
    }

    /// Why customers called, most first; at most so many.
    #[must_use]
    pub fn reasons(&self, most: usize) -> Vec<TopicRow> {
        ranked(&self.reasons, most)
    }
}

fn row(key: Key, now: &Figures, before: Option<&Figures>) -> Row {
    Row {
        key,
        now: now.summary(),
        calls_before: before.map_or(0, Figures::calls),
        score_before: before.and_then(Figures::mean_score),
    }
}

fn hear(heard: &mut HashMap<String, Heard>, text: &str, before: bool, example: Option<&str>) {
    if !heard.contains_key(text) {
        if heard.len() >= MOST_TOPICS {
            return;
        }
        heard.insert(text.to_owned(), Heard::default());
    }
    let Some(topic) = heard.get_mut(text) else { return };
    if before {
        topic.before += 1;
    } else {
        topic.now += 1;
        // The least, so that the order of calls does not matter.
        if let Some(example) = example
            && topic.example.as_deref().is_none_or(|known| example < known)
        {
            topic.example = Some(example.to_owned());
        }
    }
}

fn ranked(heard: &HashMap<String, Heard>, most: usize) -> Vec<TopicRow> {
    let mut rows: Vec<TopicRow> = heard
        .iter()
        .filter(|(_, topic)| topic.now > 0)
        .map(|(text, topic)| TopicRow {
            text: text.clone(),
            calls: topic.now,
            before: topic.before,
            growth: (topic.before > 0).then(|| topic.now as f64 / topic.before as f64 - 1.0),
            example: topic.example.clone(),
        })
        .collect();
    rows.sort_by(|a, b| {
        b.calls.cmp(&a.calls).then(a.before.cmp(&b.before)).then_with(|| a.text.cmp(&b.text))
    });
    rows.truncate(most);
    rows
}
