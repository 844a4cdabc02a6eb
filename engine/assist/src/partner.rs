//! The simulated customer: who it is, and how it behaves in a call.

mod model;
mod persona;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use antiphon_engine_call::{
    ActionId, Cause, Dialogue, Effect, EventBody, Prompt, PromptEnd, PromptId, SessionInput,
};
use antiphon_engine_measure::Role;
use antiphon_media_frame::{MediaTime, Span};
use antiphon_models_speech::Hints;
use serde::Serialize;

use crate::condition::Known;
use crate::words::tokens;

pub use model::Model;
use model::{REMEMBERED, Spoken};
pub use persona::Persona;
use persona::{Lines, TEMPER};

/// What a trainee says is answered this long after the last words: the next breath may go on.
const THINKING: Span = Span::from_millis(700);

/// How a rehearsal ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The customer got what they called for.
    GaveIn,
    /// The customer had enough of it.
    Furious,
    /// The trainee said nothing for too long.
    Unheard,
    /// It led nowhere.
    TooLong,
    /// The trainee hung up.
    HungUp,
}

/// What came of a rehearsal, beside what scorecards say of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The persona.
    pub partner: String,
    /// What decided the course, with the persona's file: the same words lead to the same call.
    pub seed: u64,
    /// How it ended; `None` while it goes on.
    pub ended: Option<Ending>,
    /// The temper now: 0 (calm) to 10.
    pub temper: u8,
    /// The highest it was.
    pub worst: u8,
    /// What the trainee did, by the persona's reactions, in order.
    pub reactions: Vec<String>,
    /// Objections that were raised, in order.
    pub raised: Vec<String>,
    /// Those of them that the trainee met.
    pub met: Vec<String>,
    /// How often the trainee was answered.
    pub turns: u32,
    /// How often a language model found the words.
    pub improvised: u32,
    /// How often it was asked and did not, so that the script did.
    pub fallbacks: u32,
}

/// What comes next if nothing happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// To speak first: the trainee did not greet.
    Open,
    /// To answer what was said.
    Answer,
    /// To complain of silence.
    Complain,
}

/// A customer in a call. Deterministic: the same persona, seed and inputs give the same call.
#[derive(Debug)]
pub struct Partner {
    persona: Arc<Persona>,
    outcome: Outcome,
    /// Everything the trainee has said so far.
    known: Known,
    /// What the trainee said since the objection that is open.
    since: Known,
    /// The objection that waits for an answer.
    open: Option<usize>,
    pending: String,
    effects: VecDeque<Effect>,
    due: Option<(MediaTime, Due)>,
    prompts: u32,
    /// The prompt that is being said.
    speaking: Option<PromptId>,
    opened: bool,
    complaints: u32,
    /// Which way of saying came last, by what is said.
    chosen: BTreeMap<String, usize>,
    model: Option<Arc<Model>>,
    /// What the model was asked for, and what is said where it does not answer.
    asked: Option<(ActionId, Vec<String>)>,
    actions: u32,
    /// What was said lately, where there is a model to be told.
    spoken: Vec<Spoken>,
}

impl Partner {
    /// A customer before the call. The seed chooses among ways to say the same.
    #[must_use]
    pub fn new(persona: Arc<Persona>, seed: u64) -> Self {
        let temper = persona.temper.start;
        Self {
            outcome: Outcome {
                partner: persona.id.clone(),
                seed,
                ended: None,
                temper,
                worst: temper,
                reactions: Vec::new(),
                raised: Vec::new(),
                met: Vec::new(),
                turns: 0,
                improvised: 0,
                fallbacks: 0,
            },
            persona,
            known: Known::default(),
            since: Known::default(),
            open: None,
            pending: String::new(),
            effects: VecDeque::new(),
            due: None,
            prompts: 0,
            speaking: None,
            opened: false,
            complaints: 0,
            chosen: BTreeMap::new(),
            model: None,
            asked: None,
            actions: 0,
            spoken: Vec::new(),
        }
    }

    /// From now on a language model finds the words of answers. What happens in the call is still for the persona's rules
    /// to say, and where the model fails or takes too long, so are the words; the call's events tell (`action.finished`).
    pub fn improvise(&mut self, model: Arc<Model>) {
        self.model = Some(model);
    }

