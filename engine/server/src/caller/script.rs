//! What a caller says and does: the file behind `antiphon call --script`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use antiphon_media_frame::Span;
use antiphon_models_speech::Language;
use anyhow::{Context, bail};
use serde::Deserialize;

use crate::config::Length;

/// A script of more steps is refused.
const STEPS: usize = 1_000;

/// What a caller says and does, in order. Each step waits until the other side has finished.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Script {
    pub(crate) language: Language,
    pub(crate) voice: Option<String>,
    pub(crate) steps: Vec<Step>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) action: Action,
    /// Do not wait for the other side: act this long after it has begun to speak.
    pub(crate) barge_in: Option<Span>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    Say(String),
    Play(PathBuf),
    Keys(Vec<char>),
    Pause(Span),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default = "english")]
    language: String,
    voice: Option<String>,
    steps: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    say: Option<String>,
    play: Option<PathBuf>,
    keys: Option<String>,
    pause: Option<Length>,
    barge_in: Option<Length>,
}

fn english() -> String {
    "en".into()
}

impl Script {
    /// Reads a script; recordings are looked for beside it.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the script {}", path.display()))?;
        Self::parse(&text, path)
    }

    pub(crate) fn parse(text: &str, path: &Path) -> anyhow::Result<Self> {
        let file: File =
            serde_saphyr::from_str(text).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))?;
        let Some(language) = Language::parse(&file.language) else {
            bail!("{}: language: `{}` is no language tag such as en or zh-CN", path.display(), file.language);
        };
        if file.steps.is_empty() || file.steps.len() > STEPS {
            bail!("{}: steps: a script has 1 to {STEPS} steps", path.display());
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        let steps = file.steps.into_iter().enumerate().map(|(n, line)| {
            step(line, folder)
                .map_err(|problem| anyhow::anyhow!("{}: step {}: {problem}", path.display(), n + 1))
        });
        Ok(Self { language, voice: file.voice, steps: steps.collect::<anyhow::Result<_>>()? })
    }
}

fn step(line: Line, folder: &Path) -> Result<Step, String> {
    let barge_in = line.barge_in.map(Length::span);
    let action = match (line.say, line.play, line.keys, line.pause) {
        (Some(text), None, None, None) => Action::Say(text),
        (None, Some(path), None, None) => Action::Play(folder.join(path)),
        (None, None, Some(text), None) => Action::Keys(keys(&text)?),
        (None, None, None, Some(Length(length))) if barge_in.is_none() => {
            if length > Duration::from_secs(600) {
                return Err("a pause is at most 10m".into());
            }
            Action::Pause(length.into())
        }
        _ => return Err("write exactly one of say, play, keys or pause (and barge_in not with pause)".into()),
    };
    Ok(Step { action, barge_in })
}

/// The keys of a telephone in `text`.
pub(crate) fn keys(text: &str) -> Result<Vec<char>, String> {
    let keys: Vec<_> = text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_uppercase()).collect();
    match keys.iter().find(|c| !matches!(c, '0'..='9' | '*' | '#' | 'A'..='D')) {
        Some(odd) => Err(format!("`{odd}` is no key: 0 to 9, *, # and A to D are")),
        None if keys.is_empty() || keys.len() > 100 => Err("1 to 100 keys can be pressed at once".into()),
        None => Ok(keys),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<Script> {
        Script::parse(text, Path::new("dir/caller.yaml"))
    }

    #[test]
    fn a_script_is_read() {
        let script =
            parse("language: zh-CN\nsteps:\n- say: 你好\n- play: a.wav\n- keys: '1 2#'\n- pause: 2s\n")
                .expect("valid");
        assert_eq!(script.steps[1].action, Action::Play("dir/a.wav".into()));
        assert_eq!(script.steps[2].action, Action::Keys(vec!['1', '2', '#']));
        assert_eq!(script.steps[3].action, Action::Pause(Span::from_secs(2)));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("steps: [{sya: hi}]", "sya"),
            ("steps: [{say: hi, keys: '1'}]", "exactly one"),
            ("steps: [{keys: '1x'}]", "`X` is no key"),
            ("steps: []", "1 to 1000"),
            ("language: klingon!\nsteps: [{say: hi}]", "language tag"),
        ] {
            let error = format!("{:#}", parse(text).expect_err(text));
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
