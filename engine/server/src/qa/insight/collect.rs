//! Answers questions about many calls in one pass over what was kept of them.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use antiphon_engine_qa::insight::{Entry, Insight, Judged, Measured};
use antiphon_engine_qa::{Agreement, Agreements};
use antiphon_engine_store::{InsightCall, InsightFilter, Sight, Store, StoreError};
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::board::{Board, Told};
use super::period::{Calendar, Per, Period};

/// Calls by scorecard of one question, the period before included.
pub(crate) const MOST_CALLS: usize = 1_000_000;
/// Verdicts of people that one question about agreement looks at.
pub(crate) const MOST_OPINIONS: usize = 1_000_000;

/// What figures are told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    Agent,
    Queue,
    Product,
    Card,
}

impl By {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Queue => "queue",
            Self::Product => "product",
            Self::Card => "card",
        }
    }

    fn of(self, call: &InsightCall) -> &str {
        let named = match self {
            Self::Agent => &call.agent,
            Self::Queue => &call.queue,
            Self::Product => &call.product,
            Self::Card => return &call.card,
        };
        named.as_deref().unwrap_or_default()
    }
}

/// What is asked.
pub(crate) struct Question {
    pub(crate) filter: InsightFilter,
    pub(crate) by: Option<By>,
    pub(crate) per: Option<Per>,
    pub(crate) zone: TimeZone,
}

/// Periods by their labels.
pub(crate) type Periods = BTreeMap<String, Period>;

/// What came together.
pub(crate) struct Collected {
    pub(crate) insight: Insight,
    pub(crate) periods: Periods,
}

/// A question that looks at more calls than are looked at for one.
#[derive(Debug)]
pub(crate) struct TooMany;

/// Collects the calls of the time asked for, and of as much time before it to compare with.
///
/// # Errors
/// [`StoreError`], and inside of it [`TooMany`].
pub(crate) async fn collect(
    store: &Store,
    question: &Question,
) -> Result<Result<Collected, TooMany>, StoreError> {
    let mut insight = Insight::default();
    let mut calendar = question.per.map(|per| Calendar::new(question.zone.clone(), per));
    let all = each(store, &question.filter, |call, entry| {
        let value = question.by.map_or("", |by| by.of(call)).to_owned();
        let period = match &mut calendar {
            Some(calendar) if !entry.before => calendar.period(call.at_ms),
            _ => None,
        };
        insight.add(&(value, period.map(|period| period.label.clone()).unwrap_or_default()), entry);
    })
    .await?;
    let periods = calendar.map(Calendar::periods).unwrap_or_default();
    Ok(all.map(|()| Collected { insight, periods }))
}

/// Collects the same for the page.
///
/// # Errors
/// [`StoreError`], and inside of it [`TooMany`].
pub(crate) async fn board(store: &Store, question: &Question) -> Result<Result<Board, TooMany>, StoreError> {
    let mut board = Board::new();
    let mut calendar = Calendar::new(question.zone.clone(), question.per.unwrap_or(Per::Day));
    let all = each(store, &question.filter, |call, entry| {
        let period = calendar.period(call.at_ms).map_or("", |period| period.label.as_str());
        board.add(Told { agent: call.agent.as_deref(), queue: call.queue.as_deref(), period }, entry);
    })
    .await?;
    Ok(all.map(|()| board))
}

/// Hands over every call of the time and of as much before it.
async fn each(
    store: &Store,
    filter: &InsightFilter,
    mut take: impl FnMut(&InsightCall, Entry<'_>),
) -> Result<Result<(), TooMany>, StoreError> {
    let since_ms = filter.since_ms;
    let length = filter.until_ms.saturating_sub(since_ms);
    let filter = InsightFilter { since_ms: since_ms.saturating_sub(length), ..filter.clone() };
    let mut broken = 0u64;
    let all = store
        .each_call(&filter, MOST_CALLS, |call| {
            let (Ok(judged), Ok(measured)) = (
                serde_json::from_str::<Judged>(&call.judged),
                serde_json::from_str::<Measured>(&call.measured),
            ) else {
                broken += 1;
                return;
            };
            let before = call.at_ms < since_ms;
            let number = number(&call.call);
            let entry =
                Entry { call: number, card: &call.card, before, judged: &judged, measured: &measured };
            take(&call, entry);
        })
        .await?;
    if broken > 0 {
        tracing::error!(
            broken,
            "calls are left out of the figures: what the store holds of them cannot be read"
        );
    }
    Ok(if all { Ok(()) } else { Err(TooMany) })
}

/// Stands for a call. Two of a million share one with a chance of 3 in 100 million.
pub(crate) fn number(call: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    call.hash(&mut hasher);
    hasher.finish()
}

/// What agreement is told by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AgreementBy {
    /// By scorecard and rule.
    #[default]
    Rule,
    /// By scorecard.
    Card,
    /// By who reviews.
    Reviewer,
}

/// Whose agreement with what is asked for.
pub(crate) struct AgreementQuestion<'a> {
    pub(crate) sight: Sight,
    pub(crate) by: AgreementBy,
    pub(crate) card: Option<&'a str>,
    pub(crate) reviewer: Option<&'a str>,
    pub(crate) since_ms: i64,
    pub(crate) until_ms: i64,
}

/// Agreement of people with rules and with each other. A scorecard and its rule are parted by a line feed in
/// [`Agreement::rule`].
///
/// # Errors
/// [`StoreError`], and inside of it [`TooMany`].
pub(crate) async fn agreement(
    store: &Store,
    question: &AgreementQuestion<'_>,
) -> Result<Result<Vec<Agreement>, TooMany>, StoreError> {
    let AgreementQuestion { sight, by, card, reviewer, since_ms, until_ms } = question;
    let mut sums = Agreements::default();
    let name = |card: &str, rule: &str| match by {
        AgreementBy::Card => card.to_owned(),
        _ => format!("{card}\n{rule}"),
    };
    if *by != AgreementBy::Reviewer {
        for count in store.found_counts(sight, *card, *since_ms, *until_ms).await? {
            sums.hits(&name(&count.card, &count.rule), usize::try_from(count.hits).unwrap_or(0));
        }
    }
    let opinions = store.opinions(sight, *card, *since_ms, *until_ms, MOST_OPINIONS + 1).await?;
    if opinions.len() > MOST_OPINIONS {
        return Ok(Err(TooMany));
    }
    for finding in opinions.chunk_by(|a, b| a.finding == b.finding) {
        let said: Vec<(&str, bool)> =
            finding.iter().map(|one| (one.reviewer.as_str(), one.confirms)).collect();
        let first = &finding[0];
        let rule = name(&first.finding.2, &first.rule);
        if *by != AgreementBy::Reviewer && reviewer.is_none() {
            // They come by time: the last word counts.
            sums.judged(&rule, said.last().map(|(_, confirms)| *confirms), said.iter().copied());
            continue;
        }
        for (n, &mine) in said.iter().enumerate().filter(|(_, mine)| reviewer.is_none_or(|who| who == mine.0))
        {
            let place = if *by == AgreementBy::Reviewer { mine.0 } else { rule.as_str() };
            if *by == AgreementBy::Reviewer {
                sums.hits(place, 1);
            }
            sums.judged(place, Some(mine.1), []);
            for (_, &other) in said.iter().enumerate().filter(|(other, _)| *other != n) {
                sums.judged(place, None, [mine, other]);
            }
        }
    }
    Ok(Ok(sums.finish()))
}
