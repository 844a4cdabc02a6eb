//! Masking by policy: profanity and personal data, in finals and partials alike, also where a number was said in two
//! halves.

mod apply;
mod number;
mod profanity;
mod scan;

use antiphon_media_frame::{MediaTime, Span};
use antiphon_models_speech::Word;
use serde::{Deserialize, Serialize};

use crate::token::Piece;
use number::Tail;
use profanity::Profanity;
use scan::{Hit, Scan};

/// What is masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Words of the lists.
    Profanity,
    /// A telephone number.
    Telephone,
    /// An identity number: of China by its checksum (GB 11643), of the USA behind its name.
    Identity,
    /// A payment card by its check digit (ISO/IEC 7812-1, Luhn).
    Card,
    /// An e-mail address.
    Email,
    /// Any other number of many digits.
    Account,
    /// A name behind "my name is", `我叫`, `我姓`.
    Name,
}

impl Category {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Profanity,
        Self::Telephone,
        Self::Identity,
        Self::Card,
        Self::Email,
        Self::Account,
        Self::Name,
    ];

    /// As configuration and events have it: `profanity`, `card`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Profanity => "profanity",
            Self::Telephone => "telephone",
            Self::Identity => "identity",
            Self::Card => "card",
            Self::Email => "email",
            Self::Account => "account",
            Self::Name => "name",
        }
    }
}

/// What is done with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing.
    #[default]
    Keep,
    /// Stars in its place; what separates its groups stays.
    Mask,
    /// It is left out.
    Drop,
}

/// What is done with what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// For words of the built-in lists and of `words`.
    pub profanity: Action,
    /// For telephone numbers.
    pub telephone: Action,
    /// For identity numbers.
    pub identity: Action,
    /// For payment cards.
    pub card: Action,
    /// For e-mail addresses.
    pub email: Action,
    /// For other numbers of at least `account_digits` digits.
    pub account: Action,
    /// For names of speakers who tell theirs.
    pub name: Action,
    /// From how many digits a number counts as an account, 3 to 64.
    pub account_digits: usize,
    /// Whether three or more digits that an utterance ends in are hidden though they are no number yet: they may be half
    /// of one whose other half comes when they are out already. Only where some kind of number is hidden.
    pub halves: bool,
    /// Words to treat like the built-in profanity, at most [`Policy::MOST_WORDS`].
    pub words: Vec<String>,
}

impl Default for Policy {
    /// Keeps everything.
    fn default() -> Self {
        Self {
            profanity: Action::Keep,
            telephone: Action::Keep,
            identity: Action::Keep,
            card: Action::Keep,
            email: Action::Keep,
            account: Action::Keep,
            name: Action::Keep,
            account_digits: 6,
            halves: false,
            words: Vec::new(),
        }
    }
}

impl Policy {
    /// The least that `account_digits` may be.
    pub const FEWEST_DIGITS: usize = 3;
    /// More words of one's own are refused.
    pub const MOST_WORDS: usize = 10_000;

    /// Masks everything.
    #[must_use]
    pub fn strict() -> Self {
        Self {
            profanity: Action::Mask,
            telephone: Action::Mask,
            identity: Action::Mask,
            card: Action::Mask,
            email: Action::Mask,
            account: Action::Mask,
            name: Action::Mask,
            ..Self::default()
        }
    }

    /// Masks these and no others, halves of numbers too.
    #[must_use]
    pub fn masking(categories: &[Category]) -> Self {
        let mut policy = Self { halves: true, ..Self::default() };
        categories.iter().for_each(|category| policy.mask(*category));
        policy
    }

    /// Masks `category` besides what it hides already.
    pub fn mask(&mut self, category: Category) {
        let action = match category {
            Category::Profanity => &mut self.profanity,
            Category::Telephone => &mut self.telephone,
            Category::Identity => &mut self.identity,
            Category::Card => &mut self.card,
            Category::Email => &mut self.email,
            Category::Account => &mut self.account,
            Category::Name => &mut self.name,
        };
        if *action == Action::Keep {
            *action = Action::Mask;
        }
    }

    /// Whether anything is hidden that tells of a person, and not only profanity.
    #[must_use]
    pub fn personal(&self) -> bool {
        let kept = Category::ALL.iter().filter(|category| self.action(**category) == Action::Keep).count();
        kept < Category::ALL.len() - usize::from(self.profanity != Action::Keep)
    }

    /// What is done with a category.
    #[must_use]
    pub const fn action(&self, category: Category) -> Action {
        match category {
            Category::Profanity => self.profanity,
            Category::Telephone => self.telephone,
            Category::Identity => self.identity,
            Category::Card => self.card,
            Category::Email => self.email,
            Category::Account => self.account,
            Category::Name => self.name,
        }
    }

    pub(crate) fn keeps_all(&self) -> bool {
        [self.profanity, self.telephone, self.identity, self.card, self.email, self.account, self.name]
            .iter()
            .all(|action| *action == Action::Keep)
    }
}

/// Why a policy cannot be followed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PolicyError {
    /// `account_digits` out of range.
    #[error("account_digits is {found}: 3 to 64 digits make an account number")]
    AccountDigits {
        /// What it was.
        found: usize,
    },
    /// Too many words, or too long ones, for the automaton.
    #[error("words has {found} entries: at most {most}, each of 1 to 64 characters")]
    Words {
        /// How many there are.
        found: usize,
        /// How many may be.
        most: usize,
    },
}

