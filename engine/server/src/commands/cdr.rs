//! `antiphon cdr`: call records from the store.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::output::to_stdout;
use crate::cdr;
use crate::config::{Config, Overrides};
use antiphon_engine_store::{CallFilter, Store};

/// Records asked for at once.
const PAGE: usize = 500;

const EXAMPLES: &str = "\
Examples:
  antiphon cdr list
  antiphon cdr list --since 24h --trunk carrier
  antiphon cdr list --since 2026-11-22T00:00:00Z --json | jq .duration_ms

It reads the store beside a server that runs.";

/// Call records from the store
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// List calls, the one that ended last first
    #[command(after_help = EXAMPLES)]
    List(ListArgs),
}

#[derive(clap::Args)]
pub(crate) struct ListArgs {
    /// Configuration file (TOML): where the store lies
    #[arg(long, env = "ANTIPHON_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder with the store [default: antiphon-data]
    #[arg(long, env = "ANTIPHON_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Calls that ended since then: a time (2026-11-22T08:00:00Z) or how long ago (30m, 24h)
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Since>,
    /// Calls with a leg over this trunk
    #[arg(long, value_name = "NAME")]
    trunk: Option<String>,
    /// Calls with a leg of this user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// How many at most
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: usize,
    /// One JSON object a line, as in the files
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Since {
    At(Timestamp),
    Ago(Duration),
}

fn since(text: &str) -> Result<Since, String> {
    if let Ok(at) = text.parse() {
        return Ok(Since::At(at));
    }
    crate::config::parse_length(text)
        .map(Since::Ago)
        .ok_or_else(|| "write a time such as 2026-11-22T08:00:00Z, or how long ago: 30m, 24h".to_owned())
}

pub(crate) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let Command::List(args) = command;
    let overrides =
        Overrides { config: args.config.clone(), data: args.data.clone(), ..Overrides::default() };
    let config = Config::load(&overrides)?;
    let since = args.since.map(|since| match since {
        Since::At(at) => at,
        Since::Ago(ago) => Timestamp::now()
            .checked_sub(SignedDuration::try_from(ago).unwrap_or(SignedDuration::MAX))
            .unwrap_or(Timestamp::MIN),
    });
    let filter = CallFilter {
        since_ms: since.map(Timestamp::as_millisecond),
        trunk: args.trunk.clone(),
        user: args.user.clone(),
        ..CallFilter::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    to_stdout(|out| {
        runtime.block_on(async {
            let store = cdr::look(&config).await?;
            let listed = list(&store, filter, args.limit, args.json, out).await;
            store.close().await;
            listed
        })?;
        Ok(ExitCode::SUCCESS)
    })
}

async fn list(
    store: &Store,
    mut filter: CallFilter,
    mut left: usize,
    json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    if !json {
        writeln!(out, "{}", row(["ended", "way", "from", "to", "length", "who", "cause", "trunk"]))?;
    }
    while left > 0 {
        let page = store.calls(&filter, left.min(PAGE)).await?;
        left -= page.records.len().min(left);
        for record in &page.records {
            if json {
                writeln!(out, "{record}")?;
            } else {
                writeln!(out, "{}", line(record))?;
            }
        }
        filter.before = page.next;
        if filter.before.is_none() {
            break;
        }
    }
    Ok(())
}

fn line(record: &Value) -> String {
    let text = |member: &str| record[member].as_str().unwrap_or("-");
    let seconds = record["duration_ms"].as_u64().unwrap_or(0) / 1_000;
    let length = format!("{}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let ended: String = text("ended_at").chars().take("2026-11-22T08:00:00".len()).collect();
    let way = if text("direction") == "inbound" { "in" } else { "out" };
    row([&ended, way, text("from"), text("to"), &length, text("hung_up"), text("cause"), text("trunk")])
}

fn row(cells: [&str; 8]) -> String {
    const WIDTHS: [usize; 8] = [19, 3, 20, 20, 8, 6, 22, 0];
    let mut row = String::new();
    for (cell, width) in cells.into_iter().zip(WIDTHS) {
        // Whoever calls chooses the name he calls by: it must not steer the terminal.
        let cell: String = cell.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        row.push_str(&format!("{cell:<width$} "));
    }
    row.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdr::example;

    async fn printed(json: bool, limit: usize) -> String {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(&dir.path().join("antiphon.db")).await.expect("opened");
        let mut records: Vec<_> = (0..600)
            .map(|n| example(&format!("{n:032x}"), &format!("2026-11-22T0{}:{:02}:00Z", n / 60 % 10, n % 60)))
            .collect();
        records[599].from = "evil\x1b[2J".into();
        let records: Vec<_> = records.iter().map(|record| record.stored().expect("JSON")).collect();
        store.take("2026-11-22.jsonl", 1, &records, &[]).await.expect("taken");
        let mut out = Vec::new();
        list(&store, CallFilter::default(), limit, json, &mut out).await.expect("listed");
        String::from_utf8(out).expect("text")
    }

    #[tokio::test]
    async fn the_table_has_a_line_a_call_and_nothing_that_steers_the_terminal() {
        let text = printed(false, 3).await;
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[0].starts_with("ended"));
        assert!(lines[1].contains("evil?[2J") && !text.contains('\x1b'), "{text}");
        assert!(lines[2].starts_with("2026-11-22T09:59:01 in  +442071838750"), "{text}");
        assert!(lines[2].contains("0:00:59") && lines[2].contains("call.hangup.caller"), "{text}");
    }

    #[tokio::test]
    async fn json_has_the_whole_record_and_goes_on_over_pages() {
        let text = printed(true, 1_000).await;
        assert_eq!(text.lines().count(), 600);
        let last: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
        assert_eq!(last["id"], format!("{:032x}", 0));
        assert_eq!(last["legs"].as_array().expect("legs").len(), 2);
    }

    #[test]
    fn times_are_told_from_lengths() {
        assert_eq!(since("24h"), Ok(Since::Ago(Duration::from_secs(86_400))));
        assert!(matches!(since("2026-11-22T08:00:00Z"), Ok(Since::At(_))));
        assert!(since("yesterday").is_err());
    }
}
