//! Judging a case and comparing it with what is expected.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Case, ExpectedHit, Report};
use crate::result::{Hit, HitKind, Judgement};
use crate::scorecard::Scorecard;

impl Case {
    /// Judges the dialogue and says what is not as expected, and why.
    #[must_use]
    pub fn run(&self, scorecard: &Scorecard) -> Report {
        let (judgement, explanation) = scorecard.judge_explained(&self.conversation, &self.measures());
        let failures = self.failures(scorecard, &judgement);
        let place = self.place.to_string();
        Report {
            case: self.name.clone(),
            place: place.trim_end_matches([':', ' ']).to_owned(),
            passed: failures.is_empty(),
            failures,
            judgement,
            explanation,
        }
    }

    fn failures(&self, scorecard: &Scorecard, judgement: &Judgement) -> Vec<String> {
        let expect = &self.expect;
        let mut failures = Vec::new();
        let known: BTreeSet<&str> = scorecard.rules().collect();
        let named = expect.hits.iter().flatten().map(|hit| &hit.rule);
        let named = named.chain(expect.misses.iter().flatten()).chain(expect.excused.iter().flatten());
        let strangers: BTreeSet<&String> =
            named.chain(expect.rules.keys()).filter(|rule| !known.contains(rule.as_str())).collect();
        failures.extend(strangers.into_iter().map(|rule| format!("the scorecard has no rule `{rule}`")));
        if let Some(score) = expect.score
            && (score - judgement.score).abs() > 1e-6
        {
            failures.push(format!("the score is {}, not {score}", judgement.score));
        }
        if let Some(pass) = expect.pass
            && pass != judgement.pass
        {
            failures.push(format!("it {}", if judgement.pass { "passes" } else { "does not pass" }));
        }
        if let Some(fatal) = expect.fatal
            && fatal != judgement.fatal
        {
            failures.push(format!("it is {}fatal", if judgement.fatal { "" } else { "not " }));
        }
        if let Some(hits) = &expect.hits {
            self.compare(hits, judgement, &mut failures);
        }
        let of = |kept: fn(&Hit) -> bool| -> BTreeSet<String> {
            let hits = judgement.rules.iter().flat_map(|rule| &rule.hits);
            hits.filter(|hit| kept(hit)).map(|hit| hit.rule.clone()).collect()
        };
        let missed = of(|hit| hit.kind == HitKind::Missed && hit.stands());
        let excused = of(|hit| hit.excused.is_some());
        for (what, expected, found) in
            [("missed", &expect.misses, missed), ("excused", &expect.excused, excused)]
        {
            let Some(expected) = expected else { continue };
            let expected: BTreeSet<String> = expected.iter().cloned().collect();
            failures.extend(expected.difference(&found).map(|rule| format!("{rule} is not {what}")));
            failures.extend(found.difference(&expected).map(|rule| format!("{rule} is {what}")));
        }
        for (rule, state) in &expect.rules {
            let found =
                judgement.rules.iter().find(|outcome| outcome.rule == *rule).map(|outcome| outcome.state);
            if let Some(found) = found
                && found != *state
            {
                failures.push(format!("{rule} is {found:?}, not {state:?}"));
            }
        }
        failures
    }

    /// Every hit has to be expected, and every expected one has to be there.
    fn compare(&self, expected: &[ExpectedHit], judgement: &Judgement, failures: &mut Vec<String>) {
        let mut wanted: BTreeMap<&str, usize> = BTreeMap::new();
        for hit in expected {
            *wanted.entry(&hit.rule).or_default() += hit.count;
        }
        let found = |rule: &str| -> Vec<&Hit> {
            let standing = judgement.standing().filter(|hit| hit.rule == rule && hit.kind != HitKind::Missed);
            standing.collect()
        };
        for outcome in &judgement.rules {
            let hits = found(&outcome.rule);
            let wanted = wanted.get(outcome.rule.as_str()).copied().unwrap_or(0);
            if hits.len() != wanted {
                let quotes: Vec<String> = hits.iter().take(5).map(|hit| self.told(hit)).collect();
                let told = if quotes.is_empty() { String::new() } else { format!(": {}", quotes.join("; ")) };
                failures.push(format!("{} has {} hits, not {wanted}{told}", outcome.rule, hits.len()));
            }
        }
        for one in expected {
            let hits = found(&one.rule);
            let fitting = hits.iter().filter(|hit| self.fits(one, hit)).count();
            if fitting < one.count && !hits.is_empty() {
                let quotes: Vec<String> = hits.iter().take(5).map(|hit| self.told(hit)).collect();
                failures.push(format!("no hit of {} is as expected: {}", one.rule, quotes.join("; ")));
            }
        }
    }

    fn fits(&self, expected: &ExpectedHit, hit: &Hit) -> bool {
        let turn = |turn: usize| {
            self.conversation.turns.get(turn - 1).is_some_and(|turn| {
                Some(turn.track) == hit.track && turn.said.start <= hit.start && hit.start <= turn.said.end
            })
        };
        expected.quote.as_ref().is_none_or(|quote| hit.quote.expose() == quote)
            && expected.turn.is_none_or(turn)
            && expected.start.is_none_or(|start| start == hit.start.millis())
            && expected.end.is_none_or(|end| end == hit.end.millis())
            && expected.points.is_none_or(|points| (points - hit.points).abs() < 1e-9)
    }

    fn told(&self, hit: &Hit) -> String {
        format!("“{}” from {} to {}", hit.quote.expose(), hit.start, hit.end)
    }
}

/// Plain text, for a terminal: one line where all is well, else everything.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.passed { "ok" } else { "FAILED" };
        writeln!(f, "{word} {} ({})", self.case, self.place)?;
        if self.passed {
            return Ok(());
        }
        for failure in &self.failures {
            writeln!(f, "  {failure}")?;
        }
        for line in self.explanation.to_string().lines() {
            writeln!(f, "    {line}")?;
        }
        Ok(())
    }
}
