//! All stages in order: figures, marks, capitals, masks.

use std::fmt;
use std::sync::Arc;

use antiphon_media_frame::{MediaTime, Span};
use antiphon_models_speech::{Hypothesis, Language, Utterance, Word};

use crate::capitals::Capitals;
use crate::mask::{Masker, Policy, PolicyError, Redaction};
use crate::normalize::{Normalizer, Script, split};
use crate::punctuation::{Pausing, Punctuator, Spoken};
use crate::token::{Kind, Piece, Written, join};

/// Which stages work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Style {
    /// Numbers in figures.
    pub numbers: bool,
    /// Sentence marks.
    pub punctuation: bool,
    /// Capitals, where the script has them.
    pub capitals: bool,
    /// What is hidden.
    pub policy: Policy,
    /// Names as they are written, for capitals; at most 1,000.
    pub names: Vec<String>,
}

impl Default for Style {
    /// Figures, marks and capitals; nothing hidden.
    fn default() -> Self {
        Self {
            numbers: true,
            punctuation: true,
            capitals: true,
            policy: Policy::default(),
            names: Vec::new(),
        }
    }
}

impl Style {
    /// Everything as it was said.
    #[must_use]
    pub fn spoken() -> Self {
        Self { numbers: false, punctuation: false, capitals: false, ..Self::default() }
    }

    /// Whether it leaves everything as it was said.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        !(self.numbers || self.punctuation || self.capitals) && self.policy.keeps_all()
    }
}

/// What became of an utterance.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// The whole text, as one reads it.
    pub text: String,
    /// Its tokens on the call's clock.
    pub tokens: Vec<Written>,
    /// The words as they were spoken, with what is to be hidden replaced by `***`. Tokens index into them.
    pub words: Vec<Word>,
    /// What was hidden and when it was said; the first may lie in an earlier utterance.
    pub redactions: Vec<Redaction>,
}

/// The stages of one stream of one language.
pub struct Finisher {
    normalizer: Option<Normalizer>,
    script: Script,
    punctuator: Option<Arc<dyn Punctuator>>,
    capitals: Option<Capitals>,
    masker: Masker,
}

impl fmt::Debug for Finisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finisher").field("script", &self.script).finish_non_exhaustive()
    }
}

impl Finisher {
    /// For one stream. Marks follow the rules of [`Pausing`]; [`Finisher::with_punctuator`] puts a model in their place.
    ///
    /// # Errors
    /// A bound of the policy is broken.
    pub fn new(language: &Language, style: &Style) -> Result<Self, PolicyError> {
        let normalizer = Normalizer::new(language);
        let script = normalizer.script();
        let rules = || Arc::new(Pausing::new(script)) as Arc<dyn Punctuator>;
        Ok(Self {
            normalizer: style.numbers.then_some(normalizer),
            script,
            punctuator: style.punctuation.then(rules),
            capitals: (style.capitals && script == Script::English).then(|| Capitals::new(&style.names)),
            masker: Masker::new(style.policy.clone(), script == Script::Chinese)?,
        })
    }

    /// Puts marks by `punctuator`.
    #[must_use]
    pub fn with_punctuator(mut self, punctuator: Arc<dyn Punctuator>) -> Self {
        self.punctuator = Some(punctuator);
        self
    }

    /// Forgets what the last utterance left open.
    pub fn reset(&mut self) {
        self.masker.reset();
    }

    /// The readable form of interim words. No mark stands at its end, and nothing is remembered of it.
    #[must_use]
    pub fn partial(&self, hypothesis: &Hypothesis) -> Hypothesis {
        let words = split(&hypothesis.text);
        let mut pieces = self.pieces(&words);
        self.mark(&mut pieces, &[], false);
        self.masker.partial(&mut pieces, hypothesis.start);
        Hypothesis { text: self.join(&pieces), ..hypothesis.clone() }
    }

