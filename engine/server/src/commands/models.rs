//! `antiphon models`: published models, pulled and looked after.

mod progress;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use antiphon_models_catalog::{Catalog, Mirror, Model, Pulled, Source, State, Store, Task, Verdict, pull};
use anyhow::{Context, bail};
use serde_json::json;

use super::output::to_stdout;
use crate::config::{Config, Overrides};
use crate::models;
use progress::Bar;

const EXAMPLES: &str = "\
Examples:
  antiphon models list --language zh
  antiphon models pull zipformer-zh-2023-12-12 silero-vad
  antiphon models pull whisper-small --mirror /media/usb/models --mirrors-only
  antiphon models verify && antiphon models path whisper-small

A mirror is an address or a folder with <model>/<file>; the store of another machine is one.";

/// Published models: list, pull, verify
#[derive(clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// List models, and which of them are here
    List(ListArgs),
    /// Bring models here; what broke off is gone on with
    Pull(PullArgs),
    /// Compare models with what was pulled: all that are here, or those named
    Verify(NamesArgs),
    /// Remove models
    Rm(NamesArgs),
    /// Print the folder of a model that is here
    Path(PathArgs),
}

#[derive(clap::Args)]
struct Place {
    /// Configuration file (TOML): where models lie, and mirrors
    #[arg(long, env = "ANTIPHON_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of models [default: the data folder of this user]
    #[arg(long, env = "ANTIPHON_MODELS", value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    place: Place,
    /// Those that know a language, by its subtag: en, zh
    #[arg(long, value_name = "LANGUAGE")]
    language: Option<String>,
    /// Those of an engine
    #[arg(long, value_name = "NAME")]
    engine: Option<String>,
    /// Those that are here
    #[arg(long)]
    here: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct PullArgs {
    #[command(flatten)]
    place: Place,
    /// Models, by name
    #[arg(required = true, value_name = "MODEL")]
    names: Vec<String>,
    /// Where to look first: an address or a folder; several in order
    #[arg(long, env = "ANTIPHON_MODELS_MIRROR", value_name = "PLACE", value_delimiter = ',')]
    mirror: Vec<String>,
    /// Look nowhere else
    #[arg(long)]
    mirrors_only: bool,
}

#[derive(clap::Args)]
pub(crate) struct NamesArgs {
    #[command(flatten)]
    place: Place,
    /// Models, by name
    #[arg(value_name = "MODEL")]
    names: Vec<String>,
}

#[derive(clap::Args)]
pub(crate) struct PathArgs {
    #[command(flatten)]
    place: Place,
    /// The model
    #[arg(value_name = "MODEL")]
    name: String,
}

/// Everything came or fits.
const GOOD: ExitCode = ExitCode::SUCCESS;
/// A model is missing or damaged.
const BAD: u8 = 2;

pub(crate) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let catalog = Catalog::built_in();
    match command {
        Command::List(args) => to_stdout(|out| list(&catalog, args, out)),
        Command::Pull(args) => bring(&catalog, args),
        Command::Verify(args) => to_stdout(|out| verify(&catalog, args, out)),
        Command::Rm(args) => remove(&catalog, args),
        Command::Path(args) => to_stdout(|out| path(&catalog, args, out)),
    }
}

impl Place {
    fn config(&self) -> anyhow::Result<Config> {
        let overrides = Overrides { config: self.config.clone(), ..Overrides::default() };
        Config::load(&overrides)
    }

    fn store(&self) -> anyhow::Result<Store> {
        match &self.dir {
            Some(dir) => Ok(Store::new(dir)),
            None => Ok(models::store(&self.config()?)),
        }
    }
}

fn named<'a>(catalog: &'a Catalog, name: &str) -> anyhow::Result<&'a Model> {
    catalog.find(name).with_context(|| match catalog.similar(name) {
        Some(similar) => format!("there is no model {name}; did you mean {similar}?"),
        None => format!("there is no model {name}; `antiphon models list` shows all"),
    })
}

fn list(catalog: &Catalog, args: &ListArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let store = args.place.store()?;
    let mut rows = Vec::new();
    for model in catalog.models() {
        let state = store.state(model)?;
        let wanted = args.language.as_ref().is_none_or(|language| model.speaks(language))
            && args.engine.as_ref().is_none_or(|engine| model.engine == *engine)
            && (!args.here || state == State::Present);
        if wanted {
            rows.push((model, state));
        }
    }
    if args.json {
        for (model, state) in rows {
            let rates: Vec<u32> = model.rates.iter().map(|rate| rate.hz()).collect();
            let line = json!({
                "name": model.name, "engine": model.engine, "task": model.task, "streaming": model.streaming,
                "languages": model.languages, "rates_hz": rates, "licence": model.licence, "bytes": model.size,
                "recommended": model.recommended, "state": word(state),
            });
            writeln!(out, "{line}")?;
        }
        return Ok(GOOD);
    }
    let width = |text: fn(&Model) -> usize| rows.iter().map(|(model, _)| text(model)).max().unwrap_or(0);
    let name = width(|model| model.name.len()).max(5);
    let engine = width(|model| model.engine.len()).max(6);
    let languages = width(|model| model.languages.join(",").len()).max(9);
    writeln!(
        out,
        "{:name$}  {:engine$}  {:languages$}  {:>8}  {:8}  WHEN TO TAKE IT",
        "MODEL", "ENGINE", "LANGUAGES", "SIZE", "HERE"
    )?;
    for (model, state) in rows {
        writeln!(
            out,
            "{:name$}  {:engine$}  {:languages$}  {:>8}  {:8}  {}",
            model.name,
            model.engine,
            model.languages.join(","),
            size(model.size),
            word(state),
            model.recommended
        )?;
    }
    Ok(GOOD)
}

