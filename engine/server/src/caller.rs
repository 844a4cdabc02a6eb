//! A caller made of a script: it waits until the other side has finished, speaks, and listens to the answer.

mod script;

use std::collections::VecDeque;

use antiphon_engine_call::{Cause, Dialogue, Effect, Prompt, PromptEnd, PromptId, SessionInput};
use antiphon_media_frame::{MediaTime, Span};
use antiphon_models_speech::Language;

pub(crate) use script::{Action, Script, Step, keys};

/// How long the other side must be quiet before it counts as finished: longer than its pauses between sentences.
const SETTLE: Span = Span::from_millis(700);
/// How long the other side may speak without a pause: music, or a line that hums.
const LONGEST_TURN: Span = Span::from_secs(60);
/// What a key takes with the pause behind it.
const KEY_MS: u64 = 240;
/// How long the other side may keep us waiting before we speak all the same.
const PATIENCE: Span = Span::from_secs(12);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not answered.
    Idle,
    /// The other side's turn, since then.
    Listening { since: MediaTime },
    /// Our prompt is under way.
    Speaking,
    /// A pause of the script.
    Pausing { until: MediaTime },
    /// Asked to hang up, or hung up on.
    Done,
}

/// Walks through a script.
pub(crate) struct Caller {
    steps: VecDeque<Step>,
    language: Language,
    voice: Option<String>,
    state: State,
    effects: VecDeque<Effect>,
    prompts: u32,
    /// Since when the other side speaks or is quiet, and which.
    other_speaks: bool,
    other_since: MediaTime,
    /// It has spoken since our last step.
    other_spoke: bool,
    /// The script's end is not the call's.
    patient: bool,
}

impl Caller {
    pub(crate) fn new(script: Script) -> Self {
        Self {
            steps: script.steps.into(),
            language: script.language,
            voice: script.voice,
            state: State::Idle,
            effects: VecDeque::new(),
            prompts: 0,
            other_speaks: false,
            other_since: MediaTime::ZERO,
            other_spoke: false,
            patient: false,
        }
    }

    /// A caller who says nothing and never hangs up: somebody talks in its place.
    #[cfg(feature = "talk")]
    pub(crate) fn silent(script: Script) -> Self {
        Self { patient: true, ..Self::new(script) }
    }

    /// When the script goes on, if nothing changes.
    fn due(&self) -> Option<MediaTime> {
        match self.state {
            State::Idle | State::Speaking | State::Done => None,
            _ if self.patient && self.steps.is_empty() => None,
            State::Pausing { until } => Some(until),
            State::Listening { since } => {
                let barge_in = self.steps.front().and_then(|step| step.barge_in);
                match (barge_in, self.other_speaks) {
                    (Some(after), true) => Some(self.other_since + after),
                    (None, true) => Some(self.other_since.max(since) + LONGEST_TURN),
                    (_, false) if self.other_spoke => Some(self.other_since + SETTLE),
                    (_, false) => Some(since + PATIENCE),
                }
            }
        }
    }

    fn go_on(&mut self, now: MediaTime) {
        self.other_spoke = false;
        let Some(step) = self.steps.pop_front() else {
            self.state = State::Done;
            self.effects.push_back(Effect::HangUp { cause: Cause::FLOW_HUNG_UP });
            return;
        };
        match step.action {
            Action::Say(text) => {
                self.say(Prompt::Text { text, language: self.language.clone(), voice: self.voice.clone() });
            }
            Action::Play(path) => self.say(Prompt::Recording { path, text: String::new() }),
            Action::Keys(keys) => {
                let pressing = Span::from_millis(KEY_MS * keys.len() as u64);
                self.effects.push_back(Effect::SendKeys { keys });
                self.state = State::Listening { since: now + pressing };
            }
            Action::Pause(length) => self.state = State::Pausing { until: now + length },
        }
    }

    fn say(&mut self, prompt: Prompt) {
        self.prompts += 1;
        let id = PromptId(self.prompts);
        self.effects.push_back(Effect::Say { id, prompts: vec![prompt], interruptible: false });
        self.state = State::Speaking;
    }
}

impl Dialogue for Caller {
    fn handle(&mut self, now: MediaTime, input: SessionInput) {
        match input {
            SessionInput::Started { .. } => self.state = State::Listening { since: now },
            SessionInput::SpeechStarted { at } => {
                self.other_speaks = true;
                self.other_spoke = true;
                self.other_since = at;
            }
            SessionInput::SpeechEnded { at } => {
                self.other_speaks = false;
                self.other_since = at;
            }
            SessionInput::PromptEnded { end, .. } if self.state == State::Speaking => {
                self.state = match end {
                    PromptEnd::Failed => State::Done,
                    _ => State::Listening { since: now },
                };
                if self.state == State::Done {
                    self.effects.push_back(Effect::HangUp { cause: Cause::FLOW_FAILED });
                }
                // What the other side said while we spoke was no answer, unless it still speaks.
                self.other_spoke = self.other_speaks;
            }
            SessionInput::HungUp => self.state = State::Done,
            _ => {}
        }
    }

    fn handle_timeout(&mut self, now: MediaTime) {
        if self.due().is_some_and(|due| now >= due) {
            self.go_on(now);
        }
    }

    fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn poll_timeout(&self) -> Option<MediaTime> {
        self.due()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn at(millis: i64) -> MediaTime {
        MediaTime::from_millis(millis)
    }

    fn started(steps: &str) -> Caller {
        let script = Script::parse(steps, std::path::Path::new("caller.yaml")).expect("a valid script");
        let mut caller = Caller::new(script);
        caller.handle(at(0), SessionInput::Started { variables: BTreeMap::new() });
        caller
    }

    fn wake(caller: &mut Caller) -> (MediaTime, Option<Effect>) {
        let due = caller.poll_timeout().expect("something is due");
        caller.handle_timeout(due);
        (due, caller.poll_effect())
    }

    #[test]
    fn it_waits_until_the_other_side_has_finished() {
        let mut caller = started("steps: [{say: hello}]");
        caller.handle(at(500), SessionInput::SpeechStarted { at: at(500) });
        assert_eq!(caller.poll_timeout(), Some(at(60_500)), "even music ends the wait");
        caller.handle(at(2_600), SessionInput::SpeechEnded { at: at(2_000) });
        let (due, effect) = wake(&mut caller);
        assert_eq!(due, at(2_700));
        assert!(matches!(effect, Some(Effect::Say { .. })));
    }

    #[test]
    fn it_speaks_over_the_other_side_when_told() {
        let mut caller = started("steps: [{say: stop, barge_in: 1500ms}]");
        caller.handle(at(500), SessionInput::SpeechStarted { at: at(500) });
        assert_eq!(wake(&mut caller).0, at(2_000));
    }

    #[test]
    fn it_hangs_up_when_the_script_is_over() {
        let mut caller = started("steps: [{keys: '12#'}]");
        let (due, effect) = wake(&mut caller);
        assert_eq!((due, effect), (at(12_000), Some(Effect::SendKeys { keys: vec!['1', '2', '#'] })));
        assert!(matches!(wake(&mut caller).1, Some(Effect::HangUp { .. })));
        assert_eq!(caller.poll_timeout(), None);
    }
}
