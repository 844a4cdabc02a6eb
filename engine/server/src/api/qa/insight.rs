//! Figures over many calls, and the way from them to the calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use antiphon_engine_store::{InsightFilter, InsightOrder, Sight};
use antiphon_engine_view::InsightLine;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Api;
use super::super::guard::Rights;
use super::super::paging::page_length;
use super::super::problem::{Problem, catalogue};
use super::results::{Piece, cut};
use super::{inspection, owner};
use crate::config::Scope;
use crate::qa::Inspection;
use crate::qa::insight::{
    self, AgreementBy, AgreementQuestion, By, Collected, Listed, Per, Question, Table, TooMany,
};

/// Back from `until` where no `since` is told.
const DAYS: i64 = 30;
/// Rows of an answer at most: beyond it nobody reads them.
const MOST_ROWS: usize = 20_000;
/// Calls on the page.
const RISKIEST: usize = 50;
/// Calls that are passed over in a list at most.
const DEEPEST: usize = 100_000;
/// The longest value of a parameter, octets.
const LONGEST: usize = 1_024;
/// The media type of Parquet files.
const PARQUET: &str = "application/vnd.apache.parquet";
/// Sound before and after a finding in its clip, milliseconds.
const MARGIN_MS: i64 = 2_000;

/// What is asked. Every path takes the filters; the rest, those that say so.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Asked {
    by: Option<By>,
    per: Option<Per>,
    tz: Option<String>,
    since: Option<String>,
    until: Option<String>,
    job: Option<String>,
    card: Option<String>,
    agent: Option<String>,
    queue: Option<String>,
    product: Option<String>,
    tenant: Option<String>,
    rule: Option<String>,
    topic: Option<String>,
    passed: Option<bool>,
    risk: Option<f64>,
    format: Option<Format>,
    limit: Option<usize>,
    sort: Option<Sort>,
    after: Option<usize>,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Csv,
    Parquet,
}

impl Format {
    /// What the query says, else what the client would rather have.
    fn wanted(asked: Option<Self>, headers: &HeaderMap) -> Self {
        let accepts = |kind: &str| {
            let mut lines = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
            lines.any(|line| {
                line.split(',').any(|one| one.split(';').next().is_some_and(|one| one.trim() == kind))
            })
        };
        let known = [("application/json", Self::Json), ("text/csv", Self::Csv), (PARQUET, Self::Parquet)];
        let accepted = || known.into_iter().find(|(kind, _)| accepts(kind));
        asked.or_else(|| accepted().map(|(_, format)| format)).unwrap_or_default()
    }
}

/// In which order calls are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Sort {
    Time,
    Score,
    Risk,
}

type Given = Result<Query<Asked>, QueryRejection>;

fn wrong(detail: impl Into<String>) -> Problem {
    Problem::because(catalogue::QA_INSIGHT_QUERY, detail)
}

impl Asked {
    fn of(given: Given) -> Result<Self, Problem> {
        given.map(|Query(asked)| asked).map_err(|error| wrong(error.body_text()))
    }

    /// Refuses what a path does not take: whoever asks for it would take the answer for something else.
    fn only(&self, takes: &[&str]) -> Result<(), Problem> {
        let told = [
            ("by", self.by.is_some()),
            ("per", self.per.is_some()),
            ("limit", self.limit.is_some()),
            ("sort", self.sort.is_some()),
            ("after", self.after.is_some()),
        ];
        match told.iter().find(|(name, told)| *told && !takes.contains(name)) {
            Some((name, _)) => Err(wrong(format!("this path takes no {name}"))),
            None => Ok(()),
        }
    }

    fn zone(&self) -> Result<TimeZone, Problem> {
        let name = self.tz.as_deref().unwrap_or("UTC");
        // The system's own zone is none that the client knows.
        let known = name.len() < 64 && name.chars().all(|c| c.is_ascii_alphanumeric() || "/_+-".contains(c));
        let zone = if known { TimeZone::get(name).ok() } else { None };
        zone.ok_or_else(|| {
            wrong(format!("tz is no time zone such as Asia/Shanghai: {}", name.escape_debug()))
        })
    }

