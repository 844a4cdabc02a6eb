//! A stream from words to what is read, whatever language each utterance is in.

use antiphon_models_speech::{Hypothesis, Language, Utterance, Word};

use crate::finish::{Finished, Finisher, Style};
use crate::mask::{PolicyError, Redaction};
use crate::normalize::{Script, split};
use crate::token::{Written, is_wide};

/// What one reads of an utterance.
#[derive(Clone, Debug, PartialEq)]
pub struct Readable {
    /// As one reads it.
    pub text: String,
    /// As it was said, with what is to be hidden replaced by `***`.
    pub spoken: String,
    /// The words of `spoken`, where the engine gave any.
    pub words: Vec<Word>,
    /// The words of `text` with the marks behind them, each as long as the spoken words it came from.
    pub written: Vec<Word>,
    /// What was hidden and when it was said; the first may lie in an earlier utterance.
    pub redactions: Vec<Redaction>,
}

/// The stages of one stream. Utterances that tell their language are read by its rules, all others by the stream's.
#[derive(Debug)]
pub struct Reader {
    style: Style,
    language: Language,
    /// As they are needed; the first is the stream's own.
    finishers: Vec<(Script, Finisher)>,
}

impl Reader {
    /// For one stream of `language`.
    ///
    /// # Errors
    /// A bound of the policy is broken.
    pub fn new(language: &Language, style: &Style) -> Result<Self, PolicyError> {
        let finisher = Finisher::new(language, style)?;
        let finishers = vec![(Script::of(language), finisher)];
        Ok(Self { style: style.clone(), language: language.clone(), finishers })
    }

    /// What one reads of final words.
    pub fn read(&mut self, utterance: &Utterance) -> Readable {
        if self.style.is_idle() {
            return plain(utterance);
        }
        let rewritten = self.style.numbers || self.style.punctuation || self.style.capitals;
        let finisher = self.finisher(utterance);
        let chinese = finisher.script() == Script::Chinese;
        let Finished { text, tokens, words, redactions } = finisher.last(utterance);
        if redactions.is_empty() && !rewritten {
            return plain(utterance);
        }
        let (mut spoken, mut words, mut written) = (joined(&words), words, Vec::with_capacity(tokens.len()));
        if redactions.is_empty() {
            spoken.clone_from(&utterance.text);
            words.clone_from(&utterance.words);
        }
        if utterance.words.is_empty() {
            words.clear();
        } else {
            written.extend(tokens.into_iter().map(|token| {
                let mark = token.mark.map_or("", |mark| mark.sign(chinese));
                let Written { start, end, confidence, .. } = token;
                Word { text: token.text + mark, start, end, confidence }
            }));
        }
        Readable { text, spoken, words, written, redactions }
    }

    /// Final words as one reads them, and nothing besides: its words are the written ones.
    pub fn write(&mut self, utterance: Utterance) -> Utterance {
        if self.style.is_idle() {
            return utterance;
        }
        let Readable { text, written: words, .. } = self.read(&utterance);
        Utterance { text, words, ..utterance }
    }

    /// Interim words as one may read them: as they were said, profanity hidden where it is to be. None where anything of
    /// a person is to be hidden: half of a number or of an address does not show yet that it is one.
    #[must_use]
    pub fn partial(&self, hypothesis: Hypothesis) -> Option<Hypothesis> {
        if self.style.policy.keeps_all() {
            return Some(hypothesis);
        }
        (!self.style.policy.personal()).then(|| self.finishers[0].1.masked(&hypothesis))
    }

    /// Hides in a text that was never heard, such as what we say ourselves. `None` where nothing is to be hidden in it. It is
    /// a whole: a policy for such texts has no [`Policy::halves`](crate::Policy::halves).
    #[must_use]
    pub fn hide(&mut self, text: &str) -> Option<String> {
        if self.style.policy.keeps_all() {
            return None;
        }
        let (start, end) = Default::default();
        let text = text.to_owned();
        let said = Utterance { text, words: Vec::new(), start, end, confidence: 1.0, language: None };
        let finisher = &mut self.finishers[0].1;
        finisher.reset();
        let finished = finisher.last(&said);
        finisher.reset();
        (!finished.redactions.is_empty()).then_some(finished.text)
    }

    fn finisher(&mut self, utterance: &Utterance) -> &mut Finisher {
        let language = utterance.language.as_ref().unwrap_or(&self.language);
        let script = Script::of(language);
        let known = self.finishers.iter().position(|(known, _)| *known == script);
        let at = known.unwrap_or_else(|| match Finisher::new(language, &self.style) {
            Ok(finisher) => {
                self.finishers.push((script, finisher));
                self.finishers.len() - 1
            }
            // Its policy was accepted for the stream's own language.
            Err(_) => 0,
        });
        &mut self.finishers[at].1
    }
}

fn plain(utterance: &Utterance) -> Readable {
    Readable {
        text: utterance.text.clone(),
        spoken: utterance.text.clone(),
        words: utterance.words.clone(),
        written: utterance.words.clone(),
        redactions: Vec::new(),
    }
}

/// The words as one text, with spaces where their script has them.
fn joined(words: &[Word]) -> String {
    let mut text = String::new();
    for word in words.iter().flat_map(|word| split(&word.text)) {
        let wide = |c: Option<char>| c.is_none_or(is_wide);
        if !wide(text.chars().next_back()) && !wide(word.chars().next()) {
            text.push(' ');
        }
        text.push_str(word);
    }
    text
}

