//! `antiphon knowledge`: the index of documents and answers, tried without a server.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use antiphon_engine_knowledge::{Filter, Knowledge, Limits};
use anyhow::{Context, ensure};

use super::output::to_stdout;

/// Try the index of documents and answers
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Read a folder and say what is in it and what cannot be taken
    Index(IndexArgs),
    /// Ask a folder something, in the words of a conversation
    #[command(after_help = EXAMPLES)]
    Search(SearchArgs),
}

const EXAMPLES: &str = "\
Examples:
  antiphon knowledge search examples/assist/knowledge \"uh i think i lost my card\"
  antiphon knowledge search faq 卡丢了怎么办 --language zh --json

The exit status is 1 where nothing is found.";

#[derive(clap::Args)]
pub(crate) struct IndexArgs {
    /// Folder of Markdown, HTML, CSV and JSONL files
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

#[derive(clap::Args)]
pub(crate) struct SearchArgs {
    /// Folder of Markdown, HTML, CSV and JSONL files
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// What is asked
    #[arg(value_name = "QUESTION")]
    question: String,
    /// Answers at most
    #[arg(long, default_value_t = 5, value_name = "COUNT")]
    limit: usize,
    /// Only entries of this language
    #[arg(long, value_name = "TAG")]
    language: Option<String>,
    /// Only entries with this tag; may be given again
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Leave out answers below this score, 0 to 1
    #[arg(long, default_value_t = Filter::FLOOR, value_name = "SCORE")]
    floor: f32,
    /// Print each answer as a line of JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Index(args) => index(args),
        Command::Search(args) => search(args),
    }
}

fn open(folder: &Path) -> anyhow::Result<Knowledge> {
    let knowledge = Knowledge::open(folder, Limits::default())?;
    for problem in knowledge.problems() {
        eprintln!("antiphon: left out: {problem}");
    }
    Ok(knowledge)
}

fn index(args: &IndexArgs) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let knowledge = open(&args.folder)?;
    let took = began.elapsed();
    to_stdout(|out| {
        writeln!(out, "{} entries, read in {:.2} s", knowledge.len(), took.as_secs_f64())?;
        Ok(if knowledge.problems().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

fn search(args: &SearchArgs) -> anyhow::Result<ExitCode> {
    ensure!((1..=50).contains(&args.limit), "--limit is 1 to 50");
    ensure!((0.0..=1.0).contains(&args.floor), "--floor is 0 to 1");
    let knowledge = open(&args.folder)?;
    let filter = Filter { language: args.language.clone(), tags: args.tag.clone(), floor: args.floor };
    let began = Instant::now();
    let answers = knowledge.search(&args.question, args.limit, &filter).context("the search failed")?;
    let took = began.elapsed();
    to_stdout(|out| {
        for answer in &answers {
            if args.json {
                writeln!(out, "{}", serde_json::to_string(answer)?)?;
                continue;
            }
            let source = &answer.source;
            writeln!(out, "{:.2}  {}", answer.score, answer.title)?;
            writeln!(out, "      {}", answer.snippet)?;
            writeln!(out, "      {}:{}  {}", source.file, source.line, source.headings.join(" > "))?;
        }
        if !args.json {
            let count = match answers.len() {
                0 => "nothing".to_owned(),
                count => format!("{count} of {} entries", knowledge.len()),
            };
            writeln!(out, "found {count} in {:.1} ms", took.as_secs_f64() * 1_000.0)?;
        }
        Ok(if answers.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    })
}
