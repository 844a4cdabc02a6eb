//! `antiphon transcribe`: turns audio files into words.

mod format;
mod hearing;
mod journal;
mod progress;

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use antiphon_models_speech::{Hints, Language};
use antiphon_models_text::{Category, Policy, Style};
use anyhow::{Context, bail};

use self::format::Format;
use self::hearing::Listener;
use self::journal::Journal;
use self::progress::Progress;
use super::output::to_stdout;
use crate::config::{Config, Overrides};

/// Bytes of a file of hints: a thousand phrases are far below.
const LARGEST_HINTS: u64 = 1 << 20;

const EXAMPLES: &str = "\
Reads WAV, FLAC, MP3, AAC, Vorbis, Opus and what else symphonia knows. Of a stereo file the left channel is the caller
and the right one the machine, as Antiphon records calls; other channels are numbered.

Examples:
  antiphon transcribe call.wav
  antiphon transcribe --format srt --output subtitles recordings/*.wav
  antiphon transcribe --format json call.wav | jq '.utterances[].text'
  antiphon transcribe --resume --output transcripts night/*.wav
  antiphon transcribe --hints phrases.txt --language zh --config antiphon.toml call.ogg

The exit status is 1 where a file could not be transcribed; the others are done all the same.";

/// Turn audio files into words, each channel by itself
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Audio files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Recogniser: pocketsphinx, whisper or scripted [default: the configured one, pocketsphinx]
    #[arg(long, env = "ANTIPHON_ENGINE", value_name = "NAME")]
    engine: Option<String>,
    /// Language spoken, a tag such as en-US or zh
    #[arg(long, value_name = "TAG", default_value = "en", value_parser = language)]
    language: Language,
    /// How the words are written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Folder for the transcripts [default: standard output for one file, beside the files for several]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Go on where an earlier run with --resume was stopped: leave out files whose transcript is there and newer than they
    /// are, and hear only the rest of a file that was begun
    #[arg(long, requires = "output")]
    resume: bool,
    /// Configuration file (TOML): models and their settings
    #[arg(long, env = "ANTIPHON_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Put sentence marks
    #[arg(long)]
    punctuation: bool,
    /// Write capitals
    #[arg(long)]
    capitals: bool,
    /// Write numbers in figures
    #[arg(long)]
    numbers: bool,
    /// Hide these: profanity, telephone, identity, card, email, account, name
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = kind)]
    mask: Vec<Category>,
    /// Phrases to expect, one a line; lines that begin with # are left out
    #[arg(long, value_name = "FILE")]
    hints: Option<PathBuf>,
}

fn language(tag: &str) -> Result<Language, String> {
    Language::parse(tag).ok_or_else(|| "write a language tag such as en, en-US or zh".to_owned())
}

fn kind(name: &str) -> Result<Category, String> {
    let known = Category::ALL.map(Category::name);
    let kind = Category::ALL.into_iter().find(|kind| kind.name() == name);
    kind.ok_or_else(|| format!("write one of {}", known.join(", ")))
}

/// What is configured and what is asked for besides.
fn style(args: &Args, config: &Config) -> anyhow::Result<Style> {
    let mut style = config.style("");
    style.punctuation |= args.punctuation;
    style.capitals |= args.capitals;
    style.numbers |= args.numbers;
    for kind in &args.mask {
        style.policy.mask(*kind);
        style.policy.halves = true;
    }
    if args.resume && style.policy != Policy::default() {
        bail!("--resume keeps what was heard as it was said, so nothing can be masked with it");
    }
    Ok(style)
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let overrides =
        Overrides { config: args.config.clone(), engine: args.engine.clone(), ..Overrides::default() };
    let config = Config::load(&overrides)?;
    let hints = args.hints.as_deref().map(read_hints).transpose()?.unwrap_or_default();
    let listener = Listener::open(&config, args.language.clone(), hints, style(args, &config)?)?;
    if let Some(folder) = &args.output {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    to_stdout(|out| {
        let mut written = HashSet::new();
        let mut failed = false;
        let mut left_out = 0;
        for file in &args.files {
            let target = match (&args.output, args.files.len()) {
                (None, 1) => None,
                (folder, _) => Some(target(file, folder.as_deref(), args.format)),
            };
            if target.as_ref().is_some_and(|target| !written.insert(target.clone())) {
                complain(file, "its transcript would replace that of another file");
                failed = true;
                continue;
            }
            if args.resume && target.as_ref().is_some_and(|target| newer(target, file)) {
                left_out += 1;
                continue;
            }
            let journal = target.as_deref().filter(|_| args.resume).map(Journal::path);
            match transcribe(&listener, file, args.format, journal.as_deref()) {
                Err(error) => {
                    complain(file, &format!("{error:#}"));
                    failed = true;
                }
                Ok(text) => match target {
                    None => out.write_all(text.as_bytes())?,
                    Some(target) => {
                        if let Err(error) = replace(&target, &text) {
                            complain(file, &format!("cannot write {}: {error}", target.display()));
                            failed = true;
                        } else if let Some(journal) = journal {
                            // Of a finished transcript it is of no use, and is not asked any more.
                            let _ = std::fs::remove_file(journal);
                        }
                    }
                },
            }
        }
        if left_out > 0 {
            eprintln!("antiphon: {left_out} of {} files have been transcribed before", args.files.len());
        }
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    })
}

fn transcribe(
    listener: &Listener,
    file: &Path,
    format: Format,
    journal: Option<&Path>,
) -> anyhow::Result<String> {
    let mut progress = Progress::start(file);
    let heard = listener.hear(file, journal, &mut |position, duration| progress.at(position, duration));
    progress.clear();
    let transcript = heard?;
    progress.summarise(&transcript);
    for warning in &transcript.warnings {
        complain(file, warning);
    }
    Ok(format.render(&transcript))
}

/// Writes a file that is whole or not there.
fn replace(target: &Path, text: &str) -> std::io::Result<()> {
    let mut unfinished = target.as_os_str().to_owned();
    unfinished.push(".part");
    std::fs::write(&unfinished, text)?;
    std::fs::rename(&unfinished, target)
}

/// Whether there is a transcript and its file has not changed since.
fn newer(target: &Path, file: &Path) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified());
    matches!((modified(target), modified(file)), (Ok(target), Ok(file)) if target >= file)
}

/// Says what is wrong with a file, and names it once.
fn complain(file: &Path, what: &str) {
    let name = file.display().to_string();
    if what.contains(&name) { eprintln!("antiphon: {what}") } else { eprintln!("antiphon: {name}: {what}") }
}

/// Where the transcript of `file` goes.
fn target(file: &Path, folder: Option<&Path>, format: Format) -> PathBuf {
    let beside = file.with_extension(format.extension());
    match folder {
        Some(folder) => folder.join(beside.file_name().unwrap_or_default()),
        None => beside,
    }
}

/// Reads phrases, one a line.
fn read_hints(path: &Path) -> anyhow::Result<Hints> {
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(LARGEST_HINTS + 1).read_to_string(&mut text))
        .with_context(|| format!("cannot read the hints {}", path.display()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let phrases: Vec<String> = lines.map(str::to_owned).collect();
    if phrases.len() > Hints::LIMIT {
        bail!("{} holds {} phrases; {} can be used", path.display(), phrases.len(), Hints::LIMIT);
    }
    Ok(Hints { phrases, digits: false, closed: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transcripts_lie_beside_their_files_or_in_the_folder() {
        let file = Path::new("calls/one.wav");
        assert_eq!(target(file, None, Format::Srt), Path::new("calls/one.srt"));
        assert_eq!(target(file, Some(Path::new("out")), Format::Text), Path::new("out/one.txt"));
        // A recording's `.json` is its sidecar.
        assert_eq!(target(file, None, Format::Json), Path::new("calls/one.transcript.json"));
    }

    #[test]
    fn hints_are_lines() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("phrases.txt");
        std::fs::write(&path, "# the bank\naccount balance\n\n  lost card \n").expect("written");
        assert_eq!(read_hints(&path).expect("readable").phrases, ["account balance", "lost card"]);
        std::fs::write(&path, "a phrase\n".repeat(Hints::LIMIT + 1)).expect("written");
        assert!(read_hints(&path).expect_err("too many").to_string().contains("1001"));
    }
}
