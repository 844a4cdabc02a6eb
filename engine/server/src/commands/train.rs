//! `antiphon train`: a customer played by the machine calls a trainee, who is scored like any agent.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use antiphon_engine_assist::{Model, Outcome, Partner, Persona};
use antiphon_engine_call::{Dialogue, Effect, Event, EventBody, SessionInput};
use antiphon_engine_measure::Role;
use antiphon_engine_qa::Scorecard;
use antiphon_media_frame::MediaTime;
use antiphon_media_sip::SipTransport;
use anyhow::{Context, anyhow, ensure};

use super::call::end_when_interrupted;
use super::output::to_stdout;
use crate::config::{Config, Overrides, Secret, parse_length};
use crate::place::{Target, place, uri};
use crate::qa::job::read_card;
use crate::qa::{HeardBy, judge, live, report};
use crate::shared::Shared;
use crate::telemetry;

const EXAMPLES: &str = "\
The persona decides what the customer wants, what calms them and when they hang up. With --model-url a language model finds the
words; what it does not say in time is said by the persona's own.

Examples:
  antiphon train --persona examples/training/angry_customer.yaml --call sip:agent@192.168.1.20 \\
      --scorecard examples/scorecards/bank.yaml --out training
  antiphon train --persona examples/training/fund_zh.yaml --call sip:trainee@127.0.0.1:5070 --scorecard fund.yaml --out training \\
      --model-url http://127.0.0.1:8000/v1/chat/completions --model qwen --model-key-env LLM_KEY

DIR gets the recording, CALL.json (what was said, found and came of it) and CALL.html (to look at and listen to). The exit
status is 1 where nobody answered.";

/// Call a trainee as a customer, and score how it went
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Who the customer is and how they behave (YAML)
    #[arg(long, value_name = "FILE")]
    persona: PathBuf,
    /// The trainee's address, such as sip:agent@192.168.1.20
    #[arg(long = "call", value_name = "URI")]
    target: String,
    /// Rules to score the trainee by (YAML); several may be given
    #[arg(long, required = true, value_name = "FILE")]
    scorecard: Vec<PathBuf>,
    /// Folder for the recording and the results
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Chooses among ways to say the same: the same seed and words give the same call
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    seed: u64,
    /// Who calls
    #[arg(long, default_value = "sip:customer@localhost", value_name = "URI")]
    from: String,
    /// Recogniser for what the trainee says
    #[arg(long, env = "ANTIPHON_ENGINE", value_name = "NAME")]
    engine: Option<String>,
    /// Chat completions in OpenAI's shape that find the customer's words
    #[arg(long, value_name = "URL", requires = "model")]
    model_url: Option<String>,
    /// The model's name
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Environment variable that holds the model's key
    #[arg(long, value_name = "NAME", conflicts_with = "model_key_file")]
    model_key_env: Option<String>,
    /// File that holds the model's key
    #[arg(long, value_name = "FILE")]
    model_key_file: Option<PathBuf>,
    /// How long the model may take for an answer
    #[arg(long, value_name = "TIME", default_value = "4s", value_parser = length)]
    model_timeout: Duration,
    /// Signal over TCP instead of UDP
    #[arg(long)]
    tcp: bool,
    /// How long to let it ring, in seconds
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=600))]
    ring: u64,
    /// Configuration file (TOML): models, voices and their settings
    #[arg(long, env = "ANTIPHON_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Log level or filter
    #[arg(long, default_value = "warn", value_name = "LEVEL")]
    log: String,
}

/// The partner as a call has it; what comes of it is seen from outside.
struct Customer {
    partner: Partner,
    outcome: Arc<Mutex<Outcome>>,
}

