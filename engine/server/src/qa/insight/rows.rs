//! Answers as tables. The column `href` is the way from a row to its calls.

use std::collections::BTreeSet;

use antiphon_engine_qa::Agreement;
use antiphon_engine_qa::insight::{Insight, Key, Row, Summary, TopicRow};
use jiff::Timestamp;

use super::collect::{Periods, Question};
use super::table::{Cell, Kind, Table};

/// The path where calls are listed.
const CALLS: &str = "/v1/qa/insight/calls";

fn summary(now: &Summary) -> [(&'static str, Cell); 20] {
    [
        ("calls", now.calls.into()),
        ("scored", now.scored.into()),
        ("mean_score", now.mean_score.into()),
        ("median_score", now.median_score.into()),
        ("pass_rate", now.pass_rate.into()),
        ("fatal", now.fatal.into()),
        ("hits", now.hits.into()),
        ("missed", now.missed.into()),
        ("length", now.length.into()),
        ("agent_talk", now.agent_talk.into()),
        ("silence", now.silence.into()),
        ("longest_silence", now.longest_silence.into()),
        ("hold", now.hold.into()),
        ("agent_interrupts", now.agent_interrupts.into()),
        ("customer_interrupts", now.customer_interrupts.into()),
        ("agitation", now.agitation.into()),
        ("response", now.response.into()),
        ("rate", now.rate.into()),
        ("risk", now.risk.into()),
        ("at_risk", now.at_risk.into()),
    ]
}

/// The names of the key's columns: what is told by, and the period.
fn keys(question: &Question) -> Vec<(&'static str, Kind)> {
    let keys = question.by.map(super::By::name).into_iter().chain(question.per.map(|_| "period"));
    keys.map(|key| (key, Kind::Text)).collect()
}

fn key_cells(question: &Question, key: &Key) -> Vec<Cell> {
    let known = |text: &String| Cell::Text((!text.is_empty()).then(|| text.clone()));
    let by = question.by.map(|_| known(&key.0));
    by.into_iter().chain(question.per.map(|_| known(&key.1))).collect()
}

/// Where the calls of a row are listed.
fn href(question: &Question, periods: Option<&Periods>, key: &Key, more: &[(&str, &str)]) -> Cell {
    let filter = &question.filter;
    let period = periods.and_then(|periods| periods.get(&key.1));
    let (mut since, mut until) = (filter.since_ms, filter.until_ms);
    if let Some(period) = period {
        (since, until) = (since.max(period.start_ms), until.min(period.end_ms));
    }
    let at =
        |ms| Timestamp::from_millisecond(ms).map_or_else(|_| String::new(), |at: Timestamp| at.to_string());
    let mut query = form_urlencoded::Serializer::for_suffix(format!("{CALLS}?"), CALLS.len() + 1);
    query.append_pair("since", &at(since)).append_pair("until", &at(until));
    let by = question.by.map(super::By::name);
    let kept = [
        ("job", &filter.job),
        ("card", &filter.card),
        ("agent", &filter.agent),
        ("queue", &filter.queue),
        ("product", &filter.product),
        ("tenant", &filter.tenant),
        ("rule", &filter.rule),
        ("topic", &filter.topic),
    ];
    for (name, value) in kept {
        if let Some(value) = value
            && by != Some(name)
            && !more.iter().any(|(other, _)| *other == name)
        {
            query.append_pair(name, value);
        }
    }
    if let Some(by) = by
        && !more.iter().any(|(other, _)| *other == by)
    {
        query.append_pair(by, &key.0);
    }
    if let Some(passed) = filter.passed {
        query.append_pair("passed", if passed { "true" } else { "false" });
    }
    if let Some(risk) = filter.risk {
        query.append_pair("risk", &risk.to_string());
    }
    for (name, value) in more {
        query.append_pair(name, value);
    }
    Cell::Text(Some(query.finish()))
}

/// Figures by key; `total` is one row of all.
pub(crate) fn figures(question: &Question, insight: &Insight, periods: &Periods, total: bool) -> Table {
    let rows: Vec<Row> = if total { vec![insight.total()] } else { insight.rows() };
    let groups: BTreeSet<&str> =
        rows.iter().flat_map(|row| &row.now.abilities).map(|ability| ability.group.as_str()).collect();
    let mut table = Table::new(if total { Vec::new() } else { keys(question) });
    table.add(summary(&Summary::default()).map(|(name, cell)| (name, cell.kind())));
    table.add([("calls_before", Kind::Count), ("score_before", Kind::Number)]);
    let abilities: Vec<String> = groups.iter().map(|group| format!("{}{group}", Table::ABILITY)).collect();
    table.add(abilities.iter().map(|name| (name.as_str(), Kind::Number)));
    table.add([("href", Kind::Text)]);
    for row in &rows {
        let mut cells = if total { Vec::new() } else { key_cells(question, &row.key) };
        cells.extend(summary(&row.now).map(|(_, cell)| cell));
        cells.extend([row.calls_before.into(), row.score_before.into()]);
        cells.extend(groups.iter().map(|group| {
            let found = row.now.abilities.iter().find(|ability| ability.group == *group);
            Cell::Number(found.map(|ability| ability.share))
        }));
        cells.push(if total {
            // Of everything no value of `by` is asked.
            let all = Question {
                filter: question.filter.clone(),
                by: None,
                per: None,
                zone: question.zone.clone(),
            };
            href(&all, None, &row.key, &[])
        } else {
            href(question, Some(periods), &row.key, &[])
        });
        table.rows.push(cells);
    }
    table
}

/// What rules came to, by key.
pub(crate) fn rules(question: &Question, insight: &Insight, periods: &Periods) -> Table {
    let mut table = Table::new(keys(question).into_iter().filter(|(key, _)| *key != "card"));
    table.add(["card", "rule", "name"].map(|name| (name, Kind::Text)));
    table.add([
        ("applied", Kind::Count),
        ("calls_hit", Kind::Count),
        ("hit_rate", Kind::Number),
        ("hits", Kind::Count),
        ("calls_missed", Kind::Count),
        ("missed_rate", Kind::Number),
        ("points", Kind::Number),
        ("confirmed", Kind::Count),
        ("overturned", Kind::Count),
        ("href", Kind::Text),
    ]);
    for row in insight.rules() {
        let mut cells = key_cells(question, &row.key);
        if question.by == Some(super::By::Card) {
            cells.remove(0);
        }
        let href = href(question, Some(periods), &row.key, &[("card", &row.card), ("rule", &row.rule)]);
        let figures = row.figures;
        cells.extend([
            row.card.as_str().into(),
            row.rule.as_str().into(),
            figures.name.into(),
            figures.applied.into(),
            figures.calls_hit.into(),
            figures.hit_rate.into(),
            figures.hits.into(),
            figures.calls_missed.into(),
            figures.missed_rate.into(),
            Some(figures.points).into(),
            figures.confirmed.into(),
            figures.overturned.into(),
            href,
        ]);
        table.rows.push(cells);
    }
    table
}

/// To four places.
fn rounded(value: Option<f64>) -> Cell {
    Cell::Number(value.map(|value| (value * 1e4).round() / 1e4))
}

/// What calls are about.
pub(crate) fn topics(question: &Question, rows: &[TopicRow]) -> Table {
    let mut table = Table::new([
        ("topic", Kind::Text),
        ("calls", Kind::Count),
        ("before", Kind::Count),
        ("growth", Kind::Number),
        ("href", Kind::Text),
    ]);
    for row in rows {
        table.rows.push(vec![
            row.text.as_str().into(),
            row.calls.into(),
            row.before.into(),
            rounded(row.growth),
            href(question, None, &Key::default(), &[("topic", &row.text)]),
        ]);
    }
    table
}

/// Why customers called.
pub(crate) fn reasons(rows: &[TopicRow]) -> Table {
    let mut table = Table::new([
        ("reason", Kind::Text),
        ("calls", Kind::Count),
        ("before", Kind::Count),
        ("growth", Kind::Number),
        ("example", Kind::Text),
    ]);
    for row in rows {
        table.rows.push(vec![
            row.text.as_str().into(),
            row.calls.into(),
            row.before.into(),
            rounded(row.growth),
            row.example.clone().into(),
        ]);
    }
    table
}

/// Agreement of people, by what `names` are the columns of: parts of the name that a line feed parts.
pub(crate) fn agreements(names: &[&str], rows: &[Agreement]) -> Table {
    let mut table = Table::new(names.iter().map(|name| (*name, Kind::Text)));
    table.add(["hits", "reviewed", "confirmed", "overturned"].map(|name| (name, Kind::Count)));
    table.add([
        ("precision", Kind::Number),
        ("both", Kind::Count),
        ("agreed", Kind::Count),
        ("agreement", Kind::Number),
        ("kappa", Kind::Number),
    ]);
    let count = |count: usize| Cell::Count(count as u64);
    for row in rows {
        let mut cells: Vec<Cell> = row.rule.splitn(names.len().max(1), '\n').map(Cell::from).collect();
        cells.truncate(names.len());
        let both: usize = row.pairs.iter().map(|pair| pair.judged).sum();
        let agreed: usize = row.pairs.iter().map(|pair| pair.agreed).sum();
        cells.extend([
            count(row.hits),
            count(row.confirmed + row.overturned),
            count(row.confirmed),
            count(row.overturned),
            rounded(row.precision),
            count(both),
            count(agreed),
            rounded((both > 0).then(|| agreed as f64 / both as f64)),
            rounded(row.kappa),
        ]);
        table.rows.push(cells);
    }
    table
}

/// One listed call.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) call: antiphon_engine_store::InsightCall,
    pub(crate) risk: std::collections::BTreeMap<String, f32>,
    /// Where more of it is told.
    pub(crate) href: Option<String>,
}

/// Calls, without their findings.
pub(crate) fn calls(rows: &[Listed]) -> Table {
    let text = |name| (name, Kind::Text);
    let mut table = Table::new(["at", "call", "name"].map(text));
    table.add([("live", Kind::Yes)]);
    table.add(["job", "n", "card", "version", "agent", "queue", "product"].map(text));
    table.add([("score", Kind::Number), ("passed", Kind::Yes), ("risk", Kind::Number), ("href", Kind::Text)]);
    for Listed { call, href, .. } in rows {
        let at = Timestamp::from_millisecond(call.at_ms).map(|at| at.to_string()).ok();
        table.rows.push(vec![
            at.into(),
            call.call.as_str().into(),
            call.name.as_str().into(),
            Cell::Yes(call.live),
            Cell::Text((!call.live).then(|| call.job.clone())),
            Cell::Text((!call.live).then(|| call.n.to_string())),
            call.card.as_str().into(),
            call.version.as_str().into(),
            call.agent.clone().into(),
            call.queue.clone().into(),
            call.product.clone().into(),
            Some(call.score).into(),
            Cell::Yes(call.passed),
            Some(call.risk).into(),
            href.clone().into(),
        ]);
    }
    table
}