    /// The readable form of final words. Where an engine gives no words, those of the text take its whole time.
    pub fn last(&mut self, utterance: &Utterance) -> Finished {
        let mut words = spoken(utterance);
        let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        let mut pieces = self.pieces(&texts);
        self.mark(&mut pieces, &words, true);
        let redactions = self.masker.last(&mut pieces, &mut words);
        Finished { text: self.join(&pieces), tokens: Written::timed(&pieces, &words), words, redactions }
    }

    /// How its language is written.
    pub(crate) fn script(&self) -> Script {
        self.script
    }

    /// Interim words as they were said, with what is to be hidden hidden.
    pub(crate) fn masked(&self, hypothesis: &Hypothesis) -> Hypothesis {
        let words = split(&hypothesis.text);
        let mut pieces: Vec<Piece> =
            words.iter().enumerate().map(|(i, word)| Piece::new(*word, i..i + 1, Kind::Word)).collect();
        self.masker.partial(&mut pieces, hypothesis.start);
        Hypothesis { text: self.join(&pieces), ..hypothesis.clone() }
    }

    fn join(&self, pieces: &[Piece]) -> String {
        join(pieces, self.script == Script::Chinese)
    }

    fn pieces(&self, words: &[&str]) -> Vec<Piece> {
        match &self.normalizer {
            Some(normalizer) => normalizer.pieces(words),
            None => {
                words.iter().enumerate().map(|(i, word)| Piece::new(*word, i..i + 1, Kind::Word)).collect()
            }
        }
    }

    fn mark(&self, pieces: &mut [Piece], words: &[Word], over: bool) {
        // An engine that writes its own marks knows better.
        let marked = || pieces.iter().any(|piece| piece.kind == Kind::Word && piece.text.ends_with(MARKS));
        if let Some(punctuator) = self.punctuator.as_ref().filter(|_| !marked()) {
            let tokens: Vec<Spoken<'_>> = pieces
                .iter()
                .enumerate()
                .map(|(i, piece)| Spoken { text: &piece.text, pause: pause(pieces, words, i) })
                .collect();
            let marks = punctuator.marks(&tokens, over);
            for (piece, mark) in pieces.iter_mut().zip(marks) {
                piece.mark = mark;
            }
        }
        if let Some(capitals) = &self.capitals {
            capitals.apply(pieces);
        }
    }
}

/// The silence between piece `i` and the next.
fn pause(pieces: &[Piece], words: &[Word], i: usize) -> Span {
    let end = pieces[i].words.end.checked_sub(1).and_then(|last| words.get(last));
    let next = pieces.get(i + 1).and_then(|next| words.get(next.words.start));
    match (end, next) {
        (Some(end), Some(next)) => next.start.since(end.end),
        _ => Span::ZERO,
    }
}

/// The marks of engines that write some.
const MARKS: [char; 8] = ['.', ',', '?', '!', '。', '，', '？', '！'];

/// The words of an utterance. Where its text has marks and its words have none, they are given those of the text.
fn spoken(utterance: &Utterance) -> Vec<Word> {
    if utterance.words.is_empty() {
        return untimed(utterance);
    }
    let mut words = utterance.words.clone();
    if utterance.text.contains(MARKS) && !words.iter().any(|word| word.text.ends_with(MARKS)) {
        let texts: Vec<&str> = utterance.text.split_whitespace().collect();
        let bare = |text: &str| text.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        let same = |(word, text): (&Word, &&str)| bare(&word.text) == bare(text);
        if texts.len() == words.len() && words.iter().zip(&texts).all(same) {
            for (word, text) in words.iter_mut().zip(texts) {
                text.clone_into(&mut word.text);
            }
        }
    }
    words
}

fn untimed(utterance: &Utterance) -> Vec<Word> {
    let (start, end): (MediaTime, MediaTime) = (utterance.start, utterance.end);
    split(&utterance.text)
        .into_iter()
        .map(|text| Word { text: text.to_owned(), start, end, confidence: utterance.confidence })
        .collect()
}
