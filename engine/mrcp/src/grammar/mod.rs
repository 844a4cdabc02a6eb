//! Grammars: what may be said or pressed, and what it means.
//!
//! A [`Grammar`] is read once. It gives a recogniser the [`phrases`](Grammar::hints) it allows, and final words or keys a
//! [`Meaning`] where they fit it from the first to the last.

mod abnf;
mod builtin;
mod expand;
mod matching;
mod rules;
mod script;
mod words;
mod xml;

use antiphon_models_speech::{Hints, Language};
use serde_json::Value;

pub use builtin::Builtin;
pub use rules::{Mode, Rules};

/// Longest grammar read, in octets.
pub const MAX_GRAMMAR: usize = 256 * 1024;

/// Why a grammar is no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrammarError {
    /// Too much of something.
    #[error("the grammar has more than {limit} {what}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much of it is taken.
        limit: usize,
    },
    /// It breaks the rules of its form.
    #[error("line {line} of the grammar: {what}")]
    Invalid {
        /// Counted from 1.
        line: u32,
        /// What is wrong.
        what: String,
    },
    /// It is right, and asks for what is not served.
    #[error("line {line} of the grammar: {what} is not served")]
    Unserved {
        /// Counted from 1.
        line: u32,
        /// What it asks for.
        what: String,
    },
    /// A `builtin:` address that names nothing.
    #[error("there is no built-in grammar {uri}")]
    NoBuiltin {
        /// The address.
        uri: String,
    },
    /// Grammars of this kind are not read.
    #[error(
        "grammars of the type {kind} are not served; application/srgs+xml, application/srgs and text/uri-list are"
    )]
    Kind {
        /// The media type.
        kind: String,
    },
}

/// What was said or pressed, understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Meaning {
    /// The value that the grammar gives it.
    pub value: Value,
    /// The words of the grammar that it came by, as text.
    pub input: String,
}

/// How far words or keys fit.
#[derive(Clone, Debug, PartialEq)]
pub enum Fit {
    /// They do not.
    No,
    /// As a beginning: more would have to follow.
    Begun,
    /// Wholly.
    Whole {
        /// What they mean.
        meaning: Meaning,
        /// Whether more could follow.
        more: bool,
    },
}

/// What may be said or pressed.
#[derive(Clone, Debug)]
pub enum Grammar {
    /// Rules that a client wrote (SRGS 1.0).
    Rules(Rules),
    /// One that we brought.
    Builtin(Builtin),
}

impl Grammar {
    /// Reads a grammar of a media type.
    ///
    /// # Errors
    /// [`GrammarError`].
    pub fn read(kind: &str, text: &str) -> Result<Self, GrammarError> {
        if text.len() > MAX_GRAMMAR {
            return Err(GrammarError::TooLarge { what: "octets", limit: MAX_GRAMMAR });
        }
        match kind {
            "application/srgs+xml" | "application/grammar+xml" | "application/xml" | "text/xml" => {
                xml::read(text).map(Self::Rules)
            }
            "application/srgs" => abnf::read(text).map(Self::Rules),
            _ => Err(GrammarError::Kind { kind: kind.chars().take(64).collect() }),
        }
    }

    /// The built-in grammar of an address: `builtin:grammar/digits?length=4`, `builtin:dtmf/boolean`.
    ///
    /// # Errors
    /// [`GrammarError::NoBuiltin`].
    pub fn builtin(uri: &str) -> Result<Self, GrammarError> {
        Builtin::parse(uri)
            .map(Self::Builtin)
            .ok_or_else(|| GrammarError::NoBuiltin { uri: uri.chars().take(128).collect() })
    }

    /// Whether it is of words or of keys.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match self {
            Self::Rules(rules) => rules.mode,
            Self::Builtin(builtin) => builtin.mode,
        }
    }

    /// The language it was written for, where it says.
    #[must_use]
    pub fn language(&self) -> Option<&Language> {
        match self {
            Self::Rules(rules) => rules.language.as_ref(),
            Self::Builtin(_) => None,
        }
    }

    /// What a recogniser should expect.
    #[must_use]
    pub fn hints(&self, language: &Language) -> Hints {
        match self {
            Self::Rules(rules) => expand::hints(rules),
            Self::Builtin(builtin) => builtin.hints(language),
        }
    }

    /// How far what was said in `language` fits. Relative dates are counted from `today` (`2026-11-22`).
    #[must_use]
    pub fn fit_words(&self, said: &str, language: &Language, today: Option<&str>) -> Fit {
        match self {
            Self::Rules(rules) if rules.mode == Mode::Voice => matching::fit(rules, &words::split(said)),
            Self::Builtin(builtin) if builtin.mode == Mode::Voice => builtin.fit_words(said, language, today),
            _ => Fit::No,
        }
    }

    /// How far keys fit.
    #[must_use]
    pub fn fit_keys(&self, keys: &str) -> Fit {
        match self {
            Self::Rules(rules) if rules.mode == Mode::Dtmf => {
                let keys: Vec<String> = keys.chars().map(|key| key.to_string()).collect();
                matching::fit(rules, &keys)
            }
            Self::Builtin(builtin) if builtin.mode == Mode::Dtmf => builtin.fit_keys(keys),
            _ => Fit::No,
        }
    }
}

#[cfg(test)]
mod tests;
