//! `antiphon qa insight`: figures over many calls, of a server or of files that were inspected here.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use antiphon_engine_measure::{Conversation, Measures};
use antiphon_engine_qa::insight::{Entry, Judged, Measured};
use antiphon_engine_store::InsightFilter;
use antiphon_engine_view::InsightLine;
use anyhow::{Context, ensure};
use clap::ValueEnum;
use jiff::tz::TimeZone;
use serde_json::Value;
use unicode_width::UnicodeWidthStr;

use super::super::output::to_stdout;
use super::client::Server;
use super::table::pad;
use crate::qa::FileResult;
use crate::qa::insight::{self, Board, By, Periods, Question, Told};

pub(super) const EXAMPLES: &str = "\
Examples:
  antiphon qa insight --by agent
  antiphon qa insight --by queue --per week --since 2026-10-01 --tz Asia/Shanghai
  antiphon qa insight --by rule --agent ann
  antiphon qa insight --by reviewer --card fund_sale
  antiphon qa insight --by agent --csv > agents.csv
  antiphon qa insight --page insight.html";

/// What rows are told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Rows {
    Agent,
    Queue,
    Product,
    Card,
    Rule,
    Topic,
    Reason,
    /// The calls themselves, the riskiest first
    Call,
    /// Agreement of reviewers
    Reviewer,
}

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    server: Server,
    /// What rows are told by
    #[arg(long, value_enum, value_name = "WHAT", default_value = "agent")]
    by: Rows,
    /// A row for each hour, day, week or month
    #[arg(long, value_name = "PERIOD")]
    per: Option<String>,
    /// From then on: RFC 3339, or a day [default: 30 days before --until]
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Until then [default: now]
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// The time zone of days and periods, such as Asia/Shanghai [default: UTC]
    #[arg(long, value_name = "ZONE")]
    tz: Option<String>,
    /// Only what this job came to
    #[arg(long, value_name = "JOB")]
    job: Option<String>,
    /// Only by this scorecard
    #[arg(long, value_name = "ID")]
    card: Option<String>,
    /// Only this agent's calls
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Only calls of this queue
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,
    /// Only calls about this product
    #[arg(long, value_name = "NAME")]
    product: Option<String>,
    /// As CSV
    #[arg(long)]
    csv: bool,
    /// Write a page to look at instead
    #[arg(long, value_name = "FILE", conflicts_with = "csv")]
    page: Option<PathBuf>,
}

impl Args {
    fn path(&self) -> String {
        let (path, by) = match (&self.page, self.by) {
            (Some(_), _) => ("/v1/qa/insight/page", None),
            (None, Rows::Agent) => ("/v1/qa/insight", Some("agent")),
            (None, Rows::Queue) => ("/v1/qa/insight", Some("queue")),
            (None, Rows::Product) => ("/v1/qa/insight", Some("product")),
            (None, Rows::Card) => ("/v1/qa/insight", Some("card")),
            (None, Rows::Rule) => ("/v1/qa/insight/rules", None),
            (None, Rows::Topic) => ("/v1/qa/insight/topics", None),
            (None, Rows::Reason) => ("/v1/qa/insight/reasons", None),
            (None, Rows::Call) => ("/v1/qa/insight/calls", None),
            (None, Rows::Reviewer) => ("/v1/qa/agreement", Some("reviewer")),
        };
        let mut query = form_urlencoded::Serializer::new(format!("{path}?"));
        let told = [
            ("by", by),
            ("per", self.per.as_deref()),
            ("since", self.since.as_deref()),
            ("until", self.until.as_deref()),
            ("tz", self.tz.as_deref()),
            ("job", self.job.as_deref()),
            ("card", self.card.as_deref()),
            ("agent", self.agent.as_deref()),
            ("queue", self.queue.as_deref()),
            ("product", self.product.as_deref()),
            ("sort", (self.page.is_none() && self.by == Rows::Call).then_some("risk")),
            ("format", self.csv.then_some("csv")),
        ];
        for (name, value) in told {
            query.extend_pairs(value.map(|value| (name, value)));
        }
        query.finish()
    }

