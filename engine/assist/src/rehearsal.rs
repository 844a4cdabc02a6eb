//! Talking to a simulated customer by typing.

use std::collections::BTreeMap;
use std::sync::Arc;

use antiphon_engine_call::{Dialogue, Effect, Prompt, PromptEnd, PromptId, SessionInput};
use antiphon_media_frame::{MediaTime, Span};
use antiphon_models_speech::Utterance;

use crate::{Outcome, Partner, Persona};

/// How fast words pass on the rehearsal's clock: about the pace of a voice.
const PACE: Span = Span::from_millis(60);

/// A customer on a virtual clock: what is typed is heard, what they say is returned.
#[derive(Debug)]
pub struct Rehearsal {
    partner: Partner,
    now: MediaTime,
}

impl Rehearsal {
    /// The call begins; nobody has said anything.
    #[must_use]
    pub fn new(persona: Arc<Persona>, seed: u64) -> Self {
        let mut partner = Partner::new(persona, seed);
        partner.handle(MediaTime::ZERO, SessionInput::Started { variables: BTreeMap::new() });
        Self { partner, now: MediaTime::ZERO }
    }

    /// The trainee says something; an empty line is silence until the customer speaks. What the customer says to it.
    pub fn say(&mut self, line: &str) -> Vec<String> {
        let line = line.trim();
        if !line.is_empty() {
            let start = self.now;
            self.partner.handle(start, SessionInput::SpeechStarted { at: start });
            self.pass(line);
            let said = Utterance {
                text: line.to_owned(),
                words: Vec::new(),
                start,
                end: self.now,
                confidence: 1.0,
                language: None,
            };
            self.partner.handle(self.now, SessionInput::Heard(said));
            self.partner.handle(self.now, SessionInput::SpeechEnded { at: self.now });
        }
        let mut said = self.settle();
        if let Some(at) = self.partner.poll_timeout().filter(|_| said.is_empty()) {
            self.now = self.now.max(at);
            self.partner.handle_timeout(self.now);
            said = self.settle();
        }
        said
    }

    /// The trainee hangs up.
    pub fn hang_up(&mut self) {
        self.partner.handle(self.now, SessionInput::HungUp);
    }

    /// What has come of it so far.
    #[must_use]
    pub const fn outcome(&self) -> &Outcome {
        self.partner.outcome()
    }

    /// Carries out what the customer asks for: everything said is played to its end.
    fn settle(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(effect) = self.partner.poll_effect() {
            if let Effect::Say { id, prompts, .. } = effect {
                said.extend(self.play(id, &prompts));
            }
        }
        said
    }

    fn play(&mut self, id: PromptId, prompts: &[Prompt]) -> Vec<String> {
        let texts: Vec<String> = prompts
            .iter()
            .map(|prompt| match prompt {
                Prompt::Text { text, .. } | Prompt::Recording { text, .. } => text.clone(),
            })
            .collect();
        for text in &texts {
            self.pass(text);
        }
        self.partner.handle(self.now, SessionInput::PromptEnded { id, end: PromptEnd::Completed });
        texts
    }

    fn pass(&mut self, text: &str) {
        self.now += PACE.saturating_mul(text.chars().count() as u64);
    }
}
