//! The dialogue of a call behind which a person speaks: it says what there is to say before two are joined, finds out
//! whether a machine answered, and is silent from then on.

use std::collections::VecDeque;

use antiphon_engine_call::{Dialogue, Effect, Prompt, PromptId, SessionInput};
use antiphon_media_frame::{MediaTime, Span};
use tokio::sync::oneshot;

/// People say a word or two and wait for an answer: whoever speaks on for longer without a pause is a machine.
const GREETING: Span = Span::from_millis(2_600);
/// Whoever says nothing for so long after picking up is taken for a person.
const PATIENCE: Span = Span::from_millis(3_000);

/// Who picked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Picked {
    Person,
    Machine,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not answered.
    Idle,
    /// Finding out who picked up: nobody has spoken, or somebody speaks.
    Screening {
        until: MediaTime,
        speaks: bool,
    },
    /// Saying what is to be said before.
    Announcing,
    Silent,
}

/// Says little.
pub(crate) struct Quiet {
    announce: Vec<Prompt>,
    screen: bool,
    state: State,
    effects: VecDeque<Effect>,
    /// Told once the call can be joined with another.
    ready: Option<oneshot::Sender<Picked>>,
}

impl Quiet {
    /// `ready` hears who picked up when the two can be joined.
    pub(crate) fn new(announce: Vec<Prompt>, screen: bool, ready: Option<oneshot::Sender<Picked>>) -> Self {
        Self { announce, screen, state: State::Idle, effects: VecDeque::new(), ready }
    }

    fn announce(&mut self) {
        if self.announce.is_empty() {
            return self.be_ready(Picked::Person);
        }
        self.state = State::Announcing;
        let prompts = std::mem::take(&mut self.announce);
        self.effects.push_back(Effect::Say { id: PromptId(1), prompts, interruptible: false });
    }

    fn be_ready(&mut self, picked: Picked) {
        self.state = State::Silent;
        if let Some(ready) = self.ready.take() {
            // Whoever waited may have gone.
            let _ = ready.send(picked);
        }
    }
}

impl Dialogue for Quiet {
    fn handle(&mut self, now: MediaTime, input: SessionInput) {
        match (self.state, input) {
            (State::Idle, SessionInput::Started { .. }) if self.screen => {
                self.state = State::Screening { until: now + PATIENCE, speaks: false };
            }
            (State::Idle, SessionInput::Started { .. }) => self.announce(),
            (State::Screening { .. }, SessionInput::SpeechStarted { at }) => {
                self.state = State::Screening { until: at + GREETING, speaks: true };
            }
            (State::Screening { until, .. }, SessionInput::SpeechEnded { at }) => {
                if at >= until {
                    self.be_ready(Picked::Machine);
                } else {
                    self.announce();
                }
            }
            (State::Announcing, SessionInput::PromptEnded { .. }) => self.be_ready(Picked::Person),
            (_, SessionInput::HungUp) => {
                self.ready = None;
                self.state = State::Silent;
            }
            _ => {}
        }
    }

    fn handle_timeout(&mut self, now: MediaTime) {
        let State::Screening { until, speaks } = self.state else { return };
        if now >= until {
            if speaks { self.be_ready(Picked::Machine) } else { self.announce() }
        }
    }

    fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn poll_timeout(&self) -> Option<MediaTime> {
        match self.state {
            State::Screening { until, .. } => Some(until),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use antiphon_engine_call::PromptEnd;
    use antiphon_models_speech::Language;

    use super::*;

    fn at(millis: i64) -> MediaTime {
        MediaTime::from_millis(millis)
    }

    fn picked_up(screen: bool) -> (Quiet, oneshot::Receiver<Picked>) {
        let (ready, told) = oneshot::channel();
        let text = "a call for you".to_owned();
        let announce = vec![Prompt::Text { text, language: Language::english(), voice: None }];
        let mut quiet = Quiet::new(announce, screen, Some(ready));
        quiet.handle(at(0), SessionInput::Started { variables: BTreeMap::new() });
        (quiet, told)
    }

    #[test]
    fn the_announcement_is_heard_before_the_two_are_joined() {
        let (mut quiet, mut told) = picked_up(false);
        assert!(matches!(quiet.poll_effect(), Some(Effect::Say { interruptible: false, .. })));
        assert!(told.try_recv().is_err());
        quiet.handle(at(900), SessionInput::PromptEnded { id: PromptId(1), end: PromptEnd::Completed });
        assert_eq!(told.try_recv(), Ok(Picked::Person));
    }

    #[test]
    fn hello_is_a_person_and_a_long_greeting_a_machine() {
        let (mut quiet, mut told) = picked_up(true);
        quiet.handle(at(700), SessionInput::SpeechStarted { at: at(600) });
        quiet.handle(at(1_500), SessionInput::SpeechEnded { at: at(1_100) });
        assert!(matches!(quiet.poll_effect(), Some(Effect::Say { .. })), "a person hears the announcement");
        assert!(told.try_recv().is_err());

        let (mut quiet, mut told) = picked_up(true);
        quiet.handle(at(700), SessionInput::SpeechStarted { at: at(600) });
        let due = quiet.poll_timeout().expect("a limit");
        quiet.handle_timeout(due);
        assert_eq!((due, told.try_recv()), (at(3_200), Ok(Picked::Machine)));
        assert!(quiet.poll_effect().is_none(), "nobody is there to hear it");
    }

    #[test]
    fn silence_is_a_person_who_waits() {
        let (mut quiet, _told) = picked_up(true);
        quiet.handle_timeout(at(3_000));
        assert!(matches!(quiet.poll_effect(), Some(Effect::Say { .. })));
    }
}