#[cfg(test)]
mod tests {
    use antiphon_media_frame::MediaTime;

    use super::*;
    use crate::mask::{Category, Policy};

    fn said(text: &str, language: Option<&str>) -> Utterance {
        let words: Vec<Word> = split(text)
            .into_iter()
            .zip(0..)
            .map(|(text, n)| Word {
                text: text.to_owned(),
                start: MediaTime::from_millis(n * 300),
                end: MediaTime::from_millis(n * 300 + 250),
                confidence: 0.9,
            })
            .collect();
        let end = words.last().map_or(MediaTime::ZERO, |word| word.end);
        let language = language.and_then(Language::parse);
        Utterance { text: text.to_owned(), words, start: MediaTime::ZERO, end, confidence: 0.9, language }
    }

    fn reader(style: &Style) -> Reader {
        Reader::new(&Language::english(), style).expect("a policy within its bounds")
    }

    fn masking(kinds: &[Category]) -> Reader {
        reader(&Style { policy: Policy::masking(kinds), ..Style::spoken() })
    }

    fn hypothesis(text: &str) -> Hypothesis {
        Hypothesis { revision: 1, text: text.to_owned(), start: MediaTime::ZERO }
    }

    #[test]
    fn the_spoken_form_and_its_words_stay_beside_the_text() {
        let utterance = said("pay twenty five dollars", None);
        let readable = reader(&Style::default()).read(&utterance);
        assert_eq!((&*readable.text, &*readable.spoken), ("Pay $25.", "pay twenty five dollars"));
        assert_eq!(readable.words, utterance.words);
        let written = reader(&Style::default()).write(utterance);
        let words: Vec<_> = written.words.iter().map(|word| (&*word.text, word.end.millis())).collect();
        assert_eq!(words, [("Pay", 250), ("$25.", 1_150)]);
    }

    #[test]
    fn each_stage_works_by_itself() {
        let utterance = said("is it twenty five", None);
        let one = |style: Style| reader(&style).read(&utterance).text;
        assert_eq!(one(Style { numbers: true, ..Style::spoken() }), "is it 25");
        assert_eq!(one(Style { capitals: true, ..Style::spoken() }), "Is it twenty five");
        assert_eq!(one(Style { punctuation: true, ..Style::spoken() }), "is it twenty five?");
        assert_eq!(one(Style::spoken()), utterance.text);
    }

    #[test]
    fn an_utterance_is_read_by_the_rules_of_its_own_language() {
        let mut reader = reader(&Style::default());
        assert_eq!(reader.read(&said("一共三百块", Some("zh"))).text, "一共300块。");
        assert_eq!(reader.read(&said("three hundred people", None)).text, "300 people.");
    }

    #[test]
    fn what_is_hidden_is_hidden_in_the_text_in_the_words_and_in_the_spoken_form() {
        let mut reader = masking(&[Category::Card]);
        let card = "four one one one one one one one one one one one one one one one";
        let readable = reader.read(&said(&format!("it is {card} ok"), None));
        for text in [&readable.text, &readable.spoken] {
            assert!(!text.contains("one") && text.starts_with("it is") && text.ends_with("ok"), "{text}");
        }
        assert!(readable.words[2..18].iter().all(|word| word.text == "***"), "{readable:?}");
        assert_eq!(readable.redactions[0].category, Category::Card);
    }

    #[test]
    fn digits_that_may_be_half_of_a_number_do_not_get_out() {
        let mut reader = masking(&[Category::Card]);
        let first = reader.read(&said("yes four one one one", None));
        assert!(!first.text.contains("one") && !first.spoken.contains("one"), "{first:?}");
        let second = reader.read(&said("one one one one one one one one one one one one", None));
        assert!(!second.text.contains("one"), "{second:?}");
        assert_eq!(second.redactions.len(), 1, "the first half was hidden when it was said");
        assert_eq!(
            masking(&[Category::Profanity]).read(&said("press one two three", None)).text,
            "press one two three"
        );
    }

    #[test]
    fn interim_words_are_withheld_where_anything_of_a_person_is_hidden() {
        assert_eq!(masking(&[Category::Card]).partial(hypothesis("four one")), None);
        let shown = masking(&[Category::Profanity]).partial(hypothesis("oh fuck twenty five"));
        assert_eq!(shown.map(|shown| shown.text).as_deref(), Some("oh *** twenty five"));
        let shown = reader(&Style::default()).partial(hypothesis("twenty five"));
        assert_eq!(shown.map(|shown| shown.text).as_deref(), Some("twenty five"));
    }

    #[test]
    fn texts_of_our_own_are_hidden_too_and_left_alone_otherwise() {
        let policy = Policy { halves: false, ..Policy::masking(&[Category::Telephone]) };
        let mut reader = reader(&Style { policy, ..Style::spoken() });
        assert_eq!(
            reader.hide("You called from 415 555 0123."),
            Some("You called from *** *** ****.".to_owned())
        );
        assert_eq!(reader.hide("Your balance is $250."), None);
    }

    #[test]
    fn an_engine_that_writes_its_text_but_not_its_words_keeps_its_marks() {
        let mut utterance = said("well that is it", None);
        utterance.text = "Well, that is it!".to_owned();
        assert_eq!(reader(&Style::default()).read(&utterance).text, "Well, that is it!");
    }
}