    /// What has come of it so far.
    #[must_use]
    pub const fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Answers what the trainee said since the last answer.
    fn answer(&mut self) {
        let persona = Arc::clone(&self.persona);
        let heard = std::mem::take(&mut self.pending);
        let said = tokens(&heard);
        self.remember(Spoken::Trainee(heard));
        let mut now = Known::default();
        for condition in persona.conditions() {
            condition.hear(Role::Agent, &said, &mut now);
            condition.hear(Role::Agent, &said, &mut self.known);
            condition.hear(Role::Agent, &said, &mut self.since);
        }
        self.outcome.turns += 1;
        let mut words: Vec<String> = Vec::new();
        for reaction in &persona.reactions {
            let spent = reaction.once && self.outcome.reactions.contains(&reaction.id);
            if spent || !reaction.when.holds(&now) {
                continue;
            }
            self.outcome.reactions.push(reaction.id.clone());
            self.feel(reaction.temper);
            if words.is_empty() {
                words.extend(self.choose(&reaction.id, &reaction.say));
            }
        }
        if let Some(open) = self.open.map(|open| &persona.objections[open]) {
            if open.met.holds(&self.since) {
                self.outcome.met.push(open.id.clone());
                self.open = None;
            } else {
                self.feel(open.temper);
            }
        }
        if self.outcome.temper >= persona.temper.furious {
            return self.leave(words, &persona.leaves, Ending::Furious);
        }
        if self.opened {
            if self.open.is_none() {
                let raised = |id: &String| self.outcome.raised.contains(id);
                let fits = |when: &Option<_>| {
                    when.as_ref().is_none_or(|when: &crate::condition::Condition| when.holds(&self.known))
                };
                let next = persona.objections.iter().position(|one| !raised(&one.id) && fits(&one.when));
                if let Some(next) = next {
                    self.open = Some(next);
                    self.since = Known::default();
                    self.outcome.raised.push(persona.objections[next].id.clone());
                    words.extend(self.choose(&persona.objections[next].id, &persona.objections[next].say));
                } else if persona.gives_in.when.holds(&self.known) {
                    return self.leave(words, &persona.gives_in.say, Ending::GaveIn);
                }
            }
            if self.outcome.turns >= persona.turns {
                return self.leave(words, &persona.leaves, Ending::TooLong);
            }
            if words.is_empty() {
                words.extend(self.choose("otherwise", &persona.otherwise));
            }
        } else {
            self.opened = true;
            words.extend(self.choose("opening", &persona.opening));
        }
        self.reply(words);
    }

    /// Says it, in the model's words where there is one.
    fn reply(&mut self, words: Vec<String>) {
        let Some(model) = self.model.clone() else { return self.say(words) };
        let request = model.ask(&self.persona, self.outcome.temper, &self.spoken, &words);
        self.actions += 1;
        let id = ActionId(self.actions);
        self.asked = Some((id, words));
        self.effects.push_back(Effect::Notify(EventBody::ActionStarted { id, step: "model".to_owned() }));
        self.effects.push_back(Effect::Http { id, request });
    }

    fn remember(&mut self, said: Spoken) {
        if self.model.is_none() {
            return;
        }
        if self.spoken.len() == REMEMBERED {
            self.spoken.remove(0);
        }
        self.spoken.push(said);
    }

    fn complain(&mut self) {
        let persona = Arc::clone(&self.persona);
        self.complaints += 1;
        self.feel(persona.silence.temper);
        if self.complaints > persona.silence.times {
            return self.leave(Vec::new(), &persona.leaves, Ending::Unheard);
        }
        if self.outcome.temper >= persona.temper.furious {
            return self.leave(Vec::new(), &persona.leaves, Ending::Furious);
        }
        let words = self.choose("silence", &persona.silence.say);
        self.say(words.into_iter().collect());
    }

    fn feel(&mut self, change: i8) {
        self.outcome.temper = self.outcome.temper.saturating_add_signed(change).min(TEMPER);
        self.outcome.worst = self.outcome.worst.max(self.outcome.temper);
    }

    fn leave(&mut self, mut words: Vec<String>, last: &Lines, ending: Ending) {
        words.extend(self.choose("last", last));
        self.say(words);
        self.effects.push_back(Effect::HangUp { cause: Cause::FLOW_HUNG_UP });
        self.end(ending);
    }

