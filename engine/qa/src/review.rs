//! What people say of findings, and how far they agree.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::result::{Judgement, ReviewState};

/// What one reviewer says of one hit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// The hit's `id`.
    pub hit: String,
    /// Who reviews.
    pub reviewer: String,
    /// What they say.
    pub verdict: Verdict,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// When, as RFC 3339. Not read here: reviews count in the order in which they are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// What a reviewer says of a hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is right.
    Confirm,
    /// It is wrong.
    Overturn,
    /// Neither; only a remark.
    Comment,
}

/// A review that names a hit which is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSuchHit {
    /// The name.
    pub hit: String,
}

impl std::fmt::Display for NoSuchHit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the judgement has no hit `{}`", self.hit)
    }
}

impl std::error::Error for NoSuchHit {}

impl Judgement {
    /// Applies a review: an overturned hit counts for nothing, a confirmed one counts again, and score and pass follow.
    /// The latest word counts, whoever says it.
    ///
    /// # Errors
    /// Where the judgement has no hit of that name; nothing is changed then.
    pub fn review(&mut self, review: Review) -> Result<(), NoSuchHit> {
        let hits = self.rules.iter_mut().flat_map(|rule| &mut rule.hits);
        let Some(hit) = hits.into_iter().find(|hit| hit.id == review.hit) else {
            return Err(NoSuchHit { hit: review.hit });
        };
        match review.verdict {
            Verdict::Confirm => hit.review = ReviewState::Confirmed,
            Verdict::Overturn => hit.review = ReviewState::Overturned,
            Verdict::Comment => {}
        }
        self.reviews.push(review);
        self.tally();
        Ok(())
    }
}

/// How often reviewers agree with a rule, and with each other about it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// The rule's `id`.
    pub rule: String,
    /// How many hits there are, excused ones left out.
    pub hits: usize,
    /// Hits whose latest verdict confirms them.
    pub confirmed: usize,
    /// Hits whose latest verdict overturns them.
    pub overturned: usize,
    /// Confirmed among the judged; `None` where none is.
    pub precision: Option<f64>,
    /// By pair of reviewers who judged at least one hit both.
    pub pairs: Vec<PairAgreement>,
    /// Mean of the pairs' kappas, weighted by what they judged both; `None` where no pair has one.
    pub kappa: Option<f64>,
}

/// How far two reviewers agree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairAgreement {
    /// The two, in alphabetical order.
    pub reviewers: [String; 2],
    /// Hits that both judged.
    pub judged: usize,
    /// Hits on which they agree.
    pub agreed: usize,
    /// Cohen's kappa: 1 is full agreement, 0 what chance would give. `None` where chance alone would agree always, so
    /// that there is nothing to tell.
    pub kappa: Option<f64>,
}

/// By pair of reviewers: both confirm, first only, second only, neither.
type Tables = BTreeMap<(String, String), [usize; 4]>;

/// Agreement by rule over any number of reviewed judgements, in the order of the rules' names.
pub fn agreement<'a>(judgements: impl IntoIterator<Item = &'a Judgement>) -> Vec<Agreement> {
    let mut sums = Agreements::default();
    for judgement in judgements {
        // A reviewer's latest verdict on a hit is what they mean.
        let mut said: BTreeMap<&str, BTreeMap<&str, bool>> = BTreeMap::new();
        for review in &judgement.reviews {
            let confirms = match review.verdict {
                Verdict::Confirm => true,
                Verdict::Overturn => false,
                Verdict::Comment => continue,
            };
            said.entry(&review.hit).or_default().insert(&review.reviewer, confirms);
        }
        for outcome in &judgement.rules {
            sums.hits(&outcome.rule, 0);
            for hit in outcome.hits.iter().filter(|hit| hit.excused.is_none()) {
                sums.hits(&outcome.rule, 1);
                let stands = match hit.review {
                    ReviewState::Open => None,
                    ReviewState::Confirmed => Some(true),
                    ReviewState::Overturned => Some(false),
                };
                let said = said.get(hit.id.as_str()).map(|said| said.iter().map(|(who, what)| (*who, *what)));
                sums.judged(&outcome.rule, stands, said.into_iter().flatten());
            }
        }
    }
    sums.finish()
}

