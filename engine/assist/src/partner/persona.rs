//! A customer as a file has it.

use antiphon_media_frame::Span;
use antiphon_models_speech::Language;
use serde::Deserialize;

use crate::condition::{Condition, Reader, Written};
use crate::file::{FileError, MOST, Time, names, parse, wrong};

/// The highest temper.
pub(super) const TEMPER: u8 = 10;
/// A call of more turns leads nowhere.
const TURNS: u32 = 60;

/// Ways to say the same.
pub(super) type Lines = Vec<String>;

/// Who a simulated customer is, what they want and how they take things: read from YAML, see `docs/ASSIST.md`.
#[derive(Clone, Debug)]
pub struct Persona {
    pub(super) id: String,
    name: String,
    about: String,
    goal: String,
    pub(super) language: Language,
    pub(super) voice: Option<String>,
    pub(super) temper: Temper,
    /// How long the trainee may take to greet.
    pub(super) greeting: Span,
    pub(super) opening: Lines,
    pub(super) reactions: Vec<Reaction>,
    pub(super) objections: Vec<Objection>,
    pub(super) gives_in: GivesIn,
    pub(super) otherwise: Lines,
    pub(super) silence: Silence,
    pub(super) leaves: Lines,
    pub(super) turns: u32,
}

/// How they feel: 0 to 10.
#[derive(Clone, Copy, Debug)]
pub(super) struct Temper {
    pub(super) start: u8,
    /// They hang up from here on.
    pub(super) furious: u8,
    /// What being interrupted does.
    pub(super) interrupted: i8,
}

/// What a trainee may say, and what it does.
#[derive(Clone, Debug)]
pub(super) struct Reaction {
    pub(super) id: String,
    pub(super) when: Condition,
    pub(super) temper: i8,
    pub(super) once: bool,
    pub(super) say: Lines,
}

/// What has to be overcome. Raised once.
#[derive(Clone, Debug)]
pub(super) struct Objection {
    pub(super) id: String,
    /// `None`: as soon as nothing else is open.
    pub(super) when: Option<Condition>,
    pub(super) say: Lines,
    pub(super) met: Condition,
    /// What every answer does that does not meet it.
    pub(super) temper: i8,
}

/// When they have what they want.
#[derive(Clone, Debug)]
pub(super) struct GivesIn {
    pub(super) when: Condition,
    pub(super) say: Lines,
}

/// What they do when nobody speaks.
#[derive(Clone, Debug)]
pub(super) struct Silence {
    pub(super) after: Span,
    pub(super) say: Lines,
    pub(super) temper: i8,
    /// Then they hang up.
    pub(super) times: u32,
}

impl Persona {
    /// Reads a persona.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        let file: File = parse(text)?;
        names("partner", std::iter::once(file.partner.as_str()))?;
        names("reactions", file.reactions.iter().map(|one| one.id.as_str()))?;
        names("objections", file.objections.iter().map(|one| one.id.as_str()))?;
        let language = file.language.as_deref().unwrap_or("en");
        let language = Language::parse(language)
            .ok_or_else(|| wrong("language", format!("`{language}` is no tag such as en or zh-CN")))?;
        let temper = file.temper.unwrap_or_default();
        let temper = Temper {
            start: temper.start.unwrap_or(4),
            furious: temper.furious.unwrap_or(TEMPER),
            interrupted: temper.interrupted.unwrap_or(1),
        };
        if temper.start >= temper.furious || temper.furious > TEMPER {
            return Err(wrong("temper", format!("start below furious, and that at most {TEMPER}")));
        }
        let mut reader = Reader::new(true);
        let mut reactions = Vec::new();
        for (n, one) in file.reactions.into_iter().enumerate() {
            let at = format!("reactions[{n}]");
            reactions.push(Reaction {
                when: reader.read(&format!("{at}.when"), one.when)?,
                temper: change(&at, one.temper)?,
                once: one.once,
                say: lines(&format!("{at}.say"), one.say, 0)?,
                id: one.id,
            });
        }
        let mut objections = Vec::new();
        for (n, one) in file.objections.into_iter().enumerate() {
            let at = format!("objections[{n}]");
            objections.push(Objection {
                when: one.when.map(|when| reader.read(&format!("{at}.when"), when)).transpose()?,
                say: lines(&format!("{at}.say"), one.say, 1)?,
                met: reader.read(&format!("{at}.met"), one.met)?,
                temper: change(&at, one.temper)?,
                id: one.id,
            });
        }
        let silence = file.silence.unwrap_or_default();
        let turns = file.turns.unwrap_or(TURNS);
        if !(1..=1_000).contains(&turns) {
            return Err(wrong("turns", "from 1 to 1000"));
        }
        Ok(Self {
            name: file.name.unwrap_or_else(|| file.partner.clone()),
            id: file.partner,
            about: file.about,
            goal: file.goal,
            language,
            voice: file.voice,
            temper,
            greeting: file.greeting.map_or(Span::from_secs(4), |time| time.0),
            opening: lines("opening", file.opening, 1)?,
            reactions,
            objections,
            gives_in: GivesIn {
                when: reader.read("gives_in.when", file.gives_in.when)?,
                say: lines("gives_in.say", file.gives_in.say, 1)?,
            },
            otherwise: lines("otherwise", file.otherwise, 1)?,
            silence: Silence {
                after: silence.after.map_or(Span::from_secs(8), |time| time.0),
                say: lines("silence.say", silence.say, 0)?,
                temper: change("silence", silence.temper.unwrap_or(1))?,
                times: silence.times.unwrap_or(2),
            },
            leaves: lines("leaves", file.leaves, 1)?,
            turns,
        })
    }

    /// What the file calls it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What the customer is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who they are, for whoever chooses one.
    #[must_use]
    pub fn about(&self) -> &str {
        &self.about
    }

    /// What they call for, for whoever chooses one.
    #[must_use]
    pub fn goal(&self) -> &str {
        &self.goal
    }

    /// What they speak.
    #[must_use]
    pub const fn language(&self) -> &Language {
        &self.language
    }

    pub(super) fn conditions(&self) -> impl Iterator<Item = &Condition> {
        let objections = self.objections.iter().flat_map(|one| one.when.iter().chain([&one.met]));
        self.reactions.iter().map(|one| &one.when).chain(objections).chain([&self.gives_in.when])
    }
}

