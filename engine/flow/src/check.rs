//! What is doubtful in a flow that can be read.

use std::collections::{HashMap, HashSet};

use crate::intents::example_tokens;
use crate::model::{Action, KeyTarget, StepId};
use crate::problem::Problems;
use crate::read::Source;
use crate::text::join;

const FEW_EXAMPLES: usize = 3;

/// Looks for steps nobody reaches, intents nobody can tell apart and slots that go unused.
pub(crate) fn check(source: &Source, problems: &mut Problems) {
    unreachable_steps(source, problems);
    silent_circles(source, problems);
    early_questions(source, problems);
    let routed: HashSet<usize> = source
        .steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Ask(ask) => Some(ask.intents.iter()),
            _ => None,
        })
        .flatten()
        .chain(&source.globals)
        .map(|(intent, _)| *intent)
        .collect();
    let mut owners: HashMap<String, usize> = HashMap::new();
    for (n, intent) in source.intents.iter().enumerate() {
        if intent.at.line == 0 {
            continue;
        }
        if intent.examples.len() < FEW_EXAMPLES && intent.keywords.is_empty() && intent.patterns.is_empty() {
            let count = intent.examples.len();
            let message =
                format!("the intent `{}` has only {count} examples; callers vary more", intent.name);
            problems.warn(intent.at, message);
        }
        if !routed.contains(&n) && intent.name != "repeat" {
            problems.warn(intent.at, format!("no question leads the intent `{}` anywhere", intent.name));
        }
        for example in &intent.examples {
            let words = join(&example_tokens(example));
            let owner = *owners.entry(words).or_insert(n);
            if owner != n {
                let other = &source.intents[owner].name;
                problems.warn(
                    intent.at,
                    format!("the intents `{other}` and `{}` share `{example}`", intent.name),
                );
            }
        }
    }
    let mut used: HashSet<&str> = source.intents.iter().flat_map(|i| &i.slots).map(String::as_str).collect();
    for step in &source.steps {
        if let Action::Ask(ask) = &step.action {
            used.extend(ask.slot.iter().map(|target| target.slot.as_str()));
        }
    }
    for (name, slot) in &source.slots {
        if !used.contains(name.as_str()) {
            problems.warn(slot.at, format!("nothing fills the slot `{name}`"));
        }
    }
}

fn unreachable_steps(source: &Source, problems: &mut Problems) {
    let mut reached = HashSet::new();
    let mut open: Vec<StepId> = vec![source.start];
    open.extend(source.globals.iter().map(|(_, step)| *step));
    while let Some(step) = open.pop() {
        if reached.insert(step) {
            open.extend(successors(source, step));
        }
    }
    for (n, step) in source.steps.iter().enumerate() {
        if !reached.contains(&n) {
            problems.warn(step.at, format!("no way leads to the step `{}`", step.name));
        }
    }
}

/// A `goto` or `say` that comes back to itself without ever asking would run until the session stops it.
fn silent_circles(source: &Source, problems: &mut Problems) {
    for (n, start) in source.steps.iter().enumerate() {
        let mut at = n;
        for _ in 0..=source.steps.len() {
            let step = &source.steps[at];
            let next = match &step.action {
                Action::Goto(to) => Some(*to),
                Action::Say { .. } | Action::Set(_) | Action::Answer => step.next,
                _ => None,
            };
            let Some(next) = next else { break };
            if next == n {
                problems.error(
                    start.at,
                    format!("the step `{}` comes back to itself and never asks", start.name),
                );
                break;
            }
            at = next;
        }
    }
}

/// Before the answer most lines carry sound one way only.
fn early_questions(source: &Source, problems: &mut Problems) {
    if !source.steps.iter().any(|step| matches!(step.action, Action::Answer)) {
        return;
    }
    let mut reached = HashSet::new();
    let mut open: Vec<StepId> = vec![source.start];
    while let Some(n) = open.pop() {
        let step = &source.steps[n];
        if !reached.insert(n) || matches!(step.action, Action::Answer) {
            continue;
        }
        if matches!(step.action, Action::Ask(_)) {
            let message = format!(
                "the question `{}` comes before `answer`: many lines do not let a caller be heard yet",
                step.name
            );
            problems.warn(step.at, message);
        }
        open.extend(successors(source, n));
    }
}

fn successors(source: &Source, step: StepId) -> Vec<StepId> {
    let step = &source.steps[step];
    let mut all = Vec::new();
    match &step.action {
        Action::Say { .. } | Action::Set(_) | Action::Answer => all.extend(step.next),
        Action::Ask(ask) => {
            all.extend(ask.intents.iter().map(|(_, step)| *step));
            all.extend(ask.keys.values().filter_map(|target| match target {
                KeyTarget::Step(step) => Some(*step),
                KeyTarget::Value(_) => None,
            }));
            all.extend(ask.then);
            all.extend(ask.slot.as_ref().and(step.next));
        }
        Action::Branch(ways) => all.extend(ways.iter().map(|(_, step)| *step)),
        Action::Http(http) => {
            all.extend(http.on_status.iter().map(|(_, step)| *step));
            all.extend(http.on_timeout.into_iter().chain(http.on_error).chain(http.on_ok));
            if http.on_ok.is_none() || http.on_error.is_none() {
                all.extend(step.next);
            }
        }
        Action::Transfer(transfer) => {
            all.extend(transfer.on.iter().map(|(_, step)| *step));
            all.extend(step.next);
        }
        Action::Goto(to) => all.push(*to),
        Action::HangUp { .. } => {}
    }
    all
}
