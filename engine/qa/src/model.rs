//! A scorecard as it was read: what is meant, no longer how it was written.

use std::collections::BTreeMap;

use antiphon_engine_flow::Slot;
use antiphon_engine_flow::file::Place;
use antiphon_engine_measure::Role;
use antiphon_media_frame::Span;
use regex::Regex;

use crate::logic::Logic;
use crate::result::{Action, Method, Scoring};
use crate::similar::{By, Saying};
use crate::sound::Sound;

/// Everything a scorecard says; conditions stand before those that name them.
pub(crate) struct Card {
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) name: Option<String>,
    pub(crate) scoring: Scoring,
    /// Around a hit, in its clip.
    pub(crate) margin: Span,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) groups: Vec<Group>,
    /// Named conditions, where they stand, by name.
    pub(crate) named: BTreeMap<String, (Place, usize)>,
}

/// Rules that share a cap or a weight.
pub(crate) struct Group {
    pub(crate) at: Place,
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) cap: Option<f64>,
    pub(crate) weight: f64,
}

/// One rule.
pub(crate) struct Rule {
    pub(crate) at: Place,
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) asks: Asks,
    pub(crate) when: Option<Logic<usize>>,
    pub(crate) except: Vec<Exception>,
    pub(crate) points: f64,
    pub(crate) cap: Option<f64>,
    pub(crate) weight: f64,
    pub(crate) fatal: bool,
    pub(crate) per: Per,
    pub(crate) alert: Option<String>,
    pub(crate) action: Option<Action>,
}

/// What a rule asks for.
pub(crate) enum Asks {
    /// It has to happen.
    Must(Logic<usize>),
    /// It must not.
    Never(Logic<usize>),
    /// Where it holds, that is a hit.
    Expr(Logic<usize>),
}

impl Asks {
    pub(crate) const fn logic(&self) -> &Logic<usize> {
        match self {
            Self::Must(logic) | Self::Never(logic) | Self::Expr(logic) => logic,
        }
    }
}

/// How many hits a rule may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Per {
    Occurrence,
    Turn,
    Call,
}

/// What excuses a rule: in the whole call, or only near a hit.
pub(crate) struct Exception {
    pub(crate) at: Place,
    /// As it was written.
    pub(crate) text: String,
    pub(crate) logic: Logic<usize>,
    pub(crate) near: Option<Reach>,
}

/// How far something reaches, in turns and time; both, where both are given.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Reach {
    pub(crate) turns: Option<u32>,
    pub(crate) time: Option<Span>,
}

/// One condition; others are named by their index.
pub(crate) struct Condition {
    pub(crate) at: Place,
    /// Its name, or that of the condition it is written in.
    pub(crate) name: Option<String>,
    pub(crate) kind: Kind,
    pub(crate) speaker: Option<Role>,
    pub(crate) negated: Negated,
    pub(crate) confidence: f32,
    pub(crate) window: Option<Window>,
    pub(crate) count: Option<Count>,
}

/// What becomes of what is negated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Negated {
    /// It does not count.
    Skip,
    /// It counts like the rest.
    Count,
    /// It alone counts.
    Only,
}

/// It has to occur this often.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Count {
    pub(crate) least: u32,
    /// Within this time.
    pub(crate) within: Option<Span>,
}

/// Where something is looked for.
#[derive(Clone, Debug)]
pub(crate) enum Window {
    /// Beside occurrences of another condition.
    Anchored { side: Side, anchor: usize, which: Which, reach: Reach },
    /// At the beginning.
    First(Extent),
    /// At the end.
    Last(Extent),
}

/// On which side of the anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Before,
    After,
    Around,
}

/// Which occurrence of the anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    First,
    Last,
    Any,
}

/// A part of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Extent {
    Time(Span),
    Turns(u32),
    /// Of the whole, 0 to 1.
    Share(f64),
}

/// A sequence of tokens; the last may be the beginning of a longer word.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Term {
    pub(crate) tokens: Vec<String>,
    pub(crate) open: bool,
    /// Its number among all that are searched for at once.
    pub(crate) pattern: usize,
}

/// Whether parts have to stand together in a turn, or anywhere in the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Together {
    Turn,
    Call,
}

