//! What leaves of what was said: final words as one reads them, and nothing in any event that is to be hidden.
//!
//! The dialogue hears what was said. Only what is told of a call passes here, all of it in one place: events, and by them
//! sidecar, webhooks, transcripts and pages.

use antiphon_engine_call::{EventBody, Pii, Redacted, Side};
use antiphon_media_frame::MediaTime;
use antiphon_models_speech::{Hypothesis, Language, Utterance};
use antiphon_models_text::{Policy, PolicyError, Reader, Redaction, Style};

use crate::config::Config;

/// Interim words longer than this are left as they are not told: no utterance of a call has so many characters.
const LONGEST_PARTIAL: usize = 4_096;

impl Config {
    /// How a tenant's words are written and what is hidden in them: its own settings over those of `[recognizer]`.
    pub(crate) fn style(&self, tenant: &str) -> Style {
        let usual = &self.recognizer;
        let own = self.tenants.iter().find(|known| known.name == tenant);
        let flag = |own: Option<bool>, usual| own.unwrap_or(usual);
        let mask = own.and_then(|own| own.mask.as_ref()).unwrap_or(&usual.mask);
        Style {
            numbers: flag(own.and_then(|own| own.numbers), usual.numbers),
            punctuation: flag(own.and_then(|own| own.punctuation), usual.punctuation),
            capitals: flag(own.and_then(|own| own.capitals), usual.capitals),
            policy: if mask.is_empty() { Policy::default() } else { Policy::masking(mask) },
            names: Vec::new(),
        }
    }
}

/// The words of one call.
#[derive(Debug)]
pub(crate) struct Wording {
    caller: Reader,
    /// What we say is written already; things are hidden in it all the same.
    ours: Reader,
    personal: bool,
    /// A prompt with something to hide in it is being said: its words come one by one, and half a number is no secret.
    hiding: bool,
}

impl Wording {
    /// In `style`, for a call in `language`.
    ///
    /// # Errors
    /// A bound of the style's policy is broken.
    pub(crate) fn new(language: &Language, style: &Style) -> Result<Self, PolicyError> {
        // What we say we say whole.
        let policy = Policy { halves: false, ..style.policy.clone() };
        let ours = Style { policy, ..Style::spoken() };
        Ok(Self {
            caller: Reader::new(language, style)?,
            ours: Reader::new(language, &ours)?,
            personal: style.policy.personal(),
            hiding: false,
        })
    }

    /// What may be told of an event; `None` where nothing may.
    pub(crate) fn tell(&mut self, body: EventBody) -> Option<EventBody> {
        Some(match body {
            EventBody::SpeechPartial { side: Side::Machine, .. } if self.hiding => return None,
            EventBody::SpeechPartial { side: Side::Caller, text, revision, start } => {
                let text = text.into_inner();
                if text.len() > LONGEST_PARTIAL {
                    return None;
                }
                let hypothesis = Hypothesis { revision, text, start: MediaTime::ZERO };
                let text = Pii::new(self.caller.partial(hypothesis)?.text);
                EventBody::SpeechPartial { side: Side::Caller, text, revision, start }
            }
            EventBody::SpeechFinal { side, text, words, start, end, confidence, language, .. } => {
                let utterance = Utterance {
                    text: text.into_inner(),
                    words: words.into_inner(),
                    start: instant(start),
                    end: instant(end),
                    confidence,
                    language,
                };
                let reader = if side == Side::Caller { &mut self.caller } else { &mut self.ours };
                let readable = reader.read(&utterance);
                EventBody::SpeechFinal {
                    side,
                    spoken: Pii::new(Some(readable.spoken).filter(|spoken| *spoken != readable.text)),
                    text: Pii::new(readable.text),
                    words: Pii::new(readable.words),
                    start,
                    end,
                    confidence,
                    language: utterance.language,
                    redactions: readable.redactions.iter().map(redacted).collect(),
                }
            }
            EventBody::PromptStarted { id, text, interruptible } => {
                let hidden = self.ours.hide(text.expose());
                self.hiding = hidden.is_some();
                EventBody::PromptStarted { id, text: hidden.map_or(text, Pii::new), interruptible }
            }
            EventBody::PromptStopped { .. } => {
                self.hiding = false;
                body
            }
            EventBody::Slot { name, value } if self.personal => {
                let shown = match value.expose() {
                    serde_json::Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                let hidden = self.ours.hide(&shown).map(serde_json::Value::String);
                EventBody::Slot { name, value: hidden.map_or(value, Pii::new) }
            }
            other => other,
        })
    }
}

/// The way back from an event's seconds.
fn instant(seconds: f64) -> MediaTime {
    MediaTime::from_millis((seconds * 1_000.0).round() as i64)
}

fn redacted(redaction: &Redaction) -> Redacted {
    let seconds = |at: MediaTime| at.millis() as f64 / 1_000.0;
    let Redaction { category, start, end } = redaction;
    Redacted { kind: category.name(), start: seconds(*start), end: seconds(*end) }
}

#[cfg(test)]
mod tests {
    use antiphon_engine_call::PromptId;
    use antiphon_models_speech::Word;
    use antiphon_models_text::Category;