    /// From when until when, in milliseconds since 1970.
    fn range(&self, zone: &TimeZone) -> Result<(i64, i64), Problem> {
        let until = match &self.until {
            Some(until) => instant("until", until, zone)?,
            None => Timestamp::now().as_millisecond() + 1,
        };
        let since = match &self.since {
            Some(since) => instant("since", since, zone)?,
            None => until - DAYS * 86_400_000,
        };
        if since >= until {
            return Err(wrong("since is not before until"));
        }
        Ok((since, until))
    }

    fn question(self, sight: Sight) -> Result<Question, Problem> {
        let named = [
            ("job", &self.job),
            ("card", &self.card),
            ("agent", &self.agent),
            ("queue", &self.queue),
            ("product", &self.product),
            ("tenant", &self.tenant),
            ("rule", &self.rule),
            ("topic", &self.topic),
        ];
        for (name, value) in named {
            // PostgreSQL has no text with such a sign in it.
            if value.as_ref().is_some_and(|value| value.len() > LONGEST || value.contains('\0')) {
                return Err(wrong(format!("{name} is longer than {LONGEST} octets, or no text")));
            }
        }
        if self.risk.is_some_and(|risk| !(0.0..=1.0).contains(&risk)) {
            return Err(wrong("risk is 0 to 1"));
        }
        let zone = self.zone()?;
        let (since_ms, until_ms) = self.range(&zone)?;
        let filter = InsightFilter {
            sight,
            since_ms,
            until_ms,
            job: self.job,
            card: self.card,
            agent: self.agent,
            queue: self.queue,
            product: self.product,
            tenant: self.tenant,
            rule: self.rule,
            topic: self.topic,
            passed: self.passed,
            risk: self.risk,
        };
        Ok(Question { filter, by: self.by, per: self.per, zone })
    }
}

/// A time with its offset (RFC 3339), or a day of the time zone.
fn instant(name: &str, text: &str, zone: &TimeZone) -> Result<i64, Problem> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at.as_millisecond());
    }
    let day = text.parse::<civil::Date>().ok().and_then(|day| day.to_zoned(zone.clone()).ok());
    let day = day.ok_or_else(|| {
        let told: String = text.chars().take(40).collect();
        wrong(format!("{name} is no time such as 2026-11-22T08:00:00Z and no day: {}", told.escape_debug()))
    })?;
    Ok(day.timestamp().as_millisecond())
}

/// What a client sees of calls: `admin` all, others what jobs of their own came to, and live calls of their tenant.
fn sight(api: &Api, rights: &Rights) -> Sight {
    match owner(rights) {
        None => Sight::All,
        Some(owner) => {
            let token = api.tokens.iter().find(|token| token.name == owner);
            Sight::Of { tenant: token.and_then(|token| token.tenant.clone()), owner }
        }
    }
}

async fn collected(inspection: &Inspection, question: &Question) -> Result<Collected, Problem> {
    // It is never closed.
    let _place = inspection.questions().acquire().await;
    insight::collect(inspection.store(), question).await?.map_err(|TooMany| too_many())
}

fn answer(
    format: Format,
    name: &str,
    table: &Table,
    json: impl FnOnce(Vec<Value>) -> Value,
) -> Result<Response, Problem> {
    if table.rows.len() > MOST_ROWS {
        let detail = format!("{} rows, and at most {MOST_ROWS} are told", table.rows.len());
        return Err(Problem::because(catalogue::QA_INSIGHT_LARGE, detail));
    }
    match format {
        Format::Json => Ok(Json(json(table.json())).into_response()),
        Format::Csv => {
            let csv = table.csv().map_err(|error| {
                tracing::error!(%error, "a table could not be written");
                Problem::of(catalogue::STORE_FAILED)
            })?;
            Ok(file(csv, "text/csv; charset=utf-8; header=present", &format!("{name}.csv")))
        }
        Format::Parquet => Ok(file(table.parquet(), PARQUET, &format!("{name}.parquet"))),
    }
}

