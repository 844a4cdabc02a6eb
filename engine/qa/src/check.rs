//! Rules that can never do anything, told before they disappoint.

use antiphon_engine_flow::file::Problems;

use crate::logic::{Logic, Tri};
use crate::model::{Asks, Card, Extent, Kind, Side, Together, Window};
use crate::result::{Action, ActionMode, Method};
use crate::scorecard::Scorecard;
use crate::similar::By;

/// Warns of what can never happen.
pub(crate) fn check(card: &Card, problems: &mut Problems) {
    let used = Scorecard::used(card);
    for (name, (at, _)) in &card.named {
        let of_name = |n: usize| card.conditions[n].name.as_ref() == Some(name) && used[n];
        if !(0..card.conditions.len()).any(of_name) {
            problems.warn(*at, format!("nothing uses the condition `{name}`"));
        }
    }
    let never: Vec<Option<String>> = (0..card.conditions.len()).fold(Vec::new(), |mut known, n| {
        let why = impossible(card, n, &known);
        known.push(why);
        known
    });
    for (n, condition) in card.conditions.iter().enumerate() {
        if let Some(why) = &never[n] {
            problems.warn(condition.at, format!("this can never hold: {why}"));
        }
        doubts(card, n, problems);
    }
    rules(card, &never, problems);
    for group in &card.groups {
        let rules: Vec<_> = card.rules.iter().filter(|rule| rule.group.as_ref() == Some(&group.id)).collect();
        if rules.is_empty() {
            problems.warn(group.at, format!("the group `{}` has no rule", group.id));
        } else if let Some(cap) = group.cap {
            // A rule without a cap may hit any number of times.
            let bounded = rules.iter().all(|rule| rule.cap.is_some() || once(&rule.asks, rule.per));
            let reach = |points: f64, cap: Option<f64>| cap.unwrap_or(points);
            let sum: f64 = rules
                .iter()
                .map(|rule| reach(rule.points, rule.cap))
                .filter(|points| points * cap > 0.0)
                .sum();
            if bounded && sum.abs() < cap.abs() {
                let message = format!(
                    "the cap {cap} of the group `{}` is never reached: its rules make {sum} at most",
                    group.id
                );
                problems.warn(group.at, message);
            }
        }
    }
    let scoring = card.scoring;
    if scoring.pass > scoring.ceiling {
        problems.warn(
            antiphon_engine_flow::file::Place::FILE,
            format!(
                "nothing can pass: `pass` ({}) is above the highest score ({})",
                scoring.pass, scoring.ceiling
            ),
        );
    }
}

/// Whether a rule has one hit at most.
fn once(asks: &Asks, per: crate::model::Per) -> bool {
    match asks {
        Asks::Must(_) | Asks::Expr(_) => true,
        Asks::Never(logic) => logic.alternatives().is_none() || per == crate::model::Per::Call,
    }
}

fn rules(card: &Card, never: &[Option<String>], problems: &mut Problems) {
    let known = |n: &usize| if never[*n].is_some() { Tri::No } else { Tri::Open };
    for rule in &card.rules {
        let id = &rule.id;
        if let Some(when) = &rule.when {
            if when.value(&known) == Tri::No || contradicts(when) {
                problems.warn(rule.at, format!("the rule `{id}` never applies: its `when` can never hold"));
            }
            if *when == *rule.asks.logic() && matches!(rule.asks, Asks::Must(_)) {
                problems.warn(
                    rule.at,
                    format!("the rule `{id}` is always kept: it asks for what its `when` says"),
                );
            }
        }
        match (&rule.asks, rule.asks.logic().value(&known)) {
            (Asks::Must(_), Tri::No) => {
                problems.warn(
                    rule.at,
                    format!("the rule `{id}` can never be kept: what it asks for can never hold"),
                );
            }
            (_, Tri::No) => problems.warn(rule.at, format!("the rule `{id}` can never hit")),
            _ => {}
        }
        if contradicts(rule.asks.logic()) {
            problems.warn(rule.at, format!("the rule `{id}` asks for something and its contrary"));
        }
        for exception in &rule.except {
            if exception.logic.value(&known) == Tri::No {
                problems.warn(exception.at, format!("this exception of `{id}` can never hold"));
            }
            if exception.logic == *rule.asks.logic()
                && !matches!(rule.asks, Asks::Must(_))
                && exception.near.is_none()
            {
                problems.warn(exception.at, format!("the rule `{id}` always excuses itself"));
            }
            if exception.near.is_some() && matches!(rule.asks, Asks::Must(_)) {
                let message = format!(
                    "the rule `{id}` asks for something that is missing, so that nothing is near it; the exception counts for the whole call"
                );
                problems.warn(exception.at, message);
            }
        }
        if let Some(cap) = rule.cap {
            if cap * rule.points < 0.0 {
                problems.warn(
                    rule.at,
                    format!("the cap {cap} of `{id}` has the other sign than its points, {}", rule.points),
                );
            } else if cap.abs() < rule.points.abs() {
                let points = rule.points;
                problems.warn(rule.at, format!("the cap {cap} of `{id}` is less than one hit, {points}"));
            } else if once(&rule.asks, rule.per) && cap.abs() > rule.points.abs() {
                problems
                    .warn(rule.at, format!("the cap {cap} of `{id}` is never reached: it hits once at most"));
            }
        }
        if card.scoring.method == Method::Points
            && rule.points == 0.0
            && !rule.fatal
            && rule.alert.is_none()
            && rule.action.is_none()
        {
            problems.warn(
                rule.at,
                format!("the rule `{id}` changes nothing: it has no points, is not fatal and alerts nobody"),
            );
        }
        if matches!(
            rule.action,
            Some(Action { mode: ActionMode::Take, what: crate::result::ActionKind::HangUp })
        ) && !rule.fatal
        {
            problems.warn(rule.at, format!("the rule `{id}` ends calls by itself and is not fatal"));
        }
    }
}