    /// What a table shows of the answer's members.
    fn columns(&self) -> &'static [&'static str] {
        match self.by {
            Rows::Agent | Rows::Queue | Rows::Product | Rows::Card => &[
                "agent",
                "queue",
                "product",
                "card",
                "period",
                "calls",
                "mean_score",
                "median_score",
                "pass_rate",
                "hits",
                "missed",
                "agent_talk",
                "silence",
                "response",
                "risk",
                "score_before",
            ],
            Rows::Rule => &[
                "period",
                "card",
                "rule",
                "applied",
                "calls_hit",
                "hit_rate",
                "calls_missed",
                "missed_rate",
                "points",
                "confirmed",
                "overturned",
            ],
            Rows::Topic => &["topic", "calls", "before", "growth"],
            Rows::Reason => &["reason", "calls", "before", "growth"],
            Rows::Call => &["at", "name", "agent", "card", "score", "passed", "risk", "href"],
            Rows::Reviewer => {
                &["reviewer", "reviewed", "confirmed", "overturned", "both", "agreement", "kappa"]
            }
        }
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let path = args.path();
    if let Some(page) = &args.page {
        let html = args.server.fetch(&path)?;
        std::fs::write(page, html).with_context(|| format!("cannot write {}", page.display()))?;
        return to_stdout(|out| {
            writeln!(out, "open {}", page.display())?;
            Ok(ExitCode::SUCCESS)
        });
    }
    if args.csv {
        let csv = args.server.fetch(&path)?;
        return to_stdout(|out| {
            out.write_all(&csv)?;
            Ok(ExitCode::SUCCESS)
        });
    }
    let answer = args.server.get(&path)?;
    let rows = answer["rows"].as_array().or(answer["calls"].as_array());
    let rows = rows.context("the answer has no rows: is this an antiphon server of this release?")?;
    to_stdout(|out| {
        print(args.columns(), rows, out)?;
        let total = &answer["total"];
        if total.is_object() {
            let score =
                total["mean_score"].as_f64().map_or_else(|| "-".to_owned(), |score| score.to_string());
            writeln!(out, "\n{} calls, mean score {score}", total["calls"])?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Columns as wide as they need to be; those that no row has are left out.
fn print(columns: &[&str], rows: &[Value], out: &mut dyn Write) -> io::Result<()> {
    const WIDEST: usize = 40;
    if rows.is_empty() {
        return writeln!(out, "no calls");
    }
    let columns: Vec<&str> =
        columns.iter().filter(|name| rows.iter().any(|row| row.get(**name).is_some())).copied().collect();
    let text = |row: &Value, name: &str| match &row[name] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    let width = |name: &&str| {
        let widest = rows.iter().map(|row| text(row, name).width()).max().unwrap_or(0);
        widest.max(name.width()).min(if *name == "href" { usize::MAX } else { WIDEST })
    };
    let widths: Vec<usize> = columns.iter().map(width).collect();
    let line = |cells: Vec<String>| {
        let cells: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| pad(cell, *width)).collect();
        cells.join("  ").trim_end().to_owned()
    };
    writeln!(out, "{}", line(columns.iter().map(|name| (*name).to_owned()).collect()))?;
    for row in rows {
        writeln!(out, "{}", line(columns.iter().map(|name| text(row, name)).collect()))?;
    }
    Ok(())
}

/// Figures of files that were inspected here, or fetched.
pub(super) struct Gathered {
    board: Board,
    lines: Vec<InsightLine>,
}

impl Gathered {
    pub(super) fn new() -> Self {
        Self { board: Board::new(), lines: Vec::new() }
    }

    /// Counts a file; `report` is its page's path, as seen from the folder.
    pub(super) fn add(&mut self, name: &str, report: &str, conversation: &Conversation, result: &FileResult) {
        let measured = Measured::of(conversation, &Measures::of(conversation));
        let fact = |name: &str| conversation.metadata.get(name).map(String::as_str);
        let told = Told { agent: fact("agent"), queue: fact("queue"), period: "" };
        for judgement in &result.judgements {
            let judged = Judged::of(judgement);
            let (call, card) = (insight::number(name), judgement.scorecard.as_str());
            let entry = Entry { call, card, before: false, judged: &judged, measured: &measured };
            self.board.add(told, entry);
        }
        self.lines.push(InsightLine {
            name: name.to_owned(),
            href: Some(report.to_owned()),
            agent: fact("agent").map(str::to_owned),
            at: None,
            score: result.judgements.first().map(|judgement| (judgement.score, judgement.pass)),
            risk: f64::from(measured.risk),
            features: measured.features.into_iter().collect(),
        });
    }

    /// Writes `insight.html`, `insight.csv` and `rules.csv`, where anything was counted.
    pub(super) fn write(mut self, title: &str, language: &str, out: &Path) -> anyhow::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        self.lines.sort_by(|a, b| b.risk.total_cmp(&a.risk));
        let question = Question {
            filter: InsightFilter::default(),
            by: Some(By::Agent),
            per: None,
            zone: TimeZone::UTC,
        };
        let periods = Periods::new();
        let mut figures = insight::figures(&question, self.board.agents(), &periods, false);
        let all = Question { by: None, ..question };
        let mut rules = insight::rules(&all, self.board.all(), &periods);
        for table in [&mut figures, &mut rules] {
            // There is no server that could list the calls.
            let last = table.columns.pop();
            let last = last.map(|column| column.name);
            ensure!(last.as_deref() == Some("href"), "the last column is the way to the calls");
            table.rows.iter_mut().for_each(|row| _ = row.pop());
        }
        let page = self.board.page(title, language, "", &self.lines);
        let files = [
            ("insight.html", page.into_bytes()),
            ("insight.csv", figures.csv()?),
            ("rules.csv", rules.csv()?),
        ];
        for (name, octets) in files {
            std::fs::write(out.join(name), octets).with_context(|| format!("cannot write {name}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_shows_what_the_answer_has_and_is_aligned() {
        let rows = [
            json!({ "agent": "ann", "calls": 12, "risk": null }),
            json!({ "agent": "王芳", "calls": 3, "risk": 0.5 }),
        ];
        let mut out = Vec::new();
        print(&["agent", "queue", "calls", "risk"], &rows, &mut out).expect("written");
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text, "agent  calls  risk\nann    12     -\n王芳   3      0.5\n");
    }
}