/// A bound that may be open on either side; both are outside of what fits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Range {
    pub(crate) above: Option<f64>,
    pub(crate) below: Option<f64>,
}

impl Range {
    pub(crate) fn fits(self, value: f64) -> bool {
        self.above.is_none_or(|least| value > least) && self.below.is_none_or(|most| value < most)
    }
}

/// What a condition is about.
pub(crate) enum Kind {
    Phrase(Vec<Term>),
    Regex {
        pattern: Regex,
        not: Option<Regex>,
    },
    Near {
        terms: Vec<Vec<Term>>,
        gap: usize,
        ordered: bool,
    },
    Similar {
        saying: Saying,
        text: String,
        least: f32,
        by: By,
    },
    Pinyin {
        sounds: Vec<Sound>,
        accent: bool,
    },
    Entity {
        slot: Slot,
        range: Range,
        equals: Option<String>,
    },
    Any(Vec<usize>),
    All {
        parts: Vec<usize>,
        together: Together,
    },
    None {
        parts: Vec<usize>,
        together: Together,
    },
    Logic(Logic<usize>),
    Sequence {
        steps: Vec<usize>,
        turns: Option<u32>,
        time: Option<Span>,
    },
    Silence {
        least: Span,
        owed: Option<Role>,
        within: Option<Role>,
        hold: bool,
    },
    Interrupt {
        by: Option<Role>,
        of: Option<Role>,
        speaking: Span,
        overlap: Span,
        backchannels: bool,
        took_over: bool,
    },
    Rate {
        range: Range,
        unit: Option<Unit>,
        least: u32,
        whole: bool,
    },
    Emotion {
        least: f32,
        sustained: Span,
    },
    Repeat {
        within: Option<u32>,
        similarity: f32,
    },
    Duration {
        of: Length,
        longer: Option<Span>,
        shorter: Option<Span>,
    },
    Metadata(Vec<(String, Fits)>),
}

/// What is counted in a rate of speech.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Characters,
    Words,
}

/// What lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    Call,
    Turn,
    Hold,
    Monologue,
    Talk,
    Response,
}

/// What a value of the metadata has to be.
#[derive(Clone, Debug)]
pub(crate) enum Fits {
    OneOf(Vec<String>),
    NoneOf(Vec<String>),
    Matches(Regex),
    Present,
}

impl Kind {
    /// Whether it reads what is said.
    pub(crate) const fn reads_words(&self) -> bool {
        matches!(
            self,
            Self::Phrase(_)
                | Self::Regex { .. }
                | Self::Near { .. }
                | Self::Similar { .. }
                | Self::Pinyin { .. }
                | Self::Entity { .. }
        )
    }

    /// Its key in a file.
    pub(crate) const fn key(&self) -> &'static str {
        match self {
            Self::Phrase(_) => "phrase",
            Self::Regex { .. } => "regex",
            Self::Near { .. } => "near",
            Self::Similar { .. } => "similar",
            Self::Pinyin { .. } => "pinyin",
            Self::Entity { .. } => "entity",
            Self::Any(_) => "any",
            Self::All { .. } => "all",
            Self::None { .. } => "none",
            Self::Logic(_) => "expr",
            Self::Sequence { .. } => "sequence",
            Self::Silence { .. } => "silence",
            Self::Interrupt { .. } => "interrupt",
            Self::Rate { .. } => "rate",
            Self::Emotion { .. } => "emotion",
            Self::Repeat { .. } => "repeat",
            Self::Duration { .. } => "duration",
            Self::Metadata(_) => "metadata",
        }
    }

    /// The conditions it is made of.
    pub(crate) fn parts(&self) -> Vec<usize> {
        match self {
            Self::Any(parts) | Self::All { parts, .. } | Self::None { parts, .. } => parts.clone(),
            Self::Sequence { steps, .. } => steps.clone(),
            Self::Logic(logic) => logic.things().into_iter().copied().collect(),
            _ => Vec::new(),
        }
    }
}

impl Scoring {
    pub(crate) const DEFAULT: Self =
        Self { method: Method::Points, base: 100.0, pass: 60.0, floor: 0.0, ceiling: 100.0 };
}