/// Octets that a browser keeps as a file.
fn file(octets: Vec<u8>, kind: &'static str, name: &str) -> Response {
    let mut response = ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], octets).into_response();
    if let Ok(name) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    response
}

fn range(question: &Question) -> Value {
    let at = super::time;
    let zone = question.zone.iana_name().unwrap_or("UTC");
    json!({ "since": at(question.filter.since_ms), "until": at(question.filter.until_ms), "time_zone": zone })
}

fn with(mut object: Value, members: Value) -> Value {
    if let (Value::Object(object), Value::Object(members)) = (&mut object, members) {
        object.extend(members);
    }
    object
}

/// `GET /v1/qa/insight`
pub(in super::super) async fn figures(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    headers: HeaderMap,
    given: Given,
) -> Result<Response, Problem> {
    let asked = Asked::of(given)?;
    asked.only(&["by", "per"])?;
    let format = Format::wanted(asked.format, &headers);
    let question = asked.question(sight(&api, &rights))?;
    let collected = collected(inspection(&api)?, &question).await?;
    let table = insight::figures(&question, &collected.insight, &collected.periods, false);
    let total = insight::figures(&question, &collected.insight, &collected.periods, true).json().pop();
    answer(format, "insight", &table, |rows| with(range(&question), json!({ "total": total, "rows": rows })))
}

/// `GET /v1/qa/insight/page`: a page that needs nothing else.
pub(in super::super) async fn page(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    headers: HeaderMap,
    given: Given,
) -> Result<Html<String>, Problem> {
    let asked = Asked::of(given)?;
    asked.only(&["per"])?;
    let language = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or("en");
    let language = language.split([',', '-', ';']).next().unwrap_or("en").trim().to_ascii_lowercase();
    let question = asked.question(sight(&api, &rights))?;
    let inspection = inspection(&api)?;
    let board = {
        let _place = inspection.questions().acquire().await;
        insight::board(inspection.store(), &question).await?.map_err(|TooMany| too_many())?
    };
    let store = inspection.store();
    let riskiest = store.insight_calls(&question.filter, InsightOrder::Risk, 0, RISKIEST).await?;
    let local = |ms: i64| {
        let at = Timestamp::from_millisecond(ms).ok()?.to_zoned(question.zone.clone());
        Some(at.strftime("%Y-%m-%d %H:%M").to_string())
    };
    let lines: Vec<_> = riskiest
        .into_iter()
        .map(|call| {
            let features: BTreeMap<String, f32> = features(&call.measured);
            InsightLine {
                href: (!call.live).then(|| format!("/v1/qa/jobs/{}/files/{}/report", call.job, call.n)),
                name: call.name,
                agent: call.agent,
                at: local(call.at_ms),
                score: Some((call.score, call.passed)),
                risk: call.risk,
                features: features.into_iter().collect(),
            }
        })
        .collect();
    let filter = &question.filter;
    let zone = question.zone.iana_name().unwrap_or("UTC");
    let at = |ms| local(ms).unwrap_or_default();
    let range = format!("{} – {} {zone}", at(filter.since_ms), at(filter.until_ms));
    // Thousands of rows are some milliseconds of writing.
    let page = tokio::task::spawn_blocking(move || board.page("Antiphon", &language, &range, &lines)).await;
    page.map(Html).map_err(|_| Problem::of(catalogue::STORE_FAILED))
}

/// Each feature's share of the risk.
fn features(measured: &str) -> BTreeMap<String, f32> {
    let measured: Value = serde_json::from_str(measured).unwrap_or_default();
    serde_json::from_value(measured["features"].clone()).unwrap_or_default()
}