impl Customer {
    fn note(&self) {
        self.partner.outcome().clone_into(&mut self.outcome.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Dialogue for Customer {
    fn handle(&mut self, now: MediaTime, input: SessionInput) {
        self.partner.handle(now, input);
        self.note();
    }

    fn handle_timeout(&mut self, now: MediaTime) {
        self.partner.handle_timeout(now);
        self.note();
    }

    fn poll_effect(&mut self) -> Option<Effect> {
        self.partner.poll_effect()
    }

    fn poll_timeout(&self) -> Option<MediaTime> {
        self.partner.poll_timeout()
    }
}

fn length(text: &str) -> Result<Duration, String> {
    parse_length(text).ok_or_else(|| "write a time such as 4s or 800ms".to_owned())
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    telemetry::init(&args.log)?;
    let persona = load(&args.persona)?;
    let cards = args.scorecard.iter().map(|path| {
        let card = read_card(path).map_err(|error| anyhow!(error))?;
        card.read().map_err(|error| anyhow!(error))
    });
    let cards = cards.collect::<anyhow::Result<Vec<_>>>()?;
    let config = config(args)?;
    ensure!(config.recognizer.engine != "none", "the engine `none` hears no words: choose one with --engine");
    let target = Target {
        uri: uri(&args.target)?,
        from: args.from.clone(),
        transport: if args.tcp { SipTransport::Tcp } else { SipTransport::Udp },
        ring_timeout: Duration::from_secs(args.ring),
    };
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder {}", args.out.display()))?;
    let mut partner = Partner::new(Arc::clone(&persona), args.seed);
    if let Some(model) = model(args)? {
        partner.improvise(Arc::new(model));
    }
    let outcome = Arc::new(Mutex::new(partner.outcome().clone()));
    let customer = Customer { partner, outcome: Arc::clone(&outcome) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (engine, quiet) = (config.recognizer.engine.clone(), !std::io::stderr().is_terminal());
    let language = persona.language().clone();
    let placed = runtime.block_on(async {
        let shared = tokio::task::spawn_blocking(move || Shared::open(config)).await??;
        end_when_interrupted(&shared);
        place(&shared, target, customer, language, None, |state| {
            if !quiet {
                eprintln!("{state}");
            }
        })
        .await
    })?;
    if let Some((status, reason)) = &placed.refusal {
        eprintln!("not answered: {status} {reason}");
        return Ok(ExitCode::FAILURE);
    }
    let outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner).clone();
    score(args, &persona, &cards, &engine, &placed.events, &outcome)
}

fn load(path: &Path) -> anyhow::Result<Arc<Persona>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the persona {}", path.display()))?;
    Ok(Arc::new(Persona::parse(&text).with_context(|| path.display().to_string())?))
}

fn model(args: &Args) -> anyhow::Result<Option<Model>> {
    let (Some(url), Some(name)) = (&args.model_url, &args.model) else { return Ok(None) };
    ensure!(
        ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) && !url.contains('@'),
        "--model-url is no address such as http://127.0.0.1:8000/v1/chat/completions"
    );
    ensure!(
        (Duration::from_millis(200)..=Duration::from_secs(30)).contains(&args.model_timeout),
        "--model-timeout is 200ms to 30s"
    );
    let key = Secret::find("--model-key", args.model_key_env.as_deref(), args.model_key_file.as_deref())?;
    let key = key.map(|key| key.expose().to_owned());
    Ok(Some(Model::new(url.clone(), name.clone(), key, args.model_timeout)))
}

fn config(args: &Args) -> anyhow::Result<Config> {
    let overrides = Overrides {
        config: args.config.clone(),
        engine: args.engine.clone(),
        log: Some(args.log.clone()),
        ..Overrides::default()
    };
    let mut config = Config::load(&overrides)?;
    config.call.concurrent = 1;
    config.call.record = true;
    config.qa.live = Vec::new();
    config.assist = Vec::new();
    // A range of its own: a server on the same machine has the default one.
    config.media.rtp_ports = (30_000, 31_999);
    config.data = args.out.clone();
    config.check()?;
    Ok(config)
}

/// Judges the call by what was said in it: the trainee is the far side, the customer we are.
fn score(
    args: &Args,
    persona: &Persona,
    cards: &[Scorecard],
    engine: &str,
    events: &[Event],
    outcome: &Outcome,
) -> anyhow::Result<ExitCode> {
    let mut conversation =
        live::conversation(events, persona.language().clone(), [Role::Agent, Role::Customer]);
    conversation.metadata.insert("persona".to_owned(), persona.id().to_owned());
    let recording = events.iter().find_map(|event| match &event.body {
        EventBody::Recording { path, .. } => Some(PathBuf::from(path)),
        _ => None,
    });
    let result = judge(&conversation, cards, HeardBy { engine, live: true }, Vec::new())?;
    let id = &conversation.id;
    let whole = serde_json::json!({
        "file": recording, "conversation": conversation, "result": result, "training": outcome,
    });
    let (json, page) = (args.out.join(format!("{id}.json")), args.out.join(format!("{id}.html")));
    std::fs::write(&json, serde_json::to_vec_pretty(&whole)?)
        .with_context(|| format!("cannot write {}", json.display()))?;
    let files: Vec<_> = recording.into_iter().collect();
    std::fs::write(&page, report::page(&conversation, &result, &files))
        .with_context(|| format!("cannot write {}", page.display()))?;
    to_stdout(|out| {
        let ended = serde_json::to_value(outcome.ended)?;
        writeln!(
            out,
            "{}: {}, temper {} (at worst {}), {} answers, objections met {} of {}",
            persona.name(),
            ended.as_str().unwrap_or("not over"),
            outcome.temper,
            outcome.worst,
            outcome.turns,
            outcome.met.len(),
            outcome.raised.len()
        )?;
        if args.model_url.is_some() {
            writeln!(out, "words by the model {}, by the script {}", outcome.improvised, outcome.fallbacks)?;
        }
        for judged in &result.judgements {
            let verdict = if judged.pass { "passes" } else { "fails" };
            writeln!(out, "{} {}: {} {verdict}", judged.scorecard, judged.version, judged.score)?;
            for hit in judged.rules.iter().flat_map(|rule| &rule.hits).filter(|hit| hit.excused.is_none()) {
                writeln!(out, "  {:+} {}  {}", hit.points, hit.rule, hit.quote.expose())?;
            }
        }
        writeln!(out, "\nopen {}", page.display())?;
        Ok(ExitCode::SUCCESS)
    })
}