    use super::*;

    fn said(side: Side, text: &str, from: i64) -> EventBody {
        let words: Vec<Word> = text
            .split(' ')
            .zip(0..)
            .map(|(text, n)| Word {
                text: text.to_owned(),
                start: MediaTime::from_millis(from + n * 300),
                end: MediaTime::from_millis(from + n * 300 + 250),
                confidence: 0.9,
            })
            .collect();
        EventBody::SpeechFinal {
            side,
            text: Pii::new(text.to_owned()),
            spoken: Pii::new(None),
            start: from as f64 / 1_000.0,
            end: words.last().map_or(0.0, |word| word.end.millis() as f64 / 1_000.0),
            words: Pii::new(words),
            confidence: 0.9,
            language: None,
            redactions: Vec::new(),
        }
    }

    fn partial(side: Side, text: &str) -> EventBody {
        EventBody::SpeechPartial { side, text: Pii::new(text.to_owned()), revision: 1, start: 0.0 }
    }

    fn wording(style: &Style) -> Wording {
        Wording::new(&Language::english(), style).expect("a policy within its bounds")
    }

    fn masking(kinds: &[Category]) -> Wording {
        wording(&Style { policy: Policy::masking(kinds), ..Style::spoken() })
    }

    fn json(body: Option<EventBody>) -> serde_json::Value {
        serde_json::to_value(body).expect("serialisable")
    }

    const CARD: &str = "four one one one one one one one one one one one one one one one";

    #[test]
    fn without_a_policy_events_pass_as_they_are() {
        let mut wording = wording(&Style::spoken());
        for body in
            [said(Side::Caller, CARD, 0), partial(Side::Caller, CARD), said(Side::Machine, "Hello.", 0)]
        {
            assert_eq!(wording.tell(body.clone()), Some(body));
        }
    }

    #[test]
    fn the_text_is_written_and_the_words_are_what_was_said() {
        let told =
            json(wording(&Style::default()).tell(said(Side::Caller, "pay twenty five dollars", 1_000)));
        assert_eq!((&told["text"], &told["spoken"]), (&"Pay $25.".into(), &"pay twenty five dollars".into()));
        assert_eq!((&told["words"][1]["text"], &told["words"][1]["start"]), (&"twenty".into(), &1.3.into()));
        let ours = said(Side::Machine, "Pay twenty five dollars", 0);
        assert_eq!(wording(&Style::default()).tell(ours.clone()), Some(ours), "we know how we write");
    }

    #[test]
    fn what_is_hidden_is_in_no_member_of_any_event() {
        let mut wording = masking(&[Category::Card, Category::Telephone]);
        let told = json(wording.tell(said(Side::Caller, &format!("it is {CARD}"), 2_000)));
        assert!(!told.to_string().contains("one"), "{told}");
        assert_eq!(told["redactions"][0], serde_json::json!({ "kind": "card", "start": 2.6, "end": 7.35 }));
        assert_eq!(wording.tell(partial(Side::Caller, "it is four one")), None, "half of it");
        let slot = EventBody::Slot { name: "card".into(), value: Pii::new("4111111111111111".into()) };
        assert_eq!(json(wording.tell(slot))["value"], "****************");
        let slot = EventBody::Slot { name: "amount".into(), value: Pii::new(25.into()) };
        assert_eq!(json(wording.tell(slot))["value"], 25);
    }

    #[test]
    fn what_we_say_is_hidden_from_its_first_word_to_its_last() {
        let mut wording = masking(&[Category::Card]);
        let text = "Your card is 4111 1111 1111 1111.";
        let prompt = EventBody::PromptStarted {
            id: PromptId(1),
            text: Pii::new(text.to_owned()),
            interruptible: true,
        };
        assert_eq!(json(wording.tell(prompt))["text"], "Your card is **** **** **** ****.");
        assert_eq!(wording.tell(partial(Side::Machine, "Your card is 4111")), None);
        let told = json(wording.tell(said(Side::Machine, text, 0)));
        assert!(!told.to_string().contains("11"), "{told}");
    }

    #[test]
    fn a_tenant_has_its_own_way_where_it_says_so() {
        let config: Config = toml::from_str(
            "[recognizer]\nnumbers = true\nmask = [\"card\"]\n[[tenant]]\nname = \"a\"\nmask = []\npunctuation = true\n[[tenant]]\nname = \"b\"",
        )
        .expect("a configuration");
        let (usual, a, b) = (config.style(""), config.style("a"), config.style("b"));
        assert!(usual.numbers && !usual.punctuation && usual.policy.personal());
        assert!(a.numbers && a.punctuation && !a.policy.personal());
        assert_eq!(b, usual);
        assert!(Config::default().style("").is_idle());
    }
}