    fn end(&mut self, ending: Ending) {
        self.outcome.ended = Some(ending);
        self.due = None;
    }

    fn say(&mut self, words: Vec<String>) {
        if words.is_empty() {
            return;
        }
        self.remember(Spoken::Customer(words.join(" ")));
        self.prompts += 1;
        let id = PromptId(self.prompts);
        self.speaking = Some(id);
        let prompts = words.into_iter().map(|text| Prompt::Text {
            text,
            language: self.persona.language.clone(),
            voice: self.persona.voice.clone(),
        });
        self.effects.push_back(Effect::Say { id, prompts: prompts.collect(), interruptible: true });
    }

    /// One way to say it: the seed tells which is first, and from there one after another, so that nothing is said twice
    /// in a row.
    fn choose(&mut self, what: &str, lines: &Lines) -> Option<String> {
        let before = self.chosen.entry(what.to_owned()).or_insert_with(|| scatter(self.outcome.seed, what));
        *before = before.wrapping_add(1);
        lines.get(*before % lines.len().max(1)).cloned()
    }
}

/// FNV-1a with a SplitMix64 finish: small, and the same on every machine.
fn scatter(seed: u64, what: &str) -> usize {
    let fold = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let mut mixed = seed.to_le_bytes().into_iter().chain(what.bytes()).fold(0xcbf2_9ce4_8422_2325, fold);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::from((mixed ^ (mixed >> 31)).to_le_bytes()[0])
}

impl Dialogue for Partner {
    fn handle(&mut self, now: MediaTime, input: SessionInput) {
        if self.outcome.ended.is_some() {
            return;
        }
        match input {
            SessionInput::Started { .. } => {
                self.effects.push_back(Effect::Listen {
                    hints: Hints::default(),
                    language: self.persona.language.clone(),
                    endpoint: None,
                });
                self.due = Some((now + self.persona.greeting, Due::Open));
            }
            SessionInput::SpeechStarted { .. } => {
                self.due = None;
                // It is answered together with what comes now.
                self.asked = None;
            }
            SessionInput::HttpDone { id, outcome } => {
                let (words, named, status) = model::answer(&outcome);
                self.effects.push_back(Effect::Notify(EventBody::ActionFinished {
                    id,
                    outcome: named,
                    status,
                }));
                let Some((_, script)) = self.asked.take_if(|(asked, _)| *asked == id) else { return };
                self.due = None;
                match words {
                    Some(words) => {
                        self.outcome.improvised += 1;
                        self.say(vec![words]);
                    }
                    None => {
                        self.outcome.fallbacks += 1;
                        self.say(script);
                    }
                }
            }
            SessionInput::Heard(said) => {
                antiphon_models_speech::append(&mut self.pending, &said.text);
                self.complaints = 0;
                self.due = Some((now + THINKING, Due::Answer));
            }
            SessionInput::SpeechEnded { .. } if self.due.is_none() && self.speaking.is_none() => {
                let due = if !self.pending.is_empty() {
                    (now + THINKING, Due::Answer)
                } else if self.opened {
                    (now + self.persona.silence.after, Due::Complain)
                } else {
                    (now + self.persona.greeting, Due::Open)
                };
                self.due = Some(due);
            }
            SessionInput::PromptEnded { id, end } if self.speaking == Some(id) => {
                self.speaking = None;
                if end == PromptEnd::BargeIn {
                    self.feel(self.persona.temper.interrupted);
                }
                if end != PromptEnd::BargeIn && self.due.is_none() {
                    self.due = Some((now + self.persona.silence.after, Due::Complain));
                }
            }
            SessionInput::HungUp => self.end(Ending::HungUp),
            _ => {}
        }
    }

    fn handle_timeout(&mut self, now: MediaTime) {
        let Some((_, due)) = self.due.take_if(|(at, _)| *at <= now) else { return };
        match due {
            Due::Open => {
                let words = self.choose("opening", &Arc::clone(&self.persona).opening);
                self.opened = true;
                self.say(words.into_iter().collect());
            }
            Due::Answer => self.answer(),
            Due::Complain => self.complain(),
        }
    }

    fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn poll_timeout(&self) -> Option<MediaTime> {
        self.due.map(|(at, _)| at)
    }
}