fn lines(at: &str, lines: Lines, least: usize) -> Result<Lines, FileError> {
    if lines.len() < least || lines.len() > MOST {
        return Err(wrong(at, format!("{least} to {MOST} ways to say it")));
    }
    match lines.iter().position(|line| line.trim().is_empty() || line.len() > 2_000) {
        Some(n) => Err(wrong(format_args!("{at}[{n}]"), "1 to 2000 octets of text")),
        None => Ok(lines),
    }
}

fn change(at: &str, change: i8) -> Result<i8, FileError> {
    let most = TEMPER.cast_signed();
    if (-most..=most).contains(&change) {
        Ok(change)
    } else {
        Err(wrong(format_args!("{at}.temper"), "from -10 to 10"))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    partner: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    about: String,
    #[serde(default)]
    goal: String,
    #[serde(default)]
    language: Option<String>,
    #[serde(default)]
    voice: Option<String>,
    #[serde(default)]
    temper: Option<TemperFile>,
    #[serde(default)]
    greeting: Option<Time>,
    opening: Lines,
    #[serde(default)]
    reactions: Vec<ReactionFile>,
    #[serde(default)]
    objections: Vec<ObjectionFile>,
    gives_in: GivesInFile,
    otherwise: Lines,
    #[serde(default)]
    silence: Option<SilenceFile>,
    leaves: Lines,
    #[serde(default)]
    turns: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TemperFile {
    #[serde(default)]
    start: Option<u8>,
    #[serde(default)]
    furious: Option<u8>,
    #[serde(default)]
    interrupted: Option<i8>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReactionFile {
    id: String,
    when: Written,
    #[serde(default)]
    temper: i8,
    #[serde(default)]
    once: bool,
    #[serde(default)]
    say: Lines,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ObjectionFile {
    id: String,
    #[serde(default)]
    when: Option<Written>,
    say: Lines,
    met: Written,
    #[serde(default)]
    temper: i8,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GivesInFile {
    when: Written,
    say: Lines,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SilenceFile {
    #[serde(default)]
    after: Option<Time>,
    #[serde(default)]
    say: Lines,
    #[serde(default)]
    temper: Option<i8>,
    #[serde(default)]
    times: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "partner: a\nopening: [Hi]\ngives_in: {when: {said: [yes]}, say: [Thanks]}\notherwise: [Well?]\nleaves: [Bye]\n";

    #[test]
    fn the_least_persona_is_read() {
        let persona = Persona::parse(LEAST).unwrap();
        assert_eq!((persona.name(), persona.language().tag(), persona.temper.start), ("a", "en", 4));
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, part) in [
            ("opening: []\n", "duplicate"),
            ("languge: en\n", "languge"),
            ("language: '?'\n", "language: `?` is no tag"),
            ("temper: {start: 9, furious: 3}\n", "temper: start below furious"),
            ("reactions: [{id: x, when: {hit: r}}]\n", "reactions[0].when: a partner hears the trainee"),
            ("reactions: [{id: x, when: {said: [a]}, temper: 99}]\n", "reactions[0].temper: from -10"),
            ("objections: [{id: x, say: [], met: {said: [a]}}]\n", "objections[0].say: 1 to"),
            ("silence: {after: never}\n", "`never` is no time"),
            ("turns: 0\n", "turns: from 1"),
        ] {
            let error = Persona::parse(&format!("{LEAST}{text}")).expect_err(text).to_string();
            assert!(error.to_lowercase().contains(part), "{text}: {error}");
        }
    }
}