/// Something that was masked: what, and when it was said, so that a recording can be silenced there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redaction {
    /// What it is.
    pub category: Category,
    /// When its first word begins. It may lie in an earlier utterance whose words are out already: a number said in two
    /// halves is known for what it is only with the second.
    pub start: MediaTime,
    /// When its last word ends.
    pub end: MediaTime,
}

/// Hides what a policy names. One a stream: it remembers the number that an utterance broke off in.
#[derive(Clone, Debug)]
pub struct Masker {
    policy: Policy,
    profanity: Option<Profanity>,
    chinese: bool,
    memory: Memory,
}

/// What the last utterance left open.
#[derive(Clone, Debug, Default)]
struct Memory {
    /// The number it ended in.
    tail: Option<Tail>,
    /// What was announced and not yet said: "my card number is".
    expected: Option<Category>,
    /// When it ended.
    end: MediaTime,
}

/// After so long a silence nobody continues a number.
const PATIENCE: Span = Span::from_secs(15);

impl Masker {
    /// Follows `policy` for one stream.
    ///
    /// # Errors
    /// A bound of the policy is broken.
    pub fn new(policy: Policy, chinese: bool) -> Result<Self, PolicyError> {
        if !(Policy::FEWEST_DIGITS..=64).contains(&policy.account_digits) {
            return Err(PolicyError::AccountDigits { found: policy.account_digits });
        }
        let profanity =
            if policy.profanity == Action::Keep { None } else { Some(Profanity::new(&policy.words)?) };
        Ok(Self { policy, profanity, chinese, memory: Memory::default() })
    }

    /// Whether it would never change anything.
    #[must_use]
    pub fn idle(&self) -> bool {
        self.policy.keeps_all()
    }

    /// Forgets what the last utterance left open: another speaker, another call.
    pub fn reset(&mut self) {
        self.memory = Memory::default();
    }

    /// Hides in the written tokens of a partial that began at `start`. Nothing is remembered.
    pub fn partial(&self, pieces: &mut Vec<Piece>, start: MediaTime) {
        if self.idle() {
            return;
        }
        let scan = Scan::new(pieces);
        let (hits, _, _) = self.hits(&scan, start);
        apply::pieces(pieces, &scan, &hits, &self.policy);
    }

    /// Hides in a final: in its written tokens and in the spoken words they came from. Gives what was hidden, with its
    /// time; a number begun in the utterance before is given with the time it had there.
    pub fn last(&mut self, pieces: &mut Vec<Piece>, words: &mut [Word]) -> Vec<Redaction> {
        if self.idle() {
            return Vec::new();
        }
        let start = words.first().map_or(self.memory.end, |word| word.start);
        let end = words.last().map_or(start, |word| word.end);
        let scan = Scan::new(pieces);
        let (hits, earlier, tail) = self.hits(&scan, start);
        let mut redactions: Vec<Redaction> = earlier.into_iter().collect();
        let expected = scan.announced(self.chinese).or_else(|| {
            // "my card number is", "uh", "four one": small talk in between changes nothing.
            (scan.is_short() && tail.is_none()).then(|| self.expected(start)).flatten()
        });
        let tail = tail.and_then(|tail| tail.timed(&scan, pieces, words, self.open_tail(start), &hits));
        redactions.extend(apply::words(pieces, words, &scan, &hits, &self.policy));
        apply::pieces(pieces, &scan, &hits, &self.policy);
        self.memory = Memory { tail, expected, end };
        redactions
    }

    /// A kind of number that is hidden.
    fn number(&self) -> Option<Category> {
        let kinds = [Category::Account, Category::Card, Category::Telephone, Category::Identity];
        kinds.into_iter().find(|kind| self.policy.action(*kind) != Action::Keep)
    }

    fn open_tail(&self, start: MediaTime) -> Option<&Tail> {
        self.memory.tail.as_ref().filter(|_| start.since(self.memory.end) <= PATIENCE)
    }

    fn expected(&self, start: MediaTime) -> Option<Category> {
        self.memory.expected.filter(|_| start.since(self.memory.end) <= PATIENCE)
    }

    /// What is to be hidden, what is to be hidden of the utterance before, and the number that this one ends in.
    fn hits(&self, scan: &Scan, start: MediaTime) -> (Vec<Hit>, Option<Redaction>, Option<number::OpenRun>) {
        let mut hits = Vec::new();
        if let Some(profanity) = &self.profanity {
            profanity.find(scan, &mut hits);
        }
        let found = number::find(
            scan,
            self.policy.account_digits,
            self.chinese,
            self.open_tail(start),
            self.expected(start),
            &mut hits,
        );
        scan.emails(&mut hits);
        scan.names(self.chinese, &mut hits);
        hits.retain(|hit| self.policy.action(hit.category) != Action::Keep);
        if let (true, Some(open)) = (self.policy.halves, &found.open)
            && let Some(category) = self.number()
        {
            hits.extend(open.half(category, &hits));
        }
        let earlier =
            found.earlier.filter(|redaction| self.policy.action(redaction.category) != Action::Keep);
        (scan::disjoint(hits), earlier, found.open)
    }
}