fn size(bytes: u64) -> String {
    if bytes >= 1_000_000_000 {
        format!("{:.1} GB", bytes as f64 / 1e9)
    } else {
        format!("{:.0} MB", (bytes as f64 / 1e6).max(1.0))
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Absent => "-",
        State::Begun => "begun",
        State::Damaged => "damaged",
        State::Present => "yes",
    }
}

fn bring(catalog: &Catalog, args: &PullArgs) -> anyhow::Result<ExitCode> {
    let models = args.names.iter().map(|name| named(catalog, name)).collect::<anyhow::Result<Vec<_>>>()?;
    let section = args.place.config()?.models;
    let mirrors = if args.mirror.is_empty() { &section.mirror } else { &args.mirror };
    let mirrors = mirrors.iter().map(|text| Mirror::parse(text)).collect::<Result<Vec<_>, _>>()?;
    if args.mirrors_only && mirrors.is_empty() {
        bail!("--mirrors-only without a mirror; name one with --mirror");
    }
    let source = Source { mirrors, mirrors_only: args.mirrors_only || section.mirrors_only };
    let store = args.place.store()?;
    for model in models {
        let mut bar = Bar::new(&model.name);
        let pulled = pull(model, &store, &source, &mut bar);
        bar.clear();
        let folder = store.folder(model);
        match pulled.with_context(|| model.name.clone())? {
            Pulled::Already => eprintln!("{} is here: {}", model.name, folder.display()),
            Pulled::Now => eprintln!("{} came ({}): {}", model.name, model.licence, folder.display()),
        }
        if let Some(wants) =
            models::wants(model).filter(|_| matches!(model.task, Task::Recognition | Task::Synthesis))
        {
            eprintln!("  {wants}");
        }
    }
    Ok(GOOD)
}

fn verify(catalog: &Catalog, args: &NamesArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let store = args.place.store()?;
    let mut models =
        args.names.iter().map(|name| named(catalog, name)).collect::<anyhow::Result<Vec<_>>>()?;
    if args.names.is_empty() {
        for model in catalog.models() {
            if matches!(store.state(model)?, State::Present | State::Damaged) {
                models.push(model);
            }
        }
    }
    let mut good = true;
    for model in models {
        let bar = Bar::new(&model.name);
        let verified = store.verify(model, |bytes| bar.read(bytes));
        bar.clear();
        for file in verified? {
            let (word, fits) = match file.verdict {
                Verdict::Good => ("good", true),
                Verdict::Unrecorded => ("not recorded: put there by hand", true),
                Verdict::Changed => ("CHANGED: pull it anew after `antiphon models rm`", false),
                Verdict::Missing => ("MISSING: pull it", false),
            };
            good &= fits;
            writeln!(out, "{}/{}: {word}", model.name, file.path)?;
        }
    }
    Ok(if good { GOOD } else { ExitCode::from(BAD) })
}

fn remove(catalog: &Catalog, args: &NamesArgs) -> anyhow::Result<ExitCode> {
    if args.names.is_empty() {
        bail!("name the models to remove; `antiphon models list --here` shows them");
    }
    let store = args.place.store()?;
    for name in &args.names {
        let model = named(catalog, name)?;
        match store.remove(model)? {
            true => eprintln!("{name} is gone"),
            false => eprintln!("{name} was not here"),
        }
    }
    Ok(GOOD)
}

fn path(catalog: &Catalog, args: &PathArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let store = args.place.store()?;
    let model = named(catalog, &args.name)?;
    if store.state(model)? != State::Present {
        eprintln!("{0} is not here; `antiphon models pull {0}` brings it", args.name);
        return Ok(ExitCode::from(BAD));
    }
    writeln!(out, "{}", store.folder(model).display())?;
    Ok(GOOD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_at_a_glance() {
        assert_eq!(size(74_500_000), "74 MB");
        assert_eq!(size(1_620_000_000), "1.6 GB");
        assert_eq!(size(10), "1 MB");
    }

    #[test]
    fn a_mistyped_name_is_answered_with_the_right_one() {
        let error = named(&Catalog::built_in(), "wisper-small").unwrap_err().to_string();
        assert!(error.contains("did you mean whisper-small?"), "{error}");
    }
}