fn too_many() -> Problem {
    Problem::because(catalogue::QA_INSIGHT_LARGE, "more than 1000000 calls: ask for a shorter time")
}

/// `GET /v1/qa/insight/rules`
pub(in super::super) async fn rules(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    headers: HeaderMap,
    given: Given,
) -> Result<Response, Problem> {
    let asked = Asked::of(given)?;
    asked.only(&["by", "per"])?;
    tabulated(&api, &rights, &headers, asked, "rules", |question, collected| {
        insight::rules(question, &collected.insight, &collected.periods)
    })
    .await
}

/// `GET /v1/qa/insight/topics`
pub(in super::super) async fn topics(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    headers: HeaderMap,
    given: Given,
) -> Result<Response, Problem> {
    let asked = Asked::of(given)?;
    asked.only(&["limit"])?;
    let most = length(asked.limit)?;
    tabulated(&api, &rights, &headers, asked, "topics", |question, collected| {
        insight::topics(question, &collected.insight.topics(most))
    })
    .await
}

/// `GET /v1/qa/insight/reasons`
pub(in super::super) async fn reasons(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    headers: HeaderMap,
    given: Given,
) -> Result<Response, Problem> {
    let asked = Asked::of(given)?;
    asked.only(&["limit"])?;
    let most = length(asked.limit)?;
    tabulated(&api, &rights, &headers, asked, "reasons", |_, collected| {
        insight::reasons(&collected.insight.reasons(most))
    })
    .await
}

/// Answers with a table made of what was collected for the question.
async fn tabulated(
    api: &Api,
    rights: &Rights,
    headers: &HeaderMap,
    asked: Asked,
    name: &'static str,
    tell: impl FnOnce(&Question, &Collected) -> Table,
) -> Result<Response, Problem> {
    let format = Format::wanted(asked.format, headers);
    let question = asked.question(sight(api, rights))?;
    let collected = collected(inspection(api)?, &question).await?;
    let table = tell(&question, &collected);
    answer(format, name, &table, |rows| with(range(&question), json!({ "rows": rows })))
}

fn length(limit: Option<usize>) -> Result<usize, Problem> {
    page_length(limit, catalogue::QA_INSIGHT_QUERY)
}

/// `GET /v1/qa/insight/calls`: the calls behind a figure, with their findings and clips.
pub(in super::super) async fn calls(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    headers: HeaderMap,
    given: Given,
) -> Result<Response, Problem> {
    let asked = Asked::of(given)?;
    asked.only(&["limit", "sort", "after"])?;
    let (format, limit) = (Format::wanted(asked.format, &headers), length(asked.limit)?);
    let skip = asked.after.unwrap_or(0);
    if skip > DEEPEST {
        return Err(wrong(format!("after is more than {DEEPEST}: ask for a shorter time")));
    }
    let order = match asked.sort {
        None | Some(Sort::Time) => InsightOrder::Time,
        Some(Sort::Score) => InsightOrder::Score,
        Some(Sort::Risk) => InsightOrder::Risk,
    };
    let question = asked.question(sight(&api, &rights))?;
    let store = inspection(&api)?.store();
    // One more than is shown tells whether there is a next page.
    let mut found = store.insight_calls(&question.filter, order, skip, limit + 1).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let mut listed = Vec::with_capacity(found.len());
    for call in found {
        let risk = features(&call.measured);
        let href = if call.live {
            format!("/v1/calls/{}", call.job)
        } else {
            format!("/v1/qa/jobs/{}/files/{}", call.job, call.n)
        };
        listed.push(Listed { call, risk, href: Some(href) });
    }
    let table = insight::calls(&listed);
    let mut hits = Vec::with_capacity(listed.len());
    if format == Format::Json {
        for Listed { call, href, .. } in &listed {
            let found = store.standing_hits(&call.job, call.n, &call.card).await?;
            let base = match (call.live, href) {
                (true, _) => format!("/v1/qa/calls/{}/clip", call.job),
                (false, href) => format!("{}/clip", href.as_deref().unwrap_or_default()),
            };
            let seconds = |ms: i64| ms as f64 / 1_000.0;
            let hit = |hit: &antiphon_engine_store::StoredHit| {
                let (start, end) = ((hit.start_ms - MARGIN_MS).max(0), hit.end_ms + MARGIN_MS);
                json!({
                    "hit": hit.id,
                    "rule": hit.rule,
                    "missed": hit.missed,
                    "points": hit.points,
                    "start": seconds(hit.start_ms),
                    "end": seconds(hit.end_ms),
                    "clip": format!("{base}?start={}&end={}", seconds(start), seconds(end.min(start + 600_000))),
                })
            };
            hits.push(found.iter().map(hit).collect::<Vec<_>>());
        }
    }
    let next = more.then_some(skip + limit);
    answer(format, "calls", &table, |mut rows| {
        for ((row, hits), listed) in rows.iter_mut().zip(hits).zip(&listed) {
            row["n"] = if listed.call.live { Value::Null } else { json!(listed.call.n) };
            row["risk_features"] = json!(listed.risk);
            row["hits"] = json!(hits);
        }
        with(range(&question), json!({ "calls": rows, "next": next }))
    })
}