/// Whether an expression wants something and its contrary at once.
fn contradicts(logic: &Logic<usize>) -> bool {
    match logic {
        Logic::All(parts) => {
            parts.iter().any(|part| matches!(part, Logic::Not(inner) if parts.contains(inner)))
                || parts.iter().any(contradicts)
        }
        Logic::Any(parts) => parts.iter().all(contradicts),
        Logic::Not(_) | Logic::Is(_) => false,
    }
}

/// Why a condition can never hold, given those before it.
fn impossible(card: &Card, n: usize, known: &[Option<String>]) -> Option<String> {
    let condition = &card.conditions[n];
    let part = |n: &usize| known[*n].is_some();
    let name = |n: usize| card.conditions[n].name.as_deref().unwrap_or("a part").to_owned();
    let by_kind = match &condition.kind {
        Kind::Regex { pattern, not } => {
            if let Some(not) = not
                && not.as_str() == pattern.as_str()
            {
                Some("`not_regex` excludes all that `regex` finds".to_owned())
            } else {
                unmatchable(pattern.as_str())
            }
        }
        Kind::Any(parts) if parts.iter().all(part) => Some("none of its parts can".to_owned()),
        Kind::All { parts, .. } | Kind::Sequence { steps: parts, .. } => {
            parts.iter().find(|n| part(n)).map(|n| format!("`{}` cannot", name(*n)))
        }
        Kind::Logic(logic) => {
            let value = logic.value(&|n| if known[*n].is_some() { Tri::No } else { Tri::Open });
            (value == Tri::No || contradicts(logic)).then(|| "its expression is always false".to_owned())
        }
        Kind::Rate { range, .. } | Kind::Entity { range, .. } => match (range.above, range.below) {
            (Some(above), Some(below)) if above >= below => {
                Some(format!("nothing is above {above} and below {below}"))
            }
            _ => None,
        },
        Kind::Duration { longer: Some(longer), shorter: Some(shorter), .. } if longer >= shorter => {
            Some(format!("nothing is longer than {longer} and shorter than {shorter}"))
        }
        Kind::Interrupt { by: Some(by), of: Some(of), .. }
            if by == of && *by != antiphon_engine_measure::Role::Other =>
        {
            Some("nobody interrupts themselves".to_owned())
        }
        _ => None,
    };
    by_kind.or_else(|| match &condition.window {
        Some(Window::Anchored { anchor, .. }) if known[*anchor].is_some() => {
            Some("what its window stands beside cannot".to_owned())
        }
        Some(Window::First(extent) | Window::Last(extent)) => match extent {
            Extent::Turns(0) => Some("its window has no turn".to_owned()),
            Extent::Share(share) if *share <= 0.0 => Some("its window is empty".to_owned()),
            Extent::Time(time) if time.nanos() == 0 => Some("its window is empty".to_owned()),
            _ => None,
        },
        _ => None,
    })
}

/// Why a pattern matches no text.
fn unmatchable(pattern: &str) -> Option<String> {
    // Text is read in lower case and without marks: what asks for them asks in vain.
    let sample = |marks: &str| pattern.chars().any(|c| marks.contains(c));
    let literal = !sample("\\[](){}|?*+^$.");
    let marks = pattern.chars().find(|c| "，。！？；：、,!;:\"“”".contains(*c));
    match marks {
        Some(mark) if literal => {
            Some(format!("the text is read without marks, and the pattern has `{mark}`"))
        }
        _ => {
            let hir = regex_syntax::parse(pattern).ok()?;
            hir.properties().minimum_len().is_none().then(|| "the pattern matches no text at all".to_owned())
        }
    }
}

fn doubts(card: &Card, n: usize, problems: &mut Problems) {
    let condition = &card.conditions[n];
    match &condition.kind {
        Kind::Regex { pattern, .. } if pattern.is_match("") => {
            problems.warn(condition.at, "this pattern matches nothing too; empty matches do not count");
        }
        Kind::Similar { least, by, .. } if *by != By::Meaning && *least < 0.4 => {
            problems.warn(condition.at, format!("almost everything is similar by {least}"));
        }
        Kind::None { parts, together: Together::Turn } if condition.speaker.is_none() && parts.len() == 1 => {
            problems.warn(
                condition.at,
                "this holds in every turn of anybody that does not say it; say whose by `speaker`",
            );
        }
        Kind::Near { terms, ordered: true, .. } if terms.windows(2).any(|pair| pair[0] == pair[1]) => {
            problems.warn(condition.at, "a term has to stand twice here");
        }
        _ => {}
    }
    if let Some(Window::Anchored { side, anchor, .. }) = &condition.window {
        let same = card.conditions[*anchor].at == condition.at;
        if same || *side == Side::Around && *anchor == n {
            problems.warn(condition.at, "this window stands beside the condition itself");
        }
    }
}
