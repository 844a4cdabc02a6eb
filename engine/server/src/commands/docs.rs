//! `antiphon docs`: prints what the documentation is made of.

mod cli;

use std::process::ExitCode;

use antiphon_engine_view::causes_markdown;
use clap::CommandFactory;

use super::output::to_stdout;

/// The configuration reference, checked against the types by the tests.
const CONFIGURATION: &str = include_str!("../../../../docs/CONFIGURATION.md");

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Why a call ended: docs/ERRORS.md
    Errors,
    /// Every setting: docs/CONFIGURATION.md
    Configuration,
    /// Every command and option, as Markdown
    Cli,
}

pub(crate) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let page = match command {
        Command::Errors => causes_markdown(),
        Command::Configuration => CONFIGURATION.to_owned(),
        Command::Cli => cli::reference(crate::Cli::command()),
    };
    to_stdout(|out| {
        out.write_all(page.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// The defaults that `--print-config` leaves out are checked here: those of engines that a build may lack.
    #[test]
    fn the_documented_defaults_are_the_real_ones() {
        let lines: Vec<String> = CONFIGURATION
            .lines()
            .filter(|line| line.starts_with("| `"))
            .filter_map(|line| {
                let cells: Vec<&str> = line.split('|').map(str::trim).collect();
                let (key, default) = (cells.get(1)?.trim_matches('`'), *cells.get(3)?);
                let section = key.split('.').next()?;
                let known = [
                    "data",
                    "sip",
                    "http",
                    "media",
                    "call",
                    "recognizer",
                    "voice",
                    "flow",
                    "log",
                    "registrar",
                    "security",
                    "tls",
                    "ws",
                    "cdr",
                    "models",
                ];
                (known.contains(&section) && default.starts_with('`'))
                    .then(|| format!("{key} = {}\n", default.trim_matches('`')))
            })
            .collect();
        assert!(
            lines.iter().any(|line| line.starts_with("recognizer.pocketsphinx.common_words")),
            "{lines:?}"
        );
        assert_eq!(toml::from_str::<Config>(&lines.concat()).expect("valid"), Config::default());
    }

    #[test]
    fn the_example_of_models_is_read() {
        let (_, example) = CONFIGURATION.split_once("```toml models\n").expect("the example");
        let (example, _) = example.split_once("```").expect("its end");
        let config: Config = toml::from_str(example).expect("valid");
        let models: Vec<(&str, u32)> = config
            .recognizer
            .pocketsphinx
            .models
            .iter()
            .map(|model| (model.language.as_str(), model.rate_hz))
            .collect();
        assert_eq!(models, [("en", 8_000), ("zh", 8_000)]);
    }
}
