//! `antiphon qa run`: recordings inspected on this machine.

use std::collections::{BTreeMap, HashSet};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use antiphon_engine_measure::{Conversation, Role};
use antiphon_engine_qa::{RuleState, Scorecard};
use antiphon_models_pool::{Ask, Class, Pool};
use antiphon_models_speech::{Engine, Hints, Language};
use anyhow::{Context, anyhow, bail, ensure};
use futures_util::StreamExt;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::super::output::to_stdout;
use super::insight::Gathered;
use super::table::{self, Row};
use crate::config::{Config, Overrides};
use crate::hearing::Means;
use crate::qa::hear::{Subject, hear};
use crate::qa::job::{RoleName, read_card};
use crate::qa::report::{self, Index};
use crate::qa::{FileResult, HeardBy, judge};
use crate::recognizers;

pub(super) const EXAMPLES: &str = "\
Of a stereo file the left channel is the customer and the right one the agent, as Antiphon records calls; --channels says
otherwise. For each file DIR gets FILE.json (what was heard and found) and FILE.html (to look at and listen to), and
for all of them results.csv and index.html, and figures over them: insight.html, insight.csv and rules.csv.

Examples:
  antiphon qa run call.wav --scorecard rules.yaml --out report
  antiphon qa run night/*.mp3 --scorecard fund.yaml --scorecard service.yaml --language zh --out report
  antiphon qa run --channels agent,customer --scorecard rules.yaml --out report pbx/*.wav

The exit status is 1 where a file could not be inspected; the others are done all the same.";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Recordings: WAV (PCM, G.711, GSM), FLAC, MP3, AAC, Ogg Opus and what else can be read
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Rules to judge by (YAML); several may be given
    #[arg(long, required = true, value_name = "FILE")]
    scorecard: Vec<PathBuf>,
    /// Folder for the results
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Language spoken, a tag such as en-US or zh
    #[arg(long, value_name = "TAG", default_value = "en", value_parser = crate::qa::job::language)]
    language: Language,
    /// Who is on each channel [default: customer,agent]
    #[arg(long, value_name = "ROLE", value_delimiter = ',', value_enum)]
    channels: Vec<RoleName>,
    /// What is known of the calls, NAME=VALUE: agent, queue, product and others; rules can ask for it
    #[arg(long, value_name = "NAME=VALUE", value_parser = fact)]
    metadata: Vec<(String, String)>,
    /// A phrase to expect; may be given again
    #[arg(long, value_name = "PHRASE")]
    hint: Vec<String>,
    /// Recogniser, instead of the configured one
    #[arg(long, env = "ANTIPHON_ENGINE", value_name = "NAME")]
    engine: Option<String>,
    /// Configuration file (TOML): models and their settings
    #[arg(long, env = "ANTIPHON_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

fn fact(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// What every file is inspected with.
struct Bench {
    config: Config,
    pool: Pool,
    engines: Vec<Arc<dyn Engine>>,
    cards: Vec<Scorecard>,
}

/// What came of a file.
struct Inspected {
    conversation: Conversation,
    result: FileResult,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let overrides =
        Overrides { config: args.config.clone(), engine: args.engine.clone(), ..Overrides::default() };
    let config = Config::load(&overrides)?;
    let cards = args.scorecard.iter().map(|path| {
        let card = read_card(path).map_err(|error| anyhow!(error))?;
        card.read().map_err(|error| anyhow!(error))
    });
    let cards = cards.collect::<anyhow::Result<Vec<_>>>()?;
    let mut stems = HashSet::new();
    for file in &args.files {
        if !stems.insert(stem(file)) {
            bail!("two files would be called {} in {}: inspect them apart", stem(file), args.out.display());
        }
    }
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder {}", args.out.display()))?;
    let engines = recognizers::open(&config)?;
    ensure!(!engines.is_empty(), "the engine `none` hears no words: choose one with --engine");
    let pool = Pool::start(&config.pool.open(config.recognizer.workers, 256, &config.tenants))?;
    let bench = Bench { config, pool, engines, cards };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let inspected = runtime.block_on(all(&bench, args));
    let Bench { pool, .. } = bench;
    pool.shutdown()?;
    let inspected = inspected?;
    let failed = inspected.iter().any(|row| row.error.is_some());
    std::fs::write(args.out.join("results.csv"), table::csv(&inspected)?)
        .context("cannot write results.csv")?;
    to_stdout(|out| {
        table::print(&inspected, out)?;
        writeln!(out, "\nopen {}", args.out.join("index.html").display())?;
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    })
}

/// Inspects every file, a few at once.
async fn all(bench: &Bench, args: &Args) -> anyhow::Result<Vec<Row>> {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(args.files.len() as u64), target);
    let style = ProgressStyle::with_template("{pos} of {len} [{bar:30}] {elapsed} (about {eta} left)  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    let at_once = bench.config.recognizer.workers;
    let bar = &bar;
    let work = args.files.iter().map(async |file| {
        bar.set_message(file.file_name().unwrap_or_default().to_string_lossy().into_owned());
        let done = one(bench, args, file).await;
        bar.inc(1);
        (file, done)
    });
    let mut work = futures_util::stream::iter(work).buffered(at_once);
    let mut rows = Vec::with_capacity(args.files.len());
    let mut index = Index::new();
    let mut gathered = Gathered::new();
    while let Some((file, done)) = work.next().await {
        let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
        rows.push(match done {
            Ok(inspected) => {
                let Inspected { conversation, result } = &inspected;
                let page = format!("{}.html", stem(file));
                gathered.add(&name, &page, conversation, result);
                index.inspected(name.clone(), page, conversation, result);
                row(name, result)
            }
            Err(error) => {
                index.failed(name.clone(), format!("{error:#}"));
                bar.suspend(|| eprintln!("antiphon: {error:#}"));
                Row { name, state: "failed".into(), error: Some(format!("{error:#}")), ..Row::default() }
            }
        });
    }
    bar.finish_and_clear();
    let page = index.page("Antiphon", &args.language.primary());
    std::fs::write(args.out.join("index.html"), page).context("cannot write index.html")?;
    gathered.write("Antiphon", &args.language.primary(), &args.out)?;
    Ok(rows)
}

async fn one(bench: &Bench, args: &Args, file: &Path) -> anyhow::Result<Inspected> {
    let means = Means { config: &bench.config, pool: &bench.pool, engines: &bench.engines };
    let channels =
        (!args.channels.is_empty()).then(|| args.channels.iter().map(|&name| Role::from(name)).collect());
    let subject = Subject {
        name: file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned(),
        files: vec![file.to_owned()],
        roles: channels,
        language: args.language.clone(),
        hints: Hints { phrases: args.hint.clone(), digits: false, closed: false },
        metadata: args.metadata.iter().cloned().collect::<BTreeMap<_, _>>(),
    };
    let ask = Ask { class: Class::Batch, tenant: Arc::from("") };
    let heard = hear(means, &ask, &subject, &mut |_, _| {}).await;
    let heard = heard.map_err(|error| match error.to_string() {
        text if text.contains(&subject.name) => anyhow!(text),
        text => anyhow!("{}: {text}", file.display()),
    })?;
    let engine = bench.engines.first().map_or("none", |engine| engine.name());
    let result = judge(&heard.conversation, &bench.cards, HeardBy::recording(engine), heard.warnings)?;
    let inspected = Inspected { conversation: heard.conversation, result };
    write(args, file, &inspected)
        .with_context(|| format!("cannot write the results of {}", file.display()))?;
    Ok(inspected)
}

fn write(args: &Args, file: &Path, inspected: &Inspected) -> anyhow::Result<()> {
    let whole = serde_json::json!({
        "file": file.file_name().unwrap_or(file.as_os_str()).to_string_lossy(),
        "conversation": inspected.conversation,
        "result": inspected.result,
    });
    std::fs::write(args.out.join(format!("{}.json", stem(file))), serde_json::to_vec_pretty(&whole)?)?;
    let page = report::page(&inspected.conversation, &inspected.result, &[file.to_owned()]);
    std::fs::write(args.out.join(format!("{}.html", stem(file))), page)?;
    Ok(())
}

fn row(name: String, result: &FileResult) -> Row {
    let (score, passed) = result.score();
    let rules = result.judgements.iter().flat_map(|judged| &judged.rules);
    Row {
        name,
        state: "done".into(),
        duration: Some(result.duration),
        score,
        passed,
        rules: rules.filter(|rule| rule.state == RuleState::Hit).map(|rule| rule.rule.clone()).collect(),
        error: None,
    }
}

/// What the results of a file are called.
fn stem(file: &Path) -> String {
    file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy().into_owned()
}