/// What agreement is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct AgreementAsked {
    by: Option<AgreementBy>,
    card: Option<String>,
    reviewer: Option<String>,
    tz: Option<String>,
    since: Option<String>,
    until: Option<String>,
    format: Option<Format>,
}

/// `GET /v1/qa/agreement`: how far people agree with rules, and with each other.
pub(in super::super) async fn agreement(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    headers: HeaderMap,
    given: Result<Query<AgreementAsked>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(asked) = given.map_err(|error| wrong(error.body_text()))?;
    let format = Format::wanted(asked.format, &headers);
    let common = Asked {
        tz: asked.tz,
        since: asked.since,
        until: asked.until,
        card: asked.card,
        agent: asked.reviewer,
        ..Asked::default()
    };
    let question = common.question(sight(&api, &rights))?;
    let filter = &question.filter;
    let inspection = inspection(&api)?;
    let by = asked.by.unwrap_or_default();
    let asked = AgreementQuestion {
        sight: filter.sight.clone(),
        by,
        card: filter.card.as_deref(),
        reviewer: filter.agent.as_deref(),
        since_ms: filter.since_ms,
        until_ms: filter.until_ms,
    };
    let _place = inspection.questions().acquire().await;
    let rows = insight::agreement(inspection.store(), &asked).await?.map_err(|TooMany| {
        Problem::because(catalogue::QA_INSIGHT_LARGE, "more than 1000000 reviews: ask for a shorter time")
    })?;
    let names: &[&str] = match by {
        AgreementBy::Rule => &["card", "rule"],
        AgreementBy::Card => &["card"],
        AgreementBy::Reviewer => &["reviewer"],
    };
    let table = insight::agreements(names, &rows);
    answer(format, "agreement", &table, |mut told| {
        for (row, agreement) in told.iter_mut().zip(&rows) {
            row["pairs"] = json!(agreement.pairs);
        }
        with(range(&question), json!({ "rows": told }))
    })
}

/// `GET /v1/qa/calls/{id}/clip`: a piece of a call that was judged while it went on.
pub(in super::super) async fn live_clip(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    Path(id): Path<String>,
    piece: Result<Query<Piece>, QueryRejection>,
) -> Result<Response, Problem> {
    let piece = Piece::of(piece)?;
    let inspection = inspection(&api)?;
    if rights.need(Scope::QaRead).is_err()
        || !inspection.store().sees_live_call(&id, &sight(&api, &rights)).await?
    {
        return Err(Problem::of(catalogue::QA_UNKNOWN));
    }
    let path = inspection.recording(&id).await.map_err(|_| Problem::of(catalogue::QA_NO_SOUND))?;
    cut(vec![path], piece).await
}
