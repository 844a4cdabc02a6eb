//! `antiphon qa submit`, `watch`, `report`, `rescore`: inspection by a server.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::super::output::to_stdout;
use super::client::Server;
use super::insight::Gathered;
use super::table::{self, Row};
use crate::qa::report::Index;

pub(super) const EXAMPLES: &str = "\
Examples:
  antiphon qa submit --scorecard fund_sale night/*.wav --watch
  antiphon qa submit --scorecard rules.yaml --manifest calls.csv --key 2026-11-22
  antiphon qa submit --scorecard fund_sale --on-server /var/calls/*.wav
  antiphon qa report JOB --out report";

#[derive(clap::Args)]
pub(crate) struct SubmitArgs {
    #[command(flatten)]
    server: Server,
    /// Recordings; they are uploaded
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A call that the server has recorded; may be given again
    #[arg(long, value_name = "ID")]
    call: Vec<String>,
    /// Recognise recordings of calls anew, instead of judging the words heard while they went on
    #[arg(long)]
    again: bool,
    /// The files lie on the server, in one of its qa.paths: nothing is uploaded
    #[arg(long)]
    on_server: bool,
    /// A table of recordings: CSV with a header, or JSONL
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Rules to judge by: a file, or the id of a scorecard that the server has
    #[arg(long, required = true, value_name = "FILE|ID")]
    scorecard: Vec<String>,
    /// Language spoken, a tag such as en-US or zh
    #[arg(long, value_name = "TAG")]
    language: Option<String>,
    /// Who is on each channel: customer, agent or other
    #[arg(long, value_name = "ROLE", value_delimiter = ',')]
    channels: Vec<String>,
    /// A phrase to expect; may be given again
    #[arg(long, value_name = "PHRASE")]
    hint: Vec<String>,
    /// The higher, the sooner: -10 to 10
    #[arg(long, value_name = "N", default_value_t = 0, allow_hyphen_values = true)]
    priority: i64,
    /// Address that is called back when the job is over
    #[arg(long, value_name = "URL")]
    callback: Option<String>,
    /// The same key never makes a second job
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Watch the job until it is over
    #[arg(long)]
    watch: bool,
}

#[derive(clap::Args)]
pub(crate) struct JobArgs {
    #[command(flatten)]
    server: Server,
    /// The job
    #[arg(value_name = "JOB")]
    job: String,
}

#[derive(clap::Args)]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    job: JobArgs,
    /// Folder for the results
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(clap::Args)]
pub(crate) struct RescoreArgs {
    #[command(flatten)]
    job: JobArgs,
    /// Rules to judge by: a file, or the id of a scorecard that the server has
    #[arg(long, required = true, value_name = "FILE|ID")]
    scorecard: Vec<String>,
    /// Watch the new job until it is over
    #[arg(long)]
    watch: bool,
}

pub(super) fn submit(args: &SubmitArgs) -> anyhow::Result<ExitCode> {
    ensure!(
        !args.files.is_empty() || !args.call.is_empty() || args.manifest.is_some(),
        "nothing to inspect: name recordings, calls with --call, or a table of them with --manifest"
    );
    let mut job = json!({
        "scorecards": scorecards(&args.scorecard)?,
        "hints": args.hint,
        "priority": args.priority,
        "language": args.language,
        "callback": args.callback,
        "words": if args.again { "again" } else { "live" },
    });
    let calls = args.call.iter().map(|id| json!({ "recording": id }));
    if !args.channels.is_empty() {
        job["channels"] = json!(args.channels);
    }
    if let Some(path) = &args.manifest {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let kind = if path.extension().is_some_and(|kind| kind == "jsonl") { "jsonl" } else { "csv" };
        job["manifest"] = json!({ kind: text });
    }
    let key = args.key.as_deref();
    let taken = if args.on_server || args.files.is_empty() {
        job["files"] = args.files.iter().map(|path| json!({ "path": path })).chain(calls).collect();
        args.server.post("/v1/qa/jobs", key, &job)?
    } else {
        job["files"] = calls.collect();
        let bar = bar("{bytes} of {total_bytes} [{bar:30}] {bytes_per_sec}");
        let taken = args.server.upload(key, &job, &args.files, &mut |sent, total| {
            bar.set_length(total);
            bar.set_position(sent);
        });
        bar.finish_and_clear();
        taken?
    };
    begun(&args.server, &taken, args.watch)
}

pub(super) fn rescore(args: &RescoreArgs) -> anyhow::Result<ExitCode> {
    let body = json!({ "scorecards": scorecards(&args.scorecard)? });
    let server = &args.job.server;
    let taken = server.post(&format!("/v1/qa/jobs/{}/rescore", args.job.job), None, &body)?;
    begun(server, &taken, args.watch)
}

/// Tells a job's identifier, and watches it where that is wanted.
fn begun(server: &Server, taken: &Value, watched: bool) -> anyhow::Result<ExitCode> {
    let id = taken["id"].as_str().context("the answer names no job")?;
    to_stdout(|out| {
        writeln!(out, "{id}")?;
        Ok(ExitCode::SUCCESS)
    })?;
    if taken["repeated"] == json!(true) {
        eprintln!("antiphon: the job was there before under this key");
    }
    if watched { follow(server, id) } else { Ok(ExitCode::SUCCESS) }
}

/// Files of rules are sent whole; everything else is an id.
fn scorecards(names: &[String]) -> anyhow::Result<Vec<Value>> {
    let card = |name: &String| {
        let path = std::path::Path::new(name);
        if path.extension().is_some_and(|kind| kind == "yaml" || kind == "yml") || path.is_file() {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
            return Ok(json!({ "yaml": text }));
        }
        Ok(json!(name))
    };
    names.iter().map(card).collect()
}

pub(super) fn watch(args: &JobArgs) -> anyhow::Result<ExitCode> {
    follow(&args.server, &args.job)
}

fn follow(server: &Server, id: &str) -> anyhow::Result<ExitCode> {
    let job = server.get(&format!("/v1/qa/jobs/{id}"))?;
    let bar = bar("{pos} of {len} [{bar:30}] {elapsed} (about {eta} left)  {msg}");
    bar.set_length(job["files"]["total"].as_u64().unwrap_or(0));
    let mut rows = Vec::new();
    let followed = server.lines(&format!("/v1/qa/jobs/{id}/results"), |file| {
        let row = row(&file);
        bar.set_message(row.name.clone());
        bar.inc(1);
        rows.push(row);
        Ok(())
    });
    bar.finish_and_clear();
    followed?;
    let job = server.get(&format!("/v1/qa/jobs/{id}"))?;
    let failed = rows.iter().any(|row| row.error.is_some());
    to_stdout(|out| {
        table::print(&rows, out)?;
        writeln!(out, "the job is {}", job["state"].as_str().unwrap_or("gone"))?;
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    })
}

pub(super) fn report(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let (server, id) = (&args.job.server, &args.job.job);
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder {}", args.out.display()))?;
    let mut rows = Vec::new();
    let mut index = Index::new();
    let mut gathered = Gathered::new();
    let mut after = -1;
    loop {
        let page = server.get(&format!("/v1/qa/jobs/{id}/files?limit=100&after={after}"))?;
        for file in page["files"].as_array().into_iter().flatten() {
            let n = file["n"].as_i64().unwrap_or(0);
            let whole = server.get(&format!("/v1/qa/jobs/{id}/files/{n}"))?;
            let path = args.out.join(format!("{n:05}.json"));
            std::fs::write(&path, serde_json::to_vec_pretty(&whole)?)
                .with_context(|| format!("cannot write {}", path.display()))?;
            let row = row(&whole);
            if file["state"] == "done" {
                let html = server.fetch(&format!("/v1/qa/jobs/{id}/files/{n}/report"))?;
                let page = format!("{n:05}.html");
                std::fs::write(args.out.join(&page), html).with_context(|| format!("cannot write {page}"))?;
                let parts = (whole["conversation"].clone(), whole["result"].clone());
                let conversation =
                    serde_json::from_value(parts.0).context("a conversation of another release")?;
                let result = serde_json::from_value(parts.1).context("a result of another release")?;
                gathered.add(&row.name, &page, &conversation, &result);
                index.inspected(row.name.clone(), page, &conversation, &result);
            } else {
                index.failed(row.name.clone(), row.error.clone().unwrap_or_else(|| row.state.clone()));
            }
            rows.push(row);
        }
        match page["next"].as_i64() {
            Some(next) => after = next,
            None => break,
        }
    }
    std::fs::write(args.out.join("results.csv"), table::csv(&rows)?).context("cannot write results.csv")?;
    let page = index.page(id, "en");
    std::fs::write(args.out.join("index.html"), page).context("cannot write index.html")?;
    gathered.write(id, "en", &args.out)?;
    to_stdout(|out| {
        table::print(&rows, out)?;
        writeln!(out, "\nopen {}", args.out.join("index.html").display())?;
        Ok(ExitCode::SUCCESS)
    })
}

fn row(file: &Value) -> Row {
    let judgements = file["result"]["judgements"].as_array().into_iter().flatten();
    let rules = judgements.flat_map(|judged| judged["rules"].as_array().into_iter().flatten());
    let hit = rules.filter(|rule| rule["state"] == "hit").filter_map(|rule| rule["rule"].as_str());
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Row {
        name: text(&file["name"]).unwrap_or_default(),
        state: text(&file["state"]).unwrap_or_default(),
        duration: file["duration"].as_f64(),
        score: file["score"].as_f64(),
        passed: file["passed"].as_bool(),
        rules: hit.map(str::to_owned).collect(),
        error: text(&file["error"]["message"]),
    }
}

fn bar(template: &str) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(None, target);
    bar.set_style(style.progress_chars("=> "));
    bar
}