/// Sums from which agreement is told, where hits and reviews come one by one. What `rule` is, is the caller's: a rule's
/// `id`, that with its scorecard's, or one name for all.
#[derive(Debug, Default)]
pub struct Agreements {
    rules: BTreeMap<String, (Agreement, Tables)>,
}

impl Agreements {
    /// So many more hits of a rule, excused ones left out.
    pub fn hits(&mut self, rule: &str, count: usize) {
        self.rule(rule).0.hits += count;
    }

    /// One hit that people judged: whether the latest verdict confirms it, and what each of them says of it.
    pub fn judged<'a>(
        &mut self,
        rule: &str,
        stands: Option<bool>,
        said: impl IntoIterator<Item = (&'a str, bool)>,
    ) {
        let (figures, tables) = self.rule(rule);
        figures.confirmed += usize::from(stands == Some(true));
        figures.overturned += usize::from(stands == Some(false));
        let mut said: Vec<(&str, bool)> = said.into_iter().collect();
        said.sort_unstable();
        for (n, (first, a)) in said.iter().enumerate() {
            for (second, b) in &said[n + 1..] {
                let cell = usize::from(!a) * 2 + usize::from(!b);
                tables.entry(((*first).to_owned(), (*second).to_owned())).or_default()[cell] += 1;
            }
        }
    }

    fn rule(&mut self, rule: &str) -> &mut (Agreement, Tables) {
        if !self.rules.contains_key(rule) {
            self.rules.insert(rule.to_owned(), Default::default());
        }
        self.rules.get_mut(rule).expect("it was put in where it was not")
    }

    /// Agreement by rule, in the order of the rules' names.
    #[must_use]
    pub fn finish(self) -> Vec<Agreement> {
        self.rules
            .into_iter()
            .map(|(rule, (mut figures, tables))| {
                figures.rule = rule;
                let judged = figures.confirmed + figures.overturned;
                figures.precision = (judged > 0).then(|| figures.confirmed as f64 / judged as f64);
                figures.pairs = tables
                    .into_iter()
                    .map(|((first, second), cells)| PairAgreement {
                        reviewers: [first, second],
                        judged: cells.iter().sum(),
                        agreed: cells[0] + cells[3],
                        kappa: cohen(cells),
                    })
                    .collect();
                let known: Vec<(f64, f64)> =
                    figures.pairs.iter().filter_map(|pair| Some((pair.kappa?, pair.judged as f64))).collect();
                let weight: f64 = known.iter().map(|(_, judged)| judged).sum();
                figures.kappa = (weight > 0.0)
                    .then(|| known.iter().map(|(kappa, judged)| kappa * judged).sum::<f64>() / weight);
                figures
            })
            .collect()
    }
}

/// Cohen's kappa of a table: both confirm, first only, second only, neither (Cohen 1960).
fn cohen([both, first, second, neither]: [usize; 4]) -> Option<f64> {
    let n = (both + first + second + neither) as f64;
    let observed = (both + neither) as f64 / n;
    let a = (both + first) as f64 / n;
    let b = (both + second) as f64 / n;
    let chance = a * b + (1.0 - a) * (1.0 - b);
    (chance < 1.0).then(|| (observed - chance) / (1.0 - chance))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kappa_is_cohens() {
        // Cohen's own kind of table: 20 both, 5 and 10 alone, 15 neither: 0.7 observed, 0.5 by chance.
        let kappa = cohen([20, 5, 10, 15]).expect("defined");
        assert!((kappa - 0.4).abs() < 1e-12, "{kappa}");
        assert_eq!(cohen([3, 0, 0, 0]), None);
        assert_eq!(cohen([2, 0, 0, 2]), Some(1.0));
        assert_eq!(cohen([0, 2, 2, 0]), Some(-1.0));
    }
}
